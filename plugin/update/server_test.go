package update

import (
	golog "log"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/root"
	_ "github.com/coredns/coredns/plugin/tsig"
	"github.com/miekg/dns"
	"go.uber.org/goleak"

	_ "github.com/trustdns/trustdns/plugin/authority"
	_ "github.com/trustdns/trustdns/plugin/keys"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

func init() {
	caddy.Quiet, dnsserver.Quiet = true, true
	list := slices.Clone(dnsserver.Directives)
	list = slices.Insert(list, slices.Index(list, "tsig"), "keys")
	list = slices.Insert(list, slices.Index(list, "hosts"), name, "authority")
	if err := dnsserver.SetDirectives(list); err != nil {
		panic(err)
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// zoneText is the zone that the cases U1 to U46 are about, with serial 10.
const zoneText = `@ 300 IN SOA ns1 hostmaster 10 7200 3600 1209600 300
@ 300 NS ns1
@ 300 NS ns2
ns1 300 A 192.0.2.53
ns2 300 A 192.0.2.54
www 300 A 192.0.2.1
c 300 CNAME www
a.ent 300 A 192.0.2.3
`

// folder gives one with the file of the zone.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), zoneText)
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rrs reads records.
func rrs(lines ...string) (list []dns.RR) {
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			panic(err)
		}
		list = append(list, rr)
	}
	return list
}

func input(corefile string) caddy.Input {
	return caddy.CaddyfileInput{Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns"}
}

// running is an instance of the server; all its blocks are for port 0.
type running struct{ *caddy.Instance }

// start starts a server that ends with the test.
func start(t *testing.T, corefile string) (*running, error) {
	t.Helper()
	mark := zonedb.Process.Mark()
	i, err := caddy.Start(input(corefile))
	if err != nil {
		zonedb.Process.CloseSince(mark) // else the process would end
		return nil, err
	}
	s := &running{i}
	s.await(t)
	t.Cleanup(func() {
		s.await(t)
		for _, err := range s.ShutdownCallbacks() {
			t.Error(err)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s, nil
}

// await waits until all sockets are served; an instance that is stopped before
// never stops.
func (s *running) await(t *testing.T) {
	t.Helper()
	m := new(dns.Msg).SetQuestion("example.org.", dns.TypeSOA)
	for _, l := range s.Servers() {
		for network, a := range map[string]net.Addr{"udp": l.LocalAddr(), "tcp": l.Addr()} {
			if _, _, err := (&dns.Client{Net: network}).Exchange(m, a.String()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// update sends an update that ddns.example.org. has signed, over UDP, to 127.0.0.1.
func (s *running) update(t *testing.T, fill func(*dns.Msg)) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetUpdate("example.org.")
	fill(m)
	m.SetTsig("ddns.example.org.", dns.HmacSHA256, 300, time.Now().Unix())
	c := dns.Client{TsigSecret: map[string]string{"ddns.example.org.": secret}, Timeout: 10 * time.Second}
	at := slices.IndexFunc(s.Servers(), func(l caddy.ServerListener) bool {
		return strings.HasPrefix(l.LocalAddr().String(), "127.0.0.1:")
	})
	r, _, err := c.Exchange(m, s.Servers()[at].LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// capture collects what is logged until the test ends.
type capture struct {
	mu sync.Mutex
	b  strings.Builder
}

func (c *capture) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(b)
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

func captureLog(t *testing.T) *capture {
	c := new(capture)
	golog.SetOutput(c)
	t.Cleanup(func() { golog.SetOutput(os.Stderr) })
	return c
}
