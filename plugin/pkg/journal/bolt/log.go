package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// The log is a file of a fixed size beside the other. It was written with
// nothing once, so that an append takes no room of the disk and its sync writes
// nothing but the append. Numbers are little-endian, n is a varint of package
// binary:
//
//	file:   head | nothing, to the end of the block | half | half
//	head:   "trustdns log" (12) | form (4) | octets of a half (8) | number of the file (4) | xxhash64 of all before (8)
//	half:   frames, each from the start of a block
//	frame:  "tdlg" (4) | octets of the body (4) | session (8) | sequence number (8) | xxhash64 of all before and the body (8) | body
//	body:   n steps: delta.append
//
// A frame is what was appended at once and synced before the next. Its session is
// a number of chance, the upper half of it that of the file, that the summary in
// the other file has too: frames of other sessions mean nothing. In a session each frame has the next number, and
// the summary says up to which all is in the other file. So what there is to do
// at a start are the frames of the session with the next numbers, wherever they
// stand. If one is missing, nobody can have appended another after it.
//
// No block is written twice before what is in it was brought into the other file:
// a write that is cut short spoils nothing that was acknowledged.
const (
	logName     = "zones.log"
	logTempName = "zones.log.new" // a log that is being made

	logMagic   = "trustdns log"
	logForm    = 1
	headSize   = 12 + 4 + 8 + 4 + sumSize
	frameMagic = 0x676c6474 // "tdlg"
	frameHead  = 4 + 4 + 8 + 8 + sumSize
	// block is what disks write whole, or a multiple of it.
	block = 4096
)

var (
	errFrame    = errors.New("a frame is malformed")
	errNoLog    = errors.New("it is not there")
	errLogHead  = errors.New("its head is malformed")
	errLogShort = errors.New("it was cut off")
	errLogOther = errors.New("it is of another store")
)

// log is the file, and where the next frame goes. Only the writer uses it.
type log struct {
	path string
	half int64 // octets of a half

	file   *os.File  // nil if it is not open
	number uint32    // of the file
	active int       // the half that is appended to
	end    int64     // of the frames in it
	last   [2]uint64 // the last frames of both halves
	buf    []byte
	// write is what writes a frame and has the disk sync it; tests have it fail.
	write func(f *os.File, b []byte, at int64) error
}

// writeSynced writes to a file and has the disk sync it.
func writeSynced(f *os.File, b []byte, at int64) error {
	if _, err := f.WriteAt(b, at); err != nil {
		return err
	}
	return os.NewSyscallError("fdatasync", syncData(f))
}

// open opens the file, which holds frames that count.
func (l *log) open() error {
	f, err := os.OpenFile(l.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return errNoLog
	}
	if err != nil {
		return err
	}
	l.file = f
	return nil
}

func (l *log) close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// prepare opens the file, or makes it, to begin a session in it.
func (l *log) prepare() error {
	if l.file == nil {
		if err := l.open(); err != nil && !errors.Is(err, errNoLog) {
			return err
		}
	}
	if l.file != nil {
		h, err := readHead(l.file)
		if err == nil && h.half == l.half && h.size == block+2*h.half {
			l.number = h.number
			return nil
		}
		if errors.Is(err, journal.ErrForeign) || errors.Is(err, journal.ErrNewer) {
			return errors.Join(err, l.close())
		}
		if err := l.close(); err != nil {
			return err
		}
	}
	return l.make()
}

// make makes the file: beside its place, and then moves it there.
func (l *log) make() (err error) {
	dir := filepath.Dir(l.path)
	temp := filepath.Join(dir, logTempName)
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	number := rand.Uint32()
	head := make([]byte, block)
	copy(head, logMagic)
	binary.LittleEndian.PutUint32(head[12:], logForm)
	binary.LittleEndian.PutUint64(head[16:], uint64(l.half))
	binary.LittleEndian.PutUint32(head[24:], number)
	binary.LittleEndian.PutUint64(head[28:], xxhash.Sum64(head[:28]))
	_, err = f.Write(head)
	zeros := make([]byte, min(l.half, 1<<20))
	for left := 2 * l.half; err == nil && left > 0; {
		var n int
		n, err = f.Write(zeros[:min(left, int64(len(zeros)))])
		left -= int64(n)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(temp, l.path)
	}
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		return errors.Join(err, f.Close(), removed(temp))
	}
	l.file, l.number = f, number
	return nil
}

// logHead is what the file says of itself.
type logHead struct {
	half, size int64
	number     uint32
}

