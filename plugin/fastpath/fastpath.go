// Package fastpath takes over the UDP sockets of its server blocks and answers
// plain queries about zones of the plugin authority at once, many in one system
// call, without a message structure and without the plugin chain. All else goes
// through the chain as ever, in the same process.
//
// It does so only where the chain would do the same: every other plugin in front
// of authority must be one whose effect on such queries is known. Otherwise, and
// wherever the server is not as expected, the ordinary way serves, and a line at
// the start says why.
package fastpath

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/autopath"
	"github.com/coredns/coredns/plugin/bufsize"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/coredns/coredns/plugin/tsig"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/wire"
)

const name = "fastpath"

var log = clog.NewWithPlugin(name)

// FastPath is the handler of one server block. In the chain it does nothing.
type FastPath struct {
	Next plugin.Handler
	*block
}

// block is what the directive of a server block says, and its loops.
type block struct {
	place  string // file:line
	sample int    // of so many plain queries one goes through the chain, and is logged; 0: none
}

// Name implements plugin.Handler.
func (f *FastPath) Name() string { return name }

// ServeDNS implements plugin.Handler.
func (f *FastPath) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	return plugin.NextOrFailure(name, f.Next, ctx, w, r)
}

// answerer is the plugin authority, as we know it.
type answerer interface {
	Responder(s *dnsserver.Server, shape wire.Shape) wire.Responder
}

// harmless are the plugins that do nothing to a plain query about our zones, or
// something that is looked at in fit.
var harmless = map[string]bool{
	"any": true, "authority": true, "autopath": true, "bind": true, "bufsize": true, "cache": true, "cookie": true, "debug": true, "errors": true,
	"fastpath": true, "health": true, "keys": true, "loadbalance": true, "loop": true, "metadata": true, "minimal": true, "multisocket": true,
	"nsid": true, "prometheus": true, "ratelimit": true, "ready": true, "reload": true, "root": true, "transfer": true, "tsig": true, "update": true,
}

// chain is what is known of the chain of a server block.
type chain struct {
	*block
	answerer
	baker   // nil without the plugin cookie
	limiter // nil without the plugin ratelimit
	shape   wire.Shape
	limit   uint16   // a greater size that a client takes is brought down to it by the plugin bufsize; 0: to none
	any     bool     // queries for ANY are answered by the plugin any
	nsid    bool     // those that ask for NSID by the plugin nsid
	paths   []string // zones of autopath
	logged  bool     // the plugin log shows what goes through the chain
}

// errNotHere tells that a server block does not ask for us.
var errNotHere = errors.New("the plugin fastpath is not in the server block")

// errNoZones tells that there is nothing to do for us.
var errNoZones = errors.New("the plugin authority is not in the server block")

// fit looks at the chain of a server block and tells what keeps us out.
func fit(config *dnsserver.Config) (*chain, error) {
	own, ok := config.Handler(name).(*FastPath)
	if !ok {
		return nil, errNotHere
	}
	if len(config.FilterFuncs) > 0 {
		return nil, errors.New("the plugin view is in the server block")
	}
	c := &chain{block: own.block, shape: wire.Shape{Refuse: true}}
	for _, h := range config.Handlers() {
		if a, ok := h.(answerer); ok {
			c.answerer = a
			break // what stands behind gets only what it does not answer
		}
		if seen := h.Name() == "log" || h.Name() == "dnstap"; seen && own.sample > 0 {
			c.logged = c.logged || h.Name() == "log"
		} else if !harmless[h.Name()] {
			return nil, fmt.Errorf("the plugin %s is in the server block", h.Name())
		}
		switch p := h.(type) {
		case bufsize.Bufsize:
			c.limit = uint16(p.Size)
		case *tsig.TSIGServer:
			if requires(p) {
				return nil, errors.New("the plugin tsig wants queries to be signed")
			}
		case *autopath.AutoPath:
			c.paths = append(c.paths, p.Zones...)
		case baker:
			c.baker = p
		case limiter:
			c.limiter = p
		}
		switch h.Name() {
		case "any":
			c.any = true
		case "nsid":
			c.nsid = true
		case "cache":
			c.shape.Refuse = false // it takes the extended error away
		case "minimal":
			c.shape.Minimal = true
		case "loadbalance":
			if !roundRobin(h) {
				return nil, errors.New("the plugin loadbalance has another policy than round_robin")
			}
			c.shape.Rotate = true
		}
	}
	if c.answerer == nil {
		return nil, errNoZones
	}
	return c, nil
}

// slow tells whether a plain query is for the chain.
func (c *chain) slow(q *wire.Question) bool {
	if c.any && q.Type == dns.TypeANY || c.nsid && q.NSID {
		return true
	}
	return c.paths != nil && (q.Type == dns.TypeA || q.Type == dns.TypeAAAA) &&
		plugin.Zones(c.paths).Matches(strings.ToLower(q.Name.String())) != ""
}

// requires tells whether stock tsig refuses plain queries without a signature. It
// keeps that to itself; where it is not as in v1.15.0 the answer is yes.
func requires(p *tsig.TSIGServer) bool {
	v := reflect.ValueOf(p).Elem()
	allTypes, allOpcodes := v.FieldByName("allTypes"), v.FieldByName("allOpcodes")
	types, opcodes := v.FieldByName("types"), v.FieldByName("opcodes")
	if allTypes.Kind() != reflect.Bool || allOpcodes.Kind() != reflect.Bool || types.Kind() != reflect.Map || opcodes.Kind() != reflect.Map {
		return true
	}
	if allTypes.Bool() || allOpcodes.Bool() {
		return true
	}
	for _, t := range types.MapKeys() {
		if typ := t.Uint(); typ != uint64(dns.TypeAXFR) && typ != uint64(dns.TypeIXFR) {
			return true
		}
	}
	for _, o := range opcodes.MapKeys() {
		if o.Int() == dns.OpcodeQuery {
			return true
		}
	}
	return false
}

// roundRobin tells whether loadbalance has its default policy, which it keeps to
// itself.
func roundRobin(h plugin.Handler) bool {
	v := reflect.ValueOf(h)
	if v.Kind() != reflect.Struct {
		return false
	}
	f := v.FieldByName("shuffle")
	return f.Kind() == reflect.Func && strings.HasSuffix(runtime.FuncForPC(f.Pointer()).Name(), "/loadbalance.randomShuffle")
}
