package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// find gives what was measured of a server, zeros if there is nothing.
func (s *updateSet) find(name string) *updated {
	for _, u := range s.results {
		if u.server == name {
			return u
		}
	}
	return &updated{}
}

// rate gives the median of the rounds, in acknowledged updates a second.
func (u *updates) rate() float64 { return median(u.rates) }

// best gives the peer with the most updates a second, and how many; "the best peer"
// if none was measured.
func (s *updateSet) best(clients int) (name string, rate float64) {
	name = "the best peer"
	for _, u := range s.results {
		if v := u.clients[clients].rate(); u.server != ours && v > rate {
			name, rate = u.server, v
		}
	}
	return name, rate
}

// fastest gives the way in which named makes most updates a second of a signed zone,
// and how many.
func (s *updateSet) fastest(clients int) (name string, rate float64) {
	name = "named"
	for _, n := range []string{"named", inlined} {
		if v := s.find(n).clients[clients].rate(); v > rate {
			name, rate = n, v
		}
	}
	return name, rate
}

// updateTargets gives the targets of this server for updates.
func (r *report) updateTargets() (list []target) {
	for _, s := range r.updates {
		u, in := s.find(ours), fmt.Sprintf(", %d names", s.names)
		best, rate := s.best(many)
		list = append(list,
			target{"1 client" + in, u.clients[alone].rate(), s.find("named").clients[alone].rate(), "updates/s", "named", 1.5, atLeast},
			target{fmt.Sprintf("%d clients%s", clientsAtOnce[many], in), u.clients[many].rate(), rate, "updates/s", best, 4, atLeast},
			target{fmt.Sprintf("CPU time, %d clients%s", clientsAtOnce[many], in), median(u.clients[many].costs), 100, "µs/update", "100 µs", 1, atMost},
			target{fmt.Sprintf("query p99 among updates of %d clients%s", clientsAtOnce[many], in), inMicroseconds(quantiles(u.storm, 0.99)), inMicroseconds(quantiles(u.idle, 0.99)), "µs", "without updates", 1.5, atMost},
		)
	}
	for _, s := range r.signed {
		name, rate := s.fastest(many)
		list = append(list, target{fmt.Sprintf("%d clients, %s", clientsAtOnce[many], s), s.find(ours).clients[many].rate(), rate, "updates/s", name, 4, atLeast})
	}
	if len(r.updates) < 2 {
		return list
	}
	small, large := r.updates[0], r.updates[len(r.updates)-1]
	for i, clients := range clientsAtOnce {
		list = append(list, target{
			fmt.Sprintf("%d names beside %d, clients: %d", large.names, small.names, clients),
			large.find(ours).clients[i].rate(), small.find(ours).clients[i].rate(), "updates/s", "the small zone", 0.15, around,
		})
	}
	return list
}

func inMicroseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// updateText gives the report of updates in Markdown.
func (r *report) updateText() string {
	var b strings.Builder
	b.WriteString(r.head(dynamic, fmt.Sprintf("`%s` has the plugins *keys*, *authority* and *update* in the chain.", ours)))
	b.WriteString("\n### Targets for updates\n\n")
	b.WriteString(targetTable(r.updateTargets()))

	fmt.Fprintf(&b, "\n### Updates\n\nEach UPDATE has one A record and a TSIG signature (HMAC-SHA256) and goes over UDP; a client sends one when it has the response to the one before. Every other one adds a record at a name that never was, and the rest remove the oldest of the records that the client has added, of which it lets %d stand: each is a change, and the zone keeps its size. ", held)
	fmt.Fprintf(&b, "Counted is what was acknowledged by NOERROR and the right signature: the median of %d rounds of %s, in which the servers take turns, with the least and the greatest, latencies of all rounds together. ", r.extent.rounds, r.extent.round)
	b.WriteString("CPU time is user and system time of all processes of the server, which has one core, by acknowledged updates; the clients have another. A batch is what is made durable together: ours says in its metrics how many updates that are, the others raise the serial once for it. ")
	b.WriteString("At the end the zone of each server was fetched by AXFR, signed, and had the records that were acknowledged, and no others.\n\n")
	t := table{{"names", "clients", "server", "updates/s", "p50, ms", "p99, ms", "CPU, µs an update", "updates a batch", "sent again"}}
	for _, s := range r.updates {
		for i, clients := range clientsAtOnce {
			for _, u := range s.results {
				x := &u.clients[i]
				t = append(t, []string{
					fmt.Sprint(s.names), fmt.Sprint(clients), u.server, ranged(x.rates, 0), milliseconds(x.each.quantile(0.5)), milliseconds(x.each.quantile(0.99)),
					ranged(x.costs, 1), number(median(x.batch), 1), fmt.Sprint(x.again),
				})
			}
		}
	}
	b.WriteString(t.String())
	b.WriteString(r.signedText())

	fmt.Fprintf(&b, "\n### Queries among updates\n\n%d queries a second of the mix, at a steady rate whatever comes back, to the same zone: first alone, then among the updates of %d clients. A latency is from before the query is handed to the kernel to when the kernel has the answer; quantiles are medians of the rounds. The server does both on its one core. ", steadyRate, clientsAtOnce[many])
	b.WriteString("`late` is by how much the sender was behind its time among updates, at p99, which is no part of the latency.\n\n")
	t = table{{"names", "server", "alone: p50, µs", "p99, µs", "lost", "among updates: p50, µs", "p99, µs", "lost", "p99 by p99 alone", "updates/s", "late, µs"}}
	for _, s := range r.updates {
		for _, u := range s.results {
			t = append(t, []string{
				fmt.Sprint(s.names), u.server,
				microseconds(quantiles(u.idle, 0.5)), microseconds(quantiles(u.idle, 0.99)), fmt.Sprint(lostOf(u.idle)),
				microseconds(quantiles(u.storm, 0.5)), microseconds(quantiles(u.storm, 0.99)), fmt.Sprint(lostOf(u.storm)),
				number(u.ratio(), 2), number(median(u.beside), 0), microseconds(lateness(u.storm)),
			})
		}
	}
	b.WriteString(t.String())

	b.WriteString("\n### The clients and the disk\n\nWhat the clients themselves take of their core: where that is near to 100 %, they and not the server are measured.\n\n")
	t = table{{"names", "clients", "server", "CPU of the clients, µs an update", "% of their core"}}
	for _, s := range r.updates {
		for i, clients := range clientsAtOnce {
			for _, u := range s.results {
				x := &u.clients[i]
				t = append(t, []string{fmt.Sprint(s.names), fmt.Sprint(clients), u.server, number(median(x.own), 1), number(100*median(x.load), 0)})
			}
		}
	}
	b.WriteString(t.String())
	fmt.Fprintf(&b, "\nIn turn with the rounds the disk was measured, writing %d octets and fdatasync: %s a second, p50 %s ms, p99 %s ms.\n",
		pageSize, number(r.disk.rate(), 0), milliseconds(r.disk.quantile(0.5)), milliseconds(r.disk.quantile(0.99)))

	b.WriteString("\n### What an acknowledgement promises\n\nNo server acknowledges what a power cut could take away. They run as they come, but for what is said here; their logs, with the levels that they come with, go to files.\n\n")
	for _, line := range durability {
		fmt.Fprintf(&b, "* `%s`: %s\n", line[0], line[1])
	}
	return b.String()
}

