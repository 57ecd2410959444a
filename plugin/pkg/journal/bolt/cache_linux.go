//go:build linux && (amd64 || arm64)

package bolt

import (
	"os"
	"syscall"
)

// dropCache has the system forget what it holds of a file, so that the disk is
// read. What is not written yet stays.
func dropCache(f *os.File) error {
	const dontNeed = 4 // POSIX_FADV_DONTNEED
	if _, _, e := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); e != 0 {
		return e
	}
	return nil
}
