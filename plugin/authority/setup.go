package authority

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

func init() { plugin.Register(name, setup) }

// setup reads the directives of one server block. The zones are loaded when the
// instance starts; the one before it serves until then.
func setup(c *caddy.Controller) error {
	b, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	config := dnsserver.GetConfig(c)
	config.AllowOpcode(dns.OpcodeUpdate) // to refuse updates with a reason
	config.AddPlugin(func(next plugin.Handler) plugin.Handler { return &Authority{Next: next, block: b} })

	var lease *zonedb.Lease
	c.OnStartup(func() error {
		lease = b.open(zonedb.Process)
		return nil
	})
	c.OnShutdown(func() error {
		lease.Close()
		return nil
	})
	return nil
}

// open loads the zones of the block.
func (b *block) open(db *zonedb.DB) *zonedb.Lease {
	all := make([]*served, len(b.names))
	specs := make([]zonedb.Spec, len(all))
	for _, z := range b.zones {
		all[z.index], specs[z.index] = z, z.spec
	}
	lease := db.Open(specs, report)
	for i, z := range lease.Zones() {
		all[i].zone = z
	}
	b.loaded.Store(true)
	return lease
}

// maxWarnings is how many warnings of one load are logged.
const maxWarnings = 20

// report logs what came of a load.
func report(r zonedb.Report) {
	origin := r.Spec.Origin
	for i, w := range r.Warnings {
		if i == maxWarnings {
			log.Warningf("%s: %d more warnings", origin, len(r.Warnings)-i)
			break
		}
		log.Warningf("%s: %s", origin, w)
	}
	result := "ok"
	switch {
	case r.Err != nil && r.Snapshot != nil:
		result = "error"
		log.Errorf("%s: not loaded, serial %d stays in service: %s", origin, r.Snapshot.Serial(), oneLine(r.Err))
	case r.Err != nil:
		result = "error"
		log.Errorf("%s: not loaded, answering SERVFAIL: %s", origin, oneLine(r.Err))
	case r.Previous != nil:
		log.Infof("%s: loaded serial %d after %d, %d records in %s", origin, r.Snapshot.Serial(), r.Previous.Serial(), r.Snapshot.Records(), r.Duration)
	default:
		log.Infof("%s: loaded serial %d, %d records in %s", origin, r.Snapshot.Serial(), r.Snapshot.Records(), r.Duration)
	}
	loadSeconds.WithLabelValues(result).Observe(r.Duration.Seconds())
}

// oneLine gives an error that joins several in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// directive is one use of authority in a block.
type directive struct {
	file    string
	options zonefile.Options
	fall    fall.F
	seen    map[string]bool
}

// parse reads all directives of a server block.
func parse(c *caddy.Controller) (*block, error) {
	b := &block{zones: make(map[dnsname.Name]*served)}
	places := make(map[dnsname.Name]string)
	for c.Next() {
		place := fmt.Sprintf("%s:%d", c.File(), c.Line())
		args := c.RemainingArgs()
		for _, arg := range args {
			if len(plugin.Host(arg).NormalizeExact()) == 0 {
				return nil, c.Errf("%q is not a zone", arg)
			}
		}
		origins := plugin.OriginsFromArgsOrServerBlock(args, c.ServerBlockKeys)
		d, err := parseDirective(c)
		if err != nil {
			return nil, err
		}
		for _, origin := range origins {
			n, err := dnsname.Parse(origin, dnsname.Root)
			if err != nil {
				return nil, c.Errf("zone %q: %v", origin, err)
			}
			n = n.Fold()
			if first, ok := places[n]; ok {
				return nil, c.Errf("zone %s is there already, at %s", origin, first)
			}
			places[n] = place
			path, err := d.path(origin, dnsserver.GetConfig(c).Root)
			if err != nil {
				return nil, c.Err(err.Error())
			}
			b.zones[n] = &served{
				origin: origin, index: len(b.names), fall: d.fall,
				spec: zonedb.Spec{Origin: n, Path: path, Options: d.options},
			}
			b.names = append(b.names, origin)
		}
	}
	return b, nil
}

func parseDirective(c *caddy.Controller) (*directive, error) {
	d := &directive{seen: make(map[string]bool)}
	for c.NextBlock() {
		property := c.Val()
		if d.seen[property] {
			return nil, c.Errf("property %q is given twice", property)
		}
		d.seen[property] = true
		var err error
		switch property {
		case "file":
			err = d.parseFile(c)
		case "check":
			err = d.parseCheck(c)
		case "limits":
			err = d.parseLimits(c)
		case "fallthrough":
			d.fall.SetZonesFromArgs(c.RemainingArgs())
		default:
			err = c.Errf("unknown property %q", property)
		}
		if err != nil {
			return nil, err
		}
	}
	if d.file == "" {
		return nil, c.Err("property \"file\" is missing: where is the zone read from?")
	}
	return d, nil
}

func (d *directive) parseFile(c *caddy.Controller) error {
	args := c.RemainingArgs()
	if len(args) == 0 || args[0] == "" {
		return c.Err("file: the path is missing")
	}
	d.file = args[0]
	if len(args) > 2 {
		return c.Errf("file: unexpected %q", args[2])
	}
	if len(args) == 2 && args[1] != "source" {
		return c.Errf("file: unknown kind %q, only \"source\" is known", args[1])
	}
	return nil
}

func (d *directive) parseCheck(c *caddy.Controller) error {
	args := c.RemainingArgs()
	if len(args) != 1 || args[0] != "warn" && args[0] != "strict" {
		return c.Errf("check: want warn or strict, not %q", strings.Join(args, " "))
	}
	d.options.Strict = args[0] == "strict"
	return nil
}

func (d *directive) parseLimits(c *caddy.Controller) error {
	if len(c.RemainingArgs()) > 0 {
		return c.Errf("limits: want a block in braces, not %q", c.Val())
	}
	seen := make(map[string]bool)
	for c.NextBlock() {
		limit := c.Val()
		var to *int
		switch limit {
		case "records":
			to = &d.options.MaxRecords
		case "rrset":
			to = &d.options.MaxRRset
		default:
			return c.Errf("limits: unknown limit %q", limit)
		}
		if seen[limit] {
			return c.Errf("limits: %q is given twice", limit)
		}
		seen[limit] = true
		args := c.RemainingArgs()
		if len(args) != 1 {
			return c.Errf("limits: want one number after %s", limit)
		}
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 {
			return c.Errf("limits: %s: %q is not a number above 0", limit, args[0])
		}
		*to = n
	}
	if len(seen) == 0 {
		return c.Err("limits: no limit given")
	}
	return nil
}

// path gives the file of a zone.
func (d *directive) path(origin, root string) (string, error) {
	path := d.file
	if strings.Contains(path, "{zone}") {
		zone := strings.TrimSuffix(origin, ".")
		if zone == "" || strings.ContainsAny(zone, `/\`) {
			return "", fmt.Errorf("zone %s cannot stand for {zone} in a path: name its file", origin)
		}
		path = strings.ReplaceAll(path, "{zone}", zone)
	}
	if !filepath.IsAbs(path) && root != "" {
		path = filepath.Join(root, path)
	}
	return filepath.Abs(path)
}
