//go:build vm

package transfer

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// TestInspectTargetSeesRawStreams: an encrypted dataset's stream is raw with --raw alone.
func TestInspectTargetSeesRawStreams(t *testing.T) {
	const dataset = "tank/sealed"
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, bytes.Repeat([]byte("k"), 32), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "create", "-o", "encryption=on", "-o", "keyformat=raw", "-o", "keylocation=file://"+key, "-o", "mountpoint=none", dataset)
	t.Cleanup(func() { tool(t, "destroy", "-r", dataset) })
	tool(t, "snapshot", dataset+"@sent")
	z, err := zfs.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, raw := range []bool{true, false} {
		send := []string{"send", dataset + "@sent"}
		if raw {
			send = []string{"send", "--raw", dataset + "@sent"}
		}
		begin, err := zfs.ParseBegin(tool(t, send...)[:zfs.BeginSize])
		target, inspected := InspectTarget(z, "tank/unsealed", begin)
		if err := errors.Join(err, inspected); err != nil {
			t.Fatal(err)
		}
		if target.Raw != raw || target.Exists || !target.Parent {
			t.Errorf("of a stream of zfs %q: %+v", send, target)
		}
	}
}

func tool(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("zfs", args...).Output()
	if err != nil {
		t.Fatalf("zfs %q: %v", args, err)
	}
	return out
}
