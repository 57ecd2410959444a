package authority

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/onlinesign"
	dnssec "github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/test/server"
)

// liveZone is example.org, whose answers are signed as they are made.
const liveZone = `$TTL 3600
@ SOA ns hostmaster 1 7200 3600 1209600 300
@ NS ns
ns A 192.0.2.53
www A 192.0.2.1
www TXT a
a.ent A 192.0.2.2
*.w TXT "from a wildcard"
*.w MX 10 www
cut NS ns.cut
ns.cut A 192.0.2.99
child NS ns.child
ns.child A 192.0.2.98
deep CNAME host.child
gone CNAME nope.child
out CNAME a.example.net.
lost CNAME nope.example.net.
d DNAME www
big TXT aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
`

// otherZone is example.net, which is not signed.
const otherZone = `$TTL 3600
@ SOA ns.example.org. hostmaster 7 7200 3600 1209600 300
@ NS ns.example.org.
a CNAME www.example.org.
b CNAME nope.example.org.
c CNAME host.child.example.org.
`

// brokenKey is a key that does not sign.
type brokenKey struct{ crypto.Signer }

var errBroken = errors.New("the device is gone")

func (brokenKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errBroken }

// newKey gives a CSK of a zone.
func newKey(t testing.TB, origin string, broken bool) *dnssec.Key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var s crypto.Signer = private
	if broken {
		s = brokenKey{private}
	}
	k, err := dnssec.NewKey(dnsname.MustParse(origin), dnssec.ED25519, dnssec.CSK, s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// dnskey gives the DNSKEY record of a key as a line of a master file.
func dnskey(k *dnssec.Key) string {
	r := k.DNSKEY()
	return fmt.Sprintf("@ DNSKEY %d %d %d %s\n", int(r[0])<<8|int(r[1]), r[2], r[3], base64.StdEncoding.EncodeToString([]byte(r[4:])))
}

// newOnline serves example.org, example.net and child.example.org; the first has its
// answers signed as they are made, and so has the last, with keys of its own.
func newOnline(t testing.TB, next plugin.Handler, properties string) (h *Authority, keys map[string]*dnssec.Key) {
	t.Helper()
	dir := t.TempDir()
	keys = map[string]*dnssec.Key{}
	for origin, text := range map[string]string{"example.org.": liveZone, "child.example.org.": childZone} {
		k := newKey(t, origin, false)
		keys[origin] = k
		writeFile(t, filepath.Join(dir, strings.TrimSuffix(origin, ".")), text+dnskey(k))
	}
	writeFile(t, filepath.Join(dir, "example.net"), otherZone)
	h = newAuthority(t, fmt.Sprintf("authority example.org example.net child.example.org {\nfile %s/{zone}\n%s\n}", dir, properties), next)
	for origin, k := range keys {
		online(t, h, origin, k)
	}
	return h, keys
}

// online has the answers of a zone signed.
func online(t testing.TB, h *Authority, origin string, k *dnssec.Key) {
	t.Helper()
	n := dnsname.MustParse(origin)
	s, err := onlinesign.New(n, dnssec.Policy{}, []dnssec.Use{{Key: k, Publish: true, Sign: true}}, onlinesign.Process())
	if err != nil {
		t.Fatal(err)
	}
	signOnline((*h.zones.Load())[n], s)
}

// signOnline has the answers of a zone signed, or not if s is nil.
func signOnline(z *served, s *onlinesign.Signer) { z.signs = func() *onlinesign.Signer { return s } }

// co sets DO and CO.
func co(m *dns.Msg) {
	do(m)
	m.IsEdns0().SetCo(true)
}

// verify checks the signatures in a response, and gives it with what of them is always
// the same, and CO.
func verify(t testing.TB, m *dns.Msg, keys map[string]*dnssec.Key) string {
	t.Helper()
	public := map[string]*dns.DNSKEY{}
	for origin, k := range keys {
		rr, err := dns.NewRR("$ORIGIN " + origin + "\n" + dnskey(k))
		if err != nil {
			t.Fatal(err)
		}
		public[origin] = rr.(*dns.DNSKEY)
	}
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			sig, ok := rr.(*dns.RRSIG)
			if !ok {
				continue
			}
			var set []dns.RR
			for _, other := range section {
				if h := other.Header(); h.Rrtype == sig.TypeCovered && strings.EqualFold(h.Name, sig.Hdr.Name) {
					set = append(set, other)
				}
			}
			if k := public[sig.SignerName]; k == nil {
				t.Errorf("%s: of an unknown key", sig)
			} else if err := sig.Verify(k, set); err != nil || !sig.ValidityPeriod(time.Now()) {
				t.Errorf("%s: %v", sig, err)
			}
		}
	}
	text := strings.Split(show(m), "\n")
	for i, line := range text {
		if f := strings.Fields(line); len(f) > 12 && f[4] == "RRSIG" {
			text[i] = fmt.Sprintf("%s %s RRSIG %s %s", f[0], f[1], f[5], f[12])
		}
	}
	if opt := m.IsEdns0(); opt != nil && opt.Co() {
		text = append(text, "co")
	}
	return lines(text...)
}

