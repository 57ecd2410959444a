package main

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bounds of what dnsperf does.
const (
	outstanding = 100             // queries that wait for an answer; twice as many overflow the socket of a server that keeps the default size
	patience    = 2 * time.Second // for an answer, then it is lost
	buffer      = 1024            // of its socket, in kilobytes: room for all answers at once, as far as the kernel lets it
)

// load is what dnsperf did to a server.
type load struct {
	completed, lost int
	rcodes          map[string]int
	rate            float64 // answers a second
}

// send has dnsperf send the queries of a file, all of them once or, if limit is
// not zero, again and again for that long. At most so many wait for an answer at a
// time. It runs on the core of this process.
func send(ctx context.Context, to netip.AddrPort, file string, limit time.Duration, outstanding int) (load, error) {
	runs, bound := "1", time.Minute
	if limit > 0 {
		runs, bound = "1000", limit
	}
	ctx, cancel := context.WithTimeout(ctx, bound+30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dnsperf", "-B", "-s", to.Addr().String(), "-p", strconv.Itoa(int(to.Port())), "-d", file,
		"-q", strconv.Itoa(outstanding), "-t", seconds(patience), "-b", strconv.Itoa(buffer), "-n", runs, "-l", seconds(bound))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return load{}, fmt.Errorf("dnsperf: %w\n%s", err, out)
	}
	l, err := parseDnsperf(string(out))
	if err != nil {
		return load{}, fmt.Errorf("dnsperf: %w\n%s", err, out)
	}
	return l, nil
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

var (
	completedLine = regexp.MustCompile(`(?m)^\s*Queries completed:\s+(\d+)`)
	lostLine      = regexp.MustCompile(`(?m)^\s*Queries lost:\s+(\d+)`)
	rateLine      = regexp.MustCompile(`(?m)^\s*Queries per second:\s+([0-9.]+)`)
	rcodesLine    = regexp.MustCompile(`(?m)^\s*Response codes:\s+(.*)$`)
	rcodeItem     = regexp.MustCompile(`(\w+) (\d+) \(`)
)

// parseDnsperf reads the statistics that dnsperf prints.
func parseDnsperf(text string) (l load, err error) {
	for _, v := range []struct {
		line *regexp.Regexp
		into *int
	}{{completedLine, &l.completed}, {lostLine, &l.lost}} {
		m := v.line.FindStringSubmatch(text)
		if m == nil {
			return l, fmt.Errorf("no line %q", strings.TrimPrefix(v.line.String(), `(?m)^\s*`))
		}
		if *v.into, err = strconv.Atoi(m[1]); err != nil {
			return l, err
		}
	}
	if l.completed == 0 {
		return l, fmt.Errorf("no answers")
	}
	if m := rateLine.FindStringSubmatch(text); m != nil {
		if l.rate, err = strconv.ParseFloat(m[1], 64); err != nil {
			return l, err
		}
	}
	l.rcodes = map[string]int{}
	if m := rcodesLine.FindStringSubmatch(text); m != nil {
		for _, item := range rcodeItem.FindAllStringSubmatch(m[1], -1) {
			if l.rcodes[item[1]], err = strconv.Atoi(item[2]); err != nil {
				return l, err
			}
		}
	}
	return l, nil
}
