package authority

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/file"
	"github.com/coredns/coredns/plugin/pkg/upstream"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// packer is the end of the chain as the server has it: it packs the response.
type packer struct {
	test.ResponseWriter
	buf []byte
	err error
}

var clientAddr net.Addr = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53000}

func (*packer) RemoteAddr() net.Addr { return clientAddr }

func (p *packer) WriteMsg(m *dns.Msg) error {
	_, p.err = m.PackBuffer(p.buf)
	return p.err
}

// BenchmarkServeDNS measures what a query costs from the server's writer on, by
// this plugin and by stock file for the same zone. Run it with -benchmem.
func BenchmarkServeDNS(b *testing.B) {
	zone := benchZone(10_000)
	path := filepath.Join(b.TempDir(), "example.org")
	writeFile(b, path, zone)
	ours := newAuthority(b, fmt.Sprintf("authority example.org {\nfile %s\n}", path), nil)
	parsed, err := file.Parse(strings.NewReader(zone), "example.org.", path, 0)
	if err != nil {
		b.Fatal(err)
	}
	parsed.Upstream = upstream.New()
	stock := file.File{Zones: file.Zones{Z: map[string]*file.Zone{"example.org.": parsed}, Names: []string{"example.org."}}}

	for _, q := range []struct {
		name string
		req  *dns.Msg
	}{
		{"A", query("h77.example.org.", dns.TypeA, edns(1232))},
		{"alias", query("a77.example.org.", dns.TypeA, edns(1232))},
		{"MX", query("example.org.", dns.TypeMX, edns(1232))},
		{"TXT", query("t77.example.org.", dns.TypeTXT, edns(1232))},
		{"nodata", query("h77.example.org.", dns.TypeTXT, edns(1232))},
		{"nxdomain", query("nope.example.org.", dns.TypeA, edns(1232))},
		{"referral", query("www.d77.example.org.", dns.TypeA, edns(1232))},
	} {
		for _, h := range []struct {
			name string
			plugin.Handler
		}{{"authority", ours}, {"file", stock}} {
			b.Run(q.name+"/"+h.name, func(b *testing.B) {
				w := &packer{buf: make([]byte, 4096)}
				ctx := b.Context()
				b.ReportAllocs()
				for b.Loop() {
					r := *q.req
					if code, err := h.ServeDNS(ctx, request.NewScrubWriter(&r, w), &r); code != dns.RcodeSuccess || err != nil || w.err != nil {
						b.Fatal(code, err, w.err)
					}
				}
			})
		}
	}
}

// benchZone gives a zone with n hosts, aliases, texts and delegations each.
func benchZone(n int) string {
	return "$TTL 3600\n@ SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 192.0.2.3\nmx2 A 192.0.2.4\n" +
		repeat(n, "h%[1]d A 192.0.2.5\na%[1]d CNAME h%[1]d\nt%[1]d TXT \"v=spf1 -all\"\nd%[1]d NS ns1.d%[1]d\nd%[1]d NS ns2.d%[1]d\nns1.d%[1]d A 192.0.2.6\nns2.d%[1]d A 192.0.2.7\n")
}
