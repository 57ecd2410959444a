package xfr

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

// packet is a datagram on its way.
type packet struct {
	from, to netip.AddrPort
	msg      []byte
}

// network carries datagrams between the sockets of a Notifier and servers, in a
// synctest bubble. Servers are functions.
type network struct {
	mu      sync.Mutex
	servers map[netip.AddrPort]func(p packet)
	sockets map[netip.AddrPort]*fakeSocket
	opened  int
	refuse  error // of the next sockets
	broken  error // of writing
}

func newNetwork() *network {
	return &network{servers: map[netip.AddrPort]func(packet){}, sockets: map[netip.AddrPort]*fakeSocket{}}
}

// fail makes opening sockets, and writing to them, fail.
func (n *network) fail(refuse, broken error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse, n.broken = refuse, broken
}

type fakeSocket struct {
	n    *network
	addr netip.AddrPort
	in   chan packet
	fail chan error
	done chan struct{}
	once sync.Once
}

func (n *network) listen(_ string, source netip.Addr) (packetConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		return nil, n.refuse
	}
	n.opened++
	s := &fakeSocket{
		n: n, addr: netip.AddrPortFrom(source, uint16(40_000+n.opened)),
		in: make(chan packet, 1000), fail: make(chan error), done: make(chan struct{}),
	}
	n.sockets[s.addr] = s
	return s, nil
}

func (s *fakeSocket) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case p := <-s.in:
		return copy(b, p.msg), p.from, nil
	case err := <-s.fail:
		return 0, netip.AddrPort{}, err
	case <-s.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (s *fakeSocket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	s.n.mu.Lock()
	server, err := s.n.servers[to], s.n.broken
	s.n.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if server != nil {
		server(packet{s.addr, to, slices.Clone(b)})
	}
	return len(b), nil
}

func (s *fakeSocket) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

// send delivers a datagram to a socket.
func (n *network) send(p packet) {
	n.mu.Lock()
	s := n.sockets[p.to]
	n.mu.Unlock()
	if s != nil {
		s.in <- p
	}
}

// message is a NOTIFY that a secondary got.
type message struct {
	*dns.Msg
	packet
	at time.Duration // since the start
}

func (m message) serial() uint32 { return m.Answer[0].(*dns.SOA).Serial }

// bench is a Notifier with a network around it and one zone, in a synctest bubble.
type bench struct {
	*Notifier
	*network
	t       *testing.T
	start   time.Time
	mu      sync.Mutex
	results []Result
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, network: newNetwork(), start: time.Now()}
	b.Notifier = newNotifier(func(r Result) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.results = append(b.results, r)
	}, usual, b.network.listen)
	return b
}

// after lets time pass, and gives the results since the last call.
func (b *bench) after(d time.Duration) (results []Result) {
	<-time.After(d) // by the clock of the bubble
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	results, b.results = b.results, nil
	return results
}

// server is a secondary of a bench: it keeps what it gets, and answers if it can.
type server struct {
	b      *bench
	addr   netip.AddrPort
	mu     sync.Mutex
	got    []message
	answer func(message) // may be nil
}

func (b *bench) server(addr string) *server {
	s := &server{b: b, addr: netip.MustParseAddrPort(addr)}
	b.network.servers[s.addr] = func(p packet) {
		m := message{new(dns.Msg), p, time.Since(b.start)}
		if err := m.Unpack(p.msg); err != nil {
			b.t.Error(err)
		}
		s.mu.Lock()
		s.got = append(s.got, m)
		answer := s.answer
		s.mu.Unlock()
		if answer != nil {
			answer(m)
		}
	}
	return s
}

