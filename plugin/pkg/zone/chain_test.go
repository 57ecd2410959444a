package zone_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

const soaText = "@ 3600 SOA ns hostmaster 1 7200 3600 1209600 300\n@ 3600 NS ns\nns 3600 A 192.0.2.53\n"

// zones are several zones of one server.
type zones map[dnsname.Name]*zone.Snapshot

func newZones(t *testing.T, texts map[string]string) zones {
	z := zones{}
	for name, text := range texts {
		origin := dnsname.MustParse(name)
		z[origin], _ = build(t, origin, parse(t, origin, soaText+text))
	}
	return z
}

// lookup follows a chain through the zones, as a server does.
func (z zones) lookup(q zone.Query, a *zone.Answer) {
	match := func(n dnsname.Name) *zone.Snapshot {
		for ; ; n = n.Parent() {
			if s := z[n.Fold()]; s != nil || n == dnsname.Root {
				return s
			}
		}
	}
	match(q.Name).Lookup(&q, a)
	for a.Next != "" && match(a.Next) != nil {
		match(a.Next).Continue(&q, a)
	}
}

// TestContinue follows chains of aliases from zone to zone.
func TestContinue(t *testing.T) {
	z := newZones(t, map[string]string{
		"a.": "to 60 CNAME to.b.\nmiss 60 CNAME nope.b.\nloop 60 CNAME loop.b.\nout 60 CNAME away.b.\ncut 60 CNAME x.sub.b.\nd 60 DNAME d.b.\n" +
			"*.w 60 CNAME q.w.b.\nnodata 60 CNAME here.b.\nback 60 CNAME back.b.\nhere 60 A 192.0.2.9",
		"b.": "to 60 CNAME here\nhere 60 A 192.0.2.1\nloop 60 CNAME loop.a.\naway 60 CNAME x.net.\nsub 60 NS ns.sub\nns.sub 60 A 192.0.2.2\n" +
			"x.d 60 A 192.0.2.3\n*.w 60 A 192.0.2.4\nback 60 CNAME here.a.",
		"many1.": manyLinks("many1.", "many2."),
		"many2.": manyLinks("many2.", "many1."),
	})
	for _, tc := range []struct {
		name, q, want string
	}{
		{"data", "to.a. A", "success aa: to.a. CNAME, to.b. CNAME, here.b. A"},
		{"back again", "back.a. A", "success aa: back.a. CNAME, back.b. CNAME, here.a. A"},
		{"no name in the other zone", "miss.a. A", "nxdomain aa: miss.a. CNAME | b. SOA"},
		{"no data in the other zone", "nodata.a. TXT", "nodata aa: nodata.a. CNAME | b. SOA"},
		{"a loop over both zones", "loop.a. A", "success aa: loop.a. CNAME, loop.b. CNAME"},
		{"out of both", "out.a. A", "success aa next x.net.: out.a. CNAME, away.b. CNAME"},
		{"below a cut of the other", "cut.a. A", "delegation aa: cut.a. CNAME | sub.b. NS | ns.sub.b. A"},
		{"a DNAME", "x.d.a. A", "success aa: d.a. DNAME, x.d.a. CNAME, x.d.b. A"},
		{"wildcards in both", "q.w.a. A", "success aa wildcard *.w.b.: q.w.a. CNAME, q.w.b. A"},
		{"too many links", "l0.many1. A", "success aa: " + wantMany()},
		{"ANY does not follow", "to.a. ANY", "success aa: to.a. CNAME"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var a zone.Answer
			z.lookup(question(t, tc.q), &a)
			if got := brief(&a); got != tc.want {
				t.Errorf("%s: got\n%s\nwant\n%s", tc.q, got, tc.want)
			}
		})
	}
}

func manyLinks(from, to string) string {
	var b strings.Builder
	for i := range 30 {
		fmt.Fprintf(&b, "l%d.%s 60 CNAME l%d.%s\n", i, from, i+1, to)
	}
	return b.String()
}

func wantMany() string {
	var list []string
	for i := range 16 {
		list = append(list, fmt.Sprintf("l%d.many%d. CNAME", i, 1+i%2))
	}
	return strings.Join(list, ", ")
}

