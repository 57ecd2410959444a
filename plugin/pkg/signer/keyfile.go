package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// Errors of key files.
var (
	ErrKeyFile  = errors.New("not a key file")
	ErrMismatch = errors.New("private key is not that of the public key")
)

// maxKeyFile is more octets than any key file has.
const maxKeyFile = 1 << 16

// FileName gives the name that BIND gives the files of the key, without .key and
// .private: K, the zone, the algorithm, the key tag.
func (k *Key) FileName() string { return FileName(k.zone, k.alg, k.tag) }

// FileName is Key.FileName for the key of a zone, in lower case, with that algorithm
// and key tag.
func FileName(zone dnsname.Name, alg Algorithm, tag uint16) string {
	return fmt.Sprintf("%s%03d+%05d", FilePrefix(zone), alg, tag)
}

// FilePrefix is what FileName gives for all keys of a zone, in lower case, up to the
// algorithm.
func FilePrefix(zone dnsname.Name) string {
	var b strings.Builder
	b.WriteByte('K')
	if zone == dnsname.Root {
		b.WriteByte('.')
	}
	for n := zone; n != dnsname.Root; n = n.Parent() {
		for _, c := range []byte(n[1 : 1+n[0]]) {
			if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		b.WriteByte('.')
	}
	b.WriteByte('+')
	return b.String()
}

// WriteFiles writes the key into a folder as BIND's dnssec-keygen does, as a key that
// is in use from created on: FileName with .private, which only its owner may read,
// and with .key. They are on the disk when it returns. The error wraps fs.ErrExist if
// there is a file of such a name, and ErrKey if the private key cannot be had, as that
// of a device.
func (k *Key) WriteFiles(folder string, created time.Time) error {
	private, err := k.Private()
	if err != nil {
		return fmt.Errorf("%s: %w", k, err)
	}
	for _, event := range []string{"Created", "Publish", "Activate"} {
		private += fmt.Sprintf("%s: %s\n", event, created.UTC().Format("20060102150405"))
	}
	what := map[Role]string{CSK: "key-signing and zone-signing", KSK: "key-signing", ZSK: "zone-signing"}[k.role]
	public := fmt.Sprintf("; This is a %s key, keyid %d, for %s\n; Created: %s\n%s IN DNSKEY %d %d %d %s\n", what, k.tag, k.zone,
		created.UTC().Format("20060102150405 (Mon Jan _2 15:04:05 2006)"), k.zone,
		int(k.rdata[0])<<8|int(k.rdata[1]), protocol, k.alg, base64.StdEncoding.EncodeToString([]byte(k.rdata[4:])))
	base := filepath.Join(folder, k.FileName())
	if err := writeNew(base+".private", private, 0o600); err != nil {
		return err
	}
	if err := writeNew(base+".key", public, 0o644); err != nil {
		_ = os.Remove(base + ".private") // the error before tells more
		return err
	}
	return nil
}

// writeNew writes a file that must not be there, all of it or nothing.
func writeNew(path, text string, mode fs.FileMode) error {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".key-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	for _, then := range []func() error{func() error { return f.Chmod(mode) }, f.Sync, f.Close, func() error { return os.Rename(f.Name(), path) }} {
		if e := then(); err == nil {
			err = e
		}
	}
	if err != nil {
		return err
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Private gives what stands in the private key file (v1.3), without times. The error
// wraps ErrKey if the private key cannot be had, as that of a device.
func (k *Key) Private() (string, error) {
	fields := []string{"Private-key-format: v1.3", fmt.Sprintf("Algorithm: %d (%s)", k.alg, k.alg)}
	add := func(name string, value []byte) {
		fields = append(fields, name+": "+base64.StdEncoding.EncodeToString(value))
	}
	switch p := k.signer.(type) {
	case *rsa.PrivateKey:
		if len(p.Primes) != 2 {
			return "", ErrKey
		}
		p.Precompute()
		add("Modulus", p.N.Bytes())
		add("PublicExponent", big.NewInt(int64(p.E)).Bytes())
		add("PrivateExponent", p.D.Bytes())
		add("Prime1", p.Primes[0].Bytes())
		add("Prime2", p.Primes[1].Bytes())
		add("Exponent1", p.Precomputed.Dp.Bytes())
		add("Exponent2", p.Precomputed.Dq.Bytes())
		add("Coefficient", p.Precomputed.Qinv.Bytes())
	case *ecdsa.PrivateKey:
		d, err := p.Bytes()
		if err != nil {
			return "", err
		}
		add("PrivateKey", d)
	case ed25519.PrivateKey:
		add("PrivateKey", p.Seed())
	default:
		return "", fmt.Errorf("%w: its private part cannot be read", ErrKey)
	}
	return strings.Join(fields, "\n") + "\n", nil
}

// ReadFiles reads the key whose files are path with .key and .private; path may end
// in one of the two. Its role is KSK if the SEP flag is set and ZSK if not (see As).
// Times in the files are passed over. Errors name the file and, if it is about one,
// the line; they wrap ErrKeyFile, ErrAlgorithm, ErrKey, ErrMismatch or what the system
// gave.
func ReadFiles(path string) (*Key, error) {
	for _, end := range []string{".key", ".private"} {
		path = strings.TrimSuffix(path, end)
	}
	var texts [2][]byte
	for i, name := range []string{path + ".key", path + ".private"} {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if info.Size() > maxKeyFile {
			return nil, fmt.Errorf("%s: %w: more than %d octets", name, ErrKeyFile, maxKeyFile)
		}
		if texts[i], err = os.ReadFile(name); err != nil {
			return nil, err
		}
	}
	return ParseKey(path, texts[0], texts[1])
}

// ParseKey is ReadFiles for what stands in the files; path is for errors only.
func ParseKey(path string, public, private []byte) (*Key, error) {
	zone, rdata, err := parsePublic(path+".key", public)
	if err != nil {
		return nil, err
	}
	signer, err := parsePrivate(path+".private", private, Algorithm(rdata[3]))
	if err != nil {
		return nil, err
	}
	role := ZSK
	if rdata[1]&flagSEP != 0 {
		role = KSK
	}
	k, err := NewKey(zone, Algorithm(rdata[3]), role, signer)
	if err != nil {
		return nil, fmt.Errorf("%s.private: %w", path, err)
	}
	if k.rdata != rdata {
		return nil, fmt.Errorf("%s.private: %w in %s.key", path, ErrMismatch, path)
	}
	return k, nil
}

// parsePublic reads the DNSKEY record of a .key file.
func parsePublic(file string, text []byte) (zone dnsname.Name, rdata string, err error) {
	p := dns.NewZoneParser(bytes.NewReader(text), "", file)
	p.SetDefaultTTL(0)
	rr, ok := p.Next()
	if err := p.Err(); err != nil { // names file and line
		return "", "", fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	key, isKey := rr.(*dns.DNSKEY)
	if !ok || !isKey {
		return "", "", fmt.Errorf("%s: %w: no DNSKEY record", file, ErrKeyFile)
	}
	line := 1 + bytes.Count(text[:max(0, bytes.Index(text, []byte("DNSKEY")))], []byte("\n"))
	switch {
	case key.Hdr.Name == "":
		return "", "", fmt.Errorf("%s:%d: %w: no owner", file, line, ErrKeyFile)
	case key.Flags&^flagSEP != flagZone || key.Protocol != protocol:
		return "", "", fmt.Errorf("%s:%d: %w: flags %d and protocol %d are not those of a key in use for a zone", file, line, ErrKeyFile, key.Flags, key.Protocol)
	case key.Hdr.Class != dns.ClassINET:
		return "", "", fmt.Errorf("%s:%d: %w: class is not IN", file, line, ErrKeyFile)
	}
	if zone, rdata, err = rrset.FromRR(key); err != nil {
		return "", "", fmt.Errorf("%s:%d: %w: %w", file, line, ErrKeyFile, err)
	}
	if len(rdata) < 4 {
		return "", "", fmt.Errorf("%s:%d: %w: no public key", file, line, ErrKeyFile)
	}
	return zone, rdata, nil
}

// privateFields are the fields of private key files that say when, which the one who
// keeps the keys knows, or what follows from others.
var privateFields = []string{
	"created", "publish", "activate", "revoke", "inactive", "delete", "dspublish", "syncpublish", "syncdelete", "dsdelete",
	"dsremoved", "predecessor", "successor", "maxttl", "rollperiod", "exponent1", "exponent2", "coefficient",
}

// field is a line of a private key file.
type field struct {
	line  int
	value string
}

// parsePrivate reads a private key file of BIND, v1.2 or v1.3.
func parsePrivate(file string, text []byte, alg Algorithm) (crypto.Signer, error) {
	f := privateFile{name: file, fields: make(map[string]field)}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == ';' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name = strings.ToLower(name)
		_, twice := f.fields[name]
		switch {
		case !ok:
			return nil, f.err(i+1, "no colon in the line")
		case twice:
			return nil, f.err(i+1, "field %q comes twice", name)
		}
		f.fields[name] = field{i + 1, strings.TrimSpace(value)}
	}
	format := f.fields["private-key-format"]
	if format.value != "v1.2" && format.value != "v1.3" {
		return nil, f.err(format.line, "Private-key-format is not v1.2 or v1.3")
	}
	number, _, _ := strings.Cut(f.fields["algorithm"].value, " ")
	if n, err := strconv.ParseUint(number, 10, 8); err != nil || Algorithm(n) != alg {
		return nil, f.err(f.fields["algorithm"].line, "Algorithm %q is not that of the public key, %d", number, alg)
	}
	return f.key(alg)
}

// privateFile is the fields of a private key file.
type privateFile struct {
	name   string
	fields map[string]field // by name in lower case
}

// err gives an error about a line, or, if that is 0, about the whole file.
func (f *privateFile) err(line int, format string, args ...any) error {
	where := f.name
	if line > 0 {
		where += ":" + strconv.Itoa(line)
	}
	return fmt.Errorf("%s: %w: %s", where, ErrKeyFile, fmt.Sprintf(format, args...))
}

// key makes the private key.
func (f *privateFile) key(alg Algorithm) (crypto.Signer, error) {
	want := []string{"PrivateKey"}
	switch alg {
	case RSASHA256:
		want = []string{"Modulus", "PublicExponent", "PrivateExponent", "Prime1", "Prime2"}
	case ECDSAP256SHA256, ECDSAP384SHA384, ED25519:
	default:
		return nil, fmt.Errorf("%s: %s: %w", f.name, alg, ErrAlgorithm)
	}
	values, lines := make([][]byte, len(want)), make([]int, len(want))
	known := append([]string{"private-key-format", "algorithm"}, privateFields...)
	for i, name := range want {
		have, ok := f.fields[strings.ToLower(name)]
		if !ok {
			return nil, f.err(0, "no field %s", name)
		}
		var err error
		if values[i], err = base64.StdEncoding.DecodeString(have.value); err != nil {
			return nil, f.err(have.line, "%s: %s", name, err)
		}
		if len(values[i]) == 0 || 8*len(values[i]) > maxRSABits {
			return nil, f.err(have.line, "%s: %d octets", name, len(values[i]))
		}
		lines[i] = have.line
		known = append(known, strings.ToLower(name))
	}
	for name, have := range f.fields {
		if !slices.Contains(known, name) {
			return nil, f.err(have.line, "unknown field %q", name)
		}
	}
	switch alg {
	case RSASHA256:
		return f.rsa(values, lines)
	case ED25519:
		if len(values[0]) != ed25519.SeedSize {
			return nil, f.err(lines[0], "PrivateKey: %d octets, not %d", len(values[0]), ed25519.SeedSize)
		}
		return ed25519.NewKeyFromSeed(values[0]), nil
	default:
		size := (curve(alg).Params().BitSize + 7) / 8
		if len(values[0]) > size {
			return nil, f.err(lines[0], "PrivateKey: %d octets, not %d", len(values[0]), size)
		}
		d := append(make([]byte, size-len(values[0]), size), values[0]...)
		k, err := ecdsa.ParseRawPrivateKey(curve(alg), d)
		if err != nil {
			return nil, f.err(lines[0], "PrivateKey: %s", err)
		}
		return k, nil
	}
}

// rsa makes an RSA key of modulus, public and private exponent and primes.
func (f *privateFile) rsa(values [][]byte, lines []int) (crypto.Signer, error) {
	var n [5]*big.Int
	for i, v := range values {
		n[i] = new(big.Int).SetBytes(v)
	}
	if !n[1].IsInt64() || n[1].Int64() < 3 || n[1].Int64() > 1<<31-1 || n[1].Bit(0) == 0 {
		return nil, f.err(lines[1], "PublicExponent is not one that can be used")
	}
	if bits := n[0].BitLen(); bits < minRSABits {
		return nil, f.err(lines[0], "Modulus has %d bits, and %d are the least", bits, minRSABits)
	}
	if n[3].BitLen() < 2 || n[4].BitLen() < 2 || n[3].Bit(0) == 0 || n[4].Bit(0) == 0 {
		return nil, f.err(lines[3], "Prime1 or Prime2 is no prime of a key")
	}
	k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n[0], E: int(n[1].Int64())}, D: n[2], Primes: n[3:]}
	if err := k.Validate(); err != nil {
		return nil, f.err(lines[0], "%s", err)
	}
	k.Precompute()
	return k, nil
}
