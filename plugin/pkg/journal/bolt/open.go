package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
)

// Names in the folder.
const (
	fileName = "zones.db"
	tempName = "zones.new" // a file that is being made
)

const (
	// format is the number of the format that this package writes.
	format = 2
	// patience is how long a store that is in use is waited for.
	patience = time.Second
	// room is the memory that is set aside to map the file into: as long as the file
	// fits, a writer that makes it grow waits for no reader. It is addresses
	// only, and takes no memory.
	room = 16 << 30
)

// A step makes the next format of one, in a transaction together with the steps
// before and after it.
type step func(*bbolt.Tx) error

// settings are what only tests have otherwise.
type settings struct {
	format   int
	upgrades map[int]step // by the format that they start from
	limits   limits
}

// A step of a zone with more owners or octets is written as a new generation of
// the owners, in parts of about as many octets, each a transaction. bbolt keeps
// all that a transaction changes in memory, a page for each owner in the worst
// case.
type limits struct {
	owners, octets, part int
	growth               int // of the file, at a time, in octets
	group                int // octets that are written together

	half    int64 // octets of each of the two halves of the log; 0: there is none
	waiting int   // steps in the log from which on they are brought into the file
}

// present are the settings of today.
var present = settings{
	format:   format,
	upgrades: upgrades,
	limits: limits{
		owners: 10_000, octets: 32 << 20, part: 4 << 20, growth: 4 << 20, group: 32 << 20,
		half: 4 << 20, waiting: 4096,
	},
}

// upgrades are the steps from older formats. Format 1 had no log.
var upgrades = map[int]step{1: withLog}

// withLog makes a summary that tells of the log.
func withLog(tx *bbolt.Tx) error {
	b := tx.Bucket(bucketStore)
	old, ok := unseal(b.Get(keySummary))
	if !ok || len(old) != summarySize-2*8 {
		return bad("%v", errSummary)
	}
	return b.Put(keySummary, seal(append(bytes.Clone(old), make([]byte, 2*8)...)))
}

// Open opens the store in a folder, and makes both if they are not there. The
// file is zones.db, the log zones.log. The errors are those of the system, journal.ErrInUse,
// ErrForeign, ErrNewer and ErrCorrupt; what is not a good store is never written
// to.
func Open(dir string) (*Store, error) { return open(dir, present) }

func open(dir string, with settings) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store %q: the folder cannot be made: %w", dir, err)
	}
	s := &Store{path: filepath.Join(dir, fileName), settings: with, building: make(map[uint64]bool), commit: (*bbolt.Tx).Commit}
	s.idle.L = &s.mu
	s.ahead, s.fit = make(map[dnsname.Name][]*delta), make(map[uint64]bool)
	s.log = log{path: filepath.Join(dir, logName), half: with.limits.half, write: writeSynced}
	if err := s.create(filepath.Join(dir, tempName)); err != nil {
		return nil, err
	}
	if err := s.openFile(); err != nil {
		return nil, err
	}
	s.seq = s.summary.seq
	err := s.readLog()
	if err == nil {
		// If the disk refuses, what is in the log stays there, and is read from there.
		if err = s.checkpoint(); !errors.Is(err, journal.ErrCorrupt) {
			return s, nil
		}
	}
	return nil, errors.Join(err, s.closeFile(), s.log.close())
}

