package layertar

import (
	"context"
	"os"
	"runtime"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/treesize"
)

// Size returns the apparent size of the tree: the lengths of everything except
// directories, hard links once.
func Size(ctx context.Context, dir *os.File) (int64, error) {
	defer runtime.KeepAlive(dir)
	sum, err := treesize.Walk(ctx, int(dir.Fd()))
	return sum.Apparent, fault.Classify(err)
}
