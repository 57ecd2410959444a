package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/test/server"
)

// held is how many records of its own a client lets stand in the zone. With that
// many it removes one for each that it adds, so that the zone keeps its size.
const held = 4

// writer is a client that changes a zone by dynamic updates (RFC 2136), one after
// the other. Each adds one A record at a name that never was, or removes the oldest
// of those that the client has added, so every one is a real change.
type writer struct {
	conn   *net.UDPConn
	signer *signer
	origin string // in wire form
	number int    // of the client
	id     uint16

	request, response [512]byte

	next  int   // names that were made
	live  []int // of those, which are in the zone, the oldest first
	again int   // requests that were sent again

	each []time.Duration // of the acknowledged updates
	last time.Time       // when the last of them was
}

// How long a client waits for a response before it sends the request again, as it
// is, and how often it sends it.
const (
	updatePatience = time.Second
	updateTries    = 10
)

func newWriter(to netip.AddrPort, origin string, number int, key *server.Key) (*writer, error) {
	name, err := dnsname.Parse(origin, "")
	if err != nil {
		return nil, err
	}
	s, err := newSigner(key)
	if err != nil {
		return nil, err
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	return &writer{conn: conn, signer: s, origin: string(name), number: number}, nil
}

// ownerPrefix begins the labels that clients make. No other label of a zone has a
// digit behind one letter and a "-" behind that.
const ownerPrefix = "u"

// label gives a label that the client makes.
func (w *writer) label(i int) string {
	return ownerPrefix + strconv.Itoa(w.number) + "-" + strconv.Itoa(i)
}

// message gives a request that adds the record of a name, or removes it.
func (w *writer) message(i int, add bool) []byte {
	w.id++
	m := binary.BigEndian.AppendUint16(w.request[:0], w.id)
	m = append(m, dns.OpcodeUpdate<<3, 0)
	m = append(m, 0, 1, 0, 0, 0, 1, 0, 0)
	m = append(m, w.origin...)
	m = append(m, 0, byte(dns.TypeSOA), 0, dns.ClassINET)
	label := w.label(i)
	m = append(m, byte(len(label)))
	m = append(m, label...)
	m = append(m, 0xc0, 12) // the name of the zone, behind the header
	m = append(m, 0, byte(dns.TypeA))
	if add {
		m = append(m, 0, dns.ClassINET, 0, 0, 1, 44)
	} else {
		m = append(m, 0, dns.ClassNONE, 0, 0, 0, 0)
	}
	return append(m, 0, 4, 10, byte(i>>16), byte(i>>8), byte(i))
}

// update makes one change. That it was acknowledged means NOERROR and the right
// signature.
func (w *writer) update() error {
	add := len(w.live) < held
	i := w.next
	if !add {
		i = w.live[0]
	}
	start := time.Now()
	answer, err := w.exchange(w.signer.sign(w.message(i, add), uint64(start.Unix())))
	if err != nil {
		return err
	}
	w.last = time.Now()
	if answer[2]>>3 != 0x10|dns.OpcodeUpdate {
		return fmt.Errorf("a response with flags %#x", answer[2:4])
	}
	if rcode := int(answer[3] & 0xf); rcode != dns.RcodeSuccess {
		return errors.New(dns.RcodeToString[rcode])
	}
	if err := w.signer.verify(answer); err != nil {
		return err
	}
	if add {
		w.live = append(w.live, i)
		w.next++
	} else {
		w.live = w.live[1:]
	}
	w.each = append(w.each, w.last.Sub(start))
	return nil
}

// exchange sends a request until there is a response.
func (w *writer) exchange(m []byte) ([]byte, error) {
	for try := range updateTries {
		if try > 0 {
			w.again++
		}
		if err := w.conn.SetReadDeadline(time.Now().Add(updatePatience)); err != nil {
			return nil, err
		}
		if _, err := w.conn.Write(m); err != nil {
			return nil, err
		}
		for {
			n, err := w.conn.Read(w.response[:])
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, err
			}
			// What else comes is a second response to one before.
			if n >= wire.HeaderSize && binary.BigEndian.Uint16(w.response[:]) == w.id {
				return w.response[:n], nil
			}
		}
	}
	return nil, fmt.Errorf("no response to a request that was sent %d times", updateTries)
}

// acknowledged is what came of updates by some clients: how long each took, and all
// of them until the last was acknowledged.
type acknowledged struct {
	latencies
	again  int           // requests that were sent again
	client time.Duration // CPU time of this process
}

// storm lets clients make updates until stop is closed.
func storm(writers []*writer, stop <-chan struct{}) (a acknowledged, err error) {
	before, err := ownCPU()
	if err != nil {
		return a, err
	}
	errs := make([]error, len(writers))
	for _, w := range writers {
		w.each, w.again = w.each[:0], 0
	}
	var wg sync.WaitGroup
	begin := time.Now()
	for i, w := range writers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := w.update(); err != nil {
					errs[i] = fmt.Errorf("client %d: %w", w.number, err)
					return
				}
			}
		})
	}
	wg.Wait()
	after, err := ownCPU()
	a.client = after - before
	for _, w := range writers {
		a.each = append(a.each, w.each...)
		a.again += w.again
		a.took = max(a.took, w.last.Sub(begin))
	}
	return a, errors.Join(errors.Join(errs...), err)
}

