// Package wire reads questions from messages and writes answers into messages
// (RFC 1035 §4, RFC 6891). It serves where every query counts: nothing in it
// allocates, and nothing takes longer than the octets it reads and writes.
//
// ParseQuestion says what a message is: a plain question, a mistake, or something
// that only the plugin chain answers. A
// Packer writes a decided zone.Answer as a message, a StreamPacker any number of
// RRsets as the messages of a transfer. The package knows no rule of what to
// answer.
package wire

import "encoding/binary"

// Sizes of messages, in octets.
const (
	HeaderSize = 12
	MinUDP     = 512   // every client takes that much over UDP (RFC 1035 §4.2.1)
	MaxUDP     = 1232  // no answer over UDP is larger, as IP would fragment it
	MaxMessage = 65535 // over a stream (RFC 1035 §4.2.2)
)

// Flags of the header (RFC 1035 §4.1.1, RFC 4035 §3.2.2).
const (
	FlagQR uint16 = 1 << 15
	FlagAA uint16 = 1 << 10
	FlagTC uint16 = 1 << 9
	FlagRD uint16 = 1 << 8
	FlagCD uint16 = 1 << 4

	maskOpcode uint16 = 0xf << 11
)

// Opcodes (RFC 1035 §4.1.1, RFC 1996, RFC 2136, RFC 8490).
const (
	opcodeQuery  = 0
	opcodeNotify = 4
	opcodeUpdate = 5
	opcodeDSO    = 6
)

// rcodeServFail is the response code SERVFAIL (RFC 1035 §4.1.1).
const rcodeServFail = 2

// EDNS options (IANA DNS EDNS0 Option Codes) that ParseQuestion looks at.
const (
	OptionLLQ          uint16 = 1  // RFC 8764
	OptionUpdateLease  uint16 = 2  // RFC 9664
	OptionNSID         uint16 = 3  // RFC 5001
	OptionClientSubnet uint16 = 8  // RFC 7871
	OptionExpire       uint16 = 9  // RFC 7314
	OptionCookie       uint16 = 10 // RFC 7873
	OptionKeepalive    uint16 = 11 // RFC 7828
	OptionEDE          uint16 = 15 // RFC 8914
	OptionReporting    uint16 = 18 // RFC 9567
	OptionZoneVersion  uint16 = 19 // RFC 9660
)

// Shape is what is done to an answer before it is packed, and what is answered. The
// zero value leaves answers as they are.
type Shape struct {
	Minimal bool // a positive answer has the section Answer alone
	Rotate  bool // sets of A, AAAA and MX begin with any of their records
	Refuse  bool // a query about no zone is answered, too, as no plugin changes that

	Cache *Cache // of who asks; nil: none
}

// optSize is the size of an OPT record without options.
const optSize = 11

// classIN is the class Internet.
const classIN = 1

// doBit is the flag DO of an OPT record, coBit the flag CO, both in the lower
// half of its TTL field (RFC 3225 §3, RFC 9824 §5.1).
const (
	doBit = 0x8000
	coBit = 0x4000
)

// AppendOption appends an EDNS option (RFC 6891 §6.1.2) to dst, as the options
// of AppendResponse and AppendError are made. data is at most 65535 octets.
func AppendOption[T ~string | ~[]byte](dst []byte, code uint16, data T) []byte {
	dst = binary.BigEndian.AppendUint16(dst, code)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(data)))
	return append(dst, data...)
}
