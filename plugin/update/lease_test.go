package update

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/policy"
)

func leaseOption(lease, key uint32) dns.EDNS0 {
	return &dns.EDNS0_UL{Code: dns.EDNS0UL, Lease: lease, KeyLease: key}
}

// L3, L4, L5: what is granted for what is asked, with the terms that the RFC
// recommends and with others.
func TestGrant(t *testing.T) {
	short := leases{records: term{3, 1, 5}, keys: term{20, 10, 30}}
	usual := leases{records: recordTerm, keys: keyTerm}
	for _, c := range []struct {
		name       string
		leases     leases
		lease, key uint32
		want       granted
		text       string
	}{
		{"as asked", usual, 3600, 0, granted{3600, 3600, false}, "3600s"},
		{"L4: too short", usual, 5, 0, granted{30, 30, false}, "30s"},
		{"the shortest", usual, 30, 0, granted{30, 30, false}, "30s"},
		{"just too short", usual, 29, 0, granted{30, 30, false}, "30s"},
		{"the longest", usual, 86400, 0, granted{86400, 86400, false}, "86400s"},
		{"L5: too long", usual, 1000000, 0, granted{86400, 86400, false}, "86400s"},
		{"the longest that can be asked", usual, 1<<32 - 1, 1<<32 - 1, granted{86400, 604800, true}, "86400s, of keys 604800s"},
		{"0 is the default", usual, 0, 0, granted{3600, 3600, false}, "3600s"},
		{"0, and keys of their own", usual, 0, 60, granted{3600, 60, true}, "3600s, of keys 60s"},
		{"L5: keys too long", usual, 3600, 99999999, granted{3600, 604800, true}, "3600s, of keys 604800s"},
		{"L4: keys too short", usual, 3600, 5, granted{3600, 30, true}, "3600s, of keys 30s"},
		{"keys as asked", usual, 3600, 604800, granted{3600, 604800, true}, "3600s, of keys 604800s"},
		{"keys before records", usual, 3600, 100, granted{3600, 100, true}, "3600s, of keys 100s"},
		{"other terms", short, 4, 25, granted{4, 25, true}, "4s, of keys 25s"},
		{"other terms, 0", short, 0, 0, granted{3, 3, false}, "3s"},
		{"other terms, too short", short, 1, 1, granted{1, 10, true}, "1s, of keys 10s"},
		{"other terms, too long", short, 60, 60, granted{5, 30, true}, "5s, of keys 30s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := new(dns.Msg).SetEdns0(1232, false)
			m.IsEdns0().Option = append(m.IsEdns0().Option, leaseOption(c.lease, c.key))
			got, ok := c.leases.grant(m)
			if !ok || got != c.want || got.String() != c.text {
				t.Errorf("granted %v (%s), %v", got, got, ok)
			}
			if got.of(dns.TypeA) != c.want.records || got.of(dns.TypeKEY) != c.want.keys || got.of(dns.TypeDNSKEY) != c.want.records {
				t.Errorf("of A %d, of KEY %d, of DNSKEY %d", got.of(dns.TypeA), got.of(dns.TypeKEY), got.of(dns.TypeDNSKEY))
			}
			// The response has the form of the request.
			o := got.option().(*dns.EDNS0_UL)
			if o.Lease != c.want.records || (o.KeyLease != 0) != (c.key != 0) || c.key != 0 && o.KeyLease != c.want.keys {
				t.Errorf("the option %+v", o)
			}
		})
	}
}

func TestGrantWithoutOption(t *testing.T) {
	l := leases{records: recordTerm, keys: keyTerm}
	other := new(dns.Msg).SetEdns0(1232, false)
	other.IsEdns0().Option = append(other.IsEdns0().Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_LOCAL{Code: 65001, Data: make([]byte, 8)})
	for name, m := range map[string]*dns.Msg{"without EDNS": new(dns.Msg), "with other options": other} {
		if g, ok := l.grant(m); ok || g != (granted{}) {
			t.Errorf("%s: %v, %v", name, g, ok)
		}
	}
	// The first of two options counts.
	m := new(dns.Msg).SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, leaseOption(100, 0), leaseOption(200, 300))
	if g, ok := l.grant(m); !ok || g != (granted{100, 100, false}) {
		t.Errorf("two options: %v, %v", g, ok)
	}
}

func TestLeaseRequiredOf(t *testing.T) {
	b, err := parsed("update {\n" + granted1 + "lease required for *.hosts.example.org\nlease required for one.example.org\n}")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"a.hosts.example.org.": true, "a.b.hosts.example.org.": true, "hosts.example.org.": false, "one.example.org.": true, "ddns.example.org.": false} {
		if b.leases.requiredOf(policy.Client{Key: dnsname.MustParse(key)}) != want {
			t.Errorf("%s: want %v", key, want)
		}
	}
	if b.leases.requiredOf(policy.Client{}) {
		t.Error("nobody must have a lease")
	}
}
