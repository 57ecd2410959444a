package zonedb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/bolt"
	"github.com/trustdns/trustdns/plugin/pkg/journal/memory"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

const day = 24 * time.Hour

var example = dnsname.MustParse("example.")

// plainZone is what a world begins with.
const plainZone = `
@ 3600 IN SOA ns hostmaster 1 7200 3600 1209600 300
@ 3600 NS ns
ns 3600 A 192.0.2.53
minute 60 A 192.0.2.1
hour 3600 A 192.0.2.2
day 86400 A 192.0.2.3
*.wild 300 TXT wild
deep.empty.names 300 A 192.0.2.4
cut 3600 NS ns.cut
ns.cut 3600 A 192.0.2.5
safe 3600 NS ns
safe 3600 DS 12345 13 2 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F
`

// pause lets the time of the bubble go on.
func pause(d time.Duration) {
	t := time.NewTimer(d)
	<-t.C
}

// dnskey is a DNSKEY record.
type dnskey struct {
	*dns.DNSKEY
	rdata, ds string // of the record, and of its DS record
}

// signature is an RRSIG record and which keys it was compared with.
type signature struct {
	*dns.RRSIG
	by map[*dnskey]bool
}

// in tells whether the signature may be believed at a time.
func (s *signature) in(now int64) bool {
	return int64(s.Inception) <= now && now <= int64(s.Expiration)
}

// version is one of an RRset that is or was served.
type version struct {
	set    zone.Set
	rrs    []dns.RR
	sigs   []signature
	keys   []*dnskey // of DNSKEY
	ds     []string  // of DS at the parent, and of CDS
	plain  bool      // nobody expects signatures
	ttl    time.Duration
	served time.Time // until when some server may serve it
}

// always is later than all that happens.
var always = time.Unix(math.MaxInt32, 0)

// signedBy tells whether there is a signature of a key that holds at a time.
func (v *version) signedBy(k *dnskey, now int64) bool {
	for i := range v.sigs {
		s := &v.sigs[i]
		if s.KeyTag != k.KeyTag() || s.Algorithm != k.Algorithm || !s.in(now) {
			continue
		}
		good, known := s.by[k]
		if !known {
			good = s.Verify(k.DNSKEY, v.rrs) == nil
			s.by[k] = good
		}
		if good {
			return true
		}
	}
	return false
}

// expired tells whether a cache has forgotten the version because of its signatures (RFC
// 4035 §5.3.3).
func (v *version) expired(now int64) bool {
	return slices.ContainsFunc(v.sigs, func(s signature) bool { return int64(s.Expiration) < now })
}

// history is all versions of an RRset that some cache may hold: any server may be as late
// as it is allowed to be, and any cache may have asked it last of all.
type history struct {
	versions []*version
	now      *version // nil: there is none any longer
}

// put replaces what is served; servers may be late.
func (h *history) put(v *version, now time.Time, late time.Duration) {
	if h.now != nil {
		h.now.served = now.Add(late)
	}
	h.versions = slices.DeleteFunc(h.versions, func(o *version) bool { return !o.served.Add(o.ttl).After(now) })
	if h.now = v; v != nil {
		v.served = always
		h.versions = append(h.versions, v)
	}
}

// cached gives what some cache may hold.
func (h *history) cached(now time.Time) (list []*version) {
	for _, v := range h.versions {
		if v.served.After(now) || v.served.Add(v.ttl).After(now) && !v.expired(now.Unix()) {
			list = append(list, v)
		}
	}
	return list
}

// setID names an RRset.
type setID struct {
	owner dnsname.Name
	typ   uint16
}

// book is a store that a world sees each version of, and that fails when it is told to.
type book struct {
	journal.Store
	fails func() error // errLost: the commit is made all the same
	seen  func(*zone.Snapshot)
	watch func(journal.Commit) // nil: nobody is told
}

var errLost = fmt.Errorf("no word of what was written: %w", syscall.EIO)

