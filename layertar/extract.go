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

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// Extract unpacks the layer tar r into dir, an open and empty directory. It returns the
// apparent size of the result, as Size would.
//
// Whiteouts become those of overlayfs. They and opaque markers apply to lower layers only,
// wherever they stand in the tar. After an error dir holds a part of
// the layer and is useless. docs/decisions/0009-layer-tar-rules.md has all rules.
//
// Extract checks ctx between two reads. A Read of r that blocks has to be ended by the
// owner of r.
func Extract(ctx context.Context, dir *os.File, r io.Reader, o Options) (size int64, err error) {
	defer runtime.KeepAlive(dir)
	buffered := bufio.NewReaderSize(&stream{ctx: ctx, r: r}, headerBuffer)
	x, err := newExtractor(ctx, int(dir.Fd()), tar.NewReader(buffered), o)
	if err != nil {
		return 0, fault.Classify(err)
	}
	defer x.close()
	if err := x.extractAll(); err != nil {
		return 0, fault.Classify(err)
	}
	if err := drain(buffered); err != nil {
		return 0, fault.Classify(fmt.Errorf("after the end of the archive: %w", err))
	}
	if x.mustRecount {
		x.order, x.hiding = order{}, nil // the count takes memory, too
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
	writer  *fileWriter
	order   order
	jobDirs dirRefCache    // of the files that the writer is creating
	parents *fsat.Resolver // resolves the directories of entries
	targets *fsat.Resolver // resolves those of hard links' targets; keeps parents cached
	stale   bool           // a name was replaced: the resolvers may be wrong

	size        int64
	mustRecount bool // something was replaced: size is not the sum of the entries

	below     below
	hiding    map[uint64]struct{} // see wasHiding
	dirs      dirTimesList
	linkStore bool // AUFS's directory of linked files has to be removed
	warnings  int
}

func newExtractor(ctx context.Context, root int, tr *tar.Reader, o Options) (*extractor, error) {
	empty, err := fsat.IsEmpty(root)
	if err != nil {
		return nil, err
	}
	return &extractor{
		Options:     o,
		ctx:         ctx,
		root:        root,
		tr:          tr,
		writer:      newFileWriter(),
		order:       newOrder(),
		parents:     fsat.NewResolver(root),
		targets:     fsat.NewResolver(root),
		mustRecount: !empty,
		below:       below{open: o.Below},
		hiding:      make(map[uint64]struct{}),
	}, nil
}

func (x *extractor) close() {
	defer x.dirs.close()
	defer x.below.close()
	defer x.dropDirs()
	x.writer.close()
}

// dropDirs closes the cached directories: a name on one of their paths was replaced.
func (x *extractor) dropDirs() {
	x.jobDirs.drop()
	x.parents.Forget()
	x.targets.Forget()
}

// extractAll extracts every entry and then sets the times of directories.
func (x *extractor) extractAll() error {
	err := x.readEntries()
	// When both fail, the writer failed first: the reader stops at once.
	if err := x.waitPending(); err != nil {
		return err
	}
	if err == nil {
		err = x.removeLinkStore()
	}
	if err != nil {
		return err
	}
	return x.setDirTimes()
}

// readEntries reads the tar and extracts each entry.
func (x *extractor) readEntries() error {
	last := ""
	for !x.writer.failed.Load() {
		hdr, err := x.tr.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil && last == "":
			return fmt.Errorf("first entry: %w", classifyRead(err))
		case err != nil:
			return fmt.Errorf("after entry %s: %w", quote(last), classifyRead(err))
		}
		last = hdr.Name
		if err := x.extractEntry(hdr); err != nil {
			return wrapEntry(hdr.Name, err)
		}
	}
	return nil // waitPending returns the error
}

// extractEntry extracts one entry.
func (x *extractor) extractEntry(hdr *tar.Header) error {
	if hdr.Typeflag == tar.TypeXGlobalHeader || hdr.Typeflag == typeVolumeLabel {
		return nil
	}
	path, err := cleanPath(hdr.Name)
	if err != nil {
		return err
	}
	if path == "." {
		x.skipRootEntry(hdr)
		return nil
	}
	kind, target, err := whiteout.Classify(path)
	if kind == whiteout.Metadata && x.keepLinked(path, hdr) {
		kind = whiteout.None
	}
	if err != nil || kind == whiteout.Metadata {
		return err
	}
	if err := checkLengths(target); err != nil {
		return err
	}
	return x.runOrdered(target, func() error {
		switch {
		case kind == whiteout.Opaque:
			return x.markOpaque(target)
		case kind == whiteout.Whiteout:
			return x.createWhiteout(target, hdr)
		case isWhiteoutDevice(hdr):
			return x.createWhiteoutDevice(target, hdr)
		}
		return x.createEntry(path, hdr)
	})
}

// location is where an entry is created: a name in an open directory.
type location struct {
	dirfd int
	name  string
	path  string
}

// locate finds an entry's location and creates missing directories on its path. The
// location is valid until the next call.
func (x *extractor) locate(path string) (location, error) {
	if x.stale {
		x.dropDirs()
		x.stale = false
	}
	dir, name := split(path)
	dirfd, err := x.parents.Dir(dir, x.makeParent)
	return location{dirfd, name, path}, classifyPath(err)
}

// classifyPath makes an error unsafe input when the layer itself made the path
// impassable.
func classifyPath(err error) error {
	if err == nil || !pathErrnos[unwrapErrno(err)] {
		return err
	}
	return fault.New(fault.UnsafeInput, "%w", err)
}

// createOrReplace calls create, and again after removing whatever has the name.
func (x *extractor) createOrReplace(p location, create func() error) error {
	err := create()
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := x.removeExisting(p); err != nil {
		return err
	}
	return create()
}

// maxWarnings bounds the warnings about one tar.
const maxWarnings = 16

// warn tells about an entry that became something else than the tar says.
func (x *extractor) warn(entry, what string) {
	if x.Warn == nil || x.warnings > maxWarnings {
		return
	}
	if x.warnings++; x.warnings > maxWarnings {
		what = "further entries like these are not listed"
	}
	x.Warn(entry, what)
}

// removeExisting removes what is at the location.
func (x *extractor) removeExisting(p location) error {
	if err := x.waitPending(); err != nil { // pending files may be in there
		return err
	}
	x.stale, x.mustRecount = true, true
	if err := x.recordHiding(p); err != nil {
		return err
	}
	return fsat.RemoveAll(x.ctx, p.dirfd, p.name)
}
