package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// ErrRefused is in the error of a receive that was refused before it changed anything.
var ErrRefused = errors.New("refused, and nothing was changed")

// ErrUnfinished is in the error of a receive that stopped half-way.
var ErrUnfinished = errors.New("not finished: run it again")

// Receiver receives on one dataset of a host.
type Receiver struct {
	ZFS     *zfs.Handle
	Where   host.Location
	Discard bool // allows deleting newer snapshots and images that only this host has
	DryRun  bool // change nothing
	// Remedy is the command that finishes an interrupted receive.
	Remedy string
}

// LockDocker fails while dockerd runs, and otherwise prevents it from starting until lock
// is closed. The lock is nil when there is no data-root.
func LockDocker(where host.Location) (lock *os.File, err error) {
	docker, err := dockerstore.Open(where.Root)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lock, err = docker.LockDockerd()
	if errors.Is(err, fault.Busy) {
		err = fmt.Errorf("%w: %w", err, ErrRefused)
	}
	return lock, errors.Join(err, docker.Close())
}

// refuseBusy adds ErrRefused to the error of a store that another process has open.
func refuseBusy(err error) error {
	if errors.Is(err, fault.Busy) {
		return fmt.Errorf("%w: stop dockerd first, which may be making layers: %w", err, ErrRefused)
	}
	return err
}

// Receive sets the dataset's property and has ZFS receive the stream. The property prevents
// every driver from opening the store until Finish. Receive calls step with the number of bytes read.
func (p *Plan) Receive(ctx context.Context, step func(int64)) error {
	r, z := p.receiver, p.receiver.ZFS
	o, err := r.setReceiving(p.Receiving)
	if err != nil {
		return err
	}
	snap := r.snapshotOf(p.Receiving.To)
	err = z.Receive(ctx, snap, p.stream.Begin, o, counter{p.stream, step})
	if err == nil || p.Receiving.From == "" {
		return err
	}
	came, lookErr := z.Exists(snap)
	if lookErr != nil || came {
		return errors.Join(fmt.Errorf("%w: `%s` says what came of it: %w", err, r.Remedy, ErrUnfinished), lookErr)
	}
	return errors.Join(err, overlayzfs.ClearReceiving(z, r.Where.Dataset)) // nothing of it stays
}

// setReceiving sets the dataset's property, or returns the options that create it with the
// property.
func (r *Receiver) setReceiving(receiving overlayzfs.Receiving) (o zfs.Receiving, err error) {
	if receiving.From != "" {
		return zfs.Receiving{Force: true}, receiving.SetProperty(r.ZFS, r.Where.Dataset)
	}
	if o.Properties, err = host.LayerProperties(); err != nil {
		return o, err
	}
	properties, err := receiving.Properties()
	maps.Copy(o.Properties, properties)
	return o, err
}

// snapshotOf is the full name of a snapshot of the dataset.
func (r *Receiver) snapshotOf(name string) string { return r.Where.Dataset + "@" + name }

// counter reports to step how many bytes are read.
type counter struct {
	r    io.Reader
	step func(int64)
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.step(int64(n))
	return n, err
}
