package parent

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// TestAnswers: what one server answers, and what is made of it (K2).
func TestAnswers(t *testing.T) {
	parent := records(t, parentText)
	both := append(records(t, ds1Text+ds2Text), parent...)
	soa := func(owner string) data {
		return records(t, owner+" 3600 SOA ns1.example. h.example. 1 7200 3600 1209600 300")
	}
	raw := func(change func(reply []byte) []byte) host {
		good := both.serves()
		return func(query []byte) []byte { return change(good(query)) }
	}
	fill := func(f func(m *dns.Msg)) host {
		return replies(func(m *dns.Msg) {
			both.answer(m, true)
			f(m)
		})
	}
	const advice = "give servers that have the parent zone"
	for _, tc := range []struct {
		name   string
		server host
		want   data
		ttl    time.Duration
		err    string // part of the text; "" for none
	}{
		{"one DS record", append(records(t, ds1Text), parent...).serves(), records(t, ds1Text), time.Hour, ""},
		{"two DS records, the longer TTL", both.serves(), records(t, ds1Text+ds2Text), 2 * time.Hour, ""},
		{"none", parent.serves(), nil, 0, ""},
		{"TTL that is none", fill(func(m *dns.Msg) { m.Answer[0].Header().Ttl, m.Answer[1].Header().Ttl = 1<<31, 60 }), records(t, ds1Text+ds2Text), time.Minute, ""},
		{"in another order", fill(func(m *dns.Msg) { slices.Reverse(m.Answer) }), records(t, ds1Text+ds2Text), 2 * time.Hour, ""},
		{"a record twice", fill(func(m *dns.Msg) { m.Answer = append(m.Answer[:1:1], m.Answer[0]) }), records(t, ds1Text), time.Hour, ""},
		{"the same in other letters", fill(func(m *dns.Msg) {
			m.Compress = false
			m.Question[0].Name = "A.b.ExAmPlE."
			m.Answer[0].Header().Name = "a.B.example."
			m.Answer = m.Answer[:1]
		}), records(t, ds1Text), time.Hour, ""},
		{"signed though not asked for", fill(func(m *dns.Msg) {
			m.Answer = append(m.Answer, records(t, "a.b.example. 3600 RRSIG DS 13 3 3600 20300101000000 20200101000000 1 example. AAAA")...)
		}), records(t, ds1Text+ds2Text), 2 * time.Hour, ""},
		{"with the NS records of the parent", fill(func(m *dns.Msg) { m.Ns = parent.at("example.", dns.TypeNS) }), records(t, ds1Text+ds2Text), 2 * time.Hour, ""},
		{"OPT record that was not asked for", fill(func(m *dns.Msg) { m.SetEdns0(1232, false) }), records(t, ds1Text+ds2Text), 2 * time.Hour, ""},
		{"SOA of the root", fill(func(m *dns.Msg) { m.Answer, m.Ns = nil, soa(".") }), nil, 0, ""},

		{"server of the zone itself", records(t, childText).serves(), nil, 0, `answers for "a.b.example." itself and not for its parent: ` + advice},
		{"server of the zone itself, with DS", fill(func(m *dns.Msg) { m.Ns = records(t, "a.b.example. 60 NS ns.example.") }), nil, 0, `answers for "a.b.example." itself`},
		{"server of something else", records(t, "example.net. 60 SOA . . 1 2 3 4 5").serves(), nil, 0, "answers REFUSED: " + advice},
		{"referral to the zone", fill(func(m *dns.Msg) {
			m.Authoritative, m.Answer, m.Ns = false, nil, parent.at("a.b.example.", dns.TypeNS)
		}), nil, 0, `refers to the servers of "a.b.example."`},
		{"referral of the root", records(t, ". 60 SOA . . 1 2 3 4 5\nexample. 60 NS ns1.example.").serves(), nil, 0, `refers to the servers of "example.": ` + advice},
		{"referral that claims authority", fill(func(m *dns.Msg) { m.Answer, m.Ns = nil, parent.at("example.", dns.TypeNS) }), nil, 0, `refers to the servers of "example."`},
		{"resolver with DS", both.resolves(), nil, 0, "answers without authority: " + advice},
		{"resolver without", parent.resolves(), nil, 0, "answers without authority"},
		{"SOA of a zone elsewhere", fill(func(m *dns.Msg) { m.Answer, m.Ns = nil, soa("example.net.") }), nil, 0, `answers for "example.net.", which "a.b.example." is not in`},
		{"SOA of a zone below", fill(func(m *dns.Msg) { m.Answer, m.Ns = nil, soa("x.a.b.example.") }), nil, 0, "is not in"},
		{"two SOA records", fill(func(m *dns.Msg) { m.Answer, m.Ns = nil, append(soa("example."), soa("b.example.")...) }), nil, 0, "two SOA records"},
		{"no SOA", fill(func(m *dns.Msg) { m.Answer = nil }), nil, 0, "neither DS nor SOA"},
		{"name does not exist", append(records(t, "x.example. 60 A 192.0.2.1"), parent[:3]...).serves(), nil, 0, `answers that "a.b.example." does not exist`},
		{"alias", append(records(t, "a.b.example. 60 CNAME x.example."), parent[:6]...).serves(), nil, 0, `CNAME record of "a.b.example."`},
		{"DS of another name", fill(func(m *dns.Msg) { m.Answer[1].Header().Name = "x.example." }), nil, 0, `DS record of "x.example."`},
		{"signatures only", fill(func(m *dns.Msg) {
			m.Answer = records(t, "a.b.example. 3600 RRSIG DS 13 3 3600 20300101000000 20200101000000 1 example. AAAA")
		}), nil, 0, "signatures only"},
		{"SERVFAIL", fill(func(m *dns.Msg) { m.Answer, m.Rcode = nil, dns.RcodeServerFailure }), nil, 0, "answers SERVFAIL"},
		{"unknown response code", fill(func(m *dns.Msg) { m.Answer, m.Rcode = nil, 11 }), nil, 0, "answers response code 11"},
		{"error without question", fill(func(m *dns.Msg) { m.Question, m.Answer, m.Rcode = nil, nil, dns.RcodeNotImplemented }), nil, 0, "answers NOTIMP"},
		{"no question", fill(func(m *dns.Msg) { m.Question = nil }), nil, 0, "answer to something else"},
		{"two questions", fill(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), nil, 0, "answer to something else"},
		{"another question", fill(func(m *dns.Msg) { m.Question[0].Name = "b.example." }), nil, 0, "answer to something else"},
		{"another type", fill(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeCDS }), nil, 0, "answer to something else"},
		{"another class", fill(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), nil, 0, "answer to something else"},
		{"wrong ID", fill(func(m *dns.Msg) { m.Id++ }), nil, 0, "answer to something else"},
		{"not a response", fill(func(m *dns.Msg) { m.Response = false }), nil, 0, "answer to something else"},
		{"another opcode", fill(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), nil, 0, "answer to something else"},
		{"truncated", fill(func(m *dns.Msg) { m.Truncated, m.Answer = true, nil }), nil, 0, "cut short over TCP"},
		{"record of another class", fill(func(m *dns.Msg) { m.Answer[0].Header().Class = dns.ClassCHAOS }), nil, 0, "class 3"},
		{"header alone", raw(func(b []byte) []byte { return b[:12] }), nil, 0, "malformed answer"},
		{"nothing", raw(func([]byte) []byte { return []byte{} }), nil, 0, "malformed answer"},
		{"ends before its last record", raw(func(b []byte) []byte { return b[:len(b)-48] }), nil, 0, "malformed answer"},
		{"ends within a record", raw(func(b []byte) []byte { return b[:len(b)-1] }), nil, 0, "malformed answer"},
		{"more than it counts", raw(func(b []byte) []byte { return append(b, 0) }), nil, 0, "malformed answer"},
		{"hides a record", raw(func(b []byte) []byte { b[7]--; return b }), nil, 0, "malformed answer"},
		{"name that points to itself", raw(func(b []byte) []byte { binary.BigEndian.PutUint16(b[12:], 0xc00c); return b }), nil, 0, "malformed answer"},
		{"DS without digest", fill(func(m *dns.Msg) {
			m.Answer = data{&dns.RFC3597{Hdr: dns.RR_Header{Name: "a.b.example.", Rrtype: dns.TypeDS, Class: 1, Ttl: 60}, Rdata: "00010d02"}}
		}), nil, 0, "without a digest"},
		{"SOA that is too long", fill(func(m *dns.Msg) {
			m.Answer = nil
			m.Ns = data{&dns.RFC3597{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeSOA, Class: 1, Ttl: 60}, Rdata: "0000" + strings.Repeat("00", 21)}}
		}), nil, 0, "SOA record of wrong length"},
		{"SOA that ends early", fill(func(m *dns.Msg) {
			m.Answer = nil
			m.Ns = data{&dns.RFC3597{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeSOA, Class: 1, Ttl: 60}, Rdata: "00"}}
		}), nil, 0, "malformed answer"},
		{"silence", silent, nil, 0, "no answer within 5s"},
		{"no route", nil, nil, 0, "no answer: connect: network is unreachable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := internet{"192.0.2.1:53": tc.server}.client().Ask(t.Context(), zone, addresses("192.0.2.1:0"))
				if err != nil || len(r.Servers) != 1 || r.Zone != zone || r.Parent != "" {
					t.Fatalf("%+v, %v", r, err)
				}
				s := r.Servers[0]
				if s.Address != netip.MustParseAddrPort("192.0.2.1:53") || s.Name != "" {
					t.Errorf("server %v", &s)
				}
				if want := dsOf(t, tc.want); !slices.Equal(s.DS, want) || s.TTL != tc.ttl || r.TTL() != tc.ttl {
					t.Errorf("DS %q, TTL %v, want %q, %v", s.DS, s.TTL, want, tc.ttl)
				}
				if tc.err == "" && (s.Err != nil || r.Err() != nil) || tc.err != "" && (r.Err() == nil || !strings.Contains(r.Err().Error(), tc.err)) {
					t.Errorf("error %v, want %q", r.Err(), tc.err)
				}
			})
		})
	}
}

