package interop

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/secondary"
)

// transferKey signs the transfers of these tests.
var transferKey = &server.Key{Name: "transfer.example.", Algorithm: "hmac-sha256", Secret: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}

// A peer is a secondary of ours.
type peer struct {
	start     func(testing.TB, server.Primary) *server.Server
	source    netip.Addr
	ixfr      *regexp.Regexp // in its log: one IXFR that went well
	complains *regexp.Regexp // in its log: a transfer that was not to its liking
}

var peersOf = []peer{
	{
		server.StartNamedSecondary, server.NamedSource, regexp.MustCompile(`got incremental response`),
		regexp.MustCompile(`(?i)xfer-in: .*(not exact|extra|unexpected|bad|fail|retry|out of sync|unsigned|error)`),
	},
	{
		server.StartKnotdSecondary, server.KnotdSource, regexp.MustCompile(`IXFR, incoming, .* finished`),
		regexp.MustCompile(`IXFR, incoming.*(fallback|malformed)|AXFR-style|(warning|error): .*(IXFR|AXFR)`),
	},
	{
		server.StartNSDSecondary, server.NSDSource, regexp.MustCompile(`committed "received update`),
		regexp.MustCompile(`(?i)warning|bad|fail|error|corrupt|malformed`),
	},
}

// stockAddr is where the stock plugin transfer serves the same zones.
const stockAddr = "127.0.0.5"

// primaryCorefile serves the zones on 127.0.0.1 by our own transfers, and tells the secondaries of them, and on stockAddr by
// the stock plugin transfer.
func primaryCorefile(dir string, editors []*editor, policies []string, secondaries []*server.Server) string {
	notify := ""
	for _, s := range secondaries {
		notify += fmt.Sprintf("\t\tnotify %s key %s\n", s.Addr, transferKey.Name)
	}
	var own, stock strings.Builder
	var names []string
	for i, e := range editors {
		source := fmt.Sprintf("\t\tfile %q source\n\t\tstore %q\n\t\tserial %s\n", e.path, dir+"/store", policies[i])
		fmt.Fprintf(&own, "\tauthority %s {\n%s\t\ttransfer key %s\n%s\t}\n", e.origin, source, transferKey.Name, notify)
		fmt.Fprintf(&stock, "\tauthority %s {\n%s\t}\n", e.origin, source)
		names = append(names, e.origin+":"+server.Port)
	}
	key := strings.Join(names, " ")
	return fmt.Sprintf(`%[1]s {
	bind 127.0.0.1
	keys {
		tsig %[2]s %[3]s %[4]s
	}
%[5]s}
%[1]s {
	bind %[6]s
	transfer {
		to *
	}
%[7]s}
`, key, transferKey.Name, transferKey.Algorithm, transferKey.Secret, &own, stockAddr, &stock)
}

// A followed zone is one that secondaries follow, with all its versions.
type followed struct {
	*editor
	own, stock *secondary.Client
	seen       map[uint32]*secondary.Version
	serials    []uint32 // as they came
}

// come waits until the server serves what the file says, and keeps all that it serves until then.
func (f *followed) come(t *testing.T) {
	t.Helper()
	var last string
	server.WaitFor(t, func() string { return fmt.Sprintf("%s: the version of the file: %s", f.origin, last) }, func() bool {
		a, err := f.own.AXFR()
		if err != nil {
			last = err.Error()
			return false
		}
		got, err := secondary.NewVersion(a.Records)
		if err != nil {
			t.Fatalf("%s: %v", f.origin, err)
		}
		f.keep(t, got)
		last = got.Difference(f.version(t, a.SOA.Serial))
		return last == ""
	})
}

// keep remembers a version that is served.
func (f *followed) keep(t *testing.T, v *secondary.Version) {
	t.Helper()
	if before := f.seen[v.Serial]; before != nil {
		if d := v.Difference(before); d != "" {
			t.Fatalf("%s: two versions with one serial: %s", f.origin, d)
		}
		return
	}
	if n := len(f.serials); n > 0 && v.Serial-f.serials[n-1] >= 1<<31 { // RFC 1982 §3.2
		t.Fatalf("%s: serial %d after %d", f.origin, v.Serial, f.serials[n-1])
	}
	f.seen[v.Serial] = v
	f.serials = append(f.serials, v.Serial)
}

func (f *followed) last() *secondary.Version { return f.seen[f.serials[len(f.serials)-1]] }

