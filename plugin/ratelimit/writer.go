package ratelimit

import (
	"context"
	"errors"
	"slices"
	"time"
	"unsafe"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/ratelimit"
)

// writer is the work on one request, and decides about each response to it as it is
// written.
type writer struct {
	dns.ResponseWriter
	*block
	ctx     context.Context // with the metadata of the response
	request *dns.Msg
	now     time.Time
	client  ratelimit.Client
	name    [dnsname.MaxLen]byte // in the question, in lower case
	account [dnsname.MaxLen]byte // of the response
}

// view gives b as a string without copying. b must not change while it is used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// parse reads the question. It is false if its name is not for us.
func (w *writer) parse() bool {
	q := &w.request.Question[0]
	w.client.Name, w.client.Type = string(dnsname.Root), q.Qtype
	if folded, ok := appendFolded(w.name[:0], q.Name); ok {
		w.client.Name = view(folded)
	}
	if w.zones == nil {
		return true
	}
	for _, z := range w.zones {
		if dnsname.Name(w.client.Name).IsBelow(z) {
			return true
		}
	}
	return false
}

// appendFolded appends the wire form of a name in lower case.
func appendFolded(dst []byte, name string) ([]byte, bool) {
	b, err := dnsname.AppendParse(dst, name, dnsname.Root)
	if err != nil {
		return dst, false
	}
	for i, c := range b {
		b[i] = dnsname.Lower(c)
	}
	return b, true
}

// WriteMsg implements dns.ResponseWriter.
func (w *writer) WriteMsg(m *dns.Msg) error {
	if d := w.decide(m); !d.GoesOn() {
		return w.instead(d, m)
	}
	return w.ResponseWriter.WriteMsg(m)
}

// decide decides about a response. It is apart so that the stack for it is free again
// when the response is sent.
//
//go:noinline
func (w *writer) decide(m *dns.Msg) ratelimit.Decision {
	r := w.classify(m, w.account[:0])
	if w.request.Opcode != dns.OpcodeQuery && r.Class != ratelimit.Error {
		return ratelimit.Pass // an acknowledgment is no larger than what it is for
	}
	r.Size = w.size(m)
	return w.limits.Response(w.now, &w.client, &r)
}

// size gives that of a response as the server will send it: names are compressed where
// it would not fit otherwise.
func (w *writer) size(m *dns.Msg) int {
	plain := *m
	plain.Compress = false
	n, limit := plain.Len(), dns.MinMsgSize
	if opt := w.request.IsEdns0(); opt != nil {
		limit = max(limit, int(opt.UDPSize()))
	}
	if n > limit && m.Compress {
		return min(n, m.Len())
	}
	return n
}

// Write implements dns.ResponseWriter. What is packed is an error, or no answer that
// is known.
func (w *writer) Write(b []byte) (int, error) {
	r := ratelimit.Response{Class: ratelimit.Positive, Name: w.client.Name, Type: w.client.Type, Size: len(b)}
	if len(b) >= 4 && b[3]&0xf != 0 {
		r.Class = ratelimit.Error
	}
	switch d := w.limits.Response(w.now, &w.client, &r); {
	case d.GoesOn():
		return w.ResponseWriter.Write(b)
	default:
		return len(b), w.instead(d, nil)
	}
}

// classify tells what account a response belongs to. The name of an NXDOMAIN or a
// referral is put into buf.
func (w *writer) classify(m *dns.Msg, buf []byte) ratelimit.Response {
	r := ratelimit.Response{Class: ratelimit.Positive, Name: w.client.Name, Type: w.client.Type}
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError && (m.Rcode != dns.RcodeYXDomain || len(m.Answer) == 0):
		r.Class = ratelimit.Error
	case len(m.Answer) > 0: // where a chain of CNAMEs leads does not count, as in BIND
		if d, ok := m.Answer[0].(*dns.DNAME); ok {
			r.Name = folded(buf, d.Hdr.Name, r.Name)
		} else {
			r.Name = w.source(buf)
		}
	default:
		w.classifyEmpty(m, buf, &r)
	}
	return r
}

// classifyEmpty is classify for a response without an answer.
func (w *writer) classifyEmpty(m *dns.Msg, buf []byte, r *ratelimit.Response) {
	var soa, cut string
	missing := m.Rcode == dns.RcodeNameError
	for _, rr := range m.Ns {
		switch rr := rr.(type) {
		case *dns.SOA:
			soa = rr.Header().Name
		case *dns.NS:
			cut = rr.Header().Name
		case *dns.NSEC: // NOERROR for a name that does not exist (RFC 9824 §3.1)
			missing = missing || slices.Contains(rr.TypeBitMap, dns.TypeNXNAME)
		}
	}
	switch {
	case missing:
		r.Class = ratelimit.NXDomain
		if soa != "" {
			r.Name = folded(buf, soa, r.Name)
			break
		}
		longest := dnsname.Root
		for _, z := range w.around {
			if len(z) > len(longest) && dnsname.Name(r.Name).IsBelow(z) {
				longest = z
			}
		}
		r.Name = string(longest)
	case cut != "" && soa == "" && !m.Authoritative:
		r.Class = ratelimit.Referral
		r.Name = folded(buf, cut, r.Name)
	default:
		if !m.Truncated || soa != "" { // else the answer did not fit
			r.Class = ratelimit.NoData
		}
		r.Name = w.source(buf)
	}
}

// folded gives the wire form of a name in lower case, in buf; other if it is no name.
func folded(buf []byte, name, other string) string {
	if b, ok := appendFolded(buf, name); ok {
		return view(b)
	}
	return other
}

// source gives the wildcard that a response is from, or the name in the question.
func (w *writer) source(buf []byte) string {
	if f := metadata.ValueFunc(w.ctx, "zone/wildcard"); f != nil {
		if text := f(); text != "" {
			return folded(buf, text, w.client.Name)
		}
	}
	return w.client.Name
}

// instead sends what the decision asks for in place of m, which is nil if there is
// no response yet.
//
//go:noinline
func (w *writer) instead(d ratelimit.Decision, m *dns.Msg) error {
	r := new(dns.Msg).SetReply(w.request)
	switch d {
	case ratelimit.Truncate:
		r.Truncated = true
		if m != nil {
			r.Authoritative, r.Rcode = m.Authoritative, m.Rcode
		}
	case ratelimit.BadCookie: // the plugin cookie puts one in
		r.Rcode = dns.RcodeBadCookie
	case ratelimit.Refuse:
		r.Rcode = dns.RcodeRefused
		if w.request.IsEdns0() != nil {
			e := &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeProhibited}
			if w.client.Stream { // else no octet more than it takes
				e.ExtraText = "too many requests"
			}
			r.Extra = append(r.Extra, &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{e}})
		}
	case ratelimit.Drop:
		return nil
	case ratelimit.Pass, ratelimit.Exempt, ratelimit.Leak:
		return errors.New("nothing to do instead")
	}
	w.sizeAndDo(r)
	return w.ResponseWriter.WriteMsg(r)
}

// sizeAndDo gives a response the OPT record that it needs.
func (w *writer) sizeAndDo(m *dns.Msg) {
	state := request.Request{Req: w.request, W: w.ResponseWriter}
	state.SizeAndDo(m)
}
