package race

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
)

// memoryLimit bounds the tars that are kept in memory. A larger tar is made anew each
// time.
const memoryLimit = 512 << 20

// tarCache keeps layers' tars on tmpfs.
type tarCache struct{ dir string }

// open returns the tar of a shape. Reading it costs all contenders the same.
func (t *tarCache) open(s layers.Shape) (io.ReadCloser, error) {
	if s.Bytes >= memoryLimit {
		return s.Open(), nil
	}
	name := filepath.Join(t.dir, s.Name+".tar")
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return t.create(s, name)
	}
	return f, err
}

// openFile opens the tar of a shape that is small enough to be kept.
func (t *tarCache) openFile(s layers.Shape) (*os.File, int64, error) {
	opened, err := t.open(s)
	if err != nil {
		return nil, 0, err
	}
	f, ok := opened.(*os.File)
	if !ok {
		return nil, 0, errors.Join(fmt.Errorf("the tar of a %s layer is not kept", s.Name), opened.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func (t *tarCache) create(s layers.Shape, name string) (io.ReadCloser, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	_, err = s.WriteTo(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(name))
	}
	return f, nil
}
