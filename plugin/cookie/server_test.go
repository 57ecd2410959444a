package cookie

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	golog "log"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/bufsize"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/nsid"
	_ "github.com/coredns/coredns/plugin/root"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
)

func init() {
	caddy.Quiet, dnsserver.Quiet = true, true
	interval = 20 * time.Millisecond
	list := slices.Clone(dnsserver.Directives)
	list = slices.Insert(list, slices.Index(list, "errors"), name)
	list = append(list, "probe")
	if err := dnsserver.SetDirectives(list); err != nil {
		panic(err)
	}
	plugin.Register("probe", func(c *caddy.Controller) error {
		c.Next()
		config := dnsserver.GetConfig(c)
		config.AllowOpcode(dns.OpcodeUpdate)
		c.OnStartup(func() error {
			for _, h := range config.Handlers() {
				if k, ok := h.(cookies); ok {
					found.Store(&k)
				}
			}
			return nil
		})
		config.AddPlugin(func(plugin.Handler) plugin.Handler { return probe{} })
		return nil
	})
}

// cookies is how plugins find the cookies of their block, and found is what the last
// block started has.
type cookies interface {
	Cookies(s *dnsserver.Server) func(dst []byte, q *wire.Question, from netip.Addr, now uint32) cookie.Decision
}

var found atomic.Pointer[cookies]

// errProbe is what probe returns with a code.
var errProbe = errors.New("as asked")

// probe answers as the first label of the question says.
type probe struct{}

func (probe) Name() string { return "probe" }

// TSIGKey makes probe look like the plugin keys.
func (probe) TSIGKey(name string) (algorithm string, secret []byte, ok bool) {
	return dns.HmacSHA256, []byte("secret"), dns.CanonicalName(name) == "known.test."
}

func (probe) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	label, _, _ := strings.Cut(strings.ToLower(r.Question[0].Name), ".")
	m := new(dns.Msg)
	m.SetReply(r)
	add := func(text string) {
		m.Answer = append(m.Answer, &dns.TXT{
			Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{text},
		})
	}
	switch label {
	case "what": // is known
		c := cookie.From(ctx)
		add(fmt.Sprintf("%s %v %d", c.Result, c.Policy == cookie.Limited, c.Room()))
		left := 0
		if opt := r.IsEdns0(); opt != nil {
			left = len(opt.Option)
		}
		add(fmt.Sprintf("%d options", left))
	case "large": // 2,000 octets
		for i := range 40 {
			add(fmt.Sprintf("%040d", i))
		}
	case "option": // of another server, with one that stays
		opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{
			&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708" + "1112131415161718"},
			&dns.EDNS0_EDE{InfoCode: 3},
		}}
		m.Extra = append(m.Extra, opt)
	case "signed": // as stock tsig leaves it
		m.SetTsig("a.test.", dns.HmacSHA256, 300, time.Now().Unix())
	case "servfail":
		return dns.RcodeServerFailure, errProbe
	case "refused":
		return dns.RcodeRefused, nil
	case "nxdomain":
		m.Rcode = dns.RcodeNameError
	case "stream":
		for i := range 3 {
			one := m.Copy()
			one.Answer = []dns.RR{test.TXT(fmt.Sprintf("stream.example.org. 60 IN TXT %d", i))}
			if err := w.WriteMsg(one); err != nil {
				return dns.RcodeServerFailure, err
			}
		}
		return dns.RcodeSuccess, nil
	case "packed":
		b, err := m.Pack()
		if err != nil {
			return dns.RcodeServerFailure, err
		}
		_, err = w.Write(b)
		return dns.RcodeSuccess, err
	}
	return dns.RcodeSuccess, w.WriteMsg(m)
}

// running is an instance of a server whose first listener is asked.
type running struct {
	*caddy.Instance
	t testing.TB
}

