package zonefile

import (
	"strings"
	"testing"
)

// The expected records are those of BIND's named-compilezone but where the name
// of the case says otherwise.
func TestGenerate(t *testing.T) {
	for _, c := range []struct {
		name string
		line string
		want []string
	}{
		{"A", "$GENERATE 1-3 h$ A 192.0.2.$", []string{"h1 300 A 192.0.2.1", "h2 300 A 192.0.2.2", "h3 300 A 192.0.2.3"}},
		{"small letters", "$generate 1-1 h$ a 192.0.2.$", []string{"h1 300 A 192.0.2.1"}},
		{"step", "$GENERATE 1-6/2 h$ A 192.0.2.$", []string{"h1 300 A 192.0.2.1", "h3 300 A 192.0.2.3", "h5 300 A 192.0.2.5"}},
		{"great step", "$GENERATE 0-2147483647/2147483647 h$ A 192.0.2.1", []string{"h0 300 A 192.0.2.1", "h2147483647 300 A 192.0.2.1"}},
		{"TTL and class", "$GENERATE 1-1 h$ 60 IN A 192.0.2.$", []string{"h1 60 A 192.0.2.1"}},
		{"class and TTL", "$GENERATE 1-1 h$ IN 1h A 192.0.2.$", []string{"h1 3600 A 192.0.2.1"}},
		{"owner without a counter", "$GENERATE 1-2 @ A 192.0.2.$", []string{"@ 300 A 192.0.2.1", "@ 300 A 192.0.2.2"}},
		{"CNAME", "$GENERATE 1-1 $ CNAME $.sub", []string{"1 300 CNAME 1.sub.example.org."}},
		{"AAAA in hex", "$GENERATE 254-255 h$ AAAA 2001:db8::${0,0,x}", []string{"h254 300 AAAA 2001:db8::fe", "h255 300 AAAA 2001:db8::ff"}},
		{"quoted right-hand side", `$GENERATE 1-1 h$ MX "10 mail$"`, []string{"h1 300 MX 10 mail1.example.org."}},
		{"quotes are no string", `$GENERATE 1-1 h$ TXT "a $"`, []string{`h1 300 TXT "a" "1"`}},
		{"string within quotes", `$GENERATE 1-1 h$ CAA "0 issue \"a;b $\""`, []string{`h1 300 CAA 0 issue "a;b 1"`}},
		{"several words (BIND refuses)", "$GENERATE 1-1 h$ MX 10 mail$ ; x", []string{"h1 300 MX 10 mail1.example.org."}},
		{"several strings (BIND refuses)", `$GENERATE 1-1 h$ TXT "a $" "b"`, []string{`h1 300 TXT "a 1" "b"`}},
		{"strings side by side (BIND refuses)", `$GENERATE 1-1 h$ TXT "a $""b"`, []string{`h1 300 TXT "a 1" "b"`}},
		{"generic form", `$GENERATE 1-1 h$ TYPE65400 "\# 1 0$"`, []string{`h1 300 TYPE65400 \# 1 01`}},
		{"parser of miekg/dns", `$GENERATE 1-1 h$ HTTPS "1 t$ port=$"`, []string{`h1 300 HTTPS 1 t1.example.org. port="1"`}},
		{"parentheses", "$GENERATE 1-1 ( h$\nA 192.0.2.$ )", []string{"h1 300 A 192.0.2.1"}},

		{"escaped and doubled $", `$GENERATE 1-1 e\$x$$y$ TXT \$a$$b$`, []string{`e$x$y1 300 TXT "$a$b1"`}},
		{"escaped backslash", `$GENERATE 1-1 x\\$ A 192.0.2.1`, []string{`x\\1 300 A 192.0.2.1`}},
		{"offset", "$GENERATE 1-1 h${5} A 192.0.2.${+5}", []string{"h6 300 A 192.0.2.6"}},
		{"negative offset", "$GENERATE 10-10 h${-3} A 192.0.2.1", []string{"h7 300 A 192.0.2.1"}},
		{"below zero", "$GENERATE 1-1 h${-3,4,d} A 192.0.2.1", []string{"h-002 300 A 192.0.2.1"}},
		{"offset holds for one $ only (BIND: for those behind it)", "$GENERATE 1-1 a${5}b$ A 192.0.2.1", []string{"a6b1 300 A 192.0.2.1"}},
		{"width", "$GENERATE 10-10 h${0,3} A 192.0.2.1", []string{"h010 300 A 192.0.2.1"}},
		{"decimal", "$GENERATE 10-10 h${0,3,d} A 192.0.2.1", []string{"h010 300 A 192.0.2.1"}},
		{"octal", "$GENERATE 9-9 h${0,4,o} A 192.0.2.1", []string{"h0011 300 A 192.0.2.1"}},
		{"hex", "$GENERATE 10-10 h${-3,4,x}-${0,0,x} A 192.0.2.1", []string{"h0007-a 300 A 192.0.2.1"}},
		{"hex in capitals", "$GENERATE 255-255 h${0,4,X} A 192.0.2.1", []string{"h00FF 300 A 192.0.2.1"}},
		{"nibbles", "$GENERATE 300-300 h${0,0,n} A 192.0.2.1", []string{"hc.2.1 300 A 192.0.2.1"}},
		{"nibbles in capitals", "$GENERATE 300-300 h${0,0,N} A 192.0.2.1", []string{"hC.2.1 300 A 192.0.2.1"}},
		{"nibbles of 0", "$GENERATE 0-0 h${0,0,n} A 192.0.2.1", []string{"h0 300 A 192.0.2.1"}},
		{"nibbles with a width", "$GENERATE 1-1 h${0,7,n} A 192.0.2.1", []string{"h1.0.0.0 300 A 192.0.2.1"}},
		{"nibbles with an even width", "$GENERATE 1-1 h${0,8,n}x${0,2,n}y A 192.0.2.1", []string{"h1.0.0.0.x1.y 300 A 192.0.2.1"}},
		{"nibbles wider than asked for", "$GENERATE 300-300 h${0,1,n} A 192.0.2.1", []string{"hc.2.1 300 A 192.0.2.1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := scanText(t, strings.NewReader("$TTL 300\n"+c.line+"\n"))
			if err != nil {
				t.Error(err)
			}
			for i, g := range got {
				owner, rest, _ := strings.Cut(g, " ")
				if owner = strings.TrimSuffix(owner, "example.org."); owner == "" {
					owner = "@."
				}
				got[i] = strings.TrimSuffix(strings.ReplaceAll(owner, `\$`, "$"), ".") + " " + rest
			}
			same(t, got, c.want...)
		})
	}
}

