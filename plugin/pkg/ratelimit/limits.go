package ratelimit

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// Class is a kind of response that has limits of its own, or Requests.
type Class uint8

const (
	Positive Class = iota // an answer: its account is that of the name and type in the question
	NoData                // no records of the type: that of the name
	NXDomain              // no such name: that of the zone
	Referral              // that of the cut
	Error                 // that of the network
	Octets                // by which responses are larger than their requests, in addition to the account by class: that of the network
	all                   // all of a network, in addition
	Requests              // not a response: before the lookup

	accountClasses = all + 1
	classes        = Requests + 1
)

// Classes gives those that decisions are counted by.
func Classes() []Class { return []Class{Positive, NoData, NXDomain, Referral, Error, Octets, Requests} }

// String gives the word for the class that metrics use.
func (c Class) String() string {
	switch c {
	case Positive:
		return "response"
	case NoData:
		return "nodata"
	case NXDomain:
		return "nxdomain"
	case Referral:
		return "referral"
	case Error:
		return "error"
	case Octets:
		return "octets"
	case Requests:
		return "request"
	default:
		return "unknown"
	}
}

// Decision is what to do with a request or a response.
type Decision uint8

const (
	Pass      Decision = iota // go on
	Exempt                    // go on: no limit applies
	Truncate                  // answer with TC and no records, that the sender may ask over TCP
	BadCookie                 // answer BADCOOKIE with a cookie, that the sender may ask with it
	Leak                      // send the error as it is, as one of several
	Refuse                    // answer REFUSED
	Drop                      // send nothing

	decisions = Drop + 1
)

// Decisions gives all there are.
func Decisions() []Decision {
	return []Decision{Pass, Exempt, Truncate, BadCookie, Leak, Refuse, Drop}
}

// String gives the word for the decision that metrics use.
func (d Decision) String() string {
	switch d {
	case Pass:
		return "pass"
	case Exempt:
		return "exempt"
	case Truncate:
		return "truncate"
	case BadCookie:
		return "badcookie"
	case Leak:
		return "leak"
	case Refuse:
		return "refuse"
	case Drop:
		return "drop"
	default:
		return "unknown"
	}
}

// GoesOn tells whether the request or response goes on as it is.
func (d Decision) GoesOn() bool { return d == Pass || d == Exempt || d == Leak }

// Action is what becomes of requests that are too many.
type Action uint8

const (
	DropRequest     Action = iota // no response
	RefuseRequest                 // REFUSED
	TruncateRequest               // TC or BADCOOKIE at the rate of slips, else no response; REFUSED where the address is proven
)

// Cookie is what the DNS cookie of a request says of its sender (RFC 7873).
type Cookie uint8

const (
	NoCookie    Cookie = iota // nothing
	AsksCookie                // it understands cookies but has none of ours that is valid
	ValidCookie               // it was reached at its address
)

// Config is the settings of a table. The zero value of a limit is none.
type Config struct {
	Rates  [Error + 1]int // responses a second of an account, by class
	Octets int            // a second to a network, by which responses are larger than their requests
	All    int            // responses a second to a network

	Window  time.Duration // how far an account may be in debt, in whole seconds of its rate; and how long limits act. At least a second
	Slip    int           // of so many responses that are limited one is sent in a form that does no harm; 0: none; at most MaxSlip
	Prefix4 int           // length of the prefix of an IPv4 network in accounts, in bits
	Prefix6 int           // of an IPv6 network

	Requests int    // requests a second of one address, by counters as in Knot DNS
	Action   Action // of those that are too many

	Entries int // room for so many accounts, and twice as many counters

	Exempt       []netip.Prefix // networks without limits
	ExemptCookie bool           // senders with a valid cookie have no limit of requests either

	DryRun bool          // decisions are counted, and Pass
	Log    time.Duration // a network is reported to begin to be limited at most so often
}

// Bounds of a Config.
const (
	MaxSlip    = 10
	MaxRate    = 1_000_000   // responses or requests a second
	MaxOctets  = 100_000_000 // a second
	MaxWindow  = time.Hour
	maxDebt    = 1<<(balanceBits-1) - 1
	MinEntries = 500
	MaxEntries = 1 << 27
	MaxLog     = 24 * time.Hour
)

const (
	smallAnswer = 512 // octets that every response may have while limits act
	unit        = 32  // octets that are charged at once
)

