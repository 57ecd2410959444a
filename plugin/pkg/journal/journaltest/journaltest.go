// Package journaltest is the suite that every journal.Store must pass, and what
// stores with a file need to test that it survives crashes and failing disks.
package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Options say what kind of store is tested.
type Options struct {
	// Open opens the store in a folder. Each test has a folder of its own.
	Open func(dir string) (journal.Store, error)
	// Forgets tells that what was committed is gone when the store is closed.
	Forgets bool
	// Large is the number of owners of a step that is more than the store writes in
	// one go. 0 stands for 1000.
	Large int
}

// All is a History that keeps everything.
var All = journal.History{Depth: math.MaxInt, Octets: math.MaxInt64}

// Run tests a kind of store against the contract of journal.Store.
func Run(t *testing.T, o Options) {
	if o.Large == 0 {
		o.Large = 1000
	}
	for _, test := range []struct {
		name string
		run  func(*fixture)
	}{
		{"Empty", empty},
		{"FirstVersion", firstVersion},
		{"ZonesOfAllKinds", zonesOfAllKinds},
		{"Changes", changes},
		{"Conflict", conflict},
		{"Unfit", unfit},
		{"TrimmedByDepth", trimmedByDepth},
		{"TrimmedByOctets", trimmedByOctets},
		{"BackwardsDropsHistory", backwards},
		{"SerialWraps", serialWraps},
		{"SerialComesTwice", serialTwice},
		{"Notes", notes},
		{"DeleteAndComeBack", deleteAndComeBack},
		{"LargeSteps", largeSteps},
		{"List", list},
		{"ReadersDoNotHinder", readersDoNotHinder},
		{"Contexts", contexts},
		{"OneZoneManyWriters", oneZoneManyWriters},
		{"ManyZonesManyWriters", manyZonesManyWriters},
		{"CloseWhileCommitting", closeWhileCommitting},
		{"Closed", closed},
		{"Model", model},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fixture{T: t, Options: o, dir: t.TempDir(), ctx: t.Context()}
			f.open()
			t.Cleanup(func() {
				if err := f.s.Close(); err != nil {
					t.Error(err)
				}
			})
			test.run(f)
		})
	}
}

// fixture is a store under test.
type fixture struct {
	*testing.T
	Options
	ctx context.Context
	dir string
	s   journal.Store
}

func (f *fixture) open() {
	f.Helper()
	s, err := f.Open(f.dir)
	if err != nil {
		f.Fatal(err)
	}
	f.s = s
}

// reopen closes the store and opens it again, if it remembers.
func (f *fixture) reopen() {
	f.Helper()
	if f.Forgets {
		return
	}
	if err := f.s.Close(); err != nil {
		f.Fatal(err)
	}
	f.open()
}

// commit makes a step that must succeed.
func (f *fixture) commit(origin dnsname.Name, c journal.Commit) journal.Revision {
	f.Helper()
	rev, err := f.s.Commit(f.ctx, origin, c)
	if err != nil {
		f.Fatal(err)
	}
	if c.Base != 0 && rev != c.Base+1 {
		f.Fatalf("revision %d after %d", rev, c.Base)
	}
	return rev
}

// begin puts a zone with serial 1 into the store.
func (f *fixture) begin(origin dnsname.Name, hosts int) journal.State {
	f.Helper()
	s := NewZone(f, origin, 1, hosts)
	return journal.State{Revision: f.commit(origin, journal.Commit{Next: s, Keep: All}), Snapshot: s}
}

// step makes the next version of a zone and commits it.
func (f *fixture) step(st *journal.State, serial zone.Serial, keep journal.History) zone.Changeset {
	f.Helper()
	origin := st.Snapshot.Origin()
	next, c := Change(f, st.Snapshot, serial, AddText(origin, int(serial)%7, fmt.Sprint(serial, st.Revision)))
	st.Revision = f.commit(origin.Fold(), journal.Commit{Base: st.Revision, Next: next, Change: c, Keep: keep})
	st.Snapshot = next
	return c
}

