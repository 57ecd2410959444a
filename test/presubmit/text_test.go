package presubmit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pathStart matches what stands in front of an absolute path: nothing of a URL or a longer path.
const pathStart = `(?:^|[^\w.$~/-])`

// homePath matches absolute paths below the folders in which people and build
// machines keep their checkouts.
var homePath = regexp.MustCompile(pathStart + `(/(?:home|Users|root|work|workspace|builds)/[\w.-])`)

// registryHost matches hosts that packages are fetched from. Which one is used
// is a setting of the machine.
var registryHost = regexp.MustCompile(`\b((?:proxy|sum|goproxy|registry|deb)\.[a-z0-9-]+\.[a-z]+)\b`)

// textComplaints finds what ties a file to one machine: absolute paths,
// registries, and paths below the given folders.
func textComplaints(name string, data []byte, folders []string) (complaints []string) {
	if bytes.IndexByte(data, 0) >= 0 {
		return nil // not text
	}
	patterns := []*regexp.Regexp{homePath, registryHost}
	for _, f := range folders {
		patterns = append(patterns, regexp.MustCompile(pathStart+"("+regexp.QuoteMeta(f)+"/)"))
	}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		for _, p := range patterns {
			if m := p.FindSubmatch(line); m != nil {
				complaints = append(complaints, fmt.Sprintf("%s:%d: %q is of one machine", name, n, m[1]))
			}
		}
	}
	return complaints
}

// trackedFiles returns the files that git keeps or would keep; in a tree without
// a repository, all files.
func trackedFiles(t *testing.T) []string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, ".git")); err == nil {
		cmd := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git ls-files: %v", err)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	}
	var names []string
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && name == "bin" {
			return fs.SkipDir
		}
		if err == nil && d.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestNothingOfThisMachine(t *testing.T) {
	var folders []string
	for _, dir := range []func() (string, error){os.UserHomeDir, func() (string, error) { return filepath.Abs(root) }} {
		if d, err := dir(); err == nil && len(d) > 1 {
			folders = append(folders, d)
		}
	}
	names := trackedFiles(t)
	if len(names) < 10 {
		t.Fatalf("found only %d files", len(names))
	}
	for _, name := range names {
		if name == "test/presubmit/text_test.go" {
			continue // holds the examples below
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted and not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		report(t, textComplaints(name, data, folders))
	}
}

func TestNothingOfThisMachineCanFail(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"plain", "one\ntwo\n", nil},
		{"home", "one\ncd /home/joe/src\n", []string{`f:2: "/home/j"`}},
		{"at the start", "/Users/joe", []string{`"/Users/j"`}},
		{"quoted", `path = "/ro` + `ot/go"`, []string{`"/root/g"`}},
		{"work folder", "(/wo" + "rk/main)", []string{`"/work/m"`}},
		{"part of a URL", "https://example.org/home/index.html", nil},
		{"part of a longer path", "/srv/home/joe and ./work/x and ~/work/x and $HOME/work/x", nil},
		{"system folders", "/etc/resolv.conf /usr/sbin/named /tmp/x", nil},
		{"module proxy", "GOPROXY=https://proxy.example.com,direct", []string{`"proxy.example.com"`}},
		{"package registry", `"resolved": "https://registry.example.com/x"`, []string{`"registry.example.com"`}},
		{"given", "in /srv/me/x\n", []string{`"/srv/me/"`}},
		{"given, in a longer path", "in ../srv/me/x /srv/merry\n", nil},
		{"binary", "\x00/home/joe", nil},
	} {
		t.Run(tc.name, func(t *testing.T) { expect(t, textComplaints("f", []byte(tc.text), []string{"/srv/me"}), tc.want) })
	}
}
