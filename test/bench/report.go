package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// report is all that was measured.
type report struct {
	quick    bool
	started  time.Time
	took     time.Duration
	machine  machine
	extent   extent
	chosen   []candidate
	missing  []string // what could not be measured, and why
	versions []string // of the servers
	lookups  []lookups
	sets     []*set

	restart   restart
	transfers transfers
	commits   []*commits
	disk      latencies // of making a page durable
	fairness  fairness
	idle      idle
	// reflections are floods in the name of one address, by zone.
	reflections []reflection

	updates, signed []*updateSet // of zones that are not signed, and of those that the servers sign
	signing         firstSigning
}

// set is what was measured with one zone.
type set struct {
	subject
	results []*result // in the order of the candidates
	encoded float64   // mean octets of our encoder's answers to the sample
	records int       // of the zone
}

// result is what was measured of one server with one zone. Memory is in bytes.
type result struct {
	server  string
	loads   []time.Duration // from the start of the process to its first answer
	loadCPU []time.Duration // CPU time used until then
	loaded  int64           // memory after that
	peak    int64           // greatest memory of one process until then
	queried int64           // memory after queries
	size    float64         // mean octets of the answers to the sample
	diff    difference      // to our encoder
	rcodes  map[string]int
	lost    int
	costs   []float64 // µs of CPU time a query, by round
	rates   []float64 // answers a second, by round
}

// memory gives the greater of the two measurements of memory, in MB.
func (r *result) memory() float64 { return megabytes(max(r.loaded, r.queried)) }

// start gives the median of the times from start to answer, in seconds.
func (r *result) start() float64 { return median(r.loads).Seconds() }

// cost gives the median of the rounds.
func (r *result) cost() float64 { return median(r.costs) }

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// find gives the result of a server with a zone, an empty one if there is none.
func (r *report) find(zone, server string) *result {
	for _, s := range r.sets {
		if s.name == zone {
			return s.find(server)
		}
	}
	return &result{}
}

// find gives the result of a server, an empty one if there is none.
func (s *set) find(server string) *result {
	for _, res := range s.results {
		if res.server == server {
			return res
		}
	}
	return &result{}
}

// target is a bound that this server has to keep, as a multiple of what another
// takes, or it takes in another case.
type target struct {
	what        string
	ours, other float64 // 0 if it was not measured
	unit, name  string  // of the values, and of the other server or case
	limit       float64
	side        side
}

// side tells which ratios keep a bound.
type side uint8

const (
	atMost  side = iota // the limit and less
	atLeast             // the limit and more
	around              // those that are no further from 1 than the limit
)

// bound gives the bound in words.
func (t target) bound() string {
	switch t.side {
	case atLeast:
		return fmt.Sprintf("≥ %s × %s", number(t.limit, 2), t.name)
	case around:
		return fmt.Sprintf("%s ± %s %%", t.name, number(100*t.limit, 0))
	default:
		return fmt.Sprintf("≤ %s × %s", number(t.limit, 2), t.name)
	}
}

// keeps tells whether a ratio is within the bound.
func (t target) keeps(ratio float64) bool {
	switch t.side {
	case atLeast:
		return ratio >= t.limit
	case around:
		return ratio >= 1-t.limit && ratio <= 1+t.limit
	default:
		return ratio <= t.limit
	}
}

// ratio gives ours as a multiple of the other's, and false if one of them is not
// known.
func (t target) ratio() (float64, bool) {
	if t.ours == 0 || t.other == 0 {
		return 0, false
	}
	return t.ours / t.other, true
}

// What becomes of a target.
const (
	met        = "met"
	missed     = "**missed**"
	unmeasured = "not measured"
)

// verdict tells whether the target is met.
func (t target) verdict() string {
	switch ratio, ok := t.ratio(); {
	case !ok:
		return unmeasured
	case t.keeps(ratio):
		return met
	default:
		return missed
	}
}

