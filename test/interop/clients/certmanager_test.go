package clients

import (
	"strings"
	"testing"

	"github.com/cert-manager/cert-manager/pkg/issuer/acme/dns/rfc2136"

	"github.com/trustdns/trustdns/test/server"
)

// cert-manager puts the records of its challenges into the zone and takes them away; two can have the same name.
func TestCertManager(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			solver := func(key *server.Key) *rfc2136.DNSProvider {
				algorithm := strings.ToUpper(strings.ReplaceAll(key.Algorithm, "-", ""))
				s, err := rfc2136.NewDNSProviderCredentials(p.Addr.String(), algorithm, key.Name, key.Secret, rfc2136.WithNetwork(network))
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			const name = "_acme-challenge.example.org."
			s := solver(zoneKey)
			step := func(do func(string, string, string, string) error, value string, want ...string) {
				t.Helper()
				if err := do("", name, forward, value); err != nil {
					t.Error(err)
				}
				p.expect(t, forward, want...)
			}
			one, other := `_acme-challenge 60 TXT "one"`, `_acme-challenge 60 TXT "other"`
			step(s.Present, "one", one)
			step(s.Present, "other", one, other)
			step(s.Present, "other", one, other)
			step(s.CleanUp, "one", other)
			step(s.CleanUp, "other")
			step(s.CleanUp, "other")
			if err := solver(hostKey).Present("", name, forward, "x"); err == nil || !strings.Contains(err.Error(), "REFUSED") {
				t.Errorf("with a key that may not: %v", err)
			}
			p.expect(t, forward)
		})
	}
}
