package zonefile

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// maxRDATA is the length of the longest RDATA (RFC 1035 §3.2.1).
const maxRDATA = 65535

// A form is the fields of a type's RDATA, a letter each, in the order of both
// their text and their wire form:
//
//	n      domain name
//	1 2 4  number of that many octets
//	t      number of four octets, or a period: 1h30m
//	d      time of four octets: seconds since 1970 or YYYYMMDDHHmmSS
//	a A    IPv4 address, IPv6 address
//	s o    character string; o may be missing
//	f      character string that is a decimal number
//	S      character strings, one or more, up to the end
//	v      one string without its length, up to the end
//	k      tag of CAA
//	T g c  RR type, DNSSEC algorithm, certificate type: number or mnemonic
//	p h    salt in hex, hash in base32hex, after their length
//	N E e  hex digits in groups: 4 of up to 4, 6 of 2, 8 of 2
//	x b z  hex, base64 up to the end; z may be missing
//	B M    bit map of types up to the end; M has at least one
//	P      parameters of SVCB up to the end
//	w      gateway type, algorithm and gateway of IPSECKEY
//	r      discovery bit, type and relay of AMTRELAY
//	L      all of LOC
var forms = [...]string{
	dns.TypeA:          "a",
	dns.TypeNS:         "n",
	dns.TypeMD:         "n",
	dns.TypeMF:         "n",
	dns.TypeCNAME:      "n",
	dns.TypeSOA:        "nn4tttt",
	dns.TypeMB:         "n",
	dns.TypeMG:         "n",
	dns.TypeMR:         "n",
	dns.TypePTR:        "n",
	dns.TypeHINFO:      "ss",
	dns.TypeMINFO:      "nn",
	dns.TypeMX:         "2n",
	dns.TypeTXT:        "S",
	dns.TypeRP:         "nn",
	dns.TypeAFSDB:      "2n",
	dns.TypeX25:        "s",
	dns.TypeISDN:       "so",
	dns.TypeRT:         "2n",
	dns.TypeNSAPPTR:    "n",
	dns.TypeSIG:        "Tg14dd2nb",
	dns.TypeKEY:        "21gz",
	dns.TypePX:         "2nn",
	dns.TypeGPOS:       "fff",
	dns.TypeAAAA:       "A",
	dns.TypeLOC:        "L",
	dns.TypeEID:        "x",
	dns.TypeNIMLOC:     "x",
	dns.TypeSRV:        "222n",
	dns.TypeNAPTR:      "22sssn",
	dns.TypeKX:         "2n",
	dns.TypeCERT:       "c2gb",
	dns.TypeDNAME:      "n",
	dns.TypeDS:         "2g1x",
	dns.TypeSSHFP:      "11x",
	dns.TypeIPSECKEY:   "1wz",
	dns.TypeRRSIG:      "Tg14dd2nb",
	dns.TypeNSEC:       "nM",
	dns.TypeDNSKEY:     "21gb",
	dns.TypeDHCID:      "b",
	dns.TypeNSEC3:      "112phB",
	dns.TypeNSEC3PARAM: "112p",
	dns.TypeTLSA:       "111x",
	dns.TypeSMIMEA:     "111x",
	dns.TypeNINFO:      "S",
	dns.TypeRKEY:       "21gb",
	dns.TypeTALINK:     "nn",
	dns.TypeCDS:        "2g1x",
	dns.TypeCDNSKEY:    "21gb",
	dns.TypeOPENPGPKEY: "b",
	dns.TypeCSYNC:      "42B",
	dns.TypeZONEMD:     "411x",
	dns.TypeSVCB:       "2nP",
	dns.TypeHTTPS:      "2nP",
	dns.TypeSPF:        "S",
	dns.TypeUINFO:      "s",
	dns.TypeUID:        "4",
	dns.TypeGID:        "4",
	dns.TypeNID:        "2N",
	dns.TypeL32:        "2a",
	dns.TypeL64:        "2N",
	dns.TypeLP:         "2n",
	dns.TypeEUI48:      "E",
	dns.TypeEUI64:      "e",
	dns.TypeURI:        "22v",
	dns.TypeCAA:        "1kv",
	dns.TypeAVC:        "S",
	dns.TypeAMTRELAY:   "1r",
	dns.TypeRESINFO:    "S",
}

