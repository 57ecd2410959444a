package keys

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// describe gives the keys of a block, one a line.
func describe(b *block) string {
	var s strings.Builder
	for _, k := range sorted(b.keys) {
		fmt.Fprintf(&s, "%s %s %s %q\n", k.name, k.spelled, k.algorithm.name, k.secret)
	}
	return strings.TrimSpace(s.String())
}

const keyA = `key "a.test" { algorithm hmac-sha256; secret "c2VjcmV0"; };` + "\n"

func TestParse(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.key"), keyA)
	write(t, filepath.Join(dir, "sub", "bc.key"), strings.ReplaceAll(keyA, "a.test", "b.test")+strings.ReplaceAll(keyA, "a.test", "c.test"))
	const a = `a.test. a.test. hmac-sha256. "secret"`
	for _, c := range []struct{ name, corefile, want string }{
		{"default algorithm", "keys {\ntsig a.test c2VjcmV0\n}", a},
		{"algorithm", "keys {\ntsig a.test hmac-sha1 c2VjcmV0\n}", `a.test. a.test. hmac-sha1. "secret"`},
		{"algorithm as in messages", "keys {\ntsig a.test HMAC-SHA512. c2VjcmV0\n}", `a.test. a.test. hmac-sha512. "secret"`},
		{"letter case", "keys {\ntsig A.Test. c2VjcmV0\n}", `a.test. A.Test. hmac-sha256. "secret"`},
		{"odd name", "keys {\ntsig A\\.\\032b c2VjcmV0\n}", `a\.\ b. A\.\ b. hmac-sha256. "secret"`},
		{"several", "keys {\ntsig b c2VjcmV0\ntsig a c2VjcmV0\n}", "a. a. hmac-sha256. \"secret\"\nb. b. hmac-sha256. \"secret\""},
		{"two directives", "keys {\ntsig b c2VjcmV0\n}\nkeys {\ntsig a c2VjcmV0\n}", "a. a. hmac-sha256. \"secret\"\nb. b. hmac-sha256. \"secret\""},
		{"file", "keys {\nfile a.key\n}", a},
		{"absolute path", "keys {\nfile " + dir + "/./a.key\n}", a},
		{"files and a key", "keys {\nfile a.key sub/bc.key\ntsig d.test c2VjcmV0\n}", a + "\n" + strings.ReplaceAll(a, "a.test", "b.test") +
			"\n" + strings.ReplaceAll(a, "a.test", "c.test") + "\n" + strings.ReplaceAll(a, "a.test", "d.test")},
	} {
		t.Run(c.name, func(t *testing.T) {
			controller := caddy.NewTestController("dns", c.corefile)
			dnsserver.GetConfig(controller).Root = dir
			b, err := parseBlock(controller)
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(b); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if n := strings.Count(c.corefile, ".key"); len(b.files) != n {
				t.Errorf("%d files are watched, want %d", len(b.files), n)
			}
		})
	}
}

