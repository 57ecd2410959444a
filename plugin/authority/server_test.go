package authority

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/nsid"
	_ "github.com/coredns/coredns/plugin/root"
	_ "github.com/coredns/coredns/plugin/transfer"
	_ "github.com/coredns/coredns/plugin/tsig"
	_ "github.com/coredns/coredns/plugin/view"
	_ "github.com/coredns/coredns/plugin/whoami"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

func init() {
	caddy.Quiet, dnsserver.Quiet = true, true
	at := slices.Index(dnsserver.Directives, "hosts")
	if err := dnsserver.SetDirectives(slices.Insert(slices.Clone(dnsserver.Directives), at, name)); err != nil {
		panic(err)
	}
}

// instance is a running server whose Corefile can change.
type instance struct {
	*caddy.Instance
	t *testing.T
}

// serve starts a server; the Corefile has blocks for port 0 that bind to 127.0.0.1.
func serve(t *testing.T, corefile string) *instance {
	t.Helper()
	i, err := caddy.Start(input(corefile))
	if err != nil {
		t.Fatal(err)
	}
	s := &instance{i, t}
	s.await()
	t.Cleanup(func() {
		for _, err := range s.ShutdownCallbacks() {
			t.Error(err)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func input(corefile string) caddy.Input {
	return caddy.CaddyfileInput{Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns"}
}

// reload gives the server a new Corefile.
func (s *instance) reload(corefile string) error {
	next, err := s.Restart(input(corefile))
	s.Instance = next
	s.await()
	return err
}

// await waits until both sockets are served; an instance that is stopped before
// never stops.
func (s *instance) await() {
	s.t.Helper()
	for network, address := range map[string]string{"udp": s.udp(), "tcp": s.tcp()} {
		c := dns.Client{Net: network}
		if _, _, err := c.Exchange(query("example.org.", dns.TypeSOA), address); err != nil {
			s.t.Fatal(err)
		}
	}
}

// udp and tcp give the addresses of the first listener.
func (s *instance) udp() string { return s.Servers()[0].LocalAddr().String() }
func (s *instance) tcp() string { return s.Servers()[0].Addr().String() }

// exchange asks over UDP.
func (s *instance) exchange(req *dns.Msg) *dns.Msg {
	s.t.Helper()
	c := dns.Client{UDPSize: 4096}
	m, _, err := c.Exchange(req, s.udp())
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// serial asks for the serial of a zone, 0 if there is no answer.
func (s *instance) serial(zone string) uint32 {
	s.t.Helper()
	m := s.exchange(query(zone, dns.TypeSOA))
	if len(m.Answer) != 1 {
		return 0
	}
	return m.Answer[0].(*dns.SOA).Serial
}

// minimal is a zone of that serial.
func minimal(serial int) string {
	return fmt.Sprintf("@ 300 SOA ns hostmaster %d 7200 3600 1209600 300\n@ 300 NS ns\nns 300 A 192.0.2.53\n", serial)
}

// raw sends octets over UDP and gives the answer, or nil if there is none until
// an ordinary query sent after it has been answered.
func (s *instance) raw(octets []byte) []byte {
	s.t.Helper()
	conn, err := net.Dial("udp", s.udp())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	after := query("example.org.", dns.TypeSOA)
	after.Id = 1
	last, err := after.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, b := range [][]byte{octets, last} {
		if _, err := conn.Write(b); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	var got []byte
	for answered := false; !answered || got == nil && len(octets) > 2 && octets[0] == 0xbe; {
		buf := make([]byte, 65535)
		n, err := conn.Read(buf)
		if err != nil {
			s.t.Fatal(err)
		}
		if buf[0] == 0 && buf[1] == 1 {
			answered = true
		} else {
			got = buf[:n]
		}
	}
	return got
}

// TestServer has the cases that the server decides before a plugin is asked, so
// that a change of it is seen.
func TestServer(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "example.org"), orgZone)
	s := serve(t, fmt.Sprintf(".:0 {\nbind 127.0.0.1\nroot %s\nauthority example.org {\nfile {zone}\n}\nnsid server-1\n}", dir))

	t.Run("queries", func(t *testing.T) {
		for _, c := range []struct {
			name string
			req  *dns.Msg
			want string
		}{
			{"A1", query("www.example.org.", dns.TypeA), lines("NOERROR aa", wwwA)},
			{"A2", query("WWW.example.org.", dns.TypeA), lines("NOERROR aa", "answer WWW.example.org. 3600 IN A 192.0.2.1")},
			// 16 is BADVERS here; the library knows the name of TSIG for it.
			{"A35 EDNS version 1", query("www.example.org.", dns.TypeA, edns(1232), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }), lines("BADSIG", "opt 0 do=false")},
			{"A36 two OPT records", query("www.example.org.", dns.TypeA, edns(1232), edns(1232)), lines("FORMERR", "opt 1232 do=false")},
			{"A38", query("other.com.", dns.TypeA, edns(1232)), lines("REFUSED", `opt 1232 do=false ede=20 ""`)},
			{"A39", query("version.bind.", dns.TypeTXT, class(dns.ClassCHAOS)), "REFUSED"},
			{"A40 opcode STATUS", query("example.org.", dns.TypeSOA, opcode(dns.OpcodeStatus)), "NOTIMP"},
			{"A41 two questions", query("www.example.org.", dns.TypeA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), "FORMERR"},
			{"A54 a name of 255 octets", query(longName("www.example.org."), dns.TypeA), lines("NXDOMAIN aa", orgSOA)},
			{"NSID", query("www.example.org.", dns.TypeA, edns(1232, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})), lines("NOERROR aa", wwwA, "opt 1232 do=false option=3")},
			{"UPDATE", query("example.org.", dns.TypeSOA, opcode(dns.OpcodeUpdate)), "REFUSED"},
		} {
			t.Run(c.name, func(t *testing.T) {
				if got := show(s.exchange(c.req)); got != c.want {
					t.Errorf("got\n%s\nwant\n%s", got, c.want)
				}
			})
		}
	})
	t.Run("octets", func(t *testing.T) {
		header := func(flags byte, rest ...byte) []byte {
			return append([]byte{0xbe, 0xef, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0}, rest...)
		}
		for _, c := range []struct {
			name   string
			octets []byte
			rcode  int // -1: no answer
		}{
			{"A42 a response", append([]byte{0xab}, header(0x80, 0, 0, 1, 0, 1)[1:]...), -1},
			{"A43 eleven octets", append([]byte{0xab}, header(0)[1:11]...), -1},
			{"A43 a broken name", header(0, 63, 'a', 'b', 0, 0, 1, 0), dns.RcodeFormatError},
		} {
			t.Run(c.name, func(t *testing.T) {
				got := s.raw(c.octets)
				switch {
				case c.rcode < 0 && got != nil:
					t.Errorf("answered with % x", got)
				case c.rcode >= 0 && (len(got) < 12 || int(got[3]&0xf) != c.rcode):
					t.Errorf("answered with % x", got)
				}
			})
		}
	})
}

// longName gives a name of 255 octets that ends in suffix.
func longName(suffix string) string {
	prefix := ""
	for left := 254 - len(suffix); left > 0; {
		n := min(left-1, 63)
		if left-1-n == 1 {
			n--
		}
		prefix += strings.Repeat("x", n) + "."
		left -= n + 1
	}
	return prefix + suffix
}

func TestViews(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "inside"), minimal(1))
	writeFile(t, filepath.Join(dir, "outside"), minimal(2))
	s := serve(t, fmt.Sprintf(`example.org:0 {
	bind 127.0.0.1
	view inside {
		expr type() == 'SOA' && class() == 'IN' && bufsize() > 1000
	}
	authority {
		file %[1]s/inside
	}
}
example.org:0 {
	bind 127.0.0.1
	authority {
		file %[1]s/outside
	}
}`, dir))
	for size, want := range map[uint16]uint32{1232: 1, 512: 2} {
		m := s.exchange(query("example.org.", dns.TypeSOA, edns(size)))
		if len(m.Answer) != 1 || m.Answer[0].(*dns.SOA).Serial != want {
			t.Errorf("EDNS size %d: %s", size, show(m))
		}
	}
}

func TestBlocksShareAZone(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "db"), minimal(1))
	s := serve(t, fmt.Sprintf(`example.org:0 example.net:0 {
	bind 127.0.0.1
	authority example.org {
		file %[1]s/db
	}
	authority example.net {
		file %[1]s/db
	}
}
a.example.org:0 {
	bind 127.0.0.1
	whoami
	authority example.org {
		file %[1]s/db
	}
}`, dir))
	for _, zone := range []string{"example.org.", "example.net."} {
		if got := s.serial(zone); got != 1 {
			t.Errorf("%s: serial %d", zone, got)
		}
	}
	if n := len(zonedb.Process.Zones()); n != 2 {
		t.Errorf("%d live zones", n)
	}
}

