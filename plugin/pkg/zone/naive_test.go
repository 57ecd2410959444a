package zone_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// record is one resource record of class IN.
type record struct {
	owner dnsname.Name
	typ   uint16
	ttl   uint32
	rdata string
}

// naive is a zone as a plain map, and the algorithms of the RFCs on it written
// as they stand there: the model that Snapshot is compared with. It is slow and
// takes every question anew.
type naive struct {
	origin dnsname.Name
	owners map[dnsname.Name]*naiveOwner // by the name in lower case
	hashes map[dnsname.Name]*naiveOwner // the same for NSEC3 RRs, which are no names of the zone
	// signed says that proofs are to be given: an NSEC chain, or the NSEC3 chain
	// of these parameters.
	nsec   bool
	nsec3  *naiveNSEC3
	former *naiveNSEC3 // of another chain, which nothing must use
}

type naiveOwner struct {
	name dnsname.Name           // in the letter case of the first record
	sets map[uint16]*naiveRRset // by type; RRSIGs are with the type they cover
}

type naiveRRset struct {
	ttl    uint32
	rdata  []string
	sigTTL uint32
	sigs   []string
}

type naiveNSEC3 struct {
	iterations uint16
	salt       string
	optOut     bool
}

func newNaive(origin dnsname.Name, records ...record) *naive {
	m := &naive{origin: origin, owners: map[dnsname.Name]*naiveOwner{}, hashes: map[dnsname.Name]*naiveOwner{}}
	for _, r := range records {
		m.load(r)
	}
	return m
}

// load adds a record as from a master file: the first TTL of an RRset counts,
// and a duplicate is passed over.
func (m *naive) load(r record) {
	set, sig := m.make(r.owner, r.typ, r.rdata)
	ttl, rdata, typ := &set.ttl, &set.rdata, r.typ
	if sig {
		ttl, rdata = &set.sigTTL, &set.sigs
	}
	if len(*rdata) == 0 {
		*ttl = r.ttl
	}
	if !holds(typ, *rdata, r.rdata) {
		*rdata = append(*rdata, r.rdata)
	}
}

// part gives the map in which a record is: its covered type decides for RRSIG.
func (m *naive) part(typ uint16, rdata string) (part map[dnsname.Name]*naiveOwner, of uint16, sig bool) {
	of, sig = typ, typ == rrset.TypeRRSIG
	if sig {
		of = rrset.Covered(rdata)
	}
	if of == rrset.TypeNSEC3 {
		return m.hashes, of, sig
	}
	return m.owners, of, sig
}

// make gives the set that a record belongs to, made if need be.
func (m *naive) make(owner dnsname.Name, typ uint16, rdata string) (set *naiveRRset, sig bool) {
	part, of, sig := m.part(typ, rdata)
	o := part[owner.Fold()]
	if o == nil {
		o = &naiveOwner{owner, map[uint16]*naiveRRset{}}
		part[owner.Fold()] = o
	}
	if o.sets[of] == nil {
		o.sets[of] = &naiveRRset{}
	}
	return o.sets[of], sig
}

// holds compares RDATA without regard to the letter case of names where RFC
// 4034 §6.2 says so.
func holds(typ uint16, list []string, rdata string) bool {
	return slices.ContainsFunc(list, func(r string) bool { return canonical(typ, r) == canonical(typ, rdata) })
}

func canonical(typ uint16, rdata string) string {
	switch typ {
	case rrset.TypeNS, rrset.TypeCNAME, rrset.TypeDNAME, rrset.TypePTR:
		return lower(rdata)
	case rrset.TypeMX:
		return rdata[:2] + lower(rdata[2:])
	case rrset.TypeSRV:
		return rdata[:6] + lower(rdata[6:])
	case rrset.TypeSOA, rrset.TypeNAPTR, rrset.TypeRRSIG:
		return string(rrset.AppendCanonical(nil, typ, rdata))
	}
	return rdata
}

func lower(s string) string { return string(dnsname.AppendFold(nil, s)) }

// records gives everything in the zone, owners in no order.
func (m *naive) records() (all []record) {
	for _, part := range []map[dnsname.Name]*naiveOwner{m.owners, m.hashes} {
		for _, o := range part {
			for typ, set := range o.sets {
				for _, r := range set.rdata {
					all = append(all, record{o.name, typ, set.ttl, r})
				}
				for _, r := range set.sigs {
					all = append(all, record{o.name, rrset.TypeRRSIG, set.sigTTL, r})
				}
			}
		}
	}
	return all
}

