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
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/secondary"
)

// updateZone is the zone of the cases U1 to U46.
const updateZone = `@ 300 IN SOA ns1 hostmaster 10 7200 3600 1209600 300
@ 300 NS ns1
@ 300 NS ns2
ns1 300 A 192.0.2.53
ns2 300 A 192.0.2.54
www 300 A 192.0.2.1
two 300 A 192.0.2.1
two 300 A 192.0.2.2
c 300 CNAME www
a.ent 300 A 192.0.2.3
sub.www 300 A 192.0.2.4
`

// Keys of these tests.
var (
	allKey  = &server.Key{Name: "all.test.", Algorithm: "hmac-sha256", Secret: secretOne}
	someKey = &server.Key{Name: "some.test.", Algorithm: "hmac-sha512", Secret: secretTwo}
)

// record reads a record of the section of an UPDATE, "NAME TTL CLASS TYPE" and
// maybe RDATA, with names in the zone. The class is that of the section.
func record(t *testing.T, zone, line string) dns.RR {
	t.Helper()
	f := strings.Fields(line)
	ttl, err := strconv.ParseUint(f[1], 10, 32)
	class, ok := dns.StringToClass[f[2]]
	typ, known := dns.StringToType[f[3]]
	if n, found := strings.CutPrefix(f[3], "TYPE"); found {
		number, err := strconv.ParseUint(n, 10, 16)
		typ, known = uint16(number), err == nil
	}
	if err != nil || !ok || !known {
		t.Fatalf("%q: TTL, class or type", line)
	}
	owner := f[0]
	switch {
	case owner == "@":
		owner = zone
	case !strings.HasSuffix(owner, "."):
		owner += "." + zone
	}
	if len(f) == 4 {
		return &dns.ANY{Hdr: dns.RR_Header{Name: owner, Rrtype: typ, Class: class, Ttl: uint32(ttl)}}
	}
	parser := dns.NewZoneParser(strings.NewReader(fmt.Sprintf("%s 0 IN %s\n", owner, strings.Join(f[3:], " "))), zone, "")
	rr, _ := parser.Next()
	if err := parser.Err(); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	rr.Header().Ttl, rr.Header().Class = uint32(ttl), class
	return rr
}

// updating makes an UPDATE of a zone, with EDNS. Its lines are in the words of
// nsupdate, with a semicolon between: "yxrrset NAME TYPE [RDATA]", "nxrrset NAME
// TYPE", "yxdomain NAME", "nxdomain NAME", "add NAME TTL TYPE RDATA", "delete NAME
// [TYPE [RDATA]]"; "pre" and "up" are followed by any record.
func updating(t *testing.T, zone, lines string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetUpdate(zone)
	for line := range strings.SplitSeq(lines, ";") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		pre := func(format string, args ...any) {
			m.Answer = append(m.Answer, record(t, zone, fmt.Sprintf(format, args...)))
		}
		up := func(format string, args ...any) { m.Ns = append(m.Ns, record(t, zone, fmt.Sprintf(format, args...))) }
		switch rest := strings.Join(f[1:], " "); f[0] {
		case "yxdomain":
			pre("%s 0 ANY ANY", rest)
		case "nxdomain":
			pre("%s 0 NONE ANY", rest)
		case "yxrrset":
			if len(f) == 3 {
				pre("%s 0 ANY %s", f[1], f[2])
			} else {
				pre("%s 0 IN %s", f[1], strings.Join(f[2:], " "))
			}
		case "nxrrset":
			pre("%s 0 NONE %s", f[1], f[2])
		case "add":
			up("%s %s IN %s", f[1], f[2], strings.Join(f[3:], " "))
		case "delete":
			switch len(f) {
			case 2:
				up("%s 0 ANY ANY", f[1])
			case 3:
				up("%s 0 ANY %s", f[1], f[2])
			default:
				up("%s 0 NONE %s", f[1], strings.Join(f[2:], " "))
			}
		case "pre":
			pre("%s", rest)
		case "up":
			up("%s", rest)
		default:
			t.Fatalf("%q", line)
		}
	}
	m.SetEdns0(1232, false)
	return m
}

// signedAt packs a message with the signature of a key, nil for none, made at that
// time.
func signedAt(t *testing.T, m *dns.Msg, key *server.Key, at time.Time) (b []byte, mac string) {
	t.Helper()
	var err error
	if key == nil {
		b, err = m.Pack()
	} else {
		m = m.Copy()
		m.SetTsig(dns.Fqdn(key.Name), key.Algorithm+".", 300, at.Unix())
		b, mac, err = dns.TsigGenerate(m, key.Secret, "", false)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b, mac
}

// exchangeRaw sends octets over UDP, TCP or TLS from a socket of its own, and gives
// the octets that come back.
func exchangeRaw(network, addr string, b []byte) ([]byte, error) {
	var conn net.Conn
	var err error
	if network == "tcp-tls" {
		conn, err = tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}})
	} else {
		conn, err = net.Dial(network, addr)
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	buf := make([]byte, dns.MaxMsgSize)
	if network == "udp" {
		if _, err := conn.Write(b); err != nil {
			return nil, err
		}
		n, err := conn.Read(buf)
		return buf[:n], err
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(buf)
	_, err = io.ReadFull(conn, buf[:n])
	return buf[:n], err
}

// sendUpdate sends an update and gives the response, whose signature is right.
func sendUpdate(t *testing.T, network, addr string, m *dns.Msg, key *server.Key) *dns.Msg {
	t.Helper()
	b, mac := signedAt(t, m, key, time.Now())
	got, err := exchangeRaw(network, addr, b)
	if err != nil {
		t.Fatal(err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(got); err != nil {
		t.Fatal(err)
	}
	if r.Id != m.Id || !r.Response || r.Opcode != dns.OpcodeUpdate {
		t.Errorf("the response to %d: %v", m.Id, r)
	}
	if key != nil {
		if err := dns.TsigVerify(got, key.Secret, mac, false); err != nil && !errors.Is(err, dns.ErrAuth) { // of NOTAUTH the library looks at nothing else
			t.Errorf("the signature of the response: %v\n%v", err, r)
		}
	}
	return r
}

// ednsText gives the extended error of a response.
func ednsText(m *dns.Msg) (code uint16, text string) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return e.InfoCode, e.ExtraText
			}
		}
	}
	return 0, ""
}

