package kasp

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

// Errors of a Ring.
var (
	ErrUnknownKey = errors.New("key is not in the ring")
	ErrBusy       = errors.New("rollover is not possible now")
	ErrEarly      = errors.New("too early to be believed")
	ErrChain      = errors.New("the DS of no other key is known to be at the parent")
	ErrFull       = errors.New("too many keys")
	ErrImport     = errors.New("keys that a zone cannot be signed with")
)

// maxKeys is how many keys a ring has at most. A zone that changes its policy all the
// time has some ten.
const maxKeys = 32

// State is where a record is: in the zone or at the parent, and in caches.
type State uint8

// The states of a record.
const (
	Hidden      State = iota // no cache has it
	Rumored                  // it was put there, and a cache may have what was there before
	Omnipresent              // all caches that have anything there have it
	Unretentive              // it was taken away, and a cache may have it
)

var stateNames = [...]string{"hidden", "rumored", "omnipresent", "unretentive"}

// String gives the state as one word.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// record is the state of one record of a key, or of its signatures over the data.
type record struct {
	state State
	since int64 // of the state; 0 if it is hidden
	ttl   int64 // the greatest that counts for the wait
}

// key is a key and where it is. A CSK is a KSK here that signs the data as well: what
// it is changes with the policy.
type key struct {
	*signer.Key
	created int64
	began   int64 // when it began to sign data, or, with the SEP flag, when its DS was asked for; 0: not yet
	dnskey  record
	data    record // signatures over the data
	ds      record
	swept   int64 // data is unretentive: when the signatures that were left were replaced; 0: not yet
	told    int64 // ds is rumored: since when the parent has it; unretentive: since when it has not; 0: unknown
	cdsTTL  int64 // the greatest with which a cache may have that its DS is, or is not, to be there
	again   bool  // ds is rumored, and was to go before: the parent may have acted on that
	covered bool  // data is rumored: what it does not sign yet is signed by keys of its algorithm in all caches
	over    bool  // a successor is in its place, or it has begun to leave
	roll    bool  // a successor is to be made
	remove  bool  // it is to go at once
	removed bool  // it has gone so: what caches have of it does not count
}

func (k *key) sep() bool       { return k.Role() != signer.ZSK }
func (k *key) published() bool { return k.dnskey.state == Rumored || k.dnskey.state == Omnipresent }
func (k *key) signing() bool   { return k.data.state == Rumored || k.data.state == Omnipresent }
func (k *key) asked() bool     { return k.ds.state == Rumored || k.ds.state == Omnipresent }
func (k *key) there() bool     { return k.ds.state == Omnipresent || k.ds.state == Rumored && k.told != 0 }

func (k *key) idle() bool {
	return k.dnskey.state == Hidden && k.data.state == Hidden && k.ds.state == Hidden
}

// unask no longer asks the parent for the DS.
func (k *key) unask(at int64) {
	k.ds.state, k.ds.since, k.told, k.cdsTTL, k.again = Unretentive, at, 0, 0, false
}

// memory is the greatest TTL that caches may have of something, in seconds.
type memory struct {
	ttl  int64
	last int64 // the one that was told last
	seen int64 // until when more than last was served
}

// note takes a TTL, after which ttl is that with which something may be in a cache, or,
// where servers are late, the one that is enough for a wait that begins now: it counts
// from when they are not.
func (m *memory) note(ttl, at int64) {
	if ttl < m.last {
		m.seen = at
	}
	m.last = ttl
	if ttl >= m.ttl || at > m.seen+m.ttl {
		m.ttl = ttl
	}
}

// Generate makes a key of a zone; signer.Generate is one.
type Generate func(zone dnsname.Name, alg signer.Algorithm, role signer.Role) (*signer.Key, error)

