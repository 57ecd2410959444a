package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/trustdns/trustdns/test/server"
)

// What an update needs of other plugins is looked at when the server starts, and what
// is missing ends the start, with its place.
func TestUpdateStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.zone"), updateZone)
	keys, stock := "keys {\n"+tsigLine(allKey)+"}\n", "tsig {\nsecret all.test. "+secretOne+"\n}\n"
	const (
		zone   = "authority {\nfile {zone}.zone\nstore memory\n}\n"
		update = "update {\ngrant all.test zonesub\n}\n"
	)
	for _, c := range []struct{ name, lines, want string }{ // block puts three lines in front
		{"a mistake", keys + zone + "update {\ngrant all.test\n}\n", "plugin/update: Corefile:12 - Error during parsing: grant: want a RULE"},
		{"without authority", keys + update, "plugin/update: Corefile:7: the plugin authority is not in this server block: there is no zone to update"},
		{"without keys", zone + update, "plugin/update: Corefile:8: the plugin keys is not in this server block: no request can be signed"},
		{"an unknown key", keys + zone + "update {\ngrant other.test zonesub\n}\n", `plugin/update: Corefile:12: "grant other.test. zonesub": key other.test. is not one of the plugin keys (or tsig) in this server block`},
		{"a file that is the truth", keys + "authority {\nfile {zone}.zone source\nstore memory\n}\n" + update, `plugin/authority: Corefile:7 - Error during parsing: zone example.org.: with "file … source" the file is the truth, and the plugin update has no say`},
		{"without a store", keys + "authority {\nfile {zone}.zone\n}\n" + update, `plugin/authority: Corefile:7 - Error during parsing: zone example.org. is updated, and what is acknowledged must be kept: property "store"`},
		{"a directory", keys + "authority {\ndirectory .\nstore data\n}\n" + update, "plugin/authority: Corefile:7 - Error during parsing: zones of a directory follow their files: they cannot be updated"},
		{"zones that are elsewhere", keys + zone + "update sub.example.org {\ngrant all.test zonesub\n}\n", "plugin/authority: Corefile:7 - Error during parsing: the plugin update is in this server block, and none of its zones is served here"},
		{"twice", keys + zone + update + update, "plugin/update: Corefile:14 - Error during parsing: the directive is there already, at "},
	} {
		t.Run(c.name, func(t *testing.T) {
			plugin, text, _ := strings.Cut(c.want, ": ")
			startFails(t, block(dir, strings.TrimSuffix(c.lines, "\n")), plugin+": ", text)
		})
	}
	// Another block follows the file of the zone that is updated here.
	startFails(t, strings.Replace(updatable(dir, ""), server.Port, fmt.Sprint(freePort(t)), 1)+
		block(dir, "authority {\nfile example.org.zone source\nstore data\ntransfer net 127.0.0.1\n}"), "zone example.org.: another server block has the same zone updated")

	// With "store memory", in any order, and with the keys of stock tsig, which gets a warning.
	for _, lines := range []string{keys + zone + update, update + zone + keys, stock + zone + update, stock + keys + zone + update} {
		s := server.StartOurs(t, block(dir, lines), "example.org")
		if r := sendUpdate(t, "tcp", s.Addr.String(), updating(t, "example.org.", "add x 60 A 192.0.2.9"), allKey); r.Rcode != dns.RcodeSuccess || serialOf(s, "example.org.") != 11 {
			t.Errorf("with\n%s: %v", lines, r)
		}
		if strings.Contains(s.Log(), "for keys of the plugin tsig neither") != strings.HasPrefix(lines, "tsig") || strings.Contains(s.Log(), secretOne) {
			t.Errorf("the log:\n%s", s.Log())
		}
		s.Stop()
	}
}
