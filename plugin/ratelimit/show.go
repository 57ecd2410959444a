package ratelimit

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/trustdns/trustdns/plugin/pkg/ratelimit"
)

// showOnHangup has the log name the networks that were limited most of late whenever
// the process gets SIGHUP, which CoreDNS itself has no use for.
var showOnHangup = sync.OnceFunc(func() {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			for _, s := range live() {
				log.Infof("limited most of late, with the number of requests and responses: %s", describeTop(s.Top(topOffenders)))
			}
		}
	}()
})

// describeTop gives networks with their numbers, for the log.
func describeTop(top []ratelimit.Offender) string {
	if len(top) == 0 {
		return "none"
	}
	list := make([]string, len(top))
	for i, o := range top {
		list[i] = fmt.Sprintf("%s %d", o.Prefix, o.Count)
	}
	return strings.Join(list, ", ")
}
