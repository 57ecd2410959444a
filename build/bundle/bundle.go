// Package bundle is the set of plugins that trustdns compiles into CoreDNS and
// the order in which a query passes them.
//
// Importing the package registers the plugins; [Install] sets the order.
package bundle

import (
	// Every plugin of upstream. With -slim the build lists them one by one,
	// without those that link a cloud SDK.
	_ "github.com/coredns/coredns/core/plugin"

	_ "github.com/trustdns/trustdns/plugin/authority"
	_ "github.com/trustdns/trustdns/plugin/cookie"
	_ "github.com/trustdns/trustdns/plugin/fastpath"
	_ "github.com/trustdns/trustdns/plugin/keys"
	_ "github.com/trustdns/trustdns/plugin/ratelimit"
	_ "github.com/trustdns/trustdns/plugin/update"
)
