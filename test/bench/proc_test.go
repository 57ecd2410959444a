package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// statLine gives a file stat with these values.
func statLine(program string, utime, stime, cutime, cstime, start string) string {
	f := strings.Fields("S 1 1 1 0 -1 4194560 100 0 0 0 UTIME STIME CUTIME CSTIME 20 0 5 0 START 1000 200 18446744073709551615 1 1")
	text := "42 (" + program + ") " + strings.Join(f, " ") + "\n"
	return strings.NewReplacer("CUTIME", cutime, "CSTIME", cstime, "UTIME", utime, "STIME", stime, "START", start).Replace(text)
}

func TestParseStat(t *testing.T) {
	for _, program := range []string{"nsd", "nsd: server 1", "odd) S 9 (9"} {
		s, err := parseStat(statLine(program, "100", "20", "3", "1", "5000"))
		if err != nil {
			t.Fatalf("%q: %v", program, err)
		}
		if s.ticks != 124 || s.start != 50*time.Second {
			t.Errorf("%q: %+v", program, s)
		}
	}
	for _, bad := range []string{"", "42 nsd S 1", "42 (nsd) S 1 2 3", statLine("nsd", "x", "0", "0", "0", "0"), statLine("nsd", "0", "0", "0", "0", "x")} {
		if s, err := parseStat(bad); err == nil {
			t.Errorf("%q is %+v", bad, s)
		}
	}
}

// fakeProc makes a proc file system with files of these contents.
func fakeProc(t *testing.T, files map[string]string) procfs {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return procfs(dir)
}

// family has a tree of processes: 42 has two threads with a child each, one of which has a child itself.
func family(t *testing.T) procfs {
	return fakeProc(t, map[string]string{
		"uptime":              "1010.50 900.00\n",
		"42/task/42/children": "50 ",
		"42/task/43/children": "60 ",
		"42/stat":             statLine("nsd", "100", "20", "3", "1", "100000"),
		"42/smaps_rollup":     "1000-2000 ---p 00000000 00:00 0 [rollup]\nRss: 900 kB\nPss:                 400 kB\nPss_Anon: 1 kB\nPss_File: 7 kB\n",
		"42/status":           "Name:\tnsd\nVmHWM:\t    1000 kB\n",
		"50/task/50/children": "70 ",
		"50/stat":             statLine("nsd: server 1", "1000", "0", "0", "0", "100001"),
		"50/smaps_rollup":     "Pss: 500 kB\nPss_Anon: 10 kB\nPss_File: 70 kB\n",
		"50/status":           "VmHWM: 3000 kB\n",
		"60/task/60/children": "",
		"60/stat":             statLine("nsd", "0", "5", "0", "0", "100002"),
		"60/smaps_rollup":     "Pss: 60 kB\nPss_Anon: 100 kB\nPss_File: 0 kB\n",
		"60/status":           "VmHWM: 10 kB\n",
		"70/task/70/children": "",
		"70/stat":             statLine("nsd", "7", "0", "0", "0", "100003"),
		"70/smaps_rollup":     "Pss: 7 kB\nPss_Anon: 0 kB\nPss_File: 700 kB\n",
		"70/status":           "VmHWM: 20 kB\n",
		// Of another family.
		"80/task/80/children": "",
		"80/stat":             statLine("nsd", "9999", "0", "0", "0", "0"),
	})
}

func TestProcessTreeIsAddedUp(t *testing.T) {
	p := family(t)
	pids, err := p.tree(42)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(pids)
	if !slices.Equal(pids, []int{42, 50, 60, 70}) {
		t.Errorf("the tree is %v", pids)
	}
	if cpu, err := p.cpu(42); err != nil || cpu != 1136*tick {
		t.Errorf("CPU time %v, error %v", cpu, err)
	}
	if pss, err := p.pss(42); err != nil || pss != 967<<10 {
		t.Errorf("PSS %d, error %v", pss, err)
	}
	if anonymous, files, err := p.split(42); err != nil || anonymous != 111<<10 || files != 777<<10 {
		t.Errorf("%d anonymous, %d of files, error %v", anonymous, files, err)
	}
	if peak, err := p.peak(42); err != nil || peak != 3000<<10 {
		t.Errorf("peak %d, error %v", peak, err)
	}
	if age, err := p.age(42); err != nil || age != 10500*time.Millisecond {
		t.Errorf("age %v, error %v", age, err)
	}
}

func TestProcessThatIsGoneIsAnError(t *testing.T) {
	p := family(t)
	if cpu, err := p.cpu(43); err == nil {
		t.Errorf("CPU time of nobody is %v", cpu)
	}
	if pss, err := p.pss(80); err == nil {
		t.Errorf("PSS without a file is %d", pss)
	}
	if peak, err := fakeProc(t, map[string]string{"1/task/1/children": "", "1/status": "VmRSS: 1 kB\n"}).peak(1); err == nil {
		t.Errorf("peak without a line is %d", peak)
	}
}

// The real proc file system has the files and lines that are read.
func TestThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the proc file system is Linux's")
	}
	pid := os.Getpid()
	if _, err := proc.cpu(pid); err != nil {
		t.Error(err)
	}
	pss, err := proc.pss(pid)
	if err != nil {
		t.Error(err)
	}
	peak, err := proc.peak(pid)
	if err != nil {
		t.Error(err)
	}
	anonymous, files, err := proc.split(pid)
	if err != nil {
		t.Error(err)
	}
	if anonymous <= 0 || files <= 0 {
		t.Errorf("%d octets of anonymous memory and %d of files", anonymous, files)
	}
	if pss <= 0 || peak <= 0 {
		t.Errorf("PSS %d and peak %d", pss, peak)
	}
	if _, err := proc.age(pid); err != nil {
		t.Error(err)
	}
	if cores, err := proc.cores(); err != nil || len(cores) == 0 {
		t.Errorf("cores %v, error %v", cores, err)
	}
}

func TestParseCores(t *testing.T) {
	for list, want := range map[string][]int{
		"0":       {0},
		"0-1":     {0, 1},
		"0-2,5,8": {0, 1, 2, 5, 8},
	} {
		if got, err := parseCores(list); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is %v, error %v", list, got, err)
		}
	}
	for _, bad := range []string{"", "a", "1-", "-1"} {
		if got, err := parseCores(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}
