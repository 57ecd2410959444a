package authority

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

// insecure is the policy that leads out of DNSSEC, and the setting that does.
const insecure = "insecure"

// policy is a policy that has a name, and where it got it.
type policy struct {
	place    string
	settings autosign.Settings
}

// parseDNSSEC reads "dnssec [POLICY] [{ … }]". A policy gets its name where it is
// written first, and is meant wherever the name stands alone after that.
func (d *directive) parseDNSSEC(c *caddy.Controller, in *siblings) error {
	args := c.RemainingArgs()
	if len(args) > 1 {
		return c.Errf("dnssec: unexpected %q: want the name of a policy, or none", args[1])
	}
	named := ""
	if len(args) == 1 {
		named = args[0]
	}
	known, isKnown := in.policies[named]
	block := c.NextArg() // loads the brace
	switch {
	case named == insecure && block:
		return c.Errf("dnssec: policy %q has no settings: write \"insecure\" among those of the policy that the zone had", insecure)
	case named == insecure:
		d.spec.Signing = autosign.Settings{Insecure: true, Parent: autosign.ParentAuto}
		return nil
	case block && named != "" && isKnown:
		return c.Errf("dnssec: policy %q is there already, at %s: name it without a block", named, known.place)
	case !block && named != "" && !isKnown:
		return c.Errf("dnssec: unknown policy %q: its settings stand in braces behind its name where it is used first", named)
	case !block && isKnown:
		d.spec.Signing = known.settings
		return nil
	}
	var s autosign.Settings
	if block {
		if err := d.parsePolicy(c, &s); err != nil {
			return err
		}
	}
	if s.Insecure && s.Parent == "" { // there is nothing else to wait for
		s.Parent = autosign.ParentAuto
	}
	if err := s.Check(); err != nil {
		return c.Errf("dnssec: %s", oneLine(err))
	}
	if named != "" {
		in.policies[named] = policy{d.place, s}
	}
	d.spec.Signing = s
	return nil
}

// parsePolicy reads the settings of a policy up to the brace behind them.
func (d *directive) parsePolicy(c *caddy.Controller, s *autosign.Settings) error {
	seen := make(map[string]bool)
	for c.Next() && c.Val() != "}" {
		setting := c.Val()
		if seen[setting] {
			return c.Errf("dnssec: %q is given twice", setting)
		}
		seen[setting] = true
		if err := d.parseSetting(s, setting, c.RemainingArgs()); err != nil {
			return c.Errf("dnssec: %s: %v", setting, err)
		}
	}
	if len(seen) == 0 {
		return c.Err("dnssec: no setting is given between the braces")
	}
	return nil
}

func (d *directive) parseSetting(s *autosign.Settings, setting string, args []string) (err error) {
	want := func(n int, what string) bool {
		if len(args) != n {
			err = fmt.Errorf("want %s, not %q", what, strings.Join(args, " "))
		}
		return err == nil
	}
	switch setting {
	case "algorithm":
		if want(1, "the name or number of an algorithm") {
			s.Keys.Algorithm, err = parseAlgorithm(args[0])
		}
	case "split":
		if want(2, "the lifetimes of KSK and ZSK, 0 for no end") {
			s.Keys.Split = true
			if s.Keys.KSKLifetime, err = parseDays(args[0], true); err == nil {
				s.Keys.ZSKLifetime, err = parseDays(args[1], true)
			}
		}
	case "nsec3":
		s.Signatures.NSEC3 = true
		switch {
		case len(args) == 1 && args[0] == "opt_out":
			s.Signatures.OptOut = true
		default:
			want(0, "nothing, or \"opt_out\"")
		}
	case "signature", "refresh":
		if want(1, "a duration") {
			*map[string]*time.Duration{"signature": &s.Signatures.Validity, "refresh": &s.Signatures.Refresh}[setting], err = parseDays(args[0], false)
		}
	case "jitter":
		if want(1, "a duration") {
			if s.Signatures.Jitter, err = parseDays(args[0], true); s.Signatures.Jitter == 0 {
				s.Signatures.Jitter = 1 // less than a second: none
			}
		}
	case "parent":
		s.Parent, err = parseParent(args)
	case "keys":
		if want(1, "the folder of the key files") {
			s.Folder, err = d.keyFolder(args[0])
		}
	case "cds":
		if want(1, "\"off\"") && args[0] != "off" {
			err = fmt.Errorf("want \"off\", not %q", args[0])
		}
		s.NoCDS = true
	case "online":
		want(0, "nothing")
		s.Online = true
	case insecure:
		want(0, "nothing")
		s.Insecure = true
	default:
		err = fmt.Errorf("unknown setting, want algorithm, split, nsec3, signature, refresh, jitter, parent, keys, cds, online or insecure")
	}
	return err
}

