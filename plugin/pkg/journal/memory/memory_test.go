package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/journaltest"
	"github.com/trustdns/trustdns/plugin/pkg/journal/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	journaltest.Run(t, journaltest.Options{
		Open:    func(string) (journal.Store, error) { return memory.New(), nil },
		Forgets: true,
	})
}