// Validate tells what is wrong with the settings.
func (c *Config) Validate() error {
	seconds := int64(c.Window / time.Second)
	for i, n := range append(c.Rates[:], c.All, c.Requests) {
		what := "all"
		switch {
		case i < len(c.Rates):
			what = Class(i).String()
		case i > len(c.Rates):
			what = "requests"
		}
		if n < 0 || n > MaxRate {
			return fmt.Errorf("%s: %d is not a rate: want 0 to %d", what, n, MaxRate)
		}
		if i <= len(c.Rates) && int64(n)*seconds > maxDebt {
			return fmt.Errorf("%s: the rate %d is too high for the window of %v: at most %d responses in it", what, n, c.Window, maxDebt)
		}
	}
	switch {
	case c.Octets < 0 || c.Octets > MaxOctets:
		return fmt.Errorf("octets: %d is not a rate: want 0 to %d", c.Octets, MaxOctets)
	case units(c.Octets)*seconds > maxDebt:
		return fmt.Errorf("octets: the rate %d is too high for the window of %v: at most %d octets in it", c.Octets, c.Window, maxDebt*unit)
	case c.Window < time.Second || c.Window > MaxWindow || c.Window%time.Second != 0:
		return fmt.Errorf("%v is not a window: want 1s to %v, in whole seconds", c.Window, MaxWindow)
	case c.Slip < 0 || c.Slip > MaxSlip:
		return fmt.Errorf("%d is not a slip: want 0 to %d", c.Slip, MaxSlip)
	case c.Prefix4 < 1 || c.Prefix4 > 32:
		return fmt.Errorf("%d is not a length of an IPv4 prefix: want 1 to 32", c.Prefix4)
	case c.Prefix6 < 1 || c.Prefix6 > 128:
		return fmt.Errorf("%d is not a length of an IPv6 prefix: want 1 to 128", c.Prefix6)
	case c.Entries < MinEntries || c.Entries > MaxEntries:
		return fmt.Errorf("%d is not a size of the table: want %d to %d", c.Entries, MinEntries, MaxEntries)
	case c.Log < time.Second || c.Log > MaxLog:
		return fmt.Errorf("%v is not a period of the log: want 1s to %v", c.Log, MaxLog)
	}
	return nil
}

// units gives how many units octets are, rounded up.
func units(octets int) int64 { return (int64(octets) + unit - 1) / unit }

// An Event is that a network begins to be limited.
type Event struct {
	Prefix   netip.Prefix
	Class    Class
	Name     string // of the account, or in the question, as it was given
	Type     uint16 // in the question
	Decision Decision
}

// Table is the accounts and counters of a server block. Its methods may be called
// concurrently. Its size does not change.
type Table struct {
	config   Config
	start    time.Time
	window   uint32 // seconds
	log      uint32
	hi4      uint64 // masks of accounts
	hi6, lo6 uint64
	key      key
	limited  bool // there is a limit of responses

	accounts  *accounts
	counters  *counters
	acting    *recent
	logged    *recent
	offenders *sketch
	began     func(Event)
}

// New makes a table for settings that are valid. now is the time, by whatever clock
// later calls go. began is called when a network begins to be limited, at most once in
// Config.Log for each, by the goroutine that asks for the decision; it may be nil.
func New(c Config, now time.Time, began func(Event)) (*Table, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	r := rules{window: int64(c.Window / time.Second), slip: int64(c.Slip)}
	t := &Table{config: c, start: now, window: uint32(r.window), log: uint32(c.Log / time.Second), key: newKey(), began: began}
	for i, n := range c.Rates {
		r.rates[i] = int64(n)
		t.limited = t.limited || n > 0
	}
	r.rates[Octets], r.rates[all] = units(c.Octets), int64(c.All)
	t.limited = t.limited || c.Octets > 0 || c.All > 0
	t.hi4, _ = mask(c.Prefix4, false)
	t.hi6, t.lo6 = mask(c.Prefix6, true)
	t.acting, t.logged, t.offenders = newRecent(c.Entries/4), newRecent(c.Entries/4), newSketch()
	if t.limited {
		t.accounts = newAccounts(c.Entries, r)
	}
	if c.Requests > 0 {
		t.counters = newCounters(2*c.Entries, c.Requests, &t.key)
	}
	return t, nil
}

// Entries gives how many accounts had a response within the window.
func (t *Table) Entries(now time.Time) int {
	if t.accounts == nil {
		return 0
	}
	return t.accounts.live(t.second(now))
}

// Top gives the n networks that were limited most in this period and the one before,
// by an estimate in fixed memory.
func (t *Table) Top(n int) []Offender { return top(t.offenders.both(), n) }

