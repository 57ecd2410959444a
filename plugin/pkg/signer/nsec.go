package signer

import (
	"slices"
	"strings"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// chained tells whether the zone has the chain that it is to have.
func (s *Signer) chained(v zone.View) bool {
	if s.policy.NSEC3 {
		set, ok := v.Get(s.hashed(s.origin), rrset.TypeNSEC3)
		return ok && set.Len() == 1 && strings.HasPrefix(set.First(), s.head())
	}
	_, ok := v.Get(s.origin, rrset.TypeNSEC)
	_, hashed := v.NSEC3After(s.origin)
	return ok && !hashed
}

// signNSEC gives the names NSEC records and signatures (RFC 4035 §2).
func (p *pass) signNSEC(n names) error {
	if p.All {
		var all []dnsname.Name
		for set := range p.t.View().NSEC3s() {
			all = append(all, set.Owner)
		}
		if err := p.dropNSEC3(all); err != nil {
			return err
		}
	}
	view := p.t.View()
	members := n.members
	if !p.All {
		members = p.withNeighbors(view, n)
	}
	return each(p, members, func(name dnsname.Name, u *unit) error {
		u.owner, u.sets = name, slices.DeleteFunc(view.Sets(name), isDenial)
		next, ok := view.Next(name)
		if !ok {
			next = p.origin
		}
		list := append(types(u.sets, view.IsCut(name)), rrset.TypeNSEC, rrset.TypeRRSIG)
		set, err := rrset.New(rrset.TypeNSEC, p.ttl, string(next)+bitmap(list))
		u.sets = append(u.sets, zone.Set{RRset: set})
		return err
	})
}

// withNeighbors gives the members of the chain that were affected and those before
// one that has come or gone.
func (p *pass) withNeighbors(view zone.View, n names) []dnsname.Name {
	members := make(map[dnsname.Name]struct{}, len(n.members))
	for _, name := range n.members {
		members[name] = struct{}{}
	}
	list := n.members
	for i, name := range slices.Concat(n.members, n.others) {
		_, was := p.before.Get(name, rrset.TypeNSEC)
		if was == (i < len(n.members)) {
			continue
		}
		if prev, ok := view.Prev(name); ok {
			if _, there := members[prev]; !there {
				members[prev] = struct{}{}
				list = append(list, prev)
			}
		}
	}
	return list
}

// bitmap gives types as AppendBitmap does.
func bitmap(types []uint16) string { return string(AppendBitmap(nil, types)) }

// AppendBitmap appends types as NSEC and NSEC3 records have them (RFC 4034 §4.1.2) to
// dst. They may come in any order; the slice is put in order.
func AppendBitmap(dst []byte, types []uint16) []byte {
	slices.Sort(types)
	window := -1 // where it begins in dst
	for _, t := range types {
		if window < 0 || dst[window] != byte(t>>8) {
			window = len(dst)
			dst = append(dst, byte(t>>8), 0)
		}
		octet := window + 2 + int(t&0xff)/8
		for len(dst) <= octet {
			dst = append(dst, 0)
		}
		dst[octet] |= 0x80 >> (t & 7)
		dst[window+1] = byte(len(dst) - window - 2)
	}
	return dst
}
