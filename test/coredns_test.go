package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

const zoneText = `@ 3600 IN SOA ns1 hostmaster %d 7200 1800 1209600 300
@ 3600 IN NS ns1
ns1 3600 IN A 192.0.2.53
www 300 IN A %s
`

// block gives a Corefile of one block for example.org with more lines in it.
func block(dir, lines string) string {
	return fmt.Sprintf("example.org:%s {\n bind 127.0.0.1\n root %s\n%s\n}\n", server.Port, dir, lines)
}

const exampleZone = "authority {\n file example.org.zone\n}"

// starter starts a server, as [server.StartOurs] does.
type starter func(t testing.TB, corefile string, zones ...string) *server.Server

// bothWays runs a test with the plugin chain, and with the fast path in its place for what that answers.
func bothWays(t *testing.T, test func(t *testing.T, start starter)) {
	t.Parallel()
	for name, start := range map[string]starter{"chain": server.StartOurs, "fastpath": server.StartFast} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start)
		})
	}
}

// ask sends one question over UDP and gives the answer, or nil.
func ask(s *server.Server, name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.SetEdns0(1232, false)
	c := dns.Client{Timeout: time.Second}
	r, _, err := c.Exchange(m, s.Addr.String())
	if err != nil {
		return nil
	}
	return r
}

// address gives the A record of www.example.org, or the response code.
func address(s *server.Server) string {
	r := ask(s, "www.example.org.", dns.TypeA)
	switch {
	case r == nil:
		return "no reply"
	case len(r.Answer) == 1:
		return r.Answer[0].(*dns.A).A.String()
	default:
		return dns.RcodeToString[r.Rcode]
	}
}

func ede(r *dns.Msg) uint16 {
	if opt := r.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return e.InfoCode
			}
		}
	}
	return 0
}

// The Corefile that the README starts with answers what it promises.
func TestExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../Corefile.example")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../docs/example")
	if err != nil {
		t.Fatal(err)
	}
	corefile := strings.NewReplacer(
		"\nexample.org {", "\nexample.org:"+server.Port+" {\n bind 127.0.0.1", "\nexample.net {", "\nexample.net:"+server.Port+" {\n bind 127.0.0.1",
		"docs/example", root, "store bin/data", "store "+t.TempDir(),
	).Replace(string(text))
	s := server.StartFast(t, corefile, "example.org")
	if strings.Contains(s.Log(), "[WARNING]") {
		t.Errorf("the example zone has findings:\n%s", s.Log())
	}
	r := ask(s, "www.example.org.", dns.TypeA)
	if r == nil || !r.Authoritative || len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != "192.0.2.10" {
		t.Errorf("www.example.org A: %v", r)
	}
	if r := ask(s, "anything.apps.example.org.", dns.TypeA); r == nil || len(r.Answer) != 1 {
		t.Errorf("wildcard: %v", r)
	}
	if r := ask(s, "host.sub.example.org.", dns.TypeA); r == nil || r.Authoritative || len(r.Ns) != 1 || len(r.Extra) != 2 {
		t.Errorf("referral: %v", r)
	}
	for line := range strings.Lines(string(text)) { // the one that the file tells people to try
		if command, ok := strings.CutPrefix(line, "#     printf"); ok {
			command = strings.Replace("printf"+command, "1053", strconv.Itoa(int(s.Addr.Port())), 1)
			if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
				t.Errorf("nsupdate: %v\n%s", err, out)
			}
		}
	}
	if r := ask(s, "new.example.net.", dns.TypeA); r == nil || !r.Authoritative || len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != "192.0.2.7" {
		t.Errorf("what nsupdate added: %v", r)
	}
}

// SIGUSR1 and the watch over zone files bring edits into service; a broken
// file or Corefile leaves what is served.
func TestReload(t *testing.T) { bothWays(t, testReload) }

func testReload(t *testing.T, start starter) {
	dir := t.TempDir()
	path := filepath.Join(dir, "example.org.zone")
	write(t, path, fmt.Sprintf(zoneText, 1, "192.0.2.1"))
	s := start(t, block(dir, exampleZone), "example.org")
	if got := address(s); got != "192.0.2.1" {
		t.Fatalf("www is %s", got)
	}
	conf := filepath.Join(s.Dir, "Corefile")
	good, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(says string) {
		t.Helper()
		before := len(s.Log())
		if err := s.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		waitFor(t, says, func() bool { return strings.Contains(s.Log()[before:], says) })
	}

	write(t, path, fmt.Sprintf(zoneText, 2, "192.0.2.2"))
	reload("Reloading complete")
	if got := address(s); got != "192.0.2.2" { // SIGUSR1 reads at once, the watch only when a file has settled
		t.Errorf("after the reload www is %s", got)
	}

	write(t, path, fmt.Sprintf(zoneText, 3, "not-an-address"))
	reload("example.org.zone:4")
	if got := address(s); got != "192.0.2.2" {
		t.Errorf("with a broken zone file www is %s", got)
	}

	write(t, conf, strings.Replace(string(good), "file ", "fiel ", 1))
	reload("fiel")
	if got := address(s); got != "192.0.2.2" {
		t.Errorf("with a broken Corefile www is %s", got)
	}

	write(t, conf, string(good))
	write(t, path, fmt.Sprintf(zoneText, 4, "192.0.2.4"))
	waitFor(t, "the mended file without a signal", func() bool { return address(s) == "192.0.2.4" })
}

