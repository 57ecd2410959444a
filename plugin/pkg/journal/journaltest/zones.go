package journaltest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Origin is the zone that most tests use.
const Origin dnsname.Name = "\x07example\x00"

// soa gives the RDATA of an SOA record.
func soa(origin dnsname.Name, serial zone.Serial) string {
	rdata := append([]byte(origin), origin...)
	for _, n := range []uint32{uint32(serial), 7200, 3600, 1209600, 300} {
		rdata = binary.BigEndian.AppendUint32(rdata, n)
	}
	return string(rdata)
}

// NewZone makes a version of a zone that has hosts with an address each, next to
// its apex.
func NewZone(t testing.TB, origin dnsname.Name, serial zone.Serial, hosts int) *zone.Snapshot {
	t.Helper()
	b := zone.NewBuilder(origin)
	add := func(owner dnsname.Name, typ uint16, rdata string) {
		if err := b.Add(owner, typ, 3600, []byte(rdata)); err != nil {
			t.Fatal(err)
		}
	}
	add(origin, rrset.TypeSOA, soa(origin, serial))
	add(origin, rrset.TypeNS, "\x02ns\x03net\x00")
	for i := range hosts {
		add(Host(origin, i), rrset.TypeA, string([]byte{192, 0, 2, byte(i)}))
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Host gives the i-th host of NewZone.
func Host(origin dnsname.Name, i int) dnsname.Name {
	label := fmt.Sprintf("h%07d", i)
	return dnsname.Name(string(byte(len(label)))+label) + origin
}

// Change makes the next version of a zone, with another serial.
func Change(t testing.TB, s *zone.Snapshot, serial zone.Serial, edit func(*zone.Txn) error) (*zone.Snapshot, zone.Changeset) {
	t.Helper()
	txn := s.Begin()
	if edit != nil {
		if err := edit(txn); err != nil {
			t.Fatal(err)
		}
	}
	set, err := rrset.New(rrset.TypeSOA, 3600, soa(s.Origin(), serial))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Replace(s.SOA().Owner, set); err != nil {
		t.Fatal(err)
	}
	next, c, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	c.Who = fmt.Sprintf("test %d", serial)
	c.When = time.Unix(int64(serial), 5).UTC()
	return next, c
}

// AddText is an edit: it adds a TXT record to a host.
func AddText(origin dnsname.Name, i int, text string) func(*zone.Txn) error {
	return func(txn *zone.Txn) error {
		_, err := txn.Add(Host(origin, i), rrset.TypeTXT, 60, string(byte(len(text)))+text)
		return err
	}
}

// SameZone tells how two versions of a zone differ, or "".
func SameZone(got, want *zone.Snapshot) string {
	switch {
	case got == nil || want == nil:
		return fmt.Sprintf("one is nil: %v, %v", got == nil, want == nil)
	case got.Origin() != want.Origin():
		return fmt.Sprintf("origin %q, want %q", got.Origin(), want.Origin())
	case got.Serial() != want.Serial():
		return fmt.Sprintf("serial %d, want %d", got.Serial(), want.Serial())
	case got.Records() != want.Records() || got.Names() != want.Names():
		return fmt.Sprintf("%d records of %d names, want %d of %d", got.Records(), got.Names(), want.Records(), want.Names())
	}
	a, b := slices.Collect(got.All()), slices.Collect(want.All())
	for i := range min(len(a), len(b)) {
		if !a[i].Owner.Equal(b[i].Owner) || !a[i].RRset.Equal(b[i].RRset) || !a[i].Sigs.Equal(b[i].Sigs) {
			return fmt.Sprintf("set %d: %v, want %v", i, a[i], b[i])
		}
	}
	if len(a) != len(b) {
		return fmt.Sprintf("%d sets, want %d", len(a), len(b))
	}
	return ""
}

// SameChangeset tells how two changesets differ, or "".
func SameChangeset(got, want *zone.Changeset) string {
	if got.From != want.From || got.To != want.To || got.Who != want.Who || !got.When.Equal(want.When) {
		return fmt.Sprintf("%d to %d by %q at %v, want %d to %d by %q at %v",
			got.From, got.To, got.Who, got.When, want.From, want.To, want.Who, want.When)
	}
	same := func(a, b zone.Set) bool {
		alike := func(x, y rrset.RRset) bool {
			return x.IsEmpty() && y.IsEmpty() || x == y
		}
		return a.Owner == b.Owner && a.Type == b.Type && alike(a.RRset, b.RRset) && alike(a.Sigs, b.Sigs)
	}
	if !slices.EqualFunc(got.Removed, want.Removed, same) {
		return fmt.Sprintf("removed %v, want %v", got.Removed, want.Removed)
	}
	if !slices.EqualFunc(got.Added, want.Added, same) {
		return fmt.Sprintf("added %v, want %v", got.Added, want.Added)
	}
	return ""
}

// sameNotes tells whether two sets of notes are the same.
func sameNotes(a, b journal.Notes) bool {
	if len(a) != len(b) {
		return false
	}
	for name, value := range a {
		other, ok := b[name]
		if !ok || string(other) != string(value) {
			return false
		}
	}
	return true
}
