package main

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/test/server"
)

// measuredUpdates gives a report of updates as if they had been measured.
func measuredUpdates() *report {
	ms := func(v ...float64) (l latencies) {
		for _, v := range v {
			l.each = append(l.each, time.Duration(v*float64(time.Millisecond)))
		}
		return l
	}
	queries := func(p99 ...float64) (list []answered) {
		for _, v := range p99 {
			list = append(list, answered{latencies: ms(0.05, v), sent: 5, lost: 1, late: []time.Duration{20 * time.Microsecond}})
		}
		return list
	}
	return &report{
		started: time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC), took: 5 * time.Minute, extent: fullUpdates,
		missing: []string{"nothing: it is not there"},
		updates: []*updateSet{
			{names: 1004, results: []*updated{
				{
					server: ours, records: 1500, idle: queries(0.1, 0.3, 0.2), storm: queries(0.3, 0.3, 0.3), beside: []float64{9000, 7000, 8000},
					clients: [2]updates{
						{rates: []float64{3000, 2000, 2500}, costs: []float64{200, 210, 190}, batch: []float64{1, 1, 1}, each: ms(0.3, 0.4, 5), own: []float64{20}, load: []float64{0.05}},
						{rates: []float64{10000}, costs: []float64{100}, batch: []float64{14.5}, each: ms(2, 3, 9), again: 3, own: []float64{15}, load: []float64{0.25}},
					},
				},
				{server: "knotd", clients: [2]updates{{rates: []float64{80}}, {rates: []float64{1400}}}, idle: queries(0.1), storm: queries(0.2)},
				{server: "named", clients: [2]updates{{rates: []float64{2000}}, {rates: []float64{1000}}}},
			}},
			{names: 100_004, results: []*updated{
				{server: ours, clients: [2]updates{{rates: []float64{2900}}, {rates: []float64{8400}}}},
				{server: "named", clients: [2]updates{{rates: []float64{1900}}, {rates: []float64{1500}}}},
				{server: "knotd", clients: [2]updates{{rates: []float64{50}}, {rates: []float64{1300}}}},
			}},
		},
		signed: []*updateSet{
			{names: 1004, signed: true, results: []*updated{
				{server: ours, clients: [2]updates{{rates: []float64{1900}}, {rates: []float64{6000}, waits: []time.Duration{0, 0, time.Second}}}},
				{server: "knotd", clients: [2]updates{{rates: []float64{60}}, {rates: []float64{9000}}}},
				{server: "named", clients: [2]updates{{rates: []float64{800}}, {rates: []float64{1400}}}},
				{server: inlined, clients: [2]updates{{rates: []float64{700}}, {rates: []float64{1600}, costs: []float64{500}, batch: []float64{1.5}, waits: []time.Duration{30 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond}}}},
			}},
			{names: 100_004, signed: true, results: []*updated{
				{server: ours, clients: [2]updates{{}, {rates: []float64{6000}}}},
				{server: "named", clients: [2]updates{{}, {rates: []float64{1400}}}},
				{server: inlined, clients: [2]updates{{}, {rates: []float64{1300}}}},
			}},
		},
		disk: latencies{each: []time.Duration{100 * time.Microsecond, 200 * time.Microsecond}, took: time.Second},
	}
}

