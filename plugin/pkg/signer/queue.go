package signer

import (
	"container/heap"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// Queue knows which signatures of a zone are to be made anew next. It holds one entry
// for an owner, and for each change of one since the queue was last cleared of old
// ones: some 60 octets a name. It is for one goroutine at a time.
type Queue struct {
	refresh int64
	ends    ends
}

// Queue makes the queue of a zone, which it goes through in full. now, here and below,
// is the time in whose 68 years before and after the expirations are (RFC 4034 §3.1.5).
func (s *Signer) Queue(z *zone.Snapshot, now time.Time) *Queue {
	q := &Queue{refresh: int64(s.policy.Refresh / time.Second)}
	q.fill(z, now.Unix())
	return q
}

// fill makes the entries anew.
func (q *Queue) fill(z *zone.Snapshot, now int64) {
	q.ends = q.ends[:0]
	last := -1
	for set := range z.All() {
		at, ok := earliest(set.Sigs, now)
		switch {
		case !ok:
		case last >= 0 && q.ends[last].owner == set.Owner.Fold():
			q.ends[last].at = min(q.ends[last].at, at)
		default:
			last = len(q.ends)
			q.ends = append(q.ends, end{at, set.Owner.Fold()})
		}
	}
	heap.Init(&q.ends)
}

// earliest gives the expiration of the RRSIG that ends first.
func earliest(sigs rrset.RRset, now int64) (at int64, ok bool) {
	for r := range sigs.All() {
		if len(r) < sigSigner {
			continue
		}
		if e := expires(r, now); !ok || e < at {
			at, ok = e, true
		}
	}
	return at, ok
}

// first gives the expiration of the RRSIG of an owner that ends first.
func first(v zone.View, owner dnsname.Name, now int64) (at int64, ok bool) {
	for _, set := range v.Sets(owner) {
		if e, signed := earliest(set.Sigs, now); signed && (!ok || e < at) {
			at, ok = e, true
		}
	}
	return at, ok
}

// Update takes note of a change, after which the zone is z. Every change of the zone
// must come here, in its order.
func (q *Queue) Update(z *zone.Snapshot, change *zone.Changeset, now time.Time) {
	v := z.View()
	var last dnsname.Name
	for _, sets := range [...][]zone.Set{change.Added, change.Removed} {
		for i := range sets {
			owner := sets[i].Owner.Fold()
			if owner == last {
				continue
			}
			last = owner
			if at, ok := first(v, owner, now.Unix()); ok {
				heap.Push(&q.ends, end{at, owner})
			}
		}
	}
	if len(q.ends) > 2*z.Names()+64 { // most are of signatures that are gone
		q.fill(z, now.Unix())
	}
}

// Due gives up to n owners of z, which is the zone after the last Update, that have
// signatures to be made anew at a time, those that expire first before the others. They
// are for Request.Due, and are given again until a change of them has come to Update.
func (q *Queue) Due(z *zone.Snapshot, now time.Time, n int) []dnsname.Name {
	v := z.View()
	var due []end
	for len(due) < n && q.settle(v, now.Unix()) && q.ends[0].at-q.refresh <= now.Unix() {
		e := heap.Pop(&q.ends).(end)
		if len(due) == 0 || due[len(due)-1] != e {
			due = append(due, e)
		}
	}
	names := make([]dnsname.Name, len(due))
	for i, e := range due {
		names[i] = e.owner
		heap.Push(&q.ends, e)
	}
	return names
}

// Next gives the time from which on Due gives something; ok is false if the zone, which
// is z after the last Update, has no signatures.
func (q *Queue) Next(z *zone.Snapshot, now time.Time) (next time.Time, ok bool) {
	if !q.settle(z.View(), now.Unix()) {
		return time.Time{}, false
	}
	return time.Unix(q.ends[0].at-q.refresh, 0), true
}

// settle takes entries off the heap that are no longer so, and tells whether there are
// others.
func (q *Queue) settle(v zone.View, now int64) bool {
	for len(q.ends) > 0 {
		if at, ok := first(v, q.ends[0].owner, now); ok && at == q.ends[0].at {
			return true
		}
		heap.Pop(&q.ends)
	}
	return false
}

// end is when the first RRSIG of an owner expired when it was entered.
type end struct {
	at    int64
	owner dnsname.Name
}

// ends is a heap, the earliest first.
type ends []end

// Len is that of sort.Interface.
func (e ends) Len() int { return len(e) }

// Less is that of sort.Interface: by time, and then by name, so that equal entries
// stand together.
func (e ends) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].owner < e[j].owner
}

// Swap is that of sort.Interface.
func (e ends) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

// Push is that of heap.Interface.
func (e *ends) Push(x any) { *e = append(*e, x.(end)) }

// Pop is that of heap.Interface.
func (e *ends) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = end{}
	*e = (*e)[:last]
	return x
}
