package rrset_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

func newSet(t testing.TB, typ uint16, rdata ...string) rrset.RRset {
	t.Helper()
	s, err := rrset.New(typ, 60, rdata...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rdataOf(s rrset.RRset) []string { return slices.Collect(s.All()) }

func TestNew(t *testing.T) {
	s := newSet(t, rrset.TypeA, "aaaa", "bbbb", "aaaa", "cccc")
	if got := rdataOf(s); !slices.Equal(got, []string{"aaaa", "bbbb", "cccc"}) {
		t.Errorf("records %q", got)
	}
	if s.Len() != 3 || s.IsEmpty() || s.Type != rrset.TypeA || s.TTL != 60 || s.First() != "aaaa" {
		t.Errorf("%+v", s)
	}
	if want := "\x00\x04aaaa\x00\x04bbbb\x00\x04cccc"; s.Packed() != want {
		t.Errorf("packed %q, want %q", s.Packed(), want)
	}
	if again := rrset.FromPacked(s.Type, s.TTL, 3, s.Packed()); again != s {
		t.Errorf("FromPacked gives %+v", again)
	}
	var walked []string
	for off := 0; off < len(s.Packed()); {
		var r string
		r, off = s.Next(off)
		walked = append(walked, r)
	}
	if !slices.Equal(walked, rdataOf(s)) {
		t.Errorf("Next walks %q", walked)
	}
	for r := range s.All() { // may be left early
		if r != "aaaa" {
			t.Errorf("%q first", r)
		}
		break
	}
	var zero rrset.RRset
	if !zero.IsEmpty() || zero.Len() != 0 || zero.First() != "" || len(rdataOf(zero)) != 0 || zero.Contains("") {
		t.Errorf("zero value: %+v", zero)
	}
}

// TestLetterCase checks which records are the same (RFC 4034 §6.2, RFC 6840 §5.1).
func TestLetterCase(t *testing.T) {
	for _, tc := range []struct {
		name string
		typ  uint16
		a, b string
		same bool
	}{
		{"NS", rrset.TypeNS, "\x02ns\x00", "\x02NS\x00", true},
		{"MX", rrset.TypeMX, "\x00\x41\x01a\x00", "\x00\x41\x01A\x00", true},
		{"MX with another preference that looks like a letter", rrset.TypeMX, "\x00\x61\x01a\x00", "\x00\x41\x01a\x00", false},
		{"SRV", rrset.TypeSRV, "\x00\x00\x00\x00\x00\x35\x01a\x00", "\x00\x00\x00\x00\x00\x35\x01A\x00", true},
		{"SOA names", rrset.TypeSOA, "\x01a\x00\x01b\x00" + strings.Repeat("A", 20), "\x01A\x00\x01B\x00" + strings.Repeat("A", 20), true},
		{"SOA numbers", rrset.TypeSOA, "\x01a\x00\x01b\x00" + strings.Repeat("A", 20), "\x01a\x00\x01b\x00" + strings.Repeat("a", 20), false},
		{"NAPTR replacement", rrset.TypeNAPTR, "\x00\x00\x00\x00\x01s\x00\x00\x01a\x00", "\x00\x00\x00\x00\x01s\x00\x00\x01A\x00", true},
		{"NAPTR flag", rrset.TypeNAPTR, "\x00\x00\x00\x00\x01s\x00\x00\x01a\x00", "\x00\x00\x00\x00\x01S\x00\x00\x01a\x00", false},
		{"RRSIG signer", rrset.TypeRRSIG, strings.Repeat("s", 18) + "\x01a\x00s", strings.Repeat("s", 18) + "\x01A\x00s", true},
		{"RRSIG signature", rrset.TypeRRSIG, strings.Repeat("s", 18) + "\x01a\x00s", strings.Repeat("s", 18) + "\x01a\x00S", false},
		{"NSEC keeps it", rrset.TypeNSEC, "\x01a\x00\x00\x01\x40", "\x01A\x00\x00\x01\x40", false},
		{"SVCB keeps it", rrset.TypeSVCB, "\x00\x01\x01a\x00", "\x00\x01\x01A\x00", false},
		{"TXT keeps it", rrset.TypeTXT, "\x01a", "\x01A", false},
		{"unknown types keep it", 65280, "\x01a\x00", "\x01A\x00", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSet(t, tc.typ, tc.a)
			if got := s.Contains(tc.b); got != tc.same {
				t.Errorf("contains: %v", got)
			}
			next, added, err := s.With(tc.b)
			if err != nil || added == tc.same || !tc.same && next.Len() != 2 {
				t.Errorf("With: %v, %v", added, err)
			}
			if tc.same && next != s {
				t.Errorf("%q became %q", rdataOf(s), rdataOf(next))
			}
			rest, removed := s.Without(tc.b)
			if removed != tc.same || removed != rest.IsEmpty() {
				t.Errorf("Without: %v", removed)
			}
			if o := newSet(t, tc.typ, tc.b); s.Equal(o) || s.SameRecords(o) {
				t.Error("sets of different octets are equal")
			}
		})
	}
}

func TestEqual(t *testing.T) {
	abc := newSet(t, rrset.TypeTXT, "\x01a", "\x01b", "\x01c")
	for _, tc := range []struct {
		name        string
		o           rrset.RRset
		equal, same bool
	}{
		{"itself", abc, true, true},
		{"in another order", newSet(t, rrset.TypeTXT, "\x01c", "\x01a", "\x01b"), true, true},
		{"with another TTL", abc.WithTTL(61), false, true},
		{"of another type", newSet(t, 65280, "\x01a", "\x01b", "\x01c"), false, true},
		{"with one less", newSet(t, rrset.TypeTXT, "\x01a", "\x01b"), false, false},
		{"with one changed", newSet(t, rrset.TypeTXT, "\x01a", "\x01b", "\x01d"), false, false},
		{"as long, of fewer records", newSet(t, rrset.TypeTXT, "\x01a", "\x05\x00\x02\x01bx"), false, false},
		{"empty", rrset.RRset{Type: rrset.TypeTXT, TTL: 60}, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := abc.Equal(tc.o); got != tc.equal || tc.o.Equal(abc) != got {
				t.Errorf("Equal: %v", got)
			}
			if got := abc.SameRecords(tc.o); got != tc.same || tc.o.SameRecords(abc) != got {
				t.Errorf("SameRecords: %v", got)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	if _, _, err := (rrset.RRset{}).With(strings.Repeat("x", 65536)); !errors.Is(err, rrset.ErrRDATA) {
		t.Errorf("RDATA of 65536 octets: %v", err)
	}
	if _, _, err := (rrset.RRset{}).With(strings.Repeat("x", 65534)); !errors.Is(err, rrset.ErrTooLong) {
		t.Errorf("RDATA of 65534 octets: %v", err)
	}
	s, added, err := (rrset.RRset{}).With(strings.Repeat("x", 65533))
	if err != nil || !added || s.Len() != 1 {
		t.Fatalf("RDATA of 65533 octets: %v", err)
	}
	full, added, err := s.With("")
	if !errors.Is(err, rrset.ErrTooLong) || added || full != s {
		t.Errorf("one more: %v, %v", added, err)
	}
	if _, added, err := s.With(strings.Repeat("x", 65533)); err != nil || added {
		t.Errorf("the same again: %v, %v", added, err)
	}
	if _, err := rrset.New(rrset.TypeTXT, 0, strings.Repeat("x", 40000), strings.Repeat("y", 40000)); !errors.Is(err, rrset.ErrTooLong) {
		t.Errorf("New of two halves: %v", err)
	}
	many := rrset.RRset{Type: 65280}
	for i := range 65535 / 4 {
		var err error
		if many, _, err = appendUnchecked(many, string(binary.BigEndian.AppendUint16(nil, uint16(i)))); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	if _, _, err := many.With("zz"); !errors.Is(err, rrset.ErrTooLong) || many.Len() != 65535/4 {
		t.Errorf("%d records and one more: %v", many.Len(), err)
	}
}

// appendUnchecked adds a record that is known to be new, without looking for it.
func appendUnchecked(s rrset.RRset, rdata string) (rrset.RRset, bool, error) {
	packed := s.Packed() + "\x00" + string(byte(len(rdata))) + rdata
	return rrset.FromPacked(s.Type, s.TTL, uint16(s.Len()+1), packed), true, nil
}

// TestModel compares a set with a slice, and checks that no version of it ever
// changes.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom([]uint16{rrset.TypeTXT, rrset.TypeNS, rrset.TypeMX, 65280}).Draw(t, "type")
		gen := rapid.Custom(func(t *rapid.T) string {
			name := rapid.SampledFrom([]string{"\x00", "\x01a\x00", "\x01A\x00", "\x02ab\x00", "\x02aB\x01c\x00"}).Draw(t, "name")
			switch typ {
			case rrset.TypeNS:
				return name
			case rrset.TypeMX:
				return rapid.SampledFrom([]string{"\x00\x01", "\x00a", "\x00A"}).Draw(t, "preference") + name
			}
			return rapid.StringN(0, 3, 5).Draw(t, "rdata")
		})
		fold := func(r string) string {
			skip := map[uint16]int{rrset.TypeNS: 0, rrset.TypeMX: 2, rrset.TypeTXT: len(r), 65280: len(r)}[typ]
			return r[:skip] + strings.ToLower(r[skip:])
		}
		s := rrset.RRset{Type: typ, TTL: 1}
		var model []string
		type version struct {
			s     rrset.RRset
			model []string
		}
		var versions []version
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			r := gen.Draw(t, "r")
			at := slices.IndexFunc(model, func(have string) bool { return fold(have) == fold(r) })
			if s.Contains(r) != (at >= 0) {
				t.Fatalf("%q contains %q: %v", model, r, s.Contains(r))
			}
			if rapid.Bool().Draw(t, "add") {
				next, added, err := s.With(r)
				if err != nil || added != (at < 0) {
					t.Fatalf("%q with %q: %v, %v", model, r, added, err)
				}
				if s = next; at < 0 {
					model = append(slices.Clone(model), r)
				}
			} else {
				next, removed := s.Without(r)
				if removed != (at >= 0) {
					t.Fatalf("%q without %q: %v", model, r, removed)
				}
				if s = next; at >= 0 {
					model = slices.Delete(slices.Clone(model), at, at+1)
				}
			}
			versions = append(versions, version{s, model})
		}
		for _, v := range versions {
			if !slices.Equal(rdataOf(v.s), v.model) || v.s.Len() != len(v.model) || v.s.IsEmpty() != (len(v.model) == 0) || v.s.TTL != 1 {
				t.Fatalf("%q, want %q", rdataOf(v.s), v.model)
			}
		}
	})
}

// TestNoAllocs checks that reading a set costs no allocation.
func TestNoAllocs(t *testing.T) {
	s := newSet(t, rrset.TypeMX, "\x00\x01\x01a\x00", "\x00\x02\x01B\x00")
	if got := testing.AllocsPerRun(100, func() {
		for r := range s.All() {
			if rrset.Name(s.Type, r) == "" {
				t.Error("no name")
			}
		}
		s.First()
		s.WithTTL(3)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
