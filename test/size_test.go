package test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// maxSets is how many names growingZone has.
const maxSets = 60

// growingZone gives the records below example.org of names h1, h2, ...: each has one address more than the name before,
// and a signature of the size that RSA with 2048 bits makes.
func growingZone() string {
	var b strings.Builder
	const long = "a-rather-long-label-in-the-middle"
	signature := strings.Repeat("A", 344)
	for i := 1; i <= maxSets; i++ {
		for j := range i {
			fmt.Fprintf(&b, "h%d.%s 300 IN A 192.0.2.%d\n", i, long, j)
		}
		fmt.Fprintf(&b, "h%d.%s 300 IN RRSIG A 8 4 300 20380101000000 20200101000000 12345 @ %s\n", i, long, signature)
	}
	return b.String()
}

// sized sends a query over UDP and gives the size of the response in octets as well.
func sized(t *testing.T, s *server.Server, m *dns.Msg) (*dns.Msg, int) {
	t.Helper()
	conn, err := net.Dial("udp", s.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(packed); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65535)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(buf[:n]); err != nil {
		t.Fatal(err)
	}
	return r, n
}

// No answer over UDP is larger than 1232 octets, and none that fits there is cut, whoever hands copies of the request on.
func TestSizeOverUDP(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), fmt.Sprintf(zoneText, 1, "192.0.2.1")+growingZone())
	for _, c := range []struct{ name, lines, suffix string }{
		{"authority alone", "", "example.org."},
		{"fastpath", "", "example.org."},
		{"fastpath and cache", "cache\n", "example.org."},
		{"cache", "cache\n", "example.org."},
		{"cache and more", "cache\nheader {\n response set ra\n}\nminimal\nloadbalance\nlog\nerrors\nnsid here\n", "example.org."},
		{"rewrite and cache", "cache\nrewrite stop {\n name suffix example.net example.org answer auto\n}\n", "example.net."},
		{"an OPT record of rewrite's", "cache\nrewrite edns0 local set 0xffee 0x61626364\n", "example.org."},
	} {
		t.Run(c.name, func(t *testing.T) {
			corefile := block(dir, c.lines+"authority example.org {\n file example.org.zone\n}")
			start := server.StartOurs
			if strings.HasPrefix(c.name, "fastpath") {
				start = server.StartFast
			}
			s := start(t, strings.Replace(corefile, "example.org:", ".:", 1), "example.org")
			for _, size := range []uint16{1232, 1400, 1480, 4096} {
				whole := 0
				for i := 1; i <= maxSets; i++ {
					m := new(dns.Msg)
					m.SetQuestion(fmt.Sprintf("h%d.a-rather-long-label-in-the-middle.%s", i, c.suffix), dns.TypeA)
					m.SetEdns0(size, true)
					r, n := sized(t, s, m)
					if n > 1232 {
						t.Errorf("%d addresses for %d octets: the response has %d", i, size, n)
					}
					if !r.Truncated {
						whole = i
						if len(r.Answer) != i+1 {
							t.Errorf("%d addresses for %d octets: %d records without TC", i, size, len(r.Answer))
						}
					}
				}
				// With compressed owners an address has 16 octets; all else has less than 450.
				if want := (1232 - 450) / 16; whole < want {
					t.Errorf("for %d octets %d addresses come whole, and not %d", size, whole, want)
				}
			}
		})
	}
}

// Over QUIC, which looks like UDP to the server, cache does not make large answers small.
func TestSizeOverQUIC(t *testing.T) {
	t.Parallel()
	server.Require(t, "kdig")
	dir := t.TempDir()
	writeCertificate(t, dir)
	write(t, filepath.Join(dir, "example.org.zone"), fmt.Sprintf(zoneText, 1, "192.0.2.1")+growingZone())
	port := freePort(t)
	quic := strings.Replace(block(dir, "cache\ntls cert.pem key.pem\n"+exampleZone), "example.org:"+server.Port, fmt.Sprintf("quic://example.org:%d", port), 1)
	server.StartOurs(t, block(dir, exampleZone)+quic, "example.org")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "kdig", "@127.0.0.1", "-p", fmt.Sprint(port), "+quic", "+bufsize=512", "+dnssec",
		fmt.Sprintf("h%d.a-rather-long-label-in-the-middle.example.org", maxSets), "A").CombinedOutput()
	if err != nil || strings.Count(string(out), "192.0.2.") < maxSets {
		t.Errorf("%v\n%s", err, out)
	}
}
