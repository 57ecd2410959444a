package bundle

import (
	"fmt"
	"slices"
	"sync"

	"github.com/coredns/coredns/core/dnsserver"
)

// A place says where one directive stands in the chain: directly in front of
// the directive named by before. When several stand in front of the same one,
// they keep the order of the table.
type place struct {
	directive string
	before    string
	reason    string
}

// places holds our own directives.
var places = []place{
	{
		directive: "cookie",
		before:    "errors",
		reason: "Directly behind prometheus, which counts what it answers itself, and in front of all that answers: its option goes into " +
			"every response, those of errors and refusals too, and into the OPT record before keys or tsig sign. In front of what limits " +
			"responses, which spares clients with a valid cookie.",
	},
	{
		directive: "ratelimit",
		before:    "errors",
		reason: "In front of everything that answers or refuses, so that no response passes it unseen: those from cache, any and chaos, those that " +
			"rewrite changes, and refusals that plugins return as a code, which it writes itself. " +
			"Behind prometheus, which counts what it sends in place of answers, and behind cookie, which tells it what the cookie of a request is worth " +
			"and puts one into what it sends.",
	},
	{
		directive: "keys",
		before:    "tsig",
		reason: "In front of everything that answers from data or decides who may ask, which go by the identity that it finds. " +
			"Directly in front of tsig, which is given the requests that are signed by its own keys, and whose secrets ours are added to " +
			"when its setup is done. Behind what logs and counts, so that refused signatures are seen there.",
	},
	{
		directive: "authority",
		before:    "hosts",
		reason: "Behind transfer, which intercepts AXFR and IXFR and asks us for the data; behind everything that " +
			"changes or limits questions and answers (tsig, rewrite, acl, cache, dnssec, minimal), so that our answers are " +
			"treated as those of any other data plugin. " +
			"Behind dynupdate, which serves one zone named on purpose while authority covers the whole block unless told " +
			"otherwise: the narrower claim is asked first, or authority would refuse the names and the updates of dynupdate's zone. " +
			"In front of hosts and all other sources of names, because they are what authority falls through to.",
	},
	{
		directive: "update",
		before:    "authority",
		reason: "Behind keys and tsig, which say who has signed, and behind acl, which may refuse before us. " +
			"Directly in front of authority, whose zones it changes; what is not an update of one of its zones goes on to it.",
	},
	{
		directive: "fastpath",
		before:    "prometheus",
		reason: "In the chain it does nothing. It is set up behind shed, so that it sees who else has taken the sockets, and stands in front of " +
			"prometheus, which names the plugin behind it as the one that has responded.",
	},
}

// added holds the directives of the build's -with flags; the file that the
// build lays over this package appends to it.
var added []place

// Install makes CoreDNS run the plugins in upstream's order with ours, and
// those of -with, at their places. It must be called before the first server
// starts. Further calls change nothing and return the result of the first.
func Install() error { return install() }

var install = sync.OnceValue(func() error {
	list, err := order(dnsserver.Directives, slices.Concat(places, added))
	if err != nil {
		return err
	}
	return dnsserver.SetDirectives(list)
})

// order returns upstream's list with each of the places inserted, in turn. A
// place may refer to one before it in the slice.
func order(upstream []string, places []place) ([]string, error) {
	list := slices.Clone(upstream)
	for _, p := range places {
		if slices.Contains(list, p.directive) {
			return nil, fmt.Errorf("directive %q is in the chain already", p.directive)
		}
		i := slices.Index(list, p.before)
		if i < 0 {
			return nil, fmt.Errorf("directive %q is to stand before %q, which is not in the chain", p.directive, p.before)
		}
		list = slices.Insert(list, i, p.directive)
	}
	return list, nil
}
