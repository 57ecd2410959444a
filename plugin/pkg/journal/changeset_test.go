package journal_test

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/journal"
	"github.com/trustdns/trustdns/plugin/pkg/journal/journaltest"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

var (
	genOwner = rapid.SampledFrom([]dnsname.Name{
		dnsname.Root, "\x01a\x00", "\x01b\x01a\x00", "\x01A\x00", "\x07example\x03org\x00", "\x03www\x07example\x03org\x00", "\x01\x00\x00",
		dnsname.Name(strings.Repeat("\x01x", 127)) + "\x00",
	})
	genSerial = rapid.Map(rapid.Uint32(), func(n uint32) zone.Serial { return zone.Serial(n) })
	genSigs   = func(t *rapid.T, covers uint16) rrset.RRset {
		sig := string([]byte{byte(covers >> 8), byte(covers)}) + strings.Repeat("\x07", 16) + "\x01a\x00"
		return newSet(t, rrset.TypeRRSIG, sig+rapid.StringN(0, 5, 5).Draw(t, "signature"), sig+"more")
	}
	genSet = rapid.Custom(func(t *rapid.T) zone.Set {
		s := zone.Set{Owner: genOwner.Draw(t, "owner")}
		s.Type = rapid.SampledFrom([]uint16{rrset.TypeTXT, rrset.TypeNS, rrset.TypeNSEC3, 65535}).Draw(t, "type")
		which := rapid.IntRange(0, 2).Draw(t, "which")
		if which != 1 {
			if s.Type == rrset.TypeNS {
				s.RRset = newSet(t, s.Type, string(genOwner.Draw(t, "target")), "\x02ns\x00")
			} else {
				s.RRset = newSet(t, s.Type, "", rapid.StringN(0, 40, 60).Draw(t, "rdata"), strings.Repeat("r", 300))
			}
		}
		if which != 0 {
			s.Sigs = genSigs(t, s.Type)
		}
		return s
	})
	genChangeset = rapid.Custom(func(t *rapid.T) zone.Changeset {
		return zone.Changeset{
			From: genSerial.Draw(t, "from"), To: genSerial.Draw(t, "to"),
			Removed: rapid.SliceOfN(genSet, 0, 4).Draw(t, "removed"),
			Added:   rapid.SliceOfN(genSet, 0, 4).Draw(t, "added"),
			Who:     rapid.String().Draw(t, "who"),
			When:    time.Unix(rapid.Int64Range(math.MinInt32, math.MaxUint32).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")),
		}
	})
)

func newSet(t *rapid.T, typ uint16, rdata ...string) rrset.RRset {
	s, err := rrset.New(typ, rapid.Uint32().Draw(t, "TTL"), rdata...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestChangesetRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genChangeset.Draw(t, "changeset")
		b := journal.AppendChangeset([]byte("before"), &c)
		got, err := journal.ParseChangeset(b[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		if diff := journaltest.SameChangeset(&got, &c); diff != "" {
			t.Fatal(diff)
		}
		at := rapid.IntRange(len("before"), len(b)-1).Draw(t, "damaged octet")
		b[at] ^= byte(1 + rapid.IntRange(0, 254).Draw(t, "damage"))
		if _, err := journal.ParseChangeset(b[len("before"):]); !errors.Is(err, journal.ErrCorrupt) {
			t.Fatalf("octet %d damaged: %v", at, err)
		}
		if _, err := journal.ParseChangeset(b[len("before"):at]); !errors.Is(err, journal.ErrCorrupt) {
			t.Fatalf("cut at octet %d: %v", at, err)
		}
	})
}

func TestChangesetOfNoTime(t *testing.T) {
	got, err := journal.ParseChangeset(journal.AppendChangeset(nil, &zone.Changeset{}))
	if err != nil || !got.When.IsZero() || !got.IsEmpty() {
		t.Errorf("%+v, %v", got, err)
	}
}

// sealed gives a stored form with its checksum.
func sealed(body string) []byte {
	return binary.LittleEndian.AppendUint64([]byte(body), xxhash.Sum64String(body))
}

func TestParseChangesetRefuses(t *testing.T) {
	head := "\x01" + strings.Repeat("\x00", 4+4+8+4) + "\x00"
	owner := "\x00\x03\x01a\x00"
	for _, tc := range []struct{ name, body, want string }{
		{"nothing", "", "ends too early"},
		{"form of tomorrow", "\x02" + head[1:] + "\x00\x00", "form"},
		{"header alone", head, "ends too early"},
		{"no second list", head + "\x00", "ends too early"},
		{"more behind", head + "\x00\x00\x00", "left over"},
		{"count without sets", head + "\xff\xff\xff\xff\x0f\x00", "ends too early"},
		{"count past all bounds", head + strings.Repeat("\xff", 10) + "\x00", "ends too early"},
		{"no owner", head + "\x01\x00\x00\x10\x00\x01", "owner"},
		{"owner shares with none", head + "\x01\x05\x00\x10\x00\x01", "owner"},
		{"owner without root", head + "\x01\x00\x02\x01a\x10\x00\x01", "owner"},
		{"octets behind the root of an owner", head + "\x01\x00\x03\x00\x01a\x10\x00\x01", "owner"},
		{"no records", head + "\x01" + owner + "\x10\x00\x00", "empty"},
		{"unknown part", head + "\x01" + owner + "\x10\x00\x04", "empty"},
		{"OPT", head + "\x01" + owner + "\x29\x00\x01" + "\x00\x00\x00\x00\x01\x02\x00\x00", "cannot be in a zone"},
		{"RRSIG as records", head + "\x01" + owner + "\x2e\x00\x01" + "\x00\x00\x00\x00\x01\x02\x00\x00", "cannot be in a zone"},
		{"zero records", head + "\x01" + owner + "\x10\x00\x01" + "\x00\x00\x00\x00\x00\x00", "records"},
		{"fewer records than said", head + "\x01" + owner + "\x10\x00\x01" + "\x00\x00\x00\x00\x02\x02\x00\x00", "records"},
		{"more records than said", head + "\x01" + owner + "\x10\x00\x01" + "\x00\x00\x00\x00\x01\x04\x00\x00\x00\x00", "records"},
		{"half a length", head + "\x01" + owner + "\x10\x00\x01" + "\x00\x00\x00\x00\x01\x01\x00", "records"},
		{"RDATA past the end", head + "\x01" + owner + "\x10\x00\x01" + "\x00\x00\x00\x00\x01\x02\x00\x01", "records"},
		{"malformed RDATA", head + "\x01" + owner + "\x02\x00\x01" + "\x00\x00\x00\x00\x01\x03\x00\x01\x05", "records"},
		{"RRSIG of another type", head + "\x01" + owner + "\x10\x00\x02" + "\x00\x00\x00\x00\x01\x15\x00\x13\x00\x01" + strings.Repeat("\x00", 17), "records"},
	} {
		_, err := journal.ParseChangeset(sealed(tc.body))
		if !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func FuzzParseChangeset(f *testing.F) {
	for seed := range 10 {
		c := genChangeset.Example(seed)
		b := journal.AppendChangeset(nil, &c)
		f.Add(b[:len(b)-8])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := journal.ParseChangeset(sealed(string(body)))
		if err != nil {
			if !errors.Is(err, journal.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := journal.ParseChangeset(journal.AppendChangeset(nil, &c))
		if err != nil {
			t.Fatal(err)
		}
		if diff := journaltest.SameChangeset(&again, &c); diff != "" {
			t.Fatal(diff)
		}
	})
}
