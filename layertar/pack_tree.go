package layertar

import (
	"context"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// ahead is how many files are looked at before they are written: a bound on
// memory and on open files.
const ahead = 32

// slot is a place in the order of the tar, filled when its item was looked at.
type slot struct {
	item
	filled chan struct{}
}

// tree packs everything below the directory root: one goroutine walks, hands
// look at files and read them, and this one writes, in the order of the walk.
func (p *packer) tree(root int) error {
	ctx, stop := context.WithCancel(p.ctx)
	t := &treePacker{packer: p, ctx: ctx, hands: newHands(), slots: make(chan *slot, ahead)}
	defer t.hands.dismiss()
	t.hands.ended.Go(func() { t.hands.guard(func() { t.walk(root) }) })
	err := t.write()
	stop()
	for s := range t.slots {
		<-s.filled
		s.release()
	}
	return err
}

// treePacker is the visitor of a tree.
type treePacker struct {
	*packer
	ctx   context.Context
	hands *hands
	slots chan *slot
	held  holder
}

// walk fills the slots, and ends them.
func (t *treePacker) walk(root int) {
	defer close(t.slots)
	defer t.held.leave()
	if err := fsat.Walk(t.ctx, root, true, t); err != nil {
		t.add(item{fd: -1, err: err})
	}
}

// write writes the slots.
func (t *treePacker) write() error {
	for s := range t.slots {
		<-s.filled
		if err := t.packer.write(&s.item); err != nil {
			if s.path == "" {
				return err // the walk's own
			}
			return inEntry(s.path, err)
		}
	}
	return nil
}

// Enter looks at a directory itself, which stays open only for the walk.
func (t *treePacker) Enter(_ int, path fsat.Path, fd int) error {
	t.add(t.lookAtDir(path.String(), path.Name, fd))
	return t.ctx.Err()
}

// File has anything else looked at.
func (t *treePacker) File(parent int, path fsat.Path, typ uint8) error {
	full := path.String()
	dir, _ := split(full)
	held, err := t.held.in(dir, parent)
	if err != nil {
		return inEntry(full, err)
	}
	s := &slot{item: item{path: full, fd: -1}, filled: make(chan struct{})}
	t.hands.give(func() {
		defer close(s.filled)
		defer held.release()
		s.item = t.look(held.fd, full, path.Name, typ)
	})
	t.slots <- s
	return nil
}

// Leave has nothing to do: directories come before what is in them.
func (t *treePacker) Leave(int, fsat.Path) error { return nil }

// add takes an item that is complete.
func (t *treePacker) add(i item) {
	s := &slot{item: i, filled: make(chan struct{})}
	close(s.filled)
	t.slots <- s
}
