// Package limit changes the limit of one container, which runs or does not.
//
// Only the process that has a store open knows what is mounted, and watches limits. So a
// running door is asked: the plugin by its own call on its socket, the snapshotter by its own
// gRPC service. Where dockerd is stopped, the store is opened here, as the plugin opens it.
package limit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/host"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/plugin"
	"github.com/overlayzfs/overlayzfs/snapshotter/limitcall"
)

// ErrRefused is wrapped by the error of a change that was refused. Nothing was changed.
var ErrRefused = errors.New("refused, and nothing was changed")

// Change says what the limits of a container become. A nil limit stays as it is, and 0 is no
// limit.
type Change struct {
	Bytes  *uint64 `json:"bytes,omitempty"`
	Inodes *uint64 `json:"inodes,omitempty"`
}

// options returns the change as the core's options of a layer.
func (c Change) options() map[string]string {
	options := map[string]string{}
	for name, value := range map[string]*uint64{"size": c.Bytes, "inodes": c.Inodes} {
		if value != nil {
			options[name] = strconv.FormatUint(*value, 10)
		}
	}
	return options
}

// Report says what was changed.
type Report struct {
	Container string `json:"container"`
	// Layer is the layer's ID in the store, or the snapshot's name at the snapshotter.
	Layer string `json:"layer,omitempty"`
	Change
	DryRun bool `json:"dry_run,omitempty"`
}

// OnPlugin changes the limits of a container that Docker's records know, by its name or ID. A dry
// run only finds the container.
func OnPlugin(ctx context.Context, s *inventory.Source, name string, change Change, dryRun bool) (Report, error) {
	inv, err := s.Inventory()
	if err != nil {
		return Report{}, err
	}
	match, err := inv.Find(name)
	if err != nil {
		return Report{}, err
	}
	if match.Kind != "container" || len(match.Layers) == 0 {
		return Report{}, fault.New(fault.Invalid, "%s names no container, but a different thing (%s): `docker ps -a` lists containers", name, match.Kind)
	}
	r := Report{Container: match.Name, Layer: match.Layers[len(match.Layers)-1].ID, Change: change, DryRun: dryRun}
	err = s.View.RequireUnused()
	switch {
	case dryRun:
		return r, nil
	case err == nil:
		return r, setInStore(ctx, s.Where, r)
	case errors.Is(err, fault.Busy):
		return r, wrapRefusal(plugin.RequestLimits(ctx, pluginSocket(s.Where), r.Layer, change.options()))
	}
	return r, err
}

// Docker has the sockets of its plugins here, each managed one's in a directory with its ID.
const (
	pluginSockets = "/run/docker/plugins"
	socketName    = "overlayzfs.sock"
)

func pluginSocket(where host.Location) string {
	if where.Plugin == nil {
		return filepath.Join(pluginSockets, socketName)
	}
	return filepath.Join(pluginSockets, where.Plugin.ID, socketName)
}

// quotaOption is the only one of the driver's options that decides about limits.
const quotaOption = "overlayzfs.quota"

// setInStore opens a store that nobody uses, and changes the limits.
func setInStore(ctx context.Context, where host.Location, r Report) error {
	var chosen []string
	for _, option := range where.Options {
		if name, _, _ := strings.Cut(option, "="); strings.EqualFold(strings.TrimSpace(name), quotaOption) {
			chosen = append(chosen, option)
		}
	}
	o, err := plugin.StoreOptions(chosen)
	if err != nil {
		return err
	}
	store, closeStore, err := host.OpenStore(ctx, where, o)
	if err != nil {
		return wrapRefusal(err)
	}
	return errors.Join(wrapRefusal(store.SetLimits(ctx, r.Layer, r.options())), closeStore())
}

// FindSnapshot returns a container of containerd's or Docker's records, by its name or ID, with
// the snapshotter's name of its snapshot. A name that the records lack is returned as it is: the
// snapshotter may know it as a snapshot's key.
func FindSnapshot(s *inventory.Source, name string) (Report, error) {
	inv, err := s.Inventory()
	if err != nil {
		return Report{}, err
	}
	match, err := inv.Find(name)
	switch {
	case errors.Is(err, fault.NotFound):
		return Report{Container: name, Layer: name}, nil
	case err != nil:
		return Report{}, err
	case match.Kind == "image" || len(match.Layers) == 0:
		return Report{}, fault.New(fault.Invalid, "%s names no container, but a different thing (%s): `overlayzfs ls` lists containers", name, match.Kind)
	}
	return Report{Container: match.Name, Layer: match.Layers[len(match.Layers)-1].SnapshotName}, nil
}

// OnSnapshotter changes the limits of the container in r by the snapshotter that listens on a
// socket. r.Layer is the name of its snapshot, or what the snapshotter takes instead: the
// container's ID or a beginning of it, or the snapshot's key.
func OnSnapshotter(ctx context.Context, socket string, r Report) (Report, error) {
	snapshot, err := limitcall.Request(ctx, socket, r.Layer, r.options())
	r.Layer = snapshot
	return r, wrapRefusal(err)
}

// wrapRefusal makes a refusal of an error that changed nothing.
func wrapRefusal(err error) error {
	var byPlugin *plugin.Refusal
	var bySnapshotter *limitcall.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &byPlugin), errors.As(err, &bySnapshotter):
		return fmt.Errorf("%w: %w", err, ErrRefused)
	}
	switch fault.ClassOf(err) {
	case fault.Busy, fault.LimitReached, fault.Unsupported, fault.Invalid, fault.NotFound:
		return fmt.Errorf("%w: %w", err, ErrRefused)
	}
	return err
}
