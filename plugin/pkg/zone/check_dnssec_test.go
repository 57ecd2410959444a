package zone_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Signed zones: after the records of a line with a plus comes the RRSIG over their
// set, as the key ZSK makes it, but for DNSKEY the key KSK. Signatures are not looked
// at, so they are made up.
const (
	signedNSEC = `
+@ SOA ns1.example.net. h.example.net. 1 7200 3600 1209600 300
+@ NS ns1.example.net.
@ DNSKEY 256 3 15 ZSK+
+@ DNSKEY 257 3 15 KSK+
+@ NSEC d.example. NS SOA RRSIG NSEC DNSKEY
+d DNAME example.net.
+d NSEC a.ent.example. DNAME RRSIG NSEC
x.d A 192.0.2.1
+a.ent A 192.0.2.1
+a.ent NSEC sec.example. A RRSIG NSEC
sec NS ns.sec
+sec DS 1 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
sec A 192.0.2.1
+sec NSEC sub.example. NS DS RRSIG NSEC
ns.sec A 192.0.2.1
sub NS ns.sub
+sub NSEC *.w.example. NS RRSIG NSEC
ns.sub A 192.0.2.1
+*.w A 192.0.2.1
+*.w NSEC www.example. A RRSIG NSEC
+www A 192.0.2.1
+www NSEC example. A RRSIG NSEC
`
	// The names are not those that have these hashes: whether they are is not looked at.
	signedNSEC3 = `
+@ SOA ns1.example.net. h.example.net. 1 7200 3600 1209600 300
+@ NS ns1.example.net.
+@ DNSKEY 257 3 15 KSK+
+@ NSEC3PARAM 1 0 0 -
sub NS ns1.example.net.
+0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 1 0 - 35mthgpgcu1qg68fab165klnsnk3dpvl A RRSIG
+35mthgpgcu1qg68fab165klnsnk3dpvl NSEC3 1 1 0 - b4um86eghhds6nea196smvmlo4ors995 A RRSIG
+B4UM86EGHHDS6NEA196SMVMLO4ORS995 NSEC3 1 1 0 - 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NS SOA RRSIG DNSKEY NSEC3PARAM
+2t7b4g4vsa5smi47k61mv5bv1a22bojr NSEC3 1 1 0 BEEF 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG
`
)

// signedAt is when their signatures are valid.
var signedAt = time.Date(2026, time.July, 1, 12, 0, 0, 0, time.UTC)

// fakeKeys gives three keys in the form of DNSKEY records.
func fakeKeys(t testing.TB) (text, tags *strings.Replacer) {
	t.Helper()
	var texts, numbers []string
	for i, name := range []string{"ZSK", "KSK", "NEW"} {
		key := strings.Repeat(string(rune('A'+i)), 43) + "="
		rr, err := dns.NewRR(fmt.Sprintf(". DNSKEY %d 3 15 %s", 256+i%2, key))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, name+"+", key)
		numbers = append(numbers, name, fmt.Sprint(rr.(*dns.DNSKEY).KeyTag()))
	}
	return strings.NewReplacer(texts...), strings.NewReplacer(numbers...)
}

// withSigs writes the RRSIGs down that the plus signs stand for.
func withSigs(zoneText string) string {
	var b strings.Builder
	for line := range strings.Lines(zoneText) {
		rest, sign := strings.CutPrefix(line, "+")
		b.WriteString(rest)
		if !sign {
			continue
		}
		words := strings.Fields(rest)
		labels := 1
		if words[0] != "@" {
			labels += dns.CountLabel(strings.TrimPrefix(words[0], "*.") + ".")
		}
		key := "ZSK"
		if words[1] == "DNSKEY" || !strings.Contains(zoneText, "ZSK") {
			key = "KSK"
		}
		fmt.Fprintf(&b, "%s RRSIG %s 15 %d 3600 20270101000000 20260101000000 %s example. AAAA\n", words[0], words[1], labels, key)
	}
	return b.String()
}

