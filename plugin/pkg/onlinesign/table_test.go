package onlinesign_test

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/onlinesign"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

func errorIs(err, want error) bool { return errors.Is(err, want) && (err == nil) == (want == nil) }

// complete answers a question, and gives the error.
func (o *online) complete(t testing.TB, ask string, now time.Time) (*zone.Answer, error) {
	t.Helper()
	q := question(t, ask)
	var a zone.Answer
	o.snap.Lookup(&q, &a)
	return &a, o.Complete(o.snap, &q, &a, onlinesign.Part{}, now)
}

// TestFlood: names that are made up do not make a table larger, and throw out nothing that
// is of names that exist.
func TestFlood(t *testing.T) {
	size := onlinesign.Size{Entries: 256, Octets: 60_000}
	table := onlinesign.NewTable(size)
	origin := dnsname.MustParse("example.")
	o := newOnline(t, origin, table, inUse(testKeys(t, origin, signer.ED25519)[1:]...), exampleZone...)
	real := []string{"www.example. A", "www.example. AAAA", "ent.example. A", "x.cut.example. A", "x.safe.example. A", "example. DNSKEY", "al.example. CNAME"}
	ask := func() {
		for _, q := range real {
			if _, err := o.complete(t, q, start); err != nil {
				t.Fatal(q, err)
			}
		}
	}
	ask()
	for i := range 3000 {
		for _, q := range []string{"q%d.example. A", "q%d.w.example. TXT", "q%d.w.example. A"} {
			if _, err := o.complete(t, fmt.Sprintf(q, i), start); err != nil {
				t.Fatal(err)
			}
		}
		if s := table.Stats(); s.Entries > size.Entries*9/8 || s.Octets > size.Octets*9/8 {
			t.Fatalf("%+v, want at most an eighth more than %+v", s, size)
		}
	}
	before := table.Stats()
	ask()
	if after := table.Stats(); after.Made != before.Made {
		t.Errorf("%d signatures of names that exist were thrown out", after.Made-before.Made)
	}
	if before.Made < 9000 || before.Entries < 20 {
		t.Errorf("%+v", before)
	}
}

// TestFullTable: names that exist and are more than a table keeps make it no larger, and
// what is asked for all the time stays.
func TestFullTable(t *testing.T) {
	records := exampleZone
	for i := range 2000 {
		records = append(records, fmt.Sprintf("h%d 600 A 192.0.2.1", i))
	}
	for _, size := range []onlinesign.Size{{Entries: 256}, {Entries: 4096, Octets: 40_000}, {Entries: 8, Octets: 1}} {
		table := onlinesign.NewTable(size)
		origin := dnsname.MustParse("example.")
		o := newOnline(t, origin, table, inUse(testKeys(t, origin, signer.ED25519)[1:]...), records...)
		r := rand.New(rand.NewPCG(1, 2))
		most, entries := size.Octets, size.Entries*9/8
		if most == 0 {
			most = 32 << 20
		}
		for range 6000 {
			if _, err := o.complete(t, fmt.Sprintf("h%d.example. A", r.IntN(2000)), start); err != nil {
				t.Fatal(err)
			}
			if s := table.Stats(); s.Entries > entries || s.Octets > most || s.Octets > 0 && s.Octets < 100*s.Entries {
				t.Fatalf("%+v with %+v", s, size)
			}
		}
		if s := table.Stats(); s.Entries == 0 && size.Octets != 1 {
			t.Errorf("%+v with %+v", s, size)
		}
	}
}

// TestRenewal: signatures are used for three quarters of their time and not before their
// inception, whichever way the clock goes (K6, K7).
func TestRenewal(t *testing.T) {
	table := onlinesign.NewTable(onlinesign.Size{})
	origin := dnsname.MustParse("example.")
	o := newOnline(t, origin, table, inUse(testKeys(t, origin, signer.ED25519)[0]), exampleZone...)
	made := uint64(0)
	for _, step := range []struct {
		at    time.Duration
		again bool
	}{
		{0, true},
		{time.Minute, false},
		{o.validity/4*3 - time.Second, false},
		{o.validity / 4 * 3, true},
		{o.validity, false},
		{o.validity / 4 * 3, false},
		{o.validity/4*3 - time.Hour - time.Second, true}, // back to before the inception
		{30 * 24 * time.Hour, true},
	} {
		q := question(t, "www.example. A")
		a, wrong := o.ask(q, start.Add(step.at))
		if len(wrong) > 0 {
			t.Errorf("%s: %s\n%s", step.at, strings.Join(wrong, "\n"), text(a))
		}
		if s := table.Stats(); s.Made != made && !step.again || s.Made == made && step.again || s.Entries != 1 {
			t.Errorf("%s: made %d and then %+v", step.at, made, s)
		}
		made = table.Stats().Made
	}
}

