package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// base is settings with no limit.
func base() Config {
	return Config{Window: 15 * time.Second, Slip: 2, Prefix4: 24, Prefix6: 56, Entries: 10_000, Log: time.Minute}
}

// all5 sets the limits of all classes.
func all5(n int) func(*Config) {
	return func(c *Config) { c.Rates = [...]int{n, n, n, n, n} }
}

// rig is a table with a clock and one who asks.
type rig struct {
	t      testing.TB
	limits *Limits
	counts *Counts
	now    time.Time
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	c := base()
	for _, f := range change {
		f(&c)
	}
	table, err := New(c, epoch, nil)
	if err != nil {
		t.Fatal(err)
	}
	counts := new(Counts)
	return &rig{t, table.Limits(counts), counts, epoch}
}

// client is one without a cookie, over UDP.
func client(addr string) *Client { return &Client{Addr: netip.MustParseAddr(addr)} }

// answer is the response to one who asks for an address.
func answer(name string) *Response { return &Response{Class: Positive, Name: name, Type: 1} }

// respond asks n times and gives how often the response passed, and the others.
func (r *rig) respond(n int, c *Client, resp *Response) (passed int, others []Decision) {
	for range n {
		if d := r.limits.Request(r.now, c); d != Pass && d != Exempt {
			r.t.Fatalf("request: %v", d)
		}
		switch d := r.limits.Response(r.now, c, resp); d {
		case Pass, Exempt:
			passed++
		default:
			others = append(others, d)
		}
	}
	return passed, others
}

func (r *rig) request(n int, c *Client) (passed int) {
	for range n {
		if r.limits.Request(r.now, c).GoesOn() {
			passed++
		}
	}
	return passed
}

func (r *rig) wait(d time.Duration) { r.now = r.now.Add(d) }

func (r *rig) want(what string, got, want int) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s: %d passed, want %d", what, got, want)
	}
}

