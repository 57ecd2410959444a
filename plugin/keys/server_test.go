package keys

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	golog "log"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/root"
	"github.com/coredns/coredns/plugin/test"
	_ "github.com/coredns/coredns/plugin/tls"
	"github.com/coredns/coredns/plugin/tsig"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustdns/trustdns/plugin/pkg/identity"
)

func init() {
	caddy.Quiet, dnsserver.Quiet = true, true
	interval = 20 * time.Millisecond
	list := slices.Clone(dnsserver.Directives)
	list = slices.Insert(list, slices.Index(list, "tsig"), name)
	list = append(list, "probe")
	if err := dnsserver.SetDirectives(list); err != nil {
		panic(err)
	}
	plugin.Register("probe", func(c *caddy.Controller) error {
		c.Next()
		config := dnsserver.GetConfig(c)
		config.AllowOpcode(dns.OpcodeUpdate)
		c.OnStartup(func() error {
			for _, h := range config.Handlers() {
				if k, ok := h.(tsigKeys); ok {
					found.Store(&k)
				}
			}
			return nil
		})
		config.AddPlugin(func(plugin.Handler) plugin.Handler { return probe{} })
		return nil
	})
}

// tsigKeys is how plugins find the keys of their block, and found is what the
// last block started has.
type tsigKeys interface {
	TSIGKey(name string) (algorithm string, secret []byte, ok bool)
}

var found atomic.Pointer[tsigKeys]

// probe answers as the first label of the question says.
type probe struct{}

func (probe) Name() string { return "probe" }

// errProbe is what probe returns with a code.
var errProbe = errors.New("as asked")

func (probe) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	label, _, _ := strings.Cut(strings.ToLower(r.Question[0].Name), ".")
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	add := func(text string) {
		m.Answer = append(m.Answer, &dns.TXT{
			Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{text},
		})
	}
	packed := func() []byte {
		b, err := m.Pack()
		if err != nil {
			panic(err)
		}
		return b
	}
	if r.Question[0].Qtype == dns.TypeAXFR {
		soa := test.SOA("example.org. 60 IN SOA ns.example.org. a.example.org. 1 2 3 4 5")
		for i := range 4 {
			m.Answer = nil
			if i == 0 {
				m.Answer = append(m.Answer, soa)
			}
			for range 50 {
				add("x")
			}
			if i == 3 {
				m.Answer = append(m.Answer, soa)
			}
			if _, err := w.Write(packed()); err != nil {
				return dns.RcodeServerFailure, err
			}
		}
		return dns.RcodeSuccess, nil
	}
	switch label {
	case "who":
		id, ok := identity.From(ctx)
		add(fmt.Sprintf("identity %v %s %s %v", ok, id.Key, id.Algorithm, id.Address.Addr()))
		stock, _ := tsig.ValidatedKeyName(ctx)
		add(fmt.Sprintf("stock %s", stock))
		add(fmt.Sprintf("tsig %v", r.IsTsig() != nil))
	case "large": // 2,000 octets
		for i := range 40 {
			add(fmt.Sprintf("%040d", i))
		}
	case "huge": // more than a message
		for i := range 1500 {
			add(fmt.Sprintf("%040d", i))
		}
	case "addresses":
		for i := range 5 {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, byte(i)),
			})
		}
	case "servfail":
		return dns.RcodeServerFailure, errProbe
	case "refused":
		return dns.RcodeRefused, nil
	case "messages": // a stream by WriteMsg
		for i := range 5 {
			m.Answer = nil
			add(fmt.Sprint(i))
			if err := w.WriteMsg(m.Copy()); err != nil {
				return dns.RcodeServerFailure, err
			}
		}
		return dns.RcodeSuccess, nil
	case "octets", "octets-then-message", "octets-then-code": // a stream by Write
		id, _ := identity.From(ctx)
		for i := range 5 {
			m.Answer = nil
			for j := 0; m.Len() < 65000-id.SignatureSize()-100; j++ {
				add(fmt.Sprintf("%d-%0200d", i, j))
			}
			b := packed()
			before := slices.Clone(b)
			n, err := w.Write(b)
			if err != nil || n != len(b) || !slices.Equal(b, before) {
				panic(fmt.Sprintf("Write: %d, %v", n, err))
			}
		}
		switch label {
		case "octets-then-message":
			m.Answer = nil
			add("last")
			return dns.RcodeSuccess, w.WriteMsg(m)
		case "octets-then-code":
			return dns.RcodeServerFailure, nil
		}
		return dns.RcodeSuccess, nil
	case "message-then-octets":
		add("first")
		if err := w.WriteMsg(m.Copy()); err != nil {
			return dns.RcodeServerFailure, err
		}
		if _, err := w.Write(packed()); !errors.Is(err, errMixed) {
			panic(fmt.Sprintf("Write after WriteMsg: %v", err))
		}
		return dns.RcodeSuccess, nil
	case "full": // exactly what a message can have, and one octet more
		id, _ := identity.From(ctx)
		b := packed()
		room := dns.MaxMsgSize - id.SignatureSize()
		long := append(b, make([]byte, room-len(b)+1)...)
		if _, err := w.Write(long); !errors.Is(err, errTooLong) {
			panic(fmt.Sprintf("Write of %d octets: %v", len(long), err))
		}
		_, err := w.Write(long[:room])
		return dns.RcodeSuccess, err
	case "packed": // one, compressed
		add("x")
		m.Compress = true
		_, err := w.Write(packed())
		return dns.RcodeSuccess, err
	case "short":
		if _, err := w.Write([]byte{1, 2, 3}); err == nil {
			panic("Write of three octets")
		}
	}
	return dns.RcodeSuccess, w.WriteMsg(m)
}

