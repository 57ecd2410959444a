package zonefile

import (
	"math"
	"strconv"

	"github.com/miekg/dns"
)

const classIN = dns.ClassINET

// longMnemonic is longer than every mnemonic.
const longMnemonic = 32

// upper appends tok in capital letters to dst, or nothing if it is longer than
// every mnemonic.
func upper(dst, tok []byte) []byte {
	if len(tok) > longMnemonic {
		return dst
	}
	for _, c := range tok {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// typeOf gives the number of a type, written as its mnemonic or as TYPE123
// (RFC 3597 §5).
func typeOf(tok []byte) (uint16, bool) {
	switch string(tok) { // these need no search
	case "A":
		return dns.TypeA, true
	case "NS":
		return dns.TypeNS, true
	case "AAAA":
		return dns.TypeAAAA, true
	}
	var buf [longMnemonic]byte
	up := upper(buf[:0], tok)
	if t, ok := dns.StringToType[string(up)]; ok {
		return t, true
	}
	if len(up) > 4 && string(up[:4]) == "TYPE" {
		n, ok := parseNumber(up[4:], math.MaxUint16)
		return uint16(n), ok
	}
	return 0, false
}

// classOf is typeOf for classes.
func classOf(tok []byte) (uint16, bool) {
	var buf [longMnemonic]byte
	up := upper(buf[:0], tok)
	if string(up) == "IN" {
		return classIN, true
	}
	if c, ok := dns.StringToClass[string(up)]; ok {
		return c, true
	}
	if len(up) > 5 && string(up[:5]) == "CLASS" {
		n, ok := parseNumber(up[5:], math.MaxUint16)
		return uint16(n), ok
	}
	return 0, false
}

// typeName gives the mnemonic of a type, or TYPE123.
func typeName(typ uint16) string {
	if name, ok := dns.TypeToString[typ]; ok {
		return name
	}
	return "TYPE" + strconv.Itoa(int(typ))
}

// parseNumber reads a decimal number of up to limit.
func parseNumber(tok []byte, limit uint64) (uint64, bool) {
	if len(tok) == 0 || len(tok) > 19 {
		return 0, false
	}
	var n uint64
	for _, c := range tok {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, n <= limit
}

// parsePeriod reads a number of seconds, or a sum of numbers with units such as
// 1w2d3h4m5s.
func parsePeriod(tok []byte) (uint32, bool) {
	if n, ok := parseNumber(tok, math.MaxUint32); ok {
		return uint32(n), true
	}
	var sum uint64
	for from, i := 0, 0; i < len(tok); i++ {
		var unit uint64
		switch tok[i] | 0x20 {
		case 's':
			unit = 1
		case 'm':
			unit = 60
		case 'h':
			unit = 3600
		case 'd':
			unit = 86400
		case 'w':
			unit = 604800
		default:
			if i == len(tok)-1 {
				return 0, false // a number without a unit after others
			}
			continue
		}
		n, ok := parseNumber(tok[from:i], math.MaxUint32)
		if !ok {
			return 0, false
		}
		if sum += n * unit; sum > math.MaxUint32 {
			return 0, false
		}
		from = i + 1
	}
	return uint32(sum), len(tok) > 0
}
