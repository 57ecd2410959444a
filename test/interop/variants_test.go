package interop

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// A variant says what is right where the peers disagree, or where we differ from all of them on purpose.
type variant struct {
	name    string
	aspects aspects
	when    func(*situation) bool
	follow  peers                           // in each aspect ours must equal one of these,
	ours    func(*situation, *reply) string // or pass this check, which returns what is wrong
	reason  string
}

// leastChain is how many links of a CNAME chain we follow at least: as many as named.
const leastChain = 11

// variants is the table; the first entry that fits an aspect of a situation decides about it.
var variants = []variant{
	{
		name:    "ANY below a DNAME",
		aspects: anything,
		when: func(s *situation) bool {
			return s.q.qtype == dns.TypeANY && slices.ContainsFunc(s.named.answer, isType("CNAME")) &&
				slices.ContainsFunc(s.named.answer, isType("DNAME"))
		},
		ours: func(s *situation, ours *reply) string {
			for _, p := range all {
				r := s.reply(p)
				if agree(ours, r, rcode) && agree(ours, r, answer) && agree(ours, r, authority) && agree(ours, r, additional) {
					return ""
				}
			}
			return checkChain(s, ours)
		},
		reason: "RFC 6672 §3.2 goes on with the new name whatever the type; RFC 1034 §3.6.2 does not for a CNAME that is asked for, as ANY " +
			"does. named stops, knotd and nsd go on",
	},
	{
		name:    "ANY",
		aspects: anything,
		when:    func(s *situation) bool { return s.q.qtype == dns.TypeANY && s.knotd.aa && len(s.knotd.answer) > 0 },
		ours:    checkANY,
		reason: "RFC 8482 §4.1: a subset of the RRsets is a whole answer. named sends all, knotd and nsd one, and they choose different " +
			"ones; we send one over UDP and all over TCP, and like named nothing else but what stands at the name",
	},
	{
		name:    "RRSIG",
		aspects: anything,
		when:    func(s *situation) bool { return s.q.qtype == dns.TypeRRSIG && s.named.aa && len(s.named.answer) > 0 },
		ours:    checkRRSIG,
		reason:  "RFC 8482 §7: RRSIG queries are like ANY. named and nsd send all signatures of the name, knotd those of one type",
	},
	{
		name:    "NSEC at a cut",
		aspects: anything,
		when:    func(s *situation) bool { return s.q.qtype == dns.TypeNSEC && s.named.aa && !s.knotd.aa && !s.nsd.aa },
		follow:  knotd | nsd,
		reason:  "RFC 4035 §3.1.4.1: of the types of the parent's side only DS is answered from the parent; named answers NSEC too",
	},
	{
		name:    "NSEC of a wildcard",
		aspects: authority,
		when: func(s *situation) bool {
			return s.q.qtype == dns.TypeNSEC && len(s.named.answer) > 0 && agree(s.named, s.nsd, authority)
		},
		follow: named | nsd,
		reason: "RFC 4035 §3.1.3.3: an expanded wildcard comes with the proof that the name itself does not exist; knotd leaves it out for NSEC",
	},
	{
		name:    "CNAME and the types of DNSSEC",
		aspects: anything,
		when: func(s *situation) bool {
			return slices.Contains([]uint16{dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3}, s.q.qtype) && s.alike(named, knotd)
		},
		follow: named | knotd,
		reason: "RFC 4034 §4 and §3.1: RRSIG and NSEC stand beside a CNAME, so they are no reason to follow it; NSEC3 does not stand there, " +
			"so it is followed. nsd does the opposite",
	},
	{
		name:    "CNAME loop",
		aspects: anything,
		when: func(s *situation) bool {
			return s.named.rcode == dns.RcodeServerFailure && s.nsd.loops() && s.q.qtype != dns.TypeNSEC3
		},
		follow: nsd,
		reason: "RFC 1034 §5.2.2 leaves loops to the resolver: the links once, NOERROR. named ends in SERVFAIL, which makes resolvers ask again; knotd repeats RRs " +
			"until its limit",
	},
	{
		name:    "CNAME chain longer than named follows",
		aspects: anything,
		when:    func(s *situation) bool { return s.named.rcode == dns.RcodeServerFailure },
		ours:    checkChain,
		reason: "RFC 1034 §3.6.2 sets no limit to a chain. knotd stops after 5 links with NOERROR, named after 11 with SERVFAIL, nsd never; " +
			"we stop after 11 or more with NOERROR, and the resolver asks for the rest",
	},
	{
		name:    "CNAME chain longer than knotd follows",
		aspects: anything,
		when:    func(s *situation) bool { return len(s.knotd.links()) == 5 && len(s.named.links()) > 5 },
		follow:  named,
		reason:  "RFC 1034 §4.3.2 step 3a: go on with the target; nsd agrees but for QTYPE NSEC3",
	},
	{
		name:    "chain into another zone",
		aspects: anything,
		when: func(s *situation) bool {
			return s.named.end() != "" && !dns.IsSubDomain(s.zone.origin, s.named.end()) && len(s.named.authority) == 0
		},
		follow: nsd,
		reason: "RFC 1034 §4.3.2 step 1: the search goes on in the nearest zone, whichever that is. named (without recursion) and knotd " +
			"stop at the end of the zone, nsd goes on",
	},
	{
		name:    "DNAME substitution too long",
		aspects: anything,
		when: func(s *situation) bool {
			return s.named.rcode == dns.RcodeYXDomain && (s.nsd.rcode == dns.RcodeYXDomain || s.q.qtype == dns.TypeNSEC3)
		},
		follow: named,
		reason: "RFC 6672 §2.2: YXDOMAIN, with the DNAME as the reason and nothing else, as nsd does too; knotd adds NSEC RRs, or goes on at a " +
			"wrong name after a CNAME",
	},
	{
		name:    "truncated chain",
		aspects: rcode,
		when:    func(s *situation) bool { return s.named.tc && s.knotd.tc && s.nsd.tc },
		follow:  named | nsd,
		reason:  "RFC 6604 §2.1: the rcode tells of the end of the chain, even when it did not fit; knotd stops counting where it truncates",
	},
	{
		name:    "names below NSEC3 owners",
		aspects: authority,
		when:    func(s *situation) bool { return s.zone.hashed(s.q.name) && s.alike(named, knotd) },
		follow:  named | knotd,
		reason:  "RFC 5155 §7.2.8: NSEC3 owner names do not exist for queries; nsd takes them for closest enclosers",
	},
	{
		name:    "asterisk label and NSEC3",
		aspects: authority,
		when: func(s *situation) bool {
			return strings.Contains(s.q.name, "*") && len(s.nsd.answer) == len(s.named.answer) && s.alike(named, knotd)
		},
		follow: named | knotd,
		reason: "RFC 5155 §7.2.3: the wildcard itself exists, so the NSEC3 that matches it is the whole proof; nsd adds one as if it were expanded",
	},
	{
		name:    "empty non-terminal without NSEC3",
		aspects: authority,
		when: func(s *situation) bool {
			return s.zone.encloser(s.q.name) != "" && len(s.zone.rrs[s.zone.encloser(s.q.name)]) == 0 && s.alike(named, knotd)
		},
		follow: named | knotd,
		reason: "RFC 5155 §7.2.1: when opt-out leaves the closest encloser without NSEC3 the proof starts at the closest provable one; nsd " +
			"sends half of it",
	},
	{
		name:    "wildcard proof after a DNAME",
		aspects: authority,
		when: func(s *situation) bool {
			return s.named.rcode == dns.RcodeNameError && slices.ContainsFunc(s.named.answer, isType("DNAME")) && s.alike(named, knotd)
		},
		follow: named | knotd,
		reason: "RFC 4035 §3.1.3.2: NXDOMAIN needs the proof that no wildcard matches; nsd leaves it out after a DNAME",
	},
	{
		name:    "glue that does not fit",
		aspects: tc | additional,
		when:    func(s *situation) bool { return s.q.mode.network == "udp" && s.referral() && s.nearLimit() },
		ours:    checkGlue,
		reason: "RFC 9471 §3.1: TC when glue of in-domain servers does not fit. knotd sets it too when sibling glue does not; named sends " +
			"what fits, and so does nsd unless nothing does",
	},
	{
		name:    "referral to servers with addresses in this zone",
		aspects: additional,
		when:    func(s *situation) bool { return s.referral() && agree(s.knotd, s.nsd, additional) },
		follow:  named | knotd,
		reason:  "RFC 1034 §4.2.1 asks for glue only; knotd and nsd add addresses that are authoritative data of the zone, named does not",
	},
	{
		name:    "fits or not",
		aspects: tc,
		when:    func(s *situation) bool { return s.q.mode.network == "udp" && s.nearLimit() },
		follow:  named | knotd | nsd,
		reason:  "RFC 1035 §4.1.4: compression is optional; named does not compress across letter case, nsd not as much as knotd",
	},
	{
		name:    "SOA lost for want of room",
		aspects: authority,
		when: func(s *situation) bool {
			return s.q.mode.network == "udp" && s.nearLimit() && len(s.knotd.authority) == 0
		},
		follow: named | nsd,
		reason: "RFC 2308 §3: a negative answer has the SOA in it; knotd leaves it out without setting TC when it does not fit",
	},
	{
		name:    "additional data that does not fit",
		aspects: additional,
		when:    func(s *situation) bool { return s.q.mode.network == "udp" && s.nearLimit() },
		ours:    checkAdditional,
		reason:  "RFC 2181 §9: what is left out of the additional section is the server's choice",
	},
	{
		name:    "addresses of an owner made by a wildcard",
		aspects: additional,
		when: func(s *situation) bool {
			made := strings.HasPrefix(s.q.name, "*.") || len(s.zone.rrs[strings.ToLower(s.q.name)]) == 0
			return (s.q.qtype == dns.TypeHTTPS || s.q.qtype == dns.TypeSVCB) && made && len(s.nsd.answer) > 0
		},
		ours:   checkAdditional,
		reason: "RFC 9460 §2.5.2: the target \".\" is the owner name; named sends its addresses unless a wildcard makes it, knotd and nsd never",
	},
	{
		name:    "additional data of glue or aliases",
		aspects: additional,
		when: func(s *situation) bool {
			return slices.Contains([]uint16{dns.TypeMX, dns.TypeSRV, dns.TypeNS, dns.TypeSVCB, dns.TypeHTTPS}, s.q.qtype) &&
				(len(s.named.additional) == 0 || slices.ContainsFunc(s.named.additional, isType("CNAME")))
		},
		follow: named | knotd,
		reason: "RFC 1034 §3.7: additional data is what may be helpful. knotd sends the addresses of targets below a cut, named does not; named " +
			"sends CNAMEs of targets, knotd does not",
	},
	{
		name:    "additional data",
		aspects: additional,
		when: func(s *situation) bool {
			return slices.Contains([]uint16{dns.TypeMX, dns.TypeSRV, dns.TypeNS, dns.TypeNAPTR, dns.TypeSVCB, dns.TypeHTTPS}, s.q.qtype)
		},
		follow: named,
		reason: "RFC 1035 §3.3.9, RFC 2782, RFC 3403 §4.4, RFC 9460 §4.1: named does it all; knotd repeats addresses, follows one alias only and " +
			"leaves out NAPTR; nsd sends nothing with minimal-responses",
	},
	{
		name:    "additional data of rare types",
		aspects: additional,
		when: func(s *situation) bool {
			return slices.Contains([]uint16{dns.TypeMB, dns.TypeAFSDB, dns.TypeRT, dns.TypeKX}, s.q.qtype)
		},
		follow: named | knotd,
		reason: "RFC 1035 §3.3.3, RFC 1183, RFC 2230 §2: optional; named does it, knotd and nsd do not",
	},
}

