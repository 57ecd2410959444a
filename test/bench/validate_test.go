package main

import (
	"cmp"
	"crypto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// signedZone is a server of a few answers of a zone that it signs, which it does not
// at once.
type signedZone struct {
	mu      sync.Mutex
	key     *dns.DNSKEY
	private crypto.Signer
	early   int           // so many answers have no signatures
	from    time.Duration // from now, when signatures begin to be valid
	damaged bool
}

func newSignedZone(t *testing.T, algorithm uint8) *signedZone {
	t.Helper()
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300}, Flags: 257, Protocol: 3, Algorithm: algorithm}
	private, err := k.Generate(map[uint8]int{dns.ECDSAP256SHA256: 256, dns.ECDSAP384SHA384: 384}[algorithm])
	if err != nil {
		t.Fatal(err)
	}
	return &signedZone{key: k, private: private.(crypto.Signer)}
}

// sign appends a signature to the records of an RRset.
func (z *signedZone) sign(set ...dns.RR) []dns.RR {
	from := time.Now().Add(z.from - time.Minute)
	sig := &dns.RRSIG{
		Algorithm: z.key.Algorithm, KeyTag: z.key.KeyTag(), SignerName: "example.org.",
		Inception: uint32(from.Unix()), Expiration: uint32(from.Add(time.Hour).Unix()),
	}
	if err := sig.Sign(z.private, set); err != nil {
		panic(err)
	}
	return append(set, sig)
}

// records gives the records of a zone in the master file format.
func records(t *testing.T, text string) (list []dns.RR) {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(text), "example.org.", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		list = append(list, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// ServeDNS implements dns.Handler.
func (z *signedZone) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := new(dns.Msg).SetReply(r)
	q := r.Question[0]
	h := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: 300}
	switch {
	case z.early > 0 && q.Qtype != dns.TypeDNSKEY:
		z.early--
		m.Answer = []dns.RR{&dns.A{Hdr: h, A: []byte{10, 0, 0, 1}}}
	case q.Qtype == dns.TypeDNSKEY:
		m.Answer = z.sign(z.key)
	case strings.HasPrefix(q.Name, "gone"):
		m.Rcode = dns.RcodeNameError
		h.Rrtype, h.Name = dns.TypeNSEC, "example.org."
		m.Ns = z.sign(&dns.NSEC{Hdr: h, NextDomain: "www.example.org.", TypeBitMap: []uint16{dns.TypeSOA}})
	default:
		a := &dns.A{Hdr: h, A: []byte{10, 0, 0, 1}}
		m.Answer = z.sign(a)
		if z.damaged {
			a.A = []byte{10, 0, 0, 2}
		}
	}
	_ = w.WriteMsg(m)
}

func TestAwait(t *testing.T) {
	www, gone := question{"www.example.org.", dns.TypeA}, question{"gone.example.org.", dns.TypeA}
	both := []expected{{question: www}, {question: gone, absent: true}}
	for name, tc := range map[string]struct {
		zone      func(*signedZone)
		algorithm uint8 // 0: ECDSA P-256
		list      []expected
		late      bool
		err       string
	}{
		"signed":                       {list: both},
		"signed later":                 {list: both, zone: func(z *signedZone) { z.early = 3 }, late: true},
		"never signed":                 {list: both, zone: func(z *signedZone) { z.early = 1 << 30 }, err: "www.example.org. A gets NOERROR with no signed A"},
		"a wrong signature":            {list: both, zone: func(z *signedZone) { z.damaged = true }, err: "www.example.org. A: www.example.org. A: dns: bad signature"},
		"not valid yet":                {list: both, zone: func(z *signedZone) { z.from = time.Hour }, err: "the signature is valid from"},
		"not valid any more":           {list: both, zone: func(z *signedZone) { z.from = -2 * time.Hour }, err: "the signature is valid from"},
		"a name that was removed":      {list: []expected{{question: gone}}, err: "gets NXDOMAIN with no signed A"},
		"a name that should not be":    {list: []expected{{question: www, absent: true}}, err: "gets NOERROR with no signed NSEC"},
		"another algorithm":            {list: both, algorithm: dns.ECDSAP384SHA384, err: "signed with ECDSAP384SHA384"},
		"a key that is not the zone's": {list: both, zone: func(z *signedZone) { z.key.Flags = 1 }, err: "has no DNSKEY"},
	} {
		t.Run(name, func(t *testing.T) {
			z := newSignedZone(t, cmp.Or(tc.algorithm, dns.ECDSAP256SHA256))
			if tc.zone != nil {
				tc.zone(z)
			}
			at := serve(t, z, nil)
			wait, err := newValidator(at, "example.org.").await(tc.list, 30*time.Millisecond)
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("%v, want %q", err, tc.err)
			}
			if (wait > 0) != tc.late {
				t.Errorf("it waited for %v", wait)
			}
		})
	}
}

// What a transfer of a signed zone may have wrong is found.
func TestVerifyTransfer(t *testing.T) {
	z := newSignedZone(t, dns.ECDSAP256SHA256)
	rr := records(t, `@ 300 SOA ns1 h 1 2 3 4 5
@ 300 NSEC u0-1 SOA RRSIG NSEC DNSKEY
u0-1 300 NSEC @ A RRSIG NSEC
u0-1 300 A 10.0.0.1
@ 300 TYPE65534 \# 1 00
`)
	type collected struct {
		watched map[string][]dns.RR
		next    map[string]string
		last    dns.RR
	}
	right := func() collected {
		var apex, name []dns.RR
		apex = append(apex, z.sign(rr[0])...)
		apex = append(apex, z.sign(rr[1])...)
		apex = append(append(apex, z.sign(z.key)...), rr[4])
		name = append(append(name, z.sign(rr[2])...), z.sign(rr[3])...)
		return collected{
			watched: map[string][]dns.RR{"example.org.": apex, "u0-1.example.org.": name},
			next:    map[string]string{"example.org.": "u0-1.example.org.", "u0-1.example.org.": "example.org."},
			last:    rr[0],
		}
	}
	const name = "u0-1.example.org."
	for what, tc := range map[string]struct {
		change func(*collected)
		err    string
	}{
		"nothing":                  {change: func(*collected) {}},
		"another SOA at the end":   {func(c *collected) { c.last = rr[1] }, "does not end with the SOA"},
		"no keys":                  {func(c *collected) { c.watched["example.org."] = c.watched["example.org."][:4] }, "has no DNSKEY"},
		"a record not signed":      {func(c *collected) { c.watched[name] = c.watched[name][:3] }, name + " A: no signature"},
		"no NSEC record":           {func(c *collected) { c.watched[name] = c.watched[name][2:] }, name + " has no NSEC record"},
		"the chain leads nowhere":  {func(c *collected) { c.next[name] = "v.example.org." }, "v.example.org. has no NSEC record"},
		"the chain leaves one out": {func(c *collected) { c.next["v.example.org."] = "example.org." }, "1 NSEC records are not in the chain"},
		"the chain goes round":     {func(c *collected) { c.next[name] = name }, "go round without the apex"},
	} {
		c := right()
		tc.change(&c)
		v := &validator{origin: "example.org."}
		err := v.verifyTransfer(c.watched, c.next, c.last)
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: %v, want %q", what, err, tc.err)
		}
	}
}
