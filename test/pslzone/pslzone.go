// Package pslzone makes a zone of about 9,000 delegations with real names, out of the public suffix list that Debian's
// package publicsuffix installs.
package pslzone

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/idna"
)

const (
	List   = "/usr/share/publicsuffix/public_suffix_list.dat" // where the Debian package puts the list
	Debian = "publicsuffix"                                   // the package

	// Origin is the origin of the zone that [File] writes.
	Origin = "psl.example."
)

// Write writes the master file of the zone origin, fully qualified, to w; list is a public suffix list. The same list
// gives the same file.
//
// A suffix with no other suffix below it becomes a delegation with two to four servers: in-domain ones with glue for
// both or one address family, servers below another delegation, in authoritative data of the zone, and outside of it. A
// quarter of the delegations has DS RRs. A suffix with others below it gets a TXT RR, a wildcard rule a wildcard A RR, an
// exception rule an A RR.
func Write(w io.Writer, list io.Reader, origin string) error {
	rules, err := read(list)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "; Made of the public suffix list.\n$ORIGIN %s\n$TTL 86400\n", origin)
	fmt.Fprint(b, "@ SOA ns1 hostmaster 1 1800 900 604800 3600\n@ NS ns1\n@ NS ns2\n")
	for i := range providers {
		fmt.Fprintf(b, "ns%d A 192.0.2.%d\nns%d AAAA 2001:db8::%d\n", i+1, i+1, i+1, i+1)
	}
	var leaves []string
	inner := map[string]bool{}
	for _, r := range rules {
		for name := r.name; name != ""; {
			_, name, _ = strings.Cut(name, ".")
			inner[name] = true
		}
		if r.kind == wildcard {
			inner[r.name] = true
		}
	}
	for _, r := range rules {
		if r.kind == plain && !inner[r.name] {
			leaves = append(leaves, r.name)
		}
	}
	leafAt := 0
	for _, r := range rules {
		switch {
		case r.kind == wildcard:
			fmt.Fprintf(b, "*.%s A 192.0.2.200\n", r.name)
		case r.kind == exception:
			fmt.Fprintf(b, "%s A 192.0.2.201\n", r.name)
		case inner[r.name]:
			fmt.Fprintf(b, "%s TXT \"public suffix\"\n", r.name)
		default:
			delegate(b, leaves, leafAt)
			leafAt++
		}
	}
	return b.Flush()
}

// providers is how many name servers stand in the zone's own data.
const providers = 8

// delegate writes one delegation. All choices come from a digest of its name.
func delegate(b *bufio.Writer, leaves []string, at int) {
	name := leaves[at]
	digest := sha256.Sum256([]byte(name))
	choice := binary.BigEndian.Uint64(digest[:])
	take := func(n uint64) uint64 {
		v := choice % n
		choice /= n
		return v
	}
	address := func(host string) {
		fmt.Fprintf(b, "%s A 198.51.100.%d\n", host, take(256))
		if take(2) == 0 {
			fmt.Fprintf(b, "%s AAAA 2001:db8:%x::1\n", host, take(1<<16))
		}
	}
	switch take(4) {
	case 0: // both servers in the domain
		for i := 1; i <= 2; i++ {
			fmt.Fprintf(b, "%s NS ns%d.%s\n", name, i, name)
			address(fmt.Sprintf("ns%d.%s", i, name))
		}
	case 1: // one in the domain, one of a provider
		fmt.Fprintf(b, "%s NS ns1.%s\n%s NS ns%d\n", name, name, name, 1+take(providers))
		address("ns1." + name)
	case 2: // outside
		for i := range 2 + take(3) {
			fmt.Fprintf(b, "%s NS ns%d.dns%d.example.net.\n", name, i+1, take(50))
		}
	case 3: // below another delegation, and outside
		other := leaves[(at+1+int(take(20)))%len(leaves)]
		fmt.Fprintf(b, "%s NS ns1.%s\n%s NS ns.example.com.\n", name, other, name)
	}
	if take(4) == 0 {
		fmt.Fprintf(b, "%s DS %d 13 2 %s\n", name, take(1<<16), hex.EncodeToString(digest[:]))
	}
}

type kind uint8

const (
	plain     kind = iota // co.uk
	wildcard              // *.ck
	exception             // !www.ck
)

type rule struct {
	kind kind
	name string // in ASCII, lower case, without the mark of the kind
}

// ascii turns names into the form they have in the DNS and refuses what cannot be one.
var ascii = idna.New(idna.MapForLookup(), idna.VerifyDNSLength(true))

// read returns the rules of a list in the order of the list, each name and kind once.
func read(list io.Reader) ([]rule, error) {
	var rules []rule
	seen := map[rule]bool{}
	s := bufio.NewScanner(list)
	for line := 1; s.Scan(); line++ {
		text, _, _ := strings.Cut(strings.TrimSpace(s.Text()), " ")
		if text == "" || strings.HasPrefix(text, "//") {
			continue
		}
		r := rule{}
		switch {
		case strings.HasPrefix(text, "*."):
			r.kind, text = wildcard, text[2:]
		case strings.HasPrefix(text, "!"):
			r.kind, text = exception, text[1:]
		}
		name, err := ascii.ToASCII(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", line, text, err)
		}
		if r.name = name; !seen[r] {
			seen[r] = true
			rules = append(rules, r)
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(rules, func(r rule) bool { return r.kind == plain }) {
		return nil, fmt.Errorf("no rules in %d lines", len(rules))
	}
	return rules, nil
}

// File writes the zone [Origin] made of the installed [List] into a temporary folder of the test and returns its path.
// The test must have made sure that the list is installed.
func File(t testing.TB) string {
	t.Helper()
	list, err := os.Open(List)
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	path := filepath.Join(t.TempDir(), strings.TrimSuffix(Origin, ".")+".zone")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(f, list, Origin); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
