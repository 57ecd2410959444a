package zone

import (
	"strings"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// maxAdditional bounds the RRsets that an answer brings along without being
// asked to.
const maxAdditional = 64

// maxReached bounds the names that are looked up for them: those that do not
// exist bring nothing, but cost time.
const maxReached = 4 * maxAdditional

// maxAliases bounds a chain of SVCB records in AliasMode (RFC 9460 §2.4.2).
const maxAliases = 8

// target gives the node of a name server by its key, empty if there is none or
// a DNAME hides it. It may be below a zone cut: then its addresses are glue.
func (s *Snapshot) target(key []byte, a *Answer) node {
	s.names.Find(key, &a.path)
	glue := false
	for i := range a.path.Len() {
		e := a.path.At(i)
		n := node{e.Key, e.Value}
		if len(e.Key) == len(key) {
			return n
		}
		glue = glue || n.cut()
		if n.flags()&hasDNAME != 0 && !glue {
			break
		}
	}
	return node{}
}

// glue adds the addresses of the name servers of a cut: first those below the
// cut, which nobody can find otherwise, then those of its siblings (RFC 9471
// §3).
func (s *Snapshot) glue(cutKey string, ns Set, do bool, a *Answer) {
	for _, inDomain := range [...]bool{true, false} {
		for r := range ns.All() {
			name := dnsname.Name(r)
			if !name.IsBelow(s.origin) {
				continue
			}
			key, _ := dnsname.AppendKey(a.key[:0], name, len(s.origin), nil)
			if strings.HasPrefix(view(key), cutKey) != inDomain {
				continue
			}
			if inDomain { // no DNAME is above the cut, nor counts below it
				v, _ := s.names.Get(key)
				a.addAddresses(name, node{view(key), v}, do)
				continue
			}
			if len(a.Additional) >= a.Glue+maxAdditional {
				return
			}
			a.addAddresses(name, s.target(key, a), do)
		}
		if inDomain {
			a.Glue = len(a.Additional)
		}
	}
}

// addAddresses adds the addresses that a node, which may be empty, has.
func (a *Answer) addAddresses(name dnsname.Name, n node, do bool) {
	for _, typ := range [...]uint16{rrset.TypeA, rrset.TypeAAAA} {
		if set, ok := n.set(typ); ok {
			a.Additional = append(a.Additional, set.sent(name, do))
		}
	}
}

// additional adds what the client would ask for next, as far as the zone has
// it: RFC 1035 §3.3 (NS, MX), RFC 2782 (SRV), RFC 3403 §4.4 (NAPTR), RFC 9460
// §4.1 (SVCB, HTTPS) and their kin.
func (s *Snapshot) additional(q *Query, a *Answer) {
	if len(a.Answer) == 0 {
		return
	}
	last := a.Answer[len(a.Answer)-1]
	for off := 0; off < len(last.Packed()) && len(a.Additional) < maxAdditional; {
		var rdata string
		rdata, off = last.Next(off)
		switch last.Type {
		case rrset.TypeNS, rrset.TypeMX, rrset.TypeSRV, rrset.TypeAFSDB, rrset.TypeRT, rrset.TypeKX:
			s.addTarget(rrset.Name(last.Type, rdata), q.DO, a)
		case rrset.TypeNAPTR:
			s.addNAPTR(rdata, q.DO, a)
		case rrset.TypeSVCB, rrset.TypeHTTPS:
			s.addService(last.Owner, last.Type, rdata, q.DO, a)
		default:
			return
		}
	}
}

// reach gives the node that answers for a name, through a wildcard too; empty
// if this zone is not the one to ask, or enough names were looked up already.
func (s *Snapshot) reach(name dnsname.Name, a *Answer) node {
	if !name.IsBelow(s.origin) || a.reached >= maxReached {
		return node{}
	}
	a.reached++
	return s.find(name, rrset.TypeA, a).node
}

// addTarget adds the addresses of a name unless they are there already.
func (s *Snapshot) addTarget(name dnsname.Name, do bool, a *Answer) {
	n := s.reach(name, a)
	if a.brings(name, rrset.TypeA) || a.brings(name, rrset.TypeAAAA) {
		return
	}
	a.addAddresses(name, n, do)
}

// brings tells whether the answer or the additional section has an RRset.
func (a *Answer) brings(owner dnsname.Name, typ uint16) bool {
	for i := range a.Additional {
		if a.Additional[i].Type == typ && a.Additional[i].Owner.Equal(owner) {
			return true
		}
	}
	return a.answers(owner, typ)
}

// addNAPTR adds what the flag of a NAPTR record says comes next: "S" SRV
// records, "A" addresses.
func (s *Snapshot) addNAPTR(rdata string, do bool, a *Answer) {
	name := rrset.Name(rrset.TypeNAPTR, rdata)
	if name == "" || len(rdata) < 6 || rdata[4] != 1 {
		return
	}
	switch dnsname.Lower(rdata[5]) {
	case 'a':
		s.addTarget(name, do, a)
	case 's':
		srv, ok := s.reach(name, a).set(rrset.TypeSRV)
		if !ok || a.brings(name, rrset.TypeSRV) {
			return
		}
		a.Additional = append(a.Additional, srv.sent(name, do))
		for r := range srv.All() {
			if len(a.Additional) >= maxAdditional {
				return
			}
			s.addTarget(rrset.Name(rrset.TypeSRV, r), do, a)
		}
	}
}

// addService follows SVCB records in AliasMode and adds the addresses of the
// last TargetName.
func (s *Snapshot) addService(owner dnsname.Name, typ uint16, rdata string, do bool, a *Answer) {
	for range maxAliases {
		name := rrset.Name(typ, rdata)
		if name == "" {
			return
		}
		alias := rdata[0] == 0 && rdata[1] == 0
		if name == dnsname.Root {
			if alias {
				return // the service does not exist (RFC 9460 §2.5.1)
			}
			name = owner
		}
		s.addTarget(name, do, a)
		if !alias {
			return
		}
		set, ok := s.reach(name, a).set(typ)
		if !ok || a.brings(name, typ) {
			return
		}
		a.Additional = append(a.Additional, set.sent(name, do))
		owner, rdata = name, set.First()
		for r := range set.All() {
			if len(a.Additional) < maxAdditional && (r[0] != 0 || r[1] != 0) {
				service := rrset.Name(typ, r)
				if service == dnsname.Root {
					service = owner
				}
				s.addTarget(service, do, a)
			}
		}
	}
}
