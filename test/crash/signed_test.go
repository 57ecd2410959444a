package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/secondary"
	"github.com/trustdns/trustdns/test/server/signed"
)

// signedZone is a signed zone that one client updates while the server is killed.
type signedZone struct {
	history
	books   // of its data
	setting string
	rng     *rand.Rand
	soa     dns.RR
	present []dns.RR // data, as sure as books are
	next    []dns.RR // what was asked for after that
	keys    []string
	made    int
}

// signedRun is a server with signed zones.
type signedRun struct {
	server *server.Server
	key    *server.Key
	zones  []*signedZone
	folder string // of zones for verifiers
	kills  int
}

func newSignedRun(t *testing.T, binary string, seed uint64) *signedRun {
	t.Helper()
	server.Require(t, signed.Verifiers...)
	dir := t.TempDir()
	r := &signedRun{folder: t.TempDir(), key: &server.Key{Name: "writer.example.", Algorithm: "hmac-sha256", Secret: "i9M+00yrECfVZG2qCjr4mPpaGim/Bq+IWMiNrLjUO4Y="}}
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	var origins []string
	for i, setting := range []string{"algorithm 13", "nsec3\nalgorithm 15\nsplit 0 0\nkeys keys", "nsec3 opt_out\nalgorithm 13\nkeys keys"} {
		z := &signedZone{history: newHistory(fmt.Sprintf("s%d.example.", i)), setting: setting, rng: rand.New(rand.NewPCG(seed, uint64(i)))}
		origin := z.client.Zone
		z.reach = 4 // more differences, with signatures and proofs, may be more than the zone
		text := fmt.Sprintf("$ORIGIN %s\n$TTL 60\n@ SOA ns1 hostmaster 4294967290 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.1\n*.w TXT wild\ncut NS ns1\n", origin)
		for k := range 30 { // so that differences are less than the zone
			text += fmt.Sprintf("n%d.fixed TXT %d\n", k, k)
		}
		if err := os.WriteFile(filepath.Join(dir, origin+"zone"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "authority %s {\nfile {zone}.zone seed\nstore data\njournal 100000 1G\ntransfer net 127.0.0.1\ndnssec {\n%s\n}\n}\n", origin, setting)
		r.zones, origins = append(r.zones, z), append(origins, origin)
	}
	r.server = server.StartBinary(t, binary, fmt.Sprintf(".:%s {\nbind 127.0.0.1\nroot %s\n%skeys {\ntsig %s %s %s\n}\nupdate {\ngrant any zonesub ANY\n}\n}\n",
		server.Port, dir, &b, r.key.Name, r.key.Algorithm, r.key.Secret), origins...)
	for _, z := range r.zones {
		z.client.Addr = r.server.Addr.String()
		a, err := z.client.AXFR()
		if err != nil {
			t.Fatal(err)
		}
		z.soa = a.SOA
		z.present = slices.DeleteFunc(signed.Data(a.Records), func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA })
		z.keys = signed.DNSKEYs(a.Records, z.client.Zone)
		if err := z.ask(append([]dns.RR{z.soa}, z.present...)); err != nil {
			t.Fatal(err)
		}
		if err := z.inspect(r.folder); err != nil {
			t.Fatal(err)
		}
	}
	r.server.Stop()
	return r
}

