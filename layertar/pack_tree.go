package layertar

import (
	"context"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// maxAhead is how many files are inspected ahead of the writing. It bounds memory and
// open files.
const maxAhead = 32

// slot is a position in the tar. ready is closed when its item is inspected.
type slot struct {
	item
	ready chan struct{}
}

// packTree packs everything below the directory root. One goroutine walks, workers inspect
// files and read them, and the caller's goroutine writes in the order of the walk.
func (p *packer) packTree(root int) error {
	ctx, stop := context.WithCancel(p.ctx)
	t := &treePacker{packer: p, ctx: ctx, pool: newWorkerPool(), slots: make(chan *slot, maxAhead)}
	defer t.pool.close()
	t.pool.workers.Go(func() { t.pool.runGuarded(func() { t.walk(root) }) })
	err := t.writeSlots()
	stop()
	for s := range t.slots {
		<-s.ready
		s.release()
	}
	return err
}

// treePacker is the visitor of a tree.
type treePacker struct {
	*packer
	ctx     context.Context
	pool    *workerPool
	slots   chan *slot
	jobDirs dirRefCache
}

// walk adds a slot for each file and closes the channel.
func (t *treePacker) walk(root int) {
	defer close(t.slots)
	defer t.jobDirs.drop()
	if err := fsat.Walk(t.ctx, root, true, t); err != nil {
		t.addReady(item{fd: -1, err: err})
	}
}

// writeSlots writes the slots in order.
func (t *treePacker) writeSlots() error {
	for s := range t.slots {
		<-s.ready
		if err := t.writeItem(&s.item); err != nil {
			if s.path == "" {
				return err // the walk's own
			}
			return wrapEntry(s.path, err)
		}
	}
	return nil
}

// Enter inspects a directory at once: it stays open only for the walk.
func (t *treePacker) Enter(_ int, path fsat.Path, fd int) error {
	t.addReady(t.inspectDir(path.String(), path.Name, fd))
	return t.ctx.Err()
}

// File submits anything but a directory for inspection.
func (t *treePacker) File(parent int, path fsat.Path, typ uint8) error {
	full := path.String()
	dir, _ := split(full)
	ref, err := t.jobDirs.acquire(dir, parent)
	if err != nil {
		return wrapEntry(full, err)
	}
	s := &slot{item: item{path: full, fd: -1}, ready: make(chan struct{})}
	t.pool.submit(func() {
		defer close(s.ready)
		defer ref.release()
		s.item = t.inspect(ref.fd, full, path.Name, typ)
	})
	t.slots <- s
	return nil
}

// Leave does nothing: a directory is packed before its content.
func (t *treePacker) Leave(int, fsat.Path) error { return nil }

// addReady adds a slot for an inspected item.
func (t *treePacker) addReady(i item) {
	s := &slot{item: i, ready: make(chan struct{})}
	close(s.ready)
	t.slots <- s
}
