package keys

import (
	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	requestsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "requests_total",
		Help:      "Requests with a TSIG record, by result: ok, badkey, badalg, badsig, badtime, badtrunc or formerr.",
	}, []string{"server", "result"})

	reloadsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "reloads_total",
		Help:      "Changes of key files, by result: ok (in use) or error (the keys before stay).",
	}, []string{"result"})

	staleFiles = promauto.NewGauge(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "stale_files",
		Help:      "Key files whose present content is not in use because it could not be.",
	})
)
