package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
	"github.com/trustdns/trustdns/plugin/pkg/ratelimit"
)

// peer is a client, and keeps what it gets.
type peer struct {
	test.ResponseWriter
	addr   net.Addr
	status error // of its signature
	got    []*dns.Msg
	octets int
}

func (p *peer) RemoteAddr() net.Addr { return p.addr }
func (p *peer) TsigStatus() error    { return p.status }
func (p *peer) WriteMsg(m *dns.Msg) error {
	p.got = append(p.got, m)
	return nil
}

func (p *peer) Write(b []byte) (int, error) {
	p.octets += len(b)
	return len(b), nil
}

func udp(ip string) *peer { return &peer{addr: &net.UDPAddr{IP: net.ParseIP(ip), Port: 53}} }
func tcp(ip string) *peer { return &peer{addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 53}} }

// handlers is how many were made.
var handlers atomic.Int64

// handler gives the one of a directive in front of next. Its table is its own.
func handler(t testing.TB, corefile string, next plugin.HandlerFunc) *RateLimit {
	t.Helper()
	c := caddy.NewTestController("dns", corefile)
	c.ServerBlockKeys = []string{"example.org.", "example.net."}
	b, err := parse(c)
	if err != nil {
		t.Fatal(err)
	}
	b.config.Entries += int(handlers.Add(1))
	if b.shared, err = open(b.config); err != nil {
		t.Fatal(err)
	}
	b.limits = b.newLimits()
	return &RateLimit{Next: next, block: b}
}

func ask(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.SetEdns0(1232, true)
	return m
}

// serve has a request served like the server does, and gives the response or nil.
func (r *RateLimit) serve(t testing.TB, ctx context.Context, p *peer, req *dns.Msg) *dns.Msg {
	t.Helper()
	p.got = nil
	rcode, _ := r.ServeDNS(ctx, request.NewScrubWriter(req, p), req)
	switch {
	case plugin.ClientWrite(rcode):
	case isTCP(p): // nothing is limited there
		return new(dns.Msg).SetRcode(req, rcode)
	default:
		t.Fatalf("code %d was returned: the server would write behind our back", rcode)
	}
	if len(p.got) == 0 {
		return nil
	}
	return p.got[0]
}

// outcome tells in a word what became of a request.
func outcome(m *dns.Msg) string {
	switch {
	case m == nil:
		return "drop"
	case m.Truncated:
		return "truncate"
	case m.Rcode != dns.RcodeSuccess:
		return strings.ToLower(dns.RcodeToString[m.Rcode])
	default:
		return "answer"
	}
}

// outcomes asks n times for what name gives, and counts what became of it.
func (r *RateLimit) outcomes(t testing.TB, ctx context.Context, p *peer, n int, name func(i int) string, qtype uint16) string {
	t.Helper()
	counts := map[string]int{}
	for i := range n {
		counts[outcome(r.serve(t, ctx, p, ask(name(i), qtype)))]++
	}
	return strings.TrimPrefix(fmt.Sprint(counts), "map")
}

func same(name string) func(int) string { return func(int) string { return name } }

func random(suffix string) func(int) string {
	return func(i int) string { return fmt.Sprintf("x%d.%s", i, suffix) }
}

