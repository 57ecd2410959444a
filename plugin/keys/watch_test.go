package keys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"
)

// keyText gives a key file with keys of secretA.
func keyText(names ...string) string {
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "key %q {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\n", n, secretA)
	}
	return b.String()
}

// works tells whether a key is taken.
func (s *running) works(name string) bool {
	s.t.Helper()
	b, mac := sign(s.t, ask("who.example.org."), name, dns.HmacSHA256, secretA, time.Now())
	c := s.dial("udp")
	c.send(b)
	response := c.receive()
	m := new(dns.Msg)
	if err := m.Unpack(response); err != nil {
		s.t.Fatal(err)
	}
	if m.Rcode == dns.RcodeNotAuth {
		return false
	}
	verify(s.t, response, secretA, mac, false)
	return true
}

func reloads(t *testing.T, result string) float64 {
	return metric(t, "coredns_keys_reloads_total", result)
}

// awaitReload waits until a reload with that result is complete.
func awaitReload(t *testing.T, result string, before float64) {
	t.Helper()
	waitFor(t, "a reload with the result "+result, func() bool { return reloads(t, result) > before })
}

// Files that change in any of the usual ways are read again.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.key")
	write(t, path, keyText("first"))
	s := serve(t, inBlock("root "+dir+"\nkeys {\nfile a.key\n}"))
	if !s.works("first.") || s.works("second.") {
		t.Fatal("not the keys of the file")
	}
	rename := func(text string) error {
		write(t, path+".new", text)
		return os.Rename(path+".new", path)
	}
	for i, c := range []struct {
		name   string
		change func(text string) error
	}{
		{"written", func(text string) error { return os.WriteFile(path, []byte(text), 0o600) }},
		{"renamed", rename},
		{"with the time of before", func(text string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return errors.Join(rename(text), os.Chtimes(path, info.ModTime(), info.ModTime()))
		}},
		{"symlink", func(text string) error { // as Kubernetes mounts secrets
			write(t, filepath.Join(dir, "..1", "a.key"), text)
			return errors.Join(os.Remove(path), os.Symlink("..1", filepath.Join(dir, "..data")), os.Symlink("..data/a.key", path))
		}},
		{"symlink of the folder", func(text string) error {
			write(t, filepath.Join(dir, "..2", "a.key"), text)
			return errors.Join(os.Symlink("..2", filepath.Join(dir, "..tmp")), os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := reloads(t, "ok")
			name := fmt.Sprintf("next%d", i)
			if err := c.change(keyText("second", name)); err != nil {
				t.Fatal(err)
			}
			awaitReload(t, "ok", before)
			if !s.works(name+".") || !s.works("second.") || s.works("first.") || s.works(fmt.Sprintf("next%d.", i-1)) {
				t.Error("not the keys of the file")
			}
		})
	}
}

// A file that becomes broken leaves the keys as they are, with one line in the
// log and a metric, until it is mended.
func TestBrokenFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.key")
	write(t, path, keyText("first"))
	log := captureLog(t)
	s := serve(t, inBlock("keys {\nfile "+path+"\n}"))
	for _, c := range []struct{ text, want string }{
		{strings.ReplaceAll(keyText("first"), "hmac-sha256", "hmac-md5"), "a.key:1: hmac-md5"},
		{"", "a.key:1: the file has no key"},
		{keyText("x") + "key", "a.key:5: the name of the key is missing"},
	} {
		before := reloads(t, "error")
		write(t, path, c.text)
		awaitReload(t, "error", before)
		waitFor(t, "more looks", func() bool { return metric(t, "coredns_keys_stale_files") == 1 })
		if !s.works("first.") || s.works("x.") {
			t.Error("the keys have changed")
		}
		if n := strings.Count(log.String(), c.want); n != 1 || strings.Contains(log.String(), secretA) {
			t.Errorf("%d times %q in the log:\n%s", n, c.want, log)
		}
	}
	before := reloads(t, "error")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	awaitReload(t, "error", before)
	if !s.works("first.") {
		t.Error("the keys have gone with the file")
	}

	write(t, path, keyText("first")) // as it was: nothing to restart for
	waitFor(t, "the gauge to fall", func() bool { return metric(t, "coredns_keys_stale_files") == 0 })
	if strings.Contains(log.String(), "Reloading") {
		t.Errorf("restarted for nothing:\n%s", log)
	}
	ok := reloads(t, "ok")
	write(t, path, keyText("first", "second"))
	awaitReload(t, "ok", ok)
	if !s.works("second.") || metric(t, "coredns_keys_stale_files") != 0 {
		t.Error("the mended file is not in use")
	}
}

// A restart that fails is tried again when a file changes, and not before.
func TestFailedRestart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.key")
	write(t, path, keyText("first"))
	log := captureLog(t)
	s := serve(t, inBlock("keys {\nfile "+path+"\ntsig taken.test "+secretA+"\n}"))
	before := reloads(t, "error")
	write(t, path, keyText("second", "taken.test"))
	awaitReload(t, "error", before)
	waitFor(t, "the gauge", func() bool { return metric(t, "coredns_keys_stale_files") == 1 })
	if !s.works("first.") || s.works("second.") {
		t.Error("the keys have changed")
	}
	ok := reloads(t, "ok")
	write(t, path, keyText("second"))
	awaitReload(t, "ok", ok)
	if s.works("first.") || !s.works("second.") {
		t.Error("the good file is not in use")
	}
	if n := strings.Count(log.String(), "restart for new keys failed"); n != 1 || !strings.Contains(log.String(), `key "taken.test." is there already`) {
		t.Errorf("%d restarts failed:\n%s", n, log)
	}
}

