package bolt

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
)

// Writers that wait are written together. Whoever comes while nobody
// writes takes all that wait, itself among them, and writes them; who comes in the
// meantime waits. Then the first of those who wait does the same. So nothing
// waits while the disk is idle, nobody writes for others more than once, and
// there is no goroutine when there is nothing to do. A group is written to the log, or
// in one transaction to the file; see ahead.go.

// groupJobs bounds a group; limits.group does too.
const groupJobs = 256

// job is something to write. check tells whether it can be: it reads, and changes
// nothing; an error concerns the job alone. write must succeed then; if it does
// not, all of the transaction is undone.
type job struct {
	ctx    context.Context
	octets int         // roughly, of what is written
	step   *commitStep // nil if it does not go into the log
	check  func(*batch) error
	write  func(*batch) error

	err    error
	wake   chan struct{} // closed when err holds the result, or lead is set
	queued bool          // not taken by a writer yet
	lead   bool          // it is this one's turn to write
}

// batch is a transaction, and what it makes of what is kept in memory.
type batch struct {
	s       *Store
	tx      *bbolt.Tx
	zones   map[dnsname.Name]*record // of the zones that it touches; nil: gone
	summary summary
	buf     []byte
}

// record gives what is known of a zone in the transaction, or nil.
func (b *batch) record(origin dnsname.Name) *record {
	if r, ok := b.zones[origin]; ok {
		return r
	}
	if r, ok := b.s.zones[origin]; ok {
		return &r
	}
	return nil
}

// put writes the record of a zone; nil removes it.
func (b *batch) put(origin dnsname.Name, r *record) error {
	zones := b.tx.Bucket(bucketZones)
	if old := zones.Get([]byte(origin)); old != nil {
		b.summary.zones.remove(b.hash([]byte(origin), old))
	}
	b.zones[origin] = r
	if r == nil {
		return zones.Delete([]byte(origin))
	}
	v := r.encode()
	b.summary.zones.add(b.hash([]byte(origin), v))
	return zones.Put([]byte(origin), v)
}

func (b *batch) hash(key, value []byte) (h uint64) {
	h, b.buf = hashPair(b.buf, key, value)
	return h
}

// do has a job written and gives its result.
func (s *Store) do(j *job) error {
	j.wake = make(chan struct{})
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return journal.ErrClosed
	}
	s.queue = append(s.queue, j)
	j.queued = true
	if s.writing {
		s.mu.Unlock()
		select {
		case <-j.wake:
		case <-j.ctx.Done():
		}
		s.mu.Lock()
		if j.queued && j.ctx.Err() != nil {
			s.queue = slices.DeleteFunc(s.queue, func(o *job) bool { return o == j })
			j.queued = false
			if j.lead {
				s.handOver()
			}
			s.mu.Unlock()
			return j.ctx.Err()
		}
		if !j.lead {
			s.mu.Unlock()
			<-j.wake // it is being written, or is written
			return j.err
		}
	}
	s.writing = true
	group := s.take()
	s.mu.Unlock()
	s.write(group)
	s.mu.Lock()
	for _, o := range group {
		if o != j {
			close(o.wake)
		}
	}
	s.handOver()
	s.mu.Unlock()
	return j.err
}

// take takes the jobs of a group from the queue: all go into the log, or none;
// s.mu is held.
func (s *Store) take() []*job {
	n, octets, most := 0, 0, s.limits.group
	logged := s.queue[0].step != nil
	if logged {
		most = min(most, int(s.limits.half/2))
	}
	for n < len(s.queue) && n < groupJobs && (n == 0 || octets+s.queue[n].octets <= most && (s.queue[n].step != nil) == logged) {
		octets += s.queue[n].octets
		s.queue[n].queued = false
		n++
	}
	group := slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	return group
}

// handOver has the first who waits write, or nobody; s.mu is held.
func (s *Store) handOver() {
	if len(s.queue) > 0 {
		next := s.queue[0]
		next.lead = true
		close(next.wake)
		return
	}
	s.writing = false
	s.idle.Broadcast()
}

