package zonedb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/lease"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Errors of Apply.
var (
	ErrNotLoaded = errors.New("zone is not loaded")
	ErrBusy      = errors.New("too many changes are waiting")
	ErrRecords   = errors.New("zone would have more records than allowed")
)

// Bounds of the queue of a zone: how many requests may wait, and how many are
// made one commit.
const (
	maxQueue = 4096
	maxBatch = 256
)

// maxConflicts is how often a batch is done again because the zone in the store
// was not the one it started from.
const maxConflicts = 5

// maxDue is how many owners of leases that have ended are looked after in one
// commit.
const maxDue = 4096

// Edit is what a request changes a zone with: its records, and the leases of
// records that are to go by themselves (RFC 9664). It holds the present version
// and the edits before it in the same commit, and is valid until the function
// that it is given to returns.
type Edit struct {
	*zone.Txn
	leases *lease.Txn
	now    time.Time
}

// Lease makes a record of the zone go after that many seconds, whatever it had
// before; the end is at a whole second, and no earlier. It gives false, and does
// nothing, if there is no such record, or it is one that must stay: the SOA or an
// NS record of the apex. RRSIGs have none.
func (e *Edit) Lease(owner dnsname.Name, typ uint16, rdata string, seconds uint32) bool {
	set, ok := e.Get(owner, typ)
	apex := len(owner) == len(e.Origin())
	if !ok || !set.Contains(rdata) || apex && (typ == rrset.TypeSOA || typ == rrset.TypeNS) {
		return false
	}
	e.leases.Set(owner, typ, rdata, e.now.Add(time.Second-1).Unix()+int64(seconds))
	return true
}

// Stay takes the lease of a record away, and tells whether it had one.
func (e *Edit) Stay(owner dnsname.Name, typ uint16, rdata string) bool {
	return e.leases.Clear(owner, typ, rdata)
}

// Result is what came of an edit.
type Result struct {
	// Change is that of the whole commit, and empty if the commit changed nothing.
	// The records of edits made one commit are one changeset.
	Change zone.Changeset
	// Serial is the one after the edit, and Changed tells whether it is another than
	// before. Each edit of a commit that changes records has a serial of its own.
	Serial  zone.Serial
	Changed bool
	// Batch is how many edits the commit was tried for, in the result of the first of
	// them, and 0 in the others.
	Batch int
}

// request is an edit that waits for its commit.
type request struct {
	who      string
	edit     func(*Edit) error
	maintain func(Signer) error // instead of edit
	done     chan struct{}      // closed when the rest is set
	Result
	err error
}

// Apply changes the zone. edit may be called again if a commit has to be repeated,
// and must not call methods of the zone. Concurrent edits are joined to one
// commit; one that gives an error is undone alone, and the error is what Apply
// gives.
//
// When Apply returns without an error, the change is durable and visible. An edit
// that changes records and sets no later serial gets one by the policy; if it
// changes none, the serial stays. who is kept in the history. An error of the
// store wraps what the system gave, and nothing was changed; ErrNotLoaded,
// ErrBusy and ErrRecords are others, and journal.ErrClosed if no lease holds the
// zone. A context that ends before the edit is made gives its error.
func (z *Zone) Apply(ctx context.Context, who string, edit func(*Edit) error) (Result, error) {
	return z.submit(ctx, &request{who: who, edit: edit, done: make(chan struct{})})
}

// submit has a request made, and gives what came of it.
func (z *Zone) submit(ctx context.Context, r *request) (Result, error) {
	z.queueMu.Lock()
	if len(z.queue) == maxQueue {
		z.queueMu.Unlock()
		return Result{}, ErrBusy
	}
	z.queue = append(z.queue, r)
	z.queueMu.Unlock()
	for {
		select {
		case <-r.done:
			return r.Result, r.err
		case <-ctx.Done():
			if z.giveUp(r) {
				return Result{}, ctx.Err()
			}
			<-r.done
			return r.Result, r.err
		case z.writer <- struct{}{}: // whoever gets here works for all who wait
			z.work(r)
		}
	}
}

// errPanic is what comes of the requests of a batch that did not end.
var errPanic = errors.New("the change ended in a panic")

