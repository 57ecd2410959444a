package update

import (
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/policy"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// leases is what the Corefile says of leases (RFC 9664).
type leases struct {
	records, keys term
	required      []policy.Identity // of whom adds must have one
}

// term bounds what is granted, in seconds.
type term struct {
	wished   uint32 // granted if the client asks for 0
	min, max uint32
}

// The bounds that RFC 9664 §5.3 recommends.
var (
	recordTerm = term{3600, 30, 86400}
	keyTerm    = term{604800, 30, 604800}
)

func (t term) grant(asked uint32) uint32 {
	if asked == 0 {
		return t.wished
	}
	return min(max(asked, t.min), t.max)
}

// granted is a lease for the records of one request, in seconds.
type granted struct {
	records, keys uint32
	both          bool // keys has a value of its own in messages
}

// grant gives what a request gets if it asks for a lease; ok is false if it does
// not.
func (l *leases) grant(r *dns.Msg) (g granted, ok bool) {
	opt := r.IsEdns0()
	if opt == nil {
		return granted{}, false
	}
	i := slices.IndexFunc(opt.Option, func(o dns.EDNS0) bool { return o.Option() == dns.EDNS0UL })
	if i < 0 {
		return granted{}, false
	}
	asked, ok := opt.Option[i].(*dns.EDNS0_UL)
	if !ok {
		return granted{}, false
	}
	g.records = l.records.grant(asked.Lease)
	g.keys = g.records
	if asked.KeyLease != 0 { // the library does not tell 0 from the short form
		g.keys, g.both = l.keys.grant(asked.KeyLease), true
	}
	return g, true
}

// requiredOf tells whether what the client adds must have a lease.
func (l *leases) requiredOf(c policy.Client) bool {
	return slices.ContainsFunc(l.required, func(id policy.Identity) bool { return id.Matches(c) })
}

// of gives the lease of a record of that type, in seconds.
func (g granted) of(typ uint16) uint32 {
	if typ == rrset.TypeKEY {
		return g.keys
	}
	return g.records
}

// option gives the option of the response, in the form of the request (RFC 9664 §4).
func (g granted) option() dns.EDNS0 {
	o := &dns.EDNS0_UL{Code: dns.EDNS0UL, Lease: g.records}
	if g.both {
		o.KeyLease = g.keys
	}
	return o
}

func (g granted) String() string {
	if !g.both {
		return fmt.Sprintf("%ds", g.records)
	}
	return fmt.Sprintf("%ds, of keys %ds", g.records, g.keys)
}
