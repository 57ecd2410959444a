package authority

import (
	"bytes"
	"fmt"
	"io"
	golog "log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// metric gives the value of the gauge or counter whose labels have these values,
// in any order, -1 if there is none.
func metric(t *testing.T, name string, values ...string) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			has := make(map[string]bool)
			for _, l := range m.GetLabel() {
				has[l.GetValue()] = true
			}
			for _, v := range values {
				if !has[v] {
					continue metrics
				}
			}
			if m.GetCounter() != nil {
				return m.GetCounter().GetValue()
			}
			return m.GetGauge().GetValue()
		}
	}
	return -1
}

func TestMetrics(t *testing.T) {
	const server = "dns://192.0.2.53:53"
	h := newTestAuthority(t, nil, "", "example.net")
	c := client{server: server}
	for _, req := range []*dns.Msg{
		query("www.example.org.", dns.TypeA),
		query("out.example.org.", dns.TypeA),
		query("www.example.org.", dns.TypeTXT),
		query("nope.example.org.", dns.TypeA),
		query("h.sub.example.org.", dns.TypeA),
		query("x.example.net.", dns.TypeCNAME),
		query("big.example.org.", dns.TypeTXT),
		query("other.com.", dns.TypeA),
		query("example.org.", dns.TypeAXFR),
	} {
		c.ask(t, h, req)
	}
	for _, want := range []struct {
		value  float64
		name   string
		labels []string
	}{
		{3, "coredns_authority_answers_total", []string{server, "example.org.", "success"}},
		{1, "coredns_authority_answers_total", []string{server, "example.org.", "nodata"}},
		{1, "coredns_authority_answers_total", []string{server, "example.org.", "nxdomain"}},
		{1, "coredns_authority_answers_total", []string{server, "example.org.", "delegation"}},
		{1, "coredns_authority_answers_total", []string{server, "example.net.", "success"}},
		{-1, "coredns_authority_answers_total", []string{server, "example.net.", "nodata"}},
		{1, "coredns_authority_truncated_total", []string{server}},
		{1, "coredns_authority_refused_total", []string{server, "not_authoritative"}},
		{1, "coredns_authority_refused_total", []string{server, "transfer"}},
	} {
		if got := metric(t, want.name, want.labels...); got != want.value {
			t.Errorf("%s%v is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
}

// TestRefusalReasons: the README lists every reason that the metric has.
func TestRefusalReasons(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []refusal{notOurs, notLoaded, tooLarge, noTransfer, noUpdate, malformed, badType, noMailType, noOpcode} {
		if n.reason == "" || !bytes.Contains(text, []byte("`"+n.reason+"`")) {
			t.Errorf("reason %q", n.reason)
		}
	}
	for k := range zone.YXDomain + 1 {
		if !bytes.Contains(text, []byte("`"+k.String()+"`")) {
			t.Errorf("kind %q", k)
		}
	}
}

// TestLog has the lines that a load writes: one for each event, the zone first.
func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	var out bytes.Buffer
	golog.SetOutput(&out)
	defer golog.SetOutput(io.Discard)
	defer golog.SetFlags(golog.Flags())
	golog.SetFlags(0)
	db := zonedb.New(time.Hour)
	spec := []zonedb.Spec{{Origin: dnsname.MustParse("example.org."), Path: path}}
	took := regexp.MustCompile(`in [0-9.]+(µs|ms|s)`)
	broken := regexp.MustCompile(`(PATH:\d+: A+): [^;\n]*`)
	age := 60
	load := func(want ...string) {
		t.Helper()
		lease, err := db.Open("", spec, zonedb.Hooks{Loaded: report})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(lease.Close)
		got := took.ReplaceAllString(strings.ReplaceAll(strings.TrimSpace(out.String()), path, "PATH"), "in TIME")
		got = broken.ReplaceAllString(got, "$1: ...")
		if text := strings.Join(want, "\n"); got != text {
			t.Errorf("got\n%s\nwant\n%s", got, text)
		}
		out.Reset()
	}
	put := func(text string) {
		t.Helper()
		writeFile(t, path, text)
		age--
		then := time.Now().Add(-time.Duration(age) * time.Minute)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	load("[ERROR] plugin/authority: example.org.: not loaded, answering SERVFAIL: PATH: file: no such file or directory")
	put(minimal(1))
	load("[INFO] plugin/authority: example.org.: loaded serial 1, 3 records in TIME")
	put(minimal(2))
	load("[INFO] plugin/authority: example.org.: loaded serial 2 after 1, 3 records in TIME")
	put(minimal(2) + "a 300 A 192.0.2.1\n")
	load("[WARNING] plugin/authority: example.org.: loaded as serial 3, 4 records in TIME: serial 2 in the file is not later than 2, which was in service")
	put(minimal(1) + "a 300 A 192.0.2.1\n")
	load("[WARNING] plugin/authority: example.org.: nothing but the serial was changed in the file, to 1, which is not later than 3: that stays in service")
	put(minimal(3) + "a 300 A\nb 300 AAAA ::g\n")
	load("[ERROR] plugin/authority: example.org.: not loaded, serial 3 stays in service: PATH:4: A: ...; PATH:5: AAAA: ...")
	put(minimal(1) + "a 300 A 192.0.2.1\n")
	load("[INFO] plugin/authority: example.org.: the file is right again, serial 3 is in service")
	put(minimal(4) + repeat(25, "m%[1]d 300 MX 10 nowhere%[1]d\n"))
	var want []string
	for i := 1; i <= 20; i++ {
		want = append(want, fmt.Sprintf("[WARNING] plugin/authority: example.org.: PATH:%d: m%d.example.org.: target does not exist: nowhere%d.example.org.", i+3, i, i))
	}
	load(append(want, "[WARNING] plugin/authority: example.org.: 5 more warnings", "[INFO] plugin/authority: example.org.: loaded serial 4 after 3, 28 records in TIME")...)
}