// Mistakes are errors that name the place. The secret is in none of them,
// wherever it was written.
func TestParseErrors(t *testing.T) {
	const secret = "VGhpc0lzVmVyeVNlY3JldA=="
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.key"), keyA)
	write(t, filepath.Join(dir, "broken.key"), "\n\nkey \"a.test\" { algorithm hmac-sha256; secret "+secret+" };\n")
	write(t, filepath.Join(dir, "empty.key"), "# nothing\n")
	for _, c := range []struct{ name, corefile, want string }{
		{"no key", "keys", "Testfile:1 - Error during parsing: no key is given"},
		{"no key in braces", "keys {\n}", "Testfile:1 - Error during parsing: no key is given"},
		{"zones", "keys example.org {\ntsig a " + secret + "\n}", "Testfile:1 - Error during parsing: unexpected argument"},
		{"secret as argument", "keys " + secret + " {\n}", "unexpected argument"},
		{"unknown property", "keys {\nkey a " + secret + "\n}", `Testfile:2 - Error during parsing: unknown property "key"`},
		{"secret as property", "keys {\ntsig a\n" + secret + "\n}", "Testfile:2 - Error during parsing: tsig: want NAME [ALGORITHM] SECRET"},
		{"secret on its own", "keys {\ntsig a hmac-sha256 " + secret + "\n" + secret + "\n}", "Testfile:3 - Error during parsing: unknown property"},
		{"no arguments", "keys {\ntsig\n}", "tsig: want NAME [ALGORITHM] SECRET"},
		{"too many arguments", "keys {\ntsig a hmac-sha256 " + secret + " x\n}", "tsig: want NAME [ALGORITHM] SECRET"},
		{"brace", "keys {\ntsig a " + secret + " {\n}\n}", "Testfile:2 - Error during parsing: unexpected brace"},
		{"MD5", "keys {\ntsig a hmac-md5 " + secret + "\n}", "tsig: hmac-md5 must not be used"},
		{"MD5 as in messages", "keys {\ntsig a HMAC-MD5.SIG-ALG.REG.INT. " + secret + "\n}", "tsig: hmac-md5 must not be used"},
		{"unknown algorithm", "keys {\ntsig a hmac-sha3 " + secret + "\n}", "tsig: the algorithm is none of hmac-sha1,"},
		{"truncated algorithm", "keys {\ntsig a hmac-sha256-128 " + secret + "\n}", "tsig: keys for truncated signatures"},
		{"algorithm and secret swapped", "keys {\ntsig a " + secret + " hmac-sha256\n}", "tsig: the algorithm is none of"},
		{"name and secret swapped", "keys {\ntsig " + secret + " ddns.example.org.\n}", "tsig: the secret is not in Base64"},
		{"not Base64", "keys {\ntsig a " + secret[:7] + "\n}", "tsig: the secret is not in Base64"},
		{"empty secret", "keys {\ntsig a \"\"\n}", "tsig: the secret is empty"},
		{"the root", "keys {\ntsig . " + secret + "\n}", "tsig: the name of the key is the root"},
		{"not a name", "keys {\ntsig a..b " + secret + "\n}", "tsig: the name of the key is not a domain name"},
		{"twice", "keys {\ntsig a " + secret + "\ntsig A. " + secret + "\n}", `Testfile:3: key "a." is there already, at Testfile:2`},
		{"twice in two directives", "keys {\ntsig a " + secret + "\n}\nkeys {\ntsig a " + secret + "\n}", `Testfile:5: key "a." is there already, at Testfile:2`},
		{"in a file too", "keys {\ntsig a.test " + secret + "\nfile a.key\n}", `file: ` + dir + `/a.key:1: key "a.test." is there already, at Testfile:2`},
		{"no path", "keys {\nfile\n}", "file: the path is missing"},
		{"empty path", "keys {\nfile \"\"\n}", "file: the path is empty"},
		{"file twice", "keys {\nfile a.key ./a.key\n}", "a.key is given twice"},
		{"no such file", "keys {\nfile nothing.key\n}", "nothing.key: no such file"},
		{"folder", "keys {\nfile .\n}", "not a regular file"},
		{"broken file", "keys {\nfile broken.key\n}", "Testfile:2 - Error during parsing: file: " + dir + "/broken.key:3: "},
		{"empty file", "keys {\nfile empty.key\n}", dir + "/empty.key:2: the file has no key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			controller := caddy.NewTestController("dns", c.corefile)
			dnsserver.GetConfig(controller).Root = dir
			_, err := parseBlock(controller)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), secret[:7])) {
				t.Errorf("the secret is in the error: %v", err)
			}
		})
	}
}

// Short secrets get a warning at the start.
func TestWeakSecret(t *testing.T) {
	log := captureLog(t)
	serve(t, inBlock("keys {\ntsig short.test c2VjcmV0\ntsig long.test MDEyMzQ1Njc4OWFiY2RlZg==\n}"))
	if got := log.String(); strings.Count(got, "WARNING") != 1 || !strings.Contains(got, `Corefile:4: the secret of key "short.test." has 6 octets`) || strings.Contains(got, "c2VjcmV0") {
		t.Errorf("logged:\n%s", got)
	}
}

