//go:build vm

package overlayzfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
)

// TestConcurrentUse has many users create, fill, compare and remove layers on one base. All of
// them mount and put one layer in common.
func TestConcurrentUse(t *testing.T) {
	const users, rounds = 8, 3
	d := openStore(t)
	create(t, d, "base", "")
	apply(t, d, "base", "", archive(t, "below"))
	create(t, d, "common", "base")
	content := archive(t, "one", "two", "three")

	var all sync.WaitGroup
	errs := make(chan error, users)
	for user := range users {
		all.Go(func() {
			for round := range rounds {
				if err := oneLayersLife(d, fmt.Sprintf("u%dr%d", user, round), content); err != nil {
					errs <- fmt.Errorf("user %d, round %d: %w", user, round, err)
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	requireMounted(t, d.home.layer("common").merged(), false)
	requireTidy(t, d, "base", "common")
}

func oneLayersLife(d *Driver, id string, content []byte) error {
	ctx := context.Background()
	if err := d.Create(ctx, id, "base", CreateOptions{}); err != nil {
		return err
	}
	if _, err := d.ApplyDiff(ctx, id, "base", bytes.NewReader(content)); err != nil {
		return err
	}
	for _, mounted := range []string{id, "common"} {
		if err := look(d, mounted, "below"); err != nil {
			return err
		}
	}
	changes, err := d.Changes(ctx, id, "base")
	if err != nil || len(changes) != 3 {
		return errors.Join(err, fmt.Errorf("%d changes", len(changes)))
	}
	stream, err := d.Diff(ctx, id, "common")
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stream)
	if err = errors.Join(err, stream.Close()); err != nil {
		return err
	}
	return d.Remove(ctx, id)
}

func look(d *Driver, id, file string) error {
	ctx := context.Background()
	dir, err := d.Get(ctx, id, "")
	if err != nil {
		return err
	}
	_, err = os.Stat(dir + "/" + file)
	return errors.Join(err, d.Put(ctx, id))
}
