package authority

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"unsafe"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// task is the work on one request. It is used again, with its buffers; nothing
// of it may be left in a message.
type task struct {
	request  *dns.Msg
	opt      *dns.OPT // of the request, or nil
	listener *listener
	stream   bool // no limit of UDP applies
	query    zone.Query
	answer   zone.Answer
	hurry    bool         // what is not at hand at once is for others
	folded   dnsname.Name // the name last folded
	pins     []pin

	nameBuf [dnsname.MaxLen]byte
	foldBuf [dnsname.MaxLen]byte
}

// pin is the version of a zone that this answer uses, to its end.
type pin struct {
	zone     *served
	snapshot *zone.Snapshot
}

var tasks = sync.Pool{New: func() any { return new(task) }}

func newTask(r *dns.Msg) *task {
	t := tasks.Get().(*task)
	t.request, t.opt = r, r.IsEdns0()
	return t
}

func (t *task) free() {
	t.request, t.opt, t.listener, t.query, t.folded = nil, nil, nil, zone.Query{}, ""
	clear(t.pins)
	t.pins = t.pins[:0]
	tasks.Put(t)
}

// parse reads the name of the question and prepares the query.
func (t *task) parse(name string) error {
	b, err := dnsname.AppendParse(t.nameBuf[:0], name, dnsname.Root)
	if err != nil {
		return err
	}
	t.query = zone.Query{Name: view(b), Type: t.request.Question[0].Qtype, All: t.stream}
	if t.opt != nil {
		t.query.DO, t.query.CO = t.opt.Do(), t.opt.Co()
	}
	t.fold(t.query.Name)
	return nil
}

// fold sets folded to the name in lower case.
func (t *task) fold(n dnsname.Name) {
	t.folded = view(dnsname.AppendFold(t.foldBuf[:0], n))
}

// in tells whether the name in the question is in one of the zones.
func (t *task) in(zones []dnsname.Name) bool {
	for _, z := range zones {
		if t.query.Name.IsBelow(z) {
			return true
		}
	}
	return false
}

// view gives a name in a buffer of the task without copying it. It is valid
// until the buffer is used for the next.
func view(b []byte) dnsname.Name { return dnsname.Name(unsafe.String(unsafe.SliceData(b), len(b))) }

// pin gives the version of z that this answer uses, or nil if there is none. All
// parts of an answer come from one version.
func (t *task) pin(z *served) *zone.Snapshot {
	for i := range t.pins {
		if t.pins[i].zone == z {
			return t.pins[i].snapshot
		}
	}
	s := z.zone.Snapshot()
	t.pins = append(t.pins, pin{z, s})
	return s
}

// belowCut gives where a chain of CNAMEs was cut short by a referral, or "".
func (t *task) belowCut() dnsname.Name {
	a := &t.answer
	if a.Kind != zone.Delegation || len(a.Answer) == 0 {
		return ""
	}
	last := a.Answer[len(a.Answer)-1]
	if last.Type != rrset.TypeCNAME {
		return ""
	}
	return dnsname.Name(last.First())
}

// undoReferral takes a referral at the end of a chain back, because the zone
// below the cut is served too.
func (t *task) undoReferral() {
	a := &t.answer
	if a.Kind != zone.Delegation {
		return
	}
	for i := range a.Authority {
		if a.Authority[i].Type == rrset.TypeNS {
			a.Authority = a.Authority[:i]
			break
		}
	}
	a.Additional, a.Glue = a.Additional[:0], 0
}

// limit gives the size of the largest response to the request, in octets, and
// makes the writers above us come to the same one.
func (t *task) limit() int {
	if t.opt != nil {
		bound(t.opt, t.listener, t.stream)
	}
	switch {
	case t.stream:
		return wire.MaxMessage
	case t.opt == nil:
		return wire.MinUDP
	default:
		return max(int(t.opt.UDPSize()), wire.MinUDP)
	}
}

// Sizes of records and options at the end of a response, in octets.
const (
	optSize    = 11                    // OPT without options (RFC 6891 §6.1.2)
	optionSize = 4 + 6                 // ZONEVERSION with a serial (RFC 9660 §2); EXPIRE is shorter (RFC 7314 §2)
	tsigSize   = 10 + 26 + 16 + 64 + 6 // TSIG without the name of its key, at most (RFC 8945 §4.2)
)

