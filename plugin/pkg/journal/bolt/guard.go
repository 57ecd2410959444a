package bolt

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/trustdns/trustdns/plugin/pkg/journal"
)

// guard runs what reads pages of the file. What makes bbolt panic, and memory of
// the file that cannot be read because the disk fails or somebody cut the file
// off, becomes an error that wraps journal.ErrCorrupt.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = fmt.Errorf("%w: the file was cut off, or the disk does not give it: %v", journal.ErrCorrupt, p)
		default:
			err = fmt.Errorf("%w: %v", journal.ErrCorrupt, p)
		}
	}()
	return f()
}

// system gives an error of bbolt the error of the system that it tells of in
// words only, where that is one which people act on.
func system(err error) error {
	if err == nil || errors.As(err, new(syscall.Errno)) {
		return err
	}
	for _, e := range [...]syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EFBIG, syscall.ENOMEM} {
		if strings.HasSuffix(err.Error(), ": "+e.Error()) {
			return fmt.Errorf("%w (%w)", err, e)
		}
	}
	return err
}

// corrupt makes err an error about the file that says what to do.
func (s *Store) corrupt(err error) error {
	if !errors.Is(err, journal.ErrCorrupt) {
		err = fmt.Errorf("%w: %w", journal.ErrCorrupt, err)
	}
	return fmt.Errorf("store %q: %w; restore it from a backup, or move it away: "+
		"then zones begin again from their zone files, and what was changed since those were written is lost", s.path, err)
}
