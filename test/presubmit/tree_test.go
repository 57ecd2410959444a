package presubmit

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const modulePath = "github.com/trustdns/trustdns"

// root is the folder of go.mod, seen from this package.
const root = "../.."

// modules are the folders of the modules whose sources are ours, from the root.
var modules = []string{".", "test/interop"}

// A source is one Go file of a tree.
type source struct {
	path string // from the root, with slashes
	file *ast.File
	fset *token.FileSet
}

func (s source) dir() string  { return path.Dir(s.path) }
func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// at returns the place of a node, as "path:line".
func (s source) at(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	p.Column = 0
	return p.String()
}

// skipFolder tells whether a folder holds none of our sources: what git and make
// keep, test data, and other modules below the root.
func skipFolder(tree fs.FS, name string) bool {
	if slices.Contains(modules, name) {
		return false
	}
	base := path.Base(name)
	if name == "bin" || base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := fs.Stat(tree, path.Join(name, "go.mod"))
	return err == nil
}

// parseTree reads all Go files of our modules in the tree.
func parseTree(tree fs.FS) ([]source, error) {
	var list []source
	fset := token.NewFileSet()
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipFolder(tree, name) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		data, err := fs.ReadFile(tree, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone since the folder was listed
		}
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(fset, name, data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		list = append(list, source{name, file, fset})
		return nil
	})
	return list, err
}

// ourSources returns the Go files of our modules.
func ourSources(t *testing.T) []source {
	t.Helper()
	list, err := parseTree(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 10 {
		t.Fatalf("found only %d Go files", len(list))
	}
	return list
}

// report fails the test for each complaint.
func report(t *testing.T, complaints []string) {
	t.Helper()
	for _, c := range complaints {
		t.Error(c)
	}
}

// A badTree is a tree and what a rule must say about it: each complaint holds
// the text at its place in want. None wanted means that the rule must be silent.
type badTree struct {
	name  string
	files map[string]string
	want  []string
}

func (b badTree) fs() fs.FS {
	tree := fstest.MapFS{}
	for name, text := range b.files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

func (b badTree) sources(t *testing.T) []source {
	t.Helper()
	list, err := parseTree(b.fs())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// expect compares complaints with those wanted.
func expect(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("complaints %q, want %q", got, want)
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("complaint %q, want %q", got[i], want[i])
		}
	}
}

func TestParseTreeSkips(t *testing.T) {
	tree := badTree{files: map[string]string{
		"go.mod":              "module m",
		"a/a.go":              "package a",
		"bin/b.go":            "package b",
		"a/testdata/c.go":     "not Go at all",
		".git/d.go":           "package d",
		"a/tools/go.mod":      "module tools",
		"a/tools/e.go":        "package e",
		"a/bin/f.go":          "package f",
		"a/bin/readme.txt":    "",
		"a/_drafts/draft.go":  "package g",
		"test/interop/go.mod": "module interop",
		"test/interop/h.go":   "package h",
	}}
	var got []string
	for _, s := range tree.sources(t) {
		got = append(got, s.path)
	}
	expect(t, got, []string{"a/a.go", "a/bin/f.go", "test/interop/h.go"})
	broken := badTree{files: map[string]string{"a.go": "package"}}
	if _, err := parseTree(broken.fs()); err == nil {
		t.Error("no error for a file that does not parse")
	}
}
