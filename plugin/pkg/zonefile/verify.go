package zonefile

import (
	"crypto/rsa"
	"errors"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// RuleSigWrong is for the RRSIGs that are verified.
const RuleSigWrong zone.Rule = "RRSIG is not that of the records"

// maxVerified bounds the signatures of a zone that are verified: keys that share a tag
// would make it any number.
const maxVerified = 16

// verify verifies the RRSIGs over SOA and DNSKEY: an edit of a signed file nearly
// always has another serial, and these two are what a validator begins with. To verify
// all would take longer than to read the file. A signature of a key or algorithm that
// cannot be verified here passes.
func verify(s *zone.Snapshot) (problems []zone.Problem) {
	origin := s.Origin()
	dnskey, _ := s.View().Get(origin, rrset.TypeDNSKEY)
	var keys []*dns.DNSKEY
	for _, rr := range rrset.AppendRRs(nil, origin.String(), dnskey.RRset) {
		if k, ok := rr.(*dns.DNSKEY); ok {
			keys = append(keys, k)
		}
	}
	left := maxVerified
	for _, set := range []zone.Set{s.SOA(), dnskey} {
		records := rrset.AppendRRs(nil, origin.String(), set.RRset)
		sigs := rrset.AppendRRs(nil, origin.String(), set.Sigs)
		var wrong []string
		holds := map[signedBy]bool{}
		for off, i := 0, 0; i < len(sigs); i++ {
			var r string
			r, off = set.Sigs.Next(off)
			sig, ok := sigs[i].(*dns.RRSIG)
			if !ok {
				continue
			}
			switch good, known := verifies(sig, keys, records, &left); {
			case good:
				holds[signedBy{sig.Algorithm, sig.KeyTag}] = true
			case known:
				wrong = append(wrong, r)
			}
		}
		for _, r := range wrong {
			if sig, _ := rrset.ParseSignature(r); !holds[signedBy{sig.Algorithm, sig.Tag}] {
				problems = append(problems, zone.Problem{
					Rule: RuleSigWrong, Owner: origin, Type: rrset.TypeRRSIG, RDATA: r, Detail: rrset.TypeString(set.Type),
				})
			}
		}
	}
	return problems
}

// signedBy is the key of a signature: what stands beside one of the same key that
// holds does no harm.
type signedBy struct {
	alg uint8
	tag uint16
}

// verifies tells whether a signature is one of a key over the records; known is false
// if that cannot be found out. left is how many may still be verified.
func verifies(sig *dns.RRSIG, keys []*dns.DNSKEY, records []dns.RR, left *int) (good, known bool) {
	for _, k := range keys {
		if k.Algorithm != sig.Algorithm || k.KeyTag() != sig.KeyTag {
			continue
		}
		if *left--; *left < 0 {
			return false, false
		}
		switch err := sig.Verify(k, records); {
		case err == nil:
			return true, true
		case !errors.Is(err, dns.ErrSig) && !errors.Is(err, rsa.ErrVerification):
			return false, false
		}
		known = true
	}
	return false, known
}
