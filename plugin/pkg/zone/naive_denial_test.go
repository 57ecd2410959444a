package zone_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// compare gives the canonical order of two names: RFC 4034 §6.1.
func compare(a, b dnsname.Name) int {
	labels := func(n dnsname.Name) (l []string) {
		for n = n.Fold(); n != dnsname.Root; n = n.Parent() {
			l = append(l, string(n[1:1+n[0]]))
		}
		slices.Reverse(l)
		return l
	}
	return slices.Compare(labels(a), labels(b))
}

func (m *naive) signed() bool { return m.nsec || m.nsec3 != nil }

// cut tells whether a name is a zone cut.
func (m *naive) cut(n dnsname.Name) bool { return !n.Equal(m.origin) && m.has(n, rrset.TypeNS) }

// visible tells whether a name is not below a zone cut or a DNAME.
func (m *naive) visible(n dnsname.Name) bool {
	for _, up := range m.downTo(n) {
		if len(up) < len(n) && (m.cut(up) || m.has(up, rrset.TypeDNAME)) {
			return false
		}
	}
	return true
}

// sign gives the zone the chain of its parameters, and signatures that say what
// they sign: RFC 4035 §2, RFC 5155 §7.1.
func (m *naive) sign() {
	const ttl = 900 // differs from the negative TTL, which is to be the lesser
	var names []dnsname.Name
	for n := range m.owners {
		if m.visible(n) {
			names = append(names, n)
		}
	}
	if m.nsec3 != nil {
		if m.former != nil { // a chain that is on its way out, in the way of the other
			m.nsec3, m.former = m.former, m.nsec3
			m.chainNSEC3(names, ttl)
			m.nsec3, m.former = m.former, m.nsec3
		}
		m.load(record{m.origin, rrset.TypeNSEC3PARAM, 0, m.nsec3.wire()})
		m.chainNSEC3(names, ttl)
	} else {
		slices.SortFunc(names, compare)
		for i, n := range names {
			types := append(m.bitmap(n), rrset.TypeNSEC, rrset.TypeRRSIG)
			m.load(record{n, rrset.TypeNSEC, ttl, string(names[(i+1)%len(names)]) + packTypes(types)})
		}
	}
	for _, n := range names {
		for typ, set := range m.owners[n].sets {
			if m.cut(n) && typ != rrset.TypeDS && typ != rrset.TypeNSEC {
				continue
			}
			set.sigTTL, set.sigs = set.ttl, []string{m.signature(m.owners[n].name, typ, set)}
		}
	}
	for _, o := range m.hashes {
		set := o.sets[rrset.TypeNSEC3]
		set.sigTTL, set.sigs = set.ttl, []string{m.signature(o.name, rrset.TypeNSEC3, set)}
	}
}

// bitmap gives the types of a name but NSEC and RRSIG; of a zone cut those the
// zone is authoritative for, and NS.
func (m *naive) bitmap(n dnsname.Name) (types []uint16) {
	for typ := range m.owners[n.Fold()].sets {
		if !m.cut(n) || typ == rrset.TypeNS || typ == rrset.TypeDS {
			types = append(types, typ)
		}
	}
	return types
}

func (m *naive) chainNSEC3(names []dnsname.Name, ttl uint32) {
	types := map[dnsname.Name][]uint16{}
	for _, n := range names {
		secure := m.has(n, rrset.TypeDS)
		if m.nsec3.optOut && m.cut(n) && !secure {
			continue
		}
		types[n] = m.bitmap(n)
		if !m.cut(n) || secure {
			types[n] = append(types[n], rrset.TypeRRSIG)
		}
		for _, up := range m.downTo(n) { // empty non-terminals
			if _, ok := types[up.Fold()]; !ok && m.owners[up.Fold()] == nil {
				types[up.Fold()] = nil
			}
		}
	}
	byHash := map[string]dnsname.Name{}
	for n := range types {
		byHash[string(m.hash(n))] = n
	}
	hashes := slices.Sorted(maps.Keys(byHash))
	for i, h := range hashes {
		next, err := base32.HexEncoding.DecodeString(strings.ToUpper(hashes[(i+1)%len(hashes)][1:33]))
		if err != nil {
			panic(err)
		}
		rdata := []byte(m.nsec3.wire() + "\x14" + string(next) + packTypes(types[byHash[h]]))
		if m.nsec3.optOut {
			rdata[1] = 1
		}
		m.load(record{dnsname.Name(h), rrset.TypeNSEC3, ttl, string(rdata)})
	}
}

