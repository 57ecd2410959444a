package parent

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/test/server"
)

// parentServer is a server of others that has example., from a file.
type parentServer struct {
	*server.Server
	file   string
	serial int
}

const zonesOfPeers = `$ORIGIN example.
$TTL 3600
@ SOA ns1 h %d 7200 3600 1209600 300
@ NS ns1
@ NS ns2
ns1 A 127.0.0.1
ns2 A 127.0.0.1
a.b NS ns.a.b
ns.a.b A 127.0.0.1
plain NS ns.plain
ns.plain A 127.0.0.1
`

// write writes the zone with DS records of a.b.example.
func (p *parentServer) write(t *testing.T, ds string) {
	t.Helper()
	p.serial++
	text := fmt.Sprintf(zonesOfPeers, p.serial) + ds
	next := p.file + ".next"
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, p.file); err != nil {
		t.Fatal(err)
	}
}

// change has the server load new DS records, and waits until it has them.
func (p *parentServer) change(t *testing.T, c *Client, ds string) {
	t.Helper()
	p.write(t, ds)
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	want := dsOf(t, records(t, ds))
	server.WaitFor(t, func() string { return fmt.Sprintf("new DS records in %s:\n%s", p.Name, p.Log()) }, func() bool {
		r, err := c.Ask(t.Context(), zone, []netip.AddrPort{p.Addr})
		return err == nil && r.Err() == nil && fmt.Sprint(r.Servers[0].DS) == fmt.Sprint(want)
	})
}

// startParents starts named, knotd and nsd with example.
func startParents(t *testing.T, ds string) (list []*parentServer, all []netip.AddrPort) {
	t.Helper()
	server.Require(t, "named", "knotd", "nsd")
	for _, start := range []func(testing.TB, []server.Zone, ...string) *server.Server{server.StartNamed, server.StartKnotd, server.StartNSD} {
		p := &parentServer{file: filepath.Join(t.TempDir(), "example.zone")}
		p.write(t, ds)
		p.Server = start(t, []server.Zone{{Origin: "example.", File: p.file}})
		list, all = append(list, p), append(all, p.Addr)
	}
	return list, all
}

// TestParentsOfOthers: a rollover as named, knotd and nsd show it, one after the other (K2).
func TestParentsOfOthers(t *testing.T) {
	ds1, ds2 := theDS(t)
	list, all := startParents(t, ds1Text)
	c := NewClient(Options{})
	// For a moment after a reload the processes of nsd answer differently.
	expect := func(when string, want ...bool) { // all have 1, none has 1, all have 2, none has 2
		t.Helper()
		var got []bool
		server.WaitFor(t, func() string { return fmt.Sprintf("%s: %v, got %v", when, want, got) }, func() bool {
			r, err := c.Ask(t.Context(), dnsname.MustParse("A.B.Example."), all)
			if err != nil || r.Err() != nil {
				t.Fatalf("%s: %v, %v", when, err, r.Err())
			}
			got = []bool{r.All(ds1), r.None(ds1), r.All(ds2), r.None(ds2)}
			return slices.Equal(got, want)
		})
	}
	expect("at first", true, false, false, true)
	for i, p := range list {
		p.change(t, c, ds1Text+ds2Text)
		expect("new DS in "+p.Name, true, false, i == len(list)-1, false)
	}
	for i, p := range list {
		p.change(t, c, ds2Text)
		expect("old DS gone from "+p.Name, false, i == len(list)-1, true, false)
	}
	for _, p := range list {
		p.change(t, c, "")
	}
	expect("no DS", false, true, false, true)

	r, err := c.Ask(t.Context(), dnsname.MustParse("plain.example."), all)
	if err != nil || r.Err() != nil || !r.None(ds1) || r.TTL() != 0 {
		t.Errorf("delegation without DS: %+v, %v", r, err)
	}
	for text, want := range map[string]string{
		"x.example.":       `answers that "x.example." does not exist`,
		"example.":         `answers for "example." itself`,
		"z.plain.example.": `refers to the servers of "plain.example."`,
		"a.b.example.net.": "answers REFUSED",
	} {
		r, err := c.Ask(t.Context(), dnsname.MustParse(text), all)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Servers {
			if s.Err == nil || !strings.Contains(s.Err.Error(), want) {
				t.Errorf("%s by %v: %v, want %q", text, s.Address, s.Err, want)
			}
		}
	}
}

// TestResolverOfOthers: the parent's server is found by named as a resolver, which is
// no server of the parent when it is given as one.
func TestResolverOfOthers(t *testing.T) {
	ds1, _ := theDS(t)
	server.Require(t, "named")
	p := &parentServer{file: filepath.Join(t.TempDir(), "example.zone")}
	p.write(t, ds1Text)
	p.Server = server.StartNamed(t, []server.Zone{{Origin: "example.", File: p.file}})
	resolver := server.StartNamedForwarder(t, p.Addr)
	c := NewClient(Options{Resolvers: func() ([]netip.AddrPort, error) { return []netip.AddrPort{resolver.Addr}, nil }})
	c.port = p.Addr.Port()
	// It says that it is running before it listens for TCP.
	server.WaitFor(t, func() string { return "the resolver:\n" + resolver.Log() }, func() bool {
		_, err := c.transport(t.Context(), resolver.Addr, (&question{name: zone, typ: typeDS}).pack(1))
		return err == nil
	})
	r, err := c.Ask(t.Context(), zone, nil)
	if err != nil || !r.All(ds1) || r.Parent != dnsname.MustParse("example.") || len(r.Servers) != 2 || r.TTL().Seconds() != 3600 {
		t.Errorf("%+v, %v", r, err)
	}
	// It has the DS RRset in its cache now, or does not; either way it does not say so with authority.
	if r, err = c.Ask(t.Context(), zone, []netip.AddrPort{resolver.Addr}); err != nil || r.Err() == nil || !strings.Contains(r.Err().Error(), errAdvice.Error()) {
		t.Errorf("%+v, %v", r, err)
	}
}