// TestServersTogether: a key waits for all servers (K2).
func TestServersTogether(t *testing.T) {
	ds1, ds2 := theDS(t)
	old := append(records(t, ds1Text), records(t, parentText)...).serves()
	both := append(records(t, ds1Text+ds2Text), records(t, parentText)...).serves()
	none := records(t, parentText).serves()
	lame := records(t, "example.net. 60 SOA . . 1 2 3 4 5").serves()
	for _, tc := range []struct {
		name                   string
		servers                []host
		all1, none1, all2, no2 bool
		err                    string
	}{
		{"agreement", []host{old, old, old}, true, false, false, true, ""},
		{"one is ahead", []host{old, both, old}, true, false, false, false, ""},
		{"all are there", []host{both, both}, true, false, true, false, ""},
		{"gone from one", []host{old, none}, false, false, false, true, ""},
		{"gone from all", []host{none, none}, false, true, false, true, ""},
		{"one out of reach", []host{old, nil}, false, false, false, false, "192.0.2.2:53: no answer: connect: network is unreachable"},
		{"one is slow, none has it", []host{none, silent}, false, false, false, false, "192.0.2.2:53: no answer within 5s"},
		{"one is lame", []host{both, lame}, false, false, false, false, "192.0.2.2:53: answers REFUSED: " + errAdvice.Error()},
		{"two are missing", []host{lame, old, nil}, false, false, false, false, "192.0.2.1:53: answers REFUSED: " + errAdvice.Error() + "; 192.0.2.3:53: no answer: connect: network is unreachable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := internet{}
				var servers []netip.AddrPort
				for i, h := range tc.servers {
					a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}), 53)
					n[a.String()] = h
					servers = append(servers, a, netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), 0)) // the same address
				}
				r, err := n.client().Ask(t.Context(), zone, servers)
				if err != nil || len(r.Servers) != len(tc.servers) {
					t.Fatalf("%+v, %v", r, err)
				}
				got := [4]bool{r.All(ds1), r.None(ds1), r.All(ds2), r.None(ds2)}
				if want := [4]bool{tc.all1, tc.none1, tc.all2, tc.no2}; got != want {
					t.Errorf("all 1, none 1, all 2, none 2: %v, want %v", got, want)
				}
				text := ""
				if err := r.Err(); err != nil {
					text = err.Error()
				}
				if text != tc.err {
					t.Errorf("error %q, want %q", text, tc.err)
				}
			})
		})
	}
	empty := Result{}
	if empty.All(ds1) || empty.None(ds1) || empty.Err() == nil {
		t.Error("nobody was asked, and agrees")
	}
}

