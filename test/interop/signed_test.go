package interop

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/trustdns/trustdns/test/server"
)

// TestSignedZones checks that the signed zones are what their script makes of their sources, and that they are valid.
func TestSignedZones(t *testing.T) {
	server.Require(t, "dnssec-signzone", "ldns-verify-zone")
	const zones = "../testdata/zones"
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(zones)); err != nil {
		t.Fatal(err)
	}
	signed := []string{"nsec.example.zone", "nsec3.example.zone", "optout.example.zone", "root/root.zone"}
	for _, name := range signed {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("sh", filepath.Join(dir, "unsigned", "sign.sh")).CombinedOutput(); err != nil {
		t.Fatalf("sign.sh: %v\n%s", err, out)
	}
	for _, name := range signed {
		made, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		kept, err := os.ReadFile(filepath.Join(zones, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made, kept) {
			t.Errorf("%s is not what unsigned/sign.sh writes", name)
		}
		if out, err := exec.Command("ldns-verify-zone", filepath.Join(zones, name)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