func TestResponses(t *testing.T) {
	const a = "192.0.2.1"
	passed := func(n int, _ []Decision) int { return n }
	t.Run("R1: five in a second, the sixth is limited", func(t *testing.T) {
		r := newRig(t, all5(5))
		r.want("first", passed(r.respond(5, client(a), answer("n"))), 5)
		r.want("sixth", passed(r.respond(1, client(a), answer("n"))), 0)
	})
	t.Run("R2: credit comes back by the second, less the debt", func(t *testing.T) {
		r := newRig(t, all5(5))
		r.want("first second", passed(r.respond(8, client(a), answer("n"))), 5)
		r.wait(time.Second)
		r.want("debt of 3 and credit of 5", passed(r.respond(8, client(a), answer("n"))), 2)

		r = newRig(t, all5(5))
		r.want("flood", passed(r.respond(100, client(a), answer("n"))), 5)
		for range 14 {
			r.wait(time.Second)
			if n, _ := r.respond(0, client(a), answer("n")); n != 0 {
				t.Fatal("nothing was asked")
			}
		}
		r.want("after 14 s: 75 owed, 70 paid", passed(r.respond(1, client(a), answer("n"))), 0)
		r.wait(2 * time.Second) // the one just now is owed, too
		r.want("after 16 s", passed(r.respond(5, client(a), answer("n"))), 4)
		r.wait(16 * time.Second)
		r.want("after the window all is forgotten", passed(r.respond(10, client(a), answer("n"))), 5)
	})
	t.Run("R3: another type has its own account", func(t *testing.T) {
		r := newRig(t, all5(5))
		r.respond(10, client(a), answer("n"))
		r.want("type 28", passed(r.respond(5, client(a), &Response{Class: Positive, Name: "n", Type: 28})), 5)
		r.want("name m", passed(r.respond(5, client(a), answer("m"))), 5)
	})
	t.Run("R4: random names share the account of the zone", func(t *testing.T) {
		r := newRig(t, all5(5))
		n := 0
		for i := range 20 { // the caller gives the zone as the name
			n += passed(r.respond(1, client(a), &Response{Class: NXDomain, Name: "zone", Type: uint16(i)}))
		}
		r.want("NXDOMAIN", n, 5)
	})
	t.Run("R6: referrals share the account of the cut, whatever the type", func(t *testing.T) {
		r := newRig(t, all5(5))
		n := 0
		for i := range 20 {
			n += passed(r.respond(1, client(a), &Response{Class: Referral, Name: "cut", Type: uint16(i)}))
		}
		r.want("referral", n, 5)
		r.want("DS is an answer", passed(r.respond(5, client(a), &Response{Class: Positive, Name: "cut", Type: 43})), 5)
	})
	t.Run("R7: errors of any name share the account of the network", func(t *testing.T) {
		r := newRig(t, all5(5))
		n := 0
		for i := range 20 {
			n += passed(r.respond(1, client(a), &Response{Class: Error, Name: fmt.Sprint(i), Type: uint16(i)}))
		}
		r.want("errors", n, 5)
	})
	t.Run("NODATA: the name counts, the type does not", func(t *testing.T) {
		r := newRig(t, all5(5))
		n := 0
		for i := range 20 {
			n += passed(r.respond(1, client(a), &Response{Class: NoData, Name: "n", Type: uint16(i)}))
		}
		r.want("NODATA", n, 5)
		r.want("other name", passed(r.respond(5, client(a), &Response{Class: NoData, Name: "m"})), 5)
	})
	t.Run("R8: networks", func(t *testing.T) {
		r := newRig(t, all5(5))
		r.respond(10, client("192.0.2.1"), answer("n"))
		r.want("same /24", passed(r.respond(5, client("192.0.2.200"), answer("n"))), 0)
		r.want("same /24, mapped", passed(r.respond(5, client("::ffff:192.0.2.7"), answer("n"))), 0)
		r.want("other /24", passed(r.respond(5, client("192.0.3.1"), answer("n"))), 5)
		r.respond(10, client("2001:db8:0:ff00::1"), answer("n"))
		r.want("same /56", passed(r.respond(5, client("2001:db8:0:ffff::2"), answer("n"))), 0)
		r.want("same /56, with a zone", passed(r.respond(5, client("2001:db8:0:ffff::2%eth0"), answer("n"))), 0)
		r.want("other /56", passed(r.respond(5, client("2001:db8:1::1"), answer("n"))), 5)
	})
	t.Run("R9: a stream is never limited", func(t *testing.T) {
		r := newRig(t, all5(5))
		r.respond(10, client(a), answer("n"))
		r.want("TCP", passed(r.respond(50, &Client{Addr: netip.MustParseAddr(a), Stream: true}, answer("n"))), 50)
	})
	t.Run("R10: a valid cookie is never limited", func(t *testing.T) {
		r := newRig(t, all5(5))
		r.respond(10, client(a), answer("n"))
		c := client(a)
		c.Cookie = ValidCookie
		r.want("cookie", passed(r.respond(50, c, answer("n"))), 50)
	})
	t.Run("R11: slips", func(t *testing.T) {
		for slip, want := range map[int]string{
			0: "[drop drop drop drop drop drop]",
			1: "[truncate truncate truncate truncate truncate truncate]",
			2: "[truncate drop truncate drop truncate drop]",
			3: "[truncate drop drop truncate drop drop]",
		} {
			r := newRig(t, all5(5), func(c *Config) { c.Slip = slip })
			if _, others := r.respond(11, client(a), answer("n")); fmt.Sprint(others) != want {
				t.Errorf("slip %d: %v, want %s", slip, others, want)
			}
		}
	})
	t.Run("R13: errors leak", func(t *testing.T) {
		r := newRig(t, all5(5))
		if _, others := r.respond(9, client(a), &Response{Class: Error}); fmt.Sprint(others) != "[leak drop leak drop]" {
			t.Errorf("%v", others)
		}
	})
	t.Run("R14: who asks for a cookie gets one", func(t *testing.T) {
		r := newRig(t, all5(5))
		c := client(a)
		c.Cookie = AsksCookie
		if _, others := r.respond(9, c, answer("n")); fmt.Sprint(others) != "[badcookie drop badcookie drop]" {
			t.Errorf("%v", others)
		}
	})
	t.Run("R15: the limit of all drops even with slip 1", func(t *testing.T) {
		r := newRig(t, all5(5), func(c *Config) { c.Slip, c.All = 1, 10 })
		for i := range 5 {
			r.respond(2, client(a), answer(fmt.Sprint(i)))
		}
		if _, others := r.respond(3, client(a), answer("x")); fmt.Sprint(others) != "[drop drop drop]" {
			t.Errorf("%v", others)
		}
	})
	t.Run("R16: exempt networks", func(t *testing.T) {
		r := newRig(t, all5(5), func(c *Config) {
			c.Requests = 5
			c.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25"), netip.MustParsePrefix("2001:db8::/32")}
		})
		r.want("in it", passed(r.respond(50, client(a), answer("n"))), 50)
		r.want("in it, mapped", passed(r.respond(50, client("::ffff:192.0.2.2"), answer("n"))), 50)
		r.want("in it, with a zone", passed(r.respond(50, client("2001:db8::1%lo"), answer("n"))), 50)
		r.want("beside it", passed(r.respond(10, client("192.0.2.200"), answer("n"))), 5)
		if n := r.counts.Of(Positive, Exempt); n != 150 {
			t.Errorf("%d responses counted as exempt", n)
		}
	})
	t.Run("R17: a dry run counts, and answers", func(t *testing.T) {
		r := newRig(t, all5(5), func(c *Config) { c.DryRun = true })
		r.want("all", passed(r.respond(11, client(a), answer("n"))), 11)
		for d, want := range map[Decision]uint64{Pass: 5, Truncate: 3, Drop: 3} {
			if n := r.counts.Of(Positive, d); n != want {
				t.Errorf("%v: %d, want %d", d, n, want)
			}
		}
	})
	t.Run("R19: a clock that is set back has no effect", func(t *testing.T) {
		r := newRig(t, all5(5))
		r.wait(10 * time.Second)
		r.respond(7, client(a), answer("n"))
		r.wait(-3 * time.Second)
		r.want("set back", passed(r.respond(1, client(a), answer("n"))), 0)
		r.wait(3 * time.Second)
		r.want("the second it was", passed(r.respond(1, client(a), answer("n"))), 0)
		r.wait(time.Second)
		r.want("a second on: 4 owed and 5 paid", passed(r.respond(9, client(a), answer("n"))), 1)
	})
	t.Run("one class without a limit", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Rates[NXDomain] = 1 })
		r.want("answers", passed(r.respond(100, client(a), answer("n"))), 100)
		r.want("NXDOMAIN", passed(r.respond(100, client(a), &Response{Class: NXDomain, Name: "z"})), 1)
	})
	t.Run("no address, no limit", func(t *testing.T) {
		r := newRig(t, all5(5), func(c *Config) { c.Requests = 5 })
		r.want("all", passed(r.respond(100, &Client{}, answer("n"))), 100)
	})
}

