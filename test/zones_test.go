package test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// Keys of a server block that are spelled as the server spells names are served, however odd.
func TestOddKeys(t *testing.T) { bothWays(t, testOddKeys) }

func testOddKeys(t *testing.T, start starter) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "zone"), fmt.Sprintf(zoneText, 1, "192.0.2.1"))
	s := start(t, fmt.Sprintf(`example.org:%[1]s "a\ b.example:%[1]s" B\.c.example:%[1]s \195\188.example:%[1]s 0/26.2.0.192.in-addr.arpa:%[1]s 2001:db8::/32:%[1]s {
	bind 127.0.0.1
	authority {
		file %[2]s/zone
	}
}
`, server.Port, dir), "example.org")
	for _, zone := range []string{
		"example.org.", `a\032b.example.`, `A\ B.example.`, `b\046c.example.`, "ü.example.", "0/26.2.0.192.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa.",
	} {
		if r := ask(s, "www."+zone, dns.TypeA); r == nil || len(r.Answer) != 1 {
			t.Errorf("%s: %v", zone, r)
		}
	}
}

// Keys that no query can match, and zones that nobody can mean, end the start with their place.
func TestBadZones(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ key, zone, through, want string }{
		{`bücher.example`, "", "", `Corefile:3 - Error during parsing: server block key "bücher.example.": write it in ASCII`},
		{`"a b.example"`, "", "", `Corefile:3 - Error during parsing: server block key "a b.example.": no query matches this spelling: write "a\ b.example."`},
		{`\065b.example`, "", "", `no query matches this spelling: write ab.example.`},
		{`10.0.0.0/99`, "", "", `Corefile:3 - Error during parsing: server block key "10.0.0.0/99.": not a network`},
		{".", "bücher.example", "", `Corefile:3 - Error during parsing: zone "bücher.example": write it in ASCII`},
		{".", "300.0.0.0/8", "", `Corefile:3 - Error during parsing: zone "300.0.0.0/8": not a network`},
		{".", "example.org:5300", "", `Corefile:3 - Error during parsing: zone "example.org:5300": want a name alone`},
		{".", "tls://example.org", "", `Corefile:3 - Error during parsing: zone "tls://example.org": want a name alone`},
		{".", "example.org,example.net", "", `Corefile:3 - Error during parsing: zone "example.org,example.net": put a space between zones`},
		{".", "example.org", "bücher.example", `Corefile:5 - Error during parsing: zone "bücher.example": write it in ASCII`},
		{".", "example.org", "10.0.0.0/99", `Corefile:5 - Error during parsing: zone "10.0.0.0/99": not a network`},
		{".", "example.org", "example.com", `Corefile:5 - Error during parsing: fallthrough: no name of example.org. is in example.com.`},
	} {
		dir := t.TempDir()
		conf := filepath.Join(dir, "Corefile")
		write(t, conf, fmt.Sprintf("%s {\n bind 127.0.0.1\n authority %s {\n  file zone\n  fallthrough %s\n }\n}\n", c.key, c.zone, c.through))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		out, err := exec.CommandContext(ctx, server.Binary(t), "-conf", conf, "-dns.port", fmt.Sprint(freePort(t))).CombinedOutput()
		cancel()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s, %s: %v\n%s", c.key, c.zone, err, out)
		}
	}
}
