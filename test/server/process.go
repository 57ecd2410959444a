package server

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	startTimeout = 60 * time.Second // until the server answers for every zone
	stopTimeout  = 15 * time.Second // between SIGTERM and SIGKILL
	pollInterval = 20 * time.Millisecond
	portAttempts = 5 // a free port can be taken by another process before the server binds it
)

// Zone is a zone and the master file it is loaded from.
type Zone struct {
	Origin string // fully qualified or not, any case
	File   string // absolute, or relative to the working folder of the test
	Key    *Key   // with which transfers may be signed that everybody may have unsigned, too; nil: none
	Signed bool   // the file has signatures; only pdns wants to be told
}

// Server is a server that was started, and can be started again once it has ended. Its methods may be called from several
// goroutines.
type Server struct {
	Name string         // program and version: "named 9.18.49"
	Addr netip.AddrPort // 127.0.0.1 and the port for UDP and TCP
	Dir  string         // its temporary folder

	args, env []string
	zones     []string // to wait for
	ready     string   // in its log when it is ready; "": nothing to look for
	logPath   string
	fast      *fastPath               // nil unless StartFast has started it
	process   atomic.Pointer[process] // the newest
}

// process is one run of a server.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process is gone
	logged int           // octets in the log before it started
}

// PID returns the process id of the server.
func (s *Server) PID() int { return s.process.Load().cmd.Process.Pid }

// Signal sends a signal to the server's process.
func (s *Server) Signal(sig os.Signal) error { return s.process.Load().cmd.Process.Signal(sig) }

// Ended returns a channel that is closed when the process has ended.
func (s *Server) Ended() <-chan struct{} { return s.process.Load().ended }

// State returns how the process ended ("exit status 1", "signal: killed"), or "" while it runs.
func (s *Server) State() string {
	p := s.process.Load()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.String()
	default:
		return ""
	}
}

// Log returns what the server has written to its standard output and error so far, in all its runs.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.logPath)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Stop ends the process by SIGTERM, after a while by SIGKILL, and waits until it is gone. The test's cleanup calls it
// too. It does nothing if the process is gone.
func (s *Server) Stop() {
	if s.State() == "" {
		s.showFast()
	}
	p := s.process.Load()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when the process is gone
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		s.Kill()
	}
}

// Kill ends the process by SIGKILL and waits until it is gone. It does nothing if the process is gone.
func (s *Server) Kill() {
	p := s.process.Load()
	_ = p.cmd.Process.Kill() // fails only when the process is gone
	<-p.ended
}

// Launch starts the server, whose process has ended, again: on the same port, in the same folder and with the same
// configuration, and with more in its environment ("NAME=value"). It does not wait for it; see [Server.Await].
func (s *Server) Launch(env ...string) error {
	if p := s.process.Load(); p != nil {
		select {
		case <-p.ended:
		default:
			return fmt.Errorf("%s is still running", s.Name)
		}
	}
	logFile, err := os.OpenFile(s.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer logFile.Close()
	before, err := logFile.Stat()
	if err != nil {
		return err
	}
	cmd := exec.Command(s.args[0], s.args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, logFile, logFile
	cmd.Env = slices.Concat(os.Environ(), s.env, env)
	if err := spawn(cmd); err != nil {
		return err
	}
	p := &process{cmd: cmd, ended: make(chan struct{}), logged: int(before.Size())}
	s.process.Store(p)
	go func() {
		_ = cmd.Wait() // its error says again how the process ended
		close(p.ended)
	}()
	return nil
}

// Await waits until the server's log says that it is ready, if there is something to look for in it, and until it answers
// SOA with authority for all of its zones, over UDP and over TCP. The error says that its process has ended, or that this
// took too long.
func (s *Server) Await() error {
	p := s.process.Load()
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var last error
	for i := -1; i < 2*len(s.zones); {
		switch {
		case i < 0:
			last = nil
			if !strings.Contains(s.Log()[p.logged:], s.ready) {
				last = fmt.Errorf("no %q in its log", s.ready)
			}
		case i < len(s.zones):
			last = askSOA("udp", s.Addr.String(), s.zones[i])
		default:
			last = askSOA("tcp", s.Addr.String(), s.zones[i-len(s.zones)])
		}
		if last == nil {
			i++
			continue
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("ended while starting: %s", p.cmd.ProcessState)
		case <-deadline.C:
			return fmt.Errorf("not ready after %v: %w", startTimeout, last)
		}
	}
	return nil
}

// Restart starts the server, whose process has ended, again as [Server.Launch] does, and waits for it.
func (s *Server) Restart(t testing.TB, env ...string) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		before := len(s.Log())
		err := s.Launch(env...)
		if err == nil {
			err = s.Await()
		}
		if err == nil {
			return
		}
		log := s.Log()[before:]
		s.Kill()
		if attempt == portAttempts || !portTaken(log) {
			t.Fatalf("%s, started again: %v; its log:\n%s", s.Name, err, tail(log, 60))
		}
	}
}