func requests(n int, a Action) func(*Config) {
	return func(c *Config) { c.Requests, c.Action = n, a }
}

// Knot's numbers: 50 a second, and 125 at once.
func TestRequests(t *testing.T) {
	const a = "192.0.2.1"
	t.Run("R21: a burst from idle", func(t *testing.T) {
		for _, from := range []string{a, "2001:db8::1"} {
			r := newRig(t, requests(50, DropRequest))
			r.want("burst", r.request(125, client(from)), 125)
			r.want("one more", r.request(1, client(from)), 0)
			r.wait(time.Minute)
			r.want("burst after a rest", r.request(200, client(from)), 125)
		}
	})
	t.Run("R21: evenly", func(t *testing.T) {
		for rate, want := range map[int]func(int) bool{
			50: func(n int) bool { return n == 60*50 },
			60: func(n int) bool { return n > 60*50 && n < 60*52 },
		} {
			r := newRig(t, requests(50, DropRequest))
			n := 0
			for range 60 * rate {
				r.wait(time.Second / time.Duration(rate))
				n += r.request(1, client(a))
			}
			if !want(n) {
				t.Errorf("%d a second: %d passed in a minute", rate, n)
			}
		}
	})
	t.Run("R22: a network of many", func(t *testing.T) {
		r := newRig(t, requests(50, DropRequest))
		n := 0
		for i := range 60 * 50 {
			if i%50 == 0 {
				n = 0 // the last second counts
			}
			r.wait(20 * time.Millisecond)
			for host := range 40 {
				n += r.request(1, client(fmt.Sprintf("192.0.2.%d", host)))
			}
		}
		if n < 31*50 || n > 33*50 {
			t.Errorf("%d requests a second passed, want about %d", n, 32*50)
		}
	})
	t.Run("R23: what is blocked does not count", func(t *testing.T) {
		r := newRig(t, requests(50, DropRequest))
		r.request(100_000, client(a))
		r.wait(500 * time.Millisecond)
		if n := r.request(1000, client(a)); n < 20 || n > 26 {
			t.Errorf("%d passed after half a second, want about 23", n)
		}
	})
	t.Run("who is proven counts apart", func(t *testing.T) {
		r := newRig(t, requests(50, DropRequest))
		r.want("forged", r.request(1000, client(a)), 125)
		r.want("TCP", r.request(1000, &Client{Addr: netip.MustParseAddr(a), Stream: true}), 125)
		c := client(a)
		c.Cookie = ValidCookie
		r.want("valid cookie", r.request(1000, c), 0) // shares with TCP
	})
	t.Run("actions", func(t *testing.T) {
		for _, tc := range []struct {
			action Action
			slip   int
			change func(*Client)
			want   Decision
		}{
			{DropRequest, 1, func(*Client) {}, Drop},
			{DropRequest, 1, func(c *Client) { c.Stream = true }, Drop},
			{RefuseRequest, 1, func(*Client) {}, Refuse},
			{RefuseRequest, 1, func(c *Client) { c.Stream = true }, Refuse},
			{TruncateRequest, 1, func(*Client) {}, Truncate},
			{TruncateRequest, 0, func(*Client) {}, Drop},
			{TruncateRequest, 1, func(c *Client) { c.Cookie = AsksCookie }, BadCookie},
			{TruncateRequest, 1, func(c *Client) { c.Cookie = ValidCookie }, Refuse},
			{TruncateRequest, 1, func(c *Client) { c.Stream = true }, Refuse},
		} {
			r := newRig(t, requests(50, tc.action), func(c *Config) { c.Slip = tc.slip })
			c := client(a)
			tc.change(c)
			r.request(125, c)
			if d := r.limits.Request(r.now, c); d != tc.want {
				t.Errorf("action %d, slip %d, %+v: %v, want %v", tc.action, tc.slip, c, d, tc.want)
			}
		}
		r := newRig(t, requests(50, TruncateRequest))
		r.request(10125, client(a))
		if n := r.counts.Of(Requests, Truncate); n < 4700 || n > 5300 {
			t.Errorf("%d of 10000 slip, want half", n)
		}
	})
	t.Run("cookie is exempt if that is asked for", func(t *testing.T) {
		r := newRig(t, requests(50, DropRequest), func(c *Config) { c.ExemptCookie = true })
		c := client(a)
		c.Cookie = ValidCookie
		r.want("cookie", r.request(1000, c), 1000)
	})
	t.Run("high limits lose nothing to rounding", func(t *testing.T) {
		r := newRig(t, requests(MaxRate, DropRequest))
		r.want("burst", r.request(3*MaxRate, client(a)), 2.5*MaxRate)
	})
}

