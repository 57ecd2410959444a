// Package secondary is a client of zone transfers that believes nothing. It takes AXFR as RFC 5936 has it and IXFR as
// RFC 1995 has it, and gives an error for whatever a lenient secondary would overlook: a record that is sent twice, one
// that is removed and was not there, a message without a signature.
package secondary

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// Timeout is how long a client waits for one message if nothing else is said.
const Timeout = 30 * time.Second

// Client asks one server for one zone. Its methods may be called concurrently; each makes a connection of its own.
type Client struct {
	Addr    string        // host:port
	Zone    string        // fully qualified
	Source  netip.Addr    // to ask from; the zero value: any
	Key     *server.Key   // nil: requests are not signed
	TLS     *tls.Config   // nil: plain TCP
	Timeout time.Duration // for each message; 0: [Timeout]
	LaxAA   bool          // answers may lack AA, as those of knotd do
}

// Form is the form of an answer (RFC 1995 §4).
type Form int

// Forms.
const (
	UpToDate    Form = iota // the SOA record alone
	Incremental             // differences
	Whole                   // the zone
)

// String returns the word that the server's metrics have for the form.
func (f Form) String() string { return [...]string{"uptodate", "incremental", "whole"}[f] }

// Answer is a transfer, found to be one.
type Answer struct {
	Form     Form
	SOA      *dns.SOA  // of the version sent
	Steps    []Step    // of an incremental answer, in their order
	Records  []dns.RR  // of a whole zone, the SOA record once
	Messages []Message // as they came
}

// Step is one sequence of differences. The SOA records are the first in Removed and Added.
type Step struct {
	Removed, Added []dns.RR
}

// Message is what came in one message.
type Message struct {
	Octets, Records int
	Signed          bool
	Options         []dns.EDNS0 // of EDNS
}

// RcodeError is the error of an answer that says no.
type RcodeError struct {
	Rcode  int
	EDE    *dns.EDNS0_EDE // nil: there is none
	Signed bool           // and the signature is right; with NOTAUTH it is not looked at
	TSIG   uint16         // the error in the TSIG record (RFC 8945 §3)
}

func (e *RcodeError) Error() string {
	text := dns.RcodeToString[e.Rcode]
	if e.EDE != nil {
		text += fmt.Sprintf(" (extended error %d, %q)", e.EDE.InfoCode, e.EDE.ExtraText)
	}
	return text
}

// AXFR asks for the whole zone.
func (c *Client) AXFR() (*Answer, error) { return c.transfer(c.Request(dns.TypeAXFR, 0)) }

// IXFR asks for what has changed since a serial.
func (c *Client) IXFR(serial uint32) (*Answer, error) {
	return c.transfer(c.Request(dns.TypeIXFR, serial))
}

// Request returns an unsigned request for a transfer, with EDNS.
func (c *Client) Request(qtype uint16, serial uint32) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(c.Zone, qtype)
	m.RecursionDesired = false
	m.SetEdns0(1232, false)
	if qtype == dns.TypeIXFR {
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: c.Zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: ".", Serial: serial}}
	}
	return m
}

func (c *Client) transfer(m *dns.Msg) (*Answer, error) {
	conn, err := c.Dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.Send(m); err != nil {
		return nil, err
	}
	return conn.Receive(m)
}

// Conn is a connection to the server of a client, for several requests.
type Conn struct {
	net.Conn
	client *Client
	macs   map[uint16]string // of the requests, by ID
}

// Dial makes a connection.
func (c *Client) Dial() (*Conn, error) {
	dialer := net.Dialer{Timeout: c.timeout()}
	if c.Source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.Source, 0))
	}
	conn, err := dialer.Dial("tcp", c.Addr)
	if err != nil {
		return nil, err
	}
	if c.TLS != nil {
		secured := tls.Client(conn, c.TLS)
		if err := errors.Join(secured.SetDeadline(time.Now().Add(c.timeout())), secured.Handshake()); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		conn = secured
	}
	return &Conn{conn, c, make(map[uint16]string)}, nil
}

func (c *Client) timeout() time.Duration {
	if c.Timeout == 0 {
		return Timeout
	}
	return c.Timeout
}

