package keys

import (
	"crypto/hmac"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"sync"
	"time"

	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

const (
	headerSize = 12
	fudge      = 300 // seconds (RFC 8945 §10)
)

// now gives the time as signatures have it: seconds since 1970.
func now() uint64 { return uint64(time.Now().Unix()) }

// signer signs the messages of one response: the first over the MAC of the
// request, each further one over the MAC of the message before it.
type signer struct {
	key  *key
	mac  []byte // that the next one covers
	more bool   // a message was signed
	hash hash.Hash
	size [2]byte // of mac, for the hash
}

// problem is what a TSIG record says of the request's.
type problem struct {
	code uint16
	data []byte
}

var errTooLong = errors.New("message is too long to be signed")

// append appends the packed message and its TSIG record to dst. The message is
// not changed. Its ID is that of the request.
func (s *signer) append(dst, msg []byte, at uint64, p problem) ([]byte, error) {
	records := binary.BigEndian.Uint16(msg[10:])
	if len(msg)+s.key.room+len(p.data) > dns.MaxMsgSize || records == 1<<16-1 {
		return nil, errTooLong
	}
	if s.hash == nil {
		s.hash = hmac.New(s.key.algorithm.hash, s.key.secret)
	}
	s.hash.Reset()
	owner, algorithm := s.key.owner, s.key.algorithm.wire

	start := len(dst)
	dst = append(dst, msg...)
	// The digest needs the variables in another order than the record has them:
	// they are put behind the message, and then the record in their place.
	variables := len(dst)
	if !s.more {
		dst = append(dst, owner...)
		dst = binary.BigEndian.AppendUint16(dst, dns.ClassANY)
		dst = binary.BigEndian.AppendUint32(dst, 0) // TTL
		dst = append(dst, algorithm...)
	}
	dst = appendTime(dst, at)
	dst = binary.BigEndian.AppendUint16(dst, fudge)
	if !s.more {
		dst = binary.BigEndian.AppendUint16(dst, p.code)
		dst = appendBytes(dst, p.data)
	}
	binary.BigEndian.PutUint16(s.size[:], uint16(len(s.mac)))
	for _, part := range [...][]byte{s.size[:], s.mac, dst[start:]} { // RFC 8945 §4.3, §5.3.1
		s.hash.Write(part) // a hash returns no error
	}
	s.mac = s.hash.Sum(s.mac[:0])
	s.more = true

	dst = append(dst[:variables], owner...)
	dst = binary.BigEndian.AppendUint16(dst, dns.TypeTSIG)
	dst = binary.BigEndian.AppendUint16(dst, dns.ClassANY)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(algorithm)+16+len(s.mac)+len(p.data)))
	dst = append(dst, algorithm...)
	dst = appendTime(dst, at)
	dst = binary.BigEndian.AppendUint16(dst, fudge)
	dst = appendBytes(dst, s.mac)
	dst = append(dst, msg[:2]...) // the original ID
	dst = binary.BigEndian.AppendUint16(dst, p.code)
	dst = appendBytes(dst, p.data)
	binary.BigEndian.PutUint16(dst[start+10:], records+1)
	return dst, nil
}

// appendTime appends a time in 48 bits.
func appendTime(dst []byte, at uint64) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(at>>32))
	return binary.BigEndian.AppendUint32(dst, uint32(at))
}

// appendBytes appends octets with their number in front.
func appendBytes(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(b))), b...)
}

// signing is how messages are signed on a transport.
type signing int

const (
	// byLibrary: UDP, TCP and TLS. A message with an unfinished TSIG record is
	// signed by the library when it packs it.
	byLibrary signing = iota
	// packed: QUIC. The library does not sign; packed messages are sent as they are.
	packed
	// repacked: HTTPS and gRPC. Packed messages are unpacked and packed again,
	// without compression, and that form is what must be signed.
	repacked
)

// writer signs what is written through it.
type writer struct {
	dns.ResponseWriter
	request *dns.Msg
	spelled string // the name of the key in the letter case of the request
	signing signing
	cookie  string // content of the option for the response; "" for none
	signer  signer
	library bool // the library has signed a message, and so knows the MAC that we do not
	raw     bool // we have
}

