// Package parent asks the servers of a parent zone which DS records they have
// for a zone, and does so again and again while a rollover waits for them.
//
// A key may go only when no server of the parent gives out its DS record any more,
// and one is relied on only when all do (RFC 7583 §3.3). So what counts is what each
// server says with authority. A server that says nothing, or whose answer is that
// of a resolver, of the zone itself, or of a server that does not know the parent
// zone, has not said that there is no DS record: that is an error, and the rollover
// waits. All is asked over TCP, so that who cannot see the connection cannot answer
// in place of the server and have a key dropped (decision 17).
//
// A server may be many machines or processes that do not change at once, and only one
// of them is seen. That is what the waiting after an agreement is for: the propagation
// delay of the parent, and the TTL of what was there before.
//
// The servers are given, or found by the resolvers of the system. The latter is as
// good as these resolvers are: who makes them give wrong addresses is believed.
package parent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// Bounds of what is done for one question about a zone.
const (
	// MaxServers is how many addresses of servers are asked about a zone; an address
	// counts for each name that has it.
	MaxServers = 64
	// MaxNames is how many names the servers of a parent zone may have.
	MaxNames = 32
	// Timeout is how long one server has for connection and answer.
	Timeout = 5 * time.Second
	// MaxAsk is how long a call of Ask takes at most.
	MaxAsk = time.Minute

	atOnce      = 8 // servers asked at a time about one zone
	defaultPort = 53
)

var (
	// ErrRoot is returned for the root zone, which has no parent.
	ErrRoot = errors.New("the root zone has no parent")
	// ErrTooMany is returned for more servers than MaxServers or MaxNames.
	ErrTooMany = errors.New("too many servers")
	// ErrUnreachable is wrapped by the error of a server that could not be
	// connected to, or did not answer in time.
	ErrUnreachable = errors.New("no answer")
)

// Options are the settings of a Client. The zero value is good.
type Options struct {
	// Resolvers gives the resolvers that find the servers of parent zones. It is
	// called each time something is looked for, maybe from several goroutines. nil
	// stands for SystemResolvers.
	Resolvers func() ([]netip.AddrPort, error)
}

// Client asks servers of parent zones. Its methods may be called from several
// goroutines. It needs no end.
type Client struct {
	resolvers func() ([]netip.AddrPort, error)
	port      uint16 // of servers that are found
	dial      func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	known map[dnsname.Name]found // by the name above the zone, in lower case
}

// NewClient makes a client.
func NewClient(o Options) *Client {
	c := &Client{resolvers: o.Resolvers, port: defaultPort, dial: new(net.Dialer).DialContext, known: map[dnsname.Name]found{}}
	if c.resolvers == nil {
		c.resolvers = SystemResolvers
	}
	return c
}

// Server is what a server says about the DS RRset of a zone.
type Server struct {
	Name    dnsname.Name   // as the parent zone's NS record has it; "" if the address was given
	Address netip.AddrPort // the zero value if no address of the name is known
	DS      []string       // RDATA, in ascending order; empty: no DS RRset, or Err
	TTL     time.Duration  // of the DS RRset; 0 if there is none
	Err     error          // why it is not known what the server has
}

// String gives name and address, for errors and logs.
func (s *Server) String() string {
	switch {
	case s.Name == "":
		return s.Address.String()
	case !s.Address.IsValid():
		return s.Name.String()
	}
	return s.Name.String() + " (" + s.Address.String() + ")"
}

// Result is what the servers of a parent zone say. It is the caller's.
type Result struct {
	Zone    dnsname.Name // that was asked about
	Parent  dnsname.Name // its parent zone; "" if the servers were given
	Servers []Server     // as they were given, or by name and address
}

