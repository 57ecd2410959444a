package zonefile

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// samples has RDATA in text form for every type that miekg/dns knows and that
// can be in a zone.
var samples = map[string][]string{
	"A":          {"192.0.2.1", "0.0.0.0", "255.255.255.255"},
	"AAAA":       {"2001:db8::1", "::", "::ffff:192.0.2.1", "1:2:3:4:5:6:7:8"},
	"AFSDB":      {"1 afs.example.org."},
	"AMTRELAY":   {"10 0 1 203.0.113.15", "10 0 2 2001:db8::15", "128 0 3 amt.example.org.", "10 1 0 ."},
	"APL":        {"", "1:192.168.32.0/21 !1:192.168.38.0/28", "2:ff00:0:0:0:0:0:0:0/8"},
	"AVC":        {`"app-name:x" "app-class:y"`},
	"CAA":        {`0 issue "ca.example.net; account=230123"`, `128 tbs Unknown`, `0 issue ";"`, `0 iodef ""`},
	"CDNSKEY":    {"256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3Cbl+BBZH4b/0PY1kxkmvHjcZc8n=", "0 3 0 AA=="},
	"CDS":        {"60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118", "0 0 0 00"},
	"CERT":       {"PGP 0 0 AQAB", "1 65535 RSASHA1 AQAB"},
	"CNAME":      {"www", "@", "www.example.net."},
	"CSYNC":      {"66 3 A NS AAAA", "1 0"},
	"DHCID":      {"AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="},
	"DLV":        {"60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118"},
	"DNAME":      {"sub.example.net."},
	"DNSKEY":     {"257 3 8 AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3"},
	"DS":         {"60485 5 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B83 83F6A1E4469DA50A", "1 RSASHA256 2 ab"},
	"EID":        {"e32c6f78163a9348"},
	"EUI48":      {"00-00-5e-00-53-2a", "FF-FF-FF-FF-FF-FF"},
	"EUI64":      {"00-00-5e-ef-10-00-00-2a"},
	"GID":        {"10"},
	"GPOS":       {"-32.6882 116.8652 10.0", "0 .5 +10."},
	"HINFO":      {`"PC-Intel-700mhz" "Redhat Linux 7.1"`, `a b`},
	"HIP":        {"2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p9+LrV4e1 rvs.example.org. rvs2", "2 20010010 AwEAAbdx"},
	"HTTPS":      {`1 . alpn="h2,h3" no-default-alpn port=8443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1`, "0 www", "16 foo mandatory=alpn alpn=h2 key667=\"hello\" dohpath=/q{?dns} ech=AQAB ohttp"},
	"IPSECKEY":   {"10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==", "10 3 2 mygateway AQNR", "10 2 2 2001:db8::1 AQNR", "10 0 2 . AQNR"},
	"ISDN":       {`"150862028003217" "004"`},
	"KEY":        {"256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3Cbl+BBZH4b/0PY1kxkmvHjcZc8n=", "49152 3 0"},
	"KX":         {"10 kx"},
	"L32":        {"10 10.1.2.0"},
	"L64":        {"10 2001:0DB8:1140:1000"},
	"LOC":        {"52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m", "42 21 54 N 71 06 18 W -24m 30m", "9 N 9 E 0", "32 7 19 S 116 2 25 E 10m 1m 2m 3m", "90 S 180 W 42849672.95m 90000000m"},
	"LP":         {"10 l64-subnet1"},
	"MB":         {"mb"},
	"MD":         {"md"},
	"MF":         {"mf"},
	"MG":         {"mg"},
	"MINFO":      {"rmail email.example.net."},
	"MR":         {"mr"},
	"MX":         {"10 mail", "0 ."},
	"NAPTR":      {`100 50 "s" "z3950+I2L+I2C" "" _z3950._tcp.gatech.edu.`, `100 10 "u" "E2U+sip" "!^.*$!sip:a@b.example!" .`},
	"NID":        {"10 0014:4fff:ff20:ee64"},
	"NIMLOC":     {"32251464FCABEF"},
	"NINFO":      {`"some text" more`},
	"NS":         {"ns1", "ns1.example.net."},
	"NSAP-PTR":   {"foo"},
	"NSEC":       {"host A MX RRSIG NSEC TYPE1234", "@ A"},
	"NSEC3":      {"1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr NS SOA MX RRSIG DNSKEY NSEC3PARAM", "1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR"},
	"NSEC3PARAM": {"1 0 12 aabbccdd", "1 0 0 -"},
	"NXT":        {"host A MX"},
	"OPENPGPKEY": {"mQINBFit5cQBEAD8Ja9Y/B0="},
	"PTR":        {"host.example.net."},
	"PX":         {"50 net2.it. PRMD-net2.ADMD-p400.C-it."},
	"RESINFO":    {"qnamemin exterr=15-17 infourl=https://resolver.example.com/guide"},
	"RKEY":       {"0 255 1 AQAB"},
	"RP":         {"admin txt"},
	"RRSIG":      {"A 5 3 86400 20030322173103 20030220173103 2642 example.com. oJB1W6WNGv+ldvQ3WDG0MQkg5IEhjRip8WTrPYGv07h108dUKGMeDPKi", "TYPE731 RSASHA256 2 0 1 2 0 @ AQAB"},
	"RT":         {"2 relay"},
	"SIG":        {"A 5 3 86400 20030322173103 20030220173103 2642 example.com. oJB1W6WNGv+ldvQ3WDG0MQkg5IEhjRip8WTrPYGv07h108dUKGMeDPKi"},
	"SMIMEA":     {"3 0 0 308202C5308201"},
	"SOA":        {"ns1 hostmaster.example.net. 2026010100 7200 3600 1209600 300", "ns1 . 4294967295 1h 15m 2w 1d"},
	"SPF":        {`"v=spf1 +mx -all"`},
	"SRV":        {"0 5 5060 sip", "0 0 0 ."},
	"SSHFP":      {"2 1 123456789abcdef67890123456789abcdef67890"},
	"SVCB":       {"1 svc alpn=doq port=853", "0 svc.example.net."},
	"TA":         {"1 8 2 abcd"},
	"TALINK":     {"h0 h2.example.net."},
	"TLSA":       {"3 1 1 0C72AC70B745AC19998811B131D662C9AC69DBDBE7CB23E5B514B56664C5D3D6"},
	"TXT":        {`"a" "b c" d`, `""`, `"\000\255\""`},
	"UID":        {"0"},
	"UINFO":      {`"some one"`},
	"URI":        {`10 1 "ftp://ftp1.example.com/public"`},
	"X25":        {"311061700956"},
	"ZONEMD":     {"2018031500 1 1 FEBE3D4CE2EC2FFA4BA99D46CD69D6D29711E55217057BEE7EB1A7B641A47BA7FED2DD5B97AE499FAFA4F22C6BD647DE"},
}

