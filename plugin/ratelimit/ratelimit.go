// Package ratelimit limits responses by network and name, and requests by network,
// so that a server is of no use to those who forge addresses, and a single sender does
// not take it from the others. Package plugin/pkg/ratelimit decides; this package tells
// it what a request and a response are, and carries out what it has decided.
package ratelimit

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metadata"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/ratelimit"
)

const name = "ratelimit"

var log = clog.NewWithPlugin(name)

// RateLimit is the handler of one server block. It is safe for concurrent use.
type RateLimit struct {
	Next plugin.Handler
	*block
}

// block is what a server block says, and its table.
type block struct {
	place  string // file:line
	config ratelimit.Config
	around []dnsname.Name // zones of the server block
	zones  []dnsname.Name // whose names are limited; nil: all that come here
	protos []string       // schemes without limits; "tcp" for TCP on dns://
	keys   []string       // names of keys without limits

	shared *shared
	limits *ratelimit.Limits // of the chain
}

// Name implements plugin.Handler.
func (r *RateLimit) Name() string { return name }

// Limits gives what decides about requests and responses by the table of the block
// outside of the chain, and counts for the metrics like the chain. Only names in the
// zones are limited; without zones all that come to the server block are. What it
// gives is for one goroutine: it counts apart from others, and the counts live as
// long as the block does. Other plugins of the block find the method among
// dnsserver.Config.Handlers, by an interface that has it alone.
func (r *RateLimit) Limits(*dnsserver.Server) (l *ratelimit.Limits, zones []dnsname.Name) {
	return r.newLimits(), slices.Clone(r.zones)
}

// Top gives the n networks that were limited most within the last one or two periods
// of the log.
func (r *RateLimit) Top(n int) []ratelimit.Offender { return r.shared.Top(n) }

// ServeDNS implements plugin.Handler.
func (r *RateLimit) ServeDNS(ctx context.Context, w dns.ResponseWriter, req *dns.Msg) (int, error) {
	growStack()
	t := &writer{ResponseWriter: w, block: r.block, request: req, now: time.Now()}
	concerned := t.parse()
	t.ask(ctx)
	if !concerned {
		if d := t.client.Insisted(); !d.GoesOn() {
			return dns.RcodeSuccess, t.instead(d, nil)
		}
		return plugin.NextOrFailure(name, r.Next, ctx, w, req)
	}
	if d := r.limits.Request(t.now, &t.client); !d.GoesOn() {
		return dns.RcodeSuccess, t.instead(d, nil)
	}
	if t.client.Stream || t.client.Cookie == ratelimit.ValidCookie || t.client.Exempt {
		return plugin.NextOrFailure(name, r.Next, ctx, w, req) // nothing is limited on the way back
	}
	if metadata.ValueFuncs(ctx) == nil { // the plugin metadata is not there
		ctx = metadata.ContextWithMetadata(ctx)
	}
	t.ctx = ctx
	rcode, err := plugin.NextOrFailure(name, r.Next, ctx, t, req)
	if plugin.ClientWrite(rcode) {
		return rcode, err
	}
	return t.finish(rcode, err)
}

// finish writes the code that the chain has given, which the server would write behind
// our back.
//
//go:noinline
func (w *writer) finish(rcode int, err error) (int, error) {
	m := new(dns.Msg).SetRcode(w.request, rcode)
	w.sizeAndDo(m)
	if failed := w.WriteMsg(m); failed != nil && err == nil {
		err = failed
	}
	return dns.RcodeSuccess, err
}

// ask fills in what is known of the sender.
//
//go:noinline
func (w *writer) ask(ctx context.Context) {
	c := &w.client
	c.Addr = addressOf(w.ResponseWriter)
	scheme := schemeOf(ctx)
	if scheme == transport.DNS && isTCP(w.ResponseWriter) {
		scheme = "tcp"
	}
	c.Stream = scheme != transport.DNS
	if t := w.request.IsTsig(); t != nil && w.TsigStatus() == nil { // the server has verified it
		c.Stream = true // it is who it says: nobody else could have signed
		c.Exempt = slices.Contains(w.keys, dns.CanonicalName(t.Hdr.Name))
	}
	c.Exempt = c.Exempt || slices.Contains(w.protos, scheme)
	k := cookie.From(ctx)
	switch k.Result {
	case cookie.Valid:
		c.Cookie = ratelimit.ValidCookie
	case cookie.Client, cookie.Invalid:
		c.Cookie = ratelimit.AsksCookie
	case cookie.None:
	}
	switch k.Policy {
	case cookie.Limited:
		c.Insist = ratelimit.WhenLimited
	case cookie.Always:
		c.Insist = ratelimit.Always
	case cookie.Never:
	}
	c.Size = w.request.Len()
}

// schemeOf gives that of the server a request came by: those over QUIC look like UDP.
func schemeOf(ctx context.Context) string {
	s, ok := ctx.Value(dnsserver.Key{}).(*dnsserver.Server)
	if !ok {
		return transport.DNS // a test
	}
	scheme, _, _ := strings.Cut(s.Addr, "://")
	if scheme == transport.HTTPS3 {
		return transport.HTTPS
	}
	return scheme
}

// remote gives the address of the client, or nil.
func remote(w dns.ResponseWriter) net.Addr {
	addr := w.RemoteAddr()
	if wrapped, ok := addr.(interface{ Unwrap() net.Addr }); ok { // the PROXY protocol's
		addr = wrapped.Unwrap()
	}
	return addr
}

func isTCP(w dns.ResponseWriter) bool {
	_, ok := remote(w).(*net.TCPAddr)
	return ok
}

// addressOf gives that of the client, the zero value if it is not known.
func addressOf(w dns.ResponseWriter) netip.Addr {
	switch a := remote(w).(type) {
	case *net.UDPAddr:
		if a != nil {
			return a.AddrPort().Addr().Unmap()
		}
	case *net.TCPAddr:
		if a != nil {
			return a.AddrPort().Addr().Unmap()
		}
	}
	return netip.Addr{}
}

// growStack has the stack grow now, when little of it has to be copied. Each request has
// a new one of 2 or 4 kB in CoreDNS, and what is behind us needs more.
//
//go:noinline
func growStack() {
	var room [3 << 10]byte
	touch(&room)
}

//go:noinline
func touch(room *[3 << 10]byte) { room[0] = 1 }
