package onlinesign

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// Errors of a Table.
var (
	ErrBusy    = errors.New("too many signatures are to be made at a time")
	ErrUnknown = errors.New("signature that is not kept")
	errNoSign  = errors.New("no signature was made")
)

// Size bounds a Table. The zero value is the numbers given below.
type Size struct {
	Entries int // RRsets whose signatures are kept; 0: 65536
	Octets  int // that they take; 0: 32 MiB
	Workers int // RRsets that are signed at a time; 0: as many as there are processors
	Waiting int // callers that wait for that; 0: 64 a worker
}

// madeUpShare is which part of a Table, besides what Size says, is for names that
// anybody can make up.
const madeUpShare = 8

// Table keeps signatures, by the content of the RRset and the keys, and bounds how many
// are made at a time. It is for any number of zones and used concurrently; a hit takes
// no lock.
//
// Names that anybody can make up, those that do not exist and those that a wildcard
// stands for, have a part of the table of their own, an eighth as large: a flood of them
// throws out nothing else, and no more than half of the callers that wait are theirs.
// It is there because names that do not exist are asked for again and again as well, by
// search lists and misspellings.
type Table struct {
	seed         [16]byte // nobody else knows where an RRset has its place
	kept, madeUp part
	workers      chan struct{} // has one for each RRset that is being signed
	most         int           // callers that may wait

	mu      sync.Mutex // guards what follows
	calls   map[digest]*call
	waiting int

	made, busy atomic.Uint64
}

// digest stands for an RRset with the keys that sign it.
type digest [sha256.Size]byte

// call is the making of an entry, for those who wait for it.
type call struct {
	done  chan struct{} // closed when what follows is set
	entry *entry
	err   error
}

// NewTable makes an empty table.
func NewTable(size Size) *Table {
	if size.Entries <= 0 {
		size.Entries = 65536
	}
	if size.Octets <= 0 {
		size.Octets = 32 << 20
	}
	if size.Workers <= 0 {
		size.Workers = runtime.GOMAXPROCS(0)
	}
	if size.Waiting <= 0 {
		size.Waiting = 64 * size.Workers
	}
	t := &Table{
		kept: newPart(size.Entries, size.Octets), madeUp: newPart(size.Entries/madeUpShare, size.Octets/madeUpShare),
		workers: make(chan struct{}, size.Workers), most: size.Waiting, calls: make(map[digest]*call),
	}
	_, _ = rand.Read(t.seed[:]) // never fails
	return t
}

var process = sync.OnceValue(func() *Table { return NewTable(Size{}) })

// Process gives the table that the zones of the process share. It takes no memory before
// the first call.
func Process() *Table { return process() }

// Stats is what a Table has done, and how full it is.
type Stats struct {
	Made    uint64 // RRsets that were signed
	Busy    uint64 // times that one was not, as too many callers were waiting
	Entries int    // RRsets whose signatures are kept
	Octets  int    // that they take
}

// Stats gives the numbers of now.
func (t *Table) Stats() Stats {
	return Stats{
		Made: t.made.Load(), Busy: t.busy.Load(),
		Entries: int(t.kept.entries.Load() + t.madeUp.entries.Load()), Octets: int(t.kept.octets.Load() + t.madeUp.octets.Load()),
	}
}

// need is an RRset whose signatures are needed.
type need struct {
	digest *digest
	keys   *keys
	owner  dnsname.Name
	set    rrset.RRset
	proof  bool // the RDATA is kept with the signatures
	madeUp bool // anybody can make up the owner
	now    int64
	known  bool // give ErrUnknown rather than sign
}

// get gives the signatures of an RRset, made anew if they have lived for three quarters
// of their time. If that cannot be at once, those that are still valid will do.
func (t *Table) get(n *need) (*entry, error) {
	p := &t.kept
	if n.madeUp {
		p = &t.madeUp
	}
	old := p.find(n.digest)
	if old != nil && old.fresh(n.now) {
		return old, nil
	}
	if n.known {
		return nil, ErrUnknown
	}
	e, err := t.make(p, n)
	if errors.Is(err, ErrBusy) && old != nil && old.inception <= n.now && n.now < old.expiration {
		return old, nil
	}
	return e, err
}

// make signs an RRset, or waits for somebody else who does.
func (t *Table) make(p *part, n *need) (*entry, error) {
	d := *n.digest
	t.mu.Lock()
	if c := t.calls[d]; c != nil {
		if !t.wait(n) {
			t.mu.Unlock()
			return nil, ErrBusy
		}
		t.mu.Unlock()
		<-c.done
		t.mu.Lock()
		t.waiting--
		t.mu.Unlock()
		return c.entry, c.err
	}
	if e := p.find(&d); e != nil && e.fresh(n.now) { // since we looked
		t.mu.Unlock()
		return e, nil
	}
	queued := false
	select {
	case t.workers <- struct{}{}:
	default:
		if queued = t.wait(n); !queued {
			t.mu.Unlock()
			return nil, ErrBusy
		}
	}
	c := &call{done: make(chan struct{}), err: errNoSign}
	t.calls[d] = c
	t.mu.Unlock()
	if queued {
		t.workers <- struct{}{}
	}
	defer func() {
		<-t.workers
		t.mu.Lock()
		delete(t.calls, d)
		if queued {
			t.waiting--
		}
		t.mu.Unlock()
		close(c.done)
	}()
	c.entry, c.err = n.sign(d)
	if c.err == nil {
		t.made.Add(1)
		p.put(c.entry)
	}
	return c.entry, c.err
}