// scanOne reads a zone of one record.
func scanOne(t testing.TB, line string) (typ uint16, rdata string, err error) {
	t.Helper()
	s := newScanner(origin)
	s.fn = func(r *Record) error {
		typ, rdata = r.Type, string(r.RDATA)
		return nil
	}
	s.entries(newLexer(strings.NewReader(line+"\n"), "zone"))
	if len(s.errs) > 0 {
		return 0, "", s.errs[0]
	}
	return typ, rdata, nil
}

// wireOf gives the RDATA that miekg/dns makes of a record.
func wireOf(line string) (string, error) {
	zp := dns.NewZoneParser(strings.NewReader(line+"\n"), origin.String(), "")
	rr, ok := zp.Next()
	if !ok {
		return "", fmt.Errorf("no record: %w", zp.Err())
	}
	_, rdata, err := rrset.FromRR(rr)
	return rdata, err
}

// Every type is read as miekg/dns reads it, from its text, from the generic form
// and from the text that miekg/dns writes.
func TestEveryType(t *testing.T) {
	for number := range dns.TypeToRR {
		name := typeName(number)
		if rrset.IsMeta(number) || number == dns.TypeNULL {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if len(samples[name]) == 0 {
				t.Fatal("no sample")
			}
			for _, sample := range samples[name] {
				line := "a 1 " + name + " " + sample
				want, err := wireOf(line)
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				rr, err := rrset.ToRR("a.example.org.", number, 1, want)
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				for _, l := range []string{
					line,
					fmt.Sprintf(`a 1 TYPE%d %s`, number, sample),
					fmt.Sprintf(`a 1 %s \# %d %s`, name, len(want), hex.EncodeToString([]byte(want))),
					rr.String(),
				} {
					typ, got, err := scanOne(t, l)
					if err != nil {
						t.Errorf("%s: %v", l, err)
					} else if typ != number || got != want {
						t.Errorf("%s: type %d\ngot  %x\nwant %x", l, typ, got, want)
					}
				}
			}
		})
	}
}

