// Package policy says who may change what in a zone: for a client, an owner
// and a type it gives a verdict. Its language is that of the block of the
// plugin update, which has the words of BIND's update-policy:
//
//	grant|deny IDENTITY RULE [NAME] [TYPE...] [max N]
//	net CIDR...
//	proto udp|tcp|tls...
//
// The first line of the form grant or deny that fits decides, and what no line
// fits is denied. The lines net and proto narrow all grants: whoever comes from
// elsewhere, or by another protocol, fits none.
//
// A policy knows no messages. Who asks it has checked the signature, and asks
// for each RRset that a request would change; to delete a whole name is to change
// every RRset that is there.
package policy

import (
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// Proto is how a request has come. Its zero value is none of those below.
type Proto uint8

// The protocols of requests.
const (
	UDP Proto = iota + 1
	TCP
	TLS
)

// Client is who asks for a change.
type Client struct {
	// Key is the name of the key that has signed the request, and "" if nobody
	// has. It must be there only if the signature is good.
	Key dnsname.Name

	// Addr is the source address; its zero value is none that is known. An IPv4
	// address in IPv6 form stands for itself, and an IPv6 zone has no meaning.
	Addr netip.Addr

	// Proto is how the request has come. To those other than UDP belongs that the
	// client has the address.
	Proto Proto
}

// source gives the address in the form in which addresses are compared.
func (c Client) source() netip.Addr { return c.Addr.Unmap().WithZone("") }

// Line is a line grant or deny. Its zero value is none.
type Line struct {
	Text  string // as it was understood: names in full and in lower case, types in capitals
	Place string // given to [Builder.Line]
}

// Verdict is the answer of a policy. Its zero value is a refusal because no line
// fits.
type Verdict struct {
	Granted bool
	Max     int  // if granted: how many records the RRset may have after an addition; 0: no limit
	Line    Line // that has decided
}

// Policy is a list of lines. Its zero value denies everything. It does not
// change, and its methods may be called concurrently.
type Policy struct {
	entries []entry
	nets    Identity // of the line net; the zero value if there is none
	protos  uint8    // of the line proto, as bits 1 << Proto; 0 if there is none
}

// Decide says whether the client may add and remove records of that owner and
// type in the zone origin. Letter case has no meaning. Nobody may change names
// outside of the zone, nor types that no record has, such as ANY (RFC 6895 §3.1).
// It does not allocate.
func (p *Policy) Decide(c Client, origin, owner dnsname.Name, typ uint16) Verdict {
	if !isData(typ) || !owner.IsBelow(origin) {
		return Verdict{}
	}
	admitted := p.admits(c)
	for i := range p.entries {
		e := &p.entries[i]
		if (admitted || !e.grant) && e.types.has(typ) && e.fits(c, owner) {
			return Verdict{Granted: e.grant, Max: e.max, Line: e.line}
		}
	}
	return Verdict{}
}

// Knows tells whether a line could grant something to the client, whatever the
// record. If it is false, [Policy.Decide] grants the client nothing.
func (p *Policy) Knows(c Client) bool {
	return p.admits(c) && slices.ContainsFunc(p.entries, func(e entry) bool { return e.grant && e.concerns(c) })
}

// admits tells whether the lines net and proto let the client have grants.
func (p *Policy) admits(c Client) bool {
	return (p.protos == 0 || p.protos&(1<<c.Proto) != 0) && (p.nets.kind == nobody || p.nets.Matches(c))
}

// IsEmpty tells whether the policy grants nothing to anybody.
func (p *Policy) IsEmpty() bool {
	return !slices.ContainsFunc(p.entries, func(e entry) bool { return e.grant })
}

// Keys gives the keys that lines call by their full name, in lower case, each as
// often as it is called.
func (p *Policy) Keys() iter.Seq2[dnsname.Name, Line] {
	return func(yield func(dnsname.Name, Line) bool) {
		for _, e := range p.entries {
			if key := e.identity.Key(); key != "" && !e.rule.isOfSource() && !yield(key, e.line) {
				return
			}
		}
	}
}

// Unsigned gives the lines that grant something to requests without a signature.
func (p *Policy) Unsigned() iter.Seq[Line] {
	return p.lines(func(e *entry) bool { return e.grant && (e.identity.kind == networks || e.rule.isOfSource()) })
}

// Outside gives the lines that fit no name of any of the zones, such as one whose
// NAME was meant to be completed with the name of a zone.
func (p *Policy) Outside(origins ...dnsname.Name) iter.Seq[Line] {
	return p.lines(func(e *entry) bool { return !slices.ContainsFunc(origins, e.reaches) })
}

func (p *Policy) lines(wanted func(*entry) bool) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		for i := range p.entries {
			if e := &p.entries[i]; wanted(e) && !yield(e.line) {
				return
			}
		}
	}
}

// entry is a line grant or deny.
type entry struct {
	grant    bool
	identity Identity
	rule     rule
	name     dnsname.Name // of rules that take one, in lower case
	types    typeSet
	max      int // 0: no limit
	line     Line
}

