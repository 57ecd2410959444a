package zonefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Bounds of $INCLUDE: how deep, and how many in a run.
const (
	maxDepth    = 16
	maxIncludes = 10000
)

// scanner reads one zone: the entries of its files.
type scanner struct {
	fn   func(*Record) error
	warn func(Position, zone.Problem) // may be nil
	errs []error
	stop bool // the rest is not to be read

	*lexer          // of the file being read
	open   []source // the files being read, innermost last
	root   *os.Root // the folder of the main file, from the first $INCLUDE on
	dir    string   // its path
	files  []string
	count  int // of $INCLUDE

	origin     dnsname.Name
	moved      bool         // by $ORIGIN or $INCLUDE, and no owner was given since
	owner      dnsname.Name // the last; "" if there was none
	ownerText  []byte       // how it was written
	ttl        uint32       // the last given
	hasTTL     bool
	defaultTTL uint32 // of $TTL
	hasDefault bool

	names   []byte // memory of owners
	data    []byte // RDATA of the record
	text    []byte // words put together
	types   []uint16
	svcb    []param
	rec     Record
	line    lexer // of $GENERATE
	lineBuf []byte
}

// source is a file being read.
type source struct {
	name string // below the folder of the main file
	info fs.FileInfo
}

func newScanner(origin dnsname.Name) *scanner {
	return &scanner{origin: origin, text: make([]byte, 0, 512), data: make([]byte, 0, 512)}
}

// scan reads the main file. Errors are in s.errs.
func (s *scanner) scan(path string) {
	s.dir = filepath.Dir(path)
	s.files = append(s.files, path)
	defer func() {
		if s.root != nil {
			if err := s.root.Close(); err != nil {
				s.fail(&Error{Position{File: s.dir}, "file", err})
			}
		}
	}()
	f, err := openMain(path)
	if err != nil {
		s.fail(&Error{Position{File: path}, "file", bare(err)})
		return
	}
	s.read(f, filepath.Base(path), path)
}

// openMain opens the main file. It looks first: a pipe would block.
func openMain(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&(fs.ModeType&^fs.ModeDir) != 0 { // reading a folder is an error that the system words
		return nil, errFile
	}
	return os.Open(path)
}

// bare takes the path off an error of package os: the position has it.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// read reads a file that is open and closes it. name is its path below the
// folder of the main file, file what positions show.
func (s *scanner) read(f *os.File, name, file string) {
	info, err := f.Stat()
	if err == nil {
		s.open = append(s.open, source{name, info})
		s.entries(newLexer(f, file))
		s.open = s.open[:len(s.open)-1]
	}
	if err := errors.Join(err, f.Close()); err != nil {
		s.fail(&Error{Position{File: file}, "file", bare(err)})
	}
}

// fail takes note of an error.
func (s *scanner) fail(err error) {
	s.errs = append(s.errs, err)
	if len(s.errs) == maxErrors {
		s.errs = append(s.errs, errMore)
		s.stop = true
	}
}

// entries reads all entries that x gives.
func (s *scanner) entries(x *lexer) {
	outer := s.lexer
	s.lexer = x
	for more := true; more && !s.stop; {
		var err error
		if more, err = s.entry(); err != nil {
			s.fail(err)
			if err := x.skip(); err != nil && !s.stop {
				s.fail(err)
			}
			more = x.kind != eof
		}
	}
	if x.err != nil && !errors.Is(x.err, io.EOF) && !s.stop {
		s.fail(&Error{Position{x.file, x.line}, "file", bare(x.err)})
		s.stop = true
	}
	s.lexer = outer
}

// entry reads one entry: a directive, a record or an empty line. It gives false
// at the end of the file.
func (s *scanner) entry() (bool, error) {
	blank := s.startsBlank()
	if err := s.next(); err != nil {
		return true, err
	}
	switch {
	case s.kind == eof:
		return false, nil
	case s.kind == end:
		return true, nil
	case !blank && s.kind == word && s.tok[0] == '$':
		return true, s.directive()
	}
	s.rec.Position = Position{s.file, s.at}
	if !blank {
		if err := s.setOwner(); err != nil {
			return true, err
		}
		if err := s.next(); err != nil {
			return true, err
		}
	} else if s.owner == "" {
		return true, s.errorf("owner", "left out, and there is none before")
	} else if s.moved {
		s.moved = false
		s.warning(s.rec.Position, RuleInherited, 0, fmt.Sprintf("the origin is now %s", s.origin))
	}
	return true, s.record()
}

// warning reports something about a record of the last owner, or of the apex.
func (s *scanner) warning(at Position, rule zone.Rule, typ uint16, detail string) {
	if s.warn == nil {
		return
	}
	owner := s.owner
	if owner == "" {
		owner = s.origin
	}
	s.warn(at, zone.Problem{Rule: rule, Owner: owner, Type: typ, Detail: detail})
}