func (s *server) behave(answer func(message)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// reply answers with whatever change makes of the right answer.
func (s *server) reply(change func(*dns.Msg)) func(message) {
	return func(m message) {
		r := new(dns.Msg).SetReply(m.Msg)
		r.Authoritative = true
		change(r)
		msg, err := r.Pack()
		if err != nil {
			s.b.t.Error(err)
		}
		s.b.send(packet{s.addr, m.from, msg})
	}
}

func (s *server) ok(m message) { s.reply(func(*dns.Msg) {})(m) }

// messages gives what came since the last call: when, and about which serial.
func (s *server) messages() (at []time.Duration, serials []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.got {
		at, serials = append(at, m.at), append(serials, m.serial())
	}
	s.got = nil
	return at, serials
}

func (s *server) target() Target { return Target{Address: s.addr} }

// soaOf gives the SOA record of a version of the zone example.
func soaOf(serial uint32) zone.Set {
	rdata := binary.BigEndian.AppendUint32([]byte("\x00\x00\x02ns"+origin+"\x01h"+origin), serial)
	rdata = append(rdata, make([]byte, 16)...)
	rdata[1] = byte(len(rdata) - 2)
	return zone.Set{Owner: origin, RRset: rrset.FromPacked(rrset.TypeSOA, 3600, 1, string(rdata))}
}

func inBench(t *testing.T, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.Close()
		f(t, b)
	})
}

// outcomes writes results down, those that change something with a "!".
func outcomes(results []Result) string {
	var words []string
	for _, r := range results {
		w := fmt.Sprintf("%s %d", r.Outcome, r.Serial)
		if r.Changed {
			w += "!"
		}
		words = append(words, w)
	}
	return strings.Join(words, ", ")
}

const key = "a zone" // by which it is known

// TestNotifyMessage: RFC 1996 §3.6, §3.7: what is sent.
func TestNotifyMessage(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		s := b.server("192.0.2.1:53")
		s.answer = s.ok
		b.Add(key, origin, []Target{s.target()})
		b.Notify("another zone", soaOf(1))
		b.Notify(key, soaOf(7))
		if got := outcomes(b.after(time.Second)); got != "answered 7" {
			t.Errorf("results %s", got)
		}
		m := s.got[0]
		if want := (dns.MsgHdr{Id: m.Id, Opcode: dns.OpcodeNotify, Authoritative: true}); m.MsgHdr != want || len(s.got) != 1 {
			t.Errorf("%d messages, head %+v", len(s.got), m.MsgHdr)
		}
		if len(m.Question) != 1 || m.Question[0] != (dns.Question{Name: "example.", Qtype: dns.TypeSOA, Qclass: dns.ClassINET}) || len(m.Answer) != 1 || len(m.Ns)+len(m.Extra) > 0 {
			t.Errorf("message %v", m.Msg)
		}
	})
}

// TestNotifyCoalesces is case N5: a burst leads to one message for each target,
// with the newest version; then one a second.
func TestNotifyCoalesces(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		servers := []*server{b.server("192.0.2.1:53"), b.server("[2001:db8::2]:5353")}
		var targets []Target
		for _, s := range servers {
			s.answer = s.ok
			targets = append(targets, s.target())
		}
		b.Add(key, origin, targets)
		for i := range uint32(250) { // one every 10 ms: from 0 to 2.49 s
			b.Notify(key, soaOf(i+1))
			b.after(10 * time.Millisecond)
		}
		b.after(time.Hour)
		for _, s := range servers {
			at, serials := s.messages()
			if want := []time.Duration{100 * time.Millisecond, 1100 * time.Millisecond, 2100 * time.Millisecond, 3100 * time.Millisecond}; !slices.Equal(at, want) {
				t.Errorf("messages at %v, want %v", at, want)
			}
			for i, want := range []uint32{10, 110, 210, 250} { // at the same instant either may be first
				if serials[i] != want && serials[i] != want+1 {
					t.Errorf("serials %v", serials)
				}
			}
		}
	})
}

// TestNotifyDeadThenAlive is case N6: a target that is down is told again, less and
// less often, until it answers.
func TestNotifyDeadThenAlive(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		s := b.server("192.0.2.1:53")
		b.Add(key, origin, []Target{s.target()})
		b.Notify(key, soaOf(1))
		results := b.after(20 * time.Minute)
		at, serials := s.messages()
		var want []time.Duration
		next := 100 * time.Millisecond
		for _, pause := range append(slices.Clone(usual.retries), usual.later, usual.later, usual.later, usual.later) {
			want = append(want, next)
			next += pause
		}
		if !slices.Equal(at, want) || slices.Max(serials) != 1 {
			t.Errorf("messages at %v, want %v", at, want)
		}
		if text := outcomes(results); text != "unanswered 1!"+strings.Repeat(", unanswered 1", len(at)-1) {
			t.Errorf("results %s", text)
		}
		s.behave(s.ok)
		if text := outcomes(b.after(5 * time.Minute)); text != "answered 1!" {
			t.Errorf("results %s", text)
		}
		if at, _ := s.messages(); len(at) != 1 || len(b.after(time.Hour)) > 0 {
			t.Errorf("messages at %v", at)
		}
		b.Notify(key, soaOf(2))
		if text := outcomes(b.after(time.Second)); text != "answered 2" {
			t.Errorf("results %s", text)
		}
	})
}

