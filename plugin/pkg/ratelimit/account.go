package ratelimit

// state is an account in one word, so that it changes at once: the second of its
// last response, class, count of slips, and balance in responses
// or units of octets.
//
//	 63        32 31  28 27  24 23       0
//	┌────────────┬──────┬──────┬──────────┐
//	│   second   │ class│ slips│ balance  │
//	└────────────┴──────┴──────┴──────────┘
type state uint64

const balanceBits = 24

func newState(second uint32, c Class, slips, balance int64) state {
	return state(second)<<32 | state(c)<<28 | state(slips)<<balanceBits | state(balance)&(1<<balanceBits-1)
}

func (s state) second() uint32 { return uint32(s >> 32) }
func (s state) class() Class   { return Class(s >> 28 & 0xf) }
func (s state) slips() int64   { return int64(s >> balanceBits & 0xf) }
func (s state) balance() int64 { return int64(int32(s<<8) >> 8) }

// age gives how many seconds ago the last response was: 0 if the clock was set back.
func (s state) age(second uint32) int64 { return max(int64(second)-int64(s.second()), 0) }

// verdict is what becomes of a response by its account.
type verdict uint8

const (
	pass verdict = iota
	slip         // the sender may know
	drop
)

// rules are what accounts go by.
type rules struct {
	rates  [accountClasses]int64 // responses a second
	window int64                 // seconds
	slip   int64                 // of so many responses that are limited one slips; 0: none
}

// credited gives the balance and slips of an account after what it got since its
// last response.
func (r *rules) credited(s state, second uint32) (balance, slips int64) {
	rate, age := r.rates[s.class()], s.age(second)
	switch balance = s.balance() + age*rate; {
	case age > r.window:
		return rate, 0
	case balance > rate:
		return rate, 0
	}
	return balance, s.slips()
}

// fresh is an account that has had no response yet.
func (r *rules) fresh(second uint32, c Class) state { return newState(second, c, 0, r.rates[c]) }

// debit charges an account so much for a response. The arithmetic is that of BIND.
func (r *rules) debit(s state, second uint32, charge int64) (state, verdict) {
	c := s.class()
	balance, slips := r.credited(s, second)
	balance = max(balance-charge, -r.window*r.rates[c])
	v := pass
	if balance < 0 {
		v = drop
		if r.slip > 0 && c != all {
			if slips == 0 {
				v = slip
			}
			if slips++; slips >= r.slip {
				slips = 0
			}
		}
	}
	return newState(max(second, s.second()), c, slips, balance), v
}
