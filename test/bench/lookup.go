package main

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

// lookups is what lookups in a zone cost in this process.
type lookups struct {
	zone           string
	names, records int
	heap           int64 // live bytes of the snapshot
	// Nanoseconds a lookup of a name that exists, one that does not, and one
	// below a delegation; 0 if the zone has no such names.
	hit, nxdomain, referral float64
	allocs                  int64   // by a lookup, the greatest of the three
	whole                   float64 // nanoseconds from a question of the mix to the message
}

// loadZone reads the zone of a subject into this process.
func loadZone(s subject, path string) (*zone.Snapshot, error) {
	res, err := zonefile.Load(path, dnsname.MustParse(s.origin), zonefile.Options{}, time.Time{})
	return res.Snapshot, err
}

// queriesHeld is how many different questions a measurement goes through, so that
// it meets the caches of the processor as queries from the network would.
const queriesHeld = 1 << 14

// measureLookups loads the zone of a subject from path and looks names up in it.
func measureLookups(s subject, path string) (l lookups, err error) {
	before := liveHeap()
	snap, err := loadZone(s, path)
	if err != nil {
		return l, err
	}
	l = lookups{zone: s.name, names: snap.Names(), records: snap.Records(), heap: liveHeap() - before}
	for _, m := range []struct {
		kind kind
		want zone.Kind
		into *float64
	}{{kindA, zone.Success, &l.hit}, {kindNXDomain, zone.NXDomain, &l.nxdomain}, {kindReferral, zone.Delegation, &l.referral}} {
		ns, allocs, err := timeLookups(s, snap, m.kind, m.want)
		if err != nil {
			return l, err
		}
		*m.into = ns
		l.allocs = max(l.allocs, allocs)
	}
	if l.whole, err = timeAnswers(s, snap); err != nil {
		return l, err
	}
	runtime.KeepAlive(snap)
	return l, nil
}

// liveHeap gives the bytes of the heap that are in use.
func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// timeLookups gives nanoseconds and allocations of a lookup for questions of a
// kind; 0 if the zone answers them with something else than want.
func timeLookups(s subject, snap *zone.Snapshot, k kind, want zone.Kind) (ns float64, allocs int64, err error) {
	r := rand.New(rand.NewPCG(uint64(k), 2))
	queries := make([]zone.Query, queriesHeld)
	var a zone.Answer
	for i := range queries {
		q := s.ask(k, r)
		name, err := dnsname.Parse(q.name, "")
		if err != nil {
			return 0, 0, err
		}
		queries[i] = zone.Query{Name: name, Type: q.typ, DO: s.signed}
		if snap.Lookup(&queries[i], &a); a.Kind != want {
			return 0, 0, nil
		}
	}
	res := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			snap.Lookup(&queries[i%queriesHeld], &a)
			i++
		}
	})
	return perOp(res), res.AllocsPerOp(), nil
}

// timeAnswers gives nanoseconds from a query of the mix to its answer, both as
// messages.
func timeAnswers(s subject, snap *zone.Snapshot) (ns float64, err error) {
	queries := make([][]byte, 0, queriesHeld)
	for _, q := range mix(s, queriesHeld/40*40, 3) {
		m, err := pack(q, 0, s.signed)
		if err != nil {
			return 0, err
		}
		queries = append(queries, m)
	}
	e := encoder{snap: snap}
	buf := make([]byte, 0, udpSize)
	var failed error
	res := testing.Benchmark(func(b *testing.B) {
		i := 0
		for b.Loop() {
			if _, err := e.answer(buf, queries[i%len(queries)]); err != nil {
				failed = err
				return
			}
			i++
		}
	})
	return perOp(res), failed
}

// perOp gives nanoseconds an operation, with what is lost in NsPerOp.
func perOp(r testing.BenchmarkResult) float64 {
	return float64(r.T.Nanoseconds()) / float64(max(1, r.N))
}
