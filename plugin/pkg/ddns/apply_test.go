package ddns

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

const (
	soaOld = "-@ 300 SOA ns1 hostmaster 10 7200 3600 1209600 60"
	sigA   = "RRSIG A 8 3 300 20300101000000 20200101000000 1 example.org. AQAB"
	sigTXT = "RRSIG TXT 8 3 300 20300101000000 20200101000000 1 example.org. AQAC"
)

// apply gives what a section changes, and the error.
func apply(t *testing.T, more, list string, limits Limits) (changed, msg string) {
	t.Helper()
	txn := load(t, more).Begin()
	records := section(t, list)
	if msg := outcome(t, Prescan(origin, records, false)); msg != "" {
		t.Fatal(msg)
	}
	if msg := outcome(t, Apply(txn, records, limits)); msg != "" {
		return "", msg
	}
	return changes(t, txn), ""
}

func TestApply(t *testing.T) {
	hash := "2t7b4g4vsa5smi47k61mv5bv1a22bojr"
	for _, tc := range []struct{ name, more, section, want string }{
		{"nothing", "", "", ""},
		{"U20 add an address", "", "add www 300 A 192.0.2.2", "+www 300 A 192.0.2.2"},
		{"U20 add a name", "", "add new 60 A 192.0.2.2\nadd new 60 TXT x", "+new 60 A 192.0.2.2\n+new 60 TXT \"x\""},
		{"U20 add in other letter case: the owner stays", "", "add WWW 300 A 192.0.2.2", "+www 300 A 192.0.2.2"},
		{"a new owner keeps its letter case", "", "add New 60 A 192.0.2.2\nadd nEW 60 A 192.0.2.3", "+New 60 A 192.0.2.2\n+New 60 A 192.0.2.3"},
		{"U21 add what is there", "", "add www 300 A 192.0.2.1", ""},
		{"U21 names in other letter case", "", "add @ 300 NS NS1", ""},
		{"U22 another TTL", "", "add two 5 A 192.0.2.1", "-two 300 A 192.0.2.1\n-two 300 A 192.0.2.2\n+two 5 A 192.0.2.1\n+two 5 A 192.0.2.2"},
		{"U22 another TTL with new data", "", "add www 5 A 192.0.2.2", "-www 300 A 192.0.2.1\n+www 5 A 192.0.2.1\n+www 5 A 192.0.2.2"},
		{"the last TTL counts", "", "add www 5 A 192.0.2.1\nadd www 300 A 192.0.2.1", ""},
		{"the greatest TTL", "", "add new 2147483647 A 192.0.2.1", "+new 2147483647 A 192.0.2.1"},
		{"a TTL with its first bit set is 0", "", "add new 2147483648 A 192.0.2.1\nadd new2 4294967295 A 192.0.2.1", "+new 0 A 192.0.2.1\n+new2 0 A 192.0.2.1"},

		{"U23 add CNAME beside other data", "", "add www 300 CNAME c", ""},
		{"U23 at the apex", "", "add @ 300 CNAME c", ""},
		{"CNAME at an empty non-terminal", "", "add ent 300 CNAME c", "+ent 300 CNAME c"},
		{"CNAME beside KEY, RRSIG and NSEC", "k KEY 512 3 8 AQAB\nk NSEC c KEY\nk " + sigA, "add k 300 CNAME c", "+k 300 CNAME c"},
		{"CNAME beside the owner of an NSEC3", hash + " NSEC3 1 0 0 - " + hash + " A", "add " + hash + " 300 CNAME c", "+" + hash + " 300 CNAME c"},
		{"U24 add other data beside CNAME", "", "add c 300 A 192.0.2.2", ""},
		{"U24 DNAME too", "", "add c 300 DNAME c.example.net.", ""},
		{"CNAME beside DNAME", "d DNAME example.net.", "add d 300 CNAME www", ""},
		{"KEY and RRSIG beside CNAME", "", "add c 300 KEY 512 3 8 AQAB\nadd c 300 " + sigA, "+c 300 RRSIG A 8 3 300 20300101000000 20200101000000 1 @ AQAB\n+c 300 KEY 512 3 8 AQAB"},
		{"U25 add another CNAME", "", "add c 60 CNAME two", "-c 300 CNAME www\n+c 60 CNAME two"},
		{"U25 the same CNAME in other letter case", "", "add c 60 CNAME WWW", "-c 300 CNAME www\n+c 60 CNAME www"},
		{"U25 one of two CNAMEs that the file has", "two2 CNAME a\ntwo2 CNAME b", "add two2 300 CNAME B", "-two2 300 CNAME a"},
		{"another DNAME", "d DNAME example.net.", "add d 300 DNAME example.com.", "-d 300 DNAME example.net.\n+d 300 DNAME example.com."},
		{"U26 from CNAME to address", "", "delete c CNAME\nadd c 300 A 192.0.2.2", "-c 300 CNAME www\n+c 300 A 192.0.2.2"},
		{"U26 from address to CNAME", "", "delete www A 192.0.2.1\nadd www 300 CNAME two", "-www 300 A 192.0.2.1\n+www 300 CNAME two"},
		{"U26 in the wrong order", "", "add c 300 A 192.0.2.2\ndelete c CNAME", "-c 300 CNAME www"},

		{"U27 SOA with the same serial", "", "add @ 60 SOA ns2 hostmaster 10 1 1 1 1", ""},
		{"U27 SOA with an earlier serial", "", "add @ 60 SOA ns2 hostmaster 9 1 1 1 1", ""},
		{"U27 SOA with a later serial", "", "add @ 60 SOA ns2 hostmaster 50 1 1 1 1", soaOld + "\n+@ 60 SOA ns2 hostmaster 50 1 1 1 1"},
		{"U27 SOA as late as can be", "", "add @ 300 SOA ns1 hostmaster 2147483657 7200 3600 1209600 60", soaOld + "\n+@ 300 SOA ns1 hostmaster 2147483657 7200 3600 1209600 60"},
		{"U27 SOA 2^31 away", "", "add @ 60 SOA ns2 hostmaster 2147483658 1 1 1 1", ""},
		{"U27 SOA below the apex", "", "add www 60 SOA ns2 hostmaster 50 1 1 1 1", ""},
		{"U34 SOA around the wrap", "", "add @ 60 SOA ns2 hostmaster 2147483657 1 1 1 1\nadd @ 60 SOA ns2 hostmaster 4294967295 1 1 1 1\nadd @ 60 SOA ns2 hostmaster 1 1 1 1 1", soaOld + "\n+@ 60 SOA ns2 hostmaster 1 1 1 1 1"},
		{"SOA and other data", "", "add www 300 A 192.0.2.2\nadd @ 300 SOA ns1 hostmaster 11 7200 3600 1209600 60", soaOld + "\n+@ 300 SOA ns1 hostmaster 11 7200 3600 1209600 60\n+www 300 A 192.0.2.2"},

		{"U28 delete NS at the apex", "", "delete @ NS", ""},
		{"U28 delete SOA at the apex", "", "delete @ SOA", ""},
		{"U28 delete all at the apex", "@ TXT x\n@ RRSIG TXT 8 2 300 20300101000000 20200101000000 1 example.org. AQAC\n@ RRSIG NS 8 2 300 20300101000000 20200101000000 1 example.org. AQAB", "delete EXAMPLE.org.", "-@ 300 TXT \"x\"\n-@ 300 RRSIG TXT 8 2 300 20300101000000 20200101000000 1 @ AQAC"},
		{"U28 delete MX at the apex", "@ MX 1 www", "delete @ MX", "-@ 300 MX 1 www"},
		{"U29 delete all NS records one by one", "", "delete @ NS ns1\ndelete @ NS ns2", "-@ 300 NS ns1"},
		{"U29 in the other order", "", "delete @ NS NS2\ndelete @ NS ns1", "-@ 300 NS ns2"},
		{"U29 NS records that come before the old go", "", "add @ 300 NS a\ndelete @ NS ns1\ndelete @ NS ns2", "-@ 300 NS ns1\n-@ 300 NS ns2\n+@ 300 NS a"},
		{"the last NS at a cut goes", "cut NS ns.example.net.", "delete cut NS ns.example.net.", "-cut 300 NS ns.example.net."},
		{"U30 delete the SOA record", "", "delete @ SOA ns1 hostmaster 10 7200 3600 1209600 60", ""},

		{"U31 delete a record that is not there", "", "delete www A 192.0.2.9\ndelete nope A 192.0.2.9\ndelete www TXT x", ""},
		{"U31 delete an RRset that is not there", "", "delete www TXT\ndelete ent A\ndelete nope", ""},
		{"U31 delete and add again", "", "delete www A 192.0.2.1\nadd www 300 A 192.0.2.1", ""},
		{"U32 delete a record", "", "NONE/0 www A 192.0.2.1", "-www 300 A 192.0.2.1"},
		{"U32 names in other letter case", "", "delete C CNAME WWW", "-c 300 CNAME www"},
		{"U32 one of two", "", "delete two A 192.0.2.1", "-two 300 A 192.0.2.1"},
		{"U32 strings in other letter case", "", `delete two TXT "One" "two"`, ""},
		{"delete an RRset", "", "delete two A", "-two 300 A 192.0.2.1\n-two 300 A 192.0.2.2"},
		{"U33 delete a name", "www TXT x\nwww " + sigA + "\nwww " + sigTXT, "delete www", "-www 300 A 192.0.2.1\n-www 300 RRSIG A 8 3 300 20300101000000 20200101000000 1 @ AQAB\n-www 300 TXT \"x\"\n-www 300 RRSIG TXT 8 3 300 20300101000000 20200101000000 1 @ AQAC"},
		{"U33 a name with signatures that cover nothing", "s " + sigA, "delete s", "-s 300 RRSIG A 8 3 300 20300101000000 20200101000000 1 @ AQAB"},
		{"U33 an empty non-terminal", "", "delete ent", ""},
		{"U33 a name that owns NSEC3 as well", hash + " NSEC3 1 0 0 - " + hash + " A\n" + hash + " A 192.0.2.7\n" + hash + " " + sigA, "delete " + hash, "-" + hash + " 300 A 192.0.2.7\n-" + hash + " 300 RRSIG A 8 3 300 20300101000000 20200101000000 1 @ AQAB"},

		{"signatures stay when their RRset goes", "www " + sigA, "delete www A", "-www 300 A 192.0.2.1"},
		{"a signature", "www " + sigA, "add www 300 " + sigTXT + "\ndelete www " + sigA, "-www 300 RRSIG A 8 3 300 20300101000000 20200101000000 1 @ AQAB\n+www 300 RRSIG TXT 8 3 300 20300101000000 20200101000000 1 @ AQAC"},
		{"all signatures", "www " + sigA + "\nwww " + sigTXT, "delete www RRSIG", "-www 300 RRSIG A 8 3 300 20300101000000 20200101000000 1 @ AQAB\n-www 300 RRSIG TXT 8 3 300 20300101000000 20200101000000 1 @ AQAC"},

		{"WKS of the same address and protocol", `w TYPE11 \# 6 c000020106 40`, `add w 300 TYPE11 \# 6 c00002010620` + "\n" + `add w 300 TYPE11 \# 6 c00002011120`, "-w 300 TYPE11 \\# 6 c00002010640\n+w 300 TYPE11 \\# 6 c00002010620\n+w 300 TYPE11 \\# 6 c00002011120"},
		{"NSEC3PARAM with other flags", "@ 0 NSEC3PARAM 1 0 5 aabb", "add @ 0 NSEC3PARAM 1 1 5 aabb\nadd @ 0 NSEC3PARAM 1 0 6 aabb", "-@ 0 NSEC3PARAM 1 0 5 AABB\n+@ 0 NSEC3PARAM 1 1 5 AABB\n+@ 0 NSEC3PARAM 1 0 6 AABB"},
		{"MD and MF", "", "add new 60 MD www\nadd new 60 MF www", ""},
		{"NS and DNAME at a wildcard", "", "add * 60 NS www\nadd * 60 DNAME www", ""},
		{"other types at a wildcard", "", "add * 60 CNAME www\nadd *.w 60 A 192.0.2.8", "+* 60 CNAME www\n+*.w 60 A 192.0.2.8"},
		{"DS at the apex", "", "add @ 60 DS 1 8 2 " + strings.Repeat("ab", 32), ""},
		{"CDS at the apex, DS at a cut", "cut NS ns.example.net.", "add @ 60 CDS 0 0 0 00\nadd cut 60 DS 1 8 2 " + strings.Repeat("AB", 32), "+@ 60 CDS 0 0 0 00\n+cut 60 DS 1 8 2 " + strings.Repeat("AB", 32)},

		{"U42 more than the policy allows", "", "add max=1 p 60 PTR a\nadd max=1 p 60 PTR b", "+p 60 PTR a"},
		{"U42 the same record with another TTL", "", "add max=1 www 60 A 192.0.2.1", "-www 300 A 192.0.2.1\n+www 60 A 192.0.2.1"},
		{"U42 delete first", "", "delete www A\nadd max=1 www 300 A 192.0.2.2", "-www 300 A 192.0.2.1\n+www 300 A 192.0.2.2"},
		{"U42 CNAME is replaced", "", "add max=1 c 300 CNAME two", "-c 300 CNAME www\n+c 300 CNAME two"},
		{"U42 an RRset that was larger before", "", "add max=1 two 60 A 192.0.2.1\nadd max=1 two 5 A 192.0.2.3", "-two 300 A 192.0.2.1\n-two 300 A 192.0.2.2\n+two 60 A 192.0.2.1\n+two 60 A 192.0.2.2"},
		{"U42 signatures over each type for themselves", "www " + sigA, "add max=1 www 300 " + sigTXT, "+www 300 RRSIG TXT 8 3 300 20300101000000 20200101000000 1 @ AQAC"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, msg := apply(t, tc.more, tc.section, Limits{})
			if msg != "" || got != tc.want {
				t.Errorf("got  %s %s\nwant %s", msg, got, tc.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	for _, tc := range []struct {
		name, section string
		limit         int
		want          string
	}{
		{"as many as are allowed", "add www 300 A 192.0.2.2", 2, ""},
		{"one more", "add www 300 A 192.0.2.2\nadd sub.www 300 A 192.0.2.2\nadd WWW 300 A 192.0.2.3", 2, "REFUSED update 1: www.example.org. A: RRset of 3 records where 2 are allowed"},
		{"more in between", "add www 300 A 192.0.2.2\nadd www 300 A 192.0.2.3\ndelete www A 192.0.2.1", 2, ""},
		{"was larger before", "add two 5 A 192.0.2.1\ndelete two TXT", 1, ""},
		{"was larger before, and grows", "add two 300 A 192.0.2.3", 1, "REFUSED update 1: two.example.org. A: RRset of 3 records where 1 are allowed"},
		{"shrinks and grows again", "delete two A 192.0.2.1\nadd two 300 A 192.0.2.3", 1, ""},
		{"a record goes before others come", "delete two A 192.0.2.1\nadd two 300 A 192.0.2.3\nadd two 300 A 192.0.2.4", 2, "REFUSED update 2: two.example.org. A: RRset of 3 records where 2 are allowed"},
		{"an RRset beside it", "add two 300 TXT x", 2, ""},
		{"signatures over one type", "add www 300 " + sigA + "\nadd www 300 " + sigTXT, 1, ""},
		{"signatures over one type, two of them", "add www 300 " + sigA + "\nadd www 300 " + sigTXT + "\nadd www 300 " + strings.Replace(sigTXT, "AQAC", "AQAD", 1), 1, "REFUSED update 2: www.example.org. RRSIG: RRset of 2 records where 1 are allowed"},
		{"signatures of the NSEC3 chain elsewhere", "add a.b 300 " + strings.Replace(sigA, "RRSIG A", "RRSIG NSEC3", 1), 0, "REFUSED update 1: a.b.example.org. RRSIG: " + zone.ErrNSEC3.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, got := apply(t, "", tc.section, Limits{RRset: tc.limit}); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestTooLong: an RRset that fits into no message is refused, though nothing
// else limits it.
func TestTooLong(t *testing.T) {
	txn := load(t, "").Begin()
	var list []Record
	for i := range 260 {
		list = append(list, Record{Owner: origin, Type: rrset.TypeTXT, Class: ClassINET, RDATA: fmt.Sprintf("\xfa%0250d", i)})
	}
	want := "REFUSED update 260: example.org. TXT: " + rrset.ErrTooLong.Error()
	if got := outcome(t, Apply(txn, list, Limits{})); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTypes(t *testing.T) {
	for _, tc := range []struct {
		name, section string
		want          []uint16
	}{
		{"add", "add www 60 TXT x", []uint16{rrset.TypeTXT}},
		{"delete a record", "delete www AAAA ::", []uint16{rrset.TypeAAAA}},
		{"delete an RRset", "delete www AAAA", []uint16{rrset.TypeAAAA}},
		{"delete a name", "delete TWO", []uint16{rrset.TypeA, rrset.TypeTXT}},
		{"delete a name that is signed", "delete both", []uint16{rrset.TypeA, rrset.TypeTXT, rrset.TypeRRSIG}},
		{"delete a name with signatures only", "delete signed", []uint16{rrset.TypeRRSIG}},
		{"types on both sides of RRSIG", "delete sides", []uint16{rrset.TypeA, rrset.TypeRRSIG, rrset.TypeNSEC, rrset.TypeHTTPS}},
		{"delete a name that is not there", "delete ent", nil},
		{"the owner of an NSEC3", "delete 2t7b4g4vsa5smi47k61mv5bv1a22bojr", nil},
		{"delete all at the apex", "delete @", []uint16{rrset.TypeNS, rrset.TypeSOA}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sides := "sides A 192.0.2.1\nsides NSEC www A\nsides HTTPS 1 .\n" +
				"sides RRSIG NSEC 8 3 300 20300101000000 20200101000000 1 example.org. AQAB\nsides RRSIG HTTPS 8 3 300 20300101000000 20200101000000 1 example.org. AQAB\n"
			txn := load(t, more+sides).Begin()
			if got := Types(txn, section(t, tc.section)[0]); !slices.Equal(got, tc.want) {
				t.Errorf("%d, not %d", got, tc.want)
			}
		})
	}
}

// TestWildcardZone: a zone may be named by an asterisk; then it has NS records.
func TestWildcardZone(t *testing.T) {
	star := dnsname.MustParse("*.example.")
	b := zone.NewBuilder(star)
	for typ, text := range map[uint16]string{rrset.TypeSOA: "a. a. 1 1 1 1 1", rrset.TypeNS: "a."} {
		if err := b.Add(star, typ, 60, []byte(rdata(t, typ, text))); err != nil {
			t.Fatal(err)
		}
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	txn := s.Begin()
	if err := Apply(txn, section(t, "add *.example. 60 NS b.\nadd *.example. 60 DNAME b."), Limits{}); err != nil {
		t.Fatal(err)
	}
	if got, want := changes(t, txn), "+*.example. 60 NS b."; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
