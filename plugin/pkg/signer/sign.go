package signer

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Request is what Sign is to look at.
type Request struct {
	// Since is a state of the transaction in which the zone was as Sign left it, or not
	// signed at all: its signatures over RRsets that are still the same may stay, and
	// nobody verifies them. What has been edited after it is signed. A zone that others
	// have signed, or edited after it was signed, goes through Strip before.
	Since zone.Savepoint
	// Now is the time of signing.
	Now time.Time
	// Due are owners whose signatures are to be refreshed if they are due, as Queue.Due
	// gives them; hashed ones among them.
	Due []dnsname.Name
	// All has everything looked at.
	All bool
}

// Result is what Sign has done.
type Result struct {
	Signatures int  // made
	Names      int  // looked at, hashed ones not among them
	All        bool // every name was looked at
}

// Sign makes a zone that was edited a signed zone again: the edits and what Sign
// changes are one version. What the policy and the keys want of the apex is put
// there: the DNSKEY, NSEC3PARAM, CDS and CDNSKEY RRsets; RRSIGs, NSEC and NSEC3 that
// edits have brought or removed do not count.
//
// Its costs are those of the names that were edited, their neighbors in the chain,
// and, where a delegation or DNAME comes or goes, the names below it. All names are
// looked at, and only those signatures made that are missing, where the zone in Since
// was not signed by this policy or with these keys, or the TTL of negative answers
// changes.
//
// The serial is the caller's. The transaction must have a SOA record; the error is
// zone.ErrNoSOA, rrset.ErrTooLong, or one of a key that could not sign. After an
// error the transaction is good for nothing but a Rollback to a point before.
func (s *Signer) Sign(t *zone.Txn, req Request) (Result, error) {
	result, err := s.sign(t, req)
	if errors.Is(err, errChain) {
		req.All = true
		result, err = s.sign(t, req)
	}
	return result, err
}

// errChain is about a zone whose NSEC3 records are not what Sign has left.
var errChain = errors.New("NSEC3 record of another chain, or malformed")

func (s *Signer) sign(t *zone.Txn, req Request) (Result, error) {
	p := &pass{Signer: s, t: t, before: t.At(req.Since), now: req.Now.Unix()}
	var ok bool
	if p.ttl, ok = negativeTTL(t.View()); !ok {
		return Result{}, zone.ErrNoSOA
	}
	ttl, _ := negativeTTL(p.before)
	p.All = req.All || ttl != p.ttl || !s.Signed(p.before)
	if !p.All {
		if err := p.restore(req.Since); err != nil {
			return Result{}, err
		}
	}
	for _, set := range s.apex {
		if _, err := t.Replace(s.origin, set); err != nil {
			return Result{}, err
		}
	}
	changed, err := p.tidy(p.affected(req))
	if err != nil {
		return Result{}, err
	}
	if s.policy.NSEC3 {
		err = p.signNSEC3(changed, req.Due)
	} else {
		err = p.signNSEC(changed)
	}
	return p.Result, err
}

// pass is one call of Sign.
type pass struct {
	*Signer
	t      *zone.Txn
	before zone.View
	now    int64
	ttl    uint32 // of NSEC and NSEC3
	Result
}

// negativeTTL gives the TTL of negative answers, which NSEC and NSEC3 records have
// (RFC 9077 §3).
func negativeTTL(v zone.View) (ttl uint32, ok bool) {
	soa, ok := v.Get(v.Origin(), rrset.TypeSOA)
	if !ok {
		return 0, false
	}
	rdata := []byte(soa.First())
	return min(soa.TTL, binary.BigEndian.Uint32(rdata[len(rdata)-4:])), true
}

// Signed tells whether a zone is signed by the policy and with the keys, as Sign
// leaves it: if so Sign looks only at what was edited and what is due. It looks at the
// apex alone, and not at when signatures expire.
func (s *Signer) Signed(v zone.View) bool {
	for _, want := range s.apex {
		if have, _ := v.Get(s.origin, want.Type); !have.IsEmpty() || !want.IsEmpty() {
			if !have.Equal(want) {
				return false
			}
		}
	}
	soa, _ := v.Get(s.origin, rrset.TypeSOA)
	if soa.Sigs.Len() != len(s.data) {
		return false
	}
	for _, k := range s.data {
		if !k.signed(soa) {
			return false
		}
	}
	return s.chained(v)
}

// signed tells whether the key has signed a set, whenever it was.
func (k *Key) signed(set zone.Set) bool {
	for r := range set.Sigs.All() {
		if len(r) > sigSigner && r[sigAlgorithm] == byte(k.alg) && binary.BigEndian.Uint16([]byte(r[sigTag:])) == k.tag {
			return true
		}
	}
	return false
}