func TestTransferByThePlugin(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "example.org"), orgZone)
	writeFile(t, filepath.Join(dir, "example.net"), "@ 300 NS ns\n")
	s := serve(t, fmt.Sprintf(".:0 {\nbind 127.0.0.1\ntransfer {\nto *\n}\nauthority example.org example.net {\nfile %s/{zone}\n}\n}", dir))
	transfer := func(m *dns.Msg) []dns.RR {
		t.Helper()
		ch, err := new(dns.Transfer).In(m, s.tcp())
		if err != nil {
			t.Fatal(err)
		}
		var rrs []dns.RR
		for e := range ch {
			if e.Error != nil {
				t.Fatal(e.Error)
			}
			rrs = append(rrs, e.RR...)
		}
		return rrs
	}
	axfr := transfer(new(dns.Msg).SetAxfr("example.org."))
	ixfr := func(serial uint32) []dns.RR {
		return transfer(new(dns.Msg).SetIxfr("example.org.", serial, "ns1.example.org.", "hostmaster.example.org."))
	}
	parsed := 0
	for p := dns.NewZoneParser(strings.NewReader(orgZone), "example.org.", ""); ; parsed++ {
		if _, ok := p.Next(); !ok {
			if p.Err() != nil {
				t.Fatal(p.Err())
			}
			break
		}
	}
	first, last := axfr[0], axfr[len(axfr)-1]
	if len(axfr) != parsed+1 || first.Header().Rrtype != dns.TypeSOA || !dns.IsDuplicate(first, last) {
		t.Errorf("AXFR: %d records of %d, from %s to %s", len(axfr), parsed, first, last)
	}
	for serial, want := range map[uint32]int{
		2024010101: 1,          // the same
		2024010102: 1,          // later
		2024010100: parsed + 1, // earlier
		4071493750: 1,          // later, across the wrap
	} {
		if got := ixfr(serial); len(got) != want {
			t.Errorf("IXFR from %d: %d records, want %d", serial, len(got), want)
		}
	}
	for _, zone := range []string{"www.example.org.", "example.net.", "other.com."} {
		c := dns.Client{Net: "tcp"}
		m, _, err := c.Exchange(new(dns.Msg).SetAxfr(zone), s.tcp())
		if err != nil {
			t.Fatal(err)
		}
		if m.Rcode == dns.RcodeSuccess || len(m.Answer) > 0 {
			t.Errorf("AXFR of %s: %s", zone, show(m))
		}
	}
}

