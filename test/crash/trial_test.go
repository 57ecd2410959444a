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

// A trial keeps the books about one zone.
type trial struct {
	origin string
	client *secondary.Client

	asked   []*secondary.Version // the versions that were asked for, under serials that mean nothing
	sure    int                  // the index in asked of the newest that was acknowledged or seen; -1: none
	seen    map[uint32]*secondary.Version
	serials []uint32 // of seen, in the order in which they were
}

func newTrial(origin string) *trial {
	return &trial{origin: origin, sure: -1, seen: make(map[uint32]*secondary.Version)}
}

// ask takes down a version that somebody is about to ask for, and returns its index.
func (z *trial) ask(records []dns.RR) (int, error) {
	v, err := secondary.NewVersion(records)
	if err != nil {
		return 0, err
	}
	z.asked = append(z.asked, v)
	return len(z.asked) - 1, nil
}

// acknowledged says that a version, which was acknowledged or seen, must be there whatever comes.
func (z *trial) acknowledged(i int) { z.sure = max(z.sure, i) }

// look transfers the zone and enters what is served. The error is that of the transfer, of a server that may be dead; what
// must not be served fails the test.
func (z *trial) look(t *testing.T) error {
	a, err := z.client.AXFR()
	if err != nil {
		return err
	}
	v, err := secondary.NewVersion(a.Records)
	if err != nil {
		t.Fatalf("%s: %v", z.origin, err)
	}
	if err := z.enter(v); err != nil {
		t.Fatalf("%s: %v", z.origin, err)
	}
	return nil
}

// enter takes down what is served. It must be a version that was asked for, not older than what is sure, and its serial
// new or that which the same version had.
func (z *trial) enter(v *secondary.Version) error {
	which, difference := -1, ""
	for i := len(z.asked) - 1; i >= max(0, z.sure) && which < 0; i-- {
		d := v.Under(z.asked[i].Serial).Difference(z.asked[i])
		if d == "" {
			which = i
		} else if difference == "" || len(d) < len(difference) {
			difference = d
		}
	}
	if which < 0 {
		return fmt.Errorf("serial %d is none of the versions from %d to %d; from the next of them: %s", v.Serial, z.sure, len(z.asked)-1, difference)
	}
	if before := z.seen[v.Serial]; before != nil {
		if d := v.Difference(before); d != "" {
			return fmt.Errorf("serial %d was another version: %s", v.Serial, d)
		}
		if last := z.serials[len(z.serials)-1]; v.Serial != last {
			return fmt.Errorf("serial %d is back after %d", v.Serial, last)
		}
		return nil
	}
	if n := len(z.serials); n > 0 && v.Serial-z.serials[n-1] >= 1<<31 { // RFC 1982 §3.2
		return fmt.Errorf("serial %d after %d", v.Serial, z.serials[n-1])
	}
	z.seen[v.Serial] = v
	z.serials = append(z.serials, v.Serial)
	z.acknowledged(which)
	return nil
}

// settled tells whether the newest version that was asked for is served.
func (z *trial) settled() bool { return z.sure == len(z.asked)-1 }

// chain takes IXFR from every serial that was seen: each leads to the present version, by differences unless they are larger than
// it. It returns how many were differences.
func (z *trial) chain(t *testing.T) (incremental int) {
	t.Helper()
	now := z.seen[z.serials[len(z.serials)-1]]
	for _, serial := range z.serials {
		a, err := z.client.IXFR(serial)
		if err != nil {
			t.Fatalf("%s: IXFR from %d: %v", z.origin, serial, err)
		}
		v, err := z.seen[serial].Next(a)
		if err != nil {
			t.Fatalf("%s: IXFR from %d: %v", z.origin, serial, err)
		}
		if d := v.Difference(now); d != "" {
			t.Fatalf("%s: IXFR from %d: %s", z.origin, serial, d)
		}
		switch {
		case a.Form == secondary.Incremental:
			incremental++
		case a.Form == secondary.Whole || serial != now.Serial:
			t.Errorf("%s: IXFR from %d to %d is %s", z.origin, serial, now.Serial, a.Form)
		}
	}
	return incremental
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
	fmt.Fprintf(&b, "$ORIGIN %s\n$TTL 300\n@ SOA ns1 hostmaster %d 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.1\nversion TXT %d\n", f.origin, f.serial, n)
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
		_, err = f.ask(records)
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
		origins = append(origins, z.origin)
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
		z.client = &secondary.Client{Addr: r.server.Addr.String(), Zone: z.origin}
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
			t.Fatalf("%s: %v", z.origin, err)
		}
		z.chain(t)
	}
	for _, z := range r.zones {
		if err := z.give(); err != nil {
			t.Fatal(err)
		}
	}
	r.settle(t)
	for _, z := range r.zones {
		if n := z.chain(t); n != len(z.serials)-1 {
			t.Errorf("%s: %d of %d versions lead to the present one by differences", z.origin, n, len(z.serials)-1)
		}
	}
	for line := range strings.Lines(r.server.Log()[before:]) {
		if strings.Contains(line, "no such file or directory") { // it was taken away
			continue
		}
		for _, bad := range []string{"ERROR", "corrupt", "panic", "repair"} {
			if strings.Contains(line, bad) {
				t.Errorf("after the kill the server says: %s", line)
			}
		}
	}
	r.server.Stop()
}
