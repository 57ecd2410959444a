package zone_test

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// choices is where random decisions come from: a seed, or bytes that a fuzzer
// or rapid makes and shrinks.
type choices interface {
	below(n int) int // 0 to n-1; 0 should be the plainest
}

type seedChoices struct{ *rand.Rand }

func (c seedChoices) below(n int) int { return c.IntN(n) }

// byteChoices takes one byte a choice; when they are used up all is 0.
type byteChoices struct{ data []byte }

// anyByte is not biased towards small values, as rapid.Byte is.
var anyByte = rapid.SampledFrom(func() (all []byte) {
	for b := range 256 {
		all = append(all, byte(b))
	}
	return all
}())

func rapidChoices(t *rapid.T) choices {
	return &byteChoices{rapid.SliceOfN(anyByte, 400, 2000).Draw(t, "choices")}
}

func (c *byteChoices) below(n int) int {
	if len(c.data) == 0 {
		return 0
	}
	b := int(c.data[0])
	c.data = c.data[1:]
	return b % n
}

func oneOf[T any](c choices, list ...T) T { return list[c.below(len(list))] }

// generator makes zones of a few tricky names that get in each other's way.
type generator struct {
	choices
	origin dnsname.Name
	names  []dnsname.Name // used so far, as owner or target
	// closed makes no new names: those that are there are used again and again.
	closed bool
	// tame leaves out what no server can prove: zone cuts and DNAMEs at
	// wildcards, aliases beside other data.
	tame bool
}

var labels = []string{"a", "b", "ns", "*", "A", "c", "-", "\x00", "\xc3\xa4", "x.y", "@", "_tcp", strings.Repeat("l", 63)}

func newGenerator(c choices) *generator {
	g := &generator{choices: c}
	g.origin = oneOf(c, "\x07example\x00", "\x02Ex\x05aMple\x00", "\x01*\x01a\x00", dnsname.Root)
	g.names = []dnsname.Name{g.origin}
	return g
}

// child gives a name one label below another, or, if that is too long, the other.
func (g *generator) child(n dnsname.Name) dnsname.Name {
	l := oneOf(g, labels...)
	if g.below(10) == 9 {
		b := make([]byte, 1+g.below(5))
		for i := range b {
			b[i] = byte(g.below(256))
		}
		l = string(b)
	}
	c, ok := dnsname.Join(string(byte(len(l)))+l, n)
	if !ok {
		return n
	}
	return c
}

// name gives a name at or below the origin: one that was used, or below one.
func (g *generator) name() dnsname.Name {
	n := g.names[g.below(len(g.names))]
	if g.closed {
		return g.mix(n)
	}
	for range oneOf(g, 0, 1, 1, 0, 1, 2, 0, 1, 3) {
		n = g.child(n)
	}
	g.names = append(g.names, n)
	return g.mix(n)
}

// target gives a name, mostly in the zone.
func (g *generator) target() dnsname.Name {
	switch g.below(12) {
	case 11:
		return oneOf(g, dnsname.Name("\x01x\x03net\x00"), dnsname.Root)
	default:
		return g.name()
	}
}

// mix changes the letter case now and then.
func (g *generator) mix(n dnsname.Name) dnsname.Name {
	if g.below(4) != 3 {
		return n
	}
	b := []byte(n)
	for i := range b {
		if b[i] >= 'a' && b[i] <= 'z' && g.below(2) == 1 {
			b[i] -= 'a' - 'A'
		}
	}
	return dnsname.Name(b)
}

var genTypes = []uint16{
	rrset.TypeA, rrset.TypeTXT, rrset.TypeNS, rrset.TypeCNAME, rrset.TypeDNAME, rrset.TypeAAAA, rrset.TypeMX, rrset.TypeSRV,
	rrset.TypeDS, rrset.TypeHTTPS, rrset.TypeNAPTR, rrset.TypeNS, rrset.TypeCNAME, rrset.TypeA, rrset.TypeA, 65280,
}