// show gives what a name has of a type: the RDATA in order, with "ttl N" in front if
// asked for, or the response code.
func show(s *server.Server, name, typ string) string {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.StringToType[typ])
	r, _, err := (&dns.Client{Net: "tcp", Timeout: 10 * time.Second}).Exchange(m, s.Addr.String())
	if err != nil {
		return err.Error()
	}
	var list []string
	for _, rr := range r.Answer {
		text := strings.TrimPrefix(rr.String(), rr.Header().String())
		list = append(list, fmt.Sprintf("%d:%s", rr.Header().Ttl, text))
	}
	slices.Sort(list)
	if len(list) == 0 {
		return dns.RcodeToString[r.Rcode]
	}
	return strings.Join(list, " ")
}

// updateStep is one update, what comes of it, and what the zone has afterwards.
type updateStep struct {
	lines  string
	want   string            // response code and serial
	text   string            // in the extended error
	has    map[string]string // "NAME TYPE": as show gives it
	change func(*dns.Msg)
	key    *server.Key
}

// updateCases are U1 to U34, U42 and U46, each in a zone of its own.
var updateCases = []struct {
	name  string
	steps []updateStep
}{
	{"U1: no zone", []updateStep{{want: "FORMERR 10", change: func(m *dns.Msg) { m.Question = nil }}}},
	{"U1: two zones", []updateStep{{want: "FORMERR 10", change: func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }}}},
	{"U2", []updateStep{{want: "FORMERR 10", text: "the zone section is not one SOA", change: func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA }}}},
	{"U3", []updateStep{{want: "NOTAUTH 10", text: "no zone of this server has that name", change: func(m *dns.Msg) { m.Question[0].Name = "other.test." }}}},
	{"U4", []updateStep{{want: "NOTAUTH 10", text: "no zone of this server has that name", change: func(m *dns.Msg) { m.Question[0].Name = "www." + m.Question[0].Name }}}},
	{"U5", []updateStep{{lines: "pre www 1 ANY A; add x 60 A 192.0.2.9", want: "FORMERR 10", text: "prerequisite 1: www.ZONE A: TTL is not 0"}}},
	{"U6", []updateStep{{lines: "pre www.example.net. 0 ANY A; add x 60 A 192.0.2.9", want: "NOTZONE 10", text: "prerequisite 1: www.example.net. A: owner is not in the zone"}}},
	{"U7", []updateStep{{lines: "pre www 0 CH A; add x 60 A 192.0.2.9", want: "FORMERR 10", text: "prerequisite 1: "}}},
	{"U8", []updateStep{
		{lines: "pre www 0 ANY A 192.0.2.1; add x 60 A 192.0.2.9", want: "FORMERR 10", text: "prerequisite 1: www.ZONE A: RDATA where there must be none"},
		{lines: "pre www 0 NONE A 192.0.2.1; add x 60 A 192.0.2.9", want: "FORMERR 10", text: "prerequisite 1: "},
		{lines: "up www 0 ANY A 192.0.2.1", want: "FORMERR 10", text: "update 1: www.ZONE A: RDATA where there must be none"},
	}},
	{"U9", []updateStep{
		{lines: "yxdomain www; add x 60 A 192.0.2.9", want: "NOERROR 11"},
		{lines: "yxdomain nope; add y 60 A 192.0.2.9", want: "NXDOMAIN 11", text: "prerequisite 1: nope.ZONE ANY: name is not in use"},
		{lines: "yxdomain ent; add y 60 A 192.0.2.9", want: "NXDOMAIN 11", has: map[string]string{"y A": "NXDOMAIN"}},
	}},
	{"U10", []updateStep{
		{lines: "nxdomain www; add x 60 A 192.0.2.9", want: "YXDOMAIN 10", text: "prerequisite 1: www.ZONE ANY: name is in use"},
		{lines: "nxdomain ent; add x 60 A 192.0.2.9", want: "NOERROR 11"},
	}},
	{"U11", []updateStep{
		{lines: "yxrrset www A; add x 60 A 192.0.2.9", want: "NOERROR 11"},
		{lines: "yxrrset www TXT; add y 60 A 192.0.2.9", want: "NXRRSET 11", text: "prerequisite 1: www.ZONE TXT: RRset does not exist"},
	}},
	{"U12", []updateStep{
		{lines: "nxrrset www A; add x 60 A 192.0.2.9", want: "YXRRSET 10", text: "prerequisite 1: www.ZONE A: RRset exists"},
		{lines: "nxrrset www TXT; add x 60 A 192.0.2.9", want: "NOERROR 11"},
	}},
	{"U13", []updateStep{
		{lines: "yxrrset www A 192.0.2.1; add x 60 A 192.0.2.9", want: "NOERROR 11"},
		{lines: "yxrrset www A 192.0.2.2; add y 60 A 192.0.2.9", want: "NXRRSET 11", text: "prerequisite 1: www.ZONE A: RRset does not exist with these values"},
		{lines: "yxrrset two A 192.0.2.1; add y 60 A 192.0.2.9", want: "NXRRSET 11"},
		{lines: "yxrrset two A 192.0.2.2; yxrrset two A 192.0.2.1; add y 60 A 192.0.2.9", want: "NOERROR 12"},
		{lines: "yxrrset two A 192.0.2.2; yxrrset two A 192.0.2.1; yxrrset two A 192.0.2.3; add z 60 A 192.0.2.9", want: "NXRRSET 12"},
		{lines: "yxrrset WwW A 192.0.2.1; add z 60 A 192.0.2.9", want: "NOERROR 13"},
		{lines: "yxrrset c CNAME WWW; add zz 60 A 192.0.2.9", want: "NOERROR 14"},
	}},
	{"U14", []updateStep{{lines: "yxdomain www; yxrrset www A; nxdomain www; nxrrset www A; add x 60 A 192.0.2.9", want: "YXDOMAIN 10", text: "prerequisite 3: "}}},
	{"U15", []updateStep{
		{lines: "add x 60 A 192.0.2.9", want: "REFUSED 10", text: "nothing is granted to key some.test.", key: someKey},
		{lines: "yxdomain nope; add x 60 PTR a; add y 60 A 192.0.2.9", want: "REFUSED 10", text: "y.ZONE A: no line grants it", key: keyA, has: map[string]string{"x PTR": "NXDOMAIN"}},
	}},
	{"U16", []updateStep{{lines: "add x 60 A 192.0.2.9; delete www; add www.example.net. 60 A 192.0.2.9", want: "NOTZONE 10", text: "update 3: www.example.net. A: owner is not in the zone", has: map[string]string{"x A": "NXDOMAIN"}}}},
	{"U17", []updateStep{
		{lines: "add x 60 A 192.0.2.9; up x 60 IN ANY", want: "FORMERR 10", text: "update 2: x.ZONE ANY: type cannot be in a zone"},
		{lines: "up x 60 IN AXFR", want: "FORMERR 10", text: "update 1: "},
		{lines: "up x 60 IN TYPE249", want: "FORMERR 10", text: "update 1: "},
		{lines: "up . 60 IN OPT", want: "NOTZONE 10"},
		{lines: "up x 60 IN A", want: "FORMERR 10", text: "update 1: x.ZONE A: malformed RDATA"},
		{lines: "up x 60 CH A 192.0.2.9", want: "FORMERR 10", text: "update 1: "},
	}},
	{"U18", []updateStep{
		{lines: "add x 60 A 192.0.2.9; up www 5 ANY A", want: "FORMERR 10", text: "update 2: www.ZONE A: TTL is not 0"},
		{lines: "up www 5 NONE A 192.0.2.1", want: "FORMERR 10", text: "update 1: www.ZONE A: TTL is not 0"},
	}},
	{"U19", []updateStep{{lines: "add x 60 A 192.0.2.9; up www 0 NONE ANY", want: "FORMERR 10", text: "update 2: www.ZONE ANY: type cannot be in a zone"}}},
	{"U20", []updateStep{{lines: "add www 300 A 192.0.2.2", want: "NOERROR 11", has: map[string]string{"www A": "300:192.0.2.1 300:192.0.2.2"}}}},
	{"U21", []updateStep{
		{lines: "add www 300 A 192.0.2.2", want: "NOERROR 11"},
		{lines: "add www 300 A 192.0.2.2", want: "NOERROR 11"},
		{lines: "add WWW 300 A 192.0.2.2; delete nope; delete two TXT", want: "NOERROR 11"},
		{lines: "add x 300 A 192.0.2.2; delete x", want: "NOERROR 11"},
		{lines: "", want: "NOERROR 11"},
	}},
	{"U22", []updateStep{{lines: "add two 5 A 192.0.2.2", want: "NOERROR 11", has: map[string]string{"two A": "5:192.0.2.1 5:192.0.2.2"}}}},
	{"U23", []updateStep{{lines: "add www 300 CNAME two", want: "NOERROR 10", has: map[string]string{"www A": "300:192.0.2.1"}}}},
	{"U24", []updateStep{{lines: "add c 300 A 192.0.2.9", want: "NOERROR 10", has: map[string]string{"c CNAME": "300:www.ZONE"}}}},
	{"U25", []updateStep{{lines: "add c 300 CNAME two", want: "NOERROR 11", has: map[string]string{"c CNAME": "300:two.ZONE"}}}},
	{"U26", []updateStep{{lines: "delete c CNAME; add c 300 A 192.0.2.9", want: "NOERROR 11", has: map[string]string{"c A": "300:192.0.2.9"}}}},
	{"U27", []updateStep{
		{lines: "add @ 300 SOA ns1 hostmaster 10 1 1 1 1", want: "NOERROR 10"},
		{lines: "add @ 300 SOA ns1 hostmaster 9 1 1 1 1", want: "NOERROR 10"},
		{lines: "add @ 300 SOA ns1 hostmaster 2147483658 1 1 1 1", want: "NOERROR 10"},
		{lines: "add www 300 SOA ns1 hostmaster 99 1 1 1 1", want: "NOERROR 10"},
		{lines: "add @ 300 SOA ns1 hostmaster 50 1 1 1 1; add x 60 A 192.0.2.9", want: "NOERROR 50", has: map[string]string{"@ SOA": "300:ns1.ZONE hostmaster.ZONE 50 1 1 1 1"}},
	}},
	{"U28", []updateStep{
		{lines: "delete @ NS", want: "NOERROR 10"},
		{lines: "delete @ SOA", want: "NOERROR 10"},
		{lines: "add @ 60 TXT x; add @ 60 A 192.0.2.9", want: "NOERROR 11"},
		{lines: "delete @", want: "NOERROR 12", has: map[string]string{"@ NS": "300:ns1.ZONE 300:ns2.ZONE", "@ TXT": "NOERROR", "@ A": "NOERROR"}},
	}},
	{"U29", []updateStep{
		{lines: "delete @ NS ns1; delete @ NS ns2", want: "NOERROR 11", has: map[string]string{"@ NS": "300:ns2.ZONE"}},
		{lines: "delete @ NS ns2", want: "NOERROR 11"},
	}},
	{"U30", []updateStep{{lines: "delete @ SOA ns1 hostmaster 10 7200 3600 1209600 300", want: "NOERROR 10"}}},
	{"U31", []updateStep{{lines: "delete www A 192.0.2.99; delete nope A 192.0.2.1; delete www MX 1 www", want: "NOERROR 10"}}},
	{"U32", []updateStep{{lines: "delete www A 192.0.2.1", want: "NOERROR 11", has: map[string]string{"www A": "NOERROR", "sub.www A": "300:192.0.2.4"}}}},
	{"U33", []updateStep{
		{lines: "add www 60 TXT x; add www 60 AAAA 2001:db8::1", want: "NOERROR 11"},
		{lines: "delete WWW", want: "NOERROR 12", has: map[string]string{"www A": "NOERROR", "www TXT": "NOERROR", "sub.www A": "300:192.0.2.4"}},
	}},
	{"U34", []updateStep{
		{lines: "add @ 300 SOA ns1 hostmaster 2147483657 1 1 1 1", want: "NOERROR 2147483657"},
		{lines: "add @ 300 SOA ns1 hostmaster 4294967295 1 1 1 1", want: "NOERROR 4294967295"},
		{lines: "add x 60 A 192.0.2.9", want: "NOERROR 1"},
	}},
	{"U42", []updateStep{
		{lines: "add p 60 PTR a", want: "NOERROR 11", key: keyA},
		{lines: "add p 60 PTR b", want: "NOERROR 11", key: keyA, has: map[string]string{"p PTR": "60:a.ZONE"}},
	}},
	{"U46: class CH", []updateStep{{want: "REFUSED 10", change: func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }}}},
	{"U46: class NONE", []updateStep{{want: "REFUSED 10", change: func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassNONE }}}},
	{"types of all kinds", []updateStep{
		{lines: "add @ 60 CDS 1 13 254 AABB; add @ 60 CDNSKEY 257 3 13 AAAA; add d 60 NS ns1; add d 60 DS 1 13 254 AABB; add _443._tcp 60 TLSA 3 1 1 AABB; add s 60 SVCB 1 . alpn=h2", want: "NOERROR 11"},
		{
			lines: "add s 60 HTTPS 1 . port=443; add _s._tcp 60 SRV 1 2 3 www; add h 60 DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=; add h 60 TYPE65280 \\# 2 0102; add h 60 TXT \"\"",
			want:  "NOERROR 12", has: map[string]string{"h TXT": `60:""`, "_443._tcp TLSA": "60:3 1 1 aabb", "s HTTPS": `60:1 . port="443"`},
		},
		{lines: "delete h TYPE65280 \\# 2 0102; delete h DHCID; delete s", want: "NOERROR 13", has: map[string]string{"s SVCB": "NXDOMAIN"}},
		{lines: "add h 60 NSEC a A", want: "REFUSED 13"},
	}},
}

