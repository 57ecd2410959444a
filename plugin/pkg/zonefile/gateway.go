package zonefile

import "github.com/trustdns/trustdns/plugin/pkg/dnsname"

// Types of the gateway of IPSECKEY (RFC 4025 §2.3) and of the relay of AMTRELAY
// (RFC 8777 §4.2.3).
const (
	gatewayNone = iota
	gatewayIPv4
	gatewayIPv6
	gatewayName
)

// gateway reads type, algorithm and gateway of IPSECKEY.
func (s *scanner) gateway(typ uint16) error {
	kind, err := s.gatewayType(typ)
	if err != nil {
		return err
	}
	s.data = append(s.data, kind)
	if err := s.field(typ, '1'); err != nil {
		return err
	}
	return s.address(typ, kind)
}

// relay reads the discovery bit, type and relay of AMTRELAY.
func (s *scanner) relay(typ uint16) error {
	var bit byte
	switch {
	case s.kind != word || len(s.tok) != 1 || s.tok[0]&^1 != '0':
		return s.fault(typ, "%s where 0 or 1 must be", s.token())
	case s.tok[0] == '1':
		bit = 0x80
	}
	if err := s.next(); err != nil {
		return err
	}
	kind, err := s.gatewayType(typ)
	if err != nil {
		return err
	}
	s.data = append(s.data, bit|kind)
	return s.address(typ, kind)
}

func (s *scanner) gatewayType(typ uint16) (byte, error) {
	n, ok := parseNumber(s.tok, gatewayName)
	if !ok || s.kind != word {
		return 0, s.fault(typ, "%s where a number up to %d must be", s.token(), gatewayName)
	}
	return byte(n), s.next()
}

// address reads a gateway of that type.
func (s *scanner) address(typ uint16, kind byte) error {
	switch kind {
	case gatewayIPv4:
		return s.field(typ, 'a')
	case gatewayIPv6:
		return s.field(typ, 'A')
	case gatewayName:
		return s.field(typ, 'n')
	}
	if s.kind != word || string(s.tok) != "." {
		return s.fault(typ, `%s where "." must be`, s.token())
	}
	return s.next()
}

// gatewayLen gives the length of a gateway of that type, which RDATA starts
// with.
func gatewayLen(kind byte, rdata []byte) (int, bool) {
	switch kind {
	case gatewayNone:
		return 0, true
	case gatewayIPv4:
		return 4, true
	case gatewayIPv6:
		return 16, true
	case gatewayName:
		n := dnsname.Len(rdata)
		return n, n > 0
	}
	return 0, false
}
