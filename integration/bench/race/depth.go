package race

import (
	"fmt"
	"slices"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// depths are numbers of layers below a container. 125 is the engine's limit.
var depths = []int{1, 50, 125}

// depthGroup mounts a layer on more and more layers.
func depthGroup() group {
	g := group{name: "depth", budget: 60 * time.Second}
	for _, depth := range depths {
		g.rows = append(g.rows, makeTimeRow("layers", depthID(depth), "Get and Put of a container's layer, the mean of 5. Warm.", "mount and unmount on %d layers", depth))
	}
	stacks := map[string][]string{}
	// moby's zfs needs two minutes for 125 layers, for the same result as with 50.
	deepest := map[string]int{result.ZFS: 50}
	g.entries = entriesFor(mainField, 4, func(l *turn) error {
		depths := depthsTo(deepest[l.Name])
		stack, err := l.makeStack(stacks[l.Name], depths[len(depths)-1])
		stacks[l.Name] = stack
		if err != nil {
			return err
		}
		for _, depth := range depths {
			if err := l.timeMounts(stack[depth-1], depth); err != nil {
				return err
			}
		}
		return nil
	})
	for i, entry := range g.entries {
		for _, depth := range depthsTo(deepest[entry.contender]) {
			g.entries[i].rows = append(g.entries[i].rows, depthID(depth))
		}
	}
	return g
}

func depthID(depth int) string { return fmt.Sprintf("mount.%d", depth) }

// depthsTo returns the depths up to deepest; 0 returns all.
func depthsTo(deepest int) []int {
	if deepest == 0 {
		return depths
	}
	return slices.DeleteFunc(slices.Clone(depths), func(depth int) bool { return depth > deepest })
}

// makeStack makes layers on top of each other.
func (l *turn) makeStack(stack []string, deepest int) ([]string, error) {
	if len(stack) > 0 {
		return stack, nil
	}
	parent, err := l.Image(layers.Small)
	if err != nil {
		return nil, err
	}
	stack = append(stack, parent)
	for len(stack) < deepest {
		id := l.NewBuildID()
		if err := l.Create(id, parent, nil); err != nil {
			return stack, err
		}
		stack, parent = append(stack, id), id
	}
	return stack, nil
}

func (l *turn) timeMounts(parent string, depth int) error {
	const mounts = 5
	id := l.NewID()
	if err := l.CreateReadWrite(id, parent, nil); err != nil {
		return err
	}
	if err := l.awaitIdle(); err != nil {
		return err
	}
	begin := time.Now()
	for range mounts {
		if err := l.Fill(id, func(string) error { return nil }); err != nil {
			return err
		}
	}
	l.addSample(depthID(depth), milliseconds(time.Since(begin))/mounts)
	return l.Remove(id)
}
