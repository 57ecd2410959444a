package interop

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// A mode is how a question is sent.
type mode struct {
	name    string
	network string
	size    uint16 // EDNS UDP size; 0: no EDNS
	do      bool
}

var modes = []mode{
	{name: "udp", network: "udp"},
	{name: "edns", network: "udp", size: 4096},
	{name: "do", network: "udp", size: 1232, do: true},
	{name: "tcp", network: "tcp"},
	{name: "tcpdo", network: "tcp", size: 1232, do: true},
}

// A query is a question and how it is sent.
type query struct {
	name  string
	qtype uint16
	mode  *mode
}

func (q query) String() string {
	return fmt.Sprintf("%s %s [%s]", q.name, dns.Type(q.qtype), q.mode.name)
}

// limit returns how large a reply may be, octets: what the client asks for and no more than 1232 over UDP.
func (q query) limit() int {
	switch {
	case q.mode.network == "tcp":
		return dns.MaxMsgSize
	case q.mode.size == 0:
		return dns.MinMsgSize
	default:
		return min(int(q.mode.size), 1232)
	}
}

func (q query) pack() ([]byte, error) {
	m := new(dns.Msg)
	m.Question = []dns.Question{{Name: q.name, Qtype: q.qtype, Qclass: dns.ClassINET}}
	if q.mode.size != 0 {
		m.SetEdns0(q.mode.size, q.mode.do)
	}
	return m.Pack()
}

// content is what the tests know of a zone.
type content struct {
	origin string
	rrs    map[string][]dns.RR // owner name in lower case → RRs
	names  []string            // owner names as written first, sorted
	exists map[string]bool     // owner names and empty non-terminals in lower case
}

// readContent transfers a zone from a server. No parser of ours or of miekg/dns has a say in what is asked then.
func readContent(t testing.TB, z server.Zone, from *server.Server) *content {
	t.Helper()
	c := &content{origin: dns.Fqdn(strings.ToLower(z.Origin)), rrs: map[string][]dns.RR{}, exists: map[string]bool{}}
	for _, rr := range transfer(t, z, from) {
		key := strings.ToLower(rr.Header().Name)
		if c.rrs[key] == nil {
			c.names = append(c.names, rr.Header().Name)
		}
		c.rrs[key] = append(c.rrs[key], rr)
		for n := range dns.CountLabel(key) - dns.CountLabel(c.origin) + 1 {
			c.exists[ancestor(key, n)] = true
		}
	}
	slices.Sort(c.names)
	return c
}

// types returns the types at a name, each once.
func (c *content) types(name string) []uint16 {
	var types []uint16
	for _, rr := range c.rrs[strings.ToLower(name)] {
		if !slices.Contains(types, rr.Header().Rrtype) {
			types = append(types, rr.Header().Rrtype)
		}
	}
	return types
}

// rrset returns the RRs of a type at a name.
func (c *content) rrset(name string, rrtype uint16) []dns.RR {
	var rrs []dns.RR
	for _, rr := range c.rrs[strings.ToLower(name)] {
		if rr.Header().Rrtype == rrtype {
			rrs = append(rrs, rr)
		}
	}
	return rrs
}

// hashed reports whether a name is the owner of an NSEC3 RR, or below one.
func (c *content) hashed(name string) bool {
	n := dns.CountLabel(name) - dns.CountLabel(c.origin)
	return n > 0 && len(c.rrset(ancestor(name, n-1), dns.TypeNSEC3)) > 0
}

// encloser returns the closest encloser of a name: the name or its nearest ancestor that owns RRs or has names below it; ""
// for names outside of the zone.
func (c *content) encloser(name string) string {
	name = strings.ToLower(name)
	for n := range dns.CountLabel(name) - dns.CountLabel(c.origin) + 1 {
		if up := ancestor(name, n); c.exists[up] {
			return up
		}
	}
	return ""
}

// usual are the types asked of every name of a zone; meta types that ask for more than one RRset are among them.
var usual = []uint16{
	dns.TypeA, dns.TypeNS, dns.TypeCNAME, dns.TypeSOA, dns.TypePTR, dns.TypeMX, dns.TypeTXT, dns.TypeAAAA, dns.TypeSRV,
	dns.TypeNAPTR, dns.TypeDNAME, dns.TypeDS, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDNSKEY, dns.TypeSVCB, dns.TypeHTTPS, dns.TypeCAA, dns.TypeANY, 65280,
}

