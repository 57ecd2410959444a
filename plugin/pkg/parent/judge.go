package parent

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// errAdvice says what to give in place of a server that is not the parent's.
var errAdvice = errors.New("give servers that have the parent zone and answer for it with authority, not resolvers")

// judge gives the DS RRset of a zone that a server answers with, and its TTL; none
// and no error if the server says with authority that there is none. parent is the
// zone that the server must answer for, "" for any that the zone can be in.
func judge(m *message, zone, parent dnsname.Name) (ds []string, ttl time.Duration, err error) {
	switch rcode := m.rcode(); {
	case rcode == rcodeNXDomain: // no delegation: nobody would see the zone, whatever keys it has
		return nil, 0, fmt.Errorf("answers that %q does not exist", zone)
	case rcode == rcodeRefused:
		return nil, 0, fmt.Errorf("answers REFUSED: %w", errAdvice)
	case rcode != 0:
		return nil, 0, fmt.Errorf("answers %s", rcodeText(rcode))
	}
	// The zone that the server answers from. Those who have both parent and child
	// must answer from the parent (RFC 4035 §3.1.4.1).
	var from, referral dnsname.Name
	for _, r := range m.authority {
		if r.typ != typeNS && r.typ != typeSOA {
			continue
		}
		switch {
		case m.has(flagAA) && r.owner.Equal(zone):
			return nil, 0, fmt.Errorf("answers for %q itself and not for its parent: %w", zone, errAdvice)
		case !zone.IsBelow(r.owner):
			return nil, 0, fmt.Errorf("answers for %q, which %q is not in", r.owner, zone)
		case r.typ == typeNS:
			referral = r.owner
		case from != "":
			return nil, 0, errors.New("answers with two SOA records")
		default:
			from = r.owner
		}
	}
	switch {
	case len(m.answer) == 0 && from == "" && referral != "":
		return nil, 0, fmt.Errorf("refers to the servers of %q: %w", referral, errAdvice)
	case !m.has(flagAA):
		return nil, 0, fmt.Errorf("answers without authority: %w", errAdvice)
	case len(m.answer) == 0 && from == "":
		return nil, 0, errors.New("answers with neither DS nor SOA record")
	case parent != "" && from != "" && !from.Equal(parent):
		return nil, 0, fmt.Errorf("answers for %q and not for the parent zone %q", from, parent)
	case len(m.answer) == 0:
		return nil, 0, nil
	}
	longest := uint32(0)
	for _, r := range m.answer {
		switch {
		case r.typ == rrset.TypeRRSIG:
			continue
		case r.typ != typeDS || !r.owner.Equal(zone):
			return nil, 0, fmt.Errorf("answers with a %s record of %q", rrset.TypeString(r.typ), r.owner)
		}
		ds, longest = append(ds, r.rdata), max(longest, r.ttl)
	}
	if len(ds) == 0 {
		return nil, 0, errors.New("answers with signatures only")
	}
	slices.Sort(ds)
	return slices.Compact(ds), time.Duration(longest) * time.Second, nil
}
