package signer_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

var start = time.Unix(1_800_000_000, 0)

// testKeys gives keys that are made once: those of one zone and algorithm.
var testKeys = func() func(testing.TB, dnsname.Name, signer.Algorithm) []*signer.Key {
	type id struct {
		zone dnsname.Name
		alg  signer.Algorithm
	}
	var mu sync.Mutex
	made := map[id][]*signer.Key{}
	return func(t testing.TB, zone dnsname.Name, alg signer.Algorithm) []*signer.Key {
		mu.Lock()
		defer mu.Unlock()
		keys, ok := made[id{zone.Fold(), alg}]
		if !ok {
			keys = make([]*signer.Key, 3)
			for i, role := range []signer.Role{signer.CSK, signer.KSK, signer.ZSK} {
				var err error
				if keys[i], err = signer.Generate(zone, alg, role); err != nil {
					t.Fatal(err)
				}
			}
			made[id{zone.Fold(), alg}] = keys
		}
		return keys
	}
}()

func inUse(keys ...*signer.Key) (uses []signer.Use) {
	for _, k := range keys {
		uses = append(uses, signer.Use{Key: k, Publish: true, Sign: true, Submit: k.Role() != signer.ZSK})
	}
	return uses
}

func newSigner(t testing.TB, origin dnsname.Name, policy signer.Policy, uses ...signer.Use) *signer.Signer {
	t.Helper()
	s, err := signer.New(origin, policy, uses)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// soa gives the RDATA of a SOA record.
func soa(origin dnsname.Name, serial, minimum uint32) string {
	b := []byte("\x02ns" + origin + "\x01h" + origin)
	for _, n := range []uint32{serial, 7200, 3600, 1209600, minimum} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return string(b)
}

// unsigned gives a small zone.
func unsigned(t testing.TB, origin dnsname.Name) *zone.Snapshot {
	t.Helper()
	b := zone.NewBuilder(origin)
	for _, r := range []struct {
		owner dnsname.Name
		typ   uint16
		rdata string
	}{
		{origin, rrset.TypeSOA, soa(origin, 1, 300)}, {origin, rrset.TypeNS, "\x02NS" + string(origin)}, {"\x02ns" + origin, rrset.TypeA, "\xc0\x00\x02\x01"},
	} {
		if err := b.Add(r.owner, r.typ, 3600, []byte(r.rdata)); err != nil {
			t.Fatal(err)
		}
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// version makes the next version of a zone by an edit, with a serial, signed.
func version(t testing.TB, s *signer.Signer, from *zone.Snapshot, now time.Time, due []dnsname.Name, edit func(*zone.Txn)) (*zone.Snapshot, zone.Changeset, signer.Result) {
	t.Helper()
	txn := from.Begin()
	point := txn.Savepoint()
	if edit != nil {
		edit(txn)
	}
	serial, _ := txn.Serial()
	if err := txn.SetSerial(serial.Next()); err != nil {
		t.Fatal(err)
	}
	result, err := s.Sign(txn, signer.Request{Since: point, Now: now, Due: due})
	if err != nil {
		t.Fatal(err)
	}
	next, change, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return next, change, result
}

// resigned gives the zone signed from nothing.
func resigned(t testing.TB, s *signer.Signer, from *zone.Snapshot, now time.Time) *zone.Snapshot {
	t.Helper()
	txn := from.Begin()
	if err := signer.Strip(txn); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(txn, signer.Request{Since: txn.Savepoint(), Now: now}); err != nil {
		t.Fatal(err)
	}
	next, _, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// editor makes random edits of a few names that get in each other's way.
type editor struct {
	*rand.Rand
	origin dnsname.Name
	// tame leaves out what signers and validators disagree about: zone cuts and DNAMEs
	// at wildcards, aliases beside other data, DS without NS.
	tame bool
}

func pick[T any](e *editor, list ...T) T { return list[e.IntN(len(list))] }

var editLabels = []string{"a", "b", "c", "*", "B", "x.y", "\x00", "\xc3", "-", "_tcp", "ns", strings.Repeat("l", 63)}

func (e *editor) name() dnsname.Name {
	n := e.origin
	for range pick(e, 0, 1, 1, 1, 2, 2, 2, 3, 4) {
		l := pick(e, editLabels[:6]...)
		if e.IntN(5) == 0 {
			l = pick(e, editLabels...)
		}
		if c, ok := dnsname.Join(string(byte(len(l)))+l, n); ok {
			n = c
		}
	}
	return n
}

var editTypes = []uint16{
	rrset.TypeA, rrset.TypeA, rrset.TypeTXT, rrset.TypeTXT, rrset.TypeNS, rrset.TypeNS, rrset.TypeDS, rrset.TypeDS, rrset.TypeDNAME, rrset.TypeCNAME,
	rrset.TypeMX, rrset.TypeSRV, 65280,
}

func (e *editor) rdata(typ uint16) string {
	switch typ {
	case rrset.TypeA:
		return "\xc0\x00\x02" + string(byte(e.IntN(4)))
	case rrset.TypeTXT:
		return pick(e, "\x01a", "\x01b", "\x01A")
	case rrset.TypeNS, rrset.TypeCNAME, rrset.TypeDNAME:
		return string(e.name())
	case rrset.TypeMX:
		return "\x00\x0a" + string(e.name())
	case rrset.TypeSRV:
		return "\x00\x00\x00\x00\x01\xbb" + string(e.name())
	case rrset.TypeDS:
		return "\x00\x01\x0f\x02" + strings.Repeat("d", 31) + string(byte(e.IntN(2)))
	default:
		return pick(e, "\x00", "\xff\xff")
	}
}

// edit makes one change.
func (e *editor) edit(t *zone.Txn) {
	n := e.name()
	if e.IntN(2) == 0 { // one that is there
		var owners []dnsname.Name
		for o := range t.View().Owners() {
			owners = append(owners, o)
		}
		n = pick(e, owners...)
	}
	apex := n.Equal(e.origin)
	typ := pick(e, editTypes...)
	switch e.IntN(12) {
	case 0:
		if !apex {
			t.RemoveName(n) // with RRSIG and NSEC
		}
	case 1:
		for _, s := range t.View().Sets(n) { // without them
			if !apex {
				t.RemoveSet(n, s.Type)
			}
		}
	case 2, 3, 4:
		for s := range t.Sets(n) {
			if e.IntN(2) == 0 && (!apex || s.Type != rrset.TypeSOA && s.Type != rrset.TypeNS) {
				t.RemoveSet(n, s.Type)
			}
		}
	case 5:
		for s := range t.Sets(n) {
			if s.Type != rrset.TypeSOA && s.Len() > 1 {
				t.Remove(n, s.Type, s.First())
			}
		}
	case 6:
		for s := range t.Sets(n) {
			if s.Type != rrset.TypeSOA && !s.IsEmpty() && e.IntN(3) == 0 {
				e.must(t.Replace(n, s.RRset.WithTTL(pick(e, uint32(0), 60, 3600))))
			}
		}
	case 7:
		if e.IntN(6) == 0 {
			old, _ := t.Get(e.origin, rrset.TypeSOA)
			serial, _ := t.Serial()
			e.must(t.Replace(e.origin, mustSet(rrset.TypeSOA, pick(e, old.TTL, 60, 3600), soa(e.origin, uint32(serial), pick(e, uint32(300), 7200)))))
		}
	default:
		if apex && (typ == rrset.TypeDNAME || typ == rrset.TypeCNAME || typ == rrset.TypeDS) && (e.tame || e.IntN(3) > 0) {
			return
		}
		if e.tame && !e.fits(t.View(), n, typ) {
			return
		}
		ttl := pick(e, uint32(0), 60, 3600)
		if s, ok := t.Get(n, typ); ok {
			ttl = s.TTL
		}
		e.must(t.Add(n, typ, ttl, e.rdata(typ)))
		if typ == rrset.TypeNS && !apex && e.IntN(2) == 0 {
			e.must(t.Add(n, rrset.TypeDS, 60, e.rdata(rrset.TypeDS)))
		}
	}
	if e.tame {
		e.mend(t)
	}
}

func (e *editor) must(_ bool, err error) {
	if err != nil {
		panic(err)
	}
}

// fits tells whether a zone stays tame with a record more.
func (e *editor) fits(v zone.View, n dnsname.Name, typ uint16) bool {
	has := func(typ uint16) bool { _, ok := v.Get(n, typ); return ok }
	own := slices.ContainsFunc(v.Sets(n), func(s zone.Set) bool { return s.Type != rrset.TypeNSEC && s.Type != rrset.TypeNSEC3 && !s.IsEmpty() })
	switch typ {
	case rrset.TypeNS, rrset.TypeDNAME:
		if n.IsWildcard() || has(rrset.TypeDNAME) || typ == rrset.TypeDNAME && has(rrset.TypeNS) {
			return false
		}
	case rrset.TypeDS:
		return v.IsCut(n) && !n.IsWildcard()
	case rrset.TypeCNAME:
		return !own
	}
	return !has(rrset.TypeCNAME)
}

// mend removes DS records without NS.
func (e *editor) mend(t *zone.Txn) {
	for n := range t.View().Owners() {
		if !t.View().IsCut(n) {
			t.RemoveSet(n, rrset.TypeDS)
		}
	}
}

var modes = []struct {
	name   string
	policy signer.Policy
}{
	{"NSEC", signer.Policy{}},
	{"NSEC3", signer.Policy{NSEC3: true}},
	{"opt-out", signer.Policy{NSEC3: true, OptOut: true}},
}

// TestRandomEdits is U10: after each of a thousand random transactions a zone is what
// signing it from nothing makes of it but for the signatures; an independent checker
// finds it signed as the RFCs say; and no signature is due that the queue did not know.
func TestRandomEdits(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20) {
				origin := []dnsname.Name{"\x07example\x00", "\x02Ex\x05aMple\x00", dnsname.Root, "\x01*\x01a\x00"}[seed%4]
				k := testKeys(t, origin, signer.ED25519)
				uses := inUse(k[0])
				if seed%3 == 1 {
					uses = inUse(k[1], k[2])
				}
				s := newSigner(t, origin, mode.policy, uses...)
				simulate(t, seed, origin, 50, func(*editor) (*signer.Signer, *judge) {
					j := &judge{nsec3: mode.policy.NSEC3, optOut: mode.policy.OptOut}
					for _, u := range uses {
						if u.Role() != signer.ZSK {
							j.keys = append(j.keys, u.Key)
						}
						if u.Role() != signer.KSK {
							j.data = append(j.data, u.Key)
						}
					}
					return s, j
				})
			}
		})
	}
}

