package zonefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxToken bounds a word or a quoted string, in octets as written: the longest
// that any RDATA needs is 65535 octets written as \DDD.
const maxToken = 1 << 18

// firstBuffer is the size of the buffer a file is read with; it grows only for
// tokens that do not fit.
const firstBuffer = 64 << 10

// kind is what a token is.
type kind uint8

const (
	word   kind = iota
	quoted      // the octets between the quotes
	end         // of the line, outside of parentheses
	eof
)

// The classes of octets. Those of words are 0.
const (
	inWord = iota
	isBlank
	isNewline
	isReturn
	isComment
	isQuote
	isOpen
	isClose
	isEscape
	isNUL // also stands behind the end of the buffer
)

var classes = [256]uint8{
	0: isNUL, ' ': isBlank, '\t': isBlank, '\n': isNewline, '\r': isReturn,
	';': isComment, '"': isQuote, '(': isOpen, ')': isClose, '\\': isEscape,
}

// quotedStops holds the octets that need a look within quotes.
var quotedStops = [256]bool{0: true, '\n': true, '"': true, '\\': true}

// lexer takes a master file apart into words, quoted strings and the ends of
// lines (RFC 1035 §5.1). Escapes stay in the tokens as they are written.
// Parentheses and comments do not come through. It holds no more of the file
// than the current token and what was read ahead.
type lexer struct {
	r   io.Reader // nil: everything is in the buffer
	buf []byte    // buf[n] is 0
	pos int       // of the next octet
	n   int       // how many octets are in the buffer
	err error     // of reading

	file    string
	line    int // of the next octet
	depth   int // of open parentheses
	openedA int // the line of the first open parenthesis

	// The current token.
	kind    kind
	tok     []byte // valid until the next call of next
	at      int    // its line
	glued   bool   // no blank stands before it
	escaped bool   // it has a backslash
}

// newLexer gives a lexer of a file. A byte order mark is passed over.
func newLexer(r io.Reader, file string) *lexer {
	x := &lexer{r: r, buf: make([]byte, firstBuffer), file: file, line: 1, kind: end}
	for x.n < 3 && x.fill(0) {
	}
	if bytes.HasPrefix(x.buf[:x.n], []byte("\xef\xbb\xbf")) {
		x.pos = 3
	}
	return x
}

// reset makes x a lexer of text, which is one line and ends in a 0 octet that is
// not part of it.
func (x *lexer) reset(text []byte, file string, line int) {
	*x = lexer{buf: text, n: len(text) - 1, file: file, line: line, kind: end}
}

// fill reads more into the buffer and keeps what is there from offset keep on,
// which then is at its start. It gives false at the end of the file, after a
// read error, and if what it has to keep fills the greatest buffer.
func (x *lexer) fill(keep int) bool {
	if x.r == nil || x.err != nil {
		return false
	}
	copy(x.buf, x.buf[keep:x.n])
	x.n -= keep
	x.pos -= keep
	if x.n == len(x.buf)-1 {
		if len(x.buf) >= maxToken {
			return false
		}
		buf := make([]byte, 2*len(x.buf))
		copy(buf, x.buf[:x.n])
		x.buf = buf
	}
	for range 100 {
		n, err := x.r.Read(x.buf[x.n : len(x.buf)-1])
		x.n += n
		x.buf[x.n] = 0
		if err != nil {
			x.err = err
		}
		if n > 0 || err != nil {
			return n > 0
		}
	}
	x.err = io.ErrNoProgress
	return false
}

// errorf makes an Error at the current token.
func (x *lexer) errorf(rule, format string, args ...any) *Error {
	return &Error{Position{x.file, x.at}, rule, fmt.Errorf(format, args...)}
}

// startsBlank tells whether the next octet, which is the first of a line, is a
// blank: the owner is left out.
func (x *lexer) startsBlank() bool {
	if x.pos == x.n {
		x.fill(x.pos)
	}
	return classes[x.buf[x.pos]] == isBlank
}

