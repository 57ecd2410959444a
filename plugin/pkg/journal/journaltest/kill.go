package journaltest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// killDir is the variable of the environment that tells a test to be the process
// that is killed, and where its store is.
const killDir = "TRUSTDNS_JOURNALTEST_KILL"

// killWriters is how many zones are changed at once.
const killWriters = 4

// Kill starts the test that calls it once more, as a process that commits to a
// store without end and says what was acknowledged, and kills it at a moment of
// chance; and so on, with the same store. All that was acknowledged must be
// there each time, whole.
func Kill(t *testing.T, o Options, rounds int) {
	if dir := os.Getenv(killDir); dir != "" {
		commitWithoutEnd(t, o, dir)
		return
	}
	if o.Large == 0 {
		o.Large = 1000
	}
	dir := t.TempDir()
	acknowledged := make([]journal.Revision, killWriters)
	r := rand.New(rand.NewPCG(9, 9))
	total := 0
	for range rounds {
		total += killOnce(t, dir, r.IntN(150), acknowledged)
		s, err := o.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for w, rev := range acknowledged {
			expectKilled(t, s, w, rev, o.Large)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d commits were acknowledged", total)
}

// killOnce has a process acknowledge that many commits, kills it, and takes down
// the last revision that it told of for each zone.
func killOnce(t *testing.T, dir string, commits int, acknowledged []journal.Revision) (told int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var rest strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var w int
		var rev journal.Revision
		if n, err := fmt.Sscanf(lines.Text(), "acknowledged %d %d.", &w, &rev); n != 2 || err != nil {
			fmt.Fprintln(&rest, lines.Text())
			continue
		}
		acknowledged[w] = rev
		if told++; told == commits+1 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || told <= commits {
		t.Fatalf("the process ended by itself after %d commits: %v\n%s", told, err, rest.String())
	}
	return told
}

func killOrigin(w int) dnsname.Name { return dnsname.Name(fmt.Sprintf("\x03k%02d\x00", w)) }

// killVersion is the version of a zone that has a serial; it can be told from the
// serial alone.
func killVersion(txn *zone.Txn, origin dnsname.Name, serial zone.Serial, large int) error {
	if _, err := txn.Add(Host(origin, int(serial)%5), rrset.TypeTXT, 60, fmt.Sprintf("\x08%08d", serial)); err != nil {
		return err
	}
	txn.Remove(Host(origin, int(serial-20)%5), rrset.TypeTXT, fmt.Sprintf("\x08%08d", serial-20))
	if serial%40 != 0 {
		return nil
	}
	// A step with many owners: they come, and go at the next.
	for i := range large {
		owner := "\x05large" + Host(origin, i)
		if serial%80 == 0 {
			txn.RemoveName(owner)
		} else if _, err := txn.Add(owner, rrset.TypeA, 60, "\x7f\x00\x00\x01"); err != nil {
			return err
		}
	}
	return nil
}

// commitWithoutEnd is the process that is killed.
func commitWithoutEnd(t *testing.T, o Options, dir string) {
	s, err := o.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if o.Large == 0 {
		o.Large = 1000
	}
	var wg sync.WaitGroup
	for w := range killWriters {
		wg.Go(func() {
			origin := killOrigin(w)
			st, err := s.Load(t.Context(), origin)
			if errors.Is(err, journal.ErrNotExist) {
				st.Snapshot = NewZone(t, origin, 1, 5)
				st.Revision, err = s.Commit(t.Context(), origin, journal.Commit{Next: st.Snapshot})
			}
			for err == nil {
				fmt.Printf("acknowledged %d %d.\n", w, st.Revision)
				next, c := Change(t, st.Snapshot, st.Snapshot.Serial()+1, func(txn *zone.Txn) error {
					return killVersion(txn, origin, st.Snapshot.Serial()+1, o.Large)
				})
				note := journal.Notes{"serial": fmt.Append(nil, next.Serial())}
				st.Revision, err = s.Commit(t.Context(), origin, journal.Commit{Base: st.Revision, Next: next, Change: c, Notes: note, Keep: journal.History{Depth: 5, Octets: 1 << 40}})
				st.Snapshot = next
			}
			t.Error(err)
		})
	}
	wg.Wait()
}

// expectKilled compares a zone with what it was when that revision, or the next,
// was committed.
func expectKilled(t *testing.T, s journal.Store, w int, rev journal.Revision, large int) {
	t.Helper()
	origin := killOrigin(w)
	st, err := s.Load(context.Background(), origin)
	if rev == 0 && errors.Is(err, journal.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	serial := st.Snapshot.Serial()
	if st.Revision < rev || st.Revision > rev+1 || zone.Serial(st.Revision) != serial {
		t.Fatalf("zone %d: revision %d and serial %d, acknowledged was %d", w, st.Revision, serial, rev)
	}
	if serial > 1 && string(st.Notes["serial"]) != fmt.Sprint(serial) {
		t.Errorf("zone %d: note of serial %q, want %d", w, st.Notes["serial"], serial)
	}
	want := NewZone(t, origin, 1, 5)
	for n := zone.Serial(2); n <= serial; n++ {
		many := large
		if n+40 <= serial && n%80 != 0 {
			many = 0 // they went again
		}
		want, _ = Change(t, want, n, func(txn *zone.Txn) error { return killVersion(txn, origin, n, many) })
	}
	if diff := SameZone(st.Snapshot, want); diff != "" {
		t.Errorf("zone %d: %s", w, diff)
	}
	n := 0
	for _, err := range s.Changes(context.Background(), origin, serial-min(5, serial-1), serial) {
		if err != nil {
			t.Error(err)
		}
		n++
	}
	if n != int(min(5, serial-1)) {
		t.Errorf("zone %d: %d changesets", w, n)
	}
}