// targets gives the targets of this server.
func (r *report) targets() []target {
	list := []target{
		{"memory, big zone", r.find("big", ours).memory(), r.find("big", "nsd").memory(), "MB", "nsd", 0.85, atMost},
		{"first load on one core, big zone", r.find("big", ours).start(), r.find("big", "knotd").start(), "s", "knotd", 1, atMost},
		{"fast path, small zone", r.find("small", ours).cost(), r.find("small", "nsd").cost(), "µs/query", "nsd", 1, atMost},
		{"fast path, small zone", r.find("small", ours).cost(), r.find("small", kernel).cost(), "µs/query", "the kernel limit", 1.2, atMost},
		{"fast path, medium zone", r.find("medium", ours).cost(), r.find("medium", "nsd").cost(), "µs/query", "nsd", 0.95, atMost},
		{"fast path, medium zone", r.find("medium", ours).cost(), r.find("medium", "knotd").cost(), "µs/query", "knotd", 0.75, atMost},
		{"fast path, big zone", r.find("big", ours).cost(), r.find("big", "nsd").cost(), "µs/query", "nsd", 0.95, atMost},
		{"fast path, big zone", r.find("big", ours).cost(), r.find("big", "knotd").cost(), "µs/query", "knotd", 0.75, atMost},
		{"fast path, signed zone", r.find("signed", ours).cost(), r.find("signed", "nsd").cost(), "µs/query", "nsd", 1, atMost},
		{"plugin chain, small zone", r.find("small", chained).cost(), r.find("small", stock).cost(), "µs/query", stock, 0.65, atMost},
		{"cookie and ratelimit on the fast path, small zone", r.find("small", guarded).cost(), r.find("small", ours).cost(), "µs/query", "without", 1.1, atMost},
		{"cookie and ratelimit in the chain, small zone", r.find("small", both).cost(), r.find("small", chained).cost(), "µs/query", "without", 1.05, atMost},
	}
	for _, x := range r.reflections {
		list = append(list, target{"octets to the victim of a reflection, " + x.zone + " zone", float64(x.in), float64(x.out), "octets", "those sent in its name", 1, atMost})
	}
	list = append(list, target{"idle anonymous memory as DNS of a cluster, no zones of ours", megabytes(median(r.idle.ours)), megabytes(median(r.idle.stock)), "MB", "CoreDNS alone", 1.05, atMost})
	list = append(list, target{"p99 of queries for the chain among a flood", inMicroseconds(reached(r.fairness.flood, 0.99)) / 1e3, inMicroseconds(fairBound) / 1e3, "ms", "10 ms", 1, atMost})
	list = append(list, target{"restart from the store on one core, big zone", r.restart.start(), r.find("big", "knotd").start(), "s", "knotd", 0.4, atMost})
	list = append(list, target{fmt.Sprintf("first signing on one core, %d names", r.signing.names), r.signing.find(ours).seconds(), r.signing.find("knotd").seconds(), "s", "knotd", 1.2, atMost})
	for kind, t := range [...]target{
		unsignedAXFR: {what: "AXFR, big zone", limit: 1.2},
		signedAXFR:   {what: "AXFR signed with TSIG, big zone", limit: 4},
	} {
		t.ours, t.other = r.transfers.find(ours).kinds[kind].seconds(), r.transfers.find("nsd").kinds[kind].seconds()
		t.unit, t.name = "s", "nsd"
		list = append(list, t)
	}
	for _, s := range r.sets {
		if !s.bare {
			list = append(list, target{"mean size of answers, " + s.name + " zone", s.encoded, r.find(s.name, "nsd").size, "octets", "nsd", 1.02, atMost})
		}
	}
	return list
}

// head gives the beginning of a part: what wrote it, when and where, and what about
// says of the servers.
func (r *report) head(p part, about string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n`%s` wrote this part of the page and everything in it", p.title, p.command)
	fmt.Fprintf(&b, " on %s, in %s, on this machine: %s.\n", r.started.UTC().Format("2 January 2006"), r.took.Round(time.Second), r.machine)
	if r.quick {
		b.WriteString("\n**A quick run: the zones are smaller and the rounds shorter than the targets are meant for.**\n")
	}
	fmt.Fprintf(&b, "\nServers: %s. %s\n", strings.Join(r.versions, "; "), about)
	for _, m := range r.missing {
		fmt.Fprintf(&b, "\n**Not measured** – %s.\n", m)
	}
	return b.String()
}

