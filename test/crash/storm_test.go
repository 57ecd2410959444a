package crash

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/secondary"
)

var (
	rounds = flag.Int("rounds", 20, "how often the server is killed while zones are updated")
	seed   = flag.Uint64("seed", 0, "what decides when it is killed and what is asked for; 0: another each time")
)

// Sizes of a storm.
const (
	writers  = 32
	counters = 2
	// constant is how many records never change. With them the difference between any two versions has less records than the
	// zone.
	constant = 1200
	// depth is how many changes the history has at the most.
	depth = 10000
)

// Parts of the zone, besides one for each writer and counter: records with leases, and those that never change.
const (
	leases = "leases"
	rest   = "rest"
)

// A storm is a zone that many clients update while the server is killed.
type storm struct {
	history
	server  *server.Server
	metrics string // the address
	key     *server.Key
	rng     *rand.Rand // of plans and of what is asked for
	sample  *rand.Rand // of serials that are looked at again
	soa     dns.RR

	writers  []*writer
	counters []*counter
	fixed    books // what never changes

	mu      sync.Mutex // guards the books of writers and counters while there is load
	changes uint32     // that were acknowledged since the zone was inspected, each with a serial of its own

	inspected int // how many of the serials there were when the zone was inspected
	kills     map[string]int
	checked   int // versions from which IXFR was taken
}

// A plan is how the server is killed in a round.
type plan struct {
	step  string        // of a commit; "": at any time
	count int           // at which it comes there
	after time.Duration // when it is killed at the latest, since it was started or since there is load
	start bool          // it is killed while it starts
	down  bool          // it stays down until leases have ended
}

func (p plan) String() string {
	switch {
	case p.start:
		return fmt.Sprintf("killed %v after its start", p.after)
	case p.step == "":
		return fmt.Sprintf("killed after %v", p.after)
	default:
		return fmt.Sprintf("killed at %s:%d", p.step, p.count)
	}
}

// plans gives as many plans as there are steps, and some at any time.
func plans(rng *rand.Rand) (list []plan) {
	for _, step := range steps {
		list = append(list, plan{step: step, count: 1 + rng.IntN(150), after: 6 * time.Second})
	}
	for range 2 {
		list = append(list, plan{after: time.Duration(rng.IntN(800)) * time.Millisecond})
	}
	list[rng.IntN(len(list))].down = true
	list = append(list, plan{start: true, after: time.Duration(rng.IntN(60)) * time.Millisecond})
	rng.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	return list
}

// Many clients update a zone, and the server is killed at each step of a commit and at any time, always on the same store. Each
// time all that was acknowledged must be there, no request half done, and the history complete.
func TestUpdates(t *testing.T) {
	t.Parallel()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	s := newStorm(t, *seed)
	var next []plan
	for round := range *rounds {
		if len(next) == 0 {
			next = plans(s.rng)
		}
		p := next[0]
		next = next[1:]
		s.round(t, p)
		if t.Failed() {
			t.Fatalf("round %d of seed %d, %v", round, *seed, p)
		}
		if (round+1)%20 == 0 && *rounds > 20 {
			t.Logf("%d rounds: %s", round+1, s.summary())
		}
	}
	err := s.start(plan{})
	if err == nil {
		err = s.chainTo(s.serials)
	}
	if err != nil {
		t.Fatalf("after %d rounds of seed %d: %v", *rounds, *seed, err)
	}
	for _, step := range steps {
		if s.kills[step] == 0 && *rounds >= 2*len(steps) {
			t.Errorf("the server never came to %q", step)
		}
	}
	t.Log(s.summary())
}

func (s *storm) summary() string {
	var kills []string
	n := 0
	for _, step := range slices.Sorted(maps.Keys(s.kills)) {
		kills = append(kills, fmt.Sprintf("%s %d", step, s.kills[step]))
		n += s.kills[step]
	}
	return fmt.Sprintf("killed %d times (%s), %d serials, %d of them seen, IXFR from %d", n, strings.Join(kills, ", "),
		s.last-s.serials[0], len(s.serials), s.checked)
}

