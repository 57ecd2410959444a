package onlinesign_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/onlinesign"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// TestRandomZones: whatever is asked of whatever zone, what the answer proves is what
// the zone holds, and every signature verifies (C1, C3, C4, C7, S2).
func TestRandomZones(t *testing.T) {
	zones := 60
	if testing.Short() {
		zones = 10
	}
	kinds := map[zone.Kind]int{}
	for seed := range uint64(zones) {
		g := &generator{rand.New(rand.NewPCG(seed, 9824))}
		text := pick(g, "example.", "Ex.aMple.", "example.", "*.a.", ".")
		origin := dnsname.MustParse(text)
		k := testKeys(t, origin, pick(g, signer.ED25519, signer.ECDSAP256SHA256, signer.ED25519))
		uses := inUse(k[0])
		switch g.IntN(3) {
		case 0:
			uses = inUse(k[1:]...)
		case 1: // two algorithms
			uses = append(inUse(k[1:]...), inUse(testKeys(t, origin, signer.ECDSAP384SHA384)[0])...)
		}
		o := newOnline(t, origin, onlinesign.NewTable(onlinesign.Size{}), uses, g.zone(text)...)
		for range 60 {
			name := dnsname.MustParse(pick(g, g.name(text), g.name(text), g.name(text), text))
			q := zone.Query{Name: name, DO: true, CO: g.IntN(2) == 0, All: g.IntN(4) == 0}
			q.Type = pick(g, rrset.TypeA, rrset.TypeA, rrset.TypeTXT, rrset.TypeMX, rrset.TypeNS, rrset.TypeDS, rrset.TypeCNAME, rrset.TypeDNAME,
				rrset.TypeNSEC, rrset.TypeRRSIG, rrset.TypeANY, rrset.TypeDNSKEY, rrset.TypeCDS, rrset.TypeSOA, 65280, 65281, rrset.TypeNSEC3PARAM)
			a, wrong := o.ask(q, start)
			if len(wrong) > 0 {
				t.Fatalf("%s\nin\n%s", strings.Join(wrong, "\n"), o.dump(q, a))
			}
			kinds[a.Kind]++
		}
	}
	for kind := zone.Success; kind <= zone.Delegation; kind++ {
		if kinds[kind] < zones {
			t.Errorf("%d answers of kind %s: the questions are badly chosen", kinds[kind], kind)
		}
	}
}

// exampleZone is the zone of the cases.
var exampleZone = []string{
	"@ 3600 SOA ns h 1 7200 3600 1209600 300",
	"@ 3600 NS ns",
	"ns 3600 A 192.0.2.53",
	"www 600 A 192.0.2.80",
	"www 600 TXT a",
	"a.ent 600 A 192.0.2.1",
	"*.w 600 TXT wild",
	"*.w 600 MX 10 www",
	"al 600 CNAME nope",
	"ds 600 DNAME www",
	"cut 600 NS ns.cut",
	"ns.cut 600 A 192.0.2.99",
	"safe 600 NS ns",
	"safe 600 DS 12345 13 2 " + strings.Repeat("ab", 32),
	strings.Repeat("l", 63) + " 600 NS ns.cut",
}

func newExample(t testing.TB, size onlinesign.Size) *online {
	origin := dnsname.MustParse("example.")
	return newOnline(t, origin, onlinesign.NewTable(size), inUse(testKeys(t, origin, signer.ED25519)[1:]...), exampleZone...)
}

func question(t testing.TB, text string) zone.Query {
	t.Helper()
	words := strings.Fields(text)
	n, err := dnsname.Parse(words[0], dnsname.Root)
	if err != nil {
		t.Fatal(err)
	}
	return zone.Query{Name: n, Type: dns.StringToType[words[1]], DO: true, CO: len(words) > 2}
}