// TestCheckSignatures spoils signed zones in one way each (RFC 4035 §2.2).
func TestCheckSignatures(t *testing.T) {
	const (
		www     = "www RRSIG A 15 2 3600 20270101000000 20260101000000 ZSK example. AAAA\n"
		dnskey  = "@ RRSIG DNSKEY 15 1 3600 20270101000000 20260101000000 KSK example. AAAA\n"
		soa     = "@ RRSIG SOA 15 1 3600 20270101000000 20260101000000 ZSK example. AAAA\n"
		expired = "www.example.: RRSIG has expired: A, 2026-07-01T11:59:59Z"
	)
	none := strings.NewReplacer(dnskey, "", soa, "", "NSEC ", "TYPE65400 \\# 1 00 ; ", "RRSIG NSEC", "RRSIG TYPE65400")
	keyText, keyTags := fakeKeys(t)
	for _, tc := range []struct {
		name  string
		zone  string
		edits []string // old, new
		want  []string
	}{
		{"nothing, NSEC", signedNSEC, nil, nil},
		{"nothing, NSEC3", signedNSEC3, nil, nil},
		{"an RRset without RRSIG", signedNSEC, []string{www, ""}, []string{"www.example.: RRset without RRSIG: A, algorithm 15"}},
		{"a wildcard without RRSIG", signedNSEC, []string{"*.w RRSIG A", "*.w RRSIG TXT"}, []string{"*.w.example.: RRset without RRSIG: A, algorithm 15"}},
		{"DS without RRSIG", signedNSEC, []string{"sec RRSIG DS", "sec RRSIG A"}, []string{"sec.example.: RRset without RRSIG: DS, algorithm 15"}},
		{"SOA and DNSKEY without RRSIG", signedNSEC, []string{soa, "", dnskey, ""}, []string{
			"example.: RRset without RRSIG: SOA, algorithm 15", "example.: RRset without RRSIG: DNSKEY, algorithm 15",
		}},
		{"NSEC without RRSIG", signedNSEC, []string{"sub RRSIG NSEC", "sub RRSIG NS"}, []string{"sub.example.: RRset without RRSIG: NSEC, algorithm 15"}},
		{"NSEC3 without RRSIG", signedNSEC3, []string{"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom RRSIG NSEC3", "www RRSIG A"}, []string{
			"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.: RRset without RRSIG: NSEC3, algorithm 15",
		}},
		{"new name", signedNSEC, []string{"www A", "new A 192.0.2.9\nwww A"}, []string{
			"new.example.: RRset without RRSIG: A, algorithm 15", "a.ent.example.: NSEC does not lead to the next name: sec.example., not new.example.", "new.example.: name without NSEC",
		}},
		{"new name below a cut and below a DNAME", signedNSEC, []string{"www A", "a.sub A 192.0.2.9\na.b.d TXT x\nwww A"}, nil},
		{"expired just now", signedNSEC, []string{www, strings.Replace(www, "20270101000000", "20260701115959", 1)}, []string{expired}},
		{"expiring now", signedNSEC, []string{www, strings.Replace(www, "20270101000000", "20260701120000", 1)}, nil},
		{"expiring in more than 68 years", signedNSEC, []string{www, strings.Replace(www, "20270101000000", "4294967295", 1)}, []string{
			"www.example.: RRSIG has expired: A, 1969-12-31T23:59:59Z",
		}},
		{"not valid yet", signedNSEC, []string{www, strings.Replace(www, "20260101000000", "20260701120001", 1)}, []string{
			"www.example.: RRSIG is not valid yet: A, 2026-07-01T12:00:01Z",
		}},
		{"valid since now", signedNSEC, []string{www, strings.Replace(www, "20260101000000", "20260701120000", 1)}, nil},
		{"an expired one beside a good one", signedNSEC, []string{www, www + strings.Replace(www, "20270101000000", "20260701115959", 1)}, nil},
		{"one that expired and one that is not valid yet", signedNSEC, []string{
			www, strings.Replace(www, "20270101000000", "20260701115959", 1) + strings.Replace(www, "20260101000000", "20260801000000", 1),
		}, []string{"www.example.: RRSIG is not valid yet: A, 2026-08-01T00:00:00Z"}},
		{"other signer", signedNSEC, []string{www, strings.Replace(www, "example.", "w.example.", 1)}, []string{
			"www.example.: RRSIG does not fit its RRset: A, signer w.example., not example.",
		}},
		{"signer in capital letters", signedNSEC, []string{www, strings.Replace(www, "example.", "EXAMPLE.", 1)}, nil},
		{"other labels", signedNSEC, []string{www, strings.Replace(www, "15 2", "15 1", 1)}, []string{"www.example.: RRSIG does not fit its RRset: A, labels 1, not 2"}},
		{"labels of a wildcard", signedNSEC, []string{"*.w RRSIG A 15 2", "*.w RRSIG A 15 3"}, []string{"*.w.example.: RRSIG does not fit its RRset: A, labels 3, not 2"}},
		{"other TTL", signedNSEC, []string{"www A", "www 60 A"}, []string{"www.example.: RRSIG does not fit its RRset: A, original TTL 3600, not 60"}},
		{"key that is gone", signedNSEC, []string{www, strings.Replace(www, "ZSK", "NEW", 1)}, []string{"www.example.: RRSIG of a key that has no DNSKEY record: A, algorithm 15, key tag NEW"}},
		{"another key", signedNSEC, []string{www, strings.Replace(www, "ZSK", "NEW", 1), "@ NSEC d", "@ DNSKEY 256 3 15 NEW+\n@ NSEC d"}, nil},
		{"data signed by the KSK", signedNSEC, []string{www, strings.Replace(www, "ZSK", "KSK", 1)}, nil},
		{"DNSKEY signed by the ZSK alone", signedNSEC, []string{dnskey, strings.Replace(dnskey, "KSK", "ZSK", 1)}, []string{
			"example.: DNSKEY RRset without RRSIG of a key that has the SEP flag: algorithm 15",
		}},
		{"DNSKEY signed by both", signedNSEC, []string{dnskey, strings.Replace(dnskey, "KSK", "ZSK", 1) + dnskey}, nil},
		{"no key has the SEP flag", signedNSEC, []string{"@ DNSKEY 257 3 15 KSK+\n", "", dnskey, strings.Replace(dnskey, "KSK", "ZSK", 1)}, nil},
		{"key that is revoked", signedNSEC, []string{"@ NSEC d", "@ DNSKEY 385 3 13 NEW+\n@ NSEC d"}, nil},
		{"key that is no zone key", signedNSEC, []string{"@ NSEC d", "@ DNSKEY 1 3 13 NEW+\n@ NSEC d"}, nil},
		{"an algorithm that does not sign everything", signedNSEC3, []string{"@ DNSKEY 257 3 15 KSK+", "@ DNSKEY 257 3 15 KSK+\n@ DNSKEY 257 3 13 NEW+"}, []string{
			"example.: RRset without RRSIG: NS, algorithm 13", "example.: RRset without RRSIG: SOA, algorithm 13",
			"example.: RRset without RRSIG: DNSKEY, algorithm 13", "example.: RRset without RRSIG: NSEC3PARAM, algorithm 13",
			"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.: RRset without RRSIG: NSEC3, algorithm 13",
			"2t7b4g4vsa5smi47k61mv5bv1a22bojr.example.: RRset without RRSIG: NSEC3, algorithm 13",
			"35mthgpgcu1qg68fab165klnsnk3dpvl.example.: RRset without RRSIG: NSEC3, algorithm 13",
			"B4UM86EGHHDS6NEA196SMVMLO4ORS995.example.: RRset without RRSIG: NSEC3, algorithm 13",
		}},
		{"signatures of an algorithm whose key is to come", signedNSEC, []string{www, www + strings.Replace(www, "A 15", "A 13", 1)}, nil},
		{"NSEC missing", signedNSEC, []string{"a.ent NSEC sec.example. A RRSIG NSEC\n", ""}, []string{"a.ent.example.: name without NSEC"}},
		{"NSEC to another name", signedNSEC, []string{"sub NSEC *.w", "sub NSEC www"}, []string{"sub.example.: NSEC does not lead to the next name: www.example., not *.w.example."}},
		{"NSEC not back to the apex", signedNSEC, []string{"www NSEC example.", "www NSEC x.example."}, []string{"www.example.: NSEC does not lead to the next name: x.example., not example."}},
		{"NSEC out of the zone", signedNSEC, []string{"www NSEC example.", "www NSEC example.net."}, []string{"www.example.: NSEC does not lead to the next name: example.net. is not in the zone"}},
		{"no NSEC at the apex", signedNSEC, []string{"@ NSEC d.example. NS SOA RRSIG NSEC DNSKEY\n", ""}, []string{"example.: signed zone without NSEC or NSEC3 at the apex"}},
		{"NSEC3 missing", signedNSEC3, []string{"35mthgpgcu1qg68fab165klnsnk3dpvl NSEC3 1 1 0 - b4um86eghhds6nea196smvmlo4ors995 A RRSIG\n", ""}, []string{
			"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.: NSEC3 does not lead to the next hash: B4UM86EGHHDS6NEA196SMVMLO4ORS995.example.",
		}},
		{"the last NSEC3 missing", signedNSEC3, []string{"B4UM86EGHHDS6NEA196SMVMLO4ORS995 NSEC3 1 1 0 -", "x.sub TXT"}, []string{
			"35mthgpgcu1qg68fab165klnsnk3dpvl.example.: NSEC3 does not lead to the next hash: 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.",
		}},
		{"NSEC3 that is cut off", signedNSEC3, []string{"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 1 0 - 35mthgpgcu1qg68fab165klnsnk3dpvl A RRSIG", `0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 \# 5 0101000000`}, []string{
			"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.: NSEC3 does not lead to the next hash: 35mthgpgcu1qg68fab165klnsnk3dpvl.example.",
		}},
		{"no NSEC3PARAM", signedNSEC3, []string{"@ NSEC3PARAM 1 0 0 -\n", ""}, []string{"example.: signed zone without NSEC or NSEC3 at the apex"}},
		{"keys alone", none.Replace(withSigs(signedNSEC)), nil, []string{"example.: DNSKEY records in a zone that is not signed"}},
		{"no keys", signedNSEC, []string{"@ DNSKEY 256 3 15 ZSK+\n@ DNSKEY 257 3 15 KSK+\n", ""}, []string{"example.: signed zone without a key in DNSKEY records"}},
		{"keys of nothing", signedNSEC, []string{"@ DNSKEY 256 3 15 ZSK+\n@ DNSKEY 257 3 15 KSK+\n", "@ DNSKEY 1 3 15 ZSK+\n@ DNSKEY 257 2 15 KSK+\n"}, []string{"example.: signed zone without a key in DNSKEY records"}},
		{"neither keys nor signatures", "@ SOA ns1.example.net. h.example.net. 1 2 3 4 5\n@ NS ns1.example.net.\n", nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := withSigs(tc.zone)
			for i := 0; i < len(tc.edits); i += 2 {
				if !strings.Contains(text, tc.edits[i]) {
					t.Fatalf("no %q in\n%s", tc.edits[i], text)
				}
				text = strings.ReplaceAll(text, tc.edits[i], tc.edits[i+1])
			}
			origin := dnsname.MustParse("example.")
			s, _ := build(t, origin, parse(t, origin, "$TTL 3600\n"+keyTags.Replace(keyText.Replace(text))))
			var got []string
			for _, p := range s.CheckSignatures(signedAt) {
				got = append(got, p.String())
			}
			if want := keyTags.Replace(strings.Join(tc.want, "\n")); strings.Join(got, "\n") != want {
				t.Errorf("got\n%s\nwant\n%s\nin\n%s", strings.Join(got, "\n"), want, text)
			}
		})
	}
}

