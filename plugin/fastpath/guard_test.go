package fastpath

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/ratelimit"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// plainAnswers answers each query without records.
type plainAnswers struct{}

func (plainAnswers) Takes(*wire.Question) bool { return true }

func (plainAnswers) Append(dst []byte, q *wire.Question, options []byte) ([]byte, zone.Account) {
	return wire.AppendError(dst, q, dns.RcodeSuccess, options), zone.Account{Name: q.Name}
}

// TestGuardDoesNotAllocate: cookies and limits take no memory, whatever is decided.
func TestGuardDoesNotAllocate(t *testing.T) {
	secrets := cookie.NewSecrets(cookie.Secret{1})
	now := time.Now()
	table, err := ratelimit.New(ratelimit.Config{
		Rates: [...]int{20, 20, 20, 20, 20}, Octets: 50_000, All: 1000, Window: 15 * time.Second, Slip: 2, Prefix4: 24, Prefix6: 56,
		Requests: 500, Action: ratelimit.TruncateRequest, Entries: 1000, Log: time.Minute,
	}, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []cookie.Policy{cookie.Never, cookie.Limited, cookie.Always} {
		g := &guard{limits: table.Limits(new(ratelimit.Counts))}
		g.cookies = func(dst []byte, q *wire.Question, from netip.Addr, now uint32) cookie.Decision {
			return secrets.Decide(policy, q.Cookie, from, false, now, dst)
		}
		for what, option := range map[string]string{"none": "", "client": "0123456789abcdef", "malformed": "01", "invalid": "0123456789abcdef0123456789abcdef0123456789abcdef"} {
			m := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
			m.SetEdns0(1232, false)
			if option != "" {
				m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: option}}
			}
			b, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			var q wire.Question
			if o := wire.ParseQuestion(b, &q); o != wire.Plain {
				t.Fatal(o)
			}
			dst, name := make([]byte, 0, wire.MaxUDP), dnsname.MustParse("www.example.org.")
			for i, from := range []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")} {
				respond := func() { g.respond(dst, &q, name, from, len(b), now, plainAnswers{}) }
				respond()
				if n := testing.AllocsPerRun(1000, respond); n > 0 && !raceDetector {
					t.Errorf("policy %d, cookie %s, address %d: %v allocations", policy, what, i, n)
				}
			}
		}
	}
}
