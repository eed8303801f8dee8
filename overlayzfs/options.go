package overlayzfs

import (
	"strings"

	units "github.com/docker/go-units"
	"github.com/moby/sys/user"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// optionPrefix starts every option of the driver, as "overlay2." does there.
const optionPrefix = "overlayzfs."

// Options are what the administrator chooses for the whole store.
type Options struct {
	// Dataset is mounted on the home by the driver. Empty: the home must lie
	// on ZFS already.
	Dataset string

	// IDs maps the owners of files when containers run in a user name space.
	IDs user.IdentityMapping
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

func (o *Options) set(key, value string) error {
	switch key {
	case optionPrefix + "dataset":
		if err := zfs.CheckDatasetName(value); err != nil {
			return fault.New(fault.Invalid, "storage option %s: %w", key, err)
		}
		o.Dataset = value
		return nil
	case optionPrefix + "size":
		return refuseSize(key, value)
	}
	return fault.New(fault.Invalid, "unknown storage option %q: known is %sdataset=pool/name", key, optionPrefix)
}

// CreateOptions are what the caller asks of one layer.
type CreateOptions struct {
	// MountLabel is the SELinux label the layer will be mounted with. It is
	// applied by Get; Create only checks it.
	MountLabel string
	// StorageOpt is `docker run --storage-opt`.
	StorageOpt map[string]string
	// ReadWrite marks a container's layer, which is kept even when nothing
	// was ever written to it.
	ReadWrite bool
}

func (o CreateOptions) check() error {
	for key, value := range o.StorageOpt {
		if strings.ToLower(key) != "size" {
			return fault.New(fault.Invalid, "unknown storage option %q for a layer: known is size", key)
		}
		if err := refuseSize("size", value); err != nil {
			return err
		}
	}
	return nil
}

// refuseSize tells a malformed size from one that is right but cannot be kept
// yet: a limit that is silently not enforced would be worse than none.
func refuseSize(key, value string) error {
	size, err := units.RAMInBytes(value)
	if err != nil || size <= 0 {
		return fault.New(fault.Invalid, "storage option %s=%q: want a positive size such as 500M or 10G", key, value)
	}
	return fault.New(fault.Unsupported, "storage option %s=%s: quotas are not supported yet by this version of overlayzfs; remove the option, or limit all layers together with `zfs set quota=%s DATASET`", key, value, value)
}
