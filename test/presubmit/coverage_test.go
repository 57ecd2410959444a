package presubmit

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

var (
	citation = regexp.MustCompile("`([a-z]+)\\.((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
	// A test names its cases where its name, or the comment on it, begins.
	caseNames = regexp.MustCompile(`(?m)(?:^-- |"|// )((?:A\d+\b[ ,:]*)+)`)
	caseNo    = regexp.MustCompile(`A\d+`)
)

// answerCases is how many numbered cases the answering rules have.
const answerCases = 56

// coverageComplaints finds tests that docs/rfc-coverage.md cites and nobody
// wrote, and answering cases A1 to A56 that no test names.
func coverageComplaints(tree fs.FS) (complaints []string) {
	tests, cases := make(map[string]bool), make(map[string]bool)
	err := fs.WalkDir(tree, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, "_test.go") && !strings.HasSuffix(file, ".golden") {
			return err
		}
		text, err := fs.ReadFile(tree, file)
		if err != nil {
			return err
		}
		folder := path.Base(path.Dir(file))
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			tests[folder+"."+string(m[1])] = true
		}
		if !strings.HasPrefix(file, "test/presubmit/") {
			for _, m := range caseNames.FindAllSubmatch(text, -1) {
				for _, name := range caseNo.FindAll(m[1], -1) {
					cases[string(name)] = true
				}
			}
		}
		return nil
	})
	if err != nil {
		return []string{err.Error()}
	}
	doc, err := fs.ReadFile(tree, "docs/rfc-coverage.md")
	if err != nil {
		return []string{err.Error()}
	}
	for _, m := range citation.FindAllSubmatch(doc, -1) {
		if name := string(m[1]) + "." + string(m[2]); !tests[name] {
			complaints = append(complaints, fmt.Sprintf("docs/rfc-coverage.md: there is no test %s", name))
		}
	}
	for i := range answerCases {
		if name := fmt.Sprintf("A%d", i+1); !cases[name] {
			complaints = append(complaints, "no test names the case "+name)
		}
	}
	slices.Sort(complaints)
	return slices.Compact(complaints)
}

func TestCoverage(t *testing.T) {
	for _, c := range coverageComplaints(os.DirFS(root)) {
		t.Error(c)
	}
}

func TestCoverageCanFail(t *testing.T) {
	var cases strings.Builder
	for i := range answerCases - 1 {
		fmt.Fprintf(&cases, "// A%d\n", i+2)
	}
	got := coverageComplaints(fstest.MapFS{
		"docs/rfc-coverage.md":             {Data: []byte("`zone.TestThere` `zone.TestGone`")},
		"plugin/pkg/zone/zone_test.go":     {Data: []byte("func TestThere(t *testing.T) {}\n" + cases.String())},
		"test/presubmit/coverage_test.go":  {Data: []byte("// A1\n")},
		"plugin/pkg/zone/notes_about_a.go": {Data: []byte("// A1\n")},
	})
	want := []string{"docs/rfc-coverage.md: there is no test zone.TestGone", "no test names the case A1"}
	if !slices.Equal(got, want) {
		t.Errorf("complaints %q, want %q", got, want)
	}
}
