package main

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// signer signs requests with TSIG and checks the signatures of their responses (RFC
// 8945). It takes about a microsecond for each.
type signer struct {
	chain *chain
	mac   []byte // of the last request
}

// signedFudge is how far clocks may be apart, in seconds.
const signedFudge = 300

// newSigner makes a signer with a key for HMAC-SHA256.
func newSigner(key *server.Key) (*signer, error) {
	c, err := newChain(key, nil)
	if err != nil {
		return nil, err
	}
	return &signer{chain: c}, nil
}

// sign appends a TSIG record to a message that has none, signed at that time, in
// seconds since 1970.
func (s *signer) sign(m []byte, at uint64) []byte {
	c := s.chain
	times := binary.BigEndian.AppendUint64(make([]byte, 0, 16), at<<16|signedFudge)
	c.mac.Reset()
	c.mac.Write(m)
	c.mac.Write(c.name)
	c.mac.Write([]byte{0, dns.ClassANY, 0, 0, 0, 0})
	c.mac.Write([]byte(algorithm))
	c.mac.Write(times)
	c.mac.Write([]byte{0, 0, 0, 0}) // no error, no other data
	s.mac = c.mac.Sum(s.mac[:0])

	id := [2]byte(m)
	m = append(m, c.record...)
	m = binary.BigEndian.AppendUint16(m, uint16(c.tail-len(c.record)-2))
	m = append(m, algorithm...)
	m = append(m, times...)
	m = append(m, 0, sha256.Size)
	m = append(m, s.mac...)
	m = append(m, id[:]...)
	m = append(m, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(m[10:], binary.BigEndian.Uint16(m[10:])+1)
	return m
}

// verify checks the signature of the response to the last request.
func (s *signer) verify(m []byte) error {
	s.chain.first, s.chain.unsigned = true, 0
	s.chain.prior(s.mac)
	return s.chain.add(m)
}
