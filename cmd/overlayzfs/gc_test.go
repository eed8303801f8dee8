package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/gc"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
)

// TestARefusalSaysWhatWasDone: with the store open, something was.
func TestARefusalSaysWhatWasDone(t *testing.T) {
	refused := gc.Plan{Obstacles: []string{"a reason"}}
	if err := allowed(refused); exitCode(err) != exitRefused {
		t.Errorf("%v", err)
	}
	err := stillAllowed(refused)
	if exitCode(err) != exitUnfinished || !strings.Contains(err.Error(), "a reason") || strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("%v", err)
	}
	if allowed(gc.Plan{}) != nil || stillAllowed(gc.Plan{}) != nil {
		t.Error("a plan without obstacles is refused")
	}
}

func TestOnlyOverlaysCountAsMounted(t *testing.T) {
	layers := []inventory.Layer{{ID: id("1")}, {ID: id("2")}, {ID: id("3")}}
	why := mountsOf(layers, []*mount.Info{
		{FSType: "overlay", Mountpoint: "/a/" + id("1") + "/merged"},
		{FSType: "tmpfs", Mountpoint: "/b/" + id("2") + "/merged"},
		{FSType: "overlay", Mountpoint: "/c/" + id("3")},
	})
	if len(why) != 1 || !strings.Contains(why[0], "/a/"+id("1")) {
		t.Errorf("%q", why)
	}
}

// TestNoNameReachesTheTerminalAsItIs: those of files in Docker's data-root can be
// anybody's.
func TestNoNameReachesTheTerminalAsItIs(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"image/overlayzfs/layerdb/sha256/\x1b[2J", "image/\x1b[1m/imagedb"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	docker, err := dockerstore.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	records, err := docker.Read("overlayzfs")
	if err != nil || len(records.Damaged) != 1 {
		t.Fatalf("%+v, %v", records, err)
	}
	_, none := docker.Read("none")
	inv := inventory.Build("tank/docker", nil, records)
	plan := gc.Decide(inv, gc.Evidence{Root: root, Driver: "overlayzfs", Unreadable: []string{"\x1b[3m"}})
	var out bytes.Buffer
	warn(console{err: &out}, inv)
	err = errors.Join(writePlan(&out, plan), writeVerdict(&out, verdict{Warnings: inv.Warnings}, inv))
	if text := out.String() + none.Error(); err != nil || strings.Contains(text, "\x1b") || !strings.Contains(text, `\x1b[2J`) {
		t.Errorf("%v\n%s", err, text)
	}
}
