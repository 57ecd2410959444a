package main

import (
	"strings"
	"testing"
	"time"
)

// measured gives a report as if it had been measured.
func measured() *report {
	pick := func(name string) candidate {
		for _, c := range candidates {
			if c.name == name {
				return c
			}
		}
		return candidate{}
	}
	second := func(s ...float64) (d []time.Duration) {
		for _, v := range s {
			d = append(d, time.Duration(v*float64(time.Second)))
		}
		return d
	}
	return &report{
		started: time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC),
		took:    754 * time.Second,
		machine: machine{cpu: "Example CPU", kernel: "6.1", load: "0.02", dnsperf: "2.10.0", golang: "go1.26", cores: 2},
		extent:  full,
		chosen:  []candidate{pick(ours), pick(stock), pick("nsd"), pick("knotd"), pick(kernel)},
		missing: []string{"named: the program named is not installed"},
		sets: []*set{
			{subject: tiny(), results: []*result{{server: ours, loads: second(0.1), loadCPU: second(0.08)}}},
			{
				subject: mixed("small", "small.example.", 1000), encoded: 77.5,
				results: []*result{
					{
						server: ours, loads: second(0.2), loaded: 50e6, queried: 40e6, peak: 60e6, costs: []float64{9, 8, 10}, size: 105,
						diff: difference{asked: 4000}, rcodes: map[string]int{"NXDOMAIN": 100, "NOERROR": 900},
					},
					{
						server: stock, costs: []float64{20, 21, 20}, lost: 3,
						diff: difference{asked: 4000, answers: 12, rcodes: 2, example: "file:\nNOERROR"}, rcodes: map[string]int{"NOERROR": 1000},
					},
					{server: "nsd", size: 76, costs: []float64{9}, diff: difference{asked: 4000}},
					{server: chained, costs: []float64{12, 11}},
					{server: kernel, costs: []float64{6, 7, 8}, rates: []float64{400_000, 410_000}},
				},
			},
			{
				subject: delegations("big", "big.example.", 1000), encoded: 120,
				results: []*result{
					{server: ours, loads: second(5, 4, 9), loaded: 400e6, queried: 630e6},
					{server: "nsd", loaded: 750e6, queried: 740e6, size: 100},
				},
			},
		},
		restart: restart{
			zone: "big", disk: 160e6,
			filling: start{took: 6 * time.Second, cpu: 5 * time.Second, anonymous: 200e6, files: 20e6, peak: 500e6},
			again: []start{
				{took: 900 * time.Millisecond, cpu: 600 * time.Millisecond, anonymous: 180e6, files: 150e6, peak: 400e6},
				{took: 700 * time.Millisecond, cpu: 800 * time.Millisecond, anonymous: 181e6, files: 152e6, peak: 390e6},
				{took: 800 * time.Millisecond, cpu: 700 * time.Millisecond, anonymous: 182e6, files: 151e6, peak: 395e6},
			},
		},
		signing: firstSigning{names: 100_004, results: []*firstSigned{
			{server: ours, took: second(12, 10, 11), cpu: second(9, 9, 10)},
			{server: "knotd", took: second(9, 9.5, 10), cpu: second(9)},
			{server: "named", failed: "after 3m0s: no answer"},
		}},
		transfers: transfers{
			zone: "big", records: 3007, client: [2]time.Duration{30 * time.Millisecond, 70 * time.Millisecond},
			results: []*transferred{
				{server: ours, kinds: [2]transfer{{took: second(0.5, 0.3, 0.4), cpu: second(0.3, 0.3, 0.2), octets: 70e6, messages: 4000}, {took: second(0.6), cpu: second(0.5), octets: 71e6, messages: 4000}}},
				{server: stock, kinds: [2]transfer{{took: second(2), cpu: second(2), octets: 150e6, messages: 2000}, {failed: "REFUSED"}}},
				{server: "nsd", kinds: [2]transfer{{took: second(0.2), cpu: second(0.2), octets: 70e6, messages: 4000}, {took: second(0.3), cpu: second(0.3), octets: 71e6, messages: 4001}}},
			},
		},
		commits: []*commits{
			{names: 1004, writers: 1, versions: 4, latencies: latencies{each: second(0.0006, 0.0004, 0.0005, 0.004), took: 2 * time.Second}, idle: latencies{each: second(0.000001)}, busy: latencies{each: second(0.0000025)}},
			{names: 1004, writers: 32, versions: 2, latencies: latencies{each: second(0.002, 0.002, 0.002, 0.003), took: time.Second}},
		},
		fairness: fairness{
			zone:  "small",
			idle:  []answered{{latencies: latencies{each: second(0.0001, 0.0002)}, sent: 2, late: second(0.0003)}},
			flood: []answered{{latencies: latencies{each: second(0.001, 0.002)}, sent: 2, late: second(0.004)}, {latencies: latencies{each: second(0.003)}, sent: 2, lost: 1}, {latencies: latencies{each: second(0.005, 0.006)}, sent: 2}},
			rates: []float64{300_000}, busy: []float64{0.97}, lost: 7,
		},
		idle:    idle{ours: []int64{22e6, 20e6, 21e6}, stock: []int64{20e6, 21e6, 22e6}},
		disk:    latencies{each: second(0.0002, 0.0001), took: time.Second},
		lookups: []lookups{{zone: "mixed", names: 1004, records: 1307, heap: 100400, hit: 150.4, nxdomain: 99, whole: 300}},
	}
}

