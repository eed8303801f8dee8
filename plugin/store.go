package plugin

import (
	"context"
	"slices"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// StoreOpener opens the store that Init describes. Of one option given twice
// the last counts, so the engine's own go after base, the plugin's.
func StoreOpener(base []string) Opener {
	return func(ctx context.Context, p InitParams) (Driver, error) {
		o, err := overlayzfs.ParseOptions(slices.Concat(base, p.Opts))
		if err != nil {
			return nil, err
		}
		o.IDs = p.Identity()
		o.Resumes, o.Stray = recordedWhenMade, strayInit
		d, err := overlayzfs.Open(ctx, p.Home, o)
		if err != nil {
			return nil, err // and not a Driver that holds a nil store
		}
		return d, nil
	}
}
