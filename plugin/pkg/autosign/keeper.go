package autosign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/onlinesign"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// ringNote is the name of the note of the keys.
const ringNote = zonedb.NotePrefix + "keys"

// Refreshing is bounded: so many owners in one commit, and one such commit in that
// time. It takes a twentieth of a processor.
const (
	maxRefresh   = 500
	refreshPause = time.Second
)

// Signatures that are to be made anew in the same slot of time are one commit: each has a
// serial, that secondaries fetch. A slot is so long, or that part of the time that they are
// still valid.
const (
	refreshSlot    = 10 * time.Minute
	slotsOfRefresh = 8
)

// retryTime is how long keys are left alone after a failure.
const retryTime = time.Minute

// Keeper keeps one zone signed; it is a zonedb.Signer. Status and Strip may be called
// concurrently with everything, Rollover, DSSeen, DSGone and Remove only by a function
// that zonedb.Zone.Maintain was given.
type Keeper struct {
	settings Settings
	origin   dnsname.Name

	ring    *kasp.Ring     // as it is durable
	signer  *signer.Signer // with those keys; nil: the zone is not to be signed
	queue   *signer.Queue  // of the version in service; nil: it is not known
	served  bool           // Serve has seen a version: what stands below is known of it
	known   bool           // the zone is as Sign has left it, and not as others have
	maxTTL  time.Duration  // the greatest of the zone, or greater
	toldTTL time.Duration  // the one that the ring knows

	retry   time.Time // not before then something is done about keys
	rested  time.Time // signatures were refreshed then
	signed  int64     // no signature there is was made later, in seconds since 1970; 0: there are none
	stepped time.Time // something was done about keys then, by the steady clock
	stepAt  time.Time // from then on there may be more to do; the zero value: at once

	made  []*signer.Key // by steps of which none is durable
	spare []*signer.Key // those of them that the step that is prepared has not taken

	next step

	online  atomic.Pointer[onlinesign.Signer] // of the version in service, and of the next
	ending  bool                              // online is for versions before the one in service
	durable atomic.Pointer[kasp.Ring]         // the same as ring
	expires atomic.Int64                      // when the first signature does, in seconds since 1970; 0: there is none
}

// step is what is prepared for a commit.
type step struct {
	ring    *kasp.Ring // nil: as before
	signer  *signer.Signer
	stepped time.Time
	maxTTL  time.Duration
	now     time.Time
	due     []dnsname.Name
	all     bool // every name is looked at
	made    bool // Sign was called
}

// Status is how things stand with the signatures of a zone.
type Status struct {
	Keys    []kasp.Info
	Parents []kasp.Parent // what the servers of the parent are to be asked
	Expires time.Time     // the first signature does; the zero value if there are none
	Signed  bool          // the zone is to be signed
}

// Signer implements zonedb.Signing: it gives a *Keeper.
func (s Settings) Signer(origin dnsname.Name, notes journal.Notes) (zonedb.Signer, error) {
	k := &Keeper{settings: s, origin: origin}
	note, ok := notes[ringNote]
	var err error
	if k.ring, err = s.openRing(origin, note, ok, k.generate, time.Now()); err != nil {
		return nil, err
	}
	k.known = len(note) > 0
	if k.signer, err = k.signerOf(k.ring); err != nil {
		return nil, err
	}
	k.durable.Store(k.ring)
	return k, nil
}

// openRing gives the keys of a zone: those of the note, or else of the folder, which may
// have none. An empty note is that of a zone that has left DNSSEC: what is in the folder
// was for the time before.
func (s Settings) openRing(origin dnsname.Name, note []byte, ok bool, generate kasp.Generate, now time.Time) (*kasp.Ring, error) {
	f := folder(s.Folder)
	if len(note) > 0 {
		return kasp.Parse(origin, s.keys(), generate, note, f.load)
	}
	r := kasp.New(origin, s.keys(), generate)
	if f == "" || s.Insecure || ok {
		return r, nil
	}
	paths, err := f.paths(origin)
	if err != nil {
		return nil, err
	}
	return r, f.importInto(r, paths, now)
}

// signerOf gives what signs with the keys of a ring, nil if the zone is not to be
// signed.
func (k *Keeper) signerOf(r *kasp.Ring) (*signer.Signer, error) {
	if r.Unsigned() {
		return nil, nil
	}
	uses := r.Uses()
	if k.settings.NoCDS {
		for i := range uses {
			uses[i].Submit = false
		}
	}
	p := k.settings.signatures()
	p.Withdraw = r.Withdraw() && !k.settings.NoCDS
	return signer.New(k.origin, p, uses)
}

