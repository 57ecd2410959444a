package authority

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/xfr"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
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
	if config.TLSConfig != nil { // servers of other protocols set their own
		config.TLSConfig.NextProtos = []string{"dot"} // RFC 9103 §7.1: without it secondaries take no zone
	}
	config.AddPlugin(func(next plugin.Handler) plugin.Handler { return &Authority{Next: next, block: b} })

	c.OnStartup(func() error {
		if err := b.owner.bind(); err != nil {
			return plugin.Error(name, err)
		}
		b.start()
		if err := b.open(zonedb.Process); err != nil {
			return plugin.Error(name, err)
		}
		beginHandover()
		return nil
	})
	c.OnShutdown(func() error {
		endHandover()
		b.close()
		return nil
	})
	return nil
}

// siblings is what the blocks of one instance of the server know of each other.
type siblings struct {
	zones    map[string]*directive // by origin, and store or file
	policies map[string]policy     // of signing, by name
	blocks   []*block
	bound    bool
}

// bind looks at the other plugins of all blocks, which are there when the first
// of them starts: what a block updates may be served by another, from one store.
func (in *siblings) bind() error {
	if in.bound {
		return nil
	}
	seeds := make(map[string]bool) // by origin and store
	for _, b := range in.blocks {
		if err := b.bind(seeds); err != nil {
			return err
		}
	}
	for _, b := range in.blocks {
		if err := b.seed(seeds); err != nil {
			return err
		}
	}
	in.bound = true
	return nil
}

// siblingsOf gives the one that is being set up.
func siblingsOf(c *caddy.Controller) *siblings {
	in, ok := c.Get(siblingsKey{}).(*siblings)
	if !ok {
		in = &siblings{zones: make(map[string]*directive), policies: make(map[string]policy)}
		c.Set(siblingsKey{}, in)
	}
	return in
}

// directive is one use of authority in a block.
type directive struct {
	place     string // file:line
	config    *dnsserver.Config
	file      string       // as in the Corefile
	kind      string       // of the file: "source", "seed", or "" if it is not said
	kept      string       // where, as in the Corefile; "" if it is not said
	directory string       // absolute
	pattern   string       // of the files in it
	spec      zonedb.Spec  // of each zone, without origin and path
	sharing   []*directive // with which it shares a zone in a store
	rules
}

// rules are what a directive says about its zones beyond where they come from.
type rules struct {
	fall     []dnsname.Name
	transfer []transferRule
	notify   []xfr.Target
}

// errorf gives an error that names the place of the directive, where the one of
// the current token would mislead.
func (d *directive) errorf(format string, args ...any) error {
	return fmt.Errorf("%s - Error during parsing: "+format, append([]any{d.place}, args...)...)
}

