package snapshotter

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
)

// The labels that ask for a limit. They come from whoever makes the snapshot,
// which with Kubernetes includes the author of a pod, and with an image its author.
const (
	sizeLabel   = "containerd.io/snapshot/overlayzfs.size"
	inodesLabel = "containerd.io/snapshot/overlayzfs.inodes"
)

// DefaultKeys is what dockerd, nerdctl and Kubernetes name the snapshot of a
// container: 64 hexadecimal digits. Builders and people name theirs otherwise.
const DefaultKeys = `^[0-9a-f]{64}$`

// Labels is what labels may do to a limit.
type Labels string

// The choices for Labels.
const (
	LowerLabels  Labels = "lower"  // below the default only, where there is one
	AnyLabels    Labels = "any"    // whatever they say
	IgnoreLabels Labels = "ignore" // nothing
)

// Limits are those of containers' snapshots.
type Limits struct {
	// Default is the limit of snapshots whose keys match Keys.
	Default overlayzfs.Limits
	Keys    *regexp.Regexp // nil: DefaultKeys
	Labels  Labels         // "": LowerLabels
}

var defaultKeys = regexp.MustCompile(DefaultKeys)

// Check reports a choice that there is not.
func (l Limits) Check() error {
	switch l.Labels {
	case "", LowerLabels, AnyLabels, IgnoreLabels:
		return nil
	}
	return fault.New(fault.Invalid, "limits by labels %q: want %s, %s or %s", l.Labels, LowerLabels, AnyLabels, IgnoreLabels)
}

// options are how the layer of a new snapshot is made. Only what a container
// writes to is limited: a limited layer cannot be stood on, and what labels an
// image brings along is its author's word.
func (l Limits) options(kind snapshots.Kind, key, parent string, labels map[string]string) (overlayzfs.CreateOptions, error) {
	unlimited := overlayzfs.CreateOptions{ReadWrite: true, Exempt: true}
	if kind != snapshots.KindActive || unpacks(key) {
		return unlimited, nil
	}
	asked, err := l.asked(labels, parent)
	switch {
	case err != nil:
		return unlimited, err
	case parent != "" && l.matches(key):
		return overlayzfs.CreateOptions{ReadWrite: true, StorageOpt: asked}, nil
	case len(asked) > 0:
		return overlayzfs.CreateOptions{ReadWrite: true, StorageOpt: onlyAsked(asked)}, nil
	}
	return unlimited, nil
}

// asked is what the labels ask for, if that is allowed.
func (l Limits) asked(labels map[string]string, parent string) (map[string]string, error) {
	if l.Labels == IgnoreLabels {
		return nil, nil
	}
	asked, err := limitsFrom(labels, parent != "")
	if err != nil {
		return nil, err
	}
	return asked, l.allow(asked)
}

// onlyAsked keeps the defaults away from a snapshot that is limited by its
// labels alone.
func onlyAsked(asked map[string]string) map[string]string {
	all := map[string]string{"size": "0", "inodes": "0"}
	for k, v := range asked {
		all[k] = v
	}
	return all
}

func (l Limits) matches(key string) bool {
	keys := l.Keys
	if keys == nil {
		keys = defaultKeys
	}
	return keys.MatchString(ownKey(key))
}

// limitsFrom reads labels into the core's options. containerd's own is a hint,
// for where it can be followed; ours is followed or refused.
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
	return asked, checkAsked(asked)
}

// checkAsked names the label where the core would name an option.
func checkAsked(asked map[string]string) error {
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

// allow refuses labels that would take a limit away from the administrator.
func (l Limits) allow(asked map[string]string) error {
	if l.Labels == AnyLabels {
		return nil
	}
	if v, ok := asked["size"]; ok && l.Default.Bytes > 0 {
		n, err := quota.ParseBytes(sizeLabel, v)
		if err != nil || n == 0 || n > l.Default.Bytes {
			return fault.New(fault.Invalid, "a label asks for size %s, above the default of %d bytes; the snapshotter's setting limits.labels allows only less", v, l.Default.Bytes)
		}
	}
	if v, ok := asked["inodes"]; ok && l.Default.Inodes > 0 {
		n, err := quota.ParseInodes(inodesLabel, v)
		if err != nil || n == 0 || n > l.Default.Inodes {
			return fault.New(fault.Invalid, "a label asks for %s files, above the default of %d; the snapshotter's setting limits.labels allows only less", v, l.Default.Inodes)
		}
	}
	return nil
}

// unpacks reports whether a snapshot is made to unpack a layer of an image. Its
// labels do not say so reliably: a pod's author can set containerd's own.
func unpacks(key string) bool {
	return strings.HasPrefix(ownKey(key), snapshots.UnpackKeyPrefix+"-")
}

// ownKey is the key that the client chose: containerd puts its name space and a
// number before it, NAMESPACE/N/KEY.
func ownKey(key string) string {
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
