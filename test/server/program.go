package server

import "testing"

// Program is how to start a program that the test configures itself: a DNS server, or another one that listens on a port
// of 127.0.0.1.
type Program struct {
	Name  string   // one of those that [Require] can ask for, or a path
	Zones []string // for which it answers when it is ready; none: it is no DNS server
	Ready string   // what its log says when it is ready; "": nothing to wait for
	// Prepare writes the configuration for a port into a folder and returns the arguments.
	Prepare func(dir string, port int) ([]string, error)
	Env     []string // more in its environment, as "NAME=value"
}

// StartProgram starts a program in a temporary folder, and waits until it is ready.
func StartProgram(t testing.TB, p Program) *Server {
	t.Helper()
	path := Path(t, p.Name)
	return start(t, plan{
		name: p.Name, zones: p.Zones, ready: p.Ready, env: p.Env,
		prepare: func(dir string, port int) ([]string, error) {
			args, err := p.Prepare(dir, port)
			return append([]string{path}, args...), err
		},
	})
}

// Path returns the path of a program, which the test requires by that; see [Require].
func Path(t testing.TB, name string) string {
	t.Helper()
	Require(t, name)
	return program(t, name)
}
