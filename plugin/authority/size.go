package authority

import (
	"context"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/wire"
)

// bound makes the writers of the server, which go by the OPT record of the
// request, come to the size of the largest response that we send, and to its
// flags.
func bound(opt *dns.OPT, l *listener, stream bool) {
	switch {
	case stream:
		if l.quic {
			opt.SetUDPSize(wire.MaxMessage)
		}
	case opt.UDPSize() > wire.MaxUDP:
		opt.SetUDPSize(wire.MaxUDP)
	}
	opt.Hdr.Ttl &^= otherFlags
}

// otherFlags are the EDNS flags but for DO, which the writers would repeat: CO (RFC 9824
// §5.1) and reserved ones (RFC 6891 §6.1.4).
const otherFlags = 0x7fff

// dropFlags keeps the writers of the server from repeating flags of the request.
func (t *task) dropFlags() {
	if t.opt != nil {
		t.opt.Hdr.Ttl &^= otherFlags
	}
}

// sizer stands in front of a plugin that hands on copies of requests: the size
// that we set in a copy does not reach the writers of the server.
type sizer struct {
	next  plugin.Handler
	block *block
}

// copies are the plugins that hand on copies of requests.
var copies = map[string]bool{"cache": true}

// addSizers puts a sizer in front of each plugin that hands on copies. The
// plugins in front of ours are there already: the server sets them up in order.
func addSizers(config *dnsserver.Config, b *block) {
	var all []plugin.Plugin
	for _, p := range config.Plugin {
		if copies[p(nil).Name()] {
			all = append(all, func(next plugin.Handler) plugin.Handler { return &sizer{next, b} })
		}
		all = append(all, p)
	}
	config.Plugin = all
}

// Name implements plugin.Handler. It is not the name of a directive, under which
// plugins look for each other.
func (s *sizer) Name() string { return name + "/size" }

// ServeDNS implements plugin.Handler. Requests that are not about a zone of the
// block stay as they are.
func (s *sizer) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if opt := r.IsEdns0(); opt != nil {
		l := s.block.listener(ctx)
		if l.quic || opt.UDPSize() > wire.MaxUDP || opt.Hdr.Ttl&otherFlags != 0 {
			if z := s.concerns(r); z != nil {
				co := opt.Co() && opt.Do() && z.online() != nil
				bound(opt, l, l.stream(w))
				opt.SetCo(co) // for the zone to see, and in its response
			}
		}
	}
	return s.next.ServeDNS(ctx, w, r)
}

// concerns gives the zone of the block that a request is about, or nil.
func (s *sizer) concerns(r *dns.Msg) *served {
	t := newTask(r)
	defer t.free()
	q := &r.Question[0]
	if t.parse(q.Name) != nil {
		return nil
	}
	return s.block.match(t.folded, q.Qtype)
}
