package zonedb

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// told gives a registry that only the system tells of changes.
func told() *DB {
	db := New(never)
	db.settle = soon
	return db
}

// ticking gives one that the system tells nothing of.
func ticking() *DB {
	db := quiet()
	db.interval, db.settle = soon, soon
	return db
}

// bothWays runs a test with events of the system alone, and with ticks alone.
func bothWays(t *testing.T, f func(*testing.T, *DB)) {
	t.Run("events", func(t *testing.T) { f(t, told()) })
	t.Run("ticks", func(t *testing.T) { f(t, ticking()) })
}

func become(t *testing.T, z *Zone, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("serial %d", want), func() bool { return int(serial(z)) == want })
}

func (l *folderLog) become(t *testing.T, want string) {
	t.Helper()
	eventually(t, want, func() bool { return l.list() == want })
}

// link makes a symbolic link take the place of what is there.
func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"_tmp", path); err != nil {
		t.Fatal(err)
	}
}

func folderOf(t *testing.T, path string, files map[string]int) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, serial := range files {
		put(t, filepath.Join(path, name), text(serial), 50)
	}
}

func openThere(t *testing.T, db *DB, path string) *Zone {
	t.Helper()
	lease := open(t, db, []Spec{{Origin: origin, Path: path}}, func(Report) {})
	t.Cleanup(lease.Close)
	return lease.Zones()[0]
}

func TestWatchFile(t *testing.T) {
	bothWays(t, func(t *testing.T, db *DB) {
		path := filepath.Join(t.TempDir(), "zone")
		put(t, path, text(1), 50)
		z := openThere(t, db, path)
		put(t, path, text(2), 40) // by a rename
		become(t, z, 2)
		if err := os.WriteFile(path, []byte(text(3)), 0o600); err != nil { // in place
			t.Fatal(err)
		}
		become(t, z, 3)
		remove(t, path)
		eventually(t, "the end of the file", func() bool { return z.Err() != nil })
		put(t, path, text(4), 30)
		become(t, z, 4)
	})
}

// TestWatchConfigMap changes files as Kubernetes does: all by one link to their
// folder, whose name begins with two dots.
func TestWatchConfigMap(t *testing.T) {
	bothWays(t, func(t *testing.T, db *DB) {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		folderOf(t, at("..1"), map[string]int{"example.org.zone": 1, "example.net.zone": 1})
		link(t, "..1", at("..data"))
		link(t, "..data/example.org.zone", at("example.org.zone"))
		link(t, "..data/example.net.zone", at("example.net.zone"))
		z := openThere(t, db, at("example.org.zone"))
		var l folderLog
		f, err := db.OpenFolder("folder", folderSpec(dir, &l), Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Close)
		l.become(t, "example.net.1 example.org.1")
		folderOf(t, at("..2"), map[string]int{"example.org.zone": 2, "example.com.zone": 2})
		link(t, "..2", at("..data"))
		link(t, "..data/example.com.zone", at("example.com.zone"))
		remove(t, at("example.net.zone"))
		if err := os.RemoveAll(at("..1")); err != nil {
			t.Fatal(err)
		}
		become(t, z, 2)
		l.become(t, "example.com.2 example.org.2")
		folderOf(t, at("..3"), map[string]int{"example.org.zone": 3, "example.com.zone": 3})
		link(t, "..3", at("..data"))
		become(t, z, 3)
		l.become(t, "example.com.3 example.org.3")
	})
}

func TestWatchFolder(t *testing.T) {
	bothWays(t, func(t *testing.T, db *DB) {
		dir := filepath.Join(t.TempDir(), "zones")
		at := func(name string) string { return filepath.Join(dir, name) }
		folderOf(t, dir, nil)
		var l folderLog
		f, err := db.OpenFolder("folder", folderSpec(dir, &l), Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Close)
		put(t, at("example.org.zone"), text(1), 50)
		l.become(t, "example.org.1")
		put(t, at("example.org.zone"), text(2), 40)
		l.become(t, "example.org.2")
		if err := os.Rename(at("example.org.zone"), at("example.net.zone")); err != nil {
			t.Fatal(err)
		}
		l.become(t, "example.net.2")
		put(t, at("example.net.zone"), broken, 30)
		eventually(t, "the error", func() bool { return f.Zones()[0].Err() != nil })
		put(t, at("example.net.zone"), text(3), 20)
		l.become(t, "example.net.3")
		remove(t, at("example.net.zone"))
		l.become(t, "")
		put(t, at("example.net.zone"), text(4), 10)
		l.become(t, "example.net.4")
	})
}

// TestWatchWhereTheFolderGoes: the folder of the files is another one than at the
// start. The system says nothing of the new one coming, so the ticks find it; from
// then on, what happens in it is told.
func TestWatchWhereTheFolderGoes(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, dir string){
		"removed": func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			folderOf(t, dir, map[string]int{"example.org.zone": 2})
		},
		"renamed": func(t *testing.T, dir string) {
			folderOf(t, dir+".new", map[string]int{"example.org.zone": 2})
			if err := os.Rename(dir, dir+".old"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(dir+".new", dir); err != nil {
				t.Fatal(err)
			}
		},
		"a link": func(t *testing.T, dir string) {
			folderOf(t, dir+".new", map[string]int{"example.org.zone": 2})
			if info, err := os.Lstat(dir); err != nil || info.Mode()&os.ModeSymlink == 0 {
				t.Fatal(info, err)
			}
			link(t, dir+".new", dir)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "zones")
			if name == "a link" {
				folderOf(t, dir+".first", map[string]int{"example.org.zone": 1})
				link(t, dir+".first", dir)
			} else {
				folderOf(t, dir, map[string]int{"example.org.zone": 1})
			}
			db := told()
			z := openThere(t, db, filepath.Join(dir, "example.org.zone"))
			var l folderLog
			f, err := db.OpenFolder("folder", folderSpec(dir, &l), Hooks{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(f.Close)
			replace(t, dir)
			eventually(t, "the new folder", func() bool {
				db.kick() // as a tick does
				return serial(z) == 2
			})
			put(t, filepath.Join(dir, "example.org.zone"), text(3), 30)
			put(t, filepath.Join(dir, "example.net.zone"), text(1), 30)
			become(t, z, 3)
			l.become(t, "example.net.1 example.org.3")
		})
	}
}

// TestWatchNothingIsLeft: as many files and goroutines as before.
func TestWatchNothingIsLeft(t *testing.T) {
	files := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(entries)
	}
	var before, goroutines int
	for i := range 20 {
		db := told()
		a := filepath.Join(t.TempDir(), "zone")
		put(t, a, text(1), 50)
		lease := open(t, db, []Spec{{Origin: origin, Path: a}}, func(Report) {})
		put(t, a, text(2), 40)
		become(t, lease.Zones()[0], 2)
		lease.Close()
		nothing(t, db)
		if i == 0 {
			before, goroutines = files(), runtime.NumGoroutine()
		}
	}
	if n := files(); n > before {
		t.Errorf("%d open files, %d at first", n, before)
	}
	// One that was told to end may be about to.
	eventually(t, fmt.Sprintf("no more goroutines than the %d at first", goroutines), func() bool { return runtime.NumGoroutine() <= goroutines })
}
