package interop

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// odd is a message that no resolver sends, or seldom, about the zone example.org.
type odd struct {
	name string
	msg  []byte
	// ours is how the outcome starts with us when no peer does the same, and why.
	ours, reason string
}

// message packs a query for www.example.org A after a change.
func message(change func(*dns.Msg)) []byte {
	m := new(dns.Msg)
	m.Id = 4711
	m.Question = []dns.Question{{Name: "www.example.org.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}
	change(m)
	b, err := m.Pack()
	if err != nil {
		panic(err) // a mistake in the table below
	}
	return b
}

// ofType asks for a type.
func ofType(qtype uint16) []byte { return message(func(m *dns.Msg) { m.Question[0].Qtype = qtype }) }

// ofClass asks in a class.
func ofClass(qclass uint16, name string, qtype uint16) []byte {
	return message(func(m *dns.Msg) { m.Question[0] = dns.Question{Name: name, Qtype: qtype, Qclass: qclass} })
}

// ofOpcode has an opcode.
func ofOpcode(opcode int) []byte { return message(func(m *dns.Msg) { m.Opcode = opcode }) }

// withOption has an EDNS option.
func withOption(code uint16, data ...byte) []byte {
	return message(func(m *dns.Msg) {
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: code, Data: data}}
	})
}

// raw is a message in hexadecimal digits, blanks for the reader.
func raw(text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		panic(err) // a mistake in the table below
	}
	return b
}

const (
	www = "03777777 076578616d706c65 036f7267 00" // www.example.org
	opt = "00 0029 04d0 00000000 0000"
)

