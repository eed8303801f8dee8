package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/operator/writable"
)

// containerReport is what rollback --container prints.
type containerReport struct {
	Name      string `json:"name"` // of the snapshot
	Container string `json:"container"`
	Layer     string `json:"layer"`
	To        string `json:"to,omitempty"`   // a directory, if not in the place of a layer
	Into      string `json:"into,omitempty"` // the container whose layer is replaced, if it is another
	DryRun    bool   `json:"dry_run,omitempty"`
}

// rollBackContainer brings one container's writable layer back from a snapshot.
func (f *rollbackFlags) rollBackContainer(ctx context.Context, c console, name string) error {
	if f.to != "" && f.into != "" {
		return usagef("--to and --into are two places; leave one of the two out")
	}
	return f.readDockerStore("rollback --container", func(s *inventory.Source) error {
		layer, err := writable.Find(s, name, f.container)
		if err != nil {
			return err
		}
		if f.into != "" {
			if err := layer.Into(f.into); err != nil {
				return err
			}
		}
		r := containerReport{Name: name, Container: layer.Container, Layer: layer.ID, To: f.to, Into: f.into, DryRun: f.dryRun}
		if err := f.showContainer(c, r); err != nil || f.dryRun {
			return err
		}
		if err := f.confirm(ctx, c, "Roll back?"); err != nil {
			return err
		}
		step, done := c.showProgress("copying", 0)
		defer done()
		if f.to != "" {
			err = layer.CopyTo(ctx, f.to, step)
		} else {
			err = c.runLocked("rollback", func() error { return replaceLayer(ctx, s, layer, step) })
		}
		if err == nil && !f.json {
			fmt.Fprintln(c.out, "Done.")
		}
		return err
	})
}

// replaceLayer replaces the layer while Docker cannot start.
func replaceLayer(ctx context.Context, s *inventory.Source, layer writable.Layer, step func(int64)) (err error) {
	lock, err := s.Docker.LockDockerd()
	if errors.Is(err, fault.Busy) {
		return fmt.Errorf("%w: %w", err, errRefused)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := layer.RequireStopped(); err != nil {
		return refuseBusy(err)
	}
	return layer.Replace(ctx, step)
}

func (f *rollbackFlags) showContainer(c console, r containerReport) error {
	if f.json {
		return writeJSON(c.out, r)
	}
	to, stay := "in the place of what it has now, which is lost", "Its image, settings and volumes stay as they are."
	switch {
	case r.To != "":
		to = "to " + r.To
	case r.Into != "":
		to = "in the place of what container " + fault.Printable(r.Into) + " has now, which is lost"
		stay = "Settings and volumes of both stay as they are."
	}
	_, err := fmt.Fprintf(c.out, "What container %s had written by snapshot %s, %s.\n%s\n", fault.Printable(r.Container), r.Name, to, stay)
	return err
}
