package update

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/coredns/coredns/plugin/metrics"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/coredns/coredns/plugin/tsig"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/ddns"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/identity"
	"github.com/trustdns/trustdns/plugin/pkg/policy"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// Why a request is not looked at any further.
var (
	errMalformed = errors.New("malformed UPDATE")
	errNotAuth   = errors.New("no zone of this server has that name")
	errTransport = errors.New("no UPDATE over this transport")
)

// request is an UPDATE as the packages that decide see it.
type request struct {
	request       *dns.Msg
	origin        dnsname.Name // in lower case
	zone          *zonedb.Zone
	client        policy.Client
	signature     signature
	prerequisites []ddns.Record
	updates       []ddns.Record
	err           error // of reading it
}

func newRequest(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, origin dnsname.Name) *request {
	q := &request{request: r, origin: origin}
	q.client.Addr, q.client.Proto = clientOf(w)
	scheme, _, _ := strings.Cut(metrics.WithServer(ctx), "://")
	switch {
	case scheme == transport.TLS && q.client.Proto == policy.TCP:
		q.client.Proto = policy.TLS
	case scheme != transport.TLS && scheme != transport.DNS && scheme != "":
		q.err = errTransport
	}
	if id, ok := identity.From(ctx); ok {
		q.client.Key, _ = dnsname.Parse(id.Key, dnsname.Root) // keys has parsed it
		q.signature = signature{q.client.Key, id.MAC, id.Signed, id.Fudge}
	} else if key, ok := tsig.ValidatedKeyName(ctx); ok {
		q.client.Key, _ = dnsname.Parse(strings.ToLower(key), dnsname.Root)
	}
	if q.err == nil {
		q.err = checkAdditional(r.Extra)
	}
	return q
}

// checkAdditional refuses several OPT records (RFC 6891 §6.1.1), and a signature:
// who checks one takes it away.
func checkAdditional(rrs []dns.RR) error {
	options := 0
	for _, rr := range rrs {
		switch rr.Header().Rrtype {
		case dns.TypeOPT:
			options++
		case dns.TypeTSIG:
			return deny("unsigned", "no plugin has checked the signature")
		}
	}
	if options > 1 {
		return fmt.Errorf("%w: several OPT records", errMalformed)
	}
	return nil
}

// clientOf gives the address that a request came from, and how; the zero value of
// what is not known. What a proxy says of an address is taken for it (PROXY
// protocol), but nobody has seen the client answer from there.
func clientOf(w dns.ResponseWriter) (netip.Addr, policy.Proto) {
	remote := w.RemoteAddr()
	wrapped, proxied := remote.(interface{ Unwrap() net.Addr })
	if proxied {
		remote = wrapped.Unwrap()
	}
	var addr netip.AddrPort
	var proto policy.Proto
	switch a := remote.(type) {
	case *net.UDPAddr:
		addr, proto = a.AddrPort(), policy.UDP
	case *net.TCPAddr:
		addr, proto = a.AddrPort(), policy.TCP
	}
	if proxied {
		proto = 0
	}
	return addr.Addr().Unmap(), proto
}

// checkZone looks at the header and the zone section (RFC 2136 §3.1), and reads
// the others.
func (q *request) checkZone(live holder) outcome {
	switch {
	case q.err != nil:
	case len(q.request.Question) != 1, q.request.Question[0].Qtype != dns.TypeSOA, q.origin == "":
		q.err = fmt.Errorf("%w: the zone section is not one SOA", errMalformed)
	case q.request.Question[0].Qclass != dns.ClassINET:
		q.err = errNotAuth
	default:
		if q.zone = live.LiveZone(q.origin); q.zone == nil {
			q.err = errNotAuth
			break
		}
		if q.prerequisites, q.err = records("prerequisite", q.request.Answer); q.err == nil {
			q.updates, q.err = records("update", q.request.Ns)
		}
	}
	return outcome{err: q.err}
}

