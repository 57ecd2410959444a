package ratelimit

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// recent remembers for networks when something was last the case, to the second.
// When there is no room, what is oldest goes. A word is a part of the hash above a
// second; 0 is none.
type recent struct {
	sets [][counterWays]atomic.Uint64
	last atomic.Uint32 // second of the last mark, above 0
}

func newRecent(entries int) *recent {
	return &recent{sets: make([][counterWays]atomic.Uint64, (entries+counterWays-1)/counterWays)}
}

func (r *recent) set(h uint64) *[counterWays]atomic.Uint64 {
	n, _ := bits.Mul64(h, uint64(len(r.sets)))
	return &r.sets[n]
}

// quiet tells whether no network was marked within so many seconds.
func (r *recent) quiet(second, seconds uint32) bool {
	last := r.last.Load()
	return last == 0 || second > last && second-last > seconds
}

// within tells whether the network of hash h was marked at most so many seconds
// ago.
func (r *recent) within(h uint64, second, seconds uint32) bool {
	if r.quiet(second, seconds) {
		return false
	}
	s := r.set(h)
	for i := range s {
		if w := s[i].Load(); w != 0 && w>>32 == h&math.MaxUint32 {
			at := uint32(w)
			return second <= at || second-at <= seconds
		}
	}
	return false
}

// mark notes the network of hash h. It tells whether that was noted within so many
// seconds before.
func (r *recent) mark(h uint64, second, seconds uint32) bool {
	if last := r.last.Load(); last < second {
		r.last.CompareAndSwap(last, second) // if another was faster, it knows
	}
	s := r.set(h)
	tag := h << 32
	next := tag | uint64(second)
	for {
		oldest, at := 0, uint64(math.MaxUint64)
		var old uint64
		for i := range s {
			w := s[i].Load()
			if w != 0 && w&^math.MaxUint32 == tag {
				oldest, old = i, w
				break
			}
			if age := w & math.MaxUint32; age < at {
				oldest, at, old = i, age, w
			}
		}
		known := old != 0 && old&^math.MaxUint32 == tag
		if known && uint32(old) >= second {
			return true
		}
		if s[oldest].CompareAndSwap(old, next) {
			return known && second-uint32(old) <= seconds
		}
	}
}
