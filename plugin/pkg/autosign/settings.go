package autosign

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

// ParentAuto as Settings.Parent has the servers of the parent zone looked up.
const ParentAuto = "auto"

// Settings say how zones are signed. They are a zonedb.Signing; the zero value is one
// that works.
type Settings struct {
	Keys kasp.Policy // without Validity, Refresh and Insecure, which stand below
	// Signatures are as in package signer, but for what 0 stands for: Refresh is half of
	// Validity, Jitter a 28th, which are 7 days and 12 hours.
	Signatures signer.Policy
	Folder     string // of BIND's key files, absolute; "": keys are kept in the store
	NoCDS      bool   // no CDS and CDNSKEY records tell the parent which DS records are wanted
	Online     bool   // answers are signed as they are made, and nothing else but keys is in the zone
	Insecure   bool   // the zone leaves DNSSEC
	// Parent is whom to ask for DS records: addresses with ports, with spaces between
	// them, ParentAuto, or "" for nobody.
	Parent string
}

// ErrSettings is about settings that exclude each other.
var ErrSettings = errors.New("settings that exclude each other")

// usualTTL is the greatest TTL that lifetimes of keys must leave time for.
const usualTTL = 24 * time.Hour

// Check tells what is wrong with the settings.
func (s Settings) Check() error {
	if s.Online && s.Signatures.NSEC3 {
		return fmt.Errorf("%w: online and nsec3: answers that are signed as they are made have NSEC records", ErrSettings)
	}
	if err := s.signatures().Check(); err != nil {
		return err
	}
	return s.keys().Check(usualTTL)
}

// Rolls tells whether keys are replaced by themselves.
func (s Settings) Rolls() bool { return s.Keys.KSKLifetime > 0 || s.Keys.ZSKLifetime > 0 }

// Parents gives the addresses in Parent; auto tells whether they are to be looked up
// instead.
func (s Settings) Parents() (addresses []netip.AddrPort, auto bool) {
	if s.Parent == ParentAuto {
		return nil, true
	}
	for text := range strings.FieldsSeq(s.Parent) {
		if a, err := netip.ParseAddrPort(text); err == nil {
			addresses = append(addresses, a)
		}
	}
	return addresses, false
}

// What is usual, for Settings.Signatures.
const (
	usualValidity = 14 * 24 * time.Hour
	usualJitter   = 28 // the part of the validity
)

// signatures gives the policy of signatures with what 0 stands for.
func (s Settings) signatures() signer.Policy {
	p := s.Signatures
	p.KeyTTL = s.Keys.KeyTTL
	if p.Validity == 0 {
		p.Validity = usualValidity
	}
	if p.Refresh == 0 {
		p.Refresh = p.Validity / 2
	}
	if p.Jitter == 0 {
		p.Jitter = p.Validity / usualJitter
	}
	return p
}

// keys gives the policy of keys, with what stands in the other fields.
func (s Settings) keys() kasp.Policy {
	p, sigs := s.Keys, s.signatures()
	p.Validity, p.Refresh, p.Insecure = sigs.Validity, sigs.Refresh, s.Insecure
	if s.Online { // no signature outlives its answer
		p.Refresh = p.Validity - time.Second
	}
	return p
}
