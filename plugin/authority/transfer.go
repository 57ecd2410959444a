package authority

import (
	"fmt"

	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Transfer implements transfer.Transferer for the plugin transfer: the whole
// zone, from one version of it, or the SOA record alone if the client has that
// version or a later one (RFC 1995 §4).
func (a *Authority) Transfer(origin string, serial uint32) (<-chan []dns.RR, error) {
	n, err := dnsname.Parse(origin, dnsname.Root)
	if err != nil {
		return nil, transfer.ErrNotAuthoritative
	}
	z := a.zones[n.Fold()]
	if z == nil {
		return nil, transfer.ErrNotAuthoritative
	}
	s := z.zone.Snapshot()
	if s == nil {
		return nil, fmt.Errorf("zone %s is not loaded", z.origin)
	}
	ch := make(chan []dns.RR)
	go func() {
		defer close(ch)
		soa := s.SOA()
		first := rrset.AppendRRs(nil, soa.Owner.String(), soa.RRset)
		if has := zone.Serial(serial); has != 0 && (has == s.Serial() || has.After(s.Serial())) {
			ch <- first
			return
		}
		for set := range s.All() {
			owner := set.Owner.String()
			rrs := rrset.AppendRRs(make([]dns.RR, 0, set.Len()+set.Sigs.Len()), owner, set.RRset)
			ch <- rrset.AppendRRs(rrs, owner, set.Sigs)
		}
		ch <- first
	}()
	return ch, nil
}