// algorithms are those that zones can be signed with.
var algorithms = []signer.Algorithm{signer.RSASHA256, signer.ECDSAP256SHA256, signer.ECDSAP384SHA384, signer.ED25519}

func parseAlgorithm(s string) (signer.Algorithm, error) {
	for _, a := range algorithms {
		if strings.EqualFold(s, a.String()) || s == strconv.Itoa(int(a)) {
			return a, nil
		}
	}
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = a.String()
	}
	return 0, fmt.Errorf("%q is not one of %s", s, strings.Join(names, ", "))
}

// parseDays reads a duration, which may be a number of days.
func parseDays(s string, zero bool) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, isDays := strings.CutSuffix(s, "d"); isDays {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 15)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < 0 || d == 0 && !zero {
		return 0, fmt.Errorf("%q is not a duration, as 336h or 14d", s)
	}
	return d, nil
}

// parseParent reads the addresses of the servers of the parent zone, or "auto".
func parseParent(args []string) (string, error) {
	if len(args) == 0 {
		return "", fmt.Errorf("want the addresses of the servers of the parent zone, or %q", autosign.ParentAuto)
	}
	if slices.Equal(args, []string{autosign.ParentAuto}) {
		return autosign.ParentAuto, nil
	}
	addresses := make([]string, len(args))
	for i, arg := range args {
		address, err := parseAddress(arg)
		if err != nil {
			return "", fmt.Errorf("%q is not an address, with or without a port", arg)
		}
		addresses[i] = netip.AddrPortFrom(address.Addr().Unmap(), address.Port()).String()
	}
	return strings.Join(addresses, " "), nil
}

// keyFolder gives the folder of key files, which must be there.
func (d *directive) keyFolder(path string) (string, error) {
	folder, err := d.absolute(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(folder)
	switch {
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", fmt.Errorf("%s is not a folder", folder)
	}
	return folder, nil
}

// checkSigning tells why the zones of the directive cannot be kept signed.
func (d *directive) checkSigning() error {
	s, ok := d.spec.Signing.(autosign.Settings)
	if ok && s.Keys.KSKLifetime > 0 && s.Parent == "" {
		log.Warningf("%s: dnssec: a KSK is replaced only when the parent is known to have the DS record of the next: \"parent\" is missing", d.place)
	}
	switch {
	case !ok || d.spec.Store != "":
		return nil
	case d.kept == "":
		return d.errorf("dnssec: the keys of the zones must be kept, and serials must not go back: property \"store\" with a folder is missing (\"store memory\" if a restart may lose both)")
	case s.Rolls():
		return d.errorf("dnssec: keys that are replaced in time must be kept: property \"store\" wants a folder, not \"memory\"")
	case s.Folder == "":
		log.Warningf("%s: dnssec with \"store memory\": each start makes other keys; do not give their DS records to the parent", d.place)
	}
	return nil
}

// bindSigning tells what keeps other plugins of the server block from zones that are
// signed here.
func (b *block) bindSigning(handlers []plugin.Handler) error {
	for _, d := range b.directives {
		if d.spec.Signing == nil {
			continue
		}
		for _, h := range handlers {
			if h.Name() == "dnssec" {
				return d.errorf("the plugin dnssec is in this server block, and would sign anew what is signed here, without the zone's keys: leave it out, or put its zones into another server block")
			}
		}
	}
	return nil
}
