package fastpath

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"github.com/coredns/coredns/core/dnsserver"
	"golang.org/x/sys/unix"

	"github.com/trustdns/trustdns/plugin/pkg/wire"
)

const (
	// batchSize is how many packets are read or sent by one system call.
	batchSize = 32
	// yieldAfter is how many batches are worked on before other goroutines get the
	// processor.
	yieldAfter = 2
	// drainTime is how long a socket that is to be closed is read on.
	drainTime = 200 * time.Millisecond

	responseSize = wire.MaxUDP
	controlSize  = 80 // IP_PKTINFO and IPV6_PKTINFO
)

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// batch is the memory of recvmmsg and sendmmsg.
type batch struct {
	received, sent [batchSize]message
	in, out        [batchSize]unix.Iovec
	names          [batchSize]unix.RawSockaddrInet6
	requests       [batchSize * maxRequest]byte
	responses      [batchSize * responseSize]byte
	controls       [batchSize * controlSize]byte
	series         [batchSize]*series // of the responses; nil without the plugin prometheus
	info           bool               // packets tell where they were sent to
}

// newLoop prepares to read a socket.
func newLoop(in *instance, s *dnsserver.Server, conn *net.UDPConn, ls lanes) (*loop, error) {
	l := &loop{in: in, server: s, conn: conn, meter: newLoopMeter(s.Addr), done: make(chan struct{})}
	ls.newWork(s, l)
	if anyAddress(conn) {
		raw, err := conn.SyscallConn()
		if err != nil {
			return nil, err
		}
		var v4, v6 error
		if err := raw.Control(func(fd uintptr) {
			v4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			v6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}); err != nil {
			return nil, err
		}
		if v4 != nil && v6 != nil { // each is of one family
			return nil, v4
		}
	}
	return l, nil
}

// anyAddress tells whether a socket is bound to all addresses, so that responses
// must say from which of them they come.
func anyAddress(conn *net.UDPConn) bool {
	a, ok := conn.LocalAddr().(*net.UDPAddr)
	return !ok || a.IP.IsUnspecified()
}

func newBatch(info bool) *batch {
	b := &batch{info: info}
	for i := range batchSize {
		b.in[i].Base = &b.requests[i*maxRequest]
		b.in[i].SetLen(maxRequest)
		b.out[i].Base = &b.responses[i*responseSize]
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

// read reads the socket until the loop is to end. System calls do not block: when
// there is nothing to read the goroutine waits as for any socket.
func (l *loop) read() error {
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return err
	}
	b := newBatch(anyAddress(l.conn))
	for !l.stop.Load() {
		err = raw.Read(func(fd uintptr) bool { return l.readAll(int(fd), b) })
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	if l.inherited() {
		return nil
	}
	if err := l.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	until := time.Now().Add(drainTime)
	return raw.Read(func(fd uintptr) bool {
		l.detach(int(fd))
		for time.Now().Before(until) && l.readBatch(int(fd), b) {
		}
		return true
	})
}

// inherited tells whether another instance reads the same socket. Then what has
// come to it is for that one.
func (l *loop) inherited() bool {
	own, ok := inode(l.conn)
	if !ok {
		return false
	}
	for conn := range l.in.successors() {
		if other, ok := inode(conn); ok && other == own {
			return true
		}
	}
	return false
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

// detach has the system give further packets to the other sockets of the address,
// if there are any: a connected socket gets those of its peer alone, and the peer is
// the socket itself. If it fails packets may be lost that come until it is closed.
func (l *loop) detach(fd int) {
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
	if err := unix.Connect(fd, self); err != nil {
		log.Debugf("%s: %v", l.server.Addr, err)
	}
}

// readAll reads until there is nothing to read, and then gives false; true when the
// loop is to end.
func (l *loop) readAll(fd int, b *batch) bool {
	for n := 1; !l.stop.Load(); n++ {
		if !l.readBatch(fd, b) {
			l.meter.flush()
			return false
		}
		if n%yieldAfter == 0 {
			runtime.Gosched()
		}
		if n%1024 == 0 {
			l.meter.flush()
		}
	}
	return true
}

// readBatch reads what there is, up to a batch, and sends what answers it. It
// gives false if there was nothing.
func (l *loop) readBatch(fd int, b *batch) bool {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.received[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
	case unix.EINTR:
		return true
	default:
		return false // EAGAIN; others, such as no memory, may pass until the next packet
	}
	start := time.Time{}
	if l.timed {
		start = time.Now()
	}
	k := 0
	for i := range int(n) {
		k += l.work(b, i, k)
		b.rewind(i)
	}
	if k > 0 {
		b.send(fd, k)
	}
	if l.timed {
		took := time.Since(start).Seconds()
		for i := range k {
			if b.series[i] != nil {
				b.series[i].duration.Observe(took)
			}
		}
	}
	return true
}

// work looks after packet i of a batch and gives 1 if it made response k.
func (l *loop) work(b *batch, i, k int) int {
	h := &b.received[i].header
	request := b.requests[i*maxRequest : i*maxRequest+int(b.received[i].length)]
	control := b.controls[i*controlSize : i*controlSize+int(h.Controllen)]
	if b.info {
		freeInterface(control)
	}
	dst := b.responses[k*responseSize : k*responseSize : (k+1)*responseSize]
	response, w, v := l.answer(dst, request)
	switch v {
	case answered:
		l.meter.fast++
		b.series[k] = nil
		if w.meter != nil {
			b.series[k] = w.meter.of(&l.query)
			b.series[k].count(&l.query, familyOf(&b.names[i]), request, response)
		}
		b.out[k].SetLen(len(response))
		to := &b.sent[k].header
		to.Name, to.Namelen, to.Control, to.Controllen = h.Name, h.Namelen, nil, 0
		if b.info {
			to.Control, to.Controllen = h.Control, h.Controllen
		}
		return 1
	case dropped:
		l.meter.dropped++
	default:
		l.meter.chain++
		p := packet{slices.Clone(request), &sender{addressOf(&b.names[i]), slices.Clone(control), v == handOnSampled}}
		select {
		case l.chain.conn.waiting <- p:
		default:
			l.meter.overflow++
		}
	}
	return 0
}

// send sends k responses. One that cannot be sent is left out.
func (b *batch) send(fd, k int) {
	for done := 0; done < k; {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.sent[done])), uintptr(k-done), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			done += int(n)
		case unix.EINTR:
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

// familyOf gives 1 for IPv4 and 2 for IPv6, as CoreDNS's metrics do.
func familyOf(name *unix.RawSockaddrInet6) int {
	if name.Family == unix.AF_INET || netip.AddrFrom16(name.Addr).Is4In6() {
		return 1
	}
	return 2
}

// addressOf gives the address in a socket name.
func addressOf(name *unix.RawSockaddrInet6) *net.UDPAddr {
	port := name.Port<<8 | name.Port>>8
	if name.Family == unix.AF_INET {
		return net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr), port))
	}
	a := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom16(name.Addr), port))
	if name.Scope_id != 0 {
		if i, err := net.InterfaceByIndex(int(name.Scope_id)); err == nil {
			a.Zone = i.Name
		}
	}
	return a
}
