package ratelimit

import (
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustdns/trustdns/plugin/pkg/ratelimit"
)

// The metrics are made when they are asked for: those who decide count by themselves.
var (
	decisionsDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "decisions_total"),
		"Decisions about requests (class request) and responses (the other classes).", []string{"class", "decision"}, nil)
	entriesDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "table_entries"),
		"Accounts that had a response within the window.", nil, nil)
	evictionsDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "table_evictions_total"),
		"Accounts that had a response within the window and had to go because the table was full.", nil, nil)
)

func init() { prometheus.MustRegister(collector{}) }

// collector implements prometheus.Collector.
type collector struct{}

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- decisionsDesc
	ch <- entriesDesc
	ch <- evictionsDesc
}

// Collect implements prometheus.Collector.
func (collector) Collect(ch chan<- prometheus.Metric) {
	counts.Lock()
	all := counts.all[:len(counts.all):len(counts.all)]
	counts.Unlock()
	evictions := uint64(0)
	for _, c := range all {
		evictions += c.Evictions()
	}
	ch <- prometheus.MustNewConstMetric(evictionsDesc, prometheus.CounterValue, float64(evictions))
	for _, class := range ratelimit.Classes() {
		for _, d := range ratelimit.Decisions() {
			n := uint64(0)
			for _, c := range all {
				n += c.Of(class, d)
			}
			if n > 0 {
				ch <- prometheus.MustNewConstMetric(decisionsDesc, prometheus.CounterValue, float64(n), class.String(), d.String())
			}
		}
	}
	now, entries := time.Now(), 0
	for _, s := range live() {
		entries += s.Entries(now)
	}
	ch <- prometheus.MustNewConstMetric(entriesDesc, prometheus.GaugeValue, float64(entries))
}
