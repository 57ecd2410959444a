package cookie

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dchest/siphash"
)

func secret(t testing.TB, text string) Secret {
	t.Helper()
	s, err := ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func octets(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// handle is Handle with hexadecimal digits.
func handle(t testing.TB, s *Secrets, option, addr string, now uint32) (Result, string) {
	t.Helper()
	result, b, err := s.Handle(octets(t, option), netip.MustParseAddr(addr), now, nil)
	if err != nil {
		t.Fatal(err)
	}
	return result, hex.EncodeToString(b)
}

// The secrets of RFC 9018 appendix A.
const (
	secretA = "e5e973e5a6b2a43f48e7dc849e37bfcf"
	secretB = "dd3bdf9344b678b185a6f5cb60fca715"
	secretC = "445536bcd2513298075a5d379663c962"
)

// The vectors of RFC 9018 appendix A.
func TestVectors(t *testing.T) {
	one := NewSecrets(secret(t, secretA))
	rolled := NewSecrets(secret(t, secretC), secret(t, secretB))
	for _, c := range []struct {
		name         string
		secrets      *Secrets
		option, addr string
		now          uint32
		result       Result
		want         string
	}{
		{
			"K1 a new cookie", one, "2464c4abcf10c957", "198.51.100.100", 1559731985,
			Client, "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
		},
		{
			"K2 the same client gets a fresh one", one, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", "198.51.100.100", 1559734385,
			Valid, "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
		},
		{
			"K3 reserved octets are checked as they came", one, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", "203.0.113.203", 1559727985,
			Valid, "fc93fc62807ddb86010000005cf78f71", // the RFC does not say how it would go on
		},
		{
			"K3 the renewed cookie", one, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", "203.0.113.203", 1559734700,
			Invalid, "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
		},
		{
			"K4 IPv6", NewSecrets(secret(t, secretB)), "22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741817,
			Client, "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
		},
		{
			"K4, K8 an old secret is taken, the new one makes the cookie", rolled,
			"22681ab97d52c298010000005cf7c57926556bd0934c72f8", "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961,
			Valid, "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			result, got := handle(t, c.secrets, c.option, c.addr, c.now)
			if result != c.result || !strings.HasPrefix(got, c.want) || len(got) != 2*OptionSize {
				t.Errorf("%v %s, want %v %s", result, got, c.result, c.want)
			}
		})
	}
}

// K5: 8 and 16 to 40 octets are lengths of an option.
func TestLengths(t *testing.T) {
	s := NewSecrets(secret(t, secretA))
	for n := range 80 {
		dst := []byte("before")
		result, got, err := s.Handle(make([]byte, n), netip.MustParseAddr("192.0.2.1"), 1, dst)
		switch {
		case n == 8 && (err != nil || result != Client),
			n >= 16 && n <= 40 && (err != nil || result != Invalid):
			t.Errorf("%d octets: %v, %v", n, result, err)
		case n != 8 && (n < 16 || n > 40):
			if !errors.Is(err, ErrMalformed) || string(got) != "before" {
				t.Errorf("%d octets: error %v, %q", n, err, got)
			}
		case string(got[:6]) != "before" || len(got) != 6+OptionSize:
			t.Errorf("%d octets: %q", n, got)
		}
	}
}

// K6: from 300 seconds ahead to an hour old, also where the seconds run over.
func TestAges(t *testing.T) {
	s := NewSecrets(secret(t, secretA))
	const client, addr = "2464c4abcf10c957", "198.51.100.100"
	for _, now := range []uint32{1559731985, 0, 100, 1<<32 - 1, 1 << 31} {
		for _, c := range []struct {
			age    uint32
			result Result
			same   bool // the client gets the same again
		}{
			{0, Valid, true},
			{1800, Valid, true},
			{1801, Valid, false},
			{3599, Valid, false},
			{3600, Valid, false},
			{3601, Invalid, false},
			{1 << 31, Invalid, false},
			{1<<32 - 1, Valid, true},
			{1<<32 - 300, Valid, true},
			{1<<32 - 301, Invalid, false},
		} {
			_, made := handle(t, s, client, addr, now-c.age)
			result, got := handle(t, s, made, addr, now)
			_, fresh := handle(t, s, client, addr, now)
			want := fresh
			if c.same {
				want = made
			}
			if result != c.result || got != want {
				t.Errorf("%d seconds old at %d: %v %s, want %v %s", int32(c.age), now, result, got, c.result, want)
			}
		}
	}
}

// K7, K11: the cookie is for one address, in whichever form that comes.
func TestAddresses(t *testing.T) {
	s := NewSecrets(secret(t, secretA))
	_, made := handle(t, s, "2464c4abcf10c957", "198.51.100.100", 1000)
	_, made6 := handle(t, s, "2464c4abcf10c957", "fe80::1", 1000)
	for _, c := range []struct {
		option, addr string
		want         Result
	}{
		{made, "198.51.100.100", Valid}, // K11: whatever subnet the query speaks of
		{made, "::ffff:198.51.100.100", Valid},
		{made, "198.51.100.101", Invalid},
		{made, "2001:db8::1", Invalid},
		{made6, "fe80::1", Valid},
		{made6, "fe80::1%eth0", Valid},
		{made6, "fe80::2", Invalid},
		{made[:15] + "8" + made[16:], "198.51.100.100", Invalid},                   // another client cookie
		{made[:16] + "02" + made[18:], "198.51.100.100", Invalid},                  // another version
		{made[:len(made)-1] + "0", "198.51.100.100", Invalid},                      // another hash
		{made + "00", "198.51.100.100", Invalid},                                   // longer
		{made[:32], "198.51.100.100", Invalid},                                     // shorter
		{"2464c4abcf10c957" + strings.Repeat("00", 32), "198.51.100.100", Invalid}, // of another kind
	} {
		if result, got := handle(t, s, c.option, c.addr, 1001); result != c.want || len(got) != 2*OptionSize {
			t.Errorf("%s from %s: %v %s, want %v", c.option, c.addr, result, got, c.want)
		}
	}
	if result, got, err := s.Handle(octets(t, made), netip.Addr{}, 1000, nil); result != Invalid || got != nil || err != nil {
		t.Errorf("an unknown address: %v %x %v", result, got, err)
	}
}

// K8: the three stages of RFC 9018 §5. At each step servers are a stage apart, and take
// each other's cookies.
func TestStages(t *testing.T) {
	before, after := secret(t, secretB), secret(t, secretC)
	stages := []*Secrets{NewSecrets(before), NewSecrets(before, after), NewSecrets(after, before), NewSecrets(after)}
	const client, addr = "22681ab97d52c298", "2001:db8::1"
	for i, from := range stages {
		_, made := handle(t, from, client, addr, 1000)
		for j, to := range stages {
			result, got := handle(t, to, made, addr, 1001)
			if apart := max(i-j, j-i); apart <= 1 && result != Valid || apart == 3 && result != Invalid {
				t.Errorf("from stage %d to %d: %v", i, j, result)
			}
			_, fresh := handle(t, to, client, addr, 1001)
			if same := got == made; same != ((i < 2) == (j < 2)) || !same && got != fresh {
				t.Errorf("from stage %d to %d: %s becomes %s", i, j, made, got)
			}
		}
	}
}

func TestParseSecret(t *testing.T) {
	for text, ok := range map[string]bool{
		secretA: true, strings.ToUpper(secretA): true, "0x" + secretA: true, // Knot DNS writes it so
		"": false, "0x": false, secretA[1:]: false, secretA + "00": false, secretA[2:] + "0x": false, secretA[1:] + "g": false, " " + secretA: false,
	} {
		s, err := ParseSecret(text)
		if (err == nil) != ok || ok && hex.EncodeToString(s[:]) != secretA {
			t.Errorf("%q: %x, %v", text, [SecretSize]byte(s), err)
		}
		if err != nil && len(text) > 2 && strings.Contains(err.Error(), text) {
			t.Errorf("the error has the secret: %v", err)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v %s", secret(t, secretA), []Secret{{1}}, Secret{1}, Secret{1}); strings.Contains(s, "1") || strings.Contains(s, "e5") {
		t.Errorf("a secret is printed: %s", s)
	}
}

func TestParseSecrets(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
		err        string
	}{
		{"one", secretA, []string{secretA}, ""},
		{"as NSD writes them", secretA + "\n" + secretB + "\n", []string{secretA, secretB}, ""},
		{"comments, spaces, other lines' ends", "# made today\r\n\n  " + secretA + "\t\r\n #\n0x" + secretC, []string{secretA, secretC}, ""},
		{"empty", "\n\n# nothing\n", nil, "there is no secret"},
		{"no secret", secretA + "\n" + secretB[1:] + "\n", nil, "line 2: want a secret"},
		{"two on a line", secretA + " " + secretB, nil, "line 1: want a secret"},
		{"twice", secretA + "\n\n" + secretA, nil, "line 3: the secret is there already"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseSecrets([]byte(c.text))
			if c.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.err) || strings.Contains(err.Error(), secretB[1:]) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			var want []Secret
			for _, text := range c.want {
				want = append(want, secret(t, text))
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%x, %v", got, err)
			}
		})
	}
}