// telling are the types asked of names made up: each takes another way through the lookup.
var telling = []uint16{dns.TypeA, dns.TypeTXT, dns.TypeNS, dns.TypeCNAME, dns.TypeDS, dns.TypeANY, dns.TypeDNAME}

// most is of how many names of a large zone questions are made, about.
const most = 200

// generate makes the questions about a zone; the same for the same zone each time.
func generate(c *content) []query {
	r := rand.New(rand.NewPCG(1, uint64(len(c.names))))
	var out []query
	seen := map[string]bool{}
	add := func(name string, types []uint16, ms []mode) {
		if _, ok := dns.IsDomainName(name); !ok || wireLength(name) > 255 || seen[name] {
			return
		}
		seen[name] = true
		for _, qtype := range types {
			for i := range ms {
				out = append(out, query{name: name, qtype: qtype, mode: &ms[i]})
			}
		}
	}
	var names []string
	hashed := 0
	for i, name := range c.names {
		if i%(1+len(c.names)/most) != 0 {
			continue
		}
		if c.hashed(name) { // all of a kind: a few will do
			if hashed++; hashed > 5 {
				continue
			}
		}
		names = append(names, name)
	}
	for _, name := range names {
		types := slices.Clone(usual)
		if len(c.rrset(c.origin, dns.TypeNSEC3PARAM)) > 0 {
			types = append(types, dns.TypeNSEC3, dns.TypeNSEC3PARAM)
		}
		for _, t := range c.types(name) {
			if !slices.Contains(types, t) {
				types = append(types, t)
			}
		}
		add(name, types, modes)
	}
	some := []mode{modes[0], modes[2], modes[4]}
	for _, name := range names {
		// the types at the name, which a wildcard may give to others
		types := slices.Clone(telling)
		for _, t := range c.types(name) {
			if !slices.Contains(types, t) && t != dns.TypeSOA && t != dns.TypeRRSIG {
				types = append(types, t)
			}
		}
		labels := dns.SplitDomainName(name)
		for i := 1; i < len(labels); i++ { // ancestors: empty non-terminals, up to names above the zone
			parent := ancestor(name, i)
			if dns.IsSubDomain(c.origin, parent) {
				add(parent, types, modes)
			} else {
				add(parent, []uint16{dns.TypeA}, some)
			}
		}
		add(flipCase(name), types, some)
		add(below(name, randomLabel(r)), types, some)
		add(below(name, "*"), types, some)
		add(below(name, randomLabel(r), randomLabel(r)), types, some[1:2])
		add(below(name, randomLabel(r), "*"), types, some[1:2])
		if len(labels) > dns.CountLabel(c.origin) {
			parent := ancestor(name, 1)
			add(below(parent, randomLabel(r)), types, some)
			add(below(parent, labels[0]+"0"), types, some[1:2]) // the next name in canonical order, or nearly
			add(below(name, "\\000"), types, some[1:2])
		}
		if room := 255 - wireLength(name); room > 2 { // as long as can be: DNAME substitution overflows
			add(longLabels(room)+strings.TrimPrefix(name, "."), []uint16{dns.TypeA, dns.TypeCNAME}, some)
		}
	}
	return out
}

func randomLabel(r *rand.Rand) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	b := make([]byte, 1+r.IntN(8))
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

// longLabels returns labels that take n octets in wire form; n > 2.
func longLabels(n int) string {
	var b strings.Builder
	for n > 0 {
		size := min(n, 64)
		if n-size == 1 { // a single octet left would be no label
			size--
		}
		b.WriteString(strings.Repeat("x", size-1) + ".")
		n -= size
	}
	return b.String()
}

// flipCase changes the case of every other letter.
func flipCase(name string) string {
	b := []byte(name)
	for i := 0; i < len(b); i += 2 {
		if b[i]|0x20 >= 'a' && b[i]|0x20 <= 'z' {
			b[i] ^= 0x20
		}
	}
	return string(b)
}

// wireLength returns the length of a name in wire form, octets.
func wireLength(name string) int {
	n, err := dns.PackDomainName(name, make([]byte, 512), 0, nil, false)
	if err != nil {
		return 1 << 16
	}
	return n
}

// below returns the name with labels put before a name, the last one first.
func below(name string, labels ...string) string {
	for _, l := range labels {
		name = l + "." + strings.TrimPrefix(name, ".")
	}
	return name
}

// ancestor returns a name without its first n labels.
func ancestor(name string, n int) string {
	labels := dns.SplitDomainName(name)
	return dns.Fqdn(strings.Join(labels[min(n, len(labels)):], "."))
}
