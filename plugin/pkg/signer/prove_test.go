package signer_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// proof is the NSEC and NSEC3 records of an answer, as a validator sees them.
type proof struct {
	nsec  []*dns.NSEC
	nsec3 []*dns.NSEC3
}

func proofOf(a *zone.Answer) (p proof) {
	for _, s := range a.Authority {
		for _, rr := range rrset.AppendRRs(nil, s.Owner.String(), s.RRset) {
			switch rr := rr.(type) {
			case *dns.NSEC:
				p.nsec = append(p.nsec, rr)
			case *dns.NSEC3:
				p.nsec3 = append(p.nsec3, rr)
			}
		}
	}
	return p
}

// covers tells whether an NSEC record shows that a name has no records (RFC 4034 §4.1.1).
func covers(n *dns.NSEC, name dnsname.Name) bool {
	owner, next := dnsname.MustParse(n.Hdr.Name), dnsname.MustParse(n.NextDomain)
	if canonical(owner, name) >= 0 || slices.Contains(n.TypeBitMap, dns.TypeDNAME) && name.IsBelow(owner) {
		return false
	}
	if slices.Contains(n.TypeBitMap, dns.TypeNS) && !slices.Contains(n.TypeBitMap, dns.TypeSOA) && name.IsBelow(owner) {
		return false // it is the parent's (RFC 6840 §4.1)
	}
	return canonical(name, next) < 0 || canonical(next, owner) <= 0
}

// has tells whether there is a record that gives the types of a name; with is given
// them.
func (p proof) has(name dnsname.Name, with func(types []uint16) bool) bool {
	for _, n := range p.nsec {
		if strings.EqualFold(n.Hdr.Name, name.String()) {
			return with(n.TypeBitMap)
		}
	}
	for _, n := range p.nsec3 {
		if n.Match(name.String()) {
			return with(n.TypeBitMap)
		}
	}
	return false
}

// misses tells whether the proof shows that a name does not exist; optOut that it may
// be an insecure delegation instead.
func (p proof) misses(name dnsname.Name) (missing, optOut bool) {
	for _, n := range p.nsec {
		if covers(n, name) && !dnsname.MustParse(n.NextDomain).IsBelow(name) {
			return true, false
		}
	}
	for _, n := range p.nsec3 {
		if n.Cover(name.String()) && !n.Match(name.String()) {
			return true, n.Flags&1 != 0
		}
	}
	return false, false
}

// encloser gives the closest encloser of a name that the proof shows.
func (p proof) encloser(origin, name dnsname.Name) (ce, nextCloser dnsname.Name, ok bool) {
	for ce = name; len(ce) > len(origin); {
		nextCloser, ce = ce, ce.Parent()
		exists := p.has(ce, func([]uint16) bool { return true })
		for _, n := range p.nsec { // what is above an owner or a next name exists
			exists = exists || dnsname.MustParse(n.Hdr.Name).IsBelow(ce) || dnsname.MustParse(n.NextDomain).IsBelow(ce)
		}
		if exists {
			missing, _ := p.misses(nextCloser)
			return ce, nextCloser, missing
		}
	}
	return "", "", false
}

// lacks gives a check of types.
func lacks(typ uint16) func([]uint16) bool {
	return func(types []uint16) bool {
		return !slices.Contains(types, typ) && !slices.Contains(types, dns.TypeCNAME) &&
			(typ == dns.TypeDS || !slices.Contains(types, dns.TypeNS) || slices.Contains(types, dns.TypeSOA))
	}
}

// empty tells whether the proof shows that a name exists without records of a type.
func (p proof) empty(name dnsname.Name, typ uint16) bool {
	return p.has(name, lacks(typ)) || slices.ContainsFunc(p.nsec, func(n *dns.NSEC) bool { // or an empty non-terminal
		return covers(n, name) && dnsname.MustParse(n.NextDomain).IsBelow(name)
	})
}

