package main

import (
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/gc"
	"github.com/overlayzfs/overlayzfs/internal/inventory"
	"github.com/overlayzfs/overlayzfs/internal/mount"
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
