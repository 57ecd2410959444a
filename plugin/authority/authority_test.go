package authority

import (
	"context"
	"errors"
	"fmt"
	"io"
	golog "log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

func TestMain(m *testing.M) {
	golog.SetOutput(io.Discard)
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) // package server has a thread that starts programs
}

// orgZone is the zone of most tests: example.org.
var orgZone = `$TTL 3600
@ SOA ns1 hostmaster 2024010101 7200 3600 1209600 300
@ NS ns1
ns1 A 192.0.2.53
www A 192.0.2.1
www AAAA 2001:db8::1
Mixed A 192.0.2.2
al CNAME WWW
out CNAME x.example.net.
deep CNAME host.child
dang CNAME nope
*.w TXT "from a wildcard"
sub NS ns.sub
ns.sub A 192.0.2.99
child NS ns.child
ns.child A 192.0.2.98
h2c CNAME far.sub
signed A 192.0.2.6
signed RRSIG A 13 3 3600 20300101000000 20200101000000 12345 @ AAECAwQFBgc=
big TXT "` + strings.Repeat("a", 200) + "\"\n" + repeat(9, "big TXT \"%[1]d", strings.Repeat("b", 150), "\"\n") +
	repeat(40, "many NS ns%[1]d.many\nns%[1]d.many AAAA 2001:db8::%[1]x\n") +
	repeat(30, "mx MX %[1]d mx%[1]d\nmx%[1]d AAAA 2001:db8:1::%[1]x\n") +
	repeat(25, "srv SRV 0 0 %[1]d Mx%[1]d.Example.ORG.\ncases MX %[1]d MX%[1]d.eXAMPLE.oRG.\n") +
	"huge A 192.0.2.5\n" + repeat(350, "huge TXT \"%03[1]d", strings.Repeat("c", 180), "\"\n")

// netZone is example.net, whose names are the targets of aliases.
const netZone = `$TTL 3600
@ SOA ns1.example.org. hostmaster 7 7200 3600 1209600 300
@ NS ns1.example.org.
x CNAME www.example.org.
`

// childZone is child.example.org, delegated from example.org.
const childZone = `$TTL 3600
@ SOA ns hostmaster 9 7200 3600 1209600 300
@ NS ns
ns A 192.0.2.98
host A 192.0.2.4
`

// repeat gives the parts, formatted with each number from 1 to n.
func repeat(n int, parts ...string) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, strings.Join(parts, ""), i)
	}
	return b.String()
}

// write puts a file into dir, last changed some minutes ago.
// It is there at once, and whole: on a busy machine one that is being written may
// look as if it were left alone.
func writeFile(t testing.TB, path, content string) {
	t.Helper()
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-5 * time.Minute)
	if err := os.Chtimes(temp, then, then); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, path); err != nil {
		t.Fatal(err)
	}
}

// newAuthority makes the handler of a server block for the root zone.
func newAuthority(t testing.TB, corefile string, next plugin.Handler) *Authority {
	t.Helper()
	c := caddy.NewTestController("dns", corefile)
	c.ServerBlockKeys = []string{"."}
	b, err := parse(c)
	if err != nil {
		t.Fatal(err)
	}
	openBlock(t, b, zonedb.New(time.Hour))
	return &Authority{Next: next, block: b}
}

// openBlock loads the zones of a block until the end of the test.
func openBlock(t testing.TB, b *block, db *zonedb.DB) {
	t.Helper()
	if err := b.open(db); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
}

// newTestAuthority serves example.org, and what else is named, from temporary files.
func newTestAuthority(t testing.TB, next plugin.Handler, properties string, more ...string) *Authority {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "example.org"), orgZone)
	writeFile(t, filepath.Join(dir, "example.net"), netZone)
	writeFile(t, filepath.Join(dir, "child.example.org"), childZone)
	zones := strings.Join(append([]string{"example.org"}, more...), " ")
	return newAuthority(t, fmt.Sprintf("authority %s {\nfile %s/{zone}\n%s\n}", zones, dir, properties), next)
}

// client is who asks in a test.
type client struct {
	tcp    bool
	server string // address of the server, with its scheme
	ctx    context.Context
}

