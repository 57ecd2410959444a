package server

import (
	"os/exec"
	"runtime"
	"syscall"
)

// spawns carries the commands to start to the one thread that starts them.
var spawns = make(chan spawnRequest)

type spawnRequest struct {
	cmd  *exec.Cmd
	done chan<- error
}

func init() {
	go func() {
		runtime.LockOSThread() // never unlocked: the thread lives as long as the process
		for r := range spawns {
			r.done <- r.cmd.Start()
		}
	}()
}

// spawn starts a command that the kernel ends together with this process, so that a test binary that is killed or
// panics leaves no server behind. The kernel ties that to the thread which starts the command, hence the one thread.
func spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	done := make(chan error)
	spawns <- spawnRequest{cmd, done}
	return <-done
}
