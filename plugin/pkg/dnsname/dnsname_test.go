package dnsname

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	org := MustParse("example.org.")
	long := strings.Repeat("a", 63)
	tests := []struct {
		name, in string
		want     string
		err      error
	}{
		{"absolute", "www.example.net.", "\x03www\x07example\x03net\x00", nil},
		{"relative", "www", "\x03www\x07example\x03org\x00", nil},
		{"origin", "@", "\x07example\x03org\x00", nil},
		{"root", ".", "\x00", nil},
		{"letter case is kept", "WwW.", "\x03WwW\x00", nil},
		{"escaped dot", `a\.b.`, "\x03a.b\x00", nil},
		{"decimal escape", `\000\255.`, "\x02\x00\xff\x00", nil},
		{"escaped at sign", `\@`, "\x01@\x07example\x03org\x00", nil},
		{"wildcard", "*.w", "\x01*\x01w\x07example\x03org\x00", nil},
		{"empty", "", "", ErrEmptyLabel},
		{"empty label", "a..b.", "", ErrEmptyLabel},
		{"leading dot", ".a.", "", ErrEmptyLabel},
		{"escape at the end", `a\`, "", ErrEscape},
		{"escape above 255", `\256.`, "", ErrEscape},
		{"short escape", `\12`, "", ErrEscape},
		{"label of 63", long + ".", "\x3f" + long + "\x00", nil},
		{"label of 64", long + "a.", "", ErrLabelLong},
		{"name of 255", strings.Join([]string{long, long, long, long[:61], ""}, "."), "\x3f" + long + "\x3f" + long + "\x3f" + long + "\x3d" + long[:61] + "\x00", nil},
		{"name of 256", strings.Join([]string{long, long, long, long[:62], ""}, "."), "", ErrNameLong},
		{"relative name that gets too long", strings.Join([]string{long, long, long, long[:61]}, "."), "", ErrNameLong},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Parse(tc.in, org)
			if !errors.Is(err, tc.err) || string(got) != tc.want {
				t.Fatalf("Parse(%q) = %q, %v; want %q, %v", tc.in, got, err, tc.want, tc.err)
			}
		})
	}
	if _, err := Parse("a", ""); !errors.Is(err, ErrRelative) {
		t.Errorf("relative name without origin: %v", err)
	}
}

func TestFromWire(t *testing.T) {
	long := strings.Repeat("\x3f"+strings.Repeat("a", 63), 4)
	tests := []struct {
		name, msg string
		off       int
		want      string
		next      int
		err       error
	}{
		{"plain", "\x01a\x00", 0, "\x01a\x00", 3, nil},
		{"pointer", "\x01a\x00\x01b\xc0\x00", 3, "\x01b\x01a\x00", 7, nil},
		{"pointer to itself", "\xc0\x00", 0, "", 0, ErrPointer},
		{"pointer forwards", "\xc0\x02\x00", 0, "", 0, ErrPointer},
		{"pointer loop", "\x01a\xc0\x00", 0, "", 0, ErrPointer},
		{"half a pointer", "\x01a\xc0", 0, "", 0, ErrTruncated},
		{"label past the end", "\x05a", 0, "", 0, ErrTruncated},
		{"no root", "\x01a", 0, "", 0, ErrTruncated},
		{"label type 01", "\x41a\x00", 0, "", 0, ErrLabelType},
		{"256 octets", long + "\x00", 0, "", 0, ErrNameLong},
		{"offset past the end", "\x00", 5, "", 0, ErrTruncated},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, next, err := FromWire([]byte(tc.msg), tc.off)
			if !errors.Is(err, tc.err) || string(got) != tc.want || err == nil && next != tc.next {
				t.Fatalf("got %q, %d, %v; want %q, %d, %v", got, next, err, tc.want, tc.next, tc.err)
			}
		})
	}
}

func TestIsBelow(t *testing.T) {
	for _, tc := range []struct {
		n, zone string
		want    bool
	}{
		{"example.org.", "example.org.", true},
		{"www.EXAMPLE.org.", "example.ORG.", true},
		{"example.org.", ".", true},
		{"notexample.org.", "example.org.", false},
		{"org.", "example.org.", false},
		{`x\007example.org.`, "example.org.", false}, // the length octet of the suffix as data
	} {
		if got := MustParse(tc.n).IsBelow(MustParse(tc.zone)); got != tc.want {
			t.Errorf("%s below %s: %v", tc.n, tc.zone, got)
		}
	}
}

func genName(origin Name) *rapid.Generator[Name] {
	return rapid.Custom(func(t *rapid.T) Name {
		n := origin
		for range rapid.IntRange(0, 5).Draw(t, "labels") {
			l := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]byte("aAbzZ09-_*@.`{\x00\xff")), rapid.Byte()), 1, 8).Draw(t, "label")
			n = Name(append([]byte{byte(len(l))}, l...)) + n
		}
		return n
	})
}

