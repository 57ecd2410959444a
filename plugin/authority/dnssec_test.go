package authority

import (
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

func TestParseDNSSEC(t *testing.T) {
	const day = 24 * time.Hour
	folder := t.TempDir()
	for text, want := range map[string]autosign.Settings{
		"dnssec":                                            {},
		"dnssec insecure":                                   {Insecure: true, Parent: "auto"},
		"dnssec {\nalgorithm ED25519\n}":                    {Keys: kasp.Policy{Algorithm: signer.ED25519}},
		"dnssec {\nalgorithm 8\n}":                          {Keys: kasp.Policy{Algorithm: signer.RSASHA256}},
		"dnssec {\nalgorithm ecdsap384sha384\n}":            {Keys: kasp.Policy{Algorithm: signer.ECDSAP384SHA384}},
		"dnssec {\nsplit 0 30d\n}":                          {Keys: kasp.Policy{Split: true, ZSKLifetime: 30 * day}},
		"dnssec {\nsplit 365d 2160h\n}":                     {Keys: kasp.Policy{Split: true, KSKLifetime: 365 * day, ZSKLifetime: 90 * day}},
		"dnssec {\nnsec3\n}":                                {Signatures: signer.Policy{NSEC3: true}},
		"dnssec {\nnsec3 opt_out\n}":                        {Signatures: signer.Policy{NSEC3: true, OptOut: true}},
		"dnssec {\nsignature 28d\nrefresh 8d\njitter 1d\n}": {Signatures: signer.Policy{Validity: 28 * day, Refresh: 8 * day, Jitter: day}},
		"dnssec {\njitter 0\n}":                             {Signatures: signer.Policy{Jitter: 1}},
		"dnssec {\nparent auto\n}":                          {Parent: "auto"},
		"dnssec {\nparent 192.0.2.1 [2001:db8::1]:5353\n}":  {Parent: "192.0.2.1:53 [2001:db8::1]:5353"},
		"dnssec {\ncds off\nonline\n}":                      {NoCDS: true, Online: true},
		"dnssec {\nnsec3\ninsecure\n}":                      {Signatures: signer.Policy{NSEC3: true}, Insecure: true, Parent: "auto"},
		"dnssec {\nkeys " + folder + "\n}":                  {Folder: folder},
		"dnssec strong {\nalgorithm 15\n}":                  {Keys: kasp.Policy{Algorithm: signer.ED25519}},
	} {
		c := caddy.NewTestController("dns", "authority example.org {\nfile a\nstore data\n"+text+"\n}")
		c.ServerBlockKeys = []string{".:53"}
		b, err := parse(c)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := b.specs[0].Signing; got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", text, got, want)
		}
	}
}

// TestParsePolicies has zones share a policy that is written once.
func TestParsePolicies(t *testing.T) {
	c := caddy.NewTestController("dns", `authority example.org {
file a
store data
dnssec strong {
algorithm ED25519
}
}
authority example.net {
file b
store data
dnssec strong
}`)
	c.ServerBlockKeys = []string{".:53"}
	b, err := parse(c)
	if err != nil {
		t.Fatal(err)
	}
	want := autosign.Settings{Keys: kasp.Policy{Algorithm: signer.ED25519}}
	for _, spec := range b.specs {
		if spec.Signing != want {
			t.Errorf("%s: %+v", spec.Origin, spec.Signing)
		}
	}
}

func TestParseDNSSECErrors(t *testing.T) {
	for text, want := range map[string]string{
		"dnssec\nfile a": `Testfile:1 - Error during parsing: dnssec: the keys of the zones must be kept, and serials must not go back: property "store" with a folder is missing ("store memory" if a restart may lose both)`,
		"dnssec {\nsplit 0 30d\n}\nstore memory\nfile a": `Testfile:1 - Error during parsing: dnssec: keys that are replaced in time must be kept: property "store" wants a folder, not "memory"`,
		"dnssec a b":                            `Testfile:2 - Error during parsing: dnssec: unexpected "b": want the name of a policy, or none`,
		"dnssec strong":                         `Testfile:2 - Error during parsing: dnssec: unknown policy "strong": its settings stand in braces behind its name where it is used first`,
		"dnssec insecure {\nnsec3\n}":           `Testfile:2 - Error during parsing: dnssec: policy "insecure" has no settings: write "insecure" among those of the policy that the zone had`,
		"dnssec {\n}":                           `Testfile:3 - Error during parsing: dnssec: no setting is given between the braces`,
		"dnssec {\nnsec5\n}":                    `Testfile:3 - Error during parsing: dnssec: nsec5: unknown setting, want algorithm, split, nsec3, signature, refresh, jitter, parent, keys, cds, online or insecure`,
		"dnssec {\nnsec3\nnsec3\n}":             `Testfile:4 - Error during parsing: dnssec: "nsec3" is given twice`,
		"dnssec {\nnsec3 optout\n}":             `Testfile:3 - Error during parsing: dnssec: nsec3: want nothing, or "opt_out", not "optout"`,
		"dnssec {\nalgorithm RSASHA1\n}":        `Testfile:3 - Error during parsing: dnssec: algorithm: "RSASHA1" is not one of RSASHA256, ECDSAP256SHA256, ECDSAP384SHA384, ED25519`,
		"dnssec {\nalgorithm\n}":                `Testfile:3 - Error during parsing: dnssec: algorithm: want the name or number of an algorithm, not ""`,
		"dnssec {\nsplit 30d\n}":                `Testfile:3 - Error during parsing: dnssec: split: want the lifetimes of KSK and ZSK, 0 for no end, not "30d"`,
		"dnssec {\nsplit 0 soon\n}":             `Testfile:3 - Error during parsing: dnssec: split: "soon" is not a duration, as 336h or 14d`,
		"dnssec {\nsignature 0\n}":              `Testfile:3 - Error during parsing: dnssec: signature: "0" is not a duration, as 336h or 14d`,
		"dnssec {\nparent\n}":                   `Testfile:3 - Error during parsing: dnssec: parent: want the addresses of the servers of the parent zone, or "auto"`,
		"dnssec {\nparent ns.example\n}":        `Testfile:3 - Error during parsing: dnssec: parent: "ns.example" is not an address, with or without a port`,
		"dnssec {\nkeys /nowhere\n}":            `Testfile:3 - Error during parsing: dnssec: keys: stat /nowhere: no such file or directory`,
		"dnssec {\nkeys dnssec.go\n}":           `is not a folder`,
		"dnssec {\ncds on\n}":                   `Testfile:3 - Error during parsing: dnssec: cds: want "off", not "on"`,
		"dnssec {\nonline yes\n}":               `Testfile:3 - Error during parsing: dnssec: online: want nothing, not "yes"`,
		"dnssec\ndnssec":                        `Testfile:3 - Error during parsing: property "dnssec" is given twice`,
		"dnssec {\nonline\nnsec3\n}":            `settings that exclude each other`,
		"dnssec {\nsignature 5d\nrefresh 6d\n}": `refresh`,
		"dnssec {\nsplit 1h 30d\n}":             `lifetime`,
		"dnssec {\nsplit 1h 1h\n}":              `of a rollover; policy`,
	} {
		c := caddy.NewTestController("dns", "authority example.org {\n"+text+"\n}")
		c.ServerBlockKeys = []string{".:53"}
		_, err := parse(c)
		switch {
		case err == nil:
			t.Errorf("%s: no error", text)
		case strings.HasPrefix(want, "Testfile") && err.Error() != want, !strings.Contains(err.Error(), want):
			t.Errorf("%s:\ngot  %s\nwant %s", text, err, want)
		}
	}
}
