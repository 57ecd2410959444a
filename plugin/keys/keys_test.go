package keys

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

// Every algorithm, over UDP and TCP: the request passes with the identity and
// without its signature, and the response is signed.
func TestSigned(t *testing.T) {
	var lines strings.Builder
	for _, a := range algorithms {
		fmt.Fprintf(&lines, "tsig %s %s %s\n", strings.TrimSuffix(a.name, ".")+".test", strings.ToUpper(strings.TrimSuffix(a.name, ".")), secretA)
	}
	s := serve(t, inBlock("keys {\ntsig plain.test. "+secretA+"\n"+lines.String()+"}"))
	for _, network := range []string{"udp", "tcp"} {
		m := s.exchange(network, ask("who.example.org."), "plain.test.", dns.HmacSHA256, secretA)
		if got, want := texts(m), "identity true plain.test. hmac-sha256. 127.0.0.1, stock , tsig false"; got != want {
			t.Errorf("%s: %s, want %s", network, got, want)
		}
		for _, a := range algorithms {
			m := s.exchange(network, ask("who.example.org."), a.name+"test.", a.name, secretA)
			if want := fmt.Sprintf("identity true %stest. %s ", a.name, a.name); !strings.Contains(texts(m), want) {
				t.Errorf("%s %s: %s", network, a.name, texts(m))
			}
			if m.IsTsig().Error != 0 || m.IsTsig().OrigId != m.Id || m.IsTsig().Fudge != 300 {
				t.Errorf("%s %s: %v", network, a.name, m.IsTsig())
			}
		}
	}
}

// Names of keys are the same in lower case and as configured.
func TestLetterCase(t *testing.T) {
	s := serve(t, inBlock("keys {\ntsig DDNS.Test "+secretA+"\n}"))
	for _, name := range []string{"DDNS.Test.", "ddns.test."} {
		m := s.exchange("udp", ask("who.example.org."), name, dns.HmacSHA256, secretA)
		if !strings.Contains(texts(m), "identity true ddns.test.") {
			t.Errorf("%s: %s", name, texts(m))
		}
	}
	b, _ := sign(t, ask("who.example.org."), "ddns.TEST.", dns.HmacSHA256, secretA, time.Now())
	if m := s.raw("udp", b); m.Rcode != dns.RcodeNotAuth || m.IsTsig().Error != dns.RcodeBadKey {
		t.Errorf("another letter case: %v", m)
	}
}

// A request without signature passes untouched.
func TestUnsigned(t *testing.T) {
	s := serve(t, inBlock("keys {\ntsig a.test. "+secretA+"\n}"))
	before := metric(t, "coredns_keys_requests_total")
	b, err := ask("who.example.org.").Pack()
	if err != nil {
		t.Fatal(err)
	}
	m := s.raw("udp", b)
	if got := texts(m); !strings.HasPrefix(got, "identity false") || m.IsTsig() != nil {
		t.Errorf("got %s, %v", got, m.IsTsig())
	}
	if got := metric(t, "coredns_keys_requests_total"); got != before {
		t.Errorf("%v requests counted", got-before)
	}
}

