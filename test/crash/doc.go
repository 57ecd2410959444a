// Package crash kills servers while zones change, and looks at what is left.
//
// The books tell which versions were asked for, in their order, which of them were acknowledged or seen, and under which
// serials. After each kill the server starts again without the master file, so that it has nothing but its store, and what it
// serves must be one of the versions that were asked for, as a whole; none that is older than what was acknowledged or seen;
// under a serial that was never another version's; and with the history from every serial there was.
//
// A trial is a zone whose file is edited: its versions are those of the whole zone. A storm is a zone that many clients
// update: each has names of its own, and versions of these, as only it knows what must be there; a few names are changed by all
// of them, by compare and swap. Records with leases have a fate instead, as they go by themselves: until when they must be
// there, and from when on they must not.
//
// A storm goes on for many rounds on one store: 20, or as many as -rounds says ("make crash": 200). What happens
// in which round is decided by -seed, which a failure names; when requests meet is not.
package crash
