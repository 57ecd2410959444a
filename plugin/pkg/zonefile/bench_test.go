package zonefile

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
)

// common has a record of each type that is read without an allocation.
const common = `$TTL 300
@ SOA ns1 hostmaster 7 2h 3 4 5
@ NS ns1
www A 192.0.2.1
www AAAA 2001:db8::1
www 60 IN TXT "some text" more
alias CNAME www
1 PTR www.example.net.
@ MX 10 mail
_sip._tcp SRV 0 5 5060 sip
sub DS 60485 8 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A
@ DNSKEY 257 3 8 AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3
www RRSIG A 8 3 300 20260322173103 20260220173103 2642 @ oJB1W6WNGv+ldvQ3WDG0MQkg5IEhjRip8WTrPYGv07h108dUKGMeDPKi
www NSEC sub A AAAA TXT RRSIG NSEC
2t7b4g4vsa5smi47k61mv5bv1a22bojr NSEC3 1 1 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A RRSIG
@ CAA 0 issue "ca.example.net"
_443._tcp TLSA 3 1 1 0C72AC70B745AC19998811B131D662C9AC69DBDBE7CB23E5B514B56664C5D3D6
`

// again reads a text from its start every time.
type again struct {
	s *scanner
	x lexer
}

func newAgain(text string) *again {
	a := &again{s: newScanner(origin)}
	a.s.fn = func(*Record) error { return nil }
	a.x.reset(append([]byte(text), 0), "zone", 1)
	return a
}

func (a *again) run() {
	a.x.pos, a.x.line = 0, 1
	a.s.entries(&a.x)
}

