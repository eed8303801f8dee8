package layerdiff

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/overlayzfs/overlayzfs/integration/snapclient"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/operator/verify"
)

// Records compares layers with the records of their tars, as `overlayzfs verify` does.
type Records struct {
	Reader     *Reader
	Containerd snapshots.Snapshotter // containerd's overlayfs
	Dir        string                // of a data-root, to keep the record in

	// How many layers were compared, and how many of them are as recorded. The others are
	// unproven.
	Compared, Proven int
	count            int // of stacks, for IDs
}

// recordedDriver names the driver whose record is compared.
const recordedDriver = "overlayzfs"

// Check unpacks a stack with the plugin's reader and with containerd's code, and returns the
// layers that are called changed. Nothing has changed them.
func (c *Records) Check(ctx context.Context, s Stack) (found []string, err error) {
	c.count++
	tars := make([][]byte, len(s))
	for i, l := range s {
		if tars[i], err = l.Tar(); err != nil {
			return nil, err
		}
	}
	for _, d := range []struct {
		name   string
		driver Driver
		dirs   func(ctx context.Context, id string) ([]string, error)
	}{
		{"plugin", c.Reader, func(_ context.Context, id string) ([]string, error) { return c.Reader.stack(id), nil }},
		{"containerd's overlayfs", Snapshots{c.Containerd}, c.snapshotDirs},
	} {
		changed, err := c.checkDriver(ctx, d.driver, tars, d.dirs)
		if err != nil {
			return nil, err
		}
		for _, line := range changed {
			found = append(found, d.name+": "+line)
		}
	}
	return found, nil
}

// snapshotDirs returns the directories of a committed snapshot, and of those below it.
func (c *Records) snapshotDirs(ctx context.Context, id string) (dirs []string, err error) {
	mounts, err := c.Containerd.View(ctx, id+"view", id)
	if err != nil {
		return nil, err
	}
	dirs, err = snapclient.Contents(mounts)
	return dirs, errors.Join(err, c.Containerd.Remove(ctx, id+"view"))
}

// checkDriver compares each layer of a stack. It leaves nothing.
func (c *Records) checkDriver(ctx context.Context, d Driver, tars [][]byte, dirs func(context.Context, string) ([]string, error)) (found []string, err error) {
	id := func(layer int) string { return fmt.Sprintf("r%dl%d", c.count, layer) }
	made := 0
	defer func() {
		for made--; made >= 0; made-- {
			err = errors.Join(err, d.Remove(ctx, id(made)))
		}
	}()
	parent := ""
	for i, raw := range tars {
		if d.Apply(ctx, id(i), parent, raw) != nil {
			return found, nil // refused
		}
		made++
		parent = id(i)
		stack, err := dirs(ctx, parent)
		if err != nil {
			return nil, err
		}
		answer, err := c.compare(ctx, raw, stack)
		if err != nil {
			return nil, err
		}
		if answer != "" {
			found = append(found, fmt.Sprintf("layer %d is called changed: %s", i, answer))
		}
	}
	return found, nil
}

// compare compares a layer, which is the first of the directories, with the record of its tar.
// It returns why the layer is called changed.
func (c *Records) compare(ctx context.Context, raw []byte, stack []string) (changed string, err error) {
	split, err := splitTar(raw)
	if err != nil {
		return "", nil //nolint:nilerr // Docker has no record of such a tar
	}
	root := DataRoot{Dir: c.Dir, Name: recordedDriver}
	chain := digest.FromString("recorded")
	if err := writeFiles(root.layerDir(chain), map[string]string{"tar-split.json.gz": split}); err != nil {
		return "", err
	}
	docker, err := dockerstore.Open(c.Dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	record, err := docker.TarSplit(recordedDriver, chain)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	dir, err := os.Open(stack[0])
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	layer := treestack.Layer{Dir: dir}
	if len(stack) > 1 {
		layer.OpenBelow = func() ([]*os.File, error) { return openDirs(stack[1:]) }
	}
	c.Compared++
	_, answer := verify.CompareLayer(ctx, record, layer, digest.FromBytes(raw))
	switch {
	case answer == nil:
		c.Proven++
	case !errors.As(answer, new(rebuild.Unproven)):
		changed = strings.TrimSpace(answer.Error())
	}
	return changed, nil
}

func openDirs(names []string) (dirs []*os.File, err error) {
	for _, name := range names {
		dir, err := os.Open(name)
		if err != nil {
			for _, opened := range dirs {
				err = errors.Join(err, opened.Close())
			}
			return nil, err
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}
