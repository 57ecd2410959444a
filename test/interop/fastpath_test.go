package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// twice is ours with the same Corefile, without and with the fast path.
type twice struct {
	chain, fast *server.Server
	metrics     [2]int // their ports
	again       int    // messages that were sent more than once
}

// startBoth starts both for zones.
func startBoth(t *testing.T, zones []server.Zone) *twice {
	t.Helper()
	return startTwice(t, server.Corefile(t, zones), origins(zones)...)
}

// startTwice starts both with a Corefile; all its server blocks that bind in a line of their own, indented by a tab, have
// the fast path.
func startTwice(t *testing.T, corefile string, zones ...string) *twice {
	t.Helper()
	w := new(twice)
	for i, s := range []**server.Server{&w.chain, &w.fast} {
		port, err := server.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		w.metrics[i] = port
		more := fmt.Sprintf("\n\tprometheus 127.0.0.1:%d", port)
		if i == 1 {
			more += "\n\tfastpath"
		}
		*s = server.StartOurs(t, strings.ReplaceAll(corefile, "\n\tbind ", more+"\n\tbind "), zones...)
	}
	if log := w.fast.Log(); !strings.Contains(log, "plugin/fastpath: dns://") || !strings.Contains(log, ": serving [") {
		t.Fatalf("the fast path does not serve:\n%s", log)
	}
	return w
}

// counters gives the counters of both that are to be the same, without the address of the server.
func (w *twice) counters(t *testing.T) (both [2]map[string]string, fastpath map[string]string) {
	t.Helper()
	fastpath = map[string]string{}
	for i, s := range []*server.Server{w.chain, w.fast} {
		both[i] = map[string]string{}
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", w.metrics[i]))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
			name = strings.Replace(name, fmt.Sprint(":", s.Addr.Port()), "", 1)
			metric, _, _ := strings.Cut(name, "{")
			switch {
			case strings.HasPrefix(metric, "coredns_fastpath_"):
				fastpath[name] = value
			case !strings.HasSuffix(metric, "_total") && !strings.HasSuffix(metric, "_count"):
			case metric == "coredns_authority_commit_seconds_count", metric == "coredns_authority_load_seconds_count": // no queries
			case strings.HasPrefix(metric, "coredns_dns_"), strings.HasPrefix(metric, "coredns_authority_"),
				strings.HasPrefix(metric, "coredns_cookie_"), strings.HasPrefix(metric, "coredns_ratelimit_decisions_"):
				both[i][name] = value
			}
		}
	}
	return both, fastpath
}

// compareCounters tells where the metrics of the same queries differ. It gives how many packets the fast path has
// answered, and how many it has handed on.
func (w *twice) compareCounters(t *testing.T) (fast, chain float64) {
	t.Helper()
	both, fastpath := w.counters(t)
	way := func(name string) (n float64) {
		for k, v := range fastpath {
			if strings.Contains(k, `way="`+name+`"`) {
				n, _ = strconv.ParseFloat(v, 64)
			}
		}
		return n
	}
	fast, chain = way("fast"), way("chain")
	if way("overflow") > 0 {
		t.Errorf("%v", fastpath)
	}
	if w.again > 0 {
		t.Errorf("%d questions were sent again, so the counters cannot be compared", w.again)
		return fast, chain
	}
	if len(both[0]) < 20 {
		t.Errorf("only %d counters", len(both[0]))
	}
	for name := range maps.Keys(both[0]) {
		if both[0][name] != both[1][name] {
			t.Errorf("%s: chain %s, fast path %q", name, both[0][name], both[1][name])
		}
	}
	for name := range both[1] {
		if _, ok := both[0][name]; !ok {
			t.Errorf("%s: only the fast path has it", name)
		}
	}
	return fast, chain
}

// once starts both and asks, again and again until no question was sent twice, but not for ever. Then it compares the
// counters.
func once(t *testing.T, start func() *twice, ask func(*twice)) (fast, chain float64) {
	t.Helper()
	const runs = 3
	for run := 1; ; run++ {
		w := start()
		ask(w)
		last := w.again == 0 || run == runs
		if last {
			fast, chain = w.compareCounters(t)
		} else {
			t.Logf("interop: %d questions were sent again, which counts them twice: once more", w.again)
		}
		w.chain.Stop()
		w.fast.Stop()
		if last {
			return fast, chain
		}
	}
}

