package ddns

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// model is a zone as a list of records, and an update server that follows the
// pseudocode of RFC 2136 line by line. Owners are in lower case.
type model struct {
	origin dnsname.Name
	rrs    []rr
}

type rr struct {
	owner dnsname.Name
	typ   uint16
	ttl   uint32
	rdata string
}

// covered is the type that tells RRsets of RRSIGs apart.
func (z rr) covered() uint16 {
	if z.typ == rrset.TypeRRSIG {
		return rrset.Covered(z.rdata)
	}
	return 0
}

// denial tells whether a record is of the NSEC3 chain.
func (z rr) denial() bool { return z.typ == rrset.TypeNSEC3 || z.covered() == rrset.TypeNSEC3 }

func canonical(typ uint16, rdata string) string {
	return string(rrset.AppendCanonical(nil, typ, rdata))
}

// is tells whether two records are the same but for the TTL.
func (z rr) is(o rr) bool {
	return z.owner == o.owner && z.typ == o.typ && canonical(z.typ, z.rdata) == canonical(o.typ, o.rdata)
}

// where gives the records that a predicate holds for.
func (m *model) where(is func(rr) bool) (list []rr) {
	for _, z := range m.rrs {
		if is(z) {
			list = append(list, z)
		}
	}
	return list
}

// zoneRRset is zone_rrset<name, type> of the pseudocode.
func (m *model) zoneRRset(owner dnsname.Name, typ uint16) []rr {
	return m.where(func(z rr) bool { return z.owner == owner && z.typ == typ })
}

// prerequisites is the pseudocode of RFC 2136 §3.2.5. It gives the rcode.
func (m *model) prerequisites(list []Record) uint8 {
	type set struct {
		owner dnsname.Name
		typ   uint16
	}
	temp := map[set][]string{}
	for _, r := range list {
		owner := r.Owner.Fold()
		switch {
		case r.TTL != 0:
			return RcodeFormErr
		case !owner.IsBelow(m.origin):
			return RcodeNotZone
		}
		inUse := len(m.where(func(z rr) bool { return z.owner == owner && !z.denial() })) > 0
		there := len(m.zoneRRset(owner, r.Type)) > 0
		meta := rrset.IsMeta(r.Type)
		switch r.Class {
		case ClassANY:
			switch {
			case r.RDATA != "" || meta && r.Type != rrset.TypeANY:
				return RcodeFormErr
			case meta && !inUse:
				return RcodeNXDomain
			case !meta && !there:
				return RcodeNXRRSet
			}
		case ClassNONE:
			switch {
			case r.RDATA != "" || meta && r.Type != rrset.TypeANY:
				return RcodeFormErr
			case meta && inUse:
				return RcodeYXDomain
			case !meta && there:
				return RcodeYXRRSet
			}
		case ClassINET:
			if meta || !slowWellFormed(r.Type, r.RDATA) {
				return RcodeFormErr
			}
			temp[set{owner, r.Type}] = append(temp[set{owner, r.Type}], canonical(r.Type, r.RDATA))
		default:
			return RcodeFormErr
		}
	}
	for s, want := range temp {
		var have []string
		for _, z := range m.zoneRRset(s.owner, s.typ) {
			have = append(have, canonical(z.typ, z.rdata))
		}
		slices.Sort(have)
		slices.Sort(want)
		if !slices.Equal(have, slices.Compact(want)) {
			return RcodeNXRRSet
		}
	}
	return 0
}

// prescan is the pseudocode of RFC 2136 §3.4.1.3.
func (m *model) prescan(list []Record) uint8 {
	for _, r := range list {
		meta := rrset.IsMeta(r.Type)
		switch {
		case !r.Owner.IsBelow(m.origin):
			return RcodeNotZone
		case r.Class == ClassINET && meta:
			return RcodeFormErr
		case r.Class == ClassANY && (r.TTL != 0 || r.RDATA != "" || meta && r.Type != rrset.TypeANY):
			return RcodeFormErr
		case r.Class == ClassNONE && (r.TTL != 0 || meta):
			return RcodeFormErr
		case r.Class != ClassINET && r.Class != ClassANY && r.Class != ClassNONE:
			return RcodeFormErr
		case r.Type == rrset.TypeNSEC || r.Type == rrset.TypeNSEC3:
			return RcodeRefused
		case r.Class != ClassANY && !slowWellFormed(r.Type, r.RDATA):
			return RcodeFormErr
		case r.Class == ClassINET && r.Type == rrset.TypeNSEC3PARAM && int(r.RDATA[2])<<8+int(r.RDATA[3]) > 150:
			return RcodeRefused
		}
	}
	return 0
}

