package crash

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server/secondary"
)

// patience bounds everything that is waited for.
const patience = 30 * time.Second

// books tell which versions of a zone, or of a part of one, were asked for, and which of them is sure.
type books struct {
	asked []*secondary.Version // in their order, under serials that mean nothing
	sure  int                  // the index in asked of the newest that was acknowledged or seen; -1: none
}

// ask takes down a version that somebody is about to ask for.
func (b *books) ask(records []dns.RR) error {
	v, err := secondary.NewVersion(records)
	if err == nil {
		b.asked = append(b.asked, v)
	}
	return err
}

// acknowledged says that a version, which was acknowledged or seen, must be there whatever comes.
func (b *books) acknowledged(i int) { b.sure = max(b.sure, i) }

// find gives the first of some versions that v is, but for its serial.
func (b *books) find(v *secondary.Version, from, to int) (int, error) {
	difference := ""
	for i := max(0, from); i <= to; i++ {
		d := v.Under(b.asked[i].Serial).Difference(b.asked[i])
		if d == "" {
			return i, nil
		}
		if difference == "" || len(d) < len(difference) {
			difference = d
		}
	}
	return 0, fmt.Errorf("serial %d is none of the versions from %d to %d; from the next of them: %s", v.Serial, from, to, difference)
}

// A history keeps the books about the serials of one zone.
type history struct {
	client  *secondary.Client
	seen    map[uint32]*secondary.Version
	serials []uint32 // of seen, in the order in which they were
	last    uint32   // the latest serial that was seen, be it without its version
	reach   uint32   // IXFR from serials that are no more than that before the present one must be differences
}

func newHistory(origin string) history {
	return history{client: &secondary.Client{Zone: origin}, seen: make(map[uint32]*secondary.Version), reach: math.MaxUint32}
}

// newest gives the version that was seen last.
func (h *history) newest() *secondary.Version { return h.seen[h.serials[len(h.serials)-1]] }

// pass takes down a serial that is served. It must not be before one that was seen (RFC 1982 §3.2).
func (h *history) pass(serial uint32) error {
	if len(h.serials) > 0 && serial-h.last >= 1<<31 {
		return fmt.Errorf("serial %d after %d", serial, h.last)
	}
	h.last = serial
	return nil
}

// note takes down a version that is served. Its serial must be new, or the last one and that which the same version had.
func (h *history) note(v *secondary.Version) error {
	before := h.seen[v.Serial]
	if before != nil {
		if d := v.Difference(before); d != "" {
			return fmt.Errorf("serial %d was another version: %s", v.Serial, d)
		}
	}
	if err := h.pass(v.Serial); err != nil {
		return err
	}
	if before == nil {
		h.seen[v.Serial] = v
		h.serials = append(h.serials, v.Serial)
	}
	return nil
}

// chain takes IXFR from serials that were seen. Each must lead to the version that was seen last, by differences unless it is beyond
// reach.
func (h *history) chain(serials []uint32) error {
	now := h.newest()
	for _, serial := range serials {
		a, err := h.client.IXFR(serial)
		if err != nil {
			return fmt.Errorf("IXFR from %d: %w", serial, err)
		}
		v, err := h.seen[serial].Next(a)
		if err != nil {
			return fmt.Errorf("IXFR from %d: %w", serial, err)
		}
		if d := v.Difference(now); d != "" {
			return fmt.Errorf("IXFR from %d: %s", serial, d)
		}
		if a.Form == secondary.Whole && now.Serial-serial <= h.reach || a.Form == secondary.UpToDate && serial != now.Serial {
			return fmt.Errorf("IXFR from %d to %d is %s", serial, now.Serial, a.Form)
		}
	}
	return nil
}

// complaints gives the lines of a log that tell of something that a kill must not do.
func complaints(log string) (lines []string) {
	for line := range strings.Lines(log) {
		for _, bad := range []string{"ERROR", "corrupt", "panic", "repair"} {
			if strings.Contains(line, bad) {
				lines = append(lines, line)
				break
			}
		}
	}
	return lines
}
