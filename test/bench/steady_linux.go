package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/miekg/dns"
)

// steady asks a server at a steady rate, whatever it answers, for that long. The
// time of an answer is from before the query is handed to the kernel to when the
// kernel got the answer, so that other work on the core of this process does not
// show in it. Messages are asked in turn, with IDs that are put into them.
func steady(to netip.AddrPort, messages [][]byte, rate int, limit time.Duration) (a answered, err error) {
	if !to.Addr().Is4() {
		return a, fmt.Errorf("%v is no IPv4 address", to)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return a, err
	}
	defer syscall.Close(fd)
	for option, value := range map[int]int{syscall.SO_TIMESTAMPNS: 1, syscall.SO_RCVBUF: buffer << 10} {
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, option, value); err != nil {
			return a, err
		}
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return a, err
	}
	// The kernel stamps datagrams as soon as it comes to know that somebody wants it.
	rest(20 * time.Millisecond)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := sender{fd: fd, answered: &a}
	interval := time.Second / time.Duration(rate)
	begin := time.Now()
	for next := begin; time.Since(begin) < limit; next = next.Add(interval) {
		if err := s.await(next); err != nil {
			return a, err
		}
		if err := s.send(messages[a.sent%len(messages)], next); err != nil {
			return a, err
		}
	}
	a.took = time.Since(begin)
	for end := time.Now().Add(patience); s.missing() > 0 && time.Now().Before(end); {
		if err := s.await(time.Now().Add(time.Millisecond)); err != nil {
			return a, err
		}
	}
	a.lost = s.missing()
	return a, nil
}

// sender is the state of steady.
type sender struct {
	fd       int
	at       [1 << 16]time.Time // when the query with an ID was sent, zero if it was answered
	buf      [4096]byte
	oob      [128]byte
	answered *answered
}

func (s *sender) missing() int { return s.answered.sent - len(s.answered.each) }

// send sends a query that is due.
func (s *sender) send(m []byte, due time.Time) error {
	id := uint16(s.answered.sent)
	binary.BigEndian.PutUint16(m, id)
	now := time.Now()
	s.answered.late = append(s.answered.late, max(0, now.Sub(due)))
	s.at[id] = now
	s.answered.sent++
	s.answered.out += int64(len(m))
	_, err := syscall.Write(s.fd, m)
	return err
}

// pollfd is that of poll(2).
type pollfd struct {
	fd              int32
	events, revents int16
}

const pollIn = 1

// await takes the answers that come until then, and those that are there.
func (s *sender) await(until time.Time) error {
	for {
		wait := time.Until(until)
		if wait <= 0 {
			return s.receive()
		}
		p := pollfd{fd: int32(s.fd), events: pollIn}
		timeout := syscall.NsecToTimespec(wait.Nanoseconds())
		// Waiting is short, and the thread keeps its place in Go's scheduler: with a
		// call that gives it away it would have to wait for it again.
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
		if errno != 0 && errno != syscall.EINTR {
			return errno
		}
		if p.revents != 0 {
			if err := s.receive(); err != nil {
				return err
			}
		}
	}
}

// receive takes all answers that are there.
func (s *sender) receive() error {
	for {
		n, oobn, _, _, err := syscall.Recvmsg(s.fd, s.buf[:], s.oob[:], syscall.MSG_DONTWAIT)
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
			return nil
		}
		if err != nil {
			return err
		}
		m := s.buf[:n]
		if n < 12 || m[2]&0x80 == 0 {
			return fmt.Errorf("no response but %d octets", n)
		}
		if rcode := int(m[3] & 0xf); rcode != dns.RcodeSuccess && rcode != dns.RcodeNameError {
			return fmt.Errorf("a query is answered with %s", dns.RcodeToString[rcode])
		}
		arrived, err := stamp(s.oob[:oobn])
		if err != nil {
			return err
		}
		if sent := &s.at[binary.BigEndian.Uint16(m)]; !sent.IsZero() {
			// Both are times of the wall clock: the kernel knows no other.
			s.answered.each = append(s.answered.each, max(0, arrived.Sub(sent.Round(0))))
			s.answered.in += int64(n)
			*sent = time.Time{}
		}
	}
}

// stamp gives the time at which the kernel got a datagram.
func stamp(oob []byte) (time.Time, error) {
	list, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Time{}, err
	}
	for _, c := range list {
		if c.Header.Level == syscall.SOL_SOCKET && c.Header.Type == syscall.SO_TIMESTAMPNS && len(c.Data) >= 16 {
			sec, nsec := binary.NativeEndian.Uint64(c.Data), binary.NativeEndian.Uint64(c.Data[8:])
			return time.Unix(int64(sec), int64(nsec)), nil
		}
	}
	return time.Time{}, errors.New("a datagram without the time at which it came")
}
