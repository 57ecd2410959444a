package kasp_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

var start = time.Unix(1_800_000_000, 0)

const (
	days  = 24 * time.Hour
	quiet = 60 * day // is enough for a rollover
)

// scene is a world whose parent does at once what it is asked for, told by a test.
type scene struct {
	*world
	t *testing.T
}

// newScene makes a zone that is signed, with the DS at the parent.
func newScene(t *testing.T, p kasp.Policy) *scene {
	t.Helper()
	s := &scene{newWorld(1, p, 5*minute, day, hour), t}
	s.wait(10 * day)
	s.good(s.atRest())
	return s
}

func (s *scene) good(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.show())
	}
}

// wait lets time pass with a parent.
func (s *scene) wait(length int64) {
	s.t.Helper()
	s.good(s.run(length, activity{hour, hour, s.parent}, activity{hour, hour, s.poll}))
}

// alone lets time pass without one.
func (s *scene) alone(length int64) {
	s.t.Helper()
	s.good(s.run(length))
}

// now takes a Step.
func (s *scene) stepNow() {
	s.t.Helper()
	s.good(s.step(nil))
}

// key gives the only key of a role in a state.
func (s *scene) key(role signer.Role, state string) kasp.ID {
	s.t.Helper()
	var list []kasp.ID
	for _, k := range s.ring.Keys() {
		if k.Role == role && k.State == state {
			list = append(list, k.Key)
		}
	}
	if len(list) != 1 {
		s.t.Fatalf("%d keys %s are %s\n%s", len(list), role, state, s.show())
	}
	return list[0]
}

// has tells whether a key is in the DNSKEY RRset, signs data, and is in the CDS RRset.
func (s *scene) has(id kasp.ID) string {
	published, _, data, retired, submit := s.wanted()
	text := ""
	for _, in := range []struct {
		what string
		list []kasp.ID
	}{{"DNSKEY", published}, {"RRSIG", data}, {"retired", retired}, {"CDS", submit}} {
		if slices.Contains(in.list, id) {
			text += " " + in.what
		}
	}
	return strings.TrimSpace(text)
}

func (s *scene) want(id kasp.ID, want string) {
	s.t.Helper()
	if got := s.has(id); got != want {
		s.t.Fatalf("%s: %q, want %q\n%s", id, got, want, s.show())
	}
}

// TestFirst: a new zone is signed at once, and the parent is asked when no cache has
// anything from before, also if the zone is edited meanwhile.
func TestFirst(t *testing.T) {
	s := &scene{newWorld(1, kasp.Policy{}, 5*minute, hour, hour), t}
	if !s.ring.Unsigned() || len(s.ring.Uses()) > 0 {
		t.Error("signed without keys")
	}
	s.stepNow()
	id := s.key(signer.CSK, kasp.Published)
	s.want(id, "DNSKEY RRSIG")
	ttls := []int64{5 * minute, 2 * day, hour}
	plan, err := s.ring.Step(s.wall(), kasp.Facts{MaxTTL: 48 * time.Hour, Elapsed: time.Nanosecond})
	s.good(err)
	s.good(s.commit(plan, ttls))
	s.alone(2*day + s.propagation)
	s.want(id, "DNSKEY RRSIG")
	s.alone(s.safety + 1)
	s.want(id, "DNSKEY RRSIG CDS")
	if p := s.ring.Parents(s.wall()); len(p) != 1 || p[0].Key != id || !p[0].Appear || len(p[0].DS) != 36 {
		t.Errorf("to be asked: %+v", p)
	}
	s.wait(10 * day)
	s.good(s.atRest())
}

// TestParentWaits: the old KSK stays until the parent has the new DS, and not the old,
// whatever the clock says (K2).
func TestParentWaits(t *testing.T) {
	for _, split := range []bool{true, false} {
		role := signer.CSK
		if split {
			role = signer.KSK
		}
		s := newScene(t, kasp.Policy{Split: split})
		old := s.key(role, kasp.Active)
		s.good(s.ring.Rollover(role))
		s.alone(400 * day)
		next := s.key(role, kasp.Ready)
		if s.has(old) == "" || !strings.Contains(s.has(next), "CDS") || strings.Contains(s.has(old), "CDS") {
			t.Fatalf("after a year: old %q, new %q", s.has(old), s.has(next))
		}
		if err := s.ring.Rollover(role); !errors.Is(err, kasp.ErrBusy) {
			t.Errorf("a second rollover: %v", err)
		}
		for _, k := range s.ring.Keys() {
			if k.Key == old && k.Waits != "for the parent to remove its DS" || k.Key == next && k.Waits != "for the parent to have its DS" {
				t.Errorf("%s waits %q", k.Key, k.Waits)
			}
		}
		// One of two is not enough.
		other := &scene{func() *world { w := *s.world; w.ring = s.ring.Clone(); return &w }(), t}
		for i, report := range []func() error{
			func() error { return s.ring.DSSeen(next, s.wall(), 0) },
			func() error { return other.ring.DSGone(old, other.wall(), 0) },
		} {
			at := []*scene{s, other}[i]
			at.good(report())
			for range 100 {
				at.now += hour
				_, err := at.ring.Step(at.wall(), kasp.Facts{MaxTTL: 24 * time.Hour, Elapsed: time.Hour})
				at.good(err)
			}
			if at.has(old) == "" {
				t.Errorf("the old key has gone with one report of two, %d", i)
			}
		}
		s.wait(quiet)
		s.good(s.atRest())
		s.want(old, "")
	}
}

