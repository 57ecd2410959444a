package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/journaltest"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

func TestOpenMakes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	closeStore(t, openSmall(t, dir))
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, fileName): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

// madeBy makes a bbolt file of others.
func madeBy(t *testing.T, path string, noFreelist bool, fill func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: noFreelist})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fill), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	other := func(noFreelist bool) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			madeBy(t, path, noFreelist, func(tx *bbolt.Tx) error {
				_, err := tx.CreateBucket([]byte("other"))
				return err
			})
		}
	}
	formatOf := func(format string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			madeBy(t, path, false, func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucket(bucketStore)
				if err != nil {
					return err
				}
				return b.Put(keyFormat, []byte(format))
			})
		}
	}
	text := func(s string) func(*testing.T, string) {
		return func(t *testing.T, path string) { writeFile(t, path, []byte(s)) }
	}
	for _, tc := range []struct {
		name string
		make func(t *testing.T, path string)
		want error
		text string
	}{
		{"text", text(strings.Repeat("example. 3600 IN SOA ...\n", 1000)), journal.ErrForeign, "move that file away"},
		{"a short text", text("x"), journal.ErrForeign, "move that file away"},
		{"zeros", text(strings.Repeat("\x00", 1<<16)), journal.ErrForeign, "move that file away"},
		{"empty", text(""), journal.ErrCorrupt, "restore it from a backup, or move it away"},
		{"a bbolt file of others", other(false), journal.ErrForeign, "move that file away"},
		{"a bbolt file of others, without a list of free pages", other(true), journal.ErrForeign, "move that file away"},
		{"format of tomorrow", formatOf("3"), journal.ErrNewer, "format 3, and 2 is known"},
		{"format that is none", formatOf("x"), journal.ErrCorrupt, "restore it"},
		{"format 0", formatOf("0"), journal.ErrCorrupt, "restore it"},
		{"no buckets", formatOf("2"), journal.ErrCorrupt, "restore it"},
		{"no buckets, of an older format", formatOf("1"), journal.ErrCorrupt, "restore it"},
		{"bbolt of tomorrow", func(t *testing.T, path string) {
			other(false)(t, path)
			b := readFile(t, path)
			for _, at := range []int{0, os.Getpagesize()} {
				binary.NativeEndian.PutUint32(b[at+pageHeader+4:], 3)
			}
			writeFile(t, path, b)
		}, journal.ErrNewer, "go back to that version"},
		{"a folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, syscall.EISDIR, fileName},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, fileName)
			tc.make(t, path)
			before, err := os.ReadFile(path)
			_, got := open(dir, small)
			if !errors.Is(got, tc.want) || !strings.Contains(fmt.Sprint(got), tc.text) || !strings.Contains(fmt.Sprint(got), path) {
				t.Errorf("%v, want %v with %q", got, tc.want, tc.text)
			}
			if after, again := os.ReadFile(path); string(after) != string(before) || (err == nil) != (again == nil) {
				t.Error("the file is not what it was")
			}
		})
	}
}

func TestOpenInUse(t *testing.T) {
	dir := t.TempDir()
	s := openSmall(t, dir)
	begin(t, s, journaltest.Origin, 3)
	_, err := open(dir, small)
	if !errors.Is(err, journal.ErrInUse) || !strings.Contains(err.Error(), "another process") {
		t.Error(err)
	}
	if err := advance(t, s, begin(t, s, "\x01b\x00", 1), nil); err != nil {
		t.Error(err)
	}
}

