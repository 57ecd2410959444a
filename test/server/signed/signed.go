// Package signed judges signed zones that were transferred: by signing their data anew with the keys of the zone, and by
// the verifiers of others.
package signed

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/test/server/secondary"
)

// Made tells whether records of a type are what a signer makes, and not data.
func Made(rrtype uint16) bool {
	switch rrtype {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY:
		return true
	default:
		return false
	}
}

// Data returns the records that no signer has made.
func Data(rrs []dns.RR) (data []dns.RR) {
	for _, rr := range rrs {
		if !Made(rr.Header().Rrtype) {
			data = append(data, rr)
		}
	}
	return data
}

// Records returns those of an owner, in any letter case, and a type.
func Records(rrs []dns.RR, owner string, rrtype uint16) (found []dns.RR) {
	for _, rr := range rrs {
		if rr.Header().Rrtype == rrtype && strings.EqualFold(rr.Header().Name, owner) {
			found = append(found, rr)
		}
	}
	return found
}

// DNSKEYs returns the DNSKEY records at the apex as text, sorted, without TTL.
func DNSKEYs(rrs []dns.RR, origin string) (list []string) {
	for _, rr := range Records(rrs, origin, dns.TypeDNSKEY) {
		k := rr.(*dns.DNSKEY)
		list = append(list, fmt.Sprintf("%d %d %d %s", k.Flags, k.Protocol, k.Algorithm, k.PublicKey))
	}
	slices.Sort(list)
	return list
}

// Keys reads the keys of a zone from the key files in a folder: all of them, or, with records, those whose DNSKEY
// record is among these. A key with the SEP flag is a CSK if no other of its algorithm is there without.
func Keys(folder, origin string, records []dns.RR) ([]*signer.Key, error) {
	name, err := dnsname.Parse(origin, dnsname.Root)
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(folder, signer.FilePrefix(name.Fold())+"*.private"))
	if err != nil {
		return nil, err
	}
	var keys []*signer.Key
	for _, f := range files {
		k, err := signer.ReadFiles(f)
		if err != nil {
			return nil, err
		}
		if records == nil || slices.ContainsFunc(Records(records, origin, dns.TypeDNSKEY), func(rr dns.RR) bool {
			_, rdata, err := rrset.FromRR(rr)
			return err == nil && rdata == k.DNSKEY()
		}) {
			keys = append(keys, k)
		}
	}
	for i, k := range keys {
		split := slices.ContainsFunc(keys, func(o *signer.Key) bool { return o.Algorithm() == k.Algorithm() && o.Role() == signer.ZSK })
		if k.Role() == signer.KSK && !split {
			if keys[i], err = k.As(signer.CSK); err != nil {
				return nil, err
			}
		}
	}
	return keys, nil
}

// Anew signs the data of a zone from nothing with keys that all sign, and gives the records. CDS and CDNSKEY records are
// those that the zone has.
func Anew(records []dns.RR, origin string, keys []*signer.Key, policy signer.Policy) ([]dns.RR, error) {
	name, err := dnsname.Parse(origin, dnsname.Root)
	if err != nil {
		return nil, err
	}
	b := zone.NewBuilder(name)
	for _, rr := range Data(records) {
		owner, rdata, err := rrset.FromRR(rr)
		if err == nil {
			err = b.Add(owner, rr.Header().Rrtype, rr.Header().Ttl, []byte(rdata))
		}
		if err != nil {
			return nil, err
		}
	}
	plain, _, err := b.Snapshot()
	if err != nil {
		return nil, err
	}
	var uses []signer.Use
	for _, k := range keys {
		submit := slices.ContainsFunc(Records(records, origin, dns.TypeCDS), func(rr dns.RR) bool { return rr.(*dns.CDS).KeyTag == k.Tag() })
		uses = append(uses, signer.Use{Key: k, Publish: true, Sign: true, Submit: submit})
	}
	s, err := signer.New(name, policy, uses)
	if err != nil {
		return nil, err
	}
	txn := plain.Begin()
	if _, err := s.Sign(txn, signer.Request{Since: txn.Savepoint(), Now: time.Now(), All: true}); err != nil {
		return nil, err
	}
	whole, _, err := txn.Commit()
	if err != nil {
		return nil, err
	}
	var rrs []dns.RR
	for set := range whole.All() {
		rrs = rrset.AppendRRs(rrset.AppendRRs(rrs, set.Owner.String(), set.RRset), set.Owner.String(), set.Sigs)
	}
	return rrs, nil
}