// fits tells whether the line is about the client and the owner, which is in the
// zone.
func (e *entry) fits(c Client, owner dnsname.Name) bool {
	if e.rule.isOfSource() {
		var buf [dnsname.MaxLen]byte
		source := e.rule.appendSource(buf[:0], c)
		return dnsname.EqualFold(owner, source) && e.identity.covers(owner)
	}
	if !e.identity.Matches(c) {
		return false
	}
	switch e.rule {
	case ruleName:
		return owner.Equal(e.name)
	case ruleSubdomain:
		return owner.IsBelow(e.name)
	case ruleZonesub:
		return true
	case ruleWildcard:
		return isUnder(owner, e.name.Parent())
	case ruleSelf:
		return c.Key != "" && owner.Equal(c.Key)
	case ruleSelfsub:
		return c.Key != "" && owner.IsBelow(c.Key)
	case ruleSelfwild:
		return c.Key != "" && isUnder(owner, c.Key)
	default:
		return false
	}
}

// concerns tells whether there may be an owner for which the line fits the client.
func (e *entry) concerns(c Client) bool {
	if e.rule.isOfSource() {
		return e.identity.covers(dnsname.Name(e.rule.appendSource(nil, c)))
	}
	return e.identity.Matches(c)
}

// reaches tells whether there may be a client for whom the line fits a name of the
// zone.
func (e *entry) reaches(origin dnsname.Name) bool {
	base, exact := e.name, e.rule == ruleName
	switch e.rule {
	case ruleZonesub:
		return true
	case ruleWildcard:
		base = base.Parent()
	case ruleSelf, ruleTCPSelf, rule6to4Self:
		base, exact = e.identity.base()
	case ruleSelfsub, ruleSelfwild:
		base, _ = e.identity.base()
	default: // the name as it is
	}
	return base.IsBelow(origin) || !exact && origin.IsBelow(base)
}

// String gives the line as it was understood, in a form that [Builder.Line] takes.
func (e *entry) String() string {
	words := []string{"deny", e.identity.String(), e.rule.String()}
	if e.grant {
		words[0] = "grant"
	}
	if e.rule.takesName() {
		words = append(words, e.name.String())
	}
	words = append(words, e.types.words...)
	if e.max > 0 {
		words = append(words, "max", strconv.Itoa(e.max))
	}
	return strings.Join(words, " ")
}

// isUnder tells whether the name is below the other and not the other: what the
// wildcard there would stand for, if there were nothing else.
func isUnder(n, other dnsname.Name) bool { return len(n) > len(other) && n.IsBelow(other) }

// rule is what a line says of owners.
type rule int

const (
	ruleName rule = iota
	ruleSubdomain
	ruleZonesub
	ruleWildcard
	ruleSelf
	ruleSelfsub
	ruleSelfwild
	ruleTCPSelf
	rule6to4Self
)

// ruleWords are the rules in the language, each at its number.
var ruleWords = []string{"name", "subdomain", "zonesub", "wildcard", "self", "selfsub", "selfwild", "tcp-self", "6to4-self"}

// String gives the word of the rule.
func (r rule) String() string { return ruleWords[r] }

// takesName tells whether the rule is followed by a NAME.
func (r rule) takesName() bool { return r == ruleName || r == ruleSubdomain || r == ruleWildcard }

// isOfSource tells whether the rule compares owner and IDENTITY with a name made
// of the source address, and no signature is asked for.
func (r rule) isOfSource() bool { return r == ruleTCPSelf || r == rule6to4Self }

// appendSource appends the name that such a rule makes of the source address; it
// appends nothing if that is not proven by the protocol, or not known.
func (r rule) appendSource(dst []byte, c Client) []byte {
	addr := c.source()
	if c.Proto != TCP && c.Proto != TLS || !addr.IsValid() {
		return dst
	}
	octets := addr.As16()
	four := octets[12:]
	switch {
	case r == ruleTCPSelf && addr.Is4(): // RFC 1035 §3.5
		for _, o := range slices.Backward(four) {
			at := len(dst)
			dst = strconv.AppendUint(append(dst, 0), uint64(o), 10)
			dst[at] = byte(len(dst) - at - 1)
		}
		return append(dst, "\x07in-addr\x04arpa\x00"...)
	case r == ruleTCPSelf:
		dst = appendNibbles(dst, octets[:])
	case addr.Is4(): // RFC 3056 §2: 2002, then the address
		dst = appendNibbles(appendNibbles(dst, four), []byte{0x20, 0x02})
	default:
		dst = appendNibbles(dst, octets[:6])
	}
	return append(dst, "\x03ip6\x04arpa\x00"...)
}

// appendNibbles appends a label for each half of an octet, the last first (RFC
// 3596 §2.5).
func appendNibbles(dst, octets []byte) []byte {
	const digits = "0123456789abcdef"
	for _, o := range slices.Backward(octets) {
		dst = append(dst, 1, digits[o&0xf], 1, digits[o>>4])
	}
	return dst
}

// Types that lines without types, or with ANY, leave out.
const (
	typeNS    = 2
	typeSOA   = 6
	typeOPT   = 41
	typeRRSIG = 46
	typeNSEC  = 47
	typeNSEC3 = 50
)

// isData tells whether a zone may have records of the type (RFC 6895 §3.1).
func isData(typ uint16) bool { return typ != 0 && typ != typeOPT && (typ < 128 || typ > 255) }

// typeSet is the types of a line; the zero value is those of a line that names
// none.
type typeSet struct {
	words []string // in capitals
	any   bool     // the word is ANY
	list  []uint16 // else what they stand for
}

// has tells whether the type, which a zone may have records of, is in the set.
func (s *typeSet) has(typ uint16) bool {
	if len(s.list) > 0 {
		return slices.Contains(s.list, typ)
	}
	switch typ {
	case typeNSEC, typeNSEC3:
		return false
	case typeSOA, typeNS, typeRRSIG:
		return s.any
	default:
		return true
	}
}