// create makes the file if there is none: beside it, and then moves it to its
// place whole, so that there is no time when it is half made. Who makes it holds
// a lock on it from before anything is written; so two that start at once make
// one.
func (s *Store) create(temp string) error {
	exists := func() (bool, error) {
		_, err := os.Stat(s.path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	there, err := exists()
	if err != nil {
		return fmt.Errorf("store %q: %w", s.path, err)
	}
	if there {
		if err := removed(temp); err != nil {
			return fmt.Errorf("store %q: what was left of making it: %w", s.path, err)
		}
		return nil
	}
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("store %q: it cannot be made: %w", s.path, err)
	}
	defer f.Close()
	if err := s.lock(f); err != nil {
		return err
	}
	if there, err := exists(); there || err != nil {
		return errors.Join(err, removed(temp)) // another process was faster
	}
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("store %q: it cannot be made: %w", s.path, err)
	}
	db, err := bbolt.Open(temp, 0o600, s.options(f, 0))
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error {
			for _, name := range [...][]byte{bucketStore, bucketZones, bucketData, bucketHistory, bucketNotes, bucketLoose} {
				if _, err := tx.CreateBucket(name); err != nil {
					return err
				}
			}
			b := tx.Bucket(bucketStore)
			if err := b.Put(keyFormat, []byte(strconv.Itoa(s.format))); err != nil {
				return err
			}
			var empty summary
			return b.Put(keySummary, empty.encode())
		})
		if err == nil {
			err = os.Rename(temp, s.path)
		}
		if err == nil {
			err = syncFolder(filepath.Dir(s.path))
		}
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		return fmt.Errorf("store %q: it cannot be made: %w", s.path, errors.Join(system(err), removed(temp)))
	}
	return nil
}

// removed removes a file that may not be there.
func removed(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncFolder makes durable which files are in a folder.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// options are how bbolt is used. The list of free pages is written with each
// commit: else bbolt would walk through the whole file when it opens it and, in
// a goroutine that nobody guards, when the disk refuses a commit. So the list
// must stay short; see sweep.
func (s *Store) options(f *os.File, mapped int) *bbolt.Options {
	return &bbolt.Options{
		Timeout:         patience,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mapped,
		NoStatistics:    true,
		OpenFile:        func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	}
}

// lock locks a file against other processes, and other stores of this one.
func (s *Store) lock(f *os.File) error {
	deadline := time.Now().Add(patience)
	for {
		ok, err := lockFile(f)
		switch {
		case err != nil:
			return fmt.Errorf("store %q: it cannot be locked: %w", s.path, err)
		case ok:
			return nil
		case time.Now().After(deadline):
			return s.inUse()
		}
		time.Sleep(patience / 20)
	}
}

// openFile opens the file, which is there, and reads what is kept in memory.
// The lock on s.use is held, or nobody else has s yet.
func (s *Store) openFile() error {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("store %q: %w", s.path, err)
	}
	if err := s.checkFile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	heads, err := os.Open(s.path)
	if err != nil {
		return errors.Join(fmt.Errorf("store %q: %w", s.path, err), f.Close())
	}
	mapped := 0
	if math.MaxInt > room {
		mapped = room
	}
	var db *bbolt.DB
	err = guard(func() (err error) {
		db, err = bbolt.Open(s.path, 0o600, s.options(f, mapped)) // closes the file if it fails
		return err
	})
	if err != nil {
		err = errors.Join(err, heads.Close())
	}
	switch {
	case errors.Is(err, journal.ErrCorrupt): // it panicked
		return s.corrupt(errors.Join(err, f.Close()))
	case errors.Is(err, bolterrors.ErrTimeout):
		return s.inUse()
	case err != nil:
		return fmt.Errorf("store %q: %w", s.path, system(err))
	}
	db.AllocSize = s.limits.growth
	s.db, s.file, s.heads = db, f, heads
	if err := s.readStore(); err != nil {
		return errors.Join(err, s.closeFile())
	}
	return nil
}

// checkFile locks the file and looks that bbolt can have it.
func (s *Store) checkFile(f *os.File) error {
	if err := s.lock(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("store %q: %w", s.path, err)
	}
	if s.doubt {
		// What failed to be written may stand in the memory of the system as if it had
		// been. Only the disk knows.
		if err := f.Sync(); err != nil {
			return fmt.Errorf("store %q: the disk still fails: %w", s.path, err)
		}
		if err := dropCache(f); err != nil {
			return fmt.Errorf("store %q: what the disk holds cannot be read again: %w", s.path, err)
		}
	}
	switch err := checkPages(f, info.Size()); {
	case errors.Is(err, errNotBolt):
		return fmt.Errorf("store %q: %w: move that file away, or give the store a folder of its own", s.path, journal.ErrForeign)
	case errors.Is(err, errNewerBolt):
		return s.newer(err.Error())
	case err != nil:
		return s.corrupt(system(err))
	}
	return nil
}

