package engine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// settleLimit is how long a contender may take to free what it removed.
const settleLimit = time.Minute

// runCommand runs a program of the guest and returns what it says.
func runCommand(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// syncPool writes out what is dirty, so that nobody pays for another's writes.
func syncPool(ctx context.Context, pool string) error {
	_, err := runCommand(ctx, "zpool", "sync", pool)
	return err
}

// readUsed is the space of a dataset and all below it, on disk now.
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

// readSettledUsed is used once it does not change any more: what was removed may be
// freed a while later, by ZFS or by a driver.
func readSettledUsed(ctx context.Context, pool, dataset string) (float64, error) {
	if _, err := runCommand(ctx, "zpool", "wait", "-t", "free", pool); err != nil {
		return 0, err
	}
	before := -1.0
	err := eventually(ctx, func() error {
		now, err := readUsed(ctx, pool, dataset)
		if err == nil && now != before {
			before, err = now, errors.New("the space used still changes")
		}
		return err
	})
	return before, err
}

// eventually repeats what can fail for a while.
func eventually(ctx context.Context, do func() error) error {
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	limit := time.After(settleLimit)
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-limit:
			return fmt.Errorf("after %v still: %w", settleLimit, err)
		case <-poll.C:
		}
	}
}
