package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/pslzone"
)

// A subject is a zone to measure with: how to write it, and what to ask of it.
type subject struct {
	name   string // as the tables call it
	origin string // fully qualified
	about  string // what is in it, for people
	signed bool   // it is signed before it is served, and asked with DO
	bare   bool   // queries for it are not timed
	large  bool   // restarts and transfers are timed with it
	fair   bool   // what the chain takes among a flood is timed with it, and what a victim gets
	write  func(io.Writer) error
	// ask gives a question of a kind, or of the nearest kind that the zone has.
	ask func(kind, *rand.Rand) question
}

// file writes the master file of the subject.
func (s subject) file(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	b := bufio.NewWriterSize(f, 1<<16)
	if err := s.write(b); err != nil {
		return err
	}
	return b.Flush()
}

// apex is the start of every master file here. It has four owners.
const apex = `$ORIGIN %s
$TTL 3600
@	SOA	ns1 hostmaster 2026112301 7200 900 1209600 300
@	NS	ns1
@	NS	ns2
@	MX	10 mail
ns1	A	192.0.2.1
ns2	A	192.0.2.2
mail	A	192.0.2.3
`

// apexOwners is the number of owners in apex.
const apexOwners = 4

// The owners of a mixed zone come in groups of 20.
const (
	groupSize = 20
	hosts     = 12 // 0 to 11 have A
	dual      = 12 // 12 to 14 have A and AAAA
	mailAt    = 15 // has A, MX and TXT
	aliasAt   = 16 // has CNAME to the first host of the group
	cutAt     = 17 // is delegated to a server in it, with glue, and one outside; 18 is the owner of that glue
	wildAt    = 19 // has a wildcard below it, with A
)

// mixed is an ordinary zone: of 20 owners, 12 have an A record, three A and AAAA,
// one A, MX and TXT, one CNAME; one is a delegation and one its glue, one a
// wildcard. names is rounded down to such groups; those of the apex come on top.
func mixed(name, origin string, names int) subject {
	groups := max(1, names/groupSize)
	return subject{
		name:   name,
		origin: origin,
		about:  fmt.Sprintf("%d names: hosts, aliases, mail domains, delegations, wildcards", groups*groupSize+apexOwners),
		write: func(w io.Writer) error {
			if _, err := fmt.Fprintf(w, apex, origin); err != nil {
				return err
			}
			for g := range groups {
				if _, err := w.Write(group(g)); err != nil {
					return err
				}
			}
			return nil
		},
		ask: func(k kind, r *rand.Rand) question {
			at := func(slot int) string { return label(r.IntN(groups)*groupSize+slot) + "." + origin }
			switch k {
			case kindAlias:
				return question{at(aliasAt), dns.TypeA}
			case kindAAAA:
				return question{at(dual + r.IntN(mailAt-dual)), dns.TypeAAAA}
			case kindMX:
				return question{at(mailAt), dns.TypeMX}
			case kindTXT:
				return question{at(mailAt), dns.TypeTXT}
			case kindNXDomain:
				return missing(origin, r)
			case kindReferral:
				return question{"www." + at(cutAt), dns.TypeA}
			case kindWildcard:
				return question{label(r.IntN(1<<20)) + "." + at(wildAt), dns.TypeA}
			default:
				return question{at(r.IntN(mailAt + 1)), dns.TypeA}
			}
		},
	}
}

// group gives the records of one group of a mixed zone.
func group(g int) []byte {
	var b []byte
	name := func(slot int) string { return label(g*groupSize + slot) }
	for slot := range aliasAt {
		i := g*groupSize + slot
		b = fmt.Appendf(b, "%s\tA\t10.%d.%d.%d\n", name(slot), i>>16&255, i>>8&255, i&255)
		if slot >= dual && slot < mailAt {
			b = fmt.Appendf(b, "%s\tAAAA\t2001:db8::%x:%x\n", name(slot), i>>16, i&0xffff)
		}
	}
	b = fmt.Appendf(b, "%s\tMX\t10 mail\n", name(mailAt))
	b = fmt.Appendf(b, "%s\tTXT\t\"v=spf1 mx -all\"\n", name(mailAt))
	b = fmt.Appendf(b, "%s\tCNAME\t%s\n", name(aliasAt), name(0))
	b = fmt.Appendf(b, "%[1]s\tNS\tns.%[1]s\n%[1]s\tNS\tns.example.net.\nns.%[1]s\tA\t192.0.2.4\n", name(cutAt))
	return fmt.Appendf(b, "*.%s\tA\t192.0.2.5\n", name(wildAt))
}

