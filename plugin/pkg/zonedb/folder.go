package zonedb

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
)

// FolderSpec says how the files of a folder are zones.
type FolderSpec struct {
	Dir     string // absolute and clean
	Pattern string // of the names of the files, with one asterisk that stands for the name of the zone
	Zone    Spec   // of each, without Origin and Path
	// Accept tells why a zone cannot be served, or nil. It may be nil.
	Accept func(origin dnsname.Name) error
	// Changed is told of the zones there are, at first, even if the folder cannot be
	// read, and whenever some came or went.
	Changed func(zones []*Zone)
	// Failed is told, once, why a file, or the folder, cannot be used.
	Failed func(path string, err error)
}

// Folder keeps the zones of a folder live.
type Folder struct {
	*Lease
	FolderSpec
	opened, unsettled atomic.Bool

	mu      sync.Mutex // held while the folder is looked at; guards what follows
	ended   bool
	members map[string]*Zone     // by path
	coming  map[string]*settling // files that are no members yet
	gone    map[string]time.Time // since when the files of members are not there
	failed  map[string]string    // what Failed was told
}

// OpenFolder makes the zones of a folder live, as Open does, and keeps to what is
// in the folder: a file that comes is a new zone, one that is gone takes its zone
// with it. Names in the folder that begin with a dot are left out. If the folder
// cannot be read, what was there stays. The zone of a file that is there under two
// spellings is that of the first. The error is that of the store, or of one of the
// zones in it, and then nothing was opened. What the store has of a zone whose file
// goes stays there.
func (db *DB) OpenFolder(owner any, spec FolderSpec, hooks Hooks) (*Folder, error) {
	f := &Folder{
		FolderSpec: spec, members: make(map[string]*Zone), coming: make(map[string]*settling),
		gone: make(map[string]time.Time), failed: make(map[string]string),
	}
	f.Lease = db.newLease(owner, hooks, f)
	_, err := f.take(nil, spec.Zone.Store)
	if err == nil {
		err = f.update(false)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	f.opened.Store(true)
	db.kick()
	return f, nil
}

// folders gives those that are watched.
func (db *DB) folders() []*Folder {
	db.mu.Lock()
	defer db.mu.Unlock()
	var folders []*Folder
	for l := range db.leases {
		if l.folder != nil && l.folder.opened.Load() {
			folders = append(folders, l.folder)
		}
	}
	return folders
}

// end waits for a look and makes it the last one.
func (f *Folder) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
}

func (f *Folder) changing() bool { return f.unsettled.Load() }

// look takes up what has changed in the folder and tells whether files are
// changing still.
func (f *Folder) look() (more bool) {
	if err := f.update(true); err != nil && !errors.Is(err, journal.ErrClosed) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.fail(f.Dir, err)
	}
	return f.changing()
}

// update brings the members up to date with the folder. A patient update leaves
// what was changed just now to the next one. The error is that of a store.
func (f *Folder) update(patient bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil
	}
	f.unsettled.Store(false)
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		f.fail(f.Dir, err)
		if !patient {
			f.Changed(nil)
		}
		return nil
	}
	names := make(map[string]string, len(entries)) // of the files, by path
	paths := make([]string, 0, len(entries))
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && f.matches(e.Name()) {
			path := filepath.Join(f.Dir, e.Name())
			names[path] = e.Name()
			paths = append(paths, path)
		}
	}
	left := f.leaving(names, patient)
	var specs []Spec
	taken := make(map[dnsname.Name]string) // the paths of the members that stay, and of those that come
	for path, z := range f.members {
		if left[path] == nil {
			taken[z.Spec().Origin] = path
		}
	}
	for _, path := range paths {
		if f.members[path] != nil || patient && !f.arrived(path) {
			continue
		}
		spec, err := f.spec(path, names[path])
		if other, ok := taken[spec.Origin]; ok && err == nil {
			if _, ok := f.gone[other]; ok { // it may make room
				f.unsettled.Store(true)
				continue
			}
			err = fmt.Errorf("zone %s has another file already, %s", spec.Origin, other)
		}
		if err != nil {
			f.fail(path, err)
			continue
		}
		taken[spec.Origin] = path
		specs = append(specs, spec)
	}
	return f.change(specs, left, patient)
}

