package gc

import (
	"fmt"
	"maps"
	"slices"
)

// checkEngine returns the obstacles when the records may not belong to the engine that
// used the store last, or not to the only one.
func (e Evidence) checkEngine() []string {
	records := fmt.Sprintf("the records of driver %s in data-root %s", e.Driver, e.Root)
	start := "start dockerd once on the right data-root with this version of the plugin, or name the right data-root with --root"
	switch {
	case e.Engine.Token == "":
		return []string{"the store does not record which engine used it last, so " + records + " cannot be relied on: " + start}
	case !slices.Contains(e.Tokens, e.Engine.Token):
		return []string{records + " do not belong to the engine that used the store last: " + start}
	case e.Engine.Disputed && !e.OnlyRoot:
		return []string{"several engines have used the store, or the plugin was reinstalled, and another engine's layers are not in " + records +
			": if no other data-root has images or containers in this store, pass --only-root"}
	}
	return nil
}

// otherDriversLayers returns the layers in Docker's records of other driver names.
func (e Evidence) otherDriversLayers() map[string]bool {
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
		for id := range records.OtherLayers {
			known[id] = true
		}
	}
	return known
}

// checkOtherDrivers returns the obstacles in the records of other drivers, and in all
// records together. findObstacles has those of the inventory's own driver.
func (e Evidence) checkOtherDrivers() (why []string) {
	for _, name := range e.Unreadable {
		why = append(why, describeUnread("Docker", name))
	}
	drivers := map[string]bool{}
	for _, records := range e.Records {
		drivers[records.Driver] = true
	}
	for _, records := range e.Records {
		for _, driver := range slices.Sorted(maps.Keys(records.OtherDrivers)) {
			if !drivers[driver] {
				why = append(why, fmt.Sprintf("container %s uses the storage driver %q, whose other records are lost and might name a layer: restore them, or remove the container", records.OtherDrivers[driver], driver))
			}
		}
		if records.Driver == e.Driver {
			continue
		}
		for _, damage := range records.Damaged {
			why = append(why, describeUnread("Docker", damage.Error()))
		}
		for _, gap := range records.Gaps() {
			why = append(why, describeGap("Docker", gap))
		}
	}
	return why
}
