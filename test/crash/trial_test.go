package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/secondary"
)

// A trial keeps the books about one zone whose versions are asked for as a whole.
type trial struct {
	books
	history
}

func newTrial(origin string) *trial { return &trial{books{sure: -1}, newHistory(origin)} }

// look transfers the zone and enters what is served. The error is that of the transfer, of a server that may be dead; what
// must not be served fails the test.
func (z *trial) look(t *testing.T) error {
	a, err := z.client.AXFR()
	if err != nil {
		return err
	}
	v, err := secondary.NewVersion(a.Records)
	if err != nil {
		t.Fatalf("%s: %v", z.client.Zone, err)
	}
	if err := z.enter(v); err != nil {
		t.Fatalf("%s: %v", z.client.Zone, err)
	}
	return nil
}

// enter takes down what is served. It must be a version that was asked for, not older than what is sure, and its serial
// new or that which the same version had.
func (z *trial) enter(v *secondary.Version) error {
	which, err := z.find(v, z.sure, len(z.asked)-1)
	if err != nil {
		return err
	}
	if err := z.note(v); err != nil {
		return err
	}
	z.acknowledged(which)
	return nil
}

// settled tells whether the newest version that was asked for is served.
func (z *trial) settled() bool { return z.sure == len(z.asked)-1 }

// follow takes IXFR from every serial that was seen.
func (z *trial) follow(t *testing.T) {
	t.Helper()
	if err := z.chain(z.serials); err != nil {
		t.Fatalf("%s: %v", z.client.Zone, err)
	}
}

// names is how many names of a zone change from version to version.
const names = 30

// A filed zone is a trial whose versions come from a master file.
type filed struct {
	*trial
	path   string
	serial uint32 // in the file
	raise  bool   // the serial in the file with each version; else the server finds one
}

func newFiled(dir, origin string, serial uint32, raise bool) *filed {
	return &filed{newTrial(origin), filepath.Join(dir, strings.TrimSuffix(origin, ".")+".zone"), serial, raise}
}

// write asks for another version. Some names come, some go and most change; names that stay as they are make sure that
// the differences are smaller than the zone.
func (f *filed) write(t *testing.T) {
	t.Helper()
	if f.raise {
		f.serial++
	}
	n := len(f.asked)
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s\n$TTL 300\n@ SOA ns1 hostmaster %d 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.1\nversion TXT %d\n", f.client.Zone, f.serial, n)
	for i := range names {
		if (n+i)%7 > 0 {
			fmt.Fprintf(&b, "name%d A 192.0.2.%d\n", i, (n/2+i)%256)
		}
		fmt.Fprintf(&b, "stays%[1]d TXT %[1]d\nstays%[1]d A 192.0.2.1\nstays%[1]d AAAA 2001:db8::%[1]d\n", i)
	}
	var records []dns.RR
	zp := dns.NewZoneParser(strings.NewReader(b.String()), "", f.path)
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		records = append(records, rr)
	}
	err := zp.Err()
	if err == nil {
		err = f.ask(records)
	}
	if err == nil {
		err = f.put(b.String())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// put puts a file in the place of the one before. It looks as if it had been written some time ago, so that the
// server does not wait for the end of it.
func (f *filed) put(text string) error {
	next := f.path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		return err
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(next, old, old); err != nil {
		return err
	}
	return os.Rename(next, f.path)
}

// take takes the file away, and give puts it back.
func (f *filed) take() error { return os.Rename(f.path, f.path+".aside") }
func (f *filed) give() error { return os.Rename(f.path+".aside", f.path) }

// A run is zones in one store of one server.
type run struct {
	zones  []*filed
	server *server.Server
	lives  int // how often the server was started
}

// newRun starts a binary with two zones in a new store.
func newRun(t *testing.T, binary string) *run {
	t.Helper()
	dir := t.TempDir()
	r := &run{zones: []*filed{newFiled(dir, "raised.example.", 4294967290, true), newFiled(dir, "kept.example.", 1, false)}}
	var origins []string
	for _, z := range r.zones {
		z.write(t)
		origins = append(origins, z.client.Zone)
	}
	corefile := fmt.Sprintf(`.:%s {
	bind 127.0.0.1
	root %s
	authority %s {
		file {zone}.zone source
		store data
		transfer net 127.0.0.1
	}
}
`, server.Port, dir, strings.Join(origins, " "))
	r.server = server.StartBinary(t, binary, corefile, origins...)
	for _, z := range r.zones {
		z.client.Addr = r.server.Addr.String()
	}
	r.lives++
	r.settle(t)
	r.server.Stop()
	return r
}

// alive tells whether the server is.
func (r *run) alive() bool { return r.server.State() == "" }

// settle waits until the newest versions are served, or the server is dead.
func (r *run) settle(t *testing.T) {
	t.Helper()
	var last error
	server.WaitFor(t, func() string { return fmt.Sprintf("the newest versions: %v; the log:\n%s", last, r.server.Log()) }, func() bool {
		settled := true
		for _, z := range r.zones {
			if !z.settled() {
				if err := z.look(t); err != nil {
					last = err
				}
				settled = settled && z.settled()
			}
		}
		return settled || !r.alive()
	})
}

// inspect starts the server, which was killed, from nothing but its store, and looks at what is there; then it gives it the
// files again, which hold the newest versions, and looks at the history.
func (r *run) inspect(t *testing.T) {
	t.Helper()
	for _, z := range r.zones {
		if err := z.take(); err != nil {
			t.Fatal(err)
		}
	}
	before := len(r.server.Log())
	r.server.Restart(t)
	r.lives++
	for _, z := range r.zones {
		if err := z.look(t); err != nil {
			t.Fatalf("%s: %v", z.client.Zone, err)
		}
		z.follow(t)
	}
	for _, z := range r.zones {
		if err := z.give(); err != nil {
			t.Fatal(err)
		}
	}
	r.settle(t)
	for _, z := range r.zones {
		z.follow(t)
	}
	for _, line := range complaints(r.server.Log()[before:]) {
		if !strings.Contains(line, "no such file or directory") { // it was taken away
			t.Errorf("after the kill the server says: %s", line)
		}
	}
	r.server.Stop()
}