// Ring is the keys of one zone, and where each of them is in its life. Step moves them.
// A Ring is for one goroutine at a time; what its methods have returned never changes.
// Who stores zones keeps the ring of the last version that is durable, changes a Clone of
// it, stores its Marshal together with the zone, and forgets it if that fails.
type Ring struct {
	zone     dnsname.Name // in lower case
	policy   Policy
	generate Generate
	keys     []key // oldest first
	maxTTL   memory
	keyTTL   memory
	stepped  int64        // time of the last Step; 0: none
	saved    int64        // stepped of what was to be stored last
	leaving  bool         // the parent is asked to remove all DS records
	touched  bool         // there is something to be stored that no Step has done
	used     []signer.Use // Uses after the last Step
}

// New makes the ring of a zone, without keys: the first Step makes them. The generator
// is signer.Generate if it is nil.
func New(zone dnsname.Name, policy Policy, generate Generate) *Ring {
	if generate == nil {
		generate = signer.Generate
	}
	return &Ring{zone: zone.Fold(), policy: policy, generate: generate}
}

// Clone gives a ring of its own.
func (r *Ring) Clone() *Ring {
	c := *r
	c.keys = slices.Clone(r.keys)
	return &c
}

// Zone gives the zone of the keys, in lower case.
func (r *Ring) Zone() dnsname.Name { return r.zone }

// Policy gives the policy that is in force.
func (r *Ring) Policy() Policy { return r.policy }

// SetPolicy puts another policy in force, from the next Step on. It may be changed at
// any time: what is under way for the one before is ended in order or taken back.
func (r *Ring) SetPolicy(p Policy) { r.policy = p }

// Uses gives what signer.New is to be given since the last Step. It accepts them, unless
// Unsigned.
func (r *Ring) Uses() []signer.Use { return slices.Clone(r.used) }

// uses gives what follows from where the keys are.
func (r *Ring) uses() []signer.Use {
	var uses []signer.Use
	for i := range r.keys {
		k := &r.keys[i]
		u := signer.Use{
			Key: k.Key, Publish: k.published(), Sign: k.signing(),
			Retire: k.data.state == Unretentive && k.swept == 0,
			Submit: k.asked() && k.published(),
		}
		if k.sep() {
			u.Key = k.as(signer.KSK)
			if k.signing() {
				u.Key = k.as(signer.CSK)
			} else {
				u.Sign = k.published()
			}
		}
		if u.Publish || u.Sign {
			uses = append(uses, u)
		}
	}
	return uses
}

// as gives the key in another role that has the SEP flag, as it has.
func (k *key) as(role signer.Role) *signer.Key {
	if other, err := k.As(role); err == nil {
		return other
	}
	return k.Key
}

// Withdraw tells whether the parent is to be asked to remove all DS records, as
// signer.Policy.Withdraw.
func (r *Ring) Withdraw() bool { return r.leaving }

// Unsigned tells whether the zone is to have no keys and no signatures: before the
// first Step, and when it has left DNSSEC.
func (r *Ring) Unsigned() bool { return len(r.used) == 0 }

// ID names a key. No two keys of a ring have the same tag.
type ID struct {
	Algorithm signer.Algorithm
	Tag       uint16
}

// String gives algorithm and key tag as messages name them.
func (id ID) String() string { return fmt.Sprintf("%s/%d", id.Algorithm, id.Tag) }

func (k *key) id() ID { return ID{k.Algorithm(), k.Tag()} }

// find gives a key.
func (r *Ring) find(id ID) (*key, error) {
	for i := range r.keys {
		if r.keys[i].id() == id {
			return &r.keys[i], nil
		}
	}
	return nil, fmt.Errorf("%s: %s: %w", r.zone, id, ErrUnknownKey)
}

// The words of Info.State, in the order of a life (RFC 7583 §3.1).
const (
	Generated = "generated" // it is in no use
	Published = "published" // caches may have a DNSKEY RRset without it
	Ready     = "ready"     // it may come into use; of a KSK or CSK: its DS is not known to be at the parent
	Active    = "active"    // it signs
	Retired   = "retired"   // another has its place; caches may have signatures or DS of it
	Dead      = "dead"      // nothing needs it any longer
	Removed   = "removed"   // it is out of the zone; caches, or the parent after Remove, may have something of it
)