// TestNotifySuperseded: the newest version takes the place of one that was not
// answered, at once and without the pauses of the old.
func TestNotifySuperseded(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		s := b.server("192.0.2.1:53")
		b.Add(key, origin, []Target{s.target()})
		b.Notify(key, soaOf(1))
		b.Notify(key, soaOf(1))
		b.after(500 * time.Millisecond)
		b.Notify(key, soaOf(1)) // is on its way
		b.Notify(key, soaOf(2))
		if text := outcomes(b.after(time.Second)); text != "superseded 1" {
			t.Errorf("results %s", text)
		}
		first := s.got[0]
		s.ok(first) // too late, and about another version
		if text := outcomes(b.after(40 * time.Second)); !strings.HasPrefix(text, "unanswered 2!, unanswered 2") {
			t.Errorf("results %s", text)
		}
		at, serials := s.messages()
		if at[0] != 100*time.Millisecond || at[1] != 1100*time.Millisecond || serials[0] != 1 || serials[1] != 2 {
			t.Errorf("messages at %v about %v", at, serials)
		}
		s.behave(s.ok)
		b.Notify(key, soaOf(3)) // does not wait for the next try
		if text := outcomes(b.after(time.Second)); text != "answered 3!" {
			t.Errorf("results %s", text)
		}
	})
}

// TestNotifyRefused: any response code is an answer.
func TestNotifyRefused(t *testing.T) {
	for _, rcode := range []int{dns.RcodeRefused, dns.RcodeNotAuth, dns.RcodeNotImplemented, dns.RcodeFormatError, dns.RcodeServerFailure} {
		for _, question := range []bool{true, false} {
			inBench(t, func(t *testing.T, b *bench) {
				s := b.server("192.0.2.1:53")
				s.answer = s.reply(func(r *dns.Msg) {
					r.Rcode = rcode
					if !question {
						r.Question = nil
					}
				})
				b.Add(key, origin, []Target{s.target()})
				b.Notify(key, soaOf(1))
				results := b.after(time.Second)
				want := question || rcode == dns.RcodeNotImplemented || rcode == dns.RcodeFormatError
				if (outcomes(results) == "refused 1!") != want || want && results[0].Rcode != rcode {
					t.Errorf("%s, with question %v: %+v", dns.RcodeToString[rcode], question, results)
				}
				if got := len(b.after(time.Minute)) == 0; got != want {
					t.Errorf("%s, with question %v: quiet afterwards: %v", dns.RcodeToString[rcode], question, got)
				}
			})
		}
	}
}

