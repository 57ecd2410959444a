package test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/secondary"
)

var (
	keyA = &server.Key{Name: "a.test.", Algorithm: "hmac-sha256", Secret: secretOne}
	keyB = &server.Key{Name: "b.test.", Algorithm: "hmac-sha512", Secret: secretTwo}
)

func tsigLine(k *server.Key) string {
	return fmt.Sprintf("tsig %s %s %s\n", k.Name, k.Algorithm, k.Secret)
}

// version makes a version of a master file.
func version(t *testing.T, origin, text string) *secondary.Version {
	t.Helper()
	var rrs []dns.RR
	zp := dns.NewZoneParser(strings.NewReader(text), origin, "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		rrs = append(rrs, rr)
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	v, err := secondary.NewVersion(rrs)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// gives fails the test unless an answer leads from a version (nil: none) to another.
func gives(t *testing.T, what string, from *secondary.Version, a *secondary.Answer, err error, form secondary.Form, to *secondary.Version) {
	t.Helper()
	if err != nil || a.Form != form {
		t.Errorf("%s: %+v, %v", what, a, err)
		return
	}
	got, err := from.Next(a)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	} else if d := got.Difference(to); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

// refused tells with which code a transfer was refused; 0: it was not.
func refused(t *testing.T, err error) (e secondary.RcodeError) {
	t.Helper()
	if r, ok := errors.AsType[*secondary.RcodeError](err); ok {
		return *r
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// X5, X6, G2, X13: who may transfer, and what a request must be. A line holds if all
// its conditions do, one line is enough, nobody may if there is none; keys of other
// blocks are unknown.
func TestTransferAccess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rules := []struct{ zone, lines string }{
		{"none.example", ""},
		{"key.example", "transfer key a.test\n"},
		{"net.example", "transfer net 127.0.0.2/32\n"},
		{"both.example", "transfer key A.test. net 127.0.0.2\n"},
		{"lines.example", "transfer key a.test net 127.0.0.2\ntransfer net 127.0.0.3\ntransfer key b.test\n"},
		{"many.example", "transfer key b.test a.test net 127.0.0.2 127.0.0.3/32\n"},
	}
	var zones, lines string
	for _, r := range rules {
		zones += r.zone + ":" + server.Port + " "
		lines += "authority " + r.zone + " {\nfile zone\n" + r.lines + "}\n"
	}
	write(t, filepath.Join(dir, "zone"), fmt.Sprintf(zoneText, 7, "192.0.2.1"))
	metrics := freePort(t)
	s := server.StartOurs(t, strings.Replace(block(dir, "keys {\n"+tsigLine(keyA)+tsigLine(keyB)+"}\n"+lines+fmt.Sprintf("prometheus 127.0.0.1:%d", metrics)), "example.org:"+server.Port+" ", zones, 1)+
		strings.Replace(block(dir, "keys {\ntsig elsewhere. "+secretTwo+"\n}\nauthority {\nfile zone\ntransfer key elsewhere.\n}"), "example.org", "elsewhere.example", 1), "none.example", "elsewhere.example")

	one, two, three := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
	allowed := 0
	var octets int
	for _, c := range []struct {
		zone    string
		key     *server.Key
		from    netip.Addr
		allowed bool
	}{
		{"none.example", nil, one, false},
		{"none.example", keyA, two, false},
		{"key.example", keyA, one, true},
		{"key.example", keyB, one, false},
		{"key.example", nil, two, false},
		{"net.example", nil, two, true},
		{"net.example", keyB, two, true},
		{"net.example", keyA, one, false},
		{"both.example", keyA, two, true},
		{"both.example", keyA, one, false},
		{"both.example", keyB, two, false},
		{"both.example", nil, two, false},
		{"lines.example", keyA, two, true},
		{"lines.example", keyA, one, false},
		{"lines.example", nil, three, true},
		{"lines.example", nil, two, false},
		{"lines.example", keyB, one, true},
		{"many.example", keyA, three, true},
		{"many.example", keyB, two, true},
		{"many.example", keyA, one, false},
		{"many.example", nil, three, false},
	} {
		what := fmt.Sprintf("%s, key %v, from %s", c.zone, c.key, c.from)
		client := secondary.Client{Addr: s.Addr.String(), Zone: c.zone + ".", Key: c.key, Source: c.from}
		full, err := client.AXFR()
		e := refused(t, err)
		_, err = client.IXFR(6)
		ixfr := refused(t, err)
		if c.allowed {
			if allowed += 2; e.Rcode != 0 || ixfr.Rcode != 0 {
				t.Errorf("%s: %v, %v", what, &e, &ixfr)
			} else if c.zone == "net.example" && c.key == nil {
				octets += full.Octets()
			}
			continue
		}
		for _, e := range []secondary.RcodeError{e, ixfr} {
			if e.Rcode != dns.RcodeRefused || e.EDE == nil || e.EDE.InfoCode != dns.ExtendedErrorCodeProhibited || e.Signed != (c.key != nil) {
				t.Errorf("%s: %v, signed: %t", what, &e, e.Signed)
			}
		}
	}

	// Keys that the block does not know, and secrets that are others (RFC 8945 §5.2).
	for _, c := range []struct {
		name string
		key  server.Key
		want uint16
	}{
		{"key of another block", server.Key{Name: "elsewhere.", Algorithm: "hmac-sha256", Secret: secretTwo}, dns.RcodeBadKey},
		{"unknown key", server.Key{Name: "nobody.", Algorithm: "hmac-sha256", Secret: secretOne}, dns.RcodeBadKey},
		{"another secret", server.Key{Name: "a.test.", Algorithm: "hmac-sha256", Secret: secretTwo}, dns.RcodeBadSig},
	} {
		_, err := (&secondary.Client{Addr: s.Addr.String(), Zone: "key.example.", Key: &c.key}).AXFR()
		if e := refused(t, err); e.Rcode != dns.RcodeNotAuth || e.TSIG != c.want || e.Signed {
			t.Errorf("%s: %v, TSIG error %d, signed: %t", c.name, &e, e.TSIG, e.Signed)
		}
	}

	signed := secondary.Client{Addr: s.Addr.String(), Zone: "key.example.", Key: keyA}
	for _, name := range []string{"www.key.example.", "nothing.key.example."} { // RFC 5936 §2.2.1
		below := signed
		below.Zone = name
		_, err := below.AXFR()
		if e := refused(t, err); e.Rcode != dns.RcodeNotAuth || !e.Signed {
			t.Errorf("AXFR of %s: %v", name, &e)
		}
	}
	// What is no request is a FORMERR whoever asks, if only who may (RFC 1995 §3).
	for name, spoil := range map[string]func(*dns.Msg){
		"no SOA record":          func(m *dns.Msg) { m.Ns = nil },
		"a SOA record elsewhere": func(m *dns.Msg) { m.Ns[0].Header().Name = "www.key.example." },
		"two SOA records":        func(m *dns.Msg) { m.Ns = append(m.Ns, m.Ns[0]) },
		"NS in place of SOA": func(m *dns.Msg) {
			m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: "key.example.", Rrtype: dns.TypeNS, Class: 1}, Ns: "."}}
		},
		"a SOA record as answer":  func(m *dns.Msg) { m.Answer, m.Ns = m.Ns, nil },
		"no SOA record, no EDNS":  func(m *dns.Msg) { m.Ns, m.Extra = nil, nil },
		"the root in its place":   func(m *dns.Msg) { m.Ns[0].Header().Name = "." },
		"a SOA record with a tab": func(m *dns.Msg) { m.Ns[0].Header().Name = `key\009.example.` },
	} {
		m := signed.Request(dns.TypeIXFR, 6)
		spoil(m)
		conn, err := signed.Dial()
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Send(m); err != nil {
			t.Fatal(err)
		}
		_, err = conn.Receive(m)
		// The server refuses two records in the section before it looks at keys.
		if e := refused(t, err); e.Rcode != dns.RcodeFormatError || e.Signed == (name == "two SOA records") {
			t.Errorf("IXFR with %s: %v, signed: %t", name, &e, e.Signed)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}

	awaitTotal(t, metrics, `coredns_authority_transfers_total\{.*result="ok".*\}`, allowed)
	awaitTotal(t, metrics, `coredns_authority_transfers_total\{kind="whole",result="refused",.*zone="none.example."\}`, 2)
	// Two unsigned ones, AXFR and IXFR, and two signed ones, all of the same zone.
	if octets == 0 {
		t.Error("no octets")
	}
	awaitTotal(t, metrics, `coredns_authority_transfer_bytes_total\{.*zone="net.example."\}`, 4*octets)
}

// awaitTotal waits until the samples whose name and labels match a pattern have a sum: a transfer is counted when the client
// has it.
func awaitTotal(t *testing.T, port int, pattern string, want int) {
	t.Helper()
	line := regexp.MustCompile(`(?m)^` + pattern + ` (\S+)$`)
	waitFor(t, fmt.Sprintf("%s to be %d", pattern, want), func() bool {
		sum := 0.0
		for _, m := range line.FindAllStringSubmatch(fetch(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", port)), -1) {
			f, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += f
		}
		return sum == float64(want)
	})
}

// A key that only another block has, in a line "transfer", ends the start with its place.
func TestTransferUnknownKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "zone"), fmt.Sprintf(zoneText, 7, "192.0.2.1"))
	conf := filepath.Join(dir, "Corefile")
	corefile := block(dir, "authority {\nfile zone\ntransfer key a.test\n}\nkeys {\ntsig c.test "+secretOne+"\n}") +
		strings.Replace(block(dir, "keys {\n"+tsigLine(keyA)+"}\nwhoami"), "example.org", "example.net", 1)
	write(t, conf, strings.ReplaceAll(corefile, server.Port, strconv.Itoa(freePort(t))))
	out := run(t, "", server.Binary(t), "-conf", conf)
	if !strings.Contains(out, "Corefile:4 - Error during parsing: transfer: key a.test. is not one of the plugin keys") {
		t.Errorf("%s", out)
	}
}

