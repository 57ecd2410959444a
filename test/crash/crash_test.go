package crash

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/secondary"
)

func TestMain(m *testing.M) { server.Main(m) }

// steps are those of a commit, in their order.
var steps = []string{"prepared", "durable", "visible", "acknowledged", "announced"}

// The server kills itself at each step of a commit, at one of its first commits after the start, or when it starts.
func TestSteps(t *testing.T) {
	t.Parallel()
	r := newRun(t, server.CrashingBinary(t))
	hit := make(map[string]int)
	for _, count := range []int{1, 2, 3, 5} {
		for _, step := range steps {
			if err := r.server.Launch(fmt.Sprintf("TRUSTDNS_CRASH=%s:%d", step, count)); err != nil {
				t.Fatal(err)
			}
			r.lives++
			for edits := 0; r.alive(); edits++ {
				if edits > 4*count {
					t.Fatalf("after %d edits the server has not come to %s:%d; its log:\n%s", edits, step, count, r.server.Log())
				}
				for _, z := range r.zones {
					z.write(t)
				}
				r.settle(t)
			}
			if state := r.server.State(); state != "signal: killed" {
				t.Fatalf("%s:%d: the server ended by %s; its log:\n%s", step, count, state, r.server.Log())
			}
			hit[step]++
			r.inspect(t)
		}
	}
	for _, step := range steps {
		if hit[step] == 0 {
			t.Errorf("the server never came to %q", step)
		}
	}
	t.Logf("killed %d times at %d steps, %d starts, %d versions", sum(hit), len(hit), r.lives, r.versions())
}

// The server is killed at any time: while it starts, reads files or commits. Edits come faster than they are read.
func TestKills(t *testing.T) {
	t.Parallel()
	r := newRun(t, server.Binary(t))
	rng := rand.New(rand.NewPCG(1, 1))
	const rounds = 20
	for range rounds {
		if err := r.server.Launch(); err != nil {
			t.Fatal(err)
		}
		r.lives++
		if rng.IntN(4) > 0 {
			if err := r.server.Await(); err != nil {
				t.Fatal(err)
			}
		}
		end := time.NewTimer(time.Duration(rng.IntN(1000)) * time.Millisecond)
		edit := time.NewTicker(time.Duration(20+rng.IntN(100)) * time.Millisecond)
		for running := true; running; {
			select {
			case <-edit.C:
				z := r.zones[rng.IntN(len(r.zones))]
				z.write(t)
				_ = z.look(t) // while it starts there is no answer
			case <-end.C:
				running = false
			}
		}
		edit.Stop()
		r.server.Kill()
		r.inspect(t)
	}
	t.Logf("killed %d times, %d starts, %d versions", rounds, r.lives, r.versions())
}

// The books find what they are there to find.
func TestTrial(t *testing.T) {
	mixed := func(serial, a, b int) *secondary.Version {
		var rrs []dns.RR
		for _, line := range []string{fmt.Sprintf("@ 60 SOA . . %d 1 1 1 1", serial), fmt.Sprintf("a 60 TXT %d", a), fmt.Sprintf("b 60 TXT %d", b)} {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			rrs = append(rrs, rr)
		}
		v, err := secondary.NewVersion(rrs)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	version := func(serial, n int) *secondary.Version { return mixed(serial, n, n) }
	for _, c := range []struct {
		name  string
		enter []*secondary.Version
		sure  int
		want  string // in the error of the last
	}{
		{"one after the other", []*secondary.Version{version(7, 0), version(8, 1), version(8, 1), version(9, 2)}, 0, ""},
		{"across the wrap", []*secondary.Version{version(4294967295, 0), version(1, 1)}, 0, ""},
		{"one left out", []*secondary.Version{version(7, 0), version(8, 2)}, 0, ""},
		{"between two", []*secondary.Version{version(7, 0), mixed(8, 1, 0)}, 0, "none of the versions from 0 to 2"},
		{"never asked for", []*secondary.Version{version(7, 3)}, 0, "none of the versions"},
		{"older than one that was seen", []*secondary.Version{version(7, 1), version(8, 0)}, 0, "none of the versions from 1 to 2"},
		{"older than one that was acknowledged", []*secondary.Version{version(7, 1)}, 2, "none of the versions from 2 to 2"},
		{"a serial for two versions", []*secondary.Version{version(7, 0), version(7, 1)}, 0, "serial 7 was another version"},
		{"a serial that goes down", []*secondary.Version{version(7, 0), version(6, 1)}, 0, "serial 6 after 7"},
		{"a serial that comes back", []*secondary.Version{version(7, 1), version(8, 1), version(7, 1)}, 0, "serial 7 after 8"},
	} {
		z := newTrial("x.")
		for i := range 3 {
			z.asked = append(z.asked, version(1, i))
		}
		z.acknowledged(c.sure)
		for i, v := range c.enter {
			err := z.enter(v)
			if last := i == len(c.enter)-1; err != nil && (!last || c.want == "") || last && err == nil && c.want != "" || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: version %d: %v, want %q", c.name, i, err, c.want)
			}
		}
	}
}

// versions counts those that were served.
func (r *run) versions() (n int) {
	for _, z := range r.zones {
		n += len(z.serials)
	}
	return n
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