// formOf gives the form of a type, or "" if it has none here.
func formOf(typ uint16) string {
	switch {
	case int(typ) < len(forms):
		return forms[typ]
	case typ == dns.TypeTA || typ == dns.TypeDLV:
		return forms[dns.TypeDS]
	}
	return ""
}

// expected says in messages what a field is.
var expected = map[byte]string{
	'n': "a domain name", '1': "a number up to 255", '2': "a number up to 65535", '4': "a number up to 4294967295",
	't': "a number of seconds", 'a': "an IPv4 address", 'A': "an IPv6 address", 's': "a string", 'f': "a decimal number",
	'S': "a string", 'T': "an RR type", 'g': "an algorithm", 'c': "a certificate type", 'd': "a time",
	'N': "four groups of up to four hex digits", 'E': "six groups of two hex digits", 'e': "eight groups of two hex digits",
	'k': "a tag", 'v': "a string", 'p': "a salt", 'h': "a hash", 'x': "hex digits", 'b': "base64", 'M': "an RR type",
	'L': "a latitude", 'w': "a gateway type", 'r': "a discovery bit",
}

// Reasons why RDATA is refused.
var (
	errLong       = fmt.Errorf("RDATA longer than %d octets", maxRDATA)
	errEscape     = errors.New("bad escape")
	errStringLong = errors.New("string longer than 255 octets: write it as several")
	errHexOdd     = errors.New("odd number of hex digits")
	errLayout     = errors.New("RDATA is not laid out as the type demands")
)

// token gives the current token for messages.
func (s *scanner) token() string {
	const most = 60
	switch {
	case s.kind == end || s.kind == eof:
		return "the end of the line"
	case len(s.tok) > most:
		return fmt.Sprintf("%.*q…", most, s.tok)
	}
	return fmt.Sprintf("%q", s.tok)
}

// fault makes an error about RDATA at the current token.
func (s *scanner) fault(typ uint16, format string, args ...any) error {
	return s.errorf(typeName(typ), format, args...)
}

// rdata reads the RDATA of a type into s.data, from the token after the type on
// to the end of the line.
func (s *scanner) rdata(typ uint16) error {
	s.data = s.data[:0]
	if err := s.next(); err != nil {
		return err
	}
	if s.kind == word && string(s.tok) == `\#` {
		return s.generic(typ)
	}
	form := formOf(typ)
	if form == "" {
		return s.foreign(typ)
	}
	for i := range len(form) {
		if err := s.field(typ, form[i]); err != nil {
			return err
		}
	}
	if s.kind != end && s.kind != eof {
		return s.fault(typ, "%s is more than the record has", s.token())
	}
	if len(s.data) > maxRDATA {
		return s.fault(typ, "%w", errLong)
	}
	return nil
}

