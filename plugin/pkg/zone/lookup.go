package zone

import (
	"strings"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// Lookup answers q from this version of the zone by the algorithm of RFC 1034
// §4.3.2 with RFC 4592 (wildcards), RFC 6672 (DNAME), RFC 2308 and 8020
// (negative answers), RFC 4035 §3.1 and RFC 5155 §7.2 (DNSSEC) and RFC 8482
// (ANY). q.Name must be at or below the origin. What a held before is gone. It
// does not allocate once a has grown to its size.
func (s *Snapshot) Lookup(q *Query, a *Answer) {
	a.reset()
	s.follow(q, q.Name, a)
}

// Continue goes on with the chain of CNAMEs that left another zone at a.Next,
// which must be at or below the origin of this one.
func (s *Snapshot) Continue(q *Query, a *Answer) {
	name := a.Next
	a.Next = ""
	s.follow(q, name, a)
}

// follow looks names up until one of them ends the answer.
func (s *Snapshot) follow(q *Query, name dnsname.Name, a *Answer) {
	for {
		target, more := s.step(q, name, a)
		if !more {
			return
		}
		a.links++
		switch {
		case a.links >= maxLinks || a.answers(target, rrset.TypeCNAME):
			return // a loop, or as good as one: what there is so far
		case !target.IsBelow(s.origin):
			a.Next = target
			return
		}
		name = target
	}
}

// answers tells whether the answer section has an RRset of that owner and type.
func (a *Answer) answers(owner dnsname.Name, typ uint16) bool {
	for i := range a.Answer {
		if a.Answer[i].Type == typ && a.Answer[i].Owner.Equal(owner) {
			return true
		}
	}
	return false
}

// found is where a name is in the zone.
type found struct {
	node     node         // of the name or the wildcard, empty at an empty non-terminal
	exists   bool         // the name, or the wildcard it is synthesized from, exists
	wildcard dnsname.Name // the owner of that wildcard
	above    node         // the topmost zone cut at or above the name, or DNAME above it
	key      []byte       // of the name
	labels   int          // of the name below the origin
	encloser int          // labels of the closest encloser below the origin
}

// find descends to name, which is at or below the origin. typ tells whether a
// zone cut at the name itself hides it: it does not for DS (RFC 4035 §3.1.4.1).
// What it gives uses the buffers of a until the next find.
func (s *Snapshot) find(name dnsname.Name, typ uint16, a *Answer) (f found) {
	f.key, f.labels = dnsname.AppendKey(a.key[:0], name, len(s.origin), &a.ends)
	s.names.Find(f.key, &a.path)
	for i := range a.path.Len() {
		e := a.path.At(i)
		n := node{e.Key, e.Value}
		at := len(e.Key) == len(f.key)
		if n.cut() && (!at || typ != rrset.TypeDS) || n.flags()&hasDNAME != 0 && !at {
			f.above = n
			return f
		}
		if at {
			f.node = n
		}
	}
	f.encloser = f.labels
	if a.path.Match() == len(f.key) { // it, or something below it
		f.exists = true
		return f
	}
	for f.encloser > 0 && int(a.ends[f.encloser-1]) > a.path.Match() {
		f.encloser--
	}
	if s.wildcards == 0 {
		return f
	}
	source := dnsname.AppendChild(f.key[:f.end(f.encloser, a)], "*") // over the end of f.key, which is not needed further
	e, ok := s.names.Above(source, true)
	if ok && strings.HasPrefix(e.Key, string(source)) {
		f.exists = true
		if len(e.Key) == len(source) {
			f.node = node{e.Key, e.Value}
		}
		at := len(a.scratch)
		a.scratch = append(append(a.scratch, 1, '*'), name[f.offset(name, f.encloser):]...)
		f.wildcard = dnsname.Name(a.keep(at))
	}
	f.key, _ = dnsname.AppendKey(a.key[:0], name, len(s.origin), &a.ends)
	return f
}

// end gives the length of the key of the ancestor with so many labels.
func (f *found) end(labels int, a *Answer) int {
	if labels == 0 {
		return 0
	}
	return int(a.ends[labels-1])
}

// offset gives where in name its ancestor of so many labels below the origin
// starts.
func (f *found) offset(name dnsname.Name, labels int) int {
	i := 0
	for range f.labels - labels {
		i += 1 + int(name[i])
	}
	return i
}

// step answers for one name. If it is an alias it gives what for, and true.
func (s *Snapshot) step(q *Query, name dnsname.Name, a *Answer) (target dnsname.Name, alias bool) {
	f := s.find(name, q.Type, a)
	return s.answer(q, name, &f, a)
}

// answer is step for a name that was found. It is apart from that so that the search,
// which takes much of the stack, need not have room for both: each query has a new
// stack in CoreDNS, and one that has to grow is dear.
//
//go:noinline
func (s *Snapshot) answer(q *Query, name dnsname.Name, f *found, a *Answer) (target dnsname.Name, alias bool) {
	switch {
	case f.above.val != "" && f.above.cut():
		s.refer(q, name, f, a)
		return "", false
	case f.above.val != "":
		return s.redirect(q, name, f, a)
	case !f.exists:
		a.Kind = NXDomain
		s.negative(q, name, f, a)
		return "", false
	}
	if s.data(q, name, f, a) {
		a.Kind = Success
		s.expanded(q, name, f, a)
		if q.Type != rrset.TypeANY {
			s.additional(q, a)
		}
		return "", false
	}
	if f.node.flags()&hasCNAME != 0 && q.Type != rrset.TypeRRSIG && q.Type != rrset.TypeNSEC {
		set, ok := f.node.set(rrset.TypeCNAME)
		if ok {
			a.Kind = Success
			a.addAnswer(name, set, q.DO)
			s.expanded(q, name, f, a)
			return dnsname.Name(set.First()), true
		}
	}
	a.Kind = NoData
	if f.wildcard != "" {
		a.Wildcard = f.wildcard
	}
	s.negative(q, name, f, a)
	return "", false
}

// data puts the RRsets of the type asked for into the answer section, and tells
// whether there are any.
func (s *Snapshot) data(q *Query, name dnsname.Name, f *found, a *Answer) bool {
	if f.node.val == "" {
		return false
	}
	switch q.Type {
	case rrset.TypeANY, rrset.TypeRRSIG:
		return s.some(q, name, f, a)
	}
	set, ok := f.node.set(q.Type)
	if ok {
		a.addAnswer(name, set, q.DO)
	}
	return ok
}

// some answers ANY and RRSIG: all RRsets of the owner where q.All is set, else
// one of them (RFC 8482 §4.1, §7); a CNAME if there is one, as that is what any
// other type would get.
func (s *Snapshot) some(q *Query, name dnsname.Name, f *found, a *Answer) bool {
	before := len(a.Answer)
	sigsOnly := q.Type == rrset.TypeRRSIG
	for set := range f.node.sets() {
		if sigsOnly {
			if set.Sigs.IsEmpty() {
				continue
			}
			set = Set{RRset: set.Sigs}
		} else if set.IsEmpty() {
			continue
		}
		if q.All {
			a.addAnswer(name, set, q.DO)
			continue
		}
		if len(a.Answer) == before {
			a.addAnswer(name, set, q.DO)
		} else if set.Type == rrset.TypeCNAME {
			a.Answer = a.Answer[:before]
			a.addAnswer(name, set, q.DO)
		}
	}
	return len(a.Answer) > before
}

func (a *Answer) addAnswer(owner dnsname.Name, set Set, do bool) {
	a.Answer = append(a.Answer, set.sent(owner, do))
}

func (a *Answer) addAuthority(owner dnsname.Name, set Set, do bool) {
	a.Authority = append(a.Authority, set.sent(owner, do))
}

// sent gives the set as it goes out: under that owner, with RRSIGs or without.
func (s Set) sent(owner dnsname.Name, do bool) Set {
	s.Owner = owner
	if !do {
		s.Sigs = rrset.RRset{}
	}
	return s
}

// refer answers with the delegation at f.above (RFC 1034 §4.3.2 step 3b).
func (s *Snapshot) refer(q *Query, name dnsname.Name, f *found, a *Answer) {
	cut := f.above
	labels := s.labels(cut, a)
	owner := name[f.offset(name, labels):]
	a.Kind = Delegation
	a.AA = len(a.Answer) > 0
	ns, _ := cut.set(rrset.TypeNS)
	a.addAuthority(owner, ns, false) // NS RRsets of a cut are not signed (RFC 4035 §2.2)
	if q.DO && s.Signed() {
		if ds, ok := cut.set(rrset.TypeDS); ok {
			a.addAuthority(owner, ds, true)
		} else {
			s.proveNoDS(owner, labels, cut, a)
		}
	}
	s.glue(cut.key, ns, q.DO, a)
}

// labels gives the number of labels that a node met on the way to a name has
// below the origin.
func (s *Snapshot) labels(n node, a *Answer) int {
	for i, end := range a.ends[:] {
		if int(end) == len(n.key) {
			return i + 1
		}
	}
	return 0
}

// redirect answers with the DNAME at f.above and the CNAME it stands for
// (RFC 6672 §3.2).
func (s *Snapshot) redirect(q *Query, name dnsname.Name, f *found, a *Answer) (target dnsname.Name, alias bool) {
	labels := 0
	if f.above.key != "" {
		labels = s.labels(f.above, a)
	}
	cutAt := f.offset(name, labels)
	dname, _ := f.above.set(rrset.TypeDNAME)
	a.Kind = Success
	if !a.answers(name[cutAt:], rrset.TypeDNAME) {
		a.addAnswer(name[cutAt:], dname, q.DO)
	}
	to := dnsname.Name(dname.First())
	if cutAt+len(to) > dnsname.MaxLen {
		a.Kind = YXDomain
		return "", false
	}
	at := len(a.scratch)
	n := cutAt + len(to)
	a.scratch = append(a.scratch, byte(n>>8), byte(n))
	a.scratch = append(append(a.scratch, name[:cutAt]...), to...)
	cname := rrset.FromPacked(rrset.TypeCNAME, dname.TTL, 1, a.keep(at))
	a.addAnswer(name, Set{RRset: cname}, false)
	if q.Type == rrset.TypeCNAME {
		return "", false
	}
	return dnsname.Name(cname.First()), true
}