// U1 to U34, U36, U42, U46: what the protocol demands, over UDP and TCP, each case in
// a zone of its own. A refusal says why in an extended error, and changes nothing.
func TestUpdate(t *testing.T) { bothWays(t, testUpdate) }

func testUpdate(t *testing.T, start starter) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "zone"), updateZone)
	networks := []string{"udp", "tcp"}
	var zones []string
	for i := range updateCases {
		for _, n := range networks {
			zones = append(zones, fmt.Sprintf("case%d.%s.test.", i, n))
		}
	}
	zones = append(zones, "many.test.")
	metrics := freePort(t)
	s := start(t, fmt.Sprintf(`test:%s {
 bind 127.0.0.1
 root %s
 keys {
%s%s%s }
 authority %s {
  file zone
  store data
 }
 update {
  grant all.test zonesub ANY
  grant a.test zonesub PTR max 1
 }
 prometheus 127.0.0.1:%d
}
`, server.Port, dir, tsigLine(allKey), tsigLine(someKey), tsigLine(keyA), strings.Join(zones, " "), metrics), "case0.udp.test.")
	addr := s.Addr.String()

	want := make(map[string]float64) // of responses by code, counted by the plugin
	for i, c := range updateCases {
		for _, network := range networks {
			zone := fmt.Sprintf("case%d.%s.test.", i, network)
			fill := func(s string) string { return strings.ReplaceAll(s, "ZONE", zone) }
			for j, step := range c.steps {
				what := fmt.Sprintf("%s, step %d over %s", c.name, j+1, network)
				m := updating(t, zone, step.lines)
				if step.change != nil {
					step.change(m)
				}
				key := allKey
				if step.key != nil {
					key = step.key
				}
				ours := len(m.Question) == 1 && m.Question[0].Qclass == dns.ClassINET // else the core has answered, without a signature
				var r *dns.Msg
				if ours {
					r = sendUpdate(t, network, addr, m, key)
				} else {
					b, _ := signedAt(t, m, key, time.Now())
					got, err := exchangeRaw(network, addr, b)
					if err != nil {
						t.Fatal(err)
					}
					r = new(dns.Msg)
					if err := r.Unpack(got); err != nil {
						t.Fatal(err)
					}
				}
				code := dns.RcodeToString[r.Rcode]
				want[code]++
				if !ours {
					want[code]--
				}
				if got := fmt.Sprintf("%s %d", code, serialOf(s, zone)); got != step.want {
					t.Errorf("%s: %s, want %s", what, got, step.want)
				}
				number, text := ednsText(r)
				if !strings.Contains(text, fill(step.text)) || ours && (r.Rcode != dns.RcodeSuccess) != (text != "") {
					t.Errorf("%s: extended error %d %q, want %q", what, number, text, fill(step.text))
				}
				for what, want := range step.has {
					name, typ, _ := strings.Cut(what, " ")
					name = strings.TrimPrefix(name+"."+zone, "@.")
					if got := show(s, name, typ); got != fill(want) {
						t.Errorf("%s: %s has %s, want %s", c.name, what, got, fill(want))
					}
				}
			}
		}
	}

	// U36: a hundred at the same time: each has its serial, and all is there.
	var clients sync.WaitGroup
	for i := range 100 {
		clients.Go(func() {
			m := updating(t, "many.test.", fmt.Sprintf("nxdomain h%d; add h%d 60 A 192.0.2.%d", i, i, i))
			if r := sendUpdate(t, networks[i%2], addr, m, allKey); r.Rcode != dns.RcodeSuccess {
				t.Errorf("U36, %d: %v", i, r)
			}
		})
	}
	clients.Wait()
	want["NOERROR"] += 100
	if n := serialOf(s, "many.test."); n != 110 {
		t.Errorf("U36: serial %d", n)
	}
	for i := range 100 {
		if got := show(s, fmt.Sprintf("h%d.many.test.", i), "A"); got != fmt.Sprintf("60:192.0.2.%d", i) {
			t.Errorf("U36: host %d is %s", i, got)
		}
	}
	for code, n := range want {
		if got := metricOf(t, metrics, "coredns_update_requests_total", `rcode="`+code+`"`); got != n {
			t.Errorf("%v responses %s are counted, and there were %v", got, code, n)
		}
	}
	if n := strings.Count(s.Log(), "plugin/update: audit: "); n != int(metricOf(t, metrics, "coredns_update_requests_total")) {
		t.Errorf("%d lines in the log", n)
	}
	if log := s.Log(); strings.Contains(log, "panic") || strings.Contains(log, "[ERROR]") || strings.Contains(log, secretOne) {
		t.Errorf("the log:\n%.5000s", log)
	}
}

