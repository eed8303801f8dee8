package plugin

import (
	"context"
	"slices"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// StoreOptions are those that a store of dockerd's layers is opened with, whoever
// opens it: they say which layers an engine may come back for.
func StoreOptions(list []string) (overlayzfs.Options, error) {
	o, err := overlayzfs.ParseOptions(list)
	o.MayResume, o.IsStray = recordedWhenMade, strayInit
	return o, err
}

// StoreOpener opens the store that Init describes. Of one option given twice
// the last counts, so the engine's own go after base, the plugin's. The observer,
// which may be nil, is told of each store.
func StoreOpener(base []string, observer overlayzfs.Observer) Opener {
	return func(ctx context.Context, p InitParams) (Driver, error) {
		o, err := StoreOptions(slices.Concat(base, p.Opts))
		if err != nil {
			return nil, err
		}
		o.IDs, o.Observer = p.Identity(), observer
		d, err := overlayzfs.Open(ctx, p.Home, o)
		if err != nil {
			return nil, err // and not a Driver that holds a nil store
		}
		return d, nil
	}
}
