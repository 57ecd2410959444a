package onlinesign_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/dnsname"
	"github.com/trustdns/trustdns/plugin/pkg/onlinesign"
	"github.com/trustdns/trustdns/plugin/pkg/rrset"
	"github.com/trustdns/trustdns/plugin/pkg/signer"
	"github.com/trustdns/trustdns/plugin/pkg/zone"
)

var start = time.Unix(1_800_000_000, 0)

// testKeys gives a CSK, a KSK and a ZSK that are made once for a zone and algorithm.
var testKeys = func() func(testing.TB, dnsname.Name, signer.Algorithm) []*signer.Key {
	type id struct {
		zone dnsname.Name
		alg  signer.Algorithm
	}
	var mu sync.Mutex
	made := map[id][]*signer.Key{}
	return func(t testing.TB, zone dnsname.Name, alg signer.Algorithm) []*signer.Key {
		mu.Lock()
		defer mu.Unlock()
		keys, ok := made[id{zone.Fold(), alg}]
		if !ok {
			keys = make([]*signer.Key, 3)
			for i, role := range []signer.Role{signer.CSK, signer.KSK, signer.ZSK} {
				var err error
				if keys[i], err = signer.Generate(zone, alg, role); err != nil {
					t.Fatal(err)
				}
			}
			made[id{zone.Fold(), alg}] = keys
		}
		return keys
	}
}()

func inUse(keys ...*signer.Key) (uses []signer.Use) {
	for _, k := range keys {
		uses = append(uses, signer.Use{Key: k, Publish: true, Sign: true, Submit: k.Role() != signer.ZSK})
	}
	return uses
}

// online is a zone with what signs its answers, and what is known of both beside the
// code under test.
type online struct {
	*onlinesign.Signer
	origin   dnsname.Name
	table    *onlinesign.Table
	uses     []signer.Use
	validity time.Duration
	snap     *zone.Snapshot
	sets     map[dnsname.Name]map[uint16]rrset.RRset // by owner in lower case
	known    map[string]bool                         // signatures that were found good
	dnskeys  map[string]*dns.DNSKEY
}

// newOnline publishes keys in a zone of records in presentation form.
func newOnline(t testing.TB, origin dnsname.Name, table *onlinesign.Table, uses []signer.Use, records ...string) *online {
	t.Helper()
	b := zone.NewBuilder(origin)
	for _, text := range records {
		rr, err := dns.NewRR("$ORIGIN " + origin.String() + "\n" + text)
		if err != nil || rr == nil {
			t.Fatalf("%q: %v", text, err)
		}
		owner, rdata, err := rrset.FromRR(rr)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Add(owner, rr.Header().Rrtype, rr.Header().Ttl, []byte(rdata)); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	}
	snap, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	o := &online{origin: origin, table: table, uses: uses, validity: 10 * 24 * time.Hour}
	s, err := signer.New(origin, signer.Policy{}, uses)
	if err != nil {
		t.Fatal(err)
	}
	txn := snap.Begin()
	if err := s.Publish(txn, txn.Savepoint()); err != nil {
		t.Fatal(err)
	}
	if o.snap, _, err = txn.Commit(); err != nil {
		t.Fatal(err)
	}
	o.Signer, err = onlinesign.New(origin, signer.Policy{Validity: o.validity}, uses, table)
	if err != nil {
		t.Fatal(err)
	}
	o.sets, o.known, o.dnskeys = map[dnsname.Name]map[uint16]rrset.RRset{}, map[string]bool{}, map[string]*dns.DNSKEY{}
	for set := range o.snap.All() {
		n := set.Owner.Fold()
		if o.sets[n] == nil {
			o.sets[n] = map[uint16]rrset.RRset{}
		}
		o.sets[n][set.Type] = set.RRset
	}
	for _, u := range uses {
		o.dnskeys[u.Key.DNSKEY()] = rrset.AppendRRs(nil, u.Zone().String(), one(rrset.TypeDNSKEY, 0, u.DNSKEY()))[0].(*dns.DNSKEY)
	}
	return o
}

func one(typ uint16, ttl uint32, rdata ...string) rrset.RRset {
	s, err := rrset.New(typ, ttl, rdata...)
	if err != nil {
		panic(err)
	}
	return s
}

func (o *online) has(n dnsname.Name, typ uint16) bool {
	_, ok := o.sets[n.Fold()][typ]
	return ok
}

func (o *online) cut(n dnsname.Name) bool { return !n.Equal(o.origin) && o.has(n, rrset.TypeNS) }

