package test

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// cookieOf gives the server's cookie in what dig or kdig print, "" if there is none.
func cookieOf(out string) string {
	if m := regexp.MustCompile(`COOKIE: [0-9a-fA-F]{16}([0-9a-fA-F]{32})( \(good\))?\n`).FindStringSubmatch(out); m != nil {
		return m[1]
	}
	return ""
}

// BIND's and Knot's clients learn a cookie and use it, and get over BADCOOKIE; so they do signed, over all transports, and
// with transfers.
func TestCookieClients(t *testing.T) {
	t.Parallel()
	server.Require(t, "dig", "kdig")
	dir := t.TempDir()
	writeCertificate(t, dir)
	var zone strings.Builder
	fmt.Fprintf(&zone, zoneText, 7, "192.0.2.1")
	const names = 5000 // several messages
	for i := range names {
		fmt.Fprintf(&zone, "host%d 300 IN A 192.0.2.%d\n", i, i%256)
	}
	write(t, filepath.Join(dir, "example.org.zone"), zone.String())
	lines := "\ncookie {\nrequire always\n}\nkeys {\ntsig a.test " + secretOne + "\n}\nerrors\n"
	authority := "authority {\nfile example.org.zone\ntransfer net 127.0.0.0/8\n}"
	ports, blocks := map[string]int{}, ""
	for _, scheme := range []string{"tls", "https", "quic"} {
		ports[scheme] = freePort(t)
		blocks += fmt.Sprintf("%s://example.org:%d ", scheme, ports[scheme])
	}
	metrics := freePort(t)
	s := server.StartOurs(t, block(dir, authority+lines+fmt.Sprintf("prometheus 127.0.0.1:%d", metrics))+
		strings.Replace(block(dir, authority+lines+"tls cert.pem key.pem"), "example.org:"+server.Port, blocks, 1))
	if err := waitTCP(t, s); err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(int(s.Addr.Port()))
	dig := func(args ...string) string {
		return run(t, "", "dig", append([]string{"@127.0.0.1", "-p", port, "+tries=1", "+norec"}, args...)...)
	}
	kdig := func(port string, args ...string) string {
		return run(t, "", "kdig", append([]string{"@127.0.0.1", "-p", port, "+retry=0", "+norec"}, args...)...)
	}
	const key = "hmac-sha256:a.test:" + secretOne
	good := func(name, out, answer string, signed bool) {
		t.Helper()
		if !strings.Contains(out, answer) || cookieOf(out) == "" || verified(out) != signed && signed {
			t.Errorf("%s:\n%s", name, out)
		}
	}

	out := dig("www.example.org", "A")
	if !strings.Contains(out, "BADCOOKIE, retrying") || !strings.Contains(out, "(good)") {
		t.Errorf("dig is not asked for a cookie, or does not take it:\n%s", out)
	}
	good("dig", out, "192.0.2.1", false)
	if out := dig("+nobadcookie", "www.example.org", "A"); !strings.Contains(out, "status: BADCOOKIE") || !strings.Contains(out, "ANSWER: 0") || cookieOf(out) == "" {
		t.Errorf("BADCOOKIE:\n%s", out)
	}
	if out := dig("+nocookie", "+ignore", "www.example.org", "A"); !strings.Contains(out, "flags: qr tc;") || strings.Contains(out, "COOKIE:") {
		t.Errorf("without a cookie:\n%s", out)
	}
	if out := dig("+nocookie", "www.example.org", "A"); !strings.Contains(out, "192.0.2.1") || !strings.Contains(out, "Truncated, retrying in TCP mode") {
		t.Errorf("without a cookie, and TCP:\n%s", out)
	}
	if out := dig("+cookie=0102030405060708ff", "www.example.org", "A"); !strings.Contains(out, "status: FORMERR") || strings.Contains(out, "COOKIE: 01") {
		t.Errorf("malformed:\n%s", out)
	}
	good("a name that is not there", dig("nothing.example.org", "A"), "status: NXDOMAIN", false)
	good("kdig", kdig(port, "+cookie", "www.example.org", "A"), "192.0.2.1", false)

	// The cookie that one query has learned is good for the next.
	before := metricOf(t, metrics, "coredns_cookie_requests_total", `result="valid"`)
	learned := "0102030405060708" + cookieOf(dig("+tcp", "+cookie=0102030405060708", "www.example.org", "A"))
	if out := dig("+cookie="+learned, "+nobadcookie", "www.example.org", "A"); !strings.Contains(out, "192.0.2.1") || "0102030405060708"+cookieOf(out) != learned {
		t.Errorf("the cookie %s is not taken:\n%s", learned, out)
	}
	if n := metricOf(t, metrics, "coredns_cookie_requests_total", `result="valid"`) - before; n != 1 {
		t.Errorf("%v valid cookies are counted", n)
	}

	good("dig, signed", dig("-y", key, "www.example.org", "A"), "192.0.2.1", true)
	good("dig, signed, TCP", dig("-y", key, "+tcp", "www.example.org", "A"), "192.0.2.1", true)
	good("kdig, signed", kdig(port, "+cookie="+learned, "-y", key, "www.example.org", "A"), "192.0.2.1", true)
	good("dig, BADKEY", dig("-y", "hmac-sha256:b.test:"+secretOne, "www.example.org", "A"), "BADKEY", false)
	for scheme, port := range ports {
		port := strconv.Itoa(port)
		good(scheme, kdig(port, "+"+scheme, "+cookie", "www.example.org", "A"), "192.0.2.1", false)
		good(scheme+", signed", kdig(port, "+"+scheme, "+cookie", "-y", key, "www.example.org", "A"), "192.0.2.1", true)
		if out := kdig(port, "+"+scheme, "+edns", "www.example.org", "A"); !strings.Contains(out, "192.0.2.1") || strings.Contains(out, "COOKIE") {
			t.Errorf("%s without a cookie:\n%s", scheme, out)
		}
	}
	for _, args := range [][]string{nil, {"-y", key}} {
		out := dig(append(args, "+cookie", "example.org", "AXFR")...)
		if n := strings.Count(out, "\tIN\tA\t"); n != names+2 || strings.Contains(out, "; Transfer failed") || args != nil && !verified(out) {
			t.Errorf("AXFR %v: %d addresses\n%.2000s", args, n, out)
		}
		axfr := new(dns.Msg)
		axfr.SetAxfr("example.org.")
		axfr.SetEdns0(1232, false)
		axfr.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}}
		c := dns.Client{Net: "tcp", Timeout: 10 * time.Second}
		if args != nil {
			axfr.SetTsig("a.test.", dns.HmacSHA256, 300, time.Now().Unix())
			c.TsigSecret = map[string]string{"a.test.": secretOne}
		}
		r, _, err := c.Exchange(axfr, s.Addr.String())
		if err != nil || len(cookieIn(r)) != 24 {
			t.Errorf("AXFR %v: %v, first message has %x", args, err, cookieIn(r))
		}
	}
	if log := s.Log(); strings.Contains(log, "panic") || strings.Contains(log, "ERROR") {
		t.Errorf("the log:\n%s", log)
	}
}

