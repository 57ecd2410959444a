package zone

import (
	"fmt"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// Rule names a load check.
type Rule string

// The load checks whose findings leave a zone servable.
const (
	RuleTTL           Rule = "TTL differs within an RRset"
	RuleTooLong       Rule = "RRset is longer than a message"
	RuleNoNS          Rule = "no NS record at the apex"
	RuleCNAMEAndOther Rule = "CNAME beside other data"
	RuleManyCNAME     Rule = "more than one CNAME"
	RuleManyDNAME     Rule = "more than one DNAME"
	RuleBelowDNAME    Rule = "data below a DNAME"
	RuleWildcardNS    Rule = "NS at a wildcard"
	RuleWildcardDNAME Rule = "DNAME at a wildcard"
	RuleTargetIsCNAME Rule = "target is an alias"
	RuleTargetMissing Rule = "target does not exist"
	RuleMissingGlue   Rule = "name server without address record"
	RuleDSWithoutNS   Rule = "DS without NS"
	RuleIterations    Rule = "NSEC3 iterations above 0"
	RuleOrphanSig     Rule = "RRSIG covers nothing"
	RuleNSEC3Unlinked Rule = "NSEC3 records without NSEC3PARAM"
)

// Problem is what a load check found. The zone is served all the same.
type Problem struct {
	Rule   Rule
	Owner  dnsname.Name
	Type   uint16
	RDATA  string // of the record it is about, or "" if it is about the RRset
	Detail string
}

// String gives the finding without the record's type and data: owner, rule,
// detail.
func (p Problem) String() string {
	if p.Detail == "" {
		return fmt.Sprintf("%s: %s", p.Owner, p.Rule)
	}
	return fmt.Sprintf("%s: %s: %s", p.Owner, p.Rule, p.Detail)
}

// checker goes through a zone once, in canonical order.
type checker struct {
	*Snapshot
	problems []Problem
	answer   Answer
	dname    string // key of the topmost DNAME last met
	hasDNAME bool
}

// check runs the load checks over the zone; it adds to problems, up to 1000.
func (s *Snapshot) check(problems []Problem) []Problem {
	c := checker{Snapshot: s, problems: problems}
	if s.apex().flags()&hasNS == 0 {
		c.add(RuleNoNS, s.apex(), rrset.TypeSOA, "", "")
	}
	if s.nsec3 != nil && s.nsec3.iterations > 0 {
		c.add(RuleIterations, s.apex(), rrset.TypeNSEC3PARAM, "", fmt.Sprint(s.nsec3.iterations))
	}
	if e, ok := s.hashes.First(); ok && s.nsec3 == nil {
		c.add(RuleNSEC3Unlinked, node{e.Key, e.Value}, rrset.TypeNSEC3, "", "")
	}
	for e := range s.names.All() {
		if len(c.problems) >= maxProblems {
			break
		}
		c.node(node{e.Key, e.Value})
	}
	return c.problems
}

func (c *checker) add(rule Rule, n node, typ uint16, rdata, detail string) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, Problem{rule, n.owner(c.origin), typ, rdata, detail})
	}
}

func (c *checker) node(n node) {
	flags := n.flags()
	if c.hasDNAME && len(n.key) > len(c.dname) && n.key[:len(c.dname)] == c.dname {
		set, _, _ := n.entry(n.entries())
		c.add(RuleBelowDNAME, n, set.Type, "", "")
	} else {
		c.dname, c.hasDNAME = n.key, flags&hasDNAME != 0
	}
	wildcard := flags&(hasNS|hasDNAME) != 0 && n.owner(c.origin).IsWildcard()
	for set := range n.sets() {
		if set.IsEmpty() {
			c.add(RuleOrphanSig, n, rrset.TypeRRSIG, set.Sigs.First(), "")
			continue
		}
		switch set.Type {
		case rrset.TypeCNAME:
			if set.Len() > 1 {
				c.add(RuleManyCNAME, n, set.Type, set.First(), "")
			}
		case rrset.TypeRRSIG, rrset.TypeNSEC, rrset.TypeKEY:
		default:
			if flags&hasCNAME != 0 {
				c.add(RuleCNAMEAndOther, n, set.Type, set.First(), "")
			}
		}
		switch set.Type {
		case rrset.TypeDNAME:
			if set.Len() > 1 {
				c.add(RuleManyDNAME, n, set.Type, set.First(), "")
			}
			if wildcard {
				c.add(RuleWildcardDNAME, n, set.Type, set.First(), "")
			}
		case rrset.TypeDS:
			if !n.cut() {
				c.add(RuleDSWithoutNS, n, set.Type, set.First(), "")
			}
		case rrset.TypeNS:
			if wildcard && n.key != "" {
				c.add(RuleWildcardNS, n, set.Type, set.First(), "")
			}
			c.targets(n, set)
		case rrset.TypeMX, rrset.TypeSRV:
			c.targets(n, set)
		}
	}
}

// targets checks the names of the zone that NS, MX and SRV records point at.
func (c *checker) targets(n node, set Set) {
	for r := range set.All() {
		name := rrset.Name(set.Type, r)
		if name == dnsname.Root || !name.IsBelow(c.origin) {
			continue
		}
		key, _ := dnsname.AppendKey(c.answer.key[:0], name, len(c.origin), nil)
		t := c.target(key, &c.answer)
		switch {
		case t.flags()&hasCNAME != 0:
			c.add(RuleTargetIsCNAME, n, set.Type, r, name.String())
		case t.val != "" && (c.has(t, rrset.TypeA) || c.has(t, rrset.TypeAAAA)):
		default:
			c.unreachable(n, set.Type, r, name)
		}
	}
}

func (c *checker) has(n node, typ uint16) bool {
	_, ok := n.set(typ)
	return ok
}

// unreachable reports a target without addresses, unless a wildcard gives it
// some or it is in another zone, below a cut whose server needs no glue here.
func (c *checker) unreachable(n node, typ uint16, rdata string, name dnsname.Name) {
	f := c.find(name, rrset.TypeA, &c.answer)
	switch {
	case f.above.val != "" && f.above.cut():
		if typ == rrset.TypeNS && f.above.key == n.key { // only the zone can know it (RFC 9471 §2)
			c.add(RuleMissingGlue, n, typ, rdata, name.String())
		}
	case f.above.val != "": // below a DNAME
		c.add(RuleTargetIsCNAME, n, typ, rdata, name.String())
	case f.node.flags()&hasCNAME != 0:
		c.add(RuleTargetIsCNAME, n, typ, rdata, name.String())
	case f.node.val != "" && (c.has(f.node, rrset.TypeA) || c.has(f.node, rrset.TypeAAAA)):
	case typ == rrset.TypeNS:
		c.add(RuleMissingGlue, n, typ, rdata, name.String())
	default:
		c.add(RuleTargetMissing, n, typ, rdata, name.String())
	}
}
