package cookie

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/dchest/siphash"
)

// SecretSize is the size of a secret, in octets.
const SecretSize = 16

// Secret is a key of SipHash-2-4 that server cookies are made with (RFC 9018 §4.4).
type Secret [SecretSize]byte

// String does not give the secret away.
func (Secret) String() string { return "(secret)" }

// GoString does not give the secret away.
func (Secret) GoString() string { return "(secret)" }

var errSecret = errors.New("want a secret of 32 hexadecimal digits")

// ParseSecret reads 32 hexadecimal digits, as BIND and NSD have them, or with 0x
// in front as Knot DNS has them. The error does not hold the text.
func ParseSecret(text string) (Secret, error) {
	var s Secret
	text = strings.TrimPrefix(text, "0x")
	if len(text) != 2*SecretSize {
		return Secret{}, errSecret
	}
	if _, err := hex.Decode(s[:], []byte(text)); err != nil {
		return Secret{}, errSecret // the other names an octet of it
	}
	return s, nil
}

// ParseSecrets reads a file of secrets: one on each line. Empty lines do not count,
// and lines that begin with #. There must be one, and none twice. Errors name the
// line and hold nothing of it.
func ParseSecrets(data []byte) ([]Secret, error) {
	var list []Secret
	n := 0
	for line := range bytes.Lines(data) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		s, err := ParseSecret(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		for _, other := range list {
			if other == s {
				return nil, fmt.Errorf("line %d: the secret is there already", n)
			}
		}
		list = append(list, s)
	}
	if len(list) == 0 {
		return nil, errors.New("there is no secret")
	}
	return list, nil
}

// Parts of the content of a COOKIE option, in octets (RFC 7873 §4, RFC 9018 §4).
const (
	clientSize = 8
	serverSize = 16
	headSize   = 8 // of a server cookie: version, reserved, timestamp
	minOption  = clientSize + 8
	maxOption  = clientSize + 32
	version    = 1
)

// OptionSize is the size of the content of an option that is made here, in octets: a
// client cookie and a server cookie.
const OptionSize = clientSize + serverSize

// Ages of a server cookie, in seconds (RFC 9018 §4.3).
const (
	maxAge    = 3600 // older ones are not taken
	maxAhead  = 300  // nor those that are made so much later than now
	renewedAt = 1800 // older ones are replaced
)

// ErrMalformed says that an option has a length that none has: other than 8 and 16
// to 40 octets. The request gets FORMERR (RFC 7873 §5.2.2).
var ErrMalformed = errors.New("malformed COOKIE option")

// Secrets is a set of secrets: one makes cookies, all are tried to check one. So
// several servers with one address can change their secret in three stages (RFC
// 9018 §5): all know the new one, then make cookies with it, then forget the old
// one. A set is immutable, its methods may be called concurrently.
type Secrets struct {
	keys []key // the first makes cookies
}

// key is a secret as SipHash takes it.
type key [2]uint64

// NewSecrets makes a set of a secret that makes cookies and any number of others
// whose cookies are taken, too. Each costs some ten nanoseconds for a cookie that no
// one before it has made.
func NewSecrets(sign Secret, verify ...Secret) *Secrets {
	s := &Secrets{keys: make([]key, 0, 1+len(verify))}
	for _, secret := range append([]Secret{sign}, verify...) {
		s.keys = append(s.keys, key{binary.LittleEndian.Uint64(secret[:]), binary.LittleEndian.Uint64(secret[8:])})
	}
	return s
}

// Handle checks the content of the COOKIE option of a request that has come from an
// address at a time, in seconds since 1970. It gives Client, Invalid or Valid, and
// what the option of the response has in it, appended to dst, which must not overlap
// with the option. An IPv4-mapped address is the IPv4 address, a zone does not count;
// an address that is not valid gets no option, and never has a valid one. With
// ErrMalformed, dst comes back as it is.
//
// A valid cookie goes back to the client as it is if the first secret has made it at
// most half an hour ago, and is replaced otherwise. RFC 9018 §4.3 asks for no more,
// and it costs one hash where a new one each time, as BIND has it, costs two; the
// client has half an hour left at least. Knot DNS does the same.
func (s *Secrets) Handle(option []byte, addr netip.Addr, now uint32, dst []byte) (Result, []byte, error) {
	size := len(option)
	if size != clientSize && (size < minOption || size > maxOption) {
		return None, dst, ErrMalformed
	}
	result := Client
	if size > clientSize {
		result = Invalid
	}
	if !addr.IsValid() {
		return result, dst, nil
	}
	// What is hashed: the client cookie, the server cookie without its hash, the address.
	var buf [clientSize + headSize + 16]byte
	in := buf[:clientSize+headSize+4]
	copy(in, option[:clientSize])
	if addr = addr.Unmap(); addr.Is4() {
		a := addr.As4()
		copy(in[clientSize+headSize:], a[:])
	} else {
		a := addr.As16()
		in = buf[:]
		copy(in[clientSize+headSize:], a[:])
	}
	head := in[clientSize : clientSize+headSize]
	if size == OptionSize && option[clientSize] == version {
		copy(head, option[clientSize:]) // the reserved octets as they came (RFC 9018 §4.2)
		age := int32(now - binary.BigEndian.Uint32(head[4:]))
		if age >= -maxAhead && age <= maxAge {
			for i := range s.keys {
				if subtle.ConstantTimeCompare(s.keys[i].sum(in), option[clientSize+headSize:]) != 1 {
					continue
				}
				if i == 0 && age <= renewedAt && head[1]|head[2]|head[3] == 0 {
					return Valid, append(dst, option...), nil
				}
				result = Valid
				break
			}
		}
	}
	head[0], head[1], head[2], head[3] = version, 0, 0, 0
	binary.BigEndian.PutUint32(head[4:], now)
	dst = append(dst, in[:clientSize+headSize]...)
	return result, append(dst, s.keys[0].sum(in)...), nil
}

// sum gives the hash at the end of a server cookie.
func (k key) sum(in []byte) []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, 0, 8), siphash.Hash(k[0], k[1], in))
}
