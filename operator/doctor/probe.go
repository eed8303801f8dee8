package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// RunProbe creates a scratch dataset below the store's, with the same properties, opens a
// store there as the plugin does, and destroys the dataset again. This tries everything
// that overlayfs and limits need, and measures a copy-up.
func RunProbe(ctx context.Context, z *zfs.Handle, dataset string) *Probe {
	p := &Probe{}
	p.Err = p.run(ctx, z, dataset)
	return p
}

func (p *Probe) run(ctx context.Context, z *zfs.Handle, dataset string) (err error) {
	dir, err := os.MkdirTemp("/run", ScratchPrefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	name := fmt.Sprintf("%s/%s%d-%d", dataset, ScratchPrefix, os.Getpid(), time.Now().UnixNano())
	if err := z.CreateFilesystem(name, zfs.Properties{"mountpoint": zfs.String("legacy")}); err != nil {
		return err
	}
	// The dataset is destroyed even when the context is done.
	defer func() { err = errors.Join(err, z.DestroyRetry(context.WithoutCancel(ctx), name)) }()
	return p.probeStore(ctx, dir, name)
}

func (p *Probe) probeStore(ctx context.Context, dir, dataset string) (err error) {
	d, err := overlayzfs.Open(ctx, dir, overlayzfs.Options{Dataset: dataset})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	stats, err := d.Stats()
	if err != nil {
		return err
	}
	p.CopyUp = stats.CopyUp
	lines, err := d.Status(ctx)
	if err != nil {
		return err
	}
	for _, line := range lines {
		switch line[0] {
		case "Quota":
			p.Quota = line[1]
		case "Sync":
			p.Sync = line[1]
		}
	}
	return nil
}
