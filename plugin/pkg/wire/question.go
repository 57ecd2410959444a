package wire

import (
	"encoding/binary"
	"unsafe"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// Outcome is what becomes of a message.
type Outcome uint8

const (
	// Plain is a query for a type of class IN that a zone.Answer answers: no
	// records but at most one OPT record, no option with an effect beyond the
	// fields of Question.
	Plain Outcome = iota
	// Slow is for the plugin chain: right or wrong, it is not for this package
	// to say. What stands in the Question is of no use then but for ID and Flags.
	Slow
	// Drop gets no answer: no header, or a response.
	Drop
	// FormErr is malformed and gets a FORMERR.
	FormErr
	// NotImp has an opcode that nobody here knows, and gets a NOTIMP.
	NotImp
	// BadVers is of a later version of EDNS and gets a BADVERS (RFC 6891 §6.1.3).
	BadVers
)

// String gives the word for the outcome that metrics use.
func (o Outcome) String() string {
	switch o {
	case Plain:
		return "plain"
	case Slow:
		return "slow"
	case Drop:
		return "drop"
	case FormErr:
		return "formerr"
	case NotImp:
		return "notimp"
	case BadVers:
		return "badvers"
	default:
		return "unknown"
	}
}

// Question is what a query asks, and how. Name, Cookie and ClientSubnet share
// the memory of the message they were parsed from: they are valid as long as
// that is not changed, and an answer with owners from Name is, too.
type Question struct {
	ID    uint16
	Flags uint16 // all flags and the opcode of the header, as received

	Name  dnsname.Name // in its letter case; "" if there was none to be read
	Type  uint16
	Class uint16

	HasEDNS  bool   // there is an OPT record, and a response has one too
	Version  uint8  // of EDNS
	UDPSize  uint16 // octets the client takes over UDP, as it says
	DO       bool   // the client wants DNSSEC records (RFC 3225)
	CO       bool   // the client understands compact answers (RFC 9824 §5.1)
	Reserved bool   // EDNS flags without a meaning are set (RFC 6891 §6.1.4)

	NSID         bool   // the client asks for the server's name (RFC 5001 §2.1)
	ZoneVersion  bool   // the client asks for the zone's version (RFC 9660 §3.1)
	Cookie       []byte // content of the first COOKIE option, of any length; nil if there is none (RFC 7873)
	ClientSubnet []byte // content of the first ECS option; nil if there is none (RFC 7871)
}

// UDPLimit gives the greatest size of a response over UDP, in octets: what the
// client takes, but at least MinUDP and at most MaxUDP (RFC 6891 §6.2.3, §6.2.5).
func (q *Question) UDPLimit() int {
	if !q.HasEDNS {
		return MinUDP
	}
	return min(max(int(q.UDPSize), MinUDP), MaxUDP)
}

// ParseQuestion reads a message and says what becomes of it; what q held before
// is gone. It accepts and refuses what miekg/dns and the core of CoreDNS do, but
// for two cases: a second OPT record is a FormErr (RFC 6891 §6.1.1), and an
// empty ZONEVERSION option is right (RFC 9660 §3.1). Octets after the message do
// not count.
//
// Slow are: the opcodes NOTIFY, UPDATE and DSO; classes other than IN and meta
// types other than ANY; a compressed name in the question; records in the answer
// or authority section, and additional ones other than OPT, so all that is
// signed; counts greater than what follows; and the options LLQ, Update Lease,
// EXPIRE, Report-Channel and a ZONEVERSION with content.
func ParseQuestion(msg []byte, q *Question) Outcome {
	*q = Question{}
	if len(msg) < HeaderSize {
		return Drop
	}
	q.ID = binary.BigEndian.Uint16(msg)
	q.Flags = binary.BigEndian.Uint16(msg[2:])
	if q.Flags&FlagQR != 0 {
		return Drop
	}
	switch q.Flags & maskOpcode >> 11 {
	case opcodeQuery:
	case opcodeNotify, opcodeUpdate, opcodeDSO:
		return Slow
	default:
		return NotImp
	}
	answers, authorities, additionals := msg[7], msg[9], msg[11] // counts above 255 are refused here
	if msg[4]|msg[6]|msg[8]|msg[10] != 0 || msg[5] != 1 || answers > 1 || authorities > 1 || additionals > 2 {
		return FormErr
	}
	off, o := q.parseName(msg)
	if o != Plain {
		return o
	}
	if answers|authorities != 0 || q.Class != classIN || rrset.IsMeta(q.Type) && q.Type != rrset.TypeANY {
		return Slow
	}
	if additionals == 0 {
		return Plain
	}
	off, o = q.parseOPT(msg, off)
	if additionals == 1 || o == FormErr {
		return o
	}
	if q.HasEDNS && isOPT(msg[off:]) {
		return FormErr
	}
	return Slow
}

// parseName reads the question and gives the offset after it. The result is
// Plain if there is one.
func (q *Question) parseName(msg []byte) (end int, o Outcome) {
	if len(msg) == HeaderSize {
		return 0, Slow
	}
	off := HeaderSize
	for {
		if off >= len(msg) {
			return 0, FormErr
		}
		c := int(msg[off])
		if c == 0 {
			break
		}
		if c >= 0xc0 {
			return 0, Slow
		}
		off += 1 + c
		if c > dnsname.MaxLabel || off > len(msg) || off-HeaderSize >= dnsname.MaxLen {
			return 0, FormErr
		}
	}
	off++
	switch len(msg) - off {
	case 0, 2:
		return 0, Slow // the core takes what is missing for zero
	case 1, 3:
		return 0, FormErr
	}
	q.Name = dnsname.Name(unsafe.String(&msg[HeaderSize], off-HeaderSize))
	q.Type = binary.BigEndian.Uint16(msg[off:])
	q.Class = binary.BigEndian.Uint16(msg[off+2:])
	return off + 4, Plain
}

// isOPT tells whether a record starts as an OPT record does: with the root and
// that type.
func isOPT(b []byte) bool {
	return len(b) >= 3 && b[0] == 0 && b[1] == 0 && b[2] == byte(rrset.TypeOPT)
}

// parseOPT reads the OPT record at off and gives the offset after it.
func (q *Question) parseOPT(msg []byte, off int) (end int, o Outcome) {
	switch b := msg[off:]; {
	case !isOPT(b):
		return off, Slow
	case len(b) < optSize:
		return off, FormErr
	}
	b := msg[off : off+optSize]
	off += optSize
	end = off + int(binary.BigEndian.Uint16(b[9:]))
	if end > len(msg) {
		return off, FormErr
	}
	if o = q.parseOptions(msg[off:end:end]); o == FormErr {
		q.NSID, q.ZoneVersion, q.Cookie, q.ClientSubnet = false, false, nil, nil
		return end, o
	}
	q.HasEDNS = true
	q.UDPSize = binary.BigEndian.Uint16(b[3:])
	q.Version = b[6]
	flags := binary.BigEndian.Uint16(b[7:])
	q.DO, q.CO, q.Reserved = flags&doBit != 0, flags&coBit != 0, flags&^(doBit|coBit) != 0
	if o == Plain && q.Version != 0 {
		return end, BadVers
	}
	return end, o
}

// parseOptions reads the options of an OPT record. Those it does not know are
// ignored (RFC 6891 §6.1.2). The bounds are those of miekg/dns.
func (q *Question) parseOptions(b []byte) Outcome {
	o := Plain
	for len(b) > 0 {
		if len(b) < 4 {
			return FormErr
		}
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if b = b[4:]; n > len(b) {
			return FormErr
		}
		data := b[:n:n]
		b = b[n:]
		ok := true
		switch code {
		case OptionNSID:
			q.NSID = true
		case OptionCookie:
			if q.Cookie == nil {
				q.Cookie = data
			}
		case OptionClientSubnet:
			ok = validSubnet(data)
			if q.ClientSubnet == nil {
				q.ClientSubnet = data
			}
		case OptionZoneVersion:
			switch n {
			case 0:
				q.ZoneVersion = true
			case 1:
				ok = false
			default:
				o = Slow
			}
		case OptionKeepalive:
			ok = n == 0 || n == 2
		case OptionEDE:
			ok = n >= 2
		case OptionLLQ, OptionUpdateLease, OptionExpire, OptionReporting:
			o = Slow
		}
		if !ok {
			return FormErr
		}
	}
	return o
}

// validSubnet tells whether the prefix lengths of an ECS option fit its address
// family (RFC 7871 §6). Whether the address fits them is for those to check who
// use it.
func validSubnet(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	source, scope := b[2], b[3]
	switch binary.BigEndian.Uint16(b) {
	case 0:
		return source == 0
	case 1:
		return source <= 32 && scope <= 32
	case 2:
		return source <= 128 && scope <= 128
	default:
		return false
	}
}
