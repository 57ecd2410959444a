package zonedb

import (
	"io/fs"
	"os"
	"slices"
	"time"
)

// clockStep is how far the clock of a file system may be behind: two changes
// within it can leave the same modification time.
const clockStep = 100 * time.Millisecond

// settleTime is how long a file must have been left alone to be taken for
// finished.
const settleTime = time.Second

// stamp tells versions of a file apart without reading it.
type stamp struct {
	path string
	info fs.FileInfo // nil if there is no such file, or it cannot be looked at
	racy bool        // it may have changed without a trace after this was taken
}

// take looks at a file that is read, or has been read, between since and now. A
// change in that time may not be in what was read.
func take(path string, since time.Time) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{path: path}
	}
	changed := info.ModTime()
	return stamp{path, info, changed.After(since.Add(-clockStep)) && changed.Before(time.Now().Add(clockStep))}
}

func takeAll(paths []string, since time.Time) []stamp {
	s := make([]stamp, len(paths))
	for i, p := range paths {
		s[i] = take(p, since)
	}
	return s
}

// again takes the stamps of the same files now.
func again(old []stamp) []stamp {
	now := time.Now()
	s := make([]stamp, len(old))
	for i := range old {
		s[i] = take(old[i].path, now)
	}
	return s
}

// unchanged tells whether files are the same at two times, the earlier first.
func unchanged(earlier, later []stamp) bool {
	return slices.EqualFunc(earlier, later, func(a, b stamp) bool {
		switch {
		case a.path != b.path || a.racy:
			return false
		case a.info == nil || b.info == nil:
			return a.info == nil && b.info == nil
		}
		return a.info.Size() == b.info.Size() && a.info.ModTime().Equal(b.info.ModTime()) && os.SameFile(a.info, b.info)
	})
}

// settled tells whether no file was changed just now, by the clock. One from the
// future never settles in this way.
func settled(files []stamp) bool {
	before := time.Now().Add(-settleTime)
	return !slices.ContainsFunc(files, func(s stamp) bool { return s.info != nil && s.info.ModTime().After(before) })
}