// TestFastPath asks the plugin chain and the fast path the same: the replies decode to the same message, with the same
// TC, and those of the fast path are not larger. Then all counters are equal.
func TestFastPath(t *testing.T) {
	queries := 0
	for _, set := range zoneSets(t) {
		fast, chain := once(t, func() *twice { return startBoth(t, set.zones) }, func(w *twice) { queries += w.compareAll(t, set.zones) })
		if fast < 10*chain {
			t.Errorf("the fast path has answered %v queries, and handed on %v", fast, chain)
		}
	}
	t.Logf("interop: %d queries through the chain and the fast path", queries)
	if queries < 20_000 {
		t.Error("too few queries to show anything")
	}
}

// compareAll asks both everything about zones over UDP, and tells how many questions that is.
func (w *twice) compareAll(t *testing.T, zones []server.Zone) (queries int) {
	t.Helper()
	for _, z := range zones {
		asked := generate(readContent(t, z, w.chain))
		readContent(t, z, w.fast) // so that both have counted it
		asked = slices.DeleteFunc(asked, func(q query) bool { return q.mode.network != "udp" })
		for _, part := range slices.Collect(slices.Chunk(asked, 10_000)) {
			queries += len(part)
			w.compare(t, z.Origin, part)
		}
	}
	return queries
}

// compare asks both the same about a zone.
func (w *twice) compare(t *testing.T, origin string, queries []query) {
	t.Helper()
	msgs := make([][]byte, len(queries))
	for i, q := range queries {
		var err error
		if msgs[i], err = q.pack(); err != nil {
			t.Fatal(err)
		}
	}
	w.compareMessages(t, "zone "+origin, msgs, func(i int) string {
		return fmt.Sprintf("%s %s %+v", queries[i].name, dns.Type(queries[i].qtype), *queries[i].mode)
	})
}

// compareMessages sends both the same.
func (w *twice) compareMessages(t *testing.T, about string, msgs [][]byte, what func(i int) string) {
	t.Helper()
	var got [2][][]byte
	var again [2]int
	var errs [2]error
	var wg sync.WaitGroup
	for i, s := range []*server.Server{w.chain, w.fast} {
		mine := make([][]byte, len(msgs))
		for j, m := range msgs {
			mine[j] = slices.Clone(m)
		}
		wg.Go(func() { got[i], again[i], errs[i] = ask("udp", s.Addr, mine) })
	}
	wg.Wait()
	w.again += again[0] + again[1]
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatalf("%s: %v", about, err)
	}
	shown := 0
	for i := range msgs {
		if why := differ(got[0][i], got[1][i]); why != "" {
			if shown++; shown <= 3 {
				t.Errorf("%s: %s", what(i), why)
			}
		}
	}
	if shown > 3 {
		t.Errorf("%s: %d replies differ", about, shown)
	}
}

// differ tells how the reply of the fast path differs from that of the chain, or "". The order of records in a section
// is that of both; names that were compressed may differ in their letters.
func differ(chain, fast []byte) string {
	if (chain == nil) != (fast == nil) {
		return fmt.Sprintf("chain %x, fast path %x", chain, fast)
	}
	if chain == nil || bytes.Equal(chain[2:], fast[2:]) {
		return ""
	}
	var a, b dns.Msg
	if errA, errB := a.Unpack(chain), b.Unpack(fast); errA != nil || errB != nil {
		return fmt.Sprintf("chain %x (%v), fast path %x (%v)", chain, errA, fast, errB)
	}
	a.Id, b.Id = 0, 0
	textA, textB := strings.ToLower(a.String()), strings.ToLower(b.String())
	switch {
	case a.Truncated && b.Truncated: // the sections of a truncated reply count for nothing (RFC 2181 §9)
		a.Answer, a.Ns, b.Answer, b.Ns = nil, nil, nil, nil
		a.Extra, b.Extra = optOf(&a), optOf(&b)
		textA, textB = strings.ToLower(a.String()), strings.ToLower(b.String())
		fallthrough
	case textA != textB:
		if textA == textB {
			return ""
		}
		return fmt.Sprintf("the chain says\n%s\nthe fast path\n%s", textA, textB)
	case len(fast) > len(chain):
		return fmt.Sprintf("%d octets, %d from the chain", len(fast), len(chain))
	}
	return ""
}

