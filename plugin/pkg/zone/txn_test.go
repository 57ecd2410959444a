package zone_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// clone gives a copy that shares nothing that changes.
func (m *naive) clone() *naive {
	c := newNaive(m.origin)
	for from, to := range map[*map[dnsname.Name]*naiveOwner]map[dnsname.Name]*naiveOwner{&m.owners: c.owners, &m.hashes: c.hashes} {
		for n, o := range *from {
			sets := map[uint16]*naiveRRset{}
			for typ, s := range o.sets {
				sets[typ] = &naiveRRset{s.ttl, slices.Clone(s.rdata), s.sigTTL, slices.Clone(s.sigs)}
			}
			to[n] = &naiveOwner{o.name, sets}
		}
	}
	return c
}

// list gives the part of a set that a record belongs to: the RRset or the RRSIGs.
func (m *naive) list(owner dnsname.Name, typ uint16, rdata string) (ttl *uint32, list *[]string) {
	set, sig := m.make(owner, typ, rdata)
	if sig {
		return &set.sigTTL, &set.sigs
	}
	return &set.ttl, &set.rdata
}

// tidy drops what is empty.
func (m *naive) tidy() {
	for _, part := range []map[dnsname.Name]*naiveOwner{m.owners, m.hashes} {
		for _, o := range part {
			for _, s := range o.sets {
				if len(s.rdata) == 0 {
					s.ttl = 0
				}
			}
		}
		maps.DeleteFunc(part, func(_ dnsname.Name, o *naiveOwner) bool {
			maps.DeleteFunc(o.sets, func(_ uint16, s *naiveRRset) bool { return len(s.rdata)+len(s.sigs) == 0 })
			return len(o.sets) == 0
		})
	}
}

// add is RFC 2136 §3.4.2.2 without its rules for single types: the TTL of the
// last record is that of the RRset.
func (m *naive) add(r record) (changed bool) {
	ttl, list := m.list(r.owner, r.typ, r.rdata)
	if holds(r.typ, *list, r.rdata) {
		changed = *ttl != r.ttl
	} else {
		*list = append(*list, r.rdata)
		changed = true
	}
	*ttl = r.ttl
	return changed
}

func (m *naive) remove(r record) (changed bool) {
	_, list := m.list(r.owner, r.typ, r.rdata)
	before := len(*list)
	*list = slices.DeleteFunc(*list, func(have string) bool { return holds(r.typ, []string{have}, r.rdata) })
	return len(*list) != before
}

func (m *naive) removeSet(owner dnsname.Name, typ uint16) (changed bool) {
	for _, part := range []map[dnsname.Name]*naiveOwner{m.owners, m.hashes} {
		o := part[owner.Fold()]
		if o == nil {
			continue
		}
		for of, s := range o.sets {
			switch {
			case typ == rrset.TypeRRSIG && len(s.sigs) > 0:
				s.sigs, changed = nil, true
			case of == typ && len(s.rdata) > 0:
				s.rdata, changed = nil, true
			}
		}
	}
	return changed
}

func (m *naive) removeName(owner dnsname.Name) (changed bool) {
	for _, part := range []map[dnsname.Name]*naiveOwner{m.owners, m.hashes} {
		if part[owner.Fold()] != nil {
			changed = true
			delete(part, owner.Fold())
		}
	}
	return changed
}

// replace puts records of one type, all with one TTL and, if they are RRSIGs,
// covering one type, into the place of those there are.
func (m *naive) replace(owner dnsname.Name, typ uint16, ttl uint32, rdata []string) (changed bool) {
	if len(rdata) == 0 {
		return m.removeSet(owner, typ)
	}
	at, list := m.list(owner, typ, rdata[0])
	changed = *at != ttl || !slices.Equal(slices.Sorted(slices.Values(*list)), slices.Sorted(slices.Values(rdata)))
	if changed { // the order of records is no change
		*at, *list = ttl, rdata
	}
	return changed
}

// counts gives the numbers of owners and of records.
func (m *naive) counts() (owners, records int) {
	return len(m.owners) + len(m.hashes), len(m.records())
}

// flat gives the records as a set, without regard to the letter case of owners.
func flat(records []record) map[record]bool {
	all := map[record]bool{}
	for _, r := range records {
		r.owner = r.owner.Fold()
		all[r] = true
	}
	return all
}

