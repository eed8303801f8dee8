package treecopy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// comparedPortion is how much is compared between two looks at the context.
const comparedPortion = 1 << 20

// sameContent compares two files.
func sameContent(ctx context.Context, dir int, name string, otherDir int, otherName string) (bool, error) {
	a, err := openFile(dir, name)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := openFile(otherDir, otherName)
	if err != nil {
		return false, err
	}
	defer b.Close()
	left, right := make([]byte, comparedPortion), make([]byte, comparedPortion)
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, leftErr := io.ReadFull(a, left)
		m, rightErr := io.ReadFull(b, right)
		for _, err := range []error{leftErr, rightErr} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, err
			}
		}
		if !bytes.Equal(left[:n], right[:m]) {
			return false, nil
		}
		if leftErr != nil || rightErr != nil {
			return true, nil
		}
	}
}

func openFile(dir int, name string) (*os.File, error) {
	fd, err := fsat.OpenFile(dir, name)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
