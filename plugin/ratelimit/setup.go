package ratelimit

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/ratelimit"
)

func init() { plugin.Register(name, setup) }

// setup reads the directive of one server block.
func setup(c *caddy.Controller) error {
	b, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	if b.shared, err = open(b.config); err != nil {
		return plugin.Error(name, fmt.Errorf("%s - Error during parsing: %w", b.place, err))
	}
	b.limits = b.newLimits()
	config := dnsserver.GetConfig(c)
	c.OnStartup(func() error {
		showOnHangup()
		b.warn(config)
		return nil
	})
	config.AddPlugin(func(next plugin.Handler) plugin.Handler { return &RateLimit{Next: next, block: b} })
	return nil
}

// warn says what exempts nobody, because a plugin is not in the server block.
func (b *block) warn(config *dnsserver.Config) {
	if b.config.ExemptCookie && config.Handler("cookie") == nil {
		log.Warningf("%s: exempt cookie: the plugin cookie is not in the server block", b.place)
	}
	if len(b.keys) > 0 && config.Handler("keys") == nil && config.Handler("tsig") == nil {
		log.Warningf("%s: exempt key: neither the plugin keys nor tsig is in the server block", b.place)
	}
}

// Settings of the profiles.
var (
	// unlimited is what both have in common.
	unlimited = ratelimit.Config{
		Window: 15 * time.Second, Slip: 2, Prefix4: 24, Prefix6: 56,
		Action: ratelimit.DropRequest, Entries: 100_000, Log: time.Minute,
	}
	publicRates = [...]int{ratelimit.Positive: 20, ratelimit.NoData: 20, ratelimit.NXDomain: 50, ratelimit.Referral: 20, ratelimit.Error: 10}
)

const (
	publicRequests  = 500
	publicOctets    = 30_000
	clusterRequests = 10_000
)

// classProperties set limits of a class of responses.
var classProperties = map[string]ratelimit.Class{
	"responses": ratelimit.Positive, "nodata": ratelimit.NoData, "nxdomain": ratelimit.NXDomain, "referral": ratelimit.Referral, "error": ratelimit.Error,
}

// parse reads the directive.
func parse(c *caddy.Controller) (*block, error) {
	var b *block
	for c.Next() {
		if b != nil {
			return nil, c.Errf("the directive is there already, at %s", b.place)
		}
		b = &block{place: fmt.Sprintf("%s:%d", c.File(), c.Line()), config: unlimited}
		args := c.RemainingArgs()
		cluster := len(args) > 0 && args[0] == "cluster"
		if cluster {
			args = args[1:]
		}
		if err := b.parseZones(c, args); err != nil {
			return nil, err
		}
		p := parser{block: b, seen: make(map[string]bool)}
		for c.NextBlock() {
			property, args := c.Val(), c.RemainingArgs()
			if err := p.property(property, args); err != nil {
				return nil, c.Errf("%v", err)
			}
			if c.NextArg() { // a brace; the arguments are gone
				return nil, c.Errf("%s: unexpected %q", property, c.Val())
			}
		}
		p.complete(cluster)
		if err := b.config.Validate(); err != nil {
			return nil, fmt.Errorf("%s - Error during parsing: %w", b.place, err)
		}
	}
	return b, nil
}

// parseZones reads the zones. Those that cover the server block limit nothing.
func (b *block) parseZones(c *caddy.Controller, args []string) error {
	for _, arg := range args { // what comes below leaves out those that are no zones
		if len(plugin.Host(arg).NormalizeExact()) == 0 {
			return c.Errf("%q is not a zone", arg)
		}
	}
	read := func(list []string) (names []dnsname.Name, err error) {
		for _, z := range list {
			n, err := dnsname.Parse(z, dnsname.Root)
			if err != nil {
				return nil, c.Errf("zone %v", err)
			}
			names = append(names, n.Fold())
		}
		return names, nil
	}
	var err error
	if b.around, err = read(plugin.OriginsFromArgsOrServerBlock(nil, c.ServerBlockKeys)); err != nil {
		return err
	}
	if b.zones, err = read(plugin.OriginsFromArgsOrServerBlock(args, c.ServerBlockKeys)); err != nil {
		return err
	}
	covers := func(n dnsname.Name) bool {
		return slices.ContainsFunc(b.zones, func(z dnsname.Name) bool { return n.IsBelow(z) })
	}
	for _, z := range b.zones {
		if !slices.ContainsFunc(b.around, func(n dnsname.Name) bool { return n.IsBelow(z) || z.IsBelow(n) }) {
			return c.Errf("no query for a name in %s comes here", z)
		}
	}
	if !slices.ContainsFunc(b.around, func(n dnsname.Name) bool { return !covers(n) }) {
		b.zones = nil
	}
	return nil
}

// parser reads the properties of a directive.
type parser struct {
	*block
	seen map[string]bool
}

