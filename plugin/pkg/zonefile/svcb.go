package zonefile

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Keys of the parameters of SVCB and HTTPS (RFC 9460 §14.3, RFC 9461 §6,
// RFC 9540 §8).
const (
	keyMandatory = iota
	keyALPN
	keyNoDefaultALPN
	keyPort
	keyIPv4Hint
	keyECH
	keyIPv6Hint
	keyDoHPath
	keyOHTTP
	keyInvalid = math.MaxUint16 // §14.3.2
)

// paramKeys are the names of the keys, by number.
var paramKeys = [...]string{"mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp"}

// Reasons why the parameters of SVCB are refused.
var (
	errKey       = errors.New("no key of a parameter")
	errKeyTwice  = errors.New("the key is there twice")
	errValue     = errors.New("no value that the key may have")
	errNoALPN    = errors.New("no-default-alpn without alpn")
	errMandatory = errors.New("a mandatory key is not there")
)

// param is a parameter whose value stands in scanner.text.
type param struct {
	key      uint16
	from, to int
}

// params reads the parameters of SVCB up to the end of the line (RFC 9460 §2.1)
// and appends them in the order of their keys.
func (s *scanner) params(typ uint16) error {
	s.text, s.svcb = s.text[:0], s.svcb[:0]
	for s.kind == word || s.kind == quoted {
		name, value, hasValue := bytes.Cut(s.tok, []byte{'='})
		key, named, ok := paramKey(name)
		if !ok || s.kind == quoted || s.glued {
			return s.fault(typ, "%s: %w", s.token(), errKey)
		}
		read := false // the token behind the parameter
		if hasValue && len(value) == 0 {
			if err := s.next(); err != nil {
				return err
			}
			if s.kind == quoted && s.glued {
				value = s.tok
			} else {
				value, read = nil, true
			}
		}
		from := len(s.text)
		err := s.value(key, named, value)
		s.svcb = append(s.svcb, param{key, from, len(s.text)})
		if err == nil && len(s.text)+4*len(s.svcb) > maxRDATA {
			err = errLong
		}
		if err != nil {
			return s.fault(typ, "%s: %w", paramName(key), err)
		}
		if !read {
			if err := s.next(); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(s.svcb, func(a, b param) int { return int(a.key) - int(b.key) })
	from := len(s.data)
	for i, p := range s.svcb {
		if i > 0 && p.key == s.svcb[i-1].key {
			return s.fault(typ, "%s: %w", paramName(p.key), errKeyTwice)
		}
		s.data = binary.BigEndian.AppendUint16(s.data, p.key)
		s.data = binary.BigEndian.AppendUint16(s.data, uint16(p.to-p.from))
		s.data = append(s.data, s.text[p.from:p.to]...)
	}
	if err := checkParams(s.data[from:]); err != nil {
		return s.fault(typ, "%w", err)
	}
	return nil
}

// paramKey gives the number of a key, written as its name or as key123.
func paramKey(text []byte) (key uint16, named, ok bool) {
	for i, n := range paramKeys {
		if string(text) == n {
			return uint16(i), true, true
		}
	}
	digits, ok := bytes.CutPrefix(text, []byte("key"))
	if !ok || len(digits) > 1 && digits[0] == '0' {
		return 0, false, false
	}
	n, ok := parseNumber(digits, keyInvalid-1)
	return uint16(n), false, ok
}

// paramName gives the name of a key.
func paramName(key uint16) string {
	if int(key) < len(paramKeys) {
		return paramKeys[key]
	}
	return fmt.Sprintf("key%d", key)
}

// value appends the wire form of the value of a key to s.text. That of a key
// written as key123 is a string of octets, whatever the key.
func (s *scanner) value(key uint16, named bool, value []byte) (err error) {
	if !named {
		s.text, err = appendUnescaped(s.text, value)
		return err
	}
	ok := true
	switch key {
	case keyMandatory:
		s.types = s.types[:0]
		for item := range bytes.SplitSeq(value, []byte{','}) {
			var k uint16
			if k, _, ok = paramKey(item); !ok {
				break
			}
			s.types = append(s.types, k)
		}
		slices.Sort(s.types)
		for _, k := range s.types {
			s.text = binary.BigEndian.AppendUint16(s.text, k)
		}
	case keyALPN:
		s.text, err = appendProtocols(s.text, value)
	case keyPort:
		var n uint64
		n, ok = parseNumber(value, math.MaxUint16)
		s.text = binary.BigEndian.AppendUint16(s.text, uint16(n))
	case keyIPv4Hint, keyIPv6Hint:
		address := appendIPv4
		if key == keyIPv6Hint {
			address = appendIPv6
		}
		for item := range bytes.SplitSeq(value, []byte{','}) {
			if s.text, ok = address(s.text, item); !ok {
				break
			}
		}
	case keyECH:
		s.text, err = base64.StdEncoding.AppendDecode(s.text, value)
		ok = err == nil
	default:
		s.text, err = appendUnescaped(s.text, value)
	}
	if !ok {
		return errValue
	}
	return err
}

// appendProtocols appends a comma-separated list of protocols, each after its
// length. Within the list a comma and a backslash are escaped once more
// (RFC 9460 §7.1.1, Appendix A.1).
func appendProtocols(dst, value []byte) ([]byte, error) {
	at := len(dst)
	dst = append(dst, 0)
	finish := func() bool {
		n := len(dst) - at - 1
		dst[at] = byte(n)
		return n > 0 && n <= 255
	}
	escaped := false
	for i := 0; i < len(value); {
		c, next, ok := unescape(value, i)
		if !ok {
			return dst, errEscape
		}
		i = next
		switch {
		case escaped && c != ',' && c != '\\':
			return dst, errValue
		case escaped:
			escaped = false
			dst = append(dst, c)
		case c == '\\':
			escaped = true
		case c == ',':
			if !finish() {
				return dst, errValue
			}
			at = len(dst)
			dst = append(dst, 0)
		default:
			dst = append(dst, c)
		}
	}
	if escaped || !finish() {
		return dst, errValue
	}
	return dst, nil
}

// checkParams tells whether the parameters of SVCB are well formed in wire form
// (RFC 9460 §2.2, §7, §8): errLayout if not, or what is inconsistent.
func checkParams(b []byte) error {
	var mandatory []byte
	last, alpn, noDefault := -1, false, false
	for rest := b; len(rest) > 0; {
		if len(rest) < 4 {
			return errLayout
		}
		key, n := int(binary.BigEndian.Uint16(rest)), int(binary.BigEndian.Uint16(rest[2:]))
		if key <= last || key == keyInvalid || len(rest) < 4+n {
			return errLayout
		}
		value := rest[4 : 4+n]
		last, rest = key, rest[4+n:]
		if !checkValue(key, value) {
			return fmt.Errorf("%s: %w", paramName(uint16(key)), errValue)
		}
		switch key {
		case keyMandatory:
			mandatory = value
		case keyALPN:
			alpn = true
		case keyNoDefaultALPN:
			noDefault = true
		}
	}
	if noDefault && !alpn {
		return errNoALPN
	}
	for ; len(mandatory) > 0; mandatory = mandatory[2:] {
		if key := binary.BigEndian.Uint16(mandatory); !hasParam(b, key) {
			return fmt.Errorf("%w: %s", errMandatory, paramName(key))
		}
	}
	return nil
}

func hasParam(b []byte, key uint16) bool {
	for len(b) > 0 {
		if binary.BigEndian.Uint16(b) == key {
			return true
		}
		b = b[4+int(binary.BigEndian.Uint16(b[2:])):]
	}
	return false
}

// checkValue tells whether a value in wire form is one that the key may have.
func checkValue(key int, value []byte) bool {
	n := len(value)
	switch key {
	case keyMandatory:
		for last := keyMandatory; len(value) >= 2; value = value[2:] {
			k := int(binary.BigEndian.Uint16(value))
			if k <= last || k == keyInvalid {
				return false
			}
			last = k
		}
		return n > 0 && n%2 == 0
	case keyALPN:
		for len(value) > 0 {
			if value[0] == 0 || 1+int(value[0]) > len(value) {
				return false
			}
			value = value[1+int(value[0]):]
		}
		return n > 0
	case keyNoDefaultALPN, keyOHTTP:
		return n == 0
	case keyPort:
		return n == 2
	case keyIPv4Hint:
		return n > 0 && n%4 == 0
	case keyIPv6Hint:
		return n > 0 && n%16 == 0
	case keyECH, keyDoHPath:
		return n > 0
	}
	return true
}
