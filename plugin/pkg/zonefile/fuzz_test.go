package zonefile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/plugin/pkg/rrset"
)

// line is a record as FuzzScan compares it.
type line struct {
	owner string
	typ   uint16
	ttl   uint32
	rdata string
}

// byMiekg gives the records that the zone parser of miekg/dns reads, or false
// if it refuses some of the file, or what it reads is no record of class IN.
func byMiekg(zone []byte) ([]line, bool) {
	var got []line
	zp := dns.NewZoneParser(bytes.NewReader(zone), origin.String(), "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		owner, rdata, err := rrset.FromRR(rr)
		if err != nil || rr.Header().Class != dns.ClassINET {
			return nil, false
		}
		ttl := rr.Header().Ttl
		if ttl > maxTTL { // on purpose: RFC 2181 §8
			ttl = 0
		}
		got = append(got, line{string(owner), rr.Header().Rrtype, ttl, rdata})
	}
	return got, zp.Err() == nil
}

// onPurpose tells why a record is read in another way than miekg/dns does.
func onPurpose(ours, theirs line) string {
	switch {
	case ours.typ != theirs.typ || ours.owner != theirs.owner || ours.ttl != theirs.ttl:
		return ""
	case ours.typ == dns.TypeLOC:
		return "decimal fractions are not rounded in binary"
	case ours.typ == dns.TypeISDN && len(ours.rdata) == 1+int(ours.rdata[0]):
		return "a subaddress that is left out is left out, and an address is not split"
	case ours.typ == dns.TypeNSEC3 && len(ours.rdata) == len(theirs.rdata):
		return "the length of a hash is that of the hash"
	case ours.typ == dns.TypeAMTRELAY && len(ours.rdata) > 1 && ours.rdata[1]&0x80 != 0:
		return "a relay with the discovery bit is not lost"
	case (ours.typ == dns.TypeRRSIG || ours.typ == dns.TypeSIG) && ours.rdata[:8] == theirs.rdata[:8] && ours.rdata[16:] == theirs.rdata[16:]:
		return "times after 2106 are taken modulo 2^32"
	}
	return ""
}

// elsewhere tells why a whole file cannot be compared.
func elsewhere(zone []byte) string {
	switch {
	case bytes.Contains(bytes.ToUpper(zone), []byte("$GENERATE")):
		return "$GENERATE is that of BIND: quotes around the right-hand side, escapes, TTL (TestGenerate)"
	case bytes.HasPrefix(zone, []byte("\xef\xbb\xbf")):
		return "a byte order mark is passed over"
	case bytes.ContainsAny(zone, "()") && glued.Match(zone):
		return "a parenthesis, and a newline within parentheses, ends a word"
	case sideBySide(zone):
		return "a quoted string needs no blank beside it; miekg/dns takes the token after it for one"
	}
	return ""
}

// sideBySide tells whether there are tokens with nothing between them.
func sideBySide(zone []byte) bool {
	x := newLexer(bytes.NewReader(zone), "")
	for last := end; x.next() == nil && x.kind != eof; last = x.kind {
		if x.glued && last != end && x.kind != end {
			return true
		}
	}
	return false
}

// glued finds parentheses and newlines without a blank beside them.
var glued = regexp.MustCompile(`[^ \t][()]|[()][^ \t]|[^ \t]\r?\n`)

// FuzzScan compares with the parser of miekg/dns: where both take a file, they
// read the same records.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		apex, "$ORIGIN sub\n$TTL 1h\na 5 IN A 192.0.2.1\n  IN 6 AAAA ::1 ; c\n", "a 1 TXT ( \"b;c\" d\\032\\\"\n e ) \n",
		"$GENERATE 1-3/2 h${0,3,x} A 192.0.2.$\n", "$INCLUDE x y\n", "@ 1 SOA a b ( 1 2h\r\n3 4 5 )\r\n",
	} {
		f.Add([]byte(s))
	}
	for name, list := range samples {
		for _, s := range list {
			f.Add([]byte("a 1 " + name + " " + s + "\n"))
		}
	}
	f.Fuzz(func(t *testing.T, zone []byte) {
		if bytes.Count(zone, []byte("$")) > 0 && bytes.Contains(bytes.ToUpper(zone), []byte("$GENERATE")) && len(zone) > 200 {
			return // a million records a line take long
		}
		var got []line
		s := newScanner(origin)
		s.fn = func(r *Record) error {
			if s.stop = len(got) == 1000; s.stop {
				return errors.New("enough")
			}
			if err := checkWire(r.Type, r.RDATA); err != nil {
				t.Fatalf("%s %s %x: %v", r.Owner, typeName(r.Type), r.RDATA, err)
			}
			if r.TTL > maxTTL || r.Line < 1 || r.Line > 1+bytes.Count(zone, []byte("\n")) {
				t.Fatalf("%+v", r)
			}
			got = append(got, line{string(r.Owner), r.Type, r.TTL, string(r.RDATA)})
			return nil
		}
		s.entries(newLexer(bytes.NewReader(zone), "zone"))
		for _, err := range s.errs {
			var e *Error
			if errors.As(err, &e) && (e.Line < 1 || e.Line > 1+bytes.Count(zone, []byte("\n")) || e.Rule == "") {
				t.Fatalf("%+v", e)
			}
		}
		if len(s.errs) > 0 || elsewhere(zone) != "" {
			return
		}
		theirs, ok := byMiekg(zone)
		if !ok {
			return
		}
		for i := range max(len(got), len(theirs)) {
			switch {
			case i >= len(got):
				t.Fatalf("only miekg/dns has %v", show(theirs[i]))
			case i >= len(theirs):
				t.Fatalf("only we have %v", show(got[i]))
			case got[i] != theirs[i] && onPurpose(got[i], theirs[i]) == "":
				t.Fatalf("we have %v, miekg/dns %v", show(got[i]), show(theirs[i]))
			}
		}
	})
}

func show(l line) string { return fmt.Sprintf("%q %d %s %x", l.owner, l.ttl, typeName(l.typ), l.rdata) }
