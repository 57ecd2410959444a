package test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/secondary"
)

// updatable gives the lines of a block whose zone all.test. may change.
func updatable(dir, more string) string {
	return block(dir, "keys {\n"+tsigLine(allKey)+"}\nauthority {\nfile example.org.zone\nstore data\ntransfer net 127.0.0.1\n}\nupdate {\ngrant all.test zonesub\n}\n"+more)
}

// An UPDATE over UDP of more octets than CoreDNS reads is no message any more, and does
// nothing; over TCP it is done.
func TestLargeUpdate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), updateZone)
	s := server.StartOurs(t, updatable(dir, ""), "example.org")
	var lines strings.Builder
	for i := range 30 {
		fmt.Fprintf(&lines, "add h%d 60 A 192.0.2.%d;", i, i)
	}
	m := updating(t, "example.org.", lines.String())
	b, _ := signedAt(t, m, allKey, time.Now())
	got, err := exchangeRaw("udp", s.Addr.String(), b)
	if err != nil || len(b) <= 512 || got[3]&15 != dns.RcodeFormatError || serialOf(s, "example.org.") != 10 {
		t.Errorf("over UDP: %x, %v, serial %d", got, err, serialOf(s, "example.org."))
	}
	if r := sendUpdate(t, "tcp", s.Addr.String(), m, allKey); r.Rcode != dns.RcodeSuccess || serialOf(s, "example.org.") != 11 {
		t.Errorf("over TCP: %v, serial %d", r, serialOf(s, "example.org."))
	}
	// As much as a message has room for.
	for i := range 20 {
		fmt.Fprintf(&lines, "add t%d 60 TXT %s;", i, strings.Repeat(`"`+strings.Repeat("x", 255)+`" `, 11))
	}
	m = updating(t, "example.org.", lines.String())
	if r := sendUpdate(t, "tcp", s.Addr.String(), m, allKey); m.Len() < 56000 || r.Rcode != dns.RcodeSuccess || serialOf(s, "example.org.") != 12 {
		t.Errorf("%d octets: %v, serial %d", m.Len(), r, serialOf(s, "example.org."))
	}
}

// Behind the plugins that others have in their blocks, updates are done and are seen at
// once: cache keeps nothing of them back, and log and prometheus see their codes.
func TestUpdateChain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), updateZone)
	metrics := freePort(t)
	s := server.StartOurs(t, updatable(dir, fmt.Sprintf("cache 3600\nmetadata\nlog\nerrors\nloadbalance\nminimal\nnsid here\nprometheus 127.0.0.1:%d\n", metrics)), "example.org")
	for i := range 20 {
		want := fmt.Sprintf("192.0.2.%d", i+100)
		r := sendUpdate(t, []string{"udp", "tcp"}[i%2], s.Addr.String(), updating(t, "example.org.", "delete www A; add www 3600 A "+want), allKey)
		if r.Rcode != dns.RcodeSuccess {
			t.Fatal(r)
		}
		if got := address(s); got != want {
			t.Errorf("www is %s after the update to %s", got, want)
		}
		if got := show(s, fmt.Sprintf("new%d.example.org.", i), "A"); got != "NXDOMAIN" {
			t.Errorf("a name that is not there: %s", got)
		}
		sendUpdate(t, "udp", s.Addr.String(), updating(t, "example.org.", fmt.Sprintf("add new%d 3600 A 192.0.2.1", i)), allKey)
		if got := show(s, fmt.Sprintf("new%d.example.org.", i), "A"); got != "3600:192.0.2.1" {
			t.Errorf("a name that is new: %s", got)
		}
	}
	if r := sendUpdate(t, "udp", s.Addr.String(), updating(t, "example.org.", "add @ 60 NS x"), allKey); r.Rcode != dns.RcodeRefused {
		t.Error(r)
	}
	if log := s.Log(); strings.Count(log, `"SOA IN example.org. udp `) < 31 || !strings.Contains(log, " REFUSED ") {
		t.Errorf("the log:\n%s", log)
	}
	if n := metricOf(t, metrics, "coredns_dns_responses_total", `rcode="REFUSED"`); n != 1 {
		t.Errorf("%v responses REFUSED", n)
	}
}

// Blocks that share a store, of which one alone is updated, all take the file for a
// seed: an edit of it is not read, whatever is reloaded.
func TestUpdateInOneOfTwoBlocks(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"first", "last"} {
		t.Run(order, func(t *testing.T) { updateOneOfTwoBlocks(t, order == "first") })
	}
}