func (o *online) hidden(n dnsname.Name) bool {
	for len(n) > len(o.origin) {
		n = n.Parent()
		if o.cut(n) || o.has(n, rrset.TypeDNAME) {
			return true
		}
	}
	return false
}

// exists tells whether a name, or one below it, has records.
func (o *online) exists(n dnsname.Name) bool {
	for owner := range o.sets {
		if owner.IsBelow(n) {
			return true
		}
	}
	return false
}

// source gives the name whose records a name has: itself, or a wildcard (RFC 4592 §3.3).
func (o *online) source(n dnsname.Name) (source dnsname.Name, exists, wildcard bool) {
	if o.exists(n) {
		return n, true, false
	}
	for ce := n.Parent(); ; ce = ce.Parent() {
		if o.exists(ce) {
			star := "\x01*" + ce
			return star, len(star) <= dnsname.MaxLen && o.exists(star), true
		}
	}
}

// types gives what the bitmap of a name has to say.
func (o *online) types(n dnsname.Name) []uint16 {
	list := []uint16{rrset.TypeRRSIG, rrset.TypeNSEC}
	source, exists, wildcard := o.source(n)
	if !exists {
		return append(list, rrset.TypeNXNAME)
	}
	for typ := range o.sets[source.Fold()] {
		if wildcard || !o.cut(n) || typ == rrset.TypeNS || typ == rrset.TypeDS {
			list = append(list, typ)
		}
	}
	slices.Sort(list)
	return list
}

// order gives the canonical order of names: RFC 4034 §6.1.
func order(a, b dnsname.Name) int {
	labels := func(n dnsname.Name) (l []string) {
		for n = n.Fold(); n != dnsname.Root; n = n.Parent() {
			l = append(l, string(n[1:1+n[0]]))
		}
		slices.Reverse(l)
		return l
	}
	return slices.Compare(labels(a), labels(b))
}

// ask gives the answer to a question with what belongs to it, and everything that is
// wrong with it.
func (o *online) ask(q zone.Query, now time.Time) (*zone.Answer, []string) {
	var a zone.Answer
	o.snap.Lookup(&q, &a)
	kind := a.Kind
	if err := o.Complete(o.snap, &q, &a, onlinesign.Part{}, now); err != nil {
		return &a, []string{err.Error()}
	}
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for i, section := range [][]zone.Set{a.Answer, a.Authority, a.Additional} {
		for _, set := range section {
			o.judgeSet(set, i, now, say)
		}
	}
	if !a.Compact || a.Veiled != (kind == zone.NXDomain && !q.CO) {
		say("compact %t, veiled %t", a.Compact, a.Veiled)
	}
	var proofs []zone.Set
	for _, set := range a.Authority {
		if set.Type == rrset.TypeNSEC {
			proofs = append(proofs, set)
		}
	}
	last := q.Name
	if n := len(a.Answer); n > 0 && a.Answer[n-1].Type == rrset.TypeCNAME {
		last = dnsname.Name(a.Answer[n-1].First())
	}
	switch {
	case kind == zone.NoData && a.Kind == zone.Success:
		o.judgeMeta(q, &a, say)
	case kind != a.Kind:
		say("%s became %s", kind, a.Kind)
	case kind == zone.NoData || kind == zone.NXDomain:
		source, exists, _ := o.source(last)
		if exists != (kind == zone.NoData) {
			say("%s is %s, and exists: %t", last, kind, exists)
		}
		if exists && (o.has(source, q.Type) || o.has(source, rrset.TypeCNAME)) {
			say("%s exists with that type", last)
		}
		if len(proofs) != 1 || !proofs[0].Owner.Equal(last) {
			say("want one NSEC record, of %s", last)
			break
		}
		o.judgeNSEC(proofs[0], say)
		if exists && (q.Type == rrset.TypeNSEC || q.Type == rrset.TypeRRSIG && len(o.sets[source.Fold()]) > 0) {
			say("NODATA for a type that is there")
		}
	case kind == zone.Delegation:
		cut := a.Authority[0].Owner
		if ds := slices.ContainsFunc(a.Authority, func(s zone.Set) bool { return s.Type == rrset.TypeDS }); ds != o.has(cut, rrset.TypeDS) || ds != (len(proofs) == 0) {
			say("DS: %t, %d proofs", ds, len(proofs))
		}
		if len(proofs) == 1 {
			if !proofs[0].Owner.Equal(cut) {
				say("NSEC of %s, want %s", proofs[0].Owner, cut)
			}
			o.judgeNSEC(proofs[0], say)
		}
	case len(proofs) > 0:
		say("proof in an answer of kind %s", kind)
	}
	return &a, wrong
}

