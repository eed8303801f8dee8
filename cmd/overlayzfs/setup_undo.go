package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/services"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// runUndo brings the host back to the state before setup.
func (f *setupFlags) runUndo(ctx context.Context, c console, parent string) error {
	switch {
	case parent != "":
		return usagef("--undo finds in the log what setup has made; leave %s out", parent)
	case len(f.options) > 0:
		return usagef("--opt means nothing with --undo; leave it out")
	case !f.isDefault():
		return usagef("--undo means nothing with --config-file: setup keeps a log for %s alone; use --remove", dockerconf.DefaultFile)
	}
	if err := f.checkPrompt(f.output); err != nil {
		return err
	}
	z, err := zfs.Open()
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }() // every write has been answered
	if f.dryRun {
		_, err := f.planUndo(ctx, c, z)
		return err
	}
	return c.runLocked("setup --undo", func() error {
		plan, err := f.planUndo(ctx, c, z)
		if err != nil || len(plan.Steps) == 0 {
			return err
		}
		question := "Do this?"
		if f.layers {
			question = "Do this, and lose all images and containers on the layers?"
		}
		if err := f.confirm(ctx, c, question); err != nil {
			return err
		}
		return f.apply(ctx, c, z, plan, f.log())
	})
}

// planUndo makes the plan and prints it.
func (f *setupFlags) planUndo(ctx context.Context, c console, z *zfs.Handle) (host.Plan, error) {
	containerd, err := containerdconf.Read(containerdconf.DefaultFile)
	if err != nil {
		return host.Plan{}, err
	}
	driver := cmp.Or(f.wanted.Driver, host.DefaultDriver)
	where, err := host.FindStore(host.Overrides{Config: f.configFile(), Driver: driver, New: true})
	if err != nil && !errors.Is(err, fault.NotFound) {
		return host.Plan{}, err
	}
	plan, err := host.PlanUndo(ctx, z, host.Undo{
		Log: f.log(), Services: services.Find(), Engine: host.FindEngine(ctx, f.host, ""), Config: f.configFile(), Where: where,
		Layers: f.layers, NoRestart: f.noRestart, ContainerdRoot: containerd.Root, Driver: driver, Loaded: host.HasLoaded(ctx, driver),
	})
	if err != nil {
		return plan, fmt.Errorf("%w: %w", err, errRefused)
	}
	if f.json {
		return plan, writeJSON(c.out, plan)
	}
	return plan, writeRemoval(c.out, plan, "Nothing to undo now.")
}
