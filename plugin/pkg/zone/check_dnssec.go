package zone

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// The load checks of signed zones.
const (
	RuleNotSigned    Rule = "DNSKEY records in a zone that is not signed"
	RuleNoKey        Rule = "signed zone without a key in DNSKEY records"
	RuleNoSig        Rule = "RRset without RRSIG"
	RuleSigKey       Rule = "RRSIG of a key that has no DNSKEY record"
	RuleSigNoSEP     Rule = "DNSKEY RRset without RRSIG of a key that has the SEP flag"
	RuleSigMisfit    Rule = "RRSIG does not fit its RRset"
	RuleSigExpired   Rule = "RRSIG has expired"
	RuleSigFuture    Rule = "RRSIG is not valid yet"
	RuleNoDenial     Rule = "signed zone without NSEC or NSEC3 at the apex"
	RuleNoNSEC       Rule = "name without NSEC"
	RuleNSECLinksTo  Rule = "NSEC does not lead to the next name"
	RuleNSEC3LinksTo Rule = "NSEC3 does not lead to the next hash"
)

// CheckSignatures tells what keeps validators from taking a signed zone for what it
// is, as far as that is seen without verifying signatures: at most 1000 findings, in
// canonical order of the owners.
//
// A zone is signed if its apex has DNSKEY records of zone keys, and RRSIGs over SOA or
// DNSKEY or a chain of NSEC or NSEC3 records. Then each authoritative RRset must have,
// for each algorithm of the keys, an RRSIG of one of them that fits and is valid at
// now (RFC 4035 §2.2); that over the DNSKEY RRset of a key with the SEP flag, if there
// is one of the algorithm. Other RRSIGs beside it do not matter, nor do keys that are
// revoked (RFC 5011 §2.1). NSEC records must stand at every authoritative name, and
// those and NSEC3 records lead from one to the next (RFC 4034 §4.1.1, RFC 5155 §7.1);
// whether their types are right, and whether every name has its NSEC3 record, is not
// looked at.
//
// If only one of keys and signatures is there, that is the one finding; a zone without
// both has none.
func (s *Snapshot) CheckSignatures(now time.Time) []Problem {
	c := signedChecker{checker: checker{Snapshot: s}, now: now}
	apex := s.apex()
	keys, _ := apex.set(rrset.TypeDNSKEY)
	c.readKeys(keys)
	signed := !s.soa.Sigs.IsEmpty() || !keys.Sigs.IsEmpty()
	switch {
	case len(c.keys) == 0:
		if signed {
			c.add(RuleNoKey, apex, rrset.TypeSOA, "", "")
		}
		return c.problems
	case !signed && !s.Signed():
		c.add(RuleNotSigned, apex, rrset.TypeDNSKEY, "", "")
		return c.problems
	case !s.Signed():
		c.add(RuleNoDenial, apex, rrset.TypeSOA, "", "")
	}
	c.checkNames()
	c.checkHashes()
	return c.problems
}

// signedChecker goes through a signed zone once, in canonical order.
type signedChecker struct {
	checker
	now  time.Time
	keys []signingKey
	algs []byte // that every RRset is to be signed with
	seps []byte // that a key with the SEP flag has

	before node // the authoritative name before, where it has NSEC
	next   []byte
	room   [dnsname.MaxKey]byte
}

// signingKey is a key that RRSIGs may be of.
type signingKey struct {
	alg byte
	tag uint16
	sep bool
}

// Flags of DNSKEY records (RFC 4034 §2.1.1, RFC 5011 §7).
const (
	keyZone   = 1 << 8
	keyRevoke = 1 << 7
	keySEP    = 1
)

func (c *signedChecker) readKeys(set Set) {
	for r := range set.All() {
		if len(r) < 4 || r[2] != 3 {
			continue
		}
		flags := uint16(r[0])<<8 | uint16(r[1])
		if flags&keyZone == 0 || flags&keyRevoke != 0 {
			continue
		}
		k := signingKey{r[3], rrset.KeyTag(r), flags&keySEP != 0}
		c.keys = append(c.keys, k)
		if !slices.Contains(c.algs, k.alg) {
			c.algs = append(c.algs, k.alg)
		}
		if k.sep && !slices.Contains(c.seps, k.alg) {
			c.seps = append(c.seps, k.alg)
		}
	}
}

