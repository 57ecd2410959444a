package zonefile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

var origin = dnsname.MustParse("example.org.")

// text writes a record as "owner TTL TYPE rdata".
func text(t testing.TB, r *Record) string {
	rr, err := rrset.ToRR(".", r.Type, 0, string(r.RDATA))
	if err != nil {
		t.Fatalf("%s %d: %v", r.Owner, r.Type, err)
	}
	rdata := strings.TrimSpace(strings.SplitN(rr.String(), "\t", 5)[4])
	return fmt.Sprintf("%s %d %s %s", r.Owner, r.TTL, typeName(r.Type), rdata)
}

// scanText reads a zone that stands in no folder and gives its records as text
// writes them.
func scanText(t testing.TB, r io.Reader) ([]string, error) {
	var got []string
	s := newScanner(origin)
	s.fn = func(r *Record) error {
		got = append(got, text(t, r))
		return nil
	}
	s.entries(newLexer(r, "example.org.zone"))
	return got, errors.Join(s.errs...)
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(want):
			t.Errorf("too much: %s", got[i])
		case i >= len(got):
			t.Errorf("missing:  %s", want[i])
		case got[i] != want[i]:
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

func TestScan(t *testing.T) {
	for _, c := range []struct {
		name string
		zone string
		want []string
	}{
		{"owner TTL class type", "www 300 IN A 192.0.2.1\n", []string{"www.example.org. 300 A 192.0.2.1"}},
		{"class before TTL", "www IN 300 A 192.0.2.1\n", []string{"www.example.org. 300 A 192.0.2.1"}},
		{"without class", "www 300 A 192.0.2.1\n", []string{"www.example.org. 300 A 192.0.2.1"}},
		{"small letters in class and type", "www 300 in a 192.0.2.1\n", []string{"www.example.org. 300 A 192.0.2.1"}},
		{"CLASS1 and TYPE1", "www 300 CLASS1 TYPE1 192.0.2.1\n", []string{"www.example.org. 300 A 192.0.2.1"}},
		{"letter case of the owner is kept", "WwW 300 A 192.0.2.1\n", []string{"WwW.example.org. 300 A 192.0.2.1"}},
		{"absolute owner", "www.example.org. 300 A 192.0.2.1\n", []string{"www.example.org. 300 A 192.0.2.1"}},
		{"owner @", "@ 300 A 192.0.2.1\n", []string{"example.org. 300 A 192.0.2.1"}},
		{"blank owner", "www 300 A 192.0.2.1\n\tA 192.0.2.2\n   300 A 192.0.2.3\n", []string{
			"www.example.org. 300 A 192.0.2.1", "www.example.org. 300 A 192.0.2.2", "www.example.org. 300 A 192.0.2.3",
		}},
		{"owner that looks like a type", "NS 300 A 192.0.2.1\nIN IN 300 A 192.0.2.1\n", []string{
			"NS.example.org. 300 A 192.0.2.1", "IN.example.org. 300 A 192.0.2.1",
		}},
		{"same owner text below another origin", "$TTL 1\na A 192.0.2.1\n$ORIGIN sub\na A 192.0.2.1\n", []string{
			"a.example.org. 1 A 192.0.2.1", "a.sub.example.org. 1 A 192.0.2.1",
		}},

		{"$ORIGIN", "$ORIGIN sub.example.org.\nwww 300 A 192.0.2.1\n@ 300 A 192.0.2.2\n", []string{
			"www.sub.example.org. 300 A 192.0.2.1", "sub.example.org. 300 A 192.0.2.2",
		}},
		{"$ORIGIN relative to the origin before", "$ORIGIN sub\n$origin deep\nwww 300 A 192.0.2.1\n", []string{"www.deep.sub.example.org. 300 A 192.0.2.1"}},
		{"blank owner after $ORIGIN is the owner before", "a 300 A 192.0.2.1\n$ORIGIN sub\n A 192.0.2.2\n", []string{
			"a.example.org. 300 A 192.0.2.1", "a.example.org. 300 A 192.0.2.2",
		}},
		{"$TTL", "$TTL 300\nwww A 192.0.2.1\nwww 60 A 192.0.2.2\nwww A 192.0.2.3\n$TTL 1d\nwww A 192.0.2.4\n", []string{
			"www.example.org. 300 A 192.0.2.1", "www.example.org. 60 A 192.0.2.2",
			"www.example.org. 300 A 192.0.2.3", "www.example.org. 86400 A 192.0.2.4",
		}},
		{"without $TTL the last TTL given", "www 60 A 192.0.2.1\nwww A 192.0.2.2\nwww 90 A 192.0.2.3\nwww A 192.0.2.4\n", []string{
			"www.example.org. 60 A 192.0.2.1", "www.example.org. 60 A 192.0.2.2",
			"www.example.org. 90 A 192.0.2.3", "www.example.org. 90 A 192.0.2.4",
		}},
		{"SOA without any TTL: its MINIMUM", "@ SOA ns host 1 2 3 4 5\nwww 60 A 192.0.2.1\nwww A 192.0.2.2\n", []string{
			"example.org. 5 SOA ns.example.org. host.example.org. 1 2 3 4 5",
			"www.example.org. 60 A 192.0.2.1", "www.example.org. 5 A 192.0.2.2",
		}},
		{"SOA with a TTL is a TTL given", "@ 10 SOA ns host 1 2 3 4 5\nwww A 192.0.2.2\n", []string{
			"example.org. 10 SOA ns.example.org. host.example.org. 1 2 3 4 5", "www.example.org. 10 A 192.0.2.2",
		}},
		{"TTL above 2^31-1 is 0", "a 4294967295 A 192.0.2.1\na 2147483648 A 192.0.2.2\na 2147483647 A 192.0.2.3\n", []string{
			"a.example.org. 0 A 192.0.2.1", "a.example.org. 0 A 192.0.2.2", "a.example.org. 2147483647 A 192.0.2.3",
		}},
		{"$TTL above 2^31-1 is 0", "$TTL 4294967295\na A 192.0.2.1\n", []string{"a.example.org. 0 A 192.0.2.1"}},
		{"MINIMUM above 2^31-1 as TTL is 0", "@ SOA ns host 1 2 3 4 4294967295\n", []string{
			"example.org. 0 SOA ns.example.org. host.example.org. 1 2 3 4 4294967295",
		}},
		{"TTL with units", "a 1h30m A 192.0.2.1\na 1W1D1S A 192.0.2.2\na 0w A 192.0.2.3\n", []string{
			"a.example.org. 5400 A 192.0.2.1", "a.example.org. 691201 A 192.0.2.2", "a.example.org. 0 A 192.0.2.3",
		}},
		{"units in SOA", "@ 1 SOA ns host 7 1h 15m 2w 1h30s\n", []string{
			"example.org. 1 SOA ns.example.org. host.example.org. 7 3600 900 1209600 3630",
		}},

		{"parentheses over lines", "@ 1 SOA ns host (\n  7 ; serial\n\t8 9\n\n  10 11 ) ; end\nwww 1 A 192.0.2.1\n", []string{
			"example.org. 1 SOA ns.example.org. host.example.org. 7 8 9 10 11", "www.example.org. 1 A 192.0.2.1",
		}},
		{"parentheses within parentheses", "a 1 TXT ( b ( c\n ) d )\n", []string{`a.example.org. 1 TXT "b" "c" "d"`}},
		{"parentheses without blanks", "a 1 TXT(b)\na 1 TXT b(c)d\n", []string{`a.example.org. 1 TXT "b"`, `a.example.org. 1 TXT "b" "c" "d"`}},
		{"parentheses around everything", "(a 1\nA\n192.0.2.1)\n", []string{"a.example.org. 1 A 192.0.2.1"}},
		{"a line within parentheses starts no record", "a 1 TXT (\nb A 192.0.2.1\n)\n", []string{`a.example.org. 1 TXT "b" "A" "192.0.2.1"`}},
		{"parentheses in directives", "$ORIGIN ( sub\n)\n$TTL (\n1 )\na A 192.0.2.1\n", []string{"a.sub.example.org. 1 A 192.0.2.1"}},

		{"comments", "; one\n  ; two\na 1 A 192.0.2.1;three\n;a 1 A 192.0.2.2\n", []string{"a.example.org. 1 A 192.0.2.1"}},
		{"comment ends a word", "a 1 TXT b;c\n", []string{`a.example.org. 1 TXT "b"`}},
		{"NUL and quotes in a comment", "a 1 A 192.0.2.1 ; \x00 \" ( \\\nb 1 A 192.0.2.1\n", []string{
			"a.example.org. 1 A 192.0.2.1", "b.example.org. 1 A 192.0.2.1",
		}},
		{"quoted string with blanks, comment and parenthesis", "a 1 TXT \"b c;d(e)\"\n", []string{`a.example.org. 1 TXT "b c;d(e)"`}},
		{"empty string", "a 1 TXT \"\" b\n", []string{`a.example.org. 1 TXT "" "b"`}},
		{"strings side by side", "a 1 TXT b\"c\"d\"\"\"e\"\n", []string{`a.example.org. 1 TXT "b" "c" "d" "" "e"`}},
		{"escaped quote and backslash in a string", `a 1 TXT "b\"c\\d"` + "\n", []string{`a.example.org. 1 TXT "b\"c\\d"`}},
		{"\\DDD in a string", `a 1 TXT "\065\010" \000x\255` + "\n", []string{`a.example.org. 1 TXT "A\010" "\000x\255"`}},
		{"escaped blank, semicolon and parenthesis", `a 1 TXT b\ c\;\(d\)` + "\n", []string{`a.example.org. 1 TXT "b c;(d)"`}},
		{"octets outside of ASCII", "a 1 TXT \"\xc3\xa4\"\n", []string{`a.example.org. 1 TXT "\195\164"`}},
		{"escaped dot in a name", `a\.b 1 NS c\.d` + "\n", []string{`a\.b.example.org. 1 NS c\.d.example.org.`}},
		{"\\DDD in a name", `\097\032b 1 NS \099` + "\n", []string{`a\032b.example.org. 1 NS c.example.org.`}},
		{"escaped @ and $", `\@ 1 NS \$x` + "\n\\$ORIGIN 1 NS @\n", []string{
			`\@.example.org. 1 NS $x.example.org.`, `\$ORIGIN.example.org. 1 NS example.org.`,
		}},
		{"names of the root", "$ORIGIN .\na 1 NS .\n", []string{"a. 1 NS ."}},

		{"CRLF", "$TTL 1\r\na A 192.0.2.1\r\n\r\n  A 192.0.2.2 ; x\r\nb TXT (\r\n c )\r\n", []string{
			"a.example.org. 1 A 192.0.2.1", "a.example.org. 1 A 192.0.2.2", `b.example.org. 1 TXT "c"`,
		}},
		{"tabs", "a\t1\tIN\tA\t192.0.2.1\t\n", []string{"a.example.org. 1 A 192.0.2.1"}},
		{"no newline at the end", "a 1 A 192.0.2.1", []string{"a.example.org. 1 A 192.0.2.1"}},
		{"no newline after a quoted string", "a 1 TXT \"b\"", []string{`a.example.org. 1 TXT "b"`}},
		{"no newline after a comment", "a 1 A 192.0.2.1 ; c", []string{"a.example.org. 1 A 192.0.2.1"}},
		{"byte order mark", "\xef\xbb\xbfa 1 A 192.0.2.1\n", []string{"a.example.org. 1 A 192.0.2.1"}},
		{"lines with blanks only", " \n\t\n \t ; c\na 1 A 192.0.2.1\n", []string{"a.example.org. 1 A 192.0.2.1"}},
		{"empty file", "", nil},

		{"unknown type", `a 1 TYPE65400 \# 4 0A0b 0c 0D` + "\n", []string{`a.example.org. 1 TYPE65400 \# 4 0a0b0c0d`}},
		{"unknown type without data", `a 1 TYPE65400 \# 0` + "\n", []string{`a.example.org. 1 TYPE65400 \# 0`}},
		{"known type in generic form", `a 1 A \# 4 C0000201` + "\n", []string{"a.example.org. 1 A 192.0.2.1"}},
		{"known type as TYPE15", "a 1 TYPE15 10 b\n", []string{"a.example.org. 1 MX 10 b.example.org."}},
		{"hex cut within an octet", `a 1 TYPE65400 \# 2 0 A0 b` + "\n", []string{`a.example.org. 1 TYPE65400 \# 2 0a0b`}},
		{"NULL", `a 1 NULL \# 1 2a` + "\n", []string{"a.example.org. 1 NULL *"}},

		{"number with leading zeros", "a 1 MX 010 b\n", []string{"a.example.org. 1 MX 10 b.example.org."}},
		{"base64 in pieces", "a 1 DNSKEY 257 3 RSASHA256 AQ\tAB ( A\nw== )\n", []string{"a.example.org. 1 DNSKEY 257 3 8 AQABAw=="}},
		{"bit map in any order", "a 1 NSEC b TXT TYPE1234 A MX a\n", []string{"a.example.org. 1 NSEC b.example.org. A MX TXT TYPE1234"}},
		{"NSEC3 without types", "a 1 NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr\n", []string{
			"a.example.org. 1 NSEC3 1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR",
		}},
		{"times as date and as number", "a 1 RRSIG A 8 2 3600 20260102030405 0 1 @ AQAB\n", []string{
			"a.example.org. 1 RRSIG A 8 2 3600 20260102030405 19700101000000 1 example.org. AQAB",
		}},
		{"CDS that deletes", "@ 1 CDS 0 0 0 00\n@ 1 CDNSKEY 0 3 0 AA==\n", []string{
			"example.org. 1 CDS 0 0 0 00", "example.org. 1 CDNSKEY 0 3 0 AA==",
		}},
		{"parser of miekg/dns with relative names", "$ORIGIN Sub\na 1 HTTPS 1 b ( alpn=\"h2,h3\"\n port=443 )\na 1 SVCB 0 @\n", []string{
			`a.Sub.example.org. 1 HTTPS 1 b.Sub.example.org. alpn="h2,h3" port="443"`, "a.Sub.example.org. 1 SVCB 0 Sub.example.org.",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := scanText(t, strings.NewReader(c.zone))
			if err != nil {
				t.Error(err)
			}
			same(t, got, c.want...)
			slow, err := scanText(t, iotest.OneByteReader(strings.NewReader(c.zone)))
			if err != nil {
				t.Error(err)
			}
			same(t, slow, c.want...)
		})
	}
}

func TestScanErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		zone string
		want string
	}{
		{"unknown directive", "$FOO bar\n", `1: directive: "$FOO" is none; write \$ for an owner that starts with $`},
		{"directive behind a blank", "a 1 A 192.0.2.1\n $TTL 5\n", `2: type: "$TTL" is none, nor a class or a TTL`},
		{"$ORIGIN without a name", "\n$ORIGIN\n", `2: $ORIGIN: the origin is missing`},
		{"$ORIGIN with two names", "$ORIGIN a b\n", `1: $ORIGIN: "b" is one argument too many`},
		{"$ORIGIN in quotes", "$ORIGIN \"a\"\n", `1: $ORIGIN: "a" where a name must be`},
		{"$ORIGIN with an empty label", "$ORIGIN a..b\n", `1: $ORIGIN: "a..b": empty label`},
		{"$TTL without a TTL", "$TTL ; none\n", `1: $TTL: the TTL is missing`},
		{"$TTL that is none", "$TTL 68y\n", `1: TTL: "68y" is none`},
		{"$TTL with two", "$TTL 1 2\n", `1: $TTL: "2" is one argument too many`},
		{"$INCLUDE without a file", "$INCLUDE\n", `1: $INCLUDE: the file name is missing`},
		{"$GENERATE without a range", "$GENERATE\n", `1: $GENERATE: the range is missing`},

		{"owner left out at the start", "\n A 192.0.2.1\n", `2: owner: left out, and there is none before`},
		{"owner in quotes", "\"a\" 1 A 192.0.2.1\n", `1: owner: "a" where a name must be`},
		{"owner with an empty label", "a..b 1 A 192.0.2.1\n", `1: owner: "a..b": empty label`},
		{"owner that starts with a dot", ".b 1 A 192.0.2.1\n", `1: owner: ".b": empty label`},
		{"label of 64 octets", strings.Repeat("a", 64) + " 1 A 192.0.2.1\n", `1: owner: "` + strings.Repeat("a", 60) + `"…: label longer than 63 octets`},
		{"name of 256 octets", "a 1 NS " + strings.Repeat("abcdefg.", 31) + "abcdefg\n", `1: NS: "` + strings.Repeat("abcdefg.", 7) + `abcd"…: name longer than 255 octets`},
		{"bad escape in a name", `a\300 1 A 192.0.2.1` + "\n", `1: owner: "a\\300": bad escape`},
		{"owner alone", "a\n", `1: type: the line ends before it`},
		{"owner and class alone", "a IN ; c\n", `1: type: the line ends before it`},
		{"unknown type", "a 1 FOO b\n", `1: type: "FOO" is none, nor a class or a TTL`},
		{"type number too great", "a 1 TYPE65536 b\n", `1: type: "TYPE65536" is none, nor a class or a TTL`},
		{"type of messages", "a 1 OPT \\# 0\n", `1: type: OPT cannot be in a zone`},
		{"type of questions", "a 1 TYPE255 \\# 0\n", `1: type: TYPE255 cannot be in a zone`},
		{"class CH", "a 1 CH TXT b\n", `1: class: CH, only IN is served`},
		{"class by number", "a CLASS3 1 TXT b\n", `1: class: CLASS3, only IN is served`},
		{"class twice", "a IN 1 IN A 192.0.2.1\n", `1: class: "IN" after another class`},
		{"TTL twice", "a 1 IN 2 A 192.0.2.1\n", `1: TTL: "2" after another TTL`},
		{"TTL above 2^32-1", "a 4294967296 A 192.0.2.1\n", `1: TTL: "4294967296" is none`},
		{"TTL whose last number has no unit", "a 1h30 A 192.0.2.1\n", `1: TTL: "1h30" is none`},
		{"TTL of units above 2^32-1", "a 7102w A 192.0.2.1\n", `1: TTL: "7102w" is none`},
		{"no TTL at all", "a A 192.0.2.1\nb A 192.0.2.1\n", `1: TTL: left out, and neither a $TTL nor another TTL is before`},
		{"type in quotes", "a 1 \"A\" 192.0.2.1\n", `1: type: "A" where TTL, class or type must be`},

		{"quote that is not closed", "a 1 TXT \"b\nc 1 A 192.0.2.1\n", `1: syntax: quoted string without its closing quote in the same line`},
		{"quote that is not closed before the end", "a 1 TXT \"b", `1: syntax: quoted string without its closing quote in the same line`},
		{"backslash at the end of a quoted line", "a 1 TXT \"b\\\n\"\n", `1: syntax: quoted string without its closing quote in the same line
example.org.zone:2: syntax: quoted string without its closing quote in the same line`},
		{"backslash at the end of the line", "a 1 TXT b\\\nc 1 A 192.0.2.1\n", `1: syntax: backslash at the end of the line`},
		{"backslash at the end of the file", "a 1 TXT b\\", `1: syntax: backslash at the end of the line`},
		{"closing parenthesis alone", "a 1 TXT b )\n", `1: syntax: closing parenthesis without an opening one`},
		{"opening parenthesis alone", "a 1 TXT b\nc 1 TXT ( d\n e\n", `2: parenthesis: opened here and not closed before the end of the file`},
		{"record that forgot its closing parenthesis", "a 1 A ( 192.0.2.1\nb 1 A 192.0.2.2\n", `2: A: "b" is more than the record has
example.org.zone:1: parenthesis: opened here and not closed before the end of the file`},
		{"carriage return alone", "a 1 A 192.0.2.1\rb 1 A 192.0.2.1\n", `1: syntax: carriage return within a line`},
		{"NUL in a word", "a 1 TXT b\x00c\n", `1: syntax: NUL octet`},
		{"NUL alone", "\x00\n", `1: syntax: NUL octet`},
		{"NUL in quotes", "a 1 TXT \"b\x00\"\n", `1: syntax: NUL octet`},
		{"NUL behind a backslash", "a 1 TXT b\\\x00\n", `1: syntax: NUL octet`},

		{"A without address", "a 1 A\n", `1: A: the line ends where an IPv4 address must be`},
		{"A with an IPv6 address", "a 1 A 2001:db8::1\n", `1: A: "2001:db8::1" where an IPv4 address must be`},
		{"A out of range", "a 1 A 192.0.2.256\n", `1: A: "192.0.2.256" where an IPv4 address must be`},
		{"A with a leading zero", "a 1 A 192.0.2.01\n", `1: A: "192.0.2.01" where an IPv4 address must be`},
		{"A with two addresses", "a 1 A 192.0.2.1 192.0.2.2\n", `1: A: "192.0.2.2" is more than the record has`},
		{"AAAA with an IPv4 address", "a 1 AAAA 192.0.2.1\n", `1: AAAA: "192.0.2.1" where an IPv6 address must be`},
		{"AAAA with a scope", "a 1 AAAA fe80::1%eth0\n", `1: AAAA: "fe80::1%eth0" where an IPv6 address must be`},
		{"NS in quotes", "a 1 NS \"b\"\n", `1: NS: quoted string "b" where a domain name must be`},
		{"MX without preference", "a 1 MX b\n", `1: MX: "b" where a number up to 65535 must be`},
		{"MX preference too great", "a 1 MX 65536 b\n", `1: MX: "65536" where a number up to 65535 must be`},
		{"SOA with a field missing: the line of the end", "@ 1 SOA ns host (\n1\n2\n3 4\n)\n", `5: SOA: the line ends where a number of seconds must be`},
		{"SOA with a bad field: its line", "@ 1 SOA ns host (\n1\n2x\n3 4 5\n)\n", `3: SOA: "2x" where a number of seconds must be`},
		{"TXT without string", "a 1 TXT\n", `1: TXT: the line ends where a string must be`},
		{"TXT with a long string", "a 1 TXT " + strings.Repeat("b", 256) + "\n", `1: TXT: "` + strings.Repeat("b", 60) + `"…: string longer than 255 octets: write it as several`},
		{"TXT with a bad escape", `a 1 TXT b\256` + "\n", `1: TXT: "b\\256": bad escape`},
		{"TXT with a short escape", `a 1 TXT b\25` + "\n", `1: TXT: "b\\25": bad escape`},
		{"TXT longer than 65535 octets", "a 1 TXT" + strings.Repeat(" "+strings.Repeat("b", 255), 257) + "\n", `1: TXT: "` + strings.Repeat("b", 60) + `"…: RDATA longer than 65535 octets`},
		{"HINFO with one string", "a 1 HINFO \"PC Linux\"\n", `1: HINFO: the line ends where a string must be`},
		{"DS with half an octet", "a 1 DS 1 8 2 abc\n", `1: DS: odd number of hex digits: 3`},
		{"DS not in hex", "a 1 DS 1 8 2 abxy\n", `1: DS: "abxy": not in hex`},
		{"DS without digest", "a 1 DS 1 8 2\n", `1: DS: the line ends where hex digits must be`},
		{"DS with an unknown algorithm", "a 1 DS 1 FOO 2 ab\n", `1: DS: "FOO" where an algorithm must be`},
		{"DNSKEY with bad base64", "a 1 DNSKEY 257 3 8 AQ=B\n", `1: DNSKEY: bad base64`},
		{"RRSIG with a date that is none", "a 1 RRSIG A 8 2 1 20260230000000 0 1 @ AQAB\n", `1: RRSIG: "20260230000000" where a time must be`},
		{"NSEC without types", "a 1 NSEC b\n", `1: NSEC: the line ends where an RR type must be`},
		{"NSEC with an unknown type", "a 1 NSEC b A FOO\n", `1: NSEC: "FOO": no RR type`},
		{"NSEC3 with a hash that is none", "a 1 NSEC3 1 0 0 - zz A\n", `1: NSEC3: "zz" where a hash must be`},
		{"NSEC3PARAM with a salt that is none", "a 1 NSEC3PARAM 1 0 0 abc\n", `1: NSEC3PARAM: "abc" where a salt must be`},
		{"CAA with a tag that is none", "a 1 CAA 0 is-sue x\n", `1: CAA: "is-sue" where a tag must be`},
		{"CAA with two values", "a 1 CAA 0 issue x y\n", `1: CAA: "y" is more than the record has`},
		{"LOC too far north", "a 1 LOC 91 N 1 E 0\n", `1: LOC: "91": no angle in range: degrees, minutes, seconds and N, S, E or W`},
		{"LOC without longitude", "a 1 LOC 9 N\n", `1: LOC: the end of the line: no angle in range: degrees, minutes, seconds and N, S, E or W`},
		{"LOC too low", "a 1 LOC 9 N 9 E -100001m\n", `1: LOC: "-100001m": no altitude from -100000 to 42849672.95 meters`},
		{"NID with three groups", "a 1 NID 10 1:2:3\n", `1: NID: "1:2:3" where four groups of up to four hex digits must be`},
		{"NID with a long group", "a 1 NID 10 1:2:3:00004\n", `1: NID: "1:2:3:00004" where four groups of up to four hex digits must be`},
		{"L64 with a letter", "a 1 L64 10 1:2:3:g\n", `1: L64: "1:2:3:g" where four groups of up to four hex digits must be`},
		{"EUI48 with colons", "a 1 EUI48 00:00:5e:00:53:2a\n", `1: EUI48: "00:00:5e:00:53:2a" where six groups of two hex digits must be`},
		{"EUI64 that is short", "a 1 EUI64 00-00-5e-00-53-2a\n", `1: EUI64: "00-00-5e-00-53-2a" where eight groups of two hex digits must be`},
		{"IPSECKEY of another kind than its gateway", "a 1 IPSECKEY 1 2 2 192.0.2.1 AQAB\n", `1: IPSECKEY: "192.0.2.1" where an IPv6 address must be`},
		{"IPSECKEY without gateway", "a 1 IPSECKEY 1 0 2 a AQAB\n", `1: IPSECKEY: "a" where "." must be`},
		{"IPSECKEY of an unknown kind", "a 1 IPSECKEY 1 4 2 a AQAB\n", `1: IPSECKEY: "4" where a number up to 3 must be`},
		{"AMTRELAY without discovery bit", "a 1 AMTRELAY 1 2 1 192.0.2.1\n", `1: AMTRELAY: "2" where 0 or 1 must be`},
		{"AMTRELAY without relay", "a 1 AMTRELAY 1 0 1\n", `1: AMTRELAY: the line ends where an IPv4 address must be`},
		{"NULL in text", "a 1 NULL abc\n", `1: NULL: a type without a text form: write \# LENGTH HEX`},
		{"unknown type in text", "a 1 TYPE65400 abc\n", `1: TYPE65400: a type without a text form: write \# LENGTH HEX`},
		{"generic form without length", `a 1 A \#` + "\n", `1: A: \# without a length`},
		{"generic form with a bad length", `a 1 A \# x` + "\n", `1: A: "x" where the length after \# must be`},
		{"generic form of another length", `a 1 TYPE65400 \# 3 0102` + "\n", `1: TYPE65400: 2 octets after \# where 3 are announced`},
		{"generic form that is no A", `a 1 A \# 3 c00002` + "\n", `1: A: RDATA is not laid out as the type demands`},
		{"generic form with a compression pointer", `a 1 NS \# 2 c000` + "\n", `1: NS: RDATA is not laid out as the type demands`},
		{"HTTPS with an unknown key", "a 1 HTTPS 1 . (\nport=1\nfoo=bar )\n", `3: HTTPS: "foo=bar": no key of a parameter`},
		{"HTTPS with a key that is quoted", "a 1 HTTPS 1 . \"port=1\"\n", `1: HTTPS: "port=1": no key of a parameter`},
		{"HTTPS with a key behind a quoted value", "a 1 HTTPS 1 . alpn=\"h2\"port=1\n", `1: HTTPS: "port=1": no key of a parameter`},
		{"HTTPS with the invalid key", "a 1 HTTPS 1 . key65535=1\n", `1: HTTPS: "key65535=1": no key of a parameter`},
		{"HTTPS with a key that has a leading zero", "a 1 HTTPS 1 . key01=1\n", `1: HTTPS: "key01=1": no key of a parameter`},
		{"HTTPS with a key twice (RFC 9460 D.3)", "a 1 HTTPS 1 . key123=abc key123=def\n", `1: HTTPS: key123: the key is there twice`},
		{"HTTPS without a value (RFC 9460 D.3)", "a 1 HTTPS 1 . mandatory\n", `1: HTTPS: mandatory: no value that the key may have`},
		{"HTTPS without ALPN", "a 1 HTTPS 1 . alpn\n", `1: HTTPS: alpn: no value that the key may have`},
		{"HTTPS without ALPN behind =", "a 1 HTTPS 1 . alpn= port=1\n", `1: HTTPS: alpn: no value that the key may have`},
		{"HTTPS without port", "a 1 HTTPS 1 . port\n", `1: HTTPS: port: no value that the key may have`},
		{"HTTPS without address", "a 1 HTTPS 1 . ipv4hint\n", `1: HTTPS: ipv4hint: no value that the key may have`},
		{"HTTPS without IPv6 address", "a 1 HTTPS 1 . ipv6hint=\n", `1: HTTPS: ipv6hint: no value that the key may have`},
		{"HTTPS with ALPN that is empty in between", "a 1 HTTPS 1 . alpn=h2,,h3\n", `1: HTTPS: alpn: no value that the key may have`},
		{"HTTPS with a bad escape in ALPN", `a 1 HTTPS 1 . alpn="h\\2"` + "\n", `1: HTTPS: alpn: no value that the key may have`},
		{"HTTPS with a protocol of 256 octets", "a 1 HTTPS 1 . alpn=" + strings.Repeat("h", 256) + "\n", `1: HTTPS: alpn: no value that the key may have`},
		{"HTTPS with a port out of range", "a 1 HTTPS 1 . port=65536\n", `1: HTTPS: port: no value that the key may have`},
		{"HTTPS with an address of the other kind", "a 1 HTTPS 1 . ipv6hint=192.0.2.1\n", `1: HTTPS: ipv6hint: no value that the key may have`},
		{"HTTPS with bad base64", "a 1 HTTPS 1 . ech=A\n", `1: HTTPS: ech: no value that the key may have`},
		{"HTTPS with a value where none may be (RFC 9460 D.3)", "a 1 HTTPS 1 . alpn=h2 no-default-alpn=abc\n", `1: HTTPS: no-default-alpn: no value that the key may have`},
		{"HTTPS with no-default-alpn alone", "a 1 HTTPS 1 . no-default-alpn\n", `1: HTTPS: no-default-alpn without alpn`},
		{"HTTPS with a mandatory key that is not there (RFC 9460 D.3)", "a 1 HTTPS 1 . mandatory=key123\n", `1: HTTPS: a mandatory key is not there: key123`},
		{"HTTPS with itself mandatory (RFC 9460 D.3)", "a 1 HTTPS 1 . mandatory=mandatory\n", `1: HTTPS: mandatory: no value that the key may have`},
		{"HTTPS with a mandatory key twice (RFC 9460 D.3)", "a 1 HTTPS 1 . mandatory=key123,key123 key123=abc\n", `1: HTTPS: mandatory: no value that the key may have`},
		{"parser of miekg/dns: our line", "\n\na 1 APL (\n1:192.0.2.0/24 2:192.0.2.0/24 )\n", `4: APL: address mismatch with the APL family: "2:192.0.2.0/24"`},
		{"parser of miekg/dns: no data", "a 1 HIP\n", `1: HIP: the line ends where RDATA must be`},
		{"parser of miekg/dns: its reason is lost", "a 1 APL x:192.0.2.0/24\n", `1: APL: bad RDATA before "x:192.0.2.0/24"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(c.zone), iotest.OneByteReader(strings.NewReader(c.zone))} {
				_, err := scanText(t, r)
				if err == nil {
					t.Fatal("no error")
				}
				if got := strings.TrimPrefix(err.Error(), "example.org.zone:"); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
			}
		})
	}
}

// A broken record does not hide those behind it, nor further errors.
func TestScanGoesOnAfterErrors(t *testing.T) {
	got, err := scanText(t, strings.NewReader(`$TTL 60
a A 192.0.2.1
b A 192.0.2.
c TXT "x
d MX 10
e TXT ( x
        ) FOO )
f A 192.0.2.6
`))
	same(t, got, "a.example.org. 60 A 192.0.2.1", "f.example.org. 60 A 192.0.2.6")
	want := `example.org.zone:3: A: "192.0.2." where an IPv4 address must be
example.org.zone:4: syntax: quoted string without its closing quote in the same line
example.org.zone:5: MX: the line ends where a domain name must be
example.org.zone:7: syntax: closing parenthesis without an opening one`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	var e *Error
	if !errors.As(err, &e) || e.Position != (Position{"example.org.zone", 3}) || e.Rule != "A" {
		t.Errorf("%+v", e)
	}
}

func TestScanStopsAfterTenErrors(t *testing.T) {
	got, err := scanText(t, strings.NewReader(strings.Repeat("a 1 A x\n", 20)+"b 1 A 192.0.2.1\n"))
	same(t, got)
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxErrors+1 || lines[9] != `example.org.zone:10: A: "x" where an IPv4 address must be` || lines[10] != errMore.Error() {
		t.Errorf("%d lines: %v", len(lines), err)
	}
}

func TestScanPositions(t *testing.T) {
	zone := "; first\n$TTL 1\na A 192.0.2.1\n\nb TXT (\n x\n y )\n  A 192.0.2.2\n$GENERATE 1-2 c$ A 192.0.2.3\n(\nd A 192.0.2.4)"
	var got []string
	s := newScanner(origin)
	s.fn = func(r *Record) error {
		got = append(got, fmt.Sprintf("%s %s", r.Position, text(t, r)))
		return nil
	}
	s.entries(newLexer(strings.NewReader(zone), "zone"))
	if len(s.errs) > 0 {
		t.Fatal(s.errs)
	}
	same(t, got,
		"zone:3 a.example.org. 1 A 192.0.2.1", `zone:5 b.example.org. 1 TXT "x" "y"`, "zone:8 b.example.org. 1 A 192.0.2.2",
		"zone:9 c1.example.org. 1 A 192.0.2.3", "zone:9 c2.example.org. 1 A 192.0.2.3", "zone:11 d.example.org. 1 A 192.0.2.4")
}

// Long lines and tokens: what fits into RDATA passes, the rest is an error and
// the buffer stays bounded.
func TestScanLongLines(t *testing.T) {
	hex := strings.Repeat("0a", 65535)
	key := "AQ" + strings.Repeat("A", 87378)
	var params strings.Builder
	for i := range 1 << 16 {
		fmt.Fprintf(&params, " key%d", i+64)
	}
	ddd := strings.Repeat(`\097`, 65535-2-len("issue"))
	for _, c := range []struct {
		name, zone, want string
		records          int
	}{
		{"comment of 1 MB", ";" + strings.Repeat("x", 1<<20) + "\na 1 A 192.0.2.1\n", "", 1},
		{"blanks of 1 MB", "a" + strings.Repeat(" ", 1<<20) + "1 A 192.0.2.1\n", "", 1},
		{"hex of 65535 octets in one word", `a 1 TYPE65400 \# 65535 ` + hex + "\n", "", 1},
		{"hex of 65536 octets", `a 1 OPENPGPKEY \# 65535 ` + hex + "0a\nb 1 A 192.0.2.1\n", `1: OPENPGPKEY: "` + hex[:60] + `"…: RDATA longer than 65535 octets`, 1},
		{"base64 of 65535 octets", "a 1 OPENPGPKEY " + key + "\n", "", 1},
		{"base64 of 65538 octets", "a 1 OPENPGPKEY " + key + "AAAA\n", `1: OPENPGPKEY: RDATA longer than 65535 octets`, 0},
		{"base64 without end", "a 1 OPENPGPKEY" + strings.Repeat(" "+strings.Repeat("A", 1000), 1000) + "\n", `1: OPENPGPKEY: "` + strings.Repeat("A", 60) + `"…: RDATA longer than 65535 octets`, 0},
		{"string of 65528 octets written as \\DDD", `a 1 CAA 0 issue "` + ddd + "\"\n", "", 1},
		{"string one octet too long", `a 1 CAA 0 issue "` + ddd + "x\"\n", "1: CAA: RDATA longer than 65535 octets", 0},
		{"word of 1 MB", "a 1 TXT " + strings.Repeat("x", 1<<20) + "\nb 1 A 192.0.2.1\n", "1: syntax: word longer than 262144 octets", 1},
		{"word of 1 MB of backslashes", "a 1 TXT x" + strings.Repeat(`\`, 1<<20) + "\nb 1 A 192.0.2.1\n", "1: syntax: word longer than 262144 octets", 1},
		{"quoted string of 1 MB", "a 1 TXT \"" + strings.Repeat("x", 1<<20) + "\nb 1 A 192.0.2.1\n", "1: syntax: quoted string longer than 262144 octets", 1},
		{"types without end", "a 1 NSEC b" + strings.Repeat(" A", 1<<20) + "\n", `1: NSEC: "A": RDATA longer than 65535 octets`, 0},
		{"servers without end", "a 1 HIP 2 ab AQAB" + strings.Repeat(" a", 1<<20) + "\n", "1: HIP: RDATA longer than 65535 octets", 0},
		{"parameters without end", "a 1 HTTPS 1 ." + params.String() + "\n", "1: HTTPS: key16447: RDATA longer than 65535 octets", 0},
		{"parameter of 1 MB", "a 1 HTTPS 1 . alpn=" + strings.Repeat("h,", 100_000) + "h\n", "1: HTTPS: alpn: RDATA longer than 65535 octets", 0},
		{"mandatory keys without end", "a 1 HTTPS 1 . mandatory=" + strings.Repeat("key9,", 40_000) + "key9\n", "1: HTTPS: mandatory: RDATA longer than 65535 octets", 0},
		{"$GENERATE without end", "$GENERATE 1-2 a$ 1 TXT" + strings.Repeat(" x", 1<<20) + "\n", "1: TXT: RDATA longer than 65535 octets", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			records := 0
			s := newScanner(origin)
			s.fn = func(*Record) error { records++; return nil }
			x := newLexer(strings.NewReader(c.zone), "zone")
			s.entries(x)
			got := ""
			if err := errors.Join(s.errs...); err != nil {
				got = strings.TrimPrefix(err.Error(), "zone:")
			}
			if got != c.want || records != c.records {
				t.Errorf("%d records, error %.200s\nwant %d, %.200s", records, got, c.records, c.want)
			}
			if len(x.buf) > maxToken {
				t.Errorf("buffer of %d octets", len(x.buf))
			}
		})
	}
}

func TestScanReadError(t *testing.T) {
	got, err := scanText(t, io.MultiReader(strings.NewReader("a 1 A 192.0.2.1\nb 1 A 192."), iotest.ErrReader(errors.New("disk on fire"))))
	same(t, got, "a.example.org. 1 A 192.0.2.1")
	if err == nil || !strings.HasSuffix(err.Error(), "example.org.zone:2: file: disk on fire") {
		t.Error(err)
	}
}

func TestScanCallbackError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "example.org.zone")
	write(t, path, "$TTL 1\na A 192.0.2.1\nb A 192.0.2.1\nc A 192.0.2.1\n")
	stop, n := errors.New("enough"), 0
	err := Scan(path, origin, func(*Record) error {
		if n++; n == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 2 || err.Error() != path+":3: record: enough" {
		t.Errorf("%d: %v", n, err)
	}
}

// The owner of a record stays, its RDATA does not.
func TestScanOwnerStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "example.org.zone")
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "n%d 1 A 192.0.2.1\n", i)
	}
	write(t, path, b.String())
	var owners []dnsname.Name
	if err := Scan(path, origin, func(r *Record) error {
		owners = append(owners, r.Owner)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, o := range owners {
		if want := fmt.Sprintf("n%d.example.org.", i); o.String() != want {
			t.Fatalf("owner %d is %s", i, o)
		}
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
