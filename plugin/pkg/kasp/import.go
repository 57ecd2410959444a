package kasp

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

// Imported is a key with which a zone is signed already, of another server. With no times
// and no states it has been in use for long, and its DS is at the parent if it has the SEP
// flag.
type Imported struct {
	Key *signer.Key
	// Publish, Activate, Inactive and Delete are the times in key files of BIND: when the
	// DNSKEY record comes, when the key begins to sign the data, when it ends, when the
	// record goes. Zero: long ago; of the last two: never.
	Publish, Activate, Inactive, Delete time.Time
	// DNSKEY, Data and DS are the states in the .state file of BIND, and go before the times;
	// nil: it says nothing.
	DNSKEY, Data, DS *State
}

// Read takes what the .private and .state files of a key, of which each may be empty, say
// of its times and states. Knot's keys have neither. The error wraps signer.ErrKeyFile and
// names file and line.
func (i *Imported) Read(path string, private, state []byte) error {
	at := map[string]*time.Time{
		"publish": &i.Publish, "published": &i.Publish, "activate": &i.Activate, "active": &i.Activate,
		"inactive": &i.Inactive, "retired": &i.Inactive, "delete": &i.Delete, "removed": &i.Delete,
	}
	states := map[string]**State{"dnskeystate": &i.DNSKEY, "zrrsigstate": &i.Data, "dsstate": &i.DS}
	for _, file := range []struct {
		end  string
		text []byte
	}{{".private", private}, {".state", state}} {
		n := 0
		for l := range strings.Lines(string(file.text)) {
			n++
			name, value, _ := strings.Cut(strings.TrimSpace(l), ":")
			name, value = strings.ToLower(name), strings.TrimSpace(value)
			wrong := func() error {
				return fmt.Errorf("%s%s:%d: %w: %s: %q", path, file.end, n, signer.ErrKeyFile, name, value)
			}
			if where := at[name]; where != nil {
				stamp, _, _ := strings.Cut(value, " ") // the rest is for people
				t, err := time.Parse("20060102150405", stamp)
				if err != nil {
					return wrong()
				}
				*where = t
			}
			if where := states[name]; where != nil && file.end == ".state" {
				s := slices.Index(stateNames[:], strings.Replace(value, "rumoured", "rumored", 1)) //nolint:misspell // the word of BIND
				if value == "NA" {
					continue
				}
				if s < 0 {
					return wrong()
				}
				known := State(s)
				*where = &known
			}
		}
	}
	return nil
}

// Import puts keys into a ring that has none, for a zone that has been signed with them:
// the policy goes on from there. Keys that are not to be published yet, or no longer, are
// passed over. A key with the SEP flag signs the data if its algorithm has no other that
// does. After an error, which wraps ErrImport, signer.ErrZone or ErrFull, nothing has
// changed.
func (r *Ring) Import(now time.Time, keys []Imported) error {
	at := now.Unix()
	fail := func(k *signer.Key, err error, why string) error {
		return fmt.Errorf("%s: %s: %w: %s", r.zone, k, err, why)
	}
	if len(r.keys) > 0 {
		return fmt.Errorf("%s: %w: there are keys already", r.zone, ErrImport)
	}
	keys = slices.Clone(keys)
	slices.SortStableFunc(keys, func(a, b Imported) int { return a.Activate.Compare(b.Activate) })
	var list []key
	for i := range keys {
		k := keys[i].key(at)
		switch {
		case k.Zone() != r.zone:
			return fail(k.Key, signer.ErrZone, r.zone.String())
		case len(list) >= maxKeys:
			return fmt.Errorf("%s: %w: %d", r.zone, ErrFull, len(keys))
		case slices.ContainsFunc(list, func(o key) bool { return o.Tag() == k.Tag() }):
			return fail(k.Key, ErrImport, "another key has the same tag")
		}
		if k.dnskey.state != Hidden {
			list = append(list, k)
		}
	}
	if len(list) == 0 {
		return fmt.Errorf("%s: %w: none of the %d is published", r.zone, ErrImport, len(keys))
	}
	for i := range list {
		k := &list[i]
		same := func(is func(*key) bool) bool {
			return slices.ContainsFunc(list, func(o key) bool { return o.Algorithm() == k.Algorithm() && o.published() && is(&o) })
		}
		if k.published() && !same((*key).sep) {
			return fail(k.Key, ErrImport, "no key of its algorithm has the SEP flag")
		}
		if k.published() && k.sep() && !same((*key).signing) {
			k.data = record{state: k.dnskey.state, since: k.dnskey.since}
		}
	}
	r.keys, r.touched = list, true
	return nil
}

// key gives where an imported key is. What is not said has been so for long.
func (i *Imported) key(at int64) key {
	k := key{Key: i.Key, created: at, began: at}
	past := func(t time.Time) bool { return !t.IsZero() && t.Unix() <= at }
	from := func(t time.Time, state *State, last int64) record {
		switch {
		case state != nil && *state == Hidden, state == nil && t.Unix() > at:
			return record{}
		case state != nil:
			return record{state: *state, since: at} // since when it does not say
		case t.IsZero():
			return record{state: Omnipresent, since: at}
		default:
			return record{state: Rumored, since: last}
		}
	}
	unix := func(t time.Time) int64 { return max(1, t.Unix()) }
	k.dnskey = from(i.Publish, i.DNSKEY, unix(i.Publish))
	if past(i.Delete) {
		k.dnskey = record{}
	}
	if !i.Activate.IsZero() && past(i.Activate) {
		k.began = unix(i.Activate)
	}
	if !k.sep() || i.Data != nil {
		k.data = from(i.Activate, i.Data, unix(i.Activate))
		if i.Data == nil && past(i.Inactive) {
			k.data = record{state: Unretentive, since: unix(i.Inactive)}
		}
	}
	if k.sep() {
		switch {
		case i.DS != nil:
			k.ds = from(time.Time{}, i.DS, at)
		case at-i.Publish.Unix() < day: // the parent hardly has it by now
			k.ds = record{state: Rumored, since: at}
		default:
			k.ds = record{state: Omnipresent, since: at}
		}
	}
	k.over = past(i.Inactive) && !k.sep() || k.dnskey.state == Unretentive
	return k
}
