package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/wire"
)

// fairness is what queries take that the fast path leaves to the plugin chain: alone,
// and while as many queries come for the fast path as its core can answer.
type fairness struct {
	zone        string
	idle, flood []answered // by round; of the first kind there is one
	rates       []float64  // answers of the fast path a second
	busy        []float64  // part of its core that the server used
	lost        int        // queries for the fast path
}

// What is measured of it.
const (
	slowRate         = 250                    // queries for the chain a second: one in four milliseconds
	floodOutstanding = 200                    // queries for the fast path
	floodStart       = 500 * time.Millisecond // until they come in full
	fairBound        = 10 * time.Millisecond  // of the p99
)

// fairness measures that with a server of ours and a file of queries.
func (m *meter) fairness(t *testing.T, s subject, r *running, file string) {
	f := &m.report.fairness
	f.zone = s.name
	messages, err := packSlow(mix(s, queriesHeld/40*40, 13), s.signed)
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // one place is that of the sender of queries
	a, err := steady(r.Addr, messages, slowRate, m.round)
	if err != nil {
		t.Fatalf("%s: queries for the chain: %v", r.name, err)
	}
	f.idle = append(f.idle, a)
	for range m.rounds {
		if err := m.flood(t, f, r, messages, file); err != nil {
			t.Fatalf("%s: queries for the chain among a flood: %v", r.name, err)
		}
	}
	progress("%s: queries for the chain take %s ms at p99, among a flood %s ms, and %d are lost", s.name,
		milliseconds(reached(f.idle, 0.99)), milliseconds(reached(f.flood, 0.99)), lostOf(f.flood))
}

// flood measures one round.
func (m *meter) flood(t *testing.T, f *fairness, r *running, messages [][]byte, file string) error {
	type result struct {
		load
		error
	}
	sent := make(chan result, 1)
	go func() {
		l, err := send(t.Context(), r.Addr, file, m.round+2*floodStart, floodOutstanding)
		sent <- result{l, err}
	}()
	rest(floodStart)
	busy, a, err := m.among(r.PID(), r.Addr, messages)
	l := <-sent
	if err != nil {
		return err
	}
	f.flood, f.busy = append(f.flood, a), append(f.busy, busy)
	f.rates = append(f.rates, l.rate)
	f.lost += l.lost
	return l.error
}

// among asks for one round, and gives which part of its core the server used
// meanwhile.
func (m *meter) among(pid int, to netip.AddrPort, messages [][]byte) (busy float64, a answered, err error) {
	before, err := proc.cpu(pid)
	if err != nil {
		return 0, a, err
	}
	begin := time.Now()
	if a, err = steady(to, messages, slowRate, m.round); err != nil {
		return 0, a, err
	}
	took := time.Since(begin)
	after, err := proc.cpu(pid)
	return (after - before).Seconds() / took.Seconds(), a, err
}

// packSlow gives the messages that ask questions in a way that the fast path leaves
// to the chain: with the EDNS option EXPIRE (RFC 7314), which asks for nothing here.
func packSlow(qs []question, do bool) ([][]byte, error) {
	list := make([][]byte, len(qs))
	for i, q := range qs {
		m := newQuery(q, 0, do)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true}}
		b, err := m.Pack()
		if err != nil {
			return nil, fmt.Errorf("question %q: %w", q.name, err)
		}
		if o := wire.ParseQuestion(b, new(wire.Question)); o != wire.Slow {
			return nil, fmt.Errorf("query %x for the chain: %s", b, o)
		}
		list[i] = b
	}
	return list, nil
}

// reached gives the median of the rounds of a quantile, for which a query that was
// lost took as long as it was waited for.
func reached(rounds []answered, part float64) time.Duration {
	var list []time.Duration
	for _, a := range rounds {
		all := latencies{each: append([]time.Duration(nil), a.each...)}
		for range a.lost {
			all.each = append(all.each, patience)
		}
		list = append(list, all.quantile(part))
	}
	return median(list)
}
