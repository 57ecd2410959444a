package zonefile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// signedZones are files that dnssec-signzone made, valid from 2026 to 2037.
var signedZones = map[string]string{
	"nsec.example.": "nsec.example.zone", "nsec3.example.": "nsec3.example.zone", "optout.example.": "optout.example.zone", ".": "root/root.zone",
}

const zones = "../../../test/testdata/zones/"

// Signed zones have no findings while they are valid, and each RRSIG that is taken
// away is missed (RFC 4035 §2.2), but where there are two of an algorithm.
func TestEverySignatureIsMissed(t *testing.T) {
	for origin, file := range signedZones {
		res, err := Load(zones+file, dnsname.MustParse(origin), Options{}, now)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range res.Warnings {
			if w.Rule != zone.RuleIterations { // of optout.example
				t.Errorf("%s", w)
			}
		}
		for set := range res.Snapshot.All() {
			for r := range set.Sigs.All() {
				txn := res.Snapshot.Begin()
				if !txn.Remove(set.Owner, rrset.TypeRRSIG, r) {
					t.Fatalf("%s: no RRSIG over type %d to remove", set.Owner, set.Type)
				}
				s, _, err := txn.Commit()
				if err != nil {
					t.Fatal(err)
				}
				rule, typ := zone.RuleNoSig, set.Type
				if set.Sigs.Len() > 1 { // of DNSKEY, by KSK and ZSK
					if sig, _ := rrset.ParseSignature(r); !isSEP(s, sig.Tag) {
						rule = ""
					} else {
						rule, typ = zone.RuleSigNoSEP, rrset.TypeRRSIG
					}
				}
				problems := s.CheckSignatures(now)
				if rule == "" && len(problems) == 0 {
					continue
				}
				if len(problems) != 1 || problems[0].Rule != rule || problems[0].Owner != set.Owner || problems[0].Type != typ {
					t.Errorf("%s without an RRSIG over type %d: %v", set.Owner, set.Type, problems)
				}
			}
		}
	}
}

// isSEP tells whether the key of a tag has the SEP flag.
func isSEP(s *zone.Snapshot, tag uint16) bool {
	set, _ := s.View().Get(s.Origin(), rrset.TypeDNSKEY)
	for r := range set.All() {
		if rrset.KeyTag(r) == tag {
			return r[1]&1 != 0
		}
	}
	return false
}

// The findings of signed zones name lines, and with Strict refuse the zone.
func TestLoadSigned(t *testing.T) {
	text, err := os.ReadFile(zones + "nsec.example.zone")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	// at gives the index of the line that begins like that.
	at := func(prefix string) int {
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, prefix) })
		if i < 0 {
			t.Fatalf("no line %q", prefix)
		}
		return i
	}
	const sigA, sigSOA, sigKSK = "www.nsec.example. 3600 IN RRSIG A ", "nsec.example. 3600 IN RRSIG SOA ", "nsec.example. 3600 IN RRSIG DNSKEY 15 2 3600 20380101000000 20260101000000 53953 "
	for _, tc := range []struct {
		name     string
		line     string
		old, new string
		also     string // the beginning of a line that is left out
		now      time.Time
		want     string // LINE is the number of the line
	}{
		{"right", sigA, "", "", "", now, ""},
		{"not checked", sigA, "20380101000000", "20260301000000", "", time.Time{}, ""},
		{"RRSIG left out", "www.nsec.example. 3600 IN A ", "", "", sigA, now, "main.zone:LINE: www.nsec.example.: RRset without RRSIG: A, algorithm 15"},
		{"expired", sigA, "20380101000000", "20260301000000", "", now, "main.zone:LINE: www.nsec.example.: RRSIG has expired: A, 2026-03-01T00:00:00Z"},
		{"serial edited", sigSOA, "", "", "", now, ""},
		{"SOA edited", "nsec.example. 3600 IN SOA ", "2026010101", "2026010102", "", now, "main.zone:SIGSOA: nsec.example.: RRSIG is not that of the records: SOA"},
		{"key exchanged", sigKSK, "N1xu9O", "N1xu9P", "", now, "main.zone:LINE: nsec.example.: RRSIG is not that of the records: DNSKEY"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := at(tc.line)
			edited := slices.Clone(lines)
			if edited[i] = strings.Replace(lines[i], tc.old, tc.new, 1); tc.old != "" && edited[i] == lines[i] {
				t.Fatalf("no %q in %q", tc.old, lines[i])
			}
			if tc.also != "" {
				edited[at(tc.also)] = ""
			}
			path := filepath.Join(t.TempDir(), "main.zone")
			write(t, path, strings.Join(edited, "\n"))
			want := strings.NewReplacer("SIGSOA", fmt.Sprint(at(sigSOA)+1), "LINE", fmt.Sprint(i+1)).Replace(tc.want)
			origin := dnsname.MustParse("nsec.example.")
			res, err := Load(path, origin, Options{}, tc.now)
			var got []string
			for _, w := range res.Warnings {
				got = append(got, strings.TrimPrefix(w.String(), filepath.Dir(path)+"/"))
			}
			if err != nil || strings.Join(got, "\n") != want {
				t.Errorf("%v\ngot  %s\nwant %s", err, strings.Join(got, "\n"), want)
			}
			if _, err := Load(path, origin, Options{Strict: true}, tc.now); (err != nil) != (want != "") {
				t.Errorf("strict: %v", err)
			}
		})
	}
}

