package rrset_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// samples has a record of each type with names in its RDATA.
var samples = []struct {
	rr       string   // in presentation form, without the owner
	names    []string // in it
	compress bool     // RFC 3597 §4: only the types of RFC 1035
	fold     bool     // RFC 4034 §6.2 without HINFO and NSEC (RFC 6840 §5.1)
}{
	{"NS Ns.Example.", []string{"Ns.Example."}, true, true},
	{"MD Md.Example.", []string{"Md.Example."}, true, true},
	{"MF Mf.Example.", []string{"Mf.Example."}, true, true},
	{"CNAME .", []string{"."}, true, true},
	{"CNAME Target.Example.", []string{"Target.Example."}, true, true},
	{"SOA Ns.Example. Host.Master.Example. 1 2 3 4 5", []string{"Ns.Example.", "Host.Master.Example."}, true, true},
	{"MB Mb.Example.", []string{"Mb.Example."}, true, true},
	{"MG Mg.Example.", []string{"Mg.Example."}, true, true},
	{"MR Mr.Example.", []string{"Mr.Example."}, true, true},
	{"PTR Ptr.Example.", []string{"Ptr.Example."}, true, true},
	{"MINFO R.Example. E.Example.", []string{"R.Example.", "E.Example."}, true, true},
	{"MX 10 Mx.Example.", []string{"Mx.Example."}, true, true},
	{"RP Mbox.Example. Txt.Example.", []string{"Mbox.Example.", "Txt.Example."}, false, true},
	{"AFSDB 1 Afs.Example.", []string{"Afs.Example."}, false, true},
	{"RT 1 Rt.Example.", []string{"Rt.Example."}, false, true},
	{"SIG A 15 2 3600 20380101000000 20260101000000 1 Signer.Example. AAAA", []string{"Signer.Example."}, false, true},
	{"PX 1 Map822.Example. Mapx400.Example.", []string{"Map822.Example.", "Mapx400.Example."}, false, true},
	{"SRV 1 2 3 Srv.Example.", []string{"Srv.Example."}, false, true},
	{`NAPTR 1 2 "S" "SIP+D2U" "!^.*$!SIP:x@y!" Repl.Example.`, []string{"Repl.Example."}, false, true},
	{`NAPTR 1 2 "" "" "" .`, []string{"."}, false, true},
	{"KX 1 Kx.Example.", []string{"Kx.Example."}, false, true},
	{"DNAME Dname.Example.", []string{"Dname.Example."}, false, true},
	{"RRSIG A 15 2 3600 20380101000000 20260101000000 1 Signer.Example. AAAA", []string{"Signer.Example."}, false, true},
	{"NXT Next.Example. A NS", []string{"Next.Example."}, false, true},
	{"NSEC Next.Example. A NS", []string{"Next.Example."}, false, false},
	{"SVCB 1 Svc.Example. alpn=h2", []string{"Svc.Example."}, false, false},
	{"HTTPS 0 Alias.Example.", []string{"Alias.Example."}, false, false},
	{"LP 1 Lp.Example.", []string{"Lp.Example."}, false, false},
	{"NSAP-PTR Nsap.Example.", []string{"Nsap.Example."}, false, false},
	{"TALINK Prev.Example. Next.Example.", []string{"Prev.Example.", "Next.Example."}, false, false},
}

func record(t testing.TB, text string) (typ uint16, rdata string) {
	t.Helper()
	rr, err := dns.NewRR("owner.example. 3600 IN " + text)
	if err != nil {
		t.Fatal(err)
	}
	_, rdata, err = rrset.FromRR(rr)
	if err != nil {
		t.Fatal(err)
	}
	return rr.Header().Rrtype, rdata
}

// TestLayout checks where the names of each type stand, by what miekg/dns packs.
func TestLayout(t *testing.T) {
	for _, tc := range samples {
		t.Run(tc.rr, func(t *testing.T) {
			typ, rdata := record(t, tc.rr)
			var names string
			for _, n := range tc.names {
				names += string(dnsname.MustParse(n))
			}
			from, to, compress := rrset.Names(typ, rdata)
			if rdata[from:to] != names || compress != tc.compress {
				t.Errorf("names %q, compress %v; want %q, %v", rdata[from:to], compress, names, tc.compress)
			}
			if len(names) > 1 && from != strings.Index(rdata, names) {
				t.Errorf("names at %d", from)
			}
			if got := rrset.Name(typ, rdata); got != dnsname.MustParse(tc.names[0]) {
				t.Errorf("first name %s", got)
			}
			canonical := string(rrset.AppendCanonical([]byte("before"), typ, rdata))
			want := "before" + rdata
			if tc.fold {
				want = "before" + rdata[:from] + strings.ToLower(names) + rdata[to:]
			}
			if canonical != want {
				t.Errorf("canonical form %q, want %q", canonical, want)
			}
			if err := rrset.Check(typ, rdata); err != nil {
				t.Errorf("Check: %v", err)
			}
			for i := range to { // cut off within the names or before
				if err := rrset.Check(typ, rdata[:i]); !errors.Is(err, rrset.ErrMalformed) {
					t.Errorf("Check of %q: %v", rdata[:i], err)
				}
				if from, to, _ := rrset.Names(typ, rdata[:i]); from != to {
					t.Errorf("names of %q: %d to %d", rdata[:i], from, to)
				}
				if got := rrset.Name(typ, rdata[:i]); got != "" {
					t.Errorf("name of %q: %q", rdata[:i], got)
				}
				if got := string(rrset.AppendCanonical(nil, typ, rdata[:i])); got != rdata[:i] {
					t.Errorf("canonical form of %q: %q", rdata[:i], got)
				}
			}
			if err := rrset.Check(typ, rdata[:from]+"\xc0\x00"); !errors.Is(err, rrset.ErrMalformed) {
				t.Errorf("a compression pointer: %v", err)
			}
		})
	}
}