// While limits act upon a network, large responses are cut there, and clients that
// insist get a cookie first.
func TestActing(t *testing.T) {
	r := newRig(t, all5(5), func(c *Config) { c.Slip = 1 })
	large := func(name string) *Response {
		return &Response{Class: Positive, Name: name, Type: 16, Size: 513}
	}
	if n, _ := r.respond(5, client("192.0.2.1"), large("n")); n != 5 {
		t.Fatalf("%d passed", n)
	}
	r.respond(1, client("192.0.2.1"), large("n")) // limited
	c := client("192.0.2.9")
	if r.limits.Request(r.now, c); !c.Acting() {
		t.Fatal("limits do not act")
	}
	if d := r.limits.Response(r.now, c, large("m")); d != Truncate {
		t.Errorf("large: %v", d)
	}
	if d := r.limits.Response(r.now, c, answer("m")); d != Pass {
		t.Errorf("small: %v", d)
	}
	c.Cookie, c.Insist = AsksCookie, WhenLimited
	if d := r.limits.Request(r.now, c); d != BadCookie {
		t.Errorf("insist: %v", d)
	}
	c.Cookie = ValidCookie
	if d := r.limits.Request(r.now, c); d != Pass {
		t.Errorf("insist, valid cookie: %v", d)
	}
	c = client("192.0.3.1")
	c.Cookie, c.Insist = AsksCookie, WhenLimited
	if d := r.limits.Request(r.now, c); d != Pass || c.Acting() {
		t.Errorf("other network: %v", d)
	}
	r.wait(16 * time.Second)
	c = client("192.0.2.9")
	if r.limits.Request(r.now, c); c.Acting() {
		t.Error("limits act after the window")
	}
}

