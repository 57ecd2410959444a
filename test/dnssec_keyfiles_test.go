package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/secondary"
	"github.com/trustdns/trustdns/test/server/signed"
)

const movedZone = `$TTL 300
@ 300 IN SOA ns1 hostmaster 10 7200 3600 1209600 300
@ 300 NS ns1
ns1 300 A 192.0.2.53
www 300 A 192.0.2.1
*.wild.ent 300 TXT wild
cut 300 NS ns.cut
ns.cut 300 A 192.0.2.2
`

// keygen has BIND make a key in a folder.
func keygen(t *testing.T, folder, zone, algorithm string, args ...string) {
	t.Helper()
	if algorithm == "RSASHA256" {
		args = append(args, "-b", "2048")
	}
	args = append([]string{"-q", "-a", algorithm, "-K", folder}, append(args, zone)...)
	if out, err := exec.Command("dnssec-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// axfr takes a zone, which must be there.
func axfr(t *testing.T, s *server.Server, zone string) []dns.RR {
	t.Helper()
	a, err := (&secondary.Client{Addr: s.Addr.String(), Zone: zone, LaxAA: true}).AXFR()
	if err != nil {
		t.Fatal(err)
	}
	return a.Records
}

// filesIn gives the names of the key files of a zone.
func filesIn(t *testing.T, folder, zone string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "K"+zone+"+") {
			names = append(names, e.Name())
		}
	}
	return names
}

// keysIn gives the DNSKEY records in the key files of a zone, as signed.DNSKEYs does.
func keysIn(t *testing.T, folder, zone string) []string {
	t.Helper()
	var rrs []dns.RR
	for _, name := range filesIn(t, folder, zone) {
		if !strings.HasSuffix(name, ".key") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		rr, err := dns.ReadRR(bytes.NewReader(text), name)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	return signed.DNSKEYs(rrs, zone)
}

// Keys of dnssec-keygen, one or two for each algorithm, are those that their zones are signed with, and no others are made. Where there are
// none they are made, for the owner alone to read.
func TestKeyFiles(t *testing.T) {
	t.Parallel()
	server.Require(t, append(signed.Verifiers, "dnssec-keygen")...)
	dir := t.TempDir()
	folder := filepath.Join(dir, "keys")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "zone"), movedZone)
	var b strings.Builder
	var zones []string
	for _, alg := range []string{"RSASHA256", "ECDSAP256SHA256", "ECDSAP384SHA384", "ED25519"} {
		for _, split := range []bool{false, true} {
			for _, made := range []bool{false, true} {
				zone := fmt.Sprintf("made-%v.split-%v.%s.example.", made, split, strings.ToLower(alg))
				setting := ""
				if split {
					setting = "split 0 0"
				}
				switch {
				case made:
				case split:
					keygen(t, folder, zone, alg)
					fallthrough
				default:
					keygen(t, folder, zone, alg, "-f", "KSK")
				}
				zones = append(zones, zone)
				fmt.Fprintf(&b, "authority %s {\nfile zone\nstore data\ntransfer net 127.0.0.1\ndnssec {\nkeys keys\nalgorithm %s\n%s\n}\n}\n", zone, alg, setting)
			}
		}
	}
	before := make(map[string][]string)
	for _, z := range zones {
		before[z] = keysIn(t, folder, z)
	}
	s := server.StartOurs(t, fmt.Sprintf("example:%s {\n bind 127.0.0.1\n root %s\n%s}\n", server.Port, dir, &b), zones...)
	for _, z := range zones {
		rrs := axfr(t, s, z) // signed from the first version on
		split := strings.Contains(z, "split-true")
		count := 1
		if split {
			count = 2
		}
		now := keysIn(t, folder, z)
		if before := before[z]; len(before) > 0 && !slices.Equal(before, now) {
			t.Errorf("%s: %d key files of %d", z, len(now), len(before))
		}
		if got := signed.DNSKEYs(rrs, z); !slices.Equal(got, now) || len(got) != count {
			t.Errorf("%s: keys %q, in files %q", z, got, now)
		}
		for _, name := range filesIn(t, folder, z) {
			info, err := os.Stat(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			if mode := info.Mode().Perm(); strings.HasSuffix(name, ".private") && mode != 0o600 {
				t.Errorf("%s: mode %o", name, mode)
			}
		}
		keys, err := signed.Keys(folder, z, nil)
		if err == nil {
			err = signed.SameAsAnew(rrs, z, keys, denials[0].policy)
		}
		if err == nil {
			err = signed.Verify(dir, z, rrs)
		}
		if err != nil {
			t.Errorf("%s: %v", z, err)
		}
	}
	if strings.Contains(s.Log(), "[ERROR]") || strings.Contains(s.Log(), "PrivateKey") {
		t.Errorf("the log:\n%.4000s", s.Log())
	}
}

