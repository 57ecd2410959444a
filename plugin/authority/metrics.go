package authority

import (
	"strings"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/onlinesign"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

var (
	answersTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "answers_total",
		Help:      "Answers from zones, by kind: success, nodata, nxdomain, delegation or yxdomain.",
	}, []string{"server", "zone", "kind"})

	refusedTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "refused_total",
		Help:      "Requests that got an error instead of an answer, by reason.",
	}, []string{"server", "reason"})

	truncatedTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "truncated_total",
		Help:      "Answers over UDP that did not fit and tell the client to use TCP.",
	}, []string{"server"})

	loadSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "load_seconds",
		Help:      "Time to read a zone, by result: ok or error.",
		Buckets:   prometheus.ExponentialBuckets(0.001, 4, 9), // 1 ms to 65 s
	}, []string{"result"})

	loadErrors = promauto.NewCounter(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "load_errors_total",
		Help:      "Zone files, and files in directories, that were found unfit to be served.",
	})

	commitSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "commit_seconds",
		Help:      "Time until a change of a zone was durable in the store, by result: ok or error.",
		Buckets:   prometheus.ExponentialBuckets(0.0001, 4, 9), // 0.1 ms to 6.5 s
	}, []string{"result"})

	transfersTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "transfers_total",
		Help:      "Zone transfers, by kind of answer (whole, incremental, uptodate, retry) and result (ok, error or refused).",
	}, []string{"server", "zone", "kind", "result"})

	transferBytes = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "transfer_bytes_total",
		Help:      "Octets of messages sent in zone transfers.",
	}, []string{"server", "zone"})

	signaturesTotal = promauto.NewCounter(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "signatures_total",
		Help:      "DNSSEC signatures made.",
	})

	signErrors = promauto.NewCounter(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "dnssec_errors_total",
		Help:      "Times that a zone could not be signed, a key could not be made or the parent could not be asked.",
	})

	notifyTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "notify_total",
		Help:      "NOTIFY messages sent to secondaries, by zone and result.",
	}, []string{"zone", "result"})
)

// The metrics of the zones are made when they are asked for, so that they are
// those of the zones that live.
var (
	zonesDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "zones"),
		"Zones by state: current, stale (the file is broken, the version before it is served) or failed (SERVFAIL).", []string{"state"}, nil)
	serialDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "serial"),
		"Serial of the version in service.", []string{"zone", "file"}, nil)
	recordsDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "records"),
		"Resource records of the version in service.", []string{"zone", "file"}, nil)
	journalDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "journal_bytes"),
		"Octets that the history of the zone takes.", []string{"zone", "file"}, nil)
	failedDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "load_failed"),
		"1 if the file as it is now could not be loaded, else 0.", []string{"zone", "file"}, nil)
	expiryDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "rrsig_expiry_timestamp_seconds"),
		"When the first signature of the version in service expires, for zones that are signed here.", []string{"zone"}, nil)
	keysDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "dnssec_key_state"),
		"Keys of zones that are signed here, by role and state.", []string{"zone", "role", "state"}, nil)
)

// The metrics of answers that are signed as they are made.
var (
	signedDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "online_signed_total"),
		"RRsets that were signed for answers as they were made.", nil, nil)
	signaturesDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "online_signatures"),
		"RRsets whose signatures are kept for further answers.", nil, nil)
	signatureBytesDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, name, "online_signatures_bytes"),
		"Octets that they take.", nil, nil)
)

func init() { prometheus.MustRegister(zonesCollector{zonedb.Process}, signaturesCollector{}) }

// signaturesCollector implements prometheus.Collector for the signatures of the process.
// It has nothing to tell as long as no answers are signed.
type signaturesCollector struct{}

// Describe implements prometheus.Collector.
func (signaturesCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- signedDesc
	ch <- signaturesDesc
	ch <- signatureBytesDesc
}

// Collect implements prometheus.Collector.
func (signaturesCollector) Collect(ch chan<- prometheus.Metric) {
	if !anyOnline.Load() {
		return
	}
	s := onlinesign.Process().Stats()
	ch <- prometheus.MustNewConstMetric(signedDesc, prometheus.CounterValue, float64(s.Made))
	ch <- prometheus.MustNewConstMetric(signaturesDesc, prometheus.GaugeValue, float64(s.Entries))
	ch <- prometheus.MustNewConstMetric(signatureBytesDesc, prometheus.GaugeValue, float64(s.Octets))
}

// zonesCollector implements prometheus.Collector for the zones of a registry.
type zonesCollector struct{ db *zonedb.DB }

// Describe implements prometheus.Collector.
func (zonesCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- zonesDesc
	ch <- serialDesc
	ch <- recordsDesc
	ch <- journalDesc
	ch <- failedDesc
	ch <- expiryDesc
	ch <- keysDesc
}

// Collect implements prometheus.Collector.
func (c zonesCollector) Collect(ch chan<- prometheus.Metric) {
	states := map[string]int{"current": 0, "stale": 0, "failed": 0}
	type labels struct{ zone, file string }
	seen := make(map[labels]bool) // one file can be live under two sets of options
	for _, z := range c.db.Zones() {
		s, err := z.Snapshot(), z.Err()
		state, failed := "current", 0.0
		switch {
		case s == nil:
			state = "failed"
		case err != nil:
			state = "stale"
		}
		if err != nil {
			failed = 1
		}
		states[state]++
		l := labels{z.Spec().Origin.String(), z.Spec().Path}
		if seen[l] {
			continue
		}
		seen[l] = true
		ch <- prometheus.MustNewConstMetric(failedDesc, prometheus.GaugeValue, failed, l.zone, l.file)
		if s != nil {
			ch <- prometheus.MustNewConstMetric(serialDesc, prometheus.GaugeValue, float64(s.Serial()), l.zone, l.file)
			ch <- prometheus.MustNewConstMetric(journalDesc, prometheus.GaugeValue, float64(z.HistorySize()), l.zone, l.file)
			ch <- prometheus.MustNewConstMetric(recordsDesc, prometheus.GaugeValue, float64(s.Records()), l.zone, l.file)
		}
	}
	c.collectSigned(ch)
	for state, n := range states {
		ch <- prometheus.MustNewConstMetric(zonesDesc, prometheus.GaugeValue, float64(n), state)
	}
}

// collectSigned tells of the zones that are signed here.
func (c zonesCollector) collectSigned(ch chan<- prometheus.Metric) {
	type labels struct{ zone, role, state string }
	seen := make(map[string]bool)
	for _, z := range c.db.Zones() {
		origin := z.Spec().Origin.String()
		keeper, ok := z.Signer().(*autosign.Keeper)
		if !ok || seen[origin] {
			continue
		}
		seen[origin] = true
		status := keeper.Status(time.Now())
		if !status.Expires.IsZero() {
			ch <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(status.Expires.Unix()), origin)
		}
		keys := make(map[labels]int)
		for _, k := range status.Keys {
			keys[labels{origin, strings.ToLower(k.Role.String()), k.State}]++
		}
		for l, n := range keys {
			ch <- prometheus.MustNewConstMetric(keysDesc, prometheus.GaugeValue, float64(n), l.zone, l.role, l.state)
		}
	}
}