// TestAlgorithmOrder is the order of events when the algorithm changes (K3): RFC 6781
// §4.1.4.
func TestAlgorithmOrder(t *testing.T) {
	for _, split := range []bool{false, true} {
		s := newScene(t, kasp.Policy{Algorithm: signer.RSASHA256, Split: split})
		s.ring.SetPolicy(s.complete(kasp.Policy{Algorithm: signer.ED25519, Split: split}))
		var order []string
		was := map[string]string{}
		note := func(what string, now string) {
			if was[what] != now {
				order = append(order, what+" "+now)
				was[what] = now
			}
		}
		algs := func(list []kasp.ID) string {
			var names []string
			for _, id := range list {
				names = append(names, fmt.Sprint(uint8(id.Algorithm)))
			}
			slices.Sort(names)
			return strings.Join(slices.Compact(names), "+")
		}
		look := func() error {
			published, keySigners, data, _, submit := s.wanted()
			note("RRSIG", algs(data))
			note("DNSKEY", algs(published))
			if algs(keySigners) != algs(published) && split {
				t.Errorf("DNSKEY %s, signed by %s", algs(published), algs(keySigners))
			}
			note("CDS", algs(submit))
			note("DS", algs(s.ds.now().keys))
			return nil
		}
		s.good(look())
		order = nil
		s.good(s.run(quiet, activity{minute, minute, look}, activity{3 * hour, 3 * hour, s.parent}, activity{hour, hour, s.poll}))
		want := "RRSIG 15+8, DNSKEY 15+8, CDS 15, DS 15, DNSKEY 15, RRSIG 15"
		if got := strings.Join(order, ", "); got != want {
			t.Errorf("split %t: %s; want %s", split, got, want)
		}
		s.good(s.atRest())
	}
}

// TestLeave: a zone leaves DNSSEC when no cache has a DS (K4), and comes back.
func TestLeave(t *testing.T) {
	s := newScene(t, kasp.Policy{Split: true})
	insecure := s.ring.Policy()
	insecure.Insecure = true
	secure := s.ring.Policy()
	s.ring.SetPolicy(insecure)
	if s.ring.Withdraw() {
		t.Error("asked for before a Step")
	}
	s.alone(100 * day)
	if !s.ring.Withdraw() || s.ring.Unsigned() {
		t.Fatalf("withdraw %t, unsigned %t", s.ring.Withdraw(), s.ring.Unsigned())
	}
	if err := s.ring.Rollover(signer.ZSK); !errors.Is(err, kasp.ErrBusy) {
		t.Errorf("rollover: %v", err)
	}
	s.ring.SetPolicy(secure) // the parent has done nothing, as far as is known
	s.stepNow()
	if err := s.ring.DSSeen(s.ring.Keys()[0].Key, s.wall(), 0); !errors.Is(err, kasp.ErrEarly) {
		t.Errorf("still there at once: %v", err)
	}
	s.wait(quiet)
	s.good(s.atRest())
	s.ring.SetPolicy(insecure)
	s.stepNow()
	ksk := s.key(signer.KSK, kasp.Retired)
	if err := s.ring.DSGone(ksk, s.wall(), 0); !errors.Is(err, kasp.ErrEarly) {
		t.Errorf("gone at once: %v", err)
	}
	if p := s.ring.Parents(s.wall()); len(p) > 0 {
		t.Errorf("to be asked at once: %+v", p)
	}
	s.alone(s.propagation + hour + s.lateParent + 1)
	if p := s.ring.Parents(s.wall()); len(p) != 1 || p[0].Key != ksk || p[0].Appear {
		t.Errorf("to be asked: %+v", p)
	}
	s.good(s.set(nil))
	s.alone(s.lateParent)
	s.good(s.ring.DSGone(ksk, s.wall(), 0))
	s.alone(s.dsTTL + s.lateParent - 1)
	if s.ring.Unsigned() {
		t.Error("unsigned while caches have the DS")
	}
	s.alone(s.safety + 2)
	if !s.ring.Unsigned() || s.ring.Withdraw() || len(s.ring.Keys()) > 0 {
		t.Errorf("still there:\n%s", s.show())
	}
	if _, ok := s.ring.Next(s.wall()); ok {
		t.Error("something to do in a zone without keys that is to have none")
	}
	s.ring.SetPolicy(secure)
	s.wait(quiet)
	s.good(s.atRest())
}

