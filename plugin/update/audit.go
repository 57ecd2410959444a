package update

import (
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Bounds of a line in the log: how many records of an update section it has, and
// how many octets of the RDATA of each. The history has all.
const (
	maxShown = 8
	maxRDATA = 200
)

// audit writes the one line that an update has in the log.
func (q *request) audit(o *outcome, rcode int) {
	var b strings.Builder
	b.Grow(256)
	b.WriteString("audit: ")
	b.WriteString(q.request.Question[0].Name)
	b.WriteByte(' ')
	b.WriteString(dns.RcodeToString[rcode])
	b.WriteString(" by ")
	b.WriteString(q.who())
	if q.client.Key != "" {
		b.WriteString(" from ")
		b.WriteString(q.client.Addr.String())
	}
	if o.replay {
		b.WriteString(", seen before")
	}
	switch {
	case o.err != nil:
		b.WriteString(": ")
		b.WriteString(strings.ReplaceAll(o.err.Error(), "\n", "; "))
	case o.changed:
		b.WriteString(", serial ")
		b.WriteString(strconv.FormatUint(uint64(o.serial), 10))
	default:
		b.WriteString(", nothing changed")
	}
	if o.leased {
		b.WriteString(", lease ")
		b.WriteString(o.lease.String())
	}
	for i, rr := range q.request.Ns {
		if i == maxShown {
			b.WriteString("; …")
			break
		}
		b.WriteString("; ")
		describe(&b, rr)
	}
	line := strings.Map(printable, b.String())
	if rcode != dns.RcodeServerFailure {
		log.Info(line)
	} else {
		log.Error(line)
	}
}

// printable keeps what a client has written in one line: the library gives the
// options of an OPT record, of all records, as they came.
func printable(r rune) rune {
	if !strconv.IsPrint(r) {
		return '?'
	}
	return r
}

// describe writes what a record of the update section asks for.
func describe(b *strings.Builder, rr dns.RR) {
	h := rr.Header()
	switch h.Class {
	case dns.ClassINET:
		b.WriteString("add ")
	case dns.ClassANY, dns.ClassNONE:
		b.WriteString("delete ")
	}
	b.WriteString(h.Name)
	b.WriteByte(' ')
	b.WriteString(dns.Type(h.Rrtype).String())
	if h.Rdlength > 0 {
		text := strings.TrimPrefix(rr.String(), h.String())
		b.WriteByte(' ')
		b.WriteString(text[:min(len(text), maxRDATA)])
		if len(text) > maxRDATA {
			b.WriteString("…")
		}
	}
}
