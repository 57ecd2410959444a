package fastpath

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/bind"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// odd is a plugin that answers at once what is plain, and all opcodes that it has
// asked for through the chain.
type odd struct{}

// allowed is the opcodes that odd asks for.
var allowed = []int{dns.OpcodeStatus, dns.OpcodeUpdate, 11}

func init() {
	caddy.Quiet, dnsserver.Quiet = true, true
	if err := dnsserver.SetDirectives(append([]string{"fastpath", "late"}, append(slices.Clone(dnsserver.Directives), "odd")...)); err != nil {
		panic(err)
	}
	plugin.Register("late", func(c *caddy.Controller) error {
		config := dnsserver.GetConfig(c)
		serve := config.UDPDecorateWriterFunc
		config.UDPDecorateWriterFunc = func(s *dnsserver.Server) dns.DecorateWriter {
			<-gate
			return serve(s)
		}
		return nil
	})
	plugin.Register("odd", func(c *caddy.Controller) error {
		config := dnsserver.GetConfig(c)
		for _, o := range allowed {
			config.AllowOpcode(o)
		}
		config.AddPlugin(func(plugin.Handler) plugin.Handler { return odd{} })
		return nil
	})
}

func (odd) Name() string { return "odd" }

func (odd) ServeDNS(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	return 0, w.WriteMsg(m)
}

func (odd) Responder(*dnsserver.Server, wire.Shape) wire.Responder { return odd{} }

func (odd) Takes(*wire.Question) bool { return true }

func (odd) Append(dst []byte, q *wire.Question, _ []byte) ([]byte, zone.Account) {
	m := new(dns.Msg)
	m.Id, m.Response, m.Authoritative = q.ID, true, true
	m.Question = []dns.Question{{Name: q.Name.String(), Qtype: q.Type, Qclass: q.Class}}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return append(dst, b...), zone.Account{Name: q.Name}
}

// gate is what the plugin late has the sockets of its server blocks wait for.
var gate chan struct{}

// TestLate: a socket that is served only when the instance has been stopped is closed
// then. The ordinary way would serve it for ever.
func TestLate(t *testing.T) {
	gate = make(chan struct{})
	in, err := caddy.Start(caddy.CaddyfileInput{
		Contents: []byte("example.org:0 {\n bind 127.0.0.1\n odd\n fastpath\n late\n}\n"), Filepath: "Corefile", ServerTypeName: "dns",
	})
	if err != nil {
		t.Fatal(err)
	}
	c := dns.Client{Net: "tcp"} // served before it is stopped
	if _, _, err := c.Exchange(new(dns.Msg).SetQuestion("example.org.", dns.TypeA), in.Servers()[0].Addr().String()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(in.Stop(), errors.Join(in.ShutdownCallbacks()...)); err != nil {
		t.Fatal(err)
	}
	close(gate)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		in.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the socket is served")
	}
}

// exchange sends octets over UDP and gives the answer.
func exchange(t *testing.T, addr net.Addr, msg []byte) []byte {
	t.Helper()
	conn, err := net.Dial("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(msg); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65535)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatalf("%x: %v", msg, err)
	}
	return buf[:n]
}

// TestOpcodes: each opcode is answered as by the sockets of the server, those that
// plugins have asked for, and those that only a block beside has asked for, too.
func TestOpcodes(t *testing.T) {
	const text = "example.org:%[1]d {\n bind 127.0.0.1\n odd\n %[2]s\n}\nexample.net:%[1]d {\n bind 127.0.0.1\n}\n"
	var addrs [2]net.Addr
	for i, more := range []string{"", "fastpath"} {
		in, err := caddy.Start(caddy.CaddyfileInput{Contents: fmt.Appendf(nil, text, 0, more), Filepath: "Corefile", ServerTypeName: "dns"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			for _, err := range in.ShutdownCallbacks() {
				t.Error(err)
			}
			if err := in.Stop(); err != nil {
				t.Error(err)
			}
		})
		addrs[i] = in.Servers()[0].LocalAddr()
	}
	seen, before := map[int]bool{}, handedOn(t)
	for opcode := range 16 {
		for questions := range 3 {
			for _, zone := range []string{"example.org.", "example.net.", "example.com."} {
				m := new(dns.Msg)
				m.Id, m.Opcode = 4711, opcode
				for range questions {
					m.Question = append(m.Question, dns.Question{Name: zone, Qtype: dns.TypeSOA, Qclass: dns.ClassINET})
				}
				b, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				chain, fast := exchange(t, addrs[0], b), exchange(t, addrs[1], b)
				if !bytes.Equal(chain, fast) {
					t.Errorf("opcode %d, %d questions for %s: the chain says\n%x, the fast path\n%x", opcode, questions, zone, chain, fast)
				}
				if fast[3]&0xf == dns.RcodeSuccess {
					seen[opcode] = true
				}
			}
		}
	}
	for _, o := range append([]int{dns.OpcodeQuery, dns.OpcodeNotify}, allowed...) {
		if !seen[o] {
			t.Errorf("nobody answers opcode %d", o)
		}
	}
	if len(seen) != len(allowed)+2 {
		t.Errorf("answered are the opcodes %v", seen)
	}
	if n := handedOn(t) - before; n < 100 { // of 144; few are plain queries, and the last may not be counted yet
		t.Errorf("%v packets went from the fast path to the chain", n)
	}
}

// handedOn gives how many packets have gone from fast paths to the chain.
func handedOn(t *testing.T) (sum float64) {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "coredns_fastpath_packets_total" && m.GetLabel()[1].GetValue() == "chain" {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
