package ratelimit

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"net/netip"
)

// address is that of a sender, in two halves. That of IPv4 stands at the left of
// the first.
type address struct {
	hi, lo uint64
	six    bool
}

// addressOf gives that of a, which is valid. A zone does not count.
func addressOf(a netip.Addr) address {
	if a.Is4() || a.Is4In6() {
		b := a.As4()
		return address{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	b := a.As16()
	return address{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:]), true}
}

// key is the secret of a hash, so that nobody can choose what meets in a table.
type key struct {
	words [4]uint64
	seed  maphash.Seed // for names
}

func newKey() key {
	k := key{seed: maphash.MakeSeed()}
	for i := range k.words {
		k.words[i] = rand.Uint64()
	}
	return k
}

// hash gives a hash of three words by multiplication, as the runtime of Go hashes
// where the processor has no AES. It is not 0.
func (k *key) hash(a, b, c uint64) uint64 {
	x := fold(a^k.words[0], b^k.words[1])
	return fold(x^k.words[2], c^k.words[3]) | 1<<32
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
