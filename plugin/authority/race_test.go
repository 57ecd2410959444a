//go:build race

package authority

// With the race detector the compiler allocates where it would not otherwise.
const raceDetector = true
