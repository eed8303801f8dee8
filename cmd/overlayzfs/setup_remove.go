package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/doctor"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// runRemoval takes overlayzfs from the host.
func (f *setupFlags) runRemoval(ctx context.Context, c console, parent string) error {
	if parent != "" {
		return usagef("--remove finds what setup has made; leave %s out, or name the layers with --dataset", parent)
	}
	if len(f.options) > 0 {
		return usagef("--opt means nothing with --remove; leave it out")
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
		_, err := f.planRemoval(ctx, c, z)
		return err
	}
	return c.runLocked("setup --remove", func() error {
		plan, err := f.planRemoval(ctx, c, z)
		if err != nil || len(plan.Steps) == 0 {
			return err
		}
		question := "Do this?"
		if f.layers {
			question = "Do this, and lose all images and containers?"
		}
		if err := f.confirm(ctx, c, question); err != nil {
			return err
		}
		return f.apply(ctx, c, z, plan, nil)
	})
}

// planRemoval makes the plan and prints it.
func (f *setupFlags) planRemoval(ctx context.Context, c console, z *zfs.Handle) (host.Plan, error) {
	f.wanted.New = true // daemon.json may no longer name the dataset
	where, err := f.locate()
	if err != nil && !errors.Is(err, fault.NotFound) {
		return host.Plan{}, err
	}
	if err != nil { // neither a plugin nor a dataset is left
		config, err := dockerconf.Read(f.configFile())
		if err != nil {
			return host.Plan{}, err
		}
		where.Root, where.Driver = cmp.Or(f.wanted.Root, config.DataRoot), cmp.Or(f.wanted.Driver, host.PluginDriver(config), host.DefaultDriver)
	}
	several, err := where.FindLayers(z)
	if err != nil {
		return host.Plan{}, err
	}
	if len(several) > 0 && f.layers {
		return host.Plan{}, usagef("datasets %s hold layers: name one with --dataset", strings.Join(several, ", "))
	}
	r := host.Removal{Where: where, Log: f.log(), Layers: f.layers, Config: f.configFile(), Containerd: containerdconf.DefaultFile, Engine: host.FindEngine(ctx, f.host, where.Root)}
	if f.isDefault() {
		r.Systemd = host.SystemdDir
	}
	if r.Engine != nil {
		engine, err := doctor.AskEngine(ctx, f.host)
		if err != nil {
			return host.Plan{}, err
		}
		r.Driver = engine.Driver
	}
	plan, err := host.PlanRemoval(z, r)
	if err != nil {
		return plan, fmt.Errorf("%w: %w", err, errRefused)
	}
	if f.json {
		return plan, writeJSON(c.out, plan)
	}
	return plan, writeRemoval(c.out, plan, "Nothing to remove now.")
}

// writeRemoval prints the steps, or nothing where there are none, and what stays or has to be done
// by hand.
func writeRemoval(w io.Writer, plan host.Plan, nothing string) error {
	if len(plan.Steps) == 0 {
		fmt.Fprintln(w, nothing)
	}
	for i, step := range plan.Steps {
		fmt.Fprintf(w, "%d. %s\n", i+1, step.Do)
	}
	if len(plan.Remaining) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nNext steps:\n  %s\n", strings.Join(plan.Remaining, "\n  "))
	return err
}
