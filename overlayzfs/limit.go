package overlayzfs

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
)

// spareDatasets is how many datasets are made beforehand for containers with a limit. It is
// enough for containers that are started one after another.
const spareDatasets = 3

// Limits are the most that a layer may hold. Zero is no limit.
type Limits = quota.Limits

// wantedLimit is a limit whose parts may be unset.
type wantedLimit struct {
	quota.Spec
	bytes, inodes bool // whether the part was asked for
}

// parseLimit reads the limit from StorageOpt. size=0 asks for no limit and overrides the
// store's default.
func (o CreateOptions) parseLimit() (limit wantedLimit, err error) {
	for key, value := range o.StorageOpt {
		if err := limit.set(strings.ToLower(key), value); err != nil {
			return wantedLimit{}, err
		}
	}
	return limit, limit.Properties.Check()
}

func (w *wantedLimit) set(key, value string) (err error) {
	switch {
	case key == "size":
		w.bytes = true
		w.Bytes, err = quota.ParseBytes(key, value)
	case key == "inodes":
		w.inodes = true
		w.Inodes, err = quota.ParseInodes(key, value)
	case key == xinoOption:
		w.XIno, err = value, checkXIno(key, value)
	case slices.Contains(quota.PropertyNames(), key):
		if w.Properties == nil {
			w.Properties = quota.Properties{}
		}
		w.Properties[key] = value
	default:
		err = fault.New(fault.Invalid, "unknown storage option %q for a layer: known are size, inodes, xino, %s", key, strings.Join(quota.PropertyNames(), ", "))
	}
	return err
}

// xinoOption says how inode numbers look in a container that has a dataset of its own.
const xinoOption = "xino"

func checkXIno(key, value string) error {
	if value != "on" && value != "off" {
		return fault.New(fault.Invalid, "storage option %s=%q: want on or off", key, value)
	}
	return nil
}

// fillUnset sets the parts that were not asked for to the defaults.
func (w *wantedLimit) fillUnset(preset Limits) {
	if !w.bytes {
		w.Bytes = preset.Bytes
	}
	if !w.inodes {
		w.Inodes = preset.Inodes
	}
}

// SetLimits changes the limits of a container's layer. Limits that the options do not name
// stay. A layer that has a limit may be in use. One that was made without a limit is carried to
// where limits are enforced, for which nothing may use it; that copies what it holds. A limit
// below what the layer holds is refused. A layer whose limit is taken away stays where it is.
func (d *Driver) SetLimits(ctx context.Context, id string, options map[string]string) error {
	return d.SetLimitsIf(ctx, id, options, func() error { return nil })
}

// SetLimitsIf is SetLimits unless check returns an error. The layer is locked during check, so
// that no CommitLayer comes between.
func (d *Driver) SetLimitsIf(ctx context.Context, id string, options map[string]string, check func() error) error {
	if err := checkID("layer", id); err != nil {
		return d.addContext("limit", id, err)
	}
	change, err := CreateOptions{StorageOpt: options}.parseLimit()
	if err == nil && (len(change.Properties) > 0 || change.XIno != "") {
		err = fault.New(fault.Unsupported, "only size and inodes can be changed; set other properties when the container is created, or on its dataset with `zfs set`")
	}
	if err != nil {
		return d.addContext("limit", id, err)
	}
	carrying, end := d.carries.begin(ctx, id)
	defer end()
	return d.runLocked(ctx, "limit", id, func(l layer) error {
		if err := l.requireExists("layer"); err != nil {
			return err
		}
		if err := check(); err != nil {
			return err
		}
		return d.setLimits(ctx, carrying, l, change)
	})
}

// setLimits changes limits, or carries the layer until the context carrying ends.
func (d *Driver) setLimits(ctx, carrying context.Context, l layer, change wantedLimit) error {
	quotaLayer, err := l.quotaLayer()
	if err != nil {
		return err
	}
	r, err := d.limits.Find(quotaLayer.Key)
	switch {
	case err != nil:
		return err
	case r == nil && change.Empty():
		return nil // it has none
	case r == nil:
		return d.carry(carrying, l, change.Spec)
	}
	change.fillUnset(r.Limits)
	if err := d.limits.SetLimits(quotaLayer, change.Limits); err != nil {
		return err
	}
	return d.commitNames(ctx, d.readIntentLog(), syncSet{}) // the record's content is on disk
}

