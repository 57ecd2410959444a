package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"go.etcd.io/bbolt"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Steps are appended to the log, and are durable then. Later they are brought
// into the file, many in a transaction, while others are appended to the other
// half of the log: that is a checkpoint. Until then they are ahead of the file, and
// kept in memory; whoever reads lays them over what is in the file, and never
// waits. What does not go into the log (first versions, large steps, Delete) is
// written to the file by the writer itself, when all that is ahead is there.

const (
	// idleTime is how long after the last step all is brought into the file.
	idleTime = time.Second
	// retryTime is how long the log is left alone after it failed.
	retryTime = 10 * time.Second
)

// head is the present version of a zone, in the log or in the file.
type head struct {
	revision journal.Revision
	serial   zone.Serial
}

// head gives the present version of a zone; s.mu is held.
func (s *Store) head(origin dnsname.Name) head {
	if steps := s.ahead[origin]; len(steps) > 0 {
		last := steps[len(steps)-1]
		return head{last.base + 1, last.serial}
	}
	r := s.zones[origin]
	return head{r.revision, r.serial}
}

// logged writes the jobs of a group to the log, and tells whether it did, or they
// failed: if not they are to be written to the file, and the log is not used
// before that was done. The caller is the writer.
func (s *Store) logged(group []*job) bool {
	fit := make([]*job, 0, len(group))
	var unknown []*job
	s.mu.Lock()
	session, applied := s.session, s.summary.seq
	if session == 0 || s.doubt {
		s.mu.Unlock()
		return false
	}
	heads := make(map[dnsname.Name]head, len(group))
	for _, j := range group {
		if j.err = j.ctx.Err(); j.err != nil {
			continue
		}
		h, ok := heads[j.step.origin]
		if !ok {
			h = s.head(j.step.origin)
		}
		if j.err = j.step.follows(h); j.err != nil {
			continue
		}
		if r := s.zones[j.step.origin]; !s.fit[r.id] {
			unknown = append(unknown, j)
		}
		heads[j.step.origin] = head{j.step.base + 1, j.step.serial}
		fit = append(fit, j)
	}
	s.mu.Unlock()
	for _, j := range unknown {
		if !s.canFollow(j.step.origin) {
			return false
		}
	}
	if len(fit) == 0 {
		return true
	}
	steps := make([]*delta, len(fit))
	for i, j := range fit {
		steps[i] = &j.step.delta
	}
	seq := s.seq + 1
	f := s.log.frame(session, seq, steps)
	if int64(len(f)) > s.log.half {
		return false
	}
	half := s.log.active
	if !s.log.room(len(f), applied) {
		if err := s.bring(); err != nil {
			for _, j := range fit {
				j.err = err
			}
			return true
		}
		s.mu.Lock()
		applied = s.summary.seq
		s.mu.Unlock()
		if !s.log.room(len(f), applied) {
			return false
		}
	}
	s.seq = seq // even if it fails: it may be found in the file
	err := s.log.append(f, seq)
	var kept []*delta
	if err == nil {
		// What is kept is what would be read, and keeps no version in memory.
		_, body, ok := parseFrame(f, session)
		if kept, err = parseSteps(string(body), seq); err == nil && !ok {
			err = errFrame
		}
	}
	if err != nil {
		s.leaveLog()
		return false
	}
	for _, j := range fit {
		j.step.revision = j.step.base + 1
	}
	s.mu.Lock()
	s.frames = append(s.frames, frame{seq: seq, octets: len(f), steps: kept})
	for _, d := range kept {
		s.ahead[d.origin] = append(s.ahead[d.origin], d)
	}
	s.waiting += len(kept)
	s.watch()
	if half != s.log.active || s.waiting >= s.limits.waiting {
		s.checkpointSoon()
	}
	s.mu.Unlock()
	return true
}