func TestAskIsRefused(t *testing.T) {
	c := internet{}.client()
	if _, err := c.Ask(t.Context(), dnsname.Root, nil); !errors.Is(err, ErrRoot) {
		t.Errorf("root: %v", err)
	}
	var many []netip.AddrPort
	for i := range MaxServers + 1 {
		many = append(many, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 53))
	}
	if _, err := c.Ask(t.Context(), zone, many); !errors.Is(err, ErrTooMany) {
		t.Errorf("many: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, servers := range [][]netip.AddrPort{nil, addresses("192.0.2.1:53")} {
		if _, err := c.Ask(ctx, zone, servers); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
	}
}

// TestAskEnds: servers that do not answer take so long together, and no longer.
func TestAskEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := internet{}
		var servers []netip.AddrPort
		for i := range MaxServers {
			a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 53)
			n[a.String()] = silent
			servers = append(servers, a)
		}
		start := time.Now()
		r, err := n.client().Ask(t.Context(), zone, servers)
		if took := time.Since(start); err != nil || r.Err() == nil || took != MaxServers/atOnce*Timeout {
			t.Errorf("took %v: %v, %v", took, err, r.Err())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		start = time.Now()
		if _, err = n.client().Ask(ctx, zone, servers); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 7*time.Second {
			t.Errorf("took %v: %v", time.Since(start), err)
		}
	})
}

