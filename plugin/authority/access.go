package authority

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/tsig"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/identity"
)

// transferRule is one line of the property transfer: all that stands in it must
// hold.
type transferRule struct {
	keys []string // in lower case, with the final dot; one of them has signed
	nets []netip.Prefix
}

func (d *directive) parseTransfer(c *caddy.Controller) error {
	var r transferRule
	var words *[]string
	var keys, nets []string
	for _, arg := range c.RemainingArgs() {
		switch {
		case arg == "key":
			words = &keys
		case arg == "net":
			words = &nets
		case words == nil:
			return c.Errf("transfer: want \"key\" or \"net\", not %q", arg)
		default:
			*words = append(*words, arg)
		}
	}
	if len(keys)+len(nets) == 0 {
		return c.Err("transfer: want \"key NAME…\" or \"net CIDR…\"; nobody may transfer if there is no such line")
	}
	for _, k := range keys {
		r.keys = append(r.keys, plugin.Name(k).Normalize())
	}
	for _, n := range nets {
		p, err := parseNet(n)
		if err != nil {
			return c.Errf("transfer: %q is not a network: want an address and the length of a prefix, such as 192.0.2.0/24", n)
		}
		r.nets = append(r.nets, p)
	}
	d.transfer = append(d.transfer, r)
	return nil
}

// parseNet reads a network, or an address that stands for itself.
func parseNet(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// keyHolder is the plugin keys, as we know it.
type keyHolder interface {
	TSIGKey(name string) (algorithm string, secret []byte, ok bool)
}

// bindKeys looks up the keys of the directive.
func (d *directive) bindKeys(handlers []plugin.Handler) error {
	var holder keyHolder
	stock := false
	for _, h := range handlers {
		if k, ok := h.(keyHolder); ok {
			holder = k
		}
		stock = stock || h.Name() == "tsig"
	}
	for _, r := range d.transfer {
		for _, k := range r.keys {
			known := stock
			if holder != nil && !known {
				_, _, known = holder.TSIGKey(k)
			}
			if !known {
				return d.errorf("transfer: key %s is not one of the plugin keys (or tsig) in this server block", k)
			}
		}
	}
	return d.bindNotify(holder)
}

// requestKey gives the name of the key that has signed the request, or "".
func requestKey(ctx context.Context) (key string, stock bool) {
	if id, ok := identity.From(ctx); ok {
		return id.Key, false
	}
	if name, ok := tsig.ValidatedKeyName(ctx); ok {
		return strings.ToLower(name), true
	}
	return "", false
}

// mayTransfer tells whether the client may have the zone.
func (z *served) mayTransfer(ctx context.Context, w dns.ResponseWriter) bool {
	key, _ := requestKey(ctx)
	addr := clientOf(w)
	return slices.ContainsFunc(z.transfer, func(r transferRule) bool {
		if len(r.keys) > 0 && !slices.Contains(r.keys, key) {
			return false
		}
		return len(r.nets) == 0 || slices.ContainsFunc(r.nets, func(p netip.Prefix) bool { return p.Contains(addr) })
	})
}

// clientOf gives the address that a request came from; the zero value if there is
// none.
func clientOf(w dns.ResponseWriter) netip.Addr {
	host, _, err := net.SplitHostPort(w.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}
