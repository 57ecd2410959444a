package server

import (
	"regexp"
	"testing"
)

func TestWithFastPath(t *testing.T) {
	for _, c := range []struct{ name, corefile, want string }{
		{"one block", "a:53 {\n x {\n  y\n }\n}\n", "a:53 {\n x {\n  y\n }\nprometheus 127.0.0.1:0\nfastpath\n}\n"},
		{"two", "a {\n}\n# c {\nb\nc {\n x\n}\n", "a {\nprometheus 127.0.0.1:0\nfastpath\n}\n# c {\nb\nc {\n x\nfastpath\n}\n"},
		{"with prometheus", "a {\n}\nb {\n prometheus 127.0.0.1:9153\n}\n", "a {\nfastpath\n}\nb {\n prometheus 127.0.0.1:9153\nfastpath\n}\n"},
		{"with the plugin", "a {\n fastpath {\n  sample 2\n }\n}\nb {\n}\n", "a {\n fastpath {\n  sample 2\n }\nprometheus 127.0.0.1:0\n}\nb {\nfastpath\n}\n"},
	} {
		got, port, err := withFastPath(c.corefile)
		if c.name != "with prometheus" {
			got = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(got, "127.0.0.1:0")
		} else if port != 9153 {
			t.Errorf("%s: port %d", c.name, port)
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.name, err, got, c.want)
		}
	}
}