const (
	wwwSig  = "answer www.example.org. RRSIG A example.org."
	liveSOA = "authority example.org. 300 IN SOA ns.example.org. hostmaster.example.org. 1 7200 3600 1209600 300\n" +
		"authority example.org. RRSIG SOA example.org."
	childSOA = "authority child.example.org. 300 IN SOA ns.child.example.org. hostmaster.child.example.org. 9 7200 3600 1209600 300\n" +
		"authority child.example.org. RRSIG SOA child.example.org."
	noOPT, noCO = "opt 1232 do=false", "opt 1232 do=true"
	withCO      = noCO + "\nco"
)

// nsec gives the lines of an NSEC record with its signature.
func nsec(owner, next, types, signer string) string {
	return fmt.Sprintf("authority %s 300 IN NSEC %s %s\nauthority %s RRSIG NSEC %s", owner, next, types, owner, signer)
}

// onlineCases are questions to zones whose answers are signed as they are made.
var onlineCases = []struct {
	name string
	req  *dns.Msg
	want []string
}{
	{"S1 data", query("www.example.org.", dns.TypeA, do), []string{"NOERROR aa", wwwA, wwwSig, noCO}},
	{"S1 without DO", query("www.example.org.", dns.TypeA, edns(1232)), []string{"NOERROR aa", wwwA, noOPT}},
	{"C2 data, CO", query("www.example.org.", dns.TypeA, co), []string{"NOERROR aa", wwwA, wwwSig, withCO}},
	{
		"C1 no such name", query("nope.example.org.", dns.TypeA, do),
		[]string{"NOERROR aa", liveSOA, nsec("nope.example.org.", `\000.nope.example.org.`, "RRSIG NSEC NXNAME", "example.org."), noCO},
	},
	{
		"C2 no such name, CO", query("nope.example.org.", dns.TypeA, co),
		[]string{"NXDOMAIN aa", liveSOA, nsec("nope.example.org.", `\000.nope.example.org.`, "RRSIG NSEC NXNAME", "example.org."), withCO},
	},
	{
		"C6 no such name without DO", query("nope.example.org.", dns.TypeA, edns(1232), func(m *dns.Msg) { m.IsEdns0().SetCo(true) }),
		[]string{"NXDOMAIN aa", strings.Split(liveSOA, "\n")[0], noOPT},
	},
	{
		"C3 no such type", query("www.example.org.", dns.TypeAAAA, do),
		[]string{"NOERROR aa", liveSOA, nsec("www.example.org.", `\000.www.example.org.`, "A TXT RRSIG NSEC", "example.org."), noCO},
	},
	{
		"C4 empty non-terminal", query("ent.example.org.", dns.TypeAAAA, co),
		[]string{"NOERROR aa", liveSOA, nsec("ent.example.org.", `\000.ent.example.org.`, "RRSIG NSEC", "example.org."), withCO},
	},
	{"C5 NXNAME", query("www.example.org.", dns.TypeNXNAME, co), []string{"FORMERR", "opt 1232 do=true ede=30 \"\""}},
	{
		"C7 insecure referral", query("x.cut.example.org.", dns.TypeA, do),
		[]string{
			"NOERROR", "authority cut.example.org. 3600 IN NS ns.cut.example.org.", nsec("cut.example.org.", `cut\000.example.org.`, "NS RRSIG NSEC", "example.org."),
			"additional ns.cut.example.org. 3600 IN A 192.0.2.99", noCO,
		},
	},
	{
		"wildcard with more", query("q.w.example.org.", dns.TypeMX, do),
		[]string{
			"NOERROR aa", "answer q.w.example.org. 3600 IN MX 10 www.example.org.", "answer q.w.example.org. RRSIG MX example.org.",
			"additional www.example.org. 3600 IN A 192.0.2.1", "additional www.example.org. RRSIG A example.org.", noCO,
		},
	},
	{
		"DNAME", query("x.d.example.org.", dns.TypeA, co),
		[]string{
			"NXDOMAIN aa", "answer d.example.org. 3600 IN DNAME www.example.org.", "answer d.example.org. RRSIG DNAME example.org.",
			"answer x.d.example.org. 3600 IN CNAME x.www.example.org.", liveSOA,
			nsec("x.www.example.org.", `\000.x.www.example.org.`, "RRSIG NSEC NXNAME", "example.org."), withCO,
		},
	},
	{
		"NSEC", query("www.example.org.", dns.TypeNSEC, do),
		[]string{"NOERROR aa", strings.ReplaceAll(nsec("www.example.org.", `\000.www.example.org.`, "A TXT RRSIG NSEC", "example.org."), "authority", "answer"), noCO},
	},
	{
		"chain to a zone below that is signed as well", query("deep.example.org.", dns.TypeA, do),
		[]string{
			"NOERROR aa", "answer deep.example.org. 3600 IN CNAME host.child.example.org.", "answer deep.example.org. RRSIG CNAME example.org.",
			"answer host.child.example.org. 3600 IN A 192.0.2.4", "answer host.child.example.org. RRSIG A child.example.org.", noCO,
		},
	},
	{
		"chain to no name below", query("gone.example.org.", dns.TypeA, do),
		[]string{
			"NOERROR aa", "answer gone.example.org. 3600 IN CNAME nope.child.example.org.", "answer gone.example.org. RRSIG CNAME example.org.", childSOA,
			nsec("nope.child.example.org.", `\000.nope.child.example.org.`, "RRSIG NSEC NXNAME", "child.example.org."), noCO,
		},
	},
	{
		"chain through a zone that is not signed", query("out.example.org.", dns.TypeA, co),
		[]string{
			"NOERROR aa", "answer out.example.org. 3600 IN CNAME a.example.net.", "answer out.example.org. RRSIG CNAME example.org.",
			"answer a.example.net. 3600 IN CNAME www.example.org.", wwwA, wwwSig, withCO,
		},
	},
	{
		"chain to no name of a zone that is not signed", query("lost.example.org.", dns.TypeA, do),
		[]string{
			"NXDOMAIN aa", "answer lost.example.org. 3600 IN CNAME nope.example.net.", "answer lost.example.org. RRSIG CNAME example.org.",
			"authority example.net. 300 IN SOA ns.example.org. hostmaster.example.net. 7 7200 3600 1209600 300", noCO,
		},
	},
	{
		"chain from a zone that is not signed", query("b.example.net.", dns.TypeA, do),
		[]string{
			"NOERROR aa", "answer b.example.net. 3600 IN CNAME nope.example.org.", liveSOA,
			nsec("nope.example.org.", `\000.nope.example.org.`, "RRSIG NSEC NXNAME", "example.org."), noCO,
		},
	},
	{
		"chain from a zone that is not signed, below a cut", query("c.example.net.", dns.TypeA, co),
		[]string{
			"NOERROR aa", "answer c.example.net. 3600 IN CNAME host.child.example.org.",
			"answer host.child.example.org. 3600 IN A 192.0.2.4", "answer host.child.example.org. RRSIG A child.example.org.", withCO,
		},
	},
	{
		"a zone that is not signed", query("nope.example.net.", dns.TypeA, co),
		[]string{"NXDOMAIN aa", "authority example.net. 300 IN SOA ns.example.org. hostmaster.example.net. 7 7200 3600 1209600 300", noCO},
	},
	{
		"C2 with an OPT record of our own", query("nope.example.org.", dns.TypeA, func(m *dns.Msg) {
			co(m)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}
		}),
		[]string{"NXDOMAIN aa", liveSOA, nsec("nope.example.org.", `\000.nope.example.org.`, "RRSIG NSEC NXNAME", "example.org."), withCO},
	},
	{"CO with an opcode nobody knows", query("www.example.org.", dns.TypeA, co, opcode(3)), []string{"NOTIMP", "opt 1232 do=true ede=21 \"\""}},
	{"CO in a NOTIFY", query("example.org.", dns.TypeSOA, co, opcode(dns.OpcodeNotify)), []string{"NOERROR aa", noCO}},
	{"CO in what is malformed", query("www.example.org.", 0, co), []string{"FORMERR", noCO}},
}

