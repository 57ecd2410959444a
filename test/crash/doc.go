// Package crash kills servers while zones change, and looks at what is left.
//
// A trial keeps the books about one zone: which versions were asked for, in their order, which of them were acknowledged
// or seen, and under which serials. After each kill the server starts again without the master file, so that it has
// nothing but its store, and its zone must be one of the versions that were asked for, as a whole; none that is older than
// what was acknowledged or seen; under a serial that was never another version's; and with the history from every serial
// there was.
package crash