// A history is a zone with its versions.
type history struct {
	path, origin string
	own, stock   *secondary.Client
	versions     []*secondary.Version
}

// edit puts a version in the file and waits until it is served.
func (h *history) edit(t *testing.T, text string) {
	t.Helper()
	v := version(t, h.origin, text)
	write(t, h.path, text)
	waitFor(t, fmt.Sprintf("serial %d", v.Serial), func() bool {
		a, err := h.own.IXFR(v.Serial)
		return err == nil && a.SOA.Serial == v.Serial
	})
	h.versions = append(h.versions, v)
}

// hosts gives a zone with so many hosts, and lines.
func hosts(serial uint32, n int, lines ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "@ 3600 IN SOA ns1 hostmaster %d 7200 1800 1209600 300\n@ 3600 IN NS ns1\nns1 3600 IN A 192.0.2.53\n", serial)
	fmt.Fprintf(&b, "sub 3600 IN NS ns.sub\nns.sub 3600 IN A 192.0.2.54\nhidden.sub 60 IN TXT occluded\n")
	for i := range n {
		fmt.Fprintf(&b, "host%d 300 IN A 192.0.2.%d\n", i, i)
	}
	return b.String() + strings.Join(lines, "\n") + "\n"
}

// X1, X2, X7 to X12, X14, X15: what IXFR gets, over TCP, UDP and from the plugin transfer, across the wrap of the serial.
func TestIncremental(t *testing.T) {
	t.Parallel()
	const large = 4294967290
	dir := t.TempDir()
	h := &history{path: filepath.Join(dir, "zone"), origin: "example.org."}
	write(t, h.path, hosts(large-1, 50))
	zone := func(lines string) string {
		return "authority {\nfile zone source\nstore data\njournal 5\n" + lines + "}\n"
	}
	corefile := block(dir, zone("transfer net 127.0.0.1\n")) +
		strings.Replace(block(dir, zone("")+"transfer {\nto *\n}"), "127.0.0.1", "127.0.0.2", 1)
	s := server.StartOurs(t, corefile, "example.org")
	h.own = &secondary.Client{Addr: s.Addr.String(), Zone: "example.org."}
	h.stock = &secondary.Client{Addr: net.JoinHostPort("127.0.0.2", strconv.Itoa(int(s.Addr.Port()))), Zone: "example.org.", LaxAA: true}
	h.edit(t, hosts(large, 50))                       // 0
	h.edit(t, hosts(large+2, 50, "a 60 TXT one two")) // 1
	h.edit(t, hosts(large+3, 50, "a 61 TXT one two")) // 2: TTL
	h.edit(t, hosts(5, 49, "b 60 AAAA 2001:db8::1"))  // 3: over the wrap
	h.edit(t, hosts(6, 49, "a 60 TXT one two"))       // 4: a is as in 1
	now := h.versions[len(h.versions)-1]

	// RFC 1995 §4: the one step of the present version, record by record.
	a, err := h.own.IXFR(5)
	gives(t, "one step", h.versions[3], a, err, secondary.Incremental, now)
	if err == nil {
		got := fmt.Sprint(short(a.Steps[0].Removed), short(a.Steps[0].Added))
		if want := "[SOA 5 b.example.org. AAAA] [SOA 6 a.example.org. TXT]"; len(a.Steps) != 1 || got != want {
			t.Errorf("%d steps, the first %s, want %s", len(a.Steps), got, want)
		}
	}
	for name, client := range map[string]*secondary.Client{"own": h.own, "stock": h.stock} {
		full, err := client.AXFR()
		gives(t, name+", AXFR", nil, full, err, secondary.Whole, now)
		for i, v := range h.versions {
			a, err := client.IXFR(v.Serial)
			form := secondary.Incremental
			if v == now {
				form = secondary.UpToDate
			}
			gives(t, fmt.Sprintf("%s, from version %d", name, i), v, a, err, form, now)
		}
		// A record that came and went and came is added once, one with another TTL goes and comes.
		a, err := client.IXFR(large)
		if err != nil {
			t.Fatal(err)
		}
		var removed, added []dns.RR
		for _, step := range a.Steps {
			removed, added = append(removed, step.Removed...), append(added, step.Added...)
		}
		if got, want := fmt.Sprint(short(removed), short(added)), "[SOA 4294967290 host49.example.org. A] [SOA 6 a.example.org. TXT]"; got != want {
			t.Errorf("%s, condensed: %s, want %s", name, got, want)
		}
		a, err = client.IXFR(7)
		gives(t, name+", from a later version", now, a, err, secondary.UpToDate, now)
		a, err = client.IXFR(large + 1)
		gives(t, name+", from a version that never was", nil, a, err, secondary.Whole, now)
		a, err = client.IXFR(large - 1000)
		gives(t, name+", from before the history", nil, a, err, secondary.Whole, now)
		a, err = client.IXFR(6 + 1<<31) // neither earlier nor later (RFC 1982 §3.2)
		gives(t, name+", from half the circle away", nil, a, err, secondary.Whole, now)
	}

	h.edit(t, hosts(7, 49, "c 60 A 192.0.2.1")) // 5: the history has five changes, so the first version is out of it
	now = h.versions[len(h.versions)-1]
	a, err = h.own.IXFR(large - 1)
	gives(t, "trimmed", nil, a, err, secondary.Whole, now)
	a, err = h.own.IXFR(large)
	gives(t, "the oldest that is left", h.versions[0], a, err, secondary.Incremental, now)

	// Over UDP: the differences, or the SOA record to come again by TCP (RFC 1995 §2); never the zone.
	udp := dns.Client{Timeout: 10 * time.Second, UDPSize: 65535}
	exchange := func(m *dns.Msg) *dns.Msg {
		t.Helper()
		r, _, err := udp.Exchange(m, s.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := exchange(h.own.Request(dns.TypeIXFR, 6))
	if got, want := fmt.Sprint(short(r.Answer)), "[SOA 7 SOA 6 a.example.org. TXT SOA 7 c.example.org. A SOA 7]"; got != want || !r.Authoritative || r.Truncated {
		t.Errorf("small, over UDP: %s, want %s", got, want)
	}
	if r = exchange(h.own.Request(dns.TypeIXFR, 7)); fmt.Sprint(short(r.Answer)) != "[SOA 7]" {
		t.Errorf("up to date, over UDP: %v", r)
	}
	if r = exchange(h.own.Request(dns.TypeIXFR, 4)); fmt.Sprint(short(r.Answer)) != "[SOA 7]" || r.Truncated {
		t.Errorf("without history, over UDP: %v", r)
	}
	if r = exchange(h.own.Request(dns.TypeAXFR, 0)); r.Rcode != dns.RcodeFormatError || len(r.Answer) > 0 {
		t.Errorf("AXFR over UDP: %v", r)
	}
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("a%d 60 TXT %040d", i, i))
	}
	h.edit(t, hosts(8, 49, many...))
	if r = exchange(h.own.Request(dns.TypeIXFR, 7)); fmt.Sprint(short(r.Answer)) != "[SOA 8]" || r.Truncated {
		t.Errorf("large, over UDP: %v", r)
	}
	a, err = h.own.IXFR(7)
	gives(t, "the same over TCP", now, a, err, secondary.Incremental, h.versions[len(h.versions)-1])

	// Differences that are larger than the zone: the zone.
	h.edit(t, hosts(9, 2))
	a, err = h.own.IXFR(8)
	gives(t, "larger than the zone", nil, a, err, secondary.Whole, h.versions[len(h.versions)-1])
	if len(a.Records) != 8 {
		t.Errorf("the zone has %d records", len(a.Records))
	}
}