// Status tells how things stand as of the last commit.
func (k *Keeper) Status(now time.Time) Status {
	r := k.durable.Load()
	status := Status{Keys: r.Keys(), Parents: r.Parents(now), Signed: !r.Unsigned()}
	if at := k.expires.Load(); at != 0 {
		status.Expires = time.Unix(at, 0)
	}
	return status
}

// Online gives what signs the answers of the zone as they are made; nil if its records
// have signatures, or are to have none. It is there before the first version that needs
// it is in service, and a while longer than the last.
func (k *Keeper) Online() *onlinesign.Signer { return k.online.Load() }

// signAnswers has the answers of the zone signed with the keys of a ring.
func (k *Keeper) signAnswers(r *kasp.Ring) error {
	p := k.settings.signatures()
	p.NSEC3, p.OptOut = false, false // which is how the next version is signed
	s, err := onlinesign.New(k.origin, p, r.Uses(), onlinesign.Process())
	if err == nil {
		k.online.Store(s)
	}
	return err
}

// tell has Status see what is durable: the ring and s.
func (k *Keeper) tell(s *zone.Snapshot, now time.Time) {
	k.durable.Store(k.ring)
	var expires int64
	if k.queue != nil {
		if next, ok := k.queue.Next(s, now); ok {
			expires = next.Add(k.settings.signatures().Refresh).Unix()
		}
	}
	k.expires.Store(expires)
}

// Serve implements zonedb.Signer.
func (k *Keeper) Serve(s *zone.Snapshot, now time.Time) {
	k.served, k.queue, k.signed, k.maxTTL = true, nil, 0, 0
	if k.queues() {
		k.queue = k.signer.Queue(s, now)
	}
	for set := range s.All() {
		k.maxTTL = max(k.maxTTL, time.Duration(set.TTL)*time.Second)
		for sig := range set.Sigs.All() {
			const inception = 12 // RFC 4034 §3.1, and which of two is the later in §3.1.5
			if len(sig) >= inception+4 {
				since := int32(binary.BigEndian.Uint32([]byte(sig[inception:inception+4])) - uint32(now.Unix()))
				k.signed = max(k.signed, now.Unix()+int64(since)+int64(backdate/time.Second))
			}
		}
	}
	if k.signer != nil && k.known && k.online.Load() == nil && !signed(s) {
		_ = k.signAnswers(k.ring) // the keys have been accepted by another
	}
	k.tell(s, now)
}

// greatestTTL gives that of all records.
func greatestTTL(s *zone.Snapshot) (ttl time.Duration) {
	for set := range s.All() {
		ttl = max(ttl, time.Duration(set.TTL)*time.Second)
	}
	return ttl
}

// queues tells whether the zone has signatures that are to be made anew.
func (k *Keeper) queues() bool { return k.signer != nil && !k.settings.Online }

// signed tells whether the records of a zone have signatures.
func signed(s *zone.Snapshot) bool {
	soa := s.SOA()
	return !soa.Sigs.IsEmpty()
}

// Start implements zonedb.Signer.
func (k *Keeper) Start() { k.next, k.spare = step{}, slices.Clone(k.made) }

// generate makes a key for the ring. One that was made in vain is taken first: while
// nothing can be committed the folder must not fill with keys.
func (k *Keeper) generate(zone dnsname.Name, alg signer.Algorithm, role signer.Role) (*signer.Key, error) {
	fits := func(o *signer.Key) bool { return o.Algorithm() == alg && o.Role() == role }
	if i := slices.IndexFunc(k.spare, fits); i >= 0 {
		key := k.spare[i]
		k.spare = slices.Delete(k.spare, i, i+1)
		return key, nil
	}
	key, err := folder(k.settings.Folder).generate(zone, alg, role)
	if err == nil {
		k.made = append(k.made, key)
	}
	return key, err
}

// Prepare implements zonedb.Signer. Without a key to sign with it fails; else the keys of
// before go on.
func (k *Keeper) Prepare(s, seen *zone.Snapshot, now time.Time) (p zonedb.Prepared, err error) {
	n := &k.next
	n.now = now
	if seen != nil {
		k.maxTTL = greatestTTL(seen)
	}
	if err := k.stepKeys(&p, now, s == nil && seen == nil); err != nil {
		return p, err
	}
	switch with := k.using(); {
	case s == nil:
	case with == nil:
		p.Due = marked(s.View())
	case k.settings.Online:
		p.Due = !k.known || !with.Published(s.View())
	default:
		k.prepareSignatures(&p, with, s, now)
	}
	return p, nil
}

// backdate is how much the clock may go back before signatures are not valid yet.
const backdate = time.Hour

// ahead tells whether there may be signatures that are not valid yet, because the clock
// was set back after they were made.
func (k *Keeper) ahead(now time.Time) bool {
	return k.signed != 0 && now.Unix() < k.signed-int64(backdate/time.Second)
}

