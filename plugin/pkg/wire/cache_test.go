package wire

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

func TestCache(t *testing.T) {
	if size := unsafe.Sizeof(Cache{}); size > CacheSize+64 {
		t.Errorf("a cache takes %d octets, CacheSize is %d", size, CacheSize)
	}
	name := dnsname.MustParse("www.example.org.")
	set, err := rrset.New(rrset.TypeA, 300, "\xc0\x00\x02\x01", "\xc0\x00\x02\x02")
	if err != nil {
		t.Fatal(err)
	}
	a := &zone.Answer{AA: true, Answer: []zone.Set{{Owner: name, RRset: set}}}
	c, p := NewCache(), new(Packer)
	parse := func(m *dns.Msg) *Question {
		t.Helper()
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		q := new(Question)
		if o := ParseQuestion(b, q); o != Plain {
			t.Fatal(o)
		}
		return q
	}
	plain := parse(new(dns.Msg).SetQuestion("WWW.example.org.", dns.TypeA))
	withEDNS := new(dns.Msg).SetQuestion("www.Example.org.", dns.TypeA)
	withEDNS.SetEdns0(1232, false)
	edns := parse(withEDNS)
	withEDNS.IsEdns0().SetDo()
	do := parse(withEDNS)
	const before = "before"
	packed, err := p.AppendResponse([]byte(before), plain, a, MinUDP, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, _, ok := c.AppendCached(nil, plain, name, 7, false, 512, nil); ok {
			t.Error("it was kept the first time")
		}
		c.Keep(p, packed, len(before), plain, name, 7, false, zone.Success, zone.Account{Name: name})
	}
	for _, q := range []*Question{plain, edns} {
		for _, options := range [][]byte{nil, AppendOption(nil, OptionCookie, []byte("12345678"))} {
			want, err := p.AppendResponse([]byte(before), q, a, q.UDPLimit(), options)
			if err != nil {
				t.Fatal(err)
			}
			got, kind, account, ok := c.AppendCached([]byte(before), q, name, 7, false, q.UDPLimit(), options)
			if !c.Has(q, name, 7, false) || c.Has(q, name, 8, false) {
				t.Errorf("%v: Has does not know", q.Name)
			}
			if !ok || kind != zone.Success || account != (zone.Account{Name: name}) || !bytes.Equal(got, want) {
				t.Errorf("%v: %x, %v, %v, want %x", q.Name, got, account, ok, want)
			}
			if _, _, _, ok := c.AppendCached(nil, q, name, 7, false, len(want)-len(before)-1, options); ok {
				t.Error("it is larger than the limit")
			}
			c.Keep(p, want, len(before), q, name, 7, false, kind, account)
		}
	}
	other := *plain
	other.Type = rrset.TypeAAAA
	for what, ok := range map[string]func() bool{
		"another version": func() bool { _, _, _, ok := c.AppendCached(nil, plain, name, 8, false, 512, nil); return ok },
		"another shape":   func() bool { _, _, _, ok := c.AppendCached(nil, plain, name, 7, true, 512, nil); return ok },
		"another type":    func() bool { _, _, _, ok := c.AppendCached(nil, &other, name, 7, false, 512, nil); return ok },
		"another name": func() bool {
			_, _, _, ok := c.AppendCached(nil, plain, "\x03ftp"+name[4:], 7, false, 512, nil)
			return ok
		},
		"DO": func() bool { _, _, _, ok := c.AppendCached(nil, do, name, 7, false, 1232, nil); return ok },
	} {
		if ok() {
			t.Errorf("%s finds it", what)
		}
	}
	// What was cut, or lacks what is optional, is not kept.
	many := make([]string, 60)
	for i := range many {
		many[i] = string([]byte{10, 0, 0, byte(i)})
	}
	if set, err = rrset.New(rrset.TypeA, 300, many...); err != nil {
		t.Fatal(err)
	}
	for i, a := range []*zone.Answer{
		{Answer: []zone.Set{{Owner: name, RRset: set}}},
		{Additional: []zone.Set{{Owner: name, RRset: set}}},
	} {
		packed, _ := p.AppendResponse(nil, plain, a, MinUDP, nil)
		for range 2 {
			c.Keep(p, packed, 0, plain, name, uint64(20+i), false, zone.Success, zone.Account{Name: name})
		}
		if _, _, _, ok := c.AppendCached(nil, plain, name, uint64(20+i), false, MaxUDP, nil); ok {
			t.Errorf("answer %d was kept", i)
		}
	}
}
