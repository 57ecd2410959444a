package wire

import (
	"encoding/binary"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// A StreamPacker writes the messages of a zone transfer, each with the header
// and the question of the first (RFC 5936 §2.2). Names keep their letter case:
// one is compressed only to another of the same case. Compressed are owners and
// the names in the RDATA of the types of RFC 1035 (RFC 3597 §4).
//
// The zero value is ready for use. It is large (some 80 kB) and meant to be used
// again and again by one goroutine at a time; it allocates its buffer once, and
// nothing for a message or record.
type StreamPacker struct {
	query   Question
	flags   uint16
	options []byte
	limit   int // octets of a message
	largest int // of one that has a single record
	sent    int // messages that are complete

	msg   []byte
	n     int // octets of the message at hand; 0 before it begins
	opt   int // octets kept free for its OPT record
	count int // its records
	full  bool

	owner  lineage // of the record before, or the question
	target lineage // of the last name in RDATA that is not at or below an ancestor of its owner
	starts starts  // of the labels of the name at hand, and where they are in the message
	places [dnsname.MaxLabels]uint16
	// The labels that were written: the offset of the label after it, or 0 for the
	// root, and its own; at or after the place of its hash. 0 is free.
	slots [numSlots]uint32
}

// A lineage is a name of the message and those of its ancestors that a pointer
// can reach, all but the root.
type lineage struct {
	name  []byte
	room  [dnsname.MaxLen]byte
	n     int
	known [dnsname.MaxLabels]ancestor // shortest first
}

type ancestor struct {
	size uint8  // octets of its name
	at   uint16 // offset in the message
}

// pointerSize is how far behind the end of a message a pointer may be written
// before it is found not to fit.
const pointerSize = 2

// Start makes p ready for the messages that answer q: with its ID, opcode, RD
// and question, the flags QR, AA and no other, and, in the first, an OPT record
// with the given options if the query had one. They have at most limit octets;
// one with a single record that does not fit has up to largest. Both are taken
// for MinUDP or MaxMessage if they are outside of these. The memory of q.Name and
// options must stay as it is until the last message.
func (p *StreamPacker) Start(q *Question, options []byte, limit, largest int) {
	p.query, p.options, p.sent, p.n = *q, options, 0, 0
	p.flags = FlagQR | FlagAA | q.Flags&(maskOpcode|FlagRD)
	p.limit = min(max(limit, MinUDP), MaxMessage)
	p.largest = min(max(largest, p.limit), MaxMessage)
	if p.msg == nil {
		p.msg = make([]byte, MaxMessage+pointerSize)
	}
}

// begin writes what comes before the records.
func (p *StreamPacker) begin() {
	b := appendHead(p.msg[:0], &p.query, p.flags)
	p.n, p.count, p.opt, p.full = len(b), 0, 0, false
	if p.query.HasEDNS && p.sent == 0 {
		p.options = fitting(p.options, p.limit-p.n)
		p.opt = optSize + len(p.options)
	}
	clear(p.slots[:])
	p.target.name, p.target.n = nil, 0
	p.owner.n = 0
	if name := octets(p.query.Name); len(name) > 1 {
		rest := len(name) - 1
		labels, _ := p.starts.split(name, rest)
		p.note(name, HeaderSize, labels, 0, noSlot)
		p.owner.descend(name, rest, labels, &p.starts, &p.places)
	}
}

// Add adds the records of set under owner to the answer section of the message
// at hand, from that at offset off of set.Packed() on, as many as fit. It gives
// the offset of the first that does not, len(set.Packed()) if all do; then the
// message takes no more, and Message must be called. A record that does not fit
// into a message without records fits into none. The RDATA must stay as it is
// until then.
func (p *StreamPacker) Add(owner dnsname.Name, set *rrset.RRset, off int) (next int) {
	if p.n == 0 {
		p.begin()
	}
	packed := set.Packed()
	fixed := uint64(set.Type)<<48 | classIN<<32 | uint64(set.TTL)
	before, names := compressible(set.Type)
	var ptr uint16 // to the owner, once it is in the message
	if string(p.owner.name) == string(owner) {
		ptr = p.owner.pointer()
	}
	for off < len(packed) && !p.full {
		end := p.limit - p.opt
		if p.count == 0 {
			end = p.largest - p.opt
		}
		n, ok := p.n+2, true
		if ptr != 0 {
			binary.BigEndian.PutUint16(p.msg[p.n:], ptr)
		} else {
			n, ok = p.putOwner(owner, end)
			ptr = p.owner.pointer()
		}
		next := off + 2 + int(packed[off])<<8 + int(packed[off+1])
		if !ok || n+8+2 > end {
			p.full = true
			break
		}
		binary.BigEndian.PutUint64(p.msg[n:], fixed)
		n += 8
		if names > 0 {
			n, ok = p.putRDATA(n, packed[off+2:next], before, names, end)
		} else if ok = n+next-off <= end; ok {
			n += copy(p.msg[n:], packed[off:next]) // the length, then the RDATA
		}
		if !ok {
			p.full = true
			break
		}
		p.n, off = n, next
		p.count++
	}
	return off
}

// Records gives the number of records of the message at hand.
func (p *StreamPacker) Records() int {
	if p.n == 0 {
		return 0
	}
	return p.count
}

// Message gives the message at hand, complete. It is valid until the next call
// of a method of p. Add begins the next message.
func (p *StreamPacker) Message() []byte {
	if p.n == 0 {
		p.begin()
	}
	b := p.msg[:p.n]
	if p.opt > 0 {
		b = appendOPT(b, &p.query, 0, p.options)
		b[11] = 1
	}
	binary.BigEndian.PutUint16(b[6:], uint16(p.count))
	p.n = 0
	p.sent++
	return b
}

// compressible says which names in the RDATA of a type may be compressed (RFC
// 3597 §4): so many, after so many octets. It agrees with rrset.Names.
func compressible(typ uint16) (before, names int) {
	switch typ {
	case rrset.TypeNS, rrset.TypeCNAME, rrset.TypePTR, rrset.TypeMD, rrset.TypeMF, rrset.TypeMB, rrset.TypeMG, rrset.TypeMR:
		return 0, 1
	case rrset.TypeMX:
		return 2, 1
	case rrset.TypeSOA, rrset.TypeMINFO:
		return 0, 2
	default:
		return 0, 0
	}
}

// putRDATA writes the length and the RDATA at n, and gives the end after it; ok
// is false if that is beyond end. The names after the octets before are compressed,
// unless they are malformed.
func (p *StreamPacker) putRDATA(n int, rdata string, before, names, end int) (_ int, ok bool) {
	start := n + 2
	n = start
	if len(rdata) >= before && n+before <= end {
		n += copy(p.msg[n:], rdata[:before])
		rdata = rdata[before:]
	}
	for only := names == 1; names > 0; names-- {
		name := octets(dnsname.Name(rdata))
		if !only { // if it is, all that is left should be the name, and share sees whether it is
			name = name[:dnsname.Len(rdata)]
		}
		if len(name) == 0 || len(name) > dnsname.MaxLen {
			break
		}
		l := &p.owner
		labels, rest, at := l.share(name, &p.starts)
		if at == 0 {
			if labels, rest, at = p.target.share(name, &p.starts); at == 0 {
				if dnsname.Len(name) != len(name) {
					break
				}
				rest = len(name) - 1
				labels, _ = p.starts.split(name, rest)
			}
			l = &p.target
		}
		if n, ok = p.put(n, name, rest, labels, at, end); !ok {
			return n, false
		}
		if l == &p.target {
			l.descend(name, rest, labels, &p.starts, &p.places)
		}
		rdata = rdata[len(name):]
	}
	if n+len(rdata) > end {
		return n, false
	}
	n += copy(p.msg[n:], rdata)
	binary.BigEndian.PutUint16(p.msg[start-2:], uint16(n-start))
	return n, true
}

// putOwner writes an owner at the end of the message, and gives the end after it;
// ok is false if that is beyond end.
func (p *StreamPacker) putOwner(owner dnsname.Name, end int) (n int, ok bool) {
	name := octets(owner)
	labels, rest, at := p.owner.share(name, &p.starts)
	if at == 0 {
		rest = len(name) - 1
		labels, _ = p.starts.split(name, rest)
	}
	if n, ok = p.put(p.n, name, rest, labels, at, end); ok {
		p.owner.descend(name, rest, labels, &p.starts, &p.places)
	}
	return n, ok
}

// put writes a name at n. The message has what begins at the octet rest of it, at
// the offset known; so many labels come before. put looks for more of it and takes
// note of the labels that are new. The places of the labels before rest are put
// into p.places, 0 where no pointer reaches.
func (p *StreamPacker) put(n int, name []byte, rest, labels int, known uint16, end int) (next int, ok bool) {
	left, slot := labels, uint64(noSlot)
	for left > 0 {
		from := int(p.starts[left-1])
		label := labelAt(name, from)
		var at uint16
		if at, slot = p.find(label, known); at == 0 {
			break
		}
		left--
		rest, known = from, at
		p.places[left] = at
	}
	next = n + rest + 1
	if known != 0 {
		next++
	}
	if next > end {
		return n, false
	}
	copy(p.msg[n:], name[:rest])
	if known != 0 {
		binary.BigEndian.PutUint16(p.msg[next-2:], pointer|known)
	} else {
		p.msg[next-1] = 0
	}
	p.note(name, n, left, known, slot)
	return next, true
}

// note takes note of the first so many labels of a name, which stands at n and
// goes on at the offset known. The last of these labels belongs into slot. Their
// places are put into p.places, 0 where no pointer reaches.
func (p *StreamPacker) note(name []byte, n, labels int, known uint16, slot uint64) {
	for i := labels - 1; i >= 0; i-- {
		from := int(p.starts[i])
		at := n + from
		if at > maxOffset {
			clear(p.places[:i+1])
			break
		}
		if i != labels-1 || slot == noSlot {
			slot = p.free(hashLabel(labelAt(name, from), known))
		}
		if slot != noSlot {
			p.slots[slot%numSlots] = uint32(known)<<16 | uint32(at)
		}
		known = uint16(at)
		p.places[i] = known
	}
}

// noSlot says that there is no room for a label.
const noSlot = numSlots

// find gives the offset of a label that stands before the one at parent. If it is
// 0 there is none, and slot is where it belongs, or noSlot.
func (p *StreamPacker) find(label []byte, parent uint16) (at uint16, slot uint64) {
	hash := hashLabel(label, parent)
	for i := range uint64(maxProbes) {
		slot = (hash + i) % numSlots
		s := p.slots[slot]
		if s == 0 {
			return 0, slot
		}
		if at := int(uint16(s)); uint16(s>>16) == parent && string(p.msg[at:at+len(label)]) == string(label) {
			return uint16(at), slot
		}
	}
	return 0, noSlot
}

// free gives the first free slot for a hash, or noSlot.
func (p *StreamPacker) free(hash uint64) uint64 {
	for i := range uint64(maxProbes) {
		if slot := (hash + i) % numSlots; p.slots[slot] == 0 {
			return slot
		}
	}
	return noSlot
}

// share finds the longest ancestor in l that a name, which may be malformed, ends
// with. It starts at the octet rest of the name and stands in the message at the offset at, which is 0
// if there is none. The starts of the labels before it, so many, are put into s.
func (l *lineage) share(name []byte, s *starts) (labels, rest int, at uint16) {
	for i := l.n - 1; i >= 0; i-- {
		a := &l.known[i]
		rest = len(name) - int(a.size)
		if rest < 0 || string(name[rest:]) != string(l.name[len(l.name)-int(a.size):]) {
			continue
		}
		if labels, ok := s.split(name, rest); ok && s.proper(name, labels) {
			return labels, rest, a.at
		}
	}
	return 0, 0, 0
}

// proper tells whether the first so many labels are as long as labels may be.
func (s *starts) proper(name []byte, labels int) bool {
	for i := range labels {
		if c := name[s[i]]; c == 0 || c > dnsname.MaxLabel {
			return false
		}
	}
	return true
}

// descend makes l the lineage of a name that was written. It shares what begins
// at the octet rest with that of before; the labels before, so many, are at places.
func (l *lineage) descend(name []byte, rest, labels int, s *starts, places *[dnsname.MaxLabels]uint16) {
	for l.n > 0 && int(l.known[l.n-1].size) > len(name)-rest {
		l.n--
	}
	l.name = l.room[:copy(l.room[:], name)]
	for i := labels - 1; i >= 0 && places[i] != 0; i-- {
		l.known[l.n] = ancestor{uint8(len(name) - int(s[i])), places[i]}
		l.n++
	}
}

// pointer gives a pointer to the name, or 0 if there can be none.
func (l *lineage) pointer() uint16 {
	if l.n == 0 || int(l.known[l.n-1].size) != len(l.name) {
		return 0
	}
	return pointer | l.known[l.n-1].at
}
