package rrset

import (
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
