package authority

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

// describe gives what a block says about its zones, one a line.
func describe(b *block) string {
	var s strings.Builder
	for _, spec := range b.specs {
		z := b.static[spec.Origin]
		fmt.Fprintf(&s, "%s %s", z.origin, z.spec.Path)
		if z.spec.Options != (zonefile.Options{}) {
			fmt.Fprintf(&s, " %+v", z.spec.Options)
		}
		if len(z.fall) > 0 {
			fmt.Fprintf(&s, " through %s", join(z.fall))
		}
		s.WriteByte('\n')
	}
	return strings.TrimSpace(s.String())
}

func TestParse(t *testing.T) {
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, corefile string
		keys           []string
		root           string
		want           string
	}{
		{"the zones of the block", "authority {\nfile db\n}", []string{"example.org"}, "", "example.org. HERE/db"},
		{
			"the zones of the block, each once", "authority {\nfile {zone}.zone\n}",
			[]string{"dns://example.org.:53", "tls://example.org.:853", "example.net:53"},
			"",
			"example.net. HERE/example.net.zone\nexample.org. HERE/example.org.zone",
		},
		{"zones of its own", "authority Example.ORG example.net. {\nfile {zone}.zone\n}", nil, "", "example.org. HERE/example.org.zone\nexample.net. HERE/example.net.zone"},
		{"root", "authority example.org {\nfile zones/db\n}", nil, "/etc/coredns", "example.org. /etc/coredns/zones/db"},
		{"an absolute path", "authority example.org {\nfile /var/../srv/db\n}", nil, "/etc", "example.org. /srv/db"},
		{"kind", "authority example.org {\nfile db source\n}", nil, "/", "example.org. /db"},
		{"several directives", "authority example.org {\nfile a\n}\nauthority example.net {\nfile b\n}", nil, "/", "example.org. /a\nexample.net. /b"},
		{"one file for several zones", "authority example.org example.net {\nfile db\n}", nil, "/", "example.org. /db\nexample.net. /db"},
		{"a network", "authority 192.0.2.0/24 {\nfile {zone}\n}", nil, "/", "2.0.192.in-addr.arpa. /2.0.192.in-addr.arpa"},
		{"the root zone", "authority . {\nfile root.zone\n}", nil, "/", ". /root.zone"},
		{"check strict", "authority example.org {\nfile db\ncheck strict\n}", nil, "/", "example.org. /db {Strict:true MaxRecords:0 MaxRRset:0}"},
		{"check warn", "authority example.org {\nfile db\ncheck warn\n}", nil, "/", "example.org. /db"},
		{"limits", "authority example.org {\nlimits {\nrecords 1000000\nrrset 500\n}\nfile db\n}", nil, "/", "example.org. /db {Strict:false MaxRecords:1000000 MaxRRset:500}"},
		{"one limit", "authority example.org {\nlimits {\nrrset 500\n}\nfile db\n}", nil, "/", "example.org. /db {Strict:false MaxRecords:0 MaxRRset:500}"},
		{"a network of IPv6", "authority 2001:db8::/32 {\nfile {zone}\n}", nil, "/", "8.b.d.0.1.0.0.2.ip6.arpa. /8.b.d.0.1.0.0.2.ip6.arpa"},
		{"a network between octets", "authority 192.0.2.7/23 {\nfile db\n}", nil, "/", "2.0.192.in-addr.arpa. /db\n3.0.192.in-addr.arpa. /db"},
		{"RFC 2317", "authority 0/26.2.0.192.in-addr.arpa {\nfile db\n}", nil, "/", "0/26.2.0.192.in-addr.arpa. /db"},
		{"escapes", `authority \065.example.org b\.c.example.org \195\188.example.org "d\032\044\ \,.example.org"` + " {\nfile db\n}", nil, "/", `a.example.org. /db
b\.c.example.org. /db
\195\188.example.org. /db
d\032,\032,.example.org. /db`},
		{"colons and underscores in labels", "authority a:b._tcp.x:53.example.org {\nfile db\n}", nil, "/", "a:b._tcp.x:53.example.org. /db"},
		{
			"keys with escapes", "authority {\nfile db\n}",
			[]string{`dns://b\.c.example.org.:53`, `dns://\195\188.example.org.:53`, `dns://a\ b.example.org.:53`, "dns://0/26.2.0.192.in-addr.arpa.:53"},
			"/", `\195\188.example.org. /db
a\032b.example.org. /db
b\.c.example.org. /db
0/26.2.0.192.in-addr.arpa. /db`,
		},
		{"fallthrough", "authority example.org {\nfile db\nfallthrough\n}", nil, "/", "example.org. /db through ."},
		{"fallthrough for zones", "authority example.org {\nfallthrough A.example.org b.example.org\nfile db\n}", nil, "/", "example.org. /db through a.example.org. b.example.org."},
		{"fallthrough for a zone above", "authority example.org {\nfile db\nfallthrough org\n}", nil, "/", "example.org. /db through org."},
		{"fallthrough for one of the zones", "authority example.org example.net {\nfile db\nfallthrough a.example.net\n}", nil, "/", "example.org. /db through a.example.net.\nexample.net. /db through a.example.net."},
		{"fallthrough for a network", "authority 10.0.0.0/8 {\nfile db\nfallthrough 10.1.2.0/24\n}", nil, "/", "10.in-addr.arpa. /db through 2.1.10.in-addr.arpa."},
		{"fallthrough with an escape", `authority example.org {
file db
fallthrough \065b.example.org
}`, nil, "/", "example.org. /db through ab.example.org."},
		{"a zone above the block's", "authority example.org {\nfile db\n}", []string{"a.example.org", "b.example.org"}, "/", "example.org. /db"},
	} {
		t.Run(c.name, func(t *testing.T) {
			controller := caddy.NewTestController("dns", c.corefile)
			controller.ServerBlockKeys = c.keys
			if c.keys == nil {
				controller.ServerBlockKeys = []string{".:53"}
			}
			dnsserver.GetConfig(controller).Root = c.root
			b, err := parse(controller)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := describe(b), strings.ReplaceAll(c.want, "HERE", here); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ name, corefile, want string }{
		{"no file", "authority example.org", `Testfile:1 - Error during parsing: property "file" or "directory" is missing`},
		{"no file in the second directive", "authority example.org {\nfile a\n}\nauthority example.net {\ncheck warn\n}", `Testfile:4 - Error during parsing: property "file" or "directory" is missing`},
		{"empty block", "authority example.org {\n}", `Testfile:1 - Error during parsing: property "file" or "directory" is missing`},
		{"unknown property", "authority example.org {\nfile a\nstorage data\n}", `Testfile:3 - Error during parsing: unknown property "storage"`},
		{"unknown property with a block", "authority example.org {\nzonemd {\nksk 1\n}\nfile a\n}", `Testfile:2 - Error during parsing: unknown property "zonemd"`},
		{"a property twice", "authority example.org {\nfile a\nfile b\n}", `Testfile:3 - Error during parsing: property "file" is given twice`},
		{"file without a path", "authority example.org {\nfile\n}", `Testfile:2 - Error during parsing: file: the path is missing`},
		{"file with an empty path", "authority example.org {\nfile \"\"\n}", `Testfile:2 - Error during parsing: file: the path is missing`},
		{"file of another kind", "authority example.org {\nfile a sources\n}", `Testfile:2 - Error during parsing: file: unknown kind "sources", want "source" or "seed"`},
		{"a seed that is not kept", "authority example.org {\nfile a seed\n}", `Testfile:1 - Error during parsing: file … seed: what is read once must be kept: property "store" is missing`},
		{"file and directory", "authority example.org {\nfile a\ndirectory .\n}", `Testfile:1 - Error during parsing: properties "file" and "directory" exclude each other`},
		{"directory without a path", "authority . {\ndirectory\n}", `Testfile:2 - Error during parsing: directory: the path is missing`},
		{"directory with too much", "authority . {\ndirectory . *.zone a\n}", `Testfile:2 - Error during parsing: directory: unexpected "a"`},
		{"directory that is not there", "authority . {\ndirectory /nowhere\n}", `Testfile:2 - Error during parsing: directory: stat /nowhere: no such file or directory`},
		{"a file as directory", "authority . {\ndirectory /dev/null\n}", "Testfile:2 - Error during parsing: directory: /dev/null is not a directory"},
		{"pattern without asterisk", "authority . {\ndirectory . zone\n}", `Testfile:2 - Error during parsing: directory: pattern "zone" is not the name of a file with one asterisk in the place of the zone`},
		{"pattern with two asterisks", "authority . {\ndirectory . *.*\n}", `Testfile:2 - Error during parsing: directory: pattern "*.*" is not the name of a file with one asterisk in the place of the zone`},
		{"pattern in another directory", "authority . {\ndirectory . a/*\n}", `Testfile:2 - Error during parsing: directory: pattern "a/*" is not the name of a file with one asterisk in the place of the zone`},
		{"store of nothing", "authority example.org {\nfile a\nstore\n}", `Testfile:3 - Error during parsing: store: want a folder or "memory", not ""`},
		{"store of two", "authority example.org {\nfile a\nstore a b\n}", `Testfile:3 - Error during parsing: store: want a folder or "memory", not "a b"`},
		{"serial", "authority example.org {\nfile a\nserial random\n}", `Testfile:3 - Error during parsing: serial: want "increment", "unixtime" or "date", not "random"`},
		{"serial of nothing", "authority example.org {\nfile a\nserial\n}", `Testfile:3 - Error during parsing: serial: want "increment", "unixtime" or "date", not ""`},
		{"journal of nothing", "authority example.org {\nfile a\njournal\n}", `Testfile:3 - Error during parsing: journal: want a number of changes and maybe a size, not ""`},
		{"journal below 0", "authority example.org {\nfile a\njournal -1\n}", `Testfile:3 - Error during parsing: journal: "-1" is not a number of changes`},
		{"journal of no size", "authority example.org {\nfile a\njournal 5 0M\n}", `Testfile:3 - Error during parsing: journal: "0M" is not a size: want a number above 0, with k, M or G behind it for more than octets`},
		{"journal of a size beyond all", "authority example.org {\nfile a\njournal 5 9223372036854775807k\n}", `Testfile:3 - Error during parsing: journal: "9223372036854775807k" is not a size: want a number above 0, with k, M or G behind it for more than octets`},
		{"transfer to nobody", "authority example.org {\nfile a\ntransfer\n}", `Testfile:3 - Error during parsing: transfer: want "key NAME…" or "net CIDR…"; nobody may transfer if there is no such line`},
		{"transfer to whom", "authority example.org {\nfile a\ntransfer to 192.0.2.1\n}", `Testfile:3 - Error during parsing: transfer: want "key" or "net", not "to"`},
		{"transfer to no network", "authority example.org {\nfile a\ntransfer net 192.0.2.0/33\n}", `Testfile:3 - Error during parsing: transfer: "192.0.2.0/33" is not a network: want an address and the length of a prefix, such as 192.0.2.0/24`},
		{"notify to nobody", "authority example.org {\nfile a\nnotify key k\n}", `Testfile:3 - Error during parsing: notify: want addresses, and maybe "key NAME" behind them`},
		{"notify to a name", "authority example.org {\nfile a\nnotify ns1.example.org\n}", `Testfile:3 - Error during parsing: notify: "ns1.example.org" is not an address, with or without a port`},
		{"file with too much", "authority example.org {\nfile a source b\n}", `Testfile:2 - Error during parsing: file: unexpected "b"`},
		{"the root zone in a path", "authority . {\nfile {zone}\n}", `Testfile:1 - Error during parsing: file: the name of zone . cannot stand in a path: write the path without {zone}`},
		{"a zone with a slash in a path", "authority 0/26.2.0.192.in-addr.arpa {\nfile {zone}\n}", `Testfile:1 - Error during parsing: file: the name of zone 0/26.2.0.192.in-addr.arpa. cannot stand in a path: write the path without {zone}`},
		{"a zone with an escape in a path", "authority a\\.b.example.org {\nfile {zone}\n}", `Testfile:1 - Error during parsing: file: the name of zone a\.b.example.org. cannot stand in a path: write the path without {zone}`},
		{"check without a word", "authority example.org {\nfile a\ncheck\n}", `Testfile:3 - Error during parsing: check: want "warn" or "strict", not ""`},
		{"check with another word", "authority example.org {\nfile a\ncheck lax\n}", `Testfile:3 - Error during parsing: check: want "warn" or "strict", not "lax"`},
		{"check with two words", "authority example.org {\nfile a\ncheck warn strict\n}", `Testfile:3 - Error during parsing: check: want "warn" or "strict", not "warn strict"`},
		{"limits without a block", "authority example.org {\nfile a\nlimits 5\n}", `Testfile:3 - Error during parsing: limits: want a block in braces, not "5"`},
		{"no limits", "authority example.org {\nfile a\nlimits {\n}\n}", `Testfile:4 - Error during parsing: limits: no limit is given`},
		{"no limits at all", "authority example.org {\nlimits\nfile a\n}", `Testfile:2 - Error during parsing: limits: no limit is given`},
		{"an unknown limit", "authority example.org {\nfile a\nlimits {\nnames 5\n}\n}", `Testfile:4 - Error during parsing: limits: unknown limit "names"`},
		{"a limit twice", "authority example.org {\nfile a\nlimits {\nrrset 5\nrrset 6\n}\n}", `Testfile:5 - Error during parsing: limits: "rrset" is given twice`},
		{"a limit without a number", "authority example.org {\nfile a\nlimits {\nrrset\n}\n}", `Testfile:4 - Error during parsing: limits: want one number after "rrset"`},
		{"a limit of zero", "authority example.org {\nfile a\nlimits {\nrrset 0\n}\n}", `Testfile:4 - Error during parsing: limits: rrset: "0" is not a number above 0`},
		{"a limit that is no number", "authority example.org {\nfile a\nlimits {\nrecords many\n}\n}", `Testfile:4 - Error during parsing: limits: records: "many" is not a number above 0`},
		{"fallthrough for what is no zone", "authority example.org {\nfile a\nfallthrough a..b\n}", `Testfile:3 - Error during parsing: "a..b" is not a zone`},
		{"what is no zone", "authority a..b {\nfile a\n}", `Testfile:1 - Error during parsing: "a..b" is not a zone`},
		{"a prefix too long", `authority 10.0.0.0/99 {
file a
}`, `Testfile:1 - Error during parsing: zone "10.0.0.0/99": not a network: want an address and the length of a prefix that it can have`},
		{"a prefix too long in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org 10.0.0.0/99
}`, `Testfile:3 - Error during parsing: zone "10.0.0.0/99": not a network: want an address and the length of a prefix that it can have`},
		{"an address out of range", `authority 300.0.0.0/8 {
file a
}`, `Testfile:1 - Error during parsing: zone "300.0.0.0/8": not a network: want an address and the length of a prefix that it can have`},
		{"an address out of range in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org 300.0.0.0/8
}`, `Testfile:3 - Error during parsing: zone "300.0.0.0/8": not a network: want an address and the length of a prefix that it can have`},
		{"a network with a dot", `authority 10.0.0.0/8. {
file a
}`, `Testfile:1 - Error during parsing: zone "10.0.0.0/8.": not a network: want an address and the length of a prefix that it can have`},
		{"a network with a dot in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org 10.0.0.0/8.
}`, `Testfile:3 - Error during parsing: zone "10.0.0.0/8.": not a network: want an address and the length of a prefix that it can have`},
		{"a prefix of IPv6 too long", `authority 2001:db8::/129 {
file a
}`, `Testfile:1 - Error during parsing: zone "2001:db8::/129": not a network: want an address and the length of a prefix that it can have`},
		{"a prefix of IPv6 too long in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org 2001:db8::/129
}`, `Testfile:3 - Error during parsing: zone "2001:db8::/129": not a network: want an address and the length of a prefix that it can have`},
		{"a port", `authority example.org:5300 {
file a
}`, `Testfile:1 - Error during parsing: zone "example.org:5300": want a name alone: scheme and port belong to the key of the server block`},
		{"a port in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org example.org:5300
}`, `Testfile:3 - Error during parsing: zone "example.org:5300": want a name alone: scheme and port belong to the key of the server block`},
		{"a port behind the dot", `authority example.org.:5300 {
file a
}`, `Testfile:1 - Error during parsing: zone "example.org.:5300": want a name alone: scheme and port belong to the key of the server block`},
		{"a port behind the dot in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org example.org.:5300
}`, `Testfile:3 - Error during parsing: zone "example.org.:5300": want a name alone: scheme and port belong to the key of the server block`},
		{"a scheme", `authority tls://example.org {
file a
}`, `Testfile:1 - Error during parsing: zone "tls://example.org": want a name alone: scheme and port belong to the key of the server block`},
		{"a scheme in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org tls://example.org
}`, `Testfile:3 - Error during parsing: zone "tls://example.org": want a name alone: scheme and port belong to the key of the server block`},
		{"a scheme and a port", `authority dns://example.org:53 {
