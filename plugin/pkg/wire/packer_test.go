package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// sets makes sets of records in presentation form: records of one owner and type
// that follow one another are a set, RRSIGs belong to the set before them.
func sets(t testing.TB, records ...string) (all []zone.Set) {
	t.Helper()
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil || rr == nil {
			t.Fatalf("record %q: %v", text, err)
		}
		owner, rdata, err := rrset.FromRR(rr)
		if err != nil {
			t.Fatalf("record %q: %v", text, err)
		}
		h := rr.Header()
		set, err := rrset.New(h.Rrtype, h.Ttl, rdata)
		if err != nil {
			t.Fatalf("record %q: %v", text, err)
		}
		last := len(all) - 1
		switch {
		case last >= 0 && all[last].Owner == owner && h.Rrtype == dns.TypeRRSIG:
			set = more(t, all[last].Sigs, set)
			all[last].Sigs = set
		case last >= 0 && all[last].Owner == owner && all[last].Type == h.Rrtype:
			all[last].RRset = more(t, all[last].RRset, set)
		default:
			all = append(all, zone.Set{Owner: owner, RRset: set})
		}
	}
	return all
}

func more(t testing.TB, set, one rrset.RRset) rrset.RRset {
	t.Helper()
	if set.IsEmpty() {
		return one
	}
	set, _, err := set.With(one.First())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func parse(t testing.TB, msg []byte) *Question {
	t.Helper()
	q := new(Question)
	if o := ParseQuestion(msg, q); o != Plain {
		t.Fatalf("%v: %x", o, msg)
	}
	return q
}

// record is a resource record to compare: names in lower case.
type record struct {
	owner      string
	typ, class uint16
	ttl        uint32
	rdata      string
}

func (r record) String() string {
	return fmt.Sprintf("%v %d %d %d %x", dnsname.Name(r.owner), r.ttl, r.class, r.typ, r.rdata)
}

// compressed says where names may be compressed: fixed octets, then names.
var compressed = map[uint16]struct{ fixed, names int }{
	rrset.TypeNS: {0, 1}, rrset.TypeMD: {0, 1}, rrset.TypeMF: {0, 1}, rrset.TypeCNAME: {0, 1}, rrset.TypeSOA: {0, 2}, rrset.TypeMB: {0, 1},
	rrset.TypeMG: {0, 1}, rrset.TypeMR: {0, 1}, rrset.TypePTR: {0, 1}, rrset.TypeMINFO: {0, 2}, rrset.TypeMX: {2, 1},
}

// read gives the records of the answer, authority and additional section of a
// message, but for OPT. It does not go through the types of miekg/dns, as these
// do not keep all RDATA as it is.
func read(t testing.TB, msg []byte) (sections [3][]record) {
	t.Helper()
	u16 := func(off int) int { return int(msg[off])<<8 | int(msg[off+1]) }
	off := HeaderSize
	name := func() dnsname.Name {
		n, next, err := dnsname.FromWire(msg, off)
		if err != nil {
			t.Fatalf("name at %d: %v: %x", off, err, msg)
		}
		off = next
		return n
	}
	for range u16(4) {
		name()
		off += 4
	}
	for i := range sections {
		for range u16(6 + 2*i) {
			r := record{owner: string(name().Fold())}
			r.typ, r.class, r.ttl = uint16(u16(off)), uint16(u16(off+2)), uint32(u16(off+4)<<16|u16(off+6))
			end := off + 10 + u16(off+8)
			off += 10
			if c, ok := compressed[r.typ]; ok {
				r.rdata = string(msg[off : off+c.fixed])
				off += c.fixed
				for range c.names {
					r.rdata += string(name())
				}
			}
			r.rdata = string(rrset.AppendCanonical(nil, r.typ, r.rdata+string(msg[off:end])))
			off = end
			if r.typ != rrset.TypeOPT {
				sections[i] = append(sections[i], r)
			}
		}
	}
	if off != len(msg) {
		t.Fatalf("records end at %d of %d", off, len(msg))
	}
	return sections
}

// records gives what sets have in a message.
func records(sets []zone.Set) (all []record) {
	for _, s := range sets {
		for _, r := range []rrset.RRset{s.RRset, s.Sigs} {
			for rdata := range r.All() {
				all = append(all, record{string(s.Owner.Fold()), r.Type, dns.ClassINET, r.TTL, string(rrset.AppendCanonical(nil, r.Type, rdata))})
			}
		}
	}
	return all
}

func unpack(t testing.TB, msg []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		t.Fatalf("%v: %x", err, msg)
	}
	return m
}

func section(t testing.TB, name string, got []record, want []zone.Set) {
	t.Helper()
	if w := records(want); !slices.Equal(got, w) {
		t.Errorf("%s:\ngot  %v\nwant %v", name, got, w)
	}
}

