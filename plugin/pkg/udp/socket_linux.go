//go:build linux && (amd64 || arm64)

package udp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// yieldAfter is how many batches are worked on before other goroutines get the
	// processor.
	yieldAfter = 2
	// drainTime bounds how long a socket that is left is read on.
	drainTime = 200 * time.Millisecond
	// atOnce is less time than any other goroutine would take of the processor.
	atOnce = 3 * time.Microsecond

	// requestSpace is no multiple of a page: the beginnings of requests do not share
	// few places of the processor's cache.
	requestSpace = MaxPacket + 192

	controlSize = 80 // IP_PKTINFO and IPV6_PKTINFO
)

// Socket is a socket that is served. Its methods are for one goroutine, but for
// Stop.
type Socket struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	any  bool // it is bound to all addresses: a response must say from which it comes
	stop atomic.Bool
}

// Open prepares to serve a socket, which stays the caller's to close. What is sent
// through it is not to be fragmented (RFC 9715 §3.1, R2), until that turns out to be
// needed.
func Open(conn *net.UDPConn) (*Socket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{conn: conn, raw: raw}
	if err := discover(raw, unix.IP_PMTUDISC_PROBE); err != nil {
		return nil, err
	}
	a, ok := conn.LocalAddr().(*net.UDPAddr)
	if s.any = !ok || a.IP.IsUnspecified(); !s.any {
		return s, nil
	}
	var v4, v6 error
	err = raw.Control(func(fd uintptr) {
		v4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		v6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	})
	if err == nil && v4 != nil && v6 != nil { // each is of one family
		err = v4
	}
	return s, err
}

// discover says whether datagrams are sent with the DF bit: with PROBE they are, and
// what others say of the path does not count; with OMIT they are fragmented.
func discover(raw syscall.RawConn, how int) error {
	var v4, v6 error
	err := raw.Control(func(fd uintptr) { v4, v6 = setDiscover(int(fd), how) })
	if err == nil && v4 != nil && v6 != nil { // each is of one family
		err = v4
	}
	return err
}

func setDiscover(fd, how int) (v4, v6 error) {
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, how), unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, how)
}

// Fragment has the system fragment from now on what is too large for an interface. It
// is for those who have seen EMSGSIZE, and may be called from any goroutine.
func Fragment(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return discover(raw, unix.IP_PMTUDISC_OMIT)
}

// Serve hands all packets to the handler until Stop is called. System calls do not
// block: when there is nothing to read the goroutine waits as for any socket.
func (s *Socket) Serve(h Handler) error {
	b := newBatch(s.any)
	for !s.stop.Load() {
		err := s.raw.Read(func(fd uintptr) bool { return s.readAll(int(fd), b, h) })
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// Stop ends Serve. It may be called at any time, from any goroutine.
func (s *Socket) Stop() {
	s.stop.Store(true)
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // it fails if the socket is closed, and then nobody waits
}

// Leave hands packets that have come to a socket that is to be closed to the
// handler, and has the system give further ones to the other sockets of the
// address, if there are any. It must not be called if another descriptor of the
// socket is in use.
func (s *Socket) Leave(h Handler) error {
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	b := newBatch(s.any)
	until := time.Now().Add(drainTime)
	return s.raw.Read(func(fd uintptr) bool {
		detach(int(fd))
		for time.Now().Before(until) && s.readBatch(int(fd), b, h) {
		}
		for h.Turn() && time.Now().Before(until) {
			runtime.Gosched()
		}
		h.Idle()
		return true
	})
}

// detach connects a socket to itself: the system then gives it no packets of
// others. If it fails those are lost that come until the socket is closed.
func detach(fd int) {
	self, err := unix.Getsockname(fd)
	if err != nil {
		return
	}
	switch a := self.(type) {
	case *unix.SockaddrInet4:
		if a.Addr == [4]byte{} {
			a.Addr = [4]byte{127, 0, 0, 1}
		}
	case *unix.SockaddrInet6:
		if a.Addr == [16]byte{} {
			a.Addr = [16]byte{15: 1}
		}
	}
	_ = unix.Connect(fd, self)
}

// Same tells whether two connections are descriptors of one socket.
func Same(a, b *net.UDPConn) bool {
	x, okA := inode(a)
	y, okB := inode(b)
	return okA && okB && x == y
}

// inode gives the number of a socket.
func inode(conn *net.UDPConn) (n uint64, ok bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		var st unix.Stat_t
		ok = unix.Fstat(int(fd), &st) == nil
		n = st.Ino
	})
	return n, ok && err == nil
}

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// batch is the memory of recvmmsg and sendmmsg.
type batch struct {
	received, sent [BatchSize]message
	in, out        [BatchSize]unix.Iovec
	names          [BatchSize]unix.RawSockaddrInet6
	requests       [BatchSize * requestSpace]byte
	responses      [BatchSize * MaxResponse]byte
	controls       [BatchSize * controlSize]byte
	info           bool // packets tell where they were sent to
	packet         Packet
}

