package test

import (
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/secondary"
	"github.com/trustdns/trustdns/test/server/signed"
)

var transactions = flag.Int("transactions", 80, "how many random transactions each of three signed zones sees by UPDATE, and a fourth of that three others by edits of their files")

// denials are the ways to deny existence: as settings of dnssec, and as what they mean.
var denials = []struct {
	name, setting string
	policy        signer.Policy
}{
	{"NSEC", "", signer.Policy{}},
	{"NSEC3", "nsec3", signer.Policy{NSEC3: true}},
	{"opt-out", "nsec3 opt_out", signer.Policy{NSEC3: true, OptOut: true}},
}

// A signedZone is one that is changed again and again.
type signedZone struct {
	*signedEditor
	keys      string // how they are to be
	updated   bool   // by UPDATE; else by edits of its file
	denial    int    // in denials
	file      string
	client    *secondary.Client
	seen      map[uint32]*secondary.Version
	serials   []uint32
	folder    string // of key files
	addr, dir string
}

// corefileOf gives a Corefile that keeps zones signed.
func corefileOf(dir string, zones []*signedZone) string {
	var b strings.Builder
	for _, z := range zones {
		fmt.Fprintf(&b, "%s:%s {\n bind 127.0.0.1\n root %s\n authority {\n  file %s\n  store data\n  transfer net 127.0.0.0/8\n  dnssec {\n   keys keys\n   %s\n   %s\n  }\n }\n",
			z.origin, server.Port, dir, filepath.Base(z.file), strings.ReplaceAll(z.keys, ";", "\n   "), denials[z.denial].setting)
		if z.updated {
			fmt.Fprintf(&b, " keys {\n  %s }\n update {\n  grant all.test. zonesub ANY\n }\n", tsigLine(allKey))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// U1 to U11, S13, S16: whatever an UPDATE or an edited file does to a signed zone, after each transaction the verifiers of
// others find it well signed, it is what signing it from nothing makes of it, its data are what they should be, and IXFR from
// versions before leads to it. In the middle each zone changes to another way to deny existence.
func TestSignedTransactions(t *testing.T) {
	t.Parallel()
	server.Require(t, signed.Verifiers...)
	dir := t.TempDir()
	var zones []*signedZone
	var origins []string
	for i, keys := range []string{"algorithm 13", "algorithm 15;split 0 0", "algorithm 8", "algorithm 14;split 0 0", "algorithm 13", "algorithm 15;cds off"} {
		origin := fmt.Sprintf("z%d.signed.example.", i)
		z := &signedZone{
			signedEditor: newSignedEditor(t, origin, uint64(i), false), keys: keys, updated: i < len(denials), denial: i % len(denials),
			file: filepath.Join(dir, fmt.Sprintf("z%d.zone", i)), seen: make(map[uint32]*secondary.Version), folder: filepath.Join(dir, "keys"), dir: t.TempDir(),
		}
		write(t, z.file, z.text())
		zones, origins = append(zones, z), append(origins, origin)
	}
	write(t, filepath.Join(dir, "keys", "README"), "keys")
	s := server.StartOurs(t, corefileOf(dir, zones), origins...)
	for _, z := range zones {
		z.addr = s.Addr.String()
		z.client = &secondary.Client{Addr: z.addr, Zone: z.origin}
	}
	half := func(name string, n int) {
		t.Run(name, func(t *testing.T) {
			for i, z := range zones {
				t.Run(fmt.Sprintf("%s %s %v", denials[z.denial].name, z.keys, map[bool]string{true: "update", false: "file"}[z.updated]), func(t *testing.T) {
					t.Parallel()
					z.look(t, false)
					rounds := n
					if !z.updated { // files are looked at once a second
						rounds = (n + 3) / 4
					}
					for range rounds {
						z.transaction(t)
					}
					t.Logf("zone %d: %d versions, %d records", i, len(z.serials), z.seen[z.serials[len(z.serials)-1]].Len())
				})
			}
		})
	}
	half("before", *transactions/2)
	if t.Failed() {
		return
	}
	for _, z := range zones {
		z.denial = (z.denial + 1) % len(denials)
	}
	put(t, filepath.Join(s.Dir, "Corefile"), strings.ReplaceAll(corefileOf(dir, zones), server.Port, fmt.Sprint(s.Addr.Port())))
	reloadWith(t, s, reloaded)
	for _, z := range zones {
		waitFor(t, z.origin+" by the other policy", func() bool { return z.signedBy(t) })
	}
	half("after", (*transactions+1)/2)
	if log := s.Log(); strings.Contains(log, "panic") || strings.Contains(log, "[ERROR]") {
		t.Errorf("the log:\n%.5000s", log)
	}
}

// signedBy tells whether the zone is signed by its policy.
func (z *signedZone) signedBy(t *testing.T) bool {
	t.Helper()
	a, err := z.client.AXFR()
	if err != nil {
		t.Fatal(err)
	}
	param := signed.Records(a.Records, z.origin, dns.TypeNSEC3PARAM)
	if (len(param) > 0) != denials[z.denial].policy.NSEC3 {
		return false
	}
	for _, rr := range a.Records {
		if n, ok := rr.(*dns.NSEC3); ok && (n.Flags&1 != 0) != denials[z.denial].policy.OptOut {
			return false
		}
	}
	return true
}

// transaction changes the zone, and looks at what it has become.
func (z *signedZone) transaction(t *testing.T) {
	t.Helper()
	before, soa, last := maps.Clone(z.sets), z.soa, z.serials[len(z.serials)-1]
	for range 1 + z.IntN(5) {
		z.edit(t)
	}
	if !z.updated {
		if next := *z.soa; z.IntN(2) == 0 {
			next.Serial += z.Uint32N(3)
			z.soa = &next
		}
		put(t, z.file, z.text())
		z.look(t, true)
		return
	}
	m := z.update(before, soa, last+1)
	if len(m.Ns) == 0 {
		return
	}
	network := []string{"udp", "tcp"}[z.IntN(2)]
	if m.Len() > 300 { // with its signature, it may be more than the server reads of a datagram
		network = "tcp"
	}
	if r := sendUpdate(t, network, z.addr, m, allKey); r.Rcode != dns.RcodeSuccess {
		t.Fatalf("%v\nfor\n%v", r, m)
	}
	z.look(t, false)
	if now := z.serials[len(z.serials)-1]; now != last+1 { // U1
		t.Errorf("serial %d after %d for\n%v", now, last, m)
	}
}

// look takes the zone, and IXFR from versions before, and checks all of it. With wait the zone comes to have its data.
func (z *signedZone) look(t *testing.T, wait bool) {
	t.Helper()
	want, err := secondary.NewVersion(z.records())
	if err != nil {
		t.Fatal(err)
	}
	var a *secondary.Answer
	difference := ""
	same := func() bool {
		if a, err = z.client.AXFR(); err != nil {
			t.Fatal(err)
		}
		got, err := secondary.NewVersion(signed.Data(a.Records))
		if err != nil {
			t.Fatal(err)
		}
		difference = got.Under(want.Serial).Difference(want)
		return difference == ""
	}
	if !wait {
		if !same() {
			t.Fatalf("the data: %s", difference)
		}
	} else {
		server.WaitFor(t, func() string { return "the data of the file: " + difference }, same)
	}
	version, err := secondary.NewVersion(a.Records)
	if err != nil {
		t.Fatal(err)
	}
	if old := z.seen[version.Serial]; old != nil {
		if d := version.Difference(old); d != "" {
			t.Fatalf("two versions with serial %d: %s", version.Serial, d)
		}
	} else {
		z.seen[version.Serial] = version
		z.serials = append(z.serials, version.Serial)
	}
	keys, err := signed.Keys(z.folder, z.origin, a.Records)
	if err != nil {
		t.Fatal(err)
	}
	if err := signed.SameAsAnew(a.Records, z.origin, keys, denials[z.denial].policy); err != nil {
		t.Fatalf("serial %d: %v", version.Serial, err)
	}
	if err := signed.Verify(z.dir, z.origin, a.Records); err != nil {
		t.Fatalf("serial %d: %v", version.Serial, err)
	}
	for _, serial := range []uint32{z.serials[max(0, len(z.serials)-2)], z.serials[z.IntN(len(z.serials))]} {
		if err := z.follows(serial, version); err != nil {
			t.Fatalf("IXFR from %d: %v", serial, err)
		}
	}
}

// follows tells why IXFR from a version before does not lead to the present one: U9.
func (z *signedZone) follows(serial uint32, version *secondary.Version) error {
	a, err := z.client.IXFR(serial)
	if err != nil {
		return err
	}
	got, err := z.seen[serial].Next(a)
	if err != nil {
		return err
	}
	if d := got.Difference(version); d != "" {
		return fmt.Errorf("%s: %s", a.Form, d)
	}
	return nil
}