// errMixed is about a stream that is begun by WriteMsg and continued by Write.
var errMixed = errors.New("Write after WriteMsg: the signature of the message before is not known")

// buffers are for packed messages with their signature.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// WriteMsg implements dns.ResponseWriter. The message is cut to what the client
// takes, the signature included, and signed. A TSIG record that the plugin tsig
// has put there is replaced.
func (w *writer) WriteMsg(m *dns.Msg) error {
	return w.writeMsg(m, now(), problem{})
}

func (w *writer) writeMsg(m *dns.Msg, at uint64, p problem) error {
	state := request.Request{Req: w.request, W: w.ResponseWriter}
	if m.IsTsig() != nil {
		m.Extra = m.Extra[:len(m.Extra)-1]
	}
	state.SizeAndDo(m) // else the server would put the OPT record behind the signature
	if !w.library && !w.raw {
		putCookie(m, w.cookie)
	}
	w.fit(m, state.Size()-w.signer.key.room-len(p.data))
	if w.signing == byLibrary && !w.raw {
		m.Extra = append(m.Extra[:len(m.Extra):len(m.Extra)], record(w.spelled, w.signer.key.algorithm.name, m.Id, at, p))
		if err := w.ResponseWriter.WriteMsg(m); err != nil {
			return err
		}
		w.library = true
		w.TsigTimersOnly(true)
		return nil
	}
	b, err := m.Pack()
	if err != nil {
		return err
	}
	if _, err := w.send(b, at, p); err != nil {
		return err
	}
	if w.signing == packed {
		return w.Close() // as WriteMsg of the server does there
	}
	return nil
}

// putCookie puts the option of the plugin cookie into the OPT record of a message that
// has one, because that plugin comes to it when it is measured, and may be signed.
func putCookie(m *dns.Msg, content string) {
	opt := m.IsEdns0()
	if content == "" || opt == nil {
		return
	}
	options := make([]dns.EDNS0, 0, len(opt.Option)+1)
	for _, o := range opt.Option {
		if o.Option() != dns.EDNS0COOKIE {
			options = append(options, o)
		}
	}
	opt.Option = append(options, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex.EncodeToString([]byte(content))})
}

// fit makes a response that does not have room one without data: over UDP it
// tells the client to use TCP (RFC 8945 §5.3), else it is an error.
func (w *writer) fit(m *dns.Msg, room int) {
	if w.signing == repacked {
		m.Compress = false
	}
	if m.Len() <= room {
		return
	}
	if !m.Compress && w.signing != repacked {
		m.Compress = true
		if m.Len() <= room {
			return
		}
	}
	opt := m.IsEdns0()
	m.Answer, m.Ns, m.Extra = nil, nil, nil
	if opt != nil {
		m.Extra = []dns.RR{opt}
	}
	if room < dns.MaxMsgSize-w.signer.key.room {
		m.Rcode, m.Truncated = dns.RcodeSuccess, true
	} else {
		m.Rcode = dns.RcodeServerFailure
	}
}

// Write implements dns.ResponseWriter for a packed message, which is not
// changed. It must leave identity.Identity.SignatureSize octets of 65,535 free.
func (w *writer) Write(b []byte) (int, error) {
	switch {
	case len(b) < headerSize:
		return 0, errors.New("Write of less than a message")
	case w.library:
		return 0, errMixed
	case w.signing == repacked:
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			return 0, err
		}
		return len(b), w.WriteMsg(m)
	}
	return w.send(b, now(), problem{})
}

// send signs a packed message and sends it.
func (w *writer) send(b []byte, at uint64, p problem) (int, error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	out, err := w.signer.append((*buffer)[:0], b, at, p)
	if err != nil {
		return 0, err
	}
	*buffer = out
	w.raw = true
	if _, err := w.ResponseWriter.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// record gives a TSIG record without a signature.
func record(name, algorithm string, id uint16, at uint64, p problem) *dns.TSIG {
	return &dns.TSIG{
		Hdr:       dns.RR_Header{Name: name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: algorithm, TimeSigned: at, Fudge: fudge, OrigId: id,
		Error: p.code, OtherLen: uint16(len(p.data)), OtherData: hex.EncodeToString(p.data),
	}
}
