package cookie

import "net/netip"

// Policy says which requests need a valid cookie.
type Policy uint8

const (
	Never   Policy = iota // none
	Limited               // those that come while limits act upon their network; that is for others to see
	Always                // all queries over UDP
)

// Verdict is what is done about a request.
type Verdict uint8

const (
	Answer    Verdict = iota // what it asks for
	FormErr                  // FORMERR, without a cookie
	BadCookie                // BADCOOKIE, without an answer but with a cookie
	Truncate                 // a response with TC and without an answer, so that it comes again over TCP
)

// Rcode gives the response code of the verdict, which for BadCookie has bits in the
// OPT record (RFC 7873 §8).
func (v Verdict) Rcode() int {
	switch v {
	case FormErr:
		return 1
	case BadCookie:
		return 23
	default:
		return 0
	}
}

// Decision is what becomes of a request.
type Decision struct {
	Verdict Verdict
	Result  Result
	Policy  Policy // that of Request
	// Option is the content of the option for the response, whatever that is; its
	// length is 0 if the response gets none.
	Option []byte
}

// Request gives what those are told who handle the request.
func (d Decision) Request() Request {
	return Request{Result: d.Result, Policy: d.Policy, Option: string(d.Option)}
}

// Decide says what becomes of a request by the content of the first COOKIE option in
// it, nil if there is none, the address it comes from, and the time in seconds since
// 1970. A request is exempt from the policy if its address is proven, as over TCP, or
// it is no query. The option for the response is made in dst[:0] and valid until that
// is used again. RFC 7873 §5.2.
func (s *Secrets) Decide(p Policy, option []byte, addr netip.Addr, exempt bool, now uint32, dst []byte) Decision {
	d := Decision{Policy: p}
	if exempt {
		d.Policy = Never
	}
	must := d.Policy == Always
	if option == nil {
		if must {
			d.Verdict = Truncate
		}
		return d
	}
	var err error
	d.Result, d.Option, err = s.Handle(option, addr, now, dst[:0])
	switch {
	case err != nil:
		d.Verdict = FormErr
	case must && d.Result != Valid:
		d.Verdict = BadCookie
	}
	return d
}
