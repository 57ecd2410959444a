package xfr

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Form is the form of an answer (RFC 1995 §4).
type Form uint8

const (
	// UpToDate is the SOA record alone: the client has this version, or a later one.
	UpToDate Form = iota
	// Retry is the SOA record alone, over UDP: the client comes again over TCP (RFC
	// 1995 §2).
	Retry
	// Incremental is one sequence of differences.
	Incremental
	// Whole is the zone, as AXFR has it.
	Whole
)

// String gives the word for the form that metrics and logs use.
func (f Form) String() string {
	switch f {
	case UpToDate:
		return "uptodate"
	case Retry:
		return "retry"
	case Incremental:
		return "incremental"
	case Whole:
		return "whole"
	default:
		return "unknown"
	}
}

// Changes gives the changesets that lead from one version of a zone to another,
// oldest first, or an error if they are not all there; journal.Store.Changes does.
type Changes func(from, to zone.Serial) iter.Seq2[zone.Changeset, error]

// Options say how an answer goes to its client.
type Options struct {
	// UDP is how many octets the client takes in a datagram; 0 means a stream.
	UDP int
	// Reserve is how many octets of each message are kept free for what the caller
	// adds to it, such as a TSIG record.
	Reserve int
	// EDNS are options, made by wire.AppendOption, for the OPT record of the first
	// message. That has one if the request has (RFC 5936 §2.2.5).
	EDNS []byte
}

// Stream is a decided answer, made from one version of the zone. It is immutable;
// its methods may be called concurrently.
type Stream struct {
	// Form is what the answer is made of.
	Form Form
	// Serial is that of the version sent.
	Serial zone.Serial
	// Fallback says why an IXFR gets the whole zone: the error of Changes, ErrGap,
	// ErrLimit or ErrContradiction of package zone, or ErrNoHistory.
	Fallback error

	query    wire.Question
	snapshot *zone.Snapshot
	change   zone.Changeset
	options  Options
}

// ErrNoHistory says that there are no changesets, or that they say nothing of the
// SOA record.
var ErrNoHistory = errors.New("no history of the zone")

// messageSize is what messages are filled to, in octets. Pointers of compressed
// names reach so far and no further, so longer messages make a transfer larger:
// that of a million delegations has 68 MB in these and 85 MB in messages of 64 KiB.
const messageSize = 16384

// Plan decides on the answer to a request that is for the zone of the snapshot:
//
//   - AXFR: the whole zone; over UDP there is none, and the error is ErrUDP (RFC 5936 §4.2)
//   - IXFR from this version or a later one: its SOA record (RFC 1995 §2)
//   - IXFR: the difference between the two versions, condensed from changes, unless it has more records than the zone
//   - else the whole zone
//   - IXFR over UDP: the difference if it fits into one datagram, else the SOA record
//
// changes may be nil. A serial half the circle away is neither earlier nor later:
// its client gets the zone (RFC 1982 §3.2).
func Plan(r *Request, s *zone.Snapshot, changes Changes, o Options) (*Stream, error) {
	st := &Stream{Form: Whole, Serial: s.Serial(), query: r.Question, snapshot: s, options: o}
	if r.Type == rrset.TypeAXFR {
		if o.UDP > 0 {
			return nil, ErrUDP
		}
		return st, nil
	}
	if r.Serial == st.Serial || r.Serial.After(st.Serial) {
		st.Form = UpToDate
		return st, nil
	}
	limit := s.Records()
	if o.UDP > 0 {
		limit = min(limit, o.UDP/minRecord)
	}
	if st.change, st.Fallback = difference(r.Serial, st.Serial, changes, limit); st.Fallback == nil {
		st.Form = Incremental
	}
	if o.UDP > 0 && (st.Form == Whole || !st.single()) {
		st.Form, st.Fallback, st.change = Retry, nil, zone.Changeset{}
	}
	return st, nil
}

// minRecord is the least size of a record, in octets: the root as its owner, no
// RDATA.
const minRecord = 11