// work makes the next batch, unless r is done: others do not keep the one who has
// an answer. It gives the token of the writer back, whatever happens.
func (z *Zone) work(r *request) {
	var batch []*request
	defer func() {
		for _, r := range batch {
			select {
			case <-r.done:
			default:
				r.Changed, r.err = false, errPanic
				close(r.done)
			}
		}
		<-z.writer
	}()
	select {
	case <-r.done:
	default:
		// With one processor the writer that is woken would run before those who are
		// about to join the queue, and commit alone what could be one commit.
		runtime.Gosched()
		if z.signer != nil {
			z.gather()
		}
		batch = z.next()
		z.batch(batch)
	}
}

// patience is how often in a row nobody may have joined before a batch is made.
const patience = 4

// gather waits as long as others join the queue: what is signed together shares the
// signatures over the SOA record and those of neighbors.
func (z *Zone) gather() {
	waiting := func() int {
		z.queueMu.Lock()
		defer z.queueMu.Unlock()
		return len(z.queue)
	}
	for n, alone := waiting(), 0; alone < patience && n < maxBatch; alone++ {
		runtime.Gosched()
		if now := waiting(); now != n {
			n, alone = now, -1
		}
	}
}

// next takes the requests of the next batch from the queue.
func (z *Zone) next() []*request {
	z.queueMu.Lock()
	defer z.queueMu.Unlock()
	n := min(len(z.queue), maxBatch)
	batch := slices.Clone(z.queue[:n])
	z.queue = slices.Delete(z.queue, 0, n)
	return batch
}

// giveUp takes a request out of the queue; it gives false if a batch has it.
func (z *Zone) giveUp(r *request) bool {
	z.queueMu.Lock()
	defer z.queueMu.Unlock()
	i := slices.Index(z.queue, r)
	if i >= 0 {
		z.queue = slices.Delete(z.queue, i, i+1)
	}
	return i >= 0
}

// batch makes one commit of the requests; the token of the writer is held.
func (z *Zone) batch(batch []*request) {
	if len(batch) == 0 {
		return
	}
	change, err := z.commitBatch(batch)
	_, noZone := errors.AsType[noZoneError](err)
	_, noSign := errors.AsType[signError](err)
	if (noZone || noSign) && len(batch) > 1 { // whose edit it was shows if each is made alone
		for _, r := range batch {
			z.batch([]*request{r})
		}
		return
	}
	batch[0].Batch = len(batch)
	for _, r := range batch {
		if err != nil { // what the others have seen of each other is not so
			r.Changed, r.err = false, err
		}
		if r.err == nil {
			r.Change = change
		}
		close(r.done)
	}
	crashPoint("acknowledged")
	if err == nil && !change.IsEmpty() {
		z.feed.Publish(z.current.Load(), &change)
		crashPoint("announced")
	}
}

// commitBatch gives the change that was committed for all requests whose err is
// nil afterwards, or why there is none.
func (z *Zone) commitBatch(batch []*request) (zone.Changeset, error) {
	for range maxConflicts {
		if z.closed {
			return zone.Changeset{}, journal.ErrClosed
		}
		base := z.current.Load()
		if base == nil {
			return zone.Changeset{}, ErrNotLoaded
		}
		change, err := z.commit(base, batch, maxDue)
		if !errors.Is(err, journal.ErrConflict) {
			return change, err
		}
		if err := z.restore(); err != nil {
			return zone.Changeset{}, err
		}
	}
	return zone.Changeset{}, fmt.Errorf("%w, %d times", journal.ErrConflict, maxConflicts)
}

