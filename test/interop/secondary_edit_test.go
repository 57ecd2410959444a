package interop

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server/secondary"
)

// An editor changes the master file of a zone as its owner does who has no plan.
type editor struct {
	origin, path string
	rng          *rand.Rand
	raise        func(*editor) // what becomes of the serial in the file with each version; nil: it stays
	serial       uint32        // in the file
	minimum      int
	sets         map[rrsetKey]*rrsetText
	edits        map[string]int // how often each kind was made
}

type rrsetKey struct{ owner, typ string }

type rrsetText struct {
	ttl   int
	rdata []string
}

// newEditor gives one for a zone that begins with so many hosts.
func newEditor(origin, dir string, hosts int, serial uint32, raise func(*editor), seed uint64) *editor {
	e := &editor{
		origin: origin, path: filepath.Join(dir, strings.TrimSuffix(origin, ".")+".zone"), rng: rand.New(rand.NewPCG(seed, 1)),
		raise: raise, serial: serial, minimum: 60, sets: make(map[rrsetKey]*rrsetText), edits: make(map[string]int),
	}
	e.set("@", "NS", 3600, "ns1", "ns2")
	e.set("ns1", "A", 3600, "192.0.2.1")
	e.set("ns2", "A", 3600, "192.0.2.2")
	for i := range hosts {
		e.set(fmt.Sprintf("h%d", i), "A", 300, fmt.Sprintf("192.0.2.%d", i%256))
	}
	return e
}

func (e *editor) set(owner, typ string, ttl int, rdata ...string) {
	e.sets[rrsetKey{owner, typ}] = &rrsetText{ttl, rdata}
}

// text gives the master file.
func (e *editor) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s\n@ 3600 IN SOA ns1 hostmaster %d 3600 60 86400 %d\n", e.origin, e.serial, e.minimum)
	for _, k := range e.keys(func(rrsetKey) bool { return true }) {
		s := e.sets[k]
		for _, r := range s.rdata {
			fmt.Fprintf(&b, "%s %d IN %s %s\n", k.owner, s.ttl, k.typ, r)
		}
	}
	return b.String()
}

