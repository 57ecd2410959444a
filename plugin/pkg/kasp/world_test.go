package kasp_test

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

const (
	minute = 60
	hour   = 3600
	day    = 24 * hour
	always = math.MaxInt64 / 2
)

// version is one of an RRset that is or was served.
type version struct {
	keys     []kasp.ID // of DNSKEY, DS and CDS
	signers  []kasp.ID // whose signatures it has
	withdraw bool      // of CDS
	ttl      int64
	served   int64 // until when some server may serve it
}

// history is all versions of an RRset that some cache may hold: any server may be as late
// as it is allowed to be, and any cache may have asked it last of all.
type history []version

func (h history) now() *version { return &h[len(h)-1] }

// put replaces what is served; servers may be late.
func (h *history) put(v version, now, late int64) {
	if n := len(*h); n > 0 {
		if o := (*h)[n-1]; o.ttl == v.ttl && o.withdraw == v.withdraw && slices.Equal(o.keys, v.keys) && slices.Equal(o.signers, v.signers) {
			return
		}
		(*h)[n-1].served = now + late
	}
	*h = slices.DeleteFunc(*h, func(o version) bool { return o.served+o.ttl <= now })
	v.served = always
	*h = append(*h, v)
}

// cached gives what some cache may hold.
func (h history) cached(now int64) (list []version) {
	for _, v := range h {
		if v.served+v.ttl > now {
			list = append(list, v)
		}
	}
	return list
}

// data is an RRset of the zone and when its signatures are to be made anew.
type data struct {
	history
	due map[kasp.ID]int64
}

// server is one of the parent's. It follows the parent late, and in order.
type server struct {
	have []kasp.ID
	next []struct {
		at   int64
		have []kasp.ID
	}
}

// What a parent does.
type parentMode int

const (
	scans    parentMode = iota // reads CDS records
	operator                   // a person does what Parents says
	never
)

// world is a zone, its servers, its parent and all caches there could be.
type world struct {
	rng    *rand.Rand
	zone   dnsname.Name
	ring   *kasp.Ring
	stored []byte
	all    map[string]*signer.Key // every key there was, by the name of its files
	fails  bool                   // the generator does

	now   int64 // that nobody sets
	clock int64 // by how much the wall clock is ahead
	last  int64 // now of the last Step of the ring; -1: not known

	validity, refresh   int64
	propagation, safety int64
	lateParent, dsTTL   int64

	dnskey, cds history
	data        []data
	ds          history
	servers     []server
	mode        parentMode
	tells       bool // the TTL of the DS is known
	lossy       bool // commits may fail

	commits, steps, events int
	words                  map[string]int
	jump                   time.Duration // of the last Step
	log                    func(string, ...any)
}

// fakeRSA is a public key: nobody signs with it.
type fakeRSA struct{ public rsa.PublicKey }

func (f *fakeRSA) Public() crypto.PublicKey { return &f.public }
func (f *fakeRSA) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("no private key")
}

var errGenerator = errors.New("no random numbers")

func (w *world) generate(zone dnsname.Name, alg signer.Algorithm, role signer.Role) (k *signer.Key, err error) {
	if w.fails {
		return nil, errGenerator
	}
	if alg == signer.RSASHA256 {
		b := make([]byte, 128)
		for i := range b {
			b[i] = byte(w.rng.Uint32())
		}
		b[0] |= 0x80
		k, err = signer.NewKey(zone, alg, role, &fakeRSA{rsa.PublicKey{N: new(big.Int).SetBytes(b), E: 65537}})
	} else {
		k, err = signer.Generate(zone, alg, role)
	}
	if err != nil {
		return nil, err
	}
	if w.all[k.FileName()] != nil { // no two keys of a world are called the same
		return w.generate(zone, alg, role)
	}
	w.all[k.FileName()] = k
	return k, nil
}

func newWorld(seed uint64, policy kasp.Policy, ttls ...int64) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 1)), zone: dnsname.MustParse("example."), all: map[string]*signer.Key{},
		now: start.Unix(), last: -1, words: map[string]int{}, log: func(string, ...any) {},
		validity: 4 * day, refresh: day, propagation: 30 * minute, safety: minute, lateParent: 2 * hour, dsTTL: day,
	}
	for _, ttl := range ttls {
		d := data{due: map[kasp.ID]int64{}}
		d.put(version{ttl: ttl}, w.now, 0)
		w.data = append(w.data, d)
	}
	w.dnskey.put(version{ttl: w.maxTTL()}, w.now, 0)
	w.cds.put(version{}, w.now, 0)
	w.ds.put(version{ttl: w.dsTTL}, w.now, 0)
	w.servers = make([]server, 3)
	w.ring = kasp.New(w.zone, w.complete(policy), w.generate)
	return w
}