// alike reports whether two peers agree in all but the additional section.
func (s *situation) alike(a, b peers) bool {
	for _, n := range aspectNames {
		if n.aspect != additional && !agree(s.reply(a), s.reply(b), n.aspect) {
			return false
		}
	}
	return true
}

// referral reports whether knotd, which never answers a referral otherwise, refers to another server, be it after a
// chain.
func (s *situation) referral() bool {
	return s.knotd.rcode == dns.RcodeSuccess && (!s.knotd.aa || slices.ContainsFunc(s.knotd.authority, isType("NS")))
}

// nearLimit reports whether one of the replies may be near what fits into the client's UDP size, or was made to fit.
func (s *situation) nearLimit() bool {
	for _, p := range all {
		if r := s.reply(p); r.tc || r.size > s.q.limit()*9/10 {
			return true
		}
	}
	return false
}

// isType returns a function that tells whether an RR in text form is of a type.
func isType(rrtype string) func(string) bool {
	return func(rr string) bool { return strings.Fields(rr)[3] == rrtype }
}

// links returns the CNAME RRs of a reply as owner → target.
func (r *reply) links() map[string]string {
	out := map[string]string{}
	for _, rr := range r.answer {
		if isType("CNAME")(rr) {
			f := strings.Fields(rr)
			out[f[0]] = f[4]
		}
	}
	return out
}