// signedText gives the section about updates of signed zones.
func (r *report) signedText() string {
	var b strings.Builder
	b.WriteString("\n### Updates of signed zones\n\nThe same clients, zones and settings, but the servers sign: with one key for ECDSA P-256, NSEC, and signatures for 14 days. ")
	fmt.Fprintf(&b, "`%s` has `dnssec` in *authority*; `knotd` has `dnssec-signing` with a policy of that algorithm and `single-type-signing`; `named` has `dnssec-policy default`, which signs the zone that is changed, and `%s` also `inline-signing`, which keeps one without signatures beside it. Both get a zone that dnssec-signzone has signed with a key of that policy. ", ours, inlined)
	b.WriteString("An update counts when what it added is served with a right signature: after each round the clients ask for the SOA record, all of their records that stand and the names that they removed last, until all are so. If they are not so when they are first asked for, the wait for them is part of the time of the round; latencies are those of acknowledgements. ")
	b.WriteString("At the end the zone was fetched by AXFR, too: besides what was acknowledged, all signatures at the apex and of the records of clients are right, and the NSEC records are one chain.\n\n")
	t := table{{"names", "clients", "server", "updates/s", "p50, ms", "p99, ms", "CPU, µs an update", "updates a batch", "wait for signatures, ms", "sent again"}}
	for _, s := range r.signed {
		for i, clients := range clientsAtOnce {
			for _, u := range s.results {
				x := &u.clients[i]
				t = append(t, []string{
					fmt.Sprint(s.names), fmt.Sprint(clients), u.server, ranged(x.rates, 0), milliseconds(x.each.quantile(0.5)), milliseconds(x.each.quantile(0.99)),
					ranged(x.costs, 1), number(median(x.batch), 1), milliseconds(median(x.waits)), fmt.Sprint(x.again),
				})
			}
		}
	}
	b.WriteString(t.String())
	return b.String()
}

// durability is what the servers do before they acknowledge.
var durability = [][2]string{
	{ours, "`store` in a folder, everything else by default. A commit of all requests that wait is written to the store and made durable by fdatasync, then visible, then acknowledged. One line for each update in the log."},
	{"knotd", "the journal as it comes: in LMDB, in its mode robust, made durable by fdatasync once for all requests that wait, before they are acknowledged. By `zonefile-sync: -1` the zone file is not written after each change, which is slower. Two lines in the log for each batch."},
	{"named", "as it comes: each update is appended to the journal of the zone and made durable by fsync, twice, before it is acknowledged. The zone file is written after 15 minutes, which is after the end. Two lines in the log for each update."},
}

// lateness gives the p99 of how late queries were sent, the median of the rounds.
func lateness(rounds []answered) time.Duration {
	var list []time.Duration
	for i := range rounds {
		l := latencies{each: rounds[i].late}
		list = append(list, l.quantile(0.99))
	}
	return median(list)
}

// ranged gives the median of the rounds with the least and the greatest, "–" of
// none.
func ranged(values []float64, digits int) string {
	if len(values) == 0 {
		return number(0, 0)
	}
	return fmt.Sprintf("%s (%s–%s)", number(median(values), digits), number(slices.Min(values), digits), number(slices.Max(values), digits))
}
