package cookie

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
)

func init() { plugin.Register(name, setup) }

// Times after which the secret of the process is replaced. RFC 7873 §7.1: 26 hours or
// less, and never more than 36 days.
const (
	defaultRotation = 24 * time.Hour
	minRotation     = cookie.MinRotation * time.Second
	maxRotation     = 36 * 24 * time.Hour
)

// setup reads the directive of one server block.
func setup(c *caddy.Controller) error {
	i := instanceOf(c)
	b, err := i.parseBlock(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	if err := i.add(b); err != nil {
		return plugin.Error(name, err)
	}
	config := dnsserver.GetConfig(c)
	c.OnStartup(func() error {
		b.bind(config)
		return nil
	})
	config.AddPlugin(func(next plugin.Handler) plugin.Handler { return &Cookie{Next: next, block: b} })
	return nil
}

// add enters a block.
func (i *instance) add(b *block) error {
	if err := b.compose(); err != nil {
		return err
	}
	for _, other := range i.blocks {
		if len(other.lines) == 0 && len(b.lines) == 0 && other.rotate != b.rotate {
			return fmt.Errorf("%s: the secret of the process is replaced every %s here, and every %s at %s",
				b.place, seconds(b.rotate), seconds(other.rotate), other.place)
		}
	}
	i.blocks = append(i.blocks, b)
	return nil
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// parseBlock reads the directive. Errors do not hold arguments: one at the wrong
// place may be a secret.
func (i *instance) parseBlock(c *caddy.Controller) (*block, error) {
	b := &block{rotate: uint32(defaultRotation / time.Second)}
	for c.Next() {
		if b.place != "" {
			return nil, c.Errf("the directive is there already, at %s", b.place)
		}
		b.place = fmt.Sprintf("%s:%d", c.File(), c.Line())
		if len(c.RemainingArgs()) > 0 {
			return nil, c.Err("unexpected argument: the properties stand in braces")
		}
		given := make(map[string]bool)
		for c.NextBlock() {
			property := c.Val()
			if property != "secret" && given[property] {
				return nil, c.Errf("property %q is given twice", property)
			}
			if err := i.parseProperty(c, b); err != nil {
				return nil, err
			}
			given[property] = true
			if c.NextArg() { // a brace; the arguments are gone
				return nil, c.Err("unexpected brace")
			}
		}
	}
	if b.rotateAt != "" && len(b.lines) > 0 {
		return nil, fmt.Errorf("%s: rotate is for the secret that the server makes itself, and does nothing to one that is given", b.rotateAt)
	}
	return b, nil
}

// plainWord is what an unknown property must be like to be named in an error.
var plainWord = regexp.MustCompile(`^[a-z_]{1,16}$`)

func (i *instance) parseProperty(c *caddy.Controller, b *block) error {
	property := c.Val()
	place := fmt.Sprintf("%s:%d", c.File(), c.Line())
	args := c.RemainingArgs()
	switch property {
	case "secret":
		l := line{place: place, previous: len(args) == 2 && args[1] == "previous"}
		if len(args) != 1 && !l.previous {
			return c.Err("secret: want HEX or FILE, and \"previous\" or nothing")
		}
		secret, err := cookie.ParseSecret(args[0])
		if err != nil {
			if l.file, err = i.parseFile(c, args[0]); err != nil {
				return c.Errf("secret: want 32 hexadecimal digits or a file: %v", err)
			}
		}
		l.secret = secret
		b.lines = append(b.lines, l)
		return nil
	case "rotate":
		if len(args) != 1 {
			return c.Err("rotate: want a duration")
		}
		d, err := time.ParseDuration(args[0])
		if err != nil || d < minRotation || d > maxRotation || d%time.Second != 0 {
			return c.Errf("rotate: want a duration of %v to %v in whole seconds", minRotation, maxRotation)
		}
		b.rotate, b.rotateAt = uint32(d/time.Second), place
		return nil
	case "require":
		policies := map[string]cookie.Policy{"never": cookie.Never, "limited": cookie.Limited, "always": cookie.Always}
		if len(args) == 1 {
			if policy, ok := policies[args[0]]; ok {
				b.require = policy
				return nil
			}
		}
		return c.Err("require: want never, limited or always")
	}
	if plainWord.MatchString(property) {
		return c.Errf("unknown property %q", property)
	}
	return c.Err("unknown property")
}

// parseFile gives a file. The error names it only if it looks like one, and not like a secret.
func (i *instance) parseFile(c *caddy.Controller, path string) (*file, error) {
	if !looksLikeFile(path) {
		return nil, errors.New("it is neither; the name of a file that looks like a secret needs ./ in front")
	}
	if root := dnsserver.GetConfig(c).Root; !filepath.IsAbs(path) && root != "" {
		path = filepath.Join(root, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f, err := i.file(path)
	if err == nil {
		f.warn()
	}
	return f, err
}

// likeSecret is what a secret with a mistake in it may look like, or one of another kind.
var likeSecret = regexp.MustCompile(`^[0-9A-Za-z+][0-9A-Za-z+/=]{19,}$`)

func looksLikeFile(path string) bool { return path != "" && !likeSecret.MatchString(path) }
