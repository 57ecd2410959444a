package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// commits is what durable changes of a zone take.
type commits struct {
	names, writers int // of the zone, at a time
	versions       int // that the changes led to
	latencies
	idle, busy latencies // of lookups before the changes and among them
}

// latencies are how long each of some operations took, and all of them together.
type latencies struct {
	each []time.Duration
	took time.Duration
}

// rate gives operations a second.
func (l *latencies) rate() float64 {
	if l.took == 0 {
		return 0
	}
	return float64(len(l.each)) / l.took.Seconds()
}

// quantile gives the time that such a part of the operations did not exceed; 0 of
// none.
func (l *latencies) quantile(part float64) time.Duration {
	if len(l.each) == 0 {
		return 0
	}
	slices.Sort(l.each)
	return l.each[min(len(l.each)-1, int(part*float64(len(l.each))))]
}

// writersAtOnce are the numbers of writers to measure.
var writersAtOnce = []int{1, 32}

// commits measures durable changes in this process, in turn with what the disk
// takes to make a page durable.
func (m *meter) commits(t *testing.T) {
	for i, names := range []int{m.small, m.medium} {
		s := mixed("commits", "commits.example.", names)
		path := filepath.Join(m.dir, "commits.zone")
		if err := s.file(path); err != nil {
			t.Fatal(err)
		}
		for _, writers := range writersAtOnce {
			if err := syncPages(filepath.Join(m.dir, "pages"), m.commit/4, &m.report.disk); err != nil {
				t.Fatal(err)
			}
			store := filepath.Join(m.dir, fmt.Sprintf("commits%d-%d", i, writers))
			c, err := measureCommits(t.Context(), s, path, store, writers, m.commit)
			if err != nil {
				t.Fatal(err)
			}
			m.report.commits = append(m.report.commits, c)
			progress("commits: %d writers make %.0f changes/s in a zone of %d names", writers, c.rate(), c.names)
		}
	}
}

// measureCommits changes the zone of a subject, which is read from path into a new
// store, for that long: each of the writers changes the address of one host after
// another.
func measureCommits(ctx context.Context, s subject, path, store string, writers int, limit time.Duration) (*commits, error) {
	spec := zonedb.Spec{
		Origin: dnsname.MustParse(s.origin), Store: store, Path: path, Seed: true,
		History: journal.History{Depth: 1000, Octets: 16 << 20},
	}
	z, closeZone, err := openZone(spec)
	if err != nil {
		return nil, err
	}
	before := z.Snapshot()
	c := &commits{names: before.Names(), writers: writers}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := readZone(z, s, limit/4, &c.idle); err != nil {
		closeZone()
		return nil, err
	}
	var wg sync.WaitGroup
	made := make([][]time.Duration, writers)
	begin := time.Now()
	wg.Go(func() {
		if err := readZone(z, s, limit, &c.busy); err != nil {
			cancel(err)
		}
	})
	for w := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 3))
			for time.Since(begin) < limit {
				took, err := changeAddress(ctx, z, s, r)
				if err != nil {
					cancel(err)
					return
				}
				made[w] = append(made[w], took)
			}
		})
	}
	wg.Wait()
	c.took = time.Since(begin)
	c.each = slices.Concat(made...)
	last := z.Snapshot()
	c.versions = int(last.Serial() - before.Serial())
	closeZone()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return c, sameAgain(spec, last)
}

// openZone makes a zone live, in a registry of its own.
func openZone(spec zonedb.Spec) (z *zonedb.Zone, closeZone func(), err error) {
	lease, err := zonedb.New(time.Hour).Open("bench", []zonedb.Spec{spec}, zonedb.Hooks{})
	if err != nil {
		return nil, nil, err
	}
	z = lease.Zones()[0]
	if z.Snapshot() == nil {
		lease.Close()
		return nil, nil, z.Err()
	}
	return z, lease.Close, nil
}

// changeAddress gives a host another address and gives the time that took.
func changeAddress(ctx context.Context, z *zonedb.Zone, s subject, r *rand.Rand) (time.Duration, error) {
	owner, err := dnsname.Parse(s.ask(kindA, r).name, "")
	if err != nil {
		return 0, err
	}
	address := binary.BigEndian.AppendUint32(nil, r.Uint32())
	a, err := rrset.New(rrset.TypeA, 3600, string(address))
	if err != nil {
		return 0, err
	}
	start := time.Now()
	_, err = z.Apply(ctx, "bench", func(e *zonedb.Edit) error {
		_, err := e.Replace(owner, a)
		return err
	})
	return time.Since(start), err
}

// readPause is the time from one lookup of readZone to the next: 5,000 a second.
const readPause = 200 * time.Microsecond

// readZone looks up addresses in the version in service for that long, and adds
// what each took.
func readZone(z *zonedb.Zone, s subject, limit time.Duration, l *latencies) error {
	r := rand.New(rand.NewPCG(7, 3))
	var a zone.Answer
	begin := time.Now()
	tick := time.NewTicker(readPause)
	defer tick.Stop()
	for time.Since(begin) < limit {
		owner, err := dnsname.Parse(s.ask(kindA, r).name, "")
		if err != nil {
			return err
		}
		q := zone.Query{Name: owner, Type: rrset.TypeA}
		start := time.Now()
		z.Snapshot().Lookup(&q, &a)
		l.each = append(l.each, time.Since(start))
		if a.Kind != zone.Success {
			return fmt.Errorf("%s has no address", owner)
		}
		<-tick.C
	}
	l.took += time.Since(begin)
	return nil
}

// sameAgain sees to it that a store holds a version of a zone.
func sameAgain(spec zonedb.Spec, want *zone.Snapshot) error {
	z, closeZone, err := openZone(spec)
	if err != nil {
		return err
	}
	defer closeZone()
	got := z.Snapshot()
	if d := zone.Difference(want, got); got.Serial() != want.Serial() || len(d.Added)+len(d.Removed) > 0 {
		return fmt.Errorf("the store has serial %d and not %d, and %d RRsets differ", got.Serial(), want.Serial(), len(d.Added)+len(d.Removed))
	}
	return nil
}

// pageSize is what is made durable in one go when the disk is measured, in octets.
const pageSize = 4096

// syncPages makes one page of a file after another durable for that long, and adds
// what it took.
func syncPages(path string, limit time.Duration, l *latencies) (err error) {
	const pages = 1024
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	page := make([]byte, pageSize)
	for range pages {
		if _, err := f.Write(page); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	begin := time.Now()
	for i := 0; time.Since(begin) < limit; i++ {
		binary.BigEndian.PutUint64(page, uint64(i))
		start := time.Now()
		if _, err := f.WriteAt(page, int64(i%pages)*pageSize); err != nil {
			return err
		}
		if err := syncData(f); err != nil {
			return err
		}
		l.each = append(l.each, time.Since(start))
	}
	l.took += time.Since(begin)
	return nil
}