// field reads one field, which starts at the current token, and goes on to the
// token after it.
func (s *scanner) field(typ uint16, f byte) error {
	switch {
	case s.kind == word:
	case s.kind == quoted:
		if !strings.ContainsRune("sSovfP", rune(f)) {
			return s.fault(typ, "quoted string %s where %s must be", s.token(), expected[f])
		}
	case f == 'o' || f == 'B' || f == 'z' || f == 'P':
		return nil
	default:
		return s.fault(typ, "the line ends where %s must be", expected[f])
	}
	ok := true
	var err error
	switch f {
	case 'n':
		if s.data, err = dnsname.AppendParse(s.data, s.tok, s.origin); err != nil {
			return s.fault(typ, "%s: %w", s.token(), err)
		}
	case 'a':
		s.data, ok = appendIPv4(s.data, s.tok)
	case 'A':
		s.data, ok = appendIPv6(s.data, s.tok)
	case '1':
		ok = s.number(math.MaxUint8, 1)
	case '2':
		ok = s.number(math.MaxUint16, 2)
	case '4':
		ok = s.number(math.MaxUint32, 4)
	case 't':
		var n uint32
		n, ok = parsePeriod(s.tok)
		s.data = binary.BigEndian.AppendUint32(s.data, n)
	case 'd':
		var n uint32
		n, ok = parseTime(s.tok)
		s.data = binary.BigEndian.AppendUint32(s.data, n)
	case 'T':
		var t uint16
		t, ok = typeOf(s.tok)
		s.data = binary.BigEndian.AppendUint16(s.data, t)
	case 'g':
		if !s.number(math.MaxUint8, 1) {
			var buf [longMnemonic]byte
			var n uint8
			n, ok = dns.StringToAlgorithm[string(upper(buf[:0], s.tok))]
			s.data = append(s.data, n)
		}
	case 'c':
		if !s.number(math.MaxUint16, 2) {
			var buf [longMnemonic]byte
			var n uint16
			n, ok = dns.StringToCertType[string(upper(buf[:0], s.tok))]
			s.data = binary.BigEndian.AppendUint16(s.data, n)
		}
	case 'f':
		if ok = isDecimal(s.tok); ok {
			err = s.characterString()
		}
	case 's', 'o':
		err = s.characterString()
	case 'N':
		s.data, ok = appendLocator(s.data, s.tok)
	case 'E':
		s.data, ok = appendEUI(s.data, s.tok, 6)
	case 'e':
		s.data, ok = appendEUI(s.data, s.tok, 8)
	case 'k':
		if ok = isTag(s.tok); ok {
			s.data = append(append(s.data, byte(len(s.tok))), s.tok...)
		}
	case 'v':
		s.data, err = appendUnescaped(s.data, s.tok)
	case 'p':
		s.data, ok = appendSalt(s.data, s.tok)
	case 'h':
		s.data, ok = appendHash(s.data, s.tok)
	case 'S':
		return s.characterStrings(typ)
	case 'x':
		return s.hexRest(typ)
	case 'b', 'z':
		return s.base64Rest(typ)
	case 'B', 'M':
		return s.bitMap(typ)
	case 'L':
		return s.location(typ)
	case 'P':
		return s.params(typ)
	case 'w':
		return s.gateway(typ)
	case 'r':
		return s.relay(typ)
	}
	if err != nil {
		return s.fault(typ, "%s: %w", s.token(), err)
	}
	if !ok {
		return s.fault(typ, "%s where %s must be", s.token(), expected[f])
	}
	return s.next()
}

// number appends the current token, a number of up to limit, in that many
// octets; it gives false and appends nothing if it is none.
func (s *scanner) number(limit uint64, octets int) bool {
	n, ok := parseNumber(s.tok, limit)
	if !ok {
		return false
	}
	for octets--; octets >= 0; octets-- {
		s.data = append(s.data, byte(n>>(8*octets)))
	}
	return true
}

// appendIPv4 appends an address in dotted decimal form.
func appendIPv4(dst, tok []byte) ([]byte, bool) {
	i := 0
	for part := range 4 {
		if part > 0 {
			if i >= len(tok) || tok[i] != '.' {
				return dst, false
			}
			i++
		}
		from, n := i, 0
		for ; i < len(tok) && i-from < 4 && tok[i]-'0' < 10; i++ {
			n = n*10 + int(tok[i]-'0')
		}
		if i == from || n > 255 || i-from > 1 && tok[from] == '0' {
			return dst, false
		}
		dst = append(dst, byte(n))
	}
	return dst, i == len(tok)
}

