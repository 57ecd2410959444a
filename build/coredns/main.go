// Command coredns is CoreDNS with the plugins of trustdns. Build it with
// "go run ./build", which fills in version and commit.
package main

import (
	"fmt"
	"os"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/coremain"

	"github.com/trustdns/trustdns/build/bundle"
)

// version is the version of trustdns, set by the linker.
var version = "unversioned"

func main() {
	if err := bundle.Install(); err != nil {
		fmt.Fprintf(os.Stderr, "coredns: order of plugins: %v\n", err)
		os.Exit(1)
	}
	// The name stays CoreDNS, because programs read the first word of -version.
	caddy.AppVersion = fmt.Sprintf("%s (trustdns-%s)", coremain.CoreVersion, version)
	coremain.Run()
}
