package interop

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

var (
	updateSeed     = flag.Uint64("update.seed", 1, "seed of the random updates")
	updateMessages = flag.Int("update.messages", 700, "number of random updates")
	updateShown    = flag.Int("update.shown", shown, "how many differences are shown")
)

// An updateGenerator makes random updates. Names, types and data are few, so that they meet.
type updateGenerator struct{ *rand.Rand }

func newUpdateGenerator(seed uint64) *updateGenerator {
	return &updateGenerator{rand.New(rand.NewPCG(seed, 2))}
}

var updateNames = strings.Fields(`@ @ @ @ ns1 www www www WWW mail txt alias alias Alias dn x.dn *.wild wild deep.wild sub sub ns.sub www.sub
	a.ent ent MixedCase mixedcase _sip._tcp odd new new new2 b.new EXAMPLE.org.`)

// updateRDATA is what records of a type may have.
var updateRDATA = map[string][]string{
	"A":          {"192.0.2.1", "192.0.2.2", "192.0.2.9"},
	"AAAA":       {"2001:db8::1", "2001:db8::2"},
	"NS":         {"ns1", "ns2", "NS2", "ns1", "ns2", "ns.sub", "ns.example.net.", "ns.example.net."},
	"CNAME":      {"www", "WWW", "mail", "alias"},
	"DNAME":      {"example.net.", "example.com.", "Example.NET."},
	"SOA":        soaRDATA("0", "1", "2", "100", "-1", "-100", "2147483647", "2147483648", "2147483649", "70"),
	"MX":         {"10 mail", "10 MAIL", "20 backup.example.net.", "20 mail"},
	"TXT":        {`"one" "two"`, `"onetwo"`, `"Three"`, `"three"`, `""`},
	"SRV":        {"0 5 5060 www", "0 5 5060 WWW", "1 5 5060 www"},
	"PTR":        {"www", "WWW", "mail"},
	"CAA":        {`0 issue "ca.example.net"`, `0 issue "CA.example.net"`},
	"DS":         {"12345 13 2 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "1 13 1 000102030405060708090A0B0C0D0E0F10111213"},
	"CDS":        {"12345 13 2 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "0 0 0 00"},
	"CDNSKEY":    {"257 3 13 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==", "0 3 0 AA=="},
	"DNSKEY":     {"257 3 13 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="},
	"KEY":        {"512 3 13 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="},
	"TLSA":       {"3 1 1 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "3 1 1 00"},
	"SVCB":       {"1 www alpn=h2", "0 www", "1 WWW alpn=h2"},
	"HTTPS":      {"1 . alpn=h2,h3 port=443", "2 www ipv4hint=192.0.2.1"},
	"DHCID":      {"AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=", "AAEBOSD+XR3Os/0LozeXVqcNc7FwCfQdWL3b/NaiUDlW2No="},
	"NAPTR":      {`1 1 "S" "SIP+D2U" "" _sip._tcp`, `1 1 "s" "SIP+D2U" "" _sip._tcp`},
	"HINFO":      {`"cpu" "os"`, `"CPU" "os"`},
	"SSHFP":      {"1 1 000102030405060708090A0B0C0D0E0F10111213", "4 2 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"},
	"LOC":        {"52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m"},
	"APL":        {"1:192.0.2.0/24", "!2:2001:db8::/32"},
	"NULL":       {"raw 010203", "raw"},
	"TYPE65280":  {`\# 3 010203`, `\# 1 ff`, `\# 0`},
	"TYPE11":     {"raw c0000201 06 0000000040", "raw c0000201 06 00000080", "raw c0000202 11 01"}, // WKS
	"RP":         {"www txt", "WWW txt"},
	"AFSDB":      {"1 www"},
	"NSEC3PARAM": {"1 0 0 -", "1 1 0 -", "1 0 5 AABB"},
	"RRSIG":      {"A 13 3 300 20300101000000 20200101000000 12345 example.org. AAECAwQF", "TXT 13 3 300 20300101000000 20200101000000 12345 example.org. AAECAwQF"},
	"NSEC":       {"example.org. A RRSIG NSEC"},
	"TYPE3":      {"raw 03777777 00"}, // MD
}

// soaRDATA gives RDATA of SOA records with serials by their distance from the present one.
func soaRDATA(deltas ...string) (list []string) {
	for _, d := range deltas {
		if d[0] != '-' {
			d = "+" + d
		}
		list = append(list, "ns1 hostmaster serial"+d+" 7200 3600 1209600 300", "ns2 Hostmaster serial"+d+" 7200 3600 1209600 60")
	}
	return list
}

// updateTypes gives how often a type comes up.
var updateTypes = strings.Fields(`A A A A A A AAAA AAAA NS NS NS CNAME CNAME CNAME DNAME DNAME SOA SOA MX MX TXT TXT TXT SRV PTR CAA DS DS CDS CDNSKEY
	TLSA SVCB HTTPS DHCID NAPTR HINFO SSHFP LOC TYPE65280 TYPE65280 RP`)

// rareTypes come up seldom.
var rareTypes = strings.Fields(`APL NULL TYPE11 AFSDB RRSIG RRSIG NSEC TYPE3 KEY`)

// oddRecords are those that no client sends.
var oddRecords = []string{
	"%[1]s IN %[2]s %[3]s ANY raw", "%[1]s IN %[2]s %[3]s AXFR raw", "%[1]s IN %[2]s %[3]s TYPE128 raw 00", "%[1]s IN %[2]s %[3]s TYPE253 raw 00",
	"%[1]s IN %[2]s %[3]s TYPE41 raw", "%[1]s IN %[2]s %[3]s TYPE249 raw 00", "%[1]s IN %[2]s %[3]s TYPE0 raw 00", "%[1]s IN %[2]s %[3]s TYPE200 raw 00",
	"%[1]s ANY 0 %[3]s AXFR raw", "%[1]s ANY 0 %[3]s TYPE254 raw", "%[1]s ANY 0 %[3]s TYPE0 raw", "%[1]s ANY 0 %[3]s TYPE128 raw", "%[1]s ANY 0 %[3]s TYPE41 raw",
	"%[1]s NONE 0 %[3]s ANY raw", "%[1]s NONE 0 %[3]s AXFR raw", "%[1]s NONE 0 %[3]s TYPE0 raw", "%[1]s NONE 0 %[3]s TYPE251 raw 00", "%[1]s NONE 0 %[3]s TYPE128 raw",
	"%[1]s ANY 300 %[3]s A raw", "%[1]s ANY 300 %[3]s ANY raw", "%[1]s NONE 300 %[3]s A raw c0000201", "%[1]s ANY 0 %[3]s A raw c0000201", "%[1]s ANY 0 %[3]s ANY raw 00",
	"%[1]s IN 0 %[3]s A raw", "%[1]s IN %[2]s %[3]s MX raw", "%[1]s IN %[2]s %[3]s TXT raw", "%[1]s NONE 0 %[3]s A raw", "%[1]s NONE 0 %[3]s MX raw", "%[1]s NONE 0 %[3]s TXT raw",
	"%[1]s CH 0 %[3]s A raw c0000201", "%[1]s CLASS7 0 %[3]s TXT raw 0161", "%[1]s CLASS0 0 %[3]s A raw c0000201", "%[1]s HS 300 %[3]s A raw c0000201", "%[1]s CH 0 %[3]s A raw",
	"%[1]s IN %[2]s %[3]s A raw c00002", "%[1]s IN %[2]s %[3]s A raw c000020101", "%[1]s NONE 0 %[3]s A raw c00002",
	"%[1]s IN %[2]s %[3]s AAAA raw 20010db8", "%[1]s IN %[2]s %[3]s MX raw 000a", "%[1]s IN %[2]s %[3]s MX raw 000a 0161 00 00", "%[1]s IN %[2]s %[3]s NS raw 0161",
	"%[1]s IN %[2]s %[3]s NS raw 40 00", "%[1]s IN %[2]s %[3]s CNAME raw 0161 00 ff", "%[1]s IN %[2]s %[3]s SOA raw 00 00 00000001", "%[1]s IN %[2]s %[3]s TXT raw 0561",
	"%[1]s IN %[2]s %[3]s DS raw 3039 0d 02 00", "%[1]s IN %[2]s %[3]s DS raw 3039 0d", "%[1]s IN %[2]s %[3]s DS raw 3039 0d 02", "%[1]s IN %[2]s %[3]s CAA raw 00 05 69", "%[1]s IN %[2]s %[3]s CAA raw 00 00",
	"%[1]s IN %[2]s %[3]s TLSA raw 0301", "%[1]s IN %[2]s %[3]s TLSA raw 030101", "%[1]s IN %[2]s %[3]s SVCB raw 0001", "%[1]s IN %[2]s %[3]s SVCB raw 0001 00 0003 0002 01bb 0001 0003 02 6832",
	"%[1]s IN %[2]s %[3]s SVCB raw 0001 00 0001 0003 05 6832", "%[1]s IN %[2]s %[3]s HTTPS raw 0001 00 0003 0001 01", "%[1]s IN %[2]s %[3]s HTTPS raw 0001 00 0004 0000",
	"%[1]s IN %[2]s %[3]s DHCID raw 00", "%[1]s IN %[2]s %[3]s SSHFP raw 01", "%[1]s IN %[2]s %[3]s SSHFP raw 0101", "%[1]s IN %[2]s %[3]s LOC raw 00", "%[1]s IN %[2]s %[3]s LOC raw 0033161313 89170db1 70be16c0 00989a",
	"%[1]s IN %[2]s %[3]s NAPTR raw 0001 0001 01 53", "%[1]s IN %[2]s %[3]s HINFO raw 0161", "%[1]s IN %[2]s %[3]s HINFO raw 01610161 0161", "%[1]s IN %[2]s %[3]s SRV raw 0001 0001", "%[1]s IN %[2]s %[3]s CDS raw 0000 00 00",
	"%[1]s IN %[2]s %[3]s CDNSKEY raw 0101 03", "%[1]s IN %[2]s %[3]s DNSKEY raw 0101 03 0d", "%[1]s IN %[2]s %[3]s KEY raw 0200 03 0d", "%[1]s IN %[2]s %[3]s RRSIG raw 0001 0d 02 0000012c 70db 00", "%[1]s IN %[2]s %[3]s NSEC3PARAM raw 01 00 0000 05 aa",
	"%[1]s IN %[2]s %[3]s DNAME raw", "%[1]s IN %[2]s %[3]s TYPE65280 raw", "%[1]s IN %[2]s %[3]s APL raw 0001 18 03 c000", "%[1]s IN %[2]s %[3]s APL raw", "%[1]s IN %[2]s %[3]s PTR raw c00c", "%[1]s IN %[2]s %[3]s RP raw 0161 00",
}

func pick[T any](g *updateGenerator, list []T) T { return list[g.IntN(len(list))] }

// often is true in so many of a hundred cases.
func (g *updateGenerator) often(percent int) bool { return g.IntN(100) < percent }

// next makes an update for a zone.
func (g *updateGenerator) next(z *contents) *update {
	var lines []string
	if g.often(50) {
		for range g.IntN(4) {
			lines = append(lines, strings.Split(g.prerequisite(z), "\n")...)
		}
	}
	for range g.IntN(7) {
		lines = append(lines, g.change(z))
	}
	u, err := parseUpdate(lines, z.serial)
	if err != nil {
		panic(err) // a mistake in the tables above
	}
	return u
}

// name gives an owner, seldom one that is not in the zone.
func (g *updateGenerator) name() string {
	if g.often(1) {
		return pick(g, []string{"example.net.", "org.", "wwwexample.org.", "."})
	}
	return pick(g, updateNames)
}

func (g *updateGenerator) rrtype() string {
	if g.often(7) {
		return pick(g, rareTypes)
	}
	return pick(g, updateTypes)
}

func (g *updateGenerator) ttl() string {
	return pick(g, strings.Fields("300 300 300 300 300 300 600 600 0 1 2147483647 2147483648 4294967295"))
}

// existing gives an RRset of the zone.
func (g *updateGenerator) existing(z *contents) (name, rrtype string, rdata []string) {
	keys := slices.SortedFunc(maps.Keys(z.rrs), func(a, b setKey) int {
		return strings.Compare(fmt.Sprint(a, a.covered), fmt.Sprint(b, b.covered))
	})
	k := pick(g, keys)
	for _, rr := range z.rrs[k] {
		raw, err := wireOf(rr)
		if err != nil {
			panic(err) // it came from the wire
		}
		rdata = append(rdata, "raw "+raw.Rdata)
	}
	slices.Sort(rdata)
	return k.owner, fmt.Sprintf("TYPE%d", k.rrtype), rdata
}

func (g *updateGenerator) prerequisite(z *contents) string {
	if g.often(6) {
		return fmt.Sprintf(pick(g, oddRecords), "prerequisite", "0", g.name())
	}
	name, rrtype, rdata := g.existing(z)
	if g.often(75) { // one that holds, as likely as not
		switch g.IntN(5) {
		case 0:
			return "yxdomain " + name
		case 1:
			return "nxdomain " + pick(g, []string{"new", "new2", "b.new", "ent", "wild", "x.wild", "x.dn"})
		case 2:
			return "yxrrset " + name + " " + rrtype
		case 3:
			return "nxrrset " + name + " " + g.rrtype()
		default:
			return "yxrrset " + name + " " + rrtype + " " + strings.Join(rdata, "\nyxrrset "+name+" "+rrtype+" ")
		}
	}
	switch g.IntN(5) {
	case 0:
		return "yxdomain " + g.name()
	case 1:
		return "nxdomain " + g.name()
	case 2:
		return "yxrrset " + g.name() + " " + g.rrtype()
	case 3:
		return "nxrrset " + g.name() + " " + g.rrtype()
	default:
		if g.often(50) {
			return "yxrrset " + name + " " + rrtype + " " + pick(g, rdata)
		}
		rrtype := g.rrtype()
		return "yxrrset " + g.name() + " " + rrtype + " " + pick(g, updateRDATA[rrtype])
	}
}

func (g *updateGenerator) change(z *contents) string {
	if g.often(4) {
		return fmt.Sprintf(pick(g, oddRecords), "change", pick(g, []string{"0", "300"}), g.name())
	}
	rrtype := g.rrtype()
	switch n := g.IntN(100); {
	case n < 60:
		name := g.name()
		if rrtype == "SOA" && g.often(95) {
			name = "@"
		}
		return "add " + name + " " + g.ttl() + " " + rrtype + " " + pick(g, updateRDATA[rrtype])
	case n < 65: // a record that is there
		name, rrtype, rdata := g.existing(z)
		return "add " + name + " " + g.ttl() + " " + rrtype + " " + pick(g, rdata)
	case n < 80:
		if g.often(70) {
			name, rrtype, rdata := g.existing(z)
			return "delete " + name + " " + rrtype + " " + pick(g, rdata)
		}
		return "delete " + g.name() + " " + rrtype + " " + pick(g, updateRDATA[rrtype])
	case n < 93:
		if g.often(60) {
			name, rrtype, _ := g.existing(z)
			return "delete " + name + " " + rrtype
		}
		return "delete " + g.name() + " " + rrtype
	default:
		return "delete " + g.name()
	}
}
