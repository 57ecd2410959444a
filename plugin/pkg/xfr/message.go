package xfr

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Key is a TSIG key (RFC 8945).
type Key struct {
	Name      string // fully qualified; "" for none
	Algorithm string // as "hmac-sha256."
	Secret    string // its octets
}

func (k *Key) base64() string { return base64.StdEncoding.EncodeToString([]byte(k.Secret)) }

// fudge is how many seconds two clocks may differ (RFC 8945 §10).
const fudge = 300

// Errors of answers to NOTIFY: why one is not taken for an answer.
var (
	errMalformed = errors.New("malformed answer")
	errOther     = errors.New("answer to something else")
	errUnsigned  = errors.New("answer is not signed")
	errSignature = errors.New("signature of the answer is wrong")
)

// asked is what an answer to a NOTIFY must match.
type asked struct {
	id     uint16
	origin dnsname.Name
	key    Key
	mac    string // of the request, in hex
}

// packNotify makes a NOTIFY with the SOA record as a hint (RFC 1996 §3.7), signed if
// there is a key. mac is empty without.
func packNotify(id uint16, origin dnsname.Name, soa *zone.Set, key *Key, now time.Time) (msg []byte, mac string, err error) {
	m := new(dns.Msg)
	m.Id, m.Opcode, m.Authoritative = id, dns.OpcodeNotify, true
	name := origin.String()
	m.Question = []dns.Question{{Name: name, Qtype: dns.TypeSOA, Qclass: dns.ClassINET}}
	m.Answer = rrset.AppendRRs(nil, name, soa.RRset)
	if key.Name == "" {
		msg, err = m.Pack()
		return msg, "", err
	}
	m.SetTsig(key.Name, key.Algorithm, fudge, now.Unix())
	return dns.TsigGenerate(m, key.base64(), "", false)
}

// parseReply reads what came from where a NOTIFY was sent to and gives the response
// code. An error says why it is no answer (RFC 1996 §4.7): other ID, opcode or
// question, or, if the request was signed, no right signature (RFC 8945 §5.3).
// FORMERR and NOTIMP come from some servers without the question.
func parseReply(msg []byte, a *asked) (rcode int, err error) {
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		return 0, fmt.Errorf("%w: %w", errMalformed, err)
	}
	switch {
	case !m.Response || m.Opcode != dns.OpcodeNotify || m.Id != a.id:
		return 0, errOther
	case len(m.Question) == 0 && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented):
	case len(m.Question) != 1 || m.Question[0].Qtype != dns.TypeSOA || m.Question[0].Qclass != dns.ClassINET:
		return 0, errOther
	default:
		if n, err := dnsname.Parse(m.Question[0].Name, dnsname.Root); err != nil || !n.Equal(a.origin) {
			return 0, errOther
		}
	}
	if a.key.Name == "" {
		return m.Rcode, nil
	}
	tsig := m.IsTsig()
	if tsig == nil {
		return 0, fmt.Errorf("%w: %s", errUnsigned, dns.RcodeToString[m.Rcode])
	}
	if dns.CanonicalName(tsig.Hdr.Name) != dns.CanonicalName(a.key.Name) || dns.CanonicalName(tsig.Algorithm) != dns.CanonicalName(a.key.Algorithm) {
		return 0, fmt.Errorf("%w: key %q, algorithm %q", errSignature, tsig.Hdr.Name, tsig.Algorithm)
	}
	if err := dns.TsigVerify(msg, a.key.base64(), a.mac, false); err != nil {
		return 0, fmt.Errorf("%w: %w: %s, %s", errSignature, err, dns.RcodeToString[m.Rcode], dns.RcodeToString[int(tsig.Error)])
	}
	return m.Rcode, nil
}
