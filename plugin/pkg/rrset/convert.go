package rrset

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// FromRR takes a record of miekg/dns apart: its owner, in the letter case it
// has, and its RDATA without compression. An error tells that the record
// cannot be packed.
func FromRR(rr dns.RR) (owner dnsname.Name, rdata string, err error) {
	buf := make([]byte, dns.Len(rr)+dnsname.MaxLen)
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", rr.Header().Name, err)
	}
	n := dnsname.Len(buf[:end])
	if n == 0 || n+10 > end {
		return "", "", fmt.Errorf("%s: %w", rr.Header().Name, errLayout)
	}
	return dnsname.Name(buf[:n]), string(buf[n+10 : end]), nil
}

// TypeString gives the mnemonic of a type, or TYPE and its number (RFC 3597 §5).
func TypeString(typ uint16) string { return dns.Type(typ).String() }

// ErrMalformed is returned by ToRR for RDATA that its type does not allow.
var ErrMalformed = errors.New("malformed RDATA")

// ToRR makes a record of miekg/dns. An error wraps ErrMalformed: the RDATA is
// not what the type demands.
func ToRR(owner string, typ uint16, ttl uint32, rdata string) (dns.RR, error) {
	hdr := dns.RR_Header{Name: owner, Rrtype: typ, Class: dns.ClassINET, Ttl: ttl, Rdlength: uint16(len(rdata))}
	switch {
	case typ == TypeA && len(rdata) == 4:
		return &dns.A{Hdr: hdr, A: []byte(rdata)}, nil
	case typ == TypeAAAA && len(rdata) == 16:
		return &dns.AAAA{Hdr: hdr, AAAA: []byte(rdata)}, nil
	}
	if len(rdata) == 0 {
		// miekg/dns takes a record without RDATA for one of a dynamic update.
		if _, known := dns.TypeToRR[typ]; known && typ != dns.TypeNULL && typ != dns.TypeAPL {
			return nil, fmt.Errorf("%w: %s record without data", ErrMalformed, dns.Type(typ))
		}
	}
	rr, off, err := dns.UnpackRRWithHeader(hdr, []byte(rdata), 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %s record: %w", ErrMalformed, dns.Type(typ), err)
	}
	if off != len(rdata) {
		return nil, fmt.Errorf("%w: %s record with %d octets too many", ErrMalformed, dns.Type(typ), len(rdata)-off)
	}
	return rr, nil
}

// AppendRRs appends the records of s under that owner to dst. When they are
// packed without compression their RDATA is that of s, to the octet: where the
// type of miekg/dns would not have that, as with RDATA that ends early, the
// record is one of unknown type (RFC 3597). The records share no memory that can
// be written to with s or with each other.
func AppendRRs(dst []dns.RR, owner string, s RRset) []dns.RR {
	hdr := dns.RR_Header{Name: owner, Rrtype: s.Type, Class: dns.ClassINET, Ttl: s.TTL}
	switch s.Type {
	case TypeA:
		return appendA(dst, hdr, s)
	case TypeAAAA:
		return appendAAAA(dst, hdr, s)
	}
	for off := 0; off < len(s.data); {
		var rdata string
		rdata, off = s.Next(off)
		hdr.Rdlength = uint16(len(rdata))
		rr := fast(hdr, rdata)
		if rr == nil {
			var err error
			if rr, err = ToRR(owner, s.Type, s.TTL, rdata); err != nil || !packsTo(rr, rdata) {
				rr = unknown(hdr, rdata)
			}
		}
		dst = append(dst, rr)
	}
	return dst
}

// unknown makes a record that carries any RDATA.
func unknown(hdr dns.RR_Header, rdata string) dns.RR {
	return &dns.RFC3597{Hdr: hdr, Rdata: hex.EncodeToString([]byte(rdata))}
}

// packsTo tells whether that is the RDATA of the record when it is packed.
func packsTo(rr dns.RR, rdata string) bool {
	const header = 11 // of a record at the root
	h := rr.Header()
	owner := h.Name
	h.Name = "."
	buf := make([]byte, header+len(rdata))
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	h.Name = owner
	return err == nil && string(buf[header:end]) == rdata
}

// appendA makes the records of an RRset and their addresses in one piece.
func appendA(dst []dns.RR, hdr dns.RR_Header, s RRset) []dns.RR {
	type record struct {
		dns.A
		addr [4]byte
	}
	records := make([]record, s.n)
	i := 0
	for off := 0; off < len(s.data); i++ {
		var rdata string
		rdata, off = s.Next(off)
		r := &records[i]
		r.Hdr = hdr
		r.Hdr.Rdlength = uint16(len(rdata))
		if len(rdata) != len(r.addr) {
			dst = append(dst, unknown(r.Hdr, rdata))
			continue
		}
		copy(r.addr[:], rdata)
		r.A.A = r.addr[:]
		dst = append(dst, &r.A)
	}
	return dst
}