// reserve gives the room for records that are added to the response after its
// sections: the OPT record, with the option of the plugin cookie, and the TSIG record
// where the plugin keys or tsig signs.
func (t *task) reserve(ctx context.Context, opt *dns.OPT) int {
	n := 0
	if t.opt != nil {
		n += optSize + cookie.From(ctx).Room()
	}
	if opt != nil {
		n += len(opt.Option) * optionSize
	}
	return n + signatureSize(ctx)
}

// message is a response and the parts of it that most have, in one piece.
type message struct {
	dns.Msg
	question [1]dns.Question
	records  [7]dns.RR
}

// newMessage gives the response to the request without records: ID, opcode, RD
// and CD of the request, and its question as it was.
func (t *task) newMessage() *message {
	r := t.request
	m := new(message)
	m.MsgHdr = dns.MsgHdr{
		Id: r.Id, Response: true, Opcode: r.Opcode,
		RecursionDesired: r.RecursionDesired, CheckingDisabled: r.CheckingDisabled,
	}
	m.question[0] = r.Question[0]
	m.Question = m.question[:]
	return m
}

// reply sends the answer, which comes from z and maybe further zones.
func (a *Authority) reply(ctx context.Context, w dns.ResponseWriter, t *task, z *served) (int, error) {
	m := t.newMessage()
	opt := t.options(z)
	limit, reserve := t.limit(), t.reserve(ctx, opt)
	size, records := t.measure()
	fits := size+reserve <= limit
	if fits {
		t.fill(m, records)
	} else {
		fits = t.fit(m, limit, reserve)
	}
	if !fits && t.query.All { // one RRset will do (RFC 8482 §4.1)
		t.query.All = false
		if a.answer(t, z) != nil {
			return t.refuse(w, unsigned)
		}
		fits = t.fit(m, limit, reserve)
	}
	if !fits {
		return t.refuse(w, tooLarge)
	}
	t.listener.count(z, t.answer.Kind)
	if m.Truncated {
		t.listener.truncated.Inc()
	}
	if t.answer.Compact && t.query.CO { // whichever OPT record it gets
		t.opt.SetCo(true)
		if opt != nil {
			opt.SetCo(true)
		}
	}
	if opt != nil {
		m.Extra = append(m.Extra, opt)
	}
	return write(w, &m.Msg)
}

// measure gives an upper bound for the size of the response without OPT and TSIG
// records, in octets, and the number of its records.
func (t *task) measure() (size, records int) {
	size = wire.HeaderSize + len(t.query.Name) + 4
	for _, section := range [...][]zone.Set{t.answer.Answer, t.answer.Authority, t.answer.Additional} {
		for i := range section {
			s := &section[i]
			n := s.Len() + s.Sigs.Len()
			records += n
			size += n*(len(s.Owner)+8) + len(s.Packed()) + len(s.Sigs.Packed())
		}
	}
	return size, records
}

// fill puts the whole answer into the message.
func (t *task) fill(m *message, records int) {
	a := &t.answer
	rrs := m.records[:0]
	if records >= len(m.records) { // one more for OPT
		rrs = make([]dns.RR, 0, records+1)
	}
	m.Rcode, m.Authoritative = a.Rcode(), a.AA
	rrs = t.appendSets(rrs, a.Answer)
	answers := len(rrs)
	rrs = t.appendSets(rrs, a.Authority)
	authorities := len(rrs)
	rrs = t.appendSets(rrs, a.Additional)
	m.Answer, m.Ns, m.Extra = rrs[:answers:answers], rrs[answers:authorities:authorities], rrs[authorities:]
}

func (t *task) appendSets(rrs []dns.RR, sets []zone.Set) []dns.RR {
	for i := range sets {
		s := &sets[i]
		owner := t.text(s.Owner)
		rrs = rrset.AppendRRs(rrs, owner, s.RRset)
		if !s.Sigs.IsEmpty() {
			rrs = rrset.AppendRRs(rrs, owner, s.Sigs)
		}
	}
	return rrs
}

