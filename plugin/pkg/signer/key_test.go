package signer_test

import (
	"crypto"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

var algorithms = []signer.Algorithm{signer.RSASHA256, signer.ECDSAP256SHA256, signer.ECDSAP384SHA384, signer.ED25519}

// TestKeys holds what a key says of itself against another implementation.
func TestKeys(t *testing.T) {
	origin := dnsname.MustParse("Exa-mple.Org.")
	for _, alg := range algorithms {
		for _, k := range testKeys(t, origin, alg) {
			rr := rrset.AppendRRs(nil, "exa-mple.org.", mustSet(rrset.TypeDNSKEY, 0, k.DNSKEY()))[0].(*dns.DNSKEY)
			ds := rrset.AppendRRs(nil, "exa-mple.org.", mustSet(rrset.TypeDS, 0, k.DS()))[0].(*dns.DS)
			want := rr.ToDS(dns.SHA256)
			if k.Tag() != rr.KeyTag() || ds.String() != want.String() || rr.Algorithm != uint8(alg) || k.Zone() != origin.Fold() {
				t.Errorf("%s: %s, %s; want tag %d, %s", k, rr, ds, rr.KeyTag(), want)
			}
			if flags := rr.Flags; flags != map[signer.Role]uint16{signer.CSK: 257, signer.KSK: 257, signer.ZSK: 256}[k.Role()] {
				t.Errorf("%s %s: flags %d", k, k.Role(), flags)
			}
		}
	}
	if _, err := signer.Generate(origin, 5, signer.CSK); !errors.Is(err, signer.ErrAlgorithm) {
		t.Errorf("RSASHA1: %v", err)
	}
}

// TestKeyFiles writes keys and reads them, and so does another implementation.
func TestKeyFiles(t *testing.T) {
	for _, origin := range []dnsname.Name{dnsname.MustParse("example.org."), dnsname.Root, dnsname.MustParse(`A\/b.x\.y.example.`)} {
		for _, alg := range algorithms {
			dir := t.TempDir()
			for _, k := range testKeys(t, origin, alg)[1:] {
				if err := k.WriteFiles(dir, start); err != nil {
					t.Fatal(err)
				}
				base := filepath.Join(dir, k.FileName())
				back, err := signer.ReadFiles(base + ".key")
				if err != nil {
					t.Fatal(err)
				}
				if back.DNSKEY() != k.DNSKEY() || back.Zone() != k.Zone() || back.Role() != k.Role() || back.FileName() != k.FileName() {
					t.Errorf("%s came back as %s", k, back)
				}
				rr := rrset.AppendRRs(nil, k.Zone().String(), mustSet(rrset.TypeDNSKEY, 0, k.DNSKEY()))[0].(*dns.DNSKEY)
				f, err := os.Open(base + ".private")
				if err != nil {
					t.Fatal(err)
				}
				private, err := rr.ReadPrivateKey(f, "")
				if err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				again, err := signer.NewKey(origin, alg, k.Role(), private.(crypto.Signer))
				if err != nil || again.DNSKEY() != k.DNSKEY() {
					t.Errorf("read by another: %v, %v", again, err)
				}
				if info, err := os.Stat(base + ".private"); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%v, %v", info, err)
				}
				if err := k.WriteFiles(dir, start); !errors.Is(err, fs.ErrExist) {
					t.Errorf("written over another: %v", err)
				}
				if left, err := filepath.Glob(filepath.Join(dir, ".key-*")); err != nil || left != nil {
					t.Errorf("left behind: %s, %v", left, err)
				}
			}
		}
	}
}

func TestRoles(t *testing.T) {
	k := testKeys(t, dnsname.MustParse("example."), signer.ED25519)
	if csk, err := k[1].As(signer.CSK); err != nil || csk.Role() != signer.CSK || k[1].Role() != signer.KSK || csk.DNSKEY() != k[1].DNSKEY() {
		t.Errorf("%v, %v", csk, err)
	}
	for i, role := range []signer.Role{signer.ZSK, signer.ZSK, signer.KSK} {
		if _, err := k[i].As(role); !errors.Is(err, signer.ErrRole) {
			t.Errorf("%s as %s: %v", k[i].Role(), role, err)
		}
	}
}

