// Package zonefile reads master files (RFC 1035 §5) and makes zones of them.
//
// It knows $ORIGIN, $INCLUDE, $TTL (RFC 2308 §4) and $GENERATE, records in any
// order of TTL and class, owners left out, parentheses, quoted strings, \DDD and
// \X escapes, TTLs with units (1h30m), TYPE123 and CLASS1 and the \# form of
// RDATA (RFC 3597 §5) for unknown and known types, and the text form of every
// type that miekg/dns knows. Nearly all have encoders here; APL, HIP, NXT and
// private types of miekg/dns go through its parser.
//
// Where the RFCs are silent or software differs:
//
//   - Only class IN is taken.
//   - A record without a TTL has that of the last $TTL; without one that of the
//     last TTL given, and an SOA before all of these its own MINIMUM, which then
//     is the default, as in BIND. A TTL above 2147483647 is 0 (RFC 2181 §8). A
//     $TTL in an included file stays in force after it.
//   - A file name in $INCLUDE is relative to the folder of the file it stands in.
//     It must be inside the folder of the main file, symbolic links resolved: an
//     absolute name or one that leads out is an error. Included files start with
//     the owner of the including file; afterwards origin and owner are as before.
//   - $GENERATE works as in BIND: the right-hand side is one word or one quoted
//     string, whose quotes are taken off. Several words are accepted too, then
//     quotes stay. A $ without modifiers is the plain counter even after one that
//     has an offset. At most 1048576 records a line.
//   - A quoted string ends in the line it began in. Quotes are for character
//     strings and file names, not for owners, numbers or names in RDATA.
//   - A character string longer than 255 octets is an error; it is not split.
//   - Parentheses may be nested. Lines end in LF or CRLF; the last needs none. A
//     byte order mark is passed over. NUL octets are errors, but in comments.
//   - Names with octets outside of ASCII are taken as they stand.
//   - Types of messages (OPT, ANY, 128 to 255 …) are errors.
//   - Type bit maps may be in any order; that of NSEC must not be empty.
//   - Parameters of SVCB and HTTPS must be consistent (RFC 9460 §8).
//
// An error names file, line and rule. Reading goes on after a broken record, so
// that one run reports up to ten.
package zonefile

import (
	"errors"
	"fmt"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// Position is a place in a master file.
type Position struct {
	File string // as it was opened: the path of the main file, or beside it
	Line int    // from 1; 0 is the file as a whole
}

// String gives "file:line", or the file alone.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Record is one record of class IN.
type Record struct {
	Owner    dnsname.Name // in the letter case of the file
	Type     uint16
	TTL      uint32 // seconds, at most 2147483647
	RDATA    []byte // without compression; valid until the callback returns
	Position        // of the record's first line
}

// Error is what is wrong at a place of a master file.
type Error struct {
	Position
	Rule string // a directive, a type or a part of a record: "$INCLUDE", "MX", "TTL"
	Err  error
}

// Error gives "file:line: rule: what".
func (e *Error) Error() string { return fmt.Sprintf("%s: %s: %v", e.Position, e.Rule, e.Err) }

// Unwrap gives what is wrong without the place.
func (e *Error) Unwrap() error { return e.Err }

// maxErrors is how many errors are reported at most.
const maxErrors = 10

var errMore = errors.New("too many errors, the rest is not read")

// Scan reads the master file at path, and what it includes, and calls fn for
// each record in the order of the file. The first origin is that of the zone.
// The Record is only valid until fn returns, but its Owner stays.
//
// The error joins up to ten of type *Error. After the first of them fn is
// still called for the records that are sound: throw away what came if Scan
// fails. An error of fn ends the scan; it is returned in an *Error with the
// rule "record". Concurrent calls are allowed.
func Scan(path string, origin dnsname.Name, fn func(*Record) error) error {
	s := newScanner(origin)
	s.fn = func(r *Record) error {
		err := fn(r)
		s.stop = err != nil
		return err
	}
	s.scan(path)
	return errors.Join(s.errs...)
}
