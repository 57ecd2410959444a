package authority

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// notifySecondary answers NOTIFY on the loopback interface and gives the serials.
func notifySecondary(t *testing.T) (address string, serials <-chan uint32) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan uint32, 100)
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(r)
		if err := w.WriteMsg(m); err != nil {
			t.Error(err)
		}
		if r.Opcode != dns.OpcodeNotify || len(r.Answer) != 1 {
			t.Errorf("got %v", r)
			return
		}
		got <- r.Answer[0].(*dns.SOA).Serial
	})}
	// The library refuses NOTIFY messages with an answer section by default.
	s.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
	started, ended := make(chan struct{}), make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	go func() {
		defer close(ended)
		if err := s.ActivateAndServe(); err != nil {
			t.Error(err)
		}
	}()
	<-started
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return conn.LocalAddr().String(), got
}

// TestNotify: secondaries hear of the version at the start and of each change,
// and not again because the server is reloaded.
func TestNotify(t *testing.T) {
	address, serials := notifySecondary(t)
	next := func() uint32 {
		t.Helper()
		select {
		case s := <-serials:
			return s
		case <-time.After(10 * time.Second):
			t.Fatal("no NOTIFY")
			return 0
		}
	}
	dir := t.TempDir()
	db := zonedb.New(time.Hour) // the system tells of edits
	start := func(property string) *block {
		c := caddy.NewTestController("dns", fmt.Sprintf("authority {\n%s\nnotify %s\n}", fmt.Sprintf(property, dir), address))
		c.ServerBlockKeys = []string{"."}
		if property[0] == 'f' {
			c.ServerBlockKeys = []string{"example.org"}
		}
		b, err := parse(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.owner.bind(); err != nil {
			t.Fatal(err)
		}
		if err := b.open(db); err != nil {
			t.Fatal(err)
		}
		return b
	}
	path := filepath.Join(dir, "example.org.zone")
	for _, property := range []string{"file %s/example.org.zone", "directory %s"} {
		writeFile(t, path, minimal(7))
		first := start(property)
		if s := next(); s != 7 {
			t.Errorf("at the start: serial %d", s)
		}
		writeFile(t, path, minimal(8))
		if s := next(); s != 8 {
			t.Errorf("after a change: serial %d", s)
		}
		second := start(property)
		first.close()
		writeFile(t, path, minimal(9))
		if s := next(); s != 9 {
			t.Errorf("after a reload and a change: serial %d", s)
		}
		second.close()
		process.mu.Lock()
		if n := len(process.targets); n > 0 || process.notifier != nil {
			t.Errorf("%d targets are left", n)
		}
		process.mu.Unlock()
	}
}

func TestNotifySource(t *testing.T) {
	for _, c := range []struct {
		target string
		hosts  []string
		want   string
	}{
		{"192.0.2.1", []string{""}, ""},
		{"192.0.2.1", []string{"0.0.0.0", "192.0.2.7"}, "192.0.2.7"},
		{"192.0.2.1", []string{"2001:db8::1", "127.0.0.1", "192.0.2.7", "192.0.2.8"}, "192.0.2.7"},
		{"2001:db8::2", []string{"192.0.2.7", "::", "2001:db8::1"}, "2001:db8::1"},
		{"127.0.0.1", []string{"192.0.2.7", "127.0.0.2"}, "127.0.0.2"},
		{"192.0.2.1", []string{"127.0.0.2"}, ""},
	} {
		got := sourceFor(netip.MustParseAddr(c.target), c.hosts)
		if want, err := netip.ParseAddr(c.want); c.want != "" && (err != nil || got != want) || c.want == "" && got.IsValid() {
			t.Errorf("to %s, bound to %q: %s, want %q", c.target, c.hosts, got, c.want)
		}
	}
}
