package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// model is a policy as words, which are read at each question. It knows names in
// lower case, with a final dot and without escapes only.
type model []string

type modelClient struct {
	key, addr, proto string // "" if it is not known
}

// decide gives the number of the line that decides, from 0, and -1 if none fits.
func (m model) decide(c modelClient, origin, owner, typ string) (granted bool, limit string, line int) {
	if !m.atOrBelow(owner, origin) {
		return false, "", -1
	}
	for i, line := range m {
		words := strings.Fields(line)
		if words[0] != "grant" && words[0] != "deny" || words[0] == "grant" && !m.admits(c) {
			continue
		}
		id, rest := m.identity(words[1:])
		rule, rest := rest[0], rest[1:]
		name := ""
		if slices.Contains([]string{"name", "subdomain", "wildcard"}, rule) {
			name, rest = rest[0], rest[1:]
		}
		limit = "0"
		if n := len(rest); n >= 2 && rest[n-2] == "max" {
			limit, rest = rest[n-1], rest[:n-2]
		}
		if m.hasType(rest, typ) && m.fits(id, rule, name, c, owner) {
			return words[0] == "grant", limit, i
		}
	}
	return false, "0", -1
}

func (m model) admits(c modelClient) bool {
	for _, line := range m {
		words := strings.Fields(line)
		if words[0] == "net" && !m.inside(words[1:], c.addr) || words[0] == "proto" && !slices.Contains(words[1:], c.proto) {
			return false
		}
	}
	return true
}

// identity gives the words of an identity, and what follows.
func (m model) identity(words []string) (id, rest []string) {
	n := 1
	if words[0] == "net" {
		for strings.ContainsAny(words[n][:1], "0123456789") && words[n] != "6to4-self" {
			n++
		}
	}
	return words[:n], words[n:]
}

func (m model) hasType(words []string, typ string) bool {
	switch {
	case len(words) == 0:
		return !slices.Contains([]string{"SOA", "NS", "RRSIG", "NSEC", "NSEC3"}, typ)
	case words[0] == "ANY":
		return !slices.Contains([]string{"NSEC", "NSEC3"}, typ)
	default:
		return slices.Contains(words, typ)
	}
}

func (m model) fits(id []string, rule, name string, c modelClient, owner string) bool {
	if rule == "tcp-self" || rule == "6to4-self" {
		source := m.source(rule, c)
		return source != "" && owner == source && m.called(id[0], source)
	}
	if id[0] == "net" {
		if !m.inside(id[1:], c.addr) {
			return false
		}
	} else if !m.called(id[0], c.key) {
		return false
	}
	switch rule {
	case "name":
		return owner == name
	case "subdomain":
		return m.atOrBelow(owner, name)
	case "wildcard":
		return owner != "." && strings.HasSuffix(owner, name[1:])
	case "self":
		return owner == c.key
	case "selfsub":
		return m.atOrBelow(owner, c.key)
	case "selfwild":
		return m.below(owner, c.key)
	default:
		return rule == "zonesub"
	}
}

func (m model) below(name, other string) bool {
	return other == "." && name != "." || strings.HasSuffix(name, "."+other)
}

func (m model) atOrBelow(name, other string) bool { return name == other || m.below(name, other) }

// called tells whether the identity, which is no network, calls the name.
func (m model) called(id, name string) bool {
	switch {
	case name == "":
		return false
	case id == "any", id == "*", id == "*.":
		return true
	case id[0] == '*':
		return strings.HasSuffix(name, id[1:])
	default:
		return id == name
	}
}

// inside tells whether the address is in one of the networks, all of whose
// prefixes end at an octet or a group.
func (m model) inside(nets []string, addr string) bool {
	addr = strings.TrimPrefix(addr, "::ffff:")
	return addr != "" && slices.ContainsFunc(nets, func(n string) bool {
		start, isNet := map[string]string{"192.0.2.0/24": "192.0.2.", "10.0.0.0/8": "10.", "2001:db8::/32": "2001:db8:"}[n]
		return isNet && strings.HasPrefix(addr, start) || !isNet && n == addr
	})
}

// source gives the name of the source address, or "".
func (m model) source(rule string, c modelClient) string {
	if c.addr == "" || c.proto != "tcp" && c.proto != "tls" {
		return ""
	}
	octets := strings.Split(strings.TrimPrefix(c.addr, "::ffff:"), ".")
	four := len(octets) == 4
	if rule == "tcp-self" && four {
		slices.Reverse(octets)
		return strings.Join(octets, ".") + ".in-addr.arpa."
	}
	digits := ""
	if four {
		digits = "2002"
		for _, o := range octets {
			n, _ := strconv.Atoi(o)
			digits += fmt.Sprintf("%02x", n)
		}
	} else {
		digits = strings.ReplaceAll(netip.MustParseAddr(c.addr).StringExpanded(), ":", "")
	}
	if rule == "6to4-self" {
		digits = digits[:12]
	}
	list := strings.Split(digits, "")
	slices.Reverse(list)
	return strings.Join(list, ".") + ".ip6.arpa."
}

var (
	modelAddrs = []string{"", "192.0.2.1", "192.0.3.1", "10.20.30.40", "::ffff:192.0.2.1", "2001:db8::1", "2001:db9::1"}
	modelNames = []string{
		"example.org.", "k.example.org.", "a.k.example.org.", "b.a.k.example.org.", "xk.example.org.", "www.example.org.",
		"k.dhcp.", "dhcp.", "org.", ".", "*.k.example.org.", "*.dhcp.",
	}
	modelTypes = []string{"A", "NS", "SOA", "PTR", "TXT", "RRSIG", "NSEC", "DNSKEY", "NSEC3"}
)