// ask sends a request through the writers of the server, packed and unpacked as
// on the way, and gives the response and its size.
func (c client) ask(t testing.TB, h plugin.Handler, req *dns.Msg) (*dns.Msg, int) {
	t.Helper()
	wire, err := req.Pack()
	if err != nil {
		t.Fatal(err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	ctx := c.ctx
	if ctx == nil {
		ctx = t.Context()
	}
	if c.server != "" {
		ctx = context.WithValue(ctx, dnsserver.Key{}, &dnsserver.Server{Addr: c.server})
	}
	rec := dnstest.NewRecorder(&test.ResponseWriter{TCP: c.tcp})
	code, err := h.ServeDNS(ctx, request.NewScrubWriter(r, rec), r)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Msg == nil {
		t.Fatalf("nothing was written, code %s", dns.RcodeToString[code])
	}
	if !plugin.ClientWrite(code) {
		t.Fatalf("code %s after a response was written", dns.RcodeToString[code])
	}
	if wire, err = rec.Msg.Pack(); err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	if m.Id != req.Id || !m.Response || m.Opcode != req.Opcode || m.RecursionAvailable || m.AuthenticatedData || m.Zero {
		t.Errorf("header %v", m.MsgHdr)
	}
	if len(m.Question) != 1 || m.Question[0] != req.Question[0] {
		t.Errorf("question %v, want %v", m.Question, req.Question)
	}
	return m, len(wire)
}

// query makes a question with further properties.
func query(name string, typ uint16, with ...func(*dns.Msg)) *dns.Msg {
	m := new(dns.Msg)
	m.Id = dns.Id()
	m.Question = []dns.Question{{Name: name, Qtype: typ, Qclass: dns.ClassINET}}
	for _, f := range with {
		f(m)
	}
	return m
}

func edns(size uint16, options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		o := test.OPT(int(size), false)
		o.Option = options
		m.Extra = append(m.Extra, o)
	}
}

func do(m *dns.Msg)                 { m.Extra = append(m.Extra, test.OPT(1232, true)) }
func rd(m *dns.Msg)                 { m.RecursionDesired = true }
func cd(m *dns.Msg)                 { m.CheckingDisabled = true }
func class(c uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.Question[0].Qclass = c } }
func opcode(o int) func(*dns.Msg)   { return func(m *dns.Msg) { m.Opcode = o } }

