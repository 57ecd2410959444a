package interop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	window      = 32              // questions on the way to one server at once
	askTimeout  = 2 * time.Second // without any reply; then what is outstanding is sent again
	askAttempts = 5
)

// A link carries DNS messages to one server and back; replies may come in any order.
type link interface {
	send(msg []byte) error
	receive(deadline time.Time) ([]byte, error) // the bytes are valid until the next call
	redial() error                              // forgets what is on the way
	Close() error
}

// ask sends messages to a server and returns the reply to each, by index. It also returns how often a message had to be
// sent again. The first two bytes of each message are overwritten.
func ask(network string, addr netip.AddrPort, msgs [][]byte) (replies [][]byte, retries int, err error) {
	var l link
	switch network {
	case "udp":
		l = &udpLink{addr: addr}
	case "tcp":
		l = &tcpLink{addr: addr}
	default:
		return nil, 0, fmt.Errorf("unknown network %q", network)
	}
	if err := l.redial(); err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()

	replies = make([][]byte, len(msgs))
	attempts := make([]int, len(msgs))
	var waiting []int // indexes in flight; their order is that of sending
	next := 0
	for next < len(msgs) || len(waiting) > 0 {
		for len(waiting) < window && next < len(msgs) {
			binary.BigEndian.PutUint16(msgs[next], uint16(next))
			if err := l.send(msgs[next]); err != nil {
				return nil, retries, fmt.Errorf("sending: %w", err)
			}
			waiting = append(waiting, next)
			next++
		}
		b, err := l.receive(time.Now().Add(askTimeout))
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, io.EOF) {
				return nil, retries, fmt.Errorf("receiving: %w", err)
			}
			if err := l.redial(); err != nil {
				return nil, retries, err
			}
			for _, i := range waiting {
				if attempts[i]++; attempts[i] >= askAttempts {
					return nil, retries, fmt.Errorf("no reply to message %d after %d attempts", i, askAttempts)
				}
				retries++
				if err := l.send(msgs[i]); err != nil {
					return nil, retries, fmt.Errorf("sending: %w", err)
				}
			}
			continue
		}
		if len(b) < 12 {
			return nil, retries, fmt.Errorf("reply of %d octets", len(b))
		}
		id := binary.BigEndian.Uint16(b)
		for k, i := range waiting {
			if uint16(i) == id {
				replies[i] = append([]byte(nil), b...)
				waiting = append(waiting[:k], waiting[k+1:]...)
				break
			}
		}
	}
	return replies, retries, nil
}

type udpLink struct {
	addr netip.AddrPort
	conn *net.UDPConn
	buf  [65535]byte
}

func (l *udpLink) redial() error {
	if err := l.Close(); err != nil {
		return err
	}
	var err error
	l.conn, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(l.addr))
	return err
}

func (l *udpLink) send(msg []byte) error {
	_, err := l.conn.Write(msg)
	return err
}

func (l *udpLink) receive(deadline time.Time) ([]byte, error) {
	if err := l.conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	n, err := l.conn.Read(l.buf[:])
	return l.buf[:n], err
}

func (l *udpLink) Close() error {
	if l.conn == nil {
		return nil
	}
	return l.conn.Close()
}

type tcpLink struct {
	addr netip.AddrPort
	conn *net.TCPConn
	buf  [65535]byte
}

func (l *tcpLink) redial() error {
	if err := l.Close(); err != nil {
		return err
	}
	var err error
	l.conn, err = net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(l.addr))
	return err
}

func (l *tcpLink) send(msg []byte) error {
	_, err := l.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	return err
}

func (l *tcpLink) receive(deadline time.Time) ([]byte, error) {
	if err := l.conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(l.conn, l.buf[:2]); err != nil {
		return nil, err
	}
	b := l.buf[:binary.BigEndian.Uint16(l.buf[:])]
	_, err := io.ReadFull(l.conn, b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return b, err
}

func (l *tcpLink) Close() error {
	if l.conn == nil {
		return nil
	}
	return l.conn.Close()
}
