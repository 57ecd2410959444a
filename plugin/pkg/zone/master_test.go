package zone_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// parse reads a zone in master file format into records.
func parse(t testing.TB, origin dnsname.Name, text string) (records []record) {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(text), origin.String(), "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		owner, rdata, err := rrset.FromRR(rr)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, record{owner, rr.Header().Rrtype, rr.Header().Ttl, rdata})
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return records
}

// build makes a zone of records, and gives what the load checks say.
func build(t testing.TB, origin dnsname.Name, records []record) (*zone.Snapshot, []zone.Problem) {
	t.Helper()
	b := zone.NewBuilder(origin)
	for _, r := range records {
		if err := b.Add(r.owner, r.typ, r.ttl, []byte(r.rdata)); err != nil {
			t.Fatalf("adding %v: %v", r, err)
		}
	}
	s, problems, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s, problems
}

// load reads the zone in a file of testdata.
func load(t testing.TB, origin dnsname.Name, file string) (*zone.Snapshot, []record) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	records := parse(t, origin, string(text))
	s, _ := build(t, origin, records)
	return s, records
}

// rrs gives the records of a set, without RRSIGs.
func rrs(t testing.TB, s zone.Set) (list []dns.RR) {
	t.Helper()
	for rdata := range s.All() {
		rr, err := rrset.ToRR(s.Owner.String(), s.Type, s.TTL, rdata)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rr)
	}
	return list
}

func sigs(t testing.TB, s zone.Set) (list []*dns.RRSIG) {
	t.Helper()
	for _, rr := range rrs(t, zone.Set{Owner: s.Owner, RRset: s.Sigs}) {
		list = append(list, rr.(*dns.RRSIG))
	}
	return list
}

// show writes a record without its class: owner, TTL, type, RDATA.
func show(rr dns.RR) string {
	h := rr.Header()
	data := strings.TrimPrefix(rr.String(), h.String())
	return fmt.Sprintf("%s %d %s %s", h.Name, h.Ttl, dns.Type(h.Rrtype), data)
}

func typeName(typ uint16) string { return dns.Type(typ).String() }

// replaceZone puts the name of a zone into a question.
func replaceZone(q, name string) string { return strings.ReplaceAll(q, "ZONE", name) }
