package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// query makes the message of a question as a client would send it.
func query(t testing.TB, name string, typ uint16, change ...func(*dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.Id = 0x1234
	m.Question = []dns.Question{{Name: name, Qtype: typ, Qclass: dns.ClassINET}}
	for _, f := range change {
		f(m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatalf("query for %s: %v", name, err)
	}
	return b
}

// edns gives the query an OPT record.
func edns(size uint16, do bool, options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(size, do)
		m.IsEdns0().Option = options
	}
}

func local(code uint16, data string) dns.EDNS0 {
	return &dns.EDNS0_LOCAL{Code: code, Data: []byte(data)}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseQuestion(t *testing.T) {
	const www = "www.example.org."
	header := func(bits, qd, an, ns, ar uint16) []byte {
		b := []byte{0x12, 0x34}
		for _, v := range []uint16{bits, qd, an, ns, ar} {
			b = binary.BigEndian.AppendUint16(b, v)
		}
		return b
	}
	plain := query(t, www, dns.TypeA)
	long := strings.Repeat("a.", 126) + "b."                                                         // 255 octets
	tooLong := append(header(0, 1, 0, 0, 0), bytes.Repeat([]byte{1, 'a'}, 127)...)                   // 254 …
	tooLong = append(tooLong, 1, 'b', 0, 0, 1, 0, 1)                                                 // … and two more
	opt := unhex(t, "00 0029 04d0 00000000 0000")                                                    // without options
	withCounts := func(b []byte, at int, n byte) []byte { b = slices.Clone(b); b[at] = n; return b } // of the header
	cases := []struct {
		name string
		msg  []byte
		want Outcome
	}{
		{"nothing", nil, Drop},
		{"11 octets (A43)", plain[:11], Drop},
		{"a response (A42)", header(0x8000, 1, 0, 0, 0), Drop},
		{"a response with an unknown opcode", header(0xf800, 1, 0, 0, 0), Drop},
		{"plain (A1)", plain, Plain},
		{"letter case (A2)", query(t, "wWw.eXample.ORG.", dns.TypeA), Plain},
		{"the root", query(t, ".", dns.TypeNS), Plain},
		{"255 octets (A54)", query(t, long, dns.TypeA), Plain},
		{"257 octets", tooLong, FormErr},
		{"binary labels (A48)", query(t, `a\000b\.c.\255.`, dns.TypeA), Plain},
		{"RD and CD (A51, A52)", query(t, www, dns.TypeA, func(m *dns.Msg) { m.RecursionDesired, m.CheckingDisabled = true, true }), Plain},
		{"header only", plain[:12], Slow},
		{"20 octets (A43)", plain[:20], FormErr},
		{"name without its root", plain[:len(plain)-5], FormErr},
		{"no type", plain[:len(plain)-4], Slow},
		{"half a type", plain[:len(plain)-3], FormErr},
		{"no class", plain[:len(plain)-2], Slow},
		{"half a class", plain[:len(plain)-1], FormErr},
		{"reserved label type 0x40", append(header(0, 1, 0, 0, 0), 0x41, 0, 0, 0, 1, 0, 1), FormErr},
		{"reserved label type 0x80", append(header(0, 1, 0, 0, 0), 0x80, 0, 0, 0, 1, 0, 1), FormErr},
		{"pointer into the header", append(header(0, 1, 0, 0, 0), 0xc0, 4, 0, 1, 0, 1), Slow},
		{"pointer to itself", append(header(0, 1, 0, 0, 0), 0xc0, 12, 0, 1, 0, 1), Slow},
		{"octets after the message", append(slices.Clone(plain), 1, 2, 3), Plain},

		{"STATUS (A40)", header(2<<11, 1, 0, 0, 0), NotImp},
		{"IQUERY", header(1<<11, 0, 1, 0, 0), NotImp},
		{"opcode 15", header(15<<11, 1, 0, 0, 0), NotImp},
		{"NOTIFY", header(4<<11, 1, 0, 0, 0), Slow},
		{"UPDATE", header(5<<11, 1, 0, 300, 0), Slow},
		{"DSO", header(6<<11, 0, 0, 0, 0), Slow},

		{"no question", header(0, 0, 0, 0, 0), FormErr},
		{"two questions (A41)", withCounts(plain, 5, 2), FormErr},
		{"256 questions and one", withCounts(plain, 4, 1), FormErr},
		{"two answers", withCounts(plain, 7, 2), FormErr},
		{"256 answers", withCounts(plain, 6, 1), FormErr},
		{"one answer", withCounts(plain, 7, 1), Slow},
		{"two authorities", withCounts(plain, 9, 2), FormErr},
		{"one authority", withCounts(plain, 9, 1), Slow},
		{"three additionals", withCounts(plain, 11, 3), FormErr},
		{"an additional that is not there", withCounts(plain, 11, 1), Slow},

		{"CH (A39)", query(t, "version.bind.", dns.TypeTXT, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), Slow},
		{"class ANY", query(t, www, dns.TypeA, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }), Slow},
		{"ANY (A28)", query(t, www, dns.TypeANY), Plain},
		{"AXFR", query(t, www, dns.TypeAXFR), Slow},
		{"IXFR", query(t, www, dns.TypeIXFR), Slow},
		{"MAILA", query(t, www, dns.TypeMAILA), Slow},
		{"TKEY", query(t, www, dns.TypeTKEY), Slow},
		{"NXNAME (A37)", query(t, www, dns.TypeNXNAME), Slow},
		{"OPT as type", query(t, www, dns.TypeOPT), Slow},
		{"type 0", query(t, www, 0), Slow},
		{"unknown type", query(t, www, 65280), Plain},

		{"EDNS", query(t, www, dns.TypeA, edns(1232, true)), Plain},
		{"EDNS version 1 (A35)", query(t, www, dns.TypeA, edns(1232, true), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }), BadVers},
		{"two OPT (A36)", withCounts(append(append(slices.Clone(plain), opt...), opt...), 11, 2), FormErr},
		{"two OPT, the second broken", withCounts(append(append(slices.Clone(plain), opt...), opt[:4]...), 11, 2), FormErr},
		{"OPT and a count too high", withCounts(append(slices.Clone(plain), opt...), 11, 2), Slow},
		{"OPT cut short", withCounts(append(slices.Clone(plain), opt[:10]...), 11, 1), FormErr},
		{"OPT longer than the message", withCounts(append(slices.Clone(plain), unhex(t, "00 0029 04d0 00000000 0001")...), 11, 1), FormErr},
		{"OPT not at the root", query(t, www, dns.TypeA, edns(1232, false), func(m *dns.Msg) { m.IsEdns0().Hdr.Name = "a." }), Slow},
		{"OPT and TSIG", query(t, www, dns.TypeA, edns(1232, false), func(m *dns.Msg) {
			m.SetTsig("key.", dns.HmacSHA256, 300, 1)
		}), Slow},
		{"TSIG", query(t, www, dns.TypeA, func(m *dns.Msg) { m.SetTsig("key.", dns.HmacSHA256, 300, 1) }), Slow},
		{"TSIG before OPT", query(t, www, dns.TypeA, func(m *dns.Msg) { m.SetTsig("key.", dns.HmacSHA256, 300, 1) }, func(m *dns.Msg) {
			m.SetEdns0(1232, false)
		}), Slow},

		{"option header cut short", withCounts(append(slices.Clone(plain), unhex(t, "00 0029 04d0 00000000 0003 00030a")...), 11, 1), FormErr},
		{"option runs over", withCounts(append(slices.Clone(plain), unhex(t, "00 0029 04d0 00000000 0004 00030001")...), 11, 1), FormErr},
		{"unknown option", query(t, www, dns.TypeA, edns(1232, false, local(65001, "x"))), Plain},
		{"key tag option", query(t, www, dns.TypeA, edns(1232, false, local(14, "ab"))), Plain},
		{"padding (A53)", query(t, www, dns.TypeA, edns(1232, false, &dns.EDNS0_PADDING{Padding: make([]byte, 100)})), Plain},
		{"keepalive", query(t, www, dns.TypeA, edns(1232, false, local(OptionKeepalive, ""))), Plain},
		{"keepalive of one octet", query(t, www, dns.TypeA, edns(1232, false, local(OptionKeepalive, "x"))), FormErr},
		{"EDE of one octet", query(t, www, dns.TypeA, edns(1232, false, local(OptionEDE, "x"))), FormErr},
		{"ECS (A44)", query(t, www, dns.TypeA, edns(1232, false, local(OptionClientSubnet, "\x00\x01\x18\x00\xc0\x00\x02"))), Plain},
		{"ECS with a prefix of 33", query(t, www, dns.TypeA, edns(1232, false, local(OptionClientSubnet, "\x00\x01\x21\x00\xc0\x00\x02"))), FormErr},
		{"ECS with a scope of 33", query(t, www, dns.TypeA, edns(1232, false, local(OptionClientSubnet, "\x00\x01\x00\x21"))), FormErr},
		{"ECS of IPv6 with a prefix of 129", query(t, www, dns.TypeA, edns(1232, false, local(OptionClientSubnet, "\x00\x02\x81\x00"))), FormErr},
		{"ECS of no family", query(t, www, dns.TypeA, edns(1232, false, local(OptionClientSubnet, "\x00\x00\x00\x00"))), Plain},
		{"ECS of no family with a prefix", query(t, www, dns.TypeA, edns(1232, false, local(OptionClientSubnet, "\x00\x00\x01\x00"))), FormErr},
		{"ECS of family 3", query(t, www, dns.TypeA, edns(1232, false, local(OptionClientSubnet, "\x00\x03\x00\x00"))), FormErr},
		{"ECS of three octets", query(t, www, dns.TypeA, edns(1232, false, local(OptionClientSubnet, "\x00\x01\x00"))), FormErr},
		{"ZONEVERSION", query(t, www, dns.TypeA, edns(1232, false, local(OptionZoneVersion, ""))), Plain},
		{"ZONEVERSION of one octet", query(t, www, dns.TypeA, edns(1232, false, local(OptionZoneVersion, "x"))), FormErr},
		{"ZONEVERSION with content", query(t, www, dns.TypeA, edns(1232, false, local(OptionZoneVersion, "xyz"))), Slow},
		{"LLQ", query(t, www, dns.TypeA, edns(1232, false, local(OptionLLQ, "x"))), Slow},
		{"Update Lease", query(t, www, dns.TypeA, edns(1232, false, local(OptionUpdateLease, "x"))), Slow},
		{"EXPIRE", query(t, www, dns.TypeSOA, edns(1232, false, local(OptionExpire, ""))), Slow},
		{"Report-Channel", query(t, www, dns.TypeA, edns(1232, false, local(OptionReporting, "x"))), Slow},
		{"Report-Channel and a broken option", query(t, www, dns.TypeA, edns(1232, false, local(OptionReporting, "x"), local(OptionEDE, ""))), FormErr},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var q Question
			if got := ParseQuestion(c.msg, &q); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			checkQuestion(t, c.msg)
		})
	}
}

