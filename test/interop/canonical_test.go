package interop

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// A reply is a response in the form in which responses are compared: what may legally differ from server to server in
// any response (order of RRs, letter case of names, advertised UDP size) is gone.
type reply struct {
	rcode      int
	aa, tc     bool
	header     string // the other flags, and the OPT record: present or not, DO, version, options but EDE
	question   string // as sent, letter case included
	answer     section
	authority  section
	additional section
	size       int // of the message as received, octets
}

// A section is its RRs as text, lower-cased where case does not count, sorted.
type section []string

// parse turns a message into a reply.
func parse(b []byte) (reply, error) {
	var m dns.Msg
	if err := m.Unpack(b); err != nil {
		return reply{}, err
	}
	r := reply{rcode: m.Rcode, aa: m.Authoritative, tc: m.Truncated, size: len(b)}
	r.answer, r.authority = canonical(m.Answer), canonical(m.Ns)
	r.additional = canonical(m.Extra)
	var h strings.Builder
	fmt.Fprintf(&h, "qr=%t opcode=%d rd=%t ra=%t z=%t ad=%t cd=%t", m.Response, m.Opcode, m.RecursionDesired,
		m.RecursionAvailable, m.Zero, m.AuthenticatedData, m.CheckingDisabled)
	if o := m.IsEdns0(); o != nil {
		fmt.Fprintf(&h, " edns=%d do=%t", o.Version(), o.Do())
		for _, option := range o.Option {
			if option.Option() != dns.EDNS0EDE { // RFC 8914: a server may add it to any reply
				fmt.Fprintf(&h, " option=%d", option.Option())
			}
		}
	}
	r.header = h.String()
	for _, q := range m.Question {
		r.question += q.String()
	}
	return r, nil
}

// canonical returns RRs in canonical text, without OPT.
func canonical(rrs []dns.RR) section {
	s := make(section, 0, len(rrs))
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeOPT {
			continue
		}
		rr.Header().Name = strings.ToLower(rr.Header().Name)
		lowerNames(rr)
		s = append(s, rr.String())
	}
	slices.Sort(s)
	return s
}

// lowerNames lower-cases the domain names in an RR's rdata (RFC 4343): nsd lower-cases all it loads.
func lowerNames(rr dns.RR) {
	v := reflect.ValueOf(rr).Elem()
	for _, path := range nameFields(v.Type()) {
		f := v.FieldByIndex(path)
		if f.Kind() == reflect.String {
			f.SetString(strings.ToLower(f.String()))
			continue
		}
		for i := range f.Len() {
			f.Index(i).SetString(strings.ToLower(f.Index(i).String()))
		}
	}
}

var nameFieldsOf sync.Map // reflect.Type → [][]int

// nameFields returns where in a struct of miekg/dns domain names stand, by the tags it keeps them under.
func nameFields(t reflect.Type) [][]int {
	if known, ok := nameFieldsOf.Load(t); ok {
		return known.([][]int)
	}
	var paths [][]int
	for _, f := range reflect.VisibleFields(t) {
		if strings.Contains(f.Tag.Get("dns"), "domain-name") && !(len(f.Index) > 1 && t.Field(f.Index[0]).Name == "Hdr") {
			paths = append(paths, f.Index)
		}
	}
	nameFieldsOf.Store(t, paths)
	return paths
}