func (k *Keeper) prepareSignatures(p *zonedb.Prepared, with *signer.Signer, s *zone.Snapshot, now time.Time) {
	n := &k.next
	expires := k.expires.Load()
	n.all = n.all || k.ahead(now) || expires != 0 && now.Unix() >= expires
	if k.queue != nil && now.Sub(k.rested).Abs() >= refreshPause {
		n.due = k.queue.Due(s, now, maxRefresh)
	}
	p.Due = n.all || len(n.due) > 0 || !k.known || !with.Signed(s.View())
}

// using gives what the prepared commit is signed with.
func (k *Keeper) using() *signer.Signer {
	if k.next.ring != nil {
		return k.next.signer
	}
	return k.signer
}

// marked tells whether a zone has at its apex what signers make.
func marked(v zone.View) bool {
	for _, set := range v.Sets(v.Origin()) {
		switch {
		case !set.Sigs.IsEmpty():
			return true
		case slices.Contains([]uint16{rrset.TypeDNSKEY, rrset.TypeNSEC, rrset.TypeNSEC3PARAM, rrset.TypeCDS, rrset.TypeCDNSKEY}, set.Type):
			return true
		}
	}
	return false
}

// stepKeys does what is to be done about keys, in a ring of its own.
func (k *Keeper) stepKeys(p *zonedb.Prepared, now time.Time, isNew bool) error {
	n := &k.next
	asked := n.ring != nil
	if due, ok := k.nextStep(now); !asked && (!ok || due.After(now)) {
		return nil
	}
	if !asked {
		n.ring = k.ring.Clone()
	}
	facts := kasp.Facts{MaxTTL: k.maxTTL, New: isNew}
	if !k.stepped.IsZero() {
		facts.Elapsed = time.Since(k.stepped)
	}
	plan, err := n.ring.Step(now, facts)
	if err == nil {
		n.signer, err = k.signerOf(n.ring)
	}
	if err != nil {
		n.ring = nil
		k.retry = now
		if asked || k.signer == nil {
			return err
		}
		p.Err = err
		return nil
	}
	n.stepped, n.maxTTL = time.Now(), k.maxTTL
	if !plan.Changed {
		k.adopt()
		n.ring = nil
		return nil
	}
	n.all = plan.Sweep
	if !k.known { // what was in the folder
		for _, i := range k.ring.Keys() {
			p.Events = append(p.Events, told(kasp.Event{Key: i.Key, Role: i.Role, To: i.State}))
		}
	}
	for _, e := range plan.Events {
		p.Events = append(p.Events, told(e))
	}
	before := k.ring.Parents(now.Add(ever))
	for _, w := range n.ring.Parents(now.Add(ever)) {
		if !slices.Contains(before, w) {
			p.Events = append(p.Events, wanted(w))
		}
	}
	if plan.Jump != 0 {
		p.Err = fmt.Errorf("%w: by %s", ErrClock, plan.Jump)
	}
	p.Notes, err = k.notes(n.ring)
	return err
}

// ever is longer than anything waits: who has the DS records of the parent in hand is told
// once what is wanted, and not when it counts whether that has been done.
const ever = 10 * 365 * 24 * time.Hour

// told tells of a key that has come to another state.
func told(e kasp.Event) string {
	switch {
	case e.From == "":
		return fmt.Sprintf("%s %s: %s", e.Role, e.Key, e.To)
	case e.To == "":
		return fmt.Sprintf("%s %s: forgotten", e.Role, e.Key)
	default:
		return fmt.Sprintf("%s %s: %s, was %s", e.Role, e.Key, e.To, e.From)
	}
}

// wanted tells what the parent is to do.
func wanted(w kasp.Parent) string {
	const digest = 4 // behind key tag (2), algorithm and type of the digest
	ds := fmt.Sprintf("DS %d %d %d %X", w.Key.Tag, w.Key.Algorithm, w.DS[digest-1], w.DS[digest:])
	if w.Appear {
		return "the parent is to have " + ds
	}
	return "the parent is to remove " + ds
}

// nextStep gives when there is something to be done about keys.
func (k *Keeper) nextStep(now time.Time) (next time.Time, ok bool) {
	if next, ok = k.ring.Next(now); next.Before(k.stepAt) { // the clock was set back
		k.stepAt = next
	}
	next = k.stepAt
	if k.maxTTL != k.toldTTL {
		next, ok = now, true
	}
	if again := k.retry.Add(retryTime); ok && now.Sub(k.retry).Abs() < retryTime && next.Before(again) {
		next = again
	}
	return next, ok
}

// adopt has what was prepared of keys be what is.
func (k *Keeper) adopt() {
	k.ring, k.signer, k.stepped, k.toldTTL = k.next.ring, k.next.signer, k.next.stepped, k.next.maxTTL
	k.stepAt, _ = k.ring.Next(k.next.now)
}