// simulate makes transactions, each signed by what choose gives.
func simulate(t *testing.T, seed uint64, origin dnsname.Name, transactions int, choose func(*editor) (*signer.Signer, *judge)) {
	t.Helper()
	e := &editor{rand.New(rand.NewPCG(seed, 4035)), origin, false}
	known := map[string]bool{}
	now := start
	snap := unsigned(t, origin)
	s, _ := choose(e)
	snap, _, _ = version(t, s, snap, now, nil, nil)
	queue := s.Queue(snap, now)
	for i := range transactions {
		now = now.Add(time.Duration(e.IntN(48)) * time.Hour)
		var j *judge
		s, j = choose(e)
		due := queue.Due(snap, now, 10_000)
		edits := e.IntN(5)
		next, change, result := version(t, s, snap, now, due, func(txn *zone.Txn) {
			for range edits {
				point := txn.Savepoint()
				e.edit(txn)
				if e.IntN(10) == 0 {
					txn.Rollback(point)
				}
			}
		})
		queue.Update(next, &change, now)
		if !s.Signed(next.View()) {
			t.Fatalf("seed %d, transaction %d: not signed as wanted", seed, i)
		}
		if got, want := transferred(snap, change), dump(next, true); got != want {
			t.Fatalf("seed %d, transaction %d: a secondary has\n%s\nwant\n%s", seed, i, got, want)
		}
		j.now, j.known = now.Unix(), known
		if wrong := j.check(next); len(wrong) > 0 {
			t.Fatalf("seed %d, transaction %d (%+v):\n%s\nbefore\n%sin\n%s", seed, i, result, strings.Join(wrong, "\n"), dump(snap, false), dump(next, true))
		}
		if len(j.extra) == 0 {
			if got, want := dump(next, true), dump(resigned(t, s, next, now), true); got != want {
				t.Fatalf("seed %d, transaction %d (%+v):\n%s\nsigned from nothing it is\n%s", seed, i, result, got, want)
			}
		}
		if due := queue.Due(next, now, 1); len(due) > 0 {
			t.Fatalf("seed %d, transaction %d: still due: %s", seed, i, due)
		}
		if due, ok := queue.Next(next, now); !ok || !due.After(now) {
			t.Fatalf("seed %d: next is due at %s", seed, due)
		}
		var earliest int64
		for set := range next.All() {
			for r := range set.Sigs.All() {
				if at := int64(binary.BigEndian.Uint32([]byte(r[8:]))); earliest == 0 || at < earliest {
					earliest = at
				}
			}
		}
		if due, _ := queue.Next(next, now); due.Unix() != earliest-5*24*3600 {
			t.Fatalf("seed %d: next is due at %s, but a signature expires at %s", seed, due, time.Unix(earliest, 0))
		}
		snap = next
	}
}

