package parent

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/test/server"
)

func TestMain(m *testing.M) { server.Main(m) }

// host answers one message; nil is no answer.
type host func(query []byte) []byte

// internet has hosts at addresses, and no route to others. Its connections are pipes,
// so that time may be that of a bubble.
type internet map[string]host

func (n internet) dial(_ context.Context, network, address string) (net.Conn, error) {
	h := n[address]
	if network != "tcp" || h == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	}
	ours, theirs := net.Pipe()
	go serve(theirs, h)
	return ours, nil
}

// serve answers on a connection until it is closed.
func serve(conn net.Conn, h host) {
	defer conn.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		if reply := h(query); reply != nil {
			if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
				return
			}
		}
	}
}

func (n internet) client() *Client {
	c := NewClient(Options{Resolvers: func() ([]netip.AddrPort, error) { return addresses("192.0.2.53:53"), nil }})
	c.dial = n.dial
	return c
}

// shared is a value that a test changes while hosts and watchers read it.
type shared[T any] struct {
	mu sync.Mutex
	v  T
}

func share[T any](v T) *shared[T] { return &shared[T]{v: v} }

func (s *shared[T]) get() T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.v
}

func (s *shared[T]) set(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.v = v
}

func addresses(texts ...string) (list []netip.AddrPort) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddrPort(text))
	}
	return list
}

// silent never answers.
func silent([]byte) []byte { return nil }

// data is records as a test writes them, one a line.
type data []dns.RR

func records(t testing.TB, text string) (list data) {
	t.Helper()
	for line := range strings.Lines(text) {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		if rr != nil {
			list = append(list, rr)
		}
	}
	return list
}

// at gives copies of the records of a name and type.
func (d data) at(name string, typ uint16) (list data) {
	for _, rr := range d {
		if strings.EqualFold(rr.Header().Name, name) && rr.Header().Rrtype == typ {
			list = append(list, dns.Copy(rr))
		}
	}
	return list
}

func (d data) exists(name string) bool {
	return slices.ContainsFunc(d, func(rr dns.RR) bool { return dns.IsSubDomain(name, rr.Header().Name) })
}

// above gives the records of a type at the closest name that has some, from a name up.
func (d data) above(name string, typ uint16) data {
	for {
		if found := d.at(name, typ); len(found) > 0 || name == "." {
			return found
		}
		off, end := dns.NextLabel(name, 0)
		if name = name[off:]; end {
			name = "."
		}
	}
}

// answer fills a response as a server of the zones does that have an SOA record; an
// authoritative one refers to the servers of others.
func (d data) answer(m *dns.Msg, authoritative bool) {
	name, typ := m.Question[0].Name, m.Question[0].Qtype
	m.Authoritative, m.RecursionAvailable = authoritative, !authoritative
	from := name
	if authoritative && typ == dns.TypeDS && name != "." { // RFC 4035 §3.1.4.1
		off, end := dns.NextLabel(name, 0)
		if from = name[off:]; end {
			from = "."
		}
		if len(d.above(from, dns.TypeSOA)) == 0 {
			from = name
		}
	}
	soa := d.above(from, dns.TypeSOA)
	if len(soa) == 0 || !authoritative && typ != dns.TypeDS && !m.RecursionDesired {
		m.Rcode = dns.RcodeRefused
		return
	}
	apex := soa[0].Header().Name
	if cut := d.above(from, dns.TypeNS); authoritative && len(cut) > 0 && !strings.EqualFold(cut[0].Header().Name, apex) && dns.IsSubDomain(apex, cut[0].Header().Name) {
		m.Authoritative, m.Ns = false, cut
		return
	}
	switch alias := d.at(name, dns.TypeCNAME); {
	case len(alias) > 0:
		m.Answer = alias
	case len(d.at(name, typ)) > 0:
		m.Answer = d.at(name, typ)
	case !d.exists(name):
		m.Rcode, m.Ns = dns.RcodeNameError, soa
	default:
		m.Ns = soa
	}
}

// replies makes a host of what fills a response; it may change it as it likes.
func replies(fill func(m *dns.Msg)) host {
	return func(query []byte) []byte {
		q, m := new(dns.Msg), new(dns.Msg)
		if q.Unpack(query) != nil {
			return nil
		}
		m.SetReply(q)
		m.Compress = true
		fill(m)
		reply, err := m.Pack()
		if err != nil {
			return nil
		}
		return reply
	}
}

// serves makes a host that has zones.
func (d data) serves() host { return replies(func(m *dns.Msg) { d.answer(m, true) }) }

// resolves makes a host that resolves what is in the data.
func (d data) resolves() host { return replies(func(m *dns.Msg) { d.answer(m, false) }) }

// dsOf gives the RDATA of DS records.
func dsOf(t testing.TB, d data) (list []string) {
	t.Helper()
	for _, rr := range d {
		if rr.Header().Rrtype == dns.TypeDS {
			_, rdata, err := rrset.FromRR(rr)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, rdata)
		}
	}
	slices.Sort(list)
	return list
}

const (
	digest1 = "1111111111111111111111111111111111111111111111111111111111111111"
	digest2 = "2222222222222222222222222222222222222222222222222222222222222222"
	ds1Text = "a.b.example. 3600 DS 1 13 2 " + digest1 + "\n"
	ds2Text = "a.b.example. 7200 DS 2 13 2 " + digest2 + "\n"
	// example. holds a.b.example., and b.example. is no zone.
	parentText = `example. 3600 SOA ns1.example. h.example. 1 7200 3600 1209600 300
example. 3600 NS ns1.example.
example. 3600 NS ns2.example.
ns1.example. 3600 A 192.0.2.1
ns1.example. 3600 AAAA 2001:db8::1
ns2.example. 3600 A 192.0.2.2
a.b.example. 3600 NS ns.a.b.example.
`
	childText = `a.b.example. 3600 SOA ns.a.b.example. h.example. 1 7200 3600 1209600 300
a.b.example. 3600 NS ns.a.b.example.
`
)

var zone = dnsname.MustParse("a.b.example.")

// theDS gives the RDATA of the two DS records.
func theDS(t testing.TB) (ds1, ds2 string) {
	return dsOf(t, records(t, ds1Text))[0], dsOf(t, records(t, ds2Text))[0]
}