// brief writes an answer as owners and types.
func brief(a *zone.Answer) string {
	var sections []string
	for _, section := range [][]zone.Set{a.Answer, a.Authority, a.Additional} {
		var list []string
		for _, s := range section {
			list = append(list, fmt.Sprintf("%s %s", s.Owner, typeName(s.Type)))
		}
		if len(list) > 0 {
			sections = append(sections, strings.Join(list, ", "))
		}
	}
	head := a.Kind.String()
	if a.AA {
		head += " aa"
	}
	if a.Wildcard != "" {
		head += " wildcard " + a.Wildcard.String()
	}
	if a.Next != "" {
		head += " next " + a.Next.String()
	}
	return head + ": " + strings.Join(sections, " | ")
}

// TestReadersAndWriter has goroutines look names up while transactions change
// the zone. Every name holds the serial, so an answer from two versions shows.
func TestReadersAndWriter(t *testing.T) {
	const names, versions, readers = 50, 300, 4
	txt := func(serial int) string { return fmt.Sprintf("\x05%05d", serial) }
	name := func(i int) dnsname.Name { return dnsname.Name(fmt.Sprintf("\x03n%02d\x01*", i%names)) + origin }
	var records []record
	for i := range names {
		records = append(records, record{name(i), rrset.TypeTXT, 60, txt(1)}, record{name(i), rrset.TypeMX, 60, "\x00\x0a" + string(name(i+1))})
	}
	records = append(records, soaRecord(1))
	var current atomic.Pointer[zone.Snapshot]
	first, _ := build(t, origin, records)
	current.Store(first)

	var wg sync.WaitGroup
	var done atomic.Bool
	var fault atomic.Pointer[string]
	for r := range readers {
		wg.Go(func() {
			var a, neg zone.Answer
			for i := r; !done.Load() || i < 100; i++ {
				s := current.Load()
				want := txt(int(s.Serial()))
				s.Lookup(&zone.Query{Name: name(i), Type: rrset.TypeTXT}, &a)
				s.Lookup(&zone.Query{Name: "\x01x" + name(i), Type: rrset.TypeTXT}, &neg)
				if len(a.Answer) != 1 || a.Answer[0].First() != want || neg.Kind != zone.NXDomain || dumpSet(neg.Authority[0]) != negativeOf(s) {
					text := fmt.Sprintf("serial %d: %s%s", s.Serial(), dump(&a, true), dump(&neg, true))
					fault.Store(&text)
					return
				}
				if i%16 == 0 {
					for set := range s.All() {
						if set.Type == rrset.TypeTXT && set.First() != want {
							text := fmt.Sprintf("serial %d: %s", s.Serial(), dumpSet(set))
							fault.Store(&text)
							return
						}
					}
				}
			}
		})
	}
	for serial := 2; serial <= versions; serial++ {
		txn := current.Load().Begin()
		for i := range names {
			must(t, txn.Remove(name(i), rrset.TypeTXT, txt(serial-1)))
			changed, err := txn.Add(name(i), rrset.TypeTXT, 60, txt(serial))
			must(t, changed && err == nil)
		}
		soa, err := rrset.New(rrset.TypeSOA, 3600, soaRecord(uint32(serial)).rdata)
		must(t, err == nil)
		changed, err := txn.Replace(origin, soa)
		must(t, changed && err == nil)
		next, changes, err := txn.Commit()
		must(t, err == nil && len(changes.Added) == names+1)
		current.Store(next)
	}
	done.Store(true)
	wg.Wait()
	if text := fault.Load(); text != nil {
		t.Fatal(*text)
	}
	for set := range first.All() {
		if set.Type == rrset.TypeTXT && set.First() != txt(1) || first.Serial() != 1 {
			t.Fatalf("the first version has changed: %s", dumpSet(set))
		}
	}
}

// negativeOf gives the SOA record as negative answers have it.
func negativeOf(s *zone.Snapshot) string {
	soa := s.SOA()
	soa.TTL = 300
	return dumpSet(soa)
}

func must(t *testing.T, ok bool) {
	t.Helper()
	if !ok {
		t.Fatal("refused")
	}
}
