// Package clients changes zones by dynamic update (RFC 2136) with the programs and libraries that people use for it:
// nsupdate, knsupdate, dnspython, Kea's DHCP-DDNS server, the providers of external-dns and cert-manager, and lego and
// certbot, which get certificates from an ACME server of the test's own.
//
// Each test has a server of its own and looks at what is in the zone afterwards, not only at what the client says. The
// server is ours; with CLIENTS_SERVER=named in the environment it is named, which tells a mistake of a test from one of
// ours.
package clients