// Turn begins a period of Top and gives the n networks that were limited most in the
// one that ends.
func (t *Table) Turn(n int) []Offender { return top(t.offenders.turn(), n) }

// second gives the time in seconds since a moment before the first call, so that no
// mark is 0.
func (t *Table) second(now time.Time) uint32 {
	return uint32(max(now.Sub(t.start), 0)/time.Second) + 1
}

// network gives the hash of the network of an address in accounts.
func (t *Table) network(a address) uint64 {
	if a.six {
		return t.key.hash(a.hi&t.hi6, a.lo&t.lo6, 6)
	}
	return t.key.hash(a.hi&t.hi4, 0, 4)
}

// respond charges the accounts of a response.
func (t *Table) respond(network uint64, second uint32, c Class, name string, qtype uint16, evictions *atomic.Uint64) verdict {
	v := pass
	if a := t.accounts; a.rates[c] > 0 {
		var h uint64
		switch c {
		case Positive:
			h = maphash.String(t.key.seed, name)
		case Error:
			qtype = 0
		default:
			h, qtype = maphash.String(t.key.seed, name), 0
		}
		v = a.debit(t.key.hash(network, h, uint64(c)<<16|uint64(qtype)), second, c, 1, evictions)
	}
	if a := t.accounts; a.rates[all] > 0 {
		if w := a.debit(t.key.hash(network, 0, uint64(all)<<16), second, all, 1, evictions); w != pass {
			v = w // BIND: that of all is charged in addition, and its verdict wins
		}
	}
	return v
}

// Counts is how many decisions there were, by class and decision.
type Counts struct {
	n         [classes][decisions]atomic.Uint64
	evictions atomic.Uint64
	_         [64]byte // what others count stands in other cache lines
}

// Of gives how many there were.
func (c *Counts) Of(class Class, d Decision) uint64 { return c.n[class][d].Load() }

// Evictions gives how many accounts had to go that had a response within the window.
func (c *Counts) Evictions() uint64 { return c.evictions.Load() }

// Limits takes decisions by a table and counts them. It may be used concurrently;
// one for each goroutine is faster.
type Limits struct {
	table  *Table
	counts *Counts
}

// Limits gives one that counts in c.
func (t *Table) Limits(c *Counts) *Limits { return &Limits{t, c} }

// Insistence tells when a query over UDP needs a valid cookie.
type Insistence uint8

const (
	Never       Insistence = iota // it needs none
	WhenLimited                   // while limits act upon its network, if it has a client cookie
	Always                        // whatever else is
)

// A Client is what is known of the sender of a request, and what Request finds out
// for Response.
type Client struct {
	Addr   netip.Addr // where responses go; invalid if that is not known, and then it has no limits
	Stream bool       // it was reached there, by the handshake of its transport
	Exempt bool       // it has no limits
	Cookie Cookie
	Insist Insistence

	Name string // in the question, for Event; valid until the decision is there
	Type uint16
	Size int // of the request, in octets

	exempt  bool
	acting  bool
	stopped bool // but for a dry run
}

// Acting tells whether limits acted upon the network when Request was called.
func (c *Client) Acting() bool { return c.acting }

// proven tells whether the sender was reached at its address.
func (c *Client) proven() bool { return c.Stream || c.Cookie == ValidCookie }

// Insisted gives what becomes of a request without the cookie that it always needs:
// BadCookie or Truncate, which tell the client how to come again; Pass for others.
func (c *Client) Insisted() Decision {
	switch {
	case c.Insist != Always || c.proven():
		return Pass
	case c.Cookie == AsksCookie:
		return BadCookie
	default:
		return Truncate
	}
}

// Request decides about a request before it is answered, and counts it. Those whose
// sender is proven count apart from others, so that who forges an address spends
// nothing of what is of the one who has it. The time is that of the clock that the
// table was made with.
func (l *Limits) Request(now time.Time, c *Client) Decision {
	t := l.table
	c.exempt, c.acting, c.stopped = c.Exempt || !c.Addr.IsValid() || t.exempts(c), false, false
	d := Exempt
	if !c.exempt {
		d = l.request(now, c)
	} else if insisted := c.Insisted(); insisted != Pass {
		d = insisted
	}
	l.counts.n[Requests][d].Add(1)
	if t.config.DryRun {
		c.stopped = !d.GoesOn()
		return c.Insisted()
	}
	return d
}