// SameAsAnew tells in what a zone differs from what signing it anew makes of it: in anything but when signatures were
// made, until when they hold, and their octets. Each RRset has one signature of each key that is to sign it, or it differs.
func SameAsAnew(records []dns.RR, origin string, keys []*signer.Key, policy signer.Policy) error {
	anew, err := Anew(records, origin, keys, policy)
	if err != nil {
		return err
	}
	got, err := secondary.NewVersion(timeless(records))
	if err != nil {
		return err
	}
	want, err := secondary.NewVersion(timeless(anew))
	if err != nil {
		return err
	}
	if d := got.Difference(want); d != "" {
		return errors.New("signed anew it is another: " + d)
	}
	return nil
}

// timeless returns records whose signatures say nothing of the time they were made at.
func timeless(rrs []dns.RR) []dns.RR {
	list := slices.Clone(rrs)
	for i, rr := range list {
		if sig, ok := rr.(*dns.RRSIG); ok {
			sig := dns.Copy(sig).(*dns.RRSIG)
			sig.Inception, sig.Expiration, sig.Signature = 0, 0, ""
			list[i] = sig
		}
	}
	return list
}

// Hold tells which signatures over records do not hold with one of the keys, or are not valid at a time or an hour around
// it; and, if it is none, that there are signatures at all. Keys may come from elsewhere than the records.
func Hold(rrs, keys []dns.RR, at time.Time) error {
	sets := make(map[string][]dns.RR)
	id := func(owner string, rrtype uint16) string { return fmt.Sprintf("%s %d", strings.ToLower(owner), rrtype) }
	for _, rr := range rrs {
		i := id(rr.Header().Name, rr.Header().Rrtype)
		sets[i] = append(sets[i], rr)
	}
	n := 0
	for _, rr := range rrs {
		sig, ok := rr.(*dns.RRSIG)
		if !ok {
			continue
		}
		n++
		i := slices.IndexFunc(keys, func(k dns.RR) bool {
			return k.(*dns.DNSKEY).KeyTag() == sig.KeyTag && k.(*dns.DNSKEY).Algorithm == sig.Algorithm
		})
		if i < 0 {
			return fmt.Errorf("%v: by none of the keys", sig)
		}
		if !sig.ValidityPeriod(at.Add(-time.Hour+time.Minute)) || !sig.ValidityPeriod(at.Add(time.Hour)) {
			return fmt.Errorf("%v: not valid at %v", sig, at)
		}
		if err := sig.Verify(keys[i].(*dns.DNSKEY), sets[id(sig.Hdr.Name, sig.TypeCovered)]); err != nil {
			return fmt.Errorf("%v: %w", sig, err)
		}
	}
	if n == 0 {
		return errors.New("no signatures")
	}
	return nil
}

// Anchors returns the DS records of the keys with the SEP flag among records, with SHA-256 digests.
func Anchors(rrs []dns.RR, origin string) (list []*dns.DS) {
	for _, rr := range Records(rrs, origin, dns.TypeDNSKEY) {
		if k := rr.(*dns.DNSKEY); k.Flags&dns.SEP != 0 {
			list = append(list, k.ToDS(dns.SHA256))
		}
	}
	return list
}

// Write writes records to a master file, an absolute name in front of each.
func Write(path string, rrs []dns.RR) error {
	var b strings.Builder
	for _, rr := range rrs {
		fmt.Fprintln(&b, strings.Replace(rr.String(), "\tCLASS1\t", "\tIN\t", 1)) // of types that the library does not know
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}

// sum names a file by what stands in it.
func sum(rrs []dns.RR) string {
	h := sha256.New()
	for _, rr := range rrs {
		fmt.Fprintln(h, rr)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
