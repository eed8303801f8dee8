package transfer

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// sentProperty marks snapshots that were taken to be sent, and says how far that
// came.
const sentProperty = "overlayzfs:sent"

// The values of sentProperty.
const (
	stateSending = "sending"
	stateSent    = "1"
)

// TakeSnapshot takes a snapshot that is to be sent. Until MarkSent it is none that
// another stream goes on from.
func TakeSnapshot(z *zfs.Handle, snap string) error {
	return z.Snapshot([]string{snap}, map[string]string{sentProperty: stateSending})
}

// MarkSent says that the stream of a snapshot came to its end.
func MarkSent(z *zfs.Handle, snap string) error { return z.SetString(snap, sentProperty, stateSent) }

// hasState reports whether a snapshot was taken here to be sent and has come as far.
func hasState(s zfs.Dataset, state string) bool {
	p, _ := s.Property(sentProperty)
	return s.IsLocalOrReceived(sentProperty) && p.String() == state
}

// Target is the dataset that a stream is to be received on, as it is.
type Target struct {
	Dataset         string
	Exists          bool // the dataset
	Parent          bool // the one above
	Available       uint64
	MissingFeatures []string      // features of the pool that the stream needs
	Snapshots       []zfs.Dataset // by their age, with GUID and name
	LimitedChildren []string      // child datasets
}

// InspectTarget finds out what is there.
func InspectTarget(z *zfs.Handle, dataset string, b zfs.Begin) (t Target, err error) {
	t.Dataset = dataset
	pool := zfs.PoolOf(dataset)
	for _, guid := range b.Features() {
		enabled, err := z.PoolFeature(pool, guid)
		if err != nil {
			return t, err
		}
		if !enabled {
			t.MissingFeatures = append(t.MissingFeatures, guid)
		}
	}
	above, err := z.DatasetStats(parentOf(dataset))
	if err != nil && !errors.Is(err, zfs.ErrNotExist) {
		return t, err
	}
	t.Parent, t.Available = err == nil, above.Available()
	return t, t.inspectDataset(z)
}

// parentOf is the dataset above; of a pool itself there is none, and it stands for
// that.
func parentOf(dataset string) string {
	if !strings.Contains(dataset, "/") {
		return dataset
	}
	return path.Dir(dataset)
}

func (t *Target) inspectDataset(z *zfs.Handle) (err error) {
	if t.Exists, err = z.Exists(t.Dataset); err != nil || !t.Exists {
		return err
	}
	if t.Snapshots, err = zfs.Collect(z.SnapshotNames(t.Dataset)); err != nil {
		return err
	}
	slices.SortFunc(t.Snapshots, compareAge)
	for child, err := range z.Children(t.Dataset) {
		if err != nil {
			return err
		}
		t.LimitedChildren = append(t.LimitedChildren, child.Name)
	}
	return nil
}

func compareAge(a, b zfs.Dataset) int { return cmp.Compare(a.CreateTXG, b.CreateTXG) }

// FindMisfits says why the stream cannot be received there. With discard newer
// snapshots may go.
func (t Target) FindMisfits(h Header, discard bool) (why []string) {
	refuse := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	if h.Format != overlayzfs.FormatVersion {
		refuse("the store in the stream has format version %d, and this overlayzfs knows version %d: use the version that sent it", h.Format, overlayzfs.FormatVersion)
	}
	for _, guid := range t.MissingFeatures {
		refuse("the stream of OpenZFS %s needs the feature %s, which the pool does not have enabled: `zpool upgrade`, or `zpool set feature@NAME=enabled`", h.OpenZFS, guid)
	}
	if h.Bytes > t.Available && t.Parent {
		refuse("the stream is about %s, and there are %s", units.BytesSize(float64(h.Bytes)), units.BytesSize(float64(t.Available)))
	}
	if h.IsFull() {
		return append(why, t.checkFull(h)...)
	}
	return append(why, t.checkIncremental(h, discard)...)
}