// TestOpenAtOnce has several make the same store; one of them gets it.
func TestOpenAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var opened []*Store
	for range 4 {
		wg.Go(func() {
			s, err := open(dir, small)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				opened = append(opened, s)
			} else if !errors.Is(err, journal.ErrInUse) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(opened) != 1 {
		t.Fatalf("%d opened it", len(opened))
	}
	begin(t, opened[0], journaltest.Origin, 3)
	closeStore(t, opened[0])
	s := openSmall(t, dir)
	if dump(s) == "" {
		t.Error("the zone is gone")
	}
}

// TestUpgrade opens a store of an older format, written by hand: one that kept
// each zone in a single value.
func TestUpgrade(t *testing.T) {
	const origin dnsname.Name = "\x03old\x00"
	dir := t.TempDir()
	snap := journaltest.NewZone(t, origin, 7, 20)
	bucketOld := []byte("whole")
	madeBy(t, filepath.Join(dir, fileName), false, func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket(bucketStore)
		if err != nil {
			return err
		}
		if err := b.Put(keyFormat, []byte("1")); err != nil {
			return err
		}
		old, err := tx.CreateBucket(bucketOld)
		if err != nil {
			return err
		}
		var value []byte
		for k, v := range snap.Packed() {
			value = append(append(value, byte(len(k))), k...)
			value = append(binary.LittleEndian.AppendUint16(value, uint16(len(v))), v...)
		}
		return old.Put([]byte(origin), value)
	})
	fail := true
	newer := small
	newer.format = 3
	newer.upgrades = map[int]step{
		1: func(tx *bbolt.Tx) error { // the buckets of today, and each owner for itself
			for _, name := range [...][]byte{bucketZones, bucketData, bucketHistory, bucketNotes, bucketLoose} {
				if _, err := tx.CreateBucket(name); err != nil {
					return err
				}
			}
			var all summary
			err := tx.Bucket(bucketOld).ForEach(func(k, v []byte) error {
				all.ids++
				r := record{id: all.ids, revision: 1, serial: 7, data: all.ids, origin: dnsname.Name(k)}
				data, err := tx.Bucket(bucketData).CreateBucket(number(r.data))
				for err == nil && len(v) > 0 {
					key := v[1 : 1+v[0]]
					v = v[1+v[0]:]
					value := v[2 : 2+binary.LittleEndian.Uint16(v)]
					v = v[2+len(value):]
					h, _ := hashPair(nil, key, value)
					r.owners.add(h)
					err = data.Put(key, value)
				}
				if err != nil {
					return err
				}
				h, _ := hashPair(nil, k, r.encode())
				all.zones.add(h)
				return tx.Bucket(bucketZones).Put(k, r.encode())
			})
			if err != nil {
				return err
			}
			return tx.Bucket(bucketStore).Put(keySummary, all.encode())
		},
		2: func(tx *bbolt.Tx) error {
			if fail {
				return syscall.ENOSPC
			}
			return tx.DeleteBucket(bucketOld)
		},
	}
	if _, err := open(dir, newer); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "upgrade from format 1 to 3") {
		t.Fatal(err)
	}
	fail = false
	for range 2 {
		s, err := open(dir, newer)
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Load(t.Context(), origin)
		if err != nil {
			t.Fatal(err)
		}
		if diff := journaltest.SameZone(st.Snapshot, snap); diff != "" {
			t.Fatal(diff)
		}
		closeStore(t, s)
	}
	if _, err := open(dir, small); !errors.Is(err, journal.ErrNewer) {
		t.Error(err)
	}
	newer.format, newer.upgrades = 5, nil
	if _, err := open(dir, newer); err == nil || !strings.Contains(err.Error(), "format 3 is not known any more") {
		t.Error(err)
	}
}

