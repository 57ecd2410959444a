package authority

import (
	"sync"
	"time"

	"github.com/coredns/caddy"
)

// Caddy hands the sockets of an instance on to the next one as files, and while it
// takes one from a file the Go library makes the socket block, for all descriptors of
// it. Whoever accepts or reads at that moment waits in the system: no deadline and no
// Close ends that, only the next connection or packet. Close waits for it with the lock
// that the connections of the old instance wait for, too; if their clients are all there
// are, none comes. Then the reload does not end, and no signal is looked at.
//
// A signal to the thread has it begin the call anew, and by then the socket does not
// block. So threads get one if a reload takes its time.

const (
	handoverTime = 100 * time.Millisecond // most reloads are over by then
	handovers    = 600                    // how often threads get a signal at most
)

// handover is the reload that is under way.
var handover struct {
	sync.Mutex
	timer *time.Timer // nil if there is none
	left  int         // signals
}

// beginHandover is called when the next instance is about to take over, maybe several
// times.
func beginHandover() {
	if len(caddy.Instances()) < 2 {
		return // the first start
	}
	handover.Lock()
	defer handover.Unlock()
	handover.left = handovers
	if handover.timer == nil {
		handover.timer = time.AfterFunc(handoverTime, wake)
	} else {
		handover.timer.Reset(handoverTime)
	}
}

// wake sends the signals, and will again.
func wake() {
	handover.Lock()
	defer handover.Unlock()
	if handover.timer == nil {
		return
	}
	interrupt()
	if handover.left--; handover.left > 0 {
		handover.timer.Reset(handoverTime)
	}
}

// endHandover is called when the sockets of the instance before are closed, or it goes
// on.
func endHandover() {
	handover.Lock()
	defer handover.Unlock()
	if handover.timer != nil {
		handover.timer.Stop()
		handover.timer = nil
	}
}
