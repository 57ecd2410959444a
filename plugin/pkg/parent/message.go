package parent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

const (
	typeA    = rrset.TypeA
	typeAAAA = rrset.TypeAAAA
	typeNS   = rrset.TypeNS
	typeSOA  = rrset.TypeSOA
	typeDS   = rrset.TypeDS

	classIN    = 1
	headerSize = 12
)

// Bits of the second 16 bits of a header (RFC 1035 §4.1.1).
const (
	flagQR     = 1 << 15
	maskOpcode = 15 << 11
	flagAA     = 1 << 10
	flagTC     = 1 << 9
	flagRD     = 1 << 8
	flagRA     = 1 << 7
	maskRcode  = 15
)

const (
	rcodeNXDomain = 3
	rcodeRefused  = 5
)

// question is what is asked, in class IN.
type question struct {
	name    dnsname.Name
	typ     uint16
	recurse bool
}

// message is the part of a response that matters. It shares no memory with the octets.
type message struct {
	flags             uint16
	answer, authority []record
}

func (m *message) has(flag uint16) bool { return m.flags&flag != 0 }
func (m *message) rcode() uint16        { return m.flags & maskRcode }

// record is a record of class IN.
type record struct {
	owner dnsname.Name
	typ   uint16
	ttl   uint32 // seconds; 0 for what is no TTL (RFC 2181 §8)
	rdata string // names in it without compression, for the types asked for; "" for others
}

// Errors of responses.
var (
	errMalformed = errors.New("malformed answer")
	errOther     = errors.New("answer to something else")
	errTruncated = errors.New("answer cut short over TCP")
)

// pack makes a query without EDNS: over TCP an answer may be as long as there are
// octets, and without DO there are no signatures in it.
func (q *question) pack(id uint16) []byte {
	flags := uint16(0)
	if q.recurse {
		flags = flagRD
	}
	b := make([]byte, 0, headerSize+len(q.name)+4)
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, 0, 1, 0, 0, 0, 0, 0, 0)
	b = append(b, q.name...)
	b = binary.BigEndian.AppendUint16(b, q.typ)
	return binary.BigEndian.AppendUint16(b, classIN)
}

// parse reads the response to a query. Every octet is accounted for: a message that
// ends early must not pass for one with fewer records.
func (q *question) parse(msg []byte, id uint16) (m message, err error) {
	if len(msg) < headerSize {
		return m, errMalformed
	}
	count := func(i int) int { return int(binary.BigEndian.Uint16(msg[4+2*i:])) }
	m.flags = binary.BigEndian.Uint16(msg[2:])
	if binary.BigEndian.Uint16(msg) != id || !m.has(flagQR) || m.has(maskOpcode) {
		return m, errOther
	}
	off := headerSize
	if rcode := m.rcode(); count(0) == 0 && rcode != 0 && rcode != rcodeNXDomain { // some refuse without repeating what
		return m, nil
	}
	if count(0) != 1 {
		return m, errOther
	}
	name, off, err := dnsname.FromWire(msg, off)
	if err != nil || len(msg)-off < 4 {
		return m, errMalformed
	}
	if !name.Equal(q.name) || binary.BigEndian.Uint16(msg[off:]) != q.typ || binary.BigEndian.Uint16(msg[off+2:]) != classIN {
		return m, errOther
	}
	off += 4
	if m.has(flagTC) {
		return m, errTruncated
	}
	for i := range 3 {
		for range count(1 + i) {
			var r record
			var class uint16
			if r, class, off, err = parseRecord(msg, off); err != nil {
				return m, fmt.Errorf("%w: %w", errMalformed, err)
			}
			switch {
			case i < 2 && class != classIN:
				return m, fmt.Errorf("%w: record of class %d", errMalformed, class)
			case i == 0:
				m.answer = append(m.answer, r)
			case i == 1:
				m.authority = append(m.authority, r)
			}
		}
	}
	if off != len(msg) {
		return m, errMalformed
	}
	return m, nil
}

var errShort = errors.New("record runs past the end")

// parseRecord reads a record and gives its class and where it ends.
func parseRecord(msg []byte, off int) (r record, class uint16, end int, err error) {
	if r.owner, off, err = dnsname.FromWire(msg, off); err != nil {
		return r, 0, off, err
	}
	if len(msg)-off < 10 {
		return r, 0, off, errShort
	}
	r.typ = binary.BigEndian.Uint16(msg[off:])
	class = binary.BigEndian.Uint16(msg[off+2:])
	if r.ttl = binary.BigEndian.Uint32(msg[off+4:]); r.ttl > 1<<31-1 {
		r.ttl = 0
	}
	from := off + 10
	end = from + int(binary.BigEndian.Uint16(msg[off+8:]))
	if end > len(msg) {
		return r, 0, off, errShort
	}
	names, rest := 0, -1 // rest: octets behind the names; -1 for any number
	switch r.typ {
	case typeNS:
		names, rest = 1, 0
	case typeSOA:
		names, rest = 2, 20
	case typeA:
		rest = 4
	case typeAAAA:
		rest = 16
	case typeDS:
		if end-from < 5 { // tag, algorithm, digest type and a digest (RFC 4034 §5.1)
			return r, 0, off, errors.New("DS record without a digest")
		}
	default:
		return r, class, end, nil
	}
	rdata := make([]byte, 0, end-from)
	for range names {
		if rdata, from, err = dnsname.AppendWire(rdata, msg, from); err != nil {
			return r, 0, off, err
		}
	}
	if from > end || rest >= 0 && end-from != rest {
		return r, 0, off, fmt.Errorf("%s record of wrong length", rrset.TypeString(r.typ))
	}
	r.rdata = string(append(rdata, msg[from:end]...))
	return r, class, end, nil
}

// rcodes are the response codes that a query without EDNS can get.
var rcodes = [...]string{1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH", 10: "NOTZONE"}

func rcodeText(rcode uint16) string {
	if int(rcode) < len(rcodes) && rcodes[rcode] != "" {
		return rcodes[rcode]
	}
	return fmt.Sprintf("response code %d", rcode)
}

// exchange asks a server over TCP. The text of errors does not change from one time
// to the next: no ports of ours are in it.
func (c *Client) exchange(ctx context.Context, address netip.AddrPort, q question) (message, error) {
	if ctx.Err() != nil {
		return message{}, fmt.Errorf("not asked within %v", MaxAsk)
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	id := uint16(rand.Uint32())
	reply, err := c.transport(ctx, address, q.pack(id))
	if err != nil {
		return message{}, err
	}
	return q.parse(reply, id)
}

// transport sends a query on a connection of its own and reads one message.
func (c *Client) transport(ctx context.Context, address netip.AddrPort, query []byte) ([]byte, error) {
	conn, err := c.dial(ctx, "tcp", address.String())
	if err != nil {
		return nil, unreachable(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // whoever waits for the connection sees the error
	})
	defer stop()
	framed := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(query)), uint16(len(query))), query...)
	if _, err := conn.Write(framed); err != nil {
		return nil, unreachable(err)
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, unreachable(err)
	}
	reply := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return nil, unreachable(err)
	}
	return reply, nil
}

// unreachable makes the error of a connection that failed.
func unreachable(err error) error {
	var timeout net.Error
	var op *net.OpError
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w within %v", ErrUnreachable, Timeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: connection closed", ErrUnreachable)
	case errors.As(err, &op):
		err = op.Err // without addresses
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}
