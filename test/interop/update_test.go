package interop

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

const updateOrigin = "example.org."

// updateKey may change everything.
var updateKey = &server.Key{Name: "update.example.", Algorithm: "hmac-sha256", Secret: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}

// updateZone is the zone as it begins. Its serial is about to wrap.
const updateZone = `$ORIGIN example.org.
$TTL 300
@             SOA    ns1 hostmaster 4294967200 7200 3600 1209600 300
@             NS     ns1
@             NS     ns2
@             MX     10 mail
@             TXT    "v=spf1 -all"
ns1           A      192.0.2.53
ns2           A      192.0.2.54
ns2           AAAA   2001:db8::54
www           A      192.0.2.1
www           A      192.0.2.2
www           AAAA   2001:db8::1
mail     600  A      192.0.2.25
mail     600  MX     10 Mail
mail     600  MX     20 backup.example.net.
txt           TXT    "one" "two"
txt           TXT    "three"
txt           CAA    0 issue "ca.example.net"
alias         CNAME  WWW
dn            DNAME  example.net.
*.wild        A      192.0.2.3
*.wild        TXT    "anything"
sub           NS     ns.sub
sub           NS     ns.example.net.
sub           DS     12345 13 2 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F
ns.sub        A      192.0.2.100
a.ent         A      192.0.2.4
MixedCase     A      192.0.2.5
MixedCase     PTR    WWW.Example.Org.
_sip._tcp     SRV    0 5 5060 www
odd           TYPE65280 \# 3 010203
odd           LOC    52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
odd           SSHFP  1 1 000102030405060708090A0B0C0D0E0F10111213
odd           NAPTR  1 1 "S" "SIP+D2U" "" _sip._tcp
odd           HINFO  "cpu" "os"
`

// The servers of a run, in the order in which everything about them is kept.
const (
	atOurs = iota
	atNamed
	atKnotd
	updateServers
)

var updateServerNames = [updateServers]string{"ours", "named", "knotd"}

// A farm is the servers, all of which have the same zone before each message.
type farm struct {
	servers   [updateServers]*server.Server
	files     [updateServers]string // master files of the zone
	has       [updateServers]*contents
	id        uint16
	restarts  int
	largeTTLs int // seen on the peers
}