// RDATA in generic form that ends early is not taken, but for types whose last
// field may have any length. An octet too much neither.
func TestGenericFormIsChecked(t *testing.T) {
	open := "vzxbSBMoP" // fields up to the end of the RDATA
	openForeign := map[string]bool{"APL": true, "HIP": true, "NXT": true}
	for name, list := range samples {
		for _, sample := range list {
			number, _ := typeOf([]byte(name))
			wire, err := wireOf("a 1 " + name + " " + sample)
			if err != nil {
				t.Fatal(err)
			}
			form := formOf(number)
			last := strings.Contains(open, form[max(0, len(form)-1):]) || openForeign[name]
			for _, bad := range []string{wire[:max(0, len(wire)-1)], wire + "\x01"} {
				line := fmt.Sprintf(`a 1 %s \# %d %s`, name, len(bad), hex.EncodeToString([]byte(bad)))
				_, got, err := scanOne(t, line)
				if err == nil && !last {
					t.Errorf("taken: %s", line)
				}
				if err == nil && got != bad {
					t.Errorf("%s: %x", line, got)
				}
			}
			if _, _, err := scanOne(t, `a 1 `+name+` \# 0`); err == nil && name != "APL" {
				t.Errorf(`taken: %s \# 0`, name)
			}
		}
	}
	for _, line := range []string{
		`a 1 TXT \# 2 0561`,                           // a string that runs past the end
		`a 1 NS \# 3 0161c0`,                          // half a pointer
		`a 1 HIP \# 0`,                                // nothing
		`a 1 MX \# 3 000000 00`,                       // more octets than announced
		`a 1 NSEC \# 4 00 0002 40`,                    // window of a length that is not there
		`a 1 NSEC \# 6 00 01 01 40 00 01`,             // windows out of order
		`a 1 NSEC \# 5 00 00 02 40 00`,                // bit map with a zero octet at its end
		`a 1 NSEC \# 3 00 00 00`,                      // empty window
		`a 1 CAA \# 4 00 02 2d 61`,                    // a tag with a hyphen
		`a 1 GPOS \# 6 01 61 01 30 01 30`,             // a letter for a number
		`a 1 LOC \# 16 01` + strings.Repeat("00", 15), // version 1
		`a 1 SOA \# 22 00 c000` + strings.Repeat("00", 19),
		`a 1 SVCB \# 5 0001 00 0003`,                      // half a parameter
		`a 1 SVCB \# 7 0001 00 0003 0002`,                 // a value that runs past the end
		`a 1 SVCB \# 8 0001 00 0003 0001 35`,              // a port of one octet
		`a 1 SVCB \# 13 0001 00 0003 0002 0035 0002 0000`, // keys out of order
		`a 1 SVCB \# 7 0001 00 ffff 0000`,                 // the invalid key
		`a 1 SVCB \# 9 0001 00 0001 0002 0361`,            // a protocol that runs past the end
		`a 1 RRSIG \# 19` + strings.Repeat("00", 19),      // no signature
	} {
		if _, got, err := scanOne(t, line); err == nil {
			t.Errorf("taken: %s: %x", line, got)
		}
	}
}

