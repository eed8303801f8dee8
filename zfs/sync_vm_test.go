//go:build vm

package zfs

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// TestWaitTxgWritesTheOpenGroup makes sure that the request without a purpose of its own
// ends with the group that was open before it, and leaves nothing behind.
func TestWaitTxgWritesTheOpenGroup(t *testing.T) {
	h := open(t)
	for _, sync := range []string{"standard", "disabled"} {
		name := fresh(t, "-o", "sync="+sync)
		for range 5 {
			before, err := openTxg(testPool(t))
			check(t, err)
			check(t, h.WaitTxg(t.Context(), name))
			states, err := txgStates(testPool(t))
			check(t, err)
			if before == 0 || states[before] != txgCommitted {
				t.Errorf("group %d, open before, is %q", before, states[before])
			}
		}
		if has, err := h.HasWaitTxg(t.Context(), name); err != nil || !has {
			t.Errorf("HasWaitTxg: %v, %v", has, err)
		}
		if allowed := cli(t, "zfs", "allow", name); allowed != "" {
			t.Errorf("it delegates %q", allowed)
		}
	}
	if history := cli(t, "zpool", "history", "-il", testPool(t)); strings.Contains(history, "permission") {
		t.Error("the pool's history has the waits")
	}
}

// TestWaitTxgKeepsWhatIsDelegated makes sure that permissions of others stay.
func TestWaitTxgKeepsWhatIsDelegated(t *testing.T) {
	h := open(t)
	name := fresh(t)
	cli(t, "zfs", "allow", "-s", "@set", "snapshot,mount", name)
	cli(t, "zfs", "allow", "-e", "@set,hold", name)
	before := cli(t, "zfs", "allow", name)
	check(t, h.WaitTxg(t.Context(), name))
	if after := cli(t, "zfs", "allow", name); after != before || before == "" {
		t.Errorf("delegated before:\n%s\nand after:\n%s", before, after)
	}
}

// TestAHistoryThatIsOffIsNoProof makes sure that WaitTxg is not called proven then.
func TestAHistoryThatIsOffIsNoProof(t *testing.T) {
	h := open(t)
	name := fresh(t)
	kept := kstatDir
	defer func() { kstatDir = kept }()
	kstatDir = t.TempDir()
	check(t, os.Mkdir(filepath.Join(kstatDir, testPool(t)), 0o700))
	check(t, os.WriteFile(filepath.Join(kstatDir, testPool(t), "txgs"), []byte("txg      birth            state\n"), 0o600))
	if has, err := h.HasWaitTxg(t.Context(), name); err != nil || has {
		t.Errorf("HasWaitTxg: %v, %v", has, err)
	}
}

func TestWaitTxgReportsErrors(t *testing.T) {
	h := open(t)
	wantError(t, h.WaitTxg(t.Context(), testPool(t)+"/nosuch"), ErrNotExist)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, h.WaitTxg(ctx, testPool(t)), context.Canceled)
	if err := h.WaitTxg(t.Context(), "no/\x00name"); fault.ClassOf(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
}
