package test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// A signedEditor makes random edits of the data of a zone: what it has stands beside the server, and each edit is an UPDATE or
// another master file.
type signedEditor struct {
	*rand.Rand
	origin string
	sets   map[setID][]dns.RR // but the SOA record
	soa    *dns.SOA
	full   int  // how many sets it does not outgrow
	bare   bool // nothing is below DNAME records, as knotd wants it
}

// setID names an RRset.
type setID struct {
	owner string // in lower case
	typ   uint16
}

func newSignedEditor(t *testing.T, origin string, seed uint64, bare bool) *signedEditor {
	t.Helper()
	e := &signedEditor{Rand: rand.New(rand.NewPCG(seed, 4035)), origin: origin, sets: make(map[setID][]dns.RR), full: 70, bare: bare}
	e.soa = e.rr(t, origin, 3600, "SOA ns hostmaster 100 7200 3600 1209600 300").(*dns.SOA)
	for _, line := range []string{"@ NS ns", "ns A 192.0.2.1", "www A 192.0.2.2", "a.b.c TXT deep", "*.d TXT wild", "e NS ns.e", "ns.e A 192.0.2.3"} {
		owner, rest, _ := strings.Cut(line, " ")
		e.put(e.rr(t, e.name(owner), 300, rest))
	}
	for range 30 {
		e.edit(t)
	}
	return e
}

// rr reads a record, with names below the origin.
func (e *signedEditor) rr(t *testing.T, owner string, ttl uint32, rest string) dns.RR {
	t.Helper()
	zp := dns.NewZoneParser(strings.NewReader(fmt.Sprintf("%s %d IN %s\n", owner, ttl, rest)), e.origin, "")
	rr, _ := zp.Next()
	if err := zp.Err(); err != nil || rr == nil {
		t.Fatalf("%q: %v", rest, err)
	}
	return rr
}

func (e *signedEditor) name(relative string) string {
	if relative == "@" {
		return e.origin
	}
	return relative + "." + e.origin
}

func idOf(rr dns.RR) setID { return setID{strings.ToLower(rr.Header().Name), rr.Header().Rrtype} }

// put puts a record into its set, which takes its TTL.
func (e *signedEditor) put(rr dns.RR) {
	set := slices.Clone(e.sets[idOf(rr)])
	for i, old := range set {
		if dns.IsDuplicate(old, rr) {
			return
		}
		set[i] = dns.Copy(old)
		set[i].Header().Ttl = rr.Header().Ttl
	}
	if rr.Header().Rrtype == dns.TypeCNAME || rr.Header().Rrtype == dns.TypeDNAME {
		set = nil
	}
	e.sets[idOf(rr)] = append(set, rr)
}

// records gives all of the zone, in order.
func (e *signedEditor) records() []dns.RR {
	rrs := []dns.RR{e.soa}
	for _, id := range e.ids() {
		rrs = append(rrs, e.sets[id]...)
	}
	return rrs
}

func (e *signedEditor) ids() []setID {
	return slices.SortedFunc(maps.Keys(e.sets), func(a, b setID) int {
		return strings.Compare(fmt.Sprint(a.owner, " ", a.typ), fmt.Sprint(b.owner, " ", b.typ))
	})
}

// text gives the zone as a master file.
func (e *signedEditor) text() string {
	var b strings.Builder
	for _, rr := range e.records() {
		fmt.Fprintln(&b, rr)
	}
	return b.String()
}

var signedLabels = []string{"a", "b", "c", "d", "e", "*", "ns", "_tcp", "x\\.y", "-"}

// some gives a name that is there or not.
func (e *signedEditor) some() string {
	if ids := e.ids(); e.IntN(3) == 0 {
		return ids[e.IntN(len(ids))].owner
	}
	n := e.origin
	for range []int{1, 1, 1, 2, 2, 3, 4}[e.IntN(7)] {
		n = signedLabels[e.IntN(6+e.IntN(5))] + "." + n
	}
	return n
}

// there gives an RRset that may go, or false.
func (e *signedEditor) there() (setID, bool) {
	ids := slices.DeleteFunc(e.ids(), func(id setID) bool { return id.owner == e.origin && id.typ == dns.TypeNS })
	if len(ids) == 0 {
		return setID{}, false
	}
	return ids[e.IntN(len(ids))], true
}