// TestOnlineAnswers: signatures, proofs, response code and the flag CO of answers that
// are signed as they are made, also where a chain leads through several zones.
func TestOnlineAnswers(t *testing.T) {
	h, keys := newOnline(t, nil, "")
	for _, c := range onlineCases {
		for range 2 { // made, and kept
			m, _ := client{}.ask(t, h, c.req)
			if got := verify(t, m, keys); got != lines(c.want...) {
				t.Errorf("%s:\n%s\nwant\n%s", c.name, got, lines(c.want...))
			}
		}
	}
}

// TestOnlineResponder: what is signed as it is made is for ServeDNS the first time. After
// that the responder says the same, with a cache or without, wherever a chain leads.
func TestOnlineResponder(t *testing.T) {
	h, keys := newOnline(t, nil, "fallthrough elsewhere.example.net")
	for _, shape := range []wire.Shape{{Refuse: true}, {Refuse: true, Cache: wire.NewCache()}} {
		r := h.Responder(nil, shape)
		fresh := shape.Cache == nil
		for _, c := range onlineCases {
			packed, err := c.req.Pack()
			if err != nil {
				t.Fatal(err)
			}
			var q wire.Question
			if wire.ParseQuestion(packed, &q) != wire.Plain {
				continue
			}
			if fresh && c.name == "S1 data" && r.Takes(&q) {
				t.Errorf("%s: taken before anything was signed", c.name)
			}
			m, _ := client{}.ask(t, h, c.req)
			want := strings.ToLower(verify(t, m, keys))
			for range 3 {
				if !r.Takes(&q) {
					t.Errorf("%s: not taken", c.name)
					break
				}
				got, account := r.Append(nil, &q, nil)
				m := new(dns.Msg)
				if err := m.Unpack(got); err != nil {
					t.Fatal(err)
				}
				if text := strings.ToLower(verify(t, m, keys)); text != want {
					t.Errorf("%s:\n%s\nServeDNS says\n%s", c.name, text, want)
				}
				if c.name == "C1 no such name" && (account.Kind != zone.NXDomain || account.Name != dnsname.MustParse("example.org.")) {
					t.Errorf("%s: account %v", c.name, account)
				}
			}
		}
	}
}