// TestGeneratorFails: there are no new keys, the old stay in use, and it is said (K8).
func TestGeneratorFails(t *testing.T) {
	s := newScene(t, kasp.Policy{Split: true, ZSKLifetime: 40 * days})
	s.fails = true
	s.now += 400 * day
	before, err := s.ring.Marshal(false)
	s.good(err)
	for range 2 {
		if _, err := s.ring.Step(s.wall(), kasp.Facts{MaxTTL: days, Elapsed: 400 * days}); !errors.Is(err, errGenerator) || !strings.Contains(err.Error(), "new ZSK") {
			t.Fatalf("error %v", err)
		}
	}
	after, err := s.ring.Marshal(false)
	s.good(err)
	if !bytes.Equal(before, after) {
		t.Errorf("changed from\n%s\nto\n%s", before, after)
	}
	s.fails = false
	s.wait(quiet)
	s.good(s.atRest())

	wrong, err := signer.Generate(dnsname.MustParse("example.net."), signer.ED25519, signer.CSK)
	s.good(err)
	other := kasp.New(s.zone, kasp.Policy{Algorithm: signer.ED25519}, func(dnsname.Name, signer.Algorithm, signer.Role) (*signer.Key, error) { return wrong, nil })
	if _, err := other.Step(start, kasp.Facts{}); err == nil || !other.Unsigned() {
		t.Errorf("a key of another zone: %v", err)
	}
}