var oddities = []odd{
	{name: "plain", msg: message(func(*dns.Msg) {})},
	{name: "RD", msg: message(func(m *dns.Msg) { m.RecursionDesired = true })},
	{name: "CD", msg: message(func(m *dns.Msg) { m.CheckingDisabled = true })},
	{name: "AD", msg: message(func(m *dns.Msg) { m.AuthenticatedData = true })},
	{name: "Z", msg: message(func(m *dns.Msg) { m.Zero = true })},
	{name: "AA", msg: message(func(m *dns.Msg) { m.Authoritative = true })},
	{name: "TC", msg: message(func(m *dns.Msg) { m.Truncated = true })},
	{name: "RA", msg: message(func(m *dns.Msg) { m.RecursionAvailable = true })},
	{name: "rcode in a query", msg: message(func(m *dns.Msg) { m.Rcode = dns.RcodeRefused })},
	{name: "QR", msg: message(func(m *dns.Msg) { m.Response = true })},
	{name: "opcode IQUERY", msg: ofOpcode(dns.OpcodeIQuery)},
	{name: "opcode STATUS", msg: ofOpcode(dns.OpcodeStatus)},
	{name: "opcode 3", msg: ofOpcode(3)},
	{name: "opcode 6", msg: ofOpcode(6)},
	{name: "opcode 15", msg: ofOpcode(15)},
	{name: "type 0", msg: ofType(0), ours: "FORMERR", reason: "RFC 6895 §3.1 reserves the type"},
	{name: "type OPT", msg: ofType(dns.TypeOPT)},
	{name: "type NXNAME", msg: ofType(dns.TypeNXNAME)},
	{name: "type 200", msg: ofType(200)},
	{name: "type TKEY", msg: ofType(dns.TypeTKEY), ours: "NOTIMP", reason: "RFC 2930 is not supported"},
	{name: "type TSIG", msg: ofType(dns.TypeTSIG)},
	{name: "type MAILB", msg: ofType(dns.TypeMAILB)},
	{name: "type MAILA", msg: ofType(dns.TypeMAILA)},
	{name: "type 65535", msg: ofType(65535)},
	{name: "class CH", msg: ofClass(dns.ClassCHAOS, "www.example.org.", dns.TypeA)},
	{name: "class HS", msg: ofClass(dns.ClassHESIOD, "www.example.org.", dns.TypeA)},
	{name: "class NONE", msg: ofClass(dns.ClassNONE, "www.example.org.", dns.TypeA)},
	{name: "class ANY", msg: ofClass(dns.ClassANY, "www.example.org.", dns.TypeA), ours: "REFUSED", reason: "CoreDNS serves class IN only"},
	{name: "class 0", msg: ofClass(0, "www.example.org.", dns.TypeA)},
	{name: "no zone of ours", msg: ofClass(dns.ClassINET, "www.example.com.", dns.TypeA)},
	{name: "the root", msg: ofClass(dns.ClassINET, ".", dns.TypeNS)},
	{name: "above the zone", msg: ofClass(dns.ClassINET, "org.", dns.TypeNS)},
	{name: "DS at the apex", msg: ofClass(dns.ClassINET, "example.org.", dns.TypeDS)},
	{name: "no question", msg: message(func(m *dns.Msg) { m.Question = nil })},
	{name: "two questions", msg: message(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })},
	{name: "an RR in the answer section", msg: message(func(m *dns.Msg) {
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "x.", Rrtype: 1, Class: 1}, A: net.IPv4(1, 2, 3, 4)}}
	})},
	{name: "an RR in the authority section", msg: message(func(m *dns.Msg) {
		m.Ns = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "x.", Rrtype: 1, Class: 1}, A: net.IPv4(1, 2, 3, 4)}}
	})},
	{name: "an RR in the additional section", msg: message(func(m *dns.Msg) {
		m.Extra = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "x.", Rrtype: 1, Class: 1}, A: net.IPv4(1, 2, 3, 4)}}
	})},
	{name: "EDNS", msg: message(func(m *dns.Msg) { m.SetEdns0(1232, false) })},
	{name: "EDNS of size 0", msg: message(func(m *dns.Msg) { m.SetEdns0(0, false) })},
	{name: "EDNS version 1", msg: message(func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) })},
	{name: "EDNS version 255, type ANY", msg: message(func(m *dns.Msg) {
		m.SetEdns0(1232, true)
		m.IsEdns0().SetVersion(255)
		m.Question[0].Qtype = dns.TypeANY
	})},
	{name: "EDNS flags", msg: message(func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetZ(0x1fff) })},
	{name: "EDNS extended rcode", msg: message(func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().Hdr.Ttl |= 0xff << 24 })},
	{name: "two OPTs", msg: raw("1267 0000 0001 0000 0000 0002 " + www + "0001 0001" + opt + opt), ours: "FORMERR", reason: "RFC 6891 §6.1.1; the peers leave the OPT out of the reply"},
	{name: "OPT with a name", msg: raw("1267 0000 0001 0000 0000 0001 " + www + "0001 0001 0178" + opt), ours: "FORMERR", reason: "RFC 6891 §6.1.2; the peers leave the OPT out of the reply"},
	{name: "OPT in the answer section", msg: raw("1267 0000 0001 0001 0000 0000 " + www + "0001 0001" + opt), ours: "NOERROR aa=true", reason: "RFC 6891 §6.1.1 wants it in the additional section and names no error for elsewhere"},
	{name: "OPT in the authority section", msg: raw("1267 0000 0001 0000 0001 0000 " + www + "0001 0001" + opt), ours: "NOERROR aa=true", reason: "RFC 6891 §6.1.1 wants it in the additional section and names no error for elsewhere"},
	{name: "OPT cut short", msg: raw("1267 0000 0001 0000 0000 0001 " + www + "0001 0001 00 0029 04d0 0000")},
	{name: "OPT with an option cut short", msg: raw("1267 0000 0001 0000 0000 0001 " + www + "0001 0001 00 0029 04d0 00000000 0005 000a 0008 00")},
	{name: "option unknown", msg: withOption(65001, 1, 2, 3)},
	{name: "option NSID", msg: withOption(dns.EDNS0NSID)},
	{name: "option padding over UDP", msg: withOption(dns.EDNS0PADDING, 0, 0, 0)},
	{name: "option keepalive over UDP", msg: withOption(dns.EDNS0TCPKEEPALIVE)},
	{name: "option client subnet", msg: withOption(dns.EDNS0SUBNET, 0, 1, 24, 0, 192, 0, 2)},
	{name: "option client subnet, stray bits", msg: withOption(dns.EDNS0SUBNET, 0, 1, 17, 0, 192, 0, 255)},
	{name: "option client subnet, family 9", msg: withOption(dns.EDNS0SUBNET, 0, 9, 24, 0, 192, 0, 2), ours: "FORMERR", reason: "RFC 7871 §7.1.2; miekg/dns refuses the message before its OPT is known"},
	{name: "option client subnet, too short", msg: withOption(dns.EDNS0SUBNET, 0, 1, 24), ours: "FORMERR", reason: "RFC 7871 §7.1.2; miekg/dns refuses the message before its OPT is known"},
	{name: "header cut short", msg: raw("1267 0000 0001 0000 0000 00")},
	{name: "header alone", msg: raw("1267 0000 0001 0000 0000 0000"), ours: "SERVFAIL", reason: "miekg/dns takes it for a message without a question, which CoreDNS answers so"},
	{name: "question cut short", msg: raw("1267 0000 0001 0000 0000 0000 0377")},
	{name: "question without class", msg: raw("1267 0000 0001 0000 0000 0000 " + www + "0001"), ours: "REFUSED", reason: "miekg/dns takes the class for 0"},
	{name: "label of type 01", msg: raw("1267 0000 0001 0000 0000 0000 41 77 00 0001 0001")},
	{name: "pointer to itself", msg: raw("1267 0000 0001 0000 0000 0000 c00c 0001 0001")},
	{name: "pointer past the end", msg: raw("1267 0000 0001 0000 0000 0000 c0ff 0001 0001")},
	{name: "name of 256 octets", msg: raw("1267 0000 0001 0000 0000 0000 " + strings.Repeat("3f"+strings.Repeat("61", 63), 4) + "00 0001 0001")},
	{name: "octets after the message", msg: append(message(func(*dns.Msg) {}), 1, 2, 3, 4)},
	{name: "counts of RRs that are not there", msg: raw("1267 0000 0001 0000 0000 0001 " + www + "0001 0001"), ours: "NOERROR aa=true", reason: "miekg/dns stops at the end of the message, and a plugin does not see its octets"},
}

