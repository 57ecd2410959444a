package zonefile

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// maxGenerated is how many records one $GENERATE makes at most.
const maxGenerated = 1 << 20

// Reasons why a $GENERATE is refused.
var (
	errRange    = errors.New("a range is START-STOP or START-STOP/STEP, numbers up to 2147483647, START not above STOP, STEP not 0")
	errMany     = fmt.Errorf("more than %d records", maxGenerated)
	errModifier = errors.New("modifiers are ${OFFSET}, ${OFFSET,WIDTH} or ${OFFSET,WIDTH,BASE}, BASE one of d o x X n N")
	errNegative = errors.New("the counter with its offset is negative, which only base d can write")
	errExpanded = errors.New("the text made is too long")
)

// counterRange is the first argument of $GENERATE.
type counterRange struct{ start, stop, step uint64 }

func parseRange(tok []byte) (r counterRange, err error) {
	first, rest, ok := bytes.Cut(tok, []byte{'-'})
	last, step, stepped := bytes.Cut(rest, []byte{'/'})
	var ok1, ok2 bool
	r.start, ok1 = parseNumber(first, math.MaxInt32)
	r.stop, ok2 = parseNumber(last, math.MaxInt32)
	r.step = 1
	ok3 := true
	if stepped {
		r.step, ok3 = parseNumber(step, math.MaxInt32)
	}
	if !ok || !ok1 || !ok2 || !ok3 || r.step == 0 || r.start > r.stop {
		return r, errRange
	}
	if (r.stop-r.start)/r.step >= maxGenerated {
		return r, errMany
	}
	return r, nil
}

// generate carries out $GENERATE: range, owner, [TTL] [class] type, RDATA.
func (s *scanner) generate() error {
	const rule = "$GENERATE"
	at := Position{s.file, s.at}
	if err := s.argument(rule, "the range"); err != nil {
		return err
	}
	r, err := parseRange(s.tok)
	if err != nil {
		return s.errorf(rule, "%s: %w", s.token(), err)
	}
	if err := s.argument(rule, "the owner"); err != nil {
		return err
	}
	if s.kind != word {
		return s.errorf(rule, "%s where a name must be", s.token())
	}
	lhs := bytes.Clone(s.tok)
	if err := s.argument(rule, "the type"); err != nil {
		return err
	}
	h, err := s.header()
	if err != nil {
		return err
	}
	if err := s.argument(rule, "the RDATA"); err != nil {
		return err
	}
	rhs, err := s.rightHandSide(h.typ)
	if err != nil {
		return err
	}

	outer, owner := s.lexer, s.owner
	defer func() { s.lexer, s.owner = outer, owner }()
	s.lexer = &s.line
	s.rec.Position = at
	for n := r.start; n <= r.stop && !s.stop; n += r.step {
		if err := s.generated(lhs, rhs, n, h, at); err != nil {
			var e *Error
			if errors.As(err, &e) && e.Rule != rule {
				e.Err = fmt.Errorf("%w ($GENERATE at %d)", e.Err, n)
			}
			return err
		}
	}
	return nil
}

// rightHandSide gives the text of the RDATA: the current token without its
// quotes if it is the last, otherwise all tokens as they are.
func (s *scanner) rightHandSide(typ uint16) ([]byte, error) {
	s.text = s.text[:0]
	only := s.kind == quoted
	if err := s.gather(typ); err != nil {
		return nil, err
	}
	text := bytes.Clone(s.text)
	if only && bytes.HasSuffix(text, []byte{'"'}) && !severalTokens(text) {
		text = bytes.ReplaceAll(text[1:len(text)-1], []byte(`\"`), []byte(`"`))
	}
	return text, nil
}

// severalTokens tells whether text, which starts with a quoted string, has
// something behind it.
func severalTokens(text []byte) bool {
	for i := 1; i < len(text)-1; i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return true
		}
	}
	return false
}

// generated makes the record for one value of the counter.
func (s *scanner) generated(lhs, rhs []byte, n uint64, h header, at Position) error {
	fail := func(err error) error { return &Error{at, "$GENERATE", err} }
	var err error
	if s.lineBuf, err = expand(s.lineBuf[:0], lhs, int64(n)); err != nil {
		return fail(err)
	}
	s.kind, s.tok, s.at, s.file = word, s.lineBuf, at.Line, at.File
	if s.owner, err = s.newName(s.tok); err != nil {
		return err
	}
	if s.lineBuf, err = expand(s.lineBuf[:0], rhs, int64(n)); err != nil {
		return fail(err)
	}
	s.lineBuf = append(s.lineBuf, 0)
	s.reset(s.lineBuf, at.File, at.Line)
	if err := s.rdata(h.typ); err != nil {
		return err
	}
	return s.emit(h)
}

// expand appends text to dst with the counter in the place of each $; \$ stays
// as it is, $$ becomes $.
func expand(dst, text []byte, n int64) ([]byte, error) {
	for i := 0; i < len(text); {
		c := text[i]
		i++
		switch {
		case c == '\\' && i < len(text):
			dst = append(dst, c, text[i])
			i++
		case c != '$':
			dst = append(dst, c)
		case i < len(text) && text[i] == '$':
			dst = append(dst, '$')
			i++
		case i < len(text) && text[i] == '{':
			length := bytes.IndexByte(text[i:], '}')
			if length < 0 {
				return dst, errModifier
			}
			var err error
			if dst, err = appendCounter(dst, text[i+1:i+length], n); err != nil {
				return dst, fmt.Errorf("%q: %w", text[i-1:i+length+1], err)
			}
			i += length + 1
		default:
			dst = strconv.AppendInt(dst, n, 10)
		}
		if len(dst) >= maxToken {
			return dst, errExpanded
		}
	}
	return dst, nil
}

// appendCounter appends n as the modifiers between braces say.
func appendCounter(dst, modifiers []byte, n int64) ([]byte, error) {
	fields := bytes.Split(modifiers, []byte{','})
	offset, err := strconv.ParseInt(string(fields[0]), 10, 32)
	if err != nil || len(fields) > 3 {
		return dst, errModifier
	}
	width, base := uint64(0), byte('d')
	if len(fields) > 1 {
		var ok bool
		if width, ok = parseNumber(fields[1], 255); !ok {
			return dst, errModifier
		}
	}
	if len(fields) > 2 {
		if len(fields[2]) != 1 {
			return dst, errModifier
		}
		base = fields[2][0]
	}
	n += offset
	if n < 0 && base != 'd' {
		return dst, errNegative
	}
	switch base {
	case 'd':
		return fmt.Appendf(dst, "%0*d", int(width), n), nil
	case 'o':
		return fmt.Appendf(dst, "%0*o", int(width), n), nil
	case 'x':
		return fmt.Appendf(dst, "%0*x", int(width), n), nil
	case 'X':
		return fmt.Appendf(dst, "%0*X", int(width), n), nil
	case 'n':
		return appendNibbles(dst, "0123456789abcdef", n, int(width)), nil
	case 'N':
		return appendNibbles(dst, "0123456789ABCDEF", n, int(width)), nil
	}
	return dst, errModifier
}

// appendNibbles appends the hex digits of n as labels, the last digit first, as
// names below ip6.arpa have them. The width counts the dots too; if it is even
// the text ends in one.
func appendNibbles(dst []byte, digits string, n int64, width int) []byte {
	for {
		dst = append(dst, digits[n&15])
		n >>= 4
		width--
		if n == 0 && width <= 0 {
			return dst
		}
		dst = append(dst, '.')
		width--
		if n == 0 && width <= 0 {
			return dst
		}
	}
}