// change asks for a change: names come and go, delegations with and without DS among them.
func (z *signedZone) change(l *link) error {
	m := new(dns.Msg)
	m.SetUpdate(z.client.Zone)
	z.next = slices.Clone(z.present)
	made := func(rr dns.RR) bool { return strings.Contains(rr.Header().Name, "made") }
	if i := slices.IndexFunc(z.next, made); i >= 0 && z.rng.IntN(3) == 0 {
		name := z.next[i].Header().Name
		m.RemoveName([]dns.RR{dns.Copy(z.next[i])})
		z.next = slices.DeleteFunc(z.next, func(rr dns.RR) bool { return rr.Header().Name == name })
	}
	z.made++
	name := fmt.Sprintf("made%d.%s", z.made, []string{"", "a.b.", "w.", "x.cut."}[z.rng.IntN(4)]) + z.client.Zone
	lines := []string{"TXT " + fmt.Sprint(z.made)}
	if z.rng.IntN(3) == 0 {
		lines = []string{"NS ns1." + z.client.Zone, fmt.Sprintf("DS %d 13 2 %064x", z.made%65536, z.made)}[:1+z.rng.IntN(2)]
	}
	for _, line := range lines {
		rr, err := dns.NewRR(name + " 60 IN " + line)
		if err != nil {
			return err
		}
		m.Insert([]dns.RR{dns.Copy(rr)})
		z.next = append(z.next, rr)
	}
	if err := z.ask(append([]dns.RR{z.soa}, z.next...)); err != nil {
		return err
	}
	if err := l.update(m, dns.RcodeSuccess); err != nil {
		return err
	}
	z.acknowledged(len(z.asked) - 1)
	z.present = z.next
	return nil
}

// write changes the zone until the server is dead, which is no error.
func (z *signedZone) write(r *signedRun, network string) error {
	l, err := connect(r.server, network, r.key)
	if err == nil {
		defer l.Close()
		l.id = uint16(z.rng.Uint32()) // no request is the octets of another
		for err == nil {
			err = z.change(l)
		}
	}
	if errors.Is(err, errKilled) {
		return nil
	}
	return fmt.Errorf("%s: %w", z.client.Zone, err)
}