// String gives the report of all but updates in Markdown.
func (r *report) String() string {
	var b strings.Builder
	b.WriteString(r.head(serving, fmt.Sprintf("`%s`, `%s` and `%s` are one binary: with the plugins *authority* and *fastpath*, with *authority* alone in the chain, both again with *cookie* and *ratelimit* whose limits nothing reaches (`%s`, `%s`), and with CoreDNS's own *file*. `%s` is no server: it sends each query of the zone small back with QR set, and reads and writes as *fastpath* does.", ours, chained, stock, guarded, both, kernel)))
	b.WriteString("\n### Targets\n\n")
	b.WriteString(targetTable(r.targets()))
	b.WriteString("\n### Zones\n\n")
	zones := table{{"zone", "what is in it"}}
	for _, s := range r.sets {
		zones = append(zones, []string{s.name, s.about})
	}
	b.WriteString(zones.String())

	fmt.Fprintf(&b, "\n### First load, seconds\n\nFrom the start of the process to its first answer with authority, over UDP and TCP, on one core: the median of %d. In parentheses the CPU time of all processes of the server until then, which other work on the machine changes less. The servers are asked every 20 ms. ", r.extent.starts)
	b.WriteString("`tiny` shows what a server takes to start at all.\n\n")
	b.WriteString(r.byServer(r.sets, func(_ *set, res *result) string {
		return withCPU(median(res.loads), median(res.loadCPU), 2)
	}))

	fmt.Fprintf(&b, "\n### Memory, MB\n\nPSS of all processes of the server, after load and after %d queries; in parentheses the greatest RSS that one process had while loading.\n\n", r.extent.queries)
	b.WriteString(r.byServer(r.sets, func(_ *set, res *result) string {
		return fmt.Sprintf("%s / %s (%s)", number(megabytes(res.loaded), 0), number(megabytes(res.queried), 0), number(megabytes(res.peak), 0))
	}))

	b.WriteString(r.restarts())
	b.WriteString(r.signedFirst())
	b.WriteString(r.fetched())
	b.WriteString(r.committed())

	timed := slices.DeleteFunc(slices.Clone(r.sets), func(s *set) bool { return s.bare })
	fmt.Fprintf(&b, "\n### CPU time per query, µs\n\nUser and system time of all processes of the server by answers: the median of %d rounds of %s, in which the servers take turns, with the least and the greatest. ", r.extent.rounds, r.extent.round)
	fmt.Fprintf(&b, "The server has one core, dnsperf another, %d queries are outstanding. In the mix are %s, all with EDNS and %d octets. ", outstanding, describeMix(), udpSize)
	fmt.Fprintf(&b, "`%s` and `%s` go through CoreDNS's plugin chain.\n\n", chained, stock)
	b.WriteString(serverTable(r.chosen, timed, func(_ *set, res *result) string { return ranged(res.costs, 2) }).String())
	b.WriteString("\n### Queries a second\n\nAnswers that came in the same rounds, in thousands. With so few queries outstanding a server may wait for dnsperf, which cannot do more than 350 to 400, and then uses less than its whole core.\n\n")
	b.WriteString(serverTable(r.chosen, timed, func(_ *set, res *result) string { return number(median(res.rates)/1e3, 1) }).String())
	b.WriteString(r.among())
	b.WriteString(r.reflected())

	fmt.Fprintf(&b, "\n### Mean size of answers, octets\n\nOf %d queries of the mix. `encoder` is ours in process; CoreDNS's chain turns the compression of names off for every answer that fits.\n\n", r.extent.sample)
	sizes := serverTable(r.servers(), r.sets, func(_ *set, res *result) string { return number(res.size, 1) })
	sizes[0] = append(sizes[0], "encoder")
	for i, s := range r.sets {
		sizes[i+1] = append(sizes[i+1], number(s.encoded, 1))
	}
	b.WriteString(sizes.String())

	fmt.Fprintf(&b, "\n### Lookups in process\n\nNanoseconds of `Snapshot.Lookup` on one core, of %d names in random order; `whole` is a question of the mix from its message to the message of the answer.\n\n", queriesHeld)
	lk := table{{"zone", "names", "records", "hit", "NXDOMAIN", "referral", "allocations", "whole", "heap bytes a name"}}
	for _, l := range r.lookups {
		lk = append(lk, []string{
			l.zone, fmt.Sprint(l.names), fmt.Sprint(l.records), number(l.hit, 0), number(l.nxdomain, 0), number(l.referral, 0),
			fmt.Sprint(l.allocs), number(l.whole, 0), number(float64(l.heap)/float64(max(1, l.names)), 0),
		})
	}
	b.WriteString(lk.String())

	fmt.Fprintf(&b, "\n### Answers\n\nOf %d queries of the mix, how many a server answers in another way than our encoder does: response code, AA, TC, answer section, authority section of answers without one. ", r.extent.sample)
	b.WriteString("In parentheses, how many of them with another response code. Then the response codes of all queries.\n\n")
	for _, c := range r.chosen {
		if c.differs != "" {
			fmt.Fprintf(&b, "* `%s` may differ: %s.\n\n", c.name, c.differs)
		}
	}
	b.WriteString(r.byServer(r.sets, func(_ *set, res *result) string { return res.answers() }))
	for _, example := range r.examples() {
		b.WriteString(example)
	}
	return b.String()
}

