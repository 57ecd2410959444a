package fastpath

import (
	"errors"
	"fmt"
	"iter"
	"net"
	"reflect"
	"slices"
	"sync"
	"unsafe"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/metrics"
	"github.com/coredns/coredns/plugin/pkg/edns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// instance is the loops of one instance of the server.
type instance struct {
	caddy *caddy.Instance // set at the start

	mu    sync.Mutex
	loops []*loop
	ended bool
}

// add enters a loop; it gives false if the instance has ended.
func (in *instance) add(l *loop) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.ended {
		in.loops = append(in.loops, l)
	}
	return !in.ended
}

// end ends the loops and waits for them.
func (in *instance) end() {
	in.mu.Lock()
	in.ended = true
	loops := slices.Clone(in.loops)
	in.mu.Unlock()
	for _, l := range loops {
		l.socket.Stop()
	}
	for _, l := range loops {
		<-l.done
	}
}

// serve serves the UDP socket of a server until the instance ends. It returns at
// once if that is not for us, and then the ordinary way serves.
func (in *instance) serve(s *dnsserver.Server) {
	lanes, err := lanesOf(s)
	var conn *net.UDPConn
	if err == nil {
		conn, err = connOf(in.caddy, s)
	}
	var l *loop
	if err == nil {
		l, err = newLoop(in, s, conn, lanes)
	}
	if err != nil {
		log.Infof("%s: the ordinary way serves: %v", s.Addr, err)
		return
	}
	if !in.add(l) {
		_ = conn.Close() // or the ordinary way serves from now on, and nobody ends it
		return
	}
	log.Infof("%s: serving %s", s.Addr, lanes)
	l.run()
}

// Errors of finding what CoreDNS and caddy keep to themselves.
var (
	errServer = errors.New("the server is not made as the one of CoreDNS v1.15.0")
	errConn   = errors.New("the server has no UDP socket of its own")
)

// blocksOf gives the configurations of the server blocks of a server by zone.
func blocksOf(s *dnsserver.Server) (map[string][]*dnsserver.Config, error) {
	v := reflect.ValueOf(s).Elem().FieldByName("zones")
	if !v.IsValid() || v.Type() != reflect.TypeFor[map[string][]*dnsserver.Config]() {
		return nil, errServer
	}
	blocks := make(map[string][]*dnsserver.Config)
	for zones := v.MapRange(); zones.Next(); {
		var list []*dnsserver.Config
		for i := range zones.Value().Len() {
			list = append(list, (*dnsserver.Config)(zones.Value().Index(i).UnsafePointer()))
		}
		blocks[zones.Key().String()] = list
	}
	return blocks, nil
}

// opcodesOf gives the opcodes besides QUERY and NOTIFY that plugins of a server have
// asked for.
func opcodesOf(s *dnsserver.Server) (map[int]struct{}, error) {
	v := reflect.ValueOf(s).Elem().FieldByName("allowedOpcodes")
	if !v.IsValid() || v.Type() != reflect.TypeFor[map[int]struct{}]() {
		return nil, errServer
	}
	opcodes := make(map[int]struct{}, v.Len())
	for _, o := range v.MapKeys() {
		opcodes[int(o.Int())] = struct{}{}
	}
	return opcodes, nil
}

// connOf gives the socket that caddy has paired with a server.
func connOf(i *caddy.Instance, s *dnsserver.Server) (*net.UDPConn, error) {
	for server, packet := range pairs(i) {
		if server != caddy.Server(s) {
			continue
		}
		if conn, ok := packet.(*net.UDPConn); ok {
			return conn, nil
		}
	}
	return nil, errConn
}

// pairs goes through the servers of an instance and their sockets for packets. Both
// stand in fields that are not exported; there are none if these are not as in
// caddy v1.1.4.
func pairs(i *caddy.Instance) iter.Seq2[caddy.Server, net.PacketConn] {
	return func(yield func(caddy.Server, net.PacketConn) bool) {
		if i == nil {
			return
		}
		servers := i.Servers()
		for n := range servers {
			pair := reflect.ValueOf(&servers[n]).Elem()
			server, packet := pair.FieldByName("server"), pair.FieldByName("packet")
			if !server.IsValid() || !packet.IsValid() || server.Type() != reflect.TypeFor[caddy.Server]() || packet.Type() != reflect.TypeFor[net.PacketConn]() {
				return
			}
			if !yield(*(*caddy.Server)(unsafe.Pointer(server.UnsafeAddr())), *(*net.PacketConn)(unsafe.Pointer(packet.UnsafeAddr()))) {
				return
			}
		}
	}
}

// successors goes through the sockets of the other instances: at a reload the next
// one has taken over most of ours, as descriptors of its own.
func (in *instance) successors() iter.Seq[*net.UDPConn] {
	return func(yield func(*net.UDPConn) bool) {
		for _, i := range caddy.Instances() {
			if i == in.caddy {
				continue
			}
			for _, packet := range pairs(i) {
				if conn, ok := packet.(*net.UDPConn); ok && !yield(conn) {
					return
				}
			}
		}
	}
}

// lanes are the zones of the server blocks of a listener, in lower case; nil for
// those that go through the chain.
type lanes map[dnsname.Name]*lane

// lane is a zone of a server block whose plain queries are answered here.
type lane struct {
	*chain
	zone       string           // as the server has it
	prometheus *metrics.Metrics // nil if it is not in the server block
}

// String names the zones that are answered here.
func (ls lanes) String() string {
	var names []string
	for n, l := range ls {
		if l != nil {
			names = append(names, n.String())
		}
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}

// lanesOf looks at the server blocks of a server. The error tells why none of
// their queries is answered here.
func lanesOf(s *dnsserver.Server) (lanes, error) {
	blocks, err := blocksOf(s)
	if err != nil {
		return nil, err
	}
	for code := range uint16(65535) {
		if edns.SupportedOption(code) {
			return nil, fmt.Errorf("a plugin has responses repeat the EDNS option %d", code)
		}
	}
	ls := make(lanes)
	err = errNoZones
	for zone, configs := range blocks {
		n, bad := dnsname.Parse(zone, dnsname.Root)
		if bad != nil {
			continue // not a zone that anybody is asked for
		}
		n = n.Fold()
		ls[n] = nil
		for _, c := range configs {
			if c.Handler("shed") != nil {
				return nil, errors.New("the plugin shed is at the same address")
			}
		}
		if len(configs) != 1 {
			err = errors.New("the plugin view is in the server block")
			continue
		}
		found, no := fit(configs[0])
		if no == nil {
			ls[n] = &lane{chain: found, zone: zone, prometheus: prometheusOf(configs[0])}
			continue
		}
		if !errors.Is(no, errNotHere) {
			err = no
			log.Infof("%s: queries for %s go the ordinary way: %v", s.Addr, zone, no)
		}
	}
	for _, l := range ls {
		if l != nil {
			return ls, nil
		}
	}
	return nil, err
}
