package update

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/identity"
	"github.com/trustdns/trustdns/plugin/pkg/policy"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// holding is an authority with one zone.
type holding struct{ zone *zonedb.Zone }

func (h holding) LiveZone(origin dnsname.Name) *zonedb.Zone {
	if origin == h.zone.Spec().Origin {
		return h.zone
	}
	return nil
}

// handlerFor gives a handler with those lines for a zone in memory.
func handlerFor(t testing.TB, text, lines string) *Update {
	t.Helper()
	b, err := parsed("update {\n" + lines + "\n}")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "zone")
	write(t, path, text)
	db := zonedb.New(time.Hour)
	lease, err := db.Open(t, []zonedb.Spec{{Origin: dnsname.MustParse("example.org."), Path: path, Seed: true}}, zonedb.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lease.Close)
	b.live = holding{lease.Zones()[0]}
	return &Update{Next: test.NextHandler(dns.RcodeNameError, nil), block: b}
}

func (u *Update) zone() *zonedb.Zone { return u.live.(holding).zone }

// as gives the context of a request that the key has signed.
func as(ctx context.Context, key string) context.Context {
	if key == "" {
		return ctx
	}
	return identity.With(ctx, identity.Identity{Key: key, Algorithm: dns.HmacSHA256})
}

// received gives a message as the server gets it.
func received(t testing.TB, m *dns.Msg) *dns.Msg {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	m = new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	return m
}

// send hands a request that the key has signed to the handler.
func (u *Update) send(t testing.TB, key string, m *dns.Msg) *dns.Msg {
	t.Helper()
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	code, err := u.ServeDNS(as(t.Context(), key), rec, received(t, m))
	if err != nil || !plugin.ClientWrite(code) || rec.Msg == nil {
		t.Fatalf("code %d, error %v, response %v", code, err, rec.Msg)
	}
	return rec.Msg
}

// updating makes an UPDATE, with EDNS, of an update section: records to add, or
// with - in front to delete.
func updating(lines ...string) *dns.Msg {
	m := new(dns.Msg).SetUpdate("example.org.")
	for _, l := range lines {
		switch fields := strings.Fields(strings.TrimPrefix(l, "-")); {
		case !strings.HasPrefix(l, "-"):
			m.Insert(rrs(l))
		case len(fields) == 2 && fields[1] == "ANY":
			m.RemoveName([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: fields[0]}}})
		case len(fields) == 2:
			m.RemoveRRset([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: fields[0], Rrtype: dns.StringToType[fields[1]]}}})
		default:
			m.Remove(rrs(l[1:]))
		}
	}
	return m.SetEdns0(1232, false)
}

// extended gives code and text of the extended error.
func extended(m *dns.Msg) (code uint16, text string) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return e.InfoCode, e.ExtraText
			}
		}
	}
	return 0, ""
}

// has gives the types at a name of the zone.
func has(z *zonedb.Zone, name string) (types []string) {
	for s := range z.Snapshot().Begin().Sets(dnsname.MustParse(name)) {
		types = append(types, dns.Type(s.Type).String())
	}
	slices.Sort(types)
	return types
}

