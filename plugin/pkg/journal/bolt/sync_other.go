//go:build !linux

package bolt

import "os"

// syncData has the disk sync a file.
func syncData(f *os.File) error { return f.Sync() }