func newBatch(info bool) *batch {
	b := &batch{info: info}
	for i := range BatchSize {
		b.in[i].Base = &b.requests[i*requestSpace]
		b.in[i].SetLen(MaxPacket)
		b.out[i].Base = &b.responses[i*MaxResponse]
		b.received[i].header.Iov, b.sent[i].header.Iov = &b.in[i], &b.out[i]
		b.received[i].header.SetIovlen(1)
		b.sent[i].header.SetIovlen(1)
		b.received[i].header.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		b.rewind(i)
	}
	return b
}

// rewind makes a place ready for the next packet.
func (b *batch) rewind(i int) {
	b.received[i].header.Namelen = unix.SizeofSockaddrInet6
	if b.info {
		b.received[i].header.Control = &b.controls[i*controlSize]
		b.received[i].header.SetControllen(controlSize)
	}
}

// readAll reads until there is nothing to read, and then gives false; true when
// serving is to end.
func (s *Socket) readAll(fd int, b *batch, h Handler) bool {
	for n := 1; !s.stop.Load(); n++ {
		got := s.readBatch(fd, b, h)
		more := h.Turn()
		switch {
		case got && !more && n%yieldAfter != 0:
		case got || more:
			runtime.Gosched()
		default:
			// While others work the scheduler may not look at sockets for ten
			// milliseconds; so the socket is looked at after each of them.
			start := time.Now()
			if runtime.Gosched(); time.Since(start) < atOnce {
				h.Idle()
				return false
			}
		}
	}
	return true
}

// readBatch reads what there is, up to a batch, and sends what answers it. It
// gives false if there was nothing.
func (s *Socket) readBatch(fd int, b *batch, h Handler) bool {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.received[0])), BatchSize, unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
	case unix.EINTR:
		return true
	default:
		return false // EAGAIN; others, such as no memory, may pass until the next packet
	}
	k := 0
	for i := range int(n) {
		k += b.answer(i, k, h)
		b.rewind(i)
	}
	if k > 0 {
		b.send(fd, k)
	}
	h.Sent(k)
	return true
}

// answer has the handler answer packet i of a batch and gives 1 if that made
// response k.
func (b *batch) answer(i, k int, h Handler) int {
	from := &b.received[i].header
	b.packet = Packet{
		Data: b.requests[i*requestSpace : i*requestSpace+int(b.received[i].length)],
		name: &b.names[i], control: b.controls[i*controlSize : i*controlSize+int(from.Controllen)],
	}
	if b.info {
		freeInterface(b.packet.control)
	}
	response := h.Answer(b.responses[k*MaxResponse:k*MaxResponse:(k+1)*MaxResponse], &b.packet)
	if len(response) == 0 || len(response) > MaxResponse || &response[0] != &b.responses[k*MaxResponse] {
		return 0 // none, or the handler has not kept to its part
	}
	b.out[k].SetLen(len(response))
	to := &b.sent[k].header
	to.Name, to.Namelen, to.Control, to.Controllen = from.Name, from.Namelen, nil, 0
	if b.info {
		to.Control, to.Controllen = from.Control, from.Controllen
	}
	return 1
}

// send sends k responses. One that cannot be sent is left out.
func (b *batch) send(fd, k int) {
	whole := true
	for done := 0; done < k; {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.sent[done])), uintptr(k-done), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			done += int(n)
		case unix.EINTR:
		case unix.EMSGSIZE:
			if !whole {
				done++
			}
			_, _ = setDiscover(fd, unix.IP_PMTUDISC_OMIT) // if neither helps the response is left out
			whole = false
		default:
			done++
		}
	}
}

// freeInterface leaves it to the system by which interface a response goes.
func freeInterface(control []byte) {
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		size := int(h.Len)
		if size < unix.SizeofCmsghdr || size > len(control) {
			return
		}
		data := control[unix.SizeofCmsghdr:size]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			clear(data[:4])
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			clear(data[16:20])
		}
		size = (size + 7) &^ 7
		if size >= len(control) {
			return
		}
		control = control[size:]
	}
}

// Packet is a packet that was read.
type Packet struct {
	Data    []byte // valid until Answer returns
	name    *unix.RawSockaddrInet6
	control []byte
}

// IsIPv6 tells the family of the sender's address; one of IPv4 in IPv6 form is of
// IPv4.
func (p *Packet) IsIPv6() bool {
	return p.name.Family != unix.AF_INET && !netip.AddrFrom16(p.name.Addr).Is4In6()
}

// Addr gives the IP address of the sender, an IPv4 address in its own form.
func (p *Packet) Addr() netip.Addr {
	if p.name.Family == unix.AF_INET {
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(p.name)).Addr)
	}
	return netip.AddrFrom16(p.name.Addr).Unmap()
}

// Control gives what a response says of where it comes from, for
// net.UDPConn.WriteMsgUDP. It is valid until Answer returns.
func (p *Packet) Control() []byte { return p.control }

// From gives the address of the sender.
func (p *Packet) From() *net.UDPAddr {
	port := p.name.Port<<8 | p.name.Port>>8
	if p.name.Family == unix.AF_INET {
		return net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(p.name)).Addr), port))
	}
	a := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom16(p.name.Addr), port))
	if p.name.Scope_id != 0 {
		if i, err := net.InterfaceByIndex(int(p.name.Scope_id)); err == nil {
			a.Zone = i.Name
		}
	}
	return a
}
