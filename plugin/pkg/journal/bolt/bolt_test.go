package bolt_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/bolt"
	"github.com/trustdns/trustdns/plugin/pkg/journal/journaltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	journaltest.Run(t, journaltest.Options{
		Open:  func(dir string) (journal.Store, error) { return bolt.Open(dir) },
		Large: 12_000,
	})
}

func TestKilled(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 3
	}
	journaltest.Kill(t, journaltest.Options{
		Open:  func(dir string) (journal.Store, error) { return bolt.OpenSmall(dir) },
		Large: 100,
	}, rounds)
}

// TestKilledAsShipped has a log that is seldom full.
func TestKilledAsShipped(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 2
	}
	journaltest.Kill(t, journaltest.Options{
		Open:  func(dir string) (journal.Store, error) { return bolt.Open(dir) },
		Large: 100,
	}, rounds)
}

// TestStoreSmall has nearly every step be a large one, in many parts.
func TestStoreSmall(t *testing.T) {
	journaltest.Run(t, journaltest.Options{
		Open:  func(dir string) (journal.Store, error) { return bolt.OpenSmall(dir) },
		Large: 300,
	})
}
