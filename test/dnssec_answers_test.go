package test

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/test/server"
)

var (
	questions = flag.Int("questions", 1000, "how many random questions unbound is asked about signed zones, for each way to answer")
	delvs     = flag.Int("delvs", 250, "how many of them delv is asked, each a process")
)

// validatedZone has all that answers are made of. CHILD stands for the DS record of the signed child.
const validatedZone = `@ 300 SOA ns hostmaster 1 7200 3600 1209600 120
@ 300 NS ns
@ 300 MX 10 mail
@ 300 TXT apex
ns 300 A 127.0.0.1
www 300 A 192.0.2.1
www 300 A 192.0.2.2
www 300 AAAA 2001:db8::1
mail 300 A 192.0.2.3
*.wild 300 A 192.0.2.4
*.wild 300 TXT wild
host.sub.wild 300 A 192.0.2.5
a.b.c.ent 300 TXT deep
*.x.ent 300 TXT wild
*.x.ent 300 MX 10 www
alias 300 CNAME www
alias2 300 CNAME alias
aliaswild 300 CNAME some.wild
aliasno 300 CNAME nothing
aliassec 300 CNAME www.sec
aliasins 300 CNAME www.ins
aliasdn 300 CNAME a.dn
*.cw 300 CNAME www
*.cwild 300 CNAME any.wild
dn 300 DNAME tree
dn 300 TXT beside
a.tree 300 A 192.0.2.6
*.w.tree 300 A 192.0.2.7
dnsec 300 DNAME sec
sec 300 NS ns.sec
sec 300 DS CHILD
ns.sec 300 A 127.0.0.1
ins 300 NS ns.ins
ns.ins 300 A 127.0.0.1
ins.ent2 300 NS ns.ins
_sip._tcp 300 SRV 1 2 5060 www
zz 300 TYPE65280 \# 2 0a0b
`

const childZone = `@ 300 SOA ns hostmaster 1 7200 3600 1209600 120
@ 300 NS ns
ns 300 A 127.0.0.1
www 300 A 192.0.2.8
*.wild 300 A 192.0.2.9
`

// validated is what validators are asked about: zones, each with children, and their keys.
type validated struct {
	dir    string
	tops   []string
	zones  []string
	signed map[string]string // signed zones, with their settings
	names  map[string]bool   // in lower case, with empty non-terminals
	optOut map[string]bool   // zones in which it is not proven that a name is not there
	anchor map[string]*signer.Key
}

func newValidated(t *testing.T) *validated {
	t.Helper()
	v := &validated{dir: t.TempDir(), signed: make(map[string]string), names: make(map[string]bool), optOut: make(map[string]bool), anchor: make(map[string]*signer.Key)}
	key := func(origin string, alg signer.Algorithm) *signer.Key {
		k, err := signer.Generate(dnsname.MustParse(origin), alg, signer.CSK)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(v.dir, "keys"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := k.WriteFiles(filepath.Join(v.dir, "keys"), time.Now().AddDate(0, -1, 0)); err != nil {
			t.Fatal(err)
		}
		return k
	}
	for i, d := range denials {
		alg := []signer.Algorithm{signer.ECDSAP256SHA256, signer.ED25519, signer.RSASHA256}[i]
		top := []string{"nsec", "nsec3", "optout"}[i] + ".signed.example."
		sec := "sec." + top
		v.anchor[top] = key(top, alg)
		ds := key(sec, signer.ECDSAP384SHA384).DS()
		texts := map[string]string{
			top: strings.ReplaceAll(validatedZone, "CHILD", fmt.Sprintf("%d %d %d %s", int(ds[0])<<8|int(ds[1]), ds[2], ds[3], hex.EncodeToString([]byte(ds[4:])))) + manyTexts(),
			sec: childZone, "ins." + top: childZone, "ins.ent2." + top: childZone,
		}
		v.tops = append(v.tops, top)
		v.optOut[top] = d.policy.OptOut
		v.signed[top] = fmt.Sprintf("algorithm %d\n%s", alg, d.setting)
		v.signed[sec] = "algorithm 14"
		for zone, text := range texts {
			v.zones = append(v.zones, zone)
			write(t, filepath.Join(v.dir, strings.TrimSuffix(zone, ".")+".zone"), text)
			zp := dns.NewZoneParser(strings.NewReader(text), zone, "")
			for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
				for n := strings.ToLower(rr.Header().Name); dns.IsSubDomain(zone, n); n = n[strings.IndexByte(n, '.')+1:] {
					v.names[n] = true
				}
			}
			if err := zp.Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.Sort(v.zones)
	return v
}

// manyTexts gives records that are too many for a datagram.
func manyTexts() string {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, "big 300 TXT %q\n", fmt.Sprint(i, strings.Repeat(" many", 10)))
	}
	return b.String()
}

