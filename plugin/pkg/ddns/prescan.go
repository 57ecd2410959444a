package ddns

import (
	"fmt"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Prescan tells whether the whole update section can be for the zone with that
// origin (RFC 2136 §3.4.1). The first record that cannot decides. An error is an
// *Error with NOTZONE, FORMERR, or REFUSED: NSEC and NSEC3 follow from the rest
// of a zone, and NSEC3PARAM with more iterations than zone.MaxIterations is for
// no server. If the zone is signed here, whatever follows from its keys is refused as
// well. Concurrent calls are allowed.
func Prescan(origin dnsname.Name, list []Record, signed bool) error {
	for i := range list {
		v := prescan(origin, &list[i])
		if v == nil && signed && followsFromKeys(list[i].Type) {
			v = &verdict{RcodeRefused, "is made from the keys of the zone, which the server keeps"}
		}
		if v != nil {
			return v.failed("update", i, &list[i])
		}
	}
	return nil
}

// prescan is the body of the loop of RFC 2136 §3.4.1.3.
func prescan(origin dnsname.Name, r *Record) *verdict {
	if !r.Owner.IsBelow(origin) {
		return outOfZone
	}
	switch r.Class {
	case ClassINET: // add: RFC 2136 §2.5.1
		if rrset.IsMeta(r.Type) {
			return metaType
		}
	case ClassANY: // delete an RRset or all of them: RFC 2136 §2.5.2, §2.5.3
		switch {
		case r.TTL != 0:
			return hasTTL
		case r.RDATA != "":
			return hasRDATA
		case rrset.IsMeta(r.Type) && r.Type != rrset.TypeANY:
			return metaType
		}
	case ClassNONE: // delete a record: RFC 2136 §2.5.4
		switch {
		case r.TTL != 0:
			return hasTTL
		case rrset.IsMeta(r.Type):
			return metaType
		}
	default:
		return noClass
	}
	switch {
	case r.Type == rrset.TypeNSEC || r.Type == rrset.TypeNSEC3: // as BIND
		return &verdict{RcodeRefused, "is not for requestors to change"}
	case r.Class != ClassANY && !wellFormed(r.Type, r.RDATA):
		return malformed
	case r.Class == ClassINET && r.Type == rrset.TypeNSEC3PARAM && iterations(r.RDATA) > zone.MaxIterations: // RFC 9276 §3.2
		return &verdict{RcodeRefused, fmt.Sprintf("more than %d iterations", zone.MaxIterations)}
	}
	return nil
}

// followsFromKeys tells whether records of a type are made by a server that signs the
// zone itself.
func followsFromKeys(typ uint16) bool {
	switch typ {
	case rrset.TypeRRSIG, rrset.TypeDNSKEY, rrset.TypeNSEC3PARAM, rrset.TypeCDS, rrset.TypeCDNSKEY:
		return true
	default:
		return false
	}
}

// iterations reads NSEC3PARAM RDATA (RFC 5155 §4.2), which is well formed.
func iterations(rdata string) int { return int(rdata[2])<<8 | int(rdata[3]) }

// WKS RDATA starts with an address and a protocol, which tell the records of an
// RRset apart (RFC 1035 §3.4.2).
const (
	typeWKS uint16 = 11
	wksKey  int    = 5 // octets of address and protocol
)

// wellFormed tells whether RDATA is what its type demands. What nothing is known
// of may be anything.
func wellFormed(typ uint16, rdata string) bool {
	switch typ {
	case rrset.TypeA:
		return len(rdata) == 4
	case rrset.TypeAAAA:
		return len(rdata) == 16
	case rrset.TypeTXT:
		return areStrings(rdata)
	case typeWKS:
		return len(rdata) >= wksKey
	}
	if rrset.Check(typ, rdata) != nil {
		return false
	}
	switch typ {
	case rrset.TypeNS, rrset.TypeCNAME, rrset.TypePTR, rrset.TypeDNAME, rrset.TypeMX, rrset.TypeSRV, rrset.TypeSOA:
		return true // names and numbers, all of which Check has seen
	}
	rr, err := rrset.ToRR(".", typ, 0, rdata)
	if err != nil {
		return false
	}
	// RDATA that ends where a field begins is taken for one whose other fields are
	// zero, and comes back longer.
	_, back, err := rrset.FromRR(rr)
	return err == nil && len(back) <= len(rdata) && meaningful(typ, rdata)
}

// Types whose opaque fields cannot be anything.
const (
	typeLOC    uint16 = 29
	typeSSHFP  uint16 = 44
	typeTLSA   uint16 = 52
	typeSMIMEA uint16 = 53
	typeCAA    uint16 = 257
)

// digests has the octets of the digests of DS records, by digest type (IANA DS RR
// Type Digest Algorithms).
var digests = map[byte]int{1: 20, 2: 32, 3: 32, 4: 48}

// meaningful tells whether the fields of RDATA that has all of them can be what
// they are, as BIND has it: no key, digest or tag is empty, a digest is as long as
// its type says, and a size is two digits.
func meaningful(typ uint16, rdata string) bool {
	switch typ {
	case rrset.TypeDS, rrset.TypeCDS: // RFC 4034 §5.1, RFC 8078 §4
		if n, known := digests[rdata[3]]; known {
			return len(rdata) == 4+n
		}
		return len(rdata) > 4
	case rrset.TypeDNSKEY, rrset.TypeCDNSKEY: // RFC 4034 §2.1
		return len(rdata) > 4
	case typeTLSA, typeSMIMEA: // RFC 6698 §2.1
		return len(rdata) > 3
	case typeSSHFP: // RFC 4255 §3.1
		return len(rdata) > 2
	case typeCAA: // RFC 8659 §4.1
		return rdata[1] > 0 && len(rdata) >= 2+int(rdata[1])
	case typeLOC: // RFC 1876 §2
		for _, c := range []byte(rdata[1:4]) {
			if c>>4 > 9 || c&0xf > 9 {
				return false
			}
		}
	}
	return true
}

// areStrings tells whether RDATA is one or more character strings (RFC 1035
// §3.3.14).
func areStrings(rdata string) bool {
	at := 0
	for at < len(rdata) {
		at += 1 + int(rdata[at])
	}
	return at == len(rdata) && at > 0
}