// Commit is that of a journal.Store.
func (b *book) Commit(ctx context.Context, origin dnsname.Name, c journal.Commit) (journal.Revision, error) {
	failure := b.fails()
	if failure != nil && !errors.Is(failure, errLost) {
		return 0, failure
	}
	rev, err := b.Store.Commit(ctx, origin, c)
	if failure != nil {
		return 0, failure
	}
	switch {
	case err != nil:
	case b.watch != nil:
		b.watch(c)
	default:
		b.seen(c.Next)
	}
	return rev, err
}

// Load is that of a journal.Store.
func (b *book) Load(ctx context.Context, origin dnsname.Name) (journal.State, error) {
	state, err := b.Store.Load(ctx, origin)
	if err == nil && b.watch == nil {
		b.seen(state.Snapshot)
	}
	return state, err
}

// lasting is a store that outlives its users.
type lasting struct{ journal.Store }

// Close does nothing.
func (lasting) Close() error { return nil }

// parentServer is one of the servers of the parent. It follows the parent late, and in
// order.
type parentServer struct {
	have []string
	next []struct {
		at   time.Time
		have []string
	}
}

// at gives the DS records that the server has at a time.
func (s *parentServer) at(now time.Time) []string {
	for len(s.next) > 0 && !s.next[0].at.After(now) {
		s.have, s.next = s.next[0].have, s.next[1:]
	}
	return s.have
}

// world is a zone that is kept signed, its secondaries, its parent and all caches there
// could be.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	keep    func() (journal.Store, error) // opens the store
	folder  string                        // its name
	path    string                        // of the master file, which is a seed
	signing zonedb.Signing
	skew    atomic.Int64  // by which the clock of the system is ahead, in nanoseconds
	every   time.Duration // how often files and the clock are looked at
	late    time.Duration // of secondaries
	dsLate  time.Duration // of servers of the parent
	dsTTL   time.Duration
	tells   bool                 // the parent tells the TTL of DS records
	max     int                  // records that the zone may have
	source  bool                 // the master file is the truth
	watch   func(journal.Commit) // is told of commits, instead of see

	db    *zonedb.DB
	lease *zonedb.Lease
	zone  *zonedb.Zone
	store *book
	loses bool  // commits may fail
	full  error // with which all commits fail

	mu       sync.Mutex
	chance   *rand.Rand // of commits
	last     *zone.Snapshot
	plain    time.Time // since when the zone is not signed; zero: it is
	sets     map[setID]*history
	ds       history
	servers  [2]parentServer
	known    map[string]*dnskey
	versions int
	verified int
	faults   []string
	reports  []zonedb.SignReport
	words    map[string]int
}

// newWorld makes one whose zone is as text says and whose store is kept in memory. It is
// for one bubble, in which start is called.
func newWorld(t *testing.T, seed uint64, text string, signing zonedb.Signing) *world {
	t.Helper()
	dir := t.TempDir()
	kept := lasting{memory.New()}
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), chance: rand.New(rand.NewPCG(seed, 2)), signing: signing, folder: filepath.Join(dir, "store"), path: filepath.Join(dir, "zone"),
		keep:  func() (journal.Store, error) { return kept, nil },
		every: 6 * time.Hour, late: 5 * time.Minute, dsLate: time.Hour, dsTTL: day,
		sets: map[setID]*history{}, known: map[string]*dnskey{}, words: map[string]int{},
	}
	w.ds.put(&version{ttl: w.dsTTL}, time.Now(), 0)
	w.write(text)
	return w
}

// onDisk has the store of the world on the disk.
func (w *world) onDisk() {
	w.keep = func() (journal.Store, error) { return bolt.Open(w.folder) }
}

// write writes the master file; text has relative names.
func (w *world) write(text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path+".new", []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(w.path+".new", w.path); err != nil {
		w.t.Fatal(err)
	}
}

// clock gives the time of the system.
func (w *world) clock() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) }