func TestTargets(t *testing.T) {
	want := map[string]string{
		"memory, big zone":                                            met,        // 630 / 750
		"first load on one core, big zone":                            unmeasured, // no knotd
		"fast path, small zone, by nsd":                               met,        // 9 / 9
		"fast path, small zone, by the kernel limit":                  missed,     // 9 / 7
		"fast path, medium zone, by nsd":                              unmeasured,
		"fast path, medium zone, by knotd":                            unmeasured,
		"fast path, big zone, by nsd":                                 unmeasured,
		"fast path, big zone, by knotd":                               unmeasured,
		"idle anonymous memory as DNS of a cluster, no zones of ours": met,
		"p99 of queries for the chain among a flood":                  met, // 6 ms
		"fast path, signed zone":                                      unmeasured,
		"plugin chain, small zone":                                    met,        // 12 / 20
		"restart from the store on one core, big zone":                unmeasured, // no knotd
		"first signing on one core, 100004 names":                     met,        // 11 / 9.5
		"AXFR, big zone":                                              missed,     // 0.4 / 0.2
		"AXFR signed with TSIG, big zone":                             met,        // 0.6 / 0.3
		"mean size of answers, small zone":                            met,        // 77.5 / 76
		"mean size of answers, big zone":                              missed,     // 120 / 100
		"no such target, to be sure of the test":                      "",
	}
	r := measured()
	got := map[string]string{}
	for _, x := range r.targets() {
		what := x.what
		if strings.HasPrefix(what, "fast path") && !strings.Contains(what, "signed") {
			what += ", by " + x.name
		}
		got[what] = x.verdict()
	}
	for what, verdict := range want {
		if got[what] != verdict {
			t.Errorf("%s: %q, want %q", what, got[what], verdict)
		}
	}
	if len(got) != len(want)+1 { // two rows are of the same name, two more are not measured here
		t.Errorf("%d targets: %v", len(got), got)
	}
	if got, want := verdicts(r.targets()), "8 targets met, 3 missed, 9 not measured"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	r.find("big", ours).loaded = 750e6
	r.sets[2].results = append(r.sets[2].results, &result{server: "knotd", loads: []time.Duration{4999 * time.Millisecond}})
	for _, x := range r.targets()[:2] {
		if x.verdict() != missed {
			t.Errorf("%+v is %s", x, x.verdict())
		}
	}
	restart := func() target {
		for _, x := range r.targets() {
			if strings.HasPrefix(x.what, "restart") {
				return x
			}
		}
		return target{}
	}
	if x := restart(); x.verdict() != met || x.ours != 0.8 || x.other != 4.999 {
		t.Errorf("%+v is %s", x, x.verdict())
	}
	r.restart.again = nil
	if x := restart(); x.verdict() != unmeasured {
		t.Errorf("%+v is %s", x, x.verdict())
	}
}

func TestVerdictAtTheLimit(t *testing.T) {
	for _, tc := range []struct {
		ours, other float64
		want        string
	}{{85, 100, met}, {85.1, 100, missed}, {0, 100, unmeasured}, {85, 0, unmeasured}} {
		if got := (target{ours: tc.ours, other: tc.other, limit: 0.85}).verdict(); got != tc.want {
			t.Errorf("%v of %v: %s, want %s", tc.ours, tc.other, got, tc.want)
		}
	}
}