func recordsOf(sets []zone.Set) (list []record) {
	for _, s := range sets {
		for r := range s.All() {
			list = append(list, record{s.Owner, s.Type, s.TTL, r})
		}
		for r := range s.Sigs.All() {
			list = append(list, record{s.Owner, rrset.TypeRRSIG, s.Sigs.TTL, r})
		}
	}
	return list
}

// dumpAll writes a whole zone down.
func dumpAll(sets []zone.Set) string {
	var b strings.Builder
	for _, s := range sets {
		fmt.Fprintln(&b, dumpSet(s))
	}
	return b.String()
}

// simulation is a zone on its way through random transactions, and its model.
type simulation struct {
	*generator
	t        *testing.T
	versions []version
	a, b     zone.Answer
}

type version struct {
	snapshot *zone.Snapshot
	model    *naive
	text     string // of the whole zone when it was new
}

var txnTypes = append([]uint16{rrset.TypeRRSIG, rrset.TypeRRSIG, rrset.TypeNSEC3, rrset.TypeNSEC, rrset.TypeNSEC3PARAM, rrset.TypeSOA}, genTypes...)

// newSimulation starts from a small zone.
func newSimulation(t *testing.T, c choices) *simulation {
	sim := &simulation{generator: newGenerator(c), t: t}
	m := sim.zone(20)
	for range 20 {
		sim.name()
	}
	for range 3 { // owners of NSEC3 RRs, which may have other records as well
		sim.names = append(sim.names, "\x20"+dnsname.Name(strings.Repeat(oneOf(c, "0", "v", "a"), 32))+sim.origin)
	}
	sim.names = append(sim.names, "\x01x\x03net\x00")
	sim.closed = true
	sim.enter(m.build(t), m)
	return sim
}

func (sim *simulation) enter(s *zone.Snapshot, m *naive) {
	sim.versions = append(sim.versions, version{s, m, dumpAll(slices.Collect(s.All()))})
}

func (sim *simulation) record() record {
	r := record{owner: sim.name(), typ: oneOf(sim, txnTypes...), ttl: uint32(oneOf(sim, 3600, 60, 0))}
	switch r.typ {
	case rrset.TypeRRSIG:
		r.rdata = "\x00" + string(byte(oneOf(sim, rrset.TypeA, rrset.TypeNS, rrset.TypeNSEC3, rrset.TypeTXT, rrset.TypeRRSIG))) +
			strings.Repeat("s", 16) + string(sim.origin) + oneOf(sim, "1", "2")
	case rrset.TypeNSEC3:
		r.rdata = "\x01\x00\x00\x00\x00\x14" + strings.Repeat(oneOf(sim, "a", "b"), 20) + "\x00\x01\x40"
	case rrset.TypeNSEC3PARAM:
		r.rdata = oneOf(sim, "\x01\x00\x00\x00\x00", "\x01\x01\x00\x00\x00", "\x01\x00\x00\x05\x02ab", "\x02\x00\x00\x00\x00", "\x01\x00\x01\x00\x00")
	case rrset.TypeNSEC:
		r.rdata = string(sim.target()) + "\x00\x01\x40"
	case rrset.TypeSOA:
		if sim.below(4) == 0 {
			r.owner = sim.origin
		}
		r.rdata = sim.soa(uint32(sim.below(256))).rdata
	default:
		r.rdata = sim.rdata(r.typ)
	}
	return r
}

