package presubmit

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// docComplaints finds exported identifiers of plugin/pkg and client without a
// comment. A comment on a group of constants or variables counts for each of
// them, and that on a struct for its fields, except for durations: nobody can
// guess what they measure.
func docComplaints(list []source) (complaints []string) {
	packages := map[string]bool{} // folder → has a package comment
	for _, s := range list {
		if s.isTest() || !strings.HasPrefix(s.path, "plugin/pkg/") && !strings.HasPrefix(s.path, "client/") {
			continue
		}
		packages[s.dir()] = packages[s.dir()] || hasText(s.file.Doc)
		say := func(n ast.Node, what, name string) {
			complaints = append(complaints, fmt.Sprintf("%s: %s %s has no comment", s.at(n), what, name))
		}
		for _, decl := range s.file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if receiver := receiverName(d); d.Name.IsExported() && !hasText(d.Doc) && (receiver == "" || ast.IsExported(receiver)) {
					name := d.Name.Name
					if receiver != "" {
						name = receiver + "." + name
					}
					say(d, "function", name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					checkSpec(d, spec, say)
				}
			}
		}
	}
	for dir, documented := range packages {
		if !documented {
			complaints = append(complaints, dir+": no package comment")
		}
	}
	slices.Sort(complaints)
	return complaints
}

func checkSpec(d *ast.GenDecl, spec ast.Spec, say func(n ast.Node, what, name string)) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		if hasText(s.Doc) || hasText(s.Comment) || hasText(d.Doc) {
			return
		}
		for _, name := range s.Names {
			if name.IsExported() {
				say(name, d.Tok.String(), name.Name)
			}
		}
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		doc := s.Doc.Text()
		if !d.Lparen.IsValid() {
			doc += d.Doc.Text()
		}
		if doc == "" {
			say(s, "type", s.Name.Name)
		}
		switch t := s.Type.(type) {
		case *ast.StructType:
			for _, f := range t.Fields.List {
				if selected(f.Type, "time") == "Duration" {
					checkField(s.Name.Name, "duration", f, say)
				}
			}
		case *ast.InterfaceType:
			for _, f := range t.Methods.List {
				checkField(s.Name.Name, "method", f, say)
			}
		}
	}
}

func checkField(owner, what string, f *ast.Field, say func(n ast.Node, what, name string)) {
	if hasText(f.Doc) || hasText(f.Comment) {
		return
	}
	for _, name := range f.Names { // an embedded one is documented where it is declared
		if name.IsExported() {
			say(f, what, owner+"."+name.Name)
		}
	}
}

func hasText(doc *ast.CommentGroup) bool { return strings.TrimSpace(doc.Text()) != "" }

// receiverName returns the name of the type that a method belongs to, or "".
func receiverName(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func TestDocs(t *testing.T) { report(t, docComplaints(ourSources(t))) }

func TestDocsCanFail(t *testing.T) {
	in := func(code string) map[string]string {
		return map[string]string{"plugin/pkg/a/a.go": "// Package a is a.\npackage a\n" + code}
	}
	for _, tc := range []badTree{
		{"package", map[string]string{"plugin/pkg/a/a.go": "package a"}, []string{"plugin/pkg/a: no package comment"}},
		{"package of the client", map[string]string{"client/a.go": "package client"}, []string{"client: no package comment"}},
		{"package documented in one file", map[string]string{"plugin/pkg/a/a.go": "package a", "plugin/pkg/a/b.go": "// Package a is a.\npackage a"}, nil},
		{"function", in("func F() {}"), []string{"a.go:3: function F has no comment"}},
		{"directive is no comment", in("//go:noinline\nfunc F() {}"), []string{"function F"}},
		{"method", in("// T is t.\ntype T int\nfunc (t *T) M() {}"), []string{"function T.M"}},
		{"method of a generic type", in("// T is t.\ntype T[A, B any] int\nfunc (t *T[A, B]) M() {}"), []string{"function T.M"}},
		{"method of a private type", in("type t int\nfunc (t) M() {}"), nil},
		{"type", in("type T int"), []string{"type T has no comment"}},
		{"types in a group", in("// Group.\ntype (\n\tT int\n\t// U is u.\n\tU int\n)"), []string{"type T has no comment"}},
		{"constant", in("const C = 1"), []string{"const C has no comment"}},
		{"constants in a group", in("// Group.\nconst (\n\tC = 1\n\tD = 2\n)"), nil},
		{"constant with its comment behind", in("const (\n\tC = 1 // one\n\tD = 2\n)"), []string{"const D"}},
		{"variable", in("var ErrX, y = 1, 2"), []string{"var ErrX"}},
		{
			"duration",
			in("import \"time\"\n// T is t.\ntype T struct {\n\tName int\n\tAge time.Duration\n\tWait time.Duration // before the next try\n\tother time.Duration\n}"),
			[]string{"a.go:7: duration T.Age"},
		},
		{"method of an interface", in("// T is Mighty.\ntype T interface {\n\tMighty()\n\t// N is n.\n\tN()\n}"), []string{"method T.Mighty"}},
		{"private", in("func f() {}\ntype t struct{ X int }\nvar v = 1"), nil},
		{"elsewhere", map[string]string{"plugin/authority/a.go": "package a\nfunc F() {}", "plugin/pkg/a/a_test.go": "package a\nfunc F() {}"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) { expect(t, docComplaints(tc.sources(t)), tc.want) })
	}
}