// TestCases: the answers in full.
func TestCases(t *testing.T) {
	const soa = "au example. 300 IN SOA ns.example. h.example. 1 7200 3600 1209600 300 +1\n"
	long := strings.Repeat(strings.Repeat("l", 62)+".", 3) // 3 × 63 octets
	for _, c := range []struct {
		name, ask string
		rcode     int
		want      string
	}{
		{"data", "www.example. A", 0, "an www.example. 600 IN A 192.0.2.80 +1\n"},
		{"C1 no such name", "Nope.example. A", 0, soa + `au Nope.example. 300 IN NSEC \000.nope.example. RRSIG NSEC NXNAME +1` + "\n"},
		{"C2 no such name, CO", "nope.example. A CO", 3, soa + `au nope.example. 300 IN NSEC \000.nope.example. RRSIG NSEC NXNAME +1` + "\n"},
		{"C2 below a host, CO", "a.www.example. A CO", 3, soa + `au a.www.example. 300 IN NSEC \000.a.www.example. RRSIG NSEC NXNAME +1` + "\n"},
		{"C3 no such type", "www.example. AAAA", 0, soa + `au www.example. 300 IN NSEC \000.www.example. A TXT RRSIG NSEC +1` + "\n"},
		{"C3 at the apex", "example. DS CO", 0, soa + `au example. 300 IN NSEC \000.example. NS SOA RRSIG NSEC DNSKEY CDS CDNSKEY +1` + "\n"},
		{"C3 at a wildcard", "q.w.example. A", 0, soa + `au q.w.example. 300 IN NSEC \000.q.w.example. MX TXT RRSIG NSEC +1` + "\n"},
		{"C4 empty non-terminal", "ent.example. A CO", 0, soa + `au ent.example. 300 IN NSEC \000.ent.example. RRSIG NSEC +1` + "\n"},
		{"wildcard", "q.w.example. TXT", 0, `an q.w.example. 600 IN TXT "wild" +1` + "\n"},
		{"wildcard with more", "q.w.example. MX", 0, "an q.w.example. 600 IN MX 10 www.example. +1\nad www.example. 600 IN A 192.0.2.80 +1\n"},
		{
			"alias to no name", "al.example. A CO", 3,
			"an al.example. 600 IN CNAME nope.example. +1\n" + soa + `au nope.example. 300 IN NSEC \000.nope.example. RRSIG NSEC NXNAME +1` + "\n",
		},
		{
			"DNAME to no name", "x.ds.example. A", 0,
			"an ds.example. 600 IN DNAME www.example. +1\nan x.ds.example. 600 IN CNAME x.www.example. +0\n" + soa +
				`au x.www.example. 300 IN NSEC \000.x.www.example. RRSIG NSEC NXNAME +1` + "\n",
		},
		{
			"C7 insecure referral", "x.cut.example. A", 0,
			"au cut.example. 600 IN NS ns.cut.example. +0\n" + `au cut.example. 300 IN NSEC cut\000.example. NS RRSIG NSEC +1` + "\nad ns.cut.example. 600 IN A 192.0.2.99 +0\n",
		},
		{"C7 DS at the cut", "cut.example. DS", 0, soa + `au cut.example. 300 IN NSEC cut\000.example. NS RRSIG NSEC +1` + "\n"},
		{
			"C7 label without room", "x." + strings.Repeat("l", 63) + ".example. A", 0,
			"au " + strings.Repeat("l", 63) + ".example. 600 IN NS ns.cut.example. +0\n" +
				"au " + strings.Repeat("l", 63) + ".example. 300 IN NSEC " + strings.Repeat("l", 62) + "m.example. NS RRSIG NSEC +1\nad ns.cut.example. 600 IN A 192.0.2.99 +0\n",
		},
		{
			"secure referral", "x.safe.example. A", 0,
			"au safe.example. 600 IN NS ns.example. +0\nau safe.example. 600 IN DS 12345 13 2 " + strings.Repeat("AB", 32) + " +1\nad ns.example. 3600 IN A 192.0.2.53 +1\n",
		},
		{"DS at a secure cut", "safe.example. DS", 0, "an safe.example. 600 IN DS 12345 13 2 " + strings.Repeat("AB", 32) + " +1\n"},
		{"NSEC of a name", "www.example. NSEC", 0, `an www.example. 300 IN NSEC \000.www.example. A TXT RRSIG NSEC +1` + "\n"},
		{"NSEC of an alias", "al.example. NSEC", 0, `an al.example. 300 IN NSEC \000.al.example. CNAME RRSIG NSEC +1` + "\n"},
		{"NSEC of no name", "nope.example. NSEC CO", 3, soa + `au nope.example. 300 IN NSEC \000.nope.example. RRSIG NSEC NXNAME +1` + "\n"},
		{ // 253 octets: with a child of two it has 255
			"C8 253 octets", long + strings.Repeat("x", 54) + ".example. A", 0,
			soa + "au " + long + strings.Repeat("x", 54) + `.example. 300 IN NSEC \000.` + long + strings.Repeat("x", 54) + ".example. RRSIG NSEC NXNAME +1\n",
		},
		{
			"C8 254 octets", long + strings.Repeat("x", 55) + ".example. A", 0,
			soa + "au " + long + strings.Repeat("x", 55) + ".example. 300 IN NSEC " + strings.Repeat("l", 62) + `\000.` + long[63:] + strings.Repeat("x", 55) + ".example. RRSIG NSEC NXNAME +1\n",
		},
		{
			"C8 255 octets", long + strings.Repeat("x", 56) + ".example. A", 0,
			soa + "au " + long + strings.Repeat("x", 56) + ".example. 300 IN NSEC " + strings.Repeat("l", 61) + `m.` + long[63:] + strings.Repeat("x", 56) + ".example. RRSIG NSEC NXNAME +1\n",
		},
		{
			"C8 255 octets, before the capitals", strings.Repeat("l", 61) + "@." + long[63:] + strings.Repeat("x", 56) + ".example. A", 0,
			soa + "au " + strings.Repeat("l", 61) + `\@.` + long[63:] + strings.Repeat("x", 56) + ".example. 300 IN NSEC " + strings.Repeat("l", 61) + `[.` + long[63:] + strings.Repeat("x", 56) + ".example. RRSIG NSEC NXNAME +1\n",
		},
		{
			"C8 255 octets, the last octet is the greatest", strings.Repeat("l", 60) + `m\255.` + long[63:] + strings.Repeat("x", 56) + ".example. A", 0,
			soa + "au " + strings.Repeat("l", 60) + `m\255.` + long[63:] + strings.Repeat("x", 56) + ".example. 300 IN NSEC " + strings.Repeat("l", 60) + `n.` + long[63:] + strings.Repeat("x", 56) + ".example. RRSIG NSEC NXNAME +1\n",
		},
		{
			"C8 255 octets, all octets are the greatest", strings.Repeat(`\255`, 62) + "." + long[63:] + strings.Repeat("x", 56) + ".example. A", 0,
			soa + "au " + strings.Repeat(`\255`, 62) + "." + long[63:] + strings.Repeat("x", 56) + ".example. 300 IN NSEC " + strings.Repeat("l", 62) + `\000.` + long[126:] + strings.Repeat("x", 56) + ".example. RRSIG NSEC NXNAME +1\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newExample(t, onlinesign.Size{})
			q := question(t, c.ask)
			if strings.HasPrefix(c.name, "C8 2") && len(q.Name) != int(c.name[5]-'0')+250 {
				t.Fatalf("%d octets", len(q.Name))
			}
			a, wrong := o.ask(q, start)
			if len(wrong) > 0 {
				t.Error(strings.Join(wrong, "\n"))
			}
			if got := text(a); got != c.want || a.Rcode() != c.rcode {
				t.Errorf("rcode %d\n%swant %d\n%s", a.Rcode(), got, c.rcode, c.want)
			}
		})
	}
}

