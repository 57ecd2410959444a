package authority

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/coredns/coredns/core/dnsserver"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Responder gives what answers plain queries over UDP from the zones of the block as
// ServeDNS does, which has to answer what that does not take. It is for one goroutine,
// allocates nothing, and counts like ServeDNS for the server. The shape is what other
// plugins of the block do to answers. Other plugins of the block find the method among
// dnsserver.Config.Handlers, by an interface that has it alone.
func (a *Authority) Responder(s *dnsserver.Server, shape wire.Shape) wire.Responder {
	return &responder{Authority: a, shape: shape, listener: a.listenerOf(s)}
}

// responder is the work on one plain query after another.
type responder struct {
	*Authority
	shape    wire.Shape
	listener *listener
	work     task
	zone     *served // of the query, nil for none
	answered bool    // work has the answer
	packer   wire.Packer
	options  []byte
	rotated  []byte
}

// Takes implements wire.Responder.
func (r *responder) Takes(q *wire.Question) bool {
	t := &r.work
	clear(t.pins) // what was taken last may not have been answered
	t.pins = t.pins[:0]
	t.fold(q.Name)
	r.zone, r.answered = r.match(t.folded, q.Type), false
	if r.zone == nil {
		return r.Next == nil && r.shape.Refuse
	}
	if t.pin(r.zone) == nil || q.ClientSubnet != nil && !subnetInOrder(q.ClientSubnet) {
		return false
	}
	t.query = zone.Query{Name: q.Name, Type: q.Type, DO: q.DO, CO: q.CO}
	falls := r.Next != nil && t.in(r.zone.fall)
	if !falls && !r.signs(q) {
		return true
	}
	t.hurry = true
	err := r.answer(t, r.zone)
	t.hurry = false
	if err != nil {
		return false // signing may take its time
	}
	r.answered = true
	return !falls || t.answer.Kind != zone.NXDomain || len(t.answer.Answer) > 0
}

// signs tells whether the answer may have a part that is signed as it is made. What is in
// the cache has none.
func (r *responder) signs(q *wire.Question) bool {
	if !q.DO || !anyOnline.Load() {
		return false
	}
	cache, t := r.shape.Cache, &r.work
	return q.ZoneVersion || cache == nil || !cache.Has(q, t.folded, t.pin(r.zone).ID(), r.shape.Minimal)
}

// Append implements wire.Responder.
func (r *responder) Append(dst []byte, q *wire.Question, options []byte) ([]byte, zone.Account) {
	t, z := &r.work, r.zone
	if z == nil {
		return r.refuse(dst, q, notOurs, options), zone.Account{}
	}
	defer clear(t.pins) // a socket that nobody asks keeps no old version
	limit := q.UDPLimit()
	cache, version := r.shape.Cache, t.pin(z).ID()
	if q.ZoneVersion {
		cache = nil
	}
	if cache != nil && !r.answered {
		if msg, kind, account, ok := cache.AppendCached(dst, q, t.folded, version, r.shape.Minimal, limit, options); ok {
			r.listener.count(z, kind)
			return msg, account
		}
	}
	if !r.answered && r.answer(t, z) != nil { // a zone has begun to be signed just now
		return r.refuse(dst, q, unsigned, options), zone.Account{}
	}
	a := &t.answer
	if a.Rcode() == 0 {
		r.reshape(a)
	}
	account := a.Account(q.Name)
	if q.ZoneVersion { // RFC 9660 §3.2
		r.options = binary.BigEndian.AppendUint16(append(r.options[:0], options...), wire.OptionZoneVersion)
		r.options = append(r.options, 0, 6, byte(z.spec.Origin.Labels()), 0)
		r.options = binary.BigEndian.AppendUint32(r.options, uint32(t.pin(z).Serial()))
		options = r.options
	}
	msg, err := r.packer.AppendResponse(dst, q, a, limit, options)
	r.listener.count(z, a.Kind)
	if err != nil {
		r.listener.truncated.Inc()
	}
	// Names that anybody can make up are not kept, nor signatures that are made anew, nor
	// what comes from several zones, or might, if there were another.
	leaves := len(t.pins) > 1 || a.Next != "" || t.belowCut() != ""
	if cache != nil && a.Kind != zone.NXDomain && a.Wildcard == "" && !a.Compact && !leaves && !r.shape.Rotate {
		t.fold(q.Name)
		cache.Keep(&r.packer, msg, len(dst), q, t.folded, version, r.shape.Minimal, a.Kind, account)
	}
	return msg, account
}

// refuse appends a refusal as that of a task is, without its text.
func (r *responder) refuse(dst []byte, q *wire.Question, n refusal, options []byte) []byte {
	r.listener.refused(n.reason)
	code := [...]byte{byte(n.code >> 8), byte(n.code)}
	r.options = append(wire.AppendOption(r.options[:0], wire.OptionEDE, code[:]), options...)
	return wire.AppendError(dst, q, n.rcode, r.options)
}

// reshape does to a positive answer what other plugins would.
func (r *responder) reshape(a *zone.Answer) {
	if r.shape.Minimal && len(a.Answer) > 0 {
		a.Authority, a.Additional, a.Glue = a.Authority[:0], a.Additional[:0], 0
	}
	if !r.shape.Rotate {
		return
	}
	r.rotated = r.rotated[:0]
	for _, sets := range [...][]zone.Set{a.Answer, a.Authority, a.Additional} {
		for i := range sets {
			switch s := &sets[i].RRset; {
			case s.Len() < 2:
			case s.Type == rrset.TypeA, s.Type == rrset.TypeAAAA, s.Type == rrset.TypeMX:
				*s, r.rotated = rotate(*s, r.rotated)
			}
		}
	}
}

// rotate gives an RRset that begins with a record of chance. Its RDATA are appended
// to buf, and valid as long as that is.
func rotate(s rrset.RRset, buf []byte) (rrset.RRset, []byte) {
	packed := s.Packed()
	at := 0
	for range rand.IntN(s.Len()) {
		_, at = s.Next(at)
	}
	from := len(buf)
	buf = append(append(buf, packed[at:]...), packed[:at]...)
	return rrset.FromPacked(s.Type, s.TTL, uint16(s.Len()), string(view(buf[from:]))), buf
}

// subnetInOrder is validSubnet for the content of an option.
func subnetInOrder(b []byte) bool {
	if b[3] != 0 {
		return false
	}
	if b[1] == 0 {
		return b[2] == 0
	}
	octets := 16
	if b[1] == 1 {
		octets = 4
	}
	bits := int(b[2])
	for i, c := range b[4:min(len(b), 4+octets)] {
		if keep := bits - 8*i; keep < 8 && c<<max(keep, 0) != 0 {
			return false
		}
	}
	return true
}