// complete checks that msg is the answer a to q with all its records.
func complete(t testing.TB, msg []byte, q *Question, a *zone.Answer) *dns.Msg {
	t.Helper()
	m := unpack(t, msg)
	checkHead(t, m, msg, q)
	if m.Rcode != a.Kind.Rcode() || m.Authoritative != a.AA || m.Truncated {
		t.Errorf("header: %v", m.MsgHdr)
	}
	got := read(t, msg)
	section(t, "answer", got[0], a.Answer)
	section(t, "authority", got[1], a.Authority)
	section(t, "additional", got[2], a.Additional)
	return m
}

// checkHead checks what every response to q has.
func checkHead(t testing.TB, m *dns.Msg, msg []byte, q *Question) {
	t.Helper()
	checkHeadAndSize(t, m, msg, q, min(q.UDPSize, MaxUDP))
}

// checkHeadAndSize is checkHead for another size in the OPT record.
func checkHeadAndSize(t testing.TB, m *dns.Msg, msg []byte, q *Question, size uint16) {
	t.Helper()
	if m.Id != q.ID || !m.Response || m.RecursionAvailable || m.AuthenticatedData || m.Zero ||
		m.Opcode != int(q.Flags>>11&0xf) || m.RecursionDesired != (q.Flags&FlagRD != 0) || m.CheckingDisabled != (q.Flags&FlagCD != 0) {
		t.Errorf("header: %v", m.MsgHdr)
	}
	if q.Name != "" {
		want := fmt.Sprintf("%s%04x%04x", hex.EncodeToString([]byte(q.Name)), q.Type, q.Class)
		if got := hex.EncodeToString(msg[HeaderSize : HeaderSize+len(q.Name)+4]); len(m.Question) != 1 || got != want {
			t.Errorf("question %v: %s, want %s", m.Question, got, want)
		}
	}
	opts := 0
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			opts++
		}
	}
	switch opt := m.IsEdns0(); {
	case !q.HasEDNS && opts == 0:
	case !q.HasEDNS || opts != 1:
		t.Errorf("%d OPT records", opts)
	case opt.UDPSize() != size || opt.Version() != 0 || opt.Do() != q.DO || opt.Z() != 0 || opt.Co() || opt.Hdr.Name != ".":
		t.Errorf("OPT: %v", opt)
	}
}

