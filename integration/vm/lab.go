package vm

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Lab builds and keeps the guests of one suite.
type Lab struct {
	Suite *Suite
	// Cache is the suite's directory; everything in it can be made again.
	Cache string
}

// Open returns the lab of a suite that the project ships, with the user's
// cache: $XDG_CACHE_HOME/overlayzfs/lab/SUITE, by default below ~/.cache.
func Open(suite string) (*Lab, error) {
	loaded, err := LoadSuite(suite)
	if err != nil {
		return nil, err
	}
	cache, err := cacheHome()
	if err != nil {
		return nil, err
	}
	return &Lab{Suite: loaded, Cache: filepath.Join(cache, "overlayzfs", "lab", suite)}, nil
}

func cacheHome() (string, error) {
	if dir, err := os.UserCacheDir(); err == nil {
		return dir, nil
	}
	// Without HOME, as in some CI shells and units.
	if os.Geteuid() == 0 {
		return "/root/.cache", nil
	}
	return "", errors.New("neither XDG_CACHE_HOME nor HOME is set: no place for the lab's cache")
}

// Guest is a built guest, ready to boot.
type Guest struct {
	suite     *Suite
	cache     string
	kernel    string
	initramfs string
	root      string
}

func (l *Lab) guest() *Guest {
	dir := filepath.Join(l.Cache, stepImage)
	return &Guest{
		suite:     l.Suite,
		cache:     l.Cache,
		kernel:    filepath.Join(dir, "vmlinuz"),
		initramfs: filepath.Join(dir, "initramfs"),
		root:      filepath.Join(dir, "root.img"),
	}
}

// Build makes the guest, or as much of it as the cache does not hold, and
// reports to out. Of two builds at a time the second waits.
func (l *Lab) Build(ctx context.Context, out io.Writer) (*Guest, error) {
	target := buildSteps(l.Suite)
	progress := newProgress(out)
	if err := os.MkdirAll(l.Cache, 0o755); err != nil {
		return nil, err
	}
	// Also for a guest that is built: the cache may have come from elsewhere.
	if err := ensureHost(ctx, l.Cache, progress); err != nil {
		return nil, err
	}
	if target.current(l.Cache) {
		return l.guest(), nil
	}
	unlock, err := lock(l.Cache, func() { progress.note("waiting for another build of %s", l.Suite.Name) })
	if err != nil {
		return nil, err
	}
	defer unlock()
	if target.current(l.Cache) {
		// The other build was ours.
		return l.guest(), nil
	}
	progress.note("building the %s guest in %s (once, about 8 minutes; it can be interrupted)", l.Suite.Name, l.Cache)
	if err := buildAsRoot(ctx, l, out, func() error { return runSteps(ctx, l.Cache, target, progress) }); err != nil {
		return nil, err
	}
	return l.guest(), nil
}
