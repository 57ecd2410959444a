package interop

import (
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// TestJudge checks that the harness itself finds what it is there to find.
func TestJudge(t *testing.T) {
	zone := &content{origin: "x.example.", rrs: map[string][]dns.RR{}, exists: map[string]bool{"x.example.": true}}
	a := "www.x.example.\t60\tIN\tA\t192.0.2.1"
	ns := "sub.x.example.\t60\tIN\tNS\tns.example.net."
	soa := "x.example.\t60\tIN\tSOA\tns1.x.example. h.x.example. 1 1 1 1 60"
	cname := "al.x.example.\t60\tIN\tCNAME\twww.x.example."
	txt := "www.x.example.\t60\tIN\tTXT\t\"x\""
	same := func(r reply) [3]reply { return [3]reply{r, r, r} }
	positive := reply{aa: true, header: "h", question: "q", answer: section{a}, size: 50}
	with := func(r reply, change func(*reply)) reply {
		r.answer, r.authority, r.additional = slices.Clone(r.answer), slices.Clone(r.authority), slices.Clone(r.additional)
		change(&r)
		return r
	}
	any := reply{aa: true, answer: section{a, txt}}
	one := reply{aa: true, answer: section{a}}
	loop := reply{aa: true, answer: section{cname, "www.x.example.\t60\tIN\tCNAME\tal.x.example."}}
	failed := with(loop, func(r *reply) { r.rcode = dns.RcodeServerFailure })

	for _, c := range []struct {
		name  string
		qtype uint16
		peers [3]reply
		ours  reply
		wrong bool
	}{
		{"all equal", dns.TypeA, same(positive), positive, false},
		{"rcode", dns.TypeA, same(positive), with(positive, func(r *reply) { r.rcode = dns.RcodeNameError }), true},
		{"AA", dns.TypeA, same(positive), with(positive, func(r *reply) { r.aa = false }), true},
		{"TC", dns.TypeA, same(positive), with(positive, func(r *reply) { r.tc = true }), true},
		{"other flags", dns.TypeA, same(positive), with(positive, func(r *reply) { r.header = "ra" }), true},
		{"question", dns.TypeA, same(positive), with(positive, func(r *reply) { r.question = "Q" }), true},
		{"answer missing", dns.TypeA, same(positive), with(positive, func(r *reply) { r.answer = nil }), true},
		{"answer twice", dns.TypeA, same(positive), with(positive, func(r *reply) { r.answer = section{a, a} }), true},
		{"TTL", dns.TypeA, same(positive), with(positive, func(r *reply) { r.answer = section{"www.x.example.\t61\tIN\tA\t192.0.2.1"} }), true},
		{"authority", dns.TypeA, same(positive), with(positive, func(r *reply) { r.authority = section{soa} }), true},
		{"additional", dns.TypeA, same(positive), with(positive, func(r *reply) { r.additional = section{a} }), true},
		{"size", dns.TypeA, same(positive), with(positive, func(r *reply) { r.size = 513 }), true},
		{
			"peers disagree and no variant knows why", dns.TypeA,
			[3]reply{positive, positive, with(positive, func(r *reply) { r.answer = nil })},
			positive, true,
		},
		{"ANY with one RRset", dns.TypeANY, [3]reply{any, one, one}, one, false},
		{"ANY with two RRsets", dns.TypeANY, [3]reply{any, one, one}, any, true},
		{"ANY with none", dns.TypeANY, [3]reply{any, one, one}, reply{aa: true}, true},
		{"loop once", dns.TypeA, [3]reply{failed, loop, loop}, loop, false},
		{"loop as SERVFAIL", dns.TypeA, [3]reply{failed, loop, loop}, failed, true},
		{"referral with AA", dns.TypeA, same(reply{authority: section{ns}}), reply{aa: true, authority: section{ns}}, true},
	} {
		s := &situation{
			zone: zone, q: query{name: "www.x.example.", qtype: c.qtype, mode: &modes[0]},
			named: &c.peers[0], knotd: &c.peers[1], nsd: &c.peers[2],
		}
		if wrong, _ := s.judge(&c.ours); (len(wrong) > 0) != c.wrong {
			t.Errorf("%s: %q", c.name, wrong)
		}
	}
}

func TestCanonical(t *testing.T) {
	rr := func(text string) dns.RR {
		t.Helper()
		r, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, c := range []struct{ a, b string }{
		{"WWW.example. A 192.0.2.1", "www.EXAMPLE. A 192.0.2.1"},
		{"x. MX 1 Mail.Example.", "x. MX 1 mail.example."},
		{"x. SOA A.b. C.d. 1 2 3 4 5", "x. SOA a.B. c.D. 1 2 3 4 5"},
		{"x. HTTPS 1 A.b. alpn=h2", "x. HTTPS 1 a.B. alpn=h2"},
		{"x. HIP 2 200100107B1A74DF365639CC39F1D578 AQID A.b.", "x. HIP 2 200100107B1A74DF365639CC39F1D578 AQID a.B."},
		{"x. NAPTR 1 1 \"A\" \"b\" \"\" A.b.", "x. NAPTR 1 1 \"A\" \"b\" \"\" a.b."},
	} {
		if a, b := canonical([]dns.RR{rr(c.a)}), canonical([]dns.RR{rr(c.b)}); !slices.Equal(a, b) {
			t.Errorf("%q and %q differ", a, b)
		}
	}
	for _, c := range []struct{ a, b string }{
		{"x. TXT \"A\"", "x. TXT \"a\""},
		{"x. 60 A 192.0.2.1", "x. 61 A 192.0.2.1"},
		{"x. CAA 0 issue \"A\"", "x. CAA 0 issue \"a\""},
		{"\\091. A 192.0.2.1", "\\123. A 192.0.2.1"},
	} {
		if a, b := canonical([]dns.RR{rr(c.a)}), canonical([]dns.RR{rr(c.b)}); slices.Equal(a, b) {
			t.Errorf("%q and %q are equal", a, b)
		}
	}
}

// TestTables checks that no entry of the tables is half an entry.
func TestTables(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range variants {
		if v.name == "" || seen[v.name] || v.reason == "" || v.aspects == 0 || v.when == nil {
			t.Errorf("variant %q: lacks something, or its name is not its own", v.name)
		}
		if (v.follow == 0) == (v.ours == nil) {
			t.Errorf("variant %q: either peers to follow or a check of ours", v.name)
		}
		seen[v.name] = true
	}
	for _, o := range oddities {
		if o.name == "" || seen[o.name] || (o.ours == "") != (o.reason == "") {
			t.Errorf("odd message %q: lacks something, or its name is not its own", o.name)
		}
		seen[o.name] = true
	}
}
