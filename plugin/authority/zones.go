package authority

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// blockZones gives the zones of the server block, each once.
func blockZones(c *caddy.Controller) ([]dnsname.Name, error) {
	var origins []dnsname.Name
	for _, key := range c.ServerBlockKeys {
		_, host, ok := strings.Cut(key, scheme)
		if !ok {
			host = key
		}
		hosts, _, err := plugin.SplitHostPort(host)
		if err != nil {
			return nil, c.Errf("server block key %q: %v", key, err)
		}
		for _, h := range hosts {
			n, err := keyZone(h)
			if err != nil {
				return nil, c.Errf("server block key %q: %v", h, err)
			}
			origins = append(origins, n)
		}
	}
	slices.Sort(origins)
	return slices.Compact(origins), nil
}

// keyZone reads a zone out of a server block key, without scheme and port. The
// server compares the text of keys with the names of questions as the DNS
// library spells them: a key in any other spelling gets no queries.
func keyZone(host string) (dnsname.Name, error) {
	if err := dnsname.CheckHost(host); err != nil && !errors.Is(err, dnsname.ErrSpace) {
		return "", err
	}
	n, err := dnsname.Parse(plugin.Name(host).Normalize(), dnsname.Root)
	if err != nil {
		return "", err
	}
	n = n.Fold()
	spelled, _, err := dns.UnpackDomainName([]byte(n), 0)
	if err != nil {
		return "", err
	}
	switch {
	case strings.Contains(spelled, ","):
		return "", dnsname.ErrComma
	case spelled != plugin.Name(host).Normalize():
		return "", fmt.Errorf("no query matches this spelling: write %s", quoted(spelled))
	}
	return n, nil
}

// quoted gives a name as it is written in a Corefile.
func quoted(name string) string {
	if !strings.Contains(name, " ") {
		return name
	}
	return `"` + name + `"`
}

// argZones reads the zones of arguments, or networks in CIDR notation that stand
// for reverse zones.
func argZones(c *caddy.Controller, args []string) ([]dnsname.Name, error) {
	var origins []dnsname.Name
	for _, arg := range args {
		if err := dnsname.CheckZone(arg); err != nil {
			return nil, c.Errf("zone %q: %v", arg, err)
		}
		normal := plugin.Host(arg).NormalizeExact()
		if len(normal) == 0 {
			return nil, c.Errf("%q is not a zone", arg)
		}
		for _, s := range normal {
			n, err := dnsname.Parse(s, dnsname.Root)
			if err != nil {
				return nil, c.Errf("zone %v", err)
			}
			origins = append(origins, n.Fold())
		}
	}
	return origins, nil
}

// scheme ends the scheme of a server block key.
const scheme = "://"
