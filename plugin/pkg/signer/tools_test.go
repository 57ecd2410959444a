package signer_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/test/server"
)

func TestMain(m *testing.M) { server.Main(m) }

// write writes a zone to a master file.
func write(t *testing.T, path string, s *zone.Snapshot) {
	t.Helper()
	var b strings.Builder
	for set := range s.All() {
		for _, rr := range rrset.AppendRRs(rrset.AppendRRs(nil, set.Owner.String(), set.RRset), set.Owner.String(), set.Sigs) {
			fmt.Fprintln(&b, rr)
		}
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOthersVerify has the verifiers of others look at zones that were edited and
// signed again and again.
func TestOthersVerify(t *testing.T) {
	server.Require(t, "ldns-verify-zone", "dnssec-verify")
	now := time.Now() // dnssec-verify takes no other
	dir := t.TempDir()
	for _, mode := range modes {
		for seed := range uint64(8) {
			origin := dnsname.MustParse("example.")
			alg := algorithms[seed%4]
			k := testKeys(t, origin, alg)
			uses := inUse(k[0])
			if seed >= 4 {
				uses = inUse(k[1:]...)
			}
			s := newSigner(t, origin, mode.policy, uses...)
			e := &editor{rand.New(rand.NewPCG(seed, 5155)), origin, true}
			snap, _, _ := version(t, s, unsigned(t, origin), now, nil, nil)
			for i := range 40 {
				snap, _, _ = version(t, s, snap, now, nil, func(txn *zone.Txn) {
					for range e.IntN(6) {
						e.edit(txn)
					}
				})
				if i%5 != 4 {
					continue
				}
				path := filepath.Join(dir, fmt.Sprintf("%s-%d-%d.zone", mode.name, seed, i))
				write(t, path, snap)
				keys := "-q" // a KSK and a ZSK
				if len(uses) == 1 {
					keys = "-z" // a CSK
				}
				commands := [][]string{{"dnssec-verify", keys, "-o", origin.String(), path}}
				if !mode.policy.OptOut { // it takes delegations that are left out for a fault
					commands = append(commands, []string{"ldns-verify-zone", path})
				}
				for _, command := range commands {
					if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
						text, readErr := os.ReadFile(path)
						if readErr != nil {
							t.Fatal(readErr)
						}
						t.Fatalf("%s, seed %d, version %d: %s: %v\n%s\n%s", mode.name, seed, i, command[0], err, out, text)
					}
				}
			}
		}
	}
}

// TestOthersKeys reads the keys that BIND's dnssec-keygen makes, and has BIND's
// dnssec-dsfromkey and dnssec-signzone read ours.
func TestOthersKeys(t *testing.T) {
	server.Require(t, "dnssec-keygen", "dnssec-dsfromkey", "dnssec-signzone")
	for _, name := range []string{"example.org.", ".", `a\/b.x\.y.example.`} {
		origin := dnsname.MustParse(name)
		for _, alg := range algorithms {
			dir := t.TempDir()
			for _, args := range [][]string{nil, {"-f", "KSK"}} {
				command := append([]string{"-q", "-a", alg.String(), "-K", dir}, args...)
				if alg == signer.RSASHA256 {
					command = append(command, "-b", "2048")
				}
				out, err := exec.Command("dnssec-keygen", append(command, name)...).Output()
				if err != nil {
					t.Fatal(err)
				}
				base := filepath.Join(dir, strings.TrimSpace(string(out)))
				k, err := signer.ReadFiles(base)
				if err != nil {
					t.Fatal(err)
				}
				if k.Algorithm() != alg || k.Zone() != origin || (k.Role() == signer.KSK) != (args != nil) || k.FileName() != filepath.Base(base) {
					t.Errorf("%s: %s, %s, %s", base, k, k.Role(), k.FileName())
				}
				copies := t.TempDir() // what we write of it is what they wrote, but for times
				if err := k.WriteFiles(copies, start); err != nil {
					t.Fatal(err)
				}
				if got, want := untimed(t, filepath.Join(copies, k.FileName()+".private")), untimed(t, base+".private"); got != want {
					t.Errorf("%s:\n%s\nwritten again\n%s", base, want, got)
				}
			}
			for _, k := range testKeys(t, origin, alg)[1:] {
				if err := k.WriteFiles(dir, start); err != nil {
					t.Fatal(err)
				}
				out, err := exec.Command("dnssec-dsfromkey", "-2", filepath.Join(dir, k.FileName())).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if got := strings.ToLower(string(out)); !strings.Contains(got, fmt.Sprintf(" ds %d %d 2 %x", k.Tag(), k.Algorithm(), k.DS()[4:])) {
					t.Errorf("%s: %s", k, out)
				}
			}
		}
	}
}

// TestBINDSigns has dnssec-signzone sign with keys of ours, and verify.
func TestBINDSigns(t *testing.T) {
	server.Require(t, "dnssec-signzone")
	origin := dnsname.MustParse("example.")
	for _, alg := range algorithms {
		dir := t.TempDir()
		path := filepath.Join(dir, "zone")
		write(t, path, unsigned(t, origin))
		args := []string{"-K", dir, "-d", dir, "-S", "-o", "example.", "-f", path + ".signed", path}
		for _, k := range testKeys(t, origin, alg)[1:] {
			if err := k.WriteFiles(dir, start.AddDate(-10, 0, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := exec.Command("dnssec-signzone", args...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", alg, err, out)
		}
	}
}

// untimed gives a private key file without its times, and numbers without the zeros
// in front that some versions of BIND leave out.
func untimed(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Created" || name == "Publish" || name == "Activate" {
			continue
		}
		if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value)); err == nil {
			line = fmt.Sprintf("%s: %x\n", name, bytes.TrimLeft(b, "\x00"))
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}
