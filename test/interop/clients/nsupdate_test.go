package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/test/server"
)

// A tool takes the commands of nsupdate.
type tool struct {
	name   string
	failed *regexp.Regexp // in its output: the response code, or that of TSIG
}

var tools = []tool{
	{"nsupdate", regexp.MustCompile(`update failed: (\S+)`)},
	{"knsupdate", regexp.MustCompile(`(?:update failed with error '|status: )(\w+)`)},
}

// run gives a tool commands for the server, and returns the response code of what it sent last: that with which it
// failed, or NOERROR.
func (to tool) run(t *testing.T, p primary, tcp bool, key *server.Key, commands ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var args []string
	if tcp {
		args = append(args, "-v")
	}
	if key != nil {
		args = append(args, "-y", fmt.Sprintf("%s:%s:%s", key.Algorithm, key.Name, key.Secret))
	}
	cmd := exec.CommandContext(ctx, to.name, args...)
	cmd.Stdin = strings.NewReader(fmt.Sprintf("server %s %s\n%s\nsend\n", p.host(), p.port(), strings.Join(commands, "\n")))
	out, err := cmd.CombinedOutput()
	m := to.failed.FindSubmatch(out)
	var exit *exec.ExitError
	switch {
	case err == nil && m == nil && len(bytes.TrimSpace(out)) == 0:
		return "NOERROR"
	case errors.As(err, &exit) && m != nil:
		return string(m[1])
	}
	t.Fatalf("%s: %v\n%s\nof\n%s", to.name, err, out, strings.Join(commands, "\n"))
	return ""
}

// A session is a server, and a tool that updates it.
type session struct {
	primary
	tool tool
	tcp  bool
}

// update gives the tool commands for the forward zone, and returns the response code.
func (s session) update(t *testing.T, key *server.Key, commands ...string) string {
	t.Helper()
	return s.tool.run(t, s.primary, s.tcp, key, append([]string{"zone " + forward}, commands...)...)
}

// each runs a test for each tool over UDP and TCP, with a server of its own.
func each(t *testing.T, f func(t *testing.T, s session)) {
	for _, to := range tools {
		t.Run(to.name, func(t *testing.T) {
			t.Parallel()
			server.Require(t, to.name)
			t.Run("udp", func(t *testing.T) { f(t, session{start(t), to, false}) })
			t.Run("tcp", func(t *testing.T) { f(t, session{start(t), to, true}) })
		})
	}
}

// The five forms of prerequisites, holding and failing.
func TestPrerequisites(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s session) {
		var want []string
		for i, c := range []struct{ prerequisites, rcode string }{
			{"prereq nxdomain none.example.org.", "NOERROR"},
			{"prereq nxdomain www.example.org.", "YXDOMAIN"},
			{"prereq yxdomain www.example.org.", "NOERROR"},
			{"prereq yxdomain none.example.org.", "NXDOMAIN"},
			{"prereq nxrrset www.example.org. AAAA", "NOERROR"},
			{"prereq nxrrset www.example.org. A", "YXRRSET"},
			{"prereq yxrrset www.example.org. A", "NOERROR"},
			{"prereq yxrrset www.example.org. AAAA", "NXRRSET"},
			{"prereq yxrrset www.example.org. A 192.0.2.2\nprereq yxrrset WWW.example.org. A 192.0.2.1", "NOERROR"},
			{"prereq yxrrset www.example.org. A 192.0.2.1", "NXRRSET"},
			{"prereq yxrrset www.example.org. A 192.0.2.1\nprereq yxrrset www.example.org. A 192.0.2.9", "NXRRSET"},
			{"prereq yxrrset none.example.org. A 192.0.2.1", "NXRRSET"},
			{"prereq yxdomain www.example.org.\nprereq nxrrset www.example.org. A", "YXRRSET"},
			{"prereq yxdomain www.example.org.\nprereq nxdomain none.example.org.\nprereq yxrrset ns1.example.org. A 192.0.2.53", "NOERROR"},
		} {
			if rcode := s.update(t, zoneKey, c.prerequisites, fmt.Sprintf("update add c%02d.example.org. 60 TXT x", i)); rcode != c.rcode {
				t.Errorf("%s: %s, not %s", c.prerequisites, rcode, c.rcode)
			}
			if c.rcode == "NOERROR" {
				want = append(want, fmt.Sprintf(`c%02d 60 TXT "x"`, i))
			}
		}
		s.expect(t, forward, want...)
	})
}

