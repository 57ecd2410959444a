package main

import (
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// message gives a response in wire form.
func message(t *testing.T, rcode int, answer, authority string) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("www.example.org.", dns.TypeA)
	m.Id = 1
	m.Response, m.Authoritative, m.Rcode = true, true, rcode
	for text, section := range map[string]*[]dns.RR{answer: &m.Answer, authority: &m.Ns} {
		for line := range strings.Lines(text) {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			*section = append(*section, rr)
		}
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const soa = "example.org. 300 IN SOA ns1.example.org. h.example.org. 1 2 3 4 5\n"

func TestCompare(t *testing.T) {
	two := message(t, 0, "www.example.org. 300 IN A 192.0.2.1\nwww.example.org. 300 IN A 192.0.2.2\n", "")
	for _, tc := range []struct {
		name            string
		a, b            []byte
		rcodes, answers int
	}{
		{"same", two, two, 0, 0},
		{"another order", two, message(t, 0, "www.example.org. 300 IN A 192.0.2.2\nWWW.example.org. 300 IN A 192.0.2.1\n", ""), 0, 0},
		{"authority beside an answer", two, message(t, 0, "www.example.org. 300 IN A 192.0.2.1\nwww.example.org. 300 IN A 192.0.2.2\n", soa), 0, 0},
		{"another record", two, message(t, 0, "www.example.org. 300 IN A 192.0.2.1\nwww.example.org. 300 IN A 192.0.2.3\n", ""), 0, 1},
		{"another TTL", two, message(t, 0, "www.example.org. 300 IN A 192.0.2.1\nwww.example.org. 301 IN A 192.0.2.2\n", ""), 0, 1},
		{"negative", message(t, 3, "", soa), message(t, 3, "", soa), 0, 0},
		{"another authority", message(t, 3, "", soa), message(t, 3, "", ""), 0, 1},
		{"another response code", message(t, 3, "", soa), message(t, 0, "", soa), 1, 1},
	} {
		d, err := compare("x", [][]byte{two, tc.a}, "y", [][]byte{two, tc.b})
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if d.asked != 2 || d.rcodes != tc.rcodes || d.answers != tc.answers || (d.example != "") != (tc.answers > 0) {
			t.Errorf("%s: %+v", tc.name, d)
		}
	}
	if _, err := compare("x", [][]byte{two}, "y", [][]byte{two[:5]}); err == nil {
		t.Error("half a message compares")
	}
}

// What the encoder answers over the network is what it answers in process.
func TestAskAll(t *testing.T) {
	s := mixed("small", "small.example.", 100)
	snap := loaded(t, s)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		e := encoder{snap: snap}
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil { // closed
				done <- nil
				return
			}
			b, err := e.answer(nil, buf[:n])
			if err == nil {
				_, err = conn.WriteToUDPAddrPort(b, from)
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	var queries [][]byte
	for i, q := range mix(s, 400, 1) {
		b, err := pack(q, uint16(i), false)
		if err != nil {
			t.Fatal(err)
		}
		queries = append(queries, b)
	}
	over, err := askAll(conn.LocalAddr().(*net.UDPAddr).AddrPort(), queries)
	if e := conn.Close(); e != nil {
		t.Error(e)
	}
	if e := <-done; e != nil {
		t.Error(e)
	}
	if err != nil {
		t.Fatal(err)
	}
	direct, err := answerAll(snap, queries)
	if err != nil {
		t.Fatal(err)
	}
	d, err := compare("over the network", over, "in process", direct)
	if err != nil {
		t.Fatal(err)
	}
	if d.answers != 0 {
		t.Errorf("%d answers differ:\n%s", d.answers, d.example)
	}
	if size := meanSize(direct); size != meanSize(over) || size < 30 {
		t.Errorf("mean sizes %.1f and %.1f", size, meanSize(over))
	}
}

func TestEncoderRefusesWhatIsNoPlainQuestion(t *testing.T) {
	e := encoder{snap: loaded(t, tiny())}
	if b, err := e.answer(nil, []byte("short")); err == nil {
		t.Errorf("%x", b)
	}
}

func TestMeanSize(t *testing.T) {
	if got := meanSize([][]byte{make([]byte, 10), make([]byte, 21)}); got != 15.5 {
		t.Errorf("%v", got)
	}
}
