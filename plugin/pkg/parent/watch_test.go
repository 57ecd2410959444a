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
		d := append(records(t, ds1Text), records(t, parentText)...)
		n := internet{}
		n["192.0.2.1:53"] = replies(func(m *dns.Msg) { d.answer(m, true) })
		pending := []Pending{{zone, addresses("192.0.2.1:53")}, {zone, nil}}
		l := &log{start: time.Now()}
		w := Watch(WatchOptions{Client: n.client(), Pending: func() []Pending { return pending }, Report: l.report})
		defer w.Close()
		expect(t, l, "0s a.b.example. <nil>")
		if r := l.reports[0].Result; !r.All(ds1) || r.All(ds2) {
			t.Errorf("%+v", r)
		}
		time.Sleep(5 * time.Minute)
		expect(t, l, "5m0s a.b.example. <nil>")
		d = append(d, records(t, ds2Text)...)
		time.Sleep(5 * time.Minute)
		expect(t, l, "10m0s a.b.example. <nil>")
		if r := l.reports[2].Result; !r.All(ds2) || r.TTL() != 2*time.Hour {
			t.Errorf("%+v", r)
		}
		pending = nil
		time.Sleep(time.Hour)
		expect(t, l)
		pending = []Pending{{dnsname.MustParse("A.b.example."), addresses("192.0.2.1:53")}}
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
		d := records(t, parentText)
		asked := 0
		var failure host // of the second server
		n := internet{}
		n["192.0.2.1:53"] = replies(func(m *dns.Msg) { d.answer(m, true) })
		n["192.0.2.2:53"] = func(query []byte) []byte { asked++; return failure(query) }
		failure = replies(func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure })
		pending := []Pending{{zone, addresses("192.0.2.1:53", "192.0.2.2:53")}}
		l := &log{start: time.Now()}
		w := Watch(WatchOptions{Client: n.client(), Pending: func() []Pending { return pending }, Report: l.report})
		defer w.Close()
		expect(t, l, "0s a.b.example. 192.0.2.2:53: answers SERVFAIL")
		var times []time.Duration
		for range 12 * 5 {
			before := asked
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			if asked > before {
				times = append(times, time.Since(l.start))
			}
		}
		if got, want := fmt.Sprint(times), "[5m0s 15m0s 35m0s 1h15m0s 2h15m0s 3h15m0s 4h15m0s]"; got != want {
			t.Errorf("asked after %v, want %v", got, want)
		}
		expect(t, l) // 5h
		failure = silent
		time.Sleep(16 * time.Minute)
		expect(t, l, "5h15m5s a.b.example. 192.0.2.2:53: no answer within 5s")
		d = append(d, records(t, ds1Text)...) // what the other has is told
		time.Sleep(time.Hour)
		expect(t, l, "6h15m5s a.b.example. 192.0.2.2:53: no answer within 5s")
		w.Wake()
		time.Sleep(time.Minute)
		expect(t, l)
		failure = replies(func(m *dns.Msg) { d.answer(m, true) })
		w.Wake()
		expect(t, l, "6h17m0s a.b.example. <nil>")
		time.Sleep(5 * time.Minute)
		expect(t, l, "6h20m0s a.b.example. <nil>")
		failure = replies(func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure })
		time.Sleep(10 * time.Minute)
		expect(t, l, "6h25m0s a.b.example. 192.0.2.2:53: answers SERVFAIL")
		pending = []Pending{{zone, addresses("192.0.2.1:53")}} // other servers: asked at the next look
		time.Sleep(5 * time.Minute)
		expect(t, l, "6h35m0s a.b.example. <nil>")
	})
}

// TestWatchFind: an error of finding the servers is told like others.
func TestWatchFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{start: time.Now()}
		pending := []Pending{{dnsname.Root, nil}, {zone, nil}}
		w := Watch(WatchOptions{Client: internet{}.client(), Pending: func() []Pending { return pending }, Report: l.report, Interval: 2 * time.Hour})
		defer w.Close()
		synctest.Wait()
		if lines := strings.Join(l.take(), "\n"); !strings.Contains(lines, "0s . the root zone has no parent") || !strings.Contains(lines, `0s a.b.example. servers of the parent zone of "a.b.example.": `) {
			t.Error(lines)
		}
		time.Sleep(4 * time.Hour)
		expect(t, l)
	})
}

// TestWatchMany: so many zones at a time, and a Close while they are asked about.
func TestWatchMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		n := internet{"192.0.2.1:53": func([]byte) []byte {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(time.Second)
			running.Add(-1)
			return []byte{}
		}}
		pending := make([]Pending, 100)
		for i := range pending {
			pending[i] = Pending{dnsname.MustParse(fmt.Sprintf("z%d.example.", i)), []netip.AddrPort{addresses("192.0.2.1:53")[0]}}
		}
		var mu sync.Mutex
		l := &log{start: time.Now()}
		w := Watch(WatchOptions{Client: n.client(), Report: l.report, Pending: func() []Pending {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(pending)
		}})
		time.Sleep(3*time.Second + time.Millisecond)
		mu.Lock()
		pending = pending[:4] // the others leave the queue, and what is under way is not told
		mu.Unlock()
		w.Wake()
		w.Wake()
		synctest.Wait()
		began := len(l.take())
		time.Sleep(time.Minute)
		if after := len(l.take()); began != 3*zonesAtOnce || after > 4 || most.Load() != zonesAtOnce {
			t.Errorf("%d and %d reports, %d at a time", began, after, most.Load())
		}
		time.Sleep(4 * time.Minute)
		mu.Lock()
		pending = pending[:1]
		mu.Unlock()
		w.Wake()
		w.Close()
		w.Close()
		w.Wake()
	})
}
