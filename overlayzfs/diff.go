package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/internal/treediff"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// Change is one difference between two layers. Its path begins with '/'.
type Change = treediff.Change

// The kinds of Change.
const (
	Modified = treediff.Modify
	Added    = treediff.Add
	Deleted  = treediff.Delete
)

// Diff streams the changes of id over parent as a layer tar. The stream ends with io.EOF
// only when it is complete and the layer is durable, because its reader then records a
// layer. Closing the stream early stops the work.
func (d *Driver) Diff(ctx context.Context, id, parent string) (io.ReadCloser, error) {
	if err := checkIDs(id, parent); err != nil {
		return nil, d.addContext("diff", id, err)
	}
	p, short, err := d.openDiff(ctx, id, parent)
	if err != nil {
		return nil, d.addContext("diff", id, err)
	}
	r, w := io.Pipe()
	s := &diffStream{PipeReader: r, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		err := d.packDiff(ctx, p, w)
		if err == nil {
			err = d.finishDiff(ctx, id, short)
		}
		w.CloseWithError(d.addContext("diff", id, err))
	}()
	return s, nil
}

// diffStream is a diff under way.
type diffStream struct {
	*io.PipeReader
	done chan struct{}
}

// Close ends the work and waits for its end, so that no mount outlives the call.
func (s *diffStream) Close() error {
	err := s.PipeReader.Close()
	<-s.done
	return err
}

// packDiff writes the tar of a comparison. It recovers from panics, because it runs in a
// goroutine of its own.
func (d *Driver) packDiff(ctx context.Context, p comparison, w io.Writer) (err error) {
	defer func() {
		if v := recover(); v != nil {
			logrus.WithField("stack", string(debug.Stack())).Errorf("panic while a diff was packed: %v", v)
			err = fmt.Errorf("pack the diff: panic: %v", v)
		}
		err = errors.Join(err, p.close())
	}()
	return p.pack(ctx, w, d.tarOptions())
}

// finishDiff makes the layer ready and durable. It fails when the layer is no longer the
// one that was read, because the tar leaves out files that vanish meanwhile.
func (d *Driver) finishDiff(ctx context.Context, id, short string) error {
	return d.runLocked(ctx, "diff", id, func(l layer) error {
		if now, err := readShortName(l.dir()); err != nil || now != short {
			return errors.Join(err, fault.New(fault.NotFound, "the layer was removed while it was read"))
		}
		// The mark may go before the barrier, unlike in makeContentReady: recovery keeps a
		// mutable layer as it keeps a ready one, and a building layer is empty.
		if err := d.clearMarks(id); err != nil || d.durableLayers.has(id) {
			return err
		}
		if err := d.barrierForStep(ctx); err != nil {
			return err
		}
		d.snapshots.Notify(snapshot.Committed)
		return nil
	})
}

// openDiff opens a comparison and returns the name of the layer's short link.
func (d *Driver) openDiff(ctx context.Context, id, parent string) (comparison, string, error) {
	p, err := d.openComparison(ctx, id, parent)
	if err != nil {
		return nil, "", err
	}
	short, err := readShortName(d.home.layer(id).dir())
	if err != nil {
		return nil, "", errors.Join(err, p.close())
	}
	return p, short, nil
}

// Changes lists the changes of id over parent.
func (d *Driver) Changes(ctx context.Context, id, parent string) (_ []Change, err error) {
	if err := checkIDs(id, parent); err != nil {
		return nil, d.addContext("changes", id, err)
	}
	p, err := d.openComparison(ctx, id, parent)
	if err != nil {
		return nil, d.addContext("changes", id, err)
	}
	defer func() { err = d.addContext("changes", id, errors.Join(err, p.close())) }()
	return p.changes(ctx)
}

// DiffSize returns the apparent size of the changes of id over parent.
func (d *Driver) DiffSize(ctx context.Context, id, parent string) (_ int64, err error) {
	if err := checkIDs(id, parent); err != nil {
		return 0, d.addContext("diff size", id, err)
	}
	p, err := d.openComparison(ctx, id, parent)
	if err != nil {
		return 0, d.addContext("diff size", id, err)
	}
	defer func() { err = d.addContext("diff size", id, errors.Join(err, p.close())) }()
	return p.size(ctx)
}

// comparison is a layer and the layer that it is compared with.
type comparison interface {
	pack(ctx context.Context, w io.Writer, o layertar.Options) error
	changes(ctx context.Context) ([]Change, error)
	size(ctx context.Context) (int64, error)
	close() error
}

// openComparison chooses how to compare. The upper directory holds all changes over the
// layer directly below. Any other two layers are mounted and compared file by file.
func (d *Driver) openComparison(ctx context.Context, id, parent string) (comparison, error) {
	if err := d.checkHome(); err != nil {
		return nil, err
	}
	l := d.home.layer(id)
	if err := l.requireExists("layer"); err != nil {
		return nil, err
	}
	if parent != "" {
		if err := d.home.layer(parent).requireExists("parent layer"); err != nil {
			return nil, err
		}
	}
	direct, err := l.hasParent(parent)
	if err != nil {
		return nil, err
	}
	if direct {
		upper, err := d.openUpper(ctx, l)
		if err != nil {
			return nil, err
		}
		return &upperDiff{driver: d, upper: upper, parent: parent}, nil
	}
	return d.openTreeDiff(ctx, id, parent)
}

// upperDiff compares a layer with the one directly below it.
type upperDiff struct {
	driver *Driver
	upper  *os.File
	parent string
}