func updateOneOfTwoBlocks(t *testing.T, first bool) {
	dir := t.TempDir()
	writeCertificate(t, dir)
	write(t, filepath.Join(dir, "example.org.zone"), updateZone)
	port := freePort(t)
	without := strings.Replace(block(dir, "tls cert.pem key.pem\nauthority {\nfile example.org.zone\nstore data\ntransfer net 127.0.0.1\n}"), "example.org:"+server.Port, fmt.Sprintf("tls://example.org:%d", port), 1)
	corefile := updatable(dir, "") + without
	if !first {
		corefile = without + updatable(dir, "")
	}
	s := server.StartOurs(t, corefile, "example.org")
	overTLS := func() uint32 {
		m := new(dns.Msg)
		m.SetQuestion("example.org.", dns.TypeSOA)
		c := dns.Client{Net: "tcp-tls", TLSConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}}, Timeout: 10 * time.Second}
		r, _, err := c.Exchange(m, fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil || len(r.Answer) != 1 {
			t.Fatalf("%v, %v", r, err)
		}
		return r.Answer[0].(*dns.SOA).Serial
	}
	for i := range uint32(3) {
		if r := sendUpdate(t, "udp", s.Addr.String(), updating(t, "example.org.", fmt.Sprintf("add h%d 60 A 192.0.2.9", i)), allKey); r.Rcode != dns.RcodeSuccess {
			t.Fatal(r)
		}
		if serialOf(s, "example.org.") != 11+i || overTLS() != 11+i {
			t.Errorf("serial %d, over TLS %d", serialOf(s, "example.org."), overTLS())
		}
		put(t, filepath.Join(dir, "example.org.zone"), strings.Replace(updateZone, " 10 ", fmt.Sprintf(" %d ", 1000+i), 1))
		reloadWith(t, s, reloaded)
	}
	b, _ := signedAt(t, updating(t, "example.org.", "add x 60 A 192.0.2.9"), nil, time.Now())
	got, err := exchangeRaw("tcp-tls", fmt.Sprintf("127.0.0.1:%d", port), b)
	if err != nil || got[3]&15 != dns.RcodeRefused || overTLS() != 13 {
		t.Errorf("the block without updates: %x, %v, serial %d", got, err, overTLS())
	}
}

// SIGUSR1 while clients update: each request is answered, maybe at the second try, and
// what was acknowledged is there, once.
func TestUpdateReload(t *testing.T) { bothWays(t, testUpdateReload) }

func testUpdateReload(t *testing.T, start starter) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), updateZone)
	s := start(t, updatable(dir, ""), "example.org")
	addr := s.Addr.String()
	// exchange sends the same octets until they are answered: those of UDP are lost
	// with the socket that they came to, connections are closed.
	exchange := func(network string, b []byte) (answer []byte, err error) {
		for range 20 {
			if answer, err = exchangeOnce(network, addr, b, 2*time.Second); err == nil {
				return answer, nil
			}
		}
		return nil, err
	}
	var acknowledged, retried atomic.Int64
	var mu sync.Mutex
	want := make(map[string]bool)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for client := range 8 {
		network := []string{"udp", "tcp"}[client%2]
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("c%d-%d", client, n)
				b, mac := signedAt(t, updating(t, "example.org.", "nxdomain "+name+"; add "+name+" 60 A 192.0.2.9"), allKey, time.Now())
				got, err := exchangeOnce(network, addr, b, 2*time.Second)
				if err != nil {
					retried.Add(1)
					got, err = exchange(network, b)
				}
				if err != nil {
					t.Errorf("%s over %s: %v", name, network, err)
					return
				}
				if got[3]&15 != dns.RcodeSuccess {
					t.Errorf("%s over %s: response code %d", name, network, got[3]&15)
					return
				}
				if err := dns.TsigVerify(got, allKey.Secret, mac, false); err != nil {
					t.Errorf("%s over %s: %v", name, network, err)
				}
				acknowledged.Add(1)
				mu.Lock()
				want[name+".example.org."] = true
				mu.Unlock()
			}
		})
	}
	for range 8 {
		before := acknowledged.Load()
		reloadWith(t, s, reloaded)
		waitFor(t, "more updates", func() bool { return acknowledged.Load() > before+20 })
	}
	close(stop)
	clients.Wait()
	a, err := (&secondary.Client{Addr: addr, Zone: "example.org."}).AXFR()
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range a.Records {
		delete(want, rr.Header().Name)
	}
	if len(want) > 0 {
		t.Errorf("%d of %d acknowledged updates are lost: %v", len(want), acknowledged.Load(), want)
	}
	if n := int64(serialOf(s, "example.org.")) - 10; n != acknowledged.Load() {
		t.Errorf("the serial went up by %d for %d updates", n, acknowledged.Load())
	}
	t.Logf("%d updates, %d sent again", acknowledged.Load(), retried.Load())
	if log := s.Log(); strings.Contains(log, "panic") {
		t.Errorf("the log:\n%.5000s", log)
	}
}