// transferred gives the zone of a secondary that had one version and got a change: U9.
func transferred(from *zone.Snapshot, change zone.Changeset) string {
	txn := from.Begin()
	for i, sets := range [][]zone.Set{change.Removed, change.Added} {
		for _, set := range sets {
			for _, part := range []rrset.RRset{set.RRset, set.Sigs} {
				for r := range part.All() {
					if i == 0 {
						txn.Remove(set.Owner, part.Type, r)
					} else if _, err := txn.Add(set.Owner, part.Type, part.TTL, r); err != nil {
						panic(err)
					}
				}
			}
		}
	}
	next, _, err := txn.Commit()
	if err != nil {
		return err.Error()
	}
	return dump(next, true)
}

// TestRandomPolicies changes keys and the chain between random edits.
func TestRandomPolicies(t *testing.T) {
	for seed := range uint64(6) {
		origin := dnsname.MustParse("example.")
		a, b := testKeys(t, origin, signer.ED25519), testKeys(t, origin, signer.ECDSAP256SHA256)
		type choice struct {
			s *signer.Signer
			j judge
		}
		var choices []choice
		for _, mode := range modes {
			for _, keys := range [][]*signer.Key{{a[0]}, {b[0]}, {a[1], a[2]}, {a[0], b[0]}} {
				c := choice{newSigner(t, origin, mode.policy, inUse(keys...)...), judge{nsec3: mode.policy.NSEC3, optOut: mode.policy.OptOut}}
				for _, k := range keys {
					if k.Role() != signer.ZSK {
						c.j.keys = append(c.j.keys, k)
					}
					if k.Role() != signer.KSK {
						c.j.data = append(c.j.data, k)
					}
				}
				choices = append(choices, c)
			}
		}
		at := 0
		simulate(t, seed, origin, 40, func(e *editor) (*signer.Signer, *judge) {
			if e.IntN(3) == 0 {
				at = e.IntN(len(choices))
			}
			return choices[at].s, &choices[at].j
		})
	}
}

