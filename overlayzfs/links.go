package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
)

// Copies and restores of a store can lose its short links: programs skip symbolic links, and
// administrators clear l/. Each layer's directory has the name of its link, and each link the
// name of its layer, so that one is made again from the other.

// readLayerNames returns the names of directories that can be layers.
func (h home) readLayerNames() ([]string, error) {
	entries, err := readEntries(string(h))
	if err != nil {
		return nil, err
	}
	var layers []string
	for _, e := range entries {
		if e.IsDir() && checkID("layer", e.Name()) == nil {
			layers = append(layers, e.Name())
		}
	}
	return layers, nil
}

// readEntries is os.ReadDir without its sorting.
func readEntries(dir string) ([]fs.DirEntry, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// shortLinks are the links in a store's l/, by their names, to layers' IDs.
type shortLinks map[string]string

// readShortLinks reads l/. It passes over entries that overlayzfs did not make.
func (h home) readShortLinks() (shortLinks, error) {
	names, err := readNames(h.path(linkDir))
	if err != nil {
		return nil, err
	}
	links := make(shortLinks, len(names))
	for _, name := range names {
		if !quota.IsKey(name) {
			continue
		}
		target, err := os.Readlink(h.path(linkDir, name))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL) { // EINVAL: not a link
			continue
		}
		if err != nil {
			return nil, err
		}
		if id, ok := parseShortLink(target); ok {
			links[name] = id
		}
	}
	return links, nil
}

// byLayer maps layers' IDs to the names of their links.
func (s shortLinks) byLayer() map[string]string {
	shorts := make(map[string]string, len(s))
	for short, id := range s {
		shorts[id] = short
	}
	return shorts
}

// checkLinks compares the number of short links with the number of layers, and looks into
// each layer only when they differ. Get makes the links that this does not find missing.
func (d *Driver) checkLinks(ctx context.Context, b hostBoot) error {
	if alike, err := d.home.hasLinkForEachDir(); err != nil || alike && b.knownStore {
		return err
	}
	layers, err := d.home.readLayerNames()
	if err != nil {
		return err
	}
	entries, err := readEntries(d.home.path(linkDir))
	if err != nil {
		return err
	}
	links := 0
	for _, e := range entries {
		if quota.IsKey(e.Name()) {
			links++
		}
	}
	switch {
	case links < len(layers) || !b.knownStore:
		_, err = d.repairLinks(ctx, layers)
	case links > len(layers) && b.isNew:
		err = d.unlinkDangling(ctx)
	}
	return err
}

// hasLinkForEachDir compares the numbers without reading the names, which takes hundreds of
// reads from a cold disk. ZFS counts a directory's entries in its size, and its directories
// in its links. Entries that are not ours make the numbers differ.
func (h home) hasLinkForEachDir() (bool, error) {
	var root, links unix.Stat_t
	if err := unix.Stat(string(h), &root); err != nil {
		return false, fmt.Errorf("stat %q: %w", h, err)
	}
	if err := unix.Stat(h.path(linkDir), &links); err != nil {
		return false, fmt.Errorf("stat %q: %w", h.path(linkDir), err)
	}
	const itself, ours = 2, 2                                               // "." and ".."; l and .overlayzfs
	return uint64(links.Size)-itself == uint64(root.Nlink)-itself-ours, nil //nolint:unconvert // 32 bits on arm64
}

// repairLinks makes lost short links again, and layers' own records of them. It returns how
// many it made.
func (d *Driver) repairLinks(ctx context.Context, layers []string) (made int, err error) {
	d.repairing.Lock()
	defer d.repairing.Unlock()
	links, err := d.home.readShortLinks()
	if err != nil {
		return 0, err
	}
	shorts := links.byLayer()
	for _, id := range layers {
		if err := ctx.Err(); err != nil {
			return made, err
		}
		repaired, err := d.home.layer(id).repairLink(links, shorts[id])
		if err != nil {
			logrus.WithError(err).WithField("layer", id).Warn("cannot make its short link again")
		}
		if repaired {
			made++
		}
	}
	if made > 0 {
		logrus.WithField("dataset", d.dataset).Warnf("short links of %d layers were lost, and were made again; whatever copies or cleans the store must keep its symbolic links", made)
	}
	return made, nil
}