// follows waits until a secondary has the last version. One that is reloading may break connections off.
func (f *followed) follows(s *server.Server) error {
	want := f.last()
	c := secondary.Client{Addr: s.Addr.String(), Zone: f.origin, LaxAA: true}
	var wrong error
	what := func() string { return fmt.Sprintf("%s: serial %d at %s: %v", f.origin, want.Serial, s.Name, wrong) }
	err := server.Poll(what, func() bool {
		if serialAt(s, f.origin) != want.Serial {
			return false
		}
		var a *secondary.Answer
		if a, wrong = c.AXFR(); wrong != nil || a.SOA.Serial != want.Serial {
			return false
		}
		got, err := secondary.NewVersion(a.Records)
		if err != nil {
			wrong = fmt.Errorf("%s from %s: %w", f.origin, s.Name, err)
		} else if d := got.Difference(want); d != "" {
			wrong = fmt.Errorf("%s at %s: %s", f.origin, s.Name, d)
		}
		return true
	})
	return errors.Join(err, wrong)
}

// chains takes IXFR from all versions there were, and compares what they lead to with the present one. It gives how many answers
// were differences.
func (f *followed) chains(t *testing.T, c *secondary.Client) (incremental int) {
	t.Helper()
	for _, serial := range f.serials {
		a, err := c.IXFR(serial)
		if err != nil {
			t.Fatalf("%s: IXFR from %d: %v", f.origin, serial, err)
		}
		got, err := f.seen[serial].Next(a)
		if err != nil {
			t.Fatalf("%s: IXFR from %d: %v", f.origin, serial, err)
		}
		if d := got.Difference(f.last()); d != "" {
			t.Fatalf("%s: IXFR from %d: %s", f.origin, serial, d)
		}
		switch a.Form {
		case secondary.Incremental:
			incremental++
		case secondary.UpToDate:
			if serial != f.last().Serial {
				t.Errorf("%s: nothing since %d", f.origin, serial)
			}
		case secondary.Whole: // when the differences are larger
		}
	}
	return incremental
}

// serialAt asks for the serial of a zone; 0 if there is none.
func serialAt(s *server.Server, origin string) uint32 {
	m := new(dns.Msg)
	m.SetQuestion(origin, dns.TypeSOA)
	c := dns.Client{Timeout: time.Second}
	r, _, err := c.Exchange(m, s.Addr.String())
	if err != nil || len(r.Answer) != 1 {
		return 0
	}
	if soa, ok := r.Answer[0].(*dns.SOA); ok {
		return soa.Serial
	}
	return 0
}

// A ledger says what transfers an address got, by our log.
type ledger struct {
	incremental, whole int
	explained          int // of the whole ones: the differences would have been larger
}

func sentTo(log string, source netip.Addr) (l ledger) {
	line := regexp.MustCompile(`: sent (\w+) serial \d+ to ` + regexp.QuoteMeta(source.String()) + `:.*`)
	for _, m := range line.FindAllStringSubmatch(log, -1) {
		switch {
		case m[1] == secondary.Incremental.String():
			l.incremental++
		case strings.Contains(m[0], "more changes than wanted"):
			l.explained++
			fallthrough
		default:
			l.whole++
		}
	}
	return l
}

// batches is how often the zones are edited, some 20 times each time.
const batches = 30

