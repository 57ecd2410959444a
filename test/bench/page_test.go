package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParts(t *testing.T) {
	for _, name := range []string{"serving", "updates"} {
		p, err := findPart(name)
		if err != nil || p.name != name || p.measure == nil || p.text == nil || p.targets == nil || p.full.rounds == 0 || p.quick.rounds == 0 {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := findPart("queries"); err == nil {
		t.Error("there is a part that there is not")
	}
	all := strings.Split(names(candidates), ",")
	if p, _ := findPart("serving"); len(p.servers(all)) != len(all) {
		t.Errorf("serving is not measured of all: %v", p.servers(all))
	}
	if p, _ := findPart("updates"); strings.Join(p.servers(all), " ") != "trustdns knotd named" {
		t.Errorf("updates are measured of %v", p.servers(all))
	}
}

// Who writes one part leaves the other as it is.
func TestWithPart(t *testing.T) {
	first, second := parts()[0], parts()[1]
	page := withPart("", second, "## Dynamic updates\n\n1\n")
	if want := pageHead + "\n<!-- make bench-update -->\n\n## Dynamic updates\n\n1\n"; page != want {
		t.Errorf("one part:\n%s", page)
	}
	page = withPart(page, first, "## Serving\n\n2\n")
	want := pageHead + "\n<!-- make bench -->\n\n## Serving\n\n2\n\n<!-- make bench-update -->\n\n## Dynamic updates\n\n1\n"
	if page != want {
		t.Errorf("two parts:\n%s", page)
	}
	for range 2 { // the same again changes nothing
		if page = withPart(page, second, "## Dynamic updates\n\n1\n"); page != want {
			t.Errorf("the second again:\n%s", page)
		}
		if page = withPart(page, first, "## Serving\n\n2"); page != want {
			t.Errorf("the first again:\n%s", page)
		}
	}
	if page = withPart(page, first, "3"); page != strings.Replace(want, "## Serving\n\n2", "3", 1) {
		t.Errorf("another first:\n%s", page)
	}
	if page := withPart("# Benchmarks\n\nwithout parts\n", first, "4"); page != pageHead+"\n<!-- make bench -->\n\n4\n" {
		t.Errorf("a page without parts:\n%s", page)
	}
}

func TestWritePart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	for i, p := range parts() {
		if err := writePart(path, p, p.title); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil || strings.Count(string(b), "<!--") != i+1 {
			t.Errorf("%s, %v", b, err)
		}
	}
	if err := writePart(filepath.Join(path, "x"), parts()[0], ""); err == nil {
		t.Error("a file in a file")
	}
}

// The page of this tree has both parts, so that the next run keeps the other.
func TestPageHasParts(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "benchmarks.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts() {
		if _, ok := partOf(string(b), p); !ok {
			t.Errorf("docs/benchmarks.md lacks the part of %s", p.command)
		}
	}
}
