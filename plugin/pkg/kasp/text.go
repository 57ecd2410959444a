package kasp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

// ErrText is about text that is not what Marshal gives.
var ErrText = errors.New("not the keys of a zone")

// header is the first line of a text: it names the version of the format.
const header = "kasp 1"

// marks are what a key is or is not.
func (k *key) marks() []struct {
	name string
	is   *bool
} {
	return []struct {
		name string
		is   *bool
	}{{"again", &k.again}, {"covered", &k.covered}, {"over", &k.over}, {"roll", &k.roll}, {"remove", &k.remove}, {"removed", &k.removed}}
}

// records are the records of a key.
func (k *key) records() []struct {
	name string
	rec  *record
} {
	return []struct {
		name string
		rec  *record
	}{{"dnskey", &k.dnskey}, {"data", &k.data}, {"ds", &k.ds}}
}

// moments are the times of a key.
func (k *key) moments() []struct {
	name string
	at   *int64
} {
	return []struct {
		name string
		at   *int64
	}{{"created", &k.created}, {"began", &k.began}, {"swept", &k.swept}, {"told", &k.told}}
}

// Marshal gives the ring as text, which is always the same for the same ring: what Parse
// reads, a section for each key. The policy is not in it. With private the private keys
// are in it, and who reads it can sign; without, they stand somewhere else. The error is
// that of a private key that cannot be had, as that of a device.
func (r *Ring) Marshal(private bool) ([]byte, error) {
	var b bytes.Buffer
	line := func(name string, values ...any) {
		b.WriteString(name)
		for _, v := range values {
			fmt.Fprint(&b, " ", v)
		}
		b.WriteByte('\n')
	}
	at := func(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }
	time := func(name string, seconds int64) {
		if seconds != 0 {
			line(name, at(seconds))
		}
	}
	line(header)
	time("stepped", r.stepped)
	time("saved", r.saved)
	if r.leaving {
		line("leaving")
	}
	for _, m := range []struct {
		name string
		memory
	}{{"max-ttl", r.maxTTL}, {"key-ttl", r.keyTTL}} {
		line(m.name, m.ttl, m.last)
		time(m.name+"-seen", m.seen)
	}
	for i := range r.keys {
		k := &r.keys[i]
		line("key", k.FileName())
		line("public", base64.StdEncoding.EncodeToString([]byte(k.DNSKEY())))
		for _, m := range k.moments() {
			time(m.name, *m.at)
		}
		if k.cdsTTL != 0 {
			line("cds-ttl", k.cdsTTL)
		}
		for _, rec := range k.records() {
			switch {
			case rec.rec.state != Hidden:
				line(rec.name, rec.rec.state, rec.rec.ttl, at(rec.rec.since))
			case rec.rec.ttl != 0:
				line(rec.name, rec.rec.state, rec.rec.ttl)
			}
		}
		for _, m := range k.marks() {
			if *m.is {
				line(m.name)
			}
		}
		if private {
			text, err := k.Private()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			for l := range strings.Lines(text) {
				b.WriteString("private " + l)
			}
		}
	}
	return b.Bytes(), nil
}

// Parse reads what Marshal has given, for a zone, and with a policy and a generator as
// New. load gives the private keys that are not in the text: path is the name of its files
// without .key and .private, as signer.ReadFiles has it without a folder; with nil they
// must all be there. The error names the line, and wraps ErrText or what load gave.
func Parse(zone dnsname.Name, policy Policy, generate Generate, text []byte, load func(path string) (*signer.Key, error)) (*Ring, error) {
	r := New(zone, policy, generate)
	p := parser{Ring: r, load: load}
	n := 0
	for l := range strings.Lines(string(text)) {
		n++
		l, ended := strings.CutSuffix(l, "\n")
		err := error(nil)
		switch {
		case !ended:
			err = errors.New("line does not end")
		case n == 1 && l != header:
			err = fmt.Errorf("it does not begin with %q: another format, or a later version of it", header)
		case n > 1:
			err = p.line(l)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: keys: line %d: %w: %w", zone, n, ErrText, err)
		}
	}
	err := error(nil)
	if n == 0 {
		err = errors.New("it is empty")
	} else {
		err = p.end()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: keys: at line %d: %w: %w", zone, n, ErrText, err)
	}
	r.used = r.uses()
	return r, nil
}

// parser reads a text, a line at a time.
type parser struct {
	*Ring
	load    func(path string) (*signer.Key, error)
	open    bool // there is a key that has not ended
	now     key  // the one that is being read
	path    string
	public  string // the RDATA
	private strings.Builder
	seen    []string // names of lines in this section
}