// TestLeftGeneration has a large step that is never finished. What it wrote is
// removed when the next large step begins.
func TestLeftGeneration(t *testing.T) {
	dir := t.TempDir()
	s := openWith(t, dir, direct)
	st := begin(t, s, journaltest.Origin, 100)
	ctx, cancel := context.WithCancel(t.Context())
	commits := 0
	s.commit = func(tx *bbolt.Tx) error {
		if commits++; commits == 3 {
			cancel()
		}
		return tx.Commit()
	}
	_, err := s.Commit(ctx, "\x01b\x00", journal.Commit{Next: journaltest.NewZone(t, "\x01b\x00", 1, 500)})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	loose := func() (n int) {
		t.Helper()
		s.use.RLock()
		defer s.use.RUnlock()
		if err := s.view(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketData).ForEach(func([]byte, []byte) error { n++; return nil })
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := loose(); n != 2 {
		t.Errorf("%d generations, want that of the zone and what was left", n)
	}
	closeStore(t, s)
	s = openWith(t, dir, direct)
	if _, err := s.Load(t.Context(), "\x01b\x00"); !errors.Is(err, journal.ErrNotExist) {
		t.Error(err)
	}
	begin(t, s, "\x01b\x00", 100)
	if n := loose(); n != 2 {
		t.Errorf("%d generations, want those of two zones", n)
	}
	many := func(txn *zone.Txn) error {
		for i := range 60 {
			txn.RemoveName(journaltest.Host(journaltest.Origin, i))
		}
		return nil
	}
	if err := advance(t, s, st, many); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "\x01b\x00"); err != nil {
		t.Fatal(err)
	}
	if n := loose(); n != 3 {
		t.Errorf("%d generations, want that of the zone, the one before, and that of the zone that was deleted", n)
	}
	// A record of what is loose that names what is in use does no harm. The store
	// finds that somebody else wrote, and looks at all of it first.
	s.use.RLock()
	err = s.db.Update(func(tx *bbolt.Tx) error {
		loose := tx.Bucket(bucketLoose)
		return errors.Join(loose.Put(number(s.zones[journaltest.Origin].data), nil), loose.Put([]byte("x"), nil), loose.Put(number(1<<40), nil))
	})
	s.use.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), journaltest.Origin); !errors.Is(err, errOther) {
		t.Error(err)
	}
	begin(t, s, "\x01c\x00", 100)
	if n := loose(); n != 2 {
		t.Errorf("%d generations, want those of two zones", n)
	}
	if got, err := s.Load(t.Context(), journaltest.Origin); err != nil || journaltest.SameZone(got.Snapshot, st.Snapshot) != "" {
		t.Error(err)
	}
}

// TestDamage opens files with one thing wrong. They are refused, or a zone is,
// or all is as it was; nothing is ever missing without a word.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := openSmall(t, dir)
	work(t, s)
	want := map[string]string{}
	for o := range s.zones {
		want[string(o)] = dumpZone(s, string(o))
	}
	closeStore(t, s)
	whole := readFile(t, s.path)
	n := 6000
	if testing.Short() || raced {
		n = 1000
	}
	damaged := t.TempDir()
	path := filepath.Join(damaged, fileName)
	counts := map[string]int{}
	for what, file := range journaltest.Damages(rand.New(rand.NewPCG(2, 2)), whole, os.Getpagesize(), n) {
		writeFile(t, path, file)
		d, err := open(damaged, small)
		if err != nil {
			if !errors.Is(err, journal.ErrCorrupt) && !errors.Is(err, journal.ErrForeign) && !errors.Is(err, journal.ErrNewer) {
				t.Errorf("%s: %v", what, err)
			}
			counts["refused"]++
			continue
		}
		result := "as it was"
		for o, zone := range want {
			got := dumpZone(d, o)
			if got == zone {
				continue
			}
			_, err := d.Load(context.Background(), dnsname.Name(o))
			if !errors.Is(err, journal.ErrCorrupt) && !strings.Contains(got, journal.ErrCorrupt.Error()) {
				t.Errorf("%s: zone %q is\n%s\nwant\n%s", what, o, got, zone)
			}
			result = "a zone was refused"
		}
		if list := d.zones; len(list) != len(want) {
			t.Errorf("%s: %d zones, want %d", what, len(list), len(want))
		}
		// A zone that is whole can be changed, and begun, beside one that is not.
		beside := counts[result]%10 == 0
		if beside {
			commitBeside(t, d, what, want)
		}
		counts[result]++
		closeStore(t, d)
		if beside { // what could not be brought into the file was not promised
			d, err := open(damaged, small)
			if err != nil {
				t.Errorf("%s: opened again after commits: %v", what, err)
				continue
			}
			closeStore(t, d)
		}
	}
	t.Log(counts)
	for _, result := range []string{"refused", "a zone was refused", "as it was"} {
		if counts[result] == 0 {
			t.Errorf("never: %s", result)
		}
	}
}