// byMiekg packs the same message with the compression of miekg/dns.
func byMiekg(t testing.TB, msg []byte) []byte {
	t.Helper()
	m := unpack(t, msg)
	m.Compress = true
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const sig = " RRSIG A 13 3 300 20300101000000 20200101000000 12345 example.org. AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="

// examples are answers of each kind.
func examples(t testing.TB) map[string]*zone.Answer {
	soa := "example.org. 300 IN SOA ns1.example.org. hostmaster.example.org. 1 7200 3600 1209600 300"
	return map[string]*zone.Answer{
		"positive": {AA: true, Answer: sets(t, "www.example.org. 300 IN A 192.0.2.1", "www.example.org. 300 IN A 192.0.2.2")},
		"signed":   {AA: true, Answer: sets(t, "www.example.org. 300 IN A 192.0.2.1", "www.example.org. 300 IN"+sig)},
		"alias": {AA: true, Answer: sets(t, "www.example.org. 300 IN CNAME Host.Example.ORG.", "Host.example.org. 300 IN CNAME a.b.host.example.org.",
			"a.b.host.example.org. 300 IN AAAA 2001:db8::1")},
		"nodata":   {AA: true, Kind: zone.NoData, Authority: sets(t, soa)},
		"nxdomain": {AA: true, Kind: zone.NXDomain, Authority: sets(t, soa)},
		"referral": {
			Kind: zone.Delegation, Authority: sets(t, "example.org. 300 IN NS ns1.example.org.", "example.org. 300 IN NS ns2.example.org.", "example.org. 300 IN NS ns.example.net."),
			Glue: 3, Additional: sets(t, "ns1.example.org. 300 IN A 192.0.2.53", "ns1.example.org. 300 IN AAAA 2001:db8::53", "ns2.example.org. 300 IN A 192.0.2.54"),
		},
		"services": {
			AA: true, Answer: sets(t, "www.example.org. 300 IN SRV 1 2 443 a.example.org.", "www.example.org. 300 IN SRV 1 2 443 b.example.org."),
			Additional: sets(t, "a.example.org. 300 IN A 192.0.2.1", "a.example.org. 300 IN"+sig, "b.example.org. 300 IN A 192.0.2.2"),
		},
		"denial": {AA: true, Kind: zone.NXDomain, Authority: append(sets(t, soa), sets(t, "example.org. 300 IN NSEC a.example.org. NS SOA", "vvv.example.org. 300 IN NSEC zzz.example.org. A")...)},
		"dname": {AA: true, Answer: sets(t, "example.org. 300 IN DNAME example.net.", "www.example.org. 300 IN CNAME www.example.net.",
			"www.example.net. 300 IN MX 10 mx.example.net.", "www.example.net. 300 IN MX 20 .")},
		"root":     {AA: true, Answer: sets(t, ". 300 IN NS a.root-servers.net.", ". 300 IN NS b.root-servers.net.")},
		"yxdomain": {AA: true, Kind: zone.YXDomain, Answer: sets(t, "example.org. 300 IN DNAME example.net.")},
		"empty":    {AA: true},
	}
}

func TestAppendResponse(t *testing.T) {
	var p Packer
	for name, a := range examples(t) {
		for _, qname := range []string{"www.example.org.", "WWW.eXaMpLe.org.", "a.b.c.www.example.org.", "other.test.", "org.", "."} {
			for _, change := range []func(*dns.Msg){func(*dns.Msg) {}, edns(1232, true)} {
				t.Run(name+" "+qname, func(t *testing.T) {
					q := parse(t, query(t, qname, dns.TypeA, change, func(m *dns.Msg) { m.RecursionDesired, m.CheckingDisabled = true, true }))
					msg, err := p.AppendResponse(nil, q, a, MaxUDP, nil)
					if err != nil {
						t.Fatal(err)
					}
					m := complete(t, msg, q, a)
					theirs := byMiekg(t, msg)
					if len(msg) > len(theirs) {
						t.Errorf("%d octets, miekg/dns has %d: %v", len(msg), len(theirs), m)
					}
				})
			}
		}
	}
}

func TestAppendResponseBytes(t *testing.T) {
	cases := []struct {
		name, example, qname string
		change               func(*dns.Msg)
		want                 string
	}{
		{"positive", "positive", "wWw.example.org.", func(m *dns.Msg) { m.RecursionDesired = true }, `
			1234 8500 0001 0002 0000 0000
			03775777 076578616d706c65 036f7267 00 0001 0001
			c00c 0001 0001 0000012c 0004 c0000201
			c00c 0001 0001 0000012c 0004 c0000202`},
		{"nxdomain", "nxdomain", "nope.example.org.", edns(4096, true), `
			1234 8403 0001 0000 0001 0001
			046e6f7065 076578616d706c65 036f7267 00 0001 0001
			c011 0006 0001 0000012c 0027
				036e7331 c011 0a686f73746d6173746572 c011 00000001 00001c20 00000e10 00127500 0000012c
			00 0029 04d0 00 00 8000 0000`},
		{"referral", "referral", "www.example.org.", edns(512, false), `
			1234 8000 0001 0000 0003 0004
			03777777 076578616d706c65 036f7267 00 0001 0001
			c010 0002 0001 0000012c 0006 036e7331 c010
			c010 0002 0001 0000012c 0006 036e7332 c010
			c010 0002 0001 0000012c 0010 026e73 076578616d706c65 036e6574 00
			c02d 0001 0001 0000012c 0004 c0000235
			c02d 001c 0001 0000012c 0010 20010db8000000000000000000000053
			c03f 0001 0001 0000012c 0004 c0000236
			00 0029 0200 00 00 0000 0000`},
		{"names in the RDATA of later types are targets only", "services", "www.example.org.", func(*dns.Msg) {}, `
			1234 8400 0001 0002 0000 0003
			03777777 076578616d706c65 036f7267 00 0001 0001
			c00c 0021 0001 0000012c 0015 0001 0002 01bb 0161 076578616d706c65 036f7267 00
			c00c 0021 0001 0000012c 0015 0001 0002 01bb 0162 076578616d706c65 036f7267 00
			c033 0001 0001 0000012c 0004 c0000201
			c033 002e 0001 0000012c 005f 0001 0d 03 0000012c 70dbd880 5e0be100 3039
				076578616d706c65 036f7267 00
				00000000000000000000000000000000 00000000000000000000000000000000
				00000000000000000000000000000000 00000000000000000000000000000000
			c054 0001 0001 0000012c 0004 c0000202`},
		{"root", "root", ".", func(*dns.Msg) {}, `
			1234 8400 0001 0002 0000 0000
			00 0001 0001
			00 0002 0001 0000012c 0014 0161 0c726f6f742d73657276657273 036e6574 00
			00 0002 0001 0000012c 0004 0162 c01e`},
	}
	all := examples(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var p Packer
			got, err := p.AppendResponse(nil, parse(t, query(t, c.qname, dns.TypeA, c.change)), all[c.example], MaxUDP, nil)
			if want := unhex(t, c.want); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v\ngot  %x\nwant %x\n%v", err, got, want, unpack(t, got))
			}
		})
	}
}

func TestAppendResponseLeavesDstAlone(t *testing.T) {
	var p Packer
	q, a := parse(t, query(t, "www.example.org.", dns.TypeA)), examples(t)["referral"]
	want, err := p.AppendResponse(nil, q, a, MaxUDP, nil)
	if err != nil {
		t.Fatal(err)
	}
	prefix := []byte("the message starts after this")
	got, err := p.AppendResponse(slices.Clone(prefix), q, a, MaxUDP, nil)
	if err != nil || !bytes.HasPrefix(got, prefix) || !bytes.Equal(got[len(prefix):], want) {
		t.Errorf("%v: %x, want %x", err, got[len(prefix):], want)
	}
}

