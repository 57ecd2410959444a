package zonedb_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/autosign"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/kasp"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// split is a KSK and a ZSK that nobody replaces.
var split = kasp.Policy{Algorithm: signer.ED25519, Split: true}

// settled gives a zone that is signed, and whose parent has its DS.
func settled(t *testing.T, signing autosign.Settings) *world {
	t.Helper()
	w := newWorld(t, 1, plainZone, signing)
	w.start()
	w.run(4*day, w.attentive()...)
	if why := w.atRest(signing); why != "" {
		t.Fatalf("%s\n%s", why, w.ring())
	}
	w.reported()
	return w
}

// TestKeysAreLookedAfter: keys come and go with nobody doing anything but what the time
// brings (K1).
func TestKeysAreLookedAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := split
		policy.ZSKLifetime = 30 * day
		w := settled(t, autosign.Settings{Keys: policy})
		defer w.stop()
		before := w.keeper().Status(w.clock()).Keys
		w.run(60 * day)
		after := w.keeper().Status(w.clock()).Keys
		if len(before) != 2 || before[0].Key != after[0].Key || before[1].Key == after[len(after)-1].Key || w.words[kasp.Removed] == 0 {
			t.Errorf("keys after 60 days:\n%s", w.ring())
		}
	})
}

// big gives a zone with that many names beside the apex.
func big(names int) string {
	var b strings.Builder
	b.WriteString("@ 3600 IN SOA ns hostmaster 1 7200 3600 1209600 300\n@ 3600 NS ns.elsewhere.test.\n")
	for i := range names {
		fmt.Fprintf(&b, "n%d 3600 A 192.0.2.1\n", i)
	}
	return b.String()
}

// expirations gives those of all signatures of a zone, in order.
func expirations(s *zone.Snapshot) (list []time.Time) {
	for set := range s.All() {
		for sig := range set.Sigs.All() {
			list = append(list, time.Unix(int64(binary.BigEndian.Uint32([]byte(sig[8:12]))), 0))
		}
	}
	slices.SortFunc(list, time.Time.Compare)
	return list
}

// TestRefresh: a zone that nobody edits for 60 days is never without signatures that hold
// for as long as they must, and they stay spread (K6).
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const names, length = 300, 60 * day
		const validity, refresh, jitter = 14 * day, 7 * day, 12 * time.Hour
		commits := 0
		w := newWorld(t, 1, big(names), autosign.Settings{Keys: kasp.Policy{Algorithm: signer.ED25519}})
		w.watch = func(c journal.Commit) {
			if !c.Change.IsEmpty() {
				commits++
			}
		}
		w.start()
		defer w.stop()
		w.run(3 * day)
		w.reported()
		commits = 0
		all := len(expirations(w.zone.Snapshot()))
		for end := time.Now().Add(length); time.Now().Before(end); pause(time.Hour) {
			synctest.Wait()
			list := expirations(w.zone.Snapshot())
			if left := list[0].Sub(w.clock()); left < refresh-time.Second {
				t.Fatalf("a signature expires in %s", left)
			}
			if status := w.keeper().Status(w.clock()); !status.Expires.Equal(list[0]) {
				t.Fatalf("the first signature is said to expire at %s, not %s", status.Expires, list[0])
			}
		}
		list := expirations(w.zone.Snapshot())
		for i, n := 0, len(list)/4; i+n < len(list); i++ { // a quarter of all takes a quarter of the time
			if took := list[i+n].Sub(list[i]); took < jitter/8 {
				t.Errorf("%d of %d signatures expire within %s", n, len(list), took)
				break
			}
		}
		signatures := 0
		for _, r := range w.reported() {
			signatures += r.Signatures
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
		data := signatures - commits // each has a SOA record of its own
		if least, most := all*int(length/(validity-refresh)), all*(int(length/(validity-refresh-jitter))+1); data < least || data > most {
			t.Errorf("%d signatures in %d commits; of %d that there are, %d to %d were to be made", data, commits, all, least, most)
		}
		const slot = 10 * time.Minute // what is due in one is one commit
		if most := (int(length/(validity-refresh-jitter)) + 1) * (int(jitter/slot) + 2); commits > most {
			t.Errorf("%d commits, and %d are the most", commits, most)
		}
		t.Logf("%d signatures of a zone that has %d, in %d commits", signatures, all, commits)
	})
}

// resigned gives how many owners a change signs anew.
func resigned(c *zone.Changeset) int {
	owners := map[dnsname.Name]bool{}
	for _, set := range c.Added {
		owners[set.Owner.Fold()] = true
	}
	return len(owners)
}

// TestRefreshIsBounded: a large zone whose signatures are all due at once is signed anew a
// bit at a time; if they have expired, at once.
func TestRefreshIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := 5_000
		if *rounds > 10 {
			names = 20_000
		}
		var at []time.Time
		var owners []int
		w := newWorld(t, 1, big(names), autosign.Settings{Keys: kasp.Policy{Algorithm: signer.ED25519}})
		w.watch = func(c journal.Commit) {
			if n := resigned(&c.Change); n > 0 {
				at, owners = append(at, time.Now()), append(owners, n)
			}
		}
		w.start()
		pause(time.Hour)
		defer func() { w.stop() }()
		for _, away := range []time.Duration{10 * day, 30 * day} {
			bounded := away < 13*day
			w.stop()
			pause(away)
			at, owners = nil, nil
			began := time.Now()
			w.start()
			pause(10 * time.Minute)
			synctest.Wait()
			const extra = 1 // the apex, for the SOA record
			for i := range at {
				switch {
				case bounded && owners[i] > 500+extra:
					t.Errorf("commit %d signs %d owners", i, owners[i])
				case bounded && i > 0 && at[i].Sub(at[i-1]) < time.Second:
					t.Errorf("commits %d and %d are %s apart", i-1, i, at[i].Sub(at[i-1]))
				case !bounded && (owners[i] < names || at[i] != began):
					t.Errorf("commit %d signs %d owners, after %s", i, owners[i], at[i].Sub(began))
				}
			}
			last := at[len(at)-1].Sub(began)
			if bounded && (len(at) < names/500 || last > time.Duration(2*names/500)*time.Second) || !bounded && len(at) != 1 {
				t.Errorf("%d commits, the last after %s", len(at), last)
			}
			if left := time.Until(expirations(w.zone.Snapshot())[0]); left < 7*day {
				t.Errorf("then a signature expires in %s", left)
			}
		}
	})
}