// corefile serves the zones, with signatures or as they are.
func (v *validated) corefile(sign bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".:%s {\n bind 127.0.0.1\n root %s\n", server.Port, v.dir)
	for _, z := range v.zones {
		fmt.Fprintf(&b, " authority %s {\n  file {zone}.zone\n", z)
		if settings := v.signed[z]; sign && settings != "" {
			fmt.Fprintf(&b, "  store data\n  dnssec {\n   keys keys\n%s\n  }\n", settings)
		}
		b.WriteString(" }\n")
	}
	return b.String() + "}\n"
}

// insecure tells whether a question is about a part of the tree that nobody has signed.
func (v *validated) insecure(name string, qtype uint16) bool {
	for _, z := range v.zones {
		if v.signed[z] == "" && dns.IsSubDomain(z, name) && (!strings.EqualFold(z, name) || qtype != dns.TypeDS) {
			return true
		}
	}
	return false
}

// unproven tells whether it follows from a chain with opt-out alone that a name is not there.
func (v *validated) unproven(name string, qtype uint16) bool {
	zone := ""
	for _, z := range v.zones {
		if dns.IsSubDomain(z, name) && len(z) > len(zone) && (qtype != dns.TypeDS || !strings.EqualFold(z, name)) {
			zone = z
		}
	}
	name = strings.ToLower(name)
	return v.optOut[zone] && (!v.names[name] || qtype == dns.TypeDS && (v.insecure(name, dns.TypeA) || !v.exactly(name)))
}

// exactly tells whether a name has more than insecure delegations at and below it.
func (v *validated) exactly(name string) bool {
	for n := range v.names {
		if dns.IsSubDomain(name, n) && !v.insecure(n, dns.TypeA) {
			return true
		}
	}
	return false
}

// ask gives a random question.
func (v *validated) ask(rng *rand.Rand, names []string) dns.Question {
	types := []uint16{dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypeNS, dns.TypeDS, dns.TypeSOA, dns.TypeCNAME, dns.TypeDNAME, dns.TypeSRV, 65280}
	for {
		name := names[rng.IntN(len(names))]
		for range rng.IntN(3) {
			switch rng.IntN(4) {
			case 0:
				name = []string{"a", "b", "nothing", "x", "*", "zzz", "0", "_tcp", "\\000", "\\255"}[rng.IntN(10)] + "." + name
			case 1:
				name = fmt.Sprintf("r%d.%s", rng.IntN(1000), name)
			case 2:
				if first, rest, ok := strings.Cut(name, "."); ok && !slices.Contains(v.tops, name) { // a neighbor
					name = first + []string{"-", "a", "0"}[rng.IntN(3)] + "." + rest
				}
			}
		}
		if rng.IntN(10) == 0 {
			name = strings.ToUpper(name)
		}
		q := dns.Question{Name: name, Qtype: types[rng.IntN(len(types))], Qclass: dns.ClassINET}
		if q.Qtype != dns.TypeDS || !slices.Contains(v.tops, strings.ToLower(name)) { // the parent of those does not exist
			return q
		}
	}
}

// S1, S3 to S8, S10, S12 to S16, N1 to N4, P1 to P4: unbound, which makes negative answers from proofs that it has seen, and delv
// find random answers valid, and get what a server of the same zones without signatures says.
func TestSignedAnswers(t *testing.T) { bothWays(t, testSignedAnswers) }

