package snapshotter

import (
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
)

// The labels that request a limit. They come from the client that makes the snapshot. With
// Kubernetes this includes the author of a pod, and with an image the image's author.
const (
	sizeLabel   = "containerd.io/snapshot/overlayzfs.size"
	inodesLabel = "containerd.io/snapshot/overlayzfs.inodes"
)

// DefaultKeys matches the keys that dockerd, nerdctl and Kubernetes give the snapshot of a
// container: 64 hexadecimal digits. Builders and people use other keys.
const DefaultKeys = `^[0-9a-f]{64}$`

// Labels says which limits labels may request.
type Labels string

// The choices for Labels.
const (
	LowerLabels  Labels = "lower"  // any up to the default, if there is a default
	AnyLabels    Labels = "any"    // any
	IgnoreLabels Labels = "ignore" // none: labels are ignored
)

// Limits are the limits of containers' snapshots.
type Limits struct {
	// Default is the limit of snapshots whose keys match Keys.
	Default overlayzfs.Limits
	// Namespaces are the limits of such snapshots in some of containerd's name spaces, in place
	// of Default.
	Namespaces map[string]overlayzfs.Limits
	Keys       *regexp.Regexp // nil: DefaultKeys
	Labels     Labels         // "": LowerLabels
}

var defaultKeys = regexp.MustCompile(DefaultKeys)

// Check returns an error if Labels is not a known value.
func (l Limits) Check() error {
	switch l.Labels {
	case "", LowerLabels, AnyLabels, IgnoreLabels:
		return nil
	}
	return fault.New(fault.Invalid, "limits by labels %q: want %s, %s or %s", l.Labels, LowerLabels, AnyLabels, IgnoreLabels)
}

// options returns how the layer of a new snapshot is created. Only a container's layer is
// limited: a limited layer cannot be a parent, and the labels of an image are its author's.
func (l Limits) options(kind snapshots.Kind, key, parent string, labels map[string]string) (overlayzfs.CreateOptions, error) {
	unlimited := overlayzfs.CreateOptions{ReadWrite: true, Exempt: true}
	if kind != snapshots.KindActive || isUnpackKey(key) {
		return unlimited, nil
	}
	preset := l.presetOf(key)
	asked, err := l.requested(labels, parent, preset)
	switch {
	case err != nil:
		return unlimited, err
	case parent != "" && l.matches(key) && preset == l.Default:
		return overlayzfs.CreateOptions{ReadWrite: true, StorageOpt: asked}, nil
	case parent != "" && l.matches(key):
		return overlayzfs.CreateOptions{ReadWrite: true, StorageOpt: fillUnasked(asked, preset)}, nil
	case len(asked) > 0:
		return overlayzfs.CreateOptions{ReadWrite: true, StorageOpt: fillUnasked(asked, overlayzfs.Limits{})}, nil
	}
	return unlimited, nil
}

// presetOf returns the limit of a container's snapshot that asks for none: that of containerd's
// name space, which begins the key, or the default.
func (l Limits) presetOf(key string) overlayzfs.Limits {
	if namespace, _, ok := strings.Cut(key, "/"); ok && key != clientKey(key) {
		if preset, ok := l.Namespaces[namespace]; ok {
			return preset
		}
	}
	return l.Default
}

// requested returns the limits that the labels request, or an error if they are not
// allowed.
func (l Limits) requested(labels map[string]string, parent string, preset overlayzfs.Limits) (map[string]string, error) {
	if l.Labels == IgnoreLabels {
		return nil, nil
	}
	asked, err := limitsFrom(labels, parent != "")
	if err != nil {
		return nil, err
	}
	return asked, l.checkAllowed(asked, preset)
}

// fillUnasked returns the options with all limits named: those that are not asked for are the
// preset's, and not the core's default. 0 is no limit.
func fillUnasked(asked map[string]string, preset overlayzfs.Limits) map[string]string {
	all := map[string]string{"size": strconv.FormatUint(preset.Bytes, 10), "inodes": strconv.FormatUint(preset.Inodes, 10)}
	maps.Copy(all, asked)
	return all
}

func (l Limits) matches(key string) bool {
	keys := l.Keys
	if keys == nil {
		keys = defaultKeys
	}
	return keys.MatchString(clientKey(key))
}

// limitsFrom returns the core's options that labels request. containerd's own label is a
// hint, read only with hints; ours are followed or refused.
func limitsFrom(labels map[string]string, hints bool) (map[string]string, error) {
	asked := map[string]string{}
	if v, ok := labels[snapshots.LabelSnapshotMaxSize]; ok && hints {
		if n, err := strconv.ParseInt(v, 10, 64); err != nil || n <= 0 {
			return nil, fault.New(fault.Invalid, "label %s=%.40q: want a number of bytes", snapshots.LabelSnapshotMaxSize, v)
		}
		if _, err := quota.ParseBytes(snapshots.LabelSnapshotMaxSize, v); err != nil {
			return nil, err
		}
		asked["size"] = v
	}
	for label, option := range map[string]string{sizeLabel: "size", inodesLabel: "inodes"} {
		if v, ok := labels[label]; ok {
			asked[option] = v
		}
	}
	return asked, checkRequested(asked)
}

// checkRequested checks the values, so that an error names the label. The core's own error
// would name an option.
func checkRequested(asked map[string]string) error {
	if v, ok := asked["size"]; ok {
		if _, err := quota.ParseBytes(sizeLabel, v); err != nil {
			return err
		}
	}
	if v, ok := asked["inodes"]; ok {
		if _, err := quota.ParseInodes(inodesLabel, v); err != nil {
			return err
		}
	}
	return nil
}

// checkAllowed refuses labels that would raise a limit of the administrator.
func (l Limits) checkAllowed(asked map[string]string, preset overlayzfs.Limits) error {
	if l.Labels == AnyLabels {
		return nil
	}
	if v, ok := asked["size"]; ok && preset.Bytes > 0 {
		n, err := quota.ParseBytes(sizeLabel, v)
		if err != nil || n == 0 || n > preset.Bytes {
			return fault.New(fault.Invalid, "a label asks for size %s, above the default of %d bytes; the snapshotter's setting limits.labels allows only less", v, preset.Bytes)
		}
	}
	if v, ok := asked["inodes"]; ok && preset.Inodes > 0 {
		n, err := quota.ParseInodes(inodesLabel, v)
		if err != nil || n == 0 || n > preset.Inodes {
			return fault.New(fault.Invalid, "a label asks for %s files, above the default of %d; the snapshotter's setting limits.labels allows only less", v, preset.Inodes)
		}
	}
	return nil
}

// isUnpackKey reports whether a snapshot is made to unpack a layer of an image. Its labels
// are not reliable: the author of a pod can set containerd's own.
func isUnpackKey(key string) bool {
	return strings.HasPrefix(clientKey(key), snapshots.UnpackKeyPrefix+"-")
}

// clientKey returns the key that the client chose. containerd's form of a key is
// NAMESPACE/N/KEY.
func clientKey(key string) string {
	_, rest, ok := strings.Cut(key, "/")
	if !ok {
		return key
	}
	number, own, ok := strings.Cut(rest, "/")
	if !ok || !isNumber(number) {
		return key
	}
	return own
}
