package treestack

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// makeLayer makes a layer of paths: "a/" is a directory, "a" a file,
// "a>b" a symlink to b, and "-a" a whiteout.
func makeLayer(t *testing.T, paths ...string) *os.File {
	t.Helper()
	dir := t.TempDir()
	no := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range paths {
		name, target, isLink := strings.Cut(strings.TrimPrefix(p, "-"), ">")
		at := filepath.Join(dir, name)
		no(os.MkdirAll(filepath.Dir(at), 0o755))
		switch {
		case strings.HasPrefix(p, "-"):
			no(unix.Mknod(at, unix.S_IFCHR, 0))
		case strings.HasSuffix(p, "/"):
			no(os.MkdirAll(at, 0o755))
		case isLink:
			no(os.Symlink(target, at))
		default:
			no(os.WriteFile(at, nil, 0o600))
		}
	}
	f, err := os.Open(dir)
	no(err)
	t.Cleanup(func() { f.Close() })
	return f
}

func layers(t *testing.T) []*os.File {
	return []*os.File{
		makeLayer(t, "etc/new", "-etc/gone", "was-dir", "-dead", "now-dir/in"),
		makeLayer(t, "etc/both", "dead/x", "was-dir/x", "now-dir", "lib>/usr/lib", "up>../../etc", "loop>loop"),
		makeLayer(t, "etc/both", "etc/gone", "usr/lib/so", "now-dir/hidden", "file"),
	}
}

func TestNames(t *testing.T) {
	root := Root(layers(t)...)
	for path, want := range map[string][]string{
		".": {"etc", "file", "lib", "loop", "now-dir", "up", "usr", "was-dir"}, "etc": {"both", "new"}, "now-dir": {"in"}, "usr/lib": {"so"},
	} {
		dir := root
		if path != "." {
			for name := range strings.SplitSeq(path, "/") {
				var err error
				if dir, err = dir.Open(name); err != nil {
					t.Fatal(path, err)
				}
				defer dir.Close()
			}
		}
		if got, err := dir.Names(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s shows %q, %v; want %q", path, got, err, want)
		}
	}
	if below, ok := root.Below(); !ok {
		t.Error("nothing is below")
	} else if names, err := below.Names(); err != nil || !slices.Contains(names, "dead") || slices.Contains(names, "new") {
		t.Errorf("below: %q, %v", names, err)
	}
}

// TestPaths: a path leads where a chroot in the overlay would lead.
func TestPaths(t *testing.T) {
	for path, want := range map[string]any{
		"file": 2, "etc/both": 1, "etc/new": 0, "lib/so": 2, "usr/lib/so": 2, "now-dir/in": 0, "up/both": 1, "etc/gone": 0, "dead/x": unix.ENOTDIR,
		"now-dir/hidden": unix.ENOENT, "nowhere/x": unix.ENOENT,
		"was-dir/x": unix.ENOTDIR, "loop/x": unix.ELOOP, "../x": unix.ENOENT,
	} {
		all := layers(t)
		finder := NewFinder(Layer{Dir: all[0], OpenBelow: func() ([]*os.File, error) { return all[1:], nil }})
		e, err := finder.Find(path)
		if layer, ok := want.(int); ok {
			if err != nil || e.Layer != layer {
				t.Errorf("%s is in layer %d, %v; want %d", path, e.Layer, err, layer)
			}
		} else if want := want.(error); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if err := finder.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFindPathFollowsNothing: a symlink is no directory.
func TestFindPathFollowsNothing(t *testing.T) {
	root := Root(layers(t)...)
	for path, want := range map[string]error{"lib/so": unix.ENOTDIR, "etc/gone": unix.ENOENT, "usr/lib/so": nil, "file": nil} {
		dir, e, err := root.FindPath(path)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			if e.Layer != 2 {
				t.Errorf("%s is in layer %d", path, e.Layer)
			}
			dir.Close()
		}
	}
}
