package interop

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/pslzone"
	"github.com/trustdns/trustdns/test/server"
)

func TestMain(m *testing.M) { server.Main(m) }

// shown is how many differences a failing run prints.
const shown = 20

// A set of zones is served together: the tricky ones with the zone of the public suffix list, and the root, which
// would leave no name outside of all zones.
type zoneSet struct {
	name  string
	zones []server.Zone
}

func zoneSets(t *testing.T) []zoneSet {
	t.Helper()
	files, err := filepath.Glob("../testdata/zones/*.zone")
	if err != nil {
		t.Fatal(err)
	}
	tricky := zoneSet{name: "tricky"}
	for _, f := range files {
		tricky.zones = append(tricky.zones, server.Zone{Origin: strings.TrimSuffix(filepath.Base(f), ".zone"), File: f})
	}
	server.RequireFile(t, pslzone.List, pslzone.Debian)
	tricky.zones = append(tricky.zones, server.Zone{Origin: pslzone.Origin, File: pslzone.File(t)})
	root := zoneSet{name: "root", zones: []server.Zone{{Origin: ".", File: "../testdata/zones/root/root.zone"}}}
	return []zoneSet{tricky, root}
}

// startAll starts ours and, in the order of [all], the peers.
func startAll(t *testing.T, zones []server.Zone) (ours *server.Server, peers []*server.Server) {
	t.Helper()
	server.Require(t, "named", "knotd", "nsd")
	var origins []string
	for _, z := range zones {
		origins = append(origins, z.Origin)
	}
	peers = []*server.Server{server.StartNamed(t, zones), server.StartKnotd(t, zones), server.StartNSD(t, zones)}
	return server.StartOurs(t, server.Corefile(t, zones), origins...), peers
}

// TestAnswers asks ours and the peers the same questions and compares the replies.
func TestAnswers(t *testing.T) {
	began := time.Now()
	run := tally{variants: map[*variant]int{}, kinds: map[string]int{}}
	for _, set := range zoneSets(t) {
		ours, peers := startAll(t, set.zones)
		run.peers = fmt.Sprintf("%s, %s, %s", peers[0].Name, peers[1].Name, peers[2].Name)
		for _, z := range set.zones {
			run.compare(t, readContent(t, z, peers[0]), ours, peers)
		}
		ours.Stop()
		for _, p := range peers {
			p.Stop()
		}
	}
	t.Logf("interop: %d queries about %d zones compared with %s: %d differences, %d replies by %d accepted variants, %d questions sent again, %v",
		run.queries, run.zones, run.peers, run.differences, run.accepted, len(run.variants), run.again, time.Since(began).Round(time.Second))
	if run.queries < 3000 || run.zones < 8 {
		t.Error("too few queries or zones to show anything")
	}
	for _, kind := range slices.Sorted(maps.Keys(run.kinds)) {
		t.Errorf("%d × %s", run.kinds[kind], kind)
	}
	for i := range variants {
		if v := &variants[i]; run.variants[v] == 0 {
			t.Errorf("variant %q fits nothing any more: remove it", v.name)
		}
	}
}

// A tally sums up a run.
type tally struct {
	peers                                        string
	queries, zones, differences, accepted, again int
	shown                                        int
	variants                                     map[*variant]int
	kinds                                        map[string]int // of differences
}

// compare asks all servers everything about one zone.
func (run *tally) compare(t *testing.T, zone *content, ours *server.Server, peers []*server.Server) {
	t.Helper()
	queries := generate(zone)
	servers := append([]*server.Server{ours}, peers...)
	got := make([][]reply, len(servers))
	again := make([]int, len(servers))
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() { got[i], again[i], errs[i] = replies(s, queries) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("zone %s: %v", zone.origin, err)
		}
		run.again += again[i]
	}
	run.zones++
	run.queries += len(queries)
	for i, q := range queries {
		s := &situation{zone: zone, q: q, named: &got[1][i], knotd: &got[2][i], nsd: &got[3][i]}
		wrong, used := s.judge(&got[0][i])
		for _, v := range used {
			run.variants[v]++
		}
		switch {
		case len(wrong) > 0:
			run.differences++
			kind := zone.origin + " " + strings.Join(wrong, "; ")
			if run.kinds[kind]++; run.kinds[kind] <= 2 && run.shown < shown {
				run.shown++
				t.Error(s.difference(&got[0][i], wrong))
			}
		case len(used) > 0:
			run.accepted++
		}
	}
}

