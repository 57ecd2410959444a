// Command bench measures this server beside others on one machine and writes
// what it found to docs/benchmarks.md:
//
//	go run ./test/bench [-part serving|updates] [-quick] [-o FILE] [-servers NAME,...]
//
// Each part is a part of that page, and leaves the other as it is. The part serving
// measures lookups and durable changes in process, first load, first signing,
// restart, memory, zone transfers, CPU time per query, and what the plugin chain
// takes among a flood of queries for the fast path, and compares answers, rcodes and
// message sizes with those of named, knotd, nsd, pdns and gdnsd. The part updates
// measures dynamic updates, also of zones that the servers sign, and queries among
// them, beside named and knotd; with -profile DIR it writes CPU profiles of our
// server there, too.
//
// Servers run on one core, what asks them on another, all
// over the loopback interface. It needs Linux, two cores, taskset and, for the part
// serving, dnsperf. A peer that is not installed is named in the result.
//
// It takes less than twenty minutes. With -quick it takes less than two, with
// smaller zones and fewer rounds, and prints the result instead of writing it; -o
// FILE says otherwise. The binary is built from this tree, or is that which
// TRUSTDNS_COREDNS names.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trustdns/trustdns/test/pslzone"
	"github.com/trustdns/trustdns/test/server"
)

var (
	quickFlag   = flag.Bool("quick", false, "small zones and few rounds, less than two minutes")
	outFlag     = flag.String("o", "", "`file` to write (default docs/benchmarks.md, with -quick none)")
	partFlag    = flag.String("part", serving.name, "`part` of the page to measure for: serving or updates")
	profileFlag = flag.String("profile", "", "`folder` for CPU profiles of our server, part updates only")
	serversFlag = flag.String("servers", names(candidates), "`names` of the servers to measure")
)

// names gives the names of candidates with commas between them.
func names(of []candidate) string {
	list := make([]string, len(of))
	for i, c := range of {
		list[i] = c.name
	}
	return strings.Join(list, ",")
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == reflectMode {
		fmt.Fprintln(os.Stderr, reflect(os.Args[2]))
		os.Exit(1)
	}
	// Package server starts servers for a test and ends them with it, so this is
	// one.
	testing.Main(func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "bench", F: bench}}, nil, nil)
}

// extent is how much is measured.
type extent struct {
	small, medium, big int // owners; big: delegations
	lookups            []int
	rounds             int
	round              time.Duration
	starts             int           // of each server with each zone, the median counts
	commit             time.Duration // of commits to a zone by some writers
	queries            int           // of the mix that each server gets before its memory is read again
	sample             int           // whose answers are compared
}

var (
	full  = extent{small: 1000, medium: 100_000, big: 1_000_000, lookups: []int{1000, 100_000, 1_000_000}, rounds: 5, round: 2500 * time.Millisecond, starts: 3, commit: 8 * time.Second, queries: 100_000, sample: 4000}
	quick = extent{small: 1000, medium: 20_000, big: 50_000, lookups: []int{1000, 20_000}, rounds: 3, round: 400 * time.Millisecond, starts: 1, commit: time.Second, queries: 20_000, sample: 1000}
)

// The extents of the part about updates.
var (
	fullUpdates  = extent{small: 1000, medium: 100_000, rounds: 5, round: 2500 * time.Millisecond}
	quickUpdates = extent{small: 1000, medium: 20_000, rounds: 3, round: 700 * time.Millisecond}
)

