package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// put writes a file beside its place and moves it there.
func put(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// get fetches a page of the server.
func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// sample is one series: its name, its labels, its value.
var sample = regexp.MustCompile(`(?m)^(\w+)(?:\{([^}]*)\})? (\S+)$`)

// metricOf adds up the series of that name whose labels contain all of these.
func metricOf(t *testing.T, port int, name string, labels ...string) (sum float64) {
	t.Helper()
series:
	for _, m := range sample.FindAllStringSubmatch(get(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", port)), -1) {
		if m[1] != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(m[2], l) {
				continue series
			}
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Error(err)
		}
		sum += v
	}
	return sum
}

// reloadWith sends SIGUSR1 and waits until the log says how it went on, in one of
// the ways given. If it does not, the log that is shown ends with where all
// goroutines of the server are.
func reloadWith(t *testing.T, s *server.Server, says ...string) {
	t.Helper()
	before := len(s.Log())
	if err := s.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	what := func() string { return strings.Join(says, " or ") + " in the log" }
	err := server.Poll(what, func() bool {
		select {
		case <-s.Ended():
			t.Fatalf("the server ended:\n%s", s.Log())
		default:
		}
		for _, text := range says {
			if strings.Contains(s.Log()[before:], text) {
				return true
			}
		}
		return false
	})
	if err == nil {
		return
	}
	if err := s.Signal(syscall.SIGABRT); err != nil { // the Go runtime shows them, and ends
		t.Error(err)
	}
	select {
	case <-s.Ended():
	case <-time.After(10 * time.Second):
	}
	t.Fatalf("%v:\n%s", err, s.Log()[before:])
}

const (
	reloaded     = "Reloading complete"
	reloadFailed = "Restart failed"
)

// files gives what the files are that the server has open, by number.
func files(t *testing.T, s *server.Server) map[string]int {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", s.PID())
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`\[\d+\]`)
	open := make(map[string]int)
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		open[number.ReplaceAllString(target, "")]++
	}
	return open
}

// weight is what a server takes.
type weight struct {
	goroutines, files, heap int
}

var (
	goroutinesNow = regexp.MustCompile(`goroutine profile: total (\d+)`)
	heapNow       = regexp.MustCompile(`# HeapAlloc = (\d+)`)
)

