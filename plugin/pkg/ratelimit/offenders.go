package ratelimit

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
)

// An Offender is a network of which requests or responses were limited.
type Offender struct {
	Prefix netip.Prefix
	Count  uint64 // how often, at most
	Error  uint64 // by how much Count may be too high
}

// sketchSize is how many networks a sketch knows.
const sketchSize = 128

// sketch knows the networks that were limited most, in fixed memory (Metwally et al.,
// Space-Saving): one that it does not know takes the place of the one with the
// smallest count, and goes on from there.
type sketch struct {
	mu    sync.Mutex
	index map[netip.Prefix]int
	list  []Offender
	past  []Offender // of the period before
}

func newSketch() *sketch {
	return &sketch{index: make(map[netip.Prefix]int, sketchSize), list: make([]Offender, 0, sketchSize)}
}

// add counts a network, unless another goroutine is at it: among many, one that is
// not counted is no loss.
func (s *sketch) add(p netip.Prefix) {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if i, ok := s.index[p]; ok {
		s.list[i].Count++
		return
	}
	if len(s.list) < sketchSize {
		s.index[p] = len(s.list)
		s.list = append(s.list, Offender{Prefix: p, Count: 1})
		return
	}
	least := 0
	for i := range s.list {
		if s.list[i].Count < s.list[least].Count {
			least = i
		}
	}
	o := &s.list[least]
	delete(s.index, o.Prefix)
	s.index[p] = least
	*o = Offender{Prefix: p, Count: o.Count + 1, Error: o.Count}
}

// turn begins a period and gives what was counted in the one before.
func (s *sketch) turn() []Offender {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past = slices.Clone(s.list)
	clear(s.index)
	s.list = s.list[:0]
	return slices.Clone(s.past)
}

// both gives what was counted in this period and the one before.
func (s *sketch) both() []Offender {
	s.mu.Lock()
	defer s.mu.Unlock()
	sums := slices.Clone(s.list)
	for _, o := range s.past {
		if i, ok := s.index[o.Prefix]; ok {
			sums[i].Count += o.Count
			sums[i].Error += o.Error
		} else {
			sums = append(sums, o)
		}
	}
	return sums
}

// top sorts offenders and gives the first n.
func top(list []Offender, n int) []Offender {
	slices.SortFunc(list, func(a, b Offender) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Error, b.Error), a.Prefix.Addr().Compare(b.Prefix.Addr()))
	})
	return list[:min(n, len(list))]
}
