package layertar

import "hash/maphash"

// The file writer creates files in no order. This file keeps the order where it matters:
// between two entries of one name, and for a path through a name that is not made yet.

// maxNames bounds the names that are remembered. Beyond it, a tar is extracted entry by
// entry.
const maxNames = 256 << 10

// maxPending bounds the names of files that are being created.
const maxPending = 64 << 10

// order remembers names by their hashes. A collision only costs a wait.
type order struct {
	seed maphash.Seed
	// pending are files that may not exist yet.
	pending map[uint64]struct{}
	// links may lead elsewhere: through one, a file has another path.
	links map[uint64]struct{}
	// dirs are directories: replacing one removes its content.
	dirs map[uint64]struct{}
	// dir is the directory of the last entry; aliased says that a link is on its path.
	dir     string
	aliased bool
}

func newOrder() order {
	return order{
		seed:    maphash.MakeSeed(),
		pending: make(map[uint64]struct{}),
		links:   make(map[uint64]struct{}),
		dirs:    make(map[uint64]struct{}),
	}
}

func (o *order) hash(path string) uint64 { return maphash.String(o.seed, path) }

// addName adds path to links or dirs.
func (o *order) addName(set map[uint64]struct{}, path string) {
	if !o.isFull() {
		set[o.hash(path)] = struct{}{}
	}
	o.dir = "" // path may be one of its ancestors
}

func (o *order) isFull() bool { return len(o.links)+len(o.dirs) >= maxNames }

// addPending adds a file that the writer is going to create.
func (o *order) addPending(path string) { o.pending[o.hash(path)] = struct{}{} }

// addAncestors adds the directories on the path of an entry. It reports whether one of them is a
// pending file, which replaces a directory that an opaque marker or a path through a link has made.
func (o *order) addAncestors(path string) (pending bool) {
	dir, _ := split(path)
	if dir == o.dir {
		return false
	}
	o.aliased = false
	for at := range len(dir) + 1 {
		if at < len(dir) && dir[at] != '/' || at == 0 {
			continue
		}
		name := o.hash(dir[:at])
		_, link := o.links[name]
		_, file := o.pending[name]
		o.aliased, pending = o.aliased || link, pending || file
		o.addName(o.dirs, dir[:at])
	}
	o.dir = dir
	return pending
}

// isExclusive reports whether an entry must be extracted alone: after all entries before
// it, and before all that follow.
func (o *order) isExclusive(path string) bool {
	pending := o.addAncestors(path)
	name := o.hash(path)
	_, link := o.links[name]
	_, dir := o.dirs[name]
	return pending || o.aliased || link || dir || o.isFull()
}

// mustWait reports whether an entry must be extracted after all entries before it.
func (o *order) mustWait(path string) bool {
	_, pending := o.pending[o.hash(path)]
	return pending || len(o.pending) >= maxPending
}

// runOrdered runs extract, the extraction of the entry at path, when no pending file can
// change its outcome.
func (x *extractor) runOrdered(path string, extract func() error) error {
	exclusive := x.order.isExclusive(path)
	if exclusive || x.order.mustWait(path) || x.writer.conflictCount.Load() >= maxConflicts {
		if err := x.waitPending(); err != nil {
			return err
		}
	}
	if err := extract(); err != nil || !exclusive {
		return err
	}
	return x.waitPending()
}

// waitPending waits for the writer. A file whose name existed replaces what is there:
// the later entry counts.
func (x *extractor) waitPending() error {
	conflicts := x.writer.waitAll()
	clear(x.order.pending)
	for _, f := range conflicts {
		if !x.writer.failed.Load() {
			if err := x.createOrReplace(f.location, f.create); err != nil {
				x.writer.fail(f.path, err)
			}
		}
		f.release()
	}
	return x.writer.firstError()
}