// U15, U37 to U40: updates without a good signature: nothing is done, and the response is what RFC
// 8945 demands. A key of another block on the same listener grants nothing.
func TestUpdateSignatures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "zone"), updateZone)
	elsewhere := &server.Key{Name: "elsewhere.", Algorithm: "hmac-sha256", Secret: secretTwo}
	lines := "authority {\nfile zone\nstore memory\n}\nupdate {\ngrant %s zonesub\n}\nkeys {\n%s}"
	s := server.StartOurs(t, block(dir, fmt.Sprintf(lines, "any", tsigLine(allKey)+"tsig UPPER.Test "+secretOne+"\n"))+
		strings.ReplaceAll(block(dir, fmt.Sprintf(lines, "elsewhere.", tsigLine(elsewhere))), "example.org", "example.net"), "example.org", "example.net")
	addr := s.Addr.String()
	count := 0
	fresh := func() *dns.Msg {
		count++
		return updating(t, "example.org.", fmt.Sprintf("add new%d 60 A 192.0.2.9", count))
	}
	tsigOf := func(m *dns.Msg) *dns.TSIG { return m.Extra[len(m.Extra)-1].(*dns.TSIG) }
	pack := func(m *dns.Msg) []byte {
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	parsed := func(m *dns.Msg, key *server.Key, at time.Time) *dns.Msg {
		b, _ := signedAt(t, m, key, at)
		m = new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		return m
	}
	octets := func(key *server.Key, at time.Duration) []byte {
		b, _ := signedAt(t, fresh(), key, time.Now().Add(at))
		return b
	}
	truncated := func(size int) []byte {
		m := parsed(fresh(), allKey, time.Now())
		tsigOf(m).MAC, tsigOf(m).MACSize = tsigOf(m).MAC[:2*size], uint16(size)
		return pack(m)
	}
	for _, c := range []struct {
		name   string
		octets []byte
		rcode  int
		tsig   int // error in the TSIG record; -1: there is none
		signed bool
	}{
		{"U15: unsigned", octets(nil, 0), dns.RcodeRefused, -1, false},
		{"U37: two signatures", func() []byte {
			m := parsed(fresh(), allKey, time.Now())
			return pack(func() *dns.Msg { m.Extra = append(m.Extra, dns.Copy(tsigOf(m))); return m }())
		}(), dns.RcodeFormatError, -1, false},
		{"U37: a signature that is not the last", func() []byte {
			m := parsed(fresh(), allKey, time.Now())
			slices.Reverse(m.Extra)
			return pack(m)
		}(), dns.RcodeFormatError, -1, false},
		{"U38: unknown key", octets(&server.Key{Name: "nobody.", Algorithm: "hmac-sha256", Secret: secretOne}, 0), dns.RcodeNotAuth, dns.RcodeBadKey, false},
		{"U38: key of another block", octets(elsewhere, 0), dns.RcodeNotAuth, dns.RcodeBadKey, false},
		{"U38: another algorithm", octets(&server.Key{Name: "all.test.", Algorithm: "hmac-sha512", Secret: secretOne}, 0), dns.RcodeNotAuth, dns.RcodeBadKey, false},
		{"U38: another secret", octets(&server.Key{Name: "all.test.", Algorithm: "hmac-sha256", Secret: secretTwo}, 0), dns.RcodeNotAuth, dns.RcodeBadSig, false},
		{"U38: signed too long ago", octets(allKey, -310*time.Second), dns.RcodeNotAuth, dns.RcodeBadTime, true},
		{"U38: signed too early", octets(allKey, 310*time.Second), dns.RcodeNotAuth, dns.RcodeBadTime, true},
		{"U38: signed just in time", octets(allKey, -290*time.Second), dns.RcodeSuccess, 0, true},
		{"U39: key in the letters of the Corefile", octets(&server.Key{Name: "UPPER.Test.", Algorithm: "hmac-sha256", Secret: secretOne}, 0), dns.RcodeSuccess, 0, true},
		{"U39: key in small letters", octets(&server.Key{Name: "upper.test.", Algorithm: "hmac-sha256", Secret: secretOne}, 0), dns.RcodeSuccess, 0, true},
		{"U40: a MAC of 10 octets", truncated(10), dns.RcodeFormatError, -1, false},
		{"U40: a MAC of 16 octets", truncated(16), dns.RcodeNotAuth, dns.RcodeBadTrunc, false},
	} {
		before := serialOf(s, "example.org.")
		for _, network := range []string{"udp", "tcp"} {
			got, err := exchangeRaw(network, addr, c.octets)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			r := new(dns.Msg)
			if err := r.Unpack(got); err != nil {
				t.Fatal(err)
			}
			code, size := -1, 0
			if sig := r.IsTsig(); sig != nil {
				code, size = int(sig.Error), int(sig.MACSize)
				if code == dns.RcodeBadTime && sig.OtherLen != 6 {
					t.Errorf("%s: %d octets of time", c.name, sig.OtherLen)
				}
			}
			if r.Rcode != c.rcode || code != c.tsig || size > 0 != c.signed {
				t.Errorf("%s over %s: %v", c.name, network, r)
			}
		}
		if done := serialOf(s, "example.org.") - before; done != 0 != (c.rcode == dns.RcodeSuccess) || done > 1 {
			t.Errorf("%s: the serial went up by %d", c.name, done)
		}
	}
	// The other block has its own.
	if r := sendUpdate(t, "udp", addr, updating(t, "example.net.", "add x 60 A 192.0.2.9"), elsewhere); r.Rcode != dns.RcodeSuccess {
		t.Errorf("the other block: %v", r)
	}
}