// show gives what matters of a response: response code and flags, then one line a record.
func show(m *dns.Msg) string {
	var b strings.Builder
	b.WriteString(dns.RcodeToString[m.Rcode])
	for _, f := range []struct {
		on   bool
		text string
	}{{m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.RecursionDesired, "rd"}, {m.CheckingDisabled, "cd"}} {
		if f.on {
			b.WriteString(" " + f.text)
		}
	}
	for _, s := range []struct {
		name string
		rrs  []dns.RR
	}{{"answer", m.Answer}, {"authority", m.Ns}, {"additional", m.Extra}} {
		for _, rr := range s.rrs {
			if o, ok := rr.(*dns.OPT); ok {
				fmt.Fprintf(&b, "\nopt %d do=%t", o.UDPSize(), o.Do())
				for _, e := range o.Option {
					switch e := e.(type) {
					case *dns.EDNS0_EDE:
						fmt.Fprintf(&b, " ede=%d %q", e.InfoCode, e.ExtraText)
					case *dns.EDNS0_ZONEVERSION:
						fmt.Fprintf(&b, " zoneversion=%d %d %x", e.LabelCount, e.Type, e.Version)
					case *dns.EDNS0_EXPIRE:
						fmt.Fprintf(&b, " expire=%d", e.Expire)
					default:
						fmt.Fprintf(&b, " option=%d", e.Option())
					}
				}
				continue
			}
			b.WriteString("\n" + s.name + " " + strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	return b.String()
}

func lines(s ...string) string { return strings.Join(s, "\n") }

// expire asks for EXPIRE.
var expire = &dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true}

const (
	orgSOA = "authority example.org. 300 IN SOA ns1.example.org. hostmaster.example.org. 2024010101 7200 3600 1209600 300"
	wwwA   = "answer www.example.org. 3600 IN A 192.0.2.1"
)

// Case numbers are those of the answering rules: header, EDNS and response codes
// are what this package adds to the lookups of package zone.
func TestAnswers(t *testing.T) {
	both := newTestAuthority(t, nil, "", "example.net", "child.example.org")
	for _, c := range []struct {
		name string
		req  *dns.Msg
		want string
	}{
		{"A1 A34 plain, no OPT", query("www.example.org.", dns.TypeA), lines("NOERROR aa", wwwA)},
		{
			"A2 the question is echoed in its letter case, and so are owners that are in it",
			query("wWw.EXAMPLE.org.", dns.TypeA),
			lines("NOERROR aa", "answer wWw.EXAMPLE.org. 3600 IN A 192.0.2.1"),
		},
		{
			"A2 what is not in the question has the case of the zone",
			query("AL.example.org.", dns.TypeA),
			lines("NOERROR aa", "answer AL.example.org. 3600 IN CNAME WWW.example.org.", "answer WWW.example.org. 3600 IN A 192.0.2.1"),
		},
		{"A3 no data", query("www.example.org.", dns.TypeTXT), lines("NOERROR aa", orgSOA)},
		{
			"A4 no name",
			query("nope.example.org.", dns.TypeA), lines("NXDOMAIN aa", orgSOA),
		},
		{"A10 alias to no name", query("dang.example.org.", dns.TypeA), lines("NXDOMAIN aa", "answer dang.example.org. 3600 IN CNAME nope.example.org.", orgSOA)},
		{"A12 wildcard", query("q.w.example.org.", dns.TypeTXT), lines("NOERROR aa", `answer q.w.example.org. 3600 IN TXT "from a wildcard"`)},
		{
			"A18 referral", query("h.sub.example.org.", dns.TypeA),
			lines("NOERROR", "authority sub.example.org. 3600 IN NS ns.sub.example.org.", "additional ns.sub.example.org. 3600 IN A 192.0.2.99"),
		},
		{
			"A46 alias to a name below a cut", query("h2c.example.org.", dns.TypeA),
			lines("NOERROR aa", "answer h2c.example.org. 3600 IN CNAME far.sub.example.org.", "authority sub.example.org. 3600 IN NS ns.sub.example.org.", "additional ns.sub.example.org. 3600 IN A 192.0.2.99"),
		},
		{
			"alias to a name below a cut, of a zone that is ours too", query("deep.example.org.", dns.TypeA),
			lines("NOERROR aa", "answer deep.example.org. 3600 IN CNAME host.child.example.org.", "answer host.child.example.org. 3600 IN A 192.0.2.4"),
		},
		{
			"aliases through another zone and back", query("out.example.org.", dns.TypeA),
			lines("NOERROR aa", "answer out.example.org. 3600 IN CNAME x.example.net.", "answer x.example.net. 3600 IN CNAME www.example.org.", wwwA),
		},
		{
			"DS at an apex comes from the zone above", query("child.example.org.", dns.TypeDS),
			lines("NOERROR aa", orgSOA),
		},
		{
			"A27 DS at an apex without a zone above", query("example.org.", dns.TypeDS),
			lines("NOERROR aa", orgSOA),
		},
		{
			"DS below an apex comes from its zone", query("host.child.example.org.", dns.TypeDS),
			lines("NOERROR aa", "authority child.example.org. 300 IN SOA ns.child.example.org. hostmaster.child.example.org. 9 7200 3600 1209600 300"),
		},
		{"A50 DO is echoed", query("www.example.org.", dns.TypeA, do), lines("NOERROR aa", wwwA, "opt 1232 do=true")},
		{
			"S1 DO gets signatures", query("signed.example.org.", dns.TypeA, do),
			lines("NOERROR aa", "answer signed.example.org. 3600 IN A 192.0.2.6", "answer signed.example.org. 3600 IN RRSIG A 13 3 3600 20300101000000 20200101000000 12345 example.org. AAECAwQFBgc=", "opt 1232 do=true"),
		},
		{"S1 without DO there are none", query("signed.example.org.", dns.TypeA, edns(1232)), lines("NOERROR aa", "answer signed.example.org. 3600 IN A 192.0.2.6", "opt 1232 do=false")},
		{"A51 A52 RD and CD are copied", query("www.example.org.", dns.TypeA, rd, cd), lines("NOERROR aa rd cd", wwwA)},
		{"small EDNS size", query("www.example.org.", dns.TypeA, edns(100)), lines("NOERROR aa", wwwA, "opt 100 do=false")},
		{"large EDNS size", query("www.example.org.", dns.TypeA, edns(4096)), lines("NOERROR aa", wwwA, "opt 1232 do=false")},
		{
			"A53 padding over UDP and other options we do not know are not echoed",
			query("www.example.org.", dns.TypeA, edns(1232, &dns.EDNS0_PADDING{Padding: make([]byte, 9)}, &dns.EDNS0_LOCAL{Code: 65010, Data: []byte("x")}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"})),
			lines("NOERROR aa", wwwA, "opt 1232 do=false"),
		},
		{
			"A44 ECS is not supported: no option in the answer",
			query("www.example.org.", dns.TypeA, edns(1232, subnet(1, 24, 0, "198.51.100.0"))),
			lines("NOERROR aa", wwwA, "opt 1232 do=false"),
		},
		{
			"A45 ECS with bits beyond the prefix",
			query("www.example.org.", dns.TypeA, edns(1232, subnet(1, 24, 0, "198.51.100.0"), &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte{0, 1, 20, 0, 198, 51, 101}})),
			lines("FORMERR", "opt 1232 do=false"),
		},
		{"ECS with a scope", query("www.example.org.", dns.TypeA, edns(1232, subnet(1, 24, 24, "198.51.100.0"))), lines("FORMERR", "opt 1232 do=false")},
		{"ECS opted out", query("www.example.org.", dns.TypeA, edns(1232, subnet(1, 0, 0, "0.0.0.0"))), lines("NOERROR aa", wwwA, "opt 1232 do=false")},
		{"ECS of family 2", query("www.example.org.", dns.TypeA, edns(1232, subnet(2, 48, 0, "2001:db8::"))), lines("NOERROR aa", wwwA, "opt 1232 do=false")},
		{
			"ECS of family 2 with bits beyond the prefix",
			query("www.example.org.", dns.TypeA, edns(1232, &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte{0, 2, 12, 0, 0x20, 0x01}})),
			lines("FORMERR", "opt 1232 do=false"),
		},
		{"ECS of family 0", query("www.example.org.", dns.TypeA, edns(1232, subnet(0, 0, 0, ""))), lines("NOERROR aa", wwwA, "opt 1232 do=false")},
		{"A36 two OPT records", query("www.example.org.", dns.TypeA, edns(1232), edns(512)), lines("FORMERR", "opt 512 do=false")},
		{
			"OPT not at the root", query("www.example.org.", dns.TypeA, edns(1232), func(m *dns.Msg) { m.Extra[0].Header().Name = "example.org." }),
			lines("FORMERR", "opt 1232 do=false"),
		},
		{
			"ZONEVERSION", query("www.example.org.", dns.TypeA, edns(1232, &dns.EDNS0_ZONEVERSION{Code: dns.EDNS0ZONEVERSION})),
			lines("NOERROR aa", wwwA, "opt 1232 do=false zoneversion=2 0 78a3f175"),
		},
		{
			"ZONEVERSION is of the zone that encloses the question", query("host.child.example.org.", dns.TypeAAAA, edns(1232, &dns.EDNS0_ZONEVERSION{Code: dns.EDNS0ZONEVERSION})),
			lines("NOERROR aa", "authority child.example.org. 300 IN SOA ns.child.example.org. hostmaster.child.example.org. 9 7200 3600 1209600 300", "opt 1232 do=false zoneversion=3 0 00000009"),
		},
		{
			"no ZONEVERSION outside of our zones", query("other.com.", dns.TypeA, edns(1232, &dns.EDNS0_ZONEVERSION{Code: dns.EDNS0ZONEVERSION})),
			lines("REFUSED", `opt 1232 do=false ede=20 ""`),
		},
		{
			"EXPIRE", query("example.org.", dns.TypeSOA, edns(1232, expire, expire)),
			lines("NOERROR aa", strings.NewReplacer("authority", "answer", "300 IN", "3600 IN").Replace(orgSOA), "opt 1232 do=false expire=1209600"),
		},
		{
			"EXPIRE and ZONEVERSION", query("example.org.", dns.TypeSOA, edns(1232, expire, &dns.EDNS0_ZONEVERSION{Code: dns.EDNS0ZONEVERSION})),
			lines("NOERROR aa", strings.NewReplacer("authority", "answer", "300 IN", "3600 IN").Replace(orgSOA), "opt 1232 do=false expire=1209600 zoneversion=2 0 78a3f175"),
		},
		{"no EXPIRE with other types", query("www.example.org.", dns.TypeA, edns(1232, expire)), lines("NOERROR aa", wwwA, "opt 1232 do=false")},
		{"no EXPIRE below the apex", query("www.example.org.", dns.TypeSOA, edns(1232, expire)), lines("NOERROR aa", orgSOA, "opt 1232 do=false")},
		{"A38 not ours", query("other.com.", dns.TypeA), "REFUSED"},
		{"A38 not ours, with EDNS", query("other.com.", dns.TypeA, edns(1232)), lines("REFUSED", `opt 1232 do=false ede=20 ""`)},
		{"A38 the root is not ours", query(".", dns.TypeNS), "REFUSED"},
		{"A39 class CH", query("version.bind.", dns.TypeTXT, class(dns.ClassCHAOS)), "REFUSED"},
		{"class CH, our name", query("www.example.org.", dns.TypeA, class(dns.ClassCHAOS)), "REFUSED"},
		{"class ANY", query("www.example.org.", dns.TypeA, class(dns.ClassANY)), "REFUSED"},
		{"A37 NXNAME", query("www.example.org.", dns.TypeNXNAME, edns(1232)), lines("FORMERR", `opt 1232 do=false ede=30 ""`)},
		{"type 0", query("www.example.org.", 0), "FORMERR"},
		{"type OPT", query("www.example.org.", dns.TypeOPT), "FORMERR"},
		{"type TSIG", query("www.example.org.", dns.TypeTSIG), "FORMERR"},
		{"an unknown meta type", query("www.example.org.", 200), "FORMERR"},
		{"type MAILA", query("www.example.org.", dns.TypeMAILA, edns(1232)), lines("NOTIMP", `opt 1232 do=false ede=21 ""`)},
		{"type MAILB", query("www.example.org.", dns.TypeMAILB), "NOTIMP"},
		{"type TKEY", query("www.example.org.", dns.TypeTKEY), "NOTIMP"},
		{"an unknown type", query("www.example.org.", 65280), lines("NOERROR aa", orgSOA)},
		{"AXFR that the plugin transfer has not taken", query("example.org.", dns.TypeAXFR, edns(1232)), lines("REFUSED", `opt 1232 do=false ede=18 "no zone transfer"`)},
		{"IXFR that the plugin transfer has not taken", query("example.org.", dns.TypeIXFR), "REFUSED"},
		{"AXFR of what is no zone", query("www.example.org.", dns.TypeAXFR, edns(1232)), lines("NOTAUTH", `opt 1232 do=false ede=20 ""`)},
		{"UPDATE", query("example.org.", dns.TypeSOA, opcode(dns.OpcodeUpdate), edns(1232)), lines("REFUSED", `opt 1232 do=false ede=18 "no dynamic update"`)},
		{"UPDATE of what is no zone", query("www.example.org.", dns.TypeSOA, opcode(dns.OpcodeUpdate)), "NOTAUTH"},
		{"UPDATE of a zone that is not ours", query("other.com.", dns.TypeSOA, opcode(dns.OpcodeUpdate), edns(1232)), lines("NOTAUTH", `opt 1232 do=false ede=20 ""`)},
		{"UPDATE that names no zone", query("example.org.", dns.TypeA, opcode(dns.OpcodeUpdate)), "FORMERR"},
		{"NOTIFY", query("example.org.", dns.TypeSOA, opcode(dns.OpcodeNotify)), "NOERROR aa"},
		{"NOTIFY of what is no zone", query("www.example.org.", dns.TypeSOA, opcode(dns.OpcodeNotify)), "NOTAUTH"},
		{"NOTIFY of a zone that is not ours", query("other.com.", dns.TypeSOA, opcode(dns.OpcodeNotify)), "NOTAUTH"},
		{"NOTIFY of another type", query("example.org.", dns.TypeA, opcode(dns.OpcodeNotify)), "FORMERR"},
		{"an opcode that another plugin has allowed", query("example.org.", dns.TypeA, opcode(dns.OpcodeStatus)), "NOTIMP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := client{}.ask(t, both, c.req)
			if s := show(got); s != c.want {
				t.Errorf("got\n%s\nwant\n%s", s, c.want)
			}
		})
	}
}

func subnet(family uint16, source, scope uint8, address string) *dns.EDNS0_SUBNET {
	s := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: source, SourceScope: scope, Address: net.ParseIP(address)}
	if family == 1 {
		s.Address = s.Address.To4()
	}
	return s
}

