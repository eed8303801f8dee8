//go:build vm

package mount

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAnUpperDirectoryInUseIsSeen looks at the upper directory of an overlay that no mount table
// shows any more, and that a descriptor keeps.
func TestAnUpperDirectoryInUseIsSeen(t *testing.T) {
	m := makeOverlay(t)
	upper, target := filepath.Join(m.Dir, "upper"), filepath.Join(m.Dir, m.Target)
	requireUse := func(want bool) {
		t.Helper()
		used, err := IsUpperInUse(upper)
		must(t, err)
		if used != want {
			t.Errorf("%s is in use: %t, want %t", upper, used, want)
		}
	}
	requireUse(false)
	entries, err := os.ReadDir(upper)
	must(t, err)
	if len(entries) > 0 {
		t.Errorf("looking left %v", entries)
	}
	var names [512]byte
	if n, err := unix.Llistxattr(upper, names[:]); err != nil || n > 0 {
		t.Errorf("looking left the attributes %q, %v", names[:max(n, 0)], err)
	}
	must(t, m.Do())
	requireUse(true)
	held, err := os.Open(target)
	must(t, err)
	must(t, Detach(target))
	requireUse(true)
	must(t, held.Close())
	for used, err := IsUpperInUse(upper); used || err != nil; used, err = IsUpperInUse(upper) {
		must(t, err) // the file system ends after the last descriptor
	}
	if _, err := IsUpperInUse(filepath.Join(upper, "none")); err == nil {
		t.Error("a missing directory was looked at")
	}
}
