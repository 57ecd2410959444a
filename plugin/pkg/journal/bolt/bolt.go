// Package bolt keeps zones in one file in a folder, by bbolt. A zone is kept
// owner by owner, so a commit costs what it changes, whatever the size of the
// zone, and nothing is ever written in full again (decision 8). Before it a log of a
// fixed size takes commits, each with one sync of the disk (decision 10).
//
// What bbolt does not protect is protected here: each zone has a sum over its
// owners and one over its notes, kept up in steps; changesets, records of zones and
// the summary have checksums; and the pages are walked through before bbolt gets
// the file.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Store is a journal.Store in a folder. If the disk fails at the very end of a
// commit, so that nobody knows what it holds, the next commit first reads all of
// it again, and is refused if that does not go well.
type Store struct {
	path string // of the file
	settings

	mu      sync.Mutex
	idle    sync.Cond // nobody writes
	writing bool      // somebody writes, or is about to
	queue   []*job
	closed  bool
	// What is kept in memory of the file. Only who has disk changes it, with mu held.
	zones    map[dnsname.Name]record
	summary  summary
	building map[uint64]bool // generations that are being written
	doubt    bool            // what the disk holds is not known
	// What is in the log and not in the file.
	frames  []frame
	ahead   map[dnsname.Name][]*delta // the same, by zone
	waiting int                       // how many steps that are
	session uint64                    // of the log; 0 if it is not used now
	// Of checkpoints.
	timer         *time.Timer
	latest        time.Time      // when the last step was written to the log
	checkpointing bool           // one is under way, in a goroutine of its own
	failing       bool           // the last one failed
	background    sync.WaitGroup // of checkpoints

	// disk is held by who writes to the file: the writer of a group, or a checkpoint.
	disk sync.Mutex

	// use is held by readers while they use db. Who has disk swaps db with it locked.
	use   sync.RWMutex
	db    *bbolt.DB // nil if it is closed, or could not be opened again
	file  *os.File  // of db
	heads *os.File  // the same, to read the meta pages

	beginning sync.Mutex
	lost      bool // bbolt panicked with its locks held

	why error // db is nil

	// Of the writer of a group.
	log   log
	seq   uint64    // the last that a frame of the log got, even if it could not be written
	retry time.Time // the log is not used before
	// fit are the numbers of zones that were looked at before the log took a step of
	// them.
	fit map[uint64]bool

	// Of who has disk.
	cause error // of the doubt
	stuck bool  // bbolt did not end a transaction, and never will
	last  int   // the number of the last transaction
	// settled tells that nothing was written since the file was opened.
	settled bool
	// commit is what writes a transaction; tests have it fail.
	commit func(*bbolt.Tx) error
}

var _ journal.Store = (*Store)(nil)

// reopen opens the file again, from what the disk holds, and looks at all of
// it; s.disk is held.
func (s *Store) reopen() error {
	s.use.Lock()
	defer s.use.Unlock()
	err := s.closeFile()
	if err == nil {
		err = s.openFile()
	}
	if err == nil {
		for origin, r := range s.zones {
			if err = s.view(r.verify); err != nil {
				err = errors.Join(s.corrupt(fmt.Errorf("zone %q: %w", origin, err)), s.closeFile())
				break
			}
		}
	}
	s.why = err
	s.mu.Lock()
	s.doubt = err != nil
	s.mu.Unlock()
	return err
}

// settle makes both meta pages lead to the same, so that damage of one costs
// nothing: a transaction that changes nothing. It is not needed for anything that
// was promised, so it is no harm if the disk refuses it.
func (s *Store) settle() {
	if s.settled || s.doubt || s.db == nil {
		return
	}
	var tx *bbolt.Tx
	err := guard(func() (err error) {
		if tx, err = s.begin(true); err != nil {
			return err
		}
		return tx.Commit()
	})
	if err != nil && tx != nil {
		s.undo(tx)
	}
}

// closeFile closes the file; readers have left.
func (s *Store) closeFile() error {
	if s.db == nil {
		return nil
	}
	db := s.db
	s.db = nil
	if s.stuck || s.lost { // it would wait for ever; its memory is lost, the lock on the file is not
		s.stuck, s.lost = false, false
		return errors.Join(s.file.Close(), s.heads.Close())
	}
	return errors.Join(guard(db.Close), s.heads.Close())
}

// begin begins a transaction. bbolt reads the meta pages with locks held that it
// does not let go of if it panics; so they are looked at before.
func (s *Store) begin(writable bool) (tx *bbolt.Tx, err error) {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	switch {
	case s.db == nil:
		return nil, s.why
	case s.lost:
		return nil, bad("bbolt is stuck since the file was damaged")
	}
	var b [metaSize]byte
	good := false
	for page := range int64(2) {
		if _, err := s.heads.ReadAt(b[:], page*int64(s.db.Info().PageSize)+pageHeader); err != nil {
			return nil, bad("its first pages cannot be read: %v", err)
		}
		_, ok := parseMeta(b[:])
		good = good || ok
	}
	if !good {
		return nil, bad("%v", errMetas)
	}
	s.lost = true
	tx, err = s.db.Begin(writable)
	s.lost = false
	return tx, err
}