func TestUnservedTargetsEndTheChain(t *testing.T) {
	h := newTestAuthority(t, nil, "")
	got, _ := client{}.ask(t, h, query("out.example.org.", dns.TypeA)) // A9
	if s, want := show(got), lines("NOERROR aa", "answer out.example.org. 3600 IN CNAME x.example.net."); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
}

func TestNotLoaded(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "example.org"), orgZone)
	writeFile(t, filepath.Join(dir, "child.example.org"), "@ 300 NS ns\n")
	h := newAuthority(t, fmt.Sprintf("authority example.org example.net child.example.org {\nfile %s/{zone}\n}", dir), nil)
	for _, c := range []struct {
		name string
		req  *dns.Msg
		want string
	}{
		{"A49 missing file", query("x.example.net.", dns.TypeA, edns(1232)), lines("SERVFAIL", `opt 1232 do=false ede=14 "zone not loaded"`)},
		{"A49 broken file", query("host.child.example.org.", dns.TypeA), "SERVFAIL"},
		{"the zone above is not affected", query("www.example.org.", dns.TypeA), lines("NOERROR aa", wwwA)},
		{"a chain ends before it", query("out.example.org.", dns.TypeA), lines("NOERROR aa", "answer out.example.org. 3600 IN CNAME x.example.net.")},
		{
			"a chain ends with a referral to it", query("deep.example.org.", dns.TypeA),
			lines("NOERROR aa", "answer deep.example.org. 3600 IN CNAME host.child.example.org.", "authority child.example.org. 3600 IN NS ns.child.example.org.", "additional ns.child.example.org. 3600 IN A 192.0.2.98"),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := client{}.ask(t, h, c.req)
			if s := show(got); s != c.want {
				t.Errorf("got\n%s\nwant\n%s", s, c.want)
			}
		})
	}
	if _, err := h.Transfer("example.net.", 0); err == nil {
		t.Error("a zone that is not loaded can be transferred")
	}
}

