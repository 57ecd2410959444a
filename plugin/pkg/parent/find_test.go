package parent

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// TestFind: the parent zone is two labels up, and its servers are found (K2).
func TestFind(t *testing.T) {
	ds1, _ := theDS(t)
	text := ". 60 SOA . . 1 2 3 4 5\n" + parentText
	has := append(records(t, ds1Text), records(t, parentText)...).serves()
	none := records(t, parentText).serves()
	change := func(old, new string) string { return strings.ReplaceAll(text, old, new) }
	var names, addrs strings.Builder
	for i := range MaxNames + 1 {
		fmt.Fprintf(&names, "example. 60 NS ns%d.example.\nns%d.example. 60 A 192.0.2.1\n", i, i)
	}
	for i := range MaxServers + 1 {
		fmt.Fprintf(&addrs, "ns2.example. 60 A 198.51.100.%d\n", i)
	}
	for _, tc := range []struct {
		name     string
		resolver host // of 192.0.2.53
		servers  internet
		all      bool
		err      string // of Ask, or of its result
	}{
		{"all have it", records(t, text).resolves(), internet{"192.0.2.1:53": has, "[2001:db8::1]:53": has, "192.0.2.2:53": has}, true, ""},
		{"no IPv6 here", records(t, text).resolves(), internet{"192.0.2.1:53": has, "192.0.2.2:53": has}, true, ""},
		{"no IPv4 here, and one server without IPv6", records(t, text).resolves(), internet{"[2001:db8::1]:53": has}, false, "ns2.example. (192.0.2.2:53): no answer: connect: network is unreachable"},
		{"no answer by IPv6", records(t, text).resolves(), internet{"192.0.2.1:53": has, "[2001:db8::1]:53": silent, "192.0.2.2:53": has}, true, ""},
		{"disagreement of the addresses of a name", records(t, text).resolves(), internet{"192.0.2.1:53": has, "[2001:db8::1]:53": none, "192.0.2.2:53": has}, false, ""},
		{
			"lame by IPv6", records(t, text).resolves(),
			internet{"192.0.2.1:53": has, "[2001:db8::1]:53": records(t, childText).serves(), "192.0.2.2:53": has},
			false, `ns1.example. ([2001:db8::1]:53): answers for "A.b.example." itself`,
		},
		{"none has it", records(t, text).resolves(), internet{"192.0.2.1:53": none, "192.0.2.2:53": none}, false, ""},
		{"answers from another zone", records(t, text).resolves(), internet{"192.0.2.1:53": has, "192.0.2.2:53": records(t, ". 60 SOA . . 1 2 3 4 5\na.b.example. 60 A 192.0.2.1").serves()}, false, `answers for "." and not for the parent zone "example."`},
		{"letters of any case", records(t, change("example.", "ExAmple.")).resolves(), internet{"192.0.2.1:53": has, "192.0.2.2:53": has}, true, ""},
		{"empty non-terminal denied", records(t, strings.ReplaceAll(text, "a.b.example.", "c.example.")).resolves(), internet{"192.0.2.1:53": has, "192.0.2.2:53": has}, true, ""},
		{"two names of one address", records(t, change("192.0.2.2", "192.0.2.1")).resolves(), internet{"192.0.2.1:53": has}, true, ""},
		{"an NS record twice", records(t, text+"example. 3600 NS NS1.example.\n").resolves(), internet{"192.0.2.1:53": has, "192.0.2.2:53": has}, true, ""},
		{"name without address", records(t, change("ns2.example. 3600 A", "ns3.example. 3600 A")).resolves(), internet{"192.0.2.1:53": has}, false, "ns2.example.: has no address"},
		{"address of nobody", records(t, change("192.0.2.2", "0.0.0.0")).resolves(), internet{"192.0.2.1:53": has}, false, "ns2.example.: has no address"},
		{"server that is an alias", records(t, change("ns2.example. 3600 A 192.0.2.2", "ns2.example. 3600 CNAME ns1.example.")).resolves(), internet{"192.0.2.1:53": has}, false, `ns2.example.: resolver 192.0.2.53:53, asked for AAAA of "ns2.example.": answers with a CNAME record of "ns2.example."`},
		{"name above that is an alias", records(t, text+"b.example. 60 CNAME x.example.\n").resolves(), nil, false, `servers of the parent zone of "A.b.example.": resolver 192.0.2.53:53, asked for SOA of "b.example.": answers with a CNAME record`},
		{"denied and answered", replies(func(m *dns.Msg) { records(t, text).answer(m, false); m.Rcode = dns.RcodeNameError; m.Answer = m.Ns }), nil, false, "denied and answered at once"},
		{"many names", records(t, names.String()+"example. 60 SOA . . 1 2 3 4 5").resolves(), nil, false, `too many servers: "example." has 33`},
		{"many addresses", records(t, text+addrs.String()).resolves(), nil, false, "too many servers: 68 addresses"},
		{"no NS", records(t, "example. 60 SOA . . 1 2 3 4 5\na.b.example. 60 A 192.0.2.1").resolves(), nil, false, `"example." has no NS record`},
		{"no zone", replies(func(m *dns.Msg) { m.RecursionAvailable = true }), nil, false, "the resolvers know no zone above it"},
		{"no resolver", records(t, ". 60 SOA . . 1 2 3 4 5\nexample. 60 NS ns1.example.").serves(), nil, false, "does not resolve names"},
		{"resolver fails", replies(func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }), nil, false, "asked for SOA of \"b.example.\": answers SERVFAIL"},
		{"resolver is silent", silent, nil, false, "no answer within 5s"},
		{"resolver answers something else", replies(func(m *dns.Msg) { m.Id++ }), nil, false, "answer to something else"},
		{"resolver denies it knows not what", replies(func(m *dns.Msg) { m.Question, m.Rcode = nil, dns.RcodeNameError }), nil, false, "answer to something else"},
		{"resolver out of reach", nil, nil, false, "no answer: connect: network is unreachable"},
		{"SOA of the name itself in a denial", replies(func(m *dns.Msg) {
			m.RecursionAvailable, m.Ns = true, records(t, "b.example. 60 SOA . . 1 2 3 4 5")
		}), nil, false, `answers for "b.example.", which cannot say`},
		{"SOA of a zone elsewhere", replies(func(m *dns.Msg) { m.RecursionAvailable, m.Ns = true, records(t, "example.net. 60 SOA . . 1 2 3 4 5") }), nil, false, `answers for "example.net."`},
		{"two SOA records", replies(func(m *dns.Msg) {
			m.RecursionAvailable, m.Ns = true, records(t, "example. 60 SOA . . 1 2 3 4 5\n. 60 SOA . . 1 2 3 4 5")
		}), nil, false, "two SOA records"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := internet{"192.0.2.53:53": tc.resolver}
				for a, h := range tc.servers {
					n[a] = h
				}
				r, err := n.client().Ask(t.Context(), dnsname.MustParse("A.b.example."), nil)
				if err == nil {
					if err = r.Err(); !r.Parent.Equal(dnsname.MustParse("example.")) {
						t.Errorf("parent %q", r.Parent)
					}
				}
				if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
					t.Errorf("error %v, want %q", err, tc.err)
				}
				if r.All(ds1) != tc.all {
					t.Errorf("all have it: %v; %+v", r.All(ds1), r.Servers)
				}
			})
		})
	}
}

