package zonedb

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// gather is how long further events of the system are waited for after the
	// first.
	gather = 50 * time.Millisecond
	// pause is the time until files that were changing are looked at again.
	pause = 250 * time.Millisecond
	// maxEvents is how many files that changed are kept apart.
	maxEvents = 1000
)

// watch looks at the files of a registry: at those that the system tells of soon,
// at all from time to time. The system does not tell of everything (network file
// systems, symbolic links further up), or of nothing where its watches are used
// up.
type watch struct {
	db            *DB
	kicked        chan struct{} // holds a token when there are other files to watch
	stop, stopped chan struct{}
}

func newWatch(db *DB) *watch {
	w := &watch{db, make(chan struct{}, 1), make(chan struct{}), make(chan struct{})}
	go w.run()
	return w
}

// kick makes the watch see which files there are.
func (w *watch) kick() {
	select {
	case w.kicked <- struct{}{}:
	default:
	}
}

// close ends the watch and waits for it.
func (w *watch) close() {
	close(w.stop)
	<-w.stopped
}

func (w *watch) run() {
	defer close(w.stopped)
	tick := time.NewTicker(w.db.interval)
	defer tick.Stop()
	soon := time.NewTimer(time.Hour)
	defer soon.Stop()
	var events <-chan fsnotify.Event
	var failures <-chan error
	system, err := w.db.events()
	if err == nil { // else the ticks do
		events, failures = system.Events, system.Errors
		defer func() { _ = system.Close() }()
	}
	files := make(map[string]struct{})      // that zones were read from
	watched := make(map[string]fs.FileInfo) // folders, as they were then
	changed := make(map[string]struct{})    // files and folders
	all, armed := false, false
	arm := func(d time.Duration) {
		if !armed {
			soon.Reset(d)
			armed = true
		}
	}
	follow := func() {
		if system == nil {
			return
		}
		var added []string
		files, added = w.follow(system, watched)
		for _, dir := range added { // it may have changed before the system told of it
			changed[dir] = struct{}{}
			changed[dir+inside] = struct{}{}
			arm(gather)
		}
	}
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			w.db.heedClock()
			all = true
			soon.Reset(0)
			armed = true
		case <-w.kicked:
			follow()
			arm(pause) // some may be changing
		case e := <-events:
			_, known := files[e.Name]
			comes := e.Op&(fsnotify.Create|fsnotify.Rename|fsnotify.Remove) != 0
			switch {
			case comes && watched[e.Name] != nil: // the folder itself is gone
				_ = system.Remove(e.Name) // the system may have done so
				delete(watched, e.Name)
				changed[e.Name] = struct{}{}
				changed[e.Name+inside] = struct{}{}
				arm(pause)
			case known:
				changed[e.Name] = struct{}{}
				if comes {
					changed[membership(e.Name)] = struct{}{}
				}
				arm(gather)
			case comes && strings.HasPrefix(filepath.Base(e.Name), ".."): // Kubernetes has changed what all links lead to
				changed[filepath.Dir(e.Name)] = struct{}{}
				changed[membership(e.Name)] = struct{}{}
				arm(gather)
			case comes: // maybe a zone
				changed[membership(e.Name)] = struct{}{}
				arm(pause)
			}
			all = all || len(changed) > maxEvents
		case lost := <-failures:
			all = all || lost != nil // events are missing
			arm(pause)
		case <-soon.C:
			armed = false
			more := w.look(all, changed)
			all = false
			clear(changed)
			if more {
				arm(pause)
			}
			follow()
		}
	}
}

// inside behind the path of a folder stands for which files there are in it. With
// it, that is no path of a file or a folder.
const inside = "/*/"

// membership stands for which files there are in the folder of a file.
func membership(path string) string { return filepath.Dir(path) + inside }

// look looks at the files that changed, and those that were changing at the last
// look. It tells whether some are changing still.
func (w *watch) look(all bool, changed map[string]struct{}) (more bool) {
	for _, f := range w.db.folders() {
		if _, ok := changed[f.Dir+inside]; (ok || all || f.changing()) && f.look() {
			more = true
		}
	}
	var zones []*Zone
	for _, z := range w.db.Zones() {
		if all || z.changing() || z.touched(changed) {
			zones = append(zones, z)
		}
	}
	_ = w.db.lookAt(zones, true) // their stores are open
	for _, z := range zones {
		more = more || z.changing()
	}
	return more
}

// follow makes the system tell of the folders of all files. It gives the files, and
// the folders that the system has not told of so far. One that is there in another's
// place, maybe by way of a symbolic link, is among those.
func (w *watch) follow(system *fsnotify.Watcher, watched map[string]fs.FileInfo) (files map[string]struct{}, added []string) {
	files = make(map[string]struct{})
	folders := make(map[string]struct{})
	for _, f := range w.db.folders() {
		folders[f.Dir] = struct{}{}
	}
	for _, z := range w.db.Zones() {
		for _, path := range z.files() {
			files[path] = struct{}{}
			folders[filepath.Dir(path)] = struct{}{}
		}
	}
	now := make(map[string]fs.FileInfo, len(folders))
	for dir := range folders {
		if info, err := os.Stat(dir); err == nil {
			now[dir] = info
		}
	}
	for dir, info := range watched {
		if now[dir] == nil || !os.SameFile(info, now[dir]) {
			_ = system.Remove(dir) // the system may have done so
			delete(watched, dir)
		}
	}
	for dir, info := range now {
		if watched[dir] == nil && system.Add(dir) == nil { // else it is tried again
			watched[dir] = info
			added = append(added, dir)
		}
	}
	return files, added
}

// touched tells whether files of the zone, or their folders, are among those.
func (z *Zone) touched(changed map[string]struct{}) bool {
	for _, path := range z.files() {
		if _, ok := changed[path]; ok {
			return true
		}
		if _, ok := changed[filepath.Dir(path)]; ok {
			return true
		}
	}
	return false
}

// files gives the files that the zone is read from.
func (z *Zone) files() []string {
	if p := z.paths.Load(); p != nil {
		return *p
	}
	return nil
}

// changing tells whether files of the zone were being changed at the last look.
func (z *Zone) changing() bool { return z.unsettled.Load() }
