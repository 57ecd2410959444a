package keys

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trustdns/trustdns/test/server"
)

func TestParseKeyFile(t *testing.T) {
	const want = `a.test. hmac-sha256. "secret"`
	for _, c := range []struct{ name, file, want string }{
		{"as tsig-keygen writes", "key \"a.test\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n", want},
		{"in one line", `key a.test{algorithm hmac-sha256;secret c2VjcmV0;};`, want},
		{"other order", `key "a.test" { secret "c2VjcmV0"; algorithm "HMAC-SHA256."; };`, want},
		{"comments", "// C++ \" {\n# shell ;\n/* C\n** / */ key /* here { */ a.test # and here }\n{ algorithm //x\nhmac-sha256; secret \"c2VjcmV0\"/**/; }; /**/ //", want},
		{"a secret with slashes and signs", `key a.test { algorithm hmac-sha256; secret //8+/w==; };`, "error: line 1: secret is missing"},
		{"a quoted secret with slashes and signs", `key a.test { algorithm hmac-sha256; secret "//8+/w=="; };`, `a.test. hmac-sha256. "\xff\xff>\xff"`},
		{"a word with slashes in it", `key a.test { algorithm hmac-sha256; secret a//8+/8=; };`, `a.test. hmac-sha256. "k\xff\xfc\xfb\xff"`},
		{"a secret in two parts", "key a.test { algorithm hmac-sha256; secret \"c2Vj cmV0\"; };", want},
		{"two keys", `key a.test { algorithm hmac-sha256; secret c2VjcmV0; }; key b { algorithm hmac-sha1; secret c2VjcmV0; };`, want + "\n" + `b. hmac-sha1. "secret"`},
		{"escapes in names", `key "a\.b\"\032c\\d" { algorithm hmac-sha256; secret c2VjcmV0; };`, `a\.b\"\ c\\d. hmac-sha256. "secret"`},
		{"carriage returns", "key a.test {\r\nalgorithm hmac-sha256;\r\nsecret c2VjcmV0;\r\n};\r\n", want},

		{"nothing", "", "error: line 1: the file has no key"},
		{"comments only", "# a\n// b\n/* c */\n", "error: line 4: the file has no key"},
		{"other statements", "key a { algorithm hmac-sha256; secret c2VjcmV0; };\noptions { };", `error: line 2: want a statement "key": key files have nothing else`},
		{"key in quotes", `"key" a { };`, `error: line 1: want a statement "key"`},
		{"no name", "key { };", "error: line 1: the name of the key is missing"},
		{"no brace", "key a algorithm", `error: line 1: want "{" behind the name of the key`},
		{"no algorithm", "key a {\nsecret c2VjcmV0;\n};", "error: line 3: algorithm is missing in the key that begins at f:1"},
		{"no secret", "key a { algorithm hmac-sha256; };", "error: line 1: secret is missing"},
		{"no value", "key a { algorithm ; };", "error: line 1: algorithm is missing"},
		{"twice", "key a { algorithm hmac-sha256; algorithm hmac-sha256; };", "error: line 1: algorithm is given twice"},
		{"unknown clause", "key a {\nalgorithms x;\n};", `error: line 2: want "algorithm", "secret" or "}" in a key`},
		{"half a file", "key a {\nalgorithm hmac-sha256;\nsecret \"c2Vj", "error: line 3: the quote is not closed on its line"},
		{"quote over lines", "key a {\nsecret \"c2Vj\ncmV0\";", "error: line 2: the quote is not closed on its line"},
		{"less of a file", "key a {\nalgorithm hmac-sha256;\n", `error: line 3: want "algorithm", "secret" or "}" in a key`},
		{"no mark at the end", "key a { algorithm hmac-sha256; secret c2VjcmV0; }", `error: line 1: want ";" behind the key`},
		{"open comment", "\n/* key a { };", "error: line 2: the comment is not closed"},
		{"MD5", "\nkey a { algorithm hmac-md5; secret c2VjcmV0; };", "error: line 2: hmac-md5 must not be used"},
		{"unknown algorithm", "key a { algorithm x; secret c2VjcmV0; };", "error: line 1: the algorithm is none of"},
		{"not Base64", "key a { algorithm hmac-sha256; secret ?; };", "error: line 1: the secret is not in Base64"},
		{"one name twice", "key a { algorithm hmac-sha256; secret c2VjcmV0; };\nkey A. { algorithm hmac-sha256; secret c2VjcmV0; };", `error: line 2: key "a." is there already, at f:1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			list, err := parseKeyFile("f", []byte(c.file))
			var got []string
			for _, k := range list {
				got = append(got, fmt.Sprintf("%s %s %q", k.name, k.algorithm.name, k.secret))
			}
			text := strings.Join(got, "\n")
			if err != nil {
				text = "error: " + strings.Replace(err.Error(), "f:", "line ", 1)
			}
			if text != c.want && (err == nil || !strings.HasPrefix(text, c.want)) {
				t.Errorf("got\n%s\nwant\n%s", text, c.want)
			}
		})
	}
}

// Whatever is broken in a file, no error shows the secret.
func TestKeyFileErrorsAreDiscreet(t *testing.T) {
	const secret = "VGhpc0lzVmVyeVNlY3JldEluZGVlZA=="
	whole := "/* c */ key \"name.test\" {\n algorithm hmac-sha256;\n secret \"" + secret + "\";\n};\n"
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		b := []byte(whole)
		for n := 1 + rng.IntN(3); n > 0 && len(b) > 0; n-- {
			switch at := rng.IntN(len(b)); rng.IntN(3) {
			case 0:
				b = append(b[:at], b[at+1:]...)
			case 1:
				b[at] = "{};\"\\ /*#\nk"[rng.IntN(11)]
			default:
				b = b[:at+1]
			}
		}
		_, err := parseKeyFile("f", b)
		if err != nil && (strings.Contains(err.Error(), secret[:8]) || strings.Contains(err.Error(), secret[16:24])) {
			t.Fatalf("%v of\n%s", err, b)
		}
	}
}

func TestReadKeyFile(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	write(t, large, strings.Repeat(" ", maxKeyFile+1))
	if _, _, err := loadKeyFile(large); err == nil || !strings.Contains(err.Error(), "larger than 1048576 octets") {
		t.Errorf("large: %v", err)
	}
	write(t, large, strings.Repeat(" ", maxKeyFile-len(keyA))+keyA)
	list, sum, err := loadKeyFile(large)
	if err != nil || len(list) != 1 || sum != lookAt(large) {
		t.Errorf("as large as may be: %v", err)
	}
	if lookAt(dir) == lookAt(filepath.Join(dir, "nothing")) {
		t.Error("errors have one digest")
	}
	if lookAt(dir) == sha256.Sum256(nil) {
		t.Error("an error is like an empty file")
	}
}

// What tsig-keygen writes is read, for each algorithm.
func TestKeygen(t *testing.T) {
	server.Require(t, "tsig-keygen")
	for _, a := range algorithms {
		path := filepath.Join(t.TempDir(), "key")
		out, err := exec.CommandContext(t.Context(), "tsig-keygen", "-a", strings.TrimSuffix(a.name, "."), "ddns.example.org").Output()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out, 0o600); err != nil {
			t.Fatal(err)
		}
		list, _, err := loadKeyFile(path)
		if err != nil || len(list) != 1 || list[0].name != "ddns.example.org." || list[0].algorithm != a || len(list[0].secret) != a.size {
			t.Errorf("%s: %v, %v", a.name, list, err)
		}
	}
}

// FuzzParseKeyFile: no file ends the server, and what is read is good: written
// as tsig-keygen writes, it is read as the same.
func FuzzParseKeyFile(f *testing.F) {
	for _, seed := range []string{
		keyA, "key \"a.test\" {\n\talgorithm hmac-sha512;\n\tsecret \"c2VjcmV0\";\n};\n" + keyA,
		"# a\n// b\n/* c */ key a\\.b { secret //8+/w==; algorithm hmac-md5; };", "key \"a\\\"\\\\\\000\" { algorithm \"hmac-sha1\"; secret \"c2Vj cmV0\"; };",
		"key a { algorithm", "/*", "\"", "key a { secret \"\\", "};{",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseKeyFile("f", data)
		if err != nil {
			if len(list) > 0 || !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("%d keys with %v", len(list), err)
			}
			return
		}
		var again strings.Builder
		for _, k := range list {
			// In quotes, only quotes need care: those of names are escaped already.
			fmt.Fprintf(&again, "key \"%s\" { algorithm %s; secret \"%s\"; };\n", k.spelled, k.algorithm.name, k.encoded())
		}
		second, err := parseKeyFile("f", []byte(again.String()))
		if err != nil || len(second) != len(list) {
			t.Fatalf("%v of\n%s", err, again.String())
		}
		for i := range list {
			if !list[i].equal(second[i]) || list[i].spelled != second[i].spelled {
				t.Errorf("%+v is read as %+v", list[i], second[i])
			}
		}
	})
}
