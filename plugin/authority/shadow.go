package authority

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// configsOf gives the configurations of all server blocks of an instance, which
// CoreDNS keeps to itself: they are read from a field that is not exported. If it
// is not there as in v1.15.0, which a test would show, the result is empty.
func configsOf(instance caddy.Context) []*dnsserver.Config {
	v := reflect.ValueOf(instance)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil
	}
	list := v.Elem().FieldByName("configs")
	if !list.IsValid() || list.Type() != reflect.TypeFor[[]*dnsserver.Config]() {
		return nil
	}
	configs := make([]*dnsserver.Config, list.Len())
	for i := range configs {
		configs[i] = (*dnsserver.Config)(list.Index(i).UnsafePointer())
	}
	return configs
}

// shadowed tells why queries for a zone that the block covers do not come to it:
// a more specific server block of the same listener takes them.
func (b *block) shadowed(origin dnsname.Name, own *dnsserver.Config) error {
	best := 0 // the length of the zone of ours that queries come by
	for _, z := range b.around {
		if origin.IsBelow(z) {
			best = max(best, len(z))
		}
	}
	for _, c := range configsOf(b.context) {
		n, err := dnsname.Parse(plugin.Name(c.Zone).Normalize(), dnsname.Root)
		if err != nil {
			continue // not a zone that anybody is asked for
		}
		n = n.Fold()
		apart := len(c.ListenHosts) > 0 && len(own.ListenHosts) > 0 &&
			!slices.ContainsFunc(c.ListenHosts, func(h string) bool { return slices.Contains(own.ListenHosts, h) })
		if c.Port == own.Port && c.Transport == own.Transport && !apart && len(c.FilterFuncs) == 0 &&
			origin.IsBelow(n) && len(n) > best && !slices.Contains(b.around, n) {
			return fmt.Errorf("queries for zone %s do not come here: the server block for %s takes them", origin, n)
		}
	}
	return nil
}
