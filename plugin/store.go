package plugin

import (
	"context"
	"slices"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// StoreOptions parses the options of a store of dockerd's layers. To open such a store, the
// plugin and the operator's command both need its rules about which layers an engine may
// come back for.
func StoreOptions(list []string) (overlayzfs.Options, error) {
	o, err := overlayzfs.ParseOptions(list)
	o.MayResume, o.IsStray, o.MayBeTorn = isRecordedEmpty, isStrayInit, isContainers
	return o, err
}

// StoreOpener returns an Opener of the store that Init describes. Of an option that is
// given twice the last one counts: the engine's options come after base, the plugin's.
// observer, which may be nil, is told of each store.
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
