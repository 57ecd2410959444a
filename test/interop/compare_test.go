package interop

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// peers is a set of peers.
type peers uint8

const (
	named peers = 1 << iota
	knotd
	nsd
)

// all lists the peers in the order in which their replies are kept.
var all = []peers{named, knotd, nsd}

func (p peers) String() string {
	var names []string
	for i, name := range []string{"named", "knotd", "nsd"} {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}

// aspects is a set of parts of a reply that are compared one by one.
type aspects uint8

const (
	rcode aspects = 1 << iota
	aa
	tc
	header
	question
	answer
	authority
	additional

	flags    = aa | tc | header
	sections = answer | authority | additional
	anything = rcode | flags | question | sections
)

var aspectNames = []struct {
	aspect aspects
	name   string
}{
	{rcode, "rcode"},
	{aa, "AA"},
	{tc, "TC"},
	{header, "header"},
	{question, "question"},
	{answer, "answer"},
	{authority, "authority"},
	{additional, "additional"},
}

// agree reports whether two replies are equal in an aspect. The sections of a truncated reply count for nothing
// (RFC 2181 §9).
func agree(a, b *reply, in aspects) bool {
	switch in {
	case rcode:
		return a.rcode == b.rcode
	case aa:
		return a.aa == b.aa
	case tc:
		return a.tc == b.tc
	case header:
		return a.header == b.header
	case question:
		return a.question == b.question
	}
	if a.tc || b.tc {
		return true
	}
	switch in {
	case answer:
		return slices.Equal(a.answer, b.answer)
	case authority:
		return slices.Equal(a.authority, b.authority)
	default:
		return slices.Equal(a.additional, b.additional)
	}
}

// A situation is a question with what the peers reply to it.
type situation struct {
	zone  *content
	q     query
	named *reply
	knotd *reply
	nsd   *reply
}

// reply returns the reply of one peer.
func (s *situation) reply(p peers) *reply {
	switch p {
	case named:
		return s.named
	case knotd:
		return s.knotd
	default:
		return s.nsd
	}
}

// disagree returns whether the peers differ in an aspect.
func (s *situation) disagree(in aspects) bool {
	return !agree(s.named, s.knotd, in) || !agree(s.named, s.nsd, in) || !agree(s.knotd, s.nsd, in)
}

// explain returns the first variant of the table that speaks of an aspect in this situation, or nil.
func (s *situation) explain(in aspects) *variant {
	for i := range variants {
		if v := &variants[i]; v.aspects&in != 0 && v.when(s) {
			return v
		}
	}
	return nil
}

// judge compares our reply with the peers'. It returns what is wrong, nothing when all is well, and the variants by
// which a difference was accepted.
func (s *situation) judge(ours *reply) (wrong []string, used []*variant) {
	if limit := s.q.limit(); ours.size > limit {
		wrong = append(wrong, fmt.Sprintf("%d octets where %d fit", ours.size, limit))
	}
	for _, a := range aspectNames {
		if !s.disagree(a.aspect) && agree(ours, s.named, a.aspect) && agree(ours, s.knotd, a.aspect) && agree(ours, s.nsd, a.aspect) {
			continue
		}
		v := s.explain(a.aspect)
		switch {
		case v == nil && s.disagree(a.aspect):
			wrong = append(wrong, a.name+": the peers disagree and no variant says who is right")
			continue
		case v == nil:
			wrong = append(wrong, a.name+": differs from all peers")
			continue
		}
		if !slices.Contains(used, v) {
			used = append(used, v)
		}
		if v.ours != nil {
			if text := v.ours(s, ours); text != "" {
				wrong = append(wrong, fmt.Sprintf("%s: %s (variant %q)", a.name, text, v.name))
			}
			continue
		}
		right := false
		for _, p := range all {
			right = right || v.follow&p != 0 && agree(ours, s.reply(p), a.aspect)
		}
		if !right {
			wrong = append(wrong, fmt.Sprintf("%s: should be as of %v (variant %q)", a.name, v.follow, v.name))
		}
	}
	return wrong, used
}

// difference describes a failed comparison for a reader: who said what.
func (s *situation) difference(ours *reply, wrong []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v: %s\n", s.zone.origin, s.q, strings.Join(wrong, "; "))
	show := func(name string, r *reply) {
		if r == nil {
			return
		}
		fmt.Fprintf(&b, "\t%-6s %s aa=%t tc=%t %d octets; %s\n", name, dns.RcodeToString[r.rcode], r.aa, r.tc, r.size, r.header)
		for _, section := range []struct {
			name string
			rrs  section
		}{{"answer", r.answer}, {"authority", r.authority}, {"additional", r.additional}} {
			for i, rr := range section.rrs {
				if i == 12 {
					fmt.Fprintf(&b, "\t\t%s: %d more\n", section.name, len(section.rrs)-i)
					break
				}
				rr = strings.ReplaceAll(rr, "\t", " ")
				if len(rr) > 160 {
					rr = rr[:160] + "…"
				}
				fmt.Fprintf(&b, "\t\t%s: %s\n", section.name, rr)
			}
		}
	}
	show("ours", ours)
	show("named", s.named)
	show("knotd", s.knotd)
	show("nsd", s.nsd)
	return b.String()
}
