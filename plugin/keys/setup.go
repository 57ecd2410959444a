package keys

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/parse"
	"github.com/coredns/coredns/plugin/tsig"
	"github.com/miekg/dns"
)

func init() {
	plugin.Register(name, setup)
	// Stock tsig sets the secrets of its block without a look at what is there,
	// so ours are added when it is done, and before the servers are made.
	caddy.RegisterParsingCallback("dns", "tsig", handOver)
}

// setup reads the directives of one server block.
func setup(c *caddy.Controller) error {
	b, err := parseBlock(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	for _, k := range sorted(b.keys) {
		if text := k.weakness(); text != "" {
			log.Warningf("%s: %s", k.place, text)
		}
	}
	config := dnsserver.GetConfig(c)
	config.AddPlugin(func(next plugin.Handler) plugin.Handler { return &Keys{Next: next, block: b} })
	i := instanceOf(c)
	i.add(c, b)
	c.OnStartup(func() error {
		if !i.handedOver {
			return plugin.Error(name, errors.New(`there is no directive "tsig", which must come behind "keys"`))
		}
		if stock, ok := config.Handler("tsig").(*tsig.TSIGServer); ok {
			b.stockZones = stock.Zones
		}
		return nil
	})
	return nil
}

func sorted(keys map[string]*key) []*key {
	return slices.SortedFunc(maps.Values(keys), func(a, b *key) int { return strings.Compare(a.name, b.name) })
}

// parseBlock reads all directives of a server block. Errors do not hold
// arguments: one at the wrong place may be a secret.
func parseBlock(c *caddy.Controller) (*block, error) {
	b := &block{keys: make(map[string]*key), files: make(map[string]digest)}
	for c.Next() {
		place := fmt.Sprintf("%s:%d", c.File(), c.Line())
		if b.place == "" {
			b.place = place
		}
		if len(c.RemainingArgs()) > 0 {
			return nil, c.Err("unexpected argument: the keys stand in braces")
		}
		empty := true
		for c.NextBlock() {
			empty = false
			if err := b.parseProperty(c); err != nil {
				return nil, err
			}
			if c.NextArg() { // a brace; the arguments are gone
				return nil, c.Err("unexpected brace")
			}
		}
		if empty {
			return nil, fmt.Errorf("%s - Error during parsing: no key is given", place)
		}
	}
	return b, nil
}

// plainWord is what an unknown property must be like to be named in an error.
var plainWord = regexp.MustCompile(`^[a-z_]{1,16}$`)

func (b *block) parseProperty(c *caddy.Controller) error {
	property := c.Val()
	place := fmt.Sprintf("%s:%d", c.File(), c.Line())
	switch args := c.RemainingArgs(); {
	case property == "tsig":
		algorithm := defaultAlgorithm
		switch len(args) {
		case 2:
		case 3:
			algorithm = args[1]
		default:
			return c.Err("tsig: want NAME [ALGORITHM] SECRET")
		}
		k, err := newKey(args[0], algorithm, args[len(args)-1], place)
		if err != nil {
			return c.Errf("tsig: %v", err)
		}
		return b.add(k)
	case property == "file":
		if len(args) == 0 {
			return c.Err("file: the path is missing")
		}
		for _, path := range args {
			if err := b.addFile(c, path); err != nil {
				return c.Errf("file: %v", err)
			}
		}
		return nil
	case plainWord.MatchString(property):
		return c.Errf("unknown property %q", property)
	default:
		return c.Err("unknown property")
	}
}

func (b *block) add(k *key) error {
	if other, ok := b.keys[k.name]; ok {
		return fmt.Errorf("%s: key %q is there already, at %s", k.place, k.name, other.place)
	}
	b.keys[k.name] = k
	return nil
}

func (b *block) addFile(c *caddy.Controller, path string) error {
	if path == "" {
		return errors.New("the path is empty")
	}
	if root := dnsserver.GetConfig(c).Root; !filepath.IsAbs(path) && root != "" {
		path = filepath.Join(root, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, ok := b.files[path]; ok {
		return fmt.Errorf("%s is given twice", path)
	}
	keys, content, err := loadKeyFile(path)
	if err != nil {
		return err
	}
	b.files[path] = content
	for _, k := range keys {
		if err := b.add(k); err != nil {
			return err
		}
	}
	return nil
}

// secrets gives what the library needs to verify and sign: it looks names up as
// requests spell them, which is in one of these ways.
func (b *block) secrets() map[string]string {
	s := make(map[string]string)
	for _, k := range b.keys {
		for _, spelled := range []string{k.name, k.spelled, strings.ToUpper(k.name)} {
			s[spelled] = k.encoded()
		}
	}
	return s
}

// handOver gives the secrets of all blocks of an instance to the server, which
// knows them for a whole listener.
func handOver(context caddy.Context) error {
	for _, inst := range caddy.Instances() {
		inst.StorageMu.RLock()
		i, ok := inst.Storage[instanceKey{}].(*instance)
		inst.StorageMu.RUnlock()
		if ok && i.context == context {
			return i.handOver(inst.Caddyfile())
		}
	}
	return nil // no block has keys
}

// handOver adds our secrets to those of stock tsig, after a check that no
// listener has two keys of one name.
func (i *instance) handOver(corefile caddy.Input) error {
	blocks, err := caddyfile.Parse(corefile.Path(), bytes.NewReader(corefile.Body()), nil)
	if err != nil {
		return err
	}
	known := make(map[string]map[string]listed) // listener → name of the key → where it is from
	for n := range blocks {
		configs, err := i.configs(n, blocks[n].Keys)
		if err != nil {
			return err
		}
		if len(configs) == 0 {
			continue
		}
		first := configs[0]
		list := stockKeys(first)
		b := i.blocks[first]
		if b != nil {
			b.stock = make(map[string]bool)
			for _, l := range list {
				b.stock[l.name] = true
			}
			for _, k := range sorted(b.keys) {
				list = append(list, listed{k.name, k.secret, k.algorithm, k.place})
			}
		}
		for _, address := range listeners(configs) {
			if known[address] == nil {
				known[address] = make(map[string]listed)
			}
			for _, l := range list {
				other, ok := known[address][l.name]
				if ok && !l.agrees(other) {
					return plugin.Error(name, fmt.Errorf("key %q has one secret or algorithm at %s and another at %s, and both are for the listener %s",
						l.name, other.place, l.place, address))
				}
				if !ok || other.algorithm == nil {
					known[address][l.name] = l
				}
			}
		}
		if b != nil {
			merged := b.secrets()
			maps.Copy(merged, first.TsigSecret)
			first.TsigSecret = merged
		}
	}
	i.handedOver = true
	return nil
}

// listed is a key on a listener, ours or stock tsig's.
type listed struct {
	name      string
	secret    []byte
	algorithm *algorithm // nil for stock tsig's, which have none
	place     string
}

func (l listed) agrees(other listed) bool {
	return bytes.Equal(l.secret, other.secret) && (l.algorithm == nil || other.algorithm == nil || l.algorithm == other.algorithm)
}

// stockKeys gives the keys of stock tsig in a server block.
func stockKeys(config *dnsserver.Config) []listed {
	var list []listed
	for _, name := range slices.Sorted(maps.Keys(config.TsigSecret)) {
		secret, err := base64.StdEncoding.DecodeString(config.TsigSecret[name])
		if err != nil { // tsig does not look; no request can be verified
			secret = []byte(config.TsigSecret[name])
		}
		list = append(list, listed{dns.CanonicalName(name), secret, nil, fmt.Sprintf("plugin tsig of the server block for %s", config.Zone)})
	}
	return list
}

// configs gives the configurations of a server block, one for each of its zones.
func (i *instance) configs(block int, keys []string) ([]*dnsserver.Config, error) {
	n := 0
	for _, k := range keys {
		_, k = parse.Transport(k)
		hosts, _, err := plugin.SplitHostPort(k) // several for a network in CIDR notation
		if err != nil {
			return nil, err
		}
		n += len(hosts)
	}
	c := *i.controller
	c.ServerBlockIndex = block
	var list []*dnsserver.Config
	for c.ServerBlockKeyIndex = range n {
		list = append(list, dnsserver.GetConfig(&c))
	}
	return list, nil
}

// listeners gives the addresses a server block is served at. What bind says
// stands in the first of its configurations.
func listeners(configs []*dnsserver.Config) []string {
	var list []string
	for _, config := range configs {
		for _, host := range configs[0].ListenHosts {
			list = append(list, config.Transport+"://"+net.JoinHostPort(host, config.Port))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
