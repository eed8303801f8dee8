package race

import (
	"fmt"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// Who runs in most groups.
var (
	mainField = []string{result.Ours, result.OursInProcess, result.ZFS, result.Overlay2, result.Overlay2Tmpfs}
	// fullField is for what depends on sync.
	fullField = []string{result.Ours, result.OursDisabled, result.OursInProcess, result.ZFS, result.Overlay2, result.Overlay2Dis, result.Overlay2Tmpfs}
)

// groups are the whole race, in order: what everything else stands on and what
// matters most first, so that a budget that is too small costs the rest.
func groups(r *runner) []group {
	return []group{
		cycleGroup(),
		snapshotGroup(r),
		rpcGroup(),
		tarGroup(r, smallTar),
		tarGroup(r, baseTar),
		unpackGroup(r, smallUnpack),
		unpackGroup(r, baseUnpack),
		changesGroup(r, baseChanges),
		copyUpGroup(smallCopyUp),
		copyUpGroup(tenMBCopyUp),
		containersGroup(100),
		containersGroup(10),
		depthGroup(),
		buildGroup(buildKit),
		buildGroup(classic),
		// Before what leaves the caches full of names.
		tarGroup(r, manyTar),
		changesGroup(r, manyChanges),
		startGroup(r),
		cyclesGroup(),
		copyUpGroup(gigabyteCopyUp),
		tarGroup(r, largeTar),
		memoryGroup(),
	}
}

// lanesFor gives each contender the same lane.
func lanesFor(contenders []string, rounds int, run func(*lap) error) []lane {
	var lanes []lane
	for _, c := range contenders {
		lanes = append(lanes, lane{contender: c, rounds: rounds, run: run})
	}
	return lanes
}

// once lets a contender run one round only: more would take everybody's time.
func once(lanes []lane, contender string) []lane {
	for i := range lanes {
		if lanes[i].contender == contender {
			lanes[i].rounds = 1
		}
	}
	return lanes
}

// ms is a row of times.
func ms(group, id, note, title string, args ...any) result.Row {
	return result.Row{ID: id, Group: group, Note: note, Title: fmt.Sprintf(title, args...), Unit: result.Milliseconds}
}