// portTaken tells from a log whether another process had the port.
func portTaken(log string) bool {
	return strings.Contains(strings.ToLower(log), "address already in use")
}

// plan is how to start one kind of server.
type plan struct {
	name  string
	zones []string // to wait for
	ready string   // to wait for in its log
	// prepare writes the configuration for a port into a folder and returns the command line.
	prepare func(dir string, port int) ([]string, error)
	env     []string
}

// start runs a plan, on another port when the port was taken in between.
func start(t testing.TB, p plan) *Server {
	t.Helper()
	for attempt := 1; ; attempt++ {
		s, err := launch(t.TempDir(), p)
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		t.Cleanup(s.Stop)
		if err = s.Await(); err == nil {
			return s
		}
		log := s.Log()
		s.Stop()
		if attempt < portAttempts && portTaken(log) {
			continue
		}
		t.Fatalf("%s: %v; its log:\n%s", p.name, err, tail(log, 60))
	}
}

func launch(dir string, p plan) (*Server, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	args, err := p.prepare(dir, port)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Name: p.name, Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)), Dir: dir,
		args: args, env: p.env, zones: p.zones, ready: p.ready, logPath: filepath.Join(dir, "log"),
	}
	return s, s.Launch()
}

func askSOA(network, addr, zone string) error {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(zone), dns.TypeSOA)
	m.RecursionDesired = false
	c := dns.Client{Net: network, Timeout: 500 * time.Millisecond}
	r, _, err := c.Exchange(m, addr)
	if err != nil {
		return fmt.Errorf("zone %s over %s: %w", zone, network, err)
	}
	if r.Rcode != dns.RcodeSuccess || !r.Authoritative || len(r.Answer) == 0 {
		return fmt.Errorf("zone %s over %s: %s", zone, network, dns.RcodeToString[r.Rcode])
	}
	return nil
}

// FreePort returns a port of 127.0.0.1 that was free for UDP and TCP a moment ago.
func FreePort() (int, error) {
	for range portAttempts {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		err = errors.Join(l.Close(), err)
		if err != nil {
			continue
		}
		if err := u.Close(); err != nil {
			return 0, err
		}
		return port, nil
	}
	return 0, fmt.Errorf("no port free for UDP and TCP in %d attempts", portAttempts)
}

// version runs a program and returns the first word of its output that starts with a digit.
func version(path string, args ...string) string {
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil && len(out) == 0 {
		return err.Error()
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	for _, word := range strings.Fields(string(line)) {
		word = strings.TrimPrefix(word, "v")
		if word != "" && '0' <= word[0] && word[0] <= '9' {
			word, _, _ = strings.Cut(word, "-")
			return word
		}
	}
	return "of unknown version"
}

// tail returns the last n lines of a text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