// wire gives the parameters as NSEC3PARAM has them: RFC 5155 §4.2.
func (p *naiveNSEC3) wire() string {
	b := binary.BigEndian.AppendUint16([]byte{1, 0}, p.iterations)
	return string(append(append(b, byte(len(p.salt))), p.salt...))
}

// packTypes is RFC 4034 §4.1.2.
func packTypes(types []uint16) string {
	windows := map[byte][]byte{}
	for _, t := range types {
		w := windows[byte(t>>8)]
		for len(w) <= int(t&0xff)/8 {
			w = append(w, 0)
		}
		w[t&0xff/8] |= 0x80 >> (t % 8)
		windows[byte(t>>8)] = w
	}
	var b []byte
	for _, w := range slices.Sorted(maps.Keys(windows)) {
		b = append(append(b, w, byte(len(windows[w]))), windows[w]...)
	}
	return string(b)
}

func hasType(bitmap string, typ uint16) bool {
	for len(bitmap) > 0 {
		window, n := bitmap[0], int(bitmap[1])
		if i := int(typ&0xff) / 8; window == byte(typ>>8) && i < n {
			return bitmap[2+i]&(0x80>>(typ%8)) != 0
		}
		bitmap = bitmap[2+n:]
	}
	return false
}

// signature gives the RDATA of an RRSIG whose signature is a digest of what it
// covers.
func (m *naive) signature(owner dnsname.Name, typ uint16, set *naiveRRset) string {
	labels := owner.Labels()
	if owner.IsWildcard() {
		labels--
	}
	b := binary.BigEndian.AppendUint16(nil, typ)
	b = append(b, 253, byte(labels))
	b = binary.BigEndian.AppendUint32(b, set.ttl)
	b = append(b, 0x80, 0, 0, 0, 0x60, 0, 0, 0, 0, 1)
	b = append(b, m.origin...)
	return string(b) + digest(owner, typ, set.rdata)
}

func digest(owner dnsname.Name, typ uint16, rdata []string) string {
	d := sha256.Sum256(fmt.Appendf(nil, "%q %d %q", owner.Fold(), typ, slices.Sorted(slices.Values(rdata))))
	return string(d[:8])
}

// hash gives the owner of the NSEC3 RR of a name: RFC 5155 §5.
func (m *naive) hash(n dnsname.Name) dnsname.Name {
	h := dns.HashName(n.String(), dns.SHA1, m.nsec3.iterations, hex.EncodeToString([]byte(m.nsec3.salt)))
	return "\x20" + dnsname.Name(strings.ToLower(h)) + m.origin.Fold()
}

// atOrBefore gives the NSEC owner at a name, or the one that covers it.
func (m *naive) atOrBefore(n dnsname.Name) (best dnsname.Name) {
	for o := range m.owners {
		if m.has(o, rrset.TypeNSEC) && compare(o, n) <= 0 && (best == "" || compare(o, best) > 0) {
			best = o
		}
	}
	return best
}

// chain gives the owners of the NSEC3 RRs that have the parameters of the zone.
func (m *naive) chain() (hashes []dnsname.Name) {
	for _, n := range slices.Sorted(maps.Keys(m.hashes)) {
		rdata := m.hashes[n].sets[rrset.TypeNSEC3].rdata[0]
		if rdata[2:5+rdata[4]] == m.nsec3.wire()[2:] {
			hashes = append(hashes, n)
		}
	}
	return hashes
}

// covering gives the NSEC3 owner that is the last before the hash of a name, or
// the very last.
func (m *naive) covering(n dnsname.Name) dnsname.Name {
	hashes := m.chain()
	i, ok := slices.BinarySearch(hashes, m.hash(n))
	if ok {
		return hashes[i]
	}
	return hashes[(i+len(hashes)-1)%len(hashes)]
}

// matches tells whether a name has an NSEC3 RR.
func (m *naive) matches(n dnsname.Name) bool { return m.hashes[m.hash(n)] != nil }

// closest proves the closest encloser of a name, which is encloser or, where
// opt-out leaves no choice, above it: RFC 5155 §7.2.1.
func (m *naive) closest(name, encloser dnsname.Name, r *reply) dnsname.Name {
	for !m.matches(encloser) {
		encloser = encloser.Parent()
	}
	r.proofs[m.hash(encloser)] = true
	r.proofs[m.covering(nextCloser(name, encloser))] = true
	return encloser
}

