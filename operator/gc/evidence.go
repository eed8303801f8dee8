package gc

import (
	"fmt"
	"maps"
	"slices"
)

// checkEngine is why these records may not be those of the engine that used the store
// last, or not of the only one.
func (e Evidence) checkEngine() []string {
	records := fmt.Sprintf("the records of driver %s in data-root %s", e.Driver, e.Root)
	start := "start dockerd once on the right data-root, with this version of the plugin, or name that with --root"
	switch {
	case e.Engine.Token == "":
		return []string{"the store does not say which engine used it last, so " + records + " are not believed: " + start}
	case !slices.Contains(e.Tokens, e.Engine.Token):
		return []string{records + " are not those of the engine that used the store last: " + start}
	case e.Engine.Disputed && !e.OnlyRoot:
		return []string{"more than one engine has used the store, or the plugin was installed anew, and what another engine knows is not in " + records +
			". If no other data-root has images or containers here, say --only-root"}
	}
	return nil
}

// otherDriversLayers are the layers that Docker has records of under other names of a
// driver.
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

// checkOtherDrivers are why the records of other drivers are not believed, or those
// of all together. The inventory has those of its own driver.
func (e Evidence) checkOtherDrivers() (why []string) {
	for _, name := range e.Unreadable {
		why = append(why, describeUnread(name))
	}
	drivers := map[string]bool{}
	for _, records := range e.Records {
		drivers[records.Driver] = true
	}
	for _, records := range e.Records {
		for _, driver := range slices.Sorted(maps.Keys(records.OtherDrivers)) {
			if !drivers[driver] {
				why = append(why, fmt.Sprintf("container %s was made with storage driver %q, of which Docker has no other records: they are lost, and might name a layer", records.OtherDrivers[driver], driver))
			}
		}
		if records.Driver == e.Driver {
			continue
		}
		for _, damage := range records.Damaged {
			why = append(why, describeUnread(damage.Error()))
		}
		for _, gap := range records.Gaps() {
			why = append(why, describeGap(gap))
		}
	}
	return why
}