// canFollow looks at a zone of which the log has nothing yet: nothing must come
// between a step in the log and the file but the disk. It tells whether a step of it
// may go into the log.
func (s *Store) canFollow(origin dnsname.Name) bool {
	s.use.RLock()
	defer s.use.RUnlock()
	return s.view(func(tx *bbolt.Tx) error {
		r, err := parseRecord([]byte(origin), tx.Bucket(bucketZones).Get([]byte(origin)))
		if err != nil {
			return err
		}
		s.mu.Lock()
		same := r == s.zones[origin]
		s.mu.Unlock()
		switch {
		case !same:
			return bad("its record is another in the file")
		case tx.Bucket(bucketData).Bucket(number(r.data)) == nil:
			return bad("its owners are not there")
		}
		if err := r.eachPlace(tx); err != nil {
			return err
		}
		s.fit[r.id] = true
		return nil
	}) == nil
}

// leaveLog has the log not be used until all that is in it, and what failed to be
// written to it, is of no account. The caller is the writer.
func (s *Store) leaveLog() {
	s.retry = time.Now().Add(retryTime)
	s.mu.Lock()
	s.session = 0
	s.mu.Unlock()
}

// nextSession gives the session of the log that the next transaction of the
// writer begins, or goes on with; 0 if the log cannot be used.
func (s *Store) nextSession() uint64 {
	s.mu.Lock()
	session := s.session
	s.mu.Unlock()
	if session != 0 || s.limits.half == 0 || !s.retry.IsZero() && time.Now().Before(s.retry) {
		return session
	}
	if err := s.log.prepare(); err != nil {
		s.retry = time.Now().Add(retryTime)
		return 0
	}
	return s.log.newSession()
}

// watch has what is ahead be brought into the file when no step comes for a time;
// s.mu is held.
func (s *Store) watch() {
	s.latest = time.Now()
	if s.timer == nil {
		s.timer = time.AfterFunc(idleTime, s.tick)
	}
}

// tick is what the timer runs.
func (s *Store) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.frames) == 0 {
		s.timer = nil
		return
	}
	if s.doubt { // whoever commits next finds out; it may take its time
		s.timer = nil
		return
	}
	if since := time.Since(s.latest); since < idleTime {
		s.timer.Reset(idleTime - since)
		return
	}
	s.background.Add(1)
	s.mu.Unlock()
	_ = s.bring() // it is tried again
	s.mu.Lock()
	s.background.Done()
	if s.closed || s.doubt || len(s.frames) == 0 {
		s.timer = nil
		return
	}
	s.timer.Reset(idleTime)
}

// checkpointSoon has what is ahead be brought into the file while others go on;
// s.mu is held. After one that failed the next is tried when the log is full, or
// by the timer.
func (s *Store) checkpointSoon() {
	if s.checkpointing || s.failing || s.closed {
		return
	}
	s.checkpointing = true
	s.background.Go(func() {
		_ = s.bring() // it is tried again
		s.mu.Lock()
		s.checkpointing = false
		s.mu.Unlock()
	})
}

// bring brings all that is ahead by now into the file.
func (s *Store) bring() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.checkpoint()
}

// checkpoint brings all that is ahead by now into the file, in as few
// transactions as limits allow; s.disk is held. If there is a doubt it first finds
// out what the disk holds.
func (s *Store) checkpoint() (err error) {
	if s.doubt {
		if err := s.reopen(); err != nil {
			return fmt.Errorf("%w (after %w)", err, s.cause)
		}
	}
	s.mu.Lock()
	last := uint64(0)
	if n := len(s.frames); n > 0 {
		last = s.frames[n-1].seq
	}
	s.mu.Unlock()
	for err == nil && s.summary.seq < last {
		err = s.bringSome(last)
	}
	s.mu.Lock()
	s.failing = err != nil
	s.mu.Unlock()
	return err
}

