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

// optionPrefix begins the name of every option of the driver.
const optionPrefix = "overlayzfs."

// Options are the administrator's choices for the whole store.
type Options struct {
	// Dataset is the dataset that the driver mounts on the home. Without it the home has to
	// be on ZFS already.
	Dataset string

	// Limits are the default limits of containers' layers.
	Limits Limits
	// Quota is the mode in which limits are enforced.
	Quota quota.Mode

	// XIno is the overlay's option xino of limited containers that ask for none: "on", "off",
	// or empty for "on".
	XIno string

	// Sync is the new value of the dataset's sync property. Empty does not change it.
	Sync string

	// Snapshots says at which events to take snapshots, and how many to keep.
	Snapshots snapshot.Policy
	// Records is the dataset with the caller's own records. Snapshots cover it together with
	// the layers. It may be empty.
	Records string

	// IDs maps the owners of files when containers run in a user name space.
	IDs user.IdentityMapping

	// Door is the name of a caller that is not a graphdriver. Such a caller mounts the layers
	// itself, and the end of a session unmounts none of them.
	Door string

	// Observer counts what happens to the store. It may be nil.
	Observer Observer

	// Receiving opens a store whose receive is not finished, to finish it.
	Receiving bool

	// MayResume reports whether a restarted caller may come back for a layer that was created
	// and never given content. Without it no such layer is kept.
	MayResume func(id string) bool
	// IsStray reports whether no caller will use a layer after a boot of the host. It can ask
	// which other layers exist. Without it no layer is stray.
	IsStray func(id string, exists func(id string) bool) bool
	// MayBeTorn reports whether a layer may be a container's, which a boot of the host can find
	// torn by a power cut. It can ask which other layers exist. Without it only layers without
	// content are looked at. A door with records calls RemoveTorn instead.
	MayBeTorn func(id string, exists func(id string) bool) bool
}

// ParseOptions reads key=value options from daemon.json's storage-opts or from the
// plugin's environment. Keys are not case-sensitive.
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

// SplitOptions splits storage options at commas. A part without '=' continues the value
// before it, because the snapshot policy is a list itself.
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

// options are the driver's options by name, without optionPrefix.
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
	xinoOption: func(o *Options, key, value string) error {
		o.XIno = value
		return checkXIno(key, value)
	},
	"sync": func(o *Options, key, value string) error {
		if value != "standard" && value != "disabled" {
			return fault.New(fault.Invalid, "storage option %s=%q: want standard or disabled; without the option the dataset's property does not change", key, value)
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
