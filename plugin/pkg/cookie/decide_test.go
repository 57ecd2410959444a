package cookie

import (
	"context"
	"net/netip"
	"testing"
)

func TestDecide(t *testing.T) {
	s := NewSecrets(secret(t, secretA))
	addr := netip.MustParseAddr("192.0.2.1")
	_, valid, err := s.Handle(make([]byte, 8), addr, 1000, nil)
	if err != nil {
		t.Fatal(err)
	}
	options := map[string][]byte{
		"none": nil, "client": valid[:8], "invalid": append(valid[:23:23], valid[23]^1), "valid": valid, "malformed": valid[:9], "empty": {},
	}
	for _, c := range []struct {
		policy  Policy
		option  string
		exempt  bool
		verdict Verdict
		result  Result
	}{
		{Never, "none", false, Answer, None},
		{Never, "client", false, Answer, Client},
		{Never, "invalid", false, Answer, Invalid},
		{Never, "valid", false, Answer, Valid},
		{Never, "malformed", false, FormErr, None},
		{Never, "empty", false, FormErr, None},
		{Limited, "none", false, Answer, None},
		{Limited, "client", false, Answer, Client},
		{Limited, "invalid", false, Answer, Invalid},
		{Always, "none", false, Truncate, None},
		{Always, "client", false, BadCookie, Client},
		{Always, "invalid", false, BadCookie, Invalid}, // K12
		{Always, "valid", false, Answer, Valid},
		{Always, "malformed", false, FormErr, None},
		{Always, "none", true, Answer, None},
		{Always, "client", true, Answer, Client},
		{Always, "invalid", true, Answer, Invalid}, // K10
		{Always, "malformed", true, FormErr, None},
	} {
		d := s.Decide(c.policy, options[c.option], addr, c.exempt, 1000, nil)
		gets := c.result != None
		policy := c.policy
		if c.exempt {
			policy = Never
		}
		if d.Verdict != c.verdict || d.Result != c.result || d.Policy != policy || gets != (len(d.Option) == OptionSize) {
			t.Errorf("%d %s %v: %+v", c.policy, c.option, c.exempt, d)
		}
		r := From(With(context.Background(), d.Request()))
		if r.Option != string(d.Option) || r.Result != d.Result || r.Policy != d.Policy || gets != (r.Room() == 28) {
			t.Errorf("%d %s %v: %+v", c.policy, c.option, c.exempt, r)
		}
	}
	for verdict, rcode := range map[Verdict]int{Answer: 0, Truncate: 0, FormErr: 1, BadCookie: 23} {
		if got := verdict.Rcode(); got != rcode {
			t.Errorf("%d: %d", verdict, got)
		}
	}
	if r := From(context.Background()); r != (Request{}) || r.Room() != 0 {
		t.Errorf("%+v", r)
	}
}