// files gives what the files of a key hold.
func files(t testing.TB, k *signer.Key) (public, private string) {
	t.Helper()
	dir := t.TempDir()
	if err := k.WriteFiles(dir, start); err != nil {
		t.Fatal(err)
	}
	var texts [2]string
	for i, end := range []string{".key", ".private"} {
		b, err := os.ReadFile(filepath.Join(dir, k.FileName()+end))
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(b)
	}
	return texts[0], texts[1]
}

// TestBrokenKeyFiles: errors name the file, and the line if it is one.
func TestBrokenKeyFiles(t *testing.T) {
	origin := dnsname.MustParse("example.")
	public, private := files(t, testKeys(t, origin, signer.ECDSAP256SHA256)[1])
	_, other := files(t, testKeys(t, origin, signer.ECDSAP256SHA256)[2])
	rsaPublic, rsaPrivate := files(t, testKeys(t, origin, signer.RSASHA256)[1])
	edPublic, edPrivate := files(t, testKeys(t, origin, signer.ED25519)[1])
	secret := strings.TrimPrefix(strings.Split(private, "\n")[2], "PrivateKey: ")
	for _, tc := range []struct {
		name            string
		public, private string
		want            string
		is              error
	}{
		{"empty", "", private, "K.key", signer.ErrKeyFile},
		{"no key", "example. A 192.0.2.1\n", private, "K.key", signer.ErrKeyFile},
		{"no record", "\n\nexample. IN DNSKEY x\n", private, "line: 3", signer.ErrKeyFile},
		{"class", strings.Replace(public, " IN ", " CH ", 1), private, "K.key:3", signer.ErrKeyFile},
		{"revoked", strings.Replace(public, "257 3", "385 3", 1), private, "K.key:3", signer.ErrKeyFile},
		{"protocol", strings.Replace(public, "257 3", "257 2", 1), private, "K.key:3", signer.ErrKeyFile},
		{"file of another", "$INCLUDE /etc/passwd\n", private, "K.key", signer.ErrKeyFile},
		{"another private key", public, other, "K.private", signer.ErrMismatch},
		{"another algorithm", public, rsaPrivate, "K.private:2", signer.ErrKeyFile},
		{"no format", public, strings.Replace(private, "Private-key-format", "Format", 1), "K.private: ", signer.ErrKeyFile},
		{"format", public, strings.Replace(private, "v1.3", "v2.0", 1), "K.private:1", signer.ErrKeyFile},
		{"no colon", public, private + "Created 2020\n", "K.private:7", signer.ErrKeyFile},
		{"twice", public, private + "PrivateKey: AAAA\n", "K.private:7", signer.ErrKeyFile},
		{"unknown", public, private + "Engine: cGtjczExAA==\n", "K.private:7", signer.ErrKeyFile},
		{"no secret", public, strings.Replace(private, "PrivateKey", "; PrivateKey", 1), "K.private: ", signer.ErrKeyFile},
		{"base64", public, strings.Replace(private, secret, "%%%", 1), "K.private:3", signer.ErrKeyFile},
		{"no octets", public, strings.Replace(private, secret, "", 1), "K.private:3", signer.ErrKeyFile},
		{"secret of 0", public, strings.Replace(private, secret, "AAAA", 1), "K.private:3", signer.ErrKeyFile},
		{"secret too long", public, strings.Replace(private, secret, strings.Repeat("AAAA", 11), 1), "K.private:3", signer.ErrKeyFile},
		{"seed too short", edPublic, strings.Replace(edPrivate, "PrivateKey: ", "PrivateKey: AAAA\nPublish: ", 1), "K.private", signer.ErrKeyFile},
		{"even exponent", rsaPublic, strings.Replace(rsaPrivate, "PublicExponent: AQAB", "PublicExponent: AQAA", 1), "K.private:4", signer.ErrKeyFile},
		{"other exponent", rsaPublic, strings.Replace(rsaPrivate, "PublicExponent: AQAB", "PublicExponent: AQAF", 1), "K.private:3", signer.ErrKeyFile},
		{"RSASHA1", strings.Replace(rsaPublic, "257 3 8", "257 3 5", 1), strings.Replace(rsaPrivate, "8 (RSASHA256)", "5 (RSASHA1)", 1), "K.private", signer.ErrAlgorithm},
	} {
		_, err := signer.ParseKey("K", []byte(tc.public), []byte(tc.private))
		if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
	if _, err := signer.ReadFiles(filepath.Join(t.TempDir(), "K")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// FuzzParseKey: a key that is read signs, whatever stood in its files.
func FuzzParseKey(f *testing.F) {
	for _, alg := range algorithms {
		public, private := files(f, testKeys(f, dnsname.MustParse("example."), alg)[0])
		f.Add([]byte(public), []byte(private))
	}
	f.Fuzz(func(t *testing.T, public, private []byte) {
		k, err := signer.ParseKey("K", public, private)
		if err != nil {
			return
		}
		if k, err = k.As(map[signer.Role]signer.Role{signer.KSK: signer.CSK, signer.ZSK: signer.ZSK}[k.Role()]); err != nil {
			t.Fatal(err)
		}
		if k.Role() == signer.ZSK {
			return
		}
		s := newSigner(t, k.Zone(), signer.Policy{}, inUse(k)...)
		snap, _, _ := version(t, s, unsigned(t, k.Zone()), start, nil, nil)
		(&judge{keys: []*signer.Key{k}, data: []*signer.Key{k}, now: start.Unix()}).good(t, snap)
	})
}

// device is a key whose private part nobody has.
type device struct {
	crypto.Signer
	err error
	sig []byte
}

func (d device) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if d.err != nil || d.sig != nil {
		return d.sig, d.err
	}
	return d.Signer.Sign(rand, digest, opts)
}

// TestDevice: what signs may be elsewhere, and fail.
func TestDevice(t *testing.T) {
	origin := dnsname.MustParse("example.")
	public, private := files(t, testKeys(t, origin, signer.ECDSAP256SHA256)[0])
	rr, err := dns.NewRR(strings.Split(public, "\n")[2])
	if err != nil {
		t.Fatal(err)
	}
	secret, err := rr.(*dns.DNSKEY).NewPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("device is off")
	for _, tc := range []struct {
		d    device
		want error
	}{
		{device{secret.(crypto.Signer), nil, nil}, nil},
		{device{secret.(crypto.Signer), broken, nil}, broken},
		{device{secret.(crypto.Signer), nil, []byte("nonsense")}, signer.ErrKey},
		{device{secret.(crypto.Signer), nil, []byte("\x30\x06\x02\x01\xff\x02\x01\x01")}, signer.ErrKey},
	} {
		k, err := signer.NewKey(origin, signer.ECDSAP256SHA256, signer.CSK, tc.d)
		if err != nil {
			t.Fatal(err)
		}
		s := newSigner(t, origin, signer.Policy{}, inUse(k)...)
		txn := unsigned(t, origin).Begin()
		if _, err := s.Sign(txn, signer.Request{Since: txn.Savepoint(), Now: start}); !errors.Is(err, tc.want) {
			t.Errorf("%v, want %v", err, tc.want)
		}
		if err := k.WriteFiles(t.TempDir(), start); !errors.Is(err, signer.ErrKey) {
			t.Errorf("written: %v", err)
		}
	}
	for _, alg := range algorithms {
		if _, err := signer.NewKey(origin, alg, signer.CSK, secret.(crypto.Signer)); (alg == signer.ECDSAP256SHA256) != (err == nil) {
			t.Errorf("%s with a P-256 key: %v", alg, err)
		}
	}
}

// TestAlgorithms signs with each algorithm and has another implementation verify.
func TestAlgorithms(t *testing.T) {
	origin := dnsname.MustParse("example.")
	for _, alg := range algorithms {
		k := testKeys(t, origin, alg)
		s := newSigner(t, origin, signer.Policy{NSEC3: true}, inUse(k[1:]...)...)
		snap, _, result := version(t, s, unsigned(t, origin), start, nil, func(txn *zone.Txn) {
			if _, err := txn.Add("\x02MX"+origin, rrset.TypeMX, 60, "\x00\x0a\x04MAIL"+string(origin)); err != nil {
				t.Fatal(err)
			}
		})
		(&judge{keys: k[1:2], data: k[2:], nsec3: true, now: start.Unix()}).good(t, snap)
		if result.Signatures != 11 {
			t.Errorf("%s: %+v", alg, result)
		}
	}
}