// To delete a name is to delete all that it has: a grant for each of the types is
// needed, but for the signatures, which go with what they are about.
func TestDeletesOfNames(t *testing.T) {
	signed := zoneText + "www 300 TXT x\n" +
		"www 300 RRSIG A 13 3 300 20300101000000 20200101000000 1 example.org. AAAA\n" +
		"www 300 NSEC a.example.org. A TXT RRSIG NSEC\n" +
		"alone 300 RRSIG TXT 13 3 300 20300101000000 20200101000000 1 example.org. AAAA\n"
	for _, c := range []struct {
		name, grants, line string
		rcode              int
		left               string // types at www
		text               string // in the extended error
	}{
		{"all types are granted", "grant k.example.org zonesub", "-www.example.org. ANY", dns.RcodeSuccess, "", ""},
		{"each type is granted", "grant k.example.org zonesub A TXT", "-www.example.org. ANY", dns.RcodeSuccess, "", ""},
		{"one type is not granted", "grant k.example.org zonesub A", "-www.example.org. ANY", dns.RcodeRefused, "A NSEC TXT", "www.example.org. TXT: no line grants it"},
		{"one type is denied", "deny k.example.org name www.example.org TXT\ngrant k.example.org zonesub", "-www.example.org. ANY", dns.RcodeRefused, "A NSEC TXT", "www.example.org. TXT: deny k.example.org. name www.example.org. TXT"},
		{"what is not there needs no grant", "grant k.example.org zonesub AAAA", "-nothing.example.org. ANY", dns.RcodeSuccess, "A NSEC TXT", ""},
		{"signatures without a record", "grant k.example.org zonesub AAAA", "-alone.example.org. ANY", dns.RcodeSuccess, "A NSEC TXT", ""},
		{"the apex has types that need a word of their own", "grant k.example.org zonesub", "-example.org. ANY", dns.RcodeRefused, "A NSEC TXT", "example.org. NS: no line grants it"},
		{"the apex, with ANY", "grant k.example.org zonesub ANY", "-example.org. ANY", dns.RcodeSuccess, "A NSEC TXT", ""},
		{"another type", "grant k.example.org zonesub A", "-www.example.org. TXT", dns.RcodeRefused, "A NSEC TXT", "www.example.org. TXT: no line grants it"},
		{"signatures alone", "grant k.example.org zonesub A TXT", "-www.example.org. RRSIG", dns.RcodeRefused, "A NSEC TXT", "www.example.org. RRSIG: no line grants it"},
		{"NSEC alone", "grant k.example.org zonesub ANY", "-www.example.org. NSEC", dns.RcodeRefused, "A NSEC TXT", "www.example.org. NSEC: no line grants it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := handlerFor(t, signed, c.grants)
			m := u.send(t, "k.example.org.", updating(c.line))
			_, text := extended(m)
			if left := strings.Join(has(u.zone(), "www.example.org."), " "); m.Rcode != c.rcode || text != c.text || left != c.left {
				t.Errorf("%s, %q, left %q, want %s, %q", dns.RcodeToString[m.Rcode], text, left, dns.RcodeToString[c.rcode], c.text)
			}
		})
	}
}

// Each rule both ways, through a whole request: the line that refuses is in the
// extended error, and nothing of the request is done.
func TestPolicyOfRequests(t *testing.T) {
	for _, c := range []struct {
		name, lines, key string
		tcp              bool
		yes, no          string // lines of an update section
		text             string
	}{
		{"name", "grant k.example.org name www.example.org", "k.example.org.", false, "WWW.example.org. 60 A 192.0.2.2", "a.www.example.org. 60 A 192.0.2.2", "a.www.example.org. A: no line grants it"},
		{"subdomain", "grant k.example.org subdomain lan.example.org A AAAA", "k.example.org.", false, "lan.example.org. 60 A 192.0.2.2", "lan.example.org. 60 TXT x", "lan.example.org. TXT: no line grants it"},
		{"zonesub", "grant k.example.org zonesub TXT", "k.example.org.", false, "example.org. 60 TXT x", "example.org. 60 NS ns3", "example.org. NS: no line grants it"},
		{"wildcard", "grant k.example.org wildcard *.apps.example.org", "k.example.org.", false, "a.b.apps.example.org. 60 A 192.0.2.2", "apps.example.org. 60 A 192.0.2.2", "apps.example.org. A: no line grants it"},
		{"self", "grant *.example.org self", "h.example.org.", false, "h.example.org. 60 A 192.0.2.2", "a.h.example.org. 60 A 192.0.2.2", "a.h.example.org. A: no line grants it"},
		{"selfsub", "grant *.example.org selfsub", "h.example.org.", false, "a.h.example.org. 60 A 192.0.2.2", "h2.example.org. 60 A 192.0.2.2", "h2.example.org. A: no line grants it"},
		{"U43: selfwild", "grant k.example.org selfwild", "k.example.org.", false, "a.k.example.org. 60 A 192.0.2.2", "k.example.org. 60 A 192.0.2.2", "k.example.org. A: no line grants it"},
		{"deny first", "deny any name www.example.org\ngrant k.example.org zonesub", "k.example.org.", false, "w.example.org. 60 A 192.0.2.2", "www.example.org. 60 A 192.0.2.2", "www.example.org. A: deny any name www.example.org."},
		{"SOA needs a word of its own", "grant k.example.org zonesub\n", "k.example.org.", false, "b.example.org. 60 CAA 0 issue \"ca.example\"", "example.org. 60 SOA a b 99 1 1 1 1", "example.org. SOA: no line grants it"},
		{"tcp for a proto tcp", "grant k.example.org zonesub\nproto tcp", "k.example.org.", true, "b.example.org. 60 A 192.0.2.2", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := handlerFor(t, zoneText, c.lines)
			serve := func(lines ...string) *dns.Msg {
				rec := dnstest.NewRecorder(&test.ResponseWriter{TCP: c.tcp})
				if _, err := u.ServeDNS(as(t.Context(), c.key), rec, received(t, updating(lines...))); err != nil {
					t.Fatal(err)
				}
				return rec.Msg
			}
			if m := serve(c.yes); m.Rcode != dns.RcodeSuccess || u.zone().Snapshot().Serial() != 11 {
				t.Errorf("granted: %v", m)
			}
			if c.no == "" {
				return
			}
			before := u.zone().Snapshot()
			m := serve("-"+c.yes, c.no) // the second is refused, and so the first is not done
			code, text := extended(m)
			if m.Rcode != dns.RcodeRefused || code != dns.ExtendedErrorCodeProhibited || text != c.text || u.zone().Snapshot() != before {
				t.Errorf("refused: %s, %d %q, serial %d", dns.RcodeToString[m.Rcode], code, text, u.zone().Snapshot().Serial())
			}
		})
	}
}

