package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/quota"
)

// CreateOptions are the caller's choices for one layer.
type CreateOptions struct {
	// MountLabel is the SELinux label that the layer will be mounted with. Get applies it,
	// and Create only checks it.
	MountLabel string
	// StorageOpt are the options of `docker run --storage-opt`.
	StorageOpt map[string]string
	// ReadWrite marks a container's layer. Recovery keeps it even when it is empty, and it
	// gets the store's default limits.
	ReadWrite bool
	// Recorded says that the caller records the layer as soon as Create has answered, so
	// Create ends with a barrier. It is false for a layer that is recorded later: after its
	// ApplyDiff, or together with its child.
	Recorded bool
	// Exempt gives the layer no limit, whatever StorageOpt and the defaults say. Create still
	// refuses an invalid StorageOpt.
	Exempt bool
}

// isDurableWithChild reports whether a container's layer is recorded together with its
// child, and not by itself.
func (o CreateOptions) isDurableWithChild() bool { return o.ReadWrite && !o.Recorded }

// Create makes an empty layer on top of parent. An empty parent makes a base layer. From
// then on the parent is mounted read-only.
func (d *Driver) Create(ctx context.Context, id, parent string, o CreateOptions) error {
	if err := checkIDs(id, parent); err != nil {
		return d.addContext("create", id, err)
	}
	return d.runLocked(ctx, "create", id, func(l layer) error { return d.create(ctx, l, parent, o) })
}

func (d *Driver) create(ctx context.Context, l layer, parent string, o CreateOptions) error {
	limit, err := d.resolveLimit(o, parent)
	if err != nil {
		return err
	}
	exists, err := l.exists()
	if err != nil {
		return err
	}
	if exists {
		return fault.New(fault.Exists, "a layer with this ID already exists")
	}
	lowers, err := d.commitParent(ctx, parent)
	if err != nil {
		return err
	}
	if err := d.markBuilding(l, o); err != nil {
		return err
	}
	if !limit.Empty() {
		d.limited.add(l.id)
	}
	if err := d.makeLayer(l, lowers, limit); err != nil {
		return errors.Join(err, d.clearMarks(l.id))
	}
	if err := d.barrierForCreate(ctx, l, parent, o, limit); err != nil {
		return errors.Join(err, d.removeLayer(l)) // the caller does not remove it
	}
	if o.ReadWrite {
		d.durableLayers.add(l.id)
	} else {
		d.untriedLayers.add(l.id)
	}
	// A limited layer is on another dataset, where the directory that the kernel leaves
	// for a volatile mount would not be found.
	if o.isDurableWithChild() && limit.Empty() && !d.externalMounts {
		d.durableWithChild.add(l.id)
	}
	return nil
}

// resolveLimit returns the limit that the options and the store's defaults give the
// layer. It refuses a limit that cannot be enforced.
func (d *Driver) resolveLimit(o CreateOptions, parent string) (quota.Spec, error) {
	limit, err := o.parseLimit()
	if err != nil {
		return quota.Spec{}, err
	}
	if o.Exempt {
		return quota.Spec{}, nil
	}
	if o.ReadWrite {
		limit.fillUnset(d.preset)
	}
	if limit.Empty() {
		return quota.Spec{}, nil
	}
	if !o.ReadWrite || parent == "" {
		return quota.Spec{}, fault.New(fault.Unsupported, "only a container's layer, on top of an image, can have a limit or properties")
	}
	return limit.Spec, d.limits.Check(limit.Spec)
}

// commitParent marks parent as committed and returns the lowers of its child.
func (d *Driver) commitParent(ctx context.Context, parent string) (lowers []string, err error) {
	if parent == "" {
		return nil, nil
	}
	p := d.home.layer(parent)
	if err := p.requireExists("parent layer"); err != nil {
		return nil, err
	}
	// The parent's content may still be on the way. The caller holds the lock of the layer
	// that is being created, too. That cannot deadlock: no call waits for a second lock with
	// the lock of a layer that exists.
	release, err := d.layers.Lock(ctx, parent)
	if err != nil {
		return nil, err
	}
	defer release()
	return withLinks(ctx, d, func() ([]string, error) { return d.commit(p) })
}

// commit marks a layer as committed and returns the lowers of its child. The caller holds
// the layer's lock.
func (d *Driver) commit(p layer) (lowers []string, err error) {
	if err := d.requireUnlimited(p, "be a parent"); err != nil {
		return nil, err
	}
	lowers, err = p.stackForChild()
	if errors.Is(err, fs.ErrNotExist) { // it may have been removed meanwhile
		err = errors.Join(p.requireExists("parent layer"), err)
	}
	if err != nil {
		return nil, err
	}
	return lowers, d.markCommitted(p)
}

