package bolt

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// The buckets of the file. Numbers in keys are big-endian, so that they sort;
// in values they are little-endian.
//
//	trustdns  "format"                        the number of the format, in decimal
//	          "summary"                       summary
//	zones     origin                          record
//	data      generation                      bucket of the owners of a version: zone.Packed
//	history   zone | place | from | to        changeset, as journal.AppendChangeset
//	notes     zone | name                     value of a note
//	loose     generation                      origin of the zone that it was made for; no zone uses it
var (
	bucketStore   = []byte("trustdns")
	bucketZones   = []byte("zones")
	bucketData    = []byte("data")
	bucketHistory = []byte("history")
	bucketNotes   = []byte("notes")
	bucketLoose   = []byte("loose")

	keyFormat  = []byte("format")
	keySummary = []byte("summary")
)

// tally counts pairs of keys and values and adds up their hashes: what is put in
// and taken out again leaves no trace, so it is kept up in steps and compared
// with all pairs when they are read.
type tally struct{ count, sum uint64 }

// hashPair hashes a key and its value. buf is room to work in.
func hashPair[V ~string | ~[]byte](buf, key []byte, value V) (uint64, []byte) {
	buf = binary.LittleEndian.AppendUint16(buf[:0], uint16(len(key)))
	buf = append(buf, key...)
	buf = append(buf, value...)
	return xxhash.Sum64(buf), buf
}

func (t *tally) add(h uint64)    { t.count, t.sum = t.count+1, t.sum+h }
func (t *tally) remove(h uint64) { t.count, t.sum = t.count-1, t.sum-h }

// record is what the bucket zones holds of a zone.
type record struct {
	id       uint64 // of the zone in history and notes; never used again
	revision journal.Revision
	serial   zone.Serial
	data     uint64 // the generation of the owners
	owners   tally
	notes    tally
	first    uint64 // the places of the history: from first to before next
	next     uint64
	octets   int64        // of the history
	origin   dnsname.Name // in its letter case
}

// summary is about the store as a whole.
type summary struct {
	floor journal.Revision // the greatest revision of a zone that was deleted
	ids   uint64           // the last number given to a zone or a generation
	zones tally            // of the bucket zones
	seq   uint64           // the last frame of the log that is in the file
	log   uint64           // the session of the log that may have more; 0: none
}

var (
	errRecord  = errors.New("the record of a zone is malformed")
	errSummary = errors.New("the summary is malformed")
)

const (
	recordSize  = 10*8 + 4
	summarySize = 6 * 8
	sumSize     = 8
)

func seal(b []byte) []byte { return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b)) }

// unseal gives what seal got.
func unseal(b []byte) ([]byte, bool) {
	if len(b) < sumSize {
		return nil, false
	}
	end := len(b) - sumSize
	return b[:end], xxhash.Sum64(b[:end]) == binary.LittleEndian.Uint64(b[end:])
}

func (r *record) encode() []byte {
	b := make([]byte, 0, recordSize+len(r.origin)+sumSize)
	for _, n := range [...]uint64{
		r.id, uint64(r.revision), r.data, r.owners.count, r.owners.sum, r.notes.count, r.notes.sum, r.first, r.next, uint64(r.octets),
	} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(r.serial))
	return seal(append(b, r.origin...))
}

// parseRecord reads the record of the zone with that origin, in lower case.
func parseRecord(key, b []byte) (r record, err error) {
	b, ok := unseal(b)
	if !ok || len(b) < recordSize {
		return r, errRecord
	}
	var octets, revision uint64
	for i, n := range [...]*uint64{
		&r.id, &revision, &r.data, &r.owners.count, &r.owners.sum, &r.notes.count, &r.notes.sum, &r.first, &r.next, &octets,
	} {
		*n = binary.LittleEndian.Uint64(b[8*i:])
	}
	r.revision, r.octets = journal.Revision(revision), int64(octets)
	r.serial = zone.Serial(binary.LittleEndian.Uint32(b[recordSize-4:]))
	r.origin = dnsname.Name(b[recordSize:])
	if string(r.origin.Fold()) != string(key) || dnsname.Len(key) != len(key) || len(key) == 0 ||
		r.revision == 0 || r.first > r.next || octets > math.MaxInt64 {
		return r, errRecord
	}
	return r, nil
}

func (s *summary) encode() []byte {
	b := make([]byte, 0, summarySize+sumSize)
	for _, n := range [...]uint64{uint64(s.floor), s.ids, s.zones.count, s.zones.sum, s.seq, s.log} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return seal(b)
}

func parseSummary(b []byte) (s summary, err error) {
	b, ok := unseal(b)
	if !ok || len(b) != summarySize {
		return s, errSummary
	}
	return summary{
		floor: journal.Revision(binary.LittleEndian.Uint64(b)),
		ids:   binary.LittleEndian.Uint64(b[8:]),
		zones: tally{count: binary.LittleEndian.Uint64(b[16:]), sum: binary.LittleEndian.Uint64(b[24:])},
		seq:   binary.LittleEndian.Uint64(b[32:]),
		log:   binary.LittleEndian.Uint64(b[40:]),
	}, nil
}

// number is a key of one number.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// place is the key of a changeset.
type place struct {
	zone, at uint64
	from, to zone.Serial
}

const placeSize = 8 + 8 + 4 + 4

func (p place) key() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, placeSize), p.zone)
	b = binary.BigEndian.AppendUint64(b, p.at)
	b = binary.BigEndian.AppendUint32(b, uint32(p.from))
	return binary.BigEndian.AppendUint32(b, uint32(p.to))
}

func parsePlace(b []byte) (p place, ok bool) {
	if len(b) != placeSize {
		return p, false
	}
	return place{
		zone: binary.BigEndian.Uint64(b),
		at:   binary.BigEndian.Uint64(b[8:]),
		from: zone.Serial(binary.BigEndian.Uint32(b[16:])),
		to:   zone.Serial(binary.BigEndian.Uint32(b[20:])),
	}, true
}