// among gives the section about the chain among a flood of queries for the fast path.
func (r *report) among() string {
	var b strings.Builder
	f := &r.fairness
	fmt.Fprintf(&b, "\n### Queries for the chain among a flood\n\n%d queries a second of the mix for the zone %s that *fastpath* leaves to the plugin chain, for they have the EDNS option EXPIRE: first alone, then while dnsperf sends as many queries for the fast path as it can, of which %d are outstanding. ", slowRate, f.zone, floodOutstanding)
	fmt.Fprintf(&b, "A latency is from before the query is handed to the kernel to when the kernel has the answer; a query that is lost counts as %s. Quantiles are medians of the rounds. `late` is by how much the sender was behind its time, at p99, which is no part of the latency.\n\n", patience)
	t := table{{"", "p50, ms", "p99, ms", "sent", "lost", "late, ms", "flood: thousand answers a second", "lost", "% of its core that the server used"}}
	for _, line := range []struct {
		what   string
		rounds []answered
		*fairness
	}{{"alone", f.idle, &fairness{}}, {"among the flood", f.flood, f}} {
		sent := 0
		for _, a := range line.rounds {
			sent += a.sent
		}
		t = append(t, []string{
			line.what, milliseconds(reached(line.rounds, 0.5)), milliseconds(reached(line.rounds, 0.99)), fmt.Sprint(sent), fmt.Sprint(lostOf(line.rounds)), milliseconds(lateness(line.rounds)),
			number(median(line.rates)/1e3, 1), fmt.Sprint(line.lost), number(100*median(line.busy), 0),
		})
	}
	b.WriteString(t.String())
	return b.String()
}

// reflected gives the section about floods in the name of a victim.
func (r *report) reflected() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n### Reflection\n\nQueries of the mix from one address, %d a second for %s whatever comes back, to a server with *cookie*, *ratelimit* and *fastpath* as they come: what a victim gets whose address is forged, in UDP payload. ", floodRate, r.extent.round)
	b.WriteString("`test.TestReflection` does the same with all addresses of a network, with queries for the greatest answers, and in the chain.\n\n")
	t := table{{"zone", "queries", "octets", "answers", "octets", "octets of answers by those of queries"}}
	for _, x := range r.reflections {
		t = append(t, []string{x.zone, fmt.Sprint(x.sent), fmt.Sprint(x.out), fmt.Sprint(len(x.each)), fmt.Sprint(x.in), number(float64(x.in)/float64(max(1, x.out)), 2)})
	}
	b.WriteString(t.String())
	return b.String()
}

// restarts gives the section about starts from a store.
func (r *report) restarts() string {
	var b strings.Builder
	x := &r.restart
	fmt.Fprintf(&b, "\n### Restart from the store, zone %s\n\nOurs with `store`, ended by SIGTERM and started again, measured as the first load is, between the first loads of that zone by all servers: the median of %d. ", x.zone, len(x.again))
	b.WriteString("What of the store is in the page cache is what the start before has left there: nothing empties it. Memory is PSS when the server answers, in two parts: the store is mapped, and the kernel can take pages of files back. In parentheses CPU time, and the greatest RSS until then.\n\n")
	again := start{
		took:      middle(x.again, func(s start) time.Duration { return s.took }),
		cpu:       middle(x.again, func(s start) time.Duration { return s.cpu }),
		anonymous: middle(x.again, func(s start) int64 { return s.anonymous }),
		files:     middle(x.again, func(s start) int64 { return s.files }),
		peak:      middle(x.again, func(s start) int64 { return s.peak }),
	}
	t := table{{"start", "seconds", "anonymous memory, MB", "pages of files, MB"}}
	for _, line := range []struct {
		what string
		start
	}{{"from the file, fills the store", x.filling}, {"from the store", again}} {
		t = append(t, []string{
			line.what, withCPU(line.took, line.cpu, 2), number(megabytes(line.anonymous), 0) + " (" + number(megabytes(line.peak), 0) + ")",
			number(megabytes(line.files), 0),
		})
	}
	b.WriteString(t.String())
	fmt.Fprintf(&b, "\nThe store has %s MB.\n", number(megabytes(x.disk), 0))
	return b.String()
}