// markCommitted records that a layer has a child, unless that is recorded already.
func (d *Driver) markCommitted(p layer) error {
	_, err := os.Lstat(p.committed())
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.clearMarks(p.id); err != nil {
		return err
	}
	return ensureFile(p.committed())
}

// makeLayer fills a directory in staging and renames it into place in one step.
func (d *Driver) makeLayer(l layer, lowers []string, limit quota.Spec) error {
	return d.stageLayer(l, lowers, limit, func(staged quota.Layer) error { return publish(staged.Dir, l.dir()) })
}

// stageLayer makes a layer in staging and its short link, and calls put to bring it to its
// place. When it fails nothing is left. Where another layer is in staging then, the next start
// decides about it.
func (d *Driver) stageLayer(l layer, lowers []string, limit quota.Spec, put func(staged quota.Layer) error) (err error) {
	short, isSpare := d.chooseShortName(limit)
	staged := quota.Layer{Key: short, Dir: d.home.privatePath(newDir, short)}
	defer func() {
		if key, unread := readShortName(staged.Dir); err == nil || unread == nil && key != short {
			return
		}
		d.discardLayer(context.Background(), staged.Dir)
		if isSpare {
			d.limits.ReturnSpare(short)
		}
	}()
	if err := d.fillStage(staged, l.id, lowers, limit); err != nil {
		return err
	}
	if err := l.makeShortLink(short); err != nil {
		return err
	}
	return put(staged)
}

// chooseShortName returns the name of the layer's short link: that of a spare dataset if the
// layer can use one.
func (d *Driver) chooseShortName(limit quota.Spec) (short string, isSpare bool) {
	if spare := d.limits.TakeSpare(limit); spare != "" {
		return spare, true
	}
	return NewShortName(), false
}

// fillStage makes all files of a new layer's directory.
func (d *Driver) fillStage(staged quota.Layer, id string, lowers []string, limit quota.Spec) error {
	_, gid := d.ids.RootPair()
	if err := makeDir(staged.Dir, 0o710, os.Getuid(), gid); err != nil {
		return err
	}
	if err := fsat.WriteSmall(filepath.Join(staged.Dir, linkName), []byte(staged.Key), 0o644); err != nil {
		return err
	}
	if len(lowers) > 0 {
		if err := fsat.WriteSmall(filepath.Join(staged.Dir, lowerName), []byte(strings.Join(lowers, ":")), 0o644); err != nil {
			return err
		}
	}
	contents := func(dir string) error { return d.makeContents(dir, len(lowers) > 0) }
	if limit.Empty() {
		return contents(staged.Dir)
	}
	return d.limits.Make(staged, id, limit, contents)
}

// makeContents makes the directories that a container writes to.
func (d *Driver) makeContents(dir string, overlay bool) error {
	err := d.makeRootDir(filepath.Join(dir, diffName), 0o755)
	if err == nil && overlay {
		err = d.makeRootDir(filepath.Join(dir, workName), 0o700)
	}
	return err
}

// makeRootDir makes a directory that the containers' root user owns.
func (d *Driver) makeRootDir(path string, mode os.FileMode) error {
	uid, gid := d.ids.RootPair()
	return makeDir(path, mode, uid, gid)
}

// makeDir makes a directory independently of the process's umask and of what the directory
// around it passes on: ACLs, the group, the set-group-ID bit. It skips changes that are not
// needed, because each one is a transaction and a wait for the intent log.
func makeDir(path string, mode os.FileMode, uid, gid int) error {
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	removed, err := fsat.RemoveACLs(path)
	if err != nil {
		return err
	}
	right, err := hasAttributes(path, uint32(mode), uid, gid)
	if err != nil || right && !removed {
		return err
	}
	// An fsync of another file does not commit these changes, so they are committed here.
	return errors.Join(os.Chmod(path, mode), os.Chown(path, uid, gid), syncFile(path))
}

// ensureFile makes an empty file unless it exists.
func ensureFile(path string) error {
	err := fsat.WriteSmall(path, nil, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// publish renames a directory from staging into place. It returns an Exists error when
// the name is taken.
func publish(from, to string) error {
	err := fsat.RenameNoReplace(unix.AT_FDCWD, from, unix.AT_FDCWD, to)
	if errors.Is(err, unix.EEXIST) {
		return fault.New(fault.Exists, "%s already exists", to)
	}
	if err != nil {
		return fmt.Errorf("rename %q to %q: %w", from, to, err)
	}
	return nil
}