// text gives the presentation form of an owner. Most owners are the name in the
// question or the end of it, which need no memory.
func (t *task) text(owner dnsname.Name) string {
	n, q := t.query.Name, t.request.Question[0].Name
	if owner == n {
		return q
	}
	cut := len(n) - len(owner)
	// Without escapes the presentation form is the wire form with dots in place
	// of lengths, and a dot at the end in place of the first length.
	if cut > 0 && len(owner) > 1 && len(q) == len(n)-1 && n[cut:] == owner {
		return q[cut:]
	}
	return owner.String()
}

// packers are for answers that may not fit.
var packers = sync.Pool{New: func() any { return new(packing) }}

type packing struct {
	wire.Packer
	buf, options []byte
}

// fillerOption is an option for local use (RFC 6891 §9).
const fillerOption = 65001

// fit puts as much of the answer into the message as has room beside what is
// reserved; the encoder of package wire decides. It gives false if something
// that must be there is not, and there is no other transport to send it by.
func (t *task) fit(m *message, limit, reserve int) bool {
	p := packers.Get().(*packing)
	defer packers.Put(p)
	q := wire.Question{Name: t.query.Name, Type: t.query.Type, Class: dns.ClassINET, HasEDNS: reserve > 0}
	p.options = p.options[:0]
	if filler := reserve - optSize - 4; filler >= 0 {
		p.options = wire.AppendOption(p.options, fillerOption, make([]byte, filler))
	}
	var err error
	p.buf, err = p.AppendResponse(p.buf[:0], &q, &t.answer, limit, p.options)
	if err != nil && t.stream {
		return false
	}
	var packed dns.Msg
	if packed.Unpack(p.buf) != nil {
		return false
	}
	if q.HasEDNS {
		packed.Extra = packed.Extra[:len(packed.Extra)-1]
	}
	m.Rcode, m.Authoritative, m.Truncated = packed.Rcode, packed.Authoritative, packed.Truncated
	m.Answer, m.Ns, m.Extra = packed.Answer, packed.Ns, packed.Extra
	m.Compress = true
	return true
}

// options gives an OPT record for the response, if the one of the request, which
// the server puts there otherwise, will not do: to hold a ZONEVERSION or EXPIRE, or
// for the plugin nsid, which sets DO in one that it makes itself.
func (t *task) options(z *served) *dns.OPT {
	if t.opt == nil {
		return nil
	}
	var opt *dns.OPT
	var version, expire bool // are there: each once, however often it is asked for
	for _, o := range t.opt.Option {
		code := o.Option()
		if code != dns.EDNS0NSID && code != dns.EDNS0ZONEVERSION && code != dns.EDNS0EXPIRE {
			continue
		}
		if opt == nil {
			opt = t.newOPT()
		}
		switch {
		case code == dns.EDNS0ZONEVERSION && !version:
			version = true
			serial := binary.BigEndian.AppendUint32(nil, uint32(t.pin(z).Serial()))
			opt.Option = append(opt.Option, &dns.EDNS0_ZONEVERSION{
				Code: dns.EDNS0ZONEVERSION, LabelCount: uint8(z.spec.Origin.Labels()), Version: string(serial),
			})
		case code == dns.EDNS0EXPIRE && !expire && t.query.Type == rrset.TypeSOA && len(t.query.Name) == len(z.spec.Origin):
			expire = true
			opt.Option = append(opt.Option, &dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Expire: expireOf(t.pin(z))})
		}
	}
	return opt
}

// wantsExpire tells whether the request has the option EXPIRE (RFC 7314 §2).
func (t *task) wantsExpire() bool {
	return t.opt != nil && slices.ContainsFunc(t.opt.Option, func(o dns.EDNS0) bool { return o.Option() == dns.EDNS0EXPIRE })
}

// expireOf gives the EXPIRE of a version: a primary tells that of the SOA record,
// in seconds (RFC 7314 §3.1).
func expireOf(s *zone.Snapshot) uint32 {
	rdata := s.SOA().First()
	return binary.BigEndian.Uint32([]byte(rdata[len(rdata)-8:]))
}

// newOPT gives an OPT record for the response. Its size and flags are those of
// the request: the server sets them.
func (t *task) newOPT(options ...dns.EDNS0) *dns.OPT {
	return &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: t.opt.Hdr.Class}, Option: options}
}