// waitTCP waits until a server answers that gives nothing over UDP.
func waitTCP(t *testing.T, s *server.Server) (err error) {
	t.Helper()
	waitFor(t, "the server to answer", func() bool {
		m := new(dns.Msg)
		m.SetQuestion("example.org.", dns.TypeSOA)
		c := dns.Client{Net: "tcp", Timeout: time.Second}
		var r *dns.Msg
		r, _, err = c.Exchange(m, s.Addr.String())
		return err == nil && len(r.Answer) == 1
	})
	return err
}

// cookieIn gives the content of the COOKIE option of a message.
func cookieIn(m *dns.Msg) []byte {
	if m == nil || m.IsEdns0() == nil {
		return nil
	}
	for _, o := range m.IsEdns0().Option {
		if o.Option() == dns.EDNS0COOKIE {
			b, _ := hex.DecodeString(o.String())
			return b
		}
	}
	return nil
}

// A response over UDP is never larger than the client takes with the cookie in it, and is cut just where it would be without
// cookies if the client took so much less.
func TestCookieSizes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), fmt.Sprintf(zoneText, 1, "192.0.2.1")+growingZone())
	const room = 4 + 24
	for _, c := range []struct{ name, lines string }{
		{"alone", ""},
		{"cache and more", "cache\nminimal\nloadbalance\nerrors\n"},
		{"keys", "keys {\ntsig a.test " + secretOne + "\n}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			with := server.StartOurs(t, block(dir, c.lines+"cookie\n"+exampleZone), "example.org")
			without := server.StartOurs(t, block(dir, c.lines+exampleZone), "example.org")
			ask := func(s *server.Server, i int, size uint16, option bool) (*dns.Msg, int) {
				m := new(dns.Msg)
				m.SetQuestion(fmt.Sprintf("h%d.a-rather-long-label-in-the-middle.example.org.", i), dns.TypeA)
				m.SetEdns0(size, true)
				if option {
					m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}}
				}
				if c.name != "keys" {
					return sized(t, s, m)
				}
				m.SetTsig("a.test.", dns.HmacSHA256, 300, time.Now().Unix())
				b, _, err := dns.TsigGenerate(m, secretOne, "", false)
				if err != nil {
					t.Fatal(err)
				}
				signed := new(dns.Msg)
				if err := signed.Unpack(b); err != nil {
					t.Fatal(err)
				}
				r, n := sized(t, s, signed)
				if r.IsTsig() == nil {
					t.Fatalf("not signed:\n%v", r)
				}
				return r, n
			}
			cut := 0
			for i := 1; i <= maxSets; i++ {
				for size := uint16(600); size <= 1232; size += 79 {
					r, n := ask(with, i, size, true)
					plain, _ := ask(without, i, size-room, false)
					if n > int(size) || len(cookieIn(r)) != 24 || r.Truncated != plain.Truncated || len(r.Answer) != len(plain.Answer) {
						t.Errorf("%d addresses for %d octets: %d octets, TC %v and %d records, %v and %d without cookies",
							i, size, n, r.Truncated, len(r.Answer), plain.Truncated, len(plain.Answer))
					}
					if r.Truncated {
						cut++
					}
				}
			}
			if cut == 0 || cut == maxSets*9 {
				t.Errorf("%d responses are cut", cut)
			}
			if r, n := ask(with, maxSets, 4096, true); n > 1232 || !r.Truncated || len(cookieIn(r)) != 24 {
				t.Errorf("%d octets for 4096", n)
			}
		})
	}
}

