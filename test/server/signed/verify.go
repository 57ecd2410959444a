package signed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Verifiers are the programs that Verify runs; see server.Require.
var Verifiers = []string{"ldns-verify-zone", "dnssec-verify", "kzonecheck"}

// Verify has the verifiers of others look at a zone that was transferred, and writes it to a folder for that. The error
// names the file, which stays there.
func Verify(folder, origin string, rrs []dns.RR) error {
	path := filepath.Join(folder, sum(rrs)+".zone")
	if err := Write(path, rrs); err != nil {
		return err
	}
	for _, c := range commands(origin, path, rrs) {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(c, " "), err, out)
		}
	}
	return os.Remove(path)
}

// commands gives those that a zone has to pass.
func commands(origin, path string, rrs []dns.RR) (list [][]string) {
	keys := "-z" // a CSK: what it signs need not be signed by another without the SEP flag
	if slices.ContainsFunc(Records(rrs, origin, dns.TypeDNSKEY), func(rr dns.RR) bool { return rr.(*dns.DNSKEY).Flags&dns.SEP == 0 }) {
		keys = "-q"
	}
	list = append(list, []string{"dnssec-verify", keys, "-o", origin, path})
	if !optOut(rrs) { // it takes delegations that are left out for a fault
		list = append(list, []string{"ldns-verify-zone", path})
	}
	if !belowDNAME(rrs) { // it takes names there, which nobody sees, for a fault, signed or not
		list = append(list, []string{"kzonecheck", "-v", "-d", "on", "-o", origin, path})
	}
	return list
}

func optOut(rrs []dns.RR) bool {
	return slices.ContainsFunc(rrs, func(rr dns.RR) bool {
		n, ok := rr.(*dns.NSEC3)
		return ok && n.Flags&1 != 0
	})
}

func belowDNAME(rrs []dns.RR) bool {
	var above []string
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeDNAME {
			above = append(above, rr.Header().Name)
		}
	}
	return slices.ContainsFunc(rrs, func(rr dns.RR) bool {
		return slices.ContainsFunc(above, func(name string) bool {
			return !strings.EqualFold(name, rr.Header().Name) && dns.IsSubDomain(name, rr.Header().Name)
		})
	})
}