// expect loads a zone and compares it.
func (f *fixture) expect(want journal.State) {
	f.Helper()
	got, err := f.s.Load(f.ctx, want.Snapshot.Origin().Fold())
	if err != nil {
		f.Fatal(err)
	}
	if got.Revision != want.Revision {
		f.Fatalf("revision %d, want %d", got.Revision, want.Revision)
	}
	if diff := SameZone(got.Snapshot, want.Snapshot); diff != "" {
		f.Fatal(diff)
	}
	if !sameNotes(got.Notes, want.Notes) {
		f.Fatalf("notes %q, want %q", got.Notes, want.Notes)
	}
}

// history gives the changesets from one serial to another.
func (f *fixture) history(origin dnsname.Name, from, to zone.Serial) (list []zone.Changeset, err error) {
	for c, err := range f.s.Changes(f.ctx, origin, from, to) {
		if err != nil {
			return list, err
		}
		list = append(list, c)
	}
	return list, nil
}

// expectHistory compares the changesets from one serial to another.
func (f *fixture) expectHistory(from, to zone.Serial, want ...zone.Changeset) {
	f.Helper()
	got, err := f.history(Origin, from, to)
	if err != nil || len(got) != len(want) {
		f.Fatalf("%d changesets from %d to %d, %v; want %d", len(got), from, to, err, len(want))
	}
	for i := range got {
		if diff := SameChangeset(&got[i], &want[i]); diff != "" {
			f.Fatalf("changeset %d from %d to %d: %s", i, from, to, diff)
		}
	}
}

// expectError wants Changes to give just an error.
func (f *fixture) expectError(origin dnsname.Name, from, to zone.Serial, want error) {
	f.Helper()
	if got, err := f.history(origin, from, to); !errors.Is(err, want) || len(got) > 0 {
		f.Fatalf("%d changesets from %d to %d and %v, want %v", len(got), from, to, err, want)
	}
}

// size gives the octets of changesets as stored.
func size(list ...zone.Changeset) (n int64) {
	for i := range list {
		n += int64(len(journal.AppendChangeset(nil, &list[i])))
	}
	return n
}

func (f *fixture) expectSize(want int64) {
	f.Helper()
	if got := f.s.HistorySize(Origin); got != want {
		f.Fatalf("history of %d octets, want %d", got, want)
	}
}

// origins gives what List gives, sorted.
func (f *fixture) origins() (list []dnsname.Name) {
	f.Helper()
	for o, err := range f.s.List(f.ctx) {
		if err != nil {
			f.Fatal(err)
		}
		list = append(list, o)
	}
	slices.Sort(list)
	return list
}

func empty(f *fixture) {
	for range 2 {
		if _, err := f.s.Load(f.ctx, Origin); !errors.Is(err, journal.ErrNotExist) {
			f.Error("Load:", err)
		}
		f.expectError(Origin, 1, 2, journal.ErrNotExist)
		f.expectError(Origin, 1, 1, journal.ErrNotExist)
		f.expectSize(0)
		if list := f.origins(); len(list) != 0 {
			f.Errorf("zones %q", list)
		}
		if err := f.s.Delete(f.ctx, Origin); err != nil {
			f.Error("Delete:", err)
		}
		f.reopen()
	}
}

func firstVersion(f *fixture) {
	st := f.begin(Origin, 100)
	if st.Revision == 0 {
		f.Fatal("revision 0")
	}
	f.expect(st)
	f.reopen()
	f.expect(st)
	f.expectSize(0)
	f.expectHistory(1, 1)
	f.expectError(Origin, 0, 1, journal.ErrTrimmed)
}