// RFC 8945 §5.2: what is wrong with a signature, in which order, and how it is
// answered.
func TestErrors(t *testing.T) {
	s := serve(t, inBlock("keys {\ntsig a.test. "+secretA+"\ntsig s.test. hmac-sha512 "+secretA+"\n}")+
		"example.net:0 {\nbind 127.0.0.1\nkeys {\ntsig other.test. "+secretB+"\n}\nprobe\n}\n")
	now := time.Now()
	signed := func(name, algorithm, secret string, at time.Time) *dns.Msg {
		b, _ := sign(t, ask("who.example.org."), name, algorithm, secret, at)
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		return m
	}
	cut := func(m *dns.Msg, size int) *dns.Msg {
		r := m.IsTsig()
		mac := r.MAC + strings.Repeat("00", 100)
		r.MAC, r.MACSize = mac[:2*size], uint16(size)
		return m
	}
	change := func(m *dns.Msg, f func(m *dns.Msg, r *dns.TSIG)) *dns.Msg {
		f(m, m.IsTsig())
		return m
	}
	good := func() *dns.Msg { return signed("a.test.", dns.HmacSHA256, secretA, now) }
	for _, c := range []struct {
		name   string
		m      *dns.Msg
		result string
		rcode  int
		err    int // of the TSIG record, -1: there is none
	}{
		{"the signature is right", good(), "ok", dns.RcodeSuccess, 0},
		{"unknown key", signed("nobody.test.", dns.HmacSHA256, secretA, now), "badkey", dns.RcodeNotAuth, dns.RcodeBadKey},
		{"key of another block", signed("other.test.", dns.HmacSHA256, secretB, now), "badkey", dns.RcodeNotAuth, dns.RcodeBadKey},
		{"other algorithm", signed("a.test.", dns.HmacSHA512, secretA, now), "badalg", dns.RcodeNotAuth, dns.RcodeBadKey},
		{"weaker algorithm", signed("s.test.", dns.HmacSHA1, secretA, now), "badalg", dns.RcodeNotAuth, dns.RcodeBadKey},
		{"unknown algorithm", change(good(), func(_ *dns.Msg, r *dns.TSIG) { r.Algorithm = "gss-tsig." }), "badalg", dns.RcodeNotAuth, dns.RcodeBadKey},
		{"wrong secret", signed("a.test.", dns.HmacSHA256, secretB, now), "badsig", dns.RcodeNotAuth, dns.RcodeBadSig},
		{"changed message", change(good(), func(m *dns.Msg, _ *dns.TSIG) { m.RecursionDesired = !m.RecursionDesired }), "badsig", dns.RcodeNotAuth, dns.RcodeBadSig},
		{"the signature is from an hour ago", signed("a.test.", dns.HmacSHA256, secretA, now.Add(-time.Hour)), "badtime", dns.RcodeNotAuth, dns.RcodeBadTime},
		{"the signature is of the future", signed("a.test.", dns.HmacSHA256, secretA, now.Add(time.Hour)), "badtime", dns.RcodeNotAuth, dns.RcodeBadTime},
		{"old and wrong", signed("a.test.", dns.HmacSHA256, secretB, now.Add(-time.Hour)), "badsig", dns.RcodeNotAuth, dns.RcodeBadSig},
		{"a clock that is a minute off", signed("a.test.", dns.HmacSHA256, secretA, now.Add(-time.Minute)), "ok", dns.RcodeSuccess, 0},
		{"MAC longer than the algorithm's", cut(good(), 33), "formerr", dns.RcodeFormatError, -1},
		{"MAC less than half", cut(good(), 15), "formerr", dns.RcodeFormatError, -1},
		{"no MAC", cut(good(), 0), "formerr", dns.RcodeFormatError, -1},
		{"truncated MAC", cut(good(), 16), "badtrunc", dns.RcodeNotAuth, dns.RcodeBadTrunc},
		{"two signatures", change(good(), func(m *dns.Msg, r *dns.TSIG) { m.Extra = append(m.Extra, r) }), "formerr", dns.RcodeFormatError, -1},
		{"a good signature, then one of another key", change(good(), func(m *dns.Msg, _ *dns.TSIG) {
			m.Extra = append(m.Extra, signed("s.test.", dns.HmacSHA512, secretA, now).IsTsig())
		}), "formerr", dns.RcodeFormatError, -1},
		{"a record behind the signature", change(good(), func(m *dns.Msg, _ *dns.TSIG) {
			m.Extra = append(m.Extra, &dns.A{Hdr: dns.RR_Header{Name: "x.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: []byte{192, 0, 2, 1}})
		}), "formerr", dns.RcodeFormatError, -1},
		{"signature among the answers", change(good(), func(m *dns.Msg, r *dns.TSIG) { m.Answer, m.Extra = []dns.RR{r}, nil }), "formerr", dns.RcodeFormatError, -1},
		{"signature among the authorities", change(good(), func(m *dns.Msg, r *dns.TSIG) { m.Ns, m.Extra = []dns.RR{r}, nil }), "formerr", dns.RcodeFormatError, -1},
		{"class IN", change(good(), func(_ *dns.Msg, r *dns.TSIG) { r.Hdr.Class = dns.ClassINET }), "formerr", dns.RcodeFormatError, -1},
		{"TTL", change(good(), func(_ *dns.Msg, r *dns.TSIG) { r.Hdr.Ttl = 1 }), "formerr", dns.RcodeFormatError, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, network := range []string{"udp", "tcp"} {
				b, err := c.m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				counted := metric(t, "coredns_keys_requests_total", c.result)
				k := s.dial(network)
				k.send(b)
				response := k.receive()
				m := new(dns.Msg)
				if err := m.Unpack(response); err != nil {
					t.Fatal(err)
				}
				if metric(t, "coredns_keys_requests_total", c.result) != counted+1 {
					t.Errorf("%s: not counted as %s", network, c.result)
				}
				if m.Rcode != c.rcode || m.Id != c.m.Id || len(m.Question) != 1 || m.Question[0] != c.m.Question[0] {
					t.Errorf("%s: %v", network, m)
				}
				r := m.IsTsig()
				if c.err < 0 {
					if r != nil {
						t.Errorf("%s: signed: %v", network, m)
					}
					continue
				}
				if r == nil || int(r.Error) != c.err {
					t.Fatalf("%s: TSIG %v, want error %d", network, r, c.err)
				}
				asked := c.m.IsTsig()
				if !strings.EqualFold(r.Hdr.Name, asked.Hdr.Name) || r.Algorithm != asked.Algorithm || r.OrigId != m.Id {
					t.Errorf("%s: asked with %v, answered with %v", network, asked, r)
				}
				switch c.err {
				case 0:
					verify(t, response, secretA, asked.MAC, false)
				case dns.RcodeBadTime: // RFC 8945 §5.2.3: signed over the time of the request
					if r.TimeSigned != asked.TimeSigned || r.OtherLen != 6 {
						t.Errorf("%s: %v", network, r)
					}
					other, err := hex.DecodeString("0000" + r.OtherData)
					if err != nil {
						t.Fatal(err)
					}
					if at := time.Unix(int64(binary.BigEndian.Uint64(other)), 0); at.Before(now.Add(-time.Minute)) || at.After(now.Add(time.Hour/2)) {
						t.Errorf("%s: the time of the server is %v", network, at)
					}
					// The library verifies no NOTAUTH, but it can sign the same again.
					_, mac, err := dns.TsigGenerate(m, secretA, asked.MAC, false)
					if err != nil || mac != r.MAC {
						t.Errorf("%s: MAC %s, want %s, %v", network, r.MAC, mac, err)
					}
				default: // RFC 8945 §5.3.2: not signed
					if r.MACSize != 0 || r.MAC != "" || r.OtherLen != 0 {
						t.Errorf("%s: %v", network, r)
					}
				}
			}
		})
	}
}

// Whatever is asked and answered, with and without EDNS, updates too: the OPT record stands in
// front of the signature, and codes that plugins return become signed messages.
func TestResponses(t *testing.T) {
	s := serve(t, inBlock("keys {\ntsig a.test. "+secretA+"\n}"))
	for _, c := range []struct {
		name  string
		rcode int
	}{{"who", dns.RcodeSuccess}, {"servfail", dns.RcodeServerFailure}, {"refused", dns.RcodeRefused}} {
		for _, edns := range []bool{false, true} {
			for _, opcode := range []int{dns.OpcodeQuery, dns.OpcodeUpdate, dns.OpcodeNotify} {
				req := ask(c.name + ".example.org.")
				req.Opcode = opcode
				if edns {
					req.SetEdns0(1232, true)
				}
				m := s.exchange("udp", req, "a.test.", dns.HmacSHA256, secretA)
				if m.Rcode != c.rcode || (m.IsEdns0() != nil) != edns || m.Opcode != opcode {
					t.Errorf("%s, EDNS %v, opcode %d: %v", c.name, edns, opcode, m)
				}
				if edns && len(m.Extra) != 2 {
					t.Errorf("%s: %v", c.name, m.Extra)
				}
			}
		}
	}
}

// RFC 8945 §5.3: an answer that does not fit with its signature tells the client
// to use TCP.
func TestSizes(t *testing.T) {
	s := serve(t, inBlock("keys {\ntsig a.test. "+secretA+"\n}"))
	for _, size := range []uint16{0, 512, 1232, 4096} {
		req := ask("large.example.org.")
		limit := 512
		if size > 0 {
			req.SetEdns0(size, false)
			limit = int(size)
		}
		b, mac := sign(t, req, "a.test.", dns.HmacSHA256, secretA, time.Now())
		c := s.dial("udp")
		c.send(b)
		response := c.receive()
		m, _ := verify(t, response, secretA, mac, false)
		if len(response) > limit {
			t.Errorf("%d octets, the client takes %d", len(response), limit)
		}
		fits := size == 4096
		if m.Truncated == fits || (len(m.Answer) == 40) != fits || m.Rcode != dns.RcodeSuccess || (m.IsEdns0() != nil) != (size > 0) {
			t.Errorf("size %d: %v", size, m)
		}
	}
	if m := s.exchange("tcp", ask("large.example.org."), "a.test.", dns.HmacSHA256, secretA); len(m.Answer) != 40 || m.Truncated {
		t.Errorf("over TCP: %v", m)
	}
	if m := s.exchange("tcp", ask("huge.example.org."), "a.test.", dns.HmacSHA256, secretA); m.Rcode != dns.RcodeServerFailure || len(m.Answer) != 0 {
		t.Errorf("more than a message: %v", m.MsgHdr)
	}
}

// RFC 8945 §5.3.1: each message of a stream is signed over the one before.
func TestStreams(t *testing.T) {
	s := serve(t, inBlock("keys {\ntsig a.test. "+secretA+"\n}"))
	for _, c := range []struct {
		name     string
		messages int
		rcode    int // of the last
	}{
		{"messages", 5, dns.RcodeSuccess},
		{"octets", 5, dns.RcodeSuccess},
		{"octets-then-message", 6, dns.RcodeSuccess},
		{"octets-then-code", 6, dns.RcodeServerFailure},
		{"message-then-octets", 1, dns.RcodeSuccess},
		{"short", 1, dns.RcodeSuccess},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := s.dial("tcp")
			for range 2 { // a connection is used for several
				b, mac := sign(t, ask(c.name+".example.org."), "a.test.", dns.HmacSHA256, secretA, time.Now())
				k.send(b)
				for i := range c.messages {
					var m *dns.Msg
					m, mac = verify(t, k.receive(), secretA, mac, i > 0)
					if last := i == c.messages-1; last && m.Rcode != c.rcode {
						t.Errorf("message %d: %v", i, m.MsgHdr)
					}
				}
			}
		})
	}
}