func input(corefile string) caddy.Input {
	return caddy.CaddyfileInput{Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns"}
}

// serve starts a server; all blocks must be for port 0 and bind to 127.0.0.1.
func serve(t testing.TB, corefile string) *running {
	t.Helper()
	i, err := caddy.Start(input(corefile))
	if err != nil {
		t.Fatal(err)
	}
	s := &running{i, t}
	t.Cleanup(func() {
		for _, err := range s.ShutdownCallbacks() {
			t.Error(err)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.await()
	return s
}

// await waits until both sockets are served.
func (s *running) await() {
	s.t.Helper()
	s.exchange("udp", ask("ready"))
	s.exchange("tcp", ask("ready"))
}

// exchange asks, with whole responses over UDP.
func (s *running) exchange(network string, m *dns.Msg) *dns.Msg {
	s.t.Helper()
	address := s.Servers()[0].LocalAddr().String()
	if network == "tcp" {
		address = s.Servers()[0].Addr().String()
	}
	c := dns.Client{Net: network, UDPSize: dns.MaxMsgSize, Timeout: 10 * time.Second}
	r, _, err := c.Exchange(m, address)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// sized asks over UDP and gives the size of the response, too.
func (s *running) sized(m *dns.Msg) (*dns.Msg, int) {
	s.t.Helper()
	conn, err := dns.DialTimeout("udp", s.Servers()[0].LocalAddr().String(), 10*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	conn.UDPSize = dns.MaxMsgSize
	b, err := m.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = conn.Write(b)
	if err := errors.Join(err, conn.SetDeadline(time.Now().Add(10*time.Second))); err != nil {
		s.t.Fatal(err)
	}
	b, err = conn.ReadMsgHeader(nil)
	r := new(dns.Msg)
	if err == nil {
		err = r.Unpack(b)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return r, len(b)
}

// inBlock gives a server block for example.org with more lines in it.
func inBlock(lines string) string {
	return "example.org:0 {\nbind 127.0.0.1\n" + lines + "\nprobe\n}\n"
}

// ask gives a query for a name with these COOKIE options.
func ask(label string, options ...string) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(label+".example.org.", dns.TypeTXT)
	if len(options) > 0 {
		m.SetEdns0(1232, false)
		for _, o := range options {
			opt := m.IsEdns0()
			opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: o})
		}
	}
	return m
}

// given is the COOKIE options of a message.
func given(m *dns.Msg) (list []string) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if isCookie(o) {
				list = append(list, o.String())
			}
		}
	}
	return list
}

// Cookies of a client.
const (
	client  = "2464c4abcf10c957"
	invalid = client + "010000005cf79f111f8130c3eee29480"
)

// learn gives the cookie for the client.
func (s *running) learn() string {
	s.t.Helper()
	m := s.exchange("tcp", ask("learn", client))
	if list := given(m); len(list) == 1 && len(list[0]) == 48 && strings.HasPrefix(list[0], client) {
		return list[0]
	}
	s.t.Fatalf("no cookie in\n%v", m)
	return ""
}

// metric gives the value of the counter or gauge with these values of labels.
func metric(t testing.TB, name string, values ...string) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var has []string
			for _, l := range m.GetLabel() {
				has = append(has, l.GetValue())
			}
			if slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(has, v) }) {
				continue
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// waitFor polls until done.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
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

// What each kind of request gets, by policy and transport.
func TestRequire(t *testing.T) {
	for _, policy := range []string{"never", "limited", "always"} {
		s := serve(t, inBlock("cookie {\nrequire "+policy+"\n}"))
		valid := s.learn()
		must := policy == "always"
		for _, network := range []string{"udp", "tcp"} {
			for _, c := range []struct {
				name    string
				options []string
				edns    bool
				known   string // in the context; "" if it is not answered
				rcode   int
				tc      bool
				cookie  bool
			}{
				{name: "K9 no OPT", known: "none"},
				{name: "OPT alone", edns: true, known: "none"},
				{name: "client", options: []string{client}, known: "client", cookie: true},
				{name: "K10, K12 invalid", options: []string{invalid}, known: "invalid", cookie: true},
				{name: "valid", options: []string{valid}, known: "valid", cookie: true},
				{name: "another client", options: []string{"2464c4abcf10c958" + valid[16:]}, known: "invalid", cookie: true},
				{name: "two, the first counts", options: []string{valid, client}, known: "valid", cookie: true},
				{name: "two, the first is malformed", options: []string{client + "00", valid}, rcode: dns.RcodeFormatError},
				{name: "K5 9 octets", options: []string{client + "00"}, rcode: dns.RcodeFormatError},
				{name: "K5 41 octets", options: []string{strings.Repeat("00", 41)}, rcode: dns.RcodeFormatError},
				{name: "300 octets", options: []string{strings.Repeat("00", 300)}, rcode: dns.RcodeFormatError},
				{name: "empty", options: []string{""}, rcode: dns.RcodeFormatError},
			} {
				if must && network == "udp" {
					switch c.known {
					case "none":
						c.known, c.tc = "", true
					case "client", "invalid":
						c.known, c.rcode = "", dns.RcodeBadCookie
					}
				}
				m := ask("what", c.options...)
				if c.edns {
					m.SetEdns0(1232, true)
				}
				r := s.exchange(network, m)
				where := fmt.Sprintf("%s, %s, %s", policy, network, c.name)
				known := ""
				if len(r.Answer) == 2 {
					known = r.Answer[0].(*dns.TXT).Txt[0]
					if left := r.Answer[1].(*dns.TXT).Txt[0]; left != "0 options" {
						t.Errorf("%s: the chain sees %s", where, left)
					}
				}
				want := ""
				if c.known != "" {
					room := 0
					if c.cookie {
						room = 28
					}
					want = fmt.Sprintf("%s %v %d", c.known, policy == "limited" && network == "udp" && c.known != "none", room)
				}
				if r.Rcode != c.rcode || r.Truncated != c.tc || r.Authoritative || known != want || len(r.Question) != 1 || r.Question[0] != m.Question[0] {
					t.Errorf("%s: want %q in\n%v", where, want, r)
				}
				if (m.IsEdns0() == nil) != (r.IsEdns0() == nil) || c.edns && !r.IsEdns0().Do() {
					t.Errorf("%s: OPT record in\n%v", where, r)
				}
				list := given(r)
				if c.cookie != (len(list) == 1 && len(list[0]) == 48 && list[0][:16] == c.options[0][:16]) || !c.cookie && len(list) > 0 {
					t.Errorf("%s: cookies %q in\n%v", where, list, r)
				}
				if c.known == "valid" && list[0] != valid {
					t.Errorf("%s: %q, want the same again", where, list)
				}
			}
		}
		if r := s.exchange("udp", func() *dns.Msg { m := ask("what"); m.Opcode = dns.OpcodeUpdate; return m }()); r.Truncated || len(r.Answer) != 2 {
			t.Errorf("%s: an update without a cookie gets\n%v", policy, r)
		}
	}
}

// A request that keys will check needs no cookie; one by a key that it does not have does.
func TestSigned(t *testing.T) {
	s := serve(t, inBlock("cookie {\nrequire always\n}"))
	for name, answered := range map[string]bool{"known.test.": true, "Known.TEST.": true, "unknown.test.": false} {
		for _, m := range []*dns.Msg{ask("what"), ask("what", client)} {
			m.SetTsig(name, dns.HmacSHA256, 300, time.Now().Unix())
			b, _, err := dns.TsigGenerate(m, "c2VjcmV0", "", false)
			if err != nil {
				t.Fatal(err)
			}
			signed := new(dns.Msg)
			if err := signed.Unpack(b); err != nil {
				t.Fatal(err)
			}
			if r, _ := s.sized(signed); len(r.Answer) == 2 != answered || r.Truncated != (!answered && m.IsEdns0() == nil) {
				t.Errorf("%s:\n%v", name, r)
			}
		}
	}
}

// The wire form of BADCOOKIE (RFC 7873 §8): 7 in the header, 1 in the OPT record.
func TestBadCookieOnTheWire(t *testing.T) {
	s := serve(t, inBlock("cookie {\nrequire always\n}"))
	conn, err := dns.Dial("udp", s.Servers()[0].LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.WriteMsg(ask("what", invalid)); err != nil {
		t.Fatal(err)
	}
	b, err := conn.ReadMsgHeader(nil)
	if err != nil {
		t.Fatal(err)
	}
	opt := b[12+len("\x04what\x07example\x03org\x00")+4:]
	if b[3]&0xf != 7 || opt[0] != 0 || opt[2] != byte(dns.TypeOPT) || opt[5] != 1 || b[7] != 0 || b[9] != 0 || b[11] != 1 {
		t.Errorf("K12: %x", b)
	}
}

// Whatever the plugins behind write, the cookie is in it, once.
func TestResponses(t *testing.T) {
	upstream := serve(t, inBlock("cookie"))
	to := upstream.Servers()[0].LocalAddr().String()
	block := func(lines string) string {
		return "example.org:0 {\nbind 127.0.0.1\nnsid here\nprometheus 127.0.0.1:0\n" + lines + "\n}\n"
	}
	for name, corefile := range map[string]string{
		"alone":     inBlock("cookie"),
		"all":       inBlock("nsid here\nbufsize 700\nprometheus 127.0.0.1:0\nerrors\ncookie\ncache"),
		"forwarded": block("cookie\nforward . " + to),
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, corefile)
			valid := s.learn()
			for _, label := range []string{"what", "nxdomain", "large", "option", "servfail", "refused", "what", "nxdomain", "large", "option", "servfail"} {
				for _, option := range []string{client, valid, "2464c4abcf10c958", invalid} {
					for _, nsid := range []bool{false, true} {
						m := ask(label, option)
						if nsid {
							m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
						}
						r, size := s.sized(m)
						list := given(r)
						// Others get a new one, of the second in which they ask.
						if len(list) != 1 || len(list[0]) != 48 || list[0][:16] != option[:16] || option == valid && list[0] != valid {
							t.Errorf("%s %s: %q in\n%v", label, option, list, r)
						}
						hasNSID := slices.ContainsFunc(r.IsEdns0().Option, func(o dns.EDNS0) bool { return o.Option() == dns.EDNS0NSID && o.String() == "68657265" })
						if nsid && name != "alone" && !hasNSID {
							t.Errorf("%s: no NSID in\n%v", label, r)
						}
						if size > 1232 || name == "all" && size > 700 {
							t.Errorf("%s: %d octets", label, size)
						}
					}
				}
				if r := s.exchange("udp", ask(label)); len(given(r)) > 0 || r.IsEdns0() != nil && label != "option" {
					t.Errorf("%s: without a question for it\n%v", label, r)
				}
				m := ask(label)
				m.SetEdns0(1232, false)
				if r := s.exchange("udp", m); len(given(r)) > 0 {
					t.Errorf("%s: without a question for it\n%v", label, r)
				}
			}
		})
	}
}

