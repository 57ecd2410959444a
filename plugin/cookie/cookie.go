// Package cookie checks the DNS cookies of requests and puts those of the server into
// the responses (RFC 7873, RFC 9018), so that a client which has been reached at its
// address once is known again. The others can be made to show that first.
package cookie

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/edns"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/cookie"
	"github.com/trustdns/trustdns/plugin/pkg/wire"
)

const name = "cookie"

var log = clog.NewWithPlugin(name)

// Cookie is the handler of one server block. It is safe for concurrent use.
type Cookie struct {
	Next plugin.Handler
	*block
}

// Name implements plugin.Handler.
func (c *Cookie) Name() string { return name }

// Cookies gives a function that decides about plain queries over UDP as ServeDNS does,
// by the time in seconds since 1970. What the decision says goes: its option is made
// in dst[:0], and is valid until that is used again. It allocates nothing if dst has
// room for cookie.OptionSize octets, counts as ServeDNS does for the server, and may
// be called by many goroutines, each with a dst of its own. Other plugins of the block find the
// method among dnsserver.Config.Handlers, by an interface that has it alone.
func (c *Cookie) Cookies(s *dnsserver.Server) func(dst []byte, q *wire.Question, from netip.Addr, now uint32) cookie.Decision {
	l := c.listenerOf(s)
	return func(dst []byte, q *wire.Question, from netip.Addr, now uint32) cookie.Decision {
		return c.decide(l, q.Cookie, from, false, now, dst)
	}
}

// decide says what becomes of a request, and counts it.
func (c *Cookie) decide(l *listener, option []byte, from netip.Addr, exempt bool, now uint32, dst []byte) cookie.Decision {
	d := c.secrets(now).Decide(c.require, option, from, exempt, now, dst)
	l.count(&d)
	return d
}

// ServeDNS implements plugin.Handler. What is behind it runs on the same stack, which is
// new for each request and dear to grow: it has little of its own there.
func (c *Cookie) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	ctx, out, verdict := c.look(ctx, w, r)
	if verdict == cookie.FormErr || verdict != cookie.Answer && !c.limited {
		return refuse(out, r, verdict)
	}
	rcode, err := plugin.NextOrFailure(name, c.Next, ctx, out, r)
	if out.option.Cookie == "" || plugin.ClientWrite(rcode) {
		return rcode, err
	}
	// The server would answer without a cookie.
	return finish(out, r, rcode, err)
}

