package guest

import (
	"math/rand/v2"
	"sync"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// maxDepth bounds how high layers are stacked.
const maxDepth = 6

// node is a layer that the load may use.
type node struct {
	wire.Layer
	depth    int
	children int
	// busy counts those who work with it; such a layer is not removed.
	busy int
}

// nodes are the layers, under one lock.
type nodes struct {
	mu   sync.Mutex
	list []*node
}

// add enters a layer that has just been made, and takes it.
func (n *nodes) add(l wire.Layer) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	y := &node{Layer: l, busy: 1, depth: 1}
	for _, below := range n.list {
		if below.ID == l.Parent {
			below.children++
			y.depth = below.depth + 1
		}
	}
	n.list = append(n.list, y)
	return y
}

// image draws a layer to build upon, and takes it; nil when there is none.
func (n *nodes) image(r *rand.Rand) *node {
	return n.draw(r, func(y *node) bool { return y.Recorded && y.depth < maxDepth })
}

// leaf draws a layer that nothing needs and takes it off the list, in one step: nobody may build
// upon it. What is below it is needed until the caller calls removed.
func (n *nodes) leaf(r *rand.Rand) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	y := n.drawLocked(r, func(y *node) bool {
		return y.children == 0 && y.busy == 0 && (y.Recorded || y.Kind == wire.Container || y.Kind == wire.View)
	})
	if y != nil {
		n.dropLocked(y.ID)
	}
	return y
}

// removed tells that a layer of leaf's is gone: what is below it has a child less.
func (n *nodes) removed(y *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.releaseParentLocked(y)
}

func (n *nodes) draw(r *rand.Rand, fits func(*node) bool) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.drawLocked(r, fits)
}

func (n *nodes) drawLocked(r *rand.Rand, fits func(*node) bool) *node {
	var fitting []*node
	for _, y := range n.list {
		if fits(y) {
			fitting = append(fitting, y)
		}
	}
	if len(fitting) == 0 {
		return nil
	}
	y := fitting[r.IntN(len(fitting))]
	y.busy++
	return y
}

// release gives back what was taken; nil needs nothing.
func (n *nodes) release(y *node) {
	if y == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	y.busy--
}

// record makes a layer one to build upon.
func (n *nodes) record(y *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	y.Recorded = true
}

func (n *nodes) forget(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forgetLocked(id)
}

func (n *nodes) forgetLocked(id string) {
	if y := n.dropLocked(id); y != nil {
		n.releaseParentLocked(y)
	}
}

// dropLocked takes a layer off the list.
func (n *nodes) dropLocked(id string) *node {
	for i, y := range n.list {
		if y.ID == id {
			n.list = append(n.list[:i], n.list[i+1:]...)
			return y
		}
	}
	return nil
}

func (n *nodes) releaseParentLocked(y *node) {
	for _, below := range n.list {
		if below.ID == y.Parent {
			below.children--
		}
	}
}

func (n *nodes) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.list)
}