// Options of others stay.
func TestOtherOptionsStay(t *testing.T) {
	s := serve(t, inBlock("cookie"))
	r := s.exchange("udp", ask("option", client))
	if opt := r.IsEdns0(); len(opt.Option) != 2 || opt.Option[0].Option() != dns.EDNS0EDE || opt.Option[1].Option() != dns.EDNS0COOKIE {
		t.Errorf("%v", r)
	}
}

// The OPT record is in front of a signature, and there where nobody has put one.
func TestInFrontOfSignature(t *testing.T) {
	for _, opt := range []bool{false, true} {
		m := new(dns.Msg)
		m.SetQuestion("example.org.", dns.TypeTXT)
		if opt {
			m.SetEdns0(4096, false)
		}
		m.SetTsig("a.test.", dns.HmacSHA256, 300, 1)
		extra := m.Extra[:len(m.Extra):len(m.Extra)]
		newWriter(nil, ask("x", client), []byte("clientckandserver")).put(m)
		if len(m.Extra) != 2 || m.Extra[0].Header().Rrtype != dns.TypeOPT || m.IsTsig() == nil || len(given(m)) != 1 {
			t.Errorf("%v", m)
		}
		if extra[len(extra)-1].Header().Rrtype != dns.TypeTSIG {
			t.Error("the records of the message were overwritten")
		}
	}
}

