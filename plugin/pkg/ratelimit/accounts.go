package ratelimit

import (
	"math/bits"
	"runtime"
	"sync/atomic"
)

// ways is how many accounts a set has.
const ways = 7

// set is the accounts that share a place in the table, in two cache lines: what
// tells them apart, and their states. Accounts that find no room, because all that
// are there are in debt, share one.
type set struct {
	tags   [ways]atomic.Uint64 // hashes; 0: no account
	lock   atomic.Uint64       // held to put an account into the set, not to use one
	states [ways]atomic.Uint64
	shared atomic.Uint64 // 0: not used yet
}

// accounts is a table of accounts by hash.
type accounts struct {
	rules
	sets []set
}

func newAccounts(entries int, r rules) *accounts {
	return &accounts{rules: r, sets: make([]set, (entries+ways-1)/ways)}
}

// debit charges the account of hash h, which is not 0, so much for a response of class
// c. It counts accounts that have to go.
func (a *accounts) debit(h uint64, second uint32, c Class, charge int64, evictions *atomic.Uint64) verdict {
	n, _ := bits.Mul64(h, uint64(len(a.sets)))
	s := &a.sets[n]
	for {
		for i := range s.tags {
			if s.tags[i].Load() == h {
				if v, ok := a.debitAt(s, i, h, second, charge); ok {
					return v
				}
				break
			}
		}
		if v, ok := a.enter(s, h, second, c, charge, evictions); ok {
			return v
		}
	}
}

// debitAt charges the account at a place, if it is still there that of hash h.
func (a *accounts) debitAt(s *set, i int, h uint64, second uint32, charge int64) (verdict, bool) {
	for {
		old := s.states[i].Load()
		if s.tags[i].Load() != h { // else old is the state of this account
			return 0, false
		}
		next, v := a.rules.debit(state(old), second, charge)
		if s.states[i].CompareAndSwap(old, uint64(next)) {
			return v, true
		}
	}
}

// enter opens an account and charges it. It is false if the account is there by now.
func (a *accounts) enter(s *set, h uint64, second uint32, c Class, charge int64, evictions *atomic.Uint64) (verdict, bool) {
	for !s.lock.CompareAndSwap(0, 1) {
		runtime.Gosched() // until another goroutine has looked through these few
	}
	defer s.lock.Store(0)
	for {
		for i := range s.tags {
			if s.tags[i].Load() == h {
				return 0, false
			}
		}
		i := a.victim(s, second)
		if i < 0 {
			return a.debitShared(s, second, c, charge), true
		}
		tag, old := s.tags[i].Load(), s.states[i].Load()
		s.tags[i].Store(0)
		if balance, _ := a.credited(state(old), second); tag != 0 && balance < 0 {
			s.tags[i].Store(tag) // it came into debt just now
			continue
		}
		next, v := a.rules.debit(a.fresh(second, c), second, charge)
		if !s.states[i].CompareAndSwap(old, uint64(next)) {
			s.tags[i].Store(tag)
			continue
		}
		s.tags[i].Store(h)
		if tag != 0 && state(old).age(second) <= a.window {
			evictions.Add(1)
		}
		return v, true
	}
}

// victim gives the place that a new account gets: one without an account, or that
// of the account that was used least of late and is not in debt; -1 if all are.
func (a *accounts) victim(s *set, second uint32) int {
	found, oldest, most := -1, int64(-1), int64(0)
	for i := range s.tags {
		if s.tags[i].Load() == 0 {
			return i
		}
		old := state(s.states[i].Load())
		balance, _ := a.credited(old, second)
		if age := old.age(second); balance >= 0 && (age > oldest || age == oldest && balance > most) {
			found, oldest, most = i, age, balance
		}
	}
	return found
}

// debitShared charges the account of those that have none.
func (a *accounts) debitShared(s *set, second uint32, c Class, charge int64) verdict {
	for {
		old := s.shared.Load()
		account := state(old)
		if old == 0 {
			account = a.fresh(second, c)
		}
		// What it holds is of several classes; it goes by that of the response.
		account = newState(account.second(), c, account.slips(), account.balance())
		next, v := a.rules.debit(account, second, charge)
		if s.shared.CompareAndSwap(old, uint64(next)) {
			return v
		}
	}
}

// live gives how many accounts had a response within the window.
func (a *accounts) live(second uint32) int {
	n := 0
	for i := range a.sets {
		s := &a.sets[i]
		for j := range s.tags {
			if s.tags[j].Load() != 0 && state(s.states[j].Load()).age(second) <= a.window {
				n++
			}
		}
	}
	return n
}
