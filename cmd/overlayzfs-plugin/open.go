package main

import (
	"context"
	"slices"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// opener opens the store that Init describes. Of one option given twice the
// last counts, so the engine's own go after the plugin's.
func opener(base []string) plugin.Opener {
	return func(ctx context.Context, p plugin.InitParams) (plugin.Driver, error) {
		o, err := overlayzfs.ParseOptions(slices.Concat(base, p.Opts))
		if err != nil {
			return nil, err
		}
		o.IDs = p.Identity()
		d, err := overlayzfs.Open(ctx, p.Home, o)
		if err != nil {
			return nil, err
		}
		return driver{d}, nil
	}
}

// driver puts the store's types into the protocol's.
type driver struct{ *overlayzfs.Driver }

// Create makes a layer.
func (d driver) Create(ctx context.Context, id, parent string, o plugin.CreateOptions) error {
	return d.Driver.Create(ctx, id, parent, overlayzfs.CreateOptions(o))
}

// Changes lists what id holds that parent does not.
func (d driver) Changes(ctx context.Context, id, parent string) ([]plugin.Change, error) {
	found, err := d.Driver.Changes(ctx, id, parent)
	if err != nil {
		return nil, err
	}
	changes := make([]plugin.Change, len(found))
	for i, c := range found {
		changes[i] = plugin.Change{Path: c.Path, Kind: plugin.Kind(c.Kind)}
	}
	return changes, nil
}