// Ask asks each of the given servers which DS records a zone has. They must be
// servers of the parent zone that answer with authority; resolvers are not. Port 0
// stands for 53. Without servers, those of the parent zone are found: the zone that
// holds the name above, its NS records, their addresses.
//
// What a server says, or why nothing is known of it, is in the result. An error
// tells that there is none: the context has ended, there are too many servers, or
// the parent zone's could not be found. Ask does not keep servers.
func (c *Client) Ask(ctx context.Context, zone dnsname.Name, servers []netip.AddrPort) (Result, error) {
	if zone == dnsname.Root {
		return Result{}, ErrRoot
	}
	limited, cancel := context.WithTimeout(ctx, MaxAsk)
	defer cancel()
	r := Result{Zone: zone}
	if len(servers) == 0 {
		f, err := c.find(limited, zone)
		if ctx.Err() != nil {
			return Result{}, ctx.Err()
		} else if err != nil {
			return Result{}, fmt.Errorf("servers of the parent zone of %q: %w", zone, err)
		}
		r.Parent, r.Servers = f.parent, slices.Clone(f.servers)
	} else {
		for _, a := range servers {
			if a = plain(a); !slices.ContainsFunc(r.Servers, func(s Server) bool { return s.Address == a }) {
				r.Servers = append(r.Servers, Server{Address: a})
			}
		}
		if err := notTooMany(r.Servers); err != nil {
			return Result{}, err
		}
	}
	addresses := make([]netip.AddrPort, 0, len(r.Servers))
	for _, s := range r.Servers {
		if s.Err == nil && !slices.Contains(addresses, s.Address) { // two names may share an address
			addresses = append(addresses, s.Address)
		}
	}
	replies := make([]Server, len(addresses))
	each(len(addresses), func(i int) { replies[i] = c.askOne(limited, zone, r.Parent, addresses[i]) })
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	for i, s := range r.Servers {
		if s.Err == nil {
			r.Servers[i] = replies[slices.Index(addresses, s.Address)]
			r.Servers[i].Name = s.Name
			r.Servers[i].DS = slices.Clone(r.Servers[i].DS)
		}
	}
	return r, nil
}

func notTooMany(servers []Server) error {
	if len(servers) > MaxServers {
		return fmt.Errorf("%w: %d addresses, and %d are asked at most", ErrTooMany, len(servers), MaxServers)
	}
	return nil
}

// askOne asks one address.
func (c *Client) askOne(ctx context.Context, zone, parent dnsname.Name, address netip.AddrPort) Server {
	s := Server{Address: address}
	m, err := c.exchange(ctx, address, question{name: zone, typ: typeDS})
	if err == nil {
		s.DS, s.TTL, err = judge(&m, zone, parent)
	}
	s.Err = err
	return s
}

// plain gives an address in the form in which they are compared, with its port.
func plain(a netip.AddrPort) netip.AddrPort {
	port := a.Port()
	if port == 0 {
		port = defaultPort
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), port)
}

// each calls f with 0 to n-1, a few at a time, and returns when all are done.
func each(n int, f func(int)) {
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			f(i)
			<-slots
		})
	}
	all.Wait()
}

// All tells whether every server has this DS RDATA. It is false if the answer of a
// server is missing; see Err.
func (r *Result) All(ds string) bool { return r.every(ds, true) }

// None tells whether no server has this DS RDATA. It is false if the answer of a
// server is missing; see Err.
func (r *Result) None(ds string) bool { return r.every(ds, false) }

func (r *Result) every(ds string, has bool) bool {
	for _, s := range r.Servers {
		if s.Err == nil && slices.Contains(s.DS, ds) != has {
			return false
		}
	}
	return r.Err() == nil
}

// TTL gives the greatest TTL of the DS RRsets that servers have, or 0 if none has
// any. A rollover has to wait for the greatest it has ever seen: an RRset that is
// gone still stands in caches, and its TTL is no longer here.
func (r *Result) TTL() (ttl time.Duration) {
	for _, s := range r.Servers {
		ttl = max(ttl, s.TTL)
	}
	return ttl
}

// Err tells which servers have not said what they have, or gives nil if all have. A
// server with several addresses has spoken if one of them has and the others cannot
// be reached; one that answers amiss is missing, whatever the others say. The text
// is the same for the same reasons.
func (r *Result) Err() error {
	if len(r.Servers) == 0 {
		return errors.New("no server was asked")
	}
	var list problems
	for i, s := range r.Servers {
		if s.Err != nil && !(errors.Is(s.Err, ErrUnreachable) && r.spoken(s.Name)) {
			list = append(list, fmt.Errorf("%s: %w", &r.Servers[i], s.Err))
		}
	}
	if list == nil {
		return nil
	}
	return list
}

// spoken tells whether an address of the name of a server has answered.
func (r *Result) spoken(name dnsname.Name) bool {
	return name != "" && slices.ContainsFunc(r.Servers, func(s Server) bool { return s.Err == nil && s.Name.Equal(name) })
}

// problems are errors on one line.
type problems []error

func (p problems) Error() string {
	texts := make([]string, len(p))
	for i, err := range p {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (p problems) Unwrap() []error { return p }
