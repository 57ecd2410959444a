//go:build !linux || !(amd64 || arm64)

package udp

import (
	"errors"
	"net"
	"net/netip"
)

// Socket is a socket that is served; there is none here.
type Socket struct{}

// Open gives an error.
func Open(*net.UDPConn) (*Socket, error) {
	return nil, errors.New("this is not Linux on amd64 or arm64")
}

// Serve does nothing.
func (*Socket) Serve(Handler) error { return nil }

// Stop does nothing.
func (*Socket) Stop() {}

// Leave does nothing.
func (*Socket) Leave(Handler) error { return nil }

// Fragment does nothing.
func Fragment(*net.UDPConn) error { return nil }

// Same gives false.
func Same(_, _ *net.UDPConn) bool { return false }

// Packet is a packet that was read.
type Packet struct{ Data []byte }

// IsIPv6 gives false.
func (*Packet) IsIPv6() bool { return false }

// Addr gives no address.
func (*Packet) Addr() netip.Addr { return netip.Addr{} }

// Control gives nothing.
func (*Packet) Control() []byte { return nil }

// From gives no address.
func (*Packet) From() *net.UDPAddr { return nil }
