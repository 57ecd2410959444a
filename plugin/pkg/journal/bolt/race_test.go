//go:build race

package bolt

// raced makes long tests shorter under the race detector.
const raced = true
