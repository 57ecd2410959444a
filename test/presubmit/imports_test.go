package presubmit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"io"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Modules of others that rules speak of.
const (
	miekg      = "github.com/miekg/dns"
	coredns    = "github.com/coredns/coredns"
	caddy      = "github.com/coredns/caddy"
	prometheus = "github.com/prometheus/client_golang"
)

// A subject says what a package of plugin/pkg may import besides the standard library.
type subject struct {
	own     []string          // packages of plugin/pkg
	drivers int               // how many modules of others
	miekg   []string          // files that may import miekg/dns; "*" for all
	unknown map[string]string // packages of the standard library that it must not import → what it must not know
	noClock bool              // time is an argument
}

// values is what the packages around a zone stand on.
var values = []string{"dnsname", "rrset", "zone"}

var (
	noSockets = map[string]string{"net": "sockets", "net/http": "sockets"}
	noClient  = map[string]string{"net": "who the client is", "net/netip": "who the client is"}
	noHost    = map[string]string{"net": "sockets", "net/http": "sockets", "os": "the disk", "path/filepath": "the disk"}
)

// subjects is the table of who may import whom. A package that is not in it
// must be entered, with what it needs, before it can be used.
var subjects = map[string]subject{
	"dnsname":   {drivers: 1, noClock: true},
	"trie":      {drivers: 1, noClock: true},
	"ratelimit": {drivers: 1, noClock: true},
	"cookie":    {drivers: 1, noClock: true},
	"health":    {drivers: 1},
	"dso":       {drivers: 1},
	"dnscrypt":  {drivers: 1},

	"udp": {drivers: 1},

	"rrset":    {own: []string{"dnsname"}, miekg: []string{"convert.go"}, unknown: noHost, noClock: true},
	"zone":     {own: []string{"dnsname", "rrset", "trie"}, unknown: noHost, noClock: true},
	"zonefile": {own: values, miekg: []string{"*"}, noClock: true},

	"topology": {drivers: 2, unknown: noSockets},
	"pool":     {own: []string{"health", "topology"}, unknown: noSockets},

	"lease":      {own: []string{"dnsname", "rrset"}, unknown: noHost, noClock: true},
	"ddns":       {own: values, unknown: noClient, noClock: true},
	"journal":    {own: values, drivers: 1, unknown: noSockets},
	"signer":     {own: values, miekg: []string{"*"}, unknown: noSockets, noClock: true},
	"kasp":       {own: []string{"dnsname", "signer"}, unknown: noHost, noClock: true},
	"wire":       {own: values, unknown: noHost, noClock: true},
	"feed":       {own: values, unknown: noSockets},
	"xfr":        {own: append([]string{"wire"}, values...), miekg: []string{"*"}},
	"onlinesign": {own: append([]string{"signer"}, values...), unknown: noSockets, noClock: true},

	"parent":   {own: []string{"dnsname", "rrset"}},
	"policy":   {own: []string{"dnsname"}, noClock: true},
	"identity": {own: []string{"dnsname"}},

	"journal/memory":      {own: append([]string{"journal"}, values...)},
	"journal/bolt":        {own: append([]string{"journal"}, values...), drivers: 2}, // bbolt, and the checksums
	"journal/etcd":        {own: append([]string{"journal"}, values...), drivers: 1},
	"journal/journaltest": {own: append([]string{"journal"}, values...), drivers: 1},

	"autosign": {own: append([]string{"zonedb", "kasp", "signer", "onlinesign", "journal"}, values...)},

	"zonedb": {own: append([]string{"journal", "journal/bolt", "journal/memory", "feed", "lease", "zonefile"}, values...), drivers: 1},
}

