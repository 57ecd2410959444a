package journaltest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// modelZone is what a store should hold of a zone.
type modelZone struct {
	journal.State
	history []zone.Changeset
}

// trim does what History says.
func (z *modelZone) trim(keep journal.History) {
	z.history = slices.Clone(z.history)
	for len(z.history) > 0 && (len(z.history) > keep.Depth || size(z.history...) > keep.Octets) {
		z.history = z.history[1:]
	}
}

// path gives the changesets that lead from one serial to another.
func (z *modelZone) path(from, to zone.Serial) ([]zone.Changeset, bool) {
	if from == to {
		return nil, true
	}
	for end := len(z.history); end > 0; end-- {
		if z.history[end-1].To != to {
			continue
		}
		for begin := end - 1; begin >= 0; begin-- {
			if z.history[begin].From == from {
				return z.history[begin:end], true
			}
		}
		break
	}
	return nil, false
}

// model runs random steps on a store and on maps.
func model(f *fixture) {
	origins := []dnsname.Name{Origin, dnsname.Root, "\x01a\x07example\x00"}
	rapid.Check(f.T, func(t *rapid.T) {
		g := &fixture{T: f.T, Options: f.Options, ctx: f.ctx, dir: f.TempDir()}
		g.open()
		defer func() {
			if err := g.s.Close(); err != nil {
				t.Error(err)
			}
		}()
		zones := map[dnsname.Name]*modelZone{}
		floor := map[dnsname.Name]journal.Revision{}
		keep := func(t *rapid.T) journal.History {
			return journal.History{Depth: rapid.SampledFrom([]int{0, 1, 3, 100}).Draw(t, "depth"), Octets: rapid.Int64Range(0, 3000).Draw(t, "octets")}
		}
		draw := func(t *rapid.T) journal.Notes {
			n := journal.Notes{}
			for range rapid.IntRange(0, 2).Draw(t, "notes") {
				value := []byte(rapid.StringN(0, 3, 3).Draw(t, "value"))
				if rapid.Bool().Draw(t, "remove") {
					value = nil
				}
				n[rapid.SampledFrom([]string{"a", "b", "b/c"}).Draw(t, "name")] = value
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				origin := rapid.SampledFrom(origins).Draw(t, "origin")
				c := journal.Commit{Notes: draw(t), Keep: keep(t)}
				z := zones[origin]
				if z == nil {
					c.Next = NewZone(f, origin, 1, rapid.IntRange(0, 30).Draw(t, "hosts"))
				} else {
					c.Base, c.Next = z.Revision, z.Snapshot
					if rapid.IntRange(0, 4).Draw(t, "only notes") > 0 {
						c.Next, c.Change = randomChange(t, f, z.Snapshot)
					}
				}
				wrong := rapid.IntRange(0, 9).Draw(t, "wrong base") == 9
				if wrong {
					c.Base++
					if z == nil {
						c.Base = 1
					}
				}
				rev, err := g.s.Commit(g.ctx, origin, c)
				if wrong {
					if !errors.Is(err, journal.ErrConflict) {
						t.Fatal(err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if z == nil {
					z = &modelZone{State: journal.State{Revision: rev - 1, Notes: journal.Notes{}}}
					zones[origin] = z
				}
				if rev != z.Revision+1 || rev <= floor[origin] {
					t.Fatalf("revision %d after %d, deleted at %d", rev, z.Revision, floor[origin])
				}
				z.Revision, z.Snapshot = rev, c.Next
				for name, value := range c.Notes {
					z.Notes[name] = value
					if value == nil {
						delete(z.Notes, name)
					}
				}
				if drop, join := c.Kept(); drop {
					z.history = nil
				} else if join {
					z.history = append(slices.Clone(z.history), c.Change)
				}
				z.trim(c.Keep)
			},
			"delete": func(t *rapid.T) {
				origin := rapid.SampledFrom(origins).Draw(t, "origin")
				if err := g.s.Delete(g.ctx, origin); err != nil {
					t.Fatal(err)
				}
				if z := zones[origin]; z != nil {
					floor[origin] = z.Revision
					delete(zones, origin)
				}
			},
			"reopen": func(*rapid.T) { g.reopen() },
			"changes": func(t *rapid.T) {
				origin := rapid.SampledFrom(origins).Draw(t, "origin")
				z := zones[origin]
				if z == nil {
					return
				}
				serials := []zone.Serial{z.Snapshot.Serial(), 12345}
				for _, c := range z.history {
					serials = append(serials, c.From)
				}
				from, to := rapid.SampledFrom(serials).Draw(t, "from"), rapid.SampledFrom(serials).Draw(t, "to")
				want, ok := z.path(from, to)
				got, err := g.history(origin, from, to)
				if ok != (err == nil) || err != nil && !errors.Is(err, journal.ErrTrimmed) || len(got) != len(want) {
					t.Fatalf("%d changesets from %d to %d, %v; want %d, %v", len(got), from, to, err, len(want), ok)
				}
				for i := range got {
					if diff := SameChangeset(&got[i], &want[i]); diff != "" {
						t.Fatal(diff)
					}
				}
			},
			"": func(t *rapid.T) {
				if got := g.origins(); len(got) != len(zones) {
					t.Fatalf("zones %q, want %d", got, len(zones))
				}
				for origin, z := range zones {
					st, err := g.s.Load(g.ctx, origin)
					if err != nil {
						t.Fatal(err)
					}
					if diff := SameZone(st.Snapshot, z.Snapshot); diff != "" || st.Revision != z.Revision || !sameNotes(st.Notes, z.Notes) {
						t.Fatalf("%q: revision %d, notes %q; want %d, %q; %s", origin, st.Revision, st.Notes, z.Revision, z.Notes, diff)
					}
					if got, want := g.s.HistorySize(origin), size(z.history...); got != want {
						t.Fatalf("%q: history of %d octets, want %d", origin, got, want)
					}
				}
			},
		})
	})
}

// randomChange makes a next version of a zone, mostly with a later serial.
func randomChange(t *rapid.T, tb testing.TB, s *zone.Snapshot) (*zone.Snapshot, zone.Changeset) {
	serial := s.Serial() + zone.Serial(rapid.SampledFrom([]uint32{1, 1, 1, 1 << 30, 1<<31 - 1, 0, 1 << 31, 1<<32 - 1}).Draw(t, "serial step"))
	origin := s.Origin()
	hash := dnsname.Name("\x01n") + origin
	return Change(tb, s, serial, func(txn *zone.Txn) error {
		for range rapid.IntRange(0, 4).Draw(t, "edits") {
			owner := rapid.SampledFrom([]dnsname.Name{origin, Host(origin, 1), Host(origin, 2), "\x01A\x01b" + origin, hash}).Draw(t, "owner")
			var err error
			switch rapid.IntRange(0, 4).Draw(t, "edit") {
			case 0, 1:
				text := fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "text"))
				_, err = txn.Add(owner, rrset.TypeTXT, uint32(len(text)), string(byte(len(text)))+text)
			case 2:
				_, err = txn.Add(hash, rrset.TypeNSEC3, 60, "\x01\x00\x00\x00\x00\x01"+string(byte(rapid.IntRange(0, 3).Draw(t, "hash"))))
			case 3:
				if owner != origin {
					txn.RemoveName(owner)
				}
			case 4:
				txn.RemoveSet(owner, rrset.TypeTXT)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