func (l *Limits) request(now time.Time, c *Client) Decision {
	t := l.table
	a := addressOf(c.Addr)
	proven := c.proven()
	if t.counters != nil && !t.counters.allow(a, uint64(max(now.Sub(t.start), 0)/time.Millisecond), proven) {
		d := t.overBudget(c, proven)
		t.note(now, c, Event{Class: Requests, Name: c.Name, Type: c.Type, Decision: d})
		return d
	}
	second, d := t.second(now), c.Insisted()
	if proven || d == Pass && t.acting.quiet(second, t.window) {
		return Pass
	}
	network := t.network(a)
	c.acting = t.acting.within(network, second, t.window)
	switch {
	case d != Pass:
	case c.acting && c.Insist == WhenLimited && c.Cookie == AsksCookie:
		d = BadCookie
	default:
		return Pass
	}
	// It may be larger than the request, so it has an account, too.
	if t.limited && t.respond(network, second, Error, "", 0, &l.counts.evictions) == drop {
		t.note(now, c, Event{Class: Requests, Name: c.Name, Type: c.Type, Decision: Drop})
		return Drop
	}
	return d
}

// overBudget decides about one request of too many.
func (t *Table) overBudget(c *Client, proven bool) Decision {
	switch t.config.Action {
	case RefuseRequest:
		return Refuse
	case TruncateRequest:
		switch slip := t.config.Slip; {
		case proven:
			return Refuse
		case slip == 0 || slip > 1 && rand.IntN(slip) > 0:
			return Drop
		case c.Cookie == AsksCookie:
			return BadCookie
		default:
			return Truncate
		}
	default:
		return Drop
	}
}

// exempts tells whether the sender has no limits.
func (t *Table) exempts(c *Client) bool {
	if t.config.ExemptCookie && c.Cookie == ValidCookie {
		return true
	}
	if len(t.config.Exempt) == 0 {
		return false
	}
	addr := c.Addr.Unmap().WithZone("")
	for _, p := range t.config.Exempt {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// A Response is what a response is charged by.
type Response struct {
	Class Class // none of Octets and Requests
	// Name is a canonical form of the name that the account of the class is for; for
	// a positive answer from a wildcard, and one by a DNAME record, the name of these.
	// It is valid until the decision is there.
	Name string
	Type uint16 // in the question
	Size int    // octets
}

// Response decides about the response to a request for which Request let it go on.
func (l *Limits) Response(now time.Time, c *Client, r *Response) Decision {
	t := l.table
	if c.stopped { // there would be none
		return Pass
	}
	d, class := Exempt, r.Class
	if !c.exempt && !c.proven() {
		d, class = l.response(now, c, r)
	}
	l.counts.n[class][d].Add(1)
	if t.config.DryRun {
		return Pass
	}
	return d
}

// response gives the class of the limit, too.
func (l *Limits) response(now time.Time, c *Client, r *Response) (Decision, Class) {
	t := l.table
	v, class := pass, r.Class
	if t.limited {
		network, second := t.network(addressOf(c.Addr)), t.second(now)
		v = t.respond(network, second, r.Class, r.Name, r.Type, &l.counts.evictions)
		if more := units(r.Size - c.Size); v == pass && more > 0 && t.accounts.rates[Octets] > 0 {
			if v = t.accounts.debit(t.key.hash(network, 0, uint64(Octets)<<16), second, Octets, more, &l.counts.evictions); v != pass {
				class = Octets
			}
		}
	}
	d := Drop
	switch {
	case v == pass && c.acting && r.Size > smallAnswer:
		return Truncate, class
	case v == pass:
		return Pass, class
	case v == drop:
	case r.Class == Error:
		d = Leak
	case c.Cookie == AsksCookie:
		d = BadCookie
	default:
		d = Truncate
	}
	t.note(now, c, Event{Class: class, Name: r.Name, Type: r.Type, Decision: d})
	return d, class
}

// note takes note of a network that is limited.
func (t *Table) note(now time.Time, c *Client, e Event) {
	network, second := t.network(addressOf(c.Addr)), t.second(now)
	t.acting.mark(network, second, 0)
	addr, length := c.Addr.Unmap(), t.config.Prefix6
	if addr.Is4() {
		length = t.config.Prefix4
	}
	e.Prefix, _ = addr.WithZone("").Prefix(length) // the length was checked
	t.offenders.add(e.Prefix)
	if t.began != nil && !t.logged.within(network, second, t.log) && !t.logged.mark(network, second, t.log) {
		e.Name = strings.Clone(e.Name)
		t.began(e)
	}
}
