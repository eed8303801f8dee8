package overlayzfs

import (
	"maps"
	"slices"
	"strings"

	"github.com/moby/sys/user"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// optionPrefix starts every option of the driver, as "overlay2." does there.
const optionPrefix = "overlayzfs."

// Options are what the administrator chooses for the whole store.
type Options struct {
	// Dataset is mounted on the home by the driver. Empty: the home must lie
	// on ZFS already.
	Dataset string

	// Limits are those of containers' layers that ask for none.
	Limits Limits
	// Quota is by what means limits are kept.
	Quota quota.Mode

	// Sync sets the dataset's sync property. Empty leaves it as it is.
	Sync string

	// Snapshots says when to take snapshots, and how many to keep.
	Snapshots snapshot.Policy
	// Records is the dataset with the caller's own records, which snapshots are
	// to cover together with the layers. Empty for none.
	Records string

	// IDs maps the owners of files when containers run in a user name space.
	IDs user.IdentityMapping

	// Door names who keeps layers here, when that is no graphdriver. Such a
	// caller makes its mounts itself, and no end of a session ends one.
	Door string

	// Observer, where it is set, is told of the store what is worth counting.
	Observer Observer

	// Receiving opens a store that is still being received, to finish that.
	Receiving bool

	// MayResume reports whether a caller that starts anew may come back for a
	// layer that was made and never given content. Without it none is kept.
	MayResume func(id string) bool
	// IsStray reports whether a layer means nothing to any caller after the host
	// came up again, given what other layers there are. Without it none does.
	IsStray func(id string, exists func(id string) bool) bool
}

// ParseOptions reads key=value options as daemon.json's storage-opts and the
// plugin's environment carry them. Keys are not case-sensitive.
func ParseOptions(list []string) (Options, error) {
	var o Options
	for _, item := range list {
		key, value, ok := strings.Cut(item, "=")
		if !ok {
			return Options{}, fault.New(fault.Invalid, "storage option %q: want key=value", item)
		}
		if err := o.set(strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)); err != nil {
			return Options{}, err
		}
	}
	return o, nil
}

// SplitOptions splits storage options at commas. A part without '=' goes on with
// the value before: the retention of snapshots is a list itself.
func SplitOptions(text string) []string {
	var options []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		switch {
		case part == "":
		case !strings.Contains(part, "=") && len(options) > 0:
			options[len(options)-1] += "," + part
		default:
			options = append(options, part)
		}
	}
	return options
}

func (o *Options) set(key, value string) (err error) {
	set, ok := options[strings.TrimPrefix(key, optionPrefix)]
	if !ok || !strings.HasPrefix(key, optionPrefix) {
		return fault.New(fault.Invalid, "unknown storage option %q: known are %s%s", key, optionPrefix,
			strings.Join(slices.Sorted(maps.Keys(options)), ", "+optionPrefix))
	}
	return set(o, key, value)
}

// options are the driver's, by what follows optionPrefix.
var options = map[string]func(o *Options, key, value string) error{
	"dataset": func(o *Options, key, value string) error { return setDataset(&o.Dataset, key, value) },
	"size": func(o *Options, key, value string) (err error) {
		o.Limits.Bytes, err = quota.ParseBytes(key, value)
		return err
	},
	"inodes": func(o *Options, key, value string) (err error) {
		o.Limits.Inodes, err = quota.ParseInodes(key, value)
		return err
	},
	"quota": func(o *Options, key, value string) (err error) {
		o.Quota, err = quota.ParseMode(key, value)
		return err
	},
	"sync": func(o *Options, key, value string) error {
		if value != "standard" && value != "disabled" {
			return fault.New(fault.Invalid, "storage option %s=%q: want standard or disabled; without the option the dataset's property stays as it is", key, value)
		}
		o.Sync = value
		return nil
	},
	"snapshots": func(o *Options, key, value string) (err error) {
		if o.Snapshots, err = snapshot.ParsePolicy(value); err != nil {
			return fault.New(fault.Invalid, "storage option %s: %w", key, err)
		}
		return nil
	},
	"snapshots.records": func(o *Options, key, value string) error { return setDataset(&o.Records, key, value) },
}

func setDataset(to *string, key, value string) error {
	if err := zfs.CheckDatasetName(value); err != nil {
		return fault.New(fault.Invalid, "storage option %s: %w", key, err)
	}
	*to = value
	return nil
}

// CreateOptions are what the caller asks of one layer.
type CreateOptions struct {
	// MountLabel is the SELinux label the layer will be mounted with. It is
	// applied by Get; Create only checks it.
	MountLabel string
	// StorageOpt is `docker run --storage-opt`.
	StorageOpt map[string]string
	// ReadWrite marks a container's layer, which is kept even when nothing
	// was ever written to it, and gets the preset limits.
	ReadWrite bool
	// Recorded says that the caller records the layer as soon as Create has
	// answered. One that gets its content by ApplyDiff is recorded after that.
	Recorded bool
	// Exempt is for a layer that needs no limit although the caller passes one.
	// What is passed is checked all the same.
	Exempt bool
}

// companion reports whether the layer is a container's and recorded together
// with the one that will stand on it.
func (o CreateOptions) companion() bool { return o.ReadWrite && !o.Recorded }

// limit is what the options ask for, and whether they ask for a limit at all:
// size=0 asks for none where one is preset.
func (o CreateOptions) limit() (limit wantedLimit, err error) {
	for key, value := range o.StorageOpt {
		if err := limit.set(strings.ToLower(key), value); err != nil {
			return wantedLimit{}, err
		}
	}
	return limit, limit.Properties.Check()
}

// wantedLimit is a limit of which some parts may have been left open.
type wantedLimit struct {
	quota.Spec
	bytes, inodes bool // these were asked for
}

func (w *wantedLimit) set(key, value string) (err error) {
	switch {
	case key == "size":
		w.bytes = true
		w.Bytes, err = quota.ParseBytes(key, value)
	case key == "inodes":
		w.inodes = true
		w.Inodes, err = quota.ParseInodes(key, value)
	case slices.Contains(quota.PropertyNames(), key):
		if w.Properties == nil {
			w.Properties = quota.Properties{}
		}
		w.Properties[key] = value
	default:
		err = fault.New(fault.Invalid, "unknown storage option %q for a layer: known are size, inodes, %s", key, strings.Join(quota.PropertyNames(), ", "))
	}
	return err
}

// fill puts the preset where nothing was asked for.
func (w *wantedLimit) fill(preset Limits) {
	if !w.bytes {
		w.Bytes = preset.Bytes
	}
	if !w.inodes {
		w.Inodes = preset.Inodes
	}
}