// readHead reads the head. An empty file has no half.
func readHead(f *os.File) (h logHead, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return h, err
	}
	b := make([]byte, headSize)
	n, err := f.ReadAt(b, 0)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return h, err
	case n < len(b) || string(b[:12]) != logMagic:
		return h, journal.ErrForeign
	case xxhash.Sum64(b[:28]) != binary.LittleEndian.Uint64(b[28:]):
		return h, errLogHead
	case binary.LittleEndian.Uint32(b[12:]) > logForm:
		return h, journal.ErrNewer
	}
	h = logHead{int64(binary.LittleEndian.Uint64(b[16:])), info.Size(), binary.LittleEndian.Uint32(b[24:])}
	if h.half <= 0 || h.half > 1<<30 || h.half%block != 0 {
		return h, errLogHead
	}
	return h, nil
}

// newSession draws the number of a session.
func (l *log) newSession() uint64 {
	for {
		if n := uint64(l.number)<<32 | uint64(rand.Uint32()); n != 0 {
			return n
		}
	}
}

// begin makes all of the file free.
func (l *log) begin() { l.active, l.end, l.last = 0, 0, [2]uint64{} }

// room tells whether there is room for a frame of so many octets when all frames
// up to one are in the other file, and makes it.
func (l *log) room(octets int, applied uint64) bool {
	if l.last[l.active] <= applied {
		l.end = 0
	}
	if l.end+int64(octets) <= l.half {
		return true
	}
	if other := 1 - l.active; l.last[other] <= applied && int64(octets) <= l.half {
		l.active, l.end = other, 0
		return true
	}
	return false
}

// frame makes a frame of steps, as long as blocks. It is valid until the next.
func (l *log) frame(session, seq uint64, steps []*delta) []byte {
	b := append(l.buf[:0], make([]byte, frameHead)...)
	b = binary.AppendUvarint(b, uint64(len(steps)))
	for _, d := range steps {
		b = d.append(b)
	}
	binary.LittleEndian.PutUint32(b, frameMagic)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-frameHead))
	binary.LittleEndian.PutUint64(b[8:], session)
	binary.LittleEndian.PutUint64(b[16:], seq)
	binary.LittleEndian.PutUint64(b[24:], frameSum(b[:24], b[frameHead:]))
	if over := len(b) % block; over != 0 {
		b = append(b, make([]byte, block-over)...)
	}
	l.buf = b
	return b
}

func frameSum(head, body []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(head) // never fails
	_, _ = d.Write(body)
	return d.Sum64()
}

// append writes a frame that there is room for, and has the disk sync it.
func (l *log) append(frame []byte, seq uint64) error {
	if err := l.write(l.file, frame, block+int64(l.active)*l.half+l.end); err != nil {
		return err
	}
	l.end += int64(len(frame))
	l.last[l.active] = seq
	return nil
}

// frame is a frame in memory.
type frame struct {
	seq    uint64
	octets int
	steps  []*delta
}

// parseFrame reads a frame at the start of b, if there is one of the session.
func parseFrame(b []byte, session uint64) (seq uint64, body []byte, ok bool) {
	if len(b) < frameHead || binary.LittleEndian.Uint32(b) != frameMagic || binary.LittleEndian.Uint64(b[8:]) != session {
		return 0, nil, false
	}
	n := uint64(binary.LittleEndian.Uint32(b[4:]))
	if n > uint64(len(b)-frameHead) {
		return 0, nil, false
	}
	body = b[frameHead : frameHead+n]
	if frameSum(b[:24], body) != binary.LittleEndian.Uint64(b[24:]) {
		return 0, nil, false
	}
	return binary.LittleEndian.Uint64(b[16:]), body, true
}