func TestParseQuestionFields(t *testing.T) {
	subnet, cookie := "\x00\x01\x18\x00\xc0\x00\x02", "8 octets"
	msg := query(t, "wWw.example.org.", dns.TypeMX, func(m *dns.Msg) { m.RecursionDesired, m.CheckingDisabled = true, true },
		edns(4096, true, local(OptionNSID, ""), local(OptionCookie, cookie), local(OptionCookie, "another!"), local(OptionClientSubnet, subnet), local(OptionZoneVersion, "")),
		func(m *dns.Msg) { m.IsEdns0().SetCo(true) })
	q := Question{Name: "old", Cookie: []byte("old"), ZoneVersion: true}
	if o := ParseQuestion(msg, &q); o != Plain {
		t.Fatal(o)
	}
	want := Question{
		ID: 0x1234, Flags: FlagRD | FlagCD, Name: "\x03wWw\x07example\x03org\x00", Type: rrset.TypeMX, Class: 1, HasEDNS: true, UDPSize: 4096, DO: true, CO: true,
		NSID: true, ZoneVersion: true, Cookie: []byte(cookie), ClientSubnet: []byte(subnet),
	}
	if !same(&q, &want) {
		t.Errorf("got  %+v\nwant %+v", q, want)
	}
	if o := ParseQuestion(query(t, "a.", dns.TypeA, edns(1, false), func(m *dns.Msg) { m.IsEdns0().SetZ(1) }), &q); o != Plain || !q.Reserved || q.CO {
		t.Errorf("%v, a flag of EDNS without a meaning: %+v", o, q)
	}
	if o := ParseQuestion(query(t, "a.", dns.TypeA, edns(1, false, local(OptionCookie, ""))), &q); o != Plain || q.Cookie == nil || q.ClientSubnet != nil || q.NSID || q.DO || q.CO {
		t.Errorf("%v, empty cookie: %+v", o, q)
	}
}

