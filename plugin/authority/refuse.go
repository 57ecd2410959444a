package authority

import (
	"net"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// refusal is a response that says why there is no answer.
type refusal struct {
	reason string // in the metric
	rcode  int
	code   uint16 // extended DNS error (RFC 8914); 0 without text: none
	text   string // of it; short, as the client may not be who it says
}

// The refusals.
var (
	notOurs        = refusal{"not_authoritative", dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative, ""}
	notAuth        = refusal{"not_authoritative", dns.RcodeNotAuth, dns.ExtendedErrorCodeNotAuthoritative, ""}
	notLoaded      = refusal{"not_loaded", dns.RcodeServerFailure, dns.ExtendedErrorCodeNotReady, "zone not loaded"}
	unsigned       = refusal{"signing", dns.RcodeServerFailure, dns.ExtendedErrorCodeOther, "answer not signed"}
	tooLarge       = refusal{"too_large", dns.RcodeServerFailure, dns.ExtendedErrorCodeOther, "answer larger than a message"}
	noTransfer     = refusal{"transfer", dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, "no zone transfer"}
	noTransferHere = refusal{"transfer", dns.RcodeRefused, dns.ExtendedErrorCodeNotSupported, "no zone transfer over this transport"}
	noUpdate       = refusal{"update", dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, "no dynamic update"}
	malformed      = refusal{"malformed", dns.RcodeFormatError, dns.ExtendedErrorCodeOther, ""}
	badType        = refusal{"type", dns.RcodeFormatError, dns.ExtendedErrorCodeInvalidQueryType, ""}
	noMailType     = refusal{"type", dns.RcodeNotImplemented, dns.ExtendedErrorCodeNotSupported, ""}
	noOpcode       = refusal{"opcode", dns.RcodeNotImplemented, dns.ExtendedErrorCodeNotSupported, ""}
)

// check gives why a request about zone z is not answered from it, if so.
func (t *task) check(z *served) (refusal, bool) {
	if t.malformedOPT() {
		return malformed, true
	}
	apex := len(t.query.Name) == len(z.spec.Origin)
	switch t.request.Opcode {
	case dns.OpcodeQuery:
		return t.checkType(apex)
	case dns.OpcodeNotify: // RFC 1996 §3.6, §3.11
		switch {
		case t.query.Type != rrset.TypeSOA:
			return malformed, true
		case !apex:
			return notAuth, true
		}
		return refusal{}, false
	case dns.OpcodeUpdate: // RFC 2136 §3.1
		switch {
		case t.query.Type != rrset.TypeSOA:
			return malformed, true
		case !apex:
			return notAuth, true
		}
		return noUpdate, true
	default:
		return noOpcode, true
	}
}

// checkType refuses the types that no zone can have, but for ANY (RFC 6895 §3.1).
func (t *task) checkType(apex bool) (refusal, bool) {
	switch typ := t.query.Type; typ {
	case rrset.TypeANY:
		return refusal{}, false
	case rrset.TypeAXFR, rrset.TypeIXFR:
		return notAuth, !apex
	case rrset.TypeMAILA, rrset.TypeMAILB, rrset.TypeTKEY:
		return noMailType, true
	case rrset.TypeNXNAME: // RFC 9824 §3.5
		return badType, true
	default:
		return malformed, rrset.IsMeta(typ)
	}
}

// malformedOPT tells whether there are several OPT records, one is not at the
// root (RFC 6891 §6.1), or an ECS option breaks RFC 7871 §6, §7.1.2.
func (t *task) malformedOPT() bool {
	if t.opt == nil {
		return false
	}
	for _, rr := range t.request.Extra {
		if rr.Header().Rrtype == dns.TypeOPT && rr != dns.RR(t.opt) {
			return true
		}
	}
	if t.opt.Hdr.Name != "." {
		return true
	}
	for _, o := range t.opt.Option {
		if s, ok := o.(*dns.EDNS0_SUBNET); ok && !validSubnet(s) {
			return true
		}
	}
	return false
}

// validSubnet tells whether the option asks in a valid way: no scope, and no bits
// beyond the prefix.
func validSubnet(s *dns.EDNS0_SUBNET) bool {
	if s.SourceScope != 0 {
		return false
	}
	ip, bits := s.Address.To4(), 32
	if s.Family != 1 {
		ip, bits = s.Address, 128
	}
	if s.Family == 0 || len(ip)*8 != bits {
		return s.SourceNetmask == 0
	}
	return ip.Mask(net.CIDRMask(int(s.SourceNetmask), bits)).Equal(ip)
}

// refuse sends a refusal, with its extended error if the request has an OPT
// record.
func (t *task) refuse(w dns.ResponseWriter, n refusal) (int, error) {
	t.listener.refused(n.reason)
	m := t.newMessage()
	m.Rcode = n.rcode
	t.dropFlags()
	if t.opt != nil && (n.code != dns.ExtendedErrorCodeOther || n.text != "") {
		m.Extra = append(m.records[:0], t.newOPT(&dns.EDNS0_EDE{InfoCode: n.code, ExtraText: n.text}))
	}
	return write(w, &m.Msg)
}

// acknowledge answers a NOTIFY about a zone of ours: as the primary we have
// nothing to ask anybody for (RFC 1996 §3.7; BIND does the same).
func (t *task) acknowledge(w dns.ResponseWriter) (int, error) {
	m := t.newMessage()
	m.Authoritative = true
	t.dropFlags()
	return write(w, &m.Msg)
}
