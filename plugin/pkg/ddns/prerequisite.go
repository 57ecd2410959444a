package ddns

import (
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Prerequisites tells whether the prerequisite section holds for the zone as it
// is in txn (RFC 2136 §3.2). The records are looked at in their order and the
// first that fails decides; RRsets that are to exist with certain values are
// compared after that, as sets without their TTLs. An error is an *Error with
// FORMERR, NOTZONE, NXDOMAIN, YXDOMAIN, NXRRSET or YXRRSET. Nothing is changed.
func Prerequisites(txn *zone.Txn, list []Record) error {
	var w wanted
	for i := range list {
		if v := w.prerequisite(txn, i, &list[i]); v != nil {
			return v.failed("prerequisite", i, &list[i])
		}
	}
	for _, s := range w.sets {
		if !s.equals(txn) {
			v := verdict{RcodeNXRRSet, "RRset does not exist with these values"}
			return v.failed("prerequisite", s.at, &list[s.at])
		}
	}
	return nil
}

// prerequisite is the body of the loop of RFC 2136 §3.2.5.
func (w *wanted) prerequisite(txn *zone.Txn, i int, r *Record) *verdict {
	switch {
	case r.TTL != 0:
		return hasTTL
	case !r.Owner.IsBelow(txn.Origin()):
		return outOfZone
	case r.Class != ClassINET && r.Class != ClassANY && r.Class != ClassNONE:
		return noClass
	case r.Class != ClassINET && r.RDATA != "":
		return hasRDATA
	case rrset.IsMeta(r.Type) && (r.Type != rrset.TypeANY || r.Class == ClassINET):
		return metaType
	}
	switch {
	case r.Class == ClassINET: // RFC 2136 §2.4.2
		if !wellFormed(r.Type, r.RDATA) {
			return malformed
		}
		w.add(i, r)
	case r.Type == rrset.TypeANY:
		switch used := inUse(txn, r.Owner); {
		case r.Class == ClassANY && !used: // RFC 2136 §2.4.4
			return &verdict{RcodeNXDomain, "name is not in use"}
		case r.Class == ClassNONE && used: // RFC 2136 §2.4.5
			return &verdict{RcodeYXDomain, "name is in use"}
		}
	default:
		switch there := exists(txn, r.Owner, r.Type); {
		case r.Class == ClassANY && !there: // RFC 2136 §2.4.1
			return &verdict{RcodeNXRRSet, "RRset does not exist"}
		case r.Class == ClassNONE && there: // RFC 2136 §2.4.3
			return &verdict{RcodeYXRRSet, "RRset exists"}
		}
	}
	return nil
}

// inUse tells whether a name owns a record. An empty non-terminal does not, and
// wildcards are not expanded.
func inUse(txn *zone.Txn, owner dnsname.Name) bool {
	for range sets(txn, owner) {
		return true
	}
	return false
}

// wanted is the RRsets that are to exist with certain values: temp of RFC 2136
// §3.2.5.
type wanted struct {
	sets []*wantedSet // in the order in which they were first named
	byID map[id]*wantedSet
}

// id names an RRset. The owner is in lower case.
type id struct {
	owner        dnsname.Name
	typ, covered uint16 // covered: of the RRSIGs over one type
}

type wantedSet struct {
	id
	at     int                 // the record that named it first
	values map[string]struct{} // RDATA in canonical form
}

func (w *wanted) add(i int, r *Record) {
	if w.byID == nil {
		w.byID = make(map[id]*wantedSet)
	}
	of := id{owner: r.Owner.Fold(), typ: r.Type}
	s := w.byID[of]
	if s == nil {
		s = &wantedSet{of, i, make(map[string]struct{})}
		w.byID[of] = s
		w.sets = append(w.sets, s)
	}
	s.values[string(rrset.AppendCanonical(nil, r.Type, r.RDATA))] = struct{}{}
}

// equals tells whether the zone has all the values and no other.
func (s *wantedSet) equals(txn *zone.Txn) bool {
	n := 0
	for r := range rdatas(txn, s.owner, s.typ) {
		if _, ok := s.values[string(rrset.AppendCanonical(nil, s.typ, r))]; !ok {
			return false
		}
		n++
	}
	return n == len(s.values)
}
