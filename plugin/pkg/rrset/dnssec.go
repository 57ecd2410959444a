package rrset

import (
	"encoding/binary"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// Signature is what an RRSIG record says besides the signature itself (RFC 4034
// §3.1).
type Signature struct {
	Covered    uint16
	Algorithm  uint8
	Labels     uint8  // of the owner, without the root and the asterisk of a wildcard
	TTL        uint32 // of the covered RRset, in seconds
	Expiration uint32 // seconds since 1970, in serial arithmetic (RFC 1982)
	Inception  uint32 // likewise
	Tag        uint16 // of the key
	Signer     dnsname.Name
}

// sigFixed is how many octets stand before the name of the signer.
const sigFixed = 18

// ParseSignature reads the RDATA of an RRSIG record. Signer shares its memory; ok
// is false if it is malformed.
func ParseSignature(rdata string) (s Signature, ok bool) {
	if len(rdata) < sigFixed {
		return Signature{}, false
	}
	n := dnsname.Len(rdata[sigFixed:])
	if n == 0 {
		return Signature{}, false
	}
	b := []byte(rdata[:sigFixed])
	return Signature{
		Covered:    binary.BigEndian.Uint16(b),
		Algorithm:  b[2],
		Labels:     b[3],
		TTL:        binary.BigEndian.Uint32(b[4:]),
		Expiration: binary.BigEndian.Uint32(b[8:]),
		Inception:  binary.BigEndian.Uint32(b[12:]),
		Tag:        binary.BigEndian.Uint16(b[16:]),
		Signer:     dnsname.Name(rdata[sigFixed : sigFixed+n]),
	}, true
}

// KeyTag gives the tag of the RDATA of a DNSKEY record (RFC 4034 Appendix B), but
// for algorithm 1, which nobody may use (RFC 8624 §3.1).
func KeyTag(rdata string) uint16 {
	var sum uint32
	for i := range len(rdata) {
		if i&1 == 0 {
			sum += uint32(rdata[i]) << 8
		} else {
			sum += uint32(rdata[i])
		}
	}
	return uint16(sum + sum>>16)
}
