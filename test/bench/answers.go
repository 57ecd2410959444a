package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// askAll sends queries, which have different IDs, one after another over UDP, and
// gives the answers.
func askAll(to netip.AddrPort, queries [][]byte) ([][]byte, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	answers := make([][]byte, len(queries))
	buf := make([]byte, wire.MaxMessage)
	for i, q := range queries {
		n, err := exchange(conn, q, buf)
		if err != nil {
			return nil, err
		}
		answers[i] = slices.Clone(buf[:n])
	}
	return answers, nil
}

// exchange sends a query, up to three times, and reads its answer into buf.
func exchange(conn *net.UDPConn, query, buf []byte) (n int, err error) {
	for range 3 {
		if _, err := conn.Write(query); err != nil {
			return 0, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return 0, err
		}
		for {
			n, err = conn.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return 0, err
			}
			if n >= wire.HeaderSize && binary.BigEndian.Uint16(buf) == binary.BigEndian.Uint16(query) {
				return n, nil
			}
		}
	}
	return 0, fmt.Errorf("no answer to query %x: %w", query, err)
}

// encoder answers queries in this process, as a server without a plugin chain
// would.
type encoder struct {
	snap   *zone.Snapshot
	q      wire.Question
	a      zone.Answer
	packer wire.Packer
}

// answer appends the answer to a query to dst.
func (e *encoder) answer(dst, query []byte) ([]byte, error) {
	if o := wire.ParseQuestion(query, &e.q); o != wire.Plain {
		return dst, fmt.Errorf("query %x: %s", query, o)
	}
	e.snap.Lookup(&zone.Query{Name: e.q.Name, Type: e.q.Type, DO: e.q.DO}, &e.a)
	dst, err := e.packer.AppendResponse(dst, &e.q, &e.a, e.q.UDPLimit(), nil)
	if errors.Is(err, wire.ErrTruncated) { // and has TC
		err = nil
	}
	return dst, err
}

// answerAll gives the answers to queries.
func answerAll(snap *zone.Snapshot, queries [][]byte) ([][]byte, error) {
	e := encoder{snap: snap}
	answers := make([][]byte, len(queries))
	for i, q := range queries {
		var err error
		if answers[i], err = e.answer(nil, q); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// meanSize gives the mean length of messages, in octets.
func meanSize(messages [][]byte) float64 {
	sum := 0
	for _, m := range messages {
		sum += len(m)
	}
	return float64(sum) / float64(len(messages))
}

// essence is what has to be the same in the answers of all servers: the response
// code, AA, TC, the answer section and, if that is empty, the authority section.
// The rest of the sections is for a server to choose.
func essence(message []byte) (string, error) {
	m := new(dns.Msg)
	if err := m.Unpack(message); err != nil {
		return "", err
	}
	section := m.Answer
	if len(section) == 0 {
		section = m.Ns
	}
	lines := make([]string, len(section))
	for i, rr := range section {
		rr.Header().Name = strings.ToLower(rr.Header().Name)
		lines[i] = rr.String()
	}
	slices.Sort(lines)
	return fmt.Sprintf("%s aa=%t tc=%t %s\n%s", dns.RcodeToString[m.Rcode], m.Authoritative, m.Truncated, m.Question[0].String(), strings.Join(lines, "\n")), nil
}

// difference is how the answers of two servers to the same queries differ.
type difference struct {
	asked, rcodes, answers int    // queries; of them, those with another response code; those with another essence
	example                string // the first of them, "" if there is none
}

// compare compares what two servers answered.
func compare(nameA string, a [][]byte, nameB string, b [][]byte) (d difference, err error) {
	d.asked = len(a)
	for i := range a {
		ea, err := essence(a[i])
		if err != nil {
			return d, fmt.Errorf("answer of %s: %w", nameA, err)
		}
		eb, err := essence(b[i])
		if err != nil {
			return d, fmt.Errorf("answer of %s: %w", nameB, err)
		}
		if ea == eb {
			continue
		}
		d.answers++
		if a[i][3]&0xf != b[i][3]&0xf {
			d.rcodes++
		}
		if d.example == "" {
			d.example = fmt.Sprintf("%s:\n%s\n%s:\n%s", nameA, ea, nameB, eb)
		}
	}
	return d, nil
}
