package zonefile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// scanFiles writes files into a folder and reads main.zone of it.
func scanFiles(t *testing.T, files map[string]string) (dir string, got, read []string, err error) {
	dir = t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	got, read, err = scanFolder(t, dir)
	return dir, got, read, err
}

func scanFolder(t *testing.T, dir string) (got, read []string, err error) {
	path := filepath.Join(dir, "main.zone")
	err = Scan(path, origin, func(r *Record) error {
		rel, err := filepath.Rel(dir, r.File)
		got = append(got, fmt.Sprintf("%s:%d %s", rel, r.Line, text(t, r)))
		return err
	})
	s := newScanner(origin)
	s.fn = func(*Record) error { return nil }
	s.scan(path)
	for _, f := range s.files {
		rel, err := filepath.Rel(dir, f)
		if err != nil {
			t.Error(err)
		}
		read = append(read, rel)
	}
	return got, read, err
}

func TestInclude(t *testing.T) {
	_, got, read, err := scanFiles(t, map[string]string{
		"main.zone": `$TTL 300
a A 192.0.2.1
$INCLUDE sub/one.zone one ; below one.example.org.
  A 192.0.2.2
b A 192.0.2.3
$INCLUDE "sub/with blank.zone"
$include sub/two.zone
$INCLUDE ( sub/two.zone
  two )
c A 192.0.2.4
`,
		"sub/one.zone":        "  A 192.0.2.11\nx A 192.0.2.12\n$ORIGIN deep\ny A 192.0.2.13\n$INCLUDE more/three.zone\nz A 192.0.2.14\n$TTL 60",
		"sub/more/three.zone": "w A 192.0.2.21\n$ORIGIN three\n$INCLUDE ../two.zone",
		"sub/two.zone":        "@ A 192.0.2.31",
		"sub/with blank.zone": "q A 192.0.2.41\n",
	})
	if err != nil {
		t.Error(err)
	}
	same(t, got,
		"main.zone:2 a.example.org. 300 A 192.0.2.1",
		"sub/one.zone:1 a.example.org. 300 A 192.0.2.11",
		"sub/one.zone:2 x.one.example.org. 300 A 192.0.2.12",
		"sub/one.zone:4 y.deep.one.example.org. 300 A 192.0.2.13",
		"sub/more/three.zone:1 w.deep.one.example.org. 300 A 192.0.2.21",
		"sub/two.zone:1 three.deep.one.example.org. 300 A 192.0.2.31",
		"sub/one.zone:6 z.deep.one.example.org. 300 A 192.0.2.14",
		"main.zone:4 a.example.org. 60 A 192.0.2.2",
		"main.zone:5 b.example.org. 60 A 192.0.2.3",
		"sub/with blank.zone:1 q.example.org. 60 A 192.0.2.41",
		"sub/two.zone:1 example.org. 60 A 192.0.2.31",
		"sub/two.zone:1 two.example.org. 60 A 192.0.2.31",
		"main.zone:10 c.example.org. 60 A 192.0.2.4",
	)
	same(t, read, "main.zone", "sub/one.zone", "sub/more/three.zone", "sub/two.zone", "sub/with blank.zone")
}

