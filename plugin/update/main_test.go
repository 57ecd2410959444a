package update

import (
	golog "log"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

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
