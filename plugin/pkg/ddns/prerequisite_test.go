package ddns

import (
	"testing"
)

// more is what the numbered cases have no need of.
const more = `
signed RRSIG TXT 8 3 300 20300101000000 20200101000000 1 example.org. AQAB
denies NSEC  www RRSIG NSEC
both   A     192.0.2.1
both   TXT   x
both   RRSIG A 8 3 300 20300101000000 20200101000000 1 example.org. AQAB
both   RRSIG TXT 8 3 300 20300101000000 20200101000000 1 example.org. AQAC
mx     MX    10 Mail.Example.ORG.
*.wild A     192.0.2.5
cut    NS    ns.cut
ns.cut A     192.0.2.6
2t7b4g4vsa5smi47k61mv5bv1a22bojr NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojs A
2t7b4g4vsa5smi47k61mv5bv1a22bojr RRSIG NSEC3 8 3 300 20300101000000 20200101000000 1 example.org. AQAB
`

func TestPrerequisites(t *testing.T) {
	for _, tc := range []struct{ name, section, want string }{
		{"none", ``, ``},
		{"U5 TTL that is not 0", `ANY/1 www A`, `FORMERR prerequisite 1: www.example.org. A: TTL is not 0`},
		{"U6 name of another zone", `yxdomain www.example.net.`, `NOTZONE prerequisite 1: www.example.net. ANY: owner is not in the zone`},
		{"U6 name above the zone", `nxdomain org.`, `NOTZONE prerequisite 1: org. ANY: owner is not in the zone`},
		{"U7 class CH", `CH/0 www A`, `FORMERR prerequisite 1: www.example.org. A: class is none of IN, ANY and NONE`},
		{"U8 class ANY with data", `ANY/0 www A 192.0.2.1`, `FORMERR prerequisite 1: www.example.org. A: RDATA where there must be none`},
		{"U8 class NONE with data", `NONE/0 www A 192.0.2.1`, `FORMERR prerequisite 1: www.example.org. A: RDATA where there must be none`},

		{"U9 name in use", `yxdomain www`, ``},
		{"U9 in other letter case", `yxdomain WWW.EXAMPLE.org.`, ``},
		{"U9 the apex is in use", `yxdomain @`, ``},
		{"U9 name that is not in use", `yxdomain nope`, `NXDOMAIN prerequisite 1: nope.example.org. ANY: name is not in use`},
		{"U9 an empty non-terminal is not in use", `yxdomain ent`, `NXDOMAIN prerequisite 1: ent.example.org. ANY: name is not in use`},
		{"U9 wildcards are not expanded", `yxdomain a.wild`, `NXDOMAIN prerequisite 1: a.wild.example.org. ANY: name is not in use`},
		{"U9 the wildcard itself is in use", `yxdomain *.wild`, ``},
		{"U9 glue is in use", `yxdomain ns.cut`, ``},
		{"U9 a signature alone", `yxdomain signed`, ``},
		{"U9 NSEC alone", `yxdomain denies`, ``},
		{"U9 the owner of an NSEC3 is no name of the zone", `yxdomain 2t7b4g4vsa5smi47k61mv5bv1a22bojr`, `NXDOMAIN prerequisite 1: 2t7b4g4vsa5smi47k61mv5bv1a22bojr.example.org. ANY: name is not in use`},
		{"U10 name not in use", `nxdomain nope`, ``},
		{"U10 name that is in use", `nxdomain www`, `YXDOMAIN prerequisite 1: www.example.org. ANY: name is in use`},
		{"U10 an empty non-terminal is not in use", `nxdomain ent`, ``},

		{"U11 RRset exists", `yxrrset www A`, ``},
		{"U11 RRset of another type", `yxrrset www TXT`, `NXRRSET prerequisite 1: www.example.org. TXT: RRset does not exist`},
		{"U11 an alias is not followed", `yxrrset c A`, `NXRRSET prerequisite 1: c.example.org. A: RRset does not exist`},
		{"U11 signatures exist", `yxrrset both RRSIG`, ``},
		{"U11 signatures that cover nothing", `yxrrset signed RRSIG`, ``},
		{"U11 what they cover is not there", `yxrrset signed TXT`, `NXRRSET prerequisite 1: signed.example.org. TXT: RRset does not exist`},
		{"U11 NSEC3", `yxrrset 2t7b4g4vsa5smi47k61mv5bv1a22bojr NSEC3`, ``},
		{"U12 RRset does not exist", `nxrrset www TXT`, ``},
		{"U12 RRset that exists", `nxrrset www A`, `YXRRSET prerequisite 1: www.example.org. A: RRset exists`},
		{"U12 no signatures", `nxrrset www RRSIG`, ``},
		{"U12 signatures that exist", `nxrrset both RRSIG`, `YXRRSET prerequisite 1: both.example.org. RRSIG: RRset exists`},

		{"U13 RRset with a value", `yxrrset www A 192.0.2.1`, ``},
		{"U13 another value", `yxrrset www A 192.0.2.2`, `NXRRSET prerequisite 1: www.example.org. A: RRset does not exist with these values`},
		{"U13 no RRset", `yxrrset nope A 192.0.2.2`, `NXRRSET prerequisite 1: nope.example.org. A: RRset does not exist with these values`},
		{"U13 part of an RRset", `yxrrset two A 192.0.2.1`, `NXRRSET prerequisite 1: two.example.org. A: RRset does not exist with these values`},
		{"U13 more than the RRset", "yxrrset www A 192.0.2.1\nyxrrset www A 192.0.2.2", `NXRRSET prerequisite 1: www.example.org. A: RRset does not exist with these values`},
		{"U13 the whole RRset, in pieces and another order", "yxrrset two A 192.0.2.2\nyxdomain www\nyxrrset TWO A 192.0.2.1", ``},
		{"U13 a value twice", "yxrrset www A 192.0.2.1\nyxrrset www A 192.0.2.1", ``},
		{"U13 owner in other letter case", `yxrrset WwW A 192.0.2.1`, ``},
		{"U13 names in the data in other letter case", `yxrrset mx MX 10 mAIL.eXAMPLE.org.`, ``},
		{"U13 strings in other letter case", `yxrrset both TXT X`, `NXRRSET prerequisite 1: both.example.org. TXT: RRset does not exist with these values`},
		{"U13 all signatures of a name", "yxrrset both RRSIG TXT 8 3 300 20300101000000 20200101000000 1 example.org. AQAC\nyxrrset both RRSIG A 8 3 300 20300101000000 20200101000000 1 EXAMPLE.org. AQAB", ``},
		{"U13 the signatures over one type", "yxrrset both RRSIG A 8 3 300 20300101000000 20200101000000 1 example.org. AQAB", `NXRRSET prerequisite 1: both.example.org. RRSIG: RRset does not exist with these values`},
		{"values are compared behind all others", "yxrrset www A 192.0.2.2\nnxdomain www", `YXDOMAIN prerequisite 2: www.example.org. ANY: name is in use`},

		{"U14 the first that fails decides", "yxdomain www\nyxrrset www TXT\nyxdomain nope", `NXRRSET prerequisite 2: www.example.org. TXT: RRset does not exist`},
		{"U14 in the order of the message", "yxdomain nope\nANY/1 www A", `NXDOMAIN prerequisite 1: nope.example.org. ANY: name is not in use`},

		{"type ANY with the class of the zone", `IN/0 www ANY`, `FORMERR prerequisite 1: www.example.org. ANY: type cannot be in a zone`},
		{"AXFR exists", `yxrrset www AXFR`, `FORMERR prerequisite 1: www.example.org. AXFR: type cannot be in a zone`},
		{"OPT does not exist", `nxrrset www OPT`, `FORMERR prerequisite 1: www.example.org. OPT: type cannot be in a zone`},
		{"value of another length", `yxrrset www A \# 3 c00002`, `FORMERR prerequisite 1: www.example.org. A: malformed RDATA`},
		{"value without data", `IN/0 www A`, `FORMERR prerequisite 1: www.example.org. A: malformed RDATA`},
		{"unknown type without data", `IN/0 www TYPE65280`, `NXRRSET prerequisite 1: www.example.org. TYPE65280: RRset does not exist with these values`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			txn := load(t, more).Begin()
			if got := outcome(t, Prerequisites(txn, section(t, tc.section))); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if txn.Changed() {
				t.Error("the zone has changed")
			}
		})
	}
}

// Prerequisites see what earlier requests of the same transaction did.
func TestPrerequisitesSeeEarlierUpdates(t *testing.T) {
	txn := load(t, "").Begin()
	if err := Apply(txn, section(t, "add new 60 A 192.0.2.9\ndelete www"), Limits{}); err != nil {
		t.Fatal(err)
	}
	if err := Prerequisites(txn, section(t, "yxrrset new A 192.0.2.9\nnxdomain www\nyxdomain sub.www")); err != nil {
		t.Error(err)
	}
}
