package authority

import (
	"context"
	"net/netip"
	"sync"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/feed"
	"github.com/trustdns/trustdns/plugin/pkg/xfr"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

// dnsPort is where secondaries listen if nothing else is said.
const dnsPort = 53

func (d *directive) parseNotify(c *caddy.Controller) error {
	args := c.RemainingArgs()
	var key xfr.Key
	if n := len(args); n >= 2 && args[n-2] == "key" {
		key.Name = plugin.Name(args[n-1]).Normalize()
		args = args[:n-2]
	}
	if len(args) == 0 {
		return c.Err("notify: want addresses, and maybe \"key NAME\" behind them")
	}
	for _, arg := range args {
		address, err := parseAddress(arg)
		if err != nil {
			return c.Errf("notify: %q is not an address, with or without a port", arg)
		}
		d.notify = append(d.notify, xfr.Target{Address: address, Key: key})
	}
	return nil
}

// parseAddress reads an address with or without a port.
func parseAddress(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, dnsPort), nil
	}
	return netip.ParseAddrPort(s)
}

// bindNotify looks up the keys of the targets and the addresses to send from.
func (d *directive) bindNotify(holder keyHolder) error {
	for i := range d.notify {
		t := &d.notify[i]
		t.Source = sourceFor(t.Address.Addr(), d.config.ListenHosts)
		if t.Key.Name == "" {
			continue
		}
		known := false
		if holder != nil {
			var secret []byte
			t.Key.Algorithm, secret, known = holder.TSIGKey(t.Key.Name)
			t.Key.Secret = string(secret)
		}
		if !known {
			return d.errorf("notify: key %s is not one of the plugin keys in this server block", t.Key.Name)
		}
	}
	return nil
}

// sourceFor gives the address of the server that messages to a target come from:
// the one that the server block is bound to, as secondaries take NOTIFY only from
// the address that they know. The zero value leaves it to the system.
func sourceFor(target netip.Addr, hosts []string) netip.Addr {
	for _, h := range hosts {
		a, err := netip.ParseAddr(h)
		if err == nil && !a.IsUnspecified() && a.Is4() == target.Is4() && a.IsLoopback() == target.IsLoopback() {
			return a
		}
	}
	return netip.Addr{}
}

// announced is a target of a live zone.
type announced struct {
	zone   *zonedb.Zone
	target xfr.Target
}

// herald tells secondaries of new versions, for all instances of the server: what
// one of them has not got an answer to yet, the next goes on with.
type herald struct {
	mu       sync.Mutex
	notifier *xfr.Notifier // nil while there are no targets
	targets  map[announced]*heard
}

// heard is what a target was told.
type heard struct {
	users int
	last  *zone.Snapshot
}

// process is the herald of this process.
var process = herald{targets: make(map[announced]*heard)}

// hold makes a target hear of a zone until it is released as often. A new one hears
// of the version that is in service.
func (h *herald) hold(k announced) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.notifier == nil {
		h.notifier = xfr.NewNotifier(notified)
	}
	t := h.targets[k]
	if t == nil {
		t = new(heard)
		h.targets[k] = t
		h.notifier.Add(k, k.zone.Spec().Origin, []xfr.Target{k.target})
		h.tell(k, t, k.zone.Snapshot())
	}
	t.users++
}

// tell tells of a version, if it was not told; h.mu is held.
func (h *herald) tell(k announced, t *heard, s *zone.Snapshot) {
	if s != nil && s != t.last {
		t.last = s
		h.notifier.Notify(k, s.SOA())
	}
}

// announce tells a target of a version.
func (h *herald) announce(k announced, s *zone.Snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.targets[k]; t != nil {
		h.tell(k, t, s)
	}
}

func (h *herald) release(k announced) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.targets[k]
	if t == nil {
		return
	}
	if t.users--; t.users > 0 {
		return
	}
	h.notifier.Remove(k, []xfr.Target{k.target})
	delete(h.targets, k)
	if len(h.targets) == 0 {
		h.notifier.Close()
		h.notifier = nil
	}
}

// notified counts and logs what became of a NOTIFY.
func notified(r xfr.Result) {
	origin := r.Origin.String()
	notifyTotal.WithLabelValues(origin, r.Outcome.String()).Inc()
	if !r.Changed {
		return
	}
	why := ""
	if r.Err != nil {
		why = ": " + oneLine(r.Err)
	}
	switch r.Outcome {
	case xfr.Answered:
		log.Infof("%s: %s answers NOTIFY again, serial %d", origin, r.Target.Address, r.Serial)
	case xfr.Refused:
		log.Warningf("%s: %s answers NOTIFY with %s, serial %d%s", origin, r.Target.Address, dns.RcodeToString[r.Rcode], r.Serial, why)
	case xfr.Unsent:
		log.Warningf("%s: NOTIFY to %s cannot be sent, and is tried again%s", origin, r.Target.Address, why)
	default:
		log.Warningf("%s: %s does not answer NOTIFY, serial %d; it is told again%s", origin, r.Target.Address, r.Serial, why)
	}
}

// announcements are the targets of one block.
type announcements struct {
	mu    sync.Mutex
	held  map[announced]bool
	ended bool
}

// follow makes the targets of a zone hear of it.
func (a *announcements) follow(z *served) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range z.notify {
		if k := (announced{z.zone, t}); !a.ended && !a.held[k] {
			a.held[k] = true
			process.hold(k)
		}
	}
}

// leave ends it.
func (a *announcements) leave(z *served) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range z.notify {
		if k := (announced{z.zone, t}); a.held[k] {
			delete(a.held, k)
			process.release(k)
		}
	}
}

// end ends all.
func (a *announcements) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	for k := range a.held {
		process.release(k)
	}
	clear(a.held)
}

// announce tells secondaries of new versions until the subscription is closed,
// which also happens if the instance of the server fails to start.
func (b *block) announce(events *feed.Subscription, ended chan<- struct{}) {
	defer close(ended)
	defer b.announcements.end()
	for {
		e, err := events.Next(context.Background())
		if err != nil {
			return
		}
		live, ok := e.Tag.(*zonedb.Zone)
		if !ok {
			continue
		}
		z := (*b.zones.Load())[live.Spec().Origin]
		if z == nil || z.zone != live {
			continue // it is told when the zone is taken up
		}
		for _, t := range z.notify {
			process.announce(announced{live, t}, e.Snapshot)
		}
	}
}
