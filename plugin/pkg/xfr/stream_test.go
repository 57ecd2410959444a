package xfr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

const origin = dnsname.Name("\x07example\x00")

// newZone makes a zone of records in presentation form; names are relative to
// example.
func newZone(t testing.TB, serial uint32, records ...string) *zone.Snapshot {
	t.Helper()
	b := zone.NewBuilder(origin)
	all := append([]string{fmt.Sprintf("@ SOA ns hostmaster %d 7200 3600 1209600 300", serial), "@ NS ns", "ns A 192.0.2.53"}, records...)
	p := dns.NewZoneParser(strings.NewReader("$TTL 3600\n"+strings.Join(all, "\n")+"\n"), "example.", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		owner, rdata, err := rrset.FromRR(rr)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Add(owner, rr.Header().Rrtype, rr.Header().Ttl, []byte(rdata)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// record is a record to the octet, its names without compression and in letter
// case as they are.
type record struct {
	owner dnsname.Name
	typ   uint16
	ttl   uint32
	rdata string
}

func (r record) String() string {
	if r.typ == dns.TypeSOA {
		return fmt.Sprintf("%s %d SOA %d", r.owner, r.ttl, r.serial())
	}
	return fmt.Sprintf("%s %d %s %x", r.owner, r.ttl, dns.Type(r.typ), r.rdata)
}

// serial gives that of a SOA record.
func (r record) serial() uint32 {
	return binary.BigEndian.Uint32([]byte(r.rdata[len(r.rdata)-20:]))
}

// recordsOf gives the records of sets.
func recordsOf(sets iter.Seq[zone.Set]) (all []record) {
	for s := range sets {
		for _, r := range []rrset.RRset{s.RRset, s.Sigs} {
			for rdata := range r.All() {
				all = append(all, record{s.Owner, r.Type, r.TTL, rdata})
			}
		}
	}
	return all
}

// namesIn says where messages may have compressed names in RDATA: RFC 3597 §4.
var namesIn = map[uint16]struct{ before, names int }{
	dns.TypeNS: {0, 1}, dns.TypeMD: {0, 1}, dns.TypeMF: {0, 1}, dns.TypeCNAME: {0, 1}, dns.TypeSOA: {0, 2}, dns.TypeMB: {0, 1},
	dns.TypeMG: {0, 1}, dns.TypeMR: {0, 1}, dns.TypePTR: {0, 1}, dns.TypeMINFO: {0, 2}, dns.TypeMX: {2, 1},
}

// read gives the records of the answer section. It does not go through the types
// of miekg/dns, as these do not keep all RDATA as it is.
func read(t testing.TB, msg []byte) (all []record) {
	t.Helper()
	off := 12
	name := func() dnsname.Name {
		n, next, err := dnsname.FromWire(msg, off)
		if err != nil {
			t.Fatalf("name at %d: %v", off, err)
		}
		off = next
		return n
	}
	name()
	off += 4
	for range binary.BigEndian.Uint16(msg[6:]) {
		r := record{owner: name()}
		r.typ, r.ttl = binary.BigEndian.Uint16(msg[off:]), binary.BigEndian.Uint32(msg[off+4:])
		end := off + 10 + int(binary.BigEndian.Uint16(msg[off+8:]))
		off += 10
		if in := namesIn[r.typ]; in.names > 0 {
			r.rdata = string(msg[off : off+in.before])
			off += in.before
			for range in.names {
				r.rdata += string(name())
			}
		}
		r.rdata += string(msg[off:end])
		all = append(all, r)
		off = end
	}
	return all
}

// zoneOf gives the records of a zone as a set.
func zoneOf(t testing.TB, s *zone.Snapshot) map[record]bool {
	t.Helper()
	all := map[record]bool{}
	for _, r := range recordsOf(s.All()) {
		if all[r] {
			t.Fatalf("%s twice", r)
		}
		all[r] = true
	}
	return all
}

// planned is Plan for a request that cannot be refused.
func planned(t testing.TB, r *Request, s *zone.Snapshot, changes Changes, o Options) *Stream {
	t.Helper()
	st, err := Plan(r, s, changes, o)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func axfr(name dnsname.Name) *Request {
	return &Request{Question: wire.Question{ID: 4711, Flags: wire.FlagRD, Name: name, Type: dns.TypeAXFR, Class: dns.ClassINET}}
}

func ixfr(name dnsname.Name, serial zone.Serial) *Request {
	r := axfr(name)
	r.Type, r.Serial = dns.TypeIXFR, serial
	return r
}

// answer reads all messages with miekg/dns, checks their heads and sizes (RFC 5936
// §2.2.1) and gives the records.
func answer(t testing.TB, r *Request, st *Stream, limit int) (records []record) {
	t.Helper()
	n := 0
	for msg, err := range st.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(msg); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		head := dns.MsgHdr{Id: r.ID, Response: true, Authoritative: true, RecursionDesired: r.Flags&wire.FlagRD != 0}
		if m.MsgHdr != head {
			t.Fatalf("message %d: head %+v, want %+v", n, m.MsgHdr, head)
		}
		if len(m.Question) != 1 || m.Question[0] != (dns.Question{Name: r.Name.String(), Qtype: r.Type, Qclass: dns.ClassINET}) {
			t.Fatalf("message %d: question %v", n, m.Question)
		}
		opt := m.IsEdns0()
		if (opt != nil) != (r.HasEDNS && n == 0) || opt != nil && opt.Do() != r.DO || len(m.Ns) > 0 || len(m.Extra) > 1 || opt == nil && len(m.Extra) > 0 {
			t.Fatalf("message %d: authority %v, additional %v", n, m.Ns, m.Extra)
		}
		if len(msg) > limit || len(m.Answer) == 0 {
			t.Fatalf("message %d: %d octets, %d records", n, len(msg), len(m.Answer))
		}
		records = append(records, read(t, msg)...)
		n++
	}
	return records
}

// secondary is what a client makes of an answer to IXFR, as RFC 1995 §4 has it:
// the zone after it.
func secondary(t testing.TB, has map[record]bool, serial zone.Serial, answer []record) (zone map[record]bool, full bool) {
	t.Helper()
	newest := answer[0]
	if newest.typ != dns.TypeSOA {
		t.Fatal("the first record is no SOA")
	}
	if len(answer) == 1 {
		return has, false
	}
	if last := answer[len(answer)-1]; last != newest {
		t.Fatalf("ends with %v", last)
	}
	zone = map[record]bool{}
	if answer[1].typ != dns.TypeSOA || answer[1].serial() != uint32(serial) {
		for _, r := range answer[:len(answer)-1] {
			if zone[r] {
				t.Fatalf("%s twice", r)
			}
			zone[r] = true
		}
		return zone, true
	}
	maps.Copy(zone, has)
	removing := false
	at := uint32(serial)
	for _, r := range answer[1 : len(answer)-1] {
		if r.typ == dns.TypeSOA {
			if removing = !removing; removing && r.serial() != at {
				t.Fatalf("step from %d at %d", r.serial(), at)
			}
			at = r.serial()
		}
		// Letter case of owners makes no difference (RFC 4343).
		there := r
		for has := range zone {
			if has.owner.Equal(r.owner) {
				if there.owner = has.owner; has == there {
					break
				}
			}
		}
		if removing != zone[there] {
			t.Fatalf("%s: removed %v, there %v", r, removing, zone[there])
		}
		if removing {
			delete(zone, there)
		} else {
			zone[r] = true
		}
	}
	if at != newest.serial() || removing {
		t.Fatalf("ends at %d, not %d", at, newest.serial())
	}
	return zone, false
}

// same compares zones without regard to the letter case of owners.
func same(a, b map[record]bool) bool {
	fold := func(m map[record]bool) map[record]bool {
		folded := map[record]bool{}
		for r := range m {
			r.owner = r.owner.Fold()
			folded[r] = true
		}
		return folded
	}
	return maps.Equal(fold(a), fold(b))
}

// TestWhole transfers the zones of the test data and compares record by record:
// X2, RFC 5936 §2.2, §3.
func TestWhole(t *testing.T) {
	files, err := filepath.Glob("../../../test/testdata/zones/*.zone")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d zones: %v", len(files), err)
	}
	types := map[uint16]bool{}
	for _, f := range files {
		name := dnsname.MustParse(strings.TrimSuffix(filepath.Base(f), "zone"))
		z, err := zonefile.Load(f, name, zonefile.Options{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name.String(), func(t *testing.T) {
			r := axfr(name)
			got := answer(t, r, planned(t, r, z.Snapshot, nil, Options{}), messageSize)
			want := recordsOf(z.Snapshot.All())
			want = append(want, want[0])
			if !slices.Equal(got, want) {
				t.Errorf("got\n%v\nwant\n%v", got, want)
			}
			if want[0].typ != dns.TypeSOA {
				t.Errorf("first is %s", want[0])
			}
			for _, r := range got {
				types[r.typ] = true
			}
		})
	}
	for _, typ := range []uint16{dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeDNSKEY, dns.TypeDNAME} {
		if !types[typ] {
			t.Errorf("no %s in the zones", dns.Type(typ))
		}
	}
}

// TestOccluded: X2, RFC 5936 §3.1 and §3.5: glue and what is below a cut or a DNAME
// is of the zone.
func TestOccluded(t *testing.T) {
	s := newZone(
		t, 1, "sub NS ns.sub", "ns.sub A 192.0.2.1", "text.sub TXT occluded", "deep.below.sub A 192.0.2.2", "d DNAME other.", "x.d A 192.0.2.3", "x.d TXT too",
	)
	r := axfr("\x07EXAMPLE\x00")
	got, _ := secondary(t, nil, 0, answer(t, r, planned(t, r, s, nil, Options{}), messageSize))
	if want := zoneOf(t, s); !maps.Equal(got, want) || len(want) != 10 {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestOneVersion: X4, RFC 5936 §3: an answer is made of one version, whatever
// happens while it is sent.
func TestOneVersion(t *testing.T) {
	var records []string
	for i := range 3000 {
		records = append(records, fmt.Sprintf("h%d A 192.0.2.1", i))
	}
	s := newZone(t, 1, records...)
	want := zoneOf(t, s)
	r := axfr(origin)
	st := planned(t, r, s, nil, Options{})
	var got []record
	for msg, err := range st.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, read(t, msg)...)
		txn := s.Begin()
		for i := range 3000 {
			txn.RemoveName(dnsname.MustParse(fmt.Sprintf("h%d.example.", i)))
		}
		next, _, err := txn.Commit()
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	if zone, _ := secondary(t, nil, 0, got); !maps.Equal(zone, want) {
		t.Errorf("%d records, want %d", len(zone), len(want))
	}
}

// TestInParts: a large zone is the same in any number of messages: X3.
func TestInParts(t *testing.T) {
	s := registry(t, 20_000)
	r := axfr(s.Origin())
	r.HasEDNS, r.DO = true, true
	st := planned(t, r, s, nil, Options{})
	var got []record
	check := func(messages iter.Seq2[[]byte, error]) {
		first := true
		for msg, err := range messages {
			if err != nil {
				t.Fatal(err)
			}
			m := new(dns.Msg)
			if err := m.Unpack(msg); err != nil {
				t.Fatal(err)
			}
			if first && len(m.Answer) < 2 {
				t.Error("the first message has nothing but the SOA record: a client might take the zone for up to date")
			}
			if (m.IsEdns0() != nil) != first {
				t.Errorf("OPT: %v", m.IsEdns0())
			}
			got, first = append(got, read(t, msg)...), false
		}
	}
	check(st.inParts)
	want := recordsOf(s.All())
	if want = append(want, want[0]); !slices.Equal(got, want) {
		t.Errorf("%d records are not the %d of the zone", len(got), len(want))
	}
	for _, n := range []int{0, 1, 10, 100} { // one who loses interest
		for _, err := range st.inParts {
			if err != nil {
				t.Fatal(err)
			}
			if n--; n < 0 {
				break
			}
		}
	}
}

// TestRecordSize: a record that no message can hold ends a transfer with an error.
func TestRecordSize(t *testing.T) {
	b := zone.NewBuilder(origin)
	for _, r := range []struct {
		owner dnsname.Name
		typ   uint16
		rdata string
	}{
		{origin, dns.TypeSOA, "\x02ns" + string(origin) + "\x01h" + string(origin) + strings.Repeat("\x01", 20)},
		{"\x01a" + origin, 65280, strings.Repeat("x", 40_000)},
		{"\x01b" + origin, 65280, strings.Repeat("x", 65_533)},
	} {
		if err := b.Add(r.owner, r.typ, 1, []byte(r.rdata)); err != nil {
			t.Fatal(err)
		}
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	st := planned(t, axfr(origin), s, nil, Options{})
	for name, messages := range map[string]iter.Seq2[[]byte, error]{"sequence": st.Messages(), "parts": st.inParts} {
		var sizes []int
		var last error
		for msg, err := range messages {
			if last = err; err == nil {
				sizes = append(sizes, len(msg))
			}
		}
		if !errors.Is(last, ErrRecordSize) || len(sizes) == 0 || slices.Max(sizes) < 40_000 {
			t.Errorf("%s: messages of %v octets, then %v", name, sizes, last)
		}
	}
}

// history is versions of a zone and the changes between them.
type history struct {
	versions []*zone.Snapshot
	steps    []zone.Changeset
}

func newHistory(versions ...*zone.Snapshot) *history {
	h := &history{versions: versions}
	for i := range versions[1:] {
		h.steps = append(h.steps, zone.Difference(versions[i], versions[i+1]))
	}
	return h
}

func (h *history) last() *zone.Snapshot { return h.versions[len(h.versions)-1] }

var errTrimmed = errors.New("history does not reach back to that serial")

// changes is what a journal does.
func (h *history) changes(from, to zone.Serial) iter.Seq2[zone.Changeset, error] {
	return func(yield func(zone.Changeset, error) bool) {
		at := from
		for _, c := range h.steps {
			if c.From != at || at == to {
				continue
			}
			if at = c.To; !yield(c, nil) {
				return
			}
		}
		if at != to {
			yield(zone.Changeset{}, errTrimmed)
		}
	}
}

// TestIncremental: the forms of answers and what they hold, as text: X7 to X11,
// X14, X15, RFC 1995 §4, RFC 1982 §3.2.
func TestIncremental(t *testing.T) {
	const filler = "f 60 TXT filler\nf 60 A 192.0.2.1\nf 60 AAAA 2001:db8::1\ng 60 A 192.0.2.1\nh 60 A 192.0.2.1"
	h := newHistory(
		newZone(t, 1, filler, "a 60 A 192.0.2.1", "b 60 A 192.0.2.1"),
		newZone(t, 2, filler, "A 60 A 192.0.2.1", "c 60 A 192.0.2.1"),
		newZone(t, 3, filler, "a 30 A 192.0.2.1", "c 60 A 192.0.2.1", "b 60 A 192.0.2.1"),
	)
	const around = 1<<32 - 6
	wrap := newHistory(newZone(t, around, filler), newZone(t, around+5, filler, "a 60 A 192.0.2.1"), newZone(t, 5, filler, "b 60 A 192.0.2.1"))
	all := newHistory(newZone(t, 1, "a 60 A 192.0.2.1", "b 60 A 192.0.2.1", "e 60 TXT e"), newZone(t, 2, "c 60 A 192.0.2.1", "d 60 A 192.0.2.1", "e 60 TXT e"))
	soas := func(serials ...uint32) (all []string) {
		for _, n := range serials {
			all = append(all, fmt.Sprintf("example. 3600 SOA %d", n))
		}
		return all
	}
	list := func(parts ...[]string) []string { return slices.Concat(parts...) }
	one := func(r string) []string { return []string{r} }
	for _, tc := range []struct {
		name    string
		history *history
		serial  zone.Serial
		form    Form
		why     error
		want    []string // nil: the whole zone
	}{
		{"X7 the same serial", h, 3, UpToDate, nil, soas(3)},
		{"X7 the client is ahead", h, 4, UpToDate, nil, soas(3)},
		{"X7 the client is ahead as far as can be", h, 3 + 1<<31 - 1, UpToDate, nil, soas(3)},
		{"half the circle away is not ahead", h, 3 + 1<<31, Whole, errTrimmed, nil},
		{"X8 one step, with another TTL and a record that comes back", h, 2, Incremental, nil, list(
			soas(3, 2), one("a.example. 60 A"), soas(3), one("a.example. 30 A"), one("b.example. 60 A"), soas(3),
		)},
		{"X9 two steps, condensed", h, 1, Incremental, nil, list(
			soas(3, 1), one("a.example. 60 A"), soas(3), one("a.example. 30 A"), one("c.example. 60 A"), soas(3),
		)},
		{"X10 a serial that never was", h, 0, Whole, errTrimmed, nil},
		{"X11 history that was purged", &history{h.versions, h.steps[1:]}, 1, Whole, errTrimmed, nil},
		{"a hole in the history", &history{h.versions, h.steps[:1]}, 1, Whole, errTrimmed, nil},
		{"no history", &history{h.versions, nil}, 1, Whole, errTrimmed, nil},
		{"X14 over the wrap", wrap, around, Incremental, nil, list(soas(5, around), soas(5), one("b.example. 60 A"), soas(5))},
		{"X14 up to date over the wrap", &history{wrap.versions[:1], nil}, 5, UpToDate, nil, soas(around)},
		{"X15 differences as many as the zone", all, 1, Incremental, nil, list(
			soas(2, 1), one("a.example. 60 A"), one("b.example. 60 A"), soas(2), one("c.example. 60 A"), one("d.example. 60 A"), soas(2),
		)},
		{"X15 differences more than the zone", newHistory(all.versions[0], newZone(t, 2)), 1, Whole, zone.ErrLimit, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := ixfr(origin, tc.serial)
			s := tc.history.last()
			st := planned(t, r, s, tc.history.changes, Options{})
			if st.Form != tc.form || !errors.Is(st.Fallback, tc.why) || st.Fallback != nil && tc.why == nil || st.Serial != s.Serial() {
				t.Errorf("%s at %d because of %v, want %s because of %v", st.Form, st.Serial, st.Fallback, tc.form, tc.why)
			}
			records := answer(t, r, st, messageSize)
			if tc.want == nil {
				want := recordsOf(s.All())
				if want = append(want, want[0]); !slices.Equal(records, want) {
					t.Errorf("got\n%v\nwant\n%v", records, want)
				}
				return
			}
			var got []string
			for _, r := range records {
				got = append(got, strings.TrimSuffix(r.String(), " c0000201"))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
	if st := planned(t, ixfr(origin, 1), h.last(), nil, Options{}); st.Form != Whole || !errors.Is(st.Fallback, ErrNoHistory) {
		t.Errorf("without changes: %s because of %v", st.Form, st.Fallback)
	}
	silent := func(zone.Serial, zone.Serial) iter.Seq2[zone.Changeset, error] { // says nothing of the SOA record
		return func(yield func(zone.Changeset, error) bool) { yield(zone.Changeset{From: 1, To: 3}, nil) }
	}
	if st := planned(t, ixfr(origin, 1), h.last(), silent, Options{}); st.Form != Whole || !errors.Is(st.Fallback, ErrNoHistory) {
		t.Errorf("changes without SOA: %s because of %v", st.Form, st.Fallback)
	}
}

// TestAnyHistory: from every serial of a random history a client comes to the last
// version: X9, RFC 1995 §4, §5.
func TestAnyHistory(t *testing.T) {
	forms := map[Form]int{}
	rapid.Check(t, func(rt *rapid.T) {
		h := anyHistory(t, rt)
		s := h.last()
		want := zoneOf(t, s)
		for _, v := range h.versions {
			r := ixfr(origin, v.Serial())
			st := planned(t, r, s, h.changes, Options{})
			forms[st.Form]++
			records := answer(t, r, st, messageSize)
			got, full := secondary(t, zoneOf(t, v), v.Serial(), records)
			if !same(got, want) || full != (st.Form == Whole) || len(records) > len(want)+2 {
				rt.Fatalf("from %d, %s: got %v, want %v", v.Serial(), st.Form, got, want)
			}
		}
	})
	if forms[Incremental] < 100 || forms[Whole] == 0 {
		t.Errorf("forms: %v", forms)
	}
}

// anyHistory makes random versions of a small zone.
func anyHistory(t testing.TB, rt *rapid.T) *history {
	serial := rapid.SampledFrom([]uint32{1, 1<<31 - 2, 1<<32 - 3}).Draw(rt, "serial")
	record := rapid.Custom(func(t *rapid.T) string {
		owner := rapid.SampledFrom([]string{"a", "b", "c.b", "*", "d", "e", "f.e", "g", "@"}).Draw(t, "owner")
		data := rapid.SampledFrom([]string{"A 192.0.2.1", "A 192.0.2.2", "TXT x", "TXT X", "TXT y", "MX 1 b", "MX 1 B", "MX 2 c.b", "NS d"}).Draw(t, "data")
		return owner + " " + data
	})
	h := &history{}
	n := rapid.IntRange(1, 6).Draw(rt, "versions")
	for i := range n {
		records := rapid.SliceOfNDistinct(record, 0, 25, rapid.ID).Draw(rt, "records")
		ttl := rapid.SampledFrom([]string{"3600", "60"}).Draw(rt, "ttl")
		for j, r := range records { // one TTL a type
			owner, data, _ := strings.Cut(r, " ")
			if strings.HasPrefix(data, "TXT") {
				records[j] = owner + " " + ttl + " " + data
			}
		}
		for j := range 12 {
			records = append(records, fmt.Sprintf("always%d TXT x", j))
		}
		h.versions = append(h.versions, newZone(t, serial+uint32(i), records...))
		if i > 0 {
			h.steps = append(h.steps, zone.Difference(h.versions[i-1], h.versions[i]))
		}
	}
	return h
}

// TestUDP: X1, X12, RFC 1995 §2, RFC 5936 §4.2.
func TestUDP(t *testing.T) {
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("h%d A 192.0.2.1", i))
	}
	h := newHistory(newZone(t, 1, many...), newZone(t, 2, many[:50]...), newZone(t, 3, many[:51]...))
	for _, tc := range []struct {
		name   string
		serial zone.Serial
		o      Options
		form   Form
	}{
		{"fits", 2, Options{UDP: 512}, Incremental},
		{"fits beside a signature", 2, Options{UDP: 512, Reserve: 100}, Incremental},
		{"does not fit", 1, Options{UDP: 512}, Retry},
		{"fits into more", 1, Options{UDP: 1400}, Incremental},
		{"would fit without a signature", 1, Options{UDP: 1400, Reserve: 600}, Retry},
		{"no history", 0, Options{UDP: 65535}, Retry},
		{"up to date", 3, Options{UDP: 512}, UpToDate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := ixfr(origin, tc.serial)
			st := planned(t, r, h.last(), h.changes, tc.o)
			records := answer(t, r, st, tc.o.UDP-tc.o.Reserve)
			n, _ := count(t, st)
			if st.Form != tc.form || st.Fallback != nil || n != 1 || (len(records) == 1) != (tc.form != Incremental) {
				t.Errorf("%s in %d messages and %d records, want %s", st.Form, n, len(records), tc.form)
			}
			if tc.form == Incremental {
				if got, full := secondary(t, zoneOf(t, h.versions[tc.serial-1]), tc.serial, records); full || !same(got, zoneOf(t, h.last())) {
					t.Errorf("leads to %v", got)
				}
			}
		})
	}
	if _, err := Plan(axfr(origin), h.last(), nil, Options{UDP: 512}); !errors.Is(err, ErrUDP) || Rcode(err) != dns.RcodeFormatError {
		t.Errorf("AXFR over UDP: %v", err)
	}
}

// TestPartsAhead: a client that does not read makes a large zone take the memory of
// a few messages only.
func TestPartsAhead(t *testing.T) {
	made := new(atomic.Int64)
	before := buffers.New
	buffers = sync.Pool{New: func() any { made.Add(1); return before() }}
	defer func() { buffers = sync.Pool{New: before} }()
	st := planned(t, axfr("\x03big\x07example\x00"), registry(t, 100_000), nil, Options{})
	synctest.Test(t, func(t *testing.T) {
		n, ready := 0, 0
		for _, err := range st.Messages() {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 1 {
				synctest.Wait() // all who pack wait for us
				ready = int(made.Load())
			}
		}
		if most := (n/minParts + 2) * (partsAhead + 1); ready > most || n < 4*minParts {
			t.Errorf("%d of %d messages were ready at once, want %d at most", ready, n, most)
		}
	})
}

// TestOptions: room for a signature in each message, and an OPT record in the
// first (RFC 5936 §2.2.5).
func TestOptions(t *testing.T) {
	var records []string
	for i := range 2000 {
		records = append(records, fmt.Sprintf("h%d TXT %s", i, strings.Repeat("x", 200)))
	}
	s := newZone(t, 1, records...)
	r := axfr(origin)
	r.HasEDNS, r.DO = true, true
	o := Options{Reserve: 60_000, EDNS: wire.AppendOption(nil, wire.OptionExpire, "\x00\x00\x00\x01")}
	st := planned(t, r, s, nil, o)
	answer(t, r, st, wire.MaxMessage-o.Reserve)
	for msg, err := range st.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(msg); err != nil {
			t.Fatal(err)
		}
		if opt := m.IsEdns0(); len(opt.Option) != 1 || opt.Option[0].(*dns.EDNS0_EXPIRE).Expire != 1 {
			t.Errorf("options %v", opt)
		}
		break
	}
}

// TestParseRequest: X13, RFC 1995 §3, RFC 5936 §2.1.
func TestParseRequest(t *testing.T) {
	query := func(change func(*dns.Msg)) *dns.Msg {
		m := new(dns.Msg).SetIxfr("Example.", 7, "ns.example.", "h.example.")
		m.Id = 99
		change(m)
		return m
	}
	soa := func(name string) dns.RR {
		return &dns.SOA{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "a.", Mbox: "b.", Serial: 7}
	}
	for _, tc := range []struct {
		name   string
		change func(*dns.Msg)
		ok     bool
	}{
		{"IXFR", func(*dns.Msg) {}, true},
		{"SOA in another letter case", func(m *dns.Msg) { m.Ns = []dns.RR{soa("eXample.")} }, true},
		{"X13 no SOA", func(m *dns.Msg) { m.Ns = nil }, false},
		{"X13 no SOA but another record", func(m *dns.Msg) { m.Ns = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "example."}}} }, false},
		{"X13 SOA of another zone", func(m *dns.Msg) { m.Ns = []dns.RR{soa("other.")} }, false},
		{"two SOAs", func(m *dns.Msg) { m.Ns = []dns.RR{soa("example."), soa("example.")} }, false},
		{"two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, false},
		{"no question", func(m *dns.Msg) { m.Question = nil }, false},
		{"another type", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeSOA }, false},
		{"another class", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, false},
		{"another opcode", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, false},
		{"AXFR with an authority section", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := query(tc.change)
			r, err := ParseRequest(m)
			if (err == nil) != tc.ok || err != nil && (!errors.Is(err, ErrFormat) || Rcode(err) != dns.RcodeFormatError) {
				t.Fatalf("%+v, %v", r, err)
			}
			if tc.ok && (r.ID != 99 || r.Name != "\x07Example\x00" || r.Type != m.Question[0].Qtype || r.HasEDNS || r.Flags != 0 || r.Type == dns.TypeIXFR && r.Serial != 7) {
				t.Errorf("%+v", r)
			}
		})
	}
	m := query(func(m *dns.Msg) {
		m.RecursionDesired = true
		m.SetEdns0(4096, true)
	})
	if r, err := ParseRequest(m); err != nil || !r.HasEDNS || !r.DO || r.UDPSize != 4096 || r.Flags != wire.FlagRD {
		t.Errorf("%+v, %v", r, err)
	}
	if Rcode(ErrBusy) != dns.RcodeServerFailure || Rcode(nil) != dns.RcodeSuccess {
		t.Error("response codes")
	}
}

