package parent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// log is what a watcher reports, with the time since it began.
type log struct {
	mu      sync.Mutex
	start   time.Time
	reports []Report
	lines   []string
}

func (l *log) report(r Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reports = append(l.reports, r)
	l.lines = append(l.lines, fmt.Sprintf("%v %s %v", time.Since(l.start), r.Zone, r.Err))
}

// last gives the result of the newest report.
func (l *log) last() Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reports[len(l.reports)-1].Result
}

// take gives what was reported since the last time.
func (l *log) take() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines, l.lines = l.lines, nil
	return lines
}

func expect(t *testing.T, l *log, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := l.take(); !slices.Equal(got, want) {
		t.Errorf("reports:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestWatch: asked once an interval as long as something is pending (K2).
func TestWatch(t *testing.T) {
	ds1, ds2 := theDS(t)
	synctest.Test(t, func(t *testing.T) {
		old := append(records(t, ds1Text), records(t, parentText)...)
		d := share(old)
		n := internet{"192.0.2.1:53": replies(func(m *dns.Msg) { d.get().answer(m, true) })}
		pending := share([]Pending{{zone, addresses("192.0.2.1:53")}, {zone, nil}})
		l := &log{start: time.Now()}
		w := Watch(WatchOptions{Client: n.client(), Pending: pending.get, Report: l.report})
		defer w.Close()
		expect(t, l, "0s a.b.example. <nil>")
		if r := l.last(); !r.All(ds1) || r.All(ds2) {
			t.Errorf("%+v", r)
		}
		time.Sleep(5 * time.Minute)
		expect(t, l, "5m0s a.b.example. <nil>")
		d.set(append(records(t, ds2Text), old...))
		time.Sleep(5 * time.Minute)
		expect(t, l, "10m0s a.b.example. <nil>")
		if r := l.last(); !r.All(ds2) || r.TTL() != 2*time.Hour {
			t.Errorf("%+v", r)
		}
		pending.set(nil)
		time.Sleep(time.Hour)
		expect(t, l)
		pending.set([]Pending{{dnsname.MustParse("A.b.example."), addresses("192.0.2.1:53")}})
		w.Wake()
		expect(t, l, "1h10m0s A.b.example. <nil>")
		time.Sleep(5 * time.Minute)
		expect(t, l, "1h15m0s A.b.example. <nil>")
		w.Close()
		time.Sleep(time.Hour)
		expect(t, l)
	})
}

// TestWatchFailures: the same error is told once, and asked about less and less often.
func TestWatchFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := share(records(t, parentText))
		good := replies(func(m *dns.Msg) { d.get().answer(m, true) })
		fails := replies(func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure })
		var asked atomic.Int32
		second := share(fails)
		n := internet{"192.0.2.1:53": good, "192.0.2.2:53": func(query []byte) []byte { asked.Add(1); return second.get()(query) }}
		pending := share([]Pending{{zone, addresses("192.0.2.1:53", "192.0.2.2:53")}})
		l := &log{start: time.Now()}
		w := Watch(WatchOptions{Client: n.client(), Pending: pending.get, Report: l.report})
		defer w.Close()
		expect(t, l, "0s a.b.example. 192.0.2.2:53: answers SERVFAIL")
		var times []time.Duration
		for range 12 * 5 {
			before := asked.Load()
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			if asked.Load() > before {
				times = append(times, time.Since(l.start))
			}
		}
		if got, want := fmt.Sprint(times), "[5m0s 15m0s 35m0s 1h15m0s 2h15m0s 3h15m0s 4h15m0s]"; got != want {
			t.Errorf("asked after %v, want %v", got, want)
		}
		expect(t, l) // 5h
		second.set(silent)
		time.Sleep(16 * time.Minute)
		expect(t, l, "5h15m5s a.b.example. 192.0.2.2:53: no answer within 5s")
		d.set(append(records(t, ds1Text), records(t, parentText)...)) // what the other has is told
		time.Sleep(time.Hour)
		expect(t, l, "6h15m5s a.b.example. 192.0.2.2:53: no answer within 5s")
		w.Wake()
		time.Sleep(time.Minute)
		expect(t, l)
		second.set(good)
		w.Wake()
		expect(t, l, "6h17m0s a.b.example. <nil>")
		time.Sleep(5 * time.Minute)
		expect(t, l, "6h20m0s a.b.example. <nil>")
		second.set(fails)
		before := asked.Load()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := asked.Load() - before; n != 2 {
			t.Errorf("asked %d times in 10 minutes", n)
		}
		expect(t, l, "6h25m0s a.b.example. 192.0.2.2:53: answers SERVFAIL")
		pending.set([]Pending{{zone, addresses("192.0.2.1:53")}}) // other servers: asked at the next look
		time.Sleep(5 * time.Minute)
		expect(t, l, "6h35m0s a.b.example. <nil>")
	})
}

