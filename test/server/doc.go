// Package server starts authoritative DNS servers for whole-server tests: this project's own binary, and named,
// knotd, nsd, pdns and gdnsd as peers.
//
// Every server runs in the foreground in a temporary folder of its test, on free ports of 127.0.0.1, reads the zone
// files where they lie, and is ended by its own process id when the test ends. A Start function returns once the
// server answers SOA for each of its zones; otherwise it fails the test and shows the server's log.
//
// A test that needs a program that may be missing says so with [Require]. A package whose tests do so calls [Main]
// from TestMain, which prints how many tests were skipped for that.
package server