// hasProject reports whether a limit is enforced by a project ID.
func (d *Driver) hasProject(limit quota.Spec) bool {
	mode, _ := d.limits.Mode()
	return mode == quota.Project && !limit.Empty() && len(limit.Properties) == 0
}

// CheckLimits returns the reason why no layer created now can get a limit, or nil.
func (d *Driver) CheckLimits() error {
	if mode, why := d.limits.Mode(); mode == quota.Off {
		return why
	}
	return nil
}

// quotaLayer returns the layer in the terms of package quota.
func (l layer) quotaLayer() (quota.Layer, error) {
	key, err := readShortName(l.dir())
	return quota.Layer{Key: key, Dir: l.dir()}, err
}

// loadLimited reads which layers have a limit.
func (d *Driver) loadLimited() error {
	records, err := d.limits.Records()
	for _, r := range records {
		if r == nil { // it cannot be read
			d.unknownLimits = true
			continue
		}
		d.limited.add(r.Layer)
	}
	return err
}

// mayBeLimited reports whether the layer may have a record of limits. Looking for one takes
// more calls than most other work on a layer.
func (d *Driver) mayBeLimited(l layer) bool { return d.unknownLimits || d.limited.has(l.id) }

// hasDataset reports whether the layer's content lies on a dataset of its own. Such
// content is reachable only while the dataset is attached.
func (d *Driver) hasDataset(l layer) (bool, error) {
	if !d.mayBeLimited(l) {
		return false, nil
	}
	fi, err := os.Lstat(l.diff())
	return err == nil && fi.Mode().Type() == fs.ModeSymlink, err
}

// showsPlainInodes reports whether the overlay of a layer on a dataset of its own leaves xino
// off.
func (d *Driver) showsPlainInodes(l layer, separate bool) (bool, error) {
	if !separate {
		return false, nil
	}
	quotaLayer, err := l.quotaLayer()
	if err != nil {
		return false, err
	}
	r, err := d.limits.Find(quotaLayer.Key)
	if err != nil || r == nil {
		return false, err
	}
	return cmp.Or(r.XIno, d.xino) == "off", nil
}

// requireUnlimited refuses a limited layer, whose content lies elsewhere or must not be
// replaced. what completes "cannot …".
func (d *Driver) requireUnlimited(l layer, what string) error {
	if !d.mayBeLimited(l) {
		return nil
	}
	quotaLayer, err := l.quotaLayer()
	if err != nil {
		return err
	}
	r, err := d.limits.Find(quotaLayer.Key)
	if err == nil && r != nil {
		err = fault.New(fault.Unsupported, "layer %s has a limit or properties, and cannot %s; commit the container and use the image", l.id, what)
	}
	return err
}

// attach makes the layer's content reachable for a mount. It does nothing for a layer
// without a limit.
func (d *Driver) attach(l layer) error {
	if !d.mayBeLimited(l) {
		return nil
	}
	quotaLayer, err := l.quotaLayer()
	if err != nil {
		return err
	}
	return d.limits.Attach(quotaLayer)
}

// detach undoes attach.
func (d *Driver) detach(l layer) error {
	if !d.mayBeLimited(l) {
		return nil
	}
	quotaLayer, err := l.quotaLayer()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.limits.Detach(quotaLayer)
}

// mayHaveKey reports whether a layer with that ID may exist and have that key.
func (d *Driver) mayHaveKey(id, key string) bool {
	return checkID("layer", id) == nil && d.home.layer(id).mayHaveKey(key)
}

// mayHaveKey reports whether the layer may have that key. It is false only for a layer
// that does not exist or has another key. An unreadable file must not delete what a
// container wrote.
func (l layer) mayHaveKey(key string) bool {
	short, err := readShortName(l.dir())
	if err == nil {
		return short == key
	}
	exists, err := l.exists()
	return err != nil || exists
}
