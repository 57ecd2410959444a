package signer

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/big"
	"slices"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// backdate is how long before the time of signing signatures are valid, for
// validators whose clock is late.
const backdate = time.Hour

// Where the fields of an RRSIG record stand (RFC 4034 §3.1).
const (
	sigAlgorithm  = 2
	sigLabels     = 3
	sigTTL        = 4
	sigExpiration = 8
	sigInception  = 12
	sigTag        = 16
	sigSigner     = 18
)

// Sign gives the RDATA of an RRSIG record over an RRset (RFC 4034 §3), whatever the
// role of the key. owner may be in any letter case. inception and expiration, which is
// less than 68 years later, are cut to seconds. The error is one of the crypto.Signer.
func (k *Key) Sign(owner dnsname.Name, set rrset.RRset, inception, expiration time.Time) (string, error) {
	return k.sign(owner, set, inception.Unix(), expiration.Unix())
}

// sign is Sign with expiration and inception as seconds since 1970.
func (k *Key) sign(owner dnsname.Name, set rrset.RRset, inception, expiration int64) (string, error) {
	var room [512]byte
	b := binary.BigEndian.AppendUint16(room[:0], set.Type)
	b = append(b, byte(k.alg), labels(owner))
	b = binary.BigEndian.AppendUint32(b, set.TTL)
	b = binary.BigEndian.AppendUint32(b, uint32(expiration))
	b = binary.BigEndian.AppendUint32(b, uint32(inception))
	b = binary.BigEndian.AppendUint16(b, k.tag)
	b = append(b, k.zone...)
	head := len(b)
	sig, err := k.signature(appendSigned(b, owner, set))
	if err != nil {
		return "", fmt.Errorf("%s: %w", k, err)
	}
	return string(append(b[:head:head], sig...)), nil
}

// labels gives the value of the Labels field (RFC 4034 §3.1.3).
func labels(owner dnsname.Name) byte {
	n := owner.Labels()
	if owner.IsWildcard() {
		n--
	}
	return byte(n)
}

// appendSigned appends the records of a set in canonical form and order (RFC 4034
// §6) to dst.
func appendSigned(dst []byte, owner dnsname.Name, set rrset.RRset) []byte {
	var room [dnsname.MaxLen + 8]byte
	head := dnsname.AppendFold(room[:0], owner)
	head = binary.BigEndian.AppendUint16(head, set.Type)
	head = append(head, 0, 1) // class IN
	head = binary.BigEndian.AppendUint32(head, set.TTL)
	add := func(canonical string) {
		dst = append(dst, head...)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(canonical)))
		dst = append(dst, canonical...)
	}
	var one [512]byte
	if set.Len() == 1 {
		add(string(rrset.AppendCanonical(one[:0], set.Type, set.First())))
		return dst
	}
	list := make([]string, 0, set.Len())
	for r := range set.All() {
		list = append(list, string(rrset.AppendCanonical(one[:0], set.Type, r)))
	}
	slices.Sort(list)
	for _, r := range slices.Compact(list) {
		add(r)
	}
	return dst
}

// signature gives the signature field over data: RFC 5702 §3, RFC 6605 §4, RFC 8080
// §4.
func (k *Key) signature(data []byte) ([]byte, error) {
	switch k.alg {
	case ED25519:
		return k.signer.Sign(rand.Reader, data, crypto.Hash(0))
	case ECDSAP384SHA384:
		d := sha512.Sum384(data)
		return k.ecdsa(d[:], crypto.SHA384, 48)
	case ECDSAP256SHA256:
		d := sha256.Sum256(data)
		return k.ecdsa(d[:], crypto.SHA256, 32)
	default:
		d := sha256.Sum256(data)
		return k.signer.Sign(rand.Reader, d[:], crypto.SHA256)
	}
}

// ecdsa gives an ECDSA signature as two numbers of size octets.
func (k *Key) ecdsa(digest []byte, hash crypto.Hash, size int) ([]byte, error) {
	der, err := k.signer.Sign(rand.Reader, digest, hash)
	if err != nil {
		return nil, err
	}
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &sig); err != nil || len(rest) > 0 || sig.R.Sign() < 0 || sig.S.Sign() < 0 ||
		sig.R.BitLen() > 8*size || sig.S.BitLen() > 8*size {
		return nil, fmt.Errorf("%w: not an ECDSA signature", ErrKey)
	}
	b := make([]byte, 2*size)
	sig.R.FillBytes(b[:size])
	sig.S.FillBytes(b[size:])
	return b, nil
}

// jitter gives an offset of less than most, in seconds, that is always the same for
// an RRset and a key.
func (k *Key) jitter(owner dnsname.Name, typ uint16, most time.Duration) int64 {
	if most < time.Second {
		return 0
	}
	h := fnv.New64a()
	var room [dnsname.MaxLen + 4]byte
	b := dnsname.AppendFold(room[:0], owner)
	b = binary.BigEndian.AppendUint16(b, typ)
	_, _ = h.Write(binary.BigEndian.AppendUint16(b, k.tag))
	return int64(h.Sum64() % uint64(most/time.Second))
}

// expires gives the expiration of an RRSIG in seconds since 1970: the one that is
// within 68 years of now (RFC 4034 §3.1.5).
func expires(rdata string, now int64) int64 { return near(rdata, sigExpiration, now) }

func near(rdata string, field int, now int64) int64 {
	return now + int64(int32(binary.BigEndian.Uint32([]byte(rdata[field:field+4]))-uint32(now)))
}

// made tells whether an RRSIG is one of the key over an RRset that looks as this
// one does, and in use: its inception is past and its expiration later than by
// refresh.
func (k *Key) made(rdata string, owner dnsname.Name, set rrset.RRset, now, refresh int64) bool {
	if len(rdata) <= sigSigner+len(k.zone) || !dnsname.EqualFold(rdata[sigSigner:sigSigner+len(k.zone)], k.zone) {
		return false
	}
	b := []byte(rdata[:sigSigner])
	return rrset.Covered(b) == set.Type && b[sigAlgorithm] == byte(k.alg) && b[sigLabels] == labels(owner) &&
		binary.BigEndian.Uint32(b[sigTTL:]) == set.TTL && binary.BigEndian.Uint16(b[sigTag:]) == k.tag &&
		near(rdata, sigInception, now) <= now && expires(rdata, now)-now > refresh
}
