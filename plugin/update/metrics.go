package update

import (
	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

var (
	requestsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "requests_total",
		Help:      "UPDATE requests for our zones, by response code.",
	}, []string{"rcode"})

	changesTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "changes_total",
		Help:      "Records of update sections that were acknowledged, by op: add, delete_record, delete_rrset or delete_name.",
	}, []string{"op"})

	deniedTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "denied_total",
		Help:      "Requests that were refused, by reason: unsigned, key, policy, lease or stale.",
	}, []string{"reason"})

	durationSeconds = promauto.NewHistogram(prometheus.HistogramOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "duration_seconds",
		Help:      "Time until a request was decided and, if it was accepted, durable.",
		Buckets:   prometheus.ExponentialBuckets(0.0001, 2, 16), // 0.1 ms to 3.3 s
	})

	batchSize = promauto.NewHistogram(prometheus.HistogramOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "batch_size",
		Help:      "Requests that were decided together, with one write to the store.",
		Buckets:   prometheus.ExponentialBuckets(1, 2, 9), // 1 to 256
	})

	replaysTotal = promauto.NewCounter(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "replays_total",
		Help:      "Requests that had come before, with the same signature, and changed nothing.",
	})
)

// The metrics of leases are read from the zones when they are asked for.
var (
	leasesDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "leases"),
		"Records that have a lease.", []string{"zone"}, nil)
	expiredDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "lease_expired_total"),
		"Records that went because their lease had ended.", []string{"zone"}, nil)
)

type leaseCollector struct{ db *zonedb.DB }

func init() { prometheus.MustRegister(leaseCollector{zonedb.Process}) }

// Describe implements prometheus.Collector.
func (leaseCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- leasesDesc
	ch <- expiredDesc
}

// Collect implements prometheus.Collector. A zone is there once, however many
// views have one of that name.
func (c leaseCollector) Collect(ch chan<- prometheus.Metric) {
	type counts struct{ now, ended float64 }
	zones := make(map[string]counts)
	for _, z := range c.db.Zones() {
		if now, ended := z.Leased(); now > 0 || ended > 0 {
			origin := z.Spec().Origin.String()
			n := zones[origin]
			zones[origin] = counts{n.now + float64(now), n.ended + float64(ended)}
		}
	}
	for origin, n := range zones {
		ch <- prometheus.MustNewConstMetric(leasesDesc, prometheus.GaugeValue, n.now, origin)
		ch <- prometheus.MustNewConstMetric(expiredDesc, prometheus.CounterValue, n.ended, origin)
	}
}