// weigh asks the plugin pprof.
func weigh(t *testing.T, s *server.Server, port int) (w weight) {
	t.Helper()
	number := func(page string, r *regexp.Regexp) int {
		m := r.FindStringSubmatch(get(t, fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/%s", port, page)))
		if m == nil {
			t.Fatalf("%s: no number", page)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	w.heap = number("heap?gc=1&debug=1", heapNow)
	w.goroutines = number("goroutine?debug=1", goroutinesNow)
	for _, n := range files(t, s) {
		w.files += n
	}
	return w
}

// stack is some goroutines in a profile: how many, and where they are.
var stack = regexp.MustCompile(`(?m)^(\d+) @.*\n(?:#.*\n)*`)

// ours counts the goroutines of this project. Those of the host are another matter:
// it leaves listeners behind when a reload fails.
func ours(t *testing.T, port int) (sum int) {
	t.Helper()
	for _, m := range stack.FindAllStringSubmatch(get(t, fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/goroutine?debug=1", port)), -1) {
		if strings.Contains(m[0], "trustdns/plugin/") {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				t.Error(err)
			}
			sum += n
		}
	}
	return sum
}

// load asks without a pause until the context ends. Each question must be
// answered with an address of the zone, over UDP at the first try. Over TCP the old
// instance closes connections that it has not read a question from yet; clients
// ask again then (RFC 7766 section 6.2.4).
func load(ctx context.Context, t *testing.T, network string, s *server.Server, name string, answered *atomic.Int64) {
	c := dns.Client{Net: network, Timeout: 20 * time.Second}
	var conn *dns.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	for ctx.Err() == nil {
		var err error
		if conn == nil {
			if conn, err = c.Dial(s.Addr.String()); err != nil {
				t.Errorf("%s: %v", network, err)
				return
			}
		}
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeA)
		r, _, err := c.ExchangeWithConn(m, conn)
		if network == "tcp" && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
			_ = conn.Close()
			conn = nil
			continue
		}
		if err != nil || r.Rcode != dns.RcodeSuccess || len(r.Answer) != 1 {
			t.Errorf("%s: %v, %v, after %d answers", network, err, r, answered.Load())
			return
		}
		answered.Add(1)
		if network == "tcp" {
			_ = conn.Close()
			conn = nil
		}
	}
}

// came is what the log says of a zone whose file was there when its directory was read,
// and then was not.
var came = regexp.MustCompile(`(?m)^.*\[ERROR\] plugin/authority: n\d\.example\.: not loaded, .*: no such file or directory\n`)

// Fifty reloads while zones from a store and from a directory are asked for, and
// change: no question is lost, and nothing piles up.
func TestReloadsUnderLoad(t *testing.T) { bothWays(t, testReloadsUnderLoad) }

func testReloadsUnderLoad(t *testing.T, start starter) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	zone := func(serial int) string { return fmt.Sprintf(zoneText, serial, "192.0.2.1") }
	put(t, at("example.org.zone"), zone(1))
	put(t, at("zones/one.example.zone"), zone(1))
	debug := freePort(t)
	corefile := fmt.Sprintf(`.:%s {
 bind 127.0.0.1
 root %s
 authority example.org {
  file example.org.zone
  store data
 }
 authority example {
  directory zones
  store data
 }
 prometheus 127.0.0.1:%d
 pprof 127.0.0.1:%d
}
`, server.Port, dir, freePort(t), debug)
	s := start(t, corefile, "example.org", "one.example")
	for range 3 {
		reloadWith(t, s, reloaded, reloadFailed)
	}
	before := weigh(t, s, debug)

	ctx, cancel := context.WithCancel(t.Context())
	var loads, edits sync.WaitGroup
	defer func() { // they speak to the test
		cancel()
		loads.Wait()
		edits.Wait()
	}()
	var answered atomic.Int64
	for _, network := range []string{"udp", "udp", "tcp"} {
		for _, name := range []string{"www.example.org.", "www.one.example."} {
			loads.Go(func() { load(ctx, t, network, s, name, &answered) })
		}
	}
	serial := 1
	edits.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			serial++
			put(t, at("example.org.zone"), zone(serial))
			put(t, at("zones/one.example.zone"), zone(serial))
			other := at(fmt.Sprintf("zones/n%d.example.zone", serial%5))
			if err := os.Remove(other); errors.Is(err, os.ErrNotExist) {
				put(t, other, zone(serial))
			}
		}
	})
	for range 50 {
		at := answered.Load()
		reloadWith(t, s, reloaded, reloadFailed)
		waitFor(t, "answers between reloads", func() bool { return t.Failed() || answered.Load() > at })
	}
	cancel()
	loads.Wait()
	edits.Wait()
	for _, name := range []string{"example.org.", "one.example."} {
		waitFor(t, "the last edit of "+name, func() bool { return serialOf(s, name) == uint32(serial) })
	}
	if log := came.ReplaceAllString(s.Log(), ""); strings.Contains(log, reloadFailed) || strings.Contains(log, "panic") || strings.Contains(log, "[ERROR]") {
		t.Errorf("the log:\n%s", log)
	}
	t.Logf("%d answers, %d edits", answered.Load(), serial)

	// What ends behind a reload may take its time.
	var after weight
	const moreMemory = 8 << 20 // the history of the edits, and what the allocator likes
	fine := func() bool {
		after = weigh(t, s, debug)
		return after.goroutines <= before.goroutines+3 && after.files <= before.files+3 && after.heap <= before.heap+moreMemory
	}
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !fine() {
		select {
		case <-tick.C:
			continue
		case <-deadline.C:
			t.Errorf("before %+v, after %+v; open files %v\n%.8000s", before, after, files(t, s), get(t, fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/goroutine?debug=1", debug)))
		}
		break
	}
	t.Logf("before %+v, after %+v", before, after)
}

// A reload that fails leaves what was: with a mistake in the Corefile, and when
// all zones are loaded but a port is taken.
func TestReloadFails(t *testing.T) { bothWays(t, testReloadFails) }

func testReloadFails(t *testing.T, start starter) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	zone := func(serial int) string { return fmt.Sprintf(zoneText, serial, "192.0.2.1") }
	put(t, at("example.org.zone"), zone(5))
	put(t, at("new/example.org.zone"), zone(90)+"mx 300 IN MX 10 nowhere\n")
	put(t, at("zones/one.example.zone"), zone(5))
	put(t, at("more/two.example.zone"), zone(5))
	debug := freePort(t)
	first := fmt.Sprintf(`.:%s {
 bind 127.0.0.1
 root %s
 authority example.org {
  file example.org.zone
  store data
 }
 authority example {
  directory zones
 }
 prometheus 127.0.0.1:%d
 pprof 127.0.0.1:%d
}
`, server.Port, dir, freePort(t), debug)
	s := start(t, first, "example.org", "one.example")
	conf := filepath.Join(s.Dir, "Corefile")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	reloadWith(t, s, reloaded)
	if serialOf(s, "example.org.") == 0 { // from then on its sockets are served
		t.Fatal("no answer")
	}
	before, goroutines := files(t, s), ours(t, debug)
	if goroutines == 0 || before[at("data/zones.db")] == 0 {
		t.Fatalf("%d goroutines, files %v", goroutines, before)
	}
	unchanged := func(why string) {
		t.Helper()
		if r := ask(s, "mx.example.org.", dns.TypeMX); r == nil || r.Rcode != dns.RcodeNameError {
			t.Errorf("%s: the new file is served: %v", why, r)
		}
		if serialOf(s, "one.example.") != 5 || serialOf(s, "two.example.") != 0 {
			t.Errorf("%s: serials %d and %d", why, serialOf(s, "one.example."), serialOf(s, "two.example."))
		}
		waitFor(t, "as many goroutines as before", func() bool { return ours(t, debug) == goroutines })
		for file, n := range files(t, s) {
			if n > before[file] && strings.HasPrefix(file, dir) {
				t.Errorf("%s: %s is open", why, file)
			}
		}
		now := serialOf(s, "example.org.")
		put(t, at("example.org.zone"), zone(int(now)+5))
		waitFor(t, "an edit of the old file", func() bool { return serialOf(s, "example.org.") == now+5 })
		put(t, at("new/example.org.zone"), zone(int(now)+90)+"mx 300 IN MX 10 nowhere\n")
	}

	put(t, conf, strings.Replace(good, "store data", "store", 1))
	reloadWith(t, s, reloadFailed)
	unchanged("a mistake in the Corefile")

	listen := func() net.Listener {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	changed := strings.NewReplacer(
		"file example.org.zone", "file new/example.org.zone\njournal 5\nserial date",
		"directory zones\n", "directory more\nstore fresh\n").Replace(good)
	late := func(taken net.Listener) string {
		return changed + fmt.Sprintf("example.net:%d {\nbind 127.0.0.1\nauthority {\nfile %s\nstore %s\n}\n}\n",
			taken.Addr().(*net.TCPAddr).Port, at("example.org.zone"), at("fresher"))
	}
	taken := listen()
	put(t, conf, late(taken))
	for range 3 {
		reloadWith(t, s, "address already in use")
		unchanged("a port that is taken")
	}

	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	reloadWith(t, s, reloaded)
	if r := ask(s, "mx.example.org.", dns.TypeMX); r == nil || len(r.Answer) != 1 {
		t.Errorf("at last: %v", r)
	}
	if serialOf(s, "two.example.") != 5 || serialOf(s, "one.example.") != 0 {
		t.Errorf("at last: serials %d and %d", serialOf(s, "two.example."), serialOf(s, "one.example."))
	}
	put(t, conf, good)
	reloadWith(t, s, reloaded)
	// Nor does it matter if there was no authority before.
	put(t, conf, fmt.Sprintf(".:%d {\nbind 127.0.0.1\nwhoami\npprof 127.0.0.1:%d\n}\n", s.Addr.Port(), debug))
	reloadWith(t, s, reloaded)
	put(t, conf, late(listen()))
	reloadWith(t, s, "address already in use")
	for file := range files(t, s) {
		if strings.HasPrefix(file, dir) {
			t.Errorf("%s is open in a server without authority", file)
		}
	}
	put(t, conf, good)
	reloadWith(t, s, reloaded)
	if n := serialOf(s, "one.example."); n != 5 {
		t.Errorf("once more: serial %d", n)
	}
	for _, store := range []string{"fresh", "fresher"} {
		if files(t, s)[at(store+"/zones.db")] > 0 {
			t.Errorf("the store %s is open still", store)
		}
	}
}
