package test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	dnstap "github.com/dnstap/golang-dnstap"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// fastLine is what the log says of a listener that is served the fast way.
const fastLine = "plugin/fastpath: dns://"

// startFast starts a server whose Corefile is given with ZONE in the place of the zone file.
func startFast(t *testing.T, corefile string) *server.Server {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "example.org.zone")
	write(t, path, fmt.Sprintf(zoneText, 1, "192.0.2.1"))
	for _, sub := range []string{"sub", "other"} {
		write(t, filepath.Join(dir, sub+".zone"), fmt.Sprintf(zoneText, 1, "192.0.2.2"))
	}
	corefile = strings.NewReplacer("ZONE", path, "DIR", dir, "PORT", server.Port).Replace(corefile)
	return server.StartOurs(t, corefile, "example.org")
}

// TestFastPathStaysOut: where another plugin would have a say, the chain serves, and a line names the plugin.
func TestFastPathStaysOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, more, says string }{
		{"log", "log", "the ordinary way serves: the plugin log is in the server block"},
		{"acl", "acl {\n block net 192.0.2.0/24\n}", "the plugin acl is in the server block"},
		{"rewrite", "rewrite name a.example.org b.example.org", "the plugin rewrite is in the server block"},
		{"view", "view all {\n expr true\n}", "the plugin view is in the server block"},
		{"shed", "shed", "another plugin has taken the UDP sockets"},
		{"tsig that requires", "tsig {\n secret k. c2VjcmV0\n require A\n}", "the plugin tsig wants queries to be signed"},
		{"loadbalance by subnet", "loadbalance round_robin {\n  prefer 192.0.2.0/24\n }", "the plugin loadbalance has another policy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startFast(t, "example.org:PORT {\n bind 127.0.0.1\n authority {\n  file ZONE\n }\n fastpath\n "+c.more+"\n}\n")
			if !strings.Contains(s.Log(), c.says) {
				t.Errorf("the log does not say %q:\n%s", c.says, s.Log())
			}
			if strings.Contains(s.Log(), ": serving [") {
				t.Errorf("it serves:\n%s", s.Log())
			}
			if c.name == "tsig that requires" {
				return
			}
			if got := address(s); got != "192.0.2.1" {
				t.Errorf("www is %s", got)
			}
		})
	}
}

// TestFastPathWithOthers: what the plugins do that it takes part with.
func TestFastPathWithOthers(t *testing.T) {
	t.Parallel()
	s := startFast(t, `example.org:PORT {
 bind 127.0.0.1
 root DIR
 any
 bufsize 700
 nsid here
 minimal
 loadbalance
 metadata
 cache
 errors
 keys {
  tsig k.example.org hmac-sha256 i9M+00yrECfVZG2qCjr4mPpaGim/Bq+IWMiNrLjUO4Y=
 }
 authority {
  file ZONE
  store memory
  transfer key k.example.org
 }
 update {
  grant k.example.org zonesub ANY
 }
 fastpath
}
`)
	if !strings.Contains(s.Log(), ": serving [example.org.]") {
		t.Fatalf("it does not serve:\n%s", s.Log())
	}
	key := map[string]string{"k.example.org.": "i9M+00yrECfVZG2qCjr4mPpaGim/Bq+IWMiNrLjUO4Y="}
	signed := func(m *dns.Msg) *dns.Msg {
		t.Helper()
		m.SetTsig("k.example.org.", dns.HmacSHA256, 300, time.Now().Unix())
		c := dns.Client{Timeout: 5 * time.Second, TsigSecret: key}
		r, _, err := c.Exchange(m, s.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	up := new(dns.Msg)
	up.SetUpdate("example.org.")
	for i := range 3 {
		up.Insert([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "many.example.org.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, byte(10+i))}})
	}
	for i := range 20 {
		up.Insert([]dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: "long.example.org.", Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{strings.Repeat(string(rune('a'+i)), 40)}}})
	}
	if r := signed(up); r.Rcode != dns.RcodeSuccess || r.IsTsig() == nil {
		t.Fatalf("an UPDATE: %v", r)
	}
	first := map[string]bool{}
	for range 100 {
		if r := ask(s, "many.example.org.", dns.TypeA); r == nil || len(r.Answer) != 3 {
			t.Fatalf("many: %v", r)
		} else {
			first[r.Answer[0].(*dns.A).A.String()] = true
		}
	}
	if len(first) != 3 {
		t.Errorf("loadbalance: the first is always one of %v", first)
	}
	if r := ask(s, "long.example.org.", dns.TypeTXT); r == nil || !r.Truncated {
		t.Errorf("bufsize: %v", r)
	}
	if r := ask(s, "www.example.org.", dns.TypeANY); r == nil || len(r.Answer) != 1 || r.Answer[0].Header().Rrtype != dns.TypeHINFO {
		t.Errorf("any: %v", r)
	}
	if r := signed(new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)); len(r.Answer) != 1 || r.IsTsig() == nil {
		t.Errorf("a signed query: %v", r)
	}
	nsid := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
	nsid.SetEdns0(1232, false)
	nsid.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}
	c := dns.Client{Timeout: 5 * time.Second}
	if r, _, err := c.Exchange(nsid, s.Addr.String()); err != nil || r.IsEdns0() == nil || len(r.IsEdns0().Option) != 1 {
		t.Errorf("nsid: %v, %v", r, err)
	}
	version := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
	version.SetEdns0(1232, false)
	version.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: dns.EDNS0ZONEVERSION}}
	if r, _, err := c.Exchange(version, s.Addr.String()); err != nil || len(r.Answer) != 1 || r.IsEdns0() == nil || len(r.IsEdns0().Option) != 1 ||
		*r.IsEdns0().Option[0].(*dns.EDNS0_ZONEVERSION) != (dns.EDNS0_ZONEVERSION{LabelCount: 2, Version: "\x00\x00\x00\x02"}) {
		t.Errorf("zoneversion: %v, %v", r, err)
	}
	chaos := new(dns.Msg).SetQuestion("version.bind.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	if r, _, err := c.Exchange(chaos, s.Addr.String()); err != nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("class CH: %v, %v", r, err)
	}
	if r := ask(s, "www.example.net.", dns.TypeA); r == nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("no zone of ours: %v", r)
	}
}

