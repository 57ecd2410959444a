package policy

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestErrorsSayWhatToWrite(t *testing.T) {
	for _, tc := range []struct {
		name, lines string // the last line has the mistake
		want        string
	}{
		{"nothing", "", `want grant, deny, net or proto`},
		{"another word", "allow k zonesub", `want grant, deny, net or proto, not "allow"`},
		{"no identity", "grant", `grant: want an IDENTITY: the name of a key, a wildcard such as *.dhcp., "any", or "net CIDR..."`},
		{"identity forgotten", "deny zonesub A", `deny: want an IDENTITY before the RULE "zonesub"; a key of that name is written with a final dot`},
		{"network without net", "grant 10.0.0.0/8 zonesub", `"10.0.0.0/8" is a network and no key: write "net 10.0.0.0/8"`},
		{"address without net", "grant 2001:db8::1 zonesub", `write "net 2001:db8::1"`},
		{"key is no name", "grant a..b zonesub", `grant: IDENTITY: name "a..b": empty label`},
		{"key is the zone", "grant @ zonesub", `IDENTITY: "@" stands for no zone here: write the name in full`},
		{"no network", "grant net", `net: want a network, such as 192.0.2.0/24`},
		{"network is a word", "grant net lan zonesub", `net: "lan" is not a network`},
		{"prefix too long", "grant net 10.0.0.0/33 zonesub", `net: "10.0.0.0/33" is not a network`},
		{"second prefix too long", "grant net 10.0.0.0/8 10.0.0.0/33 zonesub", `net: "10.0.0.0/33" is not a network`},
		{"network with a zone", "grant net 10.0.0.0/8 fe80::1%eth0 zonesub", `net: "fe80::1%eth0" is not a network`},
		{"no rule", "grant k", `grant: want a RULE after the IDENTITY: one of name, subdomain, zonesub, wildcard, self, selfsub, selfwild, tcp-self, 6to4-self`},
		{"no rule after networks", "grant net 10.0.0.0/8", `want a RULE after the IDENTITY`},
		{"rule of others", "grant k krb5-self A", `"krb5-self" is no RULE: want one of name, `},
		{"rule in capitals", "grant k ZONESUB", `"ZONESUB" is no RULE`},
		{"no name", "grant k name", `name: want a NAME`},
		{"name forgotten", "grant k subdomain TXT A", `subdomain: want a NAME before "TXT"; a name like that is written with a final dot`},
		{"name forgotten before ANY", "grant k name any", `name: want a NAME before "any"`},
		{"name forgotten before max", "grant k name max 1", `name: want a NAME before "max"`},
		{"name is the zone", "grant k subdomain @", `subdomain: "@" stands for no zone here`},
		{"name is no name", "grant k name a..b", `name: name "a..b": empty label`},
		{"wildcard without asterisk", "grant k wildcard apps.example.org", `wildcard: "apps.example.org" is none: write "*.apps.example.org"`},
		{"name after zonesub", "grant k zonesub example.org. A", `zonesub takes no NAME, and "example.org." is no TYPE: leave it out`},
		{"name after self, as BIND wants it", "grant * self * A", `self takes no NAME, and "*" is no TYPE: leave it out`},
		{"name after selfsub", "grant * selfsub . A", `selfsub takes no NAME, and "." is no TYPE: leave it out`},
		{"name after tcp-self", "grant * tcp-self . PTR(1)", `tcp-self takes no NAME, and "." is no TYPE`},
		{"number at a type, as BIND wants it", "grant k zonesub TXT(3)", `"TXT(3)" is no TYPE: write "TXT", and "max N" at the end of the line`},
		{"no type", "grant k name a.example.org. A HTTP", `"HTTP" is no TYPE`},
		{"no type of records", "grant k zonesub AXFR", `"AXFR" is no type of records in zones`},
		{"OPT", "grant k zonesub A OPT", `"OPT" is no type of records in zones`},
		{"ANY with others", "grant k zonesub ANY A", `ANY stands for all types and must stand alone`},
		{"others with ANY", "grant k zonesub A any", `ANY stands for all types and must stand alone`},
		{"self of a network", "grant net 10.0.0.0/8 self", `self is about the name of a key, and "net" calls none: write a key, or another RULE`},
		{"selfwild of a network", "deny net 10.0.0.0/8 selfwild", `selfwild is about the name of a key`},
		{"tcp-self of a network", "grant net 192.0.2.0/24 tcp-self PTR", `tcp-self compares IDENTITY with the name of the source address: write "any" or a name in place of "net", such as *.2.0.192.in-addr.arpa`},
		{"max without a number", "grant k zonesub A max", `max: want a number of records`},
		{"max of none", "grant k zonesub A max 0", `max: want a number of records from 1 to 65535, not "0"`},
		{"max of less", "grant k zonesub max -1", `not "-1"`},
		{"max of too many", "grant k zonesub max 65536", `not "65536"`},
		{"max of a word", "grant k zonesub max few", `not "few"`},
		{"max before types", "grant k zonesub max 1 A", `max N ends the line: write "A" before it`},
		{"max twice", "grant k zonesub max 1 max 2", `max N ends the line`},
		{"max of a deny", "deny k zonesub A max 1", `deny: max is for grant`},
		{"line net of a key", "net 10.0.0.0/8 zonesub A", `net: "zonesub" is not a network; for a grant to a network write "grant net CIDR... RULE"`},
		{"line net without networks", "net", `net: want a network`},
		{"line net twice", "net 10.0.0.0/8\nnet 192.0.2.0/24", `net: there is such a line already (Corefile:1): write all networks into one; for a grant to a network write "grant net CIDR... RULE"`},
		{"line proto twice", "proto udp\nproto tcp", `proto: there is such a line already (Corefile:1)`},
		{"line proto of others", "proto tcp quic", `proto: want udp, tcp or tls, not "quic"`},
		{"line proto without any", "proto", `proto: want udp, tcp or tls`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := NewBuilder(typeOf)
			lines := strings.Split(tc.lines, "\n")
			for i, line := range lines[:len(lines)-1] {
				if err := b.Line(strings.Fields(line), place(i)); err != nil {
					t.Fatal(err)
				}
			}
			before := *b.Policy()
			err := b.Line(strings.Fields(lines[len(lines)-1]), "Corefile:9")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %s", err, tc.want)
			}
			if after := *b.Policy(); !reflect.DeepEqual(before, after) {
				t.Fatalf("the line has left %+v", after)
			}
		})
	}
}

