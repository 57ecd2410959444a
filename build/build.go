// Command build compiles CoreDNS with the plugins of trustdns:
//
//	go run ./build [-o PATH] [-slim] [-with IMPORTPATH[@VERSION]:DIRECTIVE[:before=NAME]]...
//
// The result depends on the sources, the flags, GOOS, GOARCH and the Go toolchain only: two
// builds of one commit have the same checksum, in whatever folder they run.
//
// -with compiles in one more plugin without touching the tree. IMPORTPATH
// belongs to this module or to one that go.mod names already; otherwise VERSION
// says which version of its module to take ("v1.2.3", "latest"), or names a
// folder that holds the module ("./hello", "/src/hello"). DIRECTIVE is the name
// under which the plugin registers itself. It stands directly before the
// directive NAME; without before=, before hosts: behind authority, so that what
// is compiled in does not answer for zones of ours unless the build says so.
//
// -slim leaves out the plugins that link the SDK of a cloud: route53, azure,
// clouddns, and upstream's dnssec, which can fetch its keys from AWS.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// version is the version of trustdns that the binary shows.
const version = "0.1.0"

const (
	modulePath    = "github.com/trustdns/trustdns"
	corednsModule = "github.com/coredns/coredns"
	upstreamSet   = corednsModule + "/core/plugin"
)

// cloudPlugins are the directives that -slim leaves out, each with the SDK that
// it links. All are packages of upstream named as their directive.
var cloudPlugins = map[string]string{
	"azure":    "Azure SDK",
	"clouddns": "Google Cloud SDK",
	"dnssec":   "AWS SDK, for keys in the Secrets Manager",
	"route53":  "AWS SDK",
}

// options is what one build is made from.
type options struct {
	root string // folder of go.mod
	out  string // file to write
	slim bool
	with []addition
}

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints errors
	flags.StringVar(&o.out, "o", "", "`file` to write (default bin/coredns in the tree)")
	flags.BoolVar(&o.slim, "slim", false, "leave out the plugins that link the SDK of a cloud: azure, clouddns, dnssec, route53")
	flags.Func("with", "one more plugin, as `IMPORTPATH[@VERSION]:DIRECTIVE[:before=NAME]`; VERSION may be a folder; repeatable", func(s string) error {
		a, err := parseAddition(s)
		o.with = append(o.with, a)
		return err
	})
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stdout)
		flags.Usage()
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	var err error
	if o.root, err = findRoot(); err != nil {
		return err
	}
	if o.out == "" {
		o.out = filepath.Join(o.root, "bin", "coredns")
	}
	return o.build(stdout, stderr)
}

// findRoot returns the folder of the module that contains the working folder.
func findRoot() (string, error) {
	gomod, err := goCommand(".", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	root := filepath.Dir(gomod)
	if data, err := os.ReadFile(gomod); err != nil || !strings.HasPrefix(string(data), "module "+modulePath+"\n") {
		return "", fmt.Errorf("run it inside the tree of %s", modulePath)
	}
	return root, nil
}

// build compiles the binary and prints a line about it to stdout.
func (o options) build(stdout, stderr io.Writer) error {
	chain, err := readChain(filepath.Join(o.root, "build", "plugin.cfg"))
	if err != nil {
		return err
	}
	if err := checkPlaces(chain, o.with); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "trustdns-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)

	overlay, err := o.writeOverlay(temp)
	if err != nil {
		return err
	}
	flags := []string{"-overlay=" + overlay}
	if len(o.with) > 0 {
		modfile, err := o.resolve(temp, overlay, stderr)
		if err != nil {
			return err
		}
		flags = append(flags, "-modfile="+modfile)
	}

	out, err := filepath.Abs(o.out)
	if err != nil {
		return err
	}
	commit := commitOf(o.root)
	flags = append(flags, "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", out+".new", "-ldflags=-s -w"+
		" -X main.version="+version+
		" -X "+corednsModule+"/coremain.GitCommit="+commit)
	cmd := command(o.root, append(append([]string{"build"}, flags...), "./build/coredns")...)
	cmd.Stderr = stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	defer os.Remove(out + ".new")
	if err := o.checkRegistered(out + ".new"); err != nil {
		return err
	}
	if err := os.Rename(out+".new", out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "built %s: trustdns %s, commit %s\n", o.out, version, commit)
	return err
}

// writeOverlay writes the files that replace or join those of build/bundle for
// this build, and returns the name of the file that lists them for the go command.
func (o options) writeOverlay(temp string) (string, error) {
	bundle := filepath.Join(o.root, "build", "bundle")
	replace := map[string]string{}
	lay := func(name string, content []byte) error {
		file := filepath.Join(temp, name)
		replace[filepath.Join(bundle, name)] = file
		return os.WriteFile(file, content, 0o600)
	}
	if o.slim {
		src, err := os.ReadFile(filepath.Join(bundle, "bundle.go"))
		if err != nil {
			return "", err
		}
		imports, err := slimImports(o.root)
		if err != nil {
			return "", err
		}
		whole := []byte("_ \"" + upstreamSet + "\"\n")
		if bytes.Count(src, whole) != 1 {
			return "", fmt.Errorf("build/bundle/bundle.go does not import %s once", upstreamSet)
		}
		var list bytes.Buffer
		for _, p := range imports {
			fmt.Fprintf(&list, "_ %q\n", p)
		}
		if err := lay("bundle.go", bytes.Replace(src, whole, list.Bytes(), 1)); err != nil {
			return "", err
		}
	}
	if len(o.with) > 0 {
		if err := lay("with.go", withSource(o.with)); err != nil {
			return "", err
		}
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(temp, "overlay.json")
	return file, os.WriteFile(file, data, 0o600)
}

// slimImports returns the packages of upstream's plugins without cloudPlugins.
func slimImports(root string) ([]string, error) {
	all, err := goCommand(root, "list", "-mod=readonly", "-f", `{{join .Imports "\n"}}`, upstreamSet)
	if err != nil {
		return nil, err
	}
	imports := strings.Fields(all)
	for name := range cloudPlugins {
		i := slices.Index(imports, path.Join(corednsModule, "plugin", name))
		if i < 0 {
			return nil, fmt.Errorf("-slim: upstream has no plugin %q", name)
		}
		imports = slices.Delete(imports, i, i+1)
	}
	return imports, nil
}

// checkRegistered runs the binary to see whether the plugins of -with are known
// to it by the names given. A binary for another system is not run.
func (o options) checkRegistered(binary string) error {
	if len(o.with) == 0 {
		return nil
	}
	target, err := goCommand(o.root, "env", "GOOS", "GOARCH")
	if err != nil {
		return err
	}
	if !slices.Equal(strings.Fields(target), []string{runtime.GOOS, runtime.GOARCH}) {
		return nil
	}
	list, err := exec.Command(binary, "-plugins").CombinedOutput()
	if err != nil {
		return fmt.Errorf("the binary does not run: %w\n%s", err, list)
	}
	names := strings.Fields(string(list))
	for _, a := range o.with {
		if !slices.Contains(names, a.directive) {
			return fmt.Errorf("-with %s: the package does not register the directive %q", a, a.directive)
		}
	}
	return nil
}

// command returns the go command with the environment of a build: settings of
// the user that would change the result are set aside.
func command(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off", "GOAMD64=", "GOARM64=", "GOEXPERIMENT=", "GOFIPS140=")
	return cmd
}

// goCommand runs the go command and returns what it printed, without the space
// around it. The error holds what it said.
func goCommand(dir string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := command(dir, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
