package update

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/ddns"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// RDATA that ends too early is malformed, also where the library takes what is missing for zero. RDATA with compressed
// names is not.
func TestRecordsCutShort(t *testing.T) {
	for _, c := range []struct {
		name   string
		typ    uint16
		rdata  string // hexadecimal
		broken bool
	}{
		{"A", dns.TypeA, "c0000201", false},
		{"MX", dns.TypeMX, "000a 046d61696c 00", false},
		{"MX, compressed", dns.TypeMX, "000a c00c", false},
		{"MX without a name", dns.TypeMX, "000a", true},
		{"SOA", dns.TypeSOA, "00 00 00000001 00000001 00000001 00000001 00000001", false},
		{"SOA, compressed", dns.TypeSOA, "c00c c00c 00000001 00000000 00000000 00000000 00000000", false},
		{"SOA with a serial only", dns.TypeSOA, "00 00 00000001", true},
		{"SOA without MINIMUM", dns.TypeSOA, "c00c c00c 00000001 00000001 00000001 00000001", true},
		{"SRV, compressed", dns.TypeSRV, "0000 0000 0035 c00c", false},
		{"TLSA", dns.TypeTLSA, "030101 00", false},
		{"TLSA of two octets", dns.TypeTLSA, "0301", true},
		{"DS without a digest type", dns.TypeDS, "3039 0d", true},
		{"SSHFP of one octet", dns.TypeSSHFP, "01", true},
		{"LOC of one octet", dns.TypeLOC, "00", true},
		{"HTTPS without a target", dns.TypeHTTPS, "0001", true},
		{"ISDN without a subaddress", dns.TypeISDN, "0131", false},
		{"unknown", 65280, "01", false},
	} {
		rr := &dns.RFC3597{Hdr: dns.RR_Header{Name: "www.example.org.", Rrtype: c.typ, Class: dns.ClassINET}, Rdata: strings.ReplaceAll(c.rdata, " ", "")}
		if _, err := hex.DecodeString(rr.Rdata); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		m := new(dns.Msg)
		m.SetUpdate("example.org.")
		m.Ns = []dns.RR{rr}
		b, err := m.Pack()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		err = m.Unpack(b)
		if err == nil {
			var list []ddns.Record
			if list, err = records("update", m.Ns); err == nil {
				err = ddns.Prescan(dnsname.MustParse("example.org."), list, false)
			}
		}
		if (err != nil) != c.broken {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}