// A stream has the cookie in its first message; packed messages stay as they are.
func TestStreams(t *testing.T) {
	s := serve(t, inBlock("cookie"))
	conn, err := dns.Dial("tcp", s.Servers()[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.WriteMsg(ask("stream", client)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		m, err := conn.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		if list := given(m); (len(list) == 1) != (i == 0) {
			t.Errorf("message %d: %q", i, list)
		}
	}
	if err := conn.WriteMsg(ask("packed", client)); err != nil {
		t.Fatal(err)
	}
	if m, err := conn.ReadMsg(); err != nil || len(m.Extra) != 0 {
		t.Errorf("packed: %v, %v", m, err)
	}
}

// Requests are counted, and codes that are returned count as they would without us.
func TestMetrics(t *testing.T) {
	s := serve(t, inBlock("prometheus 127.0.0.1:0\nerrors\ncookie {\nrequire always\n}"))
	valid := s.learn()
	server := "dns://127.0.0.1:0"
	before := make(map[string]float64)
	for _, result := range []string{"none", "client", "invalid", "valid", "malformed"} {
		before[result] = metric(t, "coredns_cookie_requests_total", server, result)
	}
	codes := func(rcode string) float64 {
		return metric(t, "coredns_dns_responses_total", rcode, "example.org.", server)
	}
	rcodes := map[string]float64{"SERVFAIL": 1, "REFUSED": 1, "BADCOOKIE": 3, "FORMERR": 1, "NOERROR": 1}
	for rcode := range rcodes {
		rcodes[rcode] += codes(rcode)
	}
	for _, m := range []*dns.Msg{
		ask("what"), ask("what", client), ask("what", client), ask("what", invalid), ask("servfail", valid), ask("refused", valid), ask("what", "00"),
	} {
		s.exchange("udp", m)
	}
	for result, n := range map[string]float64{"none": 1, "client": 2, "invalid": 1, "valid": 2, "malformed": 1} {
		if got := metric(t, "coredns_cookie_requests_total", server, result) - before[result]; got != n {
			t.Errorf("%s: %v, want %v", result, got, n)
		}
	}
	for rcode, n := range rcodes {
		if got := codes(rcode); got != n {
			t.Errorf("%s: %v, want %v", rcode, got, n)
		}
	}
}

// The secret of the process is that of all blocks, and stays over a reload.
func TestReloadKeepsSecret(t *testing.T) {
	corefile := inBlock("cookie") + strings.Replace(inBlock("cookie {\nrequire always\n}"), "example.org", "example.net", 1)
	s := serve(t, corefile)
	valid := s.learn()
	known := func(zone string) string {
		m := ask("what", valid)
		m.Question[0].Name = "what." + zone
		r := s.exchange("udp", m)
		if len(r.Answer) == 0 {
			return dns.RcodeToString[r.Rcode]
		}
		text, _, _ := strings.Cut(r.Answer[0].(*dns.TXT).Txt[0], " ")
		return text
	}
	for range 3 {
		for _, zone := range []string{"example.org.", "example.net."} {
			if got := known(zone); got != "valid" {
				t.Errorf("%s: %s", zone, got)
			}
		}
		next, err := s.Restart(input(corefile + "# changed\n"))
		s.Instance = next
		if err != nil {
			t.Fatal(err)
		}
		s.await()
	}
}

// A secret is rolled over in three stages by changes of its file, without a restart; a
// broken file changes nothing.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secrets")
	write(t, path, secretA+"\n")
	log := captureLog(t)
	s := serve(t, inBlock("root "+dir+"\ncookie {\nsecret secrets\nsecret "+secretC+" previous\n}"))
	check := func(stage string, want map[string]string, makes string) {
		t.Helper()
		now := uint32(time.Now().Unix())
		for name, secret := range map[string]string{"A": secretA, "B": secretB, "C": secretC} {
			r := s.exchange("udp", ask("what", hex.EncodeToString(madeBy(t, secret, now))))
			text, _, _ := strings.Cut(r.Answer[0].(*dns.TXT).Txt[0], " ")
			if text != want[name] {
				t.Errorf("%s: by %s: %s, want %s", stage, name, text, want[name])
			}
			got := given(r)[0]
			at, err := hex.DecodeString(got[24:32])
			if err != nil {
				t.Fatal(err)
			}
			if fresh := hex.EncodeToString(madeBy(t, makes, uint32(at[0])<<24|uint32(at[1])<<16|uint32(at[2])<<8|uint32(at[3]))); got != fresh {
				t.Errorf("%s: made %s, want %s", stage, got, fresh)
			}
		}
	}
	change := func(result, text string) {
		t.Helper()
		before := metric(t, "coredns_cookie_reloads_total", result)
		write(t, path, text)
		waitFor(t, "the file to be read", func() bool { return metric(t, "coredns_cookie_reloads_total", result) > before })
	}
	check("at the start", map[string]string{"A": "valid", "B": "invalid", "C": "valid"}, secretA)
	change("ok", secretA+"\n"+secretB+"\n")
	check("stage 1", map[string]string{"A": "valid", "B": "valid", "C": "valid"}, secretA)
	change("ok", secretB+"\n"+secretA+"\n")
	check("stage 2", map[string]string{"A": "valid", "B": "valid", "C": "valid"}, secretB)
	for _, broken := range []string{"", secretA + secretB, secretB + "\nx\n", strings.Repeat("# \n", maxSecretFile)} {
		change("error", broken)
		waitFor(t, "the gauge", func() bool { return metric(t, "coredns_cookie_stale_files") == 1 })
		check("broken", map[string]string{"A": "valid", "B": "valid", "C": "valid"}, secretB)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a line about the file that is gone", func() bool {
		return strings.Contains(log.String(), "secrets: no such file or directory; the secrets before stay in use")
	})
	change("ok", secretB+"\n")
	check("stage 3", map[string]string{"A": "invalid", "B": "valid", "C": "valid"}, secretB)
	waitFor(t, "the gauge", func() bool { return metric(t, "coredns_cookie_stale_files") == 0 })
	for _, secret := range []string{secretA, secretB, secretC} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("a secret is in the log:\n%s", log)
		}
	}
	if strings.Contains(log.String(), "can read or write") {
		t.Errorf("a warning about a file that is secret:\n%s", log)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(secretB+"\n# again\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the warning", func() bool {
		return strings.Contains(log.String(), "others than its owner and group can read or write the file")
	})
}

