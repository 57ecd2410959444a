// Package cookie makes and checks DNS server cookies (RFC 7873, RFC 9018), with
// which a client shows that it has been reached at its address. It knows neither
// messages nor the clock: time is an argument.
package cookie
