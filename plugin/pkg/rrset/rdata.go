package rrset

import (
	"fmt"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// Numbers of the RR types that have rules of their own (IANA DNS parameters).
const (
	TypeA          uint16 = 1
	TypeNS         uint16 = 2
	TypeMD         uint16 = 3
	TypeMF         uint16 = 4
	TypeCNAME      uint16 = 5
	TypeSOA        uint16 = 6
	TypeMB         uint16 = 7
	TypeMG         uint16 = 8
	TypeMR         uint16 = 9
	TypePTR        uint16 = 12
	TypeMINFO      uint16 = 14
	TypeMX         uint16 = 15
	TypeTXT        uint16 = 16
	TypeRP         uint16 = 17
	TypeAFSDB      uint16 = 18
	TypeRT         uint16 = 21
	TypeNSAPPTR    uint16 = 23
	TypeSIG        uint16 = 24
	TypeKEY        uint16 = 25
	TypePX         uint16 = 26
	TypeAAAA       uint16 = 28
	TypeNXT        uint16 = 30
	TypeSRV        uint16 = 33
	TypeNAPTR      uint16 = 35
	TypeKX         uint16 = 36
	TypeDNAME      uint16 = 39
	TypeOPT        uint16 = 41
	TypeDS         uint16 = 43
	TypeRRSIG      uint16 = 46
	TypeNSEC       uint16 = 47
	TypeDNSKEY     uint16 = 48
	TypeNSEC3      uint16 = 50
	TypeNSEC3PARAM uint16 = 51
	TypeTALINK     uint16 = 58
	TypeCDS        uint16 = 59
	TypeCDNSKEY    uint16 = 60
	TypeLP         uint16 = 107
	TypeNXNAME     uint16 = 128
	TypeTKEY       uint16 = 249
	TypeTSIG       uint16 = 250
	TypeIXFR       uint16 = 251
	TypeAXFR       uint16 = 252
	TypeMAILB      uint16 = 253
	TypeMAILA      uint16 = 254
	TypeANY        uint16 = 255
	TypeSVCB       uint16 = 64
	TypeHTTPS      uint16 = 65
)

// IsMeta tells whether a type can only be asked for, or stands only in
// messages, and never in a zone: OPT, 0, and 128 to 255 (RFC 6895 §3.1).
func IsMeta(typ uint16) bool {
	return typ == 0 || typ == TypeOPT || typ >= 128 && typ <= 255
}

// layout says where names stand in the RDATA of a type: fixed octets, then
// character strings, then names, then tail opaque octets.
type layout struct {
	fixed    uint8
	strings  uint8
	names    uint8
	tail     uint8 // anyTail: any number
	compress bool  // the names may be compressed in a message (RFC 3597 §4)
	fold     bool  // the names are in lower case in canonical form (RFC 4034 §6.2, RFC 6840 §5.1)
}

const anyTail = 255

// layouts holds the types with names in their RDATA. Types without an entry
// are opaque.
var layouts = map256{
	TypeNS:    {names: 1, compress: true, fold: true},
	TypeMD:    {names: 1, compress: true, fold: true},
	TypeMF:    {names: 1, compress: true, fold: true},
	TypeCNAME: {names: 1, compress: true, fold: true},
	TypeSOA:   {names: 2, tail: 20, compress: true, fold: true},
	TypeMB:    {names: 1, compress: true, fold: true},
	TypeMG:    {names: 1, compress: true, fold: true},
	TypeMR:    {names: 1, compress: true, fold: true},
	TypePTR:   {names: 1, compress: true, fold: true},
	TypeMINFO: {names: 2, compress: true, fold: true},
	TypeMX:    {fixed: 2, names: 1, compress: true, fold: true},
	TypeRP:    {names: 2, fold: true},
	TypeAFSDB: {fixed: 2, names: 1, fold: true},
	TypeRT:    {fixed: 2, names: 1, fold: true},
	TypeSIG:   {fixed: 18, names: 1, tail: anyTail, fold: true},
	TypePX:    {fixed: 2, names: 2, fold: true},
	TypeNXT:   {names: 1, tail: anyTail, fold: true},
	TypeSRV:   {fixed: 6, names: 1, fold: true},
	TypeNAPTR: {fixed: 4, strings: 3, names: 1, fold: true},
	TypeKX:    {fixed: 2, names: 1, fold: true},
	TypeDNAME: {names: 1, fold: true},
	TypeRRSIG: {fixed: 18, names: 1, tail: anyTail, fold: true},
	TypeNSEC:  {names: 1, tail: anyTail},
	TypeSVCB:  {fixed: 2, names: 1, tail: anyTail},
	TypeHTTPS: {fixed: 2, names: 1, tail: anyTail},
	TypeLP:    {fixed: 2, names: 1},

	TypeNSAPPTR: {names: 1},
	TypeTALINK:  {names: 2},
}

// map256 is indexed by type; a type above 255 has no entry.
type map256 [256]layout

var errLayout = fmt.Errorf("%w: octets missing or left over, or a malformed name", ErrMalformed)

func layoutOf(typ uint16) layout {
	if typ < uint16(len(layouts)) {
		return layouts[typ]
	}
	return layout{}
}

// Names gives the range of octets in the RDATA of a type where its names
// stand, one after another, and whether a message may hold them compressed.
// from equals to where there are none or the RDATA is malformed.
func Names[T ~string | ~[]byte](typ uint16, rdata T) (from, to int, compress bool) {
	l := layoutOf(typ)
	if l.names == 0 {
		return 0, 0, false
	}
	at := int(l.fixed)
	for range l.strings {
		if at >= len(rdata) {
			return 0, 0, false
		}
		at += 1 + int(rdata[at])
	}
	from = at
	for range l.names {
		if at >= len(rdata) {
			return 0, 0, false
		}
		n := dnsname.Len(rdata[at:])
		if n == 0 {
			return 0, 0, false
		}
		at += n
	}
	return from, at, l.compress
}

// Name gives the first name in the RDATA of a type, or "" if there is none. It
// shares the memory of rdata.
func Name(typ uint16, rdata string) dnsname.Name {
	from, to, _ := Names(typ, rdata)
	if from == to {
		return ""
	}
	return dnsname.Name(rdata[from : from+dnsname.Len(rdata[from:to])])
}

// AppendCanonical appends the canonical form of RDATA (RFC 4034 §6.2 as changed
// by RFC 6840 §5.1) to dst: names in lower case where the type wants it.
func AppendCanonical(dst []byte, typ uint16, rdata string) []byte {
	if !layoutOf(typ).fold {
		return append(dst, rdata...)
	}
	from, to, _ := Names(typ, rdata)
	dst = append(dst, rdata[:from]...)
	dst = dnsname.AppendFold(dst, rdata[from:to])
	return append(dst, rdata[to:]...)
}

// Check tells whether the RDATA of a type with names is as long as the type
// demands, with its names where they belong; the error wraps ErrMalformed. RDATA
// of other types passes.
func Check[T ~string | ~[]byte](typ uint16, rdata T) error {
	l := layoutOf(typ)
	if l.names == 0 {
		return nil
	}
	from, to, _ := Names(typ, rdata)
	if from == to || l.tail != anyTail && len(rdata) != to+int(l.tail) {
		return errLayout
	}
	return nil
}

// Covered gives the type that the RDATA of an RRSIG covers (RFC 4034 §3.1.1),
// or 0 if it is too short.
func Covered[T ~string | ~[]byte](rdata T) uint16 {
	if len(rdata) < 2 {
		return 0
	}
	return uint16(rdata[0])<<8 | uint16(rdata[1])
}