func (c *upperDiff) close() error { return c.upper.Close() }

func (c *upperDiff) pack(ctx context.Context, w io.Writer, o layertar.Options) error {
	return layertar.Pack(ctx, c.upper, w, o)
}

func (c *upperDiff) size(ctx context.Context) (int64, error) {
	return layertar.Size(ctx, c.upper)
}

func (c *upperDiff) changes(ctx context.Context) (_ []Change, err error) {
	if c.parent == "" {
		found, err := treediff.Trees(ctx, c.upper, nil)
		return found.Changes, err
	}
	view, err := c.driver.mountForRead(ctx, c.parent)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.close()) }()
	found, err := treediff.Upper(ctx, c.upper, view.root)
	return found.Changes, err
}

// treeDiff compares two mounted layers of which neither is known to be the other's parent.
type treeDiff struct {
	new    *mountedLayer
	old    *mountedLayer // nil: every file of new is a change
	layers []*os.File    // those that only one of the two has
}

func (d *Driver) openTreeDiff(ctx context.Context, id, parent string) (comparison, error) {
	s := &treeDiff{}
	var err error
	if s.new, err = d.mountForRead(ctx, id); err != nil {
		return nil, err
	}
	if parent == "" {
		return s, nil
	}
	if s.old, err = d.mountForRead(ctx, parent); err == nil {
		s.layers, err = d.openUnshared(ctx, d.home.layer(id), d.home.layer(parent))
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *treeDiff) close() error {
	err := s.new.close()
	if s.old != nil {
		err = errors.Join(err, s.old.close())
	}
	return errors.Join(err, closeAll(s.layers))
}

func closeAll(files []*os.File) (err error) {
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// openUnshared opens the directories of the layers that only one of two layers has in its
// stack, the two themselves among them.
func (d *Driver) openUnshared(ctx context.Context, a, b layer) (opened []*os.File, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(opened))
			opened = nil
		}
	}()
	left, err := a.readStack()
	if err != nil {
		return nil, err
	}
	right, err := b.readStack()
	if err != nil {
		return nil, err
	}
	for len(left) > 0 && len(right) > 0 && left[len(left)-1] == right[len(right)-1] {
		left, right = left[:len(left)-1], right[:len(right)-1]
	}
	for _, link := range append(left, right...) {
		id, err := d.home.resolveShortLink(link)
		if err != nil {
			return opened, err
		}
		dir, err := d.openUpper(ctx, d.home.layer(id))
		if err != nil {
			return opened, err
		}
		opened = append(opened, dir)
	}
	return opened, nil
}

func (s *treeDiff) compareTrees(ctx context.Context) (treediff.Result, error) {
	if s.old == nil {
		return treediff.Trees(ctx, s.new.root, nil)
	}
	return treediff.Merged(ctx, s.new.root, s.old.root, s.layers)
}

func (s *treeDiff) changes(ctx context.Context) ([]Change, error) {
	found, err := s.compareTrees(ctx)
	return found.Changes, err
}

func (s *treeDiff) size(ctx context.Context) (int64, error) {
	found, err := s.compareTrees(ctx)
	return found.Size, err
}

func (s *treeDiff) pack(ctx context.Context, w io.Writer, o layertar.Options) error {
	found, err := s.compareTrees(ctx)
	if err != nil {
		return err
	}
	entries := make([]layertar.Entry, len(found.Changes))
	for i, c := range found.Changes {
		entries[i] = layertar.Entry{Path: c.Path[1:], Deleted: c.Kind == treediff.Delete}
	}
	return layertar.PackEntries(ctx, s.new.root, entries, w, o)
}

// mountedLayer is a layer that is mounted to be read. It holds a reference.
type mountedLayer struct {
	driver *Driver
	id     string
	root   *os.File
}

// mountForRead mounts the layer and opens its root.
func (d *Driver) mountForRead(ctx context.Context, id string) (*mountedLayer, error) {
	dir, err := d.Get(ctx, id, "")
	if err != nil {
		return nil, err
	}
	root, err := os.Open(dir)
	if err != nil {
		return nil, errors.Join(err, d.putUncancelled(id))
	}
	return &mountedLayer{d, id, root}, nil
}

// close gives the reference back, even when the call that took it was cancelled.
func (v *mountedLayer) close() error {
	return errors.Join(v.root.Close(), v.driver.putUncancelled(v.id))
}

func (d *Driver) putUncancelled(id string) error { return d.Put(context.Background(), id) }

// openUpper opens the directory with the layer's own content. The open directory stays
// readable after the layer's dataset is detached.
func (d *Driver) openUpper(ctx context.Context, l layer) (upper *os.File, err error) {
	separate, err := d.hasDataset(l)
	if err != nil {
		return nil, err
	}
	if !separate {
		return os.Open(l.diff())
	}
	return runLockedFor(ctx, d, "open", l.id, d.openAttached)
}

// openAttached opens the content of a layer on a dataset of its own. It attaches the
// dataset for as long as the open takes, unless a mount uses it.
func (d *Driver) openAttached(l layer) (upper *os.File, err error) {
	quotaLayer, err := l.quotaLayer()
	if err != nil {
		return nil, err
	}
	mounted, err := mount.IsOverlay(l.merged())
	if err != nil {
		return nil, err
	}
	if err := d.limits.Attach(quotaLayer); err != nil {
		return nil, err
	}
	if !mounted {
		defer func() { err = errors.Join(err, d.limits.Detach(quotaLayer)) }()
	}
	return os.Open(l.diff())
}