// TestFindOnce: a server stands in the result for each name and address, and is asked
// once.
func TestFindOnce(t *testing.T) {
	text := strings.ReplaceAll(parentText, "192.0.2.2", "192.0.2.1") + "example. 3600 NS NS1.example.\n" +
		"example. 3600 NS ns3.example.\nns3.example. 60 A 192.0.2.4\nns3.example. 60 A 192.0.2.3\nns3.example. 60 A 192.0.2.4\n"
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		has := records(t, ds1Text+parentText).serves()
		n := internet{"192.0.2.53:53": records(t, text).resolves(), "192.0.2.1:53": func(q []byte) []byte { asked.Add(1); return has(q) }}
		r, err := n.client().Ask(t.Context(), zone, nil)
		var got []string
		for i := range r.Servers {
			got = append(got, r.Servers[i].String())
		}
		if want := "ns1.example. (192.0.2.1:53), ns1.example. ([2001:db8::1]:53), ns2.example. (192.0.2.1:53), ns3.example. (192.0.2.3:53), ns3.example. (192.0.2.4:53)"; err != nil || strings.Join(got, ", ") != want || asked.Load() != 1 {
			t.Errorf("%q asked %d times, %v; want %s", got, asked.Load(), err, want)
		}
	})
}

// TestFindEnds: resolvers that do not answer are not waited for beyond the bound of
// the whole.
func TestFindEnds(t *testing.T) {
	var text strings.Builder
	text.WriteString("example. 60 SOA . . 1 2 3 4 5\n")
	for i := range MaxNames {
		fmt.Fprintf(&text, "example. 60 NS ns%d.example.\nns%d.example. 60 A 192.0.2.1\n", i, i)
	}
	synctest.Test(t, func(t *testing.T) {
		c := internet{"192.0.2.51:53": silent, "192.0.2.52:53": silent, "192.0.2.53:53": records(t, text.String()).resolves()}.client()
		c.resolvers = func() ([]netip.AddrPort, error) {
			return addresses("192.0.2.51:53", "192.0.2.52:53", "192.0.2.53:53"), nil
		}
		start := time.Now()
		r, err := c.Ask(t.Context(), zone, nil)
		if took := time.Since(start); took != MaxAsk || err != nil || r.Err() == nil || !strings.Contains(r.Err().Error(), "not asked within 1m0s") {
			t.Errorf("took %v: %v, %v", took, err, r.Err())
		}
	})
}

