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
	"dnssec-dsfromkey":  "bind9-utils",
	"named":             "bind9",
	"named-checkzone":   "bind9-utils",
	"named-compilezone": "bind9-utils",
	"kdig":              "knot-dnsutils",
	"knsupdate":         "knot-dnsutils",
	"knotd":             "knot",
	"keymgr":            "knot",
	"kzonecheck":        "knot-dnssecutils",
	"unbound":           "unbound",
	"openssl":           "openssl",
	"kea-dhcp-ddns":     "kea-dhcp-ddns-server",
	"lego":              "lego",
	"certbot":           "certbot",
	"gdnsd":             "gdnsd",
	"ldns-signzone":     "ldnsutils",
	"ldns-verify-zone":  "ldnsutils",
	"nsd":               "nsd",
	"nsd-checkzone":     "nsd",
	"pdns_server":       "pdns-server",
	"pdnsutil":          "pdns-server",
}

var skipped struct {
	sync.Mutex
	tests   int
	missing []string
}

// Installed tells whether a program is there, for a test that does without it where it cannot be had.
func Installed(program string) bool {
	_, err := lookPath(program)
	return err == nil
}

// Require makes sure that the named programs are installed. When one is missing it skips the test and names the Debian
// package to install, or, with INTEROP=require in the environment, fails it.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	var missing []string
	for _, p := range programs {
		if !Installed(p) {
			missing = append(missing, with(p, packages[p]))
		}
	}
	refuse(t, missing)
}

// Lacks does to a test what [Require] does if a program is missing: the machine does not have what the test needs.
func Lacks(t testing.TB, format string, args ...any) {
	t.Helper()
	refuse(t, []string{fmt.Sprintf(format, args...)})
}

// RequireFile makes sure, as [Require] does, that a file of a Debian package is there.
func RequireFile(t testing.TB, path, debian string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		refuse(t, []string{with(path, debian)})
	}
}

// refuse skips or fails a test that misses something.
func refuse(t testing.TB, missing []string) {
	t.Helper()
	if len(missing) == 0 {
		return
	}
	text := strings.Join(missing, ", ")
	if os.Getenv("INTEROP") == "require" {
		t.Fatalf("missing %s", text)
	}
	skipped.Lock()
	skipped.tests++
	skipped.missing = append(skipped.missing, missing...)
	skipped.Unlock()
	t.Skipf("skipped: missing %s", text)
}

// with names the Debian package beside what it installs.
func with(what, debian string) string {
	if debian == "" {
		return what
	}
	return fmt.Sprintf("%s (Debian package %s)", what, debian)
}

// Main runs the tests of a package, prints how many were skipped because a program is missing, removes what the
// package's tests shared, and exits the process. Call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if skipped.tests > 0 {
		slices.Sort(skipped.missing)
		fmt.Printf("skipped %d tests: missing %s\n", skipped.tests, strings.Join(slices.Compact(skipped.missing), ", "))
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