func TestTruncation(t *testing.T) {
	h := newTestAuthority(t, nil, "")
	for _, c := range []struct {
		name                          string
		client                        client
		req                           *dns.Msg
		limit                         int
		tc                            bool
		answer, authority, additional int
	}{
		{"512 without EDNS", client{}, query("big.example.org.", dns.TypeTXT), 512, true, 0, 0, 0},
		{"A33 1232 for a client that takes 4096", client{}, query("big.example.org.", dns.TypeTXT, edns(4096)), 1232, true, 0, 0, 1},
		{"A33 all over TCP", client{tcp: true}, query("big.example.org.", dns.TypeTXT, edns(4096)), 65535, false, 10, 0, 1},
		{"A33 all over TCP without EDNS", client{tcp: true}, query("big.example.org.", dns.TypeTXT), 65535, false, 10, 0, 0},
		{"all over TLS", client{tcp: true, server: "tls://:853"}, query("big.example.org.", dns.TypeTXT), 65535, false, 10, 0, 0},
		{"all over HTTPS", client{tcp: true, server: "https://:443"}, query("big.example.org.", dns.TypeTXT), 65535, false, 10, 0, 0},
		{"all over gRPC", client{tcp: true, server: "grpc://:443"}, query("big.example.org.", dns.TypeTXT), 65535, false, 10, 0, 0},
		{"all over QUIC, which looks like UDP", client{server: "quic://:853"}, query("big.example.org.", dns.TypeTXT, edns(1232)), 65535, false, 10, 0, 1},
		{"all over HTTP/3, which looks like UDP", client{server: "https3://:443"}, query("big.example.org.", dns.TypeTXT, edns(1232)), 65535, false, 10, 0, 1},
		{"A32 glue that does not fit truncates", client{}, query("h.many.example.org.", dns.TypeA), 512, true, 0, 0, 0},
		{"A32 40 glue addresses over TCP", client{tcp: true}, query("h.many.example.org.", dns.TypeA), 65535, false, 0, 40, 40},
		{"A56 additional records are left out in silence", client{}, query("mx.example.org.", dns.TypeMX, edns(1232)), 1232, false, 30, 0, 21},
		{"A56 all of them over TCP", client{tcp: true}, query("mx.example.org.", dns.TypeMX, edns(1232)), 65535, false, 30, 0, 31},
		{"more than a message over TCP", client{tcp: true}, query("huge.example.org.", dns.TypeTXT), 65535, false, 0, 0, 0},
		{"more than a message over UDP", client{}, query("huge.example.org.", dns.TypeTXT), 512, true, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, size := c.client.ask(t, h, c.req)
			if size > c.limit {
				t.Errorf("%d octets", size)
			}
			t.Logf("%d octets", size)
			if m.Truncated != c.tc || len(m.Answer) != c.answer || len(m.Ns) != c.authority || len(m.Extra) != c.additional {
				t.Errorf("TC %t, %d answer, %d authority, %d additional", m.Truncated, len(m.Answer), len(m.Ns), len(m.Extra))
			}
		})
	}
}

