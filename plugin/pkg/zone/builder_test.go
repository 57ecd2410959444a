package zone_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// TestBuilderModel adds records in any order and letter case, some of them
// twice and with another TTL.
func TestBuilderModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sim := &simulation{generator: newGenerator(rapidChoices(rt))}
		for range 20 {
			sim.name()
		}
		sim.names = append(sim.names, "\x20"+dnsname.Name(strings.Repeat("v", 32))+sim.origin)
		sim.closed = true
		m := newNaive(sim.origin)
		b := zone.NewBuilder(sim.origin)
		add := func(r record) {
			want := m.refusal(r)
			if want == nil {
				m.load(r)
			}
			if err := b.Add(r.owner, r.typ, r.ttl, []byte(r.rdata)); !errors.Is(err, want) || err != nil && want == nil {
				rt.Fatalf("adding %v: %v, want %v", r, err, want)
			}
		}
		var added []record
		for range 40 {
			r := sim.record()
			if r.typ == rrset.TypeSOA && r.owner.Equal(sim.origin) {
				continue
			}
			if sim.below(4) == 3 && len(added) > 0 {
				r = added[sim.below(len(added))]
				r.owner = sim.mix(r.owner)
				r.ttl++
			}
			added = append(added, r)
			add(r)
		}
		add(sim.soa(1))
		want := m.fate()
		s, _, err := b.Snapshot()
		if want != nil || err != nil {
			if !errors.Is(err, want) || want == nil {
				rt.Fatalf("%v, want %v, of\n%s", err, want, m)
			}
			return
		}
		if got, want := dumpAll(slices.Collect(s.All())), dumpAll(slices.Collect(m.build(t).All())); got != want {
			rt.Fatalf("got\n%swant\n%s", got, want)
		}
		if names, records := m.counts(); s.Names() != names || s.Records() != records {
			rt.Fatalf("%d names, %d records; want %d, %d", s.Names(), s.Records(), names, records)
		}
	})
}

const origin dnsname.Name = "\x07example\x00"

// soaRecord gives the SOA record of origin.
func soaRecord(serial uint32) record {
	g := &generator{choices: &byteChoices{}, origin: origin}
	return g.soa(serial)
}

func TestBuilderErrors(t *testing.T) {
	www := "\x03www" + origin
	long := strings.Repeat("x", 65533)
	for _, tc := range []struct {
		name string
		r    record
		want error
	}{
		{"owner above the zone", record{dnsname.Root, rrset.TypeA, 0, "\x7f\x00\x00\x01"}, zone.ErrOutOfZone},
		{"owner that only looks like it", record{"\x0axxxexample\x00", rrset.TypeA, 0, "\x7f\x00\x00\x01"}, zone.ErrOutOfZone},
		{"no owner", record{"", rrset.TypeA, 0, "\x7f\x00\x00\x01"}, zone.ErrOutOfZone},
		{"type ANY", record{www, rrset.TypeANY, 0, ""}, zone.ErrMetaType},
		{"type OPT", record{origin, rrset.TypeOPT, 0, ""}, zone.ErrMetaType},
		{"type 0", record{www, 0, 0, ""}, zone.ErrMetaType},
		{"SOA below the apex", record{www, rrset.TypeSOA, 0, soaRecord(1).rdata}, zone.ErrSOAPlace},
		{"NSEC3 at the apex", record{origin, rrset.TypeNSEC3, 0, "\x01\x00\x00\x00\x00\x00"}, zone.ErrNSEC3},
		{"NSEC3 too deep", record{"\x01a" + www, rrset.TypeNSEC3, 0, "\x01\x00\x00\x00\x00\x00"}, zone.ErrNSEC3},
		{"RRSIG over NSEC3 too deep", record{"\x01a" + www, rrset.TypeRRSIG, 0, "\x00\x32" + strings.Repeat("s", 16) + "\x00s"}, zone.ErrNSEC3},
		{"SOA that is cut off", record{origin, rrset.TypeSOA, 0, soaRecord(1).rdata[:30]}, rrset.ErrMalformed},
		{"CNAME that is cut off", record{www, rrset.TypeCNAME, 0, "\x03www\x07example"}, rrset.ErrMalformed},
		{"CNAME with something behind", record{www, rrset.TypeCNAME, 0, "\x03www\x00\x00"}, rrset.ErrMalformed},
		{"NS that is no name", record{origin, rrset.TypeNS, 0, "\x40"}, rrset.ErrMalformed},
		{"empty DNAME", record{www, rrset.TypeDNAME, 0, ""}, rrset.ErrMalformed},
		{"MX without a name", record{www, rrset.TypeMX, 0, "\x00\x0a"}, rrset.ErrMalformed},
		{"HTTPS of one octet", record{www, rrset.TypeHTTPS, 0, "\x00"}, rrset.ErrMalformed},
		{"RRSIG that is cut off", record{www, rrset.TypeRRSIG, 0, "\x00"}, rrset.ErrMalformed},
		{"RDATA of 65533 octets", record{www, rrset.TypeTXT, 0, long}, nil},
		{"RDATA of 65534 octets", record{www, rrset.TypeTXT, 0, long + "x"}, rrset.ErrTooLong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := zone.NewBuilder(origin)
			soa := soaRecord(1)
			if err := b.Add(soa.owner, soa.typ, soa.ttl, []byte(soa.rdata)); err != nil {
				t.Fatal(err)
			}
			base, _, err := b.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			txn := base.Begin()
			if changed, err := txn.Add(tc.r.owner, tc.r.typ, tc.r.ttl, tc.r.rdata); !errors.Is(err, tc.want) || changed != (tc.want == nil) {
				t.Errorf("Txn.Add: %v, %v; want %v", changed, err, tc.want)
			}
			if len(tc.r.rdata) < 65534 {
				set, err := rrset.New(tc.r.typ, 1, tc.r.rdata)
				if err != nil {
					t.Fatal(err)
				}
				if changed, err := base.Begin().Replace(tc.r.owner, set); !errors.Is(err, tc.want) || changed != (tc.want == nil) {
					t.Errorf("Txn.Replace: %v, %v; want %v", changed, err, tc.want)
				}
			}
			for _, r := range []record{tc.r, soa} { // the builder goes on after an error
				if err := b.Add(r.owner, r.typ, r.ttl, []byte(r.rdata)); r == tc.r && !errors.Is(err, tc.want) || r == soa && err != nil {
					t.Errorf("Builder.Add: %v, want %v", err, tc.want)
				}
			}
			s, _, err := b.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			want := 1
			if tc.want == nil {
				want = 2
			}
			if got := len(slices.Collect(s.All())); got != want || s.Records() != want || s.Names() != want {
				t.Errorf("%d sets, %d records, %d names, want %d", got, s.Records(), s.Names(), want)
			}
		})
	}
}