// The test vectors of RFC 9460 §D.
func TestServiceBindingVectors(t *testing.T) {
	foo := "03666f6f076578616d706c6503636f6d00" // foo.example.com.
	for _, c := range []struct{ line, want string }{
		{`example.com. 1 HTTPS 0 foo.example.com.`, "0000" + foo},
		{`example.com. 1 SVCB 1 .`, "000100"},
		{`example.com. 1 SVCB 16 foo.example.com. port=53`, "0010" + foo + "000300020035"},
		{`example.com. 1 SVCB 1 foo.example.com. key667=hello`, "0001" + foo + "029b000568656c6c6f"},
		{`example.com. 1 SVCB 1 foo.example.com. key667="hello\210qoo"`, "0001" + foo + "029b000968656c6c6fd2716f6f"},
		{`example.com. 1 SVCB 1 foo.example.com. ( ipv6hint="2001:db8::1,2001:db8::53:1" )`, "0001" + foo + "0006002020010db800000000000000000000000120010db8000000000000000000530001"},
		{`example.com. 1 SVCB 1 example.com. ( ipv6hint="2001:db8:122:344::192.0.2.33" )`, "0001076578616d706c6503636f6d00" + "0006001020010db8012203440000" + "0000c0000221"},
		{`example.com. 1 SVCB 16 foo.example.org. ( alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1 )`, "001003666f6f076578616d706c65036f726700" + "0000000400010004" + "000100090268320568332d3139" + "00040004c0000201"},
		{`example.com. 1 SVCB 16 foo.example.org. alpn="f\\\\oo\\,bar,h2"`, "001003666f6f076578616d706c65036f726700" + "0001000c08665c6f6f2c626172026832"},
		{`example.com. 1 SVCB 16 foo.example.org. alpn=f\\\092oo\092,bar,h2`, "001003666f6f076578616d706c65036f726700" + "0001000c08665c6f6f2c626172026832"},
		// Not of the RFC: a registered key by its number is written as octets.
		{`example.com. 1 SVCB 1 . key3=\000\053`, "000100" + "000300020035"},
		{`example.com. 1 SVCB 1 . no-default-alpn= alpn="h2" key667=`, "000100" + "00010003026832" + "00020000" + "029b0000"},
	} {
		_, got, err := scanOne(t, c.line)
		if err != nil || hex.EncodeToString([]byte(got)) != c.want {
			t.Errorf("%s\ngot  %x (%v)\nwant %s", c.line, got, err, c.want)
		}
	}
}

// What our encoders take in another way than miekg/dns, with the reason.
func TestTypesOnPurposeOtherThanMiekg(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"ISDN without a subaddress has one string (RFC 1183 §3.2)", "a 1 ISDN 150862028003217", "0f313530383632303238303033323137"},
		{"NSEC3 with a hash of another length than SHA-1", "a 1 NSEC3 1 0 0 - 2t7b4g4v A", "0100000000051" + "74eb24 09f" + "0001" + "40"},
		{"LOC seconds are not rounded down by a binary fraction", "a 1 LOC 0 0 1.001 N 0 0 4.001 E 0", "00121613 800003e9 80000fa1 00989680"},
		{"RRSIG times after 2106 are taken modulo 2^32 (RFC 4034 §3.1.5)", "a 1 RRSIG A 8 1 0 21060207062816 21060207062817 0 . AQAB", "00010801000000000000000000000001" + "0000" + "00" + "010001"},
		{"algorithm of DNSKEY by mnemonic (RFC 4034 §2.2)", "a 1 DNSKEY 256 3 ecdsap256sha256 AQAB", "0100030d010001"},
		{"bit map that is not in order", "a 1 CSYNC 1 0 MX A", "00000001" + "0000" + "00024001"},
		{"NID without leading zeros, as BIND writes it", "a 1 NID 10 14:4fff:ff20:e", "000a" + "00144fffff20000e"},
		{"AMTRELAY with the discovery bit has its relay", "a 1 AMTRELAY 1 1 1 192.0.2.1", "0181c0000201"},
		{"NAPTR without quotes", "a 1 NAPTR 1 2 u E2U+sip !a!b! .", "00010002" + "0175" + "074532552b736970" + "0521612162 21" + "00"},
	} {
		want := strings.ReplaceAll(c.want, " ", "")
		_, got, err := scanOne(t, c.line)
		if err != nil || hex.EncodeToString([]byte(got)) != want {
			t.Errorf("%s: %s\ngot  %x (%v)\nwant %s", c.name, c.line, got, err, want)
		}
		if wire, err := wireOf(c.line); err == nil && wire == got {
			t.Errorf("%s: miekg/dns has come round", c.name)
		}
	}
}
