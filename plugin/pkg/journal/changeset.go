package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// The stored form of a changeset. Numbers of fixed size are little-endian, n is
// a varint of package binary:
//
//	form (1) | From (4) | To (4) | When: seconds of Unix time (8), nanoseconds (4) | Who: n, octets
//	| Removed: n sets | Added: n sets | xxhash64 of all before (8)
//	set:     octets that the owner shares with the end of the one before: n | octets before them: n, octets
//	         | type (2) | which (1) | if hasRecords: records | if hasSigs: records
//	records: TTL (4) | n | RDATA as rrset.Packed: n, octets
const (
	changesetForm = 1
	hasRecords    = 1
	hasSigs       = 2
	sumSize       = 8
)

// AppendChangeset appends the stored form of a changeset to dst. It is what
// History.Octets counts. When is kept to the nanosecond and without its place.
func AppendChangeset(dst []byte, c *zone.Changeset) []byte {
	start := len(dst)
	dst = append(dst, changesetForm)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(c.From))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(c.To))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.When.Unix()))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(c.When.Nanosecond()))
	dst = appendString(dst, c.Who)
	var owner dnsname.Name
	for _, sets := range [...][]zone.Set{c.Removed, c.Added} {
		dst = binary.AppendUvarint(dst, uint64(len(sets)))
		for i := range sets {
			dst = appendSet(dst, &sets[i], owner)
			owner = sets[i].Owner
		}
	}
	return binary.LittleEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

