package main

import (
	"bytes"
	"net"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/udp"
	"github.com/trustdns/trustdns/test/server"
)

func TestReflector(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := udp.Open(conn)
	if err != nil {
		server.Lacks(t, "sockets that are served in batches: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(reflector{}) }()
	query, err := pack(question{"www.example.", 1}, 4711, true)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := askAll(conn.LocalAddr().(*net.UDPAddr).AddrPort(), [][]byte{query})
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(query)
	want[2] |= 0x80
	if !bytes.Equal(answers[0], want) {
		t.Errorf("%x is answered by %x", query, answers[0])
	}
	for name, data := range map[string][]byte{"a response": want, "no header": query[:11], "too long": make([]byte, udp.MaxResponse+1)} {
		if got := (reflector{}).Answer(nil, &udp.Packet{Data: data}); got != nil {
			t.Errorf("%s is answered by %x", name, got)
		}
	}
	s.Stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestReflectWithoutAddress(t *testing.T) {
	if err := reflect("localhost"); err == nil {
		t.Error("localhost is an address and a port")
	}
}
