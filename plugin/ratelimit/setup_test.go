package ratelimit

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/prometheus/client_golang/prometheus"
)

// start gives a moment of the clock of the table.
func (b *block) start() time.Time { return time.Now() }

func describe(b *block) string {
	c := b.config
	return strings.Join(strings.Fields(fmt.Sprintf("%v %d %d %v %d %d/%d %d %d %d %v %v %v %v %v %v %v",
		c.Rates, c.Octets, c.All, c.Window, c.Slip, c.Prefix4, c.Prefix6, c.Requests, c.Action, c.Entries, c.Exempt, c.ExemptCookie, c.DryRun, c.Log,
		b.keys, b.protos, b.zones)), " ")
}

func TestParse(t *testing.T) {
	const rest = "100000 [] false false 1m0s [] [] []"
	for _, tc := range []struct{ name, corefile, want string }{
		{"public", "ratelimit", "[20 20 50 20 10] 30000 0 15s 2 24/56 500 2 " + rest},
		{"public, but", "ratelimit {\nslip 1\nwindow 10s\nprefix4 32\nprefix6 64\n}", "[20 20 50 20 10] 30000 0 10s 1 32/64 500 2 " + rest},
		{"cluster", "ratelimit cluster", "[0 0 0 0 0] 0 0 15s 2 24/56 10000 2 " + rest},
		{"cluster, but", "ratelimit cluster {\nrequests 500 refuse\nerror 5\n}", "[0 0 0 0 5] 0 0 15s 2 24/56 500 1 " + rest},
		{"classes as BIND", "ratelimit {\nresponses 5\n}", "[5 5 5 5 5] 30000 0 15s 2 24/56 500 2 " + rest},
		{"classes as BIND, but", "ratelimit {\nnxdomain 7\nresponses 5\nerror 0\nall 30\n}", "[5 5 7 5 0] 30000 30 15s 2 24/56 500 2 " + rest},
		{"none but octets", "ratelimit {\nresponses 0\nrequests 0\noctets 9000\n}", "[0 0 0 0 0] 9000 0 15s 2 24/56 0 2 " + rest},
		{"one class", "ratelimit {\nnxdomain 7\n}", "[20 20 7 20 10] 30000 0 15s 2 24/56 500 2 " + rest},
		{"requests", "ratelimit {\nrequests 50\n}", "[20 20 50 20 10] 30000 0 15s 2 24/56 50 2 " + rest},
		{"requests drop", "ratelimit {\nrequests 50 drop\n}", "[20 20 50 20 10] 30000 0 15s 2 24/56 50 0 " + rest},
		{
			"exempt", "ratelimit {\nresponses 5\nexempt net 192.0.2.1 2001:db8::/32\nexempt net 10.0.0.0/8\nexempt key A.example\nexempt cookie\nexempt proto tcp quic\ntable 5000\ndry_run\nlog 5s\n}",
			"[5 5 5 5 5] 30000 0 15s 2 24/56 500 2 5000 [192.0.2.1/32 2001:db8::/32 10.0.0.0/8] true true 5s [a.example.] [tcp quic] []",
		},
		{"zones", "ratelimit sub.example.org {\nresponses 5\n}", `[5 5 5 5 5] 30000 0 15s 2 24/56 500 2 100000 [] false false 1m0s [] [] [sub.example.org.]`},
		{"zones that cover the block", "ratelimit . {\nresponses 5\n}", "[5 5 5 5 5] 30000 0 15s 2 24/56 500 2 " + rest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := caddy.NewTestController("dns", tc.corefile)
			c.ServerBlockKeys = []string{"example.org"}
			b, err := parse(c)
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(b); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct{ name, corefile, want string }{
		{"twice", "ratelimit\nratelimit", "Testfile:2 - Error during parsing: the directive is there already, at Testfile:1"},
		{"zone", "ratelimit example.net", "no query for a name in example.net. comes here"},
		{"no zone", "ratelimit a..b", `"a..b" is not a zone`},
		{"unknown", "ratelimit {\nreply 5\n}", `Testfile:2 - Error during parsing: unknown property "reply"`},
		{"property twice", "ratelimit {\nall 5\nall 6\n}", `Testfile:3 - Error during parsing: property "all" is given twice`},
		{"no number", "ratelimit {\nresponses\n}", `responses: want one number, not ""`},
		{"word", "ratelimit {\nresponses many\n}", `responses: "many" is not a number`},
		{"negative", "ratelimit {\nresponses -1\n}", `responses: "-1" is not a number`},
		{"high", "ratelimit {\nerror 1000001\n}", "error: 1000001 is not a rate"},
		{"debt", "ratelimit {\nresponses 10000\nwindow 1h\n}", "response: the rate 10000 is too high for the window"},
		{"octets", "ratelimit {\noctets 100000000\n}", "octets: the rate 100000000 is too high for the window"},
		{"slip", "ratelimit {\nslip 11\n}", "Testfile:1 - Error during parsing: 11 is not a slip: want 0 to 10"},
		{"window", "ratelimit {\nwindow 15\n}", `window: "15" is not a duration such as 15s`},
		{"short window", "ratelimit {\nwindow 100ms\n}", "is not a window"},
		{"prefix4", "ratelimit {\nprefix4 0\n}", "not a length of an IPv4 prefix"},
		{"prefix6", "ratelimit {\nprefix6 129\n}", "not a length of an IPv6 prefix"},
		{"table", "ratelimit {\ntable 10\n}", "not a size of the table"},
		{"action", "ratelimit {\nrequests 5 ignore\n}", `requests: unknown action "ignore"`},
		{"requests", "ratelimit {\nrequests\n}", "requests: want a number"},
		{"exempt", "ratelimit {\nexempt\n}", "exempt whom?"},
		{"exempt what", "ratelimit {\nexempt host a\n}", `exempt "host": want net, key`},
		{"exempt no net", "ratelimit {\nexempt net\n}", "exempt net: wrong number of arguments"},
		{"exempt cookie", "ratelimit {\nexempt cookie x\n}", "exempt cookie: wrong number of arguments"},
		{"net", "ratelimit {\nexempt net 192.0.2\n}", `"192.0.2" is not a network`},
		{"bits", "ratelimit {\nexempt net 192.0.2.1/24\n}", "want 192.0.2.0/24"},
		{"proto", "ratelimit {\nexempt proto udp\n}", `unknown protocol "udp"`},
		{"dry_run", "ratelimit {\ndry_run yes\n}", `dry_run: unexpected "yes"`},
		{"log", "ratelimit {\nlog 1ms\n}", "1ms is not a period of the log"},
		{"brace", "ratelimit {\nall 5 {\n}\n}", "all: unexpected"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := caddy.NewTestController("dns", tc.corefile)
			c.ServerBlockKeys = []string{"example.org"}
			if _, err := parse(c); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// A table lives as long as a block with its settings does.
func TestTableOutlivesReload(t *testing.T) {
	c := unlimited
	c.Rates[0], c.Entries = 5, 12_345
	first, err := open(c)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := open(c); err != nil || again != first {
		t.Error("the same settings have another table")
	}
	c.Rates[0] = 6
	if other, err := open(c); err != nil || other == first {
		t.Error("other settings have the same table")
	}
	runtime.KeepAlive(first)
	runtime.GC()
	runtime.GC()
	for _, s := range live() {
		if s.config.Entries == c.Entries {
			t.Error("a table that nobody uses lives")
		}
	}
}

// Counts go on when those who count are gone.
func TestCountsAreNeverLost(t *testing.T) {
	r := handler(t, "ratelimit {\nresponses 5\n}", zone)
	runtime.GC() // of what other tests have left
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	counts.Lock()
	before := len(counts.all)
	counts.Unlock()
	for range 100 {
		r.newLimits()
		runtime.GC()
		<-ticker.C
	}
	counts.Lock()
	defer counts.Unlock()
	if n := len(counts.all) - before; n > 20 {
		t.Errorf("%d counts for one at a time", n)
	}
}

func TestMetrics(t *testing.T) {
	r := handler(t, "ratelimit {\nresponses 5\n}", zone)
	sum := func() (decisions float64, names int) {
		families, err := prometheus.DefaultGatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if !strings.HasPrefix(f.GetName(), "coredns_ratelimit_") {
				continue
			}
			names++
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetValue() == "truncate" {
						decisions += m.GetCounter().GetValue()
					}
				}
			}
		}
		return decisions, names
	}
	before, _ := sum()
	r.outcomes(t, t.Context(), udp("192.0.2.1"), 10, same("www.example.org."), 16)
	after, names := sum()
	if after-before != 3 || names != 3 {
		t.Errorf("%v truncated, %d metrics", after-before, names)
	}
}
