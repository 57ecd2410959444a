package update

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/policy"
)

func init() { plugin.Register(name, setup) }

// setup reads the directive of one server block. What it needs of other plugins is
// there when the instance starts.
func setup(c *caddy.Controller) error {
	b, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	config := dnsserver.GetConfig(c)
	config.AllowOpcode(dns.OpcodeUpdate)
	config.AddPlugin(func(next plugin.Handler) plugin.Handler { return &Update{Next: next, block: b} })
	c.OnStartup(func() error {
		if err := b.bind(config.Handlers()); err != nil {
			return plugin.Error(name, err)
		}
		return nil
	})
	return nil
}

func parse(c *caddy.Controller) (*block, error) {
	var b *block
	for c.Next() {
		if b != nil {
			return nil, c.Errf("the directive is there already, at %s", b.place)
		}
		b = &block{place: place(c), leases: leases{records: recordTerm, keys: keyTerm}}
		args := c.RemainingArgs()
		for _, arg := range args { // what comes below leaves out those that are no zones
			if err := dnsname.CheckZone(arg); err != nil {
				return nil, c.Errf("zone %q: %v", arg, err)
			}
			if len(plugin.Host(arg).NormalizeExact()) == 0 {
				return nil, c.Errf("%q is not a zone", arg)
			}
		}
		for _, z := range plugin.OriginsFromArgsOrServerBlock(args, c.ServerBlockKeys) {
			n, err := dnsname.Parse(z, dnsname.Root)
			if err != nil {
				return nil, c.Errf("zone %v", err)
			}
			b.zones = append(b.zones, n.Fold())
		}
		if err := b.parse(c); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func place(c *caddy.Controller) string { return fmt.Sprintf("%s:%d", c.File(), c.Line()) }

func (b *block) parse(c *caddy.Controller) error {
	lines := policy.NewBuilder(typeOf)
	seen := make(map[string]bool)
	for c.NextBlock() {
		property, at := c.Val(), place(c)
		args := c.RemainingArgs()
		var err error
		switch property {
		case "grant", "deny", "net", "proto":
			err = lines.Line(append([]string{property}, args...), at)
		case "lease":
			if len(args) > 0 && args[0] == "required" {
				err = b.leases.parseRequired(args[1:])
				break
			}
			fallthrough
		case "key_lease":
			if seen[property] {
				return c.Errf("property %q is given twice", property)
			}
			seen[property] = true
			term := &b.leases.records
			if property == "key_lease" {
				term = &b.leases.keys
			}
			*term, err = parseTerm(args)
		default:
			return c.Errf("unknown property %q", property)
		}
		if err != nil {
			if property == "lease" || property == "key_lease" {
				err = fmt.Errorf("%s: %w", property, err)
			}
			return c.Errf("%v", err)
		}
		if c.NextArg() { // a brace; the arguments are gone
			return c.Errf("%s: unexpected %q", property, c.Val())
		}
	}
	b.policy = lines.Policy()
	if b.policy.IsEmpty() {
		return fmt.Errorf("%s - Error during parsing: nothing is granted to anybody: a line such as \"grant KEY zonesub A AAAA TXT\" is missing", b.place)
	}
	for line := range b.policy.Outside(b.zones...) {
		return fmt.Errorf("%s - Error during parsing: %q fits no name of %s: names are written in full", line.Place, line.Text, join(b.zones))
	}
	return nil
}

func join(names []dnsname.Name) string {
	s := make([]string, len(names))
	for i, n := range names {
		s[i] = n.String()
	}
	return strings.Join(s, " ")
}

// typeOf gives the number of a type, also of one without a name (RFC 3597 §5).
func typeOf(name string) (uint16, bool) {
	if t, ok := dns.StringToType[name]; ok {
		return t, true
	}
	var n uint16
	if _, err := fmt.Sscanf(name, "TYPE%d", &n); err != nil || fmt.Sprintf("TYPE%d", n) != name {
		return 0, false
	}
	return n, true
}

// parseRequired reads what stands behind "lease required".
func (l *leases) parseRequired(args []string) error {
	if len(args) < 2 || args[0] != "for" {
		return errors.New("want \"lease required for IDENTITY\"")
	}
	id, rest, err := policy.ParseIdentity(args[1:])
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("unexpected %q", rest[0])
	}
	l.required = append(l.required, id)
	return nil
}

// parseTerm reads three durations.
func parseTerm(args []string) (term, error) {
	if len(args) != 3 {
		return term{}, fmt.Errorf("want three durations, DEFAULT MIN MAX, not %q", strings.Join(args, " "))
	}
	var t term
	for i, to := range []*uint32{&t.wished, &t.min, &t.max} {
		d, err := time.ParseDuration(args[i])
		if err != nil || d < time.Second || d > maxTerm || d%time.Second != 0 {
			return term{}, fmt.Errorf("%q is not a duration of whole seconds up to %s, such as 1h30m", args[i], maxTerm)
		}
		*to = uint32(d / time.Second)
	}
	if t.min > t.wished || t.wished > t.max {
		return term{}, errors.New("DEFAULT is not between MIN and MAX")
	}
	return t, nil
}

// maxTerm is the longest lease that can be granted.
const maxTerm = 100 * 365 * 24 * time.Hour

// keyHolder is the plugin keys, as we know it.
type keyHolder interface {
	TSIGKey(name string) (algorithm string, secret []byte, ok bool)
}

// bind looks at the other plugins of the server block.
func (b *block) bind(handlers []plugin.Handler) error {
	var ours keyHolder
	stock := false
	for _, h := range handlers {
		if l, ok := h.(holder); ok {
			b.live = l
		}
		if k, ok := h.(keyHolder); ok {
			ours = k
		}
		stock = stock || h.Name() == "tsig"
	}
	if b.live == nil {
		return fmt.Errorf("%s: the plugin authority is not in this server block: there is no zone to update", b.place)
	}
	if ours == nil && !stock {
		return fmt.Errorf("%s: the plugin keys is not in this server block: no request can be signed", b.place)
	}
	for key, line := range b.policy.Keys() {
		known := stock
		if ours != nil && !known {
			_, _, known = ours.TSIGKey(key.String())
		}
		if !known {
			return fmt.Errorf("%s: %q: key %s is not one of the plugin keys (or tsig) in this server block", line.Place, line.Text, key)
		}
	}
	for line := range b.policy.Unsigned() {
		log.Warningf("%s: %q grants changes to whoever can send from such an address, without a signature", line.Place, line.Text)
	}
	if stock {
		log.Warningf("%s: for keys of the plugin tsig neither the algorithm is checked nor is a repeated request found: put them into the plugin keys", b.place)
	}
	return nil
}