func TestHandleDoesNotAllocate(t *testing.T) {
	s := NewSecrets(secret(t, secretA), secret(t, secretB), secret(t, secretC))
	addr := netip.MustParseAddr("2001:db8::1")
	_, made, err := NewSecrets(secret(t, secretC)).Handle(make([]byte, 8), addr, 1000, nil)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, OptionSize)
	if n := testing.AllocsPerRun(100, func() {
		if d := s.Decide(Always, made, addr, false, 1000, dst); d.Result != Valid {
			t.Fatal(d)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// slow is Handle without its cleverness.
func slow(secrets []Secret, option []byte, addr netip.Addr, now uint32) (Result, []byte) {
	hash := func(s Secret, client, head []byte) []byte {
		ip := addr.Unmap().WithZone("").AsSlice()
		k0, k1 := binary.LittleEndian.Uint64(s[:8]), binary.LittleEndian.Uint64(s[8:])
		return binary.LittleEndian.AppendUint64(nil, siphash.Hash(k0, k1, slices.Concat(client, head, ip)))
	}
	client, server := option[:8], option[8:]
	head := binary.BigEndian.AppendUint32([]byte{1, 0, 0, 0}, now)
	fresh := slices.Concat(client, head, hash(secrets[0], client, head))
	if len(server) == 0 {
		return Client, fresh
	}
	if len(server) != 16 || server[0] != 1 {
		return Invalid, fresh
	}
	made := int64(binary.BigEndian.Uint32(server[4:]))
	age := int64(now) - made
	if age > 1<<31 {
		age -= 1 << 32
	} else if age < -(1 << 31) {
		age += 1 << 32
	}
	for i, s := range secrets {
		if age > 3600 || age < -300 || !bytes.Equal(hash(s, client, server[:8]), server[8:]) {
			continue
		}
		if i == 0 && age <= 1800 && bytes.Equal(server[1:4], []byte{0, 0, 0}) {
			return Valid, option
		}
		return Valid, fresh
	}
	return Invalid, fresh
}

// Handle is as its slow twin, whatever comes.
func FuzzHandle(f *testing.F) {
	secrets := []Secret{secret(f, secretA), secret(f, secretB)}
	s := NewSecrets(secrets[0], secrets[1])
	f.Add(octets(f, "2464c4abcf10c957010000005cf79f111f8130c3eee29480"), []byte{198, 51, 100, 100}, uint32(1559731985))
	f.Add(octets(f, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5"), []byte{203, 0, 113, 203}, uint32(1559727985))
	f.Add(octets(f, "2464c4abcf10c957"), []byte("0123456789abcdef"), uint32(0))
	f.Add([]byte{}, []byte{}, uint32(1))
	f.Fuzz(func(t *testing.T, option, ip []byte, now uint32) {
		addr, ok := netip.AddrFromSlice(ip)
		if !ok {
			addr = netip.IPv6Unspecified()
		}
		before := bytes.Clone(option)
		result, got, err := s.Handle(option, addr, now, nil)
		if !bytes.Equal(option, before) {
			t.Fatal("the option was changed")
		}
		if malformed := len(option) != 8 && (len(option) < 16 || len(option) > 40); malformed || err != nil {
			if !malformed || !errors.Is(err, ErrMalformed) || got != nil {
				t.Fatalf("%d octets: %v %x %v", len(option), result, got, err)
			}
			return
		}
		if want, option := slow(secrets, option, addr, now); result != want || !bytes.Equal(got, option) {
			t.Fatalf("%v %x, want %v %x", result, got, want, option)
		}
		// What was made is valid here and now, and nowhere else.
		if again, same, err := s.Handle(got, addr, now, nil); again != Valid || !bytes.Equal(same, got) || err != nil {
			t.Fatalf("%x is %v and becomes %x, %v", got, again, same, err)
		}
		if elsewhere, _, err := s.Handle(got, addr.Next(), now, nil); elsewhere == Valid || err != nil {
			t.Fatalf("%x is %v at another address, %v", got, elsewhere, err)
		}
	})
}

func FuzzParseSecrets(f *testing.F) {
	f.Add([]byte(secretA + "\n# x\n0x" + secretB + "\n"))
	f.Add([]byte("\r\n\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseSecrets(data)
		if err != nil {
			return
		}
		var text strings.Builder
		for _, s := range list {
			fmt.Fprintf(&text, "%x\n", [SecretSize]byte(s))
		}
		if again, err := ParseSecrets([]byte(text.String())); err != nil || !slices.Equal(again, list) {
			t.Fatalf("%q: %v", text.String(), err)
		}
	})
}

func BenchmarkHandle(b *testing.B) {
	addr := netip.MustParseAddr("192.0.2.1")
	first, second := secret(b, secretA), secret(b, secretB)
	s := NewSecrets(first, second)
	_, made, _ := s.Handle(make([]byte, 8), addr, 1000, nil)
	_, older, _ := NewSecrets(second).Handle(make([]byte, 8), addr, 1000, nil)
	for name, option := range map[string][]byte{"client": made[:8], "valid": made, "previous": older} {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, OptionSize)
			b.ReportAllocs()
			for b.Loop() {
				_, _, _ = s.Handle(option, addr, 1000, dst)
			}
		})
	}
}
