package zone

import (
	"unsafe"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/trie"
)

// Query is one question to a zone of class IN.
type Query struct {
	Name dnsname.Name // in the letter case of the question
	Type uint16
	DO   bool // the client wants DNSSEC records (RFC 3225)
	All  bool // QTYPE ANY and RRSIG get every RRset, not one (RFC 8482); set it for TCP
}

// Kind says what an answer is about.
type Kind uint8

// The kinds of answers. A chain of CNAMEs has the kind of its last link.
const (
	Success    Kind = iota // data of the type asked for, or the part of a chain that this zone has
	NoData                 // the name exists, the type does not (RFC 2308 §2.2)
	NXDomain               // the name does not exist
	Delegation             // the name is at or below a zone cut
	YXDomain               // a DNAME makes the name too long (RFC 6672 §2.2)
)

// Rcode gives the response code of the kind (RFC 1035 §4.1.1, RFC 2136 §2.2).
func (k Kind) Rcode() int {
	switch k {
	case NXDomain:
		return 3
	case YXDomain:
		return 6
	default:
		return 0
	}
}

// String gives the word for the kind that logs and metrics use.
func (k Kind) String() string {
	switch k {
	case Success:
		return "success"
	case NoData:
		return "nodata"
	case NXDomain:
		return "nxdomain"
	case Delegation:
		return "delegation"
	case YXDomain:
		return "yxdomain"
	default:
		return "unknown"
	}
}

// Set is an RRset at its owner. Sigs are the RRSIGs over it, of type RRSIG; in
// an answer they are there only if they are to be sent.
type Set struct {
	Owner dnsname.Name
	rrset.RRset
	Sigs rrset.RRset
}

// Answer is a decided answer; a message is made from it without further
// thought. The sections have the order they are sent in. An Answer may be used
// for any number of lookups, one after another, and then costs no allocation;
// what stands in it is valid until the next Lookup with it. It is for one
// goroutine at a time.
type Answer struct {
	Kind       Kind
	AA         bool
	Answer     []Set
	Authority  []Set
	Additional []Set
	// Glue is how many sets at the start of Additional the client cannot do
	// without: if they do not fit the message is truncated (RFC 9471 §3).
	Glue int
	// Wildcard is the owner of the wildcard that the last synthesized RRset of
	// Answer comes from, or that has no RRset of the type for NoData; or "".
	Wildcard dnsname.Name
	// Next is where a chain of CNAMEs leaves the zone, or "". Give it to
	// Snapshot.Continue of the zone it is in, if that is served too.
	Next dnsname.Name

	links   int
	reached int // names looked up for the additional section
	scratch []byte
	key     [dnsname.MaxKey + 4]byte
	ends    dnsname.Ends
	path    trie.Path
}

// maxLinks bounds the CNAMEs and DNAMEs of one answer.
const maxLinks = 16

func (a *Answer) reset() {
	clear(a.Answer)
	clear(a.Authority)
	clear(a.Additional)
	a.Kind, a.AA, a.Glue, a.Wildcard, a.Next, a.links, a.reached = Success, true, 0, "", "", 0, 0
	a.Answer, a.Authority, a.Additional, a.scratch = a.Answer[:0], a.Authority[:0], a.Additional[:0], a.scratch[:0]
}

// keep gives a string of b that is valid until the next lookup. b must be the
// end of scratch, from offset from.
func (a *Answer) keep(from int) string {
	return view(a.scratch[from:])
}

// view gives b as a string without copying; b must not change while it is used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
