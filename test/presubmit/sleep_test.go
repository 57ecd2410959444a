package presubmit

import (
	"fmt"
	"go/ast"
	"strings"
	"testing"
)

// importName returns the name by which a file refers to a package, or "".
func importName(file *ast.File, pkg string) string {
	for _, i := range file.Imports {
		if i.Path.Value != `"`+pkg+`"` {
			continue
		}
		if i.Name != nil {
			return i.Name.Name
		}
		return pkg[strings.LastIndexByte(pkg, '/')+1:]
	}
	return ""
}

// selected returns the name selected from a package by an expression such as
// time.Sleep, or "".
func selected(n ast.Node, pkgName string) string {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok || pkgName == "" {
		return ""
	}
	if x, ok := sel.X.(*ast.Ident); !ok || x.Name != pkgName {
		return ""
	}
	return sel.Sel.Name
}

// sleepComplaints finds time.Sleep in tests and in the packages below test. In
// the bubble of synctest.Test, where the clock is not real, it is allowed.
func sleepComplaints(list []source) (complaints []string) {
	for _, s := range list {
		if !s.isTest() && !strings.HasPrefix(s.path, "test/") {
			continue
		}
		timeName, bubbleName := importName(s.file, "time"), importName(s.file, "testing/synctest")
		if timeName == "." {
			complaints = append(complaints, s.path+": dot import of time hides time.Sleep")
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && selected(call.Fun, bubbleName) == "Test" {
				return false
			}
			if n != nil && selected(n, timeName) == "Sleep" {
				complaints = append(complaints, fmt.Sprintf("%s: time.Sleep in a test: wait for the event, or poll by a ticker up to a deadline", s.at(n)))
			}
			return true
		})
	}
	return complaints
}

func TestNoSleep(t *testing.T) { report(t, sleepComplaints(ourSources(t))) }

func TestNoSleepCanFail(t *testing.T) {
	for _, tc := range []badTree{
		{"in a test", map[string]string{"a/a_test.go": "package a\nimport \"time\"\nfunc f() {\n\ttime.Sleep(1)\n}"}, []string{"a/a_test.go:4: time.Sleep"}},
		{"by another name", map[string]string{"a/a_test.go": "package a\nimport clock \"time\"\nvar f = clock.Sleep"}, []string{"a_test.go:3"}},
		{"by no name", map[string]string{"a/a_test.go": "package a\nimport . \"time\"\nfunc f() { Sleep(1) }"}, []string{"dot import"}},
		{"in a package for tests", map[string]string{"test/server/wait.go": "package server\nimport \"time\"\nfunc f() { time.Sleep(1) }"}, []string{"wait.go:3"}},
		{"in the shipped code", map[string]string{"a/a.go": "package a\nimport \"time\"\nfunc f() { time.Sleep(1) }"}, nil},
		{"other uses of time", map[string]string{"a/a_test.go": "package a\nimport \"time\"\nvar t = time.NewTicker(1)"}, nil},
		{
			"in a bubble",
			map[string]string{"a/a_test.go": "package a\nimport (\n\"testing\"\n\"testing/synctest\"\n\"time\"\n)\nfunc f(t *testing.T) {\nsynctest.Test(t, func(*testing.T) { time.Sleep(1) })\n}"},
			nil,
		},
		{
			"behind a bubble",
			map[string]string{"a/a_test.go": "package a\nimport (\n\"testing\"\n\"testing/synctest\"\n\"time\"\n)\nfunc f(t *testing.T) {\nsynctest.Test(t, func(*testing.T) {})\ntime.Sleep(1)\n}"},
			[]string{"a_test.go:9"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) { expect(t, sleepComplaints(tc.sources(t)), tc.want) })
	}
}
