package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/miekg/dns"
)

// kind is what a question is about.
type kind uint8

const (
	kindA        kind = iota
	kindAlias         // A at the owner of a CNAME
	kindAAAA          // AAAA
	kindMX            // MX
	kindTXT           // TXT
	kindNXDomain      // A of a name that does not exist
	kindReferral      // A of a name below a delegation
	kindWildcard      // A of a name that a wildcard stands for
)

// qtype gives the type that questions of the kind are for.
func (k kind) qtype() uint16 {
	switch k {
	case kindAAAA:
		return dns.TypeAAAA
	case kindMX:
		return dns.TypeMX
	case kindTXT:
		return dns.TypeTXT
	default:
		return dns.TypeA
	}
}

// String gives the words for the kind that the report uses.
func (k kind) String() string {
	return [...]string{"A", "A through a CNAME", "AAAA", "MX", "TXT", "NXDOMAIN", "referrals", "wildcards"}[k]
}

// shares are the parts of the mix, out of mixTotal.
var shares = [...]struct {
	kind kind
	part int
}{
	{kindA, 680},
	{kindAlias, 20},
	{kindAAAA, 100},
	{kindMX, 25},
	{kindTXT, 25},
	{kindNXDomain, 100},
	{kindReferral, 25},
	{kindWildcard, 25},
}

// mixTotal is the sum of the shares.
const mixTotal = 1000

// question is a question of class IN.
type question struct {
	name string // fully qualified
	typ  uint16
}

// mix gives n questions to s in the shares of the mix, in random order; the same
// seed gives the same questions. n is a multiple of 40, so that every share is
// exact.
func mix(s subject, n int, seed uint64) []question {
	r := rand.New(rand.NewPCG(seed, 1))
	qs := make([]question, 0, n)
	for _, share := range shares {
		for range n * share.part / mixTotal {
			qs = append(qs, s.ask(share.kind, r))
		}
	}
	r.Shuffle(len(qs), func(i, j int) { qs[i], qs[j] = qs[j], qs[i] })
	return qs
}

// udpSize is the size of UDP answers that queries offer to take.
const udpSize = 1232

// newQuery gives the message that asks a question, with EDNS.
func newQuery(q question, id uint16, do bool) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.typ)
	m.Id = id
	m.RecursionDesired = false
	m.SetEdns0(udpSize, do)
	return m
}

// pack gives the octets of that message.
func pack(q question, id uint16, do bool) ([]byte, error) {
	b, err := newQuery(q, id, do).Pack()
	if err != nil {
		return nil, fmt.Errorf("question %q: %w", q.name, err)
	}
	return b, nil
}

// stream gives the questions as messages with their lengths in front, as they
// stand in a stream (RFC 1035 §4.2.2) and as dnsperf -B reads them.
func stream(qs []question, do bool) ([]byte, error) {
	var b []byte
	for _, q := range qs {
		m, err := pack(q, 0, do)
		if err != nil {
			return nil, err
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(m)))
		b = append(b, m...)
	}
	return b, nil
}
