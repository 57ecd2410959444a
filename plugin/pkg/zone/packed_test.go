package zone_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// packed is a stored form: what a store of keys and values would hold.
type packed map[string]string

func newPacked(s *zone.Snapshot) packed {
	p := packed{}
	for k, v := range s.Packed() {
		p[string(k)] = v
	}
	return p
}

// follow does what a store does in a step.
func (p packed) follow(s *zone.Snapshot, c *zone.Changeset) {
	for k, v := range s.PackedOwners(c) {
		if v == "" {
			delete(p, string(k))
		} else {
			p[string(k)] = v
		}
	}
}

func (p packed) all() iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		var key, value []byte // what Restore keeps must be copies
		for _, k := range slices.Sorted(maps.Keys(p)) {
			key, value = append(key[:0], k...), append(value[:0], p[k]...)
			if !yield(key, value) {
				return
			}
		}
		clear(key)
		clear(value)
	}
}

// TestRestore takes a zone through random transactions. What a store holds of
// each version, in full or followed step by step, gives that version.
func TestRestore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sim := newSimulation(t, rapidChoices(rt))
		step := newPacked(sim.versions[0].snapshot)
		for range 4 {
			sim.transaction()
			last := sim.versions[len(sim.versions)-1]
			before := sim.versions[max(0, len(sim.versions)-2)]
			if len(sim.versions) > 1 {
				c := zone.Difference(before.snapshot, last.snapshot)
				step.follow(last.snapshot, &c)
			}
			full := newPacked(last.snapshot)
			if len(full) != last.snapshot.Names() {
				rt.Fatalf("%d owners packed, want %d", len(full), last.snapshot.Names())
			}
			for _, p := range []packed{full, step} {
				got, err := zone.Restore(last.snapshot.Origin(), p.all())
				if err != nil {
					rt.Fatal(err)
				}
				if d := zone.Difference(last.snapshot, got); !d.IsEmpty() || got.Records() != last.snapshot.Records() || got.Names() != last.snapshot.Names() {
					rt.Fatalf("%d records of %d names, want %d of %d: %v", got.Records(), got.Names(), last.snapshot.Records(), last.snapshot.Names(), d)
				}
				for range 10 {
					q := sim.query()
					got.Lookup(&q, &sim.a)
					if !q.DO {
						sameAnswer(t, last.model, q, &sim.a)
					}
				}
			}
			got, err := zone.Restore(last.snapshot.Origin(), full.all())
			if err != nil {
				rt.Fatal(err)
			}
			if text := dumpAll(slices.Collect(got.All())); text != last.text {
				rt.Fatalf("restored\n%swant\n%s", text, last.text)
			}
		}
	})
}

// TestRestoreSigned has proofs come out of restored zones.
func TestRestoreSigned(t *testing.T) {
	for _, name := range []string{"nsec.example.", "nsec3.example.", "optout.example."} {
		origin := dnsname.MustParse(name)
		s, _ := load(t, origin, name+"zone")
		got, err := zone.Restore(origin, newPacked(s).all())
		if err != nil {
			t.Fatal(err)
		}
		for _, below := range []dnsname.Name{"\x04nope", "\x03www", "\x01q\x01w", "\x01h\x08insecure", ""} {
			for _, typ := range []uint16{rrset.TypeA, rrset.TypeTXT, rrset.TypeDS} {
				var a, b zone.Answer
				q := zone.Query{Name: below + origin, Type: typ, DO: true}
				s.Lookup(&q, &a)
				got.Lookup(&q, &b)
				if x, y := dump(&a, true), dump(&b, true); x != y {
					t.Errorf("%s TYPE%d restored\n%swant\n%s", q.Name, typ, y, x)
				}
			}
		}
	}
}

