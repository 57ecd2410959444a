package zone_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// TestView compares neighbors, and who hides whom, with the model.
func TestView(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := newGenerator(rapidChoices(rt))
		m := g.zone(30)
		if g.below(2) == 1 {
			m.nsec3 = &naiveNSEC3{}
			m.sign()
		}
		s, _ := build(t, m.origin, m.records())
		v := s.View()
		all := slices.SortedFunc(maps.Keys(m.owners), compare)
		if got := slices.Collect(v.Owners()); !slices.Equal(got, all) || v.Origin() != m.origin {
			rt.Fatalf("owners %q, want %q", got, all)
		}
		var visible []dnsname.Name
		for _, n := range all {
			if m.visible(n) {
				visible = append(visible, n)
			}
		}
		hashes := slices.Sorted(maps.Keys(m.hashes))
		if got := len(slices.Collect(v.NSEC3s())); got != len(hashes) {
			rt.Fatalf("%d NSEC3, want %d", got, len(hashes))
		}
		for range 20 {
			n := g.query().Name
			f := n.Fold()
			if v.Hidden(n) == m.visible(n) || v.IsCut(n) != m.cut(n) || v.Hides(n) != (m.cut(n) || m.has(n, rrset.TypeDNAME)) {
				rt.Fatalf("%s: hidden %v, cut %v, hides %v", n, v.Hidden(n), v.IsCut(n), v.Hides(n))
			}
			var below []dnsname.Name
			for _, o := range all {
				if o != f && o.IsBelow(f) {
					below = append(below, o)
				}
			}
			if got := slices.Collect(v.Below(n)); !slices.Equal(got, below) || v.HasBelow(n) != (len(below) > 0) {
				rt.Fatalf("below %s: %q, want %q", n, got, below)
			}
			next, prev := dnsname.Name(""), dnsname.Name("")
			for _, o := range visible {
				switch c := compare(o, f); {
				case c < 0:
					prev = o
				case c > 0 && next == "":
					next = o
				}
			}
			if got, ok := v.Prev(n); got != prev || ok != (prev != "") {
				rt.Fatalf("before %s: %s, want %s", n, got, prev)
			}
			if got, ok := v.Next(n); m.visible(n) && (got != next || ok != (next != "")) {
				rt.Fatalf("after %s: %s, want %s", n, got, next)
			}
			if got := v.Sets(n); !slices.EqualFunc(got, slices.Collect(s.Begin().Sets(n)), func(a, b zone.Set) bool { return dumpSet(a) == dumpSet(b) }) {
				rt.Fatalf("sets of %s: %v", n, got)
			}
			hashedNeighbors(rt, v, hashes, f)
		}
	})
}

// hashedNeighbors compares those in the ring of NSEC3 owners.
func hashedNeighbors(t *rapid.T, v zone.View, hashes []dnsname.Name, n dnsname.Name) {
	wantAfter, wantBefore := dnsname.Name(""), dnsname.Name("")
	if len(hashes) > 0 {
		wantAfter, wantBefore = hashes[0], hashes[len(hashes)-1]
	}
	for _, h := range slices.SortedFunc(slices.Values(hashes), compare) {
		if compare(h, n) < 0 {
			wantBefore = h
		}
		if compare(h, n) > 0 {
			wantAfter = h
			break
		}
	}
	after, ok := v.NSEC3After(n)
	if after.Owner != wantAfter || ok != (wantAfter != "") {
		t.Fatalf("hash after %s: %s, want %s", n, after.Owner, wantAfter)
	}
	if before, _ := v.NSEC3Before(n); before.Owner != wantBefore {
		t.Fatalf("hash before %s: %s, want %s", n, before.Owner, wantBefore)
	}
}

// TestViewAt: a state does not change with the transaction.
func TestViewAt(t *testing.T) {
	s, _ := build(t, origin, []record{soaRecord(1)})
	txn := s.Begin()
	point := txn.Savepoint()
	if _, err := txn.Add("\x01a"+origin, rrset.TypeNS, 60, string(origin)); err != nil {
		t.Fatal(err)
	}
	now := txn.View()
	must(t, txn.RemoveName("\x01a"+origin))
	if !now.Hides("\x01a"+origin) || txn.View().Hides("\x01a"+origin) || txn.At(point).Hides("\x01a"+origin) {
		t.Error("states are mixed up")
	}
	if _, ok := now.Get("\x03net\x00", rrset.TypeA); ok {
		t.Error("a name elsewhere has records")
	}
}

