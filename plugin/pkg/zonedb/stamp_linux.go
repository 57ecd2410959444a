package zonedb

import (
	"io/fs"
	"syscall"
)

// identify adds what only the system itself can tell of a file.
func (s *stamp) identify(info fs.FileInfo) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Changed = st.Ctim.Nano()
		s.Device, s.Inode = uint64(st.Dev), st.Ino //nolint:unconvert // not on every architecture
	}
}