// TestLearnTTL: how long what a resolver says may be kept.
func TestLearnTTL(t *testing.T) {
	const soa = " SOA . . 1 2 3 4 300"
	for _, tc := range []struct {
		name, answer, authority string
		want                    time.Duration
	}{
		{"the shortest", "example. 200 NS a.\nexample. 100 NS b.\nexample. 150 NS c.", "", 100 * time.Second},
		{"MINIMUM of a denial", "", "example. 3600" + soa, 300 * time.Second},
		{"TTL of a denial", "", "example. 60" + soa, 60 * time.Second},
		{"denial by nobody", "", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := question{name: dnsname.MustParse("example."), typ: typeNS, recurse: true}
			m, err := q.parse(replies(func(m *dns.Msg) {
				m.RecursionAvailable, m.Answer, m.Ns = true, records(t, tc.answer), records(t, tc.authority)
			})(q.pack(7)), 7)
			if err != nil {
				t.Fatal(err)
			}
			if f, err := learn(&m, q.name, q.typ); err != nil || f.ttl != tc.want {
				t.Errorf("%v, %v, want %v", f.ttl, err, tc.want)
			}
		})
	}
}

// TestFindAbove: zones below the root and below zones of few labels.
func TestFindAbove(t *testing.T) {
	resolver := records(t, ". 60 SOA . . 1 2 3 4 5\n. 60 NS ns1.example.\n"+parentText+childText).resolves()
	for zone, parent := range map[string]string{"example.": ".", "net.": ".", "x.example.": "example.", "a.b.example.": "example.", "x.a.b.example.": "a.b.example.", "p.q.r.s.": "."} {
		synctest.Test(t, func(t *testing.T) {
			r, err := internet{"192.0.2.53:53": resolver}.client().Ask(t.Context(), dnsname.MustParse(zone), nil)
			if err != nil || r.Parent != dnsname.MustParse(parent) {
				t.Errorf("%s: parent %q, %v; want %q", zone, r.Parent, err, parent)
			}
		})
	}
}