// TestViewOrphans: RRSIGs over NSEC3 records that are gone are no part of the ring.
func TestViewOrphans(t *testing.T) {
	sig := string([]byte{0, 50, 13, 2}) + "123456789abcde" + string(origin) + "s"
	hash := func(c string) dnsname.Name { return "\x01" + dnsname.Name(c) + origin }
	var records []record
	for _, c := range []string{"0", "2", "4"} {
		records = append(records, record{hash(c), rrset.TypeRRSIG, 60, sig})
	}
	s, _ := build(t, origin, append(records, soaRecord(1)))
	if set, ok := s.View().NSEC3After(hash("0")); ok {
		t.Errorf("after: %s", set.Owner)
	}
	if set, ok := s.View().NSEC3Before(hash("0")); ok {
		t.Errorf("before: %s", set.Owner)
	}
	for set := range s.View().NSEC3s() {
		if set.Type != rrset.TypeNSEC3 || !set.IsEmpty() || set.Sigs.Len() != 1 {
			t.Errorf("%s: %+v", set.Owner, set)
		}
	}
	for _, c := range []string{"1", "3"} {
		records = append(records, record{hash(c), rrset.TypeNSEC3, 60, "\x01\x00\x00\x00\x00\x01x"})
	}
	s, _ = build(t, origin, append(records, soaRecord(1)))
	for _, tc := range [][3]string{{"0", "3", "1"}, {"1", "3", "3"}, {"2", "1", "3"}, {"3", "1", "1"}, {"4", "3", "1"}} {
		before, _ := s.View().NSEC3Before(hash(tc[0]))
		after, _ := s.View().NSEC3After(hash(tc[0]))
		if before.Owner != hash(tc[1]) || after.Owner != hash(tc[2]) {
			t.Errorf("%s: between %s and %s", tc[0], before.Owner, after.Owner)
		}
	}
}

// TestReplaceName puts all of an owner in place at once.
func TestReplaceName(t *testing.T) {
	a, err := rrset.New(rrset.TypeA, 60, "\xc0\x00\x02\x01")
	must(t, err == nil)
	txt, err := rrset.New(rrset.TypeTXT, 60, "\x01t")
	must(t, err == nil)
	sig := func(typ uint16) rrset.RRset {
		r, err := rrset.New(rrset.TypeRRSIG, 60, string([]byte{byte(typ >> 8), byte(typ), 13, 2})+"123456789abcde"+string(origin)+"s")
		must(t, err == nil)
		return r
	}
	owner := "\x01a" + origin
	s, _ := build(t, origin, []record{soaRecord(1), {owner, rrset.TypeMX, 60, "\x00\x01\x00"}})
	txn := s.Begin()
	changed, err := txn.ReplaceName(owner, []zone.Set{{RRset: txt}, {RRset: a, Sigs: sig(rrset.TypeA)}})
	if !changed || err != nil || txn.Records() != 4 {
		t.Fatalf("%v, %v, %d records", changed, err, txn.Records())
	}
	point := txn.Savepoint()
	changed, err = txn.ReplaceName(owner.Parent(), txn.View().Sets(origin))
	again, err2 := txn.ReplaceName(owner, txn.View().Sets(owner))
	if changed || err != nil || again || err2 != nil || len(slices.Collect(txn.Touched(point))) > 0 {
		t.Error("the same again is a change")
	}
	next, change, err := txn.Commit()
	if err != nil || len(change.Removed) != 1 || len(change.Added) != 2 || change.Added[0].Sigs.Len() != 1 {
		t.Errorf("%+v, %v", change, err)
	}
	txn = next.Begin()
	for _, tc := range []struct {
		owner dnsname.Name
		set   zone.Set
		want  error
	}{
		{"\x03net\x00", zone.Set{RRset: a}, zone.ErrOutOfZone},
		{owner, zone.Set{RRset: a, Sigs: sig(rrset.TypeTXT)}, zone.ErrCovers},
		{owner, zone.Set{RRset: a.WithTTL(1), Sigs: rrset.FromPacked(rrset.TypeRRSIG, 60, 1, "\x00\x02\x00\x01")}, rrset.ErrMalformed},
		{owner, s.SOA(), zone.ErrSOAPlace},
	} {
		if changed, err := txn.ReplaceName(tc.owner, []zone.Set{tc.set}); changed || !errors.Is(err, tc.want) || txn.Changed() {
			t.Errorf("%v, %v, want %v", changed, err, tc.want)
		}
	}
	if changed, err := txn.ReplaceName(owner, nil); !changed || err != nil || txn.Records() != 1 {
		t.Errorf("%v, %v, %d records", changed, err, txn.Records())
	}
}