func testSignedAnswers(t *testing.T, start starter) {
	server.Require(t, "unbound", "delv")
	v := newValidated(t)
	s := start(t, v.corefile(true), v.zones...)
	twin := server.StartOurs(t, v.corefile(false), v.zones...)
	resolver := v.unbound(t, s)
	anchors := filepath.Join(t.TempDir(), "anchors")
	var list strings.Builder
	for _, top := range v.tops {
		ds := v.anchor[top].DS()
		fmt.Fprintf(&list, "trust-anchors { %q static-ds %d %d %d %q; };\n", top, v.anchor[top].Tag(), ds[2], ds[3], hex.EncodeToString([]byte(ds[4:])))
	}
	write(t, anchors, list.String())

	rng := rand.New(rand.NewPCG(1, 4035))
	var names []string
	for n := range v.names {
		names = append(names, n)
	}
	slices.Sort(names)
	work := make(chan func() error)
	var all sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for range 2 {
		all.Go(func() {
			for f := range work {
				if err := f(); err != nil {
					mu.Lock()
					if failed++; failed <= 10 {
						t.Error(err)
					}
					mu.Unlock()
				}
			}
		})
	}
	kinds := make(map[string]int)
	for i := range *questions {
		q := v.ask(rng, names)
		want, err := exchangeTCP(twin, q, false)
		if err != nil {
			t.Fatal(err)
		}
		kind := dns.RcodeToString[want.Rcode]
		if len(want.Answer) > 0 {
			kind += " with answer"
		}
		kinds[kind]++
		if belowDNAME(q, want) {
			continue
		}
		if !v.beyondUnbound(q) {
			work <- func() error { return v.asksUnbound(resolver, q, want) }
		}
		if i%max(1, *questions/max(1, *delvs)) == 0 {
			work <- func() error { return v.asksDelv(s, anchors, q, want) }
		}
	}
	close(work)
	all.Wait()
	if failed > 0 {
		t.Errorf("%d failures; unbound says\n%.8000s", failed, resolver.Log())
	}
	t.Log(kinds)
	for _, kind := range []string{"NOERROR", "NOERROR with answer", "NXDOMAIN", "NXDOMAIN with answer"} {
		if kinds[kind] == 0 {
			t.Errorf("no answer was %s", kind)
		}
	}
}

// belowDNAME tells whether a question is about the CNAME that follows from a DNAME, or for a DNAME where there is one: unbound has SERVFAIL
// then ("DS got DNAME answer"), whoever serves the zone, and delv follows the CNAME.
func belowDNAME(q dns.Question, want *dns.Msg) bool {
	return (q.Qtype == dns.TypeCNAME || q.Qtype == dns.TypeDNAME) && slices.ContainsFunc(want.Answer, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeDNAME && !strings.EqualFold(rr.Header().Name, q.Name)
	})
}

// beyondUnbound tells whether unbound (1.17) makes a mistake about a name, whoever serves the zone: it does not verify what a wildcard gives for
// a name that begins with an asterisk itself, and says NODATA where a wildcard answers for a label that sorts before the asterisk, when it
// has seen the proof that leads to the wildcard.
func (v *validated) beyondUnbound(q dns.Question) bool {
	name := strings.ToLower(q.Name)
	return !v.names[name] && strings.HasPrefix(name, "*.") || strings.Contains(name, `\000`)
}

// exchangeTCP asks for something by TCP, from a resolver if recurse is set.
func exchangeTCP(s *server.Server, q dns.Question, recurse bool) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(q.Name, q.Qtype)
	m.RecursionDesired, m.AuthenticatedData = recurse, recurse
	r, _, err := (&dns.Client{Net: "tcp", Timeout: 20 * time.Second}).Exchange(m, s.Addr.String())
	if err != nil {
		return nil, fmt.Errorf("%v: %w", q, err)
	}
	return r, nil
}