// modelOwners are names and those of the source addresses.
var modelOwners = func() []string {
	list := slices.Clone(modelNames)
	for _, addr := range modelAddrs[1:] {
		c := modelClient{addr: addr, proto: "tcp"}
		list = append(list, model{}.source("tcp-self", c), model{}.source("6to4-self", c))
	}
	return list
}()

func drawNets(t *rapid.T) []string {
	return rapid.SliceOfN(rapid.SampledFrom([]string{"192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32", "192.0.3.1", "2001:db9::1"}), 1, 2).Draw(t, "nets")
}

func drawLine(t *rapid.T) string {
	words := []string{rapid.SampledFrom([]string{"grant", "grant", "deny"}).Draw(t, "verb")}
	rules := []string{"name", "subdomain", "zonesub", "wildcard", "self", "selfsub", "selfwild", "tcp-self", "6to4-self"}
	if rapid.IntRange(0, 3).Draw(t, "net") == 0 {
		words = append(append(words, "net"), drawNets(t)...)
		rules = rules[:4]
	} else {
		sets := []string{"any", "*", "*.", "*.org.", "*.arpa.", "*.2.0.192.in-addr.arpa."}
		words = append(words, rapid.OneOf(rapid.SampledFrom(sets), rapid.SampledFrom(modelOwners)).Draw(t, "identity"))
	}
	rule := rapid.SampledFrom(rules).Draw(t, "rule")
	words = append(words, rule)
	switch rule {
	case "name", "subdomain":
		words = append(words, rapid.SampledFrom(modelOwners).Draw(t, "name"))
	case "wildcard":
		words = append(words, strings.Replace("*."+rapid.SampledFrom(modelOwners).Draw(t, "name"), "..", ".", 1))
	}
	switch rapid.IntRange(0, 2).Draw(t, "types") {
	case 0:
		words = append(words, rapid.SliceOfN(rapid.SampledFrom(modelTypes), 1, 4).Draw(t, "list")...)
	case 1:
		words = append(words, "ANY")
	}
	if words[0] == "grant" && rapid.Bool().Draw(t, "limited") {
		words = append(words, "max", strconv.Itoa(rapid.IntRange(1, 9).Draw(t, "max")))
	}
	return strings.Join(words, " ")
}

// drawCase writes some letters as capitals.
func drawCase(t *rapid.T, name string) string {
	b := []byte(name)
	for i, upper := range rapid.SliceOfN(rapid.Bool(), 0, len(b)).Draw(t, "capitals") {
		if upper {
			b[i] = strings.ToUpper(name)[i]
		}
	}
	return string(b)
}

// A policy says what its lines say when they are read word by word.
func TestDecideAsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m model
		for range rapid.IntRange(0, 6).Draw(t, "lines") {
			m = append(m, drawLine(t))
		}
		if rapid.IntRange(0, 4).Draw(t, "net line") == 0 {
			m = append(m, "net "+strings.Join(drawNets(t), " "))
		}
		if rapid.IntRange(0, 4).Draw(t, "proto line") == 0 {
			m = append(m, rapid.SampledFrom([]string{"proto tcp", "proto udp tls"}).Draw(t, "proto"))
		}
		b := NewBuilder(typeOf)
		for i, line := range m {
			if err := b.Line(strings.Fields(line), strconv.Itoa(i)); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
		p := b.Policy()
		for range 20 {
			mc := modelClient{
				rapid.SampledFrom(append([]string{""}, modelNames...)).Draw(t, "key"),
				rapid.SampledFrom(modelAddrs).Draw(t, "addr"),
				rapid.SampledFrom([]string{"", "udp", "tcp", "tls"}).Draw(t, "proto"),
			}
			c := Client{Proto: map[string]Proto{"": 0, "udp": UDP, "tcp": TCP, "tls": TLS}[mc.proto]}
			if mc.key != "" {
				c.Key = dnsname.MustParse(drawCase(t, mc.key))
			}
			if mc.addr != "" {
				c.Addr = netip.MustParseAddr(mc.addr)
			}
			owner := rapid.SampledFrom(modelOwners).Draw(t, "owner")
			if source := m.source(rapid.SampledFrom([]string{"tcp-self", "6to4-self"}).Draw(t, "source"), mc); source != "" && rapid.Bool().Draw(t, "own") {
				owner = source
			}
			origin := rapid.SampledFrom([]string{".", "org.", "arpa.", "example.org.", "k.example.org."}).Draw(t, "origin")
			typ := rapid.SampledFrom(modelTypes).Draw(t, "type")

			granted, limit, line := m.decide(mc, origin, owner, typ)
			v := p.Decide(c, dnsname.MustParse(drawCase(t, origin)), dnsname.MustParse(drawCase(t, owner)), typeNumbers[typ])
			at := -1
			if v.Line.Place != "" {
				at, _ = strconv.Atoi(v.Line.Place)
			}
			if v.Granted != granted || at != line || granted && strconv.Itoa(v.Max) != limit {
				t.Fatalf("%+v, %s %s in %s:\n%s\ngot %+v, want %v by line %d with limit %s",
					mc, owner, typ, origin, strings.Join(m, "\n"), v, granted, line, limit)
			}
			if granted && !p.Knows(c) {
				t.Fatalf("%+v is granted %s %s, and not known:\n%s", mc, owner, typ, strings.Join(m, "\n"))
			}
			for l := range p.Outside(dnsname.MustParse(origin)) {
				if l == v.Line {
					t.Fatalf("%s is said to fit no name of %s, and fits %s", l.Text, origin, owner)
				}
			}
		}
	})
}
