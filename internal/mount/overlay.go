package mount

import (
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/selinux/go-selinux/label"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// MaxLowers is how many lower directories the kernel stacks (OVL_MAX_STACK,
// fs/overlayfs/params.h, Linux 6.12).
const MaxLowers = 500

// Overlay describes an overlay mount. Paths are relative to Dir.
type Overlay struct {
	Dir    string
	Target string
	Lowers []string // nearest first
	Upper  string   // empty: read-only
	Work   string
	Label  string // SELinux context, empty for none
	// Apart says that the upper directory lies on another file system than the lowers. The
	// mount then gets xino=on. Without it files and directories, and changed and unchanged
	// files, differ in st_dev.
	Apart bool
	// PlainInodes leaves xino off although the upper directory lies apart. Files then have the
	// inode numbers of their file systems, which 32-bit programs can read, and several st_dev.
	PlainInodes bool
	// Volatile says that nothing written is synced, not even by fsync. The kernel leaves
	// work/incompat/volatile in the work directory, and refuses to mount it again before that
	// is removed.
	Volatile bool
	// Off are the names of overlay features to switch off.
	Off []string
}

// Mount returns the Mount of the overlay.
func (o Overlay) Mount() (Mount, error) {
	if err := o.check(); err != nil {
		return Mount{}, err
	}
	m := Mount{Type: "overlay", Source: "overlay", Target: o.Target, Dir: o.Dir}
	for _, feature := range o.Off {
		m.Options = append(m.Options, Option{feature, "off"})
	}
	switch {
	case o.Apart && o.PlainInodes:
		m.Options = append(m.Options, Option{"xino", "off"}) // the module's default may be another
	case o.Apart:
		m.Options = append(m.Options, Option{"xino", "on"})
	}
	m.Options = append(m.Options, Option{"lowerdir", strings.Join(o.Lowers, ":")})
	if o.Upper != "" {
		m.Options = append(m.Options, Option{"upperdir", o.Upper}, Option{"workdir", o.Work})
	}
	if o.Volatile {
		m.Options = append(m.Options, Option{Key: "volatile"})
	}
	if o.Label != "" {
		key, value, _ := strings.Cut(label.FormatMountLabel("", o.Label), "=")
		m.Options = append(m.Options, Option{key, value})
	}
	return m, nil
}

func (o Overlay) check() error {
	if n := len(o.Lowers); n > MaxLowers {
		return fault.NewWithRemedy(fault.LimitReached, "%d lower layers; the kernel stacks at most %d", n, MaxLowers)
	}
	for _, path := range append([]string{o.Upper, o.Work}, o.Lowers...) {
		if IsUnsafePath(path) {
			return fault.New(fault.UnsafeInput, "path %q cannot be an overlay option", path)
		}
	}
	if strings.ContainsAny(o.Label, "\"\x00\n") {
		return fault.New(fault.UnsafeInput, "mount label %q: a quote, a line break or NUL cannot be passed to the kernel", o.Label)
	}
	return nil
}

// IsUnsafePath reports whether a path cannot be part of an overlay's options.
func IsUnsafePath(path string) bool { return strings.ContainsAny(path, ":,\\\x00") }

// unwantedFeatures are the overlay features that tie an upper directory to its lowers;
// layers must stay movable. metacopy is one too, but the kernel does not use it without
// redirect_dir. It is not listed, because BuildKit packs a step's layer from its upper
// directory only if it knows all options of the mount, and it does not know metacopy.
// Otherwise it compares the whole image before and after.
var unwantedFeatures = []string{"index", "redirect_dir"}

// sysfsDir is the directory of a module of the kernel while it is loaded, or built in.
const sysfsDir = "/sys/module/overlay"

// FeaturesToDisable returns the unwanted features that this kernel has. An option that the
// kernel does not know would fail the mount. It loads overlayfs, because a module that is
// not loaded shows no features.
func FeaturesToDisable() ([]string, error) { return featuresToDisable(sysfsDir, loadOverlay) }

// featuresToDisable looks for the features in a module's directory. Where the module cannot
// be seen even after load, it returns all of them: each kernel since Linux 4.13 has them.
func featuresToDisable(module string, load func()) ([]string, error) {
	if !exists(module) {
		load()
	}
	if !exists(module) {
		return slices.Clone(unwantedFeatures), nil
	}
	return knownFeatures(module+"/parameters", unwantedFeatures)
}

// loadOverlay makes the kernel load overlayfs. A kernel that cannot do so has no overlayfs,
// or no fsopen(2), and every mount loads it there.
func loadOverlay() {
	if fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC); err == nil {
		unix.Close(fd)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func knownFeatures(dir string, names []string) ([]string, error) {
	var known []string
	for _, name := range names {
		_, err := os.Stat(dir + "/" + name)
		if err == nil {
			known = append(known, name)
		} else if !os.IsNotExist(err) {
			return nil, err
		}
	}
	return known, nil
}
