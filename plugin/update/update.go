// Package update takes dynamic updates (RFC 2136) of the zones that authority
// serves in the same server block: who may change what is said in the Corefile in
// the words of BIND's update-policy. It is an adapter: ddns decides what a request
// changes, policy who may, zonedb makes it durable and visible.
package update

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/ddns"
	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/policy"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
	"github.com/trustdns/trustdns/plugin/pkg/zonedb"
)

const name = "update"

var log = clog.NewWithPlugin(name)

// Update is the handler of one server block. It is safe for concurrent use.
type Update struct {
	Next plugin.Handler
	*block
}

// block is what one directive says.
type block struct {
	place  string         // file:line
	zones  []dnsname.Name // that may be updated, and all that are in them
	policy *policy.Policy
	leases leases
	live   holder // set at the start
}

// holder is the plugin authority, as we know it.
type holder interface {
	LiveZone(origin dnsname.Name) *zonedb.Zone
}

// Name implements plugin.Handler.
func (u *Update) Name() string { return name }

// TakesUpdates tells whether a zone is updated in this server block. The plugin
// that keeps the zones finds the method in OnStartup among
// dnsserver.Config.Handlers, by an interface that has it alone.
func (b *block) TakesUpdates(origin dnsname.Name) bool {
	for _, z := range b.zones {
		if origin.IsBelow(z) {
			return true
		}
	}
	return false
}

// ServeDNS implements plugin.Handler.
func (u *Update) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if r.Opcode != dns.OpcodeUpdate {
		return plugin.NextOrFailure(name, u.Next, ctx, w, r)
	}
	start := time.Now()
	origin, err := dnsname.Parse(r.Question[0].Name, dnsname.Root)
	origin = origin.Fold()
	if err == nil && !u.TakesUpdates(origin) {
		return plugin.NextOrFailure(name, u.Next, ctx, w, r)
	}
	q := newRequest(ctx, w, r, origin)
	out := q.checkZone(u.live)
	if out.err == nil {
		out.err = u.admit(q)
	}
	if out.err == nil { // who is granted nothing costs no memory
		out = replays.once(q.signature, time.Now(), func() outcome { return u.answer(ctx, q) })
	}
	durationSeconds.Observe(time.Since(start).Seconds())
	return q.reply(w, out)
}

// answer does what a request asks for.
func (u *Update) answer(ctx context.Context, q *request) outcome {
	if err := u.authorize(q, nil); err != nil {
		return outcome{err: err}
	}
	lease, leased := u.leases.grant(q.request)
	if !leased && u.leases.requiredOf(q.client) && q.adds() {
		return outcome{err: deny("lease", "lease: an UPDATE that adds records must ask for a lease (RFC 9664)")}
	}
	if err := ddns.Prescan(q.origin, q.updates, q.zone.Spec().Signing != nil); err != nil {
		// What is asked first decides (RFC 2136 §3), and needs no writer.
		if s := q.zone.Snapshot(); s != nil {
			txn := s.Begin()
			if no := u.authorize(q, txn); no != nil {
				err = no
			} else if first := ddns.Prerequisites(txn, q.prerequisites); first != nil {
				err = first
			}
		}
		return outcome{err: err}
	}
	limits := ddns.Limits{RRset: q.zone.Spec().Options.MaxRRset}
	made, err := q.zone.Apply(ctx, q.who(), func(e *zonedb.Edit) error {
		if err := u.authorize(q, e.Txn); err != nil {
			return err
		}
		if err := ddns.Prerequisites(e.Txn, q.prerequisites); err != nil {
			return err
		}
		if err := ddns.Apply(e.Txn, q.updates, limits); err != nil {
			return err
		}
		for _, r := range q.updates {
			switch {
			case r.Class != ddns.ClassINET:
			case leased:
				e.Lease(r.Owner, r.Type, r.RDATA, lease.of(r.Type))
			default:
				e.Stay(r.Owner, r.Type, r.RDATA)
			}
		}
		return nil
	})
	if made.Batch > 0 {
		batchSize.Observe(float64(made.Batch))
	}
	if err != nil {
		return outcome{err: err}
	}
	q.countChanges()
	return outcome{serial: made.Serial, changed: made.Changed, lease: lease, leased: leased}
}

