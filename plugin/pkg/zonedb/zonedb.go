// Package zonedb holds the live zones of the process. A zone is known by the
// place it comes from, so that a new instance of the server, which starts before
// the old one stops, takes over what is being served instead of reading it
// again; and a file that is broken now leaves the version before it in service.
//
// A Zone is read without a lock: Snapshot is one atomic load. Files are looked at
// every few seconds and read again when they have changed.
package zonedb

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

// Spec says what a zone is read from and how. Two users that give equal specs
// share one Zone.
type Spec struct {
	Origin  dnsname.Name // in lower case
	Path    string       // of the master file, absolute and clean
	Options zonefile.Options
}

// Zone is a live zone. Its methods may be called concurrently.
type Zone struct {
	spec    Spec
	report  func(Report)
	current atomic.Pointer[zone.Snapshot]
	failure atomic.Pointer[error] // of the last load, nil if it went well

	refs int // guarded by DB.mu

	mu       sync.Mutex // held while the zone is loaded and looked at
	loaded   []stamp    // the files as they were read last
	waiting  []stamp    // the files as they were when last found to differ
	retry    bool       // the last load failed for a reason that the stamps do not show
	reported string     // the error told last
}

// Spec gives what the zone is read from.
func (z *Zone) Spec() Spec { return z.spec }

// Snapshot gives the version in service, or nil as long as there has been none
// that could be loaded. It never blocks.
func (z *Zone) Snapshot() *zone.Snapshot { return z.current.Load() }

// Err tells why the file as it is now is not in service: then either the version
// before is, or none. It is nil if the last load went well.
func (z *Zone) Err() error {
	if p := z.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// Report is what came of one load. A load that fails for the same reason as the
// one before is not reported again.
type Report struct {
	Spec     Spec
	Snapshot *zone.Snapshot // what is in service now; nil if there is nothing
	Previous *zone.Snapshot // what was in service before; nil if there was nothing
	Warnings []zonefile.Warning
	Err      error         // why the file could not be loaded; Snapshot is then as before, or what lives from the same file
	Duration time.Duration // wall-clock time of reading and checking
}
