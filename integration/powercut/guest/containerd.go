package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"go.etcd.io/bbolt"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/snapclient"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

const (
	// containerdRoot lies with the engine's own records.
	containerdRoot = "/tank/data/containerd"
	// mobySpace is dockerd's name space in containerd.
	mobySpace = "moby"
)

func (h *house) startOnContainerd(t testing.TB, _ bool) {
	h.containerd = engine.StartContainerd(t, engine.ContainerdOptions{Root: containerdRoot, Dataset: dataset})
	h.Engine = h.containerd.StartEngine(t, dataRoot)
	h.unlimited = true // it passes limits on to no snapshotter
}

// checkRecords holds containerd's records of snapshots, which it fsyncs, against
// the snapshotter's, before containerd is there to put anything in order.
func (h *house) checkRecords(ctx context.Context) error {
	recorded, err := readSnapshotNames()
	if err != nil {
		return err
	}
	h.recorded = recorded
	s, err := openSnapshotter(engine.SnapshotterHome)
	if err != nil {
		return err
	}
	names, err := s.inventory(ctx)
	if err != nil {
		return err
	}
	found, err := s.snapshots.hold(ctx, recorded)
	if err != nil {
		return err
	}
	for name, broken := range found {
		if err := h.found("snapshot "+name, broken); err != nil {
			return err
		}
	}
	if err := h.sayStore(names, func(name string) bool { return recorded[name] }); err != nil {
		return err
	}
	return s.snapshots.stop()
}

// underway tells whether the engine was removing a container when the power went.
// It has the snapshot deleted first, which containerd syncs, and then its own
// files, which nobody does: it lists a container without a snapshot.
func (h *house) underway(container string) bool {
	if h.containerd == nil {
		return false
	}
	for name := range h.recorded {
		if strings.HasSuffix(name, "/"+container) {
			return false
		}
	}
	return true
}

// readSnapshotNames returns the snapshots in containerd's records, by containerd's names
// for them.
func readSnapshotNames() (map[string]bool, error) {
	path := filepath.Join(containerdRoot, "io.containerd.metadata.v1.bolt", "meta.db")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	recorded := make(map[string]bool)
	return recorded, db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("v1"))
		for _, name := range []string{mobySpace, "snapshots", engine.SnapshotterName} {
			if bucket == nil {
				return nil
			}
			bucket = bucket.Bucket([]byte(name))
		}
		if bucket == nil {
			return nil
		}
		return bucket.ForEachBucket(func(key []byte) error {
			// One that has no name yet was never answered for.
			if name := bucket.Bucket(key).Get([]byte("name")); name != nil {
				recorded[string(name)] = true
			}
			return nil
		})
	})
}

// hold says of every snapshot that containerd has recorded what is wrong with
// it. What an image is being unpacked into may be gone: it is made anew. And
// containerd records a Commit after it was answered: until then the snapshot has
// the name of one that it has no record of. containerd removes that one when it
// starts, and keeps the record of the other until its lease ends.
func (d *snapshotDoor) hold(ctx context.Context, recorded map[string]bool) (map[string]error, error) {
	excused, err := readExcused()
	if err != nil {
		return nil, err
	}
	found := make(map[string]error)
	var gone []string
	for name := range recorded {
		err := d.readable(ctx, name)
		switch {
		case !errdefs.IsNotFound(err):
			found[name] = err
		case !unpacking(name) && !slices.Contains(excused, name):
			found[name] = err
			gone = append(gone, name)
		}
	}
	committed, err := d.unrecorded(ctx, recorded)
	if err != nil || len(gone) == 0 || len(gone) > committed {
		return found, err
	}
	for _, name := range gone {
		delete(found, name)
	}
	return found, writeExcused(append(excused, gone...))
}

// excusedFile lists the snapshots whose Commit a cut kept containerd from recording.
const excusedFile = "/tank/data/excused"

func readExcused() ([]string, error) {
	raw, err := os.ReadFile(excusedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return strings.Fields(string(raw)), err
}

func writeExcused(names []string) error {
	f, err := os.Create(excusedFile)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(names, "\n"))
	return errors.Join(err, f.Sync(), f.Close())
}

// readable checks that a snapshot is there and can be read.
func (d *snapshotDoor) readable(ctx context.Context, name string) error {
	dir, err := d.Get(ctx, name)
	if err != nil {
		return err
	}
	_, err = treecmp.FromDir(dir)
	return errors.Join(err, d.Put(ctx, name))
}

// unrecorded counts the committed snapshots that containerd has no record of.
func (d *snapshotDoor) unrecorded(ctx context.Context, recorded map[string]bool) (n int, err error) {
	err = d.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if info.Kind == snapshots.KindCommitted && !recorded[info.Name] {
			n++
		}
		return nil
	})
	return n, err
}

func unpacking(name string) bool { return strings.Contains(name, "/"+snapshots.UnpackKeyPrefix+"-") }

// shows checks that the snapshot of a saved image shows what its layers say.
func (h *house) shows(image *treecmp.Image) (err error) {
	var ids []digest.Digest
	for _, id := range image.DiffIDs {
		ids = append(ids, digest.Digest(id))
	}
	client, err := snapclient.Dial(h.containerd.Address(), engine.SnapshotterName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	ctx := namespaces.WithNamespace(context.Background(), mobySpace)
	const look = "look"
	kept := snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "1"})
	name := identity.ChainID(ids).String()
	mounts, err := client.View(ctx, look, name, kept)
	if errdefs.IsNotFound(err) {
		return nil // not unpacked yet; to be run it has to be
	}
	if err != nil {
		return err
	}
	return errors.Join(compareShown(ctx, client, name, mounts, image), client.Remove(ctx, look))
}

func compareShown(ctx context.Context, client *snapclient.Client, name string, mounts []mount.Mount, image *treecmp.Image) error {
	stack, err := shownBy(ctx, client, name, mounts, image)
	if err != nil {
		return err
	}
	want, err := treecmp.FromLayers(stack...)
	if err != nil {
		return err
	}
	dir, err := snapclient.Mount(mounts)
	if err != nil {
		return err
	}
	return errors.Join(same(dir, want, nil), snapclient.Unmount(dir))
}

// shownBy are the layers that an image's snapshot shows, the base first: the image's
// own and, below one that Docker 26 committed, the files that every container gets,
// which are in none of them.
func shownBy(ctx context.Context, client *snapclient.Client, name string, mounts []mount.Mount, image *treecmp.Image) ([]io.Reader, error) {
	dirs, err := snapclient.Contents(mounts)
	if err != nil {
		return nil, err
	}
	own := image.Layers()
	var stack []io.Reader
	for _, dir := range dirs {
		info, err := client.Stat(ctx, name)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(name, "-init") {
			tar, err := packDir(ctx, dir)
			if err != nil {
				return nil, err
			}
			stack = append(stack, bytes.NewReader(tar))
		} else if n := len(own); n > 0 {
			stack, own = append(stack, own[n-1]), own[:n-1]
		} else {
			return nil, fmt.Errorf("its snapshot stands on more than its %d layers: %s", len(image.DiffIDs), name)
		}
		name = info.Parent
	}
	if len(own) > 0 {
		return nil, fmt.Errorf("its snapshot stands on %d layers less than it has", len(own))
	}
	slices.Reverse(stack)
	return stack, nil
}
