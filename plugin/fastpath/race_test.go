//go:build race

package fastpath

// With the race detector the compiler allocates where it would not otherwise.
const raceDetector = true