// Many names, each below its limit, have one account in common of the octets that
// the victim of a reflection would get.
func TestOctets(t *testing.T) {
	r := newRig(t, all5(5), func(c *Config) { c.Octets = 10_000 })
	asks := func() *Client {
		c := client("192.0.2.1")
		c.Size = 40
		return c
	}
	size := func(i, size int) *Response {
		return &Response{Class: Positive, Name: fmt.Sprint(i), Type: 16, Size: size}
	}
	passed := 0
	var others []Decision
	for i := range 24 { // each 500 octets more than its request, which is 16 units of 32
		n, o := r.respond(1, asks(), size(i, 540))
		passed, others = passed+n, append(others, o...)
	}
	// When limits act, they are cut as well as they are limited.
	if passed != 19 || fmt.Sprint(others) != "[truncate drop truncate drop truncate]" {
		t.Errorf("%d passed, others: %v", passed, others)
	}
	if n, _ := r.respond(5, asks(), size(30, 40)); n != 5 {
		t.Error("what is no larger than its request did not pass")
	}
	if n := r.counts.Of(Octets, Truncate) + r.counts.Of(Octets, Drop); n != 5 {
		t.Errorf("%d were counted", n)
	}
}

// Request limits that no counter could hold for the widest networks are no less than
// it can: none is limited that stays far below.
func TestGreatRate(t *testing.T) {
	r := newRig(t, requests(MaxRate, DropRequest), func(c *Config) { c.Entries = MinEntries })
	for range 20 {
		for i := range 600 { // each in a wide network of its own
			if d := r.limits.Request(r.now, client(netip.AddrFrom4([4]byte{10, byte(i >> 2), byte(i << 6), 1}).String())); d != Pass {
				t.Fatalf("network %d: %v", i, d)
			}
		}
		r.wait(200 * time.Millisecond)
	}
}

// BADCOOKIE is larger than what asks for it: who insists is limited in it, too.
func TestInsistIsLimited(t *testing.T) {
	r := newRig(t, all5(5))
	r.respond(6, client("192.0.2.1"), answer("n"))
	n := 0
	for range 1000 {
		c := client("192.0.2.1")
		c.Cookie, c.Insist = AsksCookie, WhenLimited
		if r.limits.Request(r.now, c) == BadCookie {
			n++
		}
	}
	if n < 495 || n > 510 {
		t.Errorf("%d of 1000 got BADCOOKIE, want about half", n)
	}
}

func TestEvents(t *testing.T) {
	var got []Event
	c := base()
	all5(1)(&c)
	table, err := New(c, epoch, func(e Event) { got = append(got, e) })
	if err != nil {
		t.Fatal(err)
	}
	l, now := table.Limits(new(Counts)), epoch
	ask := func(addr string) { l.Response(now, client(addr), answer("n")) }
	for range 90 { // a second each
		for range 3 {
			ask("192.0.2.1")
		}
		now = now.Add(time.Second)
	}
	if len(got) != 2 { // at 0 and after a minute
		t.Fatalf("events: %v", got)
	}
	want := Event{netip.MustParsePrefix("192.0.2.0/24"), Positive, "n", 1, Truncate}
	if got[0] != want {
		t.Errorf("event %v, want %v", got[0], want)
	}
	for range 10 {
		ask("2001:db8::1")
	}
	if o := table.Top(5); len(o) != 2 || o[0].Prefix.String() != "192.0.2.0/24" || o[0].Count < 100 || o[1].Count != 9 {
		t.Errorf("offenders: %v", o)
	}
	if o := table.Turn(1); len(o) != 1 {
		t.Errorf("turn: %v", o)
	}
	if o := table.Top(5); len(o) != 2 {
		t.Errorf("offenders after a turn: %v", o)
	}
	table.Turn(1)
	if o := table.Top(5); len(o) != 0 {
		t.Errorf("offenders after two turns: %v", o)
	}
}

