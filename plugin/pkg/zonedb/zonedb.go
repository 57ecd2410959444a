// Package zonedb holds the live zones of the process. A zone is known by its
// store, or without one by its file, so that a new instance of the server, which
// starts before the old one stops, takes over what is being served.
//
// A Zone is read without a lock: Snapshot is one atomic load. It is changed
// through one door, whoever asks: the change becomes durable in the store, then
// visible to readers, then acknowledged to who asked, then announced in the feed,
// in this order. Master files are looked at when the system tells of a change and
// every few seconds; one that is broken leaves the version before in service.
package zonedb

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/feed"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/lease"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

// Spec says where a zone comes from and how it is kept.
type Spec struct {
	Origin  dnsname.Name      // in lower case
	Store   string            // folder of the store, absolute and clean; "": in memory
	Path    string            // of the master file, absolute and clean
	Seed    bool              // the file is read only if the store has no such zone; else it is the truth
	Options zonefile.Options  // of reading the file
	Serial  zone.SerialPolicy // of changes that bring no later serial themselves
	History journal.History   // how far back Changes reaches
	Signing Signing           // how the zone is kept signed; nil: as its records are
}

// id is what makes two specs speak of the same zone.
type id struct {
	origin      dnsname.Name
	store, path string
}

func (s *Spec) id() id {
	if s.Store != "" {
		return id{s.Origin, s.Store, ""}
	}
	return id{s.Origin, "", s.Path}
}

// Zone is a live zone. Its methods may be called concurrently.
type Zone struct {
	db      *DB
	store   *store
	current atomic.Pointer[zone.Snapshot]
	spec    atomic.Pointer[Spec]  // of the newest lease
	failure atomic.Pointer[error] // of the last look at the file, nil if it went well
	feed    feed.Feed

	leases []leased // guarded by DB.mu, the newest last

	paths     atomic.Pointer[[]string] // of the files that are watched
	unsettled atomic.Bool              // they were changing at the last look

	writer   chan struct{} // holds a token while the zone is changed; guards what follows
	closed   bool          // no lease holds the zone: it is never changed again
	revision journal.Revision
	noted    note // about the file, as in the store
	expiry   *lease.Table
	timer    *time.Timer // for the lease that ends next, or what is to be signed then
	armed    int64       // the second that the timer is set to; 0: it is not set
	signer   Signer      // by signing, or nil
	signing  Signing
	// What the store has of signers.
	signNotes journal.Notes

	signs  atomic.Pointer[Signer]  // the same as signer
	keyed  atomic.Bool             // there are notes of signers
	heeded atomic.Pointer[Signing] // how the zone was signed at the last look

	expiring atomic.Int64  // records with a lease
	expired  atomic.Uint64 // leases that have ended

	queueMu sync.Mutex
	queue   []*request

	fileMu   sync.Mutex // held while the file is looked at; guards what follows
	opened   bool       // the store has been looked at
	loaded   []stamp    // the files as they were read last
	manner   manner     // in which they were read
	waiting  settling   // files that were found to differ
	retry    bool       // the last load failed for a reason that the stamps do not show
	reported string     // the error told last
}

// manner is what of a spec makes a file be read again if it changes.
type manner struct {
	Options zonefile.Options
	Seed    bool // what was read as a seed may not be what the file says any more
}

func (s *Spec) manner() manner { return manner{s.Options, s.Seed} }

// leased is a spec and whose it is.
type leased struct {
	lease *Lease
	spec  Spec
}

// Spec gives the settings in force: those of the newest lease.
func (z *Zone) Spec() Spec { return *z.spec.Load() }

// Snapshot gives the version in service, or nil as long as there has been none.
// It never blocks.
func (z *Zone) Snapshot() *zone.Snapshot { return z.current.Load() }

// Err tells why the file as it is now is not in service: then either the version
// before is, or none. It is nil if the last look at it went well.
func (z *Zone) Err() error {
	if p := z.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// Changes gives the changesets that lead from one version to another, as
// journal.Store does.
func (z *Zone) Changes(ctx context.Context, from, to zone.Serial) iter.Seq2[zone.Changeset, error] {
	return z.store.Changes(ctx, z.Spec().Origin, from, to)
}

// Leased gives the number of records that have a lease now, and how many leases
// have ended since the zone is live.
func (z *Zone) Leased() (now int64, ended uint64) { return z.expiring.Load(), z.expired.Load() }

// HistorySize gives the octets that the history of the zone takes.
func (z *Zone) HistorySize() int64 { return z.store.HistorySize(z.Spec().Origin) }

// Hooks are told what happens to zones, maybe several at a time, and maybe while
// the lease is being closed. They must not call methods of a DB or a Lease.
type Hooks struct {
	// Loaded is told of each load that led to another version, failed, or went well
	// after one that failed; a failure for the same reason as the one before is not
	// told again.
	Loaded func(Report)
	// Committed is told of each commit: how long it took to become durable, and
	// whether it did.
	Committed func(took time.Duration, err error)
	// Signed is told of each commit that signatures were made for, of what happens to
	// keys, and of signers that fail.
	Signed func(SignReport)
	// Events, if it is not nil, hears of each version of each zone of the lease that
	// is put in service, the first included; the tag is the *Zone. It is closed with
	// the lease.
	Events *feed.Subscription
}

// Report is what came of one load.
type Report struct {
	Spec     Spec
	Snapshot *zone.Snapshot // what the load left in service; nil if there is nothing
	Previous *zone.Snapshot // what was in service before; nil if there was nothing
	Stored   bool           // the version comes from the store, not from the file
	File     zone.Serial    // the serial in the file, which is not that of Snapshot if it is not later than the one before
	Lowered  bool           // the file has nothing else than Previous but a serial, File, that is not later
	Ignored  bool           // the file of a seed is there and was changed since it was read
	Warnings []zonefile.Warning
	Err      error         // why the file could not be put in service; Snapshot is then as before
	Duration time.Duration // wall-clock time of reading and checking
}
