package zone_test

import (
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// TestNoAllocs checks that lookups of every kind cost no allocation once the
// Answer has been used.
func TestNoAllocs(t *testing.T) {
	type test struct{ name, q string }
	common := []test{
		{"data", "www.ZONE A do"},
		{"data in another letter case", "WWW.ZONE A do"},
		{"NODATA", "www.ZONE TXT do"},
		{"NXDOMAIN", "nope.ZONE A do"},
		{"NXDOMAIN of a long name", "a-label-that-is-rather-long.and-another-one-that-is-longer.nope.ZONE A do"},
		{"empty non-terminal", "ent.ZONE A do"},
		{"alias", "al.ZONE A do"},
		{"wildcard", "q.w.ZONE TXT do"},
		{"wildcard without the type", "q.w.ZONE A do"},
		{"wildcard alias to a wildcard", "q.c2.ZONE TXT do"},
		{"DNAME", "a.d.ZONE A do"},
		{"DNAME to no name", "b.d.ZONE A do"},
		{"ANY", "www.ZONE ANY do all"},
		{"RRSIG", "www.ZONE RRSIG do all"},
	}
	signed := append([]test{
		{"secure delegation", "h.secure.ZONE A do"},
		{"insecure delegation", "h.insecure.ZONE A do"},
		{"deep insecure delegation", "h.x.y.deep.ZONE A do"},
		{"DS at a cut", "insecure.ZONE DS do"},
		{"NXDOMAIN by an alias at a wildcard", "q.cn.ZONE A do"},
		{"MX", "mx.ZONE MX do"},
	}, common...)
	unsigned := append([]test{
		{"delegation", "h.sub.ZONE A"},
		{"MX", "ZONE MX"},
		{"SRV", "_s._tcp.ZONE SRV"},
		{"NAPTR", "naptr.ZONE NAPTR"},
		{"HTTPS", "https.ZONE HTTPS"},
		{"too long a chain", "chain1.ZONE A"},
		{"a loop of DNAMEs", "x.dl1.ZONE A"},
	}, common...)
	for zoneName, tests := range map[string][]test{"example.org.": unsigned, "nsec.example.": signed, "nsec3.example.": signed, "optout.example.": signed} {
		origin := dnsname.MustParse(zoneName)
		s, _ := load(t, origin, zoneName+"zone")
		for _, tc := range tests {
			t.Run(zoneName+" "+tc.name, func(t *testing.T) {
				q := question(t, replaceZone(tc.q, zoneName))
				var a zone.Answer
				s.Lookup(&q, &a)
				if got := testing.AllocsPerRun(200, func() { s.Lookup(&q, &a) }); got != 0 {
					t.Errorf("%v allocations", got)
				}
			})
		}
	}
}

// TestContinueNoAllocs checks the same for a chain over two zones.
func TestContinueNoAllocs(t *testing.T) {
	z := newZones(t, map[string]string{"a.": "to 60 CNAME to.b.", "b.": "*.x 60 A 192.0.2.1\nto 60 CNAME q.x"})
	q := question(t, "to.a. A")
	var a zone.Answer
	from, to := z["\x01a\x00"], z["\x01b\x00"]
	if got := testing.AllocsPerRun(200, func() {
		from.Lookup(&q, &a)
		to.Continue(&q, &a)
	}); got != 0 || len(a.Answer) != 3 {
		t.Errorf("%v allocations, %s", got, brief(&a))
	}
}

// TestAnswerReuse checks that nothing of an earlier lookup stays in an Answer.
func TestAnswerReuse(t *testing.T) {
	z := newZones(t, map[string]string{"a.": "*.w 60 A 192.0.2.1\nd 60 DNAME x.net.\nsub 60 NS ns.sub\nns.sub 60 A 192.0.2.2"})
	s := z["\x01a\x00"]
	var a, fresh zone.Answer
	questions := []string{"x.sub.a. A", "q.w.a. A", "x.d.a. A", "nope.a. A", "a. NS", "a. TXT"}
	for i := range questions {
		for j := range questions {
			before, q := question(t, questions[i]), question(t, questions[j])
			s.Lookup(&before, &a)
			s.Lookup(&q, &a)
			fresh = zone.Answer{}
			s.Lookup(&q, &fresh)
			if got, want := dump(&a, true), dump(&fresh, true); got != want {
				t.Errorf("%s after %s: got\n%swant\n%s", questions[j], questions[i], got, want)
			}
		}
	}
	for _, set := range a.Additional[:cap(a.Additional)] {
		if set.Owner != "" || set.RRset != (rrset.RRset{}) {
			t.Errorf("%s is kept alive by an answer that has it no more", set.Owner)
		}
	}
}
