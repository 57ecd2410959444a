package pslzone

import (
	"os"
	"strings"
	"testing"

	"github.com/trustdns/trustdns/test/server"
)

func TestMain(m *testing.M) { server.Main(m) }

func TestWrite(t *testing.T) {
	const list = `// comment

uk
co.uk
*.ck
!www.ck
公司.cn
cn
co.uk // again
`
	var a, b strings.Builder
	for _, w := range []*strings.Builder{&a, &b} {
		if err := Write(w, strings.NewReader(list), "x.example."); err != nil {
			t.Fatal(err)
		}
	}
	if a.String() != b.String() {
		t.Fatal("two runs differ")
	}
	for _, want := range []string{
		"$ORIGIN x.example.\n", "\nuk TXT ", "\nco.uk NS ", "\n*.ck A ", "\nwww.ck A ", "\nxn--55qx5d.cn NS ", "\ncn TXT ",
	} {
		if !strings.Contains(a.String(), want) {
			t.Errorf("no %q in:\n%s", want, a.String())
		}
	}
	if strings.Contains(a.String(), "\nuk NS") || strings.Contains(a.String(), "\nck NS") {
		t.Errorf("a suffix with others below it is delegated:\n%s", a.String())
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, list := range []string{"", "// nothing\n", "a..b\n", strings.Repeat("a", 64) + ".example\n"} {
		if err := Write(new(strings.Builder), strings.NewReader(list), "x.example."); err == nil {
			t.Errorf("%.20q is taken", list)
		}
	}
}

func TestInstalledList(t *testing.T) {
	server.RequireFile(t, List, Debian)
	text, err := os.ReadFile(File(t))
	if err != nil {
		t.Fatal(err)
	}
	cuts := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if owner, rest, _ := strings.Cut(line, " "); strings.HasPrefix(rest, "NS ") && owner != "@" {
			cuts[owner] = true
		}
	}
	if len(cuts) < 8000 {
		t.Errorf("%d delegations", len(cuts))
	}
	t.Logf("%d delegations, %d octets", len(cuts), len(text))
}
