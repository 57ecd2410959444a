package presubmit

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// optionTypes are the structs of client_golang that name a metric.
var optionTypes = []string{"CounterOpts", "GaugeOpts", "HistogramOpts", "SummaryOpts", "UntypedOpts", "Opts"}

// registeredMetrics returns the full names of the metrics that a plugin's source
// makes, and complaints about those whose name cannot be read from the source.
func registeredMetrics(list []source) (names, complaints []string) {
	constants := map[string]ast.Expr{}
	for _, s := range list {
		for _, decl := range s.file.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.CONST {
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && len(v.Names) == len(v.Values) {
						for i, name := range v.Names {
							constants[name.Name] = v.Values[i]
						}
					}
				}
			}
		}
	}
	for _, s := range list {
		prometheusName := importName(s.file, prometheus+"/prometheus")
		pluginName := importName(s.file, coredns+"/plugin")
		text := func(e ast.Expr) (string, bool) { return constantText(e, constants, pluginName) }
		add := func(n ast.Node, parts ...ast.Expr) {
			var name []string
			for _, p := range parts {
				part, ok := text(p)
				if !ok {
					complaints = append(complaints, s.at(n)+": the name of the metric is not constant")
					return
				}
				if part != "" {
					name = append(name, part)
				}
			}
			names = append(names, strings.Join(name, "_"))
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if n.Type != nil && slices.Contains(optionTypes, selected(n.Type, prometheusName)) {
					add(n, field(n, "Namespace"), field(n, "Subsystem"), field(n, "Name"))
				}
			case *ast.CallExpr:
				switch selected(n.Fun, prometheusName) {
				case "BuildFQName":
					add(n, n.Args...)
				case "NewDesc":
					if call, ok := n.Args[0].(*ast.CallExpr); !ok || selected(call.Fun, prometheusName) != "BuildFQName" {
						add(n, n.Args[0])
					}
				}
			}
			return true
		})
	}
	slices.Sort(names)
	return slices.Compact(names), complaints
}

// constantText evaluates a string literal, a constant of the package, a sum of
// these, or CoreDNS's plugin.Namespace. A missing expression is empty.
func constantText(e ast.Expr, constants map[string]ast.Expr, pluginName string) (string, bool) {
	switch e := e.(type) {
	case nil:
		return "", true
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.Ident:
		value, ok := constants[e.Name]
		if !ok {
			return "", false
		}
		return constantText(value, constants, pluginName)
	case *ast.BinaryExpr:
		x, okX := constantText(e.X, constants, pluginName)
		y, okY := constantText(e.Y, constants, pluginName)
		return x + y, okX && okY && e.Op == token.ADD
	}
	return "coredns", selected(e, pluginName) == "Namespace"
}

// field returns the value of a key of a struct literal, or nil.
func field(lit *ast.CompositeLit, key string) ast.Expr {
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if k, ok := kv.Key.(*ast.Ident); ok && k.Name == key {
				return kv.Value
			}
		}
	}
	return nil
}

// metricComplaints compares the metrics in a plugin's source with those in the
// section Metrics of its README.
func metricComplaints(tree fs.FS) (complaints []string, err error) {
	names, err := pluginNames(tree)
	if err != nil {
		return nil, err
	}
	list, err := parseTree(tree)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		dir := path.Join("plugin", name)
		own := slices.DeleteFunc(slices.Clone(list), func(s source) bool { return s.isTest() || !within(s.path, dir) })
		registered, unclear := registeredMetrics(own)
		complaints = append(complaints, unclear...)

		file := path.Join(dir, "README.md")
		data, err := fs.ReadFile(tree, file)
		if err != nil {
			complaints = append(complaints, err.Error())
			continue
		}
		listed := map[string]bool{}
		prefix := "coredns_" + name + "_"
		for _, s := range readSections(string(data)) {
			if s.heading == "## Metrics" {
				for _, m := range regexp.MustCompile(`\b`+prefix+`[a-z0-9_]+`).FindAllString(s.text, -1) {
					listed[m] = true
				}
			}
		}
		for _, m := range registered {
			if !strings.HasPrefix(m, prefix) {
				complaints = append(complaints, fmt.Sprintf("%s: the metric %s must start with %s", dir, m, prefix))
			} else if !listed[m] {
				complaints = append(complaints, fmt.Sprintf("%s: section Metrics does not list %s", file, m))
			}
		}
		for _, m := range slices.Sorted(maps.Keys(listed)) {
			if !slices.Contains(registered, m) {
				complaints = append(complaints, fmt.Sprintf("%s: lists %s, which the plugin does not register", file, m))
			}
		}
	}
	return complaints, nil
}

func TestMetrics(t *testing.T) {
	complaints, err := metricComplaints(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	report(t, complaints)
}

func TestMetricsCanFail(t *testing.T) {
	const header = `package x
import (
	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"
)
const subsystem = "x"
`
	tree := func(code, metrics string) map[string]string {
		return map[string]string{"plugin/x/metrics.go": header + code, "plugin/x/README.md": "# x\n\ncoredns_x_elsewhere\n\n## Metrics\n\n" + metrics + "\n## Ready\n"}
	}
	const counter = `var c = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: plugin.Namespace, Subsystem: "x", Name: "a_total"}, nil)`
	for _, tc := range []badTree{
		{"none", tree("", "None."), nil},
		{"listed", tree(counter, "* `coredns_x_a_total{server}` - things, beside `coredns_dns_requests_total`"), nil},
		{"not listed", tree(counter, "None."), []string{"does not list coredns_x_a_total"}},
		{"listed and gone", tree("", "* `coredns_x_b_seconds`"), []string{"lists coredns_x_b_seconds, which"}},
		{"renamed", tree(counter, "* `coredns_x_a`"), []string{"does not list coredns_x_a_total", "lists coredns_x_a, which"}},
		{"by constants", tree(`var g = prometheus.GaugeOpts{Namespace: plugin.Namespace, Subsystem: subsystem, Name: "b" + "_bytes"}`, "None."), []string{"does not list coredns_x_b_bytes"}},
		{"histogram", tree(`var g = prometheus.HistogramOpts{Namespace: "coredns", Subsystem: subsystem, Name: "b_seconds"}`, "None."), []string{"does not list coredns_x_b_seconds"}},
		{"description", tree(`var d = prometheus.NewDesc("coredns_x_c", "", nil, nil)`, "None."), []string{"does not list coredns_x_c"}},
		{"built description", tree(`var d = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, "x", "d"), "", nil, nil)`, "None."), []string{"does not list coredns_x_d"}},
		{"unclear", tree(`func f(s string) { _ = prometheus.GaugeOpts{Namespace: plugin.Namespace, Subsystem: "x", Name: s} }`, "None."), []string{"metrics.go:7: the name of the metric is not constant"}},
		{"other prefix", tree(`var g = prometheus.GaugeOpts{Namespace: "trustdns", Subsystem: "x", Name: "b"}`, "None."), []string{"trustdns_x_b must start with coredns_x_"}},
		{"no page", map[string]string{"plugin/x/metrics.go": header}, []string{"plugin/x/README.md"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := metricComplaints(tc.fs())
			if err != nil {
				t.Fatal(err)
			}
			expect(t, got, tc.want)
		})
	}
}