// existing gives a record of the model, now and then in another letter case.
func (sim *simulation) existing(m *naive) record {
	all := m.records()
	if len(all) == 0 {
		return sim.record()
	}
	slices.SortFunc(all, func(a, b record) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	r := all[sim.below(len(all))]
	r.owner = sim.mix(r.owner)
	return r
}

// refusal tells which error a record must give, or nil.
func (m *naive) refusal(r record) error {
	nsec3 := r.typ == rrset.TypeNSEC3 || r.typ == rrset.TypeRRSIG && rrset.Covered(r.rdata) == rrset.TypeNSEC3
	switch labels := r.owner.Labels() - m.origin.Labels(); {
	case !r.owner.IsBelow(m.origin):
		return zone.ErrOutOfZone
	case r.typ == rrset.TypeSOA && labels > 0:
		return zone.ErrSOAPlace
	case nsec3 && labels != 1:
		return zone.ErrNSEC3
	}
	return nil
}

// fate tells which error the commit of a zone must give, or nil.
func (m *naive) fate() error {
	soa := m.get(m.origin, rrset.TypeSOA)
	switch soa.Len() {
	case 0:
		return zone.ErrNoSOA
	case 1:
	default:
		return zone.ErrManySOA
	}
	if len(m.hashes) > 0 {
		for p := range m.get(m.origin, rrset.TypeNSEC3PARAM).All() {
			if p[0] == 1 && p[1] == 0 {
				if int(p[2])<<8+int(p[3]) > zone.MaxIterations {
					return zone.ErrIterations
				}
				break
			}
		}
	}
	return nil
}

// transaction runs one transaction on some version, mostly the last.
func (sim *simulation) transaction() {
	t := sim.t
	base := sim.versions[len(sim.versions)-1]
	if sim.below(5) == 4 {
		base = sim.versions[sim.below(len(sim.versions))]
	}
	m, txn := base.model.clone(), base.snapshot.Begin()
	type mark struct {
		point zone.Savepoint
		model *naive
	}
	var marks []mark
	for range 1 + sim.below(12) {
		op, want, got := "", false, false
		var err, wantErr error
		switch sim.below(16) {
		case 0, 1, 2, 3, 4, 5, 6:
			r := sim.record()
			op = fmt.Sprintf("add %v", r)
			if wantErr = m.refusal(r); wantErr == nil {
				want = m.add(r)
			}
			got, err = txn.Add(r.owner, r.typ, r.ttl, r.rdata)
		case 7, 8:
			r := sim.existing(m)
			op = fmt.Sprintf("remove %v", r)
			if r.typ != rrset.TypeSOA || sim.below(10) == 9 {
				got, want = txn.Remove(r.owner, r.typ, r.rdata), m.remove(r)
			}
		case 9:
			r := sim.record()
			op = fmt.Sprintf("remove %v", r)
			if m.refusal(r) == nil {
				want = m.remove(r)
			}
			got = txn.Remove(r.owner, r.typ, r.rdata)
		case 10:
			r := sim.existing(m)
			op = fmt.Sprintf("remove set %s TYPE%d", r.owner, r.typ)
			if r.typ != rrset.TypeSOA {
				got, want = txn.RemoveSet(r.owner, r.typ), m.removeSet(r.owner, r.typ)
			}
		case 11:
			r := sim.existing(m)
			op = fmt.Sprintf("remove name %s", r.owner)
			if !r.owner.Equal(sim.origin) || sim.below(10) == 9 {
				got, want = txn.RemoveName(r.owner), m.removeName(r.owner)
			}
		case 12, 13:
			r := sim.record()
			var rdata []string
			for range sim.below(4) {
				if next := sim.rdata(r.typ); r.typ < 46 && r.typ != rrset.TypeSOA && !holds(r.typ, rdata, next) {
					rdata = append(rdata, next)
				}
			}
			if len(rdata) == 0 && sim.below(2) == 1 {
				rdata = []string{r.rdata}
			}
			op = fmt.Sprintf("replace %v by %q", r, rdata)
			wantErr = m.refusal(r)
			if len(rdata) == 0 && !errors.Is(wantErr, zone.ErrOutOfZone) {
				wantErr = nil
			}
			if wantErr == nil {
				want = m.replace(r.owner, r.typ, r.ttl, rdata)
			}
			set, newErr := rrset.New(r.typ, r.ttl, rdata...)
			if newErr != nil {
				t.Fatal(newErr)
			}
			got, err = txn.Replace(r.owner, set)
		case 14:
			marks = append(marks, mark{txn.Savepoint(), m.clone()})
		case 15:
			if len(marks) > 0 {
				back := marks[sim.below(len(marks))]
				txn.Rollback(back.point)
				m = back.model.clone()
			}
		}
		m.tidy()
		if got != want || !errors.Is(err, wantErr) || err != nil && wantErr == nil {
			t.Fatalf("%s: changed %v, %v; want %v, %v; in\n%s", op, got, err, want, wantErr, m)
		}
		sim.reads(txn, m)
	}
	changed, records := txn.Changed(), txn.Records()
	serial, ok := txn.Serial()
	next, changes, err := txn.Commit()
	if err == nil && (changed == changes.IsEmpty() || records != next.Records() || !ok || serial != next.Serial()) {
		t.Fatalf("before the commit: changed %v, %d records, serial %d, %v; of\n%s", changed, records, serial, ok, dumpChanges(changes))
	}
	if wantErr := m.fate(); wantErr != nil {
		if !errors.Is(err, wantErr) {
			t.Fatalf("commit: %v, want %v, of\n%s", err, wantErr, m)
		}
		return
	}
	if err != nil {
		t.Fatalf("commit: %v, of\n%s", err, m)
	}
	sim.enter(next, m)
	sim.check(base, next, m, changes)
}

// reads checks that a transaction sees its own changes.
func (sim *simulation) reads(txn *zone.Txn, m *naive) {
	n := sim.name()
	var got []zone.Set
	for s := range txn.Sets(n) {
		got = append(got, s)
	}
	var want []zone.Set
	types := map[uint16]*naiveRRset{}
	for _, part := range []map[dnsname.Name]*naiveOwner{m.owners, m.hashes} {
		if o := part[n.Fold()]; o != nil {
			maps.Copy(types, o.sets)
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(types)) {
		want = append(want, types[typ].set(n, typ))
	}
	if dumpAll(got) != dumpAll(want) {
		sim.t.Fatalf("sets of %s:\n%swant\n%s", n, dumpAll(got), dumpAll(want))
	}
	typ := oneOf(sim, genTypes...)
	s, ok := txn.Get(n, typ)
	var set zone.Set
	if types[typ] != nil {
		set = types[typ].set(n, typ)
	}
	if ok != !set.IsEmpty() || ok && dumpSet(s) != dumpSet(set) {
		sim.t.Fatalf("get %s TYPE%d: %s, %v; want %s", n, typ, dumpSet(s), ok, dumpSet(set))
	}
}

// check compares a version with one made from scratch, and with the version
// that it was made from.
func (sim *simulation) check(base version, next *zone.Snapshot, m *naive, changes zone.Changeset) {
	t := sim.t
	scratch := m.build(t)
	all, want := slices.Collect(next.All()), slices.Collect(scratch.All())
	if dumpAll(all) != dumpAll(want) {
		t.Fatalf("committed\n%swant\n%s", dumpAll(all), dumpAll(want))
	}
	if !maps.Equal(flat(recordsOf(all)), flat(m.records())) {
		t.Fatalf("committed\n%swant\n%s", dumpAll(all), m)
	}
	if names, records := m.counts(); next.Names() != names || next.Records() != records || scratch.Names() != names || scratch.Records() != records {
		t.Fatalf("%d names and %d records, from scratch %d and %d, want %d and %d", next.Names(), next.Records(), scratch.Names(), scratch.Records(), names, records)
	}
	if next.Serial() != scratch.Serial() || dumpSet(next.SOA()) != dumpSet(scratch.SOA()) || dumpSet(next.SOA()) != dumpSet(all[0]) {
		t.Fatalf("serial %d, %s; from scratch %d, %s", next.Serial(), dumpSet(next.SOA()), scratch.Serial(), dumpSet(scratch.SOA()))
	}
	for range 5 {
		q := sim.query()
		next.Lookup(&q, &sim.a)
		scratch.Lookup(&q, &sim.b)
		if got, want := dump(&sim.a, true), dump(&sim.b, true); got != want {
			t.Fatalf("%v in\n%sgot\n%swant\n%s", q, m, got, want)
		}
		if !q.DO {
			sameAnswer(t, m, q, &sim.a)
		}
	}
	sim.checkChanges(base, next, changes)
	if full := zone.Difference(base.snapshot, next); dumpChanges(full) != dumpChanges(changes) {
		t.Fatalf("changes\n%sDifference\n%s", dumpChanges(changes), dumpChanges(full))
	}
	back := zone.Difference(next, base.snapshot)
	if back.From != changes.To || back.To != changes.From || !maps.Equal(flat(recordsOf(back.Added)), flat(recordsOf(changes.Removed))) ||
		!maps.Equal(flat(recordsOf(back.Removed)), flat(recordsOf(changes.Added))) {
		t.Fatalf("changes\n%sback\n%s", dumpChanges(changes), dumpChanges(back))
	}
}

func dumpChanges(c zone.Changeset) string {
	return fmt.Sprintf("%d to %d\nremoved\n%sadded\n%s", c.From, c.To, dumpAll(c.Removed), dumpAll(c.Added))
}

// checkChanges applies the changeset to the records of the base.
func (sim *simulation) checkChanges(base version, next *zone.Snapshot, changes zone.Changeset) {
	t := sim.t
	records := flat(base.model.records())
	for _, r := range recordsOf(changes.Removed) {
		r.owner = r.owner.Fold()
		if !records[r] {
			t.Fatalf("%v is removed and was not there:\n%s", r, dumpChanges(changes))
		}
		delete(records, r)
	}
	for _, r := range recordsOf(changes.Added) {
		r.owner = r.owner.Fold()
		if records[r] {
			t.Fatalf("%v is added and was there:\n%s", r, dumpChanges(changes))
		}
		records[r] = true
	}
	if want := flat(recordsOf(slices.Collect(next.All()))); !maps.Equal(records, want) {
		t.Fatalf("%s applied gives %v, want %v", dumpChanges(changes), records, want)
	}
	if changes.From != base.snapshot.Serial() || changes.To != next.Serial() {
		t.Fatalf("from %d to %d, want from %d to %d", changes.From, changes.To, base.snapshot.Serial(), next.Serial())
	}
	if changes.IsEmpty() != maps.Equal(flat(base.model.records()), records) {
		t.Fatalf("empty: %v\n%s", changes.IsEmpty(), dumpChanges(changes))
	}
	for _, list := range [][]zone.Set{changes.Removed, changes.Added} {
		sorted := slices.IsSortedFunc(list[min(len(list), 1):], func(a, b zone.Set) int { return compare(a.Owner, b.Owner) })
		soa := slices.IndexFunc(list, func(s zone.Set) bool { return s.Type == rrset.TypeSOA })
		if !sorted || soa > 0 {
			t.Fatalf("order of\n%s", dumpAll(list))
		}
	}
}

// TestTxnModel runs 10,000 random transactions and compares every version with
// one made from scratch. At the end all versions are still what they were.
func TestTxnModel(t *testing.T) {
	const zones, transactions = 40, 250
	for i := range zones {
		t.Run(fmt.Sprintf("seed %d", i), func(t *testing.T) {
			t.Parallel()
			sim := newSimulation(t, seedChoices{rand.New(rand.NewPCG(uint64(i), 2136))})
			for range transactions {
				sim.transaction()
			}
			if len(sim.versions) < transactions/2 {
				t.Errorf("only %d transactions made a zone", len(sim.versions))
			}
			for i, v := range sim.versions {
				if now := dumpAll(slices.Collect(v.snapshot.All())); now != v.text {
					t.Fatalf("version %d was\n%sand is\n%s", i, v.text, now)
				}
			}
		})
	}
}

// TestTxnRRSIG checks that RRSIGs stay with the type that they cover.
func TestTxnRRSIG(t *testing.T) {
	www := "\x03www" + origin
	sig := func(covered uint16, signature string) string {
		return string([]byte{byte(covered >> 8), byte(covered)}) + strings.Repeat("s", 16) + string(origin) + signature
	}
	soa := soaRecord(1)
	base, _ := build(t, origin, []record{
		soa,
		{www, rrset.TypeA, 60, "abcd"},
		{www, rrset.TypeRRSIG, 60, sig(rrset.TypeA, "1")},
		{www, rrset.TypeRRSIG, 60, sig(rrset.TypeTXT, "1")},
	})
	set := func(rdata ...string) rrset.RRset {
		s, err := rrset.New(rrset.TypeRRSIG, 60, rdata...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, tc := range []struct {
		name string
		do   func(*zone.Txn) (bool, error)
		want string // the types and their RRSIGs afterwards
		err  error
	}{
		{"nothing", func(*zone.Txn) (bool, error) { return true, nil }, "A 1 sigs 1, TXT 0 sigs 1", nil},
		{"replace those over one type", func(x *zone.Txn) (bool, error) {
			return x.Replace(www, set(sig(rrset.TypeA, "2"), sig(rrset.TypeA, "3")))
		}, "A 1 sigs 2, TXT 0 sigs 1", nil},
		{"replace by those over two types", func(x *zone.Txn) (bool, error) {
			return x.Replace(www, set(sig(rrset.TypeA, "2"), sig(rrset.TypeTXT, "2")))
		}, "A 1 sigs 1, TXT 0 sigs 1", zone.ErrCovers},
		{"replace by none", func(x *zone.Txn) (bool, error) { return x.Replace(www, set()) }, "A 1 sigs 0", nil},
		{"remove the set", func(x *zone.Txn) (bool, error) { return x.RemoveSet(www, rrset.TypeRRSIG), nil }, "A 1 sigs 0", nil},
		{"remove one", func(x *zone.Txn) (bool, error) {
			return x.Remove(www, rrset.TypeRRSIG, sig(rrset.TypeTXT, "1")), nil
		}, "A 1 sigs 1", nil},
		{"remove what they cover", func(x *zone.Txn) (bool, error) { return x.RemoveSet(www, rrset.TypeA), nil }, "A 0 sigs 1, TXT 0 sigs 1", nil},
		{"remove the name", func(x *zone.Txn) (bool, error) { return x.RemoveName(www), nil }, "", nil},
		{"add one over a type that is there", func(x *zone.Txn) (bool, error) {
			return x.Add(www, rrset.TypeRRSIG, 60, sig(rrset.TypeA, "2"))
		}, "A 1 sigs 2, TXT 0 sigs 1", nil},
		{"add what orphans cover", func(x *zone.Txn) (bool, error) { return x.Add(www, rrset.TypeTXT, 60, "\x01a") }, "A 1 sigs 1, TXT 1 sigs 1", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			txn := base.Begin()
			changed, err := tc.do(txn)
			if !errors.Is(err, tc.err) || changed != (tc.err == nil) {
				t.Fatalf("%v, %v; want %v", changed, err, tc.err)
			}
			var got []string
			for s := range txn.Sets(www) {
				got = append(got, fmt.Sprintf("%s %d sigs %d", typeName(s.Type), s.Len(), s.Sigs.Len()))
			}
			if text := strings.Join(got, ", "); text != tc.want {
				t.Errorf("%s, want %s", text, tc.want)
			}
		})
	}
}

// TestTxnLetterCase checks whose letter case an owner has.
func TestTxnLetterCase(t *testing.T) {
	base, _ := build(t, origin, []record{soaRecord(1), {"\x03WwW" + origin, rrset.TypeA, 60, "abcd"}})
	owner := func(s *zone.Snapshot) (owner dnsname.Name) {
		for set := range s.All() {
			if set.Type != rrset.TypeSOA {
				owner = set.Owner
			}
		}
		return owner
	}
	add := func(x *zone.Txn) {
		_, err := x.Add("\x03wWw"+origin, rrset.TypeA, 60, "efgh")
		must(t, err == nil)
	}
	for _, tc := range []struct {
		name string
		do   func(*zone.Txn)
		want dnsname.Name
	}{
		{"that of the first record", add, "\x03WwW" + origin},
		{"that of a record since the name was gone", func(x *zone.Txn) {
			must(t, x.RemoveName("\x03www"+origin))
			add(x)
		}, "\x03wWw" + origin},
		{"still there when the first record goes", func(x *zone.Txn) {
			add(x)
			must(t, x.Remove("\x03www"+origin, rrset.TypeA, "abcd"))
		}, "\x03WwW" + origin},
	} {
		t.Run(tc.name, func(t *testing.T) {
			txn := base.Begin()
			tc.do(txn)
			s, _, err := txn.Commit()
			if err != nil || owner(s) != tc.want {
				t.Errorf("%s, %v; want %s", owner(s), err, tc.want)
			}
		})
	}
}

func TestTxnSetSerial(t *testing.T) {
	s, _ := build(t, origin, []record{soaRecord(7)})
	txn := s.Begin()
	if err := txn.SetSerial(4294967295); err != nil {
		t.Fatal(err)
	}
	next, changes, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if next.Serial() != 4294967295 || changes.To != next.Serial() || len(changes.Added) != 1 || len(changes.Removed) != 1 {
		t.Errorf("serial %d, %s", next.Serial(), dumpChanges(changes))
	}
	if want, _ := build(t, origin, []record{soaRecord(4294967295)}); dumpSet(next.SOA()) != dumpSet(want.SOA()) {
		t.Errorf("got %s, want %s", dumpSet(next.SOA()), dumpSet(want.SOA()))
	}
	txn = s.Begin()
	txn.RemoveSet(s.Origin(), rrset.TypeSOA)
	if err := txn.SetSerial(8); !errors.Is(err, zone.ErrNoSOA) {
		t.Errorf("without SOA: %v", err)
	}
}
