//go:build vm

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// must ends the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until check passes. Nothing is asserted about how soon.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("it still fails: %v", err)
		case <-poll.C:
		}
	}
}

// atOnce runs the functions at the same time and joins what they return.
func atOnce(functions ...func() error) error {
	errs := make([]error, len(functions))
	var wg sync.WaitGroup
	for i, f := range functions {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// imageLab is an engine on the plugin beside one on vfs.
type imageLab struct {
	ours, vfs *engine.Engine
	dataset   string
	store     string    // our layers, as the host sees them
	used      int64     // the dataset's size without layers
	start     time.Time // older than all that the tests make
	dir       string    // for archives
	built     map[string]bool
}

func newImageLab(t *testing.T) *imageLab {
	t.Helper()
	l := &imageLab{dataset: "tank/images", dir: onDisk(t), start: time.Now().Add(-time.Minute), built: make(map[string]bool)}
	l.vfs = engine.Start(t, engine.Options{Root: onDisk(t), Driver: "vfs"})
	l.ours = engine.StartOnPlugin(t, engine.Options{Root: onDisk(t)}, l.dataset)
	l.store = storeOf(t, l.dataset)
	l.used = usedBy(t, l.dataset)
	must(t, l.each(func(e *engine.Engine) error { return importFrom(e, "odds", writeOdds) }))
	return l
}

// onDisk is a directory on the root disk, where vfs copies fastest.
func onDisk(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "images-")
	must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// each does the same with both engines at once.
func (l *imageLab) each(do func(e *engine.Engine) error) error {
	return atOnce(func() error { return wrapped("ours", do(l.ours)) }, func() error { return wrapped("vfs", do(l.vfs)) })
}

func wrapped(who string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	return nil
}

// storeOf is where the host sees the dataset.
func storeOf(t testing.TB, dataset string) string {
	t.Helper()
	out, err := exec.Command("findmnt", "-n", "-o", "TARGET", "-S", dataset).CombinedOutput()
	if err != nil {
		t.Fatalf("findmnt %s: %v\n%s", dataset, err, out)
	}
	store, _, _ := strings.Cut(string(out), "\n")
	return store
}

// usedBy is the space of a dataset once everything that was freed is free.
func usedBy(t testing.TB, dataset string) int64 {
	t.Helper()
	var used int64
	for _, args := range [][]string{{"zpool", "sync"}, {"zfs", "get", "-Hpo", "value", "used", dataset}} {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		_, _ = fmt.Sscan(string(out), &used) // the first prints nothing
	}
	return used
}

// builder is a way to build: its name, and what chooses it.
type builder struct{ name, env string }

var (
	classic  = builder{"classic", "DOCKER_BUILDKIT=0"}
	buildKit = builder{"buildkit", "DOCKER_BUILDKIT=1"}
)

func (b builder) build(e *engine.Engine, image, dir string, options ...string) error {
	args := append([]string{"build", "--network", "none", "-t", image}, options...)
	cmd := e.Command(append(args, dir)...)
	cmd.Env = append(cmd.Env, b.env, "BUILDKIT_PROGRESS=plain")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s with the %s builder: %w\n%s", image, b.name, err, out)
	}
	return nil
}

// archive saves an image and opens what comes out. Every layer must have the
// digest it is recorded with.
func (l *imageLab) archive(e *engine.Engine, image string) (*treecmp.Image, string, error) {
	path := filepath.Join(l.dir, fmt.Sprintf("%s-%s.tar", e.Driver, strings.NewReplacer(":", "-", "/", "-").Replace(image)))
	if _, err := e.Try("save", "-o", path, image); err != nil {
		return nil, "", err
	}
	saved, err := treecmp.OpenImage(path)
	if err != nil {
		return nil, "", err
	}
	if err := saved.Verify(); err != nil {
		return nil, "", errors.Join(fmt.Errorf("image %s of driver %s: %w", image, e.Driver, err), saved.Close())
	}
	return saved, path, nil
}

// mountedTree describes an image as the processes of a container see it.
func mountedTree(e *engine.Engine, image string) (*treecmp.Tree, error) {
	busybox, err := still()
	if err != nil {
		return nil, err
	}
	id, err := e.Try("run", "-d", "--network", "none", "--user", "0", "-v", busybox+":/busybox:ro", "--entrypoint", "/busybox", image, "sleep", "1000000")
	if err != nil {
		return nil, err
	}
	tree, err := containerTree(e, id)
	_, rmErr := e.Try("rm", "-f", id)
	return tree, errors.Join(err, rmErr)
}

// containerTree describes a running container. What is mounted in it is no
// part of it.
func containerTree(e *engine.Engine, container string) (*treecmp.Tree, error) {
	pid, err := e.Try("inspect", "-f", "{{.State.Pid}}", container)
	if err != nil {
		return nil, err
	}
	table, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []string
	for line := range strings.Lines(string(table)) {
		if place := strings.Fields(line)[4]; place != "/" {
			mounts = append(mounts, strings.TrimPrefix(place, "/"))
		}
	}
	return treecmp.FromDir("/proc/"+pid+"/root", mounts...)
}

// engineOwn is what an engine puts into each container, or mounts over.
var engineOwn = []string{
	".dockerenv", "busybox", "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab",
}

// same fails the test when two trees differ.
func same(t testing.TB, what string, a, b *treecmp.Tree, o treecmp.Options) {
	t.Helper()
	if a == nil || b == nil {
		t.Fatalf("%s: a tree is missing", what)
	}
	if len(a.Entries) < 50 {
		t.Errorf("%s: a tree of %d entries shows nothing", what, len(a.Entries))
	}
	differences := treecmp.Compare(a, b, o)
	const most = 60
	if n := len(differences); n > most {
		differences = append(differences[:most], fmt.Sprintf("and %d more", n-most))
	}
	if len(differences) > 0 {
		t.Errorf("%s:\n%s", what, strings.Join(differences, "\n"))
	}
}