// short gives records as their owners and types, SOA records as their serials.
func short(rrs []dns.RR) (out []string) {
	for _, rr := range rrs {
		if soa, ok := rr.(*dns.SOA); ok {
			out = append(out, fmt.Sprintf("SOA %d", soa.Serial))
			continue
		}
		out = append(out, rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype])
	}
	return out
}

// bulk gives a zone of some 270 octets for each line.
func bulk(serial uint32, lines int) string {
	var b strings.Builder
	fmt.Fprintf(&b, zoneText, serial, "192.0.2.1")
	filler := strings.Repeat("x", 240)
	for i := range lines {
		fmt.Fprintf(&b, "bulk%d 300 TXT \"%d %s\"\n", i, serial, filler)
	}
	return b.String()
}

// X4: a transfer that is read slowly is of one version, though the zone has another before its end; transfers that begin
// then are of that.
func TestTransferOneVersion(t *testing.T) {
	t.Parallel()
	const lines = 45000 // 12 MB: more than sockets take
	dir := t.TempDir()
	h := &history{path: filepath.Join(dir, "example.org.zone"), origin: "example.org."}
	write(t, h.path, bulk(1, lines))
	s := server.StartOurs(t, block(dir, "authority {\nfile example.org.zone\ntransfer net 127.0.0.0/8\n}"), "example.org")
	h.own = &secondary.Client{Addr: s.Addr.String(), Zone: "example.org."}
	conn, err := h.own.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := h.own.Request(dns.TypeAXFR, 0)
	if err := conn.Send(m); err != nil {
		t.Fatal(err)
	}
	h.edit(t, bulk(2, lines))
	slow, err := conn.Receive(m)
	gives(t, "the transfer that began before", nil, slow, err, secondary.Whole, version(t, "example.org.", bulk(1, lines)))
	quick, err := h.own.AXFR()
	gives(t, "the transfer that began later", nil, quick, err, secondary.Whole, h.versions[0])
}

