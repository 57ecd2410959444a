//go:build !linux

package authority

// interrupt does nothing here.
func interrupt() {}