// end returns the name at which the CNAME chain of a reply ends, "" without a chain or for a loop.
func (r *reply) end() string {
	links := r.links()
	for _, target := range links {
		if _, more := links[target]; !more {
			return target
		}
	}
	return ""
}

// loops reports whether the CNAME chain of a reply leads back into itself.
func (r *reply) loops() bool { return len(r.links()) > 0 && r.end() == "" }

// checkANY wants one whole RRset over UDP and all over TCP, with the signatures when DO is set.
func checkANY(s *situation, ours *reply) string {
	if ours.rcode != dns.RcodeSuccess || !ours.aa {
		return "should be a positive answer"
	}
	if ours.tc {
		return ""
	}
	if !slices.Equal(ours.authority, s.knotd.authority) && !slices.Equal(ours.authority, s.named.authority) {
		return "should have the proof of the wildcard in the authority section, or nothing"
	}
	if len(ours.additional) > 0 {
		return "should have no additional data"
	}
	return checkSubset(s, ours, s.q.mode.network == "tcp")
}

// checkRRSIG wants all signatures that cover one type, or all signatures.
func checkRRSIG(s *situation, ours *reply) string {
	if ours.rcode != dns.RcodeSuccess || !ours.aa || len(ours.authority) > 0 || len(ours.additional) > 0 {
		return "should be a positive answer with an answer section only"
	}
	if ours.tc || slices.Equal(ours.answer, s.named.answer) || slices.Equal(ours.answer, s.knotd.answer) {
		return ""
	}
	covered := func(rr string) string { return strings.Fields(rr)[4] }
	if len(ours.answer) == 0 {
		return "should not be empty"
	}
	whole := slices.DeleteFunc(slices.Clone(s.named.answer), func(rr string) bool { return covered(rr) != covered(ours.answer[0]) })
	if !s.named.tc && !slices.Equal(ours.answer, whole) {
		return "should be the signatures of one type"
	}
	return ""
}