// records takes the records of a section apart.
func records(section string, rrs []dns.RR) ([]ddns.Record, error) {
	list := make([]ddns.Record, len(rrs))
	for i, rr := range rrs {
		h := rr.Header()
		r := ddns.Record{Type: h.Rrtype, Class: h.Class, TTL: h.Ttl}
		length := int(h.Rdlength) // before the record is packed, which changes it
		var err error
		if length == 0 { // the library gives a record with nothing in it
			r.Owner, err = dnsname.Parse(h.Name, dnsname.Root)
		} else {
			r.Owner, r.RDATA, err = rrset.FromRR(rr)
		}
		if err == nil && length < shortest(r.Type, r.RDATA) {
			err = rrset.ErrMalformed
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s %d: %w", errMalformed, section, i+1, err)
		}
		list[i] = r
	}
	return list, nil
}

// shortest gives how long RDATA that came in a message must have been at least:
// its names may have been compressed. The library takes RDATA that ends where a
// field begins for one whose other fields are zero.
func shortest(typ uint16, rdata string) int {
	if typ == dns.TypeISDN { // whose last field may be left out (RFC 1183 §3.2)
		return 0
	}
	from, to, _ := rrset.Names(typ, rdata)
	n := len(rdata) - (to - from)
	for from < to {
		length := dnsname.Len(rdata[from:to])
		n += min(2, length) // RFC 1035 §4.1.4: a pointer, or the root
		from += length
	}
	return n
}

// adds tells whether there is a record to add.
func (q *request) adds() bool {
	for i := range q.updates {
		if q.updates[i].Class == ddns.ClassINET {
			return true
		}
	}
	return false
}

// who is what the history says of the client.
func (q *request) who() string {
	if q.client.Key != "" {
		return q.client.Key.String()
	}
	return q.client.Addr.String()
}

// countChanges counts what was acknowledged.
func (q *request) countChanges() {
	for i := range q.updates {
		r := &q.updates[i]
		switch {
		case r.Class == ddns.ClassINET:
			changesTotal.WithLabelValues("add").Inc()
		case r.Class == ddns.ClassNONE:
			changesTotal.WithLabelValues("delete_record").Inc()
		case r.Type == rrset.TypeANY:
			changesTotal.WithLabelValues("delete_name").Inc()
		default:
			changesTotal.WithLabelValues("delete_rrset").Inc()
		}
	}
}

// maxExtra bounds the text of an extended error, in octets: the response is not to
// be much larger than the request.
const maxExtra = 200

// reply sends the response: the zone section, the code, and with EDNS what it says
// of leases and errors.
func (q *request) reply(w dns.ResponseWriter, o outcome) (int, error) {
	rcode, code, text := o.rcode()
	requestsTotal.WithLabelValues(dns.RcodeToString[rcode]).Inc()
	var own *refusal
	if errors.As(o.err, &own) {
		deniedTotal.WithLabelValues(own.reason).Inc()
	}

	m := new(dns.Msg)
	m.MsgHdr = dns.MsgHdr{Id: q.request.Id, Response: true, Opcode: dns.OpcodeUpdate, Rcode: rcode}
	m.Question = q.request.Question
	if opt := q.request.IsEdns0(); opt != nil {
		var options []dns.EDNS0
		if o.leased {
			options = append(options, o.lease.option())
		}
		if text != "" {
			if len(text) > maxExtra {
				text = text[:maxExtra]
			}
			options = append(options, &dns.EDNS0_EDE{InfoCode: code, ExtraText: strings.ToValidUTF8(text, "")})
		}
		if len(options) > 0 {
			m.Extra = []dns.RR{&dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: opt.Hdr.Class}, Option: options}}
		}
	}
	err := w.WriteMsg(m)
	q.audit(&o, rcode)
	var pack *dns.Error
	if errors.As(err, &pack) {
		return dns.RcodeServerFailure, err
	}
	return dns.RcodeSuccess, nil // any other error means that the client is gone
}