// Adding and deleting, several records at once; each message is one change of the zone.
func TestChanges(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s session) {
		serial := s.expect(t, forward)
		step := func(changes uint32, commands []string, want ...string) {
			t.Helper()
			if rcode := s.update(t, zoneKey, commands...); rcode != "NOERROR" {
				t.Errorf("%q: %s", commands, rcode)
			}
			if now := s.expect(t, forward, want...); now != serial+changes {
				t.Errorf("%q: serial %d after %d", commands, now, serial)
			}
			serial += changes
		}

		host := []string{
			"h 60 A 192.0.2.10", "h 60 A 192.0.2.11", "h 60 AAAA 2001:db8::10", "h 60 MX 10 www.example.org.",
			`h 60 TXT "a text" "and another"`, "h 60 SRV 0 5 443 www.example.org.", `h 60 CAA 0 issue "ca.example.net"`,
			"sub.h 60 A 192.0.2.12",
		}
		step(
			1, []string{
				"update add h.example.org. 60 A 192.0.2.10",
				"update add h.example.org. 60 A 192.0.2.11",
				"update add h.example.org. 60 AAAA 2001:db8::10",
				"update add h.example.org. 60 MX 10 www.example.org.",
				`update add h.example.org. 60 TXT "a text" "and another"`,
				"update add h.example.org. 60 SRV 0 5 443 www.example.org.",
				`update add h.example.org. 60 CAA 0 issue "ca.example.net"`,
				"update add sub.h.example.org. 60 A 192.0.2.12",
			}, host...,
		)
		// What is there already, and what is not there, changes nothing.
		step(0, []string{"update add h.example.org. 60 A 192.0.2.10"}, host...)
		step(0, []string{"update delete h.example.org. A 192.0.2.99", "update delete none.example.org.", "update delete www.example.org. TXT"}, host...)
		// One record, one RRset, the same that was deleted before.
		step(1, []string{"update delete h.example.org. A 192.0.2.10"}, host[1:]...)
		step(1, []string{"update delete h.example.org. MX", "update delete h.example.org. TXT", "update delete h.example.org. CAA"},
			"h 60 A 192.0.2.11", "h 60 AAAA 2001:db8::10", "h 60 SRV 0 5 443 www.example.org.", "sub.h 60 A 192.0.2.12")
		step(1, []string{"update delete h.example.org. A", "update add h.example.org. 30 A 192.0.2.13"},
			"h 30 A 192.0.2.13", "h 60 AAAA 2001:db8::10", "h 60 SRV 0 5 443 www.example.org.", "sub.h 60 A 192.0.2.12")
		// A name, and what is below it stays.
		step(1, []string{"update delete h.example.org."}, "sub.h 60 A 192.0.2.12")
		// An alias instead of addresses, and what may not stand beside it.
		step(1, []string{"update delete sub.h.example.org. A", "update add sub.h.example.org. 60 CNAME www.example.org."},
			"sub.h 60 CNAME www.example.org.")
		step(0, []string{"update add sub.h.example.org. 60 A 192.0.2.14", "update add www.example.org. 60 CNAME ns1.example.org."},
			"sub.h 60 CNAME www.example.org.")
		// The apex keeps its SOA and NS records.
		step(1, []string{"update delete sub.h.example.org.", "update delete example.org. NS", "update delete example.org."})
		// More than 512 octets, for which nsupdate takes TCP in any case. knsupdate does not, and CoreDNS takes no more over UDP.
		var many, commands []string
		n := 60
		if s.tool.name == "knsupdate" && !s.tcp {
			n = 10
		}
		for i := range n {
			many = append(many, fmt.Sprintf("many 60 AAAA 2001:db8::%x", i+1))
			commands = append(commands, fmt.Sprintf("update add many.example.org. 60 AAAA 2001:db8::%x", i+1))
		}
		step(1, commands, many...)
		step(1, []string{"update delete many.example.org. AAAA"})
	})
}

// Keys that are wrong, and names that a key has no right to; nothing of such messages is done.
func TestKeys(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s session) {
		unknown := &server.Key{Name: "unknown.example.org.", Algorithm: zoneKey.Algorithm, Secret: zoneKey.Secret}
		wrong := &server.Key{Name: zoneKey.Name, Algorithm: zoneKey.Algorithm, Secret: hostKey.Secret}
		other := &server.Key{Name: zoneKey.Name, Algorithm: "hmac-sha512", Secret: zoneKey.Secret}
		const add = "update add own.example.org. 60 A 192.0.2.10"
		for _, c := range []struct {
			name, rcode string
			key         *server.Key
			commands    []string
		}{
			{"unknown key", "NOTAUTH(BADKEY)", unknown, []string{add}},
			{"wrong algorithm", "NOTAUTH(BADKEY)", other, []string{add}},
			{"wrong secret", "NOTAUTH(BADSIG)", wrong, []string{add}},
			{"no key", "REFUSED", nil, []string{add}},
			{"another name", "REFUSED", hostKey, []string{"update add other.example.org. 60 A 192.0.2.10"}},
			{"another type", "REFUSED", hostKey, []string{"update add own.example.org. 60 TXT x"}},
			{"the last of several", "REFUSED", hostKey, []string{add, "update delete www.example.org. A 192.0.2.1"}},
			{"delete all that is there", "REFUSED", hostKey, []string{"update delete www.example.org."}},
			{"a name that is in no zone here", "NOTZONE", zoneKey, []string{add, "update add www.example.net. 60 A 192.0.2.10"}},
		} {
			if rcode := s.update(t, c.key, c.commands...); rcode != c.rcode && "NOTAUTH("+rcode+")" != c.rcode {
				t.Errorf("%s: %s, not %s", c.name, rcode, c.rcode)
			}
			if serial := s.expect(t, forward); serial != 1 {
				t.Errorf("%s: serial %d", c.name, serial)
			}
		}
		if rcode := s.update(t, hostKey, add, "update add own.example.org. 60 AAAA 2001:db8::10"); rcode != "NOERROR" {
			t.Errorf("what the key may: %s", rcode)
		}
		s.expect(t, forward, "own 60 A 192.0.2.10", "own 60 AAAA 2001:db8::10")
	})
}

// nsupdate finds the zone itself, by the SOA record that comes with the denial of a name.
func TestZoneIsFound(t *testing.T) {
	t.Parallel()
	server.Require(t, "nsupdate")
	p := start(t)
	for _, command := range []string{"update add a.b.example.org. 60 A 192.0.2.10", "update add 10.2.0.192.in-addr.arpa. 60 PTR a.b.example.org."} {
		if rcode := tools[0].run(t, p, false, zoneKey, command); rcode != "NOERROR" {
			t.Errorf("%s: %s", command, rcode)
		}
	}
	p.expect(t, forward, "a.b 60 A 192.0.2.10")
	p.expect(t, reverse, "10 60 PTR a.b.example.org.")
}