// delegations is the zone of a registry: n delegations, each to a server in it,
// with glue, and to one outside; 3n records at 2n owners, and the apex.
func delegations(name, origin string, n int) subject {
	cut := func(i int) string { return fmt.Sprintf("d%07d", i) }
	return subject{
		name:   name,
		origin: origin,
		about:  fmt.Sprintf("%d delegations, %d records; what is not NXDOMAIN is a referral", n, 3*n+7),
		write: func(w io.Writer) error {
			if _, err := fmt.Fprintf(w, apex, origin); err != nil {
				return err
			}
			for i := range n {
				provider := uint64(i) * scatter >> 40
				_, err := fmt.Fprintf(w, "%[1]s\tNS\tns1.%[1]s\n%[1]s\tNS\tns%[2]d.dns%03[3]d.example.net.\nns1.%[1]s\tA\t10.%[4]d.%[5]d.%[6]d\n",
					cut(i), 1+provider%4, provider%500, i>>16&255, i>>8&255, i&255)
				if err != nil {
					return err
				}
			}
			return nil
		},
		ask: func(k kind, r *rand.Rand) question {
			if k == kindNXDomain {
				return missing(origin, r)
			}
			owner := cut(r.IntN(n)) + "." + origin
			if r.IntN(2) == 0 {
				owner = "www." + owner
			}
			return question{owner, k.qtype()}
		},
	}
}

// publicSuffixes is the zone of real names that pslzone makes of a list.
func publicSuffixes(list string) (subject, error) {
	var text strings.Builder
	if err := pslzone.Write(&text, strings.NewReader(list), pslzone.Origin); err != nil {
		return subject{}, err
	}
	var cuts, texts, wilds, servers []string
	p := dns.NewZoneParser(strings.NewReader(text.String()), pslzone.Origin, "")
	last := ""
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		owner := rr.Header().Name
		wild, isWild := strings.CutPrefix(owner, "*.")
		switch rr.Header().Rrtype {
		case dns.TypeNS:
			if owner != pslzone.Origin && owner != last {
				cuts = append(cuts, owner)
				last = owner
			}
		case dns.TypeTXT:
			texts = append(texts, owner)
		case dns.TypeA:
			if isWild {
				wilds = append(wilds, wild)
			}
		case dns.TypeAAAA:
			if dns.CountLabel(owner) == dns.CountLabel(pslzone.Origin)+1 {
				servers = append(servers, owner)
			}
		}
	}
	if err := p.Err(); err != nil {
		return subject{}, err
	}
	if len(cuts)*len(texts)*len(wilds)*len(servers) == 0 {
		return subject{}, fmt.Errorf("the public suffix list gives %d delegations, %d texts, %d wildcards and %d servers", len(cuts), len(texts), len(wilds), len(servers))
	}
	pick := func(of []string, r *rand.Rand) string { return of[r.IntN(len(of))] }
	return subject{
		name:   "publicsuffix",
		origin: pslzone.Origin,
		about:  fmt.Sprintf("the public suffix list: %d delegations with real names", len(cuts)),
		write: func(w io.Writer) error {
			_, err := io.WriteString(w, text.String())
			return err
		},
		ask: func(k kind, r *rand.Rand) question {
			switch k {
			case kindTXT:
				return question{pick(texts, r), dns.TypeTXT}
			case kindAAAA:
				return question{pick(servers, r), dns.TypeAAAA}
			case kindNXDomain:
				return missing(pslzone.Origin, r)
			case kindWildcard:
				return question{label(r.IntN(1<<20)) + "." + pick(wilds, r), dns.TypeA}
			default:
				return question{"www." + pick(cuts, r), k.qtype()}
			}
		},
	}, nil
}

// tiny is the least zone there is, to see what starting a server costs alone.
func tiny() subject {
	return subject{
		name:   "tiny",
		origin: "tiny.example.",
		about:  "the apex and three hosts: what it costs to start at all",
		bare:   true,
		write: func(w io.Writer) error {
			_, err := fmt.Fprintf(w, apex, "tiny.example.")
			return err
		},
		ask: func(k kind, r *rand.Rand) question {
			if k == kindNXDomain {
				return missing("tiny.example.", r)
			}
			return question{"mail.tiny.example.", dns.TypeA}
		},
	}
}

// missing asks for a name that no zone here has: no label of theirs has a "-"
// followed by digits.
func missing(origin string, r *rand.Rand) question {
	return question{label(r.IntN(1<<20)) + "-" + strconv.Itoa(r.IntN(1<<20)) + "." + origin, dns.TypeA}
}

// scatter is 2^64 divided by the golden ratio: products with it look random.
const scatter = 0x9e3779b97f4a7c15

// label gives the i-th label: three to ten letters and the number, so no two are
// the same and their order is not that of the numbers.
func label(i int) string {
	h := (uint64(i) + 1) * scatter
	h ^= h >> 29
	h *= scatter
	b := make([]byte, 0, 20)
	for range 3 + h>>60&7 {
		h ^= h >> 31
		b = append(b, byte('a'+h%26))
		h = h/26 | h<<59
	}
	return string(strconv.AppendInt(b, int64(i), 10))
}
