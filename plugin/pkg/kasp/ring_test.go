package kasp_test

import (
	"testing"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

var start = time.Unix(1_800_000_000, 0)

// TestFirst: a new zone is signed at once, and the parent is asked when no cache has
// anything from before.
func TestFirst(t *testing.T) {
	origin := dnsname.MustParse("example.")
	r := kasp.New(origin, kasp.Policy{Algorithm: signer.ED25519}, nil)
	if !r.Unsigned() {
		t.Error("signed without keys")
	}
	now, last := start, start
	for i := range 30 {
		plan, err := r.Step(now, kasp.Facts{MaxTTL: 24 * time.Hour, Elapsed: now.Sub(last)})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d %s %+v", i, now.Sub(start), plan)
		for _, k := range r.Keys() {
			t.Logf("  %+v", k)
		}
		if _, err := signer.New(origin, signer.Policy{}, r.Uses()); err != nil {
			t.Fatal(err)
		}
		last = now
		now, _ = r.Next(now)
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
