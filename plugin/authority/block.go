package authority

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/feed"
	"github.com/trustdns/trustdns/plugin/pkg/onlinesign"
	"github.com/trustdns/trustdns/plugin/pkg/parent"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// zoneMap is zones by origin in lower case.
type zoneMap map[dnsname.Name]*served

// block is the zones of one server block.
type block struct {
	owner      *siblings
	config     *dnsserver.Config
	updates    updater // nil without the plugin update
	context    caddy.Context
	around     []dnsname.Name // the zones of the server block
	directives []*directive
	static     zoneMap       // zones that stand in the Corefile
	specs      []zonedb.Spec // theirs, in its order
	folders    []*folder
	wary       bool // a plugin logs each message that it cannot look into

	zones  atomic.Pointer[zoneMap] // all of them, once they are loaded
	loaded atomic.Bool
	known  atomic.Pointer[[]*listener]

	announcements announcements

	gathering sync.Mutex // held while zones is made anew

	mu     sync.Mutex // guards what follows
	leases []interface{ Close() }
	events *feed.Subscription
	ended  chan struct{}   // closed when nobody reads the events
	watch  *parent.Watcher // of parent zones, or nil
}

// served is one zone of a block.
type served struct {
	*directive
	origin string // in presentation form and lower case, with the final dot
	spec   zonedb.Spec
	zone   *zonedb.Zone // set before the first query

	signs   func() *onlinesign.Signer                        // as it is now, or nil; set with zone
	answers [countedListeners]atomic.Pointer[answerCounters] // by index of the listener
}

func newServed(spec zonedb.Spec, d *directive) *served {
	z := &served{directive: d, origin: spec.Origin.String(), spec: spec}
	z.signs = func() *onlinesign.Signer {
		if k, ok := z.zone.Signer().(*autosign.Keeper); ok {
			return k.Online()
		}
		return nil
	}
	return z
}

// online gives what signs the answers of the zone as they are made, or nil if nothing
// does. Ask for it when the version of the zone is pinned.
func (z *served) online() *onlinesign.Signer {
	s := z.signs()
	if s != nil && !anyOnline.Load() {
		anyOnline.Store(true)
	}
	return s
}

// anyOnline tells whether the answers of any zone are signed as they are made, or were.
var anyOnline atomic.Bool

// updater is the plugin update, as we know it.
type updater interface {
	TakesUpdates(origin dnsname.Name) bool
}

// bind looks at the other plugins of the server block. It notes zones that are
// updated, which are read from their files just once.
func (b *block) bind(seeds map[string]bool) error {
	handlers := b.config.Handlers()
	has := func(name string) bool {
		return slices.ContainsFunc(handlers, func(h plugin.Handler) bool { return h.Name() == name })
	}
	if err := b.bindSigning(handlers); err != nil {
		return err
	}
	b.wary = (has("loadbalance") || has("header")) && !has("minimal") // which would hand on the last message alone
	for _, d := range b.directives {
		if err := d.bindKeys(handlers); err != nil {
			return err
		}
		for _, other := range d.sharing {
			if other.config != d.config && (b.config.ViewName != "" || other.config.ViewName != "") {
				return d.errorf("a block with view needs a store of its own: %s has the same", other.place)
			}
		}
	}
	for _, h := range handlers {
		if u, ok := h.(updater); ok {
			b.updates = u
			if err := b.bindUpdates(seeds); err != nil {
				return err
			}
		}
	}
	if len(b.folders) > 0 && has("cache") {
		return b.folders[0].errorf("property \"directory\" and the plugin cache exclude each other: cache asks at the start which zones it must leave alone, and these come and go")
	}
	return nil
}

// bindUpdates tells what keeps the plugin update from the zones that it takes.
func (b *block) bindUpdates(seeds map[string]bool) error {
	taken := false
	for origin, z := range b.static {
		switch {
		case !b.updates.TakesUpdates(origin):
			continue
		case z.kind == "source":
			return z.errorf("zone %s: with \"file … source\" the file is the truth, and the plugin update has no say: leave out \"source\", or name other zones behind \"update\"", z.origin)
		case z.kept == "":
			return z.errorf("zone %s is updated, and what is acknowledged must be kept: property \"store\" with a folder is missing (\"store memory\" if a restart may lose it)", z.origin)
		}
		taken = true
		seeds[sharedBy(&z.spec)] = true
	}
	for _, f := range b.folders {
		if len(f.origins) > 0 && !slices.ContainsFunc(f.origins, func(o dnsname.Name) bool { return !b.updates.TakesUpdates(o) }) {
			return f.errorf("zones of a directory follow their files: they cannot be updated; name other zones behind \"update\"")
		}
	}
	if !taken {
		return b.directives[0].errorf("the plugin update is in this server block, and none of its zones is served here")
	}
	return nil
}

// sharedBy is the same for zones of one store, and of no other.
func sharedBy(s *zonedb.Spec) string { return cmp.Or(s.Store, s.Path) + "\x00" + string(s.Origin) }

// seed makes the files of zones that are updated seeds, here or in another block
// that has the same zone.
func (b *block) seed(seeds map[string]bool) error {
	for i := range b.specs {
		spec := &b.specs[i]
		z := b.static[spec.Origin]
		switch {
		case !seeds[sharedBy(spec)]:
		case z.kind == "source":
			return z.errorf("zone %s: another server block has the same zone updated, and here its file is the truth: leave out \"source\"", z.origin)
		default:
			spec.Seed, z.spec.Seed = true, true
		}
	}
	return nil
}

