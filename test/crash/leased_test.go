package crash

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server/secondary"
)

// never is later than any lease ends.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// drift is how far two processes may differ in what time it is, as one of them may not look at the wall clock each time.
const drift = 20 * time.Millisecond

// A fate is what must become of records: they are there before holds, and are not from ends on; in between both may be. If they
// are there, so many have leases.
type fate struct {
	holds, ends time.Time
	least, most int
}

// leased is records that are always added together, and what was promised of them.
type leased struct {
	rrs []dns.RR
	fate
	asked *promise // that has not been acknowledged yet
}

// promise is a request about leased records: to add them with a lease of some seconds, or without, or to delete them.
type promise struct {
	seconds uint32 // 0: no lease
	gone    bool
	since   time.Time // when it was sent
}

// outcome gives the fate of records after a promise that was kept before some time.
func (l *leased) outcome(p promise, until time.Time) fate {
	n := len(l.rrs)
	switch {
	case p.gone:
		return fate{least: l.least, most: l.most}
	case p.seconds == 0:
		return fate{holds: never, ends: never}
	default:
		d := time.Duration(p.seconds) * time.Second
		return fate{second(p.since.Add(-drift)).Add(d), second(until.Add(drift)).Add(d), n, n}
	}
}

// second gives the first whole second that is not before a time, as leases end at such.
func second(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	}
	return t
}

// ask says that a promise is asked for.
func (l *leased) ask(p promise) { l.asked = &p }

// acknowledge says that what was asked for is promised, since some time before now.
func (l *leased) acknowledge(now time.Time) {
	l.fate = l.outcome(*l.asked, now)
	l.asked = nil
}

// killed says that the server is dead: what was asked for has been done, or will not be.
func (l *leased) killed(now time.Time) {
	if l.asked == nil {
		return
	}
	before, after := l.fate, l.outcome(*l.asked, now)
	if before.ends.After(l.asked.since) {
		after.least, after.most = min(before.least, after.least), max(before.most, after.most)
	}
	if before.holds.Before(after.holds) {
		after.holds = before.holds
	}
	if before.ends.After(after.ends) {
		after.ends = before.ends
	}
	l.fate, l.asked = after, nil
}

// check looks for the records in a part of the zone that was asked for before some time, from a server that was started at
// another, and tells whether they are there.
func (l *leased) check(v *secondary.Version, started, answered time.Time) (there bool, err error) {
	n := 0
	for _, rr := range l.rrs {
		if v.Has(rr) {
			n++
		}
	}
	there = n > 0
	switch {
	case n > 0 && n < len(l.rrs):
		err = errors.New("they are not there together")
	case there && !l.ends.After(started):
		err = fmt.Errorf("they are there, and must be gone since %s", l.ends.Format(time.StampMilli))
	case !there && answered.Before(l.holds):
		err = fmt.Errorf("they are gone, and must be there until %s", l.holds.Format(time.StampMilli))
	default:
		return there, nil
	}
	return there, fmt.Errorf("%v: %w; the server was started at %s, the answer came at %s", l.rrs, err,
		started.Format(time.StampMilli), answered.Format(time.StampMilli))
}

