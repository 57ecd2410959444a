package signer_test

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// plain is a zone as a map of its records, and the rules of what a signed zone has
// written down as they stand in the RFCs. It knows nothing of the code under test.
type plain struct {
	origin dnsname.Name
	sets   map[dnsname.Name]map[uint16]zone.Set // by owner in lower case
	hashes map[dnsname.Name]zone.Set            // NSEC3
}

func newPlain(s *zone.Snapshot) *plain {
	p := &plain{s.Origin(), map[dnsname.Name]map[uint16]zone.Set{}, map[dnsname.Name]zone.Set{}}
	for set := range s.All() {
		n := set.Owner.Fold()
		if set.Type == rrset.TypeNSEC3 {
			p.hashes[n] = set
			continue
		}
		if p.sets[n] == nil {
			p.sets[n] = map[uint16]zone.Set{}
		}
		p.sets[n][set.Type] = set
	}
	return p
}

func (p *plain) has(n dnsname.Name, typ uint16) bool {
	s, ok := p.sets[n.Fold()][typ]
	return ok && !s.IsEmpty()
}

func (p *plain) cut(n dnsname.Name) bool { return !n.Equal(p.origin) && p.has(n, rrset.TypeNS) }

// hidden tells whether a name is below a zone cut or a DNAME.
func (p *plain) hidden(n dnsname.Name) bool {
	for len(n) > len(p.origin) {
		n = n.Parent()
		if p.cut(n) || p.has(n, rrset.TypeDNAME) {
			return true
		}
	}
	return false
}

// canonical gives the order of names: RFC 4034 §6.1.
func canonical(a, b dnsname.Name) int {
	labels := func(n dnsname.Name) (l []string) {
		for n = n.Fold(); n != dnsname.Root; n = n.Parent() {
			l = append(l, string(n[1:1+n[0]]))
		}
		slices.Reverse(l)
		return l
	}
	return slices.Compare(labels(a), labels(b))
}

// types gives what a bitmap has to say of a name.
func (p *plain) types(n dnsname.Name, nsec3 bool) []uint16 {
	var list []uint16
	signed := false
	for typ, s := range p.sets[n] {
		switch {
		case s.IsEmpty() || typ == rrset.TypeNSEC:
		case p.cut(n) && typ != rrset.TypeNS && typ != rrset.TypeDS:
		default:
			list = append(list, typ)
			signed = signed || !p.cut(n) || typ == rrset.TypeDS
		}
	}
	if !nsec3 {
		list = append(list, rrset.TypeNSEC, rrset.TypeRRSIG)
	} else if signed {
		list = append(list, rrset.TypeRRSIG)
	}
	slices.Sort(list)
	return list
}

// judge gives what is wrong with a signed zone. Signatures that it has found good are
// kept in known. keys and data are the keys that must have signed; extra ones may have.
type judge struct {
	keys, data, extra []*signer.Key
	nsec3, optOut     bool
	now               int64
	known             map[string]bool
}

func (j *judge) check(s *zone.Snapshot) (wrong []string) {
	p := newPlain(s)
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, problem := range s.CheckSignatures(time.Unix(j.now, 0)) {
		say("%s", problem)
	}
	soa := p.sets[p.origin.Fold()][rrset.TypeSOA]
	rdata := soa.First()
	minimum := uint32(rdata[len(rdata)-4])<<24 | uint32(rdata[len(rdata)-3])<<16 | uint32(rdata[len(rdata)-2])<<8 | uint32(rdata[len(rdata)-1])
	ttl := min(minimum, soa.TTL)
	var visible []dnsname.Name
	for n, sets := range p.sets {
		own := false
		for typ, s := range sets {
			own = own || typ != rrset.TypeNSEC && !s.IsEmpty()
			if s.IsEmpty() {
				say("%s: RRSIG over type %d, which is not there", n, typ)
			}
		}
		if own && !p.hidden(n) {
			visible = append(visible, n)
		} else if !own || p.has(n, rrset.TypeNSEC) {
			say("%s: has NSEC and should not", n)
		}
		for typ, set := range sets {
			signed := own && !p.hidden(n) && (!p.cut(n) || typ == rrset.TypeDS || typ == rrset.TypeNSEC)
			j.signatures(set, signed, say)
		}
	}
	slices.SortFunc(visible, canonical)
	if j.nsec3 {
		j.ring(p, visible, ttl, say)
		return wrong
	}
	if len(p.hashes) > 0 || p.has(p.origin, rrset.TypeNSEC3PARAM) {
		say("NSEC3 in a zone with NSEC")
	}
	for i, n := range visible {
		set, ok := p.sets[n][rrset.TypeNSEC]
		if !ok || set.Len() != 1 || set.TTL != ttl {
			say("%s: NSEC %v, TTL %d, want %d", n, ok, set.TTL, ttl)
			continue
		}
		nsec := rrset.AppendRRs(nil, n.String(), set.RRset)[0].(*dns.NSEC)
		next := visible[(i+1)%len(visible)]
		if !strings.EqualFold(nsec.NextDomain, next.String()) || !slices.Equal(nsec.TypeBitMap, p.types(n, false)) {
			say("%s, want next %s, types %d", nsec, next, p.types(n, false))
		}
	}
	return wrong
}