// commitBeside commits to all zones that can be loaded, and looks that nothing
// else changes.
func commitBeside(t *testing.T, s *Store, what string, want map[string]string) {
	t.Helper()
	for o, before := range want {
		st, err := s.Load(context.Background(), dnsname.Name(o))
		if err != nil {
			continue
		}
		if err := advance(t, s, &st, nil); err != nil && !errors.Is(err, journal.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
		for other, text := range want {
			if got := dumpZone(s, other); other != o && before != "" && got != text && !strings.Contains(got, journal.ErrCorrupt.Error()) {
				t.Errorf("%s: after a commit to %q zone %q is\n%s\nwant\n%s", what, o, other, got, text)
			}
		}
		delete(want, o)
		defer func() { want[o] = before }()
	}
}

// FuzzOpen has any octets stand anywhere in a file: offset (3), how many (1), they
// themselves, and so on.
func FuzzOpen(f *testing.F) {
	made := f.TempDir()
	s := openSmall(f, made)
	begin(f, s, "\x01b\x00", 60)
	st := begin(f, s, journaltest.Origin, 12)
	for range 4 {
		if err := advance(f, s, st, nil); err != nil {
			f.Fatal(err)
		}
	}
	want := dump(s)
	closeStore(f, s)
	whole := readFile(f, s.path)
	page := os.Getpagesize()
	patch := func(page, at int, octets string) string {
		at += page * os.Getpagesize()
		return string([]byte{byte(at >> 16), byte(at >> 8), byte(at), byte(len(octets))}) + octets
	}
	f.Add([]byte(""))
	for p := range len(whole) / page {
		f.Add([]byte(patch(p, 8, "\x01")))
		f.Add([]byte(patch(p, 10, "\xff\xff")))
		f.Add([]byte(patch(p, 12, "\x01") + patch(p, 20, "\xff\xff\xff\xff")))
		f.Add([]byte(patch(p, 16, strings.Repeat("\xff", 64))))
		f.Add([]byte(patch(p, 24, "\x00\x00\x00\x80\x00\x00\x00\x80")))
		f.Add([]byte(patch(p, page-1, "\x00")))
	}
	dir := f.TempDir()
	path := filepath.Join(dir, fileName)
	f.Fuzz(func(t *testing.T, patches []byte) {
		file := append([]byte(nil), whole...)
		for len(patches) >= 4 {
			at, n := int(patches[0])<<16|int(patches[1])<<8|int(patches[2]), int(patches[3])
			patches = patches[4:]
			n = min(n, len(patches))
			copy(file[min(at, len(file)):], patches[:n])
			patches = patches[n:]
		}
		writeFile(t, path, file)
		s, err := open(dir, small)
		if err != nil {
			if !errors.Is(err, journal.ErrCorrupt) && !errors.Is(err, journal.ErrForeign) && !errors.Is(err, journal.ErrNewer) {
				t.Error(err)
			}
			return
		}
		defer closeStore(t, s)
		if got := dump(s); got != want && !strings.Contains(got, journal.ErrCorrupt.Error()) {
			t.Errorf("it holds\n%s\nwant\n%s", got, want)
		}
	})
}

// TestDamagedBranch has each bit of a branch turned, which leads to the owners of
// a zone. It is refused, or the store takes commits and can be opened after them. So
// a key that became less is noticed, by which all is found but what is changed.
func TestDamagedBranch(t *testing.T) {
	dir := t.TempDir()
	s := openWith(t, dir, direct)
	st := begin(t, s, journaltest.Origin, 100)
	if err := advance(t, s, st, journaltest.AddText(journaltest.Origin, 1, "x")); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = openWith(t, dir, direct)
	want, branch := dump(s), 0
	s.use.RLock()
	err := s.view(func(tx *bbolt.Tx) error {
		for id := 2; ; id++ {
			p, err := tx.Page(id)
			if err != nil || p == nil {
				return err
			}
			if p.Type == "branch" {
				branch = id
			}
		}
	})
	s.use.RUnlock()
	if err != nil || branch == 0 {
		t.Fatal("there is no branch:", err)
	}
	closeStore(t, s)
	whole := readFile(t, s.path)
	at := branch * os.Getpagesize()
	b := whole[at : at+os.Getpagesize()]
	end := pageHeader // of the last key
	for i := range int(order.Uint16(b[10:])) {
		e := pageHeader + i*elementSize
		end = max(end, e+int(order.Uint32(b[e:])+order.Uint32(b[e+4:])))
	}
	damaged := t.TempDir()
	path := filepath.Join(damaged, fileName)
	look := func(what string) (refused bool) {
		t.Helper()
		writeFile(t, path, whole)
		d, err := open(damaged, direct)
		if err != nil {
			if !errors.Is(err, journal.ErrCorrupt) {
				t.Errorf("%s: %v", what, err)
			}
			return true
		}
		if got := dump(d); got != want {
			t.Errorf("%s: it is\n%s\nwant\n%s", what, got, want)
		}
		changed := *st
		for i := range 10 {
			if err := advance(t, d, &changed, journaltest.AddText(journaltest.Origin, 10*i, "y")); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		got := dump(d)
		closeStore(t, d)
		if d, err = open(damaged, direct); err != nil {
			t.Errorf("%s: opened again after commits: %v", what, err)
			return false
		}
		if again := dump(d); again != got {
			t.Errorf("%s: opened again it is\n%s\nwant\n%s", what, again, got)
		}
		closeStore(t, d)
		return false
	}
	if look("no damage") {
		t.Error("refused without damage")
	}
	harmless := 0
	for i := range end {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if !look(fmt.Sprintf("bit %d of octet %d of branch %d", bit, i, branch)) {
				harmless++
			}
			b[i] ^= 1 << bit
		}
	}
	if harmless > 1 { // a key of one octet may stand beside another such octet
		t.Errorf("%d bits of a branch are of no account", harmless)
	}
}

// TestDamagedLength has a changeset of the history be longer or shorter than written.
// The history cannot be read, but the zone can be changed until that changeset is gone.
func TestDamagedLength(t *testing.T) {
	for _, more := range []int{-1, 1, 5000} {
		dir := t.TempDir()
		s := openSmall(t, dir)
		st := begin(t, s, journaltest.Origin, 12)
		for range 4 {
			if err := advance(t, s, st, nil); err != nil {
				t.Fatal(err)
			}
		}
		closeStore(t, s)
		madeBy(t, s.path, false, func(tx *bbolt.Tx) error {
			k, v := tx.Bucket(bucketHistory).Cursor().First()
			value := make([]byte, len(v)+more)
			copy(value, v)
			return tx.Bucket(bucketHistory).Put(append([]byte(nil), k...), value)
		})
		s = openSmall(t, dir)
		if text := dump(s); !strings.Contains(text, journal.ErrCorrupt.Error()) {
			t.Errorf("%d more: the history is\n%s", more, text)
		}
		for range 20 {
			if err := advance(t, s, st, nil); err != nil {
				t.Fatal(err)
			}
			if n := s.HistorySize(journaltest.Origin); n < 0 {
				t.Fatalf("%d more: a history of %d octets", more, n)
			}
			want := dump(s)
			closeStore(t, s)
			s = openSmall(t, dir)
			if got := dump(s); got != want {
				t.Fatalf("%d more: opened again it is\n%s\nwant\n%s", more, got, want)
			}
		}
		if text := dump(s); strings.Contains(text, journal.ErrCorrupt.Error()) {
			t.Errorf("%d more: the history is still\n%s", more, text)
		}
	}
}
