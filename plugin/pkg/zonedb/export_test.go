package zonedb

import (
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/journal"
)

// NewStill gives a registry that the system tells nothing: no goroutine of it waits for
// anything but the steady clock. It looks at files, and at the clock, at that interval.
func NewStill(interval time.Duration, clock func() time.Time) *DB {
	db := quiet()
	db.interval, db.settle, db.clock = interval, 0, clock
	return db
}

// Lend has the registry use an open store as that of a folder, and close it when no zone
// is in it any longer.
func (db *DB) Lend(folder string, s journal.Store) {
	db.stores[folder] = &store{Store: s, folder: folder}
}

// Look looks at the files of all zones.
func (db *DB) Look() error { return firstOf(db.lookAt(db.Zones(), false)) }
