package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/test/server"
)

var (
	fence      = regexp.MustCompile("(?ms)^~~~ ?corefile\n(.*?)^~~~$")
	zoneFolder = regexp.MustCompile(`(?m)^\s*directory\s+(\S+)`)
	zoneFile   = regexp.MustCompile(`(?m)^\s*file\s+(\S+)`)
	rootDir    = regexp.MustCompile(`(?m)^\s*root\s+(\S+)`)
	portOfKey  = regexp.MustCompile(`:\d+$`)
)

// TestReadmeCorefiles starts every Corefile that a README shows, with stand-in
// zone files, and free ports in the place of fixed ones.
func TestReadmeCorefiles(t *testing.T) {
	files, err := filepath.Glob("../plugin/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := fence.FindAllStringSubmatch(string(text), -1)
		if len(blocks) == 0 {
			t.Errorf("%s shows no Corefile", file)
		}
		for i, b := range blocks {
			t.Run(fmt.Sprintf("%s/%d", strings.TrimPrefix(file, "../"), i+1), func(t *testing.T) {
				t.Parallel()
				startCorefile(t, b[1])
			})
		}
	}
}

// TestKubeadmCorefile starts the Corefile that kubeadm installs, unchanged but
// for its ports, its upstream and the API server.
func TestKubeadmCorefile(t *testing.T) {
	t.Parallel()
	startCorefile(t, `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
`)
}

// startCorefile starts a Corefile in a folder with what it names, and waits
// until the server says so.
func startCorefile(t *testing.T, corefile string) {
	t.Helper()
	dir := t.TempDir()
	root := dir
	if m := rootDir.FindStringSubmatch(corefile); m != nil {
		root = filepath.Join(dir, m[1])
	}
	for _, m := range zoneFile.FindAllStringSubmatch(corefile, -1) {
		for _, key := range zonesOf(corefile) {
			path := filepath.Join(root, strings.ReplaceAll(m[1], "{zone}", strings.TrimSuffix(key, ".")))
			write(t, path, "@ 3600 IN SOA ns1 hostmaster 1 7200 1800 1209600 300\n@ 3600 IN NS ns1\nns1 3600 IN A 192.0.2.53\n")
		}
	}
	for _, m := range zoneFolder.FindAllStringSubmatch(corefile, -1) {
		write(t, filepath.Join(root, m[1], "example.net.zone"), "@ 3600 IN SOA ns1 hostmaster 1 7200 1800 1209600 300\n@ 3600 IN NS ns1\nns1 3600 IN A 192.0.2.53\n")
	}
	writeCertificate(t, dir)
	api := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(api.Close)
	s := server.StartOurs(t, relocate(t, corefile, dir, api.URL))
	waitFor(t, "the server to start", func() bool {
		select {
		case <-s.Ended():
			t.Fatalf("the server ended:\n%s\nCorefile:\n%s", s.Log(), corefile)
		default:
		}
		return strings.Contains(s.Log(), "CoreDNS-")
	})
	for _, bad := range []string{"panic", "not loaded", "no such file"} {
		if strings.Contains(s.Log(), bad) {
			t.Errorf("the log has %q:\n%s", bad, s.Log())
		}
	}
}

// zonesOf gives the zones of the server blocks and of authority directives.
func zonesOf(corefile string) (zones []string) {
	for line := range strings.Lines(corefile) {
		words := strings.Fields(strings.TrimSuffix(strings.TrimSpace(line), "{"))
		switch {
		case !strings.HasPrefix(line, " ") && strings.HasSuffix(strings.TrimSpace(line), "{"):
			for _, key := range words {
				_, key, _ = cutScheme(key)
				zones = append(zones, portOfKey.ReplaceAllString(key, ""))
			}
		case len(words) > 1 && words[0] == "authority":
			zones = append(zones, words[1:]...)
		}
	}
	return zones
}

func cutScheme(key string) (scheme, rest string, ok bool) {
	if i := strings.Index(key, "://"); i >= 0 {
		return key[:i+3], key[i+3:], true
	}
	return "", key, false
}

// relocate rewrites what would take fixed ports or leave the machine, and lets
// relative paths begin at dir.
func relocate(t *testing.T, corefile, dir, api string) string {
	t.Helper()
	ports := map[string]int{} // blocks of one scheme share a port, as they do in the README
	var b strings.Builder
	for line := range strings.Lines(corefile) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case !strings.HasPrefix(line, " ") && words[len(words)-1] == "{":
			for i, key := range words[:len(words)-1] {
				scheme, zone, _ := cutScheme(key)
				if ports[scheme] == 0 {
					ports[scheme] = freePort(t)
				}
				words[i] = fmt.Sprintf("%s%s:%d", scheme, portOfKey.ReplaceAllString(zone, ""), ports[scheme])
			}
			line = strings.Join(words, " ") + "\n    bind 127.0.0.1\n"
			if !rootDir.MatchString(corefile) {
				line += "    root " + dir + "\n"
			}
		case words[0] == "root":
			line = "    root " + filepath.Join(dir, words[1]) + "\n"
		case words[0] == "prometheus":
			line = "    prometheus 127.0.0.1:0\n"
		case words[0] == "health":
			line = strings.Replace(line, "health", fmt.Sprintf("health 127.0.0.1:%d", freePort(t)), 1)
		case words[0] == "ready":
			line = fmt.Sprintf("    ready 127.0.0.1:%d\n", freePort(t))
		case words[0] == "notify":
			for i, w := range words {
				if net.ParseIP(w) != nil {
					words[i] = fmt.Sprintf("127.0.0.1:%d", freePort(t))
				}
			}
			line = "        " + strings.Join(words, " ") + "\n"
		case words[0] == "kubernetes":
			line += "        endpoint " + api + "\n"
		case words[0] == "forward":
			line = strings.Replace(line, "/etc/resolv.conf", fmt.Sprintf("127.0.0.1:%d", freePort(t)), 1)
		}
		b.WriteString(line)
	}
	return b.String()
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// writeCertificate makes cert.pem and key.pem for 127.0.0.1.
func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// waitFor polls until done, and fails the test when that takes too long.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	server.WaitFor(t, func() string { return what }, done)
}