// parse reads all directives of a server block.
func parse(c *caddy.Controller) (*block, error) {
	in := siblingsOf(c)
	b := &block{owner: in, config: dnsserver.GetConfig(c), context: c.Context(), static: make(zoneMap), announcements: announcements{held: make(map[announced]bool)}}
	b.zones.Store(&zoneMap{})
	in.blocks = append(in.blocks, b)
	for c.Next() {
		around, err := blockZones(c) // here, so that an error has a place
		if err != nil {
			return nil, err
		}
		b.around = around
		d := &directive{place: fmt.Sprintf("%s:%d", c.File(), c.Line()), config: dnsserver.GetConfig(c)}
		origins, err := argZones(c, c.RemainingArgs())
		if err != nil {
			return nil, err
		}
		if len(origins) == 0 {
			origins = around
		}
		if err := d.parse(c, in, origins); err != nil {
			return nil, err
		}
		b.directives = append(b.directives, d)
		if d.directory != "" {
			b.folders = append(b.folders, &folder{directive: d, block: b, origins: origins})
			continue
		}
		for _, origin := range origins {
			if err := b.add(in, d, origin); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// add puts a zone of a directive into the block.
func (b *block) add(in *siblings, d *directive, origin dnsname.Name) error {
	text := origin.String()
	if first, ok := b.static[origin]; ok {
		return d.errorf("zone %s is there already, at %s", text, first.place)
	}
	switch reached(origin, b.around) {
	case unreached:
		return d.errorf("no query for zone %s comes here: the server block is for %s", text, join(b.around))
	case wholly:
	case partly:
		log.Warningf("%s: %s: queries for the apex do not come here: the server block is for %s", text, d.place, join(b.around))
	}
	path, err := d.path(origin)
	if err != nil {
		return d.errorf("file: %w", err)
	}
	spec := d.spec
	spec.Origin, spec.Path = origin, path
	b.static[origin] = newServed(spec, d)
	b.specs = append(b.specs, spec)

	from := text + " " + cmp.Or(spec.Store, path)
	first := in.zones[from]
	if first == nil {
		in.zones[from] = d
		return nil
	}
	firstPath, err := first.path(origin)
	if err != nil || firstPath != path || !sameSettings(spec, first.spec) {
		return d.errorf("zone %s has other settings at %s, where it comes from the same place", text, first.place)
	}
	if spec.Store != "" {
		d.sharing = append(d.sharing, first)
	}
	return nil
}

// sameSettings tells whether two zones differ in no more than origin and path.
func sameSettings(a, b zonedb.Spec) bool {
	a.Origin, a.Path = b.Origin, b.Path
	return a == b
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

// repeated are the properties that may be given several times.
var repeated = map[string]bool{"transfer": true, "notify": true}

// parse reads the properties of a directive for those zones.
func (d *directive) parse(c *caddy.Controller, in *siblings, origins []dnsname.Name) error {
	d.spec.History = defaultHistory
	seen := make(map[string]bool)
	for c.NextBlock() {
		property := c.Val()
		if seen[property] && !repeated[property] {
			return c.Errf("property %q is given twice", property)
		}
		seen[property] = true
		var err error
		switch property {
		case "file":
			err = d.parseFile(c)
		case "directory":
			err = d.parseDirectory(c)
		case "store":
			err = d.parseStore(c)
		case "serial":
			err = d.parseSerial(c)
		case "journal":
			err = d.parseJournal(c)
		case "transfer":
			err = d.parseTransfer(c)
		case "notify":
			err = d.parseNotify(c)
		case "check":
			err = d.parseCheck(c)
		case "limits":
			err = d.parseLimits(c)
		case "dnssec":
			err = d.parseDNSSEC(c, in)
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
	switch {
	case d.file == "" && d.directory == "":
		return d.errorf("property \"file\" or \"directory\" is missing")
	case d.file != "" && d.directory != "":
		return d.errorf("properties \"file\" and \"directory\" exclude each other")
	case d.spec.Seed && d.kept == "":
		return d.errorf("file … seed: what is read once must be kept: property \"store\" is missing")
	}
	return d.checkSigning()
}

func (d *directive) parseFile(c *caddy.Controller) error {
	args := c.RemainingArgs()
	switch {
	case len(args) == 0 || args[0] == "":
		return c.Err("file: the path is missing")
	case len(args) > 2:
		return c.Errf("file: unexpected %q", args[2])
	case len(args) == 2 && args[1] != "source" && args[1] != "seed":
		return c.Errf("file: unknown kind %q, want \"source\" or \"seed\"", args[1])
	}
	d.file = args[0]
	if len(args) == 2 {
		d.kind = args[1]
	}
	d.spec.Seed = d.kind == "seed"
	return nil
}

// defaultPattern is how the files of a directory are called.
const defaultPattern = "*.zone"

func (d *directive) parseDirectory(c *caddy.Controller) error {
	args := c.RemainingArgs()
	switch {
	case len(args) == 0 || args[0] == "":
		return c.Err("directory: the path is missing")
	case len(args) > 2:
		return c.Errf("directory: unexpected %q", args[2])
	}
	d.pattern = defaultPattern
	if len(args) == 2 {
		d.pattern = args[1]
	}
	if strings.Count(d.pattern, "*") != 1 || strings.Contains(d.pattern, "/") {
		return c.Errf("directory: pattern %q is not the name of a file with one asterisk in the place of the zone", d.pattern)
	}
	var err error
	if d.directory, err = d.absolute(args[0]); err != nil {
		return c.Errf("directory: %v", err)
	}
	info, err := os.Stat(d.directory)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", d.directory)
	}
	if err != nil {
		return c.Errf("directory: %v", err)
	}
	return nil
}

func (d *directive) parseStore(c *caddy.Controller) error {
	args := c.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return c.Errf("store: want a folder or \"memory\", not %q", strings.Join(args, " "))
	}
	d.kept = args[0]
	if args[0] == "memory" {
		return nil
	}
	var err error
	if d.spec.Store, err = d.absolute(args[0]); err != nil {
		return c.Errf("store: %v", err)
	}
	return nil
}

// policies are the values of the property serial.
var policies = map[string]zone.SerialPolicy{"increment": zone.Increment, "unixtime": zone.UnixTime, "date": zone.Date}

func (d *directive) parseSerial(c *caddy.Controller) error {
	args := c.RemainingArgs()
	if len(args) == 1 {
		if p, ok := policies[args[0]]; ok {
			d.spec.Serial = p
			return nil
		}
	}
	return c.Errf("serial: want \"increment\", \"unixtime\" or \"date\", not %q", strings.Join(args, " "))
}

// defaultHistory is how far IXFR reaches back if nothing is said.
var defaultHistory = journal.History{Depth: 1000, Octets: 16 << 20}

func (d *directive) parseJournal(c *caddy.Controller) error {
	args := c.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return c.Errf("journal: want a number of changes and maybe a size, not %q", strings.Join(args, " "))
	}
	depth, err := strconv.Atoi(args[0])
	if err != nil || depth < 0 {
		return c.Errf("journal: %q is not a number of changes", args[0])
	}
	d.spec.History.Depth = depth
	if len(args) == 2 {
		octets, err := parseSize(args[1])
		if err != nil {
			return c.Errf("journal: %v", err)
		}
		d.spec.History.Octets = octets
	}
	return nil
}

// parseSize reads a number of octets, with k, M or G for 2^10, 2^20 and 2^30.
func parseSize(s string) (int64, error) {
	shift := 0
	number := s
	if s != "" {
		switch s[len(s)-1] {
		case 'k', 'K':
			shift = 10
		case 'm', 'M':
			shift = 20
		case 'g', 'G':
			shift = 30
		}
		if shift > 0 {
			number = s[:len(s)-1]
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is not a size: want a number above 0, with k, M or G behind it for more than octets", s)
	}
	return n << shift, nil
}

func (d *directive) parseCheck(c *caddy.Controller) error {
	args := c.RemainingArgs()
	if len(args) != 1 || args[0] != "warn" && args[0] != "strict" {
		return c.Errf("check: want \"warn\" or \"strict\", not %q", strings.Join(args, " "))
	}
	d.spec.Options.Strict = args[0] == "strict"
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
			to = &d.spec.Options.MaxRecords
		case "rrset":
			to = &d.spec.Options.MaxRRset
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
func (d *directive) path(origin dnsname.Name) (string, error) {
	path := d.file
	if strings.Contains(path, "{zone}") {
		text := strings.TrimSuffix(origin.String(), ".")
		if text == "" || strings.ContainsAny(text, `/\`) {
			return "", fmt.Errorf("the name of zone %s cannot stand in a path: write the path without {zone}", origin)
		}
		path = strings.ReplaceAll(path, "{zone}", text)
	}
	return d.absolute(path)
}

// absolute gives a path that is below the root of the block if it is relative.
func (d *directive) absolute(path string) (string, error) {
	if root := d.config.Root; !filepath.IsAbs(path) && root != "" {
		path = filepath.Join(root, path)
	}
	return filepath.Abs(path)
}
