package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/test/server"
)

// request is one AXFR (RFC 5936).
type request struct {
	zone    string
	records int // that the answer has, the SOA record at its end included
	id      uint16
	message []byte // with its length in front
	key     *server.Key
	mac     []byte // of the request; nil without a key
}

// newRequest asks for a zone that has so many records, signed if there is a key,
// which is for HMAC-SHA256.
func newRequest(zone string, records int, id uint16, key *server.Key) (*request, error) {
	r := &request{zone: zone, records: records + 1, id: id, key: key}
	m := new(dns.Msg)
	m.SetAxfr(zone)
	m.Id = id
	var packed []byte
	var err error
	if key == nil {
		packed, err = m.Pack()
	} else {
		if key.Algorithm != "hmac-sha256" {
			return nil, fmt.Errorf("algorithm %q", key.Algorithm)
		}
		m.SetTsig(dns.Fqdn(key.Name), dns.HmacSHA256, 300, time.Now().Unix())
		var mac string
		if packed, mac, err = dns.TsigGenerate(m, key.Secret, "", false); err == nil {
			r.mac, err = hex.DecodeString(mac)
		}
	}
	if err != nil {
		return nil, err
	}
	r.message = append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
	return r, nil
}

// fetched is what one transfer took.
type fetched struct {
	took     time.Duration // from before the connection to the last octet
	octets   int64         // on the wire, the lengths of the messages included
	messages int
}

// fetchTimeout bounds a transfer.
const fetchTimeout = 2 * time.Minute

