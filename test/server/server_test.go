package server

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

// A probe is a testing.TB that keeps what a test is told instead of ending it.
type probe struct {
	testing.TB
	skipped, failed string
}

func (p *probe) Helper() {}

func (p *probe) Skipf(format string, args ...any) {
	p.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (p *probe) Fatalf(format string, args ...any) {
	p.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// run calls f with a probe and returns what it was told.
func run(t *testing.T, f func(testing.TB)) *probe {
	p := &probe{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(p)
	}()
	<-done
	return p
}

func TestRequire(t *testing.T) {
	before := skipped.tests
	t.Cleanup(func() { skipped.tests, skipped.missing = before, nil })
	packages["no-such-program"] = "no-such-package"
	t.Cleanup(func() { delete(packages, "no-such-program") })

	t.Setenv("INTEROP", "")
	if p := run(t, func(tb testing.TB) { Require(tb, "go") }); p.skipped+p.failed != "" {
		t.Errorf("a program that is there: %q %q", p.skipped, p.failed)
	}
	p := run(t, func(tb testing.TB) { Require(tb, "go", "no-such-program") })
	if want := "no-such-program (Debian package no-such-package)"; !strings.Contains(p.skipped, want) || p.failed != "" {
		t.Errorf("skipped %q, failed %q", p.skipped, p.failed)
	}
	if skipped.tests != before+1 {
		t.Errorf("%d skips counted, not %d", skipped.tests, before+1)
	}
	t.Setenv("INTEROP", "require")
	p = run(t, func(tb testing.TB) { RequireFile(tb, "/no/such/file", "some-package") })
	if !strings.Contains(p.failed, "/no/such/file (Debian package some-package)") || p.skipped != "" {
		t.Errorf("skipped %q, failed %q", p.skipped, p.failed)
	}
}

const zoneText = `@ 60 SOA ns h 1 1 1 1 1
@ 60 NS ns
ns 60 A 192.0.2.1
`

func writeZone(t *testing.T) Zone {
	t.Helper()
	file := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(file, []byte(zoneText), 0o644); err != nil {
		t.Fatal(err)
	}
	return Zone{Origin: "x.example", File: file}
}

// plain makes a start that takes nothing more like those that do.
func plain(start func(testing.TB, []Zone) *Server) func(testing.TB, []Zone, ...string) *Server {
	return func(t testing.TB, zones []Zone, _ ...string) *Server { return start(t, zones) }
}

func TestServers(t *testing.T) {
	for _, c := range []struct {
		program string
		start   func(testing.TB, []Zone, ...string) *Server
	}{
		{"named", StartNamed},
		{"knotd", StartKnotd},
		{"nsd", StartNSD},
		{"pdns_server", plain(StartPDNS)},
		{"gdnsd", plain(StartGdnsd)},
		{"", func(t testing.TB, zones []Zone, _ ...string) *Server {
			return StartOurs(t, ".:"+Port+" {\n bind 127.0.0.1\n file "+zones[0].File+" x.example\n}\n", "x.example")
		}},
	} {
		t.Run(cmp.Or(c.program, "ours"), func(t *testing.T) {
			switch c.program {
			case "":
			case "pdns_server", "gdnsd": // not every system has a package of them
				if !Installed(c.program) {
					t.Skipf("%s is not installed", c.program)
				}
			default:
				Require(t, c.program)
			}
			s := c.start(t, []Zone{writeZone(t)})
			if err := askSOA("udp", s.Addr.String(), "x.example"); err != nil {
				t.Error(err)
			}
			if s.PID() <= 0 || s.Log() == "" || strings.Contains(s.Name, "unknown") {
				t.Errorf("pid %d, name %q, log %q", s.PID(), s.Name, s.Log())
			}
			select {
			case <-s.Ended():
				t.Error("ended by itself")
			default:
			}
			s.Stop()
			s.Stop()
			<-s.Ended()
			if err := askSOA("tcp", s.Addr.String(), "x.example"); err == nil {
				t.Error("answers after Stop")
			}
		})
	}
}

func TestRestart(t *testing.T) {
	s := StartOurs(t, ".:"+Port+" {\n bind 127.0.0.1\n file "+writeZone(t).File+" x.example\n}\n", "x.example")
	if err := s.Launch(); err == nil {
		t.Error("started while it runs")
	}
	pid, addr := s.PID(), s.Addr
	if state := s.State(); state != "" {
		t.Errorf("%s while it runs", state)
	}
	s.Kill()
	s.Kill()
	if state := s.State(); state != "signal: killed" {
		t.Errorf("killed, but %q", state)
	}
	s.Restart(t)
	if s.PID() == pid || s.Addr != addr {
		t.Errorf("pid %d after %d, %v after %v", s.PID(), pid, s.Addr, addr)
	}
	if n := strings.Count(s.Log(), "CoreDNS-"); n != 2 {
		t.Errorf("%d starts in the log:\n%s", n, s.Log())
	}
	s.Stop()
	if err := os.WriteFile(filepath.Join(s.Dir, "Corefile"), []byte(". {\n no_such_plugin\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if p := run(t, func(tb testing.TB) { s.Restart(tb) }); !strings.Contains(p.failed, "ended while starting") {
		t.Errorf("a server that does not start again: %q", p.failed)
	}
}

// A program of the test's own is ready when its log says so, after each start.
func TestProgram(t *testing.T) {
	p := Program{
		Name:  "sh",
		Ready: "here I am",
		Prepare: func(dir string, port int) ([]string, error) {
			return []string{"-c", `echo "here $WHO am"; exec sleep 60`}, nil
		},
		Env: []string{"WHO=I"},
	}
	s := StartProgram(t, p)
	s.Kill()
	s.Restart(t)
	if n := strings.Count(s.Log(), p.Ready); n != 2 {
		t.Errorf("%d starts in the log:\n%s", n, s.Log())
	}
	p.Prepare = func(string, int) ([]string, error) { return []string{"-c", "echo here; exit 7"}, nil }
	if p := run(t, func(tb testing.TB) { StartProgram(tb, p) }); !strings.Contains(p.failed, "ended while starting: exit status 7") {
		t.Errorf("a program that ends: %q", p.failed)
	}
}

func TestStartFails(t *testing.T) {
	p := run(t, func(tb testing.TB) { StartOurs(tb, ".:"+Port+" {\n no_such_plugin\n}\n", "x.example") })
	if !strings.Contains(p.failed, "ended while starting") || !strings.Contains(p.failed, "no_such_plugin") {
		t.Errorf("a server that does not start: %q", p.failed)
	}
}
