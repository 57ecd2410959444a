package ddns

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

func TestMain(m *testing.M) {
	// Rapid's hundred requests are too few: some shapes come once in a thousand.
	if err := flag.Set("rapid.checks", "2000"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

var origin = dnsname.MustParse("example.org.")

// master is the zone of the numbered cases.
const master = `$TTL 300
@      SOA   ns1 hostmaster 10 7200 3600 1209600 60
@      NS    ns1
@      NS    ns2
ns1    A     192.0.2.53
ns2    A     192.0.2.54
www    A     192.0.2.1
sub.www A    192.0.2.3
c      CNAME www
a.ent  A     192.0.2.4
two    A     192.0.2.1
two    A     192.0.2.2
two    TXT   "one" "two"
`

// load makes a zone of master and more lines.
func load(t testing.TB, more string) *zone.Snapshot {
	t.Helper()
	path := filepath.Join(t.TempDir(), "example.org.zone")
	if err := os.WriteFile(path, []byte(master+more), 0o600); err != nil {
		t.Fatal(err)
	}
	res, err := zonefile.Load(path, origin, zonefile.Options{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return res.Snapshot
}

// section reads records in the words of nsupdate: yxdomain, nxdomain, yxrrset
// and nxrrset for prerequisites; add, which may be followed by the most records
// allowed as max=2, and delete. Other forms start with a class and a TTL: they
// are taken as they are, with RDATA in hexadecimal after \#. Names are below the
// origin.
func section(t testing.TB, text string) (list []Record) {
	t.Helper()
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		r := Record{}
		verb, rest := f[0], f[1:]
		if n, ok := strings.CutPrefix(rest[0], "max="); ok {
			r.Max, rest = number(t, n), rest[1:]
		}
		owner, err := dnsname.Parse(rest[0], origin)
		if err != nil {
			t.Fatal(err)
		}
		r.Owner, rest = owner, rest[1:]
		switch verb {
		case "yxdomain", "yxrrset", "delete":
			r.Class = ClassANY
		case "nxdomain", "nxrrset":
			r.Class = ClassNONE
		case "add":
			r.Class, r.TTL, rest = ClassINET, uint32(number(t, rest[0])), rest[1:]
		default:
			class, ttl, _ := strings.Cut(verb, "/")
			r.Class, r.TTL = map[string]uint16{"IN": ClassINET, "CH": 3, "NONE": ClassNONE, "ANY": ClassANY}[class], uint32(number(t, ttl))
		}
		if len(rest) == 0 {
			rest = []string{"ANY"}
		}
		typ, ok := dns.StringToType[rest[0]]
		if !ok {
			typ = uint16(number(t, strings.TrimPrefix(rest[0], "TYPE")))
		}
		r.Type, rest = typ, rest[1:]
		if len(rest) > 0 {
			r.RDATA = rdata(t, r.Type, strings.Join(rest, " "))
			switch verb {
			case "yxrrset":
				r.Class = ClassINET
			case "delete":
				r.Class = ClassNONE
			}
		}
		list = append(list, r)
	}
	return list
}

func number(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// rdata gives RDATA of its text; \# and hexadecimal digits are taken for any
// type.
func rdata(t testing.TB, typ uint16, text string) string {
	t.Helper()
	name := rrset.TypeString(typ)
	if strings.HasPrefix(text, `\# `) {
		name = "TYPE65280"
	}
	rr, err := dns.NewRR("$ORIGIN " + origin.String() + "\n. 0 IN " + name + " " + text)
	if err != nil {
		t.Fatal(err)
	}
	_, r, err := rrset.FromRR(rr)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// text writes the records of a set after a sign, names as in master.
func text(sign string, s zone.Set) (lines []string) {
	for _, rrs := range []rrset.RRset{s.RRset, s.Sigs} {
		for _, rr := range rrset.AppendRRs(nil, s.Owner.String(), rrs) {
			f := strings.Fields(rr.String())
			f = append(f[:2], strings.Fields(strings.TrimPrefix(strings.Join(f[2:], " "), "CLASS1"))...)
			for i, w := range f {
				if w == origin.String() {
					f[i] = "@"
				}
				f[i] = strings.TrimSuffix(f[i], "."+origin.String())
			}
			lines = append(lines, sign+strings.Replace(strings.Join(f, " "), " IN ", " ", 1))
		}
	}
	return lines
}

// changes writes what a transaction changed.
func changes(t testing.TB, txn *zone.Txn) string {
	t.Helper()
	_, c, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range c.Removed {
		lines = append(lines, text("-", s)...)
	}
	for _, s := range c.Added {
		lines = append(lines, text("+", s)...)
	}
	return strings.Join(lines, "\n")
}

// outcome writes an error as its response code and text; "" if there is none.
func outcome(t rapid.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := err.(*Error) //nolint:errorlint // it is promised to be one, not to wrap one
	if !ok || !slices.Contains([]uint8{RcodeFormErr, RcodeNXDomain, RcodeRefused, RcodeYXDomain, RcodeYXRRSet, RcodeNXRRSet, RcodeNotZone}, e.Rcode) {
		t.Fatalf("not an error of this package: %#v", err)
	}
	return dns.RcodeToString[int(e.Rcode)] + " " + e.Error()
}