// zonesOfAllKinds has what is stored in ways of its own.
func zonesOfAllKinds(f *fixture) {
	type record struct {
		owner dnsname.Name // below the origin
		typ   uint16
		rdata string
	}
	sig := func(covers uint16) string {
		return string([]byte{byte(covers >> 8), byte(covers)}) + strings.Repeat("\x05", 16) + string(Origin) + "signature"
	}
	param := "\x01\x00\x00\x00\x00"
	hash := dnsname.Name("\x20" + strings.Repeat("0a", 16))
	var many []record
	for i := range 300 {
		many = append(many, record{"\x01m", rrset.TypeTXT, fmt.Sprintf("\x64%0100d", i)})
	}
	for name, records := range map[string][]record{
		"apex alone":     nil,
		"letter case":    {{"\x03WwW", rrset.TypeA, "\x7f\x00\x00\x01"}, {"\x01a\x03WwW", rrset.TypeTXT, "\x01X"}},
		"wildcard":       {{"\x01*", rrset.TypeA, "\x7f\x00\x00\x01"}, {"\x01x\x01*\x01y", rrset.TypeA, "\x7f\x00\x00\x01"}},
		"odd octets":     {{"\x03\x00\xff.", rrset.TypeTXT, "\x00"}, {"\x3f" + dnsname.Name(strings.Repeat("\xff", 63)), 65280, ""}},
		"large set":      many,
		"signed":         {{"\x01a", rrset.TypeA, "\x7f\x00\x00\x01"}, {"\x01a", rrset.TypeRRSIG, sig(rrset.TypeA)}, {"\x01b", rrset.TypeRRSIG, sig(rrset.TypeTXT)}},
		"NSEC3":          {{"", rrset.TypeNSEC3PARAM, param}, {hash, rrset.TypeNSEC3, param + "\x01\x00"}, {hash, rrset.TypeRRSIG, sig(rrset.TypeNSEC3)}, {hash, rrset.TypeTXT, "\x01x"}},
		"apex with case": {{"", rrset.TypeTXT, "\x01x"}},
	} {
		f.Run(name, func(t *testing.T) {
			f := &fixture{T: t, Options: f.Options, ctx: t.Context(), dir: t.TempDir()}
			f.open()
			defer func() {
				if err := f.s.Close(); err != nil {
					t.Error(err)
				}
			}()
			origin := Origin
			if name == "apex with case" {
				origin = "\x02Ex\x05aMple\x00"
			}
			first := NewZone(t, origin, 1, 0)
			// In two steps, and with it away again.
			for whole := range 2 {
				txn := first.Begin()
				for _, r := range records {
					if _, err := txn.Add(r.owner+origin, r.typ, 60, r.rdata); err != nil {
						t.Fatal(err)
					}
				}
				full, c, err := txn.Commit()
				if err != nil {
					t.Fatal(err)
				}
				key := origin.Fold()
				if whole == 1 {
					rev := f.commit(key, journal.Commit{Next: full, Keep: All})
					f.reopen()
					f.expect(journal.State{Revision: rev, Snapshot: full})
					continue
				}
				rev := f.commit(key, journal.Commit{Next: first, Keep: All})
				rev = f.commit(key, journal.Commit{Base: rev, Next: full, Change: c, Keep: All})
				f.reopen()
				f.expect(journal.State{Revision: rev, Snapshot: full})
				back := zone.Difference(full, first)
				rev = f.commit(key, journal.Commit{Base: rev, Next: first, Change: back, Keep: All})
				f.reopen()
				f.expect(journal.State{Revision: rev, Snapshot: first})
				if err := f.s.Delete(f.ctx, key); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func changes(f *fixture) {
	st := f.begin(Origin, 10)
	var all []zone.Changeset
	for serial := zone.Serial(2); serial <= 9; serial++ {
		all = append(all, f.step(&st, serial, All))
		f.expect(st)
	}
	for range 2 {
		for from := range len(all) + 1 {
			for to := from; to <= len(all); to++ {
				f.expectHistory(zone.Serial(from+1), zone.Serial(to+1), all[from:to]...)
			}
		}
		f.expectSize(size(all...))
		f.expectError(Origin, 5, 4, journal.ErrTrimmed)
		f.expectError(Origin, 0, 4, journal.ErrTrimmed)
		f.expectError(Origin, 4, 10, journal.ErrTrimmed)
		f.expectHistory(77, 77)
		f.expect(st)
		f.reopen()
	}
}

func conflict(f *fixture) {
	st := f.begin(Origin, 3)
	other := NewZone(f, Origin, 50, 1)
	next, c := Change(f, st.Snapshot, 2, nil)
	st.Revision = f.commit(Origin, journal.Commit{Base: st.Revision, Next: next, Change: c, Keep: All})
	st.Snapshot = next
	after, c := Change(f, st.Snapshot, 3, nil)
	note := journal.Notes{"x": []byte("x")}
	refused := func(origin dnsname.Name, commit journal.Commit) {
		f.Helper()
		if rev, err := f.s.Commit(f.ctx, origin, commit); !errors.Is(err, journal.ErrConflict) {
			f.Errorf("base %d: revision %d, %v", commit.Base, rev, err)
		}
	}
	for range 2 {
		refused(Origin, journal.Commit{Next: other, Notes: note})
		for _, base := range []journal.Revision{st.Revision - 1, st.Revision + 1, math.MaxUint64} {
			if base != 0 {
				refused(Origin, journal.Commit{Base: base, Next: after, Change: c, Notes: note})
			}
		}
		refused("\x05other\x00", journal.Commit{Base: 1, Next: NewZone(f, "\x05other\x00", 1, 1), Notes: note})
		f.expect(st)
		f.expectError("\x05other\x00", 1, 2, journal.ErrNotExist)
		f.reopen()
	}
	f.commit(Origin, journal.Commit{Base: st.Revision, Next: after, Change: c, Keep: All})
}

func unfit(f *fixture) {
	st := f.begin(Origin, 3)
	next, c := Change(f, st.Snapshot, 2, nil)
	wrongFrom, wrongTo := c, c
	wrongFrom.From, wrongTo.To = 7, 7
	for name, commit := range map[string]journal.Commit{
		"no version":     {Base: st.Revision, Change: c},
		"other zone":     {Base: st.Revision, Next: NewZone(f, "\x05other\x00", 2, 1), Change: c},
		"wrong from":     {Base: st.Revision, Next: next, Change: wrongFrom},
		"wrong to":       {Base: st.Revision, Next: next, Change: wrongTo},
		"no change":      {Base: st.Revision, Next: next},
		"note unnamed":   {Base: st.Revision, Next: st.Snapshot, Notes: journal.Notes{"": nil}},
		"note long name": {Base: st.Revision, Next: st.Snapshot, Notes: journal.Notes{strings.Repeat("n", 1025): []byte("x")}},
	} {
		if _, err := f.s.Commit(f.ctx, Origin, commit); !errors.Is(err, journal.ErrUnfit) {
			f.Errorf("%s: %v", name, err)
		}
	}
	f.expect(st)
	if _, err := f.s.Commit(f.ctx, "\x05OTHER\x00", journal.Commit{Next: NewZone(f, "\x05OTHER\x00", 2, 1)}); !errors.Is(err, journal.ErrUnfit) {
		f.Error("upper case:", err)
	}
	if list := f.origins(); len(list) != 1 {
		f.Errorf("zones %q", list)
	}
}

func trimmedByDepth(f *fixture) {
	st := f.begin(Origin, 3)
	var all []zone.Changeset
	for serial := zone.Serial(2); serial <= 8; serial++ {
		all = append(all, f.step(&st, serial, journal.History{Depth: 3, Octets: math.MaxInt64}))
		f.expectSize(size(all[max(0, len(all)-3):]...))
	}
	f.reopen()
	f.expectHistory(5, 8, all[4:]...)
	f.expectError(Origin, 4, 8, journal.ErrTrimmed)
	// A step of notes alone trims too.
	keep := func(depth int) {
		st.Revision = f.commit(Origin, journal.Commit{Base: st.Revision, Next: st.Snapshot, Keep: journal.History{Depth: depth, Octets: math.MaxInt64}})
	}
	keep(5)
	f.expectHistory(5, 8, all[4:]...)
	keep(1)
	f.expectHistory(7, 8, all[6])
	f.expectError(Origin, 6, 8, journal.ErrTrimmed)
	f.reopen()
	f.expectSize(size(all[6]))
	for _, depth := range []int{0, -1} {
		keep(depth)
		f.expectError(Origin, 7, 8, journal.ErrTrimmed)
		f.expectSize(0)
	}
	all = append(all, f.step(&st, 9, All), f.step(&st, 10, All))
	f.reopen()
	f.expectHistory(8, 10, all[7:]...)
	f.expect(st)
}

func trimmedByOctets(f *fixture) {
	st := f.begin(Origin, 3)
	a := f.step(&st, 2, All)
	b := f.step(&st, 3, All)
	c := f.step(&st, 4, journal.History{Depth: math.MaxInt, Octets: size(a, b) + 1})
	f.expectError(Origin, 1, 4, journal.ErrTrimmed)
	f.expectHistory(2, 4, b, c)
	f.expectSize(size(b, c))
	d := f.step(&st, 5, journal.History{Depth: math.MaxInt, Octets: size(a)})
	f.expectHistory(4, 5, d)
	f.reopen()
	f.expectHistory(4, 5, d)
	f.expectError(Origin, 3, 5, journal.ErrTrimmed)
	f.step(&st, 6, journal.History{Depth: math.MaxInt, Octets: size(d) - 1})
	f.expectError(Origin, 5, 6, journal.ErrTrimmed)
	f.expectSize(0)
	f.step(&st, 7, journal.History{Depth: math.MaxInt})
	f.expectSize(0)
	f.expect(st)
}

func backwards(f *fixture) {
	st := f.begin(Origin, 3)
	f.step(&st, 2, All)
	last := zone.Serial(2)
	for _, serial := range []zone.Serial{1, 2, 3 + 1<<31, 5} {
		f.step(&st, serial, All)
		f.expectSize(0)
		if serial != last {
			f.expectError(Origin, last, serial, journal.ErrTrimmed)
		}
		f.expect(st)
		c := f.step(&st, serial+1, All)
		f.expectHistory(serial, serial+1, c)
		last = serial + 1
		f.reopen()
	}
}

func serialWraps(f *fixture) {
	st := f.begin(Origin, 3)
	var all []zone.Changeset
	serials := []zone.Serial{1}
	for _, s := range []zone.Serial{1 << 31, 1<<32 - 2, 1<<32 - 1, 0, 3, 1 << 30} {
		all = append(all, f.step(&st, s, All))
		serials = append(serials, s)
	}
	f.reopen()
	for from := range serials {
		for to := from + 1; to < len(serials); to++ {
			f.expectHistory(serials[from], serials[to], all[from:to]...)
			f.expectError(Origin, serials[to], serials[from], journal.ErrTrimmed)
		}
	}
}

// serialTwice goes round the circle of serials: the way asked for is the latest.
func serialTwice(f *fixture) {
	st := f.begin(Origin, 3)
	var all []zone.Changeset
	for range 2 {
		for _, s := range []zone.Serial{1 << 30, 2 << 30, 3 << 30, 1} {
			all = append(all, f.step(&st, s, All))
		}
	}
	f.reopen()
	f.expectHistory(1<<30, 1, all[5:]...)
	f.expectHistory(3<<30, 2<<30, all[3:6]...)
	f.expectHistory(2<<30, 3<<30, all[6])
}

func notes(f *fixture) {
	st := f.begin(Origin, 3)
	long := bytes.Repeat([]byte("long"), 50_000)
	st.Notes = journal.Notes{}
	write := func(n journal.Notes) {
		f.Helper()
		for name, value := range n {
			if value == nil {
				delete(st.Notes, name)
			} else {
				st.Notes[name] = value
			}
		}
		st.Revision = f.commit(Origin, journal.Commit{Base: st.Revision, Next: st.Snapshot, Notes: n, Keep: All})
		f.expect(st)
		f.reopen()
		f.expect(st)
	}
	write(journal.Notes{"a/b": []byte("1"), "a/c": {}, strings.Repeat("n", 1024): long, "\x00": {0}})
	write(journal.Notes{"a/b": []byte("2"), "a/c": nil, "not there": nil})
	write(journal.Notes{"a/c": []byte("back")})
	write(nil)
	// With a change, and with the first version.
	next, c := Change(f, st.Snapshot, 2, nil)
	st.Snapshot, st.Notes["d"] = next, []byte("d")
	st.Revision = f.commit(Origin, journal.Commit{Base: st.Revision, Next: next, Change: c, Notes: journal.Notes{"d": []byte("d")}, Keep: All})
	f.expect(st)
	const other dnsname.Name = "\x05other\x00"
	s := NewZone(f, other, 1, 1)
	rev := f.commit(other, journal.Commit{Next: s, Notes: journal.Notes{"first": []byte("x"), "never": nil}})
	f.reopen()
	f.expect(journal.State{Revision: rev, Snapshot: s, Notes: journal.Notes{"first": []byte("x")}})
	f.expect(st)
}

func deleteAndComeBack(f *fixture) {
	const other dnsname.Name = "\x05other\x00"
	beside := f.begin(other, 5)
	var last journal.Revision
	for round := range 4 {
		st := f.begin(Origin, 5)
		if st.Revision <= last {
			f.Fatalf("revision %d after %d", st.Revision, last)
		}
		st.Notes = journal.Notes{"n": []byte("x")}
		st.Revision = f.commit(Origin, journal.Commit{Base: st.Revision, Next: st.Snapshot, Notes: st.Notes})
		f.step(&st, 2, All)
		if round%2 == 1 {
			f.reopen()
		}
		f.expect(st)
		last = st.Revision
		for range 2 {
			if err := f.s.Delete(f.ctx, Origin); err != nil {
				f.Fatal(err)
			}
			if _, err := f.s.Load(f.ctx, Origin); !errors.Is(err, journal.ErrNotExist) {
				f.Fatal(err)
			}
			f.expectError(Origin, 1, 2, journal.ErrNotExist)
			f.expectSize(0)
		}
		if round%2 == 0 {
			f.reopen()
		}
		if list := f.origins(); !slices.Equal(list, []dnsname.Name{other}) {
			f.Fatalf("zones %q", list)
		}
		if _, err := f.s.Commit(f.ctx, Origin, journal.Commit{Base: last, Next: st.Snapshot}); !errors.Is(err, journal.ErrConflict) {
			f.Fatal(err)
		}
	}
	f.expect(beside)
}

func largeSteps(f *fixture) {
	const other dnsname.Name = "\x05other\x00"
	small := f.begin(other, 2)
	st := f.begin(Origin, f.Large)
	f.expect(st)
	st.Notes = journal.Notes{"n": []byte("x")}
	st.Revision = f.commit(Origin, journal.Commit{Base: st.Revision, Next: st.Snapshot, Notes: st.Notes, Keep: All})
	edit := func(remove bool) func(*zone.Txn) error {
		return func(txn *zone.Txn) error {
			for i := range f.Large {
				owner := Host(Origin, i)
				if remove {
					txn.RemoveName(owner)
				} else if _, err := txn.Add(owner, rrset.TypeTXT, 1, "\x01x"); err != nil {
					return err
				}
			}
			return nil
		}
	}
	var all []zone.Changeset
	for serial := zone.Serial(2); serial <= 3; serial++ {
		next, c := Change(f, st.Snapshot, serial, edit(serial == 3))
		old := st
		st.Revision = f.commit(Origin, journal.Commit{Base: st.Revision, Next: next, Change: c, Keep: All})
		st.Snapshot = next
		all = append(all, c)
		if _, err := f.s.Commit(f.ctx, Origin, journal.Commit{Base: old.Revision, Next: next, Change: c, Keep: All}); !errors.Is(err, journal.ErrConflict) {
			f.Fatal(err)
		}
		f.expect(st)
		f.reopen()
		f.expect(st)
	}
	f.expectHistory(1, 3, all...)
	all = append(all, f.step(&st, 4, All))
	f.expectHistory(1, 4, all...)
	f.expect(st)
	if err := f.s.Delete(f.ctx, Origin); err != nil {
		f.Fatal(err)
	}
	st = f.begin(Origin, f.Large)
	f.expect(st)
	f.expect(small)
}

func list(f *fixture) {
	var want []dnsname.Name
	for i := range 20 {
		o := dnsname.Name(fmt.Sprintf("\x03z%02d\x00", i))
		f.begin(o, 1)
		want = append(want, o)
	}
	f.begin(dnsname.Root, 1)
	want = slices.Insert(want, 0, dnsname.Root)
	f.reopen()
	if got := f.origins(); !slices.Equal(got, want) {
		f.Errorf("zones %q, want %q", got, want)
	}
	n := 0
	for o, err := range f.s.List(f.ctx) {
		if err != nil {
			f.Fatal(err)
		}
		if err := f.s.Delete(f.ctx, o); err != nil {
			f.Fatal(err)
		}
		if n++; n == 5 {
			break
		}
	}
	if got := f.origins(); len(got) != len(want)-5 {
		f.Errorf("%d zones, want %d", len(got), len(want)-5)
	}
}

// readersDoNotHinder commits, and reads again, in the midst of reading.
func readersDoNotHinder(f *fixture) {
	st := f.begin(Origin, 5)
	for serial := zone.Serial(2); serial <= 6; serial++ {
		f.step(&st, serial, All)
	}
	serial := zone.Serial(6)
	n := 0
	for _, err := range f.s.Changes(f.ctx, Origin, 1, 6) {
		if err != nil {
			f.Fatal(err)
		}
		serial++
		n++
		f.step(&st, serial, All)
		if _, err := f.history(Origin, 1, serial); err != nil {
			f.Fatal(err)
		}
	}
	if n != 5 {
		f.Errorf("%d changesets", n)
	}
	for _, err := range f.s.Changes(f.ctx, Origin, 1, 6) {
		if err != nil {
			f.Error(err)
		}
		break
	}
	f.expect(st)
}

func contexts(f *fixture) {
	st := f.begin(Origin, 5)
	f.step(&st, 2, All)
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	next, c := Change(f, st.Snapshot, 3, nil)
	_, load := f.s.Load(ctx, Origin)
	_, commit := f.s.Commit(ctx, Origin, journal.Commit{Base: st.Revision, Next: next, Change: c})
	var changes, list error
	for _, changes = range f.s.Changes(ctx, Origin, 1, 2) {
	}
	for _, list = range f.s.List(ctx) {
	}
	for name, err := range map[string]error{
		"Load": load, "Commit": commit, "Changes": changes, "List": list, "Delete": f.s.Delete(ctx, Origin),
	} {
		if !errors.Is(err, context.Canceled) {
			f.Errorf("%s: %v", name, err)
		}
	}
	f.expect(st)
}

// oneZoneManyWriters has all writers change one zone, each as often as the others
// let it.
func oneZoneManyWriters(f *fixture) {
	f.begin(Origin, 10)
	const writers, steps = 8, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := 0; n < steps; {
				st, err := f.s.Load(f.ctx, Origin)
				if err != nil {
					f.Error(err)
					return
				}
				next, c := Change(f, st.Snapshot, st.Snapshot.Serial().Next(), AddText(Origin, w, fmt.Sprint(n)))
				_, err = f.s.Commit(f.ctx, Origin, journal.Commit{Base: st.Revision, Next: next, Change: c, Keep: All})
				switch {
				case err == nil:
					n++
				case !errors.Is(err, journal.ErrConflict):
					f.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	f.reopen()
	st, err := f.s.Load(f.ctx, Origin)
	if err != nil {
		f.Fatal(err)
	}
	if want := zone.Serial(1 + writers*steps); st.Snapshot.Serial() != want || st.Snapshot.Records() != 2+10+writers*steps {
		f.Errorf("serial %d and %d records, want serial %d", st.Snapshot.Serial(), st.Snapshot.Records(), want)
	}
	if all, err := f.history(Origin, 1, st.Snapshot.Serial()); err != nil || len(all) != writers*steps {
		f.Errorf("%d changesets, %v", len(all), err)
	}
}

func manyZonesManyWriters(f *fixture) {
	const writers, steps = 12, 15
	last := make([]journal.State, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			origin := dnsname.Name(fmt.Sprintf("\x03z%02d\x00", w))
			for round := range 2 {
				if round > 0 {
					if err := f.s.Delete(f.ctx, origin); err != nil {
						f.Error(err)
						return
					}
				}
				s := NewZone(f, origin, 1, w+1)
				rev, err := f.s.Commit(f.ctx, origin, journal.Commit{Next: s, Keep: All})
				for n := 0; n < steps && err == nil; n++ {
					var c zone.Changeset
					s, c = Change(f, s, s.Serial().Next(), AddText(origin, 0, fmt.Sprint(n)))
					rev, err = f.s.Commit(f.ctx, origin, journal.Commit{Base: rev, Next: s, Change: c, Keep: All})
				}
				if err != nil {
					f.Error(err)
					return
				}
				last[w] = journal.State{Revision: rev, Snapshot: s}
			}
		})
	}
	wg.Wait()
	if f.Failed() {
		return
	}
	for range 2 {
		for _, st := range last {
			f.expect(st)
			if all, err := f.history(st.Snapshot.Origin(), 1, st.Snapshot.Serial()); err != nil || len(all) != steps {
				f.Errorf("%d changesets, %v", len(all), err)
			}
		}
		f.reopen()
	}
}

// closeWhileCommitting loses nothing that was acknowledged.
func closeWhileCommitting(f *fixture) {
	const writers = 6
	last := make([]journal.State, writers)
	var wg, begun sync.WaitGroup
	begun.Add(writers)
	for w := range writers {
		wg.Go(func() {
			origin := dnsname.Name(fmt.Sprintf("\x03z%02d\x00", w))
			first := true
			started := func() {
				if first {
					begun.Done()
				}
				first = false
			}
			defer started()
			s := NewZone(f, origin, 1, 1)
			c := zone.Changeset{}
			for rev := journal.Revision(0); ; {
				next, err := f.s.Commit(f.ctx, origin, journal.Commit{Base: rev, Next: s, Change: c, Keep: All})
				if err != nil {
					if !errors.Is(err, journal.ErrClosed) {
						f.Error(err)
					}
					return
				}
				started()
				rev = next
				last[w] = journal.State{Revision: rev, Snapshot: s}
				s, c = Change(f, s, s.Serial().Next(), nil)
			}
		})
	}
	begun.Wait()
	if err := f.s.Close(); err != nil {
		f.Error(err)
	}
	wg.Wait()
	f.open()
	if !f.Forgets && !f.Failed() {
		for _, st := range last {
			f.expect(st)
		}
	}
}

func closed(f *fixture) {
	st := f.begin(Origin, 5)
	f.step(&st, 2, All)
	for range 2 {
		if err := f.s.Close(); err != nil {
			f.Error(err)
		}
	}
	next, c := Change(f, st.Snapshot, 3, nil)
	_, load := f.s.Load(f.ctx, Origin)
	_, commit := f.s.Commit(f.ctx, Origin, journal.Commit{Base: st.Revision, Next: next, Change: c})
	_, first := f.s.Commit(f.ctx, Origin, journal.Commit{Next: next})
	var changes, list error
	for _, changes = range f.s.Changes(f.ctx, Origin, 1, 2) {
	}
	for _, list = range f.s.List(f.ctx) {
	}
	for name, err := range map[string]error{
		"Load": load, "Commit": commit, "first Commit": first, "Changes": changes, "List": list, "Delete": f.s.Delete(f.ctx, Origin),
	} {
		if !errors.Is(err, journal.ErrClosed) {
			f.Errorf("%s: %v", name, err)
		}
	}
	f.expectSize(0)
	f.open()
}
