package cookie

import (
	"context"
	"encoding/hex"
	"net"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// sink packs messages as the server does, and sends nothing.
type sink struct {
	test.ResponseWriter
	buf []byte
}

func (s *sink) RemoteAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000} }

func (s *sink) WriteMsg(m *dns.Msg) (err error) {
	s.buf, err = m.PackBuffer(s.buf[:cap(s.buf)])
	return err
}

// BenchmarkChain is what a request costs from its octets to those of the response
// with the plugin and without.
func BenchmarkChain(b *testing.B) {
	block, err := parse("cookie {\nsecret "+secretA+"\n}", "")
	if err != nil {
		b.Fatal(err)
	}
	without := plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		m := new(dns.Msg).SetReply(r)
		m.Answer = append(m.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1).To4(),
		})
		return dns.RcodeSuccess, w.WriteMsg(m)
	})
	with := &Cookie{Next: without, block: block}
	valid := hex.EncodeToString(madeBy(b, secretA, uint32(time.Now().Unix())))
	plain := ask("www")
	plain.SetEdns0(1232, false)
	for _, c := range []struct {
		name    string
		handler plugin.Handler
		query   *dns.Msg
	}{
		{"off/none", without, plain},
		{"on/none", with, plain},
		{"off/client", without, ask("www", valid[:16])},
		{"on/client", with, ask("www", valid[:16])},
		{"off/valid", without, ask("www", valid)},
		{"on/valid", with, ask("www", valid)},
	} {
		b.Run(c.name, func(b *testing.B) {
			packed, err := c.query.Pack()
			if err != nil {
				b.Fatal(err)
			}
			out := &sink{buf: make([]byte, dns.MaxMsgSize)}
			b.ReportAllocs()
			for b.Loop() {
				r := new(dns.Msg)
				if err := r.Unpack(packed); err != nil {
					b.Fatal(err)
				}
				if _, err := c.handler.ServeDNS(b.Context(), request.NewScrubWriter(r, out), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecide is what a query costs that is answered without the chain.
func BenchmarkDecide(b *testing.B) {
	block, err := parse("cookie", "")
	if err != nil {
		b.Fatal(err)
	}
	l := block.listenerOf(nil)
	from := (&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}).AddrPort().Addr()
	now := uint32(time.Now().Unix())
	dst := make([]byte, 0, 64)
	option := append([]byte(nil), (&Cookie{block: block}).decide(l, []byte("clientck"), from, false, now, dst).Option...)
	for name, option := range map[string][]byte{"none": nil, "client": option[:8], "valid": option} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				(&Cookie{block: block}).decide(l, option, from, false, now, dst)
			}
		})
	}
}
