package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// undoProperties plans to set properties of datasets back, where they are as setup has set them.
func (p *undoing) undoProperties(context.Context) error {
	return p.each(func(r setuplog.Record) error {
		d, err := p.z.DatasetStats(r.Name)
		if errors.Is(err, zfs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return p.undoProperty(d, r)
	}, setuplog.Property)
}

// undoProperty plans to set a property of a dataset back. A later setup can have set it again.
func (p *undoing) undoProperty(d zfs.Dataset, r setuplog.Record) error {
	key := r.Property + " " + r.Name
	value, planned := p.values[key]
	if planned && value == r.Value || !planned && hasFormer(d, r) {
		return nil
	}
	why, err := "", error(nil)
	switch {
	case planned && value != r.After && r.After != "":
		why = changed
	case !planned:
		why, err = whyKept(d, r)
	}
	switch {
	case err != nil:
		return err
	case why == changed:
		p.keep(r, "%s of %s was changed after setup, and stays; before it was %s.", r.Property, r.Name, r.Value)
		return nil
	case why != "":
		p.keep(r, "Dataset %s keeps its %s: it holds %s, which the next boot would not find. It was %s: zfs set %s=%s %s", r.Name, r.Property, why, r.Value, r.Property, r.Value, r.Name)
		return nil
	}
	p.values[key] = r.Value
	p.addStep(func(_ context.Context, z *zfs.Handle) error { return restoreProperty(z, r) }, "", "set %s of %s back to %s", r.Property, r.Name, r.Value)
	return nil
}

// changed is why a property stays that is not as setup has set it.
const changed = "another value"

// whyKept says why a property is not set back, or returns "".
func whyKept(d zfs.Dataset, r setuplog.Record) (string, error) {
	if r.After != "" && !hasValue(d, property{r.Property, r.After}) {
		return changed, nil
	}
	if r.Property != "mountpoint" && r.Property != "canmount" {
		return "", nil
	}
	if occupied, err := isOccupied(r.Name); err != nil || !occupied {
		return "", err
	}
	return "files", nil
}

// hasFormer reports whether a property is as before setup: it was not set, or is set back.
func hasFormer(d zfs.Dataset, r setuplog.Record) bool {
	_, there := d.Property(r.Property)
	return hasValue(d, property{r.Property, r.Value}) && d.IsLocalOrReceived(r.Property) == r.Local || !there && !r.Local
}

// hasValue reports whether a dataset has a property with a value, as zfs(8) writes it.
func hasValue(d zfs.Dataset, want property) bool {
	is, there := d.Property(want.name)
	switch {
	case !there:
		return false
	case is.IsString():
		return is.String() == want.value
	case slices.Contains(sizeProperties, want.name):
		n, err := units.RAMInBytes(want.value)
		return err == nil && uint64(n) == is.Uint()
	}
	n, known := zfs.ParseWord(want.name, want.value)
	return known && n == is.Uint()
}

// restoreProperty sets a property back. The dataset is not mounted any more when its mountpoint is
// that of before.
func restoreProperty(z *zfs.Handle, r setuplog.Record) error {
	d, err := z.DatasetStats(r.Name)
	if err != nil || hasFormer(d, r) {
		return err
	}
	if why, err := whyKept(d, r); err != nil || why != "" {
		return errors.Join(err, fault.New(fault.Busy, "%s of dataset %s stays, because of %s that came meanwhile: run the command again", r.Property, r.Name, why))
	}
	if r.Property == "mountpoint" {
		if err := unmountDataset(r.Name); err != nil {
			return err
		}
	}
	if !r.Local && r.Property != "canmount" { // which is not inherited
		return z.Inherit(r.Name, r.Property)
	}
	packed, err := encodeProperties([]property{{r.Property, r.Value}})
	if err != nil {
		return err
	}
	return z.SetProperty(r.Name, packed)
}

// undoDatasets plans to destroy the datasets that setup has created, where they hold nothing.
func (p *undoing) undoDatasets(context.Context) error {
	return p.each(func(r setuplog.Record) error {
		if there, err := p.z.Exists(r.Name); err != nil || !there || p.gone[r.Name] {
			return err
		}
		holds, err := p.describeContent(r.Name)
		if err != nil {
			return err
		}
		if holds != "" {
			p.keep(r, "Dataset %s stays: it holds %s.", r.Name, holds)
			return nil
		}
		p.gone[r.Name] = true
		p.addStep(func(ctx context.Context, z *zfs.Handle) error { return p.destroyEmpty(ctx, r.Name) }, "", "destroy dataset %s", r.Name)
		return nil
	}, setuplog.Dataset)
}

// destroyEmpty destroys a dataset, unless it has got content since.
func (p *undoing) destroyEmpty(ctx context.Context, name string) error {
	holds, err := p.describeContent(name)
	if err == nil && holds != "" {
		err = fault.New(fault.Busy, "dataset %s holds %s now, and is not destroyed: run the command again", name, holds)
	}
	if err != nil {
		return err
	}
	children, err := findUnused(p.z, name)
	if err == nil {
		err = requireReleased(p.z, append(children, name))
	}
	if err != nil {
		return err
	}
	for _, each := range append(children, name) {
		if err := destroyWithSnapshots(ctx, p.z, each); err != nil {
			return err
		}
	}
	return nil
}

// findUnused returns the datasets of a store's containers below it, the deepest first, or none
// below a dataset that is no store. It fails while a process has the store open.
func findUnused(z *zfs.Handle, name string) ([]string, error) {
	view, err := overlayzfs.OpenDatasetReadOnly(name)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := errors.Join(view.RequireUnused(), view.Close()); err != nil {
		return nil, err
	}
	return findLayerDatasets(z, name)
}

// describeContent says what a dataset holds, or returns "" when it can be destroyed.
func (p *undoing) describeContent(name string) (string, error) {
	view, err := overlayzfs.OpenDatasetReadOnly(name)
	if err == nil {
		layers, err := view.Layers()
		if err := errors.Join(err, view.Close()); err != nil || p.Layers {
			return "", err
		}
		if len(layers) > 0 {
			return fmt.Sprintf("%d layers; --undo --layers destroys them", len(layers)), nil
		}
		return p.describeSnapshots(name)
	}
	if !errors.Is(err, fault.NotFound) {
		return "", err
	}
	if has, err := p.describeSnapshots(name); has != "" || err != nil {
		return has, err
	}
	for child, err := range p.z.Children(name) {
		if err != nil {
			return "", err
		}
		if !p.gone[child.Name] {
			return "the dataset " + child.Name, nil
		}
	}
	occupied, err := isOccupied(name)
	if err != nil || !occupied {
		return "", err
	}
	if where, err := findMount(name); where != "" || err != nil {
		return "the files of " + where, err
	}
	return "files", nil
}

// describeSnapshots names a snapshot of a dataset, or returns "".
func (p *undoing) describeSnapshots(name string) (string, error) {
	for s, err := range p.z.SnapshotNames(name) {
		if err != nil {
			return "", err
		}
		return "the snapshot " + s.Name, nil
	}
	return "", nil
}

// findMount returns where a dataset is mounted, or "".
func findMount(name string) (string, error) {
	all, err := mount.ListBelow("/")
	for _, m := range all {
		if m.FSType == "zfs" && m.Source == name {
			return m.Mountpoint, err
		}
	}
	return "", err
}
