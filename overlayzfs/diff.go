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
	"github.com/overlayzfs/overlayzfs/internal/treediff"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// Change is one difference between two layers; paths begin with '/'.
type Change = treediff.Change

// The kinds of change.
const (
	Modified = treediff.Modify
	Added    = treediff.Add
	Deleted  = treediff.Delete
)

// Diff streams what id has over parent as a layer tar. The stream ends with
// io.EOF only when it is whole and the layer durable; whoever reads it records
// a layer afterwards. Closing it early stops the work.
func (d *Driver) Diff(ctx context.Context, id, parent string) (io.ReadCloser, error) {
	if err := checkPair(id, parent); err != nil {
		return nil, d.in("diff", id, err)
	}
	p, short, err := d.openDiff(ctx, id, parent)
	if err != nil {
		return nil, d.in("diff", id, err)
	}
	r, w := io.Pipe()
	s := &stream{PipeReader: r, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		err := d.stream(ctx, p, w)
		if err == nil {
			err = d.finishDiff(ctx, id, short)
		}
		w.CloseWithError(d.in("diff", id, err))
	}()
	return s, nil
}

// stream is a diff being read.
type stream struct {
	*io.PipeReader
	done chan struct{}
}

// Close ends the work and waits for it, so that no mount outlives the call.
func (s *stream) Close() error {
	err := s.PipeReader.Close()
	<-s.done
	return err
}

// stream packs a pair. It runs where no handler would catch a panic.
func (d *Driver) stream(ctx context.Context, p pair, w io.Writer) (err error) {
	defer func() {
		if v := recover(); v != nil {
			logrus.WithField("stack", string(debug.Stack())).Errorf("packing a diff panicked: %v", v)
			err = fmt.Errorf("packing panicked: %v", v)
		}
		err = errors.Join(err, p.close())
	}()
	return p.pack(ctx, w, d.tarOptions())
}

// finishDiff makes the layer one that can be recorded. It has to be the one
// that was read: what vanishes while it is read is passed over.
func (d *Driver) finishDiff(ctx context.Context, id, short string) error {
	return d.on("diff", id, func(l layer) error {
		if now, err := readShort(l.dir()); err != nil || now != short {
			return errors.Join(err, fault.New(fault.NotFound, "it was removed while it was read"))
		}
		if err := d.settle(id); err != nil || d.quiet.has(id) {
			return err
		}
		if err := d.stepDone(ctx); err != nil {
			return err
		}
		d.snapshots.Notify(snapshot.Committed)
		return nil
	})
}

// openDiff opens a pair and says by which short link the layer goes.
func (d *Driver) openDiff(ctx context.Context, id, parent string) (pair, string, error) {
	p, err := d.compare(ctx, id, parent)
	if err != nil {
		return nil, "", err
	}
	short, err := readShort(d.home.layer(id).dir())
	if err != nil {
		return nil, "", errors.Join(err, p.close())
	}
	return p, short, nil
}

// Changes lists what id changes over parent.
func (d *Driver) Changes(ctx context.Context, id, parent string) (_ []Change, err error) {
	if err := checkPair(id, parent); err != nil {
		return nil, d.in("changes", id, err)
	}
	p, err := d.compare(ctx, id, parent)
	if err != nil {
		return nil, d.in("changes", id, err)
	}
	defer func() { err = d.in("changes", id, errors.Join(err, p.close())) }()
	return p.changes(ctx)
}

// DiffSize is the apparent size of what id has over parent.
func (d *Driver) DiffSize(ctx context.Context, id, parent string) (_ int64, err error) {
	if err := checkPair(id, parent); err != nil {
		return 0, d.in("diff size", id, err)
	}
	p, err := d.compare(ctx, id, parent)
	if err != nil {
		return 0, d.in("diff size", id, err)
	}
	defer func() { err = d.in("diff size", id, errors.Join(err, p.close())) }()
	return p.size(ctx)
}

// pair is a layer beside the one it is compared with.
type pair interface {
	pack(ctx context.Context, w io.Writer, o layertar.Options) error
	changes(ctx context.Context) ([]Change, error)
	size(ctx context.Context) (int64, error)
	close() error
}

// compare chooses how to compare: the upper directory says all about a layer
// and the one directly below it; any other two are compared tree by tree.
func (d *Driver) compare(ctx context.Context, id, parent string) (pair, error) {
	if err := d.present(); err != nil {
		return nil, err
	}
	l := d.home.layer(id)
	if err := l.require("layer"); err != nil {
		return nil, err
	}
	if parent != "" {
		if err := d.home.layer(parent).require("parent layer"); err != nil {
			return nil, err
		}
	}
	direct, err := l.standsOn(parent)
	if err != nil {
		return nil, err
	}
	if direct {
		upper, err := d.openUpper(l)
		if err != nil {
			return nil, err
		}
		return &child{driver: d, upper: upper, parent: parent}, nil
	}
	return d.openStrangers(ctx, id, parent)
}

// child is a layer over the one directly below it.
type child struct {
	driver *Driver
	upper  *os.File
	parent string
}

func (c *child) close() error { return c.upper.Close() }

func (c *child) pack(ctx context.Context, w io.Writer, o layertar.Options) error {
	return layertar.Pack(ctx, c.upper, w, o)
}

func (c *child) size(ctx context.Context) (int64, error) {
	return layertar.Size(ctx, c.upper)
}

func (c *child) changes(ctx context.Context) (_ []Change, err error) {
	if c.parent == "" {
		found, err := treediff.Trees(ctx, c.upper, nil)
		return found.Changes, err
	}
	view, err := c.driver.openView(ctx, c.parent)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.close()) }()
	found, err := treediff.Upper(ctx, c.upper, view.root)
	return found.Changes, err
}