// bringSome brings as many frames into the file as go into one transaction, none
// behind the last.
func (s *Store) bringSome(last uint64) error {
	s.mu.Lock()
	owners, octets, n := 0, 0, 0
	for _, f := range s.frames {
		owners, octets = owners+f.owners(), octets+f.octets
		if f.seq > last || n > 0 && (owners > s.limits.owners || octets > s.limits.group) {
			break
		}
		n++
	}
	some := s.frames[:n:n]
	s.mu.Unlock()
	var origins []dnsname.Name
	steps := make(map[dnsname.Name][]*delta)
	for _, f := range some {
		for _, d := range f.steps {
			if steps[d.origin] == nil {
				origins = append(origins, d.origin)
			}
			steps[d.origin] = append(steps[d.origin], d)
		}
	}
	err := s.update(func(b *batch) (bool, error) {
		b.summary.seq = some[n-1].seq
		for _, origin := range origins {
			if err := b.bring(origin, steps[origin]); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if errors.Is(err, journal.ErrCorrupt) && !s.doubt {
		// What was promised does not fit what is there. Nothing more is promised before
		// all was looked at.
		s.doubtful(err)
	}
	return err
}

// owners gives how many owners the steps of a frame write.
func (f *frame) owners() (n int) {
	for _, d := range f.steps {
		n += len(d.owners)
	}
	return n
}

// bring writes the steps of a zone that are ahead.
func (b *batch) bring(origin dnsname.Name, steps []*delta) error {
	r := b.record(origin)
	if r == nil || r.revision != steps[0].base {
		return bad("zone %q is not the version that the log goes on from", origin)
	}
	r = new(*r)
	if err := b.follow(r, steps); err != nil {
		return err
	}
	return b.put(origin, r)
}

// applied forgets the steps that are in the file; s.mu is held.
func (s *Store) applied() {
	n := 0
	for n < len(s.frames) && s.frames[n].seq <= s.summary.seq {
		n++
	}
	switch {
	case n == 0:
		return
	case n == len(s.frames):
		s.frames, s.ahead, s.waiting = nil, make(map[dnsname.Name][]*delta), 0
		return
	}
	for _, f := range s.frames[:n] {
		s.waiting -= len(f.steps)
		for _, d := range f.steps {
			// Readers may have the list: it is left as it is.
			if left := s.ahead[d.origin]; len(left) > 0 && left[0].seq <= s.summary.seq {
				i := 1
				for i < len(left) && left[i].seq <= s.summary.seq {
					i++
				}
				if i == len(left) {
					delete(s.ahead, d.origin)
				} else {
					s.ahead[d.origin] = left[i:]
				}
			}
		}
	}
	s.frames = s.frames[n:]
}

// readLog reads what the log has that is not in the file, when the store is
// opened.
func (s *Store) readLog() error {
	if s.summary.log == 0 {
		return nil
	}
	err := s.log.open()
	if err == nil {
		s.frames, err = s.log.read(s.summary.log, s.summary.seq)
	}
	switch {
	case errors.Is(err, errNoLog):
		return fmt.Errorf("store %q: %w: log %q is not there, and it may have changes that %q does not: put it back, or restore both from one backup; "+
			"or make an empty file of that name: then those changes, of a second or so, are lost", s.path, journal.ErrCorrupt, s.log.path, fileName)
	case errors.As(err, new(*fs.PathError)):
		return fmt.Errorf("store %q: its log: %w", s.path, err)
	case err != nil:
		return s.badLog(err)
	}
	for _, f := range s.frames {
		for _, d := range f.steps {
			h := s.head(d.origin)
			if h.revision != d.base {
				return s.badLog(fmt.Errorf("it goes on from revision %d of zone %q, which has %d", d.base, d.origin, h.revision))
			}
			s.ahead[d.origin] = append(s.ahead[d.origin], d)
		}
		s.waiting += len(f.steps)
		s.seq = f.seq
	}
	return nil
}

// badLog makes err an error about the log that says what to do.
func (s *Store) badLog(err error) error {
	return fmt.Errorf("store %q: %w: log %q: %w; restore both from one backup, or put an empty file in the place of the log: "+
		"then the changes that only it had, of a second or so, are lost", s.path, journal.ErrCorrupt, s.log.path, err)
}
