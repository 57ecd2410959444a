package test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// limitedZone has small and large answers.
func limitedZone(t *testing.T, dir string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, zoneText, 1, "192.0.2.1")
	for i := range 300 {
		fmt.Fprintf(&b, "large%d 300 IN TXT", i)
		for j := range 5 {
			fmt.Fprintf(&b, " %0200d", j)
		}
		fmt.Fprintf(&b, "\nmiddle%d 300 IN TXT %0200d %0200d", i, i, i)
		fmt.Fprintf(&b, "\nhost%d 300 IN A 192.0.2.%d\n*.wild%d 300 IN A 192.0.2.3\n", i, i%256, i)
	}
	fmt.Fprintf(&b, "alias 300 IN CNAME %s\n", strings.Repeat("a-long-name.", 9))
	if err := os.WriteFile(filepath.Join(dir, "example.org.zone"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A flood sends queries in the name of a network, which 127.0.0.0/8 allows, and
// counts what goes there and what was sent.
type flood struct {
	in, out         atomic.Int64 // octets of messages
	sent, responses atomic.Int64
	end             func() // it, and wait for the last response
}

// startFlood asks from so many addresses of a /24 at a rate until it is ended.
func startFlood(t *testing.T, s *server.Server, network string, addresses, perSecond int, query func(i int) *dns.Msg) *flood {
	t.Helper()
	f, stop := new(flood), make(chan struct{})
	var sending, receiving sync.WaitGroup
	var conns []*net.UDPConn
	for i := range addresses {
		from := netip.MustParseAddrPort(fmt.Sprintf("%s.%d:0", network, i+2))
		c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(s.Addr))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		receiving.Go(func() {
			buf := make([]byte, 4096)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				f.out.Add(int64(n))
				f.responses.Add(1)
			}
		})
	}
	sending.Go(func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for i := 0; ; {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			for range perSecond / 100 {
				b, err := query(i).Pack()
				if err != nil {
					panic(err)
				}
				if _, err := conns[i%addresses].Write(b); err == nil {
					f.in.Add(int64(len(b)))
					f.sent.Add(1)
				}
				i++
			}
		}
	})
	f.end = sync.OnceFunc(func() {
		close(stop)
		sending.Wait()
		<-time.After(200 * time.Millisecond) // for the last responses
		for _, c := range conns {
			_ = c.Close()
		}
		receiving.Wait()
	})
	t.Cleanup(f.end)
	return f
}

func query(name string, qtype uint16, cookie bool) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.SetEdns0(1232, true)
	if cookie {
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"})
	}
	return m
}

// With the defaults, a network gets fewer octets than were sent in its name,
// whatever is asked for.
func TestReflection(t *testing.T) {
	bothWays(t, reflection)
}

func reflection(t *testing.T, start starter) {
	dir := t.TempDir()
	limitedZone(t, dir)
	s := start(t, block(dir, "cookie\nratelimit\n"+exampleZone)+fmt.Sprintf(".:%s {\n bind 127.0.0.1\n ratelimit\n acl {\n block\n }\n}\n", server.Port), "example.org")
	for i, tc := range []struct {
		name             string
		addresses, speed int
		query            func(i int) *dns.Msg
	}{
		{"one large answer", 1, 1000, func(int) *dns.Msg { return query("large1.example.org.", dns.TypeTXT, false) }},
		{"300 large answers", 50, 1000, func(i int) *dns.Msg { return query(fmt.Sprintf("large%d.example.org.", i%300), dns.TypeTXT, false) }},
		{"300 large answers, slowly", 50, 500, func(i int) *dns.Msg { return query(fmt.Sprintf("large%d.example.org.", i%300), dns.TypeTXT, false) }},
		{"300 answers below 512 octets", 100, 3000, func(i int) *dns.Msg { return query(fmt.Sprintf("middle%d.example.org.", i%300), dns.TypeTXT, false) }},
		{"300 answers below 512 octets, without EDNS", 100, 3000, func(i int) *dns.Msg {
			m := new(dns.Msg).SetQuestion(fmt.Sprintf("middle%d.example.org.", i%300), dns.TypeTXT)
			m.RecursionDesired = false
			return m
		}},
		{"one alias, all types", 50, 1000, func(i int) *dns.Msg { return query("alias.example.org.", uint16(1000+i%10000), false) }},
		{"ANY", 50, 1000, func(i int) *dns.Msg { return query(fmt.Sprintf("large%d.example.org.", i%300), dns.TypeANY, false) }},
		{"with a cookie", 50, 1000, func(i int) *dns.Msg { return query(fmt.Sprintf("large%d.example.org.", i%300), dns.TypeTXT, true) }},
		{"one answer with a cookie", 1, 1000, func(int) *dns.Msg { return query("host1.example.org.", dns.TypeA, true) }},
		{"one answer with a cookie, many addresses", 50, 1000, func(int) *dns.Msg { return query("host1.example.org.", dns.TypeA, true) }},
		{"random names", 50, 1000, func(i int) *dns.Msg { return query(fmt.Sprintf("x%d.example.org.", i), dns.TypeA, false) }},
		{"random names of a wildcard", 50, 1000, func(i int) *dns.Msg { return query(fmt.Sprintf("x%d.wild1.example.org.", i), dns.TypeA, false) }},
		{"refused", 50, 1000, func(i int) *dns.Msg { return query(fmt.Sprintf("x%d.example.net.", i), dns.TypeA, false) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := startFlood(t, s, fmt.Sprintf("127.30.%d", i), tc.addresses, tc.speed, tc.query)
			<-time.After(time.Duration(max(6, 4000/tc.speed)) * time.Second) // so long that what passes at first does not count
			f.end()
			in, out := f.in.Load(), f.out.Load()
			t.Logf("%d queries, %d responses, octets out/in %d/%d = %.2f", f.sent.Load(), f.responses.Load(), out, in, float64(out)/float64(in))
			if out > in || f.sent.Load() < 1000 {
				t.Errorf("%d octets out for %d in", out, in)
			}
		})
	}
}