// setOwner makes the current token the owner.
func (s *scanner) setOwner() error {
	s.moved = false
	if s.owner != "" && bytes.Equal(s.tok, s.ownerText) {
		return nil
	}
	owner, err := s.newName(s.tok)
	if err != nil {
		return err
	}
	s.owner = owner
	s.ownerText = append(s.ownerText[:0], s.tok...)
	return nil
}

// newName gives the name that a token stands for. It has memory of its own.
func (s *scanner) newName(tok []byte) (dnsname.Name, error) {
	if s.kind != word {
		return "", s.errorf("owner", "%s where a name must be", s.token())
	}
	if cap(s.names)-len(s.names) < dnsname.MaxLen {
		s.names = make([]byte, 0, 16<<10)
	}
	from := len(s.names)
	names, err := dnsname.AppendParse(s.names, tok, s.origin)
	if err != nil {
		return "", s.errorf("owner", "%s: %w", s.token(), err)
	}
	s.names = names
	return dnsname.Name(unsafe.String(&names[from], len(names)-from)), nil
}

// record reads a record from the token after its owner on.
func (s *scanner) record() error {
	h, err := s.header()
	if err != nil {
		return err
	}
	if err := s.rdata(h.typ); err != nil {
		return err
	}
	return s.emit(h)
}

// header is what stands between owner and RDATA.
type header struct {
	typ    uint16
	ttl    uint32
	hasTTL bool
}

// header reads TTL, class and type from the current token on.
func (s *scanner) header() (h header, err error) {
	for class := false; ; {
		switch {
		case s.kind == end || s.kind == eof:
			return h, s.errorf("type", "the line ends before it")
		case s.kind == quoted:
			return h, s.errorf("type", "%s where TTL, class or type must be", s.token())
		case s.tok[0] >= '0' && s.tok[0] <= '9':
			if h.hasTTL {
				return h, s.errorf("TTL", "%s after another TTL", s.token())
			}
			if h.ttl, err = s.readTTL(); err != nil {
				return h, err
			}
			h.hasTTL, s.hasTTL = true, true
		default:
			var ok bool
			if h.typ, ok = typeOf(s.tok); ok {
				if rrset.IsMeta(h.typ) {
					return h, s.errorf("type", "%s cannot be in a zone", s.tok)
				}
				return h, nil
			}
			c, ok := classOf(s.tok)
			switch {
			case !ok:
				return h, s.errorf("type", "%s is none, nor a class or a TTL", s.token())
			case c != classIN:
				return h, s.errorf("class", "%s, only IN is served", s.tok)
			case class:
				return h, s.errorf("class", "%s after another class", s.token())
			}
			class = true
		}
		if err := s.next(); err != nil {
			return h, err
		}
	}
}

// maxTTL is the greatest TTL (RFC 2181 §8).
const maxTTL = 1<<31 - 1

// readTTL reads the current token as a TTL, which becomes the last given.
func (s *scanner) readTTL() (uint32, error) {
	ttl, ok := parsePeriod(s.tok)
	if !ok {
		return 0, s.errorf("TTL", "%s is none", s.token())
	}
	if ttl > maxTTL {
		ttl = 0
		s.warning(Position{s.file, s.at}, RuleTTLRange, 0, string(s.tok))
	}
	s.ttl = ttl
	return ttl, nil
}

// emit hands on the record of the last owner whose RDATA is in s.data.
func (s *scanner) emit(h header) error {
	r := &s.rec
	r.Owner, r.Type, r.RDATA = s.owner, h.typ, s.data
	switch {
	case h.hasTTL:
		r.TTL = h.ttl
	case s.hasDefault:
		r.TTL = s.defaultTTL
	case s.hasTTL:
		r.TTL = s.ttl
	case h.typ == rrset.TypeSOA: // as BIND does; RFC 2308 §4 has no rule
		m := r.RDATA[len(r.RDATA)-4:]
		r.TTL = uint32(m[0])<<24 | uint32(m[1])<<16 | uint32(m[2])<<8 | uint32(m[3])
		if r.TTL > maxTTL {
			r.TTL = 0
		}
		s.defaultTTL, s.hasDefault = r.TTL, true
		s.warning(r.Position, RuleNoTTL, h.typ, fmt.Sprintf("MINIMUM is taken: %d", r.TTL))
	default:
		s.hasTTL = true // once is enough
		return &Error{r.Position, "TTL", errors.New("left out, and neither a $TTL nor another TTL is before")}
	}
	if err := s.fn(r); err != nil {
		return &Error{r.Position, "record", err}
	}
	return nil
}

// directive carries out the directive that the current token names.
func (s *scanner) directive() error {
	var buf [16]byte
	switch string(upper(buf[:0], s.tok)) {
	case "$ORIGIN":
		return s.setOrigin()
	case "$TTL":
		return s.setTTL()
	case "$INCLUDE":
		return s.include()
	case "$GENERATE":
		return s.generate()
	}
	return s.errorf("directive", "%s is none; write \\$ for an owner that starts with $", s.token())
}

