package main

import (
	"maps"
	"testing"
)

const dnsperfOutput = `DNS Performance Testing Tool
Version 2.10.0

[Status] Command line: dnsperf -B -d queries
[Status] Testing complete (end of file)

Statistics:

  Queries sent:         20000
  Queries completed:    19994 (99.97%)
  Queries lost:         6 (0.03%)

  Response codes:       NOERROR 17995 (90.00%), NXDOMAIN 1999 (10.00%)
  Average packet size:  request 48, response 105
  Run time (s):         1.264305
  Queries per second:   15814.222043
`

func TestParseDnsperf(t *testing.T) {
	l, err := parseDnsperf(dnsperfOutput)
	if err != nil {
		t.Fatal(err)
	}
	if l.completed != 19994 || l.lost != 6 || l.rate != 15814.222043 || !maps.Equal(l.rcodes, map[string]int{"NOERROR": 17995, "NXDOMAIN": 1999}) {
		t.Errorf("%+v", l)
	}
	for name, bad := range map[string]string{
		"nothing":      "",
		"no answers":   "  Queries completed:    0 (0.00%)\n  Queries lost:         9 (100.00%)\n",
		"lost missing": "  Queries completed:    5 (100.00%)\n",
	} {
		if l, err := parseDnsperf(bad); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
}