// judgeMeta checks positive answers to questions for NSEC and RRSIG.
func (o *online) judgeMeta(q zone.Query, a *zone.Answer, say func(string, ...any)) {
	last := a.Answer[len(a.Answer)-1]
	switch q.Type {
	case rrset.TypeNSEC:
		o.judgeNSEC(last, say)
	case rrset.TypeRRSIG:
		source, _, _ := o.source(last.Owner)
		for i, set := range a.Answer {
			for r := range set.All() {
				if set.Type != rrset.TypeRRSIG || !set.Owner.Equal(last.Owner) {
					continue
				}
				over, ok := o.sets[source.Fold()][rrset.Covered(r)]
				if !ok {
					say("RRSIG over a type that is not there")
				}
				if i < len(a.Answer)-1 && !q.All {
					say("RRSIGs over more than one RRset")
				}
				o.judgeSet(zone.Set{Owner: set.Owner, RRset: over, Sigs: set.RRset}, 0, start, say)
			}
		}
	default:
		say("NODATA became a positive answer")
	}
	if len(a.Authority) > 0 {
		say("authority section in a positive answer")
	}
}

// judgeNSEC checks an NSEC record: what it says of its owner is the truth, and nothing
// else that it says is wrong.
func (o *online) judgeNSEC(set zone.Set, say func(string, ...any)) {
	n := rrset.AppendRRs(nil, set.Owner.String(), set.RRset)[0].(*dns.NSEC)
	soa := o.sets[o.origin.Fold()][rrset.TypeSOA]
	minimum := rrset.AppendRRs(nil, ".", soa)[0].(*dns.SOA).Minttl
	if want := o.types(set.Owner); !slices.Equal(n.TypeBitMap, want) || set.TTL != min(minimum, soa.TTL) {
		say("%s, want types %d, TTL %d", n, want, min(minimum, soa.TTL))
	}
	next := dnsname.MustParse(n.NextDomain)
	if next.HasUpper() {
		say("%s: next name is not in lower case", n)
	}
	if !next.IsBelow(o.origin) || order(set.Owner, next) >= 0 && !next.Equal(o.origin) {
		say("%s: next name is not after the owner", n)
	}
	cut := o.cut(set.Owner)
	if cut && next.IsBelow(set.Owner) && !next.Equal(o.origin) {
		say("%s: next name is below the cut", n) // C7
	}
	if !cut && len(set.Owner) <= dnsname.MaxLen-2 && next != "\x01\x00"+set.Owner.Fold() {
		say("%s: next name is not the very next", n)
	}
	for owner := range o.sets {
		for ; len(owner) >= len(o.origin); owner = owner.Parent() {
			below := cut && owner.IsBelow(set.Owner)
			if !below && order(set.Owner, owner) < 0 && (order(owner, next) < 0 || next.Equal(o.origin)) {
				say("%s: denies %s", n, owner)
			}
			if len(owner) == 1 {
				break
			}
		}
	}
}

// judgeSet checks the signatures over a set of a section.
func (o *online) judgeSet(set zone.Set, section int, now time.Time, say func(string, ...any)) {
	var keys []*signer.Key
	apexKeys := len(set.Owner) == len(o.origin) && (set.Type == rrset.TypeDNSKEY || set.Type == rrset.TypeCDS || set.Type == rrset.TypeCDNSKEY)
	hidden := o.hidden(set.Owner) || o.cut(set.Owner) && set.Type != rrset.TypeDS && set.Type != rrset.TypeNSEC
	if !hidden && set.Type != rrset.TypeRRSIG {
		for _, u := range o.uses {
			if u.Sign && (u.Role() == signer.CSK || apexKeys == (u.Role() == signer.KSK)) {
				keys = append(keys, u.Key)
			}
		}
	}
	if set.Sigs.Len() != len(keys) {
		say("section %d: %s type %d: %d RRSIGs, want %d", section, set.Owner, set.Type, set.Sigs.Len(), len(keys))
		return
	}
	if len(keys) > 0 && set.Sigs.TTL != set.TTL {
		say("%s type %d: TTL %d and %d of RRSIG", set.Owner, set.Type, set.TTL, set.Sigs.TTL)
	}
	ttl := set.TTL
	if set.Type == rrset.TypeSOA {
		ttl = o.sets[o.origin.Fold()][rrset.TypeSOA].TTL
	}
	labels := set.Owner.Labels()
	if set.Owner.IsWildcard() {
		labels--
	}
	i := 0
	for r := range set.Sigs.All() {
		k := keys[i]
		i++
		sig := rrset.AppendRRs(nil, set.Owner.String(), one(rrset.TypeRRSIG, set.TTL, r))[0].(*dns.RRSIG)
		if int(sig.Labels) != labels || sig.OrigTtl != ttl || sig.TypeCovered != set.Type || !strings.EqualFold(sig.SignerName, o.origin.String()) {
			say("%s: labels, TTL, type or signer are not those of %s, TTL %d", sig, set.Owner, ttl)
		}
		left := int64(o.validity / time.Second / 4)
		if int64(sig.Inception) > now.Unix()-3600 || int64(sig.Expiration) < now.Unix()+left { // S2
			say("%s: not valid at %s and long after", sig, now)
		}
		id := fmt.Sprintf("%s %d %q %q", set.Owner.Fold(), set.TTL, set.Packed(), r)
		if o.known[id] || set.Owner == "\x01*\x00" { // miekg/dns makes an empty label of the rest
			continue
		}
		if err := sig.Verify(o.dnskeys[k.DNSKEY()], rrset.AppendRRs(nil, set.Owner.String(), set.RRset)); err != nil {
			say("%s: %v", sig, err)
			continue
		}
		o.known[id] = true
	}
}