// spec gives that of the zone.
func (w *world) spec() zonedb.Spec {
	s := zonedb.Spec{
		Origin: example, Store: w.folder, Path: w.path, Seed: !w.source, Signing: w.signing,
		History: journal.History{Depth: 100, Octets: 1 << 20},
	}
	s.Options.MaxRecords = w.max
	return s
}

// hooks are those of the zone.
func (w *world) hooks() zonedb.Hooks {
	return zonedb.Hooks{Signed: func(r zonedb.SignReport) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.reports = append(w.reports, r)
		for _, e := range r.Events {
			_, is, _ := strings.Cut(e, ": ")
			is, _, _ = strings.Cut(is, ",")
			if is != "" {
				w.words[is]++
			}
		}
	}}
}

// start begins the process.
func (w *world) start() {
	w.t.Helper()
	s, err := w.keep()
	if err != nil {
		w.t.Fatal(err)
	}
	w.db = zonedb.NewStill(w.every, w.clock)
	w.store = &book{Store: s, seen: w.see, fails: w.failure, watch: w.watch}
	w.db.Lend(w.folder, w.store)
	if w.lease, err = w.db.Open("server", []zonedb.Spec{w.spec()}, w.hooks()); err != nil {
		w.t.Fatal(err)
	}
	w.zone = w.lease.Zones()[0]
}

// stop ends the process.
func (w *world) stop() { w.lease.Close() }

// restart ends the process, which then is away for a while. Secondaries that had not got
// the last version by then have to wait.
func (w *world) restart(away time.Duration) {
	w.t.Helper()
	w.stop()
	died := time.Now()
	pause(away)
	w.mu.Lock()
	for _, h := range w.sets {
		for _, v := range h.versions {
			if v.served.After(died) && v.served != always {
				v.served = time.Now().Add(w.late)
			}
		}
	}
	w.mu.Unlock()
	w.start()
}

// reload puts other settings in force, as the Corefile of a running server does.
func (w *world) reload(signing zonedb.Signing) error {
	was := w.signing
	w.signing = signing
	next, err := w.db.Open(fmt.Sprintf("server %d", w.rng.Uint64()), []zonedb.Spec{w.spec()}, w.hooks())
	if err != nil {
		w.signing = was
		return err
	}
	w.lease.Close()
	w.lease = next
	return nil
}

// failure decides whether a commit fails.
func (w *world) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full != nil {
		return w.full
	}
	if w.loses && w.chance.IntN(8) == 0 {
		if w.chance.IntN(3) == 0 {
			return errLost
		}
		return syscall.ENOSPC
	}
	return nil
}

// keeper gives what keeps the zone signed.
func (w *world) keeper() *autosign.Keeper {
	k, ok := w.zone.Signer().(*autosign.Keeper)
	if !ok {
		w.t.Fatal("the zone has no signer")
	}
	return k
}

// maintain has the keeper do something.
func (w *world) maintain(do func(*autosign.Keeper) error) error {
	return w.zone.Maintain(w.t.Context(), "test", func(s zonedb.Signer) error { return do(s.(*autosign.Keeper)) })
}

// fault takes note of what must not be; w.mu is held.
func (w *world) fault(format string, args ...any) {
	if len(w.faults) < 5 {
		w.faults = append(w.faults, time.Now().UTC().Format(time.RFC3339)+" "+fmt.Sprintf(format, args...))
	}
}

