package zone_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// TestChecks loads zones that are served in spite of what is wrong with them.
func TestChecks(t *testing.T) {
	const good = `
@     3600 SOA  ns1 hostmaster 1 7200 3600 1209600 300
@     3600 NS   ns1
ns1   3600 A    192.0.2.53
www   3600 A    192.0.2.1
al    3600 CNAME www
*.w   3600 A    192.0.2.2
d     3600 DNAME w
sub   3600 NS   ns.sub
ns.sub 3600 A   192.0.2.3
`
	for _, tc := range []struct {
		name, text string
		want       []string // "owner: rule"
	}{
		{"nothing", "@ 60 MX 0 .\n@ 60 MX 1 www\n@ 60 MX 2 x.w\n@ 60 MX 3 mail.example.net.", nil},
		{"TTLs of an RRset", "x 60 A 192.0.2.4\nx 61 A 192.0.2.5\n", []string{"x.example.: TTL differs within an RRset: 61, not 60 as the record before"}},
		{"TTLs of an RRset apart", "x 60 A 192.0.2.4\ny 60 A 192.0.2.4\nx 61 A 192.0.2.5", []string{"x.example.: TTL differs within an RRset: 61, not 60 as the record before"}},
		{"CNAME beside other data", "al 60 TXT a", []string{"al.example.: CNAME beside other data"}},
		{"CNAME beside what may stand there", "al 60 NSEC d CNAME RRSIG", nil},
		{"two CNAMEs", "al 3600 CNAME ns1", []string{"al.example.: more than one CNAME"}},
		{"two DNAMEs", "d 3600 DNAME x", []string{"d.example.: more than one DNAME"}},
		{"below a DNAME", "a.d 60 TXT a\nb.d 60 DNAME w\nc.b.d 60 TXT a\nz.d 60 TXT a", []string{
			"a.d.example.: data below a DNAME", "b.d.example.: data below a DNAME", "c.b.d.example.: data below a DNAME", "z.d.example.: data below a DNAME",
		}},
		{"below a DNAME at the apex", "@ 60 DNAME example.net.", []string{
			"*.w.example.: data below a DNAME", "al.example.: data below a DNAME", "d.example.: data below a DNAME", "example.: target is an alias: ns1.example.",
			"ns.sub.example.: data below a DNAME", "ns1.example.: data below a DNAME", "sub.example.: data below a DNAME", "sub.example.: target is an alias: ns.sub.example.", "www.example.: data below a DNAME",
		}},
		{"NS at a wildcard", "*.x 60 NS ns1", []string{"*.x.example.: NS at a wildcard"}},
		{"DNAME at a wildcard", "*.x 60 DNAME w", []string{"*.x.example.: DNAME at a wildcard"}},
		{"server that is an alias", "x 60 NS al", []string{"x.example.: target is an alias: al.example."}},
		{"server below a DNAME", "x 60 NS a.d", []string{"x.example.: target is an alias: a.d.example."}},
		{"server that is an alias by a wildcard", "*.y 60 CNAME www\nx 60 NS a.y", []string{"x.example.: target is an alias: a.y.example."}},
		{"server without address", "x 60 NS nope", []string{"x.example.: name server without address record: nope.example."}},
		{"server without address below the cut", "x 60 NS ns.x", []string{"x.example.: name server without address record: ns.x.example."}},
		{"server below another cut, which needs no glue here", "x 60 NS other.sub", nil},
		{"server by a wildcard", "x 60 NS a.w", nil},
		{"mail server that does not exist", "@ 60 MX 10 nope", []string{"example.: target does not exist: nope.example."}},
		{"mail server that is an alias", "@ 60 MX 10 al", []string{"example.: target is an alias: al.example."}},
		{"service that does not exist", "_s._tcp 60 SRV 0 0 1 nope", []string{"_s._tcp.example.: target does not exist: nope.example."}},
		{"DS without NS", "x 60 DS 1 13 2 AA", []string{"x.example.: DS without NS"}},
		{"RRSIG of nothing", "x 60 RRSIG A 13 2 60 20380101000000 20260101000000 1 example. AAAA", []string{"x.example.: RRSIG covers nothing"}},
		{"NSEC3 without NSEC3PARAM", "2t7b4g4vsa5smi47k61mv5bv1a22bojr 60 NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A", []string{"2t7b4g4vsa5smi47k61mv5bv1a22bojr.example.: NSEC3 records without NSEC3PARAM"}},
		{"NSEC3 iterations", "2t7b4g4vsa5smi47k61mv5bv1a22bojr 60 NSEC3 1 0 5 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A\n@ 0 NSEC3PARAM 1 0 5 -", []string{"example.: NSEC3 iterations above 0: 5"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, problems := build(t, origin, parse(t, origin, good+tc.text+"\n"))
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			slices.Sort(got)
			if !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
	t.Run("no NS at the apex", func(t *testing.T) {
		_, problems := build(t, origin, []record{soaRecord(1)})
		if len(problems) != 1 || problems[0].Rule != zone.RuleNoNS {
			t.Errorf("%v", problems)
		}
	})
}

// TestCheckPlace checks that a finding says which record it is about.
func TestCheckPlace(t *testing.T) {
	mx := record{origin, rrset.TypeMX, 60, "\x00\x0a\x04nope" + string(origin)}
	_, problems := build(t, origin, []record{soaRecord(1), {origin, rrset.TypeNS, 60, "\x01x\x03net\x00"}, mx})
	if len(problems) != 1 || problems[0].Owner != mx.owner || problems[0].Type != mx.typ || problems[0].RDATA != mx.rdata {
		t.Errorf("%+v", problems)
	}
}

// TestCheckBound checks that a zone full of mistakes does not fill the memory
// with findings.
func TestCheckBound(t *testing.T) {
	records := []record{soaRecord(1)}
	for i := range 3000 {
		name := fmt.Sprintf("n%d", i)
		owner := dnsname.Name(string(byte(len(name)))+name) + origin
		records = append(records, record{owner, rrset.TypeMX, 60, "\x00\x0a\x04nope" + string(origin)})
		records = append(records, record{owner, rrset.TypeMX, 61, "\x00\x0a\x04nop2" + string(origin)})
	}
	s, problems := build(t, origin, records)
	if len(problems) != 1000 || s.Records() != 6001 {
		t.Errorf("%d findings, %d records", len(problems), s.Records())
	}
}