// The files of all blocks are watched together, and each block has its own keys.
func TestSeveralBlocks(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.key"), filepath.Join(dir, "b.key")
	write(t, a, keyText("a"))
	write(t, b, keyText("b"))
	s := serve(t, inBlock("keys {\nfile "+a+"\n}")+"example.net:0 {\nbind 127.0.0.1\nkeys {\nfile "+a+" "+b+"\n}\nprobe\n}\n")
	before := reloads(t, "ok")
	write(t, a, keyText("a", "a2"))
	write(t, b, keyText("b", "b2"))
	awaitReload(t, "ok", before)
	waitFor(t, "the new key", func() bool { return s.works("a2.") })
	if s.works("b2.") {
		t.Error("the key of the other block is taken")
	}
}

// What restarts the instance by other ways and a change of a file at the same
// time leave one instance, with the new keys.
func TestRestartsMeet(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.key")
	write(t, path, keyText("key0"))
	corefile := inBlock("keys {\nfile " + path + "\n}")
	s := serve(t, corefile)
	instances := len(caddy.Instances())
	current := s.Instance
	for i := range 10 {
		write(t, path, keyText(fmt.Sprintf("key%d", i+1)))
		var err error
		for range 2 + i%3 {
			next, e := current.Restart(input(corefile))
			if e != nil {
				err = e // the watch was first; the instance that it made is not known here
				break
			}
			current = next
		}
		waitFor(t, "the new key", func() bool { return s.works(fmt.Sprintf("key%d.", i+1)) })
		if err != nil {
			if !errors.Is(err, errGone) {
				t.Error(err)
			}
			break
		}
	}
	waitFor(t, "one instance", func() bool { return len(caddy.Instances()) == instances })
}

// Restarts leave no goroutine behind.
func TestNoLeaks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.key")
	write(t, path, keyText("key"))
	before := runtime.NumGoroutine()
	t.Run("rotate", func(t *testing.T) {
		s := serve(t, inBlock("keys {\nfile "+path+"\n}"))
		running := runtime.NumGoroutine()
		for i := range 20 {
			ok := reloads(t, "ok")
			name := fmt.Sprintf("key%d", i)
			write(t, path, keyText(name))
			awaitReload(t, "ok", ok)
			if !s.works(name + ".") {
				t.Fatalf("%s is not in use", name)
			}
		}
		waitFor(t, "goroutines of old instances to end", func() bool { return runtime.NumGoroutine() <= running+2 })
	})
	waitFor(t, "all goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}

// A file is taken when two looks have seen the same, and only once.
func TestLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.key")
	write(t, path, keyText("a"))
	w := newWatch(map[string]digest{path: lookAt(path)})
	looks := func(want string) {
		t.Helper()
		got := ""
		for range len(want) {
			if w.look() {
				got += "y"
			} else {
				got += "n"
			}
		}
		if got != want {
			t.Errorf("looks %s, want %s", got, want)
		}
	}
	looks("nnn")
	write(t, path, keyText("a")[:10])
	looks("n")
	write(t, path, keyText("a")[:20])
	looks("n")
	write(t, path, keyText("b"))
	looks("nynn")
	if broken, changed := w.check(); len(broken) != 0 || len(changed) != 1 {
		t.Errorf("%v, %v", broken, changed)
	}
	write(t, path, "")
	looks("nyn")
	if broken, changed := w.check(); len(broken) != 1 || len(changed) != 0 {
		t.Errorf("%v, %v", broken, changed)
	}
	write(t, path, keyText("a"))
	looks("nyn")
	if broken, changed := w.check(); len(broken) != 0 || len(changed) != 0 {
		t.Errorf("%v, %v", broken, changed)
	}
}

// Files that change together are one change, and none is done while one of them is written.
func TestLookAtSeveral(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.key"), filepath.Join(dir, "b.key")
	write(t, a, keyText("a"))
	write(t, b, keyText("b"))
	w := newWatch(map[string]digest{a: lookAt(a), b: lookAt(b)})
	write(t, a, keyText("a2"))
	if w.look() {
		t.Error("taken at the first look")
	}
	write(t, b, keyText("b2"))
	if w.look() {
		t.Error("taken while a file changes")
	}
	if !w.look() {
		t.Error("not taken when both have settled")
	}
	if broken, changed := w.check(); len(broken) != 0 || len(changed) != 2 {
		t.Errorf("%v, %v", broken, changed)
	}
}

// One restart at a time; those that wait go on when it fails, and give up when it
// succeeds.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		g.init()
		if err := g.enter(); err != nil {
			t.Fatal(err)
		}
		var entered, gone atomic.Int32
		for range 3 {
			go func() {
				if err := g.enter(); err != nil {
					gone.Add(1)
				} else {
					entered.Add(1)
				}
			}()
		}
		synctest.Wait()
		if entered.Load() != 0 {
			t.Error("two restarts at once")
		}
		if err := g.leave(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if entered.Load() != 1 || gone.Load() != 0 {
			t.Errorf("after a failure %d go on, %d give up", entered.Load(), gone.Load())
		}
		g.close()
		synctest.Wait()
		if entered.Load() != 1 || gone.Load() != 2 {
			t.Errorf("after a success %d go on, %d give up", entered.Load(), gone.Load())
		}
	})
}
