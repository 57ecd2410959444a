package signed

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/test/server"
)

func TestMain(m *testing.M) { server.Main(m) }

const zoneText = `$ORIGIN x.example.
@ 60 SOA ns h 1 1 1 1 1
@ 60 NS ns
ns 60 A 192.0.2.1
*.a 60 TXT a
cut 60 NS ns.cut
ns.cut 60 A 192.0.2.2
`

// What is wrong with a zone is found, by us and by others.
func TestFinds(t *testing.T) {
	server.Require(t, Verifiers...)
	const origin = "x.example."
	var plain []dns.RR
	zp := dns.NewZoneParser(strings.NewReader(zoneText), origin, "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		plain = append(plain, rr)
	}
	folder := t.TempDir()
	for _, role := range []signer.Role{signer.KSK, signer.ZSK} {
		k, err := signer.Generate(dnsname.MustParse(origin), signer.ED25519, role)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.WriteFiles(folder, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := Keys(folder, origin, nil)
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for _, policy := range []signer.Policy{{}, {NSEC3: true}, {NSEC3: true, OptOut: true}} {
		good, err := Anew(plain, origin, keys, policy)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := Keys(folder, origin, good); err != nil || len(found) != 2 {
			t.Errorf("%d keys, %v", len(found), err)
		}
		dnskeys := Records(good, origin, dns.TypeDNSKEY)
		check := func(rrs []dns.RR) (same, hold, others error) {
			return SameAsAnew(rrs, origin, keys, policy), Hold(rrs, dnskeys, time.Now()), Verify(t.TempDir(), origin, rrs)
		}
		if same, hold, others := check(good); same != nil || hold != nil || others != nil {
			t.Errorf("a good zone: %v, %v, %v", same, hold, others)
		}
		if n := len(Data(good)); n != len(plain) || len(Anchors(good, origin)) != 1 || len(DNSKEYs(good, origin)) != 2 {
			t.Errorf("%d records of data, %d anchors, %d keys", n, len(Anchors(good, origin)), len(DNSKEYs(good, origin)))
		}
		without := func(first func(dns.RR) bool) []dns.RR {
			i := slices.IndexFunc(good, first)
			return slices.Delete(slices.Clone(good), i, i+1)
		}
		for name, rrs := range map[string][]dns.RR{
			"a signature less": without(func(rr dns.RR) bool { s, ok := rr.(*dns.RRSIG); return ok && s.TypeCovered == dns.TypeA }),
			"a proof less":     without(func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeNSEC || rr.Header().Rrtype == dns.TypeNSEC3 }),
		} {
			if same, _, others := check(rrs); same == nil || others == nil {
				t.Errorf("%s: %v, %v", name, same, others)
			}
		}
		bad := slices.Clone(good)
		i := slices.IndexFunc(bad, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeTXT })
		bad[i] = dns.Copy(bad[i])
		bad[i].(*dns.TXT).Txt = []string{"b"}
		if same, hold, others := check(bad); same != nil || hold == nil || others == nil {
			t.Errorf("a record that was changed: %v, %v, %v", same, hold, others)
		}
		for name, err := range map[string]error{
			"no signatures": Hold(plain, dnskeys, time.Now()), "no keys": Hold(good, nil, time.Now()), "too late": Hold(good, dnskeys, time.Now().AddDate(0, 0, 14)),
		} {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	}
}
