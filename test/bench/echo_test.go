package main

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
)

// echo answers each query with itself, but for each so many-th.
type echo struct {
	silent int
	rcode  atomic.Int32
}

// start serves on UDP until the test ends.
func (e *echo) start(t *testing.T) netip.AddrPort {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		var buf [512]byte
		for i := 0; ; i++ {
			n, from, err := conn.ReadFromUDPAddrPort(buf[:])
			if err != nil {
				return
			}
			if i%e.silent == 0 {
				continue
			}
			buf[2] |= 0x80
			buf[3] = byte(e.rcode.Load())
			_, _ = conn.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}
