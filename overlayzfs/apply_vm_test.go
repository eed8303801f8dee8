//go:build vm

package overlayzfs

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// filling writes a file, and hides a file of the layer below.
func filling(t *testing.T) func(*os.File) error {
	return func(dir *os.File) error {
		write(t, dir.Name()+"/filled", "whole")
		return unix.Mknodat(int(dir.Fd()), "old", unix.S_IFCHR, 0)
	}
}

// TestFill fills layers with and without a limit, with content as overlayfs writes it.
func TestFill(t *testing.T) {
	d := limitedStore(t, "fill")
	limited(t, d, "limited", "size=32M")
	create(t, d, "plain", "base")
	for _, id := range []string{"limited", "plain"} {
		must(t, d.Fill(context.Background(), id, filling(t)))
		change(t, d, id, func(dir string) {
			if raw, err := os.ReadFile(dir + "/filled"); err != nil || string(raw) != "whole" {
				t.Errorf("%s shows %q, %v", id, raw, err)
			}
			if _, err := os.Lstat(dir + "/old"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s shows what it hides: %v", id, err)
			}
		})
		if err := d.Fill(context.Background(), id, filling(t)); !errors.Is(err, fault.Exists) {
			t.Errorf("%s is filled twice: %v", id, err)
		}
		if err := d.Fill(context.Background(), "base", filling(t)); !errors.Is(err, fault.Busy) {
			t.Errorf("a layer that others stand on is filled: %v", err)
		}
	}
	if err := d.Fill(context.Background(), "none", filling(t)); !errors.Is(err, fault.NotFound) {
		t.Errorf("a layer that is not there: %v", err)
	}
}

// TestAFillThatFails leaves nothing, and a second Fill does not continue it. The same holds for
// a Fill that a crash cut short.
func TestAFillThatFails(t *testing.T) {
	d := limitedStore(t, "fillfails")
	create(t, d, "plain", "base")
	refused := errors.New("refused")
	err := d.Fill(context.Background(), "plain", func(dir *os.File) error {
		return errors.Join(filling(t)(dir), refused)
	})
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if left := list(t, d.home.layer("plain").diff()); len(left) > 0 {
		t.Errorf("left of it: %q", left)
	}
	if err := d.Fill(context.Background(), "plain", filling(t)); !errors.Is(err, fault.Interrupted) {
		t.Errorf("once more: %v", err)
	}
	d = crash(t, d)
	if exists(t, d, "plain") {
		t.Error("a layer that was never filled is there after a crash")
	}
	requireTidy(t, d, "base")
}