// While somebody sends a flood in the name of their network, those who are there
// get their answers: dig and kdig with cookies, a resolver, and all over TCP.
func TestFlood(t *testing.T) {
	server.Require(t, "dig", "kdig", "named")
	bothWays(t, clientsAmongFlood)
}

func clientsAmongFlood(t *testing.T, start starter) {
	dir := t.TempDir()
	limitedZone(t, dir)
	s := start(t, block(dir, "cookie\nratelimit\n"+exampleZone), "example.org")
	resolver := server.StartProgram(t, server.Program{
		Name: "named", Ready: "running",
		Prepare: func(dir string, port int) ([]string, error) {
			conf := filepath.Join(dir, "named.conf")
			text := fmt.Sprintf(`options {
	directory %q; pid-file none; session-keyfile none; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };
	recursion yes; allow-query { any; }; dnssec-validation no; empty-zones-enable no; query-source address 127.0.0.1;
	prefetch 0;
};
controls { };
zone "example.org" { type forward; forward only; forwarders { 127.0.0.1 port %d; }; };
`, dir, port, s.Addr.Port())
			return []string{"-g", "-n", "1", "-c", conf}, os.WriteFile(conf, []byte(text), 0o644)
		},
	})
	// All that the clients below ask for is asked for in the name of their network.
	f := startFlood(t, s, "127.0.0", 100, 6000, func(i int) *dns.Msg {
		return query(fmt.Sprintf("host%d.example.org.", i%60), dns.TypeA, i%2 == 0)
	})
	<-time.After(time.Second)

	port := strconv.Itoa(int(s.Addr.Port()))
	succeeded := map[string]int{}
	const rounds = 10
	for i := range rounds {
		name := fmt.Sprintf("host%d.example.org", i)
		for what, command := range map[string][]string{
			"dig +cookie":  {"dig", "@127.0.0.1", "-p", port, "+cookie", "+short", "+tries=8", "+time=1", name, "A"},
			"dig":          {"dig", "@127.0.0.1", "-p", port, "+nocookie", "+short", "+tries=8", "+time=1", name, "A"},
			"dig +tcp":     {"dig", "@127.0.0.1", "-p", port, "+tcp", "+short", "+tries=1", "+time=2", name, "A"},
			"kdig +cookie": {"kdig", "@127.0.0.1", "-p", port, "+cookie", "+short", "+retry=7", "+timeout=1", name, "A"},
		} {
			out, err := exec.Command(server.Path(t, command[0]), command[1:]...).CombinedOutput()
			if err == nil && strings.Contains(string(out), fmt.Sprintf("192.0.2.%d", i)) {
				succeeded[what]++
			} else {
				t.Logf("%s: %v\n%s", what, err, out)
			}
		}
		m := new(dns.Msg).SetQuestion(name+".", dns.TypeA)
		c := dns.Client{Timeout: 9 * time.Second}
		if r, _, err := c.Exchange(m, resolver.Addr.String()); err == nil && len(r.Answer) == 1 {
			succeeded["named"]++
		} else {
			t.Logf("named: %v\n%v", err, r)
		}
	}
	f.end()
	t.Logf("during a flood of %d queries: %v of %d", f.sent.Load(), succeeded, rounds)
	for _, what := range []string{"dig +cookie", "dig", "dig +tcp", "kdig +cookie", "named"} {
		if n := succeeded[what]; n < rounds {
			t.Errorf("%s: %d of %d", what, n, rounds)
		}
	}
	if out, in := f.out.Load(), f.in.Load(); out > in {
		t.Errorf("%d octets out for %d in", out, in)
	}
}

