package overlayzfs

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// fewFiles is of how many files' times the intent log takes faster than a
// transaction group ends.
const fewFiles = 200

var errManyFiles = errors.New("it has more than a few files")

// keepTimes sets the time of everything in a directory, and its own, to what it
// is. It gives up at more than a few files, and changes nothing that can be seen
// but their change time.
func keepTimes(ctx context.Context, dir string) (err error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	root := int(f.Fd())
	if err := fsat.Walk(ctx, root, false, &timeKeeper{left: fewFiles}); err != nil {
		return err
	}
	return fsat.KeepTime(root, ".")
}

type timeKeeper struct{ left int }

func (k *timeKeeper) keep(parent int, name string) error {
	if k.left--; k.left < 0 {
		return errManyFiles
	}
	return fsat.KeepTime(parent, name)
}

// Enter is nothing to do: a directory's time is kept as that of what is in it.
func (k *timeKeeper) Enter(int, fsat.Path, int) error { return nil }

func (k *timeKeeper) File(parent int, path fsat.Path, _ uint8) error {
	return k.keep(parent, path.Name)
}

func (k *timeKeeper) Leave(parent int, path fsat.Path) error { return k.keep(parent, path.Name) }