// A zone is signed when it has a key, and signed again as it is edited.
func ExampleSigner_Sign() {
	origin := dnsname.MustParse("example.")
	b := zone.NewBuilder(origin)
	for typ, rdata := range map[uint16]string{rrset.TypeSOA: soa(origin, 1, 300), rrset.TypeNS: "\x02ns\x07example\x00"} {
		if err := b.Add(origin, typ, 3600, []byte(rdata)); err != nil {
			panic(err)
		}
	}
	first, _, err := b.Snapshot()
	if err != nil {
		panic(err)
	}
	key, err := signer.Generate(origin, signer.ECDSAP256SHA256, signer.CSK)
	if err != nil {
		panic(err)
	}
	s, err := signer.New(origin, signer.Policy{}, []signer.Use{{Key: key, Publish: true, Sign: true}})
	if err != nil {
		panic(err)
	}
	txn := first.Begin()
	result, err := s.Sign(txn, signer.Request{Since: txn.Savepoint(), Now: time.Unix(1_800_000_000, 0)})
	if err != nil {
		panic(err)
	}
	fmt.Println(result.Signatures, "signatures: SOA, NS, DNSKEY, NSEC")

	point := txn.Savepoint()
	if _, err := txn.Add("\x03www"+origin, rrset.TypeA, 60, "\xc0\x00\x02\x01"); err != nil {
		panic(err)
	}
	if err := txn.SetSerial(2); err != nil {
		panic(err)
	}
	if result, err = s.Sign(txn, signer.Request{Since: point, Now: time.Unix(1_800_003_600, 0)}); err != nil {
		panic(err)
	}
	fmt.Println(result.Signatures, "signatures: SOA, A, the new NSEC, the one before")
	// Output:
	// 4 signatures: SOA, NS, DNSKEY, NSEC
	// 4 signatures: SOA, A, the new NSEC, the one before
}
