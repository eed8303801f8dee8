package layertar

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// Extract unpacks the layer tar r into dir, an open and empty directory, and
// returns the apparent size of what is there then: what Size would say.
//
// Whiteouts become overlayfs's; they and opaque markers concern only what lies
// in lower layers, wherever in the tar they stand. After an error dir holds a
// part of the layer and is good for nothing.
//
// ctx ends the work between two reads; a Read of r that blocks has to be ended
// by whoever owns r.
func Extract(ctx context.Context, dir *os.File, r io.Reader, o Options) (size int64, err error) {
	defer runtime.KeepAlive(dir)
	in := &stream{ctx: ctx, r: r}
	buffered := bufio.NewReaderSize(in, headerBuffer)
	x, err := newExtractor(ctx, int(dir.Fd()), tar.NewReader(buffered), o)
	if err != nil {
		return 0, fault.Classify(err)
	}
	defer x.close()
	if err := x.all(in); err != nil {
		return 0, fault.Classify(err)
	}
	if err := in.drain(buffered); err != nil {
		return 0, fault.Classify(fmt.Errorf("after the end of the archive: %w", err))
	}
	if x.recount {
		return Size(ctx, dir)
	}
	return x.size, nil
}

// extractor is one extraction under way.
type extractor struct {
	Options
	ctx     context.Context
	root    int
	tr      *tar.Reader
	crew    *crew
	order   order
	held    holder         // of the directories of files that the crew is making
	parents *fsat.Resolver // of the entries
	targets *fsat.Resolver // of hard links' targets: the other stays cached
	stale   bool           // a name was replaced: the resolvers may be wrong

	size    int64
	recount bool // something was replaced: size is not the sum of the entries

	hidden map[string]bool // what whiteouts and opaque markers were about
	dirs   []dirTimes
}

// dirTimes are what a directory gets when nothing is made in it any more.
type dirTimes struct {
	path         string
	atime, mtime time.Time
}

func newExtractor(ctx context.Context, root int, tr *tar.Reader, o Options) (*extractor, error) {
	empty, err := fsat.IsEmpty(root)
	if err != nil {
		return nil, err
	}
	return &extractor{
		Options: o,
		ctx:     ctx,
		root:    root,
		tr:      tr,
		crew:    newCrew(),
		order:   newOrder(),
		parents: fsat.NewResolver(root),
		targets: fsat.NewResolver(root),
		recount: !empty,
		hidden:  make(map[string]bool),
	}, nil
}

func (x *extractor) close() {
	defer x.forget()
	x.crew.dismiss()
}

// forget drops the directories that are open: one of their names was replaced.
func (x *extractor) forget() {
	x.held.leave()
	x.parents.Forget()
	x.targets.Forget()
}

// all extracts every entry, and then sets what only the end can.
func (x *extractor) all(in *stream) error {
	err := x.run(in)
	// When both fail, the crew was first: the reader stops at once.
	if err := x.drain(); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	return x.setDirTimes()
}

// run reads the entries.
func (x *extractor) run(in *stream) error {
	last := ""
	for !x.crew.broken.Load() {
		hdr, err := x.tr.Next()
		switch {
		case err == io.EOF && !in.any:
			return errEmpty
		case err == io.EOF:
			return nil
		case err != nil && last == "":
			return fmt.Errorf("first entry: %w", classifyRead(err))
		case err != nil:
			return fmt.Errorf("after entry %s: %w", quote(last), classifyRead(err))
		}
		last = hdr.Name
		if err := x.entry(hdr); err != nil {
			return inEntry(hdr.Name, err)
		}
	}
	return nil // drain has the error
}

// entry extracts one entry.
func (x *extractor) entry(hdr *tar.Header) error {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	path, err := cleanPath(hdr.Name)
	if err != nil {
		return err
	}
	if path == "." {
		return rootEntry(hdr)
	}
	kind, target, err := whiteout.Classify(path)
	if err != nil || kind == whiteout.Metadata {
		return err
	}
	if err := checkLengths(target); err != nil {
		return err
	}
	return x.inOrder(target, func() error {
		switch {
		case kind == whiteout.Opaque:
			return x.opaque(target)
		case kind == whiteout.Whiteout, isWhiteoutDevice(hdr):
			return x.whiteout(target, hdr)
		}
		return x.create(path, hdr)
	})
}

// place is where an entry goes: a name in an open directory.
type place struct {
	dirfd int
	name  string
	path  string
}

// at finds an entry's place, making the directories on the way. It is good
// until the next call.
func (x *extractor) at(path string) (place, error) {
	if x.stale {
		x.forget()
		x.stale = false
	}
	dir, name := split(path)
	dirfd, err := x.parents.Dir(dir, x.makeParent)
	return place{dirfd, name, path}, classifyPath(err)
}

// classifyPath gives a path that cannot be resolved its class: it is the
// layer's own doing.
func classifyPath(err error) error {
	if err == nil || !errors.Is(err, fsat.ErrEscapes) && !layersFault[unwrapErrno(err)] {
		return err
	}
	return fault.New(fault.UnsafeInput, "%w", err)
}

// replacing makes something, if need be in the place of what is there.
func (x *extractor) replacing(p place, create func() error) error {
	err := create()
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := x.clear(p); err != nil {
		return err
	}
	return create()
}

// clear removes whatever is at the place.
func (x *extractor) clear(p place) error {
	if err := x.drain(); err != nil { // what it makes may be in there
		return err
	}
	x.stale, x.recount = true, true
	return fsat.RemoveAll(x.ctx, p.dirfd, p.name)
}
