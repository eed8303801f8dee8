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

// requireComplete refuses records that are damaged or lack something: dockerd may have
// run since they were looked at.
func requireComplete(records *dockerstore.Records) error {
	var why Obstacles
	for _, damage := range records.Damaged {
		why = append(why, fmt.Sprintf("a record of Docker is not understood: %v", damage))
	}
	for _, gap := range records.Gaps() {
		why = append(why, fmt.Sprintf("Docker's records are not whole: %v; remove what lacks it", gap))
	}
	for _, id := range findAmbiguousIDs(records) {
		why = append(why, fmt.Sprintf("Docker's records contradict each other: %q is more than one layer", id))
	}
	if len(why) == 0 {
		return nil
	}
	return why
}

// findAmbiguousIDs are the layers' IDs that are recorded more than once, or are the name of
// something else where layers lie.
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

// imageDir is where Docker has its records of a driver's images.
func imageDir(driver string) string { return path.Join("image", driver) }

// recordLists are the directories that have an entry for each layer, writable
// layer and image.
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

// recordNames are the entries for layers, writable layers and images.
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

// hasNoRecords is the opposite, for move.
func (r *dataRoot) hasNoRecords(dir string) (bool, error) {
	has, err := r.hasRecords(dir)
	return !has, err
}

// removeEmptyRecords removes records of a driver that name nothing, such as its
// first start leaves.
func (r *dataRoot) removeEmptyRecords(driver string) error {
	dir := imageDir(driver)
	has, err := r.hasRecords(dir)
	if err != nil {
		return err
	}
	if has {
		return fault.New(fault.Exists, "Docker has images or containers under the driver %s already (%s)", driver, path.Join(r.Name(), dir))
	}
	return r.RemoveAll(dir)
}

// copyRecords makes the records of one driver those of another, too. What is
// there is a copy of before.
func (r *dataRoot) copyRecords(from, to string) error {
	if err := r.requireNothingNew(imageDir(to), imageDir(from)); err != nil {
		return err
	}
	if err := errors.Join(r.RemoveAll(imageDir(to)), r.RemoveAll(stagedName)); err != nil {
		return err
	}
	if err := r.copyTree(imageDir(from), stagedName); err != nil {
		return err
	}
	if err := r.MkdirAll(path.Dir(imageDir(to)), 0o700); err != nil {
		return err
	}
	return r.renameDurably(stagedName, imageDir(to))
}

// requireNothingNew makes sure that records which a run before copied have nothing that
// the original has not: dockerd may have been started with them.
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
				return fault.New(fault.Exists, "dockerd was started in the middle of a migration, and made %s: go back with --undo, which loses it, and begin again", path.Join(dir, below, name))
			}
		}
	}
	return nil
}

// containerID is what the directories of containers are called.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// containerDrivers are those that containers were made with, and one such container of each.
func (r *dataRoot) containerDrivers() (map[string]string, error) {
	names, err := r.listNames("containers")
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, id := range names {
		raw, err := r.ReadFile(path.Join("containers", id, "config.v2.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // dockerd passes over it as well
		}
		var record struct{ Driver string }
		if err := errors.Join(err, json.Unmarshal(raw, &record)); err != nil {
			return nil, fmt.Errorf("container %.12s: %w", id, err)
		}
		found[record.Driver] = id
	}
	return found, nil
}

// setDrivers changes the driver in the records of the containers that want says.
func (r *dataRoot) setDrivers(from, to string, want func(id string) bool) error {
	names, err := r.listNames("containers")
	if err != nil {
		return err
	}
	for _, id := range names {
		if !containerID.MatchString(id) || !want(id) {
			continue
		}
		if err := r.setDriver(path.Join("containers", id, "config.v2.json"), from, to); err != nil {
			return fmt.Errorf("container %.12s: %w", id, err)
		}
	}
	return nil
}

// setDriver changes one field of a container's record and leaves the others as
// they stand.
func (r *dataRoot) setDriver(name, from, to string) error {
	raw, err := r.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // dockerd passes over it as well
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
		return fault.New(fault.Invalid, "%s is no container's record: %w", name, err)
	}
	if driver != from {
		return nil
	}
	if fields["Driver"], err = json.Marshal(to); err != nil {
		return err
	}
	if raw, err = json.Marshal(fields); err != nil {
		return err
	}
	return r.writeFile(name, raw, info.Mode().Perm())
}

// setBuildsAside keeps BuildKit's records for an undo. They name layers that
// were not carried, its cache; it makes new ones. Those that are there though
// some were set aside already are of a start in between.
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

// restoreBuilds puts BuildKit's records in the place of those that it made
// meanwhile, which name layers of another driver.
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