// appendIPv6 appends an address in the form of RFC 4291 §2.2.
func appendIPv6(dst, tok []byte) ([]byte, bool) {
	// The address does not keep the string: only one with a scope would.
	a, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(tok), len(tok)))
	if err != nil || !a.Is6() || a.Zone() != "" {
		return dst, false
	}
	b := a.As16()
	return append(dst, b[:]...), true
}

// parseTime reads a time of RRSIG (RFC 4034 §3.2).
func parseTime(tok []byte) (uint32, bool) {
	n, ok := parseNumber(tok, math.MaxInt64)
	if !ok || len(tok) != len("YYYYMMDDHHmmSS") {
		return uint32(n), ok && n <= math.MaxUint32
	}
	var f [5]int // second, minute, hour, day, month
	for i := range f {
		f[i] = int(n % 100)
		n /= 100
	}
	t := time.Date(int(n), time.Month(f[4]), f[3], f[2], f[1], f[0], 0, time.UTC)
	ok = t.Second() == f[0] && t.Minute() == f[1] && t.Hour() == f[2] && t.Day() == f[3] && t.Month() == time.Month(f[4])
	return uint32(t.Unix()), ok
}

// unescape reads the octet that stands at tok[i] and gives the place after it.
func unescape(tok []byte, i int) (c byte, next int, ok bool) {
	if tok[i] != '\\' {
		return tok[i], i + 1, true
	}
	i++
	if i == len(tok) {
		return 0, i, false
	}
	if tok[i]-'0' >= 10 {
		return tok[i], i + 1, true
	}
	if i+3 > len(tok) || tok[i+1]-'0' >= 10 || tok[i+2]-'0' >= 10 {
		return 0, i, false
	}
	n := int(tok[i]-'0')*100 + int(tok[i+1]-'0')*10 + int(tok[i+2]-'0')
	return byte(n), i + 3, n <= 255
}

// appendUnescaped appends what a word or a quoted string stands for.
func appendUnescaped(dst, tok []byte) ([]byte, error) {
	for i := 0; i < len(tok); {
		c, next, ok := unescape(tok, i)
		if !ok {
			return dst, errEscape
		}
		dst = append(dst, c)
		i = next
	}
	return dst, nil
}

// characterString appends the current token, after its length.
func (s *scanner) characterString() error {
	from := len(s.data)
	s.data = append(s.data, 0)
	if !s.escaped {
		s.data = append(s.data, s.tok...)
	} else {
		var err error
		if s.data, err = appendUnescaped(s.data, s.tok); err != nil {
			return err
		}
	}
	n := len(s.data) - from - 1
	if n > 255 {
		return errStringLong
	}
	s.data[from] = byte(n)
	return nil
}