// replies asks a server all questions and returns its replies in order, and how many had to be sent again.
func replies(s *server.Server, queries []query) ([]reply, int, error) {
	out := make([]reply, len(queries))
	again := 0
	for _, network := range []string{"udp", "tcp"} {
		var index []int
		var msgs [][]byte
		for i, q := range queries {
			if q.mode.network != network {
				continue
			}
			b, err := q.pack()
			if err != nil {
				return nil, 0, fmt.Errorf("%v: %w", q, err)
			}
			index, msgs = append(index, i), append(msgs, b)
		}
		raw, n, err := ask(network, s.Addr, msgs)
		if err != nil {
			return nil, 0, fmt.Errorf("%s over %s: %w", s.Name, network, err)
		}
		again += n
		for k, b := range raw {
			r, err := parse(b)
			if err != nil {
				return nil, 0, fmt.Errorf("%s: reply to %v: %w", s.Name, queries[index[k]], err)
			}
			out[index[k]] = r
		}
	}
	return out, again, nil
}

// TestTransfers compares what the servers hand out by AXFR.
func TestTransfers(t *testing.T) {
	for _, set := range zoneSets(t) {
		ours, peers := startAll(t, set.zones)
		for _, z := range set.zones {
			have := canonical(transfer(t, z, ours))
			for _, rr := range apart(asWritten(z, transfer(t, z, peers[0])), asWritten(z, transfer(t, z, ours))) {
				t.Errorf("zone %s: letter case not kept: %s", z.Origin, rr)
			}
			for _, p := range peers {
				want := canonical(transfer(t, z, p))
				missing, extra := apart(want, have), apart(have, want)
				if len(missing)+len(extra) > 0 || len(have) != len(want) {
					t.Errorf("zone %s: %d RRs, %s has %d; missing %.5q, extra %.5q", z.Origin, len(have), p.Name, len(want), missing, extra)
				}
			}
		}
	}
}

// asWritten returns RRs as sorted text in their letter case, but for the origin in owner names: that may be as in the
// configuration or as in the file.
func asWritten(z server.Zone, rrs []dns.RR) section {
	s := make(section, 0, len(rrs))
	origin := strings.ToLower(dns.Fqdn(z.Origin))
	for _, rr := range rrs {
		h := rr.Header()
		h.Name = h.Name[:len(h.Name)-len(origin)] + origin
		s = append(s, rr.String())
	}
	slices.Sort(s)
	return s
}

// apart returns the first few RRs of a, sorted, that are not in b, sorted.
func apart(a, b section) []string {
	var out []string
	for _, rr := range a {
		if _, found := slices.BinarySearch(b, rr); !found && len(out) < 5 {
			out = append(out, strings.ReplaceAll(rr, "\t", " "))
		}
	}
	return out
}

// transfer returns the RRs of a zone by AXFR, the SOA at the end left out.
func transfer(t testing.TB, z server.Zone, from *server.Server) []dns.RR {
	t.Helper()
	m := new(dns.Msg)
	m.SetAxfr(dns.Fqdn(z.Origin))
	envelopes, err := new(dns.Transfer).In(m, from.Addr.String())
	if err != nil {
		t.Fatalf("zone %s from %s: %v", z.Origin, from.Name, err)
	}
	var rrs []dns.RR
	for e := range envelopes {
		if e.Error != nil {
			t.Fatalf("zone %s from %s: %v", z.Origin, from.Name, e.Error)
		}
		rrs = append(rrs, e.RR...)
	}
	if len(rrs) < 2 {
		t.Fatalf("zone %s from %s: %d RRs", z.Origin, from.Name, len(rrs))
	}
	return rrs[:len(rrs)-1]
}
