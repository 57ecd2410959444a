package server

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Port stands in a Corefile for the server's port.
const Port = "{$PORT}"

// built holds the binary that the tests of this process share.
var built struct {
	sync.Mutex
	dir, path string
	err       error
}

// Binary returns the path of the coredns binary under test: the one that TRUSTDNS_COREDNS names, or one built from
// build/coredns once per test process.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("TRUSTDNS_COREDNS"); path != "" {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	built.Lock()
	defer built.Unlock()
	if built.path == "" && built.err == nil {
		built.dir, built.err = os.MkdirTemp("", "trustdns-test-")
		if built.err == nil {
			built.path = filepath.Join(built.dir, "coredns")
			built.err = build(built.path)
		}
	}
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

func build(path string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, "github.com/trustdns/trustdns/build/coredns")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building coredns: %w\n%s", err, out)
	}
	return nil
}

// removeShared removes the built binary.
func removeShared() error {
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		return nil
	}
	return os.RemoveAll(built.dir)
}

// StartOurs starts the coredns binary under test with a Corefile in which [Port] stands for the port, and waits until it
// answers for the zones.
func StartOurs(t testing.TB, corefile string, zones ...string) *Server {
	t.Helper()
	path := Binary(t)
	return start(t, plan{
		name:  "trustdns",
		zones: zones,
		prepare: func(dir string, port int) ([]string, error) {
			conf := filepath.Join(dir, "Corefile")
			text := strings.ReplaceAll(corefile, Port, strconv.Itoa(port))
			return []string{path, "-conf", conf}, os.WriteFile(conf, []byte(text), 0o644)
		},
	})
}

// Corefile returns a Corefile that serves the zones on 127.0.0.1 at [Port] and lets everybody transfer them.
func Corefile(t testing.TB, zones []Zone) string {
	t.Helper()
	zones = absolute(t, zones)
	var b strings.Builder
	fmt.Fprintf(&b, ".:%s {\n\tbind 127.0.0.1\n", Port)
	for _, z := range zones {
		fmt.Fprintf(&b, "\tauthority %s {\n\t\tfile %q\n\t}\n", z.Origin, z.File)
	}
	fmt.Fprintf(&b, "\ttransfer %s {\n\t\tto *\n\t}\n}\n", strings.Join(origins(zones), " "))
	return b.String()
}
