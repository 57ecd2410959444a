package test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
	"github.com/trustdns/trustdns/test/server/secondary"
	"github.com/trustdns/trustdns/test/server/signed"
)

// U9: named, and knotd, which validates each version, follow signed zones through 120 updates and a change of how existence is denied,
// by IXFR, and have what we have.
func TestSignedSecondaries(t *testing.T) {
	t.Parallel()
	server.Require(t, "named", "knotd")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "keys", "README"), "keys")
	var zones []*signedZone
	var origins []string
	for i, keys := range []string{"algorithm 13", "algorithm 15;split 0 0", "algorithm 14"} {
		z := &signedZone{
			signedEditor: newSignedEditor(t, fmt.Sprintf("s%d.signed.example.", i), uint64(100+i), true), keys: keys, updated: true, denial: i,
			file: filepath.Join(dir, fmt.Sprintf("s%d.zone", i)), seen: make(map[uint32]*secondary.Version), folder: filepath.Join(dir, "keys"),
		}
		write(t, z.file, z.text())
		zones, origins = append(zones, z), append(origins, z.origin)
	}
	ours := server.StartOurs(t, corefileOf(dir, zones), origins...)
	for _, z := range zones {
		z.addr = ours.Addr.String()
		z.client = &secondary.Client{Addr: z.addr, Zone: z.origin}
		waitFor(t, z.origin+" signed", func() bool { return z.signedBy(t) })
	}
	primary := server.Primary{Addr: ours.Addr, Zones: origins, Refresh: 3600, Validate: true}
	secondaries := []*server.Server{server.StartNamedSecondary(t, primary), server.StartKnotdSecondary(t, primary)}
	notify := ""
	for _, s := range secondaries {
		notify += fmt.Sprintf("  notify %s\n", s.Addr)
	}
	reload := func() {
		t.Helper()
		text := strings.ReplaceAll(corefileOf(dir, zones), server.Port, fmt.Sprint(ours.Addr.Port()))
		put(t, filepath.Join(ours.Dir, "Corefile"), strings.ReplaceAll(text, "  store data\n", "  store data\n"+notify))
		reloadWith(t, ours, reloaded)
	}
	reload()

	const rounds, together = 40, 2
	updates := 0
	for round := range rounds {
		for _, z := range zones {
			before, soa, serial := maps.Clone(z.sets), z.soa, serialOf(ours, z.origin)
			for m := new(dns.Msg); len(m.Ns) == 0; m = z.update(before, soa, serial+1) {
				z.edit(t)
			}
			m := z.update(before, soa, serial+1)
			if r := sendUpdate(t, "tcp", z.addr, m, allKey); r.Rcode != dns.RcodeSuccess {
				t.Fatalf("%v\nfor\n%v", r, m)
			}
			updates++
		}
		if round == rounds/2 {
			zones[0].denial, zones[1].denial = 1, 0
			reload()
			for _, z := range zones[:2] {
				waitFor(t, z.origin+" by the other policy", func() bool { return z.signedBy(t) })
			}
		}
		if round%together != 0 {
			continue
		}
		var all sync.WaitGroup
		errs := make([]error, len(zones)*len(secondaries))
		for i, z := range zones {
			for k, s := range secondaries {
				all.Go(func() { errs[i*len(secondaries)+k] = z.had(s) })
			}
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("round %d: %v; knotd says\n%.4000s", round, err, secondaries[1].Log())
		}
	}

	for i, source := range []string{server.NamedSource.String(), server.KnotdSource.String()} {
		sent := regexp.MustCompile(`: sent (\w+) serial \d+ to `+regexp.QuoteMeta(source)+`:.*`).FindAllStringSubmatch(ours.Log(), -1)
		forms := make(map[string]int)
		for _, m := range sent {
			if strings.Contains(m[0], "more changes than wanted") { // a new chain is more than the zone
				m[1] = "larger"
			}
			forms[m[1]]++
		}
		if forms["whole"] > len(zones) || forms["incremental"] < rounds/together*len(zones)*3/4 || forms["larger"] > 2*len(zones) {
			t.Errorf("%s got %v", secondaries[i].Name, forms)
		}
		t.Logf("%d updates; %s got %v", updates, secondaries[i].Name, forms)
	}
	if n := strings.Count(secondaries[1].Log(), " validation successful"); n < rounds/together*len(zones) {
		t.Errorf("knotd has validated %d times:\n%.4000s", n, secondaries[1].Log())
	}
	bad := regexp.MustCompile(`(?im)^.*(xfer-in: .*(not exact|extra|bad|fail|out of sync|error)|(warning|error): .*(IXFR|AXFR|DNSSEC)).*$`)
	for _, s := range secondaries {
		if says := bad.FindAllString(s.Log(), 5); says != nil {
			t.Errorf("%s says %q", s.Name, says)
		}
	}
}

// had waits until a secondary has the zone as we have it. It may be behind, but must not differ.
func (z *signedZone) had(s *server.Server) error {
	a, err := z.client.AXFR()
	if err != nil {
		return err
	}
	want, err := secondary.NewVersion(a.Records)
	if err != nil {
		return err
	}
	c := secondary.Client{Addr: s.Addr.String(), Zone: z.origin, LaxAA: true}
	var wrong error
	err = server.Poll(func() string { return fmt.Sprintf("serial %d of %s at %s: %v", want.Serial, z.origin, s.Name, wrong) }, func() bool {
		if serialOf(s, z.origin) != want.Serial {
			return false
		}
		if a, wrong = c.AXFR(); wrong != nil || a.SOA.Serial != want.Serial {
			return false
		}
		got, err := secondary.NewVersion(a.Records)
		if err == nil {
			if d := got.Difference(want); d != "" {
				err = errors.New(d)
			} else {
				err = signed.Hold(a.Records, signed.Records(a.Records, z.origin, dns.TypeDNSKEY), time.Now())
			}
		}
		wrong = err
		return true
	})
	return errors.Join(err, wrong)
}