// BIND as a resolver keeps our cookie and sends it back.
func TestCookieResolver(t *testing.T) {
	t.Parallel()
	server.Require(t, "named", "dig")
	dir := t.TempDir()
	var zone strings.Builder
	fmt.Fprintf(&zone, zoneText, 7, "192.0.2.1")
	const names = 20
	for i := range names {
		fmt.Fprintf(&zone, "host%d 300 IN A 192.0.2.%d\n", i, i)
	}
	write(t, filepath.Join(dir, "example.org.zone"), zone.String())
	metrics := freePort(t)
	s := server.StartOurs(t, block(dir, exampleZone+fmt.Sprintf("\ncookie {\nrequire always\n}\nprometheus 127.0.0.1:%d", metrics)))
	if err := waitTCP(t, s); err != nil {
		t.Fatal(err)
	}
	named := server.StartNamedForwarder(t, s.Addr)
	for i := range names {
		out := run(t, "", "dig", "@127.0.0.1", "-p", strconv.Itoa(int(named.Addr.Port())), fmt.Sprintf("host%d.example.org", i), "A", "+tries=3")
		if !strings.Contains(out, fmt.Sprintf("\t192.0.2.%d\n", i)) {
			t.Errorf("%s:\n%s", named.Name, out)
		}
	}
	count := func(result string) float64 {
		return metricOf(t, metrics, "coredns_cookie_requests_total", `result="`+result+`"`)
	}
	if valid, first := count("valid"), count("client"); valid < names || first < 1 || first > 3 || count("invalid") > 0 {
		t.Errorf("%s: %v queries with our cookie, %v without one, %v with another", named.Name, valid, first, count("invalid"))
	}
}

// Secondaries learn of a new version when they ask for it, signed and unsigned, however few cookies they know.
func TestCookieSecondaries(t *testing.T) {
	t.Parallel()
	server.Require(t, "named", "knotd", "nsd")
	for _, key := range []*server.Key{nil, {Name: "a.test", Algorithm: "hmac-sha256", Secret: secretOne}} {
		t.Run(fmt.Sprintf("signed %v", key != nil), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "example.org.zone")
			write(t, path, fmt.Sprintf(zoneText, 1, "192.0.2.1"))
			lines := "cookie {\nrequire always\n}\nauthority {\nfile example.org.zone\n"
			if key == nil {
				lines += "transfer net 127.0.0.0/8\n}\n"
			} else {
				lines += "transfer key a.test\n}\nkeys {\n" + "tsig a.test " + secretOne + "\n}\n"
			}
			s := server.StartOurs(t, block(dir, lines))
			if err := waitTCP(t, s); err != nil {
				t.Fatal(err)
			}
			p := server.Primary{Addr: s.Addr, Zones: []string{"example.org"}, Key: key, Refresh: 1}
			all := []*server.Server{server.StartNamedSecondary(t, p), server.StartKnotdSecondary(t, p), server.StartNSDSecondary(t, p)}
			put(t, path, fmt.Sprintf(zoneText, 2, "192.0.2.2"))
			for _, secondary := range all {
				waitFor(t, secondary.Name+" to have the new version", func() bool {
					r := ask(secondary, "www.example.org.", dns.TypeA)
					return r != nil && len(r.Answer) == 1 && strings.HasSuffix(r.Answer[0].String(), "192.0.2.2")
				})
			}
		})
	}
}
