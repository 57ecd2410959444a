package zone_test

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// failer is a testing.T or a rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// compareWithModel asks some questions of a zone and its model.
func compareWithModel(t failer, g *generator, m *naive, s *zone.Snapshot, queries int, a *zone.Answer) {
	t.Helper()
	for range queries {
		q := g.query()
		s.Lookup(&q, a)
		sameAnswer(t, m, q, a)
	}
}

func sameAnswer(t failer, m *naive, q zone.Query, a *zone.Answer) {
	t.Helper()
	r := m.resolve(q)
	if got, want := dump(a, false), dump(&r.Answer, false); got != want {
		t.Fatalf("%s TYPE%d DO=%v All=%v in\n%sgot\n%s\nwant\n%s", q.Name, q.Type, q.DO, q.All, m, got, want)
	}
	got := map[dnsname.Name]bool{}
	for _, set := range a.Authority {
		if set.Type == rrset.TypeNSEC || set.Type == rrset.TypeNSEC3 {
			if got[set.Owner.Fold()] {
				t.Fatalf("%s TYPE%d in\n%s: %s is there twice", q.Name, q.Type, m, set.Owner)
			}
			got[set.Owner.Fold()] = true
			if want := min(900, m.negativeTTL()); set.TTL != want || set.Sigs.TTL != want {
				t.Fatalf("%s TYPE%d in\n%s: TTL of %s is %d, that of its RRSIG %d, want %d", q.Name, q.Type, m, set.Owner, set.TTL, set.Sigs.TTL, want)
			}
		}
	}
	if !maps.Equal(got, r.proofs) {
		t.Fatalf("%s TYPE%d DO=%v in\n%sgot\n%s\nwant the proofs %v", q.Name, q.Type, q.DO, m, dump(a, true), slices.Collect(maps.Keys(r.proofs)))
	}
}

// TestLookupModel compares Lookup on generated zones with the naive resolver.
func TestLookupModel(t *testing.T) {
	var a zone.Answer
	rapid.Check(t, func(rt *rapid.T) {
		g := newGenerator(rapidChoices(rt))
		m := g.zone(25)
		compareWithModel(rt, g, m, m.build(t), 40, &a)
	})
}

// TestDenialModel does so on zones signed in each way, and validates the
// answers (S3 to S15 on any shape of zone).
func TestDenialModel(t *testing.T) {
	optOut := &naiveNSEC3{iterations: 2, salt: "\xbe\xef", optOut: true}
	for name, chains := range map[string][2]*naiveNSEC3{
		"NSEC":               {},
		"NSEC3":              {{}},
		"opt-out":            {optOut},
		"NSEC3 with another": {{}, optOut},
		"opt-out with other": {optOut, {salt: "\xbe"}},
	} {
		t.Run(name, func(t *testing.T) {
			var a zone.Answer
			rapid.Check(t, func(rt *rapid.T) {
				g := newGenerator(rapidChoices(rt))
				g.tame = true
				m := g.zone(25)
				m.nsec3, m.former = chains[0], chains[1]
				m.nsec = m.nsec3 == nil
				m.sign()
				s := m.build(t)
				for range 40 {
					q := g.query()
					s.Lookup(&q, &a)
					sameAnswer(rt, m, q, &a)
					if q.DO && q.Type != rrset.TypeANY {
						if fault := m.validate(q, &a); fault != "" {
							rt.Fatalf("%s TYPE%d in\n%s%s\n%s", q.Name, q.Type, m, dump(&a, true), fault)
						}
					}
				}
			})
		})
	}
}

// TestAdditionalBound checks that an RRset with many targets does not cost a
// lookup each.
func TestAdditionalBound(t *testing.T) {
	records := []record{soaRecord(1), {"\x04mail" + origin, rrset.TypeA, 60, "abcd"}}
	add := func(target string) {
		records = append(records, record{origin, rrset.TypeMX, 60, "\x00\x0a" + target})
	}
	for i := range 3000 {
		add("\x04" + string([]byte{'n', 'o', byte(i >> 8), byte(i)}) + string(origin))
	}
	many, _ := build(t, origin, records)
	add("\x04mail" + string(origin))
	last, _ := build(t, origin, records)
	q := zone.Query{Name: origin, Type: rrset.TypeMX}
	var a zone.Answer
	for name, s := range map[string]*zone.Snapshot{"many": many, "the last exists": last} {
		if s.Lookup(&q, &a); len(a.Additional) != 0 || a.Answer[0].Len() < 2000 { // letter case makes some the same
			t.Errorf("%s: %d records, %d additional", name, a.Answer[0].Len(), len(a.Additional))
		}
	}
	few, _ := build(t, origin, slices.Concat(records[:102], records[len(records)-1:]))
	if few.Lookup(&q, &a); len(a.Additional) != 1 {
		t.Errorf("100 that do not exist and one: %s", brief(&a))
	}
}
