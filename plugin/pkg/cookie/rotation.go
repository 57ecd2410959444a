package cookie

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
)

// MinRotation is how long a secret must be in use that is followed by another, in
// seconds: until no cookie of the one before it is valid.
const MinRotation = maxAge + maxAhead

// Rotation is a secret that is made at random and replaced from time to time. For as
// long as cookies made with the one before are valid, they are taken. The zero value
// is ready for use. Its methods may be called concurrently.
type Rotation struct {
	current atomic.Pointer[turn]
	mu      sync.Mutex // for those who replace current
}

// turn is a time in which the secrets are the same.
type turn struct {
	secrets  *Secrets
	sign     Secret
	made     uint32 // when sign was
	previous bool   // the one before is taken, too
}

// over tells whether the turn is over, with a secret replaced after every so many
// seconds.
func (t *turn) over(now, every uint32) bool {
	age := now - t.made + maxAhead // a clock may be set back a little
	return age >= every+maxAhead || t.previous && age >= MinRotation+maxAhead
}

// Secrets gives the secrets of a time, in seconds since 1970, for a secret that is
// replaced after every so many seconds, MinRotation at least.
func (r *Rotation) Secrets(now, every uint32) *Secrets {
	if t := r.current.Load(); t != nil && !t.over(now, every) {
		return t.secrets
	}
	return r.next(now, every)
}

func (r *Rotation) next(now, every uint32) *Secrets {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.current.Load()
	if t != nil && !t.over(now, every) { // somebody was first
		return t.secrets
	}
	n := &turn{made: now}
	if t != nil && now-t.made+maxAhead < every+maxAhead {
		n.sign, n.made = t.sign, t.made
		n.secrets = NewSecrets(n.sign)
	} else {
		_, _ = rand.Read(n.sign[:]) // it never fails
		if t == nil {
			n.secrets = NewSecrets(n.sign)
		} else {
			n.secrets, n.previous = NewSecrets(n.sign, t.sign), true
		}
	}
	r.current.Store(n)
	return n.secrets
}
