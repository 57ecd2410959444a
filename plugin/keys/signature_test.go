package keys

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/identity"
)

// sink is a writer that keeps nothing.
type sink struct {
	test.ResponseWriter
	octets int
}

func (s *sink) Write(b []byte) (int, error) {
	s.octets += len(b)
	return len(b), nil
}

func newTestWriter(t testing.TB, algorithm string, w dns.ResponseWriter) *writer {
	k, err := newKey("transfer.example.org", algorithm, secretA, "test")
	if err != nil {
		t.Fatal(err)
	}
	return &writer{ResponseWriter: w, request: ask("example.org."), spelled: k.spelled, signer: signer{key: k, mac: make([]byte, k.algorithm.size)}}
}

// The record that is appended has the size that is said, and the library gets
// the same MAC for it, whatever the problem that it tells of.
func TestSignerAgainstLibrary(t *testing.T) {
	for _, a := range algorithms {
		for _, p := range []problem{{}, {code: dns.RcodeBadTime, data: []byte{0, 0, 1, 2, 3, 4}}} {
			w := newTestWriter(t, a.name, new(sink))
			m := new(dns.Msg).SetReply(ask("example.org."))
			m.Extra = append(m.Extra, test.OPT(1232, true))
			b, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			mac := fmt.Sprintf("%0*d", 2*a.size, 0)
			for i, at := range []uint64{1, 1 << 33, 1<<48 - 1} {
				signed, err := w.signer.append(nil, b, at, p)
				if err != nil {
					t.Fatal(err)
				}
				if got := len(signed) - len(b); got != w.signer.key.room+len(p.data) {
					t.Errorf("%s: %d octets, said %d", a.name, got, w.signer.key.room)
				}
				if id := w.signer.key.identity(); id.SignatureSize() != w.signer.key.room {
					t.Errorf("%s: two opinions on the size", a.name)
				}
				var read dns.Msg
				if err := read.Unpack(signed); err != nil {
					t.Fatal(err)
				}
				r := read.IsTsig()
				if r == nil || len(read.Extra) != 2 || r.TimeSigned != at || r.Fudge != fudge || r.OrigId != m.Id || r.Error != p.code {
					t.Fatalf("%s: %v", a.name, read)
				}
				_, want, err := dns.TsigGenerate(&read, secretA, mac, i > 0)
				if err != nil || want != r.MAC {
					t.Errorf("%s, message %d: MAC %s, want %s, %v", a.name, i, r.MAC, want, err)
				}
				mac = r.MAC
			}
		}
	}
}

func TestSignerRefuses(t *testing.T) {
	s := newTestWriter(t, defaultAlgorithm, new(sink)).signer
	b := make([]byte, headerSize)
	binary.BigEndian.PutUint16(b[10:], 1<<16-1)
	if _, err := s.append(nil, b, 1, problem{}); err == nil {
		t.Error("a message with all the additional records there can be")
	}
	if _, err := s.append(nil, make([]byte, dns.MaxMsgSize-s.key.room+1), 1, problem{}); err == nil {
		t.Error("a message that is too long")
	}
	if out, err := s.append(nil, make([]byte, dns.MaxMsgSize-s.key.room), 1, problem{}); err != nil || len(out) != dns.MaxMsgSize {
		t.Errorf("a message as long as may be: %d octets, %v", len(out), err)
	}
}

// Streams cost no memory for each message.
func TestWriteAllocates(t *testing.T) {
	w := newTestWriter(t, defaultAlgorithm, new(sink))
	b := make([]byte, dns.MaxMsgSize-w.signer.key.room)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations for a message", n)
	}
}

// One hash is the lower bound of a stream: compare Write with Sum.
func BenchmarkWrite(b *testing.B) {
	for _, algorithm := range []string{dns.HmacSHA256, dns.HmacSHA512} {
		b.Run(algorithm, func(b *testing.B) {
			w := newTestWriter(b, algorithm, new(sink))
			message := make([]byte, dns.MaxMsgSize-(identity.Identity{Key: "transfer.example.org.", Algorithm: algorithm}).SignatureSize())
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Write(message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSum(b *testing.B) {
	for _, name := range []string{dns.HmacSHA256, dns.HmacSHA512} {
		b.Run(name, func(b *testing.B) {
			a, err := findAlgorithm(name)
			if err != nil {
				b.Fatal(err)
			}
			h, message, sum := a.hash(), make([]byte, 65400), []byte(nil)
			b.SetBytes(int64(len(message)))
			for b.Loop() {
				h.Reset()
				h.Write(message)
				sum = h.Sum(sum[:0])
			}
		})
	}
}
