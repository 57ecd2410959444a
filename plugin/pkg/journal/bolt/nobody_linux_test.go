package bolt

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asNobody is the variable of the environment that tells a test that it runs
// without the rights of root, and on which folder.
const asNobody = "TRUSTDNS_BOLT_NOBODY"

// TestOpenNotAllowed opens stores that the user may not write. As root it does so
// in a process of another user.
func TestOpenNotAllowed(t *testing.T) {
	if dir := os.Getenv(asNobody); dir != "" || os.Getuid() != 0 {
		if dir == "" {
			dir = t.TempDir()
			notAllowed(t, dir)
		}
		for _, sub := range []string{"folder", "file", "folder/below"} {
			_, err := open(filepath.Join(dir, sub), small)
			if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), sub) {
				t.Errorf("%s: %v", sub, err)
			}
		}
		return
	}
	dir, err := os.MkdirTemp("", "bolt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	notAllowed(t, dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "test") // where the other user can run it
	if err := os.WriteFile(program, readFile(t, os.Args[0]), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^TestOpenNotAllowed$")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), asNobody+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func notAllowed(t *testing.T, dir string) {
	t.Helper()
	closeStore(t, openSmall(t, filepath.Join(dir, "file")))
	err := errors.Join(os.Mkdir(filepath.Join(dir, "folder"), 0o500),
		os.Chmod(filepath.Join(dir, "file"), 0o755), os.Chmod(filepath.Join(dir, "file", fileName), 0o444))
	if err != nil {
		t.Fatal(err)
	}
}