// TestKeysAreTold: the same RRset with other keys, or another validity, has signatures of
// its own.
func TestKeysAreTold(t *testing.T) {
	table := onlinesign.NewTable(onlinesign.Size{})
	origin := dnsname.MustParse("example.")
	k := testKeys(t, origin, signer.ED25519)
	set := zone.Set{Owner: "\x03www\x07example\x00", RRset: one(rrset.TypeA, 20, "\x01\x02\x03\x04", "\x01\x02\x03\x05")}
	other := set
	other.Owner, other.RRset = "\x03WWW\x07example\x00", one(rrset.TypeA, 20, "\x01\x02\x03\x05", "\x01\x02\x03\x04")
	const day = 24 * time.Hour
	made := uint64(0)
	for _, c := range []struct {
		uses     []signer.Use
		validity time.Duration
		set      zone.Set
		made     uint64
	}{
		{inUse(k[0]), 10 * day, set, 1},
		{inUse(k[0]), 10 * day, other, 0}, // order and letter case do not count
		{inUse(k[1:]...), 10 * day, set, 1},
		{inUse(k[0]), 20 * day, set, 1},
		{inUse(k[0]), 10 * day, set, 0},
		{inUse(k[0]), 10 * day, zone.Set{Owner: set.Owner, RRset: set.WithTTL(21)}, 1},
		{inUse(k[0]), 10 * day, zone.Set{Owner: "\x04www2\x07example\x00", RRset: set.RRset}, 1},
		{inUse(k[0]), 10 * day, zone.Set{Owner: set.Owner, RRset: one(rrset.TypeA, 20, "\x01\x02\x03\x04")}, 1},
	} {
		s, err := onlinesign.New(origin, signer.Policy{Validity: c.validity}, c.uses, table)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Sign(c.set, false, start); err != nil {
			t.Fatal(err)
		}
		if now := table.Stats().Made; now-made != c.made {
			t.Errorf("%v: %d made, want %d", c, now-made, c.made)
		}
		made = table.Stats().Made
	}
}

// device is a key that signs when it is told to, or fails.
type device struct {
	crypto.Signer
	gate chan error // nil: at once
}

func (d device) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if d.gate != nil {
		if err := <-d.gate; err != nil {
			return nil, err
		}
	}
	return d.Signer.Sign(r, digest, opts)
}

// devices gives a CSK that is a device.
func devices(t testing.TB, gate chan error) []signer.Use {
	t.Helper()
	k, err := signer.NewKey("\x07example\x00", signer.ED25519, signer.CSK, device{testSigner(t), gate})
	if err != nil {
		t.Fatal(err)
	}
	return inUse(k)
}

// testSigner gives a key of the standard library.
func testSigner(t testing.TB) crypto.Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestBusy: no more than so many RRsets are signed at a time, and no more callers wait than
// may, half of them for names that are made up; one RRset is signed once for all who want
// it; signatures that are old will do for who cannot wait.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan error)
		table := onlinesign.NewTable(onlinesign.Size{Workers: 1, Waiting: 4})
		o := newOnline(t, "\x07example\x00", table, devices(t, gate), exampleZone...)
		var all sync.WaitGroup
		ask := func(text string, now time.Time) {
			all.Go(func() {
				if _, err := o.complete(t, text, now); err != nil {
					t.Errorf("%s: %v", text, err)
				}
			})
			synctest.Wait()
		}
		busy := func(text string, now time.Time) {
			t.Helper()
			if _, err := o.complete(t, text, now); !errors.Is(err, onlinesign.ErrBusy) {
				t.Errorf("%s: %v", text, err)
			}
		}
		ask("al.example. CNAME", start)
		gate <- nil
		all.Wait()
		late := start.Add(o.validity - time.Hour)
		ask("www.example. A", late)
		ask("www.example. A", late) // waits for the first
		ask("ns.example. A", late)
		busy("q.w.example. TXT", late) // two wait
		ask("www.example. TXT", late)
		ask("a.ent.example. A", late)
		busy("safe.example. DS", late) // four wait
		if a, err := o.complete(t, "al.example. CNAME", late); err != nil || a.Answer[0].Sigs.IsEmpty() {
			t.Errorf("old signatures: %v", err)
		}
		busy("al.example. CNAME", late.Add(time.Hour)) // they have expired
		if s := table.Stats(); s.Busy != 4 || s.Made != 1 {
			t.Errorf("%+v", s)
		}
		for range 4 {
			gate <- nil
		}
		all.Wait()
		if s := table.Stats(); s.Made != 5 {
			t.Errorf("%+v, want www A, ns A, www TXT and a.ent A signed", s)
		}
	})
}

// TestAdditionalGoes: additional records that cannot be signed now are left out, but not
// what was asked for.
func TestAdditionalGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan error)
		o := newOnline(t, "\x07example\x00", onlinesign.NewTable(onlinesign.Size{Workers: 1, Waiting: 1}), devices(t, gate),
			append([]string{"mx 600 MX 10 www"}, exampleZone...)...)
		var all sync.WaitGroup
		ask := func(text string) {
			all.Go(func() {
				if _, err := o.complete(t, text, start); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		ask("mx.example. MX")
		gate <- nil // the MX RRset
		synctest.Wait()
		ask("ns.example. A") // waits behind the address of www
		a, err := o.complete(t, "mx.example. MX", start)
		if err != nil || len(a.Answer) != 1 || a.Answer[0].Sigs.IsEmpty() || len(a.Additional) != 0 {
			t.Errorf("%v\n%s", err, text(a))
		}
		gate <- nil
		gate <- nil
		all.Wait()
	})
}

