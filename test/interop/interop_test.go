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

// ways is how ours answers, in the order in which its servers are kept.
var ways = []string{"the chain", "the fast path"}

// startOurs starts ours, one server for each of [ways].
func startOurs(t *testing.T, zones []server.Zone) []*server.Server {
	t.Helper()
	corefile := server.Corefile(t, zones)
	return []*server.Server{server.StartOurs(t, corefile, origins(zones)...), server.StartFast(t, corefile, origins(zones)...)}
}

func origins(zones []server.Zone) (names []string) {
	for _, z := range zones {
		names = append(names, z.Origin)
	}
	return names
}

// startPeers starts the peers, in the order of [all].
func startPeers(t *testing.T, zones []server.Zone) []*server.Server {
	t.Helper()
	server.Require(t, "named", "knotd", "nsd")
	return []*server.Server{server.StartNamed(t, zones), server.StartKnotd(t, zones), server.StartNSD(t, zones)}
}

// TestAnswers asks ours, both ways, and the peers the same questions and compares the replies.
func TestAnswers(t *testing.T) {
	began := time.Now()
	run := tally{variants: map[*variant]int{}, kinds: map[string]int{}}
	for _, set := range zoneSets(t) {
		peers, ours := startPeers(t, set.zones), startOurs(t, set.zones)
		before := fastAnswers(t, ours[1])
		run.peers = fmt.Sprintf("%s, %s, %s", peers[0].Name, peers[1].Name, peers[2].Name)
		for _, z := range set.zones {
			run.compare(t, readContent(t, z, peers[0]), ours, peers)
		}
		run.fast += fastAnswers(t, ours[1]) - before
		for _, s := range slices.Concat(ours, peers) {
			s.Stop()
		}
	}
	t.Logf("interop: %d queries about %d zones compared with %s: %d differences, %d replies by %d accepted variants, %d questions sent again, %v; "+
		"the fast path has answered %d of %d over UDP", run.queries, run.zones, run.peers, run.differences, run.accepted, len(run.variants), run.again,
		time.Since(began).Round(time.Second), run.fast, run.udp)
	if run.fast < run.udp*9/10 {
		t.Error("too few of them to show anything")
	}
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

func fastAnswers(t *testing.T, s *server.Server) int {
	t.Helper()
	n, err := s.FastAnswers()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A tally sums up a run.
type tally struct {
	peers                                        string
	queries, zones, differences, accepted, again int
	udp, fast                                    int // queries over UDP, and those that the fast path has answered
	shown                                        int
	variants                                     map[*variant]int
	kinds                                        map[string]int // of differences
}

// compare asks all servers everything about one zone.
func (run *tally) compare(t *testing.T, zone *content, ours, peers []*server.Server) {
	t.Helper()
	queries := generate(zone)
	servers := slices.Concat(ours, peers)
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
	theirs := got[len(ours):]
	for i, q := range queries {
		if q.mode.network == "udp" {
			run.udp++
		}
		s := &situation{zone: zone, q: q, named: &theirs[0][i], knotd: &theirs[1][i], nsd: &theirs[2][i]}
		for k := range ours {
			run.judge(t, s, ways[k], &got[k][i])
		}
	}
}

// judge judges one reply of ours.
func (run *tally) judge(t *testing.T, s *situation, way string, ours *reply) {
	t.Helper()
	wrong, used := s.judge(ours)
	for _, v := range used {
		run.variants[v]++
	}
	switch {
	case len(wrong) > 0:
		run.differences++
		kind := fmt.Sprintf("%s by %s: %s", s.zone.origin, way, strings.Join(wrong, "; "))
		if run.kinds[kind]++; run.kinds[kind] <= 2 && run.shown < shown {
			run.shown++
			t.Errorf("%s: %s", way, s.difference(ours, wrong))
		}
	case len(used) > 0:
		run.accepted++
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
		peers := startPeers(t, set.zones)
		ours := server.StartOurs(t, server.Corefile(t, set.zones), origins(set.zones)...)
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
