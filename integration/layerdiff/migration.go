package layerdiff

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"

	"github.com/overlayzfs/overlayzfs/integration/treecmp"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
)

// DataRoot is a Docker data-root of a driver of moby's, made by the driver itself and with the
// records that dockerd writes, but without an engine.
type DataRoot struct {
	Dir    string
	Name   string // the driver's
	Driver Graph

	layers []migratedLayer
	chains map[digest.Digest]bool
}

// migratedLayer is a layer of a data-root.
type migratedLayer struct {
	seed        uint64
	id, parent  string
	chain, diff digest.Digest
	shown       *treecmp.Tree // what the driver shows
}

// Add makes the layers of a stack. It reports false for one that dockerd refuses: the driver, or
// the record of a tar with two files of one name. It does so, too, for one with a layer that is
// there already.
func (d *DataRoot) Add(ctx context.Context, seed uint64, s Stack) (taken bool, err error) {
	var made []migratedLayer
	below := migratedLayer{}
	for i, l := range s {
		raw, err := l.Tar()
		if err != nil {
			return false, err
		}
		m := migratedLayer{seed: seed, id: fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%d %d", seed, i))), parent: below.id, diff: digest.FromBytes(raw)}
		if m.chain = m.diff; i > 0 {
			m.chain = digest.FromString(below.chain.String() + " " + m.diff.String())
		}
		split, err := splitTar(raw)
		if err != nil || d.chains[m.chain] || d.Driver.Apply(ctx, m.id, m.parent, raw) != nil {
			return false, d.drop(ctx, made)
		}
		made = append(made, m)
		files := map[string]string{"cache-id": m.id, "diff": m.diff.String(), "size": fmt.Sprint(len(raw)), "tar-split.json.gz": split}
		if i > 0 {
			files["parent"] = below.chain.String()
		}
		if err := writeFiles(d.layerDir(m.chain), files); err != nil {
			return false, err
		}
		below = m
	}
	for _, m := range made {
		err := d.Driver.Show(ctx, m.id, func(dir string) (err error) {
			m.shown, err = treecmp.FromDir(dir)
			return err
		})
		if err != nil {
			return false, err
		}
		d.chains[m.chain] = true
		d.layers = append(d.layers, m)
	}
	return true, d.recordImage(made)
}

// drop removes layers, the uppermost first, and their records.
func (d *DataRoot) drop(ctx context.Context, made []migratedLayer) (err error) {
	for i := len(made) - 1; i >= 0; i-- {
		err = errors.Join(err, d.Driver.Remove(ctx, made[i].id), os.RemoveAll(d.layerDir(made[i].chain)))
	}
	return err
}

func (d *DataRoot) layerDir(chain digest.Digest) string {
	return filepath.Join(d.Dir, "image", d.Name, "layerdb/sha256", chain.Encoded())
}

// recordImage writes what dockerd records of an image.
func (d *DataRoot) recordImage(stack []migratedLayer) error {
	diffs := make([]string, len(stack))
	for i, m := range stack {
		diffs[i] = m.diff.String()
	}
	raw, err := json.Marshal(map[string]any{"rootfs": map[string]any{"type": "layers", "diff_ids": diffs}})
	if err != nil {
		return err
	}
	return writeFiles(filepath.Join(d.Dir, "image", d.Name, "imagedb/content/sha256"), map[string]string{digest.FromBytes(raw).Encoded(): string(raw)})
}

func writeFiles(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// splitTar returns Docker's record of a tar.
func splitTar(raw []byte) (string, error) {
	var record bytes.Buffer
	z := gzip.NewWriter(&record)
	in, done, err := asm.NewInputTarStreamWithDone(bytes.NewReader(raw), storage.NewJSONPacker(z), nil)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, in)
	err = errors.Join(err, <-done, in.Close(), z.Close())
	return record.String(), err
}

// Check compares what the store shows of each layer with what the driver showed, and the tars
// that `docker save` makes of the two with the recorded digests.
func (d *DataRoot) Check(ctx context.Context, store *LayerDirs, driver string) (found []string, proven int, err error) {
	docker, err := dockerstore.Open(d.Dir)
	if err != nil {
		return nil, 0, err
	}
	defer docker.Close()
	for _, m := range d.layers {
		var after *treecmp.Tree
		var saved error
		if err := store.Show(ctx, m.id, func(dir string) (err error) {
			saved = rebuildLayer(docker, driver, m, dir)
			after, err = treecmp.FromDir(dir)
			return err
		}); err != nil {
			return nil, 0, err
		}
		d.forgive(m.shown, after)
		for _, line := range treecmp.Compare(m.shown, after, treecmp.Options{MTimes: true, Ignore: []string{"."}}) {
			found = append(found, fmt.Sprintf("seed %d: layer %.12s: before | after: %s", m.seed, m.id, line))
		}
		var before error
		if err := d.Driver.Show(ctx, m.id, func(dir string) error {
			before = rebuildLayer(docker, d.Name, m, dir)
			return nil
		}); err != nil {
			return nil, 0, err
		}
		switch {
		case saved == nil:
			proven++
		case before == nil:
			found = append(found, fmt.Sprintf("seed %d: layer %.12s: docker save: before the recorded digest, after: %v", m.seed, m.id, saved))
		}
	}
	return found, proven, nil
}

// forgive takes out of the two trees what a migration changes: whiteouts in overlayfs's form,
// which another driver shows as devices, and what vfs loses from layer to layer though the image
// has it: attributes, and hard links between what is no regular file.
func (d *DataRoot) forgive(trees ...*treecmp.Tree) {
	for _, t := range trees {
		t.Entries = slices.DeleteFunc(t.Entries, isWhiteoutEntry)
		for _, e := range t.Entries {
			if d.Name != "vfs" {
				continue
			}
			maps.DeleteFunc(e.Xattrs, func(name, _ string) bool { return name != layertar.Capabilities })
			if e.Type != treecmp.File {
				e.Names = nil
			}
		}
	}
}

// rebuildLayer makes the tar of a layer again, of its record and the merged tree, as dockerd does
// for a driver without an access of its own to layers' files.
func rebuildLayer(docker *dockerstore.Root, driver string, m migratedLayer, dir string) error {
	record, err := docker.TarSplit(driver, m.chain)
	if err != nil {
		return err
	}
	defer record.Close()
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return rebuild.WriteTar(io.Discard, record, treestack.Layer{Dir: f}, m.diff)
}
