package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// Secrets of the keys of these tests.
const (
	secretOne = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	secretTwo = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

// run gives what a program prints, whatever its exit code.
func run(t *testing.T, input, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return string(out)
}

// verified tells whether dig or kdig has got signed messages and found nothing
// wrong with them.
func verified(out string) bool {
	for _, bad := range []string{"verify", "verification", "could not be validated", "BADSIG", "BADKEY", "BADTIME", "failed", "WARNING"} {
		if strings.Contains(out, bad) {
			return false
		}
	}
	return strings.Contains(out, "ANY\tTSIG") || strings.Contains(out, "TSIG PSEUDOSECTION") // BIND's and Knot's
}

// BIND's and Knot's clients take our signatures, and we theirs: queries, large
// transfers, updates; each algorithm; wrong keys and secrets; keys of other blocks.
func TestKeys(t *testing.T) {
	t.Parallel()
	server.Require(t, "dig", "kdig", "nsupdate", "tsig-keygen")
	dir := t.TempDir()
	var zone strings.Builder
	fmt.Fprintf(&zone, zoneText, 7, "192.0.2.1")
	const names = 30000 // several messages
	for i := range names {
		fmt.Fprintf(&zone, "host%d 300 IN A 192.0.2.%d\n", i, i%256)
	}
	write(t, filepath.Join(dir, "example.org.zone"), zone.String())
	write(t, filepath.Join(dir, "example.net.zone"), fmt.Sprintf(zoneText, 8, "192.0.2.2"))
	algorithms := []string{"hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"}
	var lines, file strings.Builder
	for _, a := range algorithms {
		fmt.Fprintf(&lines, "tsig inline.%s %s %s\n", a, a, secretOne)
		file.WriteString(run(t, "", "tsig-keygen", "-a", a, "file."+a))
	}
	write(t, filepath.Join(dir, "all.key"), "# keys of example.org\n"+file.String())
	secrets := regexp.MustCompile(`secret "(.*)"`).FindAllStringSubmatch(file.String(), -1)
	if len(secrets) != len(algorithms) {
		t.Fatalf("tsig-keygen printed\n%s", file.String())
	}
	metrics := freePort(t)
	s := server.StartOurs(t,
		block(dir, exampleZone+"\nkeys {\n"+lines.String()+"file all.key\n}\ntsig {\nrequire AXFR\nsecret stock. "+secretTwo+"\n}\ntransfer {\nto *\n}\nerrors\n"+
			fmt.Sprintf("prometheus 127.0.0.1:%d", metrics))+
			strings.Replace(block(dir, "authority {\nfile example.net.zone\n}\nkeys {\ntsig elsewhere "+secretTwo+"\n}"), "example.org", "example.net", 1), "example.org")
	port := int(s.Addr.Port())
	dig := func(key string, args ...string) string {
		return run(t, "", "dig", append([]string{"@127.0.0.1", "-p", strconv.Itoa(port), "-y", key, "+tries=1", "+norec"}, args...)...)
	}
	kdig := func(key string, args ...string) string {
		return run(t, "", "kdig", append([]string{"@127.0.0.1", "-p", strconv.Itoa(port), "-y", key, "+retry=0"}, args...)...)
	}

	for i, a := range algorithms {
		for key, secret := range map[string]string{"inline." + a: secretOne, "file." + a: secrets[i][1]} {
			key = a + ":" + key + ":" + secret
			for _, args := range [][]string{{"www.example.org", "A"}, {"+tcp", "www.example.org", "A"}, {"+noedns", "nothing.example.org", "A"}} {
				if out := dig(key, args...); !verified(out) || !strings.Contains(out, "status: NO") && !strings.Contains(out, "status: NXDOMAIN") {
					t.Errorf("dig %s %v:\n%s", key, args, out)
				}
				if out := kdig(key, args...); !verified(out) {
					t.Errorf("kdig %s %v:\n%s", key, args, out)
				}
			}
		}
	}

	key := "hmac-sha256:inline.hmac-sha256:" + secretOne
	axfr := dig(key, "example.org", "AXFR")
	if n := strings.Count(axfr, "\tIN\tA\t"); n != names+2 || !verified(axfr) {
		t.Errorf("AXFR by dig: %d addresses:\n%.3000s", n, axfr)
	}
	axfr = kdig(key, "example.org", "AXFR")
	if n := strings.Count(axfr, "\tA\t"); n != names+2 || strings.Contains(axfr, "WARNING") {
		t.Errorf("AXFR by kdig: %d addresses:\n%.3000s", n, axfr)
	}
	if out := run(t, "", "dig", "@127.0.0.1", "-p", strconv.Itoa(port), "example.org", "AXFR"); !strings.Contains(out, "Transfer failed") {
		t.Errorf("unsigned AXFR:\n%.3000s", out)
	}
	if out := dig("hmac-sha256:stock:"+secretTwo, "example.org", "AXFR"); strings.Count(out, "\tIN\tA\t") != names+2 {
		t.Errorf("AXFR by the key of stock tsig:\n%.3000s", out)
	}

	for _, c := range []struct{ name, key, want string }{
		{"unknown key", "hmac-sha256:nobody:" + secretOne, "BADKEY"},
		{"key of another block", "hmac-sha256:elsewhere:" + secretTwo, "BADKEY"},
		{"another algorithm", "hmac-sha512:inline.hmac-sha256:" + secretOne, "BADKEY"},
		{"wrong secret", "hmac-sha256:inline.hmac-sha256:" + secretTwo, "BADSIG"},
	} {
		if out := dig(c.key, "www.example.org", "A"); !strings.Contains(out, c.want) || !strings.Contains(out, "NOTAUTH") {
			t.Errorf("%s: dig:\n%s", c.name, out)
		}
		if out := run(t, nsupdate(port, c.key), "nsupdate"); !strings.Contains(out, "NOTAUTH("+c.want+")") {
			t.Errorf("%s: nsupdate:\n%s", c.name, out)
		}
	}
	if out := dig("hmac-sha256:elsewhere:"+secretTwo, "www.example.net", "A"); !verified(out) {
		t.Errorf("the other block:\n%s", out)
	}
	// The refusal of an update is signed: nsupdate believes it.
	if out := run(t, nsupdate(port, key), "nsupdate"); !strings.Contains(out, "update failed: REFUSED") {
		t.Errorf("nsupdate:\n%s", out)
	}
	if log := s.Log(); strings.Contains(log, secretOne) || strings.Contains(log, "panic") || strings.Contains(log, "ERROR") {
		t.Errorf("the log:\n%s", log)
	}
	for result, least := range map[string]int{"ok": 60, "badkey": 4, "badalg": 2, "badsig": 2} {
		out := fetch(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", metrics))
		m := regexp.MustCompile(`coredns_keys_requests_total\{result="` + result + `",server="dns://127.0.0.1:` + strconv.Itoa(port) + `"\} (\d+)`).FindStringSubmatch(out)
		if m == nil {
			t.Errorf("%s is not counted", result)
		} else if n, err := strconv.Atoi(m[1]); err != nil || n < least {
			t.Errorf("%s: %d requests, want %d, %v", result, n, least, err)
		}
	}
}

// fetch gives what stands at a URL.
func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// nsupdate gives its input for an update by a key, which is as dig takes it.
func nsupdate(port int, key string) string {
	algorithm, rest, _ := strings.Cut(key, ":")
	name, secret, _ := strings.Cut(rest, ":")
	return fmt.Sprintf("server 127.0.0.1 %d\nzone example.org\nkey %s:%s %s\nupdate add x.example.org 60 A 192.0.2.1\nsend\n", port, algorithm, name, secret)
}

// kdig verifies signatures over TLS, HTTPS and QUIC too.
func TestKeysTransports(t *testing.T) {
	t.Parallel()
	server.Require(t, "kdig")
	dir := t.TempDir()
	writeCertificate(t, dir)
	write(t, filepath.Join(dir, "example.org.zone"), fmt.Sprintf(zoneText, 1, "192.0.2.1"))
	ports, keys := map[string]int{}, ""
	for _, scheme := range []string{"tls", "https", "quic"} {
		ports[scheme] = freePort(t)
		keys += fmt.Sprintf("%s://example.org:%d ", scheme, ports[scheme])
	}
	lines := "\nkeys {\ntsig a.test " + secretOne + "\n}\nloadbalance\nlog"
	server.StartOurs(t, block(dir, exampleZone+lines)+strings.Replace(block(dir, exampleZone+lines+"\ntls cert.pem key.pem"), "example.org:"+server.Port, keys, 1), "example.org")
	for scheme, port := range ports {
		for secret, want := range map[string]string{secretOne: "192.0.2.1", secretTwo: "BADSIG"} {
			out := run(t, "", "kdig", "@127.0.0.1", "-p", strconv.Itoa(port), "+"+scheme, "+retry=0", "+edns", "-y", "hmac-sha256:a.test:"+secret, "www.example.org", "A")
			if !strings.Contains(out, want) || verified(out) != (secret == secretOne) {
				t.Errorf("%s: want %s:\n%s", scheme, want, out)
			}
		}
	}
}

// Keys change with their file while the server is asked all the time, and every
// query gets its answer; also after SIGUSR1, which makes the server forget its hooks.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), fmt.Sprintf(zoneText, 1, "192.0.2.1"))
	path := filepath.Join(dir, "a.key")
	text := func(name string) string {
		var b strings.Builder
		for _, n := range []string{"stays", name} {
			fmt.Fprintf(&b, "key %q {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\n", n, secretOne)
		}
		return b.String()
	}
	write(t, path, text("key0"))
	s := server.StartOurs(t, block(dir, exampleZone+"\nkeys {\nfile a.key\n}\nreload 2s 1s"), "example.org")
	query := func(network, key string) error {
		m := new(dns.Msg)
		m.SetQuestion("www.example.org.", dns.TypeA)
		m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
		c := dns.Client{Net: network, Timeout: 10 * time.Second, TsigSecret: map[string]string{key: secretOne}}
		r, _, err := c.Exchange(m, s.Addr.String())
		if err == nil && (r.Rcode != dns.RcodeSuccess || len(r.Answer) != 1 || r.IsTsig() == nil) {
			err = fmt.Errorf("answer %v", r)
		}
		return err
	}
	var asked atomic.Int64
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for _, network := range []string{"udp", "tcp"} {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := query(network, "stays.")
				if err != nil && network == "tcp" {
					// CoreDNS closes connections when it restarts, and clients ask
					// again on another (RFC 7766 §6.2.4).
					err = query(network, "stays.")
				}
				if err != nil {
					t.Errorf("%s: %v", network, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	restarts := 0
	awaitRestart := func() {
		t.Helper()
		restarts++
		waitFor(t, "a restart", func() bool { return strings.Count(s.Log(), "Reloading complete") == restarts })
	}
	for i := 1; i <= 4; i++ {
		if i == 3 {
			if err := s.Signal(syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			awaitRestart()
		}
		name := fmt.Sprintf("key%d", i)
		if i%2 == 0 {
			write(t, path+".new", text(name))
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, path, text(name))
		}
		awaitRestart()
		if err := query("udp", name+"."); err != nil {
			t.Errorf("the new key: %v", err)
		}
		if query("udp", fmt.Sprintf("key%d.", i-1)) == nil {
			t.Error("the old key is still taken")
		}
	}
	before := len(s.Log())
	write(t, path, text("key5")+"key half")
	waitFor(t, "a line about the broken file", func() bool { return strings.Contains(s.Log()[before:], "a.key:9: want") })
	if err := query("tcp", "key4."); err != nil {
		t.Errorf("with a broken file: %v", err)
	}
	close(stop)
	workers.Wait()
	if n := asked.Load(); n < 100 {
		t.Errorf("only %d queries were asked", n)
	}
	if log := s.Log(); strings.Contains(log, secretOne) || strings.Contains(log, "panic") {
		t.Errorf("the log:\n%s", log)
	}
}

// The example of the README that has key files, whose stand-ins no other test makes.
func TestKeysReadme(t *testing.T) {
	t.Parallel()
	server.Require(t, "tsig-keygen", "dig")
	text, err := os.ReadFile("../plugin/keys/README.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile(`(?ms)^~~~ txt\n(example\.org \{.*?)^~~~$`).FindSubmatch(text)
	if example == nil {
		t.Fatal("there is no such example")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), fmt.Sprintf(zoneText, 1, "192.0.2.1"))
	write(t, filepath.Join(dir, "keys", "ddns.key"), run(t, "", "tsig-keygen", "ddns.example.org"))
	write(t, filepath.Join(dir, "keys", "secondaries.key"), run(t, "", "tsig-keygen", "second")+run(t, "", "tsig-keygen", "third"))
	corefile := bytes.Replace(example[1], []byte("example.org {"), []byte("example.org:"+server.Port+" {\nbind 127.0.0.1\nroot "+dir), 1)
	s := server.StartOurs(t, string(corefile), "example.org")
	out := run(t, "", "dig", "@127.0.0.1", "-p", strconv.Itoa(int(s.Addr.Port())), "+norec", "-k", filepath.Join(dir, "keys", "ddns.key"), "www.example.org", "A")
	if !verified(out) {
		t.Errorf("dig -k:\n%s", out)
	}
}

// A mistake in a key file ends the start with its place, and without the secret.
func TestBadKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.key"), "key a {\n\tsecret \""+secretOne+"\";\n\talgorithm hmac-md5;\n};\n")
	conf := filepath.Join(dir, "Corefile")
	write(t, conf, strings.ReplaceAll(block(dir, "keys {\nfile a.key\n}\nwhoami"), server.Port, strconv.Itoa(freePort(t))))
	out := run(t, "", server.Binary(t), "-conf", conf)
	if !strings.Contains(out, "Corefile:5 - Error during parsing: file: "+dir+"/a.key:1: hmac-md5 must not be used") || strings.Contains(out, secretOne) {
		t.Errorf("%s", out)
	}
}