// instance of a server whose first listener is asked.
type running struct {
	*caddy.Instance
	t *testing.T
}

func input(corefile string) caddy.Input {
	return caddy.CaddyfileInput{Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns"}
}

// serve starts a server; all blocks must be for port 0 and bind to 127.0.0.1.
func serve(t *testing.T, corefile string) *running {
	t.Helper()
	i, err := caddy.Start(input(corefile))
	if err != nil {
		t.Fatal(err)
	}
	s := &running{i, t}
	s.await()
	t.Cleanup(func() {
		for _, err := range s.current().ShutdownCallbacks() {
			t.Error(err)
		}
		if err := s.current().Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// current gives the instance that is up, which restarts replace.
func (s *running) current() *caddy.Instance {
	list := caddy.Instances()
	return list[len(list)-1]
}

// await waits until both sockets are served; an instance that is stopped before
// never stops.
func (s *running) await() {
	s.t.Helper()
	for network, address := range map[string]string{"udp": s.udp(), "tcp": s.tcp()} {
		c := dns.Client{Net: network}
		if _, _, err := c.Exchange(ask("who.example.org."), address); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *running) udp() string { return s.Servers()[0].LocalAddr().String() }
func (s *running) tcp() string { return s.Servers()[0].Addr().String() }

// inBlock gives a server block for example.org with more lines in it.
func inBlock(lines string) string {
	return "example.org:0 {\nbind 127.0.0.1\n" + lines + "\nprobe\n}\n"
}

func ask(name string) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeTXT)
	return m
}

// Keys of the tests.
const (
	secretA = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" // 32 octets
	secretB = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

// sign packs a request with a signature.
func sign(t testing.TB, m *dns.Msg, name, algorithm, secret string, at time.Time) (packed []byte, mac string) {
	t.Helper()
	m.SetTsig(name, algorithm, 300, at.Unix())
	packed, mac, err := dns.TsigGenerate(m, secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return packed, mac
}

// conn sends packed requests and reads packed responses.
type conn struct {
	net.Conn
	t testing.TB
}

func (s *running) dial(network string) *conn {
	s.t.Helper()
	address := s.udp()
	if network == "tcp" {
		address = s.tcp()
	}
	c, err := net.Dial(network, address)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return &conn{c, s.t}
}

func (c *conn) send(b []byte) {
	c.t.Helper()
	if c.LocalAddr().Network() == "tcp" {
		b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *conn) receive() []byte {
	c.t.Helper()
	b := make([]byte, dns.MaxMsgSize)
	if c.LocalAddr().Network() == "udp" {
		n, err := c.Read(b)
		if err != nil {
			c.t.Fatal(err)
		}
		return b[:n]
	}
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		c.t.Fatal(err)
	}
	b = b[:binary.BigEndian.Uint16(b)]
	if _, err := io.ReadFull(c, b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

// verify checks the signature of a response by the library and gives the message
// and its MAC.
func verify(t testing.TB, b []byte, secret, mac string, more bool) (*dns.Msg, string) {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	if err := dns.TsigVerify(slices.Clone(b), secret, mac, more); err != nil {
		t.Fatalf("signature: %v of\n%v", err, m)
	}
	return m, m.IsTsig().MAC
}

// exchange asks with a key and verifies the response.
func (s *running) exchange(network string, req *dns.Msg, name, algorithm, secret string) *dns.Msg {
	s.t.Helper()
	b, mac := sign(s.t, req, name, algorithm, secret, time.Now())
	c := s.dial(network)
	c.send(b)
	m, _ := verify(s.t, c.receive(), secret, mac, false)
	return m
}

// raw sends a packed request and gives the response, not verified.
func (s *running) raw(network string, b []byte) *dns.Msg {
	s.t.Helper()
	c := s.dial(network)
	c.send(b)
	m := new(dns.Msg)
	if err := m.Unpack(c.receive()); err != nil {
		s.t.Fatal(err)
	}
	return m
}

// texts gives the strings of the TXT records.
func texts(m *dns.Msg) string {
	var list []string
	for _, rr := range m.Answer {
		if t, ok := rr.(*dns.TXT); ok {
			list = append(list, strings.Join(t.Txt, ""))
		}
	}
	return strings.Join(list, ", ")
}

// metric gives the value of the counter or gauge with these values of labels, 0
// if there is none.
func metric(t testing.TB, name string, values ...string) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var has []string
			for _, l := range m.GetLabel() {
				has = append(has, l.GetValue())
			}
			if slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(has, v) }) {
				continue
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// capture collects what is logged until the test ends.
type capture struct {
	mu sync.Mutex
	b  strings.Builder
}

func (c *capture) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(b)
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

func captureLog(t *testing.T) *capture {
	c := new(capture)
	golog.SetOutput(c)
	t.Cleanup(func() { golog.SetOutput(os.Stderr) })
	return c
}

// waitFor polls until done.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// write makes a file, or replaces it at once.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}
