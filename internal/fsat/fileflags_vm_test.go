//go:build vm

package fsat

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// setFlags does what chattr(1) does.
func setFlags(t *testing.T, path string, flags int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags); err != nil {
		t.Fatal(path, err)
	}
}

// TestFlagsOfChattrKeepNothing: somebody ran chattr in a container.
func TestFlagsOfChattrKeepNothing(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"layer/etc/x", "layer/log/y", "layer/plain/z"} {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	setFlags(t, at("layer/etc/x"), immutableFlag)
	setFlags(t, at("layer/log/y"), appendFlag)
	for name, flags := range map[string]int{"layer/etc": immutableFlag, "layer/log": appendFlag, "layer": immutableFlag} {
		setFlags(t, at(name), flags)
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, want := range map[string]string{"layer": "i", "plain": ""} {
		in := int(root.Fd())
		if name == "plain" {
			layer, err := os.Open(at("layer"))
			if err != nil {
				t.Fatal(err)
			}
			defer layer.Close()
			in = int(layer.Fd())
		}
		if got, err := LostFlags(in, name); err != nil || got != want {
			t.Errorf("%s has %q, %v; want %q", name, got, err, want)
		}
	}
	if err := RemoveAll(t.Context(), int(root.Fd()), "layer"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(at("layer")); !os.IsNotExist(err) {
		t.Errorf("it is left: %v", err)
	}
}
