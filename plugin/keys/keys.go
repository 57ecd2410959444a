// Package keys checks the TSIG signatures of requests, says who has signed in
// the request's context, and signs the responses (RFC 8945). It is in front of
// stock tsig in the chain and works beside it.
//
// The library verifies the MAC and the time, with secrets that are handed to it
// when the server starts and cannot change. So a key file that changes restarts
// the instance with the same Corefile.
package keys

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
	"github.com/trustdns/trustdns/plugin/pkg/identity"
)

const name = "keys"

var log = clog.NewWithPlugin(name)

// Keys is the handler of one server block. It is safe for concurrent use.
type Keys struct {
	Next plugin.Handler
	*block
}

// block is the keys of one server block.
type block struct {
	place string          // of the directive
	keys  map[string]*key // by name in lower case
	files map[string]digest
	// stock is the names of the keys of stock tsig in the block.
	stock map[string]bool
	// stockZones is where stock tsig checks signatures, and by its settings
	// refuses requests without.
	stockZones plugin.Zones
}

// Name implements plugin.Handler.
func (k *Keys) Name() string { return name }

// TSIGKey gives the algorithm and the secret of a key of the server block, for
// those who sign messages of their own, such as NOTIFY. Other plugins of the
// block find the method in OnStartup among dnsserver.Config.Handlers, by an
// interface that has it alone. The name may be in any letter case, with or
// without the final dot; the algorithm is as messages have it, "hmac-sha256.".
// The secret is a copy, in octets; it must not be logged. It does not change
// while the instance lives.
func (k *Keys) TSIGKey(name string) (algorithm string, secret []byte, ok bool) {
	found := k.keys[dns.CanonicalName(name)]
	if found == nil {
		return "", nil, false
	}
	return found.algorithm.name, slices.Clone(found.secret), true
}

// ServeDNS implements plugin.Handler.
func (k *Keys) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	t, ok := signature(r)
	switch {
	case !ok:
		return k.malformed(ctx, w, r)
	case t == nil:
		return plugin.NextOrFailure(name, k.Next, ctx, w, r)
	}
	owner := dns.CanonicalName(t.Hdr.Name)
	used := k.keys[owner]
	if used == nil && k.stock[owner] {
		return plugin.NextOrFailure(name, k.Next, ctx, w, r)
	}
	q := signed{Keys: k, ctx: ctx, w: w, r: r, t: t, key: used}
	// The order of checks is that of RFC 8945 §5.2.
	switch {
	case used == nil:
		return q.refuse("badkey", problem{code: dns.RcodeBadKey})
	case dns.CanonicalName(t.Algorithm) != used.algorithm.name:
		return q.refuse("badalg", problem{code: dns.RcodeBadKey})
	}
	size, full := len(t.MAC)/2, used.algorithm.size
	switch {
	case size > full || size < max(10, full/2): // RFC 8945 §5.2.2.1
		return k.malformed(ctx, w, r)
	case size < full: // the library checks whole MACs only
		return q.refuse("badtrunc", problem{code: dns.RcodeBadTrunc})
	}
	switch err := w.TsigStatus(); {
	case err == nil:
		return q.pass()
	case errors.Is(err, dns.ErrSecret), errors.Is(err, dns.ErrKeyAlg):
		return q.refuse("badkey", problem{code: dns.RcodeBadKey})
	case errors.Is(err, dns.ErrTime): // RFC 8945 §5.2.3
		var at [8]byte
		binary.BigEndian.PutUint64(at[:], now())
		return q.refuse("badtime", problem{code: dns.RcodeBadTime, data: at[2:]})
	default:
		return q.refuse("badsig", problem{code: dns.RcodeBadSig})
	}
}

// signature gives the TSIG record of a request, or nil if it has none. It is
// false if there are several, or one is not where and how it must be (RFC 8945
// §4.2, §5.1).
func signature(r *dns.Msg) (*dns.TSIG, bool) {
	for _, section := range [...][]dns.RR{r.Answer, r.Ns} {
		for _, rr := range section {
			if rr.Header().Rrtype == dns.TypeTSIG {
				return nil, false
			}
		}
	}
	for i, rr := range r.Extra {
		if rr.Header().Rrtype != dns.TypeTSIG {
			continue
		}
		t, ok := rr.(*dns.TSIG)
		if !ok || i != len(r.Extra)-1 || t.Hdr.Class != dns.ClassANY || t.Hdr.Ttl != 0 {
			return nil, false
		}
		return t, true
	}
	return nil, true
}

