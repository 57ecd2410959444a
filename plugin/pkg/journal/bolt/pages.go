package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// bbolt trusts its pages: a bad one makes it panic, some of them in a goroutine
// where nobody can recover. So the file is walked through before bbolt gets it:
// all pages that can be reached from the meta page, with all that bbolt relies
// on. What the pages hold is not looked at; the sums of zones are for that.
//
//	page:   id (8) | kind (2) | count (2) | pages that it takes besides this (4) | elements | keys and values
//	leaf:   flags (4) | offset of the key from here (4) | size of the key (4) | size of the value (4)
//	branch: offset of the key from here (4) | size of the key (4) | page (8)
//	bucket: root page (8), or 0 and then the page itself | sequence (8)
//	meta:   magic (4) | version (4) | page size (4) | flags (4) | root bucket (16) | page of the free list (8)
//	        | number of pages (8) | transaction (8) | FNV-1a of all before (8)
//
// Numbers are in the order of octets of the machine.
const (
	pageHeader   = 16
	elementSize  = 16
	bucketHeader = 16

	kindBranch   = 1
	kindLeaf     = 2
	kindMeta     = 4
	kindFreelist = 16

	flagBucket = 1

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	metaSize    = 64
	noFreelist  = 1<<64 - 1

	minPageSize = 1 << 10
	maxPageSize = 1 << 24
	maxDepth    = 64
)

var (
	errNotBolt    = errors.New("no file that this package made")
	errNewerBolt  = errors.New("its pages are of a newer form")
	errEmptyFile  = errors.New("the file is empty")
	errMetas      = errors.New("both of its first pages are damaged")
	errMetaRotten = errors.New("one of its first pages is damaged, and not as by a write that was cut short")
)

var order = binary.NativeEndian

// meta is what is needed of a meta page.
type meta struct {
	pageSize uint32
	root     uint64
	freelist uint64
	pages    uint64
	txid     uint64
}

// parseMeta reads the part of a meta page behind its header.
func parseMeta(b []byte) (m meta, ok bool) {
	if len(b) < metaSize || order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion || !metaSum(b) {
		return m, false
	}
	return meta{
		pageSize: order.Uint32(b[8:]),
		root:     order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]),
		pages:    order.Uint64(b[40:]),
		txid:     order.Uint64(b[48:]),
	}, true
}

// FNV-1a, and the number that undoes the multiplication.
const (
	fnvBasis   = 14695981039346656037
	fnvPrime   = 1099511628211
	fnvInverse = 0xce965057aff6957b
)

func metaSum(b []byte) bool {
	sum := uint64(fnvBasis)
	for _, c := range b[:metaSize-sumSize] {
		sum = (sum ^ uint64(c)) * fnvPrime
	}
	return sum == order.Uint64(b[metaSize-sumSize:])
}

// torn tells whether a meta page that is not good can be what a write that was
// cut short left, so that the other one holds. It cannot if what is the same in all
// meta pages of a file is not there, or if another value of one octet makes it a
// good one that is later than the other and leads elsewhere: then what was
// committed last is not in the other.
func torn(b []byte, other meta) bool {
	if len(b) < metaSize || order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion || order.Uint32(b[8:]) != other.pageSize {
		return false
	}
	b = bytes.Clone(b[:metaSize])
	later := func() bool {
		m, ok := parseMeta(b)
		return ok && m.txid > other.txid && m.root != other.root
	}
	// FNV-1a can be taken back. So the value that an octet must have follows from
	// the sum of those before it and what the sum must be behind it.
	behind := make([]uint64, metaSize-sumSize+1)
	behind[len(behind)-1] = order.Uint64(b[metaSize-sumSize:])
	for i := metaSize - sumSize - 1; i >= 0; i-- {
		behind[i] = behind[i+1]*fnvInverse ^ uint64(b[i])
	}
	sum := uint64(fnvBasis)
	for i, was := range b[:metaSize-sumSize] {
		if v := behind[i+1]*fnvInverse ^ sum; v < 256 {
			b[i] = byte(v)
			if later() {
				return false
			}
			b[i] = was
		}
		sum = (sum ^ uint64(was)) * fnvPrime
	}
	// Or an octet of the sum itself is another.
	for i := range sumSize {
		stored := order.Uint64(b[metaSize-sumSize:])
		if mask := uint64(0xff) << (8 * i); stored&^mask == sum&^mask {
			order.PutUint64(b[metaSize-sumSize:], sum)
			return !later()
		}
	}
	return true
}

