//go:build !race

package authority

const raceDetector = false
