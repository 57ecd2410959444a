package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.etcd.io/bbolt"

	"github.com/trustdns/trustdns/test/server"
)

// A server whose zones are in a store starts without their files, with all that
// was in service and its history. An edit while it was down is one more change.
func TestRestartWithoutTheZoneFile(t *testing.T) { bothWays(t, testRestartWithoutTheZoneFile) }

func testRestartWithoutTheZoneFile(t *testing.T, start starter) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	zone := func(serial int) string { return fmt.Sprintf(zoneText, serial, fmt.Sprintf("192.0.2.%d", serial)) }
	put(t, at("source.zone"), zone(1))
	put(t, at("seed.zone"), zone(1))
	s := start(t, fmt.Sprintf(`.:%s {
 bind 127.0.0.1
 root %s
 authority example.org {
  file source.zone
  store data
  transfer net 127.0.0.1
 }
 authority example.net {
  file seed.zone seed
  store data
 }
}
`, server.Port, dir), "example.org", "example.net")
	for serial := 2; serial <= 4; serial++ {
		put(t, at("source.zone"), zone(serial))
		waitFor(t, fmt.Sprintf("serial %d", serial), func() bool { return serialOf(s, "example.org.") == uint32(serial) })
	}
	steps := func(from uint32) (soas []uint32) {
		t.Helper()
		m := new(dns.Msg)
		m.SetIxfr("example.org.", from, "ns1.example.org.", "hostmaster.example.org.")
		envelopes, err := new(dns.Transfer).In(m, s.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		for e := range envelopes {
			if e.Error != nil {
				t.Fatal(e.Error)
			}
			for _, rr := range e.RR {
				if soa, ok := rr.(*dns.SOA); ok {
					soas = append(soas, soa.Serial)
				}
			}
		}
		return soas
	}
	want := fmt.Sprint(steps(1))
	s.Stop()
	for _, name := range []string{"source.zone", "seed.zone"} {
		if err := os.Remove(at(name)); err != nil {
			t.Fatal(err)
		}
	}
	before := len(s.Log())
	s.Restart(t)
	if got := address(s); got != "192.0.2.4" || serialOf(s, "example.net.") != 1 {
		t.Errorf("www is %s, the serial of the other zone %d", got, serialOf(s, "example.net."))
	}
	if got := fmt.Sprint(steps(1)); got != want || want == "[4 4]" {
		t.Errorf("IXFR after the start %s, before %s", got, want)
	}
	if log := s.Log()[before:]; !strings.Contains(log, "example.org.: took serial 4, 4 records from the store") ||
		!strings.Contains(log, "example.net.: took serial 1, 4 records from the store") {
		t.Errorf("the log:\n%s", log)
	}
	waitFor(t, "the file that is missing in the log", func() bool {
		return strings.Contains(s.Log()[before:], "example.org.: not loaded, serial 4 stays in service: "+at("source.zone"))
	})
	s.Stop()

	put(t, at("source.zone"), zone(3)+"new 300 IN A 192.0.2.99\n") // and nobody thought of the serial
	put(t, at("seed.zone"), zone(9))
	before = len(s.Log())
	s.Restart(t)
	if serialOf(s, "example.org.") != 5 || state(s, "new.example.org.") != "192.0.2.99" || address(s) != "192.0.2.3" {
		t.Errorf("serial %d, new is %s, www is %s", serialOf(s, "example.org."), state(s, "new.example.org."), address(s))
	}
	if got := steps(4); len(got) != 4 {
		t.Errorf("IXFR from 4: %v", got)
	}
	if serialOf(s, "example.net.") != 1 || !strings.Contains(s.Log()[before:], "the file "+at("seed.zone")+" was changed since it was read as the seed, and is ignored") {
		t.Errorf("the seed: serial %d; the log:\n%s", serialOf(s, "example.net."), s.Log()[before:])
	}
}

