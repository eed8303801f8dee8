package containerdstore

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"

	digest "github.com/opencontainers/go-digest"
)

// Blobs are what the content store has of an image.
type Blobs struct {
	Present []digest.Digest // a manifest before what it names
	// Missing is a blob without which the image cannot run, or "". An image can run if the
	// content store has a manifest of one platform with its configuration and all layers.
	Missing digest.Digest
}

// FindBlobs returns what the content store has of an image. It fails when a manifest is
// damaged.
func (r *Root) FindBlobs(target digest.Digest) (b Blobs, err error) {
	w := walk{root: r, seen: map[digest.Digest]bool{}}
	queue := []descriptor{{Digest: target}}
	for len(queue) > 0 && len(w.seen) < maxManifests {
		next := queue[0]
		queue = queue[1:]
		if w.seen[next.Digest] {
			continue
		}
		below, err := w.visit(next)
		if err != nil {
			return b, err
		}
		queue = append(queue, below...)
	}
	if !w.complete {
		b.Missing = cmp.Or(w.missing, target)
	}
	b.Present = w.present
	return b, nil
}

// walk goes down from an image's target.
type walk struct {
	root     *Root
	seen     map[digest.Digest]bool
	present  []digest.Digest
	missing  digest.Digest // the first part of a manifest
	complete bool          // something was found that can run
}

// visit takes a manifest with all below, or an index, whose manifests it returns.
func (w *walk) visit(d descriptor) (below []descriptor, err error) {
	if has, err := w.take(d.Digest); err != nil || !has {
		return nil, err
	}
	doc, err := w.readDocument(d.Digest)
	if err != nil {
		return nil, err
	}
	if doc.Config.Digest == "" && len(doc.Layers) == 0 {
		if len(doc.Manifests) == 0 { // some other file
			w.complete = true
		}
		return doc.Manifests, nil
	}
	whole := true
	for _, part := range append([]descriptor{doc.Config}, doc.Layers...) {
		if part.Digest == "" {
			continue
		}
		has, err := w.take(part.Digest)
		if err != nil {
			return nil, err
		}
		if !has {
			w.missing, whole = cmp.Or(w.missing, part.Digest), false
		}
	}
	w.complete = w.complete || whole && !d.isAttestation()
	return nil, nil
}

// readDocument decodes a manifest or an index. A long file and one in another format are
// none.
func (w *walk) readDocument(d digest.Digest) (doc document, err error) {
	f, err := w.root.OpenBlob(d)
	if err != nil {
		return doc, err
	}
	fi, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil || fi.Size() > maxJSON {
		return doc, err
	}
	raw, err := w.root.readJSON(d)
	if err != nil {
		return doc, err
	}
	if json.Unmarshal(raw, &doc) != nil {
		return document{}, nil //nolint:nilerr // it is in another format
	}
	return doc, nil
}

// take reports whether the content store has a blob.
func (w *walk) take(d digest.Digest) (bool, error) {
	f, err := w.root.OpenBlob(d)
	isNew := !w.seen[d]
	w.seen[d] = true
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if isNew {
		w.present = append(w.present, d)
	}
	return true, f.Close()
}
