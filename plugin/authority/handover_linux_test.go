package authority

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"
)

// block makes the sockets of an instance block, as the standard library does for a
// moment at a reload, and has each answer a query, so that who waits for the next one
// waits in the system. It gives how many sockets there are.
func (s *instance) block() int {
	s.t.Helper()
	sockets := socketsOf(s.Instance)
	for _, c := range sockets {
		f, err := c.File()
		if err != nil {
			s.t.Fatal(err)
		}
		f.Fd()
		if err := f.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	s.await()
	return len(sockets)
}

// TestReloadOfBlockingSockets: a server that waits in the system for a connection or a
// packet, and none comes, is ended by a reload all the same.
func TestReloadOfBlockingSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	writeFile(t, path, minimal(1))
	corefile := fmt.Sprintf("example.org:0 {\nbind 127.0.0.1\nauthority {\nfile %s\n}\n}", path)
	s := serve(t, corefile)
	for range 3 {
		if n := s.block(); n != 2 {
			t.Fatalf("%d sockets", n)
		}
		var next *caddy.Instance
		var err error
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			next, err = s.Restart(input(corefile))
		}()
		select {
		case <-ended:
		case <-time.After(3 * time.Second): // less than servers wait for their connections
			t.Error("the reload does not end")
			s.release(ended)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Instance = next
		s.await()
	}
}

// socketsOf gives the sockets of an instance, which stand in fields that are not
// exported.
func socketsOf(i *caddy.Instance) (sockets []filer) {
	servers := i.Servers()
	for n := range servers {
		for _, name := range [...]string{"listener", "packet"} {
			f := reflect.ValueOf(&servers[n]).Elem().FieldByName(name)
			if s, ok := reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem().Interface().(filer); ok {
				sockets = append(sockets, s)
			}
		}
	}
	return sockets
}

type filer interface{ File() (*os.File, error) }

// release sends queries until a reload has ended.
func (s *instance) release(ended <-chan struct{}) {
	for {
		for network, address := range map[string]string{"udp": s.udp(), "tcp": s.tcp()} {
			c := dns.Client{Net: network, Timeout: 100 * time.Millisecond}
			_, _, _ = c.Exchange(query("example.org.", dns.TypeSOA), address) // whoever answers
		}
		select {
		case <-ended:
			return
		default:
		}
	}
}