func TestRoomForTSIG(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "example.org"), orgZone)
	const key, secret = "a-key.example.", "NoTCJU+DMqFWywaPyxSijrDEA/eC3nK0xi3AMEZuPVk="
	s := serve(t, fmt.Sprintf(".:0 {\nbind 127.0.0.1\ntsig {\nsecret %s %s\n}\nauthority example.org {\nfile %s/{zone}\n}\n}", key, secret, dir))
	c := dns.Client{TsigSecret: map[string]string{key: secret}, UDPSize: 65535}
	for _, with := range [][]func(*dns.Msg){nil, {edns(1232)}} {
		limit := 512
		if with != nil {
			limit = 1232
		}
		for _, typ := range []uint16{dns.TypeMX, dns.TypeTXT} {
			req := query(map[uint16]string{dns.TypeMX: "mx.example.org.", dns.TypeTXT: "big.example.org."}[typ], typ, with...)
			req.SetTsig(key, dns.HmacSHA512, 300, time.Now().Unix())
			m, _, err := c.Exchange(req, s.udp())
			if err != nil {
				t.Fatal(err)
			}
			m.Compress = true
			if m.IsTsig() == nil || m.Len() > limit {
				t.Errorf("limit %d: %d octets, signed %t", limit, m.Len(), m.IsTsig() != nil)
			}
			if want := typ == dns.TypeTXT || limit == 512; m.Truncated != want {
				t.Errorf("limit %d, type %d: TC %t", limit, typ, m.Truncated)
			}
		}
	}
}

