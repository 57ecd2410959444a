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
	CO   bool // the client takes NXDOMAIN with a compact proof (RFC 9824 §5.1); it says nothing without DO
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
	// Answer comes from, or that does not have the type asked for; or "".
	Wildcard dnsname.Name
	// Next is where a chain of CNAMEs leaves the zone, or "". Give it to
	// Snapshot.Continue of the zone it is in, if that is served too.
	Next dnsname.Name
	// Compact says that a zone whose proofs are compact has a part in the answer: a
	// response to a client that has set CO has it too (RFC 9824 §5.1).
	Compact bool
	// Veiled says that the response code is NOERROR though the Kind is NXDomain: a
	// compact proof says that the name exists and has no records (RFC 9824 §3.1).
	Veiled bool

	links   int
	reached int // names looked up for the additional section
	scratch []byte
	key     [dnsname.MaxKey + 4]byte
	ends    dnsname.Ends
	path    trie.Path
}

// maxLinks bounds the CNAMEs and DNAMEs of one answer.
const maxLinks = 16

// Account is what answers have in common that are the same for whoever makes up
// names: what they are about, and the name that it is about.
type Account struct {
	Kind Kind         // Success for all that have anything in the answer section
	Name dnsname.Name // in any letter case
}

// Account gives that of an answer to a question for name: the name itself or the
// wildcard or DNAME that it comes from; the zone, for names that do not exist; the
// zone cut, for referrals. It is valid as long as the answer.
func (a *Answer) Account(name dnsname.Name) Account {
	switch {
	case a.Wildcard != "" && (len(a.Answer) > 0 || a.Kind == NoData):
		name = a.Wildcard
	case len(a.Answer) > 0:
		if a.Answer[0].Type == rrset.TypeDNAME {
			name = a.Answer[0].Owner
		}
	case (a.Kind == NXDomain || a.Kind == Delegation) && len(a.Authority) > 0: // SOA or NS
		name = a.Authority[0].Owner
	}
	if len(a.Answer) > 0 {
		return Account{Success, name}
	}
	return Account{a.Kind, name}
}

// Rcode gives the response code of the answer: that of its kind, unless it is veiled.
func (a *Answer) Rcode() int {
	if a.Veiled && a.Kind == NXDomain {
		return Success.Rcode()
	}
	return a.Kind.Rcode()
}

func (a *Answer) reset() {
	clear(a.Answer)
	clear(a.Authority)
	clear(a.Additional)
	a.Kind, a.AA, a.Glue, a.Wildcard, a.Next, a.links, a.reached = Success, true, 0, "", "", 0, 0
	a.Compact, a.Veiled = false, false
	a.Answer, a.Authority, a.Additional, a.scratch = a.Answer[:0], a.Authority[:0], a.Additional[:0], a.scratch[:0]
}

// keep gives a string of b that is valid until the next lookup. b must be the
// end of scratch, from offset from.
func (a *Answer) keep(from int) string {
	return view(a.scratch[from:])
}

// view gives b as a string without copying; b must not change while it is used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