func TestOptions(t *testing.T) {
	var p Packer
	a := &zone.Answer{AA: true}
	options := AppendOption(nil, OptionNSID, "a name")
	options = AppendOption(options, OptionEDE, []byte("\x00\x14text"))
	options = AppendOption(options, OptionZoneVersion, "\x02\x00\x00\x00\x00\x07")
	codes := func(msg []byte) (all []uint16) {
		opt := unpack(t, msg).IsEdns0()
		if opt == nil {
			return nil
		}
		for _, o := range opt.Option {
			all = append(all, o.Option())
		}
		return all
	}
	want := []uint16{OptionNSID, OptionEDE, OptionZoneVersion}
	with, without := parse(t, query(t, "a.", dns.TypeA, edns(512, false))), parse(t, query(t, "a.", dns.TypeA))
	large := AppendOption(nil, OptionNSID, make([]byte, 512-12-7-11-4))
	for _, c := range []struct {
		name    string
		q       *Question
		options []byte
		want    []uint16
	}{
		{"with EDNS", with, options, want},
		{"without EDNS", without, options, nil},
		{"as much as there is room for", with, large, []uint16{OptionNSID}},
		{"one more octet", with, append(large, 0), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			msg, err := p.AppendResponse(nil, c.q, a, c.q.UDPLimit(), c.options)
			if err != nil || !slices.Equal(codes(msg), c.want) || len(msg) > 512 {
				t.Errorf("%v, %d octets: %v", err, len(msg), codes(msg))
			}
			checkHead(t, unpack(t, msg), msg, c.q)
			failed := AppendError(nil, c.q, dns.RcodeRefused, c.options)
			if !slices.Equal(codes(failed), c.want) || len(failed) > 512 {
				t.Errorf("AppendError: %d octets: %v", len(failed), codes(failed))
			}
		})
	}
	if v := unpack(t, AppendError(nil, with, 0, options)).IsEdns0().Option[2].(*dns.EDNS0_ZONEVERSION); v.LabelCount != 2 || v.Version != "\x00\x00\x00\x07" {
		t.Errorf("ZONEVERSION: %+v", v)
	}
}