func TestBuilderSnapshotErrors(t *testing.T) {
	soa := soaRecord(1)
	other := soaRecord(2)
	for _, tc := range []struct {
		name    string
		records []record
		want    error
	}{
		{"no record", nil, zone.ErrNoSOA},
		{"no SOA", []record{{origin, rrset.TypeNS, 0, string(origin)}}, zone.ErrNoSOA},
		{"two SOA", []record{soa, other}, zone.ErrManySOA},
		{"two SOA with an owner between", []record{soa, {"\x01a" + origin, rrset.TypeA, 0, "abcd"}, other}, zone.ErrManySOA},
		{"the same SOA twice", []record{soa, soa}, nil},
		{"too many iterations", []record{
			soa,
			{origin, rrset.TypeNSEC3PARAM, 0, "\x01\x00\x00\x97\x00"},
			{"\x01a" + origin, rrset.TypeNSEC3, 0, "\x01\x00\x00\x97\x00\x00"},
		}, zone.ErrIterations},
		{"many iterations that nothing uses", []record{soa, {origin, rrset.TypeNSEC3PARAM, 0, "\x01\x00\x00\x97\x00"}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := zone.NewBuilder(origin)
			for _, r := range tc.records {
				if err := b.Add(r.owner, r.typ, r.ttl, []byte(r.rdata)); err != nil {
					t.Fatal(err)
				}
			}
			s, _, err := b.Snapshot()
			if !errors.Is(err, tc.want) || (s != nil) != (tc.want == nil) {
				t.Fatalf("%v, %v; want %v", s, err, tc.want)
			}
			if _, _, err := b.Snapshot(); !errors.Is(err, zone.ErrNoSOA) {
				t.Errorf("the builder is not empty afterwards: %v", err)
			}
		})
	}
}