// zone answers like one: by the first label of the question.
func zone(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	q := r.Question[0]
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	name := strings.ToLower(q.Name)
	txt := func(owner, text string) *dns.TXT {
		return &dns.TXT{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{text}}
	}
	soa := test.SOA("example.org. 60 IN SOA ns.example.org. a.example.org. 1 2 3 4 5")
	label, _, _ := strings.Cut(name, ".")
	switch {
	case strings.HasSuffix(name, ".wild.example.org."):
		metadata.SetValueFunc(ctx, "zone/wildcard", func() string { return "*.Wild.example.org." })
		if q.Qtype == dns.TypeTXT {
			m.Answer = append(m.Answer, txt(q.Name, "w"))
		} else {
			m.Ns = append(m.Ns, soa)
		}
	case strings.HasSuffix(name, ".dname.example.org."):
		m.Answer = append(m.Answer, test.DNAME("dname.example.org. 60 IN DNAME example.com."), test.CNAME(q.Name+" 60 IN CNAME x.example.com."))
	case strings.HasSuffix(name, ".cut.example.org."), name == "cut.example.org.":
		if q.Qtype == dns.TypeDS && label == "cut" {
			m.Answer = append(m.Answer, test.DS("cut.example.org. 60 IN DS 1 13 2 00"))
			break
		}
		m.Authoritative = false
		m.Ns = append(m.Ns, test.NS("cut.example.org. 60 IN NS ns.cut.example.org."))
	case strings.HasPrefix(label, "chain"):
		m.Rcode = dns.RcodeNameError
		m.Answer = append(m.Answer, test.CNAME(q.Name+" 60 IN CNAME nowhere.example.org."))
		m.Ns = append(m.Ns, soa)
	case label == "nodata":
		m.Ns = append(m.Ns, soa)
	case label == "large":
		for i := range 10 {
			m.Answer = append(m.Answer, txt(q.Name, fmt.Sprintf("%d%060d", i, i)))
		}
	case label == "packed":
		m.Answer = append(m.Answer, txt(q.Name, "x"))
		b, err := m.Pack()
		if err != nil {
			return dns.RcodeServerFailure, err
		}
		_, err = w.Write(b)
		return dns.RcodeSuccess, err
	case label == "packed-error":
		m.Rcode = dns.RcodeNotAuth
		b, err := m.Pack()
		if err != nil {
			return dns.RcodeServerFailure, err
		}
		_, err = w.Write(b)
		return dns.RcodeSuccess, err
	case label == "www", label == "other":
		m.Answer = append(m.Answer, txt(q.Name, "x"))
	case strings.HasPrefix(label, "refused"):
		return dns.RcodeRefused, errors.New("refused as asked")
	case strings.HasPrefix(label, "servfail"):
		m.Rcode = dns.RcodeServerFailure
	case strings.HasPrefix(label, "compact"): // RFC 9824 §3.1
		m.Ns = append(m.Ns, soa, test.NSEC(q.Name+" 60 IN NSEC \\000."+q.Name+" RRSIG NSEC NXNAME"))
	case strings.HasPrefix(label, "bare"):
		m.Rcode = dns.RcodeNameError
	default:
		m.Rcode = dns.RcodeNameError
		m.Ns = append(m.Ns, soa)
	}
	return dns.RcodeSuccess, w.WriteMsg(m)
}

const five = "ratelimit {\nresponses 5\n}"