func (e *signedEditor) has(owner string, typ uint16) bool { return len(e.sets[setID{owner, typ}]) > 0 }

// edit makes an edit that leaves a zone about which signers and verifiers agree.
func (e *signedEditor) edit(t *testing.T) {
	for range 20 {
		before, soa := maps.Clone(e.sets), e.soa
		e.try(t)
		for id := range e.sets {
			if id.typ == dns.TypeDS && !e.has(id.owner, dns.TypeNS) {
				delete(e.sets, id)
			}
		}
		if e.tame() {
			return
		}
		e.sets, e.soa = before, soa
	}
}

// ttl gives one that is a set's already, or any.
func (e *signedEditor) ttl(owner string, typ uint16) uint32 {
	if set := e.sets[setID{owner, typ}]; len(set) > 0 && e.IntN(3) > 0 {
		return set[0].Header().Ttl
	}
	return []uint32{0, 60, 300, 3600}[e.IntN(4)]
}

func (e *signedEditor) add(t *testing.T, owner, rest string) {
	typ, _, _ := strings.Cut(rest, " ")
	e.put(e.rr(t, owner, e.ttl(owner, dns.StringToType[typ]), rest))
}

func (e *signedEditor) try(t *testing.T) {
	n := e.some()
	what := e.IntN(30)
	if len(e.sets) > e.full && what > 6 {
		what %= 7
	}
	switch {
	case what < 3:
		if id, ok := e.there(); ok {
			delete(e.sets, id)
		}
	case what < 5: // a name
		if id, ok := e.there(); ok && id.owner != e.origin {
			for other := range maps.Clone(e.sets) {
				if other.owner == id.owner {
					delete(e.sets, other)
				}
			}
		}
	case what < 7: // a record of several
		if id, ok := e.there(); ok && len(e.sets[id]) > 1 {
			e.sets[id] = slices.Clone(e.sets[id][1:])
		}
	case what < 9: // a TTL
		if id, ok := e.there(); ok {
			ttl := []uint32{0, 60, 300, 3600}[e.IntN(4)]
			set := make([]dns.RR, len(e.sets[id]))
			for i, rr := range e.sets[id] {
				set[i] = dns.Copy(rr)
				set[i].Header().Ttl = ttl
			}
			e.sets[id] = set
		}
	case what < 10: // what negative answers are kept for
		soa := *e.soa
		soa.Minttl, soa.Hdr.Ttl = []uint32{60, 300, 7200}[e.IntN(3)], []uint32{60, 3600}[e.IntN(2)]
		e.soa = &soa
	case what < 14: // a delegation
		if n == e.origin {
			return
		}
		if e.IntN(2) == 0 {
			e.add(t, n, "NS ns.elsewhere.example.")
		} else {
			e.add(t, n, "NS ns."+n)
			e.add(t, "ns."+n, fmt.Sprintf("A 192.0.2.%d", e.IntN(200)))
			if e.IntN(2) == 0 {
				e.add(t, "ns."+n, "AAAA 2001:db8::1")
			}
		}
		if e.IntN(2) == 0 {
			e.add(t, n, e.ds())
		}
	case what < 17: // the DS of one
		for _, id := range e.ids() {
			if id.typ == dns.TypeNS && id.owner != e.origin && e.IntN(2) == 0 {
				if e.has(id.owner, dns.TypeDS) && e.IntN(2) == 0 {
					delete(e.sets, setID{id.owner, dns.TypeDS})
				} else {
					e.add(t, id.owner, e.ds())
				}
				return
			}
		}
	case what < 19:
		e.add(t, n, []string{"CNAME " + e.some(), "DNAME " + e.some()}[e.IntN(2)])
	default:
		e.add(t, n, []string{
			fmt.Sprintf("A 192.0.2.%d", e.IntN(5)), fmt.Sprintf("AAAA 2001:db8::%d", e.IntN(5)), fmt.Sprintf("TXT \"t%d\" b", e.IntN(3)),
			"MX 10 " + e.some(), "SRV 1 2 3 " + e.some(), `TYPE65280 \# 2 0a0b`, `CAA 0 issue "ca.example.net"`,
		}[e.IntN(7)])
	}
}

