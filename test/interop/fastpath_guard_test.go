package interop

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

const guardedZone = `@ 3600 IN SOA ns hostmaster 1 7200 1800 1209600 300
@ NS ns
ns A 192.0.2.53
www A 192.0.2.1
*.wild A 192.0.2.2
*.wild MX 10 www
sub NS ns.sub
ns.sub A 192.0.2.54
tree DNAME example.com.
*.alias CNAME www
long TXT "%[1]s" "%[1]s" "%[1]s" "%[1]s"
`

// TestFastPathGuards: with the plugins cookie and ratelimit the chain and the fast path send the same in the same numbers
// for each kind of query, and count the same.
func TestFastPathGuards(t *testing.T) {
	file := filepath.Join(t.TempDir(), "example.org.zone")
	if err := os.WriteFile(file, fmt.Appendf(nil, guardedZone, strings.Repeat("x", 200)), 0o644); err != nil {
		t.Fatal(err)
	}
	for require, settings := range map[string]string{
		"never":   "responses 5\n\t\tnodata 4\n\t\tnxdomain 3\n\t\treferral 6\n\t\terror 2",
		"limited": "responses 7\n\t\tslip 1",
		"always":  "responses 5\n\t\tall 9",
	} {
		t.Run(require, func(t *testing.T) {
			w := startTwice(t, fmt.Sprintf(`ready.example:%[1]s {
	 bind 127.0.0.1
	authority {
		file %[4]q
	}
}
.:%[1]s {
	bind 127.0.0.1
	cookie {
		secret 00112233445566778899aabbccddeeff
		require %[2]s
	}
	ratelimit {
		%[3]s
		window 1h
	}
	authority example.org {
		file %[4]q
	}
}
`, server.Port, require, settings, file), "ready.example")
			// Under this policy it is the first that is limited that changes what becomes of others, and in the chain
			// that is not the same one each time.
			exact := require != "limited"
			guards(t, w, exact)
			if !exact {
				return
			}
			if fast, chain := w.compareCounters(t); chain > 1 || fast < 1000 { // the one that asks whether it is ready
				t.Errorf("the fast path has answered %v, and handed on %v", fast, chain)
			}
		})
	}
}

// guards sends floods of all kinds to both, each from a network of its own.
func guards(t *testing.T, w *twice, exact bool) {
	names := map[string]struct {
		of    func(i int) string
		qtype uint16
	}{
		"a name":         {func(int) string { return "www" }, dns.TypeA},
		"no data":        {func(int) string { return "www" }, dns.TypeMX},
		"random names":   {func(i int) string { return fmt.Sprint("q", i) }, dns.TypeA},
		"a wildcard":     {func(i int) string { return fmt.Sprint("q", i, ".WILD") }, dns.TypeA},
		"its no data":    {func(i int) string { return fmt.Sprint("q", i, ".wild") }, dns.TypeTXT},
		"a referral":     {func(i int) string { return fmt.Sprint("q", i, ".sub") }, dns.TypeA},
		"a DNAME":        {func(i int) string { return fmt.Sprint("q", i, ".tree") }, dns.TypeA},
		"aliases":        {func(i int) string { return fmt.Sprint("q", i, ".alias") }, dns.TypeA},
		"a large answer": {func(int) string { return "long" }, dns.TypeTXT},
		"refusals":       {func(i int) string { return fmt.Sprintf("q%d.example.com.", i) }, dns.TypeA},
	}
	cookies := map[string]string{
		"no EDNS": "-", "no cookie": "", "client cookie": "0123456789abcdef", "foreign cookie": "0123456789abcdef01000000655555550011223344556677",
		"malformed cookie": "0123456789abcdef01", "good cookie": "good",
	}
	network := 0
	for _, kind := range slices.Sorted(maps.Keys(names)) {
		for _, c := range slices.Sorted(maps.Keys(cookies)) {
			network++
			from := netip.AddrFrom4([4]byte{127, 30, byte(network), 1})
			var got [2]map[string]int
			if left := time.Until(time.Now().Truncate(time.Second).Add(time.Second)); left < 100*time.Millisecond {
				<-time.After(left) // accounts get their due when the second changes
			}
			for i, s := range []*server.Server{w.chain, w.fast} {
				cookie := cookies[c]
				if cookie == "good" {
					cookie = learn(t, from, s.Addr)
				}
				var msgs [][]byte
				for n := range 60 {
					name := names[kind].of(n)
					if !strings.HasSuffix(name, ".") {
						name += ".example.org."
					}
					m := new(dns.Msg).SetQuestion(name, names[kind].qtype)
					if cookie != "-" {
						m.SetEdns0(1232, network%2 == 0)
						if cookie != "" {
							m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}}
						}
					}
					b, err := m.Pack()
					if err != nil {
						t.Fatal(err)
					}
					msgs = append(msgs, b)
				}
				got[i] = sendAll(t, from, s.Addr, msgs)
			}
			if !same(got[0], got[1], exact) {
				t.Errorf("%s, %s: the chain sends\n%v\nthe fast path\n%v", kind, c, got[0], got[1])
			}
			if len(got[0]) == 0 {
				t.Errorf("%s, %s: nothing comes", kind, c)
			}
		}
	}
}

// same tells whether the numbers are the same, or nearly so.
func same(a, b map[string]int, exact bool) bool {
	for _, m := range []map[string]int{a, b} {
		for shape := range m {
			if d := a[shape] - b[shape]; d != 0 && (exact || d > 4 || d < -4) {
				return false
			}
		}
	}
	return true
}

// learn gives the cookie that a server has for an address.
func learn(t *testing.T, from netip.Addr, to netip.AddrPort) string {
	t.Helper()
	m := new(dns.Msg).SetQuestion("ns.example.org.", dns.TypeTXT)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}}
	c := dns.Client{Dialer: &net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: 5 * time.Second}}
	r, _, err := c.Exchange(m, to.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range r.IsEdns0().Option {
		if k, ok := o.(*dns.EDNS0_COOKIE); ok && len(k.Cookie) == 48 {
			return k.Cookie
		}
	}
	t.Fatalf("there is no cookie in\n%v", r)
	return ""
}

// sendAll sends messages, one after the other without waiting, and gives how often what came.
func sendAll(t *testing.T, from netip.Addr, to netip.AddrPort, msgs [][]byte) map[string]int {
	t.Helper()
	conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, m := range msgs {
		if _, err := conn.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]int{}
	buf := make([]byte, 4096)
	for range msgs {
		if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		if err != nil {
			break // the others got nothing
		}
		got[shapeOf(t, buf[:n])]++
	}
	return got
}

// shapeOf tells what a response is like, whatever name was made up for it.
func shapeOf(t *testing.T, b []byte) string {
	t.Helper()
	var m dns.Msg
	if err := m.Unpack(b); err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	s := fmt.Sprintf("%s aa=%v tc=%v %d+%d+%d", dns.RcodeToString[m.Rcode], m.Authoritative, m.Truncated, len(m.Answer), len(m.Ns), len(m.Extra))
	if opt := m.IsEdns0(); opt != nil {
		s += fmt.Sprintf(" size=%d do=%v", opt.UDPSize(), opt.Do())
		for _, o := range opt.Option {
			switch o := o.(type) {
			case *dns.EDNS0_COOKIE:
				client, err := hex.DecodeString(o.Cookie)
				s += fmt.Sprintf(" cookie=%x.. of %d %v", client[:8], len(client), err)
			default:
				s += " " + strings.ReplaceAll(o.String(), "\n", " ")
			}
		}
	}
	return s
}
