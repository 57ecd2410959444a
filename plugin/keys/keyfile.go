package keys

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxKeyFile bounds a key file, in octets.
const maxKeyFile = 1 << 20

// digest identifies the content of a key file, or why it could not be read.
type digest [sha256.Size]byte

// loadKeyFile reads a key file and the keys in it.
func loadKeyFile(path string) ([]*key, digest, error) {
	data, err := readKeyFile(path)
	if err != nil {
		return nil, failed(err), err
	}
	keys, err := parseKeyFile(path, data)
	return keys, sha256.Sum256(data), err
}

// lookAt gives the digest of a key file as it is now.
func lookAt(path string) digest {
	data, err := readKeyFile(path)
	if err != nil {
		return failed(err)
	}
	return sha256.Sum256(data)
}

func failed(err error) digest { return sha256.Sum256([]byte("\x00" + err.Error())) }

func readKeyFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // to open a pipe would block
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("%s: larger than %d octets", path, maxKeyFile)
	}
	return data, nil
}

// parseKeyFile reads the key statements of BIND's configuration language, as
// tsig-keygen writes them:
//
//	key "name" { algorithm hmac-sha256; secret "Base64"; };
//
// There may be several, and comments as in C, C++ and shell. Errors have file
// and line in front and nothing of the file in them but names of keys that are
// complete.
func parseKeyFile(file string, data []byte) ([]*key, error) {
	p := &keyParser{file: file, data: data, line: 1}
	var keys []*key
	for {
		if err := p.next(); err != nil {
			return nil, err
		}
		if p.kind == end {
			break
		}
		k, err := p.parseKey()
		if err != nil {
			return nil, err
		}
		for _, other := range keys {
			if other.name == k.name {
				return nil, fmt.Errorf("%s: key %q is there already, at %s", k.place, k.name, other.place)
			}
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, p.errorf("the file has no key")
	}
	return keys, nil
}

// kind is the kind of a token.
type kind int

const (
	end kind = iota
	word
	quoted
	mark // { } or ;
)

// keyParser reads tokens. After next, the fields kind, text and at describe the
// token.
type keyParser struct {
	file string
	data []byte // what is left
	line int    // of the next octet

	kind kind
	text string
	at   int // line where the token begins
}

func (p *keyParser) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", p.file, p.at, fmt.Errorf(format, args...))
}

// parseKey reads a statement whose first token was read.
func (p *keyParser) parseKey() (*key, error) {
	if p.kind != word || p.text != "key" {
		return nil, p.errorf("want a statement %q: key files have nothing else", "key")
	}
	place := fmt.Sprintf("%s:%d", p.file, p.at)
	name, err := p.value("the name of the key")
	if err != nil {
		return nil, err
	}
	if err := p.expect("{", "behind the name of the key"); err != nil {
		return nil, err
	}
	clauses := make(map[string]string)
	for {
		if err := p.next(); err != nil {
			return nil, err
		}
		if p.kind == mark && p.text == "}" {
			break
		}
		clause := p.text
		if p.kind != word || clause != "algorithm" && clause != "secret" {
			return nil, p.errorf("want %q, %q or %q in a key", "algorithm", "secret", "}")
		}
		if _, ok := clauses[clause]; ok {
			return nil, p.errorf("%s is given twice", clause)
		}
		if clauses[clause], err = p.value(clause); err != nil {
			return nil, err
		}
		if err := p.expect(";", "behind "+clause); err != nil {
			return nil, err
		}
	}
	for _, clause := range []string{"algorithm", "secret"} {
		if _, ok := clauses[clause]; !ok {
			return nil, p.errorf("%s is missing in the key that begins at %s", clause, place)
		}
	}
	if err := p.expect(";", "behind the key"); err != nil {
		return nil, err
	}
	k, err := newKey(name, clauses["algorithm"], withoutSpace(clauses["secret"]), place)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	return k, nil
}

// withoutSpace leaves the spaces out that a long secret may have in it.
func withoutSpace(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if !isSpace(s[i]) {
			b = append(b, s[i])
		}
	}
	return string(b)
}

// value reads a word or a quoted string.
func (p *keyParser) value(what string) (string, error) {
	if err := p.next(); err != nil {
		return "", err
	}
	if p.kind != word && p.kind != quoted {
		return "", p.errorf("%s is missing", what)
	}
	return p.text, nil
}

// expect reads a mark.
func (p *keyParser) expect(text, where string) error {
	if err := p.next(); err != nil {
		return err
	}
	if p.kind != mark || p.text != text {
		return p.errorf("want %q %s", text, where)
	}
	return nil
}

// next reads a token.
func (p *keyParser) next() error {
	if err := p.skip(); err != nil {
		return err
	}
	p.at, p.text = p.line, ""
	if len(p.data) == 0 {
		p.kind = end
		return nil
	}
	switch c := p.data[0]; {
	case isMark(c):
		p.kind, p.text = mark, string(c)
		p.data = p.data[1:]
	case c == '"':
		return p.quoted()
	default:
		n := 1
		for n < len(p.data) && !isSpace(p.data[n]) && !isMark(p.data[n]) && p.data[n] != '"' {
			n++
		}
		p.kind, p.text = word, string(p.data[:n])
		p.data = p.data[n:]
	}
	return nil
}

// errQuote is about a string without its end.
var errQuote = errors.New("the quote is not closed on its line")

// quoted reads a string in quotes. A backslash in front of a quote makes it a part of the
// string; in front of others it stays, for the domain name.
func (p *keyParser) quoted() error {
	var text []byte
	for i := 1; i < len(p.data); i++ {
		switch c := p.data[i]; {
		case c == '"':
			p.kind, p.text, p.data = quoted, string(text), p.data[i+1:]
			return nil
		case c == '\n':
			return p.errorf("%w", errQuote)
		case c == '\\' && i+1 < len(p.data) && p.data[i+1] == '"':
			i++
			text = append(text, '"')
		case c == '\\' && i+1 < len(p.data) && p.data[i+1] == '\\':
			i++
			text = append(text, `\\`...)
		default:
			text = append(text, c)
		}
	}
	return p.errorf("%w", errQuote)
}

// skip passes over spaces and comments.
func (p *keyParser) skip() error {
	for len(p.data) > 0 {
		switch c := p.data[0]; {
		case isSpace(c):
			p.pass(1)
		case c == '#', c == '/' && len(p.data) > 1 && p.data[1] == '/':
			n := 0
			for n < len(p.data) && p.data[n] != '\n' {
				n++
			}
			p.pass(n)
		case c == '/' && len(p.data) > 1 && p.data[1] == '*':
			p.at = p.line
			n := 2
			for n+1 < len(p.data) && (p.data[n] != '*' || p.data[n+1] != '/') {
				n++
			}
			if n+1 >= len(p.data) {
				return p.errorf("the comment is not closed")
			}
			p.pass(n + 2)
		default:
			return nil
		}
	}
	return nil
}

// pass passes over n octets and counts the lines.
func (p *keyParser) pass(n int) {
	for _, c := range p.data[:n] {
		if c == '\n' {
			p.line++
		}
	}
	p.data = p.data[n:]
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}

func isMark(c byte) bool { return c == '{' || c == '}' || c == ';' }