func TestCacheIsBypassed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	writeFile(t, path, minimal(1))
	corefile := fmt.Sprintf("example.org:0 {\nbind 127.0.0.1\ncache\nauthority {\nfile %s\n}\n}", path)
	s := serve(t, corefile)
	if got := s.serial("example.org."); got != 1 {
		t.Fatalf("serial %d", got)
	}
	writeFile(t, path, minimal(2)+"a 300 A 192.0.2.1\n")
	eventually(t, "the edited zone behind the cache", func() bool { return s.serial("example.org.") == 2 })
}

// TestSizeBehindCache: cache hands a copy of the request on, and the server goes
// by the size in its own. Names of others are none of our business.
func TestSizeBehindCache(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "example.org"), minimal(1))
	s := serve(t, fmt.Sprintf(".:0 {\nbind 127.0.0.1\ncache\nauthority example.org {\nfile %s/{zone}\n}\nwhoami\n}", dir))
	for name, want := range map[string]uint16{"ns.example.org.": 1232, "nope.example.org.": 1232, "other.com.": 4096} {
		m := s.exchange(query(name, dns.TypeA, edns(4096)))
		if opt := m.IsEdns0(); opt == nil || opt.UDPSize() != want {
			t.Errorf("%s: %s, want size %d", name, show(m), want)
		}
	}
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("%s did not come", what)
		case <-tick.C:
		}
	}
}

func TestReload(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "example.org")
	writeFile(t, path, minimal(1))
	block := func(properties string) string {
		return fmt.Sprintf(".:0 {\nbind 127.0.0.1\nauthority example.org {\nfile %s/{zone}\n%s\n}\n}", dir, properties)
	}
	s := serve(t, block(""))
	zone := func() *zonedb.Zone {
		t.Helper()
		zones := zonedb.Process.Zones()
		if len(zones) != 1 {
			t.Fatalf("%d live zones", len(zones))
		}
		return zones[0]
	}
	want := func(step string, serial uint32) {
		t.Helper()
		if got := s.serial("example.org."); got != serial {
			t.Errorf("%s: serial %d, want %d", step, got, serial)
		}
	}
	change := func(step, corefile string) {
		t.Helper()
		if err := s.reload(corefile); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}

	first := zone().Snapshot()
	change("nothing has changed", block(""))
	want("nothing has changed", 1)
	if zone().Snapshot() != first {
		t.Error("an unchanged file was read again")
	}

	writeFile(t, path, minimal(2)+"; longer\n")
	change("an edited zone", block(""))
	want("an edited zone", 2)

	writeFile(t, path, "@ 300 SOA\n")
	change("a broken zone", block(""))
	want("a broken zone", 2)
	if got := metric(t, "coredns_authority_zones", "stale"); got != 1 {
		t.Errorf("%v zones are stale", got)
	}

	change("other options for a broken zone", block("check strict"))
	want("other options for a broken zone", 2)

	writeFile(t, path, minimal(3))
	change("a mended zone", block("check strict"))
	want("a mended zone", 3)
	if got := metric(t, "coredns_authority_zones", "current"); got != 1 {
		t.Errorf("%v zones are current", got)
	}
	if got := metric(t, "coredns_authority_serial", "example.org."); got != 3 {
		t.Errorf("serial %v in the metric", got)
	}

	if err := s.reload(block("nonsense")); err == nil {
		t.Error("a wrong Corefile was taken")
	}
	want("a wrong Corefile", 3)

	change("no authority any more", ".:0 {\nbind 127.0.0.1\nwhoami\n}")
	if n := len(zonedb.Process.Zones()); n != 0 {
		t.Errorf("%d zones live on", n)
	}
}