// arrived tells whether a file that is no member is complete.
func (f *Folder) arrived(path string) bool {
	w := f.coming[path]
	if w == nil {
		w = new(settling)
		f.coming[path] = w
	}
	if w.over([]stamp{take(path, time.Now())}, f.db.settle) {
		return true
	}
	f.unsettled.Store(true)
	return false
}

// leaving gives the members that are to go, by path, and forgets what it knows of
// other files that are not there.
func (f *Folder) leaving(there map[string]string, patient bool) map[string]*Zone {
	left := make(map[string]*Zone)
	for path, z := range f.members {
		if _, ok := there[path]; ok {
			delete(f.gone, path)
			continue
		}
		since, ok := f.gone[path]
		if !ok {
			since = time.Now()
			f.gone[path] = since
		}
		if patient && (!ok || time.Since(since) < f.db.settle) { // maybe another file comes in its place
			f.unsettled.Store(true)
			continue
		}
		delete(f.gone, path)
		left[path] = z
	}
	absent := func(path string) bool { _, ok := there[path]; return !ok }
	maps.DeleteFunc(f.coming, func(path string, _ *settling) bool { return absent(path) })
	maps.DeleteFunc(f.failed, func(path, _ string) bool { return absent(path) })
	return left
}

// spec gives that of the zone of a file, or why it can be none.
func (f *Folder) spec(path, name string) (Spec, error) {
	spec := f.Zone
	spec.Path = path
	var err error
	if spec.Origin, err = f.origin(name); err != nil {
		return spec, err
	}
	if f.Accept != nil {
		if err := f.Accept(spec.Origin); err != nil {
			return spec, err
		}
	}
	f.db.mu.Lock()
	defer f.db.mu.Unlock()
	return spec, f.fits(&spec)
}

// change takes up zones and lets go of others. An error when the folder is opened
// is that of the store; later the zones that have one are not taken up.
func (f *Folder) change(specs []Spec, left map[string]*Zone, patient bool) error {
	come, err := f.take(specs, "")
	if err != nil {
		come, specs = nil, nil
	}
	errs := f.db.lookAt(come, false)
	if !patient && err == nil {
		err = firstOf(errs)
	}
	var refused []*Zone
	stays := make(map[*Zone]bool)
	for i, z := range come {
		path := specs[i].Path
		delete(f.coming, path)
		if errs[i] != nil {
			f.fail(path, errs[i])
			refused = append(refused, z)
			continue
		}
		f.members[path] = z
		stays[z] = true
		delete(f.failed, path)
	}
	gone := make([]*Zone, 0, len(left))
	for path, z := range left {
		delete(f.members, path)
		if !stays[z] { // else its file has another name now
			gone = append(gone, z)
		}
	}
	if len(come)+len(left) > 0 || !patient {
		f.Changed(f.list())
	}
	f.giveBack(append(gone, refused...), false)
	if len(come) > 0 {
		f.db.kick()
	}
	return err
}

// list gives the members in the order of their paths.
func (f *Folder) list() []*Zone {
	zones := make([]*Zone, 0, len(f.members))
	for _, z := range f.members {
		zones = append(zones, z)
	}
	slices.SortFunc(zones, func(a, b *Zone) int { return strings.Compare(a.Spec().Path, b.Spec().Path) })
	return zones
}

// fail tells of an error once.
func (f *Folder) fail(path string, err error) {
	if text := err.Error(); f.failed[path] != text {
		f.failed[path] = text
		f.Failed(path, err)
	}
}

// matches tells whether a file is one of the pattern.
func (f *Folder) matches(name string) bool {
	prefix, suffix, _ := strings.Cut(f.Pattern, "*")
	return len(name) > len(prefix)+len(suffix) && strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix)
}

// origin gives the zone that a file stands for.
func (f *Folder) origin(name string) (dnsname.Name, error) {
	prefix, suffix, _ := strings.Cut(f.Pattern, "*")
	name = strings.TrimSuffix(strings.TrimPrefix(name, prefix), suffix)
	if i := strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
		return "", fmt.Errorf("%q is not the name of a zone: write characters beyond ASCII as an A-label (xn--…)", name)
	}
	n, err := dnsname.Parse(strings.TrimSuffix(name, ".")+".", dnsname.Root)
	if err != nil {
		return "", fmt.Errorf("%q is not the name of a zone: %w", name, err)
	}
	return n.Fold(), nil
}