func (g *generator) rdata(typ uint16) string {
	switch typ {
	case rrset.TypeA:
		return "\xc0\x00\x02" + string(byte(g.below(4)))
	case rrset.TypeAAAA:
		return "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + string(byte(g.below(4)))
	case rrset.TypeTXT:
		return oneOf(g, "\x01a", "\x01b", "\x00", "\x01A\x01b")
	case rrset.TypeNS, rrset.TypeCNAME, rrset.TypeDNAME:
		return string(g.target())
	case rrset.TypeMX:
		return "\x00\x0a" + string(g.target())
	case rrset.TypeSRV:
		return "\x00\x00\x00\x00\x01\xbb" + string(g.target())
	case rrset.TypeDS:
		return "\x00\x01\x0f\x02" + strings.Repeat("d", 31) + string(byte(g.below(2)))
	case rrset.TypeHTTPS:
		return "\x00" + oneOf(g, "\x00", "\x01", "\x02") + string(oneOf(g, g.target(), dnsname.Root)) + oneOf(g, "", "\x00\x01\x00\x03\x02h2")
	case rrset.TypeNAPTR:
		return "\x00\x01\x00\x01\x01" + oneOf(g, "s", "A", "u", "S", "a") + "\x03SIP\x00" + string(g.target())
	default:
		return oneOf(g, "", "\x00", "\xff\xff")
	}
}

// soa gives the record of the apex.
func (g *generator) soa(serial uint32) record {
	rdata := append([]byte(g.origin), g.origin...)
	for _, n := range []uint32{serial, 7200, 3600, 1209600, uint32(oneOf(g, 300, 7200))} {
		rdata = binary.BigEndian.AppendUint32(rdata, n)
	}
	return record{g.origin, rrset.TypeSOA, 3600, string(rdata)}
}

// zone gives a zone of up to n records. One TTL a type and owner keeps the
// order of records from mattering.
func (g *generator) zone(n int) *naive {
	m := newNaive(g.origin, g.soa(1))
	for range g.below(n) {
		r := record{g.name(), oneOf(g, genTypes...), uint32(oneOf(g, 3600, 60, 0)), ""}
		r.rdata = g.rdata(r.typ)
		if set := m.owners[r.owner.Fold()]; set != nil && set.sets[r.typ] != nil {
			r.ttl = set.sets[r.typ].ttl
		}
		if !g.tame || m.tame(r) {
			m.load(r)
		}
	}
	return m
}

// tame tells whether a zone that signers and validators understand stays so
// with one more record.
func (m *naive) tame(r record) bool {
	o := m.owners[r.owner.Fold()]
	alias := r.typ == rrset.TypeCNAME
	switch {
	case r.owner.IsWildcard() && (r.typ == rrset.TypeNS || r.typ == rrset.TypeDNAME || r.typ == rrset.TypeDS):
		return false
	case o == nil:
		return r.typ != rrset.TypeDS
	case m.has(r.owner, rrset.TypeCNAME), alias && len(o.sets) > 0:
		return false
	case m.has(r.owner, rrset.TypeDNAME) && (r.typ == rrset.TypeDNAME || r.typ == rrset.TypeNS):
		return false
	case r.typ == rrset.TypeDNAME:
		return !m.has(r.owner, rrset.TypeNS)
	case r.typ == rrset.TypeDS:
		return m.cut(r.owner)
	}
	return true
}

var queryTypes = append([]uint16{rrset.TypeANY, rrset.TypeRRSIG, rrset.TypeNSEC, rrset.TypeDS, rrset.TypeSOA}, genTypes...)

// query gives a question about a name of the zone, or one near it.
func (g *generator) query() zone.Query {
	n := g.names[g.below(len(g.names))]
	switch g.below(8) {
	case 1:
		n = g.child(n)
	case 2:
		n = g.child(g.child(n))
	case 3:
		if len(n) > len(g.origin) {
			n = n.Parent()
		}
	case 4:
		if len(n) > len(g.origin) {
			n = g.child(n.Parent())
		}
	}
	if !n.IsBelow(g.origin) { // a target elsewhere
		n = g.origin
	}
	return zone.Query{Name: g.mix(n), Type: oneOf(g, queryTypes...), DO: g.below(2) == 1, All: g.below(2) == 1}
}