// Clients that do not read hold their place for a while only, and each a quarter of the places at most; others are served, as
// many as there are places, and queries in any case.
func TestStalledTransfers(t *testing.T) {
	t.Parallel()
	const lines, places, share, more = 45000, 64, 16, 4
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), bulk(1, lines))
	metrics := freePort(t)
	s := server.StartOurs(t, block(dir, "authority {\nfile example.org.zone\ntransfer net 127.0.0.0/8\n}\n"+fmt.Sprintf("prometheus 127.0.0.1:%d", metrics)), "example.org")
	client := &secondary.Client{Addr: s.Addr.String(), Zone: "example.org."}
	// stall begins a transfer, which it does not read.
	stall := func(host byte) *secondary.Conn {
		from := secondary.Client{Addr: client.Addr, Zone: client.Zone, Source: netip.AddrFrom4([4]byte{127, 0, 0, host})}
		conn, err := from.Dial()
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Send(client.Request(dns.TypeAXFR, 0)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	// begun reads the head of the answer.
	begun := func(conn *secondary.Conn) (rcode int) {
		var head [14]byte
		if err := conn.SetReadDeadline(time.Now().Add(secondary.Timeout)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			t.Fatal(err)
		}
		return int(head[5] & 15)
	}
	var conns, late []*secondary.Conn
	for i := range places - 1 {
		conn := stall(byte(11 + i/share))
		defer conn.Close()
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		if rcode := begun(conn); rcode != dns.RcodeSuccess {
			t.Fatalf("a transfer began with rcode %d", rcode)
		}
	}
	// There is a place, but not for one that has its share; it is told so after a while.
	for range more {
		conn := stall(11)
		defer conn.Close()
		late = append(late, conn)
	}
	if a, err := client.AXFR(); err != nil || len(a.Records) != lines+4 {
		t.Errorf("beside %d that are stalled: %v", len(conns), err)
	}
	conn := stall(10)
	defer conn.Close()
	if rcode := begun(conn); rcode != dns.RcodeSuccess {
		t.Fatalf("the last place: rcode %d", rcode)
	}
	conns = append(conns, conn)
	// There is no place left for anybody.
	for range more {
		conn := stall(9)
		defer conn.Close()
		late = append(late, conn)
	}
	if got := address(s); got != "192.0.2.1" {
		t.Errorf("a query is answered by %s", got)
	}
	if a, err := client.IXFR(1); err != nil || a.Form != secondary.UpToDate {
		t.Errorf("up to date: %v", err)
	}
	for _, conn := range late {
		if rcode := begun(conn); rcode != dns.RcodeServerFailure {
			t.Errorf("without a place: rcode %d", rcode)
		}
	}
	// Those that are stalled are cut off, and there are places again.
	waitFor(t, "stalled transfers to be cut off", func() bool { return strings.Count(s.Log(), "was cut off") == places })
	for _, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(secondary.Timeout)); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, conn)
		if nerr, ok := errors.AsType[net.Error](err); ok && nerr.Timeout() {
			t.Errorf("after %d octets the connection is still open", n)
		}
	}
	if a, err := client.AXFR(); err != nil || len(a.Records) != lines+4 {
		t.Errorf("afterwards: %v", err)
	}
	for result, want := range map[string]int{"error": places, "refused": 2 * more, "ok": 3} {
		awaitTotal(t, metrics, `coredns_authority_transfers_total\{.*result="`+result+`".*\}`, want)
	}
}

