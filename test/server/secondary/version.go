package secondary

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Version is one version of a zone: its serial and its records. It is not changed once it is made.
type Version struct {
	Serial  uint32
	soa     *dns.SOA
	records map[string]struct{} // as text gives them
}

// NewVersion makes a version of records that have one SOA record and no record twice.
func NewVersion(rrs []dns.RR) (*Version, error) {
	v := &Version{records: make(map[string]struct{}, len(rrs))}
	soas := 0
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeSOA {
			soas++
		}
		if err := v.add(rr); err != nil {
			return nil, err
		}
	}
	if soas != 1 {
		return nil, fmt.Errorf("%d SOA records", soas)
	}
	return v, nil
}

func (v *Version) add(rr dns.RR) error {
	s := text(rr)
	if _, twice := v.records[s]; twice {
		return fmt.Errorf("%s is added and was there", s)
	}
	v.records[s] = struct{}{}
	if soa, ok := rr.(*dns.SOA); ok {
		v.soa, v.Serial = soa, soa.Serial
	}
	return nil
}

func (v *Version) remove(rr dns.RR) error {
	s := text(rr)
	if _, there := v.records[s]; !there {
		return fmt.Errorf("%s is removed and was not there", s)
	}
	delete(v.records, s)
	return nil
}

// Next returns the version that an answer leads to from v, which is nil for a secondary that has none. What the answer
// removes must be there, and what it adds must not.
func (v *Version) Next(a *Answer) (*Version, error) {
	switch {
	case a.Form == Whole:
		return NewVersion(a.Records)
	case v == nil:
		return nil, errors.New("differences, and nothing that they could be from")
	case a.Form == UpToDate:
		return v, nil
	}
	next := &Version{records: maps.Clone(v.records)}
	for _, s := range a.Steps {
		for _, rr := range s.Removed {
			if err := next.remove(rr); err != nil {
				return nil, err
			}
		}
		for _, rr := range s.Added {
			if err := next.add(rr); err != nil {
				return nil, err
			}
		}
	}
	return next, nil
}

// Under returns the same version under another serial.
func (v *Version) Under(serial uint32) *Version {
	soa := *v.soa
	soa.Serial = serial
	next := &Version{Serial: serial, soa: &soa, records: maps.Clone(v.records)}
	delete(next.records, text(v.soa))
	next.records[text(&soa)] = struct{}{}
	return next
}

// Split returns the parts that a function of the owners, which are in lower case, divides the records into, by what it
// gives. Each has the SOA record.
func (v *Version) Split(of func(owner string) string) map[string]*Version {
	parts := make(map[string]*Version)
	soa := text(v.soa)
	for s := range v.records {
		if s == soa {
			continue
		}
		owner, _, _ := strings.Cut(s, " ")
		name := of(owner)
		p := parts[name]
		if p == nil {
			p = &Version{Serial: v.Serial, soa: v.soa, records: map[string]struct{}{soa: {}}}
			parts[name] = p
		}
		p.records[s] = struct{}{}
	}
	return parts
}

// Has tells whether a record is there.
func (v *Version) Has(rr dns.RR) bool {
	_, there := v.records[text(rr)]
	return there
}

// Len returns the number of records.
func (v *Version) Len() int { return len(v.records) }

// Difference tells in what v differs from another version, by the first few records of each side; "" if they are equal.
func (v *Version) Difference(other *Version) string {
	only, others := apart(v.records, other.records), apart(other.records, v.records)
	if len(only)+len(others) == 0 {
		return ""
	}
	return fmt.Sprintf("serial %d, not %d; too many: %q, missing: %q", v.Serial, other.Serial, first(only), first(others))
}

// first returns the first few of a list.
func first(list []string) []string { return list[:min(len(list), 4)] }

// apart returns what is in a and not in b, sorted.
func apart(a, b map[string]struct{}) (out []string) {
	for s := range a {
		if _, ok := b[s]; !ok {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}
