package lease

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

var (
	www = dnsname.MustParse("www.example.org.")
	ftp = dnsname.MustParse("ftp.example.org.")
)

// commit makes a change in one transaction and gives its notes.
func commit(t *Table, change func(*Txn)) map[string][]byte {
	x := t.Begin()
	change(x)
	notes := x.Notes()
	x.Commit()
	return notes
}

func TestTable(t *testing.T) {
	var table Table
	if _, ok := table.Next(); ok || table.Len() != 0 {
		t.Error("the zero value has leases")
	}
	notes := commit(&table, func(x *Txn) {
		x.Set(dnsname.MustParse("WWW.example.org."), rrset.TypeA, "\xc0\x00\x02\x01", 100)
		x.Set(www, rrset.TypeCNAME, "\x01A\x00", 50)
		x.Set(ftp, rrset.TypeA, "\xc0\x00\x02\x02", 70)
	})
	if len(notes) != 2 || table.Len() != 3 {
		t.Errorf("%d notes, %d leases", len(notes), table.Len())
	}
	if until, ok := table.Next(); !ok || until != 50 {
		t.Errorf("the next ends at %d, %v", until, ok)
	}
	if due := table.Due(49, 9); due != nil {
		t.Errorf("due too early: %v", due)
	}
	if due := table.Due(70, 9); !slices.Equal(due, []dnsname.Name{www, ftp}) {
		t.Errorf("due: %v", due)
	}
	if due := table.Due(70, 1); !slices.Equal(due, []dnsname.Name{www}) {
		t.Errorf("no more than one, and again: %v", due)
	}
	// Renewed: the old end is none any more. Letter case of RDATA makes no difference.
	notes = commit(&table, func(x *Txn) { x.Set(www, rrset.TypeCNAME, "\x01a\x00", 200) })
	if until, _ := table.Next(); until != 70 || table.Len() != 3 || len(notes) != 1 {
		t.Errorf("the next ends at %d, %d leases, %d notes", until, table.Len(), len(notes))
	}
	if notes := commit(&table, func(x *Txn) { x.Set(www, rrset.TypeCNAME, "\x01a\x00", 200) }); notes != nil {
		t.Errorf("notes of nothing: %v", notes)
	}
	notes = commit(&table, func(x *Txn) {
		if x.Clear(ftp, rrset.TypeA, "no such") || x.Clear(dnsname.MustParse("none."), 1, "") || !x.Clear(ftp, rrset.TypeA, "\xc0\x00\x02\x02") {
			t.Error("Clear")
		}
		x.Keep(www, func(l Lease) bool { return l.Type == rrset.TypeA })
	})
	if want := map[string][]byte{prefix + string(ftp): nil}; len(notes) != 2 || notes[prefix+string(ftp)] != nil || len(want) != 1 || table.Len() != 1 {
		t.Errorf("notes %v, %d leases", notes, table.Len())
	}
	commit(&table, (*Txn).KeepNone)
	if _, ok := table.Next(); ok || table.Len() != 0 {
		t.Error("leases are left")
	}
}

// TestRenewals: the heap does not grow with leases that are renewed for ever.
func TestRenewals(t *testing.T) {
	var table Table
	for i := range int64(10_000) {
		commit(&table, func(x *Txn) { x.Set(www, rrset.TypeA, "\x00\x00\x00\x00", 1000+i) })
	}
	if len(table.ends) > 100 {
		t.Errorf("%d ends of one lease", len(table.ends))
	}
	if until, _ := table.Next(); until != 10_999 {
		t.Errorf("the next ends at %d", until)
	}
}

