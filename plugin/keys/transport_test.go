package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// writeCertificate makes cert.pem and key.pem for 127.0.0.1.
func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
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

// A transport sends a packed request and gives the packed response.
type transportTest struct {
	scheme   string
	exchange func(t *testing.T, address string, b []byte) []byte
	udp      bool // the host takes it for UDP, where large answers are cut
}

var insecure = &stdtls.Config{InsecureSkipVerify: true}

func overTLS(t *testing.T, address string, b []byte) []byte {
	c, err := stdtls.Dial("tcp", address, insecure)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k := &conn{c, t}
	k.send(b)
	return k.receive()
}

func post(t *testing.T, by http.RoundTripper, url, mime string, body []byte) []byte {
	web := http.Client{Transport: by}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mime)
	req.Header.Set("TE", "trailers")
	resp, err := web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return got
}

func http2() http.RoundTripper {
	return &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true, DisableKeepAlives: true}
}

func overHTTPS(t *testing.T, address string, b []byte) []byte {
	return post(t, http2(), "https://"+address+"/dns-query", "application/dns-message", b)
}

func overHTTPS3(t *testing.T, address string, b []byte) []byte {
	by := &http3.Transport{TLSClientConfig: insecure.Clone()}
	defer by.Close()
	return post(t, by, "https://"+address+"/dns-query", "application/dns-message", b)
}

// overQUIC sends the message on a stream of its own (RFC 9250 §4.2).
func overQUIC(t *testing.T, address string, b []byte) []byte {
	config := insecure.Clone()
	config.NextProtos = []string{"doq"}
	c, err := quic.DialAddr(t.Context(), address, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseWithError(0, "") }()
	stream, err := c.OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(stream)
	if err != nil || len(got) < 2 {
		t.Fatalf("%d octets, %v", len(got), err)
	}
	return got[2:]
}

// overGRPC frames the message by hand: a length, and field 1 of a protobuf message.
func overGRPC(t *testing.T, address string, b []byte) []byte {
	field := append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(b))), b...)
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(field))), field...)
	got := post(t, http2(), "https://"+address+"/coredns.dns.DnsService/Query", "application/grpc", frame)
	if len(got) < 6 || got[5] != 1<<3|2 {
		t.Fatalf("response %x", got)
	}
	n, size := binary.Uvarint(got[6:])
	return got[6+size:][:n]
}

// Over TLS, HTTPS, HTTP/3, QUIC and gRPC requests are verified and all kinds of responses signed, also
// with a plugin in front that changes responses.
func TestTransports(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir)
	for _, c := range []transportTest{
		{"tls", overTLS, false},
		{"https", overHTTPS, false},
		{"grpc", overGRPC, false},
		{"https3", overHTTPS3, true},
		{"quic", overQUIC, true},
	} {
		t.Run(c.scheme, func(t *testing.T) {
			corefile := strings.Replace(inBlock("root "+dir+"\ntls cert.pem key.pem\nloadbalance\nkeys {\ntsig a.test. "+secretA+"\n}"), "example.org:0", c.scheme+"://example.org:0", 1)
			i, err := caddy.Start(input(corefile))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				for _, err := range i.ShutdownCallbacks() {
					t.Error(err)
				}
				if err := i.Stop(); err != nil {
					t.Error(err)
				}
			})
			listener := i.Servers()[0].Addr()
			if c.udp {
				listener = i.Servers()[0].LocalAddr()
			}
			address := listener.String()
			question := func(name string) *dns.Msg {
				m := ask(name + ".example.org.")
				if c.scheme == "quic" {
					m.Id = 0 // RFC 9250 §4.2.1
				}
				return m
			}
			for range 5 {
				for name, want := range map[string]int{
					"who": dns.RcodeSuccess, "large": dns.RcodeSuccess, "addresses": dns.RcodeSuccess, "refused": dns.RcodeRefused, "huge": dns.RcodeServerFailure,
				} {
					for _, edns := range []bool{false, true} {
						req := question(name)
						if edns {
							req.SetEdns0(1232, true)
						}
						b, mac := sign(t, req, "a.test.", dns.HmacSHA256, secretA, time.Now())
						m, _ := verify(t, c.exchange(t, address, b), secretA, mac, false)
						if c.udp && (name == "large" || name == "huge") {
							if m.Rcode != dns.RcodeSuccess || !m.Truncated {
								t.Errorf("%s: %v", name, m.MsgHdr)
							}
							continue
						}
						if m.Rcode != want || (m.IsEdns0() != nil) != edns {
							t.Errorf("%s: %v", name, m)
						}
						if name == "who" && !strings.Contains(texts(m), "identity true a.test. hmac-sha256. 127.0.0.1") {
							t.Errorf("who: %s", texts(m))
						}
						if name == "large" && (len(m.Answer) != 40 || m.Truncated) {
							t.Errorf("large: %d records, %v", len(m.Answer), m.MsgHdr)
						}
					}
				}
			}
			for code, sent := range map[uint16]struct {
				secret string
				off    time.Duration
			}{dns.RcodeBadSig: {secretB, 0}, dns.RcodeBadTime: {secretA, time.Hour}} {
				b, mac := sign(t, question("who"), "a.test.", dns.HmacSHA256, sent.secret, time.Now().Add(-sent.off))
				m := new(dns.Msg)
				if err := m.Unpack(c.exchange(t, address, b)); err != nil {
					t.Fatal(err)
				}
				r := m.IsTsig()
				if m.Rcode != dns.RcodeNotAuth || r == nil || r.Error != code {
					t.Fatalf("want error %d: %v", code, m)
				}
				if code == dns.RcodeBadSig {
					if r.MAC != "" {
						t.Errorf("signed: %v", r)
					}
					continue
				}
				if _, want, err := dns.TsigGenerate(m, secretA, mac, false); err != nil || want != r.MAC || r.OtherLen != 6 {
					t.Errorf("%v, want MAC %s, %v", r, want, err)
				}
			}
			if c.scheme != "tls" && c.scheme != "quic" { // one message is all that these can have; over QUIC the host leaves its end to us
				b, mac := sign(t, question("packed"), "a.test.", dns.HmacSHA256, secretA, time.Now())
				verify(t, c.exchange(t, address, b), secretA, mac, false)
			}
		})
	}
}