func (p *parser) property(property string, args []string) error {
	if property != "exempt" && p.seen[property] {
		return fmt.Errorf("property %q is given twice", property)
	}
	p.seen[property] = true
	c := &p.config
	var err error
	number := func(to *int) {
		if len(args) != 1 {
			err = fmt.Errorf("%s: want one number, not %q", property, strings.Join(args, " "))
			return
		}
		n, bad := strconv.Atoi(args[0])
		if bad != nil || n < 0 {
			err = fmt.Errorf("%s: %q is not a number", property, args[0])
			return
		}
		*to = n
	}
	duration := func(to *time.Duration) {
		if len(args) != 1 {
			err = fmt.Errorf("%s: want one duration, not %q", property, strings.Join(args, " "))
			return
		}
		d, bad := time.ParseDuration(args[0])
		if bad != nil {
			err = fmt.Errorf("%s: %q is not a duration such as 15s", property, args[0])
			return
		}
		*to = d
	}
	switch property {
	case "responses", "nodata", "nxdomain", "referral", "error":
		number(&c.Rates[classProperties[property]])
	case "octets":
		number(&c.Octets)
	case "all":
		number(&c.All)
	case "window":
		duration(&c.Window)
	case "slip":
		number(&c.Slip)
	case "prefix4":
		number(&c.Prefix4)
	case "prefix6":
		number(&c.Prefix6)
	case "requests":
		err = p.parseRequests(args)
	case "table":
		number(&c.Entries)
	case "exempt":
		if bad := p.parseExempt(args); bad != nil {
			err = fmt.Errorf("exempt %w", bad)
		}
	case "dry_run":
		if c.DryRun = true; len(args) > 0 {
			err = fmt.Errorf("dry_run: unexpected %q", args[0])
		}
	case "log":
		duration(&c.Log)
	default:
		err = fmt.Errorf("unknown property %q", property)
	}
	return err
}

// actions are the words of the property requests.
var actions = map[string]ratelimit.Action{"drop": ratelimit.DropRequest, "refuse": ratelimit.RefuseRequest, "truncate": ratelimit.TruncateRequest}

func (p *parser) parseRequests(args []string) error {
	p.config.Action = ratelimit.TruncateRequest
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("requests: want a number and maybe drop, refuse or truncate, not %q", strings.Join(args, " "))
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 0 {
		return fmt.Errorf("requests: %q is not a number", args[0])
	}
	p.config.Requests = n
	if len(args) == 2 {
		a, ok := actions[args[1]]
		if !ok {
			return fmt.Errorf("requests: unknown action %q, want drop, refuse or truncate", args[1])
		}
		p.config.Action = a
	}
	return nil
}

func (p *parser) parseExempt(args []string) error {
	if len(args) == 0 {
		return errors.New("whom? want net, key, cookie or proto")
	}
	what, args := args[0], args[1:]
	if (what == "cookie") != (len(args) == 0) {
		return fmt.Errorf("%s: wrong number of arguments", what)
	}
	switch what {
	case "cookie":
		p.config.ExemptCookie = true
	case "net":
		for _, arg := range args {
			prefix, err := netip.ParsePrefix(arg)
			if addr, bad := netip.ParseAddr(arg); bad == nil {
				prefix, err = addr.WithZone("").Prefix(addr.BitLen())
			}
			if err != nil || prefix.Addr().Is4In6() {
				return fmt.Errorf("net: %q is not a network in CIDR notation", arg)
			}
			if prefix != prefix.Masked() {
				return fmt.Errorf("net: %q has bits beyond its length: want %s", arg, prefix.Masked())
			}
			p.config.Exempt = append(p.config.Exempt, prefix)
		}
	case "key":
		for _, arg := range args {
			if _, ok := dns.IsDomainName(arg); !ok {
				return fmt.Errorf("key: %q is not a domain name", arg)
			}
			p.keys = append(p.keys, dns.CanonicalName(arg))
		}
	case "proto":
		for _, arg := range args {
			switch arg {
			case "tcp", transport.TLS, transport.QUIC, transport.HTTPS, transport.GRPC:
				p.protos = append(p.protos, arg)
			default:
				return fmt.Errorf("proto: unknown protocol %q, want tcp, tls, quic, https or grpc", arg)
			}
		}
	default:
		return fmt.Errorf("%q: want net, key, cookie or proto", what)
	}
	return nil
}

// complete sets the limits that are not given: to those of the profile, but classes of
// responses follow the limit of responses if that is given, as in BIND.
func (p *parser) complete(cluster bool) {
	c := &p.config
	if !p.seen["requests"] {
		c.Requests, c.Action = publicRequests, ratelimit.TruncateRequest
		if cluster {
			c.Requests = clusterRequests
		}
	}
	if !p.seen["octets"] && !cluster {
		c.Octets = publicOctets
	}
	for property, class := range classProperties {
		switch {
		case p.seen[property]:
		case p.seen["responses"]:
			c.Rates[class] = c.Rates[ratelimit.Positive]
		case !cluster:
			c.Rates[class] = publicRates[class]
		}
	}
}