// exchangeOnce is exchangeRaw with a time limit.
func exchangeOnce(network, addr string, b []byte, limit time.Duration) ([]byte, error) {
	conn, err := net.Dial(network, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	c := dns.Conn{Conn: conn, UDPSize: 1232}
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	answer, err := c.ReadMsgHeader(nil)
	if err == nil && len(answer) < 12 {
		err = io.ErrUnexpectedEOF
	}
	return answer, err
}

// With -log-format json each line of the log is an object, those of updates as well.
func TestUpdateJSON(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), updateZone)
	program := filepath.Join(dir, "server")
	write(t, program, fmt.Sprintf("#!/bin/sh\nexec %s -log-format json \"$@\"\n", server.Binary(t)))
	if err := os.Chmod(program, 0o700); err != nil {
		t.Fatal(err)
	}
	s := server.StartBinary(t, program, updatable(dir, ""), "example.org")
	sendUpdate(t, "udp", s.Addr.String(), updating(t, "example.org.", `add x 60 TXT "a \"quoted\" word"`), allKey)
	sendUpdate(t, "udp", s.Addr.String(), updating(t, "example.org.", "add @ 60 NS x"), allKey)
	var audits []string
	for line := range strings.Lines(s.Log()) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			if strings.Contains(line, "audit") {
				t.Errorf("%v: %s", err, line)
			}
			continue
		}
		for _, v := range object {
			if text, ok := v.(string); ok && strings.Contains(text, "audit: ") {
				audits = append(audits, text)
			}
		}
	}
	if len(audits) != 2 || !strings.Contains(audits[0], `NOERROR by all.test. from 127.0.0.1, serial 11; add x.example.org. TXT "a \"quoted\" word"`) || !strings.Contains(audits[1], "REFUSED by all.test.") {
		t.Errorf("audits %q; the log:\n%s", audits, s.Log())
	}
}

// The disk is full: updates get SERVFAIL and do nothing, questions are answered, and
// with room again updates are taken, the very same ones too.
func TestUpdateFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		server.Lacks(t, "root, who alone can mount a file system")
	}
	server.Require(t, "unshare", "mount", "sh")
	if out := run(t, "", "unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs /mnt && echo mounted"); out != "mounted\n" {
		server.Lacks(t, "a system that lets root mount a file system: %s", out)
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "server")
	write(t, program, fmt.Sprintf("#!/bin/sh\nexec unshare -m sh -c 'mount -t tmpfs -o size=24m tmpfs %s && exec %s \"$@\"' sh \"$@\"\n", data, server.Binary(t)))
	if err := os.Chmod(program, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "example.org.zone"), updateZone)
	metrics := freePort(t)
	s := server.StartBinary(t, program, updatable(dir, fmt.Sprintf("prometheus 127.0.0.1:%d", metrics)), "example.org")
	addr := s.Addr.String()
	large := func(n int) *dns.Msg {
		var b strings.Builder
		for i := range 20 {
			fmt.Fprintf(&b, "add big%d-%d 60 TXT %s;", n, i, strings.Repeat(`"`+strings.Repeat("x", 255)+`" `, 9))
		}
		return updating(t, "example.org.", b.String())
	}
	if r := sendUpdate(t, "tcp", addr, withLease(updating(t, "example.org.", "add leased 60 A 192.0.2.9"), 3600, 0), allKey); r.Rcode != dns.RcodeSuccess {
		t.Fatal(r)
	}
	filler := filepath.Join(fmt.Sprintf("/proc/%d/root", s.PID()), data, "filler")
	fill(t, filler)
	acknowledged := 0
	var failed *dns.Msg
	for n := 0; failed == nil; n++ { // the file of the store has some room left in it
		if n == 500 {
			t.Fatal("the disk is not full")
		}
		m := large(n)
		r := sendUpdate(t, "tcp", addr, m, allKey)
		switch r.Rcode {
		case dns.RcodeSuccess:
			acknowledged++
		case dns.RcodeServerFailure:
			failed = m
			if code, text := ednsText(r); text != "the change could not be stored" {
				t.Errorf("extended error %d %q", code, text)
			}
		default:
			t.Fatal(r)
		}
	}
	t.Logf("%d updates had room", acknowledged)
	want := uint32(11 + acknowledged)
	if serialOf(s, "example.org.") != want || address(s) != "192.0.2.1" || show(s, failed.Ns[0].Header().Name, "TXT") != "NXDOMAIN" {
		t.Errorf("serial %d, want %d; www is %s; what was not done is %s", serialOf(s, "example.org."), want, address(s), show(s, failed.Ns[0].Header().Name, "TXT"))
	}
	// The same signature again: it is tried again.
	b, mac := signedAt(t, failed, allKey, time.Now())
	for _, full := range []bool{true, false} {
		if !full {
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
		}
		got, err := exchangeRaw("tcp", addr, b)
		if err != nil {
			t.Fatal(err)
		}
		if rcode := got[3] & 15; full != (rcode == dns.RcodeServerFailure) || full == (rcode == dns.RcodeSuccess) {
			t.Errorf("full %v: response code %d", full, rcode)
		}
		if err := dns.TsigVerify(got, allKey.Secret, mac, false); err != nil {
			t.Error(err)
		}
	}
	if r := sendUpdate(t, "udp", addr, updating(t, "example.org.", "delete www A; add www 60 A 192.0.2.2"), allKey); r.Rcode != dns.RcodeSuccess || address(s) != "192.0.2.2" || serialOf(s, "example.org.") != want+2 {
		t.Errorf("with room again: %v, serial %d after %d", r, serialOf(s, "example.org."), want)
	}
	if n := metricOf(t, metrics, "coredns_update_requests_total", `rcode="SERVFAIL"`); n != 2 {
		t.Errorf("%v responses SERVFAIL", n)
	}
	if log := s.Log(); !strings.Contains(log, "[ERROR] plugin/update: audit: example.org. SERVFAIL by all.test. from 127.0.0.1: ") || !strings.Contains(log, "no space left on device") {
		t.Errorf("the log:\n%.5000s", log)
	}
}

