// Tests against servers and clients of others. What they import is not required
// by the module that is shipped.
module github.com/trustdns/trustdns/test/interop

go 1.26.0

replace github.com/trustdns/trustdns => ../..

require (
	github.com/miekg/dns v1.1.73
	github.com/trustdns/trustdns v0.0.0
)

require (
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.42.0 // indirect
)