// nextCloser gives the name one label longer than encloser on the way to name.
func nextCloser(name, encloser dnsname.Name) dnsname.Name {
	for name.Labels() > encloser.Labels()+1 {
		name = name.Parent()
	}
	return name
}

// proveNXDomain is RFC 4035 §3.1.3.2, RFC 5155 §7.2.2.
func (m *naive) proveNXDomain(name, encloser dnsname.Name, r *reply) {
	switch {
	case !r.q.DO || !m.signed():
	case m.nsec3 != nil:
		r.proofs[m.covering(star(m.closest(name, encloser, r)))] = true
	default:
		r.proofs[m.atOrBefore(name)] = true
		r.proofs[m.atOrBefore(star(encloser))] = true
	}
}

// proveNoData is RFC 4035 §3.1.3.1 and §3.1.3.4, RFC 5155 §7.2.3 to §7.2.5.
func (m *naive) proveNoData(name, source dnsname.Name, r *reply) {
	switch {
	case !r.q.DO || !m.signed():
	case m.nsec3 == nil:
		r.proofs[m.atOrBefore(name)] = true
		r.proofs[m.atOrBefore(source)] = true
	case name == source && m.matches(name):
		r.proofs[m.hash(name)] = true
	case name == source:
		m.closest(name, name.Parent(), r)
	default:
		m.closest(name, source.Parent(), r)
		if m.matches(source) {
			r.proofs[m.hash(source)] = true
		}
	}
}

// proveExpansion is RFC 4035 §3.1.3.3, RFC 5155 §7.2.6.
func (m *naive) proveExpansion(name, source dnsname.Name, r *reply) {
	switch {
	case !r.q.DO || !m.signed():
	case m.nsec3 != nil:
		r.proofs[m.covering(nextCloser(name, source.Parent()))] = true
	default:
		r.proofs[m.atOrBefore(name)] = true
	}
}

// proveNoDS is RFC 4035 §3.1.4, RFC 5155 §7.2.7.
func (m *naive) proveNoDS(cut dnsname.Name, r *reply) {
	switch {
	case m.nsec3 == nil:
		r.proofs[m.atOrBefore(cut)] = true
	case m.matches(cut):
		r.proofs[m.hash(cut)] = true
	default:
		m.closest(cut, cut.Parent(), r)
	}
}

// A validator checks an answer as a client does that has nothing but the answer
// and trusts its signatures: RFC 4035 §5.4, RFC 5155 §8, RFC 6840 §4.
type validator struct {
	m     *naive // for the origin and the parameters of NSEC3 only
	q     zone.Query
	a     *zone.Answer
	used  map[dnsname.Name]bool // denial records that had a purpose
	fault string
}

// validate gives what is wrong with the answer, or "".
func (m *naive) validate(q zone.Query, a *zone.Answer) string {
	v := &validator{m: m, q: q, a: a, used: map[dnsname.Name]bool{}}
	v.signatures()
	name := v.chain()
	if q.Type == rrset.TypeRRSIG {
		return v.fault // nothing validates signatures without what they sign
	}
	switch a.Kind {
	case zone.NXDomain:
		v.require(v.nxdomain(name), "no proof that %s does not exist", name)
	case zone.NoData:
		v.require(v.nodata(name), "no proof that %s has no such type", name)
	case zone.Delegation:
		v.delegation()
	}
	for s := range v.denials() {
		v.require(v.used[s.Owner], "%s proves nothing", s.Owner)
	}
	return v.fault
}

func (v *validator) require(ok bool, format string, args ...any) {
	if !ok && v.fault == "" {
		v.fault = fmt.Sprintf(format, args...)
	}
}