// argument goes to the next argument of a directive.
func (s *scanner) argument(directive, what string) error {
	if err := s.next(); err != nil {
		return err
	}
	if s.kind == end || s.kind == eof {
		return s.errorf(directive, "%s is missing", what)
	}
	return nil
}

// lastArgument goes to the end of the line.
func (s *scanner) lastArgument(directive string) error {
	if err := s.next(); err != nil {
		return err
	}
	if s.kind != end && s.kind != eof {
		return s.errorf(directive, "%s is one argument too many", s.token())
	}
	return nil
}

func (s *scanner) setOrigin() error {
	if err := s.argument("$ORIGIN", "the origin"); err != nil {
		return err
	}
	origin, err := s.parseOrigin("$ORIGIN")
	if err != nil {
		return err
	}
	if err := s.lastArgument("$ORIGIN"); err != nil {
		return err
	}
	s.moveTo(origin)
	return nil
}

func (s *scanner) parseOrigin(directive string) (dnsname.Name, error) {
	if s.kind != word {
		return "", s.errorf(directive, "%s where a name must be", s.token())
	}
	var buf [dnsname.MaxLen]byte
	b, err := dnsname.AppendParse(buf[:0], s.tok, s.origin)
	if err != nil {
		return "", s.errorf(directive, "%s: %w", s.token(), err)
	}
	return dnsname.Name(b), nil
}

// moveTo makes origin the one that relative names are below.
func (s *scanner) moveTo(origin dnsname.Name) {
	if origin != s.origin {
		s.origin = origin
		s.ownerText = s.ownerText[:0]
		s.moved = true
	}
}

func (s *scanner) setTTL() error {
	if err := s.argument("$TTL", "the TTL"); err != nil {
		return err
	}
	last := s.ttl
	ttl, err := s.readTTL()
	s.ttl = last
	if err != nil {
		return err
	}
	if err := s.lastArgument("$TTL"); err != nil {
		return err
	}
	s.defaultTTL, s.hasDefault = ttl, true
	return nil
}

// include reads another file in the place of the directive.
func (s *scanner) include() error {
	const rule = "$INCLUDE"
	if err := s.argument(rule, "the file name"); err != nil {
		return err
	}
	at := Position{s.file, s.at}
	text, err := appendUnescaped(nil, s.tok)
	if err != nil {
		return s.errorf(rule, "%s: %w", s.token(), err)
	}
	origin := s.origin
	if err := s.next(); err != nil {
		return err
	}
	if s.kind == word || s.kind == quoted {
		if origin, err = s.parseOrigin(rule); err != nil {
			return err
		}
		if err := s.lastArgument(rule); err != nil {
			return err
		}
	}
	f, name, err := s.openIncluded(string(text))
	if err != nil {
		return &Error{at, rule, fmt.Errorf("%q: %w", text, bare(err))}
	}
	outer, owner, outerText := s.origin, s.owner, slices.Clone(s.ownerText)
	s.moveTo(origin)
	s.read(f, name, filepath.Join(s.dir, name))
	s.origin, s.owner, s.ownerText, s.moved = outer, owner, outerText, false
	return nil
}

// Why a file is not included.
var (
	errAbsolute = errors.New("the path must be relative: files are included from the folder of the zone file only")
	errOutside  = errors.New("the file is outside of the folder of the zone file")
	errCycle    = errors.New("the file includes itself")
	errDepth    = fmt.Errorf("files included in each other more than %d deep", maxDepth)
	errIncludes = fmt.Errorf("more than %d files included", maxIncludes)
	errFile     = errors.New("not a regular file")
)

// openIncluded opens a file for $INCLUDE in the innermost file. It also gives
// its path below the folder of the main file.
func (s *scanner) openIncluded(path string) (*os.File, string, error) {
	if filepath.IsAbs(path) {
		return nil, "", errAbsolute
	}
	if len(s.open) == 0 { // not read from a folder
		return nil, "", errOutside
	}
	name := filepath.Join(filepath.Dir(s.open[len(s.open)-1].name), path)
	if !filepath.IsLocal(name) {
		return nil, "", errOutside
	}
	s.count++
	if s.count > maxIncludes {
		s.stop = true
		return nil, "", errIncludes
	}
	if len(s.open) > maxDepth {
		return nil, "", errDepth
	}
	if full := filepath.Join(s.dir, name); !slices.Contains(s.files, full) {
		s.files = append(s.files, full)
	}
	if s.root == nil {
		var err error
		if s.root, err = os.OpenRoot(s.dir); err != nil {
			return nil, "", err
		}
	}
	info, err := s.root.Stat(name) // before it is opened: a pipe would block
	if err != nil {
		return nil, "", err
	}
	if !info.Mode().IsRegular() {
		return nil, "", errFile
	}
	for _, o := range s.open {
		if os.SameFile(info, o.info) {
			return nil, "", errCycle
		}
	}
	f, err := s.root.Open(name)
	return f, name, err
}