// TestCompact: CO is repeated with a compact answer alone, and the code of a veiled one is
// NOERROR (C1, C2).
func TestCompact(t *testing.T) {
	for _, c := range []struct {
		asks, compact, veiled bool
		co                    bool
		rcode                 int
	}{
		{false, false, false, false, dns.RcodeNameError},
		{true, false, false, false, dns.RcodeNameError},
		{false, true, true, false, dns.RcodeSuccess},
		{true, true, false, true, dns.RcodeNameError},
	} {
		m := new(dns.Msg).SetQuestion("nope.example.org.", dns.TypeA)
		m.SetEdns0(1232, true).IsEdns0().SetCo(c.asks)
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		a := &zone.Answer{Kind: zone.NXDomain, Compact: c.compact, Veiled: c.veiled}
		got, err := new(Packer).AppendResponse(nil, parse(t, packed), a, MinUDP, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Unpack(got); err != nil || m.Rcode != c.rcode || m.IsEdns0().Co() != c.co || !m.IsEdns0().Do() || m.IsEdns0().Z() != 0 {
			t.Errorf("%+v: %v\n%s", c, err, m)
		}
	}
}

func TestAppendError(t *testing.T) {
	raw := func(s string) []byte { return unhex(t, s) }
	cases := []struct {
		name  string
		msg   []byte
		rcode int
		want  string
	}{
		{"NOTIMP has the opcode and no question", raw("1234 7900 0001 0000 0000 0000 00 0001 0001"), dns.RcodeNotImplemented, "1234 f904 0000 0000 0000 0000"},
		{"FORMERR without a question", raw("1234 0110 0002 0000 0000 0000 00 0001 0001"), dns.RcodeFormatError, "1234 8111 0000 0000 0000 0000"},
		{"FORMERR after the question", raw("1234 0100 0001 0000 0000 0001 016100 0001 0001 00 0029 04d0 00"), dns.RcodeFormatError, "1234 8101 0001 0000 0000 0000 016100 0001 0001"},
		{
			"FORMERR for two OPT", raw("1234 0100 0001 0000 0000 0002 016100 0001 0001 00 0029 1000 00000000 0000 00 0029 1000 00000000 0000"), dns.RcodeFormatError,
			"1234 8101 0001 0000 0000 0001 016100 0001 0001 00 0029 1000 00000000 0000",
		},
		{
			"BADVERS", raw("1234 0100 0001 0000 0000 0001 016100 0001 0001 00 0029 1000 0001c000 0000"), dns.RcodeBadVers,
			"1234 8100 0001 0000 0000 0001 016100 0001 0001 00 0029 1000 01008000 0000",
		},
		{"REFUSED", raw("1234 0000 0001 0000 0000 0000 016100 0001 0001"), dns.RcodeRefused, "1234 8005 0001 0000 0000 0000 016100 0001 0001"},
		{
			"BADCOOKIE", raw("1234 0000 0001 0000 0000 0001 016100 0001 0001 00 0029 1000 00000000 0000"), dns.RcodeBadCookie,
			"1234 8007 0001 0000 0000 0001 016100 0001 0001 00 0029 1000 01000000 0000",
		},
		{"BADCOOKIE cannot be said without EDNS", raw("1234 0000 0001 0000 0000 0000 016100 0001 0001"), dns.RcodeBadCookie, "1234 8002 0001 0000 0000 0000 016100 0001 0001"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var q Question
			ParseQuestion(c.msg, &q)
			got := AppendError([]byte("x"), &q, c.rcode, nil)
			if want := append([]byte("x"), raw(c.want)...); !bytes.Equal(got, want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
			checkHeadAndSize(t, unpack(t, got[1:]), got[1:], &q, q.UDPSize)
		})
	}
}

// many gives n sets of one A record each.
func many(t testing.TB, n int, name string) (all []zone.Set) {
	for i := range n {
		all = append(all, sets(t, fmt.Sprintf("%s%d.example.org. 300 IN A 192.0.2.%d", name, i, i))...)
	}
	return all
}

func TestTruncation(t *testing.T) {
	var p Packer
	plain, signed := parse(t, query(t, "www.example.org.", dns.TypeA)), parse(t, query(t, "www.example.org.", dns.TypeA, edns(512, true)))
	var addresses []string
	for i := range 40 {
		addresses = append(addresses, fmt.Sprintf("www.example.org. 300 IN A 192.0.2.%d", i))
	}
	big := sets(t, addresses...)
	alias := sets(t, "al.example.org. 300 IN CNAME www.example.org.")
	ns := sets(t, "example.org. 300 IN NS a0.example.org.", "example.org. 300 IN NS a1.example.org.")
	cases := []struct {
		name  string
		q     *Question
		limit int
		a     zone.Answer
		// how many sets of each section are in the message
		answer, authority, additional int
		truncated                     bool
	}{
		{"fits", plain, 12 + 21 + 40*16, zone.Answer{Answer: big}, 1, 0, 0, false},
		{"one octet too many", plain, 12 + 21 + 40*16 - 1, zone.Answer{Answer: big}, 0, 0, 0, true},
		{"the OPT record takes its room", signed, 12 + 21 + 40*16 + 10, zone.Answer{Answer: big}, 0, 0, 0, true},
		{"cut between RRsets", plain, 512, zone.Answer{Answer: append(slices.Clone(alias), big...)}, 1, 0, 0, true},
		{"authority does not fit", plain, 512, zone.Answer{Answer: alias, Authority: big, Additional: many(t, 1, "a")}, 1, 0, 0, true},
		{"40 glue addresses (A32)", plain, 512, zone.Answer{Authority: ns, Additional: many(t, 40, "a"), Glue: 40}, 0, 1, 23, true},
		{"30 optional addresses (A56)", signed, 512, zone.Answer{Answer: alias, Additional: many(t, 30, "a")}, 1, 0, 23, false},
		{"optional after glue", plain, 512, zone.Answer{Authority: ns, Additional: many(t, 40, "a"), Glue: 10}, 0, 1, 23, false},
		{"a smaller limit than any client has", plain, 1, zone.Answer{Answer: alias, Additional: many(t, 30, "a")}, 1, 0, 23, false},
		{
			"an optional set that is too large is left out, one after it is not", plain, 512,
			zone.Answer{Answer: alias, Additional: append(slices.Clone(big), many(t, 1, "a")...)},
			1, 0, -1, false,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			msg, err := p.AppendResponse(nil, c.q, &c.a, c.limit, nil)
			m := unpack(t, msg)
			if m.Truncated != c.truncated || errors.Is(err, ErrTruncated) != c.truncated || len(msg) > max(c.limit, MinUDP) {
				t.Errorf("tc %v, %v, %d octets", m.Truncated, err, len(msg))
			}
			checkHead(t, m, msg, c.q)
			got := read(t, msg)
			section(t, "answer", got[0], c.a.Answer[:c.answer])
			section(t, "authority", got[1], c.a.Authority[:c.authority])
			want := c.a.Additional
			if c.additional < 0 {
				want = want[1:]
			} else {
				want = want[:c.additional]
			}
			section(t, "additional", got[2], want)
		})
	}
}

func TestTooLargeForAStream(t *testing.T) {
	var p Packer
	q := parse(t, query(t, "www.example.org.", dns.TypeTXT))
	txt := func(n int) zone.Set { // n records of 1000 octets
		set := rrset.RRset{Type: rrset.TypeTXT}
		for i := range n {
			var err error
			if set, _, err = set.With(fmt.Sprintf("%03d%s", i, strings.Repeat("x", 997))); err != nil {
				t.Fatal(err)
			}
		}
		return zone.Set{Owner: q.Name, RRset: set}
	}
	if msg, err := p.AppendResponse(nil, q, &zone.Answer{Answer: []zone.Set{txt(64)}}, MaxMessage, nil); err != nil || len(msg) != 12+21+64*1012 {
		t.Errorf("%v, %d octets", err, len(msg))
	}
	if msg, err := p.AppendResponse(nil, q, &zone.Answer{Answer: []zone.Set{txt(65)}}, 1<<20, nil); !errors.Is(err, ErrTruncated) || len(msg) != 12+21 {
		t.Errorf("%v, %d octets", err, len(msg))
	}
}

