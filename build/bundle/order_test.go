package bundle

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
)

const modulePath = "github.com/trustdns/trustdns"

// upstream is the order of CoreDNS itself, kept before Install changes it.
var upstream = slices.Clone(dnsserver.Directives)

func TestInstall(t *testing.T) {
	for range 2 {
		if err := Install(); err != nil {
			t.Fatal(err)
		}
	}
	want, err := order(upstream, places)
	if err != nil {
		t.Fatal(err)
	}
	if got := caddy.ValidDirectives("dns"); !slices.Equal(got, want) {
		t.Fatalf("CoreDNS runs %v\nwant %v", got, want)
	}
	for _, name := range want {
		serverType := "dns"
		if name == "on" {
			serverType = "" // caddy's own, for every type of server
		}
		if _, err := caddy.DirectiveAction(serverType, name); err != nil {
			t.Errorf("%v: is its package in bundle.go?", err)
		}
	}
}

func TestUpstreamKeepsItsOrder(t *testing.T) {
	list, err := order(upstream, places)
	if err != nil {
		t.Fatal(err)
	}
	without := slices.DeleteFunc(list, isOurs)
	if !slices.Equal(without, upstream) {
		t.Errorf("without ours: %v\nupstream:     %v", without, upstream)
	}
}

func TestConstraints(t *testing.T) {
	list, err := order(upstream, places)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ front, behind, why string }{
		{"prometheus", "cookie", "what cookie answers is counted"},
		{"cookie", "errors", "errors have a cookie, too"},
		{"cookie", "cache", "a cached answer gets the cookie of who asks"},
		{"cookie", "keys", "the cookie is signed"},
		{"cookie", "tsig", "the OPT record is in front of the signature"},
		{"cookie", "rewrite", "what rewrite does to options is not undone"},
		{"cookie", "forward", "cookies are not forwarded"},
		{"cookie", "ratelimit", "ratelimit is told of the cookie, and what it sends gets one"},
		{"prometheus", "ratelimit", "what is sent in place of answers is counted"},
		{"ratelimit", "errors", "nothing that answers or refuses is in front of it"},
		{"ratelimit", "chaos", "chaos answers are limited"},
		{"ratelimit", "any", "refusals of ANY are limited"},
		{"ratelimit", "acl", "refusals are limited"},
		{"ratelimit", "cache", "hits are limited"},
		{"ratelimit", "keys", "refused signatures are limited"},
		{"keys", "tsig", "tsig gets what is signed by its own keys; its setup must come behind ours"},
		{"keys", "rewrite", "the question is as it was signed"},
		{"keys", "cache", "who is refused gets no answer"},
		{"keys", "transfer", "transfers are signed"},
		{"keys", "dynupdate", "updates are authenticated"},
		{"keys", "authority", "authority decides by who has signed"},
		{"prometheus", "keys", "refusals are counted"},
		{"log", "keys", "refusals are logged"},
		{"transfer", "authority", "transfer takes AXFR and IXFR out of the chain"},
		{"dynupdate", "authority", "dynupdate serves the zone that it names"},
		{"tsig", "authority", "the answer must be signed"},
		{"rewrite", "authority", "the name must be rewritten first"},
		{"acl", "authority", "who may not ask gets no answer"},
		{"cache", "authority", "cache asks the plugins behind it which zones to bypass"},
		{"dnssec", "authority", "dnssec signs what is behind it"},
		{"prometheus", "authority", "answers are counted"},
		{"authority", "hosts", "authority falls through to it"},
		{"authority", "kubernetes", "authority falls through to it"},
		{"authority", "file", "authority falls through to it"},
		{"authority", "forward", "authority falls through to it"},
		{"authority", "whoami", "whoami answers everything"},
	} {
		front, behind := slices.Index(list, c.front), slices.Index(list, c.behind)
		if front < 0 || behind < 0 || front >= behind {
			t.Errorf("%s (%d) must stand in front of %s (%d): %s", c.front, front, c.behind, behind, c.why)
		}
	}
	for _, p := range places {
		if p.reason == "" {
			t.Errorf("%s: no reason for its place", p.directive)
		}
	}
}

func TestOrder(t *testing.T) {
	base := []string{"a", "b", "c"}
	for _, tc := range []struct {
		name   string
		places []place
		want   string
		err    string
	}{
		{name: "none", want: "a b c"},
		{name: "first", places: []place{{directive: "x", before: "a"}}, want: "x a b c"},
		{name: "two before the same", places: []place{{directive: "x", before: "b"}, {directive: "y", before: "b"}}, want: "a x y b c"},
		{name: "before one of ours", places: []place{{directive: "x", before: "c"}, {directive: "y", before: "x"}}, want: "a b y x c"},
		{name: "unknown neighbor", places: []place{{directive: "x", before: "d"}}, err: `"x" is to stand before "d"`},
		{name: "neighbor comes later", places: []place{{directive: "x", before: "y"}, {directive: "y", before: "a"}}, err: `before "y"`},
		{name: "taken", places: []place{{directive: "b", before: "c"}}, err: `"b" is in the chain already`},
		{name: "twice", places: []place{{directive: "x", before: "c"}, {directive: "x", before: "a"}}, err: `"x" is in the chain already`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := order(base, tc.places)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("%s, want %s", s, tc.want)
			}
			if !slices.Equal(base, []string{"a", "b", "c"}) {
				t.Errorf("the base list was changed: %v", base)
			}
		})
	}
}

// TestPluginCfg compares build/plugin.cfg with the order above and, without the
// lines of ours, with upstream's own file.
func TestPluginCfg(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "plugin.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	var stock strings.Builder
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "# trustdns:") {
			continue
		}
		name, pkg, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || strings.HasPrefix(line, "#") {
			stock.WriteString(line)
			continue
		}
		names = append(names, name)
		if !isOurs(name) {
			stock.WriteString(line)
		} else if want := modulePath + "/plugin/" + name; pkg != want {
			t.Errorf("%s: package %s, want %s", name, pkg, want)
		}
	}
	want, err := order(upstream, places)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(names, want) {
		t.Errorf("plugin.cfg has %v\norder.go has %v", names, want)
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/coredns/coredns").Output()
	if err != nil {
		t.Fatal(err)
	}
	original, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "plugin.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	if stock.String() != string(original) {
		t.Errorf("plugin.cfg without our lines is not upstream's:\n%s", stock.String())
	}
}

func isOurs(name string) bool {
	return slices.ContainsFunc(places, func(p place) bool { return p.directive == name })
}