// TestTopOffenders: who is limited most is in the log when the process gets SIGHUP.
func TestTopOffenders(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		dir := t.TempDir()
		limitedZone(t, dir)
		s := start(t, block(dir, "ratelimit\n"+exampleZone), "example.org")
		for network, n := range map[string]int{"127.41.1": 400, "127.41.2": 200} {
			f := startFlood(t, s, network, 1, 2*n, func(int) *dns.Msg { return query("host1.example.org.", dns.TypeA, false) })
			<-time.After(time.Second)
			f.end()
		}
		if err := syscall.Kill(s.PID(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		const want = "limited most of late, with the number of requests and responses: 127.41.1.0/24 "
		for end := time.Now().Add(server.Patience); !strings.Contains(s.Log(), want); <-time.After(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the log lacks %q:\n%s", want, s.Log())
			}
		}
		if !strings.Contains(s.Log(), "127.41.2.0/24 ") {
			t.Errorf("the second is not in the log:\n%s", s.Log())
		}
	})
}

// A reload with the same limits forgets nobody; one with others begins anew.
func TestLimitsOutliveReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	limitedZone(t, dir)
	corefile := block(dir, "ratelimit {\n responses 2\n window 1h\n slip 1\n}\n"+exampleZone)
	s := server.StartOurs(t, corefile, "example.org")
	limited := func() bool {
		c := dns.Client{Timeout: time.Second}
		r, _, err := c.Exchange(new(dns.Msg).SetQuestion("host1.example.org.", dns.TypeA), s.Addr.String())
		return err == nil && r.Truncated
	}
	for range 300 {
		limited()
	}
	if !limited() {
		t.Fatal("not limited")
	}
	reload := func() {
		before := strings.Count(s.Log(), "Reloading complete")
		if err := s.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		server.WaitFor(t, s.Log, func() bool { return strings.Count(s.Log(), "Reloading complete") > before })
	}
	reload()
	if !limited() {
		t.Error("forgotten by a reload")
	}
	text := strings.ReplaceAll(strings.Replace(corefile, "responses 2", "responses 50", 1), server.Port, strconv.Itoa(int(s.Addr.Port())))
	if err := os.WriteFile(filepath.Join(s.Dir, "Corefile"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	reload()
	if limited() {
		t.Error("limited by what was")
	}
	if !strings.Contains(s.Log(), `127.0.0.0/24 is limited: response, truncate: "host1.example.org." A`) {
		t.Errorf("the log does not name the network:\n%s", s.Log())
	}
}

// T2: the server closes a TCP connection that has sent half of a message, or nothing, when
// the time is over; by itself, and sooner with the plugin timeouts.
func TestSlowConnections(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	limitedZone(t, dir)
	s := server.StartOurs(t, block(dir, "timeouts {\n read 1s\n idle 2s\n maxtcpqueries 3\n}\nratelimit\n"+exampleZone), "example.org")
	packed, err := query("host1.example.org.", dns.TypeA, false).Pack()
	if err != nil {
		t.Fatal(err)
	}
	framed := append([]byte{0, byte(len(packed))}, packed...)
	for _, tc := range []struct {
		name     string
		sent     []byte
		min, max time.Duration
		answers  int
	}{
		{"nothing", nil, 500 * time.Millisecond, 5 * time.Second, 0},
		{"half a message", framed[:20], 500 * time.Millisecond, 5 * time.Second, 0},
		{"one message, then nothing", framed, 1500 * time.Millisecond, 6 * time.Second, 1},
		{"one message and a half", append(framed[:len(framed):len(framed)], framed[:20]...), 500 * time.Millisecond, 6 * time.Second, 1},
		{"more messages than allowed", bytes.Repeat(framed, 5), 0, 5 * time.Second, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", s.Addr.String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			began := time.Now()
			if _, err := c.Write(tc.sent); err != nil {
				t.Fatal(err)
			}
			if err := c.SetReadDeadline(began.Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(c) // a reset ends it as well
			took := time.Since(began)
			answers := 0
			for len(got) > 2 {
				n := 2 + (int(got[0])<<8 | int(got[1]))
				got = got[min(n, len(got)):]
				answers++
			}
			if answers != tc.answers || took < tc.min || took > tc.max {
				t.Errorf("%d answers, closed after %v; want %d, and %v to %v", answers, took, tc.answers, tc.min, tc.max)
			}
		})
	}
}