// entry packs records of one type; flag is 1<<31 for RRSIGs.
func entry(typ uint16, flag uint32, rdata ...string) string {
	b := binary.LittleEndian.AppendUint16(nil, typ)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(rdata)))
	b = binary.LittleEndian.AppendUint32(b, 3600)
	var all strings.Builder
	for _, r := range rdata {
		all.WriteString(string([]byte{byte(len(r) >> 8), byte(len(r))}) + r)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(all.Len())|flag)
	return string(b) + all.String()
}

func TestRestoreRefuses(t *testing.T) {
	const origin dnsname.Name = "\x07example\x00"
	key := func(n dnsname.Name) string { return "\x01" + dnsname.Key(n+origin, origin) }
	hash := func(n dnsname.Name) string { return "\x02" + dnsname.Key(n+origin, origin) }
	soa := entry(rrset.TypeSOA, 0, string(origin)+string(origin)+strings.Repeat("\x00", 20))
	a := entry(rrset.TypeA, 0, "\x7f\x00\x00\x01")
	sig := func(covers uint16) string {
		return string([]byte{byte(covers >> 8), byte(covers)}) + strings.Repeat("\x00", 17)
	}
	nsec3 := entry(rrset.TypeNSEC3, 0, "\x01\x00\x00\x00\x00\x00")
	long := strings.Repeat("l", 63)
	deep := dnsname.Name(strings.Repeat("\x3f"+long, 4))
	type pair struct{ key, value string }
	apex := pair{key(""), "\x00" + soa}
	many := make([]string, 20)
	for i := range many {
		many[i] = string(byte(i / 2))
	}
	for _, tc := range []struct {
		name   string
		owners []pair
		want   error
		text   string
	}{
		{"nothing", nil, zone.ErrNoSOA, ""},
		{"no SOA", []pair{{key(""), "\x00" + a}}, zone.ErrNoSOA, ""},
		{"two SOAs", []pair{{key(""), "\x00" + entry(rrset.TypeSOA, 0, "\x00\x00"+strings.Repeat("\x00", 20), "\x00\x00"+strings.Repeat("\x01", 20))}}, zone.ErrManySOA, ""},
		{"SOA without numbers", []pair{{key(""), "\x00" + entry(rrset.TypeSOA, 0, "\x00\x00")}}, zone.ErrPacked, ""},
		{"SOA below the apex", []pair{apex, {key("\x01a"), "\x00" + soa}}, zone.ErrPacked, "below the apex"},
		{"no key", []pair{{"", "\x00" + a}}, zone.ErrPacked, "key"},
		{"unknown index", []pair{apex, {"\x03", "\x00" + a}}, zone.ErrPacked, "key"},
		{"key of no symbols", []pair{apex, {"\x01\x00\x01", "\x00" + a}}, zone.ErrPacked, "key"},
		{"key of large symbols", []pair{apex, {"\x01\xff\x01", "\x00" + a}}, zone.ErrPacked, "key"},
		{"key that is cut off", []pair{apex, {strings.TrimSuffix(key("\x01a"), "\x01"), "\x00" + a}}, zone.ErrPacked, "key"},
		{"key that ends in half an octet", []pair{apex, {key("\x01\xff")[:2], "\x00" + a}}, zone.ErrPacked, "key"},
		{"half an octet in a key", []pair{apex, {key("\x01\xff")[:2] + "\x01", "\x00" + a}}, zone.ErrPacked, "key"},
		{"empty label in a key", []pair{apex, {key("\x01a") + "\x01", "\x00" + a}}, zone.ErrPacked, "key"},
		{"key of a long label", []pair{apex, {"\x01" + strings.Repeat(key("\x01a")[1:2], 64) + "\x01", "\x00" + a}}, zone.ErrPacked, "key"},
		{"key of a long name", []pair{apex, {"\x01" + dnsname.Key(deep+"\x00", "\x00"), "\x00" + a}}, zone.ErrPacked, "key"},
		{"out of order", []pair{apex, {key("\x01b"), "\x00" + a}, {key("\x01a"), "\x00" + a}}, zone.ErrPacked, "out of order"},
		{"twice", []pair{apex, {key("\x01b"), "\x00" + a}, {key("\x01b"), "\x00" + a}}, zone.ErrPacked, "out of order"},
		{"names behind hashes", []pair{apex, {hash("\x01b"), "\x00" + nsec3}, {key("\x01b"), "\x00" + a}}, zone.ErrPacked, "out of order"},
		{"empty value", []pair{apex, {key("\x01b"), ""}}, zone.ErrPacked, "flags"},
		{"no records", []pair{apex, {key("\x01b"), "\x00"}}, zone.ErrPacked, "flags"},
		{"flags without records", []pair{apex, {key("\x01b"), "\x01" + a}}, zone.ErrPacked, "flags"},
		{"records without flags", []pair{apex, {key("\x01b"), "\x00" + entry(rrset.TypeNS, 0, "\x00")}}, zone.ErrPacked, "flags"},
		{"unknown flag", []pair{apex, {key("\x01b"), "\x80" + a}}, zone.ErrPacked, "flags"},
		{"flag of letter case alone", []pair{apex, {key("\x01b"), "\x10"}}, zone.ErrPacked, "cut off"},
		{"letter case cut off", []pair{apex, {key("\x01b"), "\x10\x05\x01B"}}, zone.ErrPacked, "cut off"},
		{"letter case of nothing", []pair{apex, {key("\x01b"), "\x10\x02\x01b" + a}}, zone.ErrPacked, "letter case"},
		{"letter case of another", []pair{apex, {key("\x01b"), "\x10\x02\x01C" + a}}, zone.ErrPacked, "letter case"},
		{"letter case that is no name", []pair{apex, {key("\x01b"), "\x10\x02\x05B" + a}}, zone.ErrPacked, "letter case"},
		{"letter case that ends in the origin", []pair{apex, {key("\x01b"), "\x10\x02\x09B" + a}}, zone.ErrPacked, "letter case"},
		{"half a header", []pair{apex, {key("\x01b"), "\x00" + a[:11]}}, zone.ErrPacked, "cut off"},
		{"records cut off", []pair{apex, {key("\x01b"), "\x00" + a[:len(a)-1]}}, zone.ErrPacked, "cut off"},
		{"octets left over", []pair{apex, {key("\x01b"), "\x00" + a + "\x00"}}, zone.ErrPacked, "cut off"},
		{"types out of order", []pair{apex, {key("\x01b"), "\x00" + entry(rrset.TypeTXT, 0, "\x00") + a}}, zone.ErrPacked, "in its place"},
		{"a type twice", []pair{apex, {key("\x01b"), "\x00" + a + a}}, zone.ErrPacked, "in its place"},
		{"RRSIGs before their RRset", []pair{apex, {key("\x01b"), "\x00" + entry(rrset.TypeA, 1<<31, sig(rrset.TypeA)) + a}}, zone.ErrPacked, "in its place"},
		{"RRSIG as an RRset", []pair{apex, {key("\x01b"), "\x00" + entry(rrset.TypeRRSIG, 0, sig(rrset.TypeA))}}, zone.ErrPacked, "in its place"},
		{"RRSIG of another type", []pair{apex, {key("\x01b"), "\x00" + a + entry(rrset.TypeA, 1<<31, sig(rrset.TypeNS))}}, zone.ErrPacked, "different types"},
		{"RRSIG cut off", []pair{apex, {key("\x01b"), "\x00" + a + entry(rrset.TypeA, 1<<31, "\x00\x01")}}, zone.ErrPacked, "malformed"},
		{"meta type", []pair{apex, {key("\x01b"), "\x00" + entry(rrset.TypeANY, 0, "")}}, zone.ErrPacked, "type"},
		{"malformed RDATA", []pair{apex, {key("\x01b"), "\x01" + entry(rrset.TypeNS, 0, "\x05")}}, zone.ErrPacked, "malformed"},
		{"more records than said", []pair{apex, {key("\x01b"), "\x00" + strings.Replace(entry(rrset.TypeTXT, 0, "\x00", "\x01a"), "\x02", "\x01", 1)}}, zone.ErrPacked, "cut off"},
		{"half a length", []pair{apex, {key("\x01b"), "\x00\x10\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"}}, zone.ErrPacked, "cut off"},
		{"RDATA past the end", []pair{apex, {key("\x01b"), "\x00\x10\x00\x01\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x01"}}, zone.ErrPacked, "cut off"},
		{"an empty RRset", []pair{apex, {key("\x01b"), "\x00" + entry(rrset.TypeA, 0) + entry(rrset.TypeTXT, 0, "\x00")}}, zone.ErrPacked, "cut off"},
		{"a record twice", []pair{apex, {key("\x01b"), "\x01" + entry(rrset.TypeNS, 0, "\x01a\x00", "\x01b\x00", "\x01A\x00")}}, zone.ErrPacked, "twice"},
		{"a record of many twice", []pair{apex, {key("\x01b"), "\x00" + entry(rrset.TypeTXT, 0, many...)}}, zone.ErrPacked, "twice"},
		{"a set for no message", []pair{apex, {key("\x01b"), "\x00" + entry(rrset.TypeTXT, 0, strings.Repeat("a", 65534))}}, zone.ErrPacked, "longer"},
		{"NSEC3 among names", []pair{apex, {key("\x01b"), "\x00" + nsec3}}, zone.ErrPacked, "in its place"},
		{"names among NSEC3", []pair{apex, {hash("\x01b"), "\x00" + a}}, zone.ErrPacked, "in its place"},
		{"NSEC3 too deep", []pair{apex, {hash("\x01b\x01c"), "\x00" + nsec3}}, zone.ErrPacked, "NSEC3"},
		{"NSEC3 at the apex", []pair{apex, {hash(""), "\x00" + nsec3}}, zone.ErrPacked, "NSEC3"},
		{"many iterations", []pair{{key(""), "\x00" + soa + entry(rrset.TypeNSEC3PARAM, 0, "\x01\x00\xff\xff\x00")}, {hash("\x01b"), "\x00" + nsec3}}, zone.ErrIterations, ""},
	} {
		_, err := zone.Restore(origin, func(yield func([]byte, []byte) bool) {
			for _, o := range tc.owners {
				if !yield([]byte(o.key), []byte(o.value)) {
					return
				}
			}
		})
		if !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.text) {
			t.Errorf("%s: %v, want %v with %q", tc.name, err, tc.want, tc.text)
		}
	}
	for _, origin := range []dnsname.Name{"", "\x05", "\x00\x00", "\x01a"} {
		if _, err := zone.Restore(origin, packed{}.all()); !errors.Is(err, zone.ErrPacked) {
			t.Errorf("origin %q: %v", string(origin), err)
		}
	}
}