// writeAll has all zones changed until the server is dead.
func (r *signedRun) writeAll(t *testing.T) {
	t.Helper()
	var all sync.WaitGroup
	errs := make([]error, len(r.zones))
	for i, z := range r.zones {
		all.Go(func() { errs[i] = z.write(r, "tcp") })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if state := r.server.State(); state != "signal: killed" {
		t.Fatalf("the server ended by %s; its log:\n%s", state, r.server.Log())
	}
	r.kills++
}

// after starts the server, which was killed, and looks at what is there.
func (r *signedRun) after(t *testing.T) {
	t.Helper()
	before := len(r.server.Log())
	r.server.Restart(t)
	for _, z := range r.zones {
		if err := z.inspect(r.folder); err != nil {
			t.Fatalf("%s: %v", z.client.Zone, err)
		}
	}
	for _, line := range complaints(r.server.Log()[before:]) {
		t.Errorf("after the kill the server says: %s", line)
	}
	r.server.Stop()
}

// inspect tells what is wrong: with the keys, the data, the signatures or the history.
func (z *signedZone) inspect(folder string) error {
	a, err := z.client.AXFR()
	if err != nil {
		return err
	}
	if keys := signed.DNSKEYs(a.Records, z.client.Zone); !slices.Equal(keys, z.keys) {
		return fmt.Errorf("keys %q, and there were %q", keys, z.keys)
	}
	data, err := secondary.NewVersion(signed.Data(a.Records))
	if err != nil {
		return err
	}
	i, err := z.find(data, z.sure, len(z.asked)-1)
	if err != nil {
		return err
	}
	if i > z.sure && z.next != nil {
		z.present = z.next
	}
	z.acknowledged(i)
	z.asked, z.sure = z.asked[i:i+1], 0
	if err := signed.Verify(folder, z.client.Zone, a.Records); err != nil {
		return err
	}
	if err := signed.Hold(a.Records, signed.Records(a.Records, z.client.Zone, dns.TypeDNSKEY), time.Now()); err != nil {
		return err
	}
	v, err := secondary.NewVersion(a.Records)
	if err != nil {
		return err
	}
	if err := z.note(v); err != nil {
		return err
	}
	return z.chain(z.serials[max(0, len(z.serials)-3):])
}

// K5, U9: the server kills itself at each step of a commit of a signed zone, and is killed at any time: afterwards keys are the same,
// what was acknowledged is there, the zone is one that verifiers pass, and IXFR leads to it under serials that only go up.
func TestSignedKills(t *testing.T) {
	t.Parallel()
	r := newSignedRun(t, server.CrashingBinary(t), 1)
	for _, count := range []int{1, 4} {
		for _, step := range steps {
			if err := r.server.Launch(fmt.Sprintf("TRUSTDNS_CRASH=%s:%d", step, count)); err != nil {
				t.Fatal(err)
			}
			if err := r.server.Await(); err != nil && r.alive() {
				t.Fatal(err)
			}
			r.writeAll(t)
			r.after(t)
		}
	}
	rng := rand.New(rand.NewPCG(1, 5155))
	for range *rounds / 2 {
		if err := r.server.Launch(); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(4) > 0 {
			if err := r.server.Await(); err != nil {
				t.Fatal(err)
			}
		}
		end := time.AfterFunc(time.Duration(rng.IntN(400))*time.Millisecond, r.server.Kill)
		if rng.IntN(4) > 0 {
			if err := r.server.Await(); err != nil && r.alive() {
				t.Fatal(err)
			}
			r.writeAll(t)
		}
		<-r.server.Ended()
		end.Stop()
		r.after(t)
	}
	n := 0
	for _, z := range r.zones {
		n += z.made
	}
	t.Logf("killed %d times amid %d updates", r.kills, n)
}

// A server that kills itself while it signs a zone for the first time leaves no key behind that the zone does not have then.
func TestSignedFirstKills(t *testing.T) {
	t.Parallel()
	server.Require(t, signed.Verifiers...)
	const origin = "first.example."
	for _, keys := range []string{"keys keys", "algorithm 15"} {
		for _, step := range steps {
			dir := t.TempDir()
			folder := filepath.Join(dir, "keys")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "zone"), []byte("@ 60 SOA ns1 hostmaster 7 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 192.0.2.1\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			plain := fmt.Sprintf("%s:%s {\nbind 127.0.0.1\nroot %s\nauthority {\nfile zone\n}\n}\n", origin, server.Port, dir)
			s := server.StartBinary(t, server.CrashingBinary(t), plain, origin)
			s.Stop()
			corefile := strings.Replace(plain, "file zone\n", "file zone\nstore data\ntransfer net 127.0.0.1\ndnssec {\n"+keys+"\n}\n", 1)
			corefile = strings.ReplaceAll(corefile, server.Port, fmt.Sprint(s.Addr.Port()))
			if err := os.WriteFile(filepath.Join(s.Dir, "Corefile"), []byte(corefile), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := s.Launch("TRUSTDNS_CRASH=" + step + ":1"); err != nil {
				t.Fatal(err)
			}
			if err := s.Await(); err == nil && step != "announced" { // which comes after the first answer
				t.Fatalf("%s: the server lives; its log:\n%s", step, s.Log())
			}
			<-s.Ended()
			s.Restart(t)
			z := signedZone{history: newHistory(origin)}
			z.client.Addr = s.Addr.String()
			a, err := z.client.AXFR()
			if err != nil {
				t.Fatal(err)
			}
			if err := signed.Verify(dir, origin, a.Records); err != nil {
				t.Errorf("%s: %v", step, err)
			}
			files, err := os.ReadDir(folder)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[string]int{"keys keys": 2, "algorithm 15": 0}[keys]; len(files) != want || len(signed.DNSKEYs(a.Records, origin)) != 1 {
				t.Errorf("%s: files %v, keys %q", step, files, signed.DNSKEYs(a.Records, origin))
			}
			if lines := complaints(s.Log()); len(lines) > 0 {
				t.Errorf("%s: the server says %q", step, lines)
			}
			s.Stop()
		}
	}
}

func (r *signedRun) alive() bool { return r.server.State() == "" }
