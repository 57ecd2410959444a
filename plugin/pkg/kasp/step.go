package kasp

import (
	"fmt"
	"slices"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

// Facts is what a Step has to know of the world.
type Facts struct {
	// MaxTTL is the greatest TTL in the zone, that of negative answers among them, at the
	// time or, if that is more, since the last Step. At the first signing it is that of the
	// days before as well.
	MaxTTL time.Duration
	// Elapsed is the time since the last Step of this ring, or of that which it is a clone
	// of, by a clock that is never set; 0: unknown, as at the first Step after Parse, and only
	// then.
	Elapsed time.Duration
	// New is for the first keys of a zone that nobody has served so far: no cache has
	// anything of it, and the parent is asked for the DS at once. A parent that has not had
	// one decides by rules of its own when to believe that (RFC 8078 §3).
	New bool
}

// Plan is what follows from a Step.
type Plan struct {
	// Changed is for a ring that is to be stored. If Zone is not set there may be nothing
	// new but the time of the Step, once a day.
	Changed bool
	// Zone is for a version of the zone that is to be made: Uses, Withdraw or the TTL of the
	// keys have changed.
	Zone bool
	// Sweep is for a version in which all signatures are looked at, those of keys that are
	// in no use any longer replaced (signer.Request.All).
	Sweep bool
	// Jump is by how much the clock went otherwise than the time; 0: it did not. What is
	// waited for was put off, or forward, by that.
	Jump time.Duration
	// Events are the keys whose Info.State is another now, in the order of Keys; those that
	// are gone have none.
	Events []Event
}

// Event is that a key has come to a state.
type Event struct {
	Key      ID
	Role     signer.Role
	From, To string // of Words; From is "" of a new key, and To of one that is gone
}

const (
	clockError = 60      // by how many seconds clocks may differ
	longRest   = 7 * day // longer than that nobody has taken a Step: the clock may be wrong
)

// Step does what is to be done at a time: it makes keys, takes note of what caches have
// and have no longer, and brings records into the zone or takes them out of it. What
// Uses gives then must be served soon, see Policy.PublishSafety. Every version of the zone
// whose greatest TTL is another comes to a Step. After an error, which is that of the
// generator or ErrFull, nothing has changed.
func (r *Ring) Step(now time.Time, f Facts) (Plan, error) {
	n := r.Clone()
	plan := Plan{Jump: n.passed(now.Unix(), f.Elapsed)}
	s := step{Ring: n, times: n.policy.times(), now: now.Unix(), at: now.Unix(), isNew: f.New && len(n.keys) == 0}
	if now.Nanosecond() > 0 {
		s.at++
	}
	n.stepped = s.at
	n.maxTTL.note(min(max(seconds(f.MaxTTL, 0), 0), longest), s.at)
	n.keyTTL.note(s.dnskeyTTL, s.at)
	for again := true; again; { // every round brings a key further, and none goes back at a time
		var err error
		if again, err = s.round(); err != nil {
			return Plan{}, err
		}
	}
	plan.Sweep = s.sweep
	n.used, n.leaving, n.touched = n.uses(), n.policy.Insecure && len(n.keys) > 0, false
	plan.Zone = s.sweep || n.leaving != r.leaving || n.keyTTL.last != r.keyTTL.last || !slices.EqualFunc(n.used, r.used, sameUse)
	plan.Changed = plan.Zone || r.touched || plan.Jump != 0 || !slices.Equal(n.keys, r.keys) ||
		n.maxTTL != r.maxTTL || n.keyTTL != r.keyTTL || n.stepped-n.saved >= day || n.stepped < n.saved
	if plan.Changed {
		n.saved = n.stepped
	}
	plan.Events = events(r.Keys(), n.Keys())
	*r = *n
	return plan, nil
}

// sameUse compares all but the pointer to the key.
func sameUse(a, b signer.Use) bool {
	return a.DNSKEY() == b.DNSKEY() && a.Role() == b.Role() && a.Publish == b.Publish && a.Sign == b.Sign && a.Retire == b.Retire && a.Submit == b.Submit
}

func events(before, after []Info) (list []Event) {
	at := func(list []Info, id ID) *Info {
		if i := slices.IndexFunc(list, func(o Info) bool { return o.Key == id }); i >= 0 {
			return &list[i]
		}
		return &Info{}
	}
	for _, k := range before {
		if at(after, k.Key).State == "" {
			list = append(list, Event{k.Key, k.Role, k.State, ""})
		}
	}
	for _, k := range after {
		if was := at(before, k.Key).State; was != k.State {
			list = append(list, Event{k.Key, k.Role, was, k.State})
		}
	}
	return list
}

// passed takes note of the time since the last Step. Where the clock was set, all times
// are put off by as much, so that nothing is done for it. Where nobody took Steps for a
// while, secondaries may have got nothing since the last: what had not reached them by
// then begins anew.
func (r *Ring) passed(now int64, elapsed time.Duration) (jump time.Duration) {
	if r.stepped == 0 {
		return 0
	}
	gap := now - r.stepped
	off := gap - seconds(elapsed, 0)
	switch {
	case elapsed > 0 && (off > clockError || off < -clockError):
	case elapsed <= 0 && (gap < -1 || gap > longRest): // the last is rounded up
		off = gap
	default:
		off = 0
	}
	if off != 0 {
		r.shift(off)
	}
	if elapsed <= 0 {
		r.rest(r.stepped, now)
	}
	return time.Duration(off) * time.Second
}

// shift moves all times.
func (r *Ring) shift(by int64) {
	move := func(at *int64) {
		if *at == 0 {
			return
		}
		if *at += by; *at == 0 { // which stands for none
			*at = 1
		}
	}
	for i := range r.keys {
		k := &r.keys[i]
		for _, at := range []*int64{&k.created, &k.began, &k.dnskey.since, &k.data.since, &k.ds.since, &k.swept, &k.told} {
			move(at)
		}
	}
	for _, at := range []*int64{&r.maxTTL.seen, &r.keyTTL.seen, &r.stepped, &r.saved} {
		move(at)
	}
}

// rest has begin anew what secondaries may not have had yet by a time.
func (r *Ring) rest(from, now int64) {
	propagation := r.policy.times().propagation
	late := func(at *int64) {
		if *at != 0 && *at+propagation > from {
			*at = max(*at, now)
		}
	}
	for i := range r.keys {
		k := &r.keys[i]
		for _, at := range []*int64{&k.dnskey.since, &k.data.since, &k.ds.since, &k.swept} {
			late(at)
		}
	}
	late(&r.maxTTL.seen)
	late(&r.keyTTL.seen)
}

// step is one call of Step.
type step struct {
	*Ring
	times
	now   int64 // no later than it is
	at    int64 // no earlier than it is: when what is done is done
	sweep bool
	isNew bool // what is introduced is in all caches that have anything
}

// round does what can be done, and tells whether there may be more.
func (s *step) round() (again bool, err error) {
	before := slices.Clone(s.keys)
	s.removals()
	s.wait()
	if err := s.make(); err != nil {
		return false, err
	}
	if s.policy.Insecure {
		s.leave()
	} else {
		s.introduce()
		s.submit()
		s.retire()
	}
	return !slices.Equal(before, s.keys), nil
}

// removals takes keys out at once.
func (s *step) removals() {
	for i := range s.keys {
		k := &s.keys[i]
		if !k.remove {
			continue
		}
		if k.data.state != Hidden {
			s.sweep = true
			for j := range s.keys { // what it has signed is signed by others as of now
				if o := &s.keys[j]; o.Algorithm() == k.Algorithm() && o.data.state == Rumored {
					o.data.since, o.covered = s.at, false
				}
			}
		}
		k.remove, k.roll, k.removed, k.over = false, false, true, true
		k.dnskey, k.data, k.swept, k.covered = record{}, record{}, 0, false
		if k.asked() {
			k.unask(s.at)
		}
	}
}

// wait takes note of what caches have by now, and have no longer.
func (s *step) wait() {
	for i := range s.keys {
		k := &s.keys[i]
		if k.dnskey.state == Rumored || k.dnskey.state == Unretentive {
			k.dnskey.ttl = max(k.dnskey.ttl, s.keyTTL.ttl)
		}
		if k.data.state == Rumored || k.data.state == Unretentive {
			k.data.ttl = max(k.data.ttl, s.maxTTL.ttl)
		}
		if k.ds.state == Rumored || k.ds.state == Unretentive {
			k.cdsTTL = max(k.cdsTTL, s.keyTTL.ttl)
		}
		d := s.dues(k, s.times)
		past := func(due int64) bool { return due != 0 && due <= s.now }
		if past(d.dnskey) {
			k.dnskey = settled(k.dnskey.state, s.at)
		}
		switch {
		case !past(d.data):
		case k.data.state == Unretentive && k.swept == 0:
			k.swept, k.data.ttl, s.sweep = s.at, s.maxTTL.ttl, true
		default:
			k.data, k.swept, k.covered = settled(k.data.state, s.at), 0, false
		}
		if past(d.ds) && k.told != 0 {
			ttl := k.ds.ttl
			k.ds, k.told, k.cdsTTL, k.again = settled(k.ds.state, s.at), 0, 0, false
			k.ds.ttl = ttl
		}
	}
}

// settled gives what a record is after its wait.
func settled(s State, at int64) record {
	if s == Rumored {
		return record{state: Omnipresent, since: at}
	}
	return record{}
}

// dues are when something is to be done about the records of a key; 0: not by the clock.
type dues struct{ dnskey, data, ds int64 }

func (r *Ring) dues(k *key, t times) (d dues) {
	safety := func(s State) int64 {
		if s == Rumored {
			return t.publishSafety
		}
		return t.retireSafety
	}
	switch k.dnskey.state {
	case Rumored, Unretentive: // Ipub; the last part of Iret
		d.dnskey = k.dnskey.since + t.propagation + k.dnskey.ttl + safety(k.dnskey.state)
	case Hidden, Omnipresent:
	}
	switch k.data.state {
	case Rumored:
		// Those of the key before go first, of which some were replaced long after this one
		// began to sign.
		if !r.any(func(o *key) bool { return o.Algorithm() == k.Algorithm() && o.data.state == Unretentive }) {
			d.data = k.data.since + t.propagation + k.data.ttl + t.retireSafety
		}
	case Unretentive: // Iret
		switch {
		case k.swept != 0:
			d.data = k.swept + t.propagation + k.data.ttl + t.retireSafety
		case r.published(k.Algorithm()):
			d.data = k.data.since + t.replace
		default:
			d.data = k.data.since
		}
	case Hidden, Omnipresent:
	}
	switch k.ds.state {
	case Rumored, Unretentive:
		ttl := k.ds.ttl
		if ttl == 0 {
			ttl = t.parentTTL
		}
		if k.told != 0 { // IretDS, with what a server of the parent may be late
			d.ds = k.told + t.parentPropagation + ttl + safety(k.ds.state)
		} else {
			d.ds = r.credible(k)
		}
	case Hidden, Omnipresent:
	}
	return d
}

// Next gives when a Step may find something to do. While anything is under way that is
// within an hour, so that a clock that is set is found out; else within a day. ok is false
// if the zone has no keys and is to have none.
func (r *Ring) Next(now time.Time) (next time.Time, ok bool) {
	t := r.policy.times()
	if len(r.keys) == 0 && r.policy.Insecure {
		return time.Time{}, false
	}
	if len(r.keys) == 0 || r.touched || r.any(func(k *key) bool { return k.remove || k.roll && r.busy(k.sep()) == "" }) {
		return now, true
	}
	at, busy := r.saved+day, false
	take := func(due int64) {
		if due > now.Unix() {
			at = min(at, due)
		}
	}
	for i := range r.keys {
		k := &r.keys[i]
		busy = busy || k.roll
		for _, rec := range []record{k.dnskey, k.data, k.ds} {
			busy = busy || rec.state == Rumored || rec.state == Unretentive
		}
		d := r.dues(k, t)
		take(d.dnskey)
		take(d.data)
		take(d.ds)
		take(t.ends(k))
	}
	if busy {
		at = min(at, now.Unix()+hour)
	}
	return time.Unix(max(at, now.Unix()+1), 0), true
}

// ends gives when a key is to get a successor, which is made some time before it comes
// into its place; 0: never.
func (t times) ends(k *key) int64 {
	life := t.zskLife
	if k.sep() {
		life = t.kskLife
	}
	if life == 0 || k.began == 0 {
		return 0
	}
	return k.began + max(0, life-t.propagation-t.dnskeyTTL-t.publishSafety)
}

func (r *Ring) any(is func(*key) bool) bool {
	for i := range r.keys {
		if is(&r.keys[i]) {
			return true
		}
	}
	return false
}

// published tells whether the zone has DNSKEY records of an algorithm.
func (r *Ring) published(alg signer.Algorithm) bool {
	return r.any(func(k *key) bool { return k.Algorithm() == alg && k.published() })
}

// newest gives the key of an algorithm that is to be in use, with the SEP flag or
// without; nil if there is none.
func (r *Ring) newest(alg signer.Algorithm, sep bool) *key {
	for i := len(r.keys) - 1; i >= 0; i-- {
		if k := &r.keys[i]; k.Algorithm() == alg && k.sep() == sep && !k.over && !k.remove {
			return k
		}
	}
	return nil
}

// busy tells why a rollover of the key with the SEP flag, or without, cannot start.
func (r *Ring) busy(sep bool) string {
	alg := r.policy.times().alg
	k := r.newest(alg, sep)
	switch {
	case r.policy.Insecure:
		return "the zone is to leave DNSSEC"
	case k == nil:
		return "there is no such key yet"
	case r.any(func(o *key) bool { return o.Algorithm() != alg && !o.removed }):
		return "the algorithm is being exchanged"
	case r.any(func(o *key) bool { return o.id() != k.id() && o.sep() == sep && !o.removed }):
		return "another one is under way"
	case k.dnskey.state != Omnipresent:
		return "caches may not have the DNSKEY record of the key yet"
	case (!sep || !r.policy.Split) && k.data.state != Omnipresent:
		return "the key does not sign everything yet"
	}
	return ""
}

// make makes the keys that the policy asks for, that take the place of one, and without
// which an algorithm in the zone would not sign all.
func (s *step) make() error {
	for _, sep := range []bool{true, false} {
		k := s.newest(s.alg, sep)
		switch {
		case s.policy.Insecure:
		case k == nil && (sep || s.policy.Split):
			if err := s.add(s.alg, sep); err != nil {
				return err
			}
		case k == nil || !sep && !s.policy.Split:
		case s.busy(sep) == "" && (k.roll || s.ends(k) != 0 && s.ends(k) <= s.now && (!sep || k.ds.state == Omnipresent)):
			k.roll = false
			if err := s.add(s.alg, sep); err != nil {
				return err
			}
		}
	}
	for _, alg := range algorithms {
		if !s.published(alg) {
			continue
		}
		if !s.any(func(k *key) bool { return k.Algorithm() == alg && k.sep() && k.published() }) {
			if s.newest(alg, true) == nil {
				if err := s.add(alg, true); err != nil {
					return err
				}
			}
			s.publish(s.newest(alg, true))
		}
		if !s.any(func(k *key) bool { return k.Algorithm() == alg && k.signing() }) {
			for i := len(s.keys) - 1; i >= 0; i-- {
				if k := &s.keys[i]; k.Algorithm() == alg && k.sep() && k.published() {
					s.start(k)
					break
				}
			}
		}
	}
	return nil
}

// algorithms are those of keys.
var algorithms = []signer.Algorithm{signer.RSASHA256, signer.ECDSAP256SHA256, signer.ECDSAP384SHA384, signer.ED25519}

// tries is how often a key is made until its tag is none of the others'.
const tries = 32

// add makes a key.
func (s *step) add(alg signer.Algorithm, sep bool) error {
	if len(s.keys) >= maxKeys {
		return fmt.Errorf("%s: %w: there are %d", s.zone, ErrFull, len(s.keys))
	}
	role := signer.ZSK
	switch {
	case sep && s.policy.Split:
		role = signer.KSK
	case sep:
		role = signer.CSK
	}
	for range tries {
		k, err := s.generate(s.zone, alg, role)
		switch {
		case err != nil:
			return fmt.Errorf("%s: new %s: %w", s.zone, role, err)
		case k.Zone() != s.zone || k.Algorithm() != alg || k.Role() != role:
			return fmt.Errorf("%s: new %s: %s is another key than was asked for", s.zone, role, k)
		case s.any(func(o *key) bool { return o.Tag() == k.Tag() }):
			continue
		}
		s.keys = append(s.keys, key{Key: k, created: s.at})
		return nil
	}
	return fmt.Errorf("%s: new %s: %d keys have tags that others have", s.zone, role, tries)
}

// appears gives the state of what is put into the zone.
func (s *step) appears() State {
	if s.isNew {
		return Omnipresent
	}
	return Rumored
}

// publish puts the DNSKEY record of a key into the zone.
func (s *step) publish(k *key) {
	if k.dnskey.state != Hidden {
		return
	}
	k.dnskey = record{state: s.appears(), since: s.at}
	if !s.isNew && !s.any(func(o *key) bool { return o.dnskey.state == Omnipresent }) {
		k.dnskey.ttl = s.maxTTL.ttl // that of the answer that there are none
	}
}

// start has a key sign the data, in the place of those of its algorithm that do.
func (s *step) start(k *key) {
	covered := s.covered(k.Algorithm())
	for i := range s.keys {
		if o := &s.keys[i]; o.Algorithm() == k.Algorithm() && o.signing() {
			o.data, o.swept, o.covered = record{state: Unretentive, since: s.at}, 0, false
			o.over = o.over || !o.sep() && !k.sep()
		}
	}
	k.data, k.swept, k.covered = record{state: s.appears(), since: s.at}, 0, covered && !s.isNew
	if !k.sep() && k.began == 0 {
		k.began = s.at
	}
	s.sweep = true
}

// covered tells whether all that caches have of the data is signed with an algorithm.
func (s *step) covered(alg signer.Algorithm) bool {
	return s.any(func(k *key) bool {
		return k.Algorithm() == alg && (k.data.state == Omnipresent || k.data.state == Rumored && k.covered)
	})
}

// wanted gives the key that signs the DNSKEY RRset by the policy, and that for the data.
func (s *step) wanted() (sep, data *key) {
	sep = s.newest(s.alg, true)
	if s.policy.Split {
		return sep, s.newest(s.alg, false)
	}
	return sep, sep
}

// introduce brings the keys of the policy into use.
func (s *step) introduce() {
	sep, data := s.wanted()
	switch {
	case s.published(s.alg):
		s.publish(sep)
		s.publish(data)
		if !data.signing() && data.dnskey.state == Omnipresent {
			s.start(data)
		}
	case s.any(func(k *key) bool { return k.Algorithm() == s.alg && k.over && !k.removed && !k.idle() }):
		// Those that leave are gone before, or caches had new ones without signatures of them.
	case !s.any((*key).published): // nobody expects signatures
		s.publish(sep)
		s.publish(data)
		if !data.signing() {
			s.start(data)
		}
	case !data.signing():
		s.start(data)
	case data.data.state == Omnipresent: // and no other key of the algorithm has signatures
		s.publish(sep)
		s.publish(data)
	}
}

// valid tells whether every DNSKEY RRset in a cache goes with all data in caches: of each
// algorithm in it there is a key in it that has signed the data.
func (s *step) valid() bool {
	for _, alg := range algorithms {
		published, present := s.published(alg), false
		for i := range s.keys {
			k := &s.keys[i]
			if k.Algorithm() != alg || k.removed {
				continue
			}
			present = present || k.dnskey.state != Hidden
		}
		if !present {
			continue
		}
		if !s.covered(alg) || s.any(func(k *key) bool {
			return k.Algorithm() == alg && k.data.state != Hidden && k.dnskey.state != Omnipresent && (published || k.dnskey.state != Unretentive)
		}) {
			return false
		}
	}
	return true
}

// secure tells whether a cache may have a DS record of a key that is not removed.
func (s *step) secure() bool {
	return s.any(func(k *key) bool { return !k.removed && k.ds.state != Hidden })
}

// submit asks the parent for the DS of the key of the policy, and not for that of others
// any longer.
func (s *step) submit() {
	sep, _ := s.wanted()
	broken := s.any(func(k *key) bool { return k.removed && k.ds.state != Hidden }) &&
		!s.any(func(k *key) bool { return !k.removed && k.there() })
	if !sep.published() || !broken && (sep.dnskey.state != Omnipresent || !s.valid()) {
		return
	}
	if !sep.asked() {
		sep.ds.state, sep.ds.since, sep.told, sep.cdsTTL, sep.again = Rumored, s.at, 0, 0, sep.ds.state == Unretentive
		if sep.began == 0 {
			sep.began = s.at
		}
	}
	for i := range s.keys {
		if o := &s.keys[i]; o.id() != sep.id() && o.asked() {
			o.unask(s.at)
			o.over = o.over || o.Algorithm() == s.alg
		}
	}
}

// retire takes out of the zone what nothing needs.
func (s *step) retire() {
	sep, data := s.wanted()
	there := sep.dnskey.state == Omnipresent && (sep.ds.state == Omnipresent || !s.secure())
	for i := range s.keys {
		k := &s.keys[i]
		of := func(is func(*key) bool) bool {
			return s.any(func(o *key) bool { return o.Algorithm() == k.Algorithm() && !o.removed && is(o) })
		}
		switch {
		case k.removed || k.id() == sep.id() || k.id() == data.id():
		case !s.published(k.Algorithm()):
			if k.data.state != Hidden && (k.over || k.Algorithm() != s.alg) && !of(func(o *key) bool { return o.dnskey.state != Hidden }) {
				k.data, k.swept, k.covered, k.over, s.sweep = record{}, 0, false, true, true
			}
		case k.Algorithm() != s.alg && there && s.valid() && !of(func(o *key) bool { return o.ds.state != Hidden }):
			s.withdraw(k.Algorithm())
		case !k.published() || k.data.state != Hidden || k.ds.state != Hidden:
		case k.sep() && (!there || !of(func(o *key) bool { return o.id() != k.id() && o.sep() && o.dnskey.state == Omnipresent })):
		case !k.sep() && !of(func(o *key) bool { return o.signing() && o.dnskey.state == Omnipresent }):
		default:
			k.dnskey, k.over = record{state: Unretentive, since: s.at}, true
		}
	}
	stay := []ID{sep.id(), data.id()}
	s.keys = slices.DeleteFunc(s.keys, func(k key) bool { return k.idle() && !slices.Contains(stay, k.id()) })
}

// withdraw takes all DNSKEY records of an algorithm out of the zone. They go together:
// else a cache had one of them without the one that has signed the data.
func (s *step) withdraw(alg signer.Algorithm) {
	for i := range s.keys {
		if k := &s.keys[i]; k.Algorithm() == alg && k.published() {
			k.dnskey, k.over = record{state: Unretentive, since: s.at}, true
		}
	}
}

// leave takes the zone out of DNSSEC.
func (s *step) leave() {
	for i := range s.keys {
		if k := &s.keys[i]; k.asked() {
			k.unask(s.at)
		}
	}
	if !s.any(func(k *key) bool { return k.ds.state != Hidden }) {
		s.keys = nil
	}
}

// waits tells what a key waits for.
func (r *Ring) waits(k *key) string {
	t := r.policy.times()
	d := r.dues(k, t)
	until := func(what string, due int64) string { return what + " until " + moment(due).Format(time.RFC3339) }
	switch {
	case d.ds != 0 && d.ds > r.stepped && k.told == 0:
		return until("for the parent to have done what it was asked for before,", d.ds)
	case k.ds.state == Rumored && k.told == 0:
		return "for the parent to have its DS"
	case k.ds.state == Unretentive && k.told == 0:
		return "for the parent to remove its DS"
	case d.ds != 0:
		return until("for caches of its DS", d.ds)
	case d.dnskey != 0:
		return until("for caches of its DNSKEY record", d.dnskey)
	case k.data.state == Unretentive && k.swept == 0:
		return until("for its signatures to be replaced", d.data)
	case d.data != 0:
		return until("for caches of signatures", d.data)
	case k.roll:
		return "for a rollover to be possible: " + r.busy(k.sep())
	case k.dnskey.state == Hidden && k.data.state == Omnipresent, k.dnskey.state == Hidden && k.data.state == Hidden,
		k.dnskey.state == Omnipresent && k.ds.state == Hidden && k.data.state == Hidden:
		return "for other keys"
	}
	return ""
}