func TestGenerateErrors(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"range without end", "1 h$ 1 A 192.0.2.1", `$GENERATE: "1": ` + errRange.Error()},
		{"range backwards", "5-1 h$ 1 A 192.0.2.1", `$GENERATE: "5-1": ` + errRange.Error()},
		{"step 0", "0-1/0 h$ 1 A 192.0.2.1", `$GENERATE: "0-1/0": ` + errRange.Error()},
		{"negative range", "-1-1 h$ 1 A 192.0.2.1", `$GENERATE: "-1-1": ` + errRange.Error()},
		{"range above 2^31-1", "0-2147483648/2147483647 h$ 1 A 192.0.2.1", `$GENERATE: "0-2147483648/2147483647": ` + errRange.Error()},
		{"too many", "0-1048576 h$ 1 A 192.0.2.1", `$GENERATE: "0-1048576": more than 1048576 records`},
		{"without owner", "1-2", `$GENERATE: the owner is missing`},
		{"owner in quotes", `1-2 "h$" A 192.0.2.1`, `$GENERATE: "h$" where a name must be`},
		{"without type", "1-2 h$", `$GENERATE: the type is missing`},
		{"without RDATA", "1-2 h$ 1 A", `$GENERATE: the RDATA is missing`},
		{"class CH", "1-2 h$ CH TXT a", `class: CH, only IN is served`},
		{"unknown base", "0-0 h${0,5,q} 1 A 192.0.2.1", `$GENERATE: "${0,5,q}": ` + errModifier.Error()},
		{"modifier without end", "0-0 h${0,5,d 1 A 192.0.2.1", `$GENERATE: ` + errModifier.Error()},
		{"empty modifier", "0-0 h${} 1 A 192.0.2.1", `$GENERATE: "${}": ` + errModifier.Error()},
		{"too many modifiers", "0-0 h${0,0,d,d} 1 A 192.0.2.1", `$GENERATE: "${0,0,d,d}": ` + errModifier.Error()},
		{"negative width", "0-0 h${0,-1} 1 A 192.0.2.1", `$GENERATE: "${0,-1}": ` + errModifier.Error()},
		{"width above 255", "0-0 h${0,256} 1 A 192.0.2.1", `$GENERATE: "${0,256}": ` + errModifier.Error()},
		{"negative hex", "0-0 h${-1,0,x} 1 A 192.0.2.1", `$GENERATE: "${-1,0,x}": ` + errNegative.Error()},
		{"bad RDATA at some value", "254-257 h$ 1 A 192.0.2.$", `A: "192.0.2.256" where an IPv4 address must be ($GENERATE at 256)`},
		{"bad owner at some value", "1-2 h..$ 1 A 192.0.2.$", `owner: "h..1": empty label ($GENERATE at 1)`},
		{"no TTL", "1-2 h$ A 192.0.2.$", `TTL: left out, and neither a $TTL nor another TTL is before ($GENERATE at 1)`},
		{"text that grows", "1-2 h$ 1 TXT " + strings.Repeat("${0,255}", 2000), `$GENERATE: the text made is too long`},
		{"quote left open in the text made", `1-1 h$ 1 TXT "\"a"`, `syntax: quoted string without its closing quote in the same line ($GENERATE at 1)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := scanText(t, strings.NewReader("\n$GENERATE "+c.line+"\nz 1 A 192.0.2.1\n"))
			if err == nil {
				t.Fatal("no error")
			}
			if want := "example.org.zone:2: " + c.want; err.Error() != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
			if len(got) == 0 || got[len(got)-1] != "z.example.org. 1 A 192.0.2.1" {
				t.Errorf("the record behind is lost: %q", got)
			}
		})
	}
}

// The owner before $GENERATE stays the last owner.
func TestGenerateKeepsOwner(t *testing.T) {
	got, err := scanText(t, strings.NewReader("a 1 A 192.0.2.1\n$GENERATE 1-1 h$ A 192.0.2.2\n A 192.0.2.3\n"))
	if err != nil {
		t.Error(err)
	}
	same(t, got, "a.example.org. 1 A 192.0.2.1", "h1.example.org. 1 A 192.0.2.2", "a.example.org. 1 A 192.0.2.3")
}