// signedFirst gives the section about the first signing of a zone.
func (r *report) signedFirst() string {
	var b strings.Builder
	x := &r.signing
	fmt.Fprintf(&b, "\n### First signing, seconds\n\nFrom the start of the process, with a zone of %d names that has no signatures and no keys, to the first answer that has the SOA record with a right signature, on one core: the median of the starts, with CPU time of the server in parentheses. ", x.names)
	fmt.Fprintf(&b, "Of %d names that exist and as many that do not the answers are then checked, too; where those were not signed yet, the time is that until they were. ", signedSample)
	b.WriteString("What is signed is durable as an update is: the servers have the settings of the part about updates of signed zones. ")
	b.WriteString("`named` signs in the background, here in steps of 1,000 signatures (`sig-signing-signatures`) and not of 10, with which it takes several times as long, and is started once.\n\n")
	t := table{{"server", "seconds", "starts"}}
	for _, res := range x.results {
		took := withCPU(median(res.took), median(res.cpu), 2)
		if res.failed != "" {
			took = "fails: " + res.failed
		}
		t = append(t, []string{res.server, took, fmt.Sprint(len(res.took))})
	}
	b.WriteString(t.String())
	return b.String()
}

// fetched gives the section about transfers.
func (r *report) fetched() string {
	var b strings.Builder
	x := &r.transfers
	fmt.Fprintf(&b, "\n### AXFR of the zone %s, seconds\n\nFrom before the connection to the last octet of %d records, the server on one core, the client on another: the median of %d rounds in which the servers take turns, with CPU time of the server in parentheses. ", x.zone, x.records+1, r.extent.rounds)
	b.WriteString("The client counts records by the headers of messages, compares the SOA records at both ends, and checks every signature (HMAC-SHA256). ")
	fmt.Fprintf(&b, "All that it needs for our answer, sent by a thread that has it ready, is %s s, and %s s signed. ", number(x.client[unsignedAXFR].Seconds(), 3), number(x.client[signedAXFR].Seconds(), 3))
	fmt.Fprintf(&b, "Beside *authority*, ours has the plugin *keys* in the chain; `%s` has *tsig* and *transfer*.\n\n", stock)
	t := table{{"server", "unsigned", "MB", "messages", "signed", "MB", "messages"}}
	for _, res := range x.results {
		line := []string{res.server}
		for _, k := range res.kinds {
			if k.failed != "" {
				line = append(line, "fails: "+k.failed, number(0, 0), number(0, 0))
				continue
			}
			line = append(line, withCPU(median(k.took), median(k.cpu), 3), number(megabytes(k.octets), 1), fmt.Sprint(k.messages))
		}
		t = append(t, line)
	}
	b.WriteString(t.String())
	s, u := x.find(ours).kinds[signedAXFR].seconds(), x.find("nsd").kinds[unsignedAXFR].seconds()
	if s > 0 && u > 0 {
		fmt.Fprintf(&b, "\nOurs signed takes %.2f times what nsd takes without signatures.\n", s/u)
	}
	return b.String()
}

// committed gives the section about durable changes.
func (r *report) committed() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n### Durable changes in process\n\nWriters that change the address of one host after another through `zonedb`, each waiting until its change is in the store (%s each, on one core, on the disk of the temporary folder). Changes that wait together are one version. ", r.extent.commit)
	fmt.Fprintf(&b, "In turn with them the disk is measured: writing %d octets and fdatasync. ", pageSize)
	b.WriteString("The last columns are what a lookup takes before the changes and among them: a reader that waited for a writer would show there.\n\n")
	t := table{{"names", "writers", "a second", "p50, ms", "p99, ms", "changes a version", "lookup p99, µs: idle", "among changes"}}
	row := func(names, writers string, l *latencies, batch float64, idle, busy *latencies) {
		t = append(t, []string{
			names, writers, number(l.rate(), 0), milliseconds(l.quantile(0.5)), milliseconds(l.quantile(0.99)), number(batch, 1),
			microseconds(idle.quantile(0.99)), microseconds(busy.quantile(0.99)),
		})
	}
	for _, c := range r.commits {
		row(fmt.Sprint(c.names), fmt.Sprint(c.writers), &c.latencies, float64(len(c.each))/float64(max(1, c.versions)), &c.idle, &c.busy)
	}
	row("the disk", "1", &r.disk, 0, &latencies{}, &latencies{})
	b.WriteString(t.String())
	return b.String()
}

