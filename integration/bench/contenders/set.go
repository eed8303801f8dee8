package contenders

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/docker/docker/daemon/graphdriver"
	_ "github.com/docker/docker/daemon/graphdriver/overlay2" // a peer
	_ "github.com/docker/docker/daemon/graphdriver/zfs"      // a peer

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// Set holds the contenders that have been opened.
type Set struct {
	pool, dir string
	all       map[string]*Contender
}

// New returns a set on a pool. It mounts stores below dir.
func New(pool, dir string) *Set {
	return &Set{pool: pool, dir: dir, all: map[string]*Contender{}}
}

// recipe says how a contender is made.
type recipe struct {
	slug string // in datasets' names
	sync string // of its dataset; empty for a store on tmpfs
	open func(c *Contender) error
}

var recipes = map[string]recipe{
	result.Ours:                 {"ours", "standard", (*Contender).startPlugin},
	result.OursDisabled:         {"ours-disabled", "disabled", (*Contender).startPlugin},
	result.OursInProcess:        {"ours-in-process", "standard", (*Contender).openOurs},
	result.ZFS:                  {"zfs", "standard", openMobyDriver("zfs")},
	result.Overlay2:             {"overlay2", "standard", openMobyDriver("overlay2")},
	result.Overlay2Dis:          {"overlay2-disabled", "disabled", openMobyDriver("overlay2")},
	result.Overlay2Tmpfs:        {"overlay2-tmpfs", "", openMobyDriver("overlay2")},
	result.Snapshotter:          {"snapshotter", "standard", (*Contender).startSnapshotter},
	result.SnapshotterInProcess: {"snapshotter-in-process", "standard", (*Contender).openSnapshotter},
	result.ContainerdOverlayfs:  {"containerd-overlayfs", "standard", (*Contender).openOverlayfs},
	result.ContainerdZFS:        {"containerd-zfs", "standard", (*Contender).openZFS},

	result.GNU: {"gnu", "standard", func(*Contender) error { return nil }},
}

// Contender returns the contender of a name, and opens it the first time.
func (s *Set) Contender(name string) (*Contender, error) {
	if c, ok := s.all[name]; ok {
		return c, nil
	}
	b, ok := recipes[name]
	if !ok {
		return nil, fmt.Errorf("no contender %q", name)
	}
	c, err := s.open(name, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.all[name] = c
	return c, nil
}

// OpenSecond opens another contender of the same kind, with a new store. The caller
// closes it.
func (s *Set) OpenSecond(name, slug string) (*Contender, error) {
	b := recipes[name]
	b.slug = slug
	return s.open(name, b)
}

func (s *Set) open(name string, b recipe) (*Contender, error) {
	c := &Contender{Name: name, Root: filepath.Join(s.dir, b.slug), slug: b.slug}
	if err := os.MkdirAll(c.Root, 0o700); err != nil {
		return nil, err
	}
	mount := []string{"-t", "tmpfs", "-o", "size=80%", "tmpfs", c.Root}
	if b.sync != "" {
		c.Dataset = s.pool + "/" + b.slug
		if err := RunCommand("zfs", "create", "-o", "mountpoint=legacy", "-o", "sync="+b.sync, c.Dataset); err != nil {
			return nil, err
		}
		// mount(8) ignores the dataset's atime.
		mount = []string{"-t", "zfs", "-o", "noatime", c.Dataset, c.Root}
	}
	if err := RunCommand("mount", mount...); err != nil {
		return nil, err
	}
	return c, b.open(c)
}

// ListOpened lists the contenders that have been opened.
func (s *Set) ListOpened() []*Contender {
	var opened []*Contender
	for _, c := range s.all {
		opened = append(opened, c)
	}
	return opened
}

// Close closes the contenders. Their stores remain until the machine ends.
func (s *Set) Close() error {
	var errs []error
	for _, c := range s.all {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func openMobyDriver(driver string) func(c *Contender) error {
	return func(c *Contender) (err error) {
		c.Driver, err = graphdriver.GetDriver(driver, nil, graphdriver.Options{Root: c.Root})
		return err
	}
}

// RunCommand runs a program and ignores its output, which only an error contains.
func RunCommand(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
