package signer_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// small is a zone for the cases of one edit.
type small struct {
	*testing.T
	s    *signer.Signer
	j    judge
	snap *zone.Snapshot
}

func newSmall(t *testing.T, policy signer.Policy, records ...string) *small {
	origin := dnsname.MustParse("example.")
	k := testKeys(t, origin, signer.ED25519)[0]
	z := &small{T: t, s: newSigner(t, origin, policy, inUse(k)...), snap: unsigned(t, origin)}
	z.j = judge{keys: []*signer.Key{k}, data: []*signer.Key{k}, nsec3: policy.NSEC3, optOut: policy.OptOut, now: start.Unix()}
	z.edit(records...)
	return z
}

// edit adds records, or, with a minus in front, removes them, or all of a name or type.
func (z *small) edit(edits ...string) (zone.Changeset, signer.Result) {
	z.Helper()
	next, change, result := version(z, z.s, z.snap, start, nil, func(t *zone.Txn) {
		for _, text := range edits {
			text, minus := strings.CutPrefix(text, "-")
			words := strings.Fields(text)
			switch {
			case minus && len(words) == 1:
				t.RemoveName(dnsname.MustParse(words[0]))
				continue
			case minus && len(words) == 2:
				t.RemoveSet(dnsname.MustParse(words[0]), dns.StringToType[words[1]])
				continue
			}
			rr, err := dns.NewRR(text)
			if err != nil {
				z.Fatal(err)
			}
			owner, rdata, err := rrset.FromRR(rr)
			if err != nil {
				z.Fatal(err)
			}
			h := rr.Header()
			switch {
			case minus:
				t.Remove(owner, h.Rrtype, rdata)
			case h.Rrtype == rrset.TypeSOA:
				_, err = t.Replace(owner, mustSet(h.Rrtype, h.Ttl, rdata))
			default:
				_, err = t.Add(owner, h.Rrtype, h.Ttl, rdata)
			}
			if err != nil {
				z.Fatal(err)
			}
		}
	})
	if next.Serial() != z.snap.Serial().Next() {
		z.Fatalf("serial %d after %d", next.Serial(), z.snap.Serial())
	}
	z.snap = next
	z.j.good(z, next)
	return change, result
}

// chain lists the NSEC owners with their next ones, and the types that are no RRSIG and NSEC.
func (z *small) chain() string {
	var list []string
	for set := range z.snap.All() {
		if set.Type != rrset.TypeNSEC {
			continue
		}
		n := rrset.AppendRRs(nil, set.Owner.String(), set.RRset)[0].(*dns.NSEC)
		text := n.Hdr.Name + ">" + n.NextDomain
		for _, typ := range n.TypeBitMap {
			if typ != rrset.TypeRRSIG && typ != rrset.TypeNSEC {
				text += " " + dns.TypeToString[typ]
			}
		}
		list = append(list, text)
	}
	return strings.ReplaceAll(strings.Join(list, "\n"), "example.", "@")
}

