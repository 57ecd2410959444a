package signer

import (
	"crypto/sha1"
	"encoding/base32"
	"slices"
	"strings"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// nsec3param is the RDATA of the NSEC3PARAM record: SHA-1, no flags, no additional
// iterations, no salt (RFC 9276 §3.1).
const nsec3param = "\x01\x00\x00\x00\x00"

// hashLabel is the length of the first label of hashed owners, with its length.
const hashLabel = 33

// hashLabels writes hashes so that their order stays (RFC 5155 §1.3), in lower case.
var hashLabels = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// hashed gives the owner of the NSEC3 record of a name (RFC 5155 §5), in lower case.
func (s *Signer) hashed(name dnsname.Name) dnsname.Name {
	var room [dnsname.MaxLen]byte
	h := sha1.Sum(dnsname.AppendFold(room[:0], name))
	b := hashLabels.AppendEncode(append(room[:0], hashLabel-1), h[:])
	return dnsname.Name(append(b, s.origin...))
}

// head gives what all NSEC3 records of the zone begin with.
func (s *Signer) head() string {
	if s.policy.OptOut {
		return nsec3param[:1] + "\x01" + nsec3param[2:]
	}
	return nsec3param
}

// nsec3 gives the RDATA of an NSEC3 record (RFC 5155 §3).
func (p *pass) nsec3(next dnsname.Name, bitmap string) (string, error) {
	var h [sha1.Size]byte
	_, err := hashLabels.Decode(h[:], []byte(next[1:hashLabel]))
	return p.head() + string(byte(len(h))) + string(h[:]) + bitmap, err
}

// link is an NSEC3 record to be.
type link struct {
	owner  dnsname.Name
	bitmap string
}

// signNSEC3 gives the names signatures and the zone NSEC3 records (RFC 5155 §7.1).
func (p *pass) signNSEC3(n names, due []dnsname.Name) error {
	view := p.t.View()
	err := each(p, n.members, func(name dnsname.Name, u *unit) error {
		u.owner, u.sets = name, slices.DeleteFunc(view.Sets(name), isDenial)
		return nil
	})
	if err != nil {
		return err
	}
	c, err := p.link(n)
	if err != nil {
		return err
	}
	if !p.All {
		for _, owner := range due {
			if err := c.again(owner.Fold()); err != nil {
				return err
			}
		}
	}
	return each(p, c.links, func(l link, u *unit) error {
		rdata, err := p.nsec3(c.next(l.owner), l.bitmap)
		if err != nil {
			return err
		}
		set, err := rrset.New(rrset.TypeNSEC3, p.ttl, rdata)
		u.owner, u.sets, u.hashed = l.owner, []zone.Set{{RRset: set}}, true
		return err
	})
}

// chain is what is to change in the ring of NSEC3 records.
type chain struct {
	*pass
	view   zone.View             // without the records that go
	links  []link                // to be made, maybe as they are
	linked map[dnsname.Name]bool // the owners of links
	new    []dnsname.Name        // those of them that are not in view, sorted
}

// link finds the NSEC3 records that come, change or go because of names, and removes
// those that go.
func (p *pass) link(n names) (*chain, error) {
	view := p.t.View()
	c := &chain{pass: p, linked: make(map[dnsname.Name]bool)}
	var gone []dnsname.Name
	for _, name := range p.withAncestors(n) {
		owner := p.hashed(name)
		bitmap, member := p.denies(view, name)
		_, there := view.Get(owner, rrset.TypeNSEC3)
		switch {
		case member:
			c.links = append(c.links, link{owner, bitmap})
			c.linked[owner] = true
			if !there {
				c.new = append(c.new, owner)
			}
		case there:
			gone = append(gone, owner)
		}
	}
	slices.Sort(c.new)
	if p.All {
		gone = gone[:0]
		for set := range view.NSEC3s() {
			if !c.linked[set.Owner] {
				gone = append(gone, set.Owner)
			}
		}
	}
	if err := p.dropNSEC3(gone); err != nil {
		return nil, err
	}
	c.view = p.t.View()
	if !p.All {
		for _, owner := range slices.Concat(c.new, gone) {
			if prev, ok := c.view.NSEC3Before(owner); ok {
				if err := c.again(prev.Owner); err != nil {
					return nil, err
				}
			}
		}
	}
	return c, nil
}

// withAncestors gives the names and those above them, which may be empty
// non-terminals.
func (p *pass) withAncestors(n names) []dnsname.Name {
	list := slices.Concat(n.members, n.others)
	seen := make(map[dnsname.Name]struct{}, len(list))
	for _, name := range list {
		seen[name] = struct{}{}
	}
	for _, name := range list {
		for len(name) > len(p.origin) {
			name = name.Parent()
			if _, ok := seen[name]; ok {
				break // and so are those above, or will be
			}
			seen[name] = struct{}{}
			list = append(list, name)
		}
	}
	return list
}

// denies tells whether a name is to have an NSEC3 record, and gives its bitmap.
func (p *pass) denies(view zone.View, name dnsname.Name) (bits string, member bool) {
	if view.Hidden(name) {
		return "", false
	}
	sets := view.Sets(name)
	if !slices.ContainsFunc(sets, isOwn) {
		return "", view.HasBelow(name)
	}
	cut := view.IsCut(name)
	list := types(sets, cut)
	secure := slices.Contains(list, rrset.TypeDS)
	if cut && !secure && p.policy.OptOut {
		return "", false
	}
	if !cut || secure {
		list = append(list, rrset.TypeRRSIG)
	}
	return bitmap(list), true
}

// again has the record of a hashed owner made anew with the bitmap it has, if it is
// there and not in links: its next owner is another, or its signature is due. The
// error is errChain.
func (c *chain) again(owner dnsname.Name) error {
	set, ok := c.view.Get(owner, rrset.TypeNSEC3)
	if !ok || c.linked[owner] {
		return nil
	}
	fixed := len(c.head()) + 1 + sha1.Size
	if set.Len() != 1 || len(set.First()) < fixed || !strings.HasPrefix(set.First(), c.head()) || len(owner) != len(c.origin)+hashLabel {
		return errChain
	}
	c.linked[owner] = true
	c.links = append(c.links, link{owner, set.First()[fixed:]})
	return nil
}

// next gives the hashed owner after another: the nearer one of what is there and what
// is new, or the first of all.
func (c *chain) next(owner dnsname.Name) dnsname.Name {
	i, found := slices.BinarySearch(c.new, owner)
	if found {
		i++
	}
	there, ok := c.view.NSEC3After(owner)
	switch {
	case !ok: // all are new
		return c.new[i%len(c.new)]
	case len(c.new) == 0:
		return there.Owner
	case there.Owner <= owner: // around the ring
		if i < len(c.new) {
			return c.new[i]
		}
		return min(there.Owner, c.new[0])
	case i < len(c.new):
		return min(there.Owner, c.new[i])
	default:
		return there.Owner
	}
}

// dropNSEC3 removes the NSEC3 records of hashed owners.
func (p *pass) dropNSEC3(owners []dnsname.Name) error {
	for _, owner := range owners {
		sets := slices.DeleteFunc(p.t.View().Sets(owner), func(s zone.Set) bool { return s.Type == rrset.TypeNSEC3 })
		if _, err := p.t.ReplaceName(owner, sets); err != nil {
			return err
		}
	}
	return nil
}