// TestRRSIG: a question for signatures gets those over one RRset, or over all.
func TestRRSIG(t *testing.T) {
	o := newExample(t, onlinesign.Size{})
	for ask, want := range map[string][2]int{"www.example. RRSIG": {1, 2}, "q.w.example. RRSIG": {1, 2}, "al.example. RRSIG": {1, 1}, "ent.example. RRSIG": {0, 0}} {
		for i, all := range []bool{false, true} {
			q := question(t, ask)
			q.All = all
			a, wrong := o.ask(q, start)
			if len(wrong) > 0 || len(a.Answer) != want[i] {
				t.Errorf("%s, all %t: %s\n%s", ask, all, strings.Join(wrong, "\n"), text(a))
			}
		}
	}
}

// TestWithoutDO: who does not ask for DNSSEC gets the answer as it is (C6).
func TestWithoutDO(t *testing.T) {
	o := newExample(t, onlinesign.Size{})
	for _, ask := range []string{"www.example. A", "nope.example. A", "x.cut.example. A"} {
		q := question(t, ask)
		q.DO, q.CO = false, true
		var plain, a zone.Answer
		o.snap.Lookup(&q, &plain)
		o.snap.Lookup(&q, &a)
		if err := o.Complete(o.snap, &q, &a, onlinesign.Part{}, start); err != nil || text(&a) != text(&plain) || a.Rcode() != plain.Kind.Rcode() || a.Compact {
			t.Errorf("%s: %v\n%s", ask, err, text(&a))
		}
	}
}

// TestParts: of an answer that comes from several zones only the last part is completed.
func TestParts(t *testing.T) {
	origin := dnsname.MustParse("other.")
	other := newOnline(t, origin, onlinesign.NewTable(onlinesign.Size{}), inUse(testKeys(t, origin, signer.ED25519)[0]),
		"@ 3600 SOA ns h 1 7200 3600 1209600 300", "to 600 CNAME nope.example.")
	o := newExample(t, onlinesign.Size{})
	q := question(t, "to.other. A")
	var a zone.Answer
	other.snap.Lookup(&q, &a)
	part := onlinesign.PartAt(&a)
	o.snap.Continue(&q, &a)
	if err := o.Complete(o.snap, &q, &a, part, start); err != nil {
		t.Fatal(err)
	}
	want := "an to.other. 600 IN CNAME nope.example. +0\nau example. 300 IN SOA ns.example. h.example. 1 7200 3600 1209600 300 +1\n" +
		`au nope.example. 300 IN NSEC \000.nope.example. RRSIG NSEC NXNAME +1` + "\n"
	if got := text(&a); got != want {
		t.Errorf("%swant\n%s", got, want)
	}
}

