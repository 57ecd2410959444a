// Package zone is one authoritative zone as a value. A Snapshot is a version of
// a zone; it never changes, so any number of goroutines may answer from it
// without a lock. A Builder makes the first Snapshot of a zone, a Txn makes the
// next from the one before, sharing what did not change.
//
// What other servers keep in flags on every node and recompute after a change
// follows here from the index itself: keys are in canonical order and the key of
// a name is a prefix of the keys below it, so one descent towards a name meets
// every zone cut and DNAME above it, and an empty non-terminal is a prefix that
// has no entry. Nothing can go stale because nothing is derived.
package zone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/trie"
)

// Errors that say why records are no zone, or a record is not of one.
var (
	ErrNoSOA      = errors.New("no SOA record at the apex")
	ErrManySOA    = errors.New("more than one SOA record")
	ErrSOAPlace   = errors.New("SOA record below the apex")
	ErrOutOfZone  = errors.New("owner is not in the zone")
	ErrMetaType   = errors.New("type cannot be in a zone")
	ErrNSEC3      = errors.New("NSEC3 record whose owner is not one label below the apex")
	ErrCovers     = errors.New("RRSIG records in one set that cover different types")
	ErrIterations = fmt.Errorf("NSEC3 with more than %d iterations", MaxIterations)
)

// MaxIterations is the greatest number of additional NSEC3 iterations of a zone
// that is served: each costs a hash in every negative answer, and validators
// take zones with more for unsigned (RFC 9276 §3.2).
const MaxIterations = 150

// Snapshot is an immutable version of a zone. Its methods may be called
// concurrently.
type Snapshot struct {
	contents
	id     uint64
	origin dnsname.Name
	serial Serial
	soa    Set // as in the zone
	negTTL uint32
	nsec   bool
	nsec3  *nsec3Params
}

// contents is the part of a Snapshot that a Builder and a Txn work on.
type contents struct {
	names     trie.Trie // every owner but those of NSEC3 RRs
	hashes    trie.Trie // the owners of NSEC3 RRs: they are no names of the zone (RFC 5155 §7.2.8)
	wildcards int       // owners that have an asterisk label
	tally
}

// tally counts resource records.
type tally struct {
	records int
	proofs  int // RRSIG, NSEC and NSEC3 among them
}

// count adds the records of a set, so many times.
func (t *tally) count(s Set, times int) {
	t.records += times * (s.Len() + s.Sigs.Len())
	t.proofs += times * s.Sigs.Len()
	if s.Type == rrset.TypeNSEC || s.Type == rrset.TypeNSEC3 {
		t.proofs += times * s.Len()
	}
}

// lastID is the ID that was given last.
var lastID atomic.Uint64

// ID gives a number that no other Snapshot of the process has. It is never 0.
func (s *Snapshot) ID() uint64 { return s.id }

// newSnapshot checks that c is a zone.
func newSnapshot(origin dnsname.Name, c contents) (*Snapshot, error) {
	s := &Snapshot{contents: c, id: lastID.Add(1), origin: origin}
	apex := s.apex()
	soa, ok := apex.set(rrset.TypeSOA)
	switch {
	case !ok:
		return nil, ErrNoSOA
	case soa.Len() > 1:
		return nil, ErrManySOA
	}
	rdata := soa.First()
	numbers := []byte(rdata[len(rdata)-20:])
	s.soa = soa
	s.soa.Owner = apex.owner(origin)
	s.serial = Serial(binary.BigEndian.Uint32(numbers))
	s.negTTL = min(soa.TTL, binary.BigEndian.Uint32(numbers[16:]))
	s.nsec = apex.flags()&hasNSEC != 0
	var err error
	s.nsec3, err = s.findNSEC3()
	return s, err
}

func (c *contents) apex() node {
	v, _ := c.names.Get(nil)
	return node{val: v}
}

// Origin gives the apex of the zone.
func (s *Snapshot) Origin() dnsname.Name { return s.origin }

// Serial gives the serial of the SOA record.
func (s *Snapshot) Serial() Serial { return s.serial }

// SOA gives the SOA record and the RRSIGs over it.
func (s *Snapshot) SOA() Set { return s.soa }

// NegativeTTL gives the TTL of negative answers, in seconds (RFC 2308 §5, RFC 9077 §3).
func (s *Snapshot) NegativeTTL() uint32 { return s.negTTL }

// Records gives the number of resource records.
func (s *Snapshot) Records() int { return s.records }

// Proofs gives how many of the records are RRSIG, NSEC or NSEC3.
func (s *Snapshot) Proofs() int { return s.proofs }

// Names gives the number of owners; one that has NSEC3 and other records counts
// as two, as they are two in what they are for.
func (s *Snapshot) Names() int {
	return s.names.Len() + s.hashes.Len()
}

// All goes through all RRsets with the RRSIGs over them: SOA first, then in the
// canonical order of the owners, those of NSEC3 last. A set whose RRset is empty
// has RRSIGs that cover nothing that is there.
func (s *Snapshot) All() iter.Seq[Set] {
	return func(yield func(Set) bool) {
		if !yield(s.soa) {
			return
		}
		for _, t := range []trie.Trie{s.names, s.hashes} {
			for e := range t.All() {
				n := node{e.Key, e.Value}
				owner := n.owner(s.origin)
				for set := range n.sets() {
					if n.key == "" && set.Type == rrset.TypeSOA {
						continue
					}
					set.Owner = owner
					if !yield(set) {
						return
					}
				}
			}
		}
	}
}
