package fastpath

import (
	"fmt"
	"strconv"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

func init() { plugin.Register(name, setup) }

// setup reads the directive of one server block and has the server ask us before
// it reads from a UDP socket.
func setup(c *caddy.Controller) error {
	b, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	config := dnsserver.GetConfig(c)
	config.AddPlugin(func(next plugin.Handler) plugin.Handler { return &FastPath{Next: next, block: b} })
	if config.UDPDecorateWriterFunc != nil {
		log.Infof("%s: the ordinary way serves: another plugin has taken the UDP sockets of the server block", b.place)
		return nil
	}
	in := instanceOf(c)
	config.UDPDecorateWriterFunc = func(s *dnsserver.Server) dns.DecorateWriter {
		in.serve(s)
		return nil // the socket is closed by now, or the ordinary way serves
	}
	return nil
}

func parse(c *caddy.Controller) (*block, error) {
	var b *block
	for c.Next() {
		if b != nil {
			return nil, c.Errf("the directive is there already, at %s", b.place)
		}
		b = &block{place: fmt.Sprintf("%s:%d", c.File(), c.Line())}
		if args := c.RemainingArgs(); len(args) > 0 {
			return nil, c.Errf("unexpected %q", args[0])
		}
		for c.NextBlock() {
			property, args := c.Val(), c.RemainingArgs()
			if property != "sample" {
				return nil, c.Errf("unknown property %q", property)
			}
			if b.sample > 0 {
				return nil, c.Err("property \"sample\" is given twice")
			}
			n := 0
			if len(args) == 1 {
				n, _ = strconv.Atoi(args[0]) // 0 is refused, too
			}
			if n < 1 {
				return nil, c.Errf("sample: want one number above 0, not %q", args)
			}
			b.sample = n
			if c.NextArg() { // a brace; the arguments are gone
				return nil, c.Errf("sample: unexpected %q", c.Val())
			}
		}
	}
	return b, nil
}

// instanceOf gives what the blocks of the instance share.
func instanceOf(c *caddy.Controller) *instance {
	type key struct{}
	in, ok := c.Get(key{}).(*instance)
	if !ok {
		in = new(instance)
		c.Set(key{}, in)
		c.OnStartup(func() error {
			for _, i := range caddy.Instances() {
				i.StorageMu.RLock()
				if i.Storage[key{}] == any(in) {
					in.caddy = i
				}
				i.StorageMu.RUnlock()
			}
			return nil
		})
		c.OnShutdown(func() error {
			in.end()
			return nil
		})
	}
	return in
}