// Who is granted nothing at all learns nothing about the zone, whatever he asks.
func TestRefusedBeforeAnythingElse(t *testing.T) {
	u := handlerFor(t, zoneText, "grant k.example.org zonesub\nproto tcp")
	probe := func(m *dns.Msg) { m.NameNotUsed(rrs("www.example.org. 0 A 192.0.2.1")) }
	for name, c := range map[string]struct {
		key, text string
	}{
		"unsigned":    {"", "no signature, and nothing is granted without"},
		"another key": {"j.example.org.", "nothing is granted to key j.example.org."},
		"over UDP":    {"k.example.org.", "nothing is granted to key k.example.org."},
	} {
		m := updating("www.example.org. 60 A 192.0.2.2")
		probe(m)
		r := u.send(t, c.key, m)
		if _, text := extended(r); r.Rcode != dns.RcodeRefused || text != c.text {
			t.Errorf("%s: %s, %q", name, dns.RcodeToString[r.Rcode], text)
		}
	}
}

// Where a request and its response are no messages of their own there are no
// updates.
func TestTransports(t *testing.T) {
	u := handlerFor(t, zoneText, "grant k.example.org zonesub\nproto tls")
	for addr, want := range map[string]int{
		"https://127.0.0.1:443": dns.RcodeNotImplemented, "https3://127.0.0.1:443": dns.RcodeNotImplemented, "quic://127.0.0.1:853": dns.RcodeNotImplemented,
		"grpc://127.0.0.1:443": dns.RcodeNotImplemented, "dns://127.0.0.1:53": dns.RcodeRefused, "tls://127.0.0.1:853": dns.RcodeSuccess,
	} {
		rec := dnstest.NewRecorder(&test.ResponseWriter{TCP: true})
		ctx := context.WithValue(as(t.Context(), "k.example.org."), dnsserver.Key{}, &dnsserver.Server{Addr: addr})
		if _, err := u.ServeDNS(ctx, rec, received(t, updating("a.example.org. 60 A 192.0.2.1"))); err != nil || rec.Msg.Rcode != want {
			t.Errorf("%s: %v, %v", addr, rec.Msg, err)
		}
	}
	if n := u.zone().Snapshot().Serial(); n != 11 {
		t.Errorf("serial %d", n)
	}
}

// `max`: what would be more is passed over (U42), for each line its own number.
func TestMax(t *testing.T) {
	u := handlerFor(t, zoneText, "grant k.example.org zonesub PTR max 1\ngrant k.example.org zonesub A max 2")
	for _, line := range []string{"p.example.org. 60 PTR a.", "p.example.org. 60 PTR b.", "p.example.org. 60 A 192.0.2.1", "p.example.org. 60 A 192.0.2.2", "p.example.org. 60 A 192.0.2.3"} {
		if m := u.send(t, "k.example.org.", updating(line)); m.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: %v", line, m)
		}
	}
	if s := u.zone().Snapshot(); s.Serial() != 13 || s.Records() != 8+3 {
		t.Errorf("serial %d, %d records", s.Serial(), s.Records())
	}
}

// What is not an update, or for other zones, is not ours.
func TestPassesOn(t *testing.T) {
	u := handlerFor(t, zoneText, "grant k.example.org zonesub")
	query := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
	for name, m := range map[string]*dns.Msg{"a query": query, "another zone": new(dns.Msg).SetUpdate("example.net."), "the zone above": new(dns.Msg).SetUpdate("org.")} {
		if code, _ := u.ServeDNS(as(t.Context(), "k.example.org."), &test.ResponseWriter{}, m); code != dns.RcodeNameError {
			t.Errorf("%s: code %d", name, code)
		}
	}
}

