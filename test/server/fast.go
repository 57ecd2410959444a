package server

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// fastPath is what a server that [StartFast] has started must show.
type fastPath struct {
	metrics int // port
	start   int // queries that were answered when it was ready
	shown   bool
}

// StartFast is [StartOurs] with the plugin fastpath in each server block of the Corefile. The test fails unless the fast
// path has answered queries between the start and the last stop of the server or the end of the test.
func StartFast(t testing.TB, corefile string, zones ...string) *Server {
	t.Helper()
	corefile, port, err := withFastPath(corefile)
	if err != nil {
		t.Fatal(err)
	}
	s := StartOurs(t, corefile, zones...)
	s.fast = &fastPath{metrics: port}
	if s.fast.start, err = s.FastAnswers(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the server is stopped
		what := func() string { return "an answer from the fast path; the log has\n" + tail(s.Log(), 60) }
		if err := Poll(what, func() bool { return s.showFast() || s.State() != "" }); err != nil || !s.fast.shown {
			t.Errorf("the fast path has answered nothing since the start: %v", err)
		}
	})
	return s
}

// showFast tells whether the fast path was seen to answer.
func (s *Server) showFast() bool {
	if s.fast != nil && !s.fast.shown {
		n, err := s.FastAnswers()
		s.fast.shown = err == nil && n > s.fast.start
	}
	return s.fast != nil && s.fast.shown
}

// FastAnswers returns how many queries the fast path has answered since the process was started. It is for servers that
// [StartFast] has started.
func (s *Server) FastAnswers() (int, error) {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", s.fast.metrics))
	if err != nil {
		return 0, err
	}
	sum := 0.0
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		if !strings.HasPrefix(name, "coredns_fastpath_packets_total{") || !strings.Contains(name, `way="fast"`) {
			continue
		}
		n, bad := strconv.ParseFloat(value, 64)
		err = errors.Join(err, bad)
		sum += n
	}
	return int(sum), errors.Join(err, lines.Err(), resp.Body.Close())
}

var prometheusLine = regexp.MustCompile(`prometheus 127\.0\.0\.1:(\d+)`)

// withFastPath puts the plugin into each server block of a Corefile that lacks it, and prometheus into the first one if it is
// in none. It gives the port of prometheus.
func withFastPath(corefile string) (text string, port int, err error) {
	more := ""
	if m := prometheusLine.FindStringSubmatch(corefile); m != nil {
		port, err = strconv.Atoi(m[1])
	} else if port, err = FreePort(); err == nil {
		more = fmt.Sprintf("prometheus 127.0.0.1:%d\n", port)
	}
	var b strings.Builder
	depth, has := 0, false
	for line := range strings.Lines(corefile) {
		words := strings.Fields(line)
		has = has || len(words) > 0 && words[0] == "fastpath"
		switch {
		case len(words) == 0 || words[0][0] == '#':
		case words[0] == "}":
			if depth--; depth > 0 {
				break
			}
			if !has {
				more += "fastpath\n"
			}
			b.WriteString(more) // at the end of the block, so that what the log says of lines stays true
			more, has = "", false
		case words[len(words)-1] == "{":
			depth++
		}
		b.WriteString(line)
	}
	return b.String(), port, err
}
