package fastpath

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/ratelimit"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// baker is the plugin cookie, as we know it.
type baker interface {
	Cookies(s *dnsserver.Server) func(dst []byte, q *wire.Question, from netip.Addr, now uint32) cookie.Decision
}

// limiter is the plugin ratelimit, as we know it.
type limiter interface {
	Limits(s *dnsserver.Server) (l *ratelimit.Limits, zones []dnsname.Name)
}

// guard does to queries and responses what the plugins cookie and ratelimit do, in
// their order.
type guard struct {
	cookies func(dst []byte, q *wire.Question, from netip.Addr, now uint32) cookie.Decision // nil without the plugin
	limits  *ratelimit.Limits                                                               // nil without the plugin
	zones   []dnsname.Name                                                                  // whose names are limited; nil: all

	client  ratelimit.Client
	baked   [cookie.OptionSize]byte
	options [cookie.OptionSize + 16]byte
	account [dnsname.MaxLen]byte
}

// newGuard gives nil if there is nothing to do.
func newGuard(c *chain, s *dnsserver.Server) *guard {
	if c.baker == nil && c.limiter == nil {
		return nil
	}
	g := new(guard)
	if c.baker != nil {
		g.cookies = c.Cookies(s)
	}
	if c.limiter != nil {
		g.limits, g.zones = c.Limits(s)
	}
	return g
}

// respond appends the response to a query of that name and size, which r has taken, to
// dst. It gives nil if there is none.
func (g *guard) respond(dst []byte, q *wire.Question, folded dnsname.Name, from netip.Addr, size int, now time.Time, r wire.Responder) []byte {
	var option []byte // whole, for the response
	var baked cookie.Decision
	if g.cookies != nil {
		baked = g.cookies(g.baked[:0], q, from, uint32(now.Unix()))
		if len(baked.Option) > 0 {
			option = wire.AppendOption(g.options[:0], wire.OptionCookie, baked.Option)
		}
		if baked.Verdict == cookie.FormErr || baked.Verdict != cookie.Answer && g.limits == nil {
			response := wire.AppendError(dst, q, baked.Verdict.Rcode(), option)
			if baked.Verdict == cookie.Truncate {
				truncate(response[len(dst):], 0)
			}
			return response
		}
	}
	if g.limits == nil {
		response, _ := r.Append(dst, q, option)
		return response
	}
	g.client = ratelimit.Client{Addr: from, Name: string(folded), Type: q.Type, Size: size}
	switch baked.Result {
	case cookie.Valid:
		g.client.Cookie = ratelimit.ValidCookie
	case cookie.Client, cookie.Invalid:
		g.client.Cookie = ratelimit.AsksCookie
	case cookie.None:
	}
	switch baked.Policy {
	case cookie.Limited:
		g.client.Insist = ratelimit.WhenLimited
	case cookie.Always:
		g.client.Insist = ratelimit.Always
	case cookie.Never:
	}
	if !g.concerns(folded) {
		if d := g.client.Insisted(); !d.GoesOn() {
			return g.instead(dst, q, d, 0, option)
		}
		response, _ := r.Append(dst, q, option)
		return response
	}
	if d := g.limits.Request(now, &g.client); !d.GoesOn() {
		return g.instead(dst, q, d, 0, option)
	}
	response, account := r.Append(dst, q, option)
	if g.client.Cookie == ratelimit.ValidCookie {
		return response
	}
	flags := binary.BigEndian.Uint16(response[len(dst)+2:])
	about := ratelimit.Response{
		Class: classOf(account.Kind, flags), Type: q.Type, Size: len(response) - len(dst) - len(option),
		Name: string(view(dnsname.AppendFold(g.account[:0], account.Name))),
	}
	if d := g.limits.Response(now, &g.client, &about); !d.GoesOn() {
		return g.instead(dst, q, d, flags, option)
	}
	return response
}

// concerns tells whether a name is in the zones that are limited.
func (g *guard) concerns(folded dnsname.Name) bool {
	for _, z := range g.zones {
		if folded.IsBelow(z) {
			return true
		}
	}
	return g.zones == nil
}

// classOf gives the class of a response with those flags.
func classOf(kind zone.Kind, flags uint16) ratelimit.Class {
	if rcode := flags & 0xf; rcode != dns.RcodeSuccess && kind == zone.Success && rcode != dns.RcodeNameError && rcode != dns.RcodeYXDomain {
		return ratelimit.Error
	}
	switch kind {
	case zone.NoData:
		return ratelimit.NoData
	case zone.NXDomain:
		return ratelimit.NXDomain
	case zone.Delegation:
		return ratelimit.Referral
	case zone.YXDomain:
		return ratelimit.Error
	default:
		return ratelimit.Positive
	}
}

// instead appends what a decision asks for in place of a response with those flags, or
// of any.
func (g *guard) instead(dst []byte, q *wire.Question, d ratelimit.Decision, flags uint16, option []byte) []byte {
	switch d {
	case ratelimit.Truncate:
		response := wire.AppendError(dst, q, int(flags&0xf), option)
		truncate(response[len(dst):], flags&wire.FlagAA)
		return response
	case ratelimit.BadCookie:
		return wire.AppendError(dst, q, dns.RcodeBadCookie, option)
	case ratelimit.Refuse:
		options := append(wire.AppendOption(g.account[:0], wire.OptionEDE, prohibited), option...)
		return wire.AppendError(dst, q, dns.RcodeRefused, options)
	default: // Drop; the others go on
		return nil
	}
}

// prohibited is the extended error of requests that are too many (RFC 8914 §4.19).
var prohibited = []byte{0, byte(dns.ExtendedErrorCodeProhibited)}

// truncate sets TC in a message, and other flags.
func truncate(msg []byte, flags uint16) {
	binary.BigEndian.PutUint16(msg[2:], binary.BigEndian.Uint16(msg[2:])|wire.FlagTC|flags)
}