// TestModel compares a table with a plain map, with savepoints, transactions that
// are dropped, and a table made of the notes.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type record struct {
			owner dnsname.Name
			typ   uint16
			rdata string
		}
		table, model, stored := new(Table), map[record]int64{}, map[string][]byte{}
		owners := []dnsname.Name{www, ftp, "\x00"}
		anyRecord := rapid.Custom(func(t *rapid.T) record {
			return record{
				rapid.SampledFrom(owners).Draw(t, "owner"), rapid.SampledFrom([]uint16{1, 16, 65280}).Draw(t, "type"),
				rapid.StringN(0, 3, 3).Draw(t, "rdata"),
			}
		})
		for range rapid.IntRange(1, 20).Draw(t, "transactions") {
			x, now := table.Begin(), maps.Clone(model)
			type mark struct {
				point Savepoint
				now   map[record]int64
			}
			marks := []mark{{x.Savepoint(), maps.Clone(now)}}
			for range rapid.IntRange(0, 8).Draw(t, "steps") {
				r := anyRecord.Draw(t, "record")
				switch rapid.IntRange(0, 5).Draw(t, "step") {
				case 0, 1:
					until := rapid.Int64Range(1, 100).Draw(t, "until")
					x.Set(r.owner, r.typ, r.rdata, until)
					now[r] = until
				case 2:
					_, had := now[r]
					if x.Clear(r.owner, r.typ, r.rdata) != had {
						t.Fatalf("Clear %v, had %v", r, had)
					}
					delete(now, r)
				case 3:
					x.Keep(r.owner, func(l Lease) bool { return l.Type == r.typ })
					maps.DeleteFunc(now, func(o record, _ int64) bool { return o.owner == r.owner && o.typ != r.typ })
				case 4:
					marks = append(marks, mark{x.Savepoint(), maps.Clone(now)})
				case 5:
					last := marks[len(marks)-1]
					x.Rollback(last.point)
					now = maps.Clone(last.now)
				}
			}
			if rapid.Bool().Draw(t, "drop") {
				continue
			}
			for name, note := range x.Notes() {
				if note == nil {
					delete(stored, name)
				} else {
					stored[name] = note
				}
			}
			x.Commit()
			model = now
			again, err := Parse(stored)
			if err != nil {
				t.Fatal(err)
			}
			for _, table := range []*Table{table, again} {
				if table.Len() != len(model) {
					t.Fatalf("%d leases, want %d", table.Len(), len(model))
				}
				first := int64(-1)
				for r, until := range model {
					if at := find(table.owners[r.owner], r.typ, r.rdata); at < 0 || table.owners[r.owner][at].Until != until {
						t.Fatalf("%v is not there, or not until %d", r, until)
					}
					if first < 0 || until < first {
						first = until
					}
				}
				if next, ok := table.Next(); ok != (first >= 0) || ok && next != first {
					t.Fatalf("the next ends at %d (%v), want %d", next, ok, first)
				}
			}
		}
	})
}

// FuzzParse: any note is refused or read, and what is read is written as it was.
func FuzzParse(f *testing.F) {
	f.Add("lease/"+string(www), appendNote(nil, []Lease{{1, "\xc0\x00\x02\x01", 1 << 33}}))
	f.Add("lease/\x00", []byte{noteForm})
	f.Add("file/stamps", []byte("{}"))
	f.Fuzz(func(t *testing.T, name string, note []byte) {
		table, err := Parse(map[string][]byte{name: note})
		if err != nil {
			return
		}
		x := table.Begin()
		x.KeepNone()
		notes := x.Notes()
		if table.Len() == 0 {
			return
		}
		if _, ok := notes[name]; !ok || len(notes) != 1 {
			t.Fatalf("notes %v of %q", notes, name)
		}
		for owner, leases := range table.owners {
			if got := appendNote(nil, leases); prefix+string(owner) != name || string(got) != string(note) {
				t.Fatalf("%q: %x, want %x", owner, got, note)
			}
		}
	})
}

func BenchmarkRenew(b *testing.B) {
	var table Table
	owners := make([]dnsname.Name, 1000)
	for i := range owners {
		owners[i] = dnsname.MustParse(fmt.Sprintf("h%d.example.org.", i))
	}
	for i := range b.N {
		x := table.Begin()
		x.Set(owners[i%len(owners)], rrset.TypeA, "\x00\x00\x00\x00", int64(i))
		_ = x.Notes()
		x.Commit()
	}
}