// K8: a key file that is gone at a start: the last version is served, no key is made, updates fail, and log and metric tell; until the
// file is there again.
func TestKeyFileGone(t *testing.T) { bothWays(t, testKeyFileGone) }

func testKeyFileGone(t *testing.T, start starter) {
	const zone = "example.org."
	dir := t.TempDir()
	folder := filepath.Join(dir, "keys")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "zone"), movedZone)
	metrics := freePort(t)
	s := start(t, block(dir, fmt.Sprintf("authority {\nfile zone\nstore data\ntransfer net 127.0.0.1\ndnssec {\nkeys keys\n}\n}\nupdate {\ngrant all.test. zonesub ANY\n}\nkeys {\n%s}\nprometheus 127.0.0.1:%d",
		tsigLine(allKey), metrics)), zone)
	update := func(line string) string {
		r := sendUpdate(t, "tcp", s.Addr.String(), updating(t, zone, line), allKey)
		return dns.RcodeToString[r.Rcode]
	}
	if got := update("add one 60 A 192.0.2.9"); got != "NOERROR" {
		t.Fatal(got)
	}
	before := axfr(t, s, zone)
	s.Stop()
	names := filesIn(t, folder, zone)
	private := filepath.Join(folder, names[slices.IndexFunc(names, func(n string) bool { return strings.HasSuffix(n, ".private") })])
	if err := os.Rename(private, private+".away"); err != nil {
		t.Fatal(err)
	}
	s.Restart(t)
	logged := len(s.Log())
	if d := differ(t, before, axfr(t, s, zone)); d != "" {
		t.Errorf("with the key file gone: %s", d)
	}
	if got := update("add two 60 A 192.0.2.9"); got != "SERVFAIL" {
		t.Errorf("an update: %s", got)
	}
	if d := differ(t, before, axfr(t, s, zone)); d != "" {
		t.Errorf("after an update with the key file gone: %s", d)
	}
	if n := metricOf(t, metrics, "coredns_authority_dnssec_errors_total"); n < 1 {
		t.Errorf("%v errors counted", n)
	}
	if log := s.Log(); !strings.Contains(log, filepath.Base(private)) || !strings.Contains(log, "is gone") || !strings.Contains(log, "stays in service") {
		t.Errorf("the log does not name the file:\n%s", log[max(0, logged-3000):])
	}
	if now := filesIn(t, folder, zone); len(now) != len(names) {
		t.Errorf("files of keys: %q, before %q", now, names)
	}
	if err := os.Rename(private+".away", private); err != nil {
		t.Fatal(err)
	}
	if got := update("add two 60 A 192.0.2.9"); got != "NOERROR" {
		t.Errorf("an update with the file there again: %s", got)
	}
	if r := askSigned(s, "two."+zone); r == nil || len(r.Answer) != 2 {
		t.Errorf("an answer with the file there again: %v", r)
	}
	after := axfr(t, s, zone)
	if !slices.Equal(signed.DNSKEYs(before, zone), signed.DNSKEYs(after, zone)) || len(signed.Records(after, "two."+zone, dns.TypeRRSIG)) == 0 {
		t.Errorf("with the file there again:\n%v", after)
	}
	if err := signed.Hold(after, signed.Records(after, zone, dns.TypeDNSKEY), time.Now()); err != nil {
		t.Error(err)
	}
}

// differ tells in what a zone differs from another.
func differ(t *testing.T, a, b []dns.RR) string {
	t.Helper()
	from, err := secondary.NewVersion(a)
	if err != nil {
		t.Fatal(err)
	}
	to, err := secondary.NewVersion(b)
	if err != nil {
		t.Fatal(err)
	}
	return to.Difference(from)
}

