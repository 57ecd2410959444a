package zone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/trie"
)

// The stored form of a version is its nodes: for each owner a key and a value.
// The value is the node; the key is one octet that tells which index it is of,
// and the key of the owner there. So no key is empty, and keys are in the
// order of All but for the SOA record.
const (
	packedName = 1
	packedHash = 2
)

// ErrPacked is returned for owners that are no stored form of a version.
var ErrPacked = errors.New("malformed owner in the stored form of a zone")

// Packed goes through the stored form of this version, in the order of the keys.
// A key is valid until the next one.
func (s *Snapshot) Packed() iter.Seq2[[]byte, string] {
	return func(yield func([]byte, string) bool) {
		buf := make([]byte, 0, 1+dnsname.MaxKey)
		for kind, t := range [...]trie.Trie{s.names, s.hashes} {
			for e := range t.All() {
				if !yield(append(append(buf, packedName+byte(kind)), e.Key...), e.Value) {
					return
				}
			}
		}
	}
}

// PackedOwners goes through the owners that a changeset names and gives their
// stored form in this version, which the changeset led to; an empty value means
// that the owner is gone. They come in the order of the keys. A key is valid
// until the next one.
func (s *Snapshot) PackedOwners(c *Changeset) iter.Seq2[[]byte, string] {
	return func(yield func([]byte, string) bool) {
		keys := make(map[string]struct{}, len(c.Removed)+len(c.Added))
		buf := make([]byte, 0, 1+dnsname.MaxKey)
		for _, sets := range [...][]Set{c.Removed, c.Added} {
			for i := range sets {
				if !sets[i].Owner.IsBelow(s.origin) {
					continue // no owner of any version
				}
				kind := byte(packedName)
				if sets[i].Type == rrset.TypeNSEC3 {
					kind = packedHash
				}
				key, _ := dnsname.AppendKey(append(buf, kind), sets[i].Owner, len(s.origin), nil)
				keys[string(key)] = struct{}{}
			}
		}
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			t := s.names
			if k[0] == packedHash {
				t = s.hashes
			}
			key := append(buf, k...)
			v, _ := t.Get(key[1:])
			if !yield(key, v) {
				return
			}
		}
	}
}

// Restore makes a version of its stored form: owners in the order of their keys,
// as Packed gives them. Keys and values are copied. Owners may be anything: what
// is not the stored form of a zone gives an error, which wraps ErrPacked,
// ErrNoSOA, ErrManySOA or ErrIterations.
func Restore(origin dnsname.Name, owners iter.Seq2[[]byte, []byte]) (*Snapshot, error) {
	if dnsname.Len(origin) != len(origin) || origin == "" {
		return nil, fmt.Errorf("%w: origin %x", ErrPacked, string(origin))
	}
	r := restoring{origin: origin}
	for key, value := range owners {
		if err := r.add(key, value); err != nil {
			return nil, fmt.Errorf("%w %x: %w", ErrPacked, key, err)
		}
	}
	return newSnapshot(origin, contents{r.names.Trie(), r.hashes.Trie(), r.wildcards, r.tally})
}

// Reasons of ErrPacked.
var (
	errPackedKey   = errors.New("its key is no name's")
	errPackedOrder = errors.New("it is out of order")
	errPackedFlags = errors.New("its flags are not those of its records")
	errPackedCase  = errors.New("its letter case is not that of its key")
	errPackedEntry = errors.New("an RRset is cut off, or not in its place")
	errPackedTwice = errors.New("a record is there twice")
)

type restoring struct {
	origin        dnsname.Name
	names, hashes trie.Sorted
	hashed        bool // the owners of NSEC3 have begun
	wildcards     int
	tally
}

func (r *restoring) add(key, value []byte) error {
	if len(key) == 0 || key[0] != packedName && key[0] != packedHash {
		return errPackedKey
	}
	hash := key[0] == packedHash
	if r.hashed && !hash {
		return errPackedOrder
	}
	r.hashed = hash
	key = key[1:]
	labels, length, ok := checkKey(key)
	if !ok || length+len(r.origin) > dnsname.MaxLen {
		return errPackedKey
	}
	n := node{view(key), view(value)}
	if err := n.check(labels, hash, r.origin); err != nil {
		return err
	}
	t := &r.names
	if hash {
		t = &r.hashes
	} else if dnsname.KeyHasWildcard(n.key) {
		r.wildcards++
	}
	if !t.Put(key, value) {
		return errPackedOrder
	}
	for s := range n.sets() {
		r.count(s, 1)
	}
	return nil
}

// Symbols of keys: what they may stand for.
const (
	symNone  = iota
	symOctet // an octet
	symFirst // an octet together with the symbol after it
	symEnd   // the end of a label
)