// TestNotifyOthersAnswers: what is no answer to the message changes nothing (RFC
// 1996 §4.7); the right one does, even when it is late.
func TestNotifyOthersAnswers(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		s, stranger := b.server("192.0.2.1:53"), b.server("192.0.2.2:53")
		otherPort := &server{b: b, addr: netip.MustParseAddrPort("192.0.2.1:54")}
		raw := func(msg string) func(message) {
			return func(m message) { b.send(packet{s.addr, m.from, []byte(msg)}) }
		}
		lies := []func(message){
			stranger.ok, otherPort.ok, raw(""), raw("x"), raw(strings.Repeat("\xff", 100)),
			func(m message) { raw(string(m.msg[:2]) + "garbage that has the right ID")(m) },
			func(m message) { raw(string(m.msg))(m) }, // the message itself
			s.reply(func(r *dns.Msg) { r.Id++ }),
			s.reply(func(r *dns.Msg) { r.Response = false }),
			s.reply(func(r *dns.Msg) { r.Opcode = dns.OpcodeQuery }),
			s.reply(func(r *dns.Msg) { r.Question[0].Name = "example.net." }),
			s.reply(func(r *dns.Msg) { r.Question[0].Qtype = dns.TypeA }),
			s.reply(func(r *dns.Msg) { r.Question[0].Qclass = dns.ClassCHAOS }),
			s.reply(func(r *dns.Msg) { r.Question = nil }),
			s.reply(func(r *dns.Msg) { r.Question = append(r.Question, r.Question[0]) }),
		}
		s.answer = func(m message) {
			for _, lie := range lies {
				lie(m)
			}
		}
		b.Add(key, origin, []Target{s.target()})
		b.Notify(key, soaOf(1))
		results := b.after(2200 * time.Millisecond)
		if outcomes(results) != "unanswered 1!" || results[0].Err == nil {
			t.Errorf("results %+v", results)
		}
		s.behave(nil)
		b.after(4 * time.Second) // the third try is at 6.1 s; it is given up at 8.1 s and sent again at 14.1 s
		if text := outcomes(b.after(4 * time.Second)); text != "unanswered 1" {
			t.Errorf("results %s", text)
		}
		s.ok(s.got[len(s.got)-1])
		if text := outcomes(b.after(time.Hour)); text != "answered 1!" || len(s.got) != 3 {
			t.Errorf("results %s, %d messages", text, len(s.got))
		}
		if s.got[0].Id == s.got[1].Id && s.got[1].Id == s.got[2].Id {
			t.Error("all messages have the same ID")
		}
	})
}

// TestNotifySigned: RFC 8945 §5.1, §5.3, §5.4.
func TestNotifySigned(t *testing.T) {
	right := Key{Name: "Key.example.", Algorithm: dns.HmacSHA256, Secret: "0123456789abcdef"}
	sign := func(s *server, r *dns.Msg, m message, k Key, mac string) {
		r.SetTsig(k.Name, k.Algorithm, 300, time.Now().Unix())
		msg, _, err := dns.TsigGenerate(r, k.base64(), mac, false)
		if err != nil {
			t.Error(err)
		}
		s.b.send(packet{s.addr, m.from, msg})
	}
	for _, tc := range []struct {
		name   string
		answer func(s *server, r *dns.Msg, m message)
		want   string
		err    error
	}{
		{"signed", func(s *server, r *dns.Msg, m message) { sign(s, r, m, right, m.IsTsig().MAC) }, "answered 1", nil},
		{"signed, with the name in another letter case", func(s *server, r *dns.Msg, m message) {
			k := right
			k.Name = "kEY.example."
			sign(s, r, m, k, m.IsTsig().MAC)
		}, "answered 1", nil},
		{"signed refusal", func(s *server, r *dns.Msg, m message) {
			r.Rcode = dns.RcodeRefused
			sign(s, r, m, right, m.IsTsig().MAC)
		}, "refused 1!", nil},
		{"not signed", func(s *server, _ *dns.Msg, m message) { s.ok(m) }, "unanswered 1!", errUnsigned},
		{"signed for another message", func(s *server, r *dns.Msg, m message) { sign(s, r, m, right, strings.Repeat("00", 32)) }, "unanswered 1!", errSignature},
		{"another secret", func(s *server, r *dns.Msg, m message) {
			k := right
			k.Secret = "another"
			sign(s, r, m, k, m.IsTsig().MAC)
		}, "unanswered 1!", errSignature},
		{"another key", func(s *server, r *dns.Msg, m message) {
			k := right
			k.Name = "other."
			sign(s, r, m, k, m.IsTsig().MAC)
		}, "unanswered 1!", errSignature},
		{"another algorithm", func(s *server, r *dns.Msg, m message) {
			k := right
			k.Algorithm = dns.HmacSHA512
			sign(s, r, m, k, m.IsTsig().MAC)
		}, "unanswered 1!", errSignature},
		{"BADKEY", func(s *server, _ *dns.Msg, m message) {
			s.reply(func(r *dns.Msg) {
				r.Rcode = dns.RcodeNotAuth
				r.Extra = []dns.RR{&dns.TSIG{
					Hdr:       dns.RR_Header{Name: right.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
					Algorithm: right.Algorithm, TimeSigned: uint64(time.Now().Unix()), Fudge: 300, OrigId: r.Id, Error: dns.RcodeBadKey,
				}}
			})(m)
		}, "unanswered 1!", errSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBench(t, func(t *testing.T, b *bench) {
				s := b.server("192.0.2.1:53")
				s.answer = func(m message) {
					if err := dns.TsigVerify(slices.Clone(m.msg), base64.StdEncoding.EncodeToString([]byte(right.Secret)), "", false); err != nil {
						t.Errorf("the message: %v", err)
					}
					r := new(dns.Msg).SetReply(m.Msg)
					tc.answer(s, r, m)
				}
				target := s.target()
				target.Key = right
				b.Add(key, origin, []Target{target})
				b.Notify(key, soaOf(1))
				results := b.after(2100 * time.Millisecond)
				if outcomes(results) != tc.want || !errors.Is(results[0].Err, tc.err) || results[0].Err != nil && tc.err == nil {
					t.Errorf("results %+v, want %s, %v", results, tc.want, tc.err)
				}
				if tc.name == "BADKEY" && !strings.Contains(results[0].Err.Error(), "BADKEY") {
					t.Errorf("error %v does not say why", results[0].Err)
				}
			})
		})
	}
	inBench(t, func(t *testing.T, b *bench) { // a key that cannot sign
		s := b.server("192.0.2.1:53")
		target := s.target()
		target.Key = Key{Name: "key.", Algorithm: "nonsense."}
		b.Add(key, origin, []Target{target})
		b.Notify(key, soaOf(1))
		if results := b.after(time.Second); outcomes(results) != "unsent 1!" || results[0].Err == nil || len(s.got) > 0 {
			t.Errorf("results %+v", results)
		}
	})
}

