package zone_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// TestHolding: what there is for a name, while there is an answer in the same Answer.
func TestHolding(t *testing.T) {
	ds := "DS 1 13 2 " + strings.Repeat("ab", 32)
	z := newZones(t, map[string]string{"a.": "www 60 A 192.0.2.1\nwww 60 TXT x\nx.ent 60 A 192.0.2.1\n*.w 60 MX 1 www\nx.*.w 60 A 192.0.2.1\n" +
		"cut 60 NS ns.cut\nns.cut 60 A 192.0.2.1\nsafe 60 NS www\nsafe 60 " + ds + "\nd 60 DNAME www\nd 60 A 192.0.2.1\nx.d 60 A 192.0.2.1\n*.e.ent2 60 A 192.0.2.1"})
	s := z["\x01a\x00"]
	q := question(t, "q.w.a. MX")
	var a zone.Answer
	s.Lookup(&q, &a)
	before := dump(&a, true)
	for name, want := range map[string]struct {
		flags string
		types []uint16
	}{
		"a.":          {"exists", []uint16{rrset.TypeNS, rrset.TypeSOA}},
		"WWW.a.":      {"exists", []uint16{rrset.TypeA, rrset.TypeTXT}},
		"ent.a.":      {"exists", nil},
		"nope.a.":     {"", nil},
		"y.ent.a.":    {"", nil},
		"q.w.a.":      {"exists wildcard", []uint16{rrset.TypeMX}},
		"*.w.a.":      {"exists", []uint16{rrset.TypeMX}},
		"e.ent2.a.":   {"exists", nil},
		"cut.a.":      {"exists cut", []uint16{rrset.TypeNS}},
		"ns.cut.a.":   {"hidden", nil},
		"y.cut.a.":    {"hidden", nil},
		"safe.a.":     {"exists cut", []uint16{rrset.TypeNS, rrset.TypeDS}},
		"d.a.":        {"exists", []uint16{rrset.TypeA, rrset.TypeDNAME}},
		"x.d.a.":      {"hidden", nil},
		"y.x.d.a.":    {"hidden", nil},
		"q.*.w.a.":    {"", nil},
		"q.e.ent2.a.": {"exists wildcard", []uint16{rrset.TypeA}},
	} {
		h := s.Holding(dnsname.MustParse(name), &a)
		var flags []string
		for _, f := range []struct {
			on   bool
			text string
		}{{h.Exists, "exists"}, {h.Wildcard, "wildcard"}, {h.Cut, "cut"}, {h.Hidden, "hidden"}} {
			if f.on {
				flags = append(flags, f.text)
			}
		}
		got := strings.Join(flags, " ")
		types := h.AppendTypes(nil)
		if got != want.flags || !slices.Equal(types, want.types) {
			t.Errorf("%s: %q %v, want %q %v", name, got, types, want.flags, want.types)
		}
		n := 0
		for set := range h.Sets() {
			n++
			if !slices.Contains(types, set.Type) || h.Cut && set.Type != rrset.TypeDS || set.IsEmpty() {
				t.Errorf("%s: set of type %d", name, set.Type)
			}
		}
		if !h.Cut && n != len(types) {
			t.Errorf("%s: %d sets, %d types", name, n, len(types))
		}
	}
	if after := dump(&a, true); after != before {
		t.Errorf("the answer was\n%sand is\n%s", before, after)
	}
}

// TestRcode: a veiled answer about a name that does not exist has NOERROR, other kinds
// have theirs.
func TestRcode(t *testing.T) {
	for kind := zone.Success; kind <= zone.YXDomain; kind++ {
		a := zone.Answer{Kind: kind}
		if a.Rcode() != kind.Rcode() {
			t.Errorf("%s: %d", kind, a.Rcode())
		}
		a.Veiled = true
		if want := kind.Rcode(); kind == zone.NXDomain && a.Rcode() != 0 || kind != zone.NXDomain && a.Rcode() != want {
			t.Errorf("%s, veiled: %d", kind, a.Rcode())
		}
	}
}
