package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// What is measured of updates.
const (
	steadyRate = 5000                   // queries a second beside the updates
	warmUp     = 100 * time.Millisecond // of updates before what is measured
	pause      = 200 * time.Millisecond // between two measurements, for what is left to do
)

// clientsAtOnce are the numbers of clients to measure: one, and many.
var clientsAtOnce = [2]int{1, 32}

// The places of clientsAtOnce.
const (
	alone = iota
	many
)

// updateSet is what was measured of updates in one zone.
type updateSet struct {
	names   int
	signed  bool       // by the servers
	results []*updated // in the order of the servers
}

// String names the zone.
func (s *updateSet) String() string {
	if s.signed {
		return fmt.Sprintf("%d names, signed", s.names)
	}
	return fmt.Sprintf("%d names", s.names)
}

// updated is what was measured of one server.
type updated struct {
	server    string
	validator *validator // of the signed zone; nil: it is not signed
	clients   [2]updates // as in clientsAtOnce
	idle      []answered // queries without updates, by round
	storm     []answered // queries among the updates of many clients
	beside    []float64  // updates a second beside those queries
	writers   []*writer
	records   int // of the zone at the end, which are those acknowledged
	metricsAt string
}

// updates is what came of updates, by round.
type updates struct {
	rates []float64       // acknowledged a second
	costs []float64       // µs of CPU time of the server an update
	batch []float64       // updates made durable together; 0: unknown
	each  latencies       // all rounds together
	again int             // requests that were sent again
	own   []float64       // µs of CPU time of the client an update
	load  []float64       // part of its core that the client used
	waits []time.Duration // until all signatures were there, in a signed zone
}

// answered is what came of queries at a steady rate.
type answered struct {
	latencies
	sent, lost int
	out, in    int64           // octets of the queries and of the answers
	late       []time.Duration // how long after their time queries were sent
}

// quantiles gives the median of the rounds of a quantile.
func quantiles(rounds []answered, part float64) time.Duration {
	var list []time.Duration
	for i := range rounds {
		list = append(list, rounds[i].quantile(part))
	}
	return median(list)
}

func lostOf(rounds []answered) (lost int) {
	for i := range rounds {
		lost += rounds[i].lost
	}
	return lost
}

// ratio gives the p99 of queries among updates as a multiple of that without, 0 if
// one is not known.
func (u *updated) ratio() float64 {
	idle := quantiles(u.idle, 0.99)
	if idle == 0 {
		return 0
	}
	return float64(quantiles(u.storm, 0.99)) / float64(idle)
}

// updaters are the servers that take updates.
var updaters = []string{ours, "knotd", "named"}

// measureUpdates measures updates of zones of two sizes, first as they are and then
// signed by the servers.
func (m *meter) measureUpdates(t *testing.T) {
	runtime.GOMAXPROCS(2) // one place is that of the sender of queries, whatever the clients do
	for _, signed := range []bool{false, true} {
		for i, names := range []int{m.small, m.medium} {
			s := mixed("updates", "updates.example.", names)
			path := filepath.Join(m.dir, fmt.Sprintf("updates%d.zone", i))
			if err := s.file(path); err != nil {
				t.Fatal(err)
			}
			name, servers, into := fmt.Sprint(names), m.report.chosen, &m.report.updates
			if signed {
				name, servers, into = name+" signed", signers(servers), &m.report.signed
			}
			t.Run(name, func(t *testing.T) { *into = append(*into, m.updateSet(t, s, path, servers, signed)) })
		}
	}
}