// checkFull is about a stream with everything, which makes the dataset.
func (t Target) checkFull(h Header) []string {
	switch {
	case t.findSnapshot(h.GUID) >= 0:
		return []string{fmt.Sprintf("dataset %s has received this stream already", t.Dataset)}
	case t.Exists:
		return []string{fmt.Sprintf("dataset %s exists, and the stream holds a whole one: name one that does not exist, or send what has changed with --from", t.Dataset)}
	case !t.Parent:
		return []string{fmt.Sprintf("dataset %s does not exist, so %s cannot be made below it", path.Dir(t.Dataset), t.Dataset)}
	}
	return nil
}

// checkIncremental is about a stream of what has changed.
func (t Target) checkIncremental(h Header, discard bool) (why []string) {
	from := t.findSnapshot(h.FromGUID)
	switch {
	case !t.Exists:
		return []string{fmt.Sprintf("dataset %s does not exist, and the stream has only what has changed since %s: send everything first, without --from", t.Dataset, h.From)}
	case t.findSnapshot(h.GUID) >= 0:
		return []string{fmt.Sprintf("dataset %s has received this stream already", t.Dataset)}
	case from < 0:
		return []string{fmt.Sprintf("dataset %s does not have snapshot %s, which the stream goes on from; it has %s: send with --from one of these, or everything", t.Dataset, h.From, t.snapshotNames(0))}
	}
	if slices.ContainsFunc(t.Snapshots, func(s zfs.Dataset) bool { return s.Name == t.Dataset+"@"+h.Name }) {
		why = append(why, fmt.Sprintf("dataset %s has another snapshot called %s: rename or destroy it", t.Dataset, h.Name))
	}
	if newer := t.snapshotNames(from + 1); newer != "none" && !discard {
		why = append(why, fmt.Sprintf("snapshots newer than %s would be lost: %s. Allow it with --discard", h.From, newer))
	}
	if len(t.LimitedChildren) > 0 {
		why = append(why, fmt.Sprintf("%s belongs to a container with a limit: remove it first", t.LimitedChildren[0]))
	}
	return why
}

// findSnapshot is which snapshot has a GUID, -1 for none.
func (t Target) findSnapshot(guid uint64) int {
	return slices.IndexFunc(t.Snapshots, func(s zfs.Dataset) bool { return s.GUID == guid })
}

// CommonSnapshot is the snapshot that a stream of what has changed goes on from, by its
// full name here; empty where there is none.
func (t Target) CommonSnapshot(h Header) string {
	if i := t.findSnapshot(h.FromGUID); i >= 0 && !h.IsFull() {
		return t.Snapshots[i].Name
	}
	return ""
}

// snapshotNames are those of the snapshots from one on.
func (t Target) snapshotNames(first int) string {
	const most = 5
	var names []string
	for i := len(t.Snapshots) - 1; i >= first && len(names) < most; i-- {
		_, name, _ := strings.Cut(t.Snapshots[i].Name, "@")
		names = append(names, name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// FindSent are the snapshots of a dataset that were sent, the newest last.
func FindSent(z *zfs.Handle, dataset string) ([]zfs.Dataset, error) {
	all, err := zfs.Collect(z.Snapshots(dataset))
	return filterByState(all, stateSent), err
}

// FindAbandoned are the snapshots of a dataset whose stream never came to its end: the
// command was killed. While no other runs they are nobody's.
func FindAbandoned(z *zfs.Handle, dataset string) (names []string, err error) {
	all, err := zfs.Collect(z.Snapshots(dataset))
	for _, s := range filterByState(all, stateSending) {
		names = append(names, s.Name)
	}
	return names, err
}

func filterByState(all []zfs.Dataset, state string) []zfs.Dataset {
	all = slices.DeleteFunc(all, func(s zfs.Dataset) bool { return !hasState(s, state) })
	slices.SortFunc(all, compareAge)
	return all
}