// R18: a million networks do not drive out who is in debt, and do not get past
// a table that is full of debts.
func TestFullTable(t *testing.T) {
	r := newRig(t, all5(5), func(c *Config) { c.Entries = MinEntries })
	passed := func(n int, _ []Decision) int { return n }
	const victim = "192.0.2.1"
	r.respond(30, client(victim), answer("n"))
	four := func(i int) string { return fmt.Sprintf("10.%d.%d.1", i>>8&255, i&255) }
	for i := range 1_000_000 {
		c := Client{Addr: netip.AddrFrom4([4]byte{byte(20 + i>>16), byte(i >> 8), byte(i), 1})}
		r.limits.Response(r.now, &c, answer("n"))
	}
	r.want("who was in debt", passed(r.respond(1, client(victim), answer("n"))), 0)
	if n := r.counts.Evictions(); n < 900_000 {
		t.Errorf("%d evictions", n)
	}
	if n := r.limits.table.Entries(r.now); n > MinEntries+ways {
		t.Errorf("%d entries", n)
	}

	r = newRig(t, all5(5), func(c *Config) { c.Entries = MinEntries })
	for i := range 5000 {
		r.respond(30, client(four(i)), answer("n"))
	}
	n := 0
	for i := range 20_000 {
		n += passed(r.respond(1, client(four(i+10_000)), answer("n")))
	}
	// Each set lets its newcomers have as much as one account has.
	if sets := len(r.limits.table.accounts.sets); n > sets*5 {
		t.Errorf("%d of 20000 newcomers passed a full table of %d sets", n, sets)
	}
	r.want("who was in debt", passed(r.respond(1, client(four(1)), answer("n"))), 0)
}

// The counters of requests forget nobody who is blocked, and let nobody past.
func TestFullCounters(t *testing.T) {
	r := newRig(t, requests(10, DropRequest), func(c *Config) { c.Entries = MinEntries })
	const victim = "192.0.2.1"
	r.request(100, client(victim))
	n := 0
	for i := range 1_000_000 {
		n += r.request(1, &Client{Addr: netip.AddrFrom4([4]byte{byte(20 + i>>16), byte(i >> 8), byte(i), 1})})
	}
	r.want("who was blocked", r.request(1, client(victim)), 0)
	if slots := 2 * MinEntries; n > slots*25 {
		t.Errorf("%d requests passed, which is more than %d counters hold", n, slots)
	}
}

// R18: ten million networks take no memory, whatever becomes of them.
func TestMemory(t *testing.T) {
	n := 10_000_000
	if raceEnabled {
		n = 200_000
	}
	r := newRig(t, all5(5), requests(10, TruncateRequest), func(c *Config) { c.Octets, c.All, c.Entries = 1000, 50, 100_000 })
	random := rand.New(rand.NewPCG(1, 2))
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	ask := func(n int) {
		var c Client
		resp := Response{Class: Positive, Name: "n", Type: 1, Size: 600}
		for i := range n {
			if i&1023 == 0 {
				r.wait(time.Millisecond)
			}
			x := random.Uint64()
			c = Client{Addr: netip.AddrFrom4([4]byte{byte(x), byte(x >> 8), byte(x >> 16), byte(x >> 24)})}
			if x>>63 == 0 {
				c.Addr = netip.AddrFrom16([16]byte{0x20, byte(x), byte(x >> 8), byte(x >> 16), byte(x >> 24), byte(x >> 32), byte(x >> 40)})
			}
			if r.limits.Request(r.now, &c) == Pass {
				r.limits.Response(r.now, &c, &resp)
			}
		}
	}
	ask(n / 10)
	before := heap()
	ask(n)
	if after := heap(); after > before+64<<10 {
		t.Errorf("%d octets more after %d networks", after-before, n)
	}
	if e := r.limits.table.Entries(r.now); e > 100_000+ways {
		t.Errorf("%d entries", e)
	}
}

