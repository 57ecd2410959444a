package parent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

const (
	maxKnown = 1024           // parent zones whose servers are kept
	maxKept  = 24 * time.Hour // whatever the TTL
)

// found is what the resolvers say about a parent zone.
type found struct {
	parent  dnsname.Name
	servers []Server // Name, Address, and Err of names without addresses
	until   time.Time
}

// find gives the parent zone of a zone and its servers, from what is kept or from
// the resolvers.
func (c *Client) find(ctx context.Context, zone dnsname.Name) (found, error) {
	above := zone.Parent()
	start := time.Now()
	if f, ok := c.recall(above, start); ok {
		return f, nil
	}
	resolvers, err := c.resolvers()
	if err != nil {
		return found{}, err
	}
	if len(resolvers) == 0 {
		return found{}, errors.New("the system has no resolver")
	}
	w := walk{c: c, ctx: ctx, resolvers: resolvers[:min(len(resolvers), maxResolvers)]}
	parent, ttl, err := w.enclosing(above)
	if err != nil {
		return found{}, err
	}
	names, nsTTL, err := w.nameServers(parent)
	if err != nil {
		return found{}, err
	}
	servers := make([][]Server, len(names))
	ttls := make([]time.Duration, len(names))
	each(len(names), func(i int) { servers[i], ttls[i] = w.addresses(names[i]) })
	ttl = min(ttl, nsTTL, slices.Min(ttls), maxKept)
	f := found{parent: parent, servers: slices.Concat(servers...), until: start.Add(ttl)}
	if err := notTooMany(f.servers); err != nil {
		return found{}, err
	}
	if ttl > 0 {
		c.keep(above, f, start)
	}
	return f, nil
}

// recall gives what is known of the parent zone with the given name in it.
func (c *Client) recall(above dnsname.Name, now time.Time) (found, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.known[above.Fold()]
	return f, ok && now.Before(f.until)
}

// keep makes room by dropping what is out of date, and else any.
func (c *Client) keep(above dnsname.Name, f found, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxKnown {
		for name, old := range c.known {
			if !now.Before(old.until) {
				delete(c.known, name)
			}
		}
	}
	for name := range c.known {
		if len(c.known) < maxKnown {
			break
		}
		delete(c.known, name)
	}
	c.known[above.Fold()] = f
}

// walk is one search.
type walk struct {
	c         *Client
	ctx       context.Context
	resolvers []netip.AddrPort
}

// enclosing gives the zone that holds a name, and how long that may be kept.
func (w *walk) enclosing(name dnsname.Name) (dnsname.Name, time.Duration, error) {
	ttl := maxKept
	for n := name; ; n = n.Parent() {
		a, err := w.lookup(n, typeSOA)
		if err != nil {
			return "", 0, err
		}
		ttl = min(ttl, a.ttl)
		switch {
		case len(a.records) > 0:
			return n, ttl, nil
		case a.zone != "":
			return a.zone, ttl, nil
		case n == dnsname.Root:
			return "", 0, errors.New("the resolvers know no zone above it")
		}
	}
}

// nameServers gives the names of the servers of a zone, in ascending order.
func (w *walk) nameServers(zone dnsname.Name) ([]dnsname.Name, time.Duration, error) {
	a, err := w.lookup(zone, typeNS)
	if err != nil {
		return nil, 0, err
	}
	var names []dnsname.Name
	for _, r := range a.records {
		names = append(names, dnsname.Name(r.rdata))
	}
	slices.SortFunc(names, func(x, y dnsname.Name) int { return strings.Compare(string(x.Fold()), string(y.Fold())) })
	names = slices.CompactFunc(names, dnsname.Name.Equal)
	switch {
	case len(names) == 0:
		return nil, 0, fmt.Errorf("%q has no NS record", zone)
	case len(names) > MaxNames:
		return nil, 0, fmt.Errorf("%w: %q has %d, and %d are asked at most", ErrTooMany, zone, len(names), MaxNames)
	}
	return names, a.ttl, nil
}

