package images

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// ReadImage describes an image as the processes of a container see it.
func ReadImage(e *engine.Engine, image string) (*treecmp.Tree, error) {
	busybox, err := FindBusybox()
	if err != nil {
		return nil, err
	}
	id, err := e.Try("run", "-d", "--network", "none", "--user", "0", "-v", busybox+":/busybox:ro", "--entrypoint", "/busybox", image, "sleep", "1000000")
	if err != nil {
		return nil, err
	}
	tree, err := ReadContainer(e, id)
	_, rmErr := e.Try("rm", "-f", id)
	return tree, errors.Join(err, rmErr)
}

// ReadContainer describes a running container, without the file systems that are
// mounted in it.
func ReadContainer(e *engine.Engine, container string) (*treecmp.Tree, error) {
	c, err := e.InspectContainer(container)
	if err != nil {
		return nil, err
	}
	pid := strconv.Itoa(c.State.Pid)
	table, err := inguest.ReadMounts(pid)
	if err != nil {
		return nil, err
	}
	var mounts []string
	for _, m := range table {
		if m.Target != "/" {
			mounts = append(mounts, strings.TrimPrefix(m.Target, "/"))
		}
	}
	return treecmp.FromDir("/proc/"+pid+"/root", mounts...)
}

// engineFiles are the files that an engine adds to each container, and its mount
// points.
var engineFiles = []string{
	".dockerenv", "busybox", "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab",
}

// RequireSame fails the test when two trees differ.
func RequireSame(t testing.TB, what string, a, b *treecmp.Tree, o treecmp.Options) {
	t.Helper()
	if a == nil || b == nil {
		t.Fatalf("%s: a tree is missing", what)
	}
	if len(a.Entries) < 50 {
		t.Errorf("%s: a tree of %d entries proves nothing", what, len(a.Entries))
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

// mountParents are directories in which the engine makes mount points, and so changes
// their times.
var mountParents = []string{".", "etc", "dev", "proc", "sys"}

// MountedOptions returns the options for trees of containers.
func MountedOptions(o treecmp.Options) treecmp.Options {
	o.Ignore, o.LooseTimes = engineFiles, mountParents
	return o
}

// LayerOptions are the options for a mounted tree and its layers. Only times of
// directories that the engine writes to may differ.
var LayerOptions = MountedOptions(treecmp.Options{MTimes: true})