// moved takes a zone over that another has signed, as in its records and in key files, and looks whether a validator can notice.
func moved(t *testing.T, zone, settings, dir string, before []dns.RR) {
	t.Helper()
	folder := filepath.Join(dir, "keys")
	files := filesIn(t, folder, zone)
	s := server.StartOurs(t, fmt.Sprintf("%s:%s {\n bind 127.0.0.1\n root %s\n authority {\n  file zone\n  store data\n  transfer net 127.0.0.1\n  dnssec {\n   keys keys\n%s\n  }\n }\n keys {\n%s }\n update {\n  grant all.test. zonesub ANY\n }\n}\n",
		zone, server.Port, dir, settings, tsigLine(allKey)), zone)
	old := signed.Records(before, zone, dns.TypeDNSKEY)
	for _, line := range []string{"", "add new 60 TXT here"} {
		if line != "" {
			if r := sendUpdate(t, "tcp", s.Addr.String(), updating(t, zone, line), allKey); r.Rcode != dns.RcodeSuccess {
				t.Fatalf("%v; the log:\n%s", r, s.Log())
			}
		}
		after := axfr(t, s, zone)
		now := signed.Records(after, zone, dns.TypeDNSKEY)
		if want, got := signed.DNSKEYs(before, zone), signed.DNSKEYs(after, zone); !slices.Equal(want, got) {
			t.Errorf("%s: keys %q, before %q; the log:\n%s", zone, got, want, s.Log())
		}
		for what, err := range map[string]error{
			"signatures of before with keys of now": signed.Hold(before, now, time.Now()), "signatures of now with keys of before": signed.Hold(after, old, time.Now()),
			"the verifiers": signed.Verify(dir, zone, after),
		} {
			if err != nil {
				t.Errorf("%s: %s: %v", zone, what, err)
			}
		}
		if line == "" {
			data := slices.DeleteFunc(signed.Data(before), func(rr dns.RR) bool { return rr.Header().Rrtype == 65534 }) // named's notes
			for i, rr := range data {
				if soa, ok := rr.(*dns.SOA); ok { // which others may have with other signatures
					soa = dns.Copy(soa).(*dns.SOA)
					soa.Serial++
					data[i] = soa
				}
			}
			if d := differ(t, data, signed.Data(after)); d != "" {
				t.Errorf("%s: the data: %s", zone, d)
			}
		}
	}
	if now := filesIn(t, folder, zone); !slices.Equal(now, files) {
		t.Errorf("%s: files %q, before %q", zone, now, files)
	}
	if strings.Contains(s.Log(), "[ERROR]") {
		t.Errorf("the log:\n%.4000s", s.Log())
	}
}

