package test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

const keyRecord = "KEY 0 3 13 aRS/DcPWGQj2wVJydT8EcAVoC0kXn5pDVm2IMvDDPXeD32dsSKcmq8KNVzigjL4OXZTV+t/6w4X1gpNrZiC01g=="

// L1 to L9, L13, L19, L20, L22 on real sockets, with leases of seconds.
func TestUpdateLeases(t *testing.T) { bothWays(t, testUpdateLeases) }

func testUpdateLeases(t *testing.T, start starter) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "zone"), updateZone)
	metrics := freePort(t)
	host := &server.Key{Name: "h.hosts.example.org.", Algorithm: "hmac-sha256", Secret: secretTwo}
	const common = " bind 127.0.0.1\n root %s\n authority {\n  file zone\n  store data\n  transfer net 127.0.0.1\n }\n"
	s := start(t, fmt.Sprintf("example.org:%s {\n"+common+" keys {\n%s%s }\n update {\n  grant all.test zonesub\n  grant *.hosts.example.org selfsub\n  lease 3s 1s 60s\n  key_lease 9s 2s 9s\n"+
		"  lease required for *.hosts.example.org\n }\n prometheus 127.0.0.1:%d\n cache\n}\nexample.net:%s {\n"+common+" keys {\n%s }\n update {\n  grant all.test zonesub\n }\n}\n",
		server.Port, dir, tsigLine(allKey), tsigLine(host), metrics, server.Port, dir, tsigLine(allKey)), "example.org", "example.net")
	addr := s.Addr.String()
	send := func(zone, lines string, lease, key uint32) *dns.Msg {
		t.Helper()
		return sendUpdate(t, "udp", addr, withLease(updating(t, zone, lines), lease, key), allKey)
	}

	// With the terms that are the default: what is granted is in the response, in the form of the request.
	for _, c := range []struct {
		name             string
		lease, key       uint32
		granted, keyLong uint32
	}{
		{"L1", 3600, 0, 3600, 0},
		{"L2", 3600, 604800, 3600, 604800},
		{"L4", 5, 0, 30, 0},
		{"L5", 1000000, 99999999, 86400, 604800},
	} {
		name := strings.ToLower(c.name)
		r := send("example.net.", "add "+name+" 60 A 192.0.2.9; add "+name+" 60 "+keyRecord, c.lease, c.key)
		lease, key, ok := leaseOf(r)
		if r.Rcode != dns.RcodeSuccess || !ok || lease != c.granted || key != c.keyLong {
			t.Errorf("%s: %v", c.name, r)
		}
		if got := show(s, name+".example.net.", "A"); got != "60:192.0.2.9" {
			t.Errorf("%s: %s", c.name, got)
		}
	}
	if n := metricOf(t, metrics, "coredns_update_leases", `zone="example.net."`); n != 8 {
		t.Errorf("%v leases", n)
	}

	// L6: other lengths are malformed.
	for _, length := range []int{0, 3, 6, 9} {
		before := serialOf(s, "example.net.")
		m := updating(t, "example.net.", "add l6 60 A 192.0.2.9")
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0UL, Data: make([]byte, length)})
		b, _ := signedAt(t, m, allKey, time.Now())
		got, err := exchangeRaw("udp", addr, b)
		if err != nil {
			t.Fatal(err)
		}
		if rcode := got[3] & 15; rcode != dns.RcodeFormatError || serialOf(s, "example.net.") != before {
			t.Errorf("L6, %d octets: response code %d, serial %d", length, rcode, serialOf(s, "example.net."))
		}
	}
	// L7, L8: no option where nothing was granted or asked for.
	if r := send("example.net.", "nxdomain www; add l7 60 A 192.0.2.9", 3600, 0); r.Rcode != dns.RcodeYXDomain {
		t.Errorf("L7: %v", r)
	} else if _, _, ok := leaseOf(r); ok {
		t.Errorf("L7: a lease in %v", r)
	}
	r := send("example.org.", "add stays 60 A 192.0.2.9", 0, 0)
	if _, _, ok := leaseOf(r); ok || r.Rcode != dns.RcodeSuccess {
		t.Errorf("L8: %v", r)
	}
	for _, c := range []struct {
		lines string
		lease uint32
		rcode int
	}{
		{"add h.hosts 60 A 192.0.2.9", 0, dns.RcodeRefused},
		{"add h.hosts 60 A 192.0.2.9", 5, dns.RcodeSuccess},
		{"delete h.hosts A", 0, dns.RcodeSuccess},
	} {
		r := sendUpdate(t, "udp", addr, withLease(updating(t, "example.org.", c.lines), c.lease, 0), host)
		if _, text := ednsText(r); r.Rcode != c.rcode || strings.Contains(text, "must ask for a lease") != (r.Rcode == dns.RcodeRefused) {
			t.Errorf("L8, required, %q: %v", c.lines, r)
		}
	}
	if n := metricOf(t, metrics, "coredns_update_denied_total", `reason="lease"`); n != 1 {
		t.Errorf("L8: %v are denied", n)
	}

	// L9: who comes again in time changes nothing.
	for range 3 {
		before := serialOf(s, "example.net.")
		r := send("example.net.", "add l1 60 A 192.0.2.9; add l1 60 "+keyRecord, 3600, 0)
		if lease, _, ok := leaseOf(r); !ok || lease != 3600 || serialOf(s, "example.net.") != before {
			t.Errorf("L9: serial %d after %d, %v", serialOf(s, "example.net."), before, r)
		}
	}

	// L2, L3, L13, L19: what has ended is gone, a name that has nothing else with it;
	// until then the TTL is as it was. Who comes again in time keeps it (L9).
	made, began := serialOf(s, "example.org."), time.Now()
	r = send("example.org.", "add a 60 A 192.0.2.9; add a 60 "+keyRecord+"; add a.b 60 A 192.0.2.9; add again 60 A 192.0.2.9", 2, 6)
	if lease, key, _ := leaseOf(r); lease != 2 || key != 6 {
		t.Errorf("L2: %v", r)
	}
	r = send("example.org.", "add k 60 A 192.0.2.9; add k 60 "+keyRecord, 2, 0)
	if lease, key, _ := leaseOf(r); lease != 2 || key != 0 {
		t.Errorf("L3: %v", r)
	}
	send("example.org.", "add again 60 A 192.0.2.9", 50, 0)
	var ended time.Time
	waitFor(t, "the end of the leases", func() bool {
		if got := show(s, "again.example.org.", "A"); got != "60:192.0.2.9" {
			t.Errorf("L9, L19: %s", got)
		}
		if ended.IsZero() && show(s, "a.b.example.org.", "A") == "NXDOMAIN" {
			ended = time.Now()
		}
		return !ended.IsZero() && show(s, "k.example.org.", "KEY") == "NXDOMAIN" && show(s, "a.example.org.", "A") != "60:192.0.2.9"
	})
	if took := ended.Sub(began); took < 2*time.Second {
		t.Errorf("a lease of 2 s took %v", took)
	}
	if got := show(s, "b.example.org.", "A"); got != "NXDOMAIN" { // it was an empty non-terminal
		t.Errorf("L13: the name above is %s", got)
	}
	if show(s, "a.example.org.", "KEY") == "NXDOMAIN" && time.Since(began) < 6*time.Second {
		t.Error("L2: the key went with the address")
	}
	send("example.org.", "add again 60 A 192.0.2.9", 1, 0) // the last request decides
	waitFor(t, "the end of the key and of the last", func() bool {
		return show(s, "a.example.org.", "KEY") == "NXDOMAIN" && show(s, "again.example.org.", "A") == "NXDOMAIN"
	})
	if now := serialOf(s, "example.org."); now < made+2+2 || now > made+2+4 {
		t.Errorf("serial %d after %d", now, made)
	}
	if got := show(s, "stays.example.org.", "A"); got != "60:192.0.2.9" {
		t.Errorf("what has no lease: %s", got)
	}
	if n := metricOf(t, metrics, "coredns_update_lease_expired_total", `zone="example.org."`); n != 6 {
		t.Errorf("%v have ended", n)
	}

	// L20: many records over TCP, one response; and all have ended together.
	var many strings.Builder
	for i := range 200 {
		fmt.Fprintf(&many, "add many%d 60 A 192.0.2.%d;", i, i)
	}
	before := serialOf(s, "example.org.")
	for range 2 { // the second is a renewal
		r = sendUpdate(t, "tcp", addr, withLease(updating(t, "example.org.", many.String()), 3, 0), allKey)
		if lease, _, ok := leaseOf(r); r.Rcode != dns.RcodeSuccess || !ok || lease != 3 || serialOf(s, "example.org.") != before+1 {
			t.Errorf("L20: serial %d after %d, %v", serialOf(s, "example.org."), before, r)
		}
	}
	waitFor(t, "the end of many", func() bool { return serialOf(s, "example.org.") == before+2 })
	if got := show(s, "many7.example.org.", "A"); got != "NXDOMAIN" {
		t.Errorf("L20: %s", got)
	}

	// L22: a lease is nothing to a query.
	q := new(dns.Msg)
	q.SetQuestion("www.example.org.", dns.TypeA)
	q.SetEdns0(1232, false)
	answer, _, err := new(dns.Client).Exchange(withLease(q, 3600, 0), addr)
	if err != nil || len(answer.Answer) != 1 {
		t.Errorf("L22: %v, %v", answer, err)
	} else if _, _, ok := leaseOf(answer); ok {
		t.Errorf("L22: %v", answer)
	}
}