// see is told of each version that is put in service.
func (w *world) see(s *zone.Snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s == w.last {
		return
	}
	w.versions++
	now := time.Now()
	there := make(map[setID]bool)
	v := s.View()
	for set := range s.All() {
		id := setID{set.Owner.Fold(), set.Type}
		there[id] = true
		h := w.sets[id]
		if h == nil {
			h = new(history)
			w.sets[id] = h
		}
		plain := v.Hidden(id.owner) || v.IsCut(id.owner) && set.Type != rrset.TypeDS && set.Type != rrset.TypeNSEC
		if n := h.now; n == nil || n.plain != plain || !n.set.RRset.Equal(set.RRset) || !n.set.Sigs.Equal(set.Sigs) {
			h.put(w.version(set, plain), now, w.late)
		}
	}
	for id, h := range w.sets {
		if !there[id] && h.now != nil && len(h.now.rrs) > 0 {
			h.put(nil, now, w.late)
		}
	}
	if id := (setID{s.Origin(), rrset.TypeDNSKEY}); !there[id] {
		if w.sets[id] == nil {
			w.sets[id] = new(history)
		}
		w.sets[id].put(&version{ttl: time.Duration(s.NegativeTTL()) * time.Second}, now, w.late)
	}
	w.last = s
	switch soa := s.SOA(); {
	case !soa.Sigs.IsEmpty():
		w.plain = time.Time{}
	case w.plain.IsZero():
		w.plain = now
	}
	if why := chain(s); why != "" {
		w.fault("serial %d: %s", s.Serial(), why)
	}
	w.check(now)
}

// version gives that of an RRset.
func (w *world) version(set zone.Set, plain bool) *version {
	v := &version{set: set, plain: plain, ttl: time.Duration(set.TTL) * time.Second}
	owner := set.Owner.Fold().String()
	v.rrs = rrset.AppendRRs(nil, owner, set.RRset)
	for _, rr := range rrset.AppendRRs(nil, owner, set.Sigs) {
		if sig, ok := rr.(*dns.RRSIG); ok {
			v.sigs = append(v.sigs, signature{sig, map[*dnskey]bool{}})
		}
	}
	for i, rdata := range slices.Collect(set.RRset.All()) {
		switch rr := v.rrs[i].(type) {
		case *dns.DNSKEY:
			k := w.known[rdata]
			if k == nil {
				_, ds, err := rrset.FromRR(rr.ToDS(dns.SHA256))
				if err != nil {
					w.fault("DS of %s: %v", rr, err)
				}
				k = &dnskey{rr, rdata, ds}
				w.known[rdata] = k
			}
			v.keys = append(v.keys, k)
		case *dns.CDS:
			v.ds = append(v.ds, rdata)
		}
	}
	return v
}

// chain tells what is wrong with the chain of NSEC or NSEC3 records of a version.
func chain(s *zone.Snapshot) string {
	type link struct{ at, next string }
	var nsec, nsec3 []link
	keys, hashed := false, false
	for set := range s.All() {
		for _, rr := range rrset.AppendRRs(nil, set.Owner.Fold().String(), set.RRset) {
			switch rr := rr.(type) {
			case *dns.NSEC:
				next, err := dnsname.Parse(rr.NextDomain, dnsname.Root)
				if err != nil {
					return err.Error()
				}
				nsec = append(nsec, link{dnsname.Key(set.Owner.Fold(), s.Origin()), dnsname.Key(next.Fold(), s.Origin())})
			case *dns.NSEC3:
				at, _, _ := strings.Cut(rr.Hdr.Name, ".")
				nsec3 = append(nsec3, link{strings.ToUpper(at), strings.ToUpper(rr.NextDomain)})
			case *dns.DNSKEY:
				keys = true
			case *dns.NSEC3PARAM:
				hashed = true
			}
		}
	}
	links := nsec
	if hashed {
		links = nsec3
	}
	if keys != (len(nsec)+len(nsec3) > 0) || len(nsec) > 0 && len(nsec3) > 0 || hashed != (len(nsec3) > 0) {
		return fmt.Sprintf("DNSKEY records: %t, NSEC3PARAM: %t, %d NSEC records, %d NSEC3 records", keys, hashed, len(nsec), len(nsec3))
	}
	slices.SortFunc(links, func(a, b link) int { return strings.Compare(a.at, b.at) })
	for i, l := range links {
		if l.next != links[(i+1)%len(links)].at {
			return fmt.Sprintf("the chain is not closed at %q", l.at)
		}
	}
	return ""
}