// TestFindWithoutSOA: some forwarders take the authority section away.
func TestFindWithoutSOA(t *testing.T) {
	d := append(records(t, ds1Text), records(t, parentText)...)
	ds1, _ := theDS(t)
	synctest.Test(t, func(t *testing.T) {
		strips := replies(func(m *dns.Msg) { d.answer(m, false); m.Ns = nil })
		r, err := internet{"192.0.2.53:53": strips, "192.0.2.1:53": d.serves(), "192.0.2.2:53": d.serves()}.client().Ask(t.Context(), zone, nil)
		if err != nil || !r.All(ds1) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestFindKeeps: what was found is not looked for until its TTL has run out.
func TestFindKeeps(t *testing.T) {
	for _, old := range []string{"ns2.example. 3600 A", "example. 3600 NS"} {
		t.Run(old, func(t *testing.T) {
			findKeeps(t, strings.ReplaceAll(parentText, old, strings.Replace(old, "3600", "100", 1)))
		})
	}
}

// findKeeps is TestFindKeeps with a TTL of 100 in the text.
func findKeeps(t *testing.T, shortText string) {
	ds1, _ := theDS(t)
	synctest.Test(t, func(t *testing.T) {
		d := append(records(t, ds1Text), records(t, parentText)...)
		short := append(records(t, ds1Text), records(t, shortText)...)
		var asked atomic.Int32
		resolver := share(short)
		n := internet{"192.0.2.1:53": d.serves(), "192.0.2.2:53": d.serves()}
		n["192.0.2.53:53"] = replies(func(m *dns.Msg) { asked.Add(1); resolver.get().answer(m, false) })
		c := n.client()
		ask := func(wantAsked bool, wantServers int) {
			t.Helper()
			asked.Store(0)
			r, err := c.Ask(t.Context(), zone, nil)
			if err != nil || !r.All(ds1) || len(r.Servers) != wantServers || asked.Load() > 0 != wantAsked {
				t.Errorf("resolver asked %d times: %+v, %v", asked.Load(), r, err)
			}
		}
		ask(true, 3)
		resolver.set(without(d, "ns2.example.", dns.TypeNS))
		time.Sleep(99 * time.Second)
		ask(false, 3)
		time.Sleep(time.Second)
		ask(true, 2)
		// The denial of b.example. and of the AAAA records is good for the MINIMUM of the SOA record.
		resolver.set(d)
		time.Sleep(299 * time.Second)
		ask(false, 2)
		time.Sleep(time.Second)
		ask(true, 3)
		ask(false, 3)
	})
}

// without gives the data without the record of a type that names a target.
func without(d data, target string, typ uint16) (rest data) {
	for _, rr := range d {
		if rr.Header().Rrtype != typ || !strings.HasSuffix(rr.String(), target) {
			rest = append(rest, rr)
		}
	}
	return rest
}

// TestFindPartly: what could not be found out is not kept.
func TestFindPartly(t *testing.T) {
	ds1, _ := theDS(t)
	synctest.Test(t, func(t *testing.T) {
		d := append(records(t, ds1Text), records(t, parentText)...)
		broken := share(true)
		n := internet{"192.0.2.1:53": d.serves(), "192.0.2.2:53": d.serves()}
		n["192.0.2.53:53"] = replies(func(m *dns.Msg) {
			d.answer(m, false)
			if broken.get() && m.Question[0].Name == "ns2.example." {
				m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeServerFailure
			}
		})
		c := n.client()
		r, err := c.Ask(t.Context(), zone, nil)
		if err != nil || r.All(ds1) || r.Err() == nil || !strings.Contains(r.Err().Error(), `ns2.example.: resolver 192.0.2.53:53, asked for AAAA of "ns2.example.": answers SERVFAIL`) {
			t.Errorf("%+v, %v", r, err)
		}
		broken.set(false)
		if r, err = c.Ask(t.Context(), zone, nil); err != nil || !r.All(ds1) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestResolvers: the next resolver is asked if one fails.
func TestResolvers(t *testing.T) {
	ds1, _ := theDS(t)
	d := append(records(t, ds1Text), records(t, parentText)...)
	n := internet{"192.0.2.1:53": d.serves(), "192.0.2.2:53": d.serves(), "192.0.2.54:53": d.resolves()}
	c := n.client()
	c.resolvers = func() ([]netip.AddrPort, error) { return addresses("192.0.2.53:53", "192.0.2.54:53"), nil }
	if r, err := c.Ask(t.Context(), zone, nil); err != nil || !r.All(ds1) {
		t.Errorf("%+v, %v", r, err)
	}
	c.resolvers = func() ([]netip.AddrPort, error) {
		return addresses("192.0.2.53:53", "192.0.2.53:53", "192.0.2.53:53", "192.0.2.54:53"), nil
	}
	if r, err := c.Ask(t.Context(), dnsname.MustParse("a.c.example."), nil); err == nil {
		t.Errorf("a fourth resolver is asked: %+v", r)
	}
	sad := errors.New("cannot be read")
	for _, tc := range []struct {
		list []netip.AddrPort
		err  error
		want string
	}{{nil, nil, "the system has no resolver"}, {nil, sad, "cannot be read"}} {
		c := n.client()
		c.resolvers = func() ([]netip.AddrPort, error) { return tc.list, tc.err }
		if _, err := c.Ask(t.Context(), zone, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
}

// TestKeepBound: the table of parent zones does not grow beyond its bound.
func TestKeepBound(t *testing.T) {
	c := NewClient(Options{})
	now := time.Unix(1e9, 0)
	name := func(i int) dnsname.Name { return dnsname.MustParse(fmt.Sprintf("x%d.example.", i)) }
	for i := range maxKnown - 1 {
		c.keep(name(i), found{until: now.Add(time.Duration(1+i%2) * time.Minute)}, now)
	}
	c.keep(dnsname.MustParse("X.Example."), found{until: now.Add(2 * time.Minute)}, now)
	if _, ok := c.recall(dnsname.MustParse("x.exAMPLE."), now); !ok {
		t.Error("letter case counts")
	}
	now = now.Add(time.Minute)
	c.keep(name(maxKnown), found{until: now.Add(time.Minute)}, now)
	if len(c.known) != maxKnown/2+1 {
		t.Errorf("%d kept when half was out of date", len(c.known))
	}
	for i := range 3 * maxKnown {
		c.keep(name(i), found{until: now.Add(time.Minute)}, now)
		if _, ok := c.recall(name(i), now); !ok || len(c.known) > maxKnown {
			t.Fatalf("%d kept, the newest: %v", len(c.known), ok)
		}
	}
}

// TestSystemResolvers: the file of this machine is read, or is not there.
func TestSystemResolvers(t *testing.T) {
	list, err := SystemResolvers()
	if _, none := os.Stat("/etc/resolv.conf"); none != nil {
		if err == nil {
			t.Errorf("%v without a file", list)
		}
	} else if err != nil || len(list) > maxResolvers {
		t.Errorf("%v, %v", list, err)
	}
}

func TestReadResolvers(t *testing.T) {
	for _, tc := range []struct{ name, text, want, err string }{
		{"usual", "# x\nsearch example.org\nnameserver 192.0.2.1\n\nnameserver\t2001:db8::1 \noptions edns0\n", "[192.0.2.1:53 [2001:db8::1]:53]", ""},
		{"zone of an interface", "nameserver fe80::1%eth0", "[[fe80::1%eth0]:53]", ""},
		{"mapped", "nameserver ::ffff:192.0.2.1", "[192.0.2.1:53]", ""},
		{"first three", "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver x", "[192.0.2.1:53 192.0.2.2:53 192.0.2.3:53]", ""},
		{"none", "search x\nnameserver\n;nameserver 192.0.2.1\nnameservers 192.0.2.1", "[]", ""},
		{"name", "\nnameserver localhost", "[]", "line 2: "},
		{"long line", strings.Repeat("x", 1<<17), "[]", "token too long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := readResolvers(strings.NewReader(tc.text))
			if fmt.Sprint(got) != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}
