package ddns

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

func TestPrescan(t *testing.T) {
	for _, tc := range []struct{ name, section, want string }{
		{"none", ``, ``},
		{"all forms", "add www 60 A 192.0.2.1\ndelete www A\ndelete www\ndelete www A 192.0.2.1", ``},
		{"U16 the last is outside of the zone", "add www 60 A 192.0.2.1\nadd www.example.net. 60 A 192.0.2.1", `NOTZONE update 2: www.example.net. A: owner is not in the zone`},
		{"U17 add ANY", `IN/0 www ANY`, `FORMERR update 1: www.example.org. ANY: type cannot be in a zone`},
		{"U17 add AXFR", `IN/0 www AXFR`, `FORMERR update 1: www.example.org. AXFR: type cannot be in a zone`},
		{"U17 add OPT", `IN/0 www OPT`, `FORMERR update 1: www.example.org. OPT: type cannot be in a zone`},
		{"U17 add MAILA", `IN/0 www MAILA`, `FORMERR update 1: www.example.org. MAILA: type cannot be in a zone`},
		{"U17 add NXNAME", `IN/0 www NXNAME`, `FORMERR update 1: www.example.org. NXNAME: type cannot be in a zone`},
		{"U17 add type 0", `IN/0 www TYPE0`, `FORMERR update 1: www.example.org. None: type cannot be in a zone`},
		{"U18 class ANY with a TTL", `ANY/5 www A`, `FORMERR update 1: www.example.org. A: TTL is not 0`},
		{"class ANY with data", `ANY/0 www A 192.0.2.1`, `FORMERR update 1: www.example.org. A: RDATA where there must be none`},
		{"class ANY, type AXFR", `delete www AXFR`, `FORMERR update 1: www.example.org. AXFR: type cannot be in a zone`},
		{"U19 class NONE, type ANY", `NONE/0 www ANY`, `FORMERR update 1: www.example.org. ANY: type cannot be in a zone`},
		{"U19 class NONE, type TSIG", `NONE/0 www TSIG`, `FORMERR update 1: www.example.org. TSIG: type cannot be in a zone`},
		{"U19 class NONE with a TTL", `NONE/5 www A 192.0.2.1`, `FORMERR update 1: www.example.org. A: TTL is not 0`},
		{"class CH", `CH/0 www A 192.0.2.1`, `FORMERR update 1: www.example.org. A: class is none of IN, ANY and NONE`},
		{"add NSEC", `add www 60 NSEC a A`, `REFUSED update 1: www.example.org. NSEC: is not for requestors to change`},
		{"delete NSEC3", `delete www NSEC3`, `REFUSED update 1: www.example.org. NSEC3: is not for requestors to change`},
		{"delete an NSEC record", `delete www NSEC a A`, `REFUSED update 1: www.example.org. NSEC: is not for requestors to change`},
		{"add RRSIG", `add www 60 RRSIG A 8 3 300 20300101000000 20200101000000 1 example.org. AQAB`, ``},
		{"add NSEC3PARAM", `add @ 0 NSEC3PARAM 1 0 150 -`, ``},
		{"add NSEC3PARAM of many iterations", `add @ 0 NSEC3PARAM 1 0 151 -`, `REFUSED update 1: example.org. NSEC3PARAM: more than 150 iterations`},
		{"delete NSEC3PARAM of many iterations", `delete @ NSEC3PARAM 1 0 151 -`, ``},
		{"add A without data", `IN/60 www A`, `FORMERR update 1: www.example.org. A: malformed RDATA`},
		{"add MX without data", `IN/60 www MX`, `FORMERR update 1: www.example.org. MX: malformed RDATA`},
		{"add TXT without data", `IN/60 www TXT`, `FORMERR update 1: www.example.org. TXT: malformed RDATA`},
		{"add WKS without data", `IN/60 www TYPE11`, `FORMERR update 1: www.example.org. TYPE11: malformed RDATA`},
		{"add APL without data", `IN/60 www APL`, ``},
		{"add NULL without data", `IN/60 www NULL`, ``},
		{"add an unknown type without data", `IN/60 www TYPE65280`, ``},
		{"delete A without data", `NONE/0 www A`, `FORMERR update 1: www.example.org. A: malformed RDATA`},
		{"delete A of five octets", `delete www A \# 5 c000020100`, `FORMERR update 1: www.example.org. A: malformed RDATA`},
		{"string that runs past the end", `IN/60 www TXT \# 2 0561`, `FORMERR update 1: www.example.org. TXT: malformed RDATA`},
		{"compressed name", `IN/60 www NS \# 2 c000`, `FORMERR update 1: www.example.org. NS: malformed RDATA`},
		{"SVCB with a compressed name", `IN/60 www SVCB \# 4 0000c000`, `FORMERR update 1: www.example.org. SVCB: malformed RDATA`},
		{"DS that ends early", `IN/60 www DS \# 3 000108`, `FORMERR update 1: www.example.org. DS: malformed RDATA`},
		{"the first decides", "delete www NSEC\nIN/60 www A", `REFUSED update 1: www.example.org. NSEC: is not for requestors to change`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := outcome(t, Prescan(origin, section(t, tc.section), false)); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestWellFormed compares the checks of common types with the slow one.
func TestWellFormed(t *testing.T) {
	types := []uint16{
		rrset.TypeA, rrset.TypeAAAA, rrset.TypeTXT, rrset.TypeNS, rrset.TypeCNAME, rrset.TypePTR, rrset.TypeDNAME,
		rrset.TypeMX, rrset.TypeSRV, rrset.TypeSOA, rrset.TypeDS, rrset.TypeRRSIG, dns.TypeCAA, 65280,
	}
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom(types).Draw(t, "type")
		r := string(rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "octets"))
		if got, want := wellFormed(typ, r), slowWellFormed(typ, r); got != want {
			t.Fatalf("%s %x: %v, not %v", rrset.TypeString(typ), r, got, want)
		}
	})
}

