package verify

import (
	"context"
	"errors"
	"io/fs"
	"runtime"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// Status is the outcome of a layer's comparison.
type Status string

// The outcomes.
const (
	OK       Status = "ok"
	Changed  Status = "changed"  // the layer differs from Docker's record
	Missing  Status = "missing"  // the store lacks the layer
	Unproven Status = "unproven" // Docker's record of the tar cannot be read
	Removed  Status = "gone"     // Docker removed it meanwhile
)

// Result is the result for one layer.
type Result struct {
	ID     string        `json:"id"` // in the store
	Chain  digest.Digest `json:"chain"`
	Diff   digest.Digest `json:"diff"`
	Status Status        `json:"status"`
	Reason string        `json:"reason,omitempty"`
}

// IsWrong reports whether the layer differs from Docker's record or is missing.
func (r Result) IsWrong() bool { return r.Status == Changed || r.Status == Missing }

// Verifier compares layers.
type Verifier struct {
	View   *overlayzfs.StoreView
	Docker *dockerstore.Root
	Driver string
	// Progress, if not nil, is called by any goroutine with the number of compared bytes.
	Progress func(n int)
}

// VerifyLayers compares layers, several at once, and returns the results in the same
// order.
func (v Verifier) VerifyLayers(ctx context.Context, layers []dockerstore.Layer) ([]Result, error) {
	results := make([]Result, len(layers))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, layer := range layers {
		group.Go(func() error {
			results[i] = v.verifyLayer(ctx, layer)
			return ctx.Err()
		})
	}
	return results, group.Wait()
}

func (v Verifier) verifyLayer(ctx context.Context, layer dockerstore.Layer) Result {
	r := Result{ID: layer.CacheID, Chain: layer.Chain, Diff: layer.Diff}
	err := v.compareLayer(ctx, layer)
	if err != nil && !v.Docker.HasLayer(v.Driver, layer.Chain) {
		r.Status = Removed
		return r
	}
	var unproven rebuild.Unproven
	switch {
	case err == nil:
		r.Status = OK
		return r
	case errors.As(err, &unproven):
		r.Status = Unproven
	case errors.Is(err, errNoLayer):
		r.Status = Missing
	default:
		r.Status = Changed
	}
	r.Reason = fault.Printable(err.Error())
	return r
}

// errNoLayer is returned when the store lacks the layer.
var errNoLayer = errors.New("the layer is missing in the store")

func (v Verifier) compareLayer(ctx context.Context, layer dockerstore.Layer) (err error) {
	record, err := v.Docker.TarSplit(v.Driver, layer.Chain)
	if err != nil {
		return rebuild.Unproven{Err: err}
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	dir, err := v.View.OpenContent(layer.CacheID)
	if errors.Is(err, fs.ErrNotExist) {
		return errNoLayer
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return comparison{ctx, dir, layer.Parent == "", v.Progress}.run(record, layer.Diff)
}
