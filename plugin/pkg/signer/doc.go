// Package signer keeps zones signed (RFC 4033 to 4035, 5155): keys, RRSIGs, and the
// NSEC or NSEC3 chain. A Signer changes a zone.Txn that others have edited so that
// it is a signed zone again, and looks only at the names that were edited and their
// neighbors in the chain. What it makes is derived from the records alone: signing
// what was edited and signing everything anew give the same but for the signatures.
//
// What stands in the zone says how it was signed. If that is not how it is to be
// signed, all names are looked at, and signatures that are good stay.
//
// Time is an argument, the life of keys is the caller's, and how a zone is published
// is not known here.
package signer
