package clients

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/trustdns/trustdns/test/server"
)

// A d2 is Kea's DHCP-DDNS server, with the connection over which a DHCP server tells it of leases.
type d2 struct {
	*server.Server
	conn net.Conn
}

func startD2(t *testing.T, p primary) *d2 {
	t.Helper()
	domain := func(zone string) map[string]any {
		return map[string]any{"ddns-domains": []any{map[string]any{
			"name":        zone,
			"key-name":    zoneKey.Name,
			"dns-servers": []any{map[string]any{"ip-address": p.host(), "port": p.Addr.Port()}},
		}}}
	}
	locks := t.TempDir()
	s := server.StartProgram(t, server.Program{
		Name:  "kea-dhcp-ddns",
		Ready: "DHCP_DDNS_STARTED",
		Env:   []string{"KEA_PIDFILE_DIR=" + locks, "KEA_LOCKFILE_DIR=" + locks},
		Prepare: func(dir string, port int) ([]string, error) {
			conf, err := json.Marshal(map[string]any{"DhcpDdns": map[string]any{
				"ip-address":         "127.0.0.1",
				"port":               port,
				"dns-server-timeout": 5000,
				"tsig-keys":          []any{map[string]any{"name": zoneKey.Name, "algorithm": "HMAC-SHA256", "secret": zoneKey.Secret}},
				"forward-ddns":       domain(forward),
				"reverse-ddns":       domain(reverse),
				"loggers": []any{map[string]any{
					"name": "kea-dhcp-ddns", "severity": "INFO", "output_options": []any{map[string]any{"output": "stdout"}},
				}},
			}})
			if err != nil {
				return nil, err
			}
			path := filepath.Join(dir, "kea.json")
			return []string{"-c", path}, os.WriteFile(path, conf, 0o644)
		},
	})
	conn, err := net.Dial("udp4", s.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return &d2{s, conn}
}

// A lease is what a DHCP server tells of one (NameChangeRequest of Kea).
type lease struct {
	Change   int    `json:"change-type"` // 0: add, 1: remove
	Forward  bool   `json:"forward-change"`
	Reverse  bool   `json:"reverse-change"`
	Name     string `json:"fqdn"`
	Address  string `json:"ip-address"`
	DHCID    string `json:"dhcid"`
	Expires  string `json:"lease-expires-on"`
	Length   int    `json:"lease-length"`
	Conflict bool   `json:"use-conflict-resolution"`
}

var done = regexp.MustCompile(`DHCP_DDNS_(ADD|REMOVE)_(SUCCEEDED|FAILED)`)

// tell tells of a lease and returns what came of it: "ADD_SUCCEEDED".
func (d *d2) tell(t *testing.T, l lease) string {
	t.Helper()
	l.Conflict, l.Length, l.Expires = true, 3600, time.Now().Add(time.Hour).UTC().Format("20060102150405")
	b, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	before := len(d.Log())
	if _, err := d.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if m := done.FindStringSubmatch(d.Log()[before:]); m != nil {
			return m[1] + "_" + m[2]
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%+v: nothing came of it; the log:\n%s", l, d.Log()[before:])
		}
	}
}

// dhcid makes the identity of a client for a name (RFC 4701 §3.3), in hexadecimal.
func dhcid(client, name string) string {
	sum := sha256.Sum256([]byte(client + name))
	return fmt.Sprintf("000001%x", sum)
}

// Leases come, are renewed with another address, conflict and go.
func TestKea(t *testing.T) {
	t.Parallel()
	server.Require(t, "kea-dhcp-ddns")
	p := start(t)
	d := startD2(t, p)

	const name = "pc.example.org."
	first, second := dhcid("first", name), dhcid("second", name)
	// What the name and the addresses have, in the form of records.
	type state struct{ forward, reverse []string }
	held := func(dhcid, address string) []string {
		return []string{"pc 3600 A " + address, "pc 3600 DHCID " + inBase64(t, dhcid)}
	}
	pointer := func(dhcid, last string) []string {
		return []string{last + " 3600 PTR " + name, last + " 3600 DHCID " + inBase64(t, dhcid)}
	}
	for _, c := range []struct {
		what, comes string
		lease       lease
		state       state
	}{
		{
			"a new lease", "ADD_SUCCEEDED",
			lease{Forward: true, Reverse: true, Name: name, Address: "192.0.2.10", DHCID: first},
			state{held(first, "192.0.2.10"), pointer(first, "10")},
		},
		{
			"the same again", "ADD_SUCCEEDED",
			lease{Forward: true, Reverse: true, Name: name, Address: "192.0.2.10", DHCID: first},
			state{held(first, "192.0.2.10"), pointer(first, "10")},
		},
		{
			"another client wants the name", "ADD_FAILED",
			lease{Forward: true, Reverse: true, Name: name, Address: "192.0.2.20", DHCID: second},
			state{held(first, "192.0.2.10"), pointer(first, "10")},
		},
		{
			"a name that nobody had by DHCP", "ADD_FAILED",
			lease{Forward: true, Reverse: true, Name: "www.example.org.", Address: "192.0.2.20", DHCID: second},
			state{held(first, "192.0.2.10"), pointer(first, "10")},
		},
		{
			"the old address goes", "REMOVE_SUCCEEDED",
			lease{Change: 1, Reverse: true, Name: name, Address: "192.0.2.10", DHCID: first},
			state{held(first, "192.0.2.10"), nil},
		},
		{
			"another address of the same client", "ADD_SUCCEEDED",
			lease{Forward: true, Reverse: true, Name: name, Address: "192.0.2.11", DHCID: first},
			state{held(first, "192.0.2.11"), pointer(first, "11")},
		},
		{
			"another client gives up the name", "REMOVE_FAILED",
			lease{Change: 1, Forward: true, Name: name, Address: "192.0.2.11", DHCID: second},
			state{held(first, "192.0.2.11"), pointer(first, "11")},
		},
		{
			"the lease ends", "REMOVE_SUCCEEDED",
			lease{Change: 1, Forward: true, Reverse: true, Name: name, Address: "192.0.2.11", DHCID: first},
			state{nil, nil},
		},
		{
			"now the other client gets the name", "ADD_SUCCEEDED",
			lease{Forward: true, Reverse: true, Name: name, Address: "192.0.2.20", DHCID: second},
			state{held(second, "192.0.2.20"), pointer(second, "20")},
		},
	} {
		before := len(d.Log())
		if comes := d.tell(t, c.lease); comes != c.comes {
			t.Errorf("%s: %s, not %s; the log:\n%s", c.what, comes, c.comes, d.Log()[before:])
		}
		p.expect(t, forward, c.state.forward...)
		p.expect(t, reverse, c.state.reverse...)
		if t.Failed() {
			t.Fatalf("after: %s", c.what)
		}
	}
}

// inBase64 gives the RDATA of a DHCID record as a zone file has it.
func inBase64(t *testing.T, hexadecimal string) string {
	t.Helper()
	b, err := hex.DecodeString(hexadecimal)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}
