package authority

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
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
	addSizers(config, b)
	config.AddPlugin(func(next plugin.Handler) plugin.Handler { return &Authority{Next: next, block: b} })

	var lease atomic.Pointer[zonedb.Lease] // a signal may end the server while it starts
	c.OnStartup(func() error {
		lease.Store(b.open(zonedb.Process))
		return nil
	})
	c.OnShutdown(func() error {
		if l := lease.Swap(nil); l != nil {
			l.Close()
		}
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
	if r.Err == nil { // else they are in the error
		for i, w := range r.Warnings {
			if i == maxWarnings {
				log.Warningf("%s: %d more warnings", origin, len(r.Warnings)-i)
				break
			}
			log.Warningf("%s: %s", origin, w)
		}
	}
	result := "ok"
	switch {
	case r.Err != nil && r.Snapshot != nil:
		result = "error"
		log.Errorf("%s: not loaded, serial %d stays in service: %s", origin, r.Snapshot.Serial(), oneLine(r.Err))
	case r.Err != nil:
		result = "error"
		log.Errorf("%s: not loaded, answering SERVFAIL: %s", origin, oneLine(r.Err))
	case r.Previous == nil:
		log.Infof("%s: loaded serial %d, %d records in %s", origin, r.Snapshot.Serial(), r.Snapshot.Records(), r.Duration)
	case r.Snapshot.Serial().After(r.Previous.Serial()):
		log.Infof("%s: loaded serial %d after %d, %d records in %s", origin, r.Snapshot.Serial(), r.Previous.Serial(), r.Snapshot.Records(), r.Duration)
	default:
		log.Warningf("%s: loaded serial %d after %d, which is not later, so that secondaries see no change; %d records in %s",
			origin, r.Snapshot.Serial(), r.Previous.Serial(), r.Snapshot.Records(), r.Duration)
	}
	loadSeconds.WithLabelValues(result).Observe(r.Duration.Seconds())
}

// oneLine gives an error that joins several in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// directive is one use of authority in a block.
type directive struct {
	place   string // file:line
	file    string
	options zonefile.Options
	fall    []dnsname.Name
}

// errorf gives an error that names the place of the directive, where the one of
// the current token would mislead.
func (d *directive) errorf(format string, args ...any) error {
	return fmt.Errorf("%s - Error during parsing: "+format, append([]any{d.place}, args...)...)
}

// parse reads all directives of a server block.
func parse(c *caddy.Controller) (*block, error) {
	b := &block{zones: make(map[dnsname.Name]*served)}
	places := make(map[dnsname.Name]string)
	for c.Next() {
		around, err := blockZones(c) // here, so that an error has a place
		if err != nil {
			return nil, err
		}
		d := &directive{place: fmt.Sprintf("%s:%d", c.File(), c.Line())}
		origins, err := argZones(c, c.RemainingArgs())
		if err != nil {
			return nil, err
		}
		if len(origins) == 0 {
			origins = around
		}
		if err := d.parse(c, origins); err != nil {
			return nil, err
		}
		for _, origin := range origins {
			text := origin.String()
			if first, ok := places[origin]; ok {
				return nil, d.errorf("zone %s is there already, at %s", text, first)
			}
			places[origin] = d.place
			switch reached(origin, around) {
			case unreached:
				return nil, d.errorf("no query for zone %s comes here: the server block is for %s", text, join(around))
			case wholly:
			case partly:
				log.Warningf("%s: %s: queries for the apex do not come here: the server block is for %s", text, d.place, join(around))
			}
			path, err := d.path(origin, dnsserver.GetConfig(c).Root)
			if err != nil {
				return nil, d.errorf("file: %w", err)
			}
			b.zones[origin] = &served{
				origin: text, index: len(b.names), fall: d.fall,
				spec: zonedb.Spec{Origin: origin, Path: path, Options: d.options},
			}
			b.names = append(b.names, text)
		}
	}
	return b, nil
}

// reach tells which queries for a zone come to a server block.
type reach int

const (
	unreached reach = iota
	partly
	wholly
)

func reached(origin dnsname.Name, around []dnsname.Name) reach {
	r := unreached
	for _, z := range around {
		if origin.IsBelow(z) {
			return wholly
		}
		if z.IsBelow(origin) {
			r = partly
		}
	}
	return r
}

func join(names []dnsname.Name) string {
	s := make([]string, len(names))
	for i, n := range names {
		s[i] = n.String()
	}
	return strings.Join(s, " ")
}

// parse reads the properties of a directive for those zones.
func (d *directive) parse(c *caddy.Controller, origins []dnsname.Name) error {
	seen := make(map[string]bool)
	for c.NextBlock() {
		property := c.Val()
		if seen[property] {
			return c.Errf("property %q is given twice", property)
		}
		seen[property] = true
		var err error
		switch property {
		case "file":
			err = d.parseFile(c)
		case "check":
			err = d.parseCheck(c)
		case "limits":
			err = d.parseLimits(c)
		case "fallthrough":
			err = d.parseFallthrough(c, origins)
		default:
			err = c.Errf("unknown property %q", property)
		}
		if err != nil {
			return err
		}
		if c.NextArg() { // a brace; the arguments are gone
			return c.Errf("%s: unexpected %q", property, c.Val())
		}
	}
	if d.file == "" {
		return d.errorf("property \"file\" is missing")
	}
	return nil
}

func (d *directive) parseFile(c *caddy.Controller) error {
	args := c.RemainingArgs()
	switch {
	case len(args) == 0 || args[0] == "":
		return c.Err("file: the path is missing")
	case len(args) > 2:
		return c.Errf("file: unexpected %q", args[2])
	case len(args) == 2 && args[1] != "source":
		return c.Errf("file: unknown kind %q, only \"source\" is known", args[1])
	}
	d.file = args[0]
	return nil
}

func (d *directive) parseCheck(c *caddy.Controller) error {
	args := c.RemainingArgs()
	if len(args) != 1 || args[0] != "warn" && args[0] != "strict" {
		return c.Errf("check: want \"warn\" or \"strict\", not %q", strings.Join(args, " "))
	}
	d.options.Strict = args[0] == "strict"
	return nil
}

// parseFallthrough takes only zones that a name of the origins can be in.
func (d *directive) parseFallthrough(c *caddy.Controller, origins []dnsname.Name) error {
	zones, err := argZones(c, c.RemainingArgs())
	if err != nil {
		return err
	}
	if len(zones) == 0 {
		zones = []dnsname.Name{dnsname.Root}
	}
	for _, z := range zones {
		if !slices.ContainsFunc(origins, func(o dnsname.Name) bool { return o.IsBelow(z) || z.IsBelow(o) }) {
			return c.Errf("fallthrough: no name of %s is in %s", join(origins), z)
		}
	}
	d.fall = zones
	return nil
}

func (d *directive) parseLimits(c *caddy.Controller) error {
	if args := c.RemainingArgs(); len(args) > 0 {
		return c.Errf("limits: want a block in braces, not %q", strings.Join(args, " "))
	}
	if !c.NextArg() { // loads the brace; NextBlock would take the next line without one
		return c.Err("limits: no limit is given")
	}
	seen := make(map[string]bool)
	for c.Next() && c.Val() != "}" {
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
			return c.Errf("limits: want one number after %q", limit)
		}
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 {
			return c.Errf("limits: %s: %q is not a number above 0", limit, args[0])
		}
		*to = n
	}
	if len(seen) == 0 {
		return c.Err("limits: no limit is given")
	}
	return nil
}

// path gives the file of a zone.
func (d *directive) path(origin dnsname.Name, root string) (string, error) {
	path := d.file
	if strings.Contains(path, "{zone}") {
		text := strings.TrimSuffix(origin.String(), ".")
		if text == "" || strings.ContainsAny(text, `/\`) {
			return "", fmt.Errorf("the name of zone %s cannot stand in a path: write the path without {zone}", origin)
		}
		path = strings.ReplaceAll(path, "{zone}", text)
	}
	if !filepath.IsAbs(path) && root != "" {
		path = filepath.Join(root, path)
	}
	return filepath.Abs(path)
}
