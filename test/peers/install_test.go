package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// programs are all that install.sh looks for.
var programs = []string{
	"named", "dnssec-signzone", "dig", "delv", "nsupdate", "knotd", "kdig", "knsupdate", "kzonecheck", "nsd", "unbound", "openssl", "ldns-verify-zone", "dnsperf",
	"kea-dhcp-ddns", "lego", "certbot", "pdns_server", "gdnsd",
}

const (
	suffixList = "usr/share/publicsuffix/public_suffix_list.dat"
	dnspython  = "usr/lib/python3/dist-packages/dns/__init__.py"
	certbotDNS = "usr/lib/python3/dist-packages/certbot_dns_rfc2136/__init__.py"
	pdnsBind   = "usr/lib/some-machine/pdns/libbindbackend.so"
)

// files are what it looks for besides programs.
var files = []string{suffixList, dnspython, certbotDNS, pdnsBind}

// A machine is a folder that install.sh takes for the root, with stand-ins for
// the programs that it calls. They write their calls to a log.
type machine struct {
	t    *testing.T
	root string
	env  []string
}

func newMachine(t *testing.T, uid string) *machine {
	m := &machine{t: t, root: t.TempDir()}
	m.env = []string{"PATH=" + m.path("bin"), "PEERS_ROOT=" + m.root, "LOG=" + m.path("log")}
	dirs := []string{"bin", "usr/sbin"}
	for _, f := range files {
		dirs = append(dirs, filepath.Dir(f))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(m.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sort", "chmod", "rm", "touch"} {
		real, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(real, m.path("bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	m.program("bin/id", "echo "+uid)
	m.write("log", "", 0o644)
	return m
}

func (m *machine) path(elem ...string) string {
	return filepath.Join(append([]string{m.root}, elem...)...)
}

func (m *machine) write(name, text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(m.path(name), []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) program(name, script string) {
	m.t.Helper()
	m.write(name, "#!/bin/sh\n"+script+"\n", 0o755)
}

// withPeers installs what install.sh looks for, except for the programs and files given.
func (m *machine) withPeers(except ...string) {
	m.t.Helper()
	for _, p := range programs {
		if !slices.Contains(except, p) {
			m.program("bin/"+p, "")
		}
	}
	for _, f := range files {
		if !slices.Contains(except, f) {
			m.write(f, "", 0o644)
		}
	}
}

// withApt adds an apt-get that tells whether services would be started, and whose
// install puts the given files in place.
func (m *machine) withApt(files ...string) {
	m.t.Helper()
	script := `echo "apt-get $*" >>"$LOG"
case "$*" in *install*) ;; *) exit 0 ;; esac
"$PEERS_ROOT/usr/sbin/policy-rc.d" >>"$LOG"
echo "policy $? $DEBIAN_FRONTEND" >>"$LOG"
`
	for _, f := range files {
		script += "touch '" + m.path(f) + "'\nchmod 755 '" + m.path(f) + "'\n"
	}
	m.program("bin/apt-get", script)
}

// run runs install.sh and returns what it printed, the calls that the stand-ins
// saw, and whether it ended well.
func (m *machine) run(env ...string) (printed, calls string, ok bool) {
	m.t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command(bash, "install.sh")
	cmd.Env = append(m.env, env...)
	out, err := cmd.CombinedOutput()
	log, readErr := os.ReadFile(m.path("log"))
	if readErr != nil {
		m.t.Fatal(readErr)
	}
	return string(out), string(log), err == nil
}

func (m *machine) hasPolicy() bool {
	_, err := os.Stat(m.path("usr/sbin/policy-rc.d"))
	return err == nil
}

func contains(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(text, w) {
			t.Errorf("%s: no %q in:\n%s", what, w, text)
		}
	}
}

func TestAllInstalled(t *testing.T) {
	m := newMachine(t, "0")
	m.withPeers()
	m.withApt()
	printed, calls, ok := m.run("INTEROP=require")
	contains(t, "printed", printed, "all are installed")
	if !ok || calls != "" {
		t.Errorf("ended well: %v; calls:\n%s", ok, calls)
	}
}

func TestMissingAndNoRight(t *testing.T) {
	for _, tc := range []struct {
		name, uid string
		apt       bool
	}{{"not root", "1000", true}, {"no apt-get", "0", false}} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine(t, tc.uid)
			m.withPeers("knotd", "dig", "delv", dnspython)
			if tc.apt {
				m.withApt("bin/knotd", "bin/dig", "bin/delv", dnspython)
			}
			printed, calls, ok := m.run()
			contains(t, "printed", printed, "missing bind9-dnsutils knot python3-dnspython\n", "apt-get install bind9-dnsutils knot python3-dnspython\n")
			if !ok || calls != "" {
				t.Errorf("ended well: %v; calls:\n%s", ok, calls)
			}
			if printed, _, ok := m.run("INTEROP=require"); ok {
				t.Errorf("ended well although a peer is required:\n%s", printed)
			}
		})
	}
}

func TestInstalls(t *testing.T) {
	for _, tc := range []struct {
		name  string
		setUp func(m *machine)
		calls []string
	}{
		{
			"systemd",
			func(m *machine) {
				if err := os.MkdirAll(m.path("run/systemd/system"), 0o755); err != nil {
					m.t.Fatal(err)
				}
				m.program("bin/systemctl", `echo "systemctl $*" >>"$LOG"`)
			},
			[]string{"systemctl disable --now named\nsystemctl disable --now certbot.timer\nsystemctl disable --now kea-dhcp-ddns-server\nsystemctl disable --now nsd\n"},
		},
		{
			"init scripts",
			func(m *machine) { m.program("usr/sbin/update-rc.d", `echo "update-rc.d $*" >>"$LOG"`) },
			[]string{"update-rc.d named disable\nupdate-rc.d kea-dhcp-ddns-server disable\nupdate-rc.d nsd disable\n"},
		},
		{"no init system", func(*machine) {}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine(t, "0")
			m.withPeers("named", "nsd", "kea-dhcp-ddns", "certbot", suffixList)
			m.withApt("bin/named", "usr/sbin/nsd", "usr/sbin/kea-dhcp-ddns", "bin/certbot", suffixList)
			tc.setUp(m)
			printed, calls, ok := m.run("INTEROP=require")
			const installed = "bind9 certbot kea-dhcp-ddns-server nsd publicsuffix"
			contains(t, "printed", printed, "installing "+installed, "all are installed")
			contains(t, "calls", calls, append(tc.calls, "--no-install-recommends "+installed+"\npolicy 101 noninteractive\n")...)
			if n := strings.Count(calls, " update\n"); n != 1 {
				t.Errorf("%d updates:\n%s", n, calls)
			}
			if strings.Contains(calls, "knot") || strings.Contains(calls, "unbound") {
				t.Errorf("touched what was installed before:\n%s", calls)
			}
			if !ok {
				t.Errorf("did not end well:\n%s", printed)
			}
			if m.hasPolicy() {
				t.Error("left its policy-rc.d behind")
			}
		})
	}
}

