package main

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// The signatures are those of the library, in both directions.
func TestSigner(t *testing.T) {
	s, err := newSigner(&benchKey)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a signer is used again
		m := new(dns.Msg)
		m.SetUpdate("example.org.")
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		packed = s.sign(packed, uint64(time.Now().Unix()))
		if err := dns.TsigVerify(slices.Clone(packed), benchKey.Secret, "", false); err != nil {
			t.Fatal(err)
		}
		var request dns.Msg
		if err := request.Unpack(packed); err != nil {
			t.Fatal(err)
		}
		answer := new(dns.Msg).SetReply(&request)
		answer.SetTsig(dns.Fqdn(benchKey.Name), dns.HmacSHA256, 300, time.Now().Unix())
		signed, _, err := dns.TsigGenerate(answer, benchKey.Secret, request.IsTsig().MAC, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.verify(signed); err != nil {
			t.Error(err)
		}
		signed[2] ^= 1
		if err := s.verify(signed); err == nil {
			t.Error("a changed response is right")
		}
		if err := s.verify(packed); err == nil {
			t.Error("the request is its own response")
		}
	}
}

// primary is a server of one zone in memory, which takes updates.
type primary struct {
	mu       sync.Mutex
	records  map[string]bool
	messages int
	deaf     int // so many messages get no answer
	rcode    int
	unsigned bool
}

// start serves on UDP and TCP until the test ends.
func (p *primary) start(t *testing.T) netip.AddrPort {
	p.records = make(map[string]bool)
	return serve(t, p, map[string]string{dns.Fqdn(benchKey.Name): benchKey.Secret})
}

// serve has a handler serve on UDP and TCP until the test ends.
func serve(t *testing.T, h dns.Handler, secrets map[string]string) netip.AddrPort {
	t.Helper()
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	for _, network := range []string{"udp", "tcp"} {
		started := make(chan struct{})
		s := &dns.Server{Addr: at.String(), Net: network, Handler: h, TsigSecret: secrets, NotifyStartedFunc: func() { close(started) }}
		s.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
		failed := make(chan error, 1)
		go func() { failed <- s.ListenAndServe() }()
		select {
		case <-started:
		case err := <-failed:
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Error(err)
			}
		})
	}
	return at
}

// ServeDNS implements dns.Handler.
func (p *primary) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.messages++; p.messages <= p.deaf || w.TsigStatus() != nil {
		return
	}
	m := new(dns.Msg).SetReply(r)
	if r.Opcode == dns.OpcodeUpdate {
		m.Rcode = p.rcode
		for _, rr := range r.Ns {
			a, ok := rr.(*dns.A)
			switch {
			case !ok || a.A == nil:
			case a.Hdr.Class == dns.ClassINET && !p.records[a.Hdr.Name]:
				p.records[a.Hdr.Name] = true
			case a.Hdr.Class == dns.ClassNONE && p.records[a.Hdr.Name]:
				delete(p.records, a.Hdr.Name)
			default:
				m.Rcode = dns.RcodeNXRrset // changes nothing
			}
		}
	} else {
		soa := &dns.SOA{Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: ".", Serial: 1}
		m.Answer = append(m.Answer, soa)
		for name := range p.records {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: []byte{10, 0, 0, 1}})
		}
		m.Answer = append(m.Answer, soa)
	}
	if !p.unsigned {
		m.SetTsig(dns.Fqdn(benchKey.Name), dns.HmacSHA256, 300, time.Now().Unix())
	}
	_ = w.WriteMsg(m)
}

func TestStorm(t *testing.T) {
	p := &primary{}
	at := p.start(t)
	writers := writersTo(t, at, "example.org.", 3)
	for range 2 {
		a, err := stormFor(writers, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.each) < 3 || a.took <= 0 || a.quantile(0) <= 0 || a.client <= 0 {
			t.Errorf("%d updates in %v, %v of CPU time, %d sent again", len(a.each), a.took, a.client, a.again)
		}
	}
	for _, w := range writers {
		if len(w.live) < held-1 || len(w.live) > held {
			t.Errorf("client %d lets %d records stand", w.number, len(w.live))
		}
	}
	records, err := verifyZone(at, "example.org.", 1, writers, &benchKey, nil)
	if err != nil || records != 1+len(p.records) {
		t.Errorf("%d records, %v", records, err)
	}
	if _, err := verifyZone(at, "example.org.", 2, writers, &benchKey, nil); err == nil || !strings.Contains(err.Error(), "1 records besides, not 2") {
		t.Errorf("a record too few: %v", err)
	}
	delete(p.records, writers[1].label(writers[1].live[0])+".example.org.")
	if _, err := verifyZone(at, "example.org.", 1, writers, &benchKey, nil); err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("a record is gone: %v", err)
	}
	p.records["u1-0.example.org."] = true
	if _, err := verifyZone(at, "example.org.", 1, writers, &benchKey, nil); err == nil || !strings.Contains(err.Error(), "u1-0 was removed and is there") {
		t.Errorf("a record is back: %v", err)
	}
}

// What is not acknowledged ends the storm.
func TestStormRefused(t *testing.T) {
	for name, p := range map[string]*primary{"REFUSED": {rcode: dns.RcodeRefused}, "no signature": {unsigned: true}} {
		writers := writersTo(t, p.start(t), "example.org.", 1)
		if a, err := stormFor(writers, time.Minute); err == nil || !strings.Contains(err.Error(), name) || len(a.each) > 0 {
			t.Errorf("%s: %d updates, %v", name, len(a.each), err)
		}
	}
}

// A request without a response is sent again.
func TestStormAgain(t *testing.T) {
	p := &primary{deaf: 1}
	writers := writersTo(t, p.start(t), "example.org.", 1)
	a, err := stormFor(writers, 10*time.Millisecond)
	if err != nil || a.again != 1 || len(a.each) != 1 || a.each[0] < updatePatience {
		t.Errorf("%d sent again, %v, %v", a.again, a.each, err)
	}
}

func TestIsMade(t *testing.T) {
	w := &writer{number: 31}
	for label, want := range map[string]bool{w.label(0): true, w.label(123456): true, "u": false, "u1": false, "user5-7": false, "colfca425605-307013": false, label(77): false} {
		if isMade(label) != want {
			t.Errorf("%q: %v", label, !want)
		}
	}
	for i := range 100_000 {
		if isMade(label(i)) {
			t.Fatalf("a label of zones, %q, is taken for one of clients", label(i))
		}
	}
}

func TestSteady(t *testing.T) {
	p := &echo{silent: 10}
	at := p.start(t)
	messages, err := packAll(mix(tiny(), 40, 1), false)
	if err != nil {
		t.Fatal(err)
	}
	a, err := steady(at, messages, 1000, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if a.sent == 0 || a.sent > 201 || len(a.late) != a.sent {
		t.Errorf("%d queries of %d in 200 ms", a.sent, len(a.late))
	}
	if want := (a.sent + 9) / 10; a.lost != want || len(a.each) != a.sent-want {
		t.Errorf("%d lost of %d, %d answers", a.lost, a.sent, len(a.each))
	}
	if l := a.quantile(0.5); l <= 0 || l > 100*time.Millisecond {
		t.Errorf("p50 %v", l)
	}
	p.rcode.Store(dns.RcodeServerFailure)
	if _, err := steady(at, messages, 1000, 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Errorf("SERVFAIL: %v", err)
	}
}
