package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// Algorithm is the number of a DNSSEC algorithm (RFC 8624 §3.1). Those that are not
// named here cannot be signed with.
type Algorithm uint8

// The algorithms there are.
const (
	RSASHA256       Algorithm = 8  // RFC 5702; Generate makes keys of 2048 bits
	ECDSAP256SHA256 Algorithm = 13 // RFC 6605
	ECDSAP384SHA384 Algorithm = 14 // RFC 6605
	ED25519         Algorithm = 15 // RFC 8080
)

// String gives the mnemonic of the algorithm.
func (a Algorithm) String() string {
	switch a {
	case RSASHA256:
		return "RSASHA256"
	case ECDSAP256SHA256:
		return "ECDSAP256SHA256"
	case ECDSAP384SHA384:
		return "ECDSAP384SHA384"
	case ED25519:
		return "ED25519"
	default:
		return fmt.Sprintf("algorithm %d", uint8(a))
	}
}

// Role is what a key signs.
type Role uint8

// The roles of keys.
const (
	CSK Role = iota // the whole zone
	KSK             // the DNSKEY, CDS and CDNSKEY RRsets
	ZSK             // all other RRsets
)

// String gives the abbreviation of the role.
func (r Role) String() string {
	switch r {
	case CSK:
		return "CSK"
	case KSK:
		return "KSK"
	case ZSK:
		return "ZSK"
	default:
		return fmt.Sprintf("role %d", uint8(r))
	}
}

// Errors of keys.
var (
	ErrAlgorithm = errors.New("algorithm that cannot be signed with")
	ErrKey       = errors.New("key that is not of its algorithm")
	ErrRole      = errors.New("role that does not go with the SEP flag of the key")
)

// Flags of a DNSKEY record (RFC 4034 §2.1.1), and its protocol.
const (
	flagZone = 0x0100
	flagSEP  = 0x0001
	protocol = 3
)

// RSA keys that are signed with, in bits.
const (
	rsaBits    = 2048
	minRSABits = 1024
	maxRSABits = 4096
)

// Key is a key of a zone. It never changes, and may be used concurrently if its
// crypto.Signer may.
type Key struct {
	zone   dnsname.Name // in lower case
	role   Role
	alg    Algorithm
	rdata  string // of the DNSKEY record
	tag    uint16
	signer crypto.Signer
}

// Generate makes a key with random numbers of the system. The error wraps
// ErrAlgorithm.
func Generate(zone dnsname.Name, alg Algorithm, role Role) (*Key, error) {
	var signer crypto.Signer
	var err error
	switch alg {
	case RSASHA256:
		signer, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case ECDSAP256SHA256:
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384SHA384:
		signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case ED25519:
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = ErrAlgorithm
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", alg, err)
	}
	return NewKey(zone, alg, role, signer)
}

// NewKey makes a key of a zone of what signs with it, which may be in a device of
// its own. signer is used by several goroutines at a time, and must give ASN.1 for
// ECDSA, as crypto.Signer says. The error wraps ErrAlgorithm, or ErrKey if signer is
// not of that algorithm.
func NewKey(zone dnsname.Name, alg Algorithm, role Role, signer crypto.Signer) (*Key, error) {
	public, err := encodePublic(alg, signer.Public())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", alg, err)
	}
	flags := uint16(flagZone)
	if role != ZSK {
		flags |= flagSEP
	}
	k := &Key{zone: zone.Fold(), role: role, alg: alg, signer: signer}
	k.rdata = string([]byte{byte(flags >> 8), byte(flags), protocol, byte(alg)}) + public
	k.tag = rrset.KeyTag(k.rdata)
	return k, nil
}

// encodePublic gives the public key field of a DNSKEY record: RFC 3110 §2, RFC 6605
// §4, RFC 8080 §3.
func encodePublic(alg Algorithm, public crypto.PublicKey) (string, error) {
	switch alg {
	case RSASHA256:
		p, ok := public.(*rsa.PublicKey)
		if !ok || p.N.BitLen() < minRSABits || p.N.BitLen() > maxRSABits || p.E < 3 {
			return "", ErrKey
		}
		e := big.NewInt(int64(p.E)).Bytes() // 8 octets at most: one octet tells how many
		return string(byte(len(e))) + string(e) + string(p.N.Bytes()), nil
	case ECDSAP256SHA256, ECDSAP384SHA384:
		p, ok := public.(*ecdsa.PublicKey)
		if !ok || p.Curve != curve(alg) {
			return "", ErrKey
		}
		point, err := p.Bytes() // 4, x, y
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrKey, err)
		}
		return string(point[1:]), nil
	case ED25519:
		p, ok := public.(ed25519.PublicKey)
		if !ok || len(p) != ed25519.PublicKeySize {
			return "", ErrKey
		}
		return string(p), nil
	default:
		return "", ErrAlgorithm
	}
}

// curve gives that of an ECDSA algorithm.
func curve(alg Algorithm) elliptic.Curve {
	if alg == ECDSAP384SHA384 {
		return elliptic.P384()
	}
	return elliptic.P256()
}

// Zone gives the zone that the key is of, in lower case.
func (k *Key) Zone() dnsname.Name { return k.zone }

// Algorithm gives the algorithm of the key.
func (k *Key) Algorithm() Algorithm { return k.alg }

// Role tells what the key is to sign.
func (k *Key) Role() Role { return k.role }

// As gives the key with another role: keys of files are KSK or ZSK, and what is a
// CSK says who keeps them. The error is ErrRole if the SEP flag of the key, which is
// for KSK and CSK, is not that of the role.
func (k *Key) As(role Role) (*Key, error) {
	if (role == ZSK) != (k.role == ZSK) {
		return nil, ErrRole
	}
	other := *k
	other.role = role
	return &other, nil
}

// Tag gives the key tag (RFC 4034 Appendix B). Two keys may have the same.
func (k *Key) Tag() uint16 { return k.tag }

// DNSKEY gives the RDATA of the DNSKEY record, which is that of the CDNSKEY record as
// well (RFC 7344 §3.2).
func (k *Key) DNSKEY() string { return k.rdata }

// digestSHA256 is the number of a digest (RFC 4509 §5).
const digestSHA256 = 2

// DS gives the RDATA of the DS record of the key with a SHA-256 digest (RFC 4509),
// which is that of the CDS record as well (RFC 7344 §3.1).
func (k *Key) DS() string {
	d := sha256.Sum256([]byte(string(k.zone) + k.rdata))
	return string([]byte{byte(k.tag >> 8), byte(k.tag), byte(k.alg), digestSHA256}) + string(d[:])
}

// String gives the key as messages name it: zone, algorithm, key tag.
func (k *Key) String() string { return fmt.Sprintf("%s/%s/%d", k.zone, k.alg, k.tag) }

// signsKeys and signsData tell which RRsets the key is for.
func (k *Key) signsKeys() bool { return k.role != ZSK }
func (k *Key) signsData() bool { return k.role != KSK }
