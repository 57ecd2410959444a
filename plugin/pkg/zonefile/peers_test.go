package zonefile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/test/server"
)

func TestMain(m *testing.M) { server.Main(m) }

// unsignedZones are zones of many odd names.
var unsignedZones = map[string]string{"nsec.example.": zones + "unsigned/nsec.example.zone", ".": zones + "unsigned/root.zone"}

// newKeys makes keys of a zone in a folder, and gives their paths.
func newKeys(t *testing.T, dir string, origin dnsname.Name, alg signer.Algorithm, roles ...signer.Role) (paths []string) {
	t.Helper()
	for _, role := range roles {
		k, err := signer.Generate(origin, alg, role)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.WriteFiles(dir, time.Now().AddDate(-1, 0, 0)); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.Join(dir, k.FileName()))
	}
	return paths
}

// strictly loads what others have signed, which must have no findings.
func strictly(t *testing.T, path string, origin dnsname.Name) {
	t.Helper()
	res, err := Load(path, origin, Options{Strict: true}, time.Now())
	if err != nil {
		t.Error(err)
		return
	}
	// That there is nothing to find is not because it is not signed.
	if problems := res.Snapshot.CheckSignatures(time.Now().AddDate(1, 0, 0)); len(problems) < 10 {
		t.Errorf("a year later: %v", problems)
	}
}

// Zones that dnssec-signzone has signed have no findings.
func TestOfBIND(t *testing.T) {
	server.Require(t, "dnssec-signzone")
	for name, file := range unsignedZones {
		for _, tc := range []struct {
			name  string
			alg   signer.Algorithm
			roles []signer.Role
			args  []string
		}{
			{"NSEC", signer.ECDSAP256SHA256, []signer.Role{signer.KSK, signer.ZSK}, nil},
			{"NSEC, one key", signer.ED25519, []signer.Role{signer.KSK}, []string{"-z"}},
			{"NSEC3", signer.RSASHA256, []signer.Role{signer.KSK, signer.ZSK}, []string{"-3", "-"}},
			{"NSEC3, salt, two keys of each kind", signer.ECDSAP384SHA384, []signer.Role{signer.KSK, signer.ZSK, signer.KSK, signer.ZSK}, []string{"-3", "beef", "-H", "0"}},
			{"opt-out", signer.ED25519, []signer.Role{signer.KSK, signer.ZSK}, []string{"-3", "-", "-A"}},
			{"DNSKEY signed by KSKs alone", signer.ED25519, []signer.Role{signer.KSK, signer.ZSK}, []string{"-x"}},
		} {
			t.Run(name+" "+tc.name, func(t *testing.T) {
				dir := t.TempDir()
				origin := dnsname.MustParse(name)
				newKeys(t, dir, origin, tc.alg, tc.roles...)
				out := filepath.Join(dir, "signed")
				args := append([]string{"-q", "-S", "-K", dir, "-d", dir, "-o", name, "-f", out}, tc.args...)
				if text, err := exec.Command("dnssec-signzone", append(args, file)...).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
				strictly(t, out, origin)
			})
		}
	}
}

// Zones that ldns-signzone has signed have no findings.
func TestOfLDNS(t *testing.T) {
	server.Require(t, "ldns-signzone")
	for name, file := range unsignedZones {
		for _, args := range [][]string{nil, {"-n", "-t", "0"}, {"-n", "-p", "-t", "0"}} {
			t.Run(fmt.Sprint(name, args), func(t *testing.T) {
				dir := t.TempDir()
				origin := dnsname.MustParse(name)
				keys := newKeys(t, dir, origin, signer.ECDSAP256SHA256, signer.KSK, signer.ZSK)
				out := filepath.Join(dir, "signed")
				args := append(args, "-o", name, "-f", out, file)
				if text, err := exec.Command("ldns-signzone", append(args, keys...)...).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
				strictly(t, out, origin)
			})
		}
	}
}

// Zones that knotd has signed have no findings.
func TestOfKnot(t *testing.T) {
	server.Require(t, "knotd")
	for _, tc := range []struct{ name, policy string }{
		{"NSEC", "nsec3: off"},
		{"NSEC, one key", "single-type-signing: on"},
		{"NSEC3", "nsec3: on\n    nsec3-iterations: 0"},
		{"opt-out", "nsec3: on\n    nsec3-opt-out: on\n    nsec3-iterations: 0\n    nsec3-salt-length: 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := map[string]string{}
			dir := t.TempDir()
			conf := "policy:\n  - id: p\n    " + tc.policy + "\nzone:\n"
			var names []string
			for name, file := range unsignedZones {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				files[name] = filepath.Join(dir, fmt.Sprint(len(files)))
				write(t, files[name], string(text))
				conf += fmt.Sprintf("  - domain: %q\n    file: %q\n    zonefile-sync: 0\n    semantic-checks: off\n    dnssec-signing: on\n    dnssec-policy: p\n", name, files[name])
				names = append(names, name)
			}
			s := server.StartProgram(t, server.Program{
				Name: "knotd", Zones: names,
				Prepare: func(dir string, port int) ([]string, error) {
					text := fmt.Sprintf("server:\n    rundir: %[1]q\n    listen: 127.0.0.1@%[2]d\nlog:\n  - target: stderr\n    any: info\ndatabase:\n    storage: %[1]q\n", dir, port) + conf
					path := filepath.Join(dir, "knot.conf")
					return []string{"-c", path}, os.WriteFile(path, []byte(text), 0o600)
				},
			})
			for name, path := range files {
				server.WaitFor(t, func() string { return name + " signed in its file:\n" + s.Log() }, func() bool {
					text, err := os.ReadFile(path) // is replaced as a whole
					return err == nil && strings.Contains(string(text), "RRSIG")
				})
				strictly(t, path, dnsname.MustParse(name))
			}
		})
	}
}