// write puts the file in the place of the one before, either at once or bit by bit.
func (e *editor) write(t *testing.T) {
	t.Helper()
	if e.raise != nil {
		e.raise(e)
	}
	path := e.path
	if e.rng.IntN(2) == 0 {
		path += ".new"
	}
	err := os.WriteFile(path, []byte(e.text()), 0o644)
	if err == nil && path != e.path {
		err = os.Rename(path, e.path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// version gives what the file says, under another serial.
func (e *editor) version(t *testing.T, serial uint32) *secondary.Version {
	t.Helper()
	var rrs []dns.RR
	zp := dns.NewZoneParser(strings.NewReader(e.text()), "", e.path)
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		if soa, ok := rr.(*dns.SOA); ok {
			soa.Serial = serial
		}
		rrs = append(rrs, rr)
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	v, err := secondary.NewVersion(rrs)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// keys gives the RRsets that may be chosen, in a fixed order.
func (e *editor) keys(may func(rrsetKey) bool) (keys []rrsetKey) {
	for k := range maps.Keys(e.sets) {
		if may(k) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b rrsetKey) int { return strings.Compare(a.owner+" "+a.typ, b.owner+" "+b.typ) })
	return keys
}

// choose gives an RRset of the hosts, whose types are free.
func (e *editor) choose() (rrsetKey, *rrsetText) {
	keys := e.keys(func(k rrsetKey) bool { return k.owner[0] == 'h' || k.owner[0] == '*' })
	k := keys[e.rng.IntN(len(keys))]
	return k, e.sets[k]
}

// edit makes one edit.
func (e *editor) edit() {
	kinds := slices.Sorted(maps.Keys(edits))
	kind := kinds[e.rng.IntN(len(kinds))]
	edits[kind](e)
	e.edits[kind]++
}

// host gives the name of a host that is there or not.
func (e *editor) host() string { return fmt.Sprintf("h%d", e.rng.IntN(1500)) }

// record makes RDATA of a type.
func (e *editor) record(typ string) string {
	n := e.rng.IntN(250) + 1
	switch typ {
	case "A":
		return fmt.Sprintf("192.0.2.%d", n)
	case "AAAA":
		return fmt.Sprintf("2001:db8::%x", n)
	case "MX":
		return fmt.Sprintf("%d %s", n, e.host())
	case "SRV":
		return fmt.Sprintf("0 %d 443 %s", n, e.host())
	case "HTTPS":
		return fmt.Sprintf("%d %s alpn=h2 port=%d", n, e.host(), n)
	case "CAA":
		return fmt.Sprintf(`0 issue "ca%d.example.net"`, n)
	case "TXT":
		return fmt.Sprintf(`"text %d" "and \"more\" \%03d"`, n, n)
	default: // RFC 3597 §5
		return fmt.Sprintf(`\# 3 %02x00ff`, n)
	}
}

var hostTypes = []string{"A", "AAAA", "MX", "SRV", "HTTPS", "CAA", "TXT", "TYPE65280", "TYPE65281"}

// edits are the kinds of edits.
var edits = map[string]func(*editor){
	"add a record": func(e *editor) { e.add(e.host(), hostTypes[e.rng.IntN(len(hostTypes))]) },
	"delete a record": func(e *editor) {
		k, s := e.choose()
		i := e.rng.IntN(len(s.rdata))
		if s.rdata = slices.Delete(s.rdata, i, i+1); len(s.rdata) == 0 {
			delete(e.sets, k)
		}
	},
	"delete an RRset": func(e *editor) {
		k, _ := e.choose()
		delete(e.sets, k)
	},
	"replace an RRset": func(e *editor) {
		k, _ := e.choose()
		delete(e.sets, k)
		for range 1 + e.rng.IntN(10) {
			e.add(k.owner, k.typ)
		}
	},
	"replace a record": func(e *editor) {
		k, s := e.choose()
		r := e.record(k.typ)
		if !slices.Contains(s.rdata, r) {
			s.rdata[e.rng.IntN(len(s.rdata))] = r
		}
	},
	"change a TTL": func(e *editor) {
		_, s := e.choose()
		s.ttl += 1 + e.rng.IntN(3)
	},
	"delete a host": func(e *editor) {
		k, _ := e.choose()
		e.delete(k.owner)
	},
	"SOA record": func(e *editor) { e.minimum += 1 + e.rng.IntN(5) },
	"delegation": func(e *editor) {
		owner := fmt.Sprintf("d%d", e.rng.IntN(8))
		e.delete(owner)
		e.delete("ns." + owner)
		if e.rng.IntN(3) > 0 {
			e.set(owner, "NS", 600, "ns."+owner, fmt.Sprintf("ns%d.example.net.", e.rng.IntN(5)))
			e.set(owner, "DS", 600, fmt.Sprintf("%d 13 2 %064x", 1+e.rng.IntN(60000), e.rng.Uint64()))
			e.set("ns."+owner, "A", 600, e.record("A"))
		}
	},
	"glue": func(e *editor) {
		owner := fmt.Sprintf("ns.d%d", e.rng.IntN(8))
		if e.sets[rrsetKey{owner, "A"}] != nil {
			e.set(owner, "A", 600, e.record("A"))
			e.set(owner, "AAAA", 600, e.record("AAAA"))
		}
	},
	"wildcard": func(e *editor) {
		owner := fmt.Sprintf("*.w%d", e.rng.IntN(4))
		if e.delete(owner) == 0 {
			e.add(owner, "A")
			e.add(owner, "TXT")
		}
	},
	"alias": func(e *editor) {
		owner := fmt.Sprintf("c%d", e.rng.IntN(8))
		if e.delete(owner) == 0 || e.rng.IntN(2) == 0 {
			e.set(owner, "CNAME", 300, e.host())
		}
	},
	"subtree elsewhere": func(e *editor) {
		owner := fmt.Sprintf("s%d", e.rng.IntN(3))
		if e.delete(owner) == 0 {
			e.set(owner, "DNAME", 300, e.host())
		}
	},
	"long TXT": func(e *editor) {
		var words []string
		for i := range 1 + e.rng.IntN(12) {
			words = append(words, `"`+strings.Repeat(string(rune('a'+i)), 1+e.rng.IntN(255))+`"`)
		}
		e.set(e.host(), "TXT", 300, strings.Join(words, " "))
	},
	"large RRset": func(e *editor) {
		owner := e.host()
		delete(e.sets, rrsetKey{owner, "AAAA"})
		for range 20 + e.rng.IntN(20) {
			e.add(owner, "AAAA")
		}
	},
}

// add adds a record, unless it is there.
func (e *editor) add(owner, typ string) {
	k := rrsetKey{owner, typ}
	if e.sets[k] == nil {
		e.set(owner, typ, 300)
	}
	if r := e.record(typ); !slices.Contains(e.sets[k].rdata, r) {
		e.sets[k].rdata = append(e.sets[k].rdata, r)
	}
}

// delete removes all of an owner, and tells how many RRsets that were.
func (e *editor) delete(owner string) int {
	before := len(e.sets)
	maps.DeleteFunc(e.sets, func(k rrsetKey, _ *rrsetText) bool { return k.owner == owner })
	return before - len(e.sets)
}
