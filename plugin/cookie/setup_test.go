package cookie

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
)

const (
	secretA = "e5e973e5a6b2a43f48e7dc849e37bfcf"
	secretB = "dd3bdf9344b678b185a6f5cb60fca715"
	secretC = "445536bcd2513298075a5d379663c962"
)

// madeBy gives a cookie for 127.0.0.1 by a secret.
func madeBy(t testing.TB, secret string, now uint32) []byte {
	t.Helper()
	s, err := cookie.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := cookie.NewSecrets(s).Handle([]byte("clientck"), netip.MustParseAddr("127.0.0.1"), now, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// describe tells which of the secrets A, B and C a set has: the one that makes cookies
// in front.
func describe(t *testing.T, s *cookie.Secrets) (text string) {
	t.Helper()
	secrets := map[string]string{"A": secretA, "B": secretB, "C": secretC}
	addr := netip.MustParseAddr("127.0.0.1")
	for _, name := range []string{"A", "B", "C"} {
		b := madeBy(t, secrets[name], 1000)
		result, got, err := s.Handle(b, addr, 1000, nil)
		if err != nil {
			t.Fatal(err)
		}
		if result != cookie.Valid {
			continue
		}
		if _, fresh, err := s.Handle(b[:8], addr, 1000, nil); err == nil && hex.EncodeToString(fresh) == hex.EncodeToString(b) && string(got) == string(b) {
			text = name + " makes" + text
		} else {
			text += " " + name
		}
	}
	return text
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

func parse(corefile, root string) (*block, error) {
	c := caddy.NewTestController("dns", corefile)
	dnsserver.GetConfig(c).Root = root
	i := instanceOf(c)
	b, err := i.parseBlock(c)
	if err == nil {
		err = i.add(b)
	}
	return b, err
}

func TestParse(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "one"), secretA+"\n")
	write(t, filepath.Join(dir, "two"), "# new, old\n"+secretB+"\n"+secretA+"\n")
	for _, c := range []struct{ name, corefile, want string }{
		{"nothing", "cookie", "rotate 24h0m0s, never, "},
		{"braces", "cookie {\n}", "rotate 24h0m0s, never, "},
		{"rotate", "cookie {\nrotate 65m\nrequire always\n}", "rotate 1h5m0s, always, "},
		{"secret", "cookie {\nsecret " + secretA + "\nrequire limited\n}", "limited, A makes"},
		{"as Knot DNS has it", "cookie {\nsecret 0x" + secretA + "\nrequire never\n}", "never, A makes"},
		{"stage 1: the next is known", "cookie {\nsecret " + secretA + "\nsecret " + secretB + " previous\n}", "never, A makes B"},
		{"stage 2: the next is used", "cookie {\nsecret " + secretA + " previous\nsecret " + secretB + "\n}", "never, B makes A"},
		{"file", "cookie {\nsecret one\n}", "never, A makes"},
		{"absolute path", "cookie {\nsecret " + dir + "/two\n}", "never, B makes A"},
		{"file of others", "cookie {\nsecret " + secretC + "\nsecret two previous\n}", "never, C makes A B"},
		{"file and another", "cookie {\nsecret one\nsecret " + secretC + " previous\n}", "never, A makes C"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := parse(c.corefile, dir)
			if err != nil {
				t.Fatal(err)
			}
			got := [...]string{"never", "limited", "always"}[b.require] + ", "
			if len(b.lines) == 0 {
				got = fmt.Sprintf("rotate %v, %s", seconds(b.rotate), got)
			} else {
				got += describe(t, b.secrets(1000))
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Mistakes are errors that name the place. The secret is in none of them.
func TestParseErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty"), "# nothing\n")
	write(t, filepath.Join(dir, "broken"), "\n"+secretA+secretA+"\n")
	write(t, filepath.Join(dir, "many"), "")
	var many strings.Builder
	for i := range maxSecrets + 1 {
		fmt.Fprintf(&many, "%032x\n", i)
	}
	write(t, filepath.Join(dir, "many"), many.String())
	for _, c := range []struct{ name, corefile, want string }{
		{"argument", "cookie " + secretA, "Testfile:1 - Error during parsing: unexpected argument"},
		{"twice", "cookie\ncookie", "Testfile:2 - Error during parsing: the directive is there already, at Testfile:1"},
		{"unknown property", "cookie {\nsalt x\n}", `Testfile:2 - Error during parsing: unknown property "salt"`},
		{"secret as property", "cookie {\n" + secretA + "\n}", "Testfile:2 - Error during parsing: unknown property"},
		{"no secret", "cookie {\nsecret\n}", "secret: want HEX or FILE"},
		{"two secrets on a line", "cookie {\nsecret " + secretA + " " + secretB + "\n}", "secret: want HEX or FILE"},
		{"short secret", "cookie {\nsecret " + secretA[1:] + "\n}", "secret: want 32 hexadecimal digits or a file"},
		{"secret in Base64", "cookie {\nsecret MDEyMzQ1Njc4/WFiY2RlZg==\n}", "secret: want 32 hexadecimal digits or a file"},
		{"no file", "cookie {\nsecret gone\n}", "gone: no such file"},
		{"a folder", "cookie {\nsecret /tmp\n}", "/tmp: not a regular file"},
		{"empty file", "cookie {\nsecret empty\n}", "empty: there is no secret"},
		{"broken file", "cookie {\nsecret broken\n}", "broken: line 2: want a secret"},
		{"too many", "cookie {\nsecret many\n}", "17 secrets, want 16 at most"},
		{"two that make cookies", "cookie {\nsecret " + secretA + "\nsecret " + secretB + "\n}", "Testfile:1: 2 secrets make cookies"},
		{"none that makes cookies", "cookie {\nsecret " + secretA + " previous\n}", "Testfile:1: 0 secrets make cookies"},
		{"rotate and secret", "cookie {\nsecret " + secretA + "\nrotate 24h\n}", "Testfile:3: rotate is for the secret that the server makes itself"},
		{"too often", "cookie {\nrotate 64m\n}", "rotate: want a duration of 1h5m0s to 864h0m0s"},
		{"too seldom", "cookie {\nrotate 865h\n}", "rotate: want a duration"},
		{"no duration", "cookie {\nrotate 1d\n}", "rotate: want a duration"},
		{"part of a second", "cookie {\nrotate 7200.5s\n}", "rotate: want a duration"},
		{"twice", "cookie {\nrotate 2h\nrotate 2h\n}", `Testfile:3 - Error during parsing: property "rotate" is given twice`},
		{"require", "cookie {\nrequire sometimes\n}", "require: want never, limited or always"},
		{"require nothing", "cookie {\nrequire\n}", "require: want never, limited or always"},
		{"brace", "cookie {\nrequire never {\n}\n}", "Testfile:2 - Error during parsing: unexpected brace"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(c.corefile, dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			for _, s := range []string{secretA[1:], secretB, "MDEyMz"} {
				if strings.Contains(err.Error(), s) {
					t.Errorf("the secret is in the error: %v", err)
				}
			}
		})
	}
}

// The secret of the process has one time of rotation.
func TestRotateIsOneForAll(t *testing.T) {
	i := &instance{}
	for _, c := range []struct{ corefile, want string }{
		{"cookie", ""},
		{"cookie {\nrotate 24h\n}", ""},
		{"cookie {\nsecret " + secretA + "\n}", ""},
		{"cookie {\nrotate 2h\n}", "Testfile:1: the secret of the process is replaced every 2h0m0s here, and every 24h0m0s at Testfile:1"},
	} {
		b, err := i.parseBlock(caddy.NewTestController("dns", c.corefile))
		if err == nil {
			err = i.add(b)
		}
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%q: %v, want %q", c.corefile, err, c.want)
		}
	}
}
