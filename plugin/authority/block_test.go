package authority

import (
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
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// log output that is written to while it is read.
type output struct {
	mu sync.Mutex
	b  strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// capture gives what is logged until the end of the test.
func capture(t *testing.T) *output {
	t.Helper()
	o, flags := new(output), golog.Flags()
	golog.SetOutput(o)
	golog.SetFlags(0)
	t.Cleanup(func() {
		golog.SetOutput(io.Discard)
		golog.SetFlags(flags)
	})
	return o
}

// unused gives a port that was free a moment ago.
func unused(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// parseBlock reads a Corefile of one block.
func parseBlock(t *testing.T, corefile string, keys ...string) *block {
	t.Helper()
	c := caddy.NewTestController("dns", corefile)
	c.ServerBlockKeys = keys
	b, err := parse(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDirectory(t *testing.T) {
	const here = "dns://127.0.0.1:53"
	dir, elsewhere := t.TempDir(), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	writeFile(t, at("example.org.zone"), minimal(1))
	writeFile(t, filepath.Join(elsewhere, "fixed"), minimal(9))
	out := capture(t)
	b := parseBlock(t, fmt.Sprintf("authority org {\ndirectory %s\n}\nauthority fixed.org {\nfile %s/fixed\n}", dir, elsewhere), ".")
	other := parseBlock(t, fmt.Sprintf("authority example.org {\nfile %s/fixed\n}", elsewhere), ".")
	db := zonedb.New(time.Hour) // the system tells of edits
	openBlock(t, b, db)
	openBlock(t, other, db)
	h, c := &Authority{block: b}, client{server: here}
	serial := func(zone string) uint32 {
		m, _ := c.ask(t, h, query(zone, dns.TypeSOA))
		if len(m.Answer) != 1 {
			return 0
		}
		return m.Answer[0].(*dns.SOA).Serial
	}
	become := func(zone string, want uint32) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s with serial %d", zone, want), func() bool { return serial(zone) == want })
	}
	if serial("example.org.") != 1 || serial("fixed.org.") != 9 || serial("example.net.") != 0 {
		t.Errorf("serials %d, %d, %d", serial("example.org."), serial("fixed.org."), serial("example.net."))
	}
	elsewhereClient := client{server: "dns://127.0.0.2:53"}
	elsewhereClient.ask(t, &Authority{block: other}, query("example.org.", dns.TypeSOA))

	failures := metric(t, "coredns_authority_load_errors_total")
	for name, why := range map[string]string{
		"example.net.zone":          "zone example.net. is outside of org., which is all that Testfile:1 serves",
		"fixed.org.zone":            "zone fixed.org. is there already, at Testfile:4",
		"a b.org.zone":              `"a b.org" is not the name of a zone: write characters beyond ASCII as an A-label (xn--…)`,
		"a\n[INFO] a line.org.zone": `"a\n[INFO] a line.org" is not the name of a zone: write characters beyond ASCII as an A-label (xn--…)`,
	} {
		writeFile(t, at(name), minimal(5))
		line := fmt.Sprintf("[ERROR] plugin/authority: directory: %q: %s\n", at(name), why)
		eventually(t, line, func() bool { return strings.Contains(out.String(), line) })
	}
	if n := metric(t, "coredns_authority_load_errors_total") - failures; n != 4 {
		t.Errorf("%v failures", n)
	}
	if serial("fixed.org.") != 9 || serial("example.net.") != 0 {
		t.Errorf("serials %d, %d", serial("fixed.org."), serial("example.net."))
	}

	writeFile(t, at("child.example.org.zone"), minimal(3))
	become("child.example.org.", 3)
	if m, _ := c.ask(t, h, query("ns.child.example.org.", dns.TypeA)); len(m.Answer) != 1 || !m.Authoritative {
		t.Errorf("in the child: %s", show(m))
	}
	writeFile(t, at("example.org.zone"), minimal(2))
	become("example.org.", 2)
	if err := os.Remove(at("example.org.zone")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the zone", func() bool {
		m, _ := c.ask(t, h, query("example.org.", dns.TypeSOA))
		return m.Rcode == dns.RcodeRefused
	})
	eventually(t, "its line", func() bool {
		return strings.Contains(out.String(), "[INFO] plugin/authority: example.org.: its file is gone, and so is the zone\n")
	})
	if serial("child.example.org.") != 3 {
		t.Error("the child went with its parent")
	}
	if n := metric(t, "coredns_authority_answers_total", here, "example.org."); n != -1 {
		t.Errorf("%v answers of a zone that is gone", n)
	}
	if n := metric(t, "coredns_authority_answers_total", elsewhereClient.server, "example.org."); n != 1 {
		t.Errorf("%v answers of a zone that another block has", n)
	}
	elsewhereClient.ask(t, &Authority{block: other}, query("example.org.", dns.TypeSOA))
	if n := metric(t, "coredns_authority_answers_total", elsewhereClient.server, "example.org."); n != 2 {
		t.Errorf("%v answers of a zone that another block has", n)
	}
	writeFile(t, at("example.org.zone"), minimal(1))
	become("example.org.", 1)
}

// TestTwoDirectories: the first that has a zone keeps it.
func TestTwoDirectories(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(one, "example.org.zone"), minimal(1))
	writeFile(t, filepath.Join(two, "example.org.zone"), minimal(2))
	writeFile(t, filepath.Join(two, "example.net.zone"), minimal(2))
	out := capture(t)
	b := parseBlock(t, fmt.Sprintf("authority {\ndirectory %s\n}\nauthority {\ndirectory %s\n}", one, two), ".")
	openBlock(t, b, zonedb.New(time.Hour))
	zones := *b.zones.Load()
	if len(zones) != 2 {
		t.Fatalf("%d zones", len(zones))
	}
	for _, z := range zones {
		if want := map[string]uint32{"example.org.": 1, "example.net.": 2}[z.origin]; uint32(z.zone.Snapshot().Serial()) != want {
			t.Errorf("%s has serial %d", z.origin, z.zone.Snapshot().Serial())
		}
	}
	if want := "zone example.org. is there already, at Testfile:1"; strings.Count(out.String(), want) != 1 {
		t.Errorf("log:\n%s", out)
	}
}

// TestOpenFails: what was opened before the error is closed.
func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "example.org.zone"), minimal(1))
	writeFile(t, filepath.Join(dir, "zones.db"), "what is this?")
	for _, corefile := range []string{
		"authority example.org {\nfile %[1]s/example.org.zone\nstore %[1]s\n}",
		"authority example.org {\nfile %[1]s/example.org.zone\nstore %[1]s/good\n}\nauthority {\ndirectory %[1]s\nstore %[1]s\n}",
	} {
		b := parseBlock(t, fmt.Sprintf(corefile, dir), ".")
		db := zonedb.New(time.Hour)
		if err := b.open(db); err == nil || !strings.Contains(err.Error(), "not a store of zones") {
			t.Errorf("got %v", err)
		}
		if n := len(db.Zones()); n != 0 || b.loaded.Load() {
			t.Errorf("%d zones are left", n)
		}
		b.close()
	}
}
