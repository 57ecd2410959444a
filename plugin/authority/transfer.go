package authority

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"time"

	"github.com/coredns/coredns/plugin/transfer"
	"github.com/coredns/coredns/plugin/tsig"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/identity"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/xfr"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// refusals bounds the lines about them.
var refusals limiter

// transferZone answers AXFR and IXFR that the plugin transfer has not taken.
func (a *Authority) transferZone(ctx context.Context, w dns.ResponseWriter, t *task, z *served) (int, error) {
	kind := t.transferKind()
	deny := func(n refusal) (int, error) {
		transfersTotal.WithLabelValues(t.listener.address, z.origin, kind, "refused").Inc()
		return t.refuse(w, n)
	}
	if !z.mayTransfer(ctx, w) {
		if len(z.transfer) > 0 && refusals.allow(time.Now()) {
			key, _ := requestKey(ctx)
			log.Warningf("%s: transfer to %s refused: no line \"transfer\" allows it%s", z.origin, w.RemoteAddr(), withKey(key))
		}
		return deny(noTransfer)
	}
	if t.stream && !t.listener.transfers {
		return deny(noTransferHere)
	}
	s := t.pin(z)
	if s == nil {
		return deny(notLoaded)
	}
	req, err := xfr.ParseRequest(t.request)
	if err != nil {
		return deny(malformed)
	}
	_, byStock := requestKey(ctx)
	options := xfr.Options{Reserve: signatureSize(ctx)}
	if t.wantsExpire() {
		options.EDNS = wire.AppendOption(nil, wire.OptionExpire, binary.BigEndian.AppendUint32(nil, expireOf(s)))
	}
	if c := cookie.From(ctx); c.Option != "" { // packed messages pass the plugin cookie by
		options.EDNS = wire.AppendOption(options.EDNS, wire.OptionCookie, c.Option)
	}
	if !t.stream {
		options.UDP = t.limit()
	}
	stream, err := xfr.Plan(req, s, z.changes(ctx), options)
	if err != nil {
		return deny(refusal{"transfer", xfr.Rcode(err), dns.ExtendedErrorCodeOther, "AXFR over UDP"})
	}
	kind = stream.Form.String()
	write := func(msg []byte) error {
		_, err := w.Write(msg)
		return err
	}
	if byStock || a.wary || !t.stream || stream.Form == xfr.UpToDate { // single messages go the way of all answers
		write = t.writePacked(w)
	}
	if byStock {
		one, first := write, true
		write = func(msg []byte) error {
			if !first { // RFC 8945 §5.3.1
				w.TsigTimersOnly(true)
			}
			first = false
			return one(msg)
		}
	}
	closed := false
	sent, err := xfr.Out.Send(ctx, clientOf(w), stream, write, func() {
		closed = true
		_ = w.Close()
	})
	transferBytes.WithLabelValues(t.listener.address, z.origin).Add(float64(sent.Octets))
	if err != nil && sent.Messages == 0 && !closed {
		log.Warningf("%s: no transfer to %s: %s", z.origin, w.RemoteAddr(), err)
		return deny(refusal{"transfer", xfr.Rcode(err), dns.ExtendedErrorCodeOther, "too many transfers"})
	}
	result := "ok"
	if err != nil {
		result = "error"
		log.Warningf("%s: transfer of serial %d to %s was cut off: %s", z.origin, stream.Serial, w.RemoteAddr(), err)
	} else if stream.Form == xfr.Whole || stream.Form == xfr.Incremental {
		why := ""
		if req.Type == rrset.TypeIXFR && stream.Fallback != nil {
			why = fmt.Sprintf(", in place of the changes since %d: %s", req.Serial, stream.Fallback)
		}
		log.Infof("%s: sent %s serial %d to %s, %d octets in %d messages%s", z.origin, kind, stream.Serial, w.RemoteAddr(), sent.Octets, sent.Messages, why)
	}
	transfersTotal.WithLabelValues(t.listener.address, z.origin, kind, result).Inc()
	return dns.RcodeSuccess, nil
}

// transferKind gives what is asked for.
func (t *task) transferKind() string {
	if t.query.Type == rrset.TypeAXFR {
		return xfr.Whole.String()
	}
	return xfr.Incremental.String()
}

func withKey(key string) string {
	if key == "" {
		return " (the request is not signed)"
	}
	return " (signed by " + key + ")"
}

// signatureSize gives the room that the TSIG record of a response needs.
func signatureSize(ctx context.Context) int {
	if id, ok := identity.From(ctx); ok {
		return id.SignatureSize()
	}
	if key, ok := tsig.ValidatedKeyName(ctx); ok {
		return tsigSize + len(key) + 1
	}
	return 0
}

// writePacked gives a function that writes packed messages through all plugins.
func (t *task) writePacked(w dns.ResponseWriter) func([]byte) error {
	return func(msg []byte) error {
		m := new(dns.Msg)
		if err := m.Unpack(msg); err != nil {
			return err
		}
		m.Compress = true
		if opt := m.IsEdns0(); opt == nil || len(opt.Option) == 0 {
			m.Extra = nil // the server puts its own OPT record there
		}
		return w.WriteMsg(m)
	}
}

// changes gives the history of the zone.
func (z *served) changes(ctx context.Context) xfr.Changes {
	return func(from, to zone.Serial) iter.Seq2[zone.Changeset, error] { return z.zone.Changes(ctx, from, to) }
}

// Transfer implements transfer.Transferer for the plugin transfer: the whole
// zone, or with a serial what IXFR from it needs (RFC 1995 §4), all from one
// version.
func (a *Authority) Transfer(origin string, serial uint32) (<-chan []dns.RR, error) {
	n, err := dnsname.Parse(origin, dnsname.Root)
	if err != nil {
		return nil, transfer.ErrNotAuthoritative
	}
	z := (*a.zones.Load())[n.Fold()]
	if z == nil {
		return nil, transfer.ErrNotAuthoritative
	}
	s := z.zone.Snapshot()
	if s == nil {
		return nil, fmt.Errorf("zone %s is not loaded", z.origin)
	}
	sets := s.All()
	incremental := false
	if has := zone.Serial(serial); has != 0 {
		if has == s.Serial() || has.After(s.Serial()) {
			sets = func(func(zone.Set) bool) {}
		} else if change, err := zone.Condense(has, s.Serial(), z.changes(context.Background())(has, s.Serial()), s.Records()); err == nil {
			incremental = true
			sets = func(yield func(zone.Set) bool) {
				for _, part := range [...][]zone.Set{change.Removed, change.Added} {
					for _, set := range part {
						if !yield(set) {
							return
						}
					}
				}
			}
		}
	}
	ch := make(chan []dns.RR)
	go func() {
		defer close(ch)
		soa := s.SOA()
		first := rrset.AppendRRs(nil, soa.Owner.String(), soa.RRset)
		var last []dns.RR // what is sent next: the closing SOA record must not be alone
		if incremental {
			last = first
		}
		for set := range sets {
			if last != nil {
				ch <- last
			}
			owner := set.Owner.String()
			rrs := rrset.AppendRRs(make([]dns.RR, 0, set.Len()+set.Sigs.Len()+1), owner, set.RRset)
			last = rrset.AppendRRs(rrs, owner, set.Sigs)
		}
		ch <- append(last, first...)
	}()
	return ch, nil
}
