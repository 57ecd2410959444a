package interop

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// An updateTestCase is a request to the zone of the beginning, and what must come of it with us.
type updateTestCase struct {
	name  string
	text  string // as parseUpdate reads it
	rcode int
	want  string // what becomes another: "-" or "+" in front of records
	moves int    // how far the serial moves; 0: by one if the zone changes, else not at all
}

func (c *updateTestCase) run(t *testing.T, f *farm, run *updateTally) {
	t.Helper()
	u, err := parseUpdate(strings.Split(c.text, "\n"), f.has[atOurs].serial)
	if err != nil {
		t.Fatal(err)
	}
	s := run.compare(t, f, u, c.name)
	var want []string
	for line := range strings.Lines(c.want) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			want = append(want, line)
		}
	}
	slices.Sort(want)
	if got := s.changed(); s.rcodes[atOurs] != c.rcode || !slices.Equal(got, want) {
		t.Errorf("%s, not %s, and the zone\n\t%s\nnot\n\t%s", dns.RcodeToString[s.rcodes[atOurs]], dns.RcodeToString[c.rcode],
			strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	serial := s.before.serial + uint32(c.moves)
	if c.moves == 0 && len(want) > 0 {
		serial = max(serial+1, 1) // without 0
	}
	if s.after[atOurs].serial != serial {
		t.Errorf("serial %d after %d, not %d", s.after[atOurs].serial, s.before.serial, serial)
	}
}

// changed gives the records that went and came with us, in canonical text.
func (s *updateSituation) changed() (list []string) {
	for _, k := range differing(s.before, s.after[atOurs]) {
		before, after := s.before.set(k), s.after[atOurs].set(k)
		for _, side := range []struct {
			sign      string
			has, lost section
		}{{"-", before, after}, {"+", after, before}} {
			for _, rr := range side.has {
				if !slices.Contains(side.lost, rr) {
					owner, rest, _ := strings.Cut(rr, "\t")
					for _, class := range []string{"\tIN\t", "\tCLASS1\t"} {
						rest = strings.Replace(rest, class, "\t", 1)
					}
					list = append(list, strings.Join(strings.Fields(side.sign+" "+shortName(owner)+" "+rest), " "))
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

// shortName gives a name relative to the origin.
func shortName(name string) string {
	if name == updateOrigin {
		return "@"
	}
	return strings.TrimPrefix(strings.TrimSuffix(name, "."+updateOrigin), ";") // the library writes NULL records as comments
}

const (
	added = "+ new 300 A 192.0.2.9" // by
	adder = "\nadd new 300 A 192.0.2.9"

	noName, nameInUse, noRRset, rrsetThere = dns.RcodeNameError, dns.RcodeYXDomain, dns.RcodeNXRrset, dns.RcodeYXRrset
	formErr, notZone, refused              = dns.RcodeFormatError, dns.RcodeNotZone, dns.RcodeRefused
)

var updateCases = []updateTestCase{
	{name: "nothing at all"},
	{name: "the last serial", text: "add @ 300 SOA ns1 hostmaster 4294967295 7200 3600 1209600 300", moves: 95}, // of 4294967200
	{name: "the serial after the last", text: adder, want: added},

	// Prerequisites.
	{name: "in use", text: "yxdomain www" + adder, want: added},
	{name: "in use in other letter case", text: "yxdomain WwW" + adder, want: added},
	{name: "in use, and is not", text: "yxdomain nope" + adder, rcode: noName},
	{name: "in use, an empty non-terminal", text: "yxdomain ent" + adder, rcode: noName},
	{name: "in use, matched by a wildcard", text: "yxdomain x.wild" + adder, rcode: noName},
	{name: "in use, the wildcard", text: "yxdomain *.wild" + adder, want: added},
	{name: "in use, glue", text: "yxdomain ns.sub" + adder, want: added},
	{name: "in use, below a DNAME", text: "yxdomain x.dn" + adder, rcode: noName},
	{name: "not in use", text: "nxdomain new" + adder, want: added},
	{name: "not in use, and is", text: "nxdomain www" + adder, rcode: nameInUse},
	{name: "not in use, an empty non-terminal", text: "nxdomain ent" + adder, want: added},
	{name: "not in use, the apex", text: "nxdomain @" + adder, rcode: nameInUse},
	{name: "RRset exists", text: "yxrrset www A" + adder, want: added},
	{name: "RRset exists, another type", text: "yxrrset www TXT" + adder, rcode: noRRset},
	{name: "RRset exists, through a CNAME", text: "yxrrset alias A" + adder, rcode: noRRset},
	{name: "RRset exists, through a wildcard", text: "yxrrset x.wild A" + adder, rcode: noRRset},
	{name: "RRset exists, unknown type", text: "yxrrset odd TYPE65280" + adder, want: added},
	{name: "RRset does not exist", text: "nxrrset www TXT" + adder, want: added},
	{name: "RRset does not exist, and does", text: "nxrrset www A" + adder, rcode: rrsetThere},
	{name: "RRset does not exist, CNAME", text: "nxrrset alias CNAME" + adder, rcode: rrsetThere},
	{name: "values", text: "yxrrset www A 192.0.2.2\nyxrrset www A 192.0.2.1" + adder, want: added},
	{name: "values in other letter case", text: "yxrrset MAIL MX 10 maiL\nyxrrset mail MX 20 BACKUP.example.net." + adder, want: added},
	{name: "values of two RRsets", text: "yxrrset www A 192.0.2.2\nyxrrset a.ent A 192.0.2.4\nyxrrset www A 192.0.2.1" + adder, want: added},
	{name: "values, one missing", text: "yxrrset www A 192.0.2.1" + adder, rcode: noRRset},
	{name: "values, one too many", text: "yxrrset a.ent A 192.0.2.4\nyxrrset a.ent A 192.0.2.5" + adder, rcode: noRRset},
	{name: "values, another", text: "yxrrset a.ent A 192.0.2.5" + adder, rcode: noRRset},
	{name: "values, strings divided otherwise", text: `yxrrset txt TXT "onetwo"` + "\n" + `yxrrset txt TXT "three"` + adder, rcode: noRRset},
	{name: "values, letter case of text", text: `yxrrset txt TXT "ONE" "two"` + "\n" + `yxrrset txt TXT "three"` + adder, rcode: noRRset},
	{name: "values of an unknown type", text: `yxrrset odd TYPE65280 \# 3 010203` + adder, want: added},
	{name: "value required twice", text: "yxrrset a.ent A 192.0.2.4\nyxrrset a.ent A 192.0.2.4" + adder, want: added},
	{name: "the serial, as compare and swap", text: "yxrrset @ SOA ns1 hostmaster serial+0 7200 3600 1209600 300" + adder, want: added},
	{name: "the serial before", text: "yxrrset @ SOA ns1 hostmaster serial-1 7200 3600 1209600 300" + adder, rcode: noRRset},
	{name: "the first prerequisite decides", text: "nxdomain www\nyxdomain nope" + adder, rcode: nameInUse},
	{name: "values are compared last", text: "yxrrset www A 192.0.2.9\nyxdomain nope" + adder, rcode: noName},
	{name: "good and bad", text: "yxdomain www\nyxrrset www A\nnxrrset www A" + adder, rcode: rrsetThere},
	{name: "prerequisites only", text: "yxdomain www\nnxdomain new"},
	{
		name: "prerequisites see nothing of the changes", text: "nxdomain new\nyxrrset www A\ndelete www" + adder,
		want: added + "\n- www 300 A 192.0.2.1\n- www 300 A 192.0.2.2\n- www 300 AAAA 2001:db8::1",
	},
	{name: "prerequisite out of zone", text: "yxdomain www.example.net." + adder, rcode: notZone},
	{name: "prerequisite with a TTL", text: "prerequisite ANY 1 www A raw" + adder, rcode: formErr},
	{name: "prerequisite with value and TTL", text: "prerequisite IN 300 www A raw c0000201" + adder, rcode: formErr},
	{name: "prerequisite of a strange class", text: "prerequisite CH 0 www A raw c0000201" + adder, rcode: formErr},
	{name: "prerequisite with RDATA where there must be none", text: "prerequisite NONE 0 www TXT raw c0000201" + adder, rcode: formErr},
	{name: "prerequisite for all types of a value", text: "prerequisite IN 0 www ANY raw" + adder, rcode: formErr},
	{name: "prerequisite of type AXFR", text: "prerequisite ANY 0 www AXFR raw" + adder, rcode: formErr},

	// Additions.
	{name: "new name", text: adder, want: added},
	{name: "new name, deep", text: "add a.b.c.new 300 A 192.0.2.9", want: "+ a.b.c.new 300 A 192.0.2.9"},
	{name: "at an empty non-terminal", text: "add ent 300 A 192.0.2.9", want: "+ ent 300 A 192.0.2.9"},
	{name: "at the apex", text: "add @ 300 A 192.0.2.9", want: "+ @ 300 A 192.0.2.9"},
	{name: "at a wildcard", text: "add *.wild 300 AAAA 2001:db8::9", want: "+ *.wild 300 AAAA 2001:db8::9"},
	{name: "below a cut", text: "add ns.sub 300 AAAA 2001:db8::9", want: "+ ns.sub 300 AAAA 2001:db8::9"},
	{name: "to an RRset", text: "add www 300 A 192.0.2.9", want: "+ www 300 A 192.0.2.9"},
	{name: "what is there", text: "add www 300 A 192.0.2.1"},
	{name: "what is there, in other letter case", text: "add MAIL 600 MX 10 maIL"},
	{
		name: "what is there, with another TTL", text: "add www 60 A 192.0.2.1",
		want: "- www 300 A 192.0.2.1\n- www 300 A 192.0.2.2\n+ www 60 A 192.0.2.1\n+ www 60 A 192.0.2.2",
	},
	{
		name: "to an RRset, with another TTL", text: "add www 60 A 192.0.2.9",
		want: "- www 300 A 192.0.2.1\n- www 300 A 192.0.2.2\n+ www 60 A 192.0.2.1\n+ www 60 A 192.0.2.2\n+ www 60 A 192.0.2.9",
	},
	{name: "two TTLs in one request", text: "add new 60 A 192.0.2.1\nadd new 90 A 192.0.2.2", want: "+ new 90 A 192.0.2.1\n+ new 90 A 192.0.2.2"},
	{name: "twice", text: adder + adder, want: added},
	{name: "TTL 0", text: "add new 0 A 192.0.2.9", want: "+ new 0 A 192.0.2.9"},
	{name: "TTL of 2^31", text: "add new 2147483648 A 192.0.2.9", want: "+ new 0 A 192.0.2.9"},
	{
		name: "unknown types", text: `add new 300 TYPE65280 \# 2 abcd` + "\n" + `add new 300 TYPE65281 \# 0`,
		want: `+ new 300 TYPE65280 \# 2 abcd` + "\n" + `+ new 300 TYPE65281 \# 0`,
	},
	{
		name: "types of today", text: "add new 300 DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=\nadd new 300 TLSA 3 1 1 " + hash + "\nadd new 300 HTTPS 1 . alpn=h2\n" +
			"add new 300 SVCB 0 www\nadd new 300 CAA 0 issue \";\"\nadd sub 300 DS 9 13 2 " + hash,
		want: "+ new 300 DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=\n+ new 300 TLSA 3 1 1 " + strings.ToLower(hash) + "\n+ new 300 HTTPS 1 . alpn=\"h2\"\n" +
			"+ new 300 SVCB 0 www.example.org.\n+ new 300 CAA 0 issue \";\"\n+ sub 300 DS 9 13 2 " + hash,
	},
	{name: "CDS and CDNSKEY at the apex", text: "add @ 300 CDS 0 0 0 00\nadd @ 300 CDNSKEY 0 3 0 AA==", want: "+ @ 300 CDS 0 0 0 00\n+ @ 300 CDNSKEY 0 3 0 AA=="},
	{
		name: "WKS of the same address and protocol", text: "add new 300 TYPE11 raw c0000201 06 40\nadd new 300 TYPE11 raw c0000201 06 80\nadd new 300 TYPE11 raw c0000201 11 80",
		want: "+ new 300 TYPE11 \\# 6 c00002010680\n+ new 300 TYPE11 \\# 6 c00002011180",
	},
	{
		name: "RRSIG", text: "add www 300 RRSIG A 13 3 300 20300101000000 20200101000000 12345 example.org. AAECAwQF",
		want: "+ www 300 RRSIG A 13 3 300 20300101000000 20200101000000 12345 example.org. AAECAwQF",
	},
	{name: "NSEC", text: "add www 300 NSEC example.org. A" + adder, rcode: refused},
	{name: "DS at the apex", text: "add @ 300 DS 9 13 2 " + hash},
	{name: "DS where there is no NS", text: "add www 300 DS 9 13 2 " + hash, want: "+ www 300 DS 9 13 2 " + hash},
	{name: "NS at a wildcard", text: "add *.wild 300 NS ns1"},
	{name: "DNAME at a wildcard", text: "add *.wild 300 DNAME example.net."},
	{name: "MD", text: "add new 300 TYPE3 raw 03777777 00"},

	// Aliases.
	{name: "CNAME beside other data", text: "add www 300 CNAME mail"},
	{name: "other data beside a CNAME", text: "add alias 300 A 192.0.2.9"},
	{name: "CNAME at the apex", text: "add @ 300 CNAME www"},
	{name: "another CNAME", text: "add alias 300 CNAME mail", want: "- alias 300 CNAME www.example.org.\n+ alias 300 CNAME mail.example.org."},
	{name: "the same CNAME in other letter case", text: "add ALIAS 300 CNAME wWw"},
	{name: "the same CNAME with another TTL", text: "add alias 60 CNAME www", want: "- alias 300 CNAME www.example.org.\n+ alias 60 CNAME www.example.org."},
	{name: "CNAME deleted, other data added", text: "delete alias CNAME\nadd alias 300 A 192.0.2.9", want: "- alias 300 CNAME www.example.org.\n+ alias 300 A 192.0.2.9"},
	{name: "name deleted, CNAME added", text: "delete a.ent\nadd a.ent 300 CNAME www", want: "- a.ent 300 A 192.0.2.4\n+ a.ent 300 CNAME www.example.org."},
	{name: "CNAME added, then the other data deleted", text: "add a.ent 300 CNAME www\ndelete a.ent A", want: "- a.ent 300 A 192.0.2.4"},
	{name: "address and CNAME", text: "add new 300 A 192.0.2.9\nadd new 300 CNAME www", want: added},
	{name: "CNAME and address", text: "add new 300 CNAME www\nadd new 300 A 192.0.2.9", want: "+ new 300 CNAME www.example.org."},
	{name: "two CNAMEs", text: "add new 300 CNAME www\nadd new 300 CNAME mail", want: "+ new 300 CNAME mail.example.org."},
	{name: "KEY beside a CNAME", text: "add alias 300 KEY 512 3 13 AAECAwQF", want: "+ alias 300 KEY 512 3 13 AAECAwQF"},
	{name: "DNAME", text: "add new 300 DNAME example.net.", want: "+ new 300 DNAME example.net."},
	{name: "DNAME beside an address", text: "add a.ent 300 DNAME example.net.", want: "+ a.ent 300 DNAME example.net."},
	{name: "DNAME above other names", text: "add ent 300 DNAME example.net.", want: "+ ent 300 DNAME example.net."},
	{name: "another DNAME", text: "add dn 300 DNAME example.com.", want: "- dn 300 DNAME example.net.\n+ dn 300 DNAME example.com."},
	{name: "DNAME beside a CNAME", text: "add alias 300 DNAME example.net."},
	{name: "below a DNAME", text: "add x.dn 300 A 192.0.2.9", want: "+ x.dn 300 A 192.0.2.9"},

	{
		name: "signatures of a deleted apex", text: "add @ 300 RRSIG MX 13 3 300 20300101000000 20200101000000 12345 example.org. AAECAwQF\ndelete @",
		want: "- @ 300 MX 10 mail.example.org.\n- @ 300 TXT \"v=spf1 -all\"",
	},
	{name: "NULL without RDATA", text: "add new 300 NULL raw", want: "+ new 300 NULL"},
	{name: "CDS for no key", text: "add @ 300 CDS 9 13 2 " + hash, want: "+ @ 300 CDS 9 13 2 " + hash},

	// The SOA record.
	{name: "later serial", text: "add @ 300 SOA ns1 hostmaster serial+10 7200 3600 1209600 300", moves: 10},
	{
		name: "later serial and other data", text: "add @ 600 SOA ns2 hostmaster serial+10 7200 3600 1209600 60" + adder,
		want: added + "\n- @ 300 SOA ns1.example.org. hostmaster.example.org. 0 7200 3600 1209600 300\n+ @ 600 SOA ns2.example.org. hostmaster.example.org. 0 7200 3600 1209600 60", moves: 10,
	},
	{name: "the same serial", text: "add @ 300 SOA ns2 hostmaster serial+0 7200 3600 1209600 300"},
	{name: "an earlier serial, and other data", text: "add @ 300 SOA ns2 hostmaster serial-1 7200 3600 1209600 300" + adder, want: added},
	{name: "as late as can be", text: "add @ 300 SOA ns1 hostmaster serial+2147483647 7200 3600 1209600 300", moves: 1<<31 - 1},
	{name: "half way round", text: "add @ 300 SOA ns1 hostmaster serial+2147483648 7200 3600 1209600 300" + adder, want: added},
	{name: "two serials", text: "add @ 300 SOA ns1 hostmaster serial+10 7200 3600 1209600 300\nadd @ 300 SOA ns2 hostmaster serial+5 7200 3600 1209600 300", moves: 10},
	{name: "two serials, both later", text: "add @ 300 SOA ns1 hostmaster serial+5 7200 3600 1209600 300\nadd @ 300 SOA ns1 hostmaster serial+10 7200 3600 1209600 300", moves: 10},
	{name: "the same serial twice", text: "add @ 300 SOA ns1 hostmaster serial+5 7200 3600 1209600 300\nadd @ 300 SOA ns2 hostmaster serial+5 7200 3600 1209600 300", moves: 5},
	{name: "SOA below the apex", text: "add www 300 SOA ns1 hostmaster serial+10 7200 3600 1209600 300" + adder, want: added},
	{name: "SOA deleted", text: "delete @ SOA ns1 hostmaster serial+0 7200 3600 1209600 300"},
	{name: "SOA RRset deleted", text: "delete @ SOA"},
	{name: "SOA deleted and added", text: "delete @ SOA\nadd @ 300 SOA ns1 hostmaster serial+1 7200 3600 1209600 300", moves: 1},

	// The name servers of the zone.
	{name: "another server", text: "add @ 300 NS ns.example.net.", want: "+ @ 300 NS ns.example.net."},
	{name: "a server without address", text: "add @ 300 NS nowhere", want: "+ @ 300 NS nowhere.example.org."},
	{name: "the address of a server deleted", text: "delete ns1 A", want: "- ns1 300 A 192.0.2.53"},
	{name: "a server deleted", text: "delete @ NS ns1", want: "- @ 300 NS ns1.example.org."},
	{name: "all servers deleted one by one", text: "delete @ NS ns1\ndelete @ NS ns2", want: "- @ 300 NS ns1.example.org."},
	{name: "all servers deleted at once", text: "delete @ NS"},
	{
		name: "servers deleted, then another added", text: "delete @ NS ns1\ndelete @ NS ns2\nadd @ 300 NS ns.example.net.",
		want: "- @ 300 NS ns1.example.org.\n+ @ 300 NS ns.example.net.",
	},
	{
		name: "another added, then servers deleted", text: "add @ 300 NS ns.example.net.\ndelete @ NS ns1\ndelete @ NS ns2",
		want: "- @ 300 NS ns1.example.org.\n- @ 300 NS ns2.example.org.\n+ @ 300 NS ns.example.net.",
	},
	{name: "TTL of the servers", text: "add @ 60 NS ns1", want: "- @ 300 NS ns1.example.org.\n- @ 300 NS ns2.example.org.\n+ @ 60 NS ns1.example.org.\n+ @ 60 NS ns2.example.org."},
	{name: "apex deleted", text: "delete @", want: "- @ 300 MX 10 mail.example.org.\n- @ 300 TXT \"v=spf1 -all\""},
	{name: "apex replaced", text: "delete @\nadd @ 300 MX 20 mail", want: "- @ 300 MX 10 mail.example.org.\n- @ 300 TXT \"v=spf1 -all\"\n+ @ 300 MX 20 mail.example.org."},
	{name: "servers of a delegation deleted", text: "delete sub NS", want: "- sub 300 NS ns.sub.example.org.\n- sub 300 NS ns.example.net."},

	// Deletions.
	{name: "record deleted", text: "delete www A 192.0.2.1", want: "- www 300 A 192.0.2.1"},
	{name: "last record deleted", text: "delete a.ent A 192.0.2.4", want: "- a.ent 300 A 192.0.2.4"},
	{name: "record deleted in other letter case", text: "delete MAIL MX 10 MAIL", want: "- mail 600 MX 10 mail.example.org."},
	{name: "record deleted that is not there", text: "delete www A 192.0.2.9"},
	{name: "record deleted with text in other letter case", text: `delete txt TXT "THREE"`},
	{name: "RRset deleted", text: "delete www A", want: "- www 300 A 192.0.2.1\n- www 300 A 192.0.2.2"},
	{name: "RRset deleted that is not there", text: "delete www TXT"},
	{name: "RRset of an unknown type deleted", text: "delete odd TYPE65280", want: `- odd 300 TYPE65280 \# 3 010203`},
	{name: "name deleted", text: "delete mail", want: "- mail 600 A 192.0.2.25\n- mail 600 MX 10 mail.example.org.\n- mail 600 MX 20 backup.example.net."},
	{name: "name deleted that is not there", text: "delete nope"},
	{name: "name deleted, an empty non-terminal", text: "delete ent"},
	{name: "name deleted, names below stay", text: "delete sub", want: "- sub 300 NS ns.sub.example.org.\n- sub 300 NS ns.example.net.\n- sub 300 DS 12345 13 2 " + hash},
	{name: "name deleted that a wildcard matches", text: "delete x.wild"},
	{name: "through a CNAME nothing is deleted", text: "delete alias A"},
	{name: "added and deleted", text: "add new 300 A 192.0.2.9\ndelete new A 192.0.2.9"},
	{name: "added, and the name deleted", text: adder + "\ndelete new"},
	{name: "deleted and added", text: "delete www A 192.0.2.1\nadd www 300 A 192.0.2.1"},
	{name: "RRset deleted and added", text: "delete a.ent A\nadd a.ent 300 A 192.0.2.4"},
	{name: "replaced", text: "delete www A\nadd www 60 A 192.0.2.9", want: "- www 300 A 192.0.2.1\n- www 300 A 192.0.2.2\n+ www 60 A 192.0.2.9"},
	{name: "deleted twice", text: "delete www A 192.0.2.1\ndelete www A 192.0.2.1", want: "- www 300 A 192.0.2.1"},
	{
		name: "as DHCP servers do", text: "nxdomain new\nadd new 300 A 192.0.2.9\nadd new 300 DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=",
		want: added + "\n+ new 300 DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=",
	},
	{name: "as Windows does", text: "nxrrset a.ent CNAME\ndelete a.ent A\nadd a.ent 1200 A 192.0.2.9", want: "- a.ent 300 A 192.0.2.4\n+ a.ent 1200 A 192.0.2.9"},

	// All or nothing.
	{name: "prerequisite that fails, and out of zone", text: "nxdomain www\nadd new.example.net. 300 A 192.0.2.9", rcode: nameInUse},
	{name: "prerequisite that fails, and OPT", text: "nxdomain www\nchange IN 300 www TYPE41 raw", rcode: nameInUse},
	{name: "out of zone, and malformed", text: "add new.example.net. 300 A 192.0.2.9\nchange IN 300 www A raw", rcode: notZone},
	{name: "digest that is too short", text: "change IN 300 sub DS raw 0009 0d 02 00", rcode: formErr},
	{name: "out of zone at the end", text: adder + "\nadd new.example.net. 300 A 192.0.2.9", rcode: notZone},
	{name: "a name that ends like the zone", text: adder + "\nadd wwwexample.org. 300 A 192.0.2.9", rcode: notZone},
	{name: "deletion out of zone", text: adder + "\ndelete org.", rcode: notZone},
	{name: "a strange class", text: adder + "\nchange CH 300 www A raw c0000209", rcode: formErr},
	{name: "type ANY added", text: adder + "\nchange IN 300 www ANY raw", rcode: formErr},
	{name: "type AXFR added", text: adder + "\nchange IN 300 www AXFR raw", rcode: formErr},
	{name: "RRset of type AXFR deleted", text: adder + "\nchange ANY 0 www AXFR raw", rcode: formErr},
	{name: "RRset of type 0 deleted", text: adder + "\nchange ANY 0 www TYPE0 raw", rcode: formErr},
	{name: "record of type ANY deleted", text: adder + "\nchange NONE 0 www ANY raw", rcode: formErr},
	{name: "RRset deleted with a TTL", text: adder + "\nchange ANY 300 www A raw", rcode: formErr},
	{name: "RRset deleted with RDATA", text: adder + "\nchange ANY 0 www A raw c0000201", rcode: formErr},
	{name: "record deleted with a TTL", text: adder + "\nchange NONE 300 www A raw c0000201", rcode: formErr},
	{name: "record deleted without RDATA", text: adder + "\nchange NONE 0 www A raw", rcode: formErr},
	{name: "address without RDATA", text: adder + "\nchange IN 300 www A raw", rcode: formErr},
	{name: "address of three octets", text: adder + "\nchange IN 300 www A raw c00002", rcode: formErr},
	{name: "MX without a name", text: adder + "\nchange IN 300 www MX raw 000a", rcode: formErr},
	{name: "SOA with a serial only", text: adder + "\nchange IN 300 @ SOA raw 00 00 00000001", rcode: formErr},
	{name: "TLSA of two octets", text: adder + "\nchange IN 300 www TLSA raw 0301", rcode: formErr},
	{name: "DS without digest type", text: adder + "\nchange IN 300 sub DS raw 3039 0d", rcode: formErr},
	{name: "SVCB with keys out of order", text: adder + "\nchange IN 300 www SVCB raw 0001 00 0003 0002 01bb 0001 0003 02 6832", rcode: formErr},
	{name: "text that is longer than its RDATA", text: adder + "\nchange IN 300 www TXT raw 0561", rcode: formErr},
	{name: "no text", text: adder + "\nchange IN 300 www TXT raw", rcode: formErr},
}

const hash = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"
