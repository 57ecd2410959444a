package ddns

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Limits bound what an update may make of a zone.
type Limits struct {
	// RRset is how many records an RRset may have after a request that made it
	// larger, the RRSIGs over each type counted for themselves; 0: any number.
	RRset int
}

// Types gives the types of the records that a record of the update section is
// about, as the zone is now: what a policy must allow. For one that deletes all
// RRsets of a name that is what the name has, in ascending order, with RRSIG if
// it has any and without NSEC3, which stays; at the apex it has SOA and NS, which
// stay too. For all others it is the type of the record.
func Types(txn *zone.Txn, r Record) []uint16 {
	if r.Class != ClassANY || r.Type != rrset.TypeANY {
		return []uint16{r.Type}
	}
	var types []uint16
	signed := false
	for s := range sets(txn, r.Owner) {
		if !s.IsEmpty() {
			types = append(types, s.Type)
		}
		signed = signed || !s.Sigs.IsEmpty()
	}
	if signed {
		types = append(types, rrset.TypeRRSIG)
		slices.Sort(types)
	}
	return types
}

// Apply makes the changes of the update section, one record after the other
// (RFC 2136 §3.4.2). The list has passed Prescan. What a rule of the DNS does not
// let in or out is passed over and is no error. The serial changes only if the
// list has a SOA record with a later one. An error is an *Error with REFUSED: an
// RRset would be larger than limits or any message allow, or a record may not
// stand where it should. Then part of the changes were made.
func Apply(txn *zone.Txn, list []Record, limits Limits) error {
	before := limits.measure(txn, list)
	for i := range list {
		r := &list[i]
		switch r.Class {
		case ClassINET:
			set := setOf(txn, r)
			if passedOver(txn, r, set) {
				continue
			}
			if err := add(txn, r, set); err != nil {
				v := verdict{RcodeRefused, err.Error()}
				return v.failed("update", i, r)
			}
		case ClassANY:
			removeSet(txn, r)
		case ClassNONE:
			remove(txn, r)
		}
	}
	for i := range list {
		r := &list[i]
		had, ok := before[idOf(r)]
		if !ok || r.Class != ClassINET {
			continue
		}
		delete(before, idOf(r))
		if n := setOf(txn, r).Len(); n > limits.RRset && n > had {
			v := verdict{RcodeRefused, fmt.Sprintf("RRset of %d records where %d are allowed", n, limits.RRset)}
			return v.failed("update", i, r)
		}
	}
	return nil
}

// measure gives the numbers of records in the RRsets that a list adds to; nil if
// there is no limit to them.
func (l Limits) measure(txn *zone.Txn, list []Record) map[id]int {
	if l.RRset <= 0 {
		return nil
	}
	before := make(map[id]int)
	for i := range list {
		if r := &list[i]; r.Class == ClassINET {
			if _, ok := before[idOf(r)]; !ok {
				before[idOf(r)] = setOf(txn, r).Len()
			}
		}
	}
	return before
}

// idOf names the RRset that a record is in.
func idOf(r *Record) id {
	of := id{owner: r.Owner.Fold(), typ: r.Type}
	if r.Type == rrset.TypeRRSIG {
		of.covered = rrset.Covered(r.RDATA)
	}
	return of
}

// passedOver tells whether a record is not to be added, without a word to the
// requestor. set is the RRset it would be in.
func passedOver(txn *zone.Txn, r *Record, set rrset.RRset) bool {
	apex := r.Owner.Equal(txn.Origin())
	if !besideCNAME(r.Type) && r.Type != rrset.TypeCNAME && exists(txn, r.Owner, rrset.TypeCNAME) {
		return true // RFC 2136 §3.4.2.2
	}
	switch r.Type {
	case rrset.TypeCNAME: // RFC 2136 §3.4.2.2
		for s := range sets(txn, r.Owner) {
			if !s.IsEmpty() && s.Type != rrset.TypeCNAME && !besideCNAME(s.Type) {
				return true
			}
		}
	case rrset.TypeSOA: // RFC 2136 §3.4.2.2: the same serial is not greater either
		return !apex || !serial(r.RDATA).After(serial(set.First()))
	case rrset.TypeNS: // undefined at a wildcard (RFC 4592 §4.2), unless that is the zone
		return r.Owner.IsWildcard() && !apex
	case rrset.TypeDNAME: // RFC 4592 §4.4
		return r.Owner.IsWildcard()
	case rrset.TypeDS: // is the parent's (RFC 4035 §2.4)
		return apex
	case rrset.TypeMD, rrset.TypeMF: // obsolete (RFC 1035 §3.3.4, §3.3.5)
		return true
	}
	return false
}