// TestNotifyTargets: those that are removed are told no more; those that are added
// again before they are removed, as in a reload, lose nothing.
func TestNotifyTargets(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		s := b.server("192.0.2.1:53")
		targets := []Target{s.target()}
		b.Add(key, origin, targets)
		b.Notify(key, soaOf(1))
		b.after(time.Second)
		b.Add(key, origin, targets)
		b.Remove(key, targets)
		if b.after(10 * time.Second); len(s.got) != 3 {
			t.Errorf("%d messages over a reload", len(s.got))
		}
		b.Remove(key, append(targets, Target{}))
		b.Remove(key, targets)
		b.Remove("another", targets)
		b.Notify(key, soaOf(2))
		s.ok(s.got[2])
		if results := b.after(time.Hour); len(s.got) != 3 || len(results) > 0 {
			t.Errorf("%d messages, results %s after the end", len(s.got), outcomes(results))
		}
		b.Notifier.mu.Lock()
		if b.running || len(b.Notifier.zones)+len(b.Notifier.sockets)+len(b.waiting)+b.inFlight > 0 {
			t.Errorf("left: running %v, %d zones, %d sockets, %d waiting, %d in flight", b.running, len(b.Notifier.zones), len(b.Notifier.sockets), len(b.waiting), b.inFlight)
		}
		b.Notifier.mu.Unlock()
		s.behave(s.ok)
		b.Add(key, origin, targets)
		b.Notify(key, soaOf(3))
		if text := outcomes(b.after(time.Second)); text != "answered 3" {
			t.Errorf("results %s when it is there again", text)
		}
	})
}