// TestFastPathBlocks: several server blocks at one address; each name goes where the server would have it.
func TestFastPathBlocks(t *testing.T) {
	t.Parallel()
	s := startFast(t, `example.org:PORT {
 bind 127.0.0.1
 authority {
  file ZONE
 }
 fastpath
}
sub.example.org:PORT {
 bind 127.0.0.1
 authority {
  file DIR/sub.zone
 }
 log
}
a.sub.example.org:PORT {
 bind 127.0.0.1
 authority {
  file DIR/other.zone
 }
 fastpath
}
`)
	if !strings.Contains(s.Log(), ": serving [a.sub.example.org. example.org.]") {
		t.Errorf("the log:\n%s", s.Log())
	}
	for name, want := range map[string]string{"www.example.org.": "192.0.2.1", "WWW.sub.example.org.": "192.0.2.2", "www.a.sub.example.org.": "192.0.2.2"} {
		if r := ask(s, name, dns.TypeA); r == nil || len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != want {
			t.Errorf("%s: %v", name, r)
		}
	}
	waitFor(t, "the line of the block with log", func() bool {
		return strings.Contains(strings.ToLower(s.Log()), `"a in www.sub.example.org. udp`)
	})
	if r := ask(s, "sub.example.org.", dns.TypeDS); r == nil || r.Rcode != dns.RcodeNameError || len(r.Ns) != 1 || r.Ns[0].Header().Name != "example.org." {
		t.Errorf("DS is asked of the parent: %v", r)
	}
}

// TestFastPathAddresses: a response comes from the address that was asked, whatever the socket is bound to.
func TestFastPathAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, bind string
		ask        []string
	}{
		{"all", "", []string{"127.0.0.1", "127.0.0.2", "::1"}},
		{"all of IPv4", "bind 0.0.0.0", []string{"127.0.0.1", "127.0.0.3"}},
		{"several", "bind ::1 127.0.0.1 127.0.0.5", []string{"::1", "127.0.0.1", "127.0.0.5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startFast(t, "example.org:PORT {\n "+c.bind+"\n authority {\n  file ZONE\n }\n fastpath\n}\n")
			if !strings.Contains(s.Log(), fastLine) || strings.Contains(s.Log(), "ordinary way") {
				t.Fatalf("it does not serve:\n%s", s.Log())
			}
			for _, a := range c.ask {
				to := netip.AddrPortFrom(netip.MustParseAddr(a), s.Addr.Port())
				for _, typ := range []uint16{dns.TypeA, dns.TypeAXFR} { // at once, and through the chain
					conn, err := net.Dial("udp", to.String()) // takes packets from there alone
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					co := &dns.Conn{Conn: conn}
					if err := co.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
						t.Fatal(err)
					}
					if err := co.WriteMsg(new(dns.Msg).SetQuestion("www.example.org.", typ)); err != nil {
						t.Fatal(err)
					}
					if _, err := co.ReadMsg(); err != nil {
						t.Errorf("%s %s: %v", a, dns.Type(typ), err)
					}
				}
			}
		})
	}
}

