package fastpath

import (
	"errors"
	"maps"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		corefile string
		sample   int
		want     string // in the error
	}{
		{"fastpath", 0, ""},
		{"fastpath {\nsample 100\n}", 100, ""},
		{"fastpath on", 0, `Testfile:1 - Error during parsing: unexpected "on"`},
		{"fastpath\nfastpath", 0, "Testfile:2 - Error during parsing: the directive is there already, at Testfile:1"},
		{"fastpath {\nsample\n}", 0, "Testfile:2 - Error during parsing: sample: want one number above 0"},
		{"fastpath {\nsample 0\n}", 0, "want one number above 0"},
		{"fastpath {\nsample ten\n}", 0, "want one number above 0"},
		{"fastpath {\nsample 1\nsample 2\n}", 0, `Testfile:3 - Error during parsing: property "sample" is given twice`},
		{"fastpath {\nspeed 11\n}", 0, `Testfile:2 - Error during parsing: unknown property "speed"`},
	} {
		b, err := parse(caddy.NewTestController("dns", c.corefile))
		switch {
		case c.want == "" && (err != nil || b.sample != c.sample):
			t.Errorf("%q: %+v, %v", c.corefile, b, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: %v, want %s", c.corefile, err, c.want)
		}
	}
}

// TestFields pins what we read of CoreDNS and caddy without being asked to. If it
// fails, the chain serves where this plugin should.
func TestFields(t *testing.T) {
	pair := reflect.TypeFor[caddy.ServerListener]()
	for name, want := range map[string]reflect.Type{"server": reflect.TypeFor[caddy.Server](), "packet": reflect.TypeFor[net.PacketConn]()} {
		if f, ok := pair.FieldByName(name); !ok || f.Type != want {
			t.Errorf("caddy.ServerListener has no field %s of type %s", name, want)
		}
	}
	zones := []*dnsserver.Config{{Zone: "example.org."}, {Zone: "example.net."}}
	zones[1].AllowOpcode(dns.OpcodeStatus)
	s, err := dnsserver.NewServer("dns://:53", zones)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := blocksOf(s)
	if err != nil || len(blocks) != 2 || blocks["example.org."][0] != zones[0] || blocks["example.net."][0] != zones[1] {
		t.Errorf("%v, %v", blocks, err)
	}
	if opcodes, err := opcodesOf(s); err != nil || !maps.Equal(opcodes, map[int]struct{}{dns.OpcodeStatus: {}}) {
		t.Errorf("%v, %v", opcodes, err)
	}
}

// TestUnexpected: where the server is not as it should be, serve returns at once.
func TestUnexpected(t *testing.T) {
	s, err := dnsserver.NewServer("dns://:53", []*dnsserver.Config{{Zone: "example.org."}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connOf(nil, s); !errors.Is(err, errConn) {
		t.Errorf("no instance: %v", err)
	}
	if _, err := connOf(new(caddy.Instance), s); !errors.Is(err, errConn) {
		t.Errorf("an instance without servers: %v", err)
	}
	if _, err := lanesOf(s); !errors.Is(err, errNoZones) {
		t.Errorf("a server block without plugins: %v", err)
	}
	in := new(instance)
	in.serve(s)
	in.end()
	if in.add(new(loop)) {
		t.Error("a loop was added after the end")
	}
}

// TestFind: a name goes to the longest zone of the server blocks, and DS to the
// chain where there are several.
func TestFind(t *testing.T) {
	a, b := new(work), new(work)
	l := &loop{lanes: map[dnsname.Name]*work{
		dnsname.MustParse("example.org."): a, dnsname.MustParse("sub.example.org."): nil, dnsname.MustParse("a.sub.example.org."): b,
	}}
	type lane struct {
		*work
		known bool
	}
	for name, want := range map[string]lane{
		"example.org.": {a, true}, "WWW.Example.ORG.": {a, true}, "a.sub.example.org.": {b, true}, "x.A.sub.example.org.": {b, true},
		"sub.example.org.": {nil, true}, "www.sub.example.org.": {nil, true}, "example.net.": {}, ".": {}, "org.": {},
	} {
		q := &wire.Question{Name: dnsname.MustParse(name), Type: dns.TypeA}
		if w, known := l.find(q); w != want.work || known != want.known {
			t.Errorf("%s: %p, %t, want %v", name, w, known, want)
		}
		q.Type = dns.TypeDS
		if w, known := l.find(q); w != nil || known != want.known {
			t.Errorf("%s DS: %p, %t", name, w, known)
		}
	}
	l.lanes[dnsname.Root] = nil
	if w, known := l.find(&wire.Question{Name: dnsname.MustParse("example.net."), Type: dns.TypeA}); w != nil || !known {
		t.Errorf("with a block for the root: %p, %t", w, known)
	}
	l.only, l.zone = a, dnsname.MustParse("example.org.")
	for name, want := range map[string]*work{"Example.org.": a, "a.b.example.org.": a, "org.": nil, "xexample.org.": nil} {
		if got, known := l.find(&wire.Question{Name: dnsname.MustParse(name), Type: dns.TypeDS}); got != want || known != (want != nil) {
			t.Errorf("%s: %p, %t, want %p", name, got, known, want)
		}
	}
}

func TestSlow(t *testing.T) {
	c := &chain{any: true, nsid: true, paths: []string{"cluster.local."}}
	for _, q := range []struct {
		wire.Question
		want bool
	}{
		{wire.Question{Name: dnsname.MustParse("example.org."), Type: dns.TypeA}, false},
		{wire.Question{Name: dnsname.MustParse("example.org."), Type: dns.TypeANY}, true},
		{wire.Question{Name: dnsname.MustParse("example.org."), Type: dns.TypeA, NSID: true}, true},
		{wire.Question{Name: dnsname.MustParse("a.Cluster.local."), Type: dns.TypeAAAA}, true},
		{wire.Question{Name: dnsname.MustParse("a.cluster.local."), Type: dns.TypeTXT}, false},
	} {
		if got := c.slow(&q.Question); got != q.want {
			t.Errorf("%+v: %v", q.Question, got)
		}
	}
}
