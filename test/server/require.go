package server

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// packages maps the programs tests ask for to the Debian packages that install them.
var packages = map[string]string{
	"dig":               "bind9-dnsutils",
	"delv":              "bind9-dnsutils",
	"nsupdate":          "bind9-dnsutils",
	"dnssec-keygen":     "bind9-utils",
	"dnssec-signzone":   "bind9-utils",
	"dnssec-verify":     "bind9-utils",
	"named":             "bind9",
	"named-checkzone":   "bind9-utils",
	"named-compilezone": "bind9-utils",
	"kdig":              "knot-dnsutils",
	"knotd":             "knot",
	"ldns-signzone":     "ldnsutils",
	"ldns-verify-zone":  "ldnsutils",
	"nsd":               "nsd",
	"nsd-checkzone":     "nsd",
}

var skipped struct {
	sync.Mutex
	tests    int
	programs []string
}

// Require makes sure that the named programs are installed. When one is missing it skips the test and names the Debian
// package to install, or, with INTEROP=require in the environment, fails it.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	var missing []string
	for _, p := range programs {
		if _, err := lookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return
	}
	text := describe(missing)
	if os.Getenv("INTEROP") == "require" {
		t.Fatalf("missing %s", text)
	}
	skipped.Lock()
	skipped.tests++
	skipped.programs = append(skipped.programs, missing...)
	skipped.Unlock()
	t.Skipf("skipped: missing %s", text)
}

// describe lists programs, each with its Debian package.
func describe(programs []string) string {
	var b strings.Builder
	for i, p := range programs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p)
		if d := packages[p]; d != "" {
			fmt.Fprintf(&b, " (Debian package %s)", d)
		}
	}
	return b.String()
}

// Main runs the tests of a package, prints how many were skipped because a program is missing, removes what the
// package's tests shared, and exits the process. Call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if skipped.tests > 0 {
		slices.Sort(skipped.programs)
		fmt.Printf("skipped %d tests: missing %s\n", skipped.tests, describe(slices.Compact(skipped.programs)))
	}
	if err := removeShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// lookPath is exec.LookPath that knows the folders of system programs, which are often not in a user's PATH.
func lookPath(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, e := exec.LookPath(filepath.Join(dir, program)); e == nil {
			return path, nil
		}
	}
	return "", err
}
