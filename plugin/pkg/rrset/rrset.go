// Package rrset holds resource record sets as values: the type, the TTL and
// the RDATA of all records, packed into one string as they stand in a message
// without compression. Nothing that was made is ever changed; methods that
// change give a new RRset. RDATA is kept as it was received; comparing uses its
// canonical form (RFC 4034 §6.2).
package rrset

import (
	"errors"
	"iter"
	"strings"
)

// ErrTooLong is returned for an RRset whose records would not fit into any
// message.
var ErrTooLong = errors.New("RRset longer than 65535 octets")

// ErrRDATA is returned for RDATA of more than 65535 octets.
var ErrRDATA = errors.New("RDATA longer than 65535 octets")

// maxPacked bounds the packed RDATA of a set: no message can hold more.
const maxPacked = 65535

// RRset is the records of one owner and type. The zero value is an empty one.
// It is a value of a few words and shares the memory of its RDATA when copied.
type RRset struct {
	Type uint16
	TTL  uint32 // seconds
	n    uint16
	data string // n times: length, two octets, big-endian; RDATA
}

// New makes an RRset of the given RDATA, in that order; what is there twice is
// taken once (RFC 2181 §5).
func New(typ uint16, ttl uint32, rdata ...string) (RRset, error) {
	s := RRset{Type: typ, TTL: ttl}
	for _, r := range rdata {
		var err error
		if s, _, err = s.With(r); err != nil {
			return RRset{}, err
		}
	}
	return s, nil
}

// FromPacked makes an RRset of n records whose RDATA stands in data as Packed
// gives it.
func FromPacked(typ uint16, ttl uint32, n uint16, data string) RRset {
	return RRset{typ, ttl, n, data}
}

// Packed gives the RDATA of all records, each after its length in two octets,
// big-endian.
func (s RRset) Packed() string { return s.data }

// Len gives the number of records.
func (s RRset) Len() int { return int(s.n) }

// IsEmpty tells whether there is no record.
func (s RRset) IsEmpty() bool { return s.n == 0 }

// WithTTL gives the same records with another TTL, in seconds.
func (s RRset) WithTTL(ttl uint32) RRset {
	s.TTL = ttl
	return s
}

// Next gives the RDATA at offset off of Packed and the offset of the one after
// it. Walk a set with: for off := 0; off < len(s.Packed()); { rdata, off = s.Next(off) }.
func (s RRset) Next(off int) (rdata string, next int) {
	l := int(s.data[off])<<8 | int(s.data[off+1])
	next = off + 2 + l
	return s.data[off+2 : next], next
}

// First gives the RDATA of the first record, or "" if there is none.
func (s RRset) First() string {
	if s.n == 0 {
		return ""
	}
	r, _ := s.Next(0)
	return r
}

// All goes through the RDATA of the records in their order.
func (s RRset) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for off := 0; off < len(s.data); {
			var r string
			r, off = s.Next(off)
			if !yield(r) {
				return
			}
		}
	}
}

// find gives the offset of the record equal to rdata in canonical form, or -1.
func (s RRset) find(rdata string) int {
	var want []byte
	if layoutOf(s.Type).fold {
		want = AppendCanonical(make([]byte, 0, 256), s.Type, rdata)
	}
	for off := 0; off < len(s.data); {
		r, next := s.Next(off)
		if r == rdata {
			return off
		}
		if want != nil && len(r) == len(rdata) {
			var buf [512]byte
			if string(AppendCanonical(buf[:0], s.Type, r)) == string(want) {
				return off
			}
		}
		off = next
	}
	return -1
}

// Contains tells whether the set has a record with that RDATA; names in it are
// compared without regard to letter case where RFC 4034 §6.2 says so.
func (s RRset) Contains(rdata string) bool { return s.find(rdata) >= 0 }

// With gives the set with one more record at its end, and whether it was not
// there yet. The error is ErrRDATA or ErrTooLong.
func (s RRset) With(rdata string) (RRset, bool, error) {
	if len(rdata) > maxPacked {
		return s, false, ErrRDATA
	}
	if s.find(rdata) >= 0 {
		return s, false, nil
	}
	if len(s.data)+2+len(rdata) > maxPacked {
		return s, false, ErrTooLong
	}
	var b strings.Builder
	b.Grow(len(s.data) + 2 + len(rdata))
	b.WriteString(s.data)
	b.WriteByte(byte(len(rdata) >> 8))
	b.WriteByte(byte(len(rdata)))
	b.WriteString(rdata)
	s.data = b.String()
	s.n++
	return s, true, nil
}

// Without gives the set without the record of that RDATA, and whether it was
// there.
func (s RRset) Without(rdata string) (RRset, bool) {
	off := s.find(rdata)
	if off < 0 {
		return s, false
	}
	_, next := s.Next(off)
	s.data = s.data[:off] + s.data[next:]
	s.n--
	return s, true
}

// Equal tells whether two sets have the same type, TTL and records, in any
// order.
func (s RRset) Equal(o RRset) bool {
	if s.Type != o.Type || s.TTL != o.TTL {
		return false
	}
	return s.SameRecords(o)
}

// SameRecords tells whether two sets of one type hold the same RDATA, in any
// order; letter case counts, so that a change of it is a change.
func (s RRset) SameRecords(o RRset) bool {
	if s.n != o.n || len(s.data) != len(o.data) {
		return false
	}
	if s.data == o.data {
		return true
	}
	have := make(map[string]struct{}, s.n)
	for r := range s.All() {
		have[r] = struct{}{}
	}
	for r := range o.All() {
		if _, ok := have[r]; !ok {
			return false
		}
	}
	return true
}
