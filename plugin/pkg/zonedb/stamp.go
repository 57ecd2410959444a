package zonedb

import (
	"encoding/json"
	"os"
	"slices"
	"time"
)

// clockStep is how far the clock of a file system may be behind: two changes
// within it can leave the same times.
const clockStep = 100 * time.Millisecond

// stamp tells versions of a file apart without reading it. Its exported fields
// are kept in the store.
type stamp struct {
	Path     string
	Missing  bool `json:",omitzero"` // there is no such file, or it cannot be looked at
	Size     int64
	Modified int64  // nanoseconds since 1970
	Changed  int64  // the same, of the inode; 0 where the system does not tell
	Device   uint64 `json:",omitzero"`
	Inode    uint64 `json:",omitzero"`
	Racy     bool   `json:",omitzero"` // it may have changed without a trace after this was taken
}

// take looks at a file that is read, or has been read, between since and now. A
// change in that time may not be in what was read.
func take(path string, since time.Time) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{Path: path, Missing: true}
	}
	s := stamp{Path: path, Size: info.Size(), Modified: info.ModTime().UnixNano()}
	s.identify(info)
	from, to := since.Add(-clockStep).UnixNano(), time.Now().Add(clockStep).UnixNano()
	s.Racy = from < s.Modified && s.Modified < to || from < s.Changed && s.Changed < to
	return s
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
		s[i] = take(old[i].Path, now)
	}
	return s
}

// unchanged tells whether files are for certain the same at two times, the
// earlier first.
func unchanged(earlier, later []stamp) bool {
	return alike(earlier, later) && !slices.ContainsFunc(earlier, func(s stamp) bool { return s.Racy })
}

// alike tells whether files look the same at two times.
func alike(earlier, later []stamp) bool {
	return slices.EqualFunc(earlier, later, func(a, b stamp) bool {
		a.Racy, b.Racy = false, false
		return a == b
	})
}

// settling is files that may be changing still.
type settling struct {
	files []stamp
	since time.Time // they have been found to be so since then
}

// none tells whether no files are.
func (w *settling) none() bool { return w.files == nil }

// over tells whether files have been left alone for that time: by the clock of
// the file system, or else because they looked the same at each call for so long.
// A file from the future settles in this way only, and so does one that is not
// there: another may be about to come in its place.
func (w *settling) over(now []stamp, long time.Duration) bool {
	before := time.Now().Add(-long).UnixNano()
	if !slices.ContainsFunc(now, func(s stamp) bool { return s.Missing || s.Modified > before }) {
		*w = settling{}
		return true
	}
	if !alike(w.files, now) {
		*w = settling{now, time.Now()}
		return false
	}
	if time.Since(w.since) < long {
		return false
	}
	*w = settling{}
	return true
}

// note is what is kept in the store about the file of a zone.
type note struct {
	Serial uint32 // in the file
	Files  []stamp
	Manner manner
}

func (n *note) equal(o *note) bool {
	return n.Serial == o.Serial && n.Manner == o.Manner && slices.Equal(n.Files, o.Files)
}

// noteName is the name of the note.
const noteName = "file/read"

func (n note) bytes() []byte {
	b, err := json.Marshal(n)
	if err != nil { // not of this type
		return nil
	}
	return b
}

// parseNote gives what was noted. What cannot be read counts as not noted: then
// the file is read again.
func parseNote(b []byte) (n note) {
	if json.Unmarshal(b, &n) != nil {
		return note{}
	}
	return n
}
