package cookie

import (
	"fmt"
	"sync"
	"time"

	"github.com/coredns/caddy"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
)

// interval is how often files of secrets are looked at. Tests look more often.
var interval = 2 * time.Second

// instance is what the server blocks with cookies of one running server share.
type instance struct {
	blocks []*block
	files  []*file // of all blocks, each once

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
	i := &instance{quit: make(chan struct{})}
	c.Set(instanceKey{}, i)
	c.OnShutdown(i.shutdown)
	registerHook()
	return i
}

// file gives a file, which is read if no block has it yet.
func (i *instance) file(path string) (*file, error) {
	for _, f := range i.files {
		if f.path == path {
			return f, nil
		}
	}
	f, err := openFile(path)
	if err == nil {
		i.files = append(i.files, f)
	}
	return f, err
}

// registerHook makes caddy tell when an instance is up: one that fails before has
// nothing to end. Caddy forgets hooks at SIGUSR1, and does not say which it knows, but
// does not take one twice.
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
				i.start()
			}
		}
		return nil
	})
}

// start begins to watch the files.
func (i *instance) start() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stopped || i.done != nil || len(i.files) == 0 {
		return
	}
	i.done = make(chan struct{})
	go i.watch()
}

// shutdown ends the watch.
func (i *instance) shutdown() error {
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

// watch looks at the files until shutdown.
func (i *instance) watch() {
	defer close(i.done)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-i.quit:
			return
		case <-tick.C:
			i.look()
		}
	}
}

// look takes the files that have changed in use. Of one that is broken the secrets
// before stay.
func (i *instance) look() {
	for _, f := range i.files {
		data, settled, err := f.look()
		if !settled {
			continue
		}
		before := f.secrets
		if err == nil {
			f.secrets, err = cookie.ParseSecrets(data)
		}
		if err == nil {
			err = i.compose()
		}
		f.stale = err != nil
		if err != nil {
			f.secrets = before
			reloadsTotal.WithLabelValues("error").Inc()
			log.Errorf("%v; the secrets before stay in use", f.wrap(err))
			continue
		}
		reloadsTotal.WithLabelValues("ok").Inc()
		log.Infof("%s has changed: %s", f.path, counted(len(f.secrets)))
		f.warn()
	}
	stale := 0
	for _, f := range i.files {
		if f.stale {
			stale++
		}
	}
	staleFiles.Set(float64(stale))
}

// compose has all blocks take the secrets that the files have now.
func (i *instance) compose() error {
	for _, b := range i.blocks {
		if err := b.compose(); err != nil {
			return err
		}
	}
	return nil
}

// warn says that a file is not secret.
func (f *file) warn() {
	if exposed(f.path) {
		log.Warningf("%s: others than its owner and group can read or write the file", f.path)
	}
}

func counted(n int) string {
	if n == 1 {
		return "one secret"
	}
	return fmt.Sprintf("%d secrets, the first makes cookies", n)
}
