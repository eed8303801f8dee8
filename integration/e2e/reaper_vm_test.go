//go:build vm

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	reapTime = 30 * time.Second
	reapStep = 50 * time.Millisecond
)

// awaitReaper waits until the files of removed layers are deleted, which the
// driver does after it has answered.
func awaitReaper(store string) error {
	limit := time.After(reapTime)
	poll := time.NewTicker(reapStep)
	defer poll.Stop()
	for {
		left, err := os.ReadDir(filepath.Join(store, ".overlayzfs", "trash"))
		if err != nil || len(left) == 0 {
			return err
		}
		select {
		case <-poll.C:
		case <-limit:
			return fmt.Errorf("%d removed layers still have files after %v", len(left), reapTime)
		}
	}
}