func same(a, b *Question) bool {
	x, y := *a, *b
	x.Cookie, y.Cookie, x.ClientSubnet, y.ClientSubnet = nil, nil, nil, nil
	return x.ID == y.ID && x.Flags == y.Flags && x.Name == y.Name && x.Type == y.Type && x.Class == y.Class && x.HasEDNS == y.HasEDNS &&
		x.Version == y.Version && x.UDPSize == y.UDPSize && x.DO == y.DO && x.CO == y.CO && x.Reserved == y.Reserved && x.NSID == y.NSID && x.ZoneVersion == y.ZoneVersion &&
		bytes.Equal(a.Cookie, b.Cookie) && bytes.Equal(a.ClientSubnet, b.ClientSubnet)
}

func TestUDPLimit(t *testing.T) {
	for _, c := range []struct {
		q    Question
		want int
	}{
		{Question{}, 512},
		{Question{UDPSize: 4096}, 512}, // no OPT record
		{Question{HasEDNS: true}, 512},
		{Question{HasEDNS: true, UDPSize: 511}, 512},
		{Question{HasEDNS: true, UDPSize: 1000}, 1000},
		{Question{HasEDNS: true, UDPSize: 1232}, 1232},
		{Question{HasEDNS: true, UDPSize: 65535}, 1232}, // A33
	} {
		if got := c.q.UDPLimit(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.q, got, c.want)
		}
	}
}