// A49: a zone that cannot be loaded at the start answers SERVFAIL with EDE 14,
// its neighbors answer, and the mended file comes into service.
func TestBrokenZoneAtStart(t *testing.T) { bothWays(t, testBrokenZoneAtStart) }

func testBrokenZoneAtStart(t *testing.T, start starter) {
	dir := t.TempDir()
	path := filepath.Join(dir, "example.org.zone")
	write(t, path, "@ 3600 IN SOA ns1 hostmaster 1 7200 1800 1209600\n")
	write(t, filepath.Join(dir, "example.net.zone"), fmt.Sprintf(zoneText, 1, "192.0.2.7"))
	s := start(t, strings.Replace(block(dir, "authority {\n file {zone}.zone\n}"),
		"example.org:", "example.net:"+server.Port+" example.org:", 1), "example.net")
	r := ask(s, "www.example.org.", dns.TypeA)
	if r == nil || r.Rcode != dns.RcodeServerFailure || ede(r) != dns.ExtendedErrorCodeNotReady {
		t.Errorf("broken zone: %v", r)
	}
	if !strings.Contains(s.Log(), "example.org.zone:1") {
		t.Errorf("the log does not name the place:\n%s", s.Log())
	}
	write(t, path, fmt.Sprintf(zoneText, 1, "192.0.2.8"))
	waitFor(t, "the mended zone", func() bool { return address(s) == "192.0.2.8" })
}

// A mistake in the Corefile ends the start with its place.
func TestBadCorefile(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]string{ // block puts three lines in front
		"authority {\n file\n}":         `Corefile:5`,
		"authority {\n fiel x\n}":       `Corefile:5 - Error during parsing: unknown property "fiel"`,
		"authority {\n check loud\n}":   `Corefile:5 - Error during parsing: check: want "warn" or "strict", not "loud"`,
		"authority {\n}":                `Corefile:4 - Error during parsing: property "file" or "directory" is missing`,
		"authority {\n file a {\n }\n}": `Corefile:5 - Error during parsing: file: unexpected "{"`,
	} {
		dir := t.TempDir()
		conf := filepath.Join(dir, "Corefile")
		write(t, conf, strings.ReplaceAll(block(dir, lines), server.Port, fmt.Sprint(freePort(t))))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		out, err := exec.CommandContext(ctx, server.Binary(t), "-conf", conf).CombinedOutput()
		cancel()
		if err == nil || ctx.Err() != nil && ctx.Err() != context.Canceled || !strings.Contains(string(out), want) {
			t.Errorf("%q: %v\n%s", lines, err, out)
		}
	}
}

// Blocks with view serve different zones for one name.
func TestViews(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.zone"), fmt.Sprintf(zoneText, 1, "192.0.2.1"))
	write(t, filepath.Join(dir, "b.zone"), fmt.Sprintf(zoneText, 1, "192.0.2.2"))
	s := server.StartOurs(t,
		block(dir, "view tcp {\n expr proto() == 'tcp'\n}\nauthority {\n file a.zone\n}")+block(dir, "authority {\n file b.zone\n}"), "example.org")
	m := new(dns.Msg)
	m.SetQuestion("www.example.org.", dns.TypeA)
	for network, want := range map[string]string{"tcp": "192.0.2.1", "udp": "192.0.2.2"} {
		c := dns.Client{Net: network}
		r, _, err := c.Exchange(m, s.Addr.String())
		if err != nil || len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != want {
			t.Errorf("over %s: %v, %v", network, r, err)
		}
	}
}

