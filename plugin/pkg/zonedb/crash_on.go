//go:build crashpoints

package zonedb

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// The environment says at which step the process kills itself, and at which time
// it comes there: "durable:3".
var (
	crashStep, crashCount = func() (string, int64) {
		step, count, _ := strings.Cut(os.Getenv("TRUSTDNS_CRASH"), ":")
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil {
			return "", 0
		}
		return step, n
	}()
	crashSeen atomic.Int64
)

// crashPause is how long it stays there before, so that clients get to see what
// must not be visible or acknowledged yet.
const crashPause = 20 * time.Millisecond

func crashPoint(step string) {
	if step == crashStep && crashSeen.Add(1) == crashCount {
		<-time.After(crashPause)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