// checkNames looks at what is authoritative: not at NS and glue at zone cuts, nor at
// what is below those and DNAMEs.
func (c *signedChecker) checkNames() {
	hider, hides := "", false
	apexLabels := c.origin.Labels()
	chained := c.nsec && c.nsec3 == nil
	for e := range c.names.All() {
		n := node{e.Key, e.Value}
		if hides && strings.HasPrefix(n.key, hider) {
			continue
		}
		if len(c.problems) >= maxProblems {
			return
		}
		hider, hides = n.key, n.hides()
		own, cut := false, n.cut()
		labels := apexLabels + strings.Count(n.key, endOfKeyLabel)
		if isWildcard(n.key, c.origin) {
			labels--
		}
		var set Set
		for off := n.entries(); off < len(n.val); {
			if off = n.next(off, &set); set.IsEmpty() {
				continue
			}
			own = own || set.Type != rrset.TypeNSEC
			if !cut || set.Type == rrset.TypeDS || set.Type == rrset.TypeNSEC {
				c.checkSet(n, &set, labels)
			}
		}
		if chained && own {
			c.link(n)
		}
	}
	if chained {
		c.leads(c.apex())
	}
}

// endOfKeyLabel is endOfLabel, wildcardKey the label "*" in a key.
var (
	endOfKeyLabel = string(endOfLabel)
	wildcardKey   = string(dnsname.AppendChild(nil, "*"))
)

// isWildcard tells whether the first label of the name of key is an asterisk.
func isWildcard(key string, origin dnsname.Name) bool {
	if key == "" {
		return origin.IsWildcard()
	}
	rest, ok := strings.CutSuffix(key, wildcardKey)
	return ok && (rest == "" || rest[len(rest)-1] == endOfLabel)
}

// link checks the NSEC chain from the name before to n.
func (c *signedChecker) link(n node) {
	c.leads(n)
	c.before = node{}
	if n.flags()&hasNSEC == 0 {
		c.add(RuleNoNSEC, n, rrset.TypeNSEC, "", "")
		return
	}
	set, _ := n.set(rrset.TypeNSEC)
	_, end, _ := rrset.Names(set.Type, set.First())
	if next := dnsname.Name(set.First()[:end]); next.IsBelow(c.origin) {
		c.before = n
		c.next, _ = dnsname.AppendKey(c.room[:0], next, len(c.origin), nil)
	} else {
		c.add(RuleNSECLinksTo, n, set.Type, set.First(), fmt.Sprintf("%s is not in the zone", next))
	}
}

// leads checks that the NSEC record of the name before leads to n.
func (c *signedChecker) leads(n node) {
	if c.before.val == "" || string(c.next) == n.key {
		return
	}
	c.add(RuleNSECLinksTo, c.before, rrset.TypeNSEC, "", fmt.Sprintf("%s, not %s", dnsname.FromKey(string(c.next), c.origin), n.owner(c.origin)))
}

// checkHashes looks at the NSEC3 records, and at the ring of those that answers are
// made of.
func (c *signedChecker) checkHashes() {
	labels := c.origin.Labels() + 1
	var first, last node
	for e := range c.hashes.All() {
		if len(c.problems) >= maxProblems {
			return
		}
		n := node{e.Key, e.Value}
		set, ok := n.set(rrset.TypeNSEC3)
		if !ok {
			continue
		}
		c.checkSet(n, &set, labels)
		if c.nsec3 == nil || !c.nsec3.made(set.First()) {
			continue
		}
		if last.val != "" {
			c.leadsHash(last, n)
		} else {
			first = n
		}
		last = n
		c.next = c.nextHash(set.First())
	}
	if last.val != "" {
		c.leadsHash(last, first)
	}
}

// nextHash gives the key of the owner that an NSEC3 record of the chain leads to, or
// nothing if it is malformed: after the salt the length of the hash, and the hash.
func (c *signedChecker) nextHash(rdata string) []byte {
	rest := rdata[5+len(c.nsec3.salt):]
	if rest == "" || len(rest) < 1+int(rest[0]) || hashLabels.EncodedLen(int(rest[0])) > dnsname.MaxLabel {
		return nil
	}
	var label [dnsname.MaxLabel]byte
	return dnsname.AppendChild(c.room[:0], hashLabels.AppendEncode(label[:0], []byte(rest[1:1+int(rest[0])])))
}

