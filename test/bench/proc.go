package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// procfs is where the proc file system is mounted.
type procfs string

// proc is the proc file system of this machine.
const proc procfs = "/proc"

// tick is the unit of CPU and start times in the proc file system: Linux shows
// them in hundredths of a second whatever it counts in itself.
const tick = 10 * time.Millisecond

// read gives a file of a process.
func (p procfs) read(pid int, elem ...string) (string, error) {
	b, err := os.ReadFile(filepath.Join(append([]string{string(p), strconv.Itoa(pid)}, elem...)...))
	return string(b), err
}

// tree gives a process and all below it.
func (p procfs) tree(pid int) ([]int, error) {
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		// The children of a process are those of all its threads.
		threads, err := os.ReadDir(filepath.Join(string(p), strconv.Itoa(pids[i]), "task"))
		if err != nil {
			return nil, err
		}
		for _, thread := range threads {
			text, err := p.read(pids[i], "task", thread.Name(), "children")
			if os.IsNotExist(err) {
				continue // the thread has ended
			}
			if err != nil {
				return nil, err
			}
			for _, child := range strings.Fields(text) {
				n, err := strconv.Atoi(child)
				if err != nil {
					return nil, err
				}
				pids = append(pids, n)
			}
		}
	}
	return pids, nil
}

// each calls fn for a process and all below it, and adds up what it gives.
func (p procfs) each(pid int, fn func(pid int) (int64, error)) (sum int64, err error) {
	pids, err := p.tree(pid)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		n, err := fn(pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// cpu gives the CPU time, user and system, that a process and all below it have
// used, those that have ended included.
func (p procfs) cpu(pid int) (time.Duration, error) {
	ticks, err := p.each(pid, func(pid int) (int64, error) {
		s, err := p.stat(pid)
		return s.ticks, err
	})
	return time.Duration(ticks) * tick, err
}

// pss gives the memory of a process and all below it, in bytes; pages that
// several processes share are divided among them.
func (p procfs) pss(pid int) (int64, error) {
	return p.each(pid, func(pid int) (int64, error) { return p.kilobytes(pid, "smaps_rollup", "Pss:") })
}

// split gives the parts of pss that are anonymous memory and pages of files.
func (p procfs) split(pid int) (anonymous, files int64, err error) {
	if anonymous, err = p.each(pid, func(pid int) (int64, error) { return p.kilobytes(pid, "smaps_rollup", "Pss_Anon:") }); err != nil {
		return 0, 0, err
	}
	files, err = p.each(pid, func(pid int) (int64, error) { return p.kilobytes(pid, "smaps_rollup", "Pss_File:") })
	return anonymous, files, err
}

// peak gives the greatest resident memory, in bytes, that a process or one below
// it has had.
func (p procfs) peak(pid int) (int64, error) {
	greatest := int64(0)
	_, err := p.each(pid, func(pid int) (int64, error) {
		n, err := p.kilobytes(pid, "status", "VmHWM:")
		greatest = max(greatest, n)
		return 0, err
	})
	return greatest, err
}

// age gives the time since a process was started.
func (p procfs) age(pid int) (time.Duration, error) {
	s, err := p.stat(pid)
	if err != nil {
		return 0, err
	}
	b, err := os.ReadFile(filepath.Join(string(p), "uptime"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), " ")
	up, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(up*float64(time.Second)) - s.start, nil
}

// stat is what the file stat of a process says.
type stat struct {
	ticks int64         // of CPU time, with that of the children that have ended
	start time.Duration // after the machine
}

func (p procfs) stat(pid int) (stat, error) {
	text, err := p.read(pid, "stat")
	if err != nil {
		return stat{}, err
	}
	s, err := parseStat(text)
	if err != nil {
		return stat{}, fmt.Errorf("stat of process %d: %w", pid, err)
	}
	return s, nil
}

// parseStat reads the file stat of a process, proc_pid_stat(5).
func parseStat(text string) (s stat, err error) {
	// The second field is the program in parentheses, which may have any
	// character in it.
	_, rest, ok := cutLast(text, ')')
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return s, fmt.Errorf("too short: %q", text)
	}
	const third = 3 // the number of the field that fields starts with
	for _, field := range []int{14, 15, 16, 17} {
		n, err := strconv.ParseInt(fields[field-third], 10, 64)
		if err != nil {
			return s, err
		}
		s.ticks += n
	}
	n, err := strconv.ParseInt(fields[22-third], 10, 64)
	s.start = time.Duration(n) * tick
	return s, err
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// kilobytes reads a line "key number kB" from a file of a process and gives the
// number in bytes.
func (p procfs) kilobytes(pid int, file, key string) (int64, error) {
	text, err := p.read(pid, file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == key && f[2] == "kB" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in %s of process %d", key, file, pid)
}

// cores gives the numbers of the cores that this process may run on.
func (p procfs) cores() ([]int, error) {
	text, err := p.read(os.Getpid(), "status")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			return parseCores(strings.TrimSpace(list))
		}
	}
	return nil, fmt.Errorf("no list of cores in %s", p)
}

// parseCores reads a list of cores as the kernel writes it: "0-3,8".
func parseCores(list string) (cores []int, err error) {
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.Atoi(from)
		if err != nil {
			return nil, err
		}
		last, err := strconv.Atoi(to)
		if err != nil {
			return nil, err
		}
		for c := first; c <= last; c++ {
			cores = append(cores, c)
		}
	}
	return cores, nil
}

// pin binds all threads of this process to a core. Processes started afterwards
// stay on it.
func pin(core int) error {
	return taskset("-a", "-p", "-c", strconv.Itoa(core), strconv.Itoa(os.Getpid()))
}

// pinThread binds the present thread, to which the goroutine has to be locked, to a
// core.
func pinThread(core int) error {
	link, err := os.Readlink(filepath.Join(string(proc), "thread-self"))
	if err != nil {
		return err
	}
	return taskset("-p", "-c", strconv.Itoa(core), filepath.Base(link))
}

func taskset(args ...string) error {
	out, err := exec.Command("taskset", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("taskset: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