// bench measures for one part of the page and writes it.
func bench(t *testing.T) {
	started := time.Now()
	p, err := findPart(*partFlag)
	if err != nil {
		t.Fatal(err)
	}
	out := *outFlag
	if out == "" && !*quickFlag {
		out = filepath.Join("docs", "benchmarks.md")
	}
	if _, err := os.Stat(filepath.Dir(out)); err != nil {
		t.Fatalf("no folder to write the result to, run this in the root of the tree: %v", err)
	}
	removeAtEnd(t)
	ext := p.full
	if *quickFlag {
		ext = p.quick
		if err := flag.Set("test.benchtime", "100ms"); err != nil {
			t.Fatal(err)
		}
	}
	cores, err := proc.cores()
	if err != nil {
		t.Fatal(err)
	}
	if len(cores) < 2 {
		t.Fatalf("this takes two cores, one for a server and one for what asks it; there is %d", len(cores))
	}
	for _, program := range p.needs {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v; it is in the Debian package %s", err, map[string]string{"dnsperf": "dnsperf", "taskset": "util-linux"}[program])
		}
	}
	r := &report{quick: *quickFlag, started: started, machine: readMachine(), extent: ext}
	if err := buildOurs(t); err != nil {
		t.Fatal(err)
	}
	r.chosen, r.missing = choose(t, p.servers(strings.Split(*serversFlag, ",")))
	for _, m := range r.missing {
		progress("not measured: %s", m)
	}
	m := &meter{extent: ext, report: r, serverCore: cores[len(cores)-1], clientCore: cores[0], dir: t.TempDir()}
	if err := pin(m.clientCore); err != nil {
		t.Fatal(err)
	}
	p.measure(m, t)
	r.took = time.Since(started)
	text := p.text(r)
	fmt.Print(text)
	progress("%s", verdicts(p.targets(r)))
	switch {
	case out == "":
		return
	case t.Failed():
		progress("%s is left as it was: something failed", out)
		return
	}
	if err := writePart(out, p, text); err != nil {
		t.Fatal(err)
	}
	progress("wrote %s", out)
}

// measureServing measures all but updates.
func (m *meter) measureServing(t *testing.T) {
	m.idle(t)
	m.inProcess(t)
	m.commits(t)
	m.signFirst(t)
	for _, s := range m.subjects(t) {
		t.Run(s.name, func(t *testing.T) { m.measure(t, s) })
	}
}

// progress tells people how far it is.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// removeAtEnd makes a folder for all temporary files and removes it with the test,
// or when a signal ends this process. The servers end with this process.
func removeAtEnd(t *testing.T) {
	dir, err := os.MkdirTemp("", "trustdns-bench-")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if s, ok := <-signals; ok {
			if err := os.RemoveAll(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			fmt.Fprintln(os.Stderr, "ended by signal:", s)
			os.Exit(1)
		}
	}()
	t.Cleanup(func() {
		signal.Stop(signals)
		close(signals)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
}

// buildOurs builds the binary to measure, unless TRUSTDNS_COREDNS names one.
func buildOurs(t *testing.T) error {
	const variable = "TRUSTDNS_COREDNS"
	if os.Getenv(variable) != "" {
		return nil
	}
	progress("building the server")
	path := filepath.Join(t.TempDir(), "coredns")
	out, err := exec.Command("go", "run", "github.com/trustdns/trustdns/build", "-o", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the server: %w\n%s", err, out)
	}
	t.Setenv(variable, path)
	return nil
}

// inProcess measures lookups in this process.
func (m *meter) inProcess(t *testing.T) {
	var list []subject
	for _, n := range m.lookups {
		list = append(list, mixed("mixed", "bench.example.", n))
	}
	list = append(list, delegations("delegations", "bench.example.", m.big))
	for _, s := range list {
		progress("lookups: %s", s.about)
		path := filepath.Join(m.dir, "lookup.zone")
		if err := s.file(path); err != nil {
			t.Fatal(err)
		}
		l, err := measureLookups(s, path)
		if err != nil {
			t.Fatal(err)
		}
		m.report.lookups = append(m.report.lookups, l)
	}
}

// subjects gives the zones to measure servers with.
func (m *meter) subjects(t *testing.T) []subject {
	signed := mixed("signed", "signed.example.", m.small)
	signed.signed = true
	signed.about += "; signed with ECDSA P-256 and NSEC, asked with DO"
	big := delegations("big", "big.example.", m.big)
	big.large = true
	small := mixed("small", "small.example.", m.small)
	small.fair = true
	list := []subject{
		tiny(),
		small,
		mixed("medium", "medium.example.", m.medium),
		big,
		signed,
	}
	suffixes := false
	t.Run("needs publicsuffix", func(t *testing.T) {
		server.RequireFile(t, pslzone.List, pslzone.Debian)
		suffixes = true
	})
	if !suffixes {
		m.report.missing = append(m.report.missing, "publicsuffix: the Debian package is not installed")
		return list
	}
	text, err := os.ReadFile(pslzone.List)
	if err != nil {
		t.Fatal(err)
	}
	s, err := publicSuffixes(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return append(list, s)
}