// TestEverySize: whatever size a client takes, the answer fits, is cut between
// RRsets, and has TC if and only if something it needs is not there.
func TestEverySize(t *testing.T) {
	h := newTestAuthority(t, nil, "")
	for _, q := range []struct {
		name string
		typ  uint16
	}{
		{"mx.example.org.", dns.TypeMX},
		{"MX.EXAMPLE.org.", dns.TypeMX},
		{"cases.example.org.", dns.TypeMX},
		{"srv.example.org.", dns.TypeSRV},
		{"h.many.Example.org.", dns.TypeA},
		{"big.example.org.", dns.TypeTXT},
		{"nope.example.org.", dns.TypeA},
	} {
		whole, _ := client{tcp: true}.ask(t, h, query(q.name, q.typ))
		for size := uint16(512); size <= 1240; size++ {
			m, got := client{}.ask(t, h, query(q.name, q.typ, edns(size)))
			if got > min(int(size), 1232) {
				t.Fatalf("%s: %d octets for a client that takes %d", q.name, got, size)
			}
			m.Extra = m.Extra[:len(m.Extra)-1] // OPT
			glue := len(whole.Extra)
			if len(whole.Answer) > 0 {
				glue = 0
			}
			complete := len(m.Answer) == len(whole.Answer) && len(m.Ns) == len(whole.Ns) && len(m.Extra) >= glue
			if m.Truncated == complete {
				t.Fatalf("%s: TC %t with %d, %d and %d records for a client that takes %d", q.name, m.Truncated, len(m.Answer), len(m.Ns), len(m.Extra), size)
			}
			if n := len(m.Answer); n != 0 && n != len(whole.Answer) {
				t.Fatalf("%s: %d of %d records", q.name, n, len(whole.Answer))
			}
		}
	}
}

func TestAnyAnswer(t *testing.T) {
	h := newTestAuthority(t, nil, "")
	for _, c := range []struct {
		name   string
		client client
		req    *dns.Msg
		want   string
	}{
		{"A28 one RRset over UDP", client{}, query("www.example.org.", dns.TypeANY), lines("NOERROR aa", wwwA)},
		{"all over TCP", client{tcp: true}, query("www.example.org.", dns.TypeANY), lines("NOERROR aa", wwwA, "answer www.example.org. 3600 IN AAAA 2001:db8::1")},
		{
			"all over QUIC, which looks like UDP",
			client{server: "quic://:853"},
			query("www.example.org.", dns.TypeANY),
			lines("NOERROR aa", wwwA, "answer www.example.org. 3600 IN AAAA 2001:db8::1"),
		},
		{"one RRset over TCP if all do not fit", client{tcp: true}, query("huge.example.org.", dns.TypeANY), lines("NOERROR aa", "answer huge.example.org. 3600 IN A 192.0.2.5")},
		{"an alias", client{}, query("al.example.org.", dns.TypeANY), lines("NOERROR aa", "answer al.example.org. 3600 IN CNAME WWW.example.org.")},
		{"A29 an empty non-terminal", client{}, query("w.example.org.", dns.TypeANY), lines("NOERROR aa", orgSOA)},
		{"no name", client{}, query("nope.example.org.", dns.TypeANY), lines("NXDOMAIN aa", orgSOA)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := c.client.ask(t, h, c.req)
			if s := show(got); s != c.want {
				t.Errorf("got\n%s\nwant\n%s", s, c.want)
			}
		})
	}
}