func TestPolicyKeepsItsLines(t *testing.T) {
	b := NewBuilder(typeOf)
	policy := func(line string) *Policy {
		if err := b.Line(strings.Fields(line), ""); err != nil {
			t.Fatal(err)
		}
		return b.Policy()
	}
	deny := policy("deny any zonesub")
	if grant := policy("grant any zonesub"); !deny.IsEmpty() || grant.IsEmpty() {
		t.Fatal("a line that came later is in the policy, or is in none")
	}
}

func TestParseIdentity(t *testing.T) {
	const (
		key   = "K.dhcp. 192.0.2.1 udp"
		other = "dhcp. 192.0.3.1 udp"
		none  = "- 192.0.2.1 tcp"
	)
	for _, tc := range []struct {
		words    string
		want     string // its form
		rest     string
		key      string
		matching []string
	}{
		{"any", "any", "", "", []string{key, other}},
		{"* more words", "any", "more words", "", []string{key, other}},
		{"*. any", "any", "any", "", []string{key, other}},
		{"*.DHCP any", "*.dhcp.", "any", "", []string{key}},
		{"k.DHCP *", "k.dhcp.", "*", "k.dhcp.", []string{key}},
		{"net 192.0.2.7/24", "net 192.0.2.0/24", "", "", []string{key, none}},
		{"net 192.0.2.1 192.0.3.1 any", "net 192.0.2.1/32 192.0.3.1/32", "any", "", []string{key, other, none}},
	} {
		t.Run(tc.words, func(t *testing.T) {
			id, rest, err := ParseIdentity(strings.Fields(tc.words))
			if err != nil {
				t.Fatal(err)
			}
			if got := id.String(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if got := strings.Join(rest, " "); got != tc.rest {
				t.Errorf("rest %q, want %q", got, tc.rest)
			}
			if got := id.Key().String(); got != tc.key {
				t.Errorf("key %q, want %q", got, tc.key)
			}
			for _, c := range []string{key, other, none} {
				if got := id.Matches(client(t, c)); got != slices.Contains(tc.matching, c) {
					t.Errorf("matches %s: %v", c, got)
				}
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		var id Identity
		if id.Matches(client(t, key)) || id.Matches(Client{}) || id.String() != "" || id.Key() != "" {
			t.Fatal("the zero value is somebody")
		}
	})
}

// FuzzLine reads any words; what a line was understood as is read as the same.
func FuzzLine(f *testing.F) {
	for _, s := range []string{
		"grant k.example.org. zonesub A AAAA TXT",
		"deny any name www.example.org ANY",
		"grant net 10.0.0.0/8 ::ffff:192.0.2.1 subdomain Dyn.example.org max 7",
		`grant *.dhcp wildcard *.a\.b\032c.example.org TYPE65280`,
		"grant * tcp-self PTR max 1",
		"grant @. 6to4-self",
		"grant net. name any. max 1",
		"net 192.0.2.0/24 2001:db8::/32",
		"proto udp tcp tls",
		"grant a\tb name \\",
		"  ",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := NewBuilder(typeOf)
		err := b.Line(strings.Split(s, " "), "here")
		first := b.Policy()
		if err != nil {
			if !reflect.DeepEqual(first, new(Policy)) {
				t.Fatalf("%q: error %v, and the policy has it", s, err)
			}
			return
		}
		b = NewBuilder(typeOf)
		if first.nets.kind == nobody && len(first.entries) == 0 {
			return // proto
		}
		text := first.nets.String()
		if len(first.entries) > 0 {
			text = first.entries[0].line.Text
		}
		if err := b.Line(strings.Fields(text), "here"); err != nil {
			t.Fatalf("%q was understood as %q: %v", s, text, err)
		}
		if second := b.Policy(); !reflect.DeepEqual(first, second) {
			t.Fatalf("%q was understood as %q, and that as %+v, not %+v", s, text, second, first)
		}
	})
}
