package wire

import (
	"encoding/binary"
	"math/bits"

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
	// The labels that stand before the name of the last cut, which is at that offset.
	// They are no part of slots.
	cut  uint16
	kids int
	kid  [8]uint16

	starts starts // of the labels of the name at hand, and where they are in the message
	places [dnsname.MaxLabels]uint16
	// The labels that were written: the offset of the label after it, or 0 for the
	// root, and its own; at or after the place of its hash. 0 is free.
	slots [numSlots]uint32
}

// A lineage is a name of the message and those of its ancestors that a pointer
// can reach, all but the root.
type lineage struct {
	name  []byte // the memory of whoever gave it
	n     int
	known [dnsname.MaxLabels]ancestor // shortest first
}

type ancestor struct {
	size uint8  // octets of its name
	at   uint16 // offset in the message
}

// behind is how far behind the end of a message is written before something is
// found not to fit.
const behind = 16

// Start makes p ready for the messages that answer q: with its ID, opcode, RD
// and question, the flags QR, AA and no other, and, in the first, an OPT record
// with the given options if the query had one. They have at most limit octets,
// but a record that does not fit into these is put into one of its own with up to
// largest; if it is the second of all it goes with the first, as a SOA record alone
// means to some clients that there is no more (RFC 1995 §4). Both are taken for MinUDP or
// MaxMessage if they are outside of these. The memory of q.Name and options must
// stay as it is until the last message.
func (p *StreamPacker) Start(q *Question, options []byte, limit, largest int) {
	p.query, p.options, p.sent, p.n = *q, options, 0, 0
	p.query.UDPSize = MaxUDP // in a stream it means nothing
	p.flags = FlagQR | FlagAA | q.Flags&(maskOpcode|FlagRD)
	p.limit = min(max(limit, MinUDP), MaxMessage)
	p.largest = min(max(largest, p.limit), MaxMessage)
	if p.msg == nil {
		p.msg = make([]byte, MaxMessage+behind)
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
	p.cut, p.kids = 0, 0
	p.owner.n = 0
	if name := octets(p.query.Name); len(name) > 1 {
		rest := len(name) - 1
		labels, _ := p.starts.split(name, rest)
		for i, parent := labels-1, uint16(0); i >= 0; i-- {
			from := int(p.starts[i])
			parent = p.intern(name, from, parent, HeaderSize+from)
			p.places[i] = parent
		}
		p.owner.descend(name, rest, labels, &p.starts, &p.places)
	}
}

// Add adds the records of set under owner to the answer section of the message
// at hand, from that at offset off of set.Packed() on, as many as fit. It gives
// the offset of the first that does not, len(set.Packed()) if all do; then the
// message takes no more, and Message must be called. A record that does not fit
// into a message without records fits into none. The memory of the RDATA must stay
// as it is until then.
//
// shared is how many octets at the end of owner it has in common with the owner
// of the call before, as Snapshot.Walk tells; they must be whole labels. Owners
// that come with it may use the same memory one after another. 0 means that it is
// not known, and Add finds out; the memory of such an owner, and of the one before,
// must stay as it is, too.
func (p *StreamPacker) Add(owner dnsname.Name, shared int, set *rrset.RRset, off int) (next int) {
	if p.n == 0 {
		p.begin()
	}
	packed := set.Packed()
	fixed := uint64(set.Type)<<48 | classIN<<32 | uint64(set.TTL)
	before, names := compressible(set.Type)
	var ptr uint16 // to the owner, once it is in the message
	if p.same(owner, shared) {
		ptr = p.owner.pointer()
	}
	for off < len(packed) && !p.full {
		end := p.limit - p.opt
		if p.count == 0 || p.count == 1 && p.sent == 0 {
			end = p.largest - p.opt
		}
		n, ok := p.n+2, true
		if ptr != 0 {
			binary.BigEndian.PutUint16(p.msg[p.n:], ptr)
		} else {
			n, ok = p.putOwner(owner, shared, set.Type, end)
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

// same tells whether an owner is the one before, with which it shares so many
// octets for sure.
func (p *StreamPacker) same(owner dnsname.Name, shared int) bool {
	if shared == 0 || p.count == 0 {
		return string(p.owner.name) == string(owner)
	}
	return shared == len(owner) && shared == len(p.owner.name)
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
		b = appendOPT(b, &p.query, min(p.query.UDPSize, MaxUDP), 0, false, p.options)
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
		if at := l.pointer(); at != 0 && len(name) == 1+int(name[0])+len(l.name) && string(name[len(name)-len(l.name):]) == string(l.name) && proper(name[0]) {
			if n, _, ok = p.putLabel(n, name, at&^pointer, end); !ok { // one label more than the owner
				return n, false
			}
			rdata = rdata[len(name):]
			continue
		}
		var labels, rest int
		var at uint16
		if mayShare(name, l.name) {
			labels, rest, at = l.share(name, commonEnd(name, l.name), &p.starts)
		}
		if at == 0 {
			l = &p.target
			if labels, rest, at = l.share(name, commonEnd(name, l.name), &p.starts); at == 0 {
				if dnsname.Len(name) != len(name) {
					break
				}
				rest = len(name) - 1
				labels, _ = p.starts.split(name, rest)
			}
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
// ok is false if that is beyond end. The owner shares so many octets at its end
// with the one before, for sure; it has records of that type.
func (p *StreamPacker) putOwner(owner dnsname.Name, shared int, typ uint16, end int) (n int, ok bool) {
	name := octets(owner)
	l := &p.owner
	if shared == 0 || p.count == 0 {
		shared = commonEnd(name, l.name)
	} else if a := l.upTo(shared); a != nil && len(name)-int(a.size) == 1+int(name[0]) { // one label more
		if typ != rrset.TypeNS {
			var at uint16
			if n, at, ok = p.putLabel(p.n, name, a.at, end); ok {
				l.descendOne(name, int(a.size), at)
			}
			return n, ok
		}
		// Most of a large zone is zone cuts, whose names stand in RDATA there and in
		// their glue, and nowhere else. So neither is the table searched for a cut, nor
		// is note taken in it.
		size := 1 + int(name[0])
		if n = p.n + size + 2; n > end {
			return p.n, false
		}
		p.copyStart(p.n, name, size)
		binary.BigEndian.PutUint16(p.msg[n-2:], pointer|a.at)
		p.cut, p.kids = 0, 0
		if p.n <= maxOffset {
			p.cut = uint16(p.n)
		}
		l.descendOne(name, int(a.size), p.cut)
		return n, true
	}
	labels, rest, at := l.share(name, shared, &p.starts)
	if at == 0 {
		rest = len(name) - 1
		labels, _ = p.starts.split(name, rest)
	}
	if n, ok = p.put(p.n, name, rest, labels, at, end); ok {
		l.descend(name, rest, labels, &p.starts, &p.places)
	}
	return n, ok
}

// put writes a name at n. The message has what begins at the octet rest of it, at
// the offset known; so many labels come before. put looks for more of it and takes
// note of the labels that are new. The places of the labels before rest are put
// into p.places, 0 where no pointer reaches.
func (p *StreamPacker) put(n int, name []byte, rest, labels int, known uint16, end int) (next int, ok bool) {
	for i, parent := labels-1, known; i >= 0; i-- {
		from := int(p.starts[i])
		here := n + from
		parent = p.intern(name, from, parent, here)
		if p.places[i] = parent; int(parent) != here {
			if parent == 0 {
				clear(p.places[:i])
				break
			}
			rest, known = from, parent
		}
	}
	next = n + rest + 1
	if known != 0 {
		next++
	}
	if next > end {
		return n, false
	}
	p.copyStart(n, name, rest)
	if known != 0 {
		binary.BigEndian.PutUint16(p.msg[next-2:], pointer|known)
	} else {
		p.msg[next-1] = 0
	}
	return next, true
}

// putLabel is put for a name whose first label stands before the one at known. It
// gives the place of the name too, or 0.
func (p *StreamPacker) putLabel(n int, name []byte, known uint16, end int) (next int, at uint16, ok bool) {
	size := 1 + int(name[0])
	if known == p.cut {
		at = p.belowCut(name[:size], n)
	} else {
		at = p.intern(name, 0, known, n)
	}
	if int(at) != n && at != 0 {
		size, known = 0, at
	}
	if next = n + size + 2; next > end {
		return n, 0, false
	}
	p.copyStart(n, name, size)
	binary.BigEndian.PutUint16(p.msg[next-2:], pointer|known)
	return next, at, true
}

// belowCut is intern for a label before the name of the last cut.
func (p *StreamPacker) belowCut(label []byte, here int) uint16 {
	for _, at := range p.kid[:p.kids] {
		if string(p.msg[at:int(at)+len(label)]) == string(label) {
			return at
		}
	}
	if here > maxOffset {
		return 0
	}
	if p.kids < len(p.kid) {
		p.kid[p.kids] = uint16(here)
		p.kids++
	}
	return uint16(here)
}

// copyStart writes the first octets of a name at n, and perhaps some behind them.
func (p *StreamPacker) copyStart(n int, name []byte, size int) {
	if size <= behind && len(name) >= behind {
		*(*[behind]byte)(p.msg[n:]) = [behind]byte(name)
	} else {
		copy(p.msg[n:], name[:size])
	}
}

// intern gives the offset of the label at the octet from of a name, if it stands
// before the one at parent. Otherwise it takes note that it will, at the offset
// here, and gives that, or 0 if no pointer reaches it.
func (p *StreamPacker) intern(name []byte, from int, parent uint16, here int) uint16 {
	const mul = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	label := labelAt(name, from)
	hash := uint64(parent) << 40
	b := label
	for ; len(b) >= 8; b = b[8:] {
		hash = (hash ^ binary.LittleEndian.Uint64(b)) * mul
		hash ^= hash >> 32
	}
	if from+len(label)-len(b)+8 <= len(name) {
		hash ^= binary.LittleEndian.Uint64(name[from+len(label)-len(b):]) & (1<<(8*len(b)) - 1)
	} else {
		for i, c := range b {
			hash ^= uint64(c) << (8 * i)
		}
	}
	slot := hash * mul >> (64 - slotBits)
	for i := range uint64(maxProbes) {
		s := &p.slots[(slot+i)%numSlots]
		if *s == 0 {
			if here <= maxOffset {
				*s = uint32(parent)<<16 | uint32(here)
			}
			break
		}
		at := int(uint16(*s))
		if uint16(*s>>16) == parent && string(p.msg[at:at+len(label)]) == string(label) {
			return uint16(at)
		}
	}
	if here > maxOffset {
		return 0
	}
	return uint16(here)
}

// mayShare tells whether two names can have more than their last octets in common:
// those of a top-level domain are found by intern all the same.
func mayShare(a, b []byte) bool {
	return len(a) < 8 || len(b) < 8 || binary.LittleEndian.Uint64(a[len(a)-8:]) == binary.LittleEndian.Uint64(b[len(b)-8:])
}

// commonEnd gives the number of octets at their ends that two names have in
// common.
func commonEnd(a, b []byte) int {
	n := 0
	for n+8 <= len(a) && n+8 <= len(b) {
		x := binary.LittleEndian.Uint64(a[len(a)-n-8:]) ^ binary.LittleEndian.Uint64(b[len(b)-n-8:])
		if x != 0 {
			return n + bits.LeadingZeros64(x)/8
		}
		n += 8
	}
	for n < len(a) && n < len(b) && a[len(a)-n-1] == b[len(b)-n-1] {
		n++
	}
	return n
}

// share finds the longest ancestor in l that a name, which may be malformed, has
// among the so many octets at its end that it shares with the name of l. The
// ancestor starts at the octet rest of the name and stands in the message at the
// offset at, which is 0 if there is none. The starts of the labels before it, so
// many, are put into s.
func (l *lineage) share(name []byte, shared int, s *starts) (labels, rest int, at uint16) {
	for i := l.n - 1; i >= 0; i-- {
		a := &l.known[i]
		if int(a.size) > shared {
			continue
		}
		rest = len(name) - int(a.size)
		for at := 0; ; labels++ {
			if at >= rest {
				if at == rest {
					return labels, rest, a.at
				}
				break
			}
			if !proper(name[at]) || labels == len(s) {
				break
			}
			s[labels] = uint8(at)
			at += 1 + int(name[at])
		}
		labels = 0
	}
	return 0, 0, 0
}

// descend makes l the lineage of a name that was written. It shares what begins
// at the octet rest with that of before; the labels before, so many, are at places.
func (l *lineage) descend(name []byte, rest, labels int, s *starts, places *[dnsname.MaxLabels]uint16) {
	for l.n > 0 && int(l.known[l.n-1].size) > len(name)-rest {
		l.n--
	}
	l.name = name
	for i := labels - 1; i >= 0 && places[i] != 0; i-- {
		l.known[l.n] = ancestor{uint8(len(name) - int(s[i])), places[i]}
		l.n++
	}
}

// descendOne is descend for a name with one label more than its ancestor of that
// size; at is its place, or 0.
func (l *lineage) descendOne(name []byte, size int, at uint16) {
	for int(l.known[l.n-1].size) > size {
		l.n--
	}
	if l.name = name; at != 0 {
		l.known[l.n] = ancestor{uint8(len(name)), at}
		l.n++
	}
}

// upTo gives the longest ancestor of at most so many octets, or nil.
func (l *lineage) upTo(size int) *ancestor {
	for i := l.n - 1; i >= 0; i-- {
		if a := &l.known[i]; int(a.size) <= size {
			return a
		}
	}
	return nil
}

// proper tells whether a label of RDATA is as long as labels may be.
func proper(length byte) bool { return length-1 < dnsname.MaxLabel }

// pointer gives a pointer to the name, or 0 if there can be none.
func (l *lineage) pointer() uint16 {
	if l.n == 0 || int(l.known[l.n-1].size) != len(l.name) {
		return 0
	}
	return pointer | l.known[l.n-1].at
}
