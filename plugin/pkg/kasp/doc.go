// Package kasp decides on the life of a zone's DNSSEC keys: which there are, which are
// published, which sign, which DS the parent is asked for, and when that changes (RFC 6781,
// RFC 7583). It is logic alone: time is an argument, and what is stored, signed or asked is
// the caller's.
//
// # States
//
// A Ring knows of each key where three records of it are: its DNSKEY record, its
// signatures over the data of the zone, its DS record at the parent. Each is hidden,
// rumored, omnipresent or unretentive, which says what caches may have (State). A key with
// the SEP flag signs the DNSKEY RRset exactly as long as it is in it, so that there is no
// state of that. Whether it is a KSK or a CSK is no property of it: it is the latter while
// it signs the data.
//
// A record that is put somewhere is rumored, and after a wait omnipresent; one that is
// taken away is unretentive, and after a wait hidden. The waits, with Dprp for Propagation:
//
//	DNSKEY       Dprp + TTL of DNSKEY + safety; the first: that of negative answers instead, if greater
//	signatures   Dprp + greatest TTL of the zone + safety; where they take the place of others,
//	             from when the last of those were replaced, Dsgn after the new ones began
//	DS           never by the clock alone: from DSSeen or DSGone, ParentPropagation + TTL of DS + safety
//
// DSGone counts only when the parent cannot act any longer on CDS records of before:
// Dprp + TTL of CDS + ParentPropagation after they changed. A TTL is the greatest that a
// cache may know while the wait is on, so that an edit that raises it lengthens the wait, and
// one that lowers it does not shorten it.
//
// # Rules
//
// From two things it follows that every cache can validate, whichever versions of DS,
// DNSKEY and data it has, even a validator that wants a signature of every algorithm:
//
//  1. A DS record that is not hidden has a DNSKEY record that is omnipresent.
//  2. Of each algorithm in the DNSKEY RRset everything in caches is signed by some key, and
//     all keys of the algorithm whose signatures are not hidden have DNSKEY records that are
//     omnipresent, or come or go together with all others of the algorithm.
//
// So records are moved only when these hold afterwards:
//
//   - A key begins to sign in the place of another of its algorithm when its DNSKEY record
//     is omnipresent (pre-publication, RFC 6781 §4.1.1.1).
//   - A DNSKEY record goes when the DS and the signatures of the key are hidden.
//   - A DS is asked for, and that of other keys no longer, when the DNSKEY record is
//     omnipresent (double signature, RFC 6781 §4.1.2) and rule 2 holds. The parent exchanges
//     the one for the other, and the DNSKEY record of the other goes when the parent has the
//     new DS for long enough and the old one no longer.
//   - The DNSKEY records of a new algorithm come, all at once, when its signatures are
//     omnipresent; those of an old one go, all at once, when its DS are hidden, and its
//     signatures when these are (RFC 6781 §4.1.4). An algorithm that leaves comes back
//     only when it has gone.
//   - A zone without DNSKEY records is signed at once; the DS waits as above, which is long
//     enough for caches that have the zone unsigned.
//   - A zone leaves DNSSEC when all DS are hidden: then all goes at once (RFC 8078 §4).
//
// A change of policy halfway changes what is wanted, not the rules: what has been brought in
// is taken back, or left, in the same way.
//
// Remove breaks the rules on purpose, and says what for.
//
// # Time
//
// Times are those of the wall clock. What it does by itself, unlike a clock that cannot be
// set, does not count: all times are put off by it (Plan.Jump). After a restart what
// secondaries may not have had begins to propagate anew.
package kasp