// besideCNAME tells whether records of a type may stand beside a CNAME (RFC 2181
// §10.1, RFC 4035 §2.5).
func besideCNAME(typ uint16) bool {
	return typ == rrset.TypeRRSIG || typ == rrset.TypeNSEC || typ == rrset.TypeKEY
}

// add adds a record to the RRset that it belongs to (RFC 2136 §3.4.2.2), all of
// which gets its TTL (RFC 2181 §5.2). What is there in other letter case stays as
// it is.
func add(txn *zone.Txn, r *Record, set rrset.RRset) error {
	next := set
	for old := range set.All() {
		if replaces(r.Type, r.RDATA, old) && !same(r.Type, r.RDATA, old) {
			next, _ = next.Without(old)
		}
	}
	next, _, err := next.With(r.RDATA)
	if err != nil {
		return err
	}
	if r.Max > 0 && next.Len() > r.Max && next.Len() > set.Len() {
		return nil
	}
	ttl := r.TTL
	if ttl >= 1<<31 { // RFC 2181 §8
		ttl = 0
	}
	_, err = txn.Replace(r.Owner, next.WithTTL(ttl))
	return err
}

// replaces tells whether a record takes the place of an old one of its type.
func replaces(typ uint16, rdata, old string) bool {
	switch typ {
	case rrset.TypeCNAME, rrset.TypeSOA: // RFC 2136 §3.4.2.2
		return true
	case rrset.TypeDNAME: // RFC 6672 §5.2
		return true
	case typeWKS: // RFC 2136 §3.4.2.2
		return strings.HasPrefix(old, rdata[:wksKey])
	case rrset.TypeNSEC3PARAM: // the same chain with other flags, as BIND
		return len(old) == len(rdata) && old[0] == rdata[0] && old[2:] == rdata[2:]
	}
	return false
}

// same tells whether two RDATA of a type are equal in canonical form.
func same(typ uint16, a, b string) bool {
	return string(rrset.AppendCanonical(nil, typ, a)) == string(rrset.AppendCanonical(nil, typ, b))
}

// serial reads SOA RDATA, which is well formed.
func serial(rdata string) zone.Serial {
	return zone.Serial(binary.BigEndian.Uint32([]byte(rdata[len(rdata)-20:])))
}

// removeSet deletes an RRset, or all of a name (RFC 2136 §3.4.2.3).
func removeSet(txn *zone.Txn, r *Record) {
	apex := r.Owner.Equal(txn.Origin())
	stays := func(typ uint16) bool { return apex && (typ == rrset.TypeSOA || typ == rrset.TypeNS) }
	if r.Type != rrset.TypeANY {
		if !stays(r.Type) {
			txn.RemoveSet(r.Owner, r.Type)
		}
		return
	}
	whole := true
	for s := range txn.Sets(r.Owner) {
		whole = whole && s.Type != rrset.TypeNSEC3 && !stays(s.Type)
	}
	if whole {
		txn.RemoveName(r.Owner)
		return
	}
	for s := range sets(txn, r.Owner) {
		if stays(s.Type) && !s.IsEmpty() {
			continue
		}
		if !s.IsEmpty() {
			txn.RemoveSet(r.Owner, s.Type)
		}
		for sig := range s.Sigs.All() {
			txn.Remove(r.Owner, rrset.TypeRRSIG, sig)
		}
	}
}

// remove deletes a record (RFC 2136 §3.4.2.4).
func remove(txn *zone.Txn, r *Record) {
	if r.Owner.Equal(txn.Origin()) {
		switch {
		case r.Type == rrset.TypeSOA:
			return
		case r.Type == rrset.TypeNS && setOf(txn, r).Len() == 1: // the last one
			return
		}
	}
	txn.Remove(r.Owner, r.Type, r.RDATA)
}