// TestOnlineResponderKeepsNothing: the cache of responses has none with signatures that are
// made anew, and goes on to work for zones that have theirs in the file.
func TestOnlineResponderKeepsNothing(t *testing.T) {
	h, _ := newOnline(t, nil, "")
	shape := wire.Shape{Cache: wire.NewCache()}
	respond := responds(h, shape)
	for name, kept := range map[string]bool{"www.example.org.": false, "a.example.net.": false, "example.net.": true} {
		req := query(name, dns.TypeSOA, do)
		q := questions(t, req)[0]
		client{}.ask(t, h, req)
		for range 3 {
			if msg, _ := respond(nil, &q, nil); msg == nil {
				t.Errorf("%s: not taken", name)
			}
		}
		n := dnsname.MustParse(name)
		version := h.match(n, dns.TypeSOA).zone.Snapshot().ID()
		if got := shape.Cache.Has(&q, n, version, false); got != kept {
			t.Errorf("%s: kept %t", name, got)
		}
	}
}

// TestOnlineFails: an answer that cannot be signed is a SERVFAIL that says so and is
// counted; who does not ask for signatures gets the answer.
func TestOnlineFails(t *testing.T) {
	h, _ := newOnline(t, nil, "")
	online(t, h, "child.example.org.", newKey(t, "child.example.org.", true))
	c := client{server: "dns://192.0.2.77:53"}
	want := lines("SERVFAIL", `opt 1232 do=true ede=0 "answer not signed"`)
	for _, req := range []*dns.Msg{query("host.child.example.org.", dns.TypeA, co), query("deep.example.org.", dns.TypeA, do)} {
		if m, _ := c.ask(t, h, req); show(m) != want || m.IsEdns0().Co() {
			t.Errorf("%s", m)
		}
		packed := questions(t, req)[0]
		if r := h.Responder(nil, wire.Shape{}); r.Takes(&packed) {
			t.Error("the responder takes it")
		}
	}
	if m, _ := c.ask(t, h, query("host.child.example.org.", dns.TypeA)); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 {
		t.Errorf("%s", m)
	}
	if got := metric(t, "coredns_authority_refused_total", c.server, "signing"); got != 2 {
		t.Errorf("%v counted", got)
	}
}