// slowWellFormed is wellFormed by miekg/dns alone, as far as that knows the type.
func slowWellFormed(typ uint16, r string) bool {
	if typ == typeWKS {
		return len(r) >= wksKey
	}
	if rrset.Check(typ, r) != nil {
		return false
	}
	rr, err := rrset.ToRR(".", typ, 0, r)
	if err != nil {
		return false
	}
	_, back, err := rrset.FromRR(rr)
	return err == nil && len(back) <= len(r) && meaningful(typ, r)
}

// TestFieldsThatCannotBe: named refuses these, too.
func TestFieldsThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name, rdata string
		typ         uint16
		want        bool
	}{
		{"DS without digest", "\x30\x39\x0d\x02", rrset.TypeDS, false},
		{"DS with a short digest", "\x30\x39\x0d\x02" + strings.Repeat("x", 31), rrset.TypeDS, false},
		{"DS", "\x30\x39\x0d\x02" + strings.Repeat("x", 32), rrset.TypeDS, true},
		{"DS with a digest of a type that nobody knows", "\x30\x39\x0d\xfe1", rrset.TypeDS, true},
		{"CDS that asks to remove DS (RFC 8078 §4)", "\x00\x00\x00\x00\x00", rrset.TypeCDS, true},
		{"CDNSKEY that asks the same", "\x00\x00\x03\x00\x00", rrset.TypeCDNSKEY, true},
		{"DNSKEY without key", "\x01\x01\x03\x0d", rrset.TypeDNSKEY, false},
		{"TLSA without data", "\x03\x01\x01", typeTLSA, false},
		{"TLSA", "\x03\x01\x01x", typeTLSA, true},
		{"SMIMEA without data", "\x03\x01\x01", typeSMIMEA, false},
		{"SSHFP without fingerprint", "\x04\x02", typeSSHFP, false},
		{"CAA without tag", "\x00\x00x", typeCAA, false},
		{"CAA without value", "\x00\x05issue", typeCAA, true},
		{"LOC", "\x00\x12\x16\x13\x80\x00\x00\x00\x80\x00\x00\x00\x00\x98\x96\x80", typeLOC, true},
		{"LOC with a size of three digits", "\x00\xa2\x16\x13\x80\x00\x00\x00\x80\x00\x00\x00\x00\x98\x96\x80", typeLOC, false},
	} {
		if got := wellFormed(c.typ, c.rdata); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
