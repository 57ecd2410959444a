package wire

import "github.com/trustdns/trustdns/plugin/pkg/zone"

// Responder answers plain queries one after another. It is for one goroutine.
type Responder interface {
	// Takes tells whether Append can answer q. Others have to answer what it does not
	// take; nothing is counted then.
	Takes(q *Question) bool
	// Append appends the response to a query that was taken just before to dst, with
	// those options and its own, and gives the account of the answer, which is valid
	// until Takes is called again. That of a refusal is the zero value.
	Append(dst []byte, q *Question, options []byte) ([]byte, zone.Account)
}