// read gives the frames of a session after one, in order.
func (l *log) read(session, applied uint64) ([]frame, error) {
	h, err := readHead(l.file)
	switch {
	case err != nil || h.size == 0:
		return nil, err // an empty one: somebody means to go on without it
	case h.size < block+2*h.half:
		return nil, errLogShort
	case h.number != uint32(session>>32):
		return nil, errLogOther
	}
	var found []frame
	b := make([]byte, h.half)
	for i := range int64(2) {
		if _, err := l.file.ReadAt(b, block+i*h.half); err != nil {
			return nil, err
		}
		for at := 0; at < len(b); at += block {
			seq, body, ok := parseFrame(b[at:], session)
			if !ok || seq <= applied {
				continue
			}
			steps, err := parseSteps(string(body), seq)
			if err != nil {
				return nil, fmt.Errorf("frame %d: %w", seq, err)
			}
			found = append(found, frame{seq: seq, octets: len(body), steps: steps})
		}
	}
	slices.SortFunc(found, func(a, b frame) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	for i, f := range found {
		if f.seq != applied+uint64(i)+1 {
			return nil, fmt.Errorf("frame %d is damaged, and a later one is not", applied+uint64(i)+1)
		}
	}
	return found, nil
}

// delta is what a step writes, and all that a frame has of it.
type delta struct {
	seq        uint64 // of the frame
	origin     dnsname.Name
	base       journal.Revision
	serial     zone.Serial // after it
	drop, join bool        // journal.Commit.Kept
	from, to   zone.Serial // if it joins
	change     []byte      // the changeset as stored, if it joins
	keep       journal.History
	notes      []note
	owners     []owner
}

// note is one to write, or to remove.
type note struct {
	name, value string
	remove      bool
}

const (
	deltaDrop = 1
	deltaJoin = 2
)

// append appends the stored form of a step: origin: n, octets | base: n | serial (4)
// | deltaDrop, deltaJoin (1) | depth (8) | octets (8) | if it joins: from (4), to (4),
// changeset: n, octets | n notes | n owners. A note is its name: n, octets | 1 if it
// is removed (1) | value: n, octets. An owner is its key and its value: n, octets.
func (d *delta) append(b []byte) []byte {
	b = appendString(b, d.origin)
	b = binary.AppendUvarint(b, uint64(d.base))
	b = binary.LittleEndian.AppendUint32(b, uint32(d.serial))
	var flags byte
	if d.drop {
		flags |= deltaDrop
	}
	if d.join {
		flags |= deltaJoin
	}
	b = append(b, flags)
	b = binary.LittleEndian.AppendUint64(b, uint64(d.keep.Depth))
	b = binary.LittleEndian.AppendUint64(b, uint64(d.keep.Octets))
	if d.join {
		b = binary.LittleEndian.AppendUint32(b, uint32(d.from))
		b = binary.LittleEndian.AppendUint32(b, uint32(d.to))
		b = appendString(b, d.change)
	}
	b = binary.AppendUvarint(b, uint64(len(d.notes)))
	for _, n := range d.notes {
		b = appendString(b, n.name)
		if n.remove {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
		b = appendString(b, n.value)
	}
	b = binary.AppendUvarint(b, uint64(len(d.owners)))
	for _, o := range d.owners {
		b = appendString(b, o.key)
		b = appendString(b, o.value)
	}
	return b
}

func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// parseSteps reads the body of a frame. The steps are parts of it.
func parseSteps(body string, seq uint64) ([]*delta, error) {
	p := parser{s: body}
	steps := make([]*delta, 0, p.count(26))
	for range cap(steps) {
		d := p.delta()
		d.seq = seq
		steps = append(steps, d)
	}
	if p.failed || p.s != "" {
		return nil, errFrame
	}
	return steps, nil
}

// parser takes a body apart. After an error all is empty.
type parser struct {
	s      string
	failed bool
}

func (p *parser) octets(n uint64) string {
	if n > uint64(len(p.s)) {
		p.s, p.failed = "", true
		return ""
	}
	o := p.s[:n]
	p.s = p.s[n:]
	return o
}

func (p *parser) octet() byte {
	if o := p.octets(1); o != "" {
		return o[0]
	}
	return 0
}

func (p *parser) uint32() uint32 {
	if o := p.octets(4); o != "" {
		return binary.LittleEndian.Uint32(octetsOf(o))
	}
	return 0
}

func (p *parser) uint64() uint64 {
	if o := p.octets(8); o != "" {
		return binary.LittleEndian.Uint64(octetsOf(o))
	}
	return 0
}

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(octetsOf(p.s[:min(len(p.s), binary.MaxVarintLen64)]))
	if n <= 0 {
		p.s, p.failed = "", true
		return 0
	}
	p.s = p.s[n:]
	return v
}

func (p *parser) string() string { return p.octets(p.uvarint()) }

// count reads how many things of so many octets or more follow.
func (p *parser) count(least int) int {
	n := p.uvarint()
	if n > uint64(len(p.s)/least) {
		p.s, p.failed = "", true
		return 0
	}
	return int(n)
}

func (p *parser) delta() *delta {
	d := &delta{origin: dnsname.Name(p.string()), base: journal.Revision(p.uvarint()), serial: zone.Serial(p.uint32())}
	flags := p.octet()
	d.drop, d.join = flags&deltaDrop != 0, flags&deltaJoin != 0
	d.keep = journal.History{Depth: int(p.uint64()), Octets: int64(p.uint64())}
	if d.join {
		d.from, d.to = zone.Serial(p.uint32()), zone.Serial(p.uint32())
		d.change = octetsOf(p.string())
	}
	if n := p.count(3); n > 0 {
		d.notes = make([]note, n)
	}
	for i := range d.notes {
		d.notes[i] = note{name: p.string(), remove: p.octet() != 0, value: p.string()}
	}
	if n := p.count(2); n > 0 {
		d.owners = make([]owner, n)
	}
	for i := range d.owners {
		d.owners[i] = owner{key: octetsOf(p.string()), value: p.string()}
	}
	if d.base == 0 || len(d.origin) == 0 || dnsname.Len(d.origin) != len(d.origin) {
		p.failed = true
	}
	for _, n := range d.notes {
		p.failed = p.failed || n.name == ""
	}
	for _, o := range d.owners {
		p.failed = p.failed || len(o.key) == 0
	}
	return d
}