file a
}`, `Testfile:1 - Error during parsing: zone "dns://example.org:53": want a name alone: scheme and port belong to the key of the server block`},
		{"a scheme and a port in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org dns://example.org:53
}`, `Testfile:3 - Error during parsing: zone "dns://example.org:53": want a name alone: scheme and port belong to the key of the server block`},
		{"an address", `authority 192.0.2.1 {
file a
}`, `Testfile:1 - Error during parsing: zone "192.0.2.1": an address is not a zone: write a network, with the length of its prefix`},
		{"an address in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org 192.0.2.1
}`, `Testfile:3 - Error during parsing: zone "192.0.2.1": an address is not a zone: write a network, with the length of its prefix`},
		{"an address of IPv6", `authority 2001:db8::1 {
file a
}`, `Testfile:1 - Error during parsing: zone "2001:db8::1": an address is not a zone: write a network, with the length of its prefix`},
		{"an address of IPv6 in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org 2001:db8::1
}`, `Testfile:3 - Error during parsing: zone "2001:db8::1": an address is not a zone: write a network, with the length of its prefix`},
		{"a comma", `authority example.org,example.net {
file a
}`, `Testfile:1 - Error during parsing: zone "example.org,example.net": put a space between zones; a comma in a name is \044, and such a name cannot be a server block key`},
		{"a comma in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org example.org,example.net
}`, `Testfile:3 - Error during parsing: zone "example.org,example.net": put a space between zones; a comma in a name is \044, and such a name cannot be a server block key`},
		{"letters that are not ASCII", `authority bücher.example {
file a
}`, `Testfile:1 - Error during parsing: zone "bücher.example": write it in ASCII, as the DNS has it: labels of other letters in the form xn--`},
		{"letters that are not ASCII in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org bücher.example
}`, `Testfile:3 - Error during parsing: zone "bücher.example": write it in ASCII, as the DNS has it: labels of other letters in the form xn--`},
		{"a space", `authority "example.org example.net" {
file a
}`, `Testfile:1 - Error during parsing: zone "example.org example.net": put separate zones into separate words; a space in a name is \032`},
		{"a space in fallthrough", `authority example.org 10.0.0.0/8 {
file a
fallthrough example.org "example.org example.net"
}`, `Testfile:3 - Error during parsing: zone "example.org example.net": put separate zones into separate words; a space in a name is \032`},
		{"fallthrough for a zone elsewhere", "authority example.org example.net {\nfile a\nfallthrough a.example.org example.com\n}", `Testfile:3 - Error during parsing: fallthrough: no name of example.org. example.net. is in example.com.`},
		{"a bad escape in a zone", "authority a\\999.org {\nfile a\n}", `Testfile:1 - Error during parsing: zone name "a\\999.org.": bad escape`},
		{"a zone twice", "authority example.org Example.org. {\nfile a\n}", `Testfile:1 - Error during parsing: zone example.org. is there already, at Testfile:1`},
		{"a zone in two directives", "authority example.org {\nfile a\n}\nauthority example.org {\nfile b\n}", `Testfile:4 - Error during parsing: zone example.org. is there already, at Testfile:1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			controller := caddy.NewTestController("dns", c.corefile)
			controller.ServerBlockKeys = []string{".:53"}
			_, err := parse(controller)
			if err == nil {
				t.Fatal("no error")
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestParseZoneOutsideOfTheBlock(t *testing.T) {
	controller := caddy.NewTestController("dns", "authority example.com {\nfile a\n}")
	controller.ServerBlockKeys = []string{"example.org:53", "example.net:53"}
	_, err := parse(controller)
	want := "Testfile:1 - Error during parsing: no query for zone example.com. comes here: the server block is for example.net. example.org."
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestParseKeys: the server compares keys as text, so that many never match.
func TestParseKeys(t *testing.T) {
	for key, want := range map[string]string{
		"dns://bücher.example.:53":                   `server block key "bücher.example.": write it in ASCII, as the DNS has it: labels of other letters in the form xn--`,
		"dns://a b.example.:53":                      `server block key "a b.example.": no query matches this spelling: write "a\ b.example."`,
		`dns://a\032b.example.:53`:                   `server block key "a\\032b.example.": no query matches this spelling: write "a\ b.example."`,
		`dns://\065b.example.:53`:                    `server block key "\\065b.example.": no query matches this spelling: write ab.example.`,
		`dns://a;b.example.:53`:                      `server block key "a;b.example.": no query matches this spelling: write a\;b.example.`,
		"dns://example.org,example.net.:53":          `server block key "example.org,example.net.": put a space between zones; a comma in a name is \044, and such a name cannot be a server block key`,
		`dns://a\044b.example.:53`:                   `server block key "a\\044b.example.": put a space between zones; a comma in a name is \044, and such a name cannot be a server block key`,
		"dns://10.0.0.0/99.:53":                      `server block key "10.0.0.0/99.": not a network: want an address and the length of a prefix that it can have`,
		"dns://udp://example.org.:53":                `server block key "udp://example.org.": want a name alone: scheme and port belong to the key of the server block`,
		"dns://192.0.2.1.:53":                        `server block key "192.0.2.1.": an address is not a zone: write a network, with the length of its prefix`,
		"dns://" + strings.Repeat("a", 300) + ".:53": `server block key "dns://` + strings.Repeat("a", 300) + `.:53": specified zone is too long: 301 > 255`,
	} {
		controller := caddy.NewTestController("dns", "authority example.org {\nfile a\n}")
		controller.ServerBlockKeys = []string{"dns://.:53", key}
		_, err := parse(controller)
		if want = "Testfile:1 - Error during parsing: " + want; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestSetupNamesThePlugin(t *testing.T) {
	controller := caddy.NewTestController("dns", "authority example.org")
	controller.ServerBlockKeys = []string{".:53"}
	if err := setup(controller); err == nil || !strings.HasPrefix(err.Error(), "plugin/authority: ") {
		t.Errorf("error %v", err)
	}
}
