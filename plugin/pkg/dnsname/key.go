package dnsname

import "strings"

// A key is a name in a form whose byte order is the canonical order of names
// (RFC 4034 §6.1), relative to an origin: the labels from the one next to the
// origin to the first, each ended by symEnd, so that the key of a name is a
// prefix of the keys of the names below it, and the key of the origin is
// empty. The octets of labels are coded in symbols of 2 to 47: the usual
// characters of host names in one symbol, all others in two. With an alphabet
// that small a node of the index is one machine word (package trie).

// symEnd ends a label and sorts before every octet, 0 included. It stands for
// nothing else, also not as a second symbol.
const symEnd = 1

// MaxKey is the greatest length of a key.
const MaxKey = 2 * MaxLen

// Symbols is one more than the greatest byte of a key.
const Symbols = 48

// code maps an octet to its first symbol and, if not 0, its second; letters to
// those of their small form. decode is the way back: first symbol, second.
var (
	code   [256][2]byte
	decode [Symbols][Symbols]byte
)

func init() {
	common := func(c int) bool {
		return c == '-' || c == '_' || c == '`' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z'
	}
	sym, second := byte(symEnd), byte(Symbols)
	for c := range 256 {
		if c >= 'A' && c <= 'Z' {
			continue
		}
		if common(c) {
			sym++
			second = Symbols // what follows needs a new first symbol
			code[c] = [2]byte{sym, 0}
			decode[sym][0] = byte(c)
			continue
		}
		if second == Symbols {
			sym++
			second = symEnd + 1
		}
		code[c] = [2]byte{sym, second}
		decode[sym][second] = byte(c)
		second++
	}
	for c := 'A'; c <= 'Z'; c++ {
		code[c] = code[c+'a'-'A']
	}
	if sym >= Symbols {
		panic("dnsname: alphabet of keys too large")
	}
	wildcardSymbols = string(AppendChild(nil, "*"))
}

// Ends are the places in a key where a label ends: Ends[i] is the length of
// the key of the ancestor that has i+1 labels below the origin.
type Ends [MaxLabels]uint16

// AppendKey appends the key of the wire-form name n relative to an origin of
// originLen octets to dst and gives the number of labels below the origin. n
// must be at or below that origin. The ends of the labels in the key are put
// into ends unless it is nil. It does not allocate if dst has MaxKey octets of
// room.
func AppendKey[T ~string | ~[]byte](dst []byte, n T, originLen int, ends *Ends) ([]byte, int) {
	var starts [MaxLabels + 1]uint8
	labels := 0
	for i := 0; i < len(n)-originLen; i += 1 + int(n[i]) {
		starts[labels] = uint8(i)
		labels++
	}
	base := len(dst)
	for l := labels - 1; l >= 0; l-- {
		at := int(starts[l])
		for _, c := range []byte(n[at+1 : at+1+int(n[at])]) {
			s := code[c]
			dst = append(dst, s[0])
			if s[1] != 0 {
				dst = append(dst, s[1])
			}
		}
		dst = append(dst, symEnd)
		if ends != nil {
			ends[labels-1-l] = uint16(len(dst) - base)
		}
	}
	return dst, labels
}

// Key gives the key of n relative to origin, as a string for use as a map key
// or with an index. n must be at or below origin.
func Key(n, origin Name) string {
	var buf [MaxKey]byte
	b, _ := AppendKey(buf[:0], n, len(origin), nil)
	return string(b)
}

// AppendChild appends to key the key of one more label, such as "*".
func AppendChild[T ~string | ~[]byte](key []byte, label T) []byte {
	for i := 0; i < len(label); i++ {
		s := code[label[i]]
		key = append(key, s[0])
		if s[1] != 0 {
			key = append(key, s[1])
		}
	}
	return append(key, symEnd)
}

// AppendFromKey appends the name that key stands for relative to origin, in
// lower case but for the origin, to dst. key must come from AppendKey.
func AppendFromKey(dst []byte, key string, origin Name) []byte {
	end := len(key)
	for end > 0 {
		start := end - 1 // of the symbols of the last label: after the end of the one before
		for start > 0 && key[start-1] != symEnd {
			start--
		}
		at := len(dst)
		dst = append(dst, 0)
		for i := start; i < end-1; i++ {
			first := key[i]
			if c := decode[first][0]; c != 0 {
				dst = append(dst, c)
				continue
			}
			i++
			dst = append(dst, decode[first][key[i]])
		}
		dst[at] = byte(len(dst) - at - 1)
		end = start
	}
	return append(dst, origin...)
}

// FromKey gives the name that key stands for relative to origin, in lower case
// but for the origin. key must come from AppendKey.
func FromKey(key string, origin Name) Name {
	var buf [MaxLen]byte
	return Name(AppendFromKey(buf[:0], key, origin))
}

// wildcardSymbols is the label "*" in a key.
var wildcardSymbols string

// KeyHasWildcard tells whether a label of the name that key stands for is an
// asterisk.
func KeyHasWildcard(key string) bool {
	for at := 0; ; {
		i := strings.Index(key[at:], wildcardSymbols)
		if i < 0 {
			return false
		}
		if at += i; at == 0 || key[at-1] == symEnd {
			return true
		}
		at++
	}
}
