package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// MountStep gives one received dataset its mount point.
type MountStep struct {
	Dataset    string `json:"dataset"`
	Mountpoint string `json:"mountpoint"` // a path, legacy or none
	// place is where that is now: below the root of a pool that was imported with another one.
	place string
}

// MountPlan says how a restored backup is mounted.
type MountPlan struct {
	Steps   []MountStep `json:"steps"`
	Refused []string    `json:"refused"`
}

// PlanMount plans to mount what was received as it was at its sender, with another directory
// for the records dataset unless root is "". Steps that are done already are left out.
func (t Target) PlanMount(root string) (MountPlan, error) {
	plan := MountPlan{Steps: []MountStep{}, Refused: []string{}}
	top, err := t.ZFS.DatasetStats(t.Dataset)
	if err != nil {
		return plan, err
	}
	below, err := listBelow(t.ZFS, t.Dataset, "")
	if err != nil {
		return plan, err
	}
	pool, err := t.ZFS.PoolStats(zfs.PoolOf(t.Dataset))
	if err != nil {
		return plan, err
	}
	from := top.Mountpoint()
	if p, ok := top.Property(mountpointProperty); ok {
		from = p.String()
	}
	if root == "" {
		root = from
	}
	for _, d := range append([]zfs.Dataset{top}, below...) {
		if d.ResumeToken() != "" {
			plan.Refused = append(plan.Refused, fmt.Sprintf("the backup of %s is not received completely: send it again", d.Name))
		}
		if d.IsLocked() {
			key, _ := d.Property("encryptionroot")
			plan.Refused = append(plan.Refused, fmt.Sprintf("dataset %s is encrypted and its key is not loaded: run `zfs load-key %s`", d.Name, key.String()))
		}
		p, ok := d.Property(mountpointProperty)
		if !ok || !d.IsLocal(mountpointProperty) {
			continue
		}
		step := MountStep{Dataset: d.Name, Mountpoint: replaceRoot(p.String(), from, root)}
		if d.Name == t.Dataset {
			step.Mountpoint = root // it may have been legacy
		}
		step.place = filepath.Join(pool.AltRoot, step.Mountpoint)
		plan.Steps = append(plan.Steps, step)
		occupied, err := t.findOccupied(step, root)
		if err != nil {
			return plan, err
		}
		plan.Refused = append(plan.Refused, occupied...)
	}
	return plan, nil
}

// replaceRoot moves a path below one directory to another.
func replaceRoot(path, from, to string) string {
	if below, ok := strings.CutPrefix(path+"/", from+"/"); ok && strings.HasPrefix(from, "/") {
		return strings.TrimSuffix(to+"/"+below, "/")
	}
	return path
}

// findOccupied returns what is where a dataset is to be mounted: a mount, files, or another
// dataset that the next boot mounts there. Directories in the restored data-root itself are
// meant to be covered.
func (t Target) findOccupied(s MountStep, root string) (why []string, err error) {
	if !strings.HasPrefix(s.Mountpoint, "/") {
		return nil, nil
	}
	refuse := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	on, err := mount.ListAt(s.place)
	if err != nil {
		return nil, err
	}
	for _, m := range on {
		if m.Source != s.Dataset {
			refuse("%s is mounted on %s: unmount it, or choose another directory with --root", m.Source, s.place)
		}
	}
	if len(on) == 0 && (s.Mountpoint == root || !strings.HasPrefix(s.Mountpoint, root+"/")) {
		entries, err := os.ReadDir(s.place)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if len(entries) > 0 {
			refuse("%s is not empty: move its content away, or choose another directory with --root", s.place)
		}
	}
	others, err := listBelow(t.ZFS, zfs.PoolOf(t.Dataset), t.Dataset)
	for _, other := range others {
		if other.Mountpoint() == s.Mountpoint && other.CanMount() == "on" {
			refuse("dataset %s has mountpoint=%s, too, and a boot would mount both: set another, or choose another directory with --root", other.Name, s.Mountpoint)
		}
	}
	return why, err
}

// Mount carries out a plan. It can be repeated. The records dataset is done last: until then
// it says from where the mount points of the others have moved.
func (t Target) Mount(plan MountPlan) error {
	if len(plan.Refused) > 0 {
		return fmt.Errorf("the backup cannot be mounted: %w", ErrRefused)
	}
	for _, s := range plan.Steps {
		if err := t.mount(s); err != nil {
			return fmt.Errorf("mount %s on %s: %w", s.Dataset, s.Mountpoint, err)
		}
	}
	for _, s := range slices.Backward(plan.Steps) {
		if err := t.ZFS.Inherit(s.Dataset, mountpointProperty); err != nil {
			return err
		}
	}
	return nil
}

func (t Target) mount(s MountStep) error {
	properties := zfs.Properties{"mountpoint": zfs.String(s.Mountpoint), "canmount": zfs.String("on")}
	if err := t.ZFS.SetProperty(s.Dataset, properties); err != nil {
		return err
	}
	if !strings.HasPrefix(s.Mountpoint, "/") {
		return nil
	}
	on, err := mount.ListAt(s.place)
	if err != nil || slices.ContainsFunc(on, func(i *mount.Info) bool { return i.Source == s.Dataset }) {
		return err
	}
	if err := os.MkdirAll(s.place, 0o755); err != nil {
		return err
	}
	return zfs.MountDatasetWith(s.Dataset, s.place, mount.FlagsOf("rw,relatime"))
}

// RequireNew refuses a dataset name that no backup can be received into.
func RequireNew(dataset string) error {
	if !strings.Contains(dataset, "/") {
		return fault.New(fault.Invalid, "%s is a pool: name a dataset on it, such as %s/docker", dataset, dataset)
	}
	return zfs.CheckDatasetName(dataset)
}