// findMeta gives the meta page that holds, as bbolt would choose it.
func findMeta(f io.ReaderAt, size int64) (meta, error) {
	read := func(at int64) []byte {
		b := make([]byte, metaSize)
		if n, err := f.ReadAt(b, at+pageHeader); err != nil || n < len(b) {
			return nil
		}
		return b
	}
	if size == 0 {
		return meta{}, errEmptyFile
	}
	b0 := read(0)
	m0, ok0 := parseMeta(b0)
	if ok0 {
		if m0.pageSize < minPageSize || m0.pageSize > maxPageSize || bits.OnesCount32(m0.pageSize) != 1 {
			return meta{}, errMetas
		}
		b1 := read(int64(m0.pageSize))
		m1, ok1 := parseMeta(b1)
		switch {
		case !ok1 && !torn(b1, m0), ok1 && m1.pageSize != m0.pageSize:
			return meta{}, errMetaRotten
		case ok1 && m1.txid > m0.txid:
			return m1, nil
		}
		return m0, nil
	}
	known := len(b0) == metaSize && order.Uint32(b0) == boltMagic
	if known && order.Uint32(b0[4:]) > boltVersion {
		return meta{}, errNewerBolt
	}
	for at := uint32(minPageSize); at <= maxPageSize && int64(at) < size; at <<= 1 {
		b1 := read(int64(at))
		if m1, ok := parseMeta(b1); ok && m1.pageSize == at {
			if !torn(b0, m1) {
				return meta{}, errMetaRotten
			}
			return m1, nil
		}
		known = known || len(b1) == metaSize && order.Uint32(b1) == boltMagic
	}
	if known {
		return meta{}, errMetas
	}
	return meta{}, errNotBolt
}

// walk is one walk through the pages of a file.
type walk struct {
	f        io.ReaderAt
	pageSize uint64
	pages    uint64
	seen     []uint64 // a bit for each page
	room     [maxDepth][]byte
}

// checkPages walks through the pages of a file of that many octets.
func checkPages(f io.ReaderAt, size int64) error {
	m, err := findMeta(f, size)
	if err != nil {
		return err
	}
	if m.freelist == noFreelist {
		return errNotBolt // of this package: all that it writes have one
	}
	w := &walk{f: f, pageSize: uint64(m.pageSize), pages: m.pages}
	if m.pages < 4 || m.pages > uint64(size)/w.pageSize {
		return fmt.Errorf("it has %d octets, and should have %d pages of %d", size, m.pages, m.pageSize)
	}
	w.seen = make([]uint64, m.pages/64+1)
	if err := w.tree(m.root, 0, nil, nil); err != nil {
		return err
	}
	return w.free(m.freelist)
}

func (w *walk) bad(id uint64, format string, args ...any) error {
	return fmt.Errorf("page %d: %s", id, fmt.Sprintf(format, args...))
}

// visit marks pages; each may be reached once.
func (w *walk) visit(id, more uint64) error {
	if id < 2 || id >= w.pages || more >= w.pages-id {
		return w.bad(id, "there is none, or not as large")
	}
	for i := id; i <= id+more; i++ {
		if w.seen[i/64]>>(i%64)&1 != 0 {
			return w.bad(i, "used twice")
		}
		w.seen[i/64] |= 1 << (i % 64)
	}
	return nil
}

// read reads a page with all that belongs to it.
func (w *walk) read(id uint64, depth int) ([]byte, error) {
	if id < 2 || id >= w.pages {
		return nil, w.bad(id, "there is none")
	}
	if depth >= maxDepth {
		return nil, w.bad(id, "too deep")
	}
	b := w.room[depth]
	if b == nil {
		b = make([]byte, w.pageSize)
	}
	defer func() { w.room[depth] = b }()
	if _, err := w.f.ReadAt(b[:w.pageSize], int64(id*w.pageSize)); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	more := uint64(order.Uint32(b[12:]))
	if got := order.Uint64(b); got != id {
		return nil, w.bad(id, "says that it is page %d", got)
	}
	if err := w.visit(id, more); err != nil {
		return nil, err
	}
	whole := (more + 1) * w.pageSize
	if uint64(len(b)) < whole {
		b = append(b[:w.pageSize], make([]byte, whole-w.pageSize)...)
	}
	if more > 0 {
		if _, err := w.f.ReadAt(b[w.pageSize:whole], int64((id+1)*w.pageSize)); err != nil {
			return nil, fmt.Errorf("page %d: %w", id, err)
		}
	}
	return b[:whole], nil
}

// tree walks through the tree below a page, whose keys must begin with first and be
// before bound; nil: there is no such limit. bbolt finds a page that it changed in
// the branch above by the first key of it. If that key is another there, were it
// only less, all is still found, but the next change leaves the old page in the
// branch beside the new one, and in the list of free pages.
func (w *walk) tree(id uint64, depth int, first, bound []byte) error {
	b, err := w.read(id, depth)
	if err != nil {
		return err
	}
	switch order.Uint16(b[8:]) {
	case kindLeaf:
		return w.leaf(id, b, depth, first, bound, true)
	case kindBranch:
		return w.branch(id, b, depth, first, bound)
	default:
		return w.bad(id, "is no page of a tree")
	}
}