// signatures checks that all that must be signed is, by what belongs to it.
func (v *validator) signatures() {
	for i, section := range [][]zone.Set{v.a.Answer, v.a.Authority, v.a.Additional} {
		for j, s := range section {
			if s.Sigs.IsEmpty() {
				synthesized := i == 0 && j > 0 && s.Type == rrset.TypeCNAME && slices.ContainsFunc(section[:j], func(d zone.Set) bool {
					return d.Type == rrset.TypeDNAME && len(s.Owner) > len(d.Owner) && s.Owner.IsBelow(d.Owner)
				})
				referral := i == 1 && s.Type == rrset.TypeNS
				v.require(synthesized || referral || i == 2 || s.Type == rrset.TypeRRSIG, "%s TYPE%d is not signed", s.Owner, s.Type)
				continue
			}
			sig := s.Sigs.First()
			owner := s.Owner
			for owner.Labels() > int(sig[3]) {
				owner = owner.Parent()
			}
			if owner != s.Owner {
				owner = star(owner)
			}
			ok := rrset.Covered(sig) == s.Type && strings.HasSuffix(sig, digest(owner, s.Type, slices.Collect(s.All()))) && s.Sigs.TTL == s.TTL
			v.require(ok, "wrong signature over %s TYPE%d", s.Owner, s.Type)
		}
	}
}

// chain follows the aliases of the answer section and checks the expansions of
// wildcards. It gives the last name.
func (v *validator) chain() dnsname.Name {
	name := v.q.Name
	for _, s := range v.a.Answer {
		labels := s.Owner.Labels()
		if s.Owner.IsWildcard() { // RFC 4035 §5.3.4
			labels--
		}
		if !s.Sigs.IsEmpty() && labels > int(s.Sigs.First()[3]) {
			encloser := s.Owner
			for encloser.Labels() > int(s.Sigs.First()[3]) {
				encloser = encloser.Parent()
			}
			next := nextCloser(s.Owner, encloser)
			if v.m.nsec3 != nil {
				v.require(v.covered3(next) != "", "nothing covers %s", next)
			} else {
				n := v.covered(s.Owner)
				v.require(n != "" && len(n) <= len(next), "nothing covers %s", next)
			}
		}
		if s.Type == rrset.TypeCNAME && s.Owner.Equal(name) && v.q.Type != rrset.TypeCNAME {
			name = dnsname.Name(s.First())
		}
	}
	return name
}

func (v *validator) denials() func(func(zone.Set) bool) {
	return func(yield func(zone.Set) bool) {
		for _, s := range v.a.Authority {
			if (s.Type == rrset.TypeNSEC || s.Type == rrset.TypeNSEC3) && !yield(s) {
				return
			}
		}
	}
}

// covered finds an NSEC RR that shows that a name does not exist, and gives the
// longest ancestor of it plus one label: the longest name known to be missing is
// at that or below. "" if there is none.
func (v *validator) covered(n dnsname.Name) (next dnsname.Name) {
	for s := range v.denials() {
		if s.Type != rrset.TypeNSEC {
			continue
		}
		to := dnsname.Name(s.First()[:dnsname.Len(s.First())])
		bitmap := s.First()[len(to):]
		last := compare(to, s.Owner) <= 0
		if compare(s.Owner, n) >= 0 || !last && compare(n, to) >= 0 || !last && to.IsBelow(n) {
			continue
		}
		if n.IsBelow(s.Owner) && (hasType(bitmap, rrset.TypeDNAME) || hasType(bitmap, rrset.TypeNS) && !hasType(bitmap, rrset.TypeSOA)) {
			continue // speaks of another zone, or for names that are not to be asked (RFC 6840 §4.1)
		}
		v.used[s.Owner] = true
		encloser := n.Parent()
		for !s.Owner.IsBelow(encloser) && !to.IsBelow(encloser) {
			encloser = encloser.Parent()
		}
		return nextCloser(n, encloser)
	}
	return ""
}

// matched finds the NSEC or NSEC3 RR of a name and gives its types.
func (v *validator) matched(n dnsname.Name) (bitmap string, ok bool) {
	for s := range v.denials() {
		r := s.First()
		switch {
		case s.Type == rrset.TypeNSEC && s.Owner.Equal(n):
			v.used[s.Owner] = true
			return r[dnsname.Len(r):], true
		case s.Type == rrset.TypeNSEC3 && s.Owner.Equal(v.m.hash(n)):
			v.used[s.Owner] = true
			r = r[5+r[4]:]
			return r[1+r[0]:], true
		}
	}
	return "", false
}

// covered3 finds the NSEC3 RR that shows that a name has none, or gives "".
func (v *validator) covered3(n dnsname.Name) (flags string) {
	for s := range v.denials() {
		if s.Type != rrset.TypeNSEC3 {
			continue
		}
		r := s.First()
		next := r[6+r[4]:][:20]
		own, err := base32.HexEncoding.DecodeString(strings.ToUpper(string(s.Owner[1:33])))
		if err != nil {
			panic(err)
		}
		h, err := base32.HexEncoding.DecodeString(strings.ToUpper(string(v.m.hash(n)[1:33])))
		if err != nil {
			panic(err)
		}
		after, before := bytes.Compare(own, h) < 0, bytes.Compare(h, []byte(next)) < 0
		if after && before || string(own) >= next && (after || before) {
			v.used[s.Owner] = true
			return "covered" + r[1:2]
		}
	}
	return ""
}