// TestOnlineIsSwitched: a zone that begins to be signed between Takes and Append gets no
// answer without signatures, and one that is not signed any longer has none.
func TestOnlineIsSwitched(t *testing.T) {
	h, keys := newOnline(t, nil, "")
	z := (*h.zones.Load())[dnsname.MustParse("example.org.")]
	s := z.online()
	req := query("www.example.org.", dns.TypeA, do)
	q := questions(t, req)[0]
	r := h.Responder(nil, wire.Shape{})
	signOnline(z, nil)
	if m, _ := (client{}).ask(t, h, req); len(m.Answer) != 1 {
		t.Errorf("%s", m)
	}
	was := anyOnline.Swap(false)
	defer anyOnline.Store(was)
	if !r.Takes(&q) {
		t.Fatal("not taken")
	}
	signOnline(z, s)
	got, _ := r.Append(nil, &q, nil)
	m := new(dns.Msg)
	if err := m.Unpack(got); err != nil {
		t.Fatal(err)
	}
	if text := verify(t, m, keys); text != lines("NOERROR aa", wwwA, wwwSig, noCO) {
		t.Error(text)
	}
	anyOnline.Store(false)
	if !r.Takes(&q) {
		t.Fatal("not taken")
	}
	online(t, h, "example.org.", newKey(t, "example.org.", true))
	got, account := r.Append(nil, &q, nil)
	if err := m.Unpack(got); err != nil || m.Rcode != dns.RcodeServerFailure || account != (zone.Account{}) {
		t.Errorf("%v, %v\n%s", err, account, m)
	}
}

// TestOnlineMetrics: an answer about a name that does not exist counts as one, whatever its
// response code, and what was signed is told.
func TestOnlineMetrics(t *testing.T) {
	h, _ := newOnline(t, nil, "")
	c := client{server: "dns://192.0.2.78:53"}
	before := metric(t, "coredns_authority_online_signed_total")
	for range 3 {
		c.ask(t, h, query("nope.example.org.", dns.TypeA, do))
	}
	if got := metric(t, "coredns_authority_answers_total", c.server, "example.org.", "nxdomain"); got != 3 {
		t.Errorf("%v answers about a name that does not exist", got)
	}
	if got := metric(t, "coredns_authority_online_signed_total"); got != before+2 {
		t.Errorf("signed %v and then %v, want SOA and NSEC", before, got)
	}
	if metric(t, "coredns_authority_online_signatures") < 2 || metric(t, "coredns_authority_online_signatures_bytes") < 200 {
		t.Error("nothing is kept")
	}
}