// updateSet measures the servers with one zone, in turn.
func (m *meter) updateSet(t *testing.T, s subject, path string, servers []candidate, signed bool) *updateSet {
	snap, err := loadZone(s, path)
	if err != nil {
		t.Fatal(err)
	}
	set := &updateSet{names: snap.Names(), signed: signed}
	base := snap.Records()
	var live []*running
	for _, c := range servers {
		r := &running{candidate: c}
		u := &updated{server: c.name}
		r.Server, _, _ = m.launch(t, func() *server.Server {
			return startUpdated(t, u, server.Zone{Origin: s.origin, File: path, Key: &benchKey}, signed)
		})
		defer r.Stop()
		m.noteVersion(t, c, r.Server)
		for n := range clientsAtOnce[many] {
			w, err := newWriter(r.Addr, s.origin, n, &benchKey)
			if err != nil {
				t.Fatal(err)
			}
			defer w.conn.Close()
			u.writers = append(u.writers, w)
		}
		// The first updates may take long: knotd makes its journal then.
		_, err := stormFor(u.writers, warmUp)
		if err == nil {
			err = u.awaitSigned(s.origin, u.writers, nil)
		}
		if err != nil {
			t.Fatalf("%s: %v; its log ends with:\n%s", c.name, err, lastLines(r.Log(), 5))
		}
		live = append(live, r)
		set.results = append(set.results, u)
	}
	messages, err := packAll(mix(s, queriesHeld/40*40, 11), false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.rounds {
		if err := syncPages(filepath.Join(m.dir, "pages"), m.round/8, &m.report.disk); err != nil {
			t.Fatal(err)
		}
		for j := range live {
			k := (i + j) % len(live)
			if err := m.updateRound(t.Context(), s, live[k], set.results[k], messages); err != nil {
				t.Fatalf("%s: %v; its log ends with:\n%s", live[k].name, err, lastLines(live[k].Log(), 5))
			}
		}
	}
	for k, r := range live {
		u := set.results[k]
		if r.name == ours && *profileFlag != "" {
			m.profile(t, r, u, set)
		}
		if u.records, err = verifyZone(r.Addr, s.origin, base, u.writers, &benchKey, u.validator); err != nil {
			t.Errorf("%s: %s: %v", set, r.name, err)
		}
		progress("%s: %s makes %.0f updates/s for one client and %.0f for %d, at %.0f µs each; query p99 is %s times that without", set, r.name,
			median(u.clients[alone].rates), median(u.clients[many].rates), clientsAtOnce[many], median(u.clients[many].costs), number(u.ratio(), 2))
	}
	return set
}

// rest lets a server be for that time.
func rest(d time.Duration) { <-time.After(d) }

// updateRound measures one server for one round: updates, and unless it signs its
// zone, queries without updates and among them.
func (m *meter) updateRound(ctx context.Context, s subject, r *running, u *updated, messages [][]byte) error {
	for i, clients := range clientsAtOnce {
		rest(pause)
		if err := m.updates(ctx, s, r, u, &u.clients[i], u.writers[:clients]); err != nil {
			return fmt.Errorf("%d clients: %w", clients, err)
		}
	}
	if u.validator != nil {
		return nil
	}
	rest(pause)
	a, err := steady(r.Addr, messages, steadyRate, m.round)
	if err != nil {
		return fmt.Errorf("queries: %w", err)
	}
	u.idle = append(u.idle, a)

	stop, done := make(chan struct{}), make(chan error, 1)
	var made acknowledged
	go func() {
		var err error
		made, err = storm(u.writers, stop)
		done <- err
	}()
	rest(warmUp)
	a, err = steady(r.Addr, messages, steadyRate, m.round)
	close(stop)
	if err := errors.Join(err, <-done); err != nil {
		return fmt.Errorf("queries among updates: %w", err)
	}
	u.storm = append(u.storm, a)
	u.beside = append(u.beside, made.rate())
	u.clients[many].again += made.again
	return nil
}

// updates lets clients make updates for one round.
func (m *meter) updates(ctx context.Context, s subject, r *running, u *updated, into *updates, writers []*writer) error {
	batches, err := newBatches(ctx, s, r, u)
	if err != nil {
		return err
	}
	before, err := proc.cpu(r.PID())
	if err != nil {
		return err
	}
	a, err := stormFor(writers, m.round)
	if err == nil {
		err = u.awaitSigned(s.origin, writers, func(wait time.Duration) {
			a.took += wait
			into.waits = append(into.waits, wait)
		})
	}
	if err != nil {
		return err
	}
	after, err := proc.cpu(r.PID())
	if err != nil {
		return err
	}
	n := len(a.each)
	if n == 0 {
		return errors.New("no update was acknowledged")
	}
	batch, err := batches.mean(ctx, n)
	if err != nil {
		return err
	}
	into.rates = append(into.rates, a.rate())
	into.costs = append(into.costs, perQuery(after-before, n))
	into.own = append(into.own, perQuery(a.client, n))
	into.load = append(into.load, a.client.Seconds()/a.took.Seconds())
	into.batch = append(into.batch, batch)
	into.again += a.again
	into.each.each = append(into.each.each, a.each...)
	into.each.took += a.took
	return nil
}

// packAll gives the messages that ask questions.
func packAll(qs []question, do bool) ([][]byte, error) {
	list := make([][]byte, len(qs))
	for i, q := range qs {
		var err error
		if list[i], err = pack(q, 0, do); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// batches finds out how many updates a server makes durable together: ours has a
// metric of it, others raise the serial once for each batch.
type batches struct {
	subject
	*running
	metricsAt  string
	sum, count float64 // of the metric
	serial     uint32
}

func newBatches(ctx context.Context, s subject, r *running, u *updated) (*batches, error) {
	b := &batches{subject: s, running: r, metricsAt: u.metricsAt}
	return b, b.read(ctx)
}

func (b *batches) read(ctx context.Context) (err error) {
	if b.metricsAt != "" {
		b.sum, b.count, err = batchMetric(ctx, b.metricsAt)
		return err
	}
	m := new(dns.Msg)
	m.SetQuestion(b.origin, dns.TypeSOA)
	m.RecursionDesired = false
	answer, err := dns.ExchangeContext(ctx, m, b.Addr.String())
	if err != nil {
		return err
	}
	for _, rr := range answer.Answer {
		if soa, ok := rr.(*dns.SOA); ok {
			b.serial = soa.Serial
			return nil
		}
	}
	return errors.New("no SOA record")
}

// mean gives updates a batch since the time before, after n updates; 0 if nothing is
// known.
func (b *batches) mean(ctx context.Context, n int) (float64, error) {
	old := *b
	if err := b.read(ctx); err != nil {
		return 0, err
	}
	if b.metricsAt != "" {
		return (b.sum - old.sum) / max(1, b.count-old.count), nil
	}
	return float64(n) / float64(max(1, b.serial-old.serial)), nil
}

// batchMetric gives the sum and the count of coredns_update_batch_size.
func batchMetric(ctx context.Context, at string) (sum, count float64, err error) {
	body, err := get(ctx, "http://"+at+"/metrics")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		into := map[string]*float64{"coredns_update_batch_size_sum": &sum, "coredns_update_batch_size_count": &count}[name]
		if into == nil {
			continue
		}
		if *into, err = strconv.ParseFloat(value, 64); err != nil {
			return 0, 0, err
		}
	}
	return sum, count, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// profileTime is how long our server is profiled.
const profileTime = 5 * time.Second

// profile writes CPU profiles of our server for each number of clients.
func (m *meter) profile(t *testing.T, r *running, u *updated, set *updateSet) {
	for _, clients := range clientsAtOnce {
		rest(pause)
		stop, done := make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := storm(u.writers[:clients], stop)
			done <- err
		}()
		body, err := get(t.Context(), fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", profileAddress(u.metricsAt), int(profileTime.Seconds())))
		close(stop)
		if err := errors.Join(err, <-done); err != nil {
			t.Fatalf("profile of %s: %v", r.name, err)
		}
		kind := ""
		if set.signed {
			kind = "signed-"
		}
		path := filepath.Join(*profileFlag, fmt.Sprintf("update-%s%d-%d.pprof", kind, set.names, clients))
		if err := os.WriteFile(path, body, 0o644); err != nil {
			t.Fatal(err)
		}
		progress("wrote %s", path)
	}
}

// profileAddress gives where profiles are, of where metrics are: the same port at
// another address.
func profileAddress(metricsAt string) string {
	_, port, _ := net.SplitHostPort(metricsAt)
	return net.JoinHostPort("127.0.0.2", port)
}

// startUpdated starts a server as primary of a zone that who has its key may change
// and fetch, with a copy of the file. What it writes goes to a file. With signed it
// signs the zone, with one key for ECDSA P-256 and with NSEC; named begins with a
// signed one, for it signs in the background, in small steps (see namedSteps).
func startUpdated(t testing.TB, u *updated, z server.Zone, signed bool) *server.Server {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "zone")
	if err := copyFile(file, z.File); err != nil {
		t.Fatal(err)
	}
	z.File = file
	var s *server.Server
	switch {
	case u.server == ours:
		port, err := server.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		u.metricsAt = fmt.Sprintf("127.0.0.1:%d", port)
		s = server.StartOurs(t, oursUpdated(z, dir, u.metricsAt, *profileFlag != "", signed), z.Origin)
	case u.server == "knotd":
		s = startOther(t, u.server, `-c "$2"`, knotdUpdated(z, dir, signed), z.Origin)
	case signed:
		if err := presign(dir, z.Origin, file, u.server == inlined); err != nil {
			t.Fatal(err)
		}
		s = startOther(t, "named", `-g -n 1 -c "$2"`, namedUpdated(z, dir, namedPolicy(u.server == inlined)), z.Origin)
	default:
		s = startOther(t, "named", `-g -n 1 -c "$2"`, namedUpdated(z, dir, ""), z.Origin)
	}
	if signed {
		u.validator = newValidator(s.Addr, z.Origin)
	}
	return s
}

// oursUpdated gives our Corefile. The metrics are in a block of their own, so that
// they are not in the chain of what is measured.
func oursUpdated(z server.Zone, dir, metricsAt string, profiled, signed bool) string {
	pprof, dnssec := "", ""
	if profiled {
		pprof = "\n\tpprof " + profileAddress(metricsAt)
	}
	if signed {
		dnssec = "\n\t\tdnssec"
	}
	_, port, _ := net.SplitHostPort(metricsAt)
	return fmt.Sprintf(`%[1]s:%[2]s {
	bind 127.0.0.1
	keys {
		tsig %[3]s %[4]s %[5]s
	}
	authority {
		file %[6]s seed
		store %[7]s/store
		transfer key %[3]s%[11]s
	}
	fastpath
	update {
		grant %[3]s zonesub
	}
}
metrics.invalid:%[8]s {
	bind 127.0.0.3
	prometheus %[9]s%[10]s
}
`, z.Origin, server.Port, z.Key.Name, z.Key.Algorithm, z.Key.Secret, z.File, dir, port, metricsAt, pprof, dnssec)
}

// namedUpdated gives a configuration for named with the settings that package server
// has for it, and more for the zone.
func namedUpdated(z server.Zone, dir, more string) string {
	return fmt.Sprintf(`options {
	directory %[1]q;
	pid-file none;
	session-keyfile none;
	listen-on port %[2]s { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
	minimal-responses no-auth;
	notify no;
	check-integrity no;
	empty-zones-enable no;
	dnssec-validation no;
};
controls { };
key %[3]q { algorithm %[4]s; secret %[5]q; };
zone %[6]q {
	type primary;
	file %[7]q;
	allow-update { key %[3]q; };
	allow-transfer { key %[3]q; };
%[8]s};
`, dir, server.Port, z.Key.Name, z.Key.Algorithm, z.Key.Secret, z.Origin, z.File, more)
}

// knotdUpdated gives a configuration for knotd with the settings that package server
// has for it, but the journal as it comes, and without writing the zone file after
// each change: it is faster so.
func knotdUpdated(z server.Zone, dir string, signed bool) string {
	policy, signing := "", ""
	if signed {
		policy = "policy:\n  - id: single\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n    nsec3: off\n"
		signing = "    dnssec-signing: on\n    dnssec-policy: single\n"
	}
	return fmt.Sprintf(`server:
    rundir: %[1]q
    listen: 127.0.0.1@%[2]s
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: %[1]q
key:
  - id: %[3]q
    algorithm: %[4]s
    secret: %[5]q
acl:
  - id: key
    address: 127.0.0.0/8
    key: %[3]q
    action: [transfer, update]
%[8]szone:
  - domain: %[6]q
    file: %[7]q
    acl: key
    semantic-checks: off
    zonefile-sync: -1
%[9]s`, dir, server.Port, z.Key.Name, z.Key.Algorithm, z.Key.Secret, z.Origin, z.File, policy, signing)
}

// startOther starts a peer with a configuration in which [server.Port] stands for the
// port. args are its arguments in the words of the shell, "$2" the file of that.
func startOther(t testing.TB, program, args, conf, zone string) *server.Server {
	t.Helper()
	path, err := findProgram(program)
	if err != nil {
		t.Fatal(err)
	}
	// What starts our binary gives it the arguments -conf FILE.
	script := filepath.Join(t.TempDir(), program)
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\nexec '%s' %s\n", path, args), 0o755); err != nil {
		t.Fatal(err)
	}
	s := server.StartBinary(t, script, conf, zone)
	s.Name = program + " " + programVersion(path)
	return s
}

// findProgram finds a program also in the folders of system programs, which are not
// in everybody's PATH.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	return path, err
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// programVersion gives the version that a program says it has.
func programVersion(path string) string {
	out, err := exec.Command(path, "-V").CombinedOutput()
	if v := versionNumber.Find(out); v != nil {
		return string(v)
	}
	return fmt.Sprintf("of unknown version (%v)", err)
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
	}()
	_, err = io.Copy(out, bufio.NewReader(in))
	return err
}

// lastLines gives the last n lines of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(slices.Clone(lines[max(0, len(lines)-n):]), "\n")
}