func TestFallthrough(t *testing.T) {
	next := plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		m := new(dns.Msg).SetReply(r)
		m.Answer = []dns.RR{test.A(r.Question[0].Name + " 60 IN A 203.0.113.1")}
		return dns.RcodeSuccess, w.WriteMsg(m)
	})
	passed := func(name string) string { return lines("NOERROR", "answer "+name+" 60 IN A 203.0.113.1") }
	for _, c := range []struct {
		name, properties string
		next             plugin.Handler
		req              *dns.Msg
		want             string
	}{
		{"not ours goes on", "", next, query("other.com.", dns.TypeA), passed("other.com.")},
		{"another class goes on", "", next, query("www.example.org.", dns.TypeA, class(dns.ClassCHAOS)), passed("www.example.org.")},
		{"no name, no fallthrough", "", next, query("nope.example.org.", dns.TypeA), lines("NXDOMAIN aa", orgSOA)},
		{"no name", "fallthrough", next, query("nope.example.org.", dns.TypeA), passed("nope.example.org.")},
		{"no name, in capitals", "fallthrough example.org", next, query("NOPE.Example.ORG.", dns.TypeA), passed("NOPE.Example.ORG.")},
		{"no name, covered", "fallthrough a.example.org", next, query("x.a.example.org.", dns.TypeA), passed("x.a.example.org.")},
		{"no name, covered by an escape", "fallthrough \\065.example.org", next, query("x.a.example.org.", dns.TypeA), passed("x.a.example.org.")},
		{"no name, not covered", "fallthrough a.example.org", next, query("x.b.example.org.", dns.TypeA), lines("NXDOMAIN aa", orgSOA)},
		{"no data stays", "fallthrough", next, query("www.example.org.", dns.TypeTXT), lines("NOERROR aa", orgSOA)},
		{"an alias stays", "fallthrough", next, query("dang.example.org.", dns.TypeA), lines("NXDOMAIN aa", "answer dang.example.org. 3600 IN CNAME nope.example.org.", orgSOA)},
		{"nobody is behind us", "fallthrough", nil, query("nope.example.org.", dns.TypeA), lines("NXDOMAIN aa", orgSOA)},
		{"NOTIFY of another zone goes on", "", next, query("other.com.", dns.TypeSOA, opcode(dns.OpcodeNotify)), passed("other.com.")},
		{"UPDATE of another zone does not", "", next, query("other.com.", dns.TypeSOA, opcode(dns.OpcodeUpdate)), "NOTAUTH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := client{}.ask(t, newTestAuthority(t, c.next, c.properties), c.req)
			if s := show(got); s != c.want {
				t.Errorf("got\n%s\nwant\n%s", s, c.want)
			}
		})
	}
}

func TestWildcardMetadata(t *testing.T) {
	h := newTestAuthority(t, nil, "")
	for name, want := range map[string]string{"Q.W.example.org.": "*.w.example.org.", "www.example.org.": ""} {
		ctx := metadata.ContextWithMetadata(t.Context())
		client{ctx: ctx}.ask(t, h, query(name, dns.TypeTXT))
		got := ""
		if f := metadata.ValueFunc(ctx, "zone/wildcard"); f != nil {
			got = f()
		}
		if got != want {
			t.Errorf("%s: zone/wildcard is %q, want %q", name, got, want)
		}
	}
}

func TestReadyAndBypass(t *testing.T) {
	c := caddy.NewTestController("dns", "authority example.org example.net {\nfile none/{zone}\n}")
	c.ServerBlockKeys = []string{"."}
	b, err := parse(c)
	if err != nil {
		t.Fatal(err)
	}
	h := &Authority{block: b}
	if h.Ready() {
		t.Error("ready before the zones were loaded")
	}
	if got := strings.Join(h.CacheBypassZones(), " "); got != "example.org. example.net." {
		t.Errorf("zones to bypass: %s", got)
	}
	openBlock(t, b, zonedb.New(time.Hour))
	if !h.Ready() {
		t.Error("not ready after the zones were loaded: one that is broken does not count")
	}
}