// newFarm starts the servers.
func newFarm(t *testing.T) *farm {
	t.Helper()
	server.Require(t, "named", "knotd")
	f := &farm{}
	for i := range f.files {
		f.files[i] = filepath.Join(t.TempDir(), "zone")
		if err := os.WriteFile(f.files[i], []byte(updateZone), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f.servers[atOurs] = server.StartOurs(t, fmt.Sprintf(`%[1]s:%[2]s {
	bind 127.0.0.1
	keys {
		tsig %[3]s %[4]s %[5]s
	}
	authority {
		file %[6]q
		store %[7]q
		transfer net 127.0.0.0/8
	}
	update {
		grant %[3]s zonesub ANY
	}
}
`, updateOrigin, server.Port, updateKey.Name, updateKey.Algorithm, updateKey.Secret, f.files[atOurs], filepath.Join(filepath.Dir(f.files[atOurs]), "store")), updateOrigin)
	f.servers[atNamed] = server.StartProgram(t, server.Program{
		Name: "named", Zones: []string{updateOrigin},
		Prepare: func(dir string, port int) ([]string, error) {
			conf := filepath.Join(dir, "named.conf")
			return []string{"-g", "-n", "1", "-c", conf}, os.WriteFile(conf, fmt.Appendf(nil, `options {
	directory %[1]q;
	pid-file none;
	session-keyfile none;
	listen-on port %[2]d { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
	notify no;
	allow-transfer { any; };
	check-names primary ignore;
	check-integrity no;
	empty-zones-enable no;
	dnssec-validation no;
	tcp-clients 1000;
};
controls { };
key %[3]q { algorithm %[4]s; secret %[5]q; };
zone %[6]q { type primary; file %[7]q; update-policy { grant %[3]s zonesub ANY; }; };
`, dir, port, updateKey.Name, updateKey.Algorithm, updateKey.Secret, updateOrigin, f.files[atNamed]), 0o644)
		},
	})
	f.servers[atKnotd] = server.StartProgram(t, server.Program{
		Name: "knotd", Zones: []string{updateOrigin},
		Prepare: func(dir string, port int) ([]string, error) {
			conf := filepath.Join(dir, "knot.conf")
			return []string{"-c", conf}, os.WriteFile(conf, fmt.Appendf(nil, `server:
    rundir: %[1]q
    listen: 127.0.0.1@%[2]d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: %[1]q
key:
  - id: %[3]q
    algorithm: %[4]s
    secret: %[5]q
acl:
  - id: all
    address: 127.0.0.0/8
    action: transfer
  - id: update
    key: %[3]q
    action: [transfer, update]
zone:
  - domain: %[6]q
    file: %[7]q
    acl: [update, all]
    semantic-checks: off
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
`, dir, port, updateKey.Name, updateKey.Algorithm, updateKey.Secret, updateOrigin, f.files[atKnotd]), 0o644)
		},
	})
	f.look(t)
	return f
}

// each does something with all servers at once.
func (f *farm) each(t *testing.T, do func(i int) error) {
	t.Helper()
	var errs [updateServers]error
	var wg sync.WaitGroup
	for i := range f.servers {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("%s: %v\n%s", updateServerNames[i], err, lastLines(f.servers[i].Log(), 10))
		}
	}
}

// lastLines gives the last n lines of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// look transfers the zone from all servers.
func (f *farm) look(t *testing.T) {
	t.Helper()
	f.each(t, func(i int) (err error) {
		f.has[i], err = fetch(f.servers[i])
		return err
	})
	if f.has[atOurs].largeTTLs > 0 {
		t.Error("ours has a TTL of 2^31 or more")
	}
	f.largeTTLs += f.has[atNamed].largeTTLs + f.has[atKnotd].largeTTLs
}

// fetch transfers the zone. Records that the library cannot read are taken as they are: knotd has some.
func fetch(s *server.Server) (*contents, error) {
	conn, err := dns.DialTimeout("tcp", s.Addr.String(), 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	m.SetAxfr(updateOrigin)
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	var rrs []dns.RR
	for len(rrs) < 2 || rrs[len(rrs)-1].Header().Rrtype != dns.TypeSOA {
		var h dns.Header
		b, err := conn.ReadMsgHeader(&h)
		if err != nil {
			return nil, err
		}
		if rcode := h.Bits & 0xf; rcode != 0 || h.Ancount == 0 {
			return nil, fmt.Errorf("AXFR: %s, %d records", dns.RcodeToString[int(rcode)], h.Ancount)
		}
		off := 12
		for range h.Qdcount {
			_, off, err = dns.UnpackDomainName(b, off)
			off += 4
		}
		for range h.Ancount {
			var rr dns.RR
			if err == nil {
				rr, off, err = readRR(b, off)
			}
			rrs = append(rrs, rr)
		}
		if err != nil {
			return nil, err
		}
	}
	return newContents(rrs[:len(rrs)-1])
}

// readRR reads a record of a message.
func readRR(b []byte, off int) (rr dns.RR, next int, err error) {
	owner, at, err := dns.UnpackDomainName(b, off)
	if err != nil || at+10 > len(b) {
		return nil, 0, fmt.Errorf("no record: %w", err)
	}
	next = at + 10 + int(binary.BigEndian.Uint16(b[at+8:]))
	if rr, _, err := dns.UnpackRR(b, off); err == nil {
		return rr, next, nil
	}
	if next > len(b) {
		return nil, 0, errors.New("record cut short")
	}
	h := dns.RR_Header{
		Name: owner, Rrtype: binary.BigEndian.Uint16(b[at:]), Class: dns.ClassINET,
		Ttl: binary.BigEndian.Uint32(b[at+4:]),
	}
	return &dns.RFC3597{Hdr: h, Rdata: hex.EncodeToString(b[at+10 : next])}, next, nil
}

// send sends a message to all servers and gives their response codes. It is signed, and goes over UDP and TCP in turn.
func (f *farm) send(t *testing.T, u *update) (rcodes [updateServers]int) {
	t.Helper()
	f.id++
	f.each(t, func(i int) (err error) {
		rcodes[i], err = u.send(f.servers[i], f.id)
		return err
	})
	for i, code := range rcodes {
		if code == noReply {
			f.reload(t, i)
		}
	}
	return rcodes
}

// contents is a zone as a server has it.
type contents struct {
	serial    uint32
	largeTTLs int // records with one
	rrs       map[setKey][]dns.RR
	sets      map[setKey]section // of each RRset the records in canonical text, the serial left out
}

// setKey names an RRset.
type setKey struct {
	owner   string // in lower case
	rrtype  uint16
	covered uint16 // of RRSIGs
}

func keyOf(rr dns.RR) setKey {
	k := setKey{owner: strings.ToLower(rr.Header().Name), rrtype: rr.Header().Rrtype}
	if sig, ok := rr.(*dns.RRSIG); ok {
		k.covered = sig.TypeCovered
	}
	return k
}

func (k setKey) String() string { return k.owner + " " + dns.Type(k.rrtype).String() }

// newContents sorts what a transfer brought.
func newContents(rrs []dns.RR) (*contents, error) {
	c := &contents{rrs: make(map[setKey][]dns.RR), sets: make(map[setKey]section)}
	for _, rr := range rrs {
		k := keyOf(rr)
		if rr.Header().Ttl >= 1<<31 { // as everybody has to read it: RFC 2181 §8
			rr.Header().Ttl = 0
			c.largeTTLs++
		}
		c.rrs[k] = append(c.rrs[k], dns.Copy(rr))
		if soa, ok := rr.(*dns.SOA); ok {
			c.serial, soa.Serial = soa.Serial, 0
		}
		c.sets[k] = append(c.sets[k], textOf(rr))
	}
	for k, set := range c.sets {
		slices.Sort(set)
		if compact := slices.Compact(slices.Clone(set)); len(compact) < len(set) {
			return nil, fmt.Errorf("records twice in %v: %q", k, set)
		}
	}
	return c, nil
}

// textOf gives a record in canonical text, in which letter case is gone where it does not tell records apart: in SVCB and
// HTTPS records it does (RFC 3597 §7).
func textOf(rr dns.RR) string {
	rr = dns.Copy(rr)
	switch rr.Header().Rrtype {
	case dns.TypeSVCB, dns.TypeHTTPS:
		rr.Header().Name = strings.ToLower(rr.Header().Name)
		return rr.String()
	}
	return canonical([]dns.RR{rr})[0]
}

// set gives the records of an RRset, which is never nil.
func (c *contents) set(k setKey) section { return append(section{}, c.sets[k]...) }

// differing gives the RRsets that are not the same everywhere.
func differing(zones ...*contents) (keys []setKey) {
	names := make(map[setKey]bool)
	for _, z := range zones {
		for k := range z.sets {
			names[k] = true
		}
	}
	for k := range names {
		for _, z := range zones {
			if !slices.Equal(z.set(k), zones[0].set(k)) {
				keys = append(keys, k)
				break
			}
		}
	}
	slices.SortFunc(keys, func(a, b setKey) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

// level brings all servers to one zone: the first of the targets that they take by an update. If they take none, they start
// again with the zone of the beginning.
func (f *farm) level(t *testing.T, targets ...*contents) {
	t.Helper()
	for _, target := range targets {
		if f.behind(target, target.serial) == nil || f.even(target) || len(f.restore(t, target)) == 0 {
			return
		}
	}
	for i := range f.servers {
		f.reload(t, i)
	}
}

// behind gives the servers that do not have a zone with a serial.
func (f *farm) behind(target *contents, serial uint32) (list []int) {
	for i, h := range f.has {
		if h.serial != serial || len(differing(h, target)) > 0 {
			list = append(list, i)
		}
	}
	return list
}

// even tells whether all servers have a zone, with the same serial.
func (f *farm) even(target *contents) bool { return f.behind(target, f.has[atOurs].serial) == nil }

// later gives a serial that is new to all, if there is one.
func (f *farm) later(target *contents) uint32 {
	serial := target.serial
	for range 8 {
		for _, h := range append([]*contents{target}, f.has[:]...) {
			if int32(serial-h.serial) <= 0 {
				serial = h.serial + 1
			}
		}
	}
	return serial
}

// restore brings the servers to a zone by an update. It gives those that have another one then.
func (f *farm) restore(t *testing.T, target *contents) []int {
	t.Helper()
	soaKey := setKey{owner: updateOrigin, rrtype: dns.TypeSOA}
	nsKey := setKey{owner: updateOrigin, rrtype: dns.TypeNS}
	serial := f.later(target)
	soa := dns.Copy(target.rrs[soaKey][0]).(*dns.SOA)
	soa.Serial = serial
	f.id++
	f.each(t, func(i int) (err error) {
		u := &update{}
		keys := differing(f.has[i], target)
		for _, k := range keys {
			switch k {
			case soaKey:
			case nsKey: // the last one cannot be deleted
				u.restore(dns.ClassINET, target.rrs[k]...)
				for _, rr := range f.has[i].rrs[k] {
					if !slices.Contains(target.sets[k], textOf(rr)) {
						u.restore(dns.ClassNONE, rr)
					}
				}
			default:
				u.restore(dns.ClassNONE, f.has[i].rrs[k]...)
			}
		}
		for _, k := range keys {
			if k != soaKey && k != nsKey {
				u.restore(dns.ClassINET, target.rrs[k]...)
			}
		}
		u.restore(dns.ClassINET, soa)
		if _, err := u.send(f.servers[i], f.id); err != nil {
			return err
		}
		f.has[i], err = fetch(f.servers[i])
		return err
	})
	return f.behind(target, serial)
}

// reload starts a server again with the zone of the beginning.
func (f *farm) reload(t *testing.T, i int) {
	t.Helper()
	f.restarts++
	f.servers[i].Stop()
	err := os.WriteFile(f.files[i], []byte(updateZone), 0o644)
	if err == nil {
		err = os.RemoveAll(f.files[i] + ".jnl") // of named
	}
	if err == nil {
		err = os.RemoveAll(filepath.Join(filepath.Dir(f.files[i]), "store")) // ours
	}
	if err != nil {
		t.Fatal(err)
	}
	f.servers[i].Restart(t)
	if f.has[i], err = fetch(f.servers[i]); err != nil {
		t.Fatal(err)
	}
}

// TestUpdates sends the same updates to ours, named and knotd, and compares what they answer and what becomes of the zone.
func TestUpdates(t *testing.T) {
	began := time.Now()
	f := newFarm(t)
	run := updateTally{variants: make(map[*updateVariant]int), kinds: make(map[string]int)}
	start := f.has[atOurs]
	if keys := differing(f.has[:]...); len(keys) > 0 {
		t.Fatalf("the servers have not read the same zone: %v", keys)
	}
	for _, c := range updateCases {
		t.Run(c.name, func(t *testing.T) {
			f.level(t, start)
			c.run(t, f, &run)
		})
	}
	f.level(t, start)
	g := newUpdateGenerator(*updateSeed)
	for n := range *updateMessages {
		run.compare(t, f, g.next(f.has[atOurs]), fmt.Sprintf("seed %d message %d", *updateSeed, n))
		if n%50 == 49 { // so that the zone does not become another one
			f.level(t, start)
		}
	}
	t.Logf("interop: %d updates compared with %s and %s: %d differences, %d accepted by %d variants, NOERROR %d, others %d, zone made even with %d restarts, %v",
		run.messages, f.servers[atNamed].Name, f.servers[atKnotd].Name, run.differences, run.accepted, len(run.variants), run.done,
		run.messages-run.done, f.restarts, time.Since(began).Round(time.Second))
	for _, kind := range slices.Sorted(maps.Keys(run.kinds)) {
		t.Errorf("%d × %s", run.kinds[kind], kind)
	}
	for i := range updateVariants {
		if v := &updateVariants[i]; run.variants[v] == 0 {
			t.Errorf("variant %q fits nothing any more: remove it", v.name)
		}
	}
	if f.largeTTLs == 0 {
		t.Error("no peer has kept a TTL of 2^31 or more: compare TTLs as they are")
	}
	if run.messages < 500 || run.done < run.messages/3 || run.done > run.messages*9/10 {
		t.Error("too few updates, or too few of one kind, to show anything")
	}
}

// TestUpdateJudge checks that the harness itself finds what it is there to find.
func TestUpdateJudge(t *testing.T) {
	zone := func(serial uint32, texts ...string) *contents {
		t.Helper()
		rrs := []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: updateOrigin, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: ".", Serial: serial}}
		for _, text := range texts {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			rrs = append(rrs, rr)
		}
		c, err := newContents(rrs)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const a, b = "www.example.org. 300 IN A 192.0.2.1", "www.example.org. 300 IN A 192.0.2.2"
	before := zone(1, a)
	after := zone(2, a, b)
	for _, c := range []struct {
		name   string
		rcodes [updateServers]int
		zones  [updateServers]*contents
		want   []string
	}{
		{"all equal", [...]int{0, 0, 0}, [...]*contents{after, after, after}, nil},
		{"letter case", [...]int{0, 0, 0}, [...]*contents{after, after, zone(2, b, "WWW.Example.ORG. 300 IN A 192.0.2.1")}, nil},
		{"rcode of one", [...]int{5, 5, 0}, [...]*contents{before, before, after}, []string{"rcode differs from knotd"}},
		{"rcode of ours", [...]int{0, 5, 5}, [...]*contents{after, before, before}, []string{"rcode differs from named", "rcode differs from knotd"}},
		{
			"record missing",
			[...]int{0, 0, 0},
			[...]*contents{zone(2, a), after, after},
			[]string{"www.example.org. A differs from named", "www.example.org. A differs from knotd"},
		},
		{"TTL", [...]int{0, 0, 0}, [...]*contents{after, zone(2, a, "www.example.org. 60 IN A 192.0.2.2"), after}, []string{"www.example.org. A differs from named"}},
		{"serial", [...]int{0, 0, 0}, [...]*contents{after, after, zone(3, a, b)}, []string{"serial differs from knotd"}},
		{"done and refused", [...]int{5, 5, 5}, [...]*contents{zone(2, a), before, before}, []string{
			"serial differs from named", "serial differs from knotd", "not NOERROR, but done",
		}},
		{"serial stays", [...]int{0, 0, 0}, [...]*contents{zone(1, a, b), zone(1, a, b), zone(1, a, b)}, []string{"changed, with the serial of before"}},
	} {
		s := &updateSituation{update: &update{}, before: before, rcodes: c.rcodes, after: c.zones}
		findings, got := s.judge()
		for i := len(findings) - 1; i >= 0; i-- {
			got = slices.Insert(got, 0, findings[i].String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, not %q", c.name, got, c.want)
		}
	}
	seen := make(map[string]bool)
	for _, v := range updateVariants {
		if v.name == "" || seen[v.name] || v.reason == "" || v.peers == 0 || v.aspects == 0 || v.when == nil {
			t.Errorf("variant %q: lacks something, or its name is not its own", v.name)
		}
		seen[v.name] = true
	}
}
