package main

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

// suffixList is a public suffix list with each kind of rule.
const suffixList = "// comment\ncom\nco.com\nuk\nco.uk\norg.uk\n*.ck\n!www.ck\n"

// loaded writes the zone of a subject and loads it again. But for suffixList,
// which is too short for that, there must be nothing to warn of.
func loaded(t *testing.T, s subject) *zone.Snapshot {
	t.Helper()
	path := filepath.Join(t.TempDir(), "zone")
	if err := s.file(path); err != nil {
		t.Fatal(err)
	}
	res, err := zonefile.Load(path, dnsname.MustParse(s.origin), zonefile.Options{Strict: s.name != "publicsuffix"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return res.Snapshot
}

// lookup asks a snapshot.
func lookup(t *testing.T, snap *zone.Snapshot, q question) *zone.Answer {
	t.Helper()
	name, err := dnsname.Parse(q.name, "")
	if err != nil {
		t.Fatal(err)
	}
	if !name.IsBelow(snap.Origin()) {
		t.Fatalf("%s is not in the zone %s", name, snap.Origin())
	}
	a := new(zone.Answer)
	snap.Lookup(&zone.Query{Name: name, Type: q.typ}, a)
	return a
}

func TestZonesHaveTheSizeTheySay(t *testing.T) {
	for _, tc := range []struct {
		subject        subject
		names, records int
	}{
		// A group has 16 A of hosts, 3 AAAA, MX, TXT, CNAME, 2 NS, glue, wildcard; the apex 7 records.
		{mixed("small", "small.example.", 1000), 1004, 50*26 + 7},
		{mixed("least", "small.example.", 1), 24, 26 + 7},
		{delegations("big", "big.example.", 500), 1004, 1507},
		{tiny(), 4, 7},
	} {
		snap := loaded(t, tc.subject)
		if snap.Names() != tc.names || snap.Records() != tc.records {
			t.Errorf("%s: %d names and %d records, want %d and %d", tc.subject.name, snap.Names(), snap.Records(), tc.names, tc.records)
		}
	}
}

func TestZonesAreTheSameEveryTime(t *testing.T) {
	for _, s := range []subject{mixed("small", "small.example.", 100), delegations("big", "big.example.", 100)} {
		var a, b bytes.Buffer
		if err := s.write(&a); err != nil {
			t.Fatal(err)
		}
		if err := s.write(&b); err != nil {
			t.Fatal(err)
		}
		if a.String() != b.String() {
			t.Errorf("%s differs from one time to the next", s.name)
		}
	}
}

// A question of a kind has the answer that the kind is about.
func TestQuestionsMeetTheirKind(t *testing.T) {
	suffixes, err := publicSuffixes(suffixList)
	if err != nil {
		t.Fatal(err)
	}
	ordinary := map[kind]zone.Kind{kindNXDomain: zone.NXDomain, kindReferral: zone.Delegation}
	registry := map[kind]zone.Kind{kindNXDomain: zone.NXDomain}
	for _, s := range shares {
		if s.kind != kindNXDomain {
			registry[s.kind] = zone.Delegation
		}
	}
	names := map[kind]zone.Kind{
		kindA: zone.Delegation, kindAlias: zone.Delegation, kindMX: zone.Delegation, kindReferral: zone.Delegation,
		kindNXDomain: zone.NXDomain,
	}
	for _, tc := range []struct {
		subject subject
		want    map[kind]zone.Kind // Success where nothing is said
	}{
		{mixed("small", "small.example.", 1000), ordinary},
		{delegations("big", "big.example.", 300), registry},
		{suffixes, names},
		{tiny(), map[kind]zone.Kind{kindNXDomain: zone.NXDomain}},
	} {
		snap := loaded(t, tc.subject)
		r := rand.New(rand.NewPCG(1, 1))
		for _, share := range shares {
			for range 200 {
				q := tc.subject.ask(share.kind, r)
				a := lookup(t, snap, q)
				if a.Kind != tc.want[share.kind] {
					t.Fatalf("%s: %s: %q type %d is %s, want %s", tc.subject.name, share.kind, q.name, q.typ, a.Kind, tc.want[share.kind])
				}
				if wild := share.kind == kindWildcard && a.Kind == zone.Success && !tc.subject.bare; wild != (a.Wildcard != "") {
					t.Fatalf("%s: %s: %q is from the wildcard %q", tc.subject.name, share.kind, q.name, a.Wildcard)
				}
				if alias := share.kind == kindAlias && tc.subject.name == "small"; alias != (len(a.Answer) > 1) {
					t.Fatalf("%s: %s: %q has %d RRsets in the answer", tc.subject.name, share.kind, q.name, len(a.Answer))
				}
			}
		}
	}
}

func TestPublicSuffixesNeedsEachKindOfRule(t *testing.T) {
	if _, err := publicSuffixes("com\norg\n"); err == nil {
		t.Error("a list without wildcards makes a zone to measure with")
	}
}

func TestLabelsDiffer(t *testing.T) {
	seen := map[string]int{}
	for i := range 100_000 {
		l := label(i)
		if j, ok := seen[l]; ok {
			t.Fatalf("labels %d and %d are both %q", i, j, l)
		}
		seen[l] = i
		if len(l) > dnsname.MaxLabel || strings.Contains(l, "-") {
			t.Fatalf("label %d is %q", i, l)
		}
	}
}