// update is the pseudocode of RFC 2136 §3.4.2.7. It gives the rcode; after
// REFUSED the records are in any state.
func (m *model) update(list []Record, limit int) uint8 {
	before := slices.Clone(m.rrs)
	for _, r := range list {
		owner := r.Owner.Fold()
		switch r.Class {
		case ClassINET:
			ttl := r.TTL
			if ttl > 1<<31-1 {
				ttl = 0
			}
			if !m.add(rr{owner, r.Type, ttl, r.RDATA}, r.Max) {
				return RcodeRefused
			}
		case ClassANY:
			m.rrs = m.where(func(z rr) bool {
				kept := owner == m.origin && (z.typ == rrset.TypeSOA || z.typ == rrset.TypeNS)
				if r.Type == rrset.TypeANY {
					// The signatures over what stays stay.
					stays := owner == m.origin && (z.covered() == rrset.TypeSOA || z.covered() == rrset.TypeNS) && len(m.zoneRRset(owner, z.covered())) > 0
					return z.owner != owner || kept || stays || z.denial()
				}
				return z.owner != owner || z.typ != r.Type || kept
			})
		case ClassNONE:
			if owner == m.origin && (r.Type == rrset.TypeSOA || r.Type == rrset.TypeNS && len(m.zoneRRset(owner, r.Type)) == 1) {
				continue
			}
			m.rrs = m.where(func(z rr) bool { return !z.is(rr{owner: owner, typ: r.Type, rdata: r.RDATA}) })
		}
	}
	if limit > 0 {
		for _, r := range list {
			n := rr{owner: r.Owner.Fold(), typ: r.Type, rdata: r.RDATA}
			size := func(in []rr) int { return len((&model{rrs: in}).with(n)) }
			if now := size(m.rrs); r.Class == ClassINET && now > limit && now > size(before) {
				return RcodeRefused
			}
		}
	}
	return 0
}

// with gives the RRset that a record is in, or would be.
func (m *model) with(n rr) []rr {
	return m.where(func(z rr) bool { return z.owner == n.owner && z.typ == n.typ && z.covered() == n.covered() })
}

// add is the branch of the class of the zone; false if the zone cannot have the
// record at all.
func (m *model) add(n rr, limit int) bool {
	beside := []uint16{rrset.TypeCNAME, rrset.TypeRRSIG, rrset.TypeNSEC, rrset.TypeKEY}
	apex := n.owner == m.origin
	wild := strings.HasPrefix(string(n.owner), "\x01*")
	set := m.with(n)
	switch {
	case n.typ == rrset.TypeCNAME && len(m.where(func(z rr) bool {
		return z.owner == n.owner && !slices.Contains(beside, z.typ) && z.typ != rrset.TypeNSEC3
	})) > 0:
		return true
	case !slices.Contains(beside, n.typ) && len(m.zoneRRset(n.owner, rrset.TypeCNAME)) > 0:
		return true
	case n.typ == rrset.TypeSOA && (!apex || int32(soaSerial(n.rdata)-soaSerial(set[0].rdata)) <= 0):
		return true
	case n.typ == rrset.TypeMD, n.typ == rrset.TypeMF, n.typ == rrset.TypeDS && apex:
		return true
	case wild && (n.typ == rrset.TypeDNAME || n.typ == rrset.TypeNS && !apex):
		return true
	case n.denial() && (apex || n.owner.Parent() != m.origin):
		return false
	}
	// Those whose place it takes, and the one it is already.
	goes := func(z rr) bool {
		if z.is(n) {
			return false
		}
		switch n.typ {
		case rrset.TypeCNAME, rrset.TypeDNAME, rrset.TypeSOA:
			return true
		case 11:
			return z.rdata[:5] == n.rdata[:5]
		case rrset.TypeNSEC3PARAM:
			return z.rdata[:1] == n.rdata[:1] && z.rdata[2:] == n.rdata[2:]
		}
		return false
	}
	same := false
	var next []rr
	for _, z := range set {
		same = same || z.is(n)
		if !goes(z) {
			z.ttl = n.ttl
			next = append(next, z)
		}
	}
	if !same {
		next = append(next, n)
	}
	if limit > 0 && len(next) > limit && len(next) > len(set) {
		return true
	}
	m.rrs = append(m.where(func(z rr) bool { return !slices.Contains(set, z) }), next...)
	return true
}

