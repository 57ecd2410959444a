package interop

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// What is compared after an update.
type updateAspects uint8

const (
	ofRcode  updateAspects = 1 << iota
	ofSet                  // an RRset of the zone
	ofSerial               // the serial
)

// An updateSituation is an update with what came of it. In all slices ours comes first, then named, then knotd.
type updateSituation struct {
	*update
	before *contents
	rcodes [updateServers]int
	after  [updateServers]*contents
}

// An updateVariant says why a peer is not followed in something.
type updateVariant struct {
	name    string
	peers   peers // that it is about
	aspects updateAspects
	when    func(s *updateSituation, p int, k setKey) bool // p: the peer, k: the RRset
	reason  string
}

// adds tells whether a record is to be added, and of one of the types; none: of any.
func adds(rr *dns.RFC3597, types ...uint16) bool {
	return rr.Hdr.Class == dns.ClassINET && (len(types) == 0 || slices.Contains(types, rr.Hdr.Rrtype))
}

func atApex(rr *dns.RFC3597) bool { return strings.EqualFold(rr.Hdr.Name, updateOrigin) }

// said tells whether a server gave one of the response codes.
func (s *updateSituation) said(server int, rcodes ...int) bool {
	return slices.Contains(rcodes, s.rcodes[server])
}

// addsTo tells whether the update has records to add to an RRset.
func (s *updateSituation) addsTo(k setKey) bool {
	return s.any(func(rr *dns.RFC3597) bool {
		return adds(rr, k.rrtype) && strings.EqualFold(rr.Hdr.Name, k.owner)
	})
}

// withTTL gives an RRset with another TTL.
func withTTL(set section, ttl string) section {
	out := section{}
	for _, rr := range set {
		f := strings.SplitN(rr, "\t", 3)
		out = append(out, f[0]+"\t"+ttl+"\t"+f[2])
	}
	slices.Sort(out)
	return out
}

// belowDNAME tells whether the update adds a record where a DNAME is above, or was, or will be.
func (s *updateSituation) belowDNAME() bool {
	var dnames, names []string
	for k := range s.before.sets {
		names = append(names, k.owner)
		if k.rrtype == dns.TypeDNAME {
			dnames = append(dnames, k.owner)
		}
	}
	for _, rr := range s.changes {
		if adds(rr) {
			names = append(names, strings.ToLower(rr.Hdr.Name))
		}
		if adds(rr, dns.TypeDNAME) {
			dnames = append(dnames, strings.ToLower(rr.Hdr.Name))
		}
	}
	return slices.ContainsFunc(dnames, func(d string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return n != d && dns.IsSubDomain(d, n) })
	})
}