// TestQuestion: what a server is sent.
func TestQuestion(t *testing.T) {
	var query []byte
	n := internet{"192.0.2.1:53": func(q []byte) []byte { query = q; return q }}
	if _, err := n.client().Ask(t.Context(), dnsname.MustParse("A.b.example."), addresses("192.0.2.1:53")); err != nil {
		t.Fatal(err)
	}
	q, want := new(dns.Msg), new(dns.Msg)
	if err := q.Unpack(query); err != nil {
		t.Fatal(err)
	}
	want.SetQuestion("A.b.example.", dns.TypeDS)
	want.Id, want.RecursionDesired = q.Id, false
	if q.String() != want.String() {
		t.Errorf("asked\n%v, want\n%v", q, want)
	}
}

func shut(t *testing.T, c io.Closer) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestSockets asks servers on real sockets.
func TestSockets(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	ds1, _ := theDS(t)
	listen := func(h host) netip.AddrPort {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { shut(t, l) })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				if h == nil {
					shut(t, conn)
				} else {
					serve(conn, h)
				}
			}
		}()
		return l.Addr().(*net.TCPAddr).AddrPort()
	}
	zoneData := append(records(t, ds1Text), records(t, parentText)...)
	good, closes := listen(zoneData.serves()), listen(nil)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuses := closed.Addr().(*net.TCPAddr).AddrPort()
	shut(t, closed)

	c := NewClient(Options{})
	r, err := c.Ask(t.Context(), zone, []netip.AddrPort{good})
	if err != nil || r.Err() != nil || !r.All(ds1) {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = c.Ask(t.Context(), zone, []netip.AddrPort{good, closes, refuses})
	if err != nil || r.Err() == nil || r.All(ds1) || r.None(ds1) {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := r.Servers[2].Err; !errors.Is(err, ErrUnreachable) || err.Error() != "no answer: connect: connection refused" {
		t.Errorf("nobody listens: %v", err)
	}
	if err := r.Servers[1].Err; !errors.Is(err, ErrUnreachable) {
		t.Errorf("closed: %v", err)
	}
}