// appendAAAA is appendA for AAAA.
func appendAAAA(dst []dns.RR, hdr dns.RR_Header, s RRset) []dns.RR {
	type record struct {
		dns.AAAA
		addr [16]byte
	}
	records := make([]record, s.n)
	i := 0
	for off := 0; off < len(s.data); i++ {
		var rdata string
		rdata, off = s.Next(off)
		r := &records[i]
		r.Hdr = hdr
		r.Hdr.Rdlength = uint16(len(rdata))
		if len(rdata) != len(r.addr) {
			dst = append(dst, unknown(r.Hdr, rdata))
			continue
		}
		copy(r.addr[:], rdata)
		r.AAAA.AAAA = r.addr[:]
		dst = append(dst, &r.AAAA)
	}
	return dst
}

// fast makes the records that most answers are made of. It gives nil for other
// types and for RDATA that is not what its type demands.
func fast(hdr dns.RR_Header, rdata string) dns.RR {
	l := layoutOf(hdr.Rrtype)
	if int(l.fixed) > len(rdata) {
		return nil
	}
	names := rdata[l.fixed:]
	number := func(at int) uint16 { return uint16(rdata[at])<<8 | uint16(rdata[at+1]) }
	switch hdr.Rrtype {
	case TypeNS:
		if n, ok := target(names); ok {
			return &dns.NS{Hdr: hdr, Ns: n}
		}
	case TypeCNAME:
		if n, ok := target(names); ok {
			return &dns.CNAME{Hdr: hdr, Target: n}
		}
	case TypePTR:
		if n, ok := target(names); ok {
			return &dns.PTR{Hdr: hdr, Ptr: n}
		}
	case TypeDNAME:
		if n, ok := target(names); ok {
			return &dns.DNAME{Hdr: hdr, Target: n}
		}
	case TypeMX:
		if n, ok := target(names); ok {
			return &dns.MX{Hdr: hdr, Preference: number(0), Mx: n}
		}
	case TypeSRV:
		if n, ok := target(names); ok {
			return &dns.SRV{Hdr: hdr, Priority: number(0), Weight: number(2), Port: number(4), Target: n}
		}
	case TypeSOA:
		return soa(hdr, rdata)
	case TypeTXT:
		return txt(hdr, rdata)
	case TypeDS:
		if len(rdata) > 4 {
			return &dns.DS{Hdr: hdr, KeyTag: number(0), Algorithm: rdata[2], DigestType: rdata[3], Digest: hex.EncodeToString([]byte(rdata[4:]))}
		}
	case TypeRRSIG:
		return rrsig(hdr, rdata)
	}
	return nil
}

// target reads RDATA, or the end of it, that is one name.
func target(rdata string) (string, bool) {
	if n := dnsname.Len(rdata); n == 0 || n != len(rdata) {
		return "", false
	}
	return dnsname.Name(rdata).String(), true
}

func soa(hdr dns.RR_Header, rdata string) dns.RR {
	from, to, _ := Names(TypeSOA, rdata)
	if from == to || len(rdata) != to+20 {
		return nil
	}
	second := dnsname.Len(rdata)
	number := func(i int) uint32 {
		b := rdata[to+4*i : to+4*i+4]
		return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	}
	return &dns.SOA{
		Hdr: hdr, Ns: dnsname.Name(rdata[:second]).String(), Mbox: dnsname.Name(rdata[second:to]).String(),
		Serial: number(0), Refresh: number(1), Retry: number(2), Expire: number(3), Minttl: number(4),
	}
}

// txt makes a TXT record whose strings are parts of rdata; it leaves those that
// need escapes to miekg/dns.
func txt(hdr dns.RR_Header, rdata string) dns.RR {
	n := 0
	for i := 0; i < len(rdata); n++ {
		end := i + 1 + int(rdata[i])
		if end > len(rdata) {
			return nil
		}
		for i++; i < end; i++ {
			if c := rdata[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
				return nil
			}
		}
	}
	if n == 0 {
		return nil
	}
	parts := make([]string, 0, n)
	for i := 0; i < len(rdata); {
		end := i + 1 + int(rdata[i])
		parts = append(parts, rdata[i+1:end])
		i = end
	}
	return &dns.TXT{Hdr: hdr, Txt: parts}
}

func rrsig(hdr dns.RR_Header, rdata string) dns.RR {
	from, to, _ := Names(TypeRRSIG, rdata)
	if from == to || to == len(rdata) {
		return nil
	}
	b := []byte(rdata)
	return &dns.RRSIG{
		Hdr: hdr, TypeCovered: binary.BigEndian.Uint16(b), Algorithm: b[2], Labels: b[3],
		OrigTtl: binary.BigEndian.Uint32(b[4:]), Expiration: binary.BigEndian.Uint32(b[8:]), Inception: binary.BigEndian.Uint32(b[12:]),
		KeyTag: binary.BigEndian.Uint16(b[16:]), SignerName: dnsname.Name(rdata[from:to]).String(),
		Signature: base64.StdEncoding.EncodeToString(b[to:]),
	}
}