func optOf(m *dns.Msg) []dns.RR {
	if opt := m.IsEdns0(); opt != nil {
		return []dns.RR{opt}
	}
	return nil
}

// TestFastPathOutside asks both about names inside and outside of the zones and server blocks, in many ways.
func TestFastPathOutside(t *testing.T) {
	file, err := filepath.Abs("../testdata/zones/example.org.zone")
	if err != nil {
		t.Fatal(err)
	}
	const authority = "\n\tauthority example.org {\n\t\tfile FILE\n\t}"
	const hosts = "\n\thosts {\n\t\t192.0.2.7 www.example.com www.sub.example.org\n\t}"
	blocks := func(blocks ...string) string {
		return strings.NewReplacer("PORT", server.Port, "FILE", strconv.Quote(file)).Replace(strings.Join(blocks, ""))
	}
	for _, c := range []struct {
		name, corefile string
		refuses        bool // the fast path answers what is outside
	}{
		{"one block", blocks("example.org:PORT {\n\tbind 127.0.0.1" + authority + "\n}\n"), true},
		{"the block of the root", blocks(".:PORT {\n\tbind 127.0.0.1" + authority + "\n}\n"), true},
		{"with another behind", blocks(".:PORT {\n\tbind 127.0.0.1" + authority + hosts + "\n}\n"), false},
		{"with cache", blocks(".:PORT {\n\tbind 127.0.0.1\n\tcache" + authority + "\n}\n"), false},
		{"with bufsize and more", blocks(".:PORT {\n\tbind 127.0.0.1\n\tbufsize 700\n\tminimal\n\tnsid here\n\tany\n\terrors" + authority + "\n}\n"), true},
		{"several blocks", blocks("example.org:PORT {\n\tbind 127.0.0.1\n\tbufsize 700"+authority+"\n}\n",
			"sub.example.org:PORT example.net:PORT {\n\t bind 127.0.0.1\n\tprometheus 127.0.0.1:0"+hosts+"\n}\n", "xexample.org:PORT {\n\t bind 127.0.0.1\n}\n"), true},
		{"blocks within each other", blocks("example.org:PORT {\n\tbind 127.0.0.1"+authority+"\n}\n",
			".:PORT {\n\tbind 127.0.0.1\n\tauthority example.net {\n\t\tfile FILE\n\t}\n}\n"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked []*dns.Msg
			var msgs [][]byte
			for i, m := range outside() {
				b, err := m.Pack()
				if err != nil {
					t.Fatalf("%d: %v", i, err)
				}
				asked, msgs = append(asked, m), append(msgs, b)
			}
			fast, chain := once(t, func() *twice { return startTwice(t, c.corefile, "example.org") }, func(w *twice) {
				w.compareMessages(t, c.name, msgs, func(i int) string { return asked[i].String() })
			})
			t.Logf("interop: %d messages, %v answered by the fast path, %v handed on", len(msgs), fast, chain)
			if (fast > 1000) != c.refuses {
				t.Errorf("of %d messages the fast path has answered %v, and handed on %v", len(msgs), fast, chain)
			}
		})
	}
}

