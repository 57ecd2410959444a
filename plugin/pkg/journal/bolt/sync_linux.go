package bolt

import (
	"errors"
	"os"
	"syscall"
)

// syncData has the disk sync the octets of a file, and of what else the system
// knows about it only what is needed to read them.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