// notes gives what is to be kept of a ring.
func (k *Keeper) notes(r *kasp.Ring) (journal.Notes, error) {
	if len(r.Keys()) == 0 {
		if k.settings.Folder != "" {
			return journal.Notes{ringNote: {}}, nil
		}
		return journal.Notes{ringNote: nil}, nil
	}
	note, err := r.Marshal(k.settings.Folder == "")
	return journal.Notes{ringNote: note}, err
}

// ErrClock is about a clock that was set while keys are exchanged: what they wait for is
// put off.
var ErrClock = errors.New("the clock of the system has jumped")

// Sign implements zonedb.Signer.
func (k *Keeper) Sign(t *zone.Txn, since zone.Savepoint) (signatures int, err error) {
	n, with := &k.next, k.using()
	n.made = true
	if with == nil {
		if !marked(t.At(since)) && !marked(t.View()) {
			return 0, nil
		}
		return 0, signer.Strip(t)
	}
	if k.settings.Online {
		if r := n.ring; r != nil || k.online.Load() == nil {
			if r == nil {
				r = k.ring
			}
			if err := k.signAnswers(r); err != nil {
				return 0, err
			}
		}
		return 0, with.Publish(t, since)
	}
	if !k.known {
		if err := signer.Strip(t); err != nil {
			return 0, err
		}
		since = t.Savepoint()
	}
	result, err := with.Sign(t, signer.Request{Since: since, Now: n.now, Due: n.due, All: n.all})
	return result.Signatures, err
}

// Done implements zonedb.Signer.
func (k *Keeper) Done(s *zone.Snapshot, change *zone.Changeset) {
	n := &k.next
	if n.ring != nil {
		k.adopt()
		k.made = nil
	}
	if n.made {
		k.known, k.signed = true, max(k.signed, n.now.Unix())
		if n.all {
			k.signed = n.now.Unix()
		}
		if len(n.due) > 0 {
			k.rested = n.now
		}
		if !k.settings.Online || k.signer == nil { // who has the version before may still answer
			if k.ending {
				k.online.Store(nil)
			}
			k.ending = true
		}
	}
	if !k.served || k.queues() != (k.queue != nil) {
		k.Serve(s, n.now)
	} else {
		if k.queue != nil {
			k.queue.Update(s, change, n.now)
		}
		for i := range change.Added {
			k.maxTTL = max(k.maxTTL, time.Duration(change.Added[i].TTL)*time.Second)
		}
		k.tell(s, n.now)
	}
	k.next = step{}
}

// Next implements zonedb.Signer.
func (k *Keeper) Next(s *zone.Snapshot, now time.Time) (next time.Time, ok bool) {
	next, ok = k.nextStep(now)
	earlier := func(at time.Time) {
		if !ok || at.Before(next) {
			next, ok = at, true
		}
	}
	switch {
	case k.signer != nil && !k.known:
		earlier(now)
	case k.queue != nil && k.ahead(now):
		earlier(now)
	case k.queue != nil:
		if at, due := k.queue.Next(s, now); due {
			if rested := k.rested.Add(refreshPause); at.Before(rested) && !k.rested.After(now) {
				at = rested
			}
			if at.After(now.Add(refreshPause)) { // what comes soon after is made anew together with it
				slot := min(refreshSlot, k.settings.signatures().Refresh/slotsOfRefresh)
				at = at.Truncate(slot).Add(slot)
			}
			earlier(at)
		}
	}
	return next, ok
}

// Strip implements zonedb.Signer.
func (k *Keeper) Strip(t *zone.Txn) error { return signer.Strip(t) }

// change changes the keys of the next commit.
func (k *Keeper) change(f func(*kasp.Ring) error) error {
	r := k.ring
	if k.next.ring != nil {
		r = k.next.ring
	}
	r = r.Clone()
	if err := f(r); err != nil {
		return err
	}
	k.next.ring = r
	return nil
}

// Rollover is kasp.Ring.Rollover.
func (k *Keeper) Rollover(role signer.Role) error {
	return k.change(func(r *kasp.Ring) error { return r.Rollover(role) })
}

// DSSeen is kasp.Ring.DSSeen.
func (k *Keeper) DSSeen(id kasp.ID, now time.Time, ttl time.Duration) error {
	return k.change(func(r *kasp.Ring) error { return r.DSSeen(id, now, ttl) })
}

// DSGone is kasp.Ring.DSGone.
func (k *Keeper) DSGone(id kasp.ID, now time.Time, ttl time.Duration) error {
	return k.change(func(r *kasp.Ring) error { return r.DSGone(id, now, ttl) })
}

// Remove is kasp.Ring.Remove.
func (k *Keeper) Remove(id kasp.ID, force bool) error {
	return k.change(func(r *kasp.Ring) error { return r.Remove(id, force) })
}
