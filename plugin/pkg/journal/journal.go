// Package journal is the contract of the stores that keep zones: the present
// version of each, the changes that led to it, and notes of whoever looks after
// it. A change, its data and its notes are one commit, which is durable when
// Commit returns. The packages below implement it; journaltest is the suite that
// each of them must pass.
package journal

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Errors of stores. Those of opening a store say in their text what to do. Errors
// of the disk wrap the one of the system, as syscall.ENOSPC.
var (
	ErrNotExist = errors.New("zone is not in the store")
	ErrConflict = errors.New("zone in the store is not the version that the change was made from")
	ErrUnfit    = errors.New("commit does not fit the zone")
	ErrTrimmed  = errors.New("history does not reach back to that serial")
	ErrInUse    = errors.New("store is in use by another process")
	ErrForeign  = errors.New("not a store of zones")
	ErrNewer    = errors.New("store was written by a newer version")
	ErrCorrupt  = errors.New("store is corrupt")
	ErrClosed   = errors.New("store is closed")
)

// Revision counts the commits of a zone in a store: each is one more than the one
// before. It is 0 if the zone is not there. The first is 1, or more if zones were
// deleted from the store: one that comes back has greater revisions than before.
type Revision uint64

// State is what a store holds of a zone.
type State struct {
	Revision Revision
	Snapshot *zone.Snapshot
	Notes    Notes
}

// Notes are small pieces of data that are kept with a zone and mean nothing to
// the store: timers, leases, keys. Names start with the word of whoever owns
// them, as in "file/stamps", and have at most 1024 octets.
type Notes map[string][]byte

// Commit is one step of a zone.
type Commit struct {
	// Base is the revision that the step was made from; with 0 the zone must not
	// exist.
	Base Revision
	// Next is the version after the step; the one of Base if only notes change. A
	// store takes from it the owners that Change names, all of them if Base is 0.
	Next *zone.Snapshot
	// Change leads from the version of Base to Next. It is not looked at if Base is
	// 0. If it is not empty and To is not after From, the history before it is
	// dropped and the step is not part of the history: no secondary could follow.
	Change zone.Changeset
	// Notes are written; those with a nil value are removed, others stay. An empty
	// value is one.
	Notes Notes
	// Keep says how much history is left after the step.
	Keep History
}

// History bounds the changesets that a store keeps of a zone: how many, and how
// many octets they take as stored. Whole changesets are dropped, the oldest
// first; one that is larger than Octets leaves no history at all. The zero value
// keeps none.
type History struct {
	Depth  int
	Octets int64
}

// Store keeps zones. Its methods may be called concurrently; origins are names
// in lower case. What is given to a store or comes from it must not be changed.
// After Close all methods give ErrClosed; HistorySize gives 0. A context that has
// ended gives its error.
type Store interface {
	// Load gives a zone as of its last commit, or ErrNotExist. An error that wraps
	// ErrCorrupt says what is wrong with the zone.
	Load(ctx context.Context, origin dnsname.Name) (State, error)
	// Commit makes one step and returns when it is durable. With any error nothing
	// was changed, unless the error is that of a disk that also failed to say so:
	// then Load tells. ErrConflict means that Base is not the present revision,
	// ErrUnfit that the commit is none of this zone (see Commit.Check). A context
	// that ends before the step began to be written gives its error; one that ends
	// later has no effect.
	Commit(ctx context.Context, origin dnsname.Name, c Commit) (Revision, error)
	// Changes gives the changesets that lead from one serial to another, oldest
	// first; if a serial was there more than once, the latest that lead there. It
	// yields an error and ends if they are not all there: ErrTrimmed, ErrNotExist
	// or one of reading. An error may come after changesets: commits go on in
	// between and trim. Equal serials of a zone that is there give nothing.
	Changes(ctx context.Context, origin dnsname.Name, from, to zone.Serial) iter.Seq2[zone.Changeset, error]
	// HistorySize gives the octets that the history of a zone takes; 0 if there is
	// none.
	HistorySize(origin dnsname.Name) int64
	// List goes through the origins of all zones, in no order.
	List(ctx context.Context) iter.Seq2[dnsname.Name, error]
	// Delete removes a zone with its history and notes. It is no error if the zone
	// is not there.
	Delete(ctx context.Context, origin dnsname.Name) error
	// Close waits for what is being written and lets go of the store. Further calls
	// do nothing.
	Close() error
}

// maxNoteName bounds the names of notes, in octets.
const maxNoteName = 1024

// Check is for stores: it tells whether a commit can be one of the zone, whose
// present version has that serial. present is not looked at if Base is 0. An
// error wraps ErrUnfit.
func (c *Commit) Check(origin dnsname.Name, present zone.Serial) error {
	switch {
	case c.Next == nil:
		return fmt.Errorf("%w: it has no version", ErrUnfit)
	case origin.HasUpper() || !c.Next.Origin().Equal(origin):
		return fmt.Errorf("%w: it is of %q, not %q", ErrUnfit, c.Next.Origin(), origin)
	}
	for name := range c.Notes {
		if name == "" || len(name) > maxNoteName {
			return fmt.Errorf("%w: the name of a note has %d octets", ErrUnfit, len(name))
		}
	}
	switch {
	case c.Base == 0:
		return nil
	case c.Change.IsEmpty():
		if c.Next.Serial() != present {
			return fmt.Errorf("%w: without a change it goes from serial %d to %d", ErrUnfit, present, c.Next.Serial())
		}
	case c.Change.From != present || c.Change.To != c.Next.Serial():
		return fmt.Errorf("%w: its change leads from serial %d to %d, the zone goes from %d to %d",
			ErrUnfit, c.Change.From, c.Change.To, present, c.Next.Serial())
	}
	return nil
}

// Kept is for stores: it tells what becomes of the history in a step: whether
// what is there is dropped, and whether the change of the step joins it.
func (c *Commit) Kept() (drop, join bool) {
	switch {
	case c.Base == 0:
		return true, false
	case c.Change.IsEmpty():
		return false, false
	default:
		forward := c.Change.To.After(c.Change.From)
		return !forward, forward
	}
}
