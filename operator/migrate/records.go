package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// requireComplete fails for records that are damaged or incomplete. The plan checked
// this as well, but dockerd may have run since.
func requireComplete(records *dockerstore.Records) error {
	var why Obstacles
	for _, damage := range records.Damaged {
		why = append(why, fmt.Sprintf("cannot read a record of Docker: %v", damage))
	}
	for _, gap := range records.Gaps() {
		why = append(why, fmt.Sprintf("Docker's records are incomplete: %v; remove the one that lacks the other", gap))
	}
	for _, id := range findAmbiguousIDs(records) {
		why = append(why, fmt.Sprintf("Docker's records contradict each other: %q names more than one layer", id))
	}
	if len(why) == 0 {
		return nil
	}
	return why
}

// findAmbiguousIDs returns the layer IDs that are recorded more than once, or that are
// the name of overlay2's directory of short links.
func findAmbiguousIDs(records *dockerstore.Records) []string {
	count := map[string]int{"l": 1}
	for _, layer := range records.Layers {
		count[layer.CacheID]++
	}
	for _, m := range records.Mounts {
		count[m.MountID]++
		if m.InitID != "" {
			count[m.InitID]++
		}
	}
	maps.DeleteFunc(count, func(_ string, n int) bool { return n < 2 })
	return slices.Sorted(maps.Keys(count))
}

// imageDir returns the directory of Docker's records of a driver's images.
func imageDir(driver string) string { return path.Join("image", driver) }

// recordLists are the directories with one entry for each layer, writable layer and
// image.
var recordLists = []string{"layerdb/sha256", "layerdb/mounts", "imagedb/content/sha256"}

// hasRecords reports whether a directory of records names a layer or an image.
func (r *dataRoot) hasRecords(dir string) (bool, error) {
	for _, below := range recordLists {
		names, err := r.listNames(path.Join(dir, below))
		if err != nil || len(names) > 0 {
			return true, err
		}
	}
	return false, nil
}

// recordNames lists the entries of layers, writable layers and images.
func (r *dataRoot) recordNames(dir string) (all []string, err error) {
	for _, below := range recordLists {
		names, err := r.listNames(path.Join(dir, below))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			all = append(all, path.Join(below, name))
		}
	}
	return all, nil
}

// hasNoRecords is the opposite of hasRecords, for moveOnce.
func (r *dataRoot) hasNoRecords(dir string) (bool, error) {
	has, err := r.hasRecords(dir)
	return !has, err
}

// removeEmptyRecords removes the empty records that a driver's first start leaves. It
// fails when they name an image or a layer.
func (r *dataRoot) removeEmptyRecords(driver string) error {
	dir := imageDir(driver)
	has, err := r.hasRecords(dir)
	if err != nil {
		return err
	}
	if has {
		return fault.New(fault.Exists, "Docker already has images or containers under the driver %s (%s): remove them first", driver, path.Join(r.Name(), dir))
	}
	return r.RemoveAll(dir)
}

// copyRecords copies the records of one driver to another and replaces an earlier copy. It
// leaves skipped images out.
func (r *dataRoot) copyRecords(j *Job) error {
	from, to := j.From, j.To
	if err := r.requireNothingNew(imageDir(to), imageDir(from)); err != nil {
		return err
	}
	if err := errors.Join(r.RemoveAll(imageDir(to)), r.RemoveAll(stagedName)); err != nil {
		return err
	}
	if err := r.copyFiles(imageDir(from), stagedName); err != nil {
		return err
	}
	if err := r.dropSkipped(j); err != nil {
		return err
	}
	if err := r.syncTree(stagedName); err != nil {
		return err
	}
	if err := r.MkdirAll(path.Dir(imageDir(to)), 0o700); err != nil {
		return err
	}
	return r.renameDurably(stagedName, imageDir(to))
}

// dropSkipped removes skipped images from the copy of the records.
func (r *dataRoot) dropSkipped(j *Job) error {
	if len(j.Skip) == 0 {
		return nil
	}
	docker, err := dockerstore.OpenRoot(r.Root)
	if err != nil {
		return err
	}
	records, err := docker.Read(j.From)
	if err := errors.Join(err, docker.Close()); err != nil {
		return err
	}
	return r.removeSkipped(stagedName, j.Skip, j.skipImages(records))
}

// requireNothingNew fails when an earlier copy of records has an entry that the original
// lacks: dockerd was started with the copy and added it.
func (r *dataRoot) requireNothingNew(dir, original string) error {
	for _, below := range recordLists {
		names, err := r.listNames(path.Join(dir, below))
		if err != nil {
			return err
		}
		for _, name := range names {
			known, err := r.exists(path.Join(original, below, name))
			if err != nil {
				return err
			}
			if !known {
				return fault.New(fault.Exists, "dockerd was started during the migration and created %s: discard that with --undo, and start again", path.Join(dir, below, name))
			}
		}
	}
	return nil
}