// build gives the zone as a Snapshot made from scratch. Owners stay together in
// some order, records of an RRset in theirs.
func (m *naive) build(t testing.TB) *zone.Snapshot {
	t.Helper()
	b := zone.NewBuilder(m.origin)
	for _, r := range m.records() {
		if err := b.Add(r.owner, r.typ, r.ttl, []byte(r.rdata)); err != nil {
			t.Fatalf("adding %v: %v", r, err)
		}
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// exists tells whether a name has records, or a name below it has (RFC 4592
// §2.2.2).
func (m *naive) exists(n dnsname.Name) bool {
	for o := range m.owners {
		if o.IsBelow(n) {
			return true
		}
	}
	return false
}

// get gives an RRset with the RRSIGs over it; no records if there is none.
func (m *naive) get(n dnsname.Name, typ uint16) (s zone.Set) {
	if o := m.owners[n.Fold()]; o != nil && o.sets[typ] != nil && len(o.sets[typ].rdata) > 0 {
		return o.sets[typ].set(n, typ)
	}
	return zone.Set{}
}

func (r *naiveRRset) set(owner dnsname.Name, typ uint16) zone.Set {
	s, err := rrset.New(typ, r.ttl, r.rdata...)
	if err != nil {
		panic(err)
	}
	sigs, err := rrset.New(rrset.TypeRRSIG, r.sigTTL, r.sigs...)
	if err != nil {
		panic(err)
	}
	return zone.Set{Owner: owner, RRset: s, Sigs: sigs}
}

func (m *naive) has(n dnsname.Name, typ uint16) bool { return !m.get(n, typ).IsEmpty() }

// downTo gives the names from the apex to n.
func (m *naive) downTo(n dnsname.Name) (names []dnsname.Name) {
	for ; len(n) > len(m.origin); n = n.Parent() {
		names = append(names, n)
	}
	names = append(names, n)
	slices.Reverse(names)
	return names
}

func star(n dnsname.Name) dnsname.Name { return "\x01*" + n }

// reply is an Answer with the proofs apart: the owners, in lower case, of the
// NSEC or NSEC3 RRsets that must be in the authority section.
type reply struct {
	zone.Answer
	proofs map[dnsname.Name]bool
	q      zone.Query
}

const naiveLinks = 16

// resolve answers a query: RFC 1034 §4.3.2.
func (m *naive) resolve(q zone.Query) *reply {
	r := &reply{proofs: map[dnsname.Name]bool{}, q: q}
	r.AA = true
	name := q.Name
	for links := 1; ; links++ {
		target, follow := m.step(name, r)
		if !follow || links == naiveLinks || r.answered(target, rrset.TypeCNAME) {
			return r
		}
		if !target.IsBelow(m.origin) {
			r.Next = target
			return r
		}
		name = target
	}
}

// step answers for one name of the chain.
func (m *naive) step(name dnsname.Name, r *reply) (target dnsname.Name, follow bool) {
	down := m.downTo(name)
	for i, n := range down {
		last := i == len(down)-1
		switch {
		case i > 0 && m.has(n, rrset.TypeNS) && !(last && r.q.Type == rrset.TypeDS):
			m.refer(n, r)
			return "", false
		case !last && m.has(n, rrset.TypeDNAME):
			return m.redirect(name, n, r)
		case !m.exists(n):
			encloser := down[i-1]
			if !m.exists(star(encloser)) {
				r.Kind = zone.NXDomain
				m.negative(r)
				m.proveNXDomain(name, encloser, r)
				return "", false
			}
			return m.data(name, star(encloser), r)
		}
	}
	return m.data(name, name, r)
}

// data answers from the node of source, which is name or the wildcard that name
// is synthesized from.
func (m *naive) data(name, source dnsname.Name, r *reply) (target dnsname.Name, follow bool) {
	sets := m.asked(source, r.q)
	cname := m.get(source, rrset.TypeCNAME)
	switch {
	case len(sets) > 0:
		for _, s := range sets {
			r.Answer.Answer = append(r.Answer.Answer, r.sent(s, name))
		}
		r.Kind = zone.Success
	case !cname.IsEmpty() && r.q.Type != rrset.TypeRRSIG && r.q.Type != rrset.TypeNSEC:
		r.Answer.Answer = append(r.Answer.Answer, r.sent(cname, name))
		r.Kind = zone.Success
		target, follow = dnsname.Name(cname.First()), true
	default:
		r.Kind = zone.NoData
		m.negative(r)
		m.proveNoData(name, source, r)
		if name != source {
			r.Wildcard = source
		}
		return "", false
	}
	if name != source {
		r.Wildcard = source
		m.proveExpansion(name, source, r)
	}
	if !follow && r.q.Type != rrset.TypeANY {
		m.additional(r)
	}
	return target, follow
}

// asked gives what the node of a name has of the type asked for.
func (m *naive) asked(source dnsname.Name, q zone.Query) (sets []zone.Set) {
	o := m.owners[source.Fold()]
	if o == nil {
		return nil
	}
	if q.Type != rrset.TypeANY && q.Type != rrset.TypeRRSIG {
		if s := m.get(source, q.Type); !s.IsEmpty() {
			sets = append(sets, s)
		}
		return sets
	}
	for _, typ := range slices.Sorted(maps.Keys(o.sets)) {
		s := o.sets[typ].set(source, typ)
		if q.Type == rrset.TypeRRSIG {
			s = zone.Set{Owner: source, RRset: s.Sigs}
		}
		if !s.IsEmpty() {
			sets = append(sets, s)
		}
	}
	if q.All || len(sets) == 0 {
		return sets
	}
	for _, s := range sets { // RFC 8482 §4.1: any one of them
		if s.Type == rrset.TypeCNAME {
			return []zone.Set{s}
		}
	}
	return sets[:1]
}

// refer answers with a zone cut: step 3b.
func (m *naive) refer(cut dnsname.Name, r *reply) {
	r.Kind = zone.Delegation
	r.AA = len(r.Answer.Answer) > 0
	ns := m.get(cut, rrset.TypeNS)
	ns.Sigs = rrset.RRset{}
	r.Authority = append(r.Authority, ns)
	if r.q.DO && m.signed() {
		if ds := m.get(cut, rrset.TypeDS); !ds.IsEmpty() {
			r.Authority = append(r.Authority, ds)
		} else {
			m.proveNoDS(cut, r)
		}
	}
	var others []zone.Set
	for rdata := range ns.All() {
		target := dnsname.Name(rdata)
		for _, typ := range []uint16{rrset.TypeA, rrset.TypeAAAA} {
			s := m.get(target, typ)
			switch {
			case s.IsEmpty() || m.belowDNAME(target):
			case target.IsBelow(cut):
				r.Additional = append(r.Additional, r.sent(s, target))
			default:
				others = append(others, r.sent(s, target))
			}
		}
	}
	r.Glue = len(r.Additional)
	r.Additional = append(r.Additional, others...)
}

// belowDNAME tells whether a DNAME hides a name that no zone cut hides.
func (m *naive) belowDNAME(n dnsname.Name) bool {
	for i, up := range m.downTo(n) {
		switch {
		case i > 0 && m.has(up, rrset.TypeNS):
			return false
		case len(up) < len(n) && m.has(up, rrset.TypeDNAME):
			return true
		}
	}
	return false
}

// redirect synthesizes a CNAME: RFC 6672 §3.2.
func (m *naive) redirect(name, owner dnsname.Name, r *reply) (target dnsname.Name, follow bool) {
	r.Kind = zone.Success
	dname := m.get(owner, rrset.TypeDNAME)
	if !r.answered(owner, rrset.TypeDNAME) {
		r.Answer.Answer = append(r.Answer.Answer, r.sent(dname, owner))
	}
	target, fits := dnsname.Join(string(name[:len(name)-len(owner)]), dnsname.Name(dname.First()))
	if !fits {
		r.Kind = zone.YXDomain
		return "", false
	}
	cname, err := rrset.New(rrset.TypeCNAME, dname.TTL, string(target))
	if err != nil {
		panic(err)
	}
	r.Answer.Answer = append(r.Answer.Answer, zone.Set{Owner: name, RRset: cname})
	return target, r.q.Type != rrset.TypeCNAME
}

// negative adds the SOA record: RFC 2308 §3, §5.
func (m *naive) negative(r *reply) {
	soa := m.get(m.origin, rrset.TypeSOA)
	ttl := m.negativeTTL()
	soa.TTL, soa.Sigs.TTL = ttl, min(ttl, soa.Sigs.TTL)
	r.Authority = append(r.Authority, r.sent(soa, m.origin))
}

func (r *reply) sent(s zone.Set, owner dnsname.Name) zone.Set {
	s.Owner = owner
	if !r.q.DO {
		s.Sigs = rrset.RRset{}
	}
	return s
}

func (r *reply) answered(owner dnsname.Name, typ uint16) bool {
	return slices.ContainsFunc(slices.Concat(r.Answer.Answer, r.Additional), func(s zone.Set) bool {
		return s.Type == typ && s.Owner.Equal(owner)
	})
}

// additional adds what the client would ask for next.
func (m *naive) additional(r *reply) {
	last := r.Answer.Answer[len(r.Answer.Answer)-1]
	for rdata := range last.All() {
		switch last.Type {
		case rrset.TypeNS:
			m.addresses(dnsname.Name(rdata), r)
		case rrset.TypeMX:
			m.addresses(dnsname.Name(rdata[2:]), r)
		case rrset.TypeSRV:
			m.addresses(dnsname.Name(rdata[6:]), r)
		case rrset.TypeNAPTR:
			m.naptr(rdata, r)
		case rrset.TypeHTTPS:
			m.service(last.Owner, rdata, r)
		}
	}
}

// find gives the sets of some types that a query for name would get without
// following aliases.
func (m *naive) find(name dnsname.Name, types ...uint16) (sets []zone.Set) {
	if !name.IsBelow(m.origin) {
		return nil
	}
	source := name
	for i, n := range m.downTo(name) {
		if i > 0 && m.has(n, rrset.TypeNS) || n != name && m.has(n, rrset.TypeDNAME) {
			return nil
		}
		if !m.exists(n) {
			source = star(n.Parent())
			break
		}
	}
	for _, typ := range types {
		if s := m.get(source, typ); !s.IsEmpty() {
			s.Owner = name
			sets = append(sets, s)
		}
	}
	return sets
}

func (m *naive) addresses(name dnsname.Name, r *reply) {
	if r.answered(name, rrset.TypeA) || r.answered(name, rrset.TypeAAAA) {
		return
	}
	for _, s := range m.find(name, rrset.TypeA, rrset.TypeAAAA) {
		r.Additional = append(r.Additional, r.sent(s, name))
	}
}

// naptr follows the flag of a NAPTR record: RFC 3403 §4.4.
func (m *naive) naptr(rdata string, r *reply) {
	flag := strings.ToLower(rdata[5 : 5+rdata[4]])
	rest := rdata[5+rdata[4]:] // service, regexp, replacement
	rest = rest[1+rest[0]:]
	name := dnsname.Name(rest[1+rest[0]:])
	switch flag {
	case "a":
		m.addresses(name, r)
	case "s":
		for _, s := range m.find(name, rrset.TypeSRV) {
			if r.answered(name, rrset.TypeSRV) {
				return
			}
			r.Additional = append(r.Additional, r.sent(s, name))
			for srv := range s.All() {
				m.addresses(dnsname.Name(srv[6:]), r)
			}
		}
	}
}

// service follows HTTPS records: RFC 9460 §4.1.
func (m *naive) service(owner dnsname.Name, rdata string, r *reply) {
	for range 8 {
		alias, target := rdata[:2] == "\x00\x00", dnsname.Name(rdata[2:])
		target = target[:dnsname.Len(target)]
		switch {
		case target != dnsname.Root:
		case alias:
			return
		default:
			target = owner
		}
		m.addresses(target, r)
		next := m.find(target, rrset.TypeHTTPS)
		if !alias || len(next) == 0 || r.answered(target, rrset.TypeHTTPS) {
			return
		}
		r.Additional = append(r.Additional, r.sent(next[0], target))
		for other := range next[0].All() {
			if other != next[0].First() && other[:2] != "\x00\x00" {
				name := dnsname.Name(other[2:])
				if name = name[:dnsname.Len(name)]; name == dnsname.Root {
					name = target
				}
				m.addresses(name, r)
			}
		}
		owner, rdata = target, next[0].First()
	}
}

// dump writes an answer down so that equal text is an equal answer. Proofs are
// left out unless withProofs is set.
func dump(a *zone.Answer, withProofs bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s aa=%v glue=%d wildcard=%s next=%s\n", a.Kind, a.AA, a.Glue, a.Wildcard.Fold(), a.Next)
	for i, section := range [][]zone.Set{a.Answer, a.Authority, a.Additional} {
		for _, s := range section {
			if withProofs || i != 1 || s.Type != rrset.TypeNSEC && s.Type != rrset.TypeNSEC3 {
				fmt.Fprintln(&b, [...]string{"answer", "authority", "additional"}[i], dumpSet(s))
			}
		}
	}
	return b.String()
}

func dumpSet(s zone.Set) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d TYPE%d", s.Owner, s.TTL, s.Type)
	for r := range s.All() {
		fmt.Fprintf(&b, " %q", r)
	}
	if !s.Sigs.IsEmpty() {
		fmt.Fprintf(&b, " sigs %d", s.Sigs.TTL)
		for r := range s.Sigs.All() {
			fmt.Fprintf(&b, " %q", r)
		}
	}
	return b.String()
}

// String lists the zone, a record a line.
func (m *naive) String() string {
	var lines []string
	for _, r := range m.records() {
		lines = append(lines, fmt.Sprintf("\t%s %d TYPE%d %q\n", r.owner, r.ttl, r.typ, r.rdata))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func (m *naive) negativeTTL() uint32 {
	soa := m.get(m.origin, rrset.TypeSOA)
	return min(soa.TTL, binary.BigEndian.Uint32([]byte(soa.First()[len(soa.First())-4:])))
}