// rest goes through the tokens up to the end of the line, the current one first.
func (s *scanner) rest(typ uint16, fn func() error) error {
	for s.kind == word || s.kind == quoted {
		err := fn()
		if err == nil && len(s.data) > maxRDATA {
			err = errLong
		}
		if err != nil {
			return s.fault(typ, "%s: %w", s.token(), err)
		}
		if err := s.next(); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) characterStrings(typ uint16) error {
	return s.rest(typ, s.characterString)
}

// errQuoted is for quoted strings in the rest of RDATA.
var errQuoted = errors.New("a quoted string cannot stand here")

func (s *scanner) hexRest(typ uint16) error {
	odd, digits := false, 0
	err := s.rest(typ, func() error {
		if s.kind == quoted {
			return errQuoted
		}
		for _, c := range s.tok {
			d := hexDigit[c]
			if d == bad {
				return errors.New("not in hex")
			}
			if digits++; odd {
				s.data[len(s.data)-1] |= d
			} else {
				s.data = append(s.data, d<<4)
			}
			odd = !odd
		}
		return nil
	})
	if err == nil && odd {
		err = s.fault(typ, "%w: %d", errHexOdd, digits)
	}
	return err
}

func (s *scanner) base64Rest(typ uint16) error {
	s.text = s.text[:0]
	err := s.rest(typ, func() error {
		if s.kind == quoted {
			return errQuoted
		}
		s.text = append(s.text, s.tok...)
		if base64.StdEncoding.DecodedLen(len(s.text)) > maxRDATA+3 {
			return errLong
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.data, err = base64.StdEncoding.AppendDecode(s.data, s.text); err != nil {
		return s.fault(typ, "bad base64")
	}
	return nil
}

// bitMap appends the types up to the end of the line as RFC 4034 §4.1.2 says.
func (s *scanner) bitMap(typ uint16) error {
	s.types = s.types[:0]
	err := s.rest(typ, func() error {
		t, ok := typeOf(s.tok)
		if s.kind == quoted || !ok {
			return errors.New("no RR type")
		}
		if len(s.types) > math.MaxUint16 {
			return errLong
		}
		s.types = append(s.types, t)
		return nil
	})
	slices.Sort(s.types)
	window, at := -1, 0
	for _, t := range s.types {
		if int(t>>8) != window {
			window = int(t >> 8)
			at = len(s.data)
			s.data = append(s.data, byte(window), 0)
		}
		octet := int(t>>3) & 31
		for int(s.data[at+1]) <= octet {
			s.data = append(s.data, 0)
			s.data[at+1]++
		}
		s.data[at+2+octet] |= 0x80 >> (t & 7)
	}
	return err
}

// bad is in tables of digits for octets that are none.
const bad = 0xff

// digits gives a table of the values of digits, in both letter cases.
func digits(alphabet string) (t [256]byte) {
	for i := range t {
		t[i] = bad
	}
	for i := range len(alphabet) {
		c := alphabet[i]
		t[c] = byte(i)
		if c >= 'A' {
			t[c+'a'-'A'] = byte(i)
		}
	}
	return t
}

var (
	hexDigit    = digits("0123456789ABCDEF")
	base32Digit = digits("0123456789ABCDEFGHIJKLMNOPQRSTUV")
)

// appendEUI appends that many octets, written in two hex digits each with
// hyphens between them (RFC 7043 §3.2).
func appendEUI(dst, tok []byte, octets int) ([]byte, bool) {
	if len(tok) != 3*octets-1 {
		return dst, false
	}
	for i := 0; i < len(tok); i += 3 {
		h, l := hexDigit[tok[i]], hexDigit[tok[i+1]]
		if h == bad || l == bad || i > 0 && tok[i-1] != '-' {
			return dst, false
		}
		dst = append(dst, h<<4|l)
	}
	return dst, true
}

// appendLocator appends four numbers of two octets, written in hex with colons
// between them (RFC 6742 §2.1.2).
func appendLocator(dst, tok []byte) ([]byte, bool) {
	groups := 0
	for group := range bytes.SplitSeq(tok, []byte{':'}) {
		if groups++; groups > 4 || len(group) == 0 || len(group) > 4 {
			return dst, false
		}
		n := uint16(0)
		for _, c := range group {
			d := hexDigit[c]
			if d == bad {
				return dst, false
			}
			n = n<<4 | uint16(d)
		}
		dst = binary.BigEndian.AppendUint16(dst, n)
	}
	return dst, groups == 4
}

// appendSalt appends the length and the octets of a salt (RFC 5155 §3.3).
func appendSalt(dst, tok []byte) ([]byte, bool) {
	if string(tok) == "-" {
		return append(dst, 0), true
	}
	if len(tok)%2 != 0 || len(tok) > 510 {
		return dst, false
	}
	dst = append(dst, byte(len(tok)/2))
	for i := 0; i < len(tok); i += 2 {
		h, l := hexDigit[tok[i]], hexDigit[tok[i+1]]
		if h == bad || l == bad {
			return dst, false
		}
		dst = append(dst, h<<4|l)
	}
	return dst, true
}

// appendHash appends the length and the octets of a hash in base32hex without
// padding (RFC 5155 §3.3).
func appendHash(dst, tok []byte) ([]byte, bool) {
	n := len(tok) * 5 / 8
	if r := len(tok) % 8; n == 0 || n > 255 || r == 1 || r == 3 || r == 6 {
		return dst, false
	}
	dst = append(dst, byte(n))
	var bits, have uint
	for _, c := range tok {
		d := base32Digit[c]
		if d == bad {
			return dst, false
		}
		bits = bits<<5 | uint(d)
		if have += 5; have >= 8 {
			have -= 8
			dst = append(dst, byte(bits>>have))
			bits &= 1<<have - 1
		}
	}
	return dst, bits == 0
}

// isTag tells whether tok may be the tag of a CAA record (RFC 8659 §4.1).
func isTag(tok []byte) bool {
	for _, c := range tok {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
			return false
		}
	}
	return len(tok) <= 255
}

// isDecimal tells whether tok is a number such as -32.6882.
func isDecimal(tok []byte) bool {
	if len(tok) > 0 && (tok[0] == '-' || tok[0] == '+') {
		tok = tok[1:]
	}
	digits, points := 0, 0
	for _, c := range tok {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '.' && points == 0:
			points++
		default:
			return false
		}
	}
	return digits > 0
}

// generic reads RDATA in the form of RFC 3597 §5, from the token after \# on.
func (s *scanner) generic(typ uint16) error {
	if err := s.next(); err != nil {
		return err
	}
	if s.kind == end || s.kind == eof {
		return s.fault(typ, `\# without a length`)
	}
	length, ok := parseNumber(s.tok, maxRDATA)
	if !ok || s.kind == quoted {
		return s.fault(typ, `%s where the length after \# must be`, s.token())
	}
	at := s.at
	if err := s.next(); err != nil {
		return err
	}
	if err := s.hexRest(typ); err != nil {
		return err
	}
	if len(s.data) != int(length) {
		return &Error{Position{s.file, at}, typeName(typ), fmt.Errorf(`%d octets after \# where %d are announced`, len(s.data), length)}
	}
	if err := checkWire(typ, s.data); err != nil {
		return &Error{Position{s.file, at}, typeName(typ), err}
	}
	return nil
}

// foreign has RDATA read by the parser of miekg/dns.
func (s *scanner) foreign(typ uint16) error {
	if _, ok := dns.TypeToRR[typ]; !ok || typ == dns.TypeNULL {
		return s.fault(typ, `a type without a text form: write \# LENGTH HEX`)
	}
	if s.kind != word && s.kind != quoted && typ != dns.TypeAPL {
		return s.fault(typ, "the line ends where RDATA must be")
	}
	at := Position{s.file, s.at}
	s.text = append(s.text[:0], ". 0 IN "...)
	s.text = append(s.text, typeName(typ)...)
	s.text = append(s.text, ' ')
	if err := s.gather(typ); err != nil {
		return err
	}
	s.text = append(s.text, '\n')
	zp := dns.NewZoneParser(strings.NewReader(string(s.text)), s.origin.String(), "")
	rr, _ := zp.Next()
	err := zp.Err()
	if err == nil && rr == nil {
		err = errLayout
	}
	if err != nil {
		return &Error{at, typeName(typ), reason(err)}
	}
	_, rdata, err := rrset.FromRR(rr)
	if err == nil {
		err = checkWire(typ, []byte(rdata))
	}
	if err != nil {
		return &Error{at, typeName(typ), err}
	}
	s.data = append(s.data, rdata...)
	return nil
}

// reason takes the position off an error of miekg/dns: it is that of the line
// made for it.
func reason(err error) error {
	text := strings.TrimPrefix(err.Error(), "dns: ")
	if i := strings.LastIndex(text, " at line: "); i >= 0 {
		text = text[:i]
	}
	if near, ok := strings.CutPrefix(text, ": "); ok { // some reasons get lost there
		text = "bad RDATA before " + near
	}
	return errors.New(text)
}

// gather appends the tokens up to the end of the line to s.text as they were
// written, with one blank where there were any.
func (s *scanner) gather(typ uint16) error {
	for s.kind == word || s.kind == quoted {
		if len(s.text)+len(s.tok) > maxToken {
			return s.fault(typ, "%w", errLong)
		}
		if !s.glued && len(s.text) > 0 {
			s.text = append(s.text, ' ')
		}
		if s.kind == quoted {
			s.text = append(append(append(s.text, '"'), s.tok...), '"')
		} else {
			s.text = append(s.text, s.tok...)
		}
		if err := s.next(); err != nil {
			return err
		}
	}
	return nil
}

// checkWire tells whether RDATA is laid out as its type demands. Of types that
// nothing is known of all RDATA passes.
func checkWire(typ uint16, rdata []byte) error {
	form := formOf(typ)
	if form == "" {
		if _, known := dns.TypeToRR[typ]; !known || typ == dns.TypeNULL {
			return nil
		}
		if rrset.Check(typ, string(rdata)) != nil {
			return errLayout
		}
		if _, err := rrset.ToRR(".", typ, 0, string(rdata)); err != nil {
			return errLayout
		}
		return nil
	}
	for i := range len(form) {
		n, ok := fieldLen(form[i], rdata)
		if !ok || n > len(rdata) {
			return errLayout
		}
		rdata = rdata[n:]
	}
	if len(rdata) > 0 {
		return errLayout
	}
	return nil
}

// fieldLen gives the length of the field that RDATA starts with.
func fieldLen(f byte, rdata []byte) (int, bool) {
	switch f {
	case 'n':
		n := dnsname.Len(rdata)
		return n, n > 0
	case '1', 'g':
		return 1, true
	case '2', 'c', 'T':
		return 2, true
	case '4', 't', 'd', 'a':
		return 4, true
	case 'E':
		return 6, true
	case 'N', 'e':
		return 8, true
	case 'A':
		return 16, true
	case 'L':
		return 16, len(rdata) > 0 && rdata[0] == 0
	case 'w':
		if len(rdata) < 2 {
			return 0, false
		}
		n, ok := gatewayLen(rdata[0], rdata[2:])
		return 2 + n, ok
	case 'r':
		if len(rdata) == 0 {
			return 0, false
		}
		n, ok := gatewayLen(rdata[0]&0x7f, rdata[1:])
		return 1 + n, ok
	case 'o':
		if len(rdata) == 0 {
			return 0, true
		}
		fallthrough
	case 's', 'p':
		if len(rdata) == 0 {
			return 0, false
		}
		return 1 + int(rdata[0]), true
	case 'h', 'k', 'f':
		if len(rdata) == 0 || rdata[0] == 0 {
			return 0, false
		}
		n := 1 + int(rdata[0])
		switch {
		case n > len(rdata):
			return n, false
		case f == 'k':
			return n, isTag(rdata[1:n])
		case f == 'f':
			return n, isDecimal(rdata[1:n])
		}
		return n, true
	case 'S':
		n := 0
		for n < len(rdata) {
			n += 1 + int(rdata[n])
		}
		return n, n > 0
	case 'B', 'M':
		return len(rdata), isBitMap(rdata) && (f == 'B' || len(rdata) > 0)
	case 'P':
		return len(rdata), checkParams(rdata) == nil
	case 'b', 'x':
		return len(rdata), len(rdata) > 0
	}
	return len(rdata), true // v, z
}

// isBitMap tells whether b is a bit map of types (RFC 4034 §4.1.2).
func isBitMap(b []byte) bool {
	for last := -1; len(b) > 0; {
		if len(b) < 2 || int(b[0]) <= last {
			return false
		}
		n := int(b[1])
		if n == 0 || n > 32 || len(b) < 2+n || b[1+n] == 0 {
			return false
		}
		last, b = int(b[0]), b[2+n:]
	}
	return true
}
