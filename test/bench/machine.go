package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// machine is where it was measured.
type machine struct {
	cpu, kernel, load, dnsperf, golang string
	cores                              int
}

// readMachine describes this machine; what it cannot read is "unknown".
func readMachine() machine {
	m := machine{cpu: "unknown", kernel: firstLine("/proc/sys/kernel/osrelease"), load: "unknown", golang: runtime.Version(), cores: runtime.NumCPU(), dnsperf: "unknown"}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.cpu = cpuModel(string(b))
	}
	if f := strings.Fields(firstLine("/proc/loadavg")); len(f) > 1 {
		m.load = f[0]
	}
	if out, err := exec.Command("dnsperf", "-h").CombinedOutput(); err == nil || len(out) > 0 {
		for line := range strings.Lines(string(out)) {
			if v, ok := strings.CutPrefix(line, "Version "); ok {
				m.dnsperf = strings.TrimSpace(v)
			}
		}
	}
	return m
}

// firstLine gives the first line of a file.
func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// cpuModel finds the model of the processor in what /proc/cpuinfo says.
func cpuModel(text string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// String describes the machine in a sentence.
func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, Linux %s, load average %s at the start, %s, dnsperf %s", m.cpu, m.cores, m.kernel, m.load, m.golang, m.dnsperf)
}
