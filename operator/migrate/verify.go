package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/overlayzfs/overlayzfs/operator/verify"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// verifyCopies compares every image layer that was copied as it is with its digest.
// What was unpacked from its tar was compared on the way.
func (c *carrier) verifyCopies(ctx context.Context) (err error) {
	view, err := c.openView()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	v := verify.Verifier{View: view, Docker: c.docker, Driver: c.job.From}
	results, err := v.VerifyLayers(ctx, slices.Collect(maps.Values(c.records.Layers)))
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Status != verify.OK {
			err = errors.Join(err, fmt.Errorf("layer %s of %s is not as Docker recorded it: %s", r.ID, imageNames(c.records, r.Chain), r.Reason))
		}
	}
	return err
}

// openView looks at the layers that were carried.
func (c *carrier) openView() (*overlayzfs.StoreView, error) {
	if c.job.Target == "" {
		return overlayzfs.OpenDatasetReadOnly(c.job.Dataset)
	}
	return overlayzfs.ViewHome(filepath.Join(c.root.Name(), c.job.Target))
}