// complete puts the durations of the world into a policy.
func (w *world) complete(p kasp.Policy) kasp.Policy {
	s := func(n int64) time.Duration { return time.Duration(n) * time.Second }
	p.Validity, p.Refresh, p.Propagation = s(w.validity), s(w.refresh), s(w.propagation)
	p.ParentPropagation, p.ParentTTL, p.PublishSafety, p.RetireSafety = s(w.lateParent), s(w.dsTTL), s(w.safety), s(w.safety)
	return p
}

func (w *world) maxTTL() (ttl int64) {
	for _, d := range w.data {
		ttl = max(ttl, d.now().ttl)
	}
	return ttl
}

func (w *world) wall() time.Time { return time.Unix(w.now+w.clock, 0) }

// step takes a Step on a clone, and commits what follows, with an edit or without; the
// commit may be lost.
func (w *world) step(edit func()) error {
	next := w.ring.Clone()
	facts := kasp.Facts{}
	before := make([]int64, len(w.data))
	for i := range w.data {
		before[i] = w.data[i].now().ttl
	}
	ttls := slices.Clone(before)
	if edit != nil {
		i := w.rng.IntN(len(w.data))
		ttls[i] = []int64{minute, 5 * minute, hour, day, 2 * day}[w.rng.IntN(5)]
	}
	facts.MaxTTL = time.Duration(slices.Max(ttls)) * time.Second
	if w.last >= 0 {
		facts.Elapsed = time.Duration(w.now-w.last) * time.Second
	}
	at := w.now
	plan, err := next.Step(w.wall(), facts)
	if err != nil {
		return err
	}
	w.steps++
	if w.lossy && w.rng.IntN(10) == 0 {
		return nil
	}
	w.jump = plan.Jump
	for _, e := range plan.Events {
		w.words[e.To]++
		w.events++
		w.log("%s %s %s → %s", e.Role, e.Key, e.From, e.To)
	}
	w.ring, w.last = next, at
	if plan.Changed {
		if w.stored, err = next.Marshal(false); err != nil {
			return err
		}
	}
	if plan.Zone || edit != nil || w.due() {
		if w.safety > minute {
			w.advance(w.now + w.rng.Int64N(w.safety))
		}
		return w.commit(plan, ttls)
	}
	return w.zoneIsRight(plan)
}

// zoneIsRight is for a Step that said that there is nothing to be done in the zone.
func (w *world) zoneIsRight(kasp.Plan) error {
	published, keySigners, _, _, submit := w.wanted()
	if !slices.Equal(published, w.dnskey.now().keys) || !slices.Equal(keySigners, w.dnskey.now().signers) ||
		!slices.Equal(submit, w.cds.now().keys) || w.ring.Withdraw() != w.cds.now().withdraw {
		return errors.New("the zone is to be changed, and the plan did not say so")
	}
	return w.truth()
}

// wanted gives what the ring wants.
func (w *world) wanted() (published, keySigners, dataSigners, retired, submit []kasp.ID) {
	for _, u := range w.ring.Uses() {
		id := kasp.ID{Algorithm: u.Algorithm(), Tag: u.Tag()}
		add := func(list *[]kasp.ID, is bool) {
			if is {
				*list = append(*list, id)
			}
		}
		add(&published, u.Publish)
		add(&keySigners, u.Sign && u.Role() != signer.ZSK)
		add(&dataSigners, u.Sign && u.Role() != signer.KSK)
		add(&retired, u.Retire)
		add(&submit, u.Submit)
	}
	return
}

func (w *world) due() bool {
	for _, d := range w.data {
		for _, at := range d.due {
			if at <= w.now {
				return true
			}
		}
	}
	return false
}