// checkSubset wants an answer to be made of whole RRsets of named's answer: of all but those of DNSSEC, or of one with
// its signatures, if DO is set.
func checkSubset(s *situation, ours *reply, whole bool) string {
	byType := map[string][]string{}
	have := s.named
	if len(have.answer) == 0 && !have.tc {
		have = s.knotd // named answers nothing when the name has nothing but DS or DNSKEY RRs in the wrong place
	}
	for _, rr := range have.answer {
		f := strings.Fields(rr)
		key := f[3]
		if key == "RRSIG" {
			key += " " + f[4]
		}
		byType[key] = append(byType[key], rr)
	}
	left := slices.Clone(ours.answer)
	sent := 0
	for key, rrs := range byType {
		if strings.HasPrefix(key, "RRSIG ") {
			continue
		}
		if !slices.ContainsFunc(left, isType(key)) {
			if whole && key != "NSEC" {
				return "lacks " + key
			}
			continue
		}
		sent++
		want := slices.Clone(rrs)
		if s.q.mode.do {
			want = append(want, byType["RRSIG "+key]...)
		}
		for _, rr := range want {
			i := slices.Index(left, rr)
			if i < 0 {
				return "lacks " + rr
			}
			left = slices.Delete(left, i, i+1)
		}
	}
	switch {
	case have.tc:
		return ""
	case sent == 0:
		return "should not be empty"
	case !whole && sent > 1:
		return fmt.Sprintf("has %d RRsets", sent)
	}
	for _, rr := range left {
		if !whole || !strings.HasPrefix(rr, strings.ToLower(s.q.name)) || !isType("RRSIG")(rr) {
			return "should not have " + rr
		}
	}
	return ""
}