// wait tells whether one more caller may wait, and counts it. mu is held.
func (t *Table) wait(n *need) bool {
	most := t.most
	if n.madeUp {
		most = (most + 1) / 2
	}
	if t.waiting >= most {
		t.busy.Add(1)
		return false
	}
	t.waiting++
	return true
}

// backdate is how long before the time of signing signatures are valid, in seconds, for
// validators whose clock is late.
const backdate = 3600

// sign makes an entry.
func (n *need) sign(d digest) (*entry, error) {
	validity := int64(n.keys.validity / time.Second)
	e := &entry{digest: d, inception: n.now - backdate, renewal: n.now + validity/4*3, expiration: n.now + validity}
	sigs := rrset.RRset{Type: rrset.TypeRRSIG, TTL: n.set.TTL}
	for _, k := range n.keys.list {
		rdata, err := k.Sign(n.owner, n.set, time.Unix(e.inception, 0), time.Unix(e.expiration, 0))
		if err == nil {
			sigs, _, err = sigs.With(rdata)
		}
		if err != nil {
			return nil, err
		}
	}
	e.sigs = sigs
	if n.proof {
		e.rdata = string([]byte(n.set.Packed())) // which is in a buffer
	}
	return e, nil
}

// entry is the signatures of one RRset. It does not change.
type entry struct {
	digest     digest
	rdata      string // packed, of a proof
	sigs       rrset.RRset
	inception  int64 // seconds since 1970, as what follows
	renewal    int64
	expiration int64
	asked      atomic.Bool // since the last that looked for room
}

// entrySize is what an entry takes without its strings, in octets, at least.
const entrySize = sha256.Size + 2*16 + 8 + 3*8 + 8 + 8

func (e *entry) size() int64 { return int64(entrySize + len(e.rdata) + len(e.sigs.Packed())) }

// fresh tells whether the signatures are good for an answer and not due to be made anew.
func (e *entry) fresh(now int64) bool { return e.inception <= now && now < e.renewal }

// ways is how many places an entry may be in.
const ways = 8

// part is places for entries in groups of ways. An entry is in the group that its digest
// says, if it is there.
type part struct {
	places  []atomic.Pointer[entry]
	most    int64 // octets
	octets  atomic.Int64
	entries atomic.Int64

	mu   sync.Mutex // held to change places
	hand int        // where room was made last
}

func newPart(entries, octets int) part {
	return part{places: make([]atomic.Pointer[entry], max(entries/ways, 1)*ways), most: int64(octets)}
}

// group gives the places of a digest.
func (p *part) group(d *digest) []atomic.Pointer[entry] {
	i := binary.LittleEndian.Uint64(d[:]) % uint64(len(p.places)/ways) * ways
	return p.places[i : i+ways]
}

// find gives the entry of a digest, or nil.
func (p *part) find(d *digest) *entry {
	group := p.group(d)
	for i := range group {
		if e := group[i].Load(); e != nil && e.digest == *d {
			if !e.asked.Load() {
				e.asked.Store(true)
			}
			return e
		}
	}
	return nil
}

// put puts an entry in the place of the one with its digest, or of one that was not asked
// for lately, unless it is larger than all of the part.
func (p *part) put(e *entry) {
	if e.size() > p.most {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(p.room(e), e)
	for p.octets.Load() > p.most {
		p.hand = (p.hand + 1) % len(p.places)
		if at := &p.places[p.hand]; at.Load() != e {
			p.set(at, nil)
		}
	}
}

// room gives the place for an entry. mu is held.
func (p *part) room(e *entry) *atomic.Pointer[entry] {
	group := p.group(&e.digest)
	var empty, idle *atomic.Pointer[entry]
	for i := range group {
		switch old := group[i].Load(); {
		case old == nil:
			empty = &group[i]
		case old.digest == e.digest:
			return &group[i]
		case !old.asked.Load():
			idle = &group[i]
		}
	}
	switch {
	case empty != nil:
		return empty
	case idle != nil:
		return idle
	}
	for i := range group {
		group[i].Load().asked.Store(false)
	}
	return &group[binary.LittleEndian.Uint64(e.digest[8:])%ways]
}

// set puts an entry, or nil, into a place. mu is held.
func (p *part) set(at *atomic.Pointer[entry], e *entry) {
	if old := at.Load(); old != nil {
		p.octets.Add(-old.size())
		p.entries.Add(-1)
	}
	if e != nil {
		p.octets.Add(e.size())
		p.entries.Add(1)
	}
	at.Store(e)
}