// TestSameTag: two keys of a ring never have the same tag.
func TestSameTag(t *testing.T) {
	zone := dnsname.MustParse("example.")
	var keys []*signer.Key
	for _, role := range []signer.Role{signer.KSK, signer.ZSK} {
		k, err := signer.Generate(zone, signer.ED25519, role)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	n := 0
	r := kasp.New(zone, kasp.Policy{Algorithm: signer.ED25519, Split: true}, func(_ dnsname.Name, _ signer.Algorithm, role signer.Role) (*signer.Key, error) {
		n++
		if role == signer.KSK {
			return keys[0], nil
		}
		return keys[1], nil
	})
	if _, err := r.Step(start, kasp.Facts{}); err != nil || n != 2 {
		t.Fatalf("%d keys, %v", n, err)
	}
	if err := r.Remove(kasp.ID{Algorithm: signer.ED25519, Tag: keys[1].Tag()}, false); err != nil {
		t.Fatal(err)
	}
	before := len(r.Keys())
	if _, err := r.Step(start.Add(time.Minute), kasp.Facts{Elapsed: time.Minute}); err == nil || len(r.Keys()) != before {
		t.Errorf("a key with the tag of another: %v, %+v", err, r.Keys())
	}
}

// TestRemove: a key that others know goes at once, and another signs at once (RFC 6781
// §4.3).
func TestRemove(t *testing.T) {
	t.Run("ZSK", func(t *testing.T) {
		s := newScene(t, kasp.Policy{Split: true})
		ksk, zsk := s.key(signer.KSK, kasp.Active), s.key(signer.ZSK, kasp.Active)
		s.good(s.ring.Remove(zsk, false))
		plan := s.broken()
		s.want(zsk, "")
		if !plan.Sweep || s.has(ksk) != "DNSKEY RRSIG CDS" {
			t.Errorf("%+v; the KSK, which all caches know: %s", plan, s.has(ksk))
		}
		s.recover()
	})
	t.Run("ZSK with a successor", func(t *testing.T) {
		s := newScene(t, kasp.Policy{Split: true})
		zsk := s.key(signer.ZSK, kasp.Active)
		s.good(s.ring.Rollover(signer.ZSK))
		s.alone(day)
		s.good(s.ring.Remove(zsk, false))
		s.broken()
		s.want(zsk, "")
		s.want(s.key(signer.ZSK, kasp.Active), "DNSKEY RRSIG")
		s.recover()
	})
	t.Run("KSK with DS, forced", func(t *testing.T) {
		s := newScene(t, kasp.Policy{Split: true})
		ksk := s.key(signer.KSK, kasp.Active)
		if err := s.ring.Remove(ksk, false); !errors.Is(err, kasp.ErrChain) {
			t.Fatalf("without force: %v", err)
		}
		s.good(s.ring.Remove(ksk, true))
		s.broken()
		next := s.key(signer.KSK, kasp.Published)
		s.want(ksk, "")
		s.want(next, "DNSKEY CDS")
		var want []kasp.ID
		for _, p := range s.ring.Parents(s.wall()) {
			want = append(want, p.Key)
			if p.Appear != (p.Key == next) {
				t.Errorf("%+v", p)
			}
		}
		if !slices.Equal(want, []kasp.ID{ksk, next}) {
			t.Errorf("the parent is to be told of %s", want)
		}
		s.recover()
	})
	t.Run("CSK while it is exchanged", func(t *testing.T) {
		s := newScene(t, kasp.Policy{})
		old := s.key(signer.CSK, kasp.Active)
		s.good(s.ring.Rollover(signer.CSK))
		s.alone(2 * day)
		next := s.key(signer.CSK, kasp.Ready)
		if err := s.ring.Remove(old, false); !errors.Is(err, kasp.ErrChain) {
			t.Fatalf("before the parent has the other: %v", err)
		}
		s.good(s.set([]kasp.ID{old, next}))
		s.good(s.ring.DSSeen(next, s.wall(), 0))
		s.good(s.ring.Remove(old, false))
		s.broken()
		s.want(old, "")
		s.want(next, "DNSKEY RRSIG CDS")
		s.recover()
	})
	t.Run("the new one of an algorithm", func(t *testing.T) {
		for _, after := range []int64{minute, 3 * day, 6 * day} {
			s := newScene(t, kasp.Policy{Split: true})
			s.ring.SetPolicy(s.complete(kasp.Policy{Algorithm: signer.ED25519, Split: true}))
			s.alone(after)
			for _, k := range s.ring.Keys() {
				if k.Key.Algorithm == signer.ED25519 {
					s.good(s.ring.Remove(k.Key, true))
				}
			}
			s.broken()
			s.recover()
		}
	})
	t.Run("all there are", func(t *testing.T) {
		s := newScene(t, kasp.Policy{Split: true})
		for _, k := range s.ring.Keys() {
			s.good(s.ring.Remove(k.Key, true))
		}
		s.broken()
		s.recover()
	})
	t.Run("unknown", func(t *testing.T) {
		s := newScene(t, kasp.Policy{})
		id := kasp.ID{Algorithm: 99, Tag: 1}
		s.ring.SetPolicy(s.complete(kasp.Policy{Split: true}))
		s.stepNow()
		if err := s.ring.DSSeen(s.key(signer.ZSK, kasp.Published), s.wall(), 0); !errors.Is(err, kasp.ErrUnknownKey) {
			t.Errorf("DS of a ZSK: %v", err)
		}
		for _, err := range []error{s.ring.Remove(id, true), s.ring.DSSeen(id, start, 0), s.ring.DSGone(id, start, 0)} {
			if !errors.Is(err, kasp.ErrUnknownKey) {
				t.Errorf("%v", err)
			}
		}
	})
}

// broken takes the Step after Remove: caches fail, so that only the zone is looked at.
func (s *scene) broken() kasp.Plan {
	s.t.Helper()
	plan, err := s.ring.Step(s.wall(), kasp.Facts{MaxTTL: 24 * time.Hour, Elapsed: time.Duration(s.now-s.last) * time.Second})
	s.good(err)
	s.last = s.now
	if plan.Zone {
		_ = s.commit(plan, []int64{5 * minute, day, hour}) // caches fail
	}
	_, err = signer.New(s.zone, signer.Policy{}, s.ring.Uses())
	s.good(err)
	return plan
}

// recover has the parent follow without CDS, and holds it against caches when the TTLs of
// what was removed have ended.
func (s *scene) recover() {
	s.t.Helper()
	s.mode = operator
	for range 40 * 24 {
		s.advance(s.now + hour)
		_ = s.parent()
		_ = s.poll()
		s.broken()
	}
	s.good(s.check())
	s.mode = scans
	s.wait(quiet)
	s.good(s.atRest())
}

// TestPolicyCheck: lifetimes that are too short are named.
func TestPolicyCheck(t *testing.T) {
	for _, tc := range []struct {
		name   string
		policy kasp.Policy
		want   string // "": none
	}{
		{"zero", kasp.Policy{}, ""},
		{"usual", kasp.Policy{Split: true, ZSKLifetime: 30 * days, KSKLifetime: 365 * days}, ""},
		{"short ZSK", kasp.Policy{Split: true, ZSKLifetime: 10 * days}, "ZSK lifetime 240h0m0s"},
		{"ZSK of a CSK policy", kasp.Policy{ZSKLifetime: days}, ""},
		{"short KSK", kasp.Policy{Split: true, KSKLifetime: days}, "KSK lifetime 24h0m0s"},
		{"short CSK", kasp.Policy{KSKLifetime: 9 * days}, "CSK lifetime 216h0m0s"},
		{"slow parent", kasp.Policy{KSKLifetime: 30 * days, ParentTTL: 31 * days}, "CSK lifetime 720h0m0s"},
		{"refresh", kasp.Policy{Refresh: 14 * days}, "refresh is not less"},
		{"negative", kasp.Policy{Propagation: -1}, "propagation -1ns"},
		{"huge", kasp.Policy{RetireSafety: 1<<63 - 1}, "retire safety"},
		{"algorithm", kasp.Policy{Algorithm: 5}, "algorithm 5"},
	} {
		err := tc.policy.Check(24 * time.Hour)
		if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, kasp.ErrPolicy) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

// TestLifetimes: keys change by themselves, as often as the policy says (K1).
func TestLifetimes(t *testing.T) {
	s := newScene(t, kasp.Policy{Split: true, KSKLifetime: 90 * days, ZSKLifetime: 30 * days})
	was := map[kasp.ID]signer.Role{}
	look := func() error {
		for _, k := range s.ring.Keys() {
			was[k.Key] = k.Role
		}
		return nil
	}
	s.good(s.run(720*day, activity{hour, hour, s.parent}, activity{hour, hour, s.poll}, activity{day, day, look}))
	n := map[signer.Role]int{}
	for _, role := range was {
		n[role]++
	}
	if n[signer.KSK] < 8 || n[signer.KSK] > 9 || n[signer.ZSK] < 24 || n[signer.ZSK] > 28 {
		t.Errorf("in 720 days there were %v", n)
	}
}

// TestSplit: a CSK becomes a KSK and back; the parent has nothing to do.
func TestSplit(t *testing.T) {
	s := newScene(t, kasp.Policy{})
	id := s.key(signer.CSK, kasp.Active)
	for _, split := range []bool{true, false} {
		s.ring.SetPolicy(s.complete(kasp.Policy{Split: split}))
		s.alone(day)
		if split {
			s.want(id, "DNSKEY retired CDS")
		}
		s.alone(quiet)
		s.good(s.atRest())
		if s.has(id) == "" {
			t.Errorf("split %t: the key has gone", split)
		}
	}
}

// TestRings: a ring comes back from its text as it was, with and without private keys, at
// all times of a life (K5).
func TestRings(t *testing.T) {
	s := newScene(t, kasp.Policy{Split: true, ZSKLifetime: 20 * days, KSKLifetime: 30 * days})
	back := func() error {
		for _, private := range []bool{true, false} {
			text, err := s.ring.Marshal(private)
			if err != nil {
				return err
			}
			var load func(string) (*signer.Key, error)
			if !private {
				load = func(path string) (*signer.Key, error) { return s.all[path], nil }
			}
			r, err := kasp.Parse(s.zone, s.ring.Policy(), nil, text, load)
			if err != nil {
				return fmt.Errorf("%w\n%s", err, text)
			}
			again, err := r.Marshal(private)
			if err != nil || !bytes.Equal(text, again) || fmt.Sprint(r.Keys()) != fmt.Sprint(s.ring.Keys()) || len(r.Uses()) != len(s.ring.Uses()) {
				return fmt.Errorf("%w: came back otherwise:\n%s\n%s", err, text, again)
			}
			if bytes.Contains(text, []byte("private")) != private {
				return fmt.Errorf("private keys: %s", text)
			}
		}
		return nil
	}
	s.good(s.run(100*day, activity{hour, hour, s.parent}, activity{hour, hour, s.poll}, activity{hour, day, back}))
}

// TestBadText: what is wrong is said, and where.
func TestBadText(t *testing.T) {
	s := newScene(t, kasp.Policy{Algorithm: signer.ED25519})
	good, err := s.ring.Marshal(true)
	s.good(err)
	key := good[bytes.Index(good, []byte("key K")):]
	replace := func(old, with string) string {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("no %q in\n%s", old, good)
		}
		return strings.Replace(string(good), old, with, 1)
	}
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "it is empty"},
		{"cut off", string(good[:len(good)-1]), "line does not end"},
		{"later version", replace("kasp 1", "kasp 2"), "line 1:"},
		{"unknown line", replace("created", "eaten"), "is not known here"},
		{"unknown line before keys", replace("stepped", "slept"), "is not known here"},
		{"twice", replace("created", "created 2027-01-15T08:00:00Z\ncreated"), `"created" comes twice`},
		{"time", replace("created 2", "created x2"), "is not a time"},
		{"state", replace("dnskey omnipresent", "dnskey gone"), "is not a state"},
		{"TTL", replace("dnskey omnipresent ", "dnskey omnipresent -1"), "is not a TTL"},
		{"two keys of a tag", string(good) + string(key), "another key has the same tag"},
		{"private key", replace("private PrivateKey: ", "private PrivateKey: AAAA"), "not a key file"},
		{"public key", replace("public AQED", "public AQAD"), ": it is "},
		{"no private key", string(good[:bytes.Index(good, []byte("private"))]), "no private key"},
		{"many keys", "kasp 1\n" + strings.Repeat(string(key), 40), "another key has the same tag"},
	} {
		_, err := kasp.Parse(s.zone, kasp.Policy{}, nil, []byte(tc.text), nil)
		if !errors.Is(err, kasp.ErrText) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if _, err := kasp.Parse(dnsname.MustParse("example.net."), kasp.Policy{}, nil, good, nil); !errors.Is(err, kasp.ErrText) {
		t.Errorf("of another zone: %v", err)
	}
}