// TestFailedReloadLeavesNothing: an instance that cannot start is dropped without
// a word to its plugins, whatever was there before.
func TestFailedReloadLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	for _, zone := range []string{"example.org", "example.net"} {
		writeFile(t, filepath.Join(dir, zone), minimal(1))
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours := func(zone, port string) string {
		return fmt.Sprintf("%s:%s {\nbind 127.0.0.1\nauthority {\nfile %s/{zone}\nstore %s/data\n}\n}\n", zone, port, dir, dir)
	}
	const none = ".:0 {\nbind 127.0.0.1\nwhoami\n}\n"
	for name, tc := range map[string]struct {
		corefile string
		zones    int
	}{"with zones": {ours("example.org", "0"), 1}, "without authority": {none, 0}} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.corefile)
			for range 3 {
				if err := s.reload(ours("example.net", "0") + ours("example.com", port)); err == nil {
					t.Fatal("the port is taken, and yet the instance started")
				}
				if n := len(zonedb.Process.Zones()); n != tc.zones {
					t.Fatalf("%d zones, want %d", n, tc.zones)
				}
			}
			if n := len(s.OnRestartFailed); n != 1 {
				t.Errorf("word was left %d times", n)
			}
			if err := s.reload(ours("example.net", "0")); err != nil {
				t.Fatal(err)
			}
			if n := len(zonedb.Process.Zones()); n != 1 {
				t.Errorf("%d zones at last", n)
			}
		})
	}
	t.Run("at the first start", func(t *testing.T) {
		if _, err := caddy.Start(input(ours("example.net", port))); err == nil {
			t.Fatal("the port is taken, and yet the instance started")
		}
		serve(t, ours("example.org", "0"))
		if n := len(zonedb.Process.Zones()); n != 1 {
			t.Errorf("%d zones", n)
		}
	})
}

// TestReloadFailsWhenDone: caddy also says that a restart has failed when the new
// instance serves and the end of the old one went wrong.
func TestReloadFailsWhenDone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	writeFile(t, path, minimal(1))
	corefile := fmt.Sprintf("example.org:0 {\nbind 127.0.0.1\nauthority {\nfile %s\n}\n}", path)
	old, err := caddy.Start(input(corefile))
	if err != nil {
		t.Fatal(err)
	}
	(&instance{old, t}).await()
	trouble := errors.New("trouble")
	old.OnShutdown = append(old.OnShutdown, func() error { return trouble })
	if _, err := old.Restart(input(corefile)); !errors.Is(err, trouble) {
		t.Fatal(err)
	}
	running := caddy.Instances()
	if len(running) != 1 || running[0] == old {
		t.Fatalf("%d instances", len(running))
	}
	s := &instance{running[0], t}
	defer func() {
		if err := errors.Join(append(s.ShutdownCallbacks(), s.Stop())...); err != nil {
			t.Error(err)
		}
	}()
	s.await()
	writeFile(t, path, minimal(2))
	eventually(t, "an edit", func() bool { return s.serial("example.org.") == 2 })
}

func TestMendedFileComesIntoService(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := serve(t, fmt.Sprintf("example.org:0 {\nbind 127.0.0.1\nauthority {\nfile %s\n}\n}", path))
	m := s.exchange(query("example.org.", dns.TypeSOA, edns(1232)))
	if got, want := show(m), lines("SERVFAIL", `opt 1232 do=false ede=14 "zone not loaded"`); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := metric(t, "coredns_authority_load_failed", "example.org."); got != 1 {
		t.Errorf("load_failed is %v", got)
	}
	writeFile(t, path, minimal(7))
	eventually(t, "the mended zone", func() bool { return s.serial("example.org.") == 7 })
}

// TestManyReloads: goleak checks the goroutines at the end.
func TestManyReloads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	writeFile(t, path, minimal(1))
	corefile := fmt.Sprintf("example.org:0 {\nbind 127.0.0.1\nauthority {\nfile %s\n}\n}", path)
	s := serve(t, corefile)
	for range 50 {
		if err := s.reload(corefile); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.serial("example.org."); got != 1 {
		t.Errorf("serial %d", got)
	}
	if n := len(zonedb.Process.Zones()); n != 1 {
		t.Errorf("%d live zones", n)
	}
}

// TestShutdownBeforeStart: a signal can end the server between the reading of
// the Corefile and the end of its start.
func TestShutdownBeforeStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	writeFile(t, path, minimal(1))
	input := caddy.CaddyfileInput{
		Contents:       fmt.Appendf(nil, "example.org:0 {\nauthority {\nfile %s\n}\n}", path),
		ServerTypeName: "dns",
	}
	var instance caddy.Instance
	if err := caddy.ValidateAndExecuteDirectives(input, &instance, true); err != nil {
		t.Fatal(err)
	}
	if errs := instance.ShutdownCallbacks(); len(errs) > 0 {
		t.Error(errs)
	}
}