// addresses gives a server for each address of a name, in ascending order, or one
// with an error.
func (w *walk) addresses(name dnsname.Name) ([]Server, time.Duration) {
	var list []netip.AddrPort
	var failed error
	ttl := maxKept
	for _, typ := range []uint16{typeA, typeAAAA} {
		a, err := w.lookup(name, typ)
		if err != nil {
			failed = err
			ttl = 0 // the addresses that are missing are looked for again the next time
			continue
		}
		ttl = min(ttl, a.ttl)
		for _, r := range a.records {
			addr, _ := netip.AddrFromSlice([]byte(r.rdata))
			if addr = addr.Unmap(); !addr.IsUnspecified() && !addr.IsMulticast() {
				list = append(list, netip.AddrPortFrom(addr, w.c.port))
			}
		}
	}
	if len(list) == 0 {
		if failed == nil {
			failed = errors.New("has no address")
		}
		return []Server{{Name: name, Err: failed}}, ttl
	}
	slices.SortFunc(list, netip.AddrPort.Compare)
	list = slices.Compact(list)
	servers := make([]Server, len(list))
	for i, a := range list {
		servers[i] = Server{Name: name, Address: a}
	}
	return servers, ttl
}

// finding is what a resolver knows of a name and type.
type finding struct {
	records []record
	zone    dnsname.Name  // without records: the zone that says so, or "" if that is not told
	ttl     time.Duration // how long it may be kept
}

// lookup asks the resolvers, one after the other, until one answers.
func (w *walk) lookup(name dnsname.Name, typ uint16) (finding, error) {
	var list problems
	q := question{name: name, typ: typ, recurse: true}
	for _, address := range w.resolvers {
		m, err := w.c.exchange(w.ctx, address, q)
		if err == nil {
			var f finding
			if f, err = learn(&m, name, typ); err == nil {
				return f, nil
			}
		}
		list = append(list, fmt.Errorf("resolver %s, asked for %s of %q: %w", address, rrset.TypeString(typ), name, err))
	}
	return finding{}, list
}

// learn takes from the answer of a resolver what it says about a name and type. A
// name that does not exist is as one without data: some servers deny names that only
// have others below them (RFC 8020), and if the zone is not there either, the
// servers of its parent will say so.
func learn(m *message, name dnsname.Name, typ uint16) (f finding, err error) {
	switch rcode := m.rcode(); {
	case rcode != 0 && rcode != rcodeNXDomain:
		return f, fmt.Errorf("answers %s", rcodeText(rcode))
	case !m.has(flagRA | flagAA):
		return f, errors.New("does not resolve names")
	case rcode == rcodeNXDomain && len(m.answer) > 0:
		return f, fmt.Errorf("%q is an alias, or denied and answered at once", name)
	}
	shortest := ^uint32(0)
	for _, r := range m.answer {
		switch {
		case r.typ == rrset.TypeRRSIG:
			continue
		case r.typ != typ || !r.owner.Equal(name): // CNAME and DNAME: neither zones nor servers are found by aliases
			return f, fmt.Errorf("answers with a %s record of %q", rrset.TypeString(r.typ), r.owner)
		}
		f.records = append(f.records, r)
		shortest = min(shortest, r.ttl)
	}
	if len(f.records) > 0 {
		f.ttl = time.Duration(shortest) * time.Second
		return f, nil
	}
	for _, r := range m.authority {
		if r.typ != typeSOA {
			continue
		}
		switch {
		case f.zone != "":
			return f, errors.New("answers with two SOA records")
		case !name.IsBelow(r.owner), typ == typeSOA && r.owner.Equal(name):
			return f, fmt.Errorf("answers for %q, which cannot say that %q is no zone", r.owner, name)
		}
		f.zone = r.owner
		minimum := binary.BigEndian.Uint32([]byte(r.rdata[len(r.rdata)-4:]))
		f.ttl = time.Duration(min(r.ttl, minimum)) * time.Second // RFC 2308 §5
	}
	return f, nil
}