func TestKeepsPolicy(t *testing.T) {
	m := newMachine(t, "0")
	m.withPeers("nsd")
	m.withApt("bin/nsd")
	m.program("usr/sbin/policy-rc.d", "exit 104")
	printed, calls, ok := m.run()
	contains(t, "calls", calls, "policy 104")
	if !ok || !m.hasPolicy() {
		t.Errorf("ended well: %v, policy-rc.d there: %v\n%s", ok, m.hasPolicy(), printed)
	}
}

// What only the benchmarks look at is installed apart, and nobody requires it.
func TestExtras(t *testing.T) {
	m := newMachine(t, "0")
	m.withPeers("nsd", "pdns_server", "gdnsd", pdnsBind)
	m.withApt("bin/nsd", "bin/pdns_server", "bin/gdnsd", pdnsBind)
	m.program("usr/sbin/update-rc.d", `echo "update-rc.d $*" >>"$LOG"`)
	printed, calls, ok := m.run("INTEROP=require")
	contains(t, "printed", printed, "installing nsd gdnsd pdns-backend-bind pdns-server\n", "all are installed")
	contains(t, "calls", calls, "--no-install-recommends nsd\npolicy 101 noninteractive\n", "--no-install-recommends gdnsd pdns-backend-bind pdns-server\npolicy 101", "update-rc.d nsd disable\n")
	if !ok || strings.Count(calls, " update\n") != 1 || strings.Contains(calls, "rc.d gdnsd") || strings.Contains(calls, "rc.d pdns") {
		t.Errorf("ended well: %v; calls:\n%s", ok, calls)
	}

	m = newMachine(t, "0")
	m.withPeers("nsd", "gdnsd")
	m.program("bin/apt-get", `case "$*" in *gdnsd*) exit 100 ;; *nsd*) : >"$PEERS_ROOT/bin/nsd"; chmod 755 "$PEERS_ROOT/bin/nsd" ;; esac`)
	if printed, _, ok = m.run("INTEROP=require"); !ok {
		t.Errorf("a package that cannot be had is a failure:\n%s", printed)
	}
	contains(t, "printed", printed, "the installation failed", "the benchmarks go without gdnsd\n")
	if strings.Contains(printed, "missing") || strings.Contains(printed, "all are installed") {
		t.Errorf("printed:\n%s", printed)
	}
}

func TestInstallationFails(t *testing.T) {
	m := newMachine(t, "0")
	m.withPeers("nsd")
	m.program("bin/apt-get", "exit 100")
	printed, _, ok := m.run()
	contains(t, "printed", printed, "the installation failed", "missing nsd")
	if !ok {
		t.Error("a failure although no peer is required")
	}
	if m.hasPolicy() {
		t.Error("left its policy-rc.d behind")
	}
	if printed, _, ok := m.run("INTEROP=require"); ok {
		t.Errorf("ended well although a peer is required:\n%s", printed)
	}
}