// Send sends a request, signed if the client has a key.
func (c *Conn) Send(m *dns.Msg) error {
	var b []byte
	var err error
	if key := c.client.Key; key == nil {
		b, err = m.Pack()
	} else {
		m = m.Copy()
		m.SetTsig(dns.Fqdn(key.Name), dns.Fqdn(key.Algorithm), 300, time.Now().Unix())
		var mac string
		b, mac, err = dns.TsigGenerate(m, key.Secret, "", false)
		c.macs[m.Id] = mac
	}
	if err != nil {
		return err
	}
	if err := c.SetWriteDeadline(time.Now().Add(c.client.timeout())); err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

// Receive reads the answer to a request, which must be the next that comes.
func (c *Conn) Receive(m *dns.Msg) (*Answer, error) {
	r := reader{zone: m.Question[0].Name, laxAA: c.client.LaxAA, has: serialOf(m), incremental: m.Question[0].Qtype == dns.TypeIXFR}
	mac := c.macs[m.Id]
	for first := true; ; first = false {
		b, err := c.next()
		if err != nil {
			return nil, fmt.Errorf("after %d messages: %w", len(r.answer.Messages), err)
		}
		got := new(dns.Msg)
		if err := got.Unpack(b); err != nil {
			return nil, fmt.Errorf("message %d: %w", len(r.answer.Messages)+1, err)
		}
		signature := got.IsTsig()
		if signature != nil {
			if c.client.Key == nil {
				return nil, errors.New("an answer that is signed, to a request that is not")
			}
			// The MAC of an error with the key or the signature is empty (RFC 8945 §5.3.2). The library takes all of
			// NOTAUTH for such.
			if signature.MACSize > 0 && got.Rcode != dns.RcodeNotAuth {
				if err := dns.TsigVerify(b, c.client.Key.Secret, mac, !first); err != nil {
					return nil, fmt.Errorf("message %d: %w", len(r.answer.Messages)+1, err)
				}
			}
			mac = signature.MAC
		}
		if got.Rcode != dns.RcodeSuccess && first {
			return nil, refusal(got, signature)
		}
		if c.client.Key != nil && (signature == nil || signature.MACSize == 0 || signature.Error != 0) {
			return nil, fmt.Errorf("message %d is not signed", len(r.answer.Messages)+1)
		}
		message := Message{Octets: len(b), Records: len(got.Answer), Signed: signature != nil}
		if opt := got.IsEdns0(); opt != nil {
			message.Options = opt.Option
		}
		r.answer.Messages = append(r.answer.Messages, message)
		if err := r.checkMessage(m, got, first); err != nil {
			return nil, fmt.Errorf("message %d: %w", len(r.answer.Messages), err)
		}
		done, err := r.take(got.Answer, first)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", len(r.answer.Messages), err)
		}
		if done {
			return &r.answer, nil
		}
	}
}

// next reads one message.
func (c *Conn) next() ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.client.timeout())); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

func refusal(m *dns.Msg, signature *dns.TSIG) *RcodeError {
	e := &RcodeError{Rcode: m.Rcode}
	if signature != nil {
		e.Signed, e.TSIG = signature.MACSize > 0, signature.Error
	}
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if o, ok := o.(*dns.EDNS0_EDE); ok {
				e.EDE = o
			}
		}
	}
	return e
}

func serialOf(m *dns.Msg) uint32 {
	if len(m.Ns) == 1 {
		if soa, ok := m.Ns[0].(*dns.SOA); ok {
			return soa.Serial
		}
	}
	return 0
}

// A reader puts the records of an answer where they belong.
type reader struct {
	zone        string
	laxAA       bool
	has         uint32 // the serial of the client
	incremental bool   // IXFR was asked for

	answer Answer
	count  int  // of the records so far
	adding bool // the last step is in its second half
}