// The policy on real sockets: addresses, protocols, keys that are names; what
// refuses stands in the extended error and in one line of the log, with its place.
// Over HTTPS there are no updates.
func TestUpdatePolicy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeCertificate(t, dir)
	write(t, filepath.Join(dir, "zone"), updateZone)
	metrics, ports, schemes := freePort(t), map[string]int{}, ""
	for _, scheme := range []string{"tls", "https"} {
		ports[scheme] = freePort(t)
		schemes += fmt.Sprintf("%[1]s://example.org:%[2]d %[1]s://127.in-addr.arpa:%[2]d ", scheme, ports[scheme])
	}
	host := &server.Key{Name: "k.example.org.", Algorithm: "hmac-sha256", Secret: secretOne}
	const lines = `
 bind 127.0.0.1
 root %s
 keys {
%s%s%s }
 authority {
  file zone
  store data
 }
 update {
  deny any name www.example.org
  grant all.test zonesub ANY
  grant some.test subdomain lan.example.org A TXT
  grant k.example.org selfwild
  grant any tcp-self PTR
  grant net 127.0.0.1/32 name open.example.org TXT
 }
`
	text := fmt.Sprintf(lines, dir, tsigLine(allKey), tsigLine(someKey), tsigLine(host))
	s := server.StartOurs(t, fmt.Sprintf("example.org:%[1]s 127.in-addr.arpa:%[1]s {%[2]s prometheus 127.0.0.1:%[3]d\n}\n%[4]s{%[2]s tls cert.pem key.pem\n}\n", server.Port, text, metrics, schemes), "example.org", "127.in-addr.arpa")
	const self = "1.0.0.127.in-addr.arpa."
	overTLS := fmt.Sprintf("127.0.0.1:%d", ports["tls"])
	for _, c := range []struct {
		name, network, zone, lines string
		key                        *server.Key
		rcode                      int
		text                       string // of the extended error
		line                       string // of the log, behind "audit: "
	}{
		{"all", "udp", "example.org.", "add a 60 A 192.0.2.9", allKey, 0, "", "example.org. NOERROR by all.test. from 127.0.0.1, serial 11; add a.example.org. A 192.0.2.9"},
		{"all over TLS", "tcp-tls", "example.org.", "add b 60 A 192.0.2.9", allKey, 0, "", "example.org. NOERROR by all.test. from 127.0.0.1, serial 12; add b.example.org. A 192.0.2.9"},
		{"deny", "tcp", "example.org.", "delete www A 192.0.2.1", allKey, dns.RcodeRefused, "www.example.org. A: deny any name www.example.org.", `example.org. REFUSED by all.test. from 127.0.0.1: www.example.org. A: deny any name www.example.org. (PLACE:14); delete www.example.org. A 192.0.2.1`},
		{"a type that is not granted", "udp", "example.org.", "add h.lan 60 AAAA 2001:db8::1", someKey, dns.RcodeRefused, "h.lan.example.org. AAAA: no line grants it", "example.org. REFUSED by some.test. from 127.0.0.1: h.lan.example.org. AAAA: no line grants it; add h.lan.example.org. AAAA 2001:db8::1"},
		{"types that are granted", "udp", "example.org.", "add h.lan 60 A 192.0.2.9; add h.lan 60 TXT x", someKey, 0, "", `example.org. NOERROR by some.test. from 127.0.0.1, serial 13; add h.lan.example.org. A 192.0.2.9; add h.lan.example.org. TXT "x"`},
		{"nothing changes", "udp", "example.org.", "delete h.lan TXT y", someKey, 0, "", `example.org. NOERROR by some.test. from 127.0.0.1, nothing changed; delete h.lan.example.org. TXT "y"`},
		{"U43: below the key's name", "udp", "example.org.", "add a.k 60 A 192.0.2.9", host, 0, "", ""},
		{"U43: the key's name", "udp", "example.org.", "add k 60 A 192.0.2.9", host, dns.RcodeRefused, "k.example.org. A: no line grants it", ""},
		{"U41: one's own address over UDP", "udp", "127.in-addr.arpa.", "add " + self + " 60 PTR a.example.org.", nil, dns.RcodeRefused, self + " PTR: no line grants it", ""},
		{"U41: one's own address over TCP", "tcp", "127.in-addr.arpa.", "add " + self + " 60 PTR a.example.org.", nil, 0, "", "127.in-addr.arpa. NOERROR by 127.0.0.1, serial 11; add " + self + " PTR a.example.org."},
		{"U41: one's own address over TLS", "tcp-tls", "127.in-addr.arpa.", "delete " + self + " PTR a.example.org.", nil, 0, "", ""},
		{"U41: another address", "tcp", "127.in-addr.arpa.", "add 2.0.0.127.in-addr.arpa. 60 PTR a.example.org.", nil, dns.RcodeRefused, "2.0.0.127.in-addr.arpa. PTR: no line grants it", ""},
		{"an unsigned grant", "udp", "example.org.", "add open 60 TXT x", nil, 0, "", ""},
		{"an unsigned request for more", "udp", "example.org.", "add open 60 A 192.0.2.9", nil, dns.RcodeRefused, "open.example.org. A: no line grants it", "example.org. REFUSED by 127.0.0.1: open.example.org. A: no line grants it; add open.example.org. A 192.0.2.9"},
		{"a prerequisite that fails", "udp", "example.org.", "nxdomain www; add a 60 A 192.0.2.10", allKey, dns.RcodeYXDomain, "prerequisite 1: www.example.org. ANY: name is in use", "example.org. YXDOMAIN by all.test. from 127.0.0.1: prerequisite 1: www.example.org. ANY: name is in use; add a.example.org. A 192.0.2.10"},
	} {
		addr, before := s.Addr.String(), len(s.Log())
		if c.network == "tcp-tls" {
			addr = overTLS
		}
		serial := serialOf(s, c.zone)
		r := sendUpdate(t, c.network, addr, updating(t, c.zone, c.lines), c.key)
		code, got := ednsText(r)
		if r.Rcode != c.rcode || got != c.text || c.rcode == dns.RcodeRefused && code != dns.ExtendedErrorCodeProhibited {
			t.Errorf("%s: %s, %d %q", c.name, dns.RcodeToString[r.Rcode], code, got)
		}
		if c.rcode != 0 && serialOf(s, c.zone) != serial {
			t.Errorf("%s: the serial is %d", c.name, serialOf(s, c.zone))
		}
		log := s.Log()[before:]
		log = regexp.MustCompile(`\([^ ]*Corefile:`).ReplaceAllString(log, "(PLACE:")
		if strings.Count(log, "audit: ") != 1 || !strings.Contains(log, "plugin/update: audit: "+c.line) || c.line != "" && !strings.Contains(log, "audit: "+c.line+"\n") {
			t.Errorf("%s: the log\n%swant\n%s", c.name, log, c.line)
		}
	}
	if !strings.Contains(s.Log(), "grants changes to whoever can send from such an address") {
		t.Error("no warning of grants without a signature")
	}

	// Everything that the README lists is there.
	page := get(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", metrics))
	for _, name := range []string{"requests_total", "changes_total", "denied_total", "duration_seconds_count", "batch_size_count", "replays_total"} {
		if !strings.Contains(page, "\ncoredns_update_"+name) {
			t.Errorf("coredns_update_%s is not there", name)
		}
	}
	for labels, want := range map[string]float64{`op="add"`: 7, `op="delete_record"`: 2, `op="delete_rrset"`: 0, `op="delete_name"`: 0} {
		if n := metricOf(t, metrics, "coredns_update_changes_total", labels); n != want {
			t.Errorf("changes %s: %v, want %v", labels, n, want)
		}
	}
	if n := metricOf(t, metrics, "coredns_update_denied_total", `reason="policy"`); n != 6 {
		t.Errorf("%v are denied", n)
	}

	// RFC 8484 is for queries.
	m := updating(t, "example.org.", "add never 60 A 192.0.2.9")
	packed, _ := signedAt(t, m, allKey, time.Now())
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
	if resp.StatusCode != http.StatusBadRequest { // from the core, which asks no plugin
		t.Errorf("over HTTPS: %s, %q", resp.Status, body)
	}
	if got := show(s, "never.example.org.", "A"); got != "NXDOMAIN" {
		t.Errorf("updated over HTTPS: %s", got)
	}
}