// TestBuilderMaxRRset: the first record too many ends it, wherever it stands.
func TestBuilderMaxRRset(t *testing.T) {
	a, b, soa := "\x01a"+origin, "\x01b"+origin, soaRecord(1)
	address := func(owner dnsname.Name, last string) record {
		return record{owner, rrset.TypeA, 60, "\xc0\x00\x02" + last}
	}
	signature := func(owner dnsname.Name, covered, last string) record {
		return record{owner, rrset.TypeRRSIG, 60, "\x00" + covered + strings.Repeat("s", 16) + "\x00" + last}
	}
	for _, tc := range []struct {
		name    string
		records []record
		at      int          // the record that is an error; one more than the last for Snapshot; -1 for none
		owner   dnsname.Name // in the error
		typ     uint16
	}{
		{"as many as may be", []record{soa, address(a, "1"), address(a, "2"), address(b, "3"), signature(a, "\x01", "1"), signature(a, "\x1c", "2"), signature(a, "\x1c", "3")}, -1, "", 0},
		{"the same twice", []record{soa, address(a, "1"), address(a, "2"), address(a, "1"), address(b, "1"), address(a, "2")}, -1, "", 0},
		{"together", []record{soa, address(a, "1"), address(a, "2"), address(a, "3")}, 3, a, rrset.TypeA},
		{"signatures", []record{soa, signature(a, "\x01", "1"), signature(a, "\x01", "2"), signature(a, "\x01", "3")}, 3, a, rrset.TypeRRSIG},
		{"apart", []record{soa, address(a, "1"), address(b, "1"), address(a, "2"), address(a, "3"), address(b, "2"), address(b, "3")}, 5, a, rrset.TypeA},
		{"apart, to the end", []record{soa, address(a, "1"), address(a, "2"), address(b, "1"), address(a, "3")}, 5, a, rrset.TypeA},
		{"signatures apart", []record{soa, signature(a, "\x01", "1"), address(b, "1"), signature(a, "\x01", "2"), signature(a, "\x01", "3"), address(b, "2")}, 5, a, rrset.TypeRRSIG},
	} {
		t.Run(tc.name, func(t *testing.T) {
			builder := zone.NewBuilder(origin)
			builder.MaxRRset = 2
			at, err := -1, error(nil)
			for i, r := range tc.records {
				if err = builder.Add(r.owner, r.typ, r.ttl, []byte(r.rdata)); err != nil {
					at = i
					break
				}
			}
			if err != nil {
				if next := builder.Add("\x01c"+origin, rrset.TypeA, 60, []byte("abcd")); next == nil {
					t.Error("the builder goes on")
				}
			}
			s, _, snapErr := builder.Snapshot()
			if err == nil && snapErr != nil {
				at, err = len(tc.records), snapErr
			}
			if at != tc.at || (s != nil) != (tc.at < 0) || (snapErr == nil) != (tc.at < 0) {
				t.Fatalf("record %d: %v; snapshot %v, %v", at, err, s, snapErr)
			}
			if over, ok := errors.AsType[*zone.LimitError](err); tc.at >= 0 && (!ok || *over != zone.LimitError{Owner: tc.owner, Type: tc.typ, Max: 2}) {
				t.Errorf("%#v", err)
			}
		})
	}
}

// TestBuilderTooLong spreads an RRset that no message can hold over the zone:
// what fits is served, the rest is reported.
func TestBuilderTooLong(t *testing.T) {
	b := zone.NewBuilder(origin)
	soa := soaRecord(1)
	txt := func(i int) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(i)), strings.Repeat("x", 20000)...)
	}
	for i := range 4 {
		for _, r := range []record{{"\x01a" + origin, rrset.TypeTXT, 60, string(txt(i))}, {origin, soa.typ, soa.ttl, soa.rdata}} {
			if err := b.Add(r.owner, r.typ, r.ttl, []byte(r.rdata)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, problems, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(problems, func(p zone.Problem) bool { return p.Rule == zone.RuleTooLong && p.RDATA == string(txt(3)) }) {
		t.Errorf("not reported: %v", problems)
	}
	if s.Records() != 4 {
		t.Errorf("%d records, want 4", s.Records())
	}
}

// TestBuilderBuffer checks that RDATA may be changed after Add.
func TestBuilderBuffer(t *testing.T) {
	b := zone.NewBuilder(origin)
	soa := soaRecord(1)
	buf := []byte(soa.rdata)
	if err := b.Add(origin, rrset.TypeSOA, 60, buf); err != nil {
		t.Fatal(err)
	}
	for i := range 50 { // beyond the size from which on sets are compared by a map
		r := fmt.Appendf(buf[:0], "%04d", i)
		if err := b.Add("\x01a"+origin, rrset.TypeA, 60, r); err != nil {
			t.Fatal(err)
		}
		if err := b.Add("\x01a"+origin, rrset.TypeA, 60, r); err != nil { // a duplicate
			t.Fatal(err)
		}
		clear(r)
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var a zone.Answer
	s.Lookup(&zone.Query{Name: "\x01a" + origin, Type: rrset.TypeA}, &a)
	if len(a.Answer) != 1 || a.Answer[0].Len() != 50 || a.Answer[0].First() != "0000" {
		t.Fatalf("%s", dump(&a, true))
	}
	if s.SOA().First() != soa.rdata {
		t.Errorf("SOA is %q", s.SOA().First())
	}
}