// elements gives the number of elements of a page, after looking that they fit.
func (w *walk) elements(id uint64, b []byte) (int, error) {
	n := int(order.Uint16(b[10:]))
	if pageHeader+n*elementSize > len(b) {
		return 0, w.bad(id, "%d elements do not fit", n)
	}
	return n, nil
}

// key gives the key of the element at an offset of b, with what follows it, and
// looks that it is in its place: behind the elements.
func (w *walk) key(id uint64, b []byte, n, at int, offset, size, more uint32) ([]byte, error) {
	from := uint64(at) + uint64(offset)
	if size == 0 || from < uint64(pageHeader+n*elementSize) || from+uint64(size)+uint64(more) > uint64(len(b)) {
		return nil, w.bad(id, "a key is not in its place")
	}
	return b[from : from+uint64(size)], nil
}

// begins looks that a page begins with the key that leads to it.
func (w *walk) begins(id uint64, key, first []byte) error {
	if first != nil && !bytes.Equal(key, first) {
		return w.bad(id, "begins with another key than the branch above has")
	}
	return nil
}

func (w *walk) leaf(id uint64, b []byte, depth int, first, bound []byte, buckets bool) error {
	n, err := w.elements(id, b)
	if err != nil {
		return err
	}
	if n == 0 {
		return w.begins(id, nil, first) // only the root may be empty
	}
	var last []byte
	for i := range n {
		at := pageHeader + i*elementSize
		flags, offset, size, more := order.Uint32(b[at:]), order.Uint32(b[at+4:]), order.Uint32(b[at+8:]), order.Uint32(b[at+12:])
		key, err := w.key(id, b, n, at, offset, size, more)
		if err != nil {
			return err
		}
		if i == 0 {
			if err := w.begins(id, key, first); err != nil {
				return err
			}
		}
		if i > 0 && bytes.Compare(last, key) >= 0 || bound != nil && bytes.Compare(key, bound) >= 0 {
			return w.bad(id, "keys are out of order")
		}
		last = key
		switch {
		case flags == 0:
		case flags == flagBucket && buckets && more >= bucketHeader:
			from := at + int(offset) + int(size)
			if err := w.bucket(id, b[from:from+int(more)], depth); err != nil {
				return err
			}
		default:
			return w.bad(id, "an element is of no known kind")
		}
	}
	return nil
}

// bucket walks through the bucket of a leaf.
func (w *walk) bucket(id uint64, value []byte, depth int) error {
	if root := order.Uint64(value); root != 0 {
		return w.tree(root, depth+1, nil, nil)
	}
	b := value[bucketHeader:]
	if len(b) < pageHeader || order.Uint16(b[8:]) != kindLeaf {
		return w.bad(id, "a bucket is no page")
	}
	return w.leaf(id, b, depth, nil, nil, false)
}

func (w *walk) branch(id uint64, b []byte, depth int, first, bound []byte) error {
	n, err := w.elements(id, b)
	if err != nil {
		return err
	}
	if n == 0 {
		return w.bad(id, "is a branch to nothing")
	}
	element := func(i int) (key []byte, page uint64, err error) {
		at := pageHeader + i*elementSize
		key, err = w.key(id, b, n, at, order.Uint32(b[at:]), order.Uint32(b[at+4:]), 0)
		return key, order.Uint64(b[at+8:]), err
	}
	key, page, err := element(0)
	if err != nil {
		return err
	}
	if err := w.begins(id, key, first); err != nil {
		return err
	}
	for i := range n {
		next, after := bound, uint64(0)
		if i+1 < n {
			if next, after, err = element(i + 1); err != nil {
				return err
			}
		}
		if next != nil && bytes.Compare(key, next) >= 0 {
			return w.bad(id, "keys are out of order")
		}
		if err := w.tree(page, depth+1, key, next); err != nil {
			return err
		}
		key, page = next, after
	}
	return nil
}

// free looks at the list of free pages.
func (w *walk) free(id uint64) error {
	b, err := w.read(id, 0)
	if err != nil {
		return err
	}
	if order.Uint16(b[8:]) != kindFreelist {
		return w.bad(id, "is no list of free pages")
	}
	n, at := uint64(order.Uint16(b[10:])), pageHeader
	if n == 1<<16-1 {
		if len(b) < at+8 {
			return w.bad(id, "the list of free pages is cut off")
		}
		n, at = order.Uint64(b[at:]), at+8
	}
	if n > uint64(len(b)-at)/8 {
		return w.bad(id, "the list of free pages is cut off")
	}
	for i := range n {
		if err := w.visit(order.Uint64(b[at+int(i)*8:]), 0); err != nil {
			return fmt.Errorf("list of free pages: %w", err)
		}
	}
	return nil
}
