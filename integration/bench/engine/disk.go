package engine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// runCommand runs a program and returns its output.
func runCommand(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// syncPool writes dirty data out, so that no contender pays for another's writes.
func syncPool(ctx context.Context, pool string) error {
	_, err := runCommand(ctx, "zpool", "sync", pool)
	return err
}

// readUsed returns the space that a dataset and its descendants use on disk.
func readUsed(ctx context.Context, pool, dataset string) (float64, error) {
	if err := syncPool(ctx, pool); err != nil {
		return 0, err
	}
	out, err := runCommand(ctx, "zfs", "get", "-Hpo", "value", "used", dataset)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(out, 64)
}

// readStableUsed waits until the used space stays the same, and returns it. ZFS and
// drivers free space in the background.
func readStableUsed(ctx context.Context, pool, dataset string) (float64, error) {
	if _, err := runCommand(ctx, "zpool", "wait", "-t", "free", pool); err != nil {
		return 0, err
	}
	before := -1.0
	err := inguest.Poll(ctx, func() error {
		now, err := readUsed(ctx, pool, dataset)
		if err == nil && now != before {
			before, err = now, errors.New("the space used still changes")
		}
		return err
	})
	return before, err
}
