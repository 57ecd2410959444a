package interop

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
	"github.com/trustdns/trustdns/test/server"
)

// Secrets of a set of servers: the one in use, the one to come, and one of nobody.
const (
	secretOld   = "e5e973e5a6b2a43f48e7dc849e37bfcf"
	secretNew   = "dd3bdf9344b678b185a6f5cb60fca715"
	secretOther = "445536bcd2513298075a5d379663c962"
)

var clientCookie = []byte("\x24\x64\xc4\xab\xcf\x10\xc9\x57")

// madeBy gives the cookie by a secret for a client on this machine at a time.
func madeBy(t *testing.T, secret string, at uint32) []byte {
	t.Helper()
	s, err := cookie.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := cookie.NewSecrets(s).Handle(clientCookie, netip.MustParseAddr("127.0.0.1"), at, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exchangeCookie asks a server with a cookie, and gives the response and its cookie.
func exchangeCookie(t *testing.T, s *server.Server, option []byte) (*dns.Msg, []byte) {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("www.example.org.", dns.TypeA)
	m.RecursionDesired = false
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex.EncodeToString(option)}}
	c := dns.Client{Timeout: 5 * time.Second}
	r, _, err := c.Exchange(m, s.Addr.String())
	if err != nil {
		t.Fatalf("%s: %v", s.Name, err)
	}
	if opt := r.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if o.Option() == dns.EDNS0COOKIE {
				b, err := hex.DecodeString(o.String())
				if err != nil {
					t.Fatal(err)
				}
				return r, b
			}
		}
	}
	t.Fatalf("%s: no cookie in\n%v", s.Name, r)
	return nil, nil
}

// takes tells whether a server takes a cookie that is some time old. All but NSD answer BADCOOKIE otherwise; NSD gives back
// what it takes and what is by the secret that it makes cookies with, and no other.
func takes(t *testing.T, s *server.Server, secret string) bool {
	t.Helper()
	option := madeBy(t, secret, uint32(time.Now().Unix())-100)
	r, got := exchangeCookie(t, s, option)
	if isNSD(s) {
		return bytes.Equal(got, option)
	}
	if taken := r.Rcode == dns.RcodeSuccess; taken != (len(r.Answer) == 1) || !taken && r.Rcode != dns.RcodeBadCookie {
		t.Errorf("%s: %v", s.Name, r)
	}
	return r.Rcode == dns.RcodeSuccess
}

func isNSD(s *server.Server) bool { return strings.HasPrefix(s.Name, "nsd") }

// makes gives the secret that a server makes cookies with: every octet is as ours.
func makes(t *testing.T, s *server.Server) string {
	t.Helper()
	_, got := exchangeCookie(t, s, clientCookie)
	if len(got) != cookie.OptionSize {
		t.Fatalf("%s: %x", s.Name, got)
	}
	for _, secret := range []string{secretOld, secretNew} {
		if bytes.Equal(got, madeBy(t, secret, binary.BigEndian.Uint32(got[12:]))) {
			return secret
		}
	}
	t.Fatalf("%s: %x is by none of the secrets", s.Name, got)
	return ""
}

// member is one of the servers, and the secrets that it has.
type member struct {
	*server.Server
	secrets []string
}

// TestSharedCookies: named, knotd, nsd and ours share secrets. Each takes the cookies of the others, and makes the same. The
// secret is rolled over in three stages while all serve, ours by changes of its file.
func TestSharedCookies(t *testing.T) {
	server.Require(t, "named", "knotd", "nsd")
	dir := t.TempDir()
	zone := filepath.Join(dir, "example.org.zone")
	text := "$TTL 300\n@ SOA ns hostmaster 1 7200 1800 1209600 300\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.1\n"
	if err := os.WriteFile(zone, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	zones := []server.Zone{{Origin: "example.org", File: zone}}
	file := filepath.Join(dir, "secrets")
	put := func(secrets ...string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(strings.Join(secrets, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	put(secretOld)
	ours := server.StartOurs(t, fmt.Sprintf("example.org:%s {\nbind 127.0.0.1\ncookie {\nsecret %s\nrequire always\n}\nauthority {\nfile %s\n}\n}\n",
		server.Port, file, zone))
	if err := ours.Await(); err != nil {
		t.Fatal(err)
	}
	has := []string{secretOld} // ours
	for _, stage := range []struct {
		name    string
		secrets []string
	}{
		{"before", []string{secretOld}},
		{"1: all know the new one", []string{secretOld, secretNew}},
		{"2: it makes cookies", []string{secretNew, secretOld}},
		{"3: the old one is gone", []string{secretNew}},
	} {
		peers := []member{
			{server.StartNamed(t, zones, stage.secrets...), stage.secrets},
			{server.StartKnotd(t, zones, stage.secrets[0]), stage.secrets[:1]}, // version 3.2 has one
			{server.StartNSD(t, zones, stage.secrets...), stage.secrets},
		}
		check := func(when string) {
			t.Helper()
			all := append([]member{{ours, has}}, peers...)
			for _, s := range all {
				made := makes(t, s.Server)
				if made != s.secrets[0] {
					t.Errorf("%s, %s: %s makes cookies with another secret", stage.name, when, s.Name)
				}
				for _, other := range all {
					want := slices.Contains(other.secrets, made)
					if isNSD(other.Server) {
						want = other.secrets[0] == made
					}
					if got := takes(t, other.Server, made); got != want {
						t.Errorf("%s, %s: %s takes what %s makes: %v, want %v", stage.name, when, other.Name, s.Name, got, want)
					}
				}
				if takes(t, s.Server, secretOther) {
					t.Errorf("%s, %s: %s takes a cookie by a secret of nobody", stage.name, when, s.Name)
				}
			}
		}
		check("ours a stage behind")
		put(stage.secrets...)
		await(t, ours, stage.secrets)
		has = stage.secrets
		check("all alike")
		t.Logf("%s: %s, %s, %s", stage.name, peers[0].Name, peers[1].Name, peers[2].Name)
		for _, p := range peers {
			p.Stop()
		}
	}
}

// await waits until ours has the secrets.
func await(t *testing.T, ours *server.Server, secrets []string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for makes(t, ours) != secrets[0] || takes(t, ours, secretOld) != slices.Contains(secrets, secretOld) ||
		takes(t, ours, secretNew) != slices.Contains(secrets, secretNew) {
		if time.Now().After(deadline) {
			t.Fatalf("the file was not read again:\n%s", ours.Log())
		}
		<-tick.C
	}
}
