package kasp

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/trustdns/trustdns/plugin/pkg/signer"
)

// ErrPolicy is about a policy that keys cannot be kept by.
var ErrPolicy = errors.New("policy that keys cannot be kept by")

// Policy says which keys a zone has and for how long, and what their waits are made
// of. The zero value is one CSK of ECDSAP256SHA256 without end, and the durations given
// below. Policies can be compared with ==. Durations count in whole seconds, rounded up.
type Policy struct {
	// Algorithm is that of the keys; 0: ECDSAP256SHA256. Another one than that of the keys
	// there are starts an algorithm rollover (RFC 6781 §4.1.4).
	Algorithm signer.Algorithm
	// Split is a KSK and a ZSK, instead of one CSK. The KSK of the one is the CSK of the
	// other: a change exchanges the key that signs the data, and needs nothing of the
	// parent.
	Split bool
	// KSKLifetime is how long after its DS was asked for a KSK or CSK has a successor that
	// takes its place; 0: never by itself.
	KSKLifetime time.Duration
	// ZSKLifetime is the same of a ZSK, from when it began to sign.
	ZSKLifetime time.Duration
	// KeyTTL is the TTL of the DNSKEY, CDS and CDNSKEY RRsets, in seconds; 0: 3600.
	KeyTTL uint32
	// Validity and Refresh are those of signer.Policy, with what 0 stands for there. Their
	// difference is how long signatures of a key that signs no more may stay before all that
	// are left are replaced (Dsgn of RFC 7583).
	Validity, Refresh time.Duration
	// Propagation is how long after a version was committed a secondary may still serve the
	// one before (Dprp of RFC 7583); 0: 5 minutes.
	Propagation time.Duration
	// ParentPropagation is how long after the parent has decided on a DS RRset, as by
	// reading CDS records, one of its servers may still serve the one before (DprpP); 0: 1
	// hour.
	ParentPropagation time.Duration
	// ParentTTL is the TTL of the DS RRset at the parent, where DSSeen has not told it; 0:
	// 24 hours.
	ParentTTL time.Duration
	// PublishSafety and RetireSafety are added to the waits for what appears and for what
	// goes; 0: 1 hour. They must cover the time from a Step to when the version that follows
	// from it is served.
	PublishSafety, RetireSafety time.Duration
	// Insecure is for a zone that is to leave DNSSEC: the parent is asked to remove all DS
	// records (RFC 8078 §4), and when no cache has one the keys go, all at once. If it ends
	// before, the keys stay.
	Insecure bool
}

const (
	hour = 3600
	day  = 24 * hour
)

// longest is more than anybody waits, in seconds: sums of a few do not overflow.
const longest = 100 * 365 * day

// times is a policy with what 0 stands for, in seconds.
type times struct {
	alg                                       signer.Algorithm
	kskLife, zskLife                          int64
	dnskeyTTL                                 int64
	replace                                   int64 // Dsgn
	propagation, parentPropagation, parentTTL int64
	publishSafety, retireSafety               int64
}

// seconds rounds up; 0 stands for something.
func seconds(d time.Duration, zero int64) int64 {
	if d == 0 {
		return zero
	}
	return int64(math.Ceil(d.Seconds()))
}

func (p Policy) times() times {
	t := times{
		alg: p.Algorithm, kskLife: seconds(p.KSKLifetime, 0), zskLife: seconds(p.ZSKLifetime, 0), dnskeyTTL: int64(p.KeyTTL),
		replace:     seconds(p.Validity, 14*day) - seconds(p.Refresh, 5*day),
		propagation: seconds(p.Propagation, 300), parentPropagation: seconds(p.ParentPropagation, hour), parentTTL: seconds(p.ParentTTL, day),
		publishSafety: seconds(p.PublishSafety, hour), retireSafety: seconds(p.RetireSafety, hour),
	}
	if t.alg == 0 {
		t.alg = signer.ECDSAP256SHA256
	}
	if t.dnskeyTTL == 0 {
		t.dnskeyTTL = hour
	}
	return t
}

// Check tells what is wrong with a policy: a key must live longer than it takes to
// exchange it, of which the greatest TTL of the zone is a part. The error wraps ErrPolicy,
// and names the lifetime and what it must exceed. A Ring with a policy that it complains
// of does no harm; it starts a rollover when the one before has ended.
func (p Policy) Check(maxTTL time.Duration) error {
	switch p.times().alg {
	case signer.RSASHA256, signer.ECDSAP256SHA256, signer.ECDSAP384SHA384, signer.ED25519:
	default:
		return fmt.Errorf("%w: %s: %w", ErrPolicy, p.Algorithm, signer.ErrAlgorithm)
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"KSK lifetime", p.KSKLifetime},
		{"ZSK lifetime", p.ZSKLifetime},
		{"validity", p.Validity},
		{"refresh", p.Refresh},
		{"propagation", p.Propagation},
		{"parent propagation", p.ParentPropagation},
		{"parent TTL", p.ParentTTL},
		{"publish safety", p.PublishSafety},
		{"retire safety", p.RetireSafety},
	} {
		if d.d < 0 || d.d > longest*time.Second {
			return fmt.Errorf("%w: %s %s", ErrPolicy, d.name, d.d)
		}
	}
	t := p.times()
	if t.replace <= 0 {
		return fmt.Errorf("%w: refresh is not less than validity", ErrPolicy)
	}
	publish, remove := t.propagation+t.dnskeyTTL+t.publishSafety, t.propagation+t.dnskeyTTL+t.retireSafety
	data := t.replace + t.propagation + seconds(maxTTL, 0) + t.retireSafety
	parent := t.propagation + 2*t.parentPropagation + t.parentTTL + t.retireSafety
	var errs []error
	least := func(name string, life, need int64) {
		if life > 0 && life <= need {
			errs = append(errs, fmt.Errorf("%w: %s %s is not more than the %s of a rollover", ErrPolicy, name,
				time.Duration(life)*time.Second, time.Duration(need)*time.Second))
		}
	}
	if p.Split {
		least("KSK lifetime", t.kskLife, publish+parent+remove)
		least("ZSK lifetime", t.zskLife, publish+data+remove)
	} else {
		least("CSK lifetime", t.kskLife, publish+max(parent, data)+remove)
	}
	return errors.Join(errs...)
}
