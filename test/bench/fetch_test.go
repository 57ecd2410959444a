package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

var transferKey = &server.Key{Name: "xfr.example.org", Algorithm: "hmac-sha256", Secret: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}

// serveTransfer answers one AXFR with messages of these records, each line one, and
// gives where.
func serveTransfer(t *testing.T, messages ...string) *dns.Server {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, TsigSecret: map[string]string{dns.CanonicalName(transferKey.Name): transferKey.Secret}}
	s.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
	s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		tr := new(dns.Transfer)
		envelopes := make(chan *dns.Envelope, len(messages))
		for _, text := range messages {
			e := new(dns.Envelope)
			for line := range strings.Lines(text) {
				rr, err := dns.NewRR(line)
				if err != nil {
					t.Error(err)
					continue
				}
				e.RR = append(e.RR, rr)
			}
			envelopes <- e
		}
		close(envelopes)
		if err := tr.Out(w, r, envelopes); err != nil {
			t.Error(err)
		}
	})
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := errors.Join(s.Shutdown(), <-done); err != nil {
			t.Error(err)
		}
	})
	return s
}

const host = "www.example.org. 300 IN A 192.0.2.1\n"

func TestFetch(t *testing.T) {
	for _, tc := range []struct {
		name     string
		messages []string
		records  int
		wrong    string // in the error
	}{
		{"one message", []string{soa + host + soa}, 2, ""},
		{"several messages", []string{soa, host, host, soa}, 3, ""},
		{"no SOA at the end", []string{soa + host, host}, 2, "from"},
		{"no SOA at the start", []string{host, soa}, 1, "from"},
		{"another SOA at the end", []string{soa + strings.Replace(soa, " 1 2", " 9 2", 1)}, 1, "from"},
		{"an empty message", []string{soa, "", soa}, 1, "no records"},
	} {
		for _, key := range []*server.Key{nil, transferKey} {
			t.Run(fmt.Sprintf("%s, signed %t", tc.name, key != nil), func(t *testing.T) {
				s := serveTransfer(t, tc.messages...)
				r, err := newRequest("example.org.", tc.records, 4711, key)
				if err != nil {
					t.Fatal(err)
				}
				var record bytes.Buffer
				f, err := r.fetch(s.Listener.Addr().(*net.TCPAddr).AddrPort(), &record)
				if tc.wrong != "" {
					if err == nil || !strings.Contains(err.Error(), tc.wrong) {
						t.Fatalf("error %v, not %q", err, tc.wrong)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if f.messages != len(tc.messages) || f.octets != int64(record.Len()) || f.took <= 0 {
					t.Errorf("%+v of %d octets", f, record.Len())
				}
				again, err := r.read(&record, time.Now())
				if err != nil || again.octets != f.octets || again.messages != f.messages {
					t.Errorf("the record of it: %+v, %v", again, err)
				}
			})
		}
	}
}

// A stream in which any octet of a message is another is noticed.
func TestFetchChecksSignatures(t *testing.T) {
	s := serveTransfer(t, soa, host, soa)
	r, err := newRequest("example.org.", 2, 4711, transferKey)
	if err != nil {
		t.Fatal(err)
	}
	var record bytes.Buffer
	if _, err := r.fetch(s.Listener.Addr().(*net.TCPAddr).AddrPort(), &record); err != nil {
		t.Fatal(err)
	}
	whole := record.Bytes()
	for at := 0; at < len(whole); at++ {
		if f, err := r.read(bytes.NewReader(flipped(whole, at)), time.Now()); err == nil {
			t.Fatalf("octet %d of %d is another: %+v", at, len(whole), f)
		}
	}
	if f, err := r.read(bytes.NewReader(whole[:len(whole)-1]), time.Now()); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut short: %+v, %v", f, err)
	}
	r.mac[0] ^= 1
	if f, err := r.read(bytes.NewReader(whole), time.Now()); err == nil {
		t.Errorf("of another request: %+v", f)
	}
}

// flipped gives a copy with one bit another.
func flipped(b []byte, at int) []byte {
	c := bytes.Clone(b)
	c[at] ^= 0x40
	return c
}

// Messages between signed ones may be without a signature, but not the last.
func TestFetchUnsignedBetween(t *testing.T) {
	r, err := newRequest("example.org.", 3, 4711, transferKey)
	if err != nil {
		t.Fatal(err)
	}
	stream := func(signed ...bool) []byte {
		c, err := newChain(transferKey, r.mac)
		if err != nil {
			t.Fatal(err)
		}
		var out []byte
		for i, text := range []string{soa, host, host, soa} {
			b := message(t, 0, text, "")
			binary.BigEndian.PutUint16(b, r.id)
			if signed[i] {
				b = c.signed(b)
			} else {
				c.mac.Write(b)
			}
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
		}
		return out
	}
	if f, err := r.read(bytes.NewReader(stream(true, false, false, true)), time.Now()); err != nil || f.messages != 4 {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := r.read(bytes.NewReader(stream(true, true, true, false)), time.Now()); err == nil {
		t.Errorf("the last is not signed: %+v", f)
	}
	if f, err := r.read(bytes.NewReader(stream(false, true, true, true)), time.Now()); err == nil {
		t.Errorf("the first is not signed: %+v", f)
	}
}

// signed gives a message with a signature, which becomes that before the next.
func (c *chain) signed(b []byte) []byte {
	times := []byte{0, 0, 1, 2, 3, 4, 1, 44}
	c.mac.Write(b)
	if c.first {
		c.mac.Write(c.name)
		c.mac.Write([]byte{0, dns.ClassANY, 0, 0, 0, 0})
		c.mac.Write([]byte(algorithm))
	}
	c.mac.Write(times)
	if c.first {
		c.mac.Write(make([]byte, 4)) // no error, no other data
	}
	sum := c.mac.Sum(nil)
	c.first = false
	c.prior(sum)

	id := b[:2]
	rdata := append([]byte(algorithm), times...)
	rdata = append(binary.BigEndian.AppendUint16(rdata, uint16(len(sum))), sum...)
	rdata = append(append(rdata, id...), 0, 0, 0, 0)
	out := append(bytes.Clone(b), c.record...)
	binary.BigEndian.PutUint16(out[10:], 1)
	return append(binary.BigEndian.AppendUint16(out, uint16(len(rdata))), rdata...)
}

func TestFetchErrors(t *testing.T) {
	r, err := newRequest("example.org.", 2, 4711, nil)
	if err != nil {
		t.Fatal(err)
	}
	refused := message(t, dns.RcodeRefused, "", "")
	binary.BigEndian.PutUint16(refused, r.id)
	other := message(t, 0, soa+host+soa, "")
	for name, tc := range map[string]struct {
		message []byte
		wrong   string
	}{"refused": {refused, "REFUSED"}, "another ID": {other, "ID 1"}, "no header": {[]byte("short"), "5 octets"}} {
		b := append(binary.BigEndian.AppendUint16(nil, uint16(len(tc.message))), tc.message...)
		if f, err := r.read(bytes.NewReader(b), time.Now()); err == nil || !strings.Contains(err.Error(), tc.wrong) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	if _, err := newRequest("example.org.", 2, 1, &server.Key{Name: "x", Algorithm: "hmac-md5", Secret: "AAAA"}); err == nil {
		t.Error("a key that is not for HMAC-SHA256")
	}
}

// An answer that was recorded can be fetched again from a thread that sends it.
func TestReplay(t *testing.T) {
	server.Require(t, "taskset")
	s := serveTransfer(t, soa, host, soa)
	r, err := newRequest("example.org.", 2, 4711, transferKey)
	if err != nil {
		t.Fatal(err)
	}
	var record bytes.Buffer
	if _, err := r.fetch(s.Listener.Addr().(*net.TCPAddr).AddrPort(), &record); err != nil {
		t.Fatal(err)
	}
	cores, err := proc.cores()
	if err != nil {
		t.Fatal(err)
	}
	if took, err := replay(r, record.Bytes(), cores[0]); err != nil || took <= 0 {
		t.Errorf("%v, %v", took, err)
	}
	if took, err := replay(r, record.Bytes()[:record.Len()-1], cores[0]); err == nil {
		t.Errorf("cut short: %v", took)
	}
}
