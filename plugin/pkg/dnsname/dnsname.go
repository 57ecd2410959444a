// Package dnsname holds domain names in uncompressed wire form (RFC 1035
// §3.1): a string of length-prefixed labels that ends with the zero octet of
// the root. A name in this form needs no escapes, compares cheaply and can be
// copied into a message as it is.
//
// Comparing and ordering ignore the case of ASCII letters (RFC 4343). The
// letter case of a name is kept, so that an owner goes out as its zone wrote
// it. Key gives the canonical order of RFC 4034 §6.1 as plain byte order.
package dnsname

import (
	"errors"
	"fmt"
	"strings"
)

// MaxLen is the longest wire form of a name, in octets, the root included
// (RFC 1035 §2.3.4).
const MaxLen = 255

// MaxLabel is the longest label, in octets (RFC 1035 §2.3.4).
const MaxLabel = 63

// MaxLabels is the greatest number of labels of a name, without the root.
const MaxLabels = 127

// Name is a domain name in uncompressed wire form, in the letter case it was
// given in. Every Name made by this package is well formed: labels of 1 to 63
// octets, at most 255 octets, ending in the root. The zero value is no name;
// the root is Root. Use Equal, or Fold before using a Name as a map key.
type Name string

// Root is the root of the name space.
const Root Name = "\x00"

// Errors of Parse and FromWire.
var (
	ErrEmptyLabel = errors.New("empty label")
	ErrLabelLong  = errors.New("label longer than 63 octets")
	ErrNameLong   = errors.New("name longer than 255 octets")
	ErrEscape     = errors.New("bad escape")
	ErrTruncated  = errors.New("name runs past the end of the data")
	ErrPointer    = errors.New("bad compression pointer")
	ErrLabelType  = errors.New("unknown label type")
	ErrRelative   = errors.New("relative name without an origin")
)

// Parse reads a name in presentation form (RFC 1035 §5.1): labels separated
// by dots, \DDD and \X escapes. A name without a final dot is completed with
// origin; "@" alone is the origin; an empty origin makes a relative name an
// error. Letter case is kept.
func Parse(s string, origin Name) (Name, error) {
	var buf [MaxLen]byte
	b, err := AppendParse(buf[:0], s, origin)
	if err != nil {
		return "", fmt.Errorf("name %q: %w", s, err)
	}
	return Name(b), nil
}

// MustParse is Parse for absolute names written in a program; it panics on a
// name that is not well formed.
func MustParse(s string) Name {
	n, err := Parse(s, Root)
	if err != nil {
		panic(err)
	}
	return n
}

// AppendParse is Parse that appends the wire form to dst and returns the
// extended slice. It does not allocate when dst has MaxLen octets of room.
func AppendParse[T ~string | ~[]byte](dst []byte, s T, origin Name) ([]byte, error) {
	start := len(dst)
	if len(s) == 0 {
		return dst, ErrEmptyLabel
	}
	if len(s) == 1 {
		switch s[0] {
		case '.':
			return append(dst, 0), nil
		case '@':
			if origin == "" {
				return dst, ErrRelative
			}
			return append(dst, origin...), nil
		}
	}
	at := len(dst) // where the length octet of the current label is
	dst = append(dst, 0)
	for i := 0; i < len(s); {
		c := s[i]
		i++
		switch c {
		case '.':
			n := len(dst) - at - 1
			if n == 0 {
				return dst[:start], ErrEmptyLabel
			}
			dst[at] = byte(n)
			at = len(dst)
			dst = append(dst, 0)
			continue
		case '\\':
			if i >= len(s) {
				return dst[:start], ErrEscape
			}
			if s[i] < '0' || s[i] > '9' {
				c = s[i]
				i++
				break
			}
			if i+3 > len(s) || s[i+1] < '0' || s[i+1] > '9' || s[i+2] < '0' || s[i+2] > '9' {
				return dst[:start], ErrEscape
			}
			v := int(s[i]-'0')*100 + int(s[i+1]-'0')*10 + int(s[i+2]-'0')
			if v > 255 {
				return dst[:start], ErrEscape
			}
			c = byte(v)
			i += 3
		}
		if len(dst)-at-1 >= MaxLabel {
			return dst[:start], ErrLabelLong
		}
		if len(dst)-start >= MaxLen {
			return dst[:start], ErrNameLong
		}
		dst = append(dst, c)
	}
	if n := len(dst) - at - 1; n > 0 { // no final dot: relative
		if origin == "" {
			return dst[:start], ErrRelative
		}
		dst[at] = byte(n)
		dst = append(dst, origin...)
	}
	if len(dst)-start > MaxLen {
		return dst[:start], ErrNameLong
	}
	return dst, nil
}

// FromWire reads the name at offset off of a message and follows compression
// pointers, which must point backwards (RFC 1035 §4.1.4). It returns the name
// and the offset after its first form in the message.
func FromWire(msg []byte, off int) (Name, int, error) {
	var buf [MaxLen]byte
	b, next, err := AppendWire(buf[:0], msg, off)
	if err != nil {
		return "", off, err
	}
	return Name(b), next, nil
}

