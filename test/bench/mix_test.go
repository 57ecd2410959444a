package main

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/wire"
)

// byKind is a subject whose questions have the number of their kind as type.
func byKind() subject {
	s := mixed("small", "small.example.", 100)
	ask := s.ask
	s.ask = func(k kind, r *rand.Rand) question {
		q := ask(k, r)
		q.typ = uint16(k)
		return q
	}
	return s
}

func TestMixHasItsShares(t *testing.T) {
	total := 0
	for _, s := range shares {
		total += s.part
	}
	if total != mixTotal {
		t.Fatalf("the shares are %d in %d", total, mixTotal)
	}
	counts := map[kind]int{}
	for _, q := range mix(byKind(), 4000, 1) {
		counts[kind(q.typ)]++
	}
	for k, want := range map[kind]int{
		kindA: 2720, kindAlias: 80, kindAAAA: 400, kindMX: 100, kindTXT: 100,
		kindNXDomain: 400, kindReferral: 100, kindWildcard: 100,
	} {
		if counts[k] != want {
			t.Errorf("%d questions for %s, want %d", counts[k], k, want)
		}
	}
}

func TestMixIsShuffledAndRepeatable(t *testing.T) {
	a, b, c := mix(byKind(), 400, 1), mix(byKind(), 400, 1), mix(byKind(), 400, 2)
	if !slices.Equal(a, b) {
		t.Error("the same seed gives other questions")
	}
	if slices.Equal(a, c) {
		t.Error("another seed gives the same questions")
	}
	if slices.IsSortedFunc(a, func(x, y question) int { return int(x.typ) - int(y.typ) }) {
		t.Error("the questions stand in the order of their kinds")
	}
}

func TestStream(t *testing.T) {
	qs := []question{{"www.example.org.", dns.TypeA}, {"example.org.", dns.TypeMX}}
	for _, do := range []bool{false, true} {
		b, err := stream(qs, do)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range qs {
			n := int(binary.BigEndian.Uint16(b))
			var q wire.Question
			if o := wire.ParseQuestion(b[2:2+n], &q); o != wire.Plain {
				t.Fatalf("%q is %s", want.name, o)
			}
			if q.Name.String() != want.name || q.Type != want.typ || q.DO != do || q.UDPSize != udpSize || q.Flags != 0 {
				t.Errorf("%+v, want %+v with DO %t", q, want, do)
			}
			b = b[2+n:]
		}
		if len(b) != 0 {
			t.Errorf("%d octets after the last question", len(b))
		}
	}
}

func TestPackRefusesWhatIsNoName(t *testing.T) {
	if _, err := pack(question{"a..example.", dns.TypeA}, 1, false); err == nil {
		t.Error("an empty label is packed")
	}
}