// checkMessage checks what stands around the records (RFC 5936 §2.2).
func (r *reader) checkMessage(request, m *dns.Msg, first bool) error {
	switch {
	case m.Id != request.Id || !m.Response || m.Opcode != dns.OpcodeQuery:
		return fmt.Errorf("header %+v for ID %d", m.MsgHdr, request.Id)
	case !m.Authoritative && !r.laxAA || m.Truncated || m.RecursionAvailable || m.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("header %+v", m.MsgHdr)
	case len(m.Question) > 1 || len(m.Question) == 1 && m.Question[0] != request.Question[0]:
		return fmt.Errorf("question %v", m.Question)
	case first && len(m.Question) != 1:
		return errors.New("the first message has no question")
	case len(m.Ns) > 0:
		return fmt.Errorf("authority section %v", m.Ns)
	case len(m.Answer) == 0:
		return errors.New("no records")
	}
	for _, rr := range m.Extra {
		switch rr.Header().Rrtype {
		case dns.TypeTSIG:
		case dns.TypeOPT:
			if request.IsEdns0() == nil {
				return errors.New("EDNS, which was not asked for")
			}
		default:
			return fmt.Errorf("additional record %v", rr)
		}
	}
	return nil
}

// take takes the records of one message, and tells whether the answer is complete.
func (r *reader) take(rrs []dns.RR, first bool) (done bool, err error) {
	for i, rr := range rrs {
		if done {
			return false, fmt.Errorf("%d records behind the last SOA record", len(rrs)-i)
		}
		if !dns.IsSubDomain(r.zone, rr.Header().Name) || rr.Header().Class != dns.ClassINET {
			return false, fmt.Errorf("%v is not in %s", rr, r.zone)
		}
		soa, _ := rr.(*dns.SOA)
		if soa != nil && !strings.EqualFold(soa.Hdr.Name, r.zone) {
			return false, fmt.Errorf("%v is not at the apex", rr)
		}
		if done, err = r.add(rr, soa); err != nil {
			return false, err
		}
		r.count++
	}
	// A server sends a zone of more than one record, so the SOA record alone says that there is nothing to send.
	if first && r.count == 1 && r.incremental {
		r.answer.Form = UpToDate
		return true, nil
	}
	return done, nil
}

// add takes one record; soa is it, or nil if it is none.
func (r *reader) add(rr dns.RR, soa *dns.SOA) (done bool, err error) {
	a := &r.answer
	switch {
	case r.count == 0:
		if soa == nil {
			return false, fmt.Errorf("the first record is %v", rr)
		}
		a.SOA = soa
		return false, nil
	case r.count == 1 && r.incremental && soa != nil && soa.Serial == r.has && soa.Serial != a.SOA.Serial:
		a.Form = Incremental
		a.Steps = []Step{{Removed: []dns.RR{soa}}}
		return false, nil
	case r.count == 1:
		a.Form = Whole
		a.Records = []dns.RR{a.SOA}
	}
	if a.Form == Whole {
		if soa == nil {
			a.Records = append(a.Records, rr)
			return false, nil
		}
		if soa.String() != a.SOA.String() {
			return false, fmt.Errorf("%v at the end, %v at the beginning", soa, a.SOA)
		}
		return true, nil
	}
	return r.step(rr, soa)
}

// step takes one record of an incremental answer (RFC 1995 §4).
func (r *reader) step(rr dns.RR, soa *dns.SOA) (done bool, err error) {
	a := &r.answer
	last := &a.Steps[len(a.Steps)-1]
	switch {
	case soa == nil && !r.adding:
		last.Removed = append(last.Removed, rr)
	case soa == nil:
		last.Added = append(last.Added, rr)
	case !r.adding:
		last.Added = []dns.RR{soa}
		r.adding = true
	case soa.String() == a.SOA.String():
		if to := last.Added[0]; to.String() != soa.String() {
			return false, fmt.Errorf("the differences end at %v, not at %v", to, soa)
		}
		return true, nil
	case soa.String() != last.Added[0].String():
		return false, fmt.Errorf("%v behind differences that end at %v", soa, last.Added[0])
	default:
		a.Steps = append(a.Steps, Step{Removed: []dns.RR{soa}})
		r.adding = false
	}
	return false, nil
}

// Octets returns the octets of all messages.
func (a *Answer) Octets() (n int) {
	for _, m := range a.Messages {
		n += m.Octets
	}
	return n
}

// text returns a record in the form in which records are compared: the letter case of its owner does not count.
func text(rr dns.RR) string {
	rr = dns.Copy(rr)
	rr.Header().Name = strings.ToLower(rr.Header().Name)
	return strings.ReplaceAll(rr.String(), "\t", " ")
}
