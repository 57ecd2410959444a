package signer_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// TestPublish: after each edit of a zone that is signed now and then, its data are what
// the edit left, the apex has the keys, and nothing of a signature is left.
func TestPublish(t *testing.T) {
	for seed := range uint64(12) {
		origin := []dnsname.Name{"\x07example\x00", "\x02Ex\x05aMple\x00", dnsname.Root}[seed%3]
		k := testKeys(t, origin, signer.ED25519)
		uses := [][]signer.Use{inUse(k[0]), inUse(k[1:]...)}
		policy := modes[seed%uint64(len(modes))].policy
		e := &editor{rand.New(rand.NewPCG(seed, 7344)), origin, false}
		snap := unsigned(t, origin)
		for range 60 {
			in := uses[e.IntN(8)/7]
			s := newSigner(t, origin, policy, in...)
			txn := snap.Begin()
			point := txn.Savepoint()
			for range e.IntN(5) {
				e.edit(txn)
			}
			if e.IntN(6) == 0 {
				if _, err := s.Sign(txn, signer.Request{Since: point, Now: start, All: true}); err != nil {
					t.Fatal(err)
				}
				if s.Published(txn.View()) {
					t.Fatal("a signed zone is Published")
				}
			} else {
				want, _ := dataOf(txn.View())
				if err := s.Publish(txn, point); err != nil {
					t.Fatal(err)
				}
				got, made := dataOf(txn.View())
				if !maps.Equal(got, want) || len(made) > 0 || !s.Published(txn.View()) {
					t.Fatalf("data\n%v\nwant\n%v\nand left is %v", got, want, made)
				}
				for _, typ := range []uint16{rrset.TypeDNSKEY, rrset.TypeCDS, rrset.TypeCDNSKEY} {
					var rdata []string
					for _, u := range in {
						switch {
						case typ == rrset.TypeCDS && u.Submit:
							rdata = append(rdata, u.DS())
						case typ == rrset.TypeDNSKEY, typ == rrset.TypeCDNSKEY && u.Submit:
							rdata = append(rdata, u.DNSKEY())
						}
					}
					if set, _ := txn.Get(origin, typ); !set.RRset.Equal(mustSet(typ, 3600, rdata...)) {
						t.Fatalf("type %d: %v", typ, set)
					}
				}
			}
			var err error
			if snap, _, err = txn.Commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// dataOf gives the RRsets of a zone that no signer makes, and what one has made beside
// the keys at the apex.
func dataOf(v zone.View) (data map[string]bool, made []string) {
	data = map[string]bool{}
	for n := range v.Owners() {
		for _, set := range v.Sets(n) {
			apex := n.Equal(v.Origin())
			text := fmt.Sprintf("%s %d %d %q", n, set.Type, set.TTL, set.Packed())
			switch {
			case set.Type == rrset.TypeNSEC, apex && set.Type == rrset.TypeNSEC3PARAM:
				made = append(made, text)
			case apex && (set.Type == rrset.TypeDNSKEY || set.Type == rrset.TypeCDS || set.Type == rrset.TypeCDNSKEY):
			case !set.IsEmpty() && set.Type != rrset.TypeNSEC3:
				data[text] = true
			}
			if !set.Sigs.IsEmpty() {
				made = append(made, "RRSIG over "+text)
			}
		}
	}
	for set := range v.NSEC3s() {
		made = append(made, set.Owner.String())
	}
	return data, made
}

// TestPublishCosts: of a zone that is published already only what was edited is changed.
func TestPublishCosts(t *testing.T) {
	origin := dnsname.MustParse("example.")
	s := newSigner(t, origin, signer.Policy{}, inUse(testKeys(t, origin, signer.ED25519)[0])...)
	txn := unsigned(t, origin).Begin()
	for i := range 100 {
		if _, err := txn.Add(dnsname.MustParse(fmt.Sprintf("h%d.example.", i)), rrset.TypeA, 60, "\xc0\x00\x02\x01"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Publish(txn, txn.Savepoint()); err != nil {
		t.Fatal(err)
	}
	snap, _, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	txn = snap.Begin()
	point := txn.Savepoint()
	txn.RemoveName("\x02h1" + origin)
	if err := s.Publish(txn, point); err != nil {
		t.Fatal(err)
	}
	_, change, err := txn.Commit()
	if err != nil || len(change.Removed) != 1 || len(change.Added) != 0 {
		t.Errorf("%v, removed %v, added %v", err, change.Removed, change.Added)
	}
}