// updateVariants is the table; the first entry that fits decides.
var updateVariants = []updateVariant{
	{
		name: "order of checks", peers: named, aspects: ofRcode,
		when: func(s *updateSituation, p int, _ setKey) bool {
			return unmet(s.rcodes[atOurs]) && s.said(p, dns.RcodeFormatError, dns.RcodeNotZone, dns.RcodeRefused)
		},
		reason: "RFC 2136 §3.2 to §3.4.1: prerequisites come before the prescan; named does it the other way round",
	},
	{
		name: "order of checks in a malformed message", peers: knotd, aspects: ofRcode,
		when: func(s *updateSituation, p int, _ setKey) bool {
			return (unmet(s.rcodes[atOurs]) || s.said(atOurs, dns.RcodeNotZone)) && s.said(p, dns.RcodeFormatError)
		},
		reason: "RFC 2136 §3.2 to §3.4.1: what comes first in the message decides; knotd looks for records that it cannot parse before",
	},
	{
		name: "which error", peers: named | knotd, aspects: ofRcode,
		when: func(s *updateSituation, p int, _ setKey) bool {
			wrong := []int{dns.RcodeFormatError, dns.RcodeNotZone, dns.RcodeRefused}
			return len(s.changes)+len(s.prerequisites) > 1 && s.said(atOurs, wrong...) && s.said(p, wrong...)
		},
		reason: "RFC 2136 §3.4.1: the first record that is wrong decides; but what a server cannot parse is wrong before all others",
	},
	{
		name: "meta types in prerequisites", peers: named | knotd, aspects: ofRcode,
		when: func(s *updateSituation, _ int, _ setKey) bool {
			return s.said(atOurs, dns.RcodeFormatError) && s.requires(func(rr *dns.RFC3597) bool {
				return isMeta(rr.Hdr.Rrtype) && (rr.Hdr.Rrtype != dns.TypeANY || rr.Hdr.Class == dns.ClassINET)
			})
		},
		reason: "RFC 2136 §3.2.5 does not say; no zone can have such a record, so it is a mistake, as it is in the update section (§3.4.1.2). The peers look for it",
	},
	{
		name: "a value required twice", peers: named, aspects: ofRcode,
		when: func(s *updateSituation, p int, _ setKey) bool {
			return s.said(p, dns.RcodeNXRrset) && s.requiresTwice()
		},
		reason: "RFC 2136 §3.2.3: RRsets are compared as sets, in which nothing is twice (RFC 2181 §5); named counts",
	},
	{
		name: "RRSIG", peers: named, aspects: ofRcode,
		when: func(s *updateSituation, p int, _ setKey) bool {
			return s.said(p, dns.RcodeRefused) && s.any(func(rr *dns.RFC3597) bool { return rr.Hdr.Rrtype == dns.TypeRRSIG && !atApex(rr) })
		},
		reason: "RFC 3007 §4.3: signatures may be data for a zone that is signed elsewhere; named takes them at the apex only",
	},
	{
		name: "addresses of the zone's servers", peers: named, aspects: ofRcode,
		when: func(s *updateSituation, p int, _ setKey) bool {
			return s.said(p, dns.RcodeRefused) && s.after[atOurs].serversLackAddress()
		},
		reason: "RFC 2136 has no such check; named does not let the servers at the apex be without addresses in the zone (after an update of either)",
	},
	{
		name: "CDS and CDNSKEY", peers: named, aspects: ofRcode,
		when: func(s *updateSituation, p int, _ setKey) bool {
			return s.said(p, dns.RcodeRefused) && s.any(func(rr *dns.RFC3597) bool { return adds(rr, dns.TypeCDS, dns.TypeCDNSKEY) && atApex(rr) })
		},
		reason: "RFC 7344 §4.1 is about what the child publishes; in a zone that is not signed named refuses them at the apex",
	},
	{
		name: "serial half way round", peers: named, aspects: ofRcode,
		when: func(s *updateSituation, p int, _ setKey) bool {
			return s.said(p, dns.RcodeServerFailure) && s.halfWay()
		},
		reason: "RFC 2136 §3.4.2.2 passes over a serial that is not greater, and RFC 1982 §3.2 says that this one is not; named fails",
	},
	{
		name: "failed assertions", peers: knotd, aspects: ofRcode,
		when: func(s *updateSituation, p int, _ setKey) bool {
			return s.said(p, noReply) && s.any(func(rr *dns.RFC3597) bool { return adds(rr, dns.TypeSOA) && !atApex(rr) || adds(rr, dns.TypeDNAME) })
		},
		reason: "RFC 2136 §3.4.2.2: an SOA below the apex is passed over, a DNAME replaces the one before (RFC 6672 §5.2). knotd 3.2.6 crashes",
	},
	{
		name: "below a DNAME", peers: knotd, aspects: ofRcode,
		when:   func(s *updateSituation, p int, _ setKey) bool { return s.said(p, dns.RcodeRefused) && s.belowDNAME() },
		reason: "RFC 6672 §2.4 forbids them; but §5.2 has an update that adds a DNAME above hide them, not fail. named takes them too",
	},
	{
		name: "NULL without RDATA", peers: knotd, aspects: ofRcode,
		when: func(s *updateSituation, p int, _ setKey) bool {
			empty := func(rr *dns.RFC3597) bool { return adds(rr, dns.TypeNULL) && rr.Rdata == "" }
			return s.said(p, dns.RcodeFormatError) && (s.any(empty) || s.requires(empty))
		},
		reason: "RFC 1035 §3.3.10: anything at all, which nothing is; named takes it",
	},
	{
		name: "malformed, and taken", peers: knotd, aspects: ofRcode,
		when: func(s *updateSituation, _ int, _ setKey) bool {
			return s.said(atOurs, dns.RcodeFormatError) && s.said(atNamed, dns.RcodeFormatError, dns.RcodeRefused)
		},
		reason: "RFC 2136 §3.4.1.3: FORMERR. knotd does not look at the TTL of deletions, at most meta types and at much of the RDATA",
	},
	{
		name: "NSEC", peers: knotd, aspects: ofRcode,
		when: func(s *updateSituation, _ int, _ setKey) bool {
			return s.said(atOurs, dns.RcodeRefused) && s.any(func(rr *dns.RFC3597) bool { return rr.Hdr.Rrtype == dns.TypeNSEC })
		},
		reason: "RFC 3007 §4.4 has it follow from the rest of the zone; knotd takes it, and looks at the prerequisites first",
	},
	{
		name: "type 0", peers: named | knotd, aspects: ofRcode,
		when: func(s *updateSituation, _ int, _ setKey) bool {
			return s.said(atOurs, dns.RcodeFormatError) && s.any(func(rr *dns.RFC3597) bool { return rr.Hdr.Rrtype == 0 && rr.Hdr.Class == dns.ClassANY })
		},
		reason: "RFC 6895 §3.1 reserves it, so no zone has it (RFC 2136 §3.4.1.2); the peers delete RRsets of it",
	},
	{
		name: "one of the kind", peers: knotd, aspects: ofSet,
		when: func(s *updateSituation, _ int, k setKey) bool {
			return s.addsTo(k) && (k.rrtype == dns.TypeDNAME || k.rrtype == typeWKS)
		},
		reason: "RFC 6672 §5.2, RFC 2136 §3.4.2.2: a DNAME, and a WKS of the same address and protocol, takes the place of the one before; knotd keeps " +
			"or loses both",
	},
	{
		name: "signatures that are deleted with others", peers: named, aspects: ofSet,
		when: func(s *updateSituation, _ int, k setKey) bool {
			return k.rrtype == dns.TypeRRSIG && s.any(func(rr *dns.RFC3597) bool {
				return rr.Hdr.Class == dns.ClassANY && (rr.Hdr.Rrtype == dns.TypeANY || rr.Hdr.Rrtype == dns.TypeRRSIG) &&
					strings.EqualFold(rr.Hdr.Name, k.owner)
			})
		},
		reason: "RFC 2136 §3.4.2.3: the RRset, or all but SOA and NS; named leaves signatures, as if it had made them",
	},
	{
		name: "two SOA records", peers: knotd, aspects: ofSet | ofSerial,
		when: func(s *updateSituation, _ int, k setKey) bool {
			n := 0
			for _, rr := range s.changes {
				if adds(rr, dns.TypeSOA) && atApex(rr) {
					n++
				}
			}
			return n > 1 && (k == setKey{} || k.rrtype == dns.TypeSOA)
		},
		reason: "RFC 2136 §3.4.2: the second meets the zone as the first has left it; with knotd as it was before the message",
	},
	{
		name: "DS without NS", peers: named, aspects: ofSet,
		when: func(s *updateSituation, p int, k setKey) bool {
			return k.rrtype == dns.TypeDS && k.owner != updateOrigin && len(s.after[p].set(k)) == 0
		},
		reason: "RFC 4035 §2.4 wants none, but RFC 2136 does what it is told; named removes them after the update",
	},
	{
		name: "records where they cannot be", peers: knotd, aspects: ofSet,
		when: func(s *updateSituation, p int, k setKey) bool {
			return k.rrtype == dns.TypeDS && k.owner == updateOrigin || k.rrtype == dns.TypeMD ||
				(k.rrtype == dns.TypeDNAME || k.rrtype == dns.TypeNS) && strings.HasPrefix(k.owner, "*.")
		},
		reason: "RFC 4035 §2.4: DS is the parent's; RFC 973: MD is obsolete; RFC 4592 §4.2, §4.4: no NS and DNAME at wildcards. Passed over, as named does",
	},
	{
		name: "KEY and RRSIG beside CNAME", peers: knotd, aspects: ofSet,
		when: func(s *updateSituation, _ int, k setKey) bool {
			return slices.Contains([]uint16{dns.TypeKEY, dns.TypeRRSIG, dns.TypeCNAME}, k.rrtype) &&
				s.after[atOurs].has(k.owner, dns.TypeCNAME) && (s.after[atOurs].has(k.owner, dns.TypeKEY) || s.after[atOurs].has(k.owner, dns.TypeRRSIG))
		},
		reason: "RFC 2181 §10.1 allows them; knotd passes them over",
	},
	{
		name: "TTL of an RRset", peers: knotd, aspects: ofSet,
		when: func(s *updateSituation, p int, k setKey) bool {
			return s.addsTo(k) && slices.Equal(withTTL(s.after[p].set(k), "0"), withTTL(s.after[atOurs].set(k), "0"))
		},
		reason: "RFC 2136 §3.4.2.2: a record that is there gets the new TTL, and with it its RRset (RFC 2181 §5.2); knotd passes it over",
	},
	{
		name: "letter case", peers: named, aspects: ofSerial,
		when: func(s *updateSituation, p int, _ setKey) bool {
			return len(differing(s.before, s.after[atOurs], s.after[p])) == 0 && s.before.serial == s.after[atOurs].serial &&
				s.any(func(rr *dns.RFC3597) bool { return adds(rr) && s.before.holds(rr) })
		},
		reason: "RFC 2136 §3.4.2.2: a record that is there is passed over, and letter case does not count (§1.1.2, RFC 4343); for named it is a change",
	},
	{
		name: "serial 0", peers: knotd, aspects: ofSerial,
		when: func(s *updateSituation, p int, _ setKey) bool {
			return s.after[p].serial == 0 && s.after[atOurs].serial == 1
		},
		reason: "RFC 2136 §7.11 advises against the serial 0, which named leaves out as well",
	},
	{
		name: "serial of another change", peers: named | knotd, aspects: ofSerial,
		when: func(s *updateSituation, p int, _ setKey) bool {
			return len(differing(s.after[p], s.after[atOurs])) > 0
		},
		reason: "another change, for a reason above, or none; that with the same change the serial is the same, too, is what counts",
	},
}

