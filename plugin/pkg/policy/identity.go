package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// Identity is a set of clients, as a line calls it:
//
//	NAME             who signs with that key
//	*.NAME           who signs with a key whose name is below NAME, at any depth
//	any              who signs with a key, whatever its name
//	*                the same
//	net CIDR...      who comes from one of the networks, whether signed or not
//
// Its zero value is nobody. It does not change, and its methods may be called
// concurrently.
type Identity struct {
	kind kind
	name dnsname.Name // of keys: in lower case, with the asterisk
	nets []netip.Prefix
}

type kind uint8

const (
	nobody kind = iota
	oneKey
	keysBelow
	anyKey
	networks
)

// ParseIdentity reads an IDENTITY from the front of words and gives the words
// after it. All words after net that are networks belong to it; an address is a
// network of one. Names without a final dot are full names, too.
func ParseIdentity(words []string) (id Identity, rest []string, err error) {
	if len(words) == 0 {
		return Identity{}, nil, errors.New(`want an IDENTITY: the name of a key, a wildcard such as *.dhcp., "any", or "net CIDR..."`)
	}
	switch word := words[0]; word {
	case "any", "*", "*.":
		return Identity{kind: anyKey}, words[1:], nil
	case "net":
		id.kind = networks
		id.nets, rest, err = parseNets(words[1:])
		if err != nil {
			return Identity{}, nil, err
		}
		return id, rest, nil
	default:
		if _, ok := parseNet(word); ok {
			return Identity{}, nil, fmt.Errorf("%q is a network and no key: write \"net %s\"", word, word)
		}
		id.name, err = parseName(word)
		if err != nil {
			return Identity{}, nil, fmt.Errorf("IDENTITY: %w", err)
		}
		id.kind = oneKey
		if id.name.IsWildcard() {
			id.kind = keysBelow
		}
		return id, words[1:], nil
	}
}

// parseName reads a full name; it gives it in lower case.
func parseName(word string) (dnsname.Name, error) {
	if word == "@" {
		return "", errors.New("\"@\" stands for no zone here: write the name in full")
	}
	n, err := dnsname.Parse(word, dnsname.Root)
	return n.Fold(), err
}

// parseNets reads networks from the front of words, at least one.
func parseNets(words []string) (list []netip.Prefix, rest []string, err error) {
	for i, word := range words {
		p, ok := parseNet(word)
		switch {
		case ok:
			list = append(list, p)
		case i == 0, strings.ContainsAny(word, "/:"):
			return nil, nil, fmt.Errorf("net: %q is not a network: want an address and the length of a prefix, such as 192.0.2.0/24", word)
		default:
			return list, words[i:], nil
		}
	}
	if len(list) == 0 {
		return nil, nil, errors.New("net: want a network, such as 192.0.2.0/24")
	}
	return list, nil, nil
}

// parseNet reads a network, or an address that stands for itself. IPv4 networks
// in IPv6 form are made IPv4 networks, as such addresses are.
func parseNet(word string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(word)
	if err != nil {
		a, err := netip.ParseAddr(word)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// Matches tells whether the client is one of the set. It does not allocate.
func (id Identity) Matches(c Client) bool {
	if id.kind == networks {
		addr := c.source()
		return slices.ContainsFunc(id.nets, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	return id.covers(c.Key)
}

// covers tells whether the name is one of those that the identity calls; "" is
// not.
func (id Identity) covers(n dnsname.Name) bool {
	switch id.kind {
	case oneKey:
		return id.name.Equal(n)
	case keysBelow:
		return isUnder(n, id.name.Parent())
	case anyKey:
		return n != ""
	default:
		return false
	}
}

// Key gives the key that the identity calls by its full name, in lower case, and
// "" if it is another set.
func (id Identity) Key() dnsname.Name {
	if id.kind == oneKey {
		return id.name
	}
	return ""
}

// base gives a name that all names it covers are at or below; one tells that it is
// the only one.
func (id Identity) base() (n dnsname.Name, one bool) {
	switch id.kind {
	case oneKey:
		return id.name, true
	case keysBelow:
		return id.name.Parent(), false
	default:
		return dnsname.Root, false
	}
}

// String gives the identity in a form that [ParseIdentity] takes, names in full
// and in lower case; of the zero value it is "".
func (id Identity) String() string {
	switch id.kind {
	case oneKey, keysBelow:
		return id.name.String()
	case anyKey:
		return "any"
	case networks:
		words := []string{"net"}
		for _, p := range id.nets {
			words = append(words, p.String())
		}
		return strings.Join(words, " ")
	default:
		return ""
	}
}