// A zone whose file is broken cannot be updated.
func TestZoneThatIsNotLoaded(t *testing.T) {
	u := handlerFor(t, "this is no zone\n", "grant k.example.org zonesub")
	for _, line := range []string{"a.example.org. 60 A 192.0.2.1", "example.net. 60 A 192.0.2.1"} {
		m := u.send(t, "k.example.org.", updating(line))
		if code, _ := extended(m); line[0] == 'a' && (m.Rcode != dns.RcodeServerFailure || code != dns.ExtendedErrorCodeNotReady) {
			t.Errorf("%s: %v", line, m)
		}
	}
}

// A line in the log is one line, and not long, whatever a client writes.
func TestAudit(t *testing.T) {
	u := handlerFor(t, zoneText, "grant k.example.org zonesub")
	for name, fill := range map[string]func(*dns.Msg){
		"a line break in an option": func(m *dns.Msg) {
			m.Ns = append(m.Ns, &dns.OPT{
				Hdr:    dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: dns.ClassINET},
				Option: []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: 1, ExtraText: "x\n[INFO] plugin/update: audit: forged \x1b[31m\u202e"}},
			})
		},
		"a line break in a name": func(m *dns.Msg) { m.Insert(rrs(`a\010b.example.org. 60 TXT "c\010d"`)) },
		"much text": func(m *dns.Msg) {
			m.Insert(rrs(`a.example.org. 60 TXT ` + strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, 20)))
		},
		"many records": func(m *dns.Msg) {
			for range 100 {
				m.Insert(rrs("a.example.org. 60 A 192.0.2.1"))
			}
		},
	} {
		for _, key := range []string{"", "k.example.org."} {
			m := updating()
			fill(m)
			log := captureLog(t)
			u.send(t, key, m)
			got := log.String()
			if strings.Count(got, "\n") != 1 || len(got) > 3000 || strings.ContainsAny(got, "\x1b\u202e") || !strings.Contains(got, "audit: example.org. ") {
				t.Errorf("%s, key %q: %q", name, key, got)
			}
		}
	}
}

// Addresses of the PROXY protocol are what they stand for.
type proxied struct{ net.Addr }

func (p proxied) Unwrap() net.Addr { return p.Addr }

type from struct {
	test.ResponseWriter
	addr net.Addr
}

func (f *from) RemoteAddr() net.Addr { return f.addr }

func TestClientOf(t *testing.T) {
	udp, tcp := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[::ffff:192.0.2.7]:53")), net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:53"))
	for _, c := range []struct {
		addr  net.Addr
		want  netip.Addr
		proto policy.Proto
	}{
		{udp, netip.MustParseAddr("192.0.2.7"), policy.UDP},
		{tcp, netip.MustParseAddr("2001:db8::1"), policy.TCP},
		{proxied{udp}, netip.MustParseAddr("192.0.2.7"), 0},
		{proxied{tcp}, netip.MustParseAddr("2001:db8::1"), 0},
		{&net.UnixAddr{Name: "x"}, netip.Addr{}, 0},
	} {
		if addr, proto := clientOf(&from{addr: c.addr}); addr != c.want || proto != c.proto {
			t.Errorf("%v: %v, %v", c.addr, addr, proto)
		}
	}
}

// sound tells what is wrong with a zone that went through updates.
func sound(s *zone.Snapshot) (complaints []string) {
	origin := dnsname.MustParse("example.org.")
	b := zone.NewBuilder(origin)
	records := 0
	s.Walk(func(set *zone.Set, _ int) bool {
		for r := range set.All() {
			records++
			if err := b.Add(set.Owner, set.Type, set.TTL, []byte(r)); err != nil {
				complaints = append(complaints, err.Error())
			}
		}
		for r := range set.Sigs.All() {
			records++
			if err := b.Add(set.Owner, dns.TypeRRSIG, set.Sigs.TTL, []byte(r)); err != nil {
				complaints = append(complaints, err.Error())
			}
		}
		return true
	})
	again, problems, err := b.Snapshot()
	switch {
	case err != nil:
		return append(complaints, err.Error())
	case records != s.Records() || again.Records() != records || again.Serial() != s.Serial():
		complaints = append(complaints, "records are counted wrong, or there twice")
	}
	for _, p := range problems {
		switch p.Rule {
		case zone.RuleNoNS, zone.RuleCNAMEAndOther, zone.RuleManyCNAME, zone.RuleManyDNAME, zone.RuleTTL, zone.RuleWildcardNS, zone.RuleWildcardDNAME, zone.RuleTooLong:
			complaints = append(complaints, p.String())
		}
	}
	return complaints
}