// rdata has one record of each type that has rules of its own, and of a few more.
var rdata = []string{
	"A 192.0.2.1", "NS a.example.org.", "MD a.example.org.", "MF a.example.org.", "CNAME a.example.org.",
	"SOA a.example.org. b.example.org. 1 2 3 4 5", "MB a.example.org.", "MG a.example.org.", "MR a.example.org.", "NULL \\# 3 010203", "PTR a.example.org.",
	"HINFO cpu os", "MINFO a.example.org. b.example.org.", "MX 10 a.example.org.", `TXT "a" "b"`, "RP a.example.org. b.example.org.",
	"AFSDB 1 a.example.org.", "X25 311061700956", "ISDN 150862028003217 004", "RT 2 a.example.org.", "NSAP-PTR a.example.org.", "KEY 256 3 8 AQID",
	"PX 10 a.example.org. b.example.org.", "GPOS 1.0 2.0 3.0", "AAAA 2001:db8::1", "LOC 51 30 12.748 N 00 07 39.612 W 0.00m 0.00m 0.00m 0.00m",
	"SRV 1 2 3 a.example.org.", `NAPTR 1 2 "S" "SIP+D2U" "" a.example.org.`, "KX 1 a.example.org.", "CERT 1 2 3 AQID", "DNAME a.example.org.",
	"APL 1:192.168.32.0/21", "DS 1 13 2 " + strings.Repeat("00", 32), "SSHFP 1 1 " + strings.Repeat("00", 20), "IPSECKEY 10 3 2 a.example.org. AQID",
	strings.TrimSpace(sig), "NSEC a.example.org. A MX", "DNSKEY 257 3 13 AQID", "DHCID AQID", "NSEC3 1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A",
	"NSEC3PARAM 1 0 0 -", "TLSA 3 1 1 " + strings.Repeat("00", 32), "SMIMEA 3 1 1 " + strings.Repeat("00", 32), "HIP 2 200100107B1A74DF365639CC39F1D578 AQID a.example.org.",
	`NINFO "x"`, "RKEY 0 3 8 AQID", "TALINK a.example.org. b.example.org.", "CDS 1 13 2 " + strings.Repeat("00", 32), "CDNSKEY 257 3 13 AQID", "OPENPGPKEY AQID",
	"CSYNC 66 3 A NS", "ZONEMD 1 1 1 " + strings.Repeat("00", 48), "SVCB 1 a.example.org. alpn=h2", "HTTPS 0 a.example.org.", `SPF "v=spf1"`,
	"NID 10 0014:4fff:ff20:ee64", "L32 10 10.1.2.0", "L64 10 2001:0DB8:1140:1000", "LP 10 a.example.org.", "EUI48 00-00-5e-00-53-2a", "EUI64 00-00-5e-ef-10-00-00-2a",
	`URI 10 1 "ftp://a.example.org"`, `CAA 0 issue "a"`, `AVC "x"`, "AMTRELAY 10 0 3 a.example.org.", `RESINFO "qnamemin"`, "TYPE65280 \\# 3 010203",
}

// TestAllTypes packs two records of each type, so that the second has names to
// point to, and compares with miekg/dns.
func TestAllTypes(t *testing.T) {
	var p Packer
	q := parse(t, query(t, "www.example.org.", dns.TypeANY, edns(1232, true)))
	var all zone.Answer
	for _, text := range rdata {
		typ, _, _ := strings.Cut(text, " ")
		t.Run(typ, func(t *testing.T) {
			a := zone.Answer{AA: true, Answer: sets(t, "www.example.org. 300 IN "+text, "x.a.example.org. 300 IN "+text)}
			if len(a.Answer) == 1 { // a lone RRSIG is a set
				t.Fatal("one set")
			}
			msg, err := p.AppendResponse(nil, q, &a, MaxUDP, nil)
			if err != nil {
				t.Fatal(err)
			}
			complete(t, msg, q, &a)
			theirs := byMiekg(t, msg)
			switch {
			case typ == "IPSECKEY" || typ == "HIP" || typ == "AMTRELAY" || typ == "NSAP-PTR": // names in these are no targets here
				if len(msg) < len(theirs) {
					t.Errorf("%d octets, miekg/dns has %d", len(msg), len(theirs))
				}
			case len(msg) != len(theirs):
				t.Errorf("%d octets, miekg/dns has %d:\n%x\n%x", len(msg), len(theirs), msg, theirs)
			}
			all.Answer = append(all.Answer, a.Answer...)
		})
	}
	msg, err := p.AppendResponse(nil, q, &all, MaxMessage, nil)
	if err != nil {
		t.Fatal(err)
	}
	all.AA = false
	complete(t, msg, q, &all)
}