func TestOutcomes(t *testing.T) {
	for o, word := range map[Outcome]string{Plain: "plain", Slow: "slow", Drop: "drop", FormErr: "formerr", NotImp: "notimp", BadVers: "badvers"} {
		if o.String() != word {
			t.Errorf("%v, want %s", o, word)
		}
	}
}

// slowOptions are the options that make a message Slow, in whatever form.
var slowOptions = []uint16{OptionLLQ, OptionUpdateLease, OptionExpire, OptionReporting}

// judge is the slow twin of ParseQuestion: it lets miekg/dns read the message
// and applies the rules that are written down for ParseQuestion.
func judge(msg []byte) Outcome {
	if len(msg) < HeaderSize {
		return Drop
	}
	u16 := func(off int) uint16 { return binary.BigEndian.Uint16(msg[off:]) }
	h := dns.Header{Id: u16(0), Bits: u16(2), Qdcount: u16(4), Ancount: u16(6), Nscount: u16(8), Arcount: u16(10)}
	action, opcode := dns.DefaultMsgAcceptFunc(h), int(h.Bits>>11&0xf)
	switch {
	case action == dns.MsgIgnore:
		return Drop
	case opcode == dns.OpcodeNotify || opcode == dns.OpcodeUpdate || opcode == dns.OpcodeStateful:
		return Slow
	case action == dns.MsgRejectNotImplemented:
		return NotImp
	case action == dns.MsgReject:
		return FormErr
	}
	end := HeaderSize
	for end < len(msg) && msg[end] > 0 && msg[end] < 64 {
		end += 1 + int(msg[end])
	}
	if end < len(msg) && end-HeaderSize < 255 && msg[end] >= 0xc0 {
		return Slow // a pointer
	}
	_, end, err := dns.UnpackDomainName(msg, HeaderSize)
	switch rest := len(msg) - end; {
	case len(msg) == HeaderSize:
		return Slow
	case err != nil || rest == 1 || rest == 3:
		return FormErr
	case rest == 0 || rest == 2:
		return Slow
	}
	typ, class := u16(end), u16(end+2)
	end += 4
	switch {
	case h.Ancount > 0 || h.Nscount > 0 || class != dns.ClassINET || typ == 0 || typ == dns.TypeOPT || typ > 127 && typ < 255:
		return Slow
	case h.Arcount == 0:
		return Plain
	case !bytes.HasPrefix(msg[end:], []byte{0, 0, 41}):
		return Slow
	}
	patched, slow := patch(msg, end)
	rr, next, err := dns.UnpackRR(patched, end)
	if err != nil {
		return FormErr
	}
	if h.Arcount == 2 {
		if bytes.HasPrefix(msg[next:], []byte{0, 0, 41}) {
			return FormErr
		}
		return Slow
	}
	switch {
	case slow:
		return Slow
	case rr.(*dns.OPT).Version() != 0:
		return BadVers
	}
	return Plain
}

// patch gives a message whose OPT record at off has options unknown to miekg/dns
// in place of those that are Slow, and of the empty ZONEVERSION that miekg/dns
// refuses.
func patch(msg []byte, off int) (patched []byte, slow bool) {
	patched = slices.Clone(msg)
	if off+optSize > len(msg) {
		return patched, false
	}
	end := min(off+optSize+int(binary.BigEndian.Uint16(msg[off+9:])), len(msg))
	for at := off + optSize; at+4 <= end; {
		code, n := binary.BigEndian.Uint16(msg[at:]), int(binary.BigEndian.Uint16(msg[at+2:]))
		s := slices.Contains(slowOptions, code) || code == OptionZoneVersion && n > 1
		if s || code == OptionZoneVersion && n == 0 {
			binary.BigEndian.PutUint16(patched[at:], 65001)
		}
		slow = slow || s
		at += 4 + n
	}
	return patched, slow
}