// commit makes a version of the zone as the signer does.
func (w *world) commit(plan kasp.Plan, ttls []int64) error {
	w.commits++
	w.log("version: %+v, TTLs %d", plan, ttls)
	published, keySigners, dataSigners, retired, submit := w.wanted()
	if !w.ring.Unsigned() {
		if _, err := signer.New(w.zone, signer.Policy{Withdraw: w.ring.Withdraw()}, w.ring.Uses()); err != nil {
			return err
		}
	}
	soa := w.data[0].now().signers
	all := plan.Sweep || !slices.Equal(published, w.dnskey.now().keys) || len(soa) != len(dataSigners) ||
		slices.ContainsFunc(dataSigners, func(id kasp.ID) bool { return !slices.Contains(soa, id) })
	ttl := int64(w.ring.Policy().KeyTTL)
	if ttl == 0 {
		ttl = hour
	}
	if len(published) == 0 {
		ttl = slices.Max(ttls)
	}
	w.dnskey.put(version{keys: published, signers: keySigners, ttl: ttl}, w.now, w.propagation)
	w.cds.put(version{keys: submit, withdraw: w.ring.Withdraw(), ttl: ttl}, w.now, w.propagation)
	for i := range w.data {
		d := &w.data[i]
		old := *d.now()
		due := i == 0 || old.ttl != ttls[i]
		edited := due
		for _, at := range d.due {
			due = due || at <= w.now
		}
		if !due && !all {
			continue
		}
		dues := map[kasp.ID]int64{}
		var signers []kasp.ID
		keep := func(id kasp.ID) bool {
			at, ok := d.due[id]
			if ok = ok && at > w.now && !edited; ok {
				dues[id] = at
				signers = append(signers, id)
			}
			return ok
		}
		for _, id := range dataSigners {
			if !keep(id) && !slices.ContainsFunc(retired, func(r kasp.ID) bool { return r.Algorithm == id.Algorithm && keep(r) }) {
				dues[id] = w.now + w.validity - w.refresh - w.rng.Int64N(day)
				signers = append(signers, id)
			}
		}
		d.due = dues
		d.put(version{signers: signers, ttl: ttls[i]}, w.now, w.propagation)
	}
	return w.check()
}

// truth finds a state that the ring takes for granted and that is not so. That a parent has
// a DS is not among them: it may change its mind.
func (w *world) truth() error {
	in := func(list []version, of func(version) []kasp.ID, id kasp.ID) (n int) {
		for _, v := range list {
			if slices.Contains(of(v), id) {
				n++
			}
		}
		return n
	}
	keys := func(v version) []kasp.ID { return v.keys }
	signers := func(v version) []kasp.ID { return v.signers }
	for _, k := range w.ring.Keys() {
		type claim struct {
			what  string
			state kasp.State
			list  []version
			of    func(version) []kasp.ID
		}
		claims := []claim{{"DNSKEY", k.DNSKEY, w.dnskey.cached(w.now), keys}}
		for i := range w.data {
			claims = append(claims, claim{fmt.Sprintf("data %d", i), k.Data, w.data[i].cached(w.now), signers})
		}
		if k.DS == kasp.Hidden {
			claims = append(claims, claim{"DS", k.DS, w.ds.cached(w.now), keys})
		}
		for _, c := range claims {
			n := in(c.list, c.of, k.Key)
			if c.state == kasp.Hidden && n > 0 || c.state == kasp.Omnipresent && n < len(c.list) {
				return fmt.Errorf("%s of %s is %s, and %d of %d versions in caches have it: %+v", c.what, k.Key, c.state, n, len(c.list), c.list)
			}
		}
	}
	return nil
}

// check finds a cache that could not validate: whatever it holds of the versions that are
// not out of every cache, in whichever mixture. It is strict: every algorithm of the DS
// RRset must have signed the DNSKEY RRset, every one of that all data (RFC 4035 §2.2, read
// as those validators do that are stricter than RFC 6840 §5.11).
func (w *world) check() error {
	if err := w.truth(); err != nil {
		return err
	}
	secure := false
	keys := w.dnskey.cached(w.now)
	for _, ds := range w.ds.cached(w.now) {
		secure = secure || len(ds.keys) > 0
		for _, k := range keys {
			for _, id := range ds.keys {
				if !slices.ContainsFunc(ds.keys, func(o kasp.ID) bool {
					return o.Algorithm == id.Algorithm && slices.Contains(k.keys, o) && slices.Contains(k.signers, o)
				}) {
					return fmt.Errorf("a cache with DS of %s has the DNSKEY records %s signed by %s", ds.keys, k.keys, k.signers)
				}
			}
		}
	}
	if !secure {
		return nil
	}
	for i := range w.data {
		for _, v := range w.data[i].cached(w.now) {
			for _, k := range keys {
				for _, id := range k.keys {
					if !slices.ContainsFunc(k.keys, func(o kasp.ID) bool { return o.Algorithm == id.Algorithm && slices.Contains(v.signers, o) }) {
						return fmt.Errorf("a cache with the DNSKEY records %s has data %d signed by %s", k.keys, i, v.signers)
					}
				}
			}
		}
	}
	return nil
}