// stormFor is storm for that long.
func stormFor(writers []*writer, limit time.Duration) (acknowledged, error) {
	stop := make(chan struct{})
	timer := time.AfterFunc(limit, func() { close(stop) })
	defer timer.Stop()
	return storm(writers, stop)
}

// ownCPU gives the CPU time of this process.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// verifyZone fetches a zone and sees to it that it has the records that the clients
// were told of, no others of theirs, and base records besides. It gives how many
// records the zone has, without those that are there only because it is signed. If v
// is not nil, the zone has to be signed: every RRset at the apex and at the names of
// the clients, with NSEC records that are one chain.
func verifyZone(from netip.AddrPort, origin string, base int, writers []*writer, key *server.Key, v *validator) (records int, err error) {
	found := make(map[string]bool)
	watched := make(map[string][]dns.RR)
	next := make(map[string]string)
	last, err := fetchZone(from, origin, key, func(rr dns.RR) {
		h := rr.Header()
		label, _, _ := strings.Cut(h.Name, ".")
		made := isMade(label)
		if !isSecurity(h.Rrtype) {
			records++
			if made {
				found[label] = true
			}
		}
		if v == nil {
			return
		}
		if made || h.Name == origin {
			watched[h.Name] = append(watched[h.Name], rr)
		}
		if n, ok := rr.(*dns.NSEC); ok {
			next[h.Name] = n.NextDomain
		}
	})
	if err != nil {
		return 0, err
	}
	var wrong []string
	others := records - len(found)
	for _, w := range writers {
		for _, i := range w.live {
			if !found[w.label(i)] {
				wrong = append(wrong, w.label(i)+" was acknowledged and is not there")
			}
			delete(found, w.label(i))
		}
	}
	for label := range found {
		wrong = append(wrong, label+" was removed and is there")
	}
	if others != base {
		wrong = append(wrong, fmt.Sprintf("%d records besides, not %d", others, base))
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return records, fmt.Errorf("%d differences to what was acknowledged: %s", len(wrong), strings.Join(wrong[:min(5, len(wrong))], "; "))
	}
	if v == nil {
		return records, nil
	}
	return records, v.verifyTransfer(watched, next, last)
}

// verifyTransfer checks what verifyZone has collected of a signed zone: records by
// their owners, and the names that NSEC records lead to.
func (v *validator) verifyTransfer(watched map[string][]dns.RR, next map[string]string, soa dns.RR) error {
	apex := slices.DeleteFunc(watched[v.origin], func(rr dns.RR) bool { return rr.Header().Rrtype == privateType })
	if len(apex) == 0 || apex[0].String() != soa.String() {
		return errors.New("the transfer does not end with the SOA record that it begins with")
	}
	keys := slices.DeleteFunc(slices.Clone(apex), func(rr dns.RR) bool {
		sig, ok := rr.(*dns.RRSIG)
		return rr.Header().Rrtype != dns.TypeDNSKEY && !(ok && sig.TypeCovered == dns.TypeDNSKEY)
	})
	if err := v.useKeys(keys); err != nil {
		return err
	}
	now := time.Now()
	for owner, rrs := range watched {
		if owner == v.origin {
			rrs = apex
		}
		if !hasType(rrs, dns.TypeNSEC) {
			return fmt.Errorf("%s has no NSEC record", owner)
		}
		if err := v.verify(rrs, now); err != nil {
			return err
		}
	}
	return closed(v.origin, next)
}

// isMade tells whether a label is one that clients make.
func isMade(label string) bool {
	return len(label) > 3 && strings.HasPrefix(label, ownerPrefix) && label[1] >= '0' && label[1] <= '9' && strings.Contains(label, "-")
}

// fetchZone fetches a zone by AXFR and calls fn for each record, the SOA record once.
// It gives the last record, which should be that again.
func fetchZone(from netip.AddrPort, origin string, key *server.Key, fn func(dns.RR)) (last dns.RR, err error) {
	m := new(dns.Msg)
	m.SetAxfr(origin)
	m.SetTsig(dns.Fqdn(key.Name), dns.HmacSHA256, signedFudge, time.Now().Unix())
	x := &dns.Transfer{TsigSecret: map[string]string{dns.Fqdn(key.Name): key.Secret}, ReadTimeout: fetchTimeout}
	ch, err := x.In(m, from.String())
	if err != nil {
		return nil, err
	}
	for e := range ch {
		if e.Error != nil {
			err = e.Error
			continue
		}
		for _, rr := range e.RR {
			if last != nil {
				fn(last)
			}
			last = rr
		}
	}
	return last, err
}
