package wire

import (
	"encoding/binary"
	"unsafe"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// A compressor finds the names that a message has already (RFC 1035 §4.1.4). The
// names are a tree of labels that grows from the root: a label is known by the
// label it stands before and by its octets, so that a name is looked up from its
// end, one label at a time, and each costs one comparison with the message. A
// label is named by its offset in the message; 0 is the root.
//
// The labels of the question are compared with first, as most names of a
// message end like it. The others are in a hash table of fixed size. When that
// is full, or when more than maxProbes labels want the same place, further
// labels are left out: the message grows, the time to write it does not.
type compressor struct {
	start int // where in the buffer the message starts

	question       dnsname.Name // stands at HeaderSize; "" if there is none, or the root
	questionLabels int          // 0 until questionStarts is filled
	questionStarts starts

	// The end of the last name that had more labels than the message knew, and
	// where that end is in the message: the next name often has the same.
	tail     dnsname.Name
	tailAt   uint16
	tailMore int // labels of the question before it, if it is there

	used   int // labels in the table
	labels [maxLabels]label
	slots  [numSlots]uint16 // one more than the index of a label, at or after the place of its hash; 0 is free
	starts starts           // of the name at hand
}

const (
	maxLabels = 1024
	slotBits  = 11
	numSlots  = 1 << slotBits
	maxProbes = 8

	maxOffset = 0x3fff // of what a pointer can point to
	pointer   = 0xc000
)

// label is a label in the message.
type label struct {
	parent uint16 // offset of the label after it
	offset uint16 // of its length octet
	slot   uint16
}

// starts are the offsets of the labels of a name.
type starts [dnsname.MaxLabels]uint8

// split fills s for the name at the start of b, up to the label at offset end,
// and gives the number of labels. ok is false if no label starts at end.
func (s *starts) split(b []byte, end int) (labels int, ok bool) {
	i := 0
	for i < end && labels < len(s) {
		s[labels] = uint8(i)
		labels++
		i += 1 + int(b[i])
	}
	return labels, i == end
}

// reset forgets all names, and takes question for the one that stands after the
// header, unless it is "".
func (c *compressor) reset(start int, question dnsname.Name) {
	c.forget(0)
	if question == dnsname.Root { // nothing to point to
		question = ""
	}
	c.start, c.question, c.questionLabels = start, question, 0
	c.tail = ""
}

// forget takes away what was added after the first so many labels.
func (c *compressor) forget(used int) {
	for ; c.used > used; c.used-- {
		c.slots[c.labels[c.used-1].slot] = 0
	}
	c.tail = "" // it may be one of them
}

// name appends the name n to b, the buffer up to here, or gives false if more
// than end octets would be in the buffer, and then appends nothing. If compress
// is false the name is written in full, and later names may point to it.
func (c *compressor) name(b []byte, n dnsname.Name, compress bool, end int) ([]byte, bool) {
	if len(n) <= 1 {
		if len(b) >= end {
			return b, false
		}
		return append(b, 0), true
	}
	if compress {
		if at, ok := c.inQuestion(n); ok {
			if len(b)+2 > end {
				return b, false
			}
			return binary.BigEndian.AppendUint16(b, pointer|at), true
		}
	}
	wire := octets(n)
	left, rest, known, hash := c.lookup(b, n)
	size := len(n)
	if compress && known != 0 {
		size = rest + 2
	}
	if len(b)+size > end {
		return b, false
	}
	at := len(b) - c.start
	if compress && known != 0 {
		b = append(b, wire[:rest]...)
		b = binary.BigEndian.AppendUint16(b, pointer|known)
	} else {
		b = append(b, wire...)
	}
	for parent := known; left > 0; left-- {
		from := int(c.starts[left-1])
		if parent != known {
			hash = hashLabel(labelAt(wire, from), parent)
		}
		if !c.add(parent, at+from, hash) {
			break
		}
		parent = uint16(at + from)
	}
	return b, true
}

// inQuestion gives where in the message the name n stands, if it is the question
// name or an ancestor of it.
func (c *compressor) inQuestion(n dnsname.Name) (at uint16, ok bool) {
	q := c.question
	d := len(q) - len(n)
	if d < 0 || !sameName(n, q[d:]) {
		return 0, false
	}
	i := 0
	for i < d {
		i += 1 + int(q[i])
	}
	return uint16(HeaderSize + i), i == d
}

// lookup finds the longest end of n that the message has. It starts at the octet
// rest of n and stands at the offset known in the message; left labels come
// before it. If there are any, hash is that of the last of them.
func (c *compressor) lookup(b []byte, n dnsname.Name) (left, rest int, known uint16, hash uint64) {
	wire := octets(n)
	rest = len(wire) - 1
	more := 0 // labels of the question before known, if that is in the question
	ok := false
	if d := len(wire) - len(c.tail); c.tail != "" && d > 0 && sameName(n[d:], c.tail) {
		if left, ok = c.starts.split(wire, d); ok {
			rest, known, more = d, c.tailAt, c.tailMore
		}
	}
	if !ok {
		left, _ = c.starts.split(wire, rest)
		more = c.splitQuestion()
	}
	for left > 0 && more > 0 {
		from, at := int(c.starts[left-1]), int(c.questionStarts[more-1])
		if !sameLabel(labelAt(wire, from), labelAt(b, c.start+HeaderSize+at)) {
			break
		}
		rest, known = from, uint16(HeaderSize+at)
		left--
		more--
	}
	for left > 0 {
		from := int(c.starts[left-1])
		lab := labelAt(wire, from)
		hash = hashLabel(lab, known)
		at := c.find(b, lab, known, hash)
		if at == 0 {
			break
		}
		rest, known, more = from, at, 0
		left--
	}
	if left > 0 && known != 0 {
		c.tail, c.tailAt, c.tailMore = n[rest:], known, more
	}
	return left, rest, known, hash
}

// splitQuestion gives the number of labels of the question.
func (c *compressor) splitQuestion() int {
	if c.questionLabels == 0 && c.question != "" {
		c.questionLabels, _ = c.questionStarts.split(octets(c.question), len(c.question)-1)
	}
	return c.questionLabels
}

// octets gives the octets of a name, to be read only.
func octets(n dnsname.Name) []byte { return unsafe.Slice(unsafe.StringData(string(n)), len(n)) }

// labelAt gives the label at offset i of b with its length octet.
func labelAt(b []byte, i int) []byte { return b[i : i+1+int(b[i])] }

// sameName tells whether two names, or the ends of two names, are the same.
func sameName(a, b dnsname.Name) bool { return a == b || dnsname.EqualFold(a, b) }

// sameLabel tells whether two labels are the same.
func sameLabel(a, b []byte) bool { return string(a) == string(b) || dnsname.EqualFold(a, b) }

// find gives the offset of the label lab that stands before parent, or 0.
func (c *compressor) find(b, lab []byte, parent uint16, hash uint64) uint16 {
	for i := range uint64(maxProbes) {
		n := c.slots[(hash+i)%numSlots]
		if n == 0 {
			return 0
		}
		l := &c.labels[n-1]
		if l.parent == parent && sameLabel(labelAt(b, c.start+int(l.offset)), lab) {
			return l.offset
		}
	}
	return 0
}

// add puts the label at offset into the table, if there is room and a pointer
// can reach it.
func (c *compressor) add(parent uint16, offset int, hash uint64) bool {
	if offset > maxOffset || c.used == maxLabels {
		return false
	}
	for i := range uint64(maxProbes) {
		slot := (hash + i) % numSlots
		if c.slots[slot] == 0 {
			c.labels[c.used] = label{parent, uint16(offset), uint16(slot)}
			c.used++
			c.slots[slot] = uint16(c.used)
			return true
		}
	}
	return false
}

// hashLabel gives the place of a label before parent. Letters that differ in
// case only have the same hash; so have some other octets, which does no harm.
func hashLabel(lab []byte, parent uint16) uint64 {
	const (
		fold = 0x2020202020202020
		mul  = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	)
	h := uint64(parent)<<8 | uint64(lab[0])
	b := lab[1:]
	for len(b) >= 8 {
		h = (h ^ (binary.LittleEndian.Uint64(b) | fold)) * mul
		h ^= h >> 32
		b = b[8:]
	}
	switch n := len(b); {
	case n >= 4:
		h ^= (uint64(binary.LittleEndian.Uint32(b))<<32 | uint64(binary.LittleEndian.Uint32(b[n-4:]))) | fold
	case n > 0:
		h ^= (uint64(b[0])<<32 | uint64(b[n/2])<<40 | uint64(b[n-1])<<48) | fold
	}
	h *= mul
	return h >> (64 - slotBits)
}