func (s *Store) inUse() error {
	return fmt.Errorf("store %q: %w: end that first, or give this one a folder of its own", s.path, journal.ErrInUse)
}

func (s *Store) newer(what string) error {
	return fmt.Errorf("store %q: %w (%s): go back to that version, or give this one a folder of its own", s.path, journal.ErrNewer, what)
}

// readStore looks that the file is a store of this format, upgrades it if it is
// of an older one, and reads the records of all zones.
func (s *Store) readStore() error {
	found := 0
	err := s.view(func(tx *bbolt.Tx) (err error) {
		b := tx.Bucket(bucketStore)
		if b == nil {
			return journal.ErrForeign
		}
		found, err = strconv.Atoi(string(b.Get(keyFormat)))
		if err != nil || found < 1 {
			return bad("its format is %q", b.Get(keyFormat))
		}
		return nil
	})
	switch {
	case errors.Is(err, journal.ErrForeign):
		return fmt.Errorf("store %q: %w: move that file away, or give the store a folder of its own", s.path, journal.ErrForeign)
	case err != nil:
		return s.corrupt(err)
	case found > s.format:
		return s.newer(fmt.Sprintf("format %d, and %d is known", found, s.format))
	case found < s.format:
		err := s.upgrade(found)
		switch {
		case errors.Is(err, journal.ErrCorrupt):
			return s.corrupt(err)
		case err != nil:
			return fmt.Errorf("store %q: upgrade from format %d to %d: %w", s.path, found, s.format, err)
		}
	}
	if err := s.view(s.readRecords); err != nil {
		return s.corrupt(err)
	}
	s.settled = true
	return nil
}

// upgrade brings the file to the format of today, in one transaction.
func (s *Store) upgrade(from int) error {
	return guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			for f := from; f < s.format; f++ {
				up := s.upgrades[f]
				if up == nil {
					return fmt.Errorf("format %d is not known any more: use a version between that knows both", f)
				}
				if err := up(tx); err != nil {
					return err
				}
			}
			return tx.Bucket(bucketStore).Put(keyFormat, []byte(strconv.Itoa(s.format)))
		})
	})
}

// readRecords reads the records of all zones, which must be those that the
// summary tells of.
func (s *Store) readRecords(tx *bbolt.Tx) error {
	for _, name := range [...][]byte{bucketStore, bucketZones, bucketData, bucketHistory, bucketNotes, bucketLoose} {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("the bucket %q is not there", name)
		}
	}
	said, err := parseSummary(tx.Bucket(bucketStore).Get(keySummary))
	if err != nil {
		return err
	}
	zones := make(map[dnsname.Name]record, min(said.zones.count, 1<<20))
	var found tally
	var buf []byte
	err = tx.Bucket(bucketZones).ForEach(func(k, v []byte) error {
		r, err := parseRecord(k, v)
		if err != nil {
			return fmt.Errorf("zone %x: %w", k, err)
		}
		var h uint64
		h, buf = hashPair(buf, k, v)
		found.add(h)
		zones[dnsname.Name(k)] = r
		return nil
	})
	if err != nil {
		return err
	}
	if found != said.zones {
		return fmt.Errorf("it has %d zones, and should have %d, or they are not the same", found.count, said.zones.count)
	}
	s.mu.Lock()
	s.zones, s.summary, s.last = zones, said, tx.ID()
	if s.session != said.log {
		s.session = 0
	}
	s.applied()
	s.mu.Unlock()
	return nil
}