// signed lists the RRsets that have other RRSIGs after a change.
func signed(change zone.Changeset) string {
	var list []string
	for _, s := range change.Added {
		if !s.Sigs.IsEmpty() {
			list = append(list, strings.TrimSuffix(s.Owner.String(), "example.")+" "+dns.TypeToString[s.Type])
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// hashes tells which of some names have NSEC3.
func (z *small) hashes(names ...string) (have []string) {
	for _, n := range names {
		h := dnsname.MustParse(strings.ToLower(dns.HashName(n, dns.SHA1, 0, "")) + ".example.")
		if _, ok := z.snap.View().Get(h, rrset.TypeNSEC3); ok {
			have = append(have, n)
		}
	}
	return have
}

func (z *small) want(what, got, want string) {
	z.Helper()
	if got != want {
		z.Fatalf("%s:\n%s\nwant\n%s", what, got, want)
	}
}

const apexTypes = " NS SOA DNSKEY CDS CDNSKEY\n"

// U1, U2: a name comes between two and goes again.
func TestNameComesAndGoes(t *testing.T) {
	z := newSmall(t, signer.Policy{}, "a.example. 60 TXT a", "z.example. 60 TXT z")
	before := z.chain()
	change, result := z.edit("m.example. 60 A 192.0.2.1")
	z.want("chain", z.chain(), "@>a.@"+apexTypes+"a.@>m.@ TXT\nm.@>ns.@ A\nns.@>z.@ A\nz.@>@ TXT")
	z.want("signed", signed(change), " SOA, a. NSEC, m. A, m. NSEC")
	if result.Signatures != 4 || result.All {
		t.Errorf("%+v", result)
	}
	change, _ = z.edit("-m.example. A") // RRSIG and NSEC are left to the signer
	z.want("chain", z.chain(), before)
	z.want("signed", signed(change), " SOA, a. NSEC")
	z.edit("m.example. 60 A 192.0.2.1")
	z.edit("-m.example.")
	z.want("chain", z.chain(), before)
}

// U3, U4, S11: a delegation hides what is below it, and what is below comes back.
func TestDelegationComesAndGoes(t *testing.T) {
	for _, typ := range []string{"NS", "DNAME"} {
		z := newSmall(t, signer.Policy{}, "sub.example. 60 A 192.0.2.1", "x.y.sub.example. 60 TXT x", "z.sub.example. 60 A 192.0.2.2", "t.example. 60 TXT t")
		before := z.chain()
		change, _ := z.edit("sub.example. 60 " + typ + " z.sub.example.")
		types := map[string]string{"NS": " NS", "DNAME": " A DNAME"}[typ]
		z.want("chain", z.chain(), "@>ns.@"+apexTypes+"ns.@>sub.@ A\nsub.@>t.@"+types+"\nt.@>@ TXT")
		z.want("signed", signed(change), map[string]string{"NS": " SOA, sub. NSEC", "DNAME": " SOA, sub. DNAME, sub. NSEC"}[typ])
		change, _ = z.edit("new.sub.example. 60 A 192.0.2.3") // glue
		z.want("signed", signed(change), " SOA")
		z.edit("-new.sub.example.")
		change, _ = z.edit("-sub.example. " + typ)
		z.want("chain", z.chain(), before)
		z.want("signed", signed(change), map[string]string{
			"NS":    " SOA, sub. A, sub. NSEC, x.y.sub. NSEC, x.y.sub. TXT, z.sub. A, z.sub. NSEC",
			"DNAME": " SOA, sub. NSEC, x.y.sub. NSEC, x.y.sub. TXT, z.sub. A, z.sub. NSEC",
		}[typ])
	}
}

// TestDSComesAndGoes: DS is signed at the cut, and in the bitmap.
func TestDSComesAndGoes(t *testing.T) {
	z := newSmall(t, signer.Policy{}, "sub.example. 60 NS ns.sub.example.", "ns.sub.example. 60 A 192.0.2.1")
	before := z.chain()
	change, _ := z.edit("sub.example. 60 DS 1 13 2 " + strings.Repeat("00", 32))
	z.want("signed", signed(change), " SOA, sub. DS, sub. NSEC")
	z.edit("-sub.example. DS")
	z.want("chain", z.chain(), before)
}

// U5: a type more changes the bitmap only; a record more, and another TTL, not even that.
func TestTypeComes(t *testing.T) {
	z := newSmall(t, signer.Policy{}, "a.example. 60 A 192.0.2.1")
	change, _ := z.edit("a.example. 60 TXT a")
	z.want("signed", signed(change), " SOA, a. NSEC, a. TXT")
	change, _ = z.edit("a.example. 60 A 192.0.2.2")
	z.want("signed", signed(change), " SOA, a. A")
	change, _ = z.edit("a.example. 61 A 192.0.2.2")
	z.want("signed", signed(change), " SOA, a. A")
	change, result := z.edit()
	z.want("signed", signed(change), " SOA")
	if result.Names != 1 {
		t.Errorf("%+v", result)
	}
}

// U6, U7, S13, S14: NSEC3 records of empty non-terminals come and go with what is below.
func TestDeepNameNSEC3(t *testing.T) {
	z := newSmall(t, signer.Policy{NSEC3: true})
	names := []string{"example.", "ns.example.", "c.example.", "b.c.example.", "a.b.c.example."}
	z.edit("a.b.c.example. 60 A 192.0.2.1")
	if got := z.hashes(names...); !slices.Equal(got, names) {
		t.Fatalf("NSEC3 of %s", got)
	}
	z.edit("c.example. 60 A 192.0.2.1")
	z.edit("-c.example.")
	z.edit("d.b.c.example. 60 A 192.0.2.1")
	z.edit("-a.b.c.example.")
	z.edit("-d.b.c.example. A")
	if got := z.hashes(names...); !slices.Equal(got, names[:2]) {
		t.Fatalf("NSEC3 of %s", got)
	}
}

// S15: insecure delegations have no NSEC3 with opt-out, and secure ones have.
func TestOptOut(t *testing.T) {
	z := newSmall(t, signer.Policy{NSEC3: true, OptOut: true})
	change, _ := z.edit("sub.example. 60 NS ns.sub.example.", "ns.sub.example. 60 A 192.0.2.1")
	z.want("signed", signed(change), " SOA")
	if got := z.hashes("sub.example.", "ns.sub.example."); got != nil {
		t.Errorf("NSEC3 of %s", got)
	}
	var a zone.Answer
	z.snap.Lookup(&zone.Query{Name: dnsname.MustParse("www.sub.example."), Type: rrset.TypeA, DO: true}, &a)
	proofs := 0
	for _, s := range a.Authority {
		if s.Type == rrset.TypeNSEC3 && s.First()[1] == 1 {
			proofs++
		}
	}
	if a.Kind != zone.Delegation || proofs == 0 {
		t.Errorf("%s with %d NSEC3 records", a.Kind, proofs)
	}
	ds := "sub.example. 60 DS 1 13 2 " + strings.Repeat("00", 32)
	z.edit(ds)
	if got := z.hashes("sub.example."); len(got) != 1 {
		t.Error("no NSEC3 of a delegation with DS")
	}
	z.edit("-" + ds)
	if got := z.hashes("sub.example."); got != nil {
		t.Error("NSEC3 of a delegation without DS")
	}
}

// U8: the TTL of denials is the lesser of MINIMUM and the TTL of the SOA record.
func TestMinimumChanges(t *testing.T) {
	for _, mode := range modes {
		z := newSmall(t, mode.policy, "a.example. 60 A 192.0.2.1", "b.c.example. 60 A 192.0.2.1")
		for _, soa := range []string{"example. 3600 SOA ns.example. h.example. 8 1 1 1 60", "example. 30 SOA ns.example. h.example. 8 1 1 1 60"} {
			z.snap = unserial(z.T, z.snap, 8)
			change, result := z.edit(soa)
			for _, s := range change.Added {
				if !s.Sigs.IsEmpty() && s.Type != rrset.TypeSOA && s.Type != rrset.TypeNSEC && s.Type != rrset.TypeNSEC3 {
					t.Errorf("%s: signed anew: %s type %d", mode.name, s.Owner, s.Type)
				}
			}
			if !result.All {
				t.Errorf("%s: %+v", mode.name, result)
			}
		}
	}
}

// unserial gives the zone another serial.
func unserial(t *testing.T, s *zone.Snapshot, serial zone.Serial) *zone.Snapshot {
	t.Helper()
	txn := s.Begin()
	if err := txn.SetSerial(serial); err != nil {
		t.Fatal(err)
	}
	next, _, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// TestWildcardLabels is what S6 stands on: the asterisk is no label of a signature.
func TestWildcardLabels(t *testing.T) {
	z := newSmall(t, signer.Policy{}, "*.a.example. 60 A 192.0.2.1")
	set, _ := z.snap.View().Get(dnsname.MustParse("*.a.example."), rrset.TypeA)
	if labels := set.Sigs.First()[3]; labels != 2 {
		t.Errorf("%d labels", labels)
	}
}

// S12: what a DNAME stands for is not signed, it is.
func TestDNAMEAtApex(t *testing.T) {
	z := newSmall(t, signer.Policy{NSEC3: true}, "a.b.example. 60 A 192.0.2.1")
	z.edit("example. 60 DNAME example.net.")
	if n := len(slices.Collect(z.snap.View().NSEC3s())); n != 1 {
		t.Errorf("%d NSEC3 records below a DNAME", n)
	}
	z.edit("-example. DNAME")
}

// TestHashedOwnerIsAName has data where an NSEC3 record stands.
func TestHashedOwnerIsAName(t *testing.T) {
	z := newSmall(t, signer.Policy{NSEC3: true})
	hashed := strings.ToLower(dns.HashName("ns.example.", dns.SHA1, 0, "")) + ".example."
	z.edit(hashed + " 60 A 192.0.2.1")
	z.edit(hashed + " 60 TXT x")
	z.edit("-ns.example.")
	z.edit("ns.example. 60 A 192.0.2.1")
	z.edit("-"+hashed+" A", "-"+hashed+" TXT")
}

// TestEditsOfHashedOwners: what an edit does to the owner of an NSEC3 record does not
// reach the record, nor does one stay that an edit brings.
func TestEditsOfHashedOwners(t *testing.T) {
	z := newSmall(t, signer.Policy{NSEC3: true})
	hashed := strings.ToLower(dns.HashName("ns.example.", dns.SHA1, 0, "")) + ".example."
	before := dump(unserial(t, z.snap, 1), true)
	nsec3 := " 60 NSEC3 1 0 0 - 0123456789abcdefghijklmnopqrstuv A"
	for _, edits := range [][]string{
		{"-" + hashed},
		{"-" + hashed + " NSEC3"},
		{"-" + hashed + " RRSIG"},
		{hashed + nsec3},
		{"x.example." + nsec3},
		{hashed + " 60 A 192.0.2.1", "-" + hashed},
		{"x.example. 60 RRSIG NSEC3 15 2 60 20400101000000 20200101000000 1 example. AAAA"},
	} {
		change, _ := z.edit(edits...)
		z.want("signed", signed(change), " SOA")
		z.want(edits[0], dump(unserial(t, z.snap, 1), true), before)
	}
}

// TestEditsOfWhatIsManaged: RRSIG, NSEC and the keys at the apex are as they were,
// whatever an edit does to them.
func TestEditsOfWhatIsManaged(t *testing.T) {
	for _, mode := range modes {
		z := newSmall(t, mode.policy, "a.example. 60 A 192.0.2.1")
		before := dump(unserial(t, z.snap, 1), true)
		change, _ := z.edit("-example. DNSKEY", "-example. NSEC", "-example. NSEC3PARAM", "-example. RRSIG", "-a.example. RRSIG", "-a.example. NSEC",
			"example. 60 CDS 0 0 0 00", "a.example. 60 NSEC b.example. A")
		z.want("signed", signed(change), " SOA")
		z.want("zone", dump(unserial(t, z.snap, 1), true), before)
	}
}

// TestForeignSignature: a signature that an edit brings does not stay, though it names
// our key.
func TestForeignSignature(t *testing.T) {
	z := newSmall(t, signer.Policy{}, "a.example. 60 A 192.0.2.1")
	owner := dnsname.MustParse("a.example.")
	next, _, _ := version(t, z.s, z.snap, start, nil, func(txn *zone.Txn) {
		set, _ := txn.Get(owner, rrset.TypeA)
		rdata := []byte(set.Sigs.First())
		rdata[len(rdata)-1] ^= 1
		txn.RemoveSet(owner, rrset.TypeRRSIG)
		if _, err := txn.Add(owner, rrset.TypeRRSIG, 60, string(rdata)); err != nil {
			t.Fatal(err)
		}
	})
	z.j.good(t, next)
}

// K6, S2: signatures are made anew within refresh of their end, in batches, those
// that end first before others.
func TestRefresh(t *testing.T) {
	for _, mode := range modes {
		var records []string
		for i := range 50 {
			records = append(records, string(rune('a'+i%26))+strings.Repeat("x", i/26)+".example. 60 A 192.0.2.1")
		}
		z := newSmall(t, mode.policy, records...)
		queue := z.s.Queue(z.snap, start)
		first, ok := queue.Next(z.snap, start)
		if limit := start.Add(9 * 24 * time.Hour); !ok || first.After(limit) || first.Before(limit.Add(-12*time.Hour)) {
			t.Fatalf("first is due at %s", first)
		}
		if due := queue.Due(z.snap, first.Add(-time.Second), 10); len(due) > 0 {
			t.Fatalf("due before time: %s", due)
		}
		if due := queue.Due(z.snap, first, 10); len(due) == 0 || len(due) > 10 {
			t.Fatalf("due at %s: %s", first, due)
		}
		now := start.Add(9 * 24 * time.Hour)
		batches := 0
		for ; ; batches++ {
			due := queue.Due(z.snap, now, 10)
			if len(due) == 0 {
				break
			}
			if again := queue.Due(z.snap, now, 10); !slices.Equal(again, due) {
				t.Fatalf("%s, and then %s", due, again)
			}
			next, change, result := version(t, z.s, z.snap, now, due, nil)
			if result.All {
				t.Fatal("all names were looked at")
			}
			queue.Update(next, &change, now)
			z.snap = next
		}
		z.j.now = now.Unix()
		z.j.good(t, z.snap)
		if batches < 5 {
			t.Errorf("%s: %d batches", mode.name, batches)
		}
		if next, _ := queue.Next(z.snap, now); next.Before(now.Add(8 * 24 * time.Hour)) {
			t.Errorf("%s: next is due at %s", mode.name, next)
		}
		for set := range z.snap.All() {
			for r := range set.Sigs.All() {
				if at := time.Unix(int64(uint32(r[8])<<24|uint32(r[9])<<16|uint32(r[10])<<8|uint32(r[11])), 0); !at.After(now.Add(5 * 24 * time.Hour)) {
					t.Fatalf("%s: a signature expires at %s", set.Owner, at)
				}
			}
		}
	}
}

// TestRetire: with a new ZSK the signatures of the one before stay until they are due.
func TestRetire(t *testing.T) {
	origin := dnsname.MustParse("example.")
	k := testKeys(t, origin, signer.ED25519)
	other, err := signer.Generate(origin, signer.ED25519, signer.ZSK)
	if err != nil {
		t.Fatal(err)
	}
	ksk := signer.Use{Key: k[1], Publish: true, Sign: true, Submit: true}
	before := newSigner(t, origin, signer.Policy{}, ksk, signer.Use{Key: k[2], Publish: true, Sign: true}, signer.Use{Key: other, Publish: true})
	during := newSigner(t, origin, signer.Policy{}, ksk, signer.Use{Key: k[2], Publish: true, Retire: true}, signer.Use{Key: other, Publish: true, Sign: true})
	after := newSigner(t, origin, signer.Policy{}, ksk, signer.Use{Key: other, Publish: true, Sign: true})
	snap, _, _ := version(t, before, unsigned(t, origin), start, nil, nil)
	snap, change, result := version(t, during, snap, start, nil, nil)
	if got := signed(change); got != " SOA" || !result.All {
		t.Errorf("signed when the key retires: %s; %+v", got, result)
	}
	j := judge{keys: k[1:2], data: []*signer.Key{other}, extra: k[2:], now: start.Unix()}
	j.good(t, snap)
	snap, change, _ = version(t, during, snap, start, nil, func(txn *zone.Txn) {
		if _, err := txn.Add("\x01a"+origin, rrset.TypeA, 60, "\xc0\x00\x02\x01"); err != nil {
			t.Fatal(err)
		}
	})
	if got := signed(change); got != " NSEC,  SOA, a. A, a. NSEC" {
		t.Errorf("signed after an edit: %s", got)
	}
	j.good(t, snap)
	snap, change, _ = version(t, after, snap, start, nil, nil)
	if got := signed(change); got != " DNSKEY,  NS,  SOA, ns. A, ns. NSEC" {
		t.Errorf("signed when the key goes: %s", got)
	}
	j.extra = nil
	j.good(t, snap)
}

// TestRetireCSK: a CSK that becomes a KSK goes on to sign the keys, and its signatures
// over the data stay until they are due, or all are looked at without Retire.
func TestRetireCSK(t *testing.T) {
	origin := dnsname.MustParse("example.")
	k := testKeys(t, origin, signer.ED25519)
	ksk, err := k[0].As(signer.KSK)
	if err != nil {
		t.Fatal(err)
	}
	zsk := signer.Use{Key: k[2], Publish: true, Sign: true}
	before := newSigner(t, origin, signer.Policy{}, signer.Use{Key: k[0], Publish: true, Sign: true}, signer.Use{Key: k[2], Publish: true})
	during := newSigner(t, origin, signer.Policy{}, signer.Use{Key: ksk, Publish: true, Sign: true, Retire: true}, zsk)
	after := newSigner(t, origin, signer.Policy{}, signer.Use{Key: ksk, Publish: true, Sign: true}, zsk)
	snap, _, _ := version(t, before, unsigned(t, origin), start, nil, nil)
	snap, change, result := version(t, during, snap, start, nil, nil)
	if got := signed(change); got != " SOA" || !result.All {
		t.Errorf("signed when the key becomes a KSK: %s; %+v", got, result)
	}
	j := judge{keys: []*signer.Key{ksk}, data: k[2:], extra: k[:1], now: start.Unix()}
	j.good(t, snap)
	txn := snap.Begin()
	point := txn.Savepoint()
	if result, err := after.Sign(txn, signer.Request{Since: point, Now: start, All: true}); err != nil || result.Signatures != 4 {
		t.Errorf("the rest: %+v, %v", result, err)
	}
	if snap, _, err = txn.Commit(); err != nil {
		t.Fatal(err)
	}
	j.extra = nil
	j.good(t, snap)
}

// TestNothingToDo: what is signed stays as it is, and looking at all of it finds that.
func TestNothingToDo(t *testing.T) {
	for _, mode := range modes {
		z := newSmall(t, mode.policy, "a.b.example. 60 A 192.0.2.1")
		for _, all := range []bool{false, true} {
			txn := z.snap.Begin()
			result, err := z.s.Sign(txn, signer.Request{Since: txn.Savepoint(), Now: start.Add(time.Hour), All: all, Due: []dnsname.Name{"\x01b" + txn.Origin(), "\x03net\x00"}})
			if err != nil || result.Signatures > 0 || txn.Changed() || result.All != all {
				t.Errorf("%s: %+v, %v", mode.name, result, err)
			}
		}
	}
}

// TestClock: signatures that are from the future or past their end are made anew, as
// all are when the clock jumps (K7).
func TestClock(t *testing.T) {
	for _, jump := range []time.Duration{-2 * time.Hour, 30 * 24 * time.Hour} {
		z := newSmall(t, signer.Policy{})
		now := start.Add(jump)
		due := z.s.Queue(z.snap, now).Due(z.snap, now, 100)
		if jump < 0 { // the queue does not look at inceptions
			due = slices.Collect(z.snap.View().Owners())
		}
		next, _, _ := version(t, z.s, z.snap, now, due, nil)
		z.j.now = now.Unix()
		z.j.good(t, next)
	}
}

// TestBrokenChain: where an NSEC3 record is none that we have made the whole chain is
// made anew.
func TestBrokenChain(t *testing.T) {
	for _, rdata := range []string{"", "\x01\x00\x00\x00\x00\x14short", "\x01\x00\x00\x05\x01s\x14" + strings.Repeat("h", 20)} {
		z := newSmall(t, signer.Policy{NSEC3: true}, "a.example. 60 A 192.0.2.1", "b.example. 60 A 192.0.2.1")
		for set := range z.snap.View().NSEC3s() {
			txn := z.snap.Begin()
			if _, err := txn.Replace(set.Owner, mustSet(rrset.TypeNSEC3, 300, rdata)); err != nil {
				t.Fatal(err)
			}
			broken, _, err := txn.Commit()
			if err != nil {
				t.Fatal(err)
			}
			next, _, _ := version(t, z.s, broken, start, []dnsname.Name{set.Owner}, nil)
			z.j.good(t, next)
		}
	}
}

// TestStrip: without what is signed a zone is what it was.
func TestStrip(t *testing.T) {
	for _, mode := range modes {
		z := newSmall(t, mode.policy, "a.b.example. 60 A 192.0.2.1", "sub.example. 60 NS ns.sub.example.", "sub.example. 60 DS 1 13 2 "+strings.Repeat("00", 32))
		txn := z.snap.Begin()
		if err := signer.Strip(txn); err != nil {
			t.Fatal(err)
		}
		next, _, err := txn.Commit()
		if err != nil {
			t.Fatal(err)
		}
		if got := dump(next, true); strings.Count(got, "\n") != 6 {
			t.Errorf("%s:\n%s", mode.name, got)
		}
	}
}

// TestWithdraw asks the parent to remove the DS records.
func TestWithdraw(t *testing.T) {
	origin := dnsname.MustParse("example.")
	k := testKeys(t, origin, signer.ED25519)[0]
	s := newSigner(t, origin, signer.Policy{Withdraw: true}, signer.Use{Key: k, Publish: true, Sign: true})
	snap, _, _ := version(t, s, unsigned(t, origin), start, nil, nil)
	(&judge{keys: []*signer.Key{k}, data: []*signer.Key{k}, now: start.Unix()}).good(t, snap)
	if got := dump(snap, false); !strings.Contains(got, "IN\tCDS\t0 0 0 00\n") || !strings.Contains(got, "IN\tCDNSKEY\t0 3 0 AA==\n") {
		t.Error(got)
	}
}

// TestSOAMissing: what has no SOA record is no zone.
func TestSOAMissing(t *testing.T) {
	z := newSmall(t, signer.Policy{})
	txn := z.snap.Begin()
	txn.RemoveSet(txn.Origin(), rrset.TypeSOA)
	if _, err := z.s.Sign(txn, signer.Request{Since: txn.Savepoint(), Now: start}); !errors.Is(err, zone.ErrNoSOA) {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	origin, other := dnsname.MustParse("example."), dnsname.MustParse("example.net.")
	k, p256 := testKeys(t, origin, signer.ED25519), testKeys(t, origin, signer.ECDSAP256SHA256)
	long := dnsname.Name(strings.Repeat("\x3f"+strings.Repeat("l", 63), 3) + "\x1f" + strings.Repeat("l", 31) + "\x00")
	for _, tc := range []struct {
		name   string
		origin dnsname.Name
		policy signer.Policy
		uses   []signer.Use
		want   error
	}{
		{"no key", origin, signer.Policy{}, nil, signer.ErrNoKey},
		{"KSK alone", origin, signer.Policy{}, inUse(k[1]), signer.ErrNoKey},
		{"ZSK alone", origin, signer.Policy{}, inUse(k[2]), signer.ErrNoKey},
		{"keys that do not sign", origin, signer.Policy{}, []signer.Use{{Key: k[0], Publish: true}}, signer.ErrNoKey},
		{"key of another zone", origin, signer.Policy{}, inUse(testKeys(t, other, signer.ED25519)[0]), signer.ErrZone},
		{"a key twice", origin, signer.Policy{}, inUse(k[0], k[0]), signer.ErrSameTag},
		{"an algorithm that signs half", origin, signer.Policy{}, inUse(k[0], p256[1]), signer.ErrUnsigned},
		{"a published algorithm that does not sign", origin, signer.Policy{}, append(inUse(k[0]), signer.Use{Key: p256[0], Publish: true}), signer.ErrUnsigned},
		{"refresh as long as validity", origin, signer.Policy{Validity: time.Hour, Refresh: time.Hour, Jitter: 1}, inUse(k[0]), signer.ErrPolicy},
		{"jitter that leaves no time", origin, signer.Policy{Validity: 2 * time.Hour, Refresh: time.Hour, Jitter: time.Hour}, inUse(k[0]), signer.ErrPolicy},
		{"validity past 2^31 seconds", origin, signer.Policy{Validity: 1 << 31 * time.Second}, inUse(k[0]), signer.ErrPolicy},
		{"opt-out without NSEC3", origin, signer.Policy{OptOut: true}, inUse(k[0]), signer.ErrPolicy},
		{"DS to be removed and set", origin, signer.Policy{Withdraw: true}, inUse(k[0]), signer.ErrPolicy},
		{"a name too long for NSEC3", long, signer.Policy{NSEC3: true}, inUse(testKeys(t, long, signer.ED25519)[0]), signer.ErrLong},
		{"a name too long for NSEC3, with NSEC", long, signer.Policy{}, inUse(testKeys(t, long, signer.ED25519)[0]), nil},
	} {
		if _, err := signer.New(tc.origin, tc.policy, tc.uses); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}
