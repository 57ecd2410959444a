package secondary

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// records reads records, one a line; "SOA 3" is the one with that serial, "A x 1" and "B x 1" are addresses.
func records(t *testing.T, text string) (rrs []dns.RR) {
	t.Helper()
	for line := range strings.SplitSeq(text, ",") {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
			continue
		case words[0] == "SOA":
			line = "x.example. 60 SOA ns.x.example. h.x.example. " + words[1] + " 1 1 1 1"
		case words[0] == "A":
			line = words[1] + ".x.example. 60 A 192.0.2." + words[2]
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

// RFC 1995 §4, RFC 5936 §2.2: what is a transfer and what is none. Messages are apart by "|"; the client has serial 3,
// with A a 1 and A b 1.
func TestAnswers(t *testing.T) {
	const zone = "SOA 3, A a 1, A b 1"
	for _, c := range []struct {
		name, messages string
		axfr           bool
		form           Form
		want           string // the zone afterwards, or a part of the error in brackets
	}{
		{"AXFR", "SOA 5, A a 1 | A c 1, SOA 5", true, Whole, "SOA 5, A a 1, A c 1"},
		{"AXFR, one record a message", "SOA 5 | A a 1 | SOA 5", true, Whole, "SOA 5, A a 1"},
		{"AXFR of the version at hand", "SOA 3, A a 1, SOA 3", true, Whole, "SOA 3, A a 1"},
		{"zone without a record", "SOA 5, SOA 5", false, Whole, "SOA 5"},
		{"whole zone for IXFR", "SOA 5, A a 1, SOA 5", false, Whole, "SOA 5, A a 1"},
		{"up to date", "SOA 3", false, UpToDate, zone},
		{"older", "SOA 2", false, UpToDate, zone},
		{"one step", "SOA 5, SOA 3, A a 1, SOA 5, A a 2, SOA 5", false, Incremental, "SOA 5, A a 2, A b 1"},
		{"over several messages", "SOA 5, SOA 3 | A a 1 | SOA 5, A a 2 | SOA 5", false, Incremental, "SOA 5, A a 2, A b 1"},
		{"two steps", "SOA 5, SOA 3, A a 1, SOA 4, A a 2, SOA 4, A a 2, SOA 5, A a 1, A c 1, SOA 5", false, Incremental, "SOA 5, A a 1, A b 1, A c 1"},
		{"nothing but the serial", "SOA 5, SOA 3, SOA 5, SOA 5", false, Incremental, "SOA 5, A a 1, A b 1"},
		{"owner in other letters", "SOA 5, SOA 3, A A 1, SOA 5, SOA 5", false, Incremental, "SOA 5, A b 1"},

		{"no SOA record", "A a 1, SOA 5", true, 0, "[first record]"},
		{"another serial at the end", "SOA 5, A a 1, SOA 6", true, 0, "[at the end]"},
		{"no end", "SOA 5, A a 1", true, 0, "[no end]"},
		{"more behind the end", "SOA 5, A a 1, SOA 5, A b 1", true, 0, "[behind the last]"},
		{"SOA record of another name", "SOA 5, y.x.example. 60 SOA . . 1 1 1 1 1, SOA 5", true, 0, "[not at the apex]"},
		{"outside of the zone", "SOA 5, y.example. 60 A 192.0.2.1, SOA 5", true, 0, "[is not in x.example.]"},
		{"a record twice", "SOA 5, A a 1, A a 1, SOA 5", true, 0, "[is added and was there]"},
		{"removed, not there", "SOA 5, SOA 3, A a 9, SOA 5, SOA 5", false, 0, "[is removed and was not there]"},
		{"removed with another TTL", "SOA 5, SOA 3, a.x.example. 61 A 192.0.2.1, SOA 5, SOA 5", false, 0, "[is removed and was not there]"},
		{"added, there", "SOA 5, SOA 3, SOA 5, A a 1, SOA 5", false, 0, "[is added and was there]"},
		{"differences to another version", "SOA 5, SOA 3, A a 1, SOA 4, A a 2, SOA 5", false, 0, "[differences end at]"},
		{"a step from elsewhere", "SOA 6, SOA 3, SOA 4, SOA 5, SOA 6, SOA 6", false, 0, "[behind differences that end at]"},
	} {
		r := reader{zone: "x.example.", has: 3, incremental: !c.axfr}
		var err error
		done := false
		for i, m := range strings.Split(c.messages, "|") {
			if done {
				t.Errorf("%s: done before the end", c.name)
			}
			if done, err = r.take(records(t, m), i == 0); err != nil {
				break
			}
		}
		var got *Version
		if err == nil && done {
			var have *Version
			if have, err = NewVersion(records(t, zone)); err != nil {
				t.Fatal(err)
			}
			got, err = have.Next(&r.answer)
		}
		if says, bad := strings.CutPrefix(c.want, "["); bad {
			if says = strings.TrimSuffix(says, "]"); says == "no end" && err == nil && !done {
				continue
			}
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v, want %q", c.name, err, says)
			}
			continue
		}
		want, e := NewVersion(records(t, c.want))
		if e != nil {
			t.Fatal(e)
		}
		if err != nil || !done || r.answer.Form != c.form {
			t.Errorf("%s: %v, %v, complete: %t", c.name, r.answer.Form, err, done)
		} else if d := got.Difference(want); d != "" || got.Len() != want.Len() || got.Serial != want.Serial {
			t.Errorf("%s: %s", c.name, d)
		} else if other := got.Under(got.Serial + 1); other.Difference(got) == "" || other.Under(got.Serial).Difference(want) != "" {
			t.Errorf("%s: under another serial: %q", c.name, other.Difference(got))
		}
	}
}

func TestCheckMessage(t *testing.T) {
	request := (&Client{Zone: "x.example."}).Request(dns.TypeAXFR, 0)
	for name, spoil := range map[string]func(*dns.Msg){
		"":           func(*dns.Msg) {},
		"ID":         func(m *dns.Msg) { m.Id++ },
		"AA":         func(m *dns.Msg) { m.Authoritative = false },
		"TC":         func(m *dns.Msg) { m.Truncated = true },
		"question":   func(m *dns.Msg) { m.Question = nil },
		"another":    func(m *dns.Msg) { m.Question[0].Name = "y." },
		"rcode":      func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure },
		"authority":  func(m *dns.Msg) { m.Ns = m.Answer },
		"additional": func(m *dns.Msg) { m.Extra = m.Answer },
		"empty":      func(m *dns.Msg) { m.Answer = nil },
		"query":      func(m *dns.Msg) { m.Response = false },
	} {
		m := new(dns.Msg).SetReply(request)
		m.Authoritative = true
		m.Answer = records(t, "SOA 1")
		spoil(m)
		if err := (&reader{}).checkMessage(request, m, true); (err != nil) != (name != "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestSplit(t *testing.T) {
	v, err := NewVersion(records(t, "SOA 3, A a 1, A b 1, A b 2"))
	if err != nil {
		t.Fatal(err)
	}
	parts := v.Split(func(owner string) string { return owner[:1] })
	if len(parts) != 2 {
		t.Errorf("%d parts", len(parts))
	}
	for name, want := range map[string]string{"a": "SOA 3, A a 1", "b": "SOA 3, A b 1, A b 2"} {
		w, err := NewVersion(records(t, want))
		if err != nil {
			t.Fatal(err)
		}
		if d := parts[name].Difference(w); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if has := records(t, "A B 2, A a 2"); !v.Has(has[0]) || v.Has(has[1]) {
		t.Error("Has says what is not so")
	}
}
