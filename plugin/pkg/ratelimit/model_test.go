package ratelimit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// model is an exact and slow twin of a Table: maps that grow, and numbers with
// fractions. It is written after the descriptions of BIND and Knot DNS, not after
// the code beside it.
type model struct {
	config   Config
	start    time.Time
	accounts map[string]*modelAccount
	counters map[string]*modelCounter
	limited  map[netip.Prefix]int // the second
}

type modelAccount struct{ at, balance, slips int }

type modelCounter struct {
	at    time.Time
	value float64 // requests
}

func (m *model) network(a netip.Addr) netip.Prefix {
	n := m.config.Prefix6
	if a.Is4() {
		n = m.config.Prefix4
	}
	return netip.PrefixFrom(a, n).Masked()
}

func (m *model) seconds(now time.Time) int { return int(now.Sub(m.start).Seconds()) }

func (m *model) debit(account string, now time.Time, rate, charge int, slips bool) verdict {
	second, window := m.seconds(now), int(m.config.Window.Seconds())
	e := m.accounts[account]
	if e == nil {
		e = &modelAccount{second, rate, 0}
		m.accounts[account] = e
	}
	age := second - e.at
	e.at = second
	switch {
	case age > window:
		e.balance, e.slips = rate, 0
	case e.balance+age*rate > rate:
		e.balance, e.slips = rate, 0
	default:
		e.balance += age * rate
	}
	e.balance -= charge
	if e.balance >= 0 {
		return pass
	}
	if e.balance < -window*rate {
		e.balance = -window * rate
	}
	if m.config.Slip == 0 || !slips {
		return drop
	}
	e.slips++
	if e.slips%m.config.Slip == 1%m.config.Slip {
		return slip
	}
	return drop
}

func (m *model) response(now time.Time, c *Client, r *Response) Decision {
	network := m.network(c.Addr)
	key := fmt.Sprint(network, r.Class)
	switch r.Class {
	case Positive:
		key = fmt.Sprint(key, r.Name, " ", r.Type)
	case Error:
	default:
		key = fmt.Sprint(key, r.Name)
	}
	v := pass
	if rate := m.config.Rates[r.Class]; rate > 0 {
		v = m.debit(key, now, rate, 1, true)
	}
	if m.config.All > 0 {
		if w := m.debit(fmt.Sprint(network), now, m.config.All, 1, false); w != pass {
			v = w
		}
	}
	if more := (r.Size - c.Size + 31) / 32; v == pass && more > 0 && m.config.Octets > 0 {
		v = m.debit(fmt.Sprint(network, " octets"), now, (m.config.Octets+31)/32, more, true)
	}
	second, ok := m.limited[network]
	acting := ok && m.seconds(now)-second <= int(m.config.Window.Seconds())
	if v != pass {
		m.limited[network] = m.seconds(now)
	}
	switch {
	case c.Stream || c.Cookie == ValidCookie:
		panic("not asked")
	case v == pass && acting && r.Size > 512:
		return Truncate
	case v == pass:
		return Pass
	case v == drop:
		return Drop
	case r.Class == Error:
		return Leak
	case c.Cookie == AsksCookie:
		return BadCookie
	default:
		return Truncate
	}
}

// request counts one that the table has let pass or not, and tells whether it was
// right to; what is too close to the limit to tell is right either way.
func (m *model) request(now time.Time, c *Client, passed bool) bool {
	rate := float64(m.config.Requests)
	capacity := math.Floor(2.5 * rate)
	lengths := map[int]float64{32: 1, 24: 32, 20: 256, 18: 768}
	if c.Addr.Is6() {
		lengths = map[int]float64{128: 1, 64: 2, 56: 3, 48: 4, 32: 64}
	}
	fits, close := true, false
	var found []*modelCounter
	for length, multiple := range lengths {
		key := fmt.Sprint(netip.PrefixFrom(c.Addr, length).Masked(), c.proven())
		n := m.counters[key]
		if n == nil {
			n = &modelCounter{at: now}
			m.counters[key] = n
		}
		n.value *= math.Pow(1-1/capacity, 1.01*rate*now.Sub(n.at).Seconds())
		n.at = now
		room := capacity*multiple - n.value
		fits = fits && room >= 1
		close = close || math.Abs(room-1) < 0.1*multiple // the table has whole milliseconds
		found = append(found, n)
	}
	if passed {
		for _, n := range found {
			n.value++
		}
	}
	return passed == fits || close
}

// Random traffic gets from the table what it gets from the model, one by one.
func TestModel(t *testing.T) {
	var n, limited int
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			c := Config{
				Window: time.Duration(1+random.IntN(20)) * time.Second, Slip: random.IntN(5),
				Prefix4: 16 + random.IntN(17), Prefix6: 40 + random.IntN(60), Entries: 1 << 18, Log: time.Second,
				Requests: 10 + random.IntN(50), Action: DropRequest,
			}
			for i := range c.Rates {
				c.Rates[i] = random.IntN(8)
			}
			if random.IntN(2) == 0 {
				c.All = 10 + random.IntN(20)
			}
			if random.IntN(2) == 0 {
				c.Octets = 100 + random.IntN(5000)
			}
			start := time.Now()
			table, err := New(c, start, nil)
			if err != nil {
				t.Fatal(err)
			}
			l := table.Limits(new(Counts))
			m := &model{c, start, map[string]*modelAccount{}, map[string]*modelCounter{}, map[netip.Prefix]int{}}
			for range 20_000 {
				if random.IntN(100) == 0 {
					time.Sleep(time.Duration(random.ExpFloat64() * float64(time.Second)))
				}
				addr := netip.AddrFrom4([4]byte{192, 0, byte(random.IntN(3)), byte(random.IntN(2))})
				if random.IntN(3) == 0 {
					addr = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, byte(random.IntN(3)), byte(random.IntN(3)), 15: byte(random.IntN(2))})
				}
				from := &Client{Addr: addr, Cookie: Cookie(random.IntN(3)), Stream: random.IntN(10) == 0, Size: 30 + random.IntN(600)}
				now := time.Now()
				d := l.Request(now, from)
				if !m.request(now, from, d == Pass) {
					t.Fatalf("seed %d: request %d: %+v: %v", seed, n, from, d)
				}
				n++
				if d != Pass {
					limited++
					m.limited[m.network(addr)] = m.seconds(now)
					continue
				}
				r := &Response{Class: Class(random.IntN(5)), Name: fmt.Sprint(random.IntN(3)), Type: uint16(random.IntN(3)), Size: 400 + random.IntN(200)}
				got := l.Response(now, from, r)
				want := Exempt
				if !from.Stream && from.Cookie != ValidCookie {
					want = m.response(now, from, r)
				}
				if got != want {
					t.Fatalf("seed %d: response %d: %+v %+v: %v, want %v", seed, n, from, r, got, want)
				}
				if got != Pass && got != Exempt {
					limited++
				}
			}
		})
	}
	if limited < n/10 || limited > n*9/10 {
		t.Errorf("%d of %d were limited: the test sees too little", limited, n)
	}
}