// TestNotifyMany: ten thousand zones that start at once are told one after the
// other; a change in between does not wait for them; dead targets do not keep
// others from being told.
func TestNotifyMany(t *testing.T) {
	const zones = 10_000
	inBench(t, func(t *testing.T, b *bench) {
		alive, dead := b.server("192.0.2.1:53"), b.server("192.0.2.2:53")
		alive.answer = alive.ok
		for i := range zones {
			b.Add(i, dnsname.MustParse(fmt.Sprintf("z%d.example.", i)), []Target{alive.target()})
			b.Notify(i, soaOf(1))
		}
		b.Notify("nobody", soaOf(1))
		b.after(10 * time.Second)
		at, _ := alive.messages()
		perSecond := map[int]int{}
		for _, d := range at {
			perSecond[int(d/time.Second)]++
		}
		for second, n := range perSecond {
			if n > usual.rate+usual.burst {
				t.Errorf("%d messages in second %d", n, second)
			}
		}
		if n := len(at); n < 9*usual.rate || n > 10*usual.rate+usual.burst {
			t.Errorf("%d messages in 10 s", n)
		}
		told := 0 // a zone that was told of already
		for ; ; told++ {
			if a := b.Notifier.zones[told].notices[alive.target()]; a.sent {
				break
			}
		}
		b.Notify(told, soaOf(2))
		b.after(200 * time.Millisecond)
		if _, serials := alive.messages(); !slices.Contains(serials, 2) {
			t.Error("a change waits for those who start")
		}
		b.after(time.Minute)
		if left := len(b.Notifier.waiting) + b.inFlight; left > 0 {
			t.Errorf("%d are left", left)
		}
		for i := range zones {
			b.Add(i, dnsname.MustParse(fmt.Sprintf("z%d.example.", i)), []Target{dead.target()})
			b.Notify(i, soaOf(3))
		}
		b.after(5 * time.Minute)
		_, serials := alive.messages()
		n := 0
		for _, serial := range serials {
			if serial == 3 {
				n++
			}
		}
		if n != zones {
			t.Errorf("%d of %d zones were told of beside a dead target", n, zones)
		}
		at, _ = dead.messages()
		for i := range at { // those that wait for an answer
			first := slices.IndexFunc(at, func(d time.Duration) bool { return d > at[i]-usual.wait })
			if i-first >= usual.inFlight {
				t.Fatalf("%d messages in flight at %v", i-first+1, at[i])
			}
		}
	})
}

// TestNotifySockets: failures of sockets are told, and tried again with others.
func TestNotifySockets(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		s := b.server("192.0.2.1:53")
		source := netip.MustParseAddr("198.51.100.1")
		target := s.target()
		target.Source = source
		noAddress, unreachable := errors.New("cannot assign requested address"), errors.New("network is unreachable")
		b.fail(noAddress, nil)
		b.Add(key, origin, []Target{target})
		b.Notify(key, soaOf(1))
		if results := b.after(time.Second); outcomes(results) != "unsent 1!" || !errors.Is(results[0].Err, noAddress) {
			t.Errorf("results %+v", results)
		}
		b.fail(nil, unreachable)
		if results := b.after(2 * time.Second); outcomes(results) != "unsent 1" || !errors.Is(results[0].Err, unreachable) {
			t.Errorf("results %+v", results)
		}
		b.fail(nil, nil)
		b.after(3500 * time.Millisecond) // sent at 6.1 s
		if len(s.got) != 1 || s.got[0].from.Addr() != source {
			t.Fatalf("%d messages", len(s.got))
		}
		b.network.sockets[s.got[0].from].fail <- errors.New("input/output error")
		s.behave(s.ok)
		if text := outcomes(b.after(10 * time.Second)); text != "unanswered 1, answered 1!" || len(s.got) != 2 || s.got[1].from == s.got[0].from {
			t.Errorf("results %s", text)
		}
	})
}

// TestNotifyClose: with Close everything ends, whatever is on its way.
func TestNotifyClose(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		s := b.server("192.0.2.1:53")
		b.Add(key, origin, []Target{s.target()})
		b.Notify(key, soaOf(1))
		b.after(time.Second)
		b.Close()
		b.Close()
		b.Add(key, origin, []Target{{}})
		b.Notify(key, soaOf(2))
		s.ok(s.got[0])
		if results := b.after(time.Hour); len(results) > 0 || len(s.got) != 1 {
			t.Errorf("results %s, %d messages", outcomes(results), len(s.got))
		}
	})
}

