package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Status is the answer for a layer.
type Status string

// The answers. OK, Changed and Unproven are of a layer that the store has. Changed means
// that content, type, owner, mode, link, device, capabilities or a deletion differ from the
// record; nothing else is Changed.
const (
	OK       Status = "ok"
	Changed  Status = "changed"
	Unproven Status = "unproven" // neither: the record or the layer cannot be read, or the record proves nothing
	Missing  Status = "missing"  // the store lacks the layer
	Removed  Status = "gone"     // the engine removed it meanwhile
)

// Proof says what an OK rests on.
type Proof string

// The proofs. A record that cannot give its tar again has no digest: the headers are compared
// one by one, and the content of files with the record's checksums.
const (
	ByDigest    Proof = "digest"
	ByChecksums Proof = "checksums"
)

// Result is the result for one layer.
type Result struct {
	ID     string        `json:"id"` // in the store
	Chain  digest.Digest `json:"chain"`
	Diff   digest.Digest `json:"diff"`
	Status Status        `json:"status"`
	Proof  Proof         `json:"proof,omitempty"` // of OK
	Reason string        `json:"reason,omitempty"`
}

// IsWrong reports whether the layer differs from its record or is missing.
func (r Result) IsWrong() bool { return r.Status == Changed || r.Status == Missing }

// Verifier compares layers.
type Verifier struct {
	View   *overlayzfs.StoreView
	Engine Engine
	// Progress, if not nil, is called by any goroutine with the number of compared bytes.
	Progress func(n int)

	lowers map[string][]string // by layer: those below it, nearest first
}

// Engine has the records of layers' tars. docker.go and containerd.go have one each.
type Engine interface {
	// OpenTar opens the record of a layer's tar.
	OpenTar(l dockerstore.Layer) (TarRecord, error)
	// FindRemoved returns those of the layers that the engine has no record of now, by their
	// IDs in the store.
	FindRemoved(layers []dockerstore.Layer) (map[string]bool, error)
}

// TarRecord is a Record to close when done.
type TarRecord interface {
	Record
	io.Closer
}

// VerifyLayers compares layers, several at once, and returns the results in the same
// order.
func (v Verifier) VerifyLayers(ctx context.Context, layers []dockerstore.Layer) ([]Result, error) {
	results := make([]Result, len(layers))
	all, err := v.View.Layers()
	if err != nil {
		return nil, err
	}
	v.lowers = make(map[string][]string, len(all))
	for _, l := range all {
		v.lowers[l.ID] = l.Lowers
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, layer := range layers {
		group.Go(func() error {
			results[i] = v.verifyLayer(groupCtx, layer)
			return groupCtx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return results, err
	}
	return results, v.markRemoved(layers, results)
}

// markRemoved replaces the results of layers that the engine removed meanwhile.
func (v Verifier) markRemoved(layers []dockerstore.Layer, results []Result) error {
	var failed []dockerstore.Layer
	for i, r := range results {
		if r.Status != OK {
			failed = append(failed, layers[i])
		}
	}
	if len(failed) == 0 {
		return nil
	}
	removed, err := v.Engine.FindRemoved(failed)
	for i, r := range results {
		if r.Status != OK && removed[r.ID] {
			results[i].Status, results[i].Reason = Removed, ""
		}
	}
	return err
}

func (v Verifier) verifyLayer(ctx context.Context, layer dockerstore.Layer) Result {
	r := Result{ID: layer.CacheID, Chain: layer.Chain, Diff: layer.Diff}
	proof, err := v.compareLayer(ctx, layer)
	if err == nil {
		r.Status, r.Proof = OK, proof
		return r
	}
	r.Status, r.Reason = classify(err), fault.Printable(err.Error())
	return r
}

// classify returns the answer for an error. A call that the kernel refused says nothing of
// the layer.
func classify(err error) Status {
	var errno unix.Errno
	switch {
	case errors.Is(err, errNoLayer):
		return Missing
	case errors.As(err, new(rebuild.Unproven)):
		return Unproven
	case errors.As(err, new(rebuild.Difference)):
		return Changed
	case errors.As(err, &errno):
		return Unproven
	}
	return Changed
}

// errNoLayer is returned when the store lacks the layer.
var errNoLayer = errors.New("the layer is missing in the store")

func (v Verifier) compareLayer(ctx context.Context, layer dockerstore.Layer) (proof Proof, err error) {
	dir, err := v.View.OpenContent(layer.CacheID)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errNoLayer
	}
	if err != nil {
		return "", err
	}
	defer dir.Close()
	record, err := v.Engine.OpenTar(layer)
	if err != nil {
		return "", rebuild.Unproven{Err: err}
	}
	defer func() { err = cmp.Or(err, record.Close()) }()
	tree := treestack.Layer{Dir: dir}
	if layer.Parent != "" {
		tree.OpenBelow = func() ([]*os.File, error) { return v.openAll(v.lowers[layer.CacheID]) }
	}
	return comparison{ctx, tree, v.Progress}.run(record, layer.Diff)
}

// openAll opens the content of layers.
func (v Verifier) openAll(ids []string) ([]*os.File, error) {
	var dirs []*os.File
	for _, id := range ids {
		dir, err := v.View.OpenContent(id)
		if err != nil {
			for _, opened := range dirs {
				err = errors.Join(err, opened.Close())
			}
			return nil, rebuild.Unproven{Err: fmt.Errorf("a layer below: %w", err)}
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}
