package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// recipe gives the Corefile of README.md that holds a text, with the paths and
// addresses of the machine in the place of those of the page.
func recipe(t *testing.T, mark string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(m[1], mark) {
			continue
		}
		corefile := m[1]
		for i := 0; i < len(replace); i += 2 {
			if !strings.Contains(corefile, replace[i]) {
				t.Fatalf("the recipe has no %q:\n%s", replace[i], corefile)
			}
			corefile = strings.Replace(corefile, replace[i], replace[i+1], 1)
		}
		return corefile
	}
	t.Fatalf("README.md has no recipe with %q", mark)
	return ""
}

// serialOf asks for the serial of a zone; 0 if there is none.
func serialOf(s *server.Server, zone string) uint32 {
	m := ask(s, zone, dns.TypeSOA)
	if m == nil || len(m.Answer) != 1 {
		return 0
	}
	if soa, ok := m.Answer[0].(*dns.SOA); ok {
		return soa.Serial
	}
	return 0
}

// TestRecipePrimary is "Primary for NSD, Knot or BIND secondaries": they are told of
// an edit by NOTIFY, as they refresh once a day only, and fetch the difference.
func TestRecipePrimary(t *testing.T) {
	server.Require(t, "named", "knotd", "nsd")
	dir := t.TempDir()
	const day = 24 * 60 * 60
	edit := func(serial int) {
		write(t, filepath.Join(dir, "new"), fmt.Sprintf("@ 3600 IN SOA ns1 hostmaster %d %d 1800 1209600 300\n@ 3600 IN NS ns1\nns1 3600 IN A 192.0.2.53\nv%[1]d 3600 IN A 192.0.2.1\n", serial, day))
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "example.org.zone")); err != nil {
			t.Fatal(err)
		}
	}
	edit(1)
	notify := filepath.Join(dir, "notify")
	write(t, notify, "# the secondaries come later\n")
	corefile := recipe(t, "notify ",
		"example.org {", "example.org:"+server.Port+" {\n    bind 127.0.0.1\n    root "+dir,
		"notify 192.0.2.2 192.0.2.3 key xfr.example.org", "import "+notify,
		"localhost:9153", "127.0.0.1:0")
	ours := server.StartOurs(t, corefile, "example.org.")

	key := &server.Key{Name: "xfr.example.org.", Algorithm: "hmac-sha256", Secret: "i9M+00yrECfVZG2qCjr4mPpaGim/Bq+IWMiNrLjUO4Y="}
	primary := server.Primary{Addr: ours.Addr, Zones: []string{"example.org."}, Key: key, Refresh: day}
	secondaries := []*server.Server{
		server.StartNamedSecondary(t, primary), server.StartKnotdSecondary(t, primary), server.StartNSDSecondary(t, primary),
	}
	line := "notify"
	for _, s := range secondaries {
		line += " " + s.Addr.String()
	}
	write(t, notify, line+" key xfr.example.org\n")
	if err := ours.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the reload", func() bool { return strings.Contains(ours.Log(), "Reloading complete") })
	began := time.Now()
	for serial := 2; serial <= 4; serial++ {
		edit(serial)
		for _, s := range secondaries {
			waitFor(t, fmt.Sprintf("%s to have serial %d", s.Name, serial), func() bool { return serialOf(s, "example.org.") == uint32(serial) })
		}
	}
	t.Logf("three edits in %v", time.Since(began))
	if n := strings.Count(ours.Log(), "sent incremental serial"); n < 3*len(secondaries) {
		t.Errorf("%d differences were sent:\n%s", n, ours.Log())
	}
	ours.Kill()
	edit(5)
	ours.Restart(t)
	for _, s := range secondaries {
		waitFor(t, s.Name+" to have serial 5 after a kill", func() bool { return serialOf(s, "example.org.") == 5 })
	}
	if strings.Contains(ours.Log(), "does not answer NOTIFY") || strings.Contains(ours.Log(), "answers NOTIFY with") {
		t.Errorf("secondaries do not take NOTIFY:\n%s", ours.Log())
	}
}

// TestRecipeFolder is "Zones from a folder".
func TestRecipeFolder(t *testing.T) {
	dir := t.TempDir()
	zone := func(name string, serial int) {
		write(t, filepath.Join(dir, "zones", name+".zone"), fmt.Sprintf("@ 3600 IN SOA ns1 hostmaster %d 7200 1800 1209600 300\n@ 3600 IN NS ns1\nns1 3600 IN A 192.0.2.53\n", serial))
	}
	zone("example.net", 1)
	ours := server.StartOurs(t, recipe(t, "directory zones",
		". {", ".:"+server.Port+" {\n    bind 127.0.0.1\n    root "+dir, "192.0.2.0/24", "127.0.0.0/8"), "example.net.")
	zone("example.com", 7)
	zone("example.net", 2)
	waitFor(t, "the new zone", func() bool { return serialOf(ours, "example.com.") == 7 })
	waitFor(t, "the edit", func() bool { return serialOf(ours, "example.net.") == 2 })
	if err := os.Remove(filepath.Join(dir, "zones", "example.com.zone")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end of the zone", func() bool {
		m := ask(ours, "example.com.", dns.TypeSOA)
		return m != nil && m.Rcode == dns.RcodeRefused
	})
	tr := new(dns.Transfer)
	m := new(dns.Msg)
	m.SetAxfr("example.net.")
	ch, err := tr.In(m, ours.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for e := range ch {
		if e.Error != nil {
			t.Fatal(e.Error)
		}
		records += len(e.RR)
	}
	if records != 4 {
		t.Errorf("%d records", records)
	}
}