// fetch gets the zone over TCP. What comes is copied to record if that is not nil.
func (r *request) fetch(from netip.AddrPort, record io.Writer) (f fetched, err error) {
	start := time.Now()
	conn, err := net.DialTimeout("tcp", from.String(), fetchTimeout)
	if err != nil {
		return f, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(start.Add(fetchTimeout)); err != nil {
		return f, err
	}
	if _, err := conn.Write(r.message); err != nil {
		return f, err
	}
	src := io.Reader(conn)
	if record != nil {
		src = io.TeeReader(conn, record)
	}
	return r.read(src, start)
}

// read reads the answer, with the lengths of its messages: it counts their records
// by their headers and, if the request is signed, checks every signature. After
// the last record it sees to it that the first and the last are the same SOA
// record; that takes no part in the time, which is counted from start.
func (r *request) read(src io.Reader, start time.Time) (f fetched, err error) {
	b := bufio.NewReaderSize(src, 4*wire.MaxMessage)
	var c *chain
	if r.key != nil {
		if c, err = newChain(r.key, r.mac); err != nil {
			return f, err
		}
	}
	var first, m []byte
	for records := 0; records < r.records; {
		if f.messages > 0 {
			if _, err := b.Discard(2 + len(m)); err != nil {
				return f, err
			}
		}
		if m, err = next(b); err != nil {
			return f, fmt.Errorf("after %d of %d records: %w", records, r.records, err)
		}
		if err := r.check(m); err != nil {
			return f, fmt.Errorf("message %d: %w", f.messages, err)
		}
		if c != nil {
			if err := c.add(m); err != nil {
				return f, fmt.Errorf("message %d: %w", f.messages, err)
			}
		}
		if f.messages == 0 {
			first = slices.Clone(m)
		}
		f.messages++
		f.octets += int64(2 + len(m))
		records += int(binary.BigEndian.Uint16(m[6:]))
	}
	f.took = time.Since(start)
	if c != nil && c.unsigned > 0 {
		return f, errors.New("the last message is not signed")
	}
	return f, r.ends(first, m)
}

// next gives the next message of a stream, which stays there.
func next(b *bufio.Reader) ([]byte, error) {
	length, err := b.Peek(2)
	if err != nil {
		return nil, err
	}
	m, err := b.Peek(2 + int(binary.BigEndian.Uint16(length)))
	if err != nil {
		return nil, err
	}
	if m = m[2:]; len(m) < wire.HeaderSize {
		return nil, fmt.Errorf("message of %d octets", len(m))
	}
	return m, nil
}

// check looks at the header of a message.
func (r *request) check(m []byte) error {
	if id := binary.BigEndian.Uint16(m); id != r.id {
		return fmt.Errorf("ID %d, not %d", id, r.id)
	}
	if rcode := int(m[3] & 0xf); rcode != dns.RcodeSuccess {
		return errors.New(dns.RcodeToString[rcode])
	}
	if binary.BigEndian.Uint16(m[6:]) == 0 {
		return errors.New("no records")
	}
	return nil
}

// ends sees to it that the first record of one message and the last of another are
// the same SOA record.
func (r *request) ends(first, last []byte) error {
	var a, z dns.Msg
	if err := errors.Join(a.Unpack(first), z.Unpack(last)); err != nil {
		return err
	}
	x, y := a.Answer[0], z.Answer[len(z.Answer)-1]
	if x.Header().Rrtype != dns.TypeSOA || x.String() != y.String() {
		return fmt.Errorf("from %q to %q", x, y)
	}
	return nil
}

// chain checks the signatures of a stream of messages (RFC 8945 §5.3.1).
type chain struct {
	mac      hash.Hash
	name     []byte // of the key, in canonical form
	record   []byte // how a TSIG record begins: its owner, type, class, TTL
	tail     int    // octets of a TSIG record
	sum      []byte
	first    bool
	unsigned int // messages since the last that had a signature
}

// The parts of a TSIG record (RFC 8945 §4.2).
const (
	algorithm   = "\x0bhmac-sha256\x00"
	maxUnsigned = 99 // messages in a row (RFC 8945 §5.3.1)
)

// newChain makes a chain that starts from the MAC of a request.
func newChain(key *server.Key, mac []byte) (*chain, error) {
	secret, err := base64.StdEncoding.DecodeString(key.Secret)
	if err != nil {
		return nil, err
	}
	name := make([]byte, 256)
	n, err := dns.PackDomainName(dns.CanonicalName(key.Name), name, 0, nil, false)
	if err != nil {
		return nil, err
	}
	c := &chain{mac: hmac.New(sha256.New, secret), name: name[:n], first: true}
	c.record = binary.BigEndian.AppendUint16(slices.Clone(c.name), dns.TypeTSIG)
	c.record = binary.BigEndian.AppendUint16(c.record, dns.ClassANY)
	c.record = binary.BigEndian.AppendUint32(c.record, 0)
	c.tail = len(c.record) + 2 + len(algorithm) + 6 + 2 + 2 + sha256.Size + 2 + 2 + 2
	c.prior(mac)
	return c, nil
}

// prior starts a signature with the MAC of the one before.
func (c *chain) prior(mac []byte) {
	c.mac.Reset()
	c.mac.Write([]byte{byte(len(mac) >> 8), byte(len(mac))})
	c.mac.Write(mac)
}

// add takes the next message.
func (c *chain) add(m []byte) error {
	if binary.BigEndian.Uint16(m[10:]) == 0 {
		c.mac.Write(m)
		if c.unsigned++; c.first || c.unsigned > maxUnsigned {
			return errors.New("no signature")
		}
		return nil
	}
	// The record is the last, and all of its parts have known lengths if there is
	// no error in it, which would come with another response code.
	at := len(m) - c.tail
	if at < wire.HeaderSize || !dnsname.EqualFold(m[at:at+len(c.name)], c.name) || !bytes.Equal(m[at+len(c.name):at+len(c.record)], c.record[len(c.name):]) {
		return errors.New("no TSIG record of the key at the end")
	}
	length, rdata := m[at+len(c.record):][:2], m[at+len(c.record)+2:]
	times := rdata[len(algorithm):][:8]
	size := rdata[len(algorithm)+8:][:2]
	mac := rdata[len(algorithm)+10:][:sha256.Size]
	rest := rdata[len(algorithm)+10+sha256.Size:] // original ID, error, length of other data
	if !dnsname.EqualFold(rdata[:len(algorithm)], algorithm) ||
		int(binary.BigEndian.Uint16(length)) != len(rdata) || binary.BigEndian.Uint16(size) != sha256.Size || binary.BigEndian.Uint32(rest[2:]) != 0 {
		return errors.New("a TSIG record of another form, or with an error")
	}

	header := [wire.HeaderSize]byte(m)
	copy(header[:2], rest[:2])
	binary.BigEndian.PutUint16(header[10:], binary.BigEndian.Uint16(m[10:])-1)
	c.mac.Write(header[:])
	c.mac.Write(m[wire.HeaderSize:at])
	if c.first {
		c.mac.Write(c.name)
		c.mac.Write([]byte{0, dns.ClassANY, 0, 0, 0, 0})
		c.mac.Write([]byte(algorithm))
	}
	c.mac.Write(times)
	if c.first {
		c.mac.Write(rest[2:6])
	}
	if c.sum = c.mac.Sum(c.sum[:0]); !hmac.Equal(c.sum, mac) {
		return errors.New("wrong signature")
	}
	c.first, c.unsigned = false, 0
	c.prior(c.sum)
	return nil
}
