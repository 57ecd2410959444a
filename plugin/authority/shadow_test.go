package authority

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// TestShadowed: a zone of a directory is served unless another server block takes
// its queries.
func TestShadowed(t *testing.T) {
	for name, c := range map[string]struct {
		keys, other string
		by          string // the zone of the block that takes the queries, or ""
	}{
		"nobody else":             {".:0", "", ""},
		"a block above":           {".:0", "example.org:0 {\nbind 127.0.0.1\nwhoami\n}", "example.org."},
		"a block for it":          {".:0", "A.example.org:0 {\nbind 127.0.0.1\nwhoami\n}", "a.example.org."},
		"a block below":           {".:0", "b.a.example.org:0 {\nbind 127.0.0.1\nwhoami\n}", ""},
		"a block beside":          {".:0", "b.example.org:0 {\nbind 127.0.0.1\nwhoami\n}", ""},
		"one of several zones":    {".:0", "example.net:0 example.org:0 {\nbind 127.0.0.1\nwhoami\n}", "example.org."},
		"at another address":      {".:0", "example.org:0 {\nbind 127.0.0.2\nwhoami\n}", ""},
		"at one of two addresses": {".:0", "example.org:0 {\nbind 127.0.0.2 127.0.0.1\nwhoami\n}", "example.org."},
		"at another port":         {".:0", "example.org:PORT {\nbind 127.0.0.1\nwhoami\n}", ""},
		"for some clients":        {".:0", "example.org:0 {\nbind 127.0.0.1\nview some {\nexpr client_ip() == '192.0.2.1'\n}\nwhoami\n}", ""},
		"a key of its own":        {".:0 example.org:0", "", ""},
		"a block between":         {".:0 a.example.org:0", "example.org:0 {\nbind 127.0.0.1\nwhoami\n}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "a.example.org.zone"), minimal(7))
			out := capture(t)
			failures := metric(t, "coredns_authority_load_errors_total")
			other := strings.ReplaceAll(c.other, "PORT", fmt.Sprint(unused(t)))
			s := serve(t, fmt.Sprintf("%s {\nbind 127.0.0.1\nauthority {\ndirectory %s\n}\n}\n%s", c.keys, dir, other))
			failures = metric(t, "coredns_authority_load_errors_total") - failures
			if c.by == "" {
				if got := ofBlock(s, "a.example.org."); got != 7 || failures != 0 {
					t.Errorf("serial %d, %v failures:\n%s", got, failures, out)
				}
				return
			}
			want := fmt.Sprintf("[ERROR] plugin/authority: directory: %q: queries for zone a.example.org. do not come here: the server block for %s takes them\n", filepath.Join(dir, "a.example.org.zone"), c.by)
			if failures != 1 || !strings.Contains(out.String(), want) {
				t.Errorf("%v failures:\n%s", failures, out)
			}
		})
	}
}

// ofBlock asks the listeners until one answers with authority.
func ofBlock(s *instance, zone string) uint32 {
	s.t.Helper()
	for _, server := range s.Servers() {
		c := dns.Client{}
		m, _, err := c.Exchange(query(zone, dns.TypeSOA), server.LocalAddr().String())
		if err == nil && m.Authoritative && len(m.Answer) == 1 {
			return m.Answer[0].(*dns.SOA).Serial
		}
	}
	return 0
}

// TestConfigsOf pins where CoreDNS keeps the configurations of its server blocks.
func TestConfigsOf(t *testing.T) {
	c := caddy.NewTestController("dns", "")
	if got := configsOf(c.Context()); len(got) != 0 {
		t.Errorf("at first %v", got)
	}
	own := dnsserver.GetConfig(c)
	if got := configsOf(c.Context()); len(got) != 1 || got[0] != own {
		t.Errorf("got %v, want %v", got, own)
	}
	for _, c := range []caddy.Context{nil, odd{}, &odd{}, &other{}, number(1)} {
		if got := configsOf(c); len(got) != 0 {
			t.Errorf("%T: %v", c, got)
		}
	}
}

// Contexts of other kinds of servers.
type (
	odd    struct{}
	other  struct{ configs []int }
	number int
)

func (odd) InspectServerBlocks(string, []caddyfile.ServerBlock) ([]caddyfile.ServerBlock, error) {
	return nil, nil
}
func (odd) MakeServers() ([]caddy.Server, error) { return nil, nil }

func (o *other) InspectServerBlocks(string, []caddyfile.ServerBlock) ([]caddyfile.ServerBlock, error) {
	return nil, fmt.Errorf("%d", o.configs)
}
func (*other) MakeServers() ([]caddy.Server, error) { return nil, nil }

func (number) InspectServerBlocks(string, []caddyfile.ServerBlock) ([]caddyfile.ServerBlock, error) {
	return nil, nil
}
func (number) MakeServers() ([]caddy.Server, error) { return nil, nil }
