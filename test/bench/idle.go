package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/trustdns/trustdns/test/server"
)

// idle is what the DNS of a cluster takes that nobody asks, in bytes of anonymous
// memory: our binary, and one of CoreDNS alone that is built and stripped like ours.
type idle struct{ ours, stock []int64 }

// idleTime is how long a server is left alone before its memory is read.
const idleTime = 3 * time.Second

// idleCorefile is that of a cluster without its API server, and without anything of ours.
const idleCorefile = ".:%[1]s {\n\tbind 127.0.0.1\n\terrors\n\thealth 127.0.0.1:0\n\tready 127.0.0.1:0\n\tprometheus 127.0.0.1:0\n\tfile %[2]s cluster.local\n\tforward . 127.0.0.1:9\n\tcache 30\n\treload\n\tloadbalance\n}\n"

// idle measures both in turn.
func (m *meter) idle(t *testing.T) {
	progress("building CoreDNS alone")
	stock := filepath.Join(m.dir, "coredns")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", stock, "github.com/coredns/coredns")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building CoreDNS alone: %v\n%s", err, out)
	}
	zone := filepath.Join(m.dir, "cluster.zone")
	if err := os.WriteFile(zone, []byte("@ 60 SOA ns hostmaster 1 60 60 60 60\n@ 60 NS ns\nns 60 A 192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := &m.report.idle
	for range m.starts {
		for _, c := range []struct {
			binary string
			into   *[]int64
		}{{server.Binary(t), &x.ours}, {stock, &x.stock}} {
			s, _, _ := m.launch(t, func() *server.Server {
				return server.StartBinary(t, c.binary, fmt.Sprintf(idleCorefile, server.Port, zone), "cluster.local")
			})
			rest(idleTime)
			n, err := proc.kilobytes(s.PID(), "status", "RssAnon:")
			if err != nil {
				t.Fatal(err)
			}
			*c.into = append(*c.into, n)
			s.Stop()
		}
	}
	progress("idle: %.1f MB, CoreDNS alone %.1f MB", megabytes(median(x.ours)), megabytes(median(x.stock)))
}
