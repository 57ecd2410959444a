package authority

import (
	"slices"
	"sync"

	"github.com/coredns/caddy"
)

// Caddy starts an instance of the server while the one before serves, and tells
// nobody in it if that fails; but it tells the one before. So each instance leaves
// word there that its blocks are to be closed then.

type (
	siblingsKey struct{} // of the siblings, in the storage of their instance
	wordKey     struct{} // of the note that word is left with an instance
)

// listed tells whether the instance serves, or is about to.
func (s *siblings) listed() bool {
	return slices.ContainsFunc(caddy.Instances(), func(i *caddy.Instance) bool {
		i.StorageMu.RLock()
		defer i.StorageMu.RUnlock()
		return i.Storage[siblingsKey{}] == s
	})
}

// started are the blocks of the process that have begun to open zones and are not
// closed.
var started struct {
	sync.Mutex
	blocks []*block
}

// start notes that the block opens zones.
func (b *block) start() {
	closeFailed() // those of a first start that failed, if the process goes on
	for _, i := range caddy.Instances() {
		i.StorageMu.Lock()
		left := i.Storage[wordKey{}] != nil
		i.Storage[wordKey{}] = true
		i.StorageMu.Unlock()
		if !left {
			i.OnRestartFailed = append(i.OnRestartFailed, func() error {
				endHandover()
				closeFailed()
				return nil
			})
		}
	}
	if b.owner.listed() { // else there is no server, but a test
		started.Lock()
		defer started.Unlock()
		started.blocks = append(started.blocks, b)
	}
}

// stop takes the note back.
func (b *block) stop() {
	started.Lock()
	defer started.Unlock()
	started.blocks = slices.DeleteFunc(started.blocks, func(other *block) bool { return other == b })
}

// closeFailed closes the blocks of instances that caddy has dropped.
func closeFailed() {
	started.Lock()
	blocks := slices.Clone(started.blocks)
	started.Unlock()
	for _, b := range blocks {
		if !b.owner.listed() {
			b.close()
		}
	}
}