// malformed answers FORMERR, unsigned.
func (k *Keys) malformed(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	k.count(ctx, "formerr")
	return sent(w.WriteMsg(new(dns.Msg).SetRcode(r, dns.RcodeFormatError)))
}

// sent gives the result of a request whose response was written.
func sent(err error) (int, error) {
	var pack *dns.Error
	if errors.As(err, &pack) {
		return dns.RcodeServerFailure, err
	}
	// Any other error means that the client is gone.
	return dns.RcodeSuccess, nil
}

func (k *Keys) count(ctx context.Context, result string) {
	requestsTotal.WithLabelValues(metrics.WithServer(ctx), result).Inc()
}

// signed is a request with a TSIG record.
type signed struct {
	*Keys
	ctx context.Context
	w   dns.ResponseWriter
	r   *dns.Msg
	t   *dns.TSIG
	key *key // nil if it is none of ours
}

// pass gives the request to the next plugin, with the identity of who has
// signed it, and signs the response.
func (q *signed) pass() (int, error) {
	q.count(q.ctx, "ok")
	w, err := q.writer()
	if err != nil {
		return dns.RcodeServerFailure, err
	}
	id := q.key.identity()
	id.MAC, id.Signed, id.Fudge = string(w.signer.mac), q.t.TimeSigned, q.t.Fudge
	id.Address = clientAddress(q.w)
	ctx := identity.With(q.ctx, id)
	if !q.stockZones.Contains(strings.ToLower(q.r.Question[0].Name)) { // else tsig checks it again, and strips it
		q.r.Extra = q.r.Extra[:len(q.r.Extra)-1]
	}
	rcode, err := plugin.NextOrFailure(name, q.Next, ctx, w, q.r)
	if plugin.ClientWrite(rcode) {
		return rcode, err
	}
	// The server would answer unsigned.
	code, failed := sent(w.WriteMsg(new(dns.Msg).SetRcode(q.r, rcode)))
	return code, errors.Join(err, failed)
}

// writer gives one that signs the response.
func (q *signed) writer() (*writer, error) {
	mac, err := hex.DecodeString(q.t.MAC)
	if err != nil {
		return nil, err
	}
	return &writer{
		ResponseWriter: q.w, request: q.r, spelled: q.t.Hdr.Name, signing: signingOf(q.ctx),
		cookie: cookie.From(q.ctx).Option, signer: signer{key: q.key, mac: mac},
	}, nil
}

// signingOf tells how messages are signed by the server of a request.
func signingOf(ctx context.Context) signing {
	scheme, _, _ := strings.Cut(metrics.WithServer(ctx), "://")
	switch scheme {
	case transport.QUIC:
		return packed
	case transport.HTTPS, transport.HTTPS3, transport.GRPC:
		return repacked
	default:
		return byLibrary
	}
}

// refuse answers NOTAUTH with a TSIG record that says why. Only where the MAC
// was right it is signed (RFC 8945 §5.3.2).
func (q *signed) refuse(result string, p problem) (int, error) {
	q.count(q.ctx, result)
	log.Debugf("%s %s: %s, key %q", q.r.Question[0].Name, dns.Type(q.r.Question[0].Qtype), result, q.t.Hdr.Name)
	m := new(dns.Msg).SetRcode(q.r, dns.RcodeNotAuth)
	if p.code == dns.RcodeBadTime {
		w, err := q.writer()
		if err != nil {
			return dns.RcodeServerFailure, err
		}
		return sent(w.writeMsg(m, q.t.TimeSigned, p))
	}
	state := request.Request{Req: q.r, W: q.w}
	state.SizeAndDo(m)
	putCookie(m, cookie.From(q.ctx).Option)
	m.Extra = append(m.Extra, record(q.t.Hdr.Name, q.t.Algorithm, q.r.Id, q.t.TimeSigned, p))
	if p.code != dns.RcodeBadTrunc || signingOf(q.ctx) != byLibrary {
		return sent(q.w.WriteMsg(m))
	}
	// The library would sign a message with this error.
	b, err := m.Pack()
	if err != nil {
		return dns.RcodeServerFailure, err
	}
	_, err = q.w.Write(b)
	return sent(err)
}

// clientAddress gives where the request came from, the zero value if that is unknown.
func clientAddress(w dns.ResponseWriter) netip.AddrPort {
	addr := w.RemoteAddr()
	if wrapped, ok := addr.(interface{ Unwrap() net.Addr }); ok { // the PROXY protocol's
		addr = wrapped.Unwrap()
	}
	var a netip.AddrPort
	switch addr := addr.(type) {
	case *net.UDPAddr:
		a = addr.AddrPort()
	case *net.TCPAddr:
		a = addr.AddrPort()
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