// ring checks the NSEC3 chain: RFC 5155 §7.1.
func (j *judge) ring(p *plain, visible []dnsname.Name, ttl uint32, say func(string, ...any)) {
	want := map[string][]uint16{} // hash → types
	hash := func(n dnsname.Name) string { return strings.ToLower(dns.HashName(n.String(), dns.SHA1, 0, "")) }
	for _, n := range visible {
		if p.has(n, rrset.TypeNSEC) {
			say("%s: NSEC in a zone with NSEC3", n)
		}
		for up := n; len(up) > len(p.origin); {
			up = up.Parent()
			if _, ok := want[hash(up)]; !ok {
				want[hash(up)] = nil
			}
		}
		if j.optOut && p.cut(n) && !p.has(n, rrset.TypeDS) {
			continue
		}
		want[hash(n)] = p.types(n, true)
	}
	hashes := slices.Sorted(maps.Keys(want))
	if len(hashes) != len(p.hashes) {
		say("%d NSEC3 records, want %d", len(p.hashes), len(hashes))
	}
	if param := p.sets[p.origin.Fold()][rrset.TypeNSEC3PARAM]; hex.EncodeToString([]byte(param.First())) != "0100000000" { // S16
		say("NSEC3PARAM %x", param.First())
	}
	for i, h := range hashes {
		set, ok := p.hashes[dnsname.Name("\x20"+h)+p.origin.Fold()]
		if !ok || set.Len() != 1 || set.TTL != ttl {
			say("NSEC3 %s: %v, TTL %d, want %d", h, ok, set.TTL, ttl)
			continue
		}
		j.signatures(set, true, say)
		n := rrset.AppendRRs(nil, set.Owner.String(), set.RRset)[0].(*dns.NSEC3)
		flags := uint8(0)
		if j.optOut {
			flags = 1
		}
		if n.Hash != dns.SHA1 || n.Iterations != 0 || n.SaltLength != 0 || n.Flags != flags || n.HashLength != 20 || // S13
			!strings.EqualFold(n.NextDomain, hashes[(i+1)%len(hashes)]) || !slices.Equal(n.TypeBitMap, want[h]) {
			say("%s, want next %s, types %d", n, hashes[(i+1)%len(hashes)], want[h])
		}
	}
}

// signatures checks the RRSIGs over a set.
func (j *judge) signatures(set zone.Set, signed bool, say func(string, ...any)) {
	if !signed {
		if !set.Sigs.IsEmpty() {
			say("%s type %d: signed and should not be", set.Owner, set.Type)
		}
		return
	}
	if set.Sigs.TTL != set.TTL {
		say("%s type %d: TTL %d and %d of RRSIG", set.Owner, set.Type, set.TTL, set.Sigs.TTL)
	}
	keys, extra := j.data, j.extra
	switch set.Type {
	case rrset.TypeDNSKEY, rrset.TypeCDS, rrset.TypeCDNSKEY:
		keys, extra = j.keys, nil
	}
	algorithms := map[uint8]bool{}
	for r := range set.Sigs.All() {
		sig := rrset.AppendRRs(nil, set.Owner.String(), mustSet(rrset.TypeRRSIG, set.TTL, r))[0].(*dns.RRSIG)
		i := slices.IndexFunc(slices.Concat(keys, extra), func(k *signer.Key) bool { return k.Tag() == sig.KeyTag && uint8(k.Algorithm()) == sig.Algorithm })
		if i < 0 {
			say("%s: of a key that does not sign", sig)
			continue
		}
		algorithms[sig.Algorithm] = true
		if int64(sig.Inception) > j.now-3600 || int64(sig.Expiration) < j.now+3600 { // S2
			say("%s: not valid at %d and an hour before and after", sig, j.now)
		}
		id := fmt.Sprintf("%s %d %q %q", set.Owner.Fold(), set.TTL, set.Packed(), r)
		if j.known[id] || set.Owner == "\x01*\x00" { // miekg/dns makes an empty label of the rest
			continue
		}
		k := slices.Concat(keys, extra)[i]
		key := rrset.AppendRRs(nil, k.Zone().String(), mustSet(rrset.TypeDNSKEY, 0, k.DNSKEY()))[0].(*dns.DNSKEY)
		if err := sig.Verify(key, rrset.AppendRRs(nil, set.Owner.String(), set.RRset)); err != nil {
			say("%s: %v", sig, err)
			continue
		}
		j.known[id] = true
	}
	for _, k := range keys {
		if !algorithms[uint8(k.Algorithm())] || len(extra) == 0 && set.Sigs.Len() != len(keys) {
			say("%s type %d: %d RRSIGs, want one of each of %v", set.Owner, set.Type, set.Sigs.Len(), keys)
		}
	}
}

func mustSet(typ uint16, ttl uint32, rdata ...string) rrset.RRset {
	s, err := rrset.New(typ, ttl, rdata...)
	if err != nil {
		panic(err)
	}
	return s
}

// good fails the test if a zone is not signed as it should be.
func (j *judge) good(t testing.TB, s *zone.Snapshot) {
	t.Helper()
	if j.known == nil || len(j.known) > 1e5 {
		j.known = map[string]bool{}
	}
	if wrong := j.check(s); len(wrong) > 0 {
		t.Fatalf("%s\nin\n%s", strings.Join(wrong, "\n"), dump(s, true))
	}
}

// dump writes a zone down, RRSIGs without what differs from one to the next.
func dump(s *zone.Snapshot, withSigs bool) string {
	var b strings.Builder
	for set := range s.All() {
		list := slices.Sorted(set.All())
		for _, r := range list {
			for _, rr := range rrset.AppendRRs(nil, set.Owner.Fold().String(), mustSet(set.Type, set.TTL, r)) {
				fmt.Fprintln(&b, rr)
			}
		}
		if withSigs {
			var sigs []string
			for r := range set.Sigs.All() {
				sigs = append(sigs, fmt.Sprintf("%s\t%d\tRRSIG %x %x\n", set.Owner.Fold(), set.Sigs.TTL, r[:8], r[16:18]))
			}
			slices.Sort(sigs)
			b.WriteString(strings.Join(sigs, ""))
		}
	}
	return b.String()
}