// content gives the answer section without what may differ: TTL, order, letter case, serials, which signers change.
func content(rrs []dns.RR) []string {
	var list []string
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeRRSIG {
			continue
		}
		rr = dns.Copy(rr)
		rr.Header().Ttl = 0
		if soa, ok := rr.(*dns.SOA); ok { // it is no part of the data
			soa.Serial = 0
		}
		list = append(list, strings.ReplaceAll(strings.ToLower(rr.String()), "class1\t", "in\t"))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// secure tells whether all of the answer to a question can be validated; known is false where a chain with opt-out leaves that open.
func (v *validated) secure(q dns.Question, want *dns.Msg) (secure, known bool) {
	names := []string{q.Name}
	for _, rr := range want.Answer {
		if c, ok := rr.(*dns.CNAME); ok && q.Qtype != dns.TypeCNAME {
			names = append(names, c.Target)
		}
	}
	secure, known = true, true
	for _, n := range names {
		secure = secure && !v.insecure(n, q.Qtype)
		known = known && !v.unproven(n, q.Qtype)
	}
	return secure, known
}

func (v *validated) asksUnbound(resolver *server.Server, q dns.Question, want *dns.Msg) error {
	r, err := exchangeTCP(resolver, q, true)
	if err != nil {
		return err
	}
	secure, known := v.secure(q, want)
	switch {
	case r.Rcode != want.Rcode:
		return fmt.Errorf("unbound has %s for %s, want %s\n%v", dns.RcodeToString[r.Rcode], q.String(), dns.RcodeToString[want.Rcode], want)
	case !slices.Equal(content(r.Answer), content(want.Answer)):
		return fmt.Errorf("unbound has for %s\n%q\nwant\n%q", q.String(), content(r.Answer), content(want.Answer))
	case secure && known && !r.AuthenticatedData:
		return fmt.Errorf("unbound does not find the answer to %s secure\n%v", q.String(), r)
	case !secure && r.AuthenticatedData:
		return fmt.Errorf("unbound finds the answer to %s secure\n%v", q.String(), r)
	}
	return nil
}

func (v *validated) asksDelv(s *server.Server, anchors string, q dns.Question, want *dns.Msg) error {
	top := v.tops[slices.IndexFunc(v.tops, func(z string) bool { return dns.IsSubDomain(z, q.Name) })]
	args := []string{"@127.0.0.1", "-p", fmt.Sprint(s.Addr.Port()), "-a", anchors, "+root=" + top, "-q", q.Name, "-t", fmt.Sprintf("TYPE%d", q.Qtype)}
	ctx, cancel := context.WithTimeout(context.Background(), server.Patience)
	defer cancel()
	b, err := exec.CommandContext(ctx, "delv", args...).CombinedOutput()
	out := string(b)
	bad := func(what string) error {
		return fmt.Errorf("delv finds the answer to %s %s: %w\n%s\nwant\n%v", q.String(), what, errors.Join(err, errValidator), out, want)
	}
	secure, known := v.secure(q, want)
	valid, unsigned := strings.Contains(out, "fully validated"), strings.Contains(out, "unsigned answer")
	if err != nil || secure && known && (!valid || unsigned) || !secure && !unsigned {
		return bad(fmt.Sprintf("other than secure: %v", secure))
	}
	var got []dns.RR
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line == "" || line[0] == ';' {
			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			return bad(err.Error())
		}
		got = append(got, rr)
	}
	if strings.Contains(out, "ncache nxdomain") != (want.Rcode == dns.RcodeNameError) || !slices.Equal(content(shownByDelv(got)), content(shownByDelv(want.Answer))) {
		return bad(fmt.Sprintf("%q", content(got)))
	}
	return nil
}

// shownByDelv gives what is left of an answer when delv shows it: no CNAME that follows from a DNAME, whose owner is that of
// the CNAME.
func shownByDelv(rrs []dns.RR) (list []dns.RR) {
	for _, rr := range rrs {
		switch {
		case rr.Header().Rrtype == dns.TypeDNAME:
			rr = dns.Copy(rr)
			rr.Header().Name = "."
		case rr.Header().Rrtype == dns.TypeCNAME && slices.ContainsFunc(rrs, func(d dns.RR) bool {
			return d.Header().Rrtype == dns.TypeDNAME && dns.IsSubDomain(d.Header().Name, rr.Header().Name)
		}):
			continue
		}
		list = append(list, rr)
	}
	return list
}

var errValidator = errors.New("a validator is not content")

// unbound starts it as a validator that finds the zones at a server.
func (v *validated) unbound(t *testing.T, s *server.Server) *server.Server {
	t.Helper()
	return server.StartProgram(t, server.Program{
		Name: "unbound", Ready: "start of service",
		Prepare: func(dir string, port int) ([]string, error) {
			var b strings.Builder
			fmt.Fprintf(&b, `server:
	interface: 127.0.0.1@%d
	access-control: 127.0.0.0/8 allow
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	logfile: ""
	use-syslog: no
	verbosity: 1
	val-log-level: 2
	num-threads: 1
	do-ip6: no
	do-daemonize: no
	module-config: "validator iterator"
	aggressive-nsec: yes
	harden-below-nxdomain: no # it takes the NXDOMAIN at the end of a CNAME chain for one of the name in front
	do-not-query-localhost: no
	minimal-responses: no
	incoming-num-tcp: 100
`, port, dir)
			for top, k := range v.anchor {
				ds := k.DS()
				fmt.Fprintf(&b, "\ttrust-anchor: \"%s DS %d %d %d %s\"\n", top, k.Tag(), ds[2], ds[3], hex.EncodeToString([]byte(ds[4:])))
			}
			for _, z := range v.zones {
				fmt.Fprintf(&b, "stub-zone:\n\tname: %q\n\tstub-addr: %s@%d\n", z, s.Addr.Addr(), s.Addr.Port())
			}
			b.WriteString("remote-control:\n\tcontrol-enable: no\n")
			conf := filepath.Join(dir, "unbound.conf")
			return []string{"-d", "-c", conf}, os.WriteFile(conf, []byte(b.String()), 0o644)
		},
	})
}
