package main

import (
	"runtime"
	"testing"

	"github.com/trustdns/trustdns/test/server"
)

// floodRate is how many queries a second are sent in the name of a victim.
const floodRate = 20_000

// reflection is what comes of such queries about a zone.
type reflection struct {
	zone string
	answered
}

// reflect measures that with a server of its own, which limits as it does by default.
func (m *meter) reflect(t *testing.T, s subject, z server.Zone) {
	srv, _, _ := m.launch(t, func() *server.Server {
		return startChain(t, z, "cookie\n\tratelimit\n\t"+authority(z)+"\n\tfastpath")
	})
	defer srv.Stop()
	messages, err := packAll(mix(s, queriesHeld/40*40, 17), s.signed)
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // one place is that of the sender of queries
	a, err := steady(srv.Addr, messages, floodRate, m.round)
	if err != nil {
		t.Fatalf("%s: a flood: %v", s.name, err)
	}
	m.report.reflections = append(m.report.reflections, reflection{s.name, a})
	progress("%s: of %d octets sent in the name of a victim %d come to it", s.name, a.out, a.in)
}
