package layertar

import "hash/maphash"

// The crew makes files in no order. What must be in order is kept so here: two
// entries of one name, and what goes through a name that may be on its way.

// maxNames bounds what is remembered of names. A tar with more is extracted one
// by one from there on.
const maxNames = 256 << 10

// maxPending bounds the names of files that are being made.
const maxPending = 64 << 10

// order knows names by their hashes: to take one for another only costs a wait.
type order struct {
	seed maphash.Seed
	// pending are files that may not be there yet.
	pending map[uint64]struct{}
	// links lead elsewhere, or may: a file can be reached through them under
	// another name.
	links map[uint64]struct{}
	// dirs are directories: to replace one takes away what is in it.
	dirs map[uint64]struct{}
	// dir is the directory that the last entry was in, and aliased whether it is
	// reached through a link.
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

func (o *order) note(in map[uint64]struct{}, path string) {
	if !o.full() {
		in[o.hash(path)] = struct{}{}
	}
	o.dir = "" // it may be on the way there
}

func (o *order) full() bool { return len(o.links)+len(o.dirs) >= maxNames }

// pend notes a file that the crew is going to make.
func (o *order) pend(path string) { o.pending[o.hash(path)] = struct{}{} }

// enter notes the directories on the way to an entry.
func (o *order) enter(path string) {
	dir, _ := split(path)
	if dir == o.dir {
		return
	}
	o.aliased = false
	for at := range len(dir) + 1 {
		if at < len(dir) && dir[at] != '/' || at == 0 {
			continue
		}
		_, link := o.links[o.hash(dir[:at])]
		o.aliased = o.aliased || link
		o.note(o.dirs, dir[:at])
	}
	o.dir = dir
}

// apart reports whether an entry must be alone: after all before it, and before
// all that come.
func (o *order) apart(path string) bool {
	o.enter(path)
	name := o.hash(path)
	_, link := o.links[name]
	_, dir := o.dirs[name]
	return o.aliased || link || dir || o.full()
}

// after reports whether an entry must come after all before it.
func (o *order) after(path string) bool {
	_, pending := o.pending[o.hash(path)]
	return pending || len(o.pending) >= maxPending
}

// inOrder does what is to be done at path when nothing else is under way that
// could make a difference.
func (x *extractor) inOrder(path string, do func() error) error {
	apart := x.order.apart(path)
	if apart || x.order.after(path) {
		if err := x.drain(); err != nil {
			return err
		}
	}
	if err := do(); err != nil || !apart {
		return err
	}
	return x.drain()
}

// drain waits for the crew. What it could not make, for the layer has something
// of that name, is made here: the later entry counts.
func (x *extractor) drain() error {
	conflicts := x.crew.wait()
	clear(x.order.pending)
	for _, f := range conflicts {
		if !x.crew.broken.Load() {
			if err := x.replacing(f.place, f.make); err != nil {
				x.crew.fail(f.path, err)
			}
		}
		f.done()
	}
	return x.crew.failure()
}