// FuzzParse: whatever stands in a text, Parse and the Steps that follow neither panic nor
// go on for ever, and what was taken comes back.
func FuzzParse(f *testing.F) {
	w := newWorld(1, kasp.Policy{Algorithm: signer.ED25519, Split: true}, 5*minute, hour)
	for range 3 {
		if err := w.run(2*day, activity{hour, hour, w.parent}, activity{hour, hour, w.poll}); err != nil {
			f.Fatal(err)
		}
		text, err := w.ring.Marshal(true)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		_ = w.ring.Rollover(signer.ZSK)
		w.ring.SetPolicy(w.complete(kasp.Policy{Algorithm: signer.ED25519}))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := kasp.Parse(w.zone, kasp.Policy{Algorithm: signer.ED25519, Insecure: len(text)%7 == 0, Split: len(text)%2 == 0}, nil, text, nil)
		if err != nil {
			return
		}
		again, err := r.Marshal(true)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := kasp.Parse(w.zone, kasp.Policy{}, nil, again, nil); err != nil {
			t.Fatalf("%v\n%s", err, again)
		} else if third, err := back.Marshal(true); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%v: %s\n%s", err, again, third)
		}
		now := start
		for i := range 20 {
			_, _ = r.Step(now, kasp.Facts{MaxTTL: time.Hour, Elapsed: time.Duration(i) * time.Hour})
			next, _ := r.Next(now)
			now = now.Add(min(max(next.Sub(now), 0), time.Hour))
			for _, k := range r.Keys() {
				_ = r.DSSeen(k.Key, now, time.Minute)
				_ = r.DSGone(k.Key, now, time.Minute)
			}
		}
	})
}

