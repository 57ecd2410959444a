//go:build !linux

package main

import (
	"errors"
	"net/netip"
	"time"
)

// steady needs Linux.
func steady(netip.AddrPort, [][]byte, int, time.Duration) (answered, error) {
	return answered{}, errors.New("this needs Linux")
}