// TestWatchFind: an error of finding the servers is told like others.
func TestWatchFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{start: time.Now()}
		pending := share([]Pending{{dnsname.Root, nil}, {zone, nil}})
		w := Watch(WatchOptions{Client: internet{}.client(), Pending: pending.get, Report: l.report, Interval: 2 * time.Hour})
		defer w.Close()
		synctest.Wait()
		if lines := strings.Join(l.take(), "\n"); !strings.Contains(lines, "0s . the root zone has no parent") || !strings.Contains(lines, `0s a.b.example. servers of the parent zone of "a.b.example.": `) {
			t.Error(lines)
		}
		time.Sleep(4 * time.Hour)
		expect(t, l)
	})
}

// TestWatchOnce: a zone that is being asked about is not asked about again meanwhile.
func TestWatchOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		n := internet{"192.0.2.1:53": func([]byte) []byte {
			asked.Add(1)
			time.Sleep(3 * time.Second)
			return []byte{}
		}}
		l := &log{start: time.Now()}
		w := Watch(WatchOptions{Client: n.client(), Report: l.report, Pending: func() []Pending { return []Pending{{zone, addresses("192.0.2.1:53")}} }})
		defer w.Close()
		time.Sleep(time.Second)
		w.Wake()
		time.Sleep(time.Minute)
		expect(t, l, "3s a.b.example. 192.0.2.1:53: malformed answer")
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
	})
}

// TestWatchClose: a question under way at the end is given up, and not reported.
func TestWatchClose(t *testing.T) {
	for range 20 { // what is ready at once is taken in any order
		synctest.Test(t, func(t *testing.T) {
			n := internet{"192.0.2.1:53": records(t, parentText).serves(), "192.0.2.2:53": silent}
			l := &log{start: time.Now()}
			slow := func(r Report) {
				l.report(r)
				time.Sleep(2 * time.Second)
			}
			w := Watch(WatchOptions{Client: n.client(), Report: slow, Pending: func() []Pending {
				return []Pending{{zone, addresses("192.0.2.1:53")}, {dnsname.MustParse("c.example."), addresses("192.0.2.2:53")}}
			}})
			time.Sleep(time.Second)
			w.Close()
			if took := time.Since(l.start); took != 2*time.Second {
				t.Errorf("closed after %v", took)
			}
			expect(t, l, "0s a.b.example. <nil>")
		})
	}
}

// TestWatchMany: so many zones at a time, and a Close while they are asked about.
func TestWatchMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int32
		most := share(int32(0))
		n := internet{"192.0.2.1:53": func([]byte) []byte {
			now := running.Add(1)
			most.mu.Lock()
			most.v = max(most.v, now)
			most.mu.Unlock()
			time.Sleep(time.Second)
			running.Add(-1)
			return []byte{}
		}}
		all := make([]Pending, 100)
		for i := range all {
			all[i] = Pending{dnsname.MustParse(fmt.Sprintf("z%d.example.", i)), []netip.AddrPort{addresses("192.0.2.1:53")[0]}}
		}
		pending := share(all)
		l := &log{start: time.Now()}
		w := Watch(WatchOptions{Client: n.client(), Pending: pending.get, Report: l.report})
		time.Sleep(3*time.Second + time.Millisecond)
		pending.set(all[:4]) // the others leave the queue, and what is under way is not told
		w.Wake()
		w.Wake()
		synctest.Wait()
		began := len(l.take())
		time.Sleep(time.Minute)
		if after := len(l.take()); began != 3*zonesAtOnce || after > 4 || most.get() != zonesAtOnce {
			t.Errorf("%d and %d reports, %d at a time", began, after, most.get())
		}
		time.Sleep(4 * time.Minute)
		pending.set(all[:1])
		w.Wake()
		w.Close()
		w.Close()
		w.Wake()
	})
}
