package wire

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonefile"
)

const zoneFiles = "../../../test/testdata/zones"

// load makes a snapshot of a master file named after its zone.
func load(t testing.TB, file string) *zone.Snapshot {
	t.Helper()
	r, err := zonefile.Load(file, dnsname.MustParse(strings.TrimSuffix(filepath.Base(file), "zone")), zonefile.Options{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Snapshot
}

// loadAll gives the zones of the test data, those with the longest names first.
func loadAll(t testing.TB) (all []*zone.Snapshot) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(zoneFiles, "*.zone"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d zones in %s: %v", len(files), zoneFiles, err)
	}
	for _, f := range files {
		all = append(all, load(t, f))
	}
	slices.SortFunc(all, func(a, b *zone.Snapshot) int { return len(b.Origin()) - len(a.Origin()) })
	return all
}

// askAll calls fn for questions about all names of a zone, and about some that
// are not there.
func askAll(s *zone.Snapshot, fn func(name dnsname.Name, typ uint16)) {
	types := []uint16{rrset.TypeA, rrset.TypeNS, rrset.TypeMX, rrset.TypeTXT, rrset.TypeDS, rrset.TypeSRV, rrset.TypeSOA, rrset.TypeCNAME, rrset.TypeANY}
	last := dnsname.Name("")
	for set := range s.All() {
		names := []dnsname.Name{set.Owner}
		if set.Owner != last {
			for _, label := range []string{"nope", "a.b.c"} {
				if n, err := dnsname.Parse(label, set.Owner); err == nil {
					names = append(names, n)
				}
			}
		}
		last = set.Owner
		for _, n := range names {
			for _, typ := range append(types, set.Type) {
				if !rrset.IsMeta(typ) || typ == rrset.TypeANY {
					fn(n, typ)
				}
			}
		}
	}
}

// TestZones asks for everything in the zones of the test data and compares what
// comes out of the message with the answer that went into it, and the size with
// that of miekg/dns.
func TestZones(t *testing.T) {
	var p Packer
	var a zone.Answer
	var messages, cut, ours, theirs int
	for _, s := range loadAll(t) {
		askAll(s, func(name dnsname.Name, typ uint16) {
			for _, do := range []bool{false, true} {
				m := new(dns.Msg)
				m.Question = []dns.Question{{Name: name.String(), Qtype: typ, Qclass: dns.ClassINET}}
				if do {
					m.SetEdns0(1232, true)
				}
				raw, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				q := parse(t, raw)
				if q.Name != name {
					t.Fatalf("name %v, want %v", q.Name, name)
				}
				s.Lookup(&zone.Query{Name: q.Name, Type: q.Type, DO: q.DO, All: true}, &a)
				msg, err := p.AppendResponse(nil, q, &a, MaxMessage, nil)
				if err != nil {
					t.Fatalf("%v %d: %v", name, typ, err)
				}
				complete(t, msg, q, &a)
				if other := byMiekg(t, msg); len(msg) > len(other) {
					t.Errorf("%v %d: %d octets, miekg/dns has %d", name, typ, len(msg), len(other))
				} else {
					messages, ours, theirs = messages+1, ours+len(msg), theirs+len(other)
				}
				if len(msg) > q.UDPLimit() {
					cut++
					msg, err = p.AppendResponse(nil, q, &a, q.UDPLimit(), nil)
					if len(msg) > q.UDPLimit() || err != nil && !errors.Is(err, ErrTruncated) {
						t.Errorf("%v %d: %d octets, %v", name, typ, len(msg), err)
					}
					m := unpack(t, msg)
					if checkHead(t, m, msg, q); prefix(t, msg, &a) == nil {
						t.Errorf("%v %d: not cut between RRsets: %v", name, typ, m)
					}
				}
				if t.Failed() {
					t.Fatalf("%v %d: the message was\n%v", name, typ, unpack(t, msg))
				}
			}
		})
	}
	if messages < 3000 || cut < 10 {
		t.Errorf("%d messages, %d of them larger than UDP allows: too few to mean much", messages, cut)
	}
	t.Logf("%d messages of %d octets, miekg/dns has %d; %d larger than UDP allows", messages, ours, theirs, cut)
}

// TestZoneTransfers packs whole zones.
func TestZoneTransfers(t *testing.T) {
	var p StreamPacker
	for _, s := range loadAll(t) {
		all := slices.Collect(s.All())
		var got []record
		transfer(t, &p, axfr(s.Origin()), all, 2048, func(msg []byte) {
			unpack(t, msg)
			got = append(got, read(t, msg)[0]...)
		})
		section(t, s.Origin().String(), got, all)
	}
}

// FuzzEncode takes a message from parsing over lookup to the response.
func FuzzEncode(f *testing.F) {
	zones := loadAll(f)
	for i, s := range zones {
		n := 0
		askAll(s, func(name dnsname.Name, typ uint16) {
			if n++; n%97 == i {
				f.Add(query(f, name.String(), typ, edns(uint16(n), n%2 == 0)), uint16(n))
			}
		})
	}
	f.Add(query(f, "www.example.org.", dns.TypeA), uint16(0))
	f.Fuzz(func(t *testing.T, raw []byte, limit uint16) {
		var q Question
		switch o := ParseQuestion(raw, &q); o {
		case Slow, Drop:
			return
		case FormErr, NotImp, BadVers:
			msg := AppendError(nil, &q, int(limit%4096), nil)
			m := unpack(t, msg)
			checkHeadAndSize(t, m, msg, &q, q.UDPSize)
			if len(msg) > MinUDP {
				t.Fatalf("%v: %v", o, m)
			}
			return
		case Plain:
		}
		i := slices.IndexFunc(zones, func(s *zone.Snapshot) bool { return q.Name.IsBelow(s.Origin()) })
		if i < 0 {
			return
		}
		var p Packer
		var a zone.Answer
		zones[i].Lookup(&zone.Query{Name: q.Name, Type: q.Type, DO: q.DO, All: limit%2 == 0}, &a)
		full, err := p.AppendResponse(nil, &q, &a, MaxMessage, nil)
		if err != nil {
			t.Fatalf("%x: %v", raw, err)
		}
		complete(t, full, &q, &a)
		msg, err := p.AppendResponse(nil, &q, &a, int(limit), nil)
		m := unpack(t, msg)
		checkHead(t, m, msg, &q)
		if len(msg) > max(int(limit), MinUDP) || m.Truncated != errors.Is(err, ErrTruncated) {
			t.Fatalf("%d octets, limit %d, %v", len(msg), limit, err)
		}
		if m.Truncated && prefix(t, msg, &a) == nil {
			t.Fatalf("not cut between RRsets: %v", m)
		}
	})
}
