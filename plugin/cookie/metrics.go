package cookie

import (
	"context"
	"strings"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
)

var (
	requestsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "requests_total",
		Help:      "Requests by their cookie: none, client (a client cookie alone), invalid, valid or malformed.",
	}, []string{"server", "result"})

	reloadsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "reloads_total",
		Help:      "Changes of files with secrets, by result: ok (in use) or error (the secrets before stay).",
	}, []string{"result"})

	staleFiles = promauto.NewGauge(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "stale_files",
		Help:      "Files with secrets whose present content is not in use because it could not be.",
	})
)

// listener is what a block knows of one of its servers.
type listener struct {
	server    *dnsserver.Server // nil in tests
	plain     bool              // dns://: UDP or TCP
	results   [cookie.Valid + 1]prometheus.Counter
	malformed prometheus.Counter
}

// listener gives the one a request came by.
func (b *block) listener(ctx context.Context) *listener {
	server, _ := ctx.Value(dnsserver.Key{}).(*dnsserver.Server)
	return b.listenerOf(server)
}

// listenerOf gives the one of a server.
func (b *block) listenerOf(server *dnsserver.Server) *listener {
	for {
		known := b.known.Load()
		var more []*listener
		if known != nil {
			for _, l := range *known {
				if l.server == server {
					return l
				}
			}
			more = append(more, *known...)
		}
		more = append(more, newListener(server))
		b.known.CompareAndSwap(known, &more)
	}
}

func newListener(server *dnsserver.Server) *listener {
	l := &listener{server: server, plain: true}
	address := ""
	if server != nil {
		address = server.Addr
		scheme, _, _ := strings.Cut(address, "://")
		l.plain = scheme == transport.DNS
	}
	for i := range l.results {
		l.results[i] = requestsTotal.WithLabelValues(address, cookie.Result(i).String())
	}
	l.malformed = requestsTotal.WithLabelValues(address, "malformed")
	return l
}

// count counts a request.
func (l *listener) count(d *cookie.Decision) {
	if d.Verdict == cookie.FormErr {
		l.malformed.Inc()
		return
	}
	l.results[d.Result].Inc()
}
