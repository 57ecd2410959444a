package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/trustdns/trustdns/test/server"
)

// transfers is what AXFR of a zone takes.
type transfers struct {
	zone    string
	records int
	results []*transferred   // in the order of the candidates
	client  [2]time.Duration // that reading our answer takes if nothing has to make it: not signed, signed
}

// transferred is what was measured of one server: not signed, signed.
type transferred struct {
	server string
	kinds  [2]transfer
}

// transfer is what a server takes for one kind of transfer.
type transfer struct {
	took, cpu []time.Duration // from the client's connection to the last octet; CPU time of the server; by round
	octets    int64           // on the wire
	messages  int
	failed    string // why there is none
}

// The two kinds.
const (
	unsignedAXFR = iota
	signedAXFR
)

// seconds gives the median of the rounds.
func (x *transfer) seconds() float64 { return median(x.took).Seconds() }

// find gives what was measured of a server, zeros if there is nothing.
func (x *transfers) find(name string) *transferred {
	for _, r := range x.results {
		if r.server == name {
			return r
		}
	}
	return &transferred{}
}

// benchKey signs the transfers.
var benchKey = server.Key{Name: "xfr.bench.example", Algorithm: "hmac-sha256", Secret: "YmVuY2htYXJrcyBhcmUgbm90IHNlY3JldCBhdCBhbGw="}

// transfers fetches a zone from all servers, first to see that it comes and then in
// rounds, the servers taking turns.
func (m *meter) transfers(t *testing.T, s *set, path string) {
	x := &m.report.transfers
	x.zone, x.records = s.name, s.records
	var live []*running
	for _, c := range m.report.chosen {
		if c.extra || !c.takes(s.name) {
			continue
		}
		r := &running{candidate: c, transferred: &transferred{server: c.name}}
		r.Server, _, _ = m.launch(t, func() *server.Server {
			return c.start(t, server.Zone{Origin: s.origin, File: path, Key: &benchKey})
		})
		defer r.Stop()
		live = append(live, r)
		x.results = append(x.results, r.transferred)
	}
	for _, r := range live {
		for kind := range r.transferred.kinds {
			m.tryTransfer(t, s, r, kind)
		}
	}
	runtime.GC()
	for i := range m.rounds {
		for j := range live {
			r := live[(i+j)%len(live)]
			for kind := range r.transferred.kinds {
				if r.transferred.kinds[kind].failed != "" {
					continue
				}
				if err := m.transfer(s, r, kind); err != nil {
					t.Fatalf("%s: AXFR from %s: %v", s.name, r.name, err)
				}
			}
		}
	}
	for _, r := range live {
		k := &r.transferred.kinds
		progress("%s: AXFR from %s takes %.2f s, signed %.2f s", s.name, r.name, k[unsignedAXFR].seconds(), k[signedAXFR].seconds())
	}
}

// axfr gives a request for the zone of a set.
func axfr(s *set, kind int) (*request, error) {
	var key *server.Key
	if kind == signedAXFR {
		key = &benchKey
	}
	return newRequest(s.origin, s.records, 4711, key)
}

// tryTransfer fetches a zone for the first time. Of our answer it also measures what
// the client takes for it alone.
func (m *meter) tryTransfer(t *testing.T, s *set, r *running, kind int) {
	q, err := axfr(s, kind)
	if err != nil {
		t.Fatal(err)
	}
	var record bytes.Buffer
	var into io.Writer
	if r.name == ours {
		into = &record
	}
	f, err := q.fetch(r.Addr, into)
	x := &r.transferred.kinds[kind]
	x.octets, x.messages = f.octets, f.messages
	switch {
	case err != nil && r.name == stock: // nobody says that it can do all of this
		x.failed = err.Error()
		progress("%s: AXFR from %s: %v", s.name, r.name, err)
	case err != nil:
		t.Fatalf("%s: AXFR from %s: %v", s.name, r.name, err)
	case r.name == ours:
		var times []time.Duration
		for range m.rounds {
			took, err := replay(q, record.Bytes(), m.serverCore)
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, took)
		}
		m.report.transfers.client[kind] = median(times)
	}
}

// replay fetches an answer that a thread on another core has ready.
func replay(q *request, answer []byte, core int) (time.Duration, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	sent := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := pinThread(core); err != nil {
			sent <- errors.Join(err, l.Close())
			return
		}
		sent <- serveOnce(l, len(q.message), answer)
	}()
	f, err := q.fetch(l.Addr().(*net.TCPAddr).AddrPort(), nil)
	if e := <-sent; err == nil {
		err = e
	}
	return f.took, err
}

// serveOnce takes one connection, reads so many octets and writes an answer. It
// closes the listener.
func serveOnce(l net.Listener, query int, answer []byte) error {
	conn, err := l.Accept()
	if err = errors.Join(err, l.Close()); err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, conn, int64(query))
	if err == nil {
		_, err = conn.Write(answer)
	}
	return errors.Join(err, conn.Close())
}

// transfer fetches a zone in one round.
func (m *meter) transfer(s *set, r *running, kind int) error {
	q, err := axfr(s, kind)
	if err != nil {
		return err
	}
	before, err := proc.cpu(r.PID())
	if err != nil {
		return err
	}
	f, err := q.fetch(r.Addr, nil)
	if err != nil {
		return err
	}
	after, err := proc.cpu(r.PID())
	if err != nil {
		return err
	}
	x := &r.transferred.kinds[kind]
	x.took = append(x.took, f.took)
	x.cpu = append(x.cpu, after-before)
	return nil
}