// checkQuestion compares ParseQuestion with its twin, and what it has read with
// what miekg/dns reads.
func checkQuestion(t *testing.T, msg []byte) {
	t.Helper()
	whole := slices.Clone(msg)
	var q Question
	got := ParseQuestion(msg, &q)
	if want := judge(msg); got != want {
		t.Fatalf("%x: got %v, want %v", msg, got, want)
	}
	if !bytes.Equal(msg, whole) {
		t.Fatalf("%x: message was changed to %x", whole, msg)
	}
	if len(msg) < HeaderSize {
		return
	}
	if q.ID != binary.BigEndian.Uint16(msg) || q.Flags != binary.BigEndian.Uint16(msg[2:]) {
		t.Fatalf("%x: id %04x, flags %04x", msg, q.ID, q.Flags)
	}
	if got != Plain && got != BadVers {
		return
	}
	var m dns.Msg
	patched := msg
	if q.HasEDNS {
		patched, _ = patch(msg, HeaderSize+len(q.Name)+4)
	}
	if err := m.Unpack(patched); err != nil {
		t.Fatalf("%x: %v, but %v", msg, got, err)
	}
	var buf [256]byte
	end, err := dns.PackDomainName(m.Question[0].Name, buf[:], 0, nil, false)
	if err != nil || string(buf[:end]) != string(q.Name) {
		t.Fatalf("%x: name %q, want %q (%v)", msg, q.Name, buf[:end], err)
	}
	want := Question{
		ID: m.Id, Flags: q.Flags, Name: q.Name, Type: m.Question[0].Qtype, Class: m.Question[0].Qclass, ZoneVersion: q.ZoneVersion,
	}
	if opt := m.IsEdns0(); opt != nil {
		want.HasEDNS, want.Version, want.UDPSize, want.DO, want.CO, want.Reserved = true, opt.Version(), opt.UDPSize(), opt.Do(), opt.Co(), opt.Z() != 0
		for _, o := range slices.Backward(opt.Option) { // the first of its kind counts
			switch o := o.(type) {
			case *dns.EDNS0_NSID:
				want.NSID = true
			case *dns.EDNS0_COOKIE:
				want.Cookie = unhex(t, o.Cookie)
			case *dns.EDNS0_SUBNET:
				if len(q.ClientSubnet) < 4 || q.ClientSubnet[2] != o.SourceNetmask || q.ClientSubnet[3] != o.SourceScope {
					t.Fatalf("%x: ECS %x, want /%d/%d", msg, q.ClientSubnet, o.SourceNetmask, o.SourceScope)
				}
				want.ClientSubnet = q.ClientSubnet
			}
		}
	}
	if !same(&q, &want) {
		t.Fatalf("%x:\ngot  %+v\nwant %+v", msg, q, want)
	}
}

func FuzzParseQuestion(f *testing.F) {
	f.Add(query(f, "www.example.org.", dns.TypeA))
	f.Add(query(f, "www.example.org.", dns.TypeA, edns(1232, true, local(OptionNSID, ""), local(OptionCookie, "12345678"),
		local(OptionClientSubnet, "\x00\x01\x18\x00\xc0\x00\x02"), local(OptionZoneVersion, ""), local(65001, "x"))))
	f.Add(query(f, "www.example.org.", dns.TypeA, edns(1232, true, local(OptionLLQ, ""), local(OptionExpire, ""))))
	f.Add(query(f, "k.", dns.TypeA, edns(1232, false), func(m *dns.Msg) { m.SetTsig("key.", dns.HmacSHA256, 300, 1) }))
	f.Add(query(f, "example.org.", dns.TypeIXFR, func(m *dns.Msg) {
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeSOA, Class: 1}, Ns: ".", Mbox: "."}}
	}))
	f.Fuzz(func(t *testing.T, msg []byte) { checkQuestion(t, msg) })
}

func TestParseQuestionDoesNotAllocate(t *testing.T) {
	msg := query(t, "www.example.org.", dns.TypeA, edns(1232, true, local(OptionCookie, "12345678")))
	var q Question
	if n := testing.AllocsPerRun(1000, func() { ParseQuestion(msg, &q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParseQuestion(b *testing.B) {
	for _, c := range []struct {
		name string
		msg  []byte
	}{
		{"plain", query(b, "www.example.org.", dns.TypeA)},
		{"edns", query(b, "www.example.org.", dns.TypeA, edns(1232, true))},
		{"cookie", query(b, "www.example.org.", dns.TypeA, edns(1232, true, local(OptionCookie, "12345678")))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var q Question
			for b.Loop() {
				if o := ParseQuestion(c.msg, &q); o != Plain {
					b.Fatal(o)
				}
			}
		})
	}
}