// difference condenses changes to one that can be sent.
func difference(from, to zone.Serial, changes Changes, limit int) (zone.Changeset, error) {
	if changes == nil {
		return zone.Changeset{}, ErrNoHistory
	}
	c, err := zone.Condense(from, to, changes(from, to), limit)
	if err != nil {
		return zone.Changeset{}, err
	}
	for _, sets := range [...][]zone.Set{c.Removed, c.Added} {
		if len(sets) == 0 || sets[0].Type != rrset.TypeSOA || sets[0].Len() != 1 {
			return zone.Changeset{}, ErrNoHistory
		}
	}
	return c, nil
}

// single tells whether the answer is one message.
func (st *Stream) single() bool {
	n := 0
	for _, err := range st.Messages() {
		if n++; n > 1 || err != nil {
			return false
		}
	}
	return true
}

// packers are for use again: each has a large buffer.
var packers = sync.Pool{New: func() any { return new(wire.StreamPacker) }}

// Messages gives the messages of the answer, one after another; each is valid
// until the next. Each has the ID, opcode, RD and question of the request, QR and
// AA. The only error is ErrRecordSize, and ends them: no server could send the
// zone.
//
// Large zones are packed by goroutines of their own while the messages before
// are looked at. They have ended when the loop has.
func (st *Stream) Messages() iter.Seq2[[]byte, error] {
	if st.Form == Whole && st.snapshot.Records() >= manyRecords && runtime.GOMAXPROCS(0) > 1 {
		return st.inParts
	}
	return func(yield func([]byte, error) bool) {
		p := packers.Get().(*wire.StreamPacker)
		defer packers.Put(p)
		st.start(p, true)
		w := writer{p, yield}
		soa := st.snapshot.SOA()
		var ok bool
		switch st.Form {
		case Whole:
			ok = st.snapshot.Walk(w.visit()) && w.add(soa.Owner, 0, &soa.RRset)
		case Incremental:
			ok = w.add(soa.Owner, 0, &soa.RRset) && w.sets(st.change.Removed) && w.sets(st.change.Added) && w.add(soa.Owner, 0, &soa.RRset)
		default:
			ok = w.add(soa.Owner, 0, &soa.RRset)
		}
		if ok {
			yield(p.Message(), nil)
		}
	}
}

// start makes p ready for the messages, or for those after the first.
func (st *Stream) start(p *wire.StreamPacker, first bool) {
	limit, largest := messageSize, wire.MaxMessage-st.options.Reserve
	if st.options.UDP > 0 {
		limit = min(st.options.UDP, wire.MaxMessage) - st.options.Reserve
		largest = limit
	}
	query := st.query
	query.HasEDNS = query.HasEDNS && first
	p.Start(&query, st.options.EDNS, min(limit, largest), largest)
}

// A writer puts sets into messages. Its methods give false if there is no use in
// going on.
type writer struct {
	p     *wire.StreamPacker
	yield func([]byte, error) bool
}

func (w writer) sets(sets []zone.Set) bool {
	for i := range sets {
		if s := &sets[i]; !w.add(s.Owner, 0, &s.RRset) || !w.add(s.Owner, 0, &s.Sigs) {
			return false
		}
	}
	return true
}

// visit gives the function that puts a whole zone into messages.
func (w writer) visit() func(s *zone.Set, shared int) bool {
	p := w.p
	return func(s *zone.Set, shared int) bool {
		if !s.IsEmpty() {
			if next := p.Add(s.Owner, shared, &s.RRset, 0); next < len(s.Packed()) && !w.rest(s.Owner, &s.RRset, next) {
				return false
			}
			shared = len(s.Owner)
		}
		return s.Sigs.IsEmpty() || w.add(s.Owner, shared, &s.Sigs)
	}
}

func (w writer) add(owner dnsname.Name, shared int, set *rrset.RRset) bool {
	next := w.p.Add(owner, shared, set, 0)
	return next == len(set.Packed()) || w.rest(owner, set, next)
}

// rest puts the records of a set from offset off on into further messages.
func (w writer) rest(owner dnsname.Name, set *rrset.RRset, off int) bool {
	for off < len(set.Packed()) {
		if w.p.Records() == 0 {
			w.yield(nil, fmt.Errorf("%w: at %s, type %d", ErrRecordSize, owner, set.Type))
			return false
		}
		if !w.yield(w.p.Message(), nil) {
			return false
		}
		off = w.p.Add(owner, 0, set, off)
	}
	return true
}
