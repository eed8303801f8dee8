package gc

import (
	"fmt"
	"maps"
	"slices"
)

// elsewhere are the layers that Docker has records of under other names of a
// driver.
func (e Evidence) elsewhere() map[string]bool {
	known := map[string]bool{}
	for _, records := range e.Records {
		if records.Driver == e.Driver {
			continue
		}
		for _, l := range records.Layers {
			known[l.CacheID] = true
		}
		for _, m := range records.Mounts {
			known[m.MountID], known[m.InitID] = true, true
		}
		for id := range records.Others {
			known[id] = true
		}
	}
	return known
}

// contradictions are why the records of other drivers are not believed, or those
// of all together. The inventory has those of its own driver.
func (e Evidence) contradictions() (why []string) {
	for _, name := range e.Unread {
		why = append(why, unread(name))
	}
	drivers := map[string]bool{}
	for _, records := range e.Records {
		drivers[records.Driver] = true
	}
	for _, records := range e.Records {
		for _, driver := range slices.Sorted(maps.Keys(records.Elsewhere)) {
			if !drivers[driver] {
				why = append(why, fmt.Sprintf("container %s was made with storage driver %q, of which Docker has no other records: they are lost, and might name a layer", records.Elsewhere[driver], driver))
			}
		}
		if records.Driver == e.Driver {
			continue
		}
		for _, damage := range records.Damaged {
			why = append(why, unread(damage.Error()))
		}
		for _, gap := range records.Gaps() {
			why = append(why, gapped(gap))
		}
	}
	return why
}
