//go:build !linux

package server

import "os/exec"

// spawn starts a command.
func spawn(cmd *exec.Cmd) error { return cmd.Start() }