// TestNotifyLoopback sends through sockets of the system: from the right address,
// over both families.
func TestNotifyLoopback(t *testing.T) {
	results := make(chan Result, 100)
	n := newNotifier(func(r Result) { results <- r }, timing{
		wait: 10 * time.Second, retries: []time.Duration{10 * time.Second}, later: time.Minute, rate: 1000, burst: 10, inFlight: 10,
	}, listenUDP)
	defer n.Close()
	for _, tc := range []struct{ server, source string }{
		{"127.0.0.1", ""}, {"127.0.0.1", "127.0.0.7"}, {"::1", ""}, {"::1", "::1"}, {"::ffff:127.0.0.1", "::ffff:127.0.0.8"},
	} {
		t.Run(tc.server+" from "+tc.source, func(t *testing.T) {
			conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(tc.server), 0)))
			if err != nil {
				if strings.Contains(tc.server, ".") {
					t.Fatal(err)
				}
				t.Skip("no IPv6: ", err)
			}
			defer conn.Close()
			stranger, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(tc.server), 0)))
			if err != nil {
				t.Fatal(err)
			}
			defer stranger.Close()
			target := Target{Address: netip.AddrPortFrom(netip.MustParseAddr(tc.server), conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())}
			if tc.source != "" {
				target.Source = netip.MustParseAddr(tc.source)
			}
			n.Add(t.Name(), origin, []Target{target})
			defer n.Remove(t.Name(), []Target{target})
			n.Notify(t.Name(), soaOf(5))
			if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 1000)
			size, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				t.Fatal(err)
			}
			if want := target.Source; want.IsValid() && from.Addr().Unmap() != want.Unmap() {
				t.Errorf("from %s, want %s", from, want)
			}
			m := new(dns.Msg)
			if err := m.Unpack(buf[:size]); err != nil {
				t.Fatal(err)
			}
			reply := func(rcode int) []byte {
				msg, err := new(dns.Msg).SetRcode(m, rcode).Pack()
				if err != nil {
					t.Fatal(err)
				}
				return msg
			}
			// A spoofed refusal comes before the answer.
			if _, err := stranger.WriteToUDPAddrPort(reply(dns.RcodeRefused), from); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.WriteToUDPAddrPort(reply(dns.RcodeSuccess), from); err != nil {
				t.Fatal(err)
			}
			select {
			case r := <-results:
				if r.Outcome != Answered || r.Target != target || r.Serial != 5 || r.Origin != origin {
					t.Errorf("result %+v", r)
				}
			case <-time.After(10 * time.Second):
				t.Error("no result")
			}
		})
	}
}

func TestOutcomeString(t *testing.T) {
	for o, want := range map[Outcome]string{Answered: "answered", Refused: "refused", Unanswered: "unanswered", Superseded: "superseded", Unsent: "unsent", 9: "unknown"} {
		if o.String() != want {
			t.Errorf("%d is %s", o, o)
		}
	}
}

// FuzzReply: no octets from outside do harm, and an answer is what its own message
// was asked for.
func FuzzReply(f *testing.F) {
	a := asked{id: 0x1234, origin: origin}
	reply := func(change func(*dns.Msg)) []byte {
		m := new(dns.Msg)
		m.SetNotify("example.")
		m.Id = a.id
		r := new(dns.Msg).SetReply(m)
		change(r)
		msg, err := r.Pack()
		if err != nil {
			f.Fatal(err)
		}
		return msg
	}
	for _, change := range []func(*dns.Msg){
		func(*dns.Msg) {},
		func(r *dns.Msg) { r.Rcode = dns.RcodeRefused },
		func(r *dns.Msg) { r.Rcode, r.Question = dns.RcodeFormatError, nil },
		func(r *dns.Msg) { r.SetEdns0(1232, true) },
		func(r *dns.Msg) { r.SetTsig("key.", dns.HmacSHA256, 300, 1) },
	} {
		f.Add(reply(change), true)
		f.Add(reply(change), false)
	}
	f.Fuzz(func(t *testing.T, msg []byte, signed bool) {
		a := a
		if signed {
			a.key, a.mac = Key{"key.", dns.HmacSHA256, "secret"}, strings.Repeat("ab", 32)
		}
		before := slices.Clone(msg)
		rcode, err := parseReply(msg, &a)
		if err != nil {
			return
		}
		if signed {
			t.Fatalf("%x passes for signed", before)
		}
		m := new(dns.Msg)
		if err := m.Unpack(before); err != nil || m.Rcode != rcode || m.Id != a.id || !m.Response || m.Opcode != dns.OpcodeNotify {
			t.Fatalf("%x passes for an answer, %v", before, err)
		}
	})
}
