package ddns

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// rcodeOf gives the response code of an error.
func rcodeOf(t rapid.TB, err error) uint8 {
	t.Helper()
	outcome(t, err)
	var e *Error
	if errors.As(err, &e) {
		return e.Rcode
	}
	return 0
}

// request sends a random request to the package and to the model, and compares
// everything. Prerequisites that fail, as most do, do not keep the rest from
// being tried.
func (s *simulation) request(t rapid.TB, txn *zone.Txn) {
	t.Helper()
	prerequisites, list := s.section(true), s.section(false)
	limits := Limits{RRset: oneOf(s.choices, 0, 0, 1, 2)}
	point, saved := txn.Savepoint(), slices.Clone(s.m.rrs)
	text := dump(s.m.rrs)

	compare := func(what string, list []Record, err error, want uint8) bool {
		t.Helper()
		if got := rcodeOf(t, err); got != want {
			t.Fatalf("%s: rcode %d (%v), not %d\n%+v\nin\n%s", what, got, err, want, list, text)
		}
		return want == 0
	}
	ok := compare("prescan", list, Prescan(s.m.origin, list, false), s.m.prescan(list))
	compare("prerequisites", prerequisites, Prerequisites(txn, prerequisites), s.m.prerequisites(prerequisites))
	if got := dump(records(txn, s.names)); got != text {
		t.Fatalf("changed too early:\n%s\nnot\n%s", got, text)
	}
	if !ok {
		return
	}
	for _, r := range list {
		want := []uint16{r.Type}
		if r.Class == ClassANY && r.Type == rrset.TypeANY {
			want = nil
			for _, z := range s.m.rrs {
				if z.owner == r.Owner.Fold() && !z.denial() {
					want = append(want, z.typ)
				}
			}
			slices.Sort(want)
		}
		if got := Types(txn, r); !slices.Equal(got, slices.Compact(want)) {
			t.Fatalf("%+v is about the types %d, not %d", r, got, want)
		}
	}
	if !compare("update", list, Apply(txn, list, limits), s.m.update(list, limits.RRset)) {
		txn.Rollback(point)
		s.m.rrs = saved
	}
	if got, want := dump(records(txn, s.names)), dump(s.m.rrs); got != want {
		t.Fatalf("%+v\nmakes\n%s\nnot\n%s\nof\n%s", list, got, want, text)
	}
	s.sound(t, txn, saved)
}

// sound checks what must hold after any request.
func (s *simulation) sound(t rapid.TB, txn *zone.Txn, before []rr) {
	t.Helper()
	for n := range s.names {
		var alias, other bool
		for set := range txn.Sets(n) {
			switch set.Type {
			case rrset.TypeCNAME:
				alias = set.Len() > 0
				if set.Len() > 1 {
					t.Fatalf("%s has %d CNAMEs", n, set.Len())
				}
			case rrset.TypeRRSIG, rrset.TypeNSEC, rrset.TypeKEY, rrset.TypeNSEC3:
			default:
				other = other || !set.IsEmpty()
			}
		}
		if alias && other {
			t.Fatalf("%s has CNAME beside other data", n)
		}
	}
	if set, _ := txn.Get(s.m.origin, rrset.TypeSOA); set.Len() != 1 {
		t.Fatalf("%d SOA records", set.Len())
	}
	had := slices.ContainsFunc(before, func(z rr) bool { return z.owner == s.m.origin && z.typ == rrset.TypeNS })
	if _, has := txn.Get(s.m.origin, rrset.TypeNS); had && !has {
		t.Fatal("no NS record is left at the apex")
	}
}

// simulate sends requests in some transactions to a zone.
func simulate(t rapid.TB, c *choices, raw bool) {
	t.Helper()
	s := newSimulation(c, raw)
	snapshot := s.m.build(t)
	for range 1 + c.below(3) {
		txn := snapshot.Begin()
		for range 1 + c.below(4) {
			s.request(t, txn)
		}
		var err error
		if snapshot, _, err = txn.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestModel compares random requests with the pseudocode of RFC 2136.
func TestModel(t *testing.T) {
	var bytes []byte
	for b := range 256 {
		bytes = append(bytes, byte(b))
	}
	anyByte := rapid.SampledFrom(bytes) // not biased towards small values, as rapid.Byte is
	rapid.Check(t, func(t *rapid.T) {
		c := choices(rapid.SliceOfN(anyByte, 200, 1500).Draw(t, "choices"))
		simulate(t, &c, false)
	})
}

// TestModelSeeds is TestModel with bytes that no generator makes small.
func TestModelSeeds(t *testing.T) {
	for seed := range uint64(3000) {
		c := make(choices, 1500)
		r := rand.New(rand.NewPCG(2136, seed))
		for i := range c {
			c[i] = byte(r.IntN(256))
		}
		simulate(t, &c, seed%2 == 1)
	}
}

// FuzzUpdate makes a zone and requests of bytes, with RDATA that may be anything.
func FuzzUpdate(f *testing.F) {
	r := rand.New(rand.NewPCG(2136, 34))
	for range 8 {
		b := make([]byte, 600)
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			t.Skip("long enough to be slow")
		}
		c := choices(data)
		simulate(t, &c, true)
	})
}
