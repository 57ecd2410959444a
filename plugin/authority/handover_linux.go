package authority

import (
	"os"
	"strconv"
	"syscall"
)

// interrupt has all threads that wait in the system begin their calls anew: sends them
// SIGURG, which the Go runtime expects at any time and takes for nothing. If it fails
// they wait on.
func interrupt() {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_, _, _ = syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(id), uintptr(syscall.SIGURG))
		}
	}
}
