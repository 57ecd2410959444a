package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/udp"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
	"github.com/trustdns/trustdns/test/server"
)

// kernel is what a server is called in tables that sends every query back as its own
// response. It reads and writes as the plugin fastpath does, so what it takes is
// what the kernel takes, and no server that reads and writes so takes less.
const kernel = "limit"

// reflectMode is the argument by which this program is that server, and
// reflectReady what it says when it is.
const (
	reflectMode  = "reflect"
	reflectReady = "reflecting"
)

// startReflector starts this program as that server.
func startReflector(t testing.TB) *server.Server {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return server.StartProgram(t, server.Program{
		Name: self, Ready: reflectReady,
		Prepare: func(_ string, port int) ([]string, error) {
			return []string{reflectMode, fmt.Sprintf("127.0.0.1:%d", port)}, nil
		},
	})
}

// reflect serves at an address until a signal ends this process.
func reflect(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	s, err := udp.Open(conn)
	if err == nil {
		fmt.Println(reflectReady)
		err = s.Serve(reflector{})
	}
	return errors.Join(err, conn.Close())
}

// reflector is a udp.Handler.
type reflector struct{}

// Answer gives a query as its own response.
func (reflector) Answer(dst []byte, p *udp.Packet) []byte {
	if len(p.Data) < wire.HeaderSize || len(p.Data) > udp.MaxResponse || p.Data[2]&0x80 != 0 {
		return nil
	}
	dst = append(dst, p.Data...)
	dst[2] |= 0x80
	return dst
}

// Sent implements udp.Handler.
func (reflector) Sent(int) {}

// Turn implements udp.Handler.
func (reflector) Turn() bool { return false }

// Idle implements udp.Handler.
func (reflector) Idle() {}
