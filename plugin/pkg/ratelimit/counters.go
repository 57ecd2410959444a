package ratelimit

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// A level is a length of prefix that requests are counted by.
type level struct {
	bits     int
	multiple int // of the limit of one address
}

// The levels are those of Knot DNS.
var (
	levels4 = [...]level{{32, 1}, {24, 32}, {20, 256}, {18, 768}}
	levels6 = [...]level{{128, 1}, {64, 2}, {56, 3}, {48, 4}, {32, 64}}
)

const maxLevels = len(levels6)

// counterWays is how many counters share a place in the table: a cache line.
const counterWays = 8

// counters counts requests by network, with exponential decay. A counter is a word:
// a part of its hash, the millisecond of its last request, and a value.
//
//	 63    48 47          28 27       0
//	┌────────┬──────────────┬──────────┐
//	│  tag   │ millisecond  │  value   │
//	└────────┴──────────────┴──────────┘
//
// A counter that has no place yet takes that of the one with the smallest value, and
// starts from this value: no request is forgotten, those that are limited are not
// driven out, and nobody gets past because the table is full. The millisecond
// wraps after 17 minutes. One that is found again after such a time may count as it
// did then, for the few seconds until it has decayed.
type counters struct {
	key   *key
	sets  [][counterWays]atomic.Uint64
	four  [len(levels4)]budget
	six   [len(levels6)]budget
	decay decay
}

const (
	valueBits = 28
	timeBits  = 20
	maxValue  = 1<<valueBits - 1
	timeMask  = 1<<timeBits - 1

	// backMillis is how far the clock may be set back, or senders disagree on it.
	backMillis = 1 << 14
)

// burst is how many requests may come at once after a rest, as a multiple of those
// a second: Knot's 125 for 50.
const burst = 2.5

// budget is what a level allows: steps of requests up to a capacity.
type budget struct {
	hi, lo         uint64 // mask of the address
	step, capacity uint64
}

// newCounters makes a table for that many requests a second from one address.
func newCounters(entries int, rate int, k *key) *counters {
	instant := math.Floor(burst * float64(rate))
	c := &counters{key: k, sets: make([][counterWays]atomic.Uint64, (entries+counterWays-1)/counterWays)}
	for i, l := range levels4 {
		c.four[i] = newBudget(l, false, instant)
	}
	for i, l := range levels6 {
		c.six[i] = newBudget(l, true, instant)
	}
	// Requests that come evenly at the rate find room for one each time, with a
	// hundredth to spare for those that come not quite evenly.
	c.decay = newDecay(-1.01 * float64(rate) * math.Log1p(-1/instant))
	return c
}

func newBudget(l level, six bool, instant float64) budget {
	requests := uint64(instant) * uint64(l.multiple)
	// Limits of wide networks that a counter cannot hold are as much as it can.
	requests = min(requests, maxValue)
	step := maxValue / requests
	b := budget{step: step, capacity: step * requests}
	b.hi, b.lo = mask(l.bits, six)
	return b
}

// mask gives the mask of a prefix, in two halves. Those of IPv4 addresses stand at
// the left.
func mask(length int, six bool) (hi, lo uint64) {
	hi = ^uint64(0) << (64 - min(length, 64))
	if six && length > 64 {
		lo = ^uint64(0) << (128 - length)
	}
	return hi, lo
}

// decay gives what is left of a value after some milliseconds, as a fraction of 2^32.
type decay struct {
	short [1 << 10]uint32 // after so many milliseconds
	long  [1 << 6]uint32  // after so many times 1024 milliseconds
}

func newDecay(perSecond float64) decay {
	var d decay
	for i := range d.short {
		d.short[i] = uint32(math.Min(math.Exp(-perSecond*float64(i)/1000)*(1<<32), 1<<32-1))
	}
	for i := range d.long {
		d.long[i] = uint32(math.Min(math.Exp(-perSecond*float64(i)*1.024)*(1<<32), 1<<32-1))
	}
	return d
}

// value gives that of a counter now.
func (d *decay) value(word, millis uint64) uint64 {
	v := word & maxValue
	age := (millis - word>>valueBits) & timeMask
	if age == 0 || v == 0 || age > timeMask-backMillis {
		return v
	}
	long := age >> 10
	if long >= uint64(len(d.long)) {
		return 0
	}
	v = v * uint64(d.short[age&1023]) >> 32
	if long > 0 {
		v = v * uint64(d.long[long]) >> 32
	}
	return v
}

// place is where a counter is, or comes.
type place struct {
	word *atomic.Uint64
	tag  uint64
	old  uint64
	next uint64
}

// allow tells whether a request has room in all networks of the address, and
// counts it if so; otherwise nothing changes.
func (c *counters) allow(a address, millis uint64, proven bool) bool {
	levels := c.six[:]
	if !a.six {
		levels = c.four[:]
	}
	kind := uint64(1) << 8
	if proven {
		kind |= 1 << 9
	}
	if a.six {
		kind |= 1 << 10
	}
	var places [maxLevels]place
	for i := range levels {
		l, p := &levels[i], &places[i]
		c.find(p, c.key.hash(a.hi&l.hi, a.lo&l.lo, kind|uint64(i)), millis)
		v := c.decay.value(p.old, millis) + l.step
		if v > l.capacity {
			return false
		}
		p.next = p.packed(v, millis)
	}
	for i := range levels {
		for p := &places[i]; !p.word.CompareAndSwap(p.old, p.next); {
			// Another request came between. If its counter has taken the place, ours
			// follows it there, from its value.
			p.old = p.word.Load()
			p.next = p.packed(min(c.decay.value(p.old, millis)+levels[i].step, maxValue), millis)
		}
	}
	return true
}

// packed gives the word of the counter with a value.
func (p *place) packed(value, millis uint64) uint64 {
	if at := p.old >> valueBits & timeMask; (millis-at)&timeMask > timeMask-backMillis {
		millis = at // the later one
	}
	return p.tag<<(64-16) | millis&timeMask<<valueBits | value
}

// find sets p to the counter of a hash, or to where it comes.
func (c *counters) find(p *place, h, millis uint64) {
	n, _ := bits.Mul64(h, uint64(len(c.sets)))
	s := &c.sets[n]
	tag := h & (1<<16 - 1)
	first := &s[h>>16%counterWays] // where it is, if that was free when it came
	if w := first.Load(); w>>(64-16) == tag || w == 0 {
		*p = place{word: first, tag: tag, old: w}
		return
	}
	for i := range s {
		if w := s[i].Load(); w>>(64-16) == tag {
			*p = place{word: &s[i], tag: tag, old: w}
			return
		}
	}
	least := uint64(math.MaxUint64)
	for i := range s {
		w := s[i].Load()
		if v := c.decay.value(w, millis); v < least {
			least = v
			*p = place{word: &s[i], tag: tag, old: w}
		}
	}
}