// symbols tells what a symbol is, symbolPairs which of them go together.
var symbols, symbolPairs = func() (of [256]byte, pairs [dnsname.Symbols][dnsname.Symbols]bool) {
	for c := range 256 {
		switch s := dnsname.AppendChild(nil, string([]byte{byte(c)})); len(s) {
		case 2:
			of[s[0]], of[s[1]] = symOctet, symEnd
		default:
			of[s[0]] = symFirst
			pairs[s[0]][s[1]] = true
		}
	}
	return of, pairs
}()

// checkKey tells whether key is the key of a name, how many labels the name has
// and how many octets, without the origin.
func checkKey(key []byte) (labels, length int, ok bool) {
	label := 0
	for i := 0; i < len(key); i++ {
		switch symbols[key[i]] {
		case symOctet:
			label++
		case symFirst:
			if i++; i == len(key) || key[i] >= dnsname.Symbols || !symbolPairs[key[i-1]][key[i]] {
				return 0, 0, false
			}
			label++
		case symEnd:
			if label == 0 || label > dnsname.MaxLabel {
				return 0, 0, false
			}
			labels++
			length += 1 + label
			label = 0
		default:
			return 0, 0, false
		}
	}
	return labels, length, label == 0
}

// check tells whether a node can be one of a zone. Its key is good, and has that
// many labels.
func (n node) check(labels int, hash bool, origin dnsname.Name) error {
	if n.val == "" {
		return errPackedFlags
	}
	flags := n.flags() & hasCase
	if flags != 0 {
		if err := n.checkCase(origin); err != nil {
			return err
		}
	}
	empty := true
	before := -1 // twice the type of the entry before, and one more for RRSIGs
	for off := n.entries(); off < len(n.val); {
		if len(n.val)-off < entryHeader {
			return errPackedEntry
		}
		head := n.bytes()[off : off+entryHeader]
		l := binary.LittleEndian.Uint32(head[8:])
		if uint64(l&^isSigs) > uint64(len(n.val)-off-entryHeader) {
			return errPackedEntry
		}
		set, sigs, next := n.entry(off)
		off = next
		place := int(set.Type) << 1
		if sigs {
			place++
		}
		if place <= before || hash != (set.Type == rrset.TypeNSEC3) {
			return errPackedEntry
		}
		before = place
		if err := checkSet(set, sigs, labels); err != nil {
			return err
		}
		if !sigs {
			flags |= flagOf(set.Type)
		}
		empty = empty && set.IsEmpty()
	}
	if empty || flags != n.flags() {
		return errPackedFlags
	}
	return nil
}

// checkCase tells whether the owner in its letter case is that of the key.
func (n node) checkCase(origin dnsname.Name) error {
	if len(n.val) < 2 || len(n.val) < 2+int(n.val[1]) {
		return errPackedEntry
	}
	owner := n.owner(origin)
	if len(owner) > dnsname.MaxLen || dnsname.Len(owner) != len(owner) || !owner.IsBelow(origin) ||
		!owner[:len(owner)-len(origin)].HasUpper() {
		return errPackedCase
	}
	var buf [dnsname.MaxKey]byte
	if key, _ := dnsname.AppendKey(buf[:0], owner, len(origin), nil); string(key) != n.key {
		return errPackedCase
	}
	return nil
}

// checkSet tells whether the RRset of an entry, which has the type of the entry,
// can be in a zone, at an owner of that many labels.
func checkSet(set rrset.RRset, sigs bool, labels int) error {
	typ := set.Type
	if sigs {
		set.Type = rrset.TypeRRSIG
	} else if typ == rrset.TypeRRSIG {
		return errPackedEntry
	}
	packed := set.Packed()
	if len(packed) > 65535 {
		return rrset.ErrTooLong
	}
	n := 0
	for off := 0; off < len(packed); n++ {
		if off+2 > len(packed) || off+2+int(packed[off])<<8+int(packed[off+1]) > len(packed) {
			return errPackedEntry
		}
		var rdata string
		rdata, off = set.Next(off)
		if err := checkRecord(labels, set.Type, rdata); err != nil {
			return err
		}
		if sigs && rrset.Covered(rdata) != typ {
			return ErrCovers
		}
	}
	if n == 0 || n != set.Len() {
		return errPackedEntry
	}
	if n > 1 && hasTwice(set) {
		return errPackedTwice
	}
	return nil
}

// hasTwice tells whether two records of a set are the same (RFC 2181 §5).
func hasTwice(set rrset.RRset) bool {
	packed := set.Packed()
	if set.Len() >= manyRecords {
		seen := make(map[string]struct{}, set.Len())
		for r := range set.All() {
			seen[string(rrset.AppendCanonical(nil, set.Type, r))] = struct{}{}
		}
		return len(seen) < set.Len()
	}
	for off := 0; off < len(packed); {
		var a, b string
		a, off = set.Next(off)
		for other := off; other < len(packed); {
			b, other = set.Next(other)
			if len(a) == len(b) && dnsname.EqualFold(a, b) &&
				string(rrset.AppendCanonical(nil, set.Type, a)) == string(rrset.AppendCanonical(nil, set.Type, b)) {
				return true
			}
		}
	}
	return false
}