// The same octets again, from the same socket and another, over UDP and TCP: the same
// code, and nothing is done. A request whose prerequisite would now fail shows it.
// L21: the same with a lease.
func TestUpdateReplay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), updateZone)
	metrics := freePort(t)
	s := server.StartOurs(t, block(dir, "keys {\n"+tsigLine(allKey)+"}\nauthority {\nfile example.org.zone\nstore data\n}\nupdate {\ngrant all.test zonesub\n}\n"+fmt.Sprintf("prometheus 127.0.0.1:%d", metrics)), "example.org")
	addr, replays := s.Addr.String(), 0.0
	for name, c := range map[string]struct {
		lines string
		rcode int
		lease uint32
	}{
		"once":        {"nxdomain once; add once 60 A 192.0.2.9", dns.RcodeSuccess, 0},
		"leased":      {"nxdomain leased; add leased 60 A 192.0.2.9", dns.RcodeSuccess, 600},
		"in vain":     {"yxdomain invain; add x 60 A 192.0.2.9", dns.RcodeNameError, 0},
		"denied":      {"add @ 60 NS x", dns.RcodeRefused, 0},
		"not allowed": {"up www 5 ANY A", dns.RcodeFormatError, 0},
	} {
		before := serialOf(s, "example.org.")
		m := updating(t, "example.org.", c.lines)
		withLease(m, c.lease, 0)
		b, mac := signedAt(t, m, allKey, time.Now())
		socket, err := net.Dial("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		var answers [][]byte
		for range 2 {
			if _, err := socket.Write(b); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 1232)
			if err := socket.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			answers = append(answers, buf[:n])
		}
		if err := socket.Close(); err != nil {
			t.Fatal(err)
		}
		for _, network := range []string{"udp", "tcp", "udp"} {
			got, err := exchangeRaw(network, addr, b)
			if err != nil {
				t.Fatal(err)
			}
			answers = append(answers, got)
		}
		for i, a := range answers {
			r := new(dns.Msg)
			if err := r.Unpack(a); err != nil {
				t.Fatal(err)
			}
			if err := dns.TsigVerify(a, allKey.Secret, mac, false); err != nil {
				t.Errorf("%s, %d: %v", name, i, err)
			}
			if lease, _, ok := leaseOf(r); r.Rcode != c.rcode || ok != (c.lease > 0) || lease != c.lease {
				t.Errorf("%s, %d: %v", name, i, r)
			}
		}
		replays += float64(len(answers) - 1)
		if done := serialOf(s, "example.org.") - before; done != 0 != (c.rcode == dns.RcodeSuccess) || done > 1 {
			t.Errorf("%s: the serial went up by %d", name, done)
		}
	}
	if n := metricOf(t, metrics, "coredns_update_replays_total"); n != replays {
		t.Errorf("%v replays are counted, and there were %v", n, replays)
	}
	if n := strings.Count(s.Log(), ", seen before"); float64(n) != replays {
		t.Errorf("%d of them are in the log", n)
	}
	// Also after a reload: what was done with this signature is not done again.
	m := updating(t, "example.org.", "add over 60 A 192.0.2.9")
	b, _ := signedAt(t, m, allKey, time.Now())
	if _, err := exchangeRaw("udp", addr, b); err != nil {
		t.Fatal(err)
	}
	sendUpdate(t, "udp", addr, updating(t, "example.org.", "delete over"), allKey)
	reloadWith(t, s, reloaded)
	if _, err := exchangeRaw("udp", addr, b); err != nil {
		t.Fatal(err)
	}
	if got := show(s, "over.example.org.", "A"); got != "NXDOMAIN" {
		t.Errorf("done again after a reload: %s", got)
	}
}

