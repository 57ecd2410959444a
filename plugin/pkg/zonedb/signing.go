package zonedb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Errors of signed zones.
var (
	ErrUnsigned = errors.New("zone is not signed here")
	ErrSigned   = errors.New("zone was signed here, and its keys are in the store")
)

// Signing says how zones are signed. Its dynamic type can be compared with ==; equal
// ones want the same.
type Signing interface {
	// Signer makes the signer of a zone whose store has these notes of a signer: what
	// it gave as Prepared.Notes in all commits before. There are none at first.
	Signer(origin dnsname.Name, notes journal.Notes) (Signer, error)
}

// NotePrefix begins the names of the notes of signers. A zone of which all are empty is
// not signed.
const NotePrefix = "dnssec/"

// Signer keeps one zone signed, whoever changes it. Its methods but Strip are called
// by one goroutine at a time, in this order for each commit: Start, maybe what
// Zone.Maintain was given, Prepare, maybe Sign, and Done if the commit is durable.
type Signer interface {
	// Serve takes note of the version in service, which did not come from Done.
	Serve(s *zone.Snapshot, now time.Time)
	// Start forgets what was prepared and not done.
	Start()
	// Prepare decides how the zone, whose present version is s, or nil, is to be signed
	// at a time. Without one, seen is a version that others have got unsigned, or nil.
	Prepare(s, seen *zone.Snapshot, now time.Time) (Prepared, error)
	// Sign makes what was edited since a point a signed zone again, as it was prepared,
	// and gives how many signatures it made. The serial is set.
	Sign(t *zone.Txn, since zone.Savepoint) (signatures int, err error)
	// Done tells that what was prepared is in service: s, which differs by change from
	// the version before.
	Done(s *zone.Snapshot, change *zone.Changeset)
	// Next gives the time from which on there is something to prepare; ok is false if
	// that is never.
	Next(s *zone.Snapshot, now time.Time) (next time.Time, ok bool)
	// Strip takes from a transaction what signers make.
	Strip(t *zone.Txn) error
}

// Prepared is what a signer is about to do.
type Prepared struct {
	Due    bool          // the zone is to be signed even if nobody edits it
	Notes  journal.Notes // to be kept with the version
	Events []string      // what happens to keys, for the log
	Err    error         // what cannot be done; the zone is signed as before
}

// SignReport tells of one signing.
type SignReport struct {
	Zone       *Zone
	Signatures int      // made
	Events     []string // of keys; what they tell of is durable
	Err        error    // the zone stays as it was, or its keys do
}

// Signer gives what keeps the zone signed, or nil. Its methods are for the zone alone
// to call; those that its type has beyond them may be called if they say so.
func (z *Zone) Signer() Signer {
	if p := z.signs.Load(); p != nil {
		return *p
	}
	return nil
}

// Maintain gives the signer of the zone to a function that changes what is to be done
// about keys, and makes a commit of it. It may be called again, if the commit has to be
// repeated. Its error, or one of the commit, is given: then nothing was changed. It is
// ErrUnsigned if the zone has no signer.
func (z *Zone) Maintain(ctx context.Context, who string, change func(Signer) error) error {
	_, err := z.submit(ctx, &request{who: who, maintain: change, done: make(chan struct{})})
	return err
}

// engage makes the signer of the zone, whose present version is s, or nil, be what its
// spec wants; the token of the writer is held.
func (z *Zone) engage(s *zone.Snapshot) error {
	want := z.Spec().Signing
	switch {
	case z.signer != nil && z.signing == want:
		return nil
	case want == nil && z.keyed.Load(): // by a lease that is about to be refused
		if z.signer == nil {
			return ErrSigned
		}
		return nil
	case want == nil && z.signer == nil:
		return nil
	}
	z.signer, z.signing = nil, nil
	z.signs.Store(nil)
	if want == nil {
		return nil
	}
	signer, err := want.Signer(z.Spec().Origin, z.signNotes)
	if err != nil {
		return fmt.Errorf("dnssec: %w", err)
	}
	z.signer, z.signing = signer, want
	z.signs.Store(&signer)
	if s != nil {
		signer.Serve(s, z.db.clock())
	}
	return nil
}

// remember takes note of what a store has of signers; the token of the writer is held.
func (z *Zone) remember(notes journal.Notes) {
	for name, note := range notes {
		switch {
		case !strings.HasPrefix(name, NotePrefix):
		case note == nil:
			delete(z.signNotes, name)
		default:
			if z.signNotes == nil {
				z.signNotes = make(journal.Notes)
			}
			z.signNotes[name] = note
		}
	}
	keyed := false
	for _, note := range z.signNotes {
		keyed = keyed || len(note) > 0
	}
	z.keyed.Store(keyed)
}

// forget takes note of what a store has of signers, and of nothing else; the signer
// begins anew.
func (z *Zone) forget(notes journal.Notes) {
	z.signer, z.signing, z.signNotes = nil, nil, nil
	z.signs.Store(nil)
	z.remember(notes)
}

