//go:build vm

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
)

// awaitReaper waits until the files of removed layers are deleted, which the
// driver does after it has answered.
func awaitReaper(store string) error {
	return settled(func() error {
		left, err := os.ReadDir(filepath.Join(store, ".overlayzfs", "trash"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%d removed layers still have files", len(left))
		}
		return err
	})
}