// TestFastPathReloads: reloads of the Corefile, and other numbers of sockets, lose no query.
func TestFastPathReloads(t *testing.T) {
	t.Parallel()
	const block = "example.org:PORT {\n bind 127.0.0.1\n SOCKETS\n authority {\n  file ZONE\n }\n fastpath\n}\n"
	s := startFast(t, strings.Replace(block, "SOCKETS", "", 1))
	conf := filepath.Join(s.Dir, "Corefile")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	var lost, answered atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range 8 {
		class, rcode := uint16(dns.ClassINET), dns.RcodeSuccess
		if i%4 == 3 { // through the chain
			class, rcode = dns.ClassCHAOS, dns.RcodeRefused
		}
		wg.Go(func() {
			conn, err := net.Dial("udp", s.Addr.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			co := &dns.Conn{Conn: conn}
			for !stop.Load() {
				m := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
				m.Question[0].Qclass = class
				if err := co.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
					t.Error(err)
				}
				if err := co.WriteMsg(m); err != nil {
					lost.Add(1)
					continue
				}
				if r, err := co.ReadMsg(); err != nil || r.Id != m.Id || r.Rcode != rcode {
					lost.Add(1)
					continue
				}
				answered.Add(1)
			}
		})
	}
	for i, sockets := range []string{"", "multisocket 2", "multisocket 4", "multisocket 1", "", "multisocket 3", ""} {
		next := strings.Replace(string(text), "bind 127.0.0.1\n ", fmt.Sprintf("bind 127.0.0.1\n %s\n # %d\n ", sockets, i), 1)
		write(t, conf, next)
		before := len(s.Log())
		if err := s.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the reload", func() bool { return strings.Contains(s.Log()[before:], "Reloading complete") })
		if strings.Contains(s.Log()[before:], "ordinary way") {
			t.Errorf("after reload %d the chain serves:\n%s", i, s.Log()[before:])
		}
		enough := answered.Load() + lost.Load() + 200
		waitFor(t, "more queries", func() bool { return answered.Load()+lost.Load() >= enough })
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("fastpath: %d queries over 7 reloads, %d lost", answered.Load(), lost.Load())
	if lost.Load() > 0 || answered.Load() < 1000 {
		t.Errorf("%d answered, %d lost", answered.Load(), lost.Load())
	}
}

// sampling gives a Corefile for a sample of one in ten, with a plugin that looks at it.
func sampling(more string) string {
	return "example.org:PORT {\n bind 127.0.0.1\n authority {\n  file ZONE\n }\n fastpath {\n  sample 10\n }\n " + more + "\n}\n"
}

// TestFastPathSample: one of so many queries is in the log, as the plugin log has it.
func TestFastPathSample(t *testing.T) {
	t.Parallel()
	// The plugin log does not see the OPT record of the response.
	const line = `127\.0\.0\.1:\d+ - \d+ "A IN www\.example\.org\. udp 44 false 1232" NOERROR qr,aa,rd (64|75) 0\.\d+s\n`
	for more, prefix := range map[string]string{"": `\[INFO\] plugin/fastpath: `, "log": `\[INFO\] `} {
		s := startFast(t, sampling(more))
		for range 100 {
			if got := address(s); got != "192.0.2.1" {
				t.Fatal(got)
			}
		}
		full := regexp.MustCompile(`(?m)^` + prefix + line)
		waitFor(t, "the lines", func() bool { return len(full.FindAllString(s.Log(), -1)) >= 10 })
		if n := strings.Count(s.Log(), `"A IN www.example.org.`); n > 11 {
			t.Errorf("with %q: %d lines of 100 queries", more, n)
		}
	}
}

// TestFastPathDnstap: one of so many queries goes to dnstap, with its response and who has asked.
func TestFastPathDnstap(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "dnstap")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	messages := make(chan *dnstap.Message, 1000)
	failed := make(chan error, 1)
	go func() {
		defer close(messages)
		failed <- readTaps(l, messages)
	}()
	s := startFast(t, sampling("dnstap "+socket+" full"))
	conn, err := net.Dial("udp", s.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	co := &dns.Conn{Conn: conn}
	if err := co.SetDeadline(time.Now().Add(server.Patience)); err != nil {
		t.Fatal(err)
	}
	asked := map[uint16]bool{}
	for i := range 100 {
		m := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
		m.Id = uint16(1000 + i)
		asked[m.Id] = true
		if err := co.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
		if r, err := co.ReadMsg(); err != nil || r.Id != m.Id || len(r.Answer) != 1 {
			t.Fatalf("%v, %v", r, err)
		}
	}
	s.Stop() // sends what it has

	queries, responses := map[uint16]bool{}, 0
	port := uint32(conn.LocalAddr().(*net.UDPAddr).Port)
	for m := range messages {
		if m.GetQueryPort() != port { // of the start
			continue
		}
		if ip := net.IP(m.GetQueryAddress()); !ip.Equal(net.IPv4(127, 0, 0, 1)) || m.GetSocketProtocol() != dnstap.SocketProtocol_UDP {
			t.Errorf("a query of %s over %s", ip, m.GetSocketProtocol())
		}
		packed := m.GetQueryMessage()
		if m.GetType() == dnstap.Message_CLIENT_RESPONSE {
			packed = m.GetResponseMessage()
		}
		msg := new(dns.Msg)
		if err := msg.Unpack(packed); err != nil || !asked[msg.Id] || msg.Question[0].Name != "www.example.org." {
			t.Errorf("%v: %v", err, msg)
		}
		switch {
		case m.GetType() == dnstap.Message_CLIENT_QUERY && !msg.Response:
			queries[msg.Id] = true
		case m.GetType() == dnstap.Message_CLIENT_RESPONSE && msg.Response && len(msg.Answer) == 1 && queries[msg.Id]:
			responses++
		default:
			t.Errorf("%s with\n%v", m.GetType(), msg)
		}
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
	if len(queries) != 10 || responses != 10 {
		t.Errorf("%d queries and %d responses of 100", len(queries), responses)
	}
}

// readTaps reads the messages of one connection.
func readTaps(l net.Listener, messages chan<- *dnstap.Message) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	frames, err := dnstap.NewReader(conn, &dnstap.ReaderOptions{Bidirectional: true, Timeout: server.Patience})
	if err != nil {
		return err
	}
	for d := dnstap.NewDecoder(frames, 1<<16); ; {
		tap := new(dnstap.Dnstap)
		if err := d.Decode(tap); errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) { // the server does not wait to hear that all is there
			return nil
		} else if err != nil {
			return err
		}
		messages <- tap.Message
	}
}

