//go:build linux && (amd64 || arm64)

package udp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/trustdns/trustdns/test/server"
)

// What test/server runs from the start is not ours.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

// mirror answers each packet with its octets turned around, but for those that
// begin with 0, which are left, and with 1, which it answers in its turns.
type mirror struct {
	conn           *net.UDPConn
	left, answered int
	sent           int
	idle           atomic.Int64
	six            atomic.Int64
	later          []late
}

type late struct {
	data, control []byte
	to            *net.UDPAddr
}

func turned(b []byte) []byte {
	r := make([]byte, len(b))
	for i, c := range b {
		r[len(b)-1-i] = c
	}
	return r
}

func (m *mirror) Answer(dst []byte, p *Packet) []byte {
	if p.IsIPv6() {
		m.six.Add(1)
	}
	switch p.Data[0] {
	case 0:
		m.left++
		return nil
	case 1:
		m.later = append(m.later, late{turned(p.Data), bytes.Clone(p.Control()), p.From()})
		return nil
	}
	m.answered++
	return append(dst, turned(p.Data)...)
}

func (m *mirror) Sent(n int) { m.sent += n }
func (m *mirror) Idle()      { m.idle.Add(1) }
func (m *mirror) Turn() bool {
	if len(m.later) == 0 {
		return false
	}
	l := m.later[0]
	m.later = m.later[1:]
	_, _, err := m.conn.WriteMsgUDP(l.data, l.control, l.to)
	if errors.Is(err, syscall.EMSGSIZE) && Fragment(m.conn) == nil {
		_, _, err = m.conn.WriteMsgUDP(l.data, l.control, l.to)
	}
	if err != nil {
		panic(err)
	}
	return len(m.later) > 0
}

// listen gives a socket that is served until the test ends.
func listen(t *testing.T, network, address string) (*net.UDPConn, *mirror) {
	t.Helper()
	a, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP(network, a)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(conn)
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{conn: conn}
	done := make(chan error, 1)
	go func() { done <- s.Serve(m) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if m.sent != m.answered {
			t.Errorf("%d were answered, %d sent", m.answered, m.sent)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn, m
}

// TestServe: packets of all sizes, from several clients, are answered from the
// address that they were sent to, at once or later.
func TestServe(t *testing.T) {
	for _, c := range []struct {
		network, bind string
		ask           []string
		six           bool
	}{
		{"udp4", "127.0.0.1:0", []string{"127.0.0.1"}, false},
		{"udp4", "0.0.0.0:0", []string{"127.0.0.1", "127.0.0.9"}, false},
		{"udp", ":0", []string{"127.0.0.1", "127.0.0.9"}, false},
		{"udp", "[::]:0", []string{"::1"}, true},
		{"udp6", "[::1]:0", []string{"::1"}, true},
	} {
		t.Run(c.network+" "+c.bind, func(t *testing.T) {
			conn, m := listen(t, c.network, c.bind)
			port := uint16(conn.LocalAddr().(*net.UDPAddr).Port)
			var wg sync.WaitGroup
			for _, a := range c.ask {
				for client := range 3 {
					wg.Go(func() {
						to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(a), port))
						peer, err := net.DialUDP("udp", nil, to)
						if err != nil {
							t.Error(err)
							return
						}
						defer peer.Close()
						buf := make([]byte, MaxPacket+1)
						for i := range 300 {
							msg := make([]byte, 5+i%(MaxResponse-4))
							binary.BigEndian.PutUint32(msg[1:], uint32(i))
							msg[0] = byte(1 + (i+client)%3)
							if _, err := peer.Write(msg); err != nil {
								t.Error(err)
								return
							}
							if err := peer.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
								t.Error(err)
							}
							n, err := peer.Read(buf)
							if err != nil || !bytes.Equal(buf[:n], turned(msg)) {
								t.Errorf("%s, packet %d: %x, %v", a, i, buf[:n], err)
								return
							}
						}
					})
				}
			}
			wg.Wait()
			if m.idle.Load() == 0 {
				t.Error("it was never idle")
			}
			if (m.six.Load() > 0) != c.six {
				t.Errorf("%d packets came by IPv6", m.six.Load())
			}
		})
	}
}