func TestReportText(t *testing.T) {
	text := measured().String()
	for _, want := range []string{
		"24 November 2026, in 12m34s, on this machine: Example CPU, 2 cores, Linux 6.1, load average 0.02 at the start, go1.26, dnsperf 2.10.0",
		"**Not measured** – named: the program named is not installed.",
		"| memory, big zone | 630.00 MB | 750.00 MB | 0.840 | ≤ 0.85 × nsd | met |",
		"| first load on one core, big zone | 5.00 s | – s | – | ≤ 1.00 × knotd | not measured |",
		"| mean size of answers, big zone | 120.00 octets | 100.00 octets | 1.200 | ≤ 1.02 × nsd | **missed** |",
		"| zone | trustdns | file | nsd | knotd |\n|---|---|---|---|---|\n| tiny | 0.10 (0.08) | – | – | – |",
		"| small | 50 / 40 (60) |",
		"| restart from the store on one core, big zone | 0.80 s | – s | – | ≤ 0.40 × knotd | not measured |",
		"| AXFR, big zone | 0.40 s | 0.20 s | 2.000 | ≤ 1.20 × nsd | **missed** |",
		"| from the file, fills the store | 6.00 (5.00) | 200 (500) | 20 |\n| from the store | 0.80 (0.70) | 181 (395) | 151 |\n\nThe store has 160 MB.",
		"| first signing on one core, 100004 names | 11.00 s | 9.50 s | 1.158 | ≤ 1.20 × knotd | met |",
		"| trustdns | 11.00 (9.00) | 3 |\n| knotd | 9.50 (9.00) | 3 |\n| named | fails: after 3m0s: no answer | 0 |",
		"the last octet of 3008 records",
		"is 0.030 s, and 0.070 s signed.",
		"| trustdns | 0.400 (0.30) | 70.0 | 4000 | 0.600 (0.50) | 71.0 | 4000 |",
		"| file | 2.000 (2.00) | 150.0 | 2000 | fails: REFUSED | – | – |",
		"Ours signed takes 3.00 times what nsd takes without signatures.",
		"| 1004 | 1 | 2 | 0.60 | 4.00 | 1.0 | 1.0 | 2.5 |\n| 1004 | 32 | 4 | 2.00 | 3.00 | 2.0 | – | – |\n| the disk | 1 | 2 | 0.20 | 0.20 | – | – | – |",
		"| small | 9.00 (8.00–10.00) | 20.00 (20.00–21.00) | 9.00 (9.00–9.00) | – | 7.00 (6.00–8.00) |",
		"| fast path, small zone | 9.00 µs/query | 7.00 µs/query | 1.286 | ≤ 1.20 × the kernel limit | **missed** |",
		"| p99 of queries for the chain among a flood | 6.00 ms | 10.00 ms | 0.600 | ≤ 1.00 × 10 ms | met |",
		"| small | – | – | – | – | 405.0 |",
		"| alone | 0.20 | 0.20 | 2 | 0 | 0.30 | – | 0 | – |\n| among the flood | 6.00 | 6.00 | 6 | 1 | – | 300.0 | 7 | 97 |",
		"* `file` may differ: the SOA record of a negative answer keeps its TTL",
		"| small | 105.0 | – | 76.0 | – | 77.5 |",
		"| mixed | 1004 | 1307 | 150 | 99 | – | 0 | 300 | 100 |",
		"| small | 0 (0); NOERROR 900, NXDOMAIN 100 | 12 (2); NOERROR 1000; 3 lost |",
		"For example, zone small:\n\n```\nfile:\nNOERROR\n```",
		"68 % A, 2 % A through a CNAME, 10 % AAAA, 2.5 % MX",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if strings.Contains(text, "quick") {
		t.Error("a full run calls itself quick")
	}
	r := measured()
	r.quick = true
	if !strings.Contains(r.String(), "**A quick run") {
		t.Error("a quick run does not say so")
	}
	if t.Failed() {
		t.Log(text)
	}
}

// A run of which nothing came is a report, too.
func TestReportOfNothing(t *testing.T) {
	text := (&report{}).String()
	for _, want := range []string{
		"| memory, big zone | – MB | – MB | – | ≤ 0.85 × nsd | not measured |",
		"| AXFR, big zone | – s | – s | – | ≤ 1.20 × nsd | not measured |",
		"| from the store | – | – (–) | – |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{5, 1, 3}, 3}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(tc.values); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.values, got, tc.want)
		}
	}
	values := []float64{3, 1, 2}
	median(values)
	if values[0] != 3 {
		t.Error("the values are sorted in place")
	}
}

func TestPerQuery(t *testing.T) {
	if got := perQuery(3*time.Second, 1_000_000); got != 3 {
		t.Errorf("%v µs", got)
	}
}

func TestCPUModel(t *testing.T) {
	if got := cpuModel("processor\t: 0\nmodel\t\t: 17\nmodel name\t: Example CPU @ 3 GHz\n"); got != "Example CPU @ 3 GHz" {
		t.Errorf("%q", got)
	}
	if got := cpuModel("Processor: ARM\n"); got != "unknown" {
		t.Errorf("%q", got)
	}
}