// leadsHash checks that the NSEC3 record of n led to next.
func (c *signedChecker) leadsHash(n, next node) {
	if string(c.next) != next.key {
		c.add(RuleNSEC3LinksTo, n, rrset.TypeNSEC3, "", next.owner(c.origin).String())
	}
}

// A fault is what is wrong with an RRSIG; the smaller it is, the nearer it is to
// being right.
type fault uint8

const (
	faultless fault = iota
	faultFuture
	faultExpired
	faultMisfit
	faultNoSEP
	faultKey
	faultMissing
)

// checkSet checks the signatures over an RRset whose owner has that many labels in
// the sense of RRSIG records.
func (c *signedChecker) checkSet(n node, set *Set, labels int) {
	for _, alg := range c.algs {
		least, of := faultMissing, ""
		packed := set.Sigs
		for off := 0; off < len(packed.Packed()) && least != faultless; {
			var r string
			r, off = packed.Next(off)
			sig, ok := rrset.ParseSignature(r)
			if !ok || sig.Algorithm != alg {
				continue
			}
			if f := c.judge(set, &sig, labels); f < least {
				least, of = f, r
			}
		}
		if least != faultless {
			c.report(n, set, labels, alg, least, of)
		}
	}
}

// judge finds the fault of a signature.
func (c *signedChecker) judge(set *Set, sig *rrset.Signature, labels int) fault {
	known, sep := false, false
	for _, k := range c.keys {
		if k.alg == sig.Algorithm && k.tag == sig.Tag {
			known, sep = true, sep || k.sep
		}
	}
	now := uint32(c.now.Unix())
	switch {
	case !known:
		return faultKey
	case set.Type == rrset.TypeDNSKEY && !sep && bytes.IndexByte(c.seps, sig.Algorithm) >= 0:
		return faultNoSEP
	case int(sig.Labels) != labels || sig.TTL != set.TTL || sig.Signer != c.origin && !sig.Signer.Equal(c.origin):
		return faultMisfit
	case int32(sig.Expiration-now) < 0: // serial arithmetic: RFC 4034 §3.1.5
		return faultExpired
	case int32(now-sig.Inception) < 0:
		return faultFuture
	}
	return faultless
}

// report adds the finding for an RRset whose best signature of an algorithm, rdata, has
// that fault.
func (c *signedChecker) report(n node, set *Set, labels int, alg byte, f fault, rdata string) {
	sig, _ := rrset.ParseSignature(rdata)
	typ := rrset.TypeString(set.Type)
	at := func(seconds uint32) string {
		now := c.now.Unix()
		when := now + int64(int32(seconds-uint32(now)))
		return fmt.Sprintf("%s, %s", typ, time.Unix(when, 0).UTC().Format(time.RFC3339))
	}
	var rule Rule
	var detail string
	switch f {
	case faultless:
		return
	case faultMissing:
		c.add(RuleNoSig, n, set.Type, "", fmt.Sprintf("%s, algorithm %d", typ, alg))
		return
	case faultKey:
		rule, detail = RuleSigKey, fmt.Sprintf("%s, algorithm %d, key tag %d", typ, alg, sig.Tag)
	case faultNoSEP:
		rule, detail = RuleSigNoSEP, fmt.Sprintf("algorithm %d", alg)
	case faultMisfit:
		rule = RuleSigMisfit
		switch {
		case int(sig.Labels) != labels:
			detail = fmt.Sprintf("%s, labels %d, not %d", typ, sig.Labels, labels)
		case sig.TTL != set.TTL:
			detail = fmt.Sprintf("%s, original TTL %d, not %d", typ, sig.TTL, set.TTL)
		default:
			detail = fmt.Sprintf("%s, signer %s, not %s", typ, sig.Signer, c.origin)
		}
	case faultExpired:
		rule, detail = RuleSigExpired, at(sig.Expiration)
	case faultFuture:
		rule, detail = RuleSigFuture, at(sig.Inception)
	}
	c.add(rule, n, rrset.TypeRRSIG, rdata, detail)
}