// The same block serves TLS, HTTPS and QUIC; a large answer needs no TC there.
func TestTransports(t *testing.T) {
	t.Parallel()
	server.Require(t, "kdig")
	dir := t.TempDir()
	writeCertificate(t, dir)
	var large strings.Builder
	for i := range 100 {
		fmt.Fprintf(&large, "large 300 IN TXT \"%040d\"\n", i)
	}
	write(t, filepath.Join(dir, "example.org.zone"), fmt.Sprintf(zoneText, 1, "192.0.2.1")+large.String())
	ports := map[string]int{}
	keys := ""
	for _, scheme := range []string{"tls", "https", "quic"} {
		ports[scheme] = freePort(t)
		keys += fmt.Sprintf("%s://example.org:%d ", scheme, ports[scheme])
	}
	corefile := block(dir, exampleZone) + strings.Replace(block(dir, exampleZone+"\ntls cert.pem key.pem"), "example.org:"+server.Port, keys, 1)
	server.StartOurs(t, corefile, "example.org")

	tcp := dns.Client{Net: "tcp-tls", TLSConfig: &tls.Config{InsecureSkipVerify: true}}
	m := new(dns.Msg)
	m.SetQuestion("large.example.org.", dns.TypeTXT)
	r, _, err := tcp.Exchange(m, fmt.Sprintf("127.0.0.1:%d", ports["tls"]))
	if err != nil || len(r.Answer) != 100 || r.Truncated || !r.Authoritative {
		t.Errorf("over TLS: %d records, %v", len(r.Answer), err)
	}

	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	web := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	resp, err := web.Post(fmt.Sprintf("https://127.0.0.1:%d/dns-query", ports["https"]), "application/dns-message", bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	var over dns.Msg
	if err := over.Unpack(body); err != nil || len(over.Answer) != 100 || over.Truncated {
		t.Errorf("over HTTPS: %d records, %v", len(over.Answer), err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "kdig", "@127.0.0.1", "-p", fmt.Sprint(ports["quic"]), "+quic", "large.example.org", "TXT", "+nocrypto").CombinedOutput()
	if err != nil || strings.Count(string(out), "IN\tTXT") < 100 {
		t.Errorf("over QUIC: %v\n%.2000s", err, out)
	}
}

// Stock transfer gets the whole zone from authority, and only its secondaries.
func TestTransfer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), fmt.Sprintf(zoneText, 9, "192.0.2.1"))
	for to, want := range map[string]int{"*": 5, "192.0.2.99": 0} {
		s := server.StartOurs(t, block(dir, exampleZone+"\ntransfer {\n to "+to+"\n}"), "example.org")
		m := new(dns.Msg)
		m.SetAxfr("example.org.")
		envelopes, err := new(dns.Transfer).In(m, s.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		var got []dns.RR
		for e := range envelopes {
			if e.Error != nil && want > 0 {
				t.Fatal(e.Error)
			}
			got = append(got, e.RR...)
		}
		if len(got) != want {
			t.Errorf("transfer to %s: %v", to, got)
		}
	}
}

// Prometheus and kubelet find what they look for.
func TestMetricsAndReady(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), fmt.Sprintf(zoneText, 42, "192.0.2.1"))
	metrics, ready := freePort(t), freePort(t)
	s := server.StartOurs(t, block(dir, exampleZone+fmt.Sprintf("\nprometheus 127.0.0.1:%d\nready 127.0.0.1:%d", metrics, ready)), "example.org")
	get := func(url string) string {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Status + "\n" + string(b)
	}
	if got := get(fmt.Sprintf("http://127.0.0.1:%d/ready", ready)); !strings.HasPrefix(got, "200") {
		t.Errorf("ready: %s", got)
	}
	address(s)
	got := get(fmt.Sprintf("http://127.0.0.1:%d/metrics", metrics))
	for _, want := range []string{`coredns_authority_serial{`, `zone="example.org."`, "} 42\n", `coredns_dns_requests_total`} {
		if !strings.Contains(got, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
}

// A41, A42, A43 and worse: whatever comes in, the server goes on.
func TestJunk(t *testing.T) { bothWays(t, testJunk) }

func testJunk(t *testing.T, start starter) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), fmt.Sprintf(zoneText, 1, "192.0.2.1"))
	s := start(t, block(dir, exampleZone), "example.org")
	rng := rand.New(rand.NewPCG(1, 1))
	good := new(dns.Msg)
	good.SetQuestion("www.example.org.", dns.TypeA)
	good.SetEdns0(1232, true)
	packed, err := good.Pack()
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.Dial("udp", s.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for i := range 5000 {
		p := slices.Clone(packed)
		switch i % 4 {
		case 0:
			p = make([]byte, rng.IntN(600))
			for j := range p {
				p[j] = byte(rng.Uint32())
			}
		case 1:
			p = p[:rng.IntN(len(p))]
		default:
			for range 1 + rng.IntN(4) {
				p[2+rng.IntN(len(p)-2)] ^= 1 << rng.IntN(8)
			}
		}
		if _, err := udp.Write(p); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			tcp, err := net.Dial("tcp", s.Addr.String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tcp.Write(append([]byte{byte(len(p) >> 8), byte(len(p))}, p...)); err != nil {
				t.Fatal(err)
			}
			if err := tcp.Close(); err != nil {
				t.Fatal(err)
			}
			if got := address(s); got != "192.0.2.1" {
				t.Fatalf("after %d packets www is %s", i, got)
			}
		}
	}
	if log := s.Log(); strings.Contains(log, "panic") || strings.Contains(log, "Recovered") {
		t.Errorf("something panicked:\n%s", log)
	}
}
