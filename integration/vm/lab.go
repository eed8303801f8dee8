package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Lab builds and keeps the guests of one suite.
type Lab struct {
	Suite *Suite
	// Cache is the suite's directory; everything in it can be made again.
	Cache string
	uml   umlLab
}

// umlCache is the directory of the User-Mode Linux kernel beside the suites'.
const umlCache = "user-mode-linux"

// Open returns the lab of a suite that the project ships, with the user's
// cache: $XDG_CACHE_HOME/overlayzfs/lab/SUITE, by default below ~/.cache. Its kernel
// for User-Mode Linux is the one that [KernelVariable] names.
func Open(suite string) (*Lab, error) {
	loaded, err := LoadSuite(suite)
	if err != nil {
		return nil, err
	}
	kernel := os.Getenv(KernelVariable)
	if err := checkKernelName(kernel); err != nil {
		return nil, err
	}
	cache, err := cacheHome()
	if err != nil {
		return nil, err
	}
	lab := filepath.Join(cache, "overlayzfs", "lab")
	return &Lab{Suite: loaded, Cache: filepath.Join(lab, suite), uml: umlLab{cache: filepath.Join(lab, umlCache), kernel: kernel}}, nil
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
	suite *Suite
	cache string // of all suites
	root  string
	// The files that boot a stock kernel. They exist once such a machine was prepared.
	kernel, initramfs, probe, modules string
	uml                               umlLab
}

func (l *Lab) guest() *Guest {
	kernel := filepath.Join(l.Cache, stepKernel)
	return &Guest{
		suite:     l.Suite,
		cache:     filepath.Dir(l.Cache),
		root:      filepath.Join(l.Cache, stepImage, "root.img"),
		kernel:    filepath.Join(kernel, "vmlinuz"),
		initramfs: filepath.Join(kernel, "initramfs"),
		probe:     filepath.Join(kernel, "probe"),
		modules:   filepath.Join(kernel, "modules.img"),
		uml:       l.uml,
	}
}

// Prepare makes the guest and whatever a machine of the kind boots, as much of
// it as the cache does not hold, and reports to out. Of two at a time the second
// waits.
//
// With KindAuto that is a stock kernel, if /dev/kvm is there and might run it,
// and then, if it does not, the User-Mode Linux kernel; a host on which that
// cannot be built gets emulation.
func (l *Lab) Prepare(ctx context.Context, kind Kind, out io.Writer) (*Guest, Choice, error) {
	kind, err := ParseKind(string(kind))
	if err == nil {
		kind, err = l.uml.restrict(kind)
	}
	if err != nil {
		return nil, Choice{}, err
	}
	progress := newProgress(out)
	if err := os.MkdirAll(l.Cache, 0o755); err != nil {
		return nil, Choice{}, err
	}
	// Also for a guest that is built: the cache may have come from elsewhere.
	if err := ensureHost(ctx, l.Cache, progress); err != nil {
		return nil, Choice{}, err
	}
	recipe, guest := newRecipe(l.Suite), l.guest()
	if err := l.build(ctx, recipe.image, out, progress); err != nil {
		return nil, Choice{}, err
	}
	stock := kind == KindKVM || kind == KindQEMU || kind == KindAuto && guest.needsProbeKVM(ctx)
	if stock {
		if err := l.build(ctx, recipe.kernel, out, progress); err != nil {
			return nil, Choice{}, err
		}
	}
	failed := ""
	if kind == KindUML || kind == KindAuto && guest.refusal(ctx, KindKVM, guest.probeKVM) != "" {
		if err := l.uml.build(ctx, out, progress); err != nil {
			if kind == KindUML || ctx.Err() != nil {
				return nil, Choice{}, err
			}
			failed = err.Error()
		}
	}
	choice, err := guest.Choose(ctx, kind)
	if err == nil && choice.Kind != KindUML && !stock {
		err = l.build(ctx, recipe.kernel, out, progress)
	}
	if failed != "" {
		choice.Why += ": " + failed
	}
	return guest, choice, err
}

// Packages fetches the suite's packages, unless the cache holds them, and returns the directory of
// the files.
func (l *Lab) Packages(ctx context.Context, out io.Writer) (string, error) {
	if len(l.Suite.Packages) == 0 {
		return "", fmt.Errorf("suite %s names no packages", l.Suite.Name)
	}
	progress := newProgress(out)
	if err := installMissing(ctx, progress); err != nil {
		return "", err
	}
	err := l.build(ctx, newRecipe(l.Suite).packages, out, progress)
	return filepath.Join(l.Cache, stepPackages, packagesDir), err
}

// PrepareSoon is Prepare for the kind of machine that takes the least to build:
// not User-Mode Linux where a stock kernel has to be built anyway, to find out
// about KVM.
func (l *Lab) PrepareSoon(ctx context.Context, out io.Writer) (*Guest, Choice, error) {
	guest := l.guest()
	if l.uml.kernel == "" && !l.uml.isBuilt() && guest.needsProbeKVM(ctx) {
		if guest, choice, err := l.Prepare(ctx, KindKVM, out); err == nil || ctx.Err() != nil {
			return guest, choice, err
		}
		return l.Prepare(ctx, KindQEMU, out)
	}
	return l.Prepare(ctx, KindAuto, out)
}

func (l *Lab) build(ctx context.Context, target *step, out io.Writer, progress *progress) error {
	what := "the " + target.title + " of the " + l.Suite.Name + " guest"
	return buildCached(ctx, l.Cache, target, progress, what, func() error {
		args := buildArgs{what: l.Suite.Name, step: target.name, cache: l.Cache}
		return buildAsRoot(ctx, args, out, func() error { return runSteps(ctx, l.Cache, target, progress) })
	})
}

// buildCached has build make what target's directory in the cache does not
// hold. Of two builds at a time the second waits, and finds it made.
func buildCached(ctx context.Context, cache string, target *step, progress *progress, what string, build func() error) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	if target.current(cache) {
		return nil
	}
	unlock, err := lock(cache, func() { progress.note("waiting for another build of %s", what) })
	if err != nil {
		return err
	}
	defer unlock()
	if target.current(cache) || ctx.Err() != nil {
		return ctx.Err()
	}
	progress.note("building %s in %s (once, some minutes; it can be interrupted)", what, cache)
	return build()
}
