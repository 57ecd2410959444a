package clients

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/plan"
	"sigs.k8s.io/external-dns/provider/rfc2136"

	"github.com/trustdns/trustdns/test/server"
)

// externalDNS returns the settings of external-dns for a primary.
func externalDNS(p primary, key *server.Key) *externaldns.Config {
	return &externaldns.Config{
		RFC2136Host:            []string{p.host()},
		RFC2136Port:            int(p.Addr.Port()),
		RFC2136Zone:            []string{"example.org", "2.0.192.in-addr.arpa"},
		RFC2136TSIGKeyName:     key.Name,
		RFC2136TSIGSecret:      key.Secret,
		RFC2136TSIGSecretAlg:   key.Algorithm,
		RFC2136AXFR:            true,
		RFC2136MinTTL:          30 * time.Second,
		RFC2136BatchChangeSize: 3,
	}
}

// external-dns reads the zones by AXFR, and makes them what they should be.
func TestExternalDNS(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logrus.SetOutput(&log)
	t.Cleanup(func() {
		logrus.SetOutput(io.Discard)
		if t.Failed() {
			t.Logf("the log of external-dns:\n%s", &log)
		}
	})
	p := start(t)
	filter := endpoint.NewDomainFilter([]string{"example.org", "2.0.192.in-addr.arpa"})
	provider, err := rfc2136.New(t.Context(), externalDNS(p, zoneKey), filter)
	if err != nil {
		t.Fatal(err)
	}
	managed := []string{"A", "AAAA", "CNAME", "TXT", "PTR"}
	// changes compares what is there, but for what the zones began with, with what should be.
	changes := func(desired []*endpoint.Endpoint) *plan.Changes {
		t.Helper()
		records, err := provider.Records(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var current []*endpoint.Endpoint
		seeds := 0
		for _, e := range records {
			if e.DNSName == "www.example.org" || e.DNSName == "ns1.example.org" || e.RecordType == "NS" {
				seeds++
				continue
			}
			current = append(current, e)
		}
		if seeds != 4 {
			t.Errorf("of what the zones began with, %d RRsets: %v", seeds, records)
		}
		pl := &plan.Plan{Current: current, Desired: desired, Policies: []plan.Policy{&plan.SyncPolicy{}}, ManagedRecords: managed}
		return pl.Calculate().Changes
	}
	sync := func(desired []*endpoint.Endpoint) {
		t.Helper()
		todo := changes(desired)
		if !todo.HasChanges() {
			t.Error("nothing to do")
		}
		if err := provider.ApplyChanges(t.Context(), todo); err != nil {
			t.Errorf("%v: %v", todo, err)
		}
		if left := changes(desired); left.HasChanges() {
			t.Errorf("still to do: create %v, update %v to %v, delete %v", left.Create, left.UpdateOld, left.UpdateNew, left.Delete)
		}
	}

	const owner = "heritage=external-dns,external-dns/owner=test,external-dns/resource=service/default/app"
	ownership := fmt.Sprintf("a-app 60 TXT %q", owner)
	sync([]*endpoint.Endpoint{
		endpoint.NewEndpointWithTTL("app.example.org", "A", 60, "192.0.2.10", "192.0.2.11"),
		endpoint.NewEndpointWithTTL("app.example.org", "AAAA", 60, "2001:db8::10"),
		endpoint.NewEndpointWithTTL("a-app.example.org", "TXT", 60, owner),
		endpoint.NewEndpointWithTTL("alias.example.org", "CNAME", 300, "app.example.org"),
		endpoint.NewEndpointWithTTL("*.apps.example.org", "A", 60, "192.0.2.12"),
		endpoint.NewEndpointWithTTL("10.2.0.192.in-addr.arpa", "PTR", 60, "app.example.org"),
	})
	p.expect(t, forward, "app 60 A 192.0.2.10", "app 60 A 192.0.2.11", "app 60 AAAA 2001:db8::10", ownership,
		"alias 300 CNAME app.example.org.", "*.apps 60 A 192.0.2.12")
	p.expect(t, reverse, "10 60 PTR app.example.org.")

	// One address less and another TTL, an address instead of an alias, another target, and a name that goes.
	sync([]*endpoint.Endpoint{
		endpoint.NewEndpointWithTTL("app.example.org", "A", 120, "192.0.2.11"),
		endpoint.NewEndpointWithTTL("app.example.org", "AAAA", 60, "2001:db8::10"),
		endpoint.NewEndpointWithTTL("a-app.example.org", "TXT", 60, owner),
		endpoint.NewEndpointWithTTL("*.apps.example.org", "A", 60, "192.0.2.13"),
		endpoint.NewEndpointWithTTL("new.example.org", "CNAME", 60, "app.example.org"),
	})
	p.expect(t, forward, "app 120 A 192.0.2.11", "app 60 AAAA 2001:db8::10", ownership,
		"*.apps 60 A 192.0.2.13", "new 60 CNAME app.example.org.")
	p.expect(t, reverse)

	sync(nil)
	p.expect(t, forward)

	// With a key that may not.
	stranger, err := rfc2136.New(t.Context(), externalDNS(p, hostKey), filter)
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.ApplyChanges(t.Context(), &plan.Changes{Create: []*endpoint.Endpoint{endpoint.NewEndpoint("x.example.org", "A", "192.0.2.10")}}); err == nil {
		t.Error("no error with a key that may not")
	}
	if records, _ := stranger.Records(t.Context()); len(records) > 0 {
		t.Errorf("transferred with a key that may not: %v", records)
	}
	p.expect(t, forward)
}
