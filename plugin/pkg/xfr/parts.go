package xfr

import (
	"sync"
	"sync/atomic"

	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// How a large zone is packed in parts.
const (
	manyRecords = 50_000 // that are worth the effort
	minParts    = 64
	packersEach = 2  // goroutines of one transfer
	partsAhead  = 4  // parts that are packed, or are being so, and not looked at to their end
	ahead       = 64 // messages of such a part, at most: others wait in the zone, where they take no memory
)

// A packed message, or the error that ends them.
type packed struct {
	msg *[]byte
	err error
}

// buffers are for messages that wait.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, messageSize)
	return &b
}}

// inParts is Messages for the whole of a large zone.
func (st *Stream) inParts(yield func([]byte, error) bool) {
	parts := st.snapshot.WalkParts(minParts)
	out := make([]chan packed, len(parts))
	for i := range out {
		out[i] = make(chan packed, ahead)
	}
	stop, begun := make(chan struct{}), make(chan struct{}, partsAhead)
	var next atomic.Int32 // part; they are taken in order, so the first that is not packed is at work
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	for range packersEach {
		wg.Go(func() {
			p := packers.Get().(*wire.StreamPacker)
			defer packers.Put(p)
			for {
				select {
				case begun <- struct{}{}:
				case <-stop:
					return
				}
				i := int(next.Add(1)) - 1
				if i >= len(parts) || !st.part(p, parts[i], i == 0, i == len(parts)-1, out[i], stop) {
					return
				}
			}
		})
	}
	for _, part := range out {
		for m := range part {
			if m.err != nil {
				yield(nil, m.err)
				return
			}
			ok := yield(*m.msg, nil)
			buffers.Put(m.msg)
			if !ok {
				return
			}
		}
		<-begun
	}
}

// part packs one part into messages of its own, and closes out. It gives false
// when stop is closed.
func (st *Stream) part(p *wire.StreamPacker, walk func(func(*zone.Set, int) bool) bool, first, last bool, out chan<- packed, stop <-chan struct{}) bool {
	defer close(out)
	send := func(m packed) bool {
		select {
		case out <- m:
			return m.err == nil
		case <-stop:
			return false
		}
	}
	st.start(p, first)
	w := writer{p, func(msg []byte, err error) bool {
		if err != nil {
			return send(packed{err: err})
		}
		b := buffers.Get().(*[]byte)
		*b = append((*b)[:0], msg...)
		return send(packed{msg: b})
	}}
	ok := walk(w.visit())
	if ok && last {
		soa := st.snapshot.SOA()
		ok = w.add(soa.Owner, 0, &soa.RRset)
	}
	return ok && w.yield(p.Message(), nil)
}
