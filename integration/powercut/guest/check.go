package guest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/powercut/layers"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// checker looks at the layers of a plan and keeps their tars: what a layer
// must look like when it is mounted, those of its ancestors say.
type checker struct {
	*store
	parents map[string]string
	below   map[string]bool // layers that have another on them
	tars    map[string][]byte
}

func newChecker(s *store, plan []wire.Layer) *checker {
	c := &checker{store: s, parents: make(map[string]string), below: make(map[string]bool), tars: make(map[string][]byte)}
	for _, l := range plan {
		c.parents[l.ID] = l.Parent
		if l.Recorded {
			c.below[l.Parent] = true
		}
	}
	return c
}

// look says how a layer is found. That something is wrong with it is no error.
func (c *checker) look(ctx context.Context, l wire.Layer) (f wire.Found, err error) {
	if f.Exists, f.Open, err = c.Stat(ctx, l.ID); err != nil || !f.Exists {
		return f, err
	}
	if l.Kind == wire.Image && f.Open {
		return f, nil // half unpacked, which nobody goes on with
	}
	if err := c.read(ctx, l, &f); err != nil {
		f.Wrong = err.Error()
	}
	return f, nil
}

func (c *checker) read(ctx context.Context, l wire.Layer, f *wire.Found) error {
	if l.Kind == wire.Image || l.Kind == wire.Step {
		if err := c.readContent(ctx, l, f); err != nil {
			return err
		}
		// A layer on top of it is mounted, too, and shows the same content.
		if !l.Recorded || c.below[l.ID] {
			return nil
		}
	}
	dir, err := c.Get(ctx, l.ID)
	if err != nil {
		return err
	}
	err = c.readMounted(ctx, l, dir, f)
	if putting := c.Put(ctx, l.ID); err == nil {
		err = putting
	}
	return err
}

func (c *checker) readContent(ctx context.Context, l wire.Layer, f *wire.Found) error {
	raw, err := c.Diff(ctx, l.ID, l.Parent)
	if err != nil {
		return err
	}
	c.tars[l.ID] = raw
	f.Empty = layers.Empty(raw)
	f.Digest, err = layers.Digest(raw)
	return err
}

func (c *checker) readMounted(ctx context.Context, l wire.Layer, dir string, f *wire.Found) (err error) {
	switch l.Kind {
	case wire.Init:
		return nil
	case wire.View:
		return c.compare(l.Parent, dir)
	case wire.Container:
		if f.Room, err = layers.Room(dir); err != nil {
			return err
		}
		if f.Records, err = layers.Records(dir, l.ID); err != nil {
			return err
		}
		return c.compareCopies(ctx, l, dir)
	}
	return c.compare(l.ID, dir)
}

// compareCopies compares a container's files with those of the layers below it, since
// the container copied some up and changed none. Only its records are its own.
func (c *checker) compareCopies(ctx context.Context, l wire.Layer, dir string) error {
	if _, known := c.tars[l.Parent]; !known { // the layer between image and container
		raw, err := c.Diff(ctx, l.Parent, c.parents[l.Parent])
		if err != nil {
			return err
		}
		c.tars[l.Parent] = raw
	}
	return c.compare(l.Parent, dir, layers.RecordsName(l.ID))
}

// compare compares a mounted layer with what its layers say together. It ignores the paths
// of own.
func (c *checker) compare(id, dir string, own ...string) error {
	stack, err := c.stack(id)
	if err != nil {
		return err
	}
	want, err := treecmp.FromLayers(stack...)
	if err != nil {
		return err
	}
	return same(dir, want, c.compared, own...)
}

// same compares what is mounted with what it should show.
func same(dir string, want *treecmp.Tree, xattrs func(string) bool, ignore ...string) error {
	got, err := treecmp.FromDir(dir)
	if err != nil {
		return err
	}
	// The root belongs to nobody's tar.
	differences := treecmp.Compare(got, want, treecmp.Options{MTimes: true, LooseDirTimes: true, LooseTimes: []string{"."}, Xattrs: xattrs, Ignore: ignore})
	if len(differences) > 0 {
		return fmt.Errorf("mounted and by its layers, %d differences: %s", len(differences), strings.Join(differences[:min(len(differences), 3)], "; "))
	}
	return nil
}

func (c *checker) compared(string) bool { return c.xattrs }

// stack is the tars of a layer and of all below it, the base first.
func (c *checker) stack(id string) ([]io.Reader, error) {
	var stack []io.Reader
	for ; id != ""; id = c.parents[id] {
		raw, ok := c.tars[id]
		if !ok {
			return nil, fmt.Errorf("layer %s below it could not be read", id)
		}
		stack = append([]io.Reader{bytes.NewReader(raw)}, stack...)
	}
	return stack, nil
}
