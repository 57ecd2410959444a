package parent

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

const (
	defaultInterval = 5 * time.Minute
	maxInterval     = time.Hour
	zonesAtOnce     = 8
)

// Pending is a zone for whose DS records somebody waits.
type Pending struct {
	Zone    dnsname.Name
	Servers []netip.AddrPort // as of Client.Ask; none: they are found
}

// Report is what asking about a zone has brought.
type Report struct {
	Zone   dnsname.Name
	Result Result // without Servers if there was nobody to ask
	Err    error  // of Client.Ask, or Result.Err; nil if all servers have answered
}

// WatchOptions say what is watched.
type WatchOptions struct {
	// Client asks. It is shared with whoever else uses it.
	Client *Client
	// Pending gives the zones that are waited for. It is called once an interval
	// by the goroutine of the watcher, and must not wait for it.
	Pending func() []Pending
	// Report gets what asking has brought, from the same goroutine. It comes each
	// time that all servers have answered. Where one has not, it comes only when
	// the text of the error, or what the others have, is not that of the time before.
	Report func(Report)
	// Interval is the time between two questions about a zone, and between two
	// calls of Pending. 0 stands for 5 minutes.
	Interval time.Duration
}

// Watcher asks about zones as long as somebody waits for them. If servers do not
// answer it asks less and less often, down to once an hour.
type Watcher struct {
	o      WatchOptions
	cancel context.CancelFunc
	wake   chan struct{}
	end    sync.WaitGroup

	// Of the goroutine.
	tick    int                     // intervals that have begun
	watched map[dnsname.Name]*watch // by zone, in lower case
	queue   []*watch                // to be asked about
}

// watch is a zone that is waited for.
type watch struct {
	Pending
	due    int  // tick
	busy   bool // in the queue, or being asked about
	failed int  // times in a row
	said   string
}

// Watch starts a watcher, which asks at once about all that is pending. It must be closed.
func Watch(o WatchOptions) *Watcher {
	if o.Interval == 0 {
		o.Interval = defaultInterval
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watcher{o: o, cancel: cancel, wake: make(chan struct{}, 1), watched: map[dnsname.Name]*watch{}}
	w.end.Go(func() { w.run(ctx) })
	return w
}

// Wake has the watcher ask about all that is pending now, whatever has failed
// before. It does not wait, and may be called from several goroutines.
func (w *Watcher) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Close ends the watcher; when it returns there is no report any more. It must not
// be called by Pending or Report. Closing twice does nothing.
func (w *Watcher) Close() {
	w.cancel()
	w.end.Wait()
}

// outcome is what a question about a zone has brought.
type outcome struct {
	*watch
	result Result
	err    error
}

func (w *Watcher) run(ctx context.Context) {
	ticker := time.NewTicker(w.o.Interval)
	defer ticker.Stop()
	outcomes := make(chan outcome)
	running := 0
	w.look(true)
	for {
		for ; running < zonesAtOnce && len(w.queue) > 0; running++ {
			next := w.queue[0]
			w.queue = w.queue[1:]
			zone, servers := next.Zone, next.Servers
			go func() {
				r, err := w.o.Client.Ask(ctx, zone, servers)
				outcomes <- outcome{next, r, err}
			}()
		}
		select {
		case <-ctx.Done():
			for ; running > 0; running-- {
				<-outcomes
			}
			return
		case <-ticker.C:
			w.tick++
			w.look(false)
		case <-w.wake:
			w.look(true)
		case o := <-outcomes:
			running--
			if ctx.Err() == nil {
				w.finish(o)
			}
		}
	}
}

// look brings what is watched in line with what is pending, and puts what is due
// into the queue, or all.
func (w *Watcher) look(all bool) {
	before := w.watched
	w.watched = make(map[dnsname.Name]*watch, len(before))
	for _, p := range w.o.Pending() {
		name := p.Zone.Fold()
		if w.watched[name] != nil {
			continue
		}
		z := before[name]
		if z == nil || !slices.Equal(z.Servers, p.Servers) { // whatever other servers have said does not count
			z = &watch{Pending: Pending{p.Zone, slices.Clone(p.Servers)}, due: w.tick}
		}
		w.watched[name] = z
	}
	w.queue = slices.DeleteFunc(w.queue, func(z *watch) bool { return w.watched[z.Zone.Fold()] != z })
	for _, z := range w.watched {
		if !z.busy && (all || z.due <= w.tick) {
			z.busy = true
			w.queue = append(w.queue, z)
		}
	}
}

// finish reports on a zone and says when it is due again.
func (w *Watcher) finish(o outcome) {
	z := o.watch
	z.busy = false
	if w.watched[z.Zone.Fold()] != z {
		return
	}
	err := o.err
	if err == nil {
		err = o.result.Err()
	}
	pause := 1
	if err == nil {
		z.failed = 0
	} else {
		pause = min(1<<z.failed, int(maxInterval/w.o.Interval))
		z.failed = min(z.failed+1, 30)
	}
	z.due = w.tick + pause
	said := ""
	if err != nil {
		said = summary(&o.result, err)
	}
	if err == nil || said != z.said {
		z.said = said
		w.o.Report(Report{Zone: z.Zone, Result: o.result, Err: err})
	}
}

// summary is the text of an error, and what the servers have that have answered.
func summary(r *Result, err error) string {
	var b strings.Builder
	b.WriteString(err.Error())
	for i := range r.Servers {
		if s := &r.Servers[i]; s.Err == nil {
			b.WriteString("\n" + s.String() + "\n" + strings.Join(s.DS, "\n"))
		}
	}
	return b.String()
}