// convinces tells whether a validator takes an answer, as RFC 4035 §5.4 and RFC 5155
// §8 say.
func (p proof) convinces(origin dnsname.Name, q zone.Query, a *zone.Answer) string {
	switch a.Kind {
	case zone.NXDomain:
		ce, _, ok := p.encloser(origin, q.Name)
		if !ok {
			return "no closest encloser"
		}
		if missing, _ := p.misses(dnsname.Name("\x01*") + ce); !missing {
			return "wildcard may exist"
		}
	case zone.NoData:
		if p.empty(q.Name, q.Type) {
			return ""
		}
		ce, nextCloser, ok := p.encloser(origin, q.Name)
		if !ok {
			return "no closest encloser"
		}
		_, optOut := p.misses(nextCloser)
		if !p.empty("\x01*"+ce, q.Type) && !(optOut && (q.Type == dns.TypeDS || nextCloser.Equal(q.Name))) {
			return "type may exist"
		}
	case zone.Delegation:
		cut := a.Authority[0].Owner
		if slices.ContainsFunc(a.Authority, func(s zone.Set) bool { return s.Type == rrset.TypeDS }) {
			return ""
		}
		if p.has(cut, func(t []uint16) bool { return slices.Contains(t, dns.TypeNS) && lacks(dns.TypeDS)(t) }) {
			return ""
		}
		if _, nextCloser, ok := p.encloser(origin, cut); ok {
			if _, optOut := p.misses(nextCloser); optOut {
				return ""
			}
		}
		return "DS may exist"
	case zone.Success:
		if a.Wildcard == "" {
			return ""
		}
		name := a.Answer[len(a.Answer)-1].Owner
		for len(name) > len(a.Wildcard)-2 && !name.Parent().Equal(a.Wildcard.Parent()) {
			name = name.Parent()
		}
		if missing, _ := p.misses(name); !missing {
			return "the name itself may exist"
		}
	default:
	}
	return ""
}

// TestAnswersProve looks names up in zones that were edited and signed, and judges the
// proofs as a validator does: S3 to S10, S13 to S15.
func TestAnswersProve(t *testing.T) {
	types := []uint16{rrset.TypeA, rrset.TypeTXT, rrset.TypeDS, rrset.TypeNS, rrset.TypeMX, rrset.TypeCNAME}
	kinds := map[string]int{}
	for _, mode := range modes {
		for seed := range uint64(10) {
			origin := dnsname.MustParse("example.")
			k := testKeys(t, origin, signer.ED25519)[0]
			s := newSigner(t, origin, mode.policy, inUse(k)...)
			e := &editor{rand.New(rand.NewPCG(seed, 9276)), origin, true}
			snap, _, _ := version(t, s, unsigned(t, origin), start, nil, nil)
			for range 20 {
				snap, _, _ = version(t, s, snap, start, nil, func(txn *zone.Txn) {
					for range e.IntN(8) {
						e.edit(txn)
					}
				})
				var a zone.Answer
				for range 30 {
					q := zone.Query{Name: e.name(), Type: pick(e, types...), DO: true}
					snap.Lookup(&q, &a)
					if len(a.Answer) > 0 && a.Answer[0].Type == rrset.TypeDNAME || len(a.Answer) > 1 || a.Next != "" {
						continue // proofs of several names
					}
					if len(a.Answer) == 1 && a.Answer[0].Type == rrset.TypeCNAME && q.Type != rrset.TypeCNAME {
						continue
					}
					p := proofOf(&a)
					if why := p.convinces(origin, q, &a); why != "" || len(p.nsec3) > 3 {
						t.Fatalf("%s, seed %d: %s type %d: %s: %s\n%v\nin\n%s", mode.name, seed, q.Name, q.Type, a.Kind, why, a.Authority, dump(snap, false))
					}
					for _, set := range a.Authority {
						if cut := set.Type == rrset.TypeNS && a.Kind == zone.Delegation; cut == (set.Sigs.Len() > 0) {
							t.Fatalf("%s: type %d with %d RRSIGs", q.Name, set.Type, set.Sigs.Len())
						}
					}
					kinds[fmt.Sprintf("%s %s wildcard %v", mode.name, a.Kind, a.Wildcard != "")]++
				}
			}
		}
	}
	if len(kinds) != 18 {
		t.Errorf("kinds of answers: %d, %v", len(kinds), kinds)
	}
}