// TestImport: a zone that others have signed goes on with its keys.
func TestImport(t *testing.T) {
	zone := dnsname.MustParse("example.")
	made := func(alg signer.Algorithm, role signer.Role) kasp.Imported {
		k, err := signer.Generate(zone, alg, role)
		if err != nil {
			t.Fatal(err)
		}
		return kasp.Imported{Key: k}
	}
	read := func(i kasp.Imported, private, state string) kasp.Imported {
		if err := i.Read("K", []byte(private), []byte(state)); err != nil {
			t.Fatal(err)
		}
		return i
	}
	const rumored = "rumoured" //nolint:misspell // the word of BIND
	const lately, soon = "20270115060000", "20270120000000"
	ksk, zsk := made(13, signer.KSK), made(13, signer.ZSK)
	for _, tc := range []struct {
		name   string
		split  bool
		keys   []kasp.Imported
		want   string // role, state and DS of each
		failed string
	}{
		{"pair", true, []kasp.Imported{ksk, zsk}, "KSK active omnipresent, ZSK active hidden", ""},
		{"pair that becomes a CSK", false, []kasp.Imported{ksk, zsk}, "CSK active omnipresent, ZSK retired hidden", ""},
		{"lone key", false, []kasp.Imported{ksk}, "CSK active omnipresent", ""},
		{"just published", false, []kasp.Imported{read(ksk, "Publish: "+lately+"\nActivate: "+lately, "")}, "CSK published rumored", ""},
		{"not yet published", true, []kasp.Imported{ksk, zsk, read(made(13, signer.ZSK), "Publish: "+soon, "")}, "KSK active omnipresent, ZSK active hidden", ""},
		{"no longer published", true, []kasp.Imported{ksk, zsk, read(made(13, signer.ZSK), "Delete: "+lately, "")}, "KSK active omnipresent, ZSK active hidden", ""},
		{"retired", true, []kasp.Imported{ksk, zsk, read(made(13, signer.ZSK), "Inactive: "+lately, "")}, "KSK active omnipresent, ZSK active hidden, ZSK retired hidden", ""},
		{"states of BIND", true, []kasp.Imported{
			read(ksk, "", "; x\nDNSKEYState: omnipresent\nKRRSIGState: omnipresent\nDSState: "+rumored+"\nGoalState: omnipresent\n"),
			read(zsk, "", "DNSKEYState: omnipresent\nZRRSIGState: omnipresent\nPublished: 20200101000000 (Wed Jan  1 00:00:00 2020)\n"),
		}, "KSK ready rumored, ZSK active hidden", ""},
		{"none", true, nil, "", "none of the 0"},
		{"lone ZSK", true, []kasp.Imported{zsk}, "", "no key of its algorithm has the SEP flag"},
		{"twice", true, []kasp.Imported{ksk, ksk}, "", "another key has the same tag"},
	} {
		r := kasp.New(zone, kasp.Policy{Split: tc.split}, nil)
		err := r.Import(start, tc.keys)
		if tc.failed != "" {
			if !errors.Is(err, kasp.ErrImport) || !strings.Contains(err.Error(), tc.failed) || len(r.Keys()) > 0 {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		plan, err := r.Step(start, kasp.Facts{MaxTTL: time.Hour})
		if err != nil || !plan.Changed || !plan.Zone {
			t.Errorf("%s: %+v, %v", tc.name, plan, err)
		}
		if _, err := signer.New(zone, signer.Policy{}, r.Uses()); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		var got []string
		for _, k := range r.Keys() {
			got = append(got, fmt.Sprint(k.Role, " ", k.State, " ", k.DS))
		}
		if strings.Join(got, ", ") != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, strings.Join(got, ", "), tc.want)
		}
		if err := r.Import(start, tc.keys); !errors.Is(err, kasp.ErrImport) {
			t.Errorf("%s: again: %v", tc.name, err)
		}
	}
	other, err := signer.Generate(dnsname.MustParse("example.net."), 13, signer.KSK)
	if err != nil {
		t.Fatal(err)
	}
	if err := kasp.New(zone, kasp.Policy{}, nil).Import(start, []kasp.Imported{{Key: other}}); !errors.Is(err, signer.ErrZone) {
		t.Errorf("of another zone: %v", err)
	}
	var i kasp.Imported
	for _, bad := range [][2]string{{"Publish: x", "K.private:1"}, {"\nActivate: 2027", "K.private:2"}} {
		if err := i.Read("K", []byte(bad[0]), nil); !errors.Is(err, signer.ErrKeyFile) || !strings.Contains(err.Error(), bad[1]) {
			t.Errorf("%q: %v", bad[0], err)
		}
	}
	if err := i.Read("K", nil, []byte("DSState: lost")); !errors.Is(err, signer.ErrKeyFile) {
		t.Errorf("state: %v", err)
	}
}