// Words gives the words of Info.State in the order of a life.
func Words() []string {
	return []string{Generated, Published, Ready, Active, Retired, Dead, Removed}
}

// Info is what is to be known of a key.
type Info struct {
	Key     ID
	Role    signer.Role // CSK: signs the data, or is to
	State   string      // one of Words
	DNSKEY  State
	Data    State // signatures over the data
	DS      State
	DSTold  time.Time // since when the parent has the DS (Rumored) or has it no more (Unretentive); zero: unknown
	Created time.Time
	Began   time.Time // when it began to sign data or, of a KSK and CSK, its DS was asked for; zero: not yet
	Waits   string    // what it waits for; "": for nothing
}

// Keys gives what is to be known of all keys, the oldest first.
func (r *Ring) Keys() []Info {
	list := make([]Info, len(r.keys))
	for i := range r.keys {
		k := &r.keys[i]
		list[i] = Info{
			Key: k.id(), Role: k.Role(), State: k.word(), DNSKEY: k.dnskey.state, Data: k.data.state, DS: k.ds.state,
			DSTold: moment(k.told), Created: moment(k.created), Began: moment(k.began), Waits: r.waits(k),
		}
		if k.sep() {
			list[i].Role = signer.KSK
			if k.data.state != Hidden || !r.policy.Split && !k.over {
				list[i].Role = signer.CSK
			}
		}
	}
	return list
}

