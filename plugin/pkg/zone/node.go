package zone

import (
	"encoding/binary"
	"iter"
	"slices"
	"unsafe"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// A node is all RRsets of one owner, packed into one string, which is the value
// of the owner's key in the index:
//
//	flags (1) | if hasCase: length (1), owner without the origin in its letter case | entries
//	entry:     type (2) | number of records (2) | TTL (4) | length (4) | RDATA as rrset.Packed
//
// Entries are in the order of their types. RRSIGs stand behind the RRset that
// they cover as an entry with that type and isSigs set in the length; numbers
// are little-endian. A node has at least one entry: an empty non-terminal is a
// prefix of keys in the index, and no node.
type node struct{ key, val string }

// Flags of a node.
const (
	hasNS = 1 << iota
	hasCNAME
	hasDNAME
	hasNSEC
	hasCase // the owner has capital letters, and is stored
)

const (
	entryHeader = 12
	isSigs      = 1 << 31
)

func (n node) flags() byte {
	if n.val == "" {
		return 0
	}
	return n.val[0]
}

// cut tells whether the node is a zone cut: NS below the apex (RFC 1034 §4.2.1).
func (n node) cut() bool { return n.flags()&hasNS != 0 && n.key != "" }

// entries gives the offset of the first entry.
func (n node) entries() int {
	if n.flags()&hasCase != 0 {
		return 2 + int(n.val[1])
	}
	return 1
}

// owner gives the owner in its letter case.
func (n node) owner(origin dnsname.Name) dnsname.Name {
	if n.flags()&hasCase != 0 {
		return dnsname.Name(n.val[2:2+int(n.val[1])]) + origin
	}
	return dnsname.FromKey(n.key, origin)
}

// appendOwner is owner that appends to dst.
func (n node) appendOwner(dst []byte, origin dnsname.Name) []byte {
	if n.flags()&hasCase != 0 {
		dst = append(dst, n.val[2:2+int(n.val[1])]...)
		return append(dst, origin...)
	}
	return dnsname.AppendFromKey(dst, n.key, origin)
}

// bytes gives the packed node for reading numbers from it.
func (n node) bytes() []byte { return unsafe.Slice(unsafe.StringData(n.val), len(n.val)) }

// entry reads the entry at off and gives the offset of the next.
func (n node) entry(off int) (set rrset.RRset, sigs bool, next int) {
	b := n.bytes()[off : off+entryHeader]
	l := binary.LittleEndian.Uint32(b[8:])
	next = off + entryHeader + int(l&^isSigs)
	set = rrset.FromPacked(binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint32(b[4:]),
		binary.LittleEndian.Uint16(b[2:]), n.val[off+entryHeader:next])
	return set, l&isSigs != 0, next
}

// set gives the RRset of a type and the RRSIGs over it; ok is false if there is
// no such RRset, even where there are RRSIGs.
func (n node) set(typ uint16) (s Set, ok bool) {
	for off := n.entries(); off < len(n.val); {
		b := n.bytes()[off : off+entryHeader]
		t := binary.LittleEndian.Uint16(b)
		l := binary.LittleEndian.Uint32(b[8:])
		next := off + entryHeader + int(l&^isSigs)
		if t > typ {
			break
		}
		if t == typ {
			r := rrset.FromPacked(t, binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint16(b[2:]), n.val[off+entryHeader:next])
			if l&isSigs != 0 {
				s.Sigs = r
				s.Sigs.Type = rrset.TypeRRSIG
				break
			}
			s.RRset, ok = r, true
		}
		off = next
	}
	return s, ok
}

// next reads the RRset at off with the RRSIGs over it into s, without the owner,
// and gives the offset of the next. A set whose RRset is empty has RRSIGs that
// cover nothing that is there; its Type is the one they cover.
func (n node) next(off int, s *Set) int {
	set, sigs, off := n.entry(off)
	if sigs {
		s.RRset, s.Sigs = rrset.RRset{Type: set.Type}, set
		s.Sigs.Type = rrset.TypeRRSIG
		return off
	}
	s.RRset, s.Sigs = set, rrset.RRset{}
	if off < len(n.val) {
		if over, sigs, end := n.entry(off); sigs && over.Type == set.Type {
			s.Sigs = over
			s.Sigs.Type = rrset.TypeRRSIG
			return end
		}
	}
	return off
}

// sets goes through the RRsets in the order of their types, as next reads them.
func (n node) sets() iter.Seq[Set] {
	return func(yield func(Set) bool) {
		var s Set
		for off := n.entries(); off < len(n.val); {
			if off = n.next(off, &s); !yield(s) {
				return
			}
		}
	}
}

// appendNode packs sets, which are in the order of their types, for the owner
// whose name without the origin is relative. No sets give nothing.
func appendNode(dst []byte, relative string, sets []Set) []byte {
	if len(sets) == 0 {
		return dst
	}
	var flags byte
	if dnsname.Name(relative).HasUpper() {
		flags |= hasCase
	}
	for i := range sets {
		if !sets[i].IsEmpty() {
			flags |= flagOf(sets[i].Type)
		}
	}
	dst = append(dst, flags)
	if flags&hasCase != 0 {
		dst = append(dst, byte(len(relative)))
		dst = append(dst, relative...)
	}
	for i := range sets {
		if !sets[i].IsEmpty() {
			dst = appendEntry(dst, sets[i].RRset, sets[i].Type, 0)
		}
		if !sets[i].Sigs.IsEmpty() {
			dst = appendEntry(dst, sets[i].Sigs, sets[i].Type, isSigs)
		}
	}
	return dst
}

func appendEntry(dst []byte, s rrset.RRset, typ uint16, flag uint32) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, typ)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(s.Len()))
	dst = binary.LittleEndian.AppendUint32(dst, s.TTL)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s.Packed()))|flag)
	return append(dst, s.Packed()...)
}

// flagOf gives the flag of a node that has an RRset of that type.
func flagOf(typ uint16) byte {
	switch typ {
	case rrset.TypeNS:
		return hasNS
	case rrset.TypeCNAME:
		return hasCNAME
	case rrset.TypeDNAME:
		return hasDNAME
	case rrset.TypeNSEC:
		return hasNSEC
	default:
		return 0
	}
}

// place gives where the set of a type is in sets, or would be.
func place(sets []Set, typ uint16) (int, bool) {
	return slices.BinarySearchFunc(sets, typ, func(s Set, t uint16) int { return int(s.Type) - int(t) })
}