// newStorm starts a server with a zone in a new store.
func newStorm(t *testing.T, seed uint64) *storm {
	t.Helper()
	s := &storm{
		history: newHistory("storm.example."),
		key:     &server.Key{Name: "writer.example.", Algorithm: "hmac-sha256", Secret: "i9M+00yrECfVZG2qCjr4mPpaGim/Bq+IWMiNrLjUO4Y="},
		rng:     rand.New(rand.NewPCG(seed, 0)),
		sample:  rand.New(rand.NewPCG(seed, 1)),
		kills:   make(map[string]int),
	}
	s.reach = depth
	for i := range writers {
		w := &writer{storm: s, label: fmt.Sprintf("w%d", i), network: "udp", ids: uint16(i * (1 << 16 / writers))}
		if i%2 > 0 {
			w.network = "tcp"
		}
		s.writers = append(s.writers, w)
	}
	for i := range counters {
		s.counters = append(s.counters, &counter{label: fmt.Sprintf("k%d", i), counted: make(map[int]string), lost: make(map[int]bool)})
	}

	dir := t.TempDir()
	file := filepath.Join(dir, "seed")
	if err := os.WriteFile(file, []byte(s.text()), 0o644); err != nil {
		t.Fatal(err)
	}
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s.metrics = fmt.Sprintf("127.0.0.1:%d", port)
	s.server = server.StartBinary(t, server.CrashingBinary(t), fmt.Sprintf(`.:%s {
	bind 127.0.0.1
	prometheus %s
	keys {
		tsig %s %s %s
	}
	authority %s {
		file %s seed
		store %s
		journal %d 1G
		transfer net 127.0.0.1
	}
	update {
		grant any zonesub
		lease 1h 1s 24h
	}
}
`, server.Port, s.metrics, s.key.Name, s.key.Algorithm, s.key.Secret, s.client.Zone, file, filepath.Join(dir, "store"), depth), s.client.Zone)
	s.client.Addr = s.server.Addr.String()
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	s.server.Stop()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	return s
}

// text gives the zone file. It has a record in each part of the zone, so that none is ever empty. The first changes take the
// serial over the wrap.
func (s *storm) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s\n$TTL 60\n@ SOA ns1 hostmaster 4294967000 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.1\nhere.%s TXT here\n", s.client.Zone, leases)
	for _, w := range s.writers {
		fmt.Fprintf(&b, "here.%s TXT here\n", w.label)
	}
	for _, c := range s.counters {
		for _, rr := range c.records(s.client.Zone, 0) {
			fmt.Fprintln(&b, rr)
		}
	}
	for i := range constant {
		fmt.Fprintf(&b, "n%[1]d.%[2]s TXT %[1]d\n", i, rest)
	}
	return b.String()
}

// open begins the books with the zone as it is.
func (s *storm) open() error {
	a, err := s.client.AXFR()
	if err != nil {
		return err
	}
	v, err := secondary.NewVersion(a.Records)
	if err != nil {
		return err
	}
	s.soa = a.SOA
	var fixed []dns.RR
	at := make(map[string][]dns.RR)
	for _, rr := range a.Records {
		part := s.part(rr.Header().Name)
		if at[part] = append(at[part], rr); part == rest {
			fixed = append(fixed, rr)
		}
	}
	err = errors.Join(s.note(v), s.fixed.ask(append([]dns.RR{s.soa}, fixed...)))
	for _, w := range s.writers {
		w.present = at[w.label]
		err = errors.Join(err, w.ask(append([]dns.RR{s.soa}, w.present...)))
	}
	for _, c := range s.counters {
		err = errors.Join(err, c.ask(append([]dns.RR{s.soa}, at[c.label]...)))
	}
	return err
}

// part gives the part of the zone that an owner is in: its label below the apex, if it has others.
func (s *storm) part(owner string) string {
	labels := strings.Split(strings.TrimSuffix(owner, "."+s.client.Zone), ".")
	if len(labels) == 1 || owner == s.client.Zone {
		return ""
	}
	return labels[len(labels)-1]
}

// round starts the server, lets the writers at it until it is killed, and settles what is left open.
func (s *storm) round(t *testing.T, p plan) {
	t.Helper()
	if p.start {
		if err := s.server.Launch(); err != nil {
			t.Fatal(err)
		}
		s.end(p)
		if state := s.server.State(); state != "signal: killed" {
			t.Errorf("the server ended by %s", state)
		}
		return
	}
	if err := s.start(p); err != nil {
		t.Error(err)
		return
	}
	var all sync.WaitGroup
	failures := make(chan error, len(s.writers)+1)
	for i, w := range s.writers {
		w.rng = rand.New(rand.NewPCG(s.rng.Uint64(), uint64(i)))
		all.Go(func() { failures <- w.run() })
	}
	all.Go(func() { failures <- s.watch() })
	s.end(p)
	now := time.Now()
	all.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			t.Error(err)
		}
	}
	if state := s.server.State(); state != "signal: killed" {
		t.Errorf("the server ended by %s", state)
	}
	wake := now
	for _, w := range s.writers {
		for _, l := range w.leases {
			l.killed(now)
			if l.ends.Sub(now) < 4*time.Second && l.ends.After(wake) {
				wake = l.ends
			}
		}
	}
	if p.down {
		<-time.After(time.Until(wake))
	}
}