// A store that nobody can work with ends the start, and is left as it is.
func TestStoresThatEndTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for i := range 200 {
		put(t, at(fmt.Sprintf("zones/z%d.example.zone", i)), fmt.Sprintf(zoneText, 1, "192.0.2.1"))
	}
	corefile := func(store string) string {
		return fmt.Sprintf(".:%s {\n bind 127.0.0.1\n root %s\n authority {\n  directory zones\n  store %s\n }\n}\n", server.Port, dir, store)
	}
	server.StartOurs(t, corefile("good"), "z0.example").Stop()
	good, err := os.ReadFile(at("good/zones.db"))
	if err != nil {
		t.Fatal(err)
	}

	write(t, at("foreign/zones.db"), "$TTL 300\n@ IN SOA ns1 hostmaster 1 7200 1800 1209600 300\n")
	other, err := bbolt.Open(at("foreign.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at("other"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(at("foreign.db"), at("other/zones.db")); err != nil {
		t.Fatal(err)
	}
	write(t, at("empty/zones.db"), "")
	write(t, at("short/zones.db"), string(good[:5*os.Getpagesize()]))
	damaged := []byte(string(good))
	for i := 3 * os.Getpagesize(); i < len(damaged); i += 97 {
		damaged[i] ^= 0x55
	}
	write(t, at("damaged/zones.db"), string(damaged))
	write(t, at("newer/zones.db"), string(good))
	newer, err := bbolt.Open(at("newer/zones.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = newer.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("trustdns")).Put([]byte("format"), []byte("999")) })
	if err != nil {
		t.Fatal(err)
	}
	if err := newer.Close(); err != nil {
		t.Fatal(err)
	}
	for store, want := range map[string]string{
		"foreign": "not a store of zones: move that file away, or give the store a folder of its own",
		"other":   "not a store of zones: move that file away, or give the store a folder of its own",
		"empty":   "store is corrupt: the file is empty; restore it from a backup, or move it away",
		"short":   "store is corrupt",
		"damaged": "store is corrupt",
		"newer":   "store was written by a newer version (format 999, and 2 is known): go back to that version",
	} {
		path := at(store + "/zones.db")
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		startFails(t, corefile(store), fmt.Sprintf("plugin/authority: store %q: %s", path, want))
		after, err := os.ReadFile(path)
		if err != nil || string(after) != string(before) {
			t.Errorf("%s: the file was changed: %v", store, err)
		}
	}

	s := server.StartOurs(t, corefile("good"), "z0.example")
	startFails(t, corefile("good"), fmt.Sprintf("plugin/authority: store %q: store is in use by another process: end that first, or give this one a folder of its own", at("good/zones.db")))
	if serialOf(s, "z199.example.") != 1 {
		t.Error("the first server has stopped answering")
	}
}

// Blocks that name one store have one live zone in it.
func TestSharedStore(t *testing.T) { bothWays(t, testSharedStore) }

func testSharedStore(t *testing.T, start starter) {
	server.Require(t, "kdig")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	zone := func(serial int) string { return fmt.Sprintf(zoneText, serial, "192.0.2.1") }
	writeCertificate(t, dir)
	put(t, at("zone"), zone(1))
	put(t, at("zones/example.net.zone"), zone(1))
	metrics, tls := freePort(t), freePort(t)
	const both = `
 bind 127.0.0.1
 root %[2]s
 authority example.org {
  file zone
  store data
 }
 authority {
  directory zones
  store data
 }
}
`
	s := start(t, fmt.Sprintf(".:%[1]s {\n prometheus 127.0.0.1:%[3]d"+both+"tls://.:%[4]d {\n tls %[2]s/cert.pem %[2]s/key.pem"+both, server.Port, dir, metrics, tls),
		"example.org", "example.net")
	overTLS := func(zone string) uint32 {
		t.Helper()
		out := run(t, "", "kdig", "@127.0.0.1", "-p", fmt.Sprint(tls), "+tls", "+short", zone, "SOA")
		var serial uint32
		if _, err := fmt.Sscanf(out, "ns1."+zone+" hostmaster."+zone+" %d", &serial); err != nil {
			t.Errorf("over TLS: %v\n%s", err, out)
		}
		return serial
	}
	put(t, at("zone"), zone(2))
	put(t, at("zones/example.net.zone"), zone(3))
	waitFor(t, "the edits", func() bool { return serialOf(s, "example.org.") == 2 && serialOf(s, "example.net.") == 3 })
	if overTLS("example.org.") != 2 || overTLS("example.net.") != 3 {
		t.Errorf("over TLS serials %d and %d", overTLS("example.org."), overTLS("example.net."))
	}
	if n := metricOf(t, metrics, "coredns_authority_zones"); n != 2 {
		t.Errorf("%v zones", n)
	}
	for _, line := range []string{"example.org.: loaded serial 2 after 1", "example.net.: loaded serial 3 after 1"} {
		if n := strings.Count(s.Log(), line); n != 1 {
			t.Errorf("%q stands %d times in the log", line, n)
		}
	}
	s.Stop()

	differing := func(a, b string) string {
		return fmt.Sprintf("example.org:%[1]s {\n bind 127.0.0.1\n root %[2]s\n authority {\n  file zone\n  store data\n%[3]s }\n}\n"+
			"example.org:%[5]d {\n bind 127.0.0.1\n root %[2]s\n authority {\n  file zone\n  store data\n%[4]s }\n}\n", server.Port, dir, a, b, freePort(t))
	}
	for _, c := range [][2]string{{"serial date\n", ""}, {"", "journal 5\n"}, {"check strict\n", "check warn\n"}, {"", "limits {\nrecords 5\n}\n"}} {
		startFails(t, differing(c[0], c[1]), "Error during parsing: zone example.org. has other settings at ", "Corefile:4, where it comes from the same place")
	}
	startFails(t, strings.Replace(differing("", ""), "file zone", "file cert.pem", 1), "Error during parsing: zone example.org. has other settings at ")
	view := fmt.Sprintf("example.org:%[1]s {\n bind 127.0.0.1\n root %[2]s\n view tcp {\n  expr proto() == 'tcp'\n }\n authority {\n  file zone\n  store data\n }\n}\n"+
		"example.org:%[1]s {\n bind 127.0.0.1\n root %[2]s\n authority {\n  file zone\n  store data\n }\n}\n", server.Port, dir)
	startFails(t, view, "a block with view needs a store of its own", "Corefile:7 has the same")
}

// The file system of the store is full: nothing of an edit is taken over, which
// the log and a metric tell; questions are answered; and with room again the edit
// comes, without a restart.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		server.Lacks(t, "root, who alone can mount a file system")
	}
	server.Require(t, "unshare", "mount", "sh")
	if out := run(t, "", "unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs /mnt && echo mounted"); out != "mounted\n" {
		server.Lacks(t, "a system that lets root mount a file system: %s", out)
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	zone := func(serial, hosts int) string {
		var b strings.Builder
		fmt.Fprintf(&b, zoneText, serial, fmt.Sprintf("192.0.2.%d", serial))
		for i := range hosts {
			fmt.Fprintf(&b, "host-with-a-long-name-%d-%d 300 IN TXT \"%0200d\"\n", serial, i, i)
		}
		return b.String()
	}
	// The server has the file system for itself; it is gone with it.
	if err := os.Mkdir(at("data"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, at("server"), fmt.Sprintf("#!/bin/sh\nexec unshare -m sh -c 'mount -t tmpfs -o size=64m tmpfs %s && exec %s \"$@\"' sh \"$@\"\n", at("data"), server.Binary(t)))
	if err := os.Chmod(at("server"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, at("zone"), zone(1, 10))
	metrics := freePort(t)
	s := server.StartBinary(t, at("server"), block(dir, fmt.Sprintf("authority {\n file zone\n store data\n}\nprometheus 127.0.0.1:%d", metrics)), "example.org")
	inside := filepath.Join(fmt.Sprintf("/proc/%d/root", s.PID()), dir, "data")
	if _, err := os.Stat(filepath.Join(inside, "zones.db")); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(inside, "filler")
	fill(t, filler)

	put(t, at("zone"), zone(2, 20000)) // more than has room in the log, which is there already
	waitFor(t, "the error in the log", func() bool {
		return strings.Contains(s.Log(), "example.org.: not loaded, serial 1 stays in service: ") && strings.Contains(s.Log(), "no space left on device")
	})
	if got := address(s); got != "192.0.2.1" {
		t.Errorf("www is %s", got)
	}
	if n := metricOf(t, metrics, "coredns_authority_commit_seconds_count", `result="error"`); n == 0 {
		t.Error("no commit is counted as failed")
	}
	for _, name := range []string{"coredns_authority_load_errors_total", "coredns_authority_load_failed"} {
		if n := metricOf(t, metrics, name); n != 1 {
			t.Errorf("%s is %v", name, n)
		}
	}
	if n := metricOf(t, metrics, "coredns_authority_zones", `state="stale"`); n != 1 {
		t.Errorf("%v zones are stale", n)
	}
	// It is tried again, in vain, and said once.
	failed := func() float64 {
		return metricOf(t, metrics, "coredns_authority_commit_seconds_count", `result="error"`)
	}
	before := failed()
	waitFor(t, "another try", func() bool { return failed() > before })
	if n := strings.Count(s.Log(), "not loaded"); n != 1 || address(s) != "192.0.2.1" {
		t.Errorf("said %d times; www is %s", n, address(s))
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the edit", func() bool { return address(s) == "192.0.2.2" })
	if n := metricOf(t, metrics, "coredns_authority_zones", `state="current"`); n != 1 {
		t.Errorf("%v zones are current", n)
	}
	put(t, at("zone"), zone(3, 10))
	waitFor(t, "the next edit", func() bool { return address(s) == "192.0.2.3" })
}

// fill writes a file until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for octets, start := make([]byte, 1<<20), time.Now(); len(octets) > 0; {
		if time.Since(start) > time.Minute {
			t.Fatal("the file system does not become full")
		}
		if _, err := f.Write(octets); err != nil {
			octets = octets[:len(octets)/2]
		}
	}
}