const typeWKS = 11

// unmet tells whether a response code is that of a prerequisite.
func unmet(rcode int) bool {
	return slices.Contains([]int{dns.RcodeNameError, dns.RcodeYXDomain, dns.RcodeYXRrset, dns.RcodeNXRrset}, rcode)
}

func isMeta(rrtype uint16) bool {
	return rrtype == 0 || rrtype == dns.TypeOPT || rrtype >= 128 && rrtype <= 255
}

// requiresTwice tells whether a prerequisite is there twice.
func (s *updateSituation) requiresTwice() bool {
	seen := make(map[string]bool)
	for _, rr := range s.prerequisites {
		text := strings.ToLower(fmt.Sprint(rr.Hdr.Name, rr.Hdr.Rrtype, rr.Hdr.Class, rr.Rdata))
		if seen[text] && rr.Hdr.Class == dns.ClassINET {
			return true
		}
		seen[text] = true
	}
	return false
}

// halfWay tells whether the update has a SOA record with a serial that is half way round from the one before.
func (s *updateSituation) halfWay() bool {
	serials := []uint32{s.before.serial}
	for _, rr := range s.changes {
		if !adds(rr, dns.TypeSOA) || !atApex(rr) || len(rr.Rdata) < 40 {
			continue
		}
		n, err := strconv.ParseUint(rr.Rdata[len(rr.Rdata)-40:len(rr.Rdata)-32], 16, 32)
		if err == nil && slices.ContainsFunc(serials, func(before uint32) bool { return uint32(n)-before == 1<<31 }) {
			return true
		}
		serials = append(serials, uint32(n))
	}
	return false
}

