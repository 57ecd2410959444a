package interop

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// An update is an UPDATE message: its records, with RDATA that may be anything.
type update struct {
	lines                  []string // as text
	prerequisites, changes []*dns.RFC3597
}

// restore adds records to the update section.
func (u *update) restore(class uint16, rrs ...dns.RR) {
	for _, rr := range rrs {
		raw, err := wireOf(rr)
		if err != nil {
			panic(err) // it came from the wire
		}
		raw.Hdr.Class = class
		if class == dns.ClassNONE {
			raw.Hdr.Ttl = 0
		}
		u.changes = append(u.changes, raw)
	}
}

// wireOf gives a record with its RDATA as octets.
func wireOf(rr dns.RR) (*dns.RFC3597, error) {
	b := make([]byte, dns.MaxMsgSize)
	n, err := dns.PackRR(rr, b, 0, nil, false)
	if err != nil {
		return nil, err
	}
	_, rdata, err := dns.UnpackDomainName(b, 0)
	if err != nil {
		return nil, err
	}
	return &dns.RFC3597{Hdr: *rr.Header(), Rdata: hex.EncodeToString(b[rdata+10 : n])}, nil
}

// parseUpdate reads an update, one record a line. Names are relative to the origin of the zone; "serial+5" stands for a
// number after the present serial.
//
//	yxdomain NAME, nxdomain NAME, yxrrset NAME TYPE [RDATA], nxrrset NAME TYPE
//	add NAME TTL TYPE RDATA, delete NAME [TYPE [RDATA]]
//	prerequisite CLASS TTL NAME TYPE RDATA, change CLASS TTL NAME TYPE RDATA
//
// RDATA is as in a master file, or after "raw" any octets in hexadecimal digits, or nothing.
func parseUpdate(lines []string, serial uint32) (*update, error) {
	u := &update{}
	for _, line := range lines {
		line = strings.TrimSpace(serialPattern.ReplaceAllStringFunc(line, func(s string) string {
			delta, err := strconv.ParseInt(strings.TrimPrefix(s, "serial"), 10, 64)
			if err != nil {
				return s
			}
			return strconv.FormatUint(uint64(uint32(int64(serial)+delta)), 10)
		}))
		if line == "" {
			continue
		}
		u.lines = append(u.lines, line)
		if err := u.parse(line); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	return u, nil
}

var serialPattern = regexp.MustCompile(`serial[+-]\d+`)

// parse reads one line.
func (u *update) parse(line string) error {
	f := strings.SplitN(line, " ", 5)
	class, ttl, name, rrtype, rdata := "ANY", "0", f[1], "ANY", ""
	section := &u.changes
	if len(f) > 2 {
		rrtype, rdata = f[2], strings.Join(f[3:], " ")
	}
	switch f[0] {
	case "yxdomain", "yxrrset", "nxdomain", "nxrrset":
		section = &u.prerequisites
		if f[0][0] == 'n' {
			class = "NONE"
		} else if rdata != "" {
			class = "IN"
		}
	case "add":
		class, ttl = "IN", f[2]
		rrtype, rdata, _ = strings.Cut(strings.Join(f[3:], " "), " ")
	case "delete":
		if rdata != "" {
			class = "NONE"
		}
	case "prerequisite", "change":
		class, ttl, name = f[1], f[2], f[3]
		rrtype, rdata, _ = strings.Cut(f[4], " ")
		if f[0] == "prerequisite" {
			section = &u.prerequisites
		}
	default:
		return fmt.Errorf("unknown word %q", f[0])
	}
	rr, err := newRR(name, ttl, class, rrtype, rdata)
	if err != nil {
		return err
	}
	*section = append(*section, rr)
	return nil
}

func newRR(name, ttl, class, rrtype, rdata string) (*dns.RFC3597, error) {
	rr := new(dns.RFC3597)
	rr.Hdr.Name = fqdn(name)
	c, ok := dns.StringToClass[class]
	if !ok {
		n, err := strconv.ParseUint(strings.TrimPrefix(class, "CLASS"), 10, 16)
		if err != nil {
			return nil, err
		}
		c = uint16(n)
	}
	seconds, err := strconv.ParseUint(ttl, 10, 32)
	if err != nil {
		return nil, err
	}
	typ, ok := dns.StringToType[rrtype]
	if !ok {
		n, err := strconv.ParseUint(strings.TrimPrefix(rrtype, "TYPE"), 10, 16)
		if err != nil {
			return nil, err
		}
		typ = uint16(n)
	}
	rr.Hdr.Class, rr.Hdr.Ttl, rr.Hdr.Rrtype = c, uint32(seconds), typ
	if text, ok := strings.CutPrefix(rdata, "raw"); ok || rdata == "" {
		rr.Rdata = strings.ReplaceAll(text, " ", "")
		_, err := hex.DecodeString(rr.Rdata)
		return rr, err
	}
	zp := dns.NewZoneParser(strings.NewReader(fmt.Sprintf("x 0 IN %s %s\n", rrtype, rdata)), updateOrigin, "")
	parsed, ok := zp.Next()
	if !ok {
		return nil, fmt.Errorf("no record: %w", zp.Err())
	}
	wire, err := wireOf(parsed)
	if err != nil {
		return nil, err
	}
	rr.Rdata = wire.Rdata
	return rr, nil
}

// fqdn gives the full name.
func fqdn(name string) string {
	switch {
	case name == "@":
		return updateOrigin
	case strings.HasSuffix(name, "."):
		return name
	default:
		return name + "." + updateOrigin
	}
}

// send sends the message to a server and gives the response code. Odd ids go over TCP, and what is too large for UDP.
func (u *update) send(s *server.Server, id uint16) (int, error) {
	m := new(dns.Msg)
	m.SetUpdate(updateOrigin)
	m.Id = id
	for _, rr := range u.prerequisites {
		m.Answer = append(m.Answer, dns.Copy(rr))
	}
	for _, rr := range u.changes {
		m.Ns = append(m.Ns, dns.Copy(rr))
	}
	m.SetTsig(updateKey.Name, dns.Fqdn(updateKey.Algorithm), 300, time.Now().Unix())
	c := dns.Client{Net: "udp", Timeout: 10 * time.Second, TsigSecret: map[string]string{updateKey.Name: updateKey.Secret}}
	if id%2 == 1 || m.Len() > 400 {
		c.Net = "tcp"
	}
	type result struct {
		reply *dns.Msg
		err   error
	}
	done := make(chan result, 1)
	go func() {
		r, _, err := c.Exchange(m, s.Addr.String())
		done <- result{r, err}
	}()
	select {
	case r := <-done:
		if r.err == nil {
			return r.reply.Rcode, nil
		}
		select {
		case <-s.Ended():
			return noReply, nil
		case <-time.After(time.Second):
			return 0, fmt.Errorf("%q over %s: %w", u.lines, c.Net, r.err)
		}
	case <-s.Ended():
		return noReply, nil
	}
}

// noReply is the response code of a server that ended instead of answering.
const noReply = -1

// any tells whether a record of the update section is such a one.
func (u *update) any(is func(rr *dns.RFC3597) bool) bool { return slices.ContainsFunc(u.changes, is) }

// requires tells whether a prerequisite is such a one.
func (u *update) requires(is func(rr *dns.RFC3597) bool) bool {
	return slices.ContainsFunc(u.prerequisites, is)
}
