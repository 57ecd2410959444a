package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// commitOf returns the first twelve digits of the commit that the tree is made
// from, followed by "-dirty" when files differ from it. A tree without a
// repository of its own is taken for an archive: git archive, and with it every
// site that offers tarballs, writes the commit into build/commit.txt. A tree
// that is neither is of commit "unknown".
func commitOf(root string) string {
	git := func(args ...string) (string, bool) {
		cmd := exec.Command("git", append([]string{"-C", root}, args...)...)
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err == nil
	}
	if _, err := os.Stat(filepath.Join(root, ".git")); err == nil {
		if head, ok := git("rev-parse", "--verify", "HEAD"); ok && len(head) >= 12 {
			commit := head[:12]
			if changes, ok := git("status", "--porcelain"); !ok || changes != "" {
				commit += "-dirty"
			}
			return commit
		}
	}
	if data, err := os.ReadFile(filepath.Join(root, "build", "commit.txt")); err == nil {
		if head := strings.TrimSpace(string(data)); len(head) >= 12 && strings.Trim(head, "0123456789abcdef") == "" {
			return head[:12]
		}
	}
	return "unknown"
}