// outcome is what a server does with a message, in words.
func outcome(addr netip.AddrPort, msg []byte) (string, error) {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := conn.Write(msg); err != nil {
		return "", err
	}
	// a server that does not answer shows it by answering what comes after
	probe := message(func(m *dns.Msg) { m.Id = 0xbeef })
	if _, err := conn.Write(probe); err != nil {
		return "", err
	}
	text := "no reply"
	b := make([]byte, 65535)
	wait := 5 * time.Second
	for range 2 {
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return "", err
		}
		n, err := conn.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) && wait < time.Second {
			break
		}
		if err != nil {
			return "", err
		}
		if n >= 2 && binary.BigEndian.Uint16(b) == 0xbeef {
			wait = 500 * time.Millisecond // time for a reply that was overtaken
			continue
		}
		text = describe(b[:n])
		break
	}
	return text, nil
}

// describe tells what a reply is.
func describe(b []byte) string {
	r, err := parse(b)
	if err != nil {
		return fmt.Sprintf("reply of %d octets: %v", len(b), err)
	}
	question := "question"
	if r.question == "" {
		question = "no question"
	}
	return fmt.Sprintf("%s aa=%t %s; %s; %d/%d", dns.RcodeToString[r.rcode], r.aa, question, r.header, len(r.answer), len(r.authority))
}

// TestOdd sends messages of an odd kind. We must do with each, both ways, what one of the peers does, or what the table
// says.
func TestOdd(t *testing.T) {
	zones := []server.Zone{{Origin: "example.org", File: "../testdata/zones/example.org.zone"}}
	peers, ours := startPeers(t, zones), startOurs(t, zones)
	for _, o := range oddities {
		var outcomes []string
		for _, s := range slices.Concat(ours, peers) {
			text, err := outcome(s.Addr, o.msg)
			if err != nil {
				t.Fatalf("%s: %s: %v", o.name, s.Name, err)
			}
			outcomes = append(outcomes, text)
		}
		theirs := outcomes[len(ours):]
		for k, way := range ways {
			did := outcomes[k]
			like := slices.Contains(theirs, did)
			if like && o.ours == "" || !like && o.ours != "" && strings.HasPrefix(did, o.ours) {
				continue
			}
			t.Errorf("%s:\n\tours   %s, by %s\n\tnamed  %s\n\tknotd  %s\n\tnsd    %s", o.name, did, way, theirs[0], theirs[1], theirs[2])
		}
	}
}
