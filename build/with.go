package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// defaultBefore is where a plugin of -with stands when it does not say so.
const defaultBefore = "hosts"

// localVersion is the version under which a module in a folder is required; the
// folder replaces it.
const localVersion = "v0.0.0-00010101000000-000000000000"

// An addition is one plugin of a -with flag.
type addition struct {
	importPath string
	version    string // of its module; a folder if isFolder; empty: go.mod knows the module
	directive  string
	before     string
}

// String returns the addition in the form of the flag.
func (a addition) String() string {
	s := a.importPath
	if a.version != "" {
		s += "@" + a.version
	}
	return s + ":" + a.directive + ":before=" + a.before
}

// isFolder tells whether the version is the folder of a module. No version of
// a module starts as a path does.
func (a addition) isFolder() bool {
	return strings.HasPrefix(a.version, ".") || filepath.IsAbs(a.version)
}

var (
	importPathForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.~-]*(/[A-Za-z0-9_.~-]+)*$`)
	directiveForm  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
)

// parseAddition reads IMPORTPATH[@VERSION]:DIRECTIVE[:before=NAME]. A folder
// in the place of VERSION may contain colons.
func parseAddition(s string) (addition, error) {
	a := addition{before: defaultBefore}
	rest := s
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && strings.Contains(rest[i:], "=") {
		option, name, _ := strings.Cut(rest[i+1:], "=")
		if option != "before" {
			return a, fmt.Errorf("unknown option %q; there is only before=NAME", option)
		}
		if !directiveForm.MatchString(name) {
			return a, fmt.Errorf("before=%s does not name a directive", name)
		}
		a.before = name
		rest = rest[:i]
	}
	i := strings.LastIndexByte(rest, ':')
	if i < 0 {
		return a, errors.New("want IMPORTPATH[@VERSION]:DIRECTIVE[:before=NAME]")
	}
	a.directive = rest[i+1:]
	var versioned bool
	a.importPath, a.version, versioned = strings.Cut(rest[:i], "@")
	switch {
	case !importPathForm.MatchString(a.importPath):
		return a, fmt.Errorf("%q is not an import path; a folder stands behind @: IMPORTPATH@FOLDER:DIRECTIVE", a.importPath)
	case versioned && a.version == "":
		return a, errors.New("no version behind @")
	case !directiveForm.MatchString(a.directive):
		return a, fmt.Errorf("%q is not the name of a directive", a.directive)
	}
	return a, nil
}

// readChain returns the names of the directives in a plugin.cfg, in order.
func readChain(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var chain []string
	for line := range strings.Lines(string(data)) {
		if name, _, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
			chain = append(chain, name)
		}
	}
	return chain, nil
}

// checkPlaces reports the first addition that has no place in the chain.
func checkPlaces(chain []string, with []addition) error {
	chain = slices.Clone(chain)
	for _, a := range with {
		if slices.Contains(chain, a.directive) {
			return fmt.Errorf("-with %s: the directive %q exists already", a, a.directive)
		}
		if !slices.Contains(chain, a.before) {
			return fmt.Errorf("-with %s: there is no directive %q to stand before; build/plugin.cfg lists them", a, a.before)
		}
		chain = append(chain, a.directive)
	}
	return nil
}

// withSource returns the file that joins build/bundle for the additions.
func withSource(with []addition) []byte {
	var imports, places bytes.Buffer
	for _, a := range with {
		fmt.Fprintf(&imports, "\t_ %q\n", a.importPath)
		fmt.Fprintf(&places, "\t\tplace{directive: %q, before: %q, reason: \"-with\"},\n", a.directive, a.before)
	}
	return fmt.Appendf(nil, "package bundle\n\nimport (\n%s)\n\nfunc init() {\n\tadded = append(added,\n%s\t)\n}\n",
		imports.Bytes(), places.Bytes())
}

// resolve writes a go.mod for this build into temp, adds the modules of the
// additions to it and checks that every package is found. It returns the name
// of the file. Modules of the tree that change their version are named on
// stderr; CoreDNS must keep its version.
func (o options) resolve(temp, overlay string, stderr io.Writer) (string, error) {
	modfile := filepath.Join(temp, "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(o.root, name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(temp, name), data, 0o600); err != nil {
			return "", err
		}
	}
	before, err := requirements(modfile)
	if err != nil {
		return "", err
	}
	for _, a := range o.with {
		switch {
		case a.isFolder():
			err = requireFolder(modfile, a)
		case a.version != "":
			_, err = goCommand(o.root, "get", "-modfile="+modfile, a.importPath+"@"+a.version)
		}
		if err != nil {
			return "", fmt.Errorf("-with %s: %w", a, err)
		}
	}
	for _, a := range o.with {
		// With a version or a folder the module may lack requirements of its own.
		mode := "-mod=readonly"
		if a.version != "" {
			mode = "-mod=mod"
		}
		name, err := goCommand(o.root, "list", mode, "-modfile="+modfile, "-f", "{{.Name}}", a.importPath)
		if err != nil && a.version == "" {
			return "", fmt.Errorf("-with %s: no package of this tree or of a module in go.mod; name a version or a folder behind @: %w", a, err)
		}
		if err != nil {
			return "", fmt.Errorf("-with %s: %w", a, err)
		}
		if name == "main" {
			return "", fmt.Errorf("-with %s: the package is a program, not a plugin", a)
		}
	}
	if _, err := goCommand(o.root, "list", "-mod=mod", "-modfile="+modfile, "-overlay="+overlay, "-deps", "./build/coredns"); err != nil {
		return "", fmt.Errorf("-with: %w", err)
	}
	after, err := requirements(modfile)
	if err != nil {
		return "", err
	}
	changes, err := compareRequirements(before, after)
	for _, c := range changes {
		fmt.Fprintln(stderr, "build: -with changes", c)
	}
	return modfile, err
}

// requireFolder makes the module in the folder of an addition part of modfile.
func requireFolder(modfile string, a addition) error {
	folder, err := filepath.Abs(a.version)
	if err != nil {
		return err
	}
	out, err := goCommand(folder, "mod", "edit", "-json", filepath.Join(folder, "go.mod"))
	if err != nil {
		return fmt.Errorf("%s is not the folder of a module: %w", folder, err)
	}
	var mod struct{ Module struct{ Path string } }
	if err := json.Unmarshal([]byte(out), &mod); err != nil {
		return err
	}
	if a.importPath != mod.Module.Path && !strings.HasPrefix(a.importPath, mod.Module.Path+"/") {
		return fmt.Errorf("%s holds the module %s, which has no package of that path", folder, mod.Module.Path)
	}
	_, err = goCommand(folder, "mod", "edit", "-require="+mod.Module.Path+"@"+localVersion, "-replace="+mod.Module.Path+"="+folder, modfile)
	return err
}

// requirements returns the modules that a go.mod names, with their versions.
func requirements(modfile string) (map[string]string, error) {
	out, err := goCommand(filepath.Dir(modfile), "mod", "edit", "-json", modfile)
	if err != nil {
		return nil, err
	}
	var mod struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal([]byte(out), &mod); err != nil {
		return nil, err
	}
	versions := make(map[string]string, len(mod.Require))
	for _, r := range mod.Require {
		versions[r.Path] = r.Version
	}
	return versions, nil
}

// compareRequirements names the modules whose version differs, in order. A
// changed CoreDNS is an error: the order of plugins and the hooks that we use
// are tried against one version only.
func compareRequirements(before, after map[string]string) (changes []string, err error) {
	for path, was := range before {
		now, ok := after[path]
		switch {
		case !ok || now == was:
		case path == corednsModule:
			err = fmt.Errorf("-with: a plugin needs CoreDNS %s, and trustdns is built with %s", now, was)
		default:
			changes = append(changes, fmt.Sprintf("%s: %s instead of %s", path, now, was))
		}
	}
	slices.Sort(changes)
	return changes, err
}
