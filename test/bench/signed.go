package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// inlined is what named is called in tables where it keeps a copy of the zone that is
// not signed, changes that, and makes the signed zone out of it afterwards
// (inline-signing). Otherwise it changes and signs one zone in one go.
const inlined = "named inline"

// signers gives the servers to measure with zones that they sign: those of a list,
// named in both ways.
func signers(of []candidate) (list []candidate) {
	for _, c := range of {
		list = append(list, c)
		if c.name == "named" {
			c.name = inlined
			list = append(list, c)
		}
	}
	return list
}

// namedPolicy gives what has named sign a zone. Its policy default has one key for
// ECDSA P-256, NSEC, and signatures for 14 days.
func namedPolicy(inline bool) string {
	text := "\tdnssec-policy default;\n"
	if inline {
		text += "\tinline-signing yes;\n"
	}
	return text
}

// presign signs the zone in a file in a folder for named, with a key as its policy
// default makes it, so that named finds nothing left to sign. With inline the file
// stays as it is, and the signed zone is in a file beside it, as named keeps it.
func presign(dir, origin, file string, inline bool) error {
	run := func(program string, args ...string) error {
		cmd := exec.Command(program, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s (it is in the Debian package bind9-utils)", program, err, bytes.TrimSpace(out))
		}
		return nil
	}
	if err := run("dnssec-keygen", "-q", "-k", "default", "-K", dir, origin); err != nil {
		return err
	}
	signed := filepath.Join(dir, "presigned")
	if err := run("dnssec-signzone", "-q", "-S", "-z", "-P", "-K", dir, "-o", origin, "-e", "+1209600", "-f", signed, file); err != nil {
		return err
	}
	if !inline {
		return os.Rename(signed, file)
	}
	serial, err := serialIn(file, origin)
	if err != nil {
		return err
	}
	return run("named-compilezone", "-q", "-i", "none", "-k", "ignore", "-n", "ignore", "-F", "raw", "-L", fmt.Sprint(serial), "-o", file+".signed", origin, signed)
}

// serialIn gives the serial of the zone in a file.
func serialIn(path, origin string) (uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	p := dns.NewZoneParser(f, origin, path)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if soa, is := rr.(*dns.SOA); is {
			return soa.Serial, nil
		}
	}
	return 0, errors.Join(fmt.Errorf("%s has no SOA record", path), p.Err())
}

// awaitSigned waits until what clients were told of is served with signatures that
// are right: the SOA record, the records that stand, and that the names removed last
// are not there. It calls waited with how long it had to; nil: nobody wants to know.
// If the zone is not signed, it does nothing.
func (u *updated) awaitSigned(origin string, writers []*writer, waited func(time.Duration)) error {
	if u.validator == nil {
		return nil
	}
	list := []expected{{question: question{origin, dns.TypeSOA}}}
	for _, w := range writers {
		at := func(i int) question { return question{w.label(i) + "." + origin, dns.TypeA} }
		for _, i := range w.live {
			list = append(list, expected{question: at(i)})
		}
		last := w.next - 1 - len(w.live)
		if last >= 0 {
			list = append(list, expected{question: at(last), absent: true})
		}
	}
	wait, err := u.validator.await(list, server.Patience)
	if err == nil && waited != nil {
		waited(wait)
	}
	return err
}

// firstSigning is what it takes servers to sign a zone that never was signed.
type firstSigning struct {
	names   int
	results []*firstSigned
}

// firstSigned is what it takes one server.
type firstSigned struct {
	server    string
	took, cpu []time.Duration // from the start of the process until the zone is served signed, by start
	failed    string          // why there is none
}

// find gives the result of a server, an empty one if there is none.
func (f *firstSigning) find(name string) *firstSigned {
	for _, r := range f.results {
		if r.server == name {
			return r
		}
	}
	return &firstSigned{}
}

// seconds gives the median of the starts.
func (f *firstSigned) seconds() float64 { return median(f.took).Seconds() }

// signedSample is how many names have to be served with signatures, besides the SOA
// record, before a zone counts as signed.
const signedSample = 200

// namedSteps has named sign a zone in larger steps than it does by default: in steps of
// 10 signatures it takes several times as long.
const namedSteps = "\tsig-signing-signatures 1000;\n\tsig-signing-nodes 10000;\n"

// signFirst measures how long servers take to sign a zone, in turn; named once.
func (m *meter) signFirst(t *testing.T) {
	s := mixed("signing", "signing.example.", m.medium)
	path := filepath.Join(m.dir, "signing.zone")
	if err := s.file(path); err != nil {
		t.Fatal(err)
	}
	snap, err := loadZone(s, path)
	if err != nil {
		t.Fatal(err)
	}
	f := &m.report.signing
	f.names = snap.Names()
	z := server.Zone{Origin: s.origin, File: path, Key: &benchKey}
	for i := range m.starts {
		for _, c := range m.report.chosen {
			if !slices.Contains(updaters, c.name) || c.name == "named" && i > 0 {
				continue
			}
			res := f.find(c.name)
			if res.server == "" {
				res.server = c.name
				f.results = append(f.results, res)
			}
			if err := m.signOnce(t, s, c, z, res); err != nil && c.name == "named" { // nobody says how long it may take
				res.failed = err.Error()
			} else if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			progress("%s: %s has signed %d names after %.2f s %s", s.name, c.name, f.names, res.seconds(), res.failed)
		}
	}
}

// signOnce measures it for one start of one server.
func (m *meter) signOnce(t *testing.T, s subject, c candidate, z server.Zone, res *firstSigned) error {
	var v *validator
	var signed error
	srv, took, cpu := m.launch(t, func() *server.Server {
		u := &updated{server: c.name}
		var srv *server.Server
		if c.name == "named" {
			srv = startNamedUnsigned(t, z)
		} else {
			srv = startUpdated(t, u, z, true)
		}
		v = newValidator(srv.Addr, s.origin)
		_, signed = v.await([]expected{{question: question{s.origin, dns.TypeSOA}}}, signingPatience)
		return srv
	})
	defer srv.Stop()
	if signed != nil {
		return signed
	}
	r := rand.New(rand.NewPCG(13, 1))
	var sample []expected
	for range signedSample {
		sample = append(sample, expected{question: s.ask(kindA, r)}, expected{question: s.ask(kindNXDomain, r), absent: true})
	}
	wait, err := v.await(sample, signingPatience)
	if err != nil {
		return err
	}
	if wait > 0 {
		took += wait
		if cpu, err = proc.cpu(srv.PID()); err != nil {
			return err
		}
	}
	res.took, res.cpu = append(res.took, took), append(res.cpu, cpu)
	return nil
}

// startNamedUnsigned starts named with a policy and a zone that it has to sign.
func startNamedUnsigned(t testing.TB, z server.Zone) *server.Server {
	dir := t.TempDir()
	file := filepath.Join(dir, "zone")
	if err := copyFile(file, z.File); err != nil {
		t.Fatal(err)
	}
	z.File = file
	return startOther(t, "named", `-g -n 1 -c "$2"`, namedUpdated(z, dir, namedPolicy(false)+namedSteps), z.Origin)
}