// However often the server is restarted, or is not because that fails, one watch looks at a
// file.
func TestOneWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	write(t, path, secretA+"\n")
	corefile := inBlock("cookie {\nsecret " + path + "\n}")
	s := serve(t, corefile)
	change := func(text string) {
		t.Helper()
		before := metric(t, "coredns_cookie_reloads_total", "ok")
		write(t, path, text)
		waitFor(t, "the file to be read", func() bool { return metric(t, "coredns_cookie_reloads_total", "ok") > before })
		looks := 0
		waitFor(t, "more looks", func() bool { looks++; return looks > 20 })
		if n := metric(t, "coredns_cookie_reloads_total", "ok") - before; n != 1 {
			t.Errorf("the change was seen %v times", n)
		}
	}
	for i := range 10 {
		for _, bad := range []string{inBlock("cookie {\nsalt\n}"), corefile + strings.Replace(corefile, "127.0.0.1", "192.0.2.1", 1)} {
			if _, err := s.Restart(input(bad)); err == nil {
				t.Fatal("a bad Corefile is taken")
			}
		}
		next, err := s.Restart(input(corefile + strings.Repeat("# changed\n", i)))
		s.Instance = next
		if err != nil {
			t.Fatal(err)
		}
		s.await()
	}
	change(secretB + "\n")
	if _, err := s.Restart(input(inBlock("cookie {\nsecret gone\n}"))); err == nil {
		t.Fatal("a file that is not there is taken")
	}
	change(secretA + "\n" + secretB + "\n")
}