func soaSerial(rdata string) uint32 {
	b := rdata[len(rdata)-20:]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// build makes a zone of the records.
func (m *model) build(t rapid.TB) *zone.Snapshot {
	t.Helper()
	b := zone.NewBuilder(m.origin)
	for _, z := range m.rrs {
		if err := b.Add(z.owner, z.typ, z.ttl, []byte(z.rdata)); err != nil {
			t.Fatal(err)
		}
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// dump writes records, sorted.
func dump(list []rr) string {
	var lines []string
	for _, z := range list {
		lines = append(lines, fmt.Sprintf("%s %d %s %q", z.owner, z.ttl, rrset.TypeString(z.typ), z.rdata))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// records gives what a transaction holds at some names.
func records(txn *zone.Txn, names map[dnsname.Name]bool) (list []rr) {
	for n := range maps.Keys(names) {
		for s := range txn.Sets(n) {
			for r := range s.All() {
				list = append(list, rr{n, s.Type, s.TTL, r})
			}
			for r := range s.Sigs.All() {
				list = append(list, rr{n, rrset.TypeRRSIG, s.Sigs.TTL, r})
			}
		}
	}
	return list
}

// choices takes one byte a choice; when they are used up all is 0.
type choices []byte

func (c *choices) below(n int) int {
	if len(*c) == 0 {
		return 0
	}
	b := int((*c)[0])
	*c = (*c)[1:]
	return b % n
}

func oneOf[T any](c *choices, list ...T) T { return list[c.below(len(list))] }

// simulation makes zones and requests of a few names that get in each other's way.
type simulation struct {
	*choices
	m     *model
	names map[dnsname.Name]bool // all owners that come, in lower case
	raw   bool                  // RDATA may be anything
}

func newSimulation(c *choices, raw bool) *simulation {
	s := &simulation{c, &model{origin: oneOf(c, origin, dnsname.Root, "\x01*\x01a\x00")}, map[dnsname.Name]bool{}, raw}
	s.m.rrs = []rr{{s.m.origin, rrset.TypeSOA, 300, s.plain(rrset.TypeSOA)}}
	for range s.below(3) {
		s.m.add(rr{s.m.origin, rrset.TypeNS, 300, string(s.name())}, 0)
	}
	s.names[s.m.origin] = true
	for range s.below(30) {
		typ := oneOf(c, append(types, rrset.TypeNSEC, rrset.TypeNSEC3)...)
		n := rr{s.name().Fold(), typ, uint32(oneOf(c, 300, 60)), s.plain(typ)}
		if (typ != rrset.TypeNSEC3 || n.owner != s.m.origin && n.owner.Parent() == s.m.origin) && (typ != rrset.TypeNSEC3PARAM || n.rdata[3] <= 150) {
			s.m.add(n, 0)
		}
	}
	return s
}

// name gives an owner, or a target.
func (s *simulation) name() dnsname.Name {
	n := dnsname.Name(oneOf(s.choices, "", "\x01a", "\x01A", "\x01b", "\x01b\x01a", "\x01*", "\x01*\x01B", "\x01h", "\x01c\x01b\x01a")) + s.m.origin
	s.names[n.Fold()] = true
	return n
}

var types = []uint16{
	rrset.TypeA, rrset.TypeCNAME, rrset.TypeNS, rrset.TypeDNAME, rrset.TypeRRSIG, rrset.TypeSOA, rrset.TypeMX,
	rrset.TypeTXT, rrset.TypeKEY, rrset.TypeDS, rrset.TypeMD, rrset.TypeNSEC3PARAM, typeWKS, 65280,
}

// rdata gives RDATA of a type, which may be malformed if the simulation is raw.
func (s *simulation) rdata(typ uint16) string {
	if s.raw && s.below(8) == 7 {
		b := make([]byte, s.below(40))
		for i := range b {
			b[i] = byte(s.below(256))
		}
		return string(b)
	}
	return s.plain(typ)
}

func (s *simulation) plain(typ uint16) string {
	switch typ {
	case rrset.TypeA:
		return "\xc0\x00\x02" + oneOf(s.choices, "\x01", "\x02", "\x03")
	case rrset.TypeCNAME, rrset.TypeNS, rrset.TypeDNAME, rrset.TypeMD:
		return string(s.name())
	case rrset.TypeMX:
		return "\x00\x01" + string(s.name())
	case rrset.TypeTXT:
		return oneOf(s.choices, "\x01a", "\x01A", "\x00")
	case rrset.TypeKEY:
		return "\x02\x00\x03" + oneOf(s.choices, "\x08k", "\x0dk")
	case rrset.TypeDS:
		return "\x00\x01\x08\x02" + strings.Repeat(oneOf(s.choices, "a", "b"), 32)
	case rrset.TypeSOA:
		return string(s.name()) + "\x00" + oneOf(s.choices, "\x00\x00\x00\x0a", "\x00\x00\x00\x0b", "\x80\x00\x00\x0a", "\x7f\xff\xff\xff", "\xff\xff\xff\xff", "\x00\x00\x00\x00") + strings.Repeat("\x00\x00\x00\x01", 4)
	case rrset.TypeRRSIG:
		covers := oneOf(s.choices, rrset.TypeA, rrset.TypeCNAME, rrset.TypeNS, rrset.TypeSOA, rrset.TypeNSEC3, rrset.TypeTXT, rrset.TypeRRSIG)
		return "\x00" + string(byte(covers)) + strings.Repeat("s", 16) + string(s.name()) + oneOf(s.choices, "1", "2")
	case rrset.TypeNSEC3PARAM:
		return "\x01" + oneOf(s.choices, "\x00", "\x01") + oneOf(s.choices, "\x00\x05", "\x00\x06", "\x00\x97") + oneOf(s.choices, "\x00", "\x01s")
	case typeWKS:
		return "\xc0\x00\x02\x01" + oneOf(s.choices, "\x06", "\x11") + oneOf(s.choices, "", "\x40", "\x20")
	case rrset.TypeNSEC:
		return string(s.m.origin) + "\x00\x01\x40"
	case rrset.TypeNSEC3:
		return "\x01\x00\x00\x00\x00\x14" + strings.Repeat(oneOf(s.choices, "a", "b"), 20) + "\x00\x01\x40"
	}
	return oneOf(s.choices, "", "x")
}

// record makes a record of a section; odd ones break a rule now and then.
func (s *simulation) record(prerequisite, odd bool) Record {
	r := Record{Owner: s.name(), Type: oneOf(s.choices, types...), Class: oneOf(s.choices, ClassINET, ClassANY, ClassNONE)}
	if s.below(3) == 2 && len(s.m.rrs) > 0 { // about what is there
		z := oneOf(s.choices, s.m.rrs...)
		r.Owner, r.Type, r.RDATA = z.owner, z.typ, z.rdata
	} else {
		r.RDATA = s.rdata(r.Type)
	}
	if !prerequisite && (r.Type == rrset.TypeNSEC || r.Type == rrset.TypeNSEC3) && !odd {
		r.Type = rrset.TypeANY
		r.Class = ClassANY
	}
	switch {
	case r.Class == ClassINET && !prerequisite:
		r.TTL = oneOf(s.choices, uint32(300), 60, 1<<31-1, 1<<31, 1<<32-1)
		r.Max = oneOf(s.choices, 0, 0, 1, 2)
	case r.Class == ClassANY || prerequisite && r.Class == ClassNONE:
		r.RDATA = ""
		if s.below(3) == 2 {
			r.Type = rrset.TypeANY
		}
	}
	if !odd {
		return r
	}
	switch s.below(30) {
	case 1:
		r.TTL = 1
	case 2:
		r.Class = 3
	case 3:
		r.Type = oneOf(s.choices, rrset.TypeANY, rrset.TypeAXFR, rrset.TypeOPT, rrset.TypeTSIG, 0)
	case 4:
		r.Owner = "\x01x\x03net\x00" // in the root zone it is an owner like others
		s.names[r.Owner] = true
	case 5:
		r.RDATA = oneOf(s.choices, "", "x")
	case 6:
		r.Type = oneOf(s.choices, rrset.TypeNSEC, rrset.TypeNSEC3)
	}
	return r
}

func (s *simulation) section(prerequisite bool) (list []Record) {
	odd := s.below(3) == 2
	for range s.below(8) {
		list = append(list, s.record(prerequisite, odd))
	}
	return list
}