// RFC 7314: the EXPIRE of the SOA record is told to those who ask for it with SOA, AXFR or IXFR, once, in all forms of the
// answer, signed or not.
func TestExpire(t *testing.T) { bothWays(t, testExpire) }

func testExpire(t *testing.T, start starter) {
	dir := t.TempDir()
	h := &history{path: filepath.Join(dir, "zone"), origin: "example.org."}
	records := strings.TrimPrefix(bulk(1, 3000), fmt.Sprintf(zoneText, 1, "192.0.2.1"))
	zone := func(serial int) string { return fmt.Sprintf(zoneText, serial, "192.0.2.1") + records }
	write(t, h.path, zone(1))
	lines := "authority {\nfile zone\ntransfer key a.test b.test\ntransfer net 127.0.0.1\n}\nkeys {\n" + tsigLine(keyA) + "}\ntsig {\nsecret b.test. " + secretTwo + "\n}\n"
	s := start(t, block(dir, lines), "example.org")
	h.own = &secondary.Client{Addr: s.Addr.String(), Zone: "example.org."}
	h.edit(t, zone(2))

	const soaExpire = 1209600
	told := func(what string, asked bool, options []dns.EDNS0) {
		t.Helper()
		n := 0
		for _, o := range options {
			if e, ok := o.(*dns.EDNS0_EXPIRE); ok && !e.Empty && e.Expire == soaExpire {
				n++
			}
		}
		if n != len(options) || n > 1 || (n == 1) != asked {
			t.Errorf("%s: options %v, asked for EXPIRE: %t", what, options, asked)
		}
	}
	ask := func(m *dns.Msg) {
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true})
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, asked := range []bool{true, false} {
			for _, qtype := range []uint16{dns.TypeSOA, dns.TypeIXFR} {
				m := h.own.Request(qtype, 1)
				if qtype == dns.TypeSOA {
					m.Ns = nil
				}
				if asked {
					ask(m)
				}
				c := dns.Client{Net: network}
				r, _, err := c.Exchange(m, s.Addr.String())
				if err != nil || r.IsEdns0() == nil || len(r.Answer) == 0 {
					t.Fatal(r, err)
				}
				told(network+" "+dns.TypeToString[qtype], asked, r.IsEdns0().Option)
			}
		}
	}
	for _, key := range []*server.Key{nil, keyA, {Name: "b.test.", Algorithm: "hmac-sha256", Secret: secretTwo}} {
		client := &secondary.Client{Addr: s.Addr.String(), Zone: "example.org.", Key: key}
		for _, asked := range []bool{true, false} {
			for serial, form := range []secondary.Form{secondary.Whole, secondary.Incremental, secondary.UpToDate} { // 0: AXFR
				what := fmt.Sprintf("key %v, asked for EXPIRE: %t, from serial %d", key, asked, serial)
				m := client.Request(dns.TypeIXFR, uint32(serial))
				if serial == 0 {
					m = client.Request(dns.TypeAXFR, 0)
				}
				if asked {
					ask(m)
				}
				conn, err := client.Dial()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := conn.Send(m); err != nil {
					t.Fatal(err)
				}
				a, err := conn.Receive(m)
				if err != nil || a.Form != form || (form == secondary.Whole) != (len(a.Messages) > 1) {
					t.Errorf("%s: %v", what, err)
					continue
				}
				for i, message := range a.Messages {
					told(fmt.Sprintf("%s, message %d", what, i+1), asked && i == 0, message.Options)
				}
			}
		}
	}
}