// TestFastPathStop: the server ends in order.
func TestFastPathStop(t *testing.T) {
	t.Parallel()
	s := startFast(t, "example.org:PORT {\n bind 127.0.0.1\n authority {\n  file ZONE\n }\n fastpath\n}\n")
	if got := address(s); got != "192.0.2.1" {
		t.Fatal(got)
	}
	if err := s.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Ended():
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
	if strings.Contains(s.Log(), "[ERROR]") || strings.Contains(s.Log(), "panic") {
		t.Errorf("the log:\n%s", s.Log())
	}
}

// TestFastPathFlood: names that nobody has, as many as one likes, cost no memory.
func TestFastPathFlood(t *testing.T) {
	t.Parallel()
	s := startFast(t, "example.org:PORT {\n bind 127.0.0.1\n authority {\n  file ZONE\n }\n fastpath\n}\n")
	flood := func(n int) {
		t.Helper()
		conn, err := net.Dial("udp", s.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		co := &dns.Conn{Conn: conn}
		const window = 50
		lost := 0
		for i := 0; i < n; i += window {
			for j := range window {
				if err := co.WriteMsg(new(dns.Msg).SetQuestion(fmt.Sprintf("r%d-%d.example.org.", i, i*window+j), dns.TypeA)); err != nil {
					t.Fatal(err)
				}
			}
			for range window {
				if err := co.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
					t.Fatal(err)
				}
				if r, err := co.ReadMsg(); err != nil {
					lost++
				} else if r.Rcode != dns.RcodeNameError {
					t.Fatalf("%v", r)
				}
			}
		}
		if lost > n/100 {
			t.Errorf("%d of %d lost", lost, n)
		}
	}
	flood(20_000)
	before := residentSize(t, s.PID())
	flood(200_000)
	if after := residentSize(t, s.PID()); after > before+16<<20 {
		t.Errorf("from %d to %d octets", before, after)
	}
}

// residentSize gives the memory of a process, in octets.
func residentSize(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var total, resident int64
	if _, err := fmt.Sscan(string(text), &total, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
