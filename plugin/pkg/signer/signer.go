package signer

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// Errors of New.
var (
	ErrNoKey    = errors.New("no key signs")
	ErrZone     = errors.New("key is of another zone")
	ErrSameTag  = errors.New("two keys with the same algorithm and key tag")
	ErrUnsigned = errors.New("algorithm of a DNSKEY record that does not sign everything") // RFC 4035 §2.2
	ErrPolicy   = errors.New("policy that signatures cannot be kept by")
	ErrLong     = errors.New("zone whose name leaves no room for hashed owners")
)

// DefaultValidity is the Validity of a Policy that says nothing.
const DefaultValidity = 14 * 24 * time.Hour

// Policy is how a zone is signed. The zero value is NSEC and the durations given
// below.
type Policy struct {
	// Validity is how long from the time of signing a signature is valid, at most;
	// 0: 14 days. It is less than 68 years.
	Validity time.Duration
	// Refresh is how long before its expiration a signature is made anew; 0: 5 days. It
	// is less than Validity without Jitter.
	Refresh time.Duration
	// Jitter is by how much less than Validity a signature may be valid, so that those
	// made at a time are not all made anew at a time; 0: 12 hours; less than a second:
	// none. How much depends on owner, type and key alone.
	Jitter time.Duration
	// KeyTTL is the TTL of the DNSKEY, CDS and CDNSKEY RRsets, in seconds; 0: 3600.
	KeyTTL uint32
	// NSEC3 makes an NSEC3 chain, without salt and additional iterations (RFC 9276
	// §3.1), instead of NSEC.
	NSEC3 bool
	// OptOut leaves delegations without DS out of the NSEC3 chain (RFC 5155 §6). Empty
	// non-terminals above them stay in it. It goes with NSEC3 only.
	OptOut bool
	// Withdraw puts CDS and CDNSKEY records at the apex that ask the parent to remove all
	// DS records (RFC 8078 §4), for a zone that is to be unsigned. It goes with keys of
	// which none has Submit.
	Withdraw bool
	// Workers is how many goroutines make signatures where there are many to make; 0: as
	// many as there are processors.
	Workers int
}

// Use is a key and what it is used for at present. Whoever keeps the keys decides it.
type Use struct {
	*Key
	Publish bool // its DNSKEY record is in the zone
	Sign    bool // signatures are made with it
	// Retire lets signatures over the data of the zone of a key that does not sign it any
	// longer stay, in the place of one of a key of the same algorithm that signs, until
	// they are to be refreshed or the records change (RFC 6781 §4.1.1.1). The key is a ZSK
	// or CSK without Sign, or a KSK, with Sign or without, that was a CSK before. When it
	// ends the key goes out of the zone with it, or the next request has All: else
	// signatures stay.
	Retire bool
	Submit bool // CDS and CDNSKEY records ask the parent for a DS record of it (RFC 7344 §4)
}

// Signer keeps a zone signed with some keys by a policy. It never changes, and may be
// used concurrently for different transactions.
type Signer struct {
	origin  dnsname.Name // in lower case
	policy  Policy
	keys    []*Key // sign the DNSKEY, CDS and CDNSKEY RRsets
	data    []*Key // sign the others
	retired []*Key
	apex    []rrset.RRset // what New has the apex have; empty ones it must not have
}