// TestOneVersionInAnAnswer: an answer that comes back to a zone has the version
// it began with, though the zone changes all the time.
func TestOneVersionInAnAnswer(t *testing.T) {
	dir := t.TempDir()
	put := func(version int) {
		path := filepath.Join(dir, "example.org")
		writeFile(t, path+".new", minimal(version)+fmt.Sprintf("a 300 CNAME v%[1]d.example.net.\nc 300 TXT v%[1]d.example.net.\n", version))
		then := time.Now().Add(-time.Hour + time.Duration(version)*time.Second)
		if err := os.Chtimes(path+".new", then, then); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	writeFile(t, filepath.Join(dir, "example.net"), minimal(1)+"* 300 CNAME c.example.org.\n")
	c := caddy.NewTestController("dns", fmt.Sprintf("authority example.org example.net {\nfile %s/{zone}\n}", dir))
	c.ServerBlockKeys = []string{"."}
	b, err := parse(c)
	if err != nil {
		t.Fatal(err)
	}
	db := zonedb.New(time.Hour)
	openBlock(t, b, db)
	h := &Authority{block: b}

	stop := make(chan struct{})
	var wg sync.WaitGroup
	seen := make([]map[string]bool, 2)
	for i := range seen {
		seen[i] = make(map[string]bool)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				m, _ := client{}.ask(t, h, query("a.example.org.", dns.TypeTXT))
				if len(m.Answer) != 3 {
					t.Errorf("answer %s", show(m))
					return
				}
				target, text := m.Answer[0].(*dns.CNAME).Target, m.Answer[2].(*dns.TXT).Txt[0]
				if target != text {
					t.Errorf("%s and %s in one answer", target, text)
					return
				}
				seen[i][text] = true
			}
		})
	}
	for version := 2; version < 100; version++ {
		put(version)
		lease, err := db.Open(b.owner, b.specs, zonedb.Hooks{Loaded: report})
		if err != nil {
			t.Fatal(err)
		}
		lease.Close()
	}
	close(stop)
	wg.Wait()
	if len(seen[0]) < 2 {
		t.Errorf("%d versions seen", len(seen[0]))
	}
}

func TestTransfer(t *testing.T) {
	h := newTestAuthority(t, nil, "")
	for _, c := range []struct {
		name   string
		serial uint32
		whole  bool
	}{
		{"AXFR", 0, true},
		{"the serial in service", 2024010101, false},
		{"an earlier serial", 2024010100, true},
		{"a later serial", 2024010102, false},
		{"a much later serial", 4171493740, false},
		{"an earlier serial before the wrap", 4171493750 + 1, true},
		{"a serial half the circle away is neither", 2024010101 + 1<<31, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ch, err := h.Transfer("Example.org.", c.serial)
			if err != nil {
				t.Fatal(err)
			}
			var rrs []dns.RR
			for part := range ch {
				rrs = append(rrs, part...)
			}
			if whole := len(rrs) > 1; whole != c.whole {
				t.Errorf("%d records", len(rrs))
			}
			if _, ok := rrs[0].(*dns.SOA); !ok {
				t.Errorf("the first record is %s", rrs[0])
			}
		})
	}
	for _, origin := range []string{"www.example.org.", "other.com.", "."} {
		if _, err := h.Transfer(origin, 0); !errors.Is(err, transfer.ErrNotAuthoritative) {
			t.Errorf("%s: error %v", origin, err)
		}
	}
}

// TestLibraryRefusesZoneVersion: the DNS library of the server refuses the empty
// option that RFC 9660 §3.1 demands, so that clients get a FORMERR before the
// query comes to a plugin. When this fails, strike that from the README's bugs.
func TestLibraryRefusesZoneVersion(t *testing.T) {
	m := query("example.org.", dns.TypeSOA, edns(1232, &dns.EDNS0_LOCAL{Code: dns.EDNS0ZONEVERSION}))
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if err := new(dns.Msg).Unpack(wire); err == nil {
		t.Error("the empty option is taken now")
	}
}

// brokenWriter is the connection to a client that is gone.
type brokenWriter struct {
	test.ResponseWriter
	closed int
	late   int // messages after that
}

func (w *brokenWriter) Write([]byte) (int, error) {
	if w.closed > 0 {
		w.late++
	}
	return 0, io.ErrClosedPipe
}

func (w *brokenWriter) WriteMsg(*dns.Msg) error {
	_, err := w.Write(nil)
	return err
}

func (w *brokenWriter) Close() error {
	w.closed++
	return nil
}

// TestTransferToNobody: a client that is gone at the first message gets no second,
// and its transfer is an error of nobody's but its own.
func TestTransferToNobody(t *testing.T) {
	h := newTestAuthority(t, nil, "transfer net 10.0.0.0/8")
	counted := func(result string) float64 {
		return max(metric(t, "coredns_authority_transfers_total", "", "example.org.", "whole", result), 0)
	}
	failed, refused := counted("error"), counted("refused")
	w := &brokenWriter{ResponseWriter: test.ResponseWriter{TCP: true}}
	code, err := h.ServeDNS(t.Context(), w, query("example.org.", dns.TypeAXFR))
	if code != dns.RcodeSuccess || err != nil || w.closed != 1 || w.late != 0 {
		t.Errorf("%s, %v, closed %d times, %d messages afterwards", dns.RcodeToString[code], err, w.closed, w.late)
	}
	if counted("error") != failed+1 || counted("refused") != refused {
		t.Errorf("counted %v errors and %v refusals", counted("error")-failed, counted("refused")-refused)
	}
}
