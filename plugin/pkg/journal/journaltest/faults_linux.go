package journaltest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Swap puts another file into the place of one that this process has open: what
// is written to the descriptor goes to the other. The function that it gives puts
// things back. Locks and what is mapped into memory stay with the old file.
func Swap(t testing.TB, path, other string, flags int) (back func()) {
	t.Helper()
	fd := descriptor(t, path)
	kept, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(with int) {
		t.Helper()
		if err := syscall.Dup3(with, fd, syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Close(with); err != nil {
			t.Fatal(err)
		}
	}
	with, err := syscall.Open(other, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	replace(with)
	return func() {
		t.Helper()
		replace(kept)
	}
}

// descriptor gives the descriptor by which this process has a file open for
// writing.
func descriptor(t testing.TB, path string) int {
	t.Helper()
	want, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	const all = "/proc/self/fd"
	list, err := os.ReadDir(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		info, err := os.Stat(filepath.Join(all, e.Name()))
		if err != nil || !os.SameFile(info, want) {
			continue // closed in the meantime, or another
		}
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		flags, _, failed := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
		if failed == 0 && flags&syscall.O_ACCMODE == syscall.O_RDWR {
			return fd
		}
	}
	t.Fatalf("%s is not open for writing", path)
	return -1
}

// onTmpfs is the variable of the environment that tells a test that it has a file
// system of its own, and where.
const onTmpfs = "TRUSTDNS_JOURNALTEST_TMPFS"

// OnTmpfs runs a test in a process of its own, on a file system in memory that
// holds so many octets. The folder that it gives to the test is that. Where the
// system does not allow it, the test is skipped.
func OnTmpfs(t *testing.T, octets int, test func(dir string)) {
	t.Helper()
	if dir := os.Getenv(onTmpfs); dir != "" {
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", octets)); err != nil {
			t.Fatal(err)
		}
		test(dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), onTmpfs+"="+t.TempDir())
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if uid := os.Getuid(); uid != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if cmd.Process == nil {
		t.Skipf("the system allows no file system of its own: %v", err)
	}
	t.Logf("in a process of its own:\n%s", out)
	if err != nil {
		t.Error(err)
	}
}