// enclosed finds the closest encloser that NSEC3 RRs prove for a name, and
// tells whether the name may still exist in an opt-out span.
func (v *validator) enclosed(name dnsname.Name) (encloser dnsname.Name, optOut, ok bool) {
	for encloser = name.Parent(); ; encloser = encloser.Parent() {
		if bitmap, ok := v.matched(encloser); ok {
			if hasType(bitmap, rrset.TypeDNAME) || hasType(bitmap, rrset.TypeNS) && !hasType(bitmap, rrset.TypeSOA) {
				return "", false, false // RFC 5155 §8.3
			}
			flags := v.covered3(nextCloser(name, encloser))
			return encloser, flags == "covered\x01", flags != ""
		}
		if encloser.Equal(v.m.origin) || encloser == dnsname.Root {
			return "", false, false
		}
	}
}

func (v *validator) nxdomain(name dnsname.Name) bool {
	if v.m.nsec3 != nil {
		encloser, optOut, ok := v.enclosed(name)
		if ok && optOut && v.covered3(star(encloser)) == "" {
			// The closest encloser has no NSEC3 RR, as only insecure zone cuts are below it, and the one
			// above has a wildcard. No proof exists for that (RFC 5155 §7.1, §7.2.2).
			_, ok = v.matched(star(encloser))
			return ok
		}
		return ok && v.covered3(star(encloser)) != ""
	}
	next := v.covered(name)
	return next != "" && v.covered(star(next.Parent())) != ""
}

func (v *validator) nodata(name dnsname.Name) bool {
	// An alias is not followed for NSEC, as named and knotd have it.
	lacks := func(bitmap string) bool {
		return !hasType(bitmap, v.q.Type) && (!hasType(bitmap, rrset.TypeCNAME) || v.q.Type == rrset.TypeNSEC)
	}
	if bitmap, ok := v.matched(name); ok {
		// The NSEC of the parent's side of a cut speaks for DS only, that of a child's apex not for it.
		parentSide := hasType(bitmap, rrset.TypeNS) && !hasType(bitmap, rrset.TypeSOA)
		return lacks(bitmap) && (!parentSide || v.q.Type == rrset.TypeDS)
	}
	if v.m.nsec3 != nil {
		encloser, optOut, ok := v.enclosed(name)
		if !ok {
			return false
		}
		bitmap, ok := v.matched(star(encloser))
		return ok && lacks(bitmap) || optOut // an empty non-terminal or a cut without a secure name below
	}
	for s := range v.denials() { // an empty non-terminal has the next name below it
		to := dnsname.Name(s.First()[:dnsname.Len(s.First())])
		if compare(s.Owner, name) < 0 && to.IsBelow(name) {
			v.used[s.Owner] = true
			return true
		}
	}
	next := v.covered(name)
	if next == "" {
		return false
	}
	wildcard := star(next.Parent())
	if bitmap, ok := v.matched(wildcard); ok {
		return lacks(bitmap)
	}
	for s := range v.denials() {
		to := dnsname.Name(s.First()[:dnsname.Len(s.First())])
		if compare(s.Owner, wildcard) < 0 && to.IsBelow(wildcard) {
			v.used[s.Owner] = true
			return true
		}
	}
	return false
}

func (v *validator) delegation() {
	var cut dnsname.Name
	secure := false
	for _, s := range v.a.Authority {
		switch s.Type {
		case rrset.TypeNS:
			cut = s.Owner
		case rrset.TypeDS:
			secure = true
		}
	}
	if secure {
		return
	}
	if bitmap, ok := v.matched(cut); ok {
		v.require(hasType(bitmap, rrset.TypeNS) && !hasType(bitmap, rrset.TypeDS) && !hasType(bitmap, rrset.TypeSOA), "wrong types at the cut %s", cut)
		return
	}
	ok := false
	if v.m.nsec3 != nil {
		_, optOut, proven := v.enclosed(cut)
		ok = optOut && proven
	}
	v.require(ok, "no proof that %s has no DS", cut)
}
