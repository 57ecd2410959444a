//go:build !linux

package zonedb

import "io/fs"

// identify adds what only the system itself can tell of a file.
func (s *stamp) identify(fs.FileInfo) {}