func TestUpdateTargets(t *testing.T) {
	type expected struct{ verdict, bound string }
	want := map[string]expected{
		"1 client, 1004 names":                                {missed, "≥ 1.50 × named"},        // 2500 / 2000
		"32 clients, 1004 names":                              {met, "≥ 4.00 × knotd"},           // 10000 / 1400
		"CPU time, 32 clients, 1004 names":                    {met, "≤ 1.00 × 100 µs"},          // 100
		"query p99 among updates of 32 clients, 1004 names":   {met, "≤ 1.50 × without updates"}, // 0.3 / 0.2
		"1 client, 100004 names":                              {met, "≥ 1.50 × named"},           // 2900 / 1900
		"32 clients, 100004 names":                            {met, "≥ 4.00 × named"},           // 8400 / 1500
		"CPU time, 32 clients, 100004 names":                  {unmeasured, "≤ 1.00 × 100 µs"},   // nothing
		"query p99 among updates of 32 clients, 100004 names": {unmeasured, "≤ 1.50 × without updates"},
		"32 clients, 1004 names, signed":                      {missed, "≥ 4.00 × named inline"}, // 6000 / 1600
		"32 clients, 100004 names, signed":                    {met, "≥ 4.00 × named"},           // 6000 / 1400
		"100004 names beside 1004, clients: 1":                {missed, "the small zone ± 15 %"}, // 2900 / 2500
		"100004 names beside 1004, clients: 32":               {missed, "the small zone ± 15 %"}, // 8400 / 10000
	}
	r := measuredUpdates()
	got := r.updateTargets()
	if len(got) != len(want) {
		t.Errorf("%d targets, not %d", len(got), len(want))
	}
	for _, x := range got {
		if w := want[x.what]; x.verdict() != w.verdict || x.bound() != w.bound {
			t.Errorf("%s: %s, %s; want %s, %s", x.what, x.verdict(), x.bound(), w.verdict, w.bound)
		}
	}
	r.updates[1].find(ours).clients[alone].rates[0] = 2874
	if x := r.updateTargets()[10]; x.verdict() != met {
		t.Errorf("%+v is %s", x, x.verdict())
	}
	// Without peers, and of one zone, nothing compares.
	r.updates, r.signed = r.updates[:1], r.signed[:1]
	r.signed[0].results = r.signed[0].results[:2]
	r.updates[0].results = r.updates[0].results[:1]
	if got := verdicts(r.updateTargets()); got != "2 targets met, 0 missed, 3 not measured" {
		t.Error(got)
	}
	if list := (&report{}).updateTargets(); len(list) != 0 {
		t.Errorf("targets of nothing: %v", list)
	}
}

