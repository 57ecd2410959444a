package zone

import (
	"crypto/sha1"
	"encoding/base32"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/trie"
)

// Signed tells whether the zone can prove what is not there: it has an NSEC or an
// NSEC3 chain.
func (s *Snapshot) Signed() bool { return s.nsec || s.nsec3 != nil }

// negative completes an answer that the name or the type does not exist: the
// SOA record (RFC 2308 §3) and, if asked for, the proof.
func (s *Snapshot) negative(q *Query, name dnsname.Name, f *found, a *Answer) {
	soa := s.soa.sent(s.soa.Owner, q.DO)
	soa.TTL = min(soa.TTL, s.negTTL)
	soa.Sigs.TTL = min(soa.Sigs.TTL, s.negTTL)
	a.Authority = append(a.Authority, soa)
	if !q.DO || !s.Signed() {
		return
	}
	switch {
	case s.nsec3 != nil:
		s.denyNSEC3(name, f, a)
	case !f.exists: // RFC 4035 §3.1.3.2
		s.cover(f.key, a)
		s.cover(dnsname.AppendChild(f.key[:f.end(f.encloser, a)], "*"), a)
	case f.wildcard != "": // RFC 4035 §3.1.3.4
		s.cover(f.key, a)
		s.cover(dnsname.AppendChild(f.key[:f.end(f.encloser, a)], "*"), a)
	default: // RFC 4035 §3.1.3.1
		s.cover(f.key, a)
	}
}

// expanded notes the wildcard that an RRset was synthesized from, if it was, and
// shows that the name does not exist itself (RFC 4035 §3.1.3.3, RFC 5155 §7.2.6).
func (s *Snapshot) expanded(q *Query, name dnsname.Name, f *found, a *Answer) {
	if f.wildcard == "" {
		return
	}
	a.Wildcard = f.wildcard
	switch {
	case !q.DO || !s.Signed():
	case s.nsec3 != nil:
		s.coverHash(name[f.offset(name, f.encloser+1):], a)
	default:
		s.cover(f.key, a)
	}
}

// cover puts the NSEC RRset of the name of key, or the one that shows that
// there is none, into the authority section.
func (s *Snapshot) cover(key []byte, a *Answer) {
	e, ok := s.names.Below(key, true)
	// Names without NSEC are below a zone cut or a DNAME, which has one.
	for range maxOccluded {
		if !ok {
			return
		}
		n := node{e.Key, e.Value}
		if n.flags()&hasNSEC != 0 {
			s.addProof(n, rrset.TypeNSEC, a)
			return
		}
		var next trie.Entry
		if next, ok = s.occludedBy(e.Key, a); !ok {
			next, ok = s.names.Below([]byte(e.Key), false)
		}
		e = next
	}
}

// maxOccluded bounds the search for an NSEC record in a zone where many are
// missing.
const maxOccluded = 8

// occludedBy gives the topmost zone cut or DNAME above the name of key.
func (s *Snapshot) occludedBy(key string, a *Answer) (trie.Entry, bool) {
	s.names.Find([]byte(key), &a.path)
	for i := range a.path.Len() {
		e := a.path.At(i)
		n := node{e.Key, e.Value}
		if len(e.Key) < len(key) && (n.cut() || n.flags()&hasDNAME != 0) {
			return e, true
		}
	}
	return trie.Entry{}, false
}

// addProof puts the NSEC or NSEC3 RRset of n into the authority section unless
// it is there. Its TTL is that of negative answers (RFC 9077 §3).
func (s *Snapshot) addProof(n node, typ uint16, a *Answer) {
	set, ok := n.set(typ)
	if !ok {
		return
	}
	at := len(a.scratch)
	a.scratch = n.appendOwner(a.scratch, s.origin)
	owner := dnsname.Name(a.keep(at))
	for i := range a.Authority {
		if a.Authority[i].Type == typ && a.Authority[i].Owner.Equal(owner) {
			return
		}
	}
	set.TTL = min(set.TTL, s.negTTL)
	set.Sigs.TTL = min(set.Sigs.TTL, s.negTTL)
	a.addAuthority(owner, set, true)
}

// proveNoDS shows that a delegation is insecure: that the cut has no DS RRset
// (RFC 4035 §3.1.4, RFC 5155 §7.2.7).
func (s *Snapshot) proveNoDS(owner dnsname.Name, labels int, cut node, a *Answer) {
	if s.nsec3 != nil {
		s.matchOrEnclose(owner, labels, a)
		return
	}
	s.addProof(cut, rrset.TypeNSEC, a)
}

// nsec3Params is how the names of the zone are hashed (RFC 5155 §3, §4).
type nsec3Params struct {
	iterations int
	salt       string
}