// repairLink makes the layer's short link and its own record of the link's name agree. known
// is the name of a link that leads to the layer, or empty.
func (l layer) repairLink(links shortLinks, known string) (repaired bool, err error) {
	short, err := readShortName(l.dir())
	switch {
	case err == nil && links[short] == l.id:
		return false, nil
	case err == nil:
		if err := l.home.unlinkIfDangling(links[short], short); err != nil {
			return false, err
		}
		return true, l.makeShortLink(short)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fault.Invalid):
		return false, err
	}
	if err := l.requireLayer(); err != nil {
		return false, err
	}
	if short = known; short == "" {
		short = NewShortName()
		if err := l.makeShortLink(short); err != nil {
			return false, err
		}
	}
	return true, replaceFile(l.home.path(l.id, linkName), []byte(short))
}

func (l layer) makeShortLink(short string) error {
	return os.Symlink(filepath.Join("..", l.id, diffName), l.home.path(linkDir, short))
}

// isForeign reports whether a directory beside the layers is not one of them: it has no
// record of a short link, and has something in it that no layer has.
func (l layer) isForeign() (bool, error) {
	names, err := readNames(l.dir())
	foreign := false
	for _, name := range names {
		if name == linkName {
			return false, nil
		}
		if layerTypes[strings.TrimSuffix(name, newSuffix)] == 0 {
			foreign = true
		}
	}
	return foreign, err
}

// requireLayer refuses a directory beside the layers that is not one of them.
func (l layer) requireLayer() error {
	if err := l.requireExists("layer"); err != nil {
		return err
	}
	foreign, err := l.isForeign()
	if err == nil && foreign {
		err = fault.New(fault.Invalid, "%s is not a layer, and overlayzfs did not make it; move it out of the store", l.dir())
	}
	return err
}

// unlinkDangling deletes short links to layers that do not exist.
func (d *Driver) unlinkDangling(ctx context.Context) error {
	links, err := d.home.readShortLinks()
	if err != nil {
		return err
	}
	for short, id := range links {
		if err := ctx.Err(); err != nil {
			return err
		}
		if exists, err := d.home.layer(id).exists(); err != nil || exists {
			warnLeftover(d.home.layer(id).dir(), err)
			continue
		}
		link := d.home.path(linkDir, short)
		warnLeftover(link, errors.Join(d.limits.Discard(short), unlinkIfThere(link)))
	}
	return nil
}

// unlinkIfDangling deletes a short link that leads to a layer that does not exist. An empty
// ID stands for a missing link. The layer's directory counts: a limited layer's content is
// not mounted, so that its link leads nowhere.
func (h home) unlinkIfDangling(id, short string) error {
	if id == "" {
		return nil
	}
	exists, err := h.layer(id).exists()
	if err != nil {
		return err
	}
	if exists {
		return fault.New(fault.Invalid, "the store is damaged: the short link %s leads to the layer %s", short, id)
	}
	return unlinkIfThere(h.path(linkDir, short))
}

// withLinks runs an operation that follows short links. When it fails for lack of one, it
// makes lost links again and runs the operation once more.
func withLinks[T any](ctx context.Context, d *Driver, run func() (T, error)) (T, error) {
	result, err := run()
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fault.Invalid) {
		return result, err
	}
	layers, failed := d.home.readLayerNames()
	if failed != nil {
		return result, errors.Join(err, failed)
	}
	if made, failed := d.repairLinks(ctx, layers); failed != nil || made == 0 {
		return result, errors.Join(err, failed)
	}
	return run()
}
