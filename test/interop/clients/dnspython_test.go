package clients

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trustdns/trustdns/test/server"
)

// Debian's Python, which has Debian's packages, wherever python3 is.
const (
	python    = "/usr/bin/python3"
	dnspython = "/usr/lib/python3/dist-packages/dns/__init__.py"
)

// A script is testdata/update.py, running.
type script struct {
	in  *json.Encoder
	out *bufio.Scanner
}

// An update is what the script is told: methods of its class UpdateMessage, with arguments.
type update struct {
	Zone string  `json:"zone"`
	TCP  bool    `json:"tcp"`
	Do   [][]any `json:"do"`
}

// A result is what it says.
type result struct {
	Rcode  string
	Signed bool   // and the signature is right
	Error  string // an exception
}

func startScript(t *testing.T, p primary, key *server.Key) *script {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, "testdata/update.py", p.host(), p.port(), key.Name, key.Algorithm, key.Secret)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A script that does not end by itself would keep the test until go test gives up.
	watch := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // the context of the test has ended the script, if it has not ended itself
		watch.Stop()
	})
	return &script{json.NewEncoder(in), bufio.NewScanner(out)}
}

func (s *script) send(t *testing.T, u update) (r result) {
	t.Helper()
	if err := s.in.Encode(u); err != nil {
		t.Fatal(err)
	}
	if !s.out.Scan() {
		t.Fatalf("no result of %v: %v", u, s.out.Err())
	}
	if err := json.Unmarshal(s.out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func requirePython(t *testing.T) {
	t.Helper()
	server.RequireFile(t, dnspython, "python3-dnspython")
}

func TestDnspython(t *testing.T) {
	t.Parallel()
	requirePython(t)
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			p := start(t)
			s := startScript(t, p, zoneKey)
			serial := p.expect(t, forward)
			step := func(rcode string, want []string, do ...[]any) {
				t.Helper()
				if r := s.send(t, update{forward, network == "tcp", do}); r != (result{Rcode: rcode, Signed: true}) {
					t.Errorf("%v: %+v, not %s", do, r, rcode)
				}
				now := p.expect(t, forward, want...)
				if rcode != "NOERROR" && now != serial {
					t.Errorf("%v: serial %d after %d", do, now, serial)
				}
				serial = now
			}

			x := []any{"add", "x", 60, "TXT", "x"}
			step("YXDOMAIN", nil, []any{"absent", "www"}, x)
			step("NXDOMAIN", nil, []any{"present", "none"}, x)
			step("YXRRSET", nil, []any{"absent", "www", "A"}, x)
			step("NXRRSET", nil, []any{"present", "www", "AAAA"}, x)
			step("NXRRSET", nil, []any{"present", "www", "A", "192.0.2.1"}, x)
			with := []string{`x 60 TXT "x"`}
			step("NOERROR", with, []any{"absent", "none"}, []any{"present", "ns1"}, []any{"absent", "www", "AAAA"},
				[]any{"present", "ns1", "A"}, []any{"present", "www", "A", "192.0.2.2", "192.0.2.1"}, x)

			// Types of all sorts.
			var sorts []string
			var do [][]any
			for _, c := range [][3]string{
				{"cut", "NS", "ns.example.net."},
				{"cut", "DS", "12345 13 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766"},
				{"_443._tcp.www", "TLSA", "3 1 1 e2d3c916f6deeac73294e8268fb5885044a833fc5459588f4a9184cfc41a5766"},
				{"web", "HTTPS", `1 . alpn="h2,h3" port="8443" ipv4hint="192.0.2.1"`},
				{"_dns.web", "SVCB", `2 ns1.example.org. alpn="dot"`},
				{"alias", "SVCB", "0 web.example.org."},
				{"new", "TYPE65280", `\# 4 0a000001`},
				{"new", "TYPE65281", `\# 0`},
				{"ssh", "SSHFP", "4 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766"},
				{"tree", "DNAME", "www.example.net."},
				{"*.wild", "A", "192.0.2.10"},
			} {
				sorts = append(sorts, fmt.Sprintf("%s 60 %s %s", c[0], c[1], c[2]))
				do = append(do, []any{"add", c[0], 60, c[1], c[2]})
			}
			without := func(owners ...string) []string {
				list := slices.Clone(sorts)
				return append(slices.DeleteFunc(list, func(rr string) bool { return slices.Contains(owners, strings.Fields(rr)[0]) }), with...)
			}
			step("NOERROR", without(), do...)
			// They are deleted by record, by RRset and by name.
			step("NOERROR", without("new"), []any{"delete", "new", "TYPE65280", `\# 4 0a000001`}, []any{"delete", "new", "TYPE65281"})
			step("NOERROR", without("new", "web", "alias"), []any{"delete", "web", "HTTPS"}, []any{"delete", "alias"})
			step("NOERROR", without("new", "web", "alias", "cut"), []any{"delete", "cut"})
			step("NOERROR", append(without("new", "web", "alias", "cut", "ssh"), "ssh 60 SSHFP 4 2 00000000C6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766"),
				[]any{"replace", "ssh", 60, "SSHFP", "4 2 00000000C6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766"})

			if r := s.send(t, update{"www.example.org.", network == "tcp", [][]any{x}}); r != (result{Rcode: "NOTAUTH", Signed: true}) {
				t.Errorf("a name that is no zone: %+v", r)
			}
			host := startScript(t, p, hostKey)
			if r := host.send(t, update{forward, network == "tcp", [][]any{x}}); r != (result{Rcode: "REFUSED", Signed: true}) {
				t.Errorf("another name than the key may change: %+v", r)
			}
			stranger := startScript(t, p, &server.Key{Name: "unknown.", Algorithm: zoneKey.Algorithm, Secret: zoneKey.Secret})
			if r := stranger.send(t, update{forward, network == "tcp", [][]any{x}}); r != (result{Error: "PeerBadKey"}) {
				t.Errorf("unknown key: %+v", r)
			}
			if _, now := p.records(t, forward); now != serial {
				t.Errorf("serial %d after %d", now, serial)
			}
		})
	}
}