// checkChain wants NOERROR and the links of a chain one by one, [leastChain] at least unless the chain ends or turns
// back before.
func checkChain(s *situation, ours *reply) string {
	if ours.tc {
		return ""
	}
	if ours.rcode == s.nsd.rcode && slices.Equal(ours.answer, s.nsd.answer) && slices.Equal(ours.authority, s.nsd.authority) {
		return ""
	}
	if ours.rcode != dns.RcodeSuccess || !ours.aa || len(ours.authority) > 0 || len(ours.additional) > 0 {
		return "should be NOERROR with an answer section only"
	}
	var dnames []*dns.DNAME
	for _, text := range ours.answer {
		if !isType("DNAME")(text) {
			continue
		}
		rr, err := dns.NewRR(text)
		if err != nil {
			return err.Error()
		}
		dnames = append(dnames, rr.(*dns.DNAME))
	}
	links := ours.links()
	seen := map[string]bool{}
	name, steps := strings.ToLower(s.q.name), 0
	for target, more := links[name]; more; target, more = links[name] {
		made := slices.ContainsFunc(canonical(s.zone.rrset(name, dns.TypeCNAME)), func(rr string) bool {
			return strings.Fields(rr)[4] == target
		})
		for _, d := range dnames {
			owner := d.Hdr.Name
			made = made || name != owner && dns.IsSubDomain(owner, name) && strings.TrimSuffix(name, owner)+d.Target == target
		}
		if !made && s.nsd.links()[name] != target && s.named.links()[name] != target {
			return fmt.Sprintf("%s should not be an alias of %s", name, target)
		}
		delete(links, name)
		seen[name] = true
		name, steps = target, steps+1
	}
	if len(links) > 0 {
		return "has CNAMEs off the chain"
	}
	if steps < leastChain && !seen[name] {
		return fmt.Sprintf("stops after %d links", steps)
	}
	return ""
}

// checkGlue wants whole RRsets of addresses of the servers a referral names, all of those below the cut unless TC is set,
// and TC only if one of the peers had to leave something out.
func checkGlue(s *situation, ours *reply) string {
	if ours.tc {
		if s.knotd.tc {
			return ""
		}
		return "TC though all glue fits"
	}
	left := slices.Clone(ours.additional)
	for _, ns := range s.knotd.servers() {
		inDomain := dns.IsSubDomain(ns.cut, ns.name)
		for _, rrtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			rrs := canonical(s.zone.rrset(ns.name, rrtype))
			found := 0
			for _, rr := range rrs {
				if i := slices.Index(left, rr); i >= 0 {
					left = slices.Delete(left, i, i+1)
					found++
				}
			}
			if found < len(rrs) && (found > 0 || inDomain) {
				return fmt.Sprintf("lacks glue of %s without TC", ns.name)
			}
		}
	}
	left = slices.DeleteFunc(left, isType("RRSIG"))
	if len(left) > 0 {
		return "should not have " + left[0]
	}
	return ""
}

type nameserver struct{ cut, name string }

// servers returns the NS RRs in the authority section.
func (r *reply) servers() []nameserver {
	var out []nameserver
	for _, rr := range r.authority {
		if isType("NS")(rr) {
			f := strings.Fields(rr)
			out = append(out, nameserver{f[0], f[4]})
		}
	}
	return out
}

// checkAdditional wants whole RRsets of the zone, for names that RRs of the answer or other additional RRs hold.
func checkAdditional(s *situation, ours *reply) string {
	for _, text := range ours.additional {
		f := strings.Fields(text)
		held := func(rr string) bool { return rr != text && slices.Contains(strings.Fields(rr), f[0]) }
		if !slices.ContainsFunc(ours.answer, held) && !slices.ContainsFunc(ours.additional, held) {
			return "should not have " + text
		}
		if f[3] == "RRSIG" {
			continue
		}
		for _, rr := range canonical(s.zone.rrset(f[0], dns.StringToType[f[3]])) {
			if !slices.Contains(ours.additional, rr) {
				return "lacks " + rr
			}
		}
	}
	return ""
}
