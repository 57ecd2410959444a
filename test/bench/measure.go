package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/test/server"
)

// meter measures servers.
type meter struct {
	extent
	report                 *report
	serverCore, clientCore int
	dir                    string // for zones and queries
}

// running is a server that is being measured.
type running struct {
	candidate
	*server.Server
	result      *result
	transferred *transferred
	answers     [][]byte
}

// measure measures all servers with one zone.
func (m *meter) measure(t *testing.T, s subject) {
	path := m.zoneFile(t, s)
	set := &set{subject: s}
	m.report.sets = append(m.report.sets, set)

	var live []*running
	for _, c := range m.report.chosen {
		if !c.takes(s.name) {
			continue
		}
		r := &running{candidate: c, result: &result{server: c.name}}
		live = append(live, r)
		set.results = append(set.results, r.result)
	}
	for i := range m.starts {
		for _, r := range live {
			m.load(t, r, server.Zone{Origin: s.origin, File: path, Signed: s.signed})
			if i < m.starts-1 {
				r.Stop()
				continue
			}
			m.loaded(t, s, r)
		}
		if s.large {
			m.restart(t, s, path)
		}
	}
	m.check(t, s, path, live, set)
	m.query(t, s, live)
	for _, r := range live {
		r.Stop()
	}
	if s.large {
		m.transfers(t, set, path)
	}
	if s.fair || s.signed {
		m.reflect(t, s, server.Zone{Origin: s.origin, File: path, Signed: s.signed})
	}
}

