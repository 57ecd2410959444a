package clients

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/test/server"
)

// An authority is an ACME server (RFC 8555): pebble, which asks the primary for the records of the challenges.
type authority struct {
	*server.Server
	directory string // its URL
	root      string // file with the certificate that its clients must trust
}

func startPebble(t *testing.T, p primary) authority {
	t.Helper()
	// The go command builds it if need be, and keeps it.
	path, err := exec.CommandContext(t.Context(), "go", "tool", "-n", "pebble").Output()
	if err != nil {
		t.Fatalf("building pebble: %v", err)
	}
	certs := t.TempDir()
	certificate(t, certs)
	s := server.StartProgram(t, server.Program{
		Name:  strings.TrimSpace(string(path)),
		Ready: "Listening on",
		// It validates at once, accepts each nonce, and looks at the challenges of each order.
		Env: []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0"},
		Prepare: func(dir string, port int) ([]string, error) {
			conf, err := json.Marshal(map[string]any{"pebble": map[string]any{
				"listenAddress": hostPort(port),
				"certificate":   filepath.Join(certs, "cert.pem"),
				"privateKey":    filepath.Join(certs, "key.pem"),
				"retryAfter":    map[string]any{"authz": 1, "order": 1},
				"keyAlgorithm":  "ecdsa",
			}})
			if err != nil {
				return nil, err
			}
			path := filepath.Join(dir, "pebble.json")
			return []string{"-config", path, "-dnsserver", p.Addr.String()}, os.WriteFile(path, conf, 0o644)
		},
	})
	return authority{s, fmt.Sprintf("https://%s/dir", s.Addr), filepath.Join(certs, "cert.pem")}
}

// certificate writes a key and a certificate of 127.0.0.1 that is its own root.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "ACME server of a test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// names returns the names of the first certificate in a file, sorted.
func names(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("no certificate in %s", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(slices.Values(cert.DNSNames))
}

// client runs an ACME client in a folder, and returns what it printed and its error.
func client(t *testing.T, dir string, env []string, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = slices.Concat(os.Environ(), []string{"HOME=" + dir}, env)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// runLego asks for a certificate by lego, with a key for the updates.
func runLego(t *testing.T, p primary, ca authority, key *server.Key) (dir, out string, err error) {
	t.Helper()
	dir = t.TempDir()
	out, err = client(
		t, dir, []string{
			"LEGO_CA_CERTIFICATES=" + ca.root,
			"RFC2136_NAMESERVER=" + p.Addr.String(),
			"RFC2136_TSIG_KEY=" + key.Name,
			"RFC2136_TSIG_SECRET=" + key.Secret,
			"RFC2136_TSIG_ALGORITHM=" + key.Algorithm + ".",
			"RFC2136_POLLING_INTERVAL=1",
			"RFC2136_SEQUENCE_INTERVAL=1",
		},
		"lego", "--path", dir, "--server", ca.directory, "--accept-tos", "--email", "hostmaster@example.org",
		"--dns", "rfc2136", "--dns.resolvers", p.Addr.String(), "--dns.disable-cp", "-d", "example.org", "-d", "*.example.org", "run",
	)
	return dir, out, err
}

func TestLego(t *testing.T) {
	t.Parallel()
	server.Require(t, "lego")
	p := start(t)
	ca := startPebble(t, p)
	if _, out, err := runLego(t, p, ca, hostKey); err == nil || !strings.Contains(out, "REFUSED") {
		t.Errorf("with a key that may not: %v\n%s", err, out)
	}
	if serial := p.expect(t, forward); serial != 1 {
		t.Errorf("with a key that may not: serial %d", serial)
	}
	dir, out, err := runLego(t, p, ca, zoneKey)
	if err != nil {
		t.Fatalf("%v\n%s\nand the ACME server:\n%s", err, out, ca.Log())
	}
	if got := names(t, filepath.Join(dir, "certificates", "example.org.crt")); !slices.Equal(got, []string{"*.example.org", "example.org"}) {
		t.Errorf("a certificate for %q", got)
	}
	// Both challenges have the same name: lego adds, and deletes, one record after the other. It waits 5 seconds for each.
	if serial := p.expect(t, forward); serial != 5 {
		t.Errorf("serial %d after two challenges", serial)
	}
}

// runCertbot asks for a certificate by certbot, with a key for the updates.
func runCertbot(t *testing.T, p primary, ca authority, key *server.Key) (dir, out string, err error) {
	t.Helper()
	dir = t.TempDir()
	credentials := filepath.Join(dir, "credentials.ini")
	write(t, credentials, fmt.Sprintf(`dns_rfc2136_server = %s
dns_rfc2136_port = %s
dns_rfc2136_name = %s
dns_rfc2136_secret = %s
dns_rfc2136_algorithm = %s
`, p.host(), p.port(), key.Name, key.Secret, strings.ToUpper(key.Algorithm)))
	if err := os.Chmod(credentials, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = client(
		t, dir, []string{"REQUESTS_CA_BUNDLE=" + ca.root},
		"certbot", "certonly", "--non-interactive", "--agree-tos", "--email", "hostmaster@example.org", "--server", ca.directory,
		"--config-dir", dir, "--work-dir", dir, "--logs-dir", dir,
		"--dns-rfc2136", "--dns-rfc2136-credentials", credentials, "--dns-rfc2136-propagation-seconds", "0",
		"-d", "example.org", "-d", "*.example.org",
	)
	return dir, out, err
}

func TestCertbot(t *testing.T) {
	t.Parallel()
	server.Require(t, "certbot")
	requirePython(t)
	server.RequireFile(t, "/usr/lib/python3/dist-packages/certbot_dns_rfc2136/__init__.py", "python3-certbot-dns-rfc2136")
	p := start(t)
	ca := startPebble(t, p)
	if _, out, err := runCertbot(t, p, ca, hostKey); err == nil || !strings.Contains(out, "REFUSED") {
		t.Errorf("with a key that may not: %v\n%s", err, out)
	}
	if serial := p.expect(t, forward); serial != 1 {
		t.Errorf("with a key that may not: serial %d", serial)
	}
	dir, out, err := runCertbot(t, p, ca, zoneKey)
	if err != nil {
		t.Fatalf("%v\n%s\nand the ACME server:\n%s", err, out, ca.Log())
	}
	if got := names(t, filepath.Join(dir, "live", "example.org", "cert.pem")); !slices.Equal(got, []string{"*.example.org", "example.org"}) {
		t.Errorf("a certificate for %q", got)
	}
	// Both challenges have the same name, at the same time.
	if serial := p.expect(t, forward); serial != 5 {
		t.Errorf("serial %d after two challenges", serial)
	}
}