// One name has one secret and algorithm on a listener, in whatever blocks and
// plugins.
func TestConflicts(t *testing.T) {
	block := func(key, lines string) string {
		return key + " {\nbind 127.0.0.1\n" + lines + "\nprobe\n}\n"
	}
	const sameDirective = "keys {\ntsig a.test " + secretA + "\n}"
	stock := func(secret string) string { return "tsig {\nsecret A.test. " + secret + "\n}" }
	for _, c := range []struct{ name, corefile, want string }{
		{"the same in two blocks", block("example.org:0", sameDirective) + block("example.net:0", sameDirective), ""},
		{"two secrets", block("example.org:0", sameDirective) + block("example.net:0", "keys {\ntsig A.Test "+secretB+"\n}"), "at Corefile:4 and another at Corefile:11, and both are for the listener dns://127.0.0.1:0"},
		{"two algorithms", block("example.org:0", sameDirective) + block("example.net:0", "keys {\ntsig a.test hmac-sha512 "+secretA+"\n}"), `key "a.test." has one secret or algorithm at`},
		{"two listeners", block("example.org:0", sameDirective) +
			strings.ReplaceAll(block("example.net:0", "keys {\ntsig A.Test "+secretB+"\n}"), "127.0.0.1", "127.0.0.2"), ""},
		{"the second zone of a block", block("example.org:0", sameDirective) + block("tls://example.com example.net:0", "keys {\ntsig A.Test "+secretB+"\n}"), "listener dns://127.0.0.1:0"},
		{"a network that is several zones", block("example.org:0", sameDirective) + block("10.0.0.0/15:0", "keys {\ntsig A.Test "+secretB+"\n}"), "listener dns://127.0.0.1:0"},
		{"stock tsig with the same", block("example.org:0", sameDirective+"\n"+stock(secretA)), ""},
		{"stock tsig with another", block("example.org:0", sameDirective+"\n"+stock(secretB)), "plugin tsig of the server block for example.org."},
		{"stock tsig of another block with another", block("example.org:0", stock(secretB)) + block("example.net:0", sameDirective), "at plugin tsig of the server block for example.org. and another at Corefile:11"},
		{"stock tsig of a block behind", block("example.org:0", sameDirective) + block("example.net:0", stock(secretB)), "plugin tsig of the server block for example.net."},
		{"stock tsig alone is not ours to judge", block("example.org:0", stock(secretB)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, err := caddy.Start(input(c.corefile))
			if err == nil {
				s := &running{i, t}
				s.await()
				if err := i.Stop(); err != nil {
					t.Error(err)
				}
				for _, err := range i.ShutdownCallbacks() {
					t.Error(err)
				}
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), secretA) || strings.Contains(err.Error(), secretB)) {
				t.Errorf("a secret is in the error: %v", err)
			}
		})
	}
}

// Stock tsig behind us neither refuses nor signs twice what we have verified,
// and gets what is signed by its own keys; unknown keys are refused by us.
func TestStockTsig(t *testing.T) {
	for _, zones := range []string{"", " example.net"} { // whether stock tsig acts on the name
		s := serve(t, inBlock("keys {\ntsig ours.test "+secretA+"\n}\ntsig"+zones+" {\nsecret stock.test. "+secretB+"\nrequire all\n}")+
			"example.com:0 {\nbind 127.0.0.1\ntsig {\nsecret elsewhere.test. "+secretB+"\n}\nprobe\n}\n")
		acts := zones == ""
		m := s.exchange("udp", ask("who.example.org."), "ours.test.", dns.HmacSHA256, secretA)
		want := "identity true ours.test. hmac-sha256. 127.0.0.1, stock ours.test., tsig false"
		if !acts {
			want = "identity true ours.test. hmac-sha256. 127.0.0.1, stock , tsig false"
		}
		if got := texts(m); got != want {
			t.Errorf("our key: %s", got)
		}
		m = s.exchange("udp", ask("refused.example.org."), "ours.test.", dns.HmacSHA256, secretA)
		if m.Rcode != dns.RcodeRefused {
			t.Errorf("our key: %v", m)
		}
		if len(m.Extra) != 1 {
			t.Errorf("signed twice: %v", m)
		}

		req := ask("who.example.org.")
		if acts {
			m = s.exchange("udp", req, "stock.test.", dns.HmacSHA256, secretB)
			if got := texts(m); got != "identity false   invalid IP, stock stock.test., tsig false" {
				t.Errorf("stock key: %s", got)
			}
		} else {
			b, _ := sign(t, req, "stock.test.", dns.HmacSHA256, secretB, time.Now())
			if got := texts(s.raw("udp", b)); got != "identity false   invalid IP, stock , tsig true" {
				t.Errorf("stock key where it does not act: %s", got)
			}
		}

		b, _ := sign(t, ask("who.example.org."), "elsewhere.test.", dns.HmacSHA256, secretB, time.Now())
		if m := s.raw("udp", b); m.Rcode != dns.RcodeNotAuth || m.IsTsig() == nil || m.IsTsig().Error != dns.RcodeBadKey {
			t.Errorf("stock key of another block: %v", m)
		}
		b, err := ask("who.example.org.").Pack()
		if err != nil {
			t.Fatal(err)
		}
		if m := s.raw("udp", b); (m.Rcode == dns.RcodeRefused) != acts {
			t.Errorf("unsigned: %v", m)
		}
		for _, name := range []string{"messages", "octets"} {
			k := s.dial("tcp")
			b, mac := sign(t, ask(name+".example.org."), "ours.test.", dns.HmacSHA256, secretA, time.Now())
			k.send(b)
			for i := range 5 {
				_, mac = verify(t, k.receive(), secretA, mac, i > 0)
			}
		}
	}
}