// holds tells whether a record is there, whatever its TTL and letter case.
func (c *contents) holds(raw *dns.RFC3597) bool {
	b, err := hex.DecodeString(raw.Rdata)
	if err != nil {
		return false
	}
	h := raw.Hdr
	h.Rdlength = uint16(len(b))
	rr, _, err := dns.UnpackRRWithHeader(h, b, 0)
	return err == nil && slices.Contains(withTTL(c.set(keyOf(rr)), "0"), withTTL(section{textOf(rr)}, "0")[0])
}

// has tells whether a name has records of a type.
func (c *contents) has(owner string, rrtype uint16) bool {
	for k := range c.sets {
		if k.owner == owner && k.rrtype == rrtype {
			return true
		}
	}
	return false
}

// serversLackAddress tells whether a server at the apex that has its name in the zone has no address there, or has it below
// a DNAME.
func (c *contents) serversLackAddress() bool {
	if c.has(updateOrigin, dns.TypeDNAME) {
		return true
	}
	for _, rr := range c.rrs[setKey{owner: updateOrigin, rrtype: dns.TypeNS}] {
		host := strings.ToLower(rr.(*dns.NS).Ns)
		if dns.IsSubDomain(updateOrigin, host) && !c.has(host, dns.TypeA) && !c.has(host, dns.TypeAAAA) {
			return true
		}
	}
	return false
}

// equal tells whether two servers are equal in an aspect.
func (s *updateSituation) equal(a, b int, aspect updateAspects, k setKey) bool {
	switch aspect {
	case ofRcode:
		return s.rcodes[a] == s.rcodes[b]
	case ofSet:
		return slices.Equal(s.after[a].set(k), s.after[b].set(k))
	default:
		return s.after[a].serial == s.after[b].serial
	}
}

// A finding is that a peer does something else than ours.
type finding struct {
	what    string
	peer    int
	variant *updateVariant // nil: nobody knows why
}

func (f *finding) String() string { return f.what + " differs from " + updateServerNames[f.peer] }

