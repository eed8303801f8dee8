package containerdstore

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
)

// knownRoots are the roots of containerds that distributions and Kubernetes' variants run.
var knownRoots = []string{
	"/var/lib/containerd",
	"/var/lib/rancher/k3s/agent/containerd",
	"/var/lib/rancher/rke2/agent/containerd",
	"/var/lib/k0s/containerd",
	"/var/snap/microk8s/common/var/lib/containerd",
}

// Candidates returns the directories that may be the root of a containerd: that in the
// configuration file, that of a containerd which dockerd of dataRoot runs, and known ones.
func Candidates(config, dataRoot string) []string {
	roots := append([]string{filepath.Join(dataRoot, "containerd/daemon")}, knownRoots...)
	if c, err := containerdconf.Read(config); err == nil { // containerd does not start with another
		roots = append(roots, c.Root)
	}
	slices.Sort(roots)
	return slices.Compact(roots)
}

// Find opens the root of the containerd that has records of a snapshotter. It fails with
// fault.NotFound when none of the candidates has any, and with fault.Invalid when several
// have.
func Find(candidates []string, snapshotter string) (*Root, error) {
	var found []*Root
	var failed error
	for _, dir := range candidates {
		root, err := openUser(dir, snapshotter)
		switch {
		case err == nil:
			found = append(found, root)
		case !errors.Is(err, fault.NotFound):
			failed = errors.Join(failed, err)
		}
	}
	if len(found) == 1 && failed == nil {
		return found[0], nil
	}
	var dirs []string
	for _, root := range found {
		dirs = append(dirs, root.dir)
		failed = errors.Join(failed, root.Close())
	}
	switch {
	case failed != nil:
		return nil, failed
	case len(dirs) > 1:
		return nil, fault.New(fault.Invalid, "several containerds have records of a snapshotter %q (%s): name the root of the right one with --containerd-root", snapshotter, strings.Join(dirs, ", "))
	}
	return nil, fault.New(fault.NotFound, "no containerd has records of a snapshotter %q (looked in %s): name containerd's root with --containerd-root, or the snapshotter with --driver",
		snapshotter, strings.Join(candidates, ", "))
}

// openUser opens the root of a containerd if it has records of the snapshotter.
func openUser(dir, snapshotter string) (*Root, error) {
	root, err := Open(dir)
	if err != nil {
		return nil, err
	}
	counts, err := root.Snapshotters()
	if _, uses := counts[snapshotter]; err == nil && !uses {
		err = fault.New(fault.NotFound, "containerd in %s has no records of a snapshotter %q", dir, snapshotter)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}
