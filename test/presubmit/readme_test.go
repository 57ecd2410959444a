package presubmit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// readmeSections are the headings of a plugin's manual page, in order. Others may stand between them.
var readmeSections = []string{"Name", "Description", "Syntax", "Metrics", "Ready", "Examples", "See Also", "Bugs"}

// A section is a heading of a README and the text below it.
type section struct {
	heading string // with its #
	text    string
}

// readSections splits Markdown at its headings. What is fenced is text.
func readSections(markdown string) (list []section) {
	var fence string
	for line := range strings.Lines(markdown) {
		mark := strings.TrimSpace(line)
		switch {
		case fence != "":
			if strings.HasPrefix(mark, fence) {
				fence = ""
			}
		case strings.HasPrefix(mark, "~~~"), strings.HasPrefix(mark, "```"):
			fence = mark[:3]
		case strings.HasPrefix(line, "#"):
			list = append(list, section{heading: mark})
			continue
		}
		if len(list) > 0 {
			list[len(list)-1].text += line
		}
	}
	return list
}

// pluginNames returns the folders of plugins, in order.
func pluginNames(tree fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(tree, "plugin")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "pkg" {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// readmeComplaints checks that each plugin has a manual page with its sections.
func readmeComplaints(tree fs.FS) (complaints []string, err error) {
	names, err := pluginNames(tree)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		file := path.Join("plugin", name, "README.md")
		data, err := fs.ReadFile(tree, file)
		if err != nil {
			complaints = append(complaints, err.Error())
			continue
		}
		complaints = append(complaints, pageComplaints(file, name, readSections(string(data)))...)
	}
	return complaints, nil
}

func pageComplaints(file, name string, sections []section) (complaints []string) {
	say := func(format string, args ...any) {
		complaints = append(complaints, file+": "+fmt.Sprintf(format, args...))
	}
	if len(sections) == 0 || sections[0].heading != "# "+name {
		say("the first heading must be %q", "# "+name)
	}
	last := -1
	for _, want := range readmeSections {
		i := slices.IndexFunc(sections, func(s section) bool { return s.heading == "## "+want })
		switch {
		case i < 0:
			say("no section %q", "## "+want)
			continue
		case i < last:
			say("section %q stands too early; the order is %s", want, strings.Join(readmeSections, ", "))
		case strings.TrimSpace(sections[i].text) == "":
			say("section %q is empty", want)
		case want == "Name" && !strings.HasPrefix(strings.TrimSpace(sections[i].text), "*"+name+"* - "):
			say("section Name must start with %q", "*"+name+"* - ")
		}
		last = max(last, i)
	}
	return complaints
}

func TestReadmes(t *testing.T) {
	complaints, err := readmeComplaints(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	report(t, complaints)
}

func TestReadmesCanFail(t *testing.T) {
	const good = `# x

## Name

*x* - does things.

## Description

Text.

## Syntax

~~~ corefile
# a comment
## Bugs
x
~~~

### Detail

Text.

## Metrics

None.

## Ready

No.

## Health

Extra sections are welcome.

## Examples

None.

## See Also

Nothing.

## Bugs

None.
`
	page := func(old, replacement string) map[string]string {
		return map[string]string{"plugin/x/README.md": strings.Replace(good, old, replacement, 1), "plugin/pkg/y/y.go": "package y"}
	}
	for _, tc := range []badTree{
		{"good", page("", ""), nil},
		{"no page", map[string]string{"plugin/x/x.go": "package x"}, []string{"plugin/x/README.md"}},
		{"no plugin at all", map[string]string{"go.mod": ""}, nil},
		{"empty page", map[string]string{"plugin/x/README.md": ""}, slices.Concat([]string{`the first heading must be "# x"`}, readmeSections)},
		{"other title", page("# x", "# y"), []string{`the first heading must be "# x"`}},
		{"missing section", page("## Ready", "## Steady"), []string{`no section "## Ready"`}},
		{"section in a fence only", page("\n## Bugs\n\nNone.\n", ""), []string{`no section "## Bugs"`}},
		{"empty section", page("## Ready\n\nNo.", "## Ready"), []string{`section "Ready" is empty`}},
		{"wrong order", page("## Metrics", "## Between\n\n## Examples\n\nNone.\n\n## Metrics"), []string{`section "Examples" stands too early`}},
		{"no line for apropos", page("*x* - does", "It does"), []string{`section Name must start with "*x* - "`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := readmeComplaints(tc.fs())
			if err != nil {
				t.Fatal(err)
			}
			expect(t, got, tc.want)
		})
	}
}
