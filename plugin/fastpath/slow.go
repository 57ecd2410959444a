package fastpath

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	colog "github.com/coredns/coredns/plugin/log"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/pkg/replacer"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/udp"
)

// maxWaiting bounds the packets that wait for the chain; more are dropped, and
// counted.
const maxWaiting = 1024

// packet is a request for the chain.
type packet struct {
	data []byte
	from *sender
}

// sender is where a request came from, and what a response must say of where it
// comes from itself.
type sender struct {
	*net.UDPAddr
	control []byte // of sendmsg
	sampled bool   // to be logged
}

// virtualConn is the socket of the server for the chain: it gets what a loop hands
// on, and sends through the real socket.
type virtualConn struct {
	conn    *net.UDPConn
	waiting chan packet
	closed  chan struct{}
	once    sync.Once
}

// ReadFrom is net.PacketConn's.
func (v *virtualConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-v.waiting:
		return copy(b, p.data), p.from, nil
	case <-v.closed:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo is net.PacketConn's.
func (v *virtualConn) WriteTo(b []byte, to net.Addr) (int, error) {
	s, ok := to.(*sender)
	if !ok {
		return 0, net.InvalidAddrError("not from this socket")
	}
	n, _, err := v.conn.WriteMsgUDP(b, s.control, s.UDPAddr)
	if errors.Is(err, syscall.EMSGSIZE) && udp.Fragment(v.conn) == nil {
		n, _, err = v.conn.WriteMsgUDP(b, s.control, s.UDPAddr)
	}
	return n, err
}

// Close is net.PacketConn's.
func (v *virtualConn) Close() error {
	v.once.Do(func() { close(v.closed) })
	return nil
}

// LocalAddr is net.PacketConn's.
func (v *virtualConn) LocalAddr() net.Addr { return v.conn.LocalAddr() }

// SetReadDeadline is net.PacketConn's. The server sets one in the past to end.
func (v *virtualConn) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		return v.Close()
	}
	return nil
}

// SetDeadline is net.PacketConn's.
func (v *virtualConn) SetDeadline(t time.Time) error { return v.SetReadDeadline(t) }

// SetWriteDeadline is net.PacketConn's. A write to a UDP socket does not wait.
func (v *virtualConn) SetWriteDeadline(time.Time) error { return nil }

// chainServer serves what a loop hands on through the chain.
type chainServer struct {
	conn  *virtualConn
	dns   *dns.Server
	ended chan struct{}
}

func newChainServer(s *dnsserver.Server, conn *net.UDPConn, opcodes map[int]struct{}) *chainServer {
	c := &chainServer{
		conn:  &virtualConn{conn: conn, waiting: make(chan packet), closed: make(chan struct{})},
		ended: make(chan struct{}),
	}
	c.dns = &dns.Server{
		PacketConn: c.conn, Net: "udp", UDPSize: udp.MaxPacket, TsigSecret: s.TsigSecret, MsgAcceptFunc: acceptor(opcodes),
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) { serveChain(s, w, r) }),
	}
	started := make(chan struct{})
	c.dns.NotifyStartedFunc = func() { close(started) }
	go func() {
		defer close(c.ended)
		if err := c.dns.ActivateAndServe(); err != nil {
			log.Errorf("%s: %v", s.Addr, err)
		}
	}()
	select {
	case <-started:
	case <-c.ended:
	}
	return c
}

// shutdownTime is how long requests in the chain may take to end.
const shutdownTime = 5 * time.Second

func (c *chainServer) end() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	_ = c.dns.ShutdownContext(ctx) // what is late has no socket to answer through
	<-c.ended
}

// acceptor lets pass what the sockets of the server do: what the library does, and
// the opcodes that a plugin has asked for, with one question.
func acceptor(opcodes map[int]struct{}) dns.MsgAcceptFunc {
	return func(h dns.Header) dns.MsgAcceptAction {
		action := dns.DefaultMsgAcceptFunc(h)
		if action != dns.MsgRejectNotImplemented {
			return action
		}
		if _, ok := opcodes[int(h.Bits>>11&0xf)]; !ok {
			return action
		}
		if h.Qdcount != 1 {
			return dns.MsgReject
		}
		return dns.MsgAccept
	}
}

// writer shows plugins the address as the sockets of the server do.
type writer struct {
	dns.ResponseWriter
	from *net.UDPAddr
}

// RemoteAddr is dns.ResponseWriter's.
func (w *writer) RemoteAddr() net.Addr { return w.from }

func serveChain(s *dnsserver.Server, w dns.ResponseWriter, r *dns.Msg) {
	ctx := context.WithValue(context.Background(), dnsserver.Key{}, s)
	ctx = context.WithValue(ctx, dnsserver.LoopKey{}, 0)
	from, ok := w.RemoteAddr().(*sender)
	if !ok {
		return
	}
	w = &writer{w, from.UDPAddr}
	if !from.sampled {
		s.ServeDNS(ctx, w, r)
		return
	}
	rec := dnstest.NewRecorder(w)
	s.ServeDNS(ctx, rec, r)
	log.Info(sampleFormat.Replace(ctx, request.Request{Req: r, W: w}, rec, colog.CommonLogFormat))
}

// sampleFormat makes the lines of sampled queries as the plugin log does.
var sampleFormat = replacer.New()