// moment is a time of a ring, which is 0 for none.
func moment(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

func (k *key) word() string {
	switch {
	case k.removed || k.dnskey.state == Unretentive:
		return Removed
	case k.dnskey.state == Hidden && k.data.state == Hidden:
		return Generated
	case k.over && (k.data.state != Hidden || k.ds.state != Hidden), k.data.state == Unretentive && !k.sep(), k.ds.state == Unretentive:
		return Retired
	case k.over:
		return Dead
	case k.sep() && k.there(), !k.sep() && k.signing():
		return Active
	case k.dnskey.state == Omnipresent:
		return Ready
	default:
		return Published
	}
}

// Parent is a DS RRset to be looked at: whether that of a key is there.
type Parent struct {
	Key    ID
	DS     string // the RDATA, with a SHA-256 digest; one with another digest counts as well
	Appear bool   // it is to appear (DSSeen); else it is to go (DSGone)
}

// Parents gives what all servers of the parent are to be asked now, or to be told: which
// DS records are to appear, and which are to go. Nothing is to be asked if there are none.
func (r *Ring) Parents(now time.Time) []Parent {
	var list []Parent
	for i := range r.keys {
		k := &r.keys[i]
		if (k.ds.state == Rumored || k.ds.state == Unretentive) && k.told == 0 && now.Unix() >= r.credible(k) {
			list = append(list, Parent{k.id(), k.DS(), k.ds.state == Rumored})
		}
	}
	return list
}

// credible is from when on it counts whether the parent has the DS of a key: before, it
// may have read CDS records of an older version, from a secondary or a cache, or not have
// served yet what follows from that.
func (r *Ring) credible(k *key) int64 {
	if k.removed || k.ds.state == Rumored && !k.again {
		return k.ds.since
	}
	t := r.policy.times()
	return k.ds.since + t.propagation + k.cdsTTL + t.parentPropagation
}

// early tells that it does not count yet.
func (r *Ring) early(k *key, at int64) error {
	if from := r.credible(k); at < from {
		return fmt.Errorf("%s: DS of %s: %w, before %s", r.zone, k.id(), ErrEarly, moment(from).Format(time.RFC3339))
	}
	return nil
}

// parented gives a key that may have a DS.
func (r *Ring) parented(id ID) (*key, error) {
	k, err := r.find(id)
	if err == nil && !k.sep() {
		err = fmt.Errorf("%s: DS of %s: %w as a KSK or CSK", r.zone, id, ErrUnknownKey)
	}
	return k, err
}

// DSSeen says that all servers of the parent had a DS record of the key at a time, with
// a TTL; 0: unknown. The error wraps ErrUnknownKey, as it does for a ZSK, or ErrEarly if
// the record was to go before and the parent may still act on that: Parents says when it is
// to be asked.
func (r *Ring) DSSeen(id ID, now time.Time, ttl time.Duration) error {
	k, err := r.parented(id)
	if err != nil {
		return err
	}
	at, before := now.Unix(), *k
	switch k.ds.state {
	case Rumored:
		if k.told == 0 {
			if err := r.early(k, at); err != nil {
				return err
			}
			k.told = at
		}
	case Unretentive:
		k.told = 0
	case Hidden: // nobody has asked for it
		k.ds.state, k.ds.since, k.told = Rumored, at, at
		if k.over || k.removed {
			k.ds.state, k.told = Unretentive, 0
		}
	case Omnipresent:
	}
	k.ds.ttl = max(k.ds.ttl, min(seconds(ttl, 0), longest))
	r.touched = r.touched || *k != before
	return nil
}

// DSGone says that no server of the parent had a DS record of the key at a time. ttl is
// that of the DS RRset before; 0: unknown. The error wraps ErrUnknownKey, as it does for a
// ZSK, or ErrEarly if the parent may still act on CDS records from before the removal was
// asked for: Parents says when it is to be asked.
func (r *Ring) DSGone(id ID, now time.Time, ttl time.Duration) error {
	k, err := r.parented(id)
	if err != nil {
		return err
	}
	at, before := now.Unix(), *k
	switch k.ds.state {
	case Unretentive:
		if err := r.early(k, at); err != nil {
			return err
		}
		k.ds.ttl = max(k.ds.ttl, min(seconds(ttl, 0), longest))
		if k.told == 0 {
			k.told = at
		}
	case Omnipresent: // nobody has asked for that
		k.ds.state, k.ds.since, k.told, k.again = Rumored, at, 0, false
	case Rumored:
		k.told = 0
	case Hidden:
	}
	r.touched = r.touched || *k != before
	return nil
}

// Rollover has the next Step make a successor of the key of a role. A KSK or CSK stays
// until the parent has exchanged the DS. This is also how a key that others may know is
// exchanged without an outage (RFC 6781 §4.3.1.1). The error wraps ErrBusy, and says why,
// if there is a rollover under way, or no key.
func (r *Ring) Rollover(role signer.Role) error {
	why := r.busy(role != signer.ZSK)
	k := r.newest(r.policy.times().alg, role != signer.ZSK)
	switch {
	case role == signer.ZSK && !r.policy.Split:
		why = "there is a CSK alone"
	case k == nil || why != "":
	case k.roll:
		why = "it was asked for before"
	default:
		k.roll, r.touched = true, true
		return nil
	}
	return fmt.Errorf("%s: %s: %w: %s", r.zone, role, ErrBusy, why)
}

// Remove has the next Step take a key out of the zone at once, with all its signatures,
// for a key that others know and that must not be believed any longer (RFC 6781 §4.3.1.2,
// §4.3.2). A successor signs at once if no other key does. Until TTLs have ended,
// validators fail that have some of the records from before in their caches; Rollover is
// the way without that.
//
// Of a KSK or CSK the DS is to be removed at the parent by hand as long as Parents names
// it: with it, forged answers are believed. If the DS of no other key is known to be
// there, the zone fails for all validators until the parent has that of the successor, and
// the parent cannot verify the CDS records that ask for it: then the error wraps ErrChain,
// unless force is set.
func (r *Ring) Remove(id ID, force bool) error {
	k, err := r.find(id)
	if err != nil {
		return err
	}
	if k.sep() && k.ds.state != Hidden && !force && !slices.ContainsFunc(r.keys, func(o key) bool {
		return o.id() != id && !o.removed && !o.remove && o.published() && o.there()
	}) {
		return fmt.Errorf("%s: %s: %w", r.zone, id, ErrChain)
	}
	k.remove, r.touched = true, true
	return nil
}