func TestCommonRecordsDoNotAllocate(t *testing.T) {
	a := newAgain(common)
	// 16 owners of up to 255 octets share a piece of memory of 16 kB.
	if n := testing.AllocsPerRun(1000, a.run); n > 0 || len(a.s.errs) > 0 {
		t.Errorf("%v allocations, errors %v", n, a.s.errs)
	}
	for _, l := range strings.Split(strings.TrimSpace(common), "\n")[1:] {
		a := newAgain("$TTL 1\n" + l + "\n")
		if n := testing.AllocsPerRun(1000, a.run); n > 0 || len(a.s.errs) > 0 {
			t.Errorf("%v allocations: %s (%v)", n, l, a.s.errs)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	lines := strings.Split(strings.TrimSpace(common), "\n")[1:]
	lines = append(lines, "www HTTPS 1 . alpn=h2,h3")
	for _, l := range lines {
		f := strings.Fields(strings.ReplaceAll(l, "60 IN", ""))
		b.Run(f[1], func(b *testing.B) {
			const n = 1000
			a := newAgain("$TTL 1\n" + strings.Repeat(l+"\n", n))
			b.ReportAllocs()
			for b.Loop() {
				a.run()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// delegations writes a zone of n delegations: two NS records and one of glue for
// each.
func delegations(tb testing.TB, n int) string {
	path := filepath.Join(tb.TempDir(), "big.zone")
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, "$TTL 86400\n@ SOA ns1 hostmaster 1 7200 3600 1209600 3600\n@ NS ns1\nns1 A 192.0.2.1\n")
	for i := range n {
		fmt.Fprintf(w, "d%07d NS ns1.d%07d\nd%07d NS ns2.other.example.\nns1.d%07d A 10.%d.%d.%d\n", i, i, i, i, i>>16&255, i>>8&255, i&255)
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	return path
}

const many = 100_000

func BenchmarkScan(b *testing.B) {
	path := delegations(b, many)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := Scan(path, origin, func(*Record) error { n++; return nil }); err != nil || n != 3*many+3 {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(3*many), "ns/record")
}

// BenchmarkScanMiekg is the same with the parser of miekg/dns.
func BenchmarkScanMiekg(b *testing.B) {
	file, err := os.ReadFile(delegations(b, many))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		zp := dns.NewZoneParser(bytes.NewReader(file), origin.String(), "")
		for _, ok := zp.Next(); ok; _, ok = zp.Next() {
		}
		if zp.Err() != nil {
			b.Fatal(zp.Err())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(3*many), "ns/record")
}

func BenchmarkLoad(b *testing.B) {
	path := delegations(b, many)
	b.ReportAllocs()
	for b.Loop() {
		res, err := Load(path, origin, Options{}, time.Time{})
		if err != nil || res.Snapshot.Records() != 3*many+3 || len(res.Warnings) > 0 {
			b.Fatal(err, res.Warnings)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(3*many), "ns/record")
}

// signed writes a zone of n addresses, with an NSEC chain and RRSIGs that look like
// those of a zone with one key.
func signed(tb testing.TB, n int) string {
	path := filepath.Join(tb.TempDir(), "signed.zone")
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	w := bufio.NewWriter(f)
	key := strings.Repeat("AAAA", 10) + "AAA="
	rr, err := dns.NewRR("@ DNSKEY 257 3 15 " + key)
	if err != nil {
		tb.Fatal(err)
	}
	sign := func(owner, typ string, labels int) {
		fmt.Fprintf(w, "%s RRSIG %s 15 %d 86400 20270101000000 20260101000000 %d @ %sAA==\n", owner, typ, labels, rr.(*dns.DNSKEY).KeyTag(), strings.Repeat("Ab3/", 21))
	}
	fmt.Fprintf(w, "$TTL 86400\n@ SOA ns1.example.net. hostmaster 1 7200 3600 1209600 3600\n@ NS ns1.example.net.\n@ DNSKEY 257 3 15 %s\n@ NSEC d0000000 NS SOA DNSKEY NSEC RRSIG\n", key)
	for _, typ := range []string{"SOA", "NS", "DNSKEY", "NSEC"} {
		sign("@", typ, 2)
	}
	for i := range n {
		owner, next := fmt.Sprintf("d%07d", i), fmt.Sprintf("d%07d", i+1)
		if i == n-1 {
			next = "@"
		}
		fmt.Fprintf(w, "%s A 10.%d.%d.%d\n%s NSEC %s A NSEC RRSIG\n", owner, i>>16&255, i>>8&255, i&255, owner, next)
		sign(owner, "A", 3)
		sign(owner, "NSEC", 3)
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	return path
}

// BenchmarkLoadSigned tells what the checks of signatures cost: "read" is without.
func BenchmarkLoadSigned(b *testing.B) {
	path := signed(b, many)
	for _, c := range []struct {
		name string
		now  time.Time
	}{{"read", time.Time{}}, {"check", now}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				res, err := Load(path, origin, Options{}, c.now)
				if err != nil || res.Snapshot.Records() != 4*many+8 {
					b.Fatal(err)
				}
				for _, w := range res.Warnings {
					if w.Rule != RuleSigWrong { // they are made up
						b.Fatal(w)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(4*many), "ns/record")
		})
	}
}

// TestDelegations reads the zone of the benchmarks in both ways.
func TestDelegations(t *testing.T) {
	path := delegations(t, 1000)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	theirs, ok := byMiekg(file)
	if !ok {
		t.Fatal("miekg/dns refuses the zone")
	}
	i := 0
	if err := Scan(path, origin, func(r *Record) error {
		if ours := (line{string(r.Owner), r.Type, r.TTL, string(r.RDATA)}); ours != theirs[i] {
			t.Errorf("%v, miekg/dns %v", show(ours), show(theirs[i]))
		}
		i++
		return nil
	}); err != nil || i != len(theirs) {
		t.Error(i, len(theirs), err)
	}
	res, err := Load(path, dnsname.MustParse("Example.ORG."), Options{Strict: true}, time.Time{})
	if err != nil || res.Snapshot.Records() != len(theirs) {
		t.Error(err)
	}
}
