package race

import (
	"fmt"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// The contenders of most groups.
var (
	mainField = []string{result.Ours, result.OursInProcess, result.ZFS, result.Overlay2, result.Overlay2Tmpfs}
	// fullField is for rows that depend on sync.
	fullField = []string{result.Ours, result.OursDisabled, result.OursInProcess, result.ZFS, result.Overlay2, result.Overlay2Dis, result.Overlay2Tmpfs}
)

// groups returns all groups in order: the most important ones first, because a budget
// that is too small cuts the end.
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
		// These come before the groups that fill the caches with names.
		tarGroup(r, manyTar),
		changesGroup(r, manyChanges),
		startGroup(r),
		cyclesGroup(),
		tarGroup(r, largeTar),
		memoryGroup(),
	}
}

// entriesFor makes the same entry for each contender.
func entriesFor(contenders []string, rounds int, run func(*turn) error) []entry {
	var entries []entry
	for _, c := range contenders {
		entries = append(entries, entry{contender: c, rounds: rounds, run: run})
	}
	return entries
}

// makeTimeRow makes a row whose samples are times.
func makeTimeRow(group, id, note, title string, args ...any) result.Row {
	return result.Row{ID: id, Group: group, Note: note, Title: fmt.Sprintf(title, args...), Unit: result.Milliseconds}
}
