package authority

import (
	"errors"
	"fmt"
	"net"
	"regexp"
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
	if err := checkZone(host); err != nil && !errors.Is(err, errSpace) {
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
		return "", errComma
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
		if err := checkArg(arg); err != nil {
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

// What is wrong with the text of a zone.
var (
	errIDN     = errors.New("write it in ASCII, as the DNS has it: labels of other letters in the form xn--")
	errSpace   = errors.New(`put separate zones into separate words; a space in a name is \032`)
	errComma   = errors.New(`put a space between zones; a comma in a name is \044, and such a name cannot be a server block key`)
	errAddress = errors.New("an address is not a zone: write a network, with the length of its prefix")
	errNetwork = errors.New("not a network: want an address and the length of a prefix that it can have")
	errHost    = errors.New("want a name alone: scheme and port belong to the key of the server block")
)

// scheme ends the scheme of a server block key.
const scheme = "://"

var portAtEnd = regexp.MustCompile(`[^\\]:[0-9]+\.?$`)

// checkArg tells what is wrong with the text of a zone, or of a network in CIDR
// notation, beyond the rules of names: what would be taken for a name that
// nobody means.
func checkArg(s string) error {
	if net.ParseIP(s) == nil && portAtEnd.MatchString(s) {
		return errHost
	}
	return checkZone(s)
}

// checkZone is checkArg for what may have had a scheme and a port.
func checkZone(s string) error {
	if _, _, err := net.ParseCIDR(s); err == nil {
		return nil
	}
	if strings.Contains(s, scheme) {
		return errHost
	}
	s = strings.TrimSuffix(s, ".")
	if net.ParseIP(s) != nil {
		return errAddress
	}
	slash := false // in the last label
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 0x80:
			return errIDN
		case c <= ' ':
			return errSpace
		case c == ',':
			return errComma
		case c == '.':
			slash = false
		case c == '/':
			slash = true
		case c == '\\':
			i++
		}
	}
	if slash {
		return errNetwork
	}
	return nil
}