// clockNames are what package time offers to those who look at the clock.
var clockNames = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// importComplaints checks who imports whom.
func importComplaints(list []source) (complaints []string) {
	drivers := map[string]map[string]bool{} // package → modules of others
	for _, s := range list {
		r := reader{dir: s.dir(), test: s.isTest()}
		for _, spec := range s.file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				complaints = append(complaints, fmt.Sprintf("%s: %v", s.at(spec), err))
				continue
			}
			why := r.refuses(path.Base(s.path), imported)
			if why != "" {
				complaints = append(complaints, fmt.Sprintf("%s: %s must not import %s: %s", s.at(spec), s.dir(), imported, why))
			} else if name, ok := r.subject(); ok && !r.test && isForeign(imported) && !within(imported, miekg) {
				if drivers[name] == nil {
					drivers[name] = map[string]bool{}
				}
				drivers[name][moduleOf(imported)] = true
			}
		}
		if name, ok := r.subject(); ok && !r.test && subjects[name].noClock {
			timeName := importName(s.file, "time")
			ast.Inspect(s.file, func(n ast.Node) bool {
				if n != nil && slices.Contains(clockNames, selected(n, timeName)) {
					complaints = append(complaints, fmt.Sprintf("%s: %s must not look at the clock: time is an argument", s.at(n), s.dir()))
				}
				return true
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(drivers)) {
		if n := len(drivers[name]); n > subjects[name].drivers {
			complaints = append(complaints, fmt.Sprintf("plugin/pkg/%s: imports %d modules of others (%s), and %d are allowed",
				name, n, strings.Join(slices.Sorted(maps.Keys(drivers[name])), ", "), subjects[name].drivers))
		}
	}
	return complaints
}

// A reader is a file that imports.
type reader struct {
	dir  string // from the root
	test bool
}

// subject returns the name of the package below plugin/pkg.
func (r reader) subject() (string, bool) { return strings.CutPrefix(r.dir, "plugin/pkg/") }

// adapter returns the name of the plugin.
func (r reader) adapter() (string, bool) {
	rest, ok := strings.CutPrefix(r.dir, "plugin/")
	name, _, _ := strings.Cut(rest, "/")
	return name, ok && name != "pkg"
}

// refuses returns why a file of the given name must not import a package, or "".
func (r reader) refuses(file, imported string) string {
	own, isOwn := strings.CutPrefix(imported, modulePath+"/")
	if own == "build/bundle" && r.dir != "build/coredns" {
		return "the bundle is for the binary, which tests start"
	}
	if within(imported, coredns+"/core/plugin") && r.dir != "build/bundle" {
		return "only build/bundle imports every plugin of upstream"
	}
	if name, ok := r.subject(); ok {
		return r.subjectRefuses(name, file, imported, own, isOwn)
	}
	if name, ok := r.adapter(); ok {
		return r.adapterRefuses(name, imported, own, isOwn)
	}
	if within(r.dir, "client") {
		return r.clientRefuses(imported, own, isOwn)
	}
	if within(imported, miekg) && !r.test && !within(r.dir, "test") {
		return "DNS messages are for rrset/convert.go, zonefile, xfr, signer, plugins, the client and tests"
	}
	return ""
}

func (r reader) subjectRefuses(name, file, imported, own string, isOwn bool) string {
	rule, known := subjects[name]
	switch {
	case !known:
		return "the package is not in the table of this test: enter what it may import"
	case within(imported, coredns) || within(imported, caddy):
		return "a subject compiles and is tested without CoreDNS"
	case isOwn && !within(own, "plugin/pkg") && (!r.test || !within(own, "test")):
		return "subjects do not know their adapters"
	case r.test:
		return ""
	case isOwn:
		if other := strings.TrimPrefix(own, "plugin/pkg/"); !slices.Contains(rule.own, other) {
			return "it may import " + strings.Join(append([]string{"the standard library"}, rule.own...), ", ")
		}
	case within(imported, miekg):
		if !slices.Contains(rule.miekg, "*") && !slices.Contains(rule.miekg, file) {
			return "DNS messages are for rrset/convert.go, zonefile, xfr, signer, plugins, the client and tests"
		}
	case within(imported, prometheus):
		return "metrics are the adapter's"
	case isForeign(imported) && rule.drivers == 0:
		return "it needs no module of others"
	case rule.unknown[imported] != "":
		return "it must not know " + rule.unknown[imported]
	}
	return ""
}

func (r reader) adapterRefuses(name, imported, own string, isOwn bool) string {
	switch {
	case isOwn && within(own, "plugin/pkg"):
		for _, hidden := range []string{"trie", "journal/bolt", "journal/etcd"} {
			if within(own, "plugin/pkg/"+hidden) && !r.test {
				return "plugins do not know how zones are indexed and stored"
			}
		}
	case isOwn && within(own, "plugin"):
		if !within(own, "plugin/"+name) {
			return "plugins never import each other: they meet through interfaces found in OnStartup, or the registry"
		}
	case isOwn && (!r.test || !within(own, "test")):
		return "a plugin stands on plugin/pkg only"
	case isForeign(imported) && !r.test:
		for _, allowed := range []string{coredns, caddy, miekg, prometheus} {
			if within(imported, allowed) {
				return ""
			}
		}
		return "a plugin stands on plugin/pkg, CoreDNS, miekg/dns and prometheus; what else it needs is a subject's"
	}
	return ""
}

func (r reader) clientRefuses(imported, own string, isOwn bool) string {
	switch {
	case within(imported, coredns) || within(imported, caddy):
		return "the client does not carry a server"
	case isOwn && !within(own, "client") && !within(own, "plugin/pkg/dso") && !within(own, "plugin/pkg/dnscrypt") && (!r.test || !within(own, "test")):
		return "the client stands on miekg/dns, dso and dnscrypt"
	}
	return ""
}

// within tells whether a path is the other one or below it.
func within(p, above string) bool {
	rest, ok := strings.CutPrefix(p, above)
	return ok && (rest == "" || rest[0] == '/')
}

// isForeign tells whether a package is of a module of others.
func isForeign(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return strings.Contains(first, ".") && !within(imported, modulePath)
}

// moduleOf guesses the module of a package: host and name, and on the two hosts
// that have them, the owner between.
func moduleOf(imported string) string {
	parts := strings.Split(imported, "/")
	n := 2
	if parts[0] == "github.com" || parts[0] == "golang.org" {
		n = 3
	}
	return strings.Join(parts[:min(n, len(parts))], "/")
}

func TestImports(t *testing.T) { report(t, importComplaints(ourSources(t))) }

// TestSourcesAreThePackages makes sure that the rules of this package see every
// file that the go command compiles.
func TestSourcesAreThePackages(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range ourSources(t) {
		seen[s.path] = true
	}
	for _, module := range modules {
		files := compiled(t, module)
		if len(files) == 0 {
			t.Errorf("go list found no file in %s", module)
		}
		for _, name := range files {
			if !seen[name] {
				t.Errorf("%s is compiled and not checked", name)
			}
		}
	}
}

// compiled returns the files of a module that the go command knows, from the root.
func compiled(t *testing.T, module string) (files []string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=Dir,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = filepath.Join(root, module)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir                                                          string
			GoFiles, CgoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return files
		} else if err != nil {
			t.Fatal(err)
		}
		dir, err := filepath.Rel(top, p.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles) {
			files = append(files, filepath.ToSlash(filepath.Join(dir, f)))
		}
	}
}