// TestKeyFails: the error of a key comes to all who wait, and the next one tries again.
func TestKeyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		gate := make(chan error)
		o := newOnline(t, "\x07example\x00", onlinesign.NewTable(onlinesign.Size{Workers: 1}), devices(t, gate), exampleZone...)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := o.complete(t, "www.example. A", start); !errors.Is(err, broken) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		gate <- broken
		all.Wait()
		all.Go(func() {
			if a, err := o.complete(t, "www.example. A", start); err != nil || a.Answer[0].Sigs.IsEmpty() {
				t.Error(err)
			}
		})
		gate <- nil
		all.Wait()
	})
}

// TestCompleteKnown: who must not wait gets what is kept.
func TestCompleteKnown(t *testing.T) {
	o := newExample(t, onlinesign.Size{})
	for _, ask := range []string{"www.example. A", "nope.example. A", "x.cut.example. A", "q.w.example. MX"} {
		q := question(t, ask)
		var a zone.Answer
		known := func(now time.Time) error {
			o.snap.Lookup(&q, &a)
			return o.CompleteKnown(o.snap, &q, &a, onlinesign.Part{}, now)
		}
		if err := known(start); !errors.Is(err, onlinesign.ErrUnknown) {
			t.Errorf("%s: %v", ask, err)
		}
		want, err := o.complete(t, ask, start)
		if err != nil {
			t.Fatal(err)
		}
		if err := known(start); err != nil || text(&a) != text(want) {
			t.Errorf("%s: %v\n%s", ask, err, text(&a))
		}
		if err := known(start.Add(o.validity)); !errors.Is(err, onlinesign.ErrUnknown) {
			t.Errorf("%s: %v", ask, err)
		}
	}
}

// TestConcurrent: many goroutines ask for the same and for other things, more than the
// table keeps.
func TestConcurrent(t *testing.T) {
	o := newExample(t, onlinesign.Size{Entries: 16, Waiting: 1000})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			var a zone.Answer
			for range 500 {
				ask := []string{"www.example. A", "www.example. AAAA", "x.cut.example. A", "example. DNSKEY", "q.w.example. MX", "q%d.example. A", "q%d.w.example. TXT"}[r.IntN(7)]
				if strings.Contains(ask, "%") {
					ask = fmt.Sprintf(ask, r.IntN(30))
				}
				q := question(t, ask)
				o.snap.Lookup(&q, &a)
				if err := o.Complete(o.snap, &q, &a, onlinesign.Part{}, start); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if s := o.table.Stats(); s.Entries > 24 || s.Busy > 0 {
		t.Errorf("%+v", s)
	}
}

// TestNoAllocs: what is kept costs no allocation.
func TestNoAllocs(t *testing.T) {
	o := newExample(t, onlinesign.Size{})
	for _, ask := range []string{"www.example. A", "www.example. AAAA", "NOPE.example. A", "x.cut.example. A", "x.safe.example. A", "q.w.example. MX", "example. CDS", "www.example. NSEC"} {
		q := question(t, ask)
		var a zone.Answer
		work := func() {
			o.snap.Lookup(&q, &a)
			if err := o.Complete(o.snap, &q, &a, onlinesign.Part{}, start); err != nil {
				t.Fatal(err)
			}
		}
		work()
		if n := testing.AllocsPerRun(200, work); n > 0 && !raceDetector {
			t.Errorf("%s: %v allocations", ask, n)
		}
	}
}

func BenchmarkComplete(b *testing.B) {
	for _, alg := range []signer.Algorithm{signer.ECDSAP256SHA256, signer.ED25519} {
		origin := dnsname.MustParse("example.")
		o := newOnline(b, origin, onlinesign.NewTable(onlinesign.Size{}), inUse(testKeys(b, origin, alg)[1:]...), exampleZone...)
		for _, ask := range []string{"www.example. A", "www.example. AAAA", "nope.example. A"} {
			b.Run(fmt.Sprintf("%s/%s", alg, ask), func(b *testing.B) {
				q := question(b, ask)
				var a zone.Answer
				b.ReportAllocs()
				for b.Loop() {
					o.snap.Lookup(&q, &a)
					if err := o.Complete(o.snap, &q, &a, onlinesign.Part{}, start); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("%s/new name", alg), func(b *testing.B) {
			q := zone.Query{Type: rrset.TypeA, DO: true}
			var a zone.Answer
			for i := 0; b.Loop(); i++ {
				q.Name = dnsname.MustParse(fmt.Sprintf("q%d.example.", i))
				o.snap.Lookup(&q, &a)
				if err := o.Complete(o.snap, &q, &a, onlinesign.Part{}, start); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