// TestPackedOwnersOfNoZone has changesets that are not of the zone.
func TestPackedOwnersOfNoZone(t *testing.T) {
	s, _ := load(t, dnsname.MustParse("nsec.example."), "nsec.example.zone")
	c := zone.Changeset{Added: []zone.Set{{Owner: "\x03org\x00"}, {}, {Owner: "\x05nsecX" + s.Origin()}}}
	var got []string
	for k, v := range s.PackedOwners(&c) {
		got = append(got, fmt.Sprintf("%x %q", k, v))
	}
	if len(got) != 1 || !strings.HasSuffix(got[0], `""`) {
		t.Errorf("%q", got)
	}
}

// flatten and unflatten make one string of a stored form, for the fuzzer.
func flatten(p packed) (b []byte) {
	for k, v := range p.all() {
		b = append(binary.AppendUvarint(b, uint64(len(k))), k...)
		b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
	}
	return b
}

func unflatten(b []byte) iter.Seq2[[]byte, []byte] {
	next := func() []byte {
		l, n := binary.Uvarint(b)
		l = min(l, uint64(len(b)-max(0, n)))
		s := b[max(0, n) : max(0, n)+int(l)]
		b = b[max(0, n)+int(l):]
		if n <= 0 {
			b = nil
		}
		return s
	}
	return func(yield func([]byte, []byte) bool) {
		for len(b) > 0 {
			if k, v := next(), next(); !yield(k, v) {
				return
			}
		}
	}
}