// trusts tells whether a validator with a DS RRset believes a DNSKEY RRset: for each
// algorithm of the one, a key that it names has signed the other (RFC 4035 §2.2, read as
// those validators do that are stricter than RFC 6840 §5.11).
func trusts(ds []string, k *version, now int64) bool {
	for _, d := range ds {
		if !slices.ContainsFunc(k.keys, func(key *dnskey) bool {
			return key.ds[2] == d[2] && slices.Contains(ds, key.ds) && k.signedBy(key, now)
		}) {
			return false
		}
	}
	return true
}

// believes tells whether one with a DNSKEY RRset believes another RRset: it is signed with
// each algorithm of the keys.
func believes(k, v *version, now int64) bool {
	for _, key := range k.keys {
		if !slices.ContainsFunc(k.keys, func(o *dnskey) bool { return o.Algorithm == key.Algorithm && v.signedBy(o, now) }) {
			return false
		}
	}
	return true
}

// asked tells whether a validator with DS and DNSKEY RRsets believes a CDS or CDNSKEY
// RRset. Those are signed as the DNSKEY RRset is: a key of an algorithm that comes or goes
// signs them as long as it is published. What counts are the algorithms that the parent
// names.
func asked(ds []string, k, v *version, now int64) bool {
	for _, d := range ds {
		if !slices.ContainsFunc(k.keys, func(o *dnskey) bool { return o.Algorithm == d[2] && v.signedBy(o, now) }) {
			return false
		}
	}
	return true
}

// check finds a cache that could not validate: whatever it holds of the versions that are
// not out of every cache, in whichever mixture; w.mu is held.
func (w *world) check(at time.Time) {
	secure, now := false, at.Add(time.Duration(w.skew.Load())).Unix()
	var named []string // DS records that some cache may have
	keys := w.history(rrset.TypeDNSKEY).cached(at)
	for _, d := range w.ds.cached(at) {
		secure = secure || len(d.ds) > 0
		named = append(named, d.ds...)
		for _, k := range keys {
			if len(d.ds) > 0 && (len(k.keys) == 0 || !trusts(d.ds, k, now)) {
				w.fault("a cache with DS of %s does not believe the DNSKEY records %s", tagsOf(d.ds), k.show())
			}
		}
	}
	if !secure {
		return
	}
	for id, h := range w.sets {
		for _, v := range h.cached(at) {
			if v.plain || id.typ == rrset.TypeDNSKEY {
				continue
			}
			for _, k := range keys {
				w.verified++
				good := false
				if id.typ == rrset.TypeCDS || id.typ == rrset.TypeCDNSKEY {
					good = asked(named, k, v, now)
				} else {
					good = believes(k, v, now)
				}
				if !good {
					w.fault("a cache with the DNSKEY records %s does not believe %s %s %s", k.show(), id.owner, dns.Type(id.typ), v.show())
				}
			}
		}
	}
}

// history gives that of an RRset of the apex.
func (w *world) history(typ uint16) *history {
	if h := w.sets[setID{example, typ}]; h != nil {
		return h
	}
	return new(history)
}

// show gives keys and signatures for messages.
func (v *version) show() string {
	var b strings.Builder
	for _, k := range v.keys {
		fmt.Fprintf(&b, "%d/%d ", k.Algorithm, k.KeyTag())
	}
	b.WriteString("signed by")
	for _, s := range v.sigs {
		fmt.Fprintf(&b, " %d/%d from %s to %s", s.Algorithm, s.KeyTag, dns.TimeToString(s.Inception), dns.TimeToString(s.Expiration))
	}
	return b.String()
}

// tagsOf gives algorithms and key tags of DS records.
func tagsOf(ds []string) (tags []string) {
	for _, d := range ds {
		tags = append(tags, fmt.Sprintf("%d/%d", d[2], int(d[0])<<8|int(d[1])))
	}
	return tags
}