// view reads in a transaction; s.use is held.
func (s *Store) view(f func(*bbolt.Tx) error) error {
	return guard(func() error {
		tx, err := s.begin(false)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // fails if there is none, and there is one
		return f(tx)
	})
}

// read reads a zone in a transaction, with what is ahead of it.
func (s *Store) read(ctx context.Context, origin dnsname.Name, f func(*bbolt.Tx, *view) error) error {
	s.use.RLock()
	defer s.use.RUnlock()
	if err := s.open(ctx); err != nil {
		return err
	}
	// Before the transaction: what is not there any more then is in the file.
	s.mu.Lock()
	ahead := s.ahead[origin]
	s.mu.Unlock()
	err := s.view(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketZones).Get([]byte(origin))
		if v == nil {
			return journal.ErrNotExist
		}
		r, err := parseRecord([]byte(origin), v)
		if err != nil {
			return fmt.Errorf("%w: %w", journal.ErrCorrupt, err)
		}
		look, err := newView(tx, r, ahead)
		if err != nil {
			return err
		}
		return f(tx, look)
	})
	if errors.Is(err, journal.ErrCorrupt) {
		return s.corrupt(fmt.Errorf("zone %q: %w", origin, err))
	}
	return err
}

// open tells whether the store may be used.
func (s *Store) open(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return journal.ErrClosed
	}
	return ctx.Err()
}

// Load is journal.Store's.
func (s *Store) Load(ctx context.Context, origin dnsname.Name) (st journal.State, err error) {
	err = s.read(ctx, origin, func(tx *bbolt.Tx, r *view) (err error) {
		st.Revision = r.revision
		if st.Snapshot, err = r.restore(ctx, tx); err != nil {
			return err
		}
		st.Notes, err = r.readNotes(tx)
		return err
	})
	if err != nil {
		return journal.State{}, err
	}
	return st, nil
}

// batchOctets is how much of a history is read at a time: while changesets are
// given away there is no transaction, which would keep old pages alive.
const batchOctets = 1 << 20

// Changes is journal.Store's.
func (s *Store) Changes(ctx context.Context, origin dnsname.Name, from, to zone.Serial) iter.Seq2[zone.Changeset, error] {
	return func(yield func(zone.Changeset, error) bool) {
		var at, end, id uint64
		err := s.read(ctx, origin, func(tx *bbolt.Tx, r *view) (err error) {
			id = r.id
			at, end, err = r.find(tx, from, to)
			return err
		})
		for err == nil && at < end {
			var list []zone.Changeset
			err = s.read(ctx, origin, func(tx *bbolt.Tx, r *view) (err error) {
				switch {
				case r.id != id:
					return journal.ErrNotExist
				case at < r.first:
					return journal.ErrTrimmed
				}
				list, err = r.changes(tx, at, end)
				return err
			})
			for _, c := range list {
				if ctx.Err() != nil {
					err = ctx.Err()
					break
				}
				if !yield(c, nil) {
					return
				}
			}
			at += uint64(len(list))
		}
		if err != nil {
			yield(zone.Changeset{}, err)
		}
	}
}

// HistorySize is journal.Store's.
func (s *Store) HistorySize(origin dnsname.Name) int64 {
	s.mu.Lock()
	octets, ahead := s.zones[origin].octets, len(s.ahead[origin])
	s.mu.Unlock()
	if ahead > 0 {
		// If it cannot be read it is what was in the file last.
		_ = s.read(context.Background(), origin, func(_ *bbolt.Tx, r *view) error {
			octets = r.octets
			return nil
		})
	}
	return octets
}

// List is journal.Store's.
func (s *Store) List(ctx context.Context) iter.Seq2[dnsname.Name, error] {
	return func(yield func(dnsname.Name, error) bool) {
		err := s.open(ctx)
		s.mu.Lock()
		origins := slices.Collect(maps.Keys(s.zones))
		s.mu.Unlock()
		for _, o := range origins {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				break
			}
			if !yield(o, nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

// Close is journal.Store's.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		for s.writing {
			s.idle.Wait()
		}
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	left := s.queue[:0]
	for _, j := range s.queue {
		if j.lead {
			left = append(left, j) // it is about to write
			continue
		}
		j.queued, j.err = false, journal.ErrClosed
		close(j.wake)
	}
	s.queue = left
	for s.writing {
		s.idle.Wait()
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.background.Wait()
	s.disk.Lock()
	defer s.disk.Unlock()
	s.leave()
	s.use.Lock()
	defer s.use.Unlock()
	s.settle()
	s.mu.Lock()
	s.zones, s.frames, s.ahead = nil, nil, nil
	s.mu.Unlock()
	s.why = journal.ErrClosed
	if err := errors.Join(s.closeFile(), s.log.close()); err != nil {
		return fmt.Errorf("store %q: %w", s.path, err)
	}
	return nil
}

// leave brings what is in the log into the file, so that the log is not needed any
// more. What the disk refuses stays in the log until the store is opened again.
func (s *Store) leave() {
	if s.doubt || s.summary.log == 0 || s.checkpoint() != nil {
		return
	}
	_ = s.update(func(b *batch) (bool, error) {
		b.summary.log = 0
		return true, nil
	})
}