// TestImportFiles: what the signer writes as BIND's tools do is read.
func TestImportFiles(t *testing.T) {
	zone := dnsname.MustParse("example.")
	k, err := signer.Generate(zone, 13, signer.KSK)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := k.WriteFiles(dir, start); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, k.FileName())
	private, err := os.ReadFile(path + ".private")
	if err != nil {
		t.Fatal(err)
	}
	i := kasp.Imported{Key: k}
	if err := i.Read(path, private, nil); err != nil || !i.Publish.Equal(start) || !i.Activate.Equal(start) || !i.Inactive.IsZero() {
		t.Errorf("%+v, %v", i, err)
	}
}

// FuzzRead: files of keys are read without a panic, and keys so read can be imported or
// not.
func FuzzRead(f *testing.F) {
	zone := dnsname.MustParse("example.")
	k, err := signer.Generate(zone, signer.ED25519, signer.KSK)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("Publish: 20270115060000\nInactive: 20280115060000"), []byte("DNSKEYState: unretentive\nDSState: hidden\nRetired: 20270115060000 (x)"))
	f.Fuzz(func(t *testing.T, private, state []byte) {
		i := kasp.Imported{Key: k}
		if i.Read("K", private, state) != nil {
			return
		}
		r := kasp.New(zone, kasp.Policy{Algorithm: signer.ED25519}, nil)
		if r.Import(start, []kasp.Imported{i}) != nil {
			return
		}
		if _, err := r.Step(start, kasp.Facts{}); err != nil {
			t.Fatal(err)
		}
		text, err := r.Marshal(true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kasp.Parse(zone, kasp.Policy{}, nil, text, nil); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

// TestJumps: a clock that is set moves nothing (K7), and is found out.
func TestJumps(t *testing.T) {
	for _, jump := range []int64{-30 * day, -2 * minute, 2 * minute, 30 * day} {
		for _, restarted := range []bool{false, true} {
			if restarted && (jump == 2*minute || jump == -2*minute) {
				continue // it may as well have been away for so long
			}
			s := newScene(t, kasp.Policy{Split: true, ZSKLifetime: 35 * days, KSKLifetime: 80 * days})
			s.good(s.ring.Rollover(signer.ZSK))
			s.alone(hour / 2)
			if restarted {
				s.good(s.restart(minute, s.ring.Policy()))
			}
			before := fmt.Sprint(s.has(s.key(signer.ZSK, kasp.Published)), s.has(s.key(signer.ZSK, kasp.Active)), len(s.ring.Keys()))
			s.clock += jump
			s.stepNow()
			after := fmt.Sprint(s.has(s.key(signer.ZSK, kasp.Published)), s.has(s.key(signer.ZSK, kasp.Active)), len(s.ring.Keys()))
			if off := s.jump - time.Duration(jump)*time.Second; off.Abs() > time.Hour || before != after {
				t.Errorf("%d s, restarted %t: found %s; %s, then %s", jump, restarted, s.jump, before, after)
			}
			s.wait(20 * day)
			s.good(s.atRest())
		}
	}
}

// TestImportedNow: what was imported signs from the first Step on, which is due at once: the
// zone must not be served without signatures until the next.
func TestImportedNow(t *testing.T) {
	zone := dnsname.MustParse("example.")
	k, err := signer.Generate(zone, signer.ED25519, signer.KSK)
	if err != nil {
		t.Fatal(err)
	}
	r := kasp.New(zone, kasp.Policy{}, nil)
	if err := r.Import(start, []kasp.Imported{{Key: k}}); err != nil {
		t.Fatal(err)
	}
	if next, ok := r.Next(start); !ok || next.After(start) {
		t.Errorf("the first Step is due at %s, %v", next, ok)
	}
	if _, err := r.Step(start, kasp.Facts{}); err != nil {
		t.Fatal(err)
	}
	if next, ok := r.Next(start); !ok || !next.After(start) || r.Unsigned() {
		t.Errorf("the next Step is due at %s, %v", next, ok)
	}
}

// TestRestartAtOnce: a server that is started again in the second in which it ended does
// not take that for a jump of the clock.
func TestRestartAtOnce(t *testing.T) {
	zone := dnsname.MustParse("example.")
	at := start.Add(300 * time.Millisecond)
	r := kasp.New(zone, kasp.Policy{}, nil)
	if _, err := r.Step(at, kasp.Facts{}); err != nil {
		t.Fatal(err)
	}
	text, err := r.Marshal(true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := kasp.Parse(zone, kasp.Policy{}, nil, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	if plan, err := again.Step(at.Add(time.Millisecond), kasp.Facts{}); err != nil || plan.Jump != 0 {
		t.Errorf("a jump by %s, %v", plan.Jump, err)
	}
}

// TestNew: the parent is asked at once for the DS of a zone that nobody has seen so far,
// and of one that somebody has when its caches have forgotten that it was not signed.
func TestNew(t *testing.T) {
	for _, policy := range []kasp.Policy{{}, {Split: true, ZSKLifetime: 30 * 24 * time.Hour}} {
		for isNew, want := range map[bool]kasp.State{true: kasp.Rumored, false: kasp.Hidden} {
			r := kasp.New(dnsname.MustParse("example."), policy, nil)
			if _, err := r.Step(start, kasp.Facts{MaxTTL: time.Hour, New: isNew}); err != nil {
				t.Fatal(err)
			}
			if k := r.Keys()[0]; k.DS != want || r.Uses()[0].Submit != isNew || r.Unsigned() {
				t.Errorf("%+v, new %v: %+v", policy, isNew, k)
			}
			if list := r.Parents(start); len(list) == 1 != isNew {
				t.Errorf("%+v, new %v: %+v", policy, isNew, list)
			}
		}
	}
}

// TestClockWithoutBattery: where the clock says that it is 1970 keys are older than that,
// and are read again as they are (K5, K7).
func TestClockWithoutBattery(t *testing.T) {
	r := kasp.New(dnsname.MustParse("example."), kasp.Policy{Split: true}, nil)
	if _, err := r.Step(start, kasp.Facts{MaxTTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	plan, err := r.Step(time.Unix(7200, 0), kasp.Facts{MaxTTL: time.Hour, Elapsed: 3 * time.Hour})
	if err != nil || plan.Jump == 0 {
		t.Fatalf("a jump by %s, %v", plan.Jump, err)
	}
	text, err := r.Marshal(true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := kasp.Parse(r.Zone(), r.Policy(), nil, text, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !slices.Equal(again.Keys(), r.Keys()) {
		t.Errorf("keys %+v, which were %+v", again.Keys(), r.Keys())
	}
}