// FuzzRestore has stores hold anything at all. If that is a zone it is a good
// one: all that can be done with zones can be done with it.
func FuzzRestore(f *testing.F) {
	r := rand.New(rand.NewPCG(8, 8))
	for i := range 12 { // small ones: the fuzzer takes its time to make them smaller
		m := newGenerator(seedChoices{r}).zone(6)
		switch i % 3 {
		case 1:
			m.nsec = true
			m.sign()
		case 2:
			m.nsec3 = &naiveNSEC3{}
			m.sign()
		}
		f.Add(flatten(newPacked(m.build(f))))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 2048 {
			t.Skip("long enough to be slow")
		}
		origin := dnsname.Name("\x07example\x00")
		s, err := zone.Restore(origin, unflatten(data))
		if err != nil {
			return
		}
		if again := flatten(newPacked(s)); string(again) != string(flatten(newPacked(rebuilt(t, s)))) {
			t.Errorf("%x is not what a Builder makes of it", again)
		}
		var a zone.Answer
		txn := s.Begin()
		for set := range s.All() {
			if !set.Owner.IsBelow(origin) || dnsname.Len(set.Owner) != len(set.Owner) {
				t.Fatalf("owner %x", string(set.Owner))
			}
			for _, name := range []dnsname.Name{set.Owner, "\x01a" + set.Owner, "\x01\xff" + set.Owner, set.Owner.Parent()} {
				if len(name) > dnsname.MaxLen || !name.IsBelow(origin) {
					continue
				}
				for _, typ := range []uint16{set.Type, rrset.TypeA, rrset.TypeDS, rrset.TypeANY} {
					q := zone.Query{Name: name, Type: typ, DO: true}
					s.Lookup(&q, &a)
				}
			}
			if !set.Owner.Equal(origin) {
				txn.RemoveName(set.Owner)
			}
		}
		next, c, err := txn.Commit()
		if err != nil {
			t.Fatal(err)
		}
		p := newPacked(s)
		p.follow(next, &c)
		if string(flatten(p)) != string(flatten(newPacked(next))) {
			t.Error("a step leads elsewhere")
		}
	})
}

// rebuilt makes the same zone with a Builder.
func rebuilt(t *testing.T, s *zone.Snapshot) *zone.Snapshot {
	b := zone.NewBuilder(s.Origin())
	for set := range s.All() {
		for _, r := range []rrset.RRset{set.RRset, set.Sigs} {
			for rdata := range r.All() {
				if err := b.Add(set.Owner, r.Type, r.TTL, []byte(rdata)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	again, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// BenchmarkRestore makes a zone of delegations, three records each, of its
// stored form.
func BenchmarkRestore(b *testing.B) {
	const n = 100_000
	s, _ := benchZone(b, n, true)
	type pair struct{ key, value []byte }
	var owners []pair
	for k, v := range s.Packed() {
		owners = append(owners, pair{slices.Clone(k), []byte(v)})
	}
	b.ResetTimer()
	for b.Loop() {
		got, err := zone.Restore(origin, func(yield func([]byte, []byte) bool) {
			for i := range owners {
				if !yield(owners[i].key, owners[i].value) {
					return
				}
			}
		})
		if err != nil || got.Records() != s.Records() {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(3*n), "ns/record")
}