// LiveZone gives the zone of that origin, in lower case, or nil if there is none. Other
// plugins of the block find the method in OnStartup among
// dnsserver.Config.Handlers, by an interface that has it alone.
func (b *block) LiveZone(origin dnsname.Name) *zonedb.Zone {
	if z, ok := (*b.zones.Load())[origin]; ok {
		return z.zone
	}
	return nil
}

// open loads the zones of the block. With an error nothing is left open.
func (b *block) open(db *zonedb.DB) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events, b.ended = feed.NewSubscription(0), make(chan struct{})
	hooks := zonedb.Hooks{Loaded: report, Committed: committed, Signed: signed, Events: b.events}
	go b.announce(b.events, b.ended)
	lease, err := db.Open(b.owner, b.specs, hooks)
	if err != nil {
		b.end()
		if errors.Is(err, zonedb.ErrSigned) {
			err = fmt.Errorf("%w: without the property \"dnssec\" the zone would fail for validators that know its DS records; \"dnssec %s\" leads out of DNSSEC", err, insecure)
		}
		return err
	}
	b.leases = append(b.leases, lease)
	for i, z := range lease.Zones() {
		b.static[b.specs[i].Origin].zone = z
	}
	b.gather()
	for _, z := range b.static {
		b.announcements.follow(z)
	}
	for _, f := range b.folders {
		l, err := f.open(db, hooks)
		if err != nil {
			b.end()
			return err
		}
		b.leases = append(b.leases, l)
	}
	b.watch = b.watchParents()
	b.loaded.Store(true)
	return nil
}

// close lets go of all zones. It may be called while the instance starts, if a
// signal ends the server then.
func (b *block) close() {
	b.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end()
}

// end is close; b.mu is held.
func (b *block) end() {
	if b.watch != nil {
		b.watch.Close()
		b.watch = nil
	}
	for _, l := range b.leases {
		l.Close()
	}
	b.leases = nil
	if b.events != nil {
		b.events.Close()
		<-b.ended
	}
}

// gather makes one map of the zones in the Corefile and those of the folders.
func (b *block) gather() {
	b.gathering.Lock()
	defer b.gathering.Unlock()
	all := maps.Clone(b.static)
	for _, f := range b.folders {
		if zones := f.zones.Load(); zones != nil {
			maps.Copy(all, *zones)
		}
	}
	b.zones.Store(&all)
}

// folder is a directory whose files are zones of a block.
type folder struct {
	*directive
	block   *block
	origins []dnsname.Name // that the zones must be in
	zones   atomic.Pointer[zoneMap]
}

func (f *folder) open(db *zonedb.DB, hooks zonedb.Hooks) (*zonedb.Folder, error) {
	return db.OpenFolder(f.block.owner, zonedb.FolderSpec{
		Dir: f.directory, Pattern: f.pattern, Zone: f.spec,
		Accept: f.accept, Changed: f.changed, Failed: f.failed,
	}, hooks)
}

// accept tells why a zone of the directory cannot be served here.
func (f *folder) accept(origin dnsname.Name) error {
	switch {
	case !slices.ContainsFunc(f.origins, origin.IsBelow):
		return fmt.Errorf("zone %s is outside of %s, which is all that %s serves", origin, join(f.origins), f.place)
	case reached(origin, f.block.around) != wholly:
		return fmt.Errorf("no query for zone %s comes to %s: the server block is for %s", origin, f.place, join(f.block.around))
	}
	if u := f.block.updates; u != nil && u.TakesUpdates(origin) {
		return fmt.Errorf("zone %s follows its file, and cannot be updated as the server block has it", origin)
	}
	if z := f.block.static[origin]; z != nil {
		return fmt.Errorf("zone %s is there already, at %s", origin, z.place)
	}
	for _, other := range f.block.folders {
		if zones := other.zones.Load(); other != f && zones != nil && (*zones)[origin] != nil {
			return fmt.Errorf("zone %s is there already, at %s", origin, other.place)
		}
	}
	return f.block.shadowed(origin, f.config)
}

// changed takes up which zones there are.
func (f *folder) changed(zones []*zonedb.Zone) {
	before := f.zones.Load()
	now := make(zoneMap, len(zones))
	for _, z := range zones {
		origin := z.Spec().Origin
		if before != nil && (*before)[origin] != nil && (*before)[origin].zone == z {
			now[origin] = (*before)[origin]
			continue
		}
		now[origin] = newServed(z.Spec(), f.directive)
		now[origin].zone = z
	}
	f.zones.Store(&now)
	f.block.gather()
	for _, z := range now {
		f.block.announcements.follow(z)
	}
	if before == nil {
		return
	}
	for origin, z := range *before {
		if now[origin] != z {
			f.block.announcements.leave(z)
		}
		if now[origin] == nil {
			log.Infof("%s: its file is gone, and so is the zone", origin)
			f.block.forget(z)
		}
	}
}

// failed tells of a file that is no zone, or a directory that cannot be read.
func (f *folder) failed(path string, err error) {
	loadErrors.Inc()
	log.Errorf("directory: %q: %s", path, strings.ReplaceAll(err.Error(), "\n", "; "))
}