// end waits until the server has killed itself, or kills it when its time has come.
func (s *storm) end(p plan) {
	deadline := time.NewTimer(p.after)
	defer deadline.Stop()
	select {
	case <-s.server.Ended():
		s.kills[p.step]++
	case <-deadline.C:
		s.server.Kill()
		s.kills["any time"]++
	}
}

// start starts the server, which was killed, as a plan says, and inspects the zone. If it comes to the step of the plan meanwhile,
// as it does when it ends leases, it is started again without.
func (s *storm) start(p plan) error {
	var env []string
	if p.step != "" {
		env = []string{fmt.Sprintf("TRUSTDNS_CRASH=%s:%d", p.step, p.count)}
	}
	for {
		before := len(s.server.Log())
		started := time.Now()
		if err := s.server.Launch(env...); err != nil {
			return err
		}
		err := s.inspect(started)
		if err == nil {
			for _, line := range complaints(s.server.Log()[before:]) {
				err = errors.Join(err, fmt.Errorf("after the kill the server says: %s", line))
			}
			return err
		}
		if state := s.server.State(); env == nil || state != "signal: killed" {
			return fmt.Errorf("%w; %s; the log:\n%s", err, state, s.server.Log()[before:])
		}
		s.kills[p.step]++
		env = nil
	}
}

// inspect looks at the zone before anybody changes it, but for leases that end.
func (s *storm) inspect(started time.Time) error {
	var v *secondary.Version
	var err error
	waited := server.Poll(func() string { return fmt.Sprintf("the first answer: %v", err) }, func() bool {
		v, err = s.transfer()
		return err == nil || s.server.State() != ""
	})
	if err := cmp.Or(waited, err); err != nil {
		return err
	}
	answered := time.Now()
	if err := s.note(v); err != nil {
		return err
	}
	if s.inspected > 0 {
		if first := s.serials[s.inspected-1]; v.Serial-first < s.changes {
			return fmt.Errorf("%d changes were acknowledged since serial %d, and now it is %d", s.changes, first, v.Serial)
		}
	}
	parts := v.Split(s.part)
	if err := s.match(parts, s.sureOnes(), s.newestOnes()); err != nil {
		return err
	}
	if err := s.settle(parts[leases], started, answered); err != nil {
		return err
	}
	if err := s.checkLeases(v); err != nil {
		return err
	}
	serials := slices.Clone(s.serials[s.inspected:])
	for range min(10, s.inspected) {
		serials = append(serials, s.serials[s.sample.IntN(s.inspected)])
	}
	if err := s.chainTo(serials); err != nil {
		return err
	}
	s.changes, s.inspected = 0, len(s.serials)
	return nil
}

// transfer gives the zone as it is.
func (s *storm) transfer() (*secondary.Version, error) {
	a, err := s.client.AXFR()
	if err != nil {
		return nil, err
	}
	return secondary.NewVersion(a.Records)
}

// chainTo takes IXFR from serials to the present version, which leases that end may have changed.
func (s *storm) chainTo(serials []uint32) error {
	var err error
	for range attempts {
		var v *secondary.Version
		if v, err = s.transfer(); err == nil {
			err = s.note(v)
		}
		if err != nil {
			return err
		}
		if err = s.chain(serials); err == nil {
			s.checked += len(serials)
			return nil
		}
		if now, e := s.transfer(); e != nil || now.Serial == v.Serial {
			return errors.Join(err, e)
		}
	}
	return err
}

// entries gives the books of what has versions of its own.
func (s *storm) entries() map[string]*books {
	all := map[string]*books{rest: &s.fixed}
	for _, w := range s.writers {
		all[w.label] = &w.books
	}
	for _, c := range s.counters {
		all[c.label] = &c.books
	}
	return all
}

// sureOnes gives the versions that must be there, by part, and newestOnes the last that were asked for.
func (s *storm) sureOnes() map[string]int { return s.each(func(b *books) int { return b.sure }) }

func (s *storm) newestOnes() map[string]int {
	return s.each(func(b *books) int { return len(b.asked) - 1 })
}

func (s *storm) each(which func(*books) int) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.entries()
	list := make(map[string]int, len(all))
	for part, b := range all {
		list[part] = which(b)
	}
	return list
}

