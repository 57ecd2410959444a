// Package xfr sends zones to secondaries: AXFR (RFC 5936) and IXFR (RFC 1995) as
// messages that are ready to be written, and NOTIFY (RFC 1996) to tell that there
// is something to fetch. It knows nothing of who may have a zone and how
// connections are made.
//
// A transfer goes in three steps. ParseRequest reads what the client asks, Plan
// decides on the answer from one version of the zone and its history, and
// Sender.Send writes that as fast as the client takes it and no slower than is
// bearable:
//
//	req, err := xfr.ParseRequest(m)
//	stream, err := xfr.Plan(req, snapshot, changes, xfr.Options{})
//	sent, err := xfr.Out.Send(ctx, client, stream, write, cut)
//
// Rcode gives the response code for an error before the first message.
package xfr

import (
	"errors"
	"fmt"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Errors of transfers. ErrStalled and ErrTooLong come after the first message was
// given to the client, the others before.
var (
	ErrFormat     = errors.New("malformed request for a transfer")
	ErrUDP        = errors.New("AXFR over UDP")
	ErrBusy       = errors.New("too many transfers at a time")
	ErrRecordSize = errors.New("record does not fit into a message")
	ErrStalled    = errors.New("client does not take the messages of the transfer")
	ErrTooLong    = errors.New("transfer takes too long")
)

// Rcode gives the response code for a request that ended with an error before
// the first message of its answer: FORMERR for a mistake of the client (RFC 5936
// §2.1, §4.2), SERVFAIL else.
func Rcode(err error) int {
	switch {
	case err == nil:
		return dns.RcodeSuccess
	case errors.Is(err, ErrFormat), errors.Is(err, ErrUDP):
		return dns.RcodeFormatError
	default:
		return dns.RcodeServerFailure
	}
}

// Request is what a client asks: the question with ID, flags and EDNS, and for
// IXFR the serial it has.
type Request struct {
	wire.Question
	Serial zone.Serial
}

// ParseRequest reads a query of type AXFR or IXFR and class IN. With IXFR it has
// the SOA record of the client's version, and nothing else, in the authority
// section (RFC 1995 §3); of that the serial counts alone. An error wraps
// ErrFormat.
func ParseRequest(m *dns.Msg) (*Request, error) {
	if len(m.Question) != 1 {
		return nil, fmt.Errorf("%w: %d questions", ErrFormat, len(m.Question))
	}
	q := m.Question[0]
	name, err := dnsname.Parse(q.Name, dnsname.Root)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	r := &Request{Question: wire.Question{ID: m.Id, Name: name, Type: q.Qtype, Class: q.Qclass}}
	if m.RecursionDesired {
		r.Flags |= wire.FlagRD
	}
	if opt := m.IsEdns0(); opt != nil {
		r.HasEDNS, r.DO, r.UDPSize = true, opt.Do(), opt.UDPSize()
	}
	switch {
	case q.Qclass != dns.ClassINET || m.Opcode != dns.OpcodeQuery:
		return nil, fmt.Errorf("%w: opcode %d, class %d", ErrFormat, m.Opcode, q.Qclass)
	case q.Qtype == dns.TypeAXFR:
		return r, nil
	case q.Qtype != dns.TypeIXFR:
		return nil, fmt.Errorf("%w: type %d", ErrFormat, q.Qtype)
	case len(m.Ns) != 1:
		return nil, fmt.Errorf("%w: IXFR with %d authority records", ErrFormat, len(m.Ns))
	}
	soa, ok := m.Ns[0].(*dns.SOA)
	if !ok {
		return nil, fmt.Errorf("%w: IXFR without a SOA record", ErrFormat)
	}
	if owner, err := dnsname.Parse(soa.Hdr.Name, dnsname.Root); err != nil || !owner.Equal(name) {
		return nil, fmt.Errorf("%w: IXFR of %s with a SOA record of %q", ErrFormat, name, soa.Hdr.Name)
	}
	r.Serial = zone.Serial(soa.Serial)
	return r, nil
}