// TestServeSmallMTU: what is too large for the interface is sent in fragments, at
// once (kind 2) and later (kind 1), and DF is set before that.
func TestServeSmallMTU(t *testing.T) {
	const inside = "TRUSTDNS_SMALL_MTU"
	if os.Getenv(inside) == "" { // again, in a network of its own
		cmd := exec.Command("sh", "-c", "ip link set dev lo mtu 600 up && exec \"$0\" -test.run='^TestServeSmallMTU$' -test.v", os.Args[0])
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) || errors.Is(err, exec.ErrNotFound) {
			server.Lacks(t, "a network of its own, which takes root and ip: %v", err)
		}
		if err != nil || !strings.Contains(string(out), "PASS: TestServeSmallMTU") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for _, kind := range []byte{2, 1} {
		conn, _ := listen(t, "udp4", "127.0.0.1:0")
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		how := func() (v int) {
			t.Helper()
			if e := raw.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER) }); e != nil || err != nil {
				t.Fatal(e, err)
			}
			return v
		}
		if v := how(); v != unix.IP_PMTUDISC_PROBE {
			t.Errorf("IP_MTU_DISCOVER is %d", v)
		}
		peer, err := net.DialUDP("udp4", nil, conn.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		for _, size := range []int{500, 1200, 500} {
			msg := make([]byte, size)
			msg[0] = kind
			if _, err := peer.Write(msg); err != nil {
				t.Fatal(err)
			}
			if err := peer.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, MaxPacket)
			if n, err := peer.Read(buf); err != nil || n != size {
				t.Fatalf("%d octets, kind %d: %d, %v", size, kind, n, err)
			}
		}
		if v := how(); v != unix.IP_PMTUDISC_OMIT {
			t.Errorf("afterwards IP_MTU_DISCOVER is %d", v)
		}
	}
}

// silent answers nothing and everything in turn.
type silent struct{ n int }

func (s *silent) Answer(dst []byte, p *Packet) []byte {
	if s.n++; s.n%2 == 0 {
		return nil
	}
	return append(dst, p.Data...)
}
func (s *silent) Sent(int)   {}
func (s *silent) Turn() bool { return false }
func (s *silent) Idle()      {}

func TestAnswerDoesNotAllocate(t *testing.T) {
	for _, info := range []bool{false, true} {
		b, h := newBatch(info), new(silent)
		b.received[0].length = 40
		if n := testing.AllocsPerRun(100, func() { b.answer(0, 0, h) }); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// TestServeBurst: more than a batch at once, of which some get no response.
func TestServeBurst(t *testing.T) {
	conn, _ := listen(t, "udp4", "127.0.0.1:0")
	peer, err := net.DialUDP("udp4", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	const n = 200
	for i := range n {
		if _, err := peer.Write([]byte{byte(i % 3), byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := peer.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	seen := map[byte]bool{}
	buf := make([]byte, 16)
	for range n - (n+2)/3 {
		k, err := peer.Read(buf)
		if err != nil || k != 2 || buf[0]%3 != buf[1] {
			t.Fatalf("%x, %v, after %d", buf[:k], err, len(seen))
		}
		if seen[buf[0]] {
			t.Fatalf("%d came twice", buf[0])
		}
		seen[buf[0]] = true
	}
}

// TestLeave: what has come to a socket is answered before it is closed, and what
// comes then is not for it.
func TestLeave(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := Open(conn)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := net.DialUDP("udp4", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	for i := range 100 {
		if _, err := peer.Write([]byte{byte(1 + i%2), byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	s.Stop()
	m := &mirror{conn: conn}
	if err := s.Serve(m); err != nil || m.answered != 0 {
		t.Fatalf("%v, %d answered after Stop", err, m.answered)
	}
	if err := s.Leave(m); err != nil {
		t.Fatal(err)
	}
	if err := peer.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	for i := range 100 {
		if _, err := peer.Read(buf); err != nil {
			t.Fatalf("%v, after %d", err, i)
		}
	}
	if _, err := peer.Write([]byte{2, 2}); err == nil {
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(buf); err == nil {
			t.Errorf("a packet of %d octets came to a socket that was left", n)
		}
	}
}

func TestSame(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	file, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	again, err := net.FilePacketConn(file)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if !Same(conn, again.(*net.UDPConn)) || Same(conn, other) {
		t.Error("Same is wrong")
	}
}
