// Package ddns decides dynamic updates (RFC 2136 §3.2 to §3.4): whether the
// prerequisites of a request hold, whether its update section is in order, and
// what that changes in a zone. It works on a zone.Txn; messages, the clock, and
// who asks are none of its business.
//
// A caller takes a savepoint of the Txn and asks its policy with the help of Types,
// so that who may not change the zone learns nothing about what is in it; then
// Prerequisites, then Prescan. Then Apply changes the Txn. Whatever fails, the
// request fails as a whole: after an error of Apply the caller goes back to its
// savepoint.
package ddns

import (
	"fmt"
	"iter"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Classes of the records of a request (RFC 2136 §1.3, §2.4, §2.5). The class of
// the zone is IN.
const (
	ClassINET uint16 = 1
	ClassNONE uint16 = 254
	ClassANY  uint16 = 255
)

// Response codes that an Error has (RFC 2136 §2.2).
const (
	RcodeFormErr  uint8 = 1
	RcodeNXDomain uint8 = 3
	RcodeRefused  uint8 = 5
	RcodeYXDomain uint8 = 6
	RcodeYXRRSet  uint8 = 7
	RcodeNXRRSet  uint8 = 8
	RcodeNotZone  uint8 = 10
)

// Record is a record of the prerequisite or the update section as it came.
type Record struct {
	Owner       dnsname.Name // in the letter case it came in
	Type, Class uint16
	TTL         uint32 // seconds
	RDATA       string // without compression; empty if RDLENGTH is 0

	// Max is, of a record to add, how many records its RRset may have through it,
	// the RRSIGs over each type counted for themselves; one that would make them
	// more is passed over. 0: any number. It is TYPE(n) of an update-policy.
	Max int
}

// Error says why a request fails. Its Rcode is one of the constants here.
type Error struct {
	Rcode uint8
	// Text names the record by section, number (from 1), owner and type, and says
	// what is wrong: "update 2: www.example.org. A: malformed RDATA".
	Text string
}

// Error gives the Text.
func (e *Error) Error() string { return e.Text }

// verdict is why a record fails a request; nil if it does not.
type verdict struct {
	rcode uint8
	why   string
}

// failed makes the error about record i of a section.
func (v *verdict) failed(section string, i int, r *Record) error {
	return &Error{v.rcode, fmt.Sprintf("%s %d: %s %s: %s", section, i+1, r.Owner, rrset.TypeString(r.Type), v.why)}
}

// Verdicts that are given in several places.
var (
	outOfZone = &verdict{RcodeNotZone, "owner is not in the zone"}
	hasTTL    = &verdict{RcodeFormErr, "TTL is not 0"}
	hasRDATA  = &verdict{RcodeFormErr, "RDATA where there must be none"}
	malformed = &verdict{RcodeFormErr, "malformed RDATA"}
	metaType  = &verdict{RcodeFormErr, "type cannot be in a zone"}
	noClass   = &verdict{RcodeFormErr, "class is none of IN, ANY and NONE"}
)

// sets goes through what a name of the zone has. NSEC3 RRs are left out, with the
// RRSIGs over them: their owners are no names of the zone (RFC 5155 §7.2.8).
func sets(txn *zone.Txn, owner dnsname.Name) iter.Seq[zone.Set] {
	return func(yield func(zone.Set) bool) {
		for s := range txn.Sets(owner) {
			if s.Type != rrset.TypeNSEC3 && !yield(s) {
				return
			}
		}
	}
}

// rdatas goes through the records of a type. Those of the type RRSIG stand with
// the RRsets that they cover.
func rdatas(txn *zone.Txn, owner dnsname.Name, typ uint16) iter.Seq[string] {
	return func(yield func(string) bool) {
		for s := range txn.Sets(owner) {
			set := s.RRset
			if typ == rrset.TypeRRSIG {
				set = s.Sigs
			} else if s.Type != typ {
				continue
			}
			for r := range set.All() {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// exists tells whether there is a record of a type.
func exists(txn *zone.Txn, owner dnsname.Name, typ uint16) bool {
	for range rdatas(txn, owner, typ) {
		return true
	}
	return false
}

// setOf gives the RRset that a record is in, or would be: of RRSIGs those over
// the same type.
func setOf(txn *zone.Txn, r *Record) rrset.RRset {
	of := r.Type
	if r.Type == rrset.TypeRRSIG {
		of = rrset.Covered(r.RDATA)
	}
	for s := range txn.Sets(r.Owner) {
		switch {
		case s.Type != of:
		case r.Type == rrset.TypeRRSIG:
			s.Sigs.Type = rrset.TypeRRSIG
			return s.Sigs
		default:
			return s.RRset
		}
	}
	return rrset.RRset{Type: r.Type}
}