// look compares one aspect.
func (s *updateSituation) look(aspect updateAspects, k setKey, what string) (findings []*finding) {
	for p := atNamed; p < updateServers; p++ {
		if s.equal(atOurs, p, aspect, k) || aspect != ofRcode && (s.said(p, noReply) || (s.rcodes[p] == 0) != (s.rcodes[atOurs] == 0)) {
			continue // a server that did not do the update says nothing of its outcome
		}
		f := &finding{what: what, peer: p}
		for i := range updateVariants {
			v := &updateVariants[i]
			if v.peers&(1<<(p-1)) != 0 && v.aspects&aspect != 0 && v.when(s, p, k) {
				f.variant = v
				break
			}
		}
		findings = append(findings, f)
	}
	return findings
}

// judge compares everything. It also tells what cannot be right, whatever the peers do.
func (s *updateSituation) judge() (findings []*finding, wrong []string) {
	findings = s.look(ofRcode, setKey{}, "rcode")
	for _, k := range differing(s.after[:]...) {
		findings = append(findings, s.look(ofSet, k, k.String())...)
	}
	findings = append(findings, s.look(ofSerial, setKey{}, "serial")...)
	changed := len(differing(s.before, s.after[atOurs])) > 0
	moved := s.before.serial != s.after[atOurs].serial
	switch {
	case s.rcodes[atOurs] != 0 && (changed || moved):
		wrong = append(wrong, "not NOERROR, but done")
	case changed && !moved:
		wrong = append(wrong, "changed, with the serial of before")
	}
	return findings, wrong
}

// String describes the situation for a reader.
func (s *updateSituation) String() string {
	var b strings.Builder
	for _, line := range s.lines {
		fmt.Fprintf(&b, "\t%s\n", line)
	}
	for i, name := range updateServerNames {
		fmt.Fprintf(&b, "\t%-6s %s, serial %d → %d (%+d)\n", name, rcodeText(s.rcodes[i]), s.before.serial, s.after[i].serial,
			int32(s.after[i].serial-s.before.serial))
	}
	keys := differing(append(s.after[:], s.before)...)
	if len(keys) == 0 { // then it matters what is there
		for k, rrs := range s.before.rrs {
			if s.any(func(rr *dns.RFC3597) bool { return strings.EqualFold(rr.Hdr.Name, k.owner) }) {
				fmt.Fprintf(&b, "\t%v: still %v\n", k, rrs)
			}
		}
	}
	for _, k := range keys {
		same := len(differing(s.after[:]...)) == 0 || !slices.Contains(differing(s.after[:]...), k)
		if same {
			fmt.Fprintf(&b, "\t%v: all %s\n\t\tbefore %s\n", k, short(s.after[0].set(k)), short(s.before.set(k)))
			continue
		}
		fmt.Fprintf(&b, "\t%v\n\t\tbefore %s\n", k, short(s.before.set(k)))
		for i, name := range updateServerNames {
			fmt.Fprintf(&b, "\t\t%-6s %s\n", name, short(s.after[i].set(k)))
		}
	}
	return b.String()
}

func rcodeText(rcode int) string {
	if rcode == noReply {
		return "ended"
	}
	return dns.RcodeToString[rcode]
}

// short gives TTLs and RDATA.
func short(set section) string {
	var out []string
	for _, rr := range set {
		f := strings.SplitN(rr, "\t", 5)
		text := f[1] + " " + f[len(f)-1]
		if len(text) > 80 {
			text = text[:80] + "…"
		}
		out = append(out, text)
	}
	return "{" + strings.Join(out, ", ") + "}"
}

// An updateTally sums up a run.
type updateTally struct {
	messages, done, differences, accepted, shown int
	variants                                     map[*updateVariant]int
	kinds                                        map[string]int // of differences
}

// compare sends an update to all servers and compares what comes of it. Then all have the zone that ours has.
func (run *updateTally) compare(t *testing.T, f *farm, u *update, which string) *updateSituation {
	t.Helper()
	s := &updateSituation{update: u, before: f.has[atOurs]}
	s.rcodes = f.send(t, u)
	f.look(t)
	s.after = f.has
	run.messages++
	if s.rcodes[atOurs] == 0 {
		run.done++
	}
	findings, wrong := s.judge()
	for _, w := range wrong {
		run.kinds[w]++
	}
	for _, x := range findings {
		if x.variant != nil {
			run.variants[x.variant]++
			continue
		}
		wrong = append(wrong, x.String())
		run.kinds[x.String()]++
	}
	if len(wrong) > 0 {
		run.differences++
		if run.shown++; run.shown <= *updateShown {
			t.Errorf("%s: %s\n%s", which, strings.Join(wrong, "; "), s)
		}
	} else if len(findings) > 0 {
		run.accepted++
	}
	f.level(t, s.after[atOurs], s.before)
	return s
}
