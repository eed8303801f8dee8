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

var (
	errTooManyFiles = fmt.Errorf("it has more than %d files", maxLoggedTimes)
	errEmptyXattr   = errors.New("it has an extended attribute with an empty value")
)

// rewriteTimes sets the times of a directory and of everything in it to their present
// values, which logs them. It returns errTooManyFiles above maxLoggedTimes, and errEmptyXattr
// for a file that the log restores without an attribute. Only change times differ afterwards.
func rewriteTimes(ctx context.Context, dir string) (err error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	root := int(f.Fd())
	// One more for the directory itself.
	k := &timeRewriter{left: maxLoggedTimes + 1}
	if err := fsat.Walk(ctx, root, false, k); err != nil {
		return err
	}
	return k.rewrite(root, ".")
}

type timeRewriter struct{ left int }

func (k *timeRewriter) rewrite(parent int, name string) error {
	if k.left--; k.left < 0 {
		return errTooManyFiles
	}
	empty, err := hasEmptyXattr(parent, name)
	if err != nil {
		return err
	}
	if empty {
		return errEmptyXattr
	}
	return fsat.KeepTime(parent, name)
}

// hasEmptyXattr reports whether a file has an extended attribute with an empty value.
func hasEmptyXattr(parent int, name string) (bool, error) {
	attrs, err := fsat.ListXattr(parent, name)
	for _, attr := range attrs {
		value, reading := fsat.GetXattr(parent, name, attr)
		if reading == nil && len(value) == 0 {
			return true, nil
		}
		err = errors.Join(err, reading)
	}
	return false, err
}

// Enter does nothing: Leave rewrites a directory's time after its entries'.
func (k *timeRewriter) Enter(int, fsat.Path, int) error { return nil }

func (k *timeRewriter) File(parent int, path fsat.Path, _ uint8) error {
	return k.rewrite(parent, path.Name)
}

func (k *timeRewriter) Leave(parent int, path fsat.Path) error { return k.rewrite(parent, path.Name) }
