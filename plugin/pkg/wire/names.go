package wire

import (
	"encoding/binary"
	"unsafe"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// A compressor finds the names that a message has already (RFC 1035 §4.1.4). It
// is a tree of labels that grows from the root: a label is known by the label it
// stands before and its octets, so that a name is looked up from its end, one
// label at a time, and each costs one comparison with the message.
//
// The tree is a hash table of fixed size. When it is full, or when more than
// maxProbes labels want the same place, further labels are left out: the message
// grows, the time to write it does not.
type compressor struct {
	start int  // where in the buffer the message starts
	exact bool // match only names in the same letter case

	question dnsname.Name // stands at HeaderSize; "" if there is no question
	seeded   int          // labels of question in the table, at its start

	used   int // labels in the table, numbered from 1; 0 is the root
	labels [maxLabels + 1]label
	slots  [numSlots]uint16 // numbers of labels, at or after the place of their hash; 0 is free
	starts [dnsname.MaxLabels]uint8
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
	parent uint16 // number of the label after it
	offset uint16 // of its length octet from the start of the message
	slot   uint16
}

// reset forgets all names, and takes question for the one that stands after the
// header, unless it is "".
func (c *compressor) reset(start int, question dnsname.Name, exact bool) {
	c.seeded = 0
	c.forget(0)
	if question == dnsname.Root { // nothing to point to
		question = ""
	}
	c.start, c.question, c.exact = start, question, exact
}

// forget takes away what was added after the first so many labels, but not the
// question.
func (c *compressor) forget(used int) {
	used = max(used, c.seeded)
	for ; c.used > used; c.used-- {
		c.slots[c.labels[c.used].slot] = 0
	}
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
			return binary.BigEndian.AppendUint16(b, pointer|uint16(HeaderSize+at)), true
		}
	}
	if c.used == 0 && c.question != "" {
		c.seed(b)
	}
	wire := unsafe.Slice(unsafe.StringData(string(n)), len(n))
	left := c.split(wire)
	known := uint16(0) // the label that the rest of the name stands before
	hash := uint64(0)
	for left > 0 {
		lab := wire[c.starts[left-1]:]
		lab = lab[:1+lab[0]]
		hash = hashLabel(lab, known)
		next := c.find(b, lab, known, hash)
		if next == 0 {
			break
		}
		known = next
		left--
	}
	written := len(n) // octets to write before the pointer
	if compress && known != 0 {
		if left == 0 {
			written = 0
		} else {
			last := int(c.starts[left-1])
			written = last + 1 + int(wire[last])
		}
	}
	size := written
	if written < len(n) {
		size += 2
	}
	at := len(b) - c.start
	if len(b)+size > end {
		return b, false
	}
	b = append(b, wire[:written]...)
	if written < len(n) {
		b = binary.BigEndian.AppendUint16(b, pointer|c.labels[known].offset)
	}
	for parent := known; left > 0; left-- {
		from := int(c.starts[left-1])
		if parent != known {
			lab := wire[from:]
			hash = hashLabel(lab[:1+lab[0]], parent)
		}
		if parent = c.add(parent, at+from, hash); parent == 0 {
			break
		}
	}
	return b, true
}

// inQuestion gives where in the question name the name n starts, if n is the
// question name or an ancestor of it.
func (c *compressor) inQuestion(n dnsname.Name) (at int, ok bool) {
	q := c.question
	d := len(q) - len(n)
	if d < 0 {
		return 0, false
	}
	if n != q[d:] && (c.exact || !dnsname.EqualFold(n, q[d:])) {
		return 0, false
	}
	for at < d {
		at += 1 + int(q[at])
	}
	return at, at == d
}

// seed puts the labels of the question into the table.
func (c *compressor) seed(b []byte) {
	parent := uint16(0)
	for left := c.split(b[c.start+HeaderSize:]); left > 0; left-- {
		at := HeaderSize + int(c.starts[left-1])
		lab := b[c.start+at:]
		if parent = c.add(parent, at, hashLabel(lab[:1+lab[0]], parent)); parent == 0 {
			break
		}
	}
	c.seeded = c.used
}

// split puts the offsets of the labels of a name into starts and gives their
// number.
func (c *compressor) split(name []byte) (labels int) {
	for i := 0; name[i] != 0 && labels < len(c.starts); i += 1 + int(name[i]) {
		c.starts[labels] = uint8(i)
		labels++
	}
	return labels
}

// find gives the number of the label lab, length octet included, that stands
// before parent, or 0.
func (c *compressor) find(b, lab []byte, parent uint16, hash uint64) uint16 {
	for i := range uint64(maxProbes) {
		id := c.slots[(hash+i)%numSlots]
		if id == 0 {
			return 0
		}
		l := &c.labels[id]
		if l.parent != parent {
			continue
		}
		have := b[c.start+int(l.offset):]
		if have[0] == lab[0] && c.same(have[1:1+have[0]], lab[1:]) {
			return id
		}
	}
	return 0
}

func (c *compressor) same(a, b []byte) bool {
	return string(a) == string(b) || !c.exact && dnsname.EqualFold(a, b)
}

// add puts the label at offset into the table and gives its number, or 0 if
// there is no place or no pointer would reach it.
func (c *compressor) add(parent uint16, offset int, hash uint64) uint16 {
	if offset > maxOffset || c.used == maxLabels {
		return 0
	}
	for i := range uint64(maxProbes) {
		slot := (hash + i) % numSlots
		if c.slots[slot] == 0 {
			c.used++
			c.slots[slot] = uint16(c.used)
			c.labels[c.used] = label{parent, uint16(offset), uint16(slot)}
			return uint16(c.used)
		}
	}
	return 0
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
		h ^= uint64(binary.LittleEndian.Uint32(b))<<32 | uint64(binary.LittleEndian.Uint32(b[n-4:])) | fold
	case n > 0:
		h ^= uint64(b[0])<<32 | uint64(b[n/2])<<40 | uint64(b[n-1])<<48 | fold
	}
	h *= mul
	return h >> (64 - slotBits)
}
