package update

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/policy"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// parsed reads a Corefile that has the directive alone, in a block for those keys.
func parsed(corefile string, keys ...string) (*block, error) {
	controller := caddy.NewTestController("dns", corefile)
	controller.ServerBlockKeys = keys
	if keys == nil {
		controller.ServerBlockKeys = []string{"dns://example.org.:53"}
	}
	return parse(controller)
}

const granted1 = "grant ddns.example.org zonesub\n"

func TestParse(t *testing.T) {
	inBraces := func(lines string) string { return "update {\n" + granted1 + lines + "}" }
	for _, c := range []struct {
		name, corefile string
		keys           []string
		want           string // zones, terms, how many must have a lease
	}{
		{"defaults", inBraces(""), nil, "example.org. {3600 30 86400} {604800 30 604800} 0"},
		{"the zones of the block", inBraces(""), []string{"dns://Example.NET.:53", "tls://example.org.:853"}, "example.net. example.org. {3600 30 86400} {604800 30 604800} 0"},
		{"zones of its own", "update a.Example.org 10.0.0.0/24 {\n" + granted1 + "}", nil, "a.example.org. 0.0.10.in-addr.arpa. {3600 30 86400} {604800 30 604800} 0"},
		{"the root", "update . {\n" + granted1 + "}", nil, ". {3600 30 86400} {604800 30 604800} 0"},
		{"lease", inBraces("lease 2h 1m 24h\n"), nil, "example.org. {7200 60 86400} {604800 30 604800} 0"},
		{"one lease for all", inBraces("lease 1h30m 1h30m 1h30m\n"), nil, "example.org. {5400 5400 5400} {604800 30 604800} 0"},
		{"short leases", inBraces("lease 3s 1s 5s\n"), nil, "example.org. {3 1 5} {604800 30 604800} 0"},
		{"the longest lease", inBraces("lease 876000h 1s 876000h\n"), nil, "example.org. {3153600000 1 3153600000} {604800 30 604800} 0"},
		{"key_lease", inBraces("key_lease 336h 1h 336h\nlease 2h 1m 24h\n"), nil, "example.org. {7200 60 86400} {1209600 3600 1209600} 0"},
		{"lease required", inBraces("lease required for *.hosts.example.org\nlease 2h 1m 24h\nlease required for net 10.0.0.0/8 2001:db8::1\nlease required for any\n"), nil, "example.org. {7200 60 86400} {604800 30 604800} 3"},
		{"every line", inBraces("deny any name example.org\ngrant net 127.0.0.1 subdomain a.example.org A AAAA max 2\nnet 127.0.0.0/8 ::1\nproto udp tcp tls\ngrant * selfsub ANY\ngrant k.example.org wildcard *.example.org TYPE65280 HTTPS\n"), nil, "example.org. {3600 30 86400} {604800 30 604800} 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := parsed(c.corefile, c.keys...)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(join(b.zones), " ", b.leases.records, " ", b.leases.keys, " ", len(b.leases.required)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if b.place != "Testfile:1" {
				t.Errorf("place %q", b.place)
			}
		})
	}
}