// TestSubjectsWithoutCoreDNS asks the go command for everything that the
// subjects depend on, indirectly too.
func TestSubjectsWithoutCoreDNS(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-test", "./plugin/pkg/...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if p := strings.TrimSpace(line); within(p, coredns) || within(p, caddy) || within(p, prometheus) {
			t.Errorf("plugin/pkg depends on %s", p)
		}
	}
}

func TestImportsCanFail(t *testing.T) {
	file := func(name string, imports ...string) map[string]string {
		var b strings.Builder
		b.WriteString("package x\n")
		for _, i := range imports {
			if own, ok := strings.CutPrefix(i, "~/"); ok {
				i = modulePath + "/" + own
			}
			fmt.Fprintf(&b, "import %q\n", i)
		}
		return map[string]string{name: b.String()}
	}
	clock := func(name, use string) map[string]string {
		return map[string]string{name: "package x\nimport \"time\"\nvar x = " + use}
	}
	for _, tc := range []badTree{
		{"zone stands on three", file("plugin/pkg/zone/a.go", "fmt", "~/plugin/pkg/dnsname", "~/plugin/pkg/rrset", "~/plugin/pkg/trie"), nil},
		{"zone knows CoreDNS", file("plugin/pkg/zone/a.go", coredns+"/plugin"), []string{"zone/a.go:2: plugin/pkg/zone must not import " + coredns}},
		{"its test too", file("plugin/pkg/zone/a_test.go", coredns+"/plugin/test"), []string{"tested without CoreDNS"}},
		{"zone knows caddy", file("plugin/pkg/zone/a.go", caddy), []string{"without CoreDNS"}},
		{"zone knows messages", file("plugin/pkg/zone/a.go", miekg), []string{"DNS messages are for"}},
		{"zone's test may", file("plugin/pkg/zone/a_test.go", miekg, "pgregory.net/rapid", "~/plugin/pkg/wire", "~/test/server"), nil},
		{"zone knows sockets", file("plugin/pkg/zone/a.go", "net"), []string{"must not know sockets"}},
		{"zone may know addresses", file("plugin/pkg/zone/a.go", "net/netip"), nil},
		{"zone knows the disk", file("plugin/pkg/zone/a.go", "os"), []string{"must not know the disk"}},
		{"zone knows the clock", clock("plugin/pkg/zone/a.go", "time.Now()"), []string{"a.go:3: plugin/pkg/zone must not look at the clock"}},
		{"zone may know a time", clock("plugin/pkg/zone/a.go", "time.Time{}"), nil},
		{"zone's test may know the clock", clock("plugin/pkg/zone/a_test.go", "time.Now()"), nil},
		{"zone knows metrics", file("plugin/pkg/zone/a.go", prometheus+"/prometheus"), []string{"metrics are the adapter's"}},
		{"zone needs a module", file("plugin/pkg/zone/a.go", "example.org/x"), []string{"needs no module"}},
		{"zone knows who stands on it", file("plugin/pkg/zone/a.go", "~/plugin/pkg/zonefile"), []string{"it may import the standard library, dnsname, rrset, trie"}},
		{"zone knows its adapter", file("plugin/pkg/zone/a.go", "~/plugin/authority"), []string{"do not know their adapters"}},
		{"its test knows the adapter", file("plugin/pkg/zone/a_test.go", "~/plugin/authority"), []string{"do not know their adapters"}},
		{"rrset converts", file("plugin/pkg/rrset/convert.go", miekg), nil},
		{"rrset converts elsewhere", file("plugin/pkg/rrset/rrset.go", miekg), []string{"DNS messages are for"}},
		{"ddns knows the client", file("plugin/pkg/ddns/a.go", "net/netip", "~/plugin/pkg/identity"), []string{"who the client is", "it may import"}},
		{"one of a row knows another", file("plugin/pkg/feed/a.go", "~/plugin/pkg/journal"), []string{"it may import"}},
		{"one driver", file("plugin/pkg/journal/bolt/a.go", "go.etcd.io/bbolt", "go.etcd.io/bbolt/errors"), nil},
		{"two drivers", file("plugin/pkg/journal/etcd/a.go", "go.etcd.io/etcd/client/v3", "example.org/x"), []string{"imports 2 modules of others (example.org/x, go.etcd.io/etcd), and 1 are allowed"}},
		{"new package", file("plugin/pkg/novel/a.go", "fmt"), []string{"not in the table"}},
		{"plugin", file("plugin/authority/a.go", coredns+"/plugin", caddy, miekg, prometheus+"/prometheus", "~/plugin/pkg/zonedb", "os"), nil},
		{"plugin knows another", file("plugin/authority/a.go", "~/plugin/update"), []string{"plugins never import each other"}},
		{"plugin's test knows another", file("plugin/authority/a_test.go", "~/plugin/update"), []string{"plugins never import each other"}},
		{"plugin knows the trie", file("plugin/authority/a.go", "~/plugin/pkg/trie"), []string{"indexed and stored"}},
		{"plugin knows a store", file("plugin/authority/a.go", "~/plugin/pkg/journal/bolt"), []string{"indexed and stored"}},
		{"plugin has a library", file("plugin/authority/a.go", "example.org/x"), []string{"is a subject's"}},
		{"plugin knows the build", file("plugin/authority/a.go", "~/build/bundle"), []string{"the bundle is for the binary"}},
		{"plugin's test imports all", file("plugin/authority/a_test.go", coredns+"/core/plugin"), []string{"only build/bundle"}},
		{"binary", file("build/coredns/main.go", "~/build/bundle", coredns+"/coremain"), nil},
		{"bundle", file("build/bundle/bundle.go", coredns+"/core/plugin", "~/plugin/authority"), nil},
		{"test of the binary", file("test/other/a_test.go", "~/build/bundle"), []string{"the bundle is for the binary"}},
		{"build knows messages", file("build/build.go", miekg), []string{"DNS messages are for"}},
		{"tests know messages", file("test/server/a.go", miekg), nil},
		{"client", file("client/a.go", miekg, "~/plugin/pkg/dso"), nil},
		{"client knows zones", file("client/cmd/trustdns/a.go", "~/plugin/pkg/zonedb"), []string{"the client stands on"}},
		{"client knows CoreDNS", file("client/a.go", coredns+"/plugin"), []string{"does not carry a server"}},
	} {
		t.Run(tc.name, func(t *testing.T) { expect(t, importComplaints(tc.sources(t)), tc.want) })
	}
}
