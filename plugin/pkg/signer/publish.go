package signer

import (
	"slices"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Publish makes a zone that was edited one whose answers are signed as they are made:
// it puts the DNSKEY, CDS and CDNSKEY RRsets that the policy and the keys want at the
// apex, and takes RRSIG, NSEC, NSEC3 and NSEC3PARAM records out. since is a state of the
// transaction: if the zone was Published then, it costs what was edited after it, and
// what the whole zone does if not.
//
// The serial is the caller's. The error is rrset.ErrTooLong; after one the transaction
// is good for nothing but a Rollback to a point before.
func (s *Signer) Publish(t *zone.Txn, since zone.Savepoint) error {
	if s.Published(t.At(since)) {
		for _, owner := range slices.Collect(t.Touched(since)) {
			if err := strip(t, owner); err != nil {
				return err
			}
		}
	} else if err := stripAll(t); err != nil {
		return err
	}
	for _, set := range s.published() {
		if _, err := t.Replace(s.origin, set); err != nil {
			return err
		}
	}
	return nil
}

// Published tells whether a zone is as Publish leaves it. It looks at the apex and for
// NSEC3 records alone.
func (s *Signer) Published(v zone.View) bool {
	for _, want := range s.published() {
		if have, _ := v.Get(s.origin, want.Type); !have.IsEmpty() || !want.IsEmpty() {
			if !have.Equal(want) {
				return false
			}
		}
	}
	soa, _ := v.Get(s.origin, rrset.TypeSOA)
	_, chained := v.Get(s.origin, rrset.TypeNSEC)
	_, hashed := v.NSEC3After(s.origin)
	return soa.Sigs.IsEmpty() && !chained && !hashed
}

// published gives what the apex is to have; empty RRsets it must not have.
func (s *Signer) published() []rrset.RRset {
	sets := slices.Clone(s.apex)
	for i := range sets {
		if sets[i].Type == rrset.TypeNSEC3PARAM {
			sets[i] = rrset.RRset{Type: rrset.TypeNSEC3PARAM}
		}
	}
	return sets
}
