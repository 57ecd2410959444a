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

// built holds the binaries that the tests of this process share, by the build tags they are made with.
var built struct {
	sync.Mutex
	dir      string
	binaries map[string]binary
}

// binary is a coredns binary, or why there is none.
type binary struct {
	path string
	err  error
}

// Binary returns the path of the coredns binary under test: the one that TRUSTDNS_COREDNS names, or one built from
// build/coredns once per test process.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("TRUSTDNS_COREDNS")
	if path == "" {
		return builtWith(t, "")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// CrashingBinary returns the path of a coredns binary that kills itself by SIGKILL where TRUSTDNS_CRASH says: with
// "durable:3" when a commit comes to the step durable for the third time. It is built once per test process.
func CrashingBinary(t testing.TB) string {
	t.Helper()
	return builtWith(t, "crashpoints")
}

func builtWith(t testing.TB, tags string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	b, ok := built.binaries[tags]
	if !ok {
		b.path, b.err = build(tags)
		if built.binaries == nil {
			built.binaries = make(map[string]binary)
		}
		built.binaries[tags] = b
	}
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

// build makes a binary; the lock of built is held.
func build(tags string) (string, error) {
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "trustdns-test-")
		if err != nil {
			return "", err
		}
		built.dir = dir
	}
	// Other modules of the tree have tests too; the binary is made of what the main one requires.
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/trustdns/trustdns").Output()
	if err != nil {
		return "", fmt.Errorf("looking for the module: %w", err)
	}
	path := filepath.Join(built.dir, "coredns"+tags)
	cmd := exec.Command("go", "build", "-tags", tags, "-trimpath", "-buildvcs=false", "-o", path, "./build/coredns")
	cmd.Dir = strings.TrimSpace(string(root))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building coredns: %w\n%s", err, out)
	}
	return path, nil
}

// removeShared removes the built binaries.
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
	return StartBinary(t, Binary(t), corefile, zones...)
}

// StartBinary is [StartOurs] for another coredns binary.
func StartBinary(t testing.TB, path, corefile string, zones ...string) *Server {
	t.Helper()
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