// AppendWire is FromWire that appends the uncompressed name to dst. It does
// not allocate when dst has MaxLen octets of room.
func AppendWire(dst, msg []byte, off int) ([]byte, int, error) {
	start, next, limit := len(dst), -1, off
	for {
		if off >= len(msg) {
			return dst[:start], off, ErrTruncated
		}
		c := int(msg[off])
		switch {
		case c == 0:
			if len(dst)-start+1 > MaxLen {
				return dst[:start], off, ErrNameLong
			}
			if next < 0 {
				next = off + 1
			}
			return append(dst, 0), next, nil
		case c&0xc0 == 0xc0:
			if off+1 >= len(msg) {
				return dst[:start], off, ErrTruncated
			}
			ptr := c&0x3f<<8 | int(msg[off+1])
			if ptr >= limit {
				return dst[:start], off, ErrPointer
			}
			if next < 0 {
				next = off + 2
			}
			off, limit = ptr, ptr
		case c > MaxLabel:
			return dst[:start], off, ErrLabelType
		default:
			if off+1+c > len(msg) {
				return dst[:start], off, ErrTruncated
			}
			if len(dst)-start+1+c+1 > MaxLen {
				return dst[:start], off, ErrNameLong
			}
			dst = append(dst, msg[off:off+1+c]...)
			off += 1 + c
		}
	}
}

// Len gives the length of the uncompressed name at the start of s, or 0 if s
// does not start with a well-formed one. It reads names within RDATA, where
// compression is not allowed in store.
func Len[T ~string | ~[]byte](s T) int {
	for i := 0; i < len(s); {
		c := int(s[i])
		if c == 0 {
			if i+1 > MaxLen {
				return 0
			}
			return i + 1
		}
		if c > MaxLabel {
			return 0
		}
		i += 1 + c
	}
	return 0
}

// String gives the name in presentation form with a final dot; dots,
// backslashes and the other characters special to master files are escaped by
// a backslash, octets outside of printable ASCII as \DDD.
func (n Name) String() string {
	if n == "" {
		return ""
	}
	if n == Root {
		return "."
	}
	var b strings.Builder
	b.Grow(len(n) + 8)
	for i := 0; i < len(n) && n[i] != 0; {
		l := int(n[i])
		i++
		for _, c := range []byte(n[i:min(i+l, len(n))]) {
			switch {
			case c == '.' || c == '\\' || c == '"' || c == '(' || c == ')' || c == ';' || c == '@' || c == '$' || c == '\'':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c <= ' ' || c >= 0x7f:
				b.WriteByte('\\')
				b.WriteByte('0' + c/100)
				b.WriteByte('0' + c/10%10)
				b.WriteByte('0' + c%10)
			default:
				b.WriteByte(c)
			}
		}
		b.WriteByte('.')
		i += l
	}
	return b.String()
}

// lower maps ASCII capitals to small letters and leaves other octets. Length
// octets are at most 63 and no letters, so a whole wire form may go through.
var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// Lower gives c, or its small letter if c is an ASCII capital (RFC 4343).
func Lower(c byte) byte { return lower[c] }

// HasUpper tells whether the name has an ASCII capital letter.
func (n Name) HasUpper() bool {
	for i := 0; i < len(n); i++ {
		if lower[n[i]] != n[i] {
			return true
		}
	}
	return false
}

// Fold gives the name in lower case: the form for map keys. It allocates only
// if the name has a capital letter.
func (n Name) Fold() Name {
	if !n.HasUpper() {
		return n
	}
	b := make([]byte, len(n))
	for i := range b {
		b[i] = lower[n[i]]
	}
	return Name(b)
}

// AppendFold appends the lower-case form of a wire-form name, or of any other
// octets, to dst.
func AppendFold[T ~string | ~[]byte](dst []byte, s T) []byte {
	for i := 0; i < len(s); i++ {
		dst = append(dst, lower[s[i]])
	}
	return dst
}

// Equal tells whether two names are the same but for letter case.
func (n Name) Equal(m Name) bool { return EqualFold(n, m) }

// EqualFold tells whether a and b are the same octets but for the case of
// ASCII letters.
func EqualFold[A, B ~string | ~[]byte](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if a[i] != b[i] && lower[a[i]] != lower[b[i]] {
			return false
		}
	}
	return true
}

// Labels gives the number of labels without the root.
func (n Name) Labels() int {
	c := 0
	for i := 0; i < len(n) && n[i] != 0; i += 1 + int(n[i]) {
		c++
	}
	return c
}

// Parent gives the name without its first label; of the root it is the root.
// It shares memory with n.
func (n Name) Parent() Name {
	if len(n) <= 1 {
		return n
	}
	return n[1+int(n[0]):]
}

// IsBelow tells whether n is zone or below it.
func (n Name) IsBelow(zone Name) bool {
	d := len(n) - len(zone)
	if d < 0 || !EqualFold(n[d:], zone) {
		return false
	}
	i := 0
	for i < d { // the suffix must start at a label
		i += 1 + int(n[i])
	}
	return i == d
}

// IsWildcard tells whether the first label of n is an asterisk (RFC 4592 §2.1.1).
func (n Name) IsWildcard() bool { return len(n) >= 2 && n[0] == 1 && n[1] == '*' }

// Join gives prefix, a wire form without a root, followed by n; ok is false if
// that would be longer than 255 octets.
func Join(prefix string, n Name) (joined Name, ok bool) {
	if len(prefix)+len(n) > MaxLen {
		return "", false
	}
	return Name(prefix) + n, true
}
