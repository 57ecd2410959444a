// Package authority answers from authoritative zones that it reads from master
// files. It is an adapter: package zone decides the answers, package zonedb
// keeps the zones, and this package makes messages of them for CoreDNS.
package authority

import (
	"context"
	"errors"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metadata"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/onlinesign"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

const name = "authority"

var log = clog.NewWithPlugin(name)

// Authority is the handler of one server block. All its servers share the block.
type Authority struct {
	Next plugin.Handler
	*block
}

// Name implements plugin.Handler.
func (a *Authority) Name() string { return name }

// Ready implements ready.Readiness: it is false while the zones are loaded for
// the first time. A zone that cannot be loaded does not hold it back.
func (a *Authority) Ready() bool { return a.loaded.Load() }

// CacheBypassZones implements cache.ZoneBypasser: answers from our zones are not
// cached, so that a change of a zone is seen at once. Zones that come and go with
// files are not among them: a block with such zones has no cache.
func (a *Authority) CacheBypassZones() []string {
	names := make([]string, len(a.specs))
	for i, s := range a.specs {
		names[i] = s.Origin.String()
	}
	return names
}

// match gives the zone that is asked about a name, given in lower case, or nil:
// the longest that the name is in; for DS at an apex the one above it, if that
// is served too (RFC 4035 §3.1.4.1).
func (b *block) match(name dnsname.Name, qtype uint16) *served {
	var apex *served
	zones := *b.zones.Load()
	for n := name; ; n = n.Parent() {
		if z, ok := zones[n]; ok {
			if qtype != dns.TypeDS || len(n) < len(name) || len(n) == 1 {
				return z
			}
			apex = z
		}
		if len(n) == 1 {
			return apex
		}
	}
}

// ServeDNS implements plugin.Handler.
func (a *Authority) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	t := newTask(r)
	defer t.free()
	z, code, err := a.serve(ctx, w, t)
	if z == nil {
		return code, err
	}
	return a.reply(ctx, w, t, z)
}

// serve answers a request, or finds the answer to it in a zone that it gives: for that
// no stack is needed any more but that of sending it.
//
//go:noinline
func (a *Authority) serve(ctx context.Context, w dns.ResponseWriter, t *task) (z *served, code int, err error) {
	r := t.request
	q := &r.Question[0]
	t.listener = a.listener(ctx)
	t.stream = t.listener.stream(w)
	if t.parse(q.Name) != nil {
		code, err = t.refuse(w, malformed)
		return nil, code, err
	}

	z = a.match(t.folded, q.Qtype)
	if z == nil || q.Qclass != dns.ClassINET {
		code, err = a.foreign(ctx, w, t)
		return nil, code, err
	}
	if no, bad := t.check(z); bad {
		code, err = t.refuse(w, no)
		return nil, code, err
	}
	if r.Opcode == dns.OpcodeNotify {
		code, err = t.acknowledge(w)
		return nil, code, err
	}
	if q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		code, err = a.transferZone(ctx, w, t, z)
		return nil, code, err
	}
	if t.pin(z) == nil {
		code, err = t.refuse(w, notLoaded)
		return nil, code, err
	}
	if a.answer(t, z) != nil {
		code, err = t.refuse(w, unsigned)
		return nil, code, err
	}
	if t.answer.Kind == zone.NXDomain && len(t.answer.Answer) == 0 && a.Next != nil && t.in(z.fall) {
		code, err = plugin.NextOrFailure(name, a.Next, ctx, w, r)
		return nil, code, err
	}
	if source := t.answer.Wildcard; source != "" && metadata.ValueFuncs(ctx) != nil {
		text := source.Fold().String()
		metadata.SetValueFunc(ctx, "zone/wildcard", func() string { return text })
	}
	return z, 0, nil
}

// answer looks the question up in z and goes on where a chain of CNAMEs leads to
// another zone of the block. The error is that of a zone whose part of the answer could
// not be signed.
func (b *block) answer(t *task, z *served) error {
	var part onlinesign.Part
	t.pin(z).Lookup(&t.query, &t.answer)
	for {
		next, to := b.further(t, z)
		if to == nil {
			return t.sign(z, part)
		}
		t.undoReferral()
		if err := t.sign(z, part); err != nil {
			return err
		}
		part = onlinesign.PartAt(&t.answer)
		t.answer.Next = next
		z = to
		t.pin(z).Continue(&t.query, &t.answer)
	}
}

// further gives where a chain of CNAMEs that has come to its end in z goes on, and the
// zone that has it; nil if there is none.
func (b *block) further(t *task, z *served) (next dnsname.Name, to *served) {
	next = t.answer.Next
	if next == "" {
		next = t.belowCut()
	}
	if next == "" {
		return "", nil
	}
	t.fold(next)
	if to = b.match(t.folded, t.query.Type); to == nil || to == z || t.pin(to) == nil {
		return "", nil
	}
	return next, to
}

// foreign passes on what is not about a zone of ours, or refuses it if nobody is
// behind us. Updates are not passed on: plugins that have not asked for them
// take them for queries.
func (a *Authority) foreign(ctx context.Context, w dns.ResponseWriter, t *task) (int, error) {
	switch {
	case t.request.Opcode == dns.OpcodeUpdate:
		return t.refuse(w, notAuth)
	case a.Next != nil:
		return plugin.NextOrFailure(name, a.Next, ctx, w, t.request)
	case t.request.Opcode == dns.OpcodeNotify:
		return t.refuse(w, notAuth)
	default:
		return t.refuse(w, notOurs)
	}
}

// write sends a message.
func write(w dns.ResponseWriter, m *dns.Msg) (int, error) {
	err := w.WriteMsg(m)
	var pack *dns.Error
	if errors.As(err, &pack) {
		return dns.RcodeServerFailure, err
	}
	// Any other error means that the client is gone.
	return dns.RcodeSuccess, nil
}
