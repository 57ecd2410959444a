package journaltest

import (
	"bytes"
	"fmt"
	"iter"
	"math/rand/v2"
)

// Write is what a transaction did to a file: it wrote pages, had the disk sync
// them, wrote the pages that make them count, and had it sync again.
type Write struct {
	Before, After []byte
	PageSize      int
	// Last tells which pages are written after the first sync.
	Last func(page int) bool
}

// sector is what disks write whole, in octets.
const sector = 512

// States gives files that a crash in the midst of the write can leave, about n of
// them: any of the pages written before the first sync, whole or some of their
// sectors, and then nothing of the last ones; or all of them, and of the last ones
// some sectors, or the first words. done tells that everything is there. A file
// is valid until the next.
//
// Half a word is not left out by accident: neither disks nor the way to them
// write in smaller pieces.
func (w Write) States(r *rand.Rand, n int) iter.Seq2[[]byte, bool] {
	return func(yield func([]byte, bool) bool) {
		var first, last []int // pages that differ
		size := max(len(w.Before), len(w.After))
		before := append(bytes.Clone(w.Before), make([]byte, size-len(w.Before))...)
		after := append(bytes.Clone(w.After), make([]byte, size-len(w.After))...)
		for p := range size / w.PageSize {
			from, to := p*w.PageSize, (p+1)*w.PageSize
			switch {
			case bytes.Equal(before[from:to], after[from:to]):
			case w.Last(p):
				last = append(last, p)
			default:
				first = append(first, p)
			}
		}
		give := func(s []byte) bool { return yield(s, bytes.Equal(s, after)) }
		if !yield(bytes.Clone(w.Before), false) { // the file has not even grown
			return
		}
		if !give(bytes.Clone(before)) || !give(bytes.Clone(after)) {
			return
		}
		put := func(s []byte, from, to int) { copy(s[from:to], after[from:to]) }
		for range n / 2 {
			s := bytes.Clone(before)
			for _, p := range first {
				at := p * w.PageSize
				switch r.IntN(4) {
				case 0: // not written
				case 1, 2:
					put(s, at, at+w.PageSize)
				case 3:
					for o := at; o < at+w.PageSize; o += sector {
						if r.IntN(2) == 0 {
							put(s, o, o+sector)
						}
					}
				}
			}
			if !give(s) {
				return
			}
		}
		synced := bytes.Clone(before)
		for _, p := range first {
			put(synced, p*w.PageSize, (p+1)*w.PageSize)
		}
		for i := range n / 2 {
			s := bytes.Clone(synced)
			for _, p := range last {
				at := p * w.PageSize
				if i%2 == 0 {
					put(s, at, at+8*r.IntN(sector/8+1))
					continue
				}
				for o := at; o < at+w.PageSize; o += sector {
					if r.IntN(2) == 0 {
						put(s, o, o+sector)
					}
				}
			}
			if !give(s) {
				return
			}
		}
	}
}

// Damages gives files with one thing wrong, about n of them, each with words for
// it: a turned bit, octets of nothing or of chance, two pages that changed places, an
// end cut off. Bits of the head of a page are turned more often than others. A file
// is valid until the next.
func Damages(r *rand.Rand, file []byte, pageSize, n int) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		pages := len(file) / pageSize
		s := make([]byte, len(file))
		for i := range n {
			s = append(s[:0], file...)
			p := i % pages
			at := p * pageSize
			var what string
			switch k := r.IntN(20); {
			case k < 8:
				o, bit := r.IntN(128), r.IntN(8)
				s[at+o] ^= 1 << bit
				what = fmt.Sprintf("bit %d of octet %d of page %d", bit, o, p)
			case k < 15:
				o, bit := r.IntN(pageSize), r.IntN(8)
				s[at+o] ^= 1 << bit
				what = fmt.Sprintf("bit %d of octet %d of page %d", bit, o, p)
			case k == 15:
				o := sector * r.IntN(pageSize/sector)
				clear(s[at+o : at+o+sector])
				what = fmt.Sprintf("no octets from %d of page %d", o, p)
			case k == 16:
				o := sector * r.IntN(pageSize/sector)
				for j := range sector {
					s[at+o+j] = byte(r.IntN(256))
				}
				what = fmt.Sprintf("octets of chance from %d of page %d", o, p)
			case k == 17:
				other := r.IntN(pages)
				copy(s[at:at+pageSize], file[other*pageSize:])
				copy(s[other*pageSize:(other+1)*pageSize], file[at:])
				what = fmt.Sprintf("page %d in the place of %d", p, other)
			case k == 18:
				s = s[:at]
				what = fmt.Sprintf("cut off at page %d", p)
			default:
				s = s[:r.IntN(len(s))]
				what = fmt.Sprintf("cut off at octet %d", len(s))
			}
			if bytes.Equal(s, file) {
				continue
			}
			if !yield(what, s) {
				return
			}
		}
	}
}
