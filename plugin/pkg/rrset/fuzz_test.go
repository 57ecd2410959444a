package rrset_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// FuzzRDATA takes any octets for RDATA: nothing panics, names are where they are
// said to be, records of miekg/dns carry it to the octet, and what miekg/dns
// knows has the canonical form that it signs.
func FuzzRDATA(f *testing.F) {
	for _, tc := range samples {
		typ, rdata := record(f, tc.rr)
		f.Add(typ, []byte(rdata))
	}
	for _, text := range []string{
		"A 192.0.2.1", "AAAA 2001:db8::1", "TXT a b", `HINFO "CPU" "OS"`, "CAA 0 issue ca.example.", "LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m",
		"APL 1:192.0.2.0/24 !2:2001:db8::/32", "DS 1 13 2 00112233", "DNSKEY 257 3 15 AAAA", "NSEC3 1 1 5 BEEF 2t7b4g4vsa5smi47k61mv5bv1a22bojr A NS",
		"NSEC3PARAM 1 0 0 -", "TLSA 3 1 1 00", "SSHFP 1 1 00", "CERT 1 2 3 AAAA", "IPSECKEY 10 1 2 192.0.2.1 AAAA", "HIP 2 200100107B1A74DF365639CC39F1D578 AwEA rvs.example.",
		"URI 10 1 \"https://example/\"", "EUI48 00-00-5e-00-53-2a", "NID 10 0014:4fff:ff20:ee64", "CSYNC 1 3 A NS", "ZONEMD 1 1 1 00", `TYPE65280 \# 3 010203`,
	} {
		typ, rdata := record(f, text)
		f.Add(typ, []byte(rdata))
	}
	f.Fuzz(func(t *testing.T, typ uint16, data []byte) {
		if len(data) > 65000 {
			t.Skip("too long for a message")
		}
		rdata := string(data)
		from, to, _ := rrset.Names(typ, rdata)
		if from < 0 || from > to || to > len(rdata) {
			t.Fatalf("names from %d to %d of %d", from, to, len(rdata))
		}
		for at := from; at < to; {
			n := dnsname.Len(rdata[at:])
			if n == 0 {
				t.Fatalf("no name at %d", at)
			}
			at += n
		}
		canonical := string(rrset.AppendCanonical(nil, typ, rdata))
		if len(canonical) != len(rdata) || canonical[:from] != rdata[:from] || canonical[to:] != rdata[to:] ||
			!dnsname.EqualFold(canonical[from:to], rdata[from:to]) || string(rrset.AppendCanonical(nil, typ, canonical)) != canonical {
			t.Fatalf("canonical form of %q: %q", rdata, canonical)
		}
		checked := rrset.Check(typ, rdata)
		if checked != nil && !errors.Is(checked, rrset.ErrMalformed) {
			t.Fatalf("Check: %v", checked)
		}
		sets(t, typ, rdata, canonical)

		set, err := rrset.New(typ, 3600, rdata)
		if err != nil {
			t.Fatal(err)
		}
		records := rrset.AppendRRs(nil, "Owner.example.", set)
		if len(records) != 1 {
			t.Fatalf("%d records of one", len(records))
		}
		if owner, back, err := rrset.FromRR(records[0]); err != nil || owner != dnsname.MustParse("Owner.example.") || back != rdata {
			t.Fatalf("%s %q came back as %s %q, %v", dns.Type(typ), rdata, owner, back, err)
		}

		rr, err := rrset.ToRR("Owner.example.", typ, 3600, rdata)
		if err != nil {
			if !errors.Is(err, rrset.ErrMalformed) {
				t.Fatalf("ToRR: %v", err)
			}
			return
		}
		// miekg/dns completes RDATA that ends after any field, and writes some in
		// another way; and it signs no RRSIGs and has no canonical form for NXT.
		if _, back, err := rrset.FromRR(rr); err != nil || back != rdata || checked != nil || rrset.IsMeta(typ) || typ == rrset.TypeRRSIG || typ == rrset.TypeNXT {
			return
		}
		if err := miekgCanonical(rr, canonical); err != nil {
			t.Fatalf("%s %q: %v", dns.Type(typ), rdata, err)
		}
	})
}

// sets checks that one record makes a set that holds it in any letter case of
// its names.
func sets(t *testing.T, typ uint16, rdata, canonical string) {
	s, err := rrset.New(typ, 1, rdata, canonical)
	if err != nil || s.Len() != 1 || s.First() != rdata || !s.Contains(canonical) {
		t.Fatalf("set of %q: %v, %v", rdata, s, err)
	}
	if rest, removed := s.Without(canonical); !removed || !rest.IsEmpty() {
		t.Fatalf("%q stays", rdata)
	}
	if other := rdata + "\x00"; !s.Contains(other) {
		two, added, err := s.With(other)
		if err != nil || !added || two.Len() != 2 || !strings.HasPrefix(two.Packed(), s.Packed()) || bytes.Equal([]byte(two.Packed()), []byte(s.Packed())) {
			t.Fatalf("%q and one more: %v", rdata, err)
		}
	} else {
		t.Fatalf("%q is as good as %q", rdata, other)
	}
}