// TestMessagesDoNotAllocate: what an answer allocates does not grow with it.
func TestMessagesDoNotAllocate(t *testing.T) {
	s := registry(t, 10_000)
	st := planned(t, axfr(s.Origin()), s, nil, Options{})
	n := testing.AllocsPerRun(10, func() {
		count(t, st)
	})
	if n > 40 { // the packer may be new
		t.Errorf("%v allocations for %d records", n, s.Records())
	}
}

func TestFormString(t *testing.T) {
	for f, want := range map[Form]string{UpToDate: "uptodate", Retry: "retry", Incremental: "incremental", Whole: "whole", 9: "unknown"} {
		if f.String() != want {
			t.Errorf("%d is %s", f, f)
		}
	}
}

// FuzzWhole makes zones of any octets and takes them through messages.
func FuzzWhole(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"), uint16(0), false)
	f.Add([]byte(strings.Repeat("\x02\x21\x13\x05\x42", 300)), uint16(60_000), true)
	f.Add([]byte(strings.Repeat("\x37\x01\x00\xff\x80\x7f\x08\x10\x99", 2000)), uint16(3), true)
	types := []uint16{dns.TypeA, dns.TypeNS, dns.TypeMX, dns.TypeCNAME, dns.TypeTXT, dns.TypeSRV, dns.TypeMINFO, dns.TypeNSEC, dns.TypeDNAME, 65280}
	labels := []string{"a", "A", "b", "ns1", "host", "Host", "\x00", "a.b", "0123456789abcde", "0123456789abcdeF", strings.Repeat("l", 63), "xn--bcher-kva", "*"}
	f.Fuzz(func(t *testing.T, data []byte, reserve uint16, upper bool) {
		next := func() int {
			if len(data) == 0 {
				return 0
			}
			c := data[0]
			data = data[1:]
			return int(c)
		}
		name := func(end dnsname.Name) dnsname.Name {
			for range next() % 4 {
				l := labels[next()%len(labels)]
				if n, ok := dnsname.Join(string(byte(len(l)))+l, end); ok {
					end = n
				}
			}
			return end
		}
		b := zone.NewBuilder(origin)
		soa := soaOf(1)
		if err := b.Add(origin, dns.TypeSOA, 3600, []byte(soa.First())); err != nil {
			t.Fatal(err)
		}
		for len(data) > 0 {
			owner := name(origin)
			typ := types[next()%len(types)]
			target := name([]dnsname.Name{origin, "\x03net\x00", dnsname.Root, "\x07Example\x00"}[next()%4])
			var rdata string
			switch typ {
			case dns.TypeA:
				rdata = "\xc0\x00\x02" + string(byte(next()))
			case dns.TypeMX:
				rdata = "\x00\x01" + string(target)
			case dns.TypeSRV:
				rdata = "\x00\x01\x00\x02\x00\x03" + string(target)
			case dns.TypeTXT:
				text := strings.Repeat("x", next())
				rdata = string(byte(len(text))) + text
			case dns.TypeMINFO:
				rdata = string(target) + string(owner)
			case dns.TypeNSEC:
				rdata = string(target) + "\x00\x01\x40"
			case 65280:
				rdata = strings.Repeat("y", next()*next()%20_000)
			default:
				rdata = string(target)
			}
			if err := b.Add(owner, typ, uint32(next()), []byte(rdata)); err != nil {
				t.Fatal(err)
			}
		}
		s, _, err := b.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		r := axfr(origin)
		if upper {
			r.Name = "\x07EXAMPLE\x00"
		}
		st := planned(t, r, s, nil, Options{Reserve: min(int(reserve), 40_000)})
		want := recordsOf(s.All())
		want = append(want, want[0])
		if got := answer(t, r, st, wire.MaxMessage-st.options.Reserve); !slices.Equal(got, want) {
			t.Fatalf("got\n%v\nwant\n%v", got, want)
		}
		var parts []record
		for msg, err := range st.inParts {
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, read(t, msg)...)
		}
		if !slices.Equal(parts, want) {
			t.Fatalf("in parts\n%v\nwant\n%v", parts, want)
		}
	})
}