// containerID matches the names of containers' directories.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// containerDrivers returns the drivers that containers use, each with the ID of one such
// container.
func (r *dataRoot) containerDrivers() (map[string]string, error) {
	names, err := r.listNames("containers")
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, id := range names {
		raw, err := r.ReadFile(path.Join("containers", id, "config.v2.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // dockerd skips it as well
		}
		var record struct{ Driver string }
		if err := errors.Join(err, json.Unmarshal(raw, &record)); err != nil {
			return nil, fmt.Errorf("container %.12s: %w", id, err)
		}
		found[record.Driver] = id
	}
	return found, nil
}

// setDrivers changes the driver in the records of the containers that want selects.
func (r *dataRoot) setDrivers(from, to string, want func(id string) (bool, error), change func(fields map[string]json.RawMessage) error) error {
	names, err := r.listNames("containers")
	if err != nil {
		return err
	}
	for _, id := range names {
		if !containerID.MatchString(id) {
			continue
		}
		if wanted, err := want(id); err != nil {
			return err
		} else if !wanted {
			continue
		}
		if err := r.setDriver(path.Join("containers", id, "config.v2.json"), from, to, change); err != nil {
			return fmt.Errorf("container %.12s: %w", id, err)
		}
	}
	return nil
}

// setContainersAside moves the records of a driver's containers away, except those that keep
// selects. removeJournal deletes them. It fails for one that was migrated: that is not one made
// since.
func (r *dataRoot) setContainersAside(driver string, keep func(id string) (bool, error), migrated []string) error {
	names, err := r.listNames("containers")
	if err != nil {
		return err
	}
	for _, id := range names {
		if !containerID.MatchString(id) {
			continue
		}
		kept, err := keep(id)
		if err != nil {
			return err
		}
		if kept {
			continue
		}
		raw, err := r.ReadFile(path.Join("containers", id, "config.v2.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // dockerd skips it as well
		}
		var record struct{ Driver string }
		if err := errors.Join(err, json.Unmarshal(raw, &record)); err != nil {
			return fmt.Errorf("container %.12s: %w", id, err)
		}
		if record.Driver != driver {
			continue
		}
		if slices.Contains(migrated, id) {
			return fault.New(fault.NotFound, "container %.12s was migrated, and Docker's record of its old layer is gone, so that it is not set aside: remove the container with the driver %s, or restore the record from a backup", id, driver)
		}
		if err := r.MkdirAll(containersName, 0o700); err != nil {
			return err
		}
		if err := r.renameDurably(path.Join("containers", id), path.Join(containersName, id)); err != nil {
			return err
		}
	}
	return nil
}

// setDriver changes the driver in a container's record, and with change, which may be nil,
// other fields. All others stay.
func (r *dataRoot) setDriver(name, from, to string, change func(fields map[string]json.RawMessage) error) error {
	raw, err := r.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // dockerd skips it as well
	}
	if err != nil {
		return err
	}
	info, err := r.Stat(name)
	if err != nil {
		return err
	}
	fields := map[string]json.RawMessage{}
	var driver string
	if err := errors.Join(json.Unmarshal(raw, &fields), json.Unmarshal(fields["Driver"], &driver)); err != nil {
		return fault.New(fault.Invalid, "%s is not a container's record: %w", name, err)
	}
	if driver != from {
		return nil
	}
	if fields["Driver"], err = json.Marshal(to); err != nil {
		return err
	}
	if change != nil {
		if err := change(fields); err != nil {
			return err
		}
	}
	if raw, err = json.Marshal(fields); err != nil {
		return err
	}
	return r.writeFile(name, raw, info.Mode().Perm())
}

// setBuildsAside moves BuildKit's records away and keeps them for an undo, because they
// name cache layers that are not copied. BuildKit creates new records. When records were
// set aside before, the present ones come from a start of dockerd in between and go.
func (r *dataRoot) setBuildsAside() error {
	aside, err := r.exists(buildsName)
	if err != nil {
		return err
	}
	if aside {
		return r.RemoveAll("buildkit")
	}
	there, err := r.exists("buildkit")
	if err != nil || !there {
		return err
	}
	return r.renameDurably("buildkit", buildsName)
}

// restoreBuilds puts the old BuildKit records back. Newer records name layers of the
// other driver, and are deleted.
func (r *dataRoot) restoreBuilds() error {
	aside, err := r.exists(buildsName)
	if err != nil || !aside {
		return err
	}
	if err := r.RemoveAll("buildkit"); err != nil {
		return err
	}
	return r.renameDurably(buildsName, "buildkit")
}