// outside makes the messages of TestFastPathOutside; few are about names of example.org.
func outside() (msgs []*dns.Msg) {
	options := [][]dns.EDNS0{
		nil,
		{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}},
		{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}},
		{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(192, 0, 2, 0)}},
		{&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte{0, 1, 17, 0, 192, 0, 255}}}, // bits beyond the prefix
		{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte{1, 2, 3}}, &dns.EDNS0_PADDING{Padding: make([]byte, 20)}},
	}
	r := rand.New(rand.NewPCG(3, 3))
	for _, name := range []string{
		"www.example.org.", "nope.example.org.", "www.example.com.", "Example.COM.", ".", "org.", "a.b.c.d.example.net.", "xexample.org.", "www.sub.example.org.",
		strings.Repeat("a.", 120) + "example.com.", `a\.b\032\200.example.com.`,
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeANY, dns.TypeDS, dns.TypeSOA, dns.TypeHINFO, 65280, dns.TypeAXFR} {
			plain := new(dns.Msg)
			plain.SetQuestion(name, qtype)
			msgs = append(msgs, plain)
			for _, size := range []uint16{0, 512, 1000, 1232, 4096} {
				for _, o := range options {
					m := new(dns.Msg)
					m.SetQuestion(name, qtype)
					m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData, m.Zero = r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(8) == 0
					m.SetEdns0(size, r.IntN(2) == 0)
					opt := m.IsEdns0()
					opt.Option = o
					switch r.IntN(8) {
					case 0:
						opt.SetCo(true)
					case 1:
						opt.SetZ(uint16(r.IntN(0x4000)))
					}
					msgs = append(msgs, m)
				}
			}
		}
	}
	return msgs
}

// TestFastPathMalformed sends both the same packets that are no good queries, or only nearly.
func TestFastPathMalformed(t *testing.T) {
	set := zoneSets(t)[0]
	set.zones = set.zones[:min(4, len(set.zones))]
	w := startBoth(t, set.zones)
	r := rand.New(rand.NewPCG(7, 7))
	var msgs [][]byte
	for _, z := range set.zones {
		queries := generate(readContent(t, z, w.chain))
		for range 1000 {
			q := queries[r.IntN(len(queries))]
			b, err := q.pack()
			if err != nil {
				t.Fatal(err)
			}
			msgs = append(msgs, damage(r, b))
		}
	}
	replies := [2][][]byte{}
	var wg sync.WaitGroup
	for i, s := range []*server.Server{w.chain, w.fast} {
		replies[i] = make([][]byte, len(msgs))
		for k := range 64 {
			wg.Go(func() {
				for j := k; j < len(msgs); j += 64 {
					replies[i][j] = askOnce(s.Addr, msgs[j])
				}
			})
		}
	}
	wg.Wait()
	answered, shown := 0, 0
	for j, m := range msgs {
		for try := 0; try < 3 && (replies[0][j] == nil) != (replies[1][j] == nil); try++ { // one may have been late
			replies[0][j], replies[1][j] = askOnce(w.chain.Addr, m), askOnce(w.fast.Addr, m)
		}
		if replies[0][j] != nil {
			answered++
		}
		if why := differ(replies[0][j], replies[1][j]); why != "" {
			if shown++; shown <= 5 {
				t.Errorf("%x: %s", m, why)
			}
		}
	}
	t.Logf("interop: %d packets, %d replies, %d differ", len(msgs), answered, shown)
	if shown > 5 {
		t.Errorf("%d replies differ", shown)
	}
	if answered < len(msgs)/4 {
		t.Errorf("%d of %d packets were answered", answered, len(msgs))
	}
}

// damage changes a query in one of many ways.
func damage(r *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			break
		}
		switch i := r.IntN(len(b)); r.IntN(7) {
		case 0:
			b[i] ^= 1 << r.IntN(8)
		case 1:
			b[i] = byte(r.Uint32())
		case 2:
			b = b[:i]
		case 3:
			b = append(b, make([]byte, r.IntN(40))...)
		case 4:
			b = slices.Insert(b, i, byte(r.Uint32()))
		case 5:
			b = append(b, b[i:]...)
		case 6: // counts, flags and opcode
			b[min(2+r.IntN(10), len(b)-1)] ^= 1 << r.IntN(8)
		}
	}
	if len(b) > 500 { // the ordinary way reads no more than 512 octets
		b = b[:500]
	}
	// ZONEVERSION is answered by the fast path alone (RFC 9660); the chain gives FORMERR.
	return bytes.ReplaceAll(b, []byte{0, 19, 0, 0}, []byte{0, 20, 0, 0})
}

// askOnce sends a packet and gives the reply, or nil.
func askOnce(addr netip.AddrPort, msg []byte) []byte {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil
	}
	defer conn.Close()
	if _, err := conn.Write(msg); err != nil {
		return nil
	}
	if err := conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return nil
	}
	buf := make([]byte, 65535)
	n, err := conn.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}