// canonicalLess is RFC 4034 §6.1 as written there.
func canonicalLess(a, b Name) int {
	split := func(n Name) (ls [][]byte) {
		for i := 0; n[i] != 0; i += 1 + int(n[i]) {
			ls = append(ls, bytes.ToLower([]byte(n[i+1:i+1+int(n[i])])))
		}
		slices.Reverse(ls)
		return ls
	}
	// bytes.ToLower works on UTF-8; names here may hold any octet
	fold := func(ls [][]byte, n Name) [][]byte {
		ls = ls[:0]
		for i := 0; n[i] != 0; i += 1 + int(n[i]) {
			ls = append(ls, AppendFold(nil, n[i+1:i+1+int(n[i])]))
		}
		slices.Reverse(ls)
		return ls
	}
	return slices.CompareFunc(fold(split(a), a), fold(split(b), b), bytes.Compare)
}

// A48, A55: names of any octets keep their identity and order in keys.
func TestKeyIsCanonicalOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		origin := genName(Root).Draw(t, "origin")
		a, b := genName(origin).Draw(t, "a"), genName(origin).Draw(t, "b")
		if want, got := canonicalLess(a, b), strings.Compare(Key(a, origin), Key(b, origin)); want != got {
			t.Fatalf("%s and %s: order %d by keys, want %d", a, b, got, want)
		}
		if got := FromKey(Key(a, origin), origin); got[:len(got)-len(origin)] != a.Fold()[:len(a)-len(origin)] || !got.Equal(a) {
			t.Fatalf("%q came back as %q", a, got)
		}
		if below, prefix := a.IsBelow(b), strings.HasPrefix(Key(a, origin), Key(b, origin)); below != prefix {
			t.Fatalf("%s below %s: %v, key is prefix: %v", a, b, below, prefix)
		}
		for _, c := range []byte(Key(a, origin)) {
			if c == 0 || c >= Symbols {
				t.Fatalf("symbol %d in a key", c)
			}
		}
	})
}

func TestEnds(t *testing.T) {
	origin := MustParse("example.org.")
	var ends Ends
	k, n := AppendKey(nil, MustParse("a.B.c.example.org."), len(origin), &ends)
	if n != 3 {
		t.Fatalf("%d labels", n)
	}
	for i, name := range []string{"c.example.org.", "b.c.example.org.", "a.b.c.example.org."} {
		if got := FromKey(string(k[:ends[i]]), origin); got != MustParse(name) {
			t.Errorf("end %d gives %s, want %s", i, got, name)
		}
	}
	if got, want := string(AppendChild(k[:ends[0]], "*")), Key(MustParse("*.c.example.org."), origin); got != want {
		t.Errorf("child key %q, want %q", got, want)
	}
}

func TestNoAllocs(t *testing.T) {
	n := MustParse("WWW.some.Name.example.org.")
	var buf [MaxKey]byte
	var ends Ends
	if got := testing.AllocsPerRun(100, func() { AppendKey(buf[:0], n, 13, &ends) }); got != 0 {
		t.Errorf("AppendKey: %v allocations", got)
	}
	if got := testing.AllocsPerRun(100, func() { n.Equal(n); n.IsBelow(n); n.Labels(); n.Parent() }); got != 0 {
		t.Errorf("comparing: %v allocations", got)
	}
}

// FuzzParse compares presentation form, both ways, with miekg/dns.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"www.example.org.", `a\.b.`, `\000.`, "*.", ".", "@", `\@.x`, "a..", strings.Repeat("a.", 130)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s, Root)
		if err != nil {
			return
		}
		if Len(n) != len(n) {
			t.Fatalf("Parse(%q) = %q is not well formed", s, n)
		}
		back, err := Parse(n.String(), "")
		if err != nil || back != n {
			t.Fatalf("%q → %s → %q, %v", n, n, back, err)
		}
		var buf [256]byte
		off, err := dns.PackDomainName(n.String(), buf[:], 0, nil, false)
		if err != nil || string(buf[:off]) != string(n) {
			t.Fatalf("miekg packs %s as %q (%v), ours is %q", n, buf[:off], err, n)
		}
	})
}

// FuzzFromWire checks decompression against miekg/dns.
func FuzzFromWire(f *testing.F) {
	f.Add([]byte("\x01a\x00\x01b\xc0\x00"), 3)
	f.Add([]byte("\x01a\xc0\x00"), 0)
	f.Fuzz(func(t *testing.T, msg []byte, off int) {
		if off < 0 || off > len(msg) {
			return
		}
		n, next, err := FromWire(msg, off)
		if err != nil {
			return
		}
		s, wantNext, err := dns.UnpackDomainName(msg, off)
		if err != nil {
			t.Fatalf("FromWire accepts %q, miekg says %v", n, err)
		}
		if n2, err := Parse(s, Root); err != nil || n2 != n || next != wantNext {
			t.Fatalf("%q, %d; miekg: %q, %d (%v)", n, next, n2, wantNext, err)
		}
	})
}

func BenchmarkAppendKey(b *testing.B) {
	n := MustParse("www.d0123456.example.org.")
	var buf [MaxKey]byte
	var ends Ends
	for b.Loop() {
		AppendKey(buf[:0], n, 13, &ends)
	}
}

func BenchmarkParse(b *testing.B) {
	org := MustParse("example.org.")
	var buf [MaxLen]byte
	r := rand.IntN(10)
	s := "www.d0123456" + strings.Repeat("x", r)
	for b.Loop() {
		if _, err := AppendParse(buf[:0], s, org); err != nil {
			b.Fatal(err)
		}
	}
}
