package zone_test

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// chain gives changesets as a journal does.
func chain(changes ...zone.Changeset) iter.Seq2[zone.Changeset, error] {
	return func(yield func(zone.Changeset, error) bool) {
		for _, c := range changes {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// layout writes a changeset down without what does not count: the letter case of
// owners and the order of records in a set.
func layout(c zone.Changeset) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d to %d\n", c.From, c.To)
	for _, sets := range [][]zone.Set{c.Removed, c.Added} {
		fmt.Fprintln(&b, "--")
		for _, s := range sets {
			rdata := func(r rrset.RRset) []string { return slices.Sorted(r.All()) }
			fmt.Fprintf(&b, "%s %d", s.Owner.Fold(), s.Type)
			if !s.IsEmpty() {
				fmt.Fprintf(&b, " %d %q", s.TTL, rdata(s.RRset))
			}
			if !s.Sigs.IsEmpty() {
				fmt.Fprintf(&b, " sigs %d %d %q", s.Sigs.Type, s.Sigs.TTL, rdata(s.Sigs))
			}
			fmt.Fprintln(&b)
		}
	}
	return b.String()
}

// applied gives the records of a version after a changeset.
func applied(t testing.TB, s *zone.Snapshot, c zone.Changeset) map[record]bool {
	t.Helper()
	records := flat(recordsOf(slices.Collect(s.All())))
	for _, r := range recordsOf(c.Removed) {
		r.owner = r.owner.Fold()
		if !records[r] {
			t.Fatalf("%v is removed and was not there:\n%s", r, dumpChanges(c))
		}
		delete(records, r)
	}
	for _, r := range recordsOf(c.Added) {
		r.owner = r.owner.Fold()
		if records[r] {
			t.Fatalf("%v is added and was there:\n%s", r, dumpChanges(c))
		}
		records[r] = true
	}
	return records
}

// TestCondense: what is condensed from any chain is the difference of its ends
// (RFC 1995 §5; X9).
func TestCondense(t *testing.T) {
	long := 0
	rapid.Check(t, func(rt *rapid.T) {
		sim := newSimulation(t, rapidChoices(rt))
		first := sim.versions[0].snapshot
		last := first
		var steps []zone.Changeset
		for range rapid.IntRange(1, 12).Draw(rt, "transactions") {
			sim.versions = sim.versions[len(sim.versions)-1:] // go on from the last
			sim.transaction()
			if next := sim.versions[len(sim.versions)-1].snapshot; next != last {
				steps = append(steps, zone.Difference(last, next))
				last = next
			}
		}
		got, err := zone.Condense(first.Serial(), last.Serial(), chain(steps...), first.Records()+last.Records()+1000)
		if err != nil {
			rt.Fatal(err)
		}
		want := zone.Difference(first, last)
		if layout(got) != layout(want) {
			rt.Fatalf("condensed\n%sDifference\n%s", dumpChanges(got), dumpChanges(want))
		}
		if !maps.Equal(applied(t, first, got), flat(recordsOf(slices.Collect(last.All())))) {
			rt.Fatalf("%sapplied does not give the last version", dumpChanges(got))
		}
		if len(steps) > 2 {
			long++
		}
	})
	if long < 100 {
		t.Errorf("only %d chains were longer than two steps", long)
	}
}

// versions gives a zone whose serial counts up as it goes through the given texts.
func versions(t testing.TB, serial uint32, texts ...string) (all []*zone.Snapshot, steps []zone.Changeset) {
	t.Helper()
	for i, text := range texts {
		soa := fmt.Sprintf("@ 3600 SOA ns hostmaster %d 7200 3600 1209600 300\n@ 3600 NS ns\n", serial+uint32(i))
		s, _ := build(t, origin, parse(t, origin, soa+text))
		if i > 0 {
			steps = append(steps, zone.Difference(all[i-1], s))
		}
		all = append(all, s)
	}
	return all, steps
}

// changes writes the records of a changeset down but for the SOA.
func changes(c zone.Changeset) string {
	var b strings.Builder
	for sign, sets := range map[string][]zone.Set{"-": c.Removed, "+": c.Added} {
		for i, r := range recordsOf(sets) {
			if (r.typ == rrset.TypeSOA) != (i == 0) {
				return "SOA is not first"
			}
			if i > 0 {
				fmt.Fprintf(&b, "%s%s %d %q\n", sign, r.owner, r.ttl, r.rdata)
			}
		}
	}
	lines := slices.Sorted(strings.Lines(b.String()))
	return strings.Join(lines, "")
}

// TestCondenseCases: what condensing does to single records.
func TestCondenseCases(t *testing.T) {
	many := func(from, to int) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "many 60 TXT %d\n", i)
		}
		return b.String()
	}
	for _, tc := range []struct {
		name  string
		texts []string
		want  string
	}{
		{"goes and comes back", []string{"a 60 A 192.0.2.1\n", "", "a 60 A 192.0.2.1\n"}, ""},
		{"comes and goes", []string{"", "a 60 TXT x\n", ""}, ""},
		{"goes and comes with another TTL", []string{"a 60 TXT x\n", "", "a 30 TXT x\n"}, "+a.example. 30 \"\\x01x\"\n-a.example. 60 \"\\x01x\"\n"},
		{"another TTL and back", []string{"a 60 TXT x\n", "a 30 TXT x\n", "a 60 TXT x\n"}, ""},
		{
			"another TTL for a set that grows",
			[]string{"a 60 TXT x\n", "a 60 TXT x\na 60 TXT y\n", "a 30 TXT x\na 30 TXT y\n"},
			"+a.example. 30 \"\\x01x\"\n+a.example. 30 \"\\x01y\"\n-a.example. 60 \"\\x01x\"\n",
		},
		{"letter case of RDATA", []string{"a 60 CNAME b\n", "a 60 CNAME c\n", "a 60 CNAME B\n"}, "+a.example. 60 \"\\x01B\\aexample\\x00\"\n-a.example. 60 \"\\x01b\\aexample\\x00\"\n"},
		{"letter case of the owner", []string{"a 60 TXT x\na 60 TXT y\n", "", "A 60 TXT x\nA 60 TXT z\n"}, "+A.example. 60 \"\\x01z\"\n-a.example. 60 \"\\x01y\"\n"},
		{"many of one set", []string{many(0, 60), many(30, 90), many(58, 60) + many(0, 57)}, `-many.example. 60 "\x0257"` + "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all, steps := versions(t, 1, tc.texts...)
			got, err := zone.Condense(1, zone.Serial(len(tc.texts)), chain(steps...), 1000)
			if err != nil {
				t.Fatal(err)
			}
			want := zone.Difference(all[0], all[len(all)-1])
			if layout(got) != layout(want) {
				t.Errorf("condensed\n%sDifference\n%s", dumpChanges(got), dumpChanges(want))
			}
			if text := changes(got); text != tc.want {
				t.Errorf("got\n%swant\n%s", text, tc.want)
			}
		})
	}
}