// R20: one account is charged exactly, however many ask.
func TestConcurrent(t *testing.T) {
	r := newRig(t, all5(100), requests(1000, DropRequest), func(c *Config) { c.Entries = MinEntries })
	var passed, allowed atomic.Int64
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			for i := range 500 {
				c := client("192.0.2.1")
				if r.limits.Response(r.now, c, answer("n")) == Pass {
					passed.Add(1)
				}
				if r.limits.Request(r.now, client("192.0.2.1")) == Pass {
					allowed.Add(1)
				}
				// others come and go
				o := &Client{Addr: netip.AddrFrom4([4]byte{10, byte(g), byte(rand.Uint32()), byte(i)})}
				r.limits.Request(r.now, o)
				r.limits.Response(r.now, o, answer("n"))
				r.limits.table.Top(3)
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n != 100 {
		t.Errorf("%d responses passed, want 100", n)
	}
	if n := allowed.Load(); n < 2500-64 || n > 2500+64 {
		t.Errorf("%d requests passed, want 2500 and at most one more for each goroutine", n)
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"rate":     func(c *Config) { c.Rates[NoData] = -1 },
		"high":     func(c *Config) { c.All = MaxRate + 1 },
		"requests": func(c *Config) { c.Requests = MaxRate + 1 },
		"debt":     func(c *Config) { c.Rates[0], c.Window = 10_000, time.Hour },
		"window":   func(c *Config) { c.Window = 0 },
		"second":   func(c *Config) { c.Window = 1500 * time.Millisecond },
		"slip":     func(c *Config) { c.Slip = 11 },
		"prefix4":  func(c *Config) { c.Prefix4 = 33 },
		"prefix6":  func(c *Config) { c.Prefix6 = 0 },
		"entries":  func(c *Config) { c.Entries = 1 },
		"log":      func(c *Config) { c.Log = 0 },
	} {
		c := base()
		change(&c)
		if _, err := New(c, epoch, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	c := base()
	c.Requests = MaxRate // has no window
	c.Window = time.Hour
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestWords(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Classes() {
		seen[c.String()] = true
	}
	for _, d := range Decisions() {
		seen[d.String()] = true
	}
	if len(seen) != int(accountClasses)+int(decisions) || seen["unknown"] {
		t.Errorf("words: %v", seen)
	}
}

func TestNoAllocs(t *testing.T) {
	r := newRig(t, all5(20), requests(100, TruncateRequest), func(c *Config) { c.All = 50 })
	c, resp := client("192.0.2.1"), answer("\x03www\x07example\x03org\x00")
	six := client("2001:db8::1")
	if n := testing.AllocsPerRun(5000, func() {
		r.limits.Request(r.now, c)
		r.limits.Response(r.now, c, resp)
		r.limits.Request(r.now, six)
		r.limits.Response(r.now, six, resp)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLimits(b *testing.B) {
	resp := answer("\x03www\x07example\x03org\x00")
	for _, bench := range []struct {
		name string
		rate int
		addr func(i int) netip.Addr
	}{
		{"one address", MaxRate, func(int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 1}) }},
		{"1000 networks", MaxRate, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 8 % 4), byte(i), 1}) }},
		{"IPv6", MaxRate, func(i int) netip.Addr { return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, byte(i)}) }},
		{"random", 20, func(i int) netip.Addr {
			x := uint32(i) * 2654435761
			return netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), 1})
		}},
		{"limited", 20, func(int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 1}) }},
	} {
		for _, what := range []string{"both", "request", "response"} {
			b.Run(bench.name+"/"+what, func(b *testing.B) {
				r := newRig(b, all5(bench.rate), requests(min(5*bench.rate, MaxRate), TruncateRequest), func(c *Config) { c.Entries = 100_000 })
				l, c := r.limits, new(Client)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i&31 == 0 { // a batch
						r.wait(2 * time.Millisecond)
					}
					*c = Client{Addr: bench.addr(i)}
					pass := what == "response" || l.Request(r.now, c) == Pass
					if pass && what != "request" {
						l.Response(r.now, c, resp)
					}
				}
			})
		}
	}
}
