package interop

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

const limitedZone = `@ 3600 IN SOA ns hostmaster 1 7200 1800 1209600 300
@ 3600 IN NS ns
ns 3600 IN A 192.0.2.53
www 300 IN A 192.0.2.1
www 300 IN AAAA 2001:db8::1
*.wild 300 IN A 192.0.2.2
a.b.ent 300 IN A 192.0.2.3
sub 300 IN NS ns.sub
ns.sub 300 IN A 192.0.2.54
sub 300 IN DS 12345 13 2 3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b
tree 300 IN DNAME example.com.
alias 300 IN CNAME www
*.lost 300 IN CNAME nowhere
`

// A stream is queries that share an account, or do not, from a network of their own.
type stream struct {
	name  string
	query func(random *rand.Rand) (name string, qtype uint16)
}

func label(random *rand.Rand) string { return fmt.Sprintf("x%d", random.Uint32()) }

// refusals is the stream of errors: named drops all of those that are limited, and ours sends one of so many, as it cannot
// be truncated.
const refusals = "refused"

var streams = []stream{
	{"one name", func(*rand.Rand) (string, uint16) { return "www.example.org.", dns.TypeA }},
	{"two types", func(r *rand.Rand) (string, uint16) {
		return "WWW.example.org.", []uint16{dns.TypeA, dns.TypeAAAA}[r.IntN(2)]
	}},
	{"no data", func(r *rand.Rand) (string, uint16) {
		return "www.example.org.", []uint16{dns.TypeTXT, dns.TypeMX}[r.IntN(2)]
	}},
	{"an empty non-terminal", func(*rand.Rand) (string, uint16) { return "ent.example.org.", dns.TypeA }},
	{"random names", func(r *rand.Rand) (string, uint16) { return label(r) + ".example.org.", dns.TypeA }},
	{"a wildcard", func(r *rand.Rand) (string, uint16) { return label(r) + ".wild.example.org.", dns.TypeA }},
	{"no data of a wildcard", func(r *rand.Rand) (string, uint16) { return label(r) + ".wild.example.org.", dns.TypeTXT }},
	{"referrals", func(r *rand.Rand) (string, uint16) { return label(r) + ".sub.example.org.", dns.TypeA }},
	{"DS", func(*rand.Rand) (string, uint16) { return "sub.example.org.", dns.TypeDS }},
	{"an alias", func(*rand.Rand) (string, uint16) { return "alias.example.org.", dns.TypeA }},
	{"an alias to nowhere", func(r *rand.Rand) (string, uint16) { return label(r) + ".lost.example.org.", dns.TypeA }},
	{"below a DNAME", func(r *rand.Rand) (string, uint16) { return label(r) + ".tree.example.org.", dns.TypeA }},
	{refusals, func(r *rand.Rand) (string, uint16) { return label(r) + ".example.net.", dns.TypeA }},
}

// tallied is what became of the queries of a stream.
type tallied struct{ sent, answers, slips, drops int }

// sender asks a server from an address, and counts.
type sender struct {
	conn *net.UDPConn
	mu   sync.Mutex
	tallied
}

func newSender(t *testing.T, from string, to netip.AddrPort) *sender {
	t.Helper()
	conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)), net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadBuffer(4 << 20) // what the kernel gives will do
	s := &sender{conn: conn}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if n < 12 {
				continue
			}
			s.mu.Lock()
			if buf[2]&2 != 0 { // TC
				s.slips++
			} else {
				s.answers++
			}
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *sender) send(t *testing.T, packet []byte) {
	t.Helper()
	if _, err := s.conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.sent++
	s.mu.Unlock()
}

func (s *sender) result() tallied {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.tallied
	r.drops = r.sent - r.answers - r.slips
	return r
}