func TestIncludeErrors(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.zone")
	write(t, outside, "secret 1 A 192.0.2.99\n")
	deep := map[string]string{"main.zone": "$INCLUDE 1.zone\n"}
	for i := range maxDepth {
		deep[fmt.Sprintf("%d.zone", i+1)] = fmt.Sprintf("$INCLUDE %d.zone\n", i+2)
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"file that is not there", map[string]string{"main.zone": "\n$INCLUDE none.zone\n"}, `main.zone:2: $INCLUDE: "none.zone": no such file or directory`},
		{"folder", map[string]string{"main.zone": "$INCLUDE sub\n", "sub/x": ""}, `main.zone:1: $INCLUDE: "sub": not a regular file`},
		{"..", map[string]string{"main.zone": "$INCLUDE ../x.zone\n"}, `main.zone:1: $INCLUDE: "../x.zone": ` + errOutside.Error()},
		{".. written with escapes", map[string]string{"main.zone": `$INCLUDE \046./x.zone` + "\n"}, `main.zone:1: $INCLUDE: "../x.zone": ` + errOutside.Error()},
		{".. in an included file", map[string]string{"main.zone": "$INCLUDE sub/a.zone\n", "sub/a.zone": "$INCLUDE ../../x.zone"}, `sub/a.zone:1: $INCLUDE: "../../x.zone": ` + errOutside.Error()},
		{"absolute path", map[string]string{"main.zone": "$INCLUDE /etc/passwd\n"}, `main.zone:1: $INCLUDE: "/etc/passwd": ` + errAbsolute.Error()},
		{"empty path", map[string]string{"main.zone": "$INCLUDE \"\"\n"}, `main.zone:1: $INCLUDE: "": not a regular file`},
		{"NUL in the path", map[string]string{"main.zone": `$INCLUDE a\000b` + "\n"}, `main.zone:1: $INCLUDE: "a\x00b": invalid argument`},
		{"itself", map[string]string{"main.zone": "$INCLUDE ./main.zone\n"}, `main.zone:1: $INCLUDE: "./main.zone": the file includes itself`},
		{"each other", map[string]string{"main.zone": "$INCLUDE a.zone\n", "a.zone": "$INCLUDE b.zone\n", "b.zone": "$INCLUDE a.zone\n"}, `b.zone:1: $INCLUDE: "a.zone": the file includes itself`},
		{"too deep", deep, `16.zone:1: $INCLUDE: "17.zone": ` + errDepth.Error()},
		{"bad origin", map[string]string{"main.zone": "$INCLUDE a.zone b..c\n", "a.zone": ""}, `main.zone:1: $INCLUDE: "b..c": empty label`},
		{"three arguments", map[string]string{"main.zone": "$INCLUDE a.zone b c\n", "a.zone": ""}, `main.zone:1: $INCLUDE: "c" is one argument too many`},
		{"error in the included file", map[string]string{"main.zone": "$INCLUDE a.zone\n", "a.zone": "\nb 1 A x\n"}, `a.zone:2: A: "x" where an IPv4 address must be`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.files["main.zone"] += "z 1 A 192.0.2.1\n"
			dir, got, _, err := scanFiles(t, c.files)
			if err == nil {
				t.Fatal("no error")
			}
			if msg := strings.ReplaceAll(err.Error(), dir+"/", ""); msg != c.want {
				t.Errorf("got  %s\nwant %s", msg, c.want)
			}
			if len(got) != 1 {
				t.Errorf("records: %q", got)
			}
		})
	}
	for name, target := range map[string]string{"symbolic link out": outside, "symbolic link out with ..": "../../../../../../../../.." + outside} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "main.zone"), "$INCLUDE link.zone\n")
			if err := os.Symlink(target, filepath.Join(dir, "link.zone")); err != nil {
				t.Fatal(err)
			}
			got, _, err := scanFolder(t, dir)
			if err == nil || !strings.HasSuffix(err.Error(), `main.zone:1: $INCLUDE: "link.zone": path escapes from parent`) || len(got) > 0 {
				t.Errorf("%v, %q", err, got)
			}
		})
	}
	t.Run("named pipe", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "main.zone"), "$INCLUDE pipe\n")
		if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := scanFolder(t, dir); err == nil || !strings.HasSuffix(err.Error(), `"pipe": not a regular file`) {
			t.Error(err)
		}
		if _, err := Load(filepath.Join(dir, "pipe"), dnsname.Root, Options{}, time.Time{}); err == nil || !strings.HasSuffix(err.Error(), "pipe: file: not a regular file") {
			t.Error(err)
		}
	})
}

// A ConfigMap of Kubernetes has its files behind two symbolic links.
func TestIncludeThroughLinksWithin(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "..2026/main.zone"), "$INCLUDE a.zone\n")
	write(t, filepath.Join(dir, "..2026/a.zone"), "a 1 A 192.0.2.1\n")
	for name, target := range map[string]string{"..data": "..2026", "main.zone": "..data/main.zone", "a.zone": "..data/a.zone"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	got, read, err := scanFolder(t, dir)
	if err != nil {
		t.Error(err)
	}
	same(t, got, "a.zone:1 a.example.org. 1 A 192.0.2.1")
	same(t, read, "main.zone", "a.zone")
}

// A file may be included any number of times, one behind another, up to a bound.
func TestIncludeCount(t *testing.T) {
	_, got, _, err := scanFiles(t, map[string]string{
		"main.zone": strings.Repeat("$INCLUDE a.zone\n", 100),
		"a.zone":    strings.Repeat("$INCLUDE b.zone\n", 200),
		"b.zone":    "b 1 A 192.0.2.1\n",
	})
	if err == nil || !strings.Contains(err.Error(), errIncludes.Error()) {
		t.Error(err)
	}
	if len(got) > maxIncludes {
		t.Errorf("%d records", len(got))
	}
}

func TestScanMainFileMissing(t *testing.T) {
	dir := t.TempDir()
	_, read, err := scanFolder(t, dir)
	if err == nil || err.Error() != filepath.Join(dir, "main.zone")+": file: no such file or directory" {
		t.Error(err)
	}
	same(t, read, "main.zone")
}