// hashLabels is the encoding of hashed owners: its order is that of the hashes
// (RFC 5155 §1.3), in the lower case of keys.
var hashLabels = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// findNSEC3 gives the parameters of the NSEC3 chain that the apex names, or nil
// if the zone has none (RFC 5155 §4).
func (s *Snapshot) findNSEC3() (*nsec3Params, error) {
	if s.hashes.Len() == 0 {
		return nil, nil
	}
	set, _ := s.apex().set(rrset.TypeNSEC3PARAM)
	for r := range set.All() {
		// algorithm, flags, iterations (2), length of the salt, salt
		if len(r) < 5 || len(r) != 5+int(r[4]) || r[0] != 1 || r[1] != 0 {
			continue
		}
		p := &nsec3Params{iterations: int(r[2])<<8 | int(r[3]), salt: r[5:]}
		if p.iterations > MaxIterations {
			return nil, ErrIterations
		}
		return p, nil
	}
	return nil, nil
}

// hashKey gives the key of the hashed owner of name (RFC 5155 §5) in buffers
// of a.
func (s *Snapshot) hashKey(name dnsname.Name, a *Answer) []byte {
	at := len(a.scratch)
	a.scratch = dnsname.AppendFold(a.scratch, name)
	a.scratch = append(a.scratch, s.nsec3.salt...)
	h := sha1.Sum(a.scratch[at:])
	for range s.nsec3.iterations {
		a.scratch = append(append(a.scratch[:at], h[:]...), s.nsec3.salt...)
		h = sha1.Sum(a.scratch[at:])
	}
	a.scratch = hashLabels.AppendEncode(a.scratch[:at], h[:])
	end := len(a.scratch)
	a.scratch = dnsname.AppendChild(a.scratch, a.scratch[at:end])
	return a.scratch[end:]
}

// matchHash adds the NSEC3 RRset of name, and tells whether there is one.
func (s *Snapshot) matchHash(name dnsname.Name, a *Answer) bool {
	key := s.hashKey(name, a)
	v, ok := s.hashes.Get(key)
	if !ok {
		return false
	}
	s.addProof(node{view(key), v}, rrset.TypeNSEC3, a)
	return true
}

// coverHash adds the NSEC3 RRset that shows that name has none: the one before
// its hash, or the last, as the chain is a ring.
func (s *Snapshot) coverHash(name dnsname.Name, a *Answer) {
	e, ok := s.hashes.Below(s.hashKey(name, a), true)
	for range maxForeign {
		if !ok {
			if e, ok = s.hashes.Last(); !ok {
				return
			}
		}
		n := node{e.Key, e.Value}
		if set, ok := n.set(rrset.TypeNSEC3); ok && s.nsec3.made(set.First()) {
			s.addProof(n, rrset.TypeNSEC3, a)
			return
		}
		e, ok = s.hashes.Below([]byte(e.Key), false)
	}
}

// maxForeign bounds the search for an NSEC3 record among those of another chain,
// which a zone has while its parameters change (RFC 5155 §10.4).
const maxForeign = 64

// made tells whether the RDATA of an NSEC3 record has these parameters:
// algorithm, flags, iterations (2), length of the salt, salt.
func (p *nsec3Params) made(rdata string) bool {
	return len(rdata) >= 5+len(p.salt) && rdata[0] == 1 && int(rdata[2])<<8|int(rdata[3]) == p.iterations &&
		int(rdata[4]) == len(p.salt) && rdata[5:5+len(p.salt)] == p.salt
}

// matchOrEnclose adds the NSEC3 RRset of name, which has so many labels below
// the origin; if it has none because of opt-out, the closest provable encloser
// and the cover of the next closer name (RFC 5155 §7.2.4, §7.2.7).
func (s *Snapshot) matchOrEnclose(name dnsname.Name, labels int, a *Answer) {
	if !s.matchHash(name, a) {
		s.enclose(name, labels, labels-1, a)
	}
}

// enclose proves that an ancestor of name exists and the name one label longer
// does not (RFC 5155 §7.2.1). The ancestor has encloser labels, or fewer where
// opt-out leaves it without an NSEC3 RRset. It gives the number it has.
func (s *Snapshot) enclose(name dnsname.Name, labels, encloser int, a *Answer) int {
	f := found{labels: labels}
	for ; encloser > 0; encloser-- {
		if s.matchHash(name[f.offset(name, encloser):], a) {
			break
		}
	}
	if encloser == 0 {
		s.matchHash(name[f.offset(name, 0):], a)
	}
	if encloser < labels {
		s.coverHash(name[f.offset(name, encloser+1):], a)
	}
	return encloser
}

// denyNSEC3 adds the proof of a negative answer.
func (s *Snapshot) denyNSEC3(name dnsname.Name, f *found, a *Answer) {
	switch {
	case f.exists && f.wildcard == "": // §7.2.3, §7.2.4
		s.matchOrEnclose(name, f.labels, a)
	default: // §7.2.2, §7.2.5
		encloser := s.enclose(name, f.labels, f.encloser, a)
		if f.exists && encloser < f.encloser {
			return // opt-out left the wildcard without an NSEC3 RRset as well
		}
		at := len(a.scratch)
		a.scratch = append(append(a.scratch, 1, '*'), name[f.offset(name, encloser):]...)
		star := dnsname.Name(a.keep(at))
		if f.exists {
			s.matchHash(star, a)
			return
		}
		s.coverHash(star, a)
	}
}
