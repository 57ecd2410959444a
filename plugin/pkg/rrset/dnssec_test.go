package rrset_test

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// FuzzSignature reads any octets as RRSIG and DNSKEY records: what comes out is what
// miekg/dns reads.
func FuzzSignature(f *testing.F) {
	for _, text := range []string{"RRSIG A 8 3 300 20260322173103 20260220173103 2642 example. AAAA", "RRSIG SOA 13 0 1 0 4294967295 65535 . AA==", "DNSKEY 257 3 15 AAAAAAA="} {
		_, rdata := record(f, text)
		f.Add([]byte(rdata))
	}
	f.Add([]byte("only seventeen oct"))
	f.Add([]byte("eighteen octets, a\x01name cut off"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 60000 {
			t.Skip("too long for a message")
		}
		rdata := string(data)
		sig, ok := rrset.ParseSignature(rdata)
		if ok != (rrset.Check(rrset.TypeRRSIG, rdata) == nil) {
			t.Fatalf("ParseSignature %v, Check %v", ok, rrset.Check(rrset.TypeRRSIG, rdata))
		}
		if rr, err := rrset.ToRR("x.", rrset.TypeRRSIG, 1, rdata); ok && err == nil {
			want := rr.(*dns.RRSIG)
			if sig.Covered != want.TypeCovered || sig.Algorithm != want.Algorithm || sig.Labels != want.Labels || sig.TTL != want.OrigTtl ||
				sig.Expiration != want.Expiration || sig.Inception != want.Inception || sig.Tag != want.KeyTag || !sameName(sig.Signer.String(), want.SignerName) {
				t.Fatalf("%+v, want %v", sig, want)
			}
		}
		if len(data) < 5 || data[3] == dns.RSAMD5 {
			return
		}
		if rr, err := rrset.ToRR("x.", rrset.TypeDNSKEY, 1, rdata); err == nil {
			if want := rr.(*dns.DNSKEY).KeyTag(); rrset.KeyTag(rdata) != want {
				t.Fatalf("key tag %d, want %d", rrset.KeyTag(rdata), want)
			}
		}
	})
}

// sameName compares names however they are escaped.
func sameName(a, b string) bool {
	var x, y [256]byte
	m, errA := dns.PackDomainName(a, x[:], 0, nil, false)
	n, errB := dns.PackDomainName(b, y[:], 0, nil, false)
	return errA == nil && errB == nil && string(x[:m]) == string(y[:n])
}
