package guest

import (
	"strconv"
	"sync"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/powercut/layers"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// TestALayerToRemoveIsNotBuiltUpon draws layers to build upon and to remove at the same time.
func TestALayerToRemoveIsNotBuiltUpon(t *testing.T) {
	const count = 500
	var n nodes
	for i := range count {
		n.release(n.add(wire.Layer{ID: strconv.Itoa(i), Kind: wire.Image, Recorded: true}))
	}
	var removed []*node
	var workers sync.WaitGroup
	workers.Go(func() {
		r := layers.Random(1)
		for range count {
			n.image(r)
		}
	})
	workers.Go(func() {
		r := layers.Random(2)
		for y := n.leaf(r); y != nil; y = n.leaf(r) {
			removed = append(removed, y)
		}
	})
	workers.Wait()
	if len(removed) == 0 {
		t.Error("no layer was drawn to be removed")
	}
	for _, y := range removed {
		if y.busy != 1 {
			t.Errorf("layer %s was drawn to be removed and to be built upon", y.ID)
		}
	}
}

// TestAParentIsNeededUntilItsChildIsRemoved draws while a removal is under way.
func TestAParentIsNeededUntilItsChildIsRemoved(t *testing.T) {
	var n nodes
	n.release(n.add(wire.Layer{ID: "parent", Kind: wire.Image, Recorded: true}))
	n.release(n.add(wire.Layer{ID: "child", Parent: "parent", Kind: wire.Image, Recorded: true}))
	r := layers.Random(1)
	child := n.leaf(r)
	if child == nil || child.ID != "child" {
		t.Fatalf("drew %v", child)
	}
	if y := n.leaf(r); y != nil {
		t.Errorf("drew %s while its child is being removed", y.ID)
	}
	n.removed(child)
	if y := n.leaf(r); y == nil || y.ID != "parent" {
		t.Errorf("drew %v after its child was removed", y)
	}
}