// A transfer is one line in the log, also beside plugins that warn of each message that they cannot look into.
func TestTransferIsALine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), bulk(1, 3000))
	s := server.StartOurs(t, block(dir, "authority {\nfile example.org.zone\ntransfer key a.test b.test\ntransfer net 127.0.0.1\n}\nkeys {\n"+tsigLine(keyA)+"}\n"+
		"tsig {\nsecret b.test. "+secretTwo+"\n}\nloadbalance\ncache\nheader {\nresponse set aa\n}\n"), "example.org")
	before := strings.Count(s.Log(), "\n")
	for i, key := range []*server.Key{nil, keyA, {Name: "b.test.", Algorithm: "hmac-sha256", Secret: secretTwo}} {
		a, err := (&secondary.Client{Addr: s.Addr.String(), Zone: "example.org.", Key: key}).AXFR()
		gives(t, fmt.Sprintf("key %v", key), nil, a, err, secondary.Whole, version(t, "example.org.", bulk(1, 3000)))
		if err == nil && len(a.Messages) < 2 {
			t.Errorf("%d messages", len(a.Messages))
		}
		waitFor(t, "the line of the transfer", func() bool { return strings.Count(s.Log(), "sent whole") == i+1 })
	}
	if log := s.Log(); strings.Count(log, "\n") != before+3 {
		t.Errorf("the log:\n%.3000s", log)
	}
}