func appendString[T ~string](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendSet(dst []byte, s *zone.Set, before dnsname.Name) []byte {
	shared := 0
	for shared < min(len(s.Owner), len(before)) && s.Owner[len(s.Owner)-1-shared] == before[len(before)-1-shared] {
		shared++
	}
	dst = binary.AppendUvarint(dst, uint64(shared))
	dst = appendString(dst, s.Owner[:len(s.Owner)-shared])
	dst = binary.LittleEndian.AppendUint16(dst, s.Type)
	var which byte
	if !s.IsEmpty() {
		which |= hasRecords
	}
	if !s.Sigs.IsEmpty() {
		which |= hasSigs
	}
	dst = append(dst, which)
	for _, r := range [...]rrset.RRset{s.RRset, s.Sigs} {
		if !r.IsEmpty() {
			dst = binary.LittleEndian.AppendUint32(dst, r.TTL)
			dst = binary.AppendUvarint(dst, uint64(r.Len()))
			dst = appendString(dst, r.Packed())
		}
	}
	return dst
}

// Reasons of ErrCorrupt.
var (
	errShort    = errors.New("it ends too early")
	errLong     = errors.New("octets are left over")
	errSum      = errors.New("its checksum is wrong")
	errForm     = errors.New("its form is not known")
	errOwner    = errors.New("an owner is malformed")
	errRecords  = errors.New("a set of records is malformed")
	errRRsetOf  = errors.New("a set is of a type that cannot be in a zone")
	errSetEmpty = errors.New("a set is empty")
)

// ParseChangeset reads what AppendChangeset wrote. The changeset shares nothing
// with b, which may be anything: what does not come from AppendChangeset gives an
// error that wraps ErrCorrupt, or a changeset whose names and RDATA are well
// formed.
func ParseChangeset(b []byte) (zone.Changeset, error) {
	c, err := parseChangeset(b)
	if err != nil {
		return zone.Changeset{}, fmt.Errorf("%w: changeset: %w", ErrCorrupt, err)
	}
	return c, nil
}

func parseChangeset(b []byte) (c zone.Changeset, err error) {
	if len(b) < 1+sumSize {
		return c, errShort
	}
	end := len(b) - sumSize
	if xxhash.Sum64(b[:end]) != binary.LittleEndian.Uint64(b[end:]) {
		return c, errSum
	}
	r := reader{s: string(b[:end])}
	if form := r.octets(1); form[0] != changesetForm {
		return c, errForm
	}
	c.From, c.To = zone.Serial(r.uint32()), zone.Serial(r.uint32())
	sec, nsec := r.uint64(), r.uint32()
	c.When = time.Unix(int64(sec), int64(nsec)).UTC()
	c.Who = r.string()
	c.Removed = r.sets()
	c.Added = r.sets()
	if r.err == nil && r.s != "" {
		r.err = errLong
	}
	return c, r.err
}

// reader takes a stored form apart. After an error all is empty.
type reader struct {
	s     string
	owner dnsname.Name
	err   error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.s = ""
}

func (r *reader) octets(n uint64) string {
	if n > uint64(len(r.s)) {
		r.fail(errShort)
		return ""
	}
	o := r.s[:n]
	r.s = r.s[n:]
	return o
}

func (r *reader) uint32() uint32 {
	if o := r.octets(4); len(o) == 4 {
		return binary.LittleEndian.Uint32([]byte(o))
	}
	return 0
}

func (r *reader) uint64() uint64 {
	low := r.uint32()
	return uint64(low) | uint64(r.uint32())<<32
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint([]byte(r.s[:min(len(r.s), binary.MaxVarintLen64)]))
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.octets(uint64(n))
	return v
}

func (r *reader) string() string { return r.octets(r.uvarint()) }

func (r *reader) sets() []zone.Set {
	n := r.uvarint()
	if n == 0 {
		return nil
	}
	const least = 6 // octets of a set
	sets := make([]zone.Set, 0, min(n, uint64(len(r.s)/least)))
	for range n {
		s := r.set()
		if r.err != nil {
			return nil
		}
		sets = append(sets, s)
	}
	return sets
}

func (r *reader) set() (s zone.Set) {
	shared, own := r.uvarint(), r.string()
	switch {
	case r.err != nil:
		return s
	case shared > uint64(len(r.owner)):
		r.fail(errOwner)
		return s
	case own != "" || shared != uint64(len(r.owner)):
		r.owner = dnsname.Name(own) + r.owner[uint64(len(r.owner))-shared:]
		if len(r.owner) > dnsname.MaxLen || dnsname.Len(r.owner) != len(r.owner) {
			r.fail(errOwner)
			return s
		}
	case r.owner == "":
		r.fail(errOwner)
		return s
	}
	s.Owner = r.owner
	typ := r.octets(2)
	which := r.octets(1)
	if r.err != nil {
		return s
	}
	s.Type = uint16(typ[0]) | uint16(typ[1])<<8
	if which[0]&^(hasRecords|hasSigs) != 0 || which[0] == 0 {
		r.fail(errSetEmpty)
		return s
	}
	if which[0]&hasRecords != 0 {
		if s.Type == rrset.TypeRRSIG || rrset.IsMeta(s.Type) {
			r.fail(errRRsetOf)
			return s
		}
		s.RRset = r.records(s.Type)
	}
	if which[0]&hasSigs != 0 {
		s.Sigs = r.records(rrset.TypeRRSIG)
		for sig := range s.Sigs.All() {
			if rrset.Covered(sig) != s.Type {
				r.fail(errRecords)
				break
			}
		}
	}
	return s
}

// records reads the RDATA of one RRset.
func (r *reader) records(typ uint16) rrset.RRset {
	ttl, n, packed := r.uint32(), r.uvarint(), r.string()
	if r.err != nil {
		return rrset.RRset{}
	}
	if n == 0 || n > math.MaxUint16 || len(packed) > math.MaxUint16 {
		r.fail(errRecords)
		return rrset.RRset{}
	}
	left := n
	for off := 0; off < len(packed); left-- {
		if off+2 > len(packed) || left == 0 {
			r.fail(errRecords)
			return rrset.RRset{}
		}
		at := off + 2
		off = at + int(packed[off])<<8 + int(packed[off+1])
		if off > len(packed) || rrset.Check(typ, packed[at:off]) != nil {
			r.fail(errRecords)
			return rrset.RRset{}
		}
	}
	if left != 0 {
		r.fail(errRecords)
		return rrset.RRset{}
	}
	return rrset.FromPacked(typ, ttl, uint16(n), packed)
}