func TestSides(t *testing.T) {
	for _, tc := range []struct {
		side  side
		ratio float64
		want  bool
	}{
		{atMost, 0.15, true},
		{atMost, 0.16, false},
		{atLeast, 0.15, true},
		{atLeast, 0.14, false},
		{around, 0.85, true},
		{around, 0.84, false},
		{around, 1.15, true},
		{around, 1.16, false},
	} {
		if got := (target{limit: 0.15, side: tc.side}).keeps(tc.ratio); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

func TestUpdateText(t *testing.T) {
	text := measuredUpdates().updateText()
	for _, want := range []string{
		"## Dynamic updates\n\n`make bench-update` wrote this part of the page and everything in it on 24 November 2026, in 5m0s",
		"**Not measured** – nothing: it is not there.",
		"| 1 client, 1004 names | 2500.00 updates/s | 2000.00 updates/s | 1.250 | ≥ 1.50 × named | **missed** |",
		"| query p99 among updates of 32 clients, 1004 names | 300.00 µs | 200.00 µs | 1.500 | ≤ 1.50 × without updates | met |",
		"median of 5 rounds of 2.5s",
		"| 1004 | 1 | trustdns | 2500 (2000–3000) | 0.40 | 5.00 | 200.0 (190.0–210.0) | 1.0 | 0 |",
		"| 1004 | 32 | trustdns | 10000 (10000–10000) | 3.00 | 9.00 | 100.0 (100.0–100.0) | 14.5 | 3 |",
		"| 100004 | 1 | named | 1900 (1900–1900) | – | – | – | – | 0 |",
		"| 32 clients, 1004 names, signed | 6000.00 updates/s | 1600.00 updates/s | 3.750 | ≥ 4.00 × named inline | **missed** |",
		"| 1004 | 32 | named inline | 1600 (1600–1600) | – | – | 500.0 (500.0–500.0) | 1.5 | 20.00 | 0 |",
		"| 1004 | 32 | trustdns | 6000 (6000–6000) | – | – | – | – | – | 0 |",
		"| 1004 | trustdns | 200.0 | 200.0 | 3 | 300.0 | 300.0 | 3 | 1.50 | 8000 | 20.0 |",
		"| 1004 | knotd | 100.0 | 100.0 | 1 | 200.0 | 200.0 | 1 | 2.00 | – | 20.0 |",
		"| 100004 | named | – | – | 0 | – | – | 0 | – | – | – |",
		"| 1004 | 32 | trustdns | 15.0 | 25 |",
		"2 a second, p50 0.20 ms, p99 0.20 ms",
		"* `trustdns`: ", "* `knotd`: ", "* `named`: ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if strings.Contains(text, "%!") || strings.Contains(text, "quick") {
		t.Error("a broken format, or a full run that calls itself quick")
	}
	if t.Failed() {
		t.Log(text)
	}
	if text := (&report{}).updateText(); !strings.Contains(text, "### Targets for updates") {
		t.Errorf("of nothing:\n%s", text)
	}
}

func TestBatches(t *testing.T) {
	page := "# HELP x\ncoredns_update_batch_size_bucket{le=\"1\"} 2\ncoredns_update_batch_size_sum 10\ncoredns_update_batch_size_count 4\n"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(page))
	}))
	t.Cleanup(s.Close)
	b, err := newBatches(t.Context(), tiny(), nil, &updated{metricsAt: s.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	page = strings.NewReplacer("sum 10", "sum 100", "count 4", "count 10").Replace(page)
	if mean, err := b.mean(t.Context(), 90); err != nil || mean != 15 {
		t.Errorf("%v updates a batch, %v", mean, err)
	}
	page = strings.Replace(page, "sum 100", "sum x", 1)
	if _, err := b.mean(t.Context(), 90); err == nil {
		t.Error("a metric that is no number")
	}
	if _, err := get(t.Context(), s.URL+"/other"); err == nil {
		t.Error("a page that is not there")
	}
}

// All servers take updates and say so truly, and sign what they take.
func TestUpdateRound(t *testing.T) {
	s := mixed("updates", "updates.example.", 100)
	path := filepath.Join(t.TempDir(), "zone")
	if err := s.file(path); err != nil {
		t.Fatal(err)
	}
	snap, err := loadZone(s, path)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := packAll(mix(s, 400, 1), false)
	if err != nil {
		t.Fatal(err)
	}
	round := func(t *testing.T, c candidate, signed bool) {
		if c.program != "" {
			server.Require(t, c.program)
		}
		u := &updated{server: c.name}
		r := &running{candidate: c, Server: startUpdated(t, u, server.Zone{Origin: s.origin, File: path, Key: &benchKey}, signed)}
		if !strings.Contains(r.Name, ".") && c.program != "" {
			t.Errorf("no version in %q", r.Name)
		}
		u.writers = writersTo(t, r.Addr, s.origin, clientsAtOnce[many])
		m := &meter{extent: extent{round: 100 * time.Millisecond}}
		if err := m.updateRound(t.Context(), s, r, u, messages); err != nil {
			t.Fatalf("%v\n%s", err, r.Log())
		}
		for i, x := range u.clients {
			if len(x.rates) != 1 || x.rates[0] <= 0 || x.batch[0] <= 0 || len(x.each.each) == 0 || (len(x.waits) == 1) != signed {
				t.Errorf("%d clients: %+v", clientsAtOnce[i], x)
			}
		}
		switch {
		case signed && len(u.idle)+len(u.storm) > 0, !signed && (len(u.idle) != 1 || len(u.storm) != 1 || u.idle[0].sent == 0 || u.storm[0].sent == 0):
			t.Errorf("queries: %d and %d rounds", len(u.idle), len(u.storm))
		}
		records, err := verifyZone(r.Addr, s.origin, snap.Records(), u.writers, &benchKey, u.validator)
		if err != nil || records <= snap.Records() {
			t.Errorf("%d records, %v", records, err)
		}
	}
	var list []candidate
	for _, c := range candidates {
		if slices.Contains(updaters, c.name) {
			list = append(list, c)
		}
	}
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) { round(t, c, false) })
	}
	for _, c := range signers(list) {
		t.Run(c.name+" signed", func(t *testing.T) { round(t, c, true) })
	}
}

// writersTo gives clients of a server.
func writersTo(t *testing.T, to netip.AddrPort, origin string, n int) (list []*writer) {
	for i := range n {
		w, err := newWriter(to, origin, i, &benchKey)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.conn.Close() })
		list = append(list, w)
	}
	return list
}

func TestProgramVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho 'Program 1.22.3-Debian (Stable)'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if v := programVersion(path); v != "1.22.3" {
		t.Error(v)
	}
	if v := programVersion(path + "x"); !strings.HasPrefix(v, "of unknown version") {
		t.Error(v)
	}
}
