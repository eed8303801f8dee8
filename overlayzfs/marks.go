package overlayzfs

import (
	"errors"
	"os"
)

// A mark is an empty file with a layer's ID for a name, in a private directory. It says that
// the layer is building or mutable. Only the process that has the store open changes marks,
// so it keeps their names in memory: most calls are about layers without a mark, and ask no
// file system about them.

// loadMarks reads which layers have marks.
func (d *Driver) loadMarks() error {
	for dir, set := range map[string]*idSet{buildingDir: &d.building, mutableDir: &d.mutable} {
		names, err := readNames(d.home.privatePath(dir))
		if err != nil {
			return err
		}
		for _, id := range names {
			set.add(id)
		}
	}
	return nil
}

// markBuilding records that the layer waits for content. A container's layer does not.
func (d *Driver) markBuilding(l layer, o CreateOptions) error {
	if o.ReadWrite {
		return d.clearMarks(l.id)
	}
	d.building.add(l.id)
	return ensureFile(d.home.buildingMark(l.id))
}

// markMutable turns a building layer that is being mounted into a mutable one. Its
// content has to become durable again.
func (d *Driver) markMutable(l layer) error {
	if d.building.has(l.id) {
		if err := d.replaceBuildingMark(l.id); err != nil {
			return err
		}
	}
	if d.isMutable(l) {
		d.durableLayers.remove(l.id)
	}
	return nil
}

// replaceBuildingMark makes a mutable layer of a building one.
func (d *Driver) replaceBuildingMark(id string) error {
	if err := os.Rename(d.home.buildingMark(id), d.home.mutableMark(id)); err != nil {
		return err
	}
	d.building.remove(id)
	d.mutable.add(id)
	return nil
}

// isMutable reports whether the layer is a build step at work: Create made it without
// ReadWrite, and then it was mounted instead of given a diff. Its builder records it after
// the last Put, without another call. So that Put makes it durable, at once and as a whole.
// No fsync inside the step has to mean anything before, which is why it is mounted volatile.
func (d *Driver) isMutable(l layer) bool { return d.mutable.has(l.id) }

// clearMarks makes a building or mutable layer ready: recovery then never removes it. It also
// clears the marks of a layer that was not made, or was removed.
func (d *Driver) clearMarks(id string) error {
	return errors.Join(clearMark(&d.building, id, d.home.buildingMark(id)), clearMark(&d.mutable, id, d.home.mutableMark(id)))
}

func clearMark(set *idSet, id, path string) error {
	if !set.has(id) {
		return nil
	}
	err := unlinkIfThere(path)
	if err == nil {
		set.remove(id)
	}
	return err
}