// zoneFile writes the zone of a subject.
func (m *meter) zoneFile(t *testing.T, s subject) string {
	path := filepath.Join(m.dir, s.name+".zone")
	if err := s.file(path); err != nil {
		t.Fatal(err)
	}
	if !s.signed {
		return path
	}
	signed, err := sign(m.dir, s.origin, path)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// sign signs the zone in a file with a new key and gives the file of the signed
// zone.
func sign(dir, origin, path string) (string, error) {
	run := func(program string, args ...string) (string, error) {
		cmd := exec.Command(program, args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("%s: %w (it is in the Debian package ldnsutils)", program, err)
		}
		return string(bytes.TrimSpace(out)), nil
	}
	key, err := run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", origin)
	if err != nil {
		return "", err
	}
	signed := path + ".signed"
	_, err = run("ldns-signzone", "-o", origin, "-f", signed, path, key)
	return signed, err
}

// load starts a server and measures what it takes until it answers.
func (m *meter) load(t *testing.T, r *running, z server.Zone) {
	s, age, cpu := m.launch(t, func() *server.Server { return r.start(t, z) })
	r.Server = s
	r.result.loads = append(r.result.loads, age)
	r.result.loadCPU = append(r.result.loadCPU, cpu)
}

// launch starts a server on its core, and gives the time and the CPU time until it
// answers.
func (m *meter) launch(t *testing.T, start func() *server.Server) (s *server.Server, age, cpu time.Duration) {
	// What starts the server passes its core on to it. While the server loads, all
	// that this process does there is to ask now and then.
	m.pin(t, m.serverCore)
	s = start()
	age, err := proc.age(s.PID())
	if err != nil {
		t.Fatal(err)
	}
	if cpu, err = proc.cpu(s.PID()); err != nil {
		t.Fatal(err)
	}
	m.pin(t, m.clientCore)
	return s, age, cpu
}

// loaded measures the memory of a server that has loaded its zone.
func (m *meter) loaded(t *testing.T, s subject, r *running) {
	var err error
	if r.result.loaded, err = proc.pss(r.PID()); err != nil {
		t.Fatal(err)
	}
	if r.result.peak, err = proc.peak(r.PID()); err != nil {
		t.Fatal(err)
	}
	m.noteVersion(t, r.candidate, r.Server)
	progress("%s: %s answers after %.2f s and %.2f s of CPU time, %.0f MB", s.name, r.name, r.result.start(), median(r.result.loadCPU).Seconds(), megabytes(r.result.loaded))
}

func (m *meter) pin(t *testing.T, core int) {
	t.Helper()
	if err := pin(core); err != nil {
		t.Fatal(err)
	}
}

// noteVersion puts the version of a server into the report.
func (m *meter) noteVersion(t *testing.T, c candidate, s *server.Server) {
	if c.name == kernel {
		return
	}
	v := s.Name
	if c.program == "" {
		out, err := exec.Command(server.Binary(t), "-version").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		v = strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", ", ")
	}
	if !slices.Contains(m.report.versions, v) {
		m.report.versions = append(m.report.versions, v)
	}
}

// check compares the answers to a sample of the mix: those of our encoder and of
// each server, with ours or, if that is not measured, with the first.
func (m *meter) check(t *testing.T, s subject, path string, live []*running, set *set) {
	var queries [][]byte
	for i, q := range mix(s, m.sample, 5) {
		b, err := pack(q, uint16(i), s.signed)
		if err != nil {
			t.Fatal(err)
		}
		queries = append(queries, b)
	}
	snap, err := loadZone(s, path)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := answerAll(snap, queries)
	if err != nil {
		t.Fatal(err)
	}
	set.encoded, set.records = meanSize(encoded), snap.Records()
	for _, r := range live {
		if r.name == kernel {
			continue
		}
		if r.answers, err = askAll(r.Addr, queries); err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		r.result.size = meanSize(r.answers)
		if r.result.diff, err = compare(r.name, r.answers, "our encoder", encoded); err != nil {
			t.Fatal(err)
		}
		if d := r.result.diff; d.rcodes > 0 || d.answers > 0 && r.differs == "" {
			t.Errorf("%s: %d of %d answers of %s are not those of our encoder, %d have another response code; the first:\n%s",
				s.name, d.answers, d.asked, r.name, d.rcodes, d.example)
		}
	}
}

// query sends queries to the servers: once all of them, then in rounds, the
// servers taking turns.
func (m *meter) query(t *testing.T, s subject, live []*running) {
	data, err := stream(mix(s, m.queries, 7), s.signed)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(m.dir, "queries")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var first *result
	for _, r := range live {
		l, err := send(t.Context(), r.Addr, file, 0, outstanding)
		if err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		r.result.rcodes, r.result.lost = l.rcodes, l.lost
		switch {
		case r.name == kernel:
		case first == nil:
			first = r.result
		case l.lost+first.lost == 0 && !maps.Equal(l.rcodes, first.rcodes):
			t.Errorf("%s: the response codes of %s are %v, those of %s %v", s.name, r.name, l.rcodes, first.server, first.rcodes)
		}
		if r.result.queried, err = proc.pss(r.PID()); err != nil {
			t.Fatal(err)
		}
	}
	if s.bare {
		return
	}
	for i := range m.rounds {
		for j := range live {
			r := live[(i+j)%len(live)]
			cost, l, err := m.cost(t, r, file)
			if err != nil {
				t.Fatalf("%s: %v", r.name, err)
			}
			r.result.costs = append(r.result.costs, cost)
			r.result.rates = append(r.result.rates, l.rate)
			r.result.lost += l.lost
		}
	}
	for _, r := range live {
		progress("%s: %s takes %.2f µs a query, %.0f MB", s.name, r.name, r.result.cost(), megabytes(r.result.queried))
		if s.fair && r.name == ours {
			m.fairness(t, s, r, file)
		}
	}
}

// cost sends queries to one server for one round and gives the CPU time of each
// in microseconds.
func (m *meter) cost(t *testing.T, r *running, file string) (cost float64, l load, err error) {
	before, err := proc.cpu(r.PID())
	if err != nil {
		return 0, l, err
	}
	if l, err = send(t.Context(), r.Addr, file, m.extent.round, outstanding); err != nil {
		return 0, l, err
	}
	after, err := proc.cpu(r.PID())
	return perQuery(after-before, l.completed), l, err
}

// perQuery gives microseconds of CPU time a query.
func perQuery(cpu time.Duration, queries int) float64 {
	return float64(cpu.Nanoseconds()) / 1e3 / float64(queries)
}

// median gives the middle of the values, the mean of the two middle ones if their
// number is even, and 0 of none.
func median[T ~int64 | ~float64](values []T) T {
	v := slices.Sorted(slices.Values(values))
	switch n := len(v); {
	case n == 0:
		return 0
	case n%2 == 0:
		return (v[n/2-1] + v[n/2]) / 2
	default:
		return v[n/2]
	}
}
