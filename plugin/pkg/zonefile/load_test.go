package zonefile

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// now is when the signatures of signed zones are to be valid.
var now = time.Date(2026, time.July, 1, 12, 0, 0, 0, time.UTC)

const apex = "$TTL 300\n@ SOA ns1 hostmaster 7 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n"

// load writes files into a folder and loads main.zone of it. Paths come back
// without the folder.
func load(t *testing.T, opt Options, files map[string]string) (res Result, warnings []string, msg string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	res, err := Load(filepath.Join(dir, "main.zone"), origin, opt, now)
	for _, w := range res.Warnings {
		warnings = append(warnings, strings.TrimPrefix(w.String(), dir+"/"))
	}
	for i, f := range res.Files {
		res.Files[i] = strings.TrimPrefix(f, dir+"/")
	}
	if err != nil {
		msg = strings.ReplaceAll(err.Error(), dir+"/", "")
	}
	return res, warnings, msg
}

func TestLoad(t *testing.T) {
	res, warnings, msg := load(t, Options{}, map[string]string{
		"main.zone": apex + "www A 192.0.2.2\n  TXT x\n$INCLUDE more.zone\n",
		"more.zone": "mail MX 10 www\nwww A 192.0.2.3\n",
	})
	if msg != "" {
		t.Fatal(msg)
	}
	same(t, warnings)
	same(t, res.Files, "main.zone", "more.zone")
	s := res.Snapshot
	if s.Origin() != origin || s.Serial() != 7 || s.Records() != 7 {
		t.Errorf("%s, serial %d, %d records", s.Origin(), s.Serial(), s.Records())
	}
	var a zone.Answer
	s.Lookup(&zone.Query{Name: dnsname.MustParse("www.example.org."), Type: rrset.TypeA}, &a)
	if len(a.Answer) != 1 || a.Answer[0].Len() != 2 {
		t.Errorf("%+v", a.Answer)
	}
}

// The place of each warning is that of the record it is about.
func TestLoadWarnings(t *testing.T) {
	files := map[string]string{
		"main.zone": apex + `b CNAME www
b TXT x
sub NS ns.sub
    NS ns2.sub
Ns2.Sub A 192.0.2.5
mail MX 10 ns1
mail MX 20 b
$INCLUDE more.zone other
www A 192.0.2.2
www 60 A 192.0.2.3
www 4294967295 TXT y
`,
		"more.zone": "\n\n  TXT y\nd DNAME example.net.\nx.d A 192.0.2.1\n",
	}
	want := []string{
		"main.zone:6: b.example.org.: CNAME beside other data",
		"main.zone:7: sub.example.org.: name server without address record: ns.sub.example.org.",
		"main.zone:11: mail.example.org.: target is an alias: b.example.org.",
		"main.zone:14: www.example.org.: TTL differs within an RRset: 60, not 300 as the record before",
		"main.zone:15: www.example.org.: TTL above 2147483647 is taken as 0: 4294967295",
		"more.zone:3: mail.example.org.: owner left out after the origin was changed: the origin is now other.example.org.",
		"more.zone:5: x.d.other.example.org.: data below a DNAME",
	}
	res, warnings, msg := load(t, Options{}, files)
	if msg != "" || res.Snapshot == nil {
		t.Error(msg)
	}
	same(t, warnings, want...)

	res, warnings, msg = load(t, Options{Strict: true}, files)
	if res.Snapshot != nil || msg != strings.Join(want, "\n") {
		t.Errorf("strict: %s", msg)
	}
	same(t, warnings, want...)
}

func TestLoadManyWarnings(t *testing.T) {
	lines := apex
	for i := range 2 * maxWarnings {
		lines += fmt.Sprintf("h%d 4294967295 A 192.0.2.1\n", i)
	}
	res, _, msg := load(t, Options{Strict: true}, map[string]string{"main.zone": lines})
	if n := strings.Count(msg, "\n"); n != maxErrors || !strings.HasSuffix(msg, fmt.Sprintf("and %d more warnings", maxWarnings-maxErrors)) {
		t.Errorf("%d lines: %s", n, msg)
	}
	if len(res.Warnings) != maxWarnings {
		t.Errorf("%d warnings", len(res.Warnings))
	}
	var w Warning
	if _, err := Load("nothing", origin, Options{Strict: true}, now); errors.As(err, &w) {
		t.Error("an error is a warning")
	}
}

func TestLoadWarnsOfSOAWithoutTTL(t *testing.T) {
	_, warnings, msg := load(t, Options{}, map[string]string{"main.zone": strings.TrimPrefix(apex, "$TTL 300\n")})
	if msg != "" {
		t.Error(msg)
	}
	same(t, warnings, "main.zone:1: example.org.: no TTL before the SOA record: MINIMUM is taken: 5")
}

func TestLoadErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  Options
		zone string
		is   error
		want string
	}{
		{"no SOA", Options{}, "$TTL 1\n@ NS ns\n", zone.ErrNoSOA, "main.zone: zone: no SOA record at the apex"},
		{"empty file", Options{}, "", zone.ErrNoSOA, "main.zone: zone: no SOA record at the apex"},
		{"two SOAs", Options{}, apex + "@ SOA ns1 hostmaster 8 2 3 4 5\n", zone.ErrManySOA, "main.zone:5: zone: more than one SOA record"},
		{"SOA below the apex", Options{}, apex + "a SOA ns1 hostmaster 8 2 3 4 5\n", zone.ErrSOAPlace, "main.zone:5: record: a.example.org. SOA: SOA record below the apex"},
		{"data of another zone", Options{}, apex + "www.example.net. A 192.0.2.1\n", zone.ErrOutOfZone, "main.zone:5: record: www.example.net. A: owner is not in the zone"},
		{"two records of another zone and a broken one", Options{}, apex + "a.example.net. A 192.0.2.1\nb A x\nc.example.net. A 192.0.2.1\n", zone.ErrOutOfZone, `main.zone:5: record: a.example.net. A: owner is not in the zone
main.zone:6: A: "x" where an IPv4 address must be
main.zone:7: record: c.example.net. A: owner is not in the zone`},
		{"too many NSEC3 iterations", Options{}, apex + "@ NSEC3PARAM 1 0 151 -\n2t7b4g4vsa5smi47k61mv5bv1a22bojr NSEC3 1 0 151 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A\n", zone.ErrIterations, "main.zone:5: zone: NSEC3 with more than 150 iterations"},
		{"limit of records", Options{MaxRecords: 4}, apex + "a A 192.0.2.1\nb A 192.0.2.1\nc A x\n", ErrLimit, "main.zone:6: record: more than 4 records: limit reached"},
		{"limit of records in an RRset", Options{MaxRRset: 2}, apex + "a A 192.0.2.1\na A 192.0.2.2\na A 192.0.2.1\na A 192.0.2.3\na A x\n", ErrLimit, "main.zone:8: record: a.example.org. A: RRset of more than 2 records: limit reached"},
		{"limit of records that do not stand together", Options{MaxRRset: 2}, apex + "a A 192.0.2.1\nb TXT x\na A 192.0.2.2\na A 192.0.2.1\nb A 192.0.2.1\nA A 192.0.2.3\nb A 192.0.2.1\nb A x\n", ErrLimit, "main.zone:5: record: A.example.org. A: RRset of more than 2 records: limit reached"},
		{"limit of records, exceeded at the end", Options{MaxRRset: 2}, apex + "a A 192.0.2.1\na A 192.0.2.2\nb A 192.0.2.1\na A 192.0.2.3\n", ErrLimit, "main.zone:5: record: a.example.org. A: RRset of more than 2 records: limit reached"},
		{"limit of signatures", Options{MaxRRset: 1}, apex + "a RRSIG A 8 1 0 1 0 1 @ AQAB\na RRSIG A 8 1 0 1 0 2 @ AQAB\n", ErrLimit, "main.zone:6: record: a.example.org. RRSIG: RRset of more than 1 records: limit reached"},
		{"limit of signatures that do not stand together", Options{MaxRRset: 1}, apex + "a RRSIG A 8 1 0 1 0 1 @ AQAB\nb A 192.0.2.1\na RRSIG A 8 1 0 1 0 2 @ AQAB\nb A 192.0.2.2\nb A x\n", ErrLimit, "main.zone:5: record: a.example.org. RRSIG: RRset of more than 1 records: limit reached"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "main.zone")
			write(t, path, c.zone)
			res, err := Load(path, origin, c.opt, now)
			if !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
			if err == nil || strings.ReplaceAll(err.Error(), dir+"/", "") != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if res.Snapshot != nil || len(res.Files) != 1 {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestLoadWithinLimits(t *testing.T) {
	if _, _, msg := load(t, Options{Strict: true, MaxRecords: 4, MaxRRset: 2}, map[string]string{
		"main.zone": apex + "ns1 A 192.0.2.2\nns1 A 192.0.2.2\n",
	}); !strings.HasSuffix(msg, "main.zone:6: record: more than 4 records: limit reached") {
		t.Error(msg) // records are counted as they stand in the file
	}
	if _, _, msg := load(t, Options{Strict: true, MaxRecords: 4, MaxRRset: 2}, map[string]string{
		"main.zone": apex + "ns1 A 192.0.2.2\n",
	}); msg != "" {
		t.Error(msg)
	}
}

// A file that is missing is in Files too, so that a watcher notices when it
// comes.
func TestLoadFilesAfterError(t *testing.T) {
	res, _, msg := load(t, Options{}, map[string]string{"main.zone": apex + "$INCLUDE a.zone\n$INCLUDE none.zone\n", "a.zone": "a A x\n"})
	if msg == "" {
		t.Error("no error")
	}
	same(t, res.Files, "main.zone", "a.zone", "none.zone")
}
