package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Builder makes a policy of its lines. It is for one goroutine.
type Builder struct {
	typeOf               func(string) (uint16, bool)
	policy               Policy
	netPlace, protoPlace string
}

// NewBuilder gives a builder without lines. The function gives the number of a
// type, whose name it gets in capitals, and false if there is no such type.
func NewBuilder(typeOf func(name string) (typ uint16, ok bool)) *Builder {
	return &Builder{typeOf: typeOf}
}

// Line adds a line, which begins with grant, deny, net or proto; the latter two
// may be given once. The place is where it is written, for people. After an error,
// which says what to write and not where, the builder is as before.
func (b *Builder) Line(words []string, place string) error {
	if len(words) == 0 {
		return errors.New("want grant, deny, net or proto")
	}
	switch words[0] {
	case "grant", "deny":
		e, err := b.parseEntry(words)
		if err != nil {
			return fmt.Errorf("%s: %w", words[0], err)
		}
		e.line = Line{Text: e.String(), Place: place}
		b.policy.entries = append(b.policy.entries, e)
		return nil
	case "net":
		return b.parseNet(words, place)
	case "proto":
		return b.parseProto(words[1:], place)
	default:
		return fmt.Errorf("want grant, deny, net or proto, not %q", words[0])
	}
}

// Policy gives the policy of the lines so far.
func (b *Builder) Policy() *Policy {
	p := b.policy
	p.entries = slices.Clone(p.entries)
	return &p
}

func (b *Builder) parseNet(words []string, place string) error {
	if b.policy.nets.kind != nobody {
		return fmt.Errorf("net: there is such a line already (%s): write all networks into one; for a grant to a network write \"grant net CIDR... RULE\"", b.netPlace)
	}
	id, rest, err := ParseIdentity(words)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return fmt.Errorf("net: %q is not a network; for a grant to a network write \"grant net CIDR... RULE\"", rest[0])
	}
	b.policy.nets, b.netPlace = id, place
	return nil
}

func (b *Builder) parseProto(words []string, place string) error {
	if b.policy.protos != 0 {
		return fmt.Errorf("proto: there is such a line already (%s): write all protocols into one", b.protoPlace)
	}
	var set uint8
	for _, word := range words {
		switch word {
		case "udp":
			set |= 1 << UDP
		case "tcp":
			set |= 1 << TCP
		case "tls":
			set |= 1 << TLS
		default:
			return fmt.Errorf("proto: want udp, tcp or tls, not %q", word)
		}
	}
	if set == 0 {
		return errors.New("proto: want udp, tcp or tls")
	}
	b.policy.protos, b.protoPlace = set, place
	return nil
}

// parseEntry reads a line grant or deny.
func (b *Builder) parseEntry(words []string) (e entry, err error) {
	e.grant = words[0] == "grant"
	if len(words) > 1 && slices.Contains(ruleWords, words[1]) {
		return e, fmt.Errorf("want an IDENTITY before the RULE %q; a key of that name is written with a final dot", words[1])
	}
	var rest []string
	if e.identity, rest, err = ParseIdentity(words[1:]); err != nil {
		return e, err
	}
	if e.rule, rest, err = parseRule(rest); err != nil {
		return e, err
	}
	if e.identity.kind == networks {
		switch {
		case e.rule.isOfSource():
			return e, fmt.Errorf("%s compares IDENTITY with the name of the source address: write \"any\" or a name in place of \"net\", such as *.2.0.192.in-addr.arpa", e.rule)
		case !e.rule.takesName() && e.rule != ruleZonesub:
			return e, fmt.Errorf("%s is about the name of a key, and \"net\" calls none: write a key, or another RULE", e.rule)
		}
	}
	if e.rule.takesName() {
		if rest, err = b.parseNameOf(&e, rest); err != nil {
			return e, err
		}
	}
	if rest, err = b.parseTypes(&e, rest); err != nil {
		return e, err
	}
	return e, parseMax(&e, rest)
}

func parseRule(words []string) (rule, []string, error) {
	if len(words) == 0 {
		return 0, nil, fmt.Errorf("want a RULE after the IDENTITY: one of %s", strings.Join(ruleWords, ", "))
	}
	i := slices.Index(ruleWords, words[0])
	if i < 0 {
		return 0, nil, fmt.Errorf("%q is no RULE: want one of %s", words[0], strings.Join(ruleWords, ", "))
	}
	return rule(i), words[1:], nil
}

// parseNameOf reads the NAME of a rule that takes one.
func (b *Builder) parseNameOf(e *entry, words []string) (rest []string, err error) {
	if len(words) == 0 {
		return nil, fmt.Errorf("%s: want a NAME", e.rule)
	}
	if _, isType := b.typeOf(strings.ToUpper(words[0])); isType || isAny(words[0]) || words[0] == "max" {
		return nil, fmt.Errorf("%s: want a NAME before %q; a name like that is written with a final dot", e.rule, words[0])
	}
	if e.name, err = parseName(words[0]); err != nil {
		return nil, fmt.Errorf("%s: %w", e.rule, err)
	}
	if e.rule == ruleWildcard && !e.name.IsWildcard() {
		return nil, fmt.Errorf("wildcard: %q is none: write \"*.%s\"", words[0], words[0])
	}
	return words[1:], nil
}

// parseTypes reads the TYPEs, up to the word max.
func (b *Builder) parseTypes(e *entry, words []string) (rest []string, err error) {
	for i, word := range words {
		if word == "max" {
			return words[i:], nil
		}
		name := strings.ToUpper(word)
		e.types.words = append(e.types.words, name)
		if isAny(word) {
			e.types.any = true
		} else {
			typ, known := b.typeOf(name)
			bare, _, counted := strings.Cut(word, "(")
			switch {
			case known && !isData(typ):
				return nil, fmt.Errorf("%q is no type of records in zones", word)
			case !known && counted:
				return nil, fmt.Errorf("%q is no TYPE: write %q, and \"max N\" at the end of the line", word, bare)
			case !known && i == 0 && !e.rule.takesName():
				return nil, fmt.Errorf("%s takes no NAME, and %q is no TYPE: leave it out", e.rule, word)
			case !known:
				return nil, fmt.Errorf("%q is no TYPE", word)
			}
			e.types.list = append(e.types.list, typ)
		}
		if e.types.any && i > 0 {
			return nil, errors.New("ANY stands for all types and must stand alone")
		}
	}
	return nil, nil
}

func isAny(word string) bool { return strings.EqualFold(word, "any") }

// parseMax reads the end of the line.
func parseMax(e *entry, words []string) error {
	switch {
	case len(words) == 0:
		return nil
	case !e.grant:
		return errors.New("max is for grant: what is denied has no number")
	case len(words) == 1:
		return errors.New("max: want a number of records")
	case len(words) > 2:
		return fmt.Errorf("max N ends the line: write %q before it", words[2])
	}
	n, err := strconv.ParseUint(words[1], 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("max: want a number of records from 1 to 65535, not %q", words[1])
	}
	e.max = int(n)
	return nil
}
