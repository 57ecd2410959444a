package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/trustdns/trustdns/test/server"
)

// ours, chained and stock are what the plugin authority with the plugin fastpath,
// without it, and CoreDNS's own plugin file are called in tables. All run in our
// binary, with nothing else in the chain.
const (
	ours    = "trustdns"
	chained = "chain"
	guarded = "guarded"       // ours with cookie and ratelimit
	both    = "guarded chain" // chained with them
	stock   = "file"
)

// candidate is a kind of server to measure.
type candidate struct {
	name    string
	program string   // that it needs, "" for our binary
	zones   []string // by which it is measured; nil: all
	extra   bool     // it is there for orientation: without transfers, and where it is installed
	// differs says in which answers it differs from our encoder, as it may if the
	// response code is the same; "" if it must not.
	differs string
	// start serves a zone; if it has a key, everybody may transfer it, signed or not.
	start func(testing.TB, server.Zone) *server.Server
}

// candidates are all there are, in the order of the tables.
var candidates = []candidate{
	{name: ours, start: func(t testing.TB, z server.Zone) *server.Server {
		return startChain(t, z, authority(z)+"\n\tfastpath")
	}},
	{name: chained, start: func(t testing.TB, z server.Zone) *server.Server {
		return startChain(t, z, authority(z))
	}},
	{name: guarded, zones: []string{"small"}, start: func(t testing.TB, z server.Zone) *server.Server {
		return startChain(t, z, guards+authority(z)+"\n\tfastpath")
	}},
	{name: both, zones: []string{"small"}, start: func(t testing.TB, z server.Zone) *server.Server {
		return startChain(t, z, guards+authority(z))
	}},
	{name: stock, differs: "the SOA record of a negative answer keeps its TTL (RFC 2308 §3), among others", start: func(t testing.TB, z server.Zone) *server.Server {
		file := fmt.Sprintf("file %s %s {\n\t\treload 0\n\t}", z.File, z.Origin)
		if z.Key == nil {
			return startChain(t, z, file)
		}
		return startChain(t, z, fmt.Sprintf("tsig {\n\t\tsecret %s. %s\n\t}\n\t%s\n\ttransfer {\n\t\tto *\n\t}", z.Key.Name, z.Key.Secret, file))
	}},
	{name: "nsd", program: "nsd", start: func(t testing.TB, z server.Zone) *server.Server {
		return server.StartNSD(t, []server.Zone{z})
	}},
	{name: "knotd", program: "knotd", start: func(t testing.TB, z server.Zone) *server.Server {
		return server.StartKnotd(t, []server.Zone{z})
	}},
	{name: "named", program: "named", start: func(t testing.TB, z server.Zone) *server.Server {
		return server.StartNamed(t, []server.Zone{z})
	}},
	{name: "pdns", program: "pdns_server", extra: true, start: func(t testing.TB, z server.Zone) *server.Server {
		return server.StartPDNS(t, []server.Zone{z})
	}},
	// It has no DNSSEC, and its parser refuses some of the TXT records of publicsuffix.
	{name: "gdnsd", program: "gdnsd", extra: true, zones: []string{"tiny", "small", "medium", "big"}, differs: "it does not follow a CNAME within the zone", start: func(t testing.TB, z server.Zone) *server.Server {
		return server.StartGdnsd(t, []server.Zone{z})
	}},
	{name: kernel, zones: []string{"small"}, start: func(t testing.TB, _ server.Zone) *server.Server {
		return startReflector(t)
	}},
}

// guards have all mechanisms at work and limits that nothing here reaches.
const guards = "cookie\n\tratelimit {\n\t\tresponses 1000000\n\t\toctets 100000000\n\t\tall 1000000\n\t\trequests 1000000\n\t\twindow 1s\n\t}\n\t"

// takes tells whether a candidate is measured with a zone.
func (c candidate) takes(zone string) bool { return c.zones == nil || slices.Contains(c.zones, zone) }

// authority gives what a zone is served by.
func authority(z server.Zone) string {
	if z.Key == nil {
		return fmt.Sprintf("authority %s {\n\t\tfile %s\n\t}", z.Origin, z.File)
	}
	return fmt.Sprintf("keys {\n\t\ttsig %s %s %s\n\t}\n\tauthority %s {\n\t\tfile %s\n\t\ttransfer net 127.0.0.0/8\n\t\ttransfer key %[1]s\n\t}",
		z.Key.Name, z.Key.Algorithm, z.Key.Secret, z.Origin, z.File)
}

// startChain starts our binary with one block that has only those plugins.
func startChain(t testing.TB, z server.Zone, plugins string) *server.Server {
	t.Helper()
	return server.StartOurs(t, fmt.Sprintf(".:%s {\n\tbind 127.0.0.1\n\t%s\n}\n", server.Port, plugins), z.Origin)
}

// choose gives the candidates of those names that can run here, and why each of
// the others cannot.
func choose(t *testing.T, names []string) (chosen []candidate, missing []string) {
	for _, name := range names {
		found := false
		for _, c := range candidates {
			if c.name != name {
				continue
			}
			found = true
			if why := c.lacks(t); why != "" {
				missing = append(missing, fmt.Sprintf("%s: %s", name, why))
			} else {
				chosen = append(chosen, c)
			}
		}
		if !found {
			t.Fatalf("no server is called %q", name)
		}
	}
	return chosen, missing
}

// lacks tells what a candidate misses here, "" for nothing.
func (c candidate) lacks(t *testing.T) string {
	switch c.name {
	case kernel:
		return ""
	case ours, chained, guarded, both, stock:
		plugin := map[string]string{ours: "fastpath", chained: "authority", guarded: "ratelimit", both: "ratelimit", stock: "file"}[c.name]
		out, err := exec.Command(server.Binary(t), "-plugins").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.TrimSpace(line) == plugin {
				return ""
			}
		}
		return fmt.Sprintf("the binary has no plugin %q", plugin)
	default:
		if c.extra && !server.Installed(c.program) {
			return fmt.Sprintf("the program %s is not installed; not every system has a package of it", c.program)
		}
		there := false
		t.Run("needs "+c.program, func(t *testing.T) {
			server.Require(t, c.program)
			there = true
		})
		if there {
			return ""
		}
		return fmt.Sprintf("the program %s is not installed", c.program)
	}
}
