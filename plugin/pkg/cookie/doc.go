// Package cookie makes and checks DNS server cookies (RFC 7873, RFC 9018), with
// which a client shows that it has been reached at its address, and decides what
// becomes of requests by them. It knows neither messages nor the clock: time is an
// argument, in seconds since 1970, and compared by serial number arithmetic (RFC
// 1982), so that it may run over. Nothing that happens for each request allocates.
package cookie