// The disk does not answer: updates wait, and nobody else does. What they change is
// not seen before it is durable.
func TestUpdateFrozenDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		server.Lacks(t, "root, who alone can mount a file system")
	}
	server.Require(t, "unshare", "mount", "sh", "mkfs.ext4", "fsfreeze")
	dir := t.TempDir()
	data, image := filepath.Join(dir, "data"), filepath.Join(dir, "image")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, image, "")
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "", "sh", "-c", "PATH=$PATH:/sbin:/usr/sbin; mkfs.ext4 -q "+image+" && unshare -m sh -c 'mount -o loop "+image+" "+data+" && echo mounted'"); !strings.HasSuffix(out, "mounted\n") {
		server.Lacks(t, "a system that lets root mount an image: %s", out)
	}
	program := filepath.Join(dir, "server")
	write(t, program, fmt.Sprintf("#!/bin/sh\nexec unshare -m sh -c 'mount -o loop %s %s && exec %s \"$@\"' sh \"$@\"\n", image, data, server.Binary(t)))
	if err := os.Chmod(program, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "example.org.zone"), updateZone)
	s := server.StartBinary(t, program, updatable(dir, ""), "example.org")

	// It goes on when the input ends, and so if this process does.
	freeze := exec.CommandContext(t.Context(), "sh", "-c", `PATH=$PATH:/sbin:/usr/sbin; fsfreeze -f "$1" && echo frozen; read line; fsfreeze -u "$1"`, "sh", filepath.Join(fmt.Sprintf("/proc/%d/root", s.PID()), data))
	freeze.Cancel = func() error { return nil } // the end of the input does it
	input, err := freeze.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := freeze.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := freeze.Start(); err != nil {
		t.Fatal(err)
	}
	thaw := sync.OnceFunc(func() {
		if err := errors.Join(input.Close(), freeze.Wait()); err != nil {
			t.Error(err)
		}
	})
	defer thaw()
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "frozen\n" {
		t.Fatalf("%q, %v", line, err)
	}

	var waiting atomic.Int64
	var clients sync.WaitGroup
	for i := range 20 {
		clients.Go(func() {
			waiting.Add(1)
			r := sendUpdate(t, []string{"udp", "tcp"}[i%2], s.Addr.String(), updating(t, "example.org.", fmt.Sprintf("add h%d 60 A 192.0.2.9", i)), allKey)
			if r.Rcode != dns.RcodeSuccess {
				t.Error(r)
			}
			waiting.Add(-1)
		})
	}
	waitFor(t, "the updates", func() bool { return waiting.Load() == 20 })
	var slowest time.Duration
	for range 1000 {
		start := time.Now()
		if got := address(s); got != "192.0.2.1" {
			t.Fatalf("www is %s", got)
		}
		slowest = max(slowest, time.Since(start))
	}
	if _, err := (&secondary.Client{Addr: s.Addr.String(), Zone: "example.org."}).AXFR(); err != nil {
		t.Error(err)
	}
	if n := serialOf(s, "example.org."); waiting.Load() != 20 || n != 10 {
		t.Errorf("%d of 20 updates wait for the disk, serial %d", waiting.Load(), n)
	}
	thaw()
	clients.Wait()
	if n := serialOf(s, "example.org."); n != 30 {
		t.Errorf("serial %d", n)
	}
	t.Logf("the slowest answer took %v", slowest)
}