// The function for those who answer without the chain decides as the chain does, counts,
// and does not allocate.
func TestCookies(t *testing.T) {
	serve(t, inBlock("cookie {\nsecret "+secretA+"\nrequire always\n}"))
	address := &dnsserver.Server{Addr: "dns://fast"}
	decide := (*found.Load()).Cookies(address)
	now := uint32(time.Now().Unix())
	valid := madeBy(t, secretA, now)
	addr := netip.MustParseAddr("127.0.0.1")
	dst := make([]byte, 0, cookie.OptionSize)
	for _, c := range []struct {
		option  []byte
		verdict cookie.Verdict
		result  string
	}{
		{nil, cookie.Truncate, "none"},
		{[]byte("clientck"), cookie.BadCookie, "client"},
		{append(valid[:23:23], valid[23]+1), cookie.BadCookie, "invalid"},
		{valid, cookie.Answer, "valid"},
		{valid[:10], cookie.FormErr, "malformed"},
	} {
		q := wire.Question{HasEDNS: true, Cookie: c.option}
		before := metric(t, "coredns_cookie_requests_total", address.Addr, c.result)
		d := decide(dst, &q, addr, now)
		if d.Verdict != c.verdict || c.result != "malformed" && d.Result.String() != c.result {
			t.Errorf("%s: %+v", c.result, d)
		}
		if n := testing.AllocsPerRun(99, func() { decide(dst, &q, addr, now) }); n != 0 {
			t.Errorf("%s: %v allocations", c.result, n)
		}
		if n := metric(t, "coredns_cookie_requests_total", address.Addr, c.result) - before; n != 101 {
			t.Errorf("%s: counted %v times", c.result, n)
		}
	}
}