// withLease asks for a lease; 0 for none.
func withLease(m *dns.Msg, lease, key uint32) *dns.Msg {
	if lease > 0 {
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_UL{Code: dns.EDNS0UL, Lease: lease, KeyLease: key})
	}
	return m
}

// leaseOf gives the lease option of a response.
func leaseOf(m *dns.Msg) (lease, key uint32, ok bool) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if ul, is := o.(*dns.EDNS0_UL); is {
				return ul.Lease, ul.KeyLease, true
			}
		}
	}
	return 0, 0, false
}

// Updates go to secondaries: one NOTIFY for what changes something, and none for
// what does not (U21, L9); IXFR gives the steps, who asks for them from any serial.
func TestUpdateNotify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), updateZone)
	listener, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serials := make(chan uint32, 100)
	var handling sync.Mutex
	last := -1
	secondaryServer := &dns.Server{PacketConn: listener, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		handling.Lock()
		defer handling.Unlock()
		again := last == int(r.Id) // as our answer was late
		if last = int(r.Id); r.Opcode == dns.OpcodeNotify && len(r.Answer) == 1 && !again {
			serials <- r.Answer[0].(*dns.SOA).Serial
		}
		m := new(dns.Msg)
		m.SetReply(r)
		m.Opcode = r.Opcode
		_ = w.WriteMsg(m)
	})}
	served := make(chan error, 1)
	go func() { served <- secondaryServer.ActivateAndServe() }()
	s := server.StartOurs(t, block(dir, "keys {\n"+tsigLine(allKey)+"}\nauthority {\nfile example.org.zone\nstore data\ntransfer net 127.0.0.1\nnotify "+listener.LocalAddr().String()+"\n}\nupdate {\ngrant all.test zonesub\n}\n"), "example.org")
	t.Cleanup(func() {
		if err := secondaryServer.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	client := &secondary.Client{Addr: s.Addr.String(), Zone: "example.org."}
	full, err := client.AXFR()
	if err != nil {
		t.Fatal(err)
	}
	versions := []*secondary.Version{version(t, "example.org.", updateZone)}
	gives(t, "the first version", nil, full, err, secondary.Whole, versions[0])
	await := func(serial uint32) (heard []uint32) {
		t.Helper()
		timeout := time.NewTimer(30 * time.Second)
		defer timeout.Stop()
		for {
			select {
			case n := <-serials:
				heard = append(heard, n)
				if n == serial {
					return heard
				}
			case <-timeout.C:
				t.Fatalf("no NOTIFY of %d, only %v", serial, heard)
			}
		}
	}
	await(10) // at the start
	for i, lines := range []string{"add x 60 A 192.0.2.9; add x 60 TXT a", "delete x TXT", "add two 5 A 192.0.2.1", "delete c; add c 60 A 192.0.2.1", "delete x"} {
		r := sendUpdate(t, "udp", s.Addr.String(), withLease(updating(t, "example.org.", lines), 3600, 0), allKey)
		if r.Rcode != dns.RcodeSuccess {
			t.Fatalf("%v", r)
		}
		serial := uint32(11 + i)
		await(serial)
		a, err := client.IXFR(serial - 1)
		if err != nil || len(a.Steps) != 1 {
			t.Fatalf("IXFR: %+v, %v", a, err)
		}
		next, err := versions[i].Next(a)
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, next)
	}
	now := versions[len(versions)-1]
	full, err = client.AXFR()
	gives(t, "AXFR", nil, full, err, secondary.Whole, now)
	for _, v := range versions[:len(versions)-1] {
		a, err := client.IXFR(v.Serial)
		gives(t, fmt.Sprintf("IXFR from %d", v.Serial), v, a, err, secondary.Incremental, now)
	}
	// Nobody hears of what changes nothing; the next change shows that.
	for _, lines := range []string{"add c 60 A 192.0.2.1", "delete nope", "add www 60 CNAME c"} {
		sendUpdate(t, "udp", s.Addr.String(), withLease(updating(t, "example.org.", lines), 3600, 0), allKey)
	}
	a, err := client.IXFR(15)
	gives(t, "nothing has changed", now, a, err, secondary.UpToDate, now)
	sendUpdate(t, "udp", s.Addr.String(), updating(t, "example.org.", "add last 60 A 192.0.2.1"), allKey)
	if heard := await(16); len(heard) != 1 {
		t.Errorf("NOTIFY of %v", heard)
	}
}
