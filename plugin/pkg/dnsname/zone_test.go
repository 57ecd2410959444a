package dnsname

import (
	"errors"
	"testing"
)

func TestCheckZone(t *testing.T) {
	for text, want := range map[string]error{
		"example.org": nil, "Example.ORG.": nil, ".": nil, `a\,b\ c.example`: nil, `a\032b.example`: nil, "_tcp.example.org": nil, `a\:53`: nil,
		"10.0.0.0/8": nil, "192.0.2.0/25": nil, "2001:db8::/32": nil, "0/26.2.0.192.in-addr.arpa": nil,
		"10.0.0.0/99": errNetwork, "300.0.0.0/8": errNetwork, "2001:db8::/129": errNetwork, "10.0.0.0/": errNetwork,
		"192.0.2.1": errAddress, "192.0.2.1.": errAddress, "2001:db8::1": errAddress, "2001:db8::53": errAddress,
		"example.org:53": errHost, "example.org.:53": errHost, "10.0.0.0/8:53": errHost, "tls://example.org": errHost,
		"b\u00fccher.example": errIDN, "a b.example": ErrSpace, "example.org,example.net": ErrComma,
	} {
		if err := CheckZone(text); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
	if err := CheckHost("example.org:53"); err != nil {
		t.Errorf("with a port: %v", err)
	}
}
