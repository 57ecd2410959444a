package bolt_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/bolt"
	"github.com/trustdns/trustdns/plugin/pkg/journal/journaltest"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

func openBench(b *testing.B, dir string) *bolt.Store {
	s, err := bolt.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// BenchmarkSync writes a page and has the disk sync it: what BenchmarkCommit with one
// writer is to be compared with.
func BenchmarkSync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	const pages = 1000
	if _, err := f.Write(make([]byte, pages*len(page))); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if err := bolt.WriteSynced(f, page, int64(i%pages*len(page))); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "syncs/s")
}

// BenchmarkCommit commits a changed record each time, in a zone for each writer.
// CPU is that of the process, with the benchmark itself.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 4, 32} {
		for _, hosts := range []int{1000, 100_000} {
			b.Run(fmt.Sprintf("writers=%d/owners=%d", writers, hosts), func(b *testing.B) {
				s := openBench(b, b.TempDir())
				origins := make([]dnsname.Name, writers)
				states := make([]journal.State, writers)
				for w := range writers {
					origins[w] = dnsname.Name(fmt.Sprintf("\x03z%02d\x00", w))
					snap := journaltest.NewZone(b, origins[w], 1, hosts/writers)
					rev, err := s.Commit(b.Context(), origins[w], journal.Commit{Next: snap})
					if err != nil {
						b.Fatal(err)
					}
					states[w] = journal.State{Revision: rev, Snapshot: snap}
				}
				keep := journal.History{Depth: 1000, Octets: 1 << 30}
				took := make([][]time.Duration, writers)
				before := cpu(b)
				b.ResetTimer()
				var wg sync.WaitGroup
				for w := range writers {
					wg.Go(func() {
						st := &states[w]
						for i := w; i < b.N; i += writers {
							next, c := journaltest.Change(b, st.Snapshot, st.Snapshot.Serial().Next(), func(txn *zone.Txn) error {
								set, err := rrset.New(rrset.TypeA, 60, string([]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
								if err != nil {
									return err
								}
								_, err = txn.Replace(journaltest.Host(origins[w], i*7919%(hosts/writers)), set)
								return err
							})
							start := time.Now()
							rev, err := s.Commit(b.Context(), origins[w], journal.Commit{Base: st.Revision, Next: next, Change: c, Keep: keep})
							took[w] = append(took[w], time.Since(start))
							if err != nil {
								b.Error(err)
								return
							}
							st.Revision, st.Snapshot = rev, next
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
				b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "µs-cpu/commit")
				all := slices.Sorted(slices.Values(slices.Concat(took...)))
				b.ReportMetric(float64(all[len(all)/2].Microseconds()), "µs-p50")
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "µs-p99")
			})
		}
	}
}

// cpu gives the time that the process has computed. It is 0 where the system does
// not tell.
func cpu(b *testing.B) time.Duration {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
	ticks := 0
	for _, f := range fields[12:14] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Error(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// BenchmarkLarge puts a zone of delegations into the store, opens it again and
// loads the zone. TRUSTDNS_DELEGATIONS says how many; each has three records.
func BenchmarkLarge(b *testing.B) {
	n := 100_000
	if v, err := strconv.Atoi(os.Getenv("TRUSTDNS_DELEGATIONS")); err == nil {
		n = v
	}
	snap := delegations(b, n)
	dir := b.TempDir()
	s, err := bolt.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	first := journal.Commit{Next: snap}
	b.Run("put", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			if err := s.Delete(b.Context(), snap.Origin()); err != nil {
				b.Fatal(err)
			}
			debug.FreeOSMemory()
			more := highWater(b)
			b.StartTimer()
			if _, err := s.Commit(b.Context(), snap.Origin(), first); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(more())/1e6, "MB-more")
			b.StartTimer()
		}
	})
	b.Run("change=9000", func(b *testing.B) { // as many owners as go into one transaction
		st, err := s.Load(b.Context(), snap.Origin())
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			b.StopTimer()
			serial := st.Snapshot.Serial().Next()
			next, c := journaltest.Change(b, st.Snapshot, serial, func(txn *zone.Txn) error {
				for i := range 9_000 {
					set, err := rrset.New(rrset.TypeTXT, 60, fmt.Sprintf("\x08%08d", serial))
					if err != nil {
						return err
					}
					if _, err := txn.Replace(journaltest.Host(snap.Origin(), i*(n/9_000)), set); err != nil {
						return err
					}
				}
				return nil
			})
			debug.FreeOSMemory()
			more := highWater(b)
			b.StartTimer()
			if st.Revision, err = s.Commit(b.Context(), snap.Origin(), journal.Commit{Base: st.Revision, Next: next, Change: c}); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(more())/1e6, "MB-more")
			st.Snapshot = next
			b.StartTimer()
		}
		snap = st.Snapshot
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "zones.db"))
	if err != nil {
		b.Fatal(err)
	}
	records := snap.Records()
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			s, err := bolt.Open(dir)
			if err == nil {
				err = s.Close()
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(info.Size())/1e6, "MB-file")
	})
	b.Run("load", func(b *testing.B) {
		s := openBench(b, dir)
		for b.Loop() {
			st, err := s.Load(b.Context(), snap.Origin())
			if err != nil || st.Snapshot.Records() != records {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(records), "ns/record")
	})
}

// highWater watches the memory of the process until the function that it gives is
// called, which tells by how many octets it grew at most.
func highWater(b *testing.B) (more func() int64) {
	before := anonymous(b)
	peak := before
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, anonymous(b))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-stopped
		return peak - before
	}
}

// anonymous gives the memory of the process, without what is mapped from files,
// in octets. It is 0 where the system does not tell.
func anonymous(b *testing.B) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			if err != nil {
				b.Error(err)
			}
			return kb << 10
		}
	}
	return 0
}

// delegations makes a zone of n delegations: two servers each, one in it.
func delegations(b *testing.B, n int) *zone.Snapshot {
	builder := zone.NewBuilder(journaltest.Origin)
	empty := journaltest.NewZone(b, journaltest.Origin, 1, 0)
	add := func(owner dnsname.Name, typ uint16, rdata string) {
		if err := builder.Add(owner, typ, 3600, []byte(rdata)); err != nil {
			b.Fatal(err)
		}
	}
	for set := range empty.All() {
		for r := range set.RRset.All() {
			add(set.Owner, set.Type, r)
		}
	}
	for i := range n {
		owner := journaltest.Host(journaltest.Origin, i)
		add(owner, rrset.TypeNS, "\x03ns1"+string(owner))
		add(owner, rrset.TypeNS, "\x03ns2\x07example\x03net\x00")
		add("\x03ns1"+owner, rrset.TypeA, "\xc0\x00\x02\x01")
	}
	s, _, err := builder.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	return s
}