// Signatures of each algorithm over SOA and DNSKEY are verified; one that holds is
// enough.
func TestVerify(t *testing.T) {
	for _, name := range []string{"example.", ".", `a\/b.x\.y.example.`, "EXAMPLE.Org."} {
		origin := dnsname.MustParse(name)
		for _, alg := range []signer.Algorithm{signer.RSASHA256, signer.ECDSAP256SHA256, signer.ECDSAP384SHA384, signer.ED25519} {
			s := signedWith(t, origin, alg)
			if problems := slices.Concat(s.CheckSignatures(now), verify(s)); len(problems) > 0 {
				t.Errorf("%s, %s: %v", name, alg, problems)
			}
			soa := s.SOA()
			for _, c := range []struct {
				name string
				edit func(*zone.Txn) error
				want []string
			}{
				{"serial", func(txn *zone.Txn) error { return txn.SetSerial(7) }, []string{"RRSIG is not that of the records: SOA"}},
				{"one more of the key", func(txn *zone.Txn) error {
					sig := []byte(soa.Sigs.First())
					sig[len(sig)-1] ^= 1
					_, err := txn.Add(origin, rrset.TypeRRSIG, soa.TTL, string(sig))
					return err
				}, nil},
				{"keys", func(txn *zone.Txn) error {
					_, err := txn.Add(origin, rrset.TypeDNSKEY, 3600, "\x01\x00\x03"+string([]byte{byte(alg)})+"key")
					return err
				}, []string{"RRSIG is not that of the records: DNSKEY"}},
				{"no key", func(txn *zone.Txn) error {
					txn.RemoveSet(origin, rrset.TypeDNSKEY)
					return nil
				}, nil},
			} {
				txn := s.Begin()
				if err := c.edit(txn); err != nil {
					t.Fatal(err)
				}
				edited, _, err := txn.Commit()
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, p := range verify(edited) {
					got = append(got, fmt.Sprintf("%s: %s", p.Rule, p.Detail))
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("%s, %s, %s: %v", name, alg, c.name, got)
				}
			}
		}
	}
}