// The books about leases find what they are there to find. Times are seconds.
func TestLeased(t *testing.T) {
	at := func(seconds float64) time.Time { return time.Unix(0, int64(seconds*1e9)) }
	rrs := []dns.RR{txt("a.x.", "1"), txt("b.x.", "1")}
	zone := func(there ...dns.RR) *secondary.Version {
		soa, err := dns.NewRR("x. SOA . . 1 1 1 1 1")
		if err != nil {
			t.Fatal(err)
		}
		v, err := secondary.NewVersion(append([]dns.RR{soa}, there...))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	type done struct {
		seconds    uint32
		gone, lost bool
		from, to   float64
	}
	granted := done{seconds: 2, from: 10.1, to: 10.5} // until 13
	for _, c := range []struct {
		name              string
		done              []done
		there             int // records
		started, answered float64
		want              string // in the error
		least, most       int
	}{
		{"granted", []done{granted}, 2, 10.6, 11, "", 2, 2},
		{"granted, lost", []done{granted}, 0, 10.6, 12.9, "must be there", 2, 2},
		{"granted, half lost", []done{granted}, 1, 10.6, 12.9, "not there together", 2, 2},
		{"ended while the server was down", []done{granted}, 0, 13.1, 13.2, "", 2, 2},
		{"ended while the server was down, and there", []done{granted}, 2, 13.1, 13.2, "must be gone", 2, 2},
		{"ends while the server starts, there", []done{granted}, 2, 12.9, 13.2, "", 2, 2},
		{"ends while the server starts, gone", []done{granted}, 0, 12.9, 13.2, "", 2, 2},
		{"granted over the full second, ended early", []done{{seconds: 2, from: 10.9, to: 11.1}}, 0, 12.8, 12.9, "must be there", 2, 2},
		{"granted over the full second, ended", []done{{seconds: 2, from: 10.9, to: 11.1}}, 0, 13.5, 13.6, "", 2, 2},
		{"granted over the full second, not ended", []done{{seconds: 2, from: 10.9, to: 11.1}}, 2, 13.5, 13.6, "", 2, 2},
		{"granted over the full second, never ended", []done{{seconds: 2, from: 10.9, to: 11.1}}, 2, 14, 14.1, "must be gone", 2, 2},
		{"renewed", []done{granted, {seconds: 3600, from: 11, to: 11.1}}, 2, 20, 20.1, "", 2, 2},
		{"renewed, ended", []done{granted, {seconds: 3600, from: 11, to: 11.1}}, 0, 20, 20.1, "must be there", 2, 2},
		{"renewed or not, there", []done{granted, {seconds: 3600, lost: true, from: 11, to: 11.1}}, 2, 20, 20.1, "", 2, 2},
		{"renewed or not, ended", []done{granted, {seconds: 3600, lost: true, from: 11, to: 11.1}}, 0, 20, 20.1, "", 2, 2},
		{"renewed or not, ended early", []done{granted, {seconds: 3600, lost: true, from: 11, to: 11.1}}, 0, 12, 12.1, "must be there", 2, 2},
		{"cut short, there", []done{{seconds: 3600, from: 9, to: 9.1}, granted}, 2, 13, 13.1, "must be gone", 2, 2},
		{"asked for, there", []done{{seconds: 2, lost: true, from: 10.1, to: 10.5}}, 2, 11, 11.1, "", 2, 2},
		{"asked for, not there", []done{{seconds: 2, lost: true, from: 10.1, to: 10.5}}, 0, 11, 11.1, "", 2, 2},
		{"asked for, half done", []done{{seconds: 2, lost: true, from: 10.1, to: 10.5}}, 1, 11, 11.1, "not there together", 2, 2},
		{"asked for, not ended", []done{{seconds: 2, lost: true, from: 10.1, to: 10.5}}, 2, 13, 13.1, "must be gone", 2, 2},
		{"to stay", []done{granted, {from: 11, to: 11.1}}, 2, 20, 20.1, "", 0, 0},
		{"to stay, ended", []done{granted, {from: 11, to: 11.1}}, 0, 20, 20.1, "must be there", 0, 0},
		{"to stay or not", []done{granted, {lost: true, from: 11, to: 11.1}}, 2, 12, 12.1, "", 0, 2},
		{"deleted", []done{granted, {gone: true, from: 11, to: 11.1}}, 0, 12, 12.1, "", 2, 2},
		{"deleted, there", []done{granted, {gone: true, from: 11, to: 11.1}}, 2, 12, 12.1, "must be gone", 2, 2},
		{"deleted or not, there", []done{granted, {gone: true, lost: true, from: 11, to: 11.1}}, 2, 12, 12.1, "", 2, 2},
		{"deleted or not, gone", []done{granted, {gone: true, lost: true, from: 11, to: 11.1}}, 0, 12, 12.1, "", 2, 2},
	} {
		l := &leased{rrs: rrs}
		for _, d := range c.done {
			l.ask(promise{seconds: d.seconds, gone: d.gone, since: at(d.from)})
			if d.lost {
				l.killed(at(d.to))
			} else {
				l.acknowledge(at(d.to))
			}
		}
		there, err := l.check(zone(rrs[:c.there]...), at(c.started), at(c.answered))
		if there != (c.there > 0) || (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: there: %t, %v; want %q", c.name, there, err, c.want)
		}
		if l.least != c.least || l.most != c.most {
			t.Errorf("%s: from %d to %d leases, not %d to %d", c.name, l.least, l.most, c.least, c.most)
		}
	}
}
