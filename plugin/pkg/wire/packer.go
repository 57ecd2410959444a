package wire

import (
	"encoding/binary"
	"errors"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// ErrTruncated says that a message lacks something that belongs to the answer,
// and has the flag TC set for that. Over UDP it may be sent, and the client
// comes again over TCP. Over a stream it is of no use: send a SERVFAIL.
var ErrTruncated = errors.New("answer does not fit into the message")

// A Packer writes messages with compressed names (RFC 1035 §4.1.4, RFC 3597 §4).
// The zero value is ready for use. It is large (some 10 kB) and meant to be used
// again and again by one goroutine at a time; it does not allocate as long as
// the buffers it is given have room for the message.
// For the messages of a transfer there is the StreamPacker.
type Packer struct {
	compressor
	end     int // of the buffer: limit octets after the start of the message
	counts  [4]uint16
	whole   bool // nothing was left out of the last message
	options int  // octets of its options
}

// The sections of a message, as places of their counts in the header.
const (
	answer = 1 + iota
	authority
	additional
)

// AppendResponse appends the response to q that a decides to dst: the header
// with ID, opcode, RD and CD of the query, AA and the response code of a, the
// question as received, the sections, and an OPT record if the query had one, with
// MaxUDP or the size that the query says if that is smaller, DO as in the query, CO if
// the query has it and a is compact, and the given options (AppendOption). dst must not overlap with the memory of q or a.
//
// The message has at most limit octets, which is taken for MinUDP or MaxMessage
// if it is outside of them; for UDP use q.UDPLimit. What does not fit is left
// out by whole RRsets with their RRSIGs. Additional RRsets after the first a.Glue
// are left out in silence, one by one (RFC 2181 §9). If any other RRset does not
// fit, TC is set, the sections end before it and the error is ErrTruncated (RFC
// 9471 §3 for glue); NSD and Knot DNS cut there too, BIND within the RRset. The
// options are left out if they do not fit beside the question.
//
// Names are compressed without regard to letter case, so one may come out in the
// case of the question or of an earlier name. The names of NSEC, SVCB and others
// that RFC 3597 does not name are never compressed.
func (p *Packer) AppendResponse(dst []byte, q *Question, a *zone.Answer, limit int, options []byte) ([]byte, error) {
	flags := FlagQR | q.Flags&(maskOpcode|FlagRD|FlagCD) | uint16(a.Rcode())
	if a.AA {
		flags |= FlagAA
	}
	limit = min(max(limit, MinUDP), MaxMessage)
	b, start := appendHead(dst, q, flags), len(dst)
	opt := 0
	if q.HasEDNS {
		options = fitting(options, limit-(len(b)-start))
		opt = optSize + len(options)
	}
	p.options = len(options)
	p.compressor.reset(start, q.Name)
	p.counts = [4]uint16{}
	p.end = start + limit - opt

	b, ok := p.sets(b, answer, a.Answer)
	if ok {
		b, ok = p.sets(b, authority, a.Authority)
	}
	glue := min(max(a.Glue, 0), len(a.Additional))
	if ok {
		b, ok = p.sets(b, additional, a.Additional[:glue])
	}
	var err error
	if ok {
		for i := range a.Additional[glue:] {
			var fits bool
			b, fits = p.set(b, additional, &a.Additional[glue+i])
			ok = ok && fits
		}
	} else {
		b[start+2] |= byte(FlagTC >> 8)
		err = ErrTruncated
	}
	p.whole = ok
	if q.HasEDNS {
		b = appendOPT(b, q, min(q.UDPSize, MaxUDP), 0, a.Compact, options)
		p.counts[additional]++
	}
	for i, n := range p.counts[answer:] {
		binary.BigEndian.PutUint16(b[start+6+2*i:], n)
	}
	return b, err
}

// AppendError appends a response to q without records to dst: header, question
// as far as there is one, and an OPT record if the query had one, with the upper
// bits of rcode, the size that the query says, as CoreDNS does, and the given
// options. It is for refusals and failures. AA is not set. Options that would make
// the message larger than MinUDP are left out. Without EDNS there are no codes
// above 15: SERVFAIL stands for them (RFC 6891 §7). dst must not overlap with
// the memory of q.
func AppendError(dst []byte, q *Question, rcode int, options []byte) []byte {
	if !q.HasEDNS && rcode > 0xf {
		rcode = rcodeServFail
	}
	start := len(dst)
	b := appendHead(dst, q, FlagQR|q.Flags&(maskOpcode|FlagRD|FlagCD)|uint16(rcode&0xf))
	if q.HasEDNS {
		b = appendOPT(b, q, q.UDPSize, rcode>>4, false, fitting(options, MinUDP-(len(b)-start)))
		b[start+11] = 1
	}
	return b
}

// appendHead appends a header and the question, if there is one. The counts of
// the other sections are 0.
func appendHead(b []byte, q *Question, flags uint16) []byte {
	n := byte(0)
	if q.Name != "" {
		n = 1
	}
	b = append(b, byte(q.ID>>8), byte(q.ID), byte(flags>>8), byte(flags), 0, n, 0, 0, 0, 0, 0, 0)
	if n == 0 {
		return b
	}
	b = append(b, q.Name...)
	return append(b, byte(q.Type>>8), byte(q.Type), byte(q.Class>>8), byte(q.Class))
}

// fitting gives options if an OPT record with them fits into room octets.
func fitting(options []byte, room int) []byte {
	if optSize+len(options) > room {
		return nil
	}
	return options
}

// appendOPT appends an OPT record (RFC 6891 §6.1.2) of version 0, with DO as in the
// query (RFC 3225 §3), and CO as in the query if the answer is compact (RFC 9824 §5.1).
func appendOPT(b []byte, q *Question, size uint16, extended int, compact bool, options []byte) []byte {
	flags := byte(0)
	if q.DO {
		flags = doBit >> 8
	}
	if q.CO && compact {
		flags |= coBit >> 8
	}
	b = append(b, 0, 0, byte(rrset.TypeOPT), byte(size>>8), byte(size), byte(extended), 0, flags, 0,
		byte(len(options)>>8), byte(len(options)))
	return append(b, options...)
}

// sets appends sets to a section until one does not fit.
func (p *Packer) sets(b []byte, section int, sets []zone.Set) ([]byte, bool) {
	for i := range sets {
		var ok bool
		if b, ok = p.set(b, section, &sets[i]); !ok {
			return b, false
		}
	}
	return b, true
}

// set appends an RRset with its RRSIGs to a section, or nothing if it does not
// fit.
func (p *Packer) set(b []byte, section int, s *zone.Set) ([]byte, bool) {
	if !namesIn(s.Type) && len(b)+minFixed*(s.Len()+s.Sigs.Len())+len(s.Packed())+len(s.Sigs.Packed()) > p.end {
		return b, false
	}
	before, used := len(b), p.used
	b, next, n := p.records(b, s.Owner, s.RRset, 0, p.counts[section])
	if next == len(s.Packed()) {
		b, next, n = p.records(b, s.Owner, s.Sigs, 0, n)
		if next == len(s.Sigs.Packed()) {
			p.counts[section] = n
			return b, true
		}
	}
	p.forget(used)
	return b[:before], false
}

// records appends the records of s from offset off on, as many as fit. It gives
// the offset of the first that does not, and n plus the number of those that do.
func (p *Packer) records(b []byte, owner dnsname.Name, s rrset.RRset, off int, n uint16) (_ []byte, next int, _ uint16) {
	packed := s.Packed()
	names := namesIn(s.Type)
	ptr := uint16(0) // to the owner, once it is in the message
	for off < len(packed) {
		before, used := len(b), p.used
		var ok bool
		switch {
		case ptr == 0:
			if b, ok = p.name(b, owner, true, p.end); !ok {
				return b, off, n
			}
			if at := before - p.start; b[before] >= pointer>>8 {
				ptr = binary.BigEndian.Uint16(b[before:])
			} else if b[before] != 0 && at <= maxOffset {
				ptr = pointer | uint16(at)
			}
		case len(b)+2 > p.end:
			return b, off, n
		default:
			b = append(b, byte(ptr>>8), byte(ptr))
		}
		rdata, next := s.Next(off)
		from, to, compress := 0, 0, false
		if names {
			from, to, compress = rrset.Names(s.Type, rdata)
		}
		if from == to { // as in the set: the length, then the RDATA
			if ok = len(b)+8+next-off <= p.end; ok {
				b = appendFixed(b, &s)
				b = append(b, packed[off:next]...)
			}
		} else if ok = len(b)+10+from <= p.end; ok {
			b = appendFixed(b, &s)
			at := len(b)
			b = append(b, 0, 0)
			b = append(b, rdata[:from]...)
			for from < to && ok {
				l := dnsname.Len(rdata[from:to])
				b, ok = p.name(b, dnsname.Name(rdata[from:from+l]), compress, p.end)
				from += l
			}
			if ok = ok && len(b)+len(rdata)-to <= p.end; ok {
				b = append(b, rdata[to:]...)
				binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at-2))
			}
		}
		if !ok {
			p.forget(used)
			return b[:before], off, n
		}
		off = next
		n++
	}
	return b, off, n
}

// minFixed is the least size of what a record has before its length: an owner
// of one octet, type, class and TTL.
const minFixed = 9

// appendFixed appends type, class and TTL.
func appendFixed(b []byte, s *rrset.RRset) []byte {
	return append(b, byte(s.Type>>8), byte(s.Type), 0, classIN,
		byte(s.TTL>>24), byte(s.TTL>>16), byte(s.TTL>>8), byte(s.TTL))
}

// namesIn tells whether the names in the RDATA of a type are worth a look: they
// may be compressed, or a later name may be compressed to them. The signer of an
// RRSIG is an ancestor of its owner, so its labels are known already.
func namesIn(typ uint16) bool {
	switch typ {
	case rrset.TypeA, rrset.TypeAAAA, rrset.TypeTXT, rrset.TypeRRSIG, rrset.TypeDS, rrset.TypeDNSKEY, rrset.TypeNSEC3:
		return false
	default:
		return true
	}
}