// restore undoes what was done to NSEC3 records: they do not belong to the owners that
// were edited, but to names that have these hashes.
func (p *pass) restore(since zone.Savepoint) error {
	for _, owner := range slices.Collect(p.t.Touched(since)) {
		was, is := nsec3Of(p.before, owner), nsec3Of(p.t.View(), owner)
		if was.RRset.Equal(is.RRset) && was.Sigs.Equal(is.Sigs) {
			continue
		}
		if err := p.store(&unit{owner: owner, sets: []zone.Set{was}, hashed: true}); err != nil {
			return err
		}
	}
	return nil
}

// nsec3Of gives the NSEC3 RRset of an owner, and RRSIGs that say to be over it.
func nsec3Of(v zone.View, owner dnsname.Name) zone.Set {
	for _, s := range v.Sets(owner) {
		if s.Type == rrset.TypeNSEC3 {
			return s
		}
	}
	return zone.Set{}
}

// affected gives the names, in lower case, whose signatures or place in the chain may
// not be as they must, the apex always: those that were edited, those below one that
// has begun or ended to hide them, those that are due.
func (p *pass) affected(req Request) []dnsname.Name {
	names := map[dnsname.Name]struct{}{p.origin: {}}
	now := p.t.View()
	for n := range p.t.Touched(req.Since) {
		names[n] = struct{}{}
	}
	if p.All {
		for n := range now.Owners() {
			names[n] = struct{}{}
		}
	} else {
		for n := range maps.Clone(names) {
			if p.before.Hides(n) != now.Hides(n) {
				for below := range now.Below(n) {
					names[below] = struct{}{}
				}
			}
		}
		for _, n := range req.Due {
			if n.IsBelow(p.origin) {
				names[n.Fold()] = struct{}{}
			}
		}
	}
	return slices.Collect(maps.Keys(names))
}

// names are those that were affected, as they are without what is not to be.
type names struct {
	members []dnsname.Name // visible ones that have records
	others  []dnsname.Name // hidden ones and those that are gone
}

// tidy takes signatures and NSEC records away from names that are hidden or have
// nothing else.
func (p *pass) tidy(affected []dnsname.Name) (n names, err error) {
	view := p.t.View()
	for _, name := range affected {
		p.Names++
		sets := view.Sets(name)
		if len(sets) == 0 {
			n.others = append(n.others, name)
			continue
		}
		own := slices.ContainsFunc(sets, isOwn)
		if own && !view.Hidden(name) {
			n.members = append(n.members, name)
			continue
		}
		n.others = append(n.others, name)
		kept := sets[:0]
		for _, s := range sets {
			if s.Type == rrset.TypeNSEC {
				continue
			}
			if s.Type != rrset.TypeNSEC3 {
				s.Sigs = rrset.RRset{}
			}
			kept = append(kept, s)
		}
		if _, err := p.t.ReplaceName(name, kept); err != nil {
			return n, err
		}
	}
	return n, nil
}

// isDenial tells whether a set is part of a chain.
func isDenial(s zone.Set) bool { return s.Type == rrset.TypeNSEC || s.Type == rrset.TypeNSEC3 }

// isOwn tells whether a set is data of its owner and not made by a signer.
func isOwn(s zone.Set) bool { return !s.IsEmpty() && !isDenial(s) }

// types gives the types in the NSEC or NSEC3 bitmap of an owner but for RRSIG and
// NSEC: of a zone cut those that the zone has authority for, and NS (RFC 4035 §2.3,
// RFC 5155 §7.1).
func types(sets []zone.Set, cut bool) []uint16 {
	var list []uint16
	for _, s := range sets {
		if isOwn(s) && (!cut || s.Type == rrset.TypeNS || s.Type == rrset.TypeDS) {
			list = append(list, s.Type)
		}
	}
	return list
}

// chunk is how many owners are made ready, signed and stored at a time: few enough
// to need little memory, enough for many goroutines.
const chunk = 4096

// unit is an owner whose sets are being signed: all its records but NSEC3, or, if it
// is hashed, that one.
type unit struct {
	owner  dnsname.Name
	sets   []zone.Set
	hashed bool
}

// job is a signature to make.
type job struct {
	key *Key
	set *zone.Set
	sig string
	at  *unit
}