// commit makes one commit of edits and of the leases that have ended, of no more
// than so many owners; the token of the writer is held.
func (z *Zone) commit(base *zone.Snapshot, batch []*request, due int) (zone.Changeset, error) {
	spec := z.Spec()
	prepared, err := z.prepare(base, batch)
	if err != nil {
		return zone.Changeset{}, z.unsignable(err)
	}
	e := &Edit{Txn: base.Begin(), leases: z.expiry.Begin(), now: z.db.now()}
	var who []string
	start := e.Savepoint()
	ended := e.end(z.expiry.Due(e.now.Unix(), due))
	if ended > 0 {
		if err := e.finish(start, base.Serial(), &spec); err != nil {
			return zone.Changeset{}, err
		}
		who = append(who, "lease")
	}
	for _, r := range batch {
		if r.maintain == nil {
			z.try(e, r, base, &spec)
		} else if r.err == nil && !slices.Contains(who, r.who) {
			who = append(who, r.who)
		}
		if r.err == nil && r.Changed && !slices.Contains(who, r.who) {
			who = append(who, r.who)
		}
	}
	signatures := 0
	if prepared.Due && !e.Changed() {
		if err := e.SetSerial(spec.Serial.Next(base.Serial(), time.Now())); err != nil {
			return zone.Changeset{}, noZoneError{err}
		}
		if len(who) == 0 {
			who = append(who, "dnssec")
		}
	}
	notes := e.leases.Notes()
	if notes == nil && len(prepared.Notes) > 0 {
		notes = make(journal.Notes)
	}
	maps.Copy(notes, prepared.Notes)
	c := journal.Commit{Next: base, Notes: notes}
	switch {
	case e.Changed():
		if signatures, err = z.sign(e.Txn, start); err != nil {
			return zone.Changeset{}, z.unsignable(err)
		}
		if c.Next, c.Change, err = e.Commit(); err != nil {
			return zone.Changeset{}, noZoneError{err}
		}
		c.Change.Who, c.Change.When = strings.Join(who, " "), time.Now()
	case len(notes) == 0:
		if prepared.Err != nil {
			z.db.signed(SignReport{Zone: z, Err: prepared.Err})
		}
		z.arm()
		return zone.Changeset{}, nil
	}
	if err := z.step(c); err != nil {
		return zone.Changeset{}, err
	}
	e.leases.Commit()
	z.expired.Add(uint64(ended))
	z.signed(&c, &prepared, signatures)
	z.arm()
	return c.Change, nil
}

// try makes one edit; if there is an error of it, it is undone.
func (z *Zone) try(e *Edit, r *request, base *zone.Snapshot, spec *Spec) {
	point, leased := e.Savepoint(), e.leases.Savepoint()
	before, _ := e.Serial()
	r.Result = Result{Serial: before}
	r.err = r.edit(e)
	if limit := spec.Options.MaxRecords; r.err == nil && limit > 0 && z.counted(e.Txn) > max(limit, z.counted(base)) {
		r.err = ErrRecords
	}
	if r.err == nil {
		r.err = e.finish(point, before, spec)
	}
	if r.err != nil {
		e.Rollback(point)
		e.leases.Rollback(leased)
		return
	}
	r.Serial, _ = e.Serial()
	r.Changed = r.Serial != before
}

// counted gives how many records count for the limit: what a signer makes does not.
func (z *Zone) counted(v interface {
	Records() int
	Proofs() int
	View() zone.View
},
) int {
	n := v.Records()
	if z.signer == nil {
		return n
	}
	n -= v.Proofs()
	view := v.View()
	for _, typ := range [...]uint16{rrset.TypeDNSKEY, rrset.TypeNSEC3PARAM, rrset.TypeCDS, rrset.TypeCDNSKEY} {
		set, _ := view.Get(view.Origin(), typ)
		n -= set.Len()
	}
	return n
}

// finish gives the zone another serial if its records changed since a point where
// it had the one before, and ends the leases of records that are no longer there.
func (e *Edit) finish(since zone.Savepoint, before zone.Serial, spec *Spec) error {
	s, ok := e.Serial()
	if !ok {
		return zone.ErrNoSOA
	}
	if !e.leases.IsEmpty() {
		for owner := range e.Touched(since) {
			e.leases.Keep(owner, func(l lease.Lease) bool {
				set, ok := e.Get(owner, l.Type)
				return ok && set.Contains(l.RDATA)
			})
		}
	}
	if s.After(before) || !e.ChangedSince(since) {
		return nil
	}
	return e.SetSerial(spec.Serial.Next(before, time.Now()))
}

// end removes the records of those owners whose leases have ended, and tells how
// many they are.
func (e *Edit) end(owners []dnsname.Name) (ended int) {
	now := e.now.Unix()
	for _, owner := range owners {
		e.leases.Keep(owner, func(l lease.Lease) bool {
			if l.Until > now {
				return true
			}
			e.Remove(owner, l.Type, l.RDATA)
			ended++
			return false
		})
	}
	return ended
}

// noZoneError is that of edits which leave what is no zone.
type noZoneError struct{ error }

func (e noZoneError) Unwrap() error { return e.error }

