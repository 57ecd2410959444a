//go:build !race

package onlinesign_test

const raceDetector = false
