// Package interop compares this project's server with named, knotd and nsd.
//
// All four serve the same master files from test/testdata/zones. The tests ask all of them the same generated questions
// and compare rcode, flags and every section in canonical form, and compare what they transfer.
//
// Where the peers agree, our answer must be theirs. Where they disagree, a variant of the table in variants_test.go must
// say who is right and why. Where we differ from all on purpose, the table says that too.
package interop