// step makes a version durable and then visible; the token of the writer is
// held.
func (z *Zone) step(c journal.Commit) error {
	if z.closed {
		return journal.ErrClosed
	}
	spec := z.Spec()
	c.Base, c.Keep = z.revision, spec.History
	crashPoint("prepared")
	start := time.Now()
	rev, err := z.store.Commit(context.Background(), spec.Origin, c)
	z.db.committed(z, time.Since(start), err)
	if err != nil {
		return err
	}
	crashPoint("durable")
	z.revision = rev
	z.current.Store(c.Next)
	crashPoint("visible")
	return nil
}

// restore puts the zone in service as it is in the store, without the records
// whose leases have ended; the token of the writer is held. The error is
// journal.ErrNotExist if it is not there; then what is in service stays.
func (z *Zone) restore() error {
	state, err := z.store.Load(context.Background(), z.Spec().Origin)
	if errors.Is(err, journal.ErrNotExist) {
		z.revision, z.noted, z.expiry = 0, note{}, new(lease.Table)
		z.forget(nil)
	}
	if err != nil {
		return err
	}
	leases, err := lease.Parse(state.Notes)
	if err != nil {
		return fmt.Errorf("%w: %w", journal.ErrCorrupt, err)
	}
	z.revision, z.noted, z.expiry = state.Revision, parseNote(state.Notes[noteName]), leases
	z.forget(state.Notes)
	if until, ok := z.expiry.Next(); ok && until <= z.db.now().Unix() {
		// Without room on the disk what is there is better than nothing; the timer is set.
		if change, err := z.commit(state.Snapshot, nil, z.expiry.Len()); err == nil && !change.IsEmpty() {
			z.feed.Publish(z.current.Load(), nil)
			return nil
		}
	}
	z.current.Store(state.Snapshot)
	z.arm()
	z.feed.Publish(state.Snapshot, nil)
	return nil
}

// arm sets the timer to the time at which the next lease ends, or the signer has
// something to do; the token of the writer is held.
func (z *Zone) arm() {
	z.expiring.Store(int64(z.expiry.Len()))
	wait, ok := z.nextWait()
	var at int64
	if ok {
		at = z.db.now().Add(wait).Unix()
	}
	if z.closed || ok && at == z.armed {
		return
	}
	if z.timer != nil {
		z.timer.Stop()
		z.timer = nil
	}
	if z.armed = at; ok {
		z.timer = time.AfterFunc(wait, z.wake)
	}
}

// nextWait gives how long it is until there is something to do in the zone that nobody
// asks for.
func (z *Zone) nextWait() (wait time.Duration, ok bool) {
	until, ok := z.expiry.Next()
	if ok {
		wait = time.Unix(until, 0).Sub(z.db.now())
	}
	if s := z.current.Load(); s != nil && z.signer != nil {
		now := z.db.clock()
		if next, due := z.signer.Next(s, now); due && (!ok || next.Sub(now) < wait) {
			wait, ok = max(next.Sub(now), 0), true
		}
	}
	return wait, ok
}

// How long what could not be done waits for the next try: leases that could not be
// ended, and zones that could not be signed.
const (
	retryTime     = 5 * time.Second
	retrySignTime = time.Minute
)

// wake makes a commit, which ends the leases whose time has come and signs what is to
// be signed.
func (z *Zone) wake() {
	z.writer <- struct{}{}
	z.armed = 0
	<-z.writer
	_, err := z.Apply(context.Background(), "", func(*Edit) error { return nil })
	z.writer <- struct{}{}
	defer func() { <-z.writer }()
	switch {
	case z.closed:
	case err != nil:
		wait := retryTime
		if _, ok := errors.AsType[signError](err); ok {
			wait = retrySignTime
		} else if z.signer != nil { // nobody else is told: signatures come to their end in silence
			z.db.signed(SignReport{Zone: z, Err: err})
		}
		if z.timer != nil {
			z.timer.Stop()
		}
		z.timer = time.AfterFunc(wait, z.wake)
	default:
		z.arm()
	}
}

// close ends all changes; it waits for the one that is being made.
func (z *Zone) close() {
	z.writer <- struct{}{}
	z.closed = true
	if z.timer != nil {
		z.timer.Stop()
	}
	<-z.writer
}