// look decides about a request, and gives what those behind us get.
//
//go:noinline
func (c *Cookie) look(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (context.Context, *writer, cookie.Verdict) {
	l := c.listener(ctx)
	from, stream := l.client(w)
	var in [maxOption]byte
	var out [cookie.OptionSize]byte
	exempt := stream || r.Opcode != dns.OpcodeQuery || c.require == cookie.Always && c.signed(r)
	d := c.decide(l, take(r, &in), from, exempt, uint32(time.Now().Unix()), out[:])
	if len(d.Option) > 0 || d.Verdict != cookie.Answer {
		ctx = cookie.With(ctx, d.Request())
	}
	return ctx, newWriter(w, r, d.Option), d.Verdict
}

// refuse sends what a verdict asks for in place of an answer.
//
//go:noinline
func refuse(w dns.ResponseWriter, r *dns.Msg, v cookie.Verdict) (int, error) {
	m := new(dns.Msg).SetRcode(r, v.Rcode())
	m.Truncated = v == cookie.Truncate
	return sent(respond(w, r, m))
}

// finish sends the code that the chain has given, with its error.
//
//go:noinline
func finish(w dns.ResponseWriter, r *dns.Msg, rcode int, err error) (int, error) {
	code, failed := sent(respond(w, r, new(dns.Msg).SetRcode(r, rcode)))
	return code, errors.Join(err, failed)
}

// keyHolder is the plugin keys, as we know it.
type keyHolder interface {
	TSIGKey(name string) (algorithm string, secret []byte, ok bool)
}

// bind looks for the plugins keys and ratelimit in the server block.
func (b *block) bind(config *dnsserver.Config) {
	for _, h := range config.Handlers() {
		if k, ok := h.(keyHolder); ok {
			b.keys = k
		}
		b.limited = b.limited || h.Name() == "ratelimit"
	}
	if b.require == cookie.Limited && !b.limited {
		log.Warningf("%s: require limited: the plugin ratelimit is not in the server block, so no cookie is ever required", b.place)
	}
}

// signed tells whether the plugin keys, which is behind us, answers a request only if
// it finds it signed by a key of its own. A secondary that signs does not take an
// unsigned response for one to come again over TCP.
func (b *block) signed(r *dns.Msg) bool {
	t := r.IsTsig()
	if t == nil || b.keys == nil {
		return false
	}
	_, _, ok := b.keys.TSIGKey(t.Hdr.Name)
	return ok
}

// respond sends a message that has no OPT record yet.
func respond(w dns.ResponseWriter, r, m *dns.Msg) error {
	state := request.Request{Req: r, W: w}
	state.SizeAndDo(m)
	return w.WriteMsg(m)
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

// maxOption is how much of an option is looked at, in octets: more than there may be.
const maxOption = 41

// take gives the content of the first COOKIE option of a request in buf, or what is
// as malformed, and nil if there is none. The request loses all of them: they are for
// this server alone, and not for one that the request is forwarded to.
func take(r *dns.Msg, buf *[maxOption]byte) []byte {
	opt := r.IsEdns0()
	if opt == nil {
		return nil
	}
	i := slices.IndexFunc(opt.Option, isCookie)
	if i < 0 {
		return nil
	}
	text := opt.Option[i].String()
	opt.Option = appendOthers(nil, opt.Option)
	var digits [2 * maxOption]byte
	n := copy(digits[:], text) / 2
	if _, err := hex.Decode(buf[:n], digits[:2*n]); err != nil { // it was made of octets
		return buf[:]
	}
	return buf[:n]
}

func isCookie(o dns.EDNS0) bool { return o.Option() == dns.EDNS0COOKIE }

// appendOthers appends the options that are no COOKIE to a list.
func appendOthers(list, options []dns.EDNS0) []dns.EDNS0 {
	for _, o := range options {
		if !isCookie(o) {
			list = append(list, o)
		}
	}
	return list
}

// writer puts the option into what is written through it, or sees to it that there is
// none.
type writer struct {
	dns.ResponseWriter
	request *dns.Msg
	done    bool             // further messages are of a stream
	option  dns.EDNS0_COOKIE // empty for none
	opt     dns.OPT          // for a message that has none
	list    [2]dns.EDNS0     // memory for the options of a message
}

func newWriter(to dns.ResponseWriter, r *dns.Msg, option []byte) *writer {
	w := &writer{ResponseWriter: to, request: r}
	if len(option) > 0 {
		var digits [2 * cookie.OptionSize]byte
		w.option = dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: string(hex.AppendEncode(digits[:0], option))}
	}
	return w
}

// WriteMsg implements dns.ResponseWriter. The option goes into the first message, in
// the place of any that is there.
func (w *writer) WriteMsg(m *dns.Msg) error {
	if !w.done {
		w.done = true
		w.put(m)
	}
	return w.ResponseWriter.WriteMsg(m)
}

// Write implements dns.ResponseWriter. Packed messages have the option already, or go
// without.
func (w *writer) Write(b []byte) (int, error) {
	w.done = true
	return w.ResponseWriter.Write(b)
}

// put puts the option into the OPT record of a message, which is made if need be, in
// front of a TSIG record.
func (w *writer) put(m *dns.Msg) {
	opt := m.IsEdns0()
	if w.option.Cookie == "" {
		if opt != nil && slices.ContainsFunc(opt.Option, isCookie) {
			opt.Option = appendOthers(nil, opt.Option)
		}
		return
	}
	if opt != nil {
		opt.Option = append(appendOthers(w.list[:0], opt.Option), &w.option)
		return
	}
	theirs := w.request.IsEdns0()
	if theirs == nil {
		return
	}
	// The server sets size and flags, and would put the same options there.
	w.opt = dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: theirs.Hdr.Class}, Option: w.list[:0]}
	for _, o := range theirs.Option {
		if edns.SupportedOption(o.Option()) && !isCookie(o) {
			w.opt.Option = append(w.opt.Option, o)
		}
	}
	w.opt.Option = append(w.opt.Option, &w.option)
	if m.IsTsig() == nil {
		m.Extra = append(m.Extra, &w.opt)
		return
	}
	m.Extra = slices.Insert(m.Extra[:len(m.Extra):len(m.Extra)], len(m.Extra)-1, dns.RR(&w.opt))
}

// client gives the address that a request comes from, the zero value if that is
// unknown, and whether it is proven because the transport is a stream.
func (l *listener) client(w dns.ResponseWriter) (from netip.Addr, stream bool) {
	addr := w.RemoteAddr()
	if wrapped, ok := addr.(interface{ Unwrap() net.Addr }); ok { // the PROXY protocol's
		addr = wrapped.Unwrap()
	}
	switch addr := addr.(type) {
	case *net.UDPAddr:
		return addr.AddrPort().Addr(), !l.plain
	case *net.TCPAddr:
		return addr.AddrPort().Addr(), true
	default:
		return netip.Addr{}, !l.plain
	}
}
