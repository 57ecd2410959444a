package wire

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

const (
	cacheSlots = 4096
	cacheData  = 448 // octets of name and records that a slot holds
)

// CacheSize is what a Cache takes, in octets, whatever is put into it.
const CacheSize = cacheSlots * (cacheData + 64)

// Cache keeps responses as they were packed, by version of the zone, name and
// type. It has a fixed number of places, each for a response of some 400 octets;
// one that comes to a place takes it from the one before. Versions of zones that
// are gone need not be taken out: nobody asks for them. It is for one goroutine.
type Cache struct {
	seed  maphash.Seed
	slots [cacheSlots]slot
}

// slot is a response without what depends on how the question was asked: ID, flags
// that it sets, the letter case of the name, and EDNS.
type slot struct {
	version uint64
	hash    uint64
	asked   uint64 // hash of the question last asked that was not here
	shape   bool   // Shape.Minimal
	do      bool
	kind    zone.Kind
	name    uint8 // octets of the name, in lower case, at the beginning of data
	typ     uint16
	account uint8  // octets of the name of the account, at the end of the name
	flags   uint16 // AA and the response code
	records uint16 // octets of the three sections, after the name in data
	counts  [3]uint16
	data    [cacheData]byte
}

// NewCache gives an empty cache.
func NewCache() *Cache { return &Cache{seed: maphash.MakeSeed()} }

func (c *Cache) slot(q *Question, folded dnsname.Name) (*slot, uint64) {
	h := maphash.String(c.seed, string(folded)) ^ uint64(q.Type)*0x9e3779b97f4a7c15
	if q.DO {
		h = ^h
	}
	return &c.slots[h%cacheSlots], h
}

// AppendCached appends the response that was kept for a question about a version of
// a zone to dst, as AppendResponse would. folded is the name of q in lower case,
// version that of Snapshot.ID. It gives what the answer was, and its account, which
// uses the memory of folded. ok is false, and nothing appended, if there is none, or
// it is larger than limit.
func (c *Cache) AppendCached(dst []byte, q *Question, folded dnsname.Name, version uint64, minimal bool, limit int, options []byte) (b []byte, kind zone.Kind, account zone.Account, ok bool) {
	s, h := c.slot(q, folded)
	n := len(folded)
	size := HeaderSize + n + 4 + int(s.records)
	if q.HasEDNS {
		size += optSize + len(options)
	}
	if !s.holds(h, q, folded, version, minimal) || size > limit {
		return dst, 0, zone.Account{}, false
	}
	at := len(dst)
	b = appendHead(dst, q, FlagQR|q.Flags&(maskOpcode|FlagRD|FlagCD)|s.flags)
	b = append(b, s.data[n:n+int(s.records)]...)
	counts := s.counts
	if q.HasEDNS {
		b = appendOPT(b, q, min(q.UDPSize, MaxUDP), 0, false, options)
		counts[2]++
	}
	for i, n := range counts {
		binary.BigEndian.PutUint16(b[at+6+2*i:], n)
	}
	account = zone.Account{Kind: s.kind, Name: folded[n-int(s.account):]}
	if counts[0] > 0 {
		account.Kind = zone.Success
	}
	return b, s.kind, account, true
}

// Has tells whether there is a response that AppendCached would append, if it is not
// too large.
func (c *Cache) Has(q *Question, folded dnsname.Name, version uint64, minimal bool) bool {
	s, h := c.slot(q, folded)
	return s.holds(h, q, folded, version, minimal)
}

// holds tells whether a place has the response to a question of that hash.
func (s *slot) holds(h uint64, q *Question, folded dnsname.Name, version uint64, minimal bool) bool {
	n := len(folded)
	return s.version == version && s.hash == h && s.typ == q.Type && s.do == q.DO && s.shape == minimal &&
		int(s.name) == n && string(s.data[:n]) == string(folded)
}

// Keep keeps the response that p has just appended at offset at of b, if it is whole
// and not too large, without its options, once the same question comes to its place
// for the second time: those that nobody asks again push nothing out and are not
// copied. The name of the account must be an
// ancestor of that of q, or the same.
func (c *Cache) Keep(p *Packer, b []byte, at int, q *Question, folded dnsname.Name, version uint64, minimal bool, kind zone.Kind, account zone.Account) {
	n := len(folded)
	records := b[at+HeaderSize+n+4:]
	if q.HasEDNS {
		records = records[:len(records)-optSize-p.options]
	}
	if !p.whole || n+len(records) > cacheData {
		return
	}
	s, h := c.slot(q, folded)
	if s.asked != h {
		s.asked = h
		return
	}
	s.version, s.hash, s.shape, s.do, s.kind, s.name, s.typ = version, h, minimal, q.DO, kind, uint8(n), q.Type
	s.account = uint8(len(account.Name))
	s.flags = binary.BigEndian.Uint16(b[at+2:]) & (FlagAA | 0xf)
	s.records = uint16(len(records))
	for i := range s.counts {
		s.counts[i] = binary.BigEndian.Uint16(b[at+6+2*i:])
	}
	if q.HasEDNS {
		s.counts[2]--
	}
	copy(s.data[copy(s.data[:], folded):], records)
}
