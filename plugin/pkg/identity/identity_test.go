package identity

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestContext(t *testing.T) {
	if id, ok := From(context.Background()); ok || id != (Identity{}) {
		t.Errorf("an empty context holds %+v, %v", id, ok)
	}
	first := Identity{Key: "a.", Algorithm: "hmac-sha256.", Address: netip.MustParseAddrPort("192.0.2.1:53")}
	ctx := With(context.Background(), first)
	second := Identity{Key: "b."}
	inner := With(ctx, second)
	first.Key = "changed."
	if id, ok := From(ctx); !ok || id.Key != "a." || id.Address.Port() != 53 {
		t.Errorf("got %+v, %v", id, ok)
	}
	if id, ok := From(inner); !ok || id != second {
		t.Errorf("got %+v, %v", id, ok)
	}
}

func TestFromAllocates(t *testing.T) {
	ctx := With(context.Background(), Identity{Key: "a."})
	if n := testing.AllocsPerRun(100, func() { From(ctx) }); n != 0 {
		t.Errorf("From allocates %v times", n)
	}
}

// The library's signature is never larger than what is said, and for names
// without escapes just as large.
func TestSignatureSize(t *testing.T) {
	for algorithm := range macSizes {
		for name, exact := range map[string]bool{"a.": true, "ddns.example.org.": true, `a\.b\000c.example.`: false} {
			m := new(dns.Msg)
			m.SetQuestion("example.org.", dns.TypeSOA)
			bare, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			m.SetTsig(name, algorithm, 300, time.Now().Unix())
			signed, _, err := dns.TsigGenerate(m, "c2VjcmV0", "", false)
			if err != nil {
				t.Fatal(err)
			}
			size := len(signed) - len(bare)
			got := Identity{Key: name, Algorithm: algorithm}.SignatureSize()
			if got < size || exact && got != size {
				t.Errorf("%s %s: %d octets, the record has %d", name, algorithm, got, size)
			}
		}
	}
	if got := (Identity{Key: "a.", Algorithm: "hmac-new."}).SignatureSize(); got < 10+16+64 {
		t.Errorf("an unknown algorithm: %d octets", got)
	}
}