// advance lets time pass for the servers of the parent.
func (w *world) advance(to int64) {
	w.now = max(w.now, to)
	for i := range w.servers {
		s := &w.servers[i]
		for len(s.next) > 0 && s.next[0].at <= w.now {
			s.have, s.next = s.next[0].have, s.next[1:]
		}
	}
}

// set has the parent decide on a DS RRset.
func (w *world) set(keys []kasp.ID) error {
	if slices.Equal(keys, w.ds.now().keys) {
		return nil
	}
	w.log("parent: %s", keys)
	w.ds.put(version{keys: slices.Clone(keys), ttl: w.dsTTL}, w.now, w.lateParent)
	for i := range w.servers {
		s := &w.servers[i]
		at := w.now + w.rng.Int64N(w.lateParent+1)
		if n := len(s.next); n > 0 {
			at = max(at, s.next[n-1].at)
		}
		s.next = append(s.next, struct {
			at   int64
			have []kasp.ID
		}{at, keys})
	}
	w.advance(w.now)
	return w.check()
}

// parent does what the parent does when it comes to it.
func (w *world) parent() error {
	switch w.mode {
	case scans:
		list := w.cds.cached(w.now)
		v := list[max(0, w.rng.IntN(2*len(list))-len(list))] // of any server or cache, the oldest if it can
		if v.withdraw || len(v.keys) > 0 {
			return w.set(v.keys)
		}
	case operator:
		keys := slices.Clone(w.ds.now().keys)
		for _, p := range w.ring.Parents(w.wall()) {
			if w.rng.IntN(2) == 0 {
				continue // one after the other
			}
			keys = slices.DeleteFunc(keys, func(id kasp.ID) bool { return id == p.Key })
			if p.Appear {
				keys = append(keys, p.Key)
			}
		}
		return w.set(keys)
	}
	return nil
}

// poll asks the servers of the parent.
func (w *world) poll() error {
	for _, p := range w.ring.Parents(w.wall()) {
		n := 0
		for _, s := range w.servers {
			if slices.Contains(s.have, p.Key) {
				n++
			}
		}
		ttl := time.Duration(0)
		if w.tells {
			ttl = time.Duration(w.dsTTL) * time.Second
		}
		var err error
		switch n {
		case len(w.servers):
			err = w.ring.DSSeen(p.Key, w.wall(), ttl)
		case 0:
			err = w.ring.DSGone(p.Key, w.wall(), ttl)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// restart ends the process, which then is away for a while.
func (w *world) restart(away int64, policy kasp.Policy) error {
	if w.stored == nil {
		return nil
	}
	died := w.now
	w.log("restart, away for %d s", away)
	w.advance(w.now + away)
	histories := []*history{&w.dnskey, &w.cds}
	for i := range w.data {
		histories = append(histories, &w.data[i].history)
	}
	for _, h := range histories { // those that had not got the last version get it now
		for i := range *h {
			if v := &(*h)[i]; v.served > died && v.served != always {
				v.served = w.now + w.propagation
			}
		}
	}
	next, err := kasp.Parse(w.zone, policy, w.generate, w.stored, func(path string) (*signer.Key, error) {
		if k := w.all[path]; k != nil {
			return k, nil
		}
		return nil, errors.New("no such key")
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, w.stored)
	}
	w.ring, w.last = next, -1
	return nil
}

// run goes on for a while. Each of the activities comes at random, every so often.
func (w *world) run(length int64, activities ...activity) error {
	end := w.now + length
	next := make([]int64, len(activities))
	for i, a := range activities {
		next[i] = w.now + a.after(w.rng)
	}
	for w.now < end {
		at, which := end, -1
		for i := range next {
			if next[i] < at {
				at, which = next[i], i
			}
		}
		if t, ok := w.ring.Next(w.wall()); ok {
			if t := t.Unix() - w.clock; t <= at {
				at, which = max(t, w.now), -2
			}
		}
		for _, d := range w.data {
			for _, t := range d.due {
				if t < at {
					at, which = max(t, w.now), -2
				}
			}
		}
		w.advance(at)
		var err error
		switch which {
		case -1:
			return nil
		case -2:
			err = w.step(nil)
			w.advance(w.now + 1) // a step that was lost comes again
		default:
			err = activities[which].do()
			next[which] = w.now + activities[which].after(w.rng)
		}
		if err != nil {
			return fmt.Errorf("after %s: %w", time.Duration(w.now-start.Unix())*time.Second, err)
		}
	}
	return nil
}

// activity is something that happens at least so many seconds apart, and at most.
type activity struct {
	least, most int64
	do          func() error
}

func (a activity) after(rng *rand.Rand) int64 { return a.least + rng.Int64N(a.most-a.least+1) }