// What is an answer to the same, and what is not. Ten are asked each time.
func TestClasses(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct {
		name  string
		qname func(int) string
		qtype uint16
		want  string
	}{
		{"R1: one name", same("www.example.org."), dns.TypeTXT, "[answer:5 drop:2 truncate:3]"},
		{"letter case", func(i int) string { return []string{"www.example.org.", "WWW.example.ORG."}[i%2] }, dns.TypeTXT, "[answer:5 drop:2 truncate:3]"},
		{"R3: two names", func(i int) string { return []string{"www.example.org.", "other.example.org."}[i%2] }, dns.TypeTXT, "[answer:10]"},
		{"R4: random names", random("example.org."), dns.TypeTXT, "[drop:2 nxdomain:5 truncate:3]"},
		{"R4: random names without SOA", func(i int) string { return fmt.Sprintf("bare%d.example.org.", i) }, dns.TypeTXT, "[drop:2 nxdomain:5 truncate:3]"},
		{"R4: random names that a compact proof denies", func(i int) string { return fmt.Sprintf("compact%d.example.org.", i) }, dns.TypeTXT, "[answer:5 drop:2 truncate:3]"},
		{"R5: random names of a wildcard", random("wild.example.org."), dns.TypeTXT, "[answer:5 drop:2 truncate:3]"},
		{"random names of a wildcard without the type", random("wild.example.org."), dns.TypeA, "[answer:5 drop:2 truncate:3]"},
		{"R6: random names below a cut", random("cut.example.org."), dns.TypeA, "[answer:5 drop:2 truncate:3]"},
		{"random names below a DNAME", random("dname.example.org."), dns.TypeA, "[answer:5 drop:2 truncate:3]"},
		{"R7, R13: refusals returned as a code", func(i int) string { return fmt.Sprintf("refused%d.example.org.", i) }, dns.TypeTXT, "[drop:2 refused:8]"},
		{"R13: SERVFAIL written", func(i int) string { return fmt.Sprintf("servfail%d.example.org.", i) }, dns.TypeTXT, "[drop:2 servfail:8]"},
		{"NODATA of one name", same("nodata.example.org."), dns.TypeTXT, "[answer:5 drop:2 truncate:3]"},
		{"what is no name", same("a..b."), dns.TypeTXT, "[drop:2 nxdomain:5 truncate:3]"},
		{"chains of CNAMEs to nowhere are answers of their first name", func(i int) string { return fmt.Sprintf("chain%d.example.org.", i) }, dns.TypeTXT, "[nxdomain:10]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := handler(t, five, zone)
			got := r.outcomes(t, ctx, udp("192.0.2.1"), 10, tc.qname, tc.qtype)
			if got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if other := r.outcomes(t, ctx, udp("192.0.3.1"), 10, tc.qname, tc.qtype); other != tc.want {
				t.Errorf("R8: another network: %s", other)
			}
			if inside := r.outcomes(t, ctx, udp("192.0.2.99"), 2, tc.qname, tc.qtype); strings.Contains(tc.want, "drop") && !strings.Contains(inside, "drop:1") {
				t.Errorf("R8: the same network: %s", inside)
			}
			if stream := r.outcomes(t, ctx, tcp("192.0.2.1"), 10, tc.qname, tc.qtype); strings.Contains(stream, "drop") || strings.Contains(stream, "truncate") {
				t.Errorf("R9: TCP: %s", stream)
			}
		})
	}
	t.Run("R6: DS is not a referral", func(t *testing.T) {
		r := handler(t, five, zone)
		r.outcomes(t, ctx, udp("192.0.2.1"), 10, random("cut.example.org."), dns.TypeA)
		if got := r.outcomes(t, ctx, udp("192.0.2.1"), 5, same("cut.example.org."), dns.TypeDS); got != "[answer:5]" {
			t.Error(got)
		}
	})
	t.Run("what is packed", func(t *testing.T) {
		r := handler(t, five, zone)
		p := udp("192.0.2.1")
		r.outcomes(t, ctx, p, 5, same("packed.example.org."), dns.TypeTXT)
		n := p.octets
		if got := r.outcomes(t, ctx, p, 4, same("packed.example.org."), dns.TypeTXT); got != "[drop:2 truncate:2]" || p.octets != n {
			t.Error(got)
		}
		p = udp("192.0.3.1")
		r.outcomes(t, ctx, p, 10, same("packed-error.example.org."), dns.TypeTXT)
		if p.octets != 8*len(pack(t, new(dns.Msg).SetReply(ask("packed-error.example.org.", dns.TypeTXT)))) {
			t.Errorf("%d octets of errors", p.octets)
		}
	})
}