// match looks for each part of the zone among the versions that were asked for, and takes down what was seen.
func (s *storm) match(parts map[string]*secondary.Version, from, to map[string]int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := s.entries()
	for part, b := range entries {
		if parts[part] == nil || parts[leases] == nil {
			return fmt.Errorf("nothing is there of %s or %s", part, leases)
		}
		which, err := b.find(parts[part], from[part], to[part])
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		b.acknowledged(which)
	}
	for part := range parts {
		if _, known := entries[part]; !known && part != leases && part != "" {
			return fmt.Errorf("%s: nobody has asked for it", part)
		}
	}
	firsts := make(map[string]int) // of records with leases, which come and go in pairs
	for first, v := range parts[leases].Split(func(owner string) string { return owner[:strings.IndexByte(owner, '.')] }) {
		firsts[first] = v.Len()
	}
	if firsts["a"] != firsts["b"] {
		return fmt.Errorf("%s: a half of what was asked for together: %v", leases, firsts)
	}
	return nil
}

// settle finds out what has become of requests without an answer. What is sure is that, as it was seen; and there is no load.
func (s *storm) settle(held *secondary.Version, started, answered time.Time) error {
	known := 2 // the SOA record, and the one that stays
	for _, w := range s.writers {
		if w.sure == len(w.asked)-1 && w.following != nil {
			w.present = w.following
		}
		w.books = books{asked: []*secondary.Version{w.asked[w.sure]}}
		w.following = nil
		var err error
		w.leases = slices.DeleteFunc(w.leases, func(l *leased) bool {
			there, e := l.check(held, started, answered)
			if there {
				known += len(l.rrs)
			}
			err = errors.Join(err, e)
			return !there
		})
		if err != nil {
			return fmt.Errorf("%s: %w", w.label, err)
		}
	}
	if n := held.Len() - known; n != 0 {
		return fmt.Errorf("%d records are there whose lease has ended, or that nobody has asked for", n)
	}
	for _, c := range s.counters {
		for n := 1; n <= c.sure; n++ {
			if c.counted[n] == "" && !c.lost[n] {
				return fmt.Errorf("%s is %d, and nobody has counted to %d", c.label, c.sure, n)
			}
		}
		c.asked = c.asked[:c.sure+1]
	}
	return nil
}

// checkLeases compares the number of leases with the promises about the records that are there.
func (s *storm) checkLeases(v *secondary.Version) error {
	var err error
	for range attempts {
		part := v.Split(s.part)[leases]
		least, most := 0, 0
		for _, w := range s.writers {
			for _, l := range w.leases {
				if part.Has(l.rrs[0]) {
					least, most = least+l.least, most+l.most
				}
			}
		}
		var n int
		if n, err = s.leased(); err != nil {
			return err
		}
		if least <= n && n <= most {
			return nil
		}
		err = fmt.Errorf("%d leases, not from %d to %d", n, least, most)
		var e error
		if v, e = s.transfer(); e != nil { // one may have ended
			return e
		}
		if e = s.note(v); e != nil {
			return e
		}
	}
	return err
}

// leased asks the server for the number of leases.
func (s *storm) leased() (int, error) {
	r, err := http.Get("http://" + s.metrics + "/metrics")
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, fmt.Sprintf("coredns_update_leases{zone=%q} ", s.client.Zone)); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, nil // a zone without leases is not there
}

// The secondary asks for the serial as often as it can, to see what is visible before it is durable, and for the
// differences now and then.
const (
	askTime  = time.Millisecond
	takeTime = 40 * time.Millisecond
)

// watch is a secondary: it asks for the serial and takes differences until the server is dead, which is no error.
func (s *storm) watch() error {
	l, err := connect(s.server, "udp", s.key)
	if err == nil {
		defer l.Close()
		ask, take := time.NewTicker(askTime), time.NewTicker(takeTime)
		defer ask.Stop()
		defer take.Stop()
		for err == nil {
			select {
			case <-ask.C:
				err = s.look(l)
			case <-take.C:
				err = s.take(l)
			}
		}
	}
	if errors.Is(err, errKilled) {
		return nil
	}
	return fmt.Errorf("the secondary: %w", err)
}

// look asks for the serial.
func (s *storm) look(l *link) error {
	m := new(dns.Msg)
	m.SetQuestion(s.client.Zone, dns.TypeSOA)
	r, err := l.exchange(m)
	if err != nil {
		return err
	}
	if len(r.Answer) != 1 {
		return fmt.Errorf("no SOA record:\n%v", r)
	}
	return s.pass(r.Answer[0].(*dns.SOA).Serial)
}

// take takes the differences, if there are any.
func (s *storm) take(l *link) error {
	if s.last == s.newest().Serial {
		return nil
	}
	sure := s.sureOnes()
	a, err := s.client.IXFR(s.newest().Serial)
	if err != nil {
		return l.lost(err)
	}
	v, err := s.newest().Next(a)
	if err == nil {
		err = s.note(v)
	}
	if err == nil {
		err = s.match(v.Split(s.part), sure, s.newestOnes())
	}
	return err
}