// TestCheckSignaturesPlace checks that a finding says which record it is about.
func TestCheckSignaturesPlace(t *testing.T) {
	keyText, keyTags := fakeKeys(t)
	origin := dnsname.MustParse("example.")
	s, _ := build(t, origin, parse(t, origin, "$TTL 3600\n"+keyTags.Replace(keyText.Replace(withSigs(signedNSEC3)))))
	problems := s.CheckSignatures(signedAt.AddDate(1, 0, 0))
	for _, p := range problems {
		covered := rrset.Covered(p.RDATA)
		set, _ := s.View().Get(p.Owner, covered)
		if p.Rule != zone.RuleSigExpired || p.Type != rrset.TypeRRSIG || set.Sigs.First() != p.RDATA {
			t.Errorf("%+v", p)
		}
	}
	if len(problems) != 8 {
		t.Errorf("%d findings", len(problems))
	}
}

// TestCheckSignaturesBound checks that a zone that has expired does not fill the
// memory with findings.
func TestCheckSignaturesBound(t *testing.T) {
	keyText, keyTags := fakeKeys(t)
	for _, tc := range []struct{ base, record string }{
		{signedNSEC, "+%032d A 192.0.2.1\n"}, {signedNSEC3, "+%032d NSEC3 1 0 0 00 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom A\n"},
	} {
		var b strings.Builder
		b.WriteString(tc.base)
		for i := range 3000 {
			fmt.Fprintf(&b, tc.record, i)
		}
		origin := dnsname.MustParse("example.")
		s, _ := build(t, origin, parse(t, origin, "$TTL 3600\n"+keyTags.Replace(keyText.Replace(withSigs(b.String())))))
		if n := len(s.CheckSignatures(signedAt.AddDate(1, 0, 0))); n != 1000 {
			t.Errorf("%d findings", n)
		}
	}
}

// A zone below the root, and one that is itself below a wildcard.
func TestCheckSignaturesApex(t *testing.T) {
	keyText, keyTags := fakeKeys(t)
	for _, tc := range []struct {
		origin string
		labels int
	}{{".", 0}, {"*.", 0}, {"*.example.", 1}, {"a.b.c.", 3}} {
		origin := dnsname.MustParse(tc.origin)
		text := fmt.Sprintf(`$TTL 3600
@ SOA ns1.example.net. h.example.net. 1 2 3 4 5
@ DNSKEY 257 3 15 KSK+
@ NSEC @ SOA RRSIG NSEC DNSKEY
@ RRSIG SOA 15 %[1]d 3600 20270101000000 20260101000000 KSK @ AAAA
@ RRSIG DNSKEY 15 %[1]d 3600 20270101000000 20260101000000 KSK @ AAAA
@ RRSIG NSEC 15 %[1]d 3600 20270101000000 20260101000000 KSK @ AAAA
`, tc.labels)
		s, _ := build(t, origin, parse(t, origin, keyTags.Replace(keyText.Replace(text))))
		if problems := s.CheckSignatures(signedAt); len(problems) > 0 {
			t.Errorf("%s: %v", tc.origin, problems)
		}
	}
}
