package main

import (
	_ "embed" // of missed.md
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

// part is a part of the page, which one command measures and writes.
type part struct {
	name, title, command string

	needs       []string // programs
	full, quick extent
	measure     func(*meter, *testing.T)
	text        func(*report) string
	targets     func(*report) []target
	only        []string // servers; nil: all
}

// The parts. What the functions of one need is in other files.
var (
	serving = part{name: "serving", title: "Serving", command: "make bench"}
	dynamic = part{name: "updates", title: "Dynamic updates", command: "make bench-update"}
)

// parts gives the parts with all that they are, in the order of the page.
func parts() []part {
	s, d := serving, dynamic
	s.needs, s.full, s.quick = []string{"dnsperf", "taskset"}, full, quick
	s.measure, s.text, s.targets = (*meter).measureServing, (*report).String, (*report).targets
	d.needs, d.full, d.quick, d.only = []string{"taskset"}, fullUpdates, quickUpdates, updaters
	d.measure, d.text, d.targets = (*meter).measureUpdates, (*report).updateText, (*report).updateTargets
	return []part{s, d}
}

func findPart(name string) (part, error) {
	for _, p := range parts() {
		if p.name == name {
			return p, nil
		}
	}
	return part{}, fmt.Errorf("no part is called %q", name)
}

// servers gives those of the servers that the part can measure.
func (p part) servers(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return p.only != nil && !slices.Contains(p.only, name) })
}

// missedTargets says why targets are missed, and what was tried.
//
//go:embed missed.md
var missedTargets string

// pageHead begins the page.
var pageHead = "# Benchmarks\n\nEach part is what one command has measured in one run. Only numbers of one run on one machine compare with each other.\n\n" + missedTargets

// mark is the line in front of a part.
func (p part) mark() string { return "<!-- " + p.command + " -->\n" }

// writePart puts a part into the page in a file, and leaves the others as they are.
func writePart(path string, p part, text string) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, []byte(withPart(string(old), p, text)), 0o644)
}

// withPart gives a page with another text for a part. What is in front of the first
// part is made anew.
func withPart(page string, p part, text string) string {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, x := range parts() {
		body, ok := partOf(page, x)
		if x.name == p.name {
			body, ok = text, true
		}
		if ok {
			b.WriteString("\n" + x.mark() + "\n" + strings.TrimSpace(body) + "\n")
		}
	}
	return b.String()
}

// partOf gives the text of a part of a page, and whether there is one.
func partOf(page string, p part) (string, bool) {
	_, text, ok := strings.Cut("\n"+page, "\n"+p.mark())
	for _, x := range parts() {
		text, _, _ = strings.Cut(text, "\n"+x.mark())
	}
	return text, ok
}