func pack(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// R12: what slips is empty but for the question and the OPT record.
func TestTruncated(t *testing.T) {
	for name, rcode := range map[string]int{"www.example.org.": dns.RcodeSuccess, "nowhere.example.org.": dns.RcodeNameError} {
		r := handler(t, "ratelimit {\nresponses 5\nslip 1\n}", zone)
		p := udp("192.0.2.1")
		r.outcomes(t, context.Background(), p, 5, same(name), dns.TypeTXT)
		req := ask(name, dns.TypeTXT)
		req.RecursionDesired, req.CheckingDisabled = true, true
		m := r.serve(t, context.Background(), p, req)
		opt := m.IsEdns0()
		if !m.Truncated || len(m.Answer)+len(m.Ns) > 0 || len(m.Question) != 1 || m.Question[0] != req.Question[0] || m.Id != req.Id || !m.Response ||
			!m.RecursionDesired || !m.CheckingDisabled || !m.Authoritative || m.Rcode != rcode || len(m.Extra) != 1 || opt == nil || !opt.Do() || opt.UDPSize() != 1232 {
			t.Errorf("%v", m)
		}
		if len(pack(t, m)) > len(pack(t, req)) {
			t.Error("larger than the request")
		}
		req = new(dns.Msg).SetQuestion(name, dns.TypeTXT)
		if m := r.serve(t, context.Background(), p, req); m.IsEdns0() != nil || !m.Truncated {
			t.Errorf("without OPT: %v", m)
		}
	}
}

func with(result cookie.Result, insist bool) context.Context {
	return cookie.With(context.Background(), cookie.Request{Result: result, Policy: map[bool]cookie.Policy{true: cookie.Limited}[insist]})
}

func TestCookies(t *testing.T) {
	for _, tc := range []struct {
		name   string
		result cookie.Result
		want   string
	}{
		{"none", cookie.None, "[answer:5 drop:2 truncate:3]"},
		{"R14: client cookie", cookie.Client, "[answer:5 badcookie:3 drop:2]"},
		{"R14: server cookie that is not ours", cookie.Invalid, "[answer:5 badcookie:3 drop:2]"},
		{"R10: valid", cookie.Valid, "[answer:10]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := handler(t, five, zone)
			if got := r.outcomes(t, with(tc.result, false), udp("192.0.2.1"), 10, same("www.example.org."), dns.TypeTXT); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
	t.Run("who insists, while limits act", func(t *testing.T) {
		r := handler(t, five, zone)
		asked := 0
		next := r.Next
		r.Next = plugin.HandlerFunc(func(ctx context.Context, w dns.ResponseWriter, m *dns.Msg) (int, error) {
			asked++
			return next.ServeDNS(ctx, w, m)
		})
		p := udp("192.0.2.1")
		if got := r.outcomes(t, with(cookie.Client, true), p, 1, same("www.example.org."), dns.TypeTXT); got != "[answer:1]" {
			t.Errorf("before: %s", got)
		}
		r.outcomes(t, context.Background(), p, 10, same("www.example.org."), dns.TypeTXT)
		asked = 0
		if got := r.outcomes(t, with(cookie.Client, true), p, 3, random("example.org."), dns.TypeTXT); got != "[badcookie:3]" || asked != 0 {
			t.Errorf("%s, %d lookups", got, asked)
		}
		if got := r.outcomes(t, with(cookie.Valid, true), p, 3, same("www.example.org."), dns.TypeTXT); got != "[answer:3]" {
			t.Errorf("with a valid cookie: %s", got)
		}
	})
}

// While limits act upon a network, it gets no response over UDP that is large.
func TestLargeWhileLimited(t *testing.T) {
	r := handler(t, five, zone)
	p, ctx := udp("192.0.2.1"), context.Background()
	if got := r.outcomes(t, ctx, p, 1, same("large.example.org."), dns.TypeTXT); got != "[answer:1]" {
		t.Errorf("before: %s", got)
	}
	r.outcomes(t, ctx, p, 10, same("www.example.org."), dns.TypeTXT)
	if got := r.outcomes(t, ctx, p, 3, same("large.example.org."), dns.TypeTXT); got != "[truncate:3]" {
		t.Errorf("UDP: %s", got)
	}
	if got := r.outcomes(t, ctx, p, 3, same("other.example.org."), dns.TypeTXT); got != "[answer:3]" {
		t.Errorf("small: %s", got)
	}
	if got := r.outcomes(t, with(cookie.Valid, false), p, 3, same("large.example.org."), dns.TypeTXT); got != "[answer:3]" {
		t.Errorf("valid cookie: %s", got)
	}
	if got := r.outcomes(t, ctx, tcp("192.0.2.1"), 3, same("large.example.org."), dns.TypeTXT); got != "[answer:3]" {
		t.Errorf("TCP: %s", got)
	}
}

// Who always needs a cookie is told so, as far as the limit of errors goes; outside of
// the zones that are limited, and in a dry run, without a limit.
func TestAlways(t *testing.T) {
	on := func(result cookie.Result) context.Context {
		return cookie.With(context.Background(), cookie.Request{Result: result, Policy: cookie.Always})
	}
	for _, tc := range []struct {
		directive string
		ctx       context.Context
		want      string
	}{
		{"ratelimit {\nerror 5\n}", on(cookie.Client), "[badcookie:13 drop:7]"},
		{"ratelimit {\nerror 5\n}", on(cookie.Invalid), "[badcookie:13 drop:7]"},
		{"ratelimit {\nerror 5\n}", on(cookie.None), "[drop:7 truncate:13]"},
		{"ratelimit {\nresponses 50\n}", on(cookie.Valid), "[answer:20]"},
		{"ratelimit example.net {\nerror 5\n}", on(cookie.Client), "[badcookie:20]"},
		{"ratelimit {\nerror 5\ndry_run\n}", on(cookie.Client), "[badcookie:20]"},
		{"ratelimit {\nerror 5\nexempt net 192.0.2.0/24\n}", on(cookie.None), "[truncate:20]"},
	} {
		r := handler(t, tc.directive, zone)
		if got := r.outcomes(t, tc.ctx, udp("192.0.2.1"), 20, same("www.example.org."), dns.TypeTXT); got != tc.want {
			t.Errorf("%q: %s, want %s", tc.directive, got, tc.want)
		}
	}
}

func TestRequests(t *testing.T) {
	const limit = "ratelimit {\nresponses 0\nrequests 10%s\nslip 1\n%s\n}"
	www := same("www.example.org.")
	on := func(scheme string) context.Context {
		return context.WithValue(context.Background(), dnsserver.Key{}, &dnsserver.Server{Addr: scheme + "://:53"})
	}
	for _, tc := range []struct {
		name, action, more string
		ctx                context.Context
		peer               *peer
		want               string
	}{
		{"UDP, truncate by default", "", "", on("dns"), udp("192.0.2.1"), "[answer:25 truncate:5]"},
		{"UDP, truncate, client cookie", " truncate", "", with(cookie.Client, false), udp("192.0.2.1"), "[answer:25 badcookie:5]"},
		{"UDP, refuse", " refuse", "", on("dns"), udp("192.0.2.1"), "[answer:25 refused:5]"},
		{"UDP, drop", " drop", "", on("dns"), udp("192.0.2.1"), "[answer:25 drop:5]"},
		{"TCP, truncate", " truncate", "", on("dns"), tcp("192.0.2.1"), "[answer:25 refused:5]"},
		{"TCP, drop", " drop", "", on("dns"), tcp("192.0.2.1"), "[answer:25 drop:5]"},
		{"TLS", "", "", on("tls"), tcp("192.0.2.1"), "[answer:25 refused:5]"},
		{"QUIC looks like UDP", "", "", on("quic"), udp("192.0.2.1"), "[answer:25 refused:5]"},
		{"HTTP/3 looks like UDP", "", "", on("https3"), udp("192.0.2.1"), "[answer:25 refused:5]"},
		{"valid cookie", "", "", with(cookie.Valid, false), udp("192.0.2.1"), "[answer:25 refused:5]"},
		{"exempt cookie", "", "exempt cookie", with(cookie.Valid, false), udp("192.0.2.1"), "[answer:30]"},
		{"R16: exempt net", "", "exempt net 192.0.2.0/25 2001:db8::/32", on("dns"), udp("192.0.2.1"), "[answer:30]"},
		{"exempt address", "", "exempt net 2001:db8::1", on("dns"), udp("2001:db8::1"), "[answer:30]"},
		{"exempt proto tcp", "", "exempt proto tcp", on("dns"), tcp("192.0.2.1"), "[answer:30]"},
		{"exempt proto tcp, TLS", "", "exempt proto tcp", on("tls"), tcp("192.0.2.1"), "[answer:25 refused:5]"},
		{"exempt proto https, HTTP/3", "", "exempt proto tls https", on("https3"), udp("192.0.2.1"), "[answer:30]"},
		{"exempt proto quic", "", "exempt proto quic", on("quic"), udp("192.0.2.1"), "[answer:30]"},
		{"R17: dry run", "", "dry_run", on("dns"), udp("192.0.2.1"), "[answer:30]"},
		{"no peer", "", "", on("dns"), &peer{}, "[answer:30]"},
		{"a peer that is nil", "", "", on("dns"), &peer{addr: (*net.UDPAddr)(nil)}, "[answer:30]"},
		{"a peer of another kind", "", "", on("dns"), &peer{addr: &net.UnixAddr{Name: "x"}}, "[answer:30]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := handler(t, fmt.Sprintf(limit, tc.action, tc.more), zone)
			if got := r.outcomes(t, tc.ctx, tc.peer, 30, www, dns.TypeTXT); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
	t.Run("R16: exempt net has no limit of responses either", func(t *testing.T) {
		r := handler(t, "ratelimit {\nresponses 5\nexempt net 192.0.2.1\n}", zone)
		if got := r.outcomes(t, on("dns"), udp("192.0.2.1"), 30, www, dns.TypeTXT); got != "[answer:30]" {
			t.Error(got)
		}
	})
	t.Run("a refusal says why", func(t *testing.T) {
		r := handler(t, fmt.Sprintf(limit, " refuse", ""), zone)
		p := tcp("192.0.2.1")
		r.outcomes(t, on("dns"), p, 25, www, dns.TypeTXT)
		m := r.serve(t, on("dns"), p, ask("www.example.org.", dns.TypeTXT))
		opt := m.IsEdns0()
		if opt == nil || len(opt.Option) != 1 || opt.Option[0].(*dns.EDNS0_EDE).InfoCode != dns.ExtendedErrorCodeProhibited || !opt.Do() {
			t.Errorf("%v", m)
		}
	})
}

// What is signed by a key that the server knows is from whom it says it is.
func TestKeys(t *testing.T) {
	signed := func(key string) *dns.Msg {
		m := ask("www.example.org.", dns.TypeTXT)
		return m.SetTsig(key, dns.HmacSHA256, 300, 1)
	}
	count := func(t *testing.T, r *RateLimit, p *peer, key string) map[string]int {
		counts := map[string]int{}
		for range 30 {
			counts[outcome(r.serve(t, context.Background(), p, signed(key)))]++
		}
		return counts
	}
	r := handler(t, "ratelimit {\nresponses 5\nrequests 10\nexempt key Friend.example.org\n}", zone)
	if got := count(t, r, udp("192.0.2.1"), "other.example.org."); got["answer"] != 25 || got["refused"] != 5 {
		t.Errorf("a key: %v", got)
	}
	if got := count(t, r, udp("192.0.3.1"), "FRIEND.example.org."); got["answer"] != 30 {
		t.Errorf("an exempt key: %v", got)
	}
	forged := udp("192.0.4.1")
	forged.status = dns.ErrSig
	if got := count(t, r, forged, "friend.example.org."); got["answer"] != 5 {
		t.Errorf("a forged signature: %v", got)
	}
}

// Transfers and what else streams pass as they are written.
func TestStreams(t *testing.T) {
	p := tcp("192.0.2.1")
	n := 0
	r := handler(t, "ratelimit {\nresponses 1\n}", func(_ context.Context, w dns.ResponseWriter, m *dns.Msg) (int, error) {
		for range 10 {
			if err := w.WriteMsg(new(dns.Msg).SetReply(m)); err != nil {
				return dns.RcodeServerFailure, err
			}
			if n++; len(p.got) != n {
				t.Fatalf("%d messages written, %d sent", n, len(p.got))
			}
		}
		return dns.RcodeSuccess, nil
	})
	r.serve(t, context.Background(), p, ask("example.org.", dns.TypeAXFR))
	if n != 10 {
		t.Errorf("%d messages", n)
	}
}

// Other opcodes have a limit of errors alone.
func TestOpcodes(t *testing.T) {
	refuse := false
	r := handler(t, five, func(_ context.Context, w dns.ResponseWriter, m *dns.Msg) (int, error) {
		if refuse {
			return dns.RcodeRefused, nil
		}
		return dns.RcodeSuccess, w.WriteMsg(new(dns.Msg).SetReply(m))
	})
	p := udp("192.0.2.1")
	got := map[string]int{}
	for i := range 40 {
		refuse = i >= 20
		req := new(dns.Msg).SetUpdate("example.org.")
		got[outcome(r.serve(t, context.Background(), p, req))]++
	}
	if fmt.Sprint(got) != "map[answer:20 drop:7 refused:13]" {
		t.Error(got)
	}
}

func TestZones(t *testing.T) {
	r := handler(t, "ratelimit sub.example.org example.net {\nresponses 5\n}", zone)
	p, ctx := udp("192.0.2.1"), context.Background()
	for name, want := range map[string]string{
		"www.example.org.":     "[answer:10]",
		"www.SUB.example.org.": "[answer:5 drop:2 truncate:3]",
		"www.example.net.":     "[answer:5 drop:2 truncate:3]",
	} {
		if got := r.outcomes(t, ctx, p, 10, same(name), dns.TypeTXT); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if _, zones := r.Limits(nil); len(zones) != 2 {
		t.Errorf("zones %v", zones)
	}
}

// The chain and those who decide without it share a table.
func TestLimits(t *testing.T) {
	r := handler(t, five, zone)
	r.outcomes(t, context.Background(), udp("192.0.2.1"), 10, same("www.example.org."), dns.TypeTXT)
	l, zones := r.Limits(nil)
	if zones != nil {
		t.Errorf("zones %v", zones)
	}
	w := &writer{block: r.block, request: ask("WWW.example.org.", dns.TypeTXT), ResponseWriter: udp("192.0.2.1")}
	w.parse()
	w.ask(context.Background())
	now := r.start()
	l.Request(now, &w.client)
	d := l.Response(now, &w.client, &ratelimit.Response{Class: ratelimit.Positive, Name: "\x03www\x07example\x03org\x00", Type: dns.TypeTXT})
	if d != ratelimit.Drop && d != ratelimit.Truncate {
		t.Errorf("decision %v", d)
	}
	if top := r.Top(3); len(top) != 1 || top[0].Prefix.String() != "192.0.2.0/24" {
		t.Errorf("offenders %v", top)
	}
}

func TestNoNext(t *testing.T) {
	r := handler(t, "ratelimit", zone)
	r.Next = nil
	if m := r.serve(t, context.Background(), udp("192.0.2.1"), ask("www.example.org.", dns.TypeTXT)); m.Rcode != dns.RcodeServerFailure || m.IsEdns0() == nil {
		t.Errorf("%v", m)
	}
}

// The cost in front of a plugin that answers.
func BenchmarkServeDNS(b *testing.B) {
	next := plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		return dns.RcodeSuccess, w.WriteMsg(r)
	})
	p, ctx := udp("192.0.2.1"), context.Background()
	req := ask("www.example.org.", dns.TypeTXT)
	b.Run("without", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.got = p.got[:0]
			if _, err := next(ctx, p, req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("with", func(b *testing.B) {
		r := handler(b, "ratelimit {\nresponses 100000\nwindow 1s\nrequests 100000\noctets 10000000\n}", next)
		b.ReportAllocs()
		for b.Loop() {
			p.got = p.got[:0]
			if _, err := r.ServeDNS(ctx, p, req); err != nil {
				b.Fatal(err)
			}
		}
	})
}