// The same streams at the same rates get the same number of answers, slips and drops
// from named and from ours.
func TestRateLimit(t *testing.T) {
	server.Require(t, "named")
	dir := t.TempDir()
	file := filepath.Join(dir, "example.org.zone")
	if err := os.WriteFile(file, []byte(limitedZone), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, settings := range []struct {
		slip        int
		ours, named string
	}{
		{2, "responses 10\nwindow 5s\nslip 2", "responses-per-second 10; window 5; slip 2;"},
		{3, "responses 4\nnxdomain 20\nnodata 8\nreferral 6\nerror 5\nall 25\nwindow 3s\nslip 3", "responses-per-second 4; nxdomains-per-second 20; " +
			"nodata-per-second 8; referrals-per-second 6; errors-per-second 5; all-per-second 25; window 3; slip 3;"},
	} {
		t.Run(strings.ReplaceAll(settings.ours, "\n", ", "), func(t *testing.T) {
			t.Parallel()
			// A machine that is busy with other things sends late, or loses packets; then it is tried again.
			for attempt := 1; ; attempt++ {
				complaints := compareLimits(t, file, settings.ours, settings.named, settings.slip)
				if len(complaints) == 0 {
					return
				}
				t.Logf("attempt %d: %s", attempt, strings.Join(complaints, "\n"))
				if attempt == attempts {
					t.Fatal("named and ours differ, however often they are tried")
				}
			}
		})
	}
}

const attempts = 4

// compareLimits sends the streams to both and tells what differs.
func compareLimits(t *testing.T, file, settings, options string, slip int) (complaints []string) {
	t.Helper()
	named := server.StartProgram(t, server.Program{
		Name: "named", Zones: []string{"example.org."},
		Prepare: func(dir string, port int) ([]string, error) {
			conf := filepath.Join(dir, "named.conf")
			text := fmt.Sprintf(`options {
	directory %q; pid-file none; session-keyfile none; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; empty-zones-enable no; dnssec-validation no;
	rate-limit { %s };
};
controls { };
zone "example.org" { type primary; file %q; };
`, dir, port, options, file)
			return []string{"-g", "-n", "1", "-c", conf}, os.WriteFile(conf, []byte(text), 0o644)
		},
	})
	ours := server.StartOurs(t, fmt.Sprintf(`example.org:%[1]s {
	bind 127.0.0.1
	ratelimit {
		%[2]s
	}
	authority {
		file %[3]s
	}
}
.:%[1]s {
	bind 127.0.0.1
	ratelimit {
		%[2]s
	}
	acl {
		block
	}
}
`, server.Port, strings.ReplaceAll(settings, "\n", "\n\t\t"), file), "example.org")

	random := rand.New(rand.NewPCG(1, 2))
	var senders [2][]*sender
	for i := range streams {
		from := fmt.Sprintf("127.20.%d.1", i)
		senders[0] = append(senders[0], newSender(t, from, named.Addr))
		senders[1] = append(senders[1], newSender(t, from, ours.Addr))
	}
	const seconds = 12
	for range seconds {
		<-time.After(time.Until(time.Now().Truncate(time.Second).Add(1200 * time.Millisecond))) // away from where seconds change
		var packets [][]byte
		var to []int
		for i, s := range streams {
			for range int(random.ExpFloat64() * 18) {
				name, qtype := s.query(random)
				m := new(dns.Msg).SetQuestion(name, qtype)
				m.RecursionDesired = false
				b, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				packets, to = append(packets, b), append(to, i)
			}
		}
		for i := range packets {
			senders[0][to[i]].send(t, packets[i])
			senders[1][to[i]].send(t, packets[i])
			if i%16 == 15 {
				<-time.After(time.Millisecond) // as much as the sockets hold
			}
		}
	}
	<-time.After(500 * time.Millisecond) // for the last responses
	for i, s := range streams {
		want, got := senders[0][i].result(), senders[1][i].result()
		t.Logf("%-24s named %v, ours %v", s.name, want, got)
		if s.name == refusals {
			leaked := (want.drops + slip - 1) / slip
			want.answers, want.drops = want.answers+leaked, want.drops-leaked
		}
		near := func(what string, a, b int) {
			if math.Abs(float64(a-b)) > 0.05*float64(got.sent) {
				complaints = append(complaints, fmt.Sprintf("%s: %s: named %d, ours %d, of %d", s.name, what, a, b, got.sent))
			}
		}
		near("answers", want.answers, got.answers)
		near("slips", want.slips, got.slips)
		near("drops", want.drops, got.drops)
		if got.sent < 30 || slices.Contains([]int{got.answers, got.drops}, 0) {
			complaints = append(complaints, fmt.Sprintf("%s: %v shows nothing", s.name, got))
		}
	}
	named.Stop()
	ours.Stop()
	return complaints
}