// ring gives the keys for messages.
func (w *world) ring() string {
	var b bytes.Buffer
	if k, ok := w.zone.Signer().(*autosign.Keeper); ok {
		for _, i := range k.Status(w.clock()).Keys {
			fmt.Fprintf(&b, "%+v\n", i)
		}
	}
	return b.String()
}

// fine ends the test if there is something that must not be.
func (w *world) fine() {
	w.t.Helper()
	w.mu.Lock()
	w.check(time.Now())
	faults := slices.Clone(w.faults)
	w.mu.Unlock()
	if len(faults) > 0 {
		w.t.Fatalf("%s\n%s", strings.Join(faults, "\n"), w.ring())
	}
}

// scan has the parent read CDS records, by way of some secondary or cache, and do what
// they say if it may (RFC 7344 §4.1, RFC 8078 §3).
func (w *world) scan() {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := time.Now()
	now := w.clock().Unix()
	offers, keys := w.history(rrset.TypeCDS).cached(at), w.history(rrset.TypeDNSKEY).cached(at)
	if len(offers) == 0 || len(keys) == 0 {
		return
	}
	cds, k := offers[w.rng.IntN(len(offers))], keys[w.rng.IntN(len(keys))]
	have := w.ds.now.ds
	by := have
	if len(by) == 0 { // somebody has seen to it that they are the zone's
		by = cds.ds
	}
	want := cds.ds
	if cds.ds[0] == "\x00\x00\x00\x00\x00" {
		want = nil
	}
	signed := slices.ContainsFunc(k.keys, func(key *dnskey) bool { return slices.Contains(by, key.ds) && cds.signedBy(key, now) })
	if !signed || !trusts(want, k, now) {
		if cds.served == always && k.served == always && (want != nil || len(have) > 0) {
			w.fault("the parent, with DS of %s, refuses %s, which the zone of %s asks for", tagsOf(have), tagsOf(want), k.show())
		}
		return
	}
	w.set(want)
}

// set has the parent decide on a DS RRset; w.mu is held.
func (w *world) set(want []string) {
	if slices.Equal(want, w.ds.now.ds) {
		return
	}
	now := time.Now()
	w.ds.put(&version{ds: want, ttl: w.dsTTL}, now, w.dsLate)
	for i := range w.servers {
		s := &w.servers[i]
		at := now.Add(time.Duration(w.rng.Int64N(int64(w.dsLate))))
		if n := len(s.next); n > 0 && at.Before(s.next[n-1].at) {
			at = s.next[n-1].at
		}
		s.next = append(s.next, struct {
			at   time.Time
			have []string
		}{at, want})
	}
	w.check(now)
}

