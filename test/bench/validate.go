package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// validator sees to it that a server signs a zone: with keys of the zone that sign
// their own RRset, with ECDSA P-256, and so that the signatures are valid now. Whether
// a parent knows the keys does not matter here.
type validator struct {
	at     netip.AddrPort
	origin string
	keys   []*dns.DNSKEY // nil until they are needed
	client dns.Client
}

// How often a validator asks for what is not there yet, and for how long.
const (
	lookPause       = 5 * time.Millisecond
	signingPatience = 2 * time.Minute
)

func newValidator(at netip.AddrPort, origin string) *validator {
	return &validator{at: at, origin: origin, client: dns.Client{Timeout: 500 * time.Millisecond}}
}

// expected is an answer with signatures: with records, or that there is no such name.
type expected struct {
	question
	absent bool
}

// await asks until every answer is the one expected and has signatures, and then
// checks all of these. It gives how long it had to wait for them: nothing if all were
// there when it looked for the first time, for then they may have been there before.
// An answer whose signature is not right is an error at once.
func (v *validator) await(list []expected, patience time.Duration) (wait time.Duration, err error) {
	answers := make([]*dns.Msg, len(list))
	begin := time.Now()
	for i, e := range list {
		for late := false; ; late = true {
			answers[i], err = v.look(e)
			since := time.Since(begin)
			if err == nil {
				if late {
					wait = since
				}
				break
			}
			if since > patience {
				return 0, fmt.Errorf("after %v: %w", patience, err)
			}
			rest(lookPause)
		}
	}
	if err := v.fetchKeys(); err != nil {
		return 0, err
	}
	now := time.Now()
	for i, e := range list {
		section := answers[i].Answer
		if e.absent {
			section = answers[i].Ns
		}
		if err := v.verify(section, now); err != nil {
			return 0, fmt.Errorf("the answer to %s %s: %w", e.name, dns.TypeToString[e.typ], err)
		}
	}
	return wait, nil
}

// look asks once, and gives an error unless the answer is the one expected and has a
// signature of what makes it that.
func (v *validator) look(e expected) (*dns.Msg, error) {
	m, err := v.ask(e.question)
	if err != nil {
		return nil, err
	}
	section, rcode, typ := m.Answer, dns.RcodeSuccess, e.typ
	if e.absent {
		section, rcode, typ = m.Ns, dns.RcodeNameError, dns.TypeNSEC
	}
	if m.Rcode != rcode || !hasType(section, typ) || !slices.ContainsFunc(section, func(rr dns.RR) bool {
		sig, ok := rr.(*dns.RRSIG)
		return ok && sig.TypeCovered == typ
	}) {
		return nil, fmt.Errorf("%s %s gets %s with no signed %s", e.name, dns.TypeToString[e.typ], dns.RcodeToString[m.Rcode], dns.TypeToString[typ])
	}
	return m, nil
}

func hasType(section []dns.RR, typ uint16) bool {
	return slices.ContainsFunc(section, func(rr dns.RR) bool { return rr.Header().Rrtype == typ })
}

// ask asks once with DO, over UDP.
func (v *validator) ask(q question) (*dns.Msg, error) {
	m, _, err := v.client.Exchange(newQuery(q, dns.Id(), true), v.at.String())
	if err != nil {
		return nil, err
	}
	if m.Truncated {
		return nil, fmt.Errorf("%s %s: the answer is truncated", q.name, dns.TypeToString[q.typ])
	}
	return m, nil
}

// fetchKeys gets the keys of the zone, if they are not known.
func (v *validator) fetchKeys() error {
	if v.keys != nil {
		return nil
	}
	m, err := v.ask(question{v.origin, dns.TypeDNSKEY})
	if err != nil {
		return err
	}
	return v.useKeys(m.Answer)
}

// useKeys takes the keys of the zone out of the records, which have the signatures of
// the DNSKEY RRset, too.
func (v *validator) useKeys(rrs []dns.RR) error {
	v.keys = nil
	for _, rr := range rrs {
		if k, ok := rr.(*dns.DNSKEY); ok && k.Flags&dns.ZONE != 0 {
			v.keys = append(v.keys, k)
		}
	}
	if len(v.keys) == 0 {
		return fmt.Errorf("%s has no DNSKEY", v.origin)
	}
	return v.verify(rrs, time.Now())
}

// rrsetKey names an RRset.
type rrsetKey struct {
	owner string
	typ   uint16
}

// verify sees to it that every RRset has a signature that is right at a time.
func (v *validator) verify(rrs []dns.RR, now time.Time) error {
	sets := make(map[rrsetKey][]dns.RR)
	sigs := make(map[rrsetKey][]*dns.RRSIG)
	for _, rr := range rrs {
		h := rr.Header()
		owner := strings.ToLower(h.Name)
		if sig, ok := rr.(*dns.RRSIG); ok {
			k := rrsetKey{owner, sig.TypeCovered}
			sigs[k] = append(sigs[k], sig)
			continue
		}
		k := rrsetKey{owner, h.Rrtype}
		sets[k] = append(sets[k], rr)
	}
	if len(sets) == 0 {
		return errors.New("no records")
	}
	for k, set := range sets {
		if err := v.verifySet(set, sigs[k], now); err != nil {
			return fmt.Errorf("%s %s: %w", k.owner, dns.TypeToString[k.typ], err)
		}
	}
	return nil
}

// verifySet sees to it that one of the signatures of an RRset is right.
func (v *validator) verifySet(set []dns.RR, sigs []*dns.RRSIG, now time.Time) error {
	err := errors.New("no signature by a key of the zone")
	for _, sig := range sigs {
		for _, key := range v.keys {
			if sig.KeyTag != key.KeyTag() || sig.Algorithm != key.Algorithm {
				continue
			}
			switch e := sig.Verify(key, set); {
			case e != nil:
				err = e
			case sig.Algorithm != dns.ECDSAP256SHA256:
				err = fmt.Errorf("signed with %s", dns.AlgorithmToString[sig.Algorithm])
			case !sig.ValidityPeriod(now):
				err = fmt.Errorf("the signature is valid from %s to %s", dns.TimeToString(sig.Inception), dns.TimeToString(sig.Expiration))
			default:
				return nil
			}
		}
	}
	return err
}

// closed sees to it that the NSEC records of a zone, by their owners, are one chain
// that leads from the apex back to it (RFC 4034 §4.1.1).
func closed(origin string, next map[string]string) error {
	steps := 0
	for at := origin; ; steps++ {
		to, ok := next[at]
		if !ok {
			return fmt.Errorf("%s has no NSEC record", at)
		}
		if to == origin {
			break
		}
		if steps > len(next) {
			return errors.New("the NSEC records go round without the apex")
		}
		at = to
	}
	if steps+1 != len(next) {
		return fmt.Errorf("%d NSEC records are not in the chain", len(next)-steps-1)
	}
	return nil
}

// privateType is the type of named's records of what it has left to sign.
const privateType = 65534

// isSecurity tells whether a type is there only in signed zones.
func isSecurity(typ uint16) bool {
	switch typ {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, privateType:
		return true
	default:
		return false
	}
}
