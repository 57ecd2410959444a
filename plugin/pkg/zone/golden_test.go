package zone_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

var update = flag.Bool("update", false, "write what is answered now into the golden files")

// TestGolden looks up what the files testdata/*.golden ask, and compares the
// whole answer with what stands there. A file is read by lines:
//
//	zone ORIGIN FILE    the zone that is asked from here on
//	-- CASE             the name of a case: its number in the answering rules, and what it shows
//	? NAME TYPE [do] [all]    a question; the answer follows up to the next blank line
//	# …                 a remark
//
// RRSIGs are shown in short under the RRset that they cover; that they are
// right is checked with the keys of the zone.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) < 4 {
		t.Fatalf("golden files: %q, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".golden"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	var z goldenZone
	var a zone.Answer
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	caseName, asked := "", 0
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		fmt.Fprintln(&out, line)
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "", "#":
		case "zone":
			origin, name, _ := strings.Cut(rest, " ")
			z = newGoldenZone(t, dnsname.MustParse(origin), name)
		case "--":
			caseName = rest
		case "?":
			end := i + 1
			for end < len(lines) && lines[end] != "" {
				end++
			}
			want := strings.Join(lines[i+1:end], "\n") + "\n"
			i = end - 1
			asked++
			t.Run(caseName, func(t *testing.T) {
				q := question(t, rest)
				z.Lookup(&q, &a)
				got := z.show(t, &a)
				out.WriteString(got)
				if got != want && !*update {
					t.Errorf("%s\ngot\n%s\nwant\n%s", line, got, want)
				}
				z.verify(t, &a)
			})
		default:
			t.Fatalf("%s:%d: %q is no line of a golden file", file, i+1, line)
		}
	}
	if asked == 0 {
		t.Fatalf("%s asks nothing", file)
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// question reads NAME TYPE [do] [all].
func question(t *testing.T, s string) zone.Query {
	words := strings.Fields(s)
	if len(words) < 2 {
		t.Fatalf("no question: %q", s)
	}
	name, err := dnsname.Parse(words[0], "")
	if err != nil {
		t.Fatal(err)
	}
	typ, ok := dns.StringToType[words[1]]
	if !ok {
		t.Fatalf("no type: %q", words[1])
	}
	return zone.Query{Name: name, Type: typ, DO: slices.Contains(words[2:], "do"), All: slices.Contains(words[2:], "all")}
}

// goldenZone is a zone, its keys, and the names behind the hashes of NSEC3.
type goldenZone struct {
	*zone.Snapshot
	keys   map[uint16]*dns.DNSKEY
	hashes map[string]string
}

func newGoldenZone(t *testing.T, origin dnsname.Name, file string) goldenZone {
	s, records := load(t, origin, file)
	z := goldenZone{s, map[uint16]*dns.DNSKEY{}, map[string]string{}}
	var param *dns.NSEC3PARAM
	for _, r := range records {
		rr, err := rrset.ToRR(r.owner.String(), r.typ, r.ttl, r.rdata)
		if err != nil {
			t.Fatal(err)
		}
		switch rr := rr.(type) {
		case *dns.DNSKEY:
			z.keys[rr.KeyTag()] = rr
		case *dns.NSEC3PARAM:
			param = rr
		}
	}
	for _, r := range records {
		for n := r.owner; param != nil && len(n) >= len(origin); n = n.Parent() {
			z.hashes[dns.HashName(n.String(), param.Hash, param.Iterations, param.Salt)] = n.String()
		}
	}
	return z
}

// show writes an answer down as it stands in a golden file.
func (z *goldenZone) show(t *testing.T, a *zone.Answer) string {
	var b strings.Builder
	b.WriteString(a.Kind.String())
	if a.AA {
		b.WriteString(" aa")
	}
	if a.Wildcard != "" {
		fmt.Fprintf(&b, " wildcard %s", a.Wildcard)
	}
	if a.Next != "" {
		fmt.Fprintf(&b, " next %s", a.Next)
	}
	b.WriteByte('\n')
	for i, section := range [][]zone.Set{a.Answer, a.Authority, a.Additional} {
		for j, s := range section {
			if j == 0 {
				b.WriteString([...]string{"answer", "authority", "additional"}[i])
				if i == 2 && a.Glue > 0 {
					fmt.Fprintf(&b, ", glue: %d", a.Glue)
				}
				b.WriteByte('\n')
			}
			for _, rr := range rrs(t, s) {
				if sig, ok := rr.(*dns.RRSIG); ok {
					fmt.Fprintf(&b, "  %s %d %s\n", s.Owner, s.TTL, showSig(sig))
					continue
				}
				fmt.Fprintf(&b, "  %s%s\n", show(rr), z.unhash(rr))
			}
			for _, sig := range sigs(t, s) {
				fmt.Fprintf(&b, "    %d %s\n", sig.Hdr.Ttl, showSig(sig))
			}
		}
	}
	return b.String()
}

func showSig(sig *dns.RRSIG) string {
	return fmt.Sprintf("RRSIG %s, %d labels, TTL was %d", dns.Type(sig.TypeCovered), sig.Labels, sig.OrigTtl)
}

// unhash says whose hashes the owner and the next owner of an NSEC3 RR are.
func (z *goldenZone) unhash(rr dns.RR) string {
	n, ok := rr.(*dns.NSEC3)
	if !ok {
		return ""
	}
	label, _, _ := strings.Cut(n.Hdr.Name, ".")
	return fmt.Sprintf(" ; %s to %s", z.hashes[strings.ToUpper(label)], z.hashes[n.NextDomain])
}

// verify checks the signatures of an answer by the keys of the zone (S1).
func (z *goldenZone) verify(t *testing.T, a *zone.Answer) {
	for _, s := range slices.Concat(a.Answer, a.Authority, a.Additional) {
		for _, sig := range sigs(t, s) {
			key := z.keys[sig.KeyTag]
			if key == nil {
				t.Errorf("RRSIG of %s by a key %d that the zone has not: %v", s.Owner, sig.KeyTag, slices.Collect(maps.Keys(z.keys)))
				continue
			}
			if err := sig.Verify(key, rrs(t, s)); err != nil {
				t.Errorf("RRSIG of %s %s: %v", s.Owner, dns.Type(s.Type), err)
			}
		}
	}
}