// poll asks the servers of the parent what the keeper wants to know, and tells it one
// thing at a time: what it wants to know next may be another.
func (w *world) poll() error {
	if w.zone.Signer() == nil {
		return nil
	}
	for more := true; more; {
		err := w.maintain(func(k *autosign.Keeper) (err error) {
			more, err = w.learn(k)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *world) learn(k *autosign.Keeper) (learnt bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ttl := time.Duration(0)
	if w.tells {
		ttl = w.dsTTL
	}
	for _, p := range k.Status(w.clock()).Parents {
		n := 0
		for i := range w.servers {
			if slices.Contains(w.servers[i].at(time.Now()), p.DS) {
				n++
			}
		}
		switch {
		case p.Appear && n == len(w.servers):
			return true, k.DSSeen(p.Key, w.clock(), ttl)
		case !p.Appear && n == 0:
			return true, k.DSGone(p.Key, w.clock(), ttl)
		}
	}
	return false, nil
}

// attentive is a parent that reads CDS records and is asked for DS records often.
func (w *world) attentive() []activity {
	return []activity{{time.Minute, 2 * time.Hour, func() error { w.scan(); return nil }}, {time.Minute, time.Hour, w.poll}}
}

// setFull has all commits fail with an error from now on; nil: they no longer do.
func (w *world) setFull(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.full = err
}

// reported gives the reports so far, and forgets them.
func (w *world) reported() []zonedb.SignReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.reports
	w.reports = nil
	return list
}

// states gives the states of all keys.
func (w *world) states() (list []string) {
	for _, k := range w.keeper().Status(w.clock()).Keys {
		list = append(list, fmt.Sprint(k.Role, k.Key, k.State, k.DNSKEY, k.Data, k.DS))
	}
	return list
}

// longest is the greatest TTL of what edits bring.
const longest = 2 * day

// unsigned tells since when the zone is not signed, if it is not.
func (w *world) unsigned() (since time.Time, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plain, !w.plain.IsZero()
}

// edit changes something of the zone. One that is not signed only gets greater TTLs: when
// it is signed nobody knows those of before.
func (w *world) edit() error {
	ttls, edits := []uint32{60, 300, 3600, 86400, uint32(longest / time.Second)}, 6
	if _, ok := w.unsigned(); ok {
		ttls, edits = ttls[4:], 3
	}
	ttl := ttls[w.rng.IntN(len(ttls))]
	name := func(s string) dnsname.Name { return dnsname.MustParse(s + ".example.") }
	_, err := w.zone.Apply(w.t.Context(), "test", func(e *zonedb.Edit) error {
		var err error
		switch w.rng.IntN(edits) {
		case 0, 1:
			var set rrset.RRset
			if set, err = rrset.New(rrset.TypeA, ttl, string([]byte{192, 0, 2, byte(w.rng.IntN(256))})); err == nil {
				_, err = e.Replace(name([]string{"minute", "hour", "day", "ns", "below.cutting"}[w.rng.IntN(5)]), set)
			}
		case 2:
			_, err = e.Add(name(fmt.Sprintf("host%d.some", w.rng.IntN(3))), rrset.TypeTXT, ttl, "\x04text")
		case 3:
			e.RemoveName(name(fmt.Sprintf("host%d.some", w.rng.IntN(3))))
		case 4:
			if !e.RemoveName(name("cutting")) {
				_, err = e.Add(name("cutting"), rrset.TypeNS, ttl, string(name("ns")))
			}
		case 5: // the TTL of negative answers
			soa, _ := e.Get(example, rrset.TypeSOA)
			_, err = e.Replace(example, soa.RRset.WithTTL(ttl))
		}
		return err
	})
	return err
}

// activity is something that happens at least and at most that long apart.
type activity struct {
	least, most time.Duration
	do          func() error
}

// run goes on for a while.
func (w *world) run(length time.Duration, activities ...activity) {
	w.t.Helper()
	end := time.Now().Add(length)
	activities = append(activities, activity{6 * time.Hour, 6 * time.Hour, func() error { return nil }})
	next := make([]time.Time, len(activities))
	after := func(i int) time.Time {
		a := activities[i]
		return time.Now().Add(a.least + time.Duration(w.rng.Int64N(int64(a.most-a.least)+1)))
	}
	for i := range activities {
		next[i] = after(i)
	}
	for {
		i := 0
		for j := range next {
			if next[j].Before(next[i]) {
				i = j
			}
		}
		if next[i].After(end) {
			pause(time.Until(end))
			synctest.Wait()
			w.fine()
			return
		}
		pause(time.Until(next[i]))
		synctest.Wait()
		err := activities[i].do()
		if err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, errLost) {
			w.t.Fatalf("%s: %v\n%s", time.Now().UTC(), err, w.ring())
		}
		next[i] = after(i)
		w.fine()
	}
}

// policy says how the zone of a life is signed.
func (w *world) policy(keys kasp.Policy, nsec3 bool) autosign.Settings {
	keys.Propagation, keys.ParentPropagation, keys.ParentTTL = w.late, w.dsLate, w.dsTTL
	return autosign.Settings{Keys: keys, Signatures: signer.Policy{NSEC3: nsec3}}
}
