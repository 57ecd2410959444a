// Package identity says who a request comes from, as far as the server has
// proof of it. The plugin that checks signatures puts an [Identity] into the
// context of a request; those that decide who may do what read it from there.
//
// A request without one is unsigned, or was signed in a way that the plugin
// does not check. It is never one whose signature is wrong: such requests are
// answered at once and go no further.
package identity

import (
	"context"
	"net/netip"
)

// Identity is who has signed a request. It is a value: copies are independent.
//
// As long as one is in the context, whatever is written to the request's
// dns.ResponseWriter is signed on its way out: messages given to WriteMsg and
// packed messages given to Write alike, one or a stream of several (RFC 8945
// §5.3.1). Those who pack messages leave [Identity.SignatureSize] octets free.
type Identity struct {
	// Key is the name of the TSIG key, in presentation form and lower case, with
	// the final dot. It is never empty.
	Key string

	// Algorithm is the name of the key's algorithm, in lower case and with the
	// final dot: "hmac-sha256.".
	Algorithm string

	// MAC is the signature of the request, in octets. With Signed, the time at which
	// it was made, in seconds since 1970, and Fudge, the seconds that clocks may
	// differ by (RFC 8945 §4.2), it tells requests that come again.
	MAC    string
	Signed uint64
	Fudge  uint16

	// Address is where the request came from, an IPv4 address in its own form.
	// It is the zero value if that is not known.
	Address netip.AddrPort
}

type contextKey struct{}

// With returns a context that holds the identity in place of any before.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, &id)
}

// From returns the identity that the context holds. It is false, with the zero
// value, if there is none.
func From(ctx context.Context) (Identity, bool) {
	id, ok := ctx.Value(contextKey{}).(*Identity)
	if !ok {
		return Identity{}, false
	}
	return *id, true
}

// macSizes has the length of the MAC for each algorithm, in octets.
var macSizes = map[string]int{
	"hmac-sha1.":   20,
	"hmac-sha224.": 28,
	"hmac-sha256.": 32,
	"hmac-sha384.": 48,
	"hmac-sha512.": 64,
}

// SignatureSize returns how many octets the TSIG record of a response to this
// client takes at most (RFC 8945 §4.2): the names of key and algorithm, ten octets
// of every record, 16 of fixed data, and the MAC.
func (id Identity) SignatureSize() int {
	mac, ok := macSizes[id.Algorithm]
	if !ok {
		mac = 64
	}
	// A name in presentation form with its final dot is never shorter than its
	// wire form less one.
	return len(id.Key) + 1 + 10 + len(id.Algorithm) + 1 + 16 + mac
}