// New makes the signer of a zone. The error wraps ErrNoKey, ErrZone, ErrSameTag,
// ErrUnsigned, ErrPolicy, ErrLong, or rrset.ErrTooLong for too many keys.
func New(origin dnsname.Name, policy Policy, uses []Use) (*Signer, error) {
	s := &Signer{origin: origin.Fold(), policy: policy}
	if err := s.policy.complete(); err != nil {
		return nil, err
	}
	if policy.NSEC3 && len(origin)+hashLabel > dnsname.MaxLen {
		return nil, ErrLong
	}
	dnskey := rrset.RRset{Type: rrset.TypeDNSKEY}
	cds, cdnskey := rrset.RRset{Type: rrset.TypeCDS}, rrset.RRset{Type: rrset.TypeCDNSKEY}
	add := func(set *rrset.RRset, rdata string) (err error) {
		*set, _, err = set.With(rdata)
		return err
	}
	for i, u := range uses {
		if u.zone != s.origin {
			return nil, fmt.Errorf("%s: %w", u.Key, ErrZone)
		}
		for _, other := range uses[:i] {
			if other.alg == u.alg && other.tag == u.tag {
				return nil, fmt.Errorf("%s: %w", u.Key, ErrSameTag)
			}
		}
		if u.Sign && u.signsKeys() {
			s.keys = append(s.keys, u.Key)
		}
		if u.Sign && u.signsData() {
			s.data = append(s.data, u.Key)
		}
		if u.Retire && !(u.Sign && u.signsData()) {
			s.retired = append(s.retired, u.Key)
		}
		var err error
		if u.Publish {
			err = add(&dnskey, u.DNSKEY())
		}
		if u.Submit && err == nil {
			if err = add(&cds, u.DS()); err == nil {
				err = add(&cdnskey, u.DNSKEY())
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if policy.Withdraw {
		if !cds.IsEmpty() {
			return nil, fmt.Errorf("%w: DS records to be removed, and one to be set", ErrPolicy)
		}
		for set, rdata := range map[*rrset.RRset]string{&cds: deleteCDS, &cdnskey: deleteCDNSKEY} {
			if err := add(set, rdata); err != nil {
				return nil, err
			}
		}
	}
	if len(s.keys) == 0 || len(s.data) == 0 {
		return nil, ErrNoKey
	}
	for r := range dnskey.All() {
		if alg := Algorithm(r[3]); !has(s.keys, alg) || !has(s.data, alg) {
			return nil, fmt.Errorf("%s: %w", alg, ErrUnsigned)
		}
	}
	param := rrset.RRset{Type: rrset.TypeNSEC3PARAM}
	if policy.NSEC3 {
		if err := add(&param, nsec3param); err != nil {
			return nil, err
		}
	}
	ttl := s.policy.KeyTTL
	s.apex = []rrset.RRset{dnskey.WithTTL(ttl), param, cds.WithTTL(ttl), cdnskey.WithTTL(ttl)}
	return s, nil
}

// The records that ask for the removal of all DS records: 0 0 0 00 and 0 3 0 AA==.
const (
	deleteCDS     = "\x00\x00\x00\x00\x00"
	deleteCDNSKEY = "\x00\x00\x03\x00\x00"
)

// Check tells what is wrong with the policy. The error wraps ErrPolicy.
func (p Policy) Check() error { return p.complete() }

// complete puts what 0 stands for into a policy, and checks it.
func (p *Policy) complete() error {
	for _, d := range []struct {
		field *time.Duration
		zero  time.Duration
	}{{&p.Validity, DefaultValidity}, {&p.Refresh, 5 * 24 * time.Hour}, {&p.Jitter, 12 * time.Hour}} {
		if *d.field == 0 {
			*d.field = d.zero
		}
	}
	if p.KeyTTL == 0 {
		p.KeyTTL = 3600
	}
	if p.Workers <= 0 {
		p.Workers = runtime.GOMAXPROCS(0)
	}
	switch {
	case p.Validity >= 1<<31*time.Second-backdate, p.Refresh < 0, p.Jitter < 0, p.Refresh >= p.Validity-p.Jitter:
		return fmt.Errorf("%w: refresh must be less than validity without jitter: validity %s, refresh %s, jitter %s", ErrPolicy, p.Validity, p.Refresh, p.Jitter)
	case p.OptOut && !p.NSEC3:
		return fmt.Errorf("%w: opt-out without NSEC3", ErrPolicy)
	}
	return nil
}

// has tells whether there is a key of an algorithm.
func has(keys []*Key, alg Algorithm) bool {
	for _, k := range keys {
		if k.alg == alg {
			return true
		}
	}
	return false
}

// keysFor gives the keys that sign the RRset of a type, and those whose signatures
// may stay.
func (s *Signer) keysFor(owner dnsname.Name, typ uint16) (sign, retired []*Key) {
	switch typ {
	case rrset.TypeDNSKEY, rrset.TypeCDS, rrset.TypeCDNSKEY:
		if len(owner) == len(s.origin) {
			return s.keys, nil
		}
	}
	return s.data, s.retired
}
