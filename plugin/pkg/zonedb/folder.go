package zonedb

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// FolderSpec says how the files of a folder are zones.
type FolderSpec struct {
	Dir     string // absolute and clean
	Pattern string // of the names of the files, with one asterisk that stands for the name of the zone
	Zone    Spec   // of each, without Origin and Path
	// Accept tells why a zone cannot be served, or nil. It may be nil.
	Accept func(origin dnsname.Name) error
	// Changed is told of the zones there are, at first and whenever some came or
	// went.
	Changed func(zones []*Zone)
	// Failed is told, once, why a file, or the folder, cannot be used.
	Failed func(path string, err error)
}

// Folder keeps the zones of a folder live.
type Folder struct {
	*Lease
	FolderSpec
	unsettled atomic.Bool

	mu      sync.Mutex // held while the folder is looked at; guards what follows
	members map[string]*Zone
	gone    map[string]bool   // members whose files were not there at the last look
	failed  map[string]string // what Failed was told
}

// OpenFolder makes the zones of a folder live, as Open does, and keeps to what is
// in the folder: a file that comes is a new zone, one that is gone takes its zone
// with it. Names in the folder that begin with a dot are left out. If the folder
// cannot be read, what was there stays. The zone of a file that is there under two
// spellings is that of the first.
func (db *DB) OpenFolder(owner any, spec FolderSpec, hooks Hooks) (*Folder, error) {
	f := &Folder{FolderSpec: spec, members: make(map[string]*Zone), gone: make(map[string]bool), failed: make(map[string]string)}
	f.Lease = db.newLease(owner, hooks)
	if err := f.update(false); err != nil {
		f.Close()
		return nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	f.folder = f
	if db.watch != nil {
		db.watch.kick()
	}
	return f, nil
}

// folders gives those that are watched.
func (db *DB) folders() []*Folder {
	db.mu.Lock()
	defer db.mu.Unlock()
	var folders []*Folder
	for l := range db.leases {
		if l.folder != nil {
			folders = append(folders, l.folder)
		}
	}
	return folders
}

func (f *Folder) changing() bool { return f.unsettled.Load() }

// look takes up what has changed in the folder and tells whether files are
// changing still.
func (f *Folder) look(patient bool) bool {
	if err := f.update(patient); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.fail(f.Dir, err)
	}
	return f.changing()
}

// update is look; the error is that of a store.
func (f *Folder) update(patient bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unsettled.Store(false)
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		f.fail(f.Dir, err)
		return nil
	}
	delete(f.failed, f.Dir)
	taken := make(map[dnsname.Name]bool)
	for _, z := range f.members {
		taken[z.Spec().Origin] = true
	}
	there := make(map[string]bool, len(entries))
	var specs []Spec
	for _, e := range entries {
		path := filepath.Join(f.Dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") || !f.matches(e.Name()) {
			continue
		}
		there[path] = true
		if f.members[path] != nil {
			continue
		}
		if patient && !settled([]stamp{take(path, time.Now())}) {
			f.unsettled.Store(true)
			continue
		}
		origin, err := f.origin(e.Name())
		switch {
		case err != nil:
		case taken[origin]:
			err = fmt.Errorf("zone %s has another file already", origin)
		case f.Accept != nil:
			err = f.Accept(origin)
		}
		if err != nil {
			f.fail(path, err)
			continue
		}
		taken[origin] = true
		spec := f.Zone
		spec.Origin, spec.Path = origin, path
		specs = append(specs, spec)
	}
	return f.change(specs, there, patient)
}

// change makes the members those whose files are there.
func (f *Folder) change(specs []Spec, there map[string]bool, patient bool) error {
	var left []*Zone
	for path, z := range f.members {
		switch {
		case there[path]:
			delete(f.gone, path)
		case patient && !f.gone[path]: // maybe another file comes in its place at once
			f.gone[path] = true
			f.unsettled.Store(true)
		default:
			delete(f.gone, path)
			delete(f.members, path)
			left = append(left, z)
		}
	}
	for path := range f.failed {
		if path != f.Dir && !there[path] {
			delete(f.failed, path)
		}
	}
	come, err := f.add(specs)
	for i, z := range come {
		f.members[specs[i].Path] = z
		delete(f.failed, specs[i].Path)
	}
	if len(come)+len(left) > 0 || !patient {
		f.Changed(f.list())
	}
	f.remove(left)
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