// TestSignedZone: in a zone with signatures and a chain only what has none is signed, as a
// record that depends on who asks.
func TestSignedZone(t *testing.T) {
	o := newExample(t, onlinesign.Size{})
	s, err := signer.New(o.origin, signer.Policy{}, o.uses)
	if err != nil {
		t.Fatal(err)
	}
	txn := o.snap.Begin()
	if _, err := s.Sign(txn, signer.Request{Since: txn.Savepoint(), Now: start}); err != nil {
		t.Fatal(err)
	}
	signed, _, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	for _, ask := range []string{"www.example. A", "nope.example. A", "q.w.example. A", "x.cut.example. A", "x.ds.example. A", "www.example. RRSIG"} {
		q := question(t, ask)
		var before, a zone.Answer
		signed.Lookup(&q, &before)
		signed.Lookup(&q, &a)
		if err := o.Complete(signed, &q, &a, onlinesign.Part{}, start); err != nil || text(&a) != text(&before) || a.Compact || a.Veiled {
			t.Errorf("%s: %v\n%swas\n%s", ask, err, text(&a), text(&before))
		}
	}
	q := question(t, "www.example. A")
	var a zone.Answer
	signed.Lookup(&q, &a)
	a.Answer[0].RRset, a.Answer[0].Sigs = one(rrset.TypeA, 20, "\xc0\x00\x02\x07"), rrset.RRset{}
	if err := o.Complete(signed, &q, &a, onlinesign.Part{}, start); err != nil {
		t.Fatal(err)
	}
	o.judgeSet(a.Answer[0], 0, start, t.Errorf)
	sigs, err := o.Sign(zone.Set{Owner: "\x03www\x07example\x00", RRset: one(rrset.TypeA, 20, "\xc0\x00\x02\x07")}, false, start)
	if err != nil || sigs != a.Answer[0].Sigs {
		t.Errorf("%v, %v", sigs, err)
	}
}

func TestNewErrors(t *testing.T) {
	origin := dnsname.MustParse("example.")
	k := testKeys(t, origin, signer.ED25519)
	table := onlinesign.NewTable(onlinesign.Size{Entries: 8})
	for name, c := range map[string]struct {
		policy signer.Policy
		uses   []signer.Use
		want   error
	}{
		"NSEC3":       {signer.Policy{NSEC3: true}, inUse(k[0]), onlinesign.ErrNSEC3}, // C9
		"no key":      {signer.Policy{}, nil, signer.ErrNoKey},
		"no ZSK":      {signer.Policy{}, inUse(k[1]), signer.ErrNoKey},
		"other zone":  {signer.Policy{}, inUse(testKeys(t, dnsname.Root, signer.ED25519)[0]), signer.ErrZone},
		"too long":    {signer.Policy{Validity: 1 << 62}, inUse(k[0]), signer.ErrPolicy},
		"short is OK": {signer.Policy{Validity: 3600e9}, inUse(k[0]), nil},
	} {
		if _, err := onlinesign.New(origin, c.policy, c.uses, table); !errorIs(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// FuzzComplete: whatever is asked, the answer is right.
func FuzzComplete(f *testing.F) {
	o := newExample(f, onlinesign.Size{})
	for _, n := range []string{"\x03www", "\x01*\x01w", "\x01x\x03cut", "", "\x3f" + strings.Repeat("\xff", 63) + strings.Repeat("\x3e"+strings.Repeat("Z", 62), 2)} {
		f.Add([]byte(n), rrset.TypeA, true, false)
		f.Add([]byte(n), rrset.TypeNSEC, false, true)
	}
	f.Fuzz(func(t *testing.T, prefix []byte, typ uint16, co, all bool) {
		name, _, err := dnsname.FromWire(append(prefix, o.origin...), 0)
		if err != nil || !name.IsBelow(o.origin) {
			return
		}
		q := zone.Query{Name: name, Type: typ, DO: true, CO: co, All: all}
		a, wrong := o.ask(q, start)
		if len(wrong) > 0 {
			t.Fatalf("%s\nin\n%s", strings.Join(wrong, "\n"), o.dump(q, a))
		}
		if len(o.known) > 1e5 {
			clear(o.known)
		}
	})
}
