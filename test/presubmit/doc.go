// Package presubmit holds the rules of the house as tests: who imports whom,
// what things are called, what must be documented. Its code is in test files.
//
// Each rule is a function that returns complaints about a tree, so that one
// test feeds it our tree and another a bad one.
package presubmit