func (e *signedEditor) ds() string {
	return fmt.Sprintf("DS %d 13 2 %064x", 1+e.IntN(3), e.IntN(2))
}

// tame tells whether signers and verifiers agree about the zone: no zone cuts and DNAMEs at wildcards, aliases beside other
// data, delegations that cannot be followed.
func (e *signedEditor) tame() bool {
	for id, set := range e.sets {
		wild := strings.HasPrefix(id.owner, "*.")
		others := func(but ...uint16) bool {
			for o := range e.sets {
				if o.owner == id.owner && o.typ != id.typ && !slices.Contains(but, o.typ) {
					return true
				}
			}
			return false
		}
		switch {
		case len(id.owner) > 200, e.bare && e.below(id.owner):
			return false
		case id.typ == dns.TypeCNAME && (len(set) > 1 || id.owner == e.origin || others()),
			id.typ == dns.TypeDNAME && (len(set) > 1 || id.owner == e.origin || wild || e.has(id.owner, dns.TypeNS) || e.has(id.owner, dns.TypeCNAME)),
			id.typ == dns.TypeNS && id.owner != e.origin && wild:
			return false
		case id.typ == dns.TypeNS:
			for _, rr := range set {
				if ns := strings.ToLower(rr.(*dns.NS).Ns); dns.IsSubDomain(e.origin, ns) && (!e.has(ns, dns.TypeA) || e.hidden(ns, id.owner)) {
					return false
				}
			}
		}
	}
	return true
}

// below tells whether a name is below a DNAME.
func (e *signedEditor) below(name string) bool {
	for id := range e.sets {
		if id.typ == dns.TypeDNAME && id.owner != name && dns.IsSubDomain(id.owner, name) {
			return true
		}
	}
	return false
}

// hidden tells whether a name is below another zone cut than the one given, or below a DNAME.
func (e *signedEditor) hidden(name, but string) bool {
	for n := name; n != e.origin; {
		i, end := dns.NextLabel(n, 0)
		if end {
			return false
		}
		if n != name && e.has(n, dns.TypeDNAME) || n != but && n != e.origin && e.has(n, dns.TypeNS) {
			return true
		}
		n = n[i:]
	}
	return false
}

// update makes the UPDATE that leads from records to those of the editor, "" in what is the same. The serial that the SOA record
// gets, if it changes, is given.
func (e *signedEditor) update(before map[setID][]dns.RR, soa *dns.SOA, serial uint32) *dns.Msg {
	m := new(dns.Msg)
	m.SetUpdate(e.origin)
	has := func(set []dns.RR, rr dns.RR) bool {
		return slices.ContainsFunc(set, func(o dns.RR) bool { return dns.IsDuplicate(o, rr) })
	}
	copies := func(set []dns.RR) (list []dns.RR) {
		for _, rr := range set {
			rr = dns.Copy(rr)
			if e.IntN(8) == 0 { // letter case of owners is nothing
				rr.Header().Name = strings.ToUpper(rr.Header().Name)
			}
			list = append(list, rr)
		}
		return list
	}
	order := func(sets map[setID][]dns.RR) []setID { return (&signedEditor{sets: sets}).ids() }
	for _, id := range order(before) {
		set := before[id]
		switch now := e.sets[id]; {
		case len(now) == 0 && e.IntN(2) == 0:
			m.RemoveRRset(copies(set[:1]))
		default:
			m.Remove(copies(slices.DeleteFunc(slices.Clone(set), func(rr dns.RR) bool { return has(now, rr) })))
		}
	}
	for _, id := range e.ids() {
		set := e.sets[id]
		if old := before[id]; len(old) > 0 && old[0].Header().Ttl == set[0].Header().Ttl {
			set = slices.DeleteFunc(slices.Clone(set), func(rr dns.RR) bool { return has(old, rr) })
		}
		m.Insert(copies(set))
	}
	if soa.Minttl != e.soa.Minttl || soa.Hdr.Ttl != e.soa.Hdr.Ttl {
		next := *e.soa
		next.Serial = serial
		m.Insert([]dns.RR{&next})
	}
	m.SetEdns0(1232, false)
	return m
}