// admit refuses a request from somebody whom no line grants anything.
func (u *Update) admit(q *request) error {
	switch {
	case u.policy.Knows(q.client):
		return nil
	case q.client.Key == "":
		return deny("unsigned", "no signature, and nothing is granted without")
	default:
		return deny("key", fmt.Sprintf("nothing is granted to key %s", q.client.Key))
	}
}

// authorize asks the policy about each record of the update section (RFC 2136
// §3.3, RFC 3007 §3). Without a transaction it leaves out what depends on the
// present zone: to delete a name is to delete all that it has. With one it asks
// for nothing else. What no zone can have is left to the prescan.
func (u *Update) authorize(q *request, txn *zone.Txn) error {
	for i := range q.updates {
		r := &q.updates[i]
		wholeName := r.Class == ddns.ClassANY && r.Type == rrset.TypeANY
		switch {
		case !r.Owner.IsBelow(q.origin):
		case !wholeName && txn == nil && !rrset.IsMeta(r.Type):
			v := u.policy.Decide(q.client, q.origin, r.Owner, r.Type)
			if !v.Granted {
				return denied(r.Owner, r.Type, v)
			}
			r.Max = v.Max
		case wholeName && txn != nil:
			for _, typ := range ddns.Types(txn, *r) {
				if typ == rrset.TypeRRSIG || typ == rrset.TypeNSEC {
					continue // they say something of the others, and go with them, as BIND has it
				}
				if v := u.policy.Decide(q.client, q.origin, r.Owner, typ); !v.Granted {
					return denied(r.Owner, typ, v)
				}
			}
		}
	}
	return nil
}

// refusal is why a request is REFUSED by our own rules.
type refusal struct {
	reason string // in the metric
	text   string // for the client, too
	place  string // of the line in the Corefile that says so; "" if there is none
}

// Error is for the log.
func (r *refusal) Error() string {
	if r.place == "" {
		return r.text
	}
	return r.text + " (" + r.place + ")"
}

func deny(reason, text string) error { return &refusal{reason: reason, text: text} }

// denied names the line of the policy that refuses.
func denied(owner dnsname.Name, typ uint16, v policy.Verdict) error {
	what := owner.String() + " " + dns.Type(typ).String()
	if v.Line.Text == "" {
		return deny("policy", what+": no line grants it")
	}
	return &refusal{"policy", what + ": " + v.Line.Text, v.Line.Place}
}

// outcome is what becomes of a request.
type outcome struct {
	err     error
	serial  zone.Serial
	changed bool
	lease   granted
	leased  bool
	replay  bool // it had come before
}

// rcode gives the response code, and an extended error (RFC 8914) with its text,
// which is "" for none.
func (o *outcome) rcode() (rcode int, code uint16, text string) {
	var protocol *ddns.Error
	var own *refusal
	switch {
	case o.err == nil:
		return dns.RcodeSuccess, 0, ""
	case errors.As(o.err, &protocol):
		return int(protocol.Rcode), dns.ExtendedErrorCodeOther, protocol.Text
	case errors.As(o.err, &own):
		return dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, own.text
	case errors.Is(o.err, errNotAuth):
		return dns.RcodeNotAuth, dns.ExtendedErrorCodeNotAuthoritative, o.err.Error()
	case errors.Is(o.err, errTransport):
		return dns.RcodeNotImplemented, dns.ExtendedErrorCodeNotSupported, o.err.Error()
	case errors.Is(o.err, errMalformed):
		return dns.RcodeFormatError, dns.ExtendedErrorCodeOther, o.err.Error()
	case errors.Is(o.err, zonedb.ErrRecords), errors.Is(o.err, zone.ErrNoSOA):
		return dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, o.err.Error()
	case errors.Is(o.err, zonedb.ErrNotLoaded):
		return dns.RcodeServerFailure, dns.ExtendedErrorCodeNotReady, o.err.Error()
	default:
		return dns.RcodeServerFailure, dns.ExtendedErrorCodeOther, "the change could not be stored"
	}
}
