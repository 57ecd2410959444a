package presubmit

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// emptyWords say nothing about what is inside.
var emptyWords = []string{"common", "helper", "helpers", "manager", "managers", "misc", "types", "util", "utils"}

// nameComplaints finds packages, folders and files that are called by an empty word.
func nameComplaints(list []source) (complaints []string) {
	var dirs []string
	for _, s := range list {
		if !slices.Contains(dirs, s.dir()) {
			dirs = append(dirs, s.dir())
			for part := range strings.SplitSeq(s.dir(), "/") {
				if slices.Contains(emptyWords, part) {
					complaints = append(complaints, fmt.Sprintf("folder %s: %q does not say what is in it", s.dir(), part))
				}
			}
		}
		if name := strings.TrimSuffix(s.file.Name.Name, "_test"); slices.Contains(emptyWords, name) {
			complaints = append(complaints, fmt.Sprintf("%s: package name %q does not say what is in it", s.path, name))
		}
		name := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.path), ".go"), "_test")
		if name == "types" && s.isTest() {
			continue // a test of the types of DNS records
		}
		if slices.Contains(emptyWords, name) {
			complaints = append(complaints, fmt.Sprintf("%s: file name does not say what is in it", s.path))
		}
	}
	return complaints
}

func TestNames(t *testing.T) { report(t, nameComplaints(ourSources(t))) }

func TestNamesCanFail(t *testing.T) {
	for _, tc := range []badTree{
		{"good", map[string]string{"zone/zone.go": "package zone", "zone/utility.go": "package zone"}, nil},
		{"folder", map[string]string{"zone/util/x.go": "package x", "zone/util/y.go": "package x"}, []string{`folder zone/util: "util"`}},
		{"folder above", map[string]string{"common/x/x.go": "package x"}, []string{`folder common/x: "common"`}},
		{"package", map[string]string{"zone/x.go": "package helper"}, []string{`zone/x.go: package name "helper"`}},
		{"test package", map[string]string{"zone/x_test.go": "package manager_test"}, []string{`package name "manager"`}},
		{"file", map[string]string{"zone/types.go": "package zone"}, []string{"zone/types.go: file name"}},
		{"test of types", map[string]string{"zone/types_test.go": "package zone"}, nil},
		{"test file", map[string]string{"zone/helpers_test.go": "package zone"}, []string{"zone/helpers_test.go: file name"}},
	} {
		t.Run(tc.name, func(t *testing.T) { expect(t, nameComplaints(tc.sources(t)), tc.want) })
	}
}