// Mistakes are errors that name the place and the property.
func TestParseErrors(t *testing.T) {
	const at1, at2, at3 = "Testfile:1 - Error during parsing: ", "Testfile:2 - Error during parsing: ", "Testfile:3 - Error during parsing: "
	inBraces := func(lines string) string { return "update {\n" + granted1 + lines + "\n}" }
	for _, c := range []struct{ name, corefile, want string }{
		{"nothing", "update", at1 + "nothing is granted to anybody"},
		{"nothing in braces", "update {\n}", at1 + "nothing is granted to anybody"},
		{"nothing but denials", "update {\ndeny any zonesub\n}", at1 + "nothing is granted to anybody"},
		{"leases alone", "update {\nlease 1h 1h 1h\n}", at1 + "nothing is granted to anybody"},
		{"twice", inBraces("") + "\n" + inBraces(""), "Testfile:5 - Error during parsing: the directive is there already, at Testfile:1"},
		{"unknown property", inBraces("allow k. @ A"), at3 + `unknown property "allow"`},
		{"a block in a property", inBraces("grant k.example.org zonesub A {\n}"), at3 + `grant: unexpected "{"`},
		{"a block in a lease", inBraces("lease 1h 1h 1h {\n}"), at3 + `lease: unexpected "{"`},
		{"grant without anything", "update {\ngrant\n}", at2 + "grant: want an IDENTITY"},
		{"grant without a rule", "update {\ngrant k.example.org\n}", at2 + "grant: want a RULE"},
		{"grant with the rule first", "update {\ngrant zonesub k.example.org\n}", at2 + `grant: want an IDENTITY before the RULE "zonesub"`},
		{"grant with another rule", "update {\ngrant k.example.org ms-self\n}", at2 + `grant: "ms-self" is no RULE`},
		{"grant without a name", "update {\ngrant k.example.org subdomain\n}", at2 + "grant: subdomain: want a NAME"},
		{"grant with a type for a name", "update {\ngrant k.example.org name A\n}", at2 + `grant: name: want a NAME before "A"`},
		{"grant of @", "update {\ngrant k.example.org name @\n}", at2 + `grant: name: "@" stands for no zone here`},
		{"grant of a type that is none", "update {\ngrant k.example.org zonesub A AAAAA\n}", at2 + `grant: "AAAAA" is no TYPE`},
		{"grant of a type number too large", "update {\ngrant k.example.org zonesub TYPE65536\n}", at2 + `grant: zonesub takes no NAME, and "TYPE65536" is no TYPE`},
		{"grant of a type number with a zero", "update {\ngrant k.example.org zonesub A TYPE01\n}", at2 + `grant: "TYPE01" is no TYPE`},
		{"grant of OPT", "update {\ngrant k.example.org zonesub OPT\n}", at2 + `grant: "OPT" is no type of records in zones`},
		{"grant of AXFR", "update {\ngrant k.example.org zonesub A AXFR\n}", at2 + `grant: "AXFR" is no type of records in zones`},
		{"grant with types as BIND counts them", "update {\ngrant k.example.org zonesub PTR(1)\n}", at2 + `grant: "PTR(1)" is no TYPE: write "PTR"`},
		{"grant of ANY and more", "update {\ngrant k.example.org zonesub A ANY\n}", at2 + "grant: ANY stands for all types"},
		{"grant of no number", "update {\ngrant k.example.org zonesub A max\n}", at2 + "grant: max: want a number of records"},
		{"grant of none", "update {\ngrant k.example.org zonesub A max 0\n}", at2 + "grant: max: want a number of records from 1 to 65535"},
		{"grant of too many", "update {\ngrant k.example.org zonesub A max 65536\n}", at2 + "grant: max: want a number of records from 1 to 65535"},
		{"grant to a network of no key", "update {\ngrant net 10.0.0.0/8 self\n}", at2 + "grant: self is about the name of a key"},
		{"grant to a network without the word", "update {\ngrant 10.0.0.0/8 zonesub\n}", at2 + `grant: "10.0.0.0/8" is a network and no key`},
		{"grant of a name that is not in full", "update {\ngrant k.example.org name www\n}", at2 + `"grant k.example.org. name www." fits no name of example.org.: names are written in full`},
		{"grant to keys that are no names of the zone", "update {\ngrant k.example.net self\n}", at2 + `"grant k.example.net. self" fits no name of example.org.`},
		{"deny without anything", inBraces("deny"), at3 + "deny: want an IDENTITY"},
		{"deny of a number", inBraces("deny any zonesub A max 2"), at3 + "deny: max is for grant"},
		{"net without a network", inBraces("net"), at3 + "net: want a network"},
		{"net of a name", inBraces("net lan"), at3 + `net: "lan" is not a network`},
		{"net twice", inBraces("net 10.0.0.0/8\nnet 10.0.0.0/8"), "Testfile:4 - Error during parsing: net: there is such a line already (Testfile:3)"},
		{"proto without a word", inBraces("proto"), at3 + "proto: want udp, tcp or tls"},
		{"proto of another", inBraces("proto tcp https"), at3 + `proto: want udp, tcp or tls, not "https"`},
		{"lease of nothing", inBraces("lease"), at3 + `lease: want three durations, DEFAULT MIN MAX, not ""`},
		{"lease of one", inBraces("lease 1h"), at3 + `lease: want three durations, DEFAULT MIN MAX, not "1h"`},
		{"lease of four", inBraces("lease 1h 1h 1h 1h"), at3 + "lease: want three durations"},
		{"lease without a unit", inBraces("lease 3600 30s 24h"), at3 + `lease: "3600" is not a duration of whole seconds`},
		{"lease of no time", inBraces("lease 1h 0s 24h"), at3 + `lease: "0s" is not a duration of whole seconds`},
		{"lease of less than a second", inBraces("lease 1h 1500ms 24h"), at3 + `lease: "1500ms" is not a duration of whole seconds`},
		{"lease below zero", inBraces("lease 1h -1h 24h"), at3 + `lease: "-1h" is not a duration`},
		{"lease beyond all", inBraces("lease 1h 1h 876001h"), at3 + `lease: "876001h" is not a duration of whole seconds up to 876000h0m0s`},
		{"lease with MIN above DEFAULT", inBraces("lease 1h 2h 24h"), at3 + "lease: DEFAULT is not between MIN and MAX"},
		{"lease with MAX below DEFAULT", inBraces("lease 1h 1m 30m"), at3 + "lease: DEFAULT is not between MIN and MAX"},
		{"lease twice", inBraces("lease 1h 1h 1h\nlease 1h 1h 1h"), `Testfile:4 - Error during parsing: property "lease" is given twice`},
		{"key_lease of one", inBraces("key_lease 1h"), at3 + "key_lease: want three durations"},
		{"key_lease twice", inBraces("key_lease 1h 1h 1h\nkey_lease 1h 1h 1h"), `Testfile:4 - Error during parsing: property "key_lease" is given twice`},
		{"key_lease required", inBraces("key_lease required for any"), at3 + `key_lease: "required" is not a duration`},
		{"lease required of nobody", inBraces("lease required"), at3 + `lease: want "lease required for IDENTITY"`},
		{"lease required without for", inBraces("lease required any"), at3 + `lease: want "lease required for IDENTITY"`},
		{"lease required for nobody", inBraces("lease required for"), at3 + `lease: want "lease required for IDENTITY"`},
		{"lease required for two", inBraces("lease required for a.example.org b.example.org"), at3 + `lease: unexpected "b.example.org"`},
		{"lease required for no network", inBraces("lease required for net lan"), at3 + `lease: net: "lan" is not a network`},
		{"a prefix too long", "update 10.0.0.0/99 {\n" + granted1 + "}", at1 + `zone "10.0.0.0/99": not a network`},
		{"a port", "update example.org:53 {\n" + granted1 + "}", at1 + `zone "example.org:53": want a name alone`},
		{"an address", "update example.org 192.0.2.1 {\n" + granted1 + "}", at1 + `zone "192.0.2.1": an address is not a zone`},
		{"a zone that is none", "update example.org a..b {\n" + granted1 + "}", at1 + `"a..b" is not a zone`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := parsed(c.corefile); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

// A type without a name is called by its number (RFC 3597 §5).
func TestTypeNumbers(t *testing.T) {
	b, err := parsed("update {\ngrant k.example.org zonesub TYPE65280\n}")
	if err != nil {
		t.Fatal(err)
	}
	client := policy.Client{Key: dnsname.MustParse("k.example.org.")}
	org := dnsname.MustParse("example.org.")
	for typ, want := range map[uint16]bool{65280: true, 65281: false, dns.TypeA: false} {
		if v := b.policy.Decide(client, org, org, typ); v.Granted != want {
			t.Errorf("type %d: %+v", typ, v)
		}
	}
}

func TestTakesUpdates(t *testing.T) {
	b, err := parsed("update example.org a.example.net {\n" + granted1 + "}")
	if err != nil {
		t.Fatal(err)
	}
	for zone, want := range map[string]bool{"example.org.": true, "sub.example.org.": true, "org.": false, "notexample.org.": false, "a.example.net.": true, "example.net.": false} {
		if b.TakesUpdates(dnsname.MustParse(zone)) != want {
			t.Errorf("%s: want %v", zone, want)
		}
	}
}

// keyring stands for the plugin keys, neighbor for any other.
type keyring []string

func (keyring) Name() string { return "keys" }

func (keyring) ServeDNS(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) { return 0, nil }

func (k keyring) TSIGKey(name string) (string, []byte, bool) {
	return "", nil, slices.Contains(k, name)
}

type neighbor string

func (n neighbor) Name() string { return string(n) }

func (neighbor) ServeDNS(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) { return 0, nil }

// keeper stands for the plugin authority.
type keeper struct{ neighbor }

func (keeper) LiveZone(dnsname.Name) *zonedb.Zone { return nil }

// What an update needs of its neighbors is looked at when the server starts.
func TestBind(t *testing.T) {
	ours, stock, authority := keyring{"ddns.example.org."}, neighbor("tsig"), keeper{"authority"}
	for _, c := range []struct {
		name, more string
		handlers   []plugin.Handler
		want       string // the error; "" for none
		warns      string // in the log; "" for nothing
	}{
		{"all there", "", []plugin.Handler{ours, neighbor("cache"), authority}, "", ""},
		{"in any order", "", []plugin.Handler{authority, ours}, "", ""},
		{"without authority", "", []plugin.Handler{ours}, "Testfile:1: the plugin authority is not in this server block: there is no zone to update", ""},
		{"without keys", "", []plugin.Handler{authority}, "Testfile:1: the plugin keys is not in this server block: no request can be signed", ""},
		{"with an unknown key", "grant other.example.org zonesub\n", []plugin.Handler{ours, authority}, `Testfile:3: "grant other.example.org. zonesub": key other.example.org. is not one of the plugin keys (or tsig) in this server block`, ""},
		{"a key that is denied must be known, too", "deny other.example.org zonesub\n", []plugin.Handler{ours, authority}, `Testfile:3: "deny other.example.org. zonesub": key other.example.org. is not one`, ""},
		{"stock tsig", "", []plugin.Handler{stock, authority}, "", "Testfile:1: for keys of the plugin tsig neither the algorithm is checked nor is a repeated request found"},
		{"stock tsig beside keys", "grant other.example.org zonesub\n", []plugin.Handler{ours, stock, authority}, "", "for keys of the plugin tsig"},
		{"unsigned", "grant net 10.0.0.0/8 zonesub A\n", []plugin.Handler{ours, authority}, "", `Testfile:3: "grant net 10.0.0.0/8 zonesub A" grants changes to whoever can send from such an address, without a signature`},
		{"unsigned by address", "grant any tcp-self PTR\n", []plugin.Handler{ours, authority}, "", `Testfile:3: "grant any tcp-self PTR" grants changes to whoever can send from such an address`},
		{"a denial of networks is no grant", "deny net 10.0.0.0/8 zonesub\n", []plugin.Handler{ours, authority}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := parsed("update {\n" + granted1 + c.more + "}")
			if err != nil {
				t.Fatal(err)
			}
			log := captureLog(t)
			err = b.bind(c.handlers)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
			if got := log.String(); strings.Contains(got, "WARNING") != (c.warns != "") || !strings.Contains(got, c.warns) {
				t.Errorf("the log:\n%s", got)
			}
		})
	}
}