// withCPU gives seconds, with so many digits after the point, and those of CPU time
// in parentheses; "–" for 0: what was not measured.
func withCPU(took, cpu time.Duration, digits int) string {
	if took == 0 {
		return number(0, 0)
	}
	return fmt.Sprintf("%.*f (%.2f)", digits, took.Seconds(), cpu.Seconds())
}

func milliseconds(d time.Duration) string { return number(float64(d.Microseconds())/1e3, 2) }

func microseconds(d time.Duration) string { return number(float64(d.Nanoseconds())/1e3, 1) }

// answers sums up how a server answered.
func (r *result) answers() string {
	if r.diff.asked == 0 {
		return number(0, 0)
	}
	text := fmt.Sprintf("%d (%d); %s", r.diff.answers, r.diff.rcodes, describeRcodes(r.rcodes))
	if r.lost > 0 {
		text += fmt.Sprintf("; %d lost", r.lost)
	}
	return text
}

// examples shows, for each server, the first answer that is not that of our
// encoder.
func (r *report) examples() (list []string) {
	for _, c := range r.chosen {
		for _, s := range r.sets {
			if d := r.find(s.name, c.name).diff; d.example != "" {
				list = append(list, fmt.Sprintf("\nFor example, zone %s:\n\n```\n%s\n```\n", s.name, d.example))
				break
			}
		}
	}
	return list
}

// verdicts counts targets by what became of them.
func verdicts(targets []target) string {
	n := map[string]int{}
	for _, t := range targets {
		n[t.verdict()]++
	}
	return fmt.Sprintf("%d targets met, %d missed, %d not measured", n[met], n[missed], n[unmeasured])
}

// targetTable gives targets with what became of them.
func targetTable(targets []target) string {
	t := table{{"what", "ours", "theirs", "ratio", "target", ""}}
	for _, x := range targets {
		ratio := "–"
		if v, ok := x.ratio(); ok {
			ratio = number(v, 3)
		}
		t = append(t, []string{
			x.what, number(x.ours, 2) + " " + x.unit, number(x.other, 2) + " " + x.unit, ratio,
			x.bound(), x.verdict(),
		})
	}
	return t.String()
}

// byServer gives a table with a line for each zone and a column for each server.
func (r *report) byServer(sets []*set, cell func(*set, *result) string) string {
	return serverTable(r.servers(), sets, cell).String()
}

// servers gives the candidates that serve zones.
func (r *report) servers() []candidate {
	return slices.DeleteFunc(slices.Clone(r.chosen), func(c candidate) bool { return c.name == kernel })
}

// serverTable gives a table with a line for each zone and a column for each of some
// servers.
func serverTable(servers []candidate, sets []*set, cell func(*set, *result) string) table {
	head := []string{"zone"}
	for _, c := range servers {
		head = append(head, c.name)
	}
	t := table{head}
	for _, s := range sets {
		line := []string{s.name}
		for _, c := range servers {
			line = append(line, cell(s, s.find(c.name)))
		}
		t = append(t, line)
	}
	return t
}

// describeMix gives the mix in words.
func describeMix() string {
	var parts []string
	for _, s := range shares {
		parts = append(parts, fmt.Sprintf("%g %% %s", float64(100*s.part)/mixTotal, s.kind))
	}
	return strings.Join(parts, ", ")
}

// describeRcodes gives response codes with their numbers.
func describeRcodes(rcodes map[string]int) string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(rcodes)) {
		parts = append(parts, fmt.Sprintf("%s %d", code, rcodes[code]))
	}
	return strings.Join(parts, ", ")
}

// number gives a number with so many digits after the point, "–" for 0: what was
// not measured.
func number(v float64, digits int) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f", digits, v)
}

// table is a table of Markdown. Its first line is the head.
type table [][]string

// String gives the table in Markdown.
func (t table) String() string {
	var b strings.Builder
	for i, line := range t {
		b.WriteString("| " + strings.Join(line, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", len(line)) + "\n")
		}
	}
	return b.String()
}
