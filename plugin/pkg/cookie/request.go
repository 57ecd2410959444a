package cookie

import "context"

// Result is what the COOKIE option of a request says of its sender.
type Result uint8

const (
	None    Result = iota // no option: nothing is known
	Client                // a client cookie alone: the sender understands cookies
	Invalid               // a server cookie that is not ours, is too old, or is for another address
	Valid                 // a server cookie of ours: the sender has been reached at its address
)

// String gives the word for the result that metrics use.
func (r Result) String() string {
	switch r {
	case None:
		return "none"
	case Client:
		return "client"
	case Invalid:
		return "invalid"
	case Valid:
		return "valid"
	default:
		return "unknown"
	}
}

// Request is what is known of the cookie of a request, for those who handle it. It
// is a value: copies are independent. Whoever writes a response need not put the
// option into it, that is done on its way out; but leaves Room octets free.
type Request struct {
	Result Result
	// Policy says whether the request needs a valid cookie: never, always, or while
	// limits act upon its network, if it has a client cookie. Then BADCOOKIE is in place
	// of an answer, or TC if it has no cookie at all.
	Policy Policy
	// Option is the content of the option for the response, a client and a server
	// cookie; its length is 0 if the response gets none.
	Option string
}

// Room gives how many octets the option takes in a response, 0 if it gets none.
func (r Request) Room() int {
	if r.Option == "" {
		return 0
	}
	return 4 + len(r.Option)
}

type contextKey struct{}

// With returns a context that holds what is known in place of any before.
func With(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, contextKey{}, &r)
}

// From returns what the context holds. Without it is the zero value: no cookie, and
// none for the response.
func From(ctx context.Context) Request {
	if r, ok := ctx.Value(contextKey{}).(*Request); ok {
		return *r
	}
	return Request{}
}