// signedWith gives a zone that is signed with a new key.
func signedWith(t *testing.T, origin dnsname.Name, alg signer.Algorithm) *zone.Snapshot {
	t.Helper()
	b := zone.NewBuilder(origin)
	for typ, rdata := range map[uint16]string{
		rrset.TypeSOA: "\x02NS\x07example\x00\x01h\x00" + strings.Repeat("\x00\x00\x00\x05", 5), rrset.TypeNS: "\x02NS\x07example\x00",
	} {
		if err := b.Add(origin, typ, 3600, []byte(rdata)); err != nil {
			t.Fatal(err)
		}
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signer.Generate(origin, alg, signer.CSK)
	if err != nil {
		t.Fatal(err)
	}
	sign, err := signer.New(origin, signer.Policy{}, []signer.Use{{Key: key, Publish: true, Sign: true}})
	if err != nil {
		t.Fatal(err)
	}
	txn := s.Begin()
	if _, err := sign.Sign(txn, signer.Request{Since: txn.Savepoint(), Now: now}); err != nil {
		t.Fatal(err)
	}
	s, _, err = txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What cannot be verified passes, and not more is tried than the bound.
func TestVerifyBounds(t *testing.T) {
	origin := dnsname.MustParse("example.")
	s := signedWith(t, origin, signer.ED25519)
	soa := s.SOA()
	txn := s.Begin()
	if err := txn.SetSerial(7); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxVerified {
		sig := []byte(soa.Sigs.First())
		sig[len(sig)-1] ^= byte(i + 1)
		if _, err := txn.Add(origin, rrset.TypeRRSIG, soa.TTL, string(sig)); err != nil {
			t.Fatal(err)
		}
	}
	edited, _, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(verify(edited)); n != maxVerified {
		t.Errorf("%d findings", n)
	}

	for _, rdata := range []string{
		"\x01\x01\x03\xfdkey",                  // an algorithm of its own
		"\x01\x01\x03\x08key",                  // no RSA key
		"\x01\x01\x03\x08\x01\x03\x80\x00\x01", // a short one
		"\x01\x01\x03\x0dkey", "\x01\x01\x03\x0fkey",
		"\x01\x01\x03", "",
	} {
		txn := s.Begin()
		key, err := rrset.New(rrset.TypeDNSKEY, 3600, rdata)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := txn.Replace(origin, key); err != nil {
			t.Fatal(err)
		}
		sig := []byte(soa.Sigs.First())
		if len(rdata) > 3 {
			sig[2] = rdata[3]
		}
		tag := rrset.KeyTag(rdata)
		sig[16], sig[17] = byte(tag>>8), byte(tag)
		txn.RemoveSet(origin, rrset.TypeRRSIG)
		if _, err := txn.Add(origin, rrset.TypeRRSIG, soa.TTL, string(sig)); err != nil {
			t.Fatal(err)
		}
		edited, _, err := txn.Commit()
		if err != nil {
			t.Fatal(err)
		}
		if problems := verify(edited); len(problems) > 0 {
			t.Errorf("%q: %v", rdata, problems)
		}
	}
}

// FuzzSigned checks zones whose DNSSEC records are any octets: nothing panics, and
// the findings are bounded.
func FuzzSigned(f *testing.F) {
	origin := dnsname.MustParse("example.")
	owner, hashed := "\x03www"+origin, "\x200p9mhaveqvm6t7vbl5lop2u3t2rp3tom"+origin
	const sig = "\x0f\x01\x00\x00\x0e\x10\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07example\x00signature"
	f.Add([]byte("\x01\x01\x03\x0fkey"), []byte(sig), []byte("\x07example\x00\x00\x01\x40"), []byte("\x01\x00\x00\x00\x00\x14hash of twenty octets\x00\x01\x40"), []byte("\x01\x00\x00\x00\x00"))
	f.Add([]byte("\x01\x01\x03\x08\x01\x03\x80"), []byte(sig), []byte("\x07example\x00"), []byte("\x01\x00\x00\x00\x02ab"), []byte("\x01\x00\x00\x00\x02ab"))
	f.Add([]byte("\x01"), []byte(""), []byte("\x00"), []byte("\x01\x00\x00\x00\x00\xff"), []byte("\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, key, sig, nsec, nsec3, param []byte) {
		b := zone.NewBuilder(origin)
		add := func(owner dnsname.Name, typ uint16, rdata []byte) {
			if b.Add(owner, typ, 3600, rdata) != nil {
				return
			}
			tag := rrset.KeyTag(string(key))
			for _, fix := range []bool{false, true} {
				s := append([]byte{byte(typ >> 8), byte(typ)}, sig...)
				if fix && len(s) > 18 && len(key) > 3 { // so that it is one of the key
					s[2], s[16], s[17] = key[3], byte(tag>>8), byte(tag)
				}
				_ = b.Add(owner, rrset.TypeRRSIG, 3600, s) // or it is no RRSIG
			}
		}
		add(origin, rrset.TypeSOA, []byte("\x01n\x00\x01h\x00"+strings.Repeat("\x00\x00\x00\x05", 5)))
		add(origin, rrset.TypeDNSKEY, key)
		add(origin, rrset.TypeNSEC, nsec)
		add(origin, rrset.TypeNSEC3PARAM, param)
		add(owner, rrset.TypeNSEC, nsec)
		add(owner, rrset.TypeDNSKEY, key)
		add(hashed, rrset.TypeNSEC3, nsec3)
		s, _, err := b.Snapshot()
		if err != nil {
			return
		}
		if problems := slices.Concat(s.CheckSignatures(now), verify(s)); len(problems) > 30 {
			t.Fatalf("%d findings: %v", len(problems), problems)
		}
	})
}
