package main

import (
	"testing"
	"time"

	"github.com/miekg/dns"
)

// What is for the chain asks the same as what is not.
func TestPackSlow(t *testing.T) {
	qs := mix(tiny(), 40, 1)
	messages, err := packSlow(qs, true)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range messages {
		var m dns.Msg
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		if q := m.Question[0]; q.Name != qs[i].name || q.Qtype != qs[i].typ || !m.IsEdns0().Do() || m.IsEdns0().UDPSize() != udpSize {
			t.Errorf("%v asks %v", qs[i], &m)
		}
	}
	if _, err := packSlow([]question{{name: "..", typ: dns.TypeA}}, false); err == nil {
		t.Error("a name that is none")
	}
}

// Who loses a query has not answered it in time.
func TestReached(t *testing.T) {
	round := func(lost int) answered {
		a := answered{sent: 100, lost: lost}
		for range a.sent - lost {
			a.each = append(a.each, time.Millisecond)
		}
		return a
	}
	for _, tc := range []struct {
		rounds []answered
		want   time.Duration
	}{
		{nil, 0},
		{[]answered{round(0)}, time.Millisecond},
		{[]answered{round(2)}, patience},
		{[]answered{round(2), round(0), round(0)}, time.Millisecond},
		{[]answered{round(100)}, patience},
	} {
		if got := reached(tc.rounds, 0.99); got != tc.want {
			t.Errorf("%d rounds: %v, want %v", len(tc.rounds), got, tc.want)
		}
	}
}