// A zone that named has signed by a policy of its own moves with its key files, also in the middle of what named does with a new zone.
func TestMoveFromBIND(t *testing.T) {
	t.Parallel()
	server.Require(t, append(signed.Verifiers, "named", "named-compilezone")...)
	dir := t.TempDir()
	cases := []struct{ zone, policy, settings string }{
		{"csk.example.", "default", ""},
		{"split.example.", "split", "algorithm 15\nsplit 0 0\nnsec3"},
		{"rsa.example.", "rsa", "algorithm 8\nsplit 0 0"},
	}
	var zones []string
	for _, c := range cases {
		zones = append(zones, c.zone)
		write(t, filepath.Join(dir, c.zone, "named"), movedZone)
		if err := os.Mkdir(filepath.Join(dir, c.zone, "keys"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	named := server.StartProgram(t, server.Program{Name: "named", Zones: zones, Prepare: func(folder string, port int) ([]string, error) {
		var b strings.Builder
		fmt.Fprintf(&b, `options { directory %q; pid-file none; session-keyfile none; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; notify no; allow-transfer { any; }; dnssec-validation no; };
controls { };
dnssec-policy split { keys { ksk lifetime unlimited algorithm ed25519; zsk lifetime unlimited algorithm ed25519; }; nsec3param iterations 0 optout no salt-length 0; };
dnssec-policy rsa { keys { ksk lifetime unlimited algorithm rsasha256 2048; zsk lifetime unlimited algorithm rsasha256 2048; }; };
`, folder, port)
		for _, c := range cases {
			own := filepath.Join(dir, c.zone)
			fmt.Fprintf(&b, "zone %q { type primary; file %q; key-directory %q; dnssec-policy %s; inline-signing yes; };\n", c.zone, filepath.Join(own, "named"), filepath.Join(own, "keys"), c.policy)
		}
		conf := filepath.Join(folder, "named.conf")
		return []string{"-g", "-n", "1", "-c", conf}, os.WriteFile(conf, []byte(b.String()), 0o644)
	}})
	before := make(map[string][]dns.RR)
	for _, c := range cases {
		waitFor(t, c.zone+" signed by named", func() bool {
			before[c.zone] = axfr(t, named, c.zone)
			return signed.Verify(t.TempDir(), c.zone, before[c.zone]) == nil
		})
	}
	named.Stop()
	for _, c := range cases {
		own := filepath.Join(dir, c.zone)
		if out := run(t, "", "bash", "-c", "cd \"$0\" && named-compilezone -q -f raw -j -o - "+c.zone+" named.signed | grep -v TYPE65534 >zone", own); out != "" {
			t.Fatal(out)
		}
		moved(t, c.zone, c.settings, own, before[c.zone])
	}
}

var shellScript = regexp.MustCompile("(?s)```sh\n(.*?)```")

// A zone that knotd has signed moves with its keys, as docs/OPERATIONS.md says.
func TestMoveFromKnot(t *testing.T) {
	t.Parallel()
	server.Require(t, append(signed.Verifiers, "knotd", "keymgr", "openssl")...)
	text, err := os.ReadFile("../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	var script string
	for _, m := range shellScript.FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(m[1], "keymgr") {
			script = m[1]
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "knot-keys"), script)
	cases := []struct{ zone, policy, settings string }{
		{"p256.example.", "algorithm: ecdsap256sha256", "split 0 0"},
		{"p384.example.", "algorithm: ecdsap384sha384\n    single-type-signing: on", "algorithm 14"},
		{"ed.example.", "algorithm: ed25519\n    nsec3: on\n    nsec3-iterations: 0\n    nsec3-salt-length: 0", "algorithm 15\nsplit 0 0\nnsec3"},
		{"rsa.example.", "algorithm: rsasha256", "algorithm 8\nsplit 0 0"},
	}
	var zones []string
	for _, c := range cases {
		zones = append(zones, c.zone)
		write(t, filepath.Join(dir, c.zone, "knot"), movedZone)
		if err := os.Mkdir(filepath.Join(dir, c.zone, "keys"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "knot.conf")
	knotd := server.StartProgram(t, server.Program{Name: "knotd", Zones: zones, Prepare: func(folder string, port int) ([]string, error) {
		var b strings.Builder
		fmt.Fprintf(&b, "server:\n    rundir: %[1]q\n    listen: 127.0.0.1@%[2]d\nlog:\n  - target: stderr\n    any: info\ndatabase:\n    storage: %[1]q\nacl:\n  - id: all\n    address: 127.0.0.0/8\n    action: transfer\npolicy:\n", folder, port)
		for i, c := range cases {
			fmt.Fprintf(&b, "  - id: p%d\n    %s\n", i, c.policy)
		}
		b.WriteString("zone:\n")
		for i, c := range cases {
			fmt.Fprintf(&b, "  - domain: %q\n    file: %q\n    acl: all\n    dnssec-signing: on\n    dnssec-policy: p%d\n    zonefile-sync: -1\n    zonefile-load: difference\n    journal-content: all\n", c.zone, filepath.Join(dir, c.zone, "knot"), i)
		}
		return []string{"-c", conf}, os.WriteFile(conf, []byte(b.String()), 0o644)
	}})
	before := make(map[string][]dns.RR)
	for _, c := range cases {
		waitFor(t, c.zone+" signed by knotd", func() bool {
			before[c.zone] = axfr(t, knotd, c.zone)
			return signed.Verify(t.TempDir(), c.zone, before[c.zone]) == nil
		})
		if err := signed.Write(filepath.Join(dir, c.zone, "zone"), before[c.zone]); err != nil {
			t.Fatal(err)
		}
	}
	knotd.Stop()
	for _, c := range cases {
		own := filepath.Join(dir, c.zone)
		if out := run(t, "", "bash", filepath.Join(dir, "knot-keys"), conf, filepath.Join(knotd.Dir, "keys", "keys"), c.zone, filepath.Join(own, "keys")); out != "" {
			t.Fatalf("the script says %s", out)
		}
		moved(t, c.zone, c.settings, own, before[c.zone])
	}
}
