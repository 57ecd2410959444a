package dnsname

import (
	"errors"
	"net"
	"regexp"
	"strings"
)

// Errors of CheckZone and CheckHost.
var (
	ErrSpace = errors.New(`put separate zones into separate words; a space in a name is \032`)
	ErrComma = errors.New(`put a space between zones; a comma in a name is \044, and such a name cannot be a server block key`)

	errIDN     = errors.New("write it in ASCII, as the DNS has it: labels of other letters in the form xn--")
	errAddress = errors.New("an address is not a zone: write a network, with the length of its prefix")
	errNetwork = errors.New("not a network: want an address and the length of a prefix that it can have")
	errHost    = errors.New("want a name alone: scheme and port belong to the key of the server block")
)

var portAtEnd = regexp.MustCompile(`[^\\]:[0-9]+\.?$`)

// CheckZone tells what is wrong with the text of a zone in a configuration, or of a
// network in CIDR notation that stands for reverse zones, beyond the rules of names:
// what would be taken for a name that nobody means, and that no query matches. Parse
// tells the rest.
func CheckZone(text string) error {
	if net.ParseIP(text) == nil && portAtEnd.MatchString(text) {
		return errHost
	}
	return CheckHost(text)
}

// CheckHost is CheckZone for the rest of a text that may have had a port.
func CheckHost(text string) error {
	if _, _, err := net.ParseCIDR(text); err == nil {
		return nil
	}
	if strings.Contains(text, "://") {
		return errHost
	}
	text = strings.TrimSuffix(text, ".")
	if net.ParseIP(text) != nil {
		return errAddress
	}
	slash := false // in the last label
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c >= 0x80:
			return errIDN
		case c <= ' ':
			return ErrSpace
		case c == ',':
			return ErrComma
		case c == '.':
			slash = false
		case c == '/':
			slash = true
		case c == '\\':
			i++
		}
	}
	if slash {
		return errNetwork
	}
	return nil
}
