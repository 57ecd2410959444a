package fastpath

import (
	"strings"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics"
	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/trustdns/trustdns/plugin/pkg/wire"
)

var packetsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
	Namespace: plugin.Namespace,
	Subsystem: name,
	Name:      "packets_total",
	Help:      "Packets from the sockets of the fast path, by way: fast (answered, or dropped by a limit, at once), chain, dropped (no request) or overflow (too many wait for the chain).",
}, []string{"server", "way"})

// loopMeter counts the packets of a loop.
type loopMeter struct {
	fast, chain, dropped, overflow int
	totals                         [4]prometheus.Counter
}

func newLoopMeter(server string) loopMeter {
	var m loopMeter
	for i, way := range []string{"fast", "chain", "dropped", "overflow"} {
		m.totals[i] = packetsTotal.WithLabelValues(server, way)
	}
	return m
}

// flush puts what was counted into the metrics.
func (m *loopMeter) flush() {
	for i, n := range []*int{&m.fast, &m.chain, &m.dropped, &m.overflow} {
		if *n > 0 {
			m.totals[i].Add(float64(*n))
			*n = 0
		}
	}
}

// meter counts the queries of a lane as the plugin prometheus does.
type meter struct {
	server string
	zone   string
	writer string   // what is called the plugin that wrote the response: the one behind prometheus
	deeper []string // zones of the plugin that some names of the lane are in
	here   *series
	others map[string]*series
}

// series is the metrics of one zone; writer is what is called the plugin that wrote
// the response. Those with more labels are made when they
// are needed first.
type series struct {
	server, zone, writer             string
	do                               prometheus.Counter
	duration, requestSize, replySize prometheus.Observer
	requests                         [2][257]prometheus.Counter                 // by family and type; the last is all others
	replies                          [dns.RcodeBadCookie + 1]prometheus.Counter // by rcode
	dropped                          prometheus.Counter                         // as the plugin prometheus counts what is not sent
}

// newMeter gives nil if the plugin prometheus is not in the server block.
func newMeter(s *dnsserver.Server, l *lane) *meter {
	if l.prometheus == nil {
		return nil
	}
	m := &meter{server: s.Addr, writer: l.prometheus.Next.Name(), others: make(map[string]*series)}
	zones := l.prometheus.ZoneNames()
	zone := plugin.Zones(zones).Matches(l.zone)
	if zone == "" {
		zone = "."
	}
	for _, z := range zones {
		if len(z) > len(l.zone) && plugin.Name(l.zone).Matches(z) {
			m.deeper = append(m.deeper, z)
		}
	}
	m.zone = zone
	return m
}

func newSeries(server, zone, writer string) *series {
	return &series{
		server: server, zone: zone, writer: writer,
		duration:    vars.RequestDuration.WithLabelValues(server, zone, ""),
		requestSize: vars.RequestSize.WithLabelValues(server, zone, "", "udp"),
		replySize:   vars.ResponseSize.WithLabelValues(server, zone, "", "udp"),
	}
}

// of gives the series of a query.
func (m *meter) of(q *wire.Question) *series {
	if m.deeper != nil {
		if z := plugin.Zones(m.deeper).Matches(strings.ToLower(q.Name.String())); z != "" {
			if m.others[z] == nil {
				m.others[z] = newSeries(m.server, z, m.writer)
			}
			return m.others[z]
		}
	}
	if m.here == nil {
		m.here = newSeries(m.server, m.zone, m.writer)
	}
	return m.here
}

// count counts a query, as far as that is known before the end of its batch.
func (s *series) count(q *wire.Question, ipv6 bool, request, response []byte) {
	if q.DO {
		if s.do == nil {
			s.do = vars.RequestDo.WithLabelValues(s.server, s.zone, "")
		}
		s.do.Inc()
	}
	i := min(int(q.Type), 256)
	c, family := &s.requests[0][i], "1"
	if ipv6 {
		c, family = &s.requests[1][i], "2"
	}
	if *c == nil {
		*c = vars.RequestCount.WithLabelValues(s.server, s.zone, "", "udp", family, typeLabel(q.Type))
	}
	(*c).Inc()
	s.replySize.Observe(float64(len(response)))
	s.requestSize.Observe(float64(len(request)))
	if response == nil {
		if s.dropped == nil {
			s.dropped = vars.ResponseRcode.WithLabelValues(s.server, s.zone, "", dns.RcodeToString[dns.RcodeSuccess], "")
		}
		s.dropped.Inc()
		return
	}
	rcode := response[3] & 0xf
	if rcode == dns.RcodeBadCookie&0xf { // what it stands for alone is no answer to a query
		rcode = dns.RcodeBadCookie
	}
	if s.replies[rcode] == nil {
		s.replies[rcode] = vars.ResponseRcode.WithLabelValues(s.server, s.zone, "", dns.RcodeToString[int(rcode)], s.writer)
	}
	s.replies[rcode].Inc()
}

// typeLabel is what the plugin prometheus calls a type.
func typeLabel(typ uint16) string {
	if !monitored[typ] {
		return "other"
	}
	return dns.Type(typ).String()
}

// prometheusOf gives the plugin prometheus of a server block, or nil.
func prometheusOf(config *dnsserver.Config) *metrics.Metrics {
	m, _ := config.Handler("prometheus").(*metrics.Metrics)
	return m
}

// monitored is the types that have a label of their own in CoreDNS's metrics.
var monitored = map[uint16]bool{
	dns.TypeA: true, dns.TypeAAAA: true, dns.TypeANY: true, dns.TypeAXFR: true, dns.TypeCNAME: true, dns.TypeDNSKEY: true, dns.TypeDS: true,
	dns.TypeHTTPS: true, dns.TypeIXFR: true, dns.TypeMX: true, dns.TypeNS: true, dns.TypeNSEC: true, dns.TypeNSEC3: true, dns.TypePTR: true,
	dns.TypeRRSIG: true, dns.TypeSOA: true, dns.TypeSRV: true, dns.TypeSVCB: true, dns.TypeTXT: true,
}
