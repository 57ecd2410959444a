package authority

import (
	"context"
	"net"
	"strings"
	"sync/atomic"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// listener is what a block knows of one of its servers.
type listener struct {
	server    *dnsserver.Server // nil in tests
	address   string
	plain     bool // dns://: UDP or TCP
	quic      bool // a stream that looks like UDP
	transfers bool // DNS messages in a stream: TCP or TLS
	index     int  // among those of the block
	truncated prometheus.Counter
}

// countedListeners is how many listeners of a block have counters at hand; those
// beyond find theirs by name.
const countedListeners = 8

// answerCounters count the answers from one zone by kind; each is made when it
// is needed first, so that zones nobody asks for cost no series.
type answerCounters [zone.YXDomain + 1]atomic.Pointer[prometheus.Counter]

// listener gives the one the request came by.
func (b *block) listener(ctx context.Context) *listener {
	server, _ := ctx.Value(dnsserver.Key{}).(*dnsserver.Server)
	return b.listenerOf(server)
}

// listenerOf gives the one of a server.
func (b *block) listenerOf(server *dnsserver.Server) *listener {
	for {
		known := b.known.Load()
		if known != nil {
			for _, l := range *known {
				if l.server == server {
					return l
				}
			}
		}
		var more []*listener
		if known != nil {
			more = append(more, *known...)
		}
		more = append(more, newListener(server, len(more)))
		b.known.CompareAndSwap(known, &more)
	}
}

func newListener(server *dnsserver.Server, index int) *listener {
	l := &listener{server: server, plain: true, transfers: true, index: index}
	if server != nil {
		l.address = server.Addr
		scheme, _, _ := strings.Cut(server.Addr, "://")
		l.plain = scheme == transport.DNS
		l.transfers = l.plain || scheme == transport.TLS
		l.quic = scheme == transport.QUIC || scheme == transport.HTTPS3
	}
	l.truncated = truncatedTotal.WithLabelValues(l.address)
	return l
}

// stream tells whether a response through w may be as large as a message can be.
func (l *listener) stream(w dns.ResponseWriter) bool {
	if !l.plain {
		return true
	}
	addr := w.RemoteAddr()
	if wrapped, ok := addr.(interface{ Unwrap() net.Addr }); ok { // the PROXY protocol's
		addr = wrapped.Unwrap()
	}
	_, tcp := addr.(*net.TCPAddr)
	return tcp
}

// count counts an answer.
func (l *listener) count(z *served, k zone.Kind) {
	if l.index >= len(z.answers) {
		answersTotal.WithLabelValues(l.address, z.origin, k.String()).Inc()
		return
	}
	counters := z.answers[l.index].Load()
	if counters == nil {
		z.answers[l.index].CompareAndSwap(nil, new(answerCounters))
		counters = z.answers[l.index].Load()
	}
	p := &counters[k]
	c := p.Load()
	if c == nil {
		made := answersTotal.WithLabelValues(l.address, z.origin, k.String())
		c = &made
		p.Store(c)
	}
	(*c).Inc()
}

// forget takes the counters of a zone that is gone out of the metrics; other blocks
// may serve one of the same name elsewhere.
func (b *block) forget(z *served) {
	if known := b.known.Load(); known != nil {
		for _, l := range *known {
			here := prometheus.Labels{"server": l.address, "zone": z.origin}
			answersTotal.DeletePartialMatch(here)
			transfersTotal.DeletePartialMatch(here)
			transferBytes.DeletePartialMatch(here)
		}
	}
	notifyTotal.DeletePartialMatch(prometheus.Labels{"zone": z.origin})
}

// refused counts a refusal.
func (l *listener) refused(reason string) {
	refusedTotal.WithLabelValues(l.address, reason).Inc()
}