// TestCondenseOne: one changeset stays what it is, over the wrap too (X14).
func TestCondenseOne(t *testing.T) {
	_, steps := versions(t, 1<<32-1, "", "a 60 TXT x\n")
	steps[0].Who = "somebody"
	got, err := zone.Condense(1<<32-1, 0, chain(steps...), 3)
	if err != nil || layout(got) != layout(steps[0]) || got.Who != "" {
		t.Errorf("%v, got\n%swant\n%s", err, dumpChanges(got), dumpChanges(steps[0]))
	}
	if got, err := zone.Condense(5, 5, chain(), 0); err != nil || !got.IsEmpty() || got.From != 5 || got.To != 5 {
		t.Errorf("of nothing: %v, %v", got, err)
	}
}

func TestCondenseErrors(t *testing.T) {
	_, steps := versions(t, 1, "", "a 60 TXT x\n", "a 60 TXT x\na 60 TXT y\n", "")
	broken := errors.New("disk")
	failing := func(yield func(zone.Changeset, error) bool) {
		if yield(steps[0], nil) {
			yield(zone.Changeset{}, broken)
		}
	}
	again := steps[1]
	again.From, again.To = 3, 4
	_, others := versions(t, 3, "", "a 30 TXT z\n")
	otherTTL := others[0]
	for _, tc := range []struct {
		name     string
		from, to zone.Serial
		changes  iter.Seq2[zone.Changeset, error]
		limit    int
		want     error
	}{
		{"all", 1, 4, chain(steps...), 5, nil},
		{"a step missing", 1, 4, chain(steps[0], steps[2]), 100, zone.ErrGap},
		{"the first missing", 1, 4, chain(steps[1:]...), 100, zone.ErrGap},
		{"the last missing", 1, 4, chain(steps[:2]...), 100, zone.ErrGap},
		{"all missing", 1, 4, chain(), 100, zone.ErrGap},
		{"too far", 1, 3, chain(steps...), 100, zone.ErrGap},
		{"an error", 1, 4, failing, 100, broken},
		{"one more than wanted", 1, 4, chain(steps...), 3, zone.ErrLimit},
		{"the first more than wanted", 1, 4, chain(steps...), 2, zone.ErrLimit},
		{"a record comes twice", 1, 4, chain(steps[0], steps[1], again), 100, zone.ErrContradiction},
		{"two TTLs in a set", 1, 4, chain(steps[0], steps[1], otherTTL), 100, zone.ErrContradiction},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := zone.Condense(tc.from, tc.to, tc.changes, tc.limit)
			if !errors.Is(err, tc.want) || err != nil && (len(got.Added)+len(got.Removed) > 0 || tc.want == nil) {
				t.Errorf("%v, want %v; %s", err, tc.want, dumpChanges(got))
			}
		})
	}
}

// BenchmarkCondense merges changesets of ten records each.
func BenchmarkCondense(b *testing.B) {
	s, _ := benchZone(b, 100_000, true)
	r := rand.New(rand.NewPCG(1, 2))
	var steps []zone.Changeset
	from := s.Serial()
	records := 0
	for i := range 1000 {
		txn := s.Begin()
		for j := range 10 {
			if _, err := txn.Add("\x03ns1"+benchName(r.IntN(100_000)), rrset.TypeA, 3600, string([]byte{10, byte(j), byte(i >> 8), byte(i)})); err != nil {
				b.Fatal(err)
			}
		}
		soa, err := rrset.New(rrset.TypeSOA, 3600, soaRecord(uint32(i+2)).rdata)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := txn.Replace(origin, soa); err != nil {
			b.Fatal(err)
		}
		next, c, err := txn.Commit()
		if err != nil {
			b.Fatal(err)
		}
		s = next
		steps = append(steps, c)
		records += len(recordsOf(c.Removed)) + len(recordsOf(c.Added))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := zone.Condense(from, s.Serial(), chain(steps...), 1<<20); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}