// A message may be as long as SignatureSize says, and no longer.
func TestFullMessage(t *testing.T) {
	s := serve(t, inBlock("keys {\ntsig a.test. "+secretA+"\n}"))
	b, _ := sign(t, ask("full.example.org."), "a.test.", dns.HmacSHA256, secretA, time.Now())
	k := s.dial("tcp")
	k.send(b)
	if got := len(k.receive()); got != dns.MaxMsgSize {
		t.Errorf("%d octets", got)
	}
}

// The library's client reads a transfer that was written as packed messages.
func TestTransferClient(t *testing.T) {
	s := serve(t, inBlock("keys {\ntsig a.test. hmac-sha384 "+secretA+"\n}"))
	req := new(dns.Msg)
	req.SetAxfr("example.org.")
	req.SetTsig("a.test.", dns.HmacSHA384, 300, time.Now().Unix())
	tr := &dns.Transfer{TsigSecret: map[string]string{"a.test.": secretA}, ReadTimeout: 20 * time.Second}
	envelopes, err := tr.In(req, s.tcp())
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for e := range envelopes {
		if e.Error != nil {
			t.Fatal(e.Error)
		}
		records += len(e.RR)
	}
	if records != 202 {
		t.Errorf("%d records", records)
	}
}

// Plugins of the block find the keys as TSIGKey says.
func TestTSIGKey(t *testing.T) {
	serve(t, inBlock("keys {\ntsig Notify.Test hmac-sha512 "+secretA+"\n}"))
	h := *found.Load()
	for _, name := range []string{"notify.test.", "NOTIFY.test"} {
		algorithm, secret, ok := h.TSIGKey(name)
		if !ok || algorithm != dns.HmacSHA512 || string(secret) != "0123456789abcdef0123456789abcdef" {
			t.Errorf("%s: %s %q %v", name, algorithm, secret, ok)
		}
		clear(secret) // a copy
	}
	if _, _, ok := h.TSIGKey("nobody."); ok {
		t.Error("a key that is not there")
	}
}

// IPv4 addresses are in their own form.
func TestClientAddress(t *testing.T) {
	if got := clientAddress(&test.ResponseWriter{RemoteIP: "::ffff:192.0.2.7"}).String(); got != "192.0.2.7:40212" {
		t.Errorf("mapped: %s", got)
	}
	if got := clientAddress(&test.ResponseWriter6{ResponseWriter: test.ResponseWriter{TCP: true}}).String(); got != "[fe80::42:ff:feca:4c65]:40212" {
		t.Errorf("IPv6: %s", got)
	}
}

func TestSigningOf(t *testing.T) {
	for addr, want := range map[string]signing{
		"dns://:53": byLibrary, "tls://:853": byLibrary, "quic://:853": packed, "https://:443": repacked, "https3://:443": repacked, "grpc://:443": repacked,
	} {
		ctx := context.WithValue(t.Context(), dnsserver.Key{}, &dnsserver.Server{Addr: addr})
		if got := signingOf(ctx); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}
