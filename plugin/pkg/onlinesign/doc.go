// Package onlinesign signs answers as they are made, for zones that hold no signatures:
// RRSIGs over what the answer has, and compact proofs of what there is not (RFC 9824)
// that tell exactly the types that a name has. A record whose content depends on who
// asks gets its signatures here too, be the rest of its zone signed beforehand or not.
//
// A transfer of such a zone has no signatures: a secondary that is to give some needs the
// keys.
//
// A proof is one NSEC record of the name asked about, whether it exists or not; an NSEC3
// variant is not made. What was signed is kept in a Table of fixed size, as is how many
// signatures are made at a time: beyond that there is an error, and no queue that grows.
package onlinesign
