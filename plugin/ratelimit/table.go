package ratelimit

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/ratelimit"
)

// shared is a table that server blocks of the same settings have in common, before and
// after a reload, and what the log says of it. So a network has no more of what several
// blocks give than of one.
type shared struct {
	*ratelimit.Table
	config  ratelimit.Config
	pending atomic.Bool
	lines   atomic.Int64 // in this period
}

// tables are those that live, by settings. Who stops using one need
// not say so, and may fail to start at any time.
var tables struct {
	sync.Mutex
	byKey map[string]weak.Pointer[shared]
}

// open gives the table of those settings, the one there is if there is one.
func open(c ratelimit.Config) (*shared, error) {
	key := fmt.Sprintf("%+v", c)
	tables.Lock()
	defer tables.Unlock()
	for k, p := range tables.byKey {
		if p.Value() == nil {
			delete(tables.byKey, k)
		}
	}
	if s := tables.byKey[key].Value(); s != nil {
		return s, nil
	}
	s := &shared{config: c}
	var err error
	now := time.Now()
	start := now.Add(-time.Duration(now.Nanosecond())) // seconds begin with those of the clock, as in BIND
	if s.Table, err = ratelimit.New(c, start, s.began); err != nil {
		return nil, err
	}
	if tables.byKey == nil {
		tables.byKey = make(map[string]weak.Pointer[shared])
	}
	tables.byKey[key] = weak.Make(s)
	return s, nil
}

// live gives the tables in use.
func live() []*shared {
	tables.Lock()
	defer tables.Unlock()
	var list []*shared
	for _, p := range tables.byKey {
		if s := p.Value(); s != nil {
			list = append(list, s)
		}
	}
	return list
}

// counts are all that were ever made. Those of who is gone go to who comes, so that
// sums never fall, and there are never more than were in use at once.
var counts struct {
	sync.Mutex
	all, free []*ratelimit.Counts
}

// newLimits gives one with counts of its own, which return when it is gone.
func (b *block) newLimits() *ratelimit.Limits {
	counts.Lock()
	defer counts.Unlock()
	var c *ratelimit.Counts
	if n := len(counts.free); n > 0 {
		c = counts.free[n-1]
		counts.free = counts.free[:n-1]
	} else {
		c = new(ratelimit.Counts)
		counts.all = append(counts.all, c)
	}
	l := b.shared.Limits(c)
	runtime.AddCleanup(l, func(c *ratelimit.Counts) {
		counts.Lock()
		defer counts.Unlock()
		counts.free = append(counts.free, c)
	}, c)
	return l
}

// maxLines is how many networks the log names in a period. Forged ones do not fill it.
const maxLines = 100

// topOffenders is how many networks a report of the log names.
const topOffenders = 10

// began logs that a network begins to be limited.
func (s *shared) began(e ratelimit.Event) {
	if s.pending.CompareAndSwap(false, true) {
		time.AfterFunc(s.config.Log, s.report)
	}
	if s.lines.Add(1) > maxLines {
		return
	}
	is := "is"
	if s.config.DryRun {
		is = "would be"
	}
	qtype := dns.Type(e.Type).String()
	if e.Name == "" {
		log.Infof("%s %s limited: %s, %s", e.Prefix, is, e.Class, e.Decision)
		return
	}
	log.Infof("%s %s limited: %s, %s: %q %s", e.Prefix, is, e.Class, e.Decision, dnsname.Name(e.Name).String(), qtype)
}

// report logs the networks that were limited most in the period, each period until
// one without any.
func (s *shared) report() {
	lines := s.lines.Swap(0)
	top := s.Turn(topOffenders)
	if len(top) == 0 {
		s.pending.Store(false)
		return
	}
	time.AfterFunc(s.config.Log, s.report)
	more := ""
	if lines > maxLines {
		more = fmt.Sprintf("; %d networks were not named when they began to be", lines-maxLines)
	}
	log.Infof("limited most in %v, with the number of requests and responses: %s%s", s.config.Log, describeTop(top), more)
}
