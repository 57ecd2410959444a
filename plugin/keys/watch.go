package keys

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
)

// interval is how often key files are looked at. Tests look more often.
var interval = 2 * time.Second

// instance is what the server blocks with keys of one running server share.
type instance struct {
	context    caddy.Context
	controller *caddy.Controller // of the first block
	blocks     map[*dnsserver.Config]*block
	handedOver bool
	files      map[string]digest // of all blocks, as they were read
	restarts   gate

	mu      sync.Mutex
	stopped bool
	quit    chan struct{} // closed to end the watch
	done    chan struct{} // closed when it has ended; nil if it was not begun
}

type instanceKey struct{}

// instanceOf gives what the blocks share, and makes it for the first.
func instanceOf(c *caddy.Controller) *instance {
	if i, ok := c.Get(instanceKey{}).(*instance); ok {
		return i
	}
	i := &instance{
		context: c.Context(), controller: c, blocks: make(map[*dnsserver.Config]*block),
		files: make(map[string]digest), quit: make(chan struct{}),
	}
	i.restarts.init()
	c.Set(instanceKey{}, i)
	c.OnRestart(i.restarts.enter)
	c.OnRestartFailed(i.restarts.leave)
	c.OnShutdown(i.shutdown)
	registerHook()
	return i
}

// add enters a block.
func (i *instance) add(c *caddy.Controller, b *block) {
	i.blocks[dnsserver.GetConfig(c)] = b
	maps.Copy(i.files, b.files)
}

// registerHook makes caddy tell when an instance is up. It forgets hooks at
// SIGUSR1, and does not say which it knows, but does not take one twice.
func registerHook() {
	defer func() {
		_ = recover() // it is known
	}()
	caddy.RegisterEventHook(name, func(event caddy.EventName, info any) error {
		if inst, ok := info.(*caddy.Instance); ok && event == caddy.InstanceStartupEvent {
			inst.StorageMu.RLock()
			i, ok := inst.Storage[instanceKey{}].(*instance)
			inst.StorageMu.RUnlock()
			if ok {
				i.start(inst)
			}
		}
		return nil
	})
}

// start begins to watch the key files.
func (i *instance) start(inst *caddy.Instance) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stopped || i.done != nil || len(i.files) == 0 {
		return
	}
	i.done = make(chan struct{})
	w := newWatch(i.files)
	go i.watch(inst, w)
}

// shutdown ends the watch. It does not wait for a restart under way, which may
// be what calls it.
func (i *instance) shutdown() error {
	i.restarts.close()
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.stopped {
		i.stopped = true
		close(i.quit)
	}
	if i.done != nil {
		<-i.done
		staleFiles.Set(0)
	}
	return nil
}

// watch looks at the files until shutdown, and restarts the instance when they
// have changed for good.
func (i *instance) watch(inst *caddy.Instance, w *watch) {
	defer close(i.done)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-i.quit:
			return
		case <-tick.C:
		}
		if !w.look() {
			continue
		}
		broken, changed := w.check()
		staleFiles.Set(float64(len(broken)))
		for _, err := range broken {
			log.Errorf("%v; the keys before stay in use", err)
		}
		switch {
		case len(broken) > 0:
			reloadsTotal.WithLabelValues("error").Inc()
			continue
		case len(changed) == 0:
			continue // it is again what is in use
		}
		log.Infof("key files have changed, restarting: %v", changed)
		failed := make(chan struct{})
		go func() {
			_, err := inst.Restart(inst.Caddyfile())
			switch {
			case err == nil:
				reloadsTotal.WithLabelValues("ok").Inc()
			case errors.Is(err, errGone): // another restart was first, and has read the files
			default:
				reloadsTotal.WithLabelValues("error").Inc()
				log.Errorf("restart for new keys failed, the keys before stay in use: %v", err)
				close(failed)
			}
		}()
		select {
		case <-i.quit: // as the new instance is up, or by a signal
			return
		case <-failed: // tried again when a file changes
			staleFiles.Set(float64(len(changed)))
		}
	}
}

// watch is what is known of the files of an instance.
type watch struct {
	paths  []string
	inUse  map[string]digest // as the instance has read them
	seen   map[string]digest // at the last look
	judged map[string]digest // when something was done about them last
}

func newWatch(files map[string]digest) *watch {
	return &watch{paths: slices.Sorted(maps.Keys(files)), inUse: files, seen: files, judged: files}
}

// look reads all files once and tells whether there is something to do: two
// looks have seen the same, so that nobody is writing, and it is new.
func (w *watch) look() bool {
	got := make(map[string]digest, len(w.paths))
	for _, path := range w.paths {
		got[path] = lookAt(path)
	}
	settled := maps.Equal(got, w.seen)
	w.seen = got
	if !settled || maps.Equal(got, w.judged) {
		return false
	}
	w.judged = got
	return true
}

// check reads the files that are not as the instance has read them and gives
// those that are good, and what is wrong with the others.
func (w *watch) check() (broken []error, changed []string) {
	for _, path := range w.paths {
		if w.seen[path] == w.inUse[path] {
			continue
		}
		if _, _, err := loadKeyFile(path); err != nil {
			broken = append(broken, err)
			continue
		}
		changed = append(changed, path)
	}
	return broken, changed
}

// gate lets one restart of an instance happen at a time: ours, by SIGUSR1 and by the
// plugin reload. Two at once would leave two instances running.
type gate struct {
	mu     sync.Mutex
	free   sync.Cond
	busy   bool
	closed bool
}

func (g *gate) init() { g.free.L = &g.mu }

var errGone = errors.New("the server was restarted or stopped meanwhile: try again")

// enter waits until no other restart is under way. It is an error if that has
// succeeded.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.busy && !g.closed {
		g.free.Wait()
	}
	if g.closed {
		return errGone
	}
	g.busy = true
	return nil
}

// leave is for a restart that has failed.
func (g *gate) leave() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy = false
	g.free.Broadcast()
	return nil
}

// close is for an instance that ends.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.free.Broadcast()
}