// L15: leases go on over a kill, and those that end meanwhile have ended before the
// first answer.
func TestLeasesOverAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), updateZone)
	s := server.StartOurs(t, block(dir, "keys {\n"+tsigLine(allKey)+"}\nauthority {\nfile example.org.zone\nstore data\n}\nupdate {\ngrant all.test zonesub\nlease 3s 1s 1h\n}"), "example.org")
	add := func(name string, lease uint32) {
		t.Helper()
		if r := sendUpdate(t, "udp", s.Addr.String(), withLease(updating(t, "example.org.", "add "+name+" 60 A 192.0.2.9"), lease, 0), allKey); r.Rcode != dns.RcodeSuccess {
			t.Fatal(r)
		}
	}
	add("long", 3600)
	add("middle", 8)
	add("short", 1)
	began := time.Now()
	s.Kill()
	down := time.NewTimer(2500 * time.Millisecond)
	defer down.Stop()
	<-down.C
	s.Restart(t)
	if got := []string{show(s, "short.example.org.", "A"), show(s, "middle.example.org.", "A"), show(s, "long.example.org.", "A")}; !slices.Equal(got, []string{"NXDOMAIN", "60:192.0.2.9", "60:192.0.2.9"}) || serialOf(s, "example.org.") != 14 {
		t.Errorf("after the start: %q, serial %d", got, serialOf(s, "example.org."))
	}
	waitFor(t, "the end", func() bool { return show(s, "middle.example.org.", "A") == "NXDOMAIN" })
	if took := time.Since(began); took < 7*time.Second || took > 12*time.Second {
		t.Errorf("a lease of 8 s took %v", took)
	}
	if got := show(s, "long.example.org.", "A"); got != "60:192.0.2.9" {
		t.Errorf("a long lease: %s", got)
	}
}