// X3: BIND's client verifies the signature of every message of a large transfer.
func TestTransferSigned(t *testing.T) {
	t.Parallel()
	server.Require(t, "dig", "kdig")
	const records = 100_000
	dir := t.TempDir()
	var zone strings.Builder
	fmt.Fprintf(&zone, zoneText, 1, "192.0.2.1")
	for i := range records {
		fmt.Fprintf(&zone, "host%d 300 IN A 192.0.2.%d\n", i, i%256)
	}
	write(t, filepath.Join(dir, "example.org.zone"), zone.String())
	s := server.StartOurs(t, block(dir, exampleZone[:len(exampleZone)-1]+"transfer key a.test b.test\n}\nkeys {\n"+tsigLine(keyA)+tsigLine(keyB)+"}"), "example.org")
	for _, k := range []*server.Key{keyA, keyB} {
		args := []string{"@127.0.0.1", "-p", strconv.Itoa(int(s.Addr.Port())), "-y", k.Algorithm + ":" + k.Name + ":" + k.Secret, "example.org", "AXFR"}
		out := run(t, "", "dig", args...)
		size := regexp.MustCompile(`;; XFR size: (\d+) records \(messages (\d+),`).FindStringSubmatch(out)
		if size == nil || !verified(out) {
			t.Errorf("dig:\n%.3000s", out)
			continue
		}
		signed := strings.Count(out, "ANY\tTSIG\t")
		if size[1] != strconv.Itoa(records+5) || size[2] != strconv.Itoa(signed) || signed < 50 {
			t.Errorf("dig: %s records in %s messages, %d of them signed", size[1], size[2], signed)
		}
		if out := run(t, "", "kdig", args...); strings.Count(out, "\tA\t") != records+2 || strings.Contains(out, ";; WARNING") || strings.Contains(out, ";; ERROR") {
			t.Errorf("kdig:\n%.3000s", out)
		}
		a, err := (&secondary.Client{Addr: s.Addr.String(), Zone: "example.org.", Key: k}).AXFR()
		if err != nil || len(a.Records) != records+4 || len(a.Messages) != signed {
			t.Errorf("strict client: %v", err)
		}
	}
}