// each makes units of a list, signs them, and stores them, a chunk at a time.
func each[T any](p *pass, list []T, prepare func(T, *unit) error) error {
	for part := range slices.Chunk(list, chunk) {
		units := make([]unit, len(part))
		var jobs []job
		for i, item := range part {
			if err := prepare(item, &units[i]); err != nil {
				return err
			}
			jobs = p.jobs(&units[i], jobs)
		}
		if err := p.work(jobs); err != nil {
			return err
		}
		for i := range units {
			if err := p.store(&units[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// store puts the sets of a unit into the zone.
func (p *pass) store(u *unit) error {
	sets := u.sets
	for _, s := range p.t.View().Sets(u.owner) { // a hashed owner may be a name as well
		if u.hashed != (s.Type == rrset.TypeNSEC3) {
			sets = append(sets, s)
		}
	}
	_, err := p.t.ReplaceName(u.owner, sets)
	return err
}

// jobs puts those RRSIGs into the sets of a unit that stay, and appends the ones to
// make to list. What a zone cut has but DS and NSEC is not signed (RFC 4035 §2.2).
func (p *pass) jobs(u *unit, list []job) []job {
	view := p.t.View()
	cut := view.IsCut(u.owner)
	for i := range u.sets {
		s := &u.sets[i]
		sigs := rrset.RRset{Type: rrset.TypeRRSIG, TTL: s.TTL}
		switch {
		case s.IsEmpty():
			s.Sigs = rrset.RRset{}
			continue
		case s.Type == rrset.TypeNSEC3: // is no record of the name
		case cut && s.Type != rrset.TypeDS && s.Type != rrset.TypeNSEC:
			s.Sigs = rrset.RRset{}
			continue
		}
		sign, retired := p.keysFor(u.owner, s.Type)
		old, _ := p.before.Get(u.owner, s.Type)
		if !old.RRset.Equal(s.RRset) {
			old.Sigs = rrset.RRset{}
		}
		keep := func(k *Key) bool {
			for r := range old.Sigs.All() {
				if k.made(r, u.owner, s.RRset, p.now, int64(p.policy.Refresh/time.Second)) {
					if next, _, err := sigs.With(r); err == nil {
						sigs = next
						return true
					}
				}
			}
			return false
		}
		for _, k := range sign {
			if keep(k) {
				continue
			}
			if !slices.ContainsFunc(retired, func(r *Key) bool { return r.alg == k.alg && keep(r) }) {
				list = append(list, job{key: k, set: s, at: u})
			}
		}
		s.Sigs = sigs
	}
	return list
}

// few is how many signatures are made without other goroutines.
const few = 8

// work makes signatures and adds them to their sets.
func (p *pass) work(jobs []job) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	work := func() {
		for failed.Load() == nil {
			i := next.Add(1) - 1
			if i >= int64(len(jobs)) {
				return
			}
			j := &jobs[i]
			expiration := p.now + int64(p.policy.Validity/time.Second) - j.key.jitter(j.at.owner, j.set.Type, p.policy.Jitter)
			sig, err := j.key.sign(j.at.owner, j.set.RRset, p.now-int64(backdate/time.Second), expiration)
			if err != nil {
				failed.CompareAndSwap(nil, &err)
				return
			}
			j.sig = sig
		}
	}
	var others sync.WaitGroup
	if len(jobs) > few {
		for range min(p.policy.Workers, len(jobs)) - 1 {
			others.Go(work)
		}
	}
	work()
	others.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	for i := range jobs {
		j := &jobs[i]
		next, _, err := j.set.Sigs.With(j.sig)
		if err != nil {
			return err
		}
		j.set.Sigs = next
	}
	p.Signatures += len(jobs)
	return nil
}

// Strip takes out of a zone what Sign puts there: RRSIG, NSEC and NSEC3 records, and
// the DNSKEY, NSEC3PARAM, CDS and CDNSKEY RRsets of the apex. It costs what the whole
// zone does.
func Strip(t *zone.Txn) error {
	if err := stripAll(t); err != nil {
		return err
	}
	for _, typ := range []uint16{rrset.TypeDNSKEY, rrset.TypeNSEC3PARAM, rrset.TypeCDS, rrset.TypeCDNSKEY} {
		t.RemoveSet(t.Origin(), typ)
	}
	return nil
}

// stripAll takes the RRSIG, NSEC and NSEC3 records out of a zone.
func stripAll(t *zone.Txn) error {
	view := t.View()
	for owner := range view.Owners() {
		if err := strip(t, owner); err != nil {
			return err
		}
	}
	for set := range view.NSEC3s() {
		if err := strip(t, set.Owner); err != nil {
			return err
		}
	}
	return nil
}

// strip takes the RRSIG, NSEC and NSEC3 records of an owner out of a zone.
func strip(t *zone.Txn, owner dnsname.Name) error {
	sets := slices.DeleteFunc(t.View().Sets(owner), func(s zone.Set) bool { return !isOwn(s) })
	for i := range sets {
		sets[i].Sigs = rrset.RRset{}
	}
	_, err := t.ReplaceName(owner, sets)
	return err
}
