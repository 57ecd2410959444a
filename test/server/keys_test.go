package server

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Peers that have a key for a zone give it to who signs with that key, and to who
// does not sign.
func TestTransfersWithKey(t *testing.T) {
	key := &Key{Name: "xfr.x.example", Algorithm: "hmac-sha256", Secret: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
	other := &Key{Name: key.Name, Algorithm: key.Algorithm, Secret: strings.ToLower(key.Secret)}
	for _, c := range []struct {
		program string
		start   func(testing.TB, []Zone, ...string) *Server
	}{{"named", StartNamed}, {"knotd", StartKnotd}, {"nsd", StartNSD}} {
		t.Run(c.program, func(t *testing.T) {
			Require(t, c.program)
			z := writeZone(t)
			z.Key = key
			s := c.start(t, []Zone{z})
			for _, k := range []*Key{nil, key} {
				if n, err := transfer(s, "x.example.", k); err != nil || n != 4 {
					t.Errorf("with key %v: %d records, %v", k, n, err)
				}
			}
			if n, err := transfer(s, "x.example.", other); err == nil {
				t.Errorf("with a wrong secret: %d records", n)
			}
		})
	}
}

// transfer fetches a zone by AXFR, signed if there is a key, and counts its records.
func transfer(s *Server, zone string, key *Key) (records int, err error) {
	m := new(dns.Msg)
	m.SetAxfr(zone)
	tr := new(dns.Transfer)
	if key != nil {
		name := dns.Fqdn(key.Name)
		m.SetTsig(name, dns.Fqdn(key.Algorithm), 300, time.Now().Unix())
		tr.TsigSecret = map[string]string{name: key.Secret}
	}
	messages, err := tr.In(m, s.Addr.String())
	if err != nil {
		return 0, err
	}
	for e := range messages {
		if e.Error != nil {
			err = e.Error
		}
		records += len(e.RR)
	}
	return records, err
}