func (p *parser) line(l string) error {
	name, value, _ := strings.Cut(l, " ")
	if name == "private" && p.open {
		p.private.WriteString(value + "\n")
		return nil
	}
	if name == "key" {
		if err := p.end(); err != nil {
			return err
		}
		if len(p.keys) >= maxKeys {
			return ErrFull
		}
		p.open, p.now, p.path, p.public, p.seen = true, key{}, value, "", nil
		p.private.Reset()
		return nil
	}
	if slices.Contains(p.seen, name) {
		return fmt.Errorf("%q comes twice", name)
	}
	p.seen = append(p.seen, name)
	if !p.open {
		return p.ring(name, value)
	}
	k := &p.now
	if name == "cds-ttl" {
		return parseTTL(value, &k.cdsTTL)
	}
	if name == "public" {
		b, err := base64.StdEncoding.DecodeString(value)
		if err != nil || len(b) < 5 {
			return errors.New("public key that is not in base 64, or none")
		}
		p.public = string(b)
		return nil
	}
	for _, m := range k.moments() {
		if m.name == name {
			return parseTime(value, m.at)
		}
	}
	for _, m := range k.marks() {
		if m.name == name && value == "" {
			*m.is = true
			return nil
		}
	}
	for _, rec := range k.records() {
		if rec.name == name {
			return rec.rec.parse(value)
		}
	}
	return fmt.Errorf("%q is not known here", l)
}

// ring reads a line that comes before those of keys.
func (p *parser) ring(name, value string) error {
	switch name {
	case "stepped":
		return parseTime(value, &p.stepped)
	case "saved":
		return parseTime(value, &p.saved)
	case "leaving":
		if value == "" {
			p.leaving = true
			return nil
		}
	case "max-ttl":
		return p.maxTTL.parse(value)
	case "max-ttl-seen":
		return parseTime(value, &p.maxTTL.seen)
	case "key-ttl":
		return p.Ring.keyTTL.parse(value)
	case "key-ttl-seen":
		return parseTime(value, &p.Ring.keyTTL.seen)
	}
	return fmt.Errorf("%q is not known here", name)
}

// end ends a section of a key.
func (p *parser) end() error {
	if !p.open {
		return nil
	}
	p.open = false
	k, err := p.key()
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", p.path, err)
	case k.Zone() != p.zone || k.FileName() != p.path:
		return fmt.Errorf("%s: it is %s", p.path, k)
	case k.DNSKEY() != p.public:
		return fmt.Errorf("%s: %w", p.path, signer.ErrMismatch)
	case p.any(func(o *key) bool { return o.Tag() == k.Tag() }):
		return fmt.Errorf("%s: another key has the same tag", p.path)
	}
	p.now.Key = k
	p.keys = append(p.keys, p.now)
	return p.now.check()
}

// key gives the key of a section.
func (p *parser) key() (*signer.Key, error) {
	switch {
	case p.public == "":
		return nil, errors.New("no public key")
	case p.private.Len() > 0:
		r := p.public
		public := fmt.Sprintf("%s IN DNSKEY %d %d %d %s\n", p.zone, int(r[0])<<8|int(r[1]), r[2], r[3], base64.StdEncoding.EncodeToString([]byte(r[4:])))
		return signer.ParseKey(p.path, []byte(public), []byte(p.private.String()))
	case p.load == nil:
		return nil, errors.New("no private key")
	}
	k, err := p.load(p.path)
	if err == nil && k == nil {
		err = errors.New("no private key")
	}
	return k, err
}

// check tells what cannot be of a key.
func (k *key) check() error {
	switch {
	case k.created == 0:
		return fmt.Errorf("%s: not created", k.FileName())
	case !k.sep() && k.ds.state != Hidden:
		return fmt.Errorf("%s: DS of a ZSK", k.FileName())
	case k.removed && (k.dnskey.state != Hidden || k.data.state != Hidden):
		return fmt.Errorf("%s: removed, and in the zone", k.FileName())
	case k.swept != 0 && k.data.state != Unretentive, k.told != 0 && k.ds.state != Rumored && k.ds.state != Unretentive, k.covered && k.data.state != Rumored, k.again && k.ds.state != Rumored:
		return fmt.Errorf("%s: swept, told, again or covered in a state that has none", k.FileName())
	}
	return nil
}

func parseTime(value string, at *int64) error {
	t, err := time.Parse(time.RFC3339, value)
	if err != nil || t.Unix() == 0 {
		return fmt.Errorf("%q is not a time", value)
	}
	*at = t.Unix()
	return nil
}

func parseTTL(value string, ttl *int64) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n > longest {
		return fmt.Errorf("%q is not a TTL", value)
	}
	*ttl = n
	return nil
}

// parse reads the two TTLs of a memory.
func (m *memory) parse(value string) error {
	ttl, last, _ := strings.Cut(value, " ")
	return errors.Join(parseTTL(ttl, &m.ttl), parseTTL(last, &m.last))
}

// parse reads state, TTL and, unless it is hidden, the time since when.
func (r *record) parse(value string) error {
	fields := strings.Split(value, " ")
	i := slices.Index(stateNames[:], fields[0])
	if i < 0 || len(fields) != 3 && (State(i) != Hidden || len(fields) != 2) {
		return fmt.Errorf("%q is not a state, a TTL and a time", value)
	}
	r.state = State(i)
	if err := parseTTL(fields[1], &r.ttl); err != nil || r.state == Hidden {
		return err
	}
	return parseTime(fields[2], &r.since)
}
