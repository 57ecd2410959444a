package interop

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/trustdns/trustdns/test/server"
)

func TestMain(m *testing.M) { server.Main(m) }

// shown is how many differences a failing run prints.
var shown = 20

// startPeers starts the three peers for the zones.
func startPeers(t *testing.T, zones []server.Zone) []*server.Server {
	t.Helper()
	server.Require(t, "named", "knotd", "nsd")
	return []*server.Server{server.StartNamed(t, zones), server.StartKnotd(t, zones), server.StartNSD(t, zones)}
}

// replies asks a server all questions and returns its replies in order.
func replies(s *server.Server, queries []query) ([]reply, int, error) {
	out := make([]reply, len(queries))
	retries := 0
	for _, network := range []string{"udp", "tcp"} {
		var index []int
		var msgs [][]byte
		for i, q := range queries {
			if q.mode.network != network {
				continue
			}
			b, err := q.pack()
			if err != nil {
				return nil, 0, fmt.Errorf("%v: %w", q, err)
			}
			index, msgs = append(index, i), append(msgs, b)
		}
		raw, again, err := ask(network, s.Addr, msgs)
		if err != nil {
			return nil, 0, fmt.Errorf("%s over %s: %w", s.Name, network, err)
		}
		retries += again
		for k, b := range raw {
			r, err := parse(b)
			if err != nil {
				return nil, 0, fmt.Errorf("%s: reply to %v: %w", s.Name, queries[index[k]], err)
			}
			out[index[k]] = r
		}
	}
	return out, retries, nil
}

// TestPeers compares the peers with each other: where they disagree, the table of variants must say who is right.
func TestPeers(t *testing.T) {
	if n, err := strconv.Atoi(os.Getenv("SHOW")); err == nil {
		shown = n
	}
	zones := loadZones(t)
	servers := startPeers(t, zones)
	total, differences := 0, 0
	counts := map[string]int{}
	for _, z := range zones {
		c := readContent(t, z, servers[0])
		queries := generate(c)
		total += len(queries)
		got := make([][]reply, len(servers))
		var wg sync.WaitGroup
		for i, s := range servers {
			wg.Go(func() {
				rs, retries, err := replies(s, queries)
				if err != nil {
					t.Error(err)
				}
				if retries > 0 {
					t.Logf("%s: zone %s: %d questions sent again", s.Name, z.Origin, retries)
				}
				got[i] = rs
			})
		}
		wg.Wait()
		if got[0] == nil || got[1] == nil || got[2] == nil {
			t.FailNow()
		}
		for i, q := range queries {
			s := &situation{zone: c, q: q, named: &got[0][i], knotd: &got[1][i], nsd: &got[2][i]}
			var wrong []string
			for _, a := range aspectNames {
				if s.disagree(a.aspect) {
					v := s.explain(a.aspect)
					if v == nil {
						wrong = append(wrong, a.name)
						continue
					}
					counts[v.name]++
				}
			}
			if len(wrong) > 0 {
				key := z.Origin + " " + strings.Join(wrong, ",")
				counts[key]++
				if counts[key]%97 == 1 {
					differences++
					if differences < shown {
						t.Errorf("%s", s.difference(nil, wrong))
					}
				}
			}
		}
	}
	var keys []string
	for k, n := range counts {
		keys = append(keys, fmt.Sprintf("%7d %s", n, k))
	}
	slices.Sort(keys)
	t.Logf("%d queries\n%s", total, strings.Join(keys, "\n"))
}