// RFC 9103: transfers over TLS with the protocol "dot"; those over HTTPS and QUIC are refused (RFC 8484 and RFC 9250 have
// answers of one message).
func TestTransferTransports(t *testing.T) {
	t.Parallel()
	server.Require(t, "kdig")
	dir := t.TempDir()
	writeCertificate(t, dir)
	write(t, filepath.Join(dir, "example.org.zone"), bulk(1, 500))
	ports, keys := map[string]int{}, ""
	for _, scheme := range []string{"tls", "https", "quic"} {
		ports[scheme] = freePort(t)
		keys += fmt.Sprintf("%s://example.org:%d ", scheme, ports[scheme])
	}
	lines := "authority {\nfile example.org.zone\nstore data\ntransfer key a.test\n}\nkeys {\n" + tsigLine(keyA) + "}"
	server.StartOurs(t, block(dir, lines)+strings.Replace(block(dir, lines+"\ntls cert.pem key.pem"), "example.org:"+server.Port, keys, 1), "example.org")

	want := version(t, "example.org.", bulk(1, 500))
	c := &secondary.Client{
		Addr: fmt.Sprintf("127.0.0.1:%d", ports["tls"]), Zone: "example.org.", Key: keyA,
		TLS: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}, MinVersion: tls.VersionTLS13},
	}
	conn, err := c.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != "dot" {
		t.Errorf("protocol %q", got)
	}
	for range 2 { // on one connection
		m := c.Request(dns.TypeAXFR, 0)
		if err := conn.Send(m); err != nil {
			t.Fatal(err)
		}
		a, err := conn.Receive(m)
		gives(t, "AXFR over TLS", nil, a, err, secondary.Whole, want)
	}
	a, err := c.IXFR(1)
	gives(t, "IXFR over TLS", want, a, err, secondary.UpToDate, want)
	stranger := *c
	stranger.Key = nil
	_, err = stranger.AXFR()
	if e := refused(t, err); e.Rcode != dns.RcodeRefused {
		t.Errorf("without a key: %v", &e)
	}
	other := *c
	other.TLS = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	if conn, err := other.Dial(); err == nil {
		t.Errorf("a client that speaks %q is let in", "h2")
		_ = conn.Close()
	}
	plain := *c // as those that know nothing of it (RFC 7858)
	plain.TLS = &tls.Config{InsecureSkipVerify: true}
	a, err = plain.AXFR()
	gives(t, "without ALPN", nil, a, err, secondary.Whole, want)

	m := c.Request(dns.TypeAXFR, 0)
	m.SetTsig(keyA.Name, dns.HmacSHA256, 300, time.Now().Unix())
	packed, _, err := dns.TsigGenerate(m, keyA.Secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	web := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	resp, err := web.Post(fmt.Sprintf("https://127.0.0.1:%d/dns-query", ports["https"]), "application/dns-message", bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var r dns.Msg
	if err := r.Unpack(body); err != nil || r.Rcode != dns.RcodeRefused || ede(&r) != dns.ExtendedErrorCodeNotSupported || len(r.Answer) > 0 {
		t.Errorf("over HTTPS: %v, %v", &r, err)
	}
	out := run(t, "", "kdig", "@127.0.0.1", "-p", strconv.Itoa(ports["quic"]), "+quic", "+retry=0", "-y", "hmac-sha256:a.test:"+secretOne, "example.org", "AXFR")
	if !strings.Contains(out, "REFUSED") || strings.Contains(out, "TXT") {
		t.Errorf("over QUIC:\n%.2000s", out)
	}
}

// RFC 5936 §4.1, RFC 7766 §6.2.1.1: a connection serves many requests, one after the other and all at once.
func TestTransferConnection(t *testing.T) {
	t.Parallel()
	const zones = 10
	dir := t.TempDir()
	keys := ""
	for i := range zones {
		write(t, filepath.Join(dir, fmt.Sprintf("z%d.example.zone", i)), bulk(uint32(i+1), 100*i))
		keys += fmt.Sprintf("z%d.example:%s ", i, server.Port)
	}
	s := server.StartOurs(t, strings.Replace(block(dir, "authority {\nfile {zone}.zone\ntransfer net 127.0.0.1\n}"), "example.org:"+server.Port+" ", keys, 1), "z0.example")
	clients := make([]*secondary.Client, zones)
	for i := range clients {
		clients[i] = &secondary.Client{Addr: s.Addr.String(), Zone: fmt.Sprintf("z%d.example.", i)}
	}
	check := func(what string, i int, a *secondary.Answer, err error) {
		t.Helper()
		gives(t, fmt.Sprintf("%s, zone %d", what, i), nil, a, err, secondary.Whole, version(t, clients[i].Zone, bulk(uint32(i+1), 100*i)))
	}
	conn, err := clients[0].Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i, c := range clients {
		m := c.Request(dns.TypeAXFR, 0)
		if err := conn.Send(m); err != nil {
			t.Fatal(err)
		}
		a, err := conn.Receive(m)
		check("one after the other", i, a, err)
	}
	var all []byte
	requests := make([]*dns.Msg, zones)
	for i, c := range clients {
		requests[i] = c.Request(dns.TypeAXFR, 0)
		b, err := requests[i].Pack()
		if err != nil {
			t.Fatal(err)
		}
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(b))), b...)
	}
	if _, err := conn.Write(all); err != nil {
		t.Fatal(err)
	}
	for i, m := range requests {
		a, err := conn.Receive(m)
		check("all at once", i, a, err)
	}
}