// TestCheckTail checks what may stand behind the names.
func TestCheckTail(t *testing.T) {
	open := []uint16{rrset.TypeRRSIG, rrset.TypeSIG, rrset.TypeNSEC, rrset.TypeNXT, rrset.TypeSVCB, rrset.TypeHTTPS}
	for _, tc := range samples {
		typ, rdata := record(t, tc.rr)
		err := rrset.Check(typ, rdata+"x")
		if slices.Contains(open, typ) != (err == nil) || err != nil && !errors.Is(err, rrset.ErrMalformed) {
			t.Errorf("%s with an octet more: %v", tc.rr, err)
		}
	}
	if err := rrset.Check(rrset.TypeTXT, "\xff"); err != nil {
		t.Errorf("a type without names: %v", err)
	}
}

// TestLayoutComplete checks by the struct tags of miekg/dns that no type with
// names was forgotten.
func TestLayoutComplete(t *testing.T) {
	// What is left opaque: these names are in lower case in no canonical form
	// and are never compressed (RFC 3597 §4, RFC 6840 §5.1), and they do not stand
	// behind fixed fields.
	opaque := []uint16{dns.TypeHIP, dns.TypeIPSECKEY, dns.TypeAMTRELAY}
	known := map[uint16]int{}
	for _, tc := range samples {
		typ, _ := record(t, tc.rr)
		known[typ] = len(tc.names)
	}
	for _, typ := range slices.Sorted(maps.Keys(dns.TypeToRR)) {
		if rrset.IsMeta(typ) || slices.Contains(opaque, typ) {
			continue
		}
		names := 0
		rr := reflect.TypeOf(dns.TypeToRR[typ]()).Elem()
		if rr.NumField() == 2 && rr.Field(1).Anonymous { // HTTPS is a SVCB, SIG an RRSIG
			rr = rr.Field(1).Type
		}
		if rr.Field(0).Type.Kind() == reflect.Struct && rr.Field(0).Anonymous {
			rr = rr.Field(0).Type
		}
		for i := range rr.NumField() {
			if tag := rr.Field(i).Tag.Get("dns"); tag == "domain-name" || tag == "cdomain-name" {
				names++
			}
		}
		if names != known[typ] {
			t.Errorf("%s has %d names, we know of %d", dns.Type(typ), names, known[typ])
		}
	}
}

func TestIsMeta(t *testing.T) {
	for typ, want := range map[uint16]bool{
		0: true, rrset.TypeA: false, rrset.TypeOPT: true, 127: false, rrset.TypeNXNAME: true, rrset.TypeTSIG: true, rrset.TypeANY: true, 256: false, 65280: false,
	} {
		if got := rrset.IsMeta(typ); got != want {
			t.Errorf("type %d: %v", typ, got)
		}
	}
}

func TestCovered(t *testing.T) {
	for rdata, want := range map[string]uint16{"": 0, "\x00": 0, "\x00\x01": 1, "\x01\x02\x03": 258} {
		if got := rrset.Covered(rdata); got != want {
			t.Errorf("%q covers %d", rdata, got)
		}
		if got := rrset.Covered([]byte(rdata)); got != want {
			t.Errorf("octets %q cover %d", rdata, got)
		}
	}
}

// miekgCanonical tells whether miekg/dns takes canonical for the canonical RDATA
// of rr: it signs rr, and the signature must fit what RFC 4034 §3.1.8.1 builds
// with our form.
func miekgCanonical(rr dns.RR, canonical string) error {
	key := ed25519.NewKeyFromSeed([]byte("a seed of thirty-two octets, yes"))
	sig := &dns.RRSIG{
		Hdr: dns.RR_Header{Ttl: 3600}, KeyTag: 1, SignerName: "example.", Algorithm: dns.ED25519,
		Inception: 1, Expiration: 2,
	}
	if err := sig.Sign(key, []dns.RR{rr}); err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	_, rdata, err := rrset.FromRR(sig)
	if err != nil {
		return err
	}
	signature, err := base64.StdEncoding.DecodeString(sig.Signature)
	if err != nil {
		return err
	}
	data := bytes.TrimSuffix([]byte(rdata), signature)
	data = dnsname.AppendFold(data, dnsname.MustParse(rr.Header().Name))
	data = binary.BigEndian.AppendUint16(data, rr.Header().Rrtype)
	data = binary.BigEndian.AppendUint16(data, dns.ClassINET)
	data = binary.BigEndian.AppendUint32(data, rr.Header().Ttl)
	data = binary.BigEndian.AppendUint16(data, uint16(len(canonical)))
	data = append(data, canonical...)
	if !ed25519.Verify(key.Public().(ed25519.PublicKey), data, signature) {
		return fmt.Errorf("not the canonical form of miekg/dns: %q", canonical)
	}
	return nil
}

// TestCanonicalMiekg compares canonical forms with those that miekg/dns signs.
func TestCanonicalMiekg(t *testing.T) {
	for _, tc := range samples {
		typ, rdata := record(t, tc.rr)
		if typ == rrset.TypeRRSIG || typ == rrset.TypeNXT {
			continue // never signed; and one that miekg/dns leaves as it is
		}
		rr, err := rrset.ToRR("owner.example.", typ, 3600, rdata)
		if err != nil {
			t.Fatal(err)
		}
		if err := miekgCanonical(rr, string(rrset.AppendCanonical(nil, typ, rdata))); err != nil {
			t.Errorf("%s: %v", tc.rr, err)
		}
	}
}