func TestMalformedRDATA(t *testing.T) {
	var p Packer
	q := parse(t, query(t, "www.example.org.", dns.TypeANY))
	for _, c := range []struct {
		typ   uint16
		rdata []string
	}{
		{rrset.TypeNS, []string{"", "\x03abc", "\xc0\x0c", "\x01a\x00", "\x01b\x00trailing"}},
		{rrset.TypeMX, []string{"\x00", "\x00\x01", "\x00\x01\x41"}},
		{rrset.TypeSOA, []string{"\x00", "\x00\x00", "\x01a\x00\x01b\x00short"}},
		{rrset.TypeNAPTR, []string{"\x00\x00\x00\x00", "\x00\x00\x00\x00\x09a"}},
	} {
		set, err := rrset.New(c.typ, 300, c.rdata...)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := p.AppendResponse(nil, q, &zone.Answer{Answer: []zone.Set{{Owner: q.Name, RRset: set}}}, MaxUDP, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.rdata { // no name in them could be compressed, so all are copied as they are
			if !bytes.Contains(msg, append([]byte{0, byte(len(r))}, r...)) {
				t.Errorf("type %d: no %x in %x", c.typ, r, msg)
			}
		}
		off, n := HeaderSize+len(q.Name)+4, 0
		for off < len(msg) {
			_, next, err := dnsname.FromWire(msg, off)
			if err != nil {
				t.Fatal(err)
			}
			off = next + 10 + int(msg[next+8])<<8 + int(msg[next+9])
			n++
		}
		if off != len(msg) || n != set.Len() {
			t.Errorf("type %d: %d records, msg %d", c.typ, n, set.Len())
		}
	}
}

// name draws names that often share ends, in any letter case.
var anyName = rapid.Custom(func(t *rapid.T) dnsname.Name {
	label := rapid.SampledFrom([]string{"a", "A", "b", "www", "wWw", "example", "Example", "ns1", "ns2", "org", "\x00", "0123456789abcdef", "0123456789ABCDEf", strings.Repeat("l", 63)})
	var b []byte
	for _, l := range rapid.SliceOfN(label, 0, 5).Draw(t, "labels") {
		if len(b)+1+len(l)+1 > dnsname.MaxLen {
			break
		}
		b = append(append(b, byte(len(l))), l...)
	}
	return dnsname.Name(append(b, 0))
})

var anySet = rapid.Custom(func(t *rapid.T) zone.Set {
	make := func(typ uint16, n int) rrset.RRset {
		set := rrset.RRset{Type: typ, TTL: rapid.Uint32().Draw(t, "ttl")}
		for i := range n {
			name := string(anyName.Draw(t, "name"))
			num := string(rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "octets"))
			var r string
			switch typ {
			case rrset.TypeA:
				r = num[:4]
			case rrset.TypeAAAA:
				r = num[:16]
			case rrset.TypeMX:
				r = num[:2] + name
			case rrset.TypeSRV:
				r = num[:6] + name
			case rrset.TypeSOA:
				r = name + string(anyName.Draw(t, "name")) + num
			case rrset.TypeRRSIG:
				r = num[:18] + name + num
			case rrset.TypeTXT:
				r = string([]byte{byte(i), 255}) + strings.Repeat("t", 255)
				r = r[1:]
			case rrset.TypeNS, rrset.TypeDNAME:
				r = name
			default:
				r = num
			}
			next, _, err := set.With(r)
			if err != nil {
				t.Fatal(err)
			}
			set = next
		}
		return set
	}
	typ := rapid.SampledFrom([]uint16{rrset.TypeA, rrset.TypeAAAA, rrset.TypeNS, rrset.TypeMX, rrset.TypeSRV, rrset.TypeSOA, rrset.TypeTXT, rrset.TypeDNAME, 65280}).Draw(t, "type")
	s := zone.Set{Owner: anyName.Draw(t, "owner"), RRset: make(typ, rapid.IntRange(1, 6).Draw(t, "records"))}
	if rapid.IntRange(0, 3).Draw(t, "signed") == 0 {
		s.Sigs = make(rrset.TypeRRSIG, rapid.IntRange(1, 2).Draw(t, "sigs"))
	}
	return s
})

// size gives the size of the response without a limit.
func size(p *Packer, q *Question, a *zone.Answer, options []byte) int {
	msg, err := p.AppendResponse(nil, q, a, MaxMessage, options)
	if err != nil {
		return MaxMessage + 1
	}
	return len(msg)
}

