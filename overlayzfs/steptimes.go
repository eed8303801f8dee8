package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// maxLoggedTimes is the largest number of files whose times are logged. Above it, waiting
// for a transaction group is faster.
const maxLoggedTimes = 200

var errTooManyFiles = fmt.Errorf("it has more than %d files", maxLoggedTimes)

// rewriteTimes sets the times of a directory and of everything in it to their present
// values, which logs them. It returns errTooManyFiles above maxLoggedTimes. Only change
// times differ afterwards.
func rewriteTimes(ctx context.Context, dir string) (err error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	root := int(f.Fd())
	if err := fsat.Walk(ctx, root, false, &timeRewriter{left: maxLoggedTimes}); err != nil {
		return err
	}
	return fsat.KeepTime(root, ".")
}

type timeRewriter struct{ left int }

func (k *timeRewriter) rewrite(parent int, name string) error {
	if k.left--; k.left < 0 {
		return errTooManyFiles
	}
	return fsat.KeepTime(parent, name)
}

// Enter does nothing: Leave rewrites a directory's time after its entries'.
func (k *timeRewriter) Enter(int, fsat.Path, int) error { return nil }

func (k *timeRewriter) File(parent int, path fsat.Path, _ uint8) error {
	return k.rewrite(parent, path.Name)
}

func (k *timeRewriter) Leave(parent int, path fsat.Path) error { return k.rewrite(parent, path.Name) }
