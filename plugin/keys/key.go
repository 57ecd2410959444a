package keys

import (
	"crypto/hmac"
	"crypto/sha1" // named in the Corefile only by those whose peers know nothing else
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/identity"
)

// algorithm is one of RFC 8945 §6.
type algorithm struct {
	name string // as in messages: in lower case, with the final dot
	wire string // in wire form
	size int    // of the MAC, in octets
	hash func() hash.Hash
}

var algorithms = []*algorithm{
	newAlgorithm(dns.HmacSHA1, sha1.New),
	newAlgorithm(dns.HmacSHA224, sha256.New224),
	newAlgorithm(dns.HmacSHA256, sha256.New),
	newAlgorithm(dns.HmacSHA384, sha512.New384),
	newAlgorithm(dns.HmacSHA512, sha512.New),
}

// defaultAlgorithm is the one of a key whose line does not name any.
const defaultAlgorithm = dns.HmacSHA256

func newAlgorithm(name string, hash func() hash.Hash) *algorithm {
	return &algorithm{name, string(dnsname.MustParse(name)), hash().Size(), hash}
}

// Errors about algorithms and secrets never hold what was written there: an
// argument at the wrong place may be the secret.
var (
	errUnknown = errors.New("the algorithm is none of hmac-sha1, hmac-sha224, hmac-sha256, hmac-sha384 and hmac-sha512")
	errMD5     = errors.New("hmac-md5 must not be used (RFC 8945 §6): make a new key with hmac-sha256")
	errCut     = errors.New("keys for truncated signatures, such as hmac-sha256-128, are not supported: make one with the algorithm alone")
	errBase64  = errors.New("the secret is not in Base64")
	errEmpty   = errors.New("the secret is empty")
	errName    = errors.New("the name of the key is not a domain name")
	errNoName  = errors.New("the name of the key is the root")
)

// findAlgorithm gives the algorithm of that name, with or without final dot.
func findAlgorithm(name string) (*algorithm, error) {
	name = strings.ToLower(strings.TrimSuffix(name, ".")) + "."
	for _, a := range algorithms {
		if name == a.name {
			return a, nil
		}
		if strings.HasPrefix(name, strings.TrimSuffix(a.name, ".")+"-") {
			return nil, errCut
		}
	}
	if strings.HasPrefix(name, "hmac-md5.") {
		return nil, errMD5
	}
	return nil, errUnknown
}

// key is a TSIG key. It is not changed after it was made.
type key struct {
	name      string // in lower case
	spelled   string // in the letter case of the configuration
	owner     string // the name in wire form and lower case
	algorithm *algorithm
	secret    []byte
	place     string // file:line
	room      int    // size of a TSIG record of a response, at most, in octets
}

// newKey makes a key of what a Corefile or key file says. Errors do not have
// the secret in them, nor the name, which may be the secret if the two were swapped.
func newKey(name, algorithm, secret, place string) (*key, error) {
	n, err := dnsname.Parse(name, dnsname.Root)
	if err != nil {
		return nil, errName
	}
	if n == dnsname.Root {
		return nil, errNoName
	}
	k := &key{owner: string(n.Fold()), place: place}
	if k.algorithm, err = findAlgorithm(algorithm); err != nil {
		return nil, err
	}
	if k.secret, err = base64.StdEncoding.DecodeString(secret); err != nil {
		return nil, errBase64
	}
	if len(k.secret) == 0 {
		return nil, errEmpty
	}
	// The library's spelling, because it is what requests are compared with.
	if k.spelled, _, err = dns.UnpackDomainName([]byte(n), 0); err != nil {
		return nil, errName
	}
	k.name = dns.CanonicalName(k.spelled)
	k.room = k.identity().SignatureSize()
	return k, nil
}

// minSecret is the length below which a secret gets a warning, in octets.
const minSecret = 16

// weakness gives what a warning is to say about the key, or "".
func (k *key) weakness() string {
	if len(k.secret) >= minSecret {
		return ""
	}
	return fmt.Sprintf("the secret of key %q has %d octets: it should have at least %d, and best %d", k.name, len(k.secret), minSecret, k.algorithm.size)
}

// encoded gives the secret as the library takes it.
func (k *key) encoded() string { return base64.StdEncoding.EncodeToString(k.secret) }

// identity gives who signs with this key.
func (k *key) identity() identity.Identity {
	return identity.Identity{Key: k.name, Algorithm: k.algorithm.name}
}

// equal tells whether the keys are interchangeable.
func (k *key) equal(other *key) bool {
	return k.owner == other.owner && k.algorithm == other.algorithm && hmac.Equal(k.secret, other.secret)
}