// TestOnlineFallsThrough: a name that does not exist goes on to the next plugin as it came.
func TestOnlineFallsThrough(t *testing.T) {
	for _, name := range []string{"nope.example.org.", "www.example.org."} {
		var passed *dns.Msg
		next := plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
			passed = r.Copy()
			return dns.RcodeSuccess, w.WriteMsg(new(dns.Msg).SetReply(r))
		})
		h, _ := newOnline(t, next, "fallthrough")
		client{}.ask(t, h, query(name, dns.TypeA, co))
		if name[0] == 'w' {
			if passed != nil {
				t.Errorf("%s: passed on", name)
			}
		} else if passed == nil || !passed.IsEdns0().Co() {
			t.Errorf("%s: passed on %s", name, passed)
		}
	}
}

// TestOnlineBehindCache: the flag CO comes through a plugin that hands on copies.
func TestOnlineBehindCache(t *testing.T) {
	h, _ := newOnline(t, nil, "")
	copying := plugin.HandlerFunc(func(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		return h.ServeDNS(ctx, w, r.Copy())
	})
	s := &sizer{copying, h.block}
	for name, want := range map[string]string{"nope.example.org.": "NXDOMAIN co", "nope.example.net.": "NXDOMAIN", "www.example.org.": "NOERROR co"} {
		m, _ := client{}.ask(t, s, query(name, dns.TypeA, co))
		got := dns.RcodeToString[m.Rcode]
		if m.IsEdns0().Co() {
			got += " co"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestOnlineTransfer: a transfer gives the zone as it is stored, without signatures.
func TestOnlineTransfer(t *testing.T) {
	h, _ := newOnline(t, nil, "")
	ch, err := h.Transfer("example.org.", 0)
	if err != nil {
		t.Fatal(err)
	}
	for rrs := range ch {
		for _, rr := range rrs {
			if typ := rr.Header().Rrtype; typ == dns.TypeRRSIG || typ == dns.TypeNSEC {
				t.Errorf("%s", rr)
			}
		}
	}
}

// TestOthersValidate has the validator of others look at answers that are signed as they
// are made (C1, C3, C4, C7).
func TestOthersValidate(t *testing.T) {
	server.Require(t, "delv")
	h, keys := newOnline(t, nil, "")
	stream, err := net.Listen("tcp", "127.0.0.1:0") // by which delv wants a DNAME
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", stream.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		if _, err := h.ServeDNS(t.Context(), request.NewScrubWriter(r, w), r); err != nil {
			t.Error(err)
		}
	})
	var running sync.WaitGroup
	defer running.Wait()
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: stream, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		running.Go(func() {
			if err := s.ActivateAndServe(); err != nil {
				t.Error(err)
			}
		})
		<-started
		defer func() {
			if err := s.Shutdown(); err != nil {
				t.Error(err)
			}
		}()
	}
	anchors := filepath.Join(t.TempDir(), "anchors")
	rdata := keys["example.org."].DNSKEY()
	anchor := fmt.Sprintf("trust-anchors { \"example.org.\" static-key %d %d %d %q; };\n",
		int(rdata[0])<<8|int(rdata[1]), rdata[2], rdata[3], base64.StdEncoding.EncodeToString([]byte(rdata[4:])))
	if err := os.WriteFile(anchors, []byte(anchor), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(stream.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for ask, want := range map[string]string{
		"www.example.org. A":       "; fully validated",
		"www.example.org. AAAA":    "; negative response, fully validated",
		"nope.example.org. A":      "; negative response, fully validated",
		"ent.example.org. A":       "; negative response, fully validated",
		"q.w.example.org. TXT":     "; fully validated",
		"q.w.example.org. A":       "; negative response, fully validated",
		"x.d.example.org. A":       "; fully validated",
		"example.org. DNSKEY":      "; fully validated",
		"cut.example.org. DS":      "; negative response, fully validated",
		"www.example.org. NSEC":    "; fully validated",
		"a.b.www.example.org. MX":  "; negative response, fully validated",
		"host.child.example.org A": "; unsigned answer", // as there is no DS
	} {
		args := append([]string{"@127.0.0.1", "-p", port, "-a", anchors, "+root=example.org"}, strings.Fields(ask)...)
		out, err := exec.CommandContext(t.Context(), "delv", args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("delv %s: %v\n%s\nwant %s", ask, err, out, want)
		}
	}
}