// prepare begins a commit of the zone whose present version is s, or nil. Requests for
// the signer have their results afterwards, but for that of the commit. The token of
// the writer is held.
func (z *Zone) prepare(s *zone.Snapshot, batch []*request) (Prepared, error) {
	err := z.engage(s)
	if err != nil {
		return Prepared{}, err
	}
	if z.signer == nil {
		for _, r := range batch {
			if r.maintain != nil {
				r.err = ErrUnsigned
			}
		}
		return Prepared{}, nil
	}
	z.instruct(batch)
	var seen *zone.Snapshot
	if s == nil {
		seen = z.db.seen(z)
	}
	p, err := z.signer.Prepare(s, seen, z.db.clock())
	if err != nil {
		return p, fmt.Errorf("dnssec: %w", err)
	}
	return p, nil
}

// instruct has the signer do what the batch asks of it. One that gives an error may have
// done a part: then all is done again without it. The token of the writer is held.
func (z *Zone) instruct(batch []*request) {
	for _, r := range batch {
		if r.maintain != nil {
			r.err = nil
		}
	}
	for again := true; again; {
		again = false
		z.signer.Start()
		for _, r := range batch {
			if r.maintain == nil || r.err != nil {
				continue
			}
			if r.err = r.maintain(z.signer); r.err != nil {
				again = true
				break
			}
		}
	}
}

// sign signs what was edited since a point; the token of the writer is held.
func (z *Zone) sign(t *zone.Txn, since zone.Savepoint) (int, error) {
	if z.signer == nil {
		return 0, nil
	}
	n, err := z.signer.Sign(t, since)
	if err != nil {
		return n, fmt.Errorf("dnssec: %w", err)
	}
	return n, nil
}

// signed tells the signer, and who listens, what has become durable; the token of the
// writer is held.
func (z *Zone) signed(c *journal.Commit, p *Prepared, signatures int) {
	if z.signer == nil {
		return
	}
	z.remember(p.Notes)
	z.signer.Done(c.Next, &c.Change)
	if signatures > 0 || len(p.Events) > 0 || p.Err != nil {
		z.db.signed(SignReport{Zone: z, Signatures: signatures, Events: p.Events, Err: p.Err})
	}
}

// strip gives a version without what signers make.
func (z *Zone) strip(s *zone.Snapshot) (*zone.Snapshot, error) {
	t := s.Begin()
	if err := z.signer.Strip(t); err != nil {
		return nil, err
	}
	plain, _, err := t.Commit()
	return plain, err
}

// followSigned is follow for a zone that is signed here: what was read is compared
// with the present version as it would be without signatures. The token of the writer
// is held.
func (z *Zone) followSigned(present, read *zone.Snapshot, policy zone.SerialPolicy) (c journal.Commit, signatures int, err error) {
	plain, err := z.strip(read)
	if err != nil {
		return c, 0, err
	}
	t := plain.Begin()
	since := t.Savepoint()
	if present == nil { // whoever had the file before may have its serial without signatures
		if err := t.SetSerial(policy.Next(plain.Serial(), time.Now())); err != nil {
			return c, 0, err
		}
	} else {
		was, err := z.strip(present)
		if err != nil {
			return c, 0, err
		}
		change := zone.Difference(was, plain)
		later := plain.Serial().After(present.Serial())
		if change.IsEmpty() || !later && onlySerial(&change) {
			return journal.Commit{Next: present}, 0, nil
		}
		t = present.Begin()
		since = t.Savepoint()
		if err := transplant(t, &change, plain.View()); err != nil {
			return c, 0, err
		}
		serial := plain.Serial()
		if !later {
			serial = policy.Next(present.Serial(), time.Now())
		}
		if err := t.SetSerial(serial); err != nil {
			return c, 0, err
		}
	}
	if signatures, err = z.sign(t, since); err != nil {
		return c, 0, err
	}
	if _, ok := t.Get(plain.Origin(), rrset.TypeDNSKEY); !ok && present == nil {
		return journal.Commit{Next: plain}, 0, nil // it is not to be signed
	}
	next, change, err := t.Commit()
	if err != nil {
		return c, 0, err
	}
	if c.Next = next; present != nil {
		c.Change = change
	}
	return c, signatures, nil
}

// transplant gives the RRsets that a change names the records that they have in
// another version.
func transplant(t *zone.Txn, change *zone.Changeset, from zone.View) error {
	for _, sets := range [...][]zone.Set{change.Removed, change.Added} {
		for i := range sets {
			set, ok := from.Get(sets[i].Owner, sets[i].Type)
			if !ok {
				set.RRset = rrset.RRset{Type: sets[i].Type}
			}
			if _, err := t.Replace(sets[i].Owner, set.RRset); err != nil {
				return err
			}
		}
	}
	return nil
}

// signError is that of a change that could not be signed.
type signError struct{ error }

func (e signError) Unwrap() error { return e.error }

// unsignable takes note that the zone could not be signed.
func (z *Zone) unsignable(err error) error {
	z.db.signed(SignReport{Zone: z, Err: err})
	return signError{err}
}

// heed signs the zone anew if another policy is in force than at the last look. The
// error tells of keys in the store that nobody is to sign with any more: the zone would
// lose its signatures while validators expect them.
func (z *Zone) heed(spec *Spec) error {
	if spec.Signing == nil {
		if z.keyed.Load() {
			return ErrSigned
		}
		return nil
	}
	if z.current.Load() == nil {
		return nil
	}
	if p := z.heeded.Load(); p != nil && *p == spec.Signing {
		return nil
	}
	want := spec.Signing
	z.heeded.Store(&want)
	z.wake() // which tells of errors, and comes again
	return nil
}
