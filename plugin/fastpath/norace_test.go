//go:build !race

package fastpath

const raceDetector = false