// dump writes a zone and an answer down.
func (o *online) dump(q zone.Query, a *zone.Answer) string {
	var b strings.Builder
	for _, n := range slices.Sorted(maps.Keys(o.sets)) {
		for _, set := range o.sets[n] {
			for _, rr := range rrset.AppendRRs(nil, n.String(), set) {
				fmt.Fprintln(&b, rr)
			}
		}
	}
	fmt.Fprintf(&b, "? %s %s\n= %s\n", q.Name, rrset.TypeString(q.Type), a.Kind)
	b.WriteString(text(a))
	return b.String()
}

// text writes an answer down, one line a record, without signatures but for their number.
func text(a *zone.Answer) string {
	var b strings.Builder
	for i, section := range [][]zone.Set{a.Answer, a.Authority, a.Additional} {
		for _, set := range section {
			for _, rr := range rrset.AppendRRs(nil, set.Owner.String(), set.RRset) {
				fmt.Fprintf(&b, "%s %s +%d\n", []string{"an", "au", "ad"}[i], strings.Join(strings.Fields(rr.String()), " "), set.Sigs.Len())
			}
		}
	}
	return b.String()
}

// generator makes zones of few names that get in each other's way.
type generator struct{ *rand.Rand }

var (
	someLabels = []string{"a", "b", "*", "C", "ns", "_x", "\\000", "z\\255"}
	someTypes  = []string{"A", "A", "TXT", "AAAA", "MX", "NS", "NS", "DS", "CNAME", "CNAME", "DNAME", "TYPE65280", "SRV"}
)

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

// name gives a name below the origin, in presentation form.
func (g *generator) name(origin string) string {
	n := origin
	for range 1 + g.IntN(3) {
		n = pick(g, someLabels...) + "." + strings.TrimPrefix(n, ".")
	}
	return n
}

// zone gives the records of a zone.
func (g *generator) zone(origin string) []string {
	records := []string{
		fmt.Sprintf("%s %d IN SOA %s %s 1 7200 3600 1209600 %d", origin, pick(g, 3600, 100), g.name(origin), g.name(origin), pick(g, 300, 7200)),
		fmt.Sprintf("%s 3600 IN NS %s", origin, g.name(origin)),
	}
	types := map[string]map[string]bool{}
	for range g.IntN(30) {
		n, typ := strings.ToLower(g.name(origin)), pick(g, someTypes...)
		if types[n] == nil {
			types[n] = map[string]bool{}
		}
		have := types[n]
		star := strings.HasPrefix(n, "*.")
		switch {
		case have["CNAME"], typ == "CNAME" && len(have) > 0, typ == "DS" && !have["NS"],
			star && (typ == "NS" || typ == "DNAME"), typ == "NS" && have["DNAME"], typ == "DNAME" && (have["NS"] || have["DNAME"]):
			continue
		}
		have[typ] = true
		rdata := map[string]string{
			"A": fmt.Sprintf("192.0.2.%d", g.IntN(9)), "AAAA": "2001:db8::1", "TXT": pick(g, "a", "b"), "TYPE65280": `\# 0`,
			"DS": "12345 13 2 " + strings.Repeat("ab", 32), "MX": "10 " + g.name(origin), "SRV": "0 0 443 " + g.name(origin),
			"NS": pick(g, g.name(origin), g.name(n)), "CNAME": pick(g, g.name(origin), "out.test."), "DNAME": g.name(origin),
		}[typ]
		records = append(records, fmt.Sprintf("%s %d IN %s %s", n, 600, typ, rdata))
	}
	return records
}