// next goes to the next token. After an error it can be called again, until it
// has given the end of the line.
func (x *lexer) next() error {
	x.glued, x.tok = true, nil
	for {
		switch classes[x.buf[x.pos]] {
		case inWord, isEscape:
			return x.readWord()
		case isQuote:
			return x.readQuoted()
		case isBlank:
			x.pos++
		case isNewline:
			x.pos++
			x.line++
			if x.depth == 0 {
				x.kind, x.at = end, x.line-1
				return nil
			}
		case isReturn:
			if x.pos+1 == x.n {
				x.fill(x.pos)
			}
			x.pos++
			if x.pos < x.n && x.buf[x.pos] != '\n' {
				return x.lexical("carriage return within a line")
			}
		case isComment:
			x.comment()
		case isOpen:
			if x.depth == 0 {
				x.openedA = x.line
			}
			x.depth++
			x.pos++
		case isClose:
			x.pos++
			if x.depth == 0 {
				return x.lexical("closing parenthesis without an opening one")
			}
			x.depth--
		case isNUL:
			if x.pos < x.n {
				x.pos++
				return x.lexical("NUL octet")
			}
			if x.fill(x.pos) {
				continue
			}
			x.kind, x.at = eof, x.line
			if x.depth > 0 && (x.err == nil || errors.Is(x.err, io.EOF)) {
				x.depth = 0
				x.at = x.openedA
				return x.errorf("parenthesis", "opened here and not closed before the end of the file")
			}
			return nil
		}
		x.glued = false
	}
}

// lexical makes an error of something that stands outside of every token.
func (x *lexer) lexical(what string) error {
	x.kind, x.at = word, x.line
	return x.errorf("syntax", "%s", what)
}

// comment goes to the end of the line.
func (x *lexer) comment() {
	for {
		if i := bytes.IndexByte(x.buf[x.pos:x.n], '\n'); i >= 0 {
			x.pos += i
			return
		}
		x.pos = x.n
		if !x.fill(x.n) {
			return
		}
	}
}

// more reads on within a token that starts at x.pos and is known up to offset
// p. It gives the new offset, or false if there is no more.
func (x *lexer) more(p int) (int, bool) {
	p -= x.pos
	ok := x.fill(x.pos)
	return x.pos + p, ok
}

// tooLong tells whether a token that could not be continued is one that the
// buffer does not hold, and passes over it.
func (x *lexer) tooLong() bool {
	if x.r == nil || x.err != nil {
		return false
	}
	x.pos = x.n
	return true
}

func (x *lexer) readWord() error {
	x.kind, x.at, x.escaped = word, x.line, false
	p := x.pos
	for {
		buf := x.buf
		for classes[buf[p]] == inWord {
			p++
		}
		switch classes[buf[p]] {
		case isEscape:
			x.escaped = true
			if p+1 == x.n {
				p, _ = x.more(p)
			}
			if p+1 == x.n && x.tooLong() {
				return x.errorf("syntax", "word longer than %d octets", maxToken)
			}
			if p+1 == x.n || x.buf[p+1] == '\n' || x.buf[p+1] == '\r' {
				x.pos = p + 1
				return x.errorf("syntax", "backslash at the end of the line")
			}
			if x.buf[p+1] == 0 {
				x.pos = p + 1
				return x.errorf("syntax", "NUL octet")
			}
			p += 2
			continue
		case isNUL:
			if p == x.n {
				var ok bool
				if p, ok = x.more(p); ok {
					continue
				}
				if x.tooLong() {
					return x.errorf("syntax", "word longer than %d octets", maxToken)
				}
			}
		}
		x.tok = x.buf[x.pos:p]
		x.pos = p
		return nil
	}
}

func (x *lexer) readQuoted() error {
	x.kind, x.at, x.escaped = quoted, x.line, false
	p := x.pos + 1
	for {
		buf := x.buf
		for !quotedStops[buf[p]] {
			p++
		}
		switch buf[p] {
		case '"':
			x.tok = x.buf[x.pos+1 : p]
			x.pos = p + 1
			return nil
		case '\\':
			x.escaped = true
			if p+1 == x.n {
				p, _ = x.more(p)
			}
			if p+1 < x.n && x.buf[p+1] != '\n' && x.buf[p+1] != 0 {
				p += 2
				continue
			}
			p++
		}
		if p == x.n {
			var ok bool
			if p, ok = x.more(p); ok {
				continue
			}
			if x.tooLong() {
				return x.errorf("syntax", "quoted string longer than %d octets", maxToken)
			}
		}
		if p < x.n && x.buf[p] == 0 {
			x.pos = p + 1
			return x.errorf("syntax", "NUL octet")
		}
		x.pos = p
		return x.errorf("syntax", "quoted string without its closing quote in the same line")
	}
}

// skip goes to the end of the entry after an error in it. The error is that of
// a parenthesis that is never closed.
func (x *lexer) skip() error {
	for x.kind != end && x.kind != eof {
		if err := x.next(); err != nil && x.kind == eof {
			return err
		}
	}
	return nil
}
