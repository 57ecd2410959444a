package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trustdns/trustdns/test/server"
)

// sdks are the first parts of the paths of cloud SDKs' modules.
var sdks = []string{
	"cloud.google.com/",
	"github.com/Azure/",
	"github.com/aws/",
	"github.com/google/s2a-go",
	"github.com/googleapis/",
	"google.golang.org/api",
}

func isSDK(module string) bool {
	return slices.ContainsFunc(sdks, func(p string) bool { return strings.HasPrefix(module, p) })
}

func TestParseAddition(t *testing.T) {
	for _, tc := range []struct {
		flag string
		want addition
		err  string
	}{
		{flag: "example.org/a:a", want: addition{"example.org/a", "", "a", "hosts"}},
		{flag: "example.org/a@v1.2.3:a", want: addition{"example.org/a", "v1.2.3", "a", "hosts"}},
		{flag: "example.org/a/b@latest:a:before=forward", want: addition{"example.org/a/b", "latest", "a", "forward"}},
		{flag: "github.com/trustdns/trustdns/plugin/x:k8s_x-1:before=log", want: addition{"github.com/trustdns/trustdns/plugin/x", "", "k8s_x-1", "log"}},
		{flag: "example.org/a@./sub:a", want: addition{"example.org/a", "./sub", "a", "hosts"}},
		{flag: "example.org/a@/odd:path:a:before=log", want: addition{"example.org/a", "/odd:path", "a", "log"}},
		{flag: "", err: "want IMPORTPATH"},
		{flag: "example.org/a", err: "want IMPORTPATH"},
		{flag: "example.org/a:", err: `"" is not the name of a directive`},
		{flag: ":a", err: `"" is not an import path`},
		{flag: "./a:a", err: "a folder stands behind @"},
		{flag: "/src/a:a", err: "a folder stands behind @"},
		{flag: "example.org/a@:a", err: "no version behind @"},
		{flag: "example.org/a:A", err: `"A" is not the name of a directive`},
		{flag: "example.org/a:a b", err: `"a b" is not the name of a directive`},
		{flag: "example.org/a b:a", err: "is not an import path"},
		{flag: "example.org/a:a:after=log", err: `unknown option "after"`},
		{flag: "example.org/a:a:before=", err: "before= does not name a directive"},
	} {
		t.Run(tc.flag, func(t *testing.T) {
			got, err := parseAddition(tc.flag)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestAdditionIsFolder(t *testing.T) {
	for version, want := range map[string]bool{"": false, "v1.0.0": false, "latest": false, ".": true, "../x": true, "./v1": true, "/x": true} {
		if got := (addition{version: version}).isFolder(); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}

// TestBadFlags runs the command as a user does; none of these may get as far as compiling.
func TestBadFlags(t *testing.T) {
	empty := t.TempDir()
	module := writePlugin(t)
	program := t.TempDir()
	write(t, filepath.Join(program, "go.mod"), "module example.org/program\n\ngo 1.26\n")
	write(t, filepath.Join(program, "main.go"), "package main\n\nfunc main() {}\n")
	for _, tc := range []struct {
		name string
		args []string
		err  string
	}{
		{"unknown flag", []string{"-fast"}, "-fast"},
		{"argument", []string{"all"}, `unexpected argument "all"`},
		{"malformed", []string{"-with", "x"}, "want IMPORTPATH"},
		{"upstream's directive", []string{"-with", "example.org/a:file"}, `the directive "file" exists already`},
		{"our directive", []string{"-with", "example.org/a:authority"}, `the directive "authority" exists already`},
		{"twice", []string{"-with", "example.org/a:a", "-with", "example.org/b:a"}, `the directive "a" exists already`},
		{"no such neighbor", []string{"-with", "example.org/a:a:before=b"}, `there is no directive "b"`},
		{"package of no module", []string{"-with", "example.org/a:a"}, "name a version or a folder behind @"},
		{"no such package here", []string{"-with", modulePath + "/plugin/nothing:a"}, "plugin/nothing"},
		{"folder without module", []string{"-with", "example.org/a@" + empty + ":a"}, "is not the folder of a module"},
		{"no such folder", []string{"-with", "example.org/a@./nowhere:a"}, "is not the folder of a module"},
		{"other module in folder", []string{"-with", "example.org/a@" + module + ":a"}, "holds the module example.org/hello"},
		{"no such package in folder", []string{"-with", "example.org/hello/sub@" + module + ":a"}, "example.org/hello/sub"},
		{"program", []string{"-with", "example.org/program@" + program + ":a"}, "is a program"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "coredns")
			var stderr strings.Builder
			err := run(append([]string{"-o", out}, tc.args...), io.Discard, &stderr)
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("a binary was written")
			}
		})
	}
}

func TestOutsideTheTree(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := run(nil, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "inside the tree") {
		t.Errorf("error %v", err)
	}
}

func TestCompareRequirements(t *testing.T) {
	before := map[string]string{corednsModule: "v1.15.0", "example.org/a": "v1.0.0", "example.org/b": "v1.0.0"}
	after := maps.Clone(before)
	after["example.org/new"] = "v1.0.0"
	if changes, err := compareRequirements(before, after); len(changes) > 0 || err != nil {
		t.Errorf("a new module: %v, %v", changes, err)
	}
	after["example.org/b"] = "v1.1.0"
	changes, err := compareRequirements(before, after)
	if want := []string{"example.org/b: v1.1.0 instead of v1.0.0"}; !slices.Equal(changes, want) || err != nil {
		t.Errorf("an upgrade: %v, %v", changes, err)
	}
	after[corednsModule] = "v1.16.0"
	if _, err := compareRequirements(before, after); err == nil || !strings.Contains(err.Error(), "needs CoreDNS v1.16.0") {
		t.Errorf("another CoreDNS: %v", err)
	}
}

func TestCommit(t *testing.T) {
	root := t.TempDir()
	expect := func(name, dir, want string) {
		t.Helper()
		if got := commitOf(dir); got != want {
			t.Errorf("%s: commit %q, want %q", name, got, want)
		}
	}
	copyFile(t, "commit.txt", filepath.Join(root, "build", "commit.txt"))
	copyFile(t, ".gitattributes", filepath.Join(root, "build", ".gitattributes"))
	expect("plain folder", root, "unknown")
	commit := commitAll(t, root)
	expect("clean", root, commit)
	archive := t.TempDir()
	unpackArchive(t, root, archive)
	expect("archive", archive, commit)
	write(t, filepath.Join(root, "new.go"), "package new\n")
	expect("changed", root, commit+"-dirty")
	expect("folder below a repository", filepath.Join(root, "build"), "unknown")
}

// TestSlimImports shows that the plugins which remain need no SDK, and that those left out do.
func TestSlimImports(t *testing.T) {
	linked := func(packages ...string) (found []string) {
		t.Helper()
		modules, err := goCommand(".", append([]string{"list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}, packages...)...)
		if err != nil {
			t.Fatal(err)
		}
		for m := range strings.Lines(modules) {
			if m := strings.TrimSpace(m); isSDK(m) && !slices.Contains(found, m) {
				found = append(found, m)
			}
		}
		return found
	}
	imports, err := slimImports(".")
	if err != nil {
		t.Fatal(err)
	}
	if found := linked(imports...); len(found) > 0 {
		t.Errorf("still linked: %v", found)
	}
	for name, sdk := range cloudPlugins {
		if len(linked(corednsModule+"/plugin/"+name)) == 0 {
			t.Errorf("%s does not link the %s and could stay", name, sdk)
		}
	}
}

// TestReproducible builds the tree twice: in the working folder of a repository
// and in a folder that its archive was unpacked into.
func TestReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles everything")
	}
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	first, second := filepath.Join(t.TempDir(), "first"), t.TempDir()
	for _, name := range []string{"build", "plugin"} {
		if err := os.CopyFS(filepath.Join(first, name), os.DirFS(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		copyFile(t, filepath.Join(root, name), filepath.Join(first, name))
	}
	commit := commitAll(t, first)
	unpackArchive(t, first, second)

	out := t.TempDir()
	var sums [2][sha256.Size]byte
	for i, dir := range []string{first, second} {
		file := filepath.Join(out, filepath.Base(dir))
		t.Chdir(dir)
		if err := run([]string{"-o", file}, io.Discard, os.Stderr); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(data)
		if strings.Contains(string(data), dir) {
			t.Errorf("the binary built in %s holds the name of that folder", dir)
		}
	}
	if sums[0] != sums[1] {
		t.Errorf("checksums differ: %x and %x", sums[0], sums[1])
	}

	binary := filepath.Join(out, "first")
	text := output(t, binary, "-version")
	for _, want := range []string{"trustdns-" + version, "CoreDNS-1.15.0", commit} {
		if !strings.Contains(text, want) {
			t.Errorf("-version prints no %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "dirty") {
		t.Errorf("-version says that files were changed:\n%s", text)
	}
	chain, err := readChain(filepath.Join(root, "build", "plugin.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	registered := strings.Fields(output(t, binary, "-plugins"))
	for _, name := range chain {
		if !slices.Contains(registered, name) {
			t.Errorf("-plugins does not list %s", name)
		}
	}
}

// TestSlimWithPlugin builds a small binary with a plugin that lives outside the tree, and asks it.
func TestSlimWithPlugin(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles everything")
	}
	binary := filepath.Join(t.TempDir(), "coredns")
	if err := run([]string{"-o", binary, "-slim", "-with", "example.org/hello@" + writePlugin(t) + ":hello:before=whoami"}, io.Discard, os.Stderr); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		if isSDK(m.Path) {
			t.Errorf("%s is linked", m.Path)
		}
	}
	registered := strings.Fields(output(t, binary, "-plugins"))
	for name := range cloudPlugins {
		if slices.Contains(registered, name) {
			t.Errorf("%s is in a slim binary", name)
		}
	}
	// The server counts as started once it answers SOA with authority. Only hello
	// does, and whoami would answer first if hello stood behind it.
	t.Setenv("TRUSTDNS_COREDNS", binary)
	server.StartOurs(t, ".:"+server.Port+" {\n\tbind 127.0.0.1\n\twhoami\n\thello\n}\n", "example.org")
}

// TestWithWrongDirective takes a package by the version of its module, which registers nothing.
func TestWithWrongDirective(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles everything")
	}
	binary := filepath.Join(t.TempDir(), "coredns")
	err := run([]string{"-o", binary, "-slim", "-with", "github.com/miekg/dns@v1.1.73:nothing"}, io.Discard, os.Stderr)
	if err == nil || !strings.Contains(err.Error(), `does not register the directive "nothing"`) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(binary); err == nil {
		t.Error("a binary was written")
	}
}

// writePlugin returns the folder of a module example.org/hello: a plugin that
// answers every question with authority, by an SOA.
func writePlugin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), `module example.org/hello

go 1.26

require (
	github.com/coredns/caddy v1.1.4
	github.com/coredns/coredns v1.15.0
	github.com/miekg/dns v1.1.73
)
`)
	write(t, filepath.Join(dir, "hello.go"), `package hello

import (
	"context"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

func init() {
	plugin.Register("hello", func(c *caddy.Controller) error {
		dnsserver.GetConfig(c).AddPlugin(func(plugin.Handler) plugin.Handler { return hello{} })
		return nil
	})
}

type hello struct{}

func (hello) Name() string { return "hello" }

func (hello) ServeDNS(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	name := r.Question[0].Name
	m.Answer = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: name, Mbox: name}}
	return dns.RcodeSuccess, w.WriteMsg(m)
}
`)
	return dir
}

// commitAll makes a repository of a folder and returns the twelve digits of its commit.
func commitAll(t *testing.T, dir string) string {
	t.Helper()
	git(t, dir, "init", "-q")
	git(t, dir, "add", "-f", ".")
	git(t, dir, "-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "test")
	return strings.TrimSpace(git(t, dir, "rev-parse", "HEAD"))[:12]
}

func unpackArchive(t *testing.T, repository, dir string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive.tar")
	git(t, repository, "archive", "-o", file, "HEAD")
	output(t, "tar", "-xf", file, "-C", dir)
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	return output(t, "git", append([]string{"-C", dir}, args...)...)
}

func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return string(out)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(data))
}
