//go:build race

package onlinesign_test

// raceDetector has sync.Pool forget things.
const raceDetector = true
