package policy

import (
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// typeNumbers are the types that tests know.
var typeNumbers = map[string]uint16{
	"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33, "OPT": 41,
	"RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "NSEC3": 50, "AXFR": 252, "ANY": 255, "TYPE0": 0, "TYPE65280": 65280,
}

func typeOf(name string) (uint16, bool) {
	typ, ok := typeNumbers[name]
	return typ, ok
}

// build makes the policy of lines; the place of a line is its number.
func build(t testing.TB, lines ...string) *Policy {
	t.Helper()
	b := NewBuilder(typeOf)
	for i, line := range lines {
		if err := b.Line(strings.Fields(line), place(i)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return b.Policy()
}

func place(line int) string { return "Corefile:" + string(rune('1'+line)) }

// client reads, say, "k.example.org. 192.0.2.1 udp"; "-" stands for what there is
// not.
func client(t testing.TB, s string) (c Client) {
	t.Helper()
	words := strings.Fields(s)
	if len(words) != 3 {
		t.Fatalf("client %q", s)
	}
	if words[0] != "-" {
		c.Key = dnsname.MustParse(words[0])
	}
	if words[1] != "-" {
		c.Addr = netip.MustParseAddr(words[1])
	}
	c.Proto = map[string]Proto{"-": 0, "udp": UDP, "tcp": TCP, "tls": TLS}[words[2]]
	return c
}

func TestDecide(t *testing.T) {
	const (
		unsigned = "- 192.0.2.1 tcp"
		signed   = "k.example.org. 192.0.2.1 udp"
		other    = "other. 192.0.2.1 udp"
		lan      = "- 10.1.2.3 udp"
		reverse  = "1.2.0.192.in-addr.arpa."
		nibbles  = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.f.e.e.b.8.b.d.0.1.0.0.2.ip6.arpa."
		stf      = "1.0.2.0.0.0.0.c.2.0.0.2.ip6.arpa." // 2002:c000:201::/48
		prefix   = "f.e.e.b.8.b.d.0.1.0.0.2.ip6.arpa." // 2001:db8:beef::/48
		own      = "k.example.org."
		www      = "www.example.org."
	)
	for _, tc := range []struct {
		name   string
		lines  []string
		client string
		owner  string
		typ    string
		want   string // the place of the line that grants it, - and that of the one that denies, "" for none
	}{
		{"no lines", nil, signed, www, "A", ""},

		{"key", []string{"grant k.example.org. zonesub"}, signed, www, "A", "1"},
		{"key without final dot", []string{"grant k.example.org zonesub"}, signed, www, "A", "1"},
		{"key in capitals", []string{"grant K.Example.ORG. zonesub"}, signed, www, "A", "1"},
		{"key signs in capitals (U39)", []string{"grant k.example.org. zonesub"}, "K.EXAMPLE.ORG. 192.0.2.1 udp", www, "A", "1"},
		{"another key", []string{"grant k.example.org. zonesub"}, other, www, "A", ""},
		{"nobody has signed (U15)", []string{"grant k.example.org. zonesub"}, unsigned, www, "A", ""},
		{"any key", []string{"grant any zonesub"}, other, www, "A", "1"},
		{"any key, and nobody has signed", []string{"grant any zonesub"}, unsigned, www, "A", ""},
		{"asterisk", []string{"grant * zonesub"}, other, www, "A", "1"},
		{"asterisk, and nobody has signed", []string{"grant * zonesub"}, unsigned, www, "A", ""},
		{"wildcard, one label", []string{"grant *.dhcp. zonesub"}, "a.dhcp. - udp", www, "A", "1"},
		{"wildcard, two labels", []string{"grant *.dhcp. zonesub"}, "b.a.dhcp. - udp", www, "A", "1"},
		{"wildcard is not the name itself", []string{"grant *.dhcp. zonesub"}, "dhcp. - udp", www, "A", ""},
		{"wildcard is below, at a label", []string{"grant *.dhcp. zonesub"}, "a.xdhcp. - udp", www, "A", ""},
		{"wildcard, and nobody has signed", []string{"grant *.dhcp. zonesub"}, unsigned, www, "A", ""},
		{"a key called any", []string{"grant any. zonesub"}, "any. - udp", www, "A", "1"},
		{"a key called any is no other", []string{"grant any. zonesub"}, other, www, "A", ""},
		{"a key like an address", []string{"grant 192.0.2.1. zonesub"}, "192.0.2.1. - udp", www, "A", "1"},

		{"network, unsigned", []string{"grant net 10.0.0.0/8 zonesub"}, lan, www, "A", "1"},
		{"network, signed", []string{"grant net 10.0.0.0/8 zonesub"}, "k. 10.1.2.3 udp", www, "A", "1"},
		{"outside of the network", []string{"grant net 10.0.0.0/8 zonesub"}, unsigned, www, "A", ""},
		{"outside of the network, signed", []string{"grant net 10.0.0.0/8 zonesub"}, signed, www, "A", ""},
		{"second network", []string{"grant net 192.0.2.9 10.0.0.0/8 2001:db8::/32 zonesub"}, lan, www, "A", "1"},
		{"one address", []string{"grant net 192.0.2.1 zonesub"}, unsigned, www, "A", "1"},
		{"another address", []string{"grant net 192.0.2.2 zonesub"}, unsigned, www, "A", ""},
		{"IPv4 in IPv6 form comes", []string{"grant net 10.0.0.0/8 zonesub"}, "- ::ffff:10.1.2.3 udp", www, "A", "1"},
		{"IPv4 in IPv6 form is written", []string{"grant net ::ffff:10.0.0.0/104 zonesub"}, lan, www, "A", "1"},
		{"IPv4 address in IPv6 form is written", []string{"grant net ::ffff:10.1.2.3 zonesub"}, lan, www, "A", "1"},
		{"IPv6 networks hold no IPv4 in IPv6 form", []string{"grant net ::/0 zonesub"}, "- ::ffff:10.1.2.3 udp", www, "A", ""},
		{"IPv6 zone", []string{"grant net fe80::/10 zonesub"}, "- fe80::1%eth0 udp", www, "A", "1"},
		{"address not known", []string{"grant net 0.0.0.0/0 ::/0 zonesub"}, "- - udp", www, "A", ""},
		{"bits behind the prefix", []string{"grant net 10.9.9.9/8 zonesub"}, lan, www, "A", "1"},

		{"name", []string{"grant any name www.example.org"}, signed, www, "A", "1"},
		{"name in other letters", []string{"grant any name WWW.example.org"}, signed, "www.EXAMPLE.org.", "A", "1"},
		{"name is not those below", []string{"grant any name www.example.org"}, signed, "a.www.example.org.", "A", ""},
		{"name of a wildcard", []string{"grant any name *.example.org"}, signed, www, "A", ""},
		{"name of a wildcard itself", []string{"grant any name *.example.org"}, signed, "*.example.org.", "A", "1"},
		{"subdomain at", []string{"grant any subdomain www.example.org"}, signed, www, "A", "1"},
		{"subdomain below", []string{"grant any subdomain www.EXAMPLE.org"}, signed, "b.a.www.example.org.", "A", "1"},
		{"subdomain beside", []string{"grant any subdomain www.example.org"}, signed, "xwww.example.org.", "A", ""},
		{"subdomain above", []string{"grant any subdomain www.example.org"}, signed, "example.org.", "A", ""},
		{"zonesub at the apex", []string{"grant any zonesub"}, signed, "example.org.", "A", "1"},
		{"zonesub outside of the zone", []string{"grant any zonesub"}, signed, "example.net.", "A", ""},
		{"subdomain that is greater than the zone", []string{"grant any subdomain org"}, signed, "example.net.org.", "A", ""},
		{"wildcard NAME, one label", []string{"grant any wildcard *.apps.example.org"}, signed, "a.apps.example.org.", "A", "1"},
		{"wildcard NAME, two labels", []string{"grant any wildcard *.apps.example.org"}, signed, "b.a.apps.example.org.", "A", "1"},
		{"wildcard NAME, itself", []string{"grant any wildcard *.apps.example.org"}, signed, "*.apps.example.org.", "A", "1"},
		{"wildcard NAME is not the name below it", []string{"grant any wildcard *.apps.example.org"}, signed, "apps.example.org.", "A", ""},
		{"wildcard NAME, other branch", []string{"grant any wildcard *.apps.example.org"}, signed, www, "A", ""},

		{"self", []string{"grant any self"}, signed, own, "A", "1"},
		{"self in other letters", []string{"grant any self"}, signed, "K.example.ORG.", "A", "1"},
		{"self is not those below", []string{"grant any self"}, signed, "a.k.example.org.", "A", ""},
		{"self is no other", []string{"grant any self"}, signed, www, "A", ""},
		{"self of another key", []string{"grant other. self"}, signed, own, "A", ""},
		{"self, and nobody has signed", []string{"grant any self"}, unsigned, www, "A", ""},
		{"selfsub at", []string{"grant *.example.org selfsub"}, signed, own, "A", "1"},
		{"selfsub below", []string{"grant *.example.org selfsub"}, signed, "b.a.k.example.org.", "A", "1"},
		{"selfsub beside", []string{"grant any selfsub"}, signed, "xk.example.org.", "A", ""},
		{"selfsub, and nobody has signed", []string{"grant any selfsub"}, unsigned, www, "A", ""},
		{"selfwild below (U43)", []string{"grant any selfwild"}, signed, "a.k.example.org.", "A", "1"},
		{"selfwild further below", []string{"grant any selfwild"}, signed, "b.a.k.example.org.", "A", "1"},
		{"selfwild is not the key itself (U43)", []string{"grant any selfwild"}, signed, own, "A", ""},
		{"selfwild, and nobody has signed", []string{"grant any selfwild"}, unsigned, www, "A", ""},

		{"tcp-self", []string{"grant any tcp-self"}, unsigned, reverse, "PTR", "1"},
		{"tcp-self over TLS", []string{"grant any tcp-self"}, "- 192.0.2.1 tls", reverse, "PTR", "1"},
		{"tcp-self over UDP (U41)", []string{"grant any tcp-self"}, "- 192.0.2.1 udp", reverse, "PTR", ""},
		{"tcp-self over who knows what", []string{"grant any tcp-self"}, "- 192.0.2.1 -", reverse, "PTR", ""},
		{"tcp-self without address", []string{"grant any tcp-self"}, "- - tcp", reverse, "PTR", ""},
		{"tcp-self, signed", []string{"grant any tcp-self"}, "k. 192.0.2.1 tcp", reverse, "PTR", "1"},
		{"tcp-self of another", []string{"grant any tcp-self"}, "- 192.0.2.2 tcp", reverse, "PTR", ""},
		{"tcp-self is not those below", []string{"grant any tcp-self"}, unsigned, "a." + reverse, "PTR", ""},
		{"tcp-self, IPv4 in IPv6 form", []string{"grant any tcp-self"}, "- ::ffff:192.0.2.1 tcp", reverse, "PTR", "1"},
		{"tcp-self, IPv6", []string{"grant any tcp-self"}, "- 2001:db8:beef::1 tcp", nibbles, "PTR", "1"},
		{"tcp-self, IPv6 in capitals", []string{"grant any tcp-self"}, "- 2001:db8:beef::1 tcp", strings.ToUpper(nibbles), "PTR", "1"},
		{"tcp-self, another IPv6", []string{"grant any tcp-self"}, "- 2001:db8:beef::2 tcp", nibbles, "PTR", ""},
		{"tcp-self of an asterisk", []string{"grant * tcp-self PTR max 1"}, unsigned, reverse, "PTR", "1"},
		{"tcp-self of a wildcard", []string{"grant *.2.0.192.in-addr.arpa tcp-self"}, unsigned, reverse, "PTR", "1"},
		{"tcp-self of another wildcard", []string{"grant *.3.0.192.in-addr.arpa tcp-self"}, unsigned, reverse, "PTR", ""},
		{"tcp-self of the name", []string{"grant 1.2.0.192.in-addr.arpa. tcp-self"}, unsigned, reverse, "PTR", "1"},
		{"tcp-self of another name", []string{"grant 2.2.0.192.in-addr.arpa. tcp-self"}, unsigned, reverse, "PTR", ""},
		{"tcp-self looks at no key", []string{"grant k. tcp-self"}, "k. 192.0.2.1 tcp", reverse, "PTR", ""},
		{"6to4-self, IPv4", []string{"grant any 6to4-self"}, unsigned, stf, "NS", ""},
		{"6to4-self, IPv4, type", []string{"grant any 6to4-self NS"}, unsigned, stf, "NS", "1"},
		{"6to4-self, IPv6", []string{"grant any 6to4-self"}, "- 2001:db8:beef::1 tls", prefix, "TXT", "1"},
		{"6to4-self, another prefix", []string{"grant any 6to4-self"}, "- 2001:db8:bee0::1 tcp", prefix, "TXT", ""},
		{"6to4-self of an address in the prefix", []string{"grant any 6to4-self"}, "- 2002:c000:201::7 tcp", stf, "TXT", "1"},
		{"6to4-self over UDP", []string{"grant any 6to4-self"}, "- 192.0.2.1 udp", stf, "TXT", ""},
		{"6to4-self of a wildcard", []string{"grant *.2.0.0.2.ip6.arpa 6to4-self"}, unsigned, stf, "TXT", "1"},
		{"6to4-self of another wildcard", []string{"grant *.1.0.0.2.ip6.arpa 6to4-self"}, unsigned, stf, "TXT", ""},

		{"no types: TXT", []string{"grant any zonesub"}, signed, www, "TXT", "1"},
		{"no types: a type without a name", []string{"grant any zonesub"}, signed, www, "TYPE65280", "1"},
		{"no types: DNSKEY", []string{"grant any zonesub"}, signed, www, "DNSKEY", "1"},
		{"no types: SOA", []string{"grant any zonesub"}, signed, www, "SOA", ""},
		{"no types: NS", []string{"grant any zonesub"}, signed, www, "NS", ""},
		{"no types: RRSIG", []string{"grant any zonesub"}, signed, www, "RRSIG", ""},
		{"no types: NSEC", []string{"grant any zonesub"}, signed, www, "NSEC", ""},
		{"no types: NSEC3", []string{"grant any zonesub"}, signed, www, "NSEC3", ""},
		{"ANY: A", []string{"grant any zonesub ANY"}, signed, www, "A", "1"},
		{"ANY: SOA", []string{"grant any zonesub any"}, signed, www, "SOA", "1"},
		{"ANY: NS", []string{"grant any zonesub ANY"}, signed, www, "NS", "1"},
		{"ANY: RRSIG", []string{"grant any zonesub ANY"}, signed, www, "RRSIG", "1"},
		{"ANY: NSEC", []string{"grant any zonesub ANY"}, signed, www, "NSEC", ""},
		{"ANY: NSEC3", []string{"grant any zonesub ANY"}, signed, www, "NSEC3", ""},
		{"ANY is not the type ANY", []string{"grant any zonesub ANY"}, signed, www, "ANY", ""},
		{"no types are not the type ANY", []string{"grant any zonesub"}, signed, www, "ANY", ""},
		{"nobody owns OPT", []string{"grant any zonesub ANY"}, signed, www, "OPT", ""},
		{"nobody owns type 0", []string{"grant any zonesub ANY"}, signed, www, "TYPE0", ""},
		{"types: first", []string{"grant any zonesub A aaaa"}, signed, www, "A", "1"},
		{"types: second, in small letters", []string{"grant any zonesub A aaaa"}, signed, www, "AAAA", "1"},
		{"types: another", []string{"grant any zonesub A AAAA"}, signed, www, "TXT", ""},
		{"types: SOA, RRSIG and NSEC by name", []string{"grant any zonesub SOA RRSIG NSEC"}, signed, www, "NSEC", "1"},

		{"deny before grant", []string{"deny any name www.example.org", "grant any zonesub"}, signed, www, "A", "-1"},
		{"deny before grant, another name", []string{"deny any name www.example.org", "grant any zonesub"}, signed, own, "A", "2"},
		{"grant before deny", []string{"grant any zonesub", "deny any name www.example.org"}, signed, www, "A", "1"},
		{"deny of types", []string{"deny any zonesub TXT", "grant any zonesub ANY"}, signed, www, "TXT", "-1"},
		{"deny of other types", []string{"deny any zonesub TXT", "grant any zonesub ANY"}, signed, www, "A", "2"},
		{"deny without types leaves NS", []string{"deny any zonesub", "grant any zonesub ANY"}, signed, www, "NS", "2"},
		{"deny of a network", []string{"deny net 192.0.2.0/24 zonesub", "grant any zonesub"}, signed, www, "A", "-1"},
		{"deny of another network", []string{"deny net 192.0.3.0/24 zonesub", "grant any zonesub"}, signed, www, "A", "2"},

		{"line net, inside", []string{"grant any zonesub", "net 10.0.0.0/8 192.0.2.0/24"}, signed, www, "A", "1"},
		{"line net, outside", []string{"grant any zonesub", "net 10.0.0.0/8"}, signed, www, "A", ""},
		{"line net narrows grants to networks", []string{"net 10.0.0.0/9", "grant net 10.0.0.0/8 zonesub"}, "- 10.128.0.0 udp", www, "A", ""},
		{"line net leaves deny", []string{"net 10.0.0.0/8", "deny any zonesub"}, signed, www, "A", "-2"},
		{"line proto", []string{"proto tcp tls", "grant any zonesub"}, "k. - tls", www, "A", "2"},
		{"line proto, another", []string{"proto tcp tls", "grant any zonesub"}, "k. - udp", www, "A", ""},
		{"line proto, none known", []string{"proto udp tcp tls", "grant any zonesub"}, "k. - -", www, "A", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			origin := dnsname.MustParse("Example.org.")
			if strings.HasSuffix(strings.ToLower(tc.owner), "arpa.") {
				origin = dnsname.MustParse("arpa.")
			}
			v := build(t, tc.lines...).Decide(client(t, tc.client), origin, dnsname.MustParse(tc.owner), typeNumbers[tc.typ])
			got := strings.TrimPrefix(v.Line.Place, "Corefile:")
			if !v.Granted && got != "" {
				got = "-" + got
			}
			if got != tc.want {
				t.Fatalf("decided by line %q, want %q: %+v", got, tc.want, v)
			}
		})
	}
}

func TestVerdictNamesTheLine(t *testing.T) {
	p := build(t,
		"deny net 192.0.2.66 2001:DB8::/32 zonesub",
		"grant DDNS.example.org subdomain Dyn.Example.org a AAAA max 3",
		"grant *.dhcp selfsub")
	for _, tc := range []struct {
		name, client, owner string
		want                Verdict
	}{
		{
			"denied", "ddns.example.org. 192.0.2.66 udp", "a.dyn.example.org.",
			Verdict{false, 0, Line{"deny net 192.0.2.66/32 2001:db8::/32 zonesub", "Corefile:1"}},
		},
		{
			"granted with a limit", "ddns.example.org. 192.0.2.1 udp", "a.dyn.example.org.",
			Verdict{true, 3, Line{"grant ddns.example.org. subdomain dyn.example.org. A AAAA max 3", "Corefile:2"}},
		},
		{"no line", "ddns.example.org. 192.0.2.1 udp", "www.example.org.", Verdict{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := p.Decide(client(t, tc.client), dnsname.MustParse("example.org."), dnsname.MustParse(tc.owner), 1)
			if got != tc.want {
				t.Fatalf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestKnows(t *testing.T) {
	for _, tc := range []struct {
		name   string
		lines  []string
		client string
		want   bool
	}{
		{"nothing is granted", []string{"deny any zonesub"}, "k. 192.0.2.1 tcp", false},
		{"key", []string{"grant k. name a."}, "k. 192.0.2.1 udp", true},
		{"another key", []string{"grant k. name a."}, "l. 192.0.2.1 udp", false},
		{"unsigned", []string{"grant any self", "grant k. name a."}, "- 192.0.2.1 udp", false},
		{"network", []string{"grant k. name a.", "grant net 192.0.2.0/24 zonesub"}, "- 192.0.2.1 udp", true},
		{"another network", []string{"grant net 192.0.2.0/24 zonesub"}, "k. 192.0.3.1 udp", false},
		{"tcp-self", []string{"grant *.2.0.192.in-addr.arpa tcp-self"}, "- 192.0.2.1 tcp", true},
		{"tcp-self over UDP", []string{"grant any tcp-self"}, "- 192.0.2.1 udp", false},
		{"tcp-self of other networks", []string{"grant *.2.0.192.in-addr.arpa tcp-self"}, "- 192.0.3.1 tcp", false},
		{"6to4-self", []string{"grant any 6to4-self"}, "- 2001:db8::1 tls", true},
		{"line net", []string{"grant any zonesub", "net 10.0.0.0/8"}, "k. 192.0.2.1 udp", false},
		{"line proto", []string{"grant any zonesub", "proto tls"}, "k. 192.0.2.1 tcp", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := build(t, tc.lines...).Knows(client(t, tc.client)); got != tc.want {
				t.Fatalf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// places gives the numbers of lines.
func places(lines iter.Seq[Line]) string {
	var list []string
	for l := range lines {
		list = append(list, strings.TrimPrefix(l.Place, "Corefile:"))
	}
	return strings.Join(list, " ")
}

func TestWhatLinesTellAtTheStart(t *testing.T) {
	p := build(t,
		"grant K.example.org zonesub",
		"deny evil. self",
		"grant *.dhcp zonesub",
		"grant any zonesub",
		"grant net 10.0.0.0/8 zonesub",
		"deny net 10.0.0.0/8 zonesub",
		"grant 1.2.0.192.in-addr.arpa tcp-self",
		"grant any 6to4-self",
		"grant k.example.org selfsub")
	t.Run("keys", func(t *testing.T) {
		var got []string
		for key, line := range p.Keys() {
			got = append(got, key.String()+" "+line.Place)
		}
		want := []string{"k.example.org. Corefile:1", "evil. Corefile:2", "k.example.org. Corefile:9"}
		if !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
	t.Run("the first only", func(t *testing.T) {
		for key := range p.Keys() {
			if key.String() != "k.example.org." {
				t.Fatal(key)
			}
			break
		}
		for line := range p.Unsigned() {
			if line.Text != "grant net 10.0.0.0/8 zonesub" {
				t.Fatal(line)
			}
			break
		}
	})
	t.Run("unsigned", func(t *testing.T) {
		if got := places(p.Unsigned()); got != "5 7 8" {
			t.Fatalf("lines %s", got)
		}
	})
	t.Run("empty", func(t *testing.T) {
		for _, tc := range []struct {
			p    *Policy
			want bool
		}{
			{new(Policy), true},
			{build(t, "net 10.0.0.0/8", "proto tcp"), true},
			{build(t, "deny any zonesub"), true},
			{p, false},
		} {
			if got := tc.p.IsEmpty(); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		}
	})
}

func TestOutside(t *testing.T) {
	for _, tc := range []struct {
		line    string
		outside bool // of example.org and 192.in-addr.arpa
	}{
		{"grant any zonesub", false},
		{"grant any name www", true},
		{"grant any name www.example.org", false},
		{"grant any name example.org", false},
		{"grant any name org", true},
		{"grant any subdomain dyn", true},
		{"grant any subdomain org", false},
		{"grant any subdomain dyn.example.org", false},
		{"grant any wildcard *.apps", true},
		{"grant any wildcard *.apps.EXAMPLE.org", false},
		{"grant any wildcard *.org", false},
		{"grant any self", false},
		{"grant *.dhcp self", true},
		{"grant *.dhcp.example.org self", false},
		{"grant k self", true},
		{"grant org self", true},
		{"grant k.example.org self", false},
		{"grant org selfsub", false},
		{"grant k selfsub", true},
		{"grant k selfwild", true},
		{"grant k.example.org selfwild", false},
		{"grant any tcp-self", false},
		{"grant *.192.in-addr.arpa tcp-self", false},
		{"grant *.10.in-addr.arpa tcp-self", true},
		{"grant 1.2.0.192.in-addr.arpa tcp-self", false},
		{"grant *.ip6.arpa 6to4-self", true},
		{"grant k zonesub", false},
	} {
		t.Run(tc.line, func(t *testing.T) {
			got := places(build(t, tc.line).Outside(dnsname.MustParse("example.org."), dnsname.MustParse("192.in-addr.arpa.")))
			if (got == "1") != tc.outside {
				t.Fatalf("lines outside: %q, want it: %v", got, tc.outside)
			}
		})
	}
}

// long is a policy of 20 lines, of which the last decides for the client and the
// owner.
func long(t testing.TB) (p *Policy, c Client, origin, owner dnsname.Name) {
	lines := slices.Repeat([]string{
		"deny evil.example.org. zonesub ANY",
		"grant k.example.org. name www.example.org. A AAAA",
		"grant k.example.org. subdomain dyn.example.org.",
		"grant *.dhcp.example.org. selfsub A AAAA DHCID",
		"grant net 10.0.0.0/8 2001:db8::/32 wildcard *.lan.example.org.",
		"grant any tcp-self PTR",
	}, 3)
	b := NewBuilder(func(name string) (uint16, bool) {
		if name == "DHCID" {
			return 49, true
		}
		return typeOf(name)
	})
	for _, line := range append(lines, "deny any selfwild", "grant k.example.org. zonesub PTR max 2") {
		if err := b.Line(strings.Fields(line), "Corefile:1"); err != nil {
			t.Fatal(err)
		}
	}
	return b.Policy(), client(t, "k.example.org. 2001:db9::1 tcp"), dnsname.MustParse("example.org."), dnsname.MustParse("host-17.Branch.example.org.")
}

func TestNoAllocs(t *testing.T) {
	p, c, origin, owner := long(t)
	if v := p.Decide(c, origin, owner, 12); v.Max != 2 {
		t.Fatalf("%+v", v)
	}
	if n := testing.AllocsPerRun(100, func() { p.Decide(c, origin, owner, 12) }); n != 0 {
		t.Errorf("Decide allocates %v times", n)
	}
	id, _, err := ParseIdentity([]string{"net", "10.0.0.0/8", "2001:db9::/32"})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { id.Matches(c) }); n != 0 {
		t.Errorf("Matches allocates %v times", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	p, c, origin, owner := long(b)
	b.ReportAllocs()
	for b.Loop() {
		if v := p.Decide(c, origin, owner, 12); !v.Granted {
			b.Fatal(v)
		}
	}
}