// write writes the jobs of a group, to the log or to the file. If one cannot be
// written to the file the others are: each is tried alone, the smallest first,
// until the disk refuses one: it would refuse the larger ones too, and each of
// them late.
func (s *Store) write(group []*job) {
	if group[0].step != nil && s.logged(group) {
		return
	}
	refused := s.transact(group)
	if refused != nil && len(group) > 1 && !s.inDoubt() {
		group = slices.DeleteFunc(slices.Clone(group), func(j *job) bool { return j.err != nil })
		slices.SortStableFunc(group, func(a, b *job) int { return a.octets - b.octets })
		refused = nil
		for _, j := range group {
			if refused == nil {
				err := s.transact([]*job{j})
				if own := new(jobError); errors.As(err, own) {
					j.err = err
				} else {
					refused = err
				}
			}
			if j.err == nil {
				j.err = refused
			}
		}
		return
	}
	for _, j := range group {
		if j.err == nil {
			j.err = refused
		}
	}
}

// jobError is the error of one job, not of the disk.
type jobError struct{ error }

func (e jobError) Unwrap() error { return e.error }

// transact writes jobs to the file in one transaction, after all that is ahead.
// The errors of their checks are put into the jobs. The error it gives is that of
// the transaction: nothing of it is there, unless s.doubt is set.
func (s *Store) transact(jobs []*job) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	if err := s.checkpoint(); err != nil {
		return err
	}
	var session uint64
	err := s.update(func(b *batch) (work bool, err error) {
		// What failed to be written to the log is of no account from now on.
		work = b.summary.seq != s.seq
		for _, j := range jobs {
			if j.err = j.ctx.Err(); j.err == nil {
				j.err = guard(func() error { return j.check(b) })
			}
			if j.err != nil {
				continue
			}
			work = true
			if err := guard(func() error { return j.write(b) }); err != nil {
				return false, jobError{err}
			}
		}
		if work {
			session = s.nextSession()
			b.summary.seq, b.summary.log = s.seq, session
		}
		return work, nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if session != s.session && session != 0 {
		s.log.begin()
		s.session = session
	}
	return nil
}

// update writes one transaction, if there is work for one; s.disk is held. With an
// error nothing of it is there, unless s.doubt is set.
func (s *Store) update(f func(*batch) (work bool, err error)) error {
	b := &batch{s: s, zones: make(map[dnsname.Name]*record), summary: s.summary}
	id, writing, written := 0, false, false
	err := guard(func() (err error) {
		if b.tx, err = s.begin(true); err != nil {
			return err
		}
		if id = b.tx.ID(); id != s.last+1 {
			return errOther
		}
		work, err := f(b)
		if err != nil || !work {
			return err
		}
		if err := b.tx.Bucket(bucketStore).Put(keySummary, b.summary.encode()); err != nil {
			return err
		}
		writing = true
		err = s.commit(b.tx)
		writing, written = false, err == nil
		return err
	})
	if written {
		s.last, s.settled = id, false
		s.mu.Lock()
		for origin, r := range b.zones {
			if r == nil {
				delete(s.zones, origin)
			} else {
				s.zones[origin] = *r
			}
		}
		s.summary = b.summary
		s.applied()
		s.mu.Unlock()
		return nil
	}
	doubt := writing || b.tx == nil // bbolt panicked
	if b.tx != nil {
		doubt = !s.undo(b.tx) || doubt
	}
	switch {
	case err == nil:
	case errors.Is(err, journal.ErrCorrupt):
		err = s.corrupt(err)
	default:
		err = fmt.Errorf("store %q: %w", s.path, system(err))
	}
	if doubt {
		s.doubtful(err)
	}
	return err
}

// doubtful puts the store in doubt; s.disk is held.
func (s *Store) doubtful(cause error) {
	if cause != nil {
		s.cause = cause
	}
	s.mu.Lock()
	s.doubt = true
	s.mu.Unlock()
}

// inDoubt tells whether it is not known what the disk holds.
func (s *Store) inDoubt() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doubt
}

// undo ends a transaction that was not written, and tells whether that is
// sure. It is if bbolt still goes by the meta page of the transaction before:
// then whatever was written is in pages that nothing leads to, and bbolt has
// taken its list of free pages back. If not, the disk refused at the very end, and
// the store is in doubt: what bbolt reads may never have come to the disk.
func (s *Store) undo(tx *bbolt.Tx) (sure bool) {
	s.stuck = true
	err := guard(func() error {
		if err := tx.Rollback(); err != nil && !errors.Is(err, bolterrors.ErrTxClosed) {
			return err
		}
		s.stuck = false
		return nil
	})
	if err == nil {
		err = s.view(func(tx *bbolt.Tx) error {
			if tx.ID() != s.last {
				return errDoubt
			}
			return nil
		})
	}
	return err == nil
}

var (
	errDoubt = errors.New("a transaction that failed is there")
	errOther = errors.New("somebody else wrote to the file: it is read again before the next commit")
)