// TestSecondaries edits three zones at random, some 500 times each, across the wrap of the serial, a restart and a
// SIGKILL of ours. named, knotd and nsd, told by NOTIFY, get all versions, by signed IXFR; and IXFR from every serial there was, by our own
// transfers and the stock plugin's, leads to the present zone.
func TestSecondaries(t *testing.T) {
	server.Require(t, "named", "knotd", "nsd")
	began := time.Now()
	dir := t.TempDir()
	up := func(e *editor) { e.serial += 1 + e.rng.Uint32N(2) }
	sometimes := func(e *editor) {
		if e.rng.IntN(3) > 0 {
			e.serial += e.rng.Uint32N(1000)
		} else {
			e.serial -= e.rng.Uint32N(10)
		}
	}
	editors := []*editor{
		newEditor("raised.example.", dir, 1000, 4294967280, up, 1),
		newEditor("kept.example.", dir, 1000, 4294967290, nil, 2),
		newEditor("mixed.example.", dir, 100, 1, sometimes, 3),
	}
	var names []string
	for _, e := range editors {
		e.write(t)
		names = append(names, e.origin)
	}
	policies := []string{"increment", "increment", "unixtime"}
	ours := server.StartOurs(t, primaryCorefile(dir, editors, policies, nil), names...)
	var zones []*followed
	for _, e := range editors {
		zones = append(zones, &followed{
			editor: e, seen: make(map[uint32]*secondary.Version),
			own: &secondary.Client{Addr: ours.Addr.String(), Zone: e.origin, Key: transferKey},
			// The plugin transfer sets no AA where there is nothing to send.
			stock: &secondary.Client{Addr: portOn(stockAddr, ours), Zone: e.origin, LaxAA: true},
		})
	}
	for _, f := range zones {
		f.come(t)
	}
	var secondaries []*server.Server
	for _, p := range peersOf {
		secondaries = append(secondaries, p.start(t, server.Primary{Addr: ours.Addr, Zones: names, Key: transferKey, Refresh: 3600}))
	}
	corefile := strings.ReplaceAll(primaryCorefile(dir, editors, policies, secondaries), server.Port, strconv.Itoa(int(ours.Addr.Port())))
	if err := os.WriteFile(filepath.Join(ours.Dir, "Corefile"), []byte(corefile), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := ours.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	server.WaitFor(t, func() string { return "the reload of ours" }, func() bool { return strings.Contains(ours.Log(), "Reloading complete") })

	for batch := range batches {
		for _, f := range zones {
			writes := 1
			if batch%4 == 0 { // a burst
				writes = 3
			}
			for range writes {
				for range 1 + f.rng.IntN(40/writes) {
					f.edit()
				}
				f.write(t)
			}
		}
		switch batch {
		case batches / 3:
			ours.Stop()
			ours.Restart(t)
		case 2 * batches / 3:
			ours.Kill()
			ours.Restart(t)
		}
		var wg sync.WaitGroup
		errs := make([][]error, len(zones))
		for i, f := range zones {
			f.come(t)
			errs[i] = make([]error, len(secondaries))
			for k, s := range secondaries {
				wg.Go(func() { errs[i][k] = f.follows(s) })
			}
		}
		wg.Wait()
		if err := errors.Join(slices.Concat(errs...)...); err != nil {
			t.Fatalf("batch %d: %v", batch, err)
		}
	}

	log := ours.Log()
	if says := regexp.MustCompile(`(?m)^.*(ERROR|panic|answers NOTIFY with).*$`).FindAllString(log, -1); says != nil {
		t.Errorf("ours says: %q", says)
	}
	for _, f := range zones {
		own, stock := f.chains(t, f.own), f.chains(t, f.stock)
		lost := 0
		if f.seen[0] != nil { // the plugin transfer takes serial 0 for AXFR
			lost = 1
		}
		if own != stock+lost || own < 2 || f.origin != "mixed.example." && own < len(f.serials)*2/3 {
			t.Errorf("%s: of %d IXFR only %d had differences, by stock transfer %d", f.origin, len(f.serials), own, stock)
		}
		if n := sum(f.editor.edits); n < 500 {
			t.Errorf("%s: %d edits", f.origin, n)
		}
		for kind := range edits {
			if f.edits[kind] == 0 {
				t.Errorf("%s: no edit was %q", f.origin, kind)
			}
		}
		t.Logf("%s: %d edits, %d versions, serials %d to %d; IXFR from each: %d with differences, by stock transfer %d",
			f.origin, sum(f.editor.edits), len(f.serials), f.serials[0], f.last().Serial, own, stock)
	}
	for i, p := range peersOf {
		l := sentTo(log, p.source)
		if l.whole-l.explained > len(zones) || l.incremental < batches*len(zones)/2 {
			t.Errorf("%s got %d IXFR and %d AXFR, of which differences that are larger explain %d", secondaries[i].Name, l.incremental, l.whole, l.explained)
		}
		for line := range strings.Lines(secondaries[i].Log()) {
			if p.complains.MatchString(line) {
				t.Errorf("%s says: %s", secondaries[i].Name, line)
			}
		}
		if n := len(p.ixfr.FindAllString(secondaries[i].Log(), -1)); n < l.incremental*9/10 {
			t.Errorf("%s tells of %d IXFR where %d were sent", secondaries[i].Name, n, l.incremental)
		}
		t.Logf("%s: %d IXFR, %d AXFR", secondaries[i].Name, l.incremental, l.whole)
	}
	t.Logf("%v", time.Since(began).Round(time.Second))
}

func portOn(host string, s *server.Server) string {
	return host + ":" + strconv.Itoa(int(s.Addr.Port()))
}

func sum(counts map[string]int) (n int) {
	for _, c := range slices.Collect(maps.Values(counts)) {
		n += c
	}
	return n
}