func TestAnyAnswer(t *testing.T) {
	var p Packer
	rapid.Check(t, func(rt *rapid.T) {
		q := &Question{ID: 1, Flags: FlagRD, Name: anyName.Draw(rt, "qname"), Type: rrset.TypeA, Class: 1}
		if rapid.Bool().Draw(rt, "edns") {
			q.HasEDNS, q.DO, q.UDPSize = true, rapid.Bool().Draw(rt, "do"), rapid.Uint16().Draw(rt, "size")
		}
		var options []byte
		if rapid.Bool().Draw(rt, "option") {
			options = AppendOption(nil, OptionNSID, strings.Repeat("n", rapid.IntRange(0, 300).Draw(rt, "nsid")))
		}
		list := rapid.SliceOfN(anySet, 0, 4)
		a := &zone.Answer{
			Kind: zone.Kind(rapid.IntRange(0, 4).Draw(rt, "kind")), AA: rapid.Bool().Draw(rt, "aa"),
			Answer: list.Draw(rt, "answer"), Authority: list.Draw(rt, "authority"), Additional: rapid.SliceOfN(anySet, 0, 12).Draw(rt, "additional"),
		}
		a.Glue = rapid.IntRange(0, len(a.Additional)).Draw(rt, "glue")
		limit := rapid.IntRange(0, 3000).Draw(rt, "limit")

		msg, err := p.AppendResponse(nil, q, a, limit, options)
		limit = max(limit, MinUDP)
		if len(msg) > limit {
			rt.Fatalf("%d octets, limit %d", len(msg), limit)
		}
		m := unpack(t, msg)
		checkHead(t, m, msg, q)
		if t.Failed() {
			rt.FailNow()
		}
		kept := HeaderSize + len(q.Name) + 4 + optSize + len(options)
		if opt := m.IsEdns0(); q.HasEDNS && (len(opt.Option) != 0) != (len(options) != 0 && kept <= limit) {
			rt.Fatalf("options %v", opt)
		}

		required := *a
		required.Additional = a.Additional[:a.Glue]
		fits := size(&p, q, &required, options) <= limit
		if m.Truncated == fits || errors.Is(err, ErrTruncated) == fits {
			rt.Fatalf("tc %v, %v, fits %v", m.Truncated, err, fits)
		}
		if !fits { // what is there stands at the start of what was to be sent, and the next set does not fit
			whole := *a
			whole.Additional = whole.Additional[:a.Glue]
			in := prefix(t, msg, &whole)
			if in == nil {
				rt.Fatalf("sections are not cut between RRsets: %v", m)
			}
			if size(&p, q, in, options) <= limit {
				rt.Fatalf("one more set would have fit: %v", m)
			}
			return
		}
		// every additional set is there or did not fit behind those before it
		sent := required
		sent.Additional = slices.Clone(required.Additional)
		rest := read(t, msg)[2][len(records(sent.Additional)):]
		for _, s := range a.Additional[a.Glue:] {
			want := records([]zone.Set{s})
			longer := sent
			longer.Additional = append(slices.Clone(sent.Additional), s)
			room := size(&p, q, &longer, options) <= limit
			there := len(rest) >= len(want) && slices.Equal(rest[:len(want)], want)
			if room != there {
				rt.Fatalf("set %v: room %v, in the message %v", s.Owner, room, there)
			}
			if there {
				sent, rest = longer, rest[len(want):]
			}
		}
		if len(rest) != 0 {
			rt.Fatalf("%d records too many", len(rest))
		}
		full, err := p.AppendResponse(nil, q, &sent, limit, options)
		if err != nil || !bytes.Equal(full, msg) {
			rt.Fatalf("%v: other octets when nothing is left out:\n%x\n%x", err, full, msg)
		}
		complete(t, full, q, &sent)
		if t.Failed() {
			rt.FailNow()
		}
	})
}

// prefix gives the sets of a that are in msg and the one after them, or nil if
// the sections of msg are not the start of a.
func prefix(t testing.TB, msg []byte, a *zone.Answer) *zone.Answer {
	t.Helper()
	sections := read(t, msg)
	in := &zone.Answer{Kind: a.Kind, AA: a.AA}
	cut := false
	for i, s := range []struct {
		want []zone.Set
		in   *[]zone.Set
	}{{a.Answer, &in.Answer}, {a.Authority, &in.Authority}, {a.Additional, &in.Additional}} {
		got, n := sections[i], 0
		for n < len(s.want) && !cut {
			w := records(s.want[n : n+1])
			n++
			if len(got) < len(w) || !slices.Equal(got[:len(w)], w) {
				cut = true
				break
			}
			got = got[len(w):]
		}
		if len(got) != 0 {
			return nil
		}
		*s.in = s.want[:n]
	}
	in.Glue = len(in.Additional)
	return in
}

func TestPackerDoesNotAllocate(t *testing.T) {
	var p Packer
	dst := make([]byte, 0, MaxUDP)
	options := AppendOption(nil, OptionNSID, "name")
	for name, a := range examples(t) {
		q := parse(t, query(t, "www.example.org.", dns.TypeA, edns(1232, true)))
		if n := testing.AllocsPerRun(100, func() {
			if _, err := p.AppendResponse(dst, q, a, MaxUDP, options); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	q := parse(t, query(t, "www.example.org.", dns.TypeA))
	if n := testing.AllocsPerRun(100, func() { AppendError(dst, q, dns.RcodeRefused, nil) }); n != 0 {
		t.Errorf("AppendError: %v allocations", n)
	}
	truncated := &zone.Answer{Answer: many(t, 40, "a")}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := p.AppendResponse(dst[:0:MinUDP], q, truncated, MinUDP, nil); !errors.Is(err, ErrTruncated) {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("truncated: %v allocations", n)
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	all := examples(b)
	for _, name := range []string{"positive", "signed", "alias", "nxdomain", "denial", "referral", "services"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var p Packer
			q := parse(b, query(b, "www.example.org.", dns.TypeA, edns(1232, true)))
			dst, a := make([]byte, 0, MaxUDP), all[name]
			for b.Loop() {
				if _, err := p.AppendResponse(dst, q, a, MaxUDP, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
