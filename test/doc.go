// Package test holds the tests of the whole server: the built binary, driven
// over real sockets.
package test
