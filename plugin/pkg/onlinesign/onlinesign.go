package onlinesign

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// ErrNSEC3 says that a policy wants NSEC3, which is not made here.
var ErrNSEC3 = errors.New("proofs that are made on demand are NSEC")

// Signer signs the answers of a zone. It never changes, and may be used concurrently.
type Signer struct {
	origin dnsname.Name // in lower case
	table  *Table
	apex   keys // sign the DNSKEY, CDS and CDNSKEY RRsets
	data   keys // sign the others
}

// keys are the keys that sign an RRset together.
type keys struct {
	list     []*signer.Key
	validity time.Duration
	id       digest // of them and the table
}

// New makes the signer of a zone, which must hold the RRsets that signer.Publish puts
// there with the same policy and uses. Of the policy Validity counts, and the rest is
// checked: signatures are made anew after three quarters of it, so the last quarter
// should be longer than the TTLs of the zone are. The errors are those of signer.New, and
// ErrNSEC3.
func New(origin dnsname.Name, policy signer.Policy, uses []signer.Use, table *Table) (*Signer, error) {
	if policy.NSEC3 {
		return nil, ErrNSEC3
	}
	if policy.Validity == 0 {
		policy.Validity = signer.DefaultValidity
	}
	policy.Refresh, policy.Jitter = policy.Validity/4, 1 // of no effect here
	if _, err := signer.New(origin, policy, uses); err != nil {
		return nil, err
	}
	s := &Signer{origin: origin.Fold(), table: table}
	s.apex.validity, s.data.validity = policy.Validity, policy.Validity
	for _, u := range uses {
		if u.Sign && u.Role() != signer.ZSK {
			s.apex.list = append(s.apex.list, u.Key)
		}
		if u.Sign && u.Role() != signer.KSK {
			s.data.list = append(s.data.list, u.Key)
		}
	}
	for _, k := range []*keys{&s.apex, &s.data} {
		b := append([]byte(nil), table.seed[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(k.validity))
		for _, key := range k.list {
			b = append(append(b, key.Zone()...), key.DNSKEY()...)
		}
		k.id = sha256.Sum256(b)
	}
	return s, nil
}

// Part is where in an answer the part that comes from one zone begins: the sets that
// each section had before.
type Part struct{ Answer, Authority, Additional int }

// PartAt gives the part that begins at the end of what a has.
func PartAt(a *zone.Answer) Part { return Part{len(a.Answer), len(a.Authority), len(a.Additional)} }

// Complete adds what a client that asks for DNSSEC gets beyond the records to the part
// of an answer that v, a version of the zone, has just given to q. Without q.DO it does
// nothing.
//
// RRSIGs come with every RRset that has none and that the zone has authority for
// (RFC 4035 §2.2): not with NS of a zone cut, glue, and CNAMEs that a DNAME stands for.
// An RRset that comes from a wildcard is signed as if its owner existed (RFC 9824
// §3.3). If v has no chain of its own, referrals get the DS RRset or the proof that
// there is none (§3.4), and negative answers one NSEC record (§3.1, §3.2); then the
// answer is Compact, and Veiled if it is about a name that does not exist and q.CO is
// not set. Questions for NSEC, and for RRSIG as in zone.Snapshot, are answered if the
// name exists.
//
// The error is ErrBusy or one of a key that cannot sign; the answer must not be sent
// then. Additional RRsets that the client can do without are left out before that. It
// does not allocate if all signatures are kept.
func (s *Signer) Complete(v *zone.Snapshot, q *zone.Query, a *zone.Answer, from Part, now time.Time) error {
	return s.complete(v, q, a, from, now, false)
}

// CompleteKnown is Complete with the signatures that are kept, for who must not wait. If
// one is not kept, or due to be made anew, the error is ErrUnknown.
func (s *Signer) CompleteKnown(v *zone.Snapshot, q *zone.Query, a *zone.Answer, from Part, now time.Time) error {
	return s.complete(v, q, a, from, now, true)
}

// Sign gives the RRSIGs over one RRset of the zone, whose Owner is below the origin or
// the same, with the TTL of the RRset. madeUp tells that anybody can make up the owner,
// as a wildcard stands for it. The error is that of Complete.
func (s *Signer) Sign(set zone.Set, madeUp bool, now time.Time) (rrset.RRset, error) {
	w := newWork(s, now, false)
	defer w.free()
	e, err := w.sign(set.Owner, set.RRset, madeUp, false)
	if err != nil {
		return rrset.RRset{}, err
	}
	return e.sigs, nil
}

func (s *Signer) complete(v *zone.Snapshot, q *zone.Query, a *zone.Answer, from Part, now time.Time, known bool) error {
	if !q.DO {
		return nil
	}
	w := newWork(s, now, known)
	defer w.free()
	w.version, w.query, w.answer = v, q, a
	if !v.Signed() {
		a.Compact = true
		if err := w.prove(from); err != nil {
			return err
		}
	}
	for _, sets := range [...][]zone.Set{a.Answer[from.Answer:], a.Authority[from.Authority:]} {
		for i := range sets {
			if err := w.signSet(&sets[i]); err != nil {
				return err
			}
		}
	}
	for i := from.Additional; i < len(a.Additional); i++ {
		err := w.signSet(&a.Additional[i])
		if errors.Is(err, ErrBusy) && i >= a.Glue {
			clear(a.Additional[i:])
			a.Additional = a.Additional[:i]
			break
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// work is what one call needs.
type work struct {
	signer  *Signer
	now     int64
	known   bool
	version *zone.Snapshot
	query   *zone.Query
	answer  *zone.Answer

	digest  digest
	buf     []byte // what digest is of
	records []string
	types   []uint16
	rdata   []byte // packed
}

var works = sync.Pool{New: func() any { return new(work) }}

func newWork(s *Signer, now time.Time, known bool) *work {
	w := works.Get().(*work)
	w.signer, w.now, w.known = s, now.Unix(), known
	return w
}

func (w *work) free() {
	w.signer, w.version, w.query, w.answer = nil, nil, nil, nil
	works.Put(w)
}

// sign gives the signatures over an RRset.
func (w *work) sign(owner dnsname.Name, set rrset.RRset, madeUp, proof bool) (*entry, error) {
	k := &w.signer.data
	if len(owner) == len(w.signer.origin) {
		switch set.Type {
		case rrset.TypeDNSKEY, rrset.TypeCDS, rrset.TypeCDNSKEY:
			k = &w.signer.apex
		}
	}
	w.digestOf(k, owner, set)
	return w.signer.table.get(&need{
		digest: &w.digest, keys: k, owner: owner, set: set, proof: proof, madeUp: madeUp, now: w.now, known: w.known,
	})
}

// digestOf sets digest to that of an RRset and keys: the records in any order are the
// same.
func (w *work) digestOf(k *keys, owner dnsname.Name, set rrset.RRset) {
	b := append(w.buf[:0], k.id[:]...)
	b = binary.BigEndian.AppendUint16(b, set.Type)
	b = binary.BigEndian.AppendUint32(b, set.TTL)
	b = dnsname.AppendFold(b, owner)
	if packed := set.Packed(); set.Len() == 1 {
		b = append(b, packed...)
	} else {
		w.records = w.records[:0]
		for off := 0; off < len(packed); {
			from := off
			_, off = set.Next(off)
			w.records = append(w.records, packed[from:off])
		}
		slices.Sort(w.records)
		for _, r := range w.records {
			b = append(b, r...)
		}
		clear(w.records)
	}
	w.buf, w.digest = b, sha256.Sum256(b)
}

// signSet puts the signatures into a set of the answer that is to have some.
func (w *work) signSet(set *zone.Set) error {
	if set.IsEmpty() || !set.Sigs.IsEmpty() || set.Type == rrset.TypeRRSIG || !set.Owner.IsBelow(w.signer.origin) {
		return nil
	}
	h := w.version.Holding(set.Owner, w.answer)
	if h.Hidden || h.Cut && set.Type != rrset.TypeDS {
		return nil
	}
	signed := set.RRset
	if set.Type == rrset.TypeSOA { // of negative answers: the TTL may be less than what is signed
		signed.TTL = w.version.SOA().TTL
	}
	e, err := w.sign(set.Owner, signed, h.Wildcard, false)
	if err != nil {
		return err
	}
	set.Sigs = e.sigs.WithTTL(set.TTL)
	return nil
}

// prove adds the proof that the answer needs.
func (w *work) prove(from Part) error {
	a := w.answer
	switch a.Kind {
	case zone.NoData, zone.NXDomain:
		return w.deny(from)
	case zone.Delegation:
		if len(a.Authority) > from.Authority { // else it was undone
			return w.refer(a.Authority[len(a.Authority)-1].Owner)
		}
	case zone.Success, zone.YXDomain:
	}
	return nil
}

// refer adds DS to a referral, or the proof that there is none (RFC 9824 §3.4).
func (w *work) refer(cut dnsname.Name) error {
	h := w.version.Holding(cut, w.answer)
	for ds := range h.Sets() {
		ds.Owner, ds.Sigs = cut, rrset.RRset{}
		w.answer.Authority = append(w.answer.Authority, ds)
		return nil
	}
	return w.addNSEC(&w.answer.Authority, cut, h)
}

// deny adds the proof to a negative answer, or makes it a positive one if it is about
// types that the zone does not hold and that are there all the same.
func (w *work) deny(from Part) error {
	a, name := w.answer, w.query.Name
	if n := len(a.Answer); n > 0 {
		name = dnsname.Name(a.Answer[n-1].First()) // a CNAME has led there
	}
	if !name.IsBelow(w.signer.origin) {
		return nil
	}
	h := w.version.Holding(name, a)
	if h.Exists {
		before := len(a.Answer)
		var err error
		switch w.query.Type {
		case rrset.TypeNSEC:
			err = w.addNSEC(&a.Answer, name, h)
		case rrset.TypeRRSIG:
			err = w.addSigs(name, h)
		}
		if err != nil {
			return err
		}
		if len(a.Answer) > before {
			a.Kind = zone.Success
			a.Authority = a.Authority[:from.Authority]
			return nil
		}
	} else {
		a.Veiled = !w.query.CO
	}
	return w.addNSEC(&a.Authority, name, h)
}

// addSigs answers the question for RRSIG: with those over all RRsets if q.All is set,
// else with those over one of them, CNAME if there is one.
func (w *work) addSigs(name dnsname.Name, h zone.Holding) error {
	a := w.answer
	before := len(a.Answer)
	for set := range h.Sets() {
		if !w.query.All && len(a.Answer) > before {
			if set.Type != rrset.TypeCNAME {
				continue
			}
			a.Answer = a.Answer[:before]
		}
		e, err := w.sign(name, set.RRset, h.Wildcard, false)
		if err != nil {
			return err
		}
		a.Answer = append(a.Answer, zone.Set{Owner: name, RRset: e.sigs})
	}
	return nil
}

// addNSEC adds the NSEC record of a name to a section (RFC 9824 §3).
func (w *work) addNSEC(section *[]zone.Set, name dnsname.Name, h zone.Holding) error {
	w.types = h.AppendTypes(w.types[:0])
	w.types = append(w.types, rrset.TypeRRSIG, rrset.TypeNSEC)
	if !h.Exists {
		w.types = append(w.types, rrset.TypeNXNAME)
	}
	w.rdata = append(w.rdata[:0], 0, 0)
	w.rdata = appendNext(w.rdata, name, w.signer.origin, h.Cut)
	w.rdata = signer.AppendBitmap(w.rdata, w.types)
	binary.BigEndian.PutUint16(w.rdata, uint16(len(w.rdata)-2))
	set := rrset.FromPacked(rrset.TypeNSEC, w.version.NegativeTTL(), 1, view(w.rdata))
	e, err := w.sign(name, set, h.Wildcard || !h.Exists, true)
	if err != nil {
		return err
	}
	set = rrset.FromPacked(rrset.TypeNSEC, set.TTL, 1, e.rdata)
	*section = append(*section, zone.Set{Owner: name, RRset: set, Sigs: e.sigs})
	return nil
}

// view gives b as a string without copying; b must not change while it is used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// appendNext appends the next name that an NSEC record of name tells: the very next one,
// a child with a label of one zero octet (RFC 9824 §3.1), or, of a zone cut, one that
// comes after all names below it (§3.4). It is in lower case, as it is signed as it
// stands (RFC 6840 §5.1) and the question may come in any. Where a name is so long that
// a child has no room, nothing is below it either, and the next name is that of a zone
// cut.
func appendNext(dst []byte, name, origin dnsname.Name, cut bool) []byte {
	if !cut && len(name)+2 <= dnsname.MaxLen {
		return dnsname.AppendFold(append(dst, 1, 0), name)
	}
	return appendAfter(dst, name, origin)
}

// appendAfter appends the first name of a zone that comes after name and all names below
// it in canonical order (RFC 4034 §6.1), or, as the chain is a ring, the origin if there
// is none.
func appendAfter(dst []byte, name, origin dnsname.Name) []byte {
	for len(name) > len(origin) {
		label, rest := name[1:1+name[0]], name[1+name[0]:]
		if len(label) < dnsname.MaxLabel && len(name) < dnsname.MaxLen {
			dst = dnsname.AppendFold(append(dst, byte(len(label)+1)), label)
			return dnsname.AppendFold(append(dst, 0), rest)
		}
		// No label begins with this one and is longer: the next is the one whose last
		// octet is greater, or the octet before if there is none greater.
		for i := len(label) - 1; i >= 0; i-- {
			if c := dnsname.Lower(label[i]); c < 0xff {
				if c++; c >= 'A' && c <= 'Z' {
					c = 'Z' + 1 // capitals come where the small letters are
				}
				dst = dnsname.AppendFold(append(dst, byte(i+1)), label[:i])
				return dnsname.AppendFold(append(dst, c), rest)
			}
		}
		name = rest
	}
	return dnsname.AppendFold(dst, origin)
}
